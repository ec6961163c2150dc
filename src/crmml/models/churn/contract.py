"""Contractual customers: when the end of the relation is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, TooLittleDataError
from crmml.features.snapshot import Distinct
from crmml.models.arguments import check_contracts
from crmml.models.estimator import Estimator, keep_fit, warn_of_fit
from crmml.models.summary import WithLikelihood
from crmml.stats import mle, sbg
from crmml.stats.discounting import discount_rate_per_unit, in_units

_FLAT = 1e-5
"""Gradient per contract below which the ridge towards a boundary counts as climbed."""
CONTRACT_COLUMNS = ("customer_id", "renewals", "ended")


class ShiftedBetaGeoModel(WithLikelihood, Estimator):
    """Shifted beta-geometric model of contract renewal, Fader and Hardie (2007).

    Customers differ in a constant chance ``theta ~ Beta(alpha, beta)`` of ending the contract at
    each renewal date. The observed retention rate rises with age because those who end often are
    gone, not because anybody becomes more loyal.

    All methods that take ``contracts`` want a table with one row per contract and

    * ``customer_id``: unique (a column, or the index under that name);
    * ``renewals``: renewal dates outlasted so far, whole, >= 0;
    * ``ended``: true if the contract ended at the renewal date after those, false if it is active.

    Parameters
    ----------
    period : str or Duration
        Time between two renewal dates, like ``"365D"`` or ``"4W"``; converts discount rates.

    Attributes
    ----------
    params_ : dict of str to float
        ``alpha`` and ``beta``.
    standard_errors_ : dict of str to float
        By the delta method; NaN where the optimum lies on the boundary.
    covariance_ : list of list of float
        Covariance of the log-parameters.
    log_likelihood_ : float
    converged_ : bool
    n_customers_ : int
        Number of rows fitted.

    Examples
    --------
    The High End segment of the paper: 1,000 customers, survivors over seven years.

    >>> survivors = np.array([1000, 869, 743, 653, 593, 551, 517, 491])
    >>> contracts = pd.DataFrame({"customer_id": range(8), "renewals": [*range(7), 7],
    ...                           "ended": [True] * 7 + [False]})
    >>> model = ShiftedBetaGeoModel(period="365D")
    >>> model = model.fit(contracts, sample_weight=[*-np.diff(survivors), 491])
    >>> {name: round(value, 3) for name, value in model.params_.items()}
    {'alpha': 0.668, 'beta': 3.806}
    """

    _boundaries: ClassVar[dict[tuple[str, str], str]] = {
        ("alpha", "low"): "nobody ends a contract, or a few at once",
        ("beta", "high"): "all customers are equally likely to end, or nobody ends",
        ("alpha", "high"): "all customers are equally likely to end a contract",
        ("beta", "low"): "customers end at the first renewal date or never",
    }
    _state = (
        "params_",
        "standard_errors_",
        "covariance_",
        "log_likelihood_",
        "converged_",
        "n_customers_",
    )

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    log_likelihood_: float
    converged_: bool
    n_customers_: int

    def __init__(self, *, period: str | Duration = "365D") -> None:
        self.period = period

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        return sbg.NAMES

    def fit(
        self,
        contracts: pd.DataFrame,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood.

        Parameters
        ----------
        contracts : DataFrame
            See the class.
        sample_weight : Series or array-like, optional
            Non-negative weight of each row, as for grouped counts: a Series is matched by
            ``customer_id``, an array goes by the rows.

        Raises
        ------
        MissingColumnsError, DataError, ParameterError
            If a column is missing, or a row or a weight breaks a rule.
        TooLittleDataError
            If there are no contracts.

        Warns
        -----
        BoundaryWarning, ConvergenceWarning
            If an estimate lies on the boundary (nobody or everybody ended); if the optimiser
            stopped.
        """
        self._discount(0.0)
        ids, renewals, ended = _contract_columns(contracts)
        weights = _weights(ids, sample_weight)
        groups = Distinct({"renewals": renewals, "ended": ended})
        totals = np.bincount(groups.inverse, weights=weights).astype(np.float64)
        k, left = groups.values["renewals"], groups.values["ended"].astype(bool)

        def objective_of(rows: slice, share: float) -> mle.Objective:
            def objective(theta: FloatArray) -> tuple[float, FloatArray]:
                each, by_parameter = sbg.score(sbg.Params(*np.exp(theta)), k[rows], left[rows])
                w = totals[rows] * share
                return float(w @ each), by_parameter @ w

            return mle.differentiated(objective)

        fitted = mle.fit_rows(sbg.NAMES, objective_of, totals, np.zeros(2))
        if fitted.boundary and fitted.gradient_norm < _FLAT:
            fitted = replace(fitted, converged=True)
        keep_fit(self, sbg.NAMES, fitted)
        self.n_customers_ = len(ids)
        warn_of_fit(self, fitted, self._boundaries)
        return self

    # -- the population ----------------------------------------------------------------------

    def survival(self, periods: int) -> pd.Series[float]:
        """P(a new contract outlasts t renewal dates) for t = 0..periods, indexed by t."""
        t = np.arange(_whole("periods", periods, 0) + 1)
        values = np.exp(sbg.log_survival(self._params(), t.astype(np.float64)))
        return pd.Series(values, index=pd.Index(t, name="t"), name="survival")

    def retention_rate(self, periods: int) -> pd.Series[float]:
        """P(a contract that met renewal date t outlasts it) for t = 1..periods, indexed by t."""
        t = np.arange(1, _whole("periods", periods, 1) + 1)
        values = sbg.retention_rate(self._params(), t.astype(np.float64))
        return pd.Series(values, index=pd.Index(t, name="t"), name="retention_rate")

    def expected_lifetime(self, annual_discount_rate: float = 0.0) -> float:
        """E[periods of a new contract], each discounted from its start (DEL).

        The first period is certain and undiscounted. Without discounting it is
        ``(alpha + beta - 1) / (alpha - 1)``, infinite for alpha <= 1.
        """
        delta = self._discount(annual_discount_rate)
        ahead = sbg.expected_renewals(self._params(), np.array([np.inf]), delta)
        return float(1.0 + np.exp(-delta) * ahead[0])

    # -- customers ---------------------------------------------------------------------------

    def churn_probability(
        self, contracts: pd.DataFrame, horizon: str | Duration = "1P"
    ) -> pd.Series[float]:
        """P(the contract ends at one of the next renewal dates | active so far).

        Parameters
        ----------
        contracts : DataFrame
            See the class; of an ended contract the probability is 1.
        horizon : str or Duration
            Renewal dates ahead, a whole number like ``"3P"``, or as long as so many periods, like
            ``"1095D"``.

        Returns
        -------
        Series
            Keyed by ``customer_id``.
        """
        ahead = _renewal_dates(horizon, self.period)
        ids, renewals, ended = _contract_columns(contracts)
        future = sbg.if_active(self._params(), renewals)
        ends = -np.expm1(sbg.log_survival(future, np.full(len(renewals), ahead)))
        return pd.Series(np.where(ended, 1.0, ends), index=ids, name="churn_probability")

    def expected_residual_lifetime(
        self,
        contracts: pd.DataFrame,
        horizon: str | Duration | None = None,
        annual_discount_rate: float = 0.0,
    ) -> pd.Series[float]:
        """E[further periods of the contract | active so far], discounted to the next renewal date.

        Parameters
        ----------
        contracts : DataFrame
            See the class; an ended contract has none.
        horizon : str, Duration or None
            Renewal dates ahead, like ``"3P"`` or as long as so many periods; ``None`` looks to
            infinity (DERL of Fader and Hardie 2010), which is infinite without discounting if
            alpha <= 1.
        annual_discount_rate : float
            Effective annual rate, >= 0.

        Returns
        -------
        Series
            Keyed by ``customer_id``.
        """
        ahead = np.inf if horizon is None else _renewal_dates(horizon, self.period)
        delta = self._discount(annual_discount_rate)
        ids, renewals, ended = _contract_columns(contracts)
        groups = Distinct({"renewals": renewals})
        future = sbg.if_active(self._params(), groups.values["renewals"])
        values = sbg.expected_renewals(future, np.full(len(groups.counts), ahead), delta)
        values = np.where(ended, 0.0, values[groups.inverse])
        return pd.Series(values, index=ids, name="expected_residual_lifetime")

    def _params(self) -> sbg.Params:
        self._check_fitted()
        return sbg.Params(**self.params_)

    def _discount(self, annual_discount_rate: float) -> float:
        """Continuous discount rate per contract period."""
        return discount_rate_per_unit(annual_discount_rate, "day") * in_units(self.period, "day")


def _contract_columns(contracts: pd.DataFrame) -> tuple[pd.Index[Any], FloatArray, BoolArray]:
    """Validate a table of contracts; the rules all stand here."""
    check_contracts(contracts, ShiftedBetaGeoModel.__name__)
    frame = contracts.reset_index() if contracts.index.name == "customer_id" else contracts
    missing = [name for name in CONTRACT_COLUMNS if name not in frame.columns]
    if missing:
        raise MissingColumnsError(missing, map(str, frame.columns), table="contracts")
    if len(frame) == 0:
        raise TooLittleDataError("the sBG model needs contracts; the table is empty")
    ids = pd.Index(frame["customer_id"], name="customer_id")
    renewals = pd.to_numeric(frame["renewals"], errors="coerce").to_numpy(dtype=np.float64)
    ended = frame["ended"].to_numpy()
    whole = np.isfinite(renewals) & (renewals >= 0) & (renewals == np.floor(renewals))
    rules = (
        ("customer_id", "must not be null", np.asarray(ids.isna())),
        ("customer_id", "must be unique", ids.duplicated(keep=False)),
        ("renewals", "must be a whole number >= 0", ~whole),
        ("ended", "must be true or false", ~np.isin(ended, [True, False])),
    )
    for column, rule, broken in rules:
        if broken.any():
            raise DataError(
                f"{column} {rule}",
                table="contracts",
                column=column,
                n_rows=int(broken.sum()),
                examples=ids[broken][:5],
            )
    return ids, renewals, ended.astype(bool)


def _weights(ids: pd.Index[Any], given: pd.Series[float] | npt.ArrayLike | None) -> FloatArray:
    if given is None:
        return np.ones(len(ids))
    if isinstance(given, pd.Series):
        given = given.reindex(ids)
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (len(ids),) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ParameterError(
            "sample_weight", "one finite number >= 0 per contract", f"shape {weights.shape}"
        )
    if not weights.any():
        raise TooLittleDataError("all sample weights are 0")
    return weights


def _whole(name: str, value: int, least: int) -> int:
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ParameterError(name, f"a whole number >= {least}", value)
    return int(value)


def _renewal_dates(horizon: str | Duration, period: str | Duration) -> float:
    """Count the renewal dates ahead; a duration in calendar time is divided by the period."""
    length = Duration.parse(horizon)
    if length.unit == "period":
        dates = in_units(length, "period")
    else:
        dates = in_units(length, "day") / in_units(period, "day")
    if abs(dates - round(dates)) > 1e-9:
        rule = f"a whole number of renewal dates, which are {period} apart"
        raise ParameterError("horizon", rule, str(horizon))
    return float(round(dates))
