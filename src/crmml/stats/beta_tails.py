"""Tails of beta distributions of whole-numbered shapes at many points, read off stored curves.

What ``n`` purchases bring, over what ``x`` brought, has beta tails of the shapes ``p n`` and
``q + p x``. Customers share few pairs of ``n`` and ``x`` and differ in the point. By the log-odds
of the point a tail is a smooth curve, so it is laid down once per pair, with value, slope and bend
exact at 256 knots, and read in between by polynomials of the fifth degree: within 1e-8 of the
incomplete beta function, and 1e-11 as a rule. Long ``n`` and ``x`` are worked out point by point.
Each value hangs on its own arguments alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import special

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.stats.quadrature import legendre

_KNOTS = 256
_EDGE = 1e-11
"""Probability beyond either end of a curve, where it is taken as 0 or 1."""
_WIDEST = 0.25
"""Step in log-odds up to which a curve is followed."""
_BLOCK = 2**14
_MOST_N, _MOST_X = 15, 63
"""Counts up to which curves are laid down, 180 kB for each ``x``."""


class _Curves(NamedTuple):
    """Tails of 1.._MOST_N: where each begins, knots per unit of log-odds, and its polynomials."""

    begin: FloatArray
    density: FloatArray
    pieces: FloatArray


class _Laid(NamedTuple):
    """The curves of every x one after the other, of which those are filled that were asked for."""

    known: BoolArray
    curves: _Curves


def beta_tails(
    p: float, q: float, n: FloatArray, x: FloatArray, log_odds: FloatArray
) -> FloatArray:
    """P(B > y) of ``B ~ beta(p n, q + p x)``.

    Parameters
    ----------
    p, q : float
        > 0.
    n, x : ndarray, shape (n_points,)
        Counts: ``n`` whole and >= 1, ``x`` >= 0.
    log_odds : ndarray, shape (n_points,)
        ``log(y / (1 - y))`` of each point.

    Examples
    --------
    >>> one = np.ones(1)
    >>> beta_tails(1.0, 1.0, one, 0.0 * one, 0.0 * one).round(9)
    array([0.5])
    """
    found = np.empty(len(n))
    # Blocks stay in the cache.
    for low in range(0, len(n), _BLOCK):
        part = slice(low, low + _BLOCK)
        found[part] = _tails(p, q, n[part], x[part], log_odds[part])
    return found


def _tails(p: float, q: float, n: FloatArray, x: FloatArray, log_odds: FloatArray) -> FloatArray:
    on_curve = (n <= _MOST_N) & (x <= _MOST_X) & (x == np.floor(x))
    if on_curve.all():
        found = _on_curves(p, q, n, x, log_odds)
    else:
        found = np.full(len(n), np.nan)
        rows = np.flatnonzero(on_curve)
        found[rows] = _on_curves(p, q, n[rows], x[rows], log_odds[rows])
    rest = np.flatnonzero(np.isnan(found))
    if len(rest):
        y = special.expit(log_odds[rest])
        found[rest] = special.betaincc(p * n[rest], q + p * x[rest], y)
    return found


def _on_curves(
    p: float, q: float, n: FloatArray, x: FloatArray, log_odds: FloatArray
) -> FloatArray:
    """Read the tails; NaN where no curve is followed."""
    shared = x.astype(np.int64)
    begin, density, pieces = _curves_of(p, q, np.flatnonzero(np.bincount(shared)))
    curve = shared * _MOST_N + (n.astype(np.int64) - 1)
    # Beyond the ends of a curve lie its first and its last value.
    at = np.clip((log_odds - begin[curve]) * density[curve], 0.0, _KNOTS - 1.0)
    piece = np.minimum(np.nan_to_num(at).astype(np.int64), _KNOTS - 2)
    terms = pieces[curve * (_KNOTS - 1) + piece]
    at -= piece
    value = terms[:, 5]
    for power in range(4, -1, -1):
        value = value * at + terms[:, power]
    return np.asarray(np.clip(value, 0.0, 1.0))


@lru_cache(maxsize=2)
def _room(p: float, q: float) -> _Laid:
    n_curves = (_MOST_X + 1) * _MOST_N
    pieces = np.empty((n_curves * (_KNOTS - 1), 6))
    curves = _Curves(np.empty(n_curves), np.empty(n_curves), pieces)
    return _Laid(np.zeros(_MOST_X + 1, dtype=bool), curves)


def _curves_of(p: float, q: float, present: IntArray) -> _Curves:
    """Return the curves, those of some ``x`` among them."""
    known, curves = _room(p, q)
    for x in present[~known[present]].tolist():
        for room, its in zip(curves, _curves(p, q, float(x)), strict=True):
            room[x * len(its) : (x + 1) * len(its)] = its
        known[x] = True
    return curves


def _curves(p: float, q: float, x: float) -> _Curves:
    """Lay down the curves of one ``x``; NaN where the tails are too long to be followed."""
    a, b = p * np.arange(1.0, _MOST_N + 1.0)[:, None], q + p * x
    with np.errstate(divide="ignore"):
        low = special.logit(special.betaincinv(a, b, _EDGE))
        high = -special.logit(special.betaincinv(b, a, _EDGE))
    step = (high - low) / (_KNOTS - 1)
    step = np.where(step <= _WIDEST, step, np.nan)
    at = low + step * np.arange(_KNOTS)
    slope = _slope(a, b, at, step)
    bend = step * slope * (a * special.expit(-at) - b * special.expit(at))
    # Summed along the curve: ten times as fast as an incomplete beta function at each knot.
    nodes, weights = legendre(4)
    inside = at[:, :-1, None] + step[..., None] * nodes
    falls = (_slope(a[..., None], b, inside, step[..., None]) * weights).sum(axis=-1)
    value = (1.0 - _EDGE) + np.cumsum(np.pad(falls, ((0, 0), (1, 0))), axis=1)
    # Hermite: value, slope and bend are met at both ends of each piece.
    rise = np.diff(value)
    v, v_end, w, w_end = slope[:, :-1], slope[:, 1:], bend[:, :-1], bend[:, 1:]
    terms = [
        value[:, :-1],
        v,
        w / 2.0,
        10.0 * rise - 6.0 * v - 4.0 * v_end - 1.5 * w + 0.5 * w_end,
        -15.0 * rise + 8.0 * v + 7.0 * v_end + 1.5 * w - w_end,
        6.0 * rise - 3.0 * v - 3.0 * v_end - 0.5 * w + 0.5 * w_end,
    ]
    pieces = np.stack(terms, axis=-1).reshape(-1, len(terms))
    return _Curves(low[:, 0], 1.0 / step[:, 0], pieces)


def _slope(a: FloatArray, b: float, at: FloatArray, step: FloatArray) -> FloatArray:
    """Slope of the tail by knots, at some log-odds."""
    log_density = a * special.log_expit(at) + b * special.log_expit(-at) - special.betaln(a, b)
    return np.asarray(-step * np.exp(log_density))
