"""What frequency, silence and age add to the probability of no purchase, held to the own rhythm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import logit

from crmml._typing import BoolArray, FloatArray
from crmml.features.snapshot import Snapshot

PLAYERS: tuple[str, ...] = ("frequency", "silence", "age")
"""What is told of a customer: repeat purchases, time since the last and since the first one."""

_NEVER = 1e-12
_SOONEST = 0.01  # an age of 0 leaves no time for a rhythm


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


@dataclass(frozen=True)
class ProcessShares:
    """What is told of customers whom a process speaks of, in log-odds.

    Attributes
    ----------
    parts : ndarray, shape (n_customers, 4)
        What each of :data:`PLAYERS` adds, and last the typical customer's own log-odds.
    word : ndarray, shape (n_customers,)
        What the process says of the customer, which the parts of a row add up to.
    """

    parts: FloatArray
    word: FloatArray


def process_shares(
    predict: Callable[[Snapshot], FloatArray],
    snapshot: Snapshot,
    reference: Sequence[float],
    *,
    predicted: FloatArray,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> ProcessShares:
    """Tell what frequency, silence and age add to the log-odds of no purchase.

    Parameters
    ----------
    predict : callable
        Gives P(no purchase) of a snapshot, in the order of its rows.
    snapshot : Snapshot
        Whom to explain.
    reference : sequence of 3 floats
        The typical customer, see :func:`reference_customer`; its silence is not read.
    predicted : ndarray, shape (n_customers,)
        What ``predict`` gives of the snapshot itself.
    bounds : tuple of 2 floats
        Nothing is predicted that lies beyond: the least and largest probability that is served.

    Returns
    -------
    ProcessShares

    Notes
    -----
    A customer who bought ``x`` times again within an age of ``T`` and waits as usual has equal
    gaps, the last of them the silence: ``T / (x + 1)``. So there is a path in two steps, from the
    typical customer to this one, both waiting as usual, and from there to today's silence:

    * **silence** is the second step. It speaks for leaving where the customer has been silent for
      longer than the mean of their own gaps, and against it where the last purchase is newer.
    * **frequency** and **age** share the first one: the mean over both orders in which they become
      known (Shapley).

    Who bought once has no gaps, and the age is the silence: they are first taken to have waited
    like the typical customer (frequency), and then to wait as they do (silence); age adds nothing.
    """
    low, high = log_odds(np.array(bounds))

    def ask(given: Snapshot) -> FloatArray:
        return np.asarray(np.clip(log_odds(predict(given)), low, high))

    typical, _, typical_age = reference
    frame = snapshot.frame
    x, T = (frame[name].to_numpy(dtype=np.float64) for name in ("frequency", "T"))
    once, usual = x == 0, typical_age / (typical + 1.0)
    nobody = np.zeros(len(x), dtype=bool)
    base = ask(_waiting(snapshot, np.full(len(x), typical), np.full(len(x), typical_age), nobody))
    often = ask(_waiting(snapshot, x, np.where(once, usual, typical_age), ~once))
    old = ask(_waiting(snapshot, np.full(len(x), typical), T, nobody))
    both = np.where(once, often, ask(_waiting(snapshot, x, T, ~once)))
    word = np.asarray(np.clip(log_odds(predicted), low, high))
    frequency = np.where(once, often - base, (often - base + both - old) / 2.0)
    age = np.where(once, 0.0, (old - base + both - often) / 2.0)
    return ProcessShares(np.column_stack([frequency, word - both, age, base]), word)


def _waiting(
    snapshot: Snapshot, frequency: FloatArray, age: FloatArray, own_frequency: BoolArray
) -> Snapshot:
    """Return customers of such a frequency and age who have waited for as long as they usually do.

    How regular the gaps are goes with the frequency.
    """
    age = np.maximum(age, _SOONEST)
    if snapshot.time_unit == "period":  # one purchase at each opportunity, at most
        age = np.maximum(np.round(age), 1.0)
        frequency = np.minimum(np.round(frequency), age)
    last = age * frequency / (frequency + 1.0)
    if snapshot.time_unit == "period":
        last = np.where(frequency > 0, np.clip(np.round(last), frequency, age), 0.0)
    columns = {"frequency": frequency, "recency": last, "T": age}
    if "sum_log_gaps" in snapshot.frame:
        columns["sum_log_gaps"] = _sum_log_gaps(snapshot.frame, frequency, last, own_frequency)
    return replace(snapshot, frame=snapshot.frame.assign(**columns))


def _sum_log_gaps(
    frame: pd.DataFrame, x: FloatArray, last: FloatArray, own_frequency: BoolArray
) -> FloatArray:
    """Return the sum of the logarithms of the gaps of a history stretched to another length.

    Gaps of one length have the largest sum; how far a customer's own is below it stays.
    """
    repeated = x > 0
    number = np.where(repeated, x, 1.0)
    even = np.where(repeated, number * np.log(np.where(repeated, last, 1.0) / number), 0.0)
    own = own_frequency & repeated
    its = np.where(own, frame["recency"].to_numpy(dtype=np.float64), 1.0)
    gaps = np.where(own, frame["sum_log_gaps"].to_numpy(dtype=np.float64), 0.0)
    return np.asarray(np.where(own, even + gaps - number * np.log(its / number), even))
