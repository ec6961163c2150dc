"""Months and quarters as the grain: steps of the calendar, however many days they have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.config import ConfigError, parse_config
from crmml.data.tables import open_tables
from crmml.exceptions import CensoredWindowError, ParameterError
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import build_snapshot
from crmml.features.tracking import count_repeat_purchases
from crmml.features.wallet import rolling_wallets
from crmml.features.windows import Window, rolling_windows
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel


@pytest.fixture(scope="module")
def daily() -> pd.DataFrame:
    """Purchases of 4,000 customers over three years whose truth is known, one line a day."""
    rng = np.random.default_rng(5)
    n, days = 4_000, 1095
    rate = rng.gamma(0.8, 1.0 / 6.0, n) / 30.4  # per day; rarely twice in one month
    leave = rng.beta(0.9, 2.5, n)
    rows = []
    for i in range(n):
        at = rng.uniform(0, 700)
        while at < days:
            rows.append((i, int(at), round(rng.uniform(5, 50), 2)))
            if rng.uniform() < leave[i]:
                break
            at += rng.exponential(1.0 / rate[i])
    log = pd.DataFrame(rows, columns=["customer_id", "day", "amount"])
    log["timestamp"] = pd.Timestamp("2021-01-01") + pd.to_timedelta(log.pop("day"), unit="D")
    return log


def _dated(log: pd.DataFrame, period: str, end: bool = False) -> pd.DataFrame:
    """The same purchases as a ledger by months or quarters has them."""
    spans = log["timestamp"].dt.to_period(period)
    moment = spans.dt.end_time.dt.normalize() if end else spans.dt.start_time
    by = log.assign(timestamp=moment).groupby(["customer_id", "timestamp"], as_index=False)
    return by["amount"].sum().round({"amount": 2})


@pytest.mark.parametrize(("grain", "period"), [("month", "M"), ("quarter", "Q")])
def test_a_log_by_days_and_its_ledger_by_months_give_one_snapshot(daily, grain, period):
    cutoff = "2023-07-01"
    fine = build_snapshot(daily, cutoff, grain=grain, time_unit=grain)
    for end in (False, True):
        coarse = build_snapshot(_dated(daily, period, end), cutoff, grain=grain, time_unit=grain)
        same = [name for name in fine.frame if name != "mean_lines"]
        pd.testing.assert_frame_equal(fine.frame[same], coarse.frame[same])
    spans = daily["timestamp"].dt.to_period(period)
    seen = spans[daily["timestamp"] < cutoff].groupby(daily["customer_id"])
    first, last, each = seen.min(), seen.max(), seen.nunique()
    frame = fine.frame.set_index("customer_id")
    end = pd.Period("2023-06", "M").asfreq(period)
    assert (frame["frequency"] == each - 1).all()
    assert (
        frame["recency"] == [b.ordinal - a.ordinal for a, b in zip(first, last, strict=True)]
    ).all()
    assert (frame["T"] == [end.ordinal - a.ordinal for a in first]).all()


def test_outcomes_are_counted_by_month(daily):
    window = Window("2023-01-01", "3M", gap="1M")
    assert (str(window.opens.date()), str(window.closes.date())) == ("2023-02-01", "2023-05-01")
    fine = build_outcomes(open_tables(daily), window, grain="month")
    coarse = build_outcomes(open_tables(_dated(daily, "M")), window, grain="month")
    pd.testing.assert_frame_equal(fine, coarse)
    late = Window("2023-11-01", "3M")
    with pytest.raises(CensoredWindowError):
        build_outcomes(open_tables(daily), late, grain="month")


def test_windows_step_by_the_calendar():
    windows = rolling_windows("2021-01-01", "2023-12-01", horizon="3M", grain="month")
    assert str(windows[-1].closes.date()) == "2024-01-01"
    assert {w.cutoff.day for w in windows} == {1}
    assert len(windows) == 11


def test_a_cutoff_inside_a_month_is_refused(daily):
    with pytest.raises(ParameterError, match="2023-06-01 or 2023-07-01"):
        build_snapshot(daily, "2023-06-15", grain="month", time_unit="month")
    with pytest.raises(ParameterError, match="where the grain of a transaction log is 'month'"):
        build_snapshot(daily, "2023-06-01", grain="month")


def test_the_truth_comes_back_from_months():
    """Rates per month, from a log by months, of a process that runs by days: rare purchases."""
    rng = np.random.default_rng(7)
    n, months = 4_000, 96
    rate, leave = rng.gamma(3.0, 1.0 / 60.0, n), rng.beta(1.0, 4.0, n)
    rows = []
    for i, at in enumerate(rng.uniform(0, 48, n)):
        while at < months:
            rows.append((i, int(at * 365.25 / 12), 10.0))
            if rng.uniform() < leave[i]:
                break
            at += rng.exponential(1.0 / rate[i])
    log = pd.DataFrame(rows, columns=["customer_id", "day", "amount"])
    log["timestamp"] = pd.Timestamp("2015-01-01") + pd.to_timedelta(log.pop("day"), unit="D")
    tables = open_tables(_dated(log, "M"))
    snapshot = build_snapshot(tables, "2022-01-01", grain="month", time_unit="month")
    model = ModifiedBetaGeoModel().fit(snapshot)
    params = model.params_
    assert params["r"] / params["alpha"] == pytest.approx(3.0 / 60.0, rel=0.12)  # per month
    assert params["a"] / (params["a"] + params["b"]) == pytest.approx(0.2, rel=0.12)
    done = build_outcomes(tables, Window("2022-01-01", "12M"), grain="month")["purchases"]
    assert model.expected_purchases(snapshot, "12M").sum() == pytest.approx(done.sum(), rel=0.1)
    assert model.expected_purchases(snapshot, "4Q").equals(
        model.expected_purchases(snapshot, "12M")
    )


def test_tracking_and_wallets_step_by_months(daily):
    fine, coarse = (
        count_repeat_purchases(
            open_tables(log), acquired_before="2022-01-01", grain="month", time_unit="month"
        )
        for log in (daily, _dated(daily, "M"))
    )
    assert len(fine) == 36
    pd.testing.assert_series_equal(fine, coarse)
    old, new = (
        rolling_wallets(open_tables(log), "2024-01-01", length="3M", grain="month")
        for log in (daily, _dated(daily, "M"))
    )
    assert len(old) == 8
    assert (str(old[0].opens.date()), str(old[0].closes.date())) == ("2022-01-01", "2022-04-01")
    for one, other in zip(old, new, strict=True):
        pd.testing.assert_frame_equal(one.frame, other.frame)


def test_a_configuration_by_months_has_lengths_in_months():
    config = parse_config({"snapshot": {"grain": "month"}, "outcome": {"horizon": "6 months"}})
    assert config.snapshot.time_unit == "month"
    lengths = (config.outcome.horizon, config.value.horizon, config.backtest.min_history)
    assert lengths == ("6M", "12M", "6M")
    quarters = parse_config({"snapshot": {"grain": "quarter"}})
    assert (quarters.outcome.horizon, quarters.value.horizon) == ("1Q", "4Q")
    for wrong, said in [
        ({"snapshot": {"grain": "month"}, "outcome": {"horizon": "13W"}}, "whole number of months"),
        ({"snapshot": {"grain": "quarter"}, "outcome": {"horizon": "4M"}}, "number of quarters"),
        ({"outcome": {"horizon": "3M"}}, "write weeks or days"),
        ({"snapshot": {"grain": "month", "time_unit": "week"}}, "time_unit is month"),
    ]:
        with pytest.raises(ConfigError, match=said):
            parse_config(wrong)
