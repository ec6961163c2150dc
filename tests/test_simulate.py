"""Simulated worlds: the truth that was asked for, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.features.snapshot import build_snapshot
from crmml.testing.simulate import Purchases, Spend, simulate_world

TABLES = ("transactions", "customers", "interactions", "treatments", "subscriptions", "truth")


def test_same_seed_same_world():
    first, second = simulate_world(200, seed=3), simulate_world(200, seed=3)
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
    assert not simulate_world(200, seed=4).transactions.equals(first.transactions)


def test_the_door_takes_the_tables_as_they_are():
    world = simulate_world(200, seed=3)
    tables = open_tables(world.transactions, world.customers)
    assert tables.report.rows_kept == len(world.transactions)
    assert world.transactions["timestamp"].is_monotonic_increasing
    assert world.transactions["timestamp"].between(world.start, world.end).all()


@pytest.mark.parametrize("process", ["bg_nbd", "mbg_nbd", "pareto_nbd"])
def test_nobody_buys_after_dropping_out(process):
    world = simulate_world(
        500, seed=1, purchases=Purchases(process), spend=Spend(return_rate=0), tables=()
    )
    last = world.transactions.groupby("customer_id")["timestamp"].max()
    lost = world.truth["lost_at"].dropna()
    assert 0.1 < len(lost) / 500 < 0.99
    assert (last[lost.index] <= lost).all()
    first = world.transactions.groupby("customer_id")["timestamp"].min()
    assert (first == world.truth["first_purchase"]).all()


def test_bg_nbd_with_known_parameters_is_found_again():
    from crmml.models import BetaGeoModel

    truth = Purchases(r=0.8, alpha=5, a=0.9, b=3)
    world = simulate_world(8000, seed=2, weeks=78, acquisition_weeks=26, purchases=truth, tables=())
    snapshot = build_snapshot(world.transactions, world.end, grain="hour", behaviour=False)
    model = BetaGeoModel().fit(snapshot)
    for name, value in model.params_.items():
        assert abs(value - getattr(truth, name)) < 4 * model.standard_errors_[name], name


def test_gaps_have_the_regularity_asked_for():
    for k in (1, 4):
        world = simulate_world(
            150,
            seed=9,
            weeks=300,
            acquisition_weeks=1,
            purchases=Purchases(r=20, alpha=20 / k, a=0.01, b=10, k=k),
            spend=Spend(return_rate=0),
            tables=(),
        )
        frame = build_snapshot(world.transactions, world.end, grain="hour").frame
        # mean squared over mean square of an Erlang-k gap: k / (k + 1)
        assert frame["gap_regularity"].median() == pytest.approx(k / (k + 1), abs=0.04)
        assert frame["gap_mean"].median() == pytest.approx(1.0, abs=0.1)


def test_season_peaks_where_asked():
    season = Purchases(r=5, alpha=5, a=0.01, b=10, seasonal_amplitude=0.8, seasonal_peak=350)
    world = simulate_world(300, seed=1, weeks=156, acquisition_weeks=1, purchases=season, tables=())
    month = world.transactions["timestamp"].dt.month.value_counts()
    assert month[12] > 4 * month[6]


def test_money_follows_the_gamma_gamma_truth():
    world = simulate_world(3000, seed=6, spend=Spend(return_rate=0), tables=())
    lines = world.transactions
    orders = lines.groupby("order_id").agg(who=("customer_id", "first"), value=("amount", "sum"))
    assert orders["value"].mean() == pytest.approx(
        world.truth.loc[orders["who"], "mean_spend"].mean(), rel=0.02
    )
    assert world.truth["mean_spend"].mean() == pytest.approx(6.25 * 15.44 / 2.74, rel=0.05)
    margins = lines["margin"].sum() / lines["amount"].sum()
    assert 0.12 < margins < 0.45


def test_returns_come_at_the_rate_asked_for():
    world = simulate_world(2000, seed=6, spend=Spend(return_rate=0.1), tables=())
    back = world.transactions["amount"] < 0
    assert back.sum() / (~back).sum() == pytest.approx(0.1, abs=0.02)


def test_treatments_bring_what_the_truth_says():
    world = simulate_world(20_000, seed=8, weeks=40, actions={"call": 0.5}, tables=("treatments",))
    treated = world.treatments.set_index("customer_id")["action"]
    assert world.treatments["propensity"].eq(0.5).all()
    when = world.treatments["timestamp"].iloc[0]
    lines = world.transactions
    after = lines[(lines["timestamp"] >= when) & (lines["amount"] >= 0)]
    counts = after.groupby("customer_id")["order_id"].nunique().reindex(treated.index).fillna(0)
    lift = counts[treated == "call"].mean() - counts[treated == "no_action"].mean()
    assert lift == pytest.approx(world.truth.loc[treated.index, "effect_call"].mean(), abs=0.05)
    assert (world.truth["gain_call"] > 0).all()


def test_dissatisfaction_shows_in_dropout_complaints_and_scores():
    world = simulate_world(3000, seed=12)
    truth = world.truth
    assert truth["satisfaction"].corr(truth["dropout_probability"], method="spearman") < -0.4
    touch = world.interactions
    complaints = touch[touch["kind"] == "complaint"]["customer_id"]
    assert truth.loc[complaints, "satisfaction"].mean() < -0.3
    surveys = touch[touch["kind"] == "survey"].set_index("customer_id")["score"]
    assert surveys.between(0, 10).all()
    assert np.corrcoef(surveys, truth.loc[surveys.index, "satisfaction"])[0, 1] > 0.5


def test_subscriptions_end_as_the_truth_says():
    world = simulate_world(4000, seed=13, tables=("subscriptions",))
    table = world.subscriptions.set_index("customer_id")
    ended = table["ended_at"].notna()
    assert (table["end_reason"].notna() == ended).all()
    assert (table.loc[ended, "ended_at"] < world.end).all()
    assert (table.loc[~ended, "paid_until"] >= world.end).all()
    first = table["ended_at"] - table["started_at"] == pd.Timedelta(days=28)
    assert first.mean() == pytest.approx(world.truth["churn_probability"].mean(), abs=0.02)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: simulate_world(0, seed=1), "n_customers must be at least 1"),
        (lambda: simulate_world(9, seed=1, weeks=0), "weeks must be positive"),
        (lambda: simulate_world(9, seed=1, acquisition_weeks=999), "acquisition_weeks must be"),
        (lambda: simulate_world(9, seed=1, tables=("sales",)), "tables must be among"),
        (lambda: simulate_world(9, seed=1, actions={"x": -1}), "actions must be effects >= 0"),
        (lambda: Purchases("poisson"), "process must be one of"),
        (lambda: Purchases(r=0), "r must be positive"),
        (lambda: Purchases(k=0), "k must be a whole number"),
        (lambda: Purchases(seasonal_amplitude=1), "seasonal_amplitude must be"),
        (lambda: Spend(q=0), "q must be positive"),
        (lambda: Spend(return_rate=1), "return_rate must be between"),
        (lambda: Spend(lines_per_purchase=0.5), "lines_per_purchase must be at least 1"),
    ],
)
def test_refuses_impossible_worlds(build, message):
    with pytest.raises(ParameterError, match=message):
        build()
