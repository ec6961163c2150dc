"""Inverse distribution functions at the same few levels for many customers.

Customers share shapes (whole numbers of purchases), so an inverse that costs a microsecond is found
once per distinct shape. Each value is that of its own arguments alone, never of its neighbours.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, gammaincinv
from scipy.stats import poisson

from crmml._typing import FloatArray

_LONG = 30.0
"""Mean from which counting up costs more than the library's inverse."""


def gamma_quantiles(shape: FloatArray, levels: FloatArray) -> FloatArray:
    """Quantiles of gamma variables of scale 1, shape (n, n_levels).

    Parameters
    ----------
    shape : ndarray, shape (n,)
    levels : ndarray, shape (n_levels,)

    Examples
    --------
    >>> gamma_quantiles(np.array([1.0, 1.0]), np.array([0.5])).round(4).tolist()
    [[0.6931], [0.6931]]
    """
    distinct, place = np.unique(shape, return_inverse=True)
    return np.asarray(gammaincinv(distinct[:, None], levels)[place])


def beta_quantiles(a: FloatArray, b: FloatArray, levels: FloatArray) -> FloatArray:
    """Quantiles of beta variables, shape (n, n_levels).

    Parameters
    ----------
    a, b : ndarray, shape (n,)
    levels : ndarray, shape (n_levels,)

    Examples
    --------
    >>> beta_quantiles(np.array([1.0]), np.array([1.0]), np.array([0.25])).tolist()
    [[0.25]]
    """
    pairs, place = np.unique(np.column_stack([a, b]), axis=0, return_inverse=True)
    found = betaincinv(pairs[:, :1], pairs[:, 1:], levels)
    return np.asarray(found[place.ravel()])


def poisson_quantiles(level: FloatArray, mean: FloatArray) -> FloatArray:
    """Smallest n with P(N <= n) >= level, for each pair of level and mean.

    Parameters
    ----------
    level, mean : ndarray of one shape
        Levels in [0, 1); means >= 0.

    Examples
    --------
    >>> poisson_quantiles(np.array([0.2, 0.9]), np.array([1.0, 3.0])).tolist()
    [0.0, 5.0]
    """
    out = np.zeros(level.shape)
    flat, mu = level.ravel(), mean.ravel()
    counts = out.ravel()
    long = np.flatnonzero(mu > _LONG)
    counts[long] = poisson.ppf(flat[long], mu[long])
    term = np.exp(-mu)
    rows = np.flatnonzero((term < flat) & (mu <= _LONG))
    term, reached, mu, flat = term[rows], term[rows], mu[rows], flat[rows]
    n = 0
    while len(rows):
        n += 1
        term = term * mu / n
        more = reached + term
        # A level that rounding keeps out of reach ends where the terms do.
        done = (more >= flat) | (more == reached)
        counts[rows[done]] = n
        left = ~done
        rows, term, reached, mu, flat = rows[left], term[left], more[left], mu[left], flat[left]
    return counts.reshape(level.shape)


def order_statistics(j: FloatArray, n: FloatArray, levels: FloatArray) -> FloatArray:
    """Quantiles of the j-th smallest of n uniform numbers.

    Parameters
    ----------
    j, n : ndarray, shape (n_rows, n_levels)
        Whole numbers, 1 <= j <= n.
    levels : ndarray, shape (n_levels,)

    Examples
    --------
    >>> order_statistics(np.array([[2.0, 1.0]]), np.array([[2.0, 1.0]]), np.array([0.25, 0.5]))
    array([[0.5, 0.5]])
    """
    found = np.broadcast_to(levels, j.shape) ** (1.0 / j)  # the largest of j
    inner = np.flatnonzero(n > j)
    column = np.broadcast_to(np.arange(len(levels)), j.shape).ravel()[inner]
    key = np.column_stack([j.ravel()[inner], n.ravel()[inner], column])
    distinct, place = np.unique(key, axis=0, return_inverse=True)
    first, last, at = distinct.T
    values = betaincinv(first, last - first + 1.0, levels[at.astype(np.int64)])
    found.ravel()[inner] = values[place.ravel()]
    return np.asarray(found)
