"""When a customer counts as lapsed: horizons side by side, and which of them is too short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
import numpy as np
import pandas as pd

from crmml._typing import MONTHS, Duration, FloatArray, Grain, IntArray
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.batches import keep_customers
from crmml.features.purchases import cents, collapse_lines, fetch
from crmml.features.snapshot import own_lines
from crmml.features.windows import end_of_observation, read_moment
from crmml.metrics.bootstrap import hash_keys
from crmml.stats.discounting import UNIT_DAYS, in_units

HORIZONS = ("4W", "8W", "13W", "26W", "52W")
ADAPTIVE = "own 90 % gap"
_NORMAL_90 = 1.2815515655446004
_MOST_CUSTOMERS, _MOST_WINDOWS, _CANDIDATES = 100_000, 6, 4.0

_LEAST_GAPS = 30
"""Gaps between purchases from which on their median is held against a horizon."""


def compare_horizons(
    tables: Any,
    cutoff: str | pd.Timestamp | None = None,
    *,
    horizons: Sequence[str | Duration] = HORIZONS,
    grain: Grain = "day",
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Say for several horizons how many would count as churned, and how stable that is.

    A table to choose by; what is served has one horizon (``outcome.horizon``). Judged are the
    candidates of a churn model: who bought within the last four horizons.

    Parameters
    ----------
    tables : Tables, path, DataFrame, Arrow table or Source
        The log.
    cutoff : str or Timestamp, optional
        What happened later plays no part; default: the end of the data.
    horizons : sequence of str or Duration
        Fixed lengths of the outcome window.
    grain, own_seller
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        Index ``definition``: the fixed horizons, and ``own 90 % gap``, for each customer the 90th
        percentile of the gaps between its purchases, shrunk to that of all where there are few,
        and at most half the span of the data.
        Columns ``days`` (of the window; of the own gap the median), ``per_gap`` (in median gaps),
        ``windows`` (that do not overlap, at most 6), ``customers`` (in the newest), ``base_rate``
        (churned in the newest), ``lowest, highest`` (over the windows), ``came_back`` (of those
        who counted as churned, the share that bought in as long a time again) and ``too_short``
        (less than the median gap). Horizons that the data cannot show have no window; where nobody
        bought twice, there is no gap.

    Raises
    ------
    TooLittleDataError
        If nothing was bought before the cutoff.

    Examples
    --------
    >>> from crmml.data.datasets import load_cdnow
    >>> table = compare_horizons(load_cdnow(sample=True), horizons=["4W", "13W"])
    >>> table[["windows", "base_rate", "came_back"]].round(2).loc[["4W", "13W"]].values.tolist()
    [[6.0, 0.79, 0.16], [5.0, 0.72, 0.09]]
    """
    opened = tables if isinstance(tables, Tables) else open_tables(tables)
    code, day, end = _purchases(opened, cutoff, grain, own_seller)
    same = code[1:] == code[:-1]
    gaps = np.diff(day)[same]
    median = float(np.median(gaps)) if len(gaps) else np.nan
    lengths: dict[str, FloatArray] = {
        str(Duration.parse(one)): np.full(code[-1] + 1, in_units(one, "day")) for one in horizons
    }
    if len(gaps):
        lengths[ADAPTIVE] = _own_lengths(code[1:][same], gaps, int(code[-1]) + 1)
    rows = {}
    for name, length in lengths.items():
        typical = float(np.median(length))
        windows = _judge(code, day, length, end)
        rates = [rate for _, rate, _ in windows]
        back = [share for *_, share in windows if not np.isnan(share)]
        rows[name] = {
            "days": typical,
            "per_gap": typical / median,
            "windows": len(windows),
            "customers": windows[0][0] if windows else 0,
            "base_rate": rates[0] if rates else np.nan,
            "lowest": min(rates, default=np.nan),
            "highest": max(rates, default=np.nan),
            "came_back": float(np.mean(back)) if back else np.nan,
            "too_short": typical < median,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("definition")


def refuse_short_horizon(
    tables: Tables,
    cutoff: pd.Timestamp,
    horizon: str,
    *,
    grain: Grain = "day",
    own_seller: str | None = None,
) -> None:
    """Refuse a horizon in which the typical customer does not come back yet.

    Raises
    ------
    ParameterError
        If it is shorter than the median gap between two purchases, with the figures.
    """
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.filter(lines.timestamp < cutoff).mutate(cents=cents(lines.amount))
    periods = collapse_lines(lines, grain)
    bought = periods.filter(periods.lines > 0)
    before = bought.period.lag().over(ibis.window(group_by="customer_id", order_by="period"))
    gaps = bought.select(gap=bought.period - before).filter(ibis._.gap.notnull())
    found = fetch(gaps.group_by("gap").agg(n=gaps.count()), ["gap"])
    if found["n"].sum() < _LEAST_GAPS:  # a median of so few says little
        return
    reached = found["n"].cumsum().to_numpy()
    median = float(found["gap"].to_numpy()[np.searchsorted(reached, reached[-1] / 2)])
    days, length = median * UNIT_DAYS[grain], in_units(horizon, "day")
    if length < days:
        raise ParameterError(
            "outcome.horizon",
            f"at least the median gap between two purchases of a customer, {days / 7:.1f} weeks "
            f"(of {reached[-1]:,} gaps), or most who stay would count as churned (`crmml check` "
            "shows a table of horizons)",
            f"{horizon}, {length / 7:.1f} weeks",
        )


def _purchases(
    tables: Tables, cutoff: str | pd.Timestamp | None, grain: Grain, own_seller: str | None
) -> tuple[IntArray, FloatArray, float]:
    """Return customer and day of each purchase, sorted by both, and the end of what is seen."""
    end = end_of_observation(tables.last_timestamp, grain)
    moment = end if cutoff is None else read_moment(cutoff, "cutoff")
    lines = own_lines(tables.transactions, own_seller)
    people = fetch(lines.select("customer_id").distinct())["customer_id"]
    if len(people) > _MOST_CUSTOMERS:
        limit = np.uint64(_MOST_CUSTOMERS / len(people) * (2**64 - 2**11))
        tables = keep_customers(tables, pd.Index(people[hash_keys(people) <= limit]))
        lines = own_lines(tables.transactions, own_seller)
    lines = lines.filter(lines.timestamp < moment).mutate(cents=cents(lines.amount))
    periods = collapse_lines(lines, grain)
    found = fetch(
        periods.filter(periods.lines > 0).select("customer_id", "period"), ["customer_id", "period"]
    )
    if found.empty:
        raise TooLittleDataError(f"nothing was bought before {moment.date()}")
    code = pd.factorize(found["customer_id"])[0].astype(np.int64)
    period = found["period"].to_numpy(dtype=np.int64)
    if grain in MONTHS:
        months = (period * MONTHS[grain]).astype("datetime64[M]")
        day = months.astype("datetime64[D]").astype(np.float64)
    else:
        day = UNIT_DAYS[grain] * period - (3.0 if grain == "week" else 0.0)
    order = np.lexsort((day, code))
    return code[order], day[order], (moment - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)


def _own_lengths(code: IntArray, gaps: FloatArray, n: int) -> FloatArray:
    """Return the 90th percentile of each customer's log-normal gaps, shrunk to that of all."""
    logs = np.log(gaps)
    counts = np.bincount(code, minlength=n).astype(np.float64)
    sums = np.bincount(code, logs, n)
    means = sums / np.maximum(counts, 1.0)
    centre = float(logs.mean())
    within = float(((logs - means[code]) ** 2).sum() / max(len(logs) - (counts > 0).sum(), 1))
    total = float(logs.var())
    between = max(total - within, 1e-3)
    # who has no gap of their own gets the centre, also where the gaps do not differ at all
    weight = max(within, 1e-9) / between
    shrunk = (sums + weight * centre) / (counts + weight)
    return np.asarray(np.exp(shrunk + _NORMAL_90 * np.sqrt(within)))


def _judge(
    code: IntArray, day: FloatArray, length: FloatArray, end: float
) -> list[tuple[int, float, float]]:
    """Return candidates, share that churned, and share of these who came back, newest first."""
    starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
    begin, span = float(day.min()), float(day.max() - day.min()) + 2.0
    own = float(length.min()) < float(length.max())
    step = float(np.quantile(length, 0.95))
    step = min(step, (end - begin) / 2.0) if own else step
    length = np.minimum(length, step)
    keys = code * span + (day - begin)
    people = np.arange(len(starts))
    found: list[tuple[int, float, float]] = []
    cutoff = end - step
    while cutoff - step >= begin and len(found) < _MOST_WINDOWS:
        at = np.searchsorted(keys, people * span + (cutoff - begin))
        known = at > starts
        last = np.where(known, day[np.maximum(at - 1, 0)], -np.inf)
        candidate = known & (cutoff - last <= _CANDIDATES * length)
        ends = np.r_[starts[1:], len(code)]
        coming = np.where(at < ends, day[np.minimum(at, len(day) - 1)], np.inf) - cutoff
        gone = candidate & (coming >= length)
        if candidate.any():
            again = np.nan
            if found and gone.any():
                again = float((coming[gone] < 2.0 * length[gone]).mean())
            found.append((int(candidate.sum()), float(gone.sum() / candidate.sum()), again))
        cutoff -= step
    return found
