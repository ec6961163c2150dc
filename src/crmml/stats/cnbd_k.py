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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import betainc, expit, gammaln, logsumexp, psi

from crmml._typing import FloatArray, IntArray
from crmml.stats.bg_nbd import dropout_rule, logit_range
from crmml.stats.quadrature import REACH
from crmml.stats.special import log_gamma_mode, log_rising

_BLOCK = 4096
"""Rows at once, for nodes one unit of log rate apart; fewer, the closer they are."""
_NODES = 256
"""Rates at once where all dropout probabilities are needed."""

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
        # Ticks, not purchases, are Poisson: x purchases are k x ticks, and up to k - 1 are hidden.
        R, chances = r + self.k * x, self._chances(x)
        log_silent, stages = self._silence(R, (T - t_x) / (alpha + T))
        odds = self._log_odds_left(params, x, t_x, T, log_silent)
        left = expit(odds)
        last = np.where(chances > 0, b + chances - 1.0, 1.0)
        to_end, to_last = 1.0 / (alpha + T), 1.0 / (alpha + t_x)
        number = np.arange(self.k)[:, None]
        # The log of a sum over stages has as its slope the mean over their probabilities.
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
            # Each stage follows from the one before; powers and factorials would overflow.
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

    def expected_purchases(self, params: Params, t: FloatArray) -> FloatArray:
        """E[purchases in (0, t]] of an active customer: nothing is discounted."""
        return self.discounted_purchases(params, t, 0.0)

    def discounted_purchases(self, params: Params, t: FloatArray, delta: float) -> FloatArray:
        """E[sum of exp(-delta u) over the purchases u in (0, t]] of an active customer.

        The mean over the tick rate, by the trapezoidal rule in its logarithm, of what is expected
        at a given rate.

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
        *_, a, b, _, t = fields
        ever = np.isinf(t) & (delta == 0.0)
        with np.errstate(divide="ignore"):
            mean = np.where(a > 1.0, (a + b - 1.0) / np.abs(a - 1.0), np.inf)
        total = np.where(ever, mean, 0.0)
        rest = (t > 0.0) & ~ever
        *future, until = (field[rest] for field in fields)
        total[rest] = self._mean_over_rates(Params(*future), until, delta)
        return total

    def _mean_over_rates(self, params: Params, t: FloatArray, delta: float) -> FloatArray:
        """Mean of :meth:`_given_rate` over tick rate and stage, ``0 < t``.

        Time is measured in horizons, or in ``1 / delta`` where nothing is left after the horizon.
        Given the rate, the hidden ticks are Poisson, fewer than k. All nodes are multiples of
        their distance, so that rows share them.
        """
        R, alpha, a, b, silence = params
        # Discounted below 1e-17, the horizon is no longer felt, and rows of all horizons are alike.
        endless = delta * t >= self._settled
        unit = np.where(endless, 1.0 / max(delta, 1e-300), t)
        discount = np.where(endless, np.inf, delta * t)
        alpha = alpha / unit
        low, high, fineness = _log_rate_range(R, alpha, self.k)
        step = 2.0 ** (-fineness / 4.0)
        first = np.floor(low / step).astype(np.int64)
        n_nodes = np.ceil(high / step).astype(np.int64) - first + 1
        left, right, width = logit_range(a, b, 1.0 + np.exp(high))
        logit_fineness = np.ceil(-4.0 * np.log2(width))
        log_mass = log_gamma_mode(R) - self._silence(R, silence)[0] + np.log(step)
        total = np.empty(t.shape)
        # Rows with the same distance between nodes share the table of `_given_rate`, the dear part.
        _, alike = np.unique([fineness, logit_fineness, discount], axis=1, return_inverse=True)
        for number in range(alike.max(initial=-1) + 1):
            group = np.flatnonzero(alike == number)
            # Neighbours then have nearly the same range, so that a block needs few columns.
            group = group[np.lexsort((first[group], a[group], b[group]))]
            size = max(8, int(_BLOCK * step[group[0]]))
            for rows in np.split(group, range(size, len(group), size)):
                at = first[rows, None] + np.arange(n_nodes[rows].max())
                start = at.min()
                # A customer with an odd rate would otherwise stretch the table of the whole block.
                used = np.zeros(at.max() - start + 1, dtype=bool)
                used[at - start] = True
                column = np.cumsum(used) - 1
                dropout, curve = np.unique([a[rows], b[rows]], axis=1, return_inverse=True)
                distance = 2.0 ** (-logit_fineness[rows[0]] / 4.0)
                expected = self._given_rate(
                    np.exp((start + np.flatnonzero(used)) * step[rows[0]]),
                    float(discount[rows[0]]),
                    dropout,
                    (
                        math.floor(left[rows].min() / distance) * distance,
                        math.ceil(right[rows].max() / distance) * distance,
                        distance,
                    ),
                )
                shape = R[rows, None]
                y = at * step[rows, None] + np.log(alpha[rows, None] / shape)
                density = np.exp(shape * (y - np.expm1(y)) + log_mass[rows, None])
                hidden = shape * np.exp(y) * silence[rows, None]
                # Horner's scheme over the hidden ticks: no powers, and all terms are positive.
                purchases = np.zeros(at.shape)
                for j in range(self.k - 1, -1, -1):
                    purchases *= hidden / (j + 1.0)
                    purchases += expected[j, curve[:, None], column[at - start]]
                total[rows] = (density * purchases).sum(axis=1)
        return total

    @property
    def _settled(self) -> float:
        """Ticks after which the stage is forgotten: the next purchase may come at any of them.

        ``exp(-ticks (1 - cos(2 pi / k)))`` of the rhythm is left, less than 1e-17.
        """
        return 64.0 + 2.1 * self.k**2

    def _given_rate(
        self,
        rate: FloatArray,
        discount: float,
        dropout: FloatArray,
        logits: tuple[float, float, float],
    ) -> FloatArray:
        """Discounted purchases in (0, 1], given the tick rate and the stage.

        Parameters
        ----------
        rate : ndarray, shape (m,)
        discount : float
            Per horizon; ``inf`` means for ever, with ``rate`` per ``1 / delta``.
        dropout : ndarray, shape (2, n)
            a and b.
        logits : tuple of float
            First node, last node and step of a rule over the dropout probability for all.

        Returns
        -------
        ndarray, shape (k, n, m)
        """
        a, b = dropout
        early = rate + discount < self._settled
        expected = np.empty((self.k, len(a), len(rate)))
        expected[:, :, early] = self._first_purchases(rate[early], discount, a, b)
        left, right, step = logits
        n = round((right - left) / step) + 1
        mass, p = dropout_rule(a, b, np.full_like(a, left), np.full_like(a, right), n)
        mass[:, 1:] *= p[:, 1:]  # the rule is made for f(p) / p; the first column is its limit
        # At high rates the stage at the start is forgotten, and a closed form holds.
        late = np.flatnonzero(~early)
        for some in np.split(late, range(_NODES, len(late), _NODES)):
            expected[:, :, some] = mass @ self._settled_purchases(rate[some], discount, p[0])
        return expected

    def _first_purchases(
        self, rate: FloatArray, discount: float, a: FloatArray, b: FloatArray
    ) -> FloatArray:
        """Sum over purchases n of P(survived n - 1) E[exp(-discount u); n-th comes at u <= 1].

        What is Erlang(m, rate) is by discounting multiplied with ``(rate / (rate + discount))^m``
        and Erlang(m, rate + discount).
        """
        # Ten standard deviations above the mean number of ticks, counted in purchases.
        n = math.ceil((self._settled + 10.0 * math.sqrt(self._settled)) / self.k)
        m = np.arange(1.0, n * self.k + 1.0)
        mean = (rate + discount)[:, None]
        ticks = np.exp(m * np.log(mean) - mean - gammaln(m + 1.0))
        reached = np.cumsum(ticks[:, ::-1], axis=1)[:, ::-1]
        reached *= np.exp(-m * np.log1p(discount / rate)[:, None])
        number = np.arange(n - 1.0)
        stays = (b[:, None] + number) / (a[:, None] + b[:, None] + number)
        survived = np.cumprod(np.concatenate([np.ones((len(a), 1)), stays], axis=1), axis=1)
        return np.stack([survived @ reached[:, self.k - 1 - j :: self.k].T for j in range(self.k)])

    def _settled_purchases(self, rate: FloatArray, discount: float, p: FloatArray) -> FloatArray:
        r"""All purchases less those after the horizon, given rate, dropout and stage.

        With :math:`z = \lambda / (\lambda + \delta)`, :math:`q^k = 1 - p` and
        :math:`\eta = 1 - zq` a customer at stage j makes :math:`z^{k-j} / (1 - (1-\eta)^k)`
        discounted purchases in all, and, rhythm forgotten,
        :math:`q^{j-k} (1-\eta) e^{-\eta(\lambda+\delta)} / (k \eta)` after the horizon. Where
        the two would cancel they are expanded in Bernoulli polynomials of ``j / k``.

        Parameters
        ----------
        rate : ndarray, shape (m,)
        p : ndarray, shape (n,)

        Returns
        -------
        ndarray, shape (k, n, m)
        """
        k, for_ever = self.k, np.isinf(discount)
        per_unit = 1.0 if for_ever else discount
        both = rate + per_unit
        z = np.exp(-np.log1p(per_unit / rate))
        with np.errstate(divide="ignore"):
            log_q = np.log1p(-p)[:, None] / k
            stop = (per_unit - rate * np.expm1(log_q)) / both
            fall = -np.log1p(-stop)
        due = np.full_like(stop, np.inf) if for_ever else stop * both
        cut = due < 50.0
        # Two terms of size 1 / stop cancel there, and would leave ten digits fewer.
        tiny = cut & (stop < 1e-5)
        in_all = np.where(tiny, 0.0, -1.0 / np.expm1(-k * np.where(tiny, 1.0, fall)))
        purchases = np.stack([z ** (k - j) * in_all for j in range(k)])
        if for_ever:
            return purchases
        # Where tiny: what comes until the horizon, but for a constant; elsewhere what comes after.
        until = np.where(due > 0.0, -np.expm1(-due) / np.where(due > 0.0, due, 1.0), 1.0) * both
        after = np.exp(-due) / np.where(tiny, 1.0, stop)
        change = np.where(cut, 1.0 - stop, 0.0) / k * np.where(tiny, until, -after)
        growth = np.exp(-np.where(cut, log_q, 0.0))
        for j in range(k):
            u = j / k
            constant = (u - 0.5 + 0.5 / k) * tiny
            constant[tiny] += (k * (u * u - u + 1.0 / 6.0) / 2.0 - 1.0 / (12.0 * k)) * fall[tiny]
            purchases[j] += growth ** (k - j) * (change + constant)
        return purchases

    def pmf(self, params: Params, t: FloatArray, n_max: int) -> FloatArray:
        """P(n purchases in (0, t]) of an active customer for n = 0..n_max, shape (n, n_max + 1).

        Either n are due and the customer survives them, or at least n are due and the n-th is the
        last.
        """
        R, alpha, a, b, silence = params
        _, stages = self._silence(np.broadcast_to(R, t.shape), silence)
        due = np.stack(list(islice(self._purchases_due(params, stages, t), n_max + 1)), axis=1)
        number = np.arange(self.k)[:, None]
        ticks = (n_max + 1.0) * self.k - number
        later = (stages * betainc(ticks, R + number, t / (alpha + t))).sum(axis=0)
        # Added from the far end: the small terms come first, and none is lost.
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

    def _purchases_due(
        self, params: Params, stages: FloatArray, t: FloatArray
    ) -> Iterator[FloatArray]:
        """Yield P(n purchases in (0, t] if nobody drops out) for n = 0, 1, ..., forever.

        The customer starts at stage j, so n purchases are nk - j to nk - j + k - 1 ticks, and
        ticks are negative binomial; everything is a sum of positive terms. Each probability is
        kept as mantissa and power of two: those on the way to the likely ones would underflow.
        """
        shape = params.r + np.arange(self.k)[:, None]
        odds = t / (params.alpha + t)
        log_none = -shape * np.log1p(t / params.alpha)
        powers = np.floor(log_none / np.log(2.0)).astype(np.int64)
        parts = stages * np.exp(log_none - powers * np.log(2.0))
        position = 0
        while True:
            total = np.zeros(t.shape)
            for _ in range(self.k):
                started = slice(0, min(position + 1, self.k))
                total += np.ldexp(parts[started], powers[started]).sum(axis=0)
                m = position - np.arange(self.k)[started, None]
                parts[started] *= odds * (shape[started] + m) / (m + 1.0)
                position += 1
            # Powers of two are moved out exactly, so nothing is rounded by it.
            parts, shifts = np.frexp(parts)
            powers += shifts
            yield total

    def draw(self, params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw the number of purchases in (0, t] of an active customer, shape (n,)."""
        R, alpha, a, b, silence = np.broadcast_arrays(*params, t)[:-1]
        _, stages = self._silence(R, silence)
        stage = (rng.random(t.shape) > np.cumsum(stages, axis=0)[:-1]).sum(axis=0)
        ticks = rng.poisson(rng.gamma(R + stage) / alpha * t)
        due = (ticks + stage) // self.k
        with np.errstate(divide="ignore", over="ignore"):
            log_survival = np.log1p(-rng.beta(a, b))
            # Which purchase is the last is geometric; by its logarithm p near 0 may give infinity.
            last = np.ceil(-rng.exponential(size=t.shape) / log_survival)
        return np.asarray(np.minimum(due, np.maximum(last, 1.0)), dtype=np.float64)


def _log_rate_range(
    R: FloatArray, alpha: FloatArray, k: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Where a Gamma(R, alpha) rate matters on the scale of its logarithm, and how finely.

    ``R (y - 1 + exp(-y))`` and ``R (exp(y) - 1 - y)`` nats are lost at a distance y below and
    above the mean; below one tick in all, expectations fall by up to k nats more per unit.

    Returns
    -------
    low, high : ndarray
    quarters : ndarray of int
        The nodes may be ``2^(-quarters / 4)`` apart: the rhythm is analytic within ``pi / k`` of
        the real line, the density within some ``8 / sqrt(R)`` all but Gaussian.
    """
    centre, c = np.log(R / alpha), REACH / R
    below = c / 2.0 + np.sqrt(c * c / 4.0 + 2.0 * c)
    low = np.maximum(centre - below, np.minimum(centre, 0.0) - (REACH + R) / (R + k))
    c = REACH / (R + k)
    high = np.log((R + k) / alpha) + np.log1p(2.0 * c / 3.0 + np.sqrt(4.0 * c * c / 9.0 + 2.0 * c))
    finest = np.sqrt(max(k, 3) ** 2 + 0.63 * R) / 0.6
    return low, high, np.ceil(4.0 * np.log2(finest)).astype(np.int64)
