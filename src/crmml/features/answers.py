"""What followed actions and complaints: one row per event, with what the customer did after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis
import pandas as pd

from crmml.features.margins import complete_margins
from crmml.features.purchases import cents, fetch, insist, sum_cents
from crmml.features.snapshot import own_lines
from crmml.features.windows import length_of, shifted

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables

_KEY = ("customer_id", "timestamp", "action")


def follow_actions(
    tables: Tables,
    cutoff: pd.Timestamp,
    *,
    horizon: str = "8W",
    lapse: str = "26W",
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Tell of each action, or of its being withheld, what the customer did in the time after it.

    Parameters
    ----------
    tables : Tables
        With ``transactions`` and ``treatments``.
    cutoff : Timestamp
        Only actions whose horizon ends before it.
    horizon : str
        How long after the action is looked at.
    lapse : str
        Who bought in so long before the action counts as active, who bought earlier only as lapsed.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        A row per customer, moment and action, sorted: ``action``, ``experiment`` (may be null),
        ``propensity`` (null where unknown), ``cost`` (currency; null where unknown), ``bought``
        (in the horizon), ``margin`` (of the horizon, or the revenue where margins are unknown,
        currency), ``active`` and ``lapsed``; and ``score``, the mean of the surveys in the horizon,
        null without one.
    """
    known = tables.before(cutoff)
    rows = known["treatments"]
    for name, kind in {"experiment": "string", "propensity": "float64", "cost": "float64"}.items():
        if name not in rows.columns:
            rows = rows.mutate(**{name: ibis.null(kind)})
    rows = rows.filter(rows.timestamp <= shifted(cutoff, horizon, -1))
    given = rows.group_by(*_KEY).agg(
        experiment=rows.experiment.min(),
        propensity=rows.propensity.max().cast("float64"),
        cost=insist(rows.cost.sum(), "float64"),
    )
    lines = _lines(known, own_seller)
    lines = lines.mutate(lapse_ends=lines.bought_at + _span(lapse))
    both = given.left_join(lines, given.customer_id == lines.buyer)
    after = (both.bought_at >= both.timestamp) & (both.bought_at < both.timestamp + _span(horizon))
    before = both.bought_at < both.timestamp
    buys = both.cents >= 0
    sums: dict[str, Any] = {
        "bought": (after & buys).any().fill_null(False),
        "margin": sum_cents(both.margin, where=after).fill_null(0),
        "active": (before & buys & (both.lapse_ends >= both.timestamp)).any().fill_null(False),
        "lapsed": (before & buys).any().fill_null(False),
    }
    table = fetch(both.group_by(*given.columns).agg(**sums), _KEY)
    table["margin"] = table["margin"].astype("float64") / 100
    table["lapsed"] &= ~table["active"]
    scores = _scores(known, given, horizon)
    if scores.empty:
        return table.assign(score=float("nan"))
    return table.merge(scores, on=[*_KEY], how="left")


def follow_complaints(
    tables: Tables, cutoff: pd.Timestamp, *, horizon: str = "26W", own_seller: str | None = None
) -> pd.DataFrame:
    """Tell of each complaint whether it was settled, and whether the customer stayed.

    Parameters
    ----------
    tables : Tables
        With ``transactions`` and ``interactions`` with ``resolved_at``.
    cutoff : Timestamp
        Only complaints whose horizon ends before it.
    horizon : str
        Who buys within so long counts as one that stayed.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        A row per customer and moment, sorted: ``settled`` (before the horizon's end) and
        ``stayed`` (bought after the settlement, or after a complaint that was not settled).
    """
    known = tables.before(cutoff)
    rows = known["interactions"]
    closes = shifted(cutoff, horizon, -1)
    rows = rows.filter(rows.kind == "complaint", rows.timestamp <= closes)
    rows = rows.group_by("customer_id", "timestamp").agg(resolved_at=rows.resolved_at.min())
    settled = (rows.resolved_at <= closes).fill_null(False)
    rows = rows.mutate(
        settled=settled, told_at=ibis.ifelse(settled, rows.resolved_at, rows.timestamp)
    )
    lines = _lines(known, own_seller)
    both = rows.left_join(lines, rows.customer_id == lines.buyer)
    after = (both.bought_at >= both.told_at) & (both.bought_at < both.told_at + _span(horizon))
    stayed = (after & (both.cents >= 0)).any().fill_null(False)
    key = ("customer_id", "timestamp")
    return fetch(both.group_by(*key, "settled").agg(stayed=stayed), key)


def sum_purchases(
    tables: Tables, start: pd.Timestamp, end: pd.Timestamp, *, own_seller: str | None = None
) -> pd.DataFrame:
    """Sum what customers bought in a span of time.

    Parameters
    ----------
    tables : Tables
        With ``transactions``.
    start, end : Timestamp
        The end is exclusive.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        On ``customer_id``, those with a line only: ``bought`` and ``margin``, as in
        :func:`follow_actions`.
    """
    lines = _lines(tables, own_seller)
    lines = lines.filter(lines.bought_at >= start, lines.bought_at < end).rename(
        customer_id="buyer"
    )
    sums = {"bought": (lines.cents >= 0).any(), "margin": sum_cents(lines.margin)}
    table = fetch(lines.group_by("customer_id").agg(**sums)).set_index("customer_id")
    return table.assign(margin=table["margin"].astype("float64") / 100)


def list_acquisition_costs(tables: Tables) -> pd.Series[float] | None:
    """Return what winning each customer cost, where known; None without the column."""
    if "customers" not in tables or "acquisition_cost" not in tables["customers"].columns:
        return None
    rows = tables["customers"]
    rows = rows.filter(rows.acquisition_cost.notnull())
    found = fetch(rows.select("customer_id", cents=cents(rows.acquisition_cost)))
    return found.set_index("customer_id")["cents"].astype("float64") / 100


def _lines(tables: Tables, own_seller: str | None) -> ir.Table:
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount))
    margin = complete_margins(lines)
    return lines.select(
        "cents",
        margin=lines.cents if margin is None else margin,
        buyer=lines.customer_id,
        bought_at=lines.timestamp,
    )


def _scores(known: Tables, given: ir.Table, horizon: str) -> pd.DataFrame:
    """Return the mean score of the surveys in the horizon after each action that has one."""
    if "interactions" not in known or "score" not in known["interactions"].columns:
        return pd.DataFrame(columns=[*_KEY, "score"]).astype({"score": "float64"})
    rows = known["interactions"]
    rows = rows.filter(rows.kind == "survey", rows.score.notnull())
    rows = rows.select("score", teller=rows.customer_id, told_at=rows.timestamp)
    both = given.inner_join(rows, given.customer_id == rows.teller)
    both = both.filter(
        both.told_at >= both.timestamp, both.told_at < both.timestamp + _span(horizon)
    )
    return fetch(both.group_by(*_KEY).agg(score=insist(both.score.mean(), "float64")), _KEY)


def _span(duration: str) -> ir.IntervalScalar:
    return ibis.interval(seconds=int(length_of(duration).total_seconds()))
