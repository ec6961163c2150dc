"""Worlds with known truth: whole customer bases drawn from the processes that crmml estimates.

Everything is drawn from one seed and with arrays only. Times inside this module are days since
``start``; the tables that come out carry timezone-naive timestamps and the columns of the glossary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError

Process: TypeAlias = Literal["bg_nbd", "mbg_nbd", "pareto_nbd"]

DAYS_PER_WEEK = 7.0
RETURN_LAG_DAYS = 12.0
EFFECT_WEEKS = 8.0


@dataclass(frozen=True)
class Purchases:
    """Truth about purchases and dropout; rates per week.

    Attributes
    ----------
    process : {"bg_nbd", "mbg_nbd", "pareto_nbd"}
        Dropout after a repeat purchase, after any purchase, or at any time.
    r, alpha : float
        Shape and rate (weeks) of the gamma distribution of the purchase rate.
    a, b : float
        Beta distribution of the dropout probability (``bg_nbd``, ``mbg_nbd``).
    s, beta : float
        Shape and rate (weeks) of the gamma distribution of the dropout rate (``pareto_nbd``).
    k : int
        Erlang shape of the gaps: 1 is exponential, higher is more regular. A gap is the sum of
        ``k`` exponential stages at the customer's rate, so its mean is ``k / rate``.
    seasonal_amplitude : float
        Yearly season of the purchase rate: ``1 + amplitude * cos(2 pi (t - peak) / 365.25)``,
        between 0 and 0.95.
    seasonal_peak : int
        Day of the year of the peak.
    """

    process: Process = "bg_nbd"
    r: float = 0.8
    alpha: float = 6.0
    a: float = 0.8
    b: float = 3.5
    s: float = 0.6
    beta: float = 12.0
    k: int = 1
    seasonal_amplitude: float = 0.0
    seasonal_peak: int = 350

    def __post_init__(self) -> None:
        if self.process not in get_args(Process):
            raise ParameterError("process", f"one of {get_args(Process)}", self.process)
        for name in ("r", "alpha", "a", "b", "s", "beta"):
            if not getattr(self, name) > 0:
                raise ParameterError(name, "positive", getattr(self, name))
        if int(self.k) != self.k or self.k < 1:
            raise ParameterError("k", "a whole number >= 1", self.k)
        if not 0 <= self.seasonal_amplitude <= 0.95:
            raise ParameterError(
                "seasonal_amplitude", "between 0 and 0.95", self.seasonal_amplitude
            )


@dataclass(frozen=True)
class Spend:
    """Truth about money: Gamma-Gamma spend per purchase, margin, returns and discounts.

    Attributes
    ----------
    p, q, gamma : float
        A purchase is gamma(p, rate nu), nu is gamma(q, rate gamma): mean ``p gamma / (q - 1)``.
    margin : tuple of float
        Share of the amount that is margin, one per category.
    return_rate : float
        Mean probability that a line is returned later.
    discount_rate : float
        Mean probability that a line was sold at a discount (of 20 %).
    lines_per_purchase : float
        Mean number of lines of a purchase; at least 1.
    """

    p: float = 6.25
    q: float = 3.74
    gamma: float = 15.44
    margin: tuple[float, ...] = (0.45, 0.30, 0.20, 0.35, 0.12)
    return_rate: float = 0.04
    discount_rate: float = 0.15
    lines_per_purchase: float = 1.8

    def __post_init__(self) -> None:
        for name in ("p", "q", "gamma"):
            if not getattr(self, name) > 0:
                raise ParameterError(name, "positive", getattr(self, name))
        for name in ("return_rate", "discount_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(name, "between 0 and 1", getattr(self, name))
        if self.lines_per_purchase < 1:
            raise ParameterError("lines_per_purchase", "at least 1", self.lines_per_purchase)


@dataclass(frozen=True)
class World:
    """Tables of one simulated business, and the truth behind them.

    Attributes
    ----------
    transactions, customers, interactions, treatments, subscriptions : DataFrame
        Columns as in section *input tables* of the glossary.
    truth : DataFrame
        Indexed by ``customer_id``: ``rate`` (per week), ``dropout_probability`` or
        ``dropout_rate`` (per week), ``first_purchase``, ``lost_at`` (missing while active at the
        end), ``mean_spend``, ``margin_rate``, ``satisfaction``, ``churn_probability`` of the
        subscription per period, and for each action ``effect_<action>`` (extra purchases that the
        action brings, in expectation) and ``gain_<action>`` (the same in margin).
    start, end : Timestamp
        The span of the world; ``end`` is exclusive.
    """

    transactions: pd.DataFrame
    customers: pd.DataFrame
    interactions: pd.DataFrame
    treatments: pd.DataFrame
    subscriptions: pd.DataFrame
    truth: pd.DataFrame
    start: pd.Timestamp
    end: pd.Timestamp


@dataclass(frozen=True)
class _Base:
    """Who is there: ids, first purchases and latent rates, in days."""

    customer_id: IntArray
    born: FloatArray
    rate: FloatArray
    dropout: FloatArray


def simulate_world(
    n_customers: int = 1_000,
    *,
    seed: int | np.random.Generator,
    start: str | pd.Timestamp = "2022-01-03",
    weeks: float = 104,
    acquisition_weeks: float | None = None,
    purchases: Purchases | None = None,
    spend: Spend | None = None,
    actions: Mapping[str, float] | None = None,
    treated_at_week: float | None = None,
    tables: Sequence[str] = ("customers", "interactions", "treatments", "subscriptions"),
) -> World:
    """Draw a whole world.

    Parameters
    ----------
    n_customers : int
        Customers acquired, each with a first purchase inside the acquisition span.
    seed : int or Generator
        The only source of randomness.
    start : str or Timestamp
        First day.
    weeks : float
        Length of the observed span.
    acquisition_weeks : float, optional
        First purchases are spread evenly over the first so many weeks; default half of ``weeks``.
    purchases, spend : Purchases, Spend, optional
        The truth; defaults are a lively shop.
    actions : mapping of str to float, optional
        Actions and their mean effect in extra purchases over the following eight weeks; default
        ``{"email": 0.05, "voucher": 0.20}``. The effect differs by customer, see ``truth``.
    treated_at_week : float, optional
        When the randomised actions are given; default three quarters of the span.
    tables : sequence of str
        Optional tables to draw; the others come out empty. Without ``treatments`` no action
        changes any purchase.

    Returns
    -------
    World

    Examples
    --------
    >>> world = simulate_world(100, seed=1)
    >>> world.transactions.columns[:3].tolist()
    ['customer_id', 'timestamp', 'amount']
    >>> len(world.truth)
    100
    """
    if n_customers < 1:
        raise ParameterError("n_customers", "at least 1", n_customers)
    if not weeks > 0:
        raise ParameterError("weeks", "positive", weeks)
    acquisition = weeks / 2 if acquisition_weeks is None else acquisition_weeks
    if not 0 < acquisition <= weeks:
        raise ParameterError("acquisition_weeks", "between 0 and weeks", acquisition)
    known = ("customers", "interactions", "treatments", "subscriptions")
    for name in tables:
        if name not in known:
            raise ParameterError("tables", f"among {known}", name)
    buying, money = purchases or Purchases(), spend or Spend()
    origin = pd.Timestamp(start)
    end = weeks * DAYS_PER_WEEK
    rng = np.random.default_rng(seed)

    base = _draw_base(rng, n_customers, acquisition * DAYS_PER_WEEK, buying)
    owner, day, lost_at = _draw_purchase_times(rng, base, buying, origin, end)
    latent = _draw_latent(rng, base, money)
    truth = _truth(base, latent, buying, money, origin, lost_at)

    treatments = _EMPTY["treatments"]
    if "treatments" in tables:
        when = (treated_at_week or 0.75 * weeks) * DAYS_PER_WEEK
        effects = dict(actions) if actions is not None else {"email": 0.05, "voucher": 0.20}
        treatments, extra_owner, extra_day = _treat(
            rng, base, latent, truth, effects, when, end, origin
        )
        owner, day = np.concatenate([owner, extra_owner]), np.concatenate([day, extra_day])
    transactions = _draw_lines(rng, owner, day, latent, money, origin, end)
    return World(
        transactions=transactions,
        customers=_customers(rng, base, origin) if "customers" in tables else _EMPTY["customers"],
        interactions=(
            _interactions(rng, base, latent, origin, end)
            if "interactions" in tables
            else _EMPTY["interactions"]
        ),
        treatments=treatments,
        subscriptions=(
            _subscriptions(rng, base, truth, origin, end)
            if "subscriptions" in tables
            else _EMPTY["subscriptions"]
        ),
        truth=truth,
        start=origin,
        end=origin + pd.Timedelta(days=end),
    )


def _draw_base(
    rng: np.random.Generator, n: int, acquisition_days: float, buying: Purchases
) -> _Base:
    rate = rng.gamma(buying.r, 1 / buying.alpha, n) / DAYS_PER_WEEK
    if buying.process == "pareto_nbd":
        dropout = rng.gamma(buying.s, 1 / buying.beta, n) / DAYS_PER_WEEK
    else:
        dropout = rng.beta(buying.a, buying.b, n)
    born = rng.uniform(0, acquisition_days, n)
    return _Base(np.arange(1, n + 1), born, rate, dropout)


def _draw_purchase_times(
    rng: np.random.Generator,
    base: _Base,
    buying: Purchases,
    origin: pd.Timestamp,
    end: float,
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Draw all purchases, first ones included.

    Gaps are drawn round by round for those still active. Under a season the gaps are drawn on
    the clock of operational time S(t), the integral of the season, and mapped back.

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


@dataclass(frozen=True)
class _Latent:
    """What a customer is like, apart from rate and dropout."""

    mean_spend: FloatArray
    taste: FloatArray
    channel: FloatArray
    return_rate: FloatArray
    discount_rate: FloatArray
    satisfaction: FloatArray
    margin_rate: FloatArray


def _draw_latent(rng: np.random.Generator, base: _Base, money: Spend) -> _Latent:
    n = len(base.born)
    nu = rng.gamma(money.q, 1 / money.gamma, n)
    taste = rng.standard_gamma(0.6, (n, len(money.margin))) + 1e-9
    taste /= taste.sum(axis=1, keepdims=True)
    rank = np.empty(n)
    rank[np.argsort(base.dropout, kind="stable")] = (np.arange(n) + 0.5) / n
    # The dissatisfied leave sooner: correlation 0.6 with the rank of the dropout, exact marginals.
    satisfaction = -0.6 * ndtri(rank) + 0.8 * rng.standard_normal(n)
    return _Latent(
        mean_spend=money.p / nu,
        taste=taste,
        channel=rng.beta(1.2, 0.9, n),
        return_rate=_beta_with_mean(rng, money.return_rate, n),
        discount_rate=_beta_with_mean(rng, money.discount_rate, n),
        satisfaction=satisfaction,
        margin_rate=taste @ np.asarray(money.margin),
    )


def _beta_with_mean(rng: np.random.Generator, mean: float, n: int) -> FloatArray:
    return rng.beta(4 * mean, 4 * (1 - mean), n) if mean > 0 else np.zeros(n)


def _truth(
    base: _Base,
    latent: _Latent,
    buying: Purchases,
    money: Spend,
    origin: pd.Timestamp,
    lost_at: FloatArray,
) -> pd.DataFrame:
    truth: dict[str, Any] = {"rate": base.rate * DAYS_PER_WEEK}
    if buying.process == "pareto_nbd":
        truth["dropout_rate"] = base.dropout * DAYS_PER_WEEK
    else:
        truth["dropout_probability"] = base.dropout
    truth["first_purchase"] = _timestamps(origin, base.born)
    lost = np.isfinite(lost_at)
    truth["lost_at"] = pd.Series(_timestamps(origin, np.where(lost, lost_at, 0))).where(lost)
    truth["mean_spend"] = latent.mean_spend
    truth["margin_rate"] = latent.margin_rate
    truth["return_rate"] = latent.return_rate
    truth["satisfaction"] = latent.satisfaction
    frame = pd.DataFrame(truth)
    frame.index = pd.Index(base.customer_id, name="customer_id")
    return frame


def _draw_lines(
    rng: np.random.Generator,
    owner: IntArray,
    day: FloatArray,
    latent: _Latent,
    money: Spend,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
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
    category = _choose(rng, latent.taste, who)
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
    frame["timestamp"] = _timestamps(origin, table["timestamp"])
    frame["category"] = _named(table["category"], names)
    frame["channel"] = _named(table["channel"], ["shop", "online"])
    return frame


def _choose(rng: np.random.Generator, shares: FloatArray, who: IntArray) -> IntArray:
    """Draw one column per row of ``who`` with the probabilities of that customer."""
    u = rng.random(who.size)
    chosen = np.zeros(who.size, dtype=np.int64)
    for bound in np.cumsum(shares, axis=1)[:, :-1].T:
        chosen += u > bound[who]
    return chosen


def _named(codes: Any, names: Sequence[str]) -> pd.Series[str]:
    """Write codes 0, 1, ... as text."""
    labels: Any = pd.Categorical(list(names), categories=list(names)).take(codes)
    return pd.Series(labels).astype("str")


def _timestamps(origin: pd.Timestamp, days: FloatArray) -> npt.NDArray[np.datetime64]:
    seconds = np.floor(days * 86_400).astype("timedelta64[s]")
    stamped: npt.NDArray[np.datetime64] = (origin.to_datetime64() + seconds).astype(
        "datetime64[us]"
    )
    return stamped


def _customers(rng: np.random.Generator, base: _Base, origin: pd.Timestamp) -> pd.DataFrame:
    n = len(base.born)
    sources = ["organic", "paid_search", "referral"]
    source = rng.choice(3, n, p=[0.5, 0.35, 0.15])
    return pd.DataFrame(
        {
            "customer_id": base.customer_id,
            "industry": _named(rng.integers(0, 3, n), ["retail", "services", "manufacturing"]),
            "acquired_at": _timestamps(origin, base.born),
            "acquisition_channel": _named(source, sources),
            "acquisition_cost": np.round(np.array([0.0, 9.0, 4.0])[source], 2),
            "contactable": rng.random(n) < 0.85,
        }
    )


def _interactions(
    rng: np.random.Generator,
    base: _Base,
    latent: _Latent,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Complaints and surveys speak of the latent satisfaction; the other kinds are noise."""
    n = len(base.born)
    years = (end - base.born) / 365.25
    unhappy = np.exp(-0.8 * latent.satisfaction)
    rates = {
        "contact": np.full(n, 0.8),
        "complaint": 0.15 * unhappy,
        "survey": np.full(n, 0.5),
        "suggestion": np.full(n, 0.05),
        "referral": 0.05 / unhappy,
        "visit": np.full(n, 0.3),
    }
    parts = []
    for kind, rate in rates.items():
        who = np.repeat(np.arange(n), rng.poisson(rate * years))
        day = rng.uniform(base.born[who], end)
        part = pd.DataFrame(
            {
                "customer_id": base.customer_id[who],
                "timestamp": _timestamps(origin, day),
                "kind": kind,
                "channel": np.where(rng.random(who.size) < 0.6, "phone", "email"),
                "score": np.nan,
                "cost": 0.0,
            }
        )
        part["resolved"] = pd.array([None] * len(part), dtype="boolean")
        part["led_to_change"] = pd.array([None] * len(part), dtype="boolean")
        part["referred_customer_id"] = pd.array([None] * len(part), dtype="Int64")
        if kind == "survey":
            noise = 1.5 * rng.standard_normal(who.size)
            score = np.clip(np.round(7 + 2 * latent.satisfaction[who] + noise), 0, 10)
            part["score"] = score
        elif kind in ("complaint", "contact"):
            part["cost"] = np.round(rng.gamma(4, 1.5, who.size), 2)
        if kind == "complaint":
            part["resolved"] = pd.array(rng.random(who.size) < 0.7, dtype="boolean")
        elif kind == "suggestion":
            part["led_to_change"] = pd.array(rng.random(who.size) < 0.2, dtype="boolean")
        elif kind == "referral":
            later = _later_customer(rng, base, who, day)
            part["referred_customer_id"] = later
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(["timestamp", "customer_id", "kind"], ignore_index=True)


def _later_customer(
    rng: np.random.Generator, base: _Base, who: IntArray, day: FloatArray
) -> pd.Series[Any]:
    """Name one customer born after the referral; missing where nobody was."""
    by_birth = np.argsort(base.born, kind="stable")
    n = len(by_birth)
    first = np.searchsorted(base.born[by_birth], day, side="right")
    pick = first + np.floor(rng.random(who.size) * (n - first)).astype(np.int64)
    found = base.customer_id[by_birth[np.minimum(pick, n - 1)]]
    return pd.Series(found, dtype="Int64").where(first < n)


def _treat(
    rng: np.random.Generator,
    base: _Base,
    latent: _Latent,
    truth: pd.DataFrame,
    effects: Mapping[str, float],
    when: float,
    end: float,
    origin: pd.Timestamp,
) -> tuple[pd.DataFrame, IntArray, FloatArray]:
    """Give each customer present one action at random, and the purchases that it brings.

    The effect of an action is additive: Poisson extra purchases in the weeks after it, with mean
    ``effect * exp(0.7 z - 0.245)``, z standard normal and known in ``truth``. One half of the
    customers gets ``no_action``.
    """
    if any(effect < 0 for effect in effects.values()):
        raise ParameterError("actions", "effects >= 0 extra purchases", dict(effects))
    arms = ["no_action", *effects]
    shares = np.array([0.5, *([0.5 / len(effects)] * len(effects))]) if effects else np.ones(1)
    n = len(base.born)
    mean = np.zeros((n, len(arms)))
    for j, effect in enumerate(effects.values(), start=1):
        mean[:, j] = effect * np.exp(0.7 * rng.standard_normal(n) - 0.245)
        truth[f"effect_{arms[j]}"] = mean[:, j]
        truth[f"gain_{arms[j]}"] = mean[:, j] * latent.mean_spend * latent.margin_rate
    present = np.flatnonzero(base.born < when)
    arm = rng.choice(len(arms), present.size, p=shares)
    last = min(end, when + EFFECT_WEEKS * DAYS_PER_WEEK)
    extra = np.repeat(present, rng.poisson(mean[present, arm]))
    day = rng.uniform(when, last, extra.size)
    table = pd.DataFrame(
        {
            "customer_id": base.customer_id[present],
            "timestamp": _timestamps(origin, np.full(present.size, when)),
            "action": _named(arm, arms),
            "channel": pd.Series(["email"] * present.size, dtype="str").mask(arm == 0),
            "cost": np.where(arm == 0, 0.0, 0.5),
            "propensity": shares[arm],
        }
    )
    return table, extra, day


def _subscriptions(
    rng: np.random.Generator,
    base: _Base,
    truth: pd.DataFrame,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Contracts renewed every four weeks; the chance to end is beta distributed (sBG)."""
    n = len(base.born)
    theta = np.clip(rng.beta(1.0, 6.0, n), 1e-6, 1 - 1e-12)
    truth["churn_probability"] = theta
    periods = rng.geometric(theta)
    ended = base.born + 28.0 * periods
    over = ended < end
    reason = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    reasons = ["voluntary", "involuntary", "competitor"]
    plan = rng.choice(2, n, p=[0.7, 0.3])
    paid = base.born + 28.0 * np.minimum(periods, np.floor((end - base.born) / 28.0) + 1)
    return pd.DataFrame(
        {
            "customer_id": base.customer_id,
            "started_at": _timestamps(origin, base.born),
            "ended_at": pd.Series(_timestamps(origin, np.where(over, ended, 0))).where(over),
            "plan": _named(plan, ["basic", "plus"]),
            "fee": np.array([9.0, 19.0])[plan],
            "end_reason": _named(reason, reasons).where(over),
            "paid_until": _timestamps(origin, paid),
        }
    )


_EMPTY: dict[str, pd.DataFrame] = {
    "customers": pd.DataFrame(
        columns=[
            "customer_id",
            "industry",
            "acquired_at",
            "acquisition_channel",
            "acquisition_cost",
            "contactable",
        ]
    ),
    "interactions": pd.DataFrame(
        columns=[
            "customer_id",
            "timestamp",
            "kind",
            "channel",
            "score",
            "cost",
            "resolved",
            "led_to_change",
            "referred_customer_id",
        ]
    ),
    "treatments": pd.DataFrame(
        columns=["customer_id", "timestamp", "action", "channel", "cost", "propensity"]
    ),
    "subscriptions": pd.DataFrame(
        columns=[
            "customer_id",
            "started_at",
            "ended_at",
            "plan",
            "fee",
            "end_reason",
            "paid_until",
        ]
    ),
}
