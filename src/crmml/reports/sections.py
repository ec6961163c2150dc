"""The sections of a page that the scores alone can fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pandas as pd

from crmml.reports.contents import Cell, Grid, Section
from crmml.reports.first_screen import acting
from crmml.reports.language import Language
from crmml.reports.reading import Reported
from crmml.reports.totals import sum_tiers, tier_table
from crmml.segments.value_tier import REFERENCE_SHARE_OF_VALUE, TIERS

Maker: TypeAlias = Callable[[Reported, Language], Section]

RISKS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Borders between the fields of risk on the map."""

_GROUPS = ("lifecycle_stage", "experience_zone", "taste_segment", "strategic_role", "group")


def tiers(of: Reported, w: Language) -> Section:
    """Show the value tiers beside the reference profile."""
    if not of.has("value_tier"):
        return _absent(of, w, "tiers", "value_tier")
    scores = of.scores
    needed = ("recommended_action", "expected_cost", "expected_net_gain", "churn_probability")
    table = tier_table(sum_tiers(scores.assign(**{n: np.nan for n in needed if n not in scores})))
    top = float(table["share_of_value"].max())
    rows = []
    for tier, row in table.iterrows():
        share, reference = float(row["share_of_value"]), REFERENCE_SHARE_OF_VALUE[str(tier)]
        rows.append([
            Cell(str(tier), str(tier)),
            Cell(w.count(row["customers"]), row["customers"]),
            Cell(w.share(share), share, bar=share / top if top > 0 else None),
            Cell(w.share(reference, 0), reference),
            Cell(w.money(row["mean_clv"]), row["mean_clv"]),
            Cell(w.share(row["churn"]), row["churn"]),
            Cell(w.count(row["actions"]), row["actions"]),
            Cell(w.money(row["gain"]), row["gain"]),
        ])  # fmt: skip
    heads = ("tier", "customers", "share_of_value", "reference", "mean_clv", "churn", "actions",
             "gain")  # fmt: skip
    best = table.loc[["A", "B"]]
    sentence = w.text(
        "tiers_say",
        share=w.share(float(best["share_of_value"].sum())),
        customers=w.share(float(best["customers"].sum()) / max(len(scores), 1)),
    )
    grid = Grid(w.text("tiers_grid"), _headings(w, heads), rows, w.text("tiers_note"))
    return Section("tiers", w.text("tiers_title"), [sentence], [grid])


def portfolio(of: Reported, w: Language) -> Section:
    """Map the customers by value and risk, and show who moved between tiers."""
    if not (of.has("value_tier") and of.has("churn_probability")):
        return _absent(of, w, "portfolio", "churn_probability")
    scores = of.scores
    field = pd.cut(scores["churn_probability"], RISKS, include_lowest=True, labels=False)
    counts = pd.crosstab(scores["value_tier"], field).reindex(
        index=list(TIERS), columns=range(len(RISKS) - 1), fill_value=0
    )
    most = max(int(counts.to_numpy().max()), 1)
    heads = [w.text("tier"), *(f"{w.share(a, 0)}–{w.share(b, 0)}" for a, b in
                               pairwise(RISKS))]  # fmt: skip
    rows = [
        [Cell(str(tier), str(tier)), *(Cell(w.count(n), n, bar=n / most) for n in line)]
        for tier, line in zip(counts.index, counts.to_numpy().tolist(), strict=True)
    ]
    valuable, risky = scores["value_tier"].isin(["A", "B"]), scores["churn_probability"] >= 0.5
    fields = {"repair": valuable & risky, "keep": valuable & ~risky,
              "grow": ~valuable & ~risky, "let_go": ~valuable & risky}  # fmt: skip
    parts = {name: w.count(int(who.sum())) for name, who in fields.items()}
    grids = [Grid(w.text("portfolio_grid"), heads, rows, w.text("portfolio_note"))]
    missing = []
    if of.before is None:
        missing.append(w.text("flows_need"))
    else:
        grids.append(_flows(of, of.before, w, "value_tier", w.text("flows_tiers")))
    return Section(
        "portfolio", w.text("portfolio_title"), [w.text("portfolio_say", **parts)], grids,
        missing=missing,
    )  # fmt: skip


def churn(of: Reported, w: Language) -> Section:
    """Say how many leave, by stage."""
    if not of.has("churn_probability"):
        return _absent(of, w, "churn", "churn_probability")
    p = of.scores["churn_probability"]
    sentence = w.text("churn_say", mean=w.share(float(p.mean())), likely=w.count((p >= 0.5).sum()),
                      customers=w.count(len(p)))  # fmt: skip
    grids = []
    if of.has("lifecycle_stage"):
        grids.append(_by(of, w, "lifecycle_stage", w.text("churn_by_stage")))
    return Section("churn", w.text("churn_title"), [sentence], grids)


def loyalty(of: Reported, w: Language) -> Section:
    """Show the loyalty classes and their flows."""
    if not of.has("loyalty_class"):
        return _absent(of, w, "loyalty", "loyalty_class")
    grids = [_by(of, w, "loyalty_class", w.text("loyalty_grid"))]
    missing = []
    if of.before is not None and of.before["loyalty_class"].notna().any():
        grids.append(_flows(of, of.before, w, "loyalty_class", w.text("flows_loyalty")))
    elif of.before is None:
        missing.append(w.text("flows_need"))
    told = of.scores["loyalty_evidence"].dropna().unique().tolist()
    evidence = w.text("loyalty_evidence", evidence=", ".join(map(w.label, sorted(told))))
    return Section("loyalty", w.text("loyalty_title"), [evidence], grids, missing=missing)


def groups(of: Reported, w: Language) -> Section:
    """Show what customers are like: experience, taste, roles, groups."""
    grids = [_by(of, w, name, w.text(f"by_{name}")) for name in _GROUPS[1:] if of.has(name)]
    missing = [
        f"{w.text(f'by_{name}')}: {of.why_null(name) or w.text('not_scored')}"
        for name in _GROUPS[1:] if not of.has(name)
    ]  # fmt: skip
    return Section("groups", w.text("groups_title"), (), grids, missing=missing)


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
    if not served:
        return Section("models", w.text("models_title"), missing=[w.text("no_lists")])
    known = (("churn_auc", "auc"), ("churn_mean_error", "mean"), ("spend_bias", "bias"),
             ("purchases_bias", "purchases_bias"), ("pit_80", "coverage"))  # fmt: skip
    said = []
    for metric, key in known:
        if f"served_{metric}" in served:
            value, low, high = served[f"served_{metric}"]
            write = w.number if key == "auc" else w.share
            said.append(w.text(f"model_{key}", value=write(value), low=write(low),
                               high=write(high)))  # fmt: skip
    rows = [
        [
            Cell(name.removeprefix("served_").replace("_", " "), name),
            *(Cell(w.number(v, 3), v) for v in value),
        ]
        for name, value in sorted(served.items())
    ]
    heads = ("figure", "value", "lower", "upper")
    grid = Grid(w.text("models_grid"), _headings(w, heads), rows)
    return Section("models", w.text("models_title"), said, [grid])


def data_quality(of: Reported, w: Language) -> Section:
    """Say what limits the meaning of the figures, and what is null."""
    if of.notes is None:
        return Section("quality", w.text("quality_title"), missing=[w.text("no_lists")])
    shown = of.notes[of.notes["severity"] != "info"]
    said = [f"{about}: {text}" if about else text
            for about, text in zip(shown["about"], shown["text"], strict=True)]  # fmt: skip
    nulls: dict[str, list[str]] = {}
    for name, reason in of.summary.get("null_columns", {}).items():
        nulls.setdefault(reason, []).append(name)
    rows = [[Cell(", ".join(names), names[0]), Cell(why, why)] for why, names in nulls.items()]
    grid = Grid(w.text("nulls_grid"), _headings(w, ("columns", "why")), rows)
    return Section("quality", w.text("quality_title"), said or [w.text("quality_good")],
                   [grid] if rows else [])  # fmt: skip


def glossary(of: Reported, w: Language) -> Section:
    """Explain each column of the scores."""
    if of.glossary is None:
        return Section("glossary", w.text("glossary_title"), missing=[w.text("no_lists")])
    names = ("name", "unit", "meaning", "horizon")
    rows = [[Cell(str(row[n]), str(row[n])) for n in names] for _, row in of.glossary.iterrows()]
    grid = Grid(w.text("glossary_grid"), _headings(w, ("column", "unit", "meaning", "horizon")),
                rows)  # fmt: skip
    return Section("glossary", w.text("glossary_title"), [w.text("glossary_say")], [grid])


SECTIONS: tuple[Maker, ...] = (tiers, portfolio, churn, loyalty, groups, actions)
AT_THE_END: tuple[Maker, ...] = (models, data_quality, glossary)


def _headings(w: Language, keys: Sequence[str]) -> list[str]:
    return [w.text(f"head_{key}") for key in keys]


def _absent(of: Reported, w: Language, key: str, column: str) -> Section:
    why = of.why_null(column) or w.text("not_scored")
    return Section(key, w.text(f"{key}_title"), missing=[why])


def _by(of: Reported, w: Language, name: str, title: str) -> Grid:
    """Tabulate customers, value and risk by the values of a column."""
    scores = of.scores
    parts = scores.groupby(name, observed=True)
    table = pd.DataFrame({"customers": parts.size()})
    if of.has("clv"):
        table["clv"] = parts["clv"].sum()
    if of.has("churn_probability"):
        table["churn"] = parts["churn_probability"].mean()
    table = table.sort_values("customers", ascending=False)
    total, heads = len(scores), ["group", "customers", "share"]
    heads += [n for n in ("clv", "churn") if n in table]
    rows = []
    for value, row in table.head(30).iterrows():
        share = float(row["customers"]) / total
        line = [Cell(w.label(value), str(value)), Cell(w.count(row["customers"]), row["customers"]),
                Cell(w.share(share), share, bar=share)]  # fmt: skip
        if "clv" in table:
            line.append(Cell(w.money(row["clv"]), row["clv"]))
        if "churn" in table:
            line.append(Cell(w.share(row["churn"]), row["churn"]))
        rows.append(line)
    return Grid(title, _headings(w, heads), rows)


def _flows(of: Reported, before: pd.DataFrame, w: Language, name: str, title: str) -> Grid:
    """Show where those of each class stand now."""
    then = before.set_index("customer_id")[name].astype("object")
    now = of.scores.set_index("customer_id")[name].astype("object").reindex(then.index)
    counts = pd.crosstab(then.fillna("–"), now.fillna("–"), normalize="index")
    rows = [
        [Cell(w.label(a), str(a)), *(Cell(w.share(x, 0), x, bar=x) for x in line)]
        for a, line in zip(counts.index, counts.to_numpy().tolist(), strict=True)
    ]
    return Grid(title, [w.text("head_from"), *map(w.label, counts.columns)], rows,
                w.text("flows_note", date=w.date(of.cutoff_before or of.cutoff)))  # fmt: skip
