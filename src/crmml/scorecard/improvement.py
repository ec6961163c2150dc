"""A change in the order in which it is worked on: define, measure, analyse, improve, control.

Source: Harry and Schroeder (2000), *Six Sigma*, for the order of the five parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import t as student

from crmml._typing import FloatArray
from crmml.card import Card, Result, listed
from crmml.exceptions import ParameterError
from crmml.scorecard.control_charts import ControlChart, mean_difference
from crmml.scorecard.kpis import KPIS, Kpi, Scorecard, values_of
from crmml.scorecard.shifts import holm

if TYPE_CHECKING:
    from crmml.actions.catalogue import ActionCatalogue
    from crmml.scorecard.strategy import StrategyMap

Step: TypeAlias = Literal["define", "measure", "analyse", "improve", "control"]

STEPS: tuple[Step, ...] = ("define", "measure", "analyse", "improve", "control")

PURPOSES: Mapping[str, tuple[str, ...]] = {
    "retention": ("retain",),
    "penetration": ("retain", "win_back"),
    "win_back": ("win_back",),
    "acquisition": ("acquire",),
    "satisfaction": ("recover",),
    "complaint_rate": ("recover",),
    "resolution": ("recover",),
    "staff_resolution": ("recover",),
    "staff_satisfaction": ("recover",),
    "contacts_per_customer": ("reduce_cost",),
    "cost_to_serve": ("reduce_cost",),
}
"""Purposes of actions that speak to a figure; to those that are not named, ``enhance``."""

LEAST_PERIODS = 3
"""Periods with a value that a part needs before the change and after it."""


@dataclass(frozen=True)
class Told:
    """One sentence: a key, for whoever has words of another language, its values, and English.

    Attributes
    ----------
    step : str
        One of :data:`STEPS`.
    key : str
        Which sentence, such as ``improve_action``.
    values : mapping of str to object
        What is put into it: names, numbers and moments, not yet written out.
    text : str
        The sentence in English.
    """

    step: Step
    key: str
    values: Mapping[str, Any]
    text: str


@dataclass(frozen=True, repr=False)
class Improvement(Result):
    """A change of one figure in one group, in five parts.

    Attributes
    ----------
    kpi, group : str
        What changed, and where.
    told : tuple of Told
        The sentences, in the order of :data:`STEPS`.
    chart : ControlChart
        The figure over time.
    parts : DataFrame
        On ``by`` and ``part``, the greatest change first within each ``by``: ``before`` and
        ``after`` (levels), ``change``, ``lower`` and ``upper`` (95 %), ``p_value`` (adjusted for
        all parts) and ``driver``: changed in the same direction beyond chance, and, of a group of
        the scorecard, with a chart that says so too.
    actions : DataFrame
        On ``action``: ``purpose``, ``channels``, ``effect`` on the figure, ``lower``, ``upper`` and
        ``evidence`` (``experiment``, ``association``, or ``assumed`` as the catalogue has it).
    """

    kpi: str
    group: str
    told: tuple[Told, ...]
    chart: ControlChart
    parts: pd.DataFrame
    actions: pd.DataFrame

    def to_pandas(self) -> pd.DataFrame:
        """Return the sentences, on ``step``."""
        rows = [{"step": one.step, "text": one.text} for one in self.told]
        return pd.DataFrame(rows).set_index("step")

    def _card(self) -> Card:
        return Card(
            f"Improvement of {self.kpi} in {self.group}",
            tuple((one.step, one.text) for one in self.told),
        )


def plan_improvement(
    card: Scorecard,
    kpi: str,
    group: str,
    parts: Mapping[str, pd.DataFrame],
    *,
    catalogue: ActionCatalogue | None = None,
    links: StrategyMap | None = None,
    alpha: float = 0.05,
) -> Improvement:
    """Put a change into the order of define, measure, analyse, improve, control.

    Parameters
    ----------
    card : Scorecard
        With a chart of the figure in the group.
    kpi, group : str
        Which figure, of whom.
    parts : mapping of str to DataFrame
        Where the change may have come from: ``{"tier": measured, "channel": ...}`` with figures
        from :func:`crmml.features.periods.measure_periods` or, of the customers of the group,
        :func:`crmml.features.breakdowns.measure_parts`. What cannot give the figure is left out.
    catalogue : ActionCatalogue, optional
        Actions that may be linked to the figure by their purpose.
    links : StrategyMap, optional
        Measured effects of actions; the catalogue's are assumed.
    alpha : float
        Chance of naming any driver where no part changed, above 0 and below 1.

    Returns
    -------
    Improvement

    Raises
    ------
    ParameterError
        If there is no chart of the figure in the group.
    """
    if (kpi, group) not in card.charts:
        there = listed(f"{name} of {who}" for name, who in card.charts)
        raise ParameterError("kpi, group", f"a figure with a chart: {there}", f"{kpi} of {group}")
    if not 0.0 < alpha < 1.0:
        raise ParameterError("alpha", "above 0 and below 1", alpha)
    declared = next(one for one in KPIS if one.name == kpi)
    chart = card.charts[kpi, group]
    start = _start(chart)
    found = _parts(declared, parts, start, chart, alpha)
    found["driver"] &= ~np.array(_quiet(found, card, kpi), dtype=bool)
    actions = _actions(kpi, catalogue, links)
    told = (
        *_define(declared, group, card), _measure(declared, group, chart),
        *_analyse(found, start), *_improve(actions), _control(chart, start),
    )  # fmt: skip
    return Improvement(kpi, group, told, chart, found, actions)


def _quiet(parts: pd.DataFrame, card: Scorecard, kpi: str) -> list[bool]:
    """Mark groups of the scorecard whose chart shows no change: all drift a little with time."""
    groups = set(card.table.index.get_level_values("group"))
    calm = {
        group
        for (name, group), chart in card.charts.items()
        if name == kpi and chart.step is None and chart.signals.empty
    }
    of_card = {
        by
        for by, of in parts.groupby(level="by")
        if groups.issuperset(of.index.get_level_values("part"))
    }
    return [by in of_card and part in calm for by, part in parts.index]


def _start(chart: ControlChart) -> Any:
    """Return the period from which on the figure differs; None where it does not."""
    if chart.step is not None:
        return chart.step.at
    return chart.signals.index[0] if len(chart.signals) else None


def _parts(
    kpi: Kpi, parts: Mapping[str, pd.DataFrame], start: Any, chart: ControlChart, alpha: float
) -> pd.DataFrame:
    columns = ["by", "part", "before", "after", "change", "lower", "upper", "p_value"]
    rows = []
    for by, measured in parts.items():
        if start is None or not {kpi.above, kpi.below or kpi.above} <= set(measured):
            continue
        for part in measured.index.get_level_values("group").unique():
            of = measured.xs(part, level="group").sort_index()
            found = _change(kpi, of[of.index >= chart.table.index[0]], start)
            if found is not None:
                rows.append((by, str(part), *found))
    table = pd.DataFrame(rows, columns=columns)
    table["p_value"] = holm(table["p_value"])
    whole = chart.table["value"]
    rose = start is not None and whole[whole.index >= start].mean() > chart.table["centre"].iloc[0]
    table["driver"] = (table["p_value"] <= alpha) & ((table["change"] > 0) == rose)
    order = table.assign(size=-table["change"].abs()).groupby("by", sort=False)["size"]
    table = table.assign(place=order.rank(method="first"), first=table["by"].map(
        {by: k for k, by in enumerate(parts)}))  # fmt: skip
    table = table.sort_values(["first", "place"], kind="stable").drop(columns=["first", "place"])
    return table.set_index(["by", "part"])


def _change(kpi: Kpi, of: pd.DataFrame, start: Any) -> tuple[float, ...] | None:
    values = values_of(kpi, of).dropna()
    at = int((values.index < start).sum())
    if min(at, len(values) - at) < LEAST_PERIODS:
        return None
    weights: FloatArray = np.ones(len(values))
    if kpi.below is not None:
        sizes: FloatArray = of[kpi.below].reindex(values.index).to_numpy(dtype=np.float64)
        weights = np.asarray(sizes / float(sizes.mean()), dtype=np.float64)
    x: FloatArray = np.asarray(values, dtype=np.float64)
    before, after, change, error = mean_difference(x, weights, at)
    freedom = len(x) - 2
    half = float(student.ppf(0.975, freedom)) * error
    p = 2.0 * float(student.sf(abs(change) / error, freedom))
    return before, after, change, change - half, change + half, p


def _actions(
    kpi: str, catalogue: ActionCatalogue | None, links: StrategyMap | None
) -> pd.DataFrame:
    """List actions whose purpose speaks to the figure, with measured effects where there are."""
    rows: dict[str, dict[str, Any]] = {}
    purposes = PURPOSES.get(kpi, ("enhance",))
    for action in catalogue.actions if catalogue is not None else ():
        if action.purpose in purposes:
            rate = action.save_rate
            rates = [*rate.values()] if isinstance(rate, Mapping) else [rate]
            rows[action.name] = {
                "purpose": action.purpose, "channels": ", ".join(action.channels),
                "effect": max(one.mean for one in rates), "lower": np.nan, "upper": np.nan,
                "evidence": "assumed",
            }  # fmt: skip
    target = {"retention": "retention", "satisfaction": "experience"}.get(kpi, "profit")
    measured = links.table if links is not None else pd.DataFrame({"target": [], "effect": []})
    measured = measured[(measured["target"] == target) & measured["effect"].notna()]
    for row in measured.to_dict("records"):
        if row["source"] in ("any action", "experience", "loyalty", "retention"):
            continue
        known = rows.get(row["source"], {"purpose": "", "channels": ""})
        rows[row["source"]] = {
            "purpose": known["purpose"], "channels": known["channels"],
            **{name: row[name] for name in ("effect", "lower", "upper", "evidence")},
        }  # fmt: skip
    columns = ["purpose", "channels", "effect", "lower", "upper", "evidence"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("action")
    order = table.assign(assumed=table["evidence"] == "assumed")
    order = order.sort_values(["assumed", "effect"], ascending=[True, False], kind="stable")
    return table.loc[order.index]


def _define(kpi: Kpi, group: str, card: Scorecard) -> list[Told]:
    about = {"kpi": kpi.name, "group": group, "meaning": kpi.meaning, "better": kpi.better}
    found = [Told("define", "define_kpi", about,
                  f"{kpi.name} of {group}: {kpi.meaning}; {kpi.better} is better")]  # fmt: skip
    target = float(card.table["target"].loc[(kpi.name, group)])
    if target == target:
        found.append(Told("define", "define_target", {**about, "target": target},
                          f"its target is {_write(kpi, target)}"))  # fmt: skip
    return found


def _measure(kpi: Kpi, group: str, chart: ControlChart) -> Told:
    values: dict[str, Any] = {"kpi": kpi.name, "group": group}
    key = "measure_quiet"
    if chart.step is not None:
        step = chart.step
        key = "measure_step"
        values |= {"before": step.before, "after": step.after, "at": step.at,
                   "lower": step.lower, "upper": step.upper}  # fmt: skip
    elif len(chart.signals):
        key = "measure_signal"
        values |= {"at": chart.signals.index[0]}
    return Told("measure", key, values, chart.sentence())


def _analyse(parts: pd.DataFrame, start: Any) -> list[Told]:
    if start is None:
        text = "nothing changed beyond chance, so there is nothing to explain"
        return [Told("analyse", "analyse_nothing", {}, text)]
    if parts.empty:
        text = "no part of the data has enough periods before and after the change"
        return [Told("analyse", "analyse_no_parts", {}, text)]
    found = []
    for by, of in parts.groupby(level="by", sort=False):
        drivers = [str(part) for part in of[of["driver"]].index.get_level_values("part")]
        values = {"by": str(by), "parts": drivers, "of": len(of)}
        if not drivers:
            key, text = "analyse_none", f"by {by}: no single one of {len(of)} changed beyond chance"
        elif len(drivers) == len(of) > 1:
            key, text = "analyse_all", f"by {by}: all {len(of)} changed, {drivers[0]} most"
        else:
            key, text = "analyse_parts", f"by {by}: {listed(drivers)} changed, of {len(of)}"
        found.append(Told("analyse", key, values, text))
    return found


def _improve(actions: pd.DataFrame) -> list[Told]:
    if actions.empty:
        text = "no action is linked to this figure; the catalogue has none of its purpose"
        return [Told("improve", "improve_none", {}, text)]
    found = []
    for row in actions.head(3).reset_index().to_dict("records"):
        sure = (
            "" if row["lower"] != row["lower"] else f" ({row['lower']:.3g} to {row['upper']:.3g})"
        )
        text = f"{row['action']}: effect {row['effect']:.3g}{sure}, {row['evidence']}"
        found.append(Told("improve", "improve_action", {str(k): v for k, v in row.items()}, text))
    return found


def _control(chart: ControlChart, start: Any) -> Told:
    table = chart.table
    last = table.iloc[-1]
    inside = bool(last["lower"] <= last["value"] <= last["upper"])
    after = table if start is None else table[table.index >= start]
    out = int((after["signal"] != "").sum())
    values = {"lower": float(last["lower"]), "upper": float(last["upper"]), "inside": inside,
              "value": float(last["value"]), "periods": len(after), "signals": out}  # fmt: skip
    where = "inside" if inside else "outside"
    share = chart.kind == "share"
    ends = [
        f"{v:.1%}" if share else f"{v:.3g}" for v in (last["value"], last["lower"], last["upper"])
    ]
    text = (
        f"the newest value, {ends[0]}, is {where} its limits of {ends[1]} to {ends[2]}; {out} of "
        f"the last {len(after)} periods signal; the limits stay those of the baseline"
    )
    return Told("control", "control_inside" if inside else "control_outside", values, text)


def _write(kpi: Kpi, value: float) -> str:
    return f"{value:.1%}" if kpi.unit == "share" else f"{value:.4g}"
