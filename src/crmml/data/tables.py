"""The doors: what a user has becomes checked tables, each with its facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pandas as pd
from ibis.backends import BaseBackend

from crmml.data import engine
from crmml.data.cleaning import RAW, Cleaned, CleaningReport, clean
from crmml.data.reading import Conformed, Readable, Source, read_table
from crmml.data.schema import TABLES, TableSchema, table_named
from crmml.data.settings import Policies
from crmml.exceptions import CrmmlError, MissingTableError, ParameterError, SourceError

STARTS: tuple[str, ...] = ("transactions", "subscriptions", "labelled")
"""At least one of them must be there: each carries outputs of its own."""

_DEFAULTS = {"timezone": None, "date_format": None, "decimal": ".", "delimiter": None}


class Tables(Mapping[str, ir.Table]):
    """Checked tables by name: what the features are computed from. They cannot be changed.

    Parameters
    ----------
    cleaned : mapping of str to Cleaned
        The tables with their facts.
    policies : Policies
        The decisions taken.

    Examples
    --------
    >>> log = pd.DataFrame({"customer_id": [1, 2], "timestamp": ["2024-01-02", "2024-01-05"],
    ...                     "amount": [3, 4]})
    >>> sales = pd.DataFrame({"starts_at": ["2024-01-01"], "ends_at": ["2024-02-01"],
    ...                       "name": ["winter sale"]})
    >>> tables = open_tables({"transactions": log, "schedules": sales})
    >>> list(tables), tables.counts, str(tables.span("transactions")[1])
    (['transactions', 'schedules'], {'transactions': 2, 'schedules': 1}, '2024-01-05 00:00:00')
    """

    def __init__(self, cleaned: Mapping[str, Cleaned], policies: Policies) -> None:
        self._cleaned = {s.name: cleaned[s.name] for s in TABLES if s.name in cleaned}
        self._policies = policies

    def __getitem__(self, name: str) -> ir.Table:
        """Return a table: the columns of its contract, cleaned.

        Raises
        ------
        MissingTableError
            If it was not given. (A ``KeyError`` too, so that ``get`` and ``in`` work.)
        """
        return self.facts(name).table

    def __iter__(self) -> Iterator[str]:
        return iter(self._cleaned)

    def __len__(self) -> int:
        return len(self._cleaned)

    # two sets of tables are the same only if they are one
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        counted = ", ".join(f"{name}: {rows:,} rows" for name, rows in self.counts.items())
        return f"Tables({counted})"

    @property
    def policies(self) -> Policies:
        """The decisions taken."""
        return self._policies

    @property
    def reports(self) -> dict[str, CleaningReport]:
        """What the policies did, by table."""
        return {name: facts.report for name, facts in self._cleaned.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Rows kept, by table."""
        return {name: facts.report.rows_kept for name, facts in self._cleaned.items()}

    def facts(self, name: str) -> Cleaned:
        """Return a table together with its report, span and currency.

        Raises
        ------
        MissingTableError
            If it was not given.
        """
        if name not in self._cleaned:
            raise MissingTableError([name], self._cleaned)
        return self._cleaned[name]

    def span(self, name: str) -> tuple[pd.Timestamp, pd.Timestamp]:
        """Return the earliest and the latest time of a table, by the time column of its contract.

        Raises
        ------
        MissingTableError
            If it was not given.
        ParameterError
            If the table has no time.
        """
        facts = self.facts(name)
        if facts.first is None or facts.last is None:
            dated = [schema.name for schema in TABLES if schema.time is not None]
            raise ParameterError("table", f"one with a time, of {dated}", name)
        return facts.first, facts.last

    def before(self, cutoff: pd.Timestamp) -> Tables:
        """Return what was known before a moment.

        Rows from the cutoff on are left out, and values that became known later are null; tables
        of plans (``known_ahead``) and tables without time stay whole. Reports, counts and spans
        stay those of the whole tables.

        Parameters
        ----------
        cutoff : Timestamp
            In the business's calendar; exclusive.
        """
        return Tables(
            {
                name: facts._replace(table=_before(facts.table, table_named(name), cutoff))
                for name, facts in self._cleaned.items()
            },
            self._policies,
        )

    def read_id(self, customer_id: Any) -> int | str:
        """Return the id of a customer as these tables hold it: a whole number, or text.

        Parameters
        ----------
        customer_id : int or str
            As a person types it.

        Raises
        ------
        CrmmlError
            If the tables hold whole numbers and it is none. The sentence does not repeat it.
        """
        first = next(self[s.name] for s in TABLES if s.has_customers and s.name in self)
        if not first.customer_id.type().is_integer():
            return str(customer_id)
        try:
            return int(str(customer_id))
        except ValueError:
            raise CrmmlError("the ids of these tables are whole numbers; this one is not") from None

    def of_customer(self, customer_id: Any) -> Tables:
        """Return the rows of one customer, filtered by the engine; other tables stay whole.

        Reports, counts and spans stay those of the whole tables, so that a snapshot of the
        customer alone is its row in the snapshot of all.

        Parameters
        ----------
        customer_id : int or str
            See :meth:`read_id`.
        """
        key, mine = self.read_id(customer_id), self
        for name, table in self.items():
            if table_named(name).has_customers:
                mine = mine.with_table(name, table.filter(table.customer_id == key))
        return mine

    @contextmanager
    def only_customer(self, customer_id: Any) -> Iterator[Tables]:
        """Yield the same, filtered once for several questions and dropped afterwards.

        Parameters
        ----------
        customer_id : int or str
            See :meth:`read_id`.
        """
        mine = self.of_customer(customer_id)
        with ExitStack() as stack:
            for name, table in mine.items():
                if table_named(name).has_customers:
                    mine = mine.with_table(name, stack.enter_context(engine.kept(table)))
            yield mine

    def with_table(self, name: str, table: ir.Table) -> Tables:
        """Return these with other rows of one table, or other values; its facts stay.

        Parameters
        ----------
        name : str
            Of a table that is there.
        table : Ibis table
            Derived from it.
        """
        return Tables(
            {**self._cleaned, name: self.facts(name)._replace(table=table)}, self.policies
        )

    @property
    def transactions(self) -> ir.Table:
        """The log: money is DECIMAL(16, 2), times are naive in the business's calendar.

        Raises :class:`~crmml.exceptions.MissingTableError` where there is none, as do all
        properties below but ``customers``.
        """
        return self["transactions"]

    @property
    def customers(self) -> ir.Table | None:
        """One row per customer, with further covariates; None where there is no such table."""
        return self.get("customers")

    def require_log(self) -> None:
        """Refuse what needs a log of purchases where there is none.

        Raises
        ------
        MissingTableError
            If there are no transactions.
        """
        if "transactions" not in self:
            why = "this rests on purchases"
            if "subscriptions" in self:
                why = "contracts hold no purchases; `crmml train` judges their models itself"
            elif "labelled" in self:
                why = "a labelled table has no time, so `crmml train` judges its models itself"
            raise MissingTableError(["transactions"], self, why)

    @property
    def report(self) -> CleaningReport:
        """What the policies did to the transactions."""
        return self.facts("transactions").report

    @property
    def first_timestamp(self) -> pd.Timestamp:
        """Earliest transaction."""
        return self.span("transactions")[0]

    @property
    def last_timestamp(self) -> pd.Timestamp:
        """Latest transaction."""
        return self.span("transactions")[1]

    @property
    def currency(self) -> str | None:
        """The one currency, where the transactions name it."""
        return self.facts("transactions").currency


def _before(table: ir.Table, schema: TableSchema, cutoff: pd.Timestamp) -> ir.Table:
    if schema.time is None or schema.known_ahead:
        return table
    table = table.filter(table[schema.time] < cutoff)
    # A contract that ends in March has no end for whoever looks in February.
    later = {c.name: c.known_from for c in schema.columns if c.known_from}
    return table.mutate(
        **{
            name: ibis.ifelse(table[moment] < cutoff, table[name], ibis.null(table[name].type()))
            for name, moment in later.items()
            if name in table.columns and moment in table.columns
        }
    )


def open_tables(
    tables: Readable | Source | Mapping[str, Readable | Source] | None = None,
    customers: Readable | Source | None = None,
    *,
    transactions: Readable | Source | None = None,
    columns: Mapping[str, str | None] | None = None,
    policies: Policies | None = None,
    timezone: str | None = None,
    date_format: str | None = None,
    decimal: str = ".",
    delimiter: str | None = None,
) -> Tables:
    """Open, validate and clean the input tables in the engine.

    Parquet files, database tables and Ibis tables stay where they are and are read lazily, only
    the columns that are needed; what has to be parsed from text (CSV files) is read into typed
    columns once. Ids in CSV files are text, with their leading zeros. An Ibis table of another
    engine than DuckDB (PostgreSQL, say) stays there, and files and frames beside it are brought to
    that engine.

    Parameters
    ----------
    tables : path, DataFrame, Arrow table, Ibis table or Source; or a mapping
        The log; or by name (:data:`crmml.data.schema.TABLES`) any tables, among them at least one
        of ``transactions``, ``subscriptions`` and ``labelled``. A :class:`Source` carries its own
        settings.
    customers : path, DataFrame, Arrow table, Ibis table or Source, optional
        The customers, where ``tables`` is the log.
    transactions : path, DataFrame, Arrow table, Ibis table or Source, optional
        The log by its name, instead of ``tables``.
    columns : mapping, optional
        Of ``transactions``: name of the contract to name in the source.
    policies : Policies, optional
        What to do with rows that need a decision.
    timezone, date_format, decimal, delimiter
        How to read all tables that are no ``Source``; see :class:`Source`.

    Returns
    -------
    Tables
        The checked tables, each with the report of its cleaning.

    Raises
    ------
    SourceError
        If a source cannot be opened.
    MissingTableError
        If no table is there from which anything can be computed.
    MissingColumnsError, DataError
        If columns are missing or rows break a rule.
    ParameterError
        If a table is not known or a setting is outside its legal range.

    Examples
    --------
    >>> lines = pd.DataFrame({"client": [7, 7], "day": ["2024-01-02", "2024-03-01"],
    ...                       "total": [10.0, -2.5]})
    >>> tables = open_tables(lines, columns={"customer_id": "client", "timestamp": "day",
    ...                                      "amount": "total"})
    >>> tables.report.rows("returns"), str(tables.last_timestamp)
    (1, '2024-03-01 00:00:00')
    """
    given = by_name(tables, customers, transactions=transactions)
    settings: dict[str, Any] = {
        "timezone": timezone,
        "date_format": date_format,
        "decimal": decimal,
        "delimiter": delimiter,
    }
    policies = policies or Policies()
    sources = _as_sources(given, columns, settings)
    if not any(name in sources for name in STARTS):
        raise MissingTableError(STARTS, sources)
    given_engine = _engine_for(sources)
    con = given_engine or engine.connect()
    cleaned: dict[str, Cleaned] = {}
    id_type: dt.DataType | None = None
    for schema in TABLES:
        if schema.name not in sources:
            continue
        source = sources[schema.name]
        read = read_table(source, schema, con)
        if schema.has_customers:
            # Ids are compared between tables, so all take the type of the first.
            id_type = id_type or read.table.customer_id.type()
            read = read._replace(table=_with_ids(read.table, schema, id_type))
        # Lazy reading fails here, at the first look at the rows, not where the file was opened.
        with engine.plain_errors(source.name):
            found = _clean(read, schema, policies, con)
        if given_engine is None:
            found = found._replace(table=engine.name_query(found.table, con))
        cleaned[schema.name] = found._replace(reading=source.written())
    return Tables(cleaned, policies)


def by_name(
    tables: Any = None, customers: Any = None, *, transactions: Any = None
) -> dict[str, Any]:
    """Return tables by name, from the ways in which a user may hand them over.

    Raises
    ------
    ParameterError
        If a table is given twice or is not known.
    """
    if tables is not None and transactions is not None:
        raise ParameterError("tables", "left out where transactions are given", "both")
    if isinstance(tables, Mapping):
        given = {table_named(name).name: table for name, table in tables.items()}
    else:
        given = {"transactions": transactions if tables is None else tables}
    if customers is not None:
        if given.get("customers") is not None:
            raise ParameterError("customers", "given once", "the argument and a table")
        given["customers"] = customers
    return {name: table for name, table in given.items() if table is not None}


def _as_sources(
    given: Mapping[str, Any], columns: Mapping[str, str | None] | None, settings: dict[str, Any]
) -> dict[str, Source]:
    """Wrap what is no Source yet, and refuse settings that would reach nothing."""
    # A setting that reaches no table is a mistake of the user, and is not passed over in silence.
    unused = [name for name in settings if settings[name] != _DEFAULTS[name]]
    log = given.get("transactions")
    if columns is not None and (log is None or isinstance(log, Source)):
        unused = ["columns"]
    elif any(not isinstance(table, Source) for table in given.values()):
        unused = []
    if given and unused:
        rule = "given inside the Source, which carries its own settings"
        raise ParameterError("how to read", rule, unused)
    return {
        name: table
        if isinstance(table, Source)
        else Source(table, columns=columns if name == "transactions" else None, **settings)
        for name, table in given.items()
    }


def _engine_for(sources: Mapping[str, Source]) -> BaseBackend | None:
    """Return the engine of the first table that lies on one; None where none does.

    Tables of several engines cannot be worked on together, and none is pulled through memory.
    """
    found: BaseBackend | None = None
    for schema in TABLES:
        source = sources.get(schema.name)
        if source is None or not isinstance(source.data, ir.Table):
            continue
        own = engine.engine_of(source.data)
        if own is None:
            continue
        if found is None:
            found = own
        elif own is not found and not (engine.is_embedded(own) and engine.is_embedded(found)):
            raise SourceError(
                f"the table {schema.name!r}",
                f"it lies on {own.name}, another table on {found.name}: Ibis tables must lie on "
                "one connection, for they are not pulled through memory",
            )
    return found


def _with_ids(table: ir.Table, schema: TableSchema, id_type: dt.DataType) -> ir.Table:
    """Give ids of customers the type that they have in the first table, usually the log.

    They may be the same ids, read as text on one side and as numbers on the other.
    """
    for name in ("customer_id", "referred_customer_id"):
        if name in table.columns and table[name].type() != id_type:
            value = table[name]
            read = (
                value.cast("string")
                if id_type.is_string()
                else engine.cast_or_null(value.strip(), id_type)
            )
            raw = {} if RAW + name in table.columns else {RAW + name: value}
            table = table.mutate(**{name: read}, **raw)
    return table


def _clean(read: Conformed, schema: TableSchema, policies: Policies, con: BaseBackend) -> Cleaned:
    cleaned = clean(read.table, policies, schema=schema, names=read.names, notes=read.notes)
    # ranking all rows is paid once and not once per question
    dropped = policies.duplicates == "drop" and not schema.key
    if dropped and cleaned.report.rows("duplicates"):
        return cleaned._replace(table=engine.store(cleaned.table, con))
    return cleaned
