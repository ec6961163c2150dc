"""Lifetime value and tier of one customer: the factors of the value, and what moves the tier."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from crmml.features.snapshot import Snapshot
from crmml.scoring.decisions import Tiers
from crmml.scoring.manifest import Manifest
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.profit import PROFIT
from crmml.segments.value_tier import TIERS


@dataclass(frozen=True)
class ValueParts:
    """Lifetime value and what it is the product of.

    ``clv = probability_alive * purchases_if_alive * discounting * spend * margin``.

    Attributes
    ----------
    clv, clv_lower, clv_upper, residual_value : float
        As served; the residual value is NaN where it has no bound.
    horizon : str
        Of the value.
    probability_alive : float
        At the cutoff.
    purchases_if_alive : float
        Expected in the horizon of an active customer.
    discounting : float
        Mean discount factor of those purchases.
    spend : float
        Expected per purchase.
    margin : float
        Share of spend that is margin.
    margin_assumed : bool
        Whether the margin is a setting, as the data hold neither margin nor cost.
    """

    clv: float
    clv_lower: float
    clv_upper: float
    residual_value: float
    horizon: str
    probability_alive: float
    purchases_if_alive: float
    discounting: float
    spend: float
    margin: float
    margin_assumed: bool

    @property
    def per_purchase(self) -> float:
        """Discounted margin of one more expected purchase."""
        return self.discounting * self.spend * self.margin


@dataclass(frozen=True)
class TierMove:
    """The value tier, and what would move the customer to the next one.

    Attributes
    ----------
    tier : str
    cut_point : float or None
        Value at which the next higher tier begins; None in A.
    missing : float or None
        Value that is missing to it.
    in_purchases : float or None
        The same in expected purchases within the horizon of the value.
    in_spend : float or None
        The same in spend per purchase.
    floor : float or None
        Value at which the tier begins; None in E.
    to_floor : float or None
        Value that may be lost before the next lower tier.
    if_bought_now : float or None
        Lifetime value if the customer bought once more, for the expected amount, in the last
        period before the cutoff; None where it cannot be said.
    tier_if_bought_now : str or None
    by : str
        Column of the scores that the tiers cut.
    worth : float
        What the customer has in it.
    """

    tier: str
    cut_point: float | None
    missing: float | None
    in_purchases: float | None
    in_spend: float | None
    floor: float | None
    to_floor: float | None
    if_bought_now: float | None
    tier_if_bought_now: str | None
    by: str
    worth: float


def value_parts(
    ltv: LifetimeValue, snapshot: Snapshot, row: pd.Series[Any], manifest: Manifest
) -> ValueParts:
    """Take the lifetime value of one customer apart.

    Parameters
    ----------
    ltv : LifetimeValue
    snapshot : Snapshot
        Of the one customer.
    row : Series
        As served: ``clv``, its bounds, ``residual_value`` and ``probability_alive`` are read.
    manifest : Manifest
        Says whether the data had a margin.
    """
    model = ltv.model
    far = model.ahead(snapshot, ltv.value_horizon)
    purchases = float(far.purchases.mean_if_alive().iloc[0])
    plain = float(far.purchases.mean().iloc[0])
    discounted = float(far.purchases.discounted(model.annual_discount_rate).iloc[0])
    known = set(manifest.columns.get("transactions", ()))
    return ValueParts(
        clv=float(row["clv"]),
        clv_lower=float(row["clv_lower"]),
        clv_upper=float(row["clv_upper"]),
        residual_value=float(row.get("residual_value", math.nan)),
        horizon=ltv.value_horizon,
        probability_alive=float(row["probability_alive"]),
        purchases_if_alive=purchases,
        discounting=discounted / plain if plain > 0 else 1.0,
        spend=float(model.spend_model_.expected_spend(snapshot).iloc[0]),
        margin=float(model._margins(snapshot)[0]),
        margin_assumed=not known & {"margin", "cost"},
    )


def tier_move(
    cut: Tiers, value: ValueParts, row: pd.Series[Any], ltv: LifetimeValue, snapshot: Snapshot
) -> TierMove:
    """Say how far the next and the lower tier are.

    Parameters
    ----------
    cut : Tiers
        With the stored cut points, and the column that they cut.
    value : ValueParts
    row : Series
        As served: the tier and that column are read. What a purchase would change is said of
        lifetime value only; the cost to serve is taken to stay.
    ltv : LifetimeValue
    snapshot : Snapshot
        Of the one customer.
    """
    tiers, worth = cut.segments, float(row[cut.by])
    place = place_in_tier(cut, str(row["value_tier"]), worth)
    expected = value.probability_alive * value.purchases_if_alive * value.discounting
    ahead = cut.by != PROFIT
    then = _if_bought_now(ltv, snapshot, value) if ahead else None
    then = None if then is None else then - (value.clv - worth)
    return replace(
        place,
        in_purchases=_over(place.missing, value.per_purchase) if ahead else None,
        in_spend=_over(place.missing, expected * value.margin) if ahead else None,
        if_bought_now=then,
        tier_if_bought_now=None if then is None else str(tiers.assign(pd.Series([then])).iloc[0]),
    )


def place_in_tier(cut: Tiers, tier: str, worth: float) -> TierMove:
    """Say how far the next and the lower tier are, in money alone.

    Parameters
    ----------
    cut : Tiers
        With the stored cut points.
    tier : str
        As served.
    worth : float
        The value that is cut, currency.
    """
    place, cuts = TIERS.index(tier), cut.segments.cut_points_
    # A negative value is in E whatever the cut points say.
    above = max(cuts[place - 1], 0.0) if place == len(cuts) else cuts[place - 1] if place else None
    floor = max(cuts[place], 0.0) if place < len(cuts) else None
    return TierMove(
        tier=tier,
        cut_point=above,
        missing=None if above is None else max(above - worth, 0.0),
        in_purchases=None,
        in_spend=None,
        floor=floor,
        to_floor=None if floor is None else worth - floor,
        if_bought_now=None,
        tier_if_bought_now=None,
        by=cut.by,
        worth=worth,
    )


def _over(amount: float | None, each: float) -> float | None:
    return amount / each if amount is not None and each > 0 else None


def _if_bought_now(ltv: LifetimeValue, snapshot: Snapshot, value: ValueParts) -> float | None:
    """Lifetime value after one more purchase in the last period before the cutoff.

    A learned correction reads more than the history, so it cannot be asked; who bought in that
    period already cannot buy in it again.
    """
    row = snapshot.frame.iloc[0]
    if ltv.model.correction_ is not None or row["recency"] >= row["T"] or value.spend <= 0:
        return None
    x = float(row["frequency"])
    mean = (x * float(row["monetary_value"]) + value.spend) / (x + 1.0)
    frame = snapshot.frame.assign(frequency=x + 1.0, recency=row["T"], monetary_value=mean)
    then = replace(snapshot, frame=frame)
    return float(ltv.model.ahead(then, ltv.value_horizon).clv().iloc[0])
