"""The doors: files, databases and data frames become validated tables on an embedded engine."""

from __future__ import annotations

import glob
import os
import re
import tempfile
import zoneinfo
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from ibis.backends.duckdb import Backend

from crmml.data.cleaning import (
    EXACT,
    RAW,
    CleaningReport,
    Policies,
    clean,
    find_unreadable,
    first_values,
    refuse_unreadable,
)
from crmml.data.schema import CUSTOMERS, TRANSACTIONS, Kind, TableSchema
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, SourceError

Readable: TypeAlias = str | Path | pd.DataFrame | pa.Table | ir.Table
"""A path (Parquet file or folder, CSV, DuckDB file), a data frame, an Arrow or an Ibis table."""

MONEY = dt.Decimal(18, 2)
NUMBER = dt.Decimal(18, 4)
TIMESTAMP = dt.Timestamp(scale=6)
INSTANT = dt.Timestamp(scale=6, timezone="UTC")

_DEFAULTS = {"timezone": None, "date_format": None, "decimal": ".", "delimiter": None}
_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".csv.zst")
_DUCKDB = (".duckdb", ".ddb", ".db")


@dataclass(frozen=True, eq=False)
class Source:
    """Where a table lies and how to read it.

    Attributes
    ----------
    data : path, DataFrame, Arrow table or Ibis table
        A path may name a table of a DuckDB file: ``"shop.duckdb::sales"``.
    table : str, optional
        The table of a DuckDB file, where the path does not name it.
    columns : mapping, optional
        Name of the contract to name in the source. Columns that bear the name of the contract
        need no entry; None leaves a column out. For ``transactions``, ``unit_price`` (with
        ``quantity``) may stand in for ``amount``.
    delimiter : str, optional
        Of a CSV file; found out by default.
    header : bool
        Whether a CSV file begins with the names; without, they are ``column0``, ``column1``...
    encoding : str
        Of a CSV file: ``utf-8``, ``utf-16`` or ``latin-1``.
    date_format : str, optional
        Codes of ``strptime`` for times that are text or whole numbers; ISO 8601 by default.
    decimal : {".", ","}
        Decimal sign of amounts that are text. The other one may group thousands.
    timezone : str, optional
        The business's time zone (``"Europe/Berlin"``), needed where times carry a zone.
    """

    data: Readable
    table: str | None = None
    columns: Mapping[str, str | None] | None = None
    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    date_format: str | None = None
    decimal: str = "."
    timezone: str | None = None

    def __post_init__(self) -> None:
        if self.decimal not in (".", ","):
            raise ParameterError("decimal", "'.' or ','", self.decimal)
        if self.timezone is not None:
            try:
                zoneinfo.ZoneInfo(self.timezone)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                rule = "a time zone of the IANA list, like 'Europe/Berlin'"
                raise ParameterError("timezone", rule, self.timezone) from None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.data) if isinstance(self.data, (str, Path)) else type(self.data).__name__


@dataclass(frozen=True, eq=False)
class Tables:
    """Validated tables: what the features are computed from.

    Attributes
    ----------
    transactions : Ibis table
        Columns of :data:`crmml.data.schema.TRANSACTIONS`, cleaned; money is DECIMAL(18, 2),
        times are naive in the business's calendar.
    customers : Ibis table or None
        Columns of :data:`crmml.data.schema.CUSTOMERS` and further covariates, one row each; the
        id has the type that it has in ``transactions``.
    report : CleaningReport
        What the policies did.
    policies : Policies
        The decisions taken.
    first_timestamp, last_timestamp : Timestamp
        Earliest and latest transaction.
    currency : str or None
        The one currency, where the data name it.
    """

    transactions: ir.Table
    customers: ir.Table | None
    report: CleaningReport
    policies: Policies
    first_timestamp: pd.Timestamp
    last_timestamp: pd.Timestamp
    currency: str | None = None


def open_tables(
    transactions: Readable | Source,
    customers: Readable | Source | None = None,
    *,
    columns: Mapping[str, str | None] | None = None,
    policies: Policies | None = None,
    timezone: str | None = None,
    date_format: str | None = None,
    decimal: str = ".",
    delimiter: str | None = None,
) -> Tables:
    """Open, validate and clean the input tables in the engine.

    Parquet files, database tables and Ibis tables of DuckDB stay where they are and are read
    lazily, only the columns that are needed; what has to be parsed from text (CSV files) is read
    into typed columns once. Ids in CSV files are text, with their leading zeros.

    Parameters
    ----------
    transactions, customers : path, DataFrame, Arrow table, Ibis table or Source
        The tables; a :class:`Source` carries its own settings.
    columns : mapping, optional
        Of ``transactions``: name of the contract to name in the source.
    policies : Policies, optional
        What to do with rows that need a decision.
    timezone, date_format, decimal, delimiter
        How to read both tables; see :class:`Source`. Not beside a ``Source``.

    Returns
    -------
    Tables
        The validated tables and the report of the cleaning.

    Raises
    ------
    SourceError
        If a source cannot be opened.
    MissingColumnsError, DataError
        If columns are missing or rows break a rule.
    ParameterError
        If a setting is outside its legal range.

    Examples
    --------
    >>> lines = pd.DataFrame({"client": [7, 7], "day": ["2024-01-02", "2024-03-01"],
    ...                       "total": [10.0, -2.5]})
    >>> tables = open_tables(lines, columns={"customer_id": "client", "timestamp": "day",
    ...                                      "amount": "total"})
    >>> tables.report.rows("returns"), str(tables.last_timestamp)
    (1, '2024-03-01 00:00:00')
    """
    settings: dict[str, Any] = {
        "timezone": timezone,
        "date_format": date_format,
        "decimal": decimal,
        "delimiter": delimiter,
    }
    policies = policies or Policies()
    if not isinstance(transactions, Source):
        source = Source(transactions, columns=columns, **settings)
    elif columns is None and settings == _DEFAULTS:
        source = transactions
    else:
        given = [name for name in settings if settings[name] != _DEFAULTS[name]]
        rule = "given inside the Source, which carries its own settings"
        raise ParameterError("how to read", rule, given or ["columns"])
    con = _engine_of(source)
    _check_date_format(source, con)
    with _plain_errors(source):
        opened = _open(source, con, TRANSACTIONS)
        table, names, notes = _conform(opened, TRANSACTIONS, source)
        # parsing text, or ranking all rows, is paid once and not once per question
        if _parses_text(opened, names):
            table = _keep(_lighten(table), con)
        cleaned = clean(table, policies, names=names, notes=notes)
        lines = cleaned.table
        if policies.duplicates == "drop" and cleaned.report.rows("duplicates"):
            lines = _keep(lines, con)
    people = None
    if customers is not None:
        other = customers if isinstance(customers, Source) else Source(customers, **settings)
        _check_date_format(other, con)
        with _plain_errors(other):
            people = _read_customers(other, con, lines.customer_id.type())
    return Tables(
        lines, people, cleaned.report, policies, cleaned.first, cleaned.last, cleaned.currency
    )


# --- opening -----------------------------------------------------------------------------------


class _plain_errors:
    """Turn what the engine says about a source into a sentence for its owner."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, duckdb.Error):
            raise SourceError(self.source.name, _first_sentence(error)) from error


def _check_date_format(source: Source, con: Backend) -> None:
    if source.date_format is not None:
        try:
            con.con.execute("SELECT try_strptime('', ?)", [source.date_format]).fetchall()
        except duckdb.Error:
            rule = "made of strptime codes, like '%d.%m.%Y %H:%M'"
            raise ParameterError("date_format", rule, source.date_format) from None


def _first_sentence(error: duckdb.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "Error when sniffing file" in lines[0]:
        return "its lines do not split into the same columns; mind delimiter, quotes and encoding"
    told = [line for line in lines[:3] if not line.startswith("Original Line")]
    return " ".join(told).rstrip(".")


def _engine_of(source: Source) -> Backend:
    """Return the user's own DuckDB for an Ibis table on it, else a fresh one in memory."""
    if isinstance(source.data, ir.Table) and not _in_memory(source.data):
        backend = source.data.get_backend()
        if isinstance(backend, Backend):
            return backend
    return connect()


def connect() -> Backend:
    """Return a fresh embedded engine whose answers depend on no session setting."""
    spill = Path(tempfile.gettempdir()) / f"crmml-spill-{os.getpid()}"
    con = ibis.duckdb.connect(temp_directory=str(spill), preserve_insertion_order=False)
    con.raw_sql("SET TimeZone = 'UTC'")
    return con


def _in_memory(table: ir.Table) -> bool:
    return not any(True for _ in table.op().find(ibis.expr.operations.DatabaseTable))


def _path_and_table(source: Source) -> tuple[Path, str | None]:
    text, separator, table = str(source.data).partition("::")
    return Path(text).expanduser(), (table if separator else source.table)


def _is_csv(source: Source) -> bool:
    return isinstance(source.data, (str, Path)) and _path_and_table(source)[
        0
    ].name.lower().endswith(_CSV)


def open_raw(source: Source, schema: TableSchema = TRANSACTIONS) -> ir.Table:
    """Return a source as it is, its columns named and typed as it names and types them.

    Raises
    ------
    SourceError, DataError
        If it cannot be opened.
    """
    con = _engine_of(source)
    con.raw_sql("SET preserve_insertion_order = true")  # the first rows stay the first rows
    with _plain_errors(source):
        return _open(source, con, schema)


def _open(source: Source, con: Backend, schema: TableSchema) -> ir.Table:
    """Return the source as it is, unread, as a table of the engine."""
    data = source.data
    if isinstance(data, pd.DataFrame):
        return _from_frame(data, source, con, schema)
    if isinstance(data, pa.Table):
        return _from_arrow(data.select(_needed(data.column_names, source, schema)), con)
    if isinstance(data, ir.Table):
        if not _in_memory(data) and data.get_backend() is con:
            return data
        return _from_arrow(data.select(_needed(data.columns, source, schema)).to_pyarrow(), con)
    if not isinstance(data, (str, Path)):
        rule = "a path, a pandas DataFrame, an Arrow table or an Ibis table"
        raise ParameterError(schema.name, rule, type(data).__name__)
    path, table = _path_and_table(source)
    path = path.absolute()
    if not path.exists():
        raise SourceError(path, "there is no such file or folder")
    name = path.name.lower()
    literal = glob.escape(str(path))
    if path.is_dir():
        if not any(path.rglob("*.parquet")):
            raise SourceError(path, "the folder holds no .parquet file")
        return con.read_parquet(f"{literal}/**/*.parquet")
    if path.stat().st_size == 0:
        raise DataError("there must be at least one row; the file is empty", table=schema.name)
    if name.endswith(_PARQUET):
        return con.read_parquet(literal)
    if name.endswith(_CSV):
        options: dict[str, Any] = {"delim": source.delimiter} if source.delimiter else {}
        return con.read_csv(
            literal, all_varchar=True, header=source.header, encoding=source.encoding, **options
        )
    if name.endswith(_DUCKDB):
        return _from_duckdb(path, table, con)
    raise SourceError(path, f"its name must end in one of {_PARQUET + _CSV + _DUCKDB}")


def _from_frame(data: pd.DataFrame, source: Source, con: Backend, schema: TableSchema) -> ir.Table:
    if not data.columns.is_unique:
        raise DataError("column names must be unique", table=schema.name)
    frame = data.rename(columns=str)
    if frame.index.name and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    frame = frame[_needed(list(frame.columns), source, schema)]
    arrays = {}
    for name, values in frame.items():
        try:
            if isinstance(values.dtype, pd.DatetimeTZDtype):
                instants = pa.array(values.dt.tz_convert(None).to_numpy(), from_pandas=True)
                arrays[str(name)] = instants.cast(pa.timestamp(instants.type.unit, "UTC"))
            else:
                arrays[str(name)] = pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError) as error:
            rule = f"values must be of one type ({str(error).rstrip('.')})"
            raise DataError(rule, table=schema.name, column=str(name)) from None
    return _from_arrow(pa.table(arrays), con)


def _from_arrow(data: pa.Table, con: Backend) -> ir.Table:
    # a column without a single value has no type; it is as good as text
    fields = [
        field.with_type(pa.string()) if pa.types.is_null(field.type) else field
        for field in data.schema
    ]
    return _keep(ibis.memtable(data.cast(pa.schema(fields))), con)


def _from_duckdb(path: Path, table: str | None, con: Backend) -> ir.Table:
    # a file is attached once, however many of its tables are read
    known = con.con.execute(
        "SELECT database_name FROM duckdb_databases() WHERE path = ?", [str(path)]
    ).fetchall()
    catalog = known[0][0] if known else ibis.util.gen_name("source")
    if not known:
        con.attach(str(path), catalog, read_only=True)
    query = """
        SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1
        UNION ALL
        SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = $1 AND NOT internal
        ORDER BY ALL
    """
    names = con.con.execute(query, [catalog]).fetchall()
    wanted = table.split(".") if table else []
    found = [pair for pair in names if list(pair)[-len(wanted) :] == wanted] if wanted else names
    if len(found) != 1:
        asked = f"no single table {table!r}" if table else "a table must be named"
        held = ", ".join(
            name if database == "main" else f"{database}.{name}" for database, name in names
        )
        raise SourceError(path, f"{asked} (write file::table); it holds {held or 'no table'}")
    database, name = found[0]
    return con.table(name, database=(catalog, database))


def _keep(table: ir.Table, con: Backend) -> ir.Table:
    return con.create_table(ibis.util.gen_name("crmml"), table, temp=True)


@contextmanager
def kept(table: ir.Table) -> Iterator[ir.Table]:
    """Compute a table once, for several questions, and drop it afterwards.

    Parameters
    ----------
    table : Ibis table
        On any engine with tables of a session's own.

    Yields
    ------
    Ibis table
        The same rows, stored in the engine.
    """
    con = table.get_backend()
    stored = _keep(table, con)
    try:
        yield stored
    finally:
        con.raw_sql(f'DROP TABLE "{stored.op().name}"')


# --- conforming to the contract ----------------------------------------------------------------


def _chosen(
    present: list[str] | tuple[str, ...], source: Source, schema: TableSchema
) -> dict[str, str]:
    """Return name of the contract -> name in the source, refusing what does not fit.

    ``unit_price`` takes the place of ``amount`` where it is mapped and ``amount`` is not.
    """
    mapping = dict(source.columns or {})
    known = [*schema.names, *(["unit_price"] if schema is TRANSACTIONS else [])]
    if not schema.open_ended and (unknown := [name for name in mapping if name not in known]):
        raise ParameterError("columns", f"keyed by names of the contract {known}", unknown)
    chosen = {name: name for name in known if name in present and name not in mapping}
    chosen |= {name: column for name, column in mapping.items() if column is not None}
    if "amount" in chosen:
        chosen.pop("unit_price", None)
    absent = [column for column in chosen.values() if column not in present]
    needed = set(schema.required)
    if "unit_price" in chosen:
        needed = (needed - {"amount"}) | {"quantity"}
    absent += [name for name in known if name in needed and name not in chosen]
    if absent:
        raise MissingColumnsError(absent, present, table=schema.name)
    if schema.open_ended:
        used = set(chosen.values())
        chosen |= {name: name for name in present if name not in used and name not in mapping}
    return chosen


def _needed(present: list[str] | tuple[str, ...], source: Source, schema: TableSchema) -> list[str]:
    return list(dict.fromkeys(_chosen(present, source, schema).values()))


def _conform(
    table: ir.Table, schema: TableSchema, source: Source
) -> tuple[ir.Table, dict[str, str], list[str]]:
    """Give the columns their names and types; beside them stands what could not be read."""
    names = _chosen(table.columns, source, schema)
    table = table.select(**{name: table[column] for name, column in names.items()})
    notes: list[str] = []
    typed: dict[str, ir.Value] = {}
    raw: dict[str, ir.Value] = {}
    for name in names:
        kind = schema.kind(name)
        if name == "unit_price":
            continue
        typed[name] = (
            table[name] if kind is None else _read(table, name, kind, schema, source, names[name])
        )
        if kind is not None and _can_fail(table[name].type(), kind):
            raw[RAW + name] = _present(table[name])
    if "unit_price" in names:
        exact = _as_float(table, "unit_price", source) * _as_float(table, "quantity", source)
        typed["amount"] = exact.try_cast(MONEY)
        raw[EXACT] = exact
        raw[RAW + "amount"] = _present(table["unit_price"])
        names = {"amount": names["unit_price"], **names}
        notes.append("amounts are unit price times quantity, rounded once per line")
    elif "amount" in names and _can_round(table.amount.type()):
        raw[EXACT] = _as_float(table, "amount", source)

    at = table["timestamp"] if "timestamp" in names else None
    if isinstance(at, ir.TimestampValue) and at.type().timezone is not None:
        notes.append(f"times were put on the clock of {source.timezone}")
    order = [name for name in schema.names if name in typed]
    order += [name for name in typed if name not in order]
    return table.select(**{name: typed[name] for name in order}, **raw), names, notes


def _parses_text(table: ir.Table, names: Mapping[str, str]) -> bool:
    return any(
        table[column].type().is_string() and TRANSACTIONS.kind(name) not in ("id", "text")
        for name, column in names.items()
    )


def _lighten(table: ir.Table) -> ir.Table:
    """Carry source values along only where they say more than what was read from them."""
    lighter: dict[str, ir.Value] = {}
    for name in table.columns:
        if name.startswith(RAW):
            read = table[name[len(RAW) :]]
            lighter[name] = ibis.ifelse(read.isnull(), table[name], ibis.null())
        elif name == EXACT:
            exact = table[name]
            lighter[name] = exact.nullif(table.amount.cast("float64"))
    return table.mutate(**lighter)


@ibis.udf.scalar.builtin(name="try_strptime")  # type: ignore[untyped-decorator]
def _parse_naive(text: dt.string, codes: dt.string) -> TIMESTAMP:  # type: ignore[valid-type]
    """Engine function: parse, or null."""


@ibis.udf.scalar.builtin(name="try_strptime")  # type: ignore[untyped-decorator]
def _parse_aware(text: dt.string, codes: dt.string) -> INSTANT:  # type: ignore[valid-type]
    """Engine function: parse a time with an offset, or null."""


@ibis.udf.scalar.builtin(name="timezone")  # type: ignore[untyped-decorator]
def _local(zone: dt.string, instant: INSTANT) -> TIMESTAMP:  # type: ignore[valid-type]
    """Engine function: the wall clock of a zone at an instant."""


_OFFSET = r"\d{2}:\d{2}[\d:.,]*\s*([Zz]|[+-]\d{2}(:?\d{2})?)$"
"""A time of day followed by its distance from UTC."""

_YES = ("true", "t", "yes", "y", "1", "ja", "j", "oui", "si", "بله")
_NO = ("false", "f", "no", "n", "0", "nein", "non", "خیر")


def _read(
    table: ir.Table, name: str, kind: Kind, schema: TableSchema, source: Source, column: str
) -> ir.Value:
    """Return a column in the type of its kind; what cannot be read is null."""
    value = table[name]
    read: ir.Value | None = None
    if kind == "id":
        read = _read_id(value)
    elif kind == "timestamp":
        read = _read_timestamp(value, schema, source, column)
    elif kind in ("money", "number") and not isinstance(value, ir.BooleanValue):
        read = _read_number(value, source).try_cast(MONEY if kind == "money" else NUMBER)
    elif kind == "flag":
        read = _read_flag(value)
    elif kind == "text":
        read = _present(value).cast("string")
    if read is None:
        raise DataError(
            f"{name} cannot be read from the type {value.type()}", table=schema.name, column=column
        )
    return read


def _present(value: ir.Value) -> ir.Value:
    """Return null for blank text and NaN, which are ways to say that there is no value."""
    if isinstance(value, ir.StringValue):
        return ibis.ifelse(value.strip() == "", ibis.null(value.type()), value)
    if isinstance(value, ir.FloatingValue):
        return ibis.ifelse(value.isnan(), ibis.null(value.type()), value)
    return value


def _read_id(value: ir.Value) -> ir.Value | None:
    if isinstance(value, ir.IntegerValue):
        return value.try_cast("int64") if value.type() == dt.uint64 else value.cast("int64")
    if isinstance(value, ir.StringValue):
        return _present(value)
    if isinstance(value, (ir.FloatingValue, ir.DecimalValue)):
        # whole numbers became floats on their way through a table with gaps
        return ibis.ifelse(value == value.floor(), value.try_cast("int64"), ibis.null("int64"))
    if isinstance(value, ir.UUIDValue):
        return value.cast("string")
    return None


def _read_timestamp(
    value: ir.Value, schema: TableSchema, source: Source, column: str
) -> ir.Value | None:
    zone, codes = source.timezone, source.date_format
    if isinstance(value, ir.TimestampValue) and value.type().timezone is not None:
        if zone is None:
            raise DataError(
                f"times with a time zone ({value.type().timezone}) need the business's own: give "
                "timezone, like 'Europe/Berlin'",
                table=schema.name,
                column=column,
            )
        return _local(zone, value)
    if isinstance(value, (ir.TimestampValue, ir.DateValue)):
        return value.cast(TIMESTAMP)
    if isinstance(value, ir.IntegerValue) and codes is None:
        raise DataError(
            f"times of the type {value.type()} need a date_format, like '%Y%m%d'",
            table=schema.name,
            column=column,
        )
    if not isinstance(value, (ir.StringValue, ir.IntegerValue)):
        return None
    if codes is not None and re.search("%[zZ]", codes) and zone is None:
        rule = "given where the date_format reads offsets"
        raise ParameterError("timezone", rule, "no timezone")
    return parse_timestamp(value.cast("string").strip(), codes, zone)


def parse_timestamp(
    text: ir.StringValue, date_format: str | None = None, timezone: str | None = None
) -> ir.TimestampValue:
    """Read times from text; null where that fails.

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
    signed = clock.contains("+") | clock.contains("-") | clock.upper().endswith("Z")
    offset = ibis.ifelse(signed, text.re_search(_OFFSET), False)
    return ibis.ifelse(offset, aware, text.try_cast(TIMESTAMP))


def parse_number(text: ir.StringValue, decimal: str = ".") -> ir.FloatingValue:
    """Read numbers from text; null where that fails.

    Parameters
    ----------
    text : Ibis text column
        Without surrounding blanks.
    decimal : {".", ","}
        Decimal sign; the other one may group thousands, and only thousands.
    """
    return _pointed(text, decimal).try_cast("float64")


def _pointed(text: ir.StringValue, decimal: str) -> ir.StringValue:
    """Write numbers with a decimal point and without groups; null where they are not numbers."""
    grouper = "," if decimal == "." else "."
    # a grouper counts only where it groups by thousands, so that 1,50 never becomes 150
    grouped = rf"^[+-]?\d{{1,3}}({re.escape(grouper)}\d{{3}})+({re.escape(decimal)}\d*)?$"
    plain = ibis.ifelse(text.re_search(grouped), text.replace(grouper, ""), ibis.null("string"))
    plain = ibis.ifelse(text.contains(grouper), plain, text)
    return plain if decimal == "." else plain.replace(",", ".")


def _read_number(value: ir.Value, source: Source) -> ir.Value:
    """Return something that casts to a decimal: numbers as they are, text with a plain point."""
    return _pointed(value.strip(), source.decimal) if isinstance(value, ir.StringValue) else value


def _as_float(table: ir.Table, name: str, source: Source) -> ir.Value:
    return _read_number(_present(table[name]), source).try_cast("float64")


def _read_flag(value: ir.Value) -> ir.Value | None:
    if isinstance(value, ir.BooleanValue):
        return value
    if isinstance(value, ir.NumericValue):
        return value != 0
    if isinstance(value, ir.StringValue):
        word = value.strip().lower()
        return ibis.cases((word.isin(_YES), True), (word.isin(_NO), False))
    return None


def _can_fail(found: dt.DataType, kind: Kind) -> bool:
    """Whether reading a source type as a kind can leave values unread."""
    if kind == "text":
        return False
    if found.is_string():
        return kind != "id"
    return bool(
        {
            "id": found.is_floating() or found.is_decimal() or found == dt.uint64,
            "timestamp": found.is_integer(),
            "money": found.is_numeric(),
            "number": found.is_numeric(),
            "flag": False,
        }[kind]
    )


def _can_round(found: dt.DataType) -> bool:
    if found.is_decimal():
        return found.scale is None or bool(found.scale > 2)
    return not bool(found.is_integer())


# --- customers ---------------------------------------------------------------------------------


def _read_customers(source: Source, con: Backend, id_type: dt.DataType) -> ir.Table:
    table, names, _ = _conform(_open(source, con, CUSTOMERS), CUSTOMERS, source)
    if table.customer_id.type() != id_type:
        # the same ids, read as text on one side and as numbers on the other
        table = table.mutate(
            **{RAW + "customer_id": table.customer_id},
            customer_id=table.customer_id.try_cast(id_type),
        )
    key = table.customer_id
    unreadable = find_unreadable(table)
    facts = (
        table.aggregate(
            n_rows=table.count(),
            n_missing=key.isnull().sum(),
            n_distinct=key.nunique(),
            **{name: mask.sum() for name, mask in unreadable.items()},
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    column = names["customer_id"]
    if facts["n_rows"] == 0:
        raise DataError("there must be at least one row; the table is empty", table="customers")
    refuse_unreadable(table, facts, unreadable, "customers", names)
    if facts["n_missing"]:
        raise DataError(
            "customer_id must not be missing",
            table="customers",
            column=column,
            n_rows=facts["n_missing"],
        )
    if facts["n_distinct"] < facts["n_rows"]:
        counts = table.group_by("customer_id").agg(n=table.count())
        repeated = counts.filter(counts.n > 1)
        raise DataError(
            "customer_id must be unique",
            table="customers",
            column=column,
            n_rows=int(repeated.n.sum().execute()),
            examples=first_values(repeated, "customer_id"),
        )
    people = table.select([name for name in table.columns if not name.startswith("__")])
    return _keep(people, con) if _is_csv(source) else people
