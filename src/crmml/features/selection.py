"""Which columns of a snapshot a learned model may see."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import MissingColumnsError
from crmml.features.behaviour import FEATURES
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import CORE_COLUMNS, Snapshot

_SEASON = "cutoff_season_*"


def choose_features(parts: Sequence[LabelledSnapshot]) -> list[str]:
    """Choose the registered numeric features that every snapshot has; nothing else may enter.

    The season of the cutoff is left out where the cutoffs span less than a year: it would only
    tell the snapshots apart.

    Parameters
    ----------
    parts : sequence of LabelledSnapshot
        What a model is to learn from; at least one.

    Returns
    -------
    list of str
        In the order of the registry, whatever the order of the columns.
    """
    frames = [part.snapshot.frame for part in parts]
    shared = sorted(str(name) for name in frames[0] if all(name in frame for frame in frames))
    cutoffs = [part.window.cutoff for part in parts]
    patterns = [*CORE_COLUMNS[1:], "monetary_value", *(f.name for f in FEATURES if f.learned)]
    if max(cutoffs) - min(cutoffs) < pd.Timedelta(days=365):
        patterns = [pattern for pattern in patterns if not fnmatchcase(pattern, _SEASON)]
    found = [
        name
        for pattern in patterns
        for name in shared
        if fnmatchcase(name, pattern) and pd.api.types.is_numeric_dtype(frames[0][name])
    ]
    return list(dict.fromkeys(found))


def feature_matrix(snapshot: Snapshot, names: Sequence[str]) -> FloatArray:
    """Return the features as an array, shape (n_customers, n_features).

    Raises
    ------
    MissingColumnsError
        If the snapshot lacks one of them.
    """
    missing = [name for name in names if name not in snapshot.frame]
    if missing:
        raise MissingColumnsError(missing, map(str, snapshot.frame.columns), table="snapshot")
    return snapshot.frame[list(names)].to_numpy(dtype=np.float64)
