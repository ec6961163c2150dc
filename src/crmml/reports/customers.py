"""The sections of a page on what customers felt and buy: experience, product-market map."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crmml.data.tables import Tables
from crmml.exceptions import CensoredWindowError
from crmml.features.windows import shifted
from crmml.reports.contents import Cell, Grid, Section, Tone
from crmml.reports.first_screen import why_not
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.sections import needs_log, tabulate
from crmml.segments.experience import LEAST, compute_experience_importance
from crmml.segments.taste import compute_product_market_map

_MOST_CATEGORIES, _MOST_SEGMENTS = 12, 6
"""Rows and columns of the map: those with most spend, and with most customers."""

_MOST_CUSTOMERS = 50_000
"""Customers behind the map; of more, a random part of the segments."""

_TOLD = 3
_DRAWS = 100


def experience(
    of: Reported, w: Language, tables: Tables | None, own_seller: str | None = None
) -> Section:
    """Show the zones of experience, and what each dimension of it goes with afterwards."""
    title = w.text("experience_title")
    if not of.has("experience_zone"):
        return Section("experience", title, missing=[why_not(of, w, "experience_zone")])
    grids = [tabulate(of, w, "experience_zone", w.text("by_experience_zone"))]
    lacking = w.text("importance_needs", why=needs_log(tables, w))
    if tables is None or not {"transactions", "interactions"} <= set(tables):
        return Section("experience", title, (), grids, missing=[lacking])
    horizon = of.summary.get("horizon")
    if not horizon:
        lacking = w.text("importance_needs", why=w.text("no_lists"))
        return Section("experience", title, (), grids, missing=[lacking])
    at = shifted(of.cutoff, horizon, -1)
    how: dict[str, Any] = {
        "horizon": horizon,
        "grain": of.summary.get("grain", "day"),
        "n_boot": _DRAWS,
    }
    how |= {"own_seller": own_seller}
    try:
        table = compute_experience_importance(tables, at, **how)
        if of.since is not None and of.since <= at and len(of.tiers_before):
            by_tier = compute_experience_importance(tables, at, segments=of.tiers_before, **how)
            table = pd.concat([table, by_tier])
    except CensoredWindowError as error:
        lacking = w.text("importance_needs", why=w.told(str(error)))
        return Section("experience", title, (), grids, missing=[lacking])
    enough = table[table["customers"] >= LEAST]
    if enough.empty:
        lacking = w.text("importance_few", customers=w.count(LEAST))
        return Section("experience", title, (), grids, missing=[lacking])
    return Section("experience", title, [_weightiest(enough, w)], [*grids, _weights(enough, w, at)])


def _weightiest(table: pd.DataFrame, w: Language) -> str:
    """Say which dimension goes with retention most, of those that do beyond chance."""
    telling = table[table["retention_beyond_chance"]]
    parts = telling.drop(index="overall", level="dimension", errors="ignore")
    telling = parts if len(parts) else telling
    if telling.empty:
        return w.text("importance_none")
    row = telling.reset_index().to_dict("records")[telling["retention"].abs().to_numpy().argmax()]
    return w.text(
        "importance_say",
        dimension=w.label(row["dimension"]),
        group=w.label(row["segment"]),
        value=w.points(float(row["retention"])),
        low=w.number(100.0 * float(row["retention_lower"]), 1),
        high=w.number(100.0 * float(row["retention_upper"]), 1),
    )


def _weights(table: pd.DataFrame, w: Language, at: pd.Timestamp) -> Grid:
    rows = []
    for row in table.reset_index().to_dict("records"):
        segment, dimension = row["segment"], row["dimension"]
        line = [
            Cell(w.label(dimension), str(dimension)),
            Cell(w.label(segment), str(segment)),
            Cell(w.count(row["customers"]), row["customers"]),
        ]
        for name in ("retention", "spend"):
            value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_lower", "_upper"))
            write = w.amount if name == "spend" else lambda v: w.number(100.0 * v, 1)
            tone: Tone = ""
            if row[f"{name}_beyond_chance"]:
                tone = "good" if value > 0 else "bad"
            text = f"{write(value)} ({w.text('between', low=write(low), high=write(high))})"
            line.append(Cell(text, value, tone=tone))
        rows.append(line)
    heads = ("dimension", "tier", "customers", "to_retention", "to_spend")
    note = w.text("importance_note", date=w.date(at))
    return Grid(w.text("importance_grid"), [w.text(f"head_{key}") for key in heads], rows, note)


def market(
    of: Reported, w: Language, tables: Tables | None, own_seller: str | None = None
) -> Section:
    """Show which categories each segment buys more or less of than the whole base does."""
    title = w.text("market_title")
    if tables is None or "transactions" not in tables:
        return Section("market", title, missing=[needs_log(tables, w)])
    if "category" not in tables.transactions.columns:
        need = w.told("needs the column `category` of the table `transactions`")
        return Section("market", title, missing=[need])
    known = [name for name in ("group", "value_tier", "taste_segment") if of.has(name)]
    if not known:
        return Section("market", title, missing=[w.text("not_scored")])
    grids, said = [], []
    for name in dict.fromkeys([known[0], known[-1]]):
        table, order = _mapped(of, tables, name, own_seller)
        top = table.groupby("category")["spend"].sum().nlargest(_MOST_CATEGORIES).index
        grids.append(_lifts(table, [*top], order, w.text(f"market_by_{name}"), w))
        if name == known[0]:
            shown = table[table.index.get_level_values("category").isin(top)]
            said = [_apart(shown, w, served) for served in ("over", "under")]
    return Section("market", title, [*filter(None, said)], grids)


def _mapped(
    of: Reported, tables: Tables, name: str, own_seller: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Map the largest segments of a column against the categories; return them in order too."""
    scores = of.scores[of.scores[name].notna()]
    most = scores[name].value_counts().head(_MOST_SEGMENTS).index
    scores = scores[scores[name].isin(most)]
    if len(scores) > _MOST_CUSTOMERS:
        scores = scores.sample(_MOST_CUSTOMERS, random_state=1)
    segments = scores.set_index("customer_id")[name].astype("str")
    table = compute_product_market_map(
        tables, of.cutoff, segments, own_seller=own_seller, n_boot=_DRAWS
    )
    known = set(table.index.get_level_values("segment"))
    order = sorted(most) if name == "value_tier" else [*most]
    return table, [str(one) for one in order if str(one) in known]


def _lifts(
    table: pd.DataFrame, categories: list[str], order: list[str], title: str, w: Language
) -> Grid:
    tones: dict[str, Tone] = {"over": "good", "under": "bad"}
    signs = {"over": " ▲", "under": " ▼"}
    lifts, served = table["lift"].to_dict(), table["served"].to_dict()
    rows = []
    for category in categories:
        line = [Cell(str(category), str(category))]
        for segment in order:
            lift, how = float(lifts[segment, category]), str(served[segment, category])
            tone, sign = tones.get(how, ""), signs.get(how, "")
            line.append(Cell(f"{w.number(lift)}{sign}", lift, tone=tone))
        rows.append(line)
    return Grid(title, [w.text("head_category"), *order], rows, w.text("market_note"))


def _apart(table: pd.DataFrame, w: Language, served: str) -> str:
    """Name the categories of which segments buy most above, or below, their share."""
    telling = table[table["served"] == served]
    if telling.empty:
        return ""
    value = telling["lift"] if served == "over" else -telling["lift"]
    most = telling.loc[value.nlargest(_TOLD).index].reset_index().to_dict("records")
    named = [
        w.text(
            "market_pair",
            category=row["category"],
            group=row["segment"],
            lift=w.number(float(row["lift"])),
        )
        for row in most
    ]
    return w.text(f"market_{served}", pairs=w.listed(named))
