"""The form of a file: what kind it is, how its text is written, how its lines split into columns.

The kind is told by the first bytes, never by the name alone. What an engine reads must be plain
UTF-8: anything else is copied to a private folder, which only its owner can open, and goes with it.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import pyarrow as pa

from crmml.data import encodings
from crmml.data.amounts import is_number
from crmml.data.settings import ReadSettings
from crmml.data.times import forms_of, grain_of, is_date, is_stamp
from crmml.exceptions import DataError, SourceError, first_few

Kind: TypeAlias = Literal["text", "json", "workbook", "parquet", "duckdb", "sqlite"]
"""What a file is."""

_HEAD = 1 << 18
_CHUNK = 1 << 20
_MOST_BELOW = 20
_TOTALS = frozenset(
    (
        *("total", "totals", "grand total", "sum", "summe", "gesamt", "gesamtsumme", "endsumme"),
        *("insgesamt", "totaal", "totale", "totaux", "total general", "total geral", "suma"),
        *("total général", "razem", "toplam", "genel toplam", "итого", "всего", "合计", "总计"),
        *("小计", "合計", "総計", "جمع", "جمع کل", "المجموع", "الإجمالي", "end of report"),
    )
)
"""What stands in a line below the data."""


@dataclass(frozen=True)
class Form:
    """The form of a file.

    Attributes
    ----------
    kind : str
        What it is (:data:`Kind`).
    table : str or None
        Of a workbook, archive or database: the sheet, member or table that is read.
    delimiter : str or None
        Of a text file; None where it is of another kind or of fixed width.
    header : bool
        Whether the first line of a text file holds the names.
    encoding : str
        How the text is written.
    skip_above, skip_below : int
        Lines above the names (the data, where there are none) and below the data.
    widths : tuple of int
        Of text of fixed width: where each column begins, counted from 0.
    evidence, doubts : tuple of str
        What was understood and from what; what a human should look at.
    """

    kind: Kind = "text"
    table: str | None = None
    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    skip_above: int = 0
    skip_below: int = 0
    widths: tuple[int, ...] = ()
    evidence: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return what a :class:`crmml.data.reading.Source` needs to read the file so."""
        names = ("table", "delimiter", "header", "encoding", "skip_above", "skip_below", "widths")
        return {name: getattr(self, name) for name in names}

    def lines(self) -> Iterator[str]:
        """Yield the form as lines of a configuration."""
        if self.table is not None:
            yield f"table: {json.dumps(self.table, ensure_ascii=False)}"
        if self.delimiter is not None:
            yield f"delimiter: {json.dumps(self.delimiter)}"
        if self.widths:
            yield f"widths: {list(self.widths)}  # where each column begins"
        if not self.header:
            yield "header: false  # the first line is data already"
        if self.skip_above:
            yield f"skip_above: {self.skip_above}  # lines above the names"
        if self.skip_below:
            yield f"skip_below: {self.skip_below}  # lines below the data"
        if self.encoding != "utf-8":
            yield f"encoding: {self.encoding}"


# --- what kind of file -------------------------------------------------------------------------

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_OTHERS = {
    b"%PDF": "it is a PDF: export the table behind it as CSV or Excel",
    b"\x89PNG": "it is a picture: export the table behind it as CSV or Excel",
    b"\xff\xd8\xff": "it is a picture: export the table behind it as CSV or Excel",
    b"7z\xbc\xaf": "it is a 7z archive: unpack it, or pack it as zip or gzip",
    b"Rar!": "it is a RAR archive: unpack it, or pack it as zip or gzip",
}
_ENDINGS: dict[tuple[str, ...], tuple[str, str]] = {
    (".parquet", ".pq"): ("parquet", "it is no Parquet file"),
    (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"): ("workbook", "it is no workbook that can be read"),
    (".duckdb", ".ddb", ".db"): ("duckdb", "it is neither a DuckDB nor a SQLite file"),
    (".sqlite", ".sqlite3"): ("sqlite", "it is no SQLite file"),
    (".gz", ".bz2", ".xz", ".zst", ".zip"): ("packed", "it is not compressed as its name says"),
}


def kind_of(path: Path, table: str | None = None) -> Kind:
    """Say what a file is, by its first bytes.

    Parameters
    ----------
    path : Path
        The file.
    table : str, optional
        Member of an archive that is meant.

    Raises
    ------
    SourceError
        If it is nothing that can be read; the message says what it is instead.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[8:12] == b"DUCK":
        return "duckdb"
    if head[:16] == b"SQLite format 3\x00":
        return "sqlite"
    if head[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" or _is_workbook(path, head):
        return "workbook"
    for begin, why in _OTHERS.items():
        if head.startswith(begin):
            raise SourceError(path, why)
    if not (head[:4] == b"PK\x03\x04" or _packing(head)):
        name = path.name.lower()
        for endings, (_, why) in _ENDINGS.items():
            # spreadsheets and shops also call plain text so
            if name.endswith(endings) and not re.search(rb"[,;\t|<].*\n", head):
                raise SourceError(path, why)
    with _unpacked(path, table) as stream:
        start = stream.read(512)
    if b"\x00" in start and encodings.by_mark(start) is None:
        raise SourceError(
            path, "it is none of CSV, JSON, Excel, Parquet, DuckDB and SQLite, nor compressed text"
        )
    first = start.decode(encodings.by_mark(start) or "latin-1", "ignore").lstrip("\ufeffï»¿ \r\n\t")
    page = ("<!doctype html", "<html", "<table", "<?xml")
    # two tags in a row; a name in such brackets may head a column
    if first[:100].lower().startswith(page) or re.match(r"<[A-Za-z][^<>]*>\s*<", first):
        raise SourceError(
            path, "it is a web page or XML, not a table: open it in a spreadsheet and save it there"
        )
    return "json" if re.match(r'\{\s*("|\})|\[\s*(\{|\[|\])', first) else "text"


def _is_workbook(path: Path, head: bytes) -> bool:
    if head[:4] != b"PK\x03\x04" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any(name.startswith("xl/") for name in names) or "content.xml" in names


def _packing(head: bytes) -> str | None:
    return next((name for begin, name in _PACKED.items() if head.startswith(begin)), None)


def _unpacked(path: Path, member: str | None) -> IO[bytes]:
    """Open a file of bytes, taken out of whatever it is packed in."""
    with path.open("rb") as file:
        head = file.read(8)
    packing = _packing(head)
    try:
        if packing == "gzip":
            return io.BufferedReader(gzip.open(path))
        if packing == "bzip2":
            return bz2.open(path)
        if packing == "xz":
            return lzma.open(path)
        if packing == "zstd":
            return io.BufferedReader(_Raw(pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
        if head[:4] == b"PK\x03\x04":
            archive = zipfile.ZipFile(path)
            return archive.open(member_of(path, member))
    except (OSError, zipfile.BadZipFile, pa.ArrowInvalid, RuntimeError) as error:
        if isinstance(error, RuntimeError):  # so zipfile says that a password is asked
            raise SourceError(path, "the archive is encrypted: unpack it first") from None
        raise SourceError(path, "it is not compressed as its first bytes say") from None
    return path.open("rb")


class _Raw(io.RawIOBase):
    """A stream of Arrow as one of Python."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def member_of(path: Path, member: str | None) -> str:
    """Return the member of a zip archive that is meant.

    Raises
    ------
    SourceError
        If it holds none, or several of which none is named.
    """
    with zipfile.ZipFile(path) as archive:
        held = [
            info.filename
            for info in archive.infolist()
            if not info.is_dir()
            and not info.filename.startswith("__MACOSX/")
            and not info.filename.rpartition("/")[2].startswith(".")
        ]
    if member in held:
        return str(member)
    if member is None and len(held) == 1:
        return held[0]
    asked = f"no member {member!r}" if member else "a member must be named"
    raise SourceError(
        path, f"{asked} (write file::member); the archive holds {first_few(held, 10)}"
    )


def is_packed(path: Path) -> bool:
    """Say whether a file is compressed or an archive (a workbook is none)."""
    with path.open("rb") as file:
        head = file.read(8)
    zipped = head[:4] == b"PK\x03\x04" and not _is_workbook(path, head)
    return zipped or _packing(head) is not None


# --- the form of a text file -------------------------------------------------------------------


@dataclass(frozen=True)
class _Text:
    """What one pass over a text file shows."""

    head: str
    tail: str
    encoding: str
    doubts: tuple[str, ...]


def find_text_form(path: Path, table: str, member: str | None = None) -> Form:
    """Find how a text file is written and how its lines split.

    Parameters
    ----------
    path : Path
        The file.
    table : str
        What to call the table in messages.
    member : str, optional
        Member of an archive that is meant.

    Raises
    ------
    SourceError
        If its text cannot be told, or lines near its head do not split like the others.
    DataError
        If it holds nothing, or two columns of one name.
    """
    seen = _see(path, table, member)
    evidence = [f"text is {seen.encoding}"]
    rows = _split(seen.head)
    fixed = _find_widths(seen.head) if rows.sign is None else ()
    if fixed:
        form = _fixed_form(seen, fixed, path)
        evidence.append(f"columns begin at {first_few(form.widths, 20)}")
    else:
        form = _delimited_form(seen, rows, path, table)
        shown = {"\t": "tab", " ": "blank"}.get(form.delimiter or "", form.delimiter)
        evidence.insert(0, f"columns are separated by {shown!r}")
    doubts = list(seen.doubts)
    if form.skip_above:
        above = [line for line in seen.head.splitlines()[: form.skip_above] if line.strip()]
        evidence.append(
            f"the names stand in line {form.skip_above + 1}, below {first_few(above, 2)}"
        )
    if form.skip_below:
        below = [line for line in seen.tail.splitlines()[-form.skip_below :] if line.strip()]
        doubts.append(f"lines below the data are not read: {first_few(below, 3)}")
    if not form.header:
        doubts.append("the first line looks like data, so columns are named by their place")
    kept = member_of(path, member) if zipfile.is_zipfile(path) else member
    return _with(form, table=kept, encoding=seen.encoding, evidence=evidence, doubts=doubts)


def _with(form: Form, **changes: Any) -> Form:
    return Form(**{**form.__dict__, **{k: tuple(v) if isinstance(v, list) else v
                                       for k, v in changes.items()}})  # fmt: skip


def _see(path: Path, table: str, member: str | None) -> _Text:
    """Read a text file once: its head, its tail, and how it is written."""
    try:
        with _unpacked(path, member) as stream:
            found = encodings.find(iter(lambda: stream.read(_CHUNK), b""), path)
    except (EOFError, OSError, zipfile.BadZipFile, lzma.LZMAError, pa.ArrowInvalid):
        raise SourceError(path, "it is damaged: it ends before its compression does") from None
    if not found.head.strip():
        raise DataError("there must be at least one row; the file is empty", table=table)
    head = found.head.decode(found.encoding, "ignore").lstrip("\ufeff")
    tail = found.tail.decode(found.encoding, "ignore")
    whole = found.size <= len(found.head)
    head, tail = (re.sub("\r\n?", "\n", text) for text in (head, tail))
    if not whole:  # lines cut at the ends of the pieces
        head = head.rpartition("\n")[0] + "\n"
        tail = tail.partition("\n")[2]
    return _Text(head, tail, found.encoding, found.doubts)


@dataclass(frozen=True)
class _Rows:
    """Lines split by a sign; ``at`` is the line in which each row begins, from 0."""

    sign: str | None
    share: float
    width: int
    rows: Sequence[Sequence[str]] = ()
    at: Sequence[int] = ()


def _split(text: str) -> _Rows:
    found = [_split_by(text, sign) for sign in ",;\t|"]
    named = re.match(r"sep=(.)\n", text)
    if named:
        found = [_split_by(text, named[1])]
    best = max(found, key=lambda rows: (rows.share * (rows.width > 1), rows.width))
    if best.width < 2:
        spaced = _split_by(text, " ")
        if spaced.share == 1 and spaced.width > 1:
            return spaced
        return _Rows(None, best.share, best.width, best.rows, best.at)
    return best


def _split_by(text: str, sign: str) -> _Rows:
    rows, at, before = [], [], 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                at.append(before)
            before = reader.line_num
            if len(rows) >= 2000:
                break
    except csv.Error:
        return _Rows(sign, 0.0, 0)
    widths = Counter(map(len, rows))
    width, times = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return _Rows(sign, times / max(len(rows), 1), width, rows, at)


def find_names(rows: Sequence[Sequence[str]]) -> tuple[int, bool]:
    """Find the row of names below title lines, and whether it holds names.

    Parameters
    ----------
    rows : sequence of rows
        The first rows of a table, cells as text; rows without a value left out.

    Returns
    -------
    first : int
        Place of the row that holds the names, or of the first row of data.
    header : bool
        Whether it holds names: none of its cells is a number or a date.
    """
    width = Counter(map(len, rows)).most_common(1)[0][0]
    usual = sorted(sum(bool(cell.strip()) for cell in row) for row in rows[:200])
    least = max(2, (usual[len(usual) // 2] + 1) // 2 + 1) if width > 2 else width
    for i, row in enumerate(rows[:50]):
        filled = [cell.strip() for cell in row if cell.strip()]
        unnamed = not row[0].strip()  # the row numbers that a data frame is written with
        if len(row) == width and len(filled) + unnamed >= min(least, width) and filled:
            return i, not any(map(_is_value, filled))
    return 0, not any(map(_is_value, rows[0]))


def _is_value(cell: str) -> bool:
    """Say whether a cell is no name; months and quarters name the columns of wide tables."""
    cell = cell.strip("'`")
    return is_number(cell) or any(grain_of(form) is None for form in forms_of(cell))


def _delimited_form(seen: _Text, rows: _Rows, path: Path, table: str) -> Form:
    first, header = find_names(rows.rows)
    names = [name.strip() for name in rows.rows[first]]
    if header:
        refuse_twice([n for n in names if n], path, table)
    above = rows.at[first] if first or rows.at[first] else 0
    below = _count_below(seen, rows)
    data = zip(rows.rows[first:], rows.at[first:], strict=True)
    last = seen.head.count("\n") - (below if seen.tail in seen.head else 0)
    for row, at in data:
        if len(row) != rows.width and rows.width > 1 and at < last:
            raise SourceError(
                path,
                f"line {at + 1:,} has {len(row)} values where the others have {rows.width} "
                f"({first_few(row, 3)}): mend it, and put text that holds the delimiter "
                f"{rows.sign!r} in quotes",
            )
    return Form(
        delimiter=rows.sign or ",",
        header=header,
        skip_above=above,
        skip_below=below,
    )


def refuse_twice(names: Sequence[str], path: Path, table: str) -> None:
    """Refuse two columns of one name.

    Raises
    ------
    DataError
        With the names.
    """
    # The engine does not tell capitals from small letters.
    counts = Counter(name.casefold() for name in names)
    twice = list(dict.fromkeys(name for name in names if counts[name.casefold()] > 1))
    if twice:
        raise DataError(
            f"column names must be unique; {path.name} has {first_few(twice)} more than once: give "
            "each column a name of its own, in more than capitals",
            table=table,
        )


def _count_below(seen: _Text, rows: _Rows) -> int:
    """Count the lines below the data: blank ones, totals, remarks of one cell."""
    lines = seen.tail.split("\n")
    lines = lines[:-1] if lines and not lines[-1] else lines
    count, blank = 0, 0
    for line in reversed(lines[-_MOST_BELOW:]):
        if not line.replace(rows.sign or ",", "").strip():
            blank += 1
            continue
        row = next(csv.reader([line], delimiter=rows.sign or ","), [])
        if not is_below(row, rows.width):
            break
        count += blank + 1
        blank = 0
    # a remark must stand below something
    return count + blank if count and len(lines) > count + 1 else 0


def is_below(row: Sequence[str], width: int) -> bool:
    """Say whether a row stands below the data: a total with cells empty, or a remark."""
    filled = [cell.strip() for cell in row if cell.strip()]
    if width < 2 or not filled:
        return False
    words = {cell.rstrip(":").strip().casefold() for cell in filled}
    total = bool(words & _TOTALS) or any(re.match(r"(grand )?totals?\b", w) for w in words)
    if total:
        return len(filled) < width
    if any(is_number(cell) or is_date(cell) for cell in filled) or " " not in filled[0]:
        return False
    return len(filled) == 1 or len(row) <= width // 3


def _find_widths(text: str) -> tuple[int, ...]:
    """Find where the columns of text of fixed width begin: behind what is blank in all lines."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()][:2000]
    if len(lines) < 3:
        return ()
    width = max(map(len, lines))
    full = [any(line[i : i + 1].strip() for line in lines) for i in range(width)]
    starts = tuple(i for i in range(width) if full[i] and (i == 0 or not full[i - 1]))
    # every line must reach the last column, or the text is prose
    return starts if len(starts) > 1 and all(len(line) > starts[-1] for line in lines) else ()


def _fixed_form(seen: _Text, widths: tuple[int, ...], path: Path) -> Form:
    first = next(line for line in seen.head.split("\n") if line.strip())
    cells = cut(first, widths)
    header = not any(_is_value(c) or is_stamp(c) for c in cells)
    return Form(header=header, widths=widths)


def cut(line: str, widths: Sequence[int]) -> list[str]:
    """Cut a line of fixed width into its cells.

    Examples
    --------
    >>> cut("7   2024-01-02  9.50", (0, 4, 16))
    ['7', '2024-01-02', '9.50']
    """
    ends = [*widths[1:], None]
    return [line[a:b].strip() for a, b in zip(widths, ends, strict=True)]


# --- plain copies ------------------------------------------------------------------------------


def must_be_copied(path: Path, settings: ReadSettings) -> bool:
    """Say whether an engine can read a text file only from a plain copy."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return (
        is_packed(path)
        or encodings.plain_name(settings.encoding) != "utf-8"
        or bool(settings.skip_above or settings.skip_below)
        or re.search(rb"\r(?!\n|$)", head) is not None
        # an engine takes one kind of line end
        or (b"\r\n" in head and re.search(rb"(?<!\r)\n", head) is not None)
    )


def copy_plain(path: Path, member: str | None, settings: ReadSettings, target: Path) -> None:
    """Copy a text file as UTF-8 with plain line ends, without the lines above and below the data.

    Parameters
    ----------
    path : Path
        The file, packed or not.
    member : str or None
        Member of an archive that is meant.
    settings : ReadSettings
        How it is written, and how many lines to leave out.
    target : Path
        The copy, in a folder of its owner.

    Raises
    ------
    SourceError
        If it is not written so.
    """
    name = encodings.plain_name(settings.encoding)
    written = settings.skip_above
    try:
        with (
            _unpacked(path, member) as raw,
            io.TextIOWrapper(raw, "utf-8-sig" if name == "utf-8" else settings.encoding) as text,
            target.open("w", encoding="utf-8", newline="\n") as copy,
        ):
            if not all(text.readline() for _ in range(settings.skip_above)):
                raise SourceError(
                    path, f"it has fewer lines than the {settings.skip_above:,} of skip_above"
                )
            held = ""
            while piece := text.read(_CHUNK):
                held += piece
                ready = len(held) - (_HEAD if settings.skip_below else 0)
                if ready > 0:
                    written += held.count("\n", 0, ready)
                    copy.write(held[:ready].lstrip("\ufeff") if written == 0 else held[:ready])
                    held = held[ready:]
            lines = held.splitlines(keepends=True)
            copy.write("".join(lines[: len(lines) - settings.skip_below]))
    except UnicodeDecodeError as error:
        raise encodings.not_so(path, settings.encoding, written, error) from None
    except (EOFError, OSError, zipfile.BadZipFile, lzma.LZMAError, pa.ArrowInvalid):
        raise SourceError(path, "it is damaged: it ends before its compression does") from None


@dataclass(frozen=True)
class Head:
    """What the first lines of a plain text file say.

    Attributes
    ----------
    names : tuple of str
        Names of its columns; by their place where it has no names.
    quote, escape : str
        What encloses text that holds a delimiter, and what stands before a quote within it.
    """

    names: tuple[str, ...]
    quote: str = '"'
    escape: str = '"'


def read_head(plain: Path, settings: ReadSettings, table: str, path: Path) -> Head:
    """Read the names of the columns of a plain text file.

    Parameters
    ----------
    plain : Path
        A file in UTF-8, without lines above the names.
    settings : ReadSettings
        How its lines split.
    table : str
        What to call the table in messages.
    path : Path
        The file of the user, for the messages.

    Raises
    ------
    DataError
        If two columns have one name.
    """
    with plain.open("rb") as file:
        text = file.read(_HEAD).decode("utf-8", "ignore").lstrip("\ufeff")
    lines = [line for line in text.split("\n") if line.strip()]
    if settings.widths:
        cells = cut(lines[0], settings.widths) if lines else []
        return Head(_names(cells, len(settings.widths), settings, table, path))
    sign = settings.delimiter or ","
    single = re.search(rf"(^|{re.escape(sign)})'[^'\n]*'({re.escape(sign)}|$)", text, re.M)
    quote = "'" if single and '"' not in text else '"'
    escape = "\\" if f"\\{quote}" in text and quote * 2 not in text else quote
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=sign,
        quotechar=quote,
        escapechar=None if escape == quote else escape,
        doublequote=escape == quote,
    )
    rows = [row for row in itertools.islice(reader, 2) if row]
    width = max((len(row) for row in rows), default=0)
    names = _names([cell.strip() for cell in rows[0]] if rows else [], width, settings, table, path)
    return Head(names, quote, escape)


def _names(
    cells: Sequence[str], width: int, settings: ReadSettings, table: str, path: Path
) -> tuple[str, ...]:
    if not settings.header:
        return tuple(f"column{i}" for i in range(width))
    refuse_twice([cell for cell in cells if cell], path, table)
    padded = [*cells, *[""] * (width - len(cells))]
    return tuple(cell or f"column{i}" for i, cell in enumerate(padded))
