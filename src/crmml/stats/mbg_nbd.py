r"""MBG/NBD: the BG/NBD in which the customer may also drop out right after the first purchase.

Batislam, Denizel and Filiztekin (2007), Intern. J. of Research in Marketing 24(3); Hoppe and
Wagner (2007) call it CBG/NBD. Purchases come at rate :math:`\lambda \sim` Gamma(r, alpha) while
the customer is active; after **each** purchase, the first included, the customer drops out with
probability :math:`p \sim` Beta(a, b).

A customer known to be active behaves as in the BG/NBD, so the future is taken from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit, psi

from crmml._typing import FloatArray
from crmml.stats import bg_nbd
from crmml.stats.bg_nbd import (
    NAMES,
    Params,
    discounted_purchases,
    draw,
    expected_purchases,
    make,
    pmf,
)
from crmml.stats.special import log_rising

__all__ = [
    "NAMES",
    "Params",
    "counted",
    "discounted_purchases",
    "draw",
    "expected_purchases",
    "if_alive",
    "log_likelihood",
    "make",
    "pmf",
    "probability_alive",
    "score",
]


def log_likelihood(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    r"""Log-likelihood of each history.

    .. math::
        L = \frac{\Gamma(r+x)}{\Gamma(r)} \frac{\alpha^r}{(\alpha+T)^{r+x}}
            \frac{B(a, b+x+1)}{B(a, b)}
            \Bigl[1 + \frac{a}{b+x} \Bigl(\frac{\alpha+T}{\alpha+t_x}\Bigr)^{r+x}\Bigr]

    Parameters
    ----------
    params : Params
        Numbers, or arrays over the rows.
    x, t_x, T : ndarray, shape (n,)
        Repeat purchases, time of the last one, length of observation; ``0 <= t_x <= T``.

    Returns
    -------
    ndarray, shape (n,)
        Density over the purchase times (no combinatorial factor).

    Examples
    --------
    A customer never seen again either left at once or is silent:

    >>> p = Params(1.0, 1.0, 1.0, 1.0)
    >>> one = np.zeros(1)
    >>> np.exp(log_likelihood(p, one, one, one + 1.0)).round(12)
    array([0.75])
    """
    odds = _log_odds_left(params, x, t_x, T)
    return np.asarray(_log_active(params, x, T) + np.logaddexp(0.0, odds))


def score(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood and its exact derivatives by the logarithms of r, alpha, a, b.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (4, n)
    """
    r, alpha, a, b = params
    odds = _log_odds_left(params, x, t_x, T)
    left = expit(odds)
    to_end, to_last = 1.0 / (alpha + T), 1.0 / (alpha + t_x)
    n = r + x
    both = psi(a + b) - psi(a + b + x + 1.0)
    gradient = np.stack(
        np.broadcast_arrays(
            r * (psi(n) - psi(r) - np.log1p(T / alpha) + left * np.log1p((T - t_x) * to_last)),
            r - alpha * n * (to_end + left * (to_last - to_end)),
            a * both + left,
            b * (psi(b + x + 1.0) - psi(b) + both - left / (b + x)),
        )
    )
    value = _log_active(params, x, T) + np.logaddexp(0.0, odds)
    return np.asarray(value), gradient


def counted(
    x: FloatArray, t_x: FloatArray, T: FloatArray, weights: FloatArray
) -> Callable[[FloatArray], tuple[float, FloatArray, Callable[[], FloatArray]]]:
    """Log-likelihood of weighted histories by the log-parameters; see :func:`bg_nbd.counted`."""
    return bg_nbd.counted(x, t_x, T, weights, chances=1)


def _log_active(params: Params, x: FloatArray, T: FloatArray) -> FloatArray:
    r, alpha, a, b = params
    purchases = log_rising(r, x) - r * np.log1p(T / alpha) - x * np.log(alpha + T)
    return np.asarray(purchases + log_rising(b, x + 1.0) - log_rising(a + b, x + 1.0))


def _log_odds_left(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    r, alpha, a, b = params
    return np.asarray(np.log(a / (b + x)) + (r + x) * np.log1p((T - t_x) / (alpha + t_x)))


def probability_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> FloatArray:
    """P(active at T | history), shape (n,)."""
    return np.asarray(expit(-_log_odds_left(params, x, t_x, T)))


def if_alive(params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Any:
    """Parameters of the future of a customer active at T, who passed x + 1 chances to leave."""
    return Params(params.r + x, params.alpha + T, params.a, params.b + x + 1.0)
