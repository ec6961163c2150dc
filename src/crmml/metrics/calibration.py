"""Whether probabilities mean what they say: the reliability table and its summaries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError


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
