"""The candidates of a backtest by name: purchase processes, spend models, whole forecasters."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from crmml._typing import Duration
from crmml.exceptions import ParameterError
from crmml.models.forecast.baselines import LifetimesBaseline, LifetimesSpendBaseline
from crmml.models.forecast.forecasters import (
    BlendForecaster,
    BoostedForecaster,
    Forecaster,
    HeuristicForecaster,
    HybridForecaster,
    OwnMeanSpend,
    ProcessForecaster,
)
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.left_censored import LeftCensoredModel
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.newcomer import NewcomerModel
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.purchase.regularity import RegularPurchaseModel
from crmml.models.value.gamma_gamma import GammaGammaModel

PROCESSES: dict[str, Callable[[], Any]] = {
    "bg_nbd": BetaGeoModel,
    "mbg_nbd": ModifiedBetaGeoModel,
    "pareto_nbd": ParetoNBDModel,
    "bg_nbd_newcomer": NewcomerModel,
    "mbg_nbd_newcomer": partial(NewcomerModel, dropout="modified"),
    "regular": RegularPurchaseModel,
    "mbg_nbd_left_censored": LeftCensoredModel,
    "mbg_nbd_left_censored_half": partial(LeftCensoredModel, margin="half"),
    "mbg_nbd_calendar": partial(ModifiedBetaGeoModel, calendar="estimate"),
    "mbg_nbd_left_censored_calendar": partial(
        LeftCensoredModel, base=ModifiedBetaGeoModel(calendar="estimate")
    ),
}
"""Purchase processes that may carry lifetime value, by the name of the candidate."""

SPENDS: dict[str, Callable[[], Any]] = {
    "gamma_gamma": GammaGammaModel,
    "own_mean": OwnMeanSpend,
    "lifetimes_gamma_gamma": LifetimesSpendBaseline,
}
"""Spend models. A candidate is named ``process/spend``; without ``/spend`` it has the first."""


def make_candidate(name: str, horizon: str | Duration, *, seed: int = 0) -> Forecaster:
    """Make an unfitted candidate by its name.

    Parameters
    ----------
    name : str
        One of :data:`CANDIDATES`.
    horizon : str or Duration
        What to forecast.
    seed : int
        For those that draw folds.

    Raises
    ------
    ParameterError
        If there is no such candidate.
    """
    if name not in CANDIDATES:
        whole = sorted(candidate for candidate in CANDIDATES if "/" not in candidate)
        spends = [f"/{spend}" for spend in SPENDS if spend != "gamma_gamma"]
        raise ParameterError(
            "candidates", f"among {whole} (a process also with {' or '.join(spends)})", name
        )
    return CANDIDATES[name](horizon, seed)


def _process(name: str, spend: str, horizon: Any, seed: int) -> Forecaster:
    del seed
    return ProcessForecaster(
        purchase_model=PROCESSES[name](), spend_model=SPENDS[spend](), horizon=horizon
    )


def _lifetimes(fitter: Any, horizon: Any, seed: int) -> Forecaster:
    del seed
    return ProcessForecaster(
        purchase_model=LifetimesBaseline(fitter=fitter),
        spend_model=LifetimesSpendBaseline(),
        horizon=horizon,
    )


def _boosted(kind: Any, horizon: Any, seed: int) -> Forecaster:
    return BoostedForecaster(kind=kind, horizon=horizon, seed=seed)


def _hybrid(horizon: Any, seed: int) -> Forecaster:
    return HybridForecaster(
        purchase_models=[
            NewcomerModel(dropout="modified"),
            NewcomerModel(),
            ParetoNBDModel(),
        ],
        spend_model=GammaGammaModel(),
        horizon=horizon,
        seed=seed,
    )


def _blend(horizon: Any, seed: int) -> Forecaster:
    names = ("mbg_nbd_newcomer", "pareto_nbd", "hybrid", "tweedie")
    return BlendForecaster(
        members=[make_candidate(name, horizon, seed=seed) for name in names], horizon=horizon
    )


def _heuristic(horizon: Any, seed: int) -> Forecaster:
    del seed
    return HeuristicForecaster(horizon=horizon)


CANDIDATES: dict[str, Callable[[Any, int], Forecaster]] = {
    "heuristic": _heuristic,
    **{name: partial(_process, name, "gamma_gamma") for name in PROCESSES},
    **{
        f"{name}/{spend}": partial(_process, name, spend)
        for name in PROCESSES
        for spend in SPENDS
        if spend != "gamma_gamma"
    },
    "lifetimes_bg_nbd": partial(_lifetimes, "bg_nbd"),
    "lifetimes_mbg_nbd": partial(_lifetimes, "mbg_nbd"),
    "lifetimes_pareto_nbd": partial(_lifetimes, "pareto_nbd"),
    "tweedie": partial(_boosted, "tweedie"),
    "hurdle": partial(_boosted, "hurdle"),
    "hybrid": _hybrid,
    "blend": _blend,
}
"""Everything that may compete."""
