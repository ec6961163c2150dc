"""Gather what became of the purchase process's word in closed windows, and calibrate it by that."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from crmml.exceptions import CrmmlWarning
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.features.windows import Window
from crmml.models.churn.history import in_sample
from crmml.models.churn.outside import Cases, OutsideCalibration
from crmml.scoring.served_distribution import (
    CountDistribution,
    distribution_of_forecast,
    serves_own_distribution,
)
from crmml.stats.discounting import in_units
from crmml.training.backtest import Backtest
from crmml.training.plan import Plan
from crmml.training.windows import label_once

CANDIDATE_HORIZONS = 4.0
"""Who bought within so many horizons is a candidate of the churn model."""

_MOST_CASES = 200_000


def calibrate_outside(
    plan: Plan, snapshot: Snapshot, backtest: Backtest, fit_process: Callable[[Snapshot], Any]
) -> OutsideCalibration:
    """Calibrate the probability of no purchase outside the candidates on closed windows.

    Parameters
    ----------
    plan : Plan
        Of the training.
    snapshot : Snapshot
        What the bundle is fitted on; windows that closed by its cutoff are used.
    backtest : Backtest
        Its windows, with the chosen candidate as it was fitted at each.
    fit_process : callable
        Fits the purchase process that lifetime value rests on to a snapshot.
    """
    parts = [
        (one.labelled.snapshot, labels, one.fitted[backtest.chosen])
        for one in backtest.windows
        if backtest.chosen in one.fitted
        and (labels := _closed(plan, one.labelled, snapshot)) is not None
    ]
    horizon = plan.config.outcome.horizon
    one_in = -(-sum(len(known) for known, _, _ in parts) // _MOST_CASES)
    cases = []
    for known, labels, forecast in parts:
        keep = in_sample(known, one_in, plan.config.seed)
        some = known.subset(keep)
        distribution: CountDistribution | None = None
        if serves_own_distribution(forecast, some):
            distribution = distribution_of_forecast(forecast, some)
        if distribution is None:
            with warnings.catch_warnings():
                # The backtest has told what the fits of its windows warned of.
                warnings.simplefilter("ignore", CrmmlWarning)
                distribution = fit_process(known).predictive(some, horizon)
        cases.append(_cases(distribution, some, labels, horizon))
    return OutsideCalibration.fit(cases, candidate_horizons=CANDIDATE_HORIZONS)


def _closed(plan: Plan, labelled: LabelledSnapshot, snapshot: Snapshot) -> LabelledSnapshot | None:
    """Return the labels after the gap, if they were known at the cutoff of the bundle."""
    outcome = plan.config.outcome
    window = Window(labelled.window.cutoff, outcome.horizon, outcome.gap)
    if window.closes > snapshot.cutoff:
        return None
    if outcome.gap is None:
        return labelled
    return label_once(plan.tables, window, plan.labelled, **plan.build)


def _cases(
    distribution: CountDistribution, snapshot: Snapshot, labelled: LabelledSnapshot, horizon: str
) -> Cases:
    ids, frame = snapshot.customer_id, snapshot.frame
    length = in_units(horizon, snapshot.time_unit)
    return Cases(
        no_purchase=np.asarray(distribution.probability_no_purchase().loc[ids], dtype=np.float64),
        frequency=frame["frequency"].to_numpy(dtype=np.float64),
        inactivity=(frame["T"] - frame["recency"]).to_numpy(dtype=np.float64) / length,
        churned=labelled.outcomes["churned"].loc[ids].to_numpy(dtype=np.float64),
    )
