"""Outcomes after a cutoff, censoring, and the refusal of features that know the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import CensoredWindowError, DataError, FutureLeakError
from crmml.features.labels import (
    LabelledSnapshot,
    build_labelled,
    build_outcomes,
    check_no_future,
)
from crmml.features.snapshot import build_snapshot
from crmml.features.windows import Window
from crmml.testing.simulate import simulate_world


@pytest.fixture(scope="module")
def tables():
    world = simulate_world(250, seed=5, weeks=60, acquisition_weeks=45, tables=("customers",))
    return open_tables(world.transactions, world.customers)


WINDOW = Window("2022-11-07", "8W", "1W")


def test_outcomes_equal_a_plain_count(tables):
    lines = tables.transactions.to_pandas()
    outcomes = build_outcomes(tables, WINDOW)
    before = lines[(lines["timestamp"] < WINDOW.cutoff) & (lines["amount"] >= 0)]
    inside = lines[(lines["timestamp"] >= WINDOW.opens) & (lines["timestamp"] < WINDOW.closes)]
    assert outcomes.index.tolist() == sorted(before["customer_id"].unique())
    assert outcomes["churned"].any()
    assert not outcomes["churned"].all()
    for name, row in outcomes.iterrows():
        own = inside[inside["customer_id"] == name]
        days = own.loc[own["amount"] >= 0, "timestamp"].dt.normalize().nunique()
        assert row["purchases"] == days
        assert row["churned"] == (days == 0)
        assert row["spend"] == pytest.approx(float(own["amount"].sum()))
        assert row["margin"] == pytest.approx(float(own["margin"].sum()))


def test_margin_is_missing_where_it_is_not_known(tables):
    lines = tables.transactions.select("customer_id", "timestamp", "amount").to_pandas()
    assert build_outcomes(open_tables(lines), WINDOW)["margin"].isna().all()


def test_silence_in_a_censored_window_is_no_label(tables):
    with pytest.raises(CensoredWindowError, match="ends after the data do"):
        build_outcomes(tables, Window("2022-11-07", "52W"))
    with pytest.raises(CensoredWindowError, match="earlier cutoff or a shorter horizon"):
        build_labelled(tables, Window("2022-11-07", "52W"))


def test_labelled_snapshot_holds_the_same_customers_in_the_same_order(tables):
    labelled = build_labelled(tables, WINDOW, behaviour=False)
    assert labelled.snapshot.cutoff == WINDOW.cutoff
    assert labelled.outcomes.index.equals(labelled.snapshot.customer_id)
    some = labelled.subset(labelled.outcomes["churned"])
    assert some.outcomes["churned"].all()
    assert len(some) == labelled.outcomes["churned"].sum()
    with pytest.raises(DataError, match="outcomes must hold the customers of the snapshot"):
        LabelledSnapshot(labelled.snapshot, labelled.outcomes.iloc[::-1], WINDOW)


def test_features_built_after_the_cutoff_are_refused(tables):
    late = build_snapshot(tables, WINDOW.closes, behaviour=False)
    outcomes = build_outcomes(tables, Window(WINDOW.closes, "1W"))
    with pytest.raises(FutureLeakError, match="the features have seen"):
        LabelledSnapshot(late, outcomes, WINDOW)


def test_an_honest_snapshot_passes_the_check(tables):
    check_no_future(build_snapshot(tables, WINDOW.cutoff), tables)
    check_no_future(build_snapshot(tables, WINDOW.cutoff, behaviour=False), tables)


def test_a_planted_column_is_named(tables):
    labelled = build_labelled(tables, WINDOW)
    spend = labelled.outcomes["spend"].to_numpy()
    planted = replace(labelled.snapshot, frame=labelled.snapshot.frame.assign(engagement=spend))
    with pytest.raises(FutureLeakError, match="'engagement' cannot be had"):
        check_no_future(planted, tables)


def test_a_tampered_column_is_named(tables):
    labelled = build_labelled(tables, WINDOW)
    frame = labelled.snapshot.frame
    knows = frame["net_spend"] + 1e-9 * np.sign(labelled.outcomes["purchases"].to_numpy())
    with pytest.raises(FutureLeakError, match="'net_spend' cannot be had"):
        check_no_future(replace(labelled.snapshot, frame=frame.assign(net_spend=knows)), tables)


def test_a_builder_that_reads_the_whole_log_is_caught(tables):
    def build(tables, cutoff):
        snapshot = build_snapshot(tables, cutoff, behaviour=False)
        lines = tables.transactions.to_pandas()
        last = lines.groupby("customer_id")["timestamp"].max()
        seen = last.reindex(snapshot.customer_id).to_numpy()
        return replace(snapshot, frame=snapshot.frame.assign(last_seen=seen))

    leaky = build(tables, pd.Timestamp(WINDOW.cutoff))
    with pytest.raises(FutureLeakError, match="'last_seen' cannot be had"):
        check_no_future(leaky, tables, build)


def test_customers_of_the_future_are_refused(tables):
    late = build_snapshot(tables, WINDOW.closes, behaviour=False)
    with pytest.raises(FutureLeakError, match="had not bought before its cutoff"):
        check_no_future(replace(late, cutoff=WINDOW.cutoff), tables)
