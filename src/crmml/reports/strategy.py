"""The section of a page on strategy: measured links from actions to profit, drawn as a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.windows import shifted
from crmml.reports.contents import Arrow, Cell, Grid, Map, Node, Section, Tone
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.sections import needs_log
from crmml.scorecard.strategy import StrategyMap, compute_strategy_map

_WIDTH = 860.0
_ROWS: Mapping[str, tuple[str, ...]] = {
    "profit": ("profit",), "retention": ("retention",), "experience": ("experience", "loyalty"),
}  # fmt: skip
"""What stands in the bands above the actions."""

_PLACES = {"profit": 0.64, "retention": 0.38, "experience": 0.15, "loyalty": 0.85}
_TOPS = frozenset(_PLACES)
_LINE, _WIDE = 16.0, 256.0
_MOST_ACTIONS = 5
"""Actions that are drawn, those with the surest links; all stand in the table."""


@dataclass(frozen=True)
class Links:
    """The measured links, or why there are none.

    Attributes
    ----------
    found : StrategyMap or None
    at : Timestamp or None
        Experience lies before it, what followed after it.
    why : str
        In English; empty where there are links.
    """

    found: StrategyMap | None
    at: pd.Timestamp | None
    why: str = ""


def measure_links(of: Reported, tables: Tables | None, own_seller: str | None) -> Links | None:
    """Measure the links of a strategy map; None where the data are not given.

    Loyalty is taken from the earlier scores, where they lie before the outcomes begin.
    """
    horizon = of.summary.get("horizon")
    if tables is None or "transactions" not in tables or not horizon:
        return None
    at = shifted(of.cutoff, horizon, -2)
    loyalty = None
    if of.before is not None and "loyalty_class" in of.before and _before(of.cutoff_before, at):
        known = of.before.set_index("customer_id")["loyalty_class"].dropna().astype("str")
        loyalty = (known == "loyal").astype("float64")
    how: dict[str, Any] = {"horizon": horizon, "own_seller": own_seller, "loyalty": loyalty}
    try:
        return Links(compute_strategy_map(tables, at, **how), at)
    except CrmmlError as error:  # too short a history for two horizons, say
        return Links(None, at, str(error))


def _before(cutoff: pd.Timestamp | None, at: pd.Timestamp) -> bool:
    return cutoff is not None and cutoff <= at


def strategy(of: Reported, w: Language, tables: Tables | None, links: Links | None) -> Section:
    """Draw each link from actions over experience and retention to profit, with its interval."""
    title = w.text("strategy_title")
    if links is None:
        log = tables is not None and "transactions" in tables
        why = w.text("no_lists") if log else needs_log(tables, w)
        return Section("strategy", title, missing=[why])
    if links.found is None or links.at is None:
        return Section("strategy", title, missing=[w.told(links.why)])
    table = links.found.table
    known = table[table["effect"].notna()]
    needs: dict[str, list[str]] = {}
    for row in table[table["effect"].isna()].to_dict("records"):
        link = w.text("link", source=w.label(row["source"]), target=w.label(row["target"]))
        needs.setdefault(str(row["needs"]), []).append(str(link))
    missing = [
        w.text("of_needs", what=w.listed(names), why=w.told(why)) for why, names in needs.items()
    ]
    sure = int(known["beyond_chance"].sum())
    said = [w.text("strategy_say", links=w.count(len(known)), sure=w.count(sure))]
    said += [_told(row, w) for row in known[known["beyond_chance"]].to_dict("records")]
    maps = [draw_map(table, _tabulated(known, links.at, w), w)] if len(known) else []
    return Section("strategy", title, said, missing=missing, maps=maps)


def _tabulated(known: pd.DataFrame, at: pd.Timestamp, w: Language) -> Grid:
    rows = []
    for row in known.to_dict("records"):
        effect = float(row["effect"])
        rows.append([
            Cell(w.label(row["source"]), str(row["source"])),
            Cell(w.label(row["target"]), str(row["target"])),
            Cell(_written(row, w), effect, tone=_tone(row)),
            Cell(w.label(row["evidence"]), str(row["evidence"])),
            Cell(w.count(row["customers"]), row["customers"]),
        ])  # fmt: skip
    heads = [w.text(f"head_{k}") for k in ("from", "to", "effect", "basis", "customers")]
    note = w.text("strategy_note", date=w.date(at))
    return Grid(w.text("strategy_grid"), heads, rows, note)


def _tone(row: Mapping[Any, Any]) -> Tone:
    if not row["beyond_chance"]:
        return ""
    return "good" if row["effect"] > 0 else "bad"


def _figures(row: Mapping[Any, Any], w: Language) -> tuple[str, str]:
    """Return the effect, and its interval."""
    return write_effect(row, str(row["target"]), w)


def write_effect(row: Mapping[Any, Any], target: str, w: Language) -> tuple[str, str]:
    """Write an effect on retention in points, on profit in currency; and its interval."""
    effect, low, high = (float(row[name]) for name in ("effect", "lower", "upper"))
    if target == "retention":
        ends = [w.number(100.0 * end, 1) for end in (low, high)]
        return w.points(effect), w.text("between", low=ends[0], high=ends[1])
    told = w.money(effect) if target == "profit" else w.number(effect)
    return told, w.text("between", low=w.number(low), high=w.number(high))


def _written(row: Mapping[Any, Any], w: Language) -> str:
    return "{} ({})".format(*_figures(row, w))


def _told(row: Mapping[Any, Any], w: Language) -> str:
    key = f"link_{row['evidence']}_{'more' if row['effect'] > 0 else 'less'}"
    effect, interval = _figures(row, w)
    return w.text(
        key,
        source=w.label(row["source"]),
        target=w.label(row["target"]),
        effect=effect,
        interval=interval,
    )


def draw_map(table: pd.DataFrame, behind: Grid, w: Language) -> Map:
    """Draw the measured links between four bands: profit above, actions below.

    Parameters
    ----------
    table : DataFrame
        Of a :class:`crmml.scorecard.strategy.StrategyMap`.
    behind : Grid
        The table behind the picture.
    w : Language
    """
    known = table[table["effect"].notna()].sort_values("beyond_chance", kind="stable")
    surest = known[~known["source"].isin(_TOPS)].groupby("source", sort=False)["p_value"].min()
    actions = [str(n) for n in surest.sort_values(kind="stable").index[:_MOST_ACTIONS]]
    drawn = known[known["source"].isin([*_TOPS, *actions])]
    boxes, bands, size = _placed(actions, drawn, w)
    arrows = [_arrow(row, boxes, w) for row in drawn.to_dict("records")]
    kinds = ("solid", "dashed", "less", "chance")
    told = [_told(row, w) for row in drawn[drawn["beyond_chance"]].to_dict("records")]
    alt = " ".join([w.text("map_alt", links=w.count(len(drawn))), *told])
    legend = [(kind, w.text(f"map_{kind}")) for kind in kinds]
    return Map(w.text("map_title"), alt, size, bands, [*boxes.values()], arrows, legend, behind)


def _placed(
    actions: list[str], drawn: pd.DataFrame, w: Language
) -> tuple[dict[str, Node], list[tuple[float, float, str]], tuple[float, float]]:
    """Return the boxes by name, the bands, and the size of the whole."""
    step = _WIDTH / max(len(actions), 1)
    places = {**_PLACES, **{name: (k + 0.5) / len(actions) for k, name in enumerate(actions)}}
    lines = {name: _inside(name, drawn, w, step < 255.0) for name in places}
    used, boxes, bands, top = {*drawn["source"], *drawn["target"]}, {}, [], 0.0
    for band, names in (*_ROWS.items(), ("actions", actions)):
        height = 58.0 + _LINE * max([len(lines[name]) for name in names] or [1])
        for name in names:
            wide = _WIDE if name in _TOPS else min(step - 10.0, 270.0)
            tall = 14.0 + _LINE * len(lines[name])
            boxes[name] = Node(_WIDTH * places[name], top + 13.0 + height / 2, wide, tall,
                               lines[name], name not in used)  # fmt: skip
        bands.append((top, height, w.text(f"band_{band}")))
        top += height
    return boxes, bands, (_WIDTH, top)


def _inside(name: str, drawn: pd.DataFrame, w: Language, narrow: bool) -> list[str]:
    """Write what stands in a box: its name, and what goes out from it beyond chance."""
    lines = [str(w.label(name))]
    rows = drawn[(drawn["source"] == name) & drawn["beyond_chance"]]
    for row in rows.to_dict("records"):
        effect, interval = _figures(row, w)
        first = f"{w.label(row['target'])}: {effect}"
        lines += [first, f"({interval})"] if narrow else [f"{first} ({interval})"]
    return lines


def _arrow(row: Mapping[Any, Any], boxes: Mapping[str, Node], w: Language) -> Arrow:
    """Draw a link from the edge of one box to that of the other."""
    one, other = boxes[row["source"]], boxes[row["target"]]
    level = one.y == other.y
    if level:
        side = 1 if other.x > one.x else -1
        start = (one.x + side * one.width / 2, one.y)
        end = (other.x - side * other.width / 2, other.y)
    else:
        start = (one.x, one.y - one.height / 2)
        end = (other.x + (one.x - other.x) * 0.12, other.y + other.height / 2)
    return Arrow(
        start,
        end,
        row["evidence"] != "experiment",
        _tone(row),
        w.text("link_title", link=w.text("link", source=one.lines[0], target=other.lines[0]),
               figures=_written(row, w), evidence=w.label(row["evidence"])),
    )  # fmt: skip
