"""Dates far from all others: a few lines that a log, as dense as it is elsewhere, cannot hold.

One line dated 2099 moves the end of the data there, and with it every customer looks lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd

_ENOUGH = 20
"""Rows from which on a log has a bulk."""
_FEW, _SHARE, _MOST = 3, 0.001, 0.05
"""Rows on one side that may be mistakes: three, or a thousandth; never above a twentieth."""
_AHEAD_DAYS, _AHEAD_GAPS = 60, 3.0
"""Beyond today by two months, and by three times the longest gap of the bulk."""
_AWAY_DAYS, _AWAY_GAPS, _AWAY_SPANS = 5 * 365, 10.0, 3.0
"""Else: of five years, ten times that gap, and three times all that the bulk spans."""


@dataclass(frozen=True)
class Bulk:
    """The days between which all lie but a few.

    Attributes
    ----------
    first, last : Timestamp
        First and last day of the bulk.
    rows : int
        Rows outside of it.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    rows: int

    def leaves_out(self, at: ir.TimestampValue) -> ir.BooleanValue:
        """Write whether a time lies outside."""
        return (at < self.first) | (at >= self.last + pd.Timedelta(days=1))


def find_bulk(times: ir.TimestampColumn, today: pd.Timestamp | None = None) -> Bulk | None:
    """Find the bulk of a column of times; None where no row lies far from it.

    Parameters
    ----------
    times : Ibis column
        Null counts for nothing.
    today : Timestamp, optional
        By default that of the machine.
    """
    days = times.cast("date").name("day").as_table()
    counted = days.filter(days.day.notnull()).group_by("day").agg(n=ibis._.count())
    found = counted.order_by("day").to_pyarrow()
    day = found["day"].to_numpy().astype("datetime64[D]").astype(np.int64)
    now = pd.Timestamp.now().normalize() if today is None else today
    ends = bulk_of(day, found["n"].to_numpy().astype(np.int64), (now - pd.Timestamp(0)).days)
    if ends is None:
        return None
    outside = (day < ends[0]) | (day > ends[1])
    first, last = (pd.Timestamp(np.datetime64(end, "D")) for end in ends)
    return Bulk(first, last, int(found["n"].to_numpy()[outside].sum()))


def bulk_of(
    day: npt.NDArray[np.int64], n: npt.NDArray[np.int64], today: int
) -> tuple[int, int] | None:
    """Return the first and last day of the bulk; None where no day lies far from it.

    Parameters
    ----------
    day, n : ndarray of int, shape (n_days,)
        Days since 1970-01-01, rising, and the rows of each.
    today : int
        After it a day is one of the future.

    Examples
    --------
    >>> daily = np.r_[np.arange(19_000, 20_000), 47_000]
    >>> bulk_of(daily, np.ones(1_001, dtype=np.int64), 20_100)
    (19000, 19999)
    >>> yearly = 19_000 + 365 * np.arange(6)  # gifts at Christmas
    >>> bulk_of(yearly, np.array([40, 38, 41, 35, 39, 1]), 20_100) is None
    True
    """
    total = int(n.sum())
    if total < _ENOUGH or len(day) < 3:
        return None
    few = int(min(max(_FEW, _SHARE * total), _MOST * total))
    below = np.cumsum(n)
    # the days that are left where a few rows go from either side
    low = int(np.searchsorted(below, few, side="right"))
    high = int(np.searchsorted(below, total - few, side="left"))
    if high <= low:
        return None
    core = day[low : high + 1]
    gap, span = int(np.diff(core).max()), int(core[-1] - core[0])
    away = max(_AWAY_DAYS, _AWAY_GAPS * gap, _AWAY_SPANS * span)
    ahead = max(_AHEAD_DAYS, _AHEAD_GAPS * gap)
    first, last = low, high
    while first > 0 and day[first] - day[first - 1] <= away:
        first -= 1
    while last < len(day) - 1:
        step = day[last + 1] - day[last]
        if step > away or (day[last] <= today and day[last + 1] - today > ahead):
            break
        last += 1
    if (first, last) == (0, len(day) - 1):
        return None
    return int(day[first]), int(day[last])
