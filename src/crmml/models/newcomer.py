"""Newcomers: BG/NBD and MBG/NBD with a purchase rate that settles after the first purchase."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from crmml._typing import Duration, FloatArray
from crmml.exceptions import FitWarning, ParameterError, TooLittleDataError
from crmml.features.snapshot import Snapshot
from crmml.models.base import Group, Histories, PurchaseModel, customer_weights, row_weights
from crmml.models.beta_geo import BETA_GEO_BOUNDARIES
from crmml.stats import bg_nbd, mbg_nbd, mle, newcomer
from crmml.stats.discounting import UNIT_DAYS, discount_rate_per_unit, in_units
from crmml.stats.newcomer import Settling
from crmml.stats.process import PurchaseProcess

_LONGEST = 0.25
"""Largest decay over the longest T: the change must be over well before the data end, or it could
not be told from dropout, or from what goes on for ever."""
_FIRST = 20.0
"""Largest change looked for, up or down."""


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
        See :class:`~crmml.models.base.PurchaseModel`.

    Attributes
    ----------
    first_ : float
        1 where the effect was estimated and is not worth its two parameters.
    half_life_ : float
        In the time unit of the snapshot.
    settling_errors_ : dict of str to float
        Standard errors of ``log(first)`` and ``log(half_life)``; empty unless estimated.
    plain_log_likelihood_ : float
        At the optimum with a constant rate.

    Notes
    -----
    The effect is kept where it raises the log-likelihood by more than ``log(number of customers)``:
    what two parameters cost by the Bayesian information criterion. It is sought with a half-life
    of at most a sixth of the longest ``T``; something slower could not be told from dropout.
    ``standard_errors_`` of the other parameters, and posteriors, take it as known.
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
        "settling_errors_",
        "plain_log_likelihood_",
    )  # type: ignore[assignment]

    first_: float
    half_life_: float
    settling_errors_: dict[str, float]
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
    def _settling(self) -> Settling:
        return Settling(self.first_, self.half_life_ / math.log(2.0))

    # -- fit ---------------------------------------------------------------------------------------

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood; see :meth:`crmml.models.base.PurchaseModel.fit`.

        Raises
        ------
        TooLittleDataError
            If the effect is to be estimated from a snapshot that does not know at which ages its
            customers bought (``provenance["repeat_purchases_by_age"]``).
        ParameterError
            If it is to be estimated with sample weights, whose ages are unknown.

        Warns
        -----
        FitWarning
            If the effect is given and those ages are unknown: ``log_likelihood_`` then lacks the
            sum of the log rates at the purchases.
        """
        self._check_settings()
        if len(snapshot) == 0:
            return super().fit(snapshot, sample_weight)
        if snapshot.time_unit not in UNIT_DAYS:
            raise ParameterError(
                "time_unit", "one of calendar time, not purchase opportunities", snapshot.time_unit
            )
        customer_weights(snapshot, sample_weight)
        bought = None if sample_weight is not None else _ages_at_purchases(snapshot)
        self.time_unit_ = snapshot.time_unit
        self.settling_errors_ = {}
        self.first_, self.half_life_ = 1.0, self._shortest(snapshot)
        plain = self._histories(snapshot)
        flat = self._maximise(plain, row_weights(snapshot, plain.groups, sample_weight))[0]
        if self.first is not None and self.half_life is not None:
            self.first_ = float(self.first)
            self.half_life_ = in_units(self.half_life, snapshot.time_unit)
        elif sample_weight is not None:
            raise ParameterError(
                "sample_weight", "None when the newcomers' rate is estimated", "weights"
            )
        elif bought is None:
            raise TooLittleDataError(
                "the rate of newcomers is estimated from the ages at which these very customers "
                "bought, which this snapshot does not know: build it with behaviour=True and take "
                "no subset, or give first and half_life"
            )
        else:
            self._estimate(snapshot, plain, flat.log_likelihood, *bought)
        super().fit(snapshot, sample_weight)
        self.plain_log_likelihood_ = flat.log_likelihood
        if bought is None and self.first_ != 1.0:
            warnings.warn(
                "NewcomerModel: the ages at which these customers bought are unknown, so the "
                "log-likelihood lacks the sum of the log rates at the purchases and cannot be "
                "compared with that of another model",
                FitWarning,
                stacklevel=2,
            )
        elif bought is not None:
            ages, counts = bought
            at_purchases = float(counts @ np.log(self._settling.rate(ages)))
            self.log_likelihood_ += at_purchases
            self.null_log_likelihood_ += at_purchases
        return self

    def _shortest(self, snapshot: Snapshot) -> float:
        """Shortest half-life looked for: one period of the grain."""
        return UNIT_DAYS[snapshot.grain] / UNIT_DAYS[snapshot.time_unit] * math.log(2.0)

    def _estimate(
        self,
        snapshot: Snapshot,
        plain: Histories,
        plain_log_likelihood: float,
        ages: FloatArray,
        counts: FloatArray,
    ) -> None:
        """Maximise the likelihood over ``log(first), log(decay)``, all else at its best for each.

        At the best the likelihood does not change with all else, so its slope is that of the clock
        alone.
        """
        weights = plain.counts.astype(np.float64)

        def at(psi: FloatArray) -> Histories:
            return _on_clock(plain, Settling(*np.exp(psi).tolist()))

        def by_clock(psi: FloatArray, fitted: mle.Fit) -> float:
            h = at(psi)
            self._hold(fitted)
            each = self._process.log_likelihood(self._row_params(h), h.x, h.t_x, h.T)
            rate = Settling(*np.exp(psi).tolist()).rate(ages)
            return float(weights @ each + counts @ np.log(rate))

        def profile(psi: FloatArray) -> tuple[float, FloatArray]:
            fitted = self._maximise(at(psi), weights)[0]
            steps = 1e-4 * np.eye(2)
            slope = [
                (by_clock(psi + step, fitted) - by_clock(psi - step, fitted)) / 2e-4
                for step in steps
            ]
            return by_clock(psi, fitted), np.array(slope)

        longest = _LONGEST * float(plain.T.max())
        shortest = min(self._shortest(snapshot) / math.log(2.0), longest)
        bounds = [(-math.log(_FIRST), math.log(_FIRST)), (math.log(shortest), math.log(longest))]
        n, middle = len(snapshot), (bounds[1][0] + bounds[1][1]) / 2.0

        def loss(psi: FloatArray) -> tuple[float, FloatArray]:
            value, slope = profile(psi)
            return -value / n, -slope / n

        tries = [
            optimize.minimize(
                loss,
                [start, middle],
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"ftol": 1e-11, "gtol": 1e-7},
            )
            for start in (math.log(1.5), -math.log(1.5))
        ]
        best = min(tries, key=lambda found: float(found.fun))
        if -n * best.fun - plain_log_likelihood <= math.log(n):
            return
        self.first_ = math.exp(best.x[0])
        self.half_life_ = math.exp(best.x[1]) * math.log(2.0)
        information = np.column_stack(
            [(profile(best.x - step)[1] - profile(best.x + step)[1]) / 0.02
             for step in 0.01 * np.eye(2)]
        )  # fmt: skip
        inside = [low < value < high for value, (low, high) in zip(best.x, bounds, strict=True)]
        free = np.ix_(inside, inside)
        covariance = np.full((2, 2), np.nan)
        covariance[free] = np.linalg.inv((information + information.T)[free] / 2.0)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist()
        self.settling_errors_ = dict(zip(("first", "half_life"), errors, strict=True))

    def _hold(self, fitted: mle.Fit) -> None:
        """Hold the parameters of a fit on the way."""
        names = self._process.NAMES
        values = np.exp(fitted.theta[: len(names)]).tolist()
        self.params_ = dict(zip(names, values, strict=True))
        self.coefficients_ = {
            name: {"estimate": float(value)}
            for name, value in zip(fitted.blocks, fitted.theta[len(names) :], strict=True)
        }

    def newcomer_test(self) -> dict[str, float]:
        """Test the estimated effect against a constant rate.

        Returns
        -------
        dict
            ``statistic`` (twice the difference of log-likelihoods), ``degrees_of_freedom`` (2)
            and ``p_value`` (chi-squared). Without an effect its half-life means nothing, so the
            chi-squared law is not exact: p-values near a threshold are a little too small.

        Raises
        ------
        TooLittleDataError
            If the ages at the purchases were not known.
        """
        self._check_fitted()
        statistic = max(2.0 * (self.log_likelihood_ - self.plain_log_likelihood_), 0.0)
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

    # -- the clock ---------------------------------------------------------------------------------

    def _histories(self, snapshot: Snapshot) -> Histories:
        return _on_clock(super()._histories(snapshot), self._settling)

    def _lengths(
        self, snapshot: Snapshot, h: Histories, horizon: str | Duration | None
    ) -> FloatArray:
        return self._settling.passed(_ages(h), super()._lengths(snapshot, h, horizon))

    def discounted_expected_purchases(
        self,
        snapshot: Snapshot,
        horizon: str | Duration | None = None,
        annual_discount_rate: float = 0.10,
    ) -> pd.Series[float]:
        """E[sum of exp(-delta t) over the purchases in the horizon | history].

        See :meth:`crmml.models.base.PurchaseModel.discounted_expected_purchases`; purchases are
        discounted by calendar time.
        """
        delta = discount_rate_per_unit(annual_discount_rate, snapshot.time_unit)
        if horizon is None and delta == 0.0:
            raise ParameterError(
                "annual_discount_rate", "> 0 when there is no horizon", annual_discount_rate
            )
        h, alive, future = self._look_ahead(snapshot, horizon)
        # Of one age are all whose future is the same.
        age = np.empty(len(future.t))
        age[future.inverse] = _ages(h)
        until = np.inf if horizon is None else in_units(horizon, self.time_unit_)
        values = newcomer.discounted_purchases(
            future.params, age, np.full(len(age), until), delta, self._settling
        )
        values = alive * values[future.inverse]
        return pd.Series(
            values[h.inverse], index=snapshot.customer_id, name="discounted_expected_purchases"
        )

    def expected_purchases_new_customer(
        self, t: str | Duration, covariates: Mapping[str, float] | None = None
    ) -> float:
        """E[repeat purchases in the first ``t`` after the first purchase] of a random newcomer.

        See :meth:`crmml.models.base.PurchaseModel.expected_purchases_new_customer`.
        """
        self._check_fitted()
        none, length = np.zeros(1), np.array([in_units(t, self.time_unit_)])
        passed = float(self._settling.passed(none, length)[0])
        return super().expected_purchases_new_customer(
            Duration(passed, self.time_unit_), covariates
        )


def _ages(h: Histories) -> FloatArray:
    """Time since the first purchase of each distinct history, shape (n_distinct,)."""
    return np.asarray(h.groups.values["T"], dtype=np.float64)


def _on_clock(h: Histories, settling: Settling) -> Histories:
    none = np.zeros(len(h.T))
    T, t_x = settling.passed(none, h.T), settling.passed(none, h.t_x)
    return Histories(h.x, np.minimum(t_x, T), T, h.covariates, h.groups)


def _ages_at_purchases(snapshot: Snapshot) -> tuple[FloatArray, FloatArray] | None:
    """Ages in time units, and repeat purchases at each; None if they are not these customers'."""
    stored: Any = snapshot.provenance.get("repeat_purchases_by_age")
    if stored is None:
        return None
    counts = np.asarray(stored, dtype=np.float64)
    if counts.sum() != snapshot.frame["frequency"].sum():
        return None
    # Of hours only the day is kept, so they stand in its middle.
    days = np.arange(len(counts)) + (0.5 if snapshot.grain == "hour" else 0.0)
    seen = counts > 0
    return np.asarray(days[seen] / UNIT_DAYS[snapshot.time_unit]), counts[seen]
