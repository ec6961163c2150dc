"""How well a score separates those who leave from those who stay, with paired bootstrap intervals.

Each measure takes an optional matrix of replicate weights, so that a whole bootstrap is one
vectorised call; with no weights it is the plain measure (equal to scikit-learn's, see the tests).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError, TooLittleDataError

Measure: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
"""``measure(outcome (n,), prediction (n, ...), weights (n_boot, n)) -> (n_boot,)``."""

_CELLS_AT_ONCE = 4_000_000


def auc(outcome: npt.ArrayLike, score: npt.ArrayLike, weights: FloatArray | None = None) -> Any:
    """Area under the ROC curve: P(a leaver scores above a stayer), ties count one half.

    Parameters
    ----------
    outcome : array-like of {0, 1}, shape (n,)
        1 where the event happened.
    score : array-like, shape (n,)
        Higher means more likely; any scale.
    weights : ndarray, shape (n_boot, n), optional
        Replicate weights.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        Between 0 and 1; NaN for a replicate with one class only.

    Examples
    --------
    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y, s, w, plain = _prepare(outcome, score, weights)
    _, positive, negative = _by_distinct_score(y, s, w)
    below = np.cumsum(negative, axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return _result(np.sum(positive * (below + 0.5 * negative), axis=1) / _nan_if_0(pairs), plain)


def average_precision(
    outcome: npt.ArrayLike, score: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Average precision: the precision at each distinct score, weighted by the gain in recall.

    Parameters
    ----------
    outcome, score, weights
        As for :func:`auc`.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        Between the share of events (no skill) and 1.
    """
    y, s, w, plain = _prepare(outcome, score, weights)
    _, positive, negative = _by_distinct_score(y, -s, w)
    hits = np.cumsum(positive, axis=1)
    taken = hits + np.cumsum(negative, axis=1)
    precision = hits / np.where(taken > 0, taken, 1.0)
    return _result(np.sum(positive * precision, axis=1) / _nan_if_0(hits[:, -1]), plain)


def top_decile_lift(
    outcome: npt.ArrayLike,
    score: npt.ArrayLike,
    weights: FloatArray | None = None,
    *,
    share: float = 0.1,
) -> Any:
    """Rate of the event among the highest scores, divided by the overall rate.

    Customers who tie at the border count by the fraction of them that fits, so the value does
    not depend on the order of the rows.

    Parameters
    ----------
    outcome, score, weights
        As for :func:`auc`.
    share : float
        Share of customers taken, in (0, 1].

    Returns
    -------
    float or ndarray of shape (n_boot,)
        1 is no skill; at most ``1 / max(share, overall rate)``.

    References
    ----------
    Neslin et al. (2006), Journal of Marketing Research 43(2).
    """
    if not 0 < share <= 1:
        raise ParameterError("share", "in (0, 1]", share)
    y, s, w, plain = _prepare(outcome, score, weights)
    total, positive, _ = _by_distinct_score(y, -s, w)
    taken, hits = np.cumsum(total, axis=1), np.cumsum(positive, axis=1)
    target = share * taken[:, -1:]
    border = np.minimum((taken < target).sum(axis=1), taken.shape[1] - 1)
    row = np.arange(len(w))
    before = hits[row, border] - positive[row, border]
    room = target[:, 0] - (taken[row, border] - total[row, border])
    found = before + positive[row, border] * room / _nan_if_0(total[row, border])
    return _result(found / target[:, 0] / _nan_if_0(hits[:, -1] / taken[:, -1]), plain)


def brier_score(
    outcome: npt.ArrayLike, probability: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Mean squared difference of probability and outcome.

    Parameters
    ----------
    outcome, weights
        As for :func:`auc`.
    probability : array-like, shape (n,)
        Between 0 and 1.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        Between 0 (best) and 1.
    """
    y, p, w, plain = _prepare(outcome, probability, weights)
    return _result(weighted_mean((p - y) ** 2, w), plain)


def log_loss(
    outcome: npt.ArrayLike, probability: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Mean negative log-likelihood of the outcome, in nats; probabilities are clipped at 1e-15.

    Parameters
    ----------
    outcome, weights
        As for :func:`auc`.
    probability : array-like, shape (n,)
        Between 0 and 1.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        At least 0, lower is better.
    """
    y, p, w, plain = _prepare(outcome, probability, weights)
    p = np.clip(p, 1e-15, 1 - 1e-15)
    return _result(weighted_mean(-y * np.log(p) - (1 - y) * np.log1p(-p), w), plain)


CLASSIFICATION: Mapping[str, tuple[Measure, bool]] = {
    "auc": (auc, True),
    "average_precision": (average_precision, True),
    "top_decile_lift": (top_decile_lift, True),
    "brier": (brier_score, False),
    "log_loss": (log_loss, False),
}
"""Measure and whether higher is better."""


def compare_classifiers(
    outcome: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    *,
    reference: str,
    seed: int = 0,
    n_boot: int = 500,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Judge several models on the same customers, each against a reference, with intervals.

    Parameters
    ----------
    outcome : array-like of {0, 1}, shape (n,)
        1 where the event happened.
    predictions : mapping of str to array-like, shape (n,)
        Probabilities by model name.
    reference : str
        Name of the model against which differences are taken.
    seed, n_boot, level
        Of the paired percentile bootstrap; all models see the same replicates.
    groups : array-like, shape (n,), optional
        Ids of units that are drawn together (several rows per customer).

    Returns
    -------
    DataFrame
        One row per model and measure: ``model, metric, value, low, high, difference,
        difference_low, difference_high, higher_is_better``. A difference is model less reference.

    Raises
    ------
    TooLittleDataError
        If the outcome has one class only.
    """
    y = np.asarray(outcome, dtype=np.float64)
    if len(np.unique(y)) < 2:
        raise TooLittleDataError(
            f"a classifier is judged on both outcomes, but all {len(y):,} customers have "
            f"{'the same one' if len(y) else 'none'}"
        )
    return compare_predictions(
        y,
        predictions,
        CLASSIFICATION,
        reference=reference,
        seed=seed,
        n_boot=n_boot,
        level=level,
        groups=groups,
    )


def compare_predictions(
    outcome: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    measures: Mapping[str, tuple[Measure, bool]],
    *,
    reference: str,
    seed: int = 0,
    n_boot: int = 500,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Judge predictions by any measures that take replicate weights; see `compare_classifiers`.

    Parameters
    ----------
    outcome : array-like, shape (n,)
        What happened, as a number (a class is its position).
    predictions : mapping of str to array-like, shape (n,) or (n, n_classes)
        What each model said.
    measures : mapping of str to (measure, higher is better)
        For example ``CLASSIFICATION``.
    reference, seed, n_boot, level, groups
        As for :func:`compare_classifiers`.

    Returns
    -------
    DataFrame
        As from :func:`compare_classifiers`.
    """
    if reference not in predictions:
        raise ParameterError("reference", f"one of {sorted(predictions)}", reference)
    y = np.asarray(outcome, dtype=np.float64)
    said = {name: np.asarray(p, dtype=np.float64) for name, p in predictions.items()}
    keys = [(model, metric) for model in said for metric in measures]
    whole = np.ones((1, len(y)))
    value = {(m, k): float(measures[k][0](y, said[m], whole)[0]) for m, k in keys}
    parts: dict[tuple[str, str], list[FloatArray]] = {key: [] for key in keys}
    for weights in bootstrap_weights(len(y), n_boot=n_boot, seed=seed, groups=groups):
        for model, metric in keys:
            parts[model, metric].append(measures[metric][0](y, said[model], weights))
    draws = {key: np.concatenate(found) for key, found in parts.items()}
    tails = [(1 - level) / 2, (1 + level) / 2]
    rows = []
    for model, metric in keys:
        low, high = _quantiles(draws[model, metric], tails)
        paired = draws[model, metric] - draws[reference, metric]
        paired_low, paired_high = _quantiles(paired, tails)
        rows.append(
            {
                "model": model,
                "metric": metric,
                "value": value[model, metric],
                "low": low,
                "high": high,
                "difference": value[model, metric] - value[reference, metric],
                "difference_low": paired_low,
                "difference_high": paired_high,
                "higher_is_better": measures[metric][1],
            }
        )
    return pd.DataFrame(rows)


def bootstrap_weights(
    n: int, *, n_boot: int, seed: int, groups: npt.ArrayLike | None = None
) -> Iterator[FloatArray]:
    """Yield blocks of bootstrap counts, shape (block, n), ``n_boot`` rows in all.

    Parameters
    ----------
    n : int
        Number of rows.
    n_boot, seed
        How many replicates, and their seed.
    groups : array-like, shape (n,), optional
        Rows of one group are drawn together.
    """
    rng = np.random.default_rng(seed)
    inverse = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n_units = n if inverse is None else int(inverse.max()) + 1
    block = max(1, _CELLS_AT_ONCE // max(n, 1))
    for start in range(0, n_boot, block):
        counts = np.stack(
            [
                np.bincount(rng.integers(0, n_units, n_units), minlength=n_units)
                for _ in range(min(block, n_boot - start))
            ]
        ).astype(np.float64)
        yield counts if inverse is None else counts[:, inverse]


def weighted_mean(loss: FloatArray, weights: FloatArray) -> FloatArray:
    """Mean of a loss (n,) under each row of weights (n_boot, n), shape (n_boot,)."""
    mean: FloatArray = weights @ loss / weights.sum(axis=1)
    return mean


def _quantiles(draws: FloatArray, levels: list[float]) -> list[float]:
    """Quantiles over the replicates in which the measure exists; NaN where it never does."""
    defined = draws[np.isfinite(draws)]
    return np.quantile(defined, levels).tolist() if len(defined) else [np.nan] * len(levels)


def _prepare(
    outcome: npt.ArrayLike, score: npt.ArrayLike, weights: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray, bool]:
    y, s = np.asarray(outcome, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if y.shape != s.shape or y.ndim != 1 or not len(y):
        raise ParameterError(
            "outcome and score", "two vectors of one length > 0", (y.shape, s.shape)
        )
    if not np.isfinite(s).all():
        raise ParameterError("score", "finite", f"{int((~np.isfinite(s)).sum())} others")
    return y, s, np.ones((1, len(y))) if weights is None else weights, weights is None


def _by_distinct_score(
    y: FloatArray, s: FloatArray, w: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights of all, of events and of non-events per distinct score, ascending."""
    order = np.argsort(s, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(s[order]) > 0])
    sorted_weights = w[:, order]
    total = np.add.reduceat(sorted_weights, starts, axis=1)
    positive = np.add.reduceat(sorted_weights * y[order], starts, axis=1)
    return total, positive, total - positive


def _nan_if_0(values: FloatArray) -> FloatArray:
    return np.where(values == 0, np.nan, values)


def _result(values: FloatArray, plain: bool) -> Any:
    return float(values[0]) if plain else values
