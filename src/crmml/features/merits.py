"""Merits beyond money: referrals that became customers, suggestions that led to a change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import pandas as pd

from crmml.features.purchases import cents, fetch, sum_cents
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables


def gather_merits(
    tables: Tables, cutoff: pd.Timestamp, own_seller: str | None = None
) -> dict[str, pd.Series[float]]:
    """Count what customers brought besides their own purchases, before a cutoff.

    A referral became a customer where the referred first bought on the day of the referral or
    later. Who was referred by several counts for the first of them.

    Parameters
    ----------
    tables : Tables
        The checked data.
    cutoff : Timestamp
        Exclusive.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    dict of str to Series
        On ``customer_id``, customers with one only: ``referrals_won`` and ``referral_value`` (net
        spend to date of those who were won; without a log the fees of their contracts, a period
        each) where ``interactions`` have ``referred_customer_id``; ``suggestions_taken`` where
        they have ``led_to_change``.
    """
    rows = tables.get("interactions")
    found: dict[str, pd.Series[float]] = {}
    if rows is None:
        return found
    rows = rows.filter(rows.timestamp < cutoff)
    if "referred_customer_id" in rows.columns and "transactions" in tables:
        lines = own_lines(tables.transactions, own_seller)
        found |= _won(_referrals_won(rows, lines.filter(lines.timestamp < cutoff)))
    elif "referred_customer_id" in rows.columns and "subscriptions" in tables:
        begun = tables["subscriptions"]
        begun = begun.filter(begun.started_at < cutoff)
        fee = begun.fee if "fee" in begun.columns else ibis.literal(0)
        found |= _won(_referrals_won(rows, begun.mutate(timestamp=begun.started_at, amount=fee)))
    if "led_to_change" in rows.columns:
        taken = rows.filter((rows.kind == "suggestion") & rows.led_to_change.fill_null(False))
        counted = fetch(taken.group_by("customer_id").agg(suggestions_taken=taken.count()))
        found["suggestions_taken"] = counted.set_index("customer_id")["suggestions_taken"].astype(
            "float64"
        )
    return found


def _won(won: ir.Table) -> dict[str, pd.Series[float]]:
    table = fetch(won).set_index("customer_id").astype("float64")
    value = table["value"].rename("referral_value") / 100.0
    return {"referrals_won": table["referrals_won"], "referral_value": value}


def _referrals_won(rows: ir.Table, lines: ir.Table) -> ir.Table:
    """Count each customer's referrals that have bought since, and sum what they spent in cents."""
    told = rows.filter((rows.kind == "referral") & rows.referred_customer_id.notnull())
    told = told.mutate(referred=told.referred_customer_id.cast("string"))
    firsts = told.group_by("referred").agg(first_told=told.timestamp.min())
    told = told.inner_join(firsts, "referred")
    told = told.filter(told.timestamp == told.first_told)
    by_referred = told.group_by("referred").agg(
        customer_id=told.customer_id.min(), told_at=told.timestamp.min()
    )
    spent = cents(lines.amount)
    bought = lines.group_by("customer_id").agg(
        first_bought=lines.timestamp.min(where=spent >= 0), value=sum_cents(spent)
    )
    bought = bought.select("first_bought", "value", referred=bought.customer_id.cast("string"))
    both = by_referred.inner_join(bought, "referred")
    both = both.filter(both.first_bought.date() >= both.told_at.date())
    return both.group_by("customer_id").agg(referrals_won=both.count(), value=sum_cents(both.value))
