r"""Discrete-time hazards with competing causes, and the beta-discrete-Weibull.

With hazards :math:`h_c(t)` of the causes in period t, :math:`S(t) = \prod_{u \le t} (1 - \sum_c
h_c(u))` is the survival and :math:`F_c(t) = \sum_{u \le t} S(u-1) h_c(u)` the cumulative incidence
of cause c (Tutz and Schmid 2016, Modeling Discrete Time-to-Event Data, chapter 8).

The beta-discrete-Weibull (Fader, Hardie, Liu, Davin, Steenburgh 2018, Journal of Interactive
Marketing 43) lets the chance of ending change with age as well as between customers:
:math:`S(t) = B(\alpha, \beta + t^c) / B(\alpha, \beta)`. At c = 1 it is the shifted
beta-geometric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import psi

from crmml._typing import BoolArray, FloatArray
from crmml.stats.special import log_rising

NAMES: tuple[str, ...] = ("alpha", "beta", "c")


class Params(NamedTuple):
    """Shapes of the chance of ending, and how it changes with age (c > 1: it rises)."""

    alpha: Any
    beta: Any
    c: Any


def log_survival(params: Params, t: FloatArray) -> FloatArray:
    """Log of P(the contract outlasts t renewal dates) of the beta-discrete-Weibull.

    Examples
    --------
    >>> np.exp(log_survival(Params(0.668, 3.806, 1.0), np.array([0.0, 1.0, 7.0]))).round(3)
    array([1.   , 0.851, 0.489])
    """
    alpha, beta, c = params
    aged = np.asarray(t, dtype=np.float64) ** c
    return np.asarray(log_rising(beta, aged) - log_rising(alpha + beta, aged))


def score(
    params: Params, entered: FloatArray, renewals: FloatArray, ended: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Log-probability of contracts, given what they had outlasted when first seen.

    Parameters
    ----------
    params : Params
    entered : ndarray, shape (n,)
        Renewals outlasted when the contract came under observation (left truncation); 0 for
        contracts seen from their start.
    renewals : ndarray, shape (n,)
        Renewal dates outlasted in all, >= ``entered``.
    ended : ndarray of bool, shape (n,)
        Whether the contract ended at the next one.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (3, n)
        By the log-parameters.
    """
    now, slope_now = _log_survival(params, renewals)
    later, slope_later = _log_survival(params, renewals + 1.0)
    seen, slope_seen = _log_survival(params, entered)
    # log(S(k) - S(k + 1)) and its slope, by the share of S(k) that is left after the next date.
    stays = np.exp(later - now)
    gone = np.maximum(-np.expm1(later - now), 1e-300)
    ends = now + np.log(gone)
    slope_ends = (slope_now - stays * slope_later) / gone
    value = np.where(ended, ends, now) - seen
    return value, np.where(ended, slope_ends, slope_now) - slope_seen


def _log_survival(params: Params, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log survival, and its slopes by the log-parameters."""
    alpha, beta, c = params
    aged = t**c
    both = psi(alpha + beta) - psi(alpha + beta + aged)
    own = psi(beta + aged) - psi(beta)
    by_aged = psi(beta + aged) - psi(alpha + beta + aged)
    # t^c log t is 0 at t = 0: nothing has aged yet.
    grown = aged * np.log(np.maximum(t, 1.0))
    return log_survival(params, t), np.stack(
        [alpha * both, beta * (own + both), c * by_aged * grown]
    )


def make(theta: Sequence[Any]) -> Params:
    """Build the parameters from (alpha, beta, c)."""
    return Params(*theta)


def incidence(hazards: FloatArray, exposure: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Survival and cumulative incidence of competing causes.

    Parameters
    ----------
    hazards : ndarray, shape (n_causes, n, m)
        Of each cause in each of m coming periods; their sum over the causes is at most 1.
    exposure : ndarray, shape (n, m)
        Share of each period that counts, in [0, 1]: a customer outlasts a share e of a period
        with probability ``(1 - h)^e``.

    Returns
    -------
    survival : ndarray, shape (n, m)
        At the end of each period.
    incidence : ndarray, shape (n_causes, n, m)
        Of each cause until the end of each period; with survival they add up to 1.

    Examples
    --------
    >>> h = np.array([[[0.1, 0.1]], [[0.3, 0.3]]])
    >>> survival, by_cause = incidence(h, np.ones((1, 2)))
    >>> survival.round(3).tolist(), by_cause[:, 0].round(3).tolist()
    ([[0.6, 0.36]], [[0.1, 0.16], [0.3, 0.48]])
    """
    total = np.minimum(hazards.sum(axis=0), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_stays = np.where(exposure > 0, exposure * np.log1p(-total), 0.0)
    survival = np.exp(np.cumsum(log_stays, axis=1))
    before = np.concatenate([np.ones((len(survival), 1)), survival[:, :-1]], axis=1)
    share = hazards / np.where(total > 0, total, 1.0)
    return survival, np.cumsum(share * (before * -np.expm1(log_stays)), axis=2)
