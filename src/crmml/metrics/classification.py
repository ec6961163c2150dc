"""Judgement of a probability that something happens, such as churn.

What takes ``weight`` of shape (..., n) returns shape (...); without it every customer counts once,
and the values are those of scikit-learn. See :mod:`crmml.metrics.bootstrap`. The lift
of the top decile is :func:`crmml.metrics.ranking.top_share_lift`.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics import profit
from crmml.metrics.bootstrap import Statistic, weighted_mean
from crmml.metrics.calibration import decompose_brier, expected_calibration_error
from crmml.metrics.ranking import Order, top_share_lift


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
    return _auc(actual, Order.of(-score), weight)


def _auc(actual: FloatArray, order: Order, weight: FloatArray | None) -> FloatArray:
    """Area under the ROC curve, customers ordered from the lowest score up."""
    w = (np.ones(len(actual)) if weight is None else weight)[..., order.rows]
    event = np.add.reduceat(w * actual[order.rows], order.ends[:-1], axis=-1)
    other = np.add.reduceat(w, order.ends[:-1], axis=-1) - event
    below = np.cumsum(other, axis=-1) - other / 2.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((event * below).sum(axis=-1) / (event.sum(axis=-1) * other.sum(axis=-1)))


def average_precision(actual: FloatArray, score: FloatArray) -> float:
    """Average precision: the precision at each distinct score, weighted by the gain in recall.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    score : ndarray, shape (n,)
        Higher means more likely, on any scale.

    Returns
    -------
    float
        Between 0 and 1; about the share of events for a score without skill.
    """
    order = Order.of(score)
    hits = order.reached(actual)
    return float(np.diff(hits) @ (hits[1:] / order.ends[1:]) / hits[-1])


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
    return weighted_mean(_surprises(actual, probability), weight)


def _surprises(actual: FloatArray, probability: FloatArray) -> FloatArray:
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(-actual * np.log(p) - (1 - actual) * np.log1p(-p))


def statistics(
    actual: FloatArray, probability: FloatArray, value: FloatArray | None = None
) -> dict[str, Statistic | float]:
    """Statistics of one candidate, for :func:`crmml.metrics.bootstrap.compare`.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    probability : ndarray, shape (n,)
        Between 0 and 1.
    value : ndarray, shape (n,), optional
        Each customer's own, for the profit of contacting by it.

    Returns
    -------
    dict of str to Statistic or float
        ``auc, brier, log_loss``, and without intervals ``average_precision, top_decile_lift,
        calibration_error``, the parts of :func:`crmml.metrics.calibration.decompose_brier` and
        those of :func:`crmml.metrics.profit.statistics`.

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
        "auc": partial(_auc, actual, Order.of(-probability)),
        "average_precision": average_precision(actual, probability),
        "top_decile_lift": top_share_lift(actual, probability),
        "brier": partial(weighted_mean, (probability - actual) ** 2),
        "log_loss": partial(weighted_mean, _surprises(actual, probability)),
        "calibration_error": expected_calibration_error(actual, probability),
        **decompose_brier(actual, probability),
        **profit.statistics(actual, probability, value),
    }
