"""What each input table holds: rows, span, and the figures that say what it can carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from crmml.data.schema import TABLES, TableSchema

Figure = tuple[str, str]
"""What it is, and its value as it is shown."""


@dataclass(frozen=True)
class TableProfile:
    """One table in a few figures.

    Attributes
    ----------
    table : str
        Name of the table.
    rows : int
        Number of rows, cleaned.
    customers : int or None
        Customers in it; None for a table common to all.
    first, last : Timestamp or None
        Earliest and latest time; None for a table without time.
    figures : tuple of (str, str)
        What is particular to the table.
    """

    table: str
    rows: int
    customers: int | None
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    figures: tuple[Figure, ...]


def opened(tables: Mapping[str, ir.Table]) -> dict[str, ir.Table]:
    """Return the tables that are there by name, in the order of their contracts.

    Parameters
    ----------
    tables : Tables, or mapping of str to Ibis table
        Checked tables.
    """
    return {schema.name: tables[schema.name] for schema in TABLES if schema.name in tables}


def profile_tables(tables: Mapping[str, ir.Table]) -> tuple[TableProfile, ...]:
    """Describe every table beside the log; all is counted in the engine.

    Parameters
    ----------
    tables : Tables, or mapping of str to Ibis table
        Checked tables.
    """
    given = opened(tables)
    log = given.get("transactions")
    end = None if log is None else log.timestamp.max().execute()
    return tuple(
        _profile(schema, given[schema.name], end)
        for schema in TABLES
        if schema.name in given and schema.name != "transactions"
    )


def _profile(schema: TableSchema, table: ir.Table, end: Any) -> TableProfile:
    asked: dict[str, ir.Value] = {"rows": table.count()}
    if "customer_id" in table.columns:
        asked["customers"] = table.customer_id.nunique()
    if schema.time:
        asked |= {"first": table[schema.time].min(), "last": table[schema.time].max()}
    known = _row(table, **asked)
    first, last = (_moment(known.get(name)) for name in ("first", "last"))
    figures = tuple(_FIGURES[schema.name](table, known["rows"], end))
    return TableProfile(schema.name, known["rows"], known.get("customers"), first, last, figures)


def _moment(value: Any) -> pd.Timestamp | None:
    return None if value is None else pd.Timestamp(value)


def _row(table: ir.Table, **asked: ir.Value) -> dict[str, Any]:
    found: dict[str, Any] = table.aggregate(**asked).to_pyarrow().to_pylist()[0]
    return found


def _by(table: ir.Table, column: str, most: int = 10) -> dict[str, int]:
    """Count rows by the values of a column, the most frequent first."""
    counts = table.group_by(value=table[column].cast("string")).agg(n=table.count())
    ordered = counts.order_by(ibis.desc("n"), "value").limit(most).to_pyarrow().to_pylist()
    return {"not given" if row["value"] is None else row["value"]: row["n"] for row in ordered}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{value} {n:,}" for value, n in counts.items()) or "none"


def _share(part: int | None, whole: int) -> str:
    return f"{(part or 0) / whole:.1%}" if whole else "none"


def _customers(table: ir.Table, rows: int, end: Any) -> Iterator[Figure]:
    if "contactable" in table.columns:
        flag = table.contactable
        yes = _row(table, yes=flag.ifelse(1, 0).sum(), unknown=flag.isnull().sum())
        told = f"{_share(yes['yes'], rows)}, unknown {_share(yes['unknown'], rows)}"
        yield "may be contacted", told
    else:
        yield "may be contacted", "not given: everybody counts as contactable"
    yield "columns", ", ".join(name for name in table.columns if name != "customer_id") or "none"


def _interactions(table: ir.Table, rows: int, end: Any) -> Iterator[Figure]:
    yield "by kind", _listed(_by(table, "kind"))
    complaints = table.filter(table.kind == "complaint")
    if "resolved_at" in table.columns:
        found = _row(complaints, n=complaints.count(), open=complaints.resolved_at.isnull().sum())
        yield "open complaints", f"{found['open'] or 0:,} of {found['n']:,}"
    else:
        yield "open complaints", "not known without resolved_at"
    if "score" in table.columns:
        found = _row(table, n=table.score.count(), mean=table.score.cast("float64").mean())
        yield "scores", f"{found['n']:,}, mean {found['mean']:.2f}" if found["n"] else "none"


def _treatments(table: ir.Table, rows: int, end: Any) -> Iterator[Figure]:
    yield "by action", _listed(_by(table, "action"))
    control = _row(table, n=(table.action == "no_action").ifelse(1, 0).sum())
    yield "control (no_action)", _share(control["n"], rows)
    if "propensity" in table.columns:
        known = _row(table, n=table.propensity.count())
        yield "propensity known", _share(known["n"], rows)
    else:
        yield "propensity known", "no: effects cannot be measured without it"


def _subscriptions(table: ir.Table, rows: int, end: Any) -> Iterator[Figure]:
    active = _row(table, n=table.ended_at.isnull().sum())
    yield "active", f"{active['n'] or 0:,} of {rows:,}"
    ended = table.filter(table.ended_at.notnull())
    if "end_reason" in table.columns:
        yield "ended by reason", _listed(_by(ended, "end_reason"))
    if "plan" in table.columns:
        yield "by plan", _listed(_by(table, "plan"))


def _schedules(table: ir.Table, rows: int, end: Any) -> Iterator[Figure]:
    yield "by name", _listed(_by(table, "name"))
    last = pd.Timestamp(_row(table, last=table.ends_at.max())["last"])
    if end is not None:
        ahead = last > pd.Timestamp(end)
        told = f"until {last:%Y-%m-%d}" if ahead else f"no: the last ends on {last:%Y-%m-%d}"
        yield "reaches past the log", told


def _labelled(table: ir.Table, rows: int, end: Any) -> Iterator[Figure]:
    found = _row(table, yes=table.outcome.ifelse(1, 0).sum(), known=table.outcome.count())
    yield "base rate of the outcome", _share(found["yes"], found["known"])
    others = [name for name in table.columns if name not in ("customer_id", "outcome")]
    yield "columns", ", ".join(others) or "none"


_FIGURES: Mapping[str, Callable[[ir.Table, int, Any], Iterator[Figure]]] = {
    "customers": _customers,
    "interactions": _interactions,
    "treatments": _treatments,
    "subscriptions": _subscriptions,
    "schedules": _schedules,
    "labelled": _labelled,
}
