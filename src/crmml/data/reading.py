"""Reading: a file, a database table or a data frame becomes the columns of a contract, typed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from ibis.backends import BaseBackend

from crmml.atomic import private_folder
from crmml.data import databases, engine, files
from crmml.data.amounts import currency_of, pointed
from crmml.data.cleaning import EXACT, KEPT, RAW
from crmml.data.money import READ_ONLY, compute_amount, describe, is_made
from crmml.data.schema import LABELLED, LEFT, STAYED, TRANSACTIONS, Kind, TableSchema
from crmml.data.settings import ReadSettings
from crmml.data.times import check_form, read_clock, read_times
from crmml.exceptions import (
    DataError,
    MissingColumnsError,
    ParameterError,
    SourceError,
)

Readable: TypeAlias = str | Path | pd.DataFrame | pa.Table | ir.Table
"""A path (Parquet file or folder, CSV, DuckDB file), a data frame, an Arrow or an Ibis table."""

NUMBERED = "no column names customers: the rows are numbered from 1, as they stand in the file"
"""The note of a labelled table without ids."""

CLOCK = "time_of_day"
"""Name that a mapping may use for a column that holds the clock of the times of its table."""
MONEY = dt.Decimal(16, 2)
"""Below 1e14: a hundred times as much still has 18 digits, so that cents never overflow."""
NUMBER = dt.Decimal(18, 4)


@dataclass(frozen=True, eq=False)
class Source(ReadSettings):
    """Where a table lies and how to read it.

    Attributes
    ----------
    data : path, DataFrame, Arrow table or Ibis table
        A path may name a table of a DuckDB file: ``"shop.duckdb::sales"``.
    table, columns, delimiter, header, encoding, skip_above, skip_below, widths, date_format, \
    decimal, currency_signs, rates, timezone
        How to read it; see :class:`crmml.data.settings.ReadSettings`.

    Examples
    --------
    >>> Source("shop.duckdb::sales", columns={"customer_id": "client"}).name
    'shop.duckdb::sales'
    """

    data: Readable

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return str(self.data) if isinstance(self.data, (str, Path)) else type(self.data).__name__

    @property
    def place(self) -> tuple[Path, str | None]:
        """Of a path: the file and the table inside."""
        text, separator, table = str(self.data).partition("::")
        return Path(text).expanduser(), (table if separator else self.table)


# --- opening -------------------------------------------------------------------------------------


def open_raw(source: Source, schema: TableSchema = TRANSACTIONS) -> ir.Table:
    """Return a source as it is, its columns named and typed as it names and types them.

    Raises
    ------
    SourceError, DataError
        If it cannot be opened.
    """
    own = engine.engine_of(source.data) if isinstance(source.data, ir.Table) else None
    con = own or engine.connect()
    if own is None:
        engine.keep_row_order(con)
    with (
        tempfile.TemporaryDirectory(dir=private_folder()) as folder,
        engine.plain_errors(source.name, source.skip_above),
    ):
        if isinstance(source.data, pd.DataFrame):
            return engine.store(_from_frame(source.data, None, schema), con)
        opened = _open(source, con, schema, Path(folder))
        return engine.stage(opened.table, con) if opened.is_text else opened.table


def find_form(path: Path, table: str) -> tuple[Source, files.Form]:
    """Find how a file is to be read.

    Parameters
    ----------
    path : Path
        The file or folder; ``file::part`` names a sheet, a table or a member of an archive.
    table : str
        What to call the table in messages.

    Raises
    ------
    SourceError, DataError
        If it cannot be opened.
    """
    file, part = Source(path).place
    if not file.is_file():
        return Source(path), files.Form("parquet")
    if file.stat().st_size == 0:
        raise DataError("there must be at least one row; the file is empty", table=table)
    kind = files.kind_of(file, part)
    if kind == "text":
        form = files.find_text_form(file, table, part)
    elif kind == "workbook":
        form = databases.find_sheet(file, part)
    else:
        form = files.Form(kind, part)
    return Source(file, **form.settings()), form


class _Opened(NamedTuple):
    """A source as it is.

    Attributes
    ----------
    table : Ibis table
        Its columns as it names and types them.
    is_text : bool
        Whether all is read from text, anew with each question.
    notes : tuple of str
        What was found out on the way, a sentence each.
    """

    table: ir.Table
    is_text: bool = False
    notes: tuple[str, ...] = ()


def read_alike(data: Readable | Source, settings: Mapping[str, Any], table: str) -> Any:
    """Return a file or frame as a source that is read as another one was.

    The form of a file (delimiter, encoding, lines above and below) is its own and is found again;
    columns, dates, amounts and rows to keep are those of the other one.

    Parameters
    ----------
    data : path, DataFrame, Arrow table, Ibis table or Source
        A Source, or an Ibis table, says itself how it is read and comes back as it is.
    settings : mapping
        From :meth:`crmml.data.settings.ReadSettings.written`.
    table : str
        What to call the table in messages.
    """
    if not settings or isinstance(data, (Source, ir.Table)):
        return data
    own = {name: value for name, value in settings.items() if name not in _FORM}
    if not isinstance(data, (str, Path)):
        return Source(data, **own)
    source, _ = find_form(Path(data), table)
    if source.table is None and "table" in settings and "::" not in str(data):
        own["table"] = settings["table"]
    return replace(source, **own)


_FORM = ("table", "delimiter", "header", "encoding", "skip_above", "skip_below", "widths")
"""Settings that belong to one file, not to its kind."""


def _open(source: Source, con: BaseBackend, schema: TableSchema, folder: Path) -> _Opened:
    """Return the source as it is, unread, as a table of the engine."""
    data = source.data
    if isinstance(data, pd.DataFrame):
        return _Opened(engine.store(_from_frame(data, source, schema), con))
    if isinstance(data, pa.Table):
        needed = _needed(data.column_names, source, schema)
        return _Opened(engine.store(data.select(needed), con))
    if isinstance(data, ir.Table):
        if engine.engine_of(data) is con:
            return _Opened(data)
        needed = data.select(_needed(data.columns, source, schema))
        return _Opened(engine.store(needed.to_pyarrow(), con))
    if not isinstance(data, (str, Path)):
        rule = "a path, a pandas DataFrame, an Arrow table or an Ibis table"
        raise ParameterError(schema.name, rule, type(data).__name__)
    path, table = source.place
    path = path.absolute()
    if not path.exists():
        raise SourceError(path, "there is no such file or folder")
    if path.is_dir():
        if not any(path.rglob("*.parquet")):
            raise SourceError(path, "the folder holds no .parquet file")
        return _Opened(engine.read_parquet(con, path))
    if path.stat().st_size == 0:
        raise DataError("there must be at least one row; the file is empty", table=schema.name)
    kind = files.kind_of(path, table)
    if table is not None and kind in ("parquet", "json", "text") and not files.is_packed(path):
        raise SourceError(path, f"it is one table, and holds none that could be called {table!r}")
    if kind == "parquet":
        return _Opened(engine.read_parquet(con, path))
    if kind == "duckdb":
        return _Opened(engine.read_database(con, path, table))
    if kind == "sqlite":
        return _Opened(engine.store(databases.read_sqlite(path, table), con))
    if kind == "workbook":
        skips = (source.skip_above, source.skip_below)
        return _Opened(engine.store(databases.read_workbook(path, table, *skips), con))
    if kind == "json":
        return _Opened(engine.read_json(con, _plain(path, table, source, folder)), True)
    return _open_text(path, table, source, con, schema, folder)


def _plain(path: Path, member: str | None, source: ReadSettings, folder: Path) -> Path:
    """Return a file that the engine can read: the file itself, or a private plain copy."""
    if not files.must_be_copied(path, source):
        return path
    target = folder / "plain.txt"
    files.copy_plain(path, member, source, target)
    return target


def _open_text(
    path: Path,
    member: str | None,
    source: Source,
    con: BaseBackend,
    schema: TableSchema,
    folder: Path,
) -> _Opened:
    notes: tuple[str, ...] = ()
    if source.delimiter is None and not source.widths:
        form = files.find_text_form(path, schema.name, member)
        found = form.settings() | ({} if source.header else {"header": False})
        # what was said counts before what was found
        found |= {n: said for n in ("skip_above", "skip_below") if (said := getattr(source, n))}
        source, notes = replace(source, **found), form.doubts
    plain = _plain(path, member, source, folder)
    head = files.read_head(plain, source, schema.name, path)
    if source.widths:
        line = engine.read_lines(con, plain)
        ends = [*source.widths[1:], None]
        cells = {
            name: (line.substr(a) if b is None else line.substr(a, b - a)).strip().nullif("")
            for name, a, b in zip(head.names, source.widths, ends, strict=True)
        }
        table = line.as_table().select(**cells)
        return _Opened(table.filter(~_is_header(table, head.names)) if source.header else table,
                       True, notes)  # fmt: skip
    table = engine.read_csv(
        con,
        plain,
        delimiter=source.delimiter or ",",
        names=head.names,
        header=source.header,
        quote=head.quote,
        escape=head.escape,
    )
    return _Opened(table, True, notes)


def _is_header(table: ir.Table, names: tuple[str, ...]) -> ir.BooleanValue:
    return reduce(and_, (table[name].fill_null("") == name for name in names))


def _from_frame(data: pd.DataFrame, source: Source | None, schema: TableSchema) -> pa.Table:
    if not data.columns.is_unique:
        raise DataError("column names must be unique", table=schema.name)
    frame = data.rename(columns=str)
    if frame.index.name and frame.index.name not in frame.columns:
        frame = frame.reset_index()
    if source is not None:
        frame = frame[_needed(list(frame.columns), source, schema)]
    arrays = {}
    for name, values in frame.items():
        if mixed := _mixture(values):
            rule = f"values must be of one type ({mixed})"
            raise DataError(rule, table=schema.name, column=str(name))
        try:
            if isinstance(values.dtype, pd.DatetimeTZDtype):
                instants = pa.array(values.dt.tz_convert(None).to_numpy(), from_pandas=True)
                arrays[str(name)] = instants.cast(pa.timestamp(instants.type.unit, "UTC"))
            else:
                arrays[str(name)] = pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError) as error:
            rule = f"values must be of one type ({str(error).rstrip('.')})"
            raise DataError(rule, table=schema.name, column=str(name)) from None
    return pa.table(arrays)


def _mixture(values: pd.Series[Any]) -> str | None:
    """Say what a column of Python objects mixes that would be read as something else."""
    if values.dtype != object:
        return None
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind.startswith("mixed") and any(map(pd.api.types.is_bool, values)):
        return "True and False among others"
    if kind == "datetime" and len({one.tzinfo is None for one in values.dropna()}) > 1:
        return "times with and without a time zone"
    return None


# --- conforming to the contract ------------------------------------------------------------------


class Conformed(NamedTuple):
    """A table in the names and types of its contract, not yet checked.

    Attributes
    ----------
    table : Ibis table
        Columns of the contract; beside them, where reading can fail, the unread values under the
        prefix ``__raw_``, and ``__exact_amount`` (float64) where amounts may have to be rounded.
    names : dict
        Name of the contract to name in the source, for the messages.
    notes : tuple of str
        What was done while reading, a sentence each.
    """

    table: ir.Table
    names: dict[str, str]
    notes: tuple[str, ...]


def read_table(source: Source, schema: TableSchema, con: BaseBackend) -> Conformed:
    """Open a source and give its columns the names and types of the contract.

    What has to be parsed from text is read once and kept in the engine. An engine other than the
    embedded one gets the rows of files and frames after the embedded one has read them.

    Raises
    ------
    SourceError, MissingColumnsError, DataError
        If the source cannot be opened, or lacks columns, or has columns of unfit types.
    """
    if source.date_format is not None:
        check_form(source.date_format)
    at_home = isinstance(source.data, ir.Table) and engine.engine_of(source.data) is con
    reader = con if at_home or engine.is_embedded(con) else engine.connect()
    with (
        tempfile.TemporaryDirectory(dir=private_folder()) as folder,
        engine.plain_errors(source.name, source.skip_above),
    ):
        opened = _open(source, reader, schema, Path(folder))
        table, names, notes = _conform(opened.table, schema, source)
        if reader is not con:
            table = engine.store(_lighten(table).to_pyarrow(), con)
        elif opened.is_text or _parses_text(opened.table, names, schema):
            table = engine.store(_lighten(table), con)
    return Conformed(table, names, (*opened.notes, *notes))


def _chosen(
    present: list[str] | tuple[str, ...], source: Source, schema: TableSchema
) -> dict[str, str]:
    """Return name of the contract -> name in the source, refusing what does not fit.

    ``unit_price`` takes the place of ``amount`` where it is mapped and ``amount`` is not.
    """
    mapping = dict(source.columns or {})
    log = schema is TRANSACTIONS
    known = [*schema.names, *(READ_ONLY if log else ()), *([CLOCK] if schema.time else [])]
    if not schema.open_ended and (unknown := [name for name in mapping if name not in known]):
        raise ParameterError("columns", f"keyed by names of the contract {known}", unknown)
    by_itself = [*schema.names, *(["unit_price"] if log else [])]
    chosen = {name: name for name in by_itself if name in present and name not in mapping}
    chosen |= {name: column for name, column in mapping.items() if column is not None}
    if "amount" in chosen:
        chosen.pop("unit_price", None)
    absent = [column for column in chosen.values() if column not in present]
    needed = set(schema.required)
    if "unit_price" in chosen:
        needed = (needed - {"amount"}) | {"quantity"}
    if schema.name == LABELLED.name and mapping.get("customer_id") is None:
        needed -= {"customer_id"}
    if source.without_amounts and log:
        needed -= {"amount", "quantity"}
        chosen = {n: c for n, c in chosen.items() if n != "amount" and n not in READ_ONLY}
    left_open = [name for name in needed if name not in chosen]
    if left_open and not absent and mapping and set(left_open) <= set(schema.required):
        raise MissingColumnsError(
            sorted(left_open, key=known.index), present, table=schema.name, open_choice=True
        )
    absent += [name for name in known if name in needed and name not in chosen]
    absent += [column for column in source.keep or {} if column not in present]
    if absent:
        raise MissingColumnsError(absent, present, table=schema.name)
    if schema.open_ended:
        used = set(chosen.values())
        chosen |= {name: name for name in present if name not in used and name not in mapping}
    return chosen


def _needed(present: list[str] | tuple[str, ...], source: Source, schema: TableSchema) -> list[str]:
    chosen = _chosen(present, source, schema).values()
    return list(dict.fromkeys([*chosen, *(source.keep or {})]))


def _conform(
    table: ir.Table, schema: TableSchema, source: Source
) -> tuple[ir.Table, dict[str, str], list[str]]:
    """Give the columns their names and types; beside them stands what could not be read."""
    names = _chosen(table.columns, source, schema)
    flags = {KEPT: _kept(table, source.keep)} if source.keep else {}
    table = table.select(**{name: table[column] for name, column in names.items()}, **flags)
    notes: list[str] = []
    typed: dict[str, ir.Value] = {}
    raw: dict[str, ir.Value] = {}
    for name in names:
        kind = schema.kind(name)
        if name == CLOCK or (schema is TRANSACTIONS and name in READ_ONLY):
            continue
        typed[name] = (
            table[name] if kind is None else _read(table, name, kind, schema, source, names[name])
        )
        if kind is not None and _can_fail(table[name].type(), kind):
            raw[RAW + name] = _present(table[name])
    if CLOCK in names and schema.time in typed:
        day = schema.time
        clock = _present(table[CLOCK].cast("string"))
        since = ibis.ifelse(clock.isnull(), 0, read_clock(clock))
        typed[day] = typed[day] + since.as_interval("s")
        written = _present(table[day].cast("string"))
        raw[RAW + day] = ibis.ifelse(clock.isnull(), written, written + " " + clock)
    if schema is TRANSACTIONS and is_made(names):
        exact = compute_amount(
            names,
            lambda name: _as_float(table, name, source),
            lambda name: _present(table[name]).notnull(),
        )
        typed["amount"] = engine.cast_or_null(exact, MONEY)
        raw[EXACT] = exact
        first = "unit_price" if "unit_price" in names else "amount"
        raw[RAW + "amount"] = _present(table[first])
        names = {"amount": names[first], **names}
        notes.append(f"{describe(names)}, rounded once per line")
    elif "amount" in names and _can_round(table.amount.type()):
        raw[EXACT] = _as_float(table, "amount", source)
    if schema is TRANSACTIONS:
        notes += _settle_currency(table, typed, raw, source)
    if any(
        isinstance(at := table[name], ir.TimestampValue) and at.type().timezone is not None
        for name in names
        if name in table.columns and schema.kind(name) == "timestamp"
    ):
        notes.append(f"times were put on the clock of {source.timezone}")
    order = [name for name in schema.names if name in typed]
    order += [name for name in typed if name not in order]
    kept = {name: table[name] for name in flags}
    read = table.select(**{name: typed[name] for name in order}, **raw, **kept)
    if source.without_amounts and schema is TRANSACTIONS:
        read = _count_purchases(read, order, source.amount_per_purchase or 1.0)
        notes.append("there are no amounts: a day on which a customer has a row is one purchase")
    if schema.name == LABELLED.name and "customer_id" not in order:
        numbered = (ibis.row_number() + 1).cast("int64")
        read = read.select(customer_id=numbered, **{name: read[name] for name in read.columns})
        notes.append(NUMBERED)
    return read, names, notes


def _settle_currency(
    table: ir.Table, typed: dict[str, ir.Value], raw: dict[str, ir.Value], source: Source
) -> list[str]:
    """Take the currency of a row from its amount, and convert amounts by the rates.

    An amount whose currency has no rate cannot be read.
    """
    in_cells = "amount" in table.columns and isinstance(table.amount, ir.StringValue)
    if "currency" not in typed and in_cells and len(source.currency_signs) > 1:
        typed["currency"] = currency_of(table.amount.strip(), source.currency_signs)
    if not source.rates:
        return []
    if "currency" not in typed:
        rule = "given only where a column or the cells of the amounts name the currency"
        raise ParameterError("rates", rule, dict(source.rates))
    code = typed["currency"].cast("string").strip().upper()
    pairs = [(code == name.upper(), ibis.literal(float(r))) for name, r in source.rates.items()]
    rate = ibis.cases(*pairs, else_=ibis.null("float64"))
    for name in [name for name in typed if TRANSACTIONS.kind(name) == "money"]:
        typed[name] = engine.cast_or_null(typed[name].cast("float64") * rate, MONEY)
    if EXACT in raw:
        raw[EXACT] = raw[EXACT] * rate
    wanted = next(name for name, r in source.rates.items() if r == 1)
    typed["currency"] = ibis.ifelse(rate.isnull(), code, wanted.upper())
    others = ", ".join(f"{name} by {r:g}" for name, r in source.rates.items() if r != 1)
    return [f"amounts were converted to {wanted} ({others})"]


def _count_purchases(lines: ir.Table, columns: list[str], worth: float) -> ir.Table:
    """Give the first row of a customer on a day the worth of a purchase, the others nothing."""
    day = lines.timestamp.cast("date")
    first = ibis.row_number().over(
        ibis.window(group_by=[lines.customer_id, day], order_by=[lines[name] for name in columns])
    )
    amount = ibis.ifelse(first == 0, ibis.literal(worth), ibis.literal(0.0)).cast(MONEY)
    others = [name for name in lines.columns if name not in ("customer_id", "timestamp")]
    return lines.select("customer_id", "timestamp", amount=amount, **{n: lines[n] for n in others})


def _kept(table: ir.Table, keep: Mapping[str, Sequence[str | int | bool]]) -> ir.BooleanValue:
    """Say which rows hold one of the values that are kept, in each of the columns named."""
    return reduce(
        and_,
        (
            table[column].cast("string").strip().fill_null("").isin([str(v) for v in values])
            for column, values in keep.items()
        ),
    )


def _parses_text(table: ir.Table, names: Mapping[str, str], schema: TableSchema) -> bool:
    return any(
        table[column].type().is_string() and schema.kind(name) not in ("id", "text", None)
        for name, column in names.items()
        if column in table.columns
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


_LAST_BLANK = 32
"""Code of the space; the other characters that are stripped come before it."""
_YES = ("true", "t", "yes", "y", "1", "1.0", "ja", "j", "oui", "si", "بله")
_NO = ("false", "f", "no", "n", "0", "0.0", "nein", "non", "خیر")


def _read(
    table: ir.Table, name: str, kind: Kind, schema: TableSchema, source: Source, column: str
) -> ir.Value:
    """Return a column in the type of its kind; what cannot be read is null."""
    value = table[name]
    read: ir.Value | None = None
    if kind == "id":
        read = _read_id(value)
    elif kind == "timestamp":
        read = _read_timestamp(value, name, schema, source, column)
    elif kind in ("money", "number") and not isinstance(value, ir.BooleanValue):
        read = engine.cast_or_null(
            _read_number(value, source), MONEY if kind == "money" else NUMBER
        )
    elif kind == "flag":
        read = _read_flag(value, schema)
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
        # A look at the first character spares nearly every text the stripping, which is dear.
        blank = (value.ascii_str() <= _LAST_BLANK) & (value.strip() == "")
        return ibis.ifelse(blank, ibis.null(value.type()), value)
    if isinstance(value, ir.FloatingValue):
        return ibis.ifelse(value.isnan(), ibis.null(value.type()), value)
    return value


def _read_id(value: ir.Value) -> ir.Value | None:
    if isinstance(value, ir.IntegerValue):
        return engine.cast_or_null(value, dt.int64)
    if isinstance(value, ir.StringValue):
        return _present(value)
    if isinstance(value, (ir.FloatingValue, ir.DecimalValue)):
        # whole numbers became floats on their way through a table with gaps
        whole = value == value.floor()
        return ibis.ifelse(whole, engine.cast_or_null(value, dt.int64), ibis.null("int64"))
    if isinstance(value, ir.UUIDValue):
        return value.cast("string")
    return None


def _read_timestamp(
    value: ir.Value, name: str, schema: TableSchema, source: Source, column: str
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
        return engine.wall_clock(value, zone)
    if isinstance(value, (ir.TimestampValue, ir.DateValue)):
        return value.cast(engine.TIMESTAMP)
    if isinstance(value, ir.FloatingValue) and codes is None:
        known = (value.notnull() & ~value.isnan()).any().to_pyarrow().as_py()
        if not known:  # no time at all: how pandas reads an empty column
            return ibis.null(engine.TIMESTAMP)
    if isinstance(value, ir.NumericValue) and codes is None:
        raise DataError(
            f"times of the type {value.type()} need a date_format, like '%Y%m%d' or 'epoch_s'",
            table=schema.name,
            column=column,
        )
    if not isinstance(value, (ir.StringValue, ir.NumericValue)):
        return None
    if codes is not None and re.search("%[zZ]", codes) and zone is None:
        rule = "given where the date_format reads offsets"
        raise ParameterError("timezone", rule, "no timezone")
    engine.refuse_unread(value, name, table=schema.name, column=column)
    return read_times(value, codes, zone)


def _read_number(value: ir.Value, source: Source) -> ir.Value:
    """Return something that casts to a decimal: numbers as they are, text with a plain point."""
    if not isinstance(value, ir.StringValue):
        return value
    return pointed(value.strip(), source.decimal, source.currency_signs)


def _as_float(table: ir.Table, name: str, source: Source) -> ir.Value:
    return engine.cast_or_null(_read_number(_present(table[name]), source), dt.float64)


def _read_flag(value: ir.Value, schema: TableSchema) -> ir.Value | None:
    if isinstance(value, ir.BooleanValue):
        return value
    if isinstance(value, ir.NumericValue):
        return ibis.cases((value == 1, True), (value == 0, False))
    if isinstance(value, ir.StringValue):
        word = value.strip().lower()
        yes, no = (_YES, _NO) if schema is not LABELLED else (_YES + LEFT, _NO + STAYED)
        return ibis.cases((word.isin(yes), True), (word.isin(no), False))
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
            "timestamp": found.is_numeric(),
            "money": found.is_numeric(),
            "number": found.is_numeric(),
            "flag": found.is_numeric(),
        }[kind]
    )


def _can_round(found: dt.DataType) -> bool:
    if found.is_decimal():
        return found.scale is None or bool(found.scale > 2)
    return not bool(found.is_integer())
