"""From a transaction log to decisions about customers.

Importing :mod:`crmml` loads nothing heavy; each public name is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.3.0"

_HOME = {
    "Snapshot": "crmml.features.snapshot",
    "build_snapshot": "crmml.features.snapshot",
    "compare_horizons": "crmml.features.horizons",
    "count_flows": "crmml.scoring.differences",
    "diff": "crmml.storage.differences",
    "flows": "crmml.storage.class_flows",
    "load": "crmml.storage.loading",
    "explain": "crmml.scoring.explanation",
    "load_cdnow": "crmml.data.datasets",
    "monitor": "crmml.scorecard.monitor",
    "read": "crmml.data.first_look",
    "report": "crmml.reports.page",
    "ScoringBundle": "crmml.scoring.bundle",
    "score": "crmml.scoring.scorer",
    "train": "crmml.training.pipeline",
}

__all__ = [
    "ScoringBundle",
    "Snapshot",
    "__version__",
    "build_snapshot",
    "compare_horizons",
    "count_flows",
    "diff",
    "explain",
    "flows",
    "load",
    "load_cdnow",
    "monitor",
    "read",
    "report",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in {
        "actions",
        "data",
        "features",
        "metrics",
        "models",
        "plots",
        "scorecard",
        "segments",
        "stats",
    }:
        return import_module(f"crmml.{name}")
    raise AttributeError(f"module 'crmml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
