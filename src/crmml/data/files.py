"""The form of a file: how its text is written and how its lines split into columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from crmml.data.amounts import is_number
from crmml.data.times import is_date
from crmml.exceptions import DataError, SourceError


@dataclass(frozen=True)
class Form:
    """The form of a file.

    Attributes
    ----------
    delimiter : str or None
        Of a text file; None where the file is of another kind.
    header : bool
        Whether the first line holds the names.
    encoding : str
        How the text is written.
    """

    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"

    def settings(self) -> dict[str, Any]:
        """Return what a :class:`crmml.data.reading.Source` needs to read the file so."""
        return {"delimiter": self.delimiter, "header": self.header, "encoding": self.encoding}

    def lines(self) -> Iterator[str]:
        """Yield the form as lines of a configuration."""
        if self.delimiter is not None:
            yield f"delimiter: {json.dumps(self.delimiter)}"
            if not self.header:
                yield "header: false  # the first line is data already"
            if self.encoding != "utf-8":
                yield f"encoding: {self.encoding}"

    @property
    def evidence(self) -> tuple[str, ...]:
        """What was understood and from what, a sentence each."""
        if self.delimiter is None:
            return ()
        shown = {"\t": "tab", " ": "space"}.get(self.delimiter, self.delimiter)
        return (f"columns are separated by {shown!r}, text is {self.encoding}",)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a human should look at, a sentence each."""
        if self.header:
            return ()
        return ("the first line looks like data, so columns are named by their place",)


def is_text(path: Path) -> bool:
    """Say whether a file is one of text."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    return path.is_file() and name.endswith((".csv", ".tsv", ".txt"))


def find_form(path: Path, table: str) -> Form:
    """Find delimiter, header and encoding from the beginning of the file."""
    if path.stat().st_size == 0:
        raise DataError("there must be at least one row; the file is empty", table=table)
    try:
        with pa.input_stream(str(path), compression="detect") as file:
            head = file.read(1 << 18)
    except (OSError, pa.ArrowInvalid):
        raise SourceError(path, "it is not compressed as its name says") from None
    encoding = _find_encoding(path, head)
    text = head.decode(encoding, errors="ignore").lstrip("\ufeff")
    best = max((_split(text, sign) for sign in ",;\t|"), key=lambda found: found[:2])
    if best[1] < 2:
        spaced = _split(text, " ")
        best = spaced if spaced[0] == 1 and spaced[1] > 1 else best
    _, _, delimiter, cells = best
    # names are distinct words; a number or a date among them is data
    header = len(set(cells)) == len(cells) and not any(is_number(c) or is_date(c) for c in cells)
    return Form(delimiter, header, encoding)


def _split(text: str, sign: str) -> tuple[float, int, str, list[str]]:
    """Split lines by a sign: share of them with the usual number of cells, number, sign, first."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=sign) if row]
    except csv.Error:
        return 0.0, 0, sign, []
    rows = rows[:-1] if len(rows) > 1 and not text.endswith("\n") else rows
    widths = Counter(map(len, rows[:1000]))
    width, times = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    if width < 2:
        return 0.0, width, sign, rows[0] if rows else []
    first = next(row for row in rows if len(row) == width)
    return times / min(len(rows), 1000), width, sign, first


def _find_encoding(path: Path, head: bytes) -> str:
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a character may be cut at the end of the piece that was read
        if error.start < len(head) - 4:
            if odd := re.search(rb"[\x80-\x9f]", head):
                raise SourceError(
                    path,
                    "its text is neither UTF-8, UTF-16 nor Latin-1 (the byte "
                    f"0x{odd.group()[0]:02X} is no letter of these; Windows-1252 writes quotes and "
                    "the euro sign so): save it as UTF-8",
                ) from None
            return "latin-1"
    return "utf-8"
