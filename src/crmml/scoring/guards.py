"""Guards: what a bundle was trained on, in a few figures, and whether data to score are like it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from crmml._typing import BoolArray, FloatArray
from crmml.data.tables import Tables
from crmml.features.contracts import Contracts
from crmml.features.snapshot import Snapshot
from crmml.stats.discounting import in_units

LEAST = 100
"""Customers below which nothing is compared: a few may differ from a base in any way."""

_TIMES = 3.0  # a typical figure may be so many times as high, or as low
_MORE = {"A": 0.15, "E": 0.40}  # so much more of the customers may be at the top, or fade away
_SHARE_NEW = 0.5
_LENGTH = 0.5  # least length of the history, as a share of that of the training


class TrainingRange(BaseModel):
    """What the customers of a training were like.

    Attributes
    ----------
    customers : int
        Who had bought.
    first, last : str
        Earliest and latest row of the log before the cutoff, ISO 8601.
    spend_per_purchase : tuple of float
        1 %, 50 % and 99 % quantile over the customers of net spend per purchase, currency.
    purchases : float
        Mean number of purchases per customer.
    newly_acquired : float
        Share of customers who bought first within the last outcome horizon.
    tiers : mapping of str to float
        Share of the customers in each value tier.
    margin : float, optional
        Margin as a share of net spend, over all customers; where lines have one or a cost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    customers: int
    first: str
    last: str
    spend_per_purchase: tuple[float, float, float]
    purchases: float
    newly_acquired: float
    tiers: Mapping[str, float]
    margin: float | None = None


def measure_base(
    tables: Tables, base: Snapshot | Contracts | Any, table: pd.DataFrame, horizon: str
) -> TrainingRange:
    """Measure what the customers of a base of any kind are like; see :func:`measure_range`.

    Of contracts the fee stands for the spend per purchase, and periods paid for purchases.
    """
    if not isinstance(base, Contracts):
        return measure_range(tables, base, table, horizon)
    frame = base.frame
    paid = frame["age"].to_numpy(dtype=np.float64) + 1.0
    days = in_units(base.period, "day")
    known = frame["fee"].dropna() if "fee" in frame else frame["age"].iloc[:0]
    fees = known.to_numpy(dtype=np.float64) if len(known) else np.zeros(1)
    return _range(
        tables.span("subscriptions"),
        base.cutoff,
        paid,
        fees,
        paid * days < in_units(horizon, "day"),
        table,
    )


def measure_range(
    tables: Tables, snapshot: Snapshot, table: pd.DataFrame, horizon: str
) -> TrainingRange:
    """Measure what customers are like.

    Parameters
    ----------
    tables : Tables
        What the snapshot was built from.
    snapshot : Snapshot
        One row per customer.
    table : DataFrame
        Their scores: ``value_tier``, if there, is counted.
    horizon : str
        Length of the outcome window.
    """
    frame = snapshot.frame
    purchases = frame["frequency"].to_numpy(dtype=np.float64) + 1.0
    spend = np.zeros(1)  # a log without amounts
    if "net_spend" in frame:
        spend = frame["net_spend"].to_numpy(dtype=np.float64) / purchases
    age = frame["T"].to_numpy(dtype=np.float64)
    young = age < in_units(horizon, snapshot.time_unit)
    found = _range(tables.span("transactions"), snapshot.cutoff, purchases, spend, young, table)
    earned = float(frame["margin_to_date"].sum()) if "margin_to_date" in frame else 0.0
    if not earned or not frame["net_spend"].sum() > 0:  # without margins the sum is 0
        return found
    return found.model_copy(update={"margin": earned / float(frame["net_spend"].sum())})


def _range(
    span: tuple[pd.Timestamp, pd.Timestamp],
    cutoff: pd.Timestamp,
    purchases: FloatArray,
    spend: FloatArray,
    young: BoolArray,
    table: pd.DataFrame,
) -> TrainingRange:
    low, typical, high = np.quantile(spend, (0.01, 0.5, 0.99)).tolist()
    shares: dict[str, float] = {}
    if "value_tier" in table:
        counted = table["value_tier"].value_counts(normalize=True).sort_index()
        shares = {str(tier): float(share) for tier, share in counted.items()}
    first, last = span
    return TrainingRange(
        customers=len(purchases),
        first=str(first),
        last=str(min(last, cutoff)),
        spend_per_purchase=(low, typical, high),
        purchases=float(purchases.mean()),
        newly_acquired=float(young.mean()),
        tiers={str(tier): float(share) for tier, share in shares.items()},
    )


def compare_ranges(
    trained: TrainingRange, now: TrainingRange, *, contracts: bool = False
) -> str | None:
    """Say in one sentence how customers differ from those of the training; None if they do not.

    Parameters
    ----------
    trained, now : TrainingRange
        Where either counts fewer than :data:`LEAST` customers nothing is compared.
    contracts : bool
        Whether fees and periods were measured, in the place of purchases.

    Examples
    --------
    >>> then = TrainingRange(customers=500, first="2024-01-01", last="2024-12-31",
    ...     spend_per_purchase=(5, 30, 200), purchases=3, newly_acquired=0.2, tiers={"A": 0.1})
    >>> cents = then.model_copy(update={"spend_per_purchase": (500, 3000, 20000)})
    >>> print(compare_ranges(then, cents))
    the data to score are unlike those of the training: the median customer spends 3,000.00 per
    purchase, 30.00 at training (is the amount in the same unit?)
    >>> compare_ranges(then, then) is None
    True
    """
    if min(trained.customers, now.customers) < LEAST:
        return None
    found = "; ".join(_differences(trained, now, _CONTRACTS if contracts else _PURCHASES))
    return f"the data to score are unlike those of the training: {found}" if found else None


_PURCHASES = (
    "the median customer spends {:,.2f} per purchase, {:,.2f} at training (is the amount in the "
    "same unit?)",
    "customers have {:,.1f} purchases on average, {:,.1f} at training",
    "the log covers {:.0f} weeks, {:.0f} at training",
)
_CONTRACTS = (
    "the median fee is {:,.2f} per period, {:,.2f} at training (is it in the same unit?)",
    "contracts have run for {:,.1f} periods on average, {:,.1f} at training",
    "the contracts cover {:.0f} weeks, {:.0f} at training",
)


def _differences(
    trained: TrainingRange, now: TrainingRange, words: tuple[str, str, str]
) -> Iterator[str]:
    typical, before = now.spend_per_purchase[1], trained.spend_per_purchase[1]
    if _far(typical, before):
        yield words[0].format(typical, before)
    if _far(now.purchases, trained.purchases):
        yield words[1].format(now.purchases, trained.purchases)
    if abs(now.newly_acquired - trained.newly_acquired) > _SHARE_NEW:
        yield (
            f"{now.newly_acquired:.0%} of the customers are new, "
            f"{trained.newly_acquired:.0%} at training"
        )
    if now.margin is not None and _far(now.margin, trained.margin or 0.0):
        yield (
            f"margin is {now.margin:.1%} of revenue, {trained.margin:.1%} at training (is it an "
            "amount of money?)"
        )
    for tier, more in _MORE.items() if trained.tiers and now.tiers else ():
        share, usual = now.tiers.get(tier, 0.0), trained.tiers.get(tier, 0.0)
        if share > usual + more:
            yield f"tier {tier} holds {share:.0%} of the customers, {usual:.0%} at training"
    length, usual_length = _weeks(now), _weeks(trained)
    if length < _LENGTH * usual_length:
        yield words[2].format(length, usual_length)


def _far(now: float, before: float) -> bool:
    return before > 0 and not before / _TIMES <= now <= before * _TIMES


def _weeks(found: TrainingRange) -> float:
    return float((pd.Timestamp(found.last) - pd.Timestamp(found.first)) / pd.Timedelta(weeks=1))
