"""Paired bootstrap intervals that depend neither on row order nor on the other candidates.

Every statistic of this floor takes ``weight``, an array of shape (..., n) of non-negative case
weights, and returns shape (...). A bootstrap replicate is then nothing but one row of weights,
and because all candidates see the same rows, differences between candidates have intervals too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError

Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Takes weights of shape (..., n) and returns one number for each row of weights, shape (...)."""

# Cumulative probabilities of Poisson(1); 1 - P(X <= 12) is below 1e-10.
_POISSON_CDF = np.cumsum(np.exp(-1.0) / np.cumprod(np.maximum(np.arange(13), 1.0)))
_CHUNK = 250_000  # weights at a time: small enough for the cache


def hash_keys(ids: Iterable[object]) -> npt.NDArray[np.uint64]:
    """Turn customer ids into 64-bit keys that are the same on every machine and in every order.

    Parameters
    ----------
    ids : iterable
        Integers or texts; an integer and the text of the same digits get the same key, so the
        type in which a store returns the ids does not matter.

    Returns
    -------
    ndarray of uint64, shape (n,)

    Examples
    --------
    >>> bool((hash_keys([7, 8]) == hash_keys(["7", "8"])).all())
    True
    """
    return np.fromiter(
        (
            int.from_bytes(hashlib.blake2b(str(i).encode(), digest_size=8).digest(), "little")
            for i in ids
        ),
        dtype=np.uint64,
    )


def keyed_uniforms(keys: npt.NDArray[np.uint64], seed: int, stream: int = 0) -> FloatArray:
    """Draw one uniform number in (0, 1) for each key, from the key alone.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        For example from :func:`hash_keys`.
    seed, stream : int
        Which run, and which of several numbers for the same key; both >= 0.

    Returns
    -------
    ndarray of float, shape (n,)

    Notes
    -----
    The finaliser of SplitMix64 (Steele, Lea, Flood 2014) applied to key and counter.
    """
    with np.errstate(over="ignore"):
        start = _mix(np.array([seed], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        start = _mix(start + np.uint64(stream))
        mixed = _mix(_mix(keys ^ start) + start)
    return (np.right_shift(mixed, np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def resampling_weights(
    keys: npt.NDArray[np.uint64], n_replicates: int, seed: int, first: int = 0
) -> FloatArray:
    """Weights of the Poisson bootstrap: each customer enters each replicate Poisson(1) times.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        Customers; a customer has the same weights whoever else is there.
    n_replicates : int
        Number of rows to draw.
    seed : int
        Which bootstrap.
    first : int
        Number of the first replicate, for drawing them in pieces.

    Returns
    -------
    ndarray, shape (n_replicates, n)
    """
    weights = np.empty((n_replicates, len(keys)))
    for b in range(n_replicates):
        u = keyed_uniforms(keys, seed, first + b)
        weights[b] = np.searchsorted(_POISSON_CDF, u, side="right")
    return weights


def compare(
    statistics: Mapping[str, Mapping[str, Statistic]],
    ids: Iterable[object],
    *,
    reference: str | None = None,
    n_replicates: int = 200,
    level: float = 0.9,
    seed: int = 0,
) -> pd.DataFrame:
    """Evaluate the statistics of several candidates with paired bootstrap intervals.

    Parameters
    ----------
    statistics : mapping of candidate to mapping of metric to Statistic
        For example ``counts.statistics(actual, predicted)`` of each candidate.
    ids : iterable of length n
        Customer ids, in the order of the arrays.
    reference : str, optional
        Candidate against which differences are taken.
    n_replicates : int
        Bootstrap replicates.
    level : float
        Probability of the intervals, in (0, 1); they are percentile intervals.
    seed : int
        Which bootstrap.

    Returns
    -------
    DataFrame
        Index ``candidate, metric``; columns ``value, lower, upper`` and, with a reference,
        ``difference, difference_lower, difference_upper`` (candidate less reference).

    Raises
    ------
    ParameterError
        If the reference is no candidate or the level is not in (0, 1).

    Examples
    --------
    >>> from crmml.metrics import counts
    >>> y = np.array([0.0, 1.0, 4.0])
    >>> table = compare({"zero": counts.statistics(y, 0 * y)}, ids=[1, 2, 3])
    >>> float(table.loc[("zero", "mae"), "value"].round(3))
    1.667
    """
    if not 0.0 < level < 1.0:
        raise ParameterError("level", "in (0, 1)", level)
    if reference is not None and reference not in statistics:
        raise ParameterError("reference", f"one of {sorted(statistics)}", reference)
    keys = hash_keys(ids)
    n = max(len(keys), 1)
    ones = np.ones((1, len(keys)))
    rows = [(c, m) for c, metrics in statistics.items() for m in metrics]
    values = np.array([statistics[c][m](ones)[0] for c, m in rows])
    replicates = np.empty((len(rows), n_replicates))
    step = max(1, _CHUNK // n)
    for start in range(0, n_replicates, step):
        size = min(step, n_replicates - start)
        weight = resampling_weights(keys, size, seed, start)
        for i, (c, m) in enumerate(rows):
            replicates[i, start : start + size] = statistics[c][m](weight)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    lower, upper = np.nanquantile(replicates, tails, axis=1)
    table = pd.DataFrame(
        {"value": values, "lower": lower, "upper": upper},
        index=pd.MultiIndex.from_tuples(rows, names=["candidate", "metric"]),
    )
    if reference is None:
        return table
    position = {row: i for i, row in enumerate(rows)}
    base = np.array([position.get((reference, m), -1) for _, m in rows])
    known = base >= 0
    difference = np.where(known, values - values[base], np.nan)
    gaps = np.where(known[:, None], replicates - replicates[base], np.nan)
    low, high = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    low[known], high[known] = np.nanquantile(gaps[known], tails, axis=1)
    return table.assign(difference=difference, difference_lower=low, difference_upper=high)
