"""Who gets what under a budget and capacities, and what one more unit of either would bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.actions.catalogue import NO_ACTION, ActionCatalogue, Option
from crmml.card import Card, Result, listed
from crmml.exceptions import CrmmlError, ParameterError, first_few
from crmml.metrics.bootstrap import hash_keys, keyed_uniforms
from crmml.stats.knapsack import best_at_prices, frontier, solve_knapsack, ties_at_prices

_ALIKE = 1e-9  # share of their gain that customers may lose by changing places

Choice: TypeAlias = tuple[str, str | None]
"""An action and its channel; the channel of no action is None."""


class Gains(Protocol):
    """What an allocation asks of :class:`~crmml.actions.economics.NetGains`."""

    @property
    def customer_id(self) -> pd.Index[Any]: ...  # noqa: D102
    @property
    def options(self) -> tuple[Option, ...]: ...  # noqa: D102
    @property
    def catalogue(self) -> ActionCatalogue: ...  # noqa: D102
    @property
    def net(self) -> FloatArray: ...  # noqa: D102
    @property
    def cost(self) -> FloatArray: ...  # noqa: D102
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Tie:
    """How customers are served to whom several choices are worth the same at the prices.

    Attributes
    ----------
    choices : tuple of Choice
        The equal choices, the one with the most gain first.
    shares : tuple of float
        Share of such customers that got each choice in the allocation; they sum to 1.
    cuts : tuple of float
        A customer whose number drawn in (0, 1) lies below ``cuts[0]`` gets the first choice, else
        below ``cuts[1]`` the second, and so on; one less than the choices.
    """

    choices: tuple[Choice, ...]
    shares: tuple[float, ...]
    cuts: tuple[float, ...]


@dataclass(frozen=True)
class Prices:
    """Shadow prices: what one more unit of each scarce thing is worth.

    With prices a customer can be served alone: take the option with the best net gain less
    price. Where several are equally good, as for many identical customers of whom the budget
    serves some, a number drawn from the customer's key decides in the shares of the allocation.
    That is the allocation itself, but for the few customers where money or capacity ends and
    that no tie joins: what is left there is spent on whatever still fits.

    Attributes
    ----------
    budget : float
        Net gain per further unit of currency; 0 when money is not scarce.
    channels, actions : dict of str to float
        Net gain per further contact by the channel or of the action.
    ties : tuple of Tie
        What is done where the prices leave it open.
    """

    budget: float = 0.0
    channels: dict[str, float] = field(default_factory=dict)
    actions: dict[str, float] = field(default_factory=dict)
    ties: tuple[Tie, ...] = ()

    def charges(self, options: Sequence[Option]) -> FloatArray:
        """Return the sum of the capacity prices that each option pays."""
        return np.array(
            [self.channels.get(o.channel, 0.0) + self.actions.get(o.action, 0.0) for o in options]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "budget": self.budget,
            "channels": self.channels,
            "actions": self.actions,
            "ties": [
                {
                    "choices": [list(choice) for choice in tie.choices],
                    "shares": list(tie.shares),
                    "cuts": list(tie.cuts),
                }
                for tie in self.ties
            ],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; prices stored without ties have none."""
        ties = tuple(
            Tie(
                tuple((action, channel) for action, channel in tie["choices"]),
                tuple(tie["shares"]),
                tuple(tie["cuts"]),
            )
            for tie in stored.get("ties", ())
        )
        return cls(stored["budget"], dict(stored["channels"]), dict(stored["actions"]), ties)


@dataclass(frozen=True, repr=False)
class Allocation(Result):
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

    def to_pandas(self) -> pd.DataFrame:
        """Return action and channel per customer, see :attr:`assignment`."""
        return self.assignment

    def by_action(self) -> pd.DataFrame:
        """Return the number of customers per action."""
        counts = self.assignment["action"].value_counts(sort=False).sort_index()
        return counts.rename_axis("action").rename("customers").to_frame()

    def _card(self) -> Card:
        limit = "unlimited" if self.budget is None else f"{self.budget:,.2f}"
        rows = (
            ("budget", f"{limit}: {self.spend:,.2f} spent"),
            ("expected net gain", f"{self.value:,.2f}, at most {self.bound:,.2f} is possible"),
            ("optimal", "proven" if self.optimal else "not proven, see the bound"),
            ("usage", listed(f"{name} {n:,}" for name, n in self.usage.items())),
        )
        return Card(
            f"Allocation of {len(self.options)} options to {len(self.customer_id):,} customers",
            rows,
        )

    @property
    def gap(self) -> float:
        """Distance to the bound as a share of the bound."""
        return 0.0 if self.bound <= 0 else (self.bound - self.value) / self.bound

    def part(self, rows: slice) -> Allocation:
        """Cut to some of the customers; prices, totals and certificate stay those of all."""
        return replace(self, customer_id=self.customer_id[rows], choice=self.choice[rows])

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
    gains: Gains,
    *,
    budget: float | None = None,
    capacities: Mapping[str, float] | None = None,
    available: BoolArray | None = None,
    draws: FloatArray | None = None,
) -> Allocation:
    """Give each customer at most one action so that the total net gain is largest.

    Parameters
    ----------
    gains : NetGains
        From :func:`crmml.actions.economics.compute_net_gains`; net gain and cost are enough.
    budget : float, optional
        Largest total expected cost; unlimited by default.
    capacities : mapping of channel to number, optional
        Most contacts by each channel. Capacities of actions stand in the catalogue.
    available : ndarray of bool, shape (n,), optional
        Customers who may get an action at all (the others are held out).
    draws : ndarray, shape (n,), optional
        A number in (0, 1) for each customer, drawn from the customer's key: it decides ties, the
        smallest first. Default: :func:`tie_draws`.

    Raises
    ------
    ParameterError, CrmmlError
        If the budget or a capacity is negative or a channel is unknown.
    """
    if budget is not None and not 0 <= budget < np.inf:
        raise ParameterError("budget", "a number >= 0, or None for unlimited", budget)
    names, groups, limits = _capacities(gains.catalogue, capacities or {})
    draws = tie_draws(gains) if draws is None else draws
    solution = solve_knapsack(
        gains.net,
        gains.cost,
        budget=np.inf if budget is None else budget,
        groups=groups,
        limits=limits,
        keys=draws,
        available=available,
    )
    choice = solution.choice.copy()
    served = np.ones(len(gains), dtype=bool) if available is None else available
    priced = dict(zip(names, solution.capacity_prices.tolist(), strict=True))
    prices = Prices(
        solution.budget_price,
        {name: price for (kind, name), price in priced.items() if kind == "channel"},
        {name: price for (kind, name), price in priced.items() if kind == "action"},
    )
    # Who is alike may change places, so that stored prices and draws give the same answer later.
    before = choice.copy()
    slack = np.inf if budget is None else budget - solution.spend
    prices = replace(prices, ties=_settle_ties(gains, prices, choice, served, draws, slack))
    moved = np.flatnonzero(choice != before)
    # Summed in the order of the draws: sums must not hang on the order of the rows.
    moved = moved[np.argsort(draws[moved], kind="stable")]
    won, paid = _change(gains, moved, before[moved], choice[moved])
    usage = {
        f"{kind}:{name}": int(n) for (kind, name), n in zip(names, solution.usage, strict=True)
    }
    return Allocation(
        gains.customer_id,
        choice,
        gains.options,
        solution.value + won,
        solution.spend + paid,
        budget,
        prices,
        max(solution.bound, solution.value + won),
        solution.optimal,
        usage,
    )


def apply_prices(gains: Gains, prices: Prices, *, draws: FloatArray | None = None) -> IntArray:
    """Return what each customer takes alone at stored prices, -1 for no action.

    No customer's answer depends on another customer, so the total may miss the budget slightly.

    Parameters
    ----------
    gains : NetGains
    prices : Prices
        Of an allocation.
    draws : ndarray, shape (n,), optional
        As in :func:`allocate`; with the same draws, ties fall as they did there.
    """
    draws = tie_draws(gains) if draws is None else draws
    choice = best_at_prices(gains.net, gains.cost, prices.budget, prices.charges(gains.options))
    for tie, rows, positions in _open(gains, prices):
        choice[rows] = positions[np.searchsorted(tie.cuts, draws[rows], side="right")]
    return choice


def tie_chances(gains: Gains, prices: Prices, choice: IntArray, chance: FloatArray) -> FloatArray:
    """Return the probability of each customer's choice before the hold-out.

    Parameters
    ----------
    gains : NetGains
    prices : Prices
    choice : ndarray of int, shape (n,)
        Position of an option, -1 for no action.
    chance : ndarray, shape (n,)
        The probability where the prices leave nothing open.

    Returns
    -------
    ndarray, shape (n,)
        ``chance``, but the share of the choice for those whose choices tie.
    """
    chance = chance.copy()
    for tie, rows, positions in _open(gains, prices):
        mine = choice[rows, None] == positions
        chance[rows] = np.where(mine.any(axis=1), mine @ np.asarray(tie.shares), chance[rows])
    return chance


def tie_draws(gains: Gains) -> FloatArray:
    """Draw a number in (0, 1) for each customer from the id alone."""
    return keyed_uniforms(hash_keys(gains.customer_id), 0)


def _open(gains: Gains, prices: Prices) -> Iterator[tuple[Tie, IntArray, IntArray]]:
    """Yield each tie with the customers whose best choices are those of it, and their positions."""
    if not prices.ties:
        return
    number = {choice: j for j, choice in enumerate(_choices(gains))}
    charges = prices.charges(gains.options)
    rows, tied = ties_at_prices(gains.net, gains.cost, prices.budget, charges)
    none = len(gains.options)
    for tie in prices.ties:
        if all(choice in number for choice in tie.choices):
            positions = np.array([number[choice] for choice in tie.choices])
            # A tie holds for exactly these choices. Who has one more has another tie.
            pattern = np.zeros(none + 1, dtype=bool)
            pattern[positions] = True
            mine = rows[(tied == pattern).all(axis=1)]
            yield tie, mine, np.where(positions == none, -1, positions)


def _settle_ties(
    gains: Gains,
    prices: Prices,
    choice: IntArray,
    served: BoolArray,
    draws: FloatArray,
    slack: float,
) -> tuple[Tie, ...]:
    """Describe how the allocation served ties, and serve them in the order of their draws.

    Who is alike changes places in ``choice`` (in place), if no more than ``slack`` is spent.
    """
    charges = prices.charges(gains.options)
    rows, tied = ties_at_prices(gains.net, gains.cost, prices.budget, charges)
    rows, tied = rows[served[rows]], tied[served[rows]]
    alone = best_at_prices(gains.net[rows], gains.cost[rows], prices.budget, charges)
    # Customers who tie between the same choices share one rule.
    patterns, of_row = np.unique(tied, axis=0, return_inverse=True)
    names = _choices(gains)
    ties = []
    for k, pattern in enumerate(patterns):
        mine = np.flatnonzero(of_row == k)
        who = rows[mine]
        if (choice[who] == alone[mine]).all():
            continue  # the prices say it all
        who = who[np.argsort(draws[who], kind="stable")]
        options = np.flatnonzero(pattern[:-1])
        net = gains.net[np.ix_(who, options)]
        # The better choice first, so that the lowest draws get it.
        options = options[np.argsort(-net.mean(axis=0), kind="stable")]
        positions = [*options.tolist(), *([-1] if pattern[-1] else [])]
        # the last money may have bought somebody what is no best choice
        who = who[np.isin(choice[who], positions)]
        net = gains.net[np.ix_(who, options)]
        counts = np.array([(choice[who] == j).sum() for j in positions])
        if not len(who):
            continue
        # As many get each choice as the allocation gave; only who they are changes.
        ordered = np.repeat(positions, counts)
        won, paid = _change(gains, who, choice[who], ordered)
        if paid <= max(slack, 0.0) and won >= -_ALIKE * np.abs(net).sum():
            choice[who] = ordered
            slack -= paid
        ends = np.cumsum(counts)[:-1]
        # The cut lies midway between two draws: a draw that rounding moved stays on its side.
        numbers = np.concatenate([[0.0], draws[who], [1.0]])
        ties.append(
            Tie(
                tuple(names[j] for j in positions),
                tuple((counts / len(who)).tolist()),
                tuple(((numbers[ends] + numbers[ends + 1]) / 2).tolist()),
            )
        )
    return tuple(ties)


def _change(gains: Gains, rows: IntArray, before: IntArray, after: IntArray) -> tuple[float, float]:
    """Return by how much net gain and cost rise from one choice of some customers to another."""

    def total(table: FloatArray) -> float:
        return float(
            (np.where(after >= 0, table[rows, after], 0.0)).sum()
            - (np.where(before >= 0, table[rows, before], 0.0)).sum()
        )

    return total(gains.net), total(gains.cost)


def _choices(gains: Gains) -> list[Choice]:
    """Return the options and, last, no action, by name."""
    return [*((o.action, o.channel) for o in gains.options), (NO_ACTION, None)]


def budget_curve(
    gains: Gains,
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
    draws = tie_draws(gains)
    if _capacities(gains.catalogue, capacities or {})[0]:
        found = [
            allocate(gains, budget=b, capacities=capacities, draws=draws) for b in grid.tolist()
        ]
        spend = np.array([a.spend for a in found])
        value = np.array([a.value for a in found])
        price = np.array([a.prices.budget for a in found])
    else:
        front = frontier(gains.net, gains.cost, keys=draws)
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
        raise CrmmlError(
            f"unknown channel(s) {first_few(unknown)}; the catalogue has {first_few(known, 30)}"
        )
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
