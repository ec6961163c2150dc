"""Evaluate candidates on one test window: fit at the cutoff, forecast, compare with outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from crmml._typing import Duration, FloatArray
from crmml.card import Card, Result, listed
from crmml.exceptions import DataError, TooLittleDataError
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.metrics import counts, ranking
from crmml.metrics.bootstrap import (
    Replicates,
    Statistic,
    Stream,
    hash_keys,
    keyed_uniforms,
    replicate,
)
from crmml.models.fits import Fits
from crmml.models.forecast.forecasters import Forecaster, in_order
from crmml.notes import Note, collecting, fit_of, merge_notes
from crmml.training.candidates import CANDIDATES

Announce = Callable[[str], None]

DECIDED_BY = "purchases_deviance"
"""The metric that decides: the mean of the outcome minimises it, and means are what is forecast;
unlike the squared error it does not leave the choice to the few heaviest buyers."""

_MOST_PURCHASES = 400
_MOST_EVALUATED = 100_000


@dataclass(frozen=True, repr=False)
class EvaluatedWindow(Result):
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
        differences are to the candidate with the least ``DECIDED_BY``.
    pit : dict of str to ndarray
        Randomised PIT of the candidates that forecast a distribution, for the customers evaluated.
    tracking : DataFrame
        Cumulative purchases of the customers evaluated by week 1, 2, ... of the window: ``actual``
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

    def to_pandas(self) -> pd.DataFrame:
        """Return the metrics of the candidates."""
        return self.table.copy()

    def _card(self) -> Card:
        rows = (
            ("customers", repr(self.labelled)),
            ("candidates", listed(self.fitted, most=12)),
            *((f"left out: {name}", why) for name, why in [*self.skipped.items()][:6]),
            ("more", "to_pandas() is the table of metrics, plot() draws the deciding one"),
        )
        window = self.labelled.window
        return Card(f"EvaluatedWindow of {window.horizon} from {window.cutoff.date()}", rows)


def evaluate_window(
    labelled: LabelledSnapshot,
    training_windows: Sequence[LabelledSnapshot],
    candidates: Mapping[str, Forecaster],
    *,
    weekly: FloatArray | None = None,
    n_boot: int = 200,
    seed: int = 0,
    announce: Announce | None = None,
    fits: Fits | None = None,
) -> EvaluatedWindow:
    """Fit every candidate at a cutoff and compare its forecast with what happened.

    All customers are fitted and forecast; of more than 100,000 a sample by the hash of the id is
    evaluated, which is more than the intervals need.

    Parameters
    ----------
    labelled : LabelledSnapshot
        Snapshot and outcomes of the test window.
    training_windows : sequence of LabelledSnapshot
        Training windows, closed before the cutoff.
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
    fits : Fits, optional
        Models fitted so far; what is fitted is added.

    Raises
    ------
    TooLittleDataError
        If no candidate could be fitted.
    FutureLeakError
        If a training window ends after the cutoff.
    """
    snapshot = labelled.snapshot
    in_order(snapshot, training_windows)
    asked = _sample(snapshot)
    keys = hash_keys(snapshot.customer_id[asked])
    happened = _observe(labelled.subset(asked), None if weekly is None else weekly[asked], seed)
    forecasts: dict[str, pd.DataFrame] = {}
    fitted: dict[str, Forecaster] = {}
    skipped: dict[str, str] = {}
    answers: dict[str, _Answer] = {}
    notes: list[Note] = []
    for name, candidate in candidates.items():
        if announce:
            announce(f"{snapshot.cutoff.date()}: {name}")
        try:
            with collecting(notes, fit_of(name, snapshot.cutoff)):
                model = clone(candidate).fit(snapshot, training_windows, fits=fits)
                forecast = _finite(model.forecast(snapshot))
                answers[name] = _ask(model, forecast.loc[asked], happened)
            fitted[name], forecasts[name] = model, forecast
        except (TooLittleDataError, DataError) as error:
            skipped[name] = error.sentence if isinstance(error, DataError) else str(error)
    if not fitted:
        raise TooLittleDataError(
            "no candidate could be fitted: " + "; ".join(f"{k}: {v}" for k, v in skipped.items())
        )
    found = replicate(_measure(answers, happened), keys, n_replicates=n_boot, seed=seed)
    return EvaluatedWindow(
        labelled=labelled,
        fitted=fitted,
        forecasts=forecasts,
        replicates=found,
        table=found.table(find_best(found, list(fitted))).reset_index(),
        pit={name: one.pit for name, one in answers.items() if one.pit is not None},
        tracking=_track(answers, happened),
        skipped=skipped,
        notes=merge_notes(notes),
    )


def _sample(snapshot: Snapshot) -> npt.NDArray[np.bool_]:
    """Say who is evaluated: all, or a sample by the hash of the id, whatever the order."""
    keys = hash_keys(snapshot.customer_id)
    if len(keys) <= _MOST_EVALUATED:
        return np.ones(len(keys), dtype=bool)
    sampled: npt.NDArray[np.bool_] = keys <= np.uint64(
        _MOST_EVALUATED / len(keys) * (2**64 - 2**11)
    )
    return sampled


def _finite(forecast: pd.DataFrame) -> pd.DataFrame:
    odd = int((~np.isfinite(forecast.to_numpy())).any(axis=1).sum())
    if odd:
        raise TooLittleDataError(
            f"its forecast is not finite for {odd:,} of {len(forecast):,} customers"
        )
    return forecast


def find_best(found: Replicates, names: Sequence[str]) -> str:
    """Return that with the least ``DECIDED_BY``, then the least error of spend, then the first."""
    value = dict(zip(found.rows, found.values.tolist(), strict=True))
    order = list(CANDIDATES)

    def rounded(name: str, metric: str) -> float:
        found = value.get((name, metric), math.nan)
        # Six digits: the same model reached from two sides is no better than itself. A loss that
        # is missing is the worst.
        return math.inf if math.isnan(found) else float(f"{found:.6g}")

    def rank(name: str) -> tuple[float, float, int, str]:
        place = order.index(name) if name in order else len(order)
        return rounded(name, DECIDED_BY), rounded(name, "spend_rmse"), place, name

    return min(names, key=rank)


@dataclass(frozen=True)
class _Observed:
    """What happened in a test window to the customers who are evaluated.

    ``reached`` holds their cumulative purchases by week; ``most`` is the largest number of
    purchases whose probability is asked for, None if somebody bought far more.
    """

    snapshot: Snapshot
    outcomes: dict[str, FloatArray]
    uniforms: FloatArray
    reached: FloatArray | None
    most: int | None


@dataclass(frozen=True)
class _Answer:
    """What one candidate predicted for a window, and the metrics of its distribution and path."""

    forecast: pd.DataFrame
    pit: FloatArray | None
    path: FloatArray | None
    measures: dict[str, Statistic | float]


def _observe(labelled: LabelledSnapshot, weekly: FloatArray | None, seed: int) -> _Observed:
    outcomes = {
        what: labelled.outcomes[what].to_numpy(dtype=np.float64) for what in ("purchases", "spend")
    }
    highest = outcomes["purchases"].max(initial=0.0)
    most = min(int(highest) + 30, _MOST_PURCHASES)
    return _Observed(
        snapshot=labelled.snapshot,
        outcomes=outcomes,
        uniforms=keyed_uniforms(hash_keys(labelled.snapshot.customer_id), seed, Stream.PIT),
        reached=None if weekly is None else np.cumsum(weekly, axis=1),
        most=most if highest <= most else None,
    )


def _ask(model: Forecaster, forecast: pd.DataFrame, happened: _Observed) -> _Answer:
    """Ask a fitted candidate for all that it can predict."""
    purchases, measures = happened.outcomes["purchases"], dict[str, Statistic | float]()
    pit = path = None
    pmf = None if happened.most is None else model.distribution(happened.snapshot, happened.most)
    if pmf is not None:
        distribution = pmf.to_numpy()
        pit = counts.randomised_pit(purchases, distribution, happened.uniforms)
        median = (np.cumsum(distribution, axis=1) < 0.5).sum(axis=1).astype(np.float64)
        more = counts.statistics(purchases, forecast["purchases"].to_numpy(), distribution)
        measures = {
            "crps": more["crps"],
            "log_score": more["log_score"],
            "coverage_80": partial(counts.pit_coverage, pit, 0.8),
            "purchases_mae_of_median": partial(counts.mean_absolute_error, purchases, median),
        }
    reached = happened.reached
    if reached is not None and reached.shape[1]:
        lengths = [Duration(n + 1.0, "week") for n in range(reached.shape[1])]
        path = model.track(happened.snapshot, lengths)
        if path is not None:
            measures["cumulative_mape"] = partial(counts.cumulative_mape, reached, path)
    return _Answer(forecast, pit, path, measures)


def _measure(
    answers: Mapping[str, _Answer], happened: _Observed
) -> dict[str, dict[str, Statistic | float]]:
    """Gather the metrics of all candidates."""
    found = {name: dict(one.measures) for name, one in answers.items()}
    for what, actual in happened.outcomes.items():
        errors = counts.statistics if what == "purchases" else counts.errors
        true = ranking.Order.of(actual)
        for name, one in answers.items():
            predicted = one.forecast[what].to_numpy(np.float64)
            for measures in (
                errors(actual, predicted),
                ranking.statistics(actual, predicted, true),
            ):
                found[name] |= {f"{what}_{key}": value for key, value in measures.items()}
    return found


def _track(answers: Mapping[str, _Answer], happened: _Observed) -> pd.DataFrame:
    """Total the cumulative purchases by week."""
    if happened.reached is None:
        return pd.DataFrame()
    paths = {name: one.path for name, one in answers.items() if one.path is not None}
    weeks = pd.RangeIndex(1, happened.reached.shape[1] + 1, name="week")
    columns = {"actual": happened.reached, **paths}
    return pd.DataFrame({k: v.sum(axis=0) for k, v in columns.items()}, index=weeks)
