"""What each customer buys: order lines and spend by category."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from crmml.features.purchases import cents, fetch, sum_cents
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    from crmml.data.tables import Tables


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
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount))
    lines = lines.filter(lines.timestamp < cutoff, lines.category.notnull(), lines.cents >= 0)
    sums = lines.group_by("customer_id", "category").agg(
        lines=lines.count(), value=sum_cents(lines.cents)
    )
    found = fetch(sums, ["customer_id", "category"])
    return found.assign(value=found["value"] / 100.0)
