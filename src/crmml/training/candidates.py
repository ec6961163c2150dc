"""The candidates of a backtest by name: purchase processes, spend models, whole forecasters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from crmml._typing import Duration
from crmml.config import BacktestSection
from crmml.data.tables import Tables
from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot
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
from crmml.models.purchase.clocks import ScheduleClock
from crmml.models.purchase.compose import Composition
from crmml.models.purchase.left_censored import LeftCensoredModel
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.newcomer import NewcomerModel
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.purchase.regularity import RegularPurchaseModel, find_regularity
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.notes import Note

COMPOSED: tuple[Literal["bg_nbd", "mbg_nbd"], ...] = ("bg_nbd", "mbg_nbd")
"""Processes whose clocks and origin each fit chooses by itself."""

PROCESSES: dict[str, Callable[[], Any]] = {
    **{name: partial(Composition, name) for name in COMPOSED},
    "pareto_nbd": ParetoNBDModel,
    "regular": RegularPurchaseModel,
    # Exact settings of the clocks, for comparisons and for configurations of version 0.1.
    "bg_nbd_plain": BetaGeoModel,
    "mbg_nbd_plain": ModifiedBetaGeoModel,
    "bg_nbd_newcomer": NewcomerModel,
    "mbg_nbd_newcomer": partial(NewcomerModel, dropout="modified"),
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


def make_candidate(
    name: str,
    horizon: str | Duration,
    *,
    seed: int = 0,
    schedules: ScheduleClock | None = None,
) -> Forecaster:
    """Make an unfitted candidate by its name.

    Parameters
    ----------
    name : str
        One of :data:`CANDIDATES`.
    horizon : str or Duration
        What to forecast.
    seed : int
        For those that draw folds.
    schedules : ScheduleClock, optional
        Tried by processes that choose their clocks.

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
    return CANDIDATES[name](horizon, seed, schedules)


def make_process(name: str, schedules: ScheduleClock | None = None) -> Any:
    """Make an unfitted purchase process, or what composes one, by its name in ``PROCESSES``."""
    made = PROCESSES[name]()
    return replace(made, schedules=schedules) if isinstance(made, Composition) else made


def read_schedules(tables: Tables) -> ScheduleClock | None:
    """Take the table ``schedules``, if there is one; a value that is absent counts as 1."""
    if "schedules" not in tables:
        return None
    frame = tables["schedules"].to_pandas()
    if "value" not in frame:
        frame["value"] = 1.0
    frame["value"] = frame["value"].astype("float64").fillna(1.0)
    return ScheduleClock.from_frame(frame) if len(frame) else None


def find_competitors(names: Sequence[str], snapshot: Snapshot) -> tuple[list[str], list[Note]]:
    """Add the process of regular buyers where the gaps between purchases show that it is due.

    Only the default list grows; a list of the user's own stays as it is.

    Parameters
    ----------
    names : sequence of str
        Candidates of the configuration.
    snapshot : Snapshot
        At the cutoff, with the columns on behaviour.

    Returns
    -------
    names : list of str
    notes : list of Note
        Why ``regular`` competes, or that it might.
    """
    found = find_regularity(snapshot)
    if not found.regular or "regular" in names:
        return list(names), []
    if tuple(names) != BacktestSection().candidates:
        text = f"{found.sentence}; let regular compete in backtest.candidates"
        return list(names), [Note("regular_buyers", "ask", text, topic="models")]
    text = f"regular competes: {found.sentence}"
    return [*names, "regular"], [Note("regular_competes", "info", text)]


def _process(name: str, spend: str, horizon: Any, seed: int, schedules: Any) -> Forecaster:
    del seed
    return ProcessForecaster(
        purchase_model=make_process(name, schedules),
        spend_model=SPENDS[spend](),
        horizon=horizon,
    )


def _lifetimes(fitter: Any, horizon: Any, seed: int, schedules: Any) -> Forecaster:
    del seed, schedules
    return ProcessForecaster(
        purchase_model=LifetimesBaseline(fitter=fitter),
        spend_model=LifetimesSpendBaseline(),
        horizon=horizon,
    )


def _boosted(kind: Any, horizon: Any, seed: int, schedules: Any) -> Forecaster:
    del schedules
    return BoostedForecaster(kind=kind, horizon=horizon, seed=seed)


def _hybrid(horizon: Any, seed: int, schedules: Any) -> Forecaster:
    # Their likelihoods must compare, so customers older than the data count as new in all.
    composed = [Composition(name, "first", schedules) for name in reversed(COMPOSED)]
    return HybridForecaster(
        purchase_models=[*composed, ParetoNBDModel()],
        spend_model=GammaGammaModel(),
        horizon=horizon,
        seed=seed,
    )


def _blend(horizon: Any, seed: int, schedules: Any) -> Forecaster:
    names = ("mbg_nbd_newcomer", "pareto_nbd", "hybrid", "tweedie")
    return BlendForecaster(
        members=[make_candidate(one, horizon, seed=seed, schedules=schedules) for one in names],
        horizon=horizon,
    )


def _heuristic(horizon: Any, seed: int, schedules: Any) -> Forecaster:
    del seed, schedules
    return HeuristicForecaster(horizon=horizon)


CANDIDATES: dict[str, Callable[[Any, int, Any], Forecaster]] = {
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
