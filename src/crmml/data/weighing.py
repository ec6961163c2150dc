"""Where columns compete: what the whole file says of each, and the doubts that are left."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from crmml.data.amounts import AmountForm, parse_number
from crmml.data.columns import (
    READS,
    SURE,
    Guess,
    Look,
    beside_amount,
    by_name,
    candidates,
    fits_kind,
)
from crmml.data.engine import engine_of, store
from crmml.data.files import Form
from crmml.data.schema import TableSchema
from crmml.exceptions import first_few


class Doubt(str):
    """What a human should look at: a sentence, with the line of the configuration that settles it.

    Attributes
    ----------
    line : str
        A key of the configuration and its value; empty where the file itself has to be mended.

    Examples
    --------
    >>> doubt = Doubt("the dates are ambiguous", 'data.transactions.date_format: "%d/%m/%Y"')
    >>> print(doubt, "->", doubt.line)
    the dates are ambiguous -> data.transactions.date_format: "%d/%m/%Y"
    """

    line: str

    def __new__(cls, text: str, line: str = "") -> Doubt:
        """Make a doubt of its sentence and its line."""
        doubt = super().__new__(cls, text)
        doubt.line = line or getattr(text, "line", "")
        return doubt


_SETTLED: tuple[tuple[str, str], ...] = (
    (r"policies\.unreadable", "data.policies.unreadable: drop"),
    (r"time zone", 'data.{table}.timezone: "Europe/Berlin"'),
    (r"write encoding: (\w+)", "data.{table}.encoding: {0}"),
    (r"ambiguous: all read as '.+?' and as '(.+?)'", 'data.{table}.date_format: "{0}"'),
    (r"as the decimal sign", 'data.{table}.decimal: ","'),
    (r"first line looks like data", "data.{table}.header: true"),
)
"""Words of a sentence to the line of the configuration that settles it."""


def with_line(text: str, table: str) -> Doubt:
    """Return a sentence as a doubt, with the line that settles it where there is one.

    Examples
    --------
    >>> with_line("times carry an offset: give the business's time zone", "customers").line
    'data.customers.timezone: "Europe/Berlin"'
    """
    if isinstance(text, Doubt) and text.line:
        return text
    for words, line in _SETTLED:
        if found := re.search(words, text):
            return Doubt(text, line.format(*found.groups(), table=table))
    return Doubt(text)


@dataclass(frozen=True)
class Seen:
    """A file that was looked at.

    Attributes
    ----------
    name : str
        What to call it.
    data : Any
        The path, or the table itself.
    form : Form
        How it is written.
    table : Ibis table
        What it holds, as it is.
    sample : DataFrame
        The first rows.
    looks : dict of str to Look
        What the columns are.
    """

    name: str
    data: Any
    form: Form
    table: ir.Table
    sample: pd.DataFrame
    looks: dict[str, Look]


@dataclass(frozen=True)
class Figures:
    """What the whole file says about a column, for whoever has to choose."""

    seen: Seen
    schema: TableSchema
    amounts: AmountForm
    known: dict[str, float] = field(default_factory=dict)

    def money(self, column: str) -> ir.NumericValue:
        """Return a column as numbers, null where they cannot be read."""
        value = self.seen.table[column]
        if isinstance(value, ir.StringValue):
            return parse_number(value.strip(), self.amounts.decimal, self.amounts.signs)
        return value.cast("float64")

    def measure(self, **asked: ir.Value) -> dict[str, float]:
        """Compute several figures in one pass; what is null counts as nothing."""
        if not asked:
            return {}
        found = self.seen.table.aggregate(**asked).to_pyarrow().to_pylist()[0]
        return {name: float(value or 0) for name, value in found.items()}

    def of_sample(self) -> Figures:
        """Return the same of the first rows, for what holds in each row or in none."""
        first = self.seen.table.limit(len(self.seen.sample))
        return replace(self, seen=replace(self.seen, table=first))

    def with_numbers(self, money: Iterable[str], others: Iterable[str]) -> Figures:
        """Return the same of these columns alone, those of money read once and kept as numbers."""
        table = self.seen.table
        con = engine_of(table)
        columns: dict[str, ir.Value] = {c: table[c] for c in others}
        columns |= {c: self.money(c) for c in money}
        if con is None or not columns:
            return self
        return replace(self, seen=replace(self.seen, table=store(table.select(**columns), con)))

    def total(self, column: str) -> float:
        """Add up a column of money."""
        if column not in self.known:
            self.known[column] = self.measure(total=self.money(column).sum())["total"]
        return self.known[column]

    def of(self, name: str, column: str) -> str:
        """Say in a few words what a column holds."""
        seen = self.seen.looks[column]
        kind = "money" if name == "unit_price" else self.schema.kind(name)
        if kind == "money" and fits_kind("money", seen):
            return f"adds up to {self.total(column):,.2f}"
        if name == "customer_id":
            said = f"{seen.distinct:,} values in {seen.filled:,} rows"
            if seen.rounded >= READS:
                return f"{said}, last digits rounded away by a spreadsheet"
            if seen.unique:
                if self.schema.name != "transactions":
                    return f"{said}: none repeats"
                return f"{said}: none repeats, so it numbers orders"
            if seen.spread is not None:
                return f"{said}, {seen.spread:.0%} of those that repeat come back another day"
            return said
        if kind == "id":
            return f"{seen.distinct:,} values in {seen.filled:,} rows"
        held = f"holds {first_few(seen.common[:3])}" if seen.common else "empty"
        if seen.filled and kind in ("timestamp", "money") and not fits_kind(kind, seen):
            held += f", which reads as no {'date' if kind == 'timestamp' else 'number'}"
        return held


def weigh(schema: TableSchema, columns: dict[str, Guess], figures: Figures) -> list[Doubt]:
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
            if c not in others
            and by_name(c, schema.name, name)[0] >= 0.8 * own
            and not (name == "customer_id" and _name_the_same(figures.seen, guess.column, c))
        ]
        if not rivals:
            continue
        sure = guess.confidence
        if own:
            sure *= 1 - 0.4 * by_name(rivals[0], schema.name, name)[0] / own
        columns[name] = replace(guess, confidence=round(sure, 2))
        shown = " or ".join(f"{c!r} ({figures.of(name, c)})" for c in [guess.column, *rivals[:2]])
        end = f"{guess.column!r} is proposed" if sure >= SURE else "choose one in the configuration"
        line = f"data.{schema.name}.columns.{name}: {rivals[0]}"
        doubts.append(Doubt(f"{name} may be {shown}: {end}", line))
    return doubts


def _name_the_same(seen: Seen, one: str, other: str) -> bool:
    """Say whether two columns tell the same customers apart, as a number and a name do."""
    pairs = seen.sample[[one, other]].dropna().drop_duplicates()
    return len(pairs) == pairs[one].nunique() == pairs[other].nunique()


def find_missing(
    schema: TableSchema, columns: dict[str, Guess], figures: Figures
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


def called(canonical: str, schema: TableSchema, looks: Mapping[str, Look]) -> str | None:
    """Return the first column that bears a usual name of a column, whatever it holds."""
    return next((c for c in looks if by_name(c, schema.name, canonical)[0] > 0.8), None)


def misfit(canonical: str, schema: TableSchema, seen: Seen) -> Doubt:
    """Say why the column that is called so is not the one."""
    column = called(canonical, schema, seen.looks) or ""
    told = seen.looks[column]
    line = f"data.{schema.name}.columns.{canonical}: {column}"
    if told.rounded >= READS:
        return Doubt(
            f"{column!r} holds ids that a spreadsheet has rounded ({first_few(told.common, 2)}): "
            f"of {told.filled:,} rows only {told.distinct:,} different ids are left, so customers "
            "have run together; export it again with that column as text"
        )
    if canonical == "customer_id" and told.unique:
        return Doubt(
            f"no value of {column!r} repeats in {told.filled:,} rows: it numbers the rows, so it "
            "cannot tell who came back",
            line,
        )
    if canonical == "customer_id" and told.spread is not None and told.spread < 0.05:
        text = f"values of {column!r} repeat within a day only: it numbers orders, not customers"
        return Doubt(text, line)
    shown = first_few(map(str, seen.sample[column].dropna().drop_duplicates()), 3)
    held = f"holds {shown}" if shown else "is empty"
    return Doubt(f"column {column!r} is called like {canonical}, but {held}", line)
