"""Contracts that end: the table of subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.data.schema import END_REASONS
from crmml.testing.drawing import named, timestamps
from crmml.testing.purchases import Base

PERIOD_DAYS = 28.0
REASON_SHARES = {"voluntary": 0.7, "involuntary": 0.2, "competitor": 0.1}


def draw_subscriptions(
    rng: np.random.Generator,
    base: Base,
    truth: pd.DataFrame,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Draw contracts renewed every four weeks; the chance to end is beta distributed (sBG).

    ``truth`` gains that chance, ``churn_probability``. Of the ends ``REASON_SHARES`` have each
    reason, whoever the customer is. An involuntary end is a payment that failed: the last period
    before it was not paid.
    """
    n = len(base.born)
    theta = np.clip(rng.beta(1.0, 6.0, n), 1e-6, 1 - 1e-12)
    truth["churn_probability"] = theta
    periods = rng.geometric(theta)
    ended = base.born + PERIOD_DAYS * periods
    over = ended < end
    reason = rng.choice(len(END_REASONS), n, p=[REASON_SHARES[name] for name in END_REASONS])
    plan = rng.choice(2, n, p=[0.7, 0.3])
    paid = base.born + PERIOD_DAYS * np.minimum(
        periods, np.floor((end - base.born) / PERIOD_DAYS) + 1
    )
    paid = paid - PERIOD_DAYS * (over & (np.array(END_REASONS)[reason] == "involuntary"))
    return pd.DataFrame(
        {
            "customer_id": base.customer_id,
            "started_at": timestamps(origin, base.born),
            "ended_at": pd.Series(timestamps(origin, np.where(over, ended, 0))).where(over),
            "plan": named(plan, ["basic", "plus"]),
            "fee": np.array([9.0, 19.0])[plan],
            "end_reason": named(reason, END_REASONS).where(over),
            "paid_until": timestamps(origin, paid),
        }
    )


CAUSE_EFFECTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "voluntary": {"base": -4.2, "young": 1.0, "complaint": 1.1, "fee": 0.3, "card": 0.0},
        "involuntary": {"base": -5.2, "young": 0.3, "complaint": 0.0, "fee": 0.0, "card": 1.2},
        "competitor": {"base": -5.6, "young": 0.0, "complaint": 0.3, "fee": 0.9, "card": 0.0},
    }
)
"""Log-odds of an end in a period against going on, by cause.

``base`` for everybody; ``young`` in the first three periods; ``complaint`` per complaint in the
90 days before; ``fee`` per standard step of the fee; ``card`` where the fee is paid by card.
"""


def simulate_contracts(
    n_customers: int = 2_000,
    *,
    seed: int,
    start: str | pd.Timestamp = "2022-01-01",
    periods: int = 30,
    older_share: float = 0.3,
) -> dict[str, pd.DataFrame]:
    """Draw a telecom: contracts of 30 days, complaints, ends by three causes with known effects.

    Parameters
    ----------
    n_customers : int
        Customers who ever had a contract.
    seed : int
        The only source of randomness.
    start : str or Timestamp
        From then on ends are recorded: who left before is not in the tables.
    periods : int
        Length of the records, in periods of 30 days.
    older_share : float
        Share of customers who began before ``start`` (up to two years).

    Returns
    -------
    dict of str to DataFrame
        ``subscriptions``, ``customers`` and ``interactions``, as crmml reads them. The effects are
        those of :data:`CAUSE_EFFECTS`.

    Examples
    --------
    >>> tables = simulate_contracts(200, seed=1)
    >>> sorted(tables)
    ['customers', 'interactions', 'subscriptions']
    """
    rng = np.random.default_rng(seed)
    origin, length = pd.Timestamp(start), 30.0
    older = rng.random(n_customers) < older_share
    began = np.where(
        older, -rng.uniform(0, 24, n_customers), rng.uniform(0, periods - 1, n_customers)
    )
    began = np.floor(began * length) / length
    step = rng.choice([-1.0, 0.0, 1.0], n_customers)
    card = rng.random(n_customers) < 0.4
    unhappy = rng.gamma(1.0, 0.08, n_customers)
    ended = np.full(n_customers, np.nan)
    cause = np.full(n_customers, "", dtype=object)
    complaints: list[tuple[IntArray, FloatArray]] = []
    recent = np.zeros((3, n_customers))
    names = list(CAUSE_EFFECTS)
    for age in range(periods + 24):
        alive = np.isnan(ended) & (began + age < periods)
        odds = np.stack(
            [
                effect["base"]
                + effect["young"] * (age < 3)
                + effect["complaint"] * recent.sum(axis=0)
                + effect["fee"] * step
                + effect["card"] * card
                for effect in CAUSE_EFFECTS.values()
            ]
        )
        chance = np.exp(odds) / (1.0 + np.exp(odds).sum(axis=0))
        edge = np.cumsum(chance, axis=0)
        draw = rng.random(n_customers)
        for k, name in enumerate(names):
            low = edge[k - 1] if k else np.zeros(n_customers)
            mine = alive & (draw >= low) & (draw < edge[k]) & (began + age + 1 <= periods)
            ended[mine], cause[mine] = age + 1.0, name
        # A complaint made in this period is felt in the next three.
        number = rng.poisson(np.where(alive, unhappy, 0.0))
        who = np.repeat(np.arange(n_customers), number)
        complaints.append((who, began[who] + age + rng.uniform(0, 1, len(who))))
        recent = np.vstack([number[None], recent[:2]])
    seen = np.isnan(ended) | (began + ended > 0)
    return _contract_tables(origin, length, seen, began, ended, cause, step, card, complaints)


def _contract_tables(
    origin: pd.Timestamp,
    length: float,
    seen: BoolArray,
    began: FloatArray,
    ended: FloatArray,
    cause: Any,
    step: FloatArray,
    card: BoolArray,
    complaints: list[tuple[IntArray, FloatArray]],
) -> dict[str, pd.DataFrame]:
    """Write what was drawn as tables, but for customers who had left before the records begin."""
    ids = np.arange(1, len(began) + 1)
    over = ~np.isnan(ended)
    subscriptions = pd.DataFrame(
        {
            "customer_id": ids,
            "started_at": timestamps(origin, np.round(began * length)),
            "ended_at": pd.Series(
                timestamps(
                    origin, np.where(over, np.round((began + np.nan_to_num(ended)) * length), 0.0)
                )
            ).where(over),
            "plan": named(step.astype(int) + 1, ["light", "standard", "large"]),
            "fee": 20.0 + 10.0 * step,
            "end_reason": pd.Series(cause, dtype="str").where(over),
        }
    )[seen]
    who = np.concatenate([one for one, _ in complaints])
    when = np.concatenate([at for _, at in complaints])
    told = seen[who] & (when >= 0) & (~over[who] | (when < began[who] + np.nan_to_num(ended[who])))
    interactions = pd.DataFrame(
        {
            "customer_id": ids[who[told]],
            "timestamp": timestamps(origin, when[told] * length),
            "kind": "complaint",
        }
    )
    customers = pd.DataFrame(
        {"customer_id": ids, "paid_by": named(card.astype(int), ["invoice", "card"])}
    )
    return {
        "subscriptions": subscriptions.reset_index(drop=True),
        "customers": customers[seen].reset_index(drop=True),
        "interactions": interactions,
    }
