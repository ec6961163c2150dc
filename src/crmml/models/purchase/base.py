"""What all estimators share: fitted state, plain-text storage, predictions keyed by customer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from crmml._typing import Duration, FloatArray, TimeUnit
from crmml.exceptions import (
    CrmmlError,
    DataError,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
    few,
)
from crmml.features.snapshot import Distinct, Snapshot
from crmml.models.estimator import (
    Estimator,
    _check_whole,
    check_levels,
    row_weights,
    warn_of_fit,
)
from crmml.models.purchase.distribution import (
    Future,
    Histories,
    PredictiveDistribution,
    look_ahead,
)
from crmml.models.purchase.predictive import purchase_posterior
from crmml.stats import mle
from crmml.stats.discounting import discount_rate_per_unit, in_units
from crmml.stats.posterior import Posterior
from crmml.stats.process import PurchaseProcess

Group = Literal["purchase", "dropout"]


class PurchaseModel(Estimator):
    """A purchase process fitted to (frequency, recency, T); see :mod:`crmml.stats.process`.

    A concrete model names its process module in ``_process`` and says which parameters carry the
    unit of time and how covariates act; everything else is here. Likelihoods and predictions are
    evaluated once per distinct history and handed to the customers who share it.

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
    """What it means when a parameter runs off to ``"low"`` (0) or ``"high"`` (infinity)."""

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

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    coefficients_: dict[str, dict[str, float]]
    log_likelihood_: float
    null_log_likelihood_: float
    converged_: bool
    n_customers_: int
    time_unit_: TimeUnit

    def __init__(
        self,
        *,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
    ) -> None:
        self.purchase_covariates = purchase_covariates
        self.dropout_covariates = dropout_covariates
        self.ridge = ridge

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
            If there are no customers, or ``T`` is 0 for all.
        DataError, ParameterError
            If a covariate or a weight is not a finite number, or a setting is out of range.

        Warns
        -----
        BoundaryWarning
            If the optimum lies on the boundary; the text says which process is not identified.
        ConvergenceWarning
            If the optimiser stopped early.
        """
        self._check_settings()
        if len(snapshot) == 0:
            raise TooLittleDataError(
                f"{type(self).__name__} needs customers; the snapshot is empty"
            )
        self.time_unit_ = snapshot.time_unit
        histories = self._histories(snapshot)
        weights = row_weights(snapshot, histories.groups, sample_weight)
        fitted, null = self._maximise(histories, weights)
        self._adopt(fitted, null, len(snapshot))
        return self

    def _maximise(
        self, h: Histories, weights: FloatArray, process: PurchaseProcess | None = None
    ) -> tuple[mle.Fit, mle.Fit]:
        """Fit with the covariates and without; ``process`` by default the model's own."""
        process = self._process if process is None else process
        keep: Any = slice(None) if (weights > 0).all() else weights > 0
        x, t_x, T, weights = h.x[keep], h.t_x[keep], h.T[keep], weights[keep]
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
            fitted = mle.fit_process(process, everyone, blocks, ridge=self.ridge, start=null.theta)
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

    def _histories(self, snapshot: Snapshot) -> Histories:
        """Gather the distinct histories of the snapshot, in the clock of the process."""
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

    def _lengths(
        self, snapshot: Snapshot, h: Histories, horizon: str | Duration | None
    ) -> FloatArray:
        """Length of the horizon after the cutoff for each history, in the clock of the process."""
        t = np.inf if horizon is None else in_units(horizon, self.time_unit_)
        return np.full(len(h.x), t)

    def _discount(
        self,
        snapshot: Snapshot,
        h: Histories,
        future: Future,
        horizon: str | Duration | None,
        delta: float,
    ) -> FloatArray:
        """E[sum of exp(-delta t) over the purchases] of each distinct future, if active."""
        del snapshot, h, horizon
        values: FloatArray = self._process.discounted_purchases(future.params, future.t, delta)
        return values

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

    def expected_purchases(self, snapshot: Snapshot, horizon: str | Duration) -> pd.Series[float]:
        """E[purchases in (cutoff, cutoff + horizon] | history], keyed by customer.

        Parameters
        ----------
        snapshot : Snapshot
            In the time unit of the fit.
        horizon : str or Duration
            For example ``"52W"``.
        """
        return self.predictive(snapshot, horizon).mean()

    def expected_purchases_if_alive(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """E[purchases in the horizon | history and still active at the cutoff]."""
        return self.predictive(snapshot, horizon).mean_if_alive()

    def expected_purchases_if_staying(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """E[purchases in the horizon | history, active at the cutoff, and never leaving]."""
        return self.predictive(snapshot, horizon).mean_if_staying()

    def purchase_chances(self, snapshot: Snapshot, horizon: str | Duration) -> pd.DataFrame:
        """P(a purchase in the horizon) as things stand, if active, and if staying.

        See :meth:`crmml.models.purchase.distribution.PredictiveDistribution.chances`.
        """
        return self.predictive(snapshot, horizon).chances()

    def rate_variation(self, snapshot: Snapshot) -> pd.Series[float]:
        """Coefficient of variation of an active customer's purchase rate, given the history."""
        return self.predictive(snapshot, Duration(1.0, snapshot.time_unit)).rate_variation()

    def probability_alive(self, snapshot: Snapshot) -> pd.Series[float]:
        """P(still active at the cutoff | history), keyed by customer."""
        self._check_snapshot(snapshot)
        h = self._histories(snapshot)
        alive = self._process.probability_alive(self._row_params(h), h.x, h.t_x, h.T)
        return pd.Series(alive[h.inverse], snapshot.customer_id, name="probability_alive")

    def probability_no_purchase(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """P(no purchase in the horizon | history): dropped out, or active but silent."""
        return self.predictive(snapshot, horizon).probability_no_purchase()

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

    def purchase_distribution(
        self,
        snapshot: Snapshot,
        horizon: str | Duration,
        n_max: int,
        posterior: Posterior | None = None,
    ) -> pd.DataFrame:
        """P(n purchases in the horizon | history) for n = 0..n_max.

        See :meth:`predictive` and
        :meth:`crmml.models.purchase.distribution.PredictiveDistribution.pmf`.
        """
        _check_whole("n_max", n_max, 0)
        return self.predictive(snapshot, horizon, posterior).pmf(n_max)

    def purchase_quantiles(
        self,
        snapshot: Snapshot,
        horizon: str | Duration,
        q: float | Sequence[float],
        posterior: Posterior | None = None,
    ) -> pd.DataFrame:
        """Smallest n with P(purchases <= n) >= q, for each level.

        See :meth:`predictive` and
        :meth:`crmml.models.purchase.distribution.PredictiveDistribution.quantiles`.
        """
        check_levels(q)
        return self.predictive(snapshot, horizon, posterior).quantiles(q)

    def sample(
        self, snapshot: Snapshot, horizon: str | Duration, n_draws: int, seed: int
    ) -> pd.DataFrame:
        """Draw the number of purchases in the horizon.

        A customer's draws depend on the seed and on the customer alone, not on the batch.

        Returns
        -------
        DataFrame of int, shape (n_customers, n_draws)
        """
        _check_whole("n_draws", n_draws, 1)
        return self.predictive(snapshot, horizon).sample(n_draws, seed)

    def discounted_expected_purchases(
        self,
        snapshot: Snapshot,
        horizon: str | Duration | None = None,
        annual_discount_rate: float = 0.10,
    ) -> pd.Series[float]:
        """E[sum of exp(-delta t) over the purchases in the horizon | history].

        Parameters
        ----------
        snapshot : Snapshot
            In the time unit of the fit.
        horizon : str, Duration or None
            ``None`` looks to infinity (DERT: discounted expected residual transactions).
        annual_discount_rate : float
            Effective annual rate; discounting is continuous. Must be > 0 without a horizon.
        """
        delta = discount_rate_per_unit(annual_discount_rate, snapshot.time_unit)
        if horizon is None and delta == 0.0:
            raise ParameterError(
                "annual_discount_rate", "> 0 when there is no horizon", annual_discount_rate
            )
        return self.predictive(snapshot, horizon).discounted(annual_discount_rate)

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
            raise ParameterError("covariates", f"given for {few(sorted(needed))}", sorted(given))
        none = np.zeros(1)
        z = {name: np.array([float(value)]) for name, value in given.items()}
        h = Histories(none, none, none, z, Distinct({"x": none}))
        params = self._row_params(h)
        alive = self._process.probability_alive(params, none, none, none)
        future = self._process.if_alive(params, none, none, none)
        length = np.array([in_units(t, self.time_unit_)])
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
        alive = self._process.probability_alive(params, h.x, h.t_x, h.T)
        updated = self._process.if_alive(params, h.x, h.t_x, h.T)
        varying = {name: v for name, v in updated._asdict().items() if np.ndim(v)}
        # Covariates tell futures apart that are alike at these coefficients only.
        covariates = {f"covariate:{name}": z for name, z in h.covariates.items()}
        found = Distinct({**varying, **covariates, "horizon": t})
        distinct = {name: found.values[name] for name in varying}
        return (
            h,
            alive,
            Future(updated._replace(**distinct), found.values["horizon"], found.inverse),
        )

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
        return (*self._process.NAMES, *self.coefficients_)

    def _check_settings(self) -> None:
        for group, columns in self._covariate_columns().items():
            if isinstance(columns, str):
                raise ParameterError(f"{group}_covariates", "a sequence of column names", columns)
            if columns and not self._effects[group]:
                raise ParameterError(f"{group}_covariates", "empty for this model", columns)
        if not (np.isfinite(self.ridge) and self.ridge >= 0):
            raise ParameterError("ridge", "finite and >= 0", self.ridge)

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        self._check_fitted()
        if snapshot.time_unit != self.time_unit_:
            raise CrmmlError(
                f"{type(self).__name__} was fitted in units of {self.time_unit_!r}, the snapshot "
                f"is in {snapshot.time_unit!r}"
            )


def _wald(estimate: float, deviation: float) -> dict[str, float]:
    z = estimate / deviation if deviation > 0 else np.nan
    return {
        "estimate": float(estimate),
        "standard_error": float(deviation),
        "z_value": float(z),
        "p_value": float(2.0 * stats.norm.sf(abs(z))),
    }
