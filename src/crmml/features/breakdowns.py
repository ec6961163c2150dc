"""Figures of the business by period and part of the data: channel, category, dimension or staff.

Where a figure changed, its parts say where: the same counts as those of a scorecard, over the rows
of one part each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import ibis
import pandas as pd

from crmml.exceptions import MissingColumnsError, ParameterError
from crmml.features.margins import complete_margins
from crmml.features.periods import (
    Period,
    action_sums,
    grouped,
    in_currency,
    touch_sums,
    whole_periods,
)
from crmml.features.purchases import cents, fetch, period_of, start_of, sum_cents
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables

Part: TypeAlias = Literal[
    "channel", "category", "dimension", "contact_channel", "staff", "action_channel"
]
"""Of the log: channel and category. Of the interactions: dimension, channel and who served. Of the
treatments: channel."""

_WHERE: dict[str, tuple[str, str]] = {
    "channel": ("transactions", "channel"),
    "category": ("transactions", "category"),
    "dimension": ("interactions", "dimension"),
    "contact_channel": ("interactions", "channel"),
    "staff": ("interactions", "staff_id"),
    "action_channel": ("treatments", "channel"),
}

MOST_PARTS = 12
"""Parts that are told apart: those with most rows; the others are ``other``."""


def measure_parts(
    tables: Tables,
    cutoff: pd.Timestamp,
    by: Part,
    *,
    customers: pd.Index | None = None,
    period: Period = "month",
    own_seller: str | None = None,
    since: pd.Timestamp | None = None,
) -> pd.DataFrame:
    """Count and sum what happened in each whole period before a cutoff, by part of the data.

    Parameters
    ----------
    tables : Tables
        The checked data.
    cutoff : Timestamp
        Exclusive.
    by : {"channel", "category", "dimension", "contact_channel", "staff", "action_channel"}
        Which column tells the parts apart. Rows without a value are of the part ``(none)``.
    customers : Index, optional
        Ids of those who count, such as one tier; default all.
    period, own_seller
        See :func:`crmml.features.periods.measure_periods`.
    since : Timestamp, optional
        First moment of a period: earlier ones are not looked at, and have zeros.

    Returns
    -------
    DataFrame
        On ``period`` (its first moment) and ``group`` (the part), for
        :func:`crmml.scorecard.compute_scorecard`. Of the log: ``buyers``, ``purchases``,
        ``revenue``, ``margin`` where the lines have it, and ``buyers_before`` (who bought in the
        part in the period before), of whom ``kept`` bought again, in whatever part. Of the
        interactions: ``contacts``, ``complaints`` and the like. Of the treatments: ``treated`` and
        ``action_cost``.

    Raises
    ------
    MissingColumnsError
        If the table or its column is missing.
    """
    if by not in get_args(Part):
        raise ParameterError("by", f"one of {get_args(Part)}", by)
    table, column = _WHERE[by]
    known = tables.before(cutoff)
    if table not in known or column not in known[table].columns:
        there = list(known[table].columns) if table in known else []
        raise MissingColumnsError([column], there, table=table)
    rows = own_lines(known[table], own_seller) if table == "transactions" else known[table]
    rows = rows.mutate(
        part=rows[column].cast("string").fill_null("(none)"),
        period=period_of(rows.timestamp, period),
    )
    if since is not None:
        rows = rows.filter(rows.timestamp >= since)
    if customers is None:
        found = _measured(rows, table, cutoff)
    else:
        with grouped(known, pd.Series("chosen", customers, dtype="str")) as who:
            chosen = rows.semi_join(who, "customer_id")
            found = _measured(chosen, table, cutoff)
    whole = whole_periods(tables, cutoff, period)
    parts = sorted(found.index.get_level_values("group").unique())
    every = pd.MultiIndex.from_product([whole, parts], names=("period", "group"))
    counts = [str(name) for name in found if name != "score"]
    found = found.reindex(every)
    found[counts] = found[counts].fillna(0)
    return found.rename(index={k: start_of(k, period) for k in whole}, level="period")


def _measured(rows: ir.Table, table: str, cutoff: pd.Timestamp) -> pd.DataFrame:
    counted = fetch(rows.group_by("part").agg(rows=rows.count()), by=("part",))
    largest = counted.sort_values("rows", ascending=False, kind="stable")["part"]
    names = largest.head(MOST_PARTS).tolist()
    if len(names) < len(largest):
        rows = rows.mutate(part=ibis.ifelse(rows.part.isin(names), rows.part, "other"))
    rows = rows.rename(group="part")
    if table == "interactions":
        touched = rows.group_by("period", "group").agg(**touch_sums(rows, cutoff))
        return in_currency(fetch(touched, ("period", "group")), "contact_cost")
    if table == "treatments":
        treated = rows.group_by("period", "group").agg(**action_sums(rows))
        return in_currency(fetch(treated, ("period", "group")), "action_cost")
    return _bought(rows)


def _bought(lines: ir.Table) -> pd.DataFrame:
    lines = lines.mutate(cents=cents(lines.amount))
    margin = complete_margins(lines)
    sums: dict[str, Any] = {"revenue": sum_cents(lines.cents)}
    if margin is not None:
        sums["margin"] = sum_cents(margin)
    key = ("period", "group")
    money = in_currency(fetch(lines.group_by(*key).agg(**sums), key), "revenue", "margin")
    bought = lines.filter(lines.cents >= 0)
    visits = bought.group_by("customer_id", *key).agg(days=bought.timestamp.date().nunique())
    counted = visits.group_by(*key).agg(buyers=visits.count(), purchases=visits.days.sum())
    again = visits.select("customer_id", "period").distinct()
    again = again.mutate(period=again.period - 1, back=ibis.literal(1))
    both = visits.left_join(again, ["customer_id", "period"])
    stayed = both.group_by(*key).agg(kept=both.back.notnull().sum(), buyers_before=both.count())
    stayed = stayed.mutate(period=stayed.period + 1)
    parts = [in_currency(fetch(one, key)) for one in (counted, stayed)]
    return pd.concat([*parts, money], axis=1)
