"""A fingerprint of tables: the same rows in any order give the same text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmml.data.engine import is_embedded


def fingerprint(data: Any) -> str:
    """Hash the contents of tables, sorted.

    Parameters
    ----------
    data : DataFrame, ibis Table or Tables
        What to hash. Of ``Tables``, every table is read.

    Returns
    -------
    str
        SHA-256 as 64 hexadecimal digits, over names and types of tables and columns and all
        values in sorted order. The order of rows and columns does not matter, nor does the width
        of integers and floats; a row more or less does.

    Examples
    --------
    >>> rows = pd.DataFrame({"customer_id": [1, 2], "amount": [9.5, None]})
    >>> fingerprint(rows) == fingerprint(rows.iloc[::-1])
    True
    >>> fingerprint(rows) == fingerprint(rows.assign(amount=[9.5, 0.0]))
    False
    """
    if isinstance(data, pd.DataFrame):
        data = ibis.memtable(pa.Table.from_pandas(data, preserve_index=False))
    if isinstance(data, ir.Table):
        tables: Mapping[str, Any] = {"table": data}
    else:
        tables = data
    digests = [(name, _digest(table)) for name, table in tables.items()]
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def _digest(table: ir.Table) -> list[tuple[str, str, list[str]]]:
    """Name, type and hashes of each column, the rows being sorted by all columns."""
    plain = {name: _plain(table[name]) for name in sorted(table.columns)}
    rows = table.select(**plain)
    if is_embedded(table.get_backend()):
        sorted_rows = rows.order_by(list(plain)).to_pyarrow()
    else:  # another engine may sort text by the rules of a language
        sorted_rows = rows.to_pyarrow().sort_by([(name, "ascending") for name in plain])
    hashes = {name: [hashlib.sha256() for _ in range(3)] for name in plain}
    for batch in sorted_rows.to_batches(100_000):
        for name, parts in hashes.items():
            for part, content in zip(parts, _contents(batch.column(name)), strict=True):
                part.update(content)
    return [
        (name, str(plain[name].type()), [part.hexdigest() for part in parts])
        for name, parts in hashes.items()
    ]


def _plain(column: Any) -> Any:
    kind = column.type()
    if kind.is_integer():
        return column.cast("int64")
    if kind.is_floating():
        return column.cast("float64")
    if kind.is_timestamp() or kind.is_date():
        return column.cast("timestamp(6)")
    return column.cast("string")


def _contents(column: pa.Array) -> tuple[bytes, bytes, bytes]:
    """Null flags, lengths and values: three runs of bytes that go on from batch to batch."""
    absent = np.asarray(column.is_null()).tobytes()
    if pa.types.is_floating(column.type):
        return absent, b"", (column.fill_null(0).to_numpy() + 0.0).tobytes()  # no negative zero
    if pa.types.is_integer(column.type) or pa.types.is_timestamp(column.type):
        return absent, b"", column.cast(pa.int64()).fill_null(0).to_numpy().tobytes()
    text = column.fill_null("")
    lengths = pc.binary_length(text).to_numpy().astype(np.int64)
    return absent, lengths.tobytes(), b"".join(text.cast(pa.binary()).to_pylist())
