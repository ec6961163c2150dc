r"""(M)BG/CNBD-k: regular buyers, with Erlang-k gaps between purchases.

Platzer and Reutterer; Reutterer, Platzer and Schroeder (2021), International Journal of Research
in Marketing 38(1). A clock ticks at rate :math:`\lambda \sim` Gamma(r, alpha); every k-th tick is
a purchase, so that gaps are Erlang(k, lambda) with mean k / lambda. After a purchase the customer
drops out with probability :math:`p \sim` Beta(a, b); in the *modified* variant also after the very
first purchase. k = 1 is the (M)BG/NBD.

A customer who has been silent for ``T - t_x`` has heard j = 0..k-1 ticks that nobody sees. The
published likelihood sums over them; here the forecasts do, too, exactly: given the stage j the
tick rate is Gamma(r + kx + j, alpha + T), and n purchases need ``nk - j`` ticks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import expit, gammaln, logsumexp, psi

from crmml._typing import FloatArray, IntArray
from crmml.stats.bg_nbd import dropout_rule, logit_range
from crmml.stats.quadrature import REACH, legendre
from crmml.stats.special import log_rising

_BLOCK = 4096
_NODES = 24

Dropout: TypeAlias = Literal["modified", "plain"]
"""``modified``: dropout possible after every purchase; ``plain``: after repeat purchases only."""


class Params(NamedTuple):
    """Tick rate (r, alpha), dropout probability (a, b), and the silence before now.

    Each is a number or an array over the rows. ``silence`` is ``(T - t_x) / (alpha + T)``: 0 for a
    customer who has just purchased; it fixes the odds of the hidden stages.
    """

    r: Any
    alpha: Any
    a: Any
    b: Any
    silence: Any = 0.0


@dataclass(frozen=True)
class ErlangProcess:
    """The purchase process of one k and one kind of dropout; see :mod:`crmml.stats.process`.

    Parameters
    ----------
    k : int
        Ticks per purchase, >= 1. The larger, the more regular.
    dropout : {"modified", "plain"}
        Whether the first purchase already may be the last.
    """

    k: int = 1
    dropout: Dropout = "modified"

    NAMES: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")

    def make(self, theta: Sequence[Any]) -> Params:
        """Build the parameters from (r, alpha, a, b)."""
        return Params(*theta)

    # -- the past --------------------------------------------------------------------------------

    def gap_constant(self, x: FloatArray, sum_log_gaps: FloatArray) -> FloatArray:
        """Part of the log-likelihood that no parameter but k touches.

        Parameters
        ----------
        x : ndarray, shape (n,)
            Repeat purchases.
        sum_log_gaps : ndarray, shape (n,)
            Sum of the logarithms of the ``x`` gaps between purchases, in the unit of time.
        """
        return np.asarray((self.k - 1) * sum_log_gaps - x * gammaln(float(self.k)))

    def log_likelihood(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> FloatArray:
        """Log-likelihood of each history, :meth:`gap_constant` left out."""
        return self.score(params, x, t_x, T)[0]

    def score(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Log-likelihood and its exact derivatives by the logarithms of r, alpha, a, b.

        Returns
        -------
        value : ndarray, shape (n,)
        gradient : ndarray, shape (4, n)
        """
        r, alpha, a, b = params[:4]
        R, chances = r + self.k * x, self._chances(x)
        log_silent, stages = self._silence(R, (T - t_x) / (alpha + T))
        odds = self._log_odds_left(params, x, t_x, T, log_silent)
        left = expit(odds)
        last = np.where(chances > 0, b + chances - 1.0, 1.0)
        to_end, to_last = 1.0 / (alpha + T), 1.0 / (alpha + t_x)
        number = np.arange(self.k)[:, None]
        d_silent_r = (stages * (psi(R + number) - psi(R))).sum(axis=0)
        d_silent_alpha = -(stages * number).sum(axis=0) * to_end
        both = psi(a + b) - psi(a + b + chances)
        gradient = np.stack(
            np.broadcast_arrays(
                r
                * (
                    psi(R)
                    - psi(r)
                    - np.log1p(T / alpha)
                    + (1.0 - left) * d_silent_r
                    + left * np.log1p((T - t_x) * to_last)
                ),
                r
                + alpha
                * (-R * to_end + (1.0 - left) * d_silent_alpha + left * R * (to_end - to_last)),
                a * both + left,
                b * (psi(b + chances) - psi(b) + both - left / last),
            )
        )
        value = (
            log_rising(r, self.k * x)
            - r * np.log1p(T / alpha)
            - self.k * x * np.log(alpha + T)
            + log_rising(b, chances)
            - log_rising(a + b, chances)
            + log_silent
            + np.logaddexp(0.0, odds)
        )
        return np.asarray(value), gradient

    def probability_alive(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> FloatArray:
        """P(active at T | history), shape (n,)."""
        log_silent, _ = self._silence(params.r + self.k * x, (T - t_x) / (params.alpha + T))
        return np.asarray(expit(-self._log_odds_left(params, x, t_x, T, log_silent)))

    def if_alive(self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Params:
        """Parameters of the future of a customer active at T, hidden stage included."""
        rate = params.alpha + T
        b = params.b + self._chances(x)
        return Params(params.r + self.k * x, rate, params.a, b, (T - t_x) / rate)

    def _chances(self, x: FloatArray) -> FloatArray:
        """Purchases after which the customer could have dropped out."""
        return x + 1.0 if self.dropout == "modified" else x

    def _silence(self, R: Any, silence: Any) -> tuple[FloatArray, FloatArray]:
        """Log of the sum over hidden stages, and the stage probabilities, shape (k, n)."""
        with np.errstate(divide="ignore"):
            log_silence = np.log(silence)
        terms = [np.zeros(np.broadcast_shapes(np.shape(R), np.shape(silence)))]
        for j in range(1, self.k):
            terms.append(terms[-1] + np.log((R + (j - 1.0)) / j) + log_silence)
        total = logsumexp(terms, axis=0)
        return np.asarray(total), np.exp(np.stack(terms) - total)

    def _log_odds_left(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray, log_silent: FloatArray
    ) -> FloatArray:
        r, alpha, a, b = params[:4]
        chances = self._chances(x)
        last = np.where(chances > 0, b + chances - 1.0, 1.0)
        waited = (r + self.k * x) * np.log1p((T - t_x) / (alpha + t_x))
        return np.where(chances > 0, np.log(a / last) + waited - log_silent, -np.inf)

    # -- the future ------------------------------------------------------------------------------

    def _purchases_if_no_dropout(self, params: Params, t: FloatArray) -> Iterator[FloatArray]:
        """Yield P(n purchases in (0, t] if nobody drops out) for n = 0, 1, ..., forever.

        The customer starts at stage j, so n purchases are nk - j to nk - j + k - 1 ticks, and
        ticks are negative binomial; everything is a sum of positive terms.
        """
        R, alpha = params.r, params.alpha
        _, stages = self._silence(np.broadcast_to(R, t.shape), params.silence)
        with np.errstate(divide="ignore"):
            log_p = np.log(stages) - (R + np.arange(self.k)[:, None]) * np.log1p(t / alpha)
        odds = t / (alpha + t)
        position = 0
        while True:
            total = np.zeros(t.shape)
            for _ in range(self.k):
                for j in range(min(position + 1, self.k)):
                    total += np.exp(log_p[j])
                    m = position - j
                    log_p[j] += np.log(odds * (R + (j + m)) / (m + 1.0))
                position += 1
            yield total

    def expected_purchases(self, params: Params, t: FloatArray) -> FloatArray:
        """E[purchases in (0, t]] of an active customer, summed over the number of purchases.

        The sum stops, row by row, where what is left is below 1e-14 of it. Rows are taken in
        blocks of like length, and none is influenced by the others.
        """
        fields = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64) for value in (*params, t))
        )
        total = np.zeros(fields[-1].shape)
        order = np.argsort(fields[0] * fields[-1] / fields[1], kind="stable")
        for first in range(0, len(order), _BLOCK):
            rows = order[first : first + _BLOCK]
            block = [field[rows] for field in fields]
            total[rows] = self._expected(Params(*block[:-1]), block[-1])
        return total

    def _expected(self, params: Params, t: FloatArray) -> FloatArray:
        R, alpha, a, b = params[:4]
        share = t / (alpha + t)
        total, before = np.zeros(t.shape), np.zeros(t.shape)
        chance, going = np.ones(t.shape), np.ones(t.shape, dtype=bool)
        for n, probability in enumerate(self._purchases_if_no_dropout(params, t)):
            if n > 0:
                # E[purchases | n are due] = sum of E[(1-p)^i] for i < n.
                before += chance
                chance *= (b + (n - 1.0)) / (a + b + (n - 1.0))
                total += np.where(going, probability * before, 0.0)
            due = max(n * self.k - self.k + 1, 0)
            shrinks = np.maximum(share, share * (R + (self.k + due)) / (due + 1.0)) ** self.k
            shrinks = shrinks * (n + 1.0) / max(n, 1)
            left = probability * (before + chance) * shrinks / np.maximum(1.0 - shrinks, 1e-300)
            going &= (shrinks >= 1.0) | (left > 1e-14 * total)
            if n > 0 and not going.any():
                return total
        raise AssertionError  # pragma: no cover (the iterator is endless)

    def pmf(self, params: Params, t: FloatArray, n_max: int) -> FloatArray:
        """P(n purchases in (0, t]) of an active customer for n = 0..n_max, shape (n, n_max + 1).

        Either n are due and the customer survives them, or at least n are due and the n-th is the
        last.
        """
        *_, a, b, _ = params
        due = np.stack(list(islice(self._purchases_if_no_dropout(params, t), n_max + 1)), axis=1)
        later = np.maximum(1.0 - due.sum(axis=1), 0.0)
        at_least = np.cumsum(due[:, ::-1], axis=1)[:, ::-1] + later[:, None]
        probabilities = np.empty_like(due)
        survives = np.ones(t.shape)
        for n in range(n_max + 1):
            stops = np.zeros(t.shape)
            if n > 0:
                stops = survives * a / (a + b + (n - 1.0))
                survives = survives * (b + (n - 1.0)) / (a + b + (n - 1.0))
            probabilities[:, n] = at_least[:, n] * stops + due[:, n] * survives
        return probabilities

    def discounted_purchases(self, params: Params, t: FloatArray, delta: float) -> FloatArray:
        """E[sum of exp(-delta u) over the purchases u in (0, t]] of an active customer.

        For a finite horizon by parts, ``exp(-delta t) E(t) + delta int exp(-delta u) E(u) du``,
        good to 1e-6 of the result even where ``E`` ripples with the next few purchases of a very
        regular customer; for ``t = inf`` the mean over the tick rate of a geometric series.

        Parameters
        ----------
        t : ndarray
            Horizon, possibly ``inf``.
        delta : float
            Continuous discount rate per unit of time, >= 0; at 0 and ``t = inf`` the result is
            the mean of ``1 / p``, infinite for a <= 1.
        """
        fields = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64) for value in (*params, t))
        )
        params, t = Params(*fields[:-1]), fields[-1]
        total = np.empty(t.shape)
        ever = np.isinf(t)
        if delta == 0.0 and ever.any():
            with np.errstate(divide="ignore"):
                mean = np.where(
                    params.a > 1.0, (params.a + params.b - 1.0) / (params.a - 1.0), np.inf
                )
            return np.where(ever, mean, self.expected_purchases(params, np.where(ever, 1.0, t)))
        if ever.any():
            total[ever] = self._discounted_for_ever(Params(*(f[ever] for f in params)), delta)
        rest = Params(*(f[~ever] for f in params))
        until = t[~ever]
        part = np.exp(-delta * until) * self.expected_purchases(rest, until)
        if delta > 0.0:
            end = np.minimum(until, REACH / delta)
            length = np.log1p(end / rest.alpha)
            for node, weight in zip(*legendre(_NODES), strict=True):
                u = rest.alpha * np.expm1(node * length)
                share = delta * weight * length * (rest.alpha + u) * np.exp(-delta * u)
                part += share * self.expected_purchases(rest, u)
        total[~ever] = part
        return total

    def _discounted_for_ever(self, params: Params, delta: float) -> FloatArray:
        r"""Mean of ``z^(k-j) / (1 - (1-p) z^k)``, ``z = lambda / (lambda + delta)``.

        Trapezoidal rules in log(lambda) and logit(p), both of which converge exponentially.
        """
        R, alpha, a, b, silence = params
        _, stages = self._silence(R, silence)
        low, high, n_rates = _log_rate_range(R, alpha, delta)
        left, right, step = logit_range(a, b, np.exp(high) / delta)
        n_shares = 16 * np.ceil((right - left) / step / 16.0).astype(np.int64) + 1
        total = np.zeros(R.shape)
        for n_rate, n_share in np.unique(np.stack([n_rates, n_shares]), axis=1).T.tolist():
            group = np.flatnonzero((n_rates == n_rate) & (n_shares == n_share))
            for first in range(0, len(group), 1 + 2**16 // n_share):
                rows = group[first : first + 1 + 2**16 // n_share]
                mass, p = dropout_rule(a[rows], b[rows], left[rows], right[rows], n_share)
                y = np.linspace(low[rows], high[rows], n_rate)
                for rate in np.exp(y):
                    z = rate / (rate + delta)
                    # 1 / (1 - (1-p) z^k) has the limit 1 / (1 - z^k) at p = 0, and the rule's
                    # mass is probability over p but for that limit.
                    ends = -np.expm1(-self.k * np.log1p(delta / rate))
                    series = mass[:, 0] / ends
                    series += (mass * p / (ends[:, None] + p * (1.0 - ends[:, None]))).sum(axis=1)
                    for stage in range(self.k):
                        shape = R[rows] + stage
                        log_density = (
                            shape * np.log(alpha[rows] * rate) - alpha[rows] * rate - gammaln(shape)
                        )
                        density = np.exp(log_density) * z ** (self.k - stage)
                        total[rows] += stages[stage, rows] * density * series
                total[rows] *= (high[rows] - low[rows]) / (n_rate - 1.0)
        return total

    def draw(self, params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw the number of purchases in (0, t] of an active customer, shape (n,)."""
        R, alpha, a, b, silence = np.broadcast_arrays(*params, t)[:-1]
        _, stages = self._silence(R, silence)
        stage = (rng.random(t.shape) > np.cumsum(stages, axis=0)[:-1]).sum(axis=0)
        ticks = rng.poisson(rng.gamma(R + stage) / alpha * t)
        due = (ticks + stage) // self.k
        with np.errstate(divide="ignore", over="ignore"):
            log_survival = np.log1p(-rng.beta(a, b))
            last = np.ceil(-rng.exponential(size=t.shape) / log_survival)
        return np.asarray(np.minimum(due, np.maximum(last, 1.0)), dtype=np.float64)


def _log_rate_range(
    R: FloatArray, alpha: FloatArray, delta: float
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Where a Gamma(R, alpha) rate lives on the scale of its logarithm, and how many nodes.

    ``R (y - 1 + exp(-y))`` and ``R (exp(y) - 1 - y)`` nats are lost at a distance y below and
    above the mean; below ``log(delta)`` discounting takes one nat more per unit.
    """
    centre, c = np.log(R / alpha), REACH / R
    below = c / 2.0 + np.sqrt(c * c / 4.0 + 2.0 * c)
    floor = np.minimum(centre, np.log(delta)) - REACH / (R + 1.0)
    low = np.maximum(centre - below, floor)
    high = centre + np.log1p(2.0 * c / 3.0 + np.sqrt(4.0 * c * c / 9.0 + 2.0 * c))
    step = 0.2 / np.sqrt(1.0 + 0.07 * R)
    return low, high, 8 * np.ceil((high - low) / step / 8.0).astype(np.int64) + 1
