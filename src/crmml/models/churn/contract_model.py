"""What all models of contracts can say, once they give the hazards of the periods ahead."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import DataError, ParameterError, TooLittleDataError, first_few
from crmml.features.contracts import Contracts, PersonPeriods
from crmml.features.windows import length_of
from crmml.models.arguments import check_active_contracts
from crmml.models.estimator import Estimator
from crmml.models.summary import ModelSummary, summarise_plain
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
    log_likelihood_ : float
    n_customers_ : int
        Customers fitted, or spells.
    """

    _one_cause: ClassVar[bool] = True
    """Whether it tells no causes apart."""

    causes_: list[str]
    period_: str
    at_renewal_: bool
    log_likelihood_: float
    n_customers_: int

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

    def _check_state(self) -> None:
        n = len(self.causes_)
        if n == 0 or len(set(self.causes_)) < n or (self._one_cause and n > 1):
            rule = "one word" if self._one_cause else "different words, and some"
            raise DataError(
                f"causes_ of {type(self).__name__} must be {rule}; got {first_few(self.causes_)}",
                table="stored model",
            )

    def _check_given(self, contracts: Contracts) -> None:
        """Refuse what cannot be predicted for: by its kind, or by the length of its periods."""
        check_active_contracts(contracts, self)
        self._check_fitted()
        if length_of(contracts.period) != length_of(self.period_):
            raise ParameterError(
                "contracts", f"of periods of {self.period_}, as fitted", str(contracts.period)
            )

    def _summarised(
        self, rows: Mapping[str, tuple[str, float]], n_parameters: int | None, notes: Sequence[str]
    ) -> ModelSummary:
        """Summarise a fit that keeps its likelihood and has no standard errors."""
        return summarise_plain(
            type(self).__name__,
            rows,
            log_likelihood=self.log_likelihood_,
            n_parameters=n_parameters,
            n_customers=self.n_customers_,
            notes=tuple(notes),
        )

    def _learn_calendar(self, periods: PersonPeriods) -> None:
        """Learn how long a period is, and where in it contracts end."""
        self.period_, self.at_renewal_ = str(periods.period), _at_renewal(periods)

    def ahead(self, contracts: Contracts) -> ContractsAhead:
        """Look ahead: what is asked of the same contracts over several horizons is followed once.

        Ask for the longest horizon first.
        """
        self._check_given(contracts)
        return ContractsAhead(self, contracts)

    def survival(self, contracts: Contracts, n_periods: int) -> pd.DataFrame:
        """P(still under contract at the end of each coming period); the present one is the first.

        Returns
        -------
        DataFrame
            Index ``customer_id``, columns 1 to ``n_periods``.
        """
        survival, _ = self.ahead(contracts).incidence(n_periods, float(n_periods))
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
        return self.ahead(contracts).churn_by_cause(horizon)

    def expected_residual_lifetime(
        self, contracts: Contracts, horizon: str | Duration
    ) -> pd.Series[float]:
        """E[time under contract within the horizon], in days, keyed by ``customer_id``.

        A longer life than the horizon counts as the horizon: beyond what the data have seen a
        hazard is a guess, so there is no value "for ever".
        """
        return self.ahead(contracts).residual_lifetime(horizon)

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
        return self.ahead(contracts).value(
            horizon, margin=margin, annual_discount_rate=annual_discount_rate, level=level
        )


class ContractsAhead:
    """The coming periods of some contracts, followed once to the longest horizon asked for.

    Parameters
    ----------
    model : ContractModel
        Fitted.
    contracts : Contracts
    """

    def __init__(self, model: ContractModel, contracts: Contracts) -> None:
        self.contracts = contracts
        self._model, self._period, self._at_renewal = model, model.period_, model.at_renewal_
        self._elapsed = contracts.frame["elapsed"].to_numpy()[:, None]
        self._hazards: FloatArray | None = None

    def incidence(self, n_periods: int, length: float) -> tuple[FloatArray, FloatArray]:
        """Survival and cumulative incidence of the causes within ``length`` periods from now."""
        return hazard.incidence(self._followed(n_periods), self._exposure(n_periods, length))

    def churn_by_cause(self, horizon: str | Duration) -> pd.DataFrame:
        """See :meth:`ContractModel.churn_by_cause`."""
        n_periods, length = self._reach(horizon)
        _, by_cause = self.incidence(n_periods, length)
        return pd.DataFrame(
            by_cause[:, :, -1].T,
            index=self.contracts.customer_id,
            columns=pd.Index(self._model.causes_),
        )

    def residual_lifetime(self, horizon: str | Duration) -> pd.Series[float]:
        """See :meth:`ContractModel.expected_residual_lifetime`."""
        n_periods, length = self._reach(horizon)
        survival, _ = self.incidence(n_periods, length)
        before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
        # Ends on renewal dates: the whole period is lived. Else half of it is, on average.
        lived = before if self._at_renewal else (before + survival) / 2.0
        days = (lived * self._time(n_periods, length)).sum(axis=1) * in_units(self._period, "day")
        return pd.Series(days, index=self.contracts.customer_id, name="expected_residual_lifetime")

    def value(
        self,
        horizon: str | Duration,
        *,
        margin: float,
        annual_discount_rate: float = 0.10,
        level: float = 0.8,
    ) -> pd.DataFrame:
        """See :meth:`ContractModel.contract_value`."""
        if not 0 < level < 1:
            raise ParameterError("level", "between 0 and 1", level)
        fee, due = self._fees_due(horizon, margin, annual_discount_rate)
        n_dates = due.shape[1]
        full = np.ones((len(self.contracts), n_dates))
        if not self._at_renewal:
            full[:, 0] = 1.0 - self._elapsed[:, 0]
        survival, _ = hazard.incidence(self._followed(n_dates), full)
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
            index=self.contracts.customer_id,
        )

    def value_if_staying(
        self, horizon: str | Duration, *, margin: float, annual_discount_rate: float = 0.10
    ) -> pd.Series[float]:
        """Discounted margin of the fees of a horizon, if the contract does not end in it."""
        fee, due = self._fees_due(horizon, margin, annual_discount_rate)
        return pd.Series(fee * due.sum(axis=1), index=self.contracts.customer_id)

    def _fees_due(
        self, horizon: str | Duration, margin: float, annual_discount_rate: float
    ) -> tuple[FloatArray, FloatArray]:
        """Margin of one fee, and the discount of each coming date (0 beyond the horizon)."""
        if not 0 < margin <= 1:
            raise ParameterError("margin", "a share of the fee, in (0, 1]", margin)
        if "fee" not in self.contracts.frame.columns:
            raise TooLittleDataError("the value of a contract needs its fee; the data have none")
        length = length_of(horizon) / length_of(self._period)
        # The next date is 1 - elapsed periods away, and the others follow.
        away = np.arange(1.0, max(int(np.ceil(length)), 1) + 1.0) - self._elapsed
        delta = discount_rate_per_unit(annual_discount_rate, "day") * in_units(self._period, "day")
        due = np.where(away <= length, np.exp(-delta * away), 0.0)
        return margin * self.contracts.frame["fee"].to_numpy(dtype=np.float64), due

    def _followed(self, n_periods: int) -> FloatArray:
        if self._hazards is None or self._hazards.shape[2] < n_periods:
            self._hazards = self._model.hazards(self.contracts, n_periods)
        return self._hazards[:, :, :n_periods]

    def _reach(self, horizon: str | Duration) -> tuple[int, float]:
        """Periods that a horizon touches, and its length in periods."""
        length = length_of(horizon) / length_of(self._period)
        return int(np.ceil(length)) + 1, length

    def _exposure(self, n_periods: int, length: float) -> FloatArray:
        """Share of each coming period whose risk falls within ``length`` periods from now."""
        if self._at_renewal:
            date = np.arange(1.0, n_periods + 1.0)
            return np.asarray(date - self._elapsed <= length + 1e-9, dtype=np.float64)
        return self._time(n_periods, length)

    def _time(self, n_periods: int, length: float) -> FloatArray:
        """Share of each coming period that lies within ``length`` periods from now."""
        ends = np.minimum(np.arange(1.0, n_periods + 1.0), self._elapsed + length)
        begins = np.maximum(np.arange(0.0, float(n_periods)), self._elapsed)
        return np.asarray(np.maximum(ends - begins, 0.0))


def _at_renewal(periods: PersonPeriods) -> bool:
    """Whether most ends lie within a day of a renewal date."""
    position = periods.frame["position"].dropna().to_numpy()
    day = 1.0 / in_units(periods.period, "day")
    return bool(np.mean((position >= 1.0 - day) | (position <= day)) > 0.5)


def _dates_outlasted(survival: FloatArray, level: float) -> IntArray:
    """Renewal dates that a contract outlasts with at least a probability."""
    return np.asarray((survival >= level).sum(axis=1))
