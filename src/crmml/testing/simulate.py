"""Worlds with known truth: whole customer bases drawn from the processes that crmml estimates.

Everything is drawn from one seed and with arrays only. Times inside this room are days since
``start``; the tables that come out follow the contract in :mod:`crmml.data.schema`, with
timezone-naive timestamps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmml.data.schema import TABLES, table_named
from crmml.exceptions import ParameterError
from crmml.testing.contacts import draw_interactions, draw_treatments, state_competitors
from crmml.testing.contracts import draw_subscriptions
from crmml.testing.customers import add_profit, draw_customers
from crmml.testing.drawing import DAYS_PER_WEEK
from crmml.testing.labelled import draw_labelled
from crmml.testing.purchases import (
    add_panel,
    draw_base,
    draw_latent,
    draw_lines,
    draw_purchase_times,
    write_truth,
)
from crmml.testing.schedules import draw_schedules
from crmml.testing.truth import Purchases, Spend

__all__ = ["Purchases", "Spend", "World", "simulate_world"]

OPTIONAL_TABLES = tuple(schema.name for schema in TABLES if schema.name != "transactions")

# Each purpose that came after the first version has a stream of its own, a child of the seed's, so
# that no earlier draw moves. New purposes are added at the end.
_LATER_PURPOSES = (
    "customers",
    "interactions",
    "schedules",
    "labelled",
    "profit",
    "panel",
    "statements",
)


@dataclass(frozen=True)
class World:
    """Tables of one simulated business, and the truth behind them.

    Attributes
    ----------
    transactions, customers, interactions, treatments, subscriptions, schedules, labelled
        Data frames, one for each table of :data:`crmml.data.schema.TABLES`, with its columns.
    truth : DataFrame
        Indexed by ``customer_id``: ``rate`` (per week), ``dropout_probability`` or
        ``dropout_rate`` (per week), ``first_purchase``, ``lost_at`` (missing while active at the
        end), ``mean_spend``, ``margin_rate``, ``return_rate``, ``satisfaction``, ``profit`` (over
        the whole span), ``profitable`` and ``unprofitable_by`` (``returns``, ``thin_margin`` or
        ``service``; missing where there is a profit). With the table in question also
        ``<kind>_rate`` of the touch points (per year), ``churn_probability`` of the subscription
        per period, ``outcome_log_odds`` of the labelled table, ``house_share`` of a panel, and for
        each action ``effect_<action>`` (extra purchases that the action brings, in expectation)
        and ``gain_<action>`` (the same in margin).
    start, end : Timestamp
        The span of the world; ``end`` is exclusive.
    """

    transactions: pd.DataFrame
    customers: pd.DataFrame
    interactions: pd.DataFrame
    treatments: pd.DataFrame
    subscriptions: pd.DataFrame
    schedules: pd.DataFrame
    labelled: pd.DataFrame
    truth: pd.DataFrame
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All input tables that were drawn, by name, in the order of the contract."""
        found = {schema.name: getattr(self, schema.name) for schema in TABLES}
        return {name: frame for name, frame in found.items() if len(frame)}


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
    tables: Sequence[str] = OPTIONAL_TABLES,
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
        Optional tables to draw, default all; the others come out empty. Without ``treatments`` no
        action changes any purchase, and without ``schedules`` no promotion, price or holiday does.

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
    >>> int((~world.truth["profitable"]).sum())
    25
    """
    if n_customers < 1:
        raise ParameterError("n_customers", "at least 1", n_customers)
    if not weeks > 0:
        raise ParameterError("weeks", "positive", weeks)
    acquisition = weeks / 2 if acquisition_weeks is None else acquisition_weeks
    if not 0 < acquisition <= weeks:
        raise ParameterError("acquisition_weeks", "between 0 and weeks", acquisition)
    for name in tables:
        if name not in OPTIONAL_TABLES:
            raise ParameterError("tables", f"among {OPTIONAL_TABLES}", name)
    effects = {"email": 0.05, "voucher": 0.20} if actions is None else dict(actions)
    rng = np.random.default_rng(seed)
    return _draw_world(
        rng,
        dict(zip(_LATER_PURPOSES, rng.spawn(len(_LATER_PURPOSES)), strict=True)),
        n_customers,
        pd.Timestamp(start),
        weeks * DAYS_PER_WEEK,
        acquisition * DAYS_PER_WEEK,
        purchases or Purchases(),
        spend or Spend(),
        effects,
        (treated_at_week or 0.75 * weeks) * DAYS_PER_WEEK,
        tables,
    )


def _draw_world(
    rng: np.random.Generator,
    later: Mapping[str, np.random.Generator],
    n_customers: int,
    origin: pd.Timestamp,
    end: float,
    acquisition_days: float,
    buying: Purchases,
    money: Spend,
    effects: Mapping[str, float],
    treated_at: float,
    wanted: Sequence[str],
) -> World:
    """Draw table after table; the order of the draws from ``rng`` stays as it is for good."""
    found = {name: pd.DataFrame(columns=list(table_named(name).names)) for name in OPTIONAL_TABLES}
    if "schedules" in wanted:
        found["schedules"] = draw_schedules(later["schedules"], origin, end)
    base = draw_base(rng, n_customers, acquisition_days, buying)
    owner, day, lost_at = draw_purchase_times(rng, base, buying, found["schedules"], origin, end)
    latent = draw_latent(rng, base, money)
    truth = write_truth(base, latent, buying, money, origin, lost_at)
    if "treatments" in wanted:
        found["treatments"], extra_owner, extra_day = draw_treatments(
            rng, base, latent, truth, effects, treated_at, end, origin
        )
        owner, day = np.concatenate([owner, extra_owner]), np.concatenate([day, extra_day])
    lines = draw_lines(rng, owner, day, latent, money, origin, end)
    if money.house_share is not None:
        lines = add_panel(
            later["panel"], lines, base, latent, truth, money.house_share, origin, end
        )
    if "customers" in wanted:
        found["customers"] = draw_customers(rng, later["customers"], base, origin)
    if "interactions" in wanted:
        found["interactions"] = draw_interactions(
            rng, later["interactions"], base, latent, truth, origin, end
        )
    if "subscriptions" in wanted:
        found["subscriptions"] = draw_subscriptions(rng, base, truth, origin, end)
    if "labelled" in wanted:
        found["labelled"] = draw_labelled(later["labelled"], base.customer_id, truth, origin, end)
    if "interactions" in wanted and money.house_share is not None:
        found["interactions"] = state_competitors(
            later["statements"], found["interactions"], truth["house_share"]
        )
    found["transactions"] = lines
    add_profit(later["profit"], found, truth, money.unprofitable)
    return World(**found, truth=truth, start=origin, end=origin + pd.Timedelta(days=end))
