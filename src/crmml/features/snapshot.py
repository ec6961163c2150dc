"""The snapshot: one row per customer at a cutoff. One door for training and for scoring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import GRAINS, TIME_UNITS, Grain, IntArray, TimeUnit
from crmml.exceptions import DataError, MissingColumnsError, ParameterError

CORE_COLUMNS: tuple[str, ...] = ("customer_id", "frequency", "recency", "T")


@dataclass(frozen=True)
class Distinct:
    """Distinct rows of some snapshot columns: what a likelihood needs, and no more.

    Attributes
    ----------
    rows : DataFrame
        One row per distinct combination, sorted by its values.
    counts : ndarray of int, shape (n_distinct,)
        How many customers share the row.
    inverse : ndarray of int, shape (n_customers,)
        ``rows.iloc[inverse]`` gives back the customers in the order of the snapshot.
    """

    rows: pd.DataFrame
    counts: IntArray
    inverse: IntArray


@dataclass(frozen=True)
class Snapshot:
    """One row per customer at a cutoff.

    Attributes
    ----------
    frame : DataFrame
        Columns of section *snapshot* of the glossary: ``customer_id``, ``frequency``,
        ``recency``, ``T``, usually ``monetary_value``, and behaviour features. The index is a
        plain range; nothing ever depends on the order of the rows.
    cutoff : Timestamp
        Exclusive end of what the features have seen.
    grain : {"hour", "day", "week"}
        What counts as one purchase.
    time_unit : {"hour", "day", "week", "period"}
        What ``recency`` and ``T`` are measured in.
    provenance : mapping
        Where the rows come from: policies and their counts, first and last date of the data.
    """

    frame: pd.DataFrame
    cutoff: pd.Timestamp
    grain: Grain = "day"
    time_unit: TimeUnit = "week"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        cutoff: str | pd.Timestamp,
        time_unit: TimeUnit = "week",
        grain: Grain = "day",
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take a table of section 2 of the contract and validate it.

        Parameters
        ----------
        df : DataFrame
            Needs ``customer_id`` (a column, or the index under that name), ``frequency``,
            ``recency`` and ``T``; further columns are kept as they are.
        cutoff : str or Timestamp
            Exclusive end of the observed history, timezone-naive.
        time_unit, grain : str
            See the class.
        provenance : mapping, optional
            Free facts about the origin of the rows.

        Raises
        ------
        MissingColumnsError, DataError, ParameterError
            If a column is missing, a row breaks an invariant, or a setting is unknown.

        Examples
        --------
        >>> df = pd.DataFrame({"customer_id": ["a"], "frequency": [2], "recency": [30.43],
        ...                    "T": [38.86]})
        >>> len(Snapshot.from_frame(df, cutoff="1997-10-01"))
        1
        """
        if time_unit not in TIME_UNITS:
            raise ParameterError("time_unit", f"one of {TIME_UNITS}", time_unit)
        if grain not in GRAINS:
            raise ParameterError("grain", f"one of {GRAINS}", grain)
        frame = df.reset_index() if df.index.name == "customer_id" else df.reset_index(drop=True)
        missing = [name for name in CORE_COLUMNS if name not in frame.columns]
        if missing:
            raise MissingColumnsError(missing, map(str, frame.columns), table="snapshot")
        frame = frame.assign(
            **{name: _as_float(frame, name) for name in CORE_COLUMNS[1:]},
        )
        check_invariants(frame)
        return cls(frame, pd.Timestamp(cutoff), grain, time_unit, dict(provenance or {}))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def customer_id(self) -> pd.Index[Any]:
        """Ids in the order of the rows, the key of every prediction."""
        return pd.Index(self.frame["customer_id"], name="customer_id")

    def subset(self, keep: Sequence[bool] | pd.Series | np.ndarray[Any, Any]) -> Snapshot:
        """Return the snapshot of the customers for whom ``keep`` is true (in row order)."""
        mask = np.asarray(keep, dtype=bool)
        return replace(self, frame=self.frame.loc[mask].reset_index(drop=True))

    def distinct(self, columns: Iterable[str] = ("frequency", "recency", "T")) -> Distinct:
        """Gather the distinct rows of some columns with their counts.

        Parameters
        ----------
        columns : iterable of str
            Numeric columns of ``frame``.
        """
        names = list(columns)
        first, counts, inverse = distinct_rows([self.frame[name].to_numpy() for name in names])
        rows = self.frame[names].take(first).reset_index(drop=True)
        return Distinct(rows, counts, inverse)


def distinct_rows(
    columns: Sequence[npt.NDArray[Any]],
) -> tuple[IntArray, IntArray, IntArray]:
    """Find the distinct rows of parallel columns, sorted by their values.

    Every column is coded by the rank of its values and the codes are packed into one integer, so
    that the work is a few passes over integers whatever the number of columns.

    Parameters
    ----------
    columns : sequence of ndarray, each of shape (n,)
        Sortable values; missing ones are equal to each other.

    Returns
    -------
    first : ndarray of int, shape (n_distinct,)
        A row of each combination.
    counts : ndarray of int, shape (n_distinct,)
        Its number of rows.
    inverse : ndarray of int, shape (n,)
        The combination of each row.

    Examples
    --------
    >>> first, counts, inverse = distinct_rows([np.array([2.0, 1.0, 2.0])])
    >>> counts.tolist(), inverse.tolist()
    ([1, 2], [1, 0, 1])
    """
    key, size = _ranks(columns[0])
    for column in columns[1:]:
        codes, n_codes = _ranks(column)
        if size * n_codes >= 2**62:
            key, size = _ranks(key)
        key, size = key * n_codes + codes, size * n_codes
    inverse, n_distinct = _ranks(key)
    first = np.empty(n_distinct, dtype=np.int64)
    first[inverse] = np.arange(len(inverse))
    return first, np.bincount(inverse, minlength=n_distinct).astype(np.int64), inverse


def _ranks(values: npt.NDArray[Any]) -> tuple[IntArray, int]:
    """Rank of each value among the distinct ones, and how many those are."""
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[np.argsort(distinct)] = np.arange(len(distinct))
    return rank[codes], len(distinct)


def _as_float(frame: pd.DataFrame, name: str) -> pd.Series[float]:
    values = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    bad = ~np.isfinite(values.to_numpy())
    if bad.any():
        raise DataError(
            "values must be finite numbers",
            table="snapshot",
            column=name,
            n_rows=int(bad.sum()),
            examples=frame.loc[bad, "customer_id"].head(5),
        )
    return values


def check_invariants(frame: pd.DataFrame) -> None:
    """Refuse a snapshot table that breaks a row invariant; they all stand here.

    Raises
    ------
    DataError
        With the rule, the column, the number of rows and the first few ids.
    """
    x, t_x, T = (frame[name].to_numpy() for name in CORE_COLUMNS[1:])
    rules = [
        ("customer_id", "must not be null", frame["customer_id"].isna().to_numpy()),
        ("customer_id", "must be unique", frame["customer_id"].duplicated(keep=False).to_numpy()),
        ("frequency", "must be a whole number >= 0", (x < 0) | (x != np.floor(x))),
        ("T", "must be > 0", T <= 0),
        ("recency", "must lie between 0 and T", (t_x < 0) | (t_x > T)),
        ("recency", "must be 0 exactly where frequency is 0", (t_x == 0) != (x == 0)),
    ]
    for column, rule, broken in rules:
        if broken.any():
            raise DataError(
                f"{column} {rule}",
                table="snapshot",
                column=column,
                n_rows=int(broken.sum()),
                examples=frame.loc[broken, "customer_id"].head(5),
            )
