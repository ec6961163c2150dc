"""The beta-discrete-Weibull: contracts by their age alone, each with a chance of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np

from crmml._typing import FloatArray
from crmml.exceptions import TooLittleDataError
from crmml.features.contracts import Contracts, PersonPeriods
from crmml.features.snapshot import Distinct
from crmml.models.arguments import check_periods
from crmml.models.churn.contract_model import ContractModel
from crmml.models.estimator import keep_fit, warn_of_fit
from crmml.models.summary import WithLikelihood
from crmml.stats import hazard, mle


class BetaDiscreteWeibullModel(WithLikelihood, ContractModel):
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
        "causes_",
        "period_",
        "at_renewal_",
    )

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    log_likelihood_: float
    converged_: bool
    n_customers_: int

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        return hazard.NAMES

    def fit(self, periods: PersonPeriods) -> Self:
        """Maximise the likelihood of the spells, given when each came under observation.

        Raises
        ------
        TooLittleDataError
            If no contract was seen through a period.

        Warns
        -----
        BoundaryWarning, ConvergenceWarning
            If an estimate lies on the boundary; if the optimiser stopped.
        """
        check_periods(periods, self)
        if not len(periods):
            raise TooLittleDataError("the model of contracts needs periods at risk; got none")
        spells = periods.frame.groupby(["customer_id", "spell"], sort=False)["age"]
        ended = (
            periods.frame["cause"]
            .notna()
            .groupby([periods.frame["customer_id"], periods.frame["spell"]], sort=False)
        )
        last, over = spells.max().to_numpy(), ended.max().to_numpy(dtype=bool)
        # Spells of one length are one row: the likelihood knows nothing else of them.
        groups = Distinct(
            {
                "entered": spells.min().to_numpy(dtype=np.float64),
                # A spell that goes on has outlasted its last period as well.
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
        keep_fit(self, hazard.NAMES, fitted)
        self.n_customers_ = int(totals.sum())
        self.causes_ = ["unknown"]
        self._learn_calendar(periods)
        warn_of_fit(self, fitted, self._boundaries)
        return self

    def hazards(self, contracts: Contracts, n_periods: int) -> FloatArray:
        """Chance of ending in each of the coming periods by age, shape (1, n, n_periods)."""
        self._check_given(contracts)
        age = contracts.frame["age"].to_numpy(dtype=np.float64)
        ages = age[:, None] + np.arange(n_periods + 1.0)
        # A ratio of survivals, in logarithms: late hazards are differences of numbers near 0.
        survival = hazard.log_survival(hazard.Params(**self.params_), ages)
        return np.asarray(-np.expm1(np.diff(survival, axis=1))[None])
