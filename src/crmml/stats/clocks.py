r"""Clocks: operational time under several multipliers of the purchase rate at once, with slopes.

The rate of a customer first seen at :math:`f` is multiplied at the moment :math:`v` by
:math:`s(v)\,g(v - f)`: a pace :math:`s` common to all, constant between edges (weeks of a calendar,
promotions, prices), and :math:`g(u) = 1 + (F - 1) e^{-u/\kappa}` of the customer's age. Because the
exponential of a difference is a product, the integral over an interval needs tables of one
variable only,

.. math::
    S(b, e) = C(e) - C(b) + (F - 1) e^{-(b-f)/\kappa} \bigl[D(b) - e^{-(e-b)/\kappa} D(e)\bigr],
    \qquad C(t) = \int^t s,
    \qquad D(t) = \int_t^\infty s(v) e^{-(v-t)/\kappa} dv,

and ``D`` follows backwards from edge to edge, without cancellation and without overflow. So do the
slopes by :math:`\log F`, :math:`\log\kappa` and the coefficients of the logarithm of the pace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import solve_banded

from crmml._typing import FloatArray, IntArray
from crmml.stats.newcomer import NewcomerEffect


@dataclass(frozen=True)
class Pace:
    """Multiplier of all purchase rates, constant between edges, and before and after them.

    Attributes
    ----------
    edges : ndarray, shape (n_pieces + 1,)
        Rising moments, in any unit.
    rate : ndarray, shape (n_pieces,)
    by : ndarray, shape (n_coefficients, n_pieces)
        Slopes of the logarithm of the rate.

    Examples
    --------
    >>> pace = Pace(np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0]), np.empty((0, 2)))
    >>> pace.until(np.array([0.5, 1.5, 4.0])).tolist()
    [[-3.5, -1.5, 6.0]]
    """

    edges: FloatArray
    rate: FloatArray
    by: FloatArray

    @cached_property
    def _rows(self) -> FloatArray:
        return np.concatenate([self.rate[None], self.rate * self.by])

    @cached_property
    def _passed(self) -> FloatArray:
        """Integrals from the last edge back to each edge: none is above 0."""
        passed = np.zeros((len(self._rows), len(self.edges)))
        steps = self._rows * np.diff(self.edges)
        passed[:, :-1] = -np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
        return passed

    def _piece(self, t: FloatArray) -> Any:
        inside = np.searchsorted(self.edges, t, side="right") - 1
        return np.clip(inside, 0, len(self.rate) - 1)

    def until(self, t: FloatArray) -> FloatArray:
        """Integral of the pace from the last edge to ``t``, and its slopes: (1 + n_c, n).

        Counted from the last edge, where a past ends for all, no figure depends on how far back
        the pace of other customers begins.
        """
        after = self._piece(t) + 1
        before = self._rows[:, after - 1] * (self.edges[after] - t)
        return np.asarray(self._passed[:, after] - before)

    def fading(self, t: FloatArray, decay: float) -> FloatArray:
        r"""``D(t)``, its slope by :math:`\log\kappa`, those by the coefficients: (2 + n_c, n)."""
        rows, width = self._rows, np.diff(self.edges)
        apart = width / decay
        stays = np.exp(-apart)
        last = decay * rows[:, -1:]  # beyond the last edge the pace stays
        begun = self._begun(rows, apart, stays, decay)
        at = self._chain(begun, apart, stays, np.vstack([last[:1], last]))
        piece = self._piece(t)
        rest = np.maximum(self.edges[piece + 1] - t, 0.0) / decay
        beyond = t >= self.edges[-1]
        left, after = np.exp(-rest), at[:, piece + 1]
        found = self._begun(rows[:, piece], rest, left, decay) + left * after
        found[1] += left * rest * after[0]
        return np.where(beyond, at[:, -1:], found)

    @staticmethod
    def _begun(rows: FloatArray, width: FloatArray, stays: FloatArray, decay: float) -> FloatArray:
        """Return what a stretch itself gives at its begin, ``width`` decays before its end."""
        begun = decay * np.vstack([rows[:1], rows]) * (1.0 - stays)
        begun[1] = decay * rows[0] * (1.0 - stays * (1.0 + width))
        return begun

    @staticmethod
    def _chain(
        begun: FloatArray, width: FloatArray, stays: FloatArray, last: FloatArray
    ) -> FloatArray:
        """From the last edge back to the first: each is ``begun`` and what ``stays`` of the next.

        One banded system for all edges; edge by edge in Python took most of the time of a fit.
        """
        bands = np.ones((2, len(stays) + 1))
        bands[0, 1:] = -stays
        level = solve_banded((0, 1), bands, np.append(begun[0], last[0]), check_finite=False)
        right = np.hstack([begun[1:], last[1:]])
        right[0, :-1] += stays * width * level[1:]
        rest = solve_banded((0, 1), bands, right.T, check_finite=False)
        return np.vstack([level, rest.T])


class Passed(NamedTuple):
    """Operational time of some intervals.

    Attributes
    ----------
    time : ndarray, shape (n,)
    pull : callable
        Of weights (n,): the sum over intervals of weight times slope, by ``log first`` and
        ``log decay`` where the rate settles, then by the coefficients of the pace. This is all that
        the chain rule needs of the slopes, and never makes a table of intervals by coefficients.
    """

    time: FloatArray
    pull: Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Intervals:
    """Intervals whose ends are gathered once, because tables are needed of distinct moments only.

    Attributes
    ----------
    start, length : ndarray, shape (n,)
        In the unit of the edges of a pace. Infinite lengths are legal where there is no pace.
    age : ndarray, shape (n,)
        Time since the first purchase when the interval begins; infinite of those who have settled.
    """

    start: FloatArray
    length: FloatArray
    age: FloatArray

    @classmethod
    def of(cls, begin: FloatArray, length: FloatArray, age: FloatArray | float = 0.0) -> Intervals:
        """Take intervals of customers of some ages."""
        return cls(begin, length, np.broadcast_to(age, len(length)))

    @cached_property
    def _gathered(self) -> tuple[FloatArray, IntArray]:
        ends = np.concatenate([self.start, self.start + self.length])
        # Many intervals share their ends (all end at the cutoff): the pace is summed up once each.
        moments, place = np.unique(ends, return_inverse=True)
        return moments, place

    @property
    def moments(self) -> FloatArray:
        """Distinct ends of intervals."""
        return self._gathered[0]

    @property
    def begin(self) -> IntArray:
        """Places of the begins among the moments."""
        return self._gathered[1][: len(self.length)]

    @property
    def end(self) -> IntArray:
        """Places of the ends among the moments."""
        return self._gathered[1][len(self.length) :]

    @cached_property
    def _all_new(self) -> bool:
        return not self.age.any()

    def under(self, pace: Pace | None, effect: NewcomerEffect | None) -> Passed:
        """Operational time under a pace common to all and a rate that settles with age."""
        until = None if pace is None else pace.until(self.moments)
        plain = self.length if until is None else until[0, self.end] - until[0, self.begin]
        if effect is None:
            return Passed(plain, lambda weights: self._pull_pace(until, weights))
        first, decay = effect
        spent = self.length / decay
        # Only exponentials of negative numbers, so that a short decay underflows to 0 and no more.
        left = np.exp(-spent)
        older = 1.0 if self._all_new else np.exp(-self.age / decay)
        fading = None if pace is None else pace.fading(self.moments, decay)
        if fading is None:
            tail = -decay * np.expm1(-spent)
        else:
            tail = fading[0, self.begin] - left * fading[0, self.end]
        faded = older * tail

        def pull(weights: FloatArray) -> FloatArray:
            if fading is None:  # x exp(-x) is 0 at infinity
                bend = tail - decay * np.where(left > 0, spent, 0.0) * left
            else:
                bend = fading[1, self.begin] - left * (
                    fading[1, self.end] + spent * fading[0, self.end]
                )
            # Of those who have settled the age is infinite and nothing fades.
            aged = 0.0 if self._all_new else np.where(older > 0, self.age, 0.0) / decay * faded
            own = [first * (weights @ faded), (first - 1.0) * (weights @ (aged + older * bend))]
            by_pace = self._pull_pace(until, weights)
            if fading is not None and len(by_pace):
                share = (first - 1.0) * older * weights
                by_pace = by_pace + fading[2:] @ (
                    self._sum(self.begin, share) - self._sum(self.end, share * left)
                )
            return np.concatenate([own, by_pace])

        return Passed(plain + (first - 1.0) * faded, pull)

    def _sum(self, place: IntArray, weights: FloatArray) -> FloatArray:
        summed = np.bincount(place, weights=weights, minlength=len(self.moments))
        return np.asarray(summed, dtype=np.float64)

    def _pull_pace(self, until: FloatArray | None, weights: FloatArray) -> FloatArray:
        if until is None or len(until) == 1:
            return np.empty(0)
        return np.asarray(
            until[1:] @ (self._sum(self.end, weights) - self._sum(self.begin, weights))
        )
