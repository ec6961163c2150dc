"""Experience: what surveys and complaints before a cutoff say of how customers were served.

Read from the table ``interactions``, over a window before the cutoff, the latest word first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ibis
import pandas as pd

from crmml.features.behaviour import name_values
from crmml.features.periods import SATISFIED
from crmml.features.purchases import fetch, insist
from crmml.features.windows import shifted

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables

ZONES: tuple[str, ...] = ("negative", "neutral", "positive", "unknown")

WINDOW = "26W"
"""How far back surveys and complaints are read, if nothing else is asked for."""

DISSATISFIED = 4
"""Score of a survey, 0 to 10, up to which a customer counts as dissatisfied.

With :data:`~crmml.features.periods.SATISFIED` it cuts the eleven points evenly about their middle,
5: four points above 6, five below, and 5 and 6 between. A convention, hence a parameter. The
borders of Reichheld's net promoter score (2003, "The one number you need to grow") are 9 and 6.
"""

MOST_DIMENSIONS = 8
"""Dimensions with a zone of their own: those with most surveys and complaints."""

_OPEN = -2


def count_touches(tables: Tables, cutoff: pd.Timestamp, window: str = WINDOW) -> pd.DataFrame:
    """Count the touch points of each customer in a window before a cutoff.

    Parameters
    ----------
    tables : Tables
        With ``interactions``.
    cutoff : Timestamp
        Exclusive.
    window : str
        Such as ``"26W"``.

    Returns
    -------
    DataFrame
        On ``customer_id``, customers with a touch point only: ``contacts`` (touch points of any
        kind), ``open_complaints`` (not settled before the cutoff; null where the data do not say
        when complaints were settled) and ``last_score`` (of the latest survey, 0 to 10; the
        lowest of those at one moment).
    """
    rows = _recent(tables, cutoff, window)
    sums: dict[str, Any] = {}
    if "score" in rows.columns:
        told = (rows.kind == "survey") & rows.score.notnull()
        rows = rows.mutate(told_at=ibis.ifelse(told, rows.timestamp, ibis.null("timestamp")))
        rows = rows.mutate(last=rows.told_at.max().over(ibis.window(group_by="customer_id")))
        sums["last_score"] = rows.score.min(where=rows.told_at == rows["last"])
    if "resolved_at" in rows.columns:
        sums["open_complaints"] = _is_open(rows, cutoff).sum()
    sums["contacts"] = rows.count()
    found = fetch(rows.group_by("customer_id").agg(**sums)).set_index("customer_id")
    wanted = ["contacts", "open_complaints", "last_score"]
    return found.reindex(columns=wanted).astype("float64")


def attach_touches(frame: pd.DataFrame, tables: Tables, cutoff: pd.Timestamp) -> pd.DataFrame:
    """Add the touch points of the last 26 weeks to a frame of a snapshot, where they are known.

    Parameters
    ----------
    frame : DataFrame
        With ``customer_id``.
    tables : Tables
        The checked data.
    cutoff : Timestamp
        Exclusive.

    Returns
    -------
    DataFrame
        With ``contacts_26w``, ``open_complaints`` and ``last_score``, as far as the table
        ``interactions`` has the columns. A customer without a row in it had no touch point.
    """
    if "interactions" not in tables:
        return frame
    known = tables["interactions"].columns
    found = count_touches(tables, cutoff).reindex(pd.Index(frame["customer_id"]))
    added = {"contacts_26w": found["contacts"].fillna(0.0).to_numpy()}
    if "resolved_at" in known:
        added["open_complaints"] = found["open_complaints"].fillna(0.0).to_numpy()
    if "score" in known:
        added["last_score"] = found["last_score"].to_numpy()
    return frame.assign(**added)


def name_dimensions(tables: Tables, cutoff: pd.Timestamp) -> dict[str, str]:
    """Name the column of each dimension of the experience, those with most answers first.

    Parameters
    ----------
    tables : Tables
        Without ``interactions``, or without their column ``dimension``, there are none.
    cutoff : Timestamp
        Exclusive.

    Returns
    -------
    dict of str to str
        Dimension to column, such as ``{"delivery": "experience_delivery"}``; at most
        :data:`MOST_DIMENSIONS`.
    """
    rows = tables.get("interactions")
    if rows is None or "dimension" not in rows.columns:
        return {}
    rows = rows.filter(
        rows.timestamp < cutoff, rows.kind.isin(["survey", "complaint"]), rows.dimension.notnull()
    )
    counted = fetch(rows.group_by("dimension").agg(rows=rows.count()), by=("dimension",))
    ranked = counted.sort_values("rows", ascending=False, kind="stable")["dimension"]
    return name_values(ranked.head(MOST_DIMENSIONS), "experience_", taken=["experience_zone"])


def read_zones(
    tables: Tables,
    cutoff: pd.Timestamp,
    *,
    window: str = WINDOW,
    satisfied_from: float = SATISFIED,
    dissatisfied_to: float = DISSATISFIED,
    dimensions: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Put each customer into a zone of experience, overall and by dimension.

    An open complaint in the window is negative. Else the latest word decides: a survey by its
    score, a settled complaint as neutral; a complaint of which nothing says whether it was settled
    (no column ``resolved_at``) as negative. Of words at one moment the worst counts.

    Parameters
    ----------
    tables : Tables
        With ``interactions``.
    cutoff : Timestamp
        Exclusive.
    window : str
        How far back.
    satisfied_from, dissatisfied_to : float
        Scores, 0 to 10: from the one on positive, up to the other negative, between them neutral.
    dimensions : mapping of str to str, optional
        From :func:`name_dimensions`.

    Returns
    -------
    DataFrame
        On ``customer_id``, customers with a word in the window only: ``experience_zone`` and the
        columns of the dimensions, each ``negative``, ``neutral``, ``positive`` or ``unknown``.
    """
    rows = _recent(tables, cutoff, window)
    words = rows.mutate(code=_code(rows, cutoff, satisfied_from, dissatisfied_to))
    words = words.filter(words.code.notnull())
    zones = _latest(words, ["customer_id"]).set_index("customer_id")["zone"].to_frame()
    zones.columns = pd.Index(["experience_zone"])
    if dimensions:
        named = words.filter(words.dimension.isin(list(dimensions)))
        by_dimension = _latest(named, ["customer_id", "dimension"])
        wide = by_dimension.pivot(index="customer_id", columns="dimension", values="zone")
        wide = wide.reindex(columns=list(dimensions)).rename(columns=dict(dimensions))
        zones = zones.join(wide)
    return zones.astype("str").fillna("unknown")


def _recent(tables: Tables, cutoff: pd.Timestamp, window: str) -> ir.Table:
    rows = tables["interactions"]
    return rows.filter(rows.timestamp >= shifted(cutoff, window, -1), rows.timestamp < cutoff)


def _is_open(rows: ir.Table, cutoff: pd.Timestamp) -> ir.BooleanValue:
    settled = (rows.resolved_at < cutoff).fill_null(False)
    return (rows.kind == "complaint") & ~settled


def _code(
    rows: ir.Table, cutoff: pd.Timestamp, satisfied_from: float, dissatisfied_to: float
) -> ir.IntegerValue:
    """Write each word as a number, the worst the lowest; null for what says nothing."""
    code: ir.IntegerValue = ibis.null("int64")
    if "score" in rows.columns:
        low = ibis.ifelse(rows.score <= dissatisfied_to, ibis.literal(-1), ibis.literal(0))
        told = ibis.ifelse(rows.score >= satisfied_from, ibis.literal(1), low)
        surveyed = (rows.kind == "survey") & rows.score.notnull()
        code = ibis.ifelse(surveyed, told.cast("int64"), ibis.null("int64"))
    complaint = ibis.literal(-1)
    if "resolved_at" in rows.columns:
        complaint = ibis.ifelse(_is_open(rows, cutoff), ibis.literal(_OPEN), ibis.literal(0))
    return ibis.ifelse(rows.kind == "complaint", complaint.cast("int64"), code)


def _latest(words: ir.Table, by: list[str]) -> pd.DataFrame:
    """Take the latest word of each key, or an open complaint."""
    last = words.timestamp.max().over(ibis.window(group_by=by))
    words = words.mutate(last=last)
    words = words.filter((words.timestamp == words["last"]) | (words.code == _OPEN))
    table = fetch(words.group_by(by).agg(code=insist(words.code.min(), "int64")), by=by)
    names = {_OPEN: "negative", -1: "negative", 0: "neutral", 1: "positive"}
    return table.assign(zone=table["code"].map(names).astype("str"))
