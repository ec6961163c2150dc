"""Judgement of predicted classes that have an order, and of their probabilities.

All statistics take ``weight`` of shape (..., n) and return shape (...); without it every customer
counts once, and the values are those of scikit-learn where it has them. See
:mod:`crmml.metrics.bootstrap`.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import Statistic, weighted_mean


def accuracy(
    actual: IntArray, probabilities: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Share of customers whose most probable class is the one that happened.

    Parameters
    ----------
    actual : ndarray of int, shape (n,)
        Position of the class that happened.
    probabilities : ndarray, shape (n, n_classes)
        Ties go to the first class.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return weighted_mean((probabilities.argmax(axis=1) == actual).astype(np.float64), weight)


def macro_f1(
    actual: IntArray, probabilities: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean over the classes of the F1 score of the most probable class, between 0 and 1.

    Classes that neither happened nor were predicted are left out of the mean.

    Parameters
    ----------
    actual : ndarray of int, shape (n,)
    probabilities : ndarray, shape (n, n_classes)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    table = _confusion(actual, probabilities, weight)
    hits = np.einsum("...kk->...k", table)
    size = table.sum(axis=-1) + table.sum(axis=-2)
    f1 = 2 * hits / np.where(size > 0, size, 1.0)
    return np.asarray(f1.sum(axis=-1) / (size > 0).sum(axis=-1))


def quadratic_kappa(
    actual: IntArray, probabilities: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Cohen's kappa of the most probable class, with squared distances between the classes.

    Parameters
    ----------
    actual : ndarray of int, shape (n,)
    probabilities : ndarray, shape (n, n_classes)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        1 is full agreement, 0 is chance, and 0 where only one class occurs: nothing beyond chance
        can be shown then.
    """
    table = _confusion(actual, probabilities, weight)
    position = np.arange(table.shape[-1], dtype=np.float64)
    distance = (position[:, None] - position[None, :]) ** 2
    chance = np.einsum("...i,...j->...ij", table.sum(axis=-1), table.sum(axis=-2))
    seen = (table * distance).sum(axis=(-1, -2)) * table.sum(axis=(-1, -2))
    by_chance = (chance * distance).sum(axis=(-1, -2))
    return np.where(by_chance > 0, 1 - seen / np.where(by_chance > 0, by_chance, 1.0), 0.0)


def log_loss(
    actual: IntArray, probabilities: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean negative log-probability of the class that happened, in nats; lower is better.

    Parameters
    ----------
    actual : ndarray of int, shape (n,)
    probabilities : ndarray, shape (n, n_classes)
        Clipped at 1e-15.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    happened = probabilities[np.arange(len(actual)), actual]
    return weighted_mean(-np.log(np.clip(happened, 1e-15, 1.0)), weight)


def ranked_probability_score(
    actual: IntArray, probabilities: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean squared distance of the cumulative probabilities from the cumulative outcome.

    Divided by the number of classes less one, so that it lies between 0 (best) and 1; for two
    classes it is the Brier score.

    Parameters
    ----------
    actual : ndarray of int, shape (n,)
    probabilities : ndarray, shape (n, n_classes)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)

    References
    ----------
    Epstein (1969), Journal of Applied Meteorology 8.
    """
    n_classes = probabilities.shape[1]
    happened = (np.arange(n_classes)[None, :] >= actual[:, None]).astype(np.float64)
    gap = ((np.cumsum(probabilities, axis=1) - happened)[:, :-1] ** 2).sum(axis=1)
    return weighted_mean(gap / max(n_classes - 1, 1), weight)


def statistics(actual: IntArray, probabilities: FloatArray) -> dict[str, Statistic]:
    """Statistics of one candidate, for :func:`crmml.metrics.bootstrap.compare`.

    Parameters
    ----------
    actual : ndarray of int, shape (n,)
        Position of the class that happened.
    probabilities : ndarray, shape (n, n_classes)
        Rows add up to 1.

    Returns
    -------
    dict of str to Statistic
        ``accuracy, macro_f1, quadratic_kappa, log_loss, ranked_probability_score``.

    Raises
    ------
    ParameterError
        If shapes, classes or probabilities do not fit.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(actual) or not len(actual):
        raise ParameterError(
            "probabilities",
            "a matrix with one row per outcome",
            (actual.shape, probabilities.shape),
        )
    if actual.min() < 0 or actual.max() >= probabilities.shape[1]:
        raise ParameterError(
            "actual", f"a class position below {probabilities.shape[1]}", int(actual.max())
        )
    if (probabilities < 0).any() or not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-6):
        raise ParameterError("probabilities", "at least 0 and of sum 1 in each row", "other rows")
    measures = {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "quadratic_kappa": quadratic_kappa,
        "log_loss": log_loss,
        "ranked_probability_score": ranked_probability_score,
    }
    return {name: partial(measure, actual, probabilities) for name, measure in measures.items()}


def _confusion(
    actual: IntArray, probabilities: FloatArray, weight: FloatArray | None
) -> FloatArray:
    """Weighted counts (..., happened, predicted)."""
    n, n_classes = probabilities.shape
    cells = actual * n_classes + probabilities.argmax(axis=1)
    w = np.ones(n) if weight is None else weight
    counts = np.stack([np.bincount(cells, row, n_classes**2) for row in w.reshape(-1, n)])
    return np.asarray(counts, np.float64).reshape(*w.shape[:-1], n_classes, n_classes)
