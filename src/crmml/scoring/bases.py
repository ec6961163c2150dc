"""What a bundle starts from, by its kind: the main table, its last event, and what it refuses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

import pandas as pd

from crmml.data.tables import Tables
from crmml.exceptions import MissingTableError
from crmml.features.contracts import contract_span
from crmml.features.windows import end_of_observation
from crmml.scoring.manifest import Manifest

Kind: TypeAlias = Literal["transactions", "contracts", "labelled"]

MAIN_TABLES: Mapping[Kind, str] = {
    "transactions": "transactions",
    "contracts": "subscriptions",
    "labelled": "labelled",
}
"""Kind of a bundle to the table that it starts from; the first one that is there decides."""


def kind_of(tables: Collection[str]) -> Kind:
    """Say what kind of bundle the tables given allow.

    Parameters
    ----------
    tables : collection of str
        Names of the tables that are there.

    Raises
    ------
    MissingTableError
        If none of them starts a bundle.

    Examples
    --------
    >>> kind_of({"subscriptions", "customers"}), kind_of({"subscriptions", "transactions"})
    ('contracts', 'transactions')
    """
    for kind, table in MAIN_TABLES.items():
        if table in tables:
            return kind
    why = "this version trains and scores on one of them, and checks the other tables"
    raise MissingTableError([*MAIN_TABLES.values()], tables, why)


def main_table(manifest: Manifest) -> str:
    """Return the table that a bundle starts from: what a lone table is taken for."""
    return MAIN_TABLES[manifest.kind]


def last_event(manifest: Manifest, tables: Tables) -> pd.Timestamp:
    """Return when something last happened in the main table.

    Raises
    ------
    MissingTableError
        If it is not there.
    """
    name = main_table(manifest)
    if name not in tables:
        raise MissingTableError([name], tables, f"the bundle was trained on {name}")
    if manifest.kind == "contracts":
        return contract_span(tables).last
    return tables.span(name)[1]


def end_of_data(manifest: Manifest, tables: Tables) -> pd.Timestamp:
    """Return the end of the last day of the main table (or hour, month, by the grain)."""
    return end_of_observation(last_event(manifest, tables), manifest.grain)
