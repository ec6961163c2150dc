"""Tiers by profit find those who cost more than they bring; tiers by revenue do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.features.snapshot import build_snapshot
from crmml.segments.pyramids import compute_pyramids, cut_pyramids
from crmml.testing.simulate import Spend, simulate_world


@pytest.fixture(scope="module")
def world():
    return simulate_world(1500, seed=12, spend=Spend(return_rate=0.06, unprofitable=0.35))


@pytest.fixture(scope="module")
def frame(world) -> pd.DataFrame:
    snapshot = build_snapshot(open_tables(world.tables), world.end)
    return snapshot.frame.set_index("customer_id")


def test_tiers_by_profit_find_the_unprofitable_and_tiers_by_revenue_do_not(world, frame):
    lost = world.truth.loc[frame.index]
    assert set(lost["unprofitable_by"].dropna()) == {"returns", "thin_margin", "service"}
    assert (lost["unprofitable_by"].isna() == lost["profitable"]).all()
    tiers = cut_pyramids(frame["net_spend"], frame["profit_to_date"])
    found = (tiers["by_profit"] == "E")[~lost["profitable"] & (lost["profit"] < 0)]
    by_revenue = (tiers["by_value"] == "E")[~lost["profitable"] & (lost["profit"] < 0)]
    assert found.all()
    assert by_revenue.mean() < 0.6
    served_well = tiers.loc[lost["unprofitable_by"] == "service", "by_value"]
    assert served_well.isin(["A", "B", "C"]).mean() > 0.3


def test_losses_show_in_the_pyramid_by_profit_only(frame):
    table = compute_pyramids(frame["net_spend"].clip(lower=0), frame["profit_to_date"])
    assert table["share_of_profit"].sum() == pytest.approx(1.0)
    assert table.loc["E", "reference_share"] == -0.10
    assert table.loc["E", "share_of_profit"] < -0.02
    assert table.loc["E", "share_of_value"] >= 0
    assert table["customers_by_profit"].sum() == len(frame)


def test_shares_are_null_where_there_is_nothing_to_share():
    nothing = pd.Series(np.full(20, -1.0))
    table = compute_pyramids(pd.Series(np.arange(20.0)), nothing)
    assert table["share_of_profit"].isna().all()
    assert table.loc["E", "customers_by_profit"] == 20
