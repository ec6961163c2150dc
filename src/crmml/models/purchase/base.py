"""Purchase models: a process, and clocks that its rate may follow, fitted together and asked."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from crmml._typing import Duration, FloatArray, TimeUnit
from crmml.exceptions import (
    BoundaryWarning,
    CrmmlError,
    DataError,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
    first_few,
)
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Distinct, Snapshot
from crmml.models.arguments import check_snapshot
from crmml.models.estimator import (
    Estimator,
    row_weights,
    warn_of_fit,
)
from crmml.models.purchase.calendar import (
    CalendarProfile,
    known_times,
)
from crmml.models.purchase.clocks import (
    ClockSettings,
    RequestedClocks,
    SeasonClock,
    from_plain,
    to_plain,
)
from crmml.models.purchase.clockwork import Clockwork
from crmml.models.purchase.distribution import (
    Future,
    Histories,
    PredictiveDistribution,
    alive_of,
    look_ahead,
    once,
    take,
)
from crmml.models.purchase.evidence import check_evidence, check_time_unit, warn_of_unknown_times
from crmml.models.purchase.joint_fit import (
    Chosen,
    ClockedProblem,
    _wald,
    profile_of,
)
from crmml.models.purchase.predictions import Predictions
from crmml.models.purchase.predictive import purchase_posterior
from crmml.models.summary import WithLikelihood
from crmml.stats import joint, mle
from crmml.stats.discounting import in_units
from crmml.stats.newcomer import NewcomerEffect
from crmml.stats.posterior import Posterior
from crmml.stats.process import PurchaseProcess

Group = Literal["purchase", "dropout"]
_AT_BOUND = {
    ("first", "low"): "customers hardly buy at first",
    ("first", "high"): "nearly all purchases follow closely on the first one",
    ("half_life", "low"): "the change is over sooner than these data can show",
    ("half_life", "high"): "the change is so slow that it can hardly be told from dropout",
}

CLOCK_STATE = (
    "calendar_",
    "n_waves_",
    "dispersion_",
    "flat_log_likelihood_",
    "first_",
    "half_life_",
    "settling_covariance_",
    "plain_log_likelihood_",
    "schedule_coefficients_",
    "clock_names_",
    "clock_estimates_",
    "joint_covariance_",
)
"""Fitted attributes of models with clocks."""


class PurchaseModel(Predictions, WithLikelihood, Estimator):
    """A purchase process fitted to (frequency, recency, T); see :mod:`crmml.stats.process`.

    A concrete model names its process module in ``_process`` and says which parameters carry the
    unit of time and how covariates act; everything else is here. Likelihoods and predictions are
    evaluated once per distinct history and handed to the customers who share it.

    The rate of a customer is multiplied by ``s(t) n(age) exp(b'z(t))``: a profile of the year, a
    change while the customer is new, and schedules common to all. As dropout happens at purchases,
    the process is the plain one in the operational time of each customer, the integral of the
    product; the log-likelihood gains the sum of the logarithm of the product at the purchases.
    Process and clocks are fitted together (:mod:`crmml.stats.joint`).

    Parameters
    ----------
    purchase_covariates, dropout_covariates : sequence of str
        Numeric columns of the snapshot that shift the purchase rate and the dropout, constant in
        time (Fader and Hardie 2007, "Incorporating time-invariant covariates into the Pareto/NBD
        and BG/NBD models"): ``alpha_i = alpha exp(-g'z_i)`` and, for the Pareto/NBD,
        ``beta_i = beta exp(-d'z_i)``, for the (M)BG/NBD ``a_i = a exp(d_a'z_i)``,
        ``b_i = b exp(d_b'z_i)``. ``params_`` are the parameters at ``z = 0``. Columns are
        standardised for the fit and the coefficients reported on the original scale.
    ridge : float
        Penalty ``ridge / 2 * sum(coefficient**2)`` on the standardised coefficients, >= 0; for the
        posterior a normal prior of variance ``1 / ridge``.
    calendar : CalendarProfile, "estimate" or None
        The short way to a season: a profile; or one estimated by maximum likelihood from at least
        two years of data. Its logarithm is a sum of waves of a whole number of turns a year, as
        many as the Bayesian information criterion (of the likelihood over its dispersion) wants,
        at most 13.
    clocks : sequence of clocks, or "auto"
        ``"newcomers"``, ``"season"``, or a :class:`~crmml.models.purchase.clocks.NewcomerClock`,
        ``SeasonClock`` or ``ScheduleClock``. ``"auto"`` tries newcomers, and a season where the
        data are long enough, and keeps what pays by the Bayesian information criterion; whether it
        also forecasts better is for training to say, see :meth:`simpler`.

    Attributes
    ----------
    params_ : dict of str to float
        Parameters in the time unit of the snapshot.
    standard_errors_ : dict of str to float
        From the observed information, by the delta method; NaN where the optimum lies on the
        boundary.
    covariance_ : list of list of float
        Covariance of the **log**-parameters, in the order of ``params_``, followed by the
        coefficients in the order of ``coefficients_``.
    coefficients_ : dict of str to dict of str to float
        For each ``"purchase:column"`` (or ``"dropout:column"``; with two dropout parameters
        ``"dropout_a:column"``): ``estimate``, ``standard_error``, ``z_value``, ``p_value``.
        ``pandas.DataFrame(model.coefficients_).T`` is the usual table.
    log_likelihood_ : float
        At the optimum (without the penalty).
    null_log_likelihood_ : float
        At the optimum without covariates; equal to ``log_likelihood_`` when there are none.
    converged_ : bool
        Whether the optimiser met its tolerance.
    n_customers_ : int
        Number of customers fitted.
    time_unit_ : str
        Time unit of the snapshot; predictions refuse another one.
    calendar_ : CalendarProfile or None
        The profile used.
    n_waves_ : int or None
        Waves a year of the estimated profile; 0 where none is worth its price.
    dispersion_ : float or None
        Of the weekly purchases around the profile; 1 for Poisson counts.
    flat_log_likelihood_ : float or None
        At the optimum without a profile, all else as it is.
    first_, half_life_ : float
        Rate of new customers over the settled one, and the half-life of the difference in time
        units; 1 where there is no effect, or none worth two parameters.
    settling_covariance_ : list of list of float
        Covariance of ``log(first)`` and ``log(half_life)``; NaN on a bound of the search, and empty
        where no effect was estimated or kept.
    plain_log_likelihood_ : float or None
        At the optimum without a change of the rate of newcomers, all else as it is.
    schedule_coefficients_ : dict of str to dict of str to float
        For each name of a schedule what ``coefficients_`` hold of a covariate.
    joint_covariance_ : list of list of float
        Covariance of log-parameters, coefficients and then the coordinates of estimated clocks
        (``clock_names_``, ``clock_estimates_``); empty where no clock was estimated.

    Notes
    -----
    ``standard_errors_`` and posteriors carry the uncertainty of estimated clocks and take given
    ones as known.
    ``expected_purchases_new_customer`` speaks of a newcomer at no particular time of the year (a
    profile of 1). A purchase counts with the mean rate of its grain period.
    Purchases are discounted by calendar time. Without a horizon a profile is followed for a hundred
    years and then counts as 1; a table of dates, which ends, is refused.
    """

    _process: ClassVar[PurchaseProcess]
    _time_parameters: ClassVar[tuple[str, ...]] = ("alpha",)
    """Parameters measured in units of time."""
    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (),
    }
    """How a covariate acts: log-parameter += sign * coefficient * z."""
    _boundaries: ClassVar[dict[tuple[str, str], str]] = {}
    """What it means when an estimate goes to ``"low"`` (0) or ``"high"`` (infinity)."""

    _state = (
        "params_",
        "standard_errors_",
        "covariance_",
        "coefficients_",
        "log_likelihood_",
        "null_log_likelihood_",
        "converged_",
        "n_customers_",
        "time_unit_",
    )

    _parts: ClassVar[Mapping[str, Any]] = {
        "calendar": CalendarProfile,
        "calendar_": CalendarProfile,
    }

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    coefficients_: dict[str, dict[str, float]]
    log_likelihood_: float
    null_log_likelihood_: float
    converged_: bool
    n_customers_: int
    time_unit_: TimeUnit

    # Settings of models with clocks, and what they find; others have none.
    calendar: CalendarProfile | Literal["estimate"] | None = None
    clocks: ClockSettings = ()
    calendar_: CalendarProfile | None = None
    n_waves_: int | None = None
    dispersion_: float | None = None
    flat_log_likelihood_: float | None = None
    first_: float = 1.0
    half_life_: float = 1.0
    settling_covariance_: Sequence[Sequence[float]] = ()
    plain_log_likelihood_: float | None = None
    schedule_coefficients_: Mapping[str, Mapping[str, float]] = {}
    clock_names_: Sequence[str] = ()
    clock_estimates_: Sequence[float] = ()
    joint_covariance_: Sequence[Sequence[float]] = ()

    def __init__(
        self,
        *,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
        calendar: CalendarProfile | Literal["estimate"] | None = None,
        clocks: ClockSettings = (),
    ) -> None:
        self.purchase_covariates = purchase_covariates
        self.dropout_covariates = dropout_covariates
        self.ridge = ridge
        self.calendar = calendar
        self.clocks = clocks

    # -- fit ---------------------------------------------------------------------------------

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood.

        Parameters
        ----------
        snapshot : Snapshot
            Needs ``frequency``, ``recency``, ``T`` and the covariates.
        sample_weight : Series or array-like, optional
            Non-negative weight of each customer: a Series is matched by ``customer_id``, an array
            goes by the rows.

        Returns
        -------
        self

        Raises
        ------
        TooLittleDataError
            If there are no customers, or ``T`` is 0 for all; or if a clock is to be estimated from
            a snapshot that does not know when its customers bought
            (``provenance["purchase_times"]``), or a profile from less than two years.
        DataError, ParameterError
            If a covariate or a weight is not a finite number, or a setting is out of range; or if a
            clock is to be estimated with sample weights (how much the purchases of a time weigh is
            unknown), or time is counted in purchase opportunities.

        Warns
        -----
        BoundaryWarning
            If the optimum lies on the boundary; the text says which process is not identified. Or
            if the likeliest clock lies on a bound of the search.
        FitWarning
            If a clock is given and those times are unknown: ``log_likelihood_`` then lacks the sum
            of the log rates at the purchases.
        ConvergenceWarning
            If the optimiser stopped early.
        """
        check_snapshot(snapshot, self)
        self._check_settings()
        # A failed fit leaves a fitted model as it was.
        trial = copy.copy(self)
        at_purchases = trial._fit_parts(
            [(trial, snapshot)], snapshot, self._requested(), None, sample_weight
        )
        trial.log_likelihood_ += at_purchases[0]
        trial.null_log_likelihood_ += at_purchases[1]
        self.__dict__.update(trial.__dict__)
        return self

    def _fit_parts(
        self,
        parts: Sequence[tuple[PurchaseModel, Snapshot]],
        snapshot: Snapshot,
        requested: RequestedClocks,
        old: tuple[float, float] | None,
        sample_weight: pd.Series[float] | npt.ArrayLike | None,
    ) -> tuple[float, float]:
        """Fit models of different customers under the same clocks.

        Parameters
        ----------
        parts : sequence of (PurchaseModel, Snapshot)
            Each model with the customers that it is of.
        snapshot : Snapshot
            All customers, since their first purchase.
        requested : RequestedClocks
        old : (origin, margin), optional
            In days: customers first seen within the margin from the origin on are the second part.
        sample_weight : Series or array-like, optional

        Returns
        -------
        (float, float)
            Sum of the log rates at the purchases, which the parts' likelihoods lack; the same of
            the fit without covariates.
        """
        for part in (self, *(model for model, _ in parts)):
            part._forget_clocks()
        if not requested or len(snapshot) == 0:
            for part, its in parts:
                part._fit_plain(its, sample_weight)
            return 0.0, 0.0
        check_time_unit(snapshot, requested, self.calendar)
        times = None if sample_weight is not None else known_times(snapshot)
        requested = check_evidence(type(self).__name__, snapshot, requested, times, sample_weight)
        # What cannot be estimated from these data has been taken out with a warning.
        if not requested:
            return self._fit_parts(parts, snapshot, requested, old, sample_weight)
        problem = ClockedProblem.of(self, parts, snapshot, times, old, sample_weight)
        found = problem.choose(requested)
        for model, its, fitted, null in zip(
            (model for model, _ in parts),
            (its for _, its in parts),
            found.solved.fits,
            found.nulls,
            strict=True,
        ):
            model.time_unit_ = snapshot.time_unit
            found.give_clocks(model)
            model._adopt(fitted, null, len(its))
        found.give_clocks(self)
        self._warn_of_bounds(found)
        if times is None:
            warn_of_unknown_times(type(self).__name__, requested, settles=self.first_ != 1.0)
            return 0.0, 0.0
        return found.solved.log_rates, found.null_log_rates

    def _forget_clocks(self) -> None:
        for name in CLOCK_STATE:
            self.__dict__.pop(name, None)
        self.settling_covariance_, self.schedule_coefficients_ = [], {}
        self.clock_names_, self.clock_estimates_, self.joint_covariance_ = [], [], []

    def _warn_of_bounds(self, found: Chosen) -> None:
        for name, side in found.at_bounds:
            at = {"first": self.first_, "half_life": self.half_life_}.get(name, math.nan)
            warnings.warn(
                f"{type(self).__name__}: {name} was sought no {side}er than {at:.3g} and ended "
                f"there: {_AT_BOUND.get((name, side), 'it is hardly identified')}; predictions "
                "stand, its standard error does not",
                BoundaryWarning,
                stacklevel=4,
            )

    def _fit_plain(self, snapshot: Snapshot, sample_weight: Any) -> None:
        """Fit the process without clocks."""
        if len(snapshot) == 0:
            raise TooLittleDataError(
                f"{type(self).__name__} needs customers; the snapshot is empty"
            )
        self.time_unit_ = snapshot.time_unit
        histories = self._plain_histories(snapshot)
        weights = row_weights(snapshot, histories.groups, sample_weight)
        fitted, null = self._maximise(histories, weights)
        self._adopt(fitted, null, len(snapshot))

    def _maximise(
        self, h: Histories, weights: FloatArray, process: PurchaseProcess | None = None
    ) -> tuple[mle.Fit, mle.Fit]:
        """Fit with the covariates and without; ``process`` by default the model's own."""
        process = self._process if process is None else process
        keep: Any = slice(None) if (weights > 0).all() else weights > 0
        x, t_x, T, weights = h.x[keep], h.t_x[keep], h.T[keep], weights[keep]
        # The optimiser works in units of the mean T, so that days and years take the same steps.
        scale = float((weights * T).sum() / weights.sum()) if self._time_parameters else 1.0
        if not scale > 0:
            raise TooLittleDataError(
                f"{type(self).__name__} needs customers who were watched after their first "
                "purchase; T is 0 for all"
            )
        names = process.NAMES
        shift = np.array([np.log(scale) if n in self._time_parameters else 0.0 for n in names])

        def rows(index: Any) -> mle.Rows:
            return mle.Rows(x[index], t_x[index] / scale, T[index] / scale, weights[index])

        everyone = rows(slice(None))
        null = mle.fit_process(process, everyone)
        fitted = null
        blocks = self._blocks(h, keep, weights)
        if blocks:
            # From the fit without covariates, which is the point where all coefficients are 0.
            fitted = mle.fit_process(process, everyone, blocks, ridge=self.ridge, start=null.theta)
        # A density of purchase times has the unit 1/time for each purchase: back to the user's
        # unit.
        jacobian = float((weights * x).sum()) * np.log(scale) if self._time_parameters else 0.0
        return fitted.moved(shift, -jacobian), null.moved(shift, -jacobian)

    def _blocks(self, h: Histories, keep: Any, weights: FloatArray) -> list[mle.Block]:
        return [
            mle.Block.standardised(name, parameter, sign, h.covariates[column][keep], weights)
            for name, parameter, sign, column in self._acting()
        ]

    def _adopt(self, fitted: mle.Fit, null: mle.Fit, n_customers: int) -> None:
        names = self._process.NAMES
        n_names = len(names)
        values = np.exp(fitted.theta[:n_names])
        deviations = np.sqrt(np.diag(fitted.covariance))
        self.params_ = dict(zip(names, values.tolist(), strict=True))
        self.standard_errors_ = dict(
            zip(names, (values * deviations[:n_names]).tolist(), strict=True)
        )
        self.covariance_ = fitted.covariance.tolist()
        self.coefficients_ = {
            name: _wald(estimate, deviation)
            for name, estimate, deviation in zip(
                fitted.blocks, fitted.theta[n_names:], deviations[n_names:], strict=True
            )
        }
        self.log_likelihood_ = fitted.log_likelihood
        self.null_log_likelihood_ = null.log_likelihood
        self.converged_ = fitted.converged
        self.n_customers_ = n_customers
        warn_of_fit(self, fitted, self._boundaries)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        return ()

    @property
    def settling_errors_(self) -> dict[str, float]:
        """Standard errors of ``log(first)`` and ``log(half_life)``."""
        self._check_fitted()
        variances = np.diag(np.array(self.settling_covariance_).reshape(-1, 2))
        return dict(zip(("first", "half_life"), np.sqrt(variances).tolist(), strict=False))

    def _set_clocks(self, psi: FloatArray) -> None:
        """Hold the estimated clocks at some coordinates, in the order of ``clock_names_``."""
        self.clock_estimates_ = psi.tolist()
        at = dict(zip(self.clock_names_, self.clock_estimates_, strict=True))
        # Of customers older than the data no age is known.
        if "log_first" in at and getattr(self, "share", None) is None:
            self.first_ = math.exp(at["log_first"])
            self.half_life_ = math.exp(at["log_decay"]) * math.log(2.0)
        if self.n_waves_ is not None:
            season = [value for name, value in at.items() if name.startswith("season_")]
            self.calendar_ = profile_of(np.array(season))
        self.schedule_coefficients_ = {
            name: {**known, "estimate": at[f"schedule:{name}"]}
            for name, known in self.schedule_coefficients_.items()
        }

    def _problem(self, snapshot: Snapshot, times: PurchaseTimes) -> ClockedProblem:
        """Gather the customers of the fit again, each kind with its model."""
        return ClockedProblem.of(self, [(self, snapshot)], snapshot, times, None, None)

    def _joint_problem(self, snapshot: Snapshot) -> tuple[ClockedProblem, joint.Clocks]:
        """Return the customers of the fit and the clocks that it estimated."""
        times = known_times(snapshot)
        if times is None:
            raise TooLittleDataError(
                f"the posterior of {type(self).__name__} holds its clocks, for which the snapshot "
                "must know when these very customers bought: build it with behaviour=True and take "
                "no subset"
            )
        requested = self._requested()
        problem = self._problem(snapshot, times)
        # A clock that the fit gave up has no coordinates in the posterior either.
        effect = None
        if requested.newcomers is not None and self.first_ != 1.0:
            effect = problem.newcomers(requested.newcomers)
        season = None if self.n_waves_ == 0 else requested.season
        return problem, joint.Clocks(
            effect, problem.shared(season, self.n_waves_ or 0, requested.schedules)
        )

    def _clock_notes(self) -> tuple[str, ...]:
        if self.first_ == 1.0:
            return ()
        known = self.settling_errors_.get("first", math.nan)
        reach = stats.norm.ppf(0.95) * known
        interval = (
            f" (90 %: {self.first_ * math.exp(-reach):.2f} to {self.first_ * math.exp(reach):.2f})"
            if math.isfinite(known)
            else ""
        )
        return (
            f"newcomers at first buy {self.first_:.2f} times{interval} as fast as they will later; "
            f"half of the difference is gone after {self.half_life_:.1f} {self.time_unit_}s",
        )

    def newcomer_test(self) -> dict[str, float]:
        """Test the estimated effect of newcomers against a constant rate.

        Returns
        -------
        dict
            ``statistic`` (twice the difference of log-likelihoods, 0 where the effect was not
            kept), ``degrees_of_freedom`` (2) and ``p_value`` (chi-squared). Without an effect its
            half-life means nothing, so the chi-squared distribution is not exact: p-values near a
            threshold are a little too small.

        Raises
        ------
        CrmmlError
            If the effect was given, or the model was fitted with a ridge (whose estimates do not
            maximise the likelihood).
        """
        self._check_fitted()
        requested = self._requested().newcomers
        estimated = requested is not None and requested.first is None
        if not estimated or self.ridge or self.plain_log_likelihood_ is None:
            raise CrmmlError(
                "the test of the newcomers' rate needs one that was estimated, and ridge=0; got "
                f"one that was {'estimated' if estimated else 'given'} and ridge={self.ridge:g}"
            )
        statistic = max(2.0 * float(self.log_likelihood_ - self.plain_log_likelihood_), 0.0)
        return {
            "statistic": statistic,
            "degrees_of_freedom": 2.0,
            "p_value": float(stats.chi2.sf(statistic, 2)),
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

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        stored = super().to_dict()
        if "clocks" in stored["settings"]:
            stored["settings"]["clocks"] = to_plain(self.clocks)
        return stored

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild a fitted estimator from :meth:`to_dict`."""
        settings = dict(stored["settings"])
        if "clocks" in settings:
            settings["clocks"] = from_plain(settings["clocks"])
        return super().from_dict({**stored, "settings": settings})

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        # a process that depends on a setting is a property, and says no names without it
        return getattr(cls._process, "NAMES", ())

    def _requested(self) -> RequestedClocks:
        """Gather the clocks asked for, in whichever way."""
        requested = RequestedClocks.read(self.clocks)
        if self.calendar is None:
            return requested
        if requested.season is not None:
            raise ParameterError("calendar", "None where clocks have a season", self.calendar)
        profile = self.calendar if isinstance(self.calendar, CalendarProfile) else None
        return replace(requested, season=SeasonClock(profile))

    def simpler(self) -> PurchaseModel | None:
        """Return an unfitted model without the estimated clocks that this fit kept; None if none.

        A gain of likelihood does not tell an effect from a wrong process: newcomers are found in
        worlds that have none. So fit this one, too, and keep the clocks only where they forecast
        better in windows of the past.
        """
        self._check_fitted()
        if not len(self.clock_names_):
            return None
        requested = self._requested()
        given: list[Any] = []
        if requested.newcomers is not None and requested.newcomers.first is not None:
            given.append(requested.newcomers)
        if requested.season is not None and requested.season.profile is not None:
            given.append(requested.season)
        return self._with_clocks(tuple(given))

    def _with_clocks(self, clocks: tuple[Any, ...]) -> PurchaseModel:
        """Return an unfitted model with the same settings and other clocks."""
        settings = self.get_params(deep=False)
        return type(self)(**{**settings, "clocks": clocks, "calendar": None})

    def likelihood_ratio_test(self) -> dict[str, float]:
        """Test all covariates at once against the model without them.

        Returns
        -------
        dict
            ``statistic`` (twice the difference of log-likelihoods), ``degrees_of_freedom`` and
            ``p_value`` (chi-squared).

        Raises
        ------
        CrmmlError
            If the model has no covariates, or was fitted with a ridge (whose estimates do not
            maximise the likelihood).
        """
        self._check_fitted()
        if not self.coefficients_ or self.ridge:
            raise CrmmlError(
                "the likelihood-ratio test needs covariates and ridge=0; got "
                f"{len(self.coefficients_)} coefficients and ridge={self.ridge:g}"
            )
        statistic = max(2.0 * (self.log_likelihood_ - self.null_log_likelihood_), 0.0)
        degrees = len(self.coefficients_)
        return {
            "statistic": statistic,
            "degrees_of_freedom": float(degrees),
            "p_value": float(stats.chi2.sf(statistic, degrees)),
        }

    # -- from snapshot to arrays: what calendar time and censored bases override --------------

    def _plain_histories(self, snapshot: Snapshot) -> Histories:
        """Gather the distinct histories of the snapshot, in calendar time."""
        columns = list(dict.fromkeys(c for cs in self._covariate_columns().values() for c in cs))
        missing = [c for c in columns if c not in snapshot.frame.columns]
        if missing:
            raise MissingColumnsError(missing, map(str, snapshot.frame.columns), table="snapshot")
        found = snapshot.distinct(("frequency", "recency", "T", *columns))
        x, t_x, T, *z = (np.asarray(v, dtype=np.float64) for v in found.values.values())
        for column, values in zip(columns, z, strict=True):
            bad = ~np.isfinite(values)[found.inverse]
            if bad.any():
                raise DataError(
                    "a covariate must be a finite number",
                    table="snapshot",
                    column=column,
                    n_rows=int(bad.sum()),
                    examples=snapshot.customer_id[bad][:5],
                )
        covariates = dict(zip(columns, z, strict=True))
        return Histories(x, t_x, T, covariates, found)

    def _histories(self, snapshot: Snapshot) -> Histories:
        """Gather the distinct histories of the snapshot, in the clock of the process."""
        h = self._plain_histories(snapshot)
        clocks = self._clockwork
        return h if clocks.even else clocks.histories(snapshot, h, self._ages(h))

    @property
    def _clockwork(self) -> Clockwork:
        """The clocks at their values here."""
        effect = None
        if self.first_ != 1.0:
            effect = NewcomerEffect(self.first_, self.half_life_ / math.log(2.0))
        # Schedules act with the coefficients that were estimated.
        known = self.schedule_coefficients_
        schedules = self._requested().schedules if known else None
        names = () if schedules is None else schedules.names
        coefficients = np.array([known[name]["estimate"] for name in names])
        return Clockwork(self.calendar_, effect, schedules, coefficients)

    def _ages(self, h: Histories) -> FloatArray:
        """Time since the first purchase at the cutoff of each distinct history."""
        return np.asarray(h.groups.values["T"], dtype=np.float64)

    def _plain_lengths(self, h: Histories, horizon: str | Duration | None) -> FloatArray:
        t = np.inf if horizon is None else in_units(horizon, self.time_unit_)
        return np.full(len(h.x), t)

    def _lengths(
        self, snapshot: Snapshot, h: Histories, horizon: str | Duration | None
    ) -> FloatArray:
        """Length of the horizon after the cutoff for each history, in the clock of the process."""
        lengths, clocks = self._plain_lengths(h, horizon), self._clockwork
        return lengths if clocks.even else clocks.lengths(snapshot, lengths, self._ages(h))

    def _discount(
        self,
        snapshot: Snapshot,
        h: Histories,
        future: Future,
        horizon: str | Duration | None,
        delta: float,
    ) -> FloatArray:
        """E[sum of exp(-delta t) over the purchases] of each distinct future, if active."""
        clocks = self._clockwork
        if clocks.even:
            values: FloatArray = self._process.discounted_purchases(future.params, future.t, delta)
            return values
        # Of one age are all whose future is the same.
        age, until = np.empty((2, len(future.t)))
        age[future.inverse] = self._ages(h)
        until[future.inverse] = self._plain_lengths(h, horizon)
        length = None if horizon is None else in_units(horizon, self.time_unit_)
        return clocks.discounted(snapshot, future.params, age, until, length, delta)

    # -- predictions -----------------------------------------------------------------------------

    def predictive(
        self,
        snapshot: Snapshot,
        horizon: str | Duration | None,
        posterior: Posterior | None = None,
    ) -> PredictiveDistribution:
        """Return the predictive distribution of purchases in a horizon, of which all else follows.

        Whoever asks several things of the same customers and horizon asks them of this object.

        Parameters
        ----------
        snapshot : Snapshot
            In the time unit of the fit.
        horizon : str, Duration or None
            For example ``"52W"``; ``None`` looks to infinity.
        posterior : Posterior, optional
            Carries the uncertainty of parameters, coefficients and clocks; without it the estimates
            are taken as certain.
        """
        return look_ahead(self, snapshot, horizon, posterior)

    def probability_alive(self, snapshot: Snapshot) -> pd.Series[float]:
        """P(still active at the cutoff | history), keyed by customer."""
        self._check_snapshot(snapshot)
        h = self._histories(snapshot)
        alive = self._process.probability_alive(self._row_params(h), h.x, h.t_x, h.T)
        return pd.Series(alive[h.inverse], snapshot.customer_id, name="probability_alive")

    def posterior(
        self,
        snapshot: Snapshot,
        *,
        n_draws: int = 200,
        seed: int = 0,
        prior: Mapping[str, tuple[float, float]] | None = None,
    ) -> Posterior:
        """Draw from the posterior of parameters and coefficients, given the customers of the fit.

        The model keeps no training data, so the snapshot is asked for again. See
        :func:`crmml.models.purchase.predictive.purchase_posterior` for the priors, of which the
        ridge is one, and the method.
        """
        return purchase_posterior(self, snapshot, n_draws=n_draws, seed=seed, prior=prior)

    def expected_purchases_new_customer(
        self, t: str | Duration, covariates: Mapping[str, float] | None = None
    ) -> float:
        """E[repeat purchases in the first ``t`` after the first purchase] of a random newcomer.

        Parameters
        ----------
        t : str or Duration
            For example ``"52W"``.
        covariates : mapping of str to float, optional
            Required exactly where the model has covariates.
        """
        self._check_fitted()
        needed = {c for cs in self._covariate_columns().values() for c in cs}
        given = dict(covariates or {})
        if set(given) != needed:
            raise ParameterError(
                "covariates", f"given for {first_few(sorted(needed))}", sorted(given)
            )
        none = np.zeros(1)
        z = {name: np.array([float(value)]) for name, value in given.items()}
        h = Histories(none, none, none, z, Distinct({"x": none}))
        params = self._row_params(h)
        alive = self._process.probability_alive(params, none, none, none)
        future = self._process.if_alive(params, none, none, none)
        length = np.array([in_units(t, self.time_unit_)])
        effect = self._clockwork.effect
        if effect is not None:
            length = effect.passed(none, length)
        return float((alive * self._process.expected_purchases(future, length))[0])

    # -- pieces ----------------------------------------------------------------------------------

    def _look_ahead(
        self, snapshot: Snapshot, horizon: str | Duration | None
    ) -> tuple[Histories, FloatArray, Future]:
        """Gather the histories, P(alive) of each, and the distinct futures that follow."""
        self._check_snapshot(snapshot)
        h = self._histories(snapshot)
        t = self._lengths(snapshot, h, horizon)
        params = self._row_params(h)
        process = self._process
        alive = alive_of(process, params, h)
        its, found = once("future", process, params, h, lambda: self._futures(params, h))
        if len(t) and (t == t[0]).all():
            return h, alive, Future(its, np.full(len(found.counts), t[0]), found.inverse)
        parts = Distinct({"future": found.inverse, "horizon": t})
        its = take(its, parts.values["future"])
        return h, alive, Future(its, parts.values["horizon"], parts.inverse)

    def _futures(self, params: Any, h: Histories) -> tuple[Any, Distinct]:
        """Gather the distinct parameters after the histories, and whose they are."""
        updated = self._process.if_alive(params, h.x, h.t_x, h.T)
        varying = {name: v for name, v in updated._asdict().items() if np.ndim(v)}
        # Covariates tell futures apart that are alike at these coefficients only.
        covariates = {f"covariate:{name}": z for name, z in h.covariates.items()}
        found = Distinct({**varying, **covariates})
        return updated._replace(**{name: found.values[name] for name in varying}), found

    def _row_params(self, h: Histories) -> Any:
        """Parameters of each history: numbers, or arrays where covariates act on them."""
        values: dict[str, Any] = dict(self.params_)
        for name, parameter, sign, column in self._acting():
            coefficient = self.coefficients_[name]["estimate"]
            effect = np.exp(sign * coefficient * h.covariates[column])
            values[parameter] = values[parameter] * effect
        return self._process.make([values[name] for name in self._process.NAMES])

    def _acting(self) -> Iterator[tuple[str, str, float, str]]:
        """Name of each coefficient, the parameter it acts on, its sign and its column."""
        for group, columns in self._covariate_columns().items():
            for parameter, sign in self._effects[group]:
                prefix = group if len(self._effects[group]) == 1 else f"{group}_{parameter}"
                for column in columns:
                    yield f"{prefix}:{column}", parameter, sign, column

    def _covariate_columns(self) -> dict[Group, Sequence[str]]:
        return {"purchase": self.purchase_covariates, "dropout": self.dropout_covariates}

    @property
    def _parameter_names(self) -> tuple[str, ...]:
        """Names of parameters and coefficients, in the order of the columns of a posterior."""
        return (*self._process.NAMES, *self.coefficients_, *self.clock_names_)

    def _check_settings(self) -> None:
        for group, columns in self._covariate_columns().items():
            if isinstance(columns, str):
                raise ParameterError(f"{group}_covariates", "a sequence of column names", columns)
            if columns and not self._effects[group]:
                raise ParameterError(f"{group}_covariates", "empty for this model", columns)
        if not (np.isfinite(self.ridge) and self.ridge >= 0):
            raise ParameterError("ridge", "finite and >= 0", self.ridge)
        known = self.calendar is None or isinstance(self.calendar, CalendarProfile)
        if not known and self.calendar != "estimate":
            raise ParameterError("calendar", "a CalendarProfile, 'estimate' or None", self.calendar)
        self._requested()

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        self._check_fitted()
        check_snapshot(snapshot, self)
        if snapshot.time_unit != self.time_unit_:
            raise CrmmlError(
                f"{type(self).__name__} was fitted in units of {self.time_unit_!r}, the snapshot "
                f"is in {snapshot.time_unit!r}"
            )
