"""The sections of a page that the scores alone can fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from crmml.data.tables import Tables
from crmml.reports.contents import Bar, Bars, Cell, Grid, Section
from crmml.reports.first_screen import LIKELY, acting, why_not
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.totals import sum_tiers, tier_table
from crmml.segments.value_tier import REFERENCE_SHARE_OF_VALUE, TIERS

FIELDS = ("keep", "repair", "grow", "let_go")
"""Fields of the map of value and risk."""

_GROUPS = ("taste_segment", "strategic_role", "group")

_OWN = ("taste_segment", "group")
"""Columns whose values are the user's own words."""

_MOST_NOTES = 12
"""Notes that a page shows; all lie in ``notes.csv``."""


def tiers(of: Reported, w: Language) -> Section:
    """Show the value tiers beside the reference profile."""
    for name in ("value_tier", "clv"):
        if not of.has(name):
            return _absent(of, w, "tiers", name)
    scores = of.scores
    needed = ("recommended_action", "expected_cost", "expected_net_gain", "churn_probability")
    table = tier_table(sum_tiers(scores.assign(**{n: np.nan for n in needed if n not in scores})))
    top = float(table["share_of_value"].max())
    profit = _shares_of_profit(of)
    rows = []
    for tier, row in table.iterrows():
        share, reference = float(row["share_of_value"]), REFERENCE_SHARE_OF_VALUE[str(tier)]
        rows.append([
            Cell(str(tier), str(tier)),
            Cell(w.count(row["customers"]), row["customers"]),
            Cell(w.share(share), share, bar=max(share, 0.0) / top if top > 0 else None),
            *([] if profit is None else [Cell(w.share(profit[str(tier)]), profit[str(tier)])]),
            Cell(w.share(reference, 0), reference),
            Cell(w.money(row["mean_clv"]), row["mean_clv"]),
            Cell(w.share(row["churn"]), row["churn"]),
            Cell(w.count(row["actions"]), row["actions"]),
            Cell(w.money(row["gain"]), row["gain"]),
        ])  # fmt: skip
    heads = ("tier", "customers", "share_of_value", *(() if profit is None else ("profit_share",)),
             "reference", "mean_clv", "churn", "actions", "gain")  # fmt: skip
    best = table.loc[["A", "B"]]
    sentence = w.text(
        "tiers_say",
        share=w.share(float(best["share_of_value"].sum())),
        customers=w.share(float(best["customers"].sum()) / max(len(scores), 1)),
    )
    grid = Grid(w.text("tiers_grid"), _headings(w, heads), rows, w.text("tiers_note"))
    return Section("tiers", w.text("tiers_title"), [sentence], [grid])


def _shares_of_profit(of: Reported) -> pd.Series[float] | None:
    """Return the share of the profit to date of each served tier; None where none is known."""
    if not of.has("profit_to_date") or (total := float(of.scores["profit_to_date"].sum())) <= 0:
        return None
    sums = of.scores.groupby("value_tier", observed=True)["profit_to_date"].sum()
    return sums.reindex(list(TIERS), fill_value=0.0) / total


def portfolio(of: Reported, w: Language) -> Section:
    """Map the customers by value and risk, and show who moved between tiers."""
    if not (of.has("value_tier") and of.has("churn_probability")):
        return _absent(of, w, "portfolio", "churn_probability")
    scores = of.scores
    high = high_risk(scores, w)
    borders = (0.0, high / 2, high, *((0.75,) if high == LIKELY else (2 * high,)), 1.0)
    field = pd.cut(scores["churn_probability"], borders, include_lowest=True, labels=False)
    counts = pd.crosstab(scores["value_tier"], field).reindex(
        index=list(TIERS), columns=range(len(borders) - 1), fill_value=0
    )
    most = max(int(counts.to_numpy().max()), 1)
    heads = [w.text("tier"), *(w.span(w.share(a, 0), w.share(b, 0)) for a, b in
                               pairwise(borders))]  # fmt: skip
    rows = [
        [Cell(str(tier), str(tier)), *(Cell(w.count(n), n, bar=n / most) for n in line)]
        for tier, line in zip(counts.index, counts.to_numpy().tolist(), strict=True)
    ]
    grids = [
        Grid(w.text("portfolio_grid"), heads, rows, w.text("portfolio_note")),
        _fields(of, w, high),
        _postures(w),
    ]
    missing = []
    if of.before is None or not {"value_tier", "churn_probability"} <= set(of.before):
        missing.append(w.text("flows_need"))
    else:
        now = of.scores.assign(field=_field(of.scores, high))
        before = of.before.assign(field=_field(of.before, high))
        grids.append(_flows(of, now, before, w, "field", w.text("flows_fields")))
        grids.append(_flows(of, now, before, w, "value_tier", w.text("flows_tiers")))
    return Section("portfolio", w.text("portfolio_title"), (), grids, missing=missing)


def needs_log(tables: Tables | None, w: Language) -> str:
    """Say what a section needs that rests on the log."""
    return w.text("needs_config") if tables is None else w.told("needs the table `transactions`")


def high_risk(scores: pd.DataFrame, w: Language) -> float:
    """Return the probability from which on a risk counts as high.

    Of contracts, of which few are likelier than not to end, it is twice the mean.
    """
    return LIKELY if not w.contracts else min(LIKELY, 2 * float(scores["churn_probability"].mean()))


def _field(scores: pd.DataFrame, high: float) -> pd.Series[str]:
    """Return the field of the map of value and risk in which each customer stands."""
    valuable, risky = scores["value_tier"].isin(["A", "B"]), scores["churn_probability"] >= high
    named = np.select([valuable & risky, valuable, risky], ["repair", "keep", "let_go"], "grow")
    known = scores["value_tier"].notna() & scores["churn_probability"].notna()
    return pd.Series(named, scores.index, dtype="str").where(known)


def _fields(of: Reported, w: Language, high: float) -> Grid:
    """Say of each field how many stand in it, what they are worth and what to do."""
    scores = of.scores.assign(field=_field(of.scores, high))
    value = "clv" if of.has("clv") else "churn_probability"
    by = scores.groupby("field")[value]
    sizes, sums = by.size().to_dict(), by.sum().to_dict()
    total = float(sum(sums.values()))
    rows = []
    for field in FIELDS:
        size, worth = int(sizes.get(field, 0)), float(sums.get(field, 0.0))
        share = worth / total if total > 0 else float("nan")
        line = [Cell(w.text(f"field_{field}"), field), Cell(w.count(size), size)]
        if value == "clv":
            line += [Cell(w.money(worth), worth), Cell(w.share(share), share, bar=share)]
        rows.append([*line, Cell(w.text(f"field_{field}_is"), field)])
    heads = ["field", "customers", *(["clv", "share_of_value"] if value == "clv" else []), "who"]
    return Grid(w.text("fields_grid"), _headings(w, heads), rows)


def _postures(w: Language) -> Grid:
    rows = [[Cell(tier, tier), Cell(w.text(f"posture_{tier}"), tier)] for tier in TIERS]
    return Grid(w.text("postures_grid"), _headings(w, ("tier", "posture")), rows)


def churn(of: Reported, w: Language) -> Section:
    """Say how many leave, by stage."""
    if not of.has("churn_probability"):
        return _absent(of, w, "churn", "churn_probability")
    p = of.scores["churn_probability"]
    likely = w.count(float(p.sum()) if w.contracts else (p >= LIKELY).sum())
    sentence = w.text(
        "churn_say", mean=w.share(float(p.mean())), likely=likely, customers=w.count(len(p))
    )
    grids = []
    if of.has("lifecycle_stage"):
        grids.append(tabulate(of, w, "lifecycle_stage", w.text("churn_by_stage")))
    bars = _drivers(of.summary.get("churn_drivers") or {}, w)
    missing = [] if bars else [w.text("drivers_need")]
    return Section("churn", w.text("churn_title"), [sentence], grids, missing=missing, bars=bars)


def _drivers(drivers: dict[str, Sequence[float]], w: Language) -> list[Bars]:
    """Draw how much each family of features moves the probability of leaving."""
    top = max((high for _, _, high in drivers.values()), default=0.0)
    if top <= 0.0:
        return []
    bars, rows = [], []
    for name, (value, low, high) in sorted(drivers.items(), key=lambda one: -one[1][0]):
        label = w.text(f"driver_{name}")
        text = f"{w.number(value)} ({w.text('between', low=w.number(low), high=w.number(high))})"
        bars.append(Bar(label, 0.0, value / top, w.number(value)))
        rows.append([Cell(label, name), Cell(text, value)])
    title = w.text("drivers_title")
    heads = _headings(w, ("figure", "effect"))
    said = w.text("drivers_alt", first=bars[0].label, value=bars[0].text)
    return [Bars(title, said, bars, Grid(title, heads, rows), w.text("drivers_note"))]


def loyalty(of: Reported, w: Language) -> Section:
    """Show the loyalty classes and their flows."""
    if not of.has("loyalty_class"):
        return _absent(of, w, "loyalty", "loyalty_class")
    grids = [tabulate(of, w, "loyalty_class", w.text("loyalty_grid"))]
    missing = []
    before = of.before
    if before is not None and "loyalty_class" in before and before["loyalty_class"].notna().any():
        title = w.text("flows_loyalty")
        grids.append(_flows(of, of.scores, before, w, "loyalty_class", title))
    else:
        missing.append(w.text("flows_need"))
    told = of.scores["loyalty_evidence"].dropna().unique().tolist()
    evidence = w.text("loyalty_evidence", evidence=w.listed([*map(w.label, sorted(told))]))
    return Section("loyalty", w.text("loyalty_title"), [evidence], grids, missing=missing)


def groups(of: Reported, w: Language) -> Section:
    """Show what customers are like: taste, roles, groups."""
    grids, said = [], []
    for name in _GROUPS:
        if of.has(name) and name == "strategic_role":
            held = of.scores["strategic_role"].notna()
            said.append(w.text("roles_say", share=w.share(float(held.mean()))))
            each = of.scores.assign(strategic_role=of.scores[name].str.split(",")).explode(name)
            grids.append(tabulate(of, w, name, w.text(f"by_{name}"), each, w.text("roles_note")))
        elif of.has(name):
            grids.append(tabulate(of, w, name, w.text(f"by_{name}")))
    missing = [
        w.text("of_what", what=w.text(f"by_{name}"),
               why=why_not(of, w, name))
        for name in _GROUPS if not of.has(name)
    ]  # fmt: skip
    return Section("groups", w.text("groups_title"), said, grids, missing=missing)


def actions(of: Reported, w: Language) -> Section:
    """Show what is recommended, what it costs and what it should bring."""
    if not of.has("recommended_action"):
        return _absent(of, w, "actions", "recommended_action")
    rows = acting(of.scores)
    sums = rows.groupby(["recommended_action", "channel", "basis"], observed=True).agg(
        customers=("customer_id", "size"), cost=("expected_cost", "sum"),
        gain=("expected_net_gain", "sum"),
    ).reset_index().sort_values("gain", ascending=False)  # fmt: skip
    top = float(sums["gain"].max()) if len(sums) else 0.0
    body = []
    for row in sums.to_dict("records"):
        cost, gain = float(row["cost"]), float(row["gain"])
        action, channel, basis = (str(row[n]) for n in ("recommended_action", "channel", "basis"))
        body.append([
            Cell(w.label(action), action),
            Cell(w.label(channel), channel),
            Cell(w.count(row["customers"]), row["customers"]),
            Cell(w.money(cost), cost),
            Cell(w.money(gain), gain, bar=gain / top if top > 0 else None),
            Cell(w.label(basis), basis),
        ])  # fmt: skip
    heads = ("action", "channel", "customers", "cost", "gain", "basis")
    held = int(of.scores["held_out"].fillna(False).sum()) if of.has("held_out") else 0
    said = [
        w.text("actions_none", customers=w.count(len(of.scores) - len(rows))),
        w.text("actions_held", customers=w.count(held)),
        w.text("actions_interval"),
    ]
    grid = Grid(w.text("actions_grid"), _headings(w, heads), body, w.text("actions_note"))
    return Section("actions", w.text("actions_title"), said, [grid])


def models(of: Reported, w: Language) -> Section:
    """Say in words how good the models were at the newest cutoff whose outcome is known."""
    served = of.summary.get("served", {})
    said, grids = _judged(served, w) if served else ([], [])
    missing = [] if served else [w.text("no_lists")]
    if of.monitored is None:
        missing.append(w.text("monitor_needs"))
    else:
        said += _watched(of.monitored, w)
        grids.insert(0, _windows(of.monitored, w))
    return Section("models", w.text("models_title"), said, grids, missing=missing)


def _judged(served: dict[str, Any], w: Language) -> tuple[list[str], list[Grid]]:
    """Say in words what was measured of what is served; all of it stands in a table."""
    known = {
        **{"churn_auc": "auc", "contract_auc": "auc", "churn_mean_error": "mean"},
        **{"spend_bias": "bias", "purchases_bias": "purchases_bias", "pit_80": "coverage"},
    }
    said = []
    for metric, key in known.items():
        if f"served_{metric}" in served:
            value, low, high = served[f"served_{metric}"]
            about = {"low": w.share(low), "high": w.share(high)}
            if key in ("mean", "bias", "purchases_bias"):
                about |= {"value": w.share(abs(value)), "side": w.side(value)}
            said.append(w.text(f"model_{key}", **{"value": w.share(value), **about}))
    rows = [
        [
            Cell(name.removeprefix("served_").replace("_", " "), name),
            *(Cell(w.number(v, 3), v) for v in value),
        ]
        for name, value in sorted(served.items())
    ]
    heads = _headings(w, ("figure", "value", "lower", "upper"))
    return said, [Grid(w.text("models_grid"), heads, rows, folded=True)]


def _watched(found: dict[str, Any], w: Language) -> list[str]:
    """Say how many windows have closed, and what to do about open alarms."""
    alarms = [row for row in found["alarms"] if row.get("current")]
    key = "monitor_say" if alarms else "monitor_quiet"
    counts = {"windows": w.count(len(found["windows"])), "alarms": w.count(len(alarms))}
    return [
        w.text(key, **counts),
        *(
            w.text("monitor_alarm", do=w.label(row["do"]), why=w.told(row["text"]))
            for row in alarms
        ),
    ]


def _windows(found: dict[str, Any], w: Language) -> Grid:
    shown = (("churn_predicted", w.share), ("churn_realised", w.share), ("auc", w.share),
             ("spend_bias", w.share))  # fmt: skip
    rows = []
    for row in found["windows"][-_MOST_NOTES:]:
        at = pd.Timestamp(row["cutoff"])
        line = [Cell(w.date(at), str(at.date())), Cell(w.count(row["customers"]), row["customers"])]
        rows.append(line + [Cell(write(row.get(n)), row.get(n) or "") for n, write in shown])
    heads = ("cutoff", "customers", "left_said", "left_was", "auc", "spend_bias")
    return Grid(w.text("monitor_grid"), _headings(w, heads), rows)


def data_quality(of: Reported, w: Language) -> Section:
    """Say what limits the meaning of the figures, and what is null."""
    if of.notes is None:
        return Section("quality", w.text("quality_title"), missing=[w.text("no_lists")])
    limits = of.notes[of.notes["severity"] != "info"]
    shown = limits.head(_MOST_NOTES)
    said = [_noted(about, text, w) for about, text in
            zip(shown["about"], shown["text"], strict=True)]  # fmt: skip
    if len(limits) > len(shown):
        said.append(w.text("more_notes", notes=w.count(len(limits) - len(shown))))
    nulls: dict[str, list[str]] = {}
    for name, reason in of.summary.get("null_columns", {}).items():
        nulls.setdefault(reason, []).append(name)
    rows = [
        [Cell(", ".join(names), names[0]), Cell(w.told(why), why)] for why, names in nulls.items()
    ]
    grid = Grid(w.text("nulls_grid"), _headings(w, ("columns", "why")), rows)
    return Section("quality", w.text("quality_title"), said or [w.text("quality_good")],
                   [grid] if rows else [])  # fmt: skip


def _noted(about: str, text: str, w: Language) -> str:
    """Write a note with what it is about, of several fits the first."""
    first, *others = str(about).split("; ")
    if not first:
        return w.sentence(w.told(text))
    what = w.told(first)
    if others:
        what = w.text("and_others", what=what, others=w.count(len(others)))
    return w.sentence(w.text("of_what", what=what, why=w.told(text)))


def glossary(of: Reported, w: Language) -> Section:
    """Explain each column of the scores."""
    if of.glossary is None:
        return Section("glossary", w.text("glossary_title"), missing=[w.text("no_lists")])
    rows = [
        [
            Cell(row["name"], row["name"]),
            Cell(w.label(row["unit"]) if row["unit"] else "", row["unit"]),
            Cell(w.meaning(row["name"], row["meaning"]), row["meaning"]),
            Cell(w.length(row["horizon"]) if row["horizon"] else "", row["horizon"]),
        ]
        for row in of.glossary.to_dict("records")
    ]
    grid = Grid(w.text("glossary_grid"), _headings(w, ("column", "unit", "meaning", "horizon")),
                rows)  # fmt: skip
    return Section("glossary", w.text("glossary_title"), [w.text("glossary_say")], [grid])


def _headings(w: Language, keys: Sequence[str]) -> list[str]:
    return [w.text(f"head_{key}") for key in keys]


def _absent(of: Reported, w: Language, key: str, column: str) -> Section:
    why = why_not(of, w, column)
    return Section(key, w.text(f"{key}_title"), missing=[why])


def tabulate(
    of: Reported,
    w: Language,
    name: str,
    title: str,
    scores: pd.DataFrame | None = None,
    note: str = "",
) -> Grid:
    """Tabulate customers, value and risk by the values of a column; the most frequent 30."""
    scores, total = of.scores if scores is None else scores, len(of.scores)
    parts = scores.groupby(name, observed=True)
    table = pd.DataFrame({"customers": parts.size()})
    if of.has("clv"):
        table["clv"] = parts["clv"].sum()
    if of.has("churn_probability"):
        table["churn"] = parts["churn_probability"].mean()
    table = table.sort_values("customers", ascending=False)
    heads = ["group", "customers", "share"]
    heads += [n for n in ("clv", "churn") if n in table]
    rows = []
    write: Callable[[Any], str] = str if name in _OWN else w.label
    for value, row in table.head(30).iterrows():
        share = float(row["customers"]) / total
        line = [Cell(write(value), str(value)), Cell(w.count(row["customers"]), row["customers"]),
                Cell(w.share(share), share, bar=share)]  # fmt: skip
        if "clv" in table:
            line.append(Cell(w.money(row["clv"]), row["clv"]))
        if "churn" in table:
            line.append(Cell(w.share(row["churn"]), row["churn"]))
        rows.append(line)
    return Grid(title, _headings(w, heads), rows, note)


def _flows(
    of: Reported, after: pd.DataFrame, before: pd.DataFrame, w: Language, name: str, title: str
) -> Grid:
    """Show where those of each class stand now."""
    then = before.set_index("customer_id")[name].astype("object")
    now = after.set_index("customer_id")[name].astype("object").reindex(then.index)
    counts = pd.crosstab(then.fillna("–"), now.fillna("–"))
    write: Callable[[Any], str] = w.field if name == "field" else w.label
    rows = [
        [
            Cell(write(a), str(a)),
            Cell(w.count(sum(line)), sum(line)),
            *(Cell(w.share(n / sum(line), 0), n / sum(line), bar=n / sum(line)) for n in line),
        ]
        for a, line in zip(counts.index, counts.to_numpy().tolist(), strict=True)
    ]
    heads = [w.text("head_from"), w.text("head_customers"), *map(write, counts.columns)]
    note = w.text("flows_note", date=w.date(of.cutoff_before or of.cutoff))
    return Grid(title, heads, rows, note)
