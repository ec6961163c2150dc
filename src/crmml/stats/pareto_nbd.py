r"""Pareto/NBD: Poisson purchases, exponential lifetime, gamma heterogeneity of both rates.

Schmittlein, Morrison and Colombo (1987); the conditional results follow Fader and Hardie's notes
(2005, 2007). The two hypergeometric functions of the published likelihood cancel badly, so the
integral from which they came is kept instead:

.. math::
    L = \frac{\Gamma(r+x)}{\Gamma(r)} \alpha^r \beta^s \Bigl[ (\alpha+T)^{-(r+x)} (\beta+T)^{-s}
        + s \int_{t_x}^{T} (\alpha+u)^{-(r+x)} (\beta+u)^{-(s+1)} \, du \Bigr].

The first term is the customer who is active at T, the second the one who left at u. Under
``u + m = (t_x + m) e^w`` with ``m = min(alpha, beta)`` the integrand is log-concave in ``w`` and
analytic within pi of the real line, so that a Gauss-Legendre rule of 8 to 40 nodes gives it to
1e-13 for any parameters; both branches ``alpha >= beta`` and ``alpha < beta`` are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, exprel, gammaln, psi

from crmml._typing import FloatArray
from crmml.stats.quadrature import REACH, legendre, nodes_needed
from crmml.stats.special import log_rising

NAMES: tuple[str, ...] = ("r", "alpha", "s", "beta")
_BLOCK = 2**18


class Params(NamedTuple):
    """Shape and rate of the purchase rate (r, alpha) and of the dropout rate (s, beta).

    Each is a positive number or an array over the rows. ``alpha`` and ``beta`` are in units of
    time: mean purchase rate ``r / alpha``, mean dropout rate ``s / beta``.
    """

    r: Any
    alpha: Any
    s: Any
    beta: Any


def make(theta: Sequence[Any]) -> Params:
    """Build the parameters from (r, alpha, s, beta)."""
    return Params(*theta)


class _Departure(NamedTuple):
    """Log odds of having left before T, and means over the moment u of leaving."""

    log_odds: FloatArray
    log_a: FloatArray
    log_b: FloatArray
    inverse_a: FloatArray
    inverse_b: FloatArray


def _departure(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, *, moments: bool = False
) -> _Departure:
    """Integrate over the moment of leaving between ``t_x`` and ``T``.

    With ``moments`` also the means of ``log((alpha+u)/(alpha+t_x))``,
    ``log((beta+u)/(beta+t_x))``, ``1/(alpha+u)`` and ``1/(beta+u)`` over that moment.
    """
    r, alpha, s, beta, x, t_x, T = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, x, t_x, T))
    )
    a_first = alpha <= beta
    near, far = np.minimum(alpha, beta) + t_x, np.maximum(alpha, beta) + t_x
    p_near = np.where(a_first, r + x, s + 1.0)
    p_far = np.where(a_first, s + 1.0, r + x)
    ratio = near / far
    gap = T - t_x
    end = _effective_length(np.log1p(gap / near), p_near, p_far, ratio)
    fall = (p_near - 1.0) * end + p_far * np.log1p(ratio * np.expm1(end))
    sums = np.zeros((5 if moments else 1, *end.shape))
    groups = nodes_needed(np.abs(fall), end)
    for n in np.unique(groups):
        rows = groups == n
        sums[:, rows] = _sums(end[rows], p_near[rows], p_far[rows], ratio[rows], int(n), moments)
    with np.errstate(divide="ignore"):
        log_odds = (
            np.log(s * (near / (beta + t_x)) * end * sums[0])
            + (r + x) * np.log1p(gap / (alpha + t_x))
            + s * np.log1p(gap / (beta + t_x))
        )
    if not moments:
        return _Departure(log_odds, *[sums[0]] * 4)
    log_near, log_far, inverse_near, inverse_far = sums[1:] / sums[0]
    inverse_near, inverse_far = inverse_near / near, inverse_far / far
    return _Departure(
        log_odds,
        np.where(a_first, log_near, log_far),
        np.where(a_first, log_far, log_near),
        np.where(a_first, inverse_near, inverse_far),
        np.where(a_first, inverse_far, inverse_near),
    )


def _effective_length(
    length: FloatArray, p_near: FloatArray, p_far: FloatArray, ratio: FloatArray
) -> FloatArray:
    """Cut the interval where the integrand has fallen ``REACH`` nats below its start.

    The exponent is convex, so Newton's steps from the right never cut too much.
    """
    end = length.copy()
    while True:
        u = ratio * np.expm1(end)
        fall = (p_near - 1.0) * end + p_far * np.log1p(u)
        steep = fall > 1.5 * REACH
        if not steep.any():
            return end
        slope = p_near - 1.0 + p_far * (u + ratio) / (1.0 + u)
        end = np.where(steep, end - (fall - REACH) / slope, end)


def _sums(
    end: FloatArray, p_near: FloatArray, p_far: FloatArray, ratio: FloatArray, n: int, moments: bool
) -> FloatArray:
    """Gauss-Legendre sums of the integrand and of its four moments, over nodes in (0, end)."""
    sums = np.zeros((5 if moments else 1, *end.shape))
    for node, weight in zip(*legendre(n), strict=True):
        w = node * end
        grown = np.expm1(w)
        u = ratio * grown
        log_far = np.log1p(u)
        density = weight * np.exp((1.0 - p_near) * w - p_far * log_far)
        sums[0] += density
        if moments:
            sums[1] += density * w
            sums[2] += density * log_far
            sums[3] += density / (1.0 + grown)
            sums[4] += density / (1.0 + u)
    return sums


def _log_active(params: Params, x: FloatArray, T: FloatArray) -> FloatArray:
    """Log-likelihood of the history together with being active at T."""
    r, alpha, s, beta = params
    return np.asarray(
        log_rising(r, x) - r * np.log1p(T / alpha) - x * np.log(alpha + T) - s * np.log1p(T / beta)
    )


def log_likelihood(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    """Log-likelihood of each history.

    Parameters
    ----------
    params : Params
        Numbers, or arrays over the rows.
    x, t_x, T : ndarray, shape (n,)
        Repeat purchases, time of the last one, length of observation; ``0 <= t_x <= T``.

    Returns
    -------
    ndarray, shape (n,)
        Density over the purchase times (no combinatorial factor), as in the papers.

    Examples
    --------
    >>> p = Params(0.553, 10.578, 0.606, 11.669)
    >>> log_likelihood(p, np.array([2.0]), np.array([30.43]), np.array([38.86])).round(4)
    array([-9.5543])
    """
    odds = _departure(params, x, t_x, T).log_odds
    return np.asarray(_log_active(params, x, T) + np.logaddexp(0.0, odds))


def score(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood and its exact derivatives by the logarithms of r, alpha, s, beta.

    The derivatives pass under the integral sign, so they are means over the moment of leaving.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (4, n)
    """
    r, alpha, s, beta = params
    out = _departure(params, x, t_x, T, moments=True)
    left = expit(out.log_odds)
    a_T, b_T = 1.0 / (alpha + T), 1.0 / (beta + T)
    fall_a, fall_b = np.log1p((T - t_x) / (alpha + t_x)), np.log1p((T - t_x) / (beta + t_x))
    gradient = np.stack(
        np.broadcast_arrays(
            r * (psi(r + x) - psi(r) - np.log1p(T / alpha) + left * (fall_a - out.log_a)),
            r * T * a_T - x * alpha * a_T + left * alpha * (r + x) * (a_T - out.inverse_a),
            -s * np.log1p(T / beta) + left * (1.0 + s * (fall_b - out.log_b)),
            s * T * b_T + left * beta * (s * b_T - (s + 1.0) * out.inverse_b),
        )
    )
    value = _log_active(params, x, T) + np.logaddexp(0.0, out.log_odds)
    return np.asarray(value), gradient


def probability_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    """P(active at T | history), ``1 / (1 + odds of having left)``, shape (n,)."""
    return np.asarray(expit(-_departure(params, x, t_x, T).log_odds))


def if_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Params:
    """Parameters of the future of a customer active at T: both gamma posteriors."""
    return Params(params.r + x, params.alpha + T, params.s, params.beta + T)


def expected_purchases(params: Params, t: FloatArray) -> FloatArray:
    r"""E[purchases in (0, t]] of an active customer.

    :math:`\frac{r\beta}{\alpha(s-1)}\bigl[1 - (\beta/(\beta+t))^{s-1}\bigr]`, written so that
    nothing happens at s = 1.

    Examples
    --------
    >>> expected_purchases(Params(0.5534, 10.5802, 0.6061, 11.6562), np.array([52.0])).round(3)
    array([1.473])
    """
    r, alpha, s, beta = params
    grown = np.log1p(t / beta)
    return np.asarray(r * (beta / alpha) * grown * exprel((1.0 - s) * grown))


def pmf(params: Params, t: FloatArray, n_max: int) -> FloatArray:
    """P(n purchases in (0, t]) of an active customer for n = 0..n_max, shape (n, n_max + 1).

    The count of a gamma-mixed Poisson process that runs for the shorter of ``t`` and a Pareto
    lifetime, so the negative binomial probabilities are averaged over that lifetime.
    """
    r, alpha, s, beta, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    nodes, weights = legendre(32 + 8 * math.isqrt(n_max))
    probabilities = np.empty((len(t), n_max + 1))
    width = max(1, _BLOCK // len(nodes))
    for first in range(0, len(t), width):
        rows = slice(first, first + width)
        block = Params(r[rows], alpha[rows], s[rows], beta[rows])
        length, log_share = _lifetimes(block, t[rows], nodes[:, None], weights[:, None])
        odds = length / block.alpha
        none = log_share - block.r * np.log1p(odds)
        with np.errstate(divide="ignore"):
            per_purchase = np.log(odds) - np.log1p(odds)
        for n in range(n_max + 1):
            log_ways = log_rising(block.r, n) - gammaln(n + 1.0)
            exponent = none + log_ways if n == 0 else none + log_ways + n * per_purchase
            probabilities[rows, n] = _column_sums(np.exp(exponent))
    return probabilities


def _column_sums(terms: FloatArray) -> FloatArray:
    """Add the rows one by one, in one order whatever the shape."""
    total = np.zeros(terms.shape[1])
    for row in terms:
        total += row
    return total


def _lifetimes(
    params: Params, t: FloatArray, nodes: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Discretise min(t, lifetime): lengths and log shares, the last row being those who stay."""
    _, alpha, s, beta = params
    near = np.minimum(alpha, beta)
    longest = beta * np.expm1(np.minimum(REACH / s, 700.0))
    end = np.log1p(np.minimum(t, longest) / near)
    w = nodes * end
    u = near * np.expm1(w)
    log_leaves = (
        np.log(weights) + np.log(s * (near / beta) * end) + w - (s + 1.0) * np.log1p(u / beta)
    )
    log_stays = -s * np.log1p(t / beta)
    return np.concatenate([u, t[None]]), np.concatenate([log_leaves, log_stays[None]])


def discounted_purchases(params: Params, t: FloatArray, delta: float) -> FloatArray:
    r"""E[sum of exp(-delta u) over the purchases u in (0, t]] of an active customer.

    :math:`\frac{r}{\alpha} \int_0^t (1+u/\beta)^{-s} e^{-\delta u} du`; for ``t = inf`` this is
    the DERT of Fader, Hardie and Lee (2005), where the integral is a Tricomi function.

    Parameters
    ----------
    t : ndarray
        Horizon, possibly ``inf``.
    delta : float
        Continuous discount rate per unit of time, >= 0. At 0 and ``t = inf`` the result is
        infinite for s <= 1.
    """
    r, alpha, s, beta, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    if delta == 0.0:
        finite = np.where(np.isinf(t), 1.0, t)
        with np.errstate(divide="ignore"):
            ever = np.where(s > 1.0, r * beta / (alpha * np.abs(s - 1.0)), np.inf)
        return np.where(np.isinf(t), ever, expected_purchases(Params(r, alpha, s, beta), finite))
    z = delta * beta
    end = np.minimum(np.log1p(t / beta), np.log1p(3.0 * REACH / z))
    while True:
        fall = (s - 1.0) * end + z * np.expm1(end)
        steep = fall > 1.5 * REACH
        if not steep.any():
            break
        end = np.where(steep, end - (fall - REACH) / (s - 1.0 + z * np.exp(end)), end)
    total = np.zeros(end.shape)
    groups = 2 * nodes_needed(np.abs(fall), end)
    for n in np.unique(groups):
        rows = groups == n
        for node, weight in zip(*legendre(int(n)), strict=True):
            w = node * end[rows]
            total[rows] += weight * np.exp((1.0 - s[rows]) * w - z[rows] * np.expm1(w))
    return np.asarray(r * (beta / alpha) * end * total)


def draw(params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw the number of purchases in (0, t] of an active customer, shape (n,)."""
    r, alpha, s, beta = params
    shape = np.shape(t)
    purchase_rate = rng.gamma(np.broadcast_to(r, shape)) / alpha
    with np.errstate(divide="ignore"):
        lifetime = rng.exponential(size=shape) * beta / rng.gamma(np.broadcast_to(s, shape))
    return np.asarray(rng.poisson(purchase_rate * np.minimum(t, lifetime)), dtype=np.float64)
