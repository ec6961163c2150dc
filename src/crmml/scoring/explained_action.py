"""The recommended action of one customer, its reasons, and what came second; or why none is."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crmml.actions.allocation import Prices
from crmml.scoring.decisions import Actions
from crmml.scoring.runner_up import RunnerUp, find_runner_up
from crmml.scoring.scorer import Bundle, Origin, Scores
from crmml.scoring.wording import Reason, reasons_of


def has_actions(bundle: Bundle) -> bool:
    """Say whether a bundle recommends actions."""
    return any(isinstance(predictor, Actions) for predictor in bundle.predictors)


def explain_action(
    origin: Origin,
    row: pd.Series[Any],
    alone: Scores,
    purchases: pd.DataFrame | None,
    prices: Prices | None,
    at: pd.Timestamp,
) -> tuple[RunnerUp | None, tuple[Reason, ...], dict[str, str]]:
    """Return the runner-up, the reasons of what is recommended, and what is missing and why.

    Parameters
    ----------
    origin : Origin
        Of the one customer.
    row : Series
        As served.
    alone : Scores
        Of the customer alone.
    purchases : DataFrame or None
        See :func:`crmml.scoring.wording.reasons_of`.
    prices : Prices or None
        At which budget and capacities were scarce, as far as that is known.
    at : Timestamp
        The cutoff.
    """
    why = None
    if not has_actions(origin):
        why = "the bundle recommends no actions: it has no predictor of them"
    elif pd.isna(row.get("recommended_action")) or alone.found is None:
        why = alone.absent.get("recommended_action", "the scores hold no recommendation")
    if why is not None:
        return None, (), {"recommendation": why, "runner_up": why}
    found = alone.recommendation
    runner_up = find_runner_up(row, found.gains, prices or found.prices, origin, at)
    reasons = reasons_of(row, purchases, runner_up, origin.manifest.horizon)
    missing = {}
    if runner_up is None:
        missing["runner_up"] = "no other action of the catalogue is meant for this customer"
    return runner_up, reasons, missing
