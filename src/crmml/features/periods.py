"""Figures of the business by period and group of customers: what a scorecard is made of.

Every figure is a count or a sum over the rows of one period, so that shares and rates know how
many customers stand behind them. Only whole periods before the cutoff are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import ibis
import pandas as pd
import pyarrow as pa

from crmml.data.engine import kept
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.margins import complete_margins
from crmml.features.purchases import (
    cents,
    fetch,
    period_at,
    period_of,
    start_of,
    sum_cents,
)
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables

Period: TypeAlias = Literal["week", "month", "quarter"]

_KEY = ("period", "group")

SATISFIED = 7
"""Score of a survey, 0 to 10, from which a customer counts as satisfied."""


def measure_periods(
    tables: Tables,
    cutoff: pd.Timestamp,
    groups: pd.Series[str],
    *,
    period: Period = "month",
    lapse: int = 3,
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Count and sum what happened in each whole period before a cutoff, by group.

    Parameters
    ----------
    tables : Tables
        The checked data.
    cutoff : Timestamp
        Exclusive.
    groups : Series
        Group of each customer, on ``customer_id``; customers without one are left out.
    period : {"week", "month", "quarter"}
        Calendar periods; weeks begin on Monday.
    lapse : int
        Periods without a purchase after which a customer counts as lost, >= 1; who buys after
        them is won back.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        On ``period`` (its first moment) and ``group``: ``buyers``, ``purchases`` (days with one),
        ``revenue``, ``margin`` where the lines have it, ``new`` (first purchase), ``kept``
        (bought in the period before too), ``buyers_before`` (of the period before: ``kept`` of
        these), ``won_back``, ``known`` (customers so far); with ``interactions`` also
        ``contacts``, ``complaints``, ``resolved`` (complaints settled before the cutoff),
        ``surveys``, ``satisfied`` (scores of 7 and above) and ``score`` (their mean); with
        ``treatments`` also ``treated`` and ``action_cost``. A group without a row in a period has
        zeros.

    Raises
    ------
    TooLittleDataError
        If the data hold no whole period before the cutoff.
    """
    if period not in get_args(Period):
        raise ParameterError("period", f"one of {get_args(Period)}", period)
    if lapse < 1:
        raise ParameterError("lapse", "at least 1", lapse)
    first = period_at(tables.first_timestamp, period)
    if start_of(first, period) < tables.first_timestamp.normalize():
        first += 1  # begun before the data did
    last = period_at(cutoff, period)  # not over yet
    if last <= first:
        raise TooLittleDataError(f"the data hold no whole {period} before {cutoff.date()}")
    known = tables.before(cutoff)
    with _grouped(known, groups) as who:
        parts = [_bought(known, who, period, lapse, own_seller)]
        if "interactions" in known:
            parts.append(_touched(known["interactions"], who, period, cutoff))
        if "treatments" in known:
            parts.append(_treated(known["treatments"], who, period))
    table = pd.concat(parts, axis=1)
    names = sorted(groups.dropna().unique())
    every = pd.MultiIndex.from_product([range(first, last), names], names=_KEY)
    counts = [str(name) for name in table if name != "score"]
    new = table["new"].unstack("group").reindex(columns=names).fillna(0).sort_index().cumsum()
    table = table.reindex(every)
    table[counts] = table[counts].fillna(0)
    table["known"] = new.reindex(range(first, last), method="ffill").fillna(0).stack()
    buyers = table["buyers"].unstack("group").shift(1)
    before = parts[0]["buyers"].unstack("group").reindex(columns=names)
    buyers.iloc[0] = before.reindex([first - 1]).fillna(0).iloc[0]
    table["buyers_before"] = buyers.stack()
    starts = [start_of(int(k), period) for k in range(first, last)]
    return table.rename(index=dict(zip(range(first, last), starts, strict=True)), level="period")


@contextmanager
def _grouped(tables: Tables, groups: pd.Series[str]) -> Iterator[ir.Table]:
    """Put the groups beside the data, in their engine."""
    rows = groups.dropna().astype("str")
    frame = pd.DataFrame({"customer_id": rows.index, "group": rows.to_numpy()})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    kind = tables.transactions.customer_id.type()
    table = table.set_column(0, "customer_id", table["customer_id"].cast(kind.to_pyarrow()))
    with kept(table, tables.transactions.get_backend()) as stored:
        yield stored


def collapse_periods(lines: ir.Table, period: Period) -> ir.Table:
    """Gather the lines of each customer and calendar period into one row.

    Returns
    -------
    Table
        ``customer_id``, ``period`` (a number), ``purchases`` (days with one; returns alone are
        none), ``revenue`` and, where the lines have it, ``margin``, both in cents.
    """
    lines = lines.mutate(cents=cents(lines.amount), period=period_of(lines.timestamp, period))
    margin = complete_margins(lines)
    measures: dict[str, Any] = {
        "purchases": lines.timestamp.date().nunique(where=lines.cents >= 0),
        "revenue": sum_cents(lines.cents),
    }
    if margin is not None:
        measures["margin"] = sum_cents(margin)
    return lines.group_by("customer_id", "period").agg(**measures)


def _bought(
    tables: Tables, who: ir.Table, period: Period, lapse: int, own_seller: str | None
) -> pd.DataFrame:
    active = collapse_periods(own_lines(tables.transactions, own_seller), period)
    # the last period with a purchase before this one; returns alone are no purchase
    seen = active.mutate(at=ibis.ifelse(active.purchases > 0, active.period, ibis.null("int64")))
    earlier = ibis.window(group_by="customer_id", order_by="period", rows=(None, -1))
    seen = seen.mutate(before=seen.at.max().over(earlier))
    rows = seen.inner_join(who, "customer_id")
    buys, gap, before = rows.purchases > 0, rows.period - rows.before, rows.before
    sums: dict[str, Any] = {
        "buyers": buys.sum(),
        "purchases": rows.purchases.sum(),
        "revenue": sum_cents(rows.revenue),
        "new": (buys & before.isnull()).sum(),
        "kept": (buys & (gap == 1)).sum(),
        "won_back": (buys & (gap > lapse)).sum(),
    }
    if "margin" in rows.columns:
        sums["margin"] = sum_cents(rows.margin)
    table = fetch(rows.group_by("period", "group").agg(**sums), _KEY).set_index([*_KEY])
    for name in ("revenue", "margin"):
        if name in table:
            table[name] = table[name] / 100
    return table


def _touched(rows: ir.Table, who: ir.Table, period: Period, cutoff: pd.Timestamp) -> pd.DataFrame:
    rows = rows.mutate(period=period_of(rows.timestamp, period)).inner_join(who, "customer_id")
    complaint, survey = rows.kind == "complaint", rows.kind == "survey"
    sums: dict[str, Any] = {"contacts": rows.count(), "complaints": complaint.sum()}
    if "resolved_at" in rows.columns:
        sums["resolved"] = (complaint & (rows.resolved_at < cutoff)).sum()
    if "score" in rows.columns:
        told = survey & rows.score.notnull()
        sums["surveys"] = told.sum()
        sums["satisfied"] = (told & (rows.score >= SATISFIED)).sum()
        sums["score"] = rows.score.mean(where=told)
    return fetch(rows.group_by("period", "group").agg(**sums), _KEY).set_index([*_KEY])


def _treated(rows: ir.Table, who: ir.Table, period: Period) -> pd.DataFrame:
    rows = rows.mutate(period=period_of(rows.timestamp, period)).inner_join(who, "customer_id")
    sums: dict[str, Any] = {"treated": (rows.action != "no_action").sum()}
    if "cost" in rows.columns:
        sums["action_cost"] = sum_cents(cents(rows.cost))
    table = fetch(rows.group_by("period", "group").agg(**sums), _KEY).set_index([*_KEY])
    if "action_cost" in table:
        table["action_cost"] = table["action_cost"] / 100
    return table
