"""From fitted models to a scoring bundle: its manifest, its policy, its stored prices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import MONTHS, Duration
from crmml.actions.catalogue import ActionCatalogue, CatalogueError
from crmml.actions.contacts import ContactLimit
from crmml.actions.holdout import Strata
from crmml.config import Config
from crmml.data.settings import conceal
from crmml.data.tables import Tables
from crmml.features.experience import name_dimensions
from crmml.features.snapshot import Snapshot
from crmml.models.churn.outside import OutsideCalibration
from crmml.models.churn.process_shares import reference_customer
from crmml.models.forecast.forecasters import Forecaster
from crmml.models.value.cost_to_serve import CostToServe
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.notes import Note
from crmml.scoring.bases import Kind
from crmml.scoring.bundle import Policy, ScoringBundle
from crmml.scoring.guards import measure_base
from crmml.scoring.loyalty_detail import learn_loyalty_detail
from crmml.scoring.manifest import Manifest
from crmml.scoring.predictors import Base, Moment
from crmml.scoring.profit import profit_to_date
from crmml.scoring.scorer import Scores
from crmml.scoring.segments import ExperienceZone, evidence_of, learn_tastes
from crmml.scoring.served_distribution import serves_own_distribution
from crmml.scoring.standard import list_kinds, standard_predictors, with_catalogue
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.roles import StrategicRoles
from crmml.segments.value_tier import ValueTiers


def make_bundle(
    config: Config,
    tables: Tables,
    snapshot: Snapshot,
    *,
    lifetime_value: LifetimeValueModel,
    forecast: Forecaster,
    churn: Any,
    outside: OutsideCalibration | None,
    loyalty: Any,
    loyalty_window: str,
    margin: float,
) -> ScoringBundle:
    """Bundle models that were fitted on a snapshot; tiers and stages are cut here.

    Parameters
    ----------
    config : Config
        Settings of the training.
    tables : Tables
        What the snapshot was built from.
    snapshot : Snapshot
        What the models were fitted on.
    lifetime_value, forecast, churn, loyalty : fitted estimators
        What predicts.
    outside : OutsideCalibration or None
        Churn of those who are no candidates.
    loyalty_window : str
        How far loyalty looks back.
    margin : float
        Margin per unit of revenue where the data have none.

    Returns
    -------
    ScoringBundle
        Without shadow prices; see :func:`finish_bundle`.
    """
    costs, cut = cut_tiers(config, snapshot, lifetime_value, margin)
    catalogue = read_catalogue(config)
    parts: dict[str, Any] = {
        "lifetime_value": lifetime_value,
        "forecast": forecast,
        "churn": churn,
        "outside": outside,
        "loyalty": loyalty,
        "loyalty_window": loyalty_window,
        "loyalty_detail": learn_loyalty_detail(
            tables, snapshot.cutoff, loyalty_window, snapshot.grain, config.data.own_seller
        ),
        "tiers": cut[config.tiers.by],
        "tiers_by": config.tiers.by,
        "by_value": cut["clv"],
        "margin": margin,
        "costs": costs,
        "lifecycle": LifecycleStages().fit(snapshot.frame.set_index("customer_id")),
        "catalogue": catalogue,
        "policy": make_policy(config),
        "counts": "forecast" if serves_own_distribution(forecast, snapshot) else "process",
        "horizon": config.outcome.horizon,
        "reference": reference_customer(snapshot),
        "value_horizon": config.value.horizon,
        "knows_consent": knows_consent(tables),
        "roles": StrategicRoles().fit(evidence_of(Moment(tables, snapshot), snapshot.customer_id)),
        "experience": experience_of(config, tables, snapshot.cutoff),
        "taste": learn_tastes(tables, snapshot.cutoff, config.data.own_seller),
        "group": config.segments.group,
    }
    predictors = with_catalogue(standard_predictors(**parts), catalogue, tables)
    return ScoringBundle(make_manifest(config, tables, snapshot), tuple(predictors))


def experience_of(config: Config, tables: Tables, cutoff: pd.Timestamp) -> ExperienceZone:
    """Say how experience is read, by the settings, and which dimensions the data know."""
    section = config.segments
    return ExperienceZone(
        window=section.experience_window,
        satisfied_from=section.satisfied_from,
        dissatisfied_to=section.dissatisfied_to,
        dimensions=name_dimensions(tables, cutoff),
    )


def make_policy(config: Config) -> Policy:
    """Say how actions are given out, by the settings; prices and strata are fitted later."""
    section, limit = config.actions, config.actions.contact_limit
    return Policy(
        budget=section.budget,
        capacities=dict(section.capacities),
        holdout_share=section.holdout_share,
        holdout_least=section.holdout_least,
        seed=config.seed,
        experiment=section.experiment,
        consent=section.consent,
        contact_limit=None if limit is None else ContactLimit(limit.most, limit.within),
    )


def knows_consent(tables: Tables) -> bool:
    """Whether the data say who may be contacted."""
    return tables.customers is not None and "contactable" in tables.customers.columns


def cut_tiers(
    config: Config, snapshot: Snapshot, lifetime_value: LifetimeValueModel, margin: float
) -> tuple[CostToServe | None, dict[str, ValueTiers]]:
    """Learn what serving costs, and cut the tiers by net lifetime value and by profit to date.

    Parameters
    ----------
    config : Config
        Settings of the training.
    snapshot : Snapshot
        What the models were fitted on.
    lifetime_value : LifetimeValueModel
        Fitted.
    margin : float
        Margin per unit of revenue where the data have none.
    """
    far = lifetime_value.ahead(snapshot, config.value.horizon)
    costs = CostToServe.fit(snapshot, far.purchases.probability_alive())
    worth = far.clv() if costs is None else far.clv() - costs.expected(far)
    frame = snapshot.frame.set_index("customer_id")
    rated = isinstance(lifetime_value.margin, str)
    profit = profit_to_date(frame, frame["expected_margin_ratio"] if rated else margin)
    values = {"clv": worth, "profit": profit}
    shares = config.tiers.shares
    return costs, {name: ValueTiers(shares).fit(value) for name, value in values.items()}


def make_manifest(config: Config, tables: Tables, snapshot: Snapshot) -> Manifest:
    """Say what was trained on what: all that scoring must repeat.

    Parameters
    ----------
    config : Config
        Settings of the training.
    tables : Tables
        The validated data.
    snapshot : Snapshot
        What the models were fitted on.
    """
    margins = snapshot.provenance.get("margins")
    return Manifest(
        **shared_fields(config, tables, snapshot),
        grain=config.snapshot.grain,
        time_unit=config.snapshot.time_unit,
        gap=config.outcome.gap,
        features=tuple(name for name in snapshot.frame if name != "customer_id"),
        channels=dict(snapshot.provenance["channels"]),
        margins=None if margins is None else margins.to_dict(),
        own_seller=config.data.own_seller,
        currency=tables.currency,
    )


def shared_fields(config: Config, tables: Tables, base: Base) -> dict[str, Any]:
    """Return the fields of a manifest that a base of any kind has."""
    policies = asdict(tables.policies)
    policies["test_customers"] = list(conceal(tables.policies.test_customers))
    return {
        "name": config.name,
        "cutoff": str(base.cutoff),
        "horizon": config.outcome.horizon,
        "value_horizon": config.value.horizon,
        "id_type": "integer" if pd.api.types.is_integer_dtype(base.customer_id) else "text",
        "columns": {name: tuple(table.columns) for name, table in tables.items()},
        "policies": {"transactions": policies},
        "reading": {n: dict(r) for n in tables if (r := tables.facts(n).reading)},
        "seed": config.seed,
        "config_hash": digest_of(config.shareable()),
        "test_customers_left_out": len(tables.policies.test_customers),
    }


def finish_bundle(
    bundle: ScoringBundle,
    served: Mapping[str, tuple[float, float, float]],
    notes: Sequence[Note],
    scores: Scores,
    tables: Tables,
    drivers: pd.DataFrame | None = None,
) -> ScoringBundle:
    """Store the shadow prices, and write what a reader of the folder wants to know.

    Parameters
    ----------
    bundle : ScoringBundle
        From :func:`make_bundle`.
    served : mapping of str to (value, lower, upper)
        Metrics of what was served.
    notes : sequence of Note
        What the user must know, merged.
    scores : Scores
        The customers at the training's cutoff, scored by the bundle.
    tables : Tables
        The validated data.
    drivers : DataFrame, optional
        From :func:`crmml.scoring.churn_reasons.family_importance`.
    """
    known = {} if drivers is None else drivers.T.to_dict("list")
    manifest = bundle.manifest.changed(
        churn_drivers={str(name): tuple(value) for name, value in known.items()},
        metrics={name: value for name, value in served.items() if np.isfinite(value).all()},
        notes=tuple(notes),
        absent=scores.absent,
        customers=len(scores.table),
        trained_on=measure_base(tables, scores.base, scores.table, bundle.manifest.horizon),
    )
    if scores.found is None:  # nothing is recommended, so nothing has a price
        return replace(bundle, manifest=manifest)
    policy, table = bundle.policy, scores.table
    strata = Strata.fit(
        table["churn_probability"],
        table["clv"],
        share=policy.holdout_share,
        least=policy.holdout_least,
    )
    priced = replace(policy, prices=scores.recommendation.prices, strata=strata)
    return replace(bundle, manifest=manifest).with_policy(priced)


def read_catalogue(config: Config, kind: Kind = "transactions") -> ActionCatalogue:
    """Read the action catalogue that a configuration names, by default that of the kind of base."""
    path = config.actions.catalogue
    if path is None:
        found = ActionCatalogue.default(kind)
    else:
        found = ActionCatalogue.from_yaml(path, list_kinds())
    grain = config.snapshot.grain
    for action in found.actions:
        for length in (action.horizon, action.valid_for):
            if length and grain not in MONTHS and Duration.parse(length).unit in MONTHS:
                raise CatalogueError(
                    f"action {action.name!r} looks {length} ahead: months and quarters go with the "
                    f"grains of these names; the grain is {grain}, so write weeks or days"
                )
    return found


def digest_of(value: Any) -> str:
    """Hash plain values: equal contents give equal text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
