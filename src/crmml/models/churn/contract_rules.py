"""The rules that people use for contracts: by tenure, by plan, or by the last contact."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.contracts import Contracts, PersonPeriods
from crmml.models.arguments import check_periods
from crmml.models.churn.contract_model import ContractModel
from crmml.models.summary import ModelSummary

RULES: tuple[str, ...] = ("tenure", "plan", "last_contact")

_TENURE = (1, 2, 3, 6, 12, 24, 36)
"""Lower ends of the classes of age, in periods; the first class holds age 0."""
_CONTACT = (7.0, 30.0, 90.0)
"""Lower ends of the classes of days since the last contact; the last class has none at all."""
_PRIOR = 20.0
"""Periods of the mean rate that each class is given beforehand."""


class ContractRule(ContractModel):
    """Chance of ending a period by one column: what a team does without a model.

    The class that a customer is in now holds for all periods ahead.

    Parameters
    ----------
    by : {"best", "tenure", "plan", "last_contact"}
        ``best`` takes the one that fits the periods best (log loss); the first of those alike.

    Attributes
    ----------
    rule_ : str
        The column used.
    rates_ : dict of str to float
        Chance of ending a period, by class.
    mean_ : float
        Of all; what a class that was never seen is given.
    log_likelihood_ : float
        Of ending or going on, over all periods.
    n_customers_, n_periods_ : int
        Fitted.
    """

    _state: ClassVar[tuple[str, ...]] = (
        "rule_",
        "rates_",
        "mean_",
        "log_likelihood_",
        "n_customers_",
        "n_periods_",
        "causes_",
        "period_",
        "at_renewal_",
    )

    rule_: str
    rates_: dict[str, float]
    mean_: float
    n_periods_: int

    def __init__(self, *, by: str = "best") -> None:
        self.by = by

    def fit(self, periods: PersonPeriods) -> Self:
        """Count ends by class.

        Raises
        ------
        TooLittleDataError
            If there is no period, or no column for the rule asked for.
        """
        check_periods(periods, self)
        if self.by not in ("best", *RULES):
            raise ParameterError("by", f"one of {('best', *RULES)}", self.by)
        frame = periods.frame
        if not len(frame):
            raise TooLittleDataError("a rule for contracts needs periods at risk; got none")
        ended = frame["cause"].notna().to_numpy()
        self.mean_, self.causes_ = float(ended.mean()), ["unknown"]
        self._learn_calendar(periods)
        losses: dict[str, float] = {}
        tables: dict[str, dict[str, float]] = {}
        for rule in RULES if self.by == "best" else (self.by,):
            classes = _classes(frame, rule)
            if classes is None:
                continue
            counts = pd.DataFrame({"n": 1.0, "ended": ended}).groupby(classes).sum()
            rates = (counts["ended"] + _PRIOR * self.mean_) / (counts["n"] + _PRIOR)
            tables[rule] = {str(name): float(rate) for name, rate in rates.items()}
            each = rates.clip(1e-12, 1 - 1e-12)
            losses[rule] = -float(
                (counts["ended"] * np.log(each)).sum()
                + ((counts["n"] - counts["ended"]) * np.log1p(-each)).sum()
            )
        if not losses:
            raise TooLittleDataError(f"the data have no column for the rule by {self.by}")
        self.rule_ = min(losses, key=lambda name: losses[name])
        self.rates_, self.log_likelihood_ = tables[self.rule_], -losses[self.rule_]
        self.n_customers_, self.n_periods_ = frame["customer_id"].nunique(), len(frame)
        return self

    def summary(self) -> ModelSummary:
        """Summarise the fit: the rate of each class.

        Raises
        ------
        NotFittedError
            If the rule is not fitted.
        """
        self._check_fitted()
        rows = {
            f"{self.rule_} {name or 'unknown'}": ("parameter", rate)
            for name, rate in self.rates_.items()
        }
        notes = [
            f"the likelihood is that of ending in each of {self.n_periods_:,} periods",
            "rates are shrunk to the mean: they have no standard errors",
        ]
        return self._summarised(rows, len(rows), notes)

    def hazards(self, contracts: Contracts, n_periods: int) -> FloatArray:
        """Rate of the customer's class in each of the coming periods, shape (1, n, n_periods)."""
        self._check_given(contracts)
        classes = _classes(contracts.frame, self.rule_)
        if classes is None:
            raise ParameterError("contracts", f"with a column for {self.rule_}", "none")
        rate = pd.Series(classes).map(self.rates_).fillna(self.mean_).to_numpy(dtype=np.float64)
        return np.repeat(rate[None, :, None], n_periods, axis=2)


def _classes(frame: pd.DataFrame, rule: str) -> Any:
    """Class of each row by a rule, as text; None where the data have no such column."""
    if rule == "tenure":
        return _numbered(frame["age"].to_numpy(dtype=np.float64), _TENURE)
    if rule == "plan":
        known = "plan" in frame.columns and frame["plan"].notna().any()
        return frame["plan"].fillna("").astype("str").to_numpy() if known else None
    if "days_since_contact" not in frame.columns:
        return None
    days = frame["days_since_contact"].to_numpy(dtype=np.float64, na_value=np.nan)
    return _numbered(np.where(np.isnan(days), np.inf, days), (*_CONTACT, np.inf))


def _numbered(values: FloatArray, edges: tuple[float, ...]) -> Any:
    place: IntArray = np.searchsorted(np.asarray(edges), values, side="right")
    return place.astype("str")
