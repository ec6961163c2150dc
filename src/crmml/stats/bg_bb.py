r"""BG/BB: purchases and dropout at discrete opportunities.

Fader, Hardie and Shang (2010), Marketing Science 29(6). At each of ``T`` opportunities an active
customer first leaves for good with probability :math:`\theta \sim` Beta(gamma, delta), and else
purchases with probability :math:`p \sim` Beta(alpha, beta). Here ``x`` counts the purchases after
the first one, ``t_x`` is the opportunity of the last and time is the number of opportunities.
Equation numbers are those of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, psi

from crmml._typing import FloatArray
from crmml.stats.quadrature import REACH
from crmml.stats.special import log_rising

NAMES: tuple[str, ...] = ("alpha", "beta", "gamma", "delta")


class Params(NamedTuple):
    """Shapes of the purchase probability (alpha, beta) and the dropout probability (gamma, delta).

    Each is a positive number or an array over the rows.
    """

    alpha: Any
    beta: Any
    gamma: Any
    delta: Any


def make(theta: Sequence[Any]) -> Params:
    """Build the parameters from (alpha, beta, gamma, delta)."""
    return Params(*theta)


class _Past(NamedTuple):
    """Log-likelihood of the history with the customer active at T, and of having left before."""

    log_active: FloatArray
    log_left: FloatArray
    active_gradient: FloatArray
    left_gradient: FloatArray


def _past(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> _Past:
    """Both terms of equation (7), with their derivatives by the parameters, shape (4, n)."""
    alpha, beta, gamma, delta, x, t_x, T = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, x, t_x, T))
    )

    # Both terms have one form: purchases and silence up to an opportunity m, still active there.
    def up_to(m: FloatArray) -> tuple[FloatArray, FloatArray]:
        value = (
            log_rising(alpha, x)
            + log_rising(beta, m - x)
            - log_rising(alpha + beta, m)
            + log_rising(delta, m)
            - log_rising(gamma + delta, m)
        )
        both = psi(alpha + beta) - psi(alpha + beta + m)
        ends = psi(gamma + delta) - psi(gamma + delta + m)
        gradient = np.stack(
            [
                psi(alpha + x) - psi(alpha) + both,
                psi(beta + m - x) - psi(beta) + both,
                ends,
                psi(delta + m) - psi(delta) + ends,
            ]
        )
        return value, gradient

    log_active, active_gradient = up_to(T)
    log_first, slope = up_to(t_x)
    # Leaving right after t_x, then after each silent opportunity; terms relative to the first.
    out = 1.0 / (gamma + delta + t_x)
    log_first = log_first + np.log(gamma * out)
    slope = slope + np.stack([0.0 * out, 0.0 * out, 1.0 / gamma - out, -out])
    term = np.where(t_x < T, 1.0, 0.0)
    total, gradient = term.copy(), term * slope
    # Each term is the one before times two ratios, which needs neither gamma functions nor logs.
    for i in range(1, int((T - t_x).max(initial=0.0))):
        silent = beta + t_x - x + (i - 1.0)
        chosen, stayed = alpha + beta + t_x + (i - 1.0), delta + t_x + (i - 1.0)
        ended = gamma + delta + t_x + i
        term = np.where(i < T - t_x, term * (silent / chosen) * (stayed / ended), 0.0)
        slope = slope + np.stack(
            [-1.0 / chosen, 1.0 / silent - 1.0 / chosen, -1.0 / ended, 1.0 / stayed - 1.0 / ended]
        )
        total += term
        gradient += term * slope
    with np.errstate(divide="ignore"):
        log_left = log_first + np.log(total)
    return _Past(log_active, log_left, active_gradient, gradient / np.maximum(total, 1e-300))


def log_likelihood(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    """Log-likelihood of each history, equation (7).

    Parameters
    ----------
    params : Params
    x, t_x, T : ndarray, shape (n,)
        Whole numbers: purchases, opportunity of the last one (0 without), opportunities so far.

    Examples
    --------
    >>> p = Params(1.204, 0.750, 0.657, 2.783)
    >>> log_likelihood(p, np.array([0.0]), np.array([0.0]), np.array([6.0])).round(4)
    array([-1.1673])
    """
    past = _past(params, x, t_x, T)
    return np.asarray(np.logaddexp(past.log_active, past.log_left))


def score(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood and its exact derivatives by the log-parameters.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (4, n)
    """
    past = _past(params, x, t_x, T)
    # The gradient of a log-sum is the mean of both gradients, weighted by the terms' shares.
    left = expit(past.log_left - past.log_active)
    gradient = past.active_gradient + left * (past.left_gradient - past.active_gradient)
    scale = np.stack(np.broadcast_arrays(*params, x)[:4])
    return np.asarray(np.logaddexp(past.log_active, past.log_left)), scale * gradient


def probability_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    """P(has not left at any of the T opportunities | history), shape (n,).

    The paper's equation (11) looks at the next opportunity; multiply by
    ``(delta + T) / (gamma + delta + T)``.
    """
    past = _past(params, x, t_x, T)
    return np.asarray(expit(past.log_active - past.log_left))


def if_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Params:
    """Parameters of the future of a customer active at T: both beta posteriors."""
    alpha, beta, gamma, delta = params
    return Params(alpha + x, beta + T - x, gamma, delta + T)


def expected_purchases(params: Params, t: FloatArray) -> FloatArray:
    """E[purchases at the next t opportunities] of an active customer, equation (8).

    A sum over the opportunities of P(still active), so nothing happens at gamma = 1.

    Examples
    --------
    >>> expected_purchases(Params(1.204, 0.750, 0.657, 2.783), np.array([6.0])).round(3)
    array([2.22])
    """
    return discounted_purchases(params, t, 0.0)


def pmf(params: Params, t: FloatArray, n_max: int) -> FloatArray:
    """P(n purchases at the next t opportunities) of an active customer, equation (9).

    Returns
    -------
    ndarray, shape (n, n_max + 1)
        The beta-binomial count averaged over the number of opportunities taken.
    """
    alpha, beta, gamma, delta, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    probabilities = np.zeros((len(t), n_max + 1))
    stays = np.ones(len(t))
    for taken in range(int(t.max(initial=0.0)) + 1):
        # The chance of leaving now given the opportunities survived, by the beta posterior.
        leaves = stays * gamma / (gamma + delta + taken)
        share = np.where(taken < t, leaves, np.where(taken == t, stays, 0.0))
        stays = stays - leaves
        for n in range(min(taken, n_max) + 1):
            log_count = (
                log_rising(alpha, n)
                + log_rising(beta, taken - n)
                - log_rising(alpha + beta, taken)
                + log_rising(taken - n + 1.0, n)
                - log_rising(1.0, n)
            )
            probabilities[:, n] += share * np.exp(log_count)
    return probabilities


def discounted_purchases(params: Params, t: FloatArray, delta: float) -> FloatArray:
    """E[sum of exp(-delta i) over purchases at the next t opportunities i] if active.

    For ``t = inf`` the DERT of equation (14), summed until what is left is below 1e-16; at
    ``delta = 0`` its limit ``alpha / (alpha + beta) * delta / (gamma - 1)`` in the parameters,
    infinite for gamma <= 1.

    Parameters
    ----------
    params : Params
    t : ndarray
        Whole numbers, or ``inf``.
    delta : float
        Continuous discount rate per opportunity, >= 0 (not the parameter of that name).
    """
    alpha, beta, gamma, stay, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    if delta == 0.0 and np.isinf(t).any():
        with np.errstate(divide="ignore"):
            ever = np.where(gamma > 1.0, alpha / (alpha + beta) * stay / (gamma - 1.0), np.inf)
        finite = discounted_purchases(params, np.where(np.isinf(t), 0.0, t), 0.0)
        return np.where(np.isinf(t), ever, finite)
    active = np.ones(t.shape)
    total = np.zeros(t.shape)
    # Beyond REACH the discount alone makes what is left smaller than the rounding of the sum.
    last = min(float(t.max(initial=0.0)), REACH / delta if delta > 0.0 else np.inf)
    for i in range(1, int(np.ceil(last)) + 1):
        active = active * (stay + (i - 1.0)) / (gamma + stay + (i - 1.0))
        total += np.where(i <= t, active * np.exp(-delta * i), 0.0)
    return np.asarray(alpha / (alpha + beta) * total)


def draw(params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw the number of purchases at the next t opportunities of an active customer."""
    alpha, beta, gamma, delta, t = np.broadcast_arrays(*params, t)
    # A geometric lifetime by inversion, so that one draw serves a horizon of any length.
    stays = np.log1p(-np.minimum(rng.beta(gamma, delta), 1.0 - 1e-16))
    with np.errstate(divide="ignore"):
        taken = np.minimum(np.floor(-rng.exponential(size=t.shape) / stays), t)
    return rng.binomial(taken.astype(np.int64), rng.beta(alpha, beta)).astype(np.float64)
