"""Judging predicted classes that have an order, and their probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError
from crmml.metrics.classification import Measure, compare_predictions, weighted_mean


def macro_f1(
    outcome: npt.ArrayLike, probabilities: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Mean over the classes of the F1 score of the most probable class.

    Classes that neither happened nor were predicted are left out of the mean.

    Parameters
    ----------
    outcome : array-like of int, shape (n,)
        Position of the class that happened.
    probabilities : array-like, shape (n, n_classes)
        Rows sum to 1; ties go to the first class.
    weights : ndarray, shape (n_boot, n), optional
        Replicate weights.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        Between 0 and 1.
    """
    table, plain = _confusion(outcome, probabilities, weights)
    hits = np.einsum("bkk->bk", table)
    size = table.sum(axis=1) + table.sum(axis=2)
    f1 = 2 * hits / np.where(size > 0, size, 1.0)
    return _result(f1.sum(axis=1) / (size > 0).sum(axis=1), plain)


def quadratic_kappa(
    outcome: npt.ArrayLike, probabilities: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Cohen's kappa of the most probable class with squared distances between the classes.

    Parameters
    ----------
    outcome, probabilities, weights
        As for :func:`macro_f1`.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        1 is full agreement, 0 is chance; NaN where only one class occurs.
    """
    table, plain = _confusion(outcome, probabilities, weights)
    position = np.arange(table.shape[1], dtype=np.float64)
    distance = (position[:, None] - position[None, :]) ** 2
    expected = np.einsum("bi,bj->bij", table.sum(axis=2), table.sum(axis=1))
    expected /= table.sum(axis=(1, 2))[:, None, None]
    by_chance = (expected * distance).sum(axis=(1, 2))
    seen = (table * distance).sum(axis=(1, 2))
    return _result(1 - seen / np.where(by_chance > 0, by_chance, np.nan), plain)


def multiclass_log_loss(
    outcome: npt.ArrayLike, probabilities: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Mean negative log-probability of the class that happened, in nats, clipped at 1e-15.

    Parameters
    ----------
    outcome, probabilities, weights
        As for :func:`macro_f1`.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        At least 0, lower is better.
    """
    y, p, w, plain = _prepare(outcome, probabilities, weights)
    loss = -np.log(np.clip(p[np.arange(len(y)), y], 1e-15, 1.0))
    return _result(weighted_mean(loss, w), plain)


def ranked_probability_score(
    outcome: npt.ArrayLike, probabilities: npt.ArrayLike, weights: FloatArray | None = None
) -> Any:
    """Mean squared distance of the cumulative probabilities from the cumulative outcome.

    Divided by the number of classes less one, so that it lies between 0 and 1; for two classes
    it is the Brier score.

    Parameters
    ----------
    outcome, probabilities, weights
        As for :func:`macro_f1`.

    Returns
    -------
    float or ndarray of shape (n_boot,)
        Between 0 (best) and 1.

    References
    ----------
    Epstein (1969), Journal of Applied Meteorology 8.
    """
    y, p, w, plain = _prepare(outcome, probabilities, weights)
    n_classes = p.shape[1]
    happened = (np.arange(n_classes)[None, :] >= y[:, None]).astype(np.float64)
    gap = ((np.cumsum(p, axis=1) - happened)[:, :-1] ** 2).sum(axis=1)
    return _result(weighted_mean(gap / max(n_classes - 1, 1), w), plain)


ORDINAL: Mapping[str, tuple[Measure, bool]] = {
    "macro_f1": (macro_f1, True),
    "quadratic_kappa": (quadratic_kappa, True),
    "log_loss": (multiclass_log_loss, False),
    "ranked_probability_score": (ranked_probability_score, False),
}
"""Measure and whether higher is better."""


def compare_ordinal(
    outcome: npt.ArrayLike,
    predictions: Mapping[str, npt.ArrayLike],
    *,
    reference: str,
    seed: int = 0,
    n_boot: int = 500,
    level: float = 0.95,
    groups: npt.ArrayLike | None = None,
) -> pd.DataFrame:
    """Judge models of ordered classes against a reference, with paired bootstrap intervals.

    Parameters
    ----------
    outcome : array-like of int, shape (n,)
        Position of the class that happened.
    predictions : mapping of str to array-like, shape (n, n_classes)
        Probabilities by model.
    reference, seed, n_boot, level, groups
        As for :func:`crmml.metrics.classification.compare_classifiers`.

    Returns
    -------
    DataFrame
        As from :func:`crmml.metrics.classification.compare_classifiers`.
    """
    return compare_predictions(
        outcome,
        predictions,
        ORDINAL,
        reference=reference,
        seed=seed,
        n_boot=n_boot,
        level=level,
        groups=groups,
    )


def _prepare(
    outcome: npt.ArrayLike, probabilities: npt.ArrayLike, weights: FloatArray | None
) -> tuple[Any, FloatArray, FloatArray, bool]:
    y = np.asarray(outcome).astype(np.int64)
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or len(p) != len(y) or not len(y):
        raise ParameterError(
            "probabilities", "a matrix with one row per outcome", (y.shape, p.shape)
        )
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise ParameterError(
            "outcome", f"a class position below {p.shape[1]}", (int(y.min()), int(y.max()))
        )
    if not np.allclose(p.sum(axis=1), 1.0, atol=1e-6) or (p < 0).any():
        raise ParameterError("probabilities", "at least 0 and of sum 1 in each row", "other rows")
    return y, p, np.ones((1, len(y))) if weights is None else weights, weights is None


def _confusion(
    outcome: npt.ArrayLike, probabilities: npt.ArrayLike, weights: FloatArray | None
) -> tuple[FloatArray, bool]:
    """Weighted counts (n_boot, happened, predicted)."""
    y, p, w, plain = _prepare(outcome, probabilities, weights)
    n_classes = p.shape[1]
    cell = np.zeros((len(y), n_classes**2))
    cell[np.arange(len(y)), y * n_classes + p.argmax(axis=1)] = 1.0
    return (w @ cell).reshape(len(w), n_classes, n_classes), plain


def _result(values: FloatArray, plain: bool) -> Any:
    return float(values[0]) if plain else values
