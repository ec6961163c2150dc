"""When the customers of a snapshot bought: counts by the period of the first and of each purchase.

An effect of the calendar, of a customer's age or of a promotion multiplies the purchase rate, so
the likelihood holds the sum of its logarithm over the purchases. The logarithms of several effects
add, so each needs one marginal of this table and no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from crmml._typing import MONTHS, BoolArray, FloatArray, Grain, IntArray
from crmml.card import Shown
from crmml.stats.discounting import UNIT_DAYS
from crmml.stats.operational_time import week_at, week_edges
from crmml.stats.runs import Runs


@dataclass(frozen=True, eq=False, repr=False)
class PurchaseTimes(Shown):
    """How many customers first seen in one period bought in another.

    Attributes
    ----------
    first, at : ndarray of int, shape (n,)
        Grain periods of the first purchase and of a purchase, ``at >= first``; each pair once.
        Where they are equal it is the first purchase itself.
    count : ndarray of int, shape (n,)
        Customers.
    grain : {"hour", "day", "week", "month", "quarter"}
        Length of a period; see :func:`crmml.features.purchases.period_at` for its number.

    Examples
    --------
    >>> times = PurchaseTimes(np.array([9, 9]), np.array([9, 12]), np.array([2, 1]), "day")
    >>> times.repeats, [column.tolist() for column in times.by_age()]
    (1, [[3], [1]])
    """

    first: IntArray
    at: IntArray
    count: IntArray
    grain: Grain

    @classmethod
    def gather(cls, times: Iterable[tuple[IntArray, IntArray]], grain: Grain) -> Self:
        """Count the purchases of some customers after the other.

        Parameters
        ----------
        times : iterable of (first, at)
            From :attr:`crmml.features.histories.Histories.times`.
        grain : {"hour", "day", "week", "month", "quarter"}
        """
        # One whole number for both periods, the age below 2**32: sorting it sorts the pairs.
        keys = np.concatenate([(first << 32) + (at - first) for first, at in times])
        keys.sort()
        runs = Runs(keys)
        first, age = runs.first(keys) >> 32, runs.first(keys) & 0xFFFFFFFF
        return cls(first, first + age, runs.sizes, grain)

    @property
    def repeats(self) -> int:
        """Number of repeat purchases."""
        return int(self.count[self.at > self.first].sum())

    def subset(self, keep: BoolArray) -> PurchaseTimes:
        """Keep some of the rows, those of some first periods for example."""
        return replace(self, first=self.first[keep], at=self.at[keep], count=self.count[keep])

    def starts(self, period: IntArray) -> FloatArray:
        """Return the moments at which periods begin, in days since 1970-01-01."""
        if self.grain in MONTHS:
            months = (np.asarray(period) * MONTHS[self.grain]).astype("datetime64[M]")
            return months.astype("datetime64[D]").astype(np.float64)
        # Weeks begin on Mondays; the one with the number 0 does on 1969-12-29.
        return np.asarray(UNIT_DAYS[self.grain] * period - (3.0 if self.grain == "week" else 0.0))

    def ends(self, period: IntArray) -> FloatArray:
        """Return the moments at which periods end, in days since 1970-01-01."""
        return self.starts(np.asarray(period) + 1)

    def by_age(self) -> tuple[IntArray, IntArray]:
        """Count repeat purchases by the periods since the first purchase.

        Returns
        -------
        age, count : ndarray of int, shape (n_ages,)
            Rising, from 1 on; ages at which nobody bought are left out.
        """
        repeat = self.at > self.first
        counts = np.bincount((self.at - self.first)[repeat], weights=self.count[repeat])
        seen = np.flatnonzero(counts)
        return seen.astype(np.int64), counts[seen].astype(np.int64)

    def by_week(self) -> tuple[int, IntArray, IntArray]:
        """Count first and repeat purchases by calendar week.

        Returns
        -------
        first_week : int
            Counted from Monday 1970-01-05.
        firsts, repeats : ndarray of int, shape (n_weeks,)
            From the first to the last week in which somebody bought.
        """
        return self._by(week_at(self.starts(self.at)))

    def by_span(self) -> tuple[FloatArray, IntArray, IntArray]:
        """Count first and repeat purchases by calendar week, or by month or quarter, the grain.

        Returns
        -------
        edges : ndarray, shape (n_spans + 1,)
            Where the spans begin, and where the last one ends, in days since 1970-01-01.
        firsts, repeats : ndarray of int, shape (n_spans,)
        """
        if self.grain not in MONTHS:
            week, firsts, repeats = self.by_week()
            return week_edges(week, len(firsts)), firsts, repeats
        begin, firsts, repeats = self._by(self.at)
        return self.starts(np.arange(begin, begin + len(firsts) + 1)), firsts, repeats

    def _by(self, span: IntArray) -> tuple[int, IntArray, IntArray]:
        begin, n_spans = int(span.min()), int(span.max() - span.min()) + 1
        is_first = self.at == self.first
        firsts, repeats = (
            np.bincount((span - begin)[rows], self.count[rows], n_spans).astype(np.int64)
            for rows in (is_first, ~is_first)
        )
        return begin, firsts, repeats
