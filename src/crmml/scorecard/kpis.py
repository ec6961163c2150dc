"""The scorecard: what each figure means, its value by group, its change, and its chart.

Six perspectives, after Kaplan and Norton's balanced scorecard with the three desks of a customer
department beside it. A figure is declared once (:data:`KPIS`); value, interval, change, target and
control chart follow.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from scipy.stats import beta, gamma

from crmml.card import Card, Result, listed
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.scorecard.assessment import Assessment
from crmml.scorecard.control_charts import ControlChart, control_chart

Perspective: TypeAlias = Literal["financial", "customer", "marketing", "sales", "service", "staff"]
Unit: TypeAlias = Literal["currency", "share", "rate", "number"]


@dataclass(frozen=True)
class Kpi:
    """One figure of the scorecard: a sum, or a sum divided by another.

    Attributes
    ----------
    name : str
    perspective : str
    above : str
        Column of :func:`crmml.features.periods.measure_periods` that is counted or summed, or
        ``clv``.
    below : str or None
        Column by which it is divided.
    unit : {"currency", "share", "rate", "number"}
        A share counts some of ``below``; a rate may be above 1.
    better : {"higher", "lower"}
    meaning : str
        Its definition.
    needs : str
        Which data it needs, where they are optional.
    of_active : bool
        Whether it is about those who buy or write in the period, so that a group that is fixed at
        the start and thins out by itself does not move it.
    """

    name: str
    perspective: Perspective
    above: str
    below: str | None
    unit: Unit
    better: Literal["higher", "lower"]
    meaning: str
    needs: str = ""
    of_active: bool = False


_TOUCHES = "the table interactions"
_SURVEYS = "surveys with a score in the table interactions"
_STAFF = "staff_id in the table interactions"
_SCORES = "lifetime values, such as clv of the scores, given as clv"

KPIS: tuple[Kpi, ...] = (
    Kpi("revenue", "financial", "revenue", None, "currency", "higher", "net sales"),
    Kpi("margin", "financial", "margin", None, "currency", "higher", "sales less cost of goods",
        "the column margin or cost of the log"),
    Kpi("profit", "financial", "profit", None, "currency", "higher",
        "margin less the costs of contacts and actions, as far as they are known",
        "the column margin or cost of the log"),
    Kpi("action_cost", "financial", "action_cost", None, "currency", "lower",
        "what actions cost", "the column cost of the table treatments"),
    Kpi("return_on_actions", "financial", "action_gain", "action_cost", "number", "higher",
        "margin that actions brought within the period, beyond customers left alone at random, "
        "over their cost",
        "cost and propensity in the table treatments with rows of no_action, and margin or cost "
        "in the log"),
    Kpi("clv", "customer", "clv", None, "currency", "higher",
        "lifetime value of the customers, today", _SCORES),
    Kpi("clv_mean", "customer", "clv", "valued", "number", "higher",
        "lifetime value per customer, today", _SCORES),
    Kpi("satisfaction", "customer", "satisfied", "surveys", "share", "higher",
        "surveys with a score of 7 or more of 10", _SURVEYS, of_active=True),
    Kpi("complaint_rate", "customer", "complaints", "known", "rate", "lower",
        "complaints per customer", _TOUCHES),
    Kpi("retention", "marketing", "kept", "buyers_before", "share", "higher",
        "buyers of the period before who bought again", of_active=True),
    Kpi("acquisition", "marketing", "new", "buyers", "share", "higher",
        "buyers who bought for the first time"),
    Kpi("win_back", "marketing", "won_back", "known", "share", "higher",
        "customers who bought again after a long silence"),
    Kpi("penetration", "marketing", "buyers", "known", "share", "higher",
        "customers so far who bought"),
    Kpi("purchases_per_buyer", "sales", "purchases", "buyers", "rate", "higher",
        "days with a purchase per buyer", of_active=True),
    Kpi("revenue_per_purchase", "sales", "revenue", "purchases", "number", "higher",
        "net sales per day with a purchase", of_active=True),
    Kpi("treated", "sales", "treated", "known", "rate", "higher", "actions per customer",
        "the table treatments"),
    Kpi("conversion", "sales", "converted", "treated", "share", "higher",
        "actions after which the customer bought within the period", "the table treatments",
        of_active=True),
    Kpi("contacts_per_customer", "service", "contacts", "known", "rate", "lower",
        "touches per customer", _TOUCHES),
    Kpi("resolution", "service", "resolved", "complaints", "share", "higher",
        "complaints that are settled by now", "resolved_at in the table interactions",
        of_active=True),
    Kpi("cost_to_serve", "service", "contact_cost", "known", "number", "lower",
        "cost of contacts per customer", "the column cost of the table interactions"),
    Kpi("contacts_per_person", "staff", "served", "persons", "number", "higher",
        "touches per member of staff", _STAFF, of_active=True),
    Kpi("staff_resolution", "staff", "staff_resolved", "staff_complaints", "share", "higher",
        "settled by now, of the complaints that name who served",
        "staff_id and resolved_at in the table interactions", of_active=True),
    Kpi("staff_satisfaction", "staff", "staff_satisfied", "staff_surveys", "share", "higher",
        "scores of 7 or more of 10, of the surveys that name who served",
        "staff_id and score in the table interactions", of_active=True),
)  # fmt: skip
"""What is measured, in the order in which it is shown."""

_LEAST_BEHIND = 30
"""Customers behind a share or rate below which a period gives no point of a chart."""


@dataclass(frozen=True, repr=False)
class Scorecard(Result):
    """Figures of the newest period by group, and their charts.

    Attributes
    ----------
    table : DataFrame
        On ``kpi`` and ``group``: ``perspective``, ``value``, ``lower``, ``upper`` (95 %, by what
        stands behind the figure; missing for sums), ``before``, ``change``, ``target``, ``unit``.
    charts : dict of (str, str) to ControlChart
        By figure and group, where there are enough periods.
    missing : dict of str to str
        Figures that cannot be given, and which data they need.
    period : Timestamp
        The newest whole period.
    assessment : Assessment or None
        A sheet that was filled in by hand, see :func:`crmml.scorecard.read_assessment`.
    """

    table: pd.DataFrame
    charts: Mapping[tuple[str, str], ControlChart]
    missing: Mapping[str, str]
    period: pd.Timestamp
    assessment: Assessment | None = None

    def to_pandas(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()

    def _card(self) -> Card:
        groups = [str(g) for g in self.table.index.get_level_values("group").unique()]
        rows = [
            ("groups", listed(groups, most=8)),
            ("charts", f"{len(self.charts)}, of which {len(self.signals)} signal"),
            *(("changed", chart.sentence()) for chart in self.signals[:6]),
            *((f"missing: {name}", f"needs {why}") for name, why in [*self.missing.items()][:4]),
            *(() if self.assessment is None else (("assessed", repr(self.assessment)),)),
            ("more", "to_pandas() is the table, charts[kpi, group].plot() a chart"),
        ]
        return Card(f"Scorecard of the period from {self.period.date()}", tuple(rows))

    @property
    def signals(self) -> list[ControlChart]:
        """The charts that show a change, those with a dated step first."""
        found = [c for c in self.charts.values() if c.step is not None or len(c.signals)]
        return sorted(found, key=lambda chart: (chart.step is None, chart.name))


def compute_scorecard(
    measured: pd.DataFrame,
    *,
    clv: tuple[pd.Series[float], pd.Series[str]] | None = None,
    targets: Mapping[str, float] | None = None,
    kpis: Sequence[Kpi] = KPIS,
    fixed: Collection[str] = (),
    baseline: int | None = None,
    false_alarm: float = 0.05,
    assessment: Assessment | None = None,
) -> Scorecard:
    """Make a scorecard.

    Parameters
    ----------
    measured : DataFrame
        From :func:`crmml.features.periods.measure_periods`.
    clv : (Series, Series), optional
        Lifetime value and group of each customer, in the same order, as of today: figures of the
        newest period only. A customer may stand in several groups, once in each.
    targets : mapping of str to float, optional
        Target by figure.
    kpis : sequence of Kpi
        What is measured.
    fixed : collection of str
        Groups whose members were fixed at the start, such as tiers: customers leave them and none
        come, so revenue and the like fall by themselves. Only figures of those who are active are
        charted.
    baseline : int, optional
        Periods whose figures count as usual; see
        :func:`crmml.scorecard.control_charts.control_chart`.
    false_alarm : float
        Chance of any false signal over all charts.
    assessment : Assessment, optional
        Shown beside the figures.

    Returns
    -------
    Scorecard

    Raises
    ------
    ParameterError
        If a target is of a figure that is not known.
    """
    wanted = dict(targets or {})
    if unknown := sorted(set(wanted) - {kpi.name for kpi in kpis}):
        raise ParameterError("targets", f"of {', '.join(k.name for k in kpis)}", unknown)
    if clv is not None:
        measured = _with_values(measured, *clv)
    missing = {
        k.name: k.needs or "figures by customer, not by part of the log"
        for k in kpis
        if not {k.above, k.below or k.above} <= set(measured)
    }
    given = [kpi for kpi in kpis if kpi.name not in missing]
    groups = measured.index.get_level_values("group").unique()
    rows = [
        _row(kpi, str(group), _of(measured, group), wanted.get(kpi.name))
        for kpi in given
        for group in groups
    ]
    table = pd.DataFrame(rows).set_index(["kpi", "group"])
    pairs = [
        (kpi, str(group)) for kpi in given for group in groups
        if kpi.of_active or str(group) not in fixed
    ]  # fmt: skip
    charts = {}
    for kpi, group in pairs:
        try:
            chart = _chart(kpi, group, measured, baseline, false_alarm, len(pairs))
        except TooLittleDataError:
            continue
        charts[kpi.name, group] = chart
    newest = measured.index.get_level_values("period").max()
    return Scorecard(table, charts, missing, newest, assessment)


def _with_values(
    measured: pd.DataFrame, clv: pd.Series[float], groups: pd.Series[str]
) -> pd.DataFrame:
    """Put lifetime values into the newest period: they are of today, and of no earlier one."""
    if len(clv) != len(groups):
        raise ParameterError("clv", "values and groups of the same customers", len(groups))
    by_group = clv.astype(float).groupby(groups.astype(str).to_numpy()).agg(["sum", "count"])
    newest = measured.index.get_level_values("period").max()
    measured = measured.assign(clv=np.nan, valued=np.nan)
    for group in measured.loc[newest].index.intersection(by_group.index):
        measured.loc[(newest, group), ["clv", "valued"]] = by_group.loc[group].to_numpy(dtype=float)
    return measured


def _of(measured: pd.DataFrame, group: Hashable) -> pd.DataFrame:
    """Return the periods of one group, the earliest first."""
    found: pd.DataFrame = measured[measured.index.get_level_values("group") == group]
    return found.droplevel("group").sort_index()


def _row(kpi: Kpi, group: str, of: pd.DataFrame, target: float | None) -> dict[str, object]:
    values = values_of(kpi, of)
    lower, upper = _interval(kpi, of.iloc[-1])
    before = float(values.iloc[-2]) if len(values) > 1 else np.nan
    return {
        "kpi": kpi.name,
        "group": group,
        "perspective": kpi.perspective,
        "unit": kpi.unit,
        "value": float(values.iloc[-1]),
        "lower": lower,
        "upper": upper,
        "before": before,
        "change": float(values.iloc[-1]) - before,
        "target": np.nan if target is None else target,
    }


def values_of(kpi: Kpi, of: pd.DataFrame) -> pd.Series[float]:
    """Return a figure by period, missing where nobody stands behind it."""
    above = of[kpi.above].astype(float)
    if kpi.below is None:
        return above
    below = of[kpi.below].astype(float)
    return above / below.where(below > 0)


def _interval(kpi: Kpi, row: pd.Series[float]) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper and Pearson, 1934) or rate (Garwood, 1936)."""
    if kpi.below is None or kpi.unit not in ("share", "rate") or not row[kpi.below] > 0:
        return np.nan, np.nan
    k, n = float(row[kpi.above]), float(row[kpi.below])
    if kpi.unit == "share":
        low = float(beta.ppf(0.025, k, n - k + 1)) if k > 0 else 0.0
        high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
        return low, high
    low = float(gamma.ppf(0.025, k)) / n if k > 0 else 0.0
    return low, float(gamma.ppf(0.975, k + 1)) / n


def _chart(
    kpi: Kpi, group: str, measured: pd.DataFrame, baseline: int | None, false_alarm: float,
    charts: int,
) -> ControlChart:  # fmt: skip
    of = _of(measured, group)
    values = values_of(kpi, of)
    sizes = None
    kind: Literal["share", "rate", "individuals"] = "individuals"
    if kpi.below is not None and (kpi.unit == "share" or kpi.unit == "rate"):
        kind = kpi.unit
        sizes = of[kpi.below].astype(float)
        values = values.where(sizes >= _LEAST_BEHIND)
    if baseline is not None and values.notna().sum() <= baseline < len(values):
        raise TooLittleDataError(f"{kpi.name} of {group} is known in no more than the baseline")
    return control_chart(
        values,
        sizes,
        kind=kind,
        baseline=baseline,
        name=f"{kpi.name} of {group}",
        false_alarm=false_alarm,
        charts=charts,
    )
