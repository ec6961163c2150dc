"""The section of a page on strategy: measured links from actions to profit."""

from __future__ import annotations

from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.windows import shifted
from crmml.reports.contents import Cell, Grid, Section, Tone
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.sections import needs_log
from crmml.scorecard.strategy import compute_strategy_map


def strategy(
    of: Reported, w: Language, tables: Tables | None, own_seller: str | None = None
) -> Section:
    """Show each link from actions over experience and retention to profit, with its interval."""
    title = w.text("strategy_title")
    if tables is None or "transactions" not in tables:
        return Section("strategy", title, missing=[needs_log(tables, w)])
    horizon = of.summary.get("horizon")
    if not horizon:
        return Section("strategy", title, missing=[w.text("no_lists")])
    try:
        at = shifted(of.cutoff, horizon, -2)
        found = compute_strategy_map(tables, at, horizon=horizon, own_seller=own_seller)
    except CrmmlError as error:  # too short a history for two horizons, say
        return Section("strategy", title, missing=[w.told(str(error))])
    rows, lacking = [], {}
    for row in found.table.to_dict("records"):
        if row["effect"] != row["effect"]:
            lacking[f"{w.label(row['source'])} → {w.label(row['target'])}"] = str(row["needs"])
            continue
        write = w.share if row["target"] == "retention" else w.number
        effect, low, high = (float(row[name]) for name in ("effect", "lower", "upper"))
        tone: Tone = ""
        if row["beyond_chance"]:
            tone = "good" if effect > 0 else "bad"
        interval = w.text("between", low=write(low), high=write(high))
        rows.append([
            Cell(w.label(row["source"]), str(row["source"])),
            Cell(w.label(row["target"]), str(row["target"])),
            Cell(f"{write(effect)} ({interval})", effect, tone=tone),
            Cell(w.label(row["evidence"]), str(row["evidence"])),
            Cell(w.count(row["customers"]), row["customers"]),
        ])  # fmt: skip
    needs: dict[str, list[str]] = {}
    for link, why in lacking.items():
        needs.setdefault(why, []).append(link)
    missing = [
        w.text("of_what", what=w.text("comma").join(links), why=w.told(why))
        for why, links in needs.items()
    ]
    heads = ("from", "to", "effect", "basis", "customers")
    note = w.text("strategy_note", date=w.date(at))
    grid = Grid(w.text("strategy_grid"), [w.text(f"head_{k}") for k in heads], rows, note)
    sure = int(found.table["beyond_chance"].sum())
    said = w.text("strategy_say", links=w.count(len(rows)), sure=w.count(sure))
    return Section("strategy", title, [said], [grid] if rows else [], missing=missing)
