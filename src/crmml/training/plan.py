"""The plan of a training: its data, cutoff, test windows and labelled histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from crmml.config import Config
from crmml.data.tables import Tables
from crmml.exceptions import TooLittleDataError
from crmml.features.batches import keep_customers
from crmml.features.horizons import refuse_short_horizon
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window, rolling_windows
from crmml.metrics.bootstrap import hash_keys
from crmml.models.fits import Fits
from crmml.training.opening import training_cutoff
from crmml.training.windows import LabelledCache, label_once


@dataclass(frozen=True)
class Plan:
    """What all steps of a training read.

    Attributes
    ----------
    config : Config
        Settings.
    tables : Tables
        The validated data.
    cutoff : Timestamp
        Nothing at or after it is used.
    newest : Snapshot
        At the cutoff, without outcomes.
    build : mapping
        Settings of every labelled snapshot. What is known at the cutoff decides the channel
        columns of all.
    labelled : dict
        Labelled snapshots built so far, each once.
    fits : Fits
        Purchase and spend models fitted so far, each once.
    """

    config: Config
    tables: Tables
    cutoff: pd.Timestamp
    newest: Snapshot
    build: Mapping[str, Any]
    labelled: LabelledCache = field(default_factory=dict)
    fits: Fits = field(default_factory=Fits)


MOST_JUDGES = 100_000
"""Customers on whom candidates are judged: more make no interval that decides narrower."""


def plan_judging(plan: Plan) -> Plan:
    """Return the plan of a sample of the customers, on whom candidates are compared.

    They are drawn by the hash of the id, whatever the order of the rows; of no more than
    :data:`MOST_JUDGES` customers all are taken, and the plan is the same.

    Parameters
    ----------
    plan : Plan
        Of all customers.
    """
    tables = keep_judges(plan.tables, plan.newest.customer_id)
    if tables is plan.tables:
        return plan
    margins = plan.newest.provenance["margins"]  # of all customers, as everybody is scored
    newest = build_snapshot(tables, plan.cutoff, margins=margins, **plan.build)
    return Plan(plan.config, tables, plan.cutoff, newest, plan.build)


def keep_judges(tables: Tables, customer_id: pd.Index[Any]) -> Tables:
    """Keep the customers who judge, drawn by the hashes of the ids known at the cutoff.

    Parameters
    ----------
    tables : Tables
    customer_id : Index
        All customers at the cutoff of the training.
    """
    if len(customer_id) <= MOST_JUDGES:
        return tables
    limit = np.uint64(MOST_JUDGES / len(customer_id) * (2**64 - 2**11))
    return keep_customers(tables, customer_id[hash_keys(customer_id) <= limit])


def make_plan(config: Config, tables: Tables) -> Plan:
    """Build the snapshot at the cutoff, and settle how all others are built.

    Parameters
    ----------
    config : Config
        Settings.
    tables : Tables
        The validated data.

    Raises
    ------
    ParameterError
        If the horizon is shorter than the median gap between two purchases.
    """
    cutoff = training_cutoff(config, tables)
    section = config.snapshot
    build: dict[str, Any] = {
        "grain": section.grain,
        "time_unit": section.time_unit,
        "own_seller": config.data.own_seller,
    }
    newest = build_snapshot(tables, cutoff, **build)
    refuse_short_horizon(
        tables,
        cutoff,
        config.outcome.horizon,
        grain=section.grain,
        own_seller=config.data.own_seller,
    )
    build["channels"] = newest.provenance["channels"]
    return Plan(config, tables, cutoff, newest, build)


def find_test_windows(config: Config, tables: Tables) -> list[Window]:
    """Return the test windows of a backtest, oldest first: they closed before the cutoff.

    Raises
    ------
    TooLittleDataError
        If the data hold none.
    """
    cutoff, section = training_cutoff(config, tables), config.backtest
    windows = _closed_windows(config, tables, cutoff, None, section.min_history)
    if not windows:
        raise TooLittleDataError(
            f"no outcome window of {config.outcome.horizon} after a history of "
            f"{section.min_history} fits before {cutoff.date()}: the data run from "
            f"{tables.first_timestamp.date()} to {tables.last_timestamp.date()}; shorten "
            "outcome.horizon or backtest.min_history"
        )
    return windows


def label_churn_history(plan: Plan, until: pd.Timestamp) -> list[LabelledSnapshot]:
    """Label the snapshots that churn is learned from: all whose windows closed by a moment.

    The history before the first is one horizon. Windows begin after the gap.
    """
    config, outcome = plan.config, plan.config.outcome
    try:
        windows = _closed_windows(config, plan.tables, until, outcome.gap, outcome.horizon)
    except TooLittleDataError:
        return []  # select_churn then says how many windows there are and are needed
    return [label_once(plan.tables, window, plan.labelled, **plan.build) for window in windows]


def specify_labels(config: Config, tables: Tables) -> dict[str, Any]:
    """Say what a training with this configuration and these tables would predict and judge."""
    return {
        "cutoffs": [str(window.cutoff) for window in find_test_windows(config, tables)],
        "horizon": config.outcome.horizon,
        "gap": config.outcome.gap,
        "grain": config.snapshot.grain,
        "time_unit": config.snapshot.time_unit,
        "churned": "no purchase in the outcome window",
        "policies": {
            **asdict(tables.policies),
            "test_customers": len(tables.policies.test_customers),
        },
    }


def _closed_windows(
    config: Config, tables: Tables, until: pd.Timestamp, gap: str | None, min_history: str
) -> list[Window]:
    windows = rolling_windows(
        tables.first_timestamp,
        min(until - pd.Timedelta(days=1), tables.last_timestamp),
        horizon=config.outcome.horizon,
        gap=gap,
        step=config.backtest.step,
        min_history=min_history,
        grain=config.snapshot.grain,
    )
    return [w for w in windows if w.closes <= until][-config.backtest.max_windows :]
