"""Control charts: published figures, few false alarms over many charts, planted changes found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.scorecard.control_charts import LEAST_BASELINE, control_chart


def _quiet(rng, kind, n=24):
    if kind in ("share", "rate"):
        sizes = rng.integers(300, 600, n).astype(float)
        events = rng.binomial(sizes.astype(int), 0.3) if kind == "share" else rng.poisson(sizes * 2)
        return pd.Series(events / sizes), pd.Series(sizes)
    return pd.Series(rng.normal(100, 8, n)), None


@pytest.mark.parametrize("kind", ["share", "rate", "individuals", "ewma"])
def test_false_alarms_stay_at_what_was_asked_over_a_family_of_charts(kind):
    rng = np.random.default_rng(7)
    families, charts = 80, 5
    alarmed = 0
    for _ in range(families):
        found = [
            control_chart(*_quiet(rng, kind), kind=kind, baseline=12, charts=charts)
            for _ in range(charts)
        ]
        alarmed += any(len(chart.signals) or chart.step is not None for chart in found)
    assert alarmed / families <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / families)


@pytest.mark.parametrize("kind", ["share", "rate", "individuals", "ewma"])
def test_a_planted_step_is_found_and_dated(kind):
    rng = np.random.default_rng(11)
    found, dated = 0, 0
    for _ in range(60):
        values, sizes = _quiet(rng, kind)
        values = values.copy()
        values.iloc[16:] -= {"share": 0.10, "rate": 0.5, "individuals": 32, "ewma": 32}[kind]
        chart = control_chart(values, sizes, kind=kind, baseline=12, charts=10)
        found += chart.step is not None
        dated += chart.step is not None and abs(chart.step.at - 16) <= 1
        if chart.step is not None:
            assert chart.step.upper < 0
            assert "fell from" in chart.sentence()
    assert found >= 54
    assert dated >= 0.9 * found


def test_overdispersed_shares_widen_their_limits_laney_2002():
    rng = np.random.default_rng(3)
    sizes = pd.Series(np.full(30, 20_000.0))
    wandering = pd.Series(rng.binomial(20_000, np.clip(rng.normal(0.3, 0.02, 30), 0, 1)) / 20_000)
    chart = control_chart(wandering, sizes, kind="share", baseline=20)
    assert chart.spread > 3
    assert len(chart.signals) == 0


def test_the_limits_of_individuals_are_those_of_montgomery_with_doubt():
    # three sigma of moving ranges: sigma = mean moving range / 1.128 (Montgomery, section 6.4)
    x = pd.Series([310, 288, 297, 298, 307, 303, 294, 297, 308, 306, 294, 299.0])
    chart = control_chart(x, baseline=11, false_alarm=0.5)
    sigma = np.abs(np.diff(x[:11])).mean() / 1.128
    assert chart.table["centre"].iloc[0] == pytest.approx(x[:11].mean())
    half = chart.table["upper"].iloc[0] - chart.table["centre"].iloc[0]
    assert half > 1.5 * sigma  # wider than a normal limit of the same chance


def test_few_events_take_exact_limits():
    sizes = pd.Series(np.full(20, 50.0))
    values = pd.Series([0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]) / 50
    assert len(control_chart(values, sizes, kind="rate", baseline=10).signals) == 0


def test_more_charts_widen_the_limits_and_scale_changes_nothing():
    rng = np.random.default_rng(5)
    x, _ = _quiet(rng, "individuals")
    one, many = (control_chart(x, charts=c).table["upper"].iloc[0] for c in (1, 50))
    assert many > one
    scaled = control_chart(x * 1000)
    assert (scaled.table["signal"] == control_chart(x).table["signal"]).all()


def test_it_speaks():
    x, _ = _quiet(np.random.default_rng(5), "individuals")
    chart = control_chart(x, name="revenue of tier A")
    assert chart.sentence() == "revenue of tier A did not change beyond chance"
    assert "revenue of tier A" in str(chart)
    assert chart.to_pandas().shape == (24, 6)


def test_what_is_too_little_or_wrong_is_refused():
    x = pd.Series(np.arange(20.0))
    with pytest.raises(TooLittleDataError, match="more than 8 periods"):
        control_chart(x[:LEAST_BASELINE])
    for bad in ({"kind": "c"}, {"false_alarm": 0}, {"charts": 0}, {"baseline": 20}):
        with pytest.raises(ParameterError):
            control_chart(x, **bad)
    with pytest.raises(ParameterError, match="sizes"):
        control_chart(x / 100, kind="share")
