"""What a churn ranking is worth in money when the best share of customers is contacted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics.ranking import Order

CLV, INCENTIVE_COST, CONTACT_COST, ALPHA, BETA = 200.0, 10.0, 1.0, 6.0, 14.0
"""The published defaults of Verbraken et al. (2013)."""


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
    clv: float | FloatArray = CLV,
    incentive_cost: float = INCENTIVE_COST,
    contact_cost: float = CONTACT_COST,
    alpha: float = ALPHA,
    beta: float = BETA,
) -> ExpectedMaximumProfit:
    """Compute the expected maximum profit of a churn ranking (EMPC), per customer of the base.

    Contacting customers from the top of the ranking earns, for a save rate ``g`` among churners
    (the classification profit of Verbraken et al. 2013), from each of them ::

        g (clv - incentive_cost) - contact_cost      if it would churn,
        - incentive_cost - contact_cost              if not.

    The measure is the mean over ``g ~ Beta(alpha, beta)`` of the maximum over the share that is
    contacted, exact on the convex hull of what is to be won and what it costs (with one value for
    all: of the ROC curve).

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
        1 where the customer churned.
    score : ndarray, shape (n,)
        Higher is contacted earlier.
    clv : float or ndarray, shape (n,)
        Value of a customer who is kept: one for all, > 0, or each customer's own, >= 0.
    incentive_cost, contact_cost : float
        Cost of an accepted offer and of a contact, >= 0 and below the one value for all.
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
    value = np.broadcast_to(np.asarray(clv, dtype=np.float64), np.shape(actual))
    one = np.ndim(clv) == 0
    if not (np.isfinite(value).all() and (value > 0 if one else value >= 0).all()):
        raise ParameterError("clv", "> 0" if one else ">= 0 and known", clv)
    for name, cost in (("incentive_cost", incentive_cost), ("contact_cost", contact_cost)):
        if not (cost >= 0 and (not one or cost < clv)):
            raise ParameterError(name, "at least 0 and below clv", cost)
    if not (alpha > 0 and beta > 0):
        raise ParameterError("alpha and beta", "> 0", (alpha, beta))
    if not 0 < float(np.mean(actual)) < 1:
        raise TooLittleDataError(
            f"profit is judged on both outcomes, but of {len(actual):,} customers all have the same"
        )
    order = Order.of(np.asarray(score, dtype=np.float64))
    won = order.reached(actual * (value - incentive_cost))
    spent = order.reached(contact_cost + (1.0 - actual) * incentive_cost)
    corner = _upper_hull(spent, won)
    won, spent, contacted = won[corner], spent[corner], order.ends[corner]
    # The save rate at which going on from one corner of the hull to the next begins to pay.
    gains, costs = np.diff(won), np.diff(spent)
    border = np.where(gains > 0, costs / np.where(gains > 0, gains, 1.0), np.inf)
    edges = np.clip(np.concatenate([[0.0], border, [np.inf]]), 0.0, 1.0)
    weight = np.diff(stats.beta.cdf(edges, alpha, beta))
    # Mean of g over a piece: the Beta density times g is a Beta(alpha + 1, beta) density.
    mean = alpha / (alpha + beta) * np.diff(stats.beta.cdf(edges, alpha + 1, beta))
    n = len(actual)
    return ExpectedMaximumProfit(
        float(np.sum(won * mean - spent * weight)) / n, float(np.sum(contacted * weight)) / n
    )


def _upper_hull(x: FloatArray, y: FloatArray) -> IntArray:
    """Return the corners of the upper convex hull of points with x ascending."""
    kept = np.arange(len(x))
    while len(kept) > 2:
        run, rise = np.diff(x[kept]), np.diff(y[kept])
        # A point under the line between its neighbours is no corner, even if they are none either.
        corner = rise[:-1] * run[1:] > rise[1:] * run[:-1]
        if corner.all():
            break
        kept = kept[np.r_[True, corner, True]]
    return kept


def statistics(
    actual: FloatArray, probability: FloatArray, value: FloatArray | None = None
) -> dict[str, float]:
    """Say what contacting by a probability of churn is worth.

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
    probability : ndarray, shape (n,)
        Between 0 and 1.
    value : ndarray, shape (n,), optional
        Each customer's own value; a negative one counts as none.

    Returns
    -------
    dict of str to float
        ``empc, empc_share`` with the published defaults. With values, if any is above 0, also
        ``own_value_profit, own_value_profit_share``: the published costs keep their share of the
        mean value, and who is expected to bring the most is contacted first, by probability and
        own value together.
    """
    plain = expected_maximum_profit(actual, probability)
    found = {"empc": plain.profit, "empc_share": plain.share}
    if value is None or not np.isfinite(value).all() or not (value > 0).any():
        return found
    worth, incentive, contact = _scaled(value)
    own = expected_maximum_profit(
        actual,
        expected_gain(probability, value),
        clv=worth,
        incentive_cost=incentive,
        contact_cost=contact,
    )
    return found | {"own_value_profit": own.profit, "own_value_profit_share": own.share}


def _scaled(value: FloatArray) -> tuple[FloatArray, float, float]:
    """Return values of at least 0, and the published costs as shares of their mean."""
    worth = np.maximum(value, 0.0)
    mean = float(worth.mean())
    return worth, INCENTIVE_COST / CLV * mean, CONTACT_COST / CLV * mean


def expected_gain(probability: FloatArray, value: FloatArray) -> FloatArray:
    """Return what contacting each customer is expected to bring, at the mean save rate, (n,).

    Parameters
    ----------
    probability : ndarray, shape (n,)
        Of churn.
    value : ndarray, shape (n,)
        Each customer's own.

    Examples
    --------
    >>> expected_gain(np.array([0.1, 0.5]), np.array([200.0, 200.0])).round(2).tolist()
    [-4.3, 22.5]
    """
    worth, incentive, contact = _scaled(value)
    saved = ALPHA / (ALPHA + BETA) * (worth - incentive)
    return np.asarray(probability * saved - (1.0 - probability) * incentive - contact)


def compute_profit_curve(
    actual: FloatArray,
    probability: FloatArray,
    value: FloatArray | None = None,
    *,
    clv: float = CLV,
    save_rate: float = ALPHA / (ALPHA + BETA),
    incentive_cost: float = INCENTIVE_COST,
    contact_cost: float = CONTACT_COST,
) -> pd.DataFrame:
    """Say what contacting the first customers of a ranking finds and earns, share by share.

    Parameters
    ----------
    actual, probability, value
        As for :func:`statistics`.
    clv, incentive_cost, contact_cost : float
        Money: worth of a customer who is kept, of the offer to who takes it, of the contact. The
        published defaults, as the next one (Verbraken et al. 2013).
    save_rate : float
        Share of the churners who stay because of the offer, in (0, 1).

    Returns
    -------
    DataFrame
        Index ``contacted`` (share of the customers, 0 to 1 by hundredths); ``found`` (share of the
        churners) and ``profit`` (per customer of the base); with values also
        ``own_value_profit``, contacted by probability and value.

    Examples
    --------
    >>> curve = compute_profit_curve(np.array([0.0, 1.0]), np.array([0.1, 0.9]))
    >>> curve.loc[[0.5, 1.0]].round(2).values.tolist()
    [[1.0, 28.0], [1.0, 22.5]]
    """
    shares, n = np.linspace(0.0, 1.0, 101), len(actual)
    order = Order.of(probability)

    def earned(order: Order, worth: FloatArray, incentive: float, contact: float) -> FloatArray:
        saved = save_rate * (worth - incentive)
        each = actual * saved - (1.0 - actual) * incentive - contact
        return order.reached_at(each, shares) / n

    columns = {
        "found": order.reached_at(actual, shares) / actual.sum(),
        "profit": earned(order, np.full(n, clv), incentive_cost, contact_cost),
    }
    if value is not None and np.isfinite(value).all() and (value > 0).any():
        by_gain = Order.of(expected_gain(probability, value))
        columns["own_value_profit"] = earned(by_gain, *_scaled(value))
    return pd.DataFrame(columns, index=pd.Index(shares.round(2), name="contacted"))
