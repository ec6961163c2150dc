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

_OF_STAFF = ("complaints", "resolved", "surveys", "satisfied")

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
        ``surveys``, ``satisfied`` (scores of 7 and above), ``score`` (their mean) and
        ``contact_cost``; where somebody is named who served, ``served``, ``persons`` (how many
        served) and ``staff_complaints``, ``staff_resolved``, ``staff_surveys`` and
        ``staff_satisfied`` of what they served; with ``treatments`` also ``treated``,
        ``converted`` (treated, and bought from then to the end of the period) and
        ``action_cost``, and with customers left alone at random ``action_gain`` (margin beyond
        theirs, from the action to the end of the period; missing where one side is empty).
        ``profit`` is the margin less ``contact_cost`` and ``action_cost``, as far as they are
        known. A group without a row in a period has zeros.

    Raises
    ------
    TooLittleDataError
        If the data hold no whole period before the cutoff.
    """
    if period not in get_args(Period):
        raise ParameterError("period", f"one of {get_args(Period)}", period)
    if lapse < 1:
        raise ParameterError("lapse", "at least 1", lapse)
    whole = whole_periods(tables, cutoff, period)
    if not whole:
        raise TooLittleDataError(f"the data hold no whole {period} before {cutoff.date()}")
    known = tables.before(cutoff)
    with grouped(known, groups) as who:
        parts = [_bought(known, who, period, lapse, own_seller)]
        if "interactions" in known:
            parts.append(_touched(known["interactions"], who, period, cutoff))
        if "treatments" in known:
            parts.append(_treated(known["treatments"], who, period))
            parts.append(_answered(known, who, period, own_seller))
    table = pd.concat(parts, axis=1)
    names = sorted(groups.dropna().unique())
    every = pd.MultiIndex.from_product([whole, names], names=_KEY)
    counts = [str(name) for name in table if name not in ("score", "action_gain")]
    new = table["new"].unstack("group").reindex(columns=names).fillna(0).sort_index().cumsum()
    table = table.reindex(every)
    table[counts] = table[counts].fillna(0)
    table["known"] = new.reindex(whole, method="ffill").fillna(0).stack()
    buyers = table["buyers"].unstack("group").shift(1)
    before = parts[0]["buyers"].unstack("group").reindex(columns=names)
    buyers.iloc[0] = before.reindex([whole.start - 1]).fillna(0).iloc[0]
    table["buyers_before"] = buyers.stack()
    if "margin" in table:
        spent = [name for name in ("contact_cost", "action_cost") if name in table]
        table["profit"] = table["margin"] - table[spent].sum(axis=1)
    return table.rename(index={k: start_of(k, period) for k in whole}, level="period")


def whole_periods(tables: Tables, cutoff: pd.Timestamp, period: Period) -> range:
    """Return the numbers of the periods that the data hold from begin to end before a cutoff."""
    first = period_at(tables.first_timestamp, period)
    if start_of(first, period) < tables.first_timestamp.normalize():
        first += 1  # begun before the data did
    return range(first, period_at(cutoff, period))  # the last is not over yet


@contextmanager
def grouped(tables: Tables, groups: pd.Series[str]) -> Iterator[ir.Table]:
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
    return in_currency(
        fetch(rows.group_by("period", "group").agg(**sums), _KEY), "revenue", "margin"
    )


def _touched(rows: ir.Table, who: ir.Table, period: Period, cutoff: pd.Timestamp) -> pd.DataFrame:
    rows = rows.mutate(period=period_of(rows.timestamp, period)).inner_join(who, "customer_id")
    sums = touch_sums(rows, cutoff)
    if "staff_id" in rows.columns:
        served = rows.staff_id.notnull()
        named = touch_sums(rows, cutoff, where=served)
        sums |= {"served": named["contacts"], "persons": rows.staff_id.nunique(where=served)}
        sums |= {f"staff_{n}": one for n, one in named.items() if n in _OF_STAFF}
    return in_currency(fetch(rows.group_by("period", "group").agg(**sums), _KEY), "contact_cost")


def touch_sums(
    rows: ir.Table, cutoff: pd.Timestamp, where: ir.BooleanValue | None = None
) -> dict[str, Any]:
    """Write the counts and sums of touch points that make figures; costs in cents."""
    of: Any = rows.kind.notnull() if where is None else where
    complaint, survey = of & (rows.kind == "complaint"), of & (rows.kind == "survey")
    sums: dict[str, Any] = {"contacts": of.sum(), "complaints": complaint.sum()}
    if "resolved_at" in rows.columns:
        sums["resolved"] = (complaint & (rows.resolved_at < cutoff)).sum()
    if "score" in rows.columns:
        told = survey & rows.score.notnull()
        sums["surveys"] = told.sum()
        sums["satisfied"] = (told & (rows.score >= SATISFIED)).sum()
        sums["score"] = rows.score.mean(where=told)
    if "cost" in rows.columns:
        sums["contact_cost"] = sum_cents(cents(rows.cost), where=of)
    return sums


def in_currency(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Key a fetched table by period and group, with money in currency."""
    table = table.set_index([*_KEY])
    return table.assign(**{name: table[name] / 100 for name in names if name in table})


def _treated(rows: ir.Table, who: ir.Table, period: Period) -> pd.DataFrame:
    rows = rows.mutate(period=period_of(rows.timestamp, period)).inner_join(who, "customer_id")
    treated = rows.group_by("period", "group").agg(**action_sums(rows))
    return in_currency(fetch(treated, _KEY), "action_cost")


def action_sums(rows: ir.Table) -> dict[str, Any]:
    """Write the counts and costs of actions that make figures; costs in cents."""
    sums: dict[str, Any] = {"treated": (rows.action != "no_action").sum()}
    if "cost" in rows.columns:
        sums["action_cost"] = sum_cents(cents(rows.cost))
    return sums


def _answered(
    tables: Tables, who: ir.Table, period: Period, own_seller: str | None
) -> pd.DataFrame:
    """Count who bought after an action, and what it brought beyond customers left alone."""
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount), month=period_of(lines.timestamp, period))
    margin = complete_margins(lines)
    lines = lines.select(
        "month", "cents", margin=lines.cents if margin is None else margin,
        buyer=lines.customer_id, bought_at=lines.timestamp,
    )  # fmt: skip
    rows = tables["treatments"]
    if "propensity" not in rows.columns:
        rows = rows.mutate(propensity=ibis.null("float64"))
    given = rows.group_by(
        "customer_id", "timestamp", "action", period=period_of(rows.timestamp, period)
    ).agg(chance=rows.propensity.max())
    after = given.left_join(
        lines,
        [
            given.customer_id == lines.buyer,
            given.period == lines.month,
            given.timestamp <= lines.bought_at,
        ],
    )
    each = after.group_by("customer_id", "timestamp", "action", "period", "chance").agg(
        bought=(after.cents >= 0).any().fill_null(False), brought=after.margin.sum().fill_null(0)
    )
    each = each.inner_join(who, "customer_id")
    acted = each.action != "no_action"
    # who was certain to get what they got has no counterpart
    weight = ibis.ifelse((each.chance > 0) & (each.chance < 1), 1.0 / each.chance, 0.0)
    sums: dict[str, Any] = {"converted": (acted & each.bought).sum()}
    for name, side in {"acted": acted, "left": ~acted}.items():
        sums[f"{name}_weight"] = weight.sum(where=side)
        sums[f"{name}_brought"] = (weight * each.brought).sum(where=side)
    sums["count"] = (acted & (weight > 0)).sum()
    table = fetch(each.group_by("period", "group").agg(**sums), _KEY).set_index([*_KEY])
    found = table[["converted"]]
    if margin is None or "propensity" not in tables["treatments"].columns:
        return found
    means = [
        table[f"{side}_brought"] / table[f"{side}_weight"].where(table[f"{side}_weight"] > 0)
        for side in ("acted", "left")
    ]
    return found.assign(action_gain=table["count"] * (means[0] - means[1]) / 100)
