"""P(still active at a later moment) of customers who are active now, for every purchase process.

==============  =====================================================================
who leaves      P(active at t | active at 0)
==============  =====================================================================
at purchases    ``E[(1 + p t / alpha)**-r]``, p ~ Beta(a, b); for regular purchases the
                mean of ``(1 - p)**n`` over the number n of purchases due
at any moment   ``(beta / (beta + t))**s``
by the period   ``B(gamma, delta + t) / B(gamma, delta)``
==============  =====================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import betaln

from crmml._typing import FloatArray
from crmml.stats.bg_nbd import dropout_rule, logit_range

_BLOCK = 2**17
_REST = 1e-10
_MOST_DUE = 5_000


def survival(process: Any, params: Any, t: FloatArray) -> FloatArray:
    """P(still active at t) of customers who are active at 0, shape (n,).

    Parameters
    ----------
    process : PurchaseProcess
    params : NamedTuple
        Of the future of active customers, fields of shape (n,) or numbers.
    t : ndarray, shape (n,)
        On the clock of the process.

    Examples
    --------
    >>> from crmml.stats import bg_nbd, pareto_nbd
    >>> p = bg_nbd.Params(0.243, 4.414, 0.793, 2.426)
    >>> survival(bg_nbd, p, np.array([0.0, 39.0])).round(3)
    array([1.   , 0.794])
    >>> p = pareto_nbd.Params(0.553, 10.578, 0.606, 11.669)
    >>> survival(pareto_nbd, p, np.array([0.0, 39.0])).round(3)
    array([1.   , 0.411])
    """
    t = np.asarray(t, dtype=np.float64)
    fields = params._fields
    if "s" in fields:
        return np.asarray((params.beta / (params.beta + t)) ** params.s)
    if "gamma" in fields:
        more = betaln(params.gamma, params.delta + t) - betaln(params.gamma, params.delta)
        return np.asarray(np.broadcast_to(np.exp(more), t.shape))
    if getattr(process, "k", 1) > 1:
        return _after_regular_purchases(process, params, t)
    r, alpha, a, b = (np.broadcast_to(np.asarray(v, dtype=np.float64), t.shape) for v in params[:4])
    return _after_purchases(r, t / alpha, a, b)


def _after_purchases(r: FloatArray, odds: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """E[(1 + p odds)**-r], p ~ Beta(a, b), by the rule of :func:`bg_nbd.expected_purchases`."""
    left, right, step = logit_range(a, b, r * odds)
    n_nodes = 16 * np.ceil((right - left) / step / 16.0).astype(np.int64) + 1
    stays = np.empty(len(r))
    for n in np.unique(n_nodes):
        group = np.flatnonzero(n_nodes == n)
        width = max(1, _BLOCK // int(n))
        for first in range(0, len(group), width):
            rows = group[first : first + width]
            mass, p = dropout_rule(a[rows], b[rows], left[rows], right[rows], int(n))
            leaves = -np.expm1(-r[rows, None] * np.log1p(p * odds[rows, None]))
            stays[rows] = 1.0 - (mass * p * leaves).sum(axis=1)
    return np.clip(stays, 0.0, 1.0)


def _after_regular_purchases(process: Any, params: Any, t: FloatArray) -> FloatArray:
    """Average ``(1 - p)**n`` over the purchases due, which come every k-th tick."""
    full = type(params)(*(np.broadcast_to(np.asarray(v, np.float64), t.shape) for v in params))
    _, stages = process._silence(full.r, full.silence)
    stays, left = np.zeros(t.shape), np.ones(t.shape)
    survives = np.ones(t.shape)
    for n, due in enumerate(process._purchases_due(full, stages, t)):
        stays += due * survives
        left = left - due
        survives = survives * (full.b + n) / (full.a + full.b + n)
        # What is left is active with at most the probability reached so far.
        if (left * survives < _REST).all() or n >= _MOST_DUE:
            break
    return np.clip(stays, 0.0, 1.0)
