"""Who is who: value tiers and lifecycle stages, with stored thresholds."""

from crmml.segments.lifecycle import LifecycleStages, focus
from crmml.segments.value_tier import (
    ValueTiers,
    compute_pareto_curve,
    gini,
    posture,
    service_priority,
)

__all__ = [
    "LifecycleStages",
    "ValueTiers",
    "compute_pareto_curve",
    "focus",
    "gini",
    "posture",
    "service_priority",
]
