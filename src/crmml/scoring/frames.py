"""Several tables in one frame: how a further table reaches a model that takes one frame only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from crmml.data.schema import TABLES, TRANSACTIONS, Kind, table_named
from crmml.exceptions import DataError

TABLE = "table"
"""The column that says to which table a row belongs; null or absent: to the main one."""


class InputColumn(NamedTuple):
    """One column of the frame.

    Attributes
    ----------
    name : str
    kind : str or None
        What it holds (:data:`crmml.data.schema.Kind`); None where the tables do not agree or the
        contract does not know it.
    required : bool
        Whether the main table needs it.
    sparse : bool
        Whether rows of some table have no value in it.
    """

    name: str
    kind: Kind | None
    required: bool
    sparse: bool


def input_columns(
    columns: Mapping[str, Sequence[str]], main: str = TRANSACTIONS.name
) -> list[InputColumn]:
    """Describe the one frame that holds several tables.

    Parameters
    ----------
    columns : mapping of str to sequence of str
        Columns by table.
    main : str
        The table that a bundle starts from (:func:`crmml.scoring.bases.main_table`).

    Returns
    -------
    list of InputColumn
        The union of the columns in the order of :data:`crmml.data.schema.TABLES`; the column
        ``table`` comes first if there is more than one table.

    Examples
    --------
    >>> found = input_columns({"transactions": ["customer_id", "amount"],
    ...                        "customers": ["customer_id", "contactable"]})
    >>> [column.name for column in found], [column.name for column in found if column.required]
    (['table', 'customer_id', 'amount', 'contactable'], ['customer_id', 'amount'])
    """
    tables = {s.name: columns[s.name] for s in TABLES if s.name in columns}
    several = len(tables) > 1
    found = [InputColumn(TABLE, "text", required=False, sparse=True)] if several else []
    for name in dict.fromkeys(column for names in tables.values() for column in names):
        holders = [table for table, names in tables.items() if name in names]
        kinds = {table_named(table).kind(name) for table in holders}
        found.append(
            InputColumn(
                name,
                kinds.pop() if len(kinds) == 1 else None,
                required=name in table_named(main).required,
                sparse=len(holders) < len(tables),
            )
        )
    return found


def split_tables(frame: pd.DataFrame, main: str = TRANSACTIONS.name) -> dict[str, pd.DataFrame]:
    """Part a frame into its tables by the column ``table``.

    Parameters
    ----------
    frame : DataFrame
        Rows of one or several tables of :data:`crmml.data.schema.TABLES`; rows without a table
        belong to the main one.
    main : str
        The table that a bundle starts from.

    Returns
    -------
    dict of str to DataFrame
        Each table with the columns that it may have. A column without any value in the rows of
        its table is left out, unless the table requires it.

    Raises
    ------
    DataError
        If a row names a table that the contract does not know.

    Examples
    --------
    >>> rows = pd.DataFrame({"table": [None, "customers"], "customer_id": [1, 1],
    ...                      "amount": [9.5, None], "industry": [None, "retail"]})
    >>> {name: list(part) for name, part in split_tables(rows).items()}
    {'transactions': ['customer_id', 'amount'], 'customers': ['customer_id', 'industry']}
    """
    if TABLE not in frame.columns:
        return {main: frame}
    names = frame[TABLE].astype(object).where(frame[TABLE].notna(), main)
    known = [schema.name for schema in TABLES]
    unknown = ~names.isin(known)
    if unknown.any():
        raise DataError(
            f"each row must name one of the tables {', '.join(known)}, or none",
            table="model input",
            column=TABLE,
            n_rows=int(unknown.sum()),
            examples=names[unknown].head(5),
        )
    parts: dict[str, pd.DataFrame] = {}
    everywhere = {name for schema in TABLES for name in schema.names}
    for schema in TABLES:
        rows = frame.loc[(names == schema.name).to_numpy()].drop(columns=TABLE)
        if not len(rows):
            continue
        own = [
            name
            for name in rows.columns
            if name in schema.required
            or (rows[name].notna().any() and _may_hold(schema.name, name, everywhere))
        ]
        parts[schema.name] = rows[own].reset_index(drop=True)
    return parts


def _may_hold(table: str, column: str, everywhere: set[str]) -> bool:
    schema = table_named(table)
    return column in schema.names or (schema.open_ended and column not in everywhere)
