"""Repeat purchases over time: what a purchase model is tracked against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import MONTHS, FloatArray, Grain, TimeUnit
from crmml.data.tables import Tables
from crmml.features.purchases import (
    HOURS,
    cents,
    collapse_lines,
    fetch,
    period_at,
    period_of,
    seconds_at,
    seconds_of,
    start_of,
)
from crmml.features.snapshot import own_lines
from crmml.features.windows import (
    Window,
    end_of_observation,
    length_of,
    read_moment,
    units_between,
)


def count_repeat_purchases(
    tables: Tables,
    *,
    acquired_before: str | pd.Timestamp,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    own_seller: str | None = None,
) -> pd.Series[int]:
    """Count the repeat purchases of a cohort in each time unit since the data begin.

    Parameters
    ----------
    tables : Tables
        The validated log.
    acquired_before : str or Timestamp
        The cohort: customers whose first purchase lies before this moment.
    grain : {"hour", "day", "week", "month", "quarter"}
        What counts as one purchase.
    time_unit : {"hour", "day", "week", "month", "quarter"}
        Length of the bins.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    Series of int
        Indexed 1, 2, ... by the bins since the start of the first grain period; the last, partly
        observed bin is left out. Its name is the time unit.
    """
    acquired = read_moment(acquired_before, "acquired_before")
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount))
    bought = collapse_lines(lines.filter(lines.cents >= 0), grain)
    firsts = bought.group_by("customer_id").agg(first=bought.period.min())
    cohort = firsts.filter(firsts["first"] < period_at(acquired, grain))
    joined = bought.inner_join(cohort, "customer_id")
    repeats = joined.filter(joined.period > joined["first"])
    counts = fetch(repeats.group_by("period").agg(purchases=repeats.count()), ["period"])
    start = period_at(tables.first_timestamp, grain)
    lengths = MONTHS if grain in MONTHS else HOURS
    per_grain, per_unit = lengths[grain], lengths[time_unit]
    end = end_of_observation(tables.last_timestamp, grain)
    n_bins = int(units_between(start_of(start, grain), end, time_unit))
    bins = ((counts["period"] - start) * per_grain // per_unit + 1).astype(int)
    table = counts["purchases"].groupby(bins).sum().reindex(range(1, n_bins + 1), fill_value=0)
    table.index.name = time_unit
    named: pd.Series[int] = table.astype("int64").rename("repeat_purchases")
    return named


def count_weekly_purchases(
    tables: Tables,
    window: Window,
    customer_id: pd.Index[Any],
    *,
    grain: Grain = "day",
    own_seller: str | None = None,
) -> FloatArray:
    """Count purchases in each whole week of an outcome window.

    Parameters
    ----------
    tables : Tables
        The validated log.
    window : Window
        Its end must lie inside the data.
    customer_id : Index
        Whose purchases.
    grain : {"hour", "day", "week"}
        What counts as one purchase; it counts in the week of its first line in the window.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    ndarray, shape (n_customers, n_weeks)
        A last, shorter week is left out.

    Raises
    ------
    CensoredWindowError
        If the window ends after the data do.
    """
    window.check_observed(tables.last_timestamp)
    week = pd.Timedelta(weeks=1)
    n_weeks = int(length_of(window.horizon) / week)
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.filter(
        cents(lines.amount) >= 0,
        lines.timestamp >= window.opens,
        lines.timestamp < window.opens + n_weeks * week,
    )
    elapsed = seconds_of(lines.timestamp) - seconds_at(window.opens)
    seen = lines.select("customer_id", period=period_of(lines.timestamp, grain), elapsed=elapsed)
    bought = seen.group_by("customer_id", "period").agg(elapsed=seen.elapsed.min())
    weekly = bought.group_by("customer_id", week=bought.elapsed // int(week.total_seconds()))
    table = fetch(weekly.agg(n=bought.count()), ["customer_id", "week"])
    rows = customer_id.get_indexer(pd.Index(table["customer_id"]))
    known = rows >= 0
    counts = np.zeros((len(customer_id), n_weeks))
    counts[rows[known], table["week"].to_numpy()[known]] = table["n"].to_numpy()[known]
    return counts
