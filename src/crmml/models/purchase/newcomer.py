"""Newcomers: BG/NBD and MBG/NBD with a purchase rate that settles after the first purchase."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from crmml._typing import Duration, FloatArray
from crmml.exceptions import (
    BoundaryWarning,
    CrmmlError,
    FitWarning,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import row_weights
from crmml.models.purchase.base import Future, Group, Histories, PurchaseModel
from crmml.models.purchase.beta_geo import ALL_ALIVE, BETA_GEO_BOUNDARIES
from crmml.models.purchase.calendar import known_times
from crmml.stats import bg_nbd, mbg_nbd, mle, newcomer
from crmml.stats.discounting import UNIT_DAYS, in_units
from crmml.stats.newcomer import Settling
from crmml.stats.process import PurchaseProcess

_LONGEST = 0.25
"""Largest decay over the longest T: the change must be over well before the data end, or it could
not be told from dropout, or from what goes on for ever."""
_FIRST = 20.0
"""Largest change looked for, up or down."""
_AT_BOUND = {
    ("first", "low"): "customers hardly buy at first",
    ("first", "high"): "nearly all purchases follow closely on the first one",
    ("half_life", "low"): "the change is over sooner than these data can show",
    ("half_life", "high"): "the change is so slow that it can hardly be told from dropout",
}


class NewcomerModel(PurchaseModel):
    """BG/NBD or MBG/NBD whose customers buy faster, or slower, while they are new.

    Soon after the first purchase the rate is ``first`` times the settled one; half of the
    difference is gone after ``half_life``. Dropout happens at purchases, so the plain model holds
    exactly on a clock of each customer's own, see :mod:`crmml.stats.newcomer`. Without it a burst
    of early purchases is taken for dropout, and long horizons are forecast too low.

    Parameters
    ----------
    dropout : {"plain", "modified"}
        ``plain``: customers may leave after repeat purchases only (BG/NBD); ``modified``: after
        the first purchase too (MBG/NBD).
    first : float, optional
        Rate just after the first purchase over the settled rate, > 0. ``None`` estimates it, and
        ``half_life``, by maximum likelihood.
    half_life : str or Duration, optional
        Given exactly where ``first`` is.
    purchase_covariates, dropout_covariates, ridge
        See :class:`~crmml.models.purchase.base.PurchaseModel`.

    Attributes
    ----------
    first_ : float
        1 where the effect was estimated and is not worth its two parameters.
    half_life_ : float
        In the time unit of the snapshot; without meaning where ``first_`` is 1.
    settling_covariance_ : list of list of float
        Covariance of ``log(first)`` and ``log(half_life)``; NaN on a bound of the search, and empty
        where no effect was estimated or kept.
    settling_errors_ : dict of str to float
        Their standard errors, likewise.
    plain_log_likelihood_ : float
        At the optimum with a constant rate.

    Notes
    -----
    The effect is kept where it raises the log-likelihood by more than ``log(number of customers)``:
    what two parameters cost by the Bayesian information criterion (of a ridge, the penalised one).
    It is sought between a twentieth and twenty times the settled rate, and with a half-life of at
    most a sixth of the longest ``T``; something slower could not be told from dropout.
    A purchase counts with the mean rate of its grain period. With a weekly grain all purchases of a
    week are one, which looks like an effect of its own: believe one found there less.
    With covariates ``null_log_likelihood_`` is that of an effect estimated anew without them.
    ``standard_errors_`` of the other parameters carry its uncertainty; posteriors take it as known.
    Purchases are discounted by calendar time.
    """

    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (("a", 1.0), ("b", 1.0)),
    }
    _boundaries = BETA_GEO_BOUNDARIES
    _state = (
        *PurchaseModel._state,
        "first_",
        "half_life_",
        "settling_covariance_",
        "plain_log_likelihood_",
    )  # type: ignore[assignment]

    first_: float
    half_life_: float
    settling_covariance_: list[list[float]]
    plain_log_likelihood_: float

    def __init__(
        self,
        *,
        dropout: Literal["plain", "modified"] = "plain",
        first: float | None = None,
        half_life: str | Duration | None = None,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
    ) -> None:
        super().__init__(
            purchase_covariates=purchase_covariates,
            dropout_covariates=dropout_covariates,
            ridge=ridge,
        )
        self.dropout = dropout
        self.first = first
        self.half_life = half_life

    @property
    def _process(self) -> PurchaseProcess:  # type: ignore[override]
        return bg_nbd if self.dropout == "plain" else mbg_nbd

    @property
    def settling_errors_(self) -> dict[str, float]:
        """Standard errors of ``log(first)`` and ``log(half_life)``."""
        self._check_fitted()
        variances = np.diag(np.array(self.settling_covariance_).reshape(-1, 2))
        return dict(zip(("first", "half_life"), np.sqrt(variances).tolist(), strict=False))

    @property
    def _settling(self) -> Settling:
        return Settling(self.first_, self.half_life_ / math.log(2.0))

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
            If the effect is to be estimated from a snapshot that does not know at which ages its
            customers bought (``provenance["purchase_times"]``).
        ParameterError
            If it is to be estimated with sample weights (how much the purchases at an age weigh is
            unknown), or time is counted in purchase opportunities.

        Warns
        -----
        FitWarning
            If the effect is given and those ages are unknown: ``log_likelihood_`` then lacks the
            sum of the log rates at the purchases.
        BoundaryWarning
            If the likeliest effect lies on a bound of the search.
        """
        self._check_settings()
        if len(snapshot) == 0:
            return super().fit(snapshot, sample_weight)
        if snapshot.time_unit not in UNIT_DAYS:
            raise ParameterError(
                "time_unit", "one of calendar time, not purchase opportunities", snapshot.time_unit
            )
        bought = None if sample_weight is not None else _Bought.of(snapshot)
        if self.first is None and sample_weight is not None:
            raise ParameterError(
                "sample_weight", "None when the newcomers' rate is estimated", "weights"
            )
        if self.first is None and bought is None:
            raise TooLittleDataError(
                "the rate of newcomers is estimated from the ages at which these very customers "
                "bought, which this snapshot does not know: build it with behaviour=True and take "
                "no subset, or give first and half_life"
            )
        plain = super()._histories(snapshot)
        weights = row_weights(snapshot, plain.groups, sample_weight)
        constant, without = self._maximise(plain, weights)
        found = profile = None
        if self.first is not None and self.half_life is not None:
            settling = (float(self.first), in_units(self.half_life, snapshot.time_unit))
        elif bought is not None:
            profile = _Profile(self, plain, bought, _bounds(snapshot))
            settling = (1.0, profile.shortest_half_life)
            found = profile.worth_keeping(constant)
        if found is not None:
            settling = (found.first, found.half_life)
        self.time_unit_ = snapshot.time_unit
        self.first_, self.half_life_ = settling
        self.settling_covariance_ = [] if found is None else found.covariance.tolist()
        fitted, null = constant, without
        if self.first_ != 1.0:
            fitted, null = self._maximise(_on_clock(plain, self._settling), weights)
        if found is not None:
            fitted = replace(fitted, covariance=fitted.covariance + found.passed_on)
        self._adopt(fitted, null, len(snapshot))
        self.plain_log_likelihood_ = constant.log_likelihood
        if bought is not None:
            at_purchases = bought.log_rates(self._settling)
            self.log_likelihood_ += at_purchases
            self.null_log_likelihood_ += at_purchases
        elif self.first_ != 1.0:
            warnings.warn(
                "NewcomerModel: the ages at which these customers bought are unknown, so the "
                "log-likelihood lacks the sum of the log rates at the purchases and cannot be "
                "compared with that of another model",
                FitWarning,
                stacklevel=2,
            )
        if found is not None:
            self._warn_of_bounds(found)
        if found is not None and profile is not None and self.coefficients_:
            best = profile.without_covariates().best()[1]
            self.null_log_likelihood_ = max(best, without.log_likelihood)
        return self

    def _warn_of_bounds(self, found: _Found) -> None:
        at = {"first": found.first, "half_life": found.half_life}
        for name, side in found.at_bounds:
            warnings.warn(
                f"NewcomerModel: {name} was sought no {side}er than {at[name]:.3g} and ended "
                f"there: {_AT_BOUND[name, side]}; predictions stand, its standard error does not",
                BoundaryWarning,
                stacklevel=3,
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        self._check_fitted()
        of_process = (f"NewcomerModel: {ALL_ALIVE}",) if self.dropout == "plain" else ()
        if self.first_ == 1.0:
            return (
                "newcomers: no change of the purchase rate after the first purchase is worth its "
                "two parameters, so the rate is constant",
                *of_process,
            )
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
            *of_process,
        )

    def newcomer_test(self) -> dict[str, float]:
        """Test the estimated effect against a constant rate.

        Returns
        -------
        dict
            ``statistic`` (twice the difference of log-likelihoods, 0 where the effect was not
            kept), ``degrees_of_freedom`` (2) and ``p_value`` (chi-squared). Without an effect its
            half-life means nothing, so the chi-squared law is not exact: p-values near a threshold
            are a little too small.

        Raises
        ------
        CrmmlError
            If the effect was given, or the model was fitted with a ridge (whose estimates do not
            maximise the likelihood).
        """
        self._check_fitted()
        if self.first is not None or self.ridge:
            given = "estimated" if self.first is None else "given"
            raise CrmmlError(
                "the test of the newcomers' rate needs one that was estimated, and ridge=0; got "
                f"one that was {given} and ridge={self.ridge:g}"
            )
        statistic = max(2.0 * float(self.log_likelihood_ - self.plain_log_likelihood_), 0.0)
        return {
            "statistic": statistic,
            "degrees_of_freedom": 2.0,
            "p_value": float(stats.chi2.sf(statistic, 2)),
        }

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.dropout not in ("plain", "modified"):
            raise ParameterError("dropout", "'plain' or 'modified'", self.dropout)
        if (self.first is None) != (self.half_life is None):
            raise ParameterError("half_life", "given exactly where first is", self.half_life)
        if self.first is not None and not (np.isfinite(self.first) and self.first > 0):
            raise ParameterError("first", "a finite number > 0, or None", self.first)
        if self.half_life is not None and not 0 < Duration.parse(self.half_life).number < math.inf:
            raise ParameterError("half_life", "of positive length", self.half_life)

    # -- the clock ---------------------------------------------------------------------------------

    def _histories(self, snapshot: Snapshot) -> Histories:
        return _on_clock(super()._histories(snapshot), self._settling)

    def _lengths(
        self, snapshot: Snapshot, h: Histories, horizon: str | Duration | None
    ) -> FloatArray:
        return self._settling.passed(_ages(h), super()._lengths(snapshot, h, horizon))

    def _discount(
        self,
        snapshot: Snapshot,
        h: Histories,
        future: Future,
        horizon: str | Duration | None,
        delta: float,
    ) -> FloatArray:
        # Of one age are all whose future is the same.
        age, until = np.empty((2, len(future.t)))
        age[future.inverse] = _ages(h)
        until[future.inverse] = super()._lengths(snapshot, h, horizon)
        return newcomer.discounted_purchases(future.params, age, until, delta, self._settling)

    def expected_purchases_new_customer(
        self, t: str | Duration, covariates: Mapping[str, float] | None = None
    ) -> float:
        """E[repeat purchases in the first ``t`` after the first purchase] of a random newcomer.

        See :meth:`crmml.models.purchase.base.PurchaseModel.expected_purchases_new_customer`.
        """
        self._check_fitted()
        none, length = np.zeros(1), np.array([in_units(t, self.time_unit_)])
        passed = float(self._settling.passed(none, length)[0])
        return super().expected_purchases_new_customer(
            Duration(passed, self.time_unit_), covariates
        )


@dataclass(frozen=True)
class _Bought:
    """At which ages repeat purchases fell: how many within each of some stretches.

    Attributes
    ----------
    begin, counts : ndarray, shape (n_stretches,)
        Age at the begin of the stretch, in time units, and purchases in it.
    width : float
        Length of a stretch.
    """

    begin: FloatArray
    counts: FloatArray
    width: float

    @classmethod
    def of(cls, snapshot: Snapshot) -> _Bought | None:
        """Gather them; None if they are not known of these very customers."""
        times = known_times(snapshot)
        if times is None:
            return None
        age, counts = times.by_age()
        # What is bought in a period stands at its end, as T does, for the time since the period
        # before.
        width = UNIT_DAYS[times.grain] / UNIT_DAYS[snapshot.time_unit]
        return cls(np.asarray((age - 1.0) * width), counts.astype(np.float64), width)

    def log_rates(self, settling: Settling) -> float:
        """Sum of the logarithms of the mean rate of each stretch over the purchases."""
        rates = settling.passed(self.begin, np.full(len(self.begin), self.width)) / self.width
        return float(self.counts @ np.log(rates))


_Name = Literal["first", "half_life"]
_Side = Literal["low", "high"]


@dataclass(frozen=True)
class _Found:
    """The likeliest settling.

    Attributes
    ----------
    first, half_life : float
    covariance : ndarray, shape (2, 2)
        Of their logarithms.
    passed_on : ndarray, shape (p, p)
        What their uncertainty adds to the covariance of log-parameters and coefficients.
    at_bounds : list of (name, side)
    """

    first: float
    half_life: float
    covariance: FloatArray
    passed_on: FloatArray
    at_bounds: list[tuple[_Name, _Side]]


@dataclass(frozen=True)
class _Profile:
    """Log-likelihood as a function of the settling, all else at its best for each.

    Attributes
    ----------
    model : NewcomerModel
    plain : Histories
        On calendar time.
    bought : _Bought
    bounds : ((low, high), (low, high))
        Of ``psi = (log(first), log(decay))``.
    """

    model: NewcomerModel
    plain: Histories
    bought: _Bought
    bounds: tuple[tuple[float, float], tuple[float, float]]

    @property
    def shortest_half_life(self) -> float:
        """Lower bound of the half-life."""
        return math.exp(self.bounds[1][0]) * math.log(2.0)

    def without_covariates(self) -> _Profile:
        """Return the same of the model without covariates."""
        bare = clone(self.model)
        bare.set_params(purchase_covariates=(), dropout_covariates=(), ridge=0.0)
        return replace(self, model=bare)

    def penalised(self, fitted: mle.Fit) -> float:
        """Log-likelihood less the penalty of the ridge."""
        blocks = self.model._blocks(self.plain, slice(None), self.plain.counts.astype(np.float64))
        size = len(self.model._process.NAMES)
        each = fitted.theta[size:] * np.array([block.deviation for block in blocks])
        return fitted.log_likelihood - 0.5 * self.model.ridge * float(each @ each)

    def at(self, psi: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Return value, slope, and the best of all else.

        At the best the value does not change with all else, so the slope is that of the clock.
        """
        weights = self.plain.counts.astype(np.float64)
        fitted = self.model._maximise(self._on_clock(psi), weights)[0]
        as_given = [
            mle.Block(name, parameter, sign, self.plain.covariates[column], 0.0, 1.0)
            for name, parameter, sign, column in self.model._acting()
        ]

        def by_clock(psi: FloatArray) -> float:
            h = self._on_clock(psi)
            rows = mle.Rows(h.x, h.t_x, h.T, weights)
            value = mle.process_objective(self.model._process, rows, as_given)(fitted.theta)[0]
            return value + self.bought.log_rates(_settling_at(psi))

        steps = 1e-4 * np.eye(2)
        slope = [(by_clock(psi + step) - by_clock(psi - step)) / 2e-4 for step in steps]
        value = self.penalised(fitted) + self.bought.log_rates(_settling_at(psi))
        return value, np.array(slope), fitted.theta

    def best(self) -> tuple[FloatArray, float]:
        """Find where the maximum is, and how high."""
        n_customers = float(self.plain.counts.sum())
        middle = sum(self.bounds[1]) / 2.0

        def loss(psi: FloatArray) -> tuple[float, FloatArray]:
            value, slope, _ = self.at(psi)
            return -value / n_customers, -slope / n_customers

        # The threads of the linear algebra would add up in an order that depends on their number.
        with threadpool_limits(limits=1, user_api="blas"):
            tries = [
                optimize.minimize(
                    loss,
                    [start, middle],
                    jac=True,
                    method="L-BFGS-B",
                    bounds=self.bounds,
                    options={"ftol": 1e-11, "gtol": 1e-7},
                )
                for start in (math.log(1.5), -math.log(1.5))
            ]
        best = min(tries, key=lambda found: float(found.fun))
        return best.x, -n_customers * float(best.fun)

    def worth_keeping(self, constant: mle.Fit) -> _Found | None:
        """Return the maximum if it is worth two parameters more than a constant rate."""
        if not len(self.bought.counts) or self.bounds[1][0] >= self.bounds[1][1]:
            return None  # nobody bought again, or nobody was watched for long enough
        psi, value = self.best()
        if value - self.penalised(constant) <= math.log(float(self.plain.counts.sum())):
            return None
        with threadpool_limits(limits=1, user_api="blas"):
            return self._judge(psi)

    def _judge(self, psi: FloatArray) -> _Found:
        """Tell how sure the maximum is: what lies on a bound is taken as known."""
        around = [[self.at(psi + step)[1:] for step in (s, -s)] for s in 0.01 * np.eye(2)]
        information = np.array([(down[0] - up[0]) / 0.02 for up, down in around])
        moves = np.array([(up[1] - down[1]) / 0.02 for up, down in around])
        inside = np.array(
            [low < at < high for at, (low, high) in zip(psi, self.bounds, strict=True)]
        )
        free = np.ix_(inside, inside)
        covariance = np.full((2, 2), np.nan)
        curvature = (information + information.T)[free] / 2.0
        if (np.linalg.eigvalsh(curvature) > 0).all():
            covariance[free] = np.linalg.inv(curvature)
        names: tuple[_Name, _Name] = ("first", "half_life")
        sides: list[tuple[_Name, _Side]] = [
            (name, "low" if at < sum(ends) / 2.0 else "high")
            for name, at, ends, free_ in zip(names, psi, self.bounds, inside, strict=True)
            if not free_
        ]
        return _Found(
            first=math.exp(psi[0]),
            half_life=math.exp(psi[1]) * math.log(2.0),
            covariance=covariance,
            passed_on=moves[inside].T @ covariance[free] @ moves[inside],
            at_bounds=sides,
        )

    def _on_clock(self, psi: FloatArray) -> Histories:
        return _on_clock(self.plain, _settling_at(psi))


def _settling_at(psi: FloatArray) -> Settling:
    first, decay = np.exp(psi).tolist()
    return Settling(first, decay)


def _bounds(snapshot: Snapshot) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where ``log(first)`` and ``log(decay)`` are sought.

    Nothing faster than a grain period can be seen, nor than a day, as ages are known in days.
    """
    shortest = max(UNIT_DAYS[snapshot.grain], 1.0) / UNIT_DAYS[snapshot.time_unit]
    longest = max(_LONGEST * float(snapshot.frame["T"].max()), shortest)
    most = math.log(_FIRST)
    return (-most, most), (math.log(shortest), math.log(longest))


def _ages(h: Histories) -> FloatArray:
    """Time since the first purchase of each distinct history, shape (n_distinct,)."""
    return np.asarray(h.groups.values["T"], dtype=np.float64)


def _on_clock(h: Histories, settling: Settling) -> Histories:
    none = np.zeros(len(h.T))
    T, t_x = settling.passed(none, h.T), settling.passed(none, h.t_x)
    return Histories(h.x, np.minimum(t_x, T), T, h.covariates, h.groups)
