r"""Customers who are older than the data: BG/NBD from the origin of the window, zero-truncated.

Nothing is known of them before the data begin (time 0) but that they were active then, so all
their purchases since are counted, the first one seen included, and each is a chance to drop out.
They are in the data at all because they bought within a margin :math:`m` after the origin, which
has probability :math:`1 - (1 + m/\alpha)^{-r}`; the likelihood is divided by that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from crmml._typing import FloatArray
from crmml.stats import bg_nbd
from crmml.stats.bg_nbd import Params


@dataclass(frozen=True)
class SeenEarly:
    """BG/NBD histories that begin with the data, given a purchase within the margin.

    Parameters
    ----------
    share : float
        The margin as a share of the length of observation ``T``, so that it has no unit; in (0, 1].

    Notes
    -----
    ``x`` counts all purchases since the origin (at least one), ``t_x`` and ``T`` run from there.
    Given such a history the future is that of the BG/NBD.

    Examples
    --------
    Over all ways to buy within the margin the probabilities add up to 1: with certain purchase
    rates and nobody leaving, ``sum over x of T**x / x! * exp(log_likelihood)`` does, where the
    margin is all of T.

    >>> x, T = np.arange(1.0, 60.0), np.full(59, 3.0)
    >>> params = Params(2.0, 1.5, 1e-12, 1.0)
    >>> density = np.exp(SeenEarly(1.0).log_likelihood(params, x, T, T))
    >>> orders = np.cumprod(T / x)
    >>> round(float(density @ orders), 6)
    1.0
    """

    share: float
    NAMES: ClassVar[tuple[str, ...]] = bg_nbd.NAMES

    def make(self, theta: Sequence[Any]) -> Params:
        """Build the parameters from (r, alpha, a, b)."""
        return bg_nbd.make(theta)

    def log_seen(self, params: Params, T: FloatArray) -> FloatArray:
        """Log-probability of a purchase within the margin, shape (n,)."""
        nobody = params.r * np.log1p(self.share * T / params.alpha)
        # Not log(1 - exp(-n)), which loses all digits where hardly anybody would be seen.
        return np.asarray(np.log(-np.expm1(-nobody)))

    def unseen_rate(self, params: Params, T: FloatArray) -> FloatArray:
        r"""Purchase rate within the margin of those who were not seen, per customer seen.

        Per customer seen there are :math:`(1 - P) / P` who were not, each of expected rate
        :math:`r / (\alpha + m)`: the derivative of the logarithm of :math:`P` by :math:`m`.
        """
        margin = self.share * T
        unseen = 1.0 / np.expm1(params.r * np.log1p(margin / params.alpha))
        return np.asarray(unseen * params.r / (params.alpha + margin))

    def log_likelihood(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> FloatArray:
        """Log-likelihood of each history, given that it was seen within the margin."""
        return bg_nbd.log_likelihood(params, x, t_x, T) - self.log_seen(params, T)

    def score(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Log-likelihood (n,) and its exact derivatives by the log-parameters (4, n)."""
        return self.clocked_score(params, x, t_x, T)[:2]

    def clocked_score(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> bg_nbd.Score:
        """Log-likelihood and all its slopes; that by ``T`` moves the margin, a share of it."""
        plain = bg_nbd.clocked_score(params, x, t_x, T)
        margin = self.share * T
        nobody = params.r * np.log1p(margin / params.alpha)
        unseen = self.unseen_rate(params, T)
        # The truncation knows r and alpha alone: who buys within the margin has not left yet.
        plain.by_params[0] -= nobody / np.expm1(nobody)
        plain.by_params[1] += margin * unseen
        value = plain.value - self.log_seen(params, T)
        return plain._replace(value=value, by_T=plain.by_T - self.share * unseen)

    def counted(
        self, x: FloatArray, t_x: FloatArray, T: FloatArray, weights: FloatArray
    ) -> Callable[[FloatArray], tuple[float, FloatArray, Callable[[], FloatArray]]]:
        r"""Log-likelihood of weighted histories, as of :func:`bg_nbd.counted`.

        With :math:`n = r \log(1 + m/\alpha)` the denominator is :math:`\log(1 - e^{-n})`, whose
        derivatives by ``n`` are the odds of not being seen, and minus odds times (1 + odds).
        """
        # There are few distinct lengths of observation, so the truncation costs next to nothing.
        margin, times = np.unique(self.share * T, return_inverse=True)
        customers = np.bincount(times, weights=weights)
        untruncated = bg_nbd.counted(x, t_x, T, weights)

        def evaluate(theta: FloatArray) -> tuple[float, FloatArray, Callable[[], FloatArray]]:
            value, slope, rest = untruncated(theta)
            r, alpha = np.exp(theta[:2])
            nobody = r * np.log1p(margin / alpha)
            odds = 1.0 / np.expm1(nobody)
            by_alpha = -r * margin / (alpha + margin)
            by = np.stack([nobody, by_alpha])
            # The untruncated form may hand out its own buffer.
            slope = slope.copy()
            slope[:2] -= by @ (customers * odds)

            def information() -> FloatArray:
                curve = -(by * (customers * odds * (1.0 + odds))) @ by.T
                curve[0, 0] += (customers * odds) @ nobody
                curve[[0, 1], [1, 0]] += (customers * odds) @ by_alpha
                curve[1, 1] -= (customers * odds) @ (by_alpha * alpha / (alpha + margin))
                minus_hessian = rest().copy()
                minus_hessian[:2, :2] += curve
                return minus_hessian

            return value - float(customers @ np.log(-np.expm1(-nobody))), slope, information

        return evaluate

    def probability_alive(
        self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray
    ) -> FloatArray:
        """P(active at T | history), shape (n,)."""
        return bg_nbd.probability_alive(params, x, t_x, T)

    def if_alive(self, params: Params, x: FloatArray, t_x: FloatArray, T: FloatArray) -> Params:
        """Parameters of the future of a customer active at T."""
        return bg_nbd.if_alive(params, x, t_x, T)

    def expected_purchases(self, params: Params, t: FloatArray) -> FloatArray:
        """E[purchases in (0, t]] of an active customer."""
        return bg_nbd.expected_purchases(params, t)

    def pmf(self, params: Params, t: FloatArray, n_max: int) -> FloatArray:
        """P(n purchases in (0, t]) of an active customer."""
        return bg_nbd.pmf(params, t, n_max)

    def discounted_purchases(self, params: Params, t: FloatArray, delta: float) -> FloatArray:
        """E[discounted purchases in (0, t]] of an active customer."""
        return bg_nbd.discounted_purchases(params, t, delta)

    def draw(self, params: Params, t: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw the number of purchases in (0, t] of an active customer."""
        return bg_nbd.draw(params, t, rng)
