"""What all models of contracts can say, once they give the hazards of the periods ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.contracts import Contracts, PersonPeriods
from crmml.features.windows import length_of
from crmml.models.estimator import Estimator
from crmml.stats import hazard
from crmml.stats.discounting import discount_rate_per_unit, in_units


class ContractModel(Estimator, ABC):
    """Chances of ending a contract, period by period and by cause.

    Attributes
    ----------
    causes_ : list of str
        Causes that are told apart; one alone where the model knows none.
    period_ : str
        Length of a period.
    at_renewal_ : bool
        Whether contracts end on renewal dates (so that so many dates lie in a horizon), or at any
        time within a period.
    """

    causes_: list[str]
    period_: str
    at_renewal_: bool

    @abstractmethod
    def hazards(self, contracts: Contracts, n_periods: int) -> FloatArray:
        """Chance of ending in each of the coming periods for each cause, given that it began.

        Parameters
        ----------
        contracts : Contracts
        n_periods : int
            Periods ahead, the present one first.

        Returns
        -------
        ndarray, shape (n_causes, n_customers, n_periods)
        """

    def _learn_calendar(self, periods: PersonPeriods) -> None:
        """Learn how long a period is, and where in it contracts end."""
        self.period_, self.at_renewal_ = str(periods.period), _at_renewal(periods)

    def survival(self, contracts: Contracts, n_periods: int) -> pd.DataFrame:
        """P(still under contract at the end of each coming period); the present one is the first.

        Returns
        -------
        DataFrame
            Index ``customer_id``, columns 1 to ``n_periods``.
        """
        exposure = self._exposure(contracts, n_periods, float(n_periods))
        survival, _ = hazard.incidence(self.hazards(contracts, n_periods), exposure)
        return pd.DataFrame(
            survival, index=contracts.customer_id, columns=range(1, n_periods + 1)
        ).rename_axis(columns="period")

    def churn_probability(self, contracts: Contracts, horizon: str | Duration) -> pd.Series[float]:
        """P(the contract ends within the horizon), keyed by ``customer_id``."""
        return self.churn_by_cause(contracts, horizon).sum(axis=1).rename("churn_probability")

    def churn_by_cause(self, contracts: Contracts, horizon: str | Duration) -> pd.DataFrame:
        """P(the contract ends within the horizon for each cause).

        Returns
        -------
        DataFrame
            Index ``customer_id``; one column per cause of ``causes_``.
        """
        self._check_fitted()
        length = length_of(horizon) / length_of(self.period_)
        n_periods = int(np.ceil(length)) + 1
        exposure = self._exposure(contracts, n_periods, length)
        _, by_cause = hazard.incidence(self.hazards(contracts, n_periods), exposure)
        return pd.DataFrame(
            by_cause[:, :, -1].T, index=contracts.customer_id, columns=pd.Index(self.causes_)
        )

    def expected_residual_lifetime(
        self, contracts: Contracts, horizon: str | Duration
    ) -> pd.Series[float]:
        """E[time under contract within the horizon], in days, keyed by ``customer_id``.

        A longer life than the horizon counts as the horizon: beyond what the data have seen a
        hazard is a guess, so there is no value "for ever".
        """
        length = length_of(horizon) / length_of(self.period_)
        n_periods = int(np.ceil(length)) + 1
        exposure = self._exposure(contracts, n_periods, length)
        survival, _ = hazard.incidence(self.hazards(contracts, n_periods), exposure)
        before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
        time = self._time(contracts, n_periods, length)
        # Ends on renewal dates: the whole period is lived. Else half of it is, on average.
        lived = before if self.at_renewal_ else (before + survival) / 2.0
        days = (lived * time).sum(axis=1) * in_units(self.period_, "day")
        return pd.Series(days, index=contracts.customer_id, name="expected_residual_lifetime")

    def contract_value(
        self,
        contracts: Contracts,
        horizon: str | Duration,
        *,
        margin: float,
        annual_discount_rate: float = 0.10,
        level: float = 0.8,
    ) -> pd.DataFrame:
        """Discounted margin of the fees to come within a horizon, with the interval of its value.

        A fee falls due at each renewal date that the contract outlasts. Fees stay as they are.

        Parameters
        ----------
        contracts : Contracts
            With ``fee``; a customer without one has a missing value.
        horizon : str or Duration
        margin : float
            Share of the fee that is margin, in (0, 1].
        annual_discount_rate : float
            Effective annual rate, >= 0.
        level : float
            Probability that the value of one contract lies in the interval: it carries the chance
            of when the contract ends, not the doubt about the hazard.

        Returns
        -------
        DataFrame
            Index ``customer_id``: ``contract_value, lower, upper``, currency.
        """
        if not 0 < margin <= 1:
            raise ParameterError("margin", "a share of the fee, in (0, 1]", margin)
        if not 0 < level < 1:
            raise ParameterError("level", "between 0 and 1", level)
        if "fee" not in contracts.frame.columns:
            raise TooLittleDataError("the value of a contract needs its fee; the data have none")
        length = length_of(horizon) / length_of(self.period_)
        n_dates = max(int(np.ceil(length)), 1)
        full = np.ones((len(contracts), n_dates))
        if not self.at_renewal_:
            full[:, 0] = 1.0 - contracts.frame["elapsed"].to_numpy()
        survival, _ = hazard.incidence(self.hazards(contracts, n_dates), full)
        # The next date is 1 - elapsed periods away, and the others follow.
        away = np.arange(1.0, n_dates + 1.0) - contracts.frame["elapsed"].to_numpy()[:, None]
        delta = discount_rate_per_unit(annual_discount_rate, "day") * in_units(self.period_, "day")
        due = np.where(away <= length, np.exp(-delta * away), 0.0)
        fee = margin * contracts.frame["fee"].to_numpy(dtype=np.float64)
        paid = np.cumsum(due, axis=1)
        tail = (1.0 - level) / 2.0
        bounds = [
            fee
            * np.where(n > 0, np.take_along_axis(paid, np.maximum(n - 1, 0)[:, None], 1)[:, 0], 0.0)
            for n in (_dates_outlasted(survival, 1.0 - tail), _dates_outlasted(survival, tail))
        ]
        return pd.DataFrame(
            {
                "contract_value": fee * (survival * due).sum(axis=1),
                "lower": bounds[0],
                "upper": bounds[1],
            },
            index=contracts.customer_id,
        )

    def _exposure(self, contracts: Contracts, n_periods: int, length: float) -> FloatArray:
        """Share of each coming period whose risk falls within ``length`` periods from now."""
        elapsed = contracts.frame["elapsed"].to_numpy()[:, None]
        date = np.arange(1.0, n_periods + 1.0)
        if self.at_renewal_:
            return np.asarray(date - elapsed <= length + 1e-9, dtype=np.float64)
        return self._time(contracts, n_periods, length)

    def _time(self, contracts: Contracts, n_periods: int, length: float) -> FloatArray:
        """Share of each coming period that lies within ``length`` periods from now."""
        elapsed = contracts.frame["elapsed"].to_numpy()[:, None]
        ends = np.minimum(np.arange(1.0, n_periods + 1.0), elapsed + length)
        begins = np.maximum(np.arange(0.0, float(n_periods)), elapsed)
        return np.asarray(np.maximum(ends - begins, 0.0))


def _at_renewal(periods: PersonPeriods) -> bool:
    """Whether most ends lie within a day of a renewal date."""
    position = periods.frame["position"].dropna().to_numpy()
    day = 1.0 / in_units(periods.period, "day")
    return bool(np.mean((position >= 1.0 - day) | (position <= day)) > 0.5)


def check_period(contracts: Contracts, period: str) -> None:
    """Refuse contracts whose periods are of another length than those fitted."""
    if length_of(contracts.period) != length_of(period):
        raise ParameterError(
            "contracts", f"of periods of {period}, as fitted", str(contracts.period)
        )


def _dates_outlasted(survival: FloatArray, level: float) -> IntArray:
    """Renewal dates that a contract outlasts with at least a probability."""
    return np.asarray((survival >= level).sum(axis=1))
