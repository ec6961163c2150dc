"""Judge forecasts on rolling cutoffs, and choose by what happened.

Every candidate is fitted to what was known at a cutoff and compared with what the customers did in
the outcome window after it. Rehearsals, the labelled snapshots that learned candidates need, closed
before that cutoff.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from crmml._typing import Duration, FloatArray, Grain, IntArray, TimeUnit
from crmml.data.tables import Tables
from crmml.exceptions import (
    CrmmlError,
    DataError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot, build_labelled
from crmml.features.snapshot import Distinct
from crmml.features.tracking import count_weekly_purchases
from crmml.features.windows import Window, length_of
from crmml.metrics import counts, ranking
from crmml.metrics.bootstrap import (
    Replicates,
    Statistic,
    Statistics,
    Stream,
    hash_keys,
    keyed_uniforms,
    replicate,
)
from crmml.models.forecast.baselines import LifetimesBaseline, LifetimesSpendBaseline
from crmml.models.forecast.forecasters import (
    BlendForecaster,
    BoostedForecaster,
    Forecaster,
    HeuristicForecaster,
    HybridForecaster,
    OwnMeanSpend,
    ProcessForecaster,
    in_order,
)
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.left_censored import LeftCensoredModel
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.newcomer import NewcomerModel
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.purchase.regularity import RegularPurchaseModel
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.notes import Note, collecting, fit_of, merge_notes

Announce = Callable[[str], None]

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

LOSSES = (
    "purchases_mae",
    "purchases_mae_of_median",
    "purchases_rmse",
    "purchases_deviance",
    "purchases_decile_mape",
    "cumulative_mape",
    "crps",
    "log_score",
    "spend_mae",
    "spend_rmse",
    "spend_decile_mape",
)
"""Metrics of which less is better; :mod:`crmml.metrics.table` says so of each."""

JUDGED_BY = "purchases_deviance"
"""The metric that decides: the mean of the outcome minimises it, and means are what is forecast;
unlike the squared error it does not leave the choice to the few heaviest buyers."""

_MOST_PURCHASES = 400
_MOST_JUDGED = 100_000


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
    replicates : Replicates
        Metrics of each candidate, on the customers and on bootstrap replicates of them.
    table : DataFrame
        ``candidate, metric, value, lower, upper, difference, difference_lower, difference_upper``;
        differences are to the candidate with the least ``JUDGED_BY``.
    pit : dict of str to ndarray
        Randomised PIT of the candidates that forecast a distribution, for the customers judged.
    tracking : DataFrame
        Cumulative purchases of the customers judged by week 1, 2, ... of the window: ``actual``
        and the candidates that forecast more than the horizon.
    skipped : dict of str to str
        Candidates that could not be fitted, and why.
    notes : tuple of Note
        What the fits warned of.
    """

    labelled: LabelledSnapshot
    fitted: dict[str, Forecaster]
    forecasts: dict[str, pd.DataFrame]
    replicates: Replicates
    table: pd.DataFrame
    pit: dict[str, FloatArray]
    tracking: pd.DataFrame
    skipped: dict[str, str]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Backtest:
    """Rolling windows and the choice that follows from them.

    Attributes
    ----------
    windows : list of Judged
        Oldest first.
    leaderboard : DataFrame
        Means over the windows: ``candidate, metric, value, lower, upper, difference,
        difference_lower, difference_upper, windows``; differences are to the candidate with the
        least ``JUDGED_BY``. Customers are resampled in all windows at once, so intervals allow for
        windows that share customers.
    chosen : str
        The candidate to use.
    reason : str
        One sentence that says why.
    skipped : dict of str to str
        Candidates that some window could not carry, and why.
    """

    windows: list[Judged]
    leaderboard: pd.DataFrame
    chosen: str
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The choice, who was left out, and what the fits warned of.

        What concerns a candidate that is not used is for information only.
        """
        mine = f"{self.chosen} fitted at "
        fits = [
            note if note.about.startswith(mine) else replace(note, severity="info")
            for one in self.windows
            for note in one.notes
        ]
        left_out = [
            Note("left_out", "info", f"left out: {why}", name) for name, why in self.skipped.items()
        ]
        choice = Note("choice", "info", self.reason)
        return (choice, *left_out, *merge_notes(fits))


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

    Windows have the horizon of the forecast if the data hold at least one with two thirds as much
    history before it. Where the history is shorter, they are a third of it long, which is enough
    for candidates that learn a factor (hybrid, blend) and is refused by those that need the
    horizon.

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

    Returns
    -------
    list of LabelledSnapshot
        Oldest first; empty where the history is shorter than three weeks.
    """
    start = tables.first_timestamp.normalize()
    length = length_of(horizon)
    history = cutoff - start
    if history < 5 / 3 * length:
        length = pd.Timedelta(days=(history / 3).days)
    if length < pd.Timedelta(days=7):
        return []
    found = []
    for step in range(most):
        moment = cutoff - length - step * (length / 2).floor("D")
        if moment - start < 2 / 3 * length:
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
    weekly: FloatArray | None = None,
    n_boot: int = 200,
    seed: int = 0,
    announce: Announce | None = None,
) -> Judged:
    """Fit every candidate at a cutoff and compare its forecast with what happened.

    All customers are fitted and forecast; of more than 100,000 a sample by the hash of the id is
    judged, which is more than the intervals need.

    Parameters
    ----------
    labelled : LabelledSnapshot
        Snapshot and outcomes of the window that is judged.
    rehearsals : sequence of LabelledSnapshot
        Earlier ones, closed before the cutoff.
    candidates : mapping of str to Forecaster
        They are not changed: copies are fitted.
    weekly : ndarray, shape (n_customers, n_weeks), optional
        Purchases in each week of the window, in the order of the snapshot, from
        :func:`crmml.features.tracking.count_weekly_purchases`; adds ``cumulative_mape`` and the
        tracking table.
    n_boot, seed
        Of the paired bootstrap over customers; intervals hold 90 %.
    announce : callable, optional
        Told what is being done.

    Raises
    ------
    TooLittleDataError
        If no candidate could be fitted.
    FutureLeakError
        If a rehearsal ends after the cutoff.
    """
    snapshot = labelled.snapshot
    in_order(snapshot, rehearsals)
    keys = hash_keys(snapshot.customer_id)
    # A sample by the hash of the id: whether a customer is judged does not depend on the order.
    judged = keys <= np.uint64(min(1.0, _MOST_JUDGED / max(len(keys), 1)) * (2**64 - 2**11))
    if len(keys) <= _MOST_JUDGED:
        judged[:] = True
    keys = keys[judged]
    said = _Said(
        labelled.subset(judged),
        keyed_uniforms(keys, seed, Stream.PIT),
        None if weekly is None else weekly[judged],
    )
    forecasts: dict[str, pd.DataFrame] = {}
    fitted: dict[str, Forecaster] = {}
    skipped: dict[str, str] = {}
    notes: list[Note] = []
    for name, candidate in candidates.items():
        if announce:
            announce(f"{snapshot.cutoff.date()}: {name}")
        try:
            with collecting(notes, fit_of(name, snapshot.cutoff)):
                model = clone(candidate).fit(snapshot, rehearsals)
                forecast = _finite(model.forecast(snapshot))
                said.add(name, model, forecast.loc[judged])
            fitted[name], forecasts[name] = model, forecast
        except (TooLittleDataError, DataError) as error:
            skipped[name] = error.sentence if isinstance(error, DataError) else str(error)
    if not fitted:
        raise TooLittleDataError(
            "no candidate could be fitted: " + "; ".join(f"{k}: {v}" for k, v in skipped.items())
        )
    found = replicate(said.families(), keys, n_replicates=n_boot, seed=seed)
    return Judged(
        labelled=labelled,
        fitted=fitted,
        forecasts=forecasts,
        replicates=found,
        table=found.table(_best(found, list(fitted))).reset_index(),
        pit=said.pit,
        tracking=said.tracking(),
        skipped=skipped,
        notes=merge_notes(notes),
    )


def _finite(forecast: pd.DataFrame) -> pd.DataFrame:
    odd = int((~np.isfinite(forecast.to_numpy())).any(axis=1).sum())
    if odd:
        raise TooLittleDataError(
            f"its forecast is not finite for {odd:,} of {len(forecast):,} customers"
        )
    return forecast


def _best(found: Replicates, names: Sequence[str]) -> str:
    """Return the least ``JUDGED_BY``; then the least error of spend; then the first in the list."""
    value = dict(zip(found.rows, found.values.tolist(), strict=True))
    order = list(CANDIDATES)

    def rounded(name: str, metric: str) -> float:
        found = value.get((name, metric), math.nan)
        # Six digits: the same model reached from two sides is no better than itself. A loss that
        # is missing is the worst.
        return math.inf if math.isnan(found) else float(f"{found:.6g}")

    def rank(name: str) -> tuple[float, float, int, str]:
        place = order.index(name) if name in order else len(order)
        return rounded(name, JUDGED_BY), rounded(name, "spend_rmse"), place, name

    return min(names, key=rank)


class _Said:
    """What the candidates said about one window, ready to be judged."""

    def __init__(
        self, labelled: LabelledSnapshot, uniforms: FloatArray, weekly: FloatArray | None
    ) -> None:
        outcomes = labelled.outcomes
        self.snapshot, self.uniforms = labelled.snapshot, uniforms
        self.actual = {
            what: outcomes[what].to_numpy(dtype=np.float64) for what in ("purchases", "spend")
        }
        most = self.actual["purchases"].max(initial=0.0)
        self.n_max = min(int(most) + 30, _MOST_PURCHASES)
        self.covered = most <= self.n_max
        self.reached = None if weekly is None else np.cumsum(weekly, axis=1)
        self.forecasts: dict[str, pd.DataFrame] = {}
        self.pit: dict[str, FloatArray] = {}
        self.paths: dict[str, FloatArray] = {}
        self.whole: dict[str, dict[str, Statistic | float]] = {}

    def add(self, name: str, model: Forecaster, forecast: pd.DataFrame) -> None:
        """Ask a fitted candidate for all that it can say."""
        self.forecasts[name], self.whole[name] = forecast, {}
        purchases = self.actual["purchases"]
        pmf = model.distribution(self.snapshot, self.n_max) if self.covered else None
        if pmf is not None:
            law = pmf.to_numpy()
            pit = self.pit[name] = counts.randomised_pit(purchases, law, self.uniforms)
            median = (np.cumsum(law, axis=1) < 0.5).sum(axis=1).astype(np.float64)
            more = counts.statistics(purchases, forecast["purchases"].to_numpy(), law)
            self.whole[name] = {
                "crps": more["crps"],
                "log_score": more["log_score"],
                "coverage_80": partial(counts.pit_coverage, pit, 0.8),
                "purchases_mae_of_median": partial(counts.mean_absolute_error, purchases, median),
            }
        if self.reached is not None:
            lengths = [Duration(n + 1.0, "week") for n in range(self.reached.shape[1])]
            path = model.track(self.snapshot, lengths)
            if path is not None and lengths:
                self.paths[name] = path
                self.whole[name]["cumulative_mape"] = partial(
                    counts.cumulative_mape, self.reached, path
                )

    def families(self) -> list[tuple[IntArray | None, Statistics]]:
        """Gather the metrics; customers alike in all of a family's columns are counted, not kept.

        Candidates that say much the same number to nobody else are judged customer by customer.
        """
        families: list[tuple[IntArray | None, Statistics]] = [(None, self.whole)]
        for what, actual in self.actual.items():
            said = {name: f[what].to_numpy(np.float64) for name, f in self.forecasts.items()}
            true = ranking.Order.of(actual)
            for name, values in said.items():
                order = ranking.statistics(actual, values, true)
                self.whole[name] |= {f"{what}_{key}": value for key, value in order.items()}
            few = {k: v for k, v in said.items() if 2 * len(np.unique(v)) < len(v)}
            if few:
                same = Distinct({"actual": actual, **few})
                columns = same.values
                families.append((same.inverse, _measures(what, columns.pop("actual"), columns)))
            rest = {name: values for name, values in said.items() if name not in few}
            families.append((None, _measures(what, actual, rest)))
        return families

    def tracking(self) -> pd.DataFrame:
        """Totals by week."""
        if self.reached is None:
            return pd.DataFrame()
        columns = {"actual": self.reached, **self.paths}
        weeks = pd.RangeIndex(1, self.reached.shape[1] + 1, name="week")
        return pd.DataFrame({k: v.sum(axis=0) for k, v in columns.items()}, index=weeks)


def _measures(
    what: str, actual: FloatArray, forecasts: Mapping[str, FloatArray]
) -> dict[str, dict[str, Statistic]]:
    measures = {}
    for name, said in forecasts.items():
        errors = counts.statistics if what == "purchases" else counts.errors
        found = errors(actual, said)
        measures[name] = {f"{what}_{key}": statistic for key, statistic in found.items()}
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
        At least one, each closed within the data, all of one horizon and without a gap.
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
        If there is no window, or none in which all that is ours could be fitted.
    ParameterError
        If a candidate is unknown, or the windows differ in length or have a gap.
    """
    if not windows:
        raise TooLittleDataError("a backtest needs an outcome window that the data cover; got none")
    lengths = {str(window.closes - window.cutoff) for window in windows}
    if len(lengths) > 1 or any(window.opens > window.cutoff for window in windows):
        raise ParameterError("windows", "of one horizon and without a gap", sorted(lengths))
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
        candidates = {name: make_candidate(name, window.horizon, seed=seed) for name in names}
        rehearsals = build_rehearsals(
            tables,
            window.cutoff,
            window.horizon,
            most=max((model.rehearsals for model in candidates.values()), default=0),
            cache=kept,
            **build,
        )
        weekly = count_weekly_purchases(
            tables, window, kept[key].snapshot.customer_id, grain=grain, own_seller=own_seller
        )
        judged.append(
            judge(
                kept[key],
                rehearsals,
                candidates,
                weekly=weekly,
                n_boot=n_boot,
                seed=seed,
                announce=announce,
            )
        )
    board = summarise(judged)
    chosen, reason = choose(judged)
    skipped = {name: why for one in judged for name, why in one.skipped.items()}
    return Backtest(judged, board, chosen, reason, skipped)


def summarise(judged: Sequence[Judged]) -> pd.DataFrame:
    """Average the metrics of each candidate over the windows.

    Returns
    -------
    DataFrame
        See :class:`Backtest`.
    """
    found = Replicates.mean([one.replicates for one in judged])
    everywhere = [name for name in judged[0].fitted if all(name in one.fitted for one in judged)]
    board = found.table(_best(found, everywhere) if everywhere else None).reset_index()
    times: dict[tuple[str, str], int] = {}
    for one in judged:
        for row in one.replicates.rows:
            times[row] = times.get(row, 0) + 1
    return board.assign(windows=[times[row] for row in found.rows])


def choose(judged: Sequence[Judged]) -> tuple[str, str]:
    """Choose the candidate with the least error, as far as complexity pays.

    From the simplest candidates upwards, a level of complexity is reached only if its best
    candidate has an error below that of the best so far beyond chance: the interval of the
    difference in ``JUDGED_BY``, over the windows together, lies below 0. The least error among
    all candidates up to that level wins, so that ties go to the simpler. Only candidates that
    stood in every window, and are ours to serve, are chosen from.

    Returns
    -------
    chosen, reason : str
        The name, and a sentence that says why.

    Raises
    ------
    CrmmlError
        If there is no such candidate.
    """
    complexity = {name: model.complexity for one in judged for name, model in one.fitted.items()}
    stood = [name for name in complexity if all(name in one.fitted for one in judged)]
    ours = [name for name in stood if not name.startswith("lifetimes")]
    if not ours:
        raise CrmmlError("no candidate of crmml stood in every window of the backtest")
    found = Replicates.mean([one.replicates for one in judged])
    chosen = ""
    for level in sorted({complexity[name] for name in ours}):
        new = _best(found, [name for name in ours if complexity[name] == level])
        if not chosen or _beats(found, new, chosen):
            chosen = _best(found, [name for name in ours if complexity[name] <= level])
    best = _best(found, ours)
    value = found.table().xs(JUDGED_BY, level="metric")["value"].to_dict()
    times = f"{len(judged)} window{'s' if len(judged) != 1 else ''}"
    reason = f"{chosen} is chosen: Poisson deviance of purchases {value[chosen]:.4f} over {times}"
    if chosen != best:
        reason += f", no different beyond chance from {best} ({value[best]:.4f}) and simpler"
    elif len(stood) > 1:
        second = min((value[name], name) for name in stood if name != chosen)
        least = "the least" if value[chosen] <= second[0] else "the least that can be served"
        reason += f", {least}; next is {second[1]} with {second[0]:.4f}"
    return chosen, reason


def _beats(found: Replicates, new: str, old: str) -> bool:
    upper = found.table(old)["difference_upper"]
    return bool(upper[new, JUDGED_BY] < 0.0)
