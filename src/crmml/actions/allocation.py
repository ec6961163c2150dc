"""Who gets what under a budget and capacities, and what one more unit of either would bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.actions.catalogue import NO_ACTION, ActionCatalogue, Option
from crmml.actions.economics import NetGains
from crmml.actions.holdout import KeyArray, customer_keys
from crmml.exceptions import CrmmlError, ParameterError, few
from crmml.stats.knapsack import best_at_prices, frontier, solve_knapsack


@dataclass(frozen=True)
class Prices:
    """Shadow prices: what one more unit of each scarce thing is worth.

    With prices a customer can be served alone: take the option with the best net gain less
    price. That is the allocation itself, but for the last few customers where money or
    capacity ends.

    Attributes
    ----------
    budget : float
        Net gain per further unit of currency; 0 when money is not scarce.
    channels, actions : dict of str to float
        Net gain per further contact by the channel or of the action.
    """

    budget: float = 0.0
    channels: dict[str, float] = field(default_factory=dict)
    actions: dict[str, float] = field(default_factory=dict)

    def charges(self, options: Sequence[Option]) -> FloatArray:
        """Return the sum of the capacity prices that each option pays."""
        return np.array(
            [self.channels.get(o.channel, 0.0) + self.actions.get(o.action, 0.0) for o in options]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"budget": self.budget, "channels": self.channels, "actions": self.actions}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(stored["budget"], dict(stored["channels"]), dict(stored["actions"]))


@dataclass(frozen=True)
class Allocation:
    """An assignment of options to customers, with its prices and its certificate.

    Attributes
    ----------
    customer_id : Index, length n
    choice : ndarray of int, shape (n,)
        Position in ``options``, -1 for no action.
    options : tuple of Option
    value : float
        Total expected net gain.
    spend : float
        Total expected cost, at most ``budget``.
    budget : float or None
        As given; None is unlimited.
    prices : Prices
        Shadow prices.
    bound : float
        No allocation under the same limits is worth more.
    optimal : bool
        Whether the allocation is proven optimal.
    usage : dict of str to int
        Contacts per channel and action that has a capacity.
    """

    customer_id: pd.Index[Any]
    choice: IntArray
    options: tuple[Option, ...]
    value: float
    spend: float
    budget: float | None
    prices: Prices
    bound: float
    optimal: bool
    usage: dict[str, int]

    @property
    def gap(self) -> float:
        """Distance to the bound as a share of the bound."""
        return 0.0 if self.bound <= 0 else (self.bound - self.value) / self.bound

    @property
    def assignment(self) -> pd.DataFrame:
        """Action and channel per customer; the channel is null for no action."""
        actions = np.array([o.action for o in self.options] + [NO_ACTION], dtype=object)
        channels = np.array([o.channel for o in self.options] + [None], dtype=object)
        return pd.DataFrame(
            {"action": actions[self.choice], "channel": channels[self.choice]},
            index=self.customer_id,
        )


def allocate(
    gains: NetGains,
    *,
    budget: float | None = None,
    capacities: Mapping[str, float] | None = None,
    available: BoolArray | None = None,
    keys: KeyArray | None = None,
) -> Allocation:
    """Give each customer at most one action so that the total net gain is largest.

    Parameters
    ----------
    gains : NetGains
        From :func:`crmml.actions.economics.compute_net_gains`.
    budget : float, optional
        Largest total expected cost; unlimited by default.
    capacities : mapping of channel to number, optional
        Most contacts by each channel. Capacities of actions stand in the catalogue.
    available : ndarray of bool, shape (n,), optional
        Customers who may get an action at all (the others are held out).
    keys : ndarray, shape (n,), optional
        :func:`~crmml.actions.holdout.customer_keys` of the customers, if they are at hand.

    Raises
    ------
    ParameterError, CrmmlError
        If the budget or a capacity is negative or a channel is unknown.
    """
    if budget is not None and not 0 <= budget < np.inf:
        raise ParameterError("budget", "a number >= 0, or None for unlimited", budget)
    names, groups, limits = _capacities(gains.catalogue, capacities or {})
    keys = customer_keys(gains.customer_id) if keys is None else keys
    rows = np.arange(len(gains)) if available is None else np.flatnonzero(available)
    some = slice(None) if available is None else rows
    solution = solve_knapsack(
        gains.net[some],
        gains.cost[some],
        budget=np.inf if budget is None else budget,
        groups=groups,
        limits=limits,
        keys=keys[some],
    )
    choice = np.full(len(gains), -1, dtype=np.int64)
    choice[rows] = solution.choice
    priced = dict(zip(names, solution.capacity_prices.tolist(), strict=True))
    prices = Prices(
        solution.budget_price,
        {name: price for (kind, name), price in priced.items() if kind == "channel"},
        {name: price for (kind, name), price in priced.items() if kind == "action"},
    )
    usage = {
        f"{kind}:{name}": int(n) for (kind, name), n in zip(names, solution.usage, strict=True)
    }
    return Allocation(
        gains.customer_id,
        choice,
        gains.options,
        solution.value,
        solution.spend,
        budget,
        prices,
        solution.bound,
        solution.optimal,
        usage,
    )


def apply_prices(gains: NetGains, prices: Prices) -> IntArray:
    """Return what each customer takes alone at stored prices, -1 for no action.

    No customer's answer depends on another customer, so the total may miss the budget slightly.
    """
    return best_at_prices(gains.net, gains.cost, prices.budget, prices.charges(gains.options))


def budget_curve(
    gains: NetGains,
    budgets: Sequence[float],
    *,
    capacities: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Tabulate what each budget would bring.

    Without capacities all budgets are read off one frontier (the relaxation's value, which an
    assignment misses by less than one customer's gain); with capacities, of channels or in the
    catalogue, each budget is allocated.

    Returns
    -------
    DataFrame
        ``budget``, ``spend``, ``value`` (expected net gain) and ``price`` (net gain of one more
        unit of budget), one row per budget.
    """
    grid = np.asarray(budgets, dtype=float)
    if not (np.isfinite(grid) & (grid >= 0)).all():
        raise ParameterError("budgets", "finite numbers >= 0", grid.tolist())
    keys = customer_keys(gains.customer_id)
    if _capacities(gains.catalogue, capacities or {})[0]:
        found = [allocate(gains, budget=b, capacities=capacities, keys=keys) for b in grid.tolist()]
        spend = np.array([a.spend for a in found])
        value = np.array([a.value for a in found])
        price = np.array([a.prices.budget for a in found])
    else:
        front = frontier(gains.net, gains.cost, keys=keys)
        spend = np.minimum(grid, front.spend[-1])
        value, price = front.value_at(grid), front.price_at(grid)
    return pd.DataFrame({"budget": grid, "spend": spend, "value": value, "price": price})


def _capacities(
    catalogue: ActionCatalogue, channels: Mapping[str, float]
) -> tuple[list[tuple[str, str]], BoolArray, FloatArray]:
    """Write the capacities as (kind, name), the options that use each, and the limit."""
    options = catalogue.options
    known = sorted({o.channel for o in options})
    unknown = sorted(set(channels) - set(known))
    if unknown:
        raise CrmmlError(f"unknown channel(s) {few(unknown)}; the catalogue has {few(known, 30)}")
    names = [("channel", c) for c in channels]
    limits = [float(limit) for limit in channels.values()]
    for action in catalogue.actions:
        if action.capacity is not None:
            names.append(("action", action.name))
            limits.append(float(action.capacity))
    groups = np.array(
        [
            [name == (o.channel if kind == "channel" else o.action) for o in options]
            for kind, name in names
        ],
        dtype=bool,
    ).reshape(len(names), len(options))
    return names, groups, np.array(limits, dtype=float)
