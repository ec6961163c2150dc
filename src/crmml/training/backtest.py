"""Judge forecasts on rolling cutoffs, and choose by what happened.

Every candidate is fitted to what was known at a cutoff and compared with what the customers did in
the outcome window after it. Rehearsals, the labelled snapshots that learned candidates need, closed
before that cutoff.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, Grain, TimeUnit
from crmml.data.sources import Tables
from crmml.exceptions import CrmmlError, ParameterError, TooLittleDataError
from crmml.features.labels import LabelledSnapshot, build_labelled, build_outcomes
from crmml.features.windows import Window, length_of
from crmml.metrics import counts, ranking
from crmml.metrics.bootstrap import Statistic, compare, hash_keys, keyed_uniforms
from crmml.models.baselines import LifetimesBaseline, LifetimesSpendBaseline
from crmml.models.beta_geo import BetaGeoModel
from crmml.models.forecast import (
    BlendForecaster,
    BoostedForecaster,
    Forecaster,
    HeuristicForecaster,
    HybridForecaster,
    ProcessForecaster,
)
from crmml.models.gamma_gamma import GammaGammaModel
from crmml.models.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.pareto_nbd import ParetoNBDModel
from crmml.models.regularity import RegularPurchaseModel

Announce = Callable[[str], None]

PROCESSES: dict[str, Callable[[], Any]] = {
    "bg_nbd": BetaGeoModel,
    "mbg_nbd": ModifiedBetaGeoModel,
    "pareto_nbd": ParetoNBDModel,
    "regular": RegularPurchaseModel,
}
"""Purchase processes that may carry lifetime value, by the name of the candidate."""

LOSSES = ("purchases_mae", "purchases_rmse", "crps", "log_score", "spend_mae", "spend_rmse")
"""Metrics of which less is better; of biases the size counts, of all others more is better."""

JUDGED_BY = "purchases_rmse"
"""The metric that decides: the mean of the outcome minimises it, and means are what is forecast."""

_MOST_PURCHASES = 400


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
        raise ParameterError("candidates", f"among {sorted(CANDIDATES)}", name)
    return CANDIDATES[name](horizon, seed)


def _process(name: str, horizon: Any, seed: int) -> Forecaster:
    del seed
    return ProcessForecaster(
        purchase_model=PROCESSES[name](), spend_model=GammaGammaModel(), horizon=horizon
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
        purchase_model=ParetoNBDModel(), spend_model=GammaGammaModel(), horizon=horizon, seed=seed
    )


def _blend(horizon: Any, seed: int) -> Forecaster:
    names = ("mbg_nbd", "pareto_nbd", "hybrid", "tweedie")
    return BlendForecaster(
        members=[make_candidate(name, horizon, seed=seed) for name in names], horizon=horizon
    )


def _heuristic(horizon: Any, seed: int) -> Forecaster:
    del seed
    return HeuristicForecaster(horizon=horizon)


CANDIDATES: dict[str, Callable[[Any, int], Forecaster]] = {
    "heuristic": _heuristic,
    **{name: partial(_process, name) for name in PROCESSES},
    "lifetimes_bg_nbd": partial(_lifetimes, "bg_nbd"),
    "lifetimes_mbg_nbd": partial(_lifetimes, "mbg_nbd"),
    "lifetimes_pareto_nbd": partial(_lifetimes, "pareto_nbd"),
    "tweedie": partial(_boosted, "tweedie"),
    "hurdle": partial(_boosted, "hurdle"),
    "hybrid": _hybrid,
    "blend": _blend,
}
"""Everything that may compete."""


@dataclass(frozen=True)
class Judged:
    """One window: what was forecast and what happened.

    Attributes
    ----------
    labelled : LabelledSnapshot
        The snapshot at the cutoff and the outcomes.
    fitted : dict of str to Forecaster
        The candidates, fitted at the cutoff.
    forecasts : dict of str to DataFrame
        ``purchases`` and ``spend``, keyed by customer.
    table : DataFrame
        ``candidate, metric, value, lower, upper, difference, difference_lower, difference_upper``;
        differences are to the candidate with the least ``JUDGED_BY``.
    pit : dict of str to ndarray
        Randomised PIT of the candidates that forecast a distribution.
    skipped : dict of str to str
        Candidates that could not be fitted, and why.
    """

    labelled: LabelledSnapshot
    fitted: dict[str, Forecaster]
    forecasts: dict[str, pd.DataFrame]
    table: pd.DataFrame
    pit: dict[str, FloatArray]
    skipped: dict[str, str]


@dataclass(frozen=True)
class Backtest:
    """Rolling windows and the choice that follows from them.

    Attributes
    ----------
    windows : list of Judged
        Oldest first.
    leaderboard : DataFrame
        Means over the windows: ``candidate, metric, value, lower, upper, windows``.
    chosen : str
        The candidate to use.
    reason : str
        One sentence that says why.
    """

    windows: list[Judged]
    leaderboard: pd.DataFrame
    chosen: str
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)


def build_rehearsals(
    tables: Tables,
    cutoff: pd.Timestamp,
    horizon: str | Duration,
    *,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    own_seller: str | None = None,
    channels: Mapping[str, str] | None = None,
    most: int = 3,
    cache: dict[Any, LabelledSnapshot] | None = None,
) -> list[LabelledSnapshot]:
    """Label earlier snapshots whose windows closed at or before a cutoff.

    Windows have the horizon of the forecast if the data hold at least one with as much history
    before it. Where the history is shorter, they are a third of it long, which is enough for
    candidates that learn a factor (hybrid, blend) and is refused by those that need the horizon.

    Parameters
    ----------
    tables : Tables
        The validated log.
    cutoff : Timestamp
        Nothing at or after it is used.
    horizon : str or Duration
        Of the forecast.
    grain, time_unit, own_seller, channels
        See :func:`crmml.features.snapshot.build_snapshot`.
    most : int
        At most this many windows; they step by half their length.
    cache : dict, optional
        Kept between calls, so that no snapshot is built twice.
    """
    start = tables.first_timestamp.normalize()
    length = length_of(horizon)
    history = cutoff - start
    if history < 2 * length:
        length = pd.Timedelta(days=(history / 3).days)
    if length < pd.Timedelta(days=7):
        return []
    found = []
    for step in range(most):
        moment = cutoff - length - step * (length / 2).floor("D")
        if moment - start < length:
            break
        window = Window(moment, Duration(length / pd.Timedelta(days=1), "day"))
        key = (window.cutoff, window.closes)
        kept = {} if cache is None else cache
        if key not in kept:
            kept[key] = build_labelled(
                tables,
                window,
                grain=grain,
                time_unit=time_unit,
                own_seller=own_seller,
                channels=channels,
            )
        found.append(kept[key])
    return found[::-1]


def judge(
    labelled: LabelledSnapshot,
    rehearsals: Sequence[LabelledSnapshot],
    candidates: Mapping[str, Forecaster],
    *,
    n_boot: int = 200,
    seed: int = 0,
    announce: Announce | None = None,
) -> Judged:
    """Fit every candidate at a cutoff and compare its forecast with what happened.

    Parameters
    ----------
    labelled : LabelledSnapshot
        Snapshot and outcomes of the window that is judged.
    rehearsals : sequence of LabelledSnapshot
        Earlier ones, closed before the cutoff.
    candidates : mapping of str to Forecaster
        Unfitted.
    n_boot, seed
        Of the paired bootstrap over customers; intervals hold 90 %.
    announce : callable, optional
        Told what is being done.

    Raises
    ------
    TooLittleDataError
        If no candidate could be fitted.
    """
    snapshot, outcomes = labelled.snapshot, labelled.outcomes
    purchases = outcomes["purchases"].to_numpy(dtype=np.float64)
    spend = outcomes["spend"].to_numpy(dtype=np.float64)
    n_max = min(int(purchases.max(initial=0.0)) + 30, _MOST_PURCHASES)
    uniforms = keyed_uniforms(hash_keys(snapshot.customer_id), seed)
    fitted: dict[str, Forecaster] = {}
    forecasts, pits, skipped = {}, {}, {}
    statistics: dict[str, dict[str, Statistic]] = {}
    for name, candidate in candidates.items():
        if announce:
            announce(f"{snapshot.cutoff.date()}: {name}")
        try:
            fitted[name] = candidate.fit(snapshot, rehearsals)
        except TooLittleDataError as error:
            skipped[name] = str(error)
            continue
        forecast = forecasts[name] = fitted[name].forecast(snapshot)
        measures = _measures(purchases, spend, forecast)
        pmf = fitted[name].distribution(snapshot, n_max)
        if pmf is not None and purchases.max(initial=0.0) <= n_max:
            law = pmf.to_numpy()
            pits[name] = counts.randomised_pit(purchases, law, uniforms)
            more = counts.statistics(purchases, forecast["purchases"].to_numpy(), law)
            measures |= {key: more[key] for key in ("crps", "log_score")}
            measures["coverage_80"] = partial(counts.pit_coverage, pits[name], 0.8)
        statistics[name] = measures
    if not statistics:
        raise TooLittleDataError(
            "no candidate could be fitted: " + "; ".join(f"{k}: {v}" for k, v in skipped.items())
        )
    ones = np.ones((1, len(purchases)))
    best = min(statistics, key=lambda name: float(statistics[name][JUDGED_BY](ones)[0]))
    table = compare(
        statistics, snapshot.customer_id, reference=best, n_replicates=n_boot, seed=seed
    ).reset_index()
    return Judged(labelled, fitted, forecasts, table, pits, skipped)


def _measures(
    purchases: FloatArray, spend: FloatArray, forecast: pd.DataFrame
) -> dict[str, Statistic]:
    measures: dict[str, Statistic] = {}
    for what, actual in (("purchases", purchases), ("spend", spend)):
        predicted = forecast[what].to_numpy(dtype=np.float64)
        found = counts.statistics(actual, predicted) | ranking.statistics(actual, predicted)
        measures |= {f"{what}_{key}": value for key, value in found.items()}
    return measures


def run_backtest(
    tables: Tables,
    windows: Sequence[Window],
    names: Sequence[str],
    *,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    own_seller: str | None = None,
    channels: Mapping[str, str] | None = None,
    n_boot: int = 200,
    seed: int = 0,
    announce: Announce | None = None,
    cache: dict[Any, LabelledSnapshot] | None = None,
) -> Backtest:
    """Compare candidates on rolling windows and choose one.

    Parameters
    ----------
    tables : Tables
        The validated log.
    windows : sequence of Window
        At least one, each closed within the data, all of one horizon.
    names : sequence of str
        Candidates, among :data:`CANDIDATES`.
    grain, time_unit, own_seller, channels
        See :func:`crmml.features.snapshot.build_snapshot`.
    n_boot, seed
        Of the bootstrap.
    announce : callable, optional
        Told what is being done.
    cache : dict, optional
        Labelled snapshots by window, kept between calls.

    Returns
    -------
    Backtest

    Raises
    ------
    TooLittleDataError
        If there is no window.
    """
    if not windows:
        raise TooLittleDataError("a backtest needs an outcome window that the data cover; got none")
    kept = {} if cache is None else cache
    build: dict[str, Any] = {
        "grain": grain,
        "time_unit": time_unit,
        "own_seller": own_seller,
        "channels": channels,
    }
    judged = []
    for window in sorted(windows, key=lambda w: w.cutoff):
        key = (window.cutoff, window.closes)
        if key not in kept:
            kept[key] = build_labelled(tables, window, **build)
        rehearsals = build_rehearsals(tables, window.cutoff, window.horizon, cache=kept, **build)
        candidates = {name: make_candidate(name, window.horizon, seed=seed) for name in names}
        judged.append(
            judge(kept[key], rehearsals, candidates, n_boot=n_boot, seed=seed, announce=announce)
        )
    board = summarise([one.table for one in judged])
    chosen, reason = choose(judged, board)
    skipped = {name: why for one in judged for name, why in one.skipped.items()}
    return Backtest(judged, board, chosen, reason, skipped)


def summarise(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Average the metrics of each candidate over the windows.

    The interval is that of the mean, the windows taken as independent given the candidates.
    """
    stacked = pd.concat(tables, keys=range(len(tables)), names=["window", None])
    groups = stacked.groupby(["candidate", "metric"], sort=False)
    board = groups[["value"]].mean()
    for side in ("lower", "upper"):
        half = (stacked[side] - stacked["value"]).pow(2)
        spread = half.groupby([stacked["candidate"], stacked["metric"]], sort=False)
        root = np.sqrt(spread.sum()) / spread.count()
        board[side] = board["value"] + (-root if side == "lower" else root)
    board["windows"] = groups.size()
    return board.reset_index()


def choose(judged: Sequence[Judged], board: pd.DataFrame) -> tuple[str, str]:
    """Choose the candidate with the least error; ties go to the simpler.

    A candidate ties with the best if, over the windows together, the interval of the difference in
    ``JUDGED_BY`` holds 0. Only candidates that stood in every window, and are ours to serve, are
    chosen from.
    """
    n_windows = len(judged)
    metric = board[(board["metric"] == JUDGED_BY) & (board["windows"] == n_windows)]
    ours = metric[~metric["candidate"].str.startswith("lifetimes")]
    if ours.empty:
        raise CrmmlError("no candidate of crmml stood in every window of the backtest")
    ranked = ours.sort_values(["value", "candidate"])
    best = str(ranked["candidate"].iloc[0])
    complexity = {name: model.complexity for one in judged for name, model in one.fitted.items()}
    order = list(PROCESSES)
    tied = []
    for name in ranked["candidate"]:
        low, high = _difference(judged, str(name), best)
        if name == best or low <= 0.0 <= high:
            tied.append(str(name))
    chosen = min(
        tied,
        key=lambda name: (
            complexity[name],
            float(ranked.loc[ranked["candidate"] == name, "value"].iloc[0]),
            order.index(name) if name in order else len(order),
        ),
    )
    value = {str(n): float(v) for n, v in zip(metric["candidate"], metric["value"], strict=True)}
    times = f"{n_windows} window{'s' if n_windows != 1 else ''}"
    reason = f"{chosen} is chosen: RMSE of purchases {value[chosen]:.4f} over {times}"
    if chosen != best:
        reason += f", no different beyond chance from {best} ({value[best]:.4f}) and simpler"
    elif len(value) > 1:
        second = min((v, n) for n, v in value.items() if n != chosen)
        reason += f", the least; next is {second[1]} with {second[0]:.4f}"
    return chosen, reason


def _difference(judged: Sequence[Judged], name: str, best: str) -> tuple[float, float]:
    """Interval of the mean difference in ``JUDGED_BY`` between two candidates."""
    differences = []
    for one in judged:
        ids = one.labelled.snapshot.customer_id
        actual = one.labelled.outcomes["purchases"].to_numpy(dtype=np.float64)
        table = compare(
            {
                key: {
                    JUDGED_BY: counts.statistics(actual, forecast["purchases"].to_numpy())["rmse"]
                }
                for key, forecast in one.forecasts.items()
                if key in (name, best)
            },
            ids,
            reference=best,
        )
        columns = ["difference", "difference_lower", "difference_upper"]
        differences.append(table.xs(JUDGED_BY, level="metric")[columns].loc[name].to_numpy())
    middle, low, high = np.array(differences, dtype=np.float64).T
    n = len(middle)
    below, above = (float(np.sqrt(np.sum((side - middle) ** 2))) / n for side in (low, high))
    return float(middle.mean()) - below, float(middle.mean()) + above


def weekly_tracking(
    judged: Judged, tables: Tables, *, own_seller: str | None = None
) -> pd.DataFrame:
    """Cumulative purchases of the window's customers, week by week: actual and by process.

    Returns
    -------
    DataFrame
        Indexed by week 1, 2, ... of the window; ``actual`` and one column per candidate that is a
        purchase process. The mean absolute percentage error over the weeks is
        :func:`crmml.metrics.counts.cumulative_mape`.
    """
    window, snapshot = judged.labelled.window, judged.labelled.snapshot
    weeks = int(length_of(window.horizon) / pd.Timedelta(weeks=1))
    rows = []
    for week in range(1, weeks + 1):
        part = Window(window.cutoff, Duration(week, "week"), window.gap)
        done = build_outcomes(tables, part, grain=snapshot.grain, own_seller=own_seller)
        row = {"actual": float(done["purchases"].sum())}
        for name, model in judged.fitted.items():
            if isinstance(model, ProcessForecaster):
                expected = model.purchase_model_.expected_purchases(
                    snapshot, Duration(week, "week")
                )
                row[name] = float(expected.sum())
        rows.append(row)
    return pd.DataFrame(rows, index=pd.RangeIndex(1, weeks + 1, name="week"))
