"""Who the customers are, what they cost, and whether they pay: the table of customers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.testing.drawing import named, timestamps
from crmml.testing.purchases import Base

_FIRST = ["Ada", "Bela", "Carla", "Dario", "Emil", "Fatma", "Goran", "Hana", "Ines", "Jonas"]
_LAST = ["Abel", "Brandt", "Costa", "Demir", "Engel", "Fischer", "Grau", "Horn", "Ivanov", "Jung"]


def draw_customers(
    rng: np.random.Generator, more: np.random.Generator, base: Base, origin: pd.Timestamp
) -> pd.DataFrame:
    """Draw the table of customers but for ``service_cost``, see :func:`add_profit`."""
    n = len(base.born)
    sources = ["organic", "paid_search", "referral"]
    source = rng.choice(3, n, p=[0.5, 0.35, 0.15])
    table = pd.DataFrame(
        {
            "customer_id": base.customer_id,
            "industry": named(rng.integers(0, 3, n), ["retail", "services", "manufacturing"]),
            "acquired_at": timestamps(origin, base.born),
            "acquisition_channel": named(source, sources),
            "acquisition_cost": np.round(np.array([0.0, 9.0, 4.0])[source], 2),
            "contactable": rng.random(n) < 0.85,
        }
    )
    first, last = named(more.integers(0, 10, n), _FIRST), named(more.integers(0, 10, n), _LAST)
    table.insert(1, "name", first + " " + last)
    for channel, share in (("email", 0.9), ("phone", 0.6)):
        table[f"contactable_{channel}"] = table["contactable"] & (more.random(n) < share)
    return table


def add_profit(
    rng: np.random.Generator,
    tables: Mapping[str, pd.DataFrame],
    truth: pd.DataFrame,
    unprofitable: float,
) -> None:
    """Draw the cost to serve; ``truth`` gains what was left, over the whole span.

    That is ``profit``, ``profitable`` and ``unprofitable_by``: ``returns`` (no margin is left after
    them), ``thin_margin`` (it does not pay for winning and contacts), ``service``, or nothing.

    Profit is the margin of all lines, returns included, less the cost of acquisition, touch
    points, actions and service, as far as these tables are drawn. Some are unprofitable before any
    service. The others become so by chance until their share of all customers is ``unprofitable``:
    service costs them more than all that is left, and the rest between 5 and 50 % of it.
    """
    people = tables["customers"]
    left = _sum_by_customer(tables["transactions"], "margin", truth)
    reason = np.where(left <= 0, "returns", "thin_margin").astype(object)
    for name in ("interactions", "treatments"):
        left -= _sum_by_customer(tables[name], "cost", truth)
    if len(people):
        left -= people["acquisition_cost"].to_numpy()
        reason[left > 0] = "service"
        share = rng.uniform(0.05, 0.5, len(left))
        order = rng.permutation(np.flatnonzero(left > 0))
        wanted = round(unprofitable * len(left)) - int((left <= 0).sum())
        share[order[: max(wanted, 0)]] = 1.05 + rng.exponential(0.5, max(wanted, 0))
        service = np.round(np.where(left > 0, share * left + 0.01, 0.5), 2)
        place = list(people).index("acquisition_cost") + 1
        people.insert(place, "service_cost", service)
        left -= service
    truth["profit"] = np.round(left, 2)
    truth["profitable"] = truth["profit"] > 0
    truth["unprofitable_by"] = pd.Series(reason, truth.index, dtype="str").mask(truth["profitable"])


def _sum_by_customer(table: pd.DataFrame, column: str, truth: pd.DataFrame) -> FloatArray:
    if table.empty:
        return np.zeros(len(truth))
    total = table.groupby("customer_id")[column].sum().reindex(truth.index, fill_value=0.0)
    return np.array(total, dtype=np.float64)
