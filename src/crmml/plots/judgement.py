"""How good the predictions were: calibration, reliability, PIT and the leaderboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from crmml.metrics.table import describe_metric
from crmml.plots.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    model_label,
    prepare_axes,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_calibration(
    deciles: pd.DataFrame, *, unit: str = "purchases", ax: Axes | None = None
) -> Axes:
    """Draw mean prediction against mean outcome by decile of the prediction.

    Parameters
    ----------
    deciles : DataFrame
        Indexed by ``decile``, best first; ``predicted_mean`` and ``actual_mean``. From
        :func:`crmml.metrics.ranking.compute_decile_table`.
    unit : str
        What is predicted.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title=f"Predicted and actual {unit} by decile",
                 x="tenth of the customers, best predicted first",
                 y=f"mean {unit} per customer")  # fmt: skip
    at = np.arange(1, len(deciles) + 1)
    ax.bar(at, deciles["actual_mean"], color=GREY, alpha=0.6, label="what happened")
    ax.plot(at, deciles["predicted_mean"], color=BLUE, marker="o", linewidth=1.2, label="predicted")
    ax.set_xticks(at, [str(decile) for decile in deciles.index])
    ax.legend(frameon=False)
    return ax


def plot_reliability(
    table: pd.DataFrame,
    *,
    title: str = "Reliability of the churn probability",
    ax: Axes | None = None,
) -> Axes:
    """Draw observed rates against predicted probabilities, with their intervals.

    Parameters
    ----------
    table : DataFrame
        ``n``, ``predicted``, ``observed``, ``low``, ``high`` by bin. From
        :func:`crmml.metrics.calibration.compute_reliability`.
    title : str
        Headline.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title=title, x="predicted probability", y="observed rate")
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect")
    observed = table["observed"].to_numpy(float)
    below = np.clip(observed - table["low"].to_numpy(float), 0, None)
    above = np.clip(table["high"].to_numpy(float) - observed, 0, None)
    ax.errorbar(table["predicted"], observed, yerr=np.vstack([below, above]), color=BLUE,
                linestyle="none", marker="o", capsize=3, label="what happened")  # fmt: skip
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, loc="upper left")
    return ax


def plot_gain_curve(curve: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw which share of the churners the first customers of the ranking hold.

    Parameters
    ----------
    curve : DataFrame
        Index ``contacted``; ``found``. From :func:`crmml.metrics.profit.compute_profit_curve`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Churners found by contacting the most likely first",
                 x="customers contacted", y="churners found")  # fmt: skip
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="at random")
    ax.plot(curve.index, curve["found"], color=BLUE, linewidth=2, label="by probability of churn")
    ax.set(xlim=(0, 1), ylim=(0, 1.02))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, loc="lower right")
    return ax


def plot_profit_curve(curve: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what contacting so many customers earns, relative to the best, and where the best lies.

    Parameters
    ----------
    curve : DataFrame
        Index ``contacted``; ``profit`` and, where known, ``own_value_profit``. From
        :func:`crmml.metrics.profit.compute_profit_curve`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Profit of contacting the most likely churners first",
                 x="customers contacted", y="profit, best = 100 %")  # fmt: skip
    kinds = {"profit": (BLUE, "-", "one value for all"),
             "own_value_profit": (ORANGE, "--", "each customer's own value")}  # fmt: skip
    lowest = 0.0
    for column, (colour, dash, meaning) in kinds.items():
        if column not in curve:
            continue
        best = float(curve[column].max())
        at = float(curve.index[int(curve[column].to_numpy().argmax())])
        if best <= 0:
            ax.plot([], [], color=colour, linestyle=dash, label=f"{meaning}: no contact pays")
            continue
        relative = curve[column] / best
        lowest = min(lowest, float(relative.min()))
        ax.plot(curve.index, relative, color=colour, linestyle=dash, linewidth=2,
                label=f"{meaning}: best at {at:.0%}")  # fmt: skip
        ax.plot([at], [1.0], color=colour, marker="o")
    ax.axhline(0.0, color=GREY, linewidth=1)
    ax.set(xlim=(0, 1.02), ylim=(max(lowest, -1.0) - 0.05, 1.12))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.1))
    return ax


def plot_pit_histogram(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the PIT histogram: flat if the predictive distributions are right.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.metrics.counts.compute_pit_histogram`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Where the outcomes fell in their predictive distributions (PIT)",
                 x="0: fewer purchases than the model expected, 1: more", y="density")  # fmt: skip
    left, right = table["lower"].to_numpy(float), table["upper"].to_numpy(float)
    ax.bar(left, table["density"], width=right - left, align="edge", color=BLUE, alpha=0.7,
           edgecolor="white")  # fmt: skip
    ax.axhline(1.0, color=BLACK, linewidth=1, linestyle="--", label="perfectly calibrated")
    ax.set_xlim(0, 1)
    ax.margins(y=0.18)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, loc="upper right")
    return ax


_LESS_IS_BETTER = ("mae", "mae_of_median", "rmse", "deviance", "mape", "crps", "log_score")


def _goodness(metric: str) -> Callable[[Any], Any]:
    """Return what to sort a metric by, so that the best comes last (at the top)."""
    if metric.endswith(_LESS_IS_BETTER):
        return lambda value: -value
    target = {"bias": 0.0, "coverage_80": 0.8}.get(
        metric.removeprefix("purchases_").removeprefix("spend_")
    )
    return (lambda value: value) if target is None else (lambda value: -(value - target).abs())


def plot_leaderboard(
    table: pd.DataFrame, *, metric: str, chosen: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one metric of all candidates with their intervals, the best at the top.

    Whoever is further from the best than ten of its intervals stands at the edge as a number, so
    that the others can be told apart.

    Parameters
    ----------
    table : DataFrame
        ``candidate``, ``metric``, ``value``, ``lower``, ``upper``; one row each. From
        :func:`crmml.training.backtest.run_backtest`.
    metric : str
        Which metric to draw.
    chosen : str, optional
        Candidate to highlight.
    ax : Axes, optional
        Where to draw.
    """
    part = table[table["metric"] == metric]
    ax = prepare_axes(ax, title="Candidates in the backtest", x=describe_metric(metric), y="")
    part = part[part["value"].notna()].sort_values("value", key=_goodness(metric))
    if part.empty:
        return say_empty(ax, f"no candidate has the metric {metric}")
    at = np.arange(len(part))
    value = part["value"].to_numpy(float)
    spread = np.vstack([value - part["lower"], part["upper"] - value]).clip(0)
    colours = [ORANGE if name == chosen else BLUE for name in part["candidate"]]
    reach = 10.0 * spread[:, -1].sum() or np.inf
    far = np.abs(value - value[-1]) > reach
    near = np.flatnonzero(~far)
    ax.errorbar(value[near], at[near], xerr=spread[:, near], fmt="none", ecolor=GREY, capsize=3)
    ax.scatter(value[near], at[near], color=[colours[i] for i in near], zorder=3)
    for i in np.flatnonzero(far):
        right = value[i] > value[-1]
        ax.annotate(f"{value[i]:.3g} \N{RIGHTWARDS ARROW}" if right
                    else f"\N{LEFTWARDS ARROW} {value[i]:.3g}", (float(right), at[i]),
                    xycoords=("axes fraction", "data"), va="center",
                    ha="right" if right else "left", color=colours[i])  # fmt: skip
    names = [model_label(name) for name in part["candidate"]]
    ax.set_yticks(at, [f"{n}\n(chosen)" if c == chosen else n
                       for n, c in zip(names, part["candidate"], strict=True)])  # fmt: skip
    ax.set_ylim(-0.6, len(part) - 0.4)
    return ax


def plot_importance(importance: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how much each family of features moves the log-odds of churn, with intervals.

    Parameters
    ----------
    importance : DataFrame
        From :func:`crmml.scoring.churn_reasons.family_importance`.
    ax : Axes, optional
        Where to draw.
    """
    title = "What moves the probability of churn"
    ax = prepare_axes(ax, title=title, x="mean change of the log-odds, up or down", y="")
    table = importance.iloc[::-1]
    if table.empty:
        return say_empty(ax, "nothing moves it: all customers are told the same")
    at = np.arange(len(table))
    ax.barh(at, table["importance"], 0.65, color=BLUE)
    ax.hlines(
        at, table["lower"], table["upper"], color=ORANGE, linewidth=2.5, label="95 % interval"
    )
    ax.set_yticks(at, [str(name) for name in table.index])
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return ax
