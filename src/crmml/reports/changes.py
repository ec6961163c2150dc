"""The section of a page on what changed: define, measure, analyse, improve, control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from crmml.actions.catalogue import ActionCatalogue
from crmml.data.tables import Tables
from crmml.exceptions import MissingColumnsError
from crmml.features.breakdowns import Part, measure_parts
from crmml.reports.contents import Cell, Chart, Grid, Line, Section, Story
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.strategy import write_effect
from crmml.scorecard.control_charts import ControlChart
from crmml.scorecard.improvement import STEPS, Improvement, Told, plan_improvement
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard
from crmml.scorecard.strategy import StrategyMap

ALL = "all"
"""Name of the group of all customers."""

_MOST_CHARTS = 4
"""Charts that a page shows beside those of the changes that are worked through."""

_MOST_TOLD = 10
"""Charts with a signal that are told in words."""

_MOST_STORIES = 3
"""Changes that are worked through."""

_ORDER = (
    *("retention", "penetration", "satisfaction", "complaint_rate", "profit", "margin"),
    *("revenue", "revenue_per_purchase", "purchases_per_buyer", "win_back", "resolution"),
)
"""Figures by the order in which their changes are told."""

_MOST_CUSTOMERS = 50_000
"""Customers among whom it is looked where a change came from; of more, a random part."""

_OF_TOUCHES = ("contacts", "complaints", "resolved", "surveys", "satisfied")


def control(
    of: Reported,
    card: Scorecard,
    measured: pd.DataFrame,
    w: Language,
    tables: Tables,
    how: dict[str, Any],
    links: StrategyMap | None = None,
) -> Section:
    """Say which figures left their usual range, and work the first of them through.

    Parameters
    ----------
    of : Reported
    card : Scorecard
    measured : DataFrame
        What the scorecard was made of.
    w : Language
    tables : Tables
    how : dict
        ``period`` and ``own_seller`` of the figures.
    links : StrategyMap, optional
        Measured effects of actions.
    """
    shown = sorted(card.signals, key=_first)
    said = [
        w.text(
            "control_say",
            charts=w.count(len(card.charts)),
            chance=w.share(0.05, 0),
            signals=w.count(len(shown)),
        )
    ]
    said += [tell_chart(chart, w) for chart in shown[:_MOST_TOLD]]
    if len(shown) > _MOST_TOLD:
        said.append(w.text("more_signals", signals=w.count(len(shown) - _MOST_TOLD)))
    plans = list(_plans(of, card, measured, tables, how, links))
    stories = [_story(plan, w, bool(of.summary.get("catalogue"))) for plan in plans]
    told = {plan.kpi for plan in plans}
    draw = shown or [c for (name, _), c in card.charts.items() if name in ("retention", "revenue")]
    draw = [chart for chart in draw if _figure_and_group(chart)[0] not in told]
    charts = [draw_chart(chart, w) for chart in draw[:_MOST_CHARTS]]
    missing = [] if card.charts else [
        w.text("control_short", period=w.text(f"period_{how['period']}"))
    ]  # fmt: skip
    return Section(
        "control", w.text("control_title"), said, charts=charts,
        missing=missing, stories=stories,
    )  # fmt: skip


def _plans(
    of: Reported,
    card: Scorecard,
    measured: pd.DataFrame,
    tables: Tables,
    how: dict[str, Any],
    links: StrategyMap | None,
) -> Iterator[Improvement]:
    """Work through the first changes, of each figure one; without any, the first figure."""
    stored = of.summary.get("catalogue")
    catalogue = ActionCatalogue.from_dict(stored) if stored else None
    names = {chart.name: key for key, chart in card.charts.items()}
    changed = [names[chart.name] for chart in sorted(card.signals, key=_first)]
    quiet = [key for key in (("retention", ALL), *card.charts) if key in card.charts]
    chosen: dict[str, str] = {}
    for kpi, group in changed or quiet[:1]:
        if kpi not in chosen or group == ALL:
            chosen[kpi] = group
    for kpi, group in [*chosen.items()][:_MOST_STORIES]:
        declared = next(one for one in KPIS if one.name == kpi)
        parts = _parts(of, declared, group, measured, tables, how) if changed else {}
        yield plan_improvement(card, kpi, group, parts, catalogue=catalogue, links=links)


def _parts(
    of: Reported, kpi: Kpi, group: str, measured: pd.DataFrame, tables: Tables, how: dict[str, Any]
) -> dict[str, pd.DataFrame]:
    """Measure where a change may have come from: tiers, groups, and parts of the data."""
    named = measured.index.get_level_values("group")
    tiers = named.isin(of.tiers_before.unique())
    parts: dict[str, pd.DataFrame] = {}
    if group == ALL:
        sides = {"tier": tiers, "group": ~tiers & (named != ALL)}
        parts = {by: measured[rows] for by, rows in sides.items() if rows.any()}
    ids = of.scores["customer_id"] if group == ALL else of.tiers_before.index.to_series()
    if group != ALL:
        ids = ids[of.tiers_before == group]
    if ids.empty:
        return parts  # a group, whose members the scores of today name
    members = None
    if group != ALL or len(ids) > _MOST_CUSTOMERS:
        members = pd.Index(ids.sample(min(len(ids), _MOST_CUSTOMERS), random_state=1))
    of_touches = kpi.above in _OF_TOUCHES or kpi.below in _OF_TOUCHES
    asked: tuple[Part, ...] = ("channel", "category")
    if of_touches:
        asked = ("dimension", "contact_channel", "staff")
    for by in asked:
        try:
            parts[by] = measure_parts(tables, of.cutoff, by, customers=members, **how)
        except MissingColumnsError:
            continue
    return parts


def _story(plan: Improvement, w: Language, known: bool) -> Story:
    title = w.text("chart_title", figure=w.text(f"kpi_{plan.kpi}"), group=w.label(plan.group))
    steps = [
        (w.text(f"step_{step}"), [_said(one, plan, w) for one in plan.told if one.step == step])
        for step in STEPS
    ]
    if plan.actions.empty and not known:  # no catalogue says which actions there are
        steps[STEPS.index("improve")] = (w.text("step_improve"), [w.text("dmaic_no_catalogue")])
    return Story(title, steps, draw_chart(plan.chart, w))


def _said(one: Told, plan: Improvement, w: Language) -> str:
    """Write one sentence of an improvement in the language of the page."""
    kpi = next(k for k in KPIS if k.name == plan.kpi)
    if one.step == "measure" and one.key != "measure_quiet":
        return tell_chart(plan.chart, w)
    write = writer(kpi, w)
    values = dict(one.values)
    figures: dict[str, Any] = {}
    for name in ("target", "value", "lower", "upper", "effect"):
        if name in values:
            figures[name] = write(float(values[name]))
    if one.key == "define_kpi":
        better = w.text(f"better_{kpi.better}")
        figures = {"figure": w.text(f"kpi_{kpi.name}"), "group": w.label(plan.group),
                   "meaning": w.told(kpi.meaning), "better": better}  # fmt: skip
    elif one.step == "analyse":
        figures["by"] = w.text(f"by_part_{values['by']}") if "by" in values else ""
        parts = [w.label(part) for part in values.get("parts", ())]
        parts = parts[:1] if one.key == "analyse_all" else parts
        figures["parts"] = w.listed(parts)
        figures["of"] = w.count(values.get("of", 0))
    elif one.key == "improve_action":
        return _action(values, kpi, w)
    elif one.step == "control":
        figures |= {n: w.count(values[n]) for n in ("periods", "signals")}
    elif one.key == "measure_quiet":
        figures["figure"] = w.text(f"kpi_{kpi.name}")
    return w.text(f"dmaic_{one.key}", **figures)


def _action(values: dict[str, Any], kpi: Kpi, w: Language) -> str:
    """Say what an action does to a figure, as it was measured or is assumed."""
    about: dict[str, Any] = {"action": w.label(values["action"])}
    channels = [name for name in str(values["channels"]).split(", ") if name and name != "nan"]
    about["channels"] = w.listed([*map(w.label, channels)]) or w.label("none")
    if values["evidence"] == "assumed":
        return w.text("dmaic_improve_assumed", effect=w.share(float(values["effect"])), **about)
    target = {"retention": "retention", "satisfaction": "experience"}.get(kpi.name, "profit")
    effect, interval = write_effect(values, target, w)
    key = f"dmaic_improve_{values['evidence']}"
    return w.text(key, effect=effect, interval=interval, target=w.text(f"on_{target}"), **about)


def _figure_and_group(chart: ControlChart) -> tuple[str, str]:
    """Return what is charted, and of whom: a group may hold " of " itself."""
    name, _, group = chart.name.partition(" of ")
    return name, group


def _first(chart: ControlChart) -> tuple[bool, int, bool, str]:
    """Put dated changes first, what a director asks for first, and all customers before a part."""
    name, group = _figure_and_group(chart)
    place = _ORDER.index(name) if name in _ORDER else len(_ORDER)
    return chart.step is None, place, group != ALL, chart.name


def writer(kpi: Kpi, w: Language) -> Any:
    """Return what writes the values of a figure; its unit is said beside it."""
    if kpi.unit == "currency":
        return lambda value: w.count(value) if abs(value) >= 100.0 else w.number(value)
    return w.share if kpi.unit == "share" else lambda value: w.number(value, _places(value))


def _places(value: float) -> int:
    return 3 if abs(value) < 0.1 else 2


def tell_chart(chart: ControlChart, w: Language) -> str:
    """Say in words what a chart signals."""
    name, group = _figure_and_group(chart)
    write = _on_chart(chart, name, w)
    about = {"figure": w.text(f"kpi_{name}"), "group": w.label(group)}
    if chart.step is not None:
        step = chart.step
        key = "step_up" if step.after > step.before else "step_down"
        return w.text(key, **about, before=write(step.before), after=write(step.after),
                      date=w.date(pd.Timestamp(step.at)))  # fmt: skip
    at = w.date(pd.Timestamp(chart.signals.index[0]))
    return w.text("signal", **about, date=at)


def draw_chart(chart: ControlChart, w: Language) -> Chart:
    """Draw a control chart: values, usual level and limits."""
    name, group = _figure_and_group(chart)
    table, write = chart.table, _on_chart(chart, name, w)
    labels = [w.date(pd.Timestamp(at)) for at in table.index]
    marked = [k for k, signal in enumerate(table["signal"]) if signal]
    title = w.text("chart_title", figure=w.text(f"kpi_{name}"), group=w.label(group))
    lines = [
        Line(w.text("line_value"), [_known(v) for v in table["value"]], marked=marked),
        Line(w.text("line_centre"), [_known(v) for v in table["centre"]], "centre"),
        Line(w.text("line_upper"), [_known(v) for v in table["upper"]], "limit"),
        Line(w.text("line_lower"), [_known(v) for v in table["lower"]], "limit"),
    ]
    rows = [
        [Cell(label, label), *(Cell(write(float(row[n])), float(row[n])) for n in
                               ("value", "lower", "upper"))]
        for label, row in zip(labels, table.to_dict("records"), strict=True)
    ]  # fmt: skip
    heads = [w.text(f"head_{k}") for k in ("period", "value", "lower", "upper")]
    alt = tell_chart(chart, w) if len(chart.signals) or chart.step else title
    drawn = Chart(title, alt, labels, lines, Grid(title, heads, rows))
    low, high = drawn.bounds()
    return replace(drawn, ticks=(write(low), write(high)))


def _on_chart(chart: ControlChart, name: str, w: Language) -> Any:
    """Return what writes the values on a chart, whatever figure it is of."""
    known = next((kpi for kpi in KPIS if kpi.name == name), None)
    return w.share if chart.kind == "share" or known is None else writer(known, w)


def _known(value: float) -> float | None:
    return float(value) if value == value else None
