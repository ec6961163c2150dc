"""Gamma-Gamma: how much customers spend per purchase."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import (
    FitWarning,
    InfiniteMeanWarning,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.snapshot import Snapshot
from crmml.models.arguments import check_snapshot
from crmml.models.estimator import (
    Estimator,
    check_levels,
    customer_weights,
    keep_fit,
    keyed_uniforms,
    warn_of_fit,
)
from crmml.models.purchase.predictive import spend_posterior
from crmml.models.summary import WithLikelihood
from crmml.models.value.spend_drift import correlate_first_order, measure_spend_drift
from crmml.stats import gamma_gamma, mle
from crmml.stats.posterior import Posterior

MATERIAL_CORRELATION = 0.3
"""Correlation of spend and frequency from which the fit warns (CDNOW: 0.11)."""


class GammaGammaModel(WithLikelihood, Estimator):
    """Gamma-Gamma model of the mean spend per purchase (Fader and Hardie 2013).

    The model is fitted to customers with at least one repeat purchase and a positive
    ``monetary_value``, and takes spend to be independent of purchase frequency.

    Attributes
    ----------
    params_ : dict of str to float
        ``p``, ``q`` and ``gamma`` (in currency).
    standard_errors_ : dict of str to float
        By the delta method; NaN where the optimum lies on the boundary.
    covariance_ : list of list of float
        Covariance of the log-parameters.
    log_likelihood_ : float
    converged_ : bool
    n_customers_ : int
        Customers fitted.
    n_left_out_ : int
        Repeat buyers left out because their ``monetary_value`` is not positive (net returns).
    spend_frequency_correlation_ : float
        Pearson correlation of ``monetary_value`` and ``frequency`` over the customers fitted;
        the model assumes 0. NaN if either does not vary.
    first_order_correlation_ : float or None
        Of the logarithms of first order value and ``monetary_value``; None where it is unknown.
    n_without_repeat_ : int
        Customers of the fit without a repeat purchase.
    """

    _boundaries: ClassVar[dict[tuple[str, str], str]] = {
        ("p", "high"): "spend does not vary within customers",
        ("p", "low"): "spend varies without bound within customers",
        ("q", "high"): "mean spend does not differ between customers",
        ("gamma", "high"): "mean spend does not differ between customers",
        ("q", "low"): "mean spend differs without bound between customers",
        ("gamma", "low"): "mean spend differs without bound between customers",
    }
    _state = (
        "params_",
        "standard_errors_",
        "covariance_",
        "log_likelihood_",
        "converged_",
        "n_customers_",
        "n_left_out_",
        "spend_frequency_correlation_",
        "first_order_correlation_",
        "n_without_repeat_",
    )

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    log_likelihood_: float
    converged_: bool
    n_customers_: int
    n_left_out_: int
    spend_frequency_correlation_: float
    first_order_correlation_: float | None = None
    n_without_repeat_: int = 0

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        return gamma_gamma.NAMES

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood.

        Parameters
        ----------
        snapshot : Snapshot
            Needs ``frequency`` and ``monetary_value``.
        sample_weight : Series or array-like, optional
            Non-negative weight of each customer: a Series is matched by ``customer_id``.

        Raises
        ------
        TooLittleDataError
            If no customer has a repeat purchase and a positive monetary value.

        Warns
        -----
        InfiniteMeanWarning
            If ``q <= 1``: a new customer's expected spend is infinite.
        BoundaryWarning, ConvergenceWarning, FitWarning
            If an estimate lies on the boundary; if the optimiser stopped; if customers were left
            out, spend and frequency are materially correlated, or order values drift within
            customers (:func:`crmml.models.value.spend_drift.measure_spend_drift`).
        """
        check_snapshot(snapshot, self)
        x, m = _spend_columns(snapshot)
        usable = (x > 0) & (m > 0)
        self.n_left_out_ = int(((x > 0) & (m <= 0)).sum())
        weights = customer_weights(snapshot, sample_weight)
        keep = usable & (weights > 0)
        if not keep.any():
            raise TooLittleDataError(
                "the spend model needs customers with a repeat purchase and a positive "
                f"monetary_value; none of {len(snapshot):,} customers has both"
            )
        # In the order of spend, so that the order of the rows changes nothing.
        order = np.flatnonzero(keep)
        order = order[np.argsort(m[order])]
        x, m, weights = x[order], m[order], weights[order]
        same = bool(np.ptp(m) <= 1e-9 * m.mean())
        fitted = _of_one_spend(float(m.mean()), x, m, weights) if same else _maximise(x, m, weights)
        self.n_customers_ = int(usable.sum())
        keep_fit(self, gamma_gamma.NAMES, fitted)
        self.spend_frequency_correlation_ = _correlation(x, m, weights)
        if not same:
            warn_of_fit(self, fitted, self._boundaries)
        self._warn_of_assumptions(snapshot)
        found = correlate_first_order(snapshot)
        self.first_order_correlation_ = None if found is None else found[0]
        self.n_without_repeat_ = int((snapshot.frame["frequency"] == 0).sum())
        return self

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        correlation = self.first_order_correlation_
        if correlation is None or correlation <= MATERIAL_CORRELATION or not self.n_without_repeat_:
            return ()
        return (
            f"{self.n_without_repeat_:,} customers without a repeat purchase are given one and the "
            f"same expected spend, though the first order tells something of later ones "
            f"(correlation of their logarithms {correlation:+.2f} among repeat buyers)",
        )

    def _warn_of_assumptions(self, snapshot: Snapshot) -> None:
        drift = measure_spend_drift(snapshot)
        if drift is not None and drift.found:
            warnings.warn(drift.sentence, FitWarning, stacklevel=3)
        if self.n_left_out_:
            warnings.warn(
                f"{self.n_left_out_:,} repeat buyer(s) with a monetary_value <= 0 (net returns) "
                "were left out of the spend fit",
                FitWarning,
                stacklevel=3,
            )
        if abs(self.spend_frequency_correlation_) > MATERIAL_CORRELATION:
            warnings.warn(
                "spend and frequency are correlated "
                f"({self.spend_frequency_correlation_:+.2f}), but the Gamma-Gamma model takes them "
                "to be independent: lifetime values of frequent buyers are biased",
                FitWarning,
                stacklevel=3,
            )
        if self.params_["q"] <= 1.0:
            warnings.warn(
                f"q = {self.params_['q']:.3g} <= 1: the fitted spend has no mean, so the expected "
                "spend of a customer without repeat purchases is infinite",
                InfiniteMeanWarning,
                stacklevel=3,
            )

    def expected_spend(self, snapshot: Snapshot) -> pd.Series[float]:
        """E[spend per future purchase | history], keyed by customer.

        A weighted mean of the customer's own ``monetary_value`` and of the population,
        ``p (gamma + x m) / (p x + q - 1)``. The same (linear credibility) formula serves customers
        with a negative ``monetary_value``, and may then be negative. Without repeat purchases it
        is :meth:`expected_spend_new_customer`.
        """
        check_snapshot(snapshot, self)
        future, offset = self._after(snapshot)
        values = gamma_gamma.expected_spend(future) + offset
        return pd.Series(values, index=snapshot.customer_id, name="expected_spend")

    def spend_variation(self, snapshot: Snapshot) -> pd.Series[float]:
        """Coefficient of variation of what is known about a customer's mean spend.

        The mean spend is ``p / nu`` with ``nu`` gamma(q', gamma') given the history, so that its
        relative variance is ``1 / (q' - 2)``. Where that is infinite (q' <= 2) it is taken as that
        of q' = 3, and the interval that rests on it is too narrow.
        """
        future, _ = self._after(snapshot)
        variation = 1.0 / np.sqrt(np.where(future.q > 2.0, future.q - 2.0, 1.0))
        return pd.Series(variation, index=snapshot.customer_id, name="spend_variation")

    def expected_spend_new_customer(self) -> float:
        """E[spend per purchase] of a customer without repeat purchases; inf if ``q <= 1``."""
        self._check_fitted()
        return float(gamma_gamma.expected_spend(gamma_gamma.Params(**self.params_)))

    def posterior(
        self,
        snapshot: Snapshot,
        *,
        n_draws: int = 200,
        seed: int = 0,
        prior: Mapping[str, tuple[float, float]] | None = None,
    ) -> Posterior:
        """Draw from the posterior of the parameters, given the customers of the fit.

        See :func:`crmml.models.purchase.predictive.spend_posterior` for the priors and the method.
        """
        return spend_posterior(self, snapshot, n_draws=n_draws, seed=seed, prior=prior)

    def spend_quantiles(
        self,
        snapshot: Snapshot,
        q: float | Sequence[float],
        *,
        of: Literal["mean", "purchase"] = "mean",
    ) -> pd.DataFrame:
        """Quantiles of the customer's own mean spend per purchase, or of one purchase.

        Parameters
        ----------
        snapshot : Snapshot
        q : float or sequence of float
            Levels strictly between 0 and 1.
        of : {"mean", "purchase"}
            ``"mean"``: how uncertain the customer's long-run mean is; ``"purchase"``: how much
            the next purchase may be worth.

        Returns
        -------
        DataFrame, shape (n_customers, n_levels)
        """
        if of not in ("mean", "purchase"):
            raise ParameterError("of", "'mean' or 'purchase'", of)
        levels = check_levels(q)
        future, offset = self._after(snapshot)
        column = gamma_gamma.Params(future.p, future.q[:, None], future.gamma[:, None])
        quantile = {
            "mean": gamma_gamma.mean_spend_quantile,
            "purchase": gamma_gamma.purchase_quantile,
        }[of]
        values = quantile(column, levels[None, :]) + offset[:, None]
        return pd.DataFrame(values, index=snapshot.customer_id, columns=pd.Index(levels, name="q"))

    def sample(
        self, snapshot: Snapshot, n_purchases: int | pd.DataFrame, seed: int
    ) -> pd.DataFrame:
        """Draw the total spend of future purchases.

        Parameters
        ----------
        snapshot : Snapshot
        n_purchases : int or DataFrame of int, shape (n_customers, n_draws)
            Number of purchases whose spend is added up: one number for all, or draws of a
            purchase model's ``sample``, matched by ``customer_id``.
        seed : int
            A customer's draws depend on the seed and the id alone, not on the batch.

        Returns
        -------
        DataFrame, shape (n_customers, n_draws)
        """
        if not isinstance(n_purchases, pd.DataFrame):
            if n_purchases < 0:
                raise ParameterError("n_purchases", ">= 0", n_purchases)
            n_purchases = pd.DataFrame({0: n_purchases}, index=snapshot.customer_id)
        counts = n_purchases.reindex(snapshot.customer_id)
        n = counts.to_numpy(np.float64)
        if not (n >= 0).all():
            raise ParameterError("n_purchases", ">= 0 for every customer of the snapshot", "less")
        future, offset = self._after(snapshot)
        column = gamma_gamma.Params(future.p, future.q[:, None], future.gamma[:, None])
        u, v = (
            keyed_uniforms(snapshot.customer_id, n.shape[1], seed, stream=stream)
            for stream in (1, 2)
        )
        values = gamma_gamma.total_spend(column, n, u, v) + n * offset[:, None]
        return pd.DataFrame(values, index=counts.index, columns=counts.columns)

    def _after(self, snapshot: Snapshot) -> tuple[Any, FloatArray]:
        """Posterior parameters, and the loss per purchase of customers with net returns."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        x, m = _spend_columns(snapshot)
        m = np.where(x > 0, m, 0.0)
        future = gamma_gamma.posterior(gamma_gamma.Params(**self.params_), x, np.maximum(m, 0.0))
        loss = np.where(m < 0, future.p * x * m / np.maximum(future.q - 1.0, 1e-300), 0.0)
        return future, loss


def _spend_columns(snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
    if "monetary_value" not in snapshot.frame.columns:
        raise MissingColumnsError(
            ["monetary_value"], map(str, snapshot.frame.columns), table="snapshot"
        )
    x = snapshot.frame["frequency"].to_numpy(np.float64)
    m = snapshot.frame["monetary_value"].to_numpy(np.float64)
    return x, m


def _maximise(x: FloatArray, m: FloatArray, weights: FloatArray) -> mle.Fit:
    scale = float(weights @ m / weights.sum())

    def objective_of(rows: slice, share: float) -> mle.Objective:
        return gamma_gamma.counted(x[rows], m[rows] / scale, weights[rows] * share)

    start = np.log([3.0, 3.0, 1.0])
    fitted = mle.fit_rows(gamma_gamma.NAMES, objective_of, weights, start, cheap_information=True)
    constant = -float(weights.sum()) * np.log(scale)
    moved: mle.Fit = fitted.moved(np.array([0.0, 0.0, np.log(scale)]), constant)
    return moved


def _of_one_spend(spend: float, x: FloatArray, m: FloatArray, weights: FloatArray) -> mle.Fit:
    """Return the fit where every purchase cost the same, as where purchases are only counted.

    The likelihood then grows without bound towards no spread at all, so the spread within and
    between customers is set to one per cent. The mean is that spend for everybody.
    """
    shape = 1e4
    params = gamma_gamma.Params(shape, shape, spend * (shape - 1.0) / shape)
    value = float(weights @ gamma_gamma.log_likelihood(params, x, m))
    unknown = np.full((3, 3), np.nan)
    return mle.Fit(np.log(np.array(params)), value, unknown, 0.0, True, (), ())


def _correlation(x: FloatArray, m: FloatArray, weights: FloatArray) -> float:
    share = weights / weights.sum()
    dx, dm = x - share @ x, m - share @ m
    spread = float(np.sqrt((share @ dx**2) * (share @ dm**2)))
    return float(share @ (dx * dm)) / spread if spread > 0 else float("nan")
