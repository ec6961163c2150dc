"""Columns that know the outcome, found by what they say alone."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence

import numpy as np

from crmml._typing import FloatArray
from crmml.exceptions import FutureLeakError, LeakWarning
from crmml.metrics import classification

LEAK_AUC = 0.99


def check_no_leak(
    X: FloatArray, y: FloatArray, names: Sequence[str], *, trusted: Collection[str] = ()
) -> None:
    """Refuse a column that tells the outcome by itself: it knows the future.

    Parameters
    ----------
    X : ndarray, shape (n, n_features)
    y : ndarray of 0 and 1, shape (n,)
    names : sequence of str
    trusted : collection of str
        Columns that the snapshot computes from the past: they get a warning only, because where
        everybody buys like clockwork inactivity may honestly say it all.

    Raises
    ------
    FutureLeakError
        If the AUC of a column, or of where it is missing, is 0.99 or more (or 0.01 or less). With
        fewer than 20 customers of either outcome nothing is concluded.

    Warns
    -----
    LeakWarning
        The same of a trusted column.
    """
    if min(y.sum(), len(y) - y.sum()) < 20:
        return
    for column, name in enumerate(names):
        skill = _skill(X[:, column], y)
        if skill < LEAK_AUC:
            continue
        what = f"column {name!r} tells the outcome by itself (AUC {skill:.3f} on {len(y):,} rows)"
        if name not in trusted:
            raise FutureLeakError(f"{what}: it must know the outcome window; leave it out")
        warnings.warn(
            f"{what}: fine if everybody buys like clockwork, else it knows the future (see "
            "crmml.features.labels.check_no_future)",
            LeakWarning,
            stacklevel=3,
        )


def _skill(values: FloatArray, y: FloatArray) -> float:
    """AUC of a column or of where it is missing, in the better direction."""
    missing = np.isnan(values)
    scores = [np.where(missing, -np.inf, values)]
    if missing.any():
        scores.append(missing.astype(np.float64))
    found = [float(classification.auc(y, score)) for score in scores]
    return max(max(skill, 1 - skill) for skill in found)
