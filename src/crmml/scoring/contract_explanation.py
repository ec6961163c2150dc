"""Why this contract's number: its terms, the chances ahead, what if, value, tier and action."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import Duration
from crmml.actions.allocation import Prices
from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.contracts import Contracts
from crmml.features.purchases import fetch
from crmml.features.windows import length_of
from crmml.models.churn.contract_model import ContractModel, ContractsAhead
from crmml.models.churn.hazard import HazardModel
from crmml.scoring.contract_base import contract_risk
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.decisions import Tiers
from crmml.scoring.explained_action import explain_action
from crmml.scoring.plain import as_plain
from crmml.scoring.runner_up import RunnerUp, score_alone
from crmml.scoring.scorer import Origin, Scores
from crmml.scoring.value_parts import TierMove, place_in_tier
from crmml.scoring.wording import Reason, write_contract_sections

_TERMS = ("started_at", "ended_at", "plan", "fee", "end_reason")
_MOST_LEVELS = 5


@dataclass(frozen=True)
class ContractExplanation:
    """Why the contract of one customer has these scores.

    Attributes
    ----------
    customer_id : int or str
    cutoff : Timestamp
    served : dict of str to object
        The row of the scores.
    basis : str
        Where the row comes from.
    currency : str
        Of the money; empty where the data do not name it.
    horizon, value_horizon : str
        Of the chance of ending, and of the value.
    terms : DataFrame
        The customer's contract periods as known at the cutoff, as far as the data have them:
        ``started_at, ended_at, plan, fee, end_reason``.
    ahead : DataFrame
        A row per renewal date ahead, the cutoff first: ``date``, ``probability_active``, and for
        each cause ``ended_<cause>``, the probability that the contract has ended of it by then.
    what_if : DataFrame
        What the model would say if one thing alone were otherwise: ``covariate``, ``own``,
        ``other`` (the mean of the training, or another level) and ``churn_probability`` within the
        horizon. It is an association, not the effect of changing it. Empty for a model without
        covariates.
    tier : TierMove or None
    runner_up : RunnerUp or None
    reasons : tuple of Reason
        For and against the recommendation, with the customer's own figures.
    missing : dict of str to str
        Parts that are None, and why.
    scored_alone : dict of str to object
        The row that the data given lead to.
    notes : tuple of str
    """

    customer_id: Any = field(repr=False)
    cutoff: pd.Timestamp
    served: dict[str, Any] = field(repr=False)
    basis: str = field(repr=False)
    currency: str = field(repr=False)
    horizon: str = field(repr=False)
    value_horizon: str = field(repr=False)
    terms: pd.DataFrame = field(repr=False)
    ahead: pd.DataFrame = field(repr=False)
    what_if: pd.DataFrame = field(repr=False)
    tier: TierMove | None
    runner_up: RunnerUp | None
    reasons: tuple[Reason, ...] = field(repr=False)
    missing: dict[str, str]
    scored_alone: dict[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    def sections(self) -> dict[str, list[str]]:
        """Say everything in plain sentences, by heading."""
        return write_contract_sections(self)

    def __str__(self) -> str:
        parts = self.sections().items()
        return "\n".join(f"{head}: {' '.join(said)}" for head, said in parts if said)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; dates are ISO 8601, what is not known is null."""
        frames = {name: getattr(self, name) for name in ("terms", "ahead", "what_if")}
        found: dict[str, Any] = as_plain(
            {
                **{
                    name: getattr(self, name)
                    for name in ("customer_id", "cutoff", "basis", "currency", "horizon",
                                 "value_horizon", "served", "missing", "notes")
                },
                **{name: frame.to_dict("records") for name, frame in frames.items()},
                "tier": None if self.tier is None else asdict(self.tier),
                "runner_up": None if self.runner_up is None else asdict(self.runner_up),
                "reasons": [asdict(reason) for reason in self.reasons],
            }
        )  # fmt: skip
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Return the chances ahead, a row per renewal date."""
        return self.ahead.copy()

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the chance that the contract is still active, and what ends it.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw.
        """
        # by name: pictures stand above what they show
        return import_module("crmml.plots.customer").plot_contract(self.ahead, ax=ax)


def explain_contract(
    origin: Origin,
    customer_id: Any,
    at: pd.Timestamp,
    served: pd.Series[Any] | None,
    prices: Prices | None,
    basis: str,
) -> ContractExplanation:
    """Explain the customer of whom alone the tables are.

    Parameters
    ----------
    origin : Origin
        The bundle, and the tables of the customer.
    customer_id : int or str
    at : Timestamp
        The cutoff.
    served : Series or None
        The row of the scores; by default the customer is scored alone.
    prices : Prices or None
        At which budget and capacities were scarce, as far as that is known.
    basis : str
        Where the row comes from.

    Raises
    ------
    CrmmlError
        If the customer has no active contract at the cutoff.
    """
    risk = contract_risk(origin.predictors)
    terms = _terms(origin.tables, at)
    if terms.empty:
        raise CrmmlError(
            f"this customer has no contract that began before {at.date()}, so there is no score; "
            "ids are compared as they are"
        )
    if not terms["ended_at"].isna().any():
        raise CrmmlError(
            f"this customer's contract ended on {terms['ended_at'].max().date()}; only active "
            "contracts are scored"
        )
    contracts = risk.look(origin.tables, at)
    alone = score_alone(origin, at)
    row = alone.table.iloc[0] if served is None else served
    return ContractExplanation(
        customer_id=customer_id,
        cutoff=at,
        served={str(name): value for name, value in row.items()},
        basis=basis,
        currency=origin.manifest.currency or "",
        horizon=risk.horizon,
        value_horizon=risk.value_horizon,
        terms=terms,
        ahead=_follow(risk, contracts),
        what_if=_what_if(risk.model, contracts, risk.horizon),
        scored_alone={str(name): value for name, value in alone.table.iloc[0].items()},
        **_decided(origin, alone, row, prices, at),
    )


def _terms(tables: Tables, at: pd.Timestamp) -> pd.DataFrame:
    """Return the contract periods as known at a cutoff, the first one first."""
    log = tables.before(at)["subscriptions"]
    found = fetch(log.select(*(name for name in _TERMS if name in log.columns)), by=("started_at",))
    found["fee"] = found["fee"].astype("float64") if "fee" in found else np.nan
    return found.reset_index(drop=True)


def _follow(risk: ContractRisk, contracts: Contracts) -> pd.DataFrame:
    """Follow the contract from one renewal date to the next, to the horizon of the value."""
    model: ContractModel = risk.model
    period = length_of(contracts.period)
    n = int(np.ceil(length_of(risk.value_horizon) / period))
    elapsed = float(contracts.frame["elapsed"].iloc[0])
    survival, by_cause = ContractsAhead(model, contracts).incidence(n, n - elapsed)
    away = np.concatenate([[0.0], np.arange(1.0, n + 1.0) - elapsed])
    table = pd.DataFrame(
        {
            "date": [(contracts.cutoff + k * period).normalize() for k in away],
            "probability_active": np.concatenate([[1.0], survival[0]]),
        }
    )
    for cause, chances in zip(model.causes_, by_cause[:, 0], strict=True):
        table[f"ended_{cause}"] = np.concatenate([[0.0], chances])
    return table


def _what_if(model: ContractModel, contracts: Contracts, horizon: str | Duration) -> pd.DataFrame:
    """Ask the model again with one covariate at a time at its mean, or at another level."""
    rows: list[dict[str, Any]] = []
    if isinstance(model, HazardModel):
        own = contracts.frame.iloc[0]
        others: list[tuple[str, Any]] = [
            (k, mean) for k, (mean, _) in model.design_.numbers.items()
        ]
        for name, levels in model.design_.levels.items():
            others += [(name, one) for one in levels[:_MOST_LEVELS] if one != str(own[name])]
        for name, other in others:
            if pd.isna(own[name]):
                continue
            given = contracts.subset(contracts.customer_id)
            given.frame[name] = np.full(len(given), other)
            ends = float(model.churn_probability(given, horizon).iloc[0])
            rows.append(
                {"covariate": name, "own": own[name], "other": other, "churn_probability": ends}
            )
    return pd.DataFrame(rows, columns=["covariate", "own", "other", "churn_probability"])


def _decided(
    origin: Origin, alone: Scores, row: pd.Series[Any], prices: Prices | None, at: pd.Timestamp
) -> dict[str, Any]:
    """Gather tier, runner-up and reasons, or why they are missing."""
    missing: dict[str, str] = {}
    tiers = next((p for p in origin.predictors if isinstance(p, Tiers)), None)
    move = None
    if tiers is None or pd.isna(row.get("value_tier")):
        missing["tier"] = alone.absent.get("value_tier", "the bundle gives no value tiers")
    else:
        move = place_in_tier(tiers, str(row["value_tier"]), float(row[tiers.by]))
    if pd.isna(row.get("clv")):
        missing["value"] = alone.absent.get("clv", "the scores hold no value")
    runner_up, reasons, absent = explain_action(origin, row, alone, None, prices, at)
    missing |= absent
    return {"tier": move, "runner_up": runner_up, "reasons": reasons, "missing": missing}
