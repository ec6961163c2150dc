"""A labelled table as rows and outcomes, and new rows of the same kind without an outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.data import engine
from crmml.data.reading import Source, read_alike, read_table
from crmml.data.schema import LABELLED
from crmml.data.tables import Tables
from crmml.exceptions import DataError, MissingColumnsError, ParameterError

_ROWS = replace(LABELLED, columns=LABELLED.columns[:1])


class Labelled(NamedTuple):
    """A labelled table in memory, by the order of the ids.

    Attributes
    ----------
    rows : DataFrame
        All columns but id and outcome, as they stand.
    outcome : ndarray of 0 and 1, shape (n,)
    ids : Index
        Of the customers.
    """

    rows: pd.DataFrame
    outcome: FloatArray
    ids: pd.Index[Any]


def read_labelled(tables: Tables) -> Labelled:
    """Take the checked table ``labelled`` into memory.

    Parameters
    ----------
    tables : Tables
        With the table.
    """
    frame = _sorted(tables["labelled"])
    outcome = frame["outcome"].to_numpy(dtype=np.float64)
    ids: pd.Index[Any] = pd.Index(frame["customer_id"], name="customer_id")
    return Labelled(frame.drop(columns=["customer_id", "outcome"]), outcome, ids)


def read_rows(rows: Any, reading: Mapping[str, Any]) -> pd.DataFrame:
    """Read rows to score: ``customer_id``, and all other columns as they stand.

    Parameters
    ----------
    rows : Tables, DataFrame, Arrow table, path or Source
        No outcome is needed, and none is looked at.
    reading : mapping
        How the table was read at training.

    Returns
    -------
    DataFrame
        Sorted by ``customer_id``.

    Raises
    ------
    DataError
        If there is no row, or an id is missing or stands twice.
    ParameterError
        If tables are given of which none is labelled.
    """
    if isinstance(rows, Mapping):
        if "labelled" not in rows:
            rule = "one with the table labelled: the bundle was trained on such a table"
            raise ParameterError("tables", rule, [*rows])
        rows = rows["labelled"]
    if isinstance(rows, ir.Table) and {"customer_id", "outcome"} <= {*rows.columns}:
        return _sorted(rows).drop(columns="outcome")  # checked already
    frame = _sorted(_read(rows, reading))
    if frame.empty:
        raise DataError("there must be at least one row; the table is empty", table="labelled")
    ids = frame["customer_id"]
    for wrong, rule in (
        (ids.isna(), "customer_id must not be missing"),
        (ids.duplicated(keep=False), "customer_id must be unique"),
    ):
        if wrong.any():
            first = ids[wrong & ids.notna()].drop_duplicates().head(5).tolist()
            raise DataError(
                rule,
                table="labelled",
                column="customer_id",
                n_rows=int(wrong.sum()),
                examples=first,
            )
    return frame


def _read(rows: Any, reading: Mapping[str, Any]) -> ir.Table:
    """Read as at training; else the column of ids bears our own name."""
    known = reading.get("columns") or {}
    columns = {name: column for name, column in known.items() if name != "outcome"}
    if isinstance(rows, Source):
        own = {n: c for n, c in (rows.columns or {}).items() if n != "outcome"}
        given: Any = replace(rows, columns={**columns, **own})
    else:
        rows = Path(rows) if isinstance(rows, str) else rows
        given = read_alike(rows, {**reading, "columns": columns}, "labelled")
    if not isinstance(given, Source):
        given = Source(given, columns=columns)
    try:
        return read_table(given, _ROWS, engine.connect()).table
    except MissingColumnsError as first:
        if columns.get("customer_id") in (None, "customer_id"):
            raise
        ours = replace(given, columns={**columns, "customer_id": "customer_id"})
        try:
            return read_table(ours, _ROWS, engine.connect()).table
        except MissingColumnsError:
            raise first from None


def _sorted(table: ir.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    frame = frame[[name for name in frame if not str(name).startswith("__")]]
    return frame.sort_values("customer_id", kind="stable", ignore_index=True)
