r"""Gamma-Gamma: spend per purchase, gamma within customers and gamma between them.

Fader and Hardie (2013), "The Gamma-Gamma model of monetary value". Spend of one purchase is
Gamma(p, nu) with mean p / nu, and nu differs between customers as Gamma(q, gamma). ``gamma`` is in
units of money. After x purchases of mean m the posterior of nu is
:math:`\text{Gamma}(px + q, \gamma + xm)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaincinv, gammaincinv, gammaln, polygamma, psi

from crmml._typing import FloatArray
from crmml.stats.special import log_rising

NAMES: tuple[str, ...] = ("p", "q", "gamma")
_CHUNK = 2**13
"""Rows whose temporary arrays stay in the processor's cache."""


class Params(NamedTuple):
    """Shape of spend within customers (p), shape and scale of the mixture (q, gamma)."""

    p: Any
    q: Any
    gamma: Any


def make(theta: Sequence[Any]) -> Params:
    """Build the parameters from (p, q, gamma)."""
    return Params(*theta)


def log_likelihood(params: Params, x: FloatArray, m: FloatArray) -> FloatArray:
    r"""Log density of the mean m of x purchases, equation (1a) of the note.

    .. math::
        f(m) = \frac{1}{m\,B(px, q)} \Bigl(\frac{\gamma}{\gamma+mx}\Bigr)^q
               \Bigl(\frac{mx}{\gamma+mx}\Bigr)^{px}

    Parameters
    ----------
    params : Params
    x : ndarray, shape (n,)
        Number of purchases, positive.
    m : ndarray, shape (n,)
        Their mean value, positive.

    Examples
    --------
    >>> log_likelihood(Params(6.25, 3.74, 15.44), np.array([2.0]), np.array([22.35])).round(4)
    array([-3.5513])
    """
    p, q, gamma = params
    total = m * x
    return np.asarray(
        log_rising(p * x, q)
        - gammaln(q)
        - q * np.log1p(total / gamma)
        - p * x * np.log1p(gamma / total)
        - np.log(m)
    )


def score(params: Params, x: FloatArray, m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood and its exact derivatives by the logarithms of p, q, gamma.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (3, n)
    """
    p, q, gamma = params
    total = m * x
    # Written so that neither a tiny nor a huge total cancels or overflows.
    below, above = np.log1p(gamma / total), np.log1p(total / gamma)
    # Gamma functions once per distinct number of purchases: there are few.
    counts, which = np.unique(x, return_inverse=True)
    px = p * counts
    both = psi(px + q)
    beta = (log_rising(px, q) - gammaln(q))[which]
    value = beta - q * above - p * x * below - np.log(m)
    share = 1.0 / (1.0 + total / gamma)
    gradient = np.stack(
        [
            (px * (both - psi(px)))[which] - p * x * below,
            (q * (both - psi(q)))[which] - q * above,
            q - (p * x + q) * share,
        ]
    )
    return value, gradient


def counted(
    x: FloatArray, m: FloatArray, weights: FloatArray
) -> Callable[[FloatArray], tuple[float, FloatArray, Callable[[], FloatArray]]]:
    """Log-likelihood of weighted customers as a function of the log-parameters.

    Equal to the weighted sum of :func:`score`, with gamma functions once per distinct number of
    purchases and one logarithm per row.

    Returns
    -------
    callable
        Of the log-parameters, shape (3,): value, gradient (3,), and a function without arguments
        that returns minus the Hessian (3, 3).
    """
    counts, which = np.unique(x, return_inverse=True)
    each = np.bincount(which, weights=weights)
    total = m * x
    w_x = weights * x
    all_, all_x = float(weights.sum()), float(w_x.sum())
    # Sums that no parameter moves are taken once, before the optimiser begins.
    x_log_total, log_m = float(w_x @ np.log(total)), float(weights @ np.log(m))
    chunks = [
        tuple(column[first : first + _CHUNK] for column in (total, weights, w_x))
        for first in range(0, len(x), _CHUNK)
    ]

    def evaluate(theta: FloatArray) -> tuple[float, FloatArray, Callable[[], FloatArray]]:
        p, q, gamma = np.exp(theta)
        above, x_above, share, x_share, bend = np.zeros(5)
        for total_, w, wx in chunks:
            # One logarithm per row: x_below gets log(1 + gamma/total) from log(1 + total/gamma).
            odds = total_ / gamma
            log_odds, part = np.log1p(odds), 1.0 / (1.0 + odds)
            above, x_above = above + w @ log_odds, x_above + wx @ log_odds
            share, x_share = share + w @ part, x_share + wx @ part
            bend += (p * wx + q * w) @ (part * (1.0 - part))
        px = p * counts
        x_below = x_above + all_x * theta[2] - x_log_total
        value = each @ (log_rising(px, q) - gammaln(q)) - q * above - p * x_below - log_m
        by_p = p * (each @ (counts * (psi(px + q) - psi(px))) - x_below)
        by_q = q * (each @ (psi(px + q) - psi(q)) - above)
        gradient = np.array([by_p, by_q, q * (all_ - share) - p * x_share])

        # Not every step of the optimiser asks for the Hessian, so it is a function of its own.
        def information() -> FloatArray:
            both, own = polygamma(1, px + q), polygamma(1, px)
            pp = by_p + p * p * (each @ (counts**2 * (both - own)))
            pq = p * q * (each @ (counts * both))
            qq = by_q + q * q * (each @ (both - polygamma(1, q)))
            pg, qg = -p * x_share, q * (all_ - share)
            return -np.array([[pp, pq, pg], [pq, qq, qg], [pg, qg, -bend]])

        return float(value), gradient, information

    return evaluate


def posterior(params: Params, x: FloatArray, m: FloatArray) -> Params:
    """Parameters of the future spend of a customer with x purchases of mean m."""
    return Params(params.p, params.p * x + params.q, params.gamma + x * m)


def expected_spend(params: Params) -> FloatArray:
    r"""Mean spend per purchase, :math:`p\gamma/(q-1)`; infinite for q <= 1, never negative.

    Examples
    --------
    >>> float(expected_spend(Params(6.25, 3.74, 15.44)).round(2))
    35.22
    """
    p, q, gamma = params
    heavy = np.asarray(q) <= 1.0
    return np.where(heavy, np.inf, p * gamma / np.where(heavy, 1.0, q - 1.0))


def mean_spend_quantile(params: Params, level: FloatArray) -> FloatArray:
    """Quantile of a customer's own mean spend per purchase, p / nu: an inverse gamma."""
    p, q, gamma = params
    return np.asarray(p * gamma / gammaincinv(q, 1.0 - level))


def purchase_quantile(params: Params, level: FloatArray) -> FloatArray:
    """Quantile of the spend of one purchase: gamma times a beta prime of shapes p and q."""
    p, q, gamma = params
    share = betaincinv(p, q, level)
    return np.asarray(gamma * share / (1.0 - share))


def total_spend(params: Params, n: FloatArray, u: FloatArray, v: FloatArray) -> FloatArray:
    """Draw the total of n purchases by inversion of two uniforms; 0 where n is 0.

    Given nu, the total is Gamma(p n, nu).
    """
    p, q, gamma = params
    nu = gammaincinv(q, u) / gamma
    return np.where(n > 0, gammaincinv(p * np.maximum(n, 1.0), v) / nu, 0.0)
