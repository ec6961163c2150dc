"""Level drift: the base rate of churn that the process, the seasons and the trend foresee.

A churn model is calibrated on the newest closed window and answers for the one after it. Trees do
not see beyond what they have learned from, and what moves all customers alike, a season or a trend,
moves no probability. So the level is forecast apart, by a regression on each window with the word
of a purchase process in it, and by how far such regressions were off so far.

How far they will be off next is the mean of a local level with drift (Harvey 1989) whose noise is
the binomial one of each window; the unknown variances are averaged over. It is used only where it
has helped on earlier windows. Log loss per customer saved on windows not used, beside that of the
exponentially weighted mean that stood here before: 2.2e-4 and 0.3e-4 on average over seven
simulated worlds without season (none, drift, walk, shocks; 300 and 3,000 customers), at worst
-1.7e-4 and -4.5e-4; CDNOW 0.9e-4 and 0 (6 weeks), 0 and 0 (8 and 13); Complete Journey 3.4e-4 and
4.5e-4 (4 weeks), 3.6e-4 and 2.0e-4 (6). On CDNOW with 13 weeks nothing of the lag that the
regression leaves can be foreseen: its windows were off down, up and up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from crmml._typing import Duration, FloatArray
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.features.windows import length_of
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.churn.history import find_candidates, sort_history
from crmml.models.churn.outside import posterior_mode
from crmml.models.forecast.baselines import labels
from crmml.stats.discounting import in_units

_DRIFT, _SHOCK, _CHECKS = 0.15, 0.2, 2
"""Standard deviation, in log-odds and before any window, of the drift from one window to the next,
and scale of what else moves the level; rolling checks that must be had."""
_STEPS, _SEASONS = (0.0, 0.05, 0.1, 0.2, 0.35), (0.0, 0.15, 0.3)
"""Standard deviations tried of a step that lasts, of one window alone, and of a season."""

_NEVER = 1e-9


@dataclass(frozen=True)
class LevelForecast:
    """By how much the log-odds of all customers are moved, and why.

    Attributes
    ----------
    surprises : tuple of float
        By how much the log-odds of churn of each window after the first were higher than a
        regression on the window before it predicted, oldest first.
    forecast : float
        What that suggests for the next window.
    saved : float
        Log loss per customer that such forecasts would have saved, over the windows that had at
        least one before them.
    checks : int
        Those windows.
    """

    surprises: tuple[float, ...] = ()
    forecast: float = 0.0
    saved: float = 0.0
    checks: int = 0

    @property
    def offset(self) -> float:
        """The forecast where such forecasts have helped on earlier windows, else 0."""
        return self.forecast if self.checks >= _CHECKS and self.saved > 0 else 0.0

    def __str__(self) -> str:
        """Say it in a sentence."""
        if self.checks < _CHECKS:
            return (
                f"no further drift is forecast, for which {_CHECKS + 2} windows in a row are "
                f"needed and {len(self.surprises) + 1} are known"
            )
        seen = ", ".join(f"{one:+.2f}" for one in self.surprises)
        does = f"{self.offset:+.2f} is" if self.offset else "none is"
        return (
            f"of the drift beyond it ({seen} so far) {does} carried on, as that would have changed "
            f"the log loss of earlier windows by {-self.saved:+.4f}"
        )


@dataclass(frozen=True)
class LevelHistory:
    """Windows in a row: what each says of the next, and what happened then.

    Attributes
    ----------
    cutoffs : tuple of Timestamp
        Of the windows, oldest first; none overlaps the one before.
    predicted, churned : tuple of ndarray
        Log-odds by the regression on the window before, and outcomes, of the candidates of each
        window but the first.
    newest : tuple of ndarray
        Columns and outcomes of the newest window.
    columns, candidates : callable
        Columns of a snapshot, and its candidates.
    year : int
        Days within which a cutoff a year earlier counts as the same season.
    """

    cutoffs: tuple[pd.Timestamp, ...]
    predicted: tuple[FloatArray, ...]
    churned: tuple[FloatArray, ...]
    newest: tuple[FloatArray, FloatArray]
    columns: Callable[[Snapshot], FloatArray]
    candidates: Callable[[Snapshot], Snapshot]
    year: int

    @classmethod
    def gather(
        cls,
        history: Sequence[LabelledSnapshot],
        no_purchase: Callable[[Snapshot], FloatArray],
        *,
        horizon: str | Duration,
        candidate_horizons: float,
    ) -> LevelHistory:
        """Let each window say what it can of the next.

        Parameters
        ----------
        history : sequence of LabelledSnapshot
            In any order; of windows that overlap the newest are taken.
        no_purchase : callable
            P(no purchase) of a purchase process for the customers of a snapshot: what it foresees
            of the level is no surprise.
        horizon, candidate_horizons
            See :class:`~crmml.models.churn.model.ChurnModel`.
        """

        def columns(some: Snapshot) -> FloatArray:
            return _columns(some, no_purchase(some), in_units(horizon, some.time_unit))

        def candidates(snapshot: Snapshot) -> Snapshot:
            return snapshot.subset(find_candidates(snapshot, horizon, candidate_horizons))

        chain, parts = in_a_row(history), []
        for part in chain:
            some = part.subset(find_candidates(part.snapshot, horizon, candidate_horizons))
            parts.append((columns(some.snapshot), labels(some)))
        return cls(
            cutoffs=tuple(part.window.cutoff for part in chain),
            predicted=tuple(_say(*old, new) for old, (new, _) in pairwise(parts)),
            churned=tuple(y for _, y in parts[1:]),
            newest=parts[-1],
            columns=columns,
            candidates=candidates,
            year=int(length_of(horizon).days / 4),
        )

    def ahead(self, snapshot: Snapshot) -> FloatArray:
        """Return the log-odds of the customers of a snapshot by the newest window."""
        return _say(*self.newest, self.columns(snapshot))

    def before(self, n: int) -> LevelHistory:
        """Return the history without its newest ``n`` windows."""
        keep = len(self.cutoffs) - n
        most = max(keep - 1, 0)
        return replace(
            self,
            cutoffs=self.cutoffs[:keep],
            predicted=self.predicted[:most],
            churned=self.churned[:most],
        )

    def forecast(self, cutoff: pd.Timestamp) -> LevelForecast:
        """Forecast the surprise of the window at a cutoff, and say whether such forecasts helped.

        Parameters
        ----------
        cutoff : Timestamp
            After all windows.
        """
        surprises = [_surprise(z, y) for z, y in zip(self.predicted, self.churned, strict=True)]
        noise = [1.0 / (1.0 + len(y) * y.mean() * (1.0 - y.mean())) for y in self.churned]
        noise = [*noise[:1], *noise]  # of the first window only what it says of the next is kept
        dates = [*self.cutoffs[1:], cutoff]
        saved, n = 0.0, 0
        for i in range(1, len(surprises)):
            offset = _expect(surprises[:i], noise[: i + 1], self._same_season(dates[: i + 1]))
            saved += _loss(self.predicted[i], self.churned[i]) - _loss(
                self.predicted[i] + offset, self.churned[i]
            )
            n += len(self.predicted[i])
        return LevelForecast(
            tuple(round(one, 9) for one in surprises),
            round(_expect(surprises, noise, self._same_season(dates)), 9),
            round(saved / max(n, 1), 9),
            max(len(surprises) - 1, 0),
        )

    def _same_season(self, dates: Sequence[pd.Timestamp]) -> FloatArray:
        """Return 1 for each two dates that are whole years apart, nearly, else 0."""
        days = np.array([(one - dates[0]).days for one in dates], dtype=np.float64)
        apart = np.abs(days[:, None] - days)
        years = np.round(apart / 365.25)
        return (np.abs(apart - years * 365.25) <= self.year).astype(np.float64)


def _expect(surprises: Sequence[float], noise: Sequence[float], same_season: FloatArray) -> float:
    """Return the mean of the next surprise given those so far, by a local level with drift.

    A surprise is the drift, a step that lasts, a season, and what is particular to its window less
    what was to the one before; ``noise`` holds the known variance of each window.
    """
    n = len(surprises)
    if not n:
        return 0.0
    seen, own = np.asarray(surprises), np.eye(n + 1)
    alone = own - np.eye(n + 1, k=-1)  # a window alone comes and goes
    known = np.diag([*noise[1:], noise[-1]])
    first = np.zeros((n + 1, n + 1))
    first[0, 0] = noise[0]
    total = weights = 0.0
    for step, shock, season in product(_STEPS, _STEPS, _SEASONS):
        each = known + shock**2 * own
        first_too = first + shock**2 * np.diag([1.0, *[0.0] * n])
        cov = _DRIFT**2 + step**2 * own + season**2 * same_season
        cov = cov + alone @ each @ alone.T + first_too
        solved = np.linalg.solve(cov[:n, :n], seen)
        fits = -0.5 * seen @ solved - 0.5 * np.linalg.slogdet(cov[:n, :n])[1]
        unlikely = (step**2 + shock**2 + season**2) / (2 * _SHOCK**2)
        weight = float(np.exp(fits - unlikely))
        total, weights = total + weight * float(cov[n, :n] @ solved), weights + weight
    return total / weights


def in_a_row(history: Sequence[LabelledSnapshot]) -> list[LabelledSnapshot]:
    """Return the windows that do not overlap, taken from the newest back, oldest first."""
    chain: list[LabelledSnapshot] = []
    for part in reversed(sort_history(history)):
        if not chain or part.window.closes <= chain[-1].window.cutoff:
            chain.append(part)
    return chain[::-1]


@dataclass(frozen=True)
class LevelChoice:
    """Whether all probabilities of a churn model are moved to a level that was forecast, and why.

    Attributes
    ----------
    drift : LevelForecast
        Of the window that is served.
    predicted, moved, happened : float
        Mean probability of the model in the newest closed window, that after it was moved to the
        level foreseen for that window, and the share that churned.
    saved : float
        Log loss per customer that moving saved there.
    offset : float
        By how much the model that is served is moved in log-odds; 0 unless moving helped.
    """

    drift: LevelForecast
    predicted: float
    moved: float
    happened: float
    saved: float
    offset: float

    def __str__(self) -> str:
        """Say it in a sentence."""
        does = (
            f"all are moved by {self.offset:+.2f} in log-odds" if self.offset else "none is moved"
        )
        return (
            f"in the newest window the mean probability was {self.predicted:.1%}, moved to the "
            f"level foreseen {self.moved:.1%}, and {self.happened:.1%} happened: {does}; "
            f"{self.drift}"
        )


def settle_level(
    levels: LevelHistory,
    before: Any,
    model: Any,
    test: LabelledSnapshot,
    snapshot: Snapshot | None,
) -> LevelChoice:
    """Move a churn model to the level that is forecast, if that helped in the newest window.

    Parameters
    ----------
    levels : LevelHistory
        Its newest window is ``test``.
    before, model : churn predictor
        Fitted on what was known before the newest window, and on all windows; only the latter is
        moved.
    test : LabelledSnapshot
        The newest window.
    snapshot : Snapshot, optional
        What is served next; without it there is nothing to move to.
    """
    some = levels.candidates(test.snapshot)
    z = _log_odds(before.churn_probability(some).to_numpy(dtype=np.float64))
    y = levels.churned[-1]
    back = levels.before(1).forecast(test.window.cutoff)
    moved = z + _shift(z, float(expit(levels.predicted[-1] + back.offset).mean()))
    saved = (_loss(z, y) - _loss(moved, y)) / max(len(y), 1)
    offset, drift = 0.0, levels.forecast(test.window.closes)
    if snapshot is not None and saved > 0:
        some = levels.candidates(snapshot)
        now = _log_odds(model.churn_probability(some).to_numpy(dtype=np.float64))
        offset = round(_shift(now, float(expit(levels.ahead(some) + drift.offset).mean())), 9)
        _move(model, offset)
    predicted, after = (float(expit(at).mean()) for at in (z, moved))
    return LevelChoice(drift, predicted, after, float(y.mean()), saved, offset)


def _move(model: Any, offset: float) -> None:
    curve = MonotoneCalibration.from_dict(model.calibration_)
    moved = expit(_log_odds(np.array(curve.probabilities)) + offset)
    model.calibration_ = MonotoneCalibration(curve.scores, tuple(moved.tolist())).to_dict()


def _log_odds(p: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(p, _NEVER, 1.0 - _NEVER)))


def _columns(snapshot: Snapshot, no_purchase: FloatArray, length: float) -> FloatArray:
    """Return what tells customers apart: the process, and how often, how long ago, since when."""
    frame = snapshot.frame
    often = frame["frequency"].to_numpy(dtype=np.float64)
    known = frame["T"].to_numpy(dtype=np.float64) / length
    last = frame["recency"].to_numpy(dtype=np.float64) / length
    silent = np.log(known - last + 0.1)
    own = np.log((last + 1.0) / (often + 1.0))
    return np.column_stack(
        [
            _log_odds(no_purchase),
            np.log1p(often),
            silent,
            silent**2,
            silent - own,
            np.log(known + 0.1),
        ]
    )


def _say(X: FloatArray, y: FloatArray, later: FloatArray) -> FloatArray:
    """Return the log-odds of a later window by a regression on this one, each column scaled."""
    if not len(y) or not len(later):
        return np.zeros(len(later))
    centre, spread = X.mean(axis=0), X.std(axis=0) + 1e-6
    ones = np.ones((len(y), 1))
    found = posterior_mode(
        np.hstack([ones, (X - centre) / spread]),
        y,
        np.zeros(X.shape[1] + 1),
        np.r_[5.0, np.full(X.shape[1], 2.0)],
    )
    return np.asarray(found[0] + (later - centre) / spread @ found[1:])


def _surprise(z: FloatArray, y: FloatArray) -> float:
    """Return the shift of log-odds after which they say what happened, half a case on each side."""
    return _shift(z, float((y.sum() + 0.5) / (len(y) + 1.0)))


def _shift(z: FloatArray, aim: float) -> float:
    """Return the shift of log-odds after which their probabilities have a mean."""
    low, high = -20.0, 20.0
    for _ in range(40 if len(z) else 0):
        middle = (low + high) / 2.0
        low, high = (middle, high) if expit(z + middle).mean() < aim else (low, middle)
    return (low + high) / 2.0


def _loss(z: FloatArray, y: FloatArray) -> float:
    return float((np.logaddexp(0.0, z) - y * z).sum())
