"""The scorecard: figures by hand, what is missing is named, a planted change is found alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from crmml.exceptions import ParameterError
from crmml.scorecard.kpis import KPIS, compute_scorecard


def _shop(seed=1, planted=None, periods=24):
    """Return measured periods of a quiet shop, in which one tier may lose retention."""
    rng = np.random.default_rng(seed)
    starts = pd.date_range("2022-01-01", periods=periods, freq="MS")
    rows = []
    for group in "ABCDE":
        for k, start in enumerate(starts):
            keep = 0.40 - (0.12 if (group == planted and k >= 17) else 0.0)
            before = int(rng.integers(380, 420))
            buyers = int(rng.integers(390, 410))
            new, lured = rng.binomial(buyers, 0.05), rng.poisson(20)
            rows.append({
                "period": start, "group": group, "buyers": buyers, "buyers_before": before,
                "kept": rng.binomial(before, keep), "known": 1000, "new": new, "won_back": lured,
                "purchases": buyers + rng.poisson(100), "revenue": rng.normal(10_000, 400),
            })  # fmt: skip
    return pd.DataFrame(rows).set_index(["period", "group"])


def test_values_intervals_and_changes_are_those_by_hand():
    measured = _shop()
    card = compute_scorecard(measured, targets={"retention": 0.5})
    newest, before = (measured.xs(p, level="period").loc["A"] for p in card_periods(measured))
    row = card.table.loc[("retention", "A")]
    assert row["value"] == pytest.approx(newest["kept"] / newest["buyers_before"])
    assert row["change"] == pytest.approx(row["value"] - before["kept"] / before["buyers_before"])
    exact = binomtest(int(newest["kept"]), int(newest["buyers_before"])).proportion_ci()
    assert (row["lower"], row["upper"]) == pytest.approx((exact.low, exact.high))
    assert row["target"] == 0.5
    assert (
        card.table.loc[("revenue", "B"), "value"]
        == measured.xs("B", level="group")["revenue"].iloc[-1]
    )
    assert np.isnan(card.table.loc[("revenue", "B"), "lower"])


def card_periods(measured):
    periods = measured.index.get_level_values("period").unique()
    return periods[-1], periods[-2]


def test_what_is_missing_says_which_table_it_needs():
    card = compute_scorecard(_shop())
    assert "interactions" in card.missing["satisfaction"]
    assert "treatments" in card.missing["treated"]
    assert not set(card.missing) & set(card.table.index.get_level_values("kpi"))
    assert {kpi.name for kpi in KPIS} == {
        *card.missing, *card.table.index.get_level_values("kpi")
    }  # fmt: skip


def test_a_change_planted_in_one_tier_is_found_there_and_nowhere_else():
    found = 0
    for seed in range(8):
        signals = compute_scorecard(_shop(seed, planted="C"), baseline=12).signals
        names = {chart.name for chart in signals}
        found += "retention of C" in names
        assert len(names - {"retention of C"}) <= 1
        if signals and signals[0].step is not None:
            assert signals[0].name == "retention of C"
            assert abs((signals[0].step.at - pd.Timestamp("2023-06-01")).days) <= 62
    assert found >= 7


def test_a_quiet_shop_raises_hardly_an_alarm():
    alarmed = sum(bool(compute_scorecard(_shop(seed), baseline=12).signals) for seed in range(20))
    assert alarmed <= 4  # 5 % of 20 is 1; more than 4 has probability .003


def test_short_histories_give_figures_without_charts_and_targets_are_checked():
    card = compute_scorecard(_shop(periods=3))
    assert not card.charts
    assert len(card.table)
    with pytest.raises(ParameterError, match="targets"):
        compute_scorecard(_shop(), targets={"happiness": 1.0})


def test_lifetime_values_stand_in_the_newest_period_only_and_staff_has_figures():
    measured = _shop().assign(served=60.0, persons=4.0)
    clv = pd.Series([10.0, 20.0, 5.0, np.nan])
    card = compute_scorecard(measured, clv=(clv, pd.Series(["A", "A", "B", "B"])))
    assert card.table.loc[("clv", "A"), "value"] == 30.0
    assert card.table.loc[("clv_mean", "B"), "value"] == 5.0
    assert np.isnan(card.table.loc[("clv", "C"), "value"])
    assert card.table.loc[("contacts_per_person", "A"), "value"] == 15.0
    assert "staff_id" in card.missing["staff_resolution"]
    assert {kpi.perspective for kpi in KPIS} == {
        "financial", "customer", "marketing", "sales", "service", "staff"
    }  # fmt: skip
    with pytest.raises(ParameterError, match="clv"):
        compute_scorecard(measured, clv=(clv, pd.Series(["A"])))
