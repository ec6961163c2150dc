"""Look at files and propose how to read them: which table, columns, dates, decimals, delimiter.

A proposal says what it understood, how sure it is, what else it could be, and writes itself as
the commented ``data:`` section of a configuration. Names give the first hint and values decide:
a column named *date* that holds no dates is not the timestamp, and a number that never repeats
is no customer. Where two columns compete both are shown; below a stated certainty the
configuration asks instead of guessing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from crmml._typing import Grain
from crmml.data.amounts import AmountForm, decide_amounts
from crmml.data.columns import (
    ENOUGH,
    READS,
    SURE,
    Guess,
    Look,
    assign,
    by_name,
    candidates,
    cell,
    look,
)
from crmml.data.engine import plain_errors
from crmml.data.files import Form
from crmml.data.money import LESS, READ_ONLY
from crmml.data.reading import NUMBERED, Source, find_form, open_raw
from crmml.data.recognition import (
    Recognition,
    holds_touches,
    other_kind,
    recognise,
    why_no_log,
)
from crmml.data.revenue import understand_revenue
from crmml.data.schema import (
    INTERACTIONS,
    LABELLED,
    TABLES,
    TRANSACTIONS,
    TableSchema,
    table_named,
)
from crmml.data.settings import Policies
from crmml.data.tables import STARTS
from crmml.data.times import decide_dates, find_grain, grain_of
from crmml.data.weighing import Doubt, Figures, Seen, called, find_missing, misfit, weigh, with_line
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, first_few

_SHOWN_SELLERS = 5
_SAMPLE = 10_000


@dataclass(frozen=True)
class Proposal:
    """How to read a file, as far as it could be understood.

    Attributes
    ----------
    path : Path
        The file; of a frame, what it is called.
    data : path or table
        What is read.
    opened : Ibis table
        The same as it was opened, so that a look at it need not open it again.
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
    amounts : AmountForm
        Decimal sign of text amounts, and the currencies in their cells.
    currencies : tuple of str
        What the currency column holds, where there is one.
    grain : str
        ``month`` or ``quarter`` where the times of a log are no finer; else ``day``.
    needs_timezone : bool
        Whether times carry a zone, so that the business's own must be given.
    without_amounts : bool
        Whether no column of a log can hold amounts, so that purchases are counted.
    sellers : mapping of str to float
        Of a log with rivals' sales: the sellers with most lines, and their shares of all lines.
    keep : mapping of str to tuple of str
        Columns of the file to the values whose rows count.
    apart : tuple of str
        Ids that stand for totals, not for customers.
    totals : mapping of str to float
        Candidates for the amount, each with what it adds up to, currency.
    doubts : tuple of Doubt
        What a human should look at, a sentence each, with the line that settles it.
    evidence : tuple of str
        What was understood and from what, a sentence each.
    sample : DataFrame
        The first rows, as they are in the file.
    """

    path: Path
    data: Any
    opened: ir.Table
    schema: TableSchema
    recognition: Recognition | None
    columns: Mapping[str, Guess]
    missing: Mapping[str, tuple[str, ...]]
    figures: Mapping[str, str]
    unused: tuple[str, ...]
    form: Form
    date_format: str | None
    grain: Grain
    amounts: AmountForm
    currencies: tuple[str, ...]
    needs_timezone: bool
    without_amounts: bool
    sellers: Mapping[str, float]
    keep: Mapping[str, tuple[str, ...]]
    apart: tuple[str, ...]
    totals: Mapping[str, float]
    doubts: tuple[Doubt, ...]
    evidence: tuple[str, ...]
    sample: pd.DataFrame

    def to_source(self, timezone: str | None = None) -> Source:
        """Return the proposal as something that ``open_tables`` opens."""
        columns: dict[str, str | None] = {n: guess.column for n, guess in self.columns.items()}
        return Source(
            self.data,
            columns=columns | dict.fromkeys(self.missing),
            date_format=self.date_format,
            decimal=self.amounts.decimal,
            currency_signs=self.amounts.signs,
            timezone=timezone,
            keep=self.keep or None,
            without_amounts=self.without_amounts,
            **self.form.settings(),
        )

    def to_policies(self, **more: Any) -> Policies:
        """Return the policies that go with it: rows of totals belong to no customer."""
        return Policies(**{"test_customers": self.apart, **more})

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
        if self.schema is LABELLED and not {"customer_id"} & {*self.columns, *self.missing}:
            yield f"      {'customer_id:':<{width}} null  # the rows are numbered from 1"
        for name, choices in self.missing.items():
            if name in self.unused:
                # or the column of that very name would be taken
                asked = "CHOOSE: put one of the lines below in the place of this one"
                yield f"      {name + ':':<{width}} null  # {asked}"
            elif choices:
                sure = f"none is {SURE:.0%} sure"
                yield f"      # CHOOSE {name}, as {sure}: uncomment one of the lines below"
            else:
                yield f"      # {name + ':':<{width}} required, but no column looks like it"
            for choice in choices:
                note = _one_line(self.figures.get(choice, ""))
                yield f"      # {name + ':':<{width}} {_quoted(choice)}  # {note}"
        kept = "kept as it is" if self.schema.open_ended else "not read"
        yield from (f"      # {kept}: {_one_line(name)}" for name in self.unused)
        yield from (f"    {line}" for line in self.form.lines())
        form = "null  # ISO 8601, or timestamps already"
        yield f"    date_format: {_quoted(self.date_format) if self.date_format else form}"
        yield f"    decimal: {_quoted(self.amounts.decimal)}"
        if self.amounts.signs:
            listed = ", ".join(map(_quoted, self.amounts.signs))
            yield f"    currency_signs: [{listed}]  # in the cells of amounts"
        zone = "the business's own, like Europe/Berlin; only where times carry a zone"
        yield f"    timezone: null  # {'REQUIRED: ' if self.needs_timezone else ''}{zone}"
        if self.without_amounts:
            yield "    without_amounts: true  # a day on which a customer has a row is a purchase"
        for column, values in self.keep.items():
            listed = ", ".join(map(_quoted, values))
            yield f"    keep: {{{_quoted(column)}: [{listed}]}}  # other rows are left out"
        for doubt in self.doubts:
            yield f"    # look here: {_one_line(doubt)}"
            if doubt.line:
                yield f"    #   settled by: {_one_line(doubt.line)}"


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
        elif schema.name == "customers" and given.keys() - {LABELLED.name}:
            note = "a second table with one row per customer, if there is one"
            lines.append(f"  customers: null  # {note}")
    if given.keys() == {LABELLED.name}:
        return "\n".join([*lines, *_POLICIES_OF_A_LABEL]) + "\n"
    sellers = given["transactions"][0].sellers if "transactions" in given else {}
    if sellers:
        lines.append("  own_seller: null  # CHOOSE the own house: put one of those below in here")
        lines += [
            f"  # own_seller: {_quoted(seller)}  # {share:.0%} of the lines"
            for seller, share in sellers.items()
        ]
    lines += [
        "  policies:",
        "    returns: net                    # negative amounts: net | drop | error",
        "    zero_amounts: keep_as_purchase  # keep_as_purchase | drop",
        "    missing_ids: drop               # drop | error",
        "    duplicates: keep                # keep | drop",
        "    unreadable: error               # dates, numbers that cannot be read: error | drop",
    ]
    apart = dict.fromkeys(key for proposal, _ in given.values() for key in proposal.apart)
    if apart:
        listed = ", ".join(map(_quoted, apart))
        lines.append(f"    test_customers: [{listed}]  # rows of totals, no customers")
    return "\n".join(lines) + "\n"


_POLICIES_OF_A_LABEL = (
    "  policies:",
    "    unreadable: error  # outcomes that are missing or cannot be read: error | drop",
)


def propose_mapping(
    path: str | Path | pd.DataFrame,
    table: str = "transactions",
    columns: Mapping[str, str] | None = None,
) -> Proposal:
    """Look at a file or a frame and propose how to read it as a table.

    The first 10,000 rows show what each column is; whether ids repeat, date order and decimal
    sign are then decided on the whole file, because one day above 12 anywhere settles the
    question.

    Parameters
    ----------
    path : str, Path or DataFrame
        The file, a folder of Parquet files, or a frame.
    table : str, default "transactions"
        Which table it is.
    columns : mapping of str to str, optional
        What is known already: name of the contract to name in the file.

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
    with plain_errors(_name(path)):
        return _propose(_look_at(path, schema.name), schema, None, columns)


def propose_tables(
    files: Iterable[tuple[str | Path | pd.DataFrame, str | None]],
    columns: Mapping[str, str] | None = None,
) -> list[Proposal]:
    """Say of several files which table each is, and propose how to read it.

    Parameters
    ----------
    files : iterable of (path, table)
        The files, or frames; a table that is None is found out.
    columns : mapping of str to str, optional
        Of a single file: what is known already, name of the contract to name in the file.

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
        with plain_errors(_name(path)):
            seen = _look_at(path, table or "transactions")
            told = None if table else _recognised(seen, alone=len(asked) == 1)
            schema = told.schema if told else table_named(table or "transactions")
            proposal = _propose(seen, schema, told, columns if len(asked) == 1 else None)
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


def _recognised(seen: Seen, *, alone: bool) -> Recognition:
    told = recognise(seen.looks, Path(seen.name).stem.partition("::")[0])
    doubtful = told.schema is TRANSACTIONS or told.confidence < SURE
    if doubtful and (kind := other_kind(seen.looks)):
        raise DataError(
            f"{seen.name} is no log of transactions: {kind}; where it is one all the same, say "
            f"so (crmml init transactions={seen.name})",
            table="transactions",
        )
    touches = told.schema is INTERACTIONS and not holds_touches(seen.looks)
    if (
        alone
        and touches
        and {"customer_id", "timestamp"} <= assign(TRANSACTIONS, seen.looks).keys()
    ):
        evidence = (*told.evidence, "no column holds amounts or kinds of touch points")
        return Recognition(TRANSACTIONS, 0.6, evidence, told.schema.name)
    if told.confidence >= SURE:
        return told
    if alone:  # what people give first is their log
        told_by = "it is taken for a log, though its columns do not tell which table it is"
        return Recognition(TRANSACTIONS, told.confidence, (told_by,), told.schema.name)
    raise DataError(
        f"which table {seen.name} is cannot be told from its columns {first_few(seen.looks, 12)}; "
        f"say it, as in transactions={seen.name}",
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
    raise DataError(
        f"{why_no_log(file, first.recognition)}; where it is a log all the same, say so (crmml "
        f"init transactions={file})",
        table=first.schema.name,
    )


# --- one file ----------------------------------------------------------------------------------


def _name(data: str | Path | pd.DataFrame) -> str:
    return str(data) if isinstance(data, (str, Path)) else "the frame"


def _look_at(data: str | Path | pd.DataFrame, table_name: str) -> Seen:
    source, form = Source(data), Form("parquet")
    known = Path(data).expanduser() if isinstance(data, (str, Path)) else None
    if known is not None:
        source, form = find_form(known, table_name)
    table = open_raw(source, table_named(table_name))
    sample = table.limit(_SAMPLE).to_pandas()
    if sample.empty:
        raise DataError("there must be at least one row; the file is empty", table=table_name)
    looks = {str(name): look(sample[name]) for name in sample.columns}
    looks = _nest_orders(sample, looks)
    if len(sample) == _SAMPLE:
        looks = _count_ids(table, looks)
    name = known.name if isinstance(known, Path) else "the frame"
    opened = known if isinstance(known, Path) else table
    return Seen(name, opened, form, table, sample, _days_of_ids(table, looks))


def _nest_orders(sample: pd.DataFrame, looks: dict[str, Look]) -> dict[str, Look]:
    """Find out whether the rows of an order belong to one customer, as they do."""
    columns = assign(TRANSACTIONS, looks)
    if not {"customer_id", "order_id"} <= columns.keys():
        return looks
    customer, order = columns["customer_id"].column, columns["order_id"].column
    rows = sample.dropna(subset=[order])[[order, customer]]
    n, customers = rows[order].value_counts(), rows.drop_duplicates()[order].value_counts()
    many = n.index[n > 1]
    if len(many) < 5:
        return looks
    alone = float((customers.reindex(many) == 1).mean())
    return looks | {order: replace(looks[order], nested=alone)}


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
    named = time.column if time else called("timestamp", TRANSACTIONS, looks)
    if named is None:
        return looks
    moment = table[named]
    day = moment.cast("string")
    if any(":" in value for value in looks[named].common):
        # the day, whatever its form: what stands before " 10:15"
        date = day.strip().split(":")[0]
        day = date.substr(0, date.length() - 3)
    like = [c for c in looks if by_name(c, "transactions", "customer_id")[0]]
    asked = dict.fromkeys([*like, *candidates(TRANSACTIONS, "customer_id", looks)][:4])
    more = {}
    for column in asked:
        if not looks[column].may_be_id:
            continue
        values = table.select(id=table[column], day=day).filter(ibis._.id.notnull())
        each = values.group_by("id").agg(
            n=values.count(), several=values.day.min() < values.day.max()
        )
        many = each.n > 1
        repeating, spread = each.aggregate(
            r=many.sum().fill_null(0), s=(many & each.several).sum().fill_null(0)
        ).to_pyarrow().to_pylist()[0].values()  # fmt: skip
        if repeating >= 5:
            more[column] = replace(looks[column], spread=spread / repeating)
    return looks | more


def _propose(
    seen: Seen,
    schema: TableSchema,
    told: Recognition | None,
    given: Mapping[str, str] | None = None,
) -> Proposal:
    looks, table, form = seen.looks, seen.table, seen.form
    columns = _fix(assign(schema, looks), given or {}, seen, schema)
    doubts, evidence = [*_doubt_form(seen, told)], [*form.evidence]
    written = _written_amount(schema, columns, looks)
    amounts = decide_amounts(table, written, evidence, doubts) if written else AmountForm()
    date_format, needs_timezone = _decide_times(seen, schema, columns, evidence, doubts)
    figures = Figures(seen, schema, amounts)
    revenue = understand_revenue(columns, figures) if schema is TRANSACTIONS else None
    if revenue:
        for name in revenue.dropped - set(given or {}):
            columns.pop(name, None)
        if not any(name in READ_ONLY for name in given or {}):
            columns |= revenue.columns
        doubts += revenue.doubts
        evidence += revenue.evidence
    doubts += weigh(schema, columns, figures)
    missing = find_missing(schema, columns, figures)
    evidence += _number_rows(schema, missing)
    counted = schema is TRANSACTIONS and missing == {"amount": ()}
    if counted:
        del missing["amount"]
        doubts.append(_UNPRICED)
    doubts += [misfit(n, schema, seen) for n in missing if called(n, schema, looks)]
    doubts += _doubt_guesses(columns, schema)
    if schema is TRANSACTIONS:
        evidence += _join_clock(columns, looks)
        doubts += _doubt_zeros(columns, figures)
    grain = _find_grain(table, columns, schema, date_format, evidence)
    used = {guess.column for guess in columns.values()}
    return Proposal(
        path=seen.data if isinstance(seen.data, Path) else Path(seen.name),
        data=seen.data,
        opened=seen.table,
        schema=schema,
        recognition=told,
        columns=_in_order(columns, schema, figures),
        missing=missing,
        figures={c: figures.of(n, c) for n, choices in missing.items() for c in choices},
        unused=tuple(name for name in looks if name not in used),
        form=form,
        date_format=date_format,
        grain=grain,
        amounts=amounts,
        currencies=_currencies(table, columns, doubts),
        needs_timezone=needs_timezone,
        without_amounts=counted,
        sellers=_sellers(table, columns, doubts),
        keep=revenue.keep if revenue else {},
        apart=revenue.apart if revenue else (),
        totals=revenue.totals if revenue else {},
        doubts=tuple(with_line(text, schema.name) for text in doubts),
        evidence=tuple(evidence),
        sample=seen.sample.head(10),
    )


def _sellers(table: ir.Table, columns: Mapping[str, Guess], doubts: list[str]) -> dict[str, float]:
    """Count the lines of the sellers; where there are several, ask which one is the own house."""
    if "seller" not in columns:
        return {}
    name = table[columns["seller"].column].cast("string").strip()
    known = table.select(seller=name).filter(_.seller.notnull(), _.seller != "")
    counted = known.group_by("seller").aggregate(lines=known.count())
    total = {"all": counted.lines.sum(), "sellers": counted.count()}
    facts = counted.aggregate(**total).to_pyarrow().to_pylist()[0]
    if facts["sellers"] < 2:
        return {}
    top = counted.order_by(ibis.desc("lines"), "seller").limit(_SHOWN_SELLERS)
    rows = top.to_pyarrow().to_pylist()
    shares = {row["seller"]: row["lines"] / facts["all"] for row in rows}
    shown = ", ".join(f"{_quoted(seller)} ({share:.0%})" for seller, share in shares.items())
    more = "" if facts["sellers"] == len(rows) else f" and {facts['sellers'] - len(rows):,} more"
    doubts.append(
        Doubt(
            f"the lines are of {facts['sellers']:,} sellers, {shown}{more}: say which one is the "
            "own house; what the others sold is no revenue, it shows how loyal customers are",
            f"data.own_seller: {_quoted(rows[0]['seller'])}",
        )
    )
    return shares


def _number_rows(schema: TableSchema, missing: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Take the ids of a labelled table for not needed, where no column is called after them."""
    if schema is not LABELLED or "customer_id" not in missing:
        return
    named = (by_name(c, LABELLED.name, "customer_id")[0] for c in missing["customer_id"])
    if max(named, default=0.0) <= 0.8:
        del missing["customer_id"]
        yield NUMBERED


_UNPRICED = Doubt(
    "no column holds amounts: purchases, P(alive), churn and loyalty are counted, and money and "
    "actions are null, unless each purchase is given a worth",
    "value.per_purchase: 25.0",
)


def _doubt_form(seen: Seen, told: Recognition | None) -> Iterator[str]:
    """Yield the doubts about which table the file is, and how it splits."""
    if told and told.other:
        yield f"it may also be a table {told.other}: if so, write {told.other}=FILE"
    yield from seen.form.doubts
    if len(seen.looks) == 1:
        yield "there is only one column: if that is wrong, set the delimiter by hand"


def _doubt_guesses(columns: Mapping[str, Guess], schema: TableSchema) -> Iterator[Doubt]:
    """Yield a doubt for each column of which nobody can be sure."""
    for name, guess in columns.items():
        if guess.confidence <= SURE:
            line = f"data.{schema.name}.columns.{name}: {guess.column}"
            yield Doubt(f"{name} is a guess: column {guess.column!r} ({guess.why})", line)


def _fix(
    columns: dict[str, Guess], given: Mapping[str, str], seen: Seen, schema: TableSchema
) -> dict[str, Guess]:
    """Put in what the user knows already."""
    known = [*schema.names, *(READ_ONLY if schema is TRANSACTIONS else ())]
    if unknown := [name for name in given if name not in known and not schema.open_ended]:
        raise ParameterError("columns", f"keyed by names of the contract {known}", unknown)
    if absent := [column for column in given.values() if column not in seen.looks]:
        raise MissingColumnsError(absent, seen.looks, table=schema.name)
    left = {n: g for n, g in columns.items() if g.column not in given.values()}
    if "unit_price" in given:
        left.pop("amount", None)
    if "amount" in given:
        left.pop("unit_price", None)
    return left | {name: Guess(column, 1.0, (), "as you said") for name, column in given.items()}


def _in_order(
    columns: Mapping[str, Guess], schema: TableSchema, figures: Figures
) -> dict[str, Guess]:
    """Put the columns into the order of the contract, each with what speaks for it."""
    order = list(schema.names)
    if schema is TRANSACTIONS:
        at = order.index("amount") + 1
        order[at:at] = ["unit_price", *LESS]
    order += [name for name in columns if name not in order]
    return {n: _evident(n, columns[n], schema, figures) for n in order if n in columns}


def _evident(name: str, guess: Guess, schema: TableSchema, figures: Figures) -> Guess:
    if name not in (*schema.required, *READ_ONLY, "order_id"):
        return guess
    seen = figures.seen.looks[guess.column]
    if schema.kind(name) == "timestamp":
        common = sorted(seen.common)
        return (
            replace(guess, why=f"{guess.why}; holds {first_few(common[:1])}") if common else guess
        )
    return replace(guess, why=f"{guess.why}; {figures.of(name, guess.column)}")


def _doubt_zeros(columns: Mapping[str, Guess], figures: Figures) -> Iterator[Doubt]:
    """Yield a doubt where ids differ in leading zeros alone: a spreadsheet strips them."""
    guess = columns.get("customer_id")
    if guess is None or not figures.seen.looks[guess.column].is_text:
        return
    some = figures.seen.sample[guess.column].dropna().astype(str).str.strip()
    digits = some[some.str.fullmatch("[0-9]+")]
    zeros = digits.str.startswith("0")
    if len(some) < ENOUGH or not zeros.any() or zeros.all():
        return
    ids = figures.seen.table.select(id=figures.seen.table[guess.column].strip()).distinct()
    bare = ids.mutate(bare=ids.id.re_replace("^0+", "")).filter(ibis._.id.re_search("^[0-9]+$"))
    twice = bare.group_by("bare").agg(n=bare.count()).filter(ibis._.n > 1)
    found = twice.aggregate(pairs=twice.count(), ids=twice.n.sum()).to_pyarrow().to_pylist()[0]
    if found["pairs"]:
        some = twice.order_by("bare").limit(3).bare.to_pyarrow().to_pylist()
        yield Doubt(
            f"{found['ids']:,} ids of {guess.column!r} differ in leading zeros alone (such as "
            f"{first_few(some)}): a spreadsheet may have stripped them, so that {found['pairs']:,} "
            "customers count twice; export the file again with that column as text"
        )


def _decide_times(
    seen: Seen,
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


def _find_grain(
    table: ir.Table,
    columns: Mapping[str, Guess],
    schema: TableSchema,
    date_format: str | None,
    evidence: list[str],
) -> Grain:
    if schema is not TRANSACTIONS or "timestamp" not in columns or "time_of_day" in columns:
        return "day"
    name = columns["timestamp"].column
    grain = find_grain(table, name, date_format)
    if grain != "day" and grain_of(date_format) is None:
        evidence.append(
            f"all dates of {name!r} are the first or the last day of a {grain}, so each stands "
            f"for all of it: snapshot.grain is {grain}"
        )
    return grain


def _join_clock(columns: dict[str, Guess], looks: Mapping[str, Look]) -> Iterator[str]:
    """Join the time of day to the date where it stands in a column of its own."""
    clocks = [c for c, seen in looks.items() if seen.clocks >= READS]
    time = columns.get("timestamp")
    if not clocks or time is None:
        return
    midnight = re.compile(r"\b00?:00(:00(\.0+)?)?")
    if any(":" in midnight.sub("", value) for value in looks[time.column].common):
        yield f"the time of day stands in {first_few(clocks)} too and is not read"
        return
    columns["time_of_day"] = Guess(clocks[0], 0.9, tuple(clocks[1:]), "the time of day")
    yield f"the time of day stands in {clocks[0]!r} and is joined to the date"


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
        text = f"there is more than one currency ({', '.join(known)}): a run takes one"
        line = f"data.transactions.keep: {{{columns['currency'].column}: [{known[0]}]}}"
        doubts.append(Doubt(text, line))
    return known


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())
