"""Plain values of JSON from what an explanation holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def as_plain(value: Any) -> Any:
    """Bring values, also nested ones, to those of JSON; dates are ISO 8601, the unknown is null.

    Examples
    --------
    >>> as_plain({"when": pd.Timestamp("2024-05-01"), "worth": float("nan"), "n": np.int64(3)})
    {'when': '2024-05-01', 'worth': None, 'n': 3}
    """
    if isinstance(value, Mapping):
        return {_key(key): as_plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(one) for one in value]
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return _day(value)
    if isinstance(value, np.generic):
        return as_plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _key(key: Any) -> str:
    return _day(key) if isinstance(key, pd.Timestamp) else str(key)


def _day(moment: pd.Timestamp) -> str:
    return moment.date().isoformat() if moment == moment.normalize() else moment.isoformat()
