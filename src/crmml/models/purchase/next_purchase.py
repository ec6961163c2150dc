"""When the next purchase comes: quantiles of the waiting time, and the probability of never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmml._typing import Duration
from crmml.exceptions import CrmmlError
from crmml.models.purchase.distribution import PredictiveDistribution
from crmml.stats.pareto_nbd import probability_return

LIMIT_DAYS = 3_652
"""Ten years: a purchase that is expected later is not dated."""


@dataclass(frozen=True)
class NextPurchase:
    """When one customer is expected to buy next.

    Attributes
    ----------
    probability_alive : float
        At the cutoff.
    probability_never : float
        That the customer never buys again: has left already, or leaves before the next purchase.
    date : Timestamp or None
        Day by which an active customer has bought with 50 %.
    earliest, latest : Timestamp or None
        The same with 10 % and 90 %.
    limit : str
        Why a date is None; empty where none is.
    """

    probability_alive: float
    probability_never: float
    date: pd.Timestamp | None
    earliest: pd.Timestamp | None
    latest: pd.Timestamp | None
    limit: str = ""


def expect_next_purchase(
    ahead: Callable[[Duration], PredictiveDistribution],
    cutoff: pd.Timestamp,
    probability_alive: float,
) -> NextPurchase:
    """Date the next purchase of one customer.

    Parameters
    ----------
    ahead : callable
        Gives the predictive distribution of the one customer's purchases within a duration.
    cutoff : Timestamp
        Exclusive end of what is known; day 1 of the waiting time is the day that begins here.
    probability_alive : float
        At the cutoff, as served.

    Notes
    -----
    With X(t) the purchases within t after the cutoff, the day of level q is the first one at which
    ``P(X(t) >= 1 | active at the cutoff) >= q``. It is found by bisection on that probability,
    which the predictive distribution gives in closed form and which never falls with t, so doubts
    about parameters, calendars and corrections are in it.

    Where customers leave at purchases only, the active buy again for certain, and P(never) is
    1 - P(alive). Where they leave at any moment (Pareto/NBD), an active customer leaves before the
    next purchase with a probability of its own.
    """
    known: dict[int, float] = {}

    def bought_by(days: int) -> float:
        if days not in known:
            chances = ahead(Duration(float(days), "day")).chances()
            known[days] = float(chances["buys_if_active"].iloc[0])
        return known[days]

    reach, limit = _reach(bought_by)
    early, middle, late = (_first_day(bought_by, q, reach) for q in (0.1, 0.5, 0.9))
    start = cutoff.normalize() - pd.Timedelta(days=1)
    dates = [None if d is None else start + pd.Timedelta(days=d) for d in (early, middle, late)]
    returns = _returns(ahead(Duration(float(min(7, reach)), "day")))
    if late is None and returns <= 0.9:
        limit = f"an active customer buys again with {returns:.0%} only, else leaves before"
    return NextPurchase(
        probability_alive=probability_alive,
        probability_never=1.0 - probability_alive * returns,
        date=dates[1],
        earliest=dates[0],
        latest=dates[2],
        limit="" if None not in dates else limit,
    )


def _reach(bought_by: Callable[[int], float]) -> tuple[int, str]:
    """Return how many days ahead can be looked, and what it means that a day lies beyond."""
    days, seen = 7, 7
    while True:
        try:
            if bought_by(days) >= 0.9 or days == LIMIT_DAYS:
                return days, "more than ten years from now, if the customer is active"
        except CrmmlError as error:  # a calendar of dates ends
            if days == 7:
                raise
            return seen, str(error)
        seen, days = days, min(2 * days, LIMIT_DAYS)


def _first_day(bought_by: Callable[[int], float], level: float, reach: int) -> int | None:
    if bought_by(reach) < level:
        return None
    low, high = 0, reach
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if bought_by(middle) >= level else (middle, high)
    return high


def _returns(distribution: PredictiveDistribution) -> float:
    """P(an active customer ever buys again), averaged over the nodes as all else is."""
    future = distribution.inverse[distribution.rows[0]]
    alive = distribution.alive[:, distribution.rows[0]]
    if "s" not in distribution.futures[0]._fields:
        return 1.0
    per_node = [
        probability_return(*(float(np.broadcast_to(v, t.shape)[future]) for v in params))
        for params, t in zip(distribution.futures, distribution.t, strict=True)
    ]
    return float(np.average(per_node, weights=alive)) if alive.sum() > 0 else 1.0
