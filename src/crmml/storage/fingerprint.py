"""A fingerprint of tables: the same rows in any order give the same text."""

from __future__ import annotations

import hashlib
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

TABLES = ("transactions", "customers", "interactions", "treatments", "subscriptions")


@ibis.udf.scalar.builtin(signature=((str,), "uint64"))  # type: ignore[untyped-decorator]
def md5_number_upper(text: Any) -> Any:
    """Return the upper half of a text's MD5 (a function of DuckDB)."""


@ibis.udf.scalar.builtin(signature=((str,), "uint64"))  # type: ignore[untyped-decorator]
def md5_number_lower(text: Any) -> Any:
    """Return the lower half of a text's MD5 (a function of DuckDB)."""


def fingerprint(data: Any) -> str:
    """Hash the contents of tables in the engine.

    Parameters
    ----------
    data : DataFrame, ibis Table or Tables
        What to hash. Of ``Tables``, every table that is there is read.

    Returns
    -------
    str
        64 hexadecimal digits: SHA-256 over table names, column names, the number of rows, and the
        sums of both halves of the MD5 of each row's text. Equal multisets of rows in equally
        named columns give equal fingerprints, whatever the order of rows and columns. It tells
        data apart; it is no defence against somebody who wants a collision.

    Examples
    --------
    >>> rows = pd.DataFrame({"customer_id": [1, 2], "amount": [9.5, None]})
    >>> fingerprint(rows) == fingerprint(rows.iloc[::-1])
    True
    >>> fingerprint(rows) == fingerprint(rows.assign(amount=[9.5, 0.0]))
    False
    """
    whole = hashlib.sha256()
    if isinstance(data, (pd.DataFrame, ir.Table)):
        tables = {"table": data}
    else:
        tables = {name: getattr(data, name, None) for name in TABLES}
    for name, table in tables.items():
        if table is not None:
            columns, sums = _sums(table)
            whole.update(repr((name, columns, sums)).encode())
    return whole.hexdigest()


def _sums(data: pd.DataFrame | ir.Table) -> tuple[list[str], list[int]]:
    if isinstance(data, pd.DataFrame):
        data = ibis.memtable(pa.Table.from_pandas(data, preserve_index=False))
    columns = sorted(data.columns)
    text = ibis.literal("")
    for name in columns:
        cell = data[name].cast("string")
        # The length keeps the cells apart, so that no two rows share a text.
        text = text + ibis.coalesce(cell.length().cast("string") + ":" + cell, "-") + ";"
    halves = data.select(upper=md5_number_upper(text), lower=md5_number_lower(text))
    total = halves.aggregate(
        rows=halves.count(),
        upper=halves.upper.cast("decimal(38, 0)").sum(),
        lower=halves.lower.cast("decimal(38, 0)").sum(),
    ).to_pyarrow()
    return columns, [int(total[name][0].as_py() or 0) for name in ("rows", "upper", "lower")]
