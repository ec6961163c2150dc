"""What each customer buys: order lines and spend by category."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from crmml.features.in_order import count_codes, in_order, number_categories
from crmml.features.purchases import cents, fetch, sorted_frame, sum_cents
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables

MOST_CATEGORIES = 40
"""Categories that are looked at: those with most lines."""


def gather_categories(
    tables: Tables, cutoff: pd.Timestamp, own_seller: str | None = None
) -> pd.DataFrame:
    """Count the lines and sum the spend of each customer and category before a cutoff.

    Parameters
    ----------
    tables : Tables
        With ``category`` in the log.
    cutoff : Timestamp
        Exclusive.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        ``customer_id``, ``category``, ``lines`` (purchases, no returns) and ``value`` (what was
        paid for them, currency), sorted by customer and category; lines without a category are
        left out.
    """
    lines = _bought(tables, cutoff, own_seller)
    sums = lines.group_by("customer_id", "category").agg(
        lines=lines.count(), value=sum_cents(lines.cents)
    )
    found = fetch(sums, ["customer_id", "category"])
    return found.assign(value=found["value"] / 100.0)


def count_categories(
    tables: Tables,
    cutoff: pd.Timestamp,
    own_seller: str | None = None,
    names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Count the lines of each customer in some categories before a cutoff.

    Parameters
    ----------
    tables, cutoff, own_seller
        See :func:`gather_categories`.
    names : sequence of str, optional
        The categories; by default the :data:`MOST_CATEGORIES` with most lines.

    Returns
    -------
    DataFrame
        On ``customer_id``, sorted: a column for each category, 0 where nothing was bought. A
        customer without a line in any category has no row.
    """
    if names is None:
        names = _rank_categories(tables, cutoff, own_seller)
    pieces = count_in_pieces(tables, cutoff, own_seller, names)
    return pd.concat(pieces).sort_index()


def count_in_pieces(
    tables: Tables, cutoff: pd.Timestamp, own_seller: str | None, names: Sequence[str]
) -> Iterator[pd.DataFrame]:
    """Count as :func:`count_categories` does, some customers at a time, in whatever order."""
    lines = _bought(tables, cutoff, own_seller)
    label, piece = pd.Index(names, name="category"), None
    for piece in in_order(lines.select("customer_id", code=number_categories(lines, names))):
        table = count_codes(piece, piece.columns["code"], len(names)).astype(np.float64)
        columns = {str(k): column for k, column in enumerate(table)}
        frame = sorted_frame(pa.table({"customer_id": piece.customer_id} | columns))
        yield frame.set_index("customer_id").set_axis(label, axis=1)
    if piece is None:
        nobody = pd.Index([], name="customer_id")
        yield pd.DataFrame(np.empty((0, len(names))), nobody, label)


def _rank_categories(tables: Tables, cutoff: pd.Timestamp, own_seller: str | None) -> list[str]:
    lines = _bought(tables, cutoff, own_seller)
    counts = fetch(lines.group_by("category").agg(lines=lines.count()), ["category"])
    ranked = counts.sort_values("lines", ascending=False, kind="stable")
    names: list[str] = ranked["category"].head(MOST_CATEGORIES).tolist()
    return names


def _bought(tables: Tables, cutoff: pd.Timestamp, own_seller: str | None) -> ir.Table:
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount))
    return lines.filter(lines.timestamp < cutoff, lines.category.notnull(), lines.cents >= 0)
