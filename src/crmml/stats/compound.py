r"""Total spend over an uncertain number of purchases: exact distribution, fast quantiles.

Spend per purchase is gamma(p, nu) with nu ~ gamma(q, gamma) over customers (Gamma-Gamma). A
customer with ``x`` purchases of mean ``m`` has ``nu ~ gamma(q + p x, gamma + x m)``, so the sum of
``n`` further purchases, which share that one nu, is

.. math:: S_n = (\gamma + x m) B_n, \qquad B_n \sim \text{beta-prime}(n p,\; q + p x),

a ratio of two independent gamma variables. Nothing but the factor in front depends on ``m``: the
total over an uncertain ``n`` is therefore tabulated once per ``x`` and scaled to each customer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.stats.quadrature import legendre

_PIECE = 8
_GRID = 14 * _PIECE
_EDGE = 1e-6
_EXACT_COUNTS = 16
_NODES, _SHARP = 8, 4.0
"""Points in each step of the grid, and the squared steps per variance that they sum exactly."""
W_NODES: FloatArray = np.array([0.0, 0.5, 1.0])
"""Shares of gamma in ``gamma + x m`` at which tables are made; quadratic in between."""


class SpendParams(NamedTuple):
    """Equally probable Gamma-Gamma parameters, each of shape (n_nodes,)."""

    p: FloatArray
    q: FloatArray
    gamma: FloatArray


def total_spend_cdf(
    s: FloatArray, n: FloatArray, x: FloatArray, m: FloatArray, params: SpendParams
) -> FloatArray:
    """P(sum of n further purchases <= s | x purchases of mean m), averaged over the nodes.

    Parameters
    ----------
    s, n, x, m : ndarray
        Amount >= 0, number of purchases >= 1, history; they broadcast.
    params : SpendParams

    Returns
    -------
    ndarray
        The regularised incomplete beta function ``I_{s / (s + gamma + x m)}(n p, q + p x)``.

    Examples
    --------
    >>> one = SpendParams(np.array([6.25]), np.array([3.74]), np.array([15.44]))
    >>> total_spend_cdf(np.array([35.0]), 1.0, 0.0, 0.0, one).round(3)
    array([0.653])
    """
    values = [
        special.betainc(n * p, q + p * x, s / (s + gamma + x * m))
        for p, q, gamma in zip(*params, strict=True)
    ]
    return np.asarray(np.mean(values, axis=0))


def ladder(most: float) -> IntArray:
    """Whole numbers from 1 past ``most``: every one to 16, then with gaps of ``sqrt(n) / 3``.

    The rungs below a number do not depend on ``most``.

    Examples
    --------
    >>> ladder(40)[-4:].tolist()
    [36, 38, 40, 42]
    """
    rungs = [1]
    while rungs[-1] <= most:
        # The gaps grow as the spread of a Poisson count does, so that no rung is felt.
        step = 1 if rungs[-1] < _EXACT_COUNTS else max(1, int(np.sqrt(rungs[-1]) / 3.0))
        rungs.append(rungs[-1] + step)
    return np.array(rungs, dtype=np.int64)


def thin_counts(n_max: int) -> tuple[IntArray, FloatArray]:
    """Choose counts that stand for 1..n_max, and how the others are shared among them.

    The counts are those of :func:`ladder`; one in a gap is split between its two neighbours such
    that the mean is kept. That adds under two per cent of the variance of a Poisson count, which
    is the least uncertain there is.

    Returns
    -------
    counts : ndarray of int, shape (n_nodes,)
        Rising from 1.
    shares : ndarray, shape (n_max + 1, n_nodes)
        Row ``n`` is how count ``n`` is shared; row 0 is empty.
    """
    counts = ladder(n_max)
    every = np.arange(1, n_max + 1)
    left = np.searchsorted(counts, every, side="right") - 1
    share = (every - counts[left]) / (counts[left + 1] - counts[left])
    shares = np.zeros((n_max + 1, len(counts)))
    shares[every, left] = 1.0 - share
    shares[every, left + 1] = share
    return counts, shares


@dataclass(frozen=True)
class CompoundTable:
    """CDF of the scaled total for one ``x``, by number of purchases and share ``w``.

    Attributes
    ----------
    log_u : ndarray, shape (n_grid,)
        Logarithm of ``total / (gamma + x m)`` at the mean parameters.
    cdf : ndarray, shape (n_counts, n_w, n_grid)
    """

    log_u: FloatArray
    cdf: FloatArray


def tabulate(
    x: float, counts: IntArray, params: SpendParams, reference_gamma: float
) -> CompoundTable:
    """Tabulate the scaled total for customers with ``x`` purchases.

    Parameters
    ----------
    x : float
        Purchases behind the mean spend.
    counts : ndarray of int, shape (n_counts,)
        Numbers of further purchases, rising.
    params : SpendParams
    reference_gamma : float
        The gamma in the scale ``gamma + x m``.
    """
    # Another gamma only moves the curve along log u: one incomplete beta serves all shares.
    shifts = np.log1p((params.gamma / reference_gamma - 1.0)[:, None] * W_NODES)
    ends = []
    for p, q, shift in zip(params.p, params.q, shifts, strict=True):
        b = q + p * x
        # The upper end by its distance from 1: where spend has no mean, rounding would make it 1.
        upper = special.betaincinv(b, counts[-1] * p, _EDGE)
        ends.append(special.logit(special.betaincinv(counts[0] * p, b, _EDGE)) + shift)
        ends.append(shift - special.logit(upper))
    log_u = np.linspace(np.min(ends), np.max(ends), _GRID)
    cdf = np.zeros((len(counts), len(W_NODES), _GRID))
    for p, q, shift in zip(params.p, params.q, shifts, strict=True):
        unshifted = _beta_prime_cdf(counts * p, q + p * x, log_u)
        for j, by in enumerate(shift / (log_u[1] - log_u[0])):
            cdf[:, j] += _shifted(unshifted, by)
    return CompoundTable(log_u, cdf / len(params.p))


def _beta_prime_cdf(a: FloatArray, b: float, log_u: FloatArray) -> FloatArray:
    """P(log of beta-prime(a, b) <= log_u) on an even grid, shape (len(a), len(log_u))."""
    step = log_u[1] - log_u[0]
    # The quantile function wants u, the incomplete beta u / (1 + u), whose log-odds are log u.
    if step**2 * a[-1] * b / (a[-1] + b) > _SHARP:
        return np.asarray(special.betainc(a[:, None], b, special.expit(log_u)))
    # The density summed along the grid: several times as fast, and equal to 1e-11.
    nodes, weights = legendre(_NODES)
    at = (log_u[:-1] + step * nodes[:, None]).ravel()
    logs = np.multiply.outer(a, special.log_expit(at))
    logs += b * special.log_expit(-at)
    logs -= special.betaln(a, b)[:, None]
    density = np.exp(logs, out=logs).reshape(len(a), _NODES, -1)
    found = np.empty((len(a), len(log_u)))
    found[:, 0] = special.betainc(a, b, special.expit(log_u[0]))
    found[:, 1:] = 0.0
    for k, weight in enumerate(step * weights):
        found[:, 1:] += weight * density[:, k]
    return np.cumsum(found, axis=1, out=found)


def _shifted(curve: FloatArray, by: float) -> FloatArray:
    """Move a CDF ``by`` grid steps to the right, by cubic interpolation (Lagrange, four points)."""
    if by == 0.0:
        return curve
    whole = int(np.floor(-by))
    t = -by - whole
    size = curve.shape[-1]
    weights = (
        -t * (t - 1.0) * (t - 2.0) / 6.0,
        (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
        -(t + 1.0) * t * (t - 2.0) / 2.0,
        (t + 1.0) * t * (t - 1.0) / 6.0,
    )
    # Left of the grid the distribution function is 0, right of it 1.
    wide = np.ones((*curve.shape[:-1], 3 * size + 6))
    wide[..., : size + 3] = 0.0
    wide[..., size + 3 : 2 * size + 3] = curve
    begin = min(max(size + 2 + whole, 0), 2 * size + 3)
    total = weights[0] * wide[..., begin : begin + size]
    for k, weight in enumerate(weights[1:], start=1):
        total += weight * wide[..., begin + k : begin + k + size]
    # A cubic may overshoot where the curve bends.
    return np.clip(total, 0.0, 1.0, out=total)


def compound_quantiles(
    none: FloatArray, weights: FloatArray, table: CompoundTable, levels: FloatArray
) -> FloatArray:
    """Log-quantiles of the scaled total when the number of purchases is uncertain.

    Parameters
    ----------
    none : ndarray, shape (n_rows,)
        P(no purchase).
    weights : ndarray, shape (n_rows, n_counts)
        P(the counts of the table); with ``none`` they sum to 1.
    table : CompoundTable
    levels : ndarray, shape (n_levels,)
        Strictly between 0 and 1.

    Returns
    -------
    ndarray, shape (n_rows, n_w, n_levels)
        ``-inf`` where the quantile is 0. Between grid points the probit of the CDF given a
        purchase is taken as linear in the logarithm, of which it nearly is.
    """
    out = np.empty((len(none), len(W_NODES), len(levels)))
    # Blocks stay in the cache.
    for begin in range(0, len(none), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        out[part] = _block_quantiles(none[part], weights[part], table, levels)
    return out


def _block_quantiles(
    none: FloatArray, weights: FloatArray, table: CompoundTable, levels: FloatArray
) -> FloatArray:
    n_w, size = table.cdf.shape[1:]
    cdf = times(weights, table.cdf.reshape(len(weights.T), -1))
    goal = levels - none[:, None]
    after = _first_reached(cdf.reshape(-1, n_w, size), goal)
    at = np.stack([after - 1, after])
    # Given a purchase; a level below P(no purchase) has the quantile 0.
    bought = np.maximum(1.0 - none, 1e-300)[:, None]
    begin = size * np.arange(len(none) * n_w).reshape(-1, n_w, 1)
    around = cdf.ravel()[at + begin] / bought[:, :, None]
    z = special.ndtri(np.clip(around, 1e-15, 1 - 1e-15))
    target = special.ndtri(np.clip(goal / bought, 1e-15, 1 - 1e-15))[:, None, :]
    share = np.clip((target - z[0]) / np.maximum(z[1] - z[0], 1e-12), 0.0, 1.0)
    low, high = table.log_u[at]
    return np.where(goal[:, None, :] > 0, low + share * (high - low), -np.inf)


def _first_reached(cdf: FloatArray, goal: FloatArray) -> IntArray:
    """Place from 1 on of the first grid point where each curve reaches each goal, or the last one.

    Parameters
    ----------
    cdf : ndarray, shape (n, n_w, n_grid)
    goal : ndarray, shape (n, n_levels)

    Returns
    -------
    ndarray of int, shape (n, n_w, n_levels)
    """
    n, n_w, size = cdf.shape
    pieces = cdf.reshape(-1, _PIECE)
    begin = (size // _PIECE) * np.arange(n * n_w).reshape(n, n_w)
    found = np.empty((n, n_w, goal.shape[1]), dtype=np.int64)
    for k, level in enumerate(goal.T[:, :, None, None]):
        # First the piece of the curve, by the last points of the pieces, then the point in it.
        piece = _count(cdf[:, :, _PIECE - 1 :: _PIECE] < level)
        np.minimum(piece, size // _PIECE - 1, out=piece)
        inside = pieces[begin + piece] < level
        found[:, :, k] = _PIECE * piece + _count(inside)
    return np.clip(found, 1, size - 1)


def _count(true: BoolArray) -> IntArray:
    # at most 255 points, so one byte is enough
    count: IntArray = np.add.reduce(true.view(np.uint8), axis=-1, dtype=np.uint8).astype(np.int64)
    return count


_BLOCK = 256


def times(rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """Multiply rows by a matrix, to the same bits whatever rows stand beside one.

    Libraries of linear algebra sum in an order that depends on the number of rows, so they are
    multiplied in blocks of one size, the last of them filled up.

    Parameters
    ----------
    rows : ndarray, shape (n, k)
    matrix : ndarray, shape (k, m)
    """
    whole = -(-len(rows) // _BLOCK)
    filled = np.zeros((whole * _BLOCK, rows.shape[1]))
    filled[: len(rows)] = rows
    out = np.empty((len(filled), matrix.shape[1]))
    for begin in range(0, len(filled), _BLOCK):
        np.matmul(filled[begin : begin + _BLOCK], matrix, out=out[begin : begin + _BLOCK])
    return out[: len(rows)]


def interpolate_share(log_quantile: FloatArray, w: FloatArray) -> FloatArray:
    """Quadratic through the three shares of :data:`W_NODES`.

    Parameters
    ----------
    log_quantile : ndarray, shape (n, 3, n_levels)
    w : ndarray, shape (n,)
        In [0, 1].

    Returns
    -------
    ndarray, shape (n, n_levels)
    """
    basis = np.stack([2.0 * (w - 0.5) * (w - 1.0), 4.0 * w * (1.0 - w), 2.0 * w * (w - 0.5)])
    # Whether it is 0 hangs on the counts alone, so all three shares agree.
    zero = np.isneginf(log_quantile[:, 0])
    finite = np.where(zero[:, None], 0.0, log_quantile)
    value = sum(basis[j][:, None] * finite[:, j] for j in range(3))
    return np.where(zero, -np.inf, value)
