"""Who is who: value tiers, lifecycle stages and other segments, with stored thresholds."""

from importlib import import_module
from typing import Any

from crmml.segments.lifecycle import LifecycleStages, focus
from crmml.segments.roles import StrategicRoles
from crmml.segments.value_tier import (
    ValueTiers,
    compute_pareto_curve,
    gini,
    posture,
    service_priority,
)

_HOME = {
    "compute_cohort_retention": "cohorts",
    "compute_cohort_value": "cohorts",
    "compute_experience_importance": "experience",
    "compute_product_market_map": "taste",
    "TasteSegments": "taste",
}
"""What reads the data: fetched when it is first used, as it loads the engine."""

__all__ = [
    "LifecycleStages",
    "StrategicRoles",
    "TasteSegments",
    "ValueTiers",
    "compute_cohort_retention",
    "compute_cohort_value",
    "compute_experience_importance",
    "compute_pareto_curve",
    "compute_product_market_map",
    "focus",
    "gini",
    "posture",
    "service_priority",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"crmml.segments.{_HOME[name]}"), name)
    raise AttributeError(f"module 'crmml.segments' has no attribute {name!r}")
