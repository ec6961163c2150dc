"""The beta-discrete-Weibull: contracts by their age alone, each with a chance of its own."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.exceptions import TooLittleDataError
from crmml.features.contracts import Contracts, PersonPeriods
from crmml.features.snapshot import Distinct
from crmml.features.windows import length_of
from crmml.models.estimator import Estimator, warn_of_fit
from crmml.stats import hazard, mle


class BetaDiscreteWeibullModel(Estimator):
    """Contracts that differ in their chance of ending, which rises or falls with age.

    Fader, Hardie, Liu, Davin, Steenburgh (2018). At ``c = 1`` it is the shifted beta-geometric.
    Left-truncated contracts count from when they came under observation. It knows age alone: what
    a model with features must beat.

    Attributes
    ----------
    params_, standard_errors_ : dict of str to float
        ``alpha``, ``beta`` and ``c``; errors by the delta method, NaN on the boundary.
    covariance_ : list of list of float
        Of the log-parameters.
    log_likelihood_ : float
    converged_ : bool
    n_customers_ : int
        Spells fitted.
    period_ : str
        Length of a period.
    """

    _boundaries: ClassVar[dict[tuple[str, str], str]] = {
        ("alpha", "high"): "all contracts are equally likely to end",
        ("beta", "high"): "all contracts are equally likely to end",
        ("c", "low"): "the chance of ending falls to nothing with age",
    }
    _state: ClassVar[tuple[str, ...]] = (
        "params_",
        "standard_errors_",
        "covariance_",
        "log_likelihood_",
        "converged_",
        "n_customers_",
        "period_",
    )

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    log_likelihood_: float
    converged_: bool
    n_customers_: int
    period_: str

    def fit(self, periods: PersonPeriods) -> Self:
        """Maximise the likelihood of the spells, given when each came under observation.

        Raises
        ------
        TooLittleDataError
            If no contract was seen through a period.

        Warns
        -----
        BoundaryWarning, ConvergenceWarning
            If a parameter ran off; if the optimiser stopped.
        """
        if not len(periods):
            raise TooLittleDataError("the model of contracts needs periods at risk; got none")
        spells = periods.frame.groupby(["customer_id", "spell"], sort=False)["age"]
        ended = (
            periods.frame["cause"]
            .notna()
            .groupby([periods.frame["customer_id"], periods.frame["spell"]], sort=False)
        )
        last, over = spells.max().to_numpy(), ended.max().to_numpy(dtype=bool)
        groups = Distinct(
            {
                "entered": spells.min().to_numpy(dtype=np.float64),
                "renewals": last + np.where(over, 0.0, 1.0),
                "ended": over,
            }
        )
        entered, renewals = (groups.values[name] for name in ("entered", "renewals"))
        left, totals = groups.values["ended"].astype(bool), groups.counts.astype(np.float64)

        def objective_of(rows: slice, share: float) -> mle.Objective:
            def objective(theta: FloatArray) -> tuple[float, FloatArray]:
                each, by_parameter = hazard.score(
                    hazard.Params(*np.exp(theta)), entered[rows], renewals[rows], left[rows]
                )
                w = totals[rows] * share
                return float(w @ each), by_parameter @ w

            return mle.differentiated(objective)

        fitted = mle.fit_rows(hazard.NAMES, objective_of, totals, np.zeros(3))
        values = np.exp(fitted.theta)
        deviations = values * np.sqrt(np.diag(fitted.covariance))
        self.params_ = dict(zip(hazard.NAMES, values.tolist(), strict=True))
        self.standard_errors_ = dict(zip(hazard.NAMES, deviations.tolist(), strict=True))
        self.covariance_ = fitted.covariance.tolist()
        self.log_likelihood_ = fitted.log_likelihood
        self.converged_ = fitted.converged
        self.n_customers_ = int(totals.sum())
        self.period_ = str(periods.period)
        warn_of_fit(self, fitted, self._boundaries)
        return self

    def churn_probability(self, contracts: Contracts, horizon: str | Duration) -> pd.Series[float]:
        """P(the contract ends at a renewal date within the horizon), keyed by ``customer_id``."""
        self._check_fitted()
        params = hazard.Params(**self.params_)
        age = contracts.frame["age"].to_numpy(dtype=np.float64)
        length = length_of(horizon) / length_of(self.period_)
        dates = np.floor(contracts.frame["elapsed"].to_numpy() + length + 1e-9)
        stays = hazard.log_survival(params, age + dates) - hazard.log_survival(params, age)
        return pd.Series(-np.expm1(stays), index=contracts.customer_id, name="churn_probability")
