"""What it costs to serve a customer: learned from what service and contacts have cost so far.

A customer costs so much per unit of time while active and so much per purchase, the same for all
but for a factor of the customer's own::

    cost to date  = theta x (per_time x time active so far + per_purchase x purchases) + noise
    cost to serve = theta x (per_time x E[discounted time active] + per_purchase
                             x E[discounted purchases])

The time active so far is ``recency + P(alive) (T - recency)``. The two prices are those of weighted
least squares without negative ones, the weights falling with the expected cost, as for a sum of
small events. With *mu* the cost expected at those prices, the squared error is taken to be
``noise mu + spread mu^2``; both come from moments, and theta is shrunk to 1::

    theta = 1 + spread mu / (spread mu + noise) x (cost / mu - 1)

so a customer who has cost much over a long time is believed, and one bad week hardly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from crmml._typing import FloatArray
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import check_levels
from crmml.models.purchase.distribution import PredictiveDistribution
from crmml.models.value.lifetime_value import ValueAhead
from crmml.stats.discounting import discount_rate_per_unit
from crmml.stats.survival import survival

SERVING: tuple[str, ...] = ("service_cost", "contact_cost")
"""Columns of the snapshot that are costs of serving; actions are decided, not served."""

_GRID = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class CostToServe:
    """Prices of serving a customer, and how far customers differ.

    Attributes
    ----------
    per_time, per_purchase : float
        Currency per unit of time while active, and per purchase; >= 0.
    spread : float
        Variance of the customers' factors.
    noise : float
        Variance of the cost over its mean, within a customer.
    parts : tuple of str
        Columns of the snapshot that were added up.
    """

    per_time: float
    per_purchase: float
    spread: float
    noise: float
    parts: tuple[str, ...]

    @classmethod
    def fit(cls, snapshot: Snapshot, alive: pd.Series[float]) -> Self | None:
        """Learn the prices from the costs to date; None where none are known.

        Parameters
        ----------
        snapshot : Snapshot
            With some of :data:`SERVING`.
        alive : Series
            P(alive) at the cutoff, keyed by customer.
        """
        parts = tuple(name for name in SERVING if name in snapshot.frame)
        if not parts:
            return None
        cost, time, purchases = _history(snapshot, alive, parts)
        known = np.isfinite(cost)
        if not known.any() or cost[known].sum() <= 0:
            return None
        cost, by = cost[known], np.column_stack([time, purchases])[known]
        mean = np.full(len(cost), 1.0)
        prices = np.zeros(2)
        # Reweighted least squares: the variance of a cost is taken as proportional to its mean.
        for _ in range(10):
            root = 1.0 / np.sqrt(mean)
            prices, _ = nnls(by * root[:, None], cost * root)
            mean = np.maximum(by @ prices, 1e-6 * float(cost.mean()))
        # By moments: E(error) = noise * mean + spread * mean^2, summed plainly and over the mean.
        error = (cost - mean) ** 2
        n, first, second = len(cost), float(mean.sum()), float((mean**2).sum())
        sums = np.array([[n, first], [first, second]])
        target = np.array([float((error / mean).sum()), float(error.sum())])
        (noise, spread), _ = nnls(sums, target)
        return cls(float(prices[0]), float(prices[1]), float(spread), float(noise), parts)

    def factors(self, snapshot: Snapshot, alive: pd.Series[float]) -> FloatArray:
        """Return the factor of each customer, shape (n,); 1 where nothing is known of the cost."""
        parts = tuple(name for name in self.parts if name in snapshot.frame)
        if parts != self.parts:
            return np.ones(len(snapshot))
        cost, time, purchases = _history(snapshot, alive, parts)
        mean = self.per_time * time + self.per_purchase * purchases
        known = np.isfinite(cost) & (mean > 0)
        safe = np.where(known, mean, 1.0)
        doubt = self.spread * safe + self.noise
        # Credibility of an own cost: high where customers differ, low where costs scatter.
        weight = self.spread * safe / (doubt if self.noise or self.spread else 1.0)
        return np.where(known, 1.0 + weight * (np.where(known, cost, 0.0) / safe - 1.0), 1.0)

    def expected(self, ahead: ValueAhead) -> pd.Series[float]:
        """Expect what serving costs within the horizon, discounted as lifetime value is.

        Parameters
        ----------
        ahead : ValueAhead
            With a horizon.
        """
        snapshot, alive = ahead.snapshot, ahead.purchases.probability_alive()
        rate = ahead.model.annual_discount_rate
        purchases = ahead.purchases.discounted(rate).to_numpy()
        time = time_alive(ahead.purchases, rate).to_numpy()
        plain = self.per_time * time + self.per_purchase * purchases
        cost = self.factors(snapshot, alive) * plain
        return pd.Series(cost, index=snapshot.customer_id, name="cost_to_serve")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "parts": list(self.parts)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(**{**stored, "parts": tuple(stored["parts"])})


def _history(
    snapshot: Snapshot, alive: pd.Series[float], parts: Sequence[str]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cost to date, time active so far and purchases of each customer."""
    frame = snapshot.frame
    cost = frame[list(parts)].sum(axis=1, min_count=1).to_numpy(np.float64)
    recency, T = (frame[name].to_numpy(np.float64) for name in ("recency", "T"))
    p = alive.reindex(snapshot.customer_id).to_numpy(np.float64)
    return cost, recency + p * (T - recency), frame["frequency"].to_numpy(np.float64) + 1.0


def time_alive(
    ahead: PredictiveDistribution, annual_discount_rate: float = 0.0
) -> pd.Series[float]:
    """Expect the discounted time for which a customer is active within the horizon.

    The integral of ``exp(-delta t) P(active at t)``, by eight points of Gauss and Legendre at the
    estimates; the clock of the process is taken to run evenly within the horizon.

    Parameters
    ----------
    ahead : PredictiveDistribution
        With a horizon.
    annual_discount_rate : float
        Effective annual rate, >= 0.

    Returns
    -------
    Series
        In time units, keyed by customer.
    """
    delta = discount_rate_per_unit(annual_discount_rate, ahead.time_unit)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total = np.zeros(ahead.n_futures)
    for share, weight in zip((nodes + 1.0) / 2.0, weights / 2.0, strict=True):
        stays = survival(ahead.process, ahead.futures[0], share * ahead.t[0])
        total += weight * np.exp(-delta * share * ahead.length) * stays
    values = ahead.alive[0] * ahead.length * total[ahead.inverse]
    return pd.Series(values[ahead.rows], index=ahead.customer_id, name="time_alive")


def net_quantiles(
    ahead: ValueAhead, cost: pd.Series[float], q: float | Sequence[float]
) -> pd.DataFrame:
    """Quantiles of the discounted margin less what serving costs, within the horizon.

    Parameters
    ----------
    ahead : ValueAhead
        With a horizon.
    cost : Series
        Expected cost to serve, keyed by customer; from :meth:`CostToServe.expected`.
    q : float or sequence of float
        Levels strictly between 0 and 1.

    Returns
    -------
    DataFrame, shape (n_customers, n_levels)

    Notes
    -----
    Who has left costs nothing; who is active costs ``K = cost / P(alive)``, taken as known. With
    ``Q`` the quantiles of the margin and ``p = P(alive)``, those of the difference at the level
    ``u`` are ``Q(u + 1 - p) - K`` while that is negative, ``Q(u) - K`` where that is positive, and
    0 between; of a customer whose margin is negative, ``Q(u) - K`` below the level ``p`` and then
    0. ``Q`` is interpolated linearly on a grid of levels, except at the levels asked for, and is 0
    up to the probability of no purchase.
    """
    levels = check_levels(q)
    p = ahead.purchases.probability_alive().to_numpy()
    spent = cost.reindex(ahead.snapshot.customer_id).to_numpy(np.float64)
    if not (spent > 0).any():
        return ahead.clv_quantiles(q)
    k = np.where(p > 0, spent / np.where(p > 0, p, 1.0), 0.0)
    grid = np.unique(np.concatenate([levels, _GRID]))
    margin = ahead.clv_quantiles(grid.tolist()).to_numpy()
    silent = np.asarray(ahead.doubted.probability_no_purchase(), dtype=np.float64)
    loses = margin[:, 0] < 0
    out = np.empty((len(p), len(levels)))
    for j, level in enumerate(levels):
        upper = margin[:, int(np.searchsorted(grid, level))] - k
        lower = _interpolated(grid, margin, np.asarray(level + 1.0 - p), silent) - k
        gains = np.where(lower < 0, lower, np.maximum(upper, 0.0))
        out[:, j] = np.where(loses, np.where(level < p, upper, 0.0), gains)
    columns = pd.Index(levels, name="q")
    return pd.DataFrame(out, index=ahead.snapshot.customer_id, columns=columns)


def _interpolated(
    grid: FloatArray, values: FloatArray, at: FloatArray, silent: FloatArray
) -> FloatArray:
    """Read a table of quantiles, 0 up to the level ``silent``, at a level of each row."""
    right = np.clip(np.searchsorted(grid, at), 1, len(grid) - 1)
    rows = np.arange(len(at))
    begins = grid[right - 1] < silent  # the quantiles leave 0 between these two levels
    left = np.where(begins, np.minimum(silent, grid[right]), grid[right - 1])
    low = np.where(begins, 0.0, values[rows, right - 1])
    width = grid[right] - left
    share = np.clip((at - left) / np.where(width > 0, width, 1.0), 0.0, 1.0)
    found = np.where(at <= silent, 0.0, (1 - share) * low + share * values[rows, right])
    # Of the level 1 or more there is no quantile: whoever is asked for has left.
    return np.asarray(np.where(at >= 1.0, np.inf, found))
