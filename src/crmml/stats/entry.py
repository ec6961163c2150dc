"""How customers enter the data: all the time, before it began, or only in its first part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from scipy.optimize import isotonic_regression

from crmml._typing import BoolArray, Duration, FloatArray

Base: TypeAlias = Literal["open", "left_censored", "closed_cohort", "too_short"]
"""How customers enter: all the time; before the data began; only in their first part; untold."""

MANY_TIMES = 3.0
"""First-seen customers per day at the start over later on, from which a base is suspect."""
STEADY = 0.5
"""Buyers per day later on over those at the start, from which trade counts as steady."""
START_DAYS = 28.0
"""What counts as the start."""
LEAST_DAYS = 112.0
"""Length of data below which nothing can be said."""


@dataclass(frozen=True)
class Entry:
    """Whether the customers are older than the data, with the evidence.

    In a base that is older than its data the first weeks are full of customers who look new, while
    the number of buyers stays about the same. In a closed cohort the buyers decline with the new
    customers, or new customers come as often as ever until the day on which no more are won.

    Attributes
    ----------
    base : {"open", "left_censored", "closed_cohort", "too_short"}
        The verdict.
    new_at_start, new_later : float
        Customers first seen per day, in the first four weeks and in the second half of the data.
    buyers_at_start, buyers_later : float
        Purchases per day in the same two periods.
    margin : Duration or None
        Until when a customer first seen is more likely an old one than a new one: while more than
        twice as many are first seen as later on (the first-seen rate being smoothed to fall).
    """

    base: Base
    new_at_start: float
    new_later: float
    buyers_at_start: float
    buyers_later: float
    margin: Duration | None

    @property
    def sentence(self) -> str:
        """The verdict with its figures."""
        figures = (
            f"{self.new_at_start:.1f} customers a day are first seen in the first four weeks and "
            f"{self.new_later:.1f} a day in the second half of the data, while purchases go from "
            f"{self.buyers_at_start:.1f} to {self.buyers_later:.1f} a day"
        )
        return {
            "left_censored": f"the base is older than the data: {figures}; those first seen within "
            f"{self.margin} of the start are more likely old customers than new ones",
            "open": f"nothing says that the base is older than the data: {figures}",
            "closed_cohort": f"a closed cohort, not an old base: {figures}",
            "too_short": "the data are too short to tell whether the base is older",
        }[self.base]


def judge_entry(
    span: tuple[float, float],
    begins: FloatArray,
    ends: FloatArray,
    first: FloatArray,
    all_: FloatArray,
) -> Entry:
    """Judge from counts of first purchases and of all purchases whether the base is older.

    Parameters
    ----------
    span : tuple of float
        Begin and end of the data, days.
    begins, ends : ndarray of float, shape (n_periods,)
        Of successive periods (days or weeks, the outer ones perhaps cut short), in days.
    first, all_ : ndarray of float, shape (n_periods,)
        First purchases, and all purchases, in each.

    Notes
    -----
    Old customers who buy rarely are first seen all along, and counts cannot tell them from new
    ones: such a base may be called open.

    Examples
    --------
    >>> day = np.arange(364.0)
    >>> seen = 1 + 30 * np.exp(-day / 20)
    >>> old = judge_entry((0, 364), day, day + 1, seen, np.full(364, 31.0))
    >>> old.base, str(old.margin)
    ('left_censored', '69D')
    >>> stopped = np.where(day < 100, 10.0, 0.0)
    >>> bought = np.minimum(day / 5, 20) + stopped
    >>> judge_entry((0, 364), day, day + 1, stopped, bought).base
    'closed_cohort'
    """
    (start, end), days = span, ends - begins
    # The second half, not the last weeks: a season at the end would look like growth or decline.
    at_start, later = ends <= start + START_DAYS, begins >= (start + end) / 2.0

    def per_day(counts: FloatArray, periods: BoolArray) -> float:
        return float(counts[periods].sum() / max(days[periods].sum(), 1.0))

    rates = [per_day(counts, periods) for counts in (first, all_) for periods in (at_start, later)]
    new_at_start, new_later, buyers_at_start, buyers_later = rates
    base: Base = "open"
    margin = None
    if end - start < LEAST_DAYS:
        base = "too_short"
    elif new_at_start > MANY_TIMES * new_later:
        # Old customers keep the trade steady although few new ones come; a closed cohort fades.
        steady = buyers_later >= STEADY * buyers_at_start
        stopped = _stops_short(days, first, new_at_start, new_later)
        base = "left_censored" if steady and not stopped else "closed_cohort"
    if base == "left_censored":
        # Counts by day are noisy. That they only fall is all that is assumed of old customers.
        falling = isotonic_regression(first / days, weights=days, increasing=False).x
        margin = Duration(float(ends[falling > 2.0 * new_later][-1] - start), "day")
    return Entry(base, new_at_start, new_later, buyers_at_start, buyers_later, margin)


def _stops_short(days: FloatArray, first: FloatArray, at_start: float, later: float) -> bool:
    """Tell an acquisition that came to an end from old customers who are seen one by one.

    The old ones are used up from the first day on, so few are left by the time that nine in ten
    were seen; new ones are won at much the same rate until the end.
    """
    # What comes on top of the later rate: the old customers, if they are old.
    above = (first - later * days).cumsum()
    n = int(np.argmax(above >= 0.9 * above.max())) + 1
    passed = days[:n].cumsum()
    last = passed > 0.75 * passed[-1]
    rate = first[:n][last].sum() / days[:n][last].sum()
    return bool(passed[-1] > START_DAYS and rate - later > 0.5 * (at_start - later))
