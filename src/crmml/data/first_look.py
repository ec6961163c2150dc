"""The first look: what a file is, on one screen, and its tables where nothing is left open."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from crmml.card import Card, Shown, listed
from crmml.data.cleaning import Cleaned, is_purchase
from crmml.data.mapping import Proposal, propose_tables, write_section
from crmml.data.money import READ_ONLY
from crmml.data.reading import Source
from crmml.data.schema import TRANSACTIONS
from crmml.data.settings import Policies
from crmml.data.tables import Tables, open_tables
from crmml.data.weighing import Doubt
from crmml.exceptions import CrmmlError, DataError

ROWS = 10
"""Rows that are shown as they were understood."""
DOUBTS = 5
"""Doubts that are shown; the configuration holds the others."""

_HOW = (
    "date_format",
    "decimal",
    "timezone",
    "keep",
    "encoding",
    "delimiter",
    "table",
    "without_amounts",
    "amount_per_purchase",
)


@dataclass(frozen=True, eq=False, repr=False)
class FirstLook(Shown):
    """What a file is, in what fits one screen.

    Attributes
    ----------
    proposal : Proposal
        How it would be read, with evidence and doubts.
    rows : DataFrame
        Ten rows: as understood, the earliest first; as they are in the file, where that is not
        settled yet.
    facts : mapping of str to value
        Of a log: ``rows``, ``left_out``, ``customers``, ``first``, ``last``, ``purchases``,
        ``revenue`` (currency) and ``one_time_share``; empty where it cannot be read yet.
    why_not : str
        What must be given, or why it cannot be read as proposed; empty where it can.
    """

    proposal: Proposal
    rows: pd.DataFrame
    facts: Mapping[str, Any]
    why_not: str = ""

    @property
    def title(self) -> str:
        """Say in one sentence what the file is."""
        proposal, told = self.proposal, self.proposal.recognition
        lead = f"{proposal.path.name} is the table {proposal.schema.name}"
        if told is None:
            return f"{lead}, as you said: one row is {proposal.schema.row}"
        return f"{lead} ({told.confidence:.0%} sure): {'; '.join(told.evidence)}"

    @property
    def sentence(self) -> str:
        """Say the figures of a log in one sentence; empty where there are none."""
        f = self.facts
        if not f:
            return ""
        left = f", {f['left_out']:,} left out" if f["left_out"] else ""
        money = "no amounts" if f["revenue"] is None else f"revenue {f['revenue']:,.2f}"
        return (
            f"{f['customers']:,} customers, {f['first']} to {f['last']}, {f['purchases']:,} "
            f"purchases in {f['rows']:,} rows{left}, {money}, {f['one_time_share']:.0%} bought "
            "once only"
        )

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The doubts that fit the screen: what is to be chosen first."""
        proposal, asked = self.proposal, []
        for name, choices in proposal.missing.items():
            key = f"data.{proposal.schema.name}.columns.{name}"
            shown = ", ".join(f"{c!r} ({proposal.figures[c]})" for c in choices[:3])
            text = f"{name} is to be chosen, it may be {shown}"
            nothing = f"no column looks like {name}, which is required"
            asked.append(Doubt(text, f"{key}: {choices[0]}") if choices else Doubt(nothing))
        return (*asked, *proposal.doubts)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        proposal = self.proposal
        return {
            "file": proposal.path.name,
            "table": proposal.schema.name,
            "title": self.title,
            "settled": not proposal.missing and not self.why_not,
            "why_not": self.why_not,
            "columns": {
                name: {
                    "column": guess.column,
                    "confidence": guess.confidence,
                    "evidence": guess.why,
                    "else": list(guess.alternatives),
                }
                for name, guess in proposal.columns.items()
            },
            "choose": {
                name: {column: proposal.figures[column] for column in choices}
                for name, choices in proposal.missing.items()
            },
            "amounts": {label: round(total, 2) for label, total in proposal.totals.items()},
            "facts": {name: _plain(value) for name, value in self.facts.items()},
            "rows": [
                {str(name): _plain(value) for name, value in row.items()}
                for row in self.rows.to_dict("records")
            ],
            "evidence": list(proposal.evidence),
            "doubts": [{"text": str(doubt), "line": doubt.line} for doubt in self.doubts],
        }

    def _card(self) -> Card:
        rows = (
            ("columns", listed((f"{k} from {g.column}" for k, g in self.proposal.columns.items()))),
            ("figures", self.sentence or f"none yet: {self.why_not}"),
            *(("to look at", str(doubt)) for doubt in self.doubts[:DOUBTS]),
        )
        return Card(self.title, rows)

    def _repr_html_(self) -> str:
        """Show the screen in a notebook."""
        proposal = self.proposal
        guesses = pd.DataFrame(
            [(n, g.column, f"{g.confidence:.0%}", g.why) for n, g in proposal.columns.items()],
            columns=["our name", "column", "sure", "evidence"],
        )
        doubts = "".join(
            f"<li>{html.escape(doubt)}"
            + (f"<br><code>{html.escape(doubt.line)}</code>" if doubt.line else "")
            + "</li>"
            for doubt in self.doubts[:DOUBTS]
        )
        parts = [
            f"<b>{html.escape(self.title)}</b>",
            guesses.to_html(index=False, escape=True),
            self.rows.to_html(index=False, escape=True),
            f"<p>{html.escape(self.sentence)}</p>" if self.sentence else "",
            f"<p><b>{html.escape(self.why_not)}</b></p>" if self.why_not else "",
            f"<p>To look at:</p><ul>{doubts}</ul>" if doubts else "",
        ]
        return "\n".join(part for part in parts if part)


def take_look(proposal: Proposal, timezone: str | None = None) -> FirstLook:
    """Read a file as proposed, and say what is in it.

    Rows that cannot be read are left out of the figures, and counted.

    Parameters
    ----------
    proposal : Proposal
        How to read it.
    timezone : str, optional
        Of the business; where it is needed and not given, times are shown in UTC.
    """
    sample = proposal.sample.head(ROWS)
    if proposal.missing or proposal.schema is not TRANSACTIONS:
        why = f"{' and '.join(proposal.missing)} must be chosen first" if proposal.missing else ""
        return FirstLook(proposal, sample, {}, why)
    zone = timezone or ("UTC" if proposal.needs_timezone else None)
    why = ""
    if proposal.needs_timezone and timezone is None:
        why = (
            f"times carry an offset, so data.{proposal.schema.name}.timezone must be given first; "
            "shown here are times of UTC"
        )
    policies = proposal.to_policies(unreadable="drop", unlikely_dates="drop")
    try:
        source = replace(proposal.to_source(zone), data=proposal.opened)
        tables = open_tables({"transactions": source}, policies=policies)
        far = [note for note in tables.report.notes if "policies.unlikely_dates" in note]
        doubts = tuple(Doubt(note, "data.policies.unlikely_dates: drop") for note in far)
        proposal = replace(proposal, doubts=(*doubts, *proposal.doubts))
        return FirstLook(proposal, _first_rows(tables.transactions), _facts(tables), why)
    except CrmmlError as error:
        return FirstLook(proposal, sample, {}, str(error))


def _first_rows(lines: ir.Table) -> pd.DataFrame:
    order = [n for n in ("timestamp", "customer_id", "order_id", "amount") if n in lines.columns]
    rows: pd.DataFrame = lines.order_by(order).limit(ROWS).to_pandas()
    return rows


def _facts(tables: Tables) -> dict[str, Any]:
    lines, report = tables.transactions, tables.report
    money = not tables.facts("transactions").reading.get("without_amounts")
    totals = {"customers": lines.customer_id.nunique(), "revenue": lines.amount.sum()}
    found = lines.aggregate(**totals).to_pyarrow().to_pylist()[0]
    bought = lines.filter(is_purchase(lines))
    visits = bought.select("customer_id", day=bought.timestamp.cast("date")).distinct()
    each = visits.group_by("customer_id").agg(n=visits.count())
    counted = each.aggregate(
        purchases=each.n.sum(), buyers=each.count(), once=(each.n == 1).sum()
    ).to_pyarrow().to_pylist()[0]  # fmt: skip
    return {
        "rows": report.rows_kept,
        "left_out": report.rows_read - report.rows_kept,
        "customers": found["customers"],
        "first": str(tables.first_timestamp.date()),
        "last": str(tables.last_timestamp.date()),
        "purchases": int(counted["purchases"] or 0),
        "revenue": float(found["revenue"]) if money else None,
        "one_time_share": (counted["once"] or 0) / max(counted["buyers"], 1),
    }


def _plain(value: Any) -> Any:
    if value is None or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    return value if isinstance(value, (bool, int, float, str)) else str(value)


class ReadTables(Tables):
    """Tables of a file, together with the screen that says how it was understood.

    In a notebook it shows that screen. Where something is left open, each use of its tables says
    what.

    Attributes
    ----------
    look : FirstLook
        What was understood.
    """

    def __init__(self, look: FirstLook, tables: Tables | None, why_not: str) -> None:
        names = list(tables) if tables is not None else []
        cleaned = {name: tables.facts(name) for name in names} if tables is not None else {}
        super().__init__(cleaned, tables.policies if tables is not None else Policies())
        self.look = look
        self._why_not = why_not

    def facts(self, name: str) -> Cleaned:
        """Return a table with its facts; see :meth:`crmml.data.tables.Tables.facts`.

        Raises
        ------
        DataError
            If the file is not settled yet.
        """
        if self._why_not:
            raise DataError(self._why_not, table=self.look.proposal.schema.name)
        return super().facts(name)

    def to_yaml(self) -> str:
        """Return the commented ``data:`` section of a configuration that reads the file so."""
        return write_section([(self.look.proposal, self.look.proposal.path)])

    def _repr_html_(self) -> str:
        return self.look._repr_html_()


def read(
    data: str | Path | pd.DataFrame, *, policies: Policies | None = None, **mapping: Any
) -> ReadTables:
    """Read a file or a frame as it is, and say what was understood.

    Parameters
    ----------
    data : str, Path or DataFrame
        The file, a folder of Parquet files, or a frame.
    policies : Policies, optional
        What to do with rows that need a decision; rows of totals are left out by default.
    **mapping
        Columns by hand, name of the contract to name in the file, as in
        ``customer_id="Kunde"``; and, where it was not found out, how to read: ``date_format``,
        ``decimal``, ``timezone``, ``keep``, ``encoding``, ``delimiter``, ``table``.

    Returns
    -------
    ReadTables
        The tables, as :func:`crmml.train` and :func:`crmml.score` take them.

    Raises
    ------
    DataError, SourceError
        If it cannot be opened, or is no table from which anything can be computed.
    MissingColumnsError, ParameterError
        If a column by hand is not there, or its name is none of the contract.

    Examples
    --------
    >>> lines = pd.DataFrame({"Kunde": ["a", "b", "a"], "Datum": ["2024-01-02"] * 3,
    ...                       "Betrag": [1.5, 2.0, 3.0]})
    >>> tables = read(lines)
    >>> tables.look.facts["customers"], tables.look.facts["revenue"]
    (2, 6.5)
    >>> tables.counts
    {'transactions': 3}
    """
    how = {name: mapping.pop(name) for name in _HOW if name in mapping}
    said = "transactions" if any(n in (*TRANSACTIONS.names, *READ_ONLY) for n in mapping) else None
    (proposal,) = propose_tables([(data, said)], mapping or None)
    look = take_look(proposal, how.get("timezone"))
    name = proposal.schema.name
    source = proposal.to_source()
    settings = {f: getattr(source, f) for f in Source.__dataclass_fields__ if f != "data"} | how
    if look.proposal.missing:
        wanted = " and ".join(proposal.missing)
        first = next(iter(proposal.missing))
        choices = ", ".join(map(repr, proposal.missing[first])) or "no column of the file"
        why = f"{wanted} must be chosen, as in crmml.read(..., {first}=COLUMN): it may be {choices}"
        return ReadTables(look, None, why)
    try:
        tables = open_tables(
            {name: Source(proposal.data, **settings)}, policies=policies or proposal.to_policies()
        )
    except CrmmlError as error:
        return ReadTables(look, None, str(error))
    return ReadTables(look, tables, "")
