"""Cost to serve: prices, spread and factors come back, and the net interval is the mixture's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import LifetimeValueModel, ModifiedBetaGeoModel
from crmml.models.value.cost_to_serve import CostToServe, net_quantiles, time_alive
from crmml.testing.simulate import Purchases, Spend, simulate_world


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    world = simulate_world(
        1500,
        seed=2,
        purchases=Purchases(process="mbg_nbd"),
        spend=Spend(return_rate=0.0),
        tables=(),
    )
    return build_snapshot(world.transactions, world.end)


@pytest.fixture(scope="module")
def model(snapshot) -> LifetimeValueModel:
    return LifetimeValueModel(
        purchase_model=ModifiedBetaGeoModel(), margin=0.3, n_posterior_draws=0
    ).fit(snapshot)


def with_costs(snapshot, alive, per_time, per_purchase, spread, seed=1) -> tuple[Snapshot, object]:
    """Draw compound Poisson costs of events of 2 each around prices times a factor."""
    rng = np.random.default_rng(seed)
    frame = snapshot.frame
    time = frame["recency"] + alive.to_numpy() * (frame["T"] - frame["recency"])
    theta = rng.gamma(1 / spread, spread, len(frame))
    mean = theta * (per_time * time + per_purchase * (frame["frequency"] + 1))
    cost = 2.0 * rng.poisson(mean / 2.0)
    return replace(snapshot, frame=frame.assign(contact_cost=cost)), theta


def test_prices_and_spread_come_back_and_factors_are_shrunk(snapshot, model):
    alive = model.purchase_model_.probability_alive(snapshot)
    known, theta = with_costs(snapshot, alive, 0.25, 1.5, 0.5)
    found = CostToServe.fit(known, alive)
    assert found.parts == ("contact_cost",)
    assert found.per_time == pytest.approx(0.25, abs=0.06)
    assert found.per_purchase == pytest.approx(1.5, abs=0.35)
    assert found.spread == pytest.approx(0.5, rel=0.3)
    assert found.noise == pytest.approx(2.0, rel=0.4)
    factors = found.factors(known, alive)
    mean = found.per_time * 0 + factors.mean()
    assert mean == pytest.approx(1.0, abs=0.1)
    assert np.mean((factors - theta) ** 2) < 0.7 * np.var(theta)
    assert CostToServe.from_dict(found.to_dict()) == found
    assert (found.factors(snapshot, alive) == 1).all()  # nothing is known of them


def test_no_costs_no_model(snapshot, model):
    alive = model.purchase_model_.probability_alive(snapshot)
    assert CostToServe.fit(snapshot, alive) is None
    nothing = replace(snapshot, frame=snapshot.frame.assign(contact_cost=0.0))
    assert CostToServe.fit(nothing, alive) is None


def test_time_alive_is_the_integral_of_being_alive(snapshot, model):
    few = snapshot.subset(np.arange(len(snapshot)) < 40)
    ahead = model.ahead(few, "52W").purchases
    steps = np.arange(0.5, 52)
    alive = [model.probability_alive_later(few, f"{t}W").to_numpy() for t in steps]
    np.testing.assert_allclose(time_alive(ahead), np.sum(alive, axis=0), rtol=2e-3)
    assert (time_alive(ahead, 0.1) < time_alive(ahead)).all()


def test_the_net_interval_is_that_of_the_mixture(snapshot, model):
    few = snapshot.subset(np.arange(len(snapshot)) < 12)
    ahead = model.ahead(few, "52W")
    alive = ahead.purchases.probability_alive()
    cost = alive * 12.0  # who is active costs 12
    found = net_quantiles(ahead, cost, [0.1, 0.5, 0.9])
    rng = np.random.default_rng(0)
    levels = np.linspace(0.0005, 0.9995, 1000)
    margin = ahead.clv_quantiles(levels.tolist()).to_numpy()
    for i, p in enumerate(alive):
        # the margin of who has left is 0: the lowest 1 - p of its quantiles
        gone = levels < 1 - p
        net = np.where(gone, 0.0, margin[i] - 12.0)
        drawn = net[rng.integers(0, 1000, 200_000)]
        expected = np.quantile(drawn, [0.1, 0.5, 0.9])
        np.testing.assert_allclose(found.iloc[i], expected, atol=1.5, rtol=0.05)
    free = net_quantiles(ahead, cost * 0, [0.1, 0.9])
    pd.testing.assert_frame_equal(free, ahead.clv_quantiles([0.1, 0.9]))
