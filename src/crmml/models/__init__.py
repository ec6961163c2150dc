"""Estimators: ``fit(snapshot) -> self``; predictions keyed by ``customer_id``.

The classes are loaded on first use, so that importing one model does not import the libraries of
all others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crmml.exceptions import DataError

_HOME: dict[str, str] = {
    "BetaGeoModel": "beta_geo",
    "ModifiedBetaGeoModel": "modified_beta_geo",
    "LeftCensoredModel": "left_censored",
    "NewcomerModel": "newcomer",
    "ParetoNBDModel": "pareto_nbd",
    "RegularPurchaseModel": "regularity",
    "BetaGeoBetaBinomialModel": "bg_bb",
    "ShiftedBetaGeoModel": "contract",
    "GammaGammaModel": "gamma_gamma",
    "LifetimeValueModel": "lifetime_value",
    "ChurnModel": "churn",
    "PurchaseChurn": "churn",
    "RecencyRule": "baselines",
    "LifetimesBaseline": "baselines",
    "LifetimesSpendBaseline": "baselines",
    "LoyaltyModel": "loyalty",
    "ProcessForecaster": "forecast",
    "HeuristicForecaster": "forecast",
    "OwnMeanSpend": "forecast",
    "BoostedForecaster": "forecast",
    "HybridForecaster": "forecast",
    "BlendForecaster": "forecast",
}
"""Which module holds which class."""

_SETTINGS: dict[str, str] = {"CalendarProfile": "calendar"}
"""The same for what estimators take as settings."""

__all__ = ["from_dict", *_HOME, *_SETTINGS]


def __getattr__(name: str) -> Any:
    module = _HOME.get(name) or _SETTINGS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def from_dict(stored: dict[str, Any]) -> Any:
    """Rebuild any fitted estimator from what its ``to_dict()`` returned.

    Raises
    ------
    DataError
        If ``stored`` names no class of this package.
    """
    name = stored.get("class")
    if name not in _HOME:
        raise DataError(f"no estimator is called {name!r}", table="stored model")
    return __getattr__(name).from_dict(stored)
