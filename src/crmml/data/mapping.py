"""Look at files and propose how to read them: which table, columns, dates, decimals, delimiter.

A proposal says what it understood, how sure it is, what else it could be, and writes itself as
the commented ``data:`` section of a configuration. Names give the first hint and values decide:
a column named *date* that holds no dates is not the timestamp, and a number that never repeats
is no customer. Where two columns compete both are shown; below a stated certainty the
configuration asks instead of guessing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from crmml.data.amounts import decide_decimal, parse_number
from crmml.data.columns import (
    READS,
    SURE,
    Guess,
    Look,
    assign,
    beside_amount,
    by_name,
    candidates,
    cell,
    fits_kind,
    hints,
    look,
    plain,
    spellings,
)
from crmml.data.engine import plain_errors
from crmml.data.files import Form
from crmml.data.reading import Source, find_form, open_raw
from crmml.data.recognition import Recognition, recognise, why_no_log
from crmml.data.schema import TABLES, TRANSACTIONS, TableSchema, table_named
from crmml.data.tables import STARTS
from crmml.data.times import decide_dates
from crmml.exceptions import DataError, few

_SAMPLE = 10_000


@dataclass(frozen=True)
class Proposal:
    """How to read a file, as far as it could be understood.

    Attributes
    ----------
    path : Path
        The file.
    schema : TableSchema
        The table that it is read as.
    recognition : Recognition or None
        Why; None where the user has said so.
    columns : mapping of str to Guess
        Name of the contract to the guess.
    missing : mapping of str to tuple of str
        Required columns that are to be chosen, each with the columns that may be it.
    figures : mapping of str to str
        What is known of those columns of the file, for the choice.
    unused : tuple of str
        Columns of the file that crmml does not read.
    form : Form
        The form of the file: its encoding and how its lines split.
    date_format : str or None
        Codes of the timestamp; None for ISO 8601 and for proper timestamps.
    decimal : str
        Decimal sign of text amounts.
    currencies : tuple of str
        What the currency column holds, where there is one.
    needs_timezone : bool
        Whether times carry a zone, so that the business's own must be given.
    doubts : tuple of str
        What a human should look at, a sentence each.
    evidence : tuple of str
        What was understood and from what, a sentence each.
    sample : DataFrame
        The first rows, as they are in the file.
    """

    path: Path
    schema: TableSchema
    recognition: Recognition | None
    columns: Mapping[str, Guess]
    missing: Mapping[str, tuple[str, ...]]
    figures: Mapping[str, str]
    unused: tuple[str, ...]
    form: Form
    date_format: str | None
    decimal: str
    currencies: tuple[str, ...]
    needs_timezone: bool
    doubts: tuple[str, ...]
    evidence: tuple[str, ...]
    sample: pd.DataFrame

    def to_source(self, timezone: str | None = None) -> Source:
        """Return the proposal as something that ``open_tables`` opens."""
        columns: dict[str, str | None] = {n: guess.column for n, guess in self.columns.items()}
        return Source(
            self.path,
            columns=columns | dict.fromkeys(self.missing),
            date_format=self.date_format,
            decimal=self.decimal,
            timezone=timezone,
            **self.form.settings(),
        )

    @property
    def delimiter(self) -> str | None:
        """What separates the columns of a text file."""
        return self.form.delimiter

    @property
    def header(self) -> bool:
        """Whether the first line of a text file holds the names."""
        return self.form.header

    @property
    def encoding(self) -> str:
        """How a text file is written."""
        return self.form.encoding

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the commented ``data:`` section of a configuration with this table alone.

        Parameters
        ----------
        path : str or Path, optional
            How to name the file in it; the path that was looked at by default.
        """
        return write_section([(self, path or self.path)])

    def _lines(self, path: str | Path) -> Iterator[str]:
        """Yield the lines of this table's section."""
        width = max((len(name) for name in (*self.columns, *self.missing)), default=0) + 1
        yield f"  {self.schema.name}:  # one row is {self.schema.row}"
        yield f"    path: {_quoted(str(path))}"
        yield "    columns:  # our name: the column of the file"
        for name, guess in self.columns.items():
            note = f"{guess.confidence:.0%} sure: {guess.why}"
            if guess.alternatives:
                note += "; else " + ", ".join(guess.alternatives[:5])
            yield f"      {name + ':':<{width}} {_quoted(guess.column)}  # {_one_line(note)}"
        for name, choices in self.missing.items():
            asked = "CHOOSE: uncomment one of the lines below, which then counts"
            nothing = "required, but no column looks like it"
            # null, or a column of that very name would be taken
            yield f"      {name + ':':<{width}} null  # {asked if choices else nothing}"
            for choice in choices:
                note = _one_line(self.figures.get(choice, ""))
                yield f"      # {name + ':':<{width}} {_quoted(choice)}  # {note}"
        kept = "kept as it is" if self.schema.open_ended else "not read"
        yield from (f"      # {kept}: {_one_line(name)}" for name in self.unused)
        yield from (f"    {line}" for line in self.form.lines())
        form = "null  # ISO 8601, or timestamps already"
        yield f"    date_format: {_quoted(self.date_format) if self.date_format else form}"
        yield f"    decimal: {_quoted(self.decimal)}"
        zone = "the business's own, like Europe/Berlin; only where times carry a zone"
        yield f"    timezone: null  # {'REQUIRED: ' if self.needs_timezone else ''}{zone}"
        yield from (f"    # look here: {_one_line(doubt)}" for doubt in self.doubts)


def write_section(proposals: Iterable[tuple[Proposal, str | Path]]) -> str:
    """Return the commented ``data:`` section of a configuration.

    Parameters
    ----------
    proposals : iterable of (Proposal, path)
        One for each table, with the path by which the configuration names the file.
    """
    given = {proposal.schema.name: (proposal, path) for proposal, path in proposals}
    lines = ["data:"]
    for schema in TABLES:
        if schema.name in given:
            proposal, path = given[schema.name]
            lines += proposal._lines(path)
        elif schema.name == "customers":
            note = "a second table with one row per customer, if there is one"
            lines.append(f"  customers: null  # {note}")
    lines += [
        "  policies:",
        "    returns: net                    # negative amounts: net | drop | error",
        "    zero_amounts: keep_as_purchase  # keep_as_purchase | drop",
        "    missing_ids: drop               # drop | error",
        "    duplicates: keep                # keep | drop",
        "    unreadable: error               # dates, numbers that cannot be read: error | drop",
    ]
    return "\n".join(lines) + "\n"


def propose_mapping(path: str | Path, table: str = "transactions") -> Proposal:
    """Look at a CSV, Parquet or DuckDB file and propose how to read it as a table.

    The first 10,000 rows show what each column is; whether ids repeat, date order and decimal
    sign are then decided on the whole file, because one day above 12 anywhere settles the
    question.

    Parameters
    ----------
    path : str or Path
        The file, or a folder of Parquet files.
    table : str, default "transactions"
        Which table it is.

    Returns
    -------
    Proposal
        The mapping, its evidence and its doubts.

    Raises
    ------
    SourceError, DataError
        If the file cannot be opened or holds no row.
    """
    schema = table_named(table)
    with plain_errors(path):
        return _propose(_look_at(Path(path).expanduser(), schema.name), schema, None)


def propose_tables(files: Iterable[tuple[str | Path, str | None]]) -> list[Proposal]:
    """Say of several files which table each is, and propose how to read it.

    Parameters
    ----------
    files : iterable of (path, table)
        The files; a table that is None is found out.

    Returns
    -------
    list of Proposal
        In the order of the contracts.

    Raises
    ------
    SourceError, DataError
        If a file cannot be opened, holds no row or is none of the tables; if two files are the
        same table; if none of them carries an output.
    """
    asked = list(files)
    found: dict[str, Proposal] = {}
    for path, table in asked:
        with plain_errors(path):
            seen = _look_at(Path(path).expanduser(), table or "transactions")
            told = None if table else _recognised(seen, alone=len(asked) == 1)
            schema = told.schema if told else table_named(table or "transactions")
            proposal = _propose(seen, schema, told)
        if schema.name in found:
            raise DataError(
                f"each table comes from one file; {found[schema.name].path.name} and "
                f"{proposal.path.name} are both taken for {schema.name}: put them together, or "
                f"say which table one of them is, as in TABLE={proposal.path.name}",
                table=schema.name,
            )
        found[schema.name] = proposal
    if not any(name in found for name in STARTS):
        _refuse(list(found.values()))
    return [found[schema.name] for schema in TABLES if schema.name in found]


def _recognised(seen: _Seen, *, alone: bool) -> Recognition:
    told = recognise(seen.looks, seen.path.stem.partition("::")[0])
    if told.confidence >= SURE:
        return told
    if alone:  # what people give first is their log
        told_by = "it is taken for a log, though its columns do not tell which table it is"
        return Recognition(TRANSACTIONS, told.confidence, (told_by,), told.schema.name)
    raise DataError(
        f"which table {seen.path.name} is cannot be told from its columns {few(seen.looks, 12)}; "
        f"say it, as in transactions={seen.path.name}",
        table=told.schema.name,
    )


def _refuse(proposals: list[Proposal]) -> None:
    first = proposals[0]
    file = first.path.name
    if first.recognition is None:
        raise DataError(
            f"a configuration begins with one of the tables {', '.join(STARTS)}; give its file "
            f"beside {file}",
            table=first.schema.name,
        )
    more = ""
    if first.recognition.totals:
        more = (
            "; where it holds frequency, recency and T of each customer, Snapshot.from_frame "
            "takes it in Python"
        )
    raise DataError(
        f"{why_no_log(file, first.recognition)}: give the log beside it (crmml init LOG {file})"
        f"{more}; where it is a log all the same, say so (crmml init transactions={file})",
        table=first.schema.name,
    )


# --- one file ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """A file that was looked at."""

    path: Path
    form: Form
    table: ir.Table
    sample: pd.DataFrame
    looks: dict[str, Look]


def _look_at(path: Path, table_name: str) -> _Seen:
    source, form = find_form(path, table_name)
    table = open_raw(source, table_named(table_name))
    sample = table.limit(_SAMPLE).to_pandas()
    if sample.empty:
        raise DataError("there must be at least one row; the file is empty", table=table_name)
    looks = {str(name): look(sample[name]) for name in sample.columns}
    if len(sample) == _SAMPLE:
        looks = _count_ids(table, looks)
    return _Seen(path, form, table, sample, _days_of_ids(table, looks))


def _count_ids(table: ir.Table, looks: dict[str, Look]) -> dict[str, Look]:
    """Count the values of possible ids in the whole file, as they may repeat later on."""
    asked = [c for c, s in looks.items() if s.may_be_id and s.distinct > 20]
    if not asked:
        return looks
    counts = {f"n{i}": table[c].count() for i, c in enumerate(asked)}
    counts |= {f"d{i}": table[c].nunique() for i, c in enumerate(asked)}
    found = table.aggregate(**counts).to_pyarrow().to_pylist()[0]
    return looks | {
        c: replace(looks[c], filled=found[f"n{i}"], distinct=found[f"d{i}"])
        for i, c in enumerate(asked)
    }


def _days_of_ids(table: ir.Table, looks: dict[str, Look]) -> dict[str, Look]:
    """Find out whether ids come back on another day, as customers do and orders do not."""
    time = assign(TRANSACTIONS, looks).get("timestamp")
    named = time.column if time else _called("timestamp", TRANSACTIONS, looks)
    if named is None:
        return looks
    moment = table[named]
    # the day, whatever the form: the clock stands behind it
    day = moment.cast("string").split(" ")[0].split("T")[0]
    like = [c for c in looks if by_name(c, "transactions", "customer_id")[0]]
    asked = dict.fromkeys([*like, *candidates(TRANSACTIONS, "customer_id", looks)][:4])
    more = {}
    for column in asked:
        if not looks[column].may_be_id:
            continue
        values = table.select(id=table[column], day=day).filter(ibis._.id.notnull())
        each = values.group_by("id").agg(n=values.count(), days=values.day.nunique())
        many = each.n > 1
        repeating, spread = each.aggregate(
            r=many.sum().fill_null(0), s=(many & (each.days > 1)).sum().fill_null(0)
        ).to_pyarrow().to_pylist()[0].values()  # fmt: skip
        if repeating >= 5:
            more[column] = replace(looks[column], spread=spread / repeating)
    return looks | more


def _propose(seen: _Seen, schema: TableSchema, told: Recognition | None) -> Proposal:
    looks, table, form = seen.looks, seen.table, seen.form
    columns = assign(schema, looks)
    doubts: list[str] = []
    evidence: list[str] = []
    if told and told.other:
        doubts.append(f"it may also be a table {told.other}: if so, write {told.other}=FILE")
    evidence += form.evidence
    doubts += form.doubts
    if len(looks) == 1:
        doubts.append("there is only one column: if that is wrong, set the delimiter by hand")
    written = _written_amount(schema, columns, looks)
    decimal = decide_decimal(table, written, evidence, doubts) if written else "."
    date_format, needs_timezone = _decide_times(seen, schema, columns, evidence, doubts)
    figures = _Figures(seen, schema, decimal)
    doubts += _weigh(schema, columns, figures)
    missing = _find_missing(schema, columns, figures)
    doubts += [_misfit(n, schema, seen) for n in missing if _called(n, schema, looks)]
    for name, guess in columns.items():
        if guess.confidence <= SURE:
            doubts.append(f"{name} is a guess: column {guess.column!r} ({guess.why})")
    if schema is TRANSACTIONS:
        doubts += _doubt_money(columns, figures)
        clocks = [repr(c) for c, s in looks.items() if s.clocks >= READS]
        evidence += [f"the time of day stands in {c} of its own and is not read" for c in clocks]
    currencies = _currencies(table, columns, doubts)
    if "unit_price" in columns:
        evidence.append("there is no amount: it will be unit price times quantity")
    used = {guess.column for guess in columns.values()}
    return Proposal(
        path=seen.path,
        schema=schema,
        recognition=told,
        columns=columns,
        missing=missing,
        figures={c: figures.of(n, c) for n, choices in missing.items() for c in choices},
        unused=tuple(name for name in looks if name not in used),
        form=form,
        date_format=date_format,
        decimal=decimal,
        currencies=currencies,
        needs_timezone=needs_timezone,
        doubts=tuple(doubts),
        evidence=tuple(evidence),
        sample=seen.sample.head(5),
    )


def _decide_times(
    seen: _Seen,
    schema: TableSchema,
    columns: Mapping[str, Guess],
    evidence: list[str],
    doubts: list[str],
) -> tuple[str | None, bool]:
    """Decide the one form of dates that a table has, by its first column of times."""
    date_format: str | None = None
    needs_timezone = False
    times = [g.column for n, g in columns.items() if schema.kind(n) == "timestamp"]
    times = [name for name in times if seen.looks[name].filled]
    for i, name in enumerate(times):
        some = map(cell, seen.sample[name].dropna().drop_duplicates().head(500))
        written = seen.looks[name].is_text
        codes, zoned = decide_dates(seen.table, name, some, written, evidence, doubts)
        if i == 0:
            date_format, needs_timezone = codes, zoned
        elif codes != date_format:
            doubts.append(
                f"dates of {times[0]!r} read as {date_format or 'ISO 8601'!r}, those of {name!r} "
                f"as {codes or 'ISO 8601'!r}: a table has one date_format"
            )
    return date_format, needs_timezone


# --- where columns compete ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Figures:
    """What the whole file says about a column, for whoever has to choose."""

    seen: _Seen
    schema: TableSchema
    decimal: str

    def sums(self, columns: list[str], by: str | None = None) -> dict[Any, list[float]]:
        """Add up columns of money, in all (key None) or by the values of another column."""
        table = self.seen.table
        read = {f"m{i}": self._money(c) for i, c in enumerate(columns)}
        if by is None:
            rows = [{"key": None} | table.aggregate(
                **{k: v.sum() for k, v in read.items()}).to_pyarrow().to_pylist()[0]]  # fmt: skip
        else:
            lines = table.select(key=table[by].cast("string").strip(), **read)
            sums = {k: lines[k].sum() for k in read}
            rows = lines.group_by("key").agg(n=lines.count(), **sums).to_pyarrow().to_pylist()
        return {row.pop("key"): [float(v or 0) for v in row.values()] for row in rows}

    def _money(self, column: str) -> ir.NumericValue:
        value = self.seen.table[column]
        if isinstance(value, ir.StringValue):
            return parse_number(value.strip(), self.decimal)
        return value.cast("float64")

    def of(self, name: str, column: str) -> str:
        """Say in a few words what a column holds."""
        seen = self.seen.looks[column]
        if name in ("amount", "unit_price") and fits_kind("money", seen):
            return f"adds up to {self.sums([column])[None][0]:,.2f}"
        if name == "customer_id":
            said = f"{seen.distinct:,} values in {seen.filled:,} rows"
            if seen.rounded >= READS:
                return f"{said}, last digits rounded away by a spreadsheet"
            if seen.unique:
                return f"{said}: none repeats, so it numbers orders"
            if seen.spread is not None:
                return f"{said}, {seen.spread:.0%} of those that repeat come back another day"
            return said
        held = f"holds {few(seen.common[:3])}" if seen.common else "empty"
        kind = self.schema.kind(name)
        if seen.filled and kind in ("timestamp", "money") and not fits_kind(kind, seen):
            held += f", which reads as no {'date' if kind == 'timestamp' else 'number'}"
        return held


def _weigh(schema: TableSchema, columns: dict[str, Guess], figures: _Figures) -> list[str]:
    """Lower the confidence where another column may be the customer or the amount as well."""
    doubts = []
    for name in ("customer_id", "amount"):
        guess = columns.get(name)
        if guess is None or name not in schema.required:
            continue
        others = {g.column for n, g in columns.items() if n != name}
        own = by_name(guess.column, schema.name, name)[0]
        rivals = [
            c
            for c in guess.alternatives
            if c not in others and by_name(c, schema.name, name)[0] >= 0.8 * own
        ]
        if not rivals:
            continue
        sure = guess.confidence
        if own:
            sure *= 1 - 0.4 * by_name(rivals[0], schema.name, name)[0] / own
        columns[name] = replace(guess, confidence=round(sure, 2))
        shown = " or ".join(f"{c!r} ({figures.of(name, c)})" for c in [guess.column, *rivals[:2]])
        end = f"{guess.column!r} is proposed" if sure >= SURE else "choose one in the configuration"
        doubts.append(f"{name} may be {shown}: {end}")
    return doubts


def _find_missing(
    schema: TableSchema, columns: dict[str, Guess], figures: _Figures
) -> dict[str, tuple[str, ...]]:
    """Take out what is not sure enough; return the required columns with their candidates."""
    looks = figures.seen.looks
    missing = {}
    for name in schema.required:
        guess = columns.get(name)
        if guess and guess.confidence >= SURE:
            continue
        if name == "amount" and "unit_price" in columns:
            continue
        choices = [guess.column, *guess.alternatives] if guess else []
        if guess:
            del columns[name]
        used = {g.column for g in columns.values()}
        kind = schema.kind(name)
        for column, seen in looks.items():
            named = by_name(column, schema.name, name)[0] > 0
            if (named and not (name == "amount" and beside_amount(column))) or (
                kind == "flag" and seen.flag
            ):
                choices.append(column)
        choices += candidates(schema, name, looks)
        missing[name] = tuple(dict.fromkeys(c for c in choices if c not in used))[:5]
    return missing


def _doubt_money(columns: Mapping[str, Guess], figures: _Figures) -> Iterator[str]:
    """Yield what hangs on the amount: tax and refunds beside it, and lines that are no sale."""
    amount = columns.get("amount")
    looks = figures.seen.looks
    if amount is None:
        return
    money = [c for c, s in looks.items() if fits_kind("money", s) and c != amount.column]
    beside = {c: what for c in money if (what := beside_amount(c))}
    if beside:
        sums = figures.sums([amount.column, *beside])[None]
        told = ", ".join(f"{c!r} {v:,.2f}" for c, v in zip(beside, sums[1:], strict=True))
        yield (
            f"amount must be net of {', '.join(dict.fromkeys(beside.values()))}: "
            f"{amount.column!r} adds up to {sums[0]:,.2f}, and beside it stand {told}; if they are "
            "within it, write a column with the net amount"
        )
    told_status, unsold = spellings("words")["status"], spellings("words")["not_sold"]
    known = set(map(plain, unsold))
    for column in looks:
        if plain(column) in map(plain, told_status) or hints(column, told_status):
            held = [v for v in looks[column].common if plain(v) in known]
            if held:
                by = figures.sums([amount.column], by=column)
                told = ", ".join(f"{v!r} in {by[v][0]:,.0f} rows ({by[v][1]:,.2f})" for v in held)
                yield (
                    f"{column!r} says {told}: these lines count as sales; leave them out of the "
                    "file if they are none"
                )


def _called(canonical: str, schema: TableSchema, looks: Mapping[str, Look]) -> str | None:
    """Return the first column that bears a usual name of a column, whatever it holds."""
    return next((c for c in looks if by_name(c, schema.name, canonical)[0] > 0.8), None)


def _misfit(canonical: str, schema: TableSchema, seen: _Seen) -> str:
    column = _called(canonical, schema, seen.looks) or ""
    told = seen.looks[column]
    if told.rounded >= READS:
        return (
            f"{column!r} holds ids that a spreadsheet has rounded ({few(told.common, 2)}): of "
            f"{told.filled:,} rows only {told.distinct:,} different ids are left; save them as text"
        )
    if canonical == "customer_id" and told.unique:
        return (
            f"no value of {column!r} repeats in {told.filled:,} rows: it numbers the rows, so it "
            "cannot tell who came back"
        )
    if canonical == "customer_id" and told.spread is not None and told.spread < 0.05:
        return f"values of {column!r} repeat within a day only: it numbers orders, not customers"
    shown = few(map(str, seen.sample[column].dropna().drop_duplicates()), 3)
    held = f"holds {shown}" if shown else "is empty"
    return f"column {column!r} is called like {canonical}, but {held}"


# --- decimals, dates, currencies, on the whole file --------------------------------------------


def _written_amount(
    schema: TableSchema, columns: Mapping[str, Guess], looks: Mapping[str, Look]
) -> str | None:
    """Return the column of text by which the decimal sign is decided: the amount, if it is one."""
    numbers = [n for n in columns if n == "unit_price" or schema.kind(n) in ("money", "number")]
    order = sorted(numbers, key=lambda n: (n != "amount", n != "unit_price"))
    return next((columns[n].column for n in order if looks[columns[n].column].is_text), None)


def _currencies(
    table: ir.Table, columns: Mapping[str, Guess], doubts: list[str]
) -> tuple[str, ...]:
    if "currency" not in columns:
        return ()
    code = table[columns["currency"].column].cast("string").strip().upper().nullif("")
    found = code.name("code").as_table().distinct().order_by("code").limit(20).code.execute()
    known = tuple(str(value) for value in found if isinstance(value, str))
    if len(known) > 1:
        doubts.append(f"there is more than one currency ({', '.join(known)}): a run takes one")
    return known


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
