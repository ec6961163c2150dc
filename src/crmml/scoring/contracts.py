"""The predictor of contracts: when they end, why, and what they will still bring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from crmml.data.schema import END_REASONS
from crmml.data.tables import Tables
from crmml.exceptions import TooLittleDataError
from crmml.features.contracts import Contracts, build_contracts
from crmml.scoring.predictors import Moment, Output

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ContractRisk:
    """Chance that a contract ends within the outcome horizon, by cause, and its value.

    Customers without an active contract have nulls: who has none cannot end one.

    Attributes
    ----------
    model : ContractModel
        What the backtest chose.
    horizon, value_horizon : str
        Of the chance of ending; of time under contract and value.
    period : str
        Time between two renewal dates.
    grace : str or None
        A contract renewed within it has not ended.
    trailing : str
        Window in which touch points and purchases are counted.
    margin : float
        Share of the fee that is margin.
    annual_discount_rate : float
    features : tuple of str
        Columns of the contracts at training; what the data to score do not give is missing.
    """

    model: Any
    horizon: str
    value_horizon: str
    period: str
    grace: str | None
    trailing: str
    margin: float
    annual_discount_rate: float
    features: tuple[str, ...] = ()

    name: ClassVar[str] = "contracts"
    tables: ClassVar[frozenset[str]] = frozenset({"subscriptions"})
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Status, chances by cause, time and value."""
        near, far = self.horizon, self.value_horizon
        value = "expected discounted margin of the fees to come"
        return (
            Output("contract_status", "text", "", "active, in_grace or none"),
            Output(
                "contract_churn_probability", "number", "probability", "the contract ends", near
            ),
            *(
                Output(_by_cause(cause), "number", "probability", f"it ends: {cause}", near)
                for cause in END_REASONS
            ),
            Output("contract_cause", "text", "", "the likeliest cause of an end", near),
            Output("contract_days", "number", "days", "expected time under contract", far),
            Output("contract_value", "number", "currency", value, far),
            Output("contract_value_lower", "number", "currency", "10 % quantile of it", far),
            Output("contract_value_upper", "number", "currency", "90 % quantile of it", far),
        )

    def look(self, tables: Tables, cutoff: pd.Timestamp) -> Contracts:
        """Take the contracts that are active at a cutoff, with all columns of the training.

        Raises
        ------
        TooLittleDataError
            If none is active.
        """
        found = build_contracts(
            tables, cutoff, period=self.period, grace=self.grace, trailing=self.trailing
        )
        lost = [name for name in self.features if name not in found.frame]
        if not lost:
            return found
        return replace(found, frame=found.frame.assign(**dict.fromkeys(lost, np.nan)))

    @property
    def prices(self) -> dict[str, float]:
        """What a fee is worth: its margin, and the rate at which later ones are discounted."""
        return {"margin": self.margin, "annual_discount_rate": self.annual_discount_rate}

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Look at the contracts at the cutoff, and ask the model."""
        del so_far
        try:
            everybody = (
                moment.base
                if isinstance(moment.base, Contracts)
                else moment.shared(
                    (self.name, self.period, self.grace, self.trailing),
                    lambda: self.look(moment.tables, moment.base.cutoff),
                )
            )
        except TooLittleDataError as error:
            moment.leave_out([output.name for output in self.outputs], str(error))
            return pd.DataFrame(index=moment.base.customer_id)
        contracts = everybody.subset(moment.base.customer_id)
        ahead = self.model.ahead(contracts)
        moment.found[self.name] = ahead
        days = ahead.residual_lifetime(self.value_horizon)  # the longest horizon first
        by_cause = ahead.churn_by_cause(self.horizon)
        table = pd.DataFrame(index=contracts.customer_id)
        table["contract_status"] = "active"
        table["contract_churn_probability"] = by_cause.sum(axis=1)
        told = [cause for cause in END_REASONS if cause in by_cause]
        for cause in told:
            table[_by_cause(cause)] = by_cause[cause]
        if told:
            table["contract_cause"] = by_cause[told].idxmax(axis=1)
        why = f"the model ({type(self.model).__name__}) does not tell causes apart"
        lacking = [_by_cause(cause) for cause in END_REASONS if cause not in told]
        absent = why if not told else "no contract ended for this cause in the training"
        moment.leave_out([*lacking, *([] if told else ["contract_cause"])], absent)
        table["contract_days"] = days
        values = ["contract_value", "contract_value_lower", "contract_value_upper"]
        if "fee" in contracts.frame and contracts.frame["fee"].notna().any():
            table[values] = ahead.value(self.value_horizon, **self.prices).to_numpy()
        else:
            moment.leave_out(values, "needs the column `fee` of the table `subscriptions`")
        ids = moment.base.customer_id
        table = table.reindex(ids)
        waits = ids.isin(contracts.in_grace)
        status = table["contract_status"].astype("object").mask(waits, "in_grace").fillna("none")
        return table.assign(contract_status=status)


def _by_cause(cause: str) -> str:
    return f"contract_end_{cause}"
