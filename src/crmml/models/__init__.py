"""Estimators: ``fit(snapshot) -> self``; predictions keyed by ``customer_id``.

The classes are loaded on first use, so that importing one model does not import the libraries of
all others.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from crmml.exceptions import DataError

_HOME: dict[str, str] = {
    "BetaGeoModel": "purchase.beta_geo",
    "ModifiedBetaGeoModel": "purchase.modified_beta_geo",
    "LeftCensoredModel": "purchase.left_censored",
    "NewcomerModel": "purchase.newcomer",
    "ParetoNBDModel": "purchase.pareto_nbd",
    "RegularPurchaseModel": "purchase.regularity",
    "BetaGeoBetaBinomialModel": "purchase.bg_bb",
    "ShiftedBetaGeoModel": "churn.contract",
    "BetaDiscreteWeibullModel": "churn.beta_weibull",
    "HazardModel": "churn.hazard",
    "ContractRule": "churn.contract_rules",
    "GammaGammaModel": "value.gamma_gamma",
    "LifetimeValueModel": "value.lifetime_value",
    "ChurnModel": "churn.model",
    "PurchaseChurn": "churn.purchase",
    "RecencyRule": "forecast.baselines",
    "LifetimesBaseline": "forecast.baselines",
    "LifetimesSpendBaseline": "forecast.baselines",
    "LoyaltyModel": "loyalty.model",
    "ProcessForecaster": "forecast.process",
    "HeuristicForecaster": "forecast.heuristic",
    "OwnMeanSpend": "forecast.heuristic",
    "BoostedForecaster": "forecast.boosted",
    "HybridForecaster": "forecast.hybrid",
    "BlendForecaster": "forecast.blend",
}
"""Which module holds which class."""

_SETTINGS: dict[str, str] = {
    "CalendarProfile": "purchase.calendar",
    "NewcomerClock": "purchase.clocks",
    "SeasonClock": "purchase.clocks",
    "ScheduleClock": "purchase.clocks",
    "compose_purchase_model": "purchase.compose",
}
"""The same for what estimators take as settings, and for what composes them."""

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
