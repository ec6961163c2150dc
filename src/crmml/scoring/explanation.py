"""Why this customer's number: purchases and P(alive), the next purchase, value, tier and action."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from crmml.actions.allocation import Prices
from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.one_customer import gather_purchases
from crmml.models.purchase.alive_path import follow_alive
from crmml.models.purchase.next_purchase import NextPurchase, expect_next_purchase
from crmml.scoring.contract_explanation import ContractExplanation, explain_contract
from crmml.scoring.counted import WHY, is_counted
from crmml.scoring.decisions import Actions, Tiers
from crmml.scoring.explained_action import explain_action, has_actions
from crmml.scoring.manifest import Manifest
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.plain import as_plain
from crmml.scoring.reason_words import check_lang
from crmml.scoring.runner_up import RunnerUp, score_alone
from crmml.scoring.scorer import (
    Bundle,
    Origin,
    Scores,
    deciding,
    open_for,
    scoring_cutoff,
)
from crmml.scoring.value_parts import TierMove, ValueParts, tier_move, value_parts
from crmml.scoring.wording import Reason, write_sections

_T = TypeVar("_T")

_HISTORY = ("frequency", "recency", "T", "contract_age")
"""Columns of the scores by which other data than those that were scored are known."""


@dataclass(frozen=True)
class Explanation:
    """Why one customer has these scores.

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
    horizon : str
        Of the outcome window.
    purchases : DataFrame
        ``date``, ``purchase`` (false: returns only), ``amount``.
    alive : DataFrame
        ``date``, ``probability_alive``, ``purchases``, a row per day since the first purchase.
    next_purchase : NextPurchase or None
    value : ValueParts or None
    tier : TierMove or None
    runner_up : RunnerUp or None
    reasons : tuple of Reason
        For and against the recommendation, with the customer's own figures.
    missing : dict of str to str
        Parts that are None, and why.
    notes : tuple of str
    """

    customer_id: Any = field(repr=False)
    cutoff: pd.Timestamp
    served: dict[str, Any] = field(repr=False)
    basis: str = field(repr=False)
    currency: str = field(repr=False)
    horizon: str = field(repr=False)
    purchases: pd.DataFrame = field(repr=False)
    alive: pd.DataFrame = field(repr=False)
    next_purchase: NextPurchase | None
    value: ValueParts | None
    tier: TierMove | None
    runner_up: RunnerUp | None
    reasons: tuple[Reason, ...] = field(repr=False)
    missing: dict[str, str]
    notes: tuple[str, ...] = ()

    def sections(self) -> dict[str, list[str]]:
        """Say everything in plain sentences, by heading."""
        return write_sections(self)

    def __str__(self) -> str:
        parts = self.sections().items()
        return "\n".join(f"{head}: {' '.join(said)}" for head, said in parts if said)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; dates are ISO 8601, what is not known is null."""
        parts = ("next_purchase", "value", "tier", "runner_up")
        plain: dict[str, Any] = {
            "customer_id": self.customer_id,
            "cutoff": self.cutoff,
            "basis": self.basis,
            "currency": self.currency,
            "horizon": self.horizon,
            "served": self.served,
            "purchases": self.purchases.to_dict("records"),
            "probability_alive": dict(
                zip(self.alive["date"], self.alive["probability_alive"], strict=True)
            ),
            **{name: _part_as_dict(getattr(self, name)) for name in parts},
            "reasons": [asdict(reason) for reason in self.reasons],
            "missing": self.missing,
            "notes": list(self.notes),
        }
        found: dict[str, Any] = as_plain(plain)
        return found

    def to_pandas(self) -> pd.DataFrame:
        """Return the path of P(alive), a row per day, with what was bought (``amount``)."""
        amounts = self.purchases.groupby(self.purchases["date"].dt.normalize())["amount"].sum()
        return self.alive.assign(amount=self.alive["date"].map(amounts))

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the purchases over time with P(alive), and when the next one is expected.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw.
        """
        # by name: pictures stand above what they show
        return import_module("crmml.plots.customer").plot_customer(
            self.alive,
            purchases=self.purchases,
            cutoff=self.cutoff,
            next_purchase=self.next_purchase,
            ax=ax,
        )


def explain(
    bundle: Bundle,
    transactions: Any,
    customer_id: Any,
    cutoff: str | pd.Timestamp | None = None,
    *,
    customers: Any = None,
    served: pd.Series[Any] | None = None,
    plans: pd.DataFrame | None = None,
    control: pd.DataFrame | None = None,
    lang: str | None = None,
    **given: Any,
) -> Explanation | ContractExplanation:
    """Say why one customer has these scores, without scoring anybody else.

    Parameters
    ----------
    bundle : ScoringBundle
        What scores.
    transactions, customers : Tables, DataFrame, Arrow table, path, or mapping of these by table
        See :func:`crmml.score`. The engine filters them by the customer.
    customer_id : int or str
        Whom to explain.
    cutoff : str or Timestamp, optional
        See :func:`crmml.score`.
    served : Series, optional
        The customer's row of the scores that were written; its figures are then the ones shown.
        Without it the customer is scored alone, at the stored prices of the training.
    plans, control : DataFrame, optional
        See :func:`crmml.score`.
    lang : {"en", "fa"}, optional
        Language of what speaks for and against leaving; by default that of the served row, or
        English.
    **given
        ``budget``, ``capacities`` and ``catalogue``, likewise.

    Returns
    -------
    Explanation or ContractExplanation
        By what the bundle was trained on: a log, or contracts.

    Raises
    ------
    CrmmlError
        If the customer is not known, has bought nothing before the cutoff, or has no active
        contract; or if the row was
        served by another model.
    """
    refuse_labelled(bundle.manifest)
    tables = open_for(bundle, transactions, customers)
    at = scoring_cutoff(bundle, tables, cutoff)
    if unknown := set(given) - {"budget", "capacities", "catalogue"}:
        raise TypeError(f"explain() got an unexpected argument {sorted(unknown)[0]!r}")
    known = tuple(deciding(bundle.predictors, tables, given, stored_prices=False))
    check_lang(lang or "en")
    origin = Origin(bundle.manifest, known, bundle.version, tables, plans, control, lang or "en")
    found = _explain(origin, customer_id, at, served, None)
    if served is None or lang is None or not isinstance(found, Explanation):
        return found
    return replace(found, served={**found.served, **_reasons(origin, found)})


def _reasons(origin: Origin, found: Explanation) -> dict[str, Any]:
    """Return the reasons of churn in the language that was asked for."""
    with origin.tables.only_customer(found.customer_id) as mine:
        row = score_alone(replace(origin, tables=mine), found.cutoff).table.iloc[0]
    return {n: row[n] for n in ("churn_reasons_for", "churn_reasons_against") if n in row}


def refuse_labelled(manifest: Manifest) -> None:
    """Refuse to explain a row of a labelled table here, and say where its reasons stand.

    Raises
    ------
    CrmmlError
        If the bundle was trained on a labelled table.
    """
    if manifest.kind == "labelled":
        raise CrmmlError(
            "a row of a labelled table has no history to tell of; crmml.score(bundle, rows)"
            ".explain(customer_id) says what each of its columns adds"
        )


def explain_scored(scores: Scores, customer_id: Any) -> Explanation | ContractExplanation:
    """Explain a customer of some scores; see :meth:`crmml.scoring.scorer.Scores.explain`."""
    origin = scores.origin
    if origin is not None:
        refuse_labelled(origin.manifest)
    if origin is None:
        raise CrmmlError("these scores do not hold what they rest on; use crmml.explain")
    key = origin.tables.read_id(customer_id)
    rows = scores.table[scores.table["customer_id"] == key]
    prices = None if scores.found is None else scores.found.prices
    served = None if rows.empty else rows.iloc[0]
    if served is None and origin.manifest.kind == "transactions":
        _refuse_unscored(origin.tables.of_customer(key), scores.cutoff)
    return _explain(origin, key, scores.cutoff, served, prices)


def _explain(
    origin: Origin,
    customer_id: Any,
    at: pd.Timestamp,
    served: pd.Series[Any] | None,
    prices: Prices | None,
) -> Explanation | ContractExplanation:
    key = origin.tables.read_id(customer_id)
    with origin.tables.only_customer(key) as mine:
        return _explain_alone(replace(origin, tables=mine), key, at, served, prices)


def _explain_alone(
    origin: Origin,
    key: Any,
    at: pd.Timestamp,
    served: pd.Series[Any] | None,
    prices: Prices | None,
) -> Explanation | ContractExplanation:
    """Explain the customer of whom alone the tables are."""
    manifest, mine = origin.manifest, origin.tables
    if manifest.kind == "contracts":
        origin = replace(origin, predictors=_at_prices(origin, prices))
        found = explain_contract(origin, key, at, served, prices, _basis(served, origin))
        return replace(found, notes=tuple(_unlike(served, pd.Series(found.scored_alone))))
    purchases = gather_purchases(mine, at, grain=manifest.grain, own_seller=manifest.own_seller)
    if not purchases["purchase"].any():
        _refuse_unscored(mine, at)
    origin = replace(origin, predictors=_at_prices(origin, prices))
    ltv = next((p for p in origin.predictors if isinstance(p, LifetimeValue)), None)
    if ltv is None:
        raise CrmmlError("this bundle has no purchase process, so nothing can be explained by it")
    alone = score_alone(origin, at)
    row = alone.table.iloc[0] if served is None else served
    alive = float(row["probability_alive"])
    return Explanation(
        customer_id=key,
        cutoff=at,
        served={str(name): value for name, value in row.items()},
        basis=_basis(served, origin),
        currency=origin.tables.currency or manifest.currency or "",
        horizon=manifest.horizon,
        purchases=purchases.drop(columns="period").assign(
            amount=np.nan if is_counted(manifest) else purchases["amount"]
        ),
        alive=follow_alive(ltv.model.purchase_model_, alone.snapshot, purchases),
        next_purchase=expect_next_purchase(
            lambda length: ltv.model.ahead(alone.snapshot, length).doubted, at, alive
        ),
        notes=tuple(_unlike(served, alone.table.iloc[0])),
        **_parts(origin, ltv, alone, row, purchases, at, prices),
    )


def _parts(
    origin: Origin,
    ltv: LifetimeValue,
    alone: Scores,
    row: pd.Series[Any],
    purchases: pd.DataFrame,
    at: pd.Timestamp,
    prices: Prices | None,
) -> dict[str, Any]:
    """Gather value, tier, runner-up and reasons, or why they are missing."""
    missing: dict[str, str] = {}
    value, move = None, None
    if is_counted(origin.manifest):
        missing["value"] = missing["tier"] = WHY
    else:
        value = value_parts(ltv, alone.snapshot, row, origin.manifest)
        tiers = next((p for p in origin.predictors if isinstance(p, Tiers)), None)
        if tiers is None or pd.isna(row.get("value_tier")):
            missing["tier"] = "the bundle gives no value tiers"
        else:
            move = tier_move(tiers, value, row, ltv, alone.snapshot)
    runner_up, reasons, absent = explain_action(origin, row, alone, purchases, prices, at)
    missing |= absent
    return {
        "value": value,
        "tier": move,
        "runner_up": runner_up,
        "reasons": reasons,
        "missing": missing,
    }


# -- the customer alone --------------------------------------------------------------------------


def _refuse_unscored(mine: Tables, at: pd.Timestamp) -> None:
    """Say in one sentence why a customer has no scores; the id is not repeated."""
    log = mine.transactions
    lines = int(log.count().execute())
    before = int(log.filter(log.timestamp < at).count().execute())
    if before:
        told = f"has returns or purchases elsewhere only before {at.date()}, so there is no score"
    elif lines:
        told = f"bought first on or after {at.date()}, the cutoff, so there is no score yet"
    elif any(
        name != "transactions" and "customer_id" in mine[name].columns and _rows(mine[name])
        for name in mine
    ):
        told = "has bought nothing, so there is no score: only buyers are scored"
    else:
        raise CrmmlError("no table holds a customer of this id; ids are compared as they are")
    raise CrmmlError(f"this customer {told}")


def _rows(table: Any) -> int:
    return int(table.count().execute())


def _at_prices(origin: Origin, prices: Prices | None) -> tuple[Any, ...]:
    if prices is None:
        return origin.predictors
    return tuple(
        replace(p, policy=replace(p.policy, prices=prices)) if isinstance(p, Actions) else p
        for p in origin.predictors
    )


def _unlike(served: pd.Series[Any] | None, alone: pd.Series[Any]) -> list[str]:
    """Refuse a row of another model, and note where the data are not those that were scored."""
    if served is None:
        return []
    theirs, ours = served.get("model_version"), alone.get("model_version")
    if theirs != ours:
        raise CrmmlError(
            f"the scores were written by the model version {theirs}, the bundle given is {ours}; "
            "give the bundle that wrote them"
        )
    changed = [name for name in _HISTORY if served.get(name) != alone.get(name)]
    if changed:
        return [
            f"the data given are not those that were scored ({', '.join(changed)} differ): the "
            "path and the parts are of the data given, the served figures of the scores"
        ]
    return []


def _basis(served: pd.Series[Any] | None, origin: Origin) -> str:
    if served is not None:
        return "as served: the row of the scores"
    if has_actions(origin):
        return (
            "scored alone: the action is the one at the stored prices of the training; a run of "
            "all customers allocates its budget among them and may differ at the margin"
        )
    return "scored alone"


def _part_as_dict(part: Any) -> dict[str, Any] | None:
    return None if part is None else asdict(part)
