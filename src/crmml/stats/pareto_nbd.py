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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, exprel, gammaln, hyp2f1, psi

from crmml._typing import BoolArray, FloatArray
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
    """Log odds of having left before T, with derivatives by the log-parameters.

    ``slope`` has shape (4, n), ``curvature`` (4, 4, n); both are empty where not asked for.
    """

    log_odds: FloatArray
    slope: FloatArray = np.empty(0)
    curvature: FloatArray = np.empty(0)


def _departure(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, order: int = 0
) -> _Departure:
    """Integrate over the moment u of leaving between ``t_x`` and ``T``.

    Derivatives up to ``order`` (0, 1, 2) pass under the integral sign: they are means and
    covariances over u of ``log((alpha+u)/(alpha+t_x))``, ``log((beta+u)/(beta+t_x))``,
    ``1/(alpha+u)`` and ``1/(beta+u)``.
    """
    r, alpha, s, beta = params
    n, gap = r + x, T - t_x
    # The integral is taken over w = log((near + u) / near): on the scale of the nearer pole the
    # integrand is smooth, and the number of nodes does not grow with the length of the silence.
    swapped = np.asarray(beta < alpha)
    near, far = np.minimum(alpha, beta) + t_x, np.maximum(alpha, beta) + t_x
    fall_near, fall_far = np.log1p(gap / near), np.log1p(gap / far)
    p_near, p_far = _in_order(swapped, n, s + 1.0 + 0.0 * n)
    ratio = near / far
    end, fall = _effective_end(fall_near, fall_far, p_near, p_far, ratio)
    moments = np.empty((1 + len(_MOMENTS[order]), *end.shape))
    groups = nodes_needed(np.abs(fall), end)
    for size in np.flatnonzero(np.bincount(groups)):
        rows = np.flatnonzero(groups == size)
        moments[:, rows] = _moments(
            end[rows], p_near[rows], p_far[rows], ratio[rows], int(size), order
        )
    fall_a, fall_b = _in_order(swapped, fall_near, fall_far)
    with np.errstate(divide="ignore"):
        # The odds of having left against being active. Logarithms keep long silences finite.
        log_odds = np.log(s * (near / (beta + t_x)) * end * moments[0]) + n * fall_a + s * fall_b
    if order == 0:
        return _Departure(log_odds)
    moments[1:] /= moments[0]
    log_a, log_b = _in_order(swapped, moments[1], moments[2])
    inverse_a, inverse_b = _in_order(swapped, moments[3] / near, moments[4] / far)
    to_a, to_b = 1.0 / (alpha + T), 1.0 / (beta + T)
    slope = np.empty((4, *end.shape))
    slope[0] = r * (fall_a - log_a)
    slope[1] = alpha * n * (to_a - inverse_a)
    slope[2] = 1.0 + s * (fall_b - log_b)
    slope[3] = beta * (s * to_b - (s + 1.0) * inverse_b)
    if order == 1:
        return _Departure(log_odds, slope)
    unit = np.stack([np.ones_like(near), np.ones_like(near), 1.0 / near, 1.0 / far])
    second = np.empty((4, 4, *end.shape))
    for (i, j), moment in zip(_MOMENTS[2][4:], moments[5:], strict=True):
        second[i, j] = second[j, i] = moment * unit[i] * unit[j]
    second = _in_order(swapped, second, second[_SWAPPED][:, _SWAPPED])[0]
    mean = np.stack([log_a, log_b, inverse_a, inverse_b])
    # By r, alpha, s, beta the integrand moves with log_a, inverse_a, log_b, inverse_b.
    factors = np.stack(np.broadcast_arrays(-r, -alpha * n, -s, -beta * (s + 1.0)))
    which = np.array([0, 2, 1, 3])
    covariance = (second - mean[:, None] * mean)[which][:, which]
    # The second derivative of a log mean: the covariance of first derivatives, plus second ones.
    curvature = factors[:, None] * factors * covariance
    curvature[0, 0] += slope[0]
    curvature[0, 1] += r * alpha * (to_a - inverse_a)
    curvature[1, 1] += slope[1] + alpha**2 * n * (second[2, 2] - to_a**2)
    curvature[2, 2] += slope[2] - 1.0
    curvature[2, 3] += s * beta * (to_b - inverse_b)
    curvature[3, 3] += slope[3] + beta**2 * ((s + 1.0) * second[3, 3] - s * to_b**2)
    curvature[1, 0], curvature[3, 2] = curvature[0, 1], curvature[2, 3]
    return _Departure(log_odds, slope, curvature)


def _in_order(
    swapped: BoolArray, first: FloatArray, second: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the two, exchanged where ``swapped`` (one truth value, or one per row)."""
    if swapped.ndim == 0:
        return (second, first) if swapped else (first, second)
    return np.where(swapped, second, first), np.where(swapped, first, second)


_SWAPPED = np.array([1, 0, 3, 2])
_FIRST: tuple[tuple[int, ...], ...] = ((0,), (1,), (2,), (3,))
_MOMENTS: tuple[tuple[tuple[int, ...], ...], ...] = (
    (),
    _FIRST,
    (*_FIRST, *((i, j) for i in range(4) for j in range(i, 4))),
)
"""Products of the four functions of u whose means are needed, by order of the derivative."""


def _effective_end(
    fall_near: FloatArray,
    fall_far: FloatArray,
    p_near: FloatArray,
    p_far: FloatArray,
    ratio: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Cut the interval where the integrand has fallen ``REACH`` nats below its start.

    The exponent is convex, so Newton's steps from the right never cut too much. Returned with the
    end is the exponent there.
    """
    fall = (p_near - 1.0) * fall_near + p_far * fall_far
    steep = np.flatnonzero(fall > 1.5 * REACH)
    if not len(steep):
        return fall_near, fall
    end = fall_near.copy()
    while len(steep):
        near, far, w = p_near[steep], p_far[steep], end[steep]
        u = ratio[steep] * np.expm1(w)
        slope = near - 1.0 + far * (u + ratio[steep]) / (1.0 + u)
        w = end[steep] = w - (fall[steep] - REACH) / slope
        fall[steep] = (near - 1.0) * w + far * np.log1p(ratio[steep] * np.expm1(w))
        steep = steep[fall[steep] > 1.5 * REACH]
    return end, fall


def _moments(
    end: FloatArray,
    p_near: FloatArray,
    p_far: FloatArray,
    ratio: FloatArray,
    size: int,
    order: int,
) -> FloatArray:
    """Gauss-Legendre sums over (0, end) of the integrand and of its products with ``_MOMENTS``."""
    sums = np.zeros((1 + len(_MOMENTS[order]), *end.shape))
    for node, weight in zip(*legendre(size), strict=True):
        w = node * end
        grown = np.expm1(w)
        u = ratio * grown
        log_far = np.log1p(u)
        density = weight * np.exp((1.0 - p_near) * w - p_far * log_far)
        sums[0] += density
        if order:
            functions = (w, log_far, 1.0 / (1.0 + grown), 1.0 / (1.0 + u))
            products = [density * function for function in functions]
            for total, which in zip(sums[1:], _MOMENTS[order], strict=True):
                term = products[which[0]]
                total += term if len(which) == 1 else term * functions[which[1]]
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
    out = _departure(params, x, t_x, T, order=1)
    gradient = np.stack(
        np.broadcast_arrays(
            r * (psi(r + x) - psi(r) - np.log1p(T / alpha)),
            (r * T - x * alpha) / (alpha + T),
            -s * np.log1p(T / beta),
            s * T / (beta + T),
        )
    )
    gradient = gradient + expit(out.log_odds) * out.slope
    return np.asarray(_log_active(params, x, T) + np.logaddexp(0.0, out.log_odds)), gradient


def counted(
    x: FloatArray, t_x: FloatArray, T: FloatArray, weights: FloatArray
) -> Callable[[FloatArray], tuple[float, FloatArray, Callable[[], FloatArray]]]:
    """Log-likelihood of weighted histories as a function of the log-parameters.

    It equals the weighted sum of :func:`score`, faster: what belongs to customers who are active
    needs only the distinct values of x and T, and the second derivatives are exact.

    Parameters
    ----------
    x, t_x, T, weights : ndarray, shape (n,)

    Returns
    -------
    callable
        Of the log-parameters, shape (4,): value, gradient (4,), and a function without arguments
        that returns minus the Hessian (4, 4).
    """
    beyond = weights.sum() - np.cumsum(np.bincount(x.astype(np.int64), weights=weights))
    j = np.arange(len(beyond))
    ends, place = np.unique(T, return_inverse=True)
    here = np.bincount(place, weights=weights)
    bought = np.bincount(place, weights=weights * x)

    def evaluate(theta: FloatArray) -> tuple[float, FloatArray, Callable[[], FloatArray]]:
        params = Params(*np.exp(theta))
        r, alpha, s, beta = params
        out = _departure(params, x, t_x, T, order=1)
        to_a, to_b = 1.0 / (alpha + ends), 1.0 / (beta + ends)
        silent, unleft = np.log1p(ends / alpha), np.log1p(ends / beta)
        value = float(
            beyond @ np.log(r + j)
            - here @ (r * silent + s * unleft)
            - bought @ np.log(alpha + ends)
            + weights @ np.logaddexp(0.0, out.log_odds)
        )
        # What hangs on the moment of leaving counts for each customer by P(left).
        left = weights * expit(out.log_odds)
        gradient = np.array(
            [
                r * (beyond @ (1.0 / (r + j)) - here @ silent),
                here @ (r * ends * to_a) - bought @ (alpha * to_a),
                -s * (here @ unleft),
                s * (here @ (ends * to_b)),
            ]
        )

        # Second derivatives cost three times the gradient, so only a step that needs them asks.
        def information() -> FloatArray:
            odds, slope, curvature = _departure(params, x, t_x, T, order=2)
            hessian = np.diag(gradient)
            hessian[0, 0] -= r * r * (beyond @ (r + j) ** -2.0)
            hessian[0, 1] += r * (here @ (ends * to_a))
            hessian[1, 1] = -alpha * ((r * here + bought) @ (ends * to_a**2))
            hessian[2, 3] += s * (here @ (ends * to_b))
            hessian[3, 3] = -s * beta * (here @ (ends * to_b**2))
            hessian[1, 0], hessian[3, 2] = hessian[0, 1], hessian[2, 3]
            hessian += curvature @ left + (slope * (left * expit(-odds))) @ slope.T
            return -hessian

        return value, gradient + out.slope @ left, information

    return evaluate


def probability_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    """P(active at T | history), ``1 / (1 + odds of having left)``, shape (n,)."""
    return np.asarray(expit(-_departure(params, x, t_x, T).log_odds))


def if_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Params:
    """Parameters of the future of a customer active at T: both gamma posteriors."""
    return Params(params.r + x, params.alpha + T, params.s, params.beta + T)


def probability_return(r: float, alpha: float, s: float, beta: float) -> float:
    r"""P(an active customer buys again before leaving): :math:`E[\lambda / (\lambda + \mu)]`.

    With :math:`B \sim \mathrm{Beta}(r, s)` it is
    :math:`E[B\beta / (B\beta + (1-B)\alpha)]`, a hypergeometric function, taken on the side where
    its argument lies in [0, 1).

    Examples
    --------
    >>> round(probability_return(1.0, 10.0, 1.0, 10.0), 12)
    0.5
    """
    if beta <= alpha:
        share = r / (r + s) * hyp2f1(1.0, r + 1.0, r + s + 1.0, 1.0 - beta / alpha)
        return float(beta / alpha * share)
    share = s / (r + s) * hyp2f1(1.0, s + 1.0, r + s + 1.0, 1.0 - alpha / beta)
    return float(1.0 - alpha / beta * share)


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
    # The count narrows as it grows: sqrt(n) more nodes follow its peak.
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
            # NumPy's own sum changes its order with the shape: one customer alone would differ.
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
    # The logarithm of the product is kept below that of the largest number.
    most = 700.0 - np.log(np.maximum(beta, 1.0))
    # Beyond this lifetime less than exp(-REACH) of the customers is left.
    longest = beta * np.expm1(np.minimum(REACH / s, most))
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
    # A first cut from the discount alone; the loop moves it to where REACH nats are lost.
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
        # A tiny s draws a rate of leaving of 0: such a customer stays, and infinity is right.
        lifetime = rng.exponential(size=shape) * beta / rng.gamma(np.broadcast_to(s, shape))
    return np.asarray(rng.poisson(purchase_rate * np.minimum(t, lifetime)), dtype=np.float64)
