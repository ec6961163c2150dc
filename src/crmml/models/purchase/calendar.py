"""Calendar effects: a profile of the purchase rate over the year, given or estimated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import MONTHS, FloatArray, Grain
from crmml.exceptions import (
    CrmmlError,
    ParameterError,
    first_few,
)
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Snapshot
from crmml.features.windows import end_of_observation, start_of_calendar
from crmml.stats import operational_time as ot
from crmml.stats.discounting import UNIT_DAYS

LEAST_WEEKS = 104
"""Length of data from which a profile can be estimated: every week of the year seen twice."""
MOST_WAVES = 13
"""Waves a year tried: the shortest is four weeks long."""

_EPOCH = pd.Timestamp("1970-01-01")


@dataclass(frozen=True)
class CalendarProfile:
    """Multiplier of the purchase rate in each week, Monday to Sunday; its mean over a year is 1.

    Made by :meth:`from_weeks` or :meth:`from_dates`, or estimated by a model with
    ``calendar="estimate"``.

    Attributes
    ----------
    weekly : tuple of float
        Factors of the ISO weeks 1 to 53, repeating every year; empty where only dates are given.
    dated : dict of str to float
        Factors of single weeks, keyed by their Monday (``"2024-11-25"``); they go before
        ``weekly``.

    Examples
    --------
    >>> december = {week: 2.0 if week > 48 else 1.0 for week in range(1, 53)}
    >>> profile = CalendarProfile.from_weeks(december)
    >>> round(profile.weekly[51] / profile.weekly[0], 6)
    2.0
    """

    weekly: tuple[float, ...] = ()
    dated: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_weeks(
        cls, table: Mapping[int, float] | pd.Series[float], dated: Mapping[Any, float] | None = None
    ) -> Self:
        """Take one factor per ISO week of the year.

        Parameters
        ----------
        table : mapping or Series of float
            Keyed by 1 to 52, and 53 (default: the mean of 52 and 1); positive. They are divided
            by their mean over the years of four centuries.
        dated : mapping, optional
            Factors of single weeks by their Monday, on the scale of ``table``.

        Raises
        ------
        ParameterError
            If a week is missing or unknown, or a factor is not a positive number.
        """
        given = {int(week): float(factor) for week, factor in dict(table).items()}
        if sorted(set(given) | {53}) != list(range(1, 54)):
            raise ParameterError("table", "keyed by the ISO weeks 1 to 52 (and 53)", sorted(given))
        # A 53rd week comes every five or six years: two years of data seldom hold one.
        given.setdefault(53, (given[52] + given[1]) / 2.0)
        weekly = _positive([given[week] for week in range(1, 54)])
        # The mean of the years, so that rates keep their meaning of purchases per unit of time.
        mean = (weekly[:52].sum() + ot.LONG_WEEK_SHARE * weekly[52]) / (52.0 + ot.LONG_WEEK_SHARE)
        extra = _by_monday(dated or {})
        return cls(
            tuple((weekly / mean).tolist()),
            {monday: float(factor / mean) for monday, factor in extra.items()},
        )

    @classmethod
    def from_dates(cls, table: Mapping[Any, float] | pd.Series[float]) -> Self:
        """Take one factor per calendar week, keyed by its Monday; outside nothing is known.

        Parameters
        ----------
        table : mapping or Series of float
            Dates to positive factors, which are divided by their mean. It must reach from the
            first purchase to the end of every horizon that is asked for.

        Raises
        ------
        ParameterError
            If a date is no Monday or a factor is not a positive number.
        """
        given = _by_monday(table)
        if not given:
            raise ParameterError("table", "a table of at least one week", dict(table))
        mean = sum(given.values()) / len(given)
        return cls((), {monday: factor / mean for monday, factor in given.items()})

    @property
    def flat(self) -> bool:
        """Whether every factor is 1: no week is known to differ from the others."""
        return bool(self.weekly) and not self.dated and set(self.weekly) == {1.0}

    def factors(self, first: int, n_weeks: int) -> FloatArray:
        """Return the factors of consecutive weeks, counted from Monday 1970-01-05.

        Raises
        ------
        CrmmlError
            If the profile is a table of dates that does not hold them all.
        """
        week = first + np.arange(n_weeks)
        if self.weekly:
            values = np.asarray(self.weekly)[ot.week_of_year(week) - 1]
        else:
            values = np.full(n_weeks, np.nan)
        # Single weeks last, as they stand for what the year's profile cannot know: Easter, a
        # strike.
        for monday, factor in self.dated.items():
            place = _week_number(monday) - first
            if 0 <= place < n_weeks:
                values[place] = factor
        unknown = np.isnan(values)
        if unknown.any():
            missing = [_monday(int(number)) for number in week[unknown]]
            raise CrmmlError(
                f"the calendar has no factor for the weeks from {first_few(missing)}; a table of "
                "dates must reach from the first purchase to the end of the horizon"
            )
        return np.asarray(values, dtype=np.float64)

    def clock(self, begin: float, end: float) -> tuple[FloatArray, FloatArray]:
        """Return moments from ``begin`` or before to ``end`` or after, and operational time there.

        Both are in days; operational time runs evenly between the moments.
        """
        first = int(ot.week_at(begin))
        n_weeks = max(int(np.ceil((end - ot.week_edges(first, 0)[0]) / ot.DAYS_PER_WEEK)), 1)
        steps = ot.DAYS_PER_WEEK * self.factors(first, n_weeks)
        return ot.week_edges(first, n_weeks), np.concatenate([[0.0], np.cumsum(steps)])

    def table(self) -> pd.DataFrame:
        """Return the profile as a table to look at or to plot.

        Returns
        -------
        DataFrame
            Column ``factor``, indexed by ``week`` (of the year), or by the ``monday`` of single
            weeks where the profile has only those.
        """
        if self.weekly:
            weeks = pd.RangeIndex(1, 54, name="week")
            return pd.DataFrame({"factor": list(self.weekly)}, index=weeks)
        mondays = pd.DatetimeIndex(sorted(self.dated), name="monday")
        return pd.DataFrame({"factor": [self.dated[m] for m in sorted(self.dated)]}, index=mondays)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"weekly": list(self.weekly), "dated": dict(self.dated)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(tuple(stored["weekly"]), dict(stored["dated"]))


def _positive(values: Sequence[float]) -> FloatArray:
    factors = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise ParameterError("table", "of finite factors > 0", factors.min())
    return factors


def _by_monday(table: Mapping[Any, float] | pd.Series[float]) -> dict[str, float]:
    given = {pd.Timestamp(date): float(factor) for date, factor in dict(table).items()}
    wrong = [str(date.date()) for date in given if date.day_of_week or date != date.normalize()]
    if wrong:
        raise ParameterError("table", "keyed by Mondays", wrong[:5])
    _positive(list(given.values()) or [1.0])
    return {date.date().isoformat(): factor for date, factor in sorted(given.items())}


def _week_number(monday: str) -> int:
    return int(ot.week_at(float((pd.Timestamp(monday) - _EPOCH).days)))


def _monday(week: int) -> str:
    day = int(ot.FIRST_MONDAY) + 7 * week
    return str(np.datetime64(day, "D"))


def grain_edge(moment: pd.Timestamp, grain: Grain, *, up: bool = False) -> float:
    """Return the start of the grain period that holds a moment, in days since 1970-01-01.

    Parameters
    ----------
    moment : Timestamp
    grain : {"hour", "day", "week", "month", "quarter"}
    up : bool
        The end of the period instead, unless the moment is itself a start.

    Examples
    --------
    >>> grain_edge(pd.Timestamp("1970-01-07 13:00"), "week")
    4.0
    >>> grain_edge(pd.Timestamp("1970-01-07 13:00"), "day", up=True)
    7.0
    >>> grain_edge(pd.Timestamp("1970-02-07 13:00"), "month", up=True)
    59.0
    """
    if grain in MONTHS:
        start = start_of_calendar(moment, grain)
        if up and start != moment:
            start = end_of_observation(moment, grain)
        return float((start - _EPOCH) / pd.Timedelta(days=1))
    anchor = _EPOCH + pd.Timedelta(days=ot.FIRST_MONDAY if grain == "week" else 0.0)
    step = pd.Timedelta(days=UNIT_DAYS[grain])
    periods = -((anchor - moment) // step) if up else (moment - anchor) // step
    return float((anchor - _EPOCH + periods * step) / pd.Timedelta(days=1))


def known_times(snapshot: Snapshot) -> PurchaseTimes | None:
    """Return when these very customers bought; None where that is unknown."""
    times: PurchaseTimes | None = snapshot.provenance.get("purchase_times")
    if times is None or times.repeats != snapshot.frame["frequency"].sum():
        return None
    return times
