"""Judgement of a probability that something happens, such as churn.

All statistics take ``weight`` of shape (..., n) and return shape (...); without it every customer
counts once, and the values are those of scikit-learn. See :mod:`crmml.metrics.bootstrap`. The lift
of the top decile is :func:`crmml.metrics.ranking.top_share_lift`.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics.bootstrap import Statistic
from crmml.metrics.ranking import top_share_lift

HIGHER_IS_BETTER = {
    "auc": True,
    "average_precision": True,
    "top_decile_lift": True,
    "brier": False,
    "log_loss": False,
}
"""The metrics of :func:`statistics`, and in which direction each improves."""


def auc(actual: FloatArray, score: FloatArray, weight: FloatArray | None = None) -> FloatArray:
    """Area under the ROC curve: P(an event scores above a non-event), ties count one half.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    score : ndarray, shape (n,)
        Higher means more likely, on any scale.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        Between 0 and 1; NaN if only one class has weight.

    Examples
    --------
    >>> float(auc(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])))
    0.75
    """
    rows, starts = _ascending(score)
    event, other = _tied(actual, rows, starts, weight)
    below = np.cumsum(other, axis=-1) - other / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((event * below).sum(axis=-1) / (event.sum(axis=-1) * other.sum(axis=-1)))


def average_precision(
    actual: FloatArray, score: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Average precision: the precision at each distinct score, weighted by the gain in recall.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    score : ndarray, shape (n,)
        Higher means more likely, on any scale.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        Between 0 and 1; about the share of events for a score without skill.
    """
    rows, starts = _ascending(-score)
    event, other = _tied(actual, rows, starts, weight)
    hits = np.cumsum(event, axis=-1)
    taken = hits + np.cumsum(other, axis=-1)
    precision = hits / np.where(taken > 0, taken, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((event * precision).sum(axis=-1) / hits[..., -1])


def brier_score(
    actual: FloatArray, probability: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean squared difference of probability and outcome, between 0 (best) and 1.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    probability : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return weighted_mean((probability - actual) ** 2, weight)


def log_loss(
    actual: FloatArray, probability: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean negative log-probability of what happened, in nats; lower is better.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    probability : ndarray, shape (n,)
        Clipped at 1e-15 from 0 and 1.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    return weighted_mean(-actual * np.log(p) - (1 - actual) * np.log1p(-p), weight)


def statistics(actual: FloatArray, probability: FloatArray) -> dict[str, Statistic]:
    """Statistics of one candidate, for :func:`crmml.metrics.bootstrap.compare`.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    probability : ndarray, shape (n,)
        Between 0 and 1.

    Returns
    -------
    dict of str to Statistic
        Those of ``HIGHER_IS_BETTER``.

    Raises
    ------
    TooLittleDataError
        If only one of the two outcomes occurs.
    ParameterError
        If a probability is not between 0 and 1.
    """
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ParameterError("probability", "between 0 and 1", "other values")
    if len(np.unique(actual)) < 2:
        raise TooLittleDataError(
            f"a probability is judged on both outcomes, but of {len(actual):,} customers all have "
            "the same one"
        )
    return {
        "auc": partial(auc, actual, probability),
        "average_precision": partial(average_precision, actual, probability),
        "top_decile_lift": partial(top_share_lift, actual, probability),
        "brier": partial(brier_score, actual, probability),
        "log_loss": partial(log_loss, actual, probability),
    }


def weighted_mean(loss: FloatArray, weight: FloatArray | None) -> FloatArray:
    """Mean of a loss (n,) under each row of weights (..., n), shape (...)."""
    if weight is None:
        return np.asarray(loss.mean())
    return np.asarray(weight @ loss / weight.sum(axis=-1))


def _ascending(score: FloatArray) -> tuple[IntArray, IntArray]:
    """Rows in ascending order, and where each group of ties begins among them."""
    rows = np.argsort(score, kind="stable")
    ordered = score[rows]
    return rows, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _tied(
    actual: FloatArray, rows: IntArray, starts: IntArray, weight: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Weight of the events and of the others in each group of ties, (..., n_groups)."""
    w = (np.ones(len(actual)) if weight is None else weight)[..., rows]
    event = np.add.reduceat(w * actual[rows], starts, axis=-1)
    return event, np.add.reduceat(w, starts, axis=-1) - event
