"""Tables of SQLite files and Excel workbooks, read without any extension of the engine."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from crmml.exceptions import DataError, SourceError

EXCEL = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
"""Endings of workbooks."""

_SQLITE_HEAD = b"SQLite format 3\x00"


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database, whatever its name says."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEAD)) == _SQLITE_HEAD


def read_sqlite(path: Path, table: str | None) -> pa.Table:
    """Read a table or view of a SQLite file.

    Parameters
    ----------
    path : Path
        The file; it is opened for reading only.
    table : str, optional
        Its name; not needed where the file holds one.

    Raises
    ------
    SourceError
        If the file cannot be read, or no single table is meant.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as con:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
            held = [row[0] for row in con.execute(query) if not row[0].startswith("sqlite_")]
            name = _one_of(held, table, path, "table")
            # the name comes from the catalogue and is quoted as SQL asks
            quoted = '"' + name.replace('"', '""') + '"'
            cursor = con.execute(f"SELECT * FROM {quoted}")  # noqa: S608
            names = [column[0] for column in cursor.description]
            return _to_arrow(names, cursor.fetchall(), path)
    except sqlite3.Error as error:
        raise SourceError(path, f"SQLite says: {error}") from None


def read_workbook(path: Path, sheet: str | None) -> pa.Table:
    """Read a sheet of a workbook whose first row holds the names.

    Parameters
    ----------
    path : Path
        An Excel or OpenDocument file.
    sheet : str, optional
        Its name; not needed where the workbook holds one.

    Raises
    ------
    SourceError
        If the file cannot be read, or no single sheet is meant.
    DataError
        If the sheet has no rows, or two columns of one name.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        book = CalamineWorkbook.from_path(str(path))
        name = _one_of(book.sheet_names, sheet, path, "sheet")
        rows = book.get_sheet_by_name(name).to_python()
    except (CalamineError, OSError) as error:
        raise SourceError(path, f"it is no workbook that can be read ({error})") from None
    if len(rows) < 2:
        raise DataError(
            f"there must be a row of names and at least one row; {path.name} has {len(rows)}",
            table=name,
        )
    names = [str(cell).strip() or f"column{i}" for i, cell in enumerate(rows[0])]
    return _to_arrow(names, [[_blank(c) for c in row] for row in rows[1:]], path)


def _one_of(held: Sequence[str], wanted: str | None, path: Path, what: str) -> str:
    if wanted is None and len(held) == 1:
        return held[0]
    if wanted in held:
        return str(wanted)
    asked = f"no {what} {wanted!r}" if wanted else f"a {what} must be named"
    shown = ", ".join(held) or "none"
    raise SourceError(path, f"{asked} (write file::{what}); it holds {shown}")


def _blank(cell: Any) -> Any:
    """Return None for an empty cell."""
    return None if cell == "" else cell


def _to_arrow(names: list[str], rows: Iterable[Sequence[Any]], path: Path) -> pa.Table:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"column names must be unique; {path.name} has {twice} twice", table="?")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table({name: _column(values) for name, values in zip(names, columns, strict=True)})


def _column(values: Sequence[Any]) -> pa.Array:
    """Give a column one type; where its cells are of several kinds they are read as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {dt.date, dt.datetime}:
        values = [dt.datetime.combine(v, dt.time()) if type(v) is dt.date else v for v in values]
        return pa.array(values)
    if len(kinds) > 1 and kinds != {int, float}:
        return pa.array([None if v is None else _text(v) for v in values], pa.string())
    if kinds == {int, float}:
        return pa.array([None if v is None else float(v) for v in values])
    return pa.array(values)


def _text(value: Any) -> str:
    """Write a cell as text, whole numbers without a decimal point."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)
