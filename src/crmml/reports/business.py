"""The sections of a page that need the data too: scorecard, cohorts, and those beside them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from crmml.data.tables import Tables
from crmml.exceptions import MissingColumnsError, TooLittleDataError
from crmml.features.breakdowns import Part, measure_parts
from crmml.features.periods import Period, measure_periods
from crmml.reports.changes import ALL, control, writer
from crmml.reports.contents import Cell, Grid, Section, Tone
from crmml.reports.economics import economics
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.sections import needs_log
from crmml.reports.strategy import Links
from crmml.scorecard.assessment import Assessment
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard, compute_scorecard
from crmml.scorecard.retention_costs import compute_retention_costs
from crmml.segments.cohorts import compute_cohort_retention, compute_cohort_value

_LEAST_MONTHS = 12
"""Whole months from which on a scorecard goes by month, not by week."""

_MOST_COHORTS = 12
"""Cohorts, and ages, that a page shows: the newest."""

_MOST_VALUED = 300_000
"""Customers up to which the cohorts are valued; of more it would take long."""

_MOST_GROUPS = 5
"""Groups of customers that a scorecard shows: the largest."""

_CHANNELS: tuple[tuple[Part, tuple[str, ...]], ...] = (
    ("channel", ("purchases", "revenue")),
    ("contact_channel", ("contacts", "contact_cost")),
    ("action_channel", ("treated", "action_cost")),
)
"""What is counted by channel: sales, contacts and actions."""


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
    of: Reported,
    w: Language,
    tables: Tables | None,
    own_seller: str | None = None,
    links: Links | None = None,
) -> list[Section]:
    """Make scorecard, control charts and economics; what is lacking says what it needs.

    Parameters
    ----------
    of : Reported
    w : Language
    tables : Tables or None
        The checked data; None where no configuration names them.
    own_seller : str, optional
    links : Links, optional
        The measured links of the strategy map.
    """
    sheet = [] if of.assessment is None else [assessed(of.assessment, w)]
    if tables is None or "transactions" not in tables:
        return [*_without(needs_log(tables, w), w), *sheet, economics(of, w)]
    try:
        measured, period = measure_business(of, tables, own_seller)
    except TooLittleDataError as error:
        return [*_without(w.told(str(error)), w), *sheet, economics(of, w)]
    fixed = sorted(set(of.tiers_before))
    card = compute_scorecard(measured, clv=_values(of), fixed=fixed, targets=of.targets)
    how: dict[str, Any] = {"period": period, "own_seller": own_seller}
    found = None if links is None else links.found
    return [
        scorecard(of, card, w, period, _channels(of, tables, card.period, w, how)),
        *sheet,
        control(of, card, measured, w, tables, how, found),
        cohorts(of, w, tables, period, own_seller),
        economics(of, w, compute_retention_costs(tables, of.cutoff, own_seller=own_seller)),
    ]


def _without(why: str, w: Language) -> list[Section]:
    return [Section(k, w.text(f"{k}_title"), missing=[why]) for k in ("scorecard", "control")]


def _values(of: Reported) -> tuple[pd.Series[float], pd.Series[str]] | None:
    """Return lifetime value and group of all customers, and once more by tier."""
    if "clv" not in of.scores:
        return None
    clv = of.scores.set_index("customer_id")["clv"]
    groups = [pd.Series(ALL, clv.index), of.tiers_before[of.tiers_before.index.isin(clv.index)]]
    return pd.concat([clv.reindex(g.index) for g in groups]), pd.concat(groups).astype(str)


def scorecard(
    of: Reported, card: Scorecard, w: Language, period: Period, channels: Grid | str
) -> Section:
    """Show each figure of the newest period, by perspective and tier, with its change."""
    named = [str(g) for g in card.table.index.get_level_values("group").unique() if g != ALL]
    tiers = [name for name in named if name in set(of.tiers_before)]
    heads = ["figure", "value", "interval", "change", *(["target"] if of.targets else [])]
    grids = []
    for perspective in dict.fromkeys(kpi.perspective for kpi in KPIS):
        kpis = [k for k in KPIS if k.perspective == perspective and k.name not in card.missing]
        if kpis:
            rows = [_line(of, card, kpi, tiers, w) for kpi in kpis]
            title = w.text(f"perspective_{perspective}")
            over = [*(w.text(f"head_{k}") for k in heads), *map(w.label, tiers)]
            grids.append(Grid(title, over, rows))
    if groups := [name for name in named if name not in tiers]:
        grids.append(_by_group(card, groups, w))
    said = [w.text("scorecard_say", date=w.date(card.period), period=w.text(f"period_{period}"))]
    if of.since is not None:
        said.append(w.text("scorecard_tiers", date=w.date(of.since)))
    else:
        said.append(w.text("scorecard_no_tiers"))
    said.append(w.text("scorecard_targets" if of.targets else "scorecard_no_targets"))
    lacking: dict[str, list[str]] = {}
    for name, why in card.missing.items():
        lacking.setdefault(why, []).append(w.text(f"kpi_{name}"))
    missing = [
        w.text("of_needs", what=w.listed(names), why=w.told(why)) for why, names in lacking.items()
    ]
    if isinstance(channels, Grid):
        grids.append(channels)
    else:
        missing.append(channels)
    return Section("scorecard", w.text("scorecard_title"), said, grids, missing=missing)


def _by_group(card: Scorecard, groups: list[str], w: Language) -> Grid:
    known = card.table["value"].unstack("group")[groups].dropna(how="all")
    rows = [
        [Cell(w.text(f"kpi_{k.name}"), k.name), *(_cell(card, k, group, w) for group in groups)]
        for k in KPIS
        if k.name in known.index
    ]
    return Grid(w.text("scorecard_groups"), [w.text("head_figure"), *map(w.label, groups)], rows)


def _line(of: Reported, card: Scorecard, kpi: Kpi, groups: list[str], w: Language) -> list[Cell]:
    """Write a figure: what it is, its value for all with interval and change, and by group."""
    row: Any = card.table.loc[(kpi.name, ALL)]
    write = writer(kpi, w)
    value, low, high, change = (float(row[n]) for n in ("value", "lower", "upper", "change"))
    interval = w.text("between", low=write(low), high=write(high)) if low == low else "–"
    cells = [
        Cell(w.text(f"kpi_{kpi.name}"), kpi.name, note=f"{w.told(kpi.meaning)} ({_unit(kpi, w)})"),
        Cell(write(value), value, tone=_tone(card, kpi, ALL)),
        Cell(interval, low),
        Cell(_arrowed(change, kpi, w), change),
    ]
    if of.targets:
        target = float(row["target"])
        cells.append(Cell(write(target), target))
    return [*cells, *(_cell(card, kpi, group, w) for group in groups)]


def _unit(kpi: Kpi, w: Language) -> str:
    if kpi.unit == "currency":
        return w.currency or w.text("unit_currency")
    return w.text(f"unit_{kpi.unit}")


def _arrowed(change: float, kpi: Kpi, w: Language, *, short: bool = False) -> str:
    """Write a change, of a share in points; shortly without that word."""
    write = writer(kpi, w)
    if kpi.unit == "share":
        write = (lambda value: w.number(100.0 * value, 1)) if short else w.points
    if change != change or change == 0.0:
        return "–"
    return f"{'▲' if change > 0 else '▼'} {write(abs(change))}"


def _channels(
    of: Reported, tables: Tables, period: pd.Timestamp, w: Language, how: dict[str, Any]
) -> Grid | str:
    """Show what was sold, and what contacts and actions cost, by channel; or what that needs."""
    columns: dict[str, dict[str, float]] = {}
    for part, names in _CHANNELS:
        try:
            measured = measure_parts(tables, of.cutoff, part, since=period, **how)
        except MissingColumnsError:
            continue
        for name in names:
            if name in measured:
                of_newest = measured.index.get_level_values("period") == period  # perhaps none
                newest = measured.loc[of_newest, name].droplevel("period")
                columns[name] = {str(k): float(v) for k, v in newest.items()}
    if not any(columns.values()):
        return w.text("channels_need")
    rows = []
    for channel in sorted({name for column in columns.values() for name in column}):
        cells = [Cell(w.label(channel), channel)]
        for name, column in columns.items():
            value = float(column.get(channel, float("nan")))
            money = name in ("revenue", "contact_cost", "action_cost")
            cells.append(Cell(w.money(value) if money else w.count(value), value))
        rows.append(cells)
    heads = [w.text("head_channel"), *(w.text(f"channel_{name}") for name in columns)]
    return Grid(w.text("channels_grid"), heads, rows, w.text("channels_note"))


def assessed(sheet: Assessment, w: Language) -> Section:
    """Show a sheet that was filled in by hand: what was judged, and the evidence for it."""
    scores = sheet.table["score"]
    said = [
        w.text(
            "assessment_say",
            judged=w.count(scores.notna().sum()),
            questions=w.count(len(scores)),
            highest=w.number(sheet.highest, 0),
        )
    ]
    if sheet.assessed_on is not None:
        by = sheet.assessed_by or w.label(None)
        said.append(w.text("assessment_by", who=by, date=w.date(pd.Timestamp(sheet.assessed_on))))
    rows = [
        [
            Cell(str(row["question"]), str(row["question"])),
            Cell(w.label(row["kind"]), str(row["kind"])),
            Cell(str(row["area"]), str(row["area"])),
            Cell(w.number(float(row["score"]), 1), float(row["score"])),
            Cell(str(row["evidence"]), str(row["evidence"])),
        ]
        for row in sheet.table.fillna({"evidence": "–"}).reset_index().to_dict("records")
    ]
    heads = [w.text(f"head_{k}") for k in ("question", "kind", "area", "score", "evidence")]
    title = w.text("assessment_title")
    return Section("assessment", title, said, [Grid(title, heads, rows)])


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
    if expected := (of.summary.get("expected_retention") or {}).get(longer):
        ages = [int(str(age)) for age in wide]
        known = [expected[age] if age < len(expected) else float("nan") for age in ages]
        line = [Cell(w.share(v, 0), v, bar=v) for v in known]
        rows.append([Cell(w.text("cohorts_expected"), "~"), Cell("–", float("nan")), *line])
    title = w.text("cohorts_grid", period=w.text(f"period_{longer}"))
    grids = [Grid(title, heads, rows, w.text("cohorts_note"))]
    missing = []
    if len(of.scores) <= _MOST_VALUED:
        grids += _worth_of_cohorts(of, w, tables, longer, own_seller)
    else:
        missing.append(w.text("cohorts_many", customers=w.count(_MOST_VALUED)))
    return Section("cohorts", w.text("cohorts_title"), (), grids, missing=missing)


def _worth_of_cohorts(
    of: Reported, w: Language, tables: Tables, period: Period, own_seller: str | None
) -> list[Grid]:
    """Show survival, value and payback by cohort and by the channel of acquisition."""
    if not (of.has("clv") and of.has("probability_alive")):
        return []
    people = tables.customers
    by = ["cohort"]
    if people is not None and "acquisition_channel" in people.columns:
        by.append("acquisition_channel")
    how: dict[str, Any] = {"period": period, "own_seller": own_seller}
    note = w.text("cohorts_worth_note", period=w.text(f"period_{period}"))
    grids = []
    for name in by:
        table = compute_cohort_value(tables, of.cutoff, of.scores, by=name, **how)
        newest = name == "cohort"
        table = table.tail(_MOST_COHORTS) if newest else table.nlargest(_MOST_COHORTS, "customers")
        shown = [n for n in ("margin_to_date", "acquisition_cost", "payback")
                 if table[n].notna().any()]  # fmt: skip
        rows = []
        for row in table.reset_index().to_dict("records"):
            first = w.date(pd.Timestamp(row[name])) if newest else w.label(row[name])
            told = {n: w.money(row[n]) for n in ("margin_to_date", "acquisition_cost")}
            told["payback"] = w.count(row["payback"] + 1.0)
            rows.append([
                Cell(first, str(row[name])),
                Cell(w.count(row["customers"]), row["customers"]),
                Cell(w.share(row["probability_alive"]), row["probability_alive"]),
                Cell(w.money(row["clv"]), row["clv"]),
                *(Cell(told[n], row[n]) for n in shown),
            ])  # fmt: skip
        heads = ["cohort" if newest else "won_by", "customers", "survived", "mean_clv", *shown]
        over = [w.text(f"head_{head}") for head in heads]
        grids.append(Grid(w.text(f"cohorts_by_{name}"), over, rows, note))
    return grids


def _cell(card: Scorecard, kpi: Kpi, group: str, w: Language) -> Cell:
    if (kpi.name, group) not in card.table.index:
        return Cell("–")
    row: Any = card.table.loc[(kpi.name, group)]
    value, change = float(row["value"]), float(row["change"])
    changed = _arrowed(change, kpi, w, short=True)
    note = "" if changed == "–" else changed
    return Cell(writer(kpi, w)(value), value, tone=_tone(card, kpi, group), note=note)


def _tone(card: Scorecard, kpi: Kpi, group: str) -> Tone:
    """Mark a figure that left its usual range, by whether that is for the better."""
    chart = card.charts.get((kpi.name, group))
    if chart is None or (chart.step is None and not len(chart.signals)):
        return ""
    up = chart.table["value"].iloc[-1] > chart.table["centre"].iloc[-1]
    return "good" if up == (kpi.better == "higher") else "bad"
