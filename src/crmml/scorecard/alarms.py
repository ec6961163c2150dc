"""Alarms of a monitoring: what is beyond chance and large enough to matter, and what to do then."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from crmml.scorecard.control_charts import LEAST_BASELINE, ControlChart, control_chart
from crmml.scorecard.realised import ENDS, MEASURES
from crmml.scorecard.shifts import holm

CURRENT = "current"
COLUMNS = ("kind", "cutoff", "what", "text", "do", CURRENT)

LEAST_SHIFT = {"psi": 0.1, "ks": 0.15}
"""Smaller shifts do not matter, however sure they are."""

LEAST_FALL = {"rule": 0.02, "first": 0.05}
"""AUC below the recency rule, and below the first window of the version, that does not matter."""

NOMINAL, LEAST_COVERAGE = 0.8, 0.75
_WORDS = {
    "churn": "customers who leave",
    "purchases": "purchases",
    "spend": "spend",
    **{name: name.replace("contract_end_", "contracts ended, ") for name in ENDS},
}


def ranking_alarms(windows: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Ask of each window whether the order of the customers is worth less than a simple rule's.

    Parameters
    ----------
    windows : DataFrame
        A row per closed window, in order.
    alpha : float
        Chance of any false alarm here.

    Returns
    -------
    DataFrame
        With the columns :data:`COLUMNS`.
    """
    looks: list[tuple[pd.Timestamp, str, float, float, str]] = []
    first: dict[str, Any] = {}
    for row in windows.to_dict("records"):
        at, auc = row["cutoff"], row["auc"]
        looks.append(
            (at, "rule", -row["auc_gain"], row["auc_gain_error"],
             f"AUC {auc:.3f} is below that of the simple rule, {row['auc_rule']:.3f}")
        )  # fmt: skip
        start = first.setdefault(row["model_version"], row)
        if start is not row:
            error = sqrt(row["auc_error"] ** 2 + start["auc_error"] ** 2)
            told = f"AUC fell from {start['auc']:.3f} ({start['cutoff'].date()}) to {auc:.3f}"
            looks.append((at, "first", start["auc"] - auc, error, told))
    p = [float(stats.norm.sf(fall / e)) if e > 0 else np.nan for _, _, fall, e, _ in looks]
    rows = [
        ("ranking", at, "auc", f"{at.date()}: {text}", "retrain", at == windows["cutoff"].iloc[-1])
        for (at, what, fall, _, text), sure in zip(looks, holm(p), strict=True)
        if sure <= alpha and fall >= LEAST_FALL[what]
    ]
    return _table(rows)


def level_alarms(
    groups: pd.DataFrame,
    windows: pd.DataFrame,
    alpha: float,
    tolerance: float,
    ranked: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask of each window whether the level is off: of all, of a group, or of the interval.

    Parameters
    ----------
    groups, windows : DataFrame
        What was compared.
    alpha : float
        Chance of any false alarm here.
    tolerance : float
        Relative gap of the whole that does not matter; of a group twice as much.
    ranked : DataFrame
        Alarms about the order, which say what helps.

    Returns
    -------
    DataFrame, DataFrame
        ``groups`` with ``adjusted`` (p-value over all looks) and ``beyond``; and the alarms, at
        most one per window and measure.
    """
    if groups.empty:
        return groups, _table([])
    n = windows["customers"].to_numpy(dtype=np.float64)
    short = NOMINAL - windows["coverage"].to_numpy(dtype=np.float64)
    chance = stats.norm.sf(short / np.sqrt(NOMINAL * (1.0 - NOMINAL) / n))
    sure = holm(np.r_[groups["p_value"].to_numpy(dtype=np.float64), chance])
    limit = np.where(groups["by"] == "all", tolerance, 2.0 * tolerance)
    large = (groups["relative"].abs() >= limit).to_numpy()
    beyond = (sure[: len(groups)] <= alpha) & large
    groups = groups.assign(adjusted=sure[: len(groups)], beyond=beyond)
    newest, rows = windows["cutoff"].iloc[-1], []
    for key, part in groups[beyond].groupby(["cutoff", "measure"], sort=True):
        at, measure = _key(key)
        whole = part[part["by"] == "all"]
        row = (whole if len(whole) else part.sort_values("adjusted", kind="stable")).iloc[0]
        who = "all" if row["by"] == "all" else f"{row['by']} {row['group']}"
        text = (
            f"{at.date()}: {_WORDS[measure]}, {who}: {row['predicted']:.3g} predicted and "
            f"{row['realised']:.3g} realised per customer ({row['in_errors']:+.1f} standard errors)"
        )
        rows.append(("level", at, measure, text, _remedy(at, ranked), at == newest))
    adjusted = sure[len(groups) :]
    for at, share, p in zip(windows["cutoff"], windows["coverage"], adjusted, strict=True):
        if p <= alpha and share < LEAST_COVERAGE:
            text = f"{at.date()}: {share:.1%} of purchases lie in intervals made for {NOMINAL:.0%}"
            do = _remedy(at, ranked)
            rows.append(("level", at, "coverage", text, do, at == newest))
    return groups, _table(rows)


def _remedy(at: pd.Timestamp, ranked: pd.DataFrame) -> str:
    """Say what helps where the level is off: an order that still holds needs no new model."""
    return "retrain" if (ranked["cutoff"] == at).any() else "recalibrate"


def shift_alarms(
    shifts: pd.DataFrame, alpha: float, newest: pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ask of each pair of score sets whether columns shifted.

    Parameters
    ----------
    shifts : DataFrame
        A row per pair and column.
    alpha : float
        Chance of any false alarm here.
    newest : Timestamp
        Cutoff of the newest score set.

    Returns
    -------
    DataFrame, DataFrame
        ``shifts`` with ``adjusted`` and ``beyond``; and the alarms, at most one per score set and
        kind of column.
    """
    if shifts.empty:
        return shifts, _table([])
    sure = holm(shifts["p_value"])
    large = (shifts["psi"] >= LEAST_SHIFT["psi"]) | (shifts["ks"] >= LEAST_SHIFT["ks"])
    shifts = shifts.assign(adjusted=sure, beyond=(sure <= alpha) & large)
    rows = []
    for key, part in shifts[shifts["beyond"]].groupby(["cutoff", "kind"], sort=True):
        at, kind = _key(key)
        worst = part.sort_values(["psi", "column"], ascending=[False, True])
        one = worst.iloc[0]
        names = [*dict.fromkeys(worst["column"])]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        text = (
            f"{at.date()}: {kind} {one['column']}{more} shifted against {one['earlier'].date()} "
            f"(PSI {one['psi']:.2f}, by chance below {one['psi_alarm']:.2f})"
        )
        rows.append(("shift", at, f"{kind}s", text, "look at the data", at == newest))
    return shifts, _table(rows)


def chart_gaps(
    groups: pd.DataFrame, windows: pd.DataFrame, alpha: float
) -> dict[str, ControlChart]:
    """Chart the gap in standard errors over windows that do not overlap, the newest included.

    Parameters
    ----------
    groups, windows : DataFrame
        What was compared.
    alpha : float
        Chance of any signal in all charts together.

    Returns
    -------
    dict of str to ControlChart
        By measure; empty where there are too few windows.
    """
    if groups.empty:
        return {}
    apart: list[pd.Timestamp] = []
    for cutoff, closes in zip(windows["cutoff"][::-1], windows["closes"][::-1], strict=True):
        if not apart or closes <= apart[-1]:
            apart.append(cutoff)
    whole = groups[(groups["by"] == "all") & groups["cutoff"].isin(apart)]
    lines = {m: whole[whole["measure"] == m].set_index("cutoff")["in_errors"] for m in MEASURES}
    long = {m: line for m, line in lines.items() if line.notna().sum() > LEAST_BASELINE}
    return {
        measure: control_chart(
            line, name=f"gap of {measure} in standard errors", false_alarm=alpha, charts=len(long)
        )
        for measure, line in long.items()
    }


def chart_alarms(
    charts: Mapping[str, ControlChart], windows: pd.DataFrame, ranked: pd.DataFrame
) -> pd.DataFrame:
    """Turn the signals of the charts into alarms."""
    rows = []
    for measure, chart in charts.items():
        for index, rule in chart.signals["signal"].items():
            at = pd.Timestamp(str(index))
            text = f"{at.date()}: the gap of {measure} left its usual range ({rule})"
            newest = at == windows["cutoff"].iloc[-1]
            rows.append(("chart", at, measure, text, _remedy(at, ranked), newest))
    return _table(rows)


def _key(key: Any) -> tuple[pd.Timestamp, str]:
    return pd.Timestamp(key[0]), str(key[1])


def _table(rows: list[Any]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=[*COLUMNS])
    return table.astype({CURRENT: bool, "what": object, "do": object, "text": object})
