"""Calendar effects: a profile of the purchase rate over the year, given or estimated."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from crmml._typing import Duration, FloatArray, Grain
from crmml.exceptions import (
    ConvergenceWarning,
    CrmmlError,
    FitWarning,
    ParameterError,
    TooLittleDataError,
    few,
)
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import row_weights
from crmml.models.purchase.base import Future, Histories, PurchaseModel
from crmml.stats import mle
from crmml.stats import operational_time as ot
from crmml.stats.discounting import UNIT_DAYS, in_units

LEAST_WEEKS = 104
"""Length of data from which a profile can be estimated: every week of the year seen twice."""
MOST_WAVES = 13
"""Waves a year tried: the shortest is four weeks long."""

_EPOCH = pd.Timestamp("1970-01-01")
_REACH = 36.0
_WEEKS_OF_PROFILE = 5218
"""A hundred years, after which a discounted sum to infinity takes the profile at its mean, 1."""


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
        given.setdefault(53, (given[52] + given[1]) / 2.0)
        weekly = _positive([given[week] for week in range(1, 54)])
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
        for monday, factor in self.dated.items():
            place = _week_number(monday) - first
            if 0 <= place < n_weeks:
                values[place] = factor
        unknown = np.isnan(values)
        if unknown.any():
            missing = [_monday(int(number)) for number in week[unknown]]
            raise CrmmlError(
                f"the calendar has no factor for the weeks from {few(missing)}; a table of dates "
                "must reach from the first purchase to the end of the horizon"
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
    grain : {"hour", "day", "week"}
    up : bool
        The end of the period instead, unless the moment is itself a start.

    Examples
    --------
    >>> grain_edge(pd.Timestamp("1970-01-07 13:00"), "week")
    4.0
    >>> grain_edge(pd.Timestamp("1970-01-07 13:00"), "day", up=True)
    7.0
    """
    anchor = _EPOCH + pd.Timedelta(days=ot.FIRST_MONDAY if grain == "week" else 0.0)
    step = pd.Timedelta(days=UNIT_DAYS[grain])
    periods = -((anchor - moment) // step) if up else (moment - anchor) // step
    return float((anchor - _EPOCH + periods * step) / pd.Timedelta(days=1))


class CalendarPurchaseModel(PurchaseModel):
    """A purchase process whose rate may follow the calendar.

    Under a profile ``s(t)`` of the purchase rate, a process whose dropout happens at purchases is
    the plain one on the clock ``S(t)``, the integral of ``s``: recency and T become differences of
    ``S``, the log-likelihood gains the sum of ``log s`` at the purchases, and a horizon ``h`` is as
    long as ``S(cutoff + h) - S(cutoff)``. Nothing else changes.

    Parameters
    ----------
    purchase_covariates, dropout_covariates, ridge
        See :class:`~crmml.models.purchase.base.PurchaseModel`.
    calendar : CalendarProfile, "estimate" or None
        A profile; or estimate one by maximum likelihood from at least two years of data: the
        logarithm of the profile is a sum of waves of a whole number of turns a year, as many as
        the Bayesian information criterion (of the likelihood over its dispersion) wants, at most
        13. Estimation alternates between the parameters given the profile, and a Poisson
        regression of the weekly purchases on what the customers are expected to buy given their
        histories; every round raises the likelihood.

    Attributes
    ----------
    calendar_ : CalendarProfile or None
        The profile used.
    n_waves_ : int or None
        Waves a year of the estimated profile; 0 where none is worth its price.
    dispersion_ : float or None
        Of the weekly purchases around the profile; 1 for Poisson counts.
    flat_log_likelihood_ : float or None
        At the optimum without a profile.

    Notes
    -----
    With a profile ``standard_errors_`` take it as known, and ``expected_purchases_new_customer``
    speaks of a newcomer at no particular time of the year (a profile of 1).
    Purchases are discounted by calendar time, week by week. Without a horizon the profile is
    followed for a hundred years and then counts as 1; a table of dates, which ends, is refused.
    """

    _state = (
        *PurchaseModel._state,
        "calendar_",
        "n_waves_",
        "dispersion_",
        "flat_log_likelihood_",
    )  # type: ignore[assignment]

    calendar_: CalendarProfile | None = None
    n_waves_: int | None = None
    dispersion_: float | None = None
    flat_log_likelihood_: float | None = None

    def __init__(
        self,
        *,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
        calendar: CalendarProfile | Literal["estimate"] | None = None,
    ) -> None:
        super().__init__(
            purchase_covariates=purchase_covariates,
            dropout_covariates=dropout_covariates,
            ridge=ridge,
        )
        self.calendar = calendar

    # -- storage -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        stored = super().to_dict()
        for part, name in (("settings", "calendar"), ("state", "calendar_")):
            if isinstance(stored[part][name], CalendarProfile):
                stored[part][name] = stored[part][name].to_dict()
        return stored

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild a fitted estimator from :meth:`to_dict`."""
        model = super().from_dict(stored)
        if isinstance(model.calendar, dict):
            model.calendar = CalendarProfile.from_dict(model.calendar)
        if isinstance(model.calendar_, dict):
            model.calendar_ = CalendarProfile.from_dict(model.calendar_)
        return model

    # -- fit ---------------------------------------------------------------------------------------

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood; see :meth:`crmml.models.purchase.base.PurchaseModel.fit`.

        Raises
        ------
        TooLittleDataError
            If a profile is to be estimated from less than two years of data, or from a snapshot
            that does not know in which weeks its customers bought
            (``provenance["purchase_times"]``).
        ParameterError
            If it is to be estimated with sample weights, whose weeks are unknown.

        Warns
        -----
        FitWarning
            If a profile is given and those weeks are unknown: ``log_likelihood_`` then lacks the
            sum of ``log s`` at the purchases.
        ConvergenceWarning
            If the estimated profile did not settle.
        """
        self._check_settings()
        bought = repeat_purchases_by_week(snapshot)
        at_purchases = self._fit_parts(
            [(self, snapshot)], snapshot, self.calendar, bought, sample_weight
        )
        self.log_likelihood_ += at_purchases
        self.null_log_likelihood_ += at_purchases
        return self

    def _fit_parts(
        self,
        parts: Sequence[tuple[CalendarPurchaseModel, Snapshot]],
        snapshot: Snapshot,
        calendar: CalendarProfile | Literal["estimate"] | None,
        bought: WeeklyCounts | None,
        sample_weight: pd.Series[float] | npt.ArrayLike | None,
    ) -> float:
        """Fit models of different customers under one calendar.

        Parameters
        ----------
        parts : sequence of (CalendarPurchaseModel, Snapshot)
            Each model with the customers that it is of.
        snapshot : Snapshot
            All customers, since their first purchase.
        calendar : CalendarProfile, "estimate" or None
        bought : WeeklyCounts or None
            The purchases that the parts count; None if unknown.
        sample_weight : Series or array-like, optional

        Returns
        -------
        float
            Sum of the logarithm of the profile at the purchases, which the parts' likelihoods lack.
        """
        self.calendar_ = self.n_waves_ = self.dispersion_ = self.flat_log_likelihood_ = None
        for part, _ in parts:
            part.calendar_ = None
        if calendar is None or len(snapshot) == 0:
            for part, its in parts:
                PurchaseModel.fit(part, its, sample_weight)
            return 0.0
        if snapshot.time_unit not in UNIT_DAYS:
            raise ParameterError(
                "calendar", "None for purchase opportunities, which have no dates", calendar
            )
        populations = [Population.of(part, its, sample_weight) for part, its in parts]
        self.flat_log_likelihood_ = sum(one.settle(None) for one in populations)
        if isinstance(calendar, CalendarProfile):
            self.calendar_ = calendar
        elif sample_weight is not None:
            raise ParameterError("sample_weight", "None when the calendar is estimated", "weights")
        else:
            _check_long_enough(snapshot)
            if bought is None:
                raise TooLittleDataError(
                    "a calendar profile is estimated from the weeks in which these very customers "
                    "bought, which this snapshot does not know: build it with behaviour=True and "
                    "take no subset, or give the profile as a table (CalendarProfile.from_weeks)"
                )
            self._estimate(populations, bought)
        for part, its in parts:
            part.calendar_ = self.calendar_
            PurchaseModel.fit(part, its, sample_weight)
        if bought is None or sample_weight is not None:
            warnings.warn(
                f"{type(self).__name__}: the weeks in which these customers bought are unknown, so "
                "the log-likelihood lacks the sum of log s at the purchases and cannot be compared "
                "with that of a model without a profile",
                FitWarning,
                stacklevel=3,
            )
            return 0.0
        assert self.calendar_ is not None  # noqa: S101 - set above, for the reader of types
        factors = self.calendar_.factors(bought.first, len(bought.counts))
        return float(bought.counts @ np.log(factors))

    def _estimate(self, populations: Sequence[Population], bought: WeeklyCounts) -> None:
        """Alternate between the parameters given the profile and the profile given them."""
        begin = min(float(one.begin.min()) for one in populations)
        bought = bought.reaching(begin, populations[0].end)
        first, counts = bought.first, bought.counts
        number = ot.week_of_year(first + np.arange(len(counts)))
        every_week = np.arange(1, 54)
        log_factors, n_waves = np.zeros(53), 0
        for step in range(200):
            expected = sum(
                (one.expected_by_week(first, len(counts)) for one in populations),
                start=np.zeros(len(counts)),
            )
            seen = expected > 1e-9 * expected.max()
            if step < 4:  # then kept, so that the rounds converge
                n_waves, self.dispersion_ = ot.choose_waves(
                    counts[seen], expected[seen], number[seen], MOST_WAVES
                )
            design = np.column_stack([np.ones(int(seen.sum())), ot.waves(number[seen], n_waves)])
            found, _, _ = ot.poisson_regression(design, counts[seen], expected[seen])
            moved = ot.waves(every_week, n_waves) @ found[1:]
            change = float(np.abs(moved - log_factors).max())
            log_factors = moved
            self.calendar_ = CalendarProfile.from_weeks(
                dict(zip(every_week.tolist(), np.exp(log_factors).tolist(), strict=True))
            )
            if step >= 4 and change < 1e-6:
                break
            for one in populations:
                one.settle(self.calendar_)
        else:
            warnings.warn(
                f"{type(self).__name__}: the calendar profile still moved by {change:.1e} in the "
                "last round",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.n_waves_ = n_waves

    def _exposure(self, one: Population, h: Histories, first: int, n_weeks: int) -> FloatArray:
        """Sum over customers of days at risk in each week times E[rate | history]."""
        params = self._row_params(h)
        alive = self._process.probability_alive(params, h.x, h.t_x, h.T)
        purchases = one.weights * (params.r + h.x)
        if_active = purchases * alive / (params.alpha + h.T)
        if_left = purchases * (1.0 - alive) / (params.alpha + h.t_x)
        until_end = np.full(len(one.begin), one.end)
        return ot.time_at_risk(one.begin, until_end, if_active, first, n_weeks) + ot.time_at_risk(
            one.begin, one.last, if_left, first, n_weeks
        )

    def _take(self, fitted: mle.Fit) -> None:
        """Hold the parameters of a fit on the way."""
        names = self._process.NAMES
        values = np.exp(fitted.theta[: len(names)]).tolist()
        self.params_ = dict(zip(names, values, strict=True))
        self.coefficients_ = {
            name: {"estimate": float(value)}
            for name, value in zip(fitted.blocks, fitted.theta[len(names) :], strict=True)
        }

    def calendar_test(self) -> dict[str, float]:
        """Test the estimated profile against none.

        Returns
        -------
        dict
            ``statistic`` (twice the difference of log-likelihoods), ``degrees_of_freedom`` (two
            per wave), ``p_value`` (chi-squared), ``dispersion``, and ``p_value_dispersed``: that of
            the statistic over the dispersion, to be preferred where the dispersion is far above 1.
            The number of waves was chosen on the same data, so p-values near a threshold are a
            little too small.

        Raises
        ------
        CrmmlError
            If the profile was not estimated.
        """
        self._check_fitted()
        if self.n_waves_ is None or self.flat_log_likelihood_ is None or self.dispersion_ is None:
            raise CrmmlError(
                f"{type(self).__name__} has estimated no calendar profile; fit it with "
                "calendar='estimate' to test one"
            )
        statistic = max(2.0 * float(self.log_likelihood_ - self.flat_log_likelihood_), 0.0)
        degrees = 2 * self.n_waves_

        def p_value(value: float) -> float:
            return float(stats.chi2.sf(value, degrees)) if degrees else 1.0

        return {
            "statistic": statistic,
            "degrees_of_freedom": float(degrees),
            "p_value": p_value(statistic),
            "dispersion": self.dispersion_,
            "p_value_dispersed": p_value(statistic / self.dispersion_),
        }

    def _check_settings(self) -> None:
        super()._check_settings()
        known = self.calendar is None or isinstance(self.calendar, CalendarProfile)
        if not known and self.calendar != "estimate":
            raise ParameterError("calendar", "a CalendarProfile, 'estimate' or None", self.calendar)

    # -- the clock ---------------------------------------------------------------------------------

    def _unit(self, snapshot: Snapshot) -> float:
        return UNIT_DAYS[snapshot.time_unit]

    def _histories(self, snapshot: Snapshot) -> Histories:
        return self._on_clock(super()._histories(snapshot), snapshot)

    def _on_clock(self, h: Histories, snapshot: Snapshot) -> Histories:
        if self.calendar_ is None or not len(h.T):
            return h
        begin, last, end = _moments(h, snapshot)
        moments, clock = self.calendar_.clock(float(begin.min()), end)
        unit = self._unit(snapshot)
        at_end, at_begin, at_last = (
            np.interp(moment, moments, clock) / unit for moment in (end, begin, last)
        )
        T = np.asarray(at_end - at_begin)
        t_x = np.where(h.x > 0, np.minimum(at_last - at_begin, T), 0.0)
        return Histories(h.x, t_x, T, h.covariates, h.groups)

    def _lengths(
        self, snapshot: Snapshot, h: Histories, horizon: str | Duration | None
    ) -> FloatArray:
        lengths = super()._lengths(snapshot, h, horizon)
        if self.calendar_ is None or horizon is None:
            return lengths
        _, clock = self._ahead(snapshot, in_units(horizon, self.time_unit_))
        return np.full(len(h.x), clock[-1])

    def _ahead(self, snapshot: Snapshot, length: float) -> tuple[FloatArray, FloatArray]:
        """Points of calendar time after the cutoff, and operational time there, in units."""
        assert self.calendar_ is not None  # noqa: S101 - for the reader of types
        end, unit = grain_edge(snapshot.cutoff, snapshot.grain, up=True), self._unit(snapshot)
        until = end + length * unit
        moments, clock = self.calendar_.clock(end, until)
        inside = moments[(moments > end) & (moments < until)]
        at = np.concatenate([[end], inside, [until]])
        passed = np.interp(at, moments, clock)
        return (at - end) / unit, (passed - passed[0]) / unit

    def _discount(
        self,
        snapshot: Snapshot,
        h: Histories,
        future: Future,
        horizon: str | Duration | None,
        delta: float,
    ) -> FloatArray:
        if self.calendar_ is None:
            return super()._discount(snapshot, h, future, horizon, delta)
        if horizon is None:
            if not self.calendar_.weekly:
                raise ParameterError("horizon", "given where the profile is a table of dates", None)
            reach = _REACH / delta
            profiled = min(reach, _WEEKS_OF_PROFILE * ot.DAYS_PER_WEEK / self._unit(snapshot))
            calendar, clock = self._ahead(snapshot, profiled)
            if reach > profiled:
                n = int(np.ceil(np.log(reach / profiled) / np.log(1.02))) + 1
                beyond = np.geomspace(profiled, reach, n)[1:] - profiled
                calendar = np.concatenate([calendar, calendar[-1] + beyond])
                clock = np.concatenate([clock, clock[-1] + beyond])
        else:
            calendar, clock = self._ahead(snapshot, in_units(horizon, self.time_unit_))
        return ot.discounted_purchases(future.params, calendar, clock, delta)


@dataclass(frozen=True)
class Population:
    """Customers of one model, with what the rounds of an estimation need of them.

    Attributes
    ----------
    model : CalendarPurchaseModel
    snapshot : Snapshot
    plain : Histories
        On calendar time.
    weights, begin, last : ndarray, shape (n_distinct,)
        Customers with each history; begin of their observation and last purchase in days since
        1970-01-01.
    end : float
        End of the observation, likewise.
    """

    model: CalendarPurchaseModel
    snapshot: Snapshot
    plain: Histories
    weights: FloatArray
    begin: FloatArray
    last: FloatArray
    end: float

    @classmethod
    def of(
        cls,
        model: CalendarPurchaseModel,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None,
    ) -> Self:
        """Gather the distinct histories."""
        plain = PurchaseModel._histories(model, snapshot)
        weights = row_weights(snapshot, plain.groups, sample_weight)
        return cls(model, snapshot, plain, weights, *_moments(plain, snapshot))

    def settle(self, profile: CalendarProfile | None) -> float:
        """Give the model the parameters that are best under a profile; return the likelihood."""
        self.model.calendar_ = profile
        h = self.model._on_clock(self.plain, self.snapshot)
        fitted = self.model._maximise(h, self.weights)[0]
        self.model._take(fitted)
        return fitted.log_likelihood

    def expected_by_week(self, first: int, n_weeks: int) -> FloatArray:
        """Purchases expected in each week if the profile were flat, given all histories."""
        h = self.model._on_clock(self.plain, self.snapshot)
        return self.model._exposure(self, h, first, n_weeks)


def _moments(h: Histories, snapshot: Snapshot) -> tuple[FloatArray, FloatArray, float]:
    """Begin of observation and last purchase of each history, and the end, in days."""
    end, unit = grain_edge(snapshot.cutoff, snapshot.grain, up=True), UNIT_DAYS[snapshot.time_unit]
    begin = end - h.T * unit
    return begin, np.minimum(begin + h.t_x * unit, end), end


def _check_long_enough(snapshot: Snapshot) -> None:
    days = float(snapshot.frame["T"].max()) * UNIT_DAYS[snapshot.time_unit]
    n_weeks = (days + UNIT_DAYS[snapshot.grain]) / ot.DAYS_PER_WEEK
    if n_weeks < LEAST_WEEKS - 1e-6:
        raise TooLittleDataError(
            f"a calendar profile is estimated from at least two years ({LEAST_WEEKS} weeks) of "
            f"data; these span {n_weeks:.0f} weeks: give the profile as a table "
            "(CalendarProfile.from_weeks), or calendar=None"
        )


@dataclass(frozen=True)
class WeeklyCounts:
    """Purchases in consecutive weeks.

    Attributes
    ----------
    first : int
        The first week, counted from Monday 1970-01-05.
    counts : ndarray, shape (n_weeks,)
    """

    first: int
    counts: FloatArray

    def reaching(self, begin: float, end: float) -> WeeklyCounts:
        """Add empty weeks, so that they reach from one moment to another."""
        first = min(self.first, int(ot.week_at(begin)))
        n_weeks = int(np.ceil((end - ot.week_edges(first, 0)[0]) / ot.DAYS_PER_WEEK))
        counts = np.zeros(max(n_weeks, self.first - first + len(self.counts)))
        counts[self.first - first :][: len(self.counts)] = self.counts
        return WeeklyCounts(first, counts)


def repeat_purchases_by_week(snapshot: Snapshot) -> WeeklyCounts | None:
    """Return the repeat purchases by week; None if they are not known of these very customers."""
    times = known_times(snapshot)
    if times is None or not times.repeats:
        return None
    first_week, _, repeats = times.by_week()
    return WeeklyCounts(first_week, repeats.astype(np.float64))


def known_times(snapshot: Snapshot) -> PurchaseTimes | None:
    """Return when these very customers bought; None where that is unknown."""
    times: PurchaseTimes | None = snapshot.provenance.get("purchase_times")
    if times is None or times.repeats != snapshot.frame["frequency"].sum():
        return None
    return times
