"""Lifecycle stage: where a customer stands between first purchase and loss."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import (
    CrmmlError,
    DataError,
    MissingColumnsError,
    NotFittedError,
    ParameterError,
)

STAGES: tuple[str, ...] = ("acquire", "enhance", "retain", "win_back")

FOCUS: Mapping[str, str] = MappingProxyType(
    {"acquire": "differentiate", "enhance": "bundle", "retain": "adapt", "win_back": "return"}
)
"""What the house attends to in each stage."""


class LifecycleStages:
    """Stages by four questions, asked in this order; the first yes decides.

    1. ``acquire``: new with too little history? No repeat purchase yet, and fewer than
       ``new_until_`` units of time since the first one.
    2. ``win_back``: lapsed? ``churn_probability`` (the probability of no purchase in the
       horizon) is at least ``lapsed_at``.
    3. ``enhance``: growing? There is a repeat purchase and ``trend`` is above
       ``growing_above``; where the trend is unknown: the history is shorter than
       ``established_after_``. And not at risk: ``churn_probability`` is below ``at_risk_at``.
    4. ``retain``: everyone else, established or at risk.

    Parameters
    ----------
    lapsed_at, at_risk_at : float
        Probabilities, ``at_risk_at <= lapsed_at``. To judge by P(alive) put its complement into
        ``churn_probability``.
    growing_above : float
        Trend above which a customer grows, between -1 and 1. The trend is the feature
        ``purchase_trend``: (purchases of the last 13 weeks - those of the 13 before) / both. The
        default of 0.2 asks for more than 1.5 times as many as before (3 after 2 is not
        growth, 2 after 1 is); 0 would call any one purchase more growth. Who is younger than 26
        weeks has a trend that leans to growth, as the first half is seen in part.

    Attributes
    ----------
    new_until_ : float
        90th percentile of the mean gap between the purchases (recency / frequency) of the
        training customers with a repeat purchase: by then most would have come back. In the
        time unit of the snapshot.
    established_after_ : float
        Median time since the first purchase of the training customers.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {"frequency": [0, 5, 8, 3], "recency": [0.0, 18, 60, 12], "T": [1.0, 20, 80, 90],
    ...      "churn_probability": [0.5, 0.1, 0.3, 0.95]}, index=["new", "young", "old", "gone"])
    >>> LifecycleStages().fit(table).assign(table).tolist()
    ['acquire', 'enhance', 'retain', 'win_back']
    """

    new_until_: float
    established_after_: float

    def __init__(
        self,
        *,
        lapsed_at: float = 0.9,
        at_risk_at: float = 0.5,
        growing_above: float = 0.2,
    ) -> None:
        if not 0 < at_risk_at <= lapsed_at <= 1:
            raise ParameterError(
                "at_risk_at and lapsed_at",
                "probabilities with at_risk_at <= lapsed_at",
                (at_risk_at, lapsed_at),
            )
        if not -1 <= growing_above <= 1:
            raise ParameterError("growing_above", "between -1 and 1", growing_above)
        self.lapsed_at = float(lapsed_at)
        self.at_risk_at = float(at_risk_at)
        self.growing_above = float(growing_above)

    def fit(self, table: pd.DataFrame) -> Self:
        """Fit the two lengths of history.

        Parameters
        ----------
        table : DataFrame
            ``frequency``, ``recency`` and ``T`` of the training customers.

        Raises
        ------
        MissingColumnsError, CrmmlError
            If a column or every customer is missing.
        """
        x, t_x, age = (_column(table, name) for name in ("frequency", "recency", "T"))
        if len(table) == 0:
            raise CrmmlError("lifecycle stages need at least one customer; got none")
        repeat = x > 0
        self.established_after_ = float(np.median(age))
        # without any repeat purchase nothing says how long "new" lasts, but half of the history
        self.new_until_ = (
            float(np.quantile(t_x[repeat] / x[repeat], 0.9))
            if repeat.any()
            else self.established_after_
        )
        return self

    def assign(self, table: pd.DataFrame) -> pd.Series[str]:
        """Return the stage of each customer, on the index of the table.

        Parameters
        ----------
        table : DataFrame
            ``frequency``, ``T``, ``churn_probability`` and, if known, ``trend`` (nulls allowed).
        """
        self._check_fitted()
        x, age, risk = (_column(table, name) for name in ("frequency", "T", "churn_probability"))
        trend = (
            np.asarray(table["trend"], dtype=float)
            if "trend" in table.columns
            else np.full(len(table), np.nan)
        )
        young = age < self.established_after_
        growing = (x > 0) & np.where(np.isfinite(trend), trend > self.growing_above, young)
        code = np.select(
            [
                (x == 0) & (age < self.new_until_),
                risk >= self.lapsed_at,
                growing & (risk < self.at_risk_at),
            ],
            [STAGES.index("acquire"), STAGES.index("win_back"), STAGES.index("enhance")],
            STAGES.index("retain"),
        )
        names = np.array(STAGES, dtype=object)[code]
        return pd.Series(names, index=table.index, name="lifecycle_stage", dtype="str")

    def to_dict(self) -> dict[str, Any]:
        """Return settings and fitted state as plain JSON values."""
        self._check_fitted()
        return {
            "lapsed_at": self.lapsed_at,
            "at_risk_at": self.at_risk_at,
            "growing_above": self.growing_above,
            "new_until": self.new_until_,
            "established_after": self.established_after_,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild fitted stages from :meth:`to_dict`."""
        stages = cls(
            lapsed_at=stored["lapsed_at"],
            at_risk_at=stored["at_risk_at"],
            growing_above=stored["growing_above"],
        )
        stages.new_until_ = float(stored["new_until"])
        stages.established_after_ = float(stored["established_after"])
        return stages

    def _check_fitted(self) -> None:
        if not hasattr(self, "new_until_"):
            raise NotFittedError(self)


def focus(stages: pd.Series[str]) -> pd.Series[str]:
    """Return what the house attends to in each customer's stage."""
    return stages.map(dict(FOCUS)).astype("str").rename("lifecycle_focus")


def _column(table: pd.DataFrame, name: str) -> FloatArray:
    if name not in table.columns:
        raise MissingColumnsError([name], map(str, table.columns), table="scores")
    values = np.asarray(table[name], dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            "values must be finite numbers",
            table="scores",
            column=name,
            n_rows=int(bad.sum()),
            examples=table.index[bad][:5],
        )
    return values
