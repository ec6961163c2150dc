"""The best other action of one customer, and why it is not the recommended one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from crmml.actions.allocation import Prices
from crmml.actions.catalogue import NO_ACTION
from crmml.actions.economics import NetGains
from crmml.exceptions import UnlikeTrainingWarning
from crmml.scoring.decisions import Actions
from crmml.scoring.scorer import Origin, Scores, score


@dataclass(frozen=True)
class RunnerUp:
    """The best other action, and why it is not the recommended one.

    Attributes
    ----------
    action : str
        Or ``no_action``.
    net_gain, cost : float
        Expected.
    lost_by : {"gain", "budget", "capacity", "held_out", "consent", "contacts"}
        What decided against it.
    """

    action: str
    net_gain: float
    cost: float
    lost_by: str


def score_alone(origin: Origin, at: pd.Timestamp) -> Scores:
    """Score the one customer; at the prices of the policy, where it holds some."""
    priced = any(isinstance(p, Actions) and p.policy.prices is not None for p in origin.predictors)
    with warnings.catch_warnings():
        # one customer is never like a base
        warnings.simplefilter("ignore", UnlikeTrainingWarning)
        scores: Scores = score(
            origin,
            origin.tables,
            at,
            stored_prices=priced,
            plans=origin.plans,
            control=origin.control,
            lang=origin.lang,
        )
    return scores


def find_runner_up(
    row: pd.Series[Any], gains: NetGains, prices: Prices, origin: Origin, at: pd.Timestamp
) -> RunnerUp | None:
    """Name the next best action of a scored row; None if no other one is meant for the customer.

    Parameters
    ----------
    row : Series
        As served.
    gains : NetGains
        Of the one customer.
    prices : Prices
        At which budget and capacities were scarce, as far as that is known.
    origin : Origin
        Of the one customer, to ask what would be if contact were allowed.
    at : Timestamp
        The cutoff.
    """
    name = row["runner_up"]
    if pd.isna(name):
        return _barred(origin, at) if row["recommended_action"] == NO_ACTION else None
    net = float(row["runner_up_net_gain"])
    if name == NO_ACTION:
        return RunnerUp(NO_ACTION, 0.0, 0.0, "gain")
    options = [j for j, option in enumerate(gains.options) if option.action == name]
    charges = prices.charges(gains.options)
    # of the channels of the action, the one that was served
    j = min(options, key=lambda j: abs(gains.net[0, j] - net))
    cost = float(gains.cost[0, j])
    paid = float(row["expected_net_gain"]) if row["recommended_action"] != NO_ACTION else 0.0
    if row["held_out"] and net > 0:
        lost = "held_out"
    elif net <= paid:
        lost = "gain"
    else:
        of_capacity = charges[j] > prices.budget * cost
        lost = "capacity" if of_capacity else "budget"
    return RunnerUp(str(name), net, cost, lost)


def _barred(origin: Origin, at: pd.Timestamp) -> RunnerUp | None:
    """Ask what would be best if the customer might be contacted, and if nobody had done so yet."""
    for lost, freed in (("consent", _with_consent(origin)), ("contacts", _unseen(origin))):
        found = score_alone(freed, at)
        row = found.table.iloc[0]
        best = row["policy_action"] if found.found is not None else NO_ACTION
        if best != NO_ACTION and found.found is not None:
            gains = found.recommendation.gains
            j = int(np.argmax(np.where([o.action == best for o in gains.options], gains.net[0],
                                       -np.inf)))  # fmt: skip
            return RunnerUp(str(best), float(gains.net[0, j]), float(gains.cost[0, j]), lost)
    return None


def _with_consent(origin: Origin) -> Origin:
    predictors = tuple(
        replace(p, policy=replace(p.policy, consent="assumed")) if isinstance(p, Actions) else p
        for p in origin.predictors
    )
    tables = origin.tables
    people = tables.customers
    if people is not None:
        asked = [name for name in people.columns if name.startswith("contactable")]
        people = people.mutate(**dict.fromkeys(asked, True)) if asked else people
        tables = tables.with_table("customers", people)
    return replace(origin, predictors=predictors, tables=tables)


def _unseen(origin: Origin) -> Origin:
    tables = origin.tables
    given = tables.get("treatments")
    if given is not None:
        tables = tables.with_table("treatments", given.limit(0))
    return replace(origin, tables=tables, plans=None)
