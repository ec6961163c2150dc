"""The sections of a page that need the data too: scorecard, control charts, retention economics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from crmml.data.tables import Tables
from crmml.exceptions import TooLittleDataError
from crmml.features.periods import Period, measure_periods
from crmml.reports.contents import Cell, Chart, Grid, Line, Section, Tone
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.sections import needs_log
from crmml.scorecard.control_charts import ControlChart
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard, compute_scorecard
from crmml.scorecard.retention_costs import RetentionCosts, compute_retention_costs
from crmml.scorecard.retention_economics import CITED
from crmml.segments.cohorts import compute_cohort_retention

ALL = "all"
"""Name of the group of all customers."""

_LEAST_MONTHS = 12
"""Whole months from which on a scorecard goes by month, not by week."""

_MOST_COHORTS = 12
"""Cohorts, and ages, that a page shows: the newest."""

_MOST_GROUPS = 5
"""Groups of customers that a scorecard shows: the largest."""

_MOST_CHARTS = 8
"""Charts that a page shows."""

_MOST_TOLD = 12
"""Charts with a signal that are told in words."""


def measure_business(
    of: Reported, tables: Tables, own_seller: str | None = None
) -> tuple[pd.DataFrame, Period]:
    """Measure all customers and each tier by month, or by week where the history is short.

    Parameters
    ----------
    of : Reported
        Its earliest scores say who stands in which tier: a tier that is named before the figures
        come about cannot have been made by them.
    tables : Tables
        The checked data.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    measured : DataFrame
        See :func:`crmml.features.periods.measure_periods`; tiers from the earliest scores on.
    period : {"week", "month"}

    Notes
    -----
    The column ``group`` of the scores, which is given and not made by the figures, adds its largest
    groups.
    """
    days = (of.cutoff - tables.first_timestamp).days
    period: Period = "month" if days >= 31 * _LEAST_MONTHS else "week"
    lapse = 3 if period == "month" else 13
    scores = of.scores.set_index("customer_id")
    everybody = pd.Series(ALL, index=scores.index)
    how: dict[str, Any] = {"period": period, "lapse": lapse, "own_seller": own_seller}
    parts = [measure_periods(tables, of.cutoff, everybody, **how)]
    if len(of.tiers_before) and of.since is not None:
        tiers = measure_periods(tables, of.cutoff, of.tiers_before, **how)
        parts.append(tiers[tiers.index.get_level_values("period") >= of.since])
    if (groups := _groups(of)) is not None:
        parts.append(measure_periods(tables, of.cutoff, groups, **how))
    return pd.concat(parts), period


def _groups(of: Reported) -> pd.Series[str] | None:
    """Return the group of each customer, the largest groups only; None where there are none."""
    if not of.has("group"):
        return None
    known = of.scores.set_index("customer_id")["group"].dropna().astype("str")
    most = known.value_counts().head(_MOST_GROUPS).index
    taken = {ALL, *map(str, of.tiers_before.unique())} & set(most)
    return None if taken else known[known.isin(most)]


def business_sections(
    of: Reported, w: Language, tables: Tables | None, own_seller: str | None = None
) -> list[Section]:
    """Make scorecard, control charts and economics; what is lacking says what it needs.

    Parameters
    ----------
    of : Reported
    w : Language
    tables : Tables or None
        The checked data; None where no configuration names them.
    own_seller : str, optional
    """
    if tables is None or "transactions" not in tables:
        why = [needs_log(tables, w)]
        found = [Section(k, w.text(f"{k}_title"), missing=why) for k in ("scorecard", "control")]
        return [*found, economics(of, w)]
    try:
        measured, period = measure_business(of, tables, own_seller)
    except TooLittleDataError as error:
        short = [w.told(str(error))]
        found = [Section(k, w.text(f"{k}_title"), missing=short) for k in ("scorecard", "control")]
        return [*found, economics(of, w)]
    card = compute_scorecard(measured, clv=_values(of), fixed=sorted(set(of.tiers_before)))
    return [
        scorecard(of, card, w, period),
        control(card, w, period),
        cohorts(of, w, tables, period, own_seller),
        economics(of, w, compute_retention_costs(tables, of.cutoff, own_seller=own_seller)),
    ]


def _values(of: Reported) -> tuple[pd.Series[float], pd.Series[str]] | None:
    """Return lifetime value and group of all customers, and once more by tier."""
    if "clv" not in of.scores:
        return None
    clv = of.scores.set_index("customer_id")["clv"]
    groups = [pd.Series(ALL, clv.index), of.tiers_before[of.tiers_before.index.isin(clv.index)]]
    return pd.concat([clv.reindex(g.index) for g in groups]), pd.concat(groups).astype(str)


def scorecard(of: Reported, card: Scorecard, w: Language, period: Period) -> Section:
    """Show each figure of the newest period, by perspective and tier, with its change."""
    groups = sorted(card.table.index.get_level_values("group").unique(), key=lambda g: g != ALL)
    grids = []
    for perspective in dict.fromkeys(kpi.perspective for kpi in KPIS):
        kpis = [k for k in KPIS if k.perspective == perspective and k.name not in card.missing]
        if kpis:
            rows = [
                [Cell(w.text(f"kpi_{k.name}"), k.name), *(_cell(card, k, g, w) for g in groups)]
                for k in kpis
            ]
            heads = [w.text("head_figure"), *(w.label(g) for g in groups)]
            grids.append(Grid(w.text(f"perspective_{perspective}"), heads, rows))
    said = [w.text("scorecard_say", date=w.date(card.period), period=w.text(f"period_{period}"))]
    if of.since is not None:
        said.append(w.text("scorecard_tiers", date=w.date(of.since)))
    else:
        said.append(w.text("scorecard_no_tiers"))
    lacking = {w.text(f"kpi_{name}"): w.told(why) for name, why in card.missing.items()}
    missing = [w.text("of_what", what=what, why=why) for what, why in lacking.items()]
    return Section("scorecard", w.text("scorecard_title"), said, grids, missing=missing)


def control(card: Scorecard, w: Language, period: Period) -> Section:
    """Say which figures left their usual range, and draw them: measure, analyse, control."""
    shown = card.signals
    said = [
        w.text(
            "control_say",
            charts=w.count(len(card.charts)),
            chance=w.share(0.05, 0),
            signals=w.count(len(shown)),
        )
    ]
    said += [_told(chart, w) for chart in shown[:_MOST_TOLD]]
    if len(shown) > _MOST_TOLD:
        said.append(w.text("more_signals", signals=w.count(len(shown) - _MOST_TOLD)))
    draw = shown or [c for (name, _), c in card.charts.items() if name in ("retention", "revenue")]
    charts = [_drawn(chart, w) for chart in draw[:_MOST_CHARTS]]
    missing = [] if card.charts else [w.text("control_short", period=w.text(f"period_{period}"))]
    return Section("control", w.text("control_title"), said, charts=charts, missing=missing)


def cohorts(
    of: Reported, w: Language, tables: Tables, period: Period, own_seller: str | None = None
) -> Section:
    """Show which share of each cohort bought at each age; what is not lived through is blank."""
    longer: Period = "quarter" if period == "month" else "month"
    table = compute_cohort_retention(tables, of.cutoff, period=longer, own_seller=own_seller)
    wide = table["retention"].unstack("age").tail(_MOST_COHORTS)
    wide = wide.drop(columns=0).dropna(axis="columns", how="all").iloc[:, :_MOST_COHORTS]
    size = table["customers"].groupby(level="cohort").first()
    rows = [
        [
            Cell(w.date(start), str(start)),
            Cell(w.count(size.loc[start]), float(size.loc[start])),
            *(Cell("" if v != v else w.share(v, 0), "" if v != v else v, bar=v) for v in line),
        ]
        for start, line in zip(pd.DatetimeIndex(wide.index), wide.to_numpy().tolist(), strict=True)
    ]
    heads = [
        w.text("head_cohort"),
        w.text("head_customers"),
        *(w.figures(str(age)) for age in wide),
    ]
    title = w.text("cohorts_grid", period=w.text(f"period_{longer}"))
    grid = Grid(title, heads, rows, w.text("cohorts_note"))
    return Section("cohorts", w.text("cohorts_title"), (), [grid])


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
    total = next(row for row in rows if row["group"] == ALL)
    body = [
        [
            Cell(w.label(row["group"]), str(row["group"])),
            Cell(w.count(row["customers"]), row["customers"]),
            Cell(w.money(row["expected"]), row["expected"]),
            Cell(w.money(row["at_stake"]), row["at_stake"]),
            Cell(w.share(_number(row["retention"])), _number(row["retention"])),
            Cell(w.money(row["one_point"]), row["one_point"]),
        ]
        for row in rows
    ]
    keys = ("tier", "customers", "expected", "at_stake", "kept_margin", "one_point")
    grid = Grid(w.text("economics_grid"), [w.text(f"head_{k}") for k in keys], body,
                w.text("economics_note"))  # fmt: skip
    said = w.text(
        "economics_say",
        point=w.money(total["one_point"]),
        five=w.share(_number(total["five_points"])),
        horizon=w.length(of.summary["economics_horizon"]),
    )
    return Section("economics", w.text("economics_title"), [said], [grid, *grids])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _cited(name: str, low: float, high: float, w: Language) -> str:
    write = w.share if high <= 1.0 else lambda v: w.number(v, 0)
    return write(low) if low == high else f"{write(low)}–{write(high)}"


def _own(name: str, rows: list[dict[str, Any]], w: Language, costs: RetentionCosts | None) -> str:
    """Return the figure of these data where they hold it."""
    total = next((row for row in rows if row["group"] == ALL), None)
    if name == "five_points" and total is not None:
        return w.share(_number(total["five_points"]))
    if costs is None or costs.table.loc[name, "needs"]:
        return w.text("not_measured")
    write = w.share if CITED[name].high <= 1.0 else w.number
    ends = ("here", "lower", "upper")
    here, lower, upper = (write(float(costs.table[end].loc[name])) for end in ends)
    return f"{here} ({lower}–{upper})"


def _cell(card: Scorecard, kpi: Kpi, group: str, w: Language) -> Cell:
    if (kpi.name, group) not in card.table.index:
        return Cell("–")
    row: Any = card.table.loc[(kpi.name, group)]
    value, change = float(row["value"]), float(row["change"])
    write = {"share": w.share, "currency": w.money}.get(kpi.unit, w.number)
    text = write(value)
    if change == change and change != 0.0:
        text += f"\n{'▲' if change > 0 else '▼'} {write(abs(change))}"
    chart = card.charts.get((kpi.name, group))
    tone: Tone = ""
    if chart is not None and (chart.step is not None or len(chart.signals)):
        up = chart.table["value"].iloc[-1] > chart.table["centre"].iloc[-1]
        tone = "good" if up == (kpi.better == "higher") else "bad"
    return Cell(text, value, tone=tone)


def _told(chart: ControlChart, w: Language) -> str:
    name, _, group = chart.name.rpartition(" of ")
    write = w.share if chart.kind == "share" else w.number
    about = {"figure": w.text(f"kpi_{name}"), "group": w.label(group)}
    if chart.step is not None:
        step = chart.step
        key = "step_up" if step.after > step.before else "step_down"
        return w.text(key, **about, before=write(step.before), after=write(step.after),
                      date=w.date(pd.Timestamp(step.at)))  # fmt: skip
    at = w.date(pd.Timestamp(chart.signals.index[0]))
    return w.text("signal", **about, date=at)


def _drawn(chart: ControlChart, w: Language) -> Chart:
    table, write = chart.table, w.share if chart.kind == "share" else w.number
    labels = [w.date(pd.Timestamp(at)) for at in table.index]
    marked = [k for k, signal in enumerate(table["signal"]) if signal]
    name, _, group = chart.name.rpartition(" of ")
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
    alt = _told(chart, w) if len(chart.signals) or chart.step else title
    drawn = Chart(title, alt, labels, lines, Grid(title, heads, rows))
    low, high = drawn.bounds()
    tick = write if chart.kind == "share" or abs(high) < 100 else w.count
    return replace(drawn, ticks=(tick(low), tick(high)))


def _known(value: float) -> float | None:
    return float(value) if value == value else None
