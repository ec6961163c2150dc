"""Compare the largest forecasts with what was ever seen, before anything is served."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.features.behaviour import WINDOWS
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.stats.discounting import UNIT_DAYS, in_units

_LARGEST = 100
_OWN = 2.0
"""A forecast may exceed the customer's own best period by this factor."""
_MEAN = 2.0
"""Mean spend of a forecast purchase may exceed that of all purchases so far by this factor."""


def find_implausible(
    forecast: pd.DataFrame,
    snapshot: Snapshot,
    windows: Sequence[LabelledSnapshot],
    horizon: str | Duration,
) -> tuple[str, ...]:
    """Say what of the hundred largest forecasts no history bears out; empty if all is plausible.

    A forecast is an expectation, so the largest should lie below the largest that ever happened. A
    forecast of purchases or of spend is refused where it exceeds both what any customer ever had in
    a period of that length, and twice the best period of the customer (trailing windows of at most
    the horizon, and the time since the first purchase; shorter ones are scaled up); and so is a
    mean spend per forecast purchase above twice that of all purchases so far.

    Parameters
    ----------
    forecast : DataFrame
        Keyed by customer: ``purchases`` and ``spend`` in the horizon.
    snapshot : Snapshot
        Of the same customers.
    windows : sequence of LabelledSnapshot
        Earlier windows, whose outcomes are history, too.
    horizon : str or Duration
        Of the forecast.

    Returns
    -------
    tuple of str
        One sentence with the figures for each thing that is implausible.
    """
    length = in_units(horizon, snapshot.time_unit)
    implausible = []
    for column, noun in (("purchases", "purchases"), ("spend", "spend")):
        own = _best_periods(snapshot, column, length)
        if own is None:
            continue
        most = max([float(own.max(initial=0.0)), *_outcomes(windows, column, length)])
        values = forecast[column].to_numpy(dtype=np.float64)
        largest = np.argsort(-values, kind="stable")[:_LARGEST]
        beyond = largest[(values[largest] > most) & (values[largest] > _OWN * own[largest])]
        if len(beyond):
            first = beyond[0]
            implausible.append(
                f"{len(beyond)} of the {len(largest)} largest forecasts exceed the {noun} that any "
                f"customer ever had in a period of {horizon} ({most:,.1f}): the largest is "
                f"{values[first]:,.1f}, for a customer whose own best period had {own[first]:,.1f}"
            )
    implausible += _mean_spend(forecast, snapshot)
    return tuple(implausible)


def _best_periods(snapshot: Snapshot, column: str, length: float) -> FloatArray | None:
    """Return the most of each customer in a period of that length, or None if it is unknown."""
    frame = snapshot.frame
    kind, sums = {"purchases": ("purchases", None), "spend": ("net_spend", "net_spend")}[column]
    if sums is not None and sums not in frame.columns:
        return None
    bought = frame["frequency"] + 1.0 if sums is None else frame[sums]
    T = frame["T"].to_numpy(dtype=np.float64)
    # A history shorter than the horizon is no rate yet: it counts as it is, then as a window.
    best = bought.to_numpy(dtype=np.float64) * np.minimum(length / np.maximum(T, 1e-12), 1.0)
    unit = UNIT_DAYS.get(snapshot.time_unit)
    for weeks in WINDOWS:
        name = f"{kind}_{weeks}w"
        if unit is None or name not in frame.columns:
            continue
        scale = length / (weeks * 7.0 / unit)
        if scale >= 1.0:
            best = np.maximum(best, frame[name].to_numpy(dtype=np.float64) * scale)
    return np.asarray(best)


def _outcomes(windows: Sequence[LabelledSnapshot], column: str, length: float) -> list[float]:
    """Return the most that anybody had in each outcome window, scaled to that length."""
    found = []
    for part in windows:
        its = in_units(part.window.horizon, part.snapshot.time_unit)
        if column in part.outcomes:
            found.append(float(part.outcomes[column].max()) * max(length / its, 1.0))
    return found


def _mean_spend(forecast: pd.DataFrame, snapshot: Snapshot) -> list[str]:
    frame = snapshot.frame
    if "net_spend" not in frame.columns:
        return []
    seen = float(frame["net_spend"].sum() / (frame["frequency"] + 1.0).sum())
    expected = float(forecast["spend"].sum() / max(float(forecast["purchases"].sum()), 1e-12))
    if not (seen > 0 and expected > _MEAN * seen):
        return []
    return [
        f"a forecast purchase is worth {expected:,.2f} in the mean, all purchases so far "
        f"{seen:,.2f}"
    ]
