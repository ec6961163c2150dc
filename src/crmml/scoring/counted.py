"""Logs without amounts: what is counted is no money, so money and actions are null."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from crmml.scoring.decisions import Actions
from crmml.scoring.manifest import Manifest
from crmml.scoring.predictors import Output, Predictor, as_declared

WHY = "the log has no amounts; value.per_purchase would give each purchase one"


def is_counted(manifest: Manifest) -> bool:
    """Say whether a bundle was trained on purchases without amounts and without a worth of each.

    Examples
    --------
    >>> is_counted(Manifest(cutoff="2024-01-01"))
    False
    """
    how = manifest.reading.get("transactions", {})
    return without_amounts(manifest) and not how.get("amount_per_purchase")


def without_amounts(manifest: Manifest) -> bool:
    """Say whether the log of the training had no amounts, so that none need be sent."""
    return bool(manifest.reading.get("transactions", {}).get("without_amounts"))


def money_outputs(predictors: Iterable[Predictor]) -> list[Output]:
    """List the columns that are money, or rest on it as the recommended actions do."""
    return [
        output
        for predictor in predictors
        for output in predictor.outputs
        if output.served and (output.unit == "currency" or isinstance(predictor, Actions))
    ]


def without_money(table: pd.DataFrame, outputs: Iterable[Output]) -> pd.DataFrame:
    """Return the scores with nulls in the columns given, in their declared types."""
    nulls = {o.name: as_declared(None, o.dtype, table.index) for o in outputs if o.name in table}
    return table.assign(**nulls)
