"""Whether probabilities mean what they say: the reliability table and its summaries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import weighted_mean


def compute_reliability(
    outcome: npt.ArrayLike,
    probability: npt.ArrayLike,
    *,
    n_bins: int = 10,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare stated and observed rates in bins of about equal size (the calibration curve).

    Parameters
    ----------
    outcome : array-like of {0, 1}, shape (n,)
        1 where the event happened.
    probability : array-like, shape (n,)
        Between 0 and 1. Equal probabilities always share a bin.
    n_bins : int
        Bins wanted, at least 1; ties may leave fewer.
    level : float
        Of the Wilson interval of the observed rate.

    Returns
    -------
    DataFrame
        One row per bin, ascending: ``n, predicted`` (mean probability), ``observed`` (rate),
        ``low, high``.

    Examples
    --------
    >>> compute_reliability([0, 1, 1, 1], [0.2, 0.2, 0.9, 0.9], n_bins=2)["observed"].tolist()
    [0.5, 1.0]
    """
    y, p, bins = _binned(outcome, probability, n_bins)
    n = np.bincount(bins).astype(np.float64)
    observed = np.bincount(bins, y) / n
    z = float(stats.norm.ppf((1 + level) / 2))
    # Wilson (1927): the score interval of a proportion.
    centre = (observed + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(observed * (1 - observed) / n + z**2 / (4 * n**2))
    return pd.DataFrame(
        {
            "n": n.astype(np.int64),
            "predicted": np.bincount(bins, p) / n,
            "observed": observed,
            "low": np.clip(centre - half, 0, 1),
            "high": np.clip(centre + half, 0, 1),
        }
    )


def expected_calibration_error(
    outcome: npt.ArrayLike, probability: npt.ArrayLike, *, n_bins: int = 10
) -> float:
    """Mean absolute gap between stated and observed rates over bins, weighted by their size.

    Parameters
    ----------
    outcome, probability, n_bins
        As for :func:`compute_reliability`.

    Returns
    -------
    float
        Between 0 (best) and 1. Positive even for perfect probabilities when bins are small.
    """
    table = compute_reliability(outcome, probability, n_bins=n_bins)
    gap = (table["predicted"] - table["observed"]).abs()
    return float((gap * table["n"]).sum() / table["n"].sum())


def decompose_brier(outcome: FloatArray, probability: FloatArray) -> dict[str, float]:
    """Split the Brier score into reliability, resolution and uncertainty (Murphy 1973).

    Parameters
    ----------
    outcome : ndarray of 0 and 1, shape (n,)
    probability : ndarray, shape (n,)

    Returns
    -------
    dict
        ``brier_reliability`` (less is better), ``brier_resolution`` (more is better) and
        ``brier_uncertainty``, over tenths.

    Examples
    --------
    >>> decompose_brier(np.array([0.0, 1.0]), np.array([0.0, 1.0]))["brier_resolution"]
    0.25
    """
    table = compute_reliability(outcome, probability)
    weight = table["n"] / table["n"].sum()
    rate = float(outcome.mean())
    return {
        "brier_reliability": float((weight * (table["predicted"] - table["observed"]) ** 2).sum()),
        "brier_resolution": float((weight * (table["observed"] - rate) ** 2).sum()),
        "brier_uncertainty": rate * (1 - rate),
    }


def _binned(
    outcome: npt.ArrayLike, probability: npt.ArrayLike, n_bins: int
) -> tuple[FloatArray, FloatArray, IntArray]:
    y = np.asarray(outcome, dtype=np.float64)
    p = np.asarray(probability, dtype=np.float64)
    if n_bins < 1:
        raise ParameterError("n_bins", "at least 1", n_bins)
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        raise ParameterError(
            "outcome and probability", "two vectors of one length > 0", (y.shape, p.shape)
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ParameterError("probability", "between 0 and 1", (float(p.min()), float(p.max())))
    edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))
    # The border belongs to the upper bin unless that would leave a bin empty.
    _, bins = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)
    return y, p, bins.astype(np.int64)


def compare_mean_probability(
    outcome: FloatArray,
    probability: FloatArray,
    groups: Mapping[str, BoolArray],
    *,
    level: float = 0.99,
    factor: float = 1.5,
) -> pd.DataFrame:
    """Compare the mean probability of groups with the share of them to whom it happened.

    Parameters
    ----------
    outcome : ndarray of 0 and 1, shape (n,)
        1 where the event happened.
    probability : ndarray, shape (n,)
        Between 0 and 1.
    groups : mapping of str to ndarray of bool, shape (n,)
        Who is in each group; an empty group is passed over.
    level : float
        Of the interval around the share, in (0, 1).
    factor : float
        The odds may be off by so much beyond the interval, > 1: windows differ as a whole, which
        no sample of customers shows.

    Returns
    -------
    DataFrame
        Index ``group``; columns ``customers, probability`` (mean), ``happened`` (share), ``low,
        high`` (interval of Jeffreys) and ``met``.

    Examples
    --------
    >>> predictions = np.full(1000, 0.999)
    >>> gone = np.r_[np.zeros(30), np.ones(970)]
    >>> compare_mean_probability(gone, predictions, {"all": gone >= 0})["met"].item()
    False
    """
    rows = {}
    for name, member in groups.items():
        n = int(member.sum())
        if not n:
            continue
        events, mean = float(outcome[member].sum()), float(probability[member].mean())
        distribution = stats.beta(events + 0.5, n - events + 0.5)
        low = distribution.ppf((1.0 - level) / 2.0) if events > 0 else 0.0
        high = distribution.ppf((1.0 + level) / 2.0) if events < n else 1.0
        # Odds compared by products, so that a bound of 0 or 1 needs no logarithm.
        above = mean * (1.0 - low) * factor >= low * (1.0 - mean)
        below = mean * (1.0 - high) <= factor * high * (1.0 - mean)
        rows[name] = (n, mean, events / n, low, high, bool(above and below))
    columns = ["customers", "probability", "happened", "low", "high", "met"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("group")


def mean_error(
    outcome: FloatArray,
    probability: FloatArray,
    member: BoolArray,
    weight: FloatArray | None = None,
) -> FloatArray:
    """Mean probability of a group less the share of it to whom it happened.

    Parameters
    ----------
    outcome, probability : ndarray, shape (n,)
    member : ndarray of bool, shape (n,)
        Who is in the group.
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        NaN where nobody of the group has weight.
    """
    inside = None if weight is None else weight[..., member]
    return weighted_mean((probability - outcome)[member], inside)
