"""What a churn ranking is worth in money when the best share of customers is contacted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError, TooLittleDataError


class ExpectedMaximumProfit(NamedTuple):
    """Expected maximum profit and the share of customers to contact for it."""

    profit: float
    """Money per customer of the base, at least 0."""
    share: float
    """Expected best share of customers to contact, 0 to 1."""


def expected_maximum_profit(
    actual: FloatArray,
    score: FloatArray,
    *,
    clv: float = 200.0,
    incentive_cost: float = 10.0,
    contact_cost: float = 1.0,
    alpha: float = 6.0,
    beta: float = 14.0,
) -> ExpectedMaximumProfit:
    """Compute the expected maximum profit of a churn ranking (EMPC), per customer of the base.

    Contacting a share ``t`` of the customers from the top of the ranking earns, for a save rate
    ``g`` among churners (the classification profit of Verbraken et al. 2013)::

        P(t; g) = clv (g (1 - d) - f) p0 F0(t) - clv (d + f) p1 F1(t)

    with ``d = incentive_cost / clv``, ``f = contact_cost / clv``, ``p0, F0`` the share of churners
    and the part of them contacted, ``p1, F1`` those of the others. The measure is the mean over
    ``g ~ Beta(alpha, beta)`` of the maximum over ``t``, exact on the convex hull of the ROC curve.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
        1 where the customer churned.
    score : ndarray, shape (n,)
        Higher means more likely.
    clv : float
        Value of a customer who is kept, > 0.
    incentive_cost, contact_cost : float
        Cost of an accepted offer and of a contact, in [0, clv).
    alpha, beta : float
        Of the Beta distribution of the save rate, > 0; its mean is ``alpha / (alpha + beta)``.

    Returns
    -------
    ExpectedMaximumProfit

    Raises
    ------
    ParameterError
        If a setting is out of range.
    TooLittleDataError
        If only one outcome occurs.

    References
    ----------
    Verbraken, Verbeke, Baesens (2013), IEEE Transactions on Knowledge and Data Engineering 25(5).
    """
    if not clv > 0:
        raise ParameterError("clv", "> 0", clv)
    for name, cost in (("incentive_cost", incentive_cost), ("contact_cost", contact_cost)):
        if not 0 <= cost < clv:
            raise ParameterError(name, "at least 0 and below clv", cost)
    if not (alpha > 0 and beta > 0):
        raise ParameterError("alpha and beta", "> 0", (alpha, beta))
    churners = float(np.mean(actual))
    if not 0 < churners < 1:
        raise TooLittleDataError(
            f"profit is judged on both outcomes, but of {len(actual):,} customers all have the same"
        )
    F0, F1 = _roc_hull(actual, score)
    d, f = incentive_cost / clv, contact_cost / clv
    p0, p1 = churners, 1.0 - churners
    # The save rate at which going on from one corner of the hull to the next begins to pay.
    gains = p0 * (1 - d) * np.diff(F0)
    costs = p1 * (d + f) * np.diff(F1) + p0 * f * np.diff(F0)
    border = np.where(gains > 0, costs / np.where(gains > 0, gains, 1.0), np.inf)
    edges = np.clip(np.concatenate([[0.0], border, [np.inf]]), 0.0, 1.0)
    weight = np.diff(stats.beta.cdf(edges, alpha, beta))
    # Mean of g over a piece: the Beta density times g is a Beta(alpha + 1, beta) density.
    mean = alpha / (alpha + beta) * np.diff(stats.beta.cdf(edges, alpha + 1, beta))
    profit = clv * np.sum(
        (1 - d) * p0 * F0 * mean - f * p0 * F0 * weight - (d + f) * p1 * F1 * weight
    )
    return ExpectedMaximumProfit(float(profit), float(np.sum((p0 * F0 + p1 * F1) * weight)))


def _roc_hull(actual: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Corners of the upper convex hull of the ROC curve, from (0, 0) to (1, 1)."""
    values, group = np.unique(-score, return_inverse=True)
    events = np.bincount(group, actual, len(values))
    others = np.bincount(group, minlength=len(values)) - events
    hits = np.concatenate([[0.0], np.cumsum(events)])
    false = np.concatenate([[0.0], np.cumsum(others)])
    hull: list[int] = []
    for i in range(len(hits)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            left = (hits[b] - hits[a]) * (false[i] - false[a])
            if left > (hits[i] - hits[a]) * (false[b] - false[a]):
                break
            hull.pop()
        hull.append(i)
    return hits[hull] / hits[-1], false[hull] / false[-1]
