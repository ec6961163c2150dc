"""The clocks of a fitted model at work: histories, horizons and discounting on operational time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError
from crmml.features.snapshot import Distinct, Snapshot
from crmml.models.purchase.calendar import CalendarProfile
from crmml.models.purchase.clocks import ScheduleClock
from crmml.models.purchase.distribution import Histories
from crmml.models.purchase.joint_fit import end_of, log_factors, pace_edges
from crmml.stats import newcomer
from crmml.stats import operational_time as ot
from crmml.stats.clocks import Intervals, Pace
from crmml.stats.discounting import UNIT_DAYS
from crmml.stats.newcomer import NewcomerEffect

_REACH = 36.0
_AGES = 12
"""Values of exp(-age / decay) at which discounted purchases are found under a pace."""
_INTERVALS: WeakKeyDictionary[Distinct, dict[Any, list[Intervals]]] = WeakKeyDictionary()
"""From the first purchase to the end and to the last one, as long as the histories are kept."""
_WEEKS_OF_PROFILE = 5218
"""A hundred years, after which a discounted sum to infinity takes the profile at its mean, 1."""


@dataclass(frozen=True)
class Clockwork:
    """All clocks of a model at their values.

    Attributes
    ----------
    calendar : CalendarProfile or None
    effect : NewcomerEffect or None
        The change of the rate of newcomers, in units of time.
    schedules : ScheduleClock or None
    coefficients : ndarray, shape (n_names,)
        Of the names of the schedules.
    """

    calendar: CalendarProfile | None
    effect: NewcomerEffect | None
    schedules: ScheduleClock | None
    coefficients: FloatArray

    @property
    def even(self) -> bool:
        """Whether operational time is that of the calendar."""
        return self.effect is None and not self._paced

    @property
    def _paced(self) -> bool:
        return self.calendar is not None or self.schedules is not None

    def pace_between(self, begin: float, end: float) -> Pace | None:
        """Shared pace between two moments in days, its edges in days since 1970-01-01.

        None where it is 1 throughout.
        """
        if self.schedules is None and (self.calendar is None or self.calendar.flat):
            return None
        edges = pace_edges(begin, end, self.calendar is not None, self.schedules)
        logs = log_factors(edges, self.calendar)
        if self.schedules is not None:
            middle = (edges[1:] + edges[:-1]) / 2
            logs = logs + self.coefficients @ self.schedules.columns(middle)
        return Pace(edges, np.exp(logs), np.empty((0, len(logs))))

    def pace(self, snapshot: Snapshot, begin: float, end: float) -> Pace | None:
        """Return the same with its edges in units after the end of the data."""
        pace = self.pace_between(begin, end)
        if pace is None:
            return None
        edges = (pace.edges - end_of(snapshot)) / UNIT_DAYS[snapshot.time_unit]
        return replace(pace, edges=edges)

    def histories(self, snapshot: Snapshot, h: Histories, age: FloatArray) -> Histories:
        """Put histories on the clock.

        Parameters
        ----------
        snapshot : Snapshot
        h : Histories
            In calendar time.
        age : ndarray, shape (n_distinct,)
            Time since the first purchase at the cutoff; infinite of customers older than the data.
        """
        if not len(h.T):
            return h
        end, unit = end_of(snapshot), UNIT_DAYS.get(snapshot.time_unit, 1.0)
        pace = self.pace(snapshot, end - float(h.T.max()) * unit, end)
        if pace is None and self.effect is None:
            return h
        # The interval begins with the first purchase, but for those who are older than the data.
        begins = np.where(np.isinf(age), age, 0.0)
        # Every horizon and every node of a posterior asks for the same intervals.
        known = _INTERVALS.setdefault(h.groups, {})
        if begins.any() not in known:
            known[begins.any()] = [Intervals.of(-h.T, length, begins) for length in (h.T, h.t_x)]
        T, t_x = (its.under(pace, self.effect).time for its in known[begins.any()])
        return Histories(h.x, np.where(h.x > 0, np.minimum(t_x, T), 0.0), T, h.covariates, h.groups)

    def lengths(self, snapshot: Snapshot, lengths: FloatArray, age: FloatArray) -> FloatArray:
        """Put lengths of one horizon after the cutoff on the clock.

        Parameters
        ----------
        snapshot : Snapshot
        lengths : ndarray, shape (n,)
            All the same, infinite without a horizon, which then only the age changes.
        age : ndarray, shape (n,)
        """
        pace = None
        if len(lengths) and np.isfinite(lengths[0]):
            end, unit = end_of(snapshot), UNIT_DAYS.get(snapshot.time_unit, 1.0)
            pace = self.pace(snapshot, end, end + float(lengths[0]) * unit)
        if pace is not None:
            # One interval, of customers of many ages.
            same = Intervals(np.zeros(1), lengths[:1], age)
            return np.broadcast_to(same.under(pace, self.effect).time, lengths.shape)
        return lengths if self.effect is None else self.effect.passed(age, lengths)

    def discounted(
        self,
        snapshot: Snapshot,
        params: Any,
        age: FloatArray,
        until: FloatArray,
        length: float | None,
        delta: float,
    ) -> FloatArray:
        """E[sum of exp(-delta t) over the purchases] of customers who are active.

        Parameters
        ----------
        snapshot : Snapshot
        params : NamedTuple
            Parameters of the futures, fields of shape (n,) or numbers.
        age, until : ndarray, shape (n,)
            Time since the first purchase, and length of the horizon in calendar time.
        length : float, optional
            The same as one number; None looks to infinity.
        delta : float
            Continuous discount rate per unit of time.
        """
        effect = self.effect
        if not self._paced and effect is not None:
            return newcomer.discounted_purchases(params, age, until, delta, effect)
        moments, beyond = self._path_ahead(snapshot, length, delta)
        pace = self.pace(
            snapshot,
            end_of(snapshot),
            end_of(snapshot) + moments[-1] * UNIT_DAYS[snapshot.time_unit],
        )
        if effect is None:
            passed = Intervals.of(np.zeros(len(moments)), moments).under(pace, None).time
            return _discounted(params, moments, passed, beyond, delta)
        # The clock of an age is C(u) + e G(u) with e = exp(-age / decay): all customers follow one
        # path at a few values of e, between which the result is smooth.
        decay = effect.decay
        fine = decay * np.arange(0.0, _REACH, 1.0 / 32.0)
        at = np.union1d(moments, fine[fine < moments[-1]])
        angle = np.pi * (np.arange(_AGES) + 0.5) / _AGES
        nodes = np.cos(angle)
        at_nodes = []
        for share in (nodes + 1.0) / 2.0:
            same = Intervals.of(np.zeros(len(at)), at, -decay * math.log(share))
            passed = same.under(pace, effect).time
            at_nodes.append(_discounted(params, at, passed, beyond, delta))
        terms = 2.0 / _AGES * np.cos(np.outer(np.arange(_AGES), angle)) @ np.array(at_nodes)
        terms[0] /= 2.0
        basis = np.polynomial.chebyshev.chebvander(2.0 * np.exp(-age / decay) - 1.0, _AGES - 1)
        return np.asarray((basis * terms.T).sum(axis=1))

    def _path_ahead(
        self, snapshot: Snapshot, horizon: float | None, delta: float
    ) -> tuple[FloatArray, FloatArray]:
        """Moments in units after the end of the data between which the pace is constant.

        Returns
        -------
        moments : ndarray
            From 0 to the horizon, or to where the profile is followed.
        beyond : ndarray
            Further moments, counted from the last one, at which the pace is 1.
        """
        unit = UNIT_DAYS[snapshot.time_unit]
        beyond = np.empty(0)
        if horizon is not None:
            length = horizon
        else:
            if self.calendar is not None and not self.calendar.weekly:
                raise ParameterError("horizon", "given where the profile is a table of dates", None)
            reach = _REACH / delta
            length = min(reach, _WEEKS_OF_PROFILE * ot.DAYS_PER_WEEK / unit)
            if reach > length:
                n = int(np.ceil(np.log(reach / length) / np.log(1.02))) + 1
                beyond = np.geomspace(length, reach, n)[1:] - length
        end = end_of(snapshot)
        edges = pace_edges(end, end + length * unit, self.calendar is not None, self.schedules)
        inside = edges[(edges > end) & (edges < end + length * unit)]
        return np.concatenate([[0.0], (inside - end) / unit, [length]]), beyond


def _discounted(
    params: Any, moments: FloatArray, passed: FloatArray, beyond: FloatArray, delta: float
) -> FloatArray:
    """Discounted purchases along a path of the clock, and beyond it at a pace of 1."""
    calendar = np.concatenate([moments, moments[-1] + beyond])
    clock = np.concatenate([passed, passed[-1] + beyond])
    return ot.discounted_purchases(params, calendar, clock, delta)
