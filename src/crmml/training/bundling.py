"""From fitted models to a scoring bundle: its manifest, its policy, its stored prices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from crmml.actions.catalogue import ActionCatalogue
from crmml.config import Config
from crmml.data.tables import Tables
from crmml.features.snapshot import Snapshot
from crmml.models.forecast.forecasters import Forecaster
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.scoring.bundle import Policy, ScoringBundle
from crmml.scoring.scorer import Scores
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.value_tier import ValueTiers


def make_bundle(
    config: Config,
    tables: Tables,
    snapshot: Snapshot,
    *,
    lifetime_value: LifetimeValueModel,
    forecast: Forecaster,
    churn: Any,
    loyalty: Any,
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

    Returns
    -------
    ScoringBundle
        Without shadow prices; see :func:`finish_bundle`.
    """
    worth = lifetime_value.clv(snapshot, config.value.horizon)
    manifest = {**make_manifest(config, tables, snapshot), "margin": lifetime_value.margin}
    return ScoringBundle(
        manifest=manifest,
        lifetime_value=lifetime_value,
        forecast=forecast,
        churn=churn,
        loyalty=loyalty,
        tiers=ValueTiers(config.tiers.shares).fit(worth),
        lifecycle=LifecycleStages().fit(snapshot.frame.set_index("customer_id")),
        catalogue=read_catalogue(config),
        policy=Policy(
            budget=config.actions.budget,
            capacities=dict(config.actions.capacities),
            holdout_share=config.actions.holdout_share,
            seed=config.seed,
        ),
    )


def make_manifest(config: Config, tables: Tables, snapshot: Snapshot) -> dict[str, Any]:
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
    ids = snapshot.frame["customer_id"]
    return {
        "name": config.name,
        "created_for_cutoff": str(snapshot.cutoff),
        "horizon": config.outcome.horizon,
        "gap": config.outcome.gap,
        "value_horizon": config.value.horizon,
        "annual_discount_rate": config.value.annual_discount_rate,
        "loyalty_window": config.outcome.horizon,
        "grain": config.snapshot.grain,
        "time_unit": config.snapshot.time_unit,
        "id_type": "integer" if pd.api.types.is_integer_dtype(ids) else "text",
        "columns": list(tables.transactions.columns),
        "channels": dict(snapshot.provenance["channels"]),
        "own_seller": config.data.own_seller,
        "cleaning": {**asdict(tables.policies), "test_customers": []},
        "test_customers_left_out": len(tables.policies.test_customers),
        "currency": tables.currency,
        "seed": config.seed,
        "config_hash": _digest(config.shareable()),
    }


def finish_bundle(
    bundle: ScoringBundle,
    served: Mapping[str, tuple[float, float, float]],
    notes: Sequence[str],
    scores: Scores,
) -> ScoringBundle:
    """Store the shadow prices, and write what a reader of the folder wants to know.

    Parameters
    ----------
    bundle : ScoringBundle
        From :func:`make_bundle`.
    served : mapping of str to (value, lower, upper)
        Metrics of what was served.
    notes : sequence of str
        What the user must know; said once each.
    scores : Scores
        The customers at the training's cutoff, scored by the bundle.
    """
    manifest = {
        **bundle.manifest,
        "metrics": {name: list(value) for name, value in served.items()},
        "notes": list(dict.fromkeys(notes)),
        "absent": scores.absent,
        "customers": len(scores.table),
    }
    policy = replace(bundle.policy, prices=scores.recommendation.prices)
    return replace(bundle, manifest=manifest, policy=policy)


def read_catalogue(config: Config) -> ActionCatalogue:
    """Read the action catalogue that a configuration names, by default the built-in one."""
    path = config.actions.catalogue
    return ActionCatalogue.default() if path is None else ActionCatalogue.from_yaml(path)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
