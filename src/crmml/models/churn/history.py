"""The past that a churn model learns from: who is a candidate, and which windows may teach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crmml._typing import BoolArray, Duration
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.features.windows import Window, customer_folds
from crmml.stats.discounting import in_units


def find_candidates(snapshot: Snapshot, horizon: str | Duration, horizons: float) -> BoolArray:
    """Say who is an alive candidate: bought within the last so many horizons, shape (n,).

    Whoever has been silent for longer is lapsed, and a case for winning back, not for retention.
    """
    inactivity = (snapshot.frame["T"] - snapshot.frame["recency"]).to_numpy(dtype=np.float64)
    return np.asarray(inactivity <= horizons * in_units(horizon, snapshot.time_unit))


def in_sample(snapshot: Snapshot, one_in: int, seed: int) -> BoolArray:
    """Say who is in a sample of one customer in so many, by a hash of the id, shape (n,)."""
    if one_in <= 1:
        return np.ones(len(snapshot), dtype=bool)
    # Another seed than that of the folds, which cut the sample again.
    return np.asarray(customer_folds(snapshot.customer_id, one_in, seed=seed + 1) == 0)


def sort_history(history: Sequence[LabelledSnapshot]) -> list[LabelledSnapshot]:
    """Order labelled snapshots by cutoff, oldest first."""
    return sorted(history, key=lambda part: part.window.cutoff)


def split_history(
    history: Sequence[LabelledSnapshot],
) -> tuple[list[LabelledSnapshot], LabelledSnapshot, list[LabelledSnapshot]]:
    """Split into training slices, the calibration slice, and what the embargo leaves out.

    Raises
    ------
    TooLittleDataError
        If no window closed before the newest cutoff.
    """
    ordered = sort_history(history)
    train = [part for part in ordered[:-1] if part.window.closes <= ordered[-1].window.cutoff]
    if not train:
        raise TooLittleDataError(
            "a churn model needs a window to calibrate on and at least one that closed before its "
            f"cutoff; of {len(ordered)} labelled snapshot(s) {count_windows(ordered)} do not "
            "overlap"
        )
    return train, ordered[-1], ordered[len(train) : -1]


def count_windows(history: Sequence[LabelledSnapshot]) -> int:
    """Count the labelled snapshots that do not overlap, taken greedily from the newest back."""
    count, limit = 0, None
    for part in reversed(sort_history(history)):
        if limit is None or part.window.closes <= limit:
            count, limit = count + 1, part.window.cutoff
    return count


def check_window(
    part: LabelledSnapshot, horizon: str | Duration, gap: str | Duration | None
) -> None:
    """Refuse a labelled snapshot whose window has another length or gap than the model.

    Raises
    ------
    ParameterError
        If they differ.
    """
    window = part.window
    want = Window(window.cutoff, horizon, gap)
    if (window.opens, window.closes) != (want.opens, want.closes):
        raise ParameterError(
            "history",
            f"labelled over {horizon} after a gap of {gap or 'nothing'}",
            f"{window.opens.date()} to {window.closes.date()} for cutoff {window.cutoff.date()}",
        )


def whole_length(horizon: str | Duration, gap: str | Duration | None) -> Duration:
    """Return gap and outcome window together, from the cutoff on."""
    length = Duration.parse(horizon)
    if gap is None:
        return length
    return Duration(length.number + in_units(gap, length.unit), length.unit)
