"""Upgrade probabilities against a brute simulation that scores again, one horizon later."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.features.snapshot import build_snapshot
from crmml.models import (
    LeftCensoredModel,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    ParetoNBDModel,
    RegularPurchaseModel,
)
from crmml.models.value.upgrade import upgrade_probability
from crmml.segments import ValueTiers
from crmml.testing.simulate import Purchases, Spend, simulate_world

CASES = {
    "mbg_nbd": (Purchases(process="mbg_nbd", r=1.2, alpha=5), ModifiedBetaGeoModel),
    "pareto_nbd": (Purchases(process="pareto_nbd", r=1.2, alpha=5), ParetoNBDModel),
    "regular": (Purchases(process="mbg_nbd", k=3), RegularPurchaseModel),
}


@pytest.mark.parametrize("name", CASES)
def test_who_moves_up_in_a_world_of_that_process_is_who_was_expected_to(name):
    truth, kind = CASES[name]
    world = simulate_world(
        2500, seed=6, weeks=90, purchases=truth, spend=Spend(return_rate=0.0), tables=()
    )
    before = world.end - pd.Timedelta(weeks=13)
    snapshot = build_snapshot(world.transactions, before)
    model = LifetimeValueModel(purchase_model=kind(), margin=0.3, n_posterior_draws=0).fit(snapshot)
    ahead = model.ahead(snapshot, "52W")
    value = ahead.clv()
    tiers = ValueTiers().fit(value)
    goal = tiers.next_cut_point(value)
    said = upgrade_probability(ahead, "13W", goal)
    assert said.isna().equals(tiers.assign(value) == "A")
    later = model.clv(build_snapshot(world.transactions, world.end), "52W").loc[value.index]
    known = goal.notna()
    happened, said = (later >= goal)[known].astype(float), said[known]
    error = np.sqrt((said * (1 - said)).sum()) / len(said)
    assert happened.mean() == pytest.approx(said.mean(), abs=4.5 * error + 0.01)
    likely = said > 0.15
    assert happened[likely].mean() > 3 * happened[~likely].mean()
    assert ((happened - said) ** 2).mean() < ((happened - said.mean()) ** 2).mean()


@pytest.mark.parametrize("process", [None, LeftCensoredModel(margin="8W")])
def test_it_depends_on_nobody_else_and_falls_with_the_goal(process):
    world = simulate_world(300, seed=6, weeks=60, spend=Spend(return_rate=0.0), tables=())
    snapshot = build_snapshot(world.transactions, world.end)
    model = LifetimeValueModel(purchase_model=process, margin=0.3, n_posterior_draws=0)
    ahead = model.fit(snapshot).ahead(snapshot, "52W")
    goals = [pd.Series(g, snapshot.customer_id) for g in (-1.0, 5.0, 20.0, 1e9)]
    found = pd.DataFrame({k: upgrade_probability(ahead, "13W", g) for k, g in enumerate(goals)})
    assert (found.diff(axis=1).iloc[:, 1:] <= 1e-9).all(axis=None)
    assert (found[0] > 1 - 1e-9).all()
    assert (found[3] < 1e-6).all()
    few = snapshot.subset(np.arange(len(snapshot)) % 50 == 3)
    alone = upgrade_probability(model.ahead(few, "52W"), "13W", goals[1])
    pd.testing.assert_series_equal(alone, found[1].loc[few.customer_id].rename(alone.name))
