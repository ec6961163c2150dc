"""Tables of SQLite files and Excel workbooks, read without any extension of the engine."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

from crmml.data.amounts import is_number
from crmml.data.files import Form, find_names, is_below
from crmml.data.times import is_date
from crmml.exceptions import DataError, SourceError, first_few


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
        why = "another program holds it" if "locked" in str(error) else "it is damaged"
        raise SourceError(path, f"it is no SQLite file that can be read ({why})") from None


def find_sheet(path: Path, sheet: str | None) -> Form:
    """Find the sheet of a workbook that looks most like a log, and where its names stand.

    Parameters
    ----------
    path : Path
        An Excel or OpenDocument file.
    sheet : str, optional
        Its name, where it is known.

    Raises
    ------
    SourceError
        If the file cannot be read, or holds no such sheet.
    """
    book = _open_book(path)
    held = list(book.sheet_names)
    asked = [_one_of(held, sheet, path, "sheet")] if sheet else held
    rows = {name: _rows_of(book, name, path) for name in asked}
    weights = {name: _weight(found) for name, found in rows.items()}
    best = max(asked, key=lambda name: weights[name], default=None)
    if best is None or not rows[best]:
        raise DataError("there must be at least one row; the workbook is empty", table="?")
    above, below, header = _frame(rows[best])
    evidence, doubts = [f"it is a workbook; sheet {best!r} is read"], []
    others = [name for name in held if name != best]
    if others:
        evidence[0] += (
            f", and {first_few(others)} are not" if len(others) > 1 else f", {others[0]!r} not"
        )
        if sorted(weights.values())[-2:].count(weights[best]) > 1 or (
            len(weights) > 1 and sorted(weights.values())[-2] > 0.5 * weights[best]
        ):
            doubts.append(
                f"of the sheets {first_few(held)} {best!r} is read: name another by file::sheet"
            )
    if above:
        evidence.append(f"the names stand in row {above + 1}")
    if below:
        told = [" ".join(_shown(row)) for row in rows[best][-below:] if any(_shown(row))]
        doubts.append(f"rows below the data are not read: {first_few(told, 3)}")
    if not header:
        doubts.append("the first row looks like data: write a row of names above it")
    return Form(
        "workbook",
        best,
        skip_above=above,
        skip_below=below,
        evidence=tuple(evidence),
        doubts=tuple(doubts),
    )


def read_workbook(
    path: Path, sheet: str | None, skip_above: int = 0, skip_below: int = 0
) -> pa.Table:
    """Read a sheet of a workbook.

    Parameters
    ----------
    path : Path
        An Excel or OpenDocument file.
    sheet : str, optional
        Its name; not needed where the workbook holds one.
    skip_above, skip_below : int
        Rows above the names and below the data.

    Raises
    ------
    SourceError
        If the file cannot be read, or no single sheet is meant.
    DataError
        If the sheet has no rows, or two columns of one name.
    """
    book = _open_book(path)
    name = _one_of(book.sheet_names, sheet, path, "sheet")
    rows = _rows_of(book, name, path)[skip_above:]
    rows = rows[: len(rows) - skip_below]
    if len(rows) < 2:
        raise DataError(
            f"there must be a row of names and at least one row; {path.name} has {len(rows)}",
            table=name,
        )
    width = max(i + 1 for row in rows for i, cell in enumerate(row) if cell != "")
    names = [_text(c).strip() or f"column{i}" for i, c in enumerate(rows[0][:width])]
    filled = [row[:width] for row in rows[1:] if any(cell != "" for cell in row)]
    return _to_arrow(names, [[_blank(c) for c in row] for row in filled], path)


def _open_book(path: Path) -> Any:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        return CalamineWorkbook.from_path(str(path))
    except (CalamineError, OSError) as error:
        why = "it is encrypted" if "assword" in str(error) else "it is damaged, or no workbook"
        raise SourceError(path, f"it is no workbook that can be read ({why})") from None


def _rows_of(book: Any, name: str, path: Path) -> list[list[Any]]:
    from python_calamine import CalamineError

    try:
        rows: list[list[Any]] = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    except (CalamineError, OSError):
        raise SourceError(path, f"its sheet {name!r} cannot be read: it is damaged") from None
    return rows


def _shown(row: Sequence[Any]) -> list[str]:
    return [_text(cell) for cell in row if cell != ""]


def _weight(rows: list[list[Any]]) -> int:
    """Say how much a sheet looks like a log: its rows, more where they have dates and numbers."""
    some = rows[1:200]
    dated = sum(any(isinstance(c, dt.date) or is_date(_text(c)) for c in row) for row in some)
    summed = sum(any(is_number(_text(c)) for c in row) for row in some)
    telling = min(dated, summed) > 0.5 * len(some) > 0
    return len(rows) * (100 if telling else 1)


def _frame(rows: list[list[Any]]) -> tuple[int, int, bool]:
    """Find the rows above the names and below the data, and whether there are names."""
    width = max((i + 1 for row in rows[:2000] for i, c in enumerate(row) if c != ""), default=0)
    texts = [[_text(cell) for cell in row[:width]] for row in rows[:2000]]
    filled = [i for i, row in enumerate(texts) if any(map(str.strip, row))]
    first, header = find_names([texts[i] for i in filled])
    below = 0
    for count, row in enumerate(reversed(rows[-20:]), 1):
        told = [_text(cell) for cell in row[:width]]
        if any(map(str.strip, told)):
            if not is_below(told, width):
                break
            below = count
    return filled[first], below if len(rows) > below + 1 else 0, header


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
        raise DataError(
            f"column names must be unique; {path.name} has {first_few(twice)} twice", table="?"
        )
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
