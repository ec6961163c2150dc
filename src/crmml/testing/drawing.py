"""Draws that several tables of a simulated world share, and their way into columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray, IntArray

DAYS_PER_WEEK = 7.0


def beta_with_mean(rng: np.random.Generator, mean: float, n: int) -> FloatArray:
    """Draw shares with a mean; all 0 where the mean is 0."""
    return rng.beta(4 * mean, 4 * (1 - mean), n) if mean > 0 else np.zeros(n)


def choose(rng: np.random.Generator, shares: FloatArray, who: IntArray) -> IntArray:
    """Draw one column per row of ``who`` with the probabilities of that customer."""
    u = rng.random(who.size)
    chosen = np.zeros(who.size, dtype=np.int64)
    for bound in np.cumsum(shares, axis=1)[:, :-1].T:
        chosen += u > bound[who]
    return chosen


def named(codes: Any, names: Sequence[str]) -> pd.Series[str]:
    """Write codes 0, 1, ... as text."""
    labels: Any = pd.Categorical(list(names), categories=list(names)).take(codes)
    return pd.Series(labels).astype("str")


def timestamps(origin: pd.Timestamp, days: FloatArray) -> npt.NDArray[np.datetime64]:
    """Turn days since the start into times, in whole seconds."""
    seconds = np.floor(days * 86_400).astype("timedelta64[s]")
    stamped: npt.NDArray[np.datetime64] = (origin.to_datetime64() + seconds).astype(
        "datetime64[us]"
    )
    return stamped
