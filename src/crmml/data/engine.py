"""The engine: the one file that knows how DuckDB works and what other engines lack.

Tables are worked on where they lie: files, data frames and tables of DuckDB on an embedded DuckDB,
tables of another engine of Ibis (PostgreSQL, say) on that engine. All else in this room and in the
room of the features is plain Ibis. Nothing is ever downloaded: extensions are neither installed
nor loaded by themselves.
"""

from __future__ import annotations

import glob
import re
import secrets
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot
from ibis.backends import BaseBackend
from ibis.backends.duckdb import Backend

from crmml.atomic import private_folder
from crmml.exceptions import CrmmlError, DataError, ParameterError, SourceError

TIMESTAMP = dt.Timestamp(scale=6)
INSTANT = dt.Timestamp(scale=6, timezone="UTC")

_STORED = (ops.DatabaseTable, ops.SQLQueryResult)
_DRIVERS = ("psycopg",)
_LARGEST = 2**53
"""Whole numbers up to here are exact as float64."""
_HASHES_AT_A_TIME = 20_000_000
_HALF_OF_A_HASH = 2**32 - 1
_FEW_SHARED = 0.05
"""So many of the rows may share a hash before more columns are hashed."""
_FEW = 100_000
"""Up to so many rows memory is no question."""


# --- engines -------------------------------------------------------------------------------------


def connect() -> BaseBackend:
    """Return a fresh embedded engine whose answers depend on no session setting.

    Examples
    --------
    >>> connect().name
    'duckdb'
    """
    spill = private_folder() / f"spill-{secrets.token_hex(4)}"
    con = ibis.duckdb.connect(
        temp_directory=str(spill),
        preserve_insertion_order=False,
        autoinstall_known_extensions=False,
        autoload_known_extensions=False,
    )
    con.raw_sql("SET TimeZone = 'UTC'")
    return con


def in_memory(table: ir.Table) -> bool:
    """Whether an Ibis table lies on no engine yet."""
    return not table.op().find(_STORED)


def engine_of(table: ir.Table) -> BaseBackend | None:
    """Return the engine on which an Ibis table lies; None where it lies in memory."""
    return None if in_memory(table) else table.get_backend()


def is_embedded(engine: BaseBackend) -> bool:
    """Whether an engine is DuckDB, which can read files and parse any text."""
    return isinstance(engine, Backend)


def keep_row_order(engine: BaseBackend) -> None:
    """Let the first rows of a file stay the first rows."""
    engine.raw_sql("SET preserve_insertion_order = true")


# --- tables kept in an engine --------------------------------------------------------------------


def store(table: ir.Table | pa.Table, engine: BaseBackend) -> ir.Table:
    """Keep rows in an engine until its connection ends.

    Parameters
    ----------
    table : Ibis table on the engine, or Arrow table
        What to keep.
    engine : Ibis backend
        Where.
    """
    if isinstance(table, pa.Table):
        # a column without a single value has no type; it is as good as text
        fields = [
            field.with_type(pa.string()) if pa.types.is_null(field.type) else field
            for field in table.schema
        ]
        table = ibis.memtable(table.cast(pa.schema(fields)))
    return engine.create_table(ibis.util.gen_name("crmml"), table, temp=True)


def name_query(table: ir.Table, engine: BaseBackend) -> ir.Table:
    """Let the embedded engine know a query by a name, until its connection ends.

    Nothing is computed: the engine plans the query anew wherever the name stands. But Ibis need
    not write it down again in every question, which takes longer than to answer one of a small log.

    Parameters
    ----------
    table : Ibis table
        On the engine.
    engine : Ibis backend
        An embedded one of our own: others would keep the name when we are gone.
    """
    name, space = ibis.util.gen_name("crmml"), ops.Namespace(catalog="temp", database="main")
    view = sqlglot.exp.Create(
        this=sqlglot.exp.to_table(name),
        kind="VIEW",
        properties=sqlglot.exp.Properties(expressions=[sqlglot.exp.TemporaryProperty()]),
        expression=engine.compiler.to_sqlglot(table),
    )
    engine.raw_sql(view)
    return ops.DatabaseTable(name, table.schema(), engine, space).to_expr()


@contextmanager
def kept(table: ir.Table | pa.Table, engine: BaseBackend | None = None) -> Iterator[ir.Table]:
    """Compute a table once, for several questions, and drop it afterwards.

    Parameters
    ----------
    table : Ibis table, or Arrow table
        On any engine.
    engine : Ibis backend, optional
        Where an Arrow table is kept.

    Yields
    ------
    Ibis table
        The same rows, stored in the engine.
    """
    engine = engine or table.get_backend()
    if not engine.supports_temporary_tables:
        with table.cache() as stored:
            yield stored
        return
    stored = store(table, engine)
    try:
        yield stored
    finally:
        name = sqlglot.to_identifier(stored.op().name, quoted=True).sql(engine.dialect)
        done = engine.raw_sql(f"DROP TABLE {name}")
        # an answer left open would hold the table
        done.fetchall() if is_embedded(engine) else done.close()


def stream(table: ir.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """Take a table out of its engine piece by piece, in its order.

    Parameters
    ----------
    table : Ibis table
        On any engine, which is to be asked nothing else before the last piece.
    rows : int
        At most so many at a time.
    """
    engine = table.get_backend()
    if is_embedded(engine):
        # what Ibis itself asks here is gone from newer versions of the engine
        yield from engine.con.sql(engine.compile(table)).to_arrow_reader(rows)
    else:
        yield from table.to_pyarrow_batches(chunk_size=rows)


def count_repeated(
    table: ir.Table, columns: Sequence[str], n_rows: int, telling: Sequence[str] = ()
) -> int:
    """Count the rows that are equal to an earlier one in some columns.

    Rows of different hashes differ. So of many rows only those that share a hash are compared in
    full, which takes a fraction of the memory that the values of all would take. Few rows are
    compared at once: one question instead of four.

    Parameters
    ----------
    table : Ibis table
        On any engine; one without hashes compares all rows.
    columns : sequence of str
        What to compare.
    n_rows : int
        Number of rows.
    telling : sequence of str
        Those of the columns that tell most rows apart, as a rule: the hash of these alone is made
        in a third of the time. Where they tell too few apart, all columns are hashed.
    """
    rows = table.select(columns)
    if n_rows <= _FEW or not is_embedded(table.get_backend()):
        return n_rows - int(rows.distinct().count().execute())
    parts = max(-(-n_rows // _HASHES_AT_A_TIME), 1)
    for names in [telling, columns] if telling else [columns]:
        hashes = _hash(ibis.struct({name: rows[name] for name in names}))
        if parts == 1:
            # Half of the bits are sorted in half of the time. The few rows that share them by
            # chance are compared too.
            hashes = (hashes & _HALF_OF_A_HASH).cast("uint32")
        hashed = rows.mutate(__hash=hashes)
        among, shared = _find_shared(hashed["__hash"].name("hash").as_table(), parts)
        if among <= _FEW_SHARED * n_rows:
            break
    if not among:
        return 0
    with kept(pa.table({"__hash": shared}), table.get_backend()) as few:
        different = hashed.semi_join(few, "__hash").drop("__hash").distinct().count()
        return among - int(different.execute())


def _find_shared(hashes: ir.Table, parts: int) -> tuple[int, npt.NDArray[Any]]:
    """Count the rows whose hash is that of another one too, and list these hashes."""
    # Sorting plain numbers takes a third of the time of counting them by group; so many at a time.
    among, shared = 0, []
    for part in range(parts):
        some = hashes if parts == 1 else hashes.filter(hashes.hash % parts == part)
        values = np.sort(some.to_pyarrow()["hash"].to_numpy())
        same = values[1:] == values[:-1]
        found = values[1:][same]
        first = np.ones(len(found), dtype=bool)
        first[1:] = found[1:] != found[:-1]
        among += len(found) + int(first.sum())
        shared.append(found[first])
    return among, np.concatenate(shared)


@ibis.udf.scalar.builtin(name="hash")  # type: ignore[untyped-decorator]
def _hash(values) -> dt.uint64:  # type: ignore[no-untyped-def]
    """Hash a row; what Ibis itself asks goes through a string of bits, and has a sign."""


@contextmanager
def sparing(table: ir.Table, megabytes: int = 900) -> Iterator[None]:
    """Let the embedded engine of a table work in little memory, and spill to disk beyond it.

    Parameters
    ----------
    table : Ibis table
        On any engine; others are left alone.
    megabytes : int
        What it may take, about.
    """
    engine = table.get_backend()
    if not is_embedded(engine):
        yield
        return
    before = engine.con.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
    engine.con.execute("SET memory_limit = ?", [f"{megabytes}MB"])
    try:
        yield
    finally:
        engine.con.execute("SET memory_limit = ?", [before])


# --- reading files and databases -----------------------------------------------------------------


def read_parquet(engine: BaseBackend, path: Path) -> ir.Table:
    """Return the Parquet files of a path, lazily; a folder is read with all that lies below it."""
    literal = glob.escape(str(path))
    return engine.read_parquet(f"{literal}/**/*.parquet" if path.is_dir() else literal)


def read_csv(
    engine: BaseBackend,
    path: Path,
    *,
    delimiter: str,
    names: Sequence[str],
    header: bool,
    quote: str = '"',
    escape: str = '"',
) -> ir.Table:
    """Return a text file in UTF-8, lazily, every column as text.

    Parameters
    ----------
    engine : Ibis backend
        The embedded engine.
    path : Path
        The file.
    delimiter, quote, escape : str
        Its signs.
    names : sequence of str
        Names of its columns.
    header : bool
        Whether its first line is to be left out.
    """
    return engine.read_csv(
        glob.escape(str(path)),
        columns=dict.fromkeys(names, "VARCHAR"),
        auto_detect=False,
        header=header,
        delim=delimiter,
        quote=quote,
        escape=escape,
    )


def read_lines(engine: BaseBackend, path: Path) -> ir.StringColumn:
    """Return the lines of a text file in UTF-8, lazily."""
    # a sign that no text holds, so that nothing is split
    lines = read_csv(
        engine, path, delimiter="\x1f", names=["line"], header=False, quote="", escape=""
    )
    return lines.line


def read_json(engine: BaseBackend, path: Path) -> ir.Table:
    """Return a JSON file (lines, or an array of objects), lazily, every plain value as text.

    Objects within a row become columns named ``outer.inner``; a file of one object that holds the
    list of rows is read as that list.
    """
    literal = glob.escape(str(path))
    options: dict[str, Any] = {"sample_size": 100_000, "maximum_object_size": 1 << 28}
    found = engine.read_json(literal, **options).schema()
    wrapped = [
        name for name, kind in found.items() if kind.is_array() and kind.value_type.is_struct()
    ]
    columns = {name: _as_text(kind) for name, kind in found.items()}
    table = engine.read_json(literal, columns=columns, **options)
    if len(wrapped) == 1 and table.count().execute() == 1:
        table = table.select(row=table[wrapped[0]].unnest()).row.lift()
    while any(kind.is_struct() for kind in table.schema().types):
        flat: dict[str, ir.Value] = {}
        for name, kind in table.schema().items():
            inner = kind.names if kind.is_struct() else ()
            flat |= {f"{name}.{part}": table[name][part] for part in inner} or {name: table[name]}
        table = table.select(**flat)
    return table


def _as_text(kind: dt.DataType) -> str:
    """Return the type of the engine that reads the values of a type of JSON as text."""
    if kind.is_struct() and kind.names:
        parts = (
            f"{sqlglot.to_identifier(name, quoted=True).sql('duckdb')} {_as_text(inner)}"
            for name, inner in kind.items()
        )
        return f"STRUCT({', '.join(parts)})"
    if kind.is_array() and kind.value_type.is_struct():
        return f"{_as_text(kind.value_type)}[]"
    return "VARCHAR"


def stage(table: ir.Table, engine: BaseBackend) -> ir.Table:
    """Keep a table in a private file while its engine lives, for questions to single columns.

    Parameters
    ----------
    table : Ibis table on the embedded engine
        What is slow to read.
    engine : Ibis backend
        The embedded engine.
    """
    folder = tempfile.TemporaryDirectory(dir=private_folder())
    weakref.finalize(engine, folder.cleanup)
    target = Path(folder.name) / "rows.parquet"
    table.to_parquet(target)
    return read_parquet(engine, target)


def read_database(engine: Backend, path: Path, table: str | None) -> ir.Table:
    """Return a table or view of a DuckDB file, lazily.

    Raises
    ------
    SourceError
        If no single table is meant.
    """
    # a file is attached once, however many of its tables are read
    known = engine.con.execute(
        "SELECT database_name FROM duckdb_databases() WHERE path = ?", [str(path)]
    ).fetchall()
    catalog = known[0][0] if known else ibis.util.gen_name("source")
    if not known:
        engine.attach(str(path), catalog, read_only=True)
    query = """
        SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1
        UNION ALL
        SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = $1 AND NOT internal
        ORDER BY ALL
    """
    names = engine.con.execute(query, [catalog]).fetchall()
    wanted = table.split(".") if table else []
    found = [pair for pair in names if list(pair)[-len(wanted) :] == wanted] if wanted else names
    if len(found) != 1:
        asked = f"no single table {table!r}" if table else "a table must be named"
        held = ", ".join(
            name if database == "main" else f"{database}.{name}" for database, name in names
        )
        raise SourceError(path, f"{asked} (write file::table); it holds {held or 'no table'}")
    database, name = found[0]
    return engine.table(name, database=(catalog, database))


def _bare() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )


@contextmanager
def plain_errors(source: object, skipped: int = 0) -> Iterator[None]:
    """Turn what an engine says about a source into a sentence for its owner.

    Parameters
    ----------
    source : object
        What to call it.
    skipped : int
        Lines that were left out of it before the engine saw it.
    """
    try:
        yield
    except duckdb.Error as error:
        raise SourceError(source, _sentence(error, skipped)) from error
    except CrmmlError:
        raise
    except OSError as error:  # a name that is too long, a file that may not be read, a full disk
        shown = f"{str(source)[:80]}..." if len(str(source)) > 200 else source
        raise SourceError(shown, (error.strerror or str(error)).lower()) from error
    except Exception as error:
        # errors of drivers that need not be installed are known by their module
        if type(error).__module__.partition(".")[0] not in _DRIVERS:
            raise
        raise SourceError(source, str(error).partition("\n")[0].rstrip(".")) from error


_CAUSES = (
    ("unterminated quote", "a quote that is opened is not closed, or text follows it"),
    ("Invalid unicode", "the text is not UTF-8: give its encoding, which `crmml init` finds"),
    ("Maximum line size", "it is longer than 2 MB: a quote that is opened is not closed, it seems"),
    ("No magic bytes", "it is no Parquet file"),
    ("too small to be a Parquet", "it is no Parquet file"),
    ("Could not set lock", "another program holds it open for writing"),
    ("newer version", "a newer version of DuckDB wrote it than can be read here"),
    ("Malformed JSON", "it is no valid JSON"),
    ("maximum_object_size", "one object of it is larger than 256 MB"),
    ("Out of Memory", "it needs more memory than there is"),
    ("No space left", "there is no space left for private copies"),
    ("File too large", "a private copy of it becomes larger than the system allows"),
    ("schema mismatch", "its files do not have the same columns"),
)
"""What the engine says, and what it means to the owner of the file."""


def _sentence(error: duckdb.Error, skipped: int) -> str:
    """Say what went wrong without the words of the engine, which speak of its own settings."""
    text = str(error)
    line = re.search(r"(?:on Line|in line|line):? (\d+)", text, re.I)
    place = f"line {int(line[1]) + skipped:,}" if line else ""
    widths = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", text)
    if widths:
        return (
            f"{place} has {widths[2]} values where the others have {widths[1]}: mend it, and put "
            "text that holds the delimiter in quotes"
        )
    for sign, meaning in _CAUSES:
        if sign.lower() in text.lower():
            return f"{place + ': ' if place else ''}{meaning}"
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__.removesuffix("Exception"))
    where = f" at {place}" if place else ""
    return f"it cannot be read{where} ({kind.lower()} error of the engine)"


# --- what engines do differently -----------------------------------------------------------------


def check_date_format(date_format: str) -> None:
    """Refuse what the embedded engine cannot parse times by.

    Raises
    ------
    ParameterError
        If the codes are not those of ``strptime``.
    """
    with _bare() as con:
        try:
            con.execute("SELECT try_strptime('', ?)", [date_format]).fetchall()
        except duckdb.Error:
            rule = "made of strptime codes, like '%d.%m.%Y %H:%M'"
            raise ParameterError("date_format", rule, date_format) from None


@ibis.udf.scalar.builtin(name="try_strptime")  # type: ignore[untyped-decorator]
def _parse_naive(text: dt.string, codes: dt.string) -> TIMESTAMP:  # type: ignore[valid-type]
    """Engine function: parse, or null."""


@ibis.udf.scalar.builtin(name="try_strptime")  # type: ignore[untyped-decorator]
def _parse_aware(text: dt.string, codes: dt.string) -> INSTANT:  # type: ignore[valid-type]
    """Engine function: parse a time with an offset, or null."""


@ibis.udf.scalar.builtin(name="timezone")  # type: ignore[untyped-decorator]
def _local(zone: dt.string, instant: INSTANT) -> TIMESTAMP:  # type: ignore[valid-type]
    """Engine function: the wall clock of a zone at an instant."""


@ibis.udf.scalar.builtin(name="make_timestamptz")  # type: ignore[untyped-decorator]
def _instant(micros: dt.int64) -> INSTANT:  # type: ignore[valid-type]
    """Engine function: an instant from microseconds since 1970."""


_OFFSET = r"\d{2}:\d{2}[\d:.,]*\s*([Zz]|UTC|GMT|[+-]\d{2}(:?\d{2})?)$"
"""A time of day followed by its distance from UTC."""


def wall_clock(instant: ir.TimestampValue, zone: str) -> ir.TimestampValue:
    """Return what the clocks of a zone show at an instant."""
    local: ir.TimestampValue = _local(zone, instant)
    return local


def instant(micros: ir.IntegerValue, zone: str) -> ir.TimestampValue:
    """Return what the clocks of a zone show so many microseconds after 1970 began in UTC."""
    return wall_clock(_instant(micros), zone)


def parse_timestamp(
    text: ir.StringValue, date_format: str | None = None, timezone: str | None = None
) -> ir.TimestampValue:
    """Read times from text, on the embedded engine; null where that fails.

    Parameters
    ----------
    text : Ibis text column
        Without surrounding blanks.
    date_format : str, optional
        Codes of ``strptime``; ISO 8601 by default.
    timezone : str, optional
        Zone whose wall clock is wanted; without it, times with an offset cannot be read.
    """
    if date_format is not None and re.search("%[zZ]", date_format):
        return _local(timezone, _parse_aware(text, date_format))
    if date_format is not None:
        return _parse_naive(text, date_format)
    aware = ibis.null(TIMESTAMP) if timezone is None else _local(timezone, text.try_cast(INSTANT))
    # a pattern costs more than all the rest, so it only sees what might end in an offset
    clock = text.substr(10)
    signed = clock.contains("+") | clock.contains("-")
    for name in ("Z", "z", "UTC", "GMT"):
        signed = signed | clock.endswith(name)
    offset = ibis.ifelse(signed, text.re_search(_OFFSET), False)
    # the engine passes over words behind a time, even over PM
    naive = ibis.ifelse(text.right(1).between("0", "9"), text.try_cast(TIMESTAMP), None)
    return ibis.ifelse(offset, aware, naive)


def cast_or_null(value: ir.Value, kind: dt.DataType) -> ir.Value:
    """Cast a value to int64, float64 or a decimal; null where it does not fit.

    Parameters
    ----------
    value : Ibis value
        A number, or text without surrounding blanks.
    kind : Ibis data type
        What is wanted.
    """
    if _embedded(value):
        return value.try_cast(kind)
    if isinstance(value, ir.StringValue):
        value = _number_of(value)
    if kind.is_floating() or (kind.is_integer() and value.type().is_integer()):
        return value.cast(kind)
    if kind.is_integer():
        most = _LARGEST if value.type().is_floating() else 10**18
        fits = (value.floor() == value) & (value.abs() <= most)
        return ibis.ifelse(fits, value, ibis.null(value.type())).cast(kind)
    # false for what is infinite, and for NaN, which others put last
    fits = value.abs() < 10 ** (kind.precision - kind.scale)
    value = ibis.ifelse(fits, value, ibis.null(value.type()))
    if not value.type().is_floating():
        return value.cast(kind)
    # halves away from zero of the float that is stored, as the embedded engine rounds it
    scale = 10**kind.scale
    steps = (value.abs() * float(scale) + 0.5).floor().cast("int64") * value.sign().cast("int64")
    return (steps.cast(dt.Decimal(kind.precision + kind.scale, kind.scale)) / scale).cast(kind)


_NUMBER = r"^[+-]?(\d{1,200}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?$"


def _number_of(text: ir.StringValue) -> ir.Value:
    plain = ibis.ifelse(text.re_search(_NUMBER), text, ibis.null("string"))
    return plain.cast(dt.Decimal())


def _embedded(value: ir.Value) -> bool:
    tables = value.op().find(_STORED)
    return all(is_embedded(table.source) for table in tables)


def refuse_unread(value: ir.Value, name: str, *, table: str, column: str) -> None:
    """Refuse text times on an engine that cannot read them.

    Raises
    ------
    DataError
        With the name of the engine.
    """
    if not _embedded(value):
        engine = value.get_backend().name
        raise DataError(
            f"{name} must have a type of time on {engine}, which cannot read times of the type "
            f"{value.type()} without failing at the first bad one: cast the column there",
            table=table,
            column=column,
        )
