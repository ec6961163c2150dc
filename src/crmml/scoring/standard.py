"""The predictors of a trained bundle: which there are, in which order, and how they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, Literal

from crmml import models
from crmml.actions.catalogue import ActionCatalogue
from crmml.data.tables import Tables
from crmml.exceptions import BundleError
from crmml.models.churn.outside import OutsideCalibration
from crmml.models.kinds import check_parts
from crmml.models.labelled.model import LabelledModel
from crmml.models.value.cost_to_serve import CostToServe
from crmml.scoring.contract_outlook import ContractOutlook, ContractTerms
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.decisions import Actions, Policy, Stages, Tiers
from crmml.scoring.history import Attributes, History
from crmml.scoring.labelled import LabelledOutcome
from crmml.scoring.loyalty_detail import BuyingSequence, CategoryLoyalty
from crmml.scoring.outlooks import ChurnRisk, LifetimeValue, Loyalty, PurchaseForecast
from crmml.scoring.predictors import Dtype, Output, Predictor
from crmml.scoring.profit import NET_VALUE, PROFIT, Profit, Upgrades
from crmml.scoring.segments import ExperienceZone, Roles, TasteSegment
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.roles import StrategicRoles
from crmml.segments.taste import TasteSegments
from crmml.segments.value_tier import ValueTiers

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        History,
        PurchaseForecast,
        LifetimeValue,
        ChurnRisk,
        Loyalty,
        CategoryLoyalty,
        BuyingSequence,
        Profit,
        Tiers,
        Upgrades,
        Stages,
        Roles,
        Attributes,
        ExperienceZone,
        TasteSegment,
        ContractTerms,
        ContractRisk,
        ContractOutlook,
        LabelledOutcome,
        Actions,
    )
}
"""Predictors by class name, in the order of their columns."""

_PARTS: dict[str, Any] = {
    "catalogue": ActionCatalogue,
    "policy": Policy,
    "outside": OutsideCalibration,
    "stages": LifecycleStages,
    "costs": CostToServe,
    "table_model": LabelledModel,
}
_SEGMENTS: dict[str, Any] = {
    "Tiers": ValueTiers,
    "Upgrades": ValueTiers,
    "Stages": LifecycleStages,
    "Roles": StrategicRoles,
    "TasteSegment": TasteSegments,
}
_TRANSIENT = "at_stored_prices"
_LATER = ("reference", "stages")  # not in bundles of before version 0.4


def standard_predictors(
    *,
    lifetime_value: Any,
    forecast: Any,
    churn: Any,
    outside: OutsideCalibration | None,
    loyalty: Any,
    loyalty_window: str,
    loyalty_detail: tuple[CategoryLoyalty, BuyingSequence],
    tiers: ValueTiers,
    tiers_by: str = "clv",
    by_value: ValueTiers | None = None,
    margin: float = 1.0,
    costs: CostToServe | None = None,
    lifecycle: LifecycleStages,
    catalogue: ActionCatalogue,
    policy: Policy,
    horizon: str,
    value_horizon: str,
    reference: tuple[float, float, float] | None = None,
    attributes: Mapping[str, Dtype] | None = None,
    knows_consent: bool = False,
    counts: Literal["process", "forecast"] = "process",
    roles: StrategicRoles | None = None,
    experience: ExperienceZone | None = None,
    taste: TasteSegment | None = None,
    group: str = "industry",
) -> tuple[Predictor, ...]:
    """Put fitted models, segments and actions into predictors, in the order of their columns.

    Parameters
    ----------
    lifetime_value, forecast, churn, loyalty : fitted estimators
        What predicts.
    outside : OutsideCalibration, optional
        Churn of those who are no candidates.
    counts : {"process", "forecast"}
        Whose distribution gives the interval of purchases and the probability of none.
    loyalty_window : str
        How far loyalty looks back from a cutoff.
    loyalty_detail : tuple of two predictors
        Loyalty by category, and in the order of the sellers.
    tiers, lifecycle : fitted segments
        With their cut points.
    tiers_by : {"clv", "profit"}
        What the tiers were cut by.
    by_value : ValueTiers, optional
        Tiers by net lifetime value, where those served are not.
    margin : float
        Margin per unit of revenue that stands in where the data have none.
    costs : CostToServe, optional
        What serving costs.
    catalogue, policy
        What can be done, and how it is given out.
    horizon, value_horizon : str
        Of the outcome window, and of lifetime value.
    reference : tuple of 3 floats, optional
        The customer that reasons of a process compare with.
    attributes : mapping of str to str
        Further columns of the customers table that the catalogue reads, and what they hold.
    knows_consent : bool
        Whether the training knew who may be contacted.
    roles : StrategicRoles, optional
        With their cut points.
    experience : ExperienceZone, optional
        With the dimensions that the training knew.
    taste : TasteSegment, optional
        With the tastes that the training found.
    group : str
        The column of the customers table that is served as ``group``.
    """
    return (
        History(),
        PurchaseForecast(forecast, horizon, counts == "forecast"),
        LifetimeValue(
            lifetime_value,
            horizon,
            value_horizon,
            catalogue.horizons,
            _windows(catalogue, horizon),
            counts,
        ),
        ChurnRisk(churn, horizon, outside, reference),
        Loyalty(loyalty, loyalty_window, horizon, lifecycle),
        *loyalty_detail,
        Profit(margin, value_horizon, costs),
        Tiers(tiers, PROFIT if tiers_by == "profit" else NET_VALUE),
        Upgrades(by_value or tiers, horizon, costs),
        Stages(lifecycle, lapsed_is_lost=True),
        Roles(roles),
        Attributes(dict(attributes or {}), group),
        experience or ExperienceZone(),
        taste or TasteSegment(),
        Actions(catalogue, policy, horizon, knows_consent),
    )


def _windows(catalogue: ActionCatalogue, horizon: str) -> tuple[str, ...]:
    """Windows of which P(buys) is asked, with the outcome window, for which it is calibrated."""
    return tuple(sorted({*catalogue.windows(horizon), horizon}))


def columns_from_customers(
    catalogue: ActionCatalogue, predictors: Iterable[Predictor]
) -> tuple[str, ...]:
    """Return the columns that a catalogue reads and that none of the predictors gives."""
    given = {o.name for predictor in predictors for o in predictor.outputs}
    return tuple(name for name in catalogue.columns if name not in given)


def attributes_of(tables: Tables, asked: Iterable[str]) -> dict[str, Dtype]:
    """Say what the columns of the customers table hold that a catalogue asks for.

    Parameters
    ----------
    tables : Tables
    asked : iterable of str
        Names; those that the table does not have are left out.
    """
    people = tables.customers
    if people is None:
        return {}
    schema = people.schema()
    return {name: _held(schema[name]) for name in asked if name in schema}


def _held(kind: Any) -> Dtype:
    """Say what a column of an engine's type holds."""
    tests: tuple[tuple[Dtype, bool], ...] = (
        ("flag", kind.is_boolean()),
        ("integer", kind.is_integer()),
        ("number", kind.is_numeric()),
        ("timestamp", kind.is_timestamp()),
        ("text", kind.is_string()),
    )
    return next((name for name, holds in tests if holds), "any")


def list_kinds() -> dict[str, str]:
    """Return the type of each column of the scores that a condition may read."""
    given = (
        History(),
        PurchaseForecast(None, _ANY),
        LifetimeValue(None, _ANY, _ANY),
        ChurnRisk(None, _ANY),
        Loyalty(None, _ANY, _ANY),
        CategoryLoyalty(_ANY),
        BuyingSequence(_ANY),
        Profit(0.3, _ANY),
        Tiers,
        Upgrades(ValueTiers(), _ANY),
        Stages(LifecycleStages()),
        Roles(StrategicRoles()),
        Attributes(),
        ExperienceZone(dimensions={}),
        TasteSegment(),
        ContractTerms(),
    )
    return {output.name: output.dtype for one in given for output in one.outputs}


_ANY = "1W"  # names and types of columns do not depend on horizons


def with_catalogue(
    predictors: Iterable[Predictor], catalogue: ActionCatalogue, tables: Tables
) -> list[Predictor]:
    """Return predictors that recommend the actions of another catalogue.

    Parameters
    ----------
    predictors : iterable of Predictor
        Of a bundle.
    catalogue : ActionCatalogue
        The other one. What it asks for beyond the trained one (margins over other horizons,
        columns of the customers table) is computed or read too.
    tables : Tables
        What is scored.
    """
    known = list(predictors)
    horizon = next((p.horizon for p in known if isinstance(p, Actions)), None)
    if horizon is None:
        return known
    others = [p for p in known if not isinstance(p, (Actions, Attributes))]
    by_channel = sorted({f"contactable_{option.channel}" for option in catalogue.options})
    asked = columns_from_customers(catalogue, [*others, Attributes()])
    further = attributes_of(tables, [*asked, *by_channel])
    changes: dict[type[Any], dict[str, Any]] = {
        LifetimeValue: {
            "margin_horizons": catalogue.horizons,
            "windows": _windows(catalogue, horizon),
        },
        ContractOutlook: {
            "margin_horizons": catalogue.horizons,
            "windows": _windows(catalogue, horizon),
        },
        Attributes: {"further": further},
        Actions: {"catalogue": catalogue},
    }
    return [replace(p, **changes.get(type(p), {})) for p in known]  # type: ignore[type-var]


def predictor_to_dict(predictor: Predictor) -> dict[str, Any]:
    """Return class name and parts of a predictor as plain JSON values."""
    stored: dict[str, Any] = {"class": type(predictor).__name__}
    for one in fields(predictor):  # type: ignore[arg-type]
        name, part = one.name, getattr(predictor, one.name)
        if name != _TRANSIENT and not (name in _LATER and part is None):
            stored[name] = part.to_dict() if hasattr(part, "to_dict") else _plain(part)
    return stored


def predictor_from_dict(stored: Mapping[str, Any]) -> Predictor:
    """Rebuild a predictor from :func:`predictor_to_dict`.

    Raises
    ------
    BundleError
        If its class is not known.
    """
    parts = dict(stored)
    kind = parts.pop("class", None)
    if kind not in KINDS:
        raise BundleError(f"no predictor is called {kind!r}")
    read: dict[str, Any] = {}
    for name, part in parts.items():
        if name == "model":
            read[name] = models.from_dict(part)
        elif name == "segments":
            read[name] = None if part is None else _SEGMENTS[kind].from_dict(part)
        elif name in _PARTS and part is not None:
            read[name] = _PARTS[name].from_dict(part)
        else:
            read[name] = tuple(part) if isinstance(part, list) else part
    predictor: Predictor = KINDS[kind](**read)
    check_parts(predictor)
    return predictor


def _plain(part: Any) -> Any:
    if isinstance(part, Mapping):
        return dict(part)
    return list(part) if isinstance(part, tuple) else part


def frame_outputs(
    id_type: str, *, policy: bool, timed: bool = True
) -> tuple[tuple[Output, ...], tuple[Output, ...]]:
    """Return the columns before and after those of the predictors: keys, and versions."""
    cutoff = Output("cutoff", "timestamp", "date", "exclusive end of what is known")
    of_policy = Output("policy_version", "text", "", "hash of catalogue and policy, prices apart")
    return (
        (
            Output(
                "customer_id", "integer" if id_type == "integer" else "text", "", "the customer"
            ),
            *((cutoff,) if timed else ()),
        ),
        (
            Output("model_version", "text", "", "hash of models and settings"),
            *((of_policy,) if policy else ()),
        ),
    )
