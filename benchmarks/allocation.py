"""Allocate ten actions to a million customers: time, gap, and what simpler rules lose.

``--customers`` makes it smaller.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np
import pandas as pd

from crmml.actions import (
    Action,
    ActionCatalogue,
    SaveRate,
    Stakes,
    allocate,
    compute_net_gains,
    recommend,
)

ACTIONS = [
    # name, channel, contact cost, incentive, save rate
    ("newsletter", "email", 0.05, 0.0, 0.010),
    ("reminder", "app", 0.10, 0.0, 0.020),
    ("small_voucher", "email", 0.05, 2.0, 0.050),
    ("voucher", "email", 0.05, 5.0, 0.090),
    ("big_voucher", "letter", 1.20, 10.0, 0.150),
    ("letter", "letter", 1.20, 0.0, 0.040),
    ("gift", "letter", 4.00, 0.0, 0.090),
    ("call", "phone", 6.00, 0.0, 0.120),
    ("call_with_voucher", "phone", 6.00, 5.0, 0.180),
    ("visit", "person", 25.00, 0.0, 0.350),
]


def base(n: int, seed: int = 0) -> tuple[pd.DataFrame, Stakes]:
    """Simulate customers and what actions on them would act on."""
    rng = np.random.default_rng(seed)
    churn = rng.beta(1.5, 1.5, n)
    table = pd.DataFrame(
        {"churn_probability": churn},
        index=pd.RangeIndex(n, name="customer_id"),
    )
    # of those who buy nothing in the outcome window about half are still there
    kept, alive = rng.lognormal(4.0, 1.2, n), 1.0 - 0.5 * churn
    buys = {"13W": 1 - table["churn_probability"], "52W": alive}
    stakes = Stakes(
        probability_alive=alive,
        margin_if_active={"52W": kept},
        margin_if_staying={"52W": kept / alive},
        buys=buys,
        buys_if_active=buys,
        buys_if_staying=buys,
        outcome_horizon="13W",
    )
    return table, stakes


def catalogue() -> ActionCatalogue:
    return ActionCatalogue(
        actions=tuple(
            Action(
                name=name,
                purpose="retain",
                channels=(channel,),
                contact_cost=contact,
                incentive_cost=incentive,
                save_rate=SaveRate(mean=rate, sample_size=50),
                horizon="52W",
            )
            for name, channel, contact, incentive, rate in ACTIONS
        )
    )


def bought(gain: np.ndarray[Any, Any], cost: np.ndarray[Any, Any], budget: float) -> float:
    """Net value of customers served in the given order until the money ends."""
    return float(gain[np.cumsum(cost) <= budget].sum())


def main(n: int) -> None:
    table, stakes = base(n)
    actions = catalogue()
    started = time.perf_counter()
    gains = compute_net_gains(table, actions, stakes)
    print(f"net gains of {n:,} customers x {len(ACTIONS)} actions: {_since(started)}")

    budget = 0.8 * n
    phone, person = 0.02 * n, 0.002 * n
    for name, capacities in (
        ("budget", {}),
        ("budget, 2 channels", {"phone": phone, "person": person}),
        ("budget, 5 channels", {"email": 0.2 * n, "app": 0.1 * n, "letter": 0.05 * n,
                                "phone": phone, "person": person}),
    ):  # fmt: skip
        started = time.perf_counter()
        answer = allocate(gains, budget=budget, capacities=capacities)
        print(
            f"allocation ({name}): {_since(started)}, value {answer.value:,.0f}, gap "
            f"{answer.gap:.1e}, spend {answer.spend:,.2f} of {budget:,.0f}, price of the budget "
            f"{answer.prices.budget:.3f}"
        )

    best = allocate(gains, budget=budget)
    pick = gains.net.argmax(axis=1)
    rows = np.flatnonzero(gains.net.max(axis=1) > 0)
    net, cost = gains.net[rows, pick[rows]], gains.cost[rows, pick[rows]]
    risk = gains.churn_probability[rows]
    ratio = gains.net[rows] / gains.cost[rows]
    steepest = ratio.argmax(axis=1)
    rules = {
        "risk": bought(*_by(-risk, net, cost), budget),
        "risk x value": bought(
            *_by(-risk * np.asarray(stakes.margin_if_active["52W"])[rows], net, cost), budget
        ),
        "ratio of gain to cost": bought(
            *_by(-ratio.max(axis=1), gains.net[rows, steepest], gains.cost[rows, steepest]), budget
        ),
    }
    for rule, value in rules.items():
        print(
            f"ranking by {rule}: {value:,.0f}; the allocation brings {best.value / value:.2f} times"
        )

    started = time.perf_counter()
    recommend(
        table,
        actions,
        cutoff="2026-01-01",
        stakes=stakes,
        budget=budget,
        capacities={"phone": phone},
        holdout_share=0.1,
    )
    print(f"the whole recommendation table: {_since(started)}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def _by(order: Any, *columns: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    rank = np.argsort(order, kind="stable")
    return [column[rank] for column in columns]


def _since(started: float) -> str:
    return f"{time.perf_counter() - started:.2f} s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    main(parser.parse_args().customers)
