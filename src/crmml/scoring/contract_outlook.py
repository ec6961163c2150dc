"""Predictors of a base of contracts alone: its terms, and what tiers, stages and actions read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from crmml.exceptions import CrmmlError, DataError
from crmml.features.contracts import Contracts
from crmml.models.churn.contract_model import ContractsAhead
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.outlooks import MARGIN_VARIATION, buys_if, margin_if
from crmml.scoring.predictors import Moment, Output
from crmml.stats.discounting import in_units

_NOTHING: frozenset[str] = frozenset()
_TABLE: frozenset[str] = frozenset({"subscriptions"})


def contracts_of(moment: Moment) -> Contracts:
    """Return the contracts that are the base.

    Raises
    ------
    CrmmlError
        If the base is something else.
    """
    if not isinstance(moment.base, Contracts):
        raise CrmmlError(f"contracts alone are asked for; the base is {type(moment.base).__name__}")
    return moment.base


def as_history(contracts: Contracts) -> pd.DataFrame:
    """Read renewals as repeat purchases: ``frequency, recency, T`` in weeks, by customer.

    Each period that a contract outlasts pays one more fee.
    """
    frame = contracts.frame.set_index("customer_id")
    weeks = in_units(contracts.period, "week")
    return pd.DataFrame(
        {
            "frequency": frame["age"].astype("float64"),
            "recency": frame["age"] * weeks,
            "T": (frame["age"] + frame["elapsed"]) * weeks,
        }
    )


@dataclass(frozen=True)
class ContractTerms:
    """What is known of a contract: how long it runs, its plan, its fee, complaints about it."""

    name: ClassVar[str] = "contract_terms"
    tables: ClassVar[frozenset[str]] = _TABLE
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("contract_age", "integer", "periods", "whole periods outlasted so far"),
        Output("contract_plan", "text", "", "what is subscribed to"),
        Output("contract_fee", "number", "currency", "fee per period"),
        Output("contract_complaints", "integer", "complaints", "in the trailing window"),
        Output("frequency", "number", "renewals", "fees paid after the first", served=False),
        Output("T", "number", "weeks", "time since the contract began", served=False),
    )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Read the contracts."""
        del so_far
        contracts = contracts_of(moment)
        frame = contracts.frame.set_index("customer_id")
        table = as_history(contracts)[["frequency", "T"]].assign(contract_age=frame["age"])
        known = {"plan": "subscriptions", "fee": "subscriptions", "complaints": "interactions"}
        for column, source in known.items():
            if column in frame and frame[column].notna().any():
                table[f"contract_{column}"] = frame[column]
                continue
            what = f"the column `{column}` of the table `{source}`"
            if source == "interactions":
                what = "the table `interactions`"
            moment.leave_out(f"contract_{column}", f"needs {what}")
        return table


@dataclass(frozen=True)
class ContractOutlook:
    """Churn and value under the names that tiers, stages and actions read.

    A contract is active at the cutoff, so the stakes of an action are the fees that would be lost.
    "Buys within a window" means that the contract is still there at its end.

    Attributes
    ----------
    horizon, value_horizon : str
        Of churn, and of lifetime value.
    margin_horizons, windows : tuple of str
        As of :class:`crmml.scoring.outlooks.LifetimeValue`.
    margin, annual_discount_rate : float
        What a fee is worth.
    """

    horizon: str
    value_horizon: str
    margin: float
    annual_discount_rate: float
    margin_horizons: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()

    name: ClassVar[str] = "contract_outlook"
    tables: ClassVar[frozenset[str]] = _TABLE
    reads: ClassVar[frozenset[str]] = frozenset({"contract_churn_probability"})
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Churn and value as of any base; what actions ask for besides is not served."""
        near, far = self.horizon, self.value_horizon
        hidden = [
            *(
                (margin_if(what, h), "currency", h)
                for h in self.margin_horizons
                for what in ("active", "staying")
            ),
            *(
                (buys_if(what, window), "probability", window)
                for window in self.windows
                for what in ("buys", "buys_if_active", "buys_if_staying")
            ),
        ]
        return (
            Output("churn_probability", "number", "probability", "the contract ends", near),
            Output("clv", "number", "currency", "lifetime value: contract_value", far),
            Output("clv_lower", "number", "currency", "10 % quantile of the margin", far),
            Output("clv_upper", "number", "currency", "90 % quantile of the margin", far),
            Output("probability_alive", "number", "probability", "under contract", served=False),
            Output(MARGIN_VARIATION, "number", "", "doubt about the fee: none", served=False),
            *(Output(n, "number", unit, "for actions", h, served=False) for n, unit, h in hidden),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Ask the contracts that :class:`ContractRisk` has followed ahead."""
        contracts = contracts_of(moment)
        ahead: ContractsAhead = moment.found[ContractRisk.name]
        table = pd.DataFrame(index=contracts.customer_id)
        table["churn_probability"] = so_far["contract_churn_probability"]
        table["probability_alive"], table[MARGIN_VARIATION] = 1.0, 0.0
        for window in self.windows:
            stays = 1.0 - ahead.churn_by_cause(window).sum(axis=1)
            table[buys_if("buys", window)] = table[buys_if("buys_if_active", window)] = stays
            table[buys_if("buys_if_staying", window)] = 1.0
        if not _fees_are_known(contracts):
            money = [o.name for o in self.outputs if o.unit == "currency"]
            moment.leave_out(money, "needs the column `fee` of the table `subscriptions`")
            return table
        prices = {"margin": self.margin, "annual_discount_rate": self.annual_discount_rate}
        worth = ahead.value(self.value_horizon, **prices)
        table[["clv", "clv_lower", "clv_upper"]] = worth.to_numpy()
        for h in self.margin_horizons:
            table[margin_if("active", h)] = ahead.value(h, **prices)["contract_value"]
            table[margin_if("staying", h)] = ahead.value_if_staying(h, **prices)
        return table


def _fees_are_known(contracts: Contracts) -> bool:
    """Whether every contract has its fee; False if none has.

    Raises
    ------
    DataError
        If some have none: a value of nothing and an unknown one are not the same.
    """
    frame: Any = contracts.frame
    if "fee" not in frame or frame["fee"].isna().all():
        return False
    lacking = frame.loc[frame["fee"].isna(), "customer_id"]
    if len(lacking):
        raise DataError(
            "the fee must be known of every active contract, or of none (then nothing is valued)",
            table="subscriptions",
            column="fee",
            n_rows=len(lacking),
            examples=lacking.head(5),
        )
    return True
