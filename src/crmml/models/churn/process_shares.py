"""What frequency, silence and age add to the probability of no purchase: exact Shapley values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
from scipy.special import logit

from crmml._typing import FloatArray
from crmml.features.snapshot import Snapshot

PLAYERS: tuple[str, ...] = ("frequency", "silence", "age")
"""What is told of a customer: repeat purchases, time since the last and since the first one."""

_NEVER = 1e-12
_SOONEST = 0.01  # share of the age at which a last purchase may lie at the earliest


def log_odds(probability: FloatArray) -> FloatArray:
    """Return log-odds; what is almost 0 or 1 is taken for 1e-12 from it."""
    return np.asarray(logit(np.clip(probability, _NEVER, 1.0 - _NEVER)))


def reference_customer(snapshot: Snapshot) -> tuple[float, float, float]:
    """Return the medians of frequency, silence and age of who bought more than once.

    Without anybody who did they are those of all.
    """
    frame = snapshot.frame
    repeated = frame["frequency"] > 0
    known = frame[repeated] if repeated.any() else frame
    silence = known["T"] - known["recency"]
    found = (known["frequency"].median(), silence.median(), known["T"].median())
    x, s, age = (float(value) for value in found)
    return x, s, max(age, s)


def process_shares(
    say: Callable[[Snapshot], FloatArray],
    snapshot: Snapshot,
    reference: Sequence[float],
) -> FloatArray:
    """Return what each of :data:`PLAYERS` adds to the log-odds, and last those of the reference.

    Parameters
    ----------
    say : callable
        Gives P(no purchase) of a snapshot, in the order of its rows.
    snapshot : Snapshot
        Whom to explain.
    reference : sequence of 3 floats
        Frequency, silence and age of the customer to compare with; see
        :func:`reference_customer`.

    Returns
    -------
    ndarray, shape (n_customers, 4)
        A row adds up to the log-odds of what ``say`` gives.

    Notes
    -----
    The Shapley value of a player is the mean, over the orders in which the three become known, of
    the change that it brings: there are eight subsets, and each is asked once for all customers.
    Who has no repeat purchase has no silence apart from the age; how regular the gaps are goes
    with the frequency.
    """
    predictions = {}
    for known in product((False, True), repeat=3):
        given = snapshot if all(known) else _mixed(snapshot, reference, known)
        predictions[known] = log_odds(say(given))
    found = np.empty((len(snapshot), 4))
    for place in range(3):
        found[:, place] = 0.0
        for others in product((False, True), repeat=2):
            without = (*others[:place], False, *others[place:])
            added = (*others[:place], True, *others[place:])
            weight = (1 / 3, 1 / 6, 1 / 3)[sum(others)]
            found[:, place] += weight * (predictions[added] - predictions[without])
    found[:, 3] = predictions[False, False, False]
    return found


def _mixed(snapshot: Snapshot, reference: Sequence[float], known: Sequence[bool]) -> Snapshot:
    """Return customers of whom some players are their own, the others those of the reference."""
    frame = snapshot.frame
    own = (frame["frequency"], frame["T"] - frame["recency"], frame["T"])
    x, silence, age = (
        mine.to_numpy(dtype=np.float64) if is_own else np.full(len(frame), value)
        for mine, value, is_own in zip(own, reference, known, strict=True)
    )
    age = np.maximum(age, _SOONEST)
    last = np.where(x > 0, np.clip(age - silence, _SOONEST * age, age), 0.0)
    columns = {"frequency": x, "recency": last, "T": age}
    if "sum_log_gaps" in frame:
        columns["sum_log_gaps"] = _sum_log_gaps(frame, x, last, own_frequency=known[0])
    return replace(snapshot, frame=frame.assign(**columns))


def _sum_log_gaps(
    frame: pd.DataFrame, x: FloatArray, last: FloatArray, *, own_frequency: bool
) -> FloatArray:
    """Return the sum of the logarithms of the gaps of a history stretched to another length.

    Gaps of one length have the largest sum; how far a customer's own is below it stays.
    """
    repeated = x > 0
    number = np.where(repeated, x, 1.0)
    even = np.where(repeated, number * np.log(np.where(repeated, last, 1.0) / number), 0.0)
    if not own_frequency:
        return np.asarray(even)
    its = frame["recency"].to_numpy(dtype=np.float64)
    at_most = number * np.log(np.where(repeated, its, 1.0) / number)
    below = frame["sum_log_gaps"].to_numpy(dtype=np.float64) - at_most
    return np.asarray(np.where(repeated, even + below, 0.0))
