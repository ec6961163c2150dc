"""Labelled snapshots of a training: each built once for its cutoff and window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from crmml._typing import MONTHS, Duration, Grain, TimeUnit
from crmml.data.tables import Tables
from crmml.features.labels import LabelledSnapshot, build_labelled
from crmml.features.windows import Window, shifted, start_of_calendar, units_between
from crmml.stats.discounting import in_units

LabelledCache = dict[tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp], LabelledSnapshot]
"""Labelled snapshots by cutoff, beginning and end of the window, of one log and equal settings."""


def label_once(
    tables: Tables, window: Window, cache: LabelledCache | None, **build: Any
) -> LabelledSnapshot:
    """Build a labelled snapshot, unless the cache holds it.

    Parameters
    ----------
    tables : Tables
        The validated log.
    window : Window
        Cutoff, gap and horizon.
    cache : dict or None
        Kept between calls with the same tables and settings.
    **build
        Settings of :func:`crmml.features.labels.build_labelled`.
    """
    kept = {} if cache is None else cache
    key = (window.cutoff, window.opens, window.closes)
    if key not in kept:
        kept[key] = build_labelled(tables, window, **build)
    return kept[key]


def build_training_windows(
    tables: Tables,
    cutoff: pd.Timestamp,
    horizon: str | Duration,
    *,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    own_seller: str | None = None,
    channels: Mapping[str, str] | None = None,
    most: int = 3,
    cache: LabelledCache | None = None,
) -> list[LabelledSnapshot]:
    """Label the training windows of learned candidates: they closed at or before a cutoff.

    Windows have the horizon of the forecast if the data hold at least one with two thirds as much
    history before it. Where the history is shorter, they are a third of it long, which is enough
    for candidates that learn a factor (hybrid, blend) and is refused by those that need the
    horizon.

    Parameters
    ----------
    tables : Tables
        The validated log.
    cutoff : Timestamp
        Nothing at or after it is used.
    horizon : str or Duration
        Of the forecast.
    grain, time_unit, own_seller, channels
        See :func:`crmml.features.snapshot.build_snapshot`.
    most : int
        At most this many windows; they step by half their length.
    cache : dict, optional
        Kept between calls, so that no snapshot is built twice.

    Returns
    -------
    list of LabelledSnapshot
        Oldest first; empty where the history is shorter than three weeks.
    """
    # counted in days, or in months where the grain is one or more
    unit: TimeUnit = grain if grain in MONTHS else "day"
    start = start_of_calendar(tables.first_timestamp, grain)
    length = int(in_units(horizon, unit))
    history = int(units_between(start, cutoff, unit))
    if history < 5 / 3 * length:
        length = history // 3
    if length < (1 if grain in MONTHS else 7):
        return []
    found = []
    for step in range(most):
        ahead = length + step * max(length // 2, 1)
        if history - ahead < 2 / 3 * length:
            break
        window = Window(
            shifted(cutoff, Duration(float(ahead), unit), -1),
            Duration(float(length), unit),
        )
        found.append(
            label_once(
                tables,
                window,
                cache,
                grain=grain,
                time_unit=time_unit,
                own_seller=own_seller,
                channels=channels,
            )
        )
    return found[::-1]
