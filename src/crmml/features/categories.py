"""What each customer buys: order lines and spend by category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from crmml.features.purchases import cents, fetch, sum_cents
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
    lines = _bought(tables, cutoff, own_seller)
    if names is None:
        counts = lines.group_by("category").agg(lines=lines.count())
        ranked = fetch(counts, ["category"]).sort_values("lines", ascending=False, kind="stable")
        names = ranked["category"].head(MOST_CATEGORIES).tolist()
    sums = lines.group_by("customer_id", "category").agg(lines=lines.count())
    # Numbered, as a database may cut the name of a column short.
    wide = {f"c{k}": sums.lines.sum(where=sums.category == n) for k, n in enumerate(names)}
    found = fetch(sums.group_by("customer_id").agg(**wide)).set_index("customer_id")
    return found.set_axis(pd.Index(names, name="category"), axis=1).fillna(0.0).astype("float64")


def _bought(tables: Tables, cutoff: pd.Timestamp, own_seller: str | None) -> ir.Table:
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount))
    return lines.filter(lines.timestamp < cutoff, lines.category.notnull(), lines.cents >= 0)
