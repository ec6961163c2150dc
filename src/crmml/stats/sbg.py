r"""Shifted beta-geometric: contracts that end at a renewal, heterogeneous in the chance of it.

Fader and Hardie (2007), Journal of Interactive Marketing 21(1). At every renewal date the customer
ends the contract with probability :math:`\theta \sim` Beta(alpha, beta). Equation numbers are
those of the paper; the residual lifetime is that of Fader and Hardie (2010), Marketing Science
29(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import psi

from crmml._typing import BoolArray, FloatArray
from crmml.stats.quadrature import REACH
from crmml.stats.special import log_rising

NAMES: tuple[str, ...] = ("alpha", "beta")


class Params(NamedTuple):
    """Shapes of the probability of ending at a renewal date; positive numbers or arrays."""

    alpha: Any
    beta: Any


def make(theta: Sequence[Any]) -> Params:
    """Build the parameters from (alpha, beta)."""
    return Params(*theta)


def log_survival(params: Params, t: FloatArray) -> FloatArray:
    """Log of P(the contract outlasts t renewal dates), equation (6), ``B(a, b+t) / B(a, b)``.

    Examples
    --------
    >>> np.exp(log_survival(Params(0.668, 3.806), np.array([0.0, 1.0, 7.0]))).round(3)
    array([1.   , 0.851, 0.489])
    """
    alpha, beta = params
    return np.asarray(log_rising(beta, t) - log_rising(alpha + beta, t))


def log_likelihood(params: Params, renewals: FloatArray, ended: BoolArray) -> FloatArray:
    """Log-probability of each contract, equation (5) if ended, (6) if active.

    Parameters
    ----------
    params : Params
    renewals : ndarray, shape (n,)
        Renewal dates outlasted.
    ended : ndarray of bool, shape (n,)
        Whether the contract ended at the next one; else it is active and that date lies ahead.
    """
    return score(params, renewals, ended)[0]


def score(params: Params, renewals: FloatArray, ended: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Log-probability of each contract and its derivatives by the log-parameters.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (2, n)
    """
    alpha, beta = params
    left = ended.astype(np.float64)
    total = alpha + beta
    last = left / (total + renewals)
    both = psi(total) - psi(total + renewals) - last
    value = log_survival(params, renewals) + left * np.log(alpha / (total + renewals))
    gradient = np.stack(
        [alpha * (both + left / alpha), beta * (both + psi(beta + renewals) - psi(beta))]
    )
    return value, gradient


def retention_rate(params: Params, t: FloatArray) -> FloatArray:
    """P(the contract outlasts renewal date t, given that it met it), equation (8), t >= 1."""
    alpha, beta = params
    return np.asarray((beta + t - 1.0) / (alpha + beta + t - 1.0))


def if_active(params: Params, renewals: FloatArray) -> Params:
    """Parameters of the future of a contract that is active after some renewals."""
    return Params(params.alpha, params.beta + renewals)


def expected_renewals(params: Params, t: FloatArray, delta: float) -> FloatArray:
    r"""E[renewals at the next t dates] of an active contract, the first date undiscounted.

    :math:`\sum_{i=1}^{t} S(i) e^{-\delta (i-1)}`; with ``t = inf`` the discounted expected
    residual lifetime (DERL) just before a renewal date. At ``delta = 0`` and ``t = inf`` it is
    ``beta / (alpha - 1)``, infinite for alpha <= 1.

    Parameters
    ----------
    params : Params
    t : ndarray
        Number of renewal dates ahead, whole, or ``inf``.
    delta : float
        Continuous discount rate per period, >= 0.
    """
    alpha, beta, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    if delta == 0.0 and np.isinf(t).any():
        with np.errstate(divide="ignore"):
            ever = np.where(alpha > 1.0, beta / (alpha - 1.0), np.inf)
        finite = expected_renewals(params, np.where(np.isinf(t), 0.0, t), 0.0)
        return np.where(np.isinf(t), ever, finite)
    last = min(float(t.max(initial=0.0)), REACH / delta if delta > 0.0 else np.inf)
    active = np.ones(t.shape)
    total = np.zeros(t.shape)
    for i in range(1, int(np.ceil(last)) + 1):
        active = active * (beta + (i - 1.0)) / (alpha + beta + (i - 1.0))
        total += np.where(i <= t, active * np.exp(-delta * (i - 1.0)), 0.0)
    return total


def draw(params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw how many of the next t renewal dates an active contract outlasts, shape (n,)."""
    alpha, beta, t = np.broadcast_arrays(*params, t)
    stays = np.log1p(-np.minimum(rng.beta(alpha, beta), 1.0 - 1e-16))
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(np.floor(-rng.exponential(size=t.shape) / stays), t))
