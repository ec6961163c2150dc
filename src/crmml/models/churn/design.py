"""From the covariates of contracts to the columns of a regression, in a form that is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import MissingColumnsError

_LEVELS = 20
_RARE = 20
"""Rows that a level must have to get a column of its own."""


@dataclass(frozen=True)
class Design:
    """How covariates become numbers.

    Attributes
    ----------
    numbers : dict of str to (float, float)
        Mean and standard deviation of each numeric covariate. A missing value becomes the mean,
        and a column of its own says that it was missing.
    levels : dict of str to list of str
        Levels of each other covariate that have a column. Rare and new ones have none: they count
        as the base, together with missing values.

    Examples
    --------
    >>> frame = pd.DataFrame({"fee": [9.0, 19.0, np.nan], "plan": ["a", "b", "a"]})
    >>> design = Design.fit(frame, ["fee", "plan"], rare=1)
    >>> design.names
    ['fee', 'fee missing', 'plan = a', 'plan = b']
    >>> design.matrix(frame).round(2).tolist()
    [[-1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]]
    """

    numbers: dict[str, tuple[float, float]]
    levels: dict[str, list[str]]

    @classmethod
    def fit(cls, frame: pd.DataFrame, columns: Sequence[str], *, rare: int = _RARE) -> Self:
        """Learn means, deviations and levels of some columns; what never varies is left out."""
        numbers: dict[str, tuple[float, float]] = {}
        levels: dict[str, list[str]] = {}
        # Stored JSON is sorted by name, and coefficients go by the order of the columns.
        for name in sorted(columns):
            values = frame[name]
            if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
                known = values.to_numpy(dtype=np.float64, na_value=np.nan)
                known = known[np.isfinite(known)]
                if len(known) and known.std() > 0:
                    numbers[name] = (float(known.mean()), float(known.std()))
            else:
                counts = values.dropna().astype("str").value_counts()
                # Equal counts go by the name, so that the order of the rows plays no part.
                often = sorted(counts[counts >= rare].items(), key=lambda item: (-item[1], item[0]))
                if len(counts) + bool(values.isna().any()) > 1:
                    levels[name] = sorted(str(level) for level, _ in often[:_LEVELS])
        return cls(numbers, {name: found for name, found in levels.items() if found})

    @property
    def names(self) -> list[str]:
        """Names of the columns of :meth:`matrix`."""
        of_numbers = [one for name in self.numbers for one in (name, f"{name} missing")]
        of_levels = [f"{name} = {level}" for name, found in self.levels.items() for level in found]
        return of_numbers + of_levels

    def matrix(self, frame: pd.DataFrame) -> FloatArray:
        """Return the columns for some rows, shape (n, len(names)).

        Raises
        ------
        MissingColumnsError
            If a covariate is not there.
        """
        missing = [name for name in (*self.numbers, *self.levels) if name not in frame.columns]
        if missing:
            raise MissingColumnsError(missing, map(str, frame.columns), table="contracts")
        columns: list[FloatArray] = []
        for name, (mean, deviation) in self.numbers.items():
            values = pd.to_numeric(frame[name], errors="coerce")
            known = values.to_numpy(dtype=np.float64, na_value=np.nan)
            unknown = ~np.isfinite(known)
            columns += [np.where(unknown, 0.0, (known - mean) / deviation), unknown.astype(float)]
        for name, found in self.levels.items():
            texts = frame[name].astype("str").to_numpy()
            columns += [np.asarray(texts == level, dtype=np.float64) for level in found]
        return np.column_stack(columns) if columns else np.empty((len(frame), 0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        numbers = {name: (float(a), float(b)) for name, (a, b) in stored["numbers"].items()}
        return cls(numbers, {name: list(found) for name, found in stored["levels"].items()})
