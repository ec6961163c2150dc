"""Judgement of predicted numbers and amounts: error, calibration of totals, and of distributions.

All statistics take ``weight`` of shape (..., n) and return shape (...); without it every customer
counts once. See :mod:`crmml.metrics.bootstrap`.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from scipy.special import xlogy

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import Statistic, weighted_mean


def mean_absolute_error(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean of ``|predicted - actual|``; the median of the outcome minimises it.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return weighted_mean(np.abs(predicted - actual), weight)


def root_mean_squared_error(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Root of the mean squared error; the expectation of the outcome minimises it.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return _root_mean((predicted - actual) ** 2, weight)


def _root_mean(loss: FloatArray, weight: FloatArray | None) -> FloatArray:
    return np.sqrt(weighted_mean(loss, weight))


def total_bias(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Relative error of the total, ``sum(predicted) / sum(actual) - 1``; NaN if nothing happened.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = weighted_mean(predicted, weight) / weighted_mean(actual, weight)
    return np.where(np.isfinite(ratio), ratio - 1.0, np.nan)


def cumulative_mape(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean absolute percentage error of a tracking curve.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n_periods,) or (n, n_periods)
        **Cumulative** numbers of the holdout at the end of each period (week), of all customers
        together or of each.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        Mean of ``|predicted / actual - 1|`` of the totals over the periods with ``actual > 0``;
        NaN without any.

    Examples
    --------
    >>> float(cumulative_mape(np.array([0.0, 10.0, 20.0]), np.array([1.0, 11.0, 20.0])).round(3))
    0.05
    """
    total, expected = (
        np.atleast_2d(one).sum(axis=0) if weight is None else weight @ np.atleast_2d(one)
        for one in (actual, predicted)
    )
    begun = total > 0
    error = np.abs(expected / np.where(begun, total, 1.0) - 1.0) * begun
    with np.errstate(invalid="ignore"):
        return np.asarray(error.sum(axis=-1) / begun.sum(axis=-1))


def crps_of_pmf(actual: FloatArray, pmf: FloatArray) -> FloatArray:
    """Continuous ranked probability score of count distributions, in purchases; 0 is perfect.

    Parameters
    ----------
    actual : ndarray, shape (n,)
        Observed counts.
    pmf : ndarray, shape (n, n_max + 1)
        P(count = 0..n_max) by row. What a row lacks to 1 is taken to lie at ``n_max + 1``, so
        choose ``n_max`` such that nearly nothing is lacking.

    Returns
    -------
    ndarray, shape (n,)
        ``sum over k >= 0 of (F(k) - [actual <= k])**2``, the discrete form of Gneiting and Raftery
        (2007), eq. 20. For a distribution on one point it is the absolute error.

    Examples
    --------
    >>> crps_of_pmf(np.array([3.0]), np.array([[0.0, 1.0]])).item()
    2.0
    """
    k = np.arange(pmf.shape[1])
    cdf = np.minimum(np.cumsum(pmf, axis=1), 1.0)
    inside = ((cdf - (np.asarray(actual)[:, None] <= k)) ** 2).sum(axis=1)
    return np.asarray(inside + np.maximum(actual - pmf.shape[1], 0.0))


def log_score_of_pmf(actual: FloatArray, pmf: FloatArray) -> FloatArray:
    """Negative log-probability of what happened, by customer; smaller is better.

    Parameters
    ----------
    actual : ndarray, shape (n,)
        Observed counts, at most ``n_max``.
    pmf : ndarray, shape (n, n_max + 1)

    Returns
    -------
    ndarray, shape (n,)
        ``inf`` where the impossible happened.

    Raises
    ------
    ParameterError
        If a count lies beyond the last column.
    """
    y = _columns_of(actual, pmf)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.log(pmf[np.arange(len(y)), y]))


def randomised_pit(actual: FloatArray, pmf: FloatArray, uniforms: FloatArray) -> FloatArray:
    """Randomised probability integral transform: uniform exactly if the distributions are right.

    Parameters
    ----------
    actual : ndarray, shape (n,)
        Observed counts, at most ``n_max``.
    pmf : ndarray, shape (n, n_max + 1)
    uniforms : ndarray, shape (n,)
        In (0, 1), by customer, for example from :func:`crmml.metrics.bootstrap.keyed_uniforms`.

    Returns
    -------
    ndarray, shape (n,)
        ``F(y - 1) + u * P(y)`` (Czado, Gneiting, Held 2009, section 2.1).

    Raises
    ------
    ParameterError
        If a count lies beyond the last column.
    """
    y = _columns_of(actual, pmf)
    rows = np.arange(len(y))
    at = pmf[rows, y]
    below = np.cumsum(pmf, axis=1)[rows, y] - at
    return np.asarray(np.clip(below + uniforms * at, 0.0, 1.0))


def _columns_of(actual: FloatArray, pmf: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    y = np.asarray(actual).astype(np.int64)
    if len(y) and y.max() >= pmf.shape[1]:
        raise ParameterError("n_max", f"at least the largest count, {y.max()}", pmf.shape[1] - 1)
    return y


def pit_coverage(pit: FloatArray, level: float, weight: FloatArray | None = None) -> FloatArray:
    """Share of customers inside the central interval of the given probability, by their PIT.

    Parameters
    ----------
    pit : ndarray, shape (n,)
        From :func:`randomised_pit`.
    level : float
        Nominal probability of the interval, in (0, 1).
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        About ``level`` if the distributions are right, also for counts with much mass at zero, for
        which the share between two quantiles is larger than nominal even when all is right.
    """
    return weighted_mean((np.abs(pit - 0.5) <= level / 2.0).astype(np.float64), weight)


def interval_coverage(
    actual: FloatArray, lower: FloatArray, upper: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Share of customers with ``lower <= actual <= upper``.

    Parameters
    ----------
    actual, lower, upper : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return weighted_mean(((lower <= actual) & (actual <= upper)).astype(np.float64), weight)


def compute_pit_histogram(pit: FloatArray, n_bins: int = 10) -> pd.DataFrame:
    """Table of the PIT histogram: flat if calibrated, U-shaped if too narrow, a hump if too wide.

    Parameters
    ----------
    pit : ndarray, shape (n,)
    n_bins : int

    Returns
    -------
    DataFrame
        Columns ``lower, upper, customers, density`` (1 is calibrated).
    """
    customers, edges = np.histogram(pit, bins=n_bins, range=(0.0, 1.0))
    density = customers * n_bins / max(len(pit), 1)
    return pd.DataFrame(
        {"lower": edges[:-1], "upper": edges[1:], "customers": customers, "density": density}
    )


_LEAST = 1e-3
"""Least forecast that the deviance takes at its word: one purchase in a thousand horizons."""


def poisson_deviance(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Mean of ``2 (y log(y / m) - y + m)`` over the customers; smaller is better.

    Like the squared error it is least, on average, for the forecast that is the mean (Gneiting
    2011, Making and evaluating point forecasts, Theorem 7), but it measures an error against the
    size of the forecast, as counts deserve, so that a few heavy buyers do not drown all others.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
        Not negative. A forecast below 0.001 counts as 0.001: what is called impossible and
        happens would have no finite deviance.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)

    Examples
    --------
    >>> float(poisson_deviance(np.array([0.0, 2.0]), np.array([0.5, 2.0])).round(4))
    0.5
    """
    return weighted_mean(_deviances(actual, predicted), weight)


def _deviances(actual: FloatArray, predicted: FloatArray) -> FloatArray:
    m = np.maximum(predicted, _LEAST)
    return np.asarray(2.0 * (xlogy(actual, actual / m) - actual + m))


def errors(actual: FloatArray, predicted: FloatArray) -> dict[str, Statistic]:
    """Error statistics of predicted numbers or amounts, for the bootstrap.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)

    Returns
    -------
    dict of str to Statistic
        ``mae, rmse, bias``.
    """
    return {
        "mae": partial(weighted_mean, np.abs(predicted - actual)),
        "rmse": partial(_root_mean, (predicted - actual) ** 2),
        "bias": partial(total_bias, actual, predicted),
    }


def statistics(
    actual: FloatArray, predicted: FloatArray, pmf: FloatArray | None = None
) -> dict[str, Statistic]:
    """Error statistics of predicted counts, for the bootstrap.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    pmf : ndarray, shape (n, n_max + 1), optional
        Predictive distribution.

    Returns
    -------
    dict of str to Statistic
        ``mae, rmse, bias, deviance`` and, with a distribution, ``crps, log_score``.
    """
    found = errors(actual, predicted)
    found["deviance"] = partial(weighted_mean, _deviances(actual, predicted))
    if pmf is not None:
        found["crps"] = partial(weighted_mean, crps_of_pmf(actual, pmf))
        found["log_score"] = partial(weighted_mean, log_score_of_pmf(actual, pmf))
    return found
