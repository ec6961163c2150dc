"""Bundles of earlier formats, brought to the present one, one format after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from crmml.actions.catalogue import ActionCatalogue
from crmml.notes import Note
from crmml.scoring.decisions import as_json
from crmml.scoring.manifest import FORMAT_VERSION, MANIFEST
from crmml.scoring.standard import columns_from_customers, predictor_from_dict

Files: TypeAlias = dict[str, bytes]


def upgrade(files: Mapping[str, bytes]) -> Files:
    """Bring the files of a bundle to the present format; those of it come back as they are."""
    current = dict(files)
    while (version := json.loads(current[MANIFEST])["format_version"]) < FORMAT_VERSION:
        current = UPGRADES[version](current)
    return current


def _from_1(files: Files) -> Files:
    """Four models, segments, catalogue and policy become a list of predictors (0.1 to 0.2)."""
    read = {name: json.loads(data) for name, data in files.items()}
    old = read[MANIFEST]
    horizon, segments = old["horizon"], read["segments.json"]
    catalogue = ActionCatalogue.from_dict(read["catalogue.json"])
    predictors: dict[str, dict[str, Any]] = {
        "history": {"class": "History"},
        "forecast": {
            "class": "PurchaseForecast",
            "model": read["forecast.json"],
            "horizon": horizon,
        },
        "lifetime_value": {
            "class": "LifetimeValue",
            "model": read["lifetime_value.json"],
            "horizon": horizon,
            "value_horizon": old["value_horizon"],
            "margin_horizons": list(catalogue.horizons),
            "windows": list(catalogue.windows(horizon)),
        },
        "churn": {"class": "ChurnRisk", "model": read["churn.json"], "horizon": horizon},
        "loyalty": {
            "class": "Loyalty",
            "model": read["loyalty.json"],
            "window": old["loyalty_window"],
        },
        "tiers": {"class": "Tiers", "segments": segments["tiers"]},
        "lifecycle": {"class": "Stages", "segments": segments["lifecycle"]},
        "roles": {"class": "Roles"},
        "attributes": {"class": "Attributes", "further": {}},
        "experience_zone": {"class": "ExperienceZone"},
        "taste_segment": {"class": "TasteSegment"},
        "actions": {
            "class": "Actions",
            "catalogue": read["catalogue.json"],
            "policy": read["policy.json"],
            "horizon": horizon,
        },
    }
    others = [predictor_from_dict(one) for name, one in predictors.items() if name != "actions"]
    # 0.1 took whatever a condition asked for from the customers table, of any type
    further = dict.fromkeys(columns_from_customers(catalogue, others), "any")
    predictors["attributes"]["further"] = further
    upgraded = {f"{name}.json": as_json(stored) for name, stored in predictors.items()}
    return {**upgraded, MANIFEST: as_json(_manifest_from_1(old, predictors))}


_SAME_AS_IN_1 = (
    "name",
    "crmml_version",
    "horizon",
    "gap",
    "value_horizon",
    "grain",
    "time_unit",
    "id_type",
    "channels",
    "own_seller",
    "currency",
    "seed",
    "config_hash",
    "customers",
    "test_customers_left_out",
    "metrics",
    "absent",
)


def _manifest_from_1(old: Mapping[str, Any], predictors: Mapping[str, Any]) -> dict[str, Any]:
    policies = {name: how for name, how in old["cleaning"].items() if name != "test_customers"}
    return {
        **{name: old[name] for name in _SAME_AS_IN_1 if name in old},
        "format_version": 2,
        "cutoff": old["created_for_cutoff"],
        "columns": {"transactions": old["columns"]},
        "features": sorted(set(_feature_names(predictors))),
        "policies": {"transactions": policies},
        "predictors": list(predictors),
        "notes": [Note("training", "info", text).to_dict() for text in old.get("notes", ())],
    }


def _feature_names(stored: Any) -> Iterator[str]:
    """Find the columns of the snapshot that the stored models read."""
    if isinstance(stored, Mapping):
        for name, value in stored.items():
            if name in ("features", "features_") and isinstance(value, list):
                yield from (one for one in value if isinstance(one, str))
            else:
                yield from _feature_names(value)
    elif isinstance(stored, list):
        for value in stored:
            yield from _feature_names(value)


UPGRADES: Mapping[int, Callable[[Files], Files]] = {1: _from_1}
"""Format to what brings a bundle of it to the next one."""
