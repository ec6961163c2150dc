r"""BG/NBD: Poisson purchases, dropout at purchases with probability p, gamma and beta mixtures.

Fader, Hardie and Lee (2005), Marketing Science 24(2). Purchases come at rate
:math:`\lambda \sim` Gamma(r, alpha) while the customer is active; after each **repeat** purchase
the customer drops out with probability :math:`p \sim` Beta(a, b).

Nobody can drop out before the first repeat purchase, so P(active) is 1 for every customer without
one. With one more chance to leave, at the first purchase, this is the MBG/NBD
(:mod:`crmml.stats.mbg_nbd`): the functions of a history take the number of such ``chances``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betainc, expit, psi

from crmml._typing import FloatArray, IntArray
from crmml.stats.quadrature import legendre
from crmml.stats.special import log_rising

NAMES: tuple[str, ...] = ("r", "alpha", "a", "b")


class Params(NamedTuple):
    """Shape and rate of the purchase rate (r, alpha), shapes of the dropout probability (a, b).

    Each is a positive number or an array over the rows; ``alpha`` is in units of time.
    """

    r: Any
    alpha: Any
    a: Any
    b: Any


_CHUNK = 2**13
"""Rows whose temporary arrays stay in the processor's cache."""


def make(theta: Sequence[Any]) -> Params:
    """Build the parameters from (r, alpha, a, b)."""
    return Params(*theta)


class Score(NamedTuple):
    """Log-likelihood of each history with its exact slopes.

    Attributes
    ----------
    value : ndarray, shape (n,)
    by_params : ndarray, shape (4, n)
        By the logarithms of r, alpha, a, b.
    by_t_x, by_T : ndarray, shape (n,)
        By the time of the last purchase and the length of observation: what a clock with
        parameters of its own needs of the process, by the chain rule.
    """

    value: FloatArray
    by_params: FloatArray
    by_t_x: FloatArray
    by_T: FloatArray


def log_likelihood(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, *, chances: int = 0
) -> FloatArray:
    r"""Log-likelihood of each history, equation (6) of the paper.

    .. math::
        L = \frac{\Gamma(r+x)}{\Gamma(r)} \frac{\alpha^r}{(\alpha+T)^{r+x}}
            \frac{B(a, b+x+c)}{B(a, b)}
            \Bigl[1 + 1_{x+c>0} \frac{a}{b+x+c-1}
            \Bigl(\frac{\alpha+T}{\alpha+t_x}\Bigr)^{r+x}\Bigr]

    Parameters
    ----------
    params : Params
        Numbers, or arrays over the rows.
    x, t_x, T : ndarray, shape (n,)
        Repeat purchases, time of the last one, length of observation; ``0 <= t_x <= T``.
    chances : int
        ``c``, the chances to drop out before the first repeat purchase: 0 in the BG/NBD, 1 in the
        MBG/NBD. So in all functions of a history here.

    Returns
    -------
    ndarray, shape (n,)
        Density over the purchase times (no combinatorial factor), as in the paper.

    Examples
    --------
    >>> p = Params(0.25, 4.0, 0.8, 2.5)
    >>> x, t_x, T = np.array([0.0, 200.0]), np.array([0.0, 38.0]), np.array([40.0, 40.0])
    >>> log_likelihood(p, x, t_x, T).round(4)
    array([ -0.5995, 100.7957])
    """
    left = np.logaddexp(0.0, _log_odds_left(params, x, t_x, T, chances))
    return np.asarray(_log_active(params, x, T, chances) + left)


def score(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, *, chances: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood and its exact derivatives by the logarithms of r, alpha, a, b.

    Returns
    -------
    value : ndarray, shape (n,)
    gradient : ndarray, shape (4, n)
    """
    return clocked_score(params, x, t_x, T, chances=chances)[:2]


def clocked_score(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, *, chances: int = 0
) -> Score:
    r"""Log-likelihood and all its slopes, those by the two times included.

    With the probability :math:`P` of being active the slope by ``T`` is
    :math:`-P (r+x)/(\alpha+T)` and that by ``t_x`` is :math:`-(1-P) (r+x)/(\alpha+t_x)`: minus the
    expected rate of a customer known to be active at ``T``, or to have left at ``t_x``.

    Examples
    --------
    >>> p, one = Params(1.0, 1.0, 1.0, 1.0), np.ones(1)
    >>> clocked_score(p, 0 * one, 0 * one, 3 * one).by_T
    array([-0.25])
    """
    r, alpha, a, b = params
    odds = _log_odds_left(params, x, t_x, T, chances)
    left = expit(odds)
    passed = x + chances
    last = np.where(passed > 0, b + passed - 1.0, 1.0)
    to_end, to_last = 1.0 / (alpha + T), 1.0 / (alpha + t_x)
    n = r + x
    both = psi(a + b) - psi(a + b + passed)
    gradient = np.stack(
        np.broadcast_arrays(
            r * (psi(n) - psi(r) - np.log1p(T / alpha) + left * np.log1p((T - t_x) * to_last)),
            r - alpha * n * (to_end + left * (to_last - to_end)),
            a * both + left,
            b * (psi(b + passed) - psi(b) + both - left / last),
        )
    )
    value = np.asarray(_log_active(params, x, T, chances) + np.logaddexp(0.0, odds))
    return Score(value, gradient, -left * n * to_last, -expit(-odds) * n * to_end)


def _log_active(params: Params, x: FloatArray, T: FloatArray, chances: int) -> FloatArray:
    """Log-likelihood of the history together with being active at T."""
    r, alpha, a, b = params
    purchases = log_rising(r, x) - r * np.log1p(T / alpha) - x * np.log(alpha + T)
    passed = x + chances
    return np.asarray(purchases + log_rising(b, passed) - log_rising(a + b, passed))


def _log_odds_left(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, chances: int
) -> FloatArray:
    """Log odds of having left at the last purchase; -inf before the first chance to."""
    r, alpha, a, b = params
    passed = x + chances
    last = np.where(passed > 0, b + passed - 1.0, 1.0)
    odds = np.log(a / last) + (r + x) * np.log1p((T - t_x) / (alpha + t_x))
    return np.where(passed > 0, odds, -np.inf)


def _add_rows(
    params: tuple[float, float, float, float],
    chances: int,
    chunk: tuple[FloatArray, ...],
    stay: IntArray,
    space: FloatArray,
    active: FloatArray,
    slope: FloatArray,
    curve: FloatArray,
) -> float:
    """Add what some rows contribute to the sums of which :func:`counted` is made.

    Parameters
    ----------
    params : (r, alpha, a, b)
    chances : int
        See :func:`counted`.
    chunk : tuple of ndarray
        ``x``, ``t_x`` and ``T``, shape (n,), and the weights and their products with x, shape
        (2, n).
    stay : ndarray of int
        Rows before the first chance to leave.
    space : ndarray, shape (13, n)
        Overwritten.
    active, slope, curve : ndarray
        The sums so far, changed in place.

    Returns
    -------
    float
        What the chance of having left adds to the value.
    """
    r, alpha, a, b = params
    x_, t_, T_, w_wx = chunk
    silent, by = space[:3], space[3:7]
    until, last, turn, either, left, stays = space[7:]
    np.add(T_, alpha, out=until)
    np.log(until, out=silent[0])
    np.divide(alpha, until, out=silent[1])
    np.square(silent[1], out=silent[2])
    active += w_wx @ silent.T
    # Of the log odds of having left: slopes by log r over r, log alpha, log a, log b.
    np.add(t_, alpha, out=last)
    np.subtract(silent[0], np.log(last, out=by[0]), out=by[0])
    np.divide(alpha, last, out=last)
    np.subtract(silent[1], last, out=turn)
    n = np.add(x_, r, out=until)
    np.multiply(n, turn, out=by[1])
    by[2] = 1.0
    np.add(x_, b + chances - 1.0, out=left)
    left[stay] = b
    np.divide(-b, left, out=by[3])
    drift = np.multiply(n, by[0], out=n)
    np.exp(np.negative(drift, out=stays), out=stays)
    odds = np.multiply(by[3], -a / b, out=left)
    odds[stay] = 0.0
    np.add(stays, odds, out=either)
    left /= either
    stays /= either
    np.add(drift, np.log(either, out=either), out=either)
    w = w_wx[0]
    value = float(w @ either)
    left *= w
    stays *= left
    by_left = by @ left
    slope += by_left
    for i in range(4):  # quicker than (by * stays) @ by.T, half of which is the other half
        curve[i, i:] += by[i:] @ np.multiply(by[i], stays, out=either)
    curve[0, 1] += left @ turn
    last += silent[1]
    curve[1, 1] += by_left[1] - np.multiply(left, by[1], out=either) @ last
    curve[3, 3] += by_left[3] + np.multiply(left, by[3], out=either) @ by[3]
    return value


def counted(
    x: FloatArray, t_x: FloatArray, T: FloatArray, weights: FloatArray, *, chances: int = 0
) -> Callable[[FloatArray], tuple[float, FloatArray, Callable[[], FloatArray]]]:
    """Log-likelihood of weighted histories as a function of the log-parameters.

    It equals the weighted sum of :func:`score`, several times faster: the gamma functions of all
    rows collapse into ``sum_j c_j log(r + j)``, where ``c_j`` is the weight of the histories with
    more than ``j`` purchases, and the second derivatives come from what the value needs anyway.

    Parameters
    ----------
    x, t_x, T, weights : ndarray, shape (n,)
    chances : int
        Chances to drop out before the first repeat purchase: 0 here, 1 in the MBG/NBD.

    Returns
    -------
    callable
        Of the log-parameters, shape (4,): value, gradient (4,), and a function without arguments
        that returns minus the Hessian (4, 4).
    """
    total = float(weights.sum())
    beyond = total - np.cumsum(np.bincount(x.astype(np.int64), weights=weights))
    survived = np.concatenate([np.full(chances, total), beyond])
    j, k = np.arange(len(beyond)), np.arange(len(survived))
    both = np.stack([weights, weights * x])
    chunks = [
        tuple(column[..., first : first + _CHUNK] for column in (x, t_x, T, both))
        for first in range(0, len(x), _CHUNK)
    ]
    # Nobody leaves before the first chance to.
    never = [np.flatnonzero(x_ + chances == 0.0) for x_, *_ in chunks]
    room = np.empty((13, min(len(x), _CHUNK)))

    def evaluate(theta: FloatArray) -> tuple[float, FloatArray, Callable[[], FloatArray]]:
        r, alpha, a, b = np.exp(theta)
        # Sums over rows, with w and with w x: log(alpha + T), rate alpha / (alpha + T), its square.
        active = np.zeros((2, 3))
        # What the chance of having left adds, its slopes and curvatures.
        value, slope, curve = 0.0, np.zeros(4), np.zeros((4, 4))
        for chunk, stay in zip(chunks, never, strict=True):
            space = room[:, : len(chunk[0])]
            value += _add_rows((r, alpha, a, b), chances, chunk, stay, space, active, slope, curve)
        scale = np.array([r, 1.0, 1.0, 1.0])
        curve *= np.outer(scale, scale)
        slope *= scale
        curve[0, 0] += slope[0]
        (w_log, w_rate, w_square), (x_log, x_rate, x_square) = active
        w_silent = w_log - total * np.log(alpha)
        value -= r * w_silent + x_log
        slope[:2] += -r * w_silent, r * (total - w_rate) - x_rate
        curve[0, 0] -= r * w_silent
        curve[0, 1] += r * (total - w_rate)
        curve[1, 1] += r * (w_square - w_rate) + x_square - x_rate
        by_r, by_b, by_ab = beyond / (r + j), survived / (b + k), survived / (a + b + k)
        value += beyond @ np.log(r + j) + survived @ np.log((b + k) / (a + b + k))
        slope += r * by_r.sum(), 0.0, -a * by_ab.sum(), b * (by_b - by_ab).sum()

        def information() -> FloatArray:
            hessian = np.triu(curve) + np.triu(curve, 1).T
            hessian[0, 0] += r * (by_r * j / (r + j)).sum()
            hessian[2:, 2:] += np.outer([a, b], [a, b]) * (by_ab / (a + b + k)).sum()
            hessian[2, 2] -= a * by_ab.sum()
            hessian[3, 3] += b * ((by_b * k / (b + k)).sum() - by_ab.sum())
            return -hessian

        return float(value), slope, information

    return evaluate


def counted_on_clock(
    x: FloatArray, weights: FloatArray, *, chances: int = 0
) -> Callable[
    [FloatArray, FloatArray, FloatArray], tuple[float, FloatArray, FloatArray, FloatArray]
]:
    """Log-likelihood of weighted histories as a function of the log-parameters and of their times.

    It equals the weighted sum of :func:`clocked_score`, several times faster, for the same reason
    as :func:`counted`: of a row only two logarithms and an exponential are left.

    Parameters
    ----------
    x, weights : ndarray, shape (n,)
    chances : int

    Returns
    -------
    callable
        Of the log-parameters (4,), ``t_x`` (n,) and ``T`` (n,): value, gradient (4,), and the
        weighted slopes of each row by its ``t_x`` and ``T``.
    """
    total = float(weights.sum())
    beyond = total - np.cumsum(np.bincount(x.astype(np.int64), weights=weights))
    survived = np.concatenate([np.full(chances, total), beyond])
    j, k = np.arange(len(beyond)), np.arange(len(survived))
    never = x + chances == 0.0

    def evaluate(
        theta: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> tuple[float, FloatArray, FloatArray, FloatArray]:
        r, alpha, a, b = np.exp(theta)
        n = r + x
        to_end, to_last = 1.0 / (alpha + T), 1.0 / (alpha + t_x)
        log_end = np.log(to_end)
        drift = np.where(never, 0.0, np.log(to_last) - log_end)
        last = np.where(never, 1.0, x + (b + chances - 1.0))
        odds = np.where(never, 0.0, a / last)
        # exp(-n drift) is at most 1, where exp(n drift) could overflow.
        stays = np.exp(-n * drift)
        either = stays + odds
        left = weights * odds / either
        rows = weights * n
        by_t_x, by_T = -left * n * to_last, -(weights - left) * n * to_end
        value = weights @ (n * (drift + log_end) + np.log(either)) + total * r * theta[1]
        value += beyond @ np.log(r + j) + survived @ np.log((b + k) / (a + b + k))
        by_ab = (1.0 / (a + b + k)) @ survived
        gradient = np.array(
            [
                r
                * (weights @ log_end + left @ drift + total * theta[1] + beyond @ (1.0 / (r + j))),
                total * r - alpha * (rows @ to_end + (left * n) @ (to_last - to_end)),
                left.sum() - a * by_ab,
                b * (survived @ (1.0 / (b + k)) - by_ab - left @ (1.0 / last)),
            ]
        )
        return float(value), gradient, by_t_x, by_T

    return evaluate


def probability_alive(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, *, chances: int = 0
) -> FloatArray:
    """P(active at T | history), shape (n,); exactly 1 before the first chance to leave."""
    return np.asarray(expit(-_log_odds_left(params, x, t_x, T, chances)))


def if_alive(
    params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, *, chances: int = 0
) -> Params:
    """Parameters of the future of a customer active at T: gamma and beta posteriors."""
    return Params(params.r + x, params.alpha + T, params.a, params.b + x + chances)


def expected_purchases(params: Params, t: FloatArray) -> FloatArray:
    r"""E[purchases in (0, t]] of an active customer.

    Equation (9) of the paper is
    :math:`\frac{a+b-1}{a-1}\bigl[1 - (\frac{\alpha}{\alpha+t})^r
    {}_2F_1(r, b; a+b-1; \frac{t}{\alpha+t})\bigr]`, which has a removable singularity at a = 1,
    poles for a + b <= 1 and overflows for frequent buyers. What is computed is the mean over the
    dropout probability, from which it came,

    .. math:: E[X(t)] = E_p\Bigl[\frac{1 - (1 + pt/\alpha)^{-r}}{p}\Bigr],

    by the trapezoidal rule in ``logit(p)``: the integrand is analytic within pi of the real line,
    so the rule converges exponentially, and the long tails of small ``a`` and ``b`` are geometric
    series with a closed sum.

    Examples
    --------
    >>> expected_purchases(Params(0.243, 4.414, 0.793, 2.426), np.array([1.0, 78.0])).round(4)
    array([0.0533, 1.8605])
    """
    r, alpha, a, b, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    return _mean_total(r, t / alpha, a, b)


def weighted_expectations(params: Params, t: FloatArray, shares: FloatArray) -> FloatArray:
    """Sum over j of ``shares[j] * E[purchases in (0, t[j]]]`` of active customers, shape (n,).

    Several times as fast as one call of :func:`expected_purchases` for each ``t[j]``.

    Parameters
    ----------
    params : Params
        Fields of shape (n,) or numbers.
    t, shares : ndarray, shape (m,)
        Horizons shared by all customers, and their weights, of any sign.

    Examples
    --------
    >>> p = Params(np.array([0.243]), 4.414, 0.793, 2.426)
    >>> weighted_expectations(p, np.array([1.0, 78.0]), np.array([2.0, 1.0])).round(4)
    array([1.9671])
    """
    r, alpha, a, b = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(value, dtype=np.float64)) for value in params)
    )
    by_row = np.broadcast_to(shares, (len(r), len(shares)))
    return _mean_total(r, t / alpha[:, None], a, b, shares=by_row)


def pmf(params: Params, t: FloatArray, n_max: int) -> FloatArray:
    r"""P(n purchases in (0, t]) of an active customer for n = 0..n_max, shape (n, n_max + 1).

    Equation (8) of the paper: with :math:`z = t/(\alpha+t)` and :math:`N` the negative binomial
    count of an undisturbed customer,

    .. math::
        P(X = n) = \frac{B(a, b+n)}{B(a,b)} P(N = n)
                 + 1_{n>0} \frac{B(a+1, b+n-1)}{B(a,b)} I_z(n, r).

    :math:`I_z(n, r)` is P(N >= n), so it is evaluated at one power of two above ``n_max``, from
    which the others follow backwards by adding P(N = n): sums of positive terms.
    """
    r, alpha, a, b, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )
    log_none = -r * np.log1p(t / alpha)
    if n_max == 0:
        none: FloatArray = np.exp(log_none)[:, None]
        return none
    size = max(4, 2 ** int(n_max).bit_length())
    count = _undisturbed(r, log_none, -np.log1p(alpha / t), size)
    table = np.empty((len(t), n_max + 1))
    table[:, 0] = count[0]
    # Row n becomes P(N >= n).
    at_least = betainc(float(size), r, t / (alpha + t))
    tail = np.empty((n_max + 1, len(t)))
    for n in range(size - 1, 0, -1):
        at_least += count[n]
        if n <= n_max:
            tail[n] = at_least
    both = a + b
    stays, leaves, room = np.ones((3, len(t)))
    for n in range(1, n_max + 1):
        np.add(both, n - 1.0, out=room)
        np.divide(stays, room, out=stays)
        np.multiply(stays, a, out=leaves)
        stays *= np.add(b, n - 1.0, out=room)
        count[n] *= stays
        tail[n] *= leaves
        np.add(count[n], tail[n], out=table[:, n])
    return table


def _undisturbed(r: FloatArray, log_none: FloatArray, log_z: FloatArray, size: int) -> FloatArray:
    """P(N = n) of negative binomial counts for n = 0..size - 1, shape (size, n_rows)."""
    count = np.empty((size, len(r)))
    np.exp(log_none, out=count[0])
    rising, step = np.zeros((2, len(r)))
    for n in range(1, size):
        np.add(r, n - 1.0, out=step)
        step /= n
        rising += np.log(step, out=step)
        np.multiply(log_z, n, out=count[n])
        count[n] += np.add(log_none, rising, out=step)
        np.exp(count[n], out=count[n])
    return count


def discounted_purchases(
    params: Params,
    t: FloatArray,
    delta: float,
    clock: Callable[[FloatArray, IntArray], FloatArray] | None = None,
    scale: FloatArray | float = np.inf,
) -> FloatArray:
    r"""E[sum of exp(-delta u) over the purchases in (0, t]] of an active customer.

    By parts, :math:`e^{-\delta t} E[X(t)] + \delta \int_0^t e^{-\delta u} E[X(u)] du`, a sum of
    positive terms; Gauss-Legendre in the logarithm of time.

    Parameters
    ----------
    t : ndarray
        Horizon, possibly ``inf`` (DERT).
    delta : float
        Continuous discount rate per unit of time, >= 0. At 0 and ``t = inf`` the result is
        ``(a + b - 1) / (a - 1)``, infinite for a <= 1.
    clock : callable, optional
        Operational time that has passed at the times ``u``, shape (m, k), for some of the rows,
        shape (m,); smooth, and by default ``u`` itself.
    scale : ndarray or float
        Time in which the clock changes its pace.
    """
    r, alpha, a, b, t = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (*params, t))
    )

    def passed(u: FloatArray, rows: IntArray) -> FloatArray:
        return u if clock is None else clock(u, rows)

    if delta == 0.0:
        finite = np.where(np.isinf(t), 1.0, t)
        finite = passed(finite[:, None], np.arange(len(t)))[:, 0] if clock else finite
        with np.errstate(divide="ignore"):
            ever = np.where(a > 1.0, (a + b - 1.0) / np.abs(a - 1.0), np.inf)
        return np.where(np.isinf(t), ever, _mean_total(r, finite / alpha, a, b))
    end = np.minimum(t, _REACH / delta)
    # The time in which an active customer's expectation bends: a purchase rate's worth of flips.
    bend = np.minimum(alpha / (1.0 + r * (a + 4.0) / (a + b + 4.0)), scale)
    if clock is not None:
        bend /= np.maximum(clock(bend[:, None], np.arange(len(t)))[:, 0] / bend, 1.0)
    length = np.log1p(end / bend)
    n_nodes = 8 * np.ceil((16.0 + 5.0 * length) / 8.0).astype(np.int64)
    total = np.empty(len(t))
    for n in np.unique(n_nodes):
        rows = np.flatnonzero(n_nodes == n)
        nodes, weights = legendre(int(n))
        w = nodes * length[rows, None]
        u = bend[rows, None] * np.expm1(w)
        share = weights * length[rows, None] * delta * np.exp(w - delta * u) * bend[rows, None]
        times = passed(np.concatenate([u, end[rows, None]], axis=1), rows)
        shares = np.concatenate([share, np.exp(-delta * t[rows, None])], axis=1)
        total[rows] = _mean_total(
            r[rows], times / alpha[rows, None], a[rows], b[rows], shares=shares
        )
    return total


def draw(params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw the number of purchases in (0, t] of an active customer, shape (n,)."""
    r, alpha, a, b = params
    shape = np.shape(t)
    rate = rng.gamma(np.broadcast_to(r, shape)) / alpha
    p = np.maximum(rng.beta(np.broadcast_to(a, shape), np.broadcast_to(b, shape)), 1e-300)
    until_dropout = np.ceil(np.log(rng.uniform(size=shape)) / np.log1p(-np.minimum(p, 1 - 1e-16)))
    count = rng.poisson(rate * t).astype(np.float64)
    return np.asarray(np.minimum(count, np.maximum(until_dropout, 1.0)))


# -- mean over the dropout probability -----------------------------------------------------------

_REACH = 36.0
"""Nats below the peak at which an integrand is negligible: ``exp(-36) = 2e-16``."""
_BLOCK = 2**17


def _mean_total(
    r: FloatArray,
    odds: FloatArray,
    a: FloatArray,
    b: FloatArray,
    *,
    shares: FloatArray | None = None,
) -> FloatArray:
    """E[(1 - (1 + p * odds)**-r) / p] over p ~ Beta(a, b), summed over columns by ``shares``.

    Parameters
    ----------
    r, a, b : ndarray, shape (n,)
    odds : ndarray, shape (n,) or (n, m)
        ``t / alpha``.
    shares : ndarray, shape (n, m), optional
        Weights of the columns of ``odds``; 1 if there is but one.
    """
    odds = odds.reshape(len(r), -1)
    shares = np.ones_like(odds) if shares is None else shares
    left, right, step = logit_range(a, b, r * odds.max(axis=1, initial=0.0))
    n_nodes = 16 * np.ceil((right - left) / step / 16.0).astype(np.int64) + 1
    total = np.empty(len(r))
    for n in np.unique(n_nodes):
        group = np.flatnonzero(n_nodes == n)
        width = max(1, _BLOCK // int(n))
        for first in range(0, len(group), width):
            rows = group[first : first + width]
            mass, p = dropout_rule(a[rows], b[rows], left[rows], right[rows], int(n))
            value = np.zeros(len(rows))
            for column in range(odds.shape[1]):
                until = odds[rows, column][:, None]
                terms = mass * (-np.expm1(-r[rows, None] * np.log1p(p * until)))
                limit = r[rows] * until[:, 0]
                value += shares[rows, column] * (terms[:, 1:].sum(axis=1) + mass[:, 0] * limit)
            total[rows] = value
    return total


def dropout_rule(
    a: FloatArray, b: FloatArray, left: FloatArray, right: FloatArray, n: int
) -> tuple[FloatArray, FloatArray]:
    """Trapezoidal rule in logit(p) for functions f(p) / p of p ~ Beta(a, b).

    Returns
    -------
    mass : ndarray, shape (rows, n + 2)
        Probability of a node over its p; the first column is the probability of the left tail,
        where ``f(p) / p`` has reached its limit ``f'(0)``.
    p : ndarray, shape (rows, n + 2)
        The nodes; 0 for the left tail, 1 for the right one.
    """
    # Row by row in memory: else the order of the sums would depend on the number of rows.
    y = np.ascontiguousarray(np.linspace(left, right, n, axis=1))
    step = (right - left) / (n - 1.0)
    peak = -a * np.log1p(b / a) - b * np.log1p(a / b)
    log_p, log_stay = -np.logaddexp(0.0, -y), -np.logaddexp(0.0, y)
    density = np.exp(a[:, None] * log_p + b[:, None] * log_stay - peak[:, None])
    low = density[:, 0] * np.exp(-a * step) / -np.expm1(-a * step)
    high = density[:, -1] * np.exp(-b * step) / -np.expm1(-b * step)
    sum_ = density.sum(axis=1) + low + high
    p = np.exp(log_p)
    mass = np.concatenate([low[:, None], density / p, high[:, None]], axis=1) / sum_[:, None]
    ends = np.zeros((len(a), 1)), np.ones((len(a), 1))
    return mass, np.concatenate([ends[0], p, ends[1]], axis=1)


def logit_range(
    a: FloatArray, b: FloatArray, reach: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where the integrand lives on the scale of logit(p), and the step of the rule.

    The range ends where the density has fallen ``_REACH`` nats, or earlier where all that is left
    is an exact geometric series. The step keeps the error near 1e-13: half the strip of
    analyticity for flat densities, the Gaussian bound for peaked ones.
    """
    sharp = a * b / (a + b)
    step = 0.33 / np.sqrt(1.0 + 0.2 * sharp)
    peak = -a * np.log1p(b / a) - b * np.log1p(a / b)
    drop = _REACH + np.log1p(reach * a / (a + b))
    left, right = (peak - drop) / a, (_REACH - peak) / b
    for _ in range(12):  # Newton on a concave function, from outside
        for y, fall in ((left, drop), (right, _REACH)):
            p = expit(y)
            value = a * -np.logaddexp(0.0, -y) + b * -np.logaddexp(0.0, y) - peak + fall
            y -= np.where(value < 0, value / (a * (1.0 - p) - b * p), 0.0)
    left = np.maximum(left, -np.log(1.0 + reach + a + b) - 33.0 / (1.0 + a))
    right = np.minimum(right, np.log(2.0 + a + b) + 33.0 / (1.0 + b))
    return left, right, step
