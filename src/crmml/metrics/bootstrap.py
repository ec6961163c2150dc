"""Paired bootstrap intervals that depend neither on row order nor on the other candidates.

A statistic that has an interval takes ``weight``, an array of shape (..., n) of non-negative case
weights, and returns shape (...). A bootstrap replicate is then nothing but one row of weights,
and because all candidates see the same rows, differences between candidates have intervals too.
A statistic that only describes is a number, and its intervals are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError

Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""Takes weights of shape (..., n) and returns one number for each row of weights, shape (...)."""

# Cumulative probabilities of Poisson(1); 1 - P(X <= 12) is below 1e-10.
_POISSON_CDF = np.cumsum(np.exp(-1.0) / np.cumprod(np.maximum(np.arange(13), 1.0)))
# Poisson(1) by the first 16 bits of a uniform number: probabilities to 1e-5, at one look-up each.
_POISSON_OF_BITS = np.searchsorted(
    _POISSON_CDF, (np.arange(2**16) + 0.5) / 2**16, side="right"
).astype(np.float64)


class Stream(IntEnum):
    """Where the random numbers of each purpose begin, so that no two purposes share any."""

    RESAMPLING = 0
    """Weights of the bootstrap; one stream for four replicates."""
    PIT = 2**48
    """What randomises the PIT of counts."""


_PIECES = 4  # of 16 bits in each key
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
        SipHash of the text (:func:`pandas.util.hash_array`).

    Examples
    --------
    >>> bool((hash_keys([7, 8]) == hash_keys(["7", "8"])).all())
    True
    """
    if isinstance(ids, pd.Index) and ids.dtype.kind in "iu":
        texts = pa.array(ids.to_numpy()).cast(pa.string()).to_numpy(zero_copy_only=False)
    else:
        plain = ids.tolist() if isinstance(ids, pd.Index) else ids
        texts = np.array([str(i) for i in plain], dtype=object)
    return np.asarray(pd.util.hash_array(texts, categorize=False))


def keyed_uniforms(keys: npt.NDArray[np.uint64], seed: int, stream: int = 0) -> FloatArray:
    """Draw one uniform number in (0, 1) for each key, from the key alone.

    Parameters
    ----------
    keys : ndarray of uint64, shape (n,)
        For example from :func:`hash_keys`.
    seed, stream : int
        Which run, and which of several numbers for the same key; both >= 0. A purpose takes
        its stream from :class:`Stream`: numbers of two purposes must not be the same.

    Returns
    -------
    ndarray of float, shape (n,)

    Notes
    -----
    The finaliser of SplitMix64 (Steele, Lea, Flood 2014) applied to key and counter.
    """
    mixed = _keyed_bits(keys, seed, stream)
    return (np.right_shift(mixed, np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _keyed_bits(keys: npt.NDArray[np.uint64], seed: int, stream: int) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        start = _mix(np.array([seed], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        start = _mix(start + np.uint64(stream))
        return _mix(_mix(keys ^ start) + start)


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
    stream: int = -1
    for row, b in zip(weights, range(first, first + n_replicates), strict=True):
        if stream != Stream.RESAMPLING + b // _PIECES:
            stream = Stream.RESAMPLING + b // _PIECES
            bits = _keyed_bits(keys, seed, stream).view(np.uint16).reshape(-1, _PIECES)
        np.take(_POISSON_OF_BITS, bits[:, b % _PIECES], out=row)
    return weights


@dataclass(frozen=True)
class Replicates:
    """Statistics of several candidates, and their values in each bootstrap replicate.

    Attributes
    ----------
    rows : list of (candidate, metric)
        What was evaluated.
    values : ndarray, shape (n_rows,)
        On the customers as they are.
    draws : ndarray, shape (n_rows, n_replicates)
        On the resampled customers; NaN for statistics that are numbers. Replicates of
        one seed are paired: they hold the same customers for all candidates, and a customer who is
        there at several cutoffs has one weight.
    """

    rows: list[tuple[str, str]]
    values: FloatArray
    draws: FloatArray

    @classmethod
    def mean(cls, parts: Sequence[Replicates]) -> Replicates:
        """Average over windows, each row over the windows that have it.

        As replicates are paired by customer, intervals of the mean take into account that the
        windows share customers.
        """
        rows = list(dict.fromkeys(row for part in parts for row in part.rows))
        place = {row: i for i, row in enumerate(rows)}
        n = np.zeros(len(rows))
        values, draws = np.zeros(len(rows)), np.zeros((len(rows), parts[0].draws.shape[1]))
        for part in parts:
            at = np.array([place[row] for row in part.rows])
            n[at] += 1.0
            values[at] += part.values
            draws[at] += part.draws
        return cls(rows, values / n, draws / n[:, None])

    def of(self, candidates: Container[str | None]) -> Replicates:
        """Return the rows of some candidates."""
        at = [i for i, (name, _) in enumerate(self.rows) if name in candidates]
        return Replicates([self.rows[i] for i in at], self.values[at], self.draws[at])

    def table(self, reference: str | None = None, level: float = 0.9) -> pd.DataFrame:
        """Percentile intervals of the values and of the differences to a reference.

        Parameters
        ----------
        reference : str, optional
            Candidate against which differences are taken.
        level : float
            Probability of the intervals, in (0, 1).

        Returns
        -------
        DataFrame
            See :func:`compare`.
        """
        if not 0.0 < level < 1.0:
            raise ParameterError("level", "in (0, 1)", level)
        candidates = {candidate for candidate, _ in self.rows}
        if reference is not None and reference not in candidates:
            raise ParameterError("reference", f"one of {sorted(candidates)}", reference)
        tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
        lower, upper = _quantiles(self.draws, tails)
        table = pd.DataFrame(
            {"value": self.values, "lower": lower, "upper": upper},
            index=pd.MultiIndex.from_tuples(self.rows, names=["candidate", "metric"]),
        )
        if reference is None:
            return table
        position = {row: i for i, row in enumerate(self.rows)}
        base = np.array([position.get((reference, metric), -1) for _, metric in self.rows])
        known = base >= 0
        difference = np.where(known, self.values - self.values[base], np.nan)
        low, high = np.full(len(self.rows), np.nan), np.full(len(self.rows), np.nan)
        low[known], high[known] = _quantiles(self.draws[known] - self.draws[base[known]], tails)
        return table.assign(difference=difference, difference_lower=low, difference_upper=high)


def _quantiles(draws: FloatArray, tails: list[float]) -> FloatArray:
    """Quantiles of each row, over the replicates in which it exists; NaN where it never does."""
    found = np.full((len(tails), len(draws)), np.nan)
    some = ~np.isnan(draws).all(axis=1)
    if some.any():
        found[:, some] = np.nanquantile(draws[some], tails, axis=1)
    return found


Statistics: TypeAlias = Mapping[str, Mapping[str, Statistic | float]]
"""Metrics by candidate: what is evaluated on each replicate, or a number without an interval."""


def weighted_mean(loss: FloatArray, weight: FloatArray | None) -> FloatArray:
    """Mean of a loss (n,) under each row of weights (..., n), shape (...)."""
    if weight is None:
        return np.asarray(loss.mean())
    with np.errstate(invalid="ignore"):
        return np.asarray(weight @ loss / weight.sum(axis=-1))


def replicate(
    statistics: Statistics,
    keys: npt.NDArray[np.uint64],
    *,
    n_replicates: int = 200,
    seed: int = 0,
) -> Replicates:
    """Evaluate statistics on the customers and on bootstrap replicates of them.

    Parameters
    ----------
    statistics : mapping of candidate to mapping of metric to Statistic or float
        See :func:`compare`.
    keys : ndarray of uint64, shape (n,)
        Customers, from :func:`hash_keys`.
    n_replicates, seed
        See :func:`resampling_weights`.

    Returns
    -------
    Replicates
    """
    rows = [(c, m) for c, metrics in statistics.items() for m in metrics]
    plan = [statistic for metrics in statistics.values() for statistic in metrics.values()]

    def evaluate(weight: FloatArray) -> FloatArray:
        found = [
            statistic(weight) if callable(statistic) else np.full(len(weight), np.nan)
            for statistic in plan
        ]
        return np.array(found).reshape(len(plan), len(weight))

    values = evaluate(np.ones((1, len(keys))))[:, 0]
    for i, statistic in enumerate(plan):
        if not callable(statistic):
            values[i] = statistic
    step = max(1, _CHUNK // max(len(keys), 1))
    draws = [
        evaluate(resampling_weights(keys, min(step, n_replicates - start), seed, start))
        for start in range(0, n_replicates, step)
    ]
    empty = np.empty((len(rows), 0))
    return Replicates(rows, values, np.concatenate([empty, *draws], axis=1))


def compare(
    statistics: Statistics,
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
    statistics : mapping of candidate to mapping of metric to Statistic or float
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
        ``difference, difference_lower, difference_upper`` (candidate less reference). Statistics
        that are numbers have no intervals (NaN).

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
    found = replicate(statistics, hash_keys(ids), n_replicates=n_replicates, seed=seed)
    return found.table(reference, level)
