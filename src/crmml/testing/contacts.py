"""Touch points and actions: the tables of interactions and treatments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import FloatArray, IntArray
from crmml.data.schema import INTERACTION_KINDS
from crmml.exceptions import ParameterError
from crmml.testing.drawing import DAYS_PER_WEEK, named, timestamps
from crmml.testing.purchases import Base, Latent

EFFECT_WEEKS = 8.0
SETTLED = 0.7
SETTLING_DAYS = 5.0
TAKEN_UP = 0.2
HONEST = 0.9
DIMENSIONS = ("product", "price", "service", "delivery")


def draw_interactions(
    rng: np.random.Generator,
    more: np.random.Generator,
    base: Base,
    latent: Latent,
    truth: pd.DataFrame,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Draw touch points; ``truth`` gains ``<kind>_rate``, the expected number per year.

    Complaints, referrals and surveys speak of the latent satisfaction; the other kinds are noise.
    Of the complaints ``SETTLED`` are settled, after ``SETTLING_DAYS`` in the mean; of the
    suggestions ``TAKEN_UP`` led to a change.
    """
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
    for kind in INTERACTION_KINDS:
        truth[f"{kind}_rate"] = rates[kind]
        who = np.repeat(np.arange(n), rng.poisson(rates[kind] * years))
        day = rng.uniform(base.born[who], end)
        part = pd.DataFrame(
            {
                "customer_id": base.customer_id[who],
                "timestamp": timestamps(origin, day),
                "kind": kind,
                "channel": np.where(rng.random(who.size) < 0.6, "phone", "email"),
                "dimension": named(more.integers(0, len(DIMENSIONS), who.size), DIMENSIONS),
                "score": np.nan,
                "resolved_at": pd.Series(pd.NaT, range(who.size), dtype="datetime64[us]"),
                "cost": 0.0,
                "staff_id": more.integers(1, 9, who.size),
                "led_to_change": pd.array([None] * who.size, dtype="boolean"),
                "referred_customer_id": pd.array([None] * who.size, dtype="Int64"),
            }
        )
        if kind == "survey":
            noise = 1.5 * rng.standard_normal(who.size)
            score = np.clip(np.round(7 + 2 * latent.satisfaction[who] + noise), 0, 10)
            part["score"] = score
        elif kind in ("complaint", "contact"):
            part["cost"] = np.round(rng.gamma(4, 1.5, who.size), 2)
        if kind == "complaint":
            settled_at = day + more.exponential(SETTLING_DAYS, who.size)
            settled = (rng.random(who.size) < SETTLED) & (settled_at < end)
            part["resolved_at"] = pd.Series(timestamps(origin, settled_at)).where(settled)
        elif kind == "suggestion":
            part["led_to_change"] = pd.array(rng.random(who.size) < TAKEN_UP, dtype="boolean")
        elif kind == "referral":
            later = _later_customer(rng, base, who, day)
            part["referred_customer_id"] = later
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    return table.sort_values(["timestamp", "customer_id", "kind"], ignore_index=True)


def state_competitors(
    rng: np.random.Generator, touches: pd.DataFrame, house_share: pd.Series[float]
) -> pd.DataFrame:
    """Let surveys of a panel say who buys mostly from a competitor: true in ``HONEST`` of them.

    The statement is whether the customer's true share of the house is below 1/3.
    """
    elsewhere = (house_share < 1 / 3).reindex(touches["customer_id"]).to_numpy()
    true = rng.random(len(touches)) < HONEST
    said = pd.Series(np.where(true, elsewhere, ~elsewhere), touches.index, dtype="boolean")
    return touches.assign(with_competitor=said.where(touches["kind"] == "survey"))


def _later_customer(
    rng: np.random.Generator, base: Base, who: IntArray, day: FloatArray
) -> pd.Series[Any]:
    """Name one customer born after the referral; missing where nobody was."""
    by_birth = np.argsort(base.born, kind="stable")
    n = len(by_birth)
    first = np.searchsorted(base.born[by_birth], day, side="right")
    pick = first + np.floor(rng.random(who.size) * (n - first)).astype(np.int64)
    found = base.customer_id[by_birth[np.minimum(pick, n - 1)]]
    return pd.Series(found, dtype="Int64").where(first < n)


def draw_treatments(
    rng: np.random.Generator,
    base: Base,
    latent: Latent,
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
            "timestamp": timestamps(origin, np.full(present.size, when)),
            "action": named(arm, arms),
            "channel": pd.Series(["email"] * present.size, dtype="str").mask(arm == 0),
            "cost": np.where(arm == 0, 0.0, 0.5),
            "propensity": shares[arm],
            "experiment": "actions",
            "policy_version": "at_random",
        }
    )
    return table, extra, day
