"""Control charts: which periods differ from a baseline by more than chance, and since when.

A chart takes its centre and its limits from a baseline period and watches what comes after.
Many charts with many points raise false alarms even where nothing changed, so the chance of a
false alarm is set for all of them together, and the limits and the lengths of runs follow.

Sources: Shewhart (1931); Montgomery, *Introduction to Statistical Quality Control* (2019), for the
charts and the run rules; Laney (2002), *Improved control charts for attributes*, for shares and
rates that vary more than chance alone; Roberts (1959) for the moving average.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import ceil, lgamma, log, log2
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from scipy.stats import binom, poisson, t

from crmml._typing import FloatArray
from crmml.card import Card, Result
from crmml.exceptions import ParameterError, TooLittleDataError

Kind: TypeAlias = Literal["share", "rate", "individuals", "ewma"]
"""p chart, u chart, individuals with moving range, exponentially weighted moving average."""

LEAST_BASELINE = 8
"""Periods that a baseline needs: with fewer the limits are mostly doubt."""

_RULES = 3
"""A point beyond the limits, a run on one side of the centre, a run up or down."""

_D2 = 1.128
"""Mean of the range of two normal values, in standard deviations (Montgomery, appendix VI)."""

_WEIGHT = 0.2
"""Of the newest value in the moving average (Montgomery, section 9.2: .05 to .25)."""

_FEW = 10.0
"""Expected events below which a share or rate is far from normal."""


@dataclass(frozen=True)
class Step:
    """A lasting change of level.

    Attributes
    ----------
    at : object
        The first period of the new level.
    before, after : float
        Levels.
    lower, upper : float
        95 % interval of the change, as if its moment were known.
    """

    at: Any
    before: float
    after: float
    lower: float
    upper: float


@dataclass(frozen=True, repr=False)
class ControlChart(Result):
    """One figure over time, with its limits and signals.

    Attributes
    ----------
    name : str
        What is charted.
    kind : str
        See :data:`Kind`.
    table : DataFrame
        Index: the periods. ``value``, ``centre``, ``lower``, ``upper``, ``baseline`` (whether the
        limits come from it) and ``signal`` (the rule that is broken, or empty).
    step : Step or None
        A lasting change of level after the baseline, where it is beyond chance.
    spread : float
        Factor by which values vary more than chance alone (Laney), >= 1; 1 for other kinds.
    false_alarm : float
        Chance of any false signal, over all points of all charts of the family.
    """

    name: str
    kind: Kind
    table: pd.DataFrame
    step: Step | None
    spread: float
    false_alarm: float

    @property
    def signals(self) -> pd.DataFrame:
        """The periods with a signal."""
        return self.table[self.table["signal"] != ""]

    def to_pandas(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()

    def sentence(self) -> str:
        """Say in words what the chart shows."""
        if self.step is not None:
            went = "rose" if self.step.after > self.step.before else "fell"
            write = _share if self.kind == "share" else _number
            return (
                f"{self.name} {went} from {write(self.step.before)} to {write(self.step.after)} "
                f"in {_period(self.step.at)} and stayed there"
            )
        if len(self.signals):
            first = self.signals.index[0]
            rule = self.signals["signal"].iloc[0]
            return f"{self.name} left its usual range in {_period(first)} ({rule})"
        return f"{self.name} did not change beyond chance"

    def _card(self) -> Card:
        watched = self.table[~self.table["baseline"]]
        rows = (
            ("says", self.sentence()),
            ("baseline", f"{int(self.table['baseline'].sum())} periods give centre and limits"),
            ("watched", f"{len(watched)} periods, {len(self.signals)} with a signal"),
            ("false alarms", f"any at all in {self.false_alarm:.0%} of quiet families of charts"),
        )
        return Card(f"Control chart of {self.name} ({self.kind})", rows)


def control_chart(
    values: pd.Series[float],
    sizes: pd.Series[float] | None = None,
    *,
    kind: Kind = "individuals",
    baseline: int | None = None,
    name: str = "",
    false_alarm: float = 0.05,
    charts: int = 1,
) -> ControlChart:
    """Chart one figure.

    Parameters
    ----------
    values : Series
        By period, in order: a share (0 to 1), a rate of events per unit, or any number. Missing
        values are left out.
    sizes : Series, optional
        Customers behind each share, or units behind each rate, > 0; needed for both.
    kind : {"share", "rate", "individuals", "ewma"}
        p chart, u chart, individuals, or moving average, which sees small lasting changes sooner.
    baseline : int, optional
        Periods at the start that give centre and limits, at least 8; default: the first half, or
        8 if that is more.
    name : str
        What is charted, for the sentence.
    false_alarm : float
        Chance of any signal at all where nothing changed, over all points of all charts; 0 to 1.
    charts : int
        How many charts are looked at together, >= 1.

    Returns
    -------
    ControlChart

    Raises
    ------
    TooLittleDataError
        If there are fewer than nine periods.
    ParameterError
        If a setting is out of range, or sizes are missing or not positive.

    Notes
    -----
    Limits are those of one new value, so they carry the doubt about the baseline itself
    (Student's t with .62 (n - 1) degrees of freedom for a standard deviation from moving ranges).

    Examples
    --------
    >>> quiet = pd.Series([5.0, 5.2, 4.9, 5.1, 4.8, 5.0, 5.1, 4.9, 5.0, 7.5], range(10))
    >>> chart = control_chart(quiet, baseline=8, name="visits")
    >>> chart.sentence()
    'visits left its usual range in 9 (beyond the limits)'
    """
    _check(kind, false_alarm, charts)
    known = values.dropna().astype(float)
    size = None if sizes is None else sizes.reindex(known.index).astype(float)
    if kind in ("share", "rate") and (size is None or not (size > 0).all()):
        raise ParameterError("sizes", "> 0 for each period of a share or rate", sizes)
    first = _baseline(len(known), baseline)
    watched = len(known) - first
    alpha = 1.0 - (1.0 - false_alarm) ** (1.0 / (charts * watched * (_RULES + 1)))
    x: FloatArray = np.asarray(known, dtype=np.float64)
    behind = None if size is None else np.asarray(size, dtype=np.float64)
    centre, sigma, spread, df = _level(x[:first], behind, kind, first)
    width = float(t.isf(alpha / 2, df)) * np.sqrt(1.0 + 1.0 / first)
    shown, sd = x, sigma
    if kind == "ewma":
        shown, sd = _moving_average(x, centre, sigma, first)
        width = float(t.isf(alpha / 2, df))
    lower, upper = _limits(centre, sd, width, kind, spread, behind, alpha)
    signals = _signals(shown, centre, lower, upper, first, alpha, runs=kind != "ewma")
    table = pd.DataFrame(
        {"value": shown, "centre": centre, "lower": lower, "upper": upper,
         "baseline": np.arange(len(x)) < first, "signal": signals},
        index=known.index,
    )  # fmt: skip
    step = _step(x, behind, first, alpha, [*known.index])
    return ControlChart(name, kind, table, step, spread, false_alarm)


def _check(kind: str, false_alarm: float, charts: int) -> None:
    if kind not in get_args(Kind):
        raise ParameterError("kind", f"one of {get_args(Kind)}", kind)
    if not 0.0 < false_alarm < 1.0:
        raise ParameterError("false_alarm", "between 0 and 1", false_alarm)
    if charts < 1:
        raise ParameterError("charts", "at least 1", charts)


def _baseline(periods: int, asked: int | None) -> int:
    if periods <= LEAST_BASELINE:
        raise TooLittleDataError(
            f"a control chart needs more than {LEAST_BASELINE} periods with a value, to learn what "
            f"is usual and to watch the rest; there are {periods}"
        )
    first = max(LEAST_BASELINE, periods // 2) if asked is None else asked
    if not LEAST_BASELINE <= first < periods:
        raise ParameterError("baseline", f"{LEAST_BASELINE} to {periods - 1} periods", asked)
    return first


def _level(
    x: FloatArray, sizes: FloatArray | None, kind: Kind, first: int
) -> tuple[float, FloatArray | float, float, float]:
    """Return centre, standard deviation of one value, Laney's factor and degrees of freedom."""
    df = 0.62 * (first - 1)
    if kind not in ("share", "rate") or sizes is None:
        return float(x.mean()), max(_moving_range(x), 1e-12 * max(1.0, abs(x.mean()))), 1.0, df
    n = sizes[:first]
    centre = float(np.sum(x * n) / n.sum())
    chance = centre * (1.0 - centre) if kind == "share" else centre
    alone = np.sqrt(max(chance, 1e-12) / sizes)
    # Laney: the moving range of the z-scores says how much more than chance the values vary
    spread = max(1.0, _moving_range((x - centre) / alone[:first]))
    return centre, spread * alone, spread, df if spread > 1.0 else 1e6


def _moving_range(x: FloatArray) -> float:
    return float(np.abs(np.diff(x)).mean()) / _D2


def _moving_average(
    x: FloatArray, centre: float, sigma: FloatArray | float, first: int
) -> tuple[FloatArray, FloatArray]:
    """Return the average and its standard deviation; it begins at the centre of the baseline."""
    shown, last = np.empty(len(x)), centre
    for k, value in enumerate(x):
        if k == first:
            last = centre  # what is watched starts afresh, from what is usual
        last = _WEIGHT * value + (1.0 - _WEIGHT) * last
        shown[k] = last
    steps = np.where(
        np.arange(len(x)) < first, np.arange(len(x)) + 1, np.arange(len(x)) - first + 1
    )
    share = _WEIGHT / (2.0 - _WEIGHT) * (1.0 - (1.0 - _WEIGHT) ** (2 * steps))
    # the doubt about the centre does not average out, unlike the noise
    return shown, np.asarray(sigma) * np.sqrt(share + 1.0 / first)


def _limits(
    centre: float, sigma: FloatArray | float, width: float, kind: Kind, spread: float,
    sizes: FloatArray | None, alpha: float,
) -> tuple[FloatArray | float, FloatArray | float]:  # fmt: skip
    lower, upper = centre - width * np.asarray(sigma), centre + width * np.asarray(sigma)
    if kind in ("share", "rate") and sizes is not None:
        few = (centre * sizes < _FEW) & (spread == 1.0)
        shares = kind == "share"
        distribution = (
            binom(np.round(sizes).astype(int), min(centre, 1.0))
            if shares
            else poisson(centre * sizes)
        )
        # of few events the exact quantiles: a normal limit would cry wolf on one event too many
        lower = np.where(few, (distribution.ppf(alpha / 2) - 0.5) / sizes, lower)
        upper = np.where(few, (distribution.isf(alpha / 2) + 0.5) / sizes, upper)
        lower = np.maximum(lower, 0.0)
        upper = np.minimum(upper, 1.0) if kind == "share" else upper
    return lower, upper


def _signals(
    x: FloatArray, centre: float, lower: Any, upper: Any, first: int, alpha: float, runs: bool
) -> list[str]:
    """Name the rule that each watched period breaks; the baseline is not judged by itself.

    Neighbours of a moving average are alike by construction, so ``runs`` of it say nothing.
    """
    out = (x < lower) | (x > upper)
    side = ceil(1.0 - log2(alpha))  # 2 * (1/2)^L of a run of L on one side <= alpha
    trend = next(L for L in range(4, 200) if log(2.0) - lgamma(L + 1) <= log(alpha))
    on_side = _run_lengths(np.sign(x - centre), first)
    rising = _run_lengths(np.sign(np.diff(x, prepend=x[0])), first + 1) + 1
    said = []
    for k in range(len(x)):
        rule = ""
        if k >= first:
            if out[k]:
                rule = "beyond the limits"
            elif runs and on_side[k] >= side:
                rule = f"{side} periods on one side of the centre"
            elif runs and rising[k] >= trend:
                rule = f"{trend} periods in one direction"
        said.append(rule)
    return said


def _run_lengths(signs: FloatArray, first: int) -> FloatArray:
    """Return how many watched periods in a row, up to each, have the same sign."""
    lengths = np.zeros(len(signs))
    for k in range(first, len(signs)):
        same = k > first and signs[k] == signs[k - 1]
        lengths[k] = 0 if signs[k] == 0 else lengths[k - 1] + 1 if same else 1
    return lengths


def _step(
    x: FloatArray, sizes: FloatArray | None, first: int, alpha: float, periods: Sequence[Hashable]
) -> Step | None:
    """Date the one lasting change that the values after the baseline speak for most.

    At each possible moment the mean before is compared with the mean after by Student's t, whose
    noise is that within both parts; the moment of the greatest t is the likeliest (Hinkley, 1970).
    ``alpha`` is of one comparison, and there are as many as watched periods.
    """
    weights = np.ones(len(x)) if sizes is None else sizes / sizes.mean()
    found = [mean_difference(x, weights, k) for k in range(first, len(x))]
    best = int(np.argmax([abs(difference / error) for _, _, difference, error in found]))
    before, after, difference, error = found[best]
    df = len(x) - 2
    # one last period alone is no lasting change: the limits speak of it
    if best == len(found) - 1 or abs(difference / error) <= float(t.isf(alpha / 2, df)):
        return None
    half = float(t.ppf(0.975, df)) * error
    return Step(periods[first + best], before, after, difference - half, difference + half)


def mean_difference(
    x: FloatArray, weights: FloatArray, k: int
) -> tuple[float, float, float, float]:
    """Return the means before and from ``k`` on, their difference and its standard error."""
    early, late = weights[:k], weights[k:]
    before = float(np.average(x[:k], weights=early))
    after = float(np.average(x[k:], weights=late))
    level = np.where(np.arange(len(x)) < k, before, after)
    noise = float(np.sum(weights * (x - level) ** 2)) / (len(x) - 2)
    error = np.sqrt(noise * (1.0 / early.sum() + 1.0 / late.sum()))
    return before, after, after - before, max(float(error), 1e-300)


def _period(at: Any) -> str:
    return str(at.date()) if isinstance(at, pd.Timestamp) else str(at)


def _share(value: float) -> str:
    return f"{value:.1%}"


def _number(value: float) -> str:
    return f"{value:,.2f}"
