"""Tables as one Excel workbook; text is written as text, so that nothing in it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import pandas as pd
import xlsxwriter

MOST_ROWS = 10_000
"""Rows of a sheet; the CSV file beside it holds all."""

_WIDEST = 60
_FORBIDDEN = str.maketrans(dict.fromkeys("[]:*?/\\", "_"))


def write_workbook(
    target: BinaryIO, tables: Mapping[str, pd.DataFrame], created: pd.Timestamp
) -> None:
    """Write one sheet per table.

    Parameters
    ----------
    target : binary file
        Where.
    tables : mapping of str to DataFrame
        By the name of the sheet. Of longer tables come the first :data:`MOST_ROWS` rows, and a
        row that says so.
    created : Timestamp
        Date of the workbook: the same tables give the same bytes.
    """
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(target, options) as book:
        book.set_properties({"created": created.to_pydatetime(warn=False)})
        bold = book.add_format({"bold": True})
        date = book.add_format({"num_format": "yyyy-mm-dd"})
        taken: set[str] = set()
        for name, table in tables.items():
            sheet = book.add_worksheet(_sheet_name(name, taken))
            sheet.freeze_panes(1, 0)
            _fill(sheet, table, bold, date)


def _fill(sheet: Any, table: pd.DataFrame, bold: Any, date: Any) -> None:
    shown = table.head(MOST_ROWS)
    for column, name in enumerate(map(str, shown)):
        sheet.write_string(0, column, name, bold)
        values = shown[name]
        widest = len(name)
        for row, value in enumerate(values.tolist(), 1):
            if pd.isna(value):
                continue
            if isinstance(value, pd.Timestamp):
                sheet.write_datetime(row, column, value.to_pydatetime(warn=False), date)
                widest = max(widest, 10)
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                sheet.write_number(row, column, value)
                widest = max(widest, 10)
            else:
                text = str(value)[:32_767]  # what a cell can hold
                sheet.write_string(row, column, text)
                widest = max(widest, len(text))
        sheet.set_column(column, column, min(widest + 2, _WIDEST))
    if len(table) > len(shown):
        rest = f"{len(table) - len(shown):,} more rows in the CSV file of this name"
        sheet.write_string(len(shown) + 1, 0, rest, bold)


def _sheet_name(name: str, taken: set[str]) -> str:
    """Return a name that Excel allows: at most 31 characters, some of them forbidden, unique."""
    plain = name.translate(_FORBIDDEN)[:31]
    number = 1
    while plain.lower() in taken:
        number += 1
        plain = f"{name.translate(_FORBIDDEN)[:27]} ({number})"
    taken.add(plain.lower())
    return plain
