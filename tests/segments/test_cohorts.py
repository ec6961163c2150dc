"""Cohorts: counted by hand, null where not lived through, and as a model expects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.data.tables import open_tables
from crmml.exceptions import MissingColumnsError, TooLittleDataError
from crmml.segments import compute_cohort_retention, compute_cohort_value
from crmml.testing.simulate import simulate_world

CUTOFF = "2020-05-15"
JANUARY, FEBRUARY = pd.Timestamp("2020-01-01"), pd.Timestamp("2020-02-01")


@pytest.fixture(scope="module")
def tables():
    rows = [
        ("a", "2020-01-01", 10), ("a", "2020-01-20", 5), ("a", "2020-03-03", 7),
        ("b", "2020-01-10", 20), ("b", "2020-02-01", -20), ("b", "2020-05-02", 9),
        ("c", "2020-02-01", 1), ("c", "2020-03-31", 2), ("d", "2020-02-15", 8),
        ("e", "2020-05-02", 8),
    ]  # fmt: skip
    log = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    people = pd.DataFrame(
        {
            "customer_id": list("abcd"),
            "acquisition_channel": ["web", "web", "shop", None],
            "acquisition_cost": [5.0, 5.0, 5.0, 5.0],
        }
    )
    return open_tables({"transactions": log.assign(margin=log["amount"] / 2), "customers": people})


def test_retention_and_revenue_are_those_counted_by_hand_and_the_future_is_null(tables):
    table = compute_cohort_retention(tables, CUTOFF)
    assert list(table.index.unique("cohort")) == [JANUARY, FEBRUARY]  # May is not over
    january, february = table.loc[JANUARY], table.loc[FEBRUARY]
    assert january["retention"].tolist() == [1.0, 0.0, 0.5, 0.0]
    assert january["revenue"].tolist() == [35.0, -20.0, 7.0, 0.0]
    np.testing.assert_equal(february["retention"].to_numpy(), [1.0, 0.5, 0.0, np.nan])
    np.testing.assert_equal(february["active"].to_numpy(), [2.0, 1.0, 0.0, np.nan])
    assert np.isnan(february.loc[3, "revenue_per_customer"])
    with pytest.raises(TooLittleDataError, match="no whole quarter"):
        compute_cohort_retention(tables, "2020-03-01", period="quarter")


def test_value_and_payback_by_cohort_and_by_channel(tables):
    scores = pd.DataFrame({"customer_id": list("abcd"), "probability_alive": [1, 0, 1, 0.5]})
    scores["clv"] = 4.0
    by_cohort = compute_cohort_value(tables, CUTOFF, scores)
    assert by_cohort["probability_alive"].tolist() == [0.5, 0.75]
    assert by_cohort.loc[JANUARY, "payback"] == 0.0  # 17.50 for two who cost 10
    assert np.isnan(by_cohort.loc[FEBRUARY, "payback"])
    by_channel = compute_cohort_value(tables, CUTOFF, scores, by="acquisition_channel")
    assert by_channel["customers"].to_dict() == {"shop": 1, "unknown": 1, "web": 2}
    assert by_channel.loc["web", "margin_to_date"] == pytest.approx(5.5)
    with pytest.raises(MissingColumnsError, match="clv"):
        compute_cohort_value(tables, CUTOFF, scores.drop(columns="clv"))


def test_the_process_that_drew_a_world_expects_its_retention():
    world = simulate_world(3000, seed=5, weeks=52, tables=())
    log = world.transactions
    model = crmml.models.BetaGeoModel().fit(crmml.build_snapshot(log, world.end, behaviour=False))
    table = compute_cohort_retention(open_tables(log), world.end, model=model)
    lived = table.dropna(subset="active")
    seen = lived["active"].groupby("age").sum() / lived["customers"].groupby("age").sum()
    expected = lived["expected_retention"].groupby("age").first()
    assert len(seen) > 8
    assert (seen - expected).abs().max() < 0.035
    assert expected[0] == seen[0] == 1.0
