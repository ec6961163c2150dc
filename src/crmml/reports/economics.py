"""The section of a page on the economics of retention, and pictures of ranges."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crmml.reports.contents import Bar, Bars, Cell, Grid, Section
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.scorecard.retention_costs import RetentionCosts, take_off_costs
from crmml.scorecard.retention_economics import CITED

_ALL = "all"
_SPAN = 0.2
"""How far each thing is varied: the span of :func:`crmml.scorecard.retention_costs.measure_worths`
in the lists."""


def economics(of: Reported, w: Language, costs: RetentionCosts | None = None) -> Section:
    """Show what a point of retention is worth, and the figures usually cited beside it."""
    rows = of.summary.get("economics") or []
    cited = [
        [
            Cell(w.text(f"cited_{name}"), name),
            Cell(_cited(name, one.low, one.high, w), one.low),
            Cell(_own(name, rows, w, costs), 0.0),
            Cell(w.told(one.source), one.source),
        ]
        for name, one in CITED.items()
    ]
    heads = [w.text(f"head_{k}") for k in ("figure", "cited", "here", "source")]
    grids = [Grid(w.text("cited_grid"), heads, cited, w.text("cited_note"))]
    if not rows:
        return Section("economics", w.text("economics_title"), (), grids,
                       missing=[w.text("economics_need")])  # fmt: skip
    total = next(row for row in rows if row["group"] == _ALL)
    body = [
        [
            Cell(w.label(row["group"]), str(row["group"])),
            Cell(w.count(row["customers"]), row["customers"]),
            Cell(w.money(row["expected"]), row["expected"]),
            Cell(w.money(row["at_stake"]), row["at_stake"]),
            Cell(w.share(_number(row["retention"])), _number(row["retention"])),
            Cell(w.money(row["one_point"]), row["one_point"]),
            Cell(w.share(_number(row["five_points"])), _number(row["five_points"])),
        ]
        for row in rows
    ]
    keys = ("tier", "customers", "expected", "at_stake", "kept_margin", "one_point", "five_points")
    grid = Grid(w.text("economics_grid"), [w.text(f"head_{k}") for k in keys], body,
                w.text("economics_note"))  # fmt: skip
    said = w.text(
        "economics_say",
        point=w.money(total["one_point"]),
        five=w.share(_number(total["five_points"])),
        horizon=w.length(of.summary["economics_horizon"]),
    )
    bars = _sensitivity(of.summary.get("sensitivity") or [], w, costs)
    missing = [] if bars else [w.text("sensitivity_need")]
    return Section("economics", w.text("economics_title"), [said], [grid, *grids],
                   missing=missing, bars=bars)  # fmt: skip


def _sensitivity(
    worths: list[dict[str, Any]], w: Language, costs: RetentionCosts | None
) -> list[Bars]:
    """Draw how the worth of one point moves where one thing is a fifth lower or higher."""
    if not worths:
        return []
    known = costs is not None and not costs.table.loc["keep", "needs"]
    cost = float(costs.table["here"].loc["keep"]) if costs is not None and known else 0.0
    table = take_off_costs(pd.DataFrame(worths).set_index("input"), cost, span=_SPAN)
    if not known:
        table = table.drop(index="cost_of_keeping")
    ends = table[["low", "high"]]
    least, most = min(float(ends.min().min()), 0.0), max(float(ends.max().max()), 0.0)
    width = (most - least) or 1.0
    bars, rows = [], []
    for name, row in table.iterrows():
        base, low, high = (float(row[k]) for k in ("base", "low", "high"))
        start, end = sorted(((low - least) / width, (high - least) / width))
        label = w.text(f"sensitive_{name}")
        text = w.text("between", low=w.money(min(low, high)), high=w.money(max(low, high)))
        bars.append(Bar(label, start, end, text, (base - least) / width))
        cells = [Cell(w.money(v), v) for v in (low, base, high)]
        rows.append([Cell(label, str(name)), *cells])
    title = w.text("sensitivity_title")
    heads = [w.text(f"head_{k}") for k in ("figure", "a_fifth_less", "as_is", "a_fifth_more")]
    first = bars[0]
    alt = w.text("sensitivity_alt", what=first.label, range=first.text)
    note = w.text("sensitivity_cost", cost=w.money(cost)) if known else w.text("sensitivity_free")
    return [Bars(title, alt, bars, Grid(title, heads, rows), note)]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _cited(name: str, low: float, high: float, w: Language) -> str:
    write = w.share if high <= 1.0 else lambda v: w.number(v, 0)
    return write(low) if low == high else w.span(write(low), write(high))


def _own(name: str, rows: list[dict[str, Any]], w: Language, costs: RetentionCosts | None) -> str:
    """Return the figure of these data where they hold it, or what it needs."""
    total = next((row for row in rows if row["group"] == _ALL), None)
    if name == "five_points" and total is not None:
        return w.share(_number(total["five_points"]))
    if costs is None or costs.table.loc[name, "needs"]:
        return w.text("not_measured")
    write = w.share if CITED[name].high <= 1.0 else w.number
    ends = ("here", "lower", "upper")
    here, lower, upper = (write(float(costs.table[end].loc[name])) for end in ends)
    return f"{here} ({w.span(lower, upper)})"
