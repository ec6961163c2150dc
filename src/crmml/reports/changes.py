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
from crmml.scorecard.control_charts import ControlChart
from crmml.scorecard.improvement import STEPS, Improvement, Told, plan_improvement
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard
from crmml.scorecard.strategy import StrategyMap

ALL = "all"
"""Name of the group of all customers."""

_MOST_CHARTS = 8
"""Charts that a page shows."""

_MOST_TOLD = 12
"""Charts with a signal that are told in words."""

_MOST_STORIES = 3
"""Changes that are worked through."""

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
    shown = card.signals
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
    stories = [_story(plan, w) for plan in _plans(of, card, measured, tables, how, links)]
    told = {story.chart.title for story in stories if story.chart is not None}
    draw = shown or [c for (name, _), c in card.charts.items() if name in ("retention", "revenue")]
    charts = [draw_chart(chart, w) for chart in draw]
    charts = [chart for chart in charts if chart.title not in told]
    missing = [] if card.charts else [
        w.text("control_short", period=w.text(f"period_{how['period']}"))
    ]  # fmt: skip
    return Section(
        "control", w.text("control_title"), said, charts=charts[: _MOST_CHARTS - len(stories)],
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
    changed = [names[chart.name] for chart in card.signals]
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
    parts = {}
    if group == ALL:
        sides = {"tier": tiers, "group": ~tiers & (named != ALL)}
        parts = {by: measured[rows] for by, rows in sides.items() if rows.any()}
    members = of.tiers_before.index[of.tiers_before == group] if group != ALL else None
    if members is not None and members.empty:
        return parts  # a group, whose members the scores of today name
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


def _story(plan: Improvement, w: Language) -> Story:
    title = w.text("chart_title", figure=w.text(f"kpi_{plan.kpi}"), group=w.label(plan.group))
    steps = [
        (w.text(f"step_{step}"), [_said(one, plan, w) for one in plan.told if one.step == step])
        for step in STEPS
    ]
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
        figures["parts"] = w.text("comma").join(w.label(p) for p in values.get("parts", ()))
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
    about["channels"] = w.text("comma").join(map(w.label, channels)) or w.label("none")
    if values["evidence"] == "assumed":
        return w.text("dmaic_improve_assumed", effect=w.share(float(values["effect"])), **about)
    write = w.share if kpi.name == "retention" else w.number
    effect, low, high = (write(float(values[n])) for n in ("effect", "lower", "upper"))
    key = f"dmaic_improve_{values['evidence']}"
    return w.text(key, effect=effect, interval=w.text("between", low=low, high=high), **about)


def writer(kpi: Kpi, w: Language) -> Any:
    """Return what writes the values of a figure."""
    return {"share": w.share, "currency": w.money}.get(kpi.unit, w.number)


def tell_chart(chart: ControlChart, w: Language) -> str:
    """Say in words what a chart signals."""
    name, _, group = chart.name.partition(" of ")
    write = w.share if chart.kind == "share" else w.number
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
    table, write = chart.table, w.share if chart.kind == "share" else w.number
    labels = [w.date(pd.Timestamp(at)) for at in table.index]
    marked = [k for k, signal in enumerate(table["signal"]) if signal]
    name, _, group = chart.name.partition(" of ")
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
    tick = write if chart.kind == "share" or abs(high) < 100 else w.count
    return replace(drawn, ticks=(tick(low), tick(high)))


def _known(value: float) -> float | None:
    return float(value) if value == value else None
