"""Customers, their purchases and their order lines, drawn from the purchase process asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from crmml._typing import FloatArray, IntArray
from crmml.testing.drawing import DAYS_PER_WEEK, beta_with_mean, choose, named, timestamps
from crmml.testing.schedules import rate_multiplier
from crmml.testing.truth import Purchases, Spend

RETURN_LAG_DAYS = 12.0


@dataclass(frozen=True)
class Base:
    """Who is there: ids, first purchases and latent rates, in days."""

    customer_id: IntArray
    born: FloatArray
    rate: FloatArray
    dropout: FloatArray


@dataclass(frozen=True)
class Latent:
    """What a customer is like, apart from rate and dropout."""

    mean_spend: FloatArray
    taste: FloatArray
    channel: FloatArray
    return_rate: FloatArray
    discount_rate: FloatArray
    satisfaction: FloatArray
    margin_rate: FloatArray


def draw_base(rng: np.random.Generator, n: int, acquisition_days: float, buying: Purchases) -> Base:
    """Draw first purchases, purchase rates and dropout of ``n`` customers."""
    rate = rng.gamma(buying.r, 1 / buying.alpha, n) / DAYS_PER_WEEK
    if buying.process == "pareto_nbd":
        dropout = rng.gamma(buying.s, 1 / buying.beta, n) / DAYS_PER_WEEK
    else:
        dropout = rng.beta(buying.a, buying.b, n)
    born = rng.uniform(0, acquisition_days, n)
    return Base(np.arange(1, n + 1), born, rate, dropout)


def draw_purchase_times(
    rng: np.random.Generator,
    base: Base,
    buying: Purchases,
    schedules: pd.DataFrame,
    origin: pd.Timestamp,
    end: float,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Draw all purchases, first ones included.

    Gaps are drawn round by round for those still active. Under a season or schedules the gaps are
    drawn on the clock of operational time S(t), the integral of what multiplies the rate, and
    mapped back.

    Returns
    -------
    owner : ndarray of int, shape (n_purchases,)
        Position of the customer.
    day : ndarray, shape (n_purchases,)
        Days since the start.
    lost_at : ndarray, shape (n_customers,)
        Day of the dropout; inf while active at ``end``.
    """
    n = len(base.born)
    calendar = np.arange(0, np.ceil(end) + 1)
    clock = _operational_time(calendar, buying, origin)
    effects = (buying.promotion_effect, buying.price_effect, buying.holiday_effect)
    if len(schedules) and any(effects):
        multiplier = rate_multiplier(schedules, buying, origin, len(calendar) - 1)
        clock = np.r_[clock[0], clock[0] + np.cumsum(np.diff(clock) * multiplier)]
    lost_at = np.full(n, np.inf)
    if buying.process == "pareto_nbd":
        lost_at = base.born + rng.exponential(1, n) / base.dropout
    active = np.arange(n)
    if buying.process == "mbg_nbd":
        leaves = rng.random(n) < base.dropout
        lost_at[leaves] = base.born[leaves]
        active = active[~leaves]
    owners, days = [np.arange(n)], [base.born]
    position = np.interp(base.born, calendar, clock)[active]
    while active.size:
        position = position + rng.standard_gamma(buying.k, active.size) / base.rate[active]
        day = np.interp(position, clock, calendar, right=np.inf)
        happens = (day < end) & (day < lost_at[active])
        active, position, day = active[happens], position[happens], day[happens]
        owners.append(active)
        days.append(day)
        if buying.process != "pareto_nbd":
            leaves = rng.random(active.size) < base.dropout[active]
            lost_at[active[leaves]] = day[leaves]
            active, position = active[~leaves], position[~leaves]
    lost_at[lost_at >= end] = np.inf
    return np.concatenate(owners), np.concatenate(days), lost_at


def _operational_time(days: FloatArray, buying: Purchases, origin: pd.Timestamp) -> FloatArray:
    omega = 2 * np.pi / 365.25
    phase = origin.day_of_year - buying.seasonal_peak
    swing = np.sin(omega * (days + phase)) - np.sin(omega * phase)
    return np.asarray(days + buying.seasonal_amplitude / omega * swing, dtype=np.float64)


def draw_latent(rng: np.random.Generator, base: Base, money: Spend) -> Latent:
    """Draw what customers are like; the dissatisfied leave sooner."""
    n = len(base.born)
    nu = rng.gamma(money.q, 1 / money.gamma, n)
    taste = rng.standard_gamma(0.6, (n, len(money.margin))) + 1e-9
    taste /= taste.sum(axis=1, keepdims=True)
    rank = np.empty(n)
    rank[np.argsort(base.dropout, kind="stable")] = (np.arange(n) + 0.5) / n
    # The dissatisfied leave sooner: correlation 0.6 with the rank of the dropout, exact marginals.
    satisfaction = -0.6 * ndtri(rank) + 0.8 * rng.standard_normal(n)
    return Latent(
        mean_spend=money.p / nu,
        taste=taste,
        channel=rng.beta(1.2, 0.9, n),
        return_rate=beta_with_mean(rng, money.return_rate, n),
        discount_rate=beta_with_mean(rng, money.discount_rate, n),
        satisfaction=satisfaction,
        margin_rate=taste @ np.asarray(money.margin),
    )


def write_truth(
    base: Base,
    latent: Latent,
    buying: Purchases,
    money: Spend,
    origin: pd.Timestamp,
    lost_at: FloatArray,
) -> pd.DataFrame:
    """Write down what was drawn of each customer, see :class:`crmml.testing.simulate.World`."""
    truth: dict[str, Any] = {"rate": base.rate * DAYS_PER_WEEK}
    if buying.process == "pareto_nbd":
        truth["dropout_rate"] = base.dropout * DAYS_PER_WEEK
    else:
        truth["dropout_probability"] = base.dropout
    truth["first_purchase"] = timestamps(origin, base.born)
    lost = np.isfinite(lost_at)
    truth["lost_at"] = pd.Series(timestamps(origin, np.where(lost, lost_at, 0))).where(lost)
    truth["mean_spend"] = latent.mean_spend
    truth["margin_rate"] = latent.margin_rate
    truth["return_rate"] = latent.return_rate
    truth["satisfaction"] = latent.satisfaction
    frame = pd.DataFrame(truth)
    frame.index = pd.Index(base.customer_id, name="customer_id")
    return frame


def draw_lines(
    rng: np.random.Generator,
    owner: IntArray,
    day: FloatArray,
    latent: Latent,
    money: Spend,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Draw the order lines of the purchases, and the returns that follow some of them."""
    chronological = np.argsort(day, kind="stable")
    owner, day = owner[chronological], day[chronological]
    total = rng.standard_gamma(money.p, owner.size) * latent.mean_spend[owner] / money.p
    lines = 1 + rng.poisson(money.lines_per_purchase - 1, owner.size)
    order = np.repeat(np.arange(owner.size), lines)
    who = owner[order]
    weight = rng.standard_exponential(order.size)
    weight /= np.bincount(order, weights=weight)[order]
    discounted = rng.random(order.size) < latent.discount_rate[who]
    amount = np.round(total[order] * weight, 2)
    category = choose(rng, latent.taste, who)
    online = rng.random(owner.size) < latent.channel[owner]
    table = {
        "customer_id": who + 1,
        "timestamp": day[order],
        "amount": amount,
        "order_id": order + 1,
        "margin": np.round(amount * np.asarray(money.margin)[category], 2),
        "category": category,
        "product_id": category * 100 + rng.integers(0, 100, order.size),
        "quantity": 1 + rng.poisson(0.4, order.size),
        "discount": np.where(discounted, np.round(amount * 0.25, 2), 0.0),
        "channel": online[order].astype(np.int8),
    }
    back_day = table["timestamp"] + rng.exponential(RETURN_LAG_DAYS, order.size)
    back = (rng.random(order.size) < latent.return_rate[who]) & (back_day < end) & (amount > 0)
    returned = {name: values[back] for name, values in table.items()}
    returned["timestamp"] = back_day[back]
    for name in ("amount", "margin", "quantity", "discount"):
        returned[name] = -returned[name]
    table = {name: np.concatenate([table[name], returned[name]]) for name in table}
    chronological = np.argsort(table["timestamp"], kind="stable")
    table = {name: values[chronological] for name, values in table.items()}
    names = [f"category_{i + 1}" for i in range(latent.taste.shape[1])]
    frame = pd.DataFrame(table)
    frame["timestamp"] = timestamps(origin, table["timestamp"])
    frame["category"] = named(table["category"], names)
    frame["channel"] = named(table["channel"], ["shop", "online"])
    return frame


def add_panel(
    rng: np.random.Generator,
    lines: pd.DataFrame,
    base: Base,
    latent: Latent,
    truth: pd.DataFrame,
    house_share: float,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Add seller, cost and currency, and what competitors sold; ``truth`` gains ``house_share``.

    A customer of the share w places Poisson orders of one line elsewhere, (1 - w) / w for each
    order at the house in expectation, between the first purchase and the end.
    """
    n = len(base.born)
    share = np.clip(rng.beta(4 * house_share, 4 * (1 - house_share), n), 0.05, 1.0)
    truth["house_share"] = share
    house = lines.assign(seller="house", cost=(lines["amount"] - lines["margin"]).round(2))
    bought = lines[lines["amount"] >= 0].groupby("customer_id")["order_id"].nunique()
    orders = bought.reindex(truth.index, fill_value=0).to_numpy()
    who = np.repeat(np.arange(n), rng.poisson(orders * (1 - share) / share))
    category = choose(rng, latent.taste, who)
    elsewhere = pd.DataFrame(
        {
            "customer_id": base.customer_id[who],
            "timestamp": timestamps(origin, rng.uniform(base.born[who], end)),
            "amount": np.round(rng.gamma(4.0, latent.mean_spend[who] / 4.0), 2),
            "order_id": lines["order_id"].max() + 1 + np.arange(len(who)),
            "category": named(
                category, [f"category_{i + 1}" for i in range(latent.taste.shape[1])]
            ),
            "product_id": category * 100 + rng.integers(0, 100, len(who)),
            "quantity": 1,
            "discount": 0.0,
            "channel": named(rng.integers(0, 2, len(who)), ["shop", "online"]),
            "seller": named(rng.integers(0, 2, len(who)), ["competitor_1", "competitor_2"]),
        }
    )
    panel = pd.concat([house, elsewhere], ignore_index=True).assign(currency="EUR")
    panel[["seller", "currency"]] = panel[["seller", "currency"]].astype("str")
    return panel.sort_values("timestamp", kind="stable", ignore_index=True)
