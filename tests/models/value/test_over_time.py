"""Value over time: parts add up to the whole, and simulation finds the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import LifetimeValueModel, ModifiedBetaGeoModel, ParetoNBDModel
from crmml.models.value.cost_to_serve import CostToServe
from crmml.models.value.over_time import acquisition_cohort, period_ends
from crmml.testing.simulate import Purchases, Spend, simulate_world


@pytest.fixture(scope="module")
def world():
    return simulate_world(
        1200,
        seed=11,
        purchases=Purchases(process="mbg_nbd"),
        spend=Spend(return_rate=0.0),
        tables=("customers",),
    )


@pytest.fixture(scope="module")
def snapshot(world) -> Snapshot:
    return build_snapshot(world.transactions, world.end)


@pytest.fixture(scope="module")
def value(snapshot) -> LifetimeValueModel:
    return LifetimeValueModel(
        purchase_model=ModifiedBetaGeoModel(),
        margin="expected_margin_ratio",
        n_posterior_draws=40,
    ).fit(snapshot)


def test_periods_and_cohorts_add_up_to_the_whole(value, snapshot):
    cohort = acquisition_cohort(snapshot)
    table = value.clv_by_period(snapshot, "52W", "quarter", by=cohort)
    whole = value.clv(snapshot, "52W")
    assert table["expected"].sum() == pytest.approx(whole.sum())
    by_cohort = table["expected"].groupby("cohort").sum()
    np.testing.assert_allclose(by_cohort, whole.groupby(cohort).sum()[by_cohort.index])
    ends = table.index.unique("ends")
    assert list(ends) == list(period_ends(snapshot.cutoff, "52W", "quarter"))
    assert ends[-1] == snapshot.cutoff + pd.Timedelta(weeks=52)
    active = table["active"].unstack("cohort").diff().dropna()
    assert (active < 0).all(axis=None)


def test_between_two_dates_is_the_difference_and_infinitely_many_parts_are_one(value, snapshot):
    cutoff = snapshot.cutoff
    early = value.clv_between(snapshot, cutoff, cutoff + pd.Timedelta(weeks=13))
    late = value.clv_between(snapshot, "13W", cutoff + pd.Timedelta(weeks=52))
    np.testing.assert_allclose(early + late, value.clv(snapshot, "52W"))
    with pytest.raises(ParameterError, match="not after the end"):
        value.clv_between(snapshot, "20W", "13W")
    with pytest.raises(ParameterError, match="after the cutoff"):
        value.clv_between(snapshot, "1W", cutoff - pd.Timedelta(days=1))


def test_the_interval_of_the_periods_holds_their_expectation_and_that_of_one_is_the_total(
    value, snapshot
):
    table = value.clv_by_period(snapshot, "52W", "52W", q=(0.1, 0.5, 0.9))
    total = value.total(snapshot, "52W", (0.1, 0.5, 0.9))
    np.testing.assert_allclose(table[[0.1, 0.5, 0.9]], total[[0.1, 0.5, 0.9]], rtol=0.03)
    months = value.clv_by_period(snapshot, "26W", "month")
    # most of the intervals of 80 % lie around the expectation, none is far off
    held = (months[0.1] <= months["expected"]) & (months["expected"] <= months[0.9])
    assert held.mean() > 0.7


def test_active_later_is_what_a_simulated_base_shows():
    truth = Purchases(process="pareto_nbd", r=1.5, alpha=8, s=1.0, beta=40)
    world = simulate_world(
        2000, seed=5, weeks=104, purchases=truth, spend=Spend(return_rate=0.0), tables=()
    )
    cutoff = world.start + pd.Timedelta(weeks=60)
    snapshot = build_snapshot(world.transactions, cutoff)
    model = LifetimeValueModel(
        purchase_model=ParetoNBDModel(), margin=0.3, n_posterior_draws=0
    ).fit(snapshot)
    later = cutoff + pd.Timedelta(weeks=30)
    lost = world.truth["lost_at"].loc[snapshot.customer_id]
    there = (lost.isna() | (lost > later)).mean()
    said = model.probability_alive_later(snapshot, later)
    assert said.mean() == pytest.approx(there, abs=0.03)
    now = model.purchase_model_.probability_alive(snapshot)
    assert (said <= now + 1e-12).all()


def test_a_new_customer_is_worth_what_newcomers_were_worth(value, world, snapshot):
    channel = world.customers.set_index("customer_id")["acquisition_channel"]
    cost = world.customers.set_index("customer_id")["acquisition_cost"]
    table = value.new_customer_value(snapshot, "52W", by=channel, acquisition_cost=cost)
    assert set(table.index) == {"organic", "paid_search", "referral"}
    assert (table["value_lower"] < table["value"]).all()
    assert (table["value"] < table["value_upper"]).all()
    assert table.loc["paid_search", "acquisition_cost"] == 9
    assert table.loc["organic", "payback"] == 0 or np.isnan(table.loc["organic", "value_to_cost"])
    assert table.loc["paid_search", "value_to_cost"] == pytest.approx(
        table.loc["paid_search", "value"] / 9
    )
    # what the customers of the first year brought within 52 weeks of their first purchase
    lines, first = world.transactions, world.truth["first_purchase"]
    old = first[first < world.end - pd.Timedelta(weeks=52)].index
    age = lines["timestamp"] - lines["customer_id"].map(first)
    early = lines[(age < pd.Timedelta(weeks=52)) & lines["customer_id"].isin(old)]
    brought = early.groupby("customer_id")["margin"].sum().reindex(old, fill_value=0).mean()
    pooled = value.new_customer_value(snapshot, "52W")
    assert pooled["value"].item() == pytest.approx(brought, rel=0.12)
    assert pooled["basis"].item() == "all"


def test_payback_comes_where_the_value_reaches_the_cost(value, snapshot):
    whole = value.new_customer_value(snapshot, "52W")["value"].item()
    cost = pd.Series(0.8 * whole, snapshot.customer_id)
    found = value.new_customer_value(snapshot, "52W", acquisition_cost=cost)
    assert 0 < found["payback"].item() < 52
    assert found["payback_lower"].item() <= found["payback"].item()
    dear = value.new_customer_value(snapshot, "52W", acquisition_cost=cost * 5)
    assert np.isinf(dear["payback"].item())


def test_what_serving_costs_is_taken_from_every_view_of_the_value(value, snapshot):
    costs = CostToServe(per_time=0.05, per_purchase=0.8, spread=0.0, noise=0.0, parts=())
    far = value.ahead(snapshot, "52W")
    net = far.clv() - costs.expected(far)
    table = value.clv_by_period(snapshot, "52W", "quarter", costs=costs)
    assert table["expected"].sum() == pytest.approx(net.sum())
    gross = value.clv_by_period(snapshot, "52W", "quarter")
    spent = gross["expected"] - table["expected"]
    np.testing.assert_allclose(gross[0.1] - table[0.1], spent)
    early = value.clv_between(snapshot, snapshot.cutoff, snapshot.cutoff + pd.Timedelta(weeks=13),
                              costs=costs)  # fmt: skip
    late = value.clv_between(snapshot, "13W", "52W", costs=costs)
    np.testing.assert_allclose(early + late, net)

    new, plain = (value.new_customer_value(snapshot, "52W", costs=c) for c in (costs, None))
    # a newcomer costs something at the first purchase, and from then on
    assert 0.8 < plain["value"].item() - new["value"].item() < 0.8 * 20 + 0.05 * 52


def test_unknown_and_zero_costs_of_a_channel_are_told_apart(value, snapshot):
    channel = pd.Series(np.arange(len(snapshot)) % 2, snapshot.customer_id, name="channel")
    cost = pd.Series(np.where(channel == 0, np.nan, 0.0), snapshot.customer_id)
    table = value.new_customer_value(
        snapshot, "26W", by=channel, acquisition_cost=cost, least=10**6
    )
    assert table.loc[0, ["acquisition_cost", "value_to_cost", "payback"]].isna().all()
    assert table.loc[1, "acquisition_cost"] == 0
    assert table.loc[1, "payback"] == 0
    assert np.isnan(table.loc[1, "value_to_cost"])


def test_dates_may_be_text(value, snapshot):
    start, end = snapshot.cutoff, snapshot.cutoff + pd.Timedelta(weeks=13)
    told = value.clv_between(snapshot, str(start.date()), str(end.date()))
    pd.testing.assert_series_equal(told, value.clv_between(snapshot, start, end))
    alive = value.probability_alive_later(snapshot, str(end.date()))
    pd.testing.assert_series_equal(alive, value.probability_alive_later(snapshot, end))
