"""How good the predictions were: calibration, reliability, PIT and the leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLACK, BLUE, GREY, ORANGE, dressed

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
    ax = dressed(ax, title=f"Calibration of {unit} by decile", x="decile, best predicted first",
                 y=f"mean {unit} per customer")  # fmt: skip
    at = np.arange(1, len(deciles) + 1)
    ax.bar(at, deciles["actual_mean"], color=GREY, alpha=0.6, label="actual")
    ax.plot(at, deciles["predicted_mean"], color=BLUE, marker="o", label="predicted")
    ax.set_xticks(at)
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
    ax = dressed(ax, title=title, x="predicted probability", y="observed rate")
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    observed = table["observed"].to_numpy(float)
    below = np.clip(observed - table["low"].to_numpy(float), 0, None)
    above = np.clip(table["high"].to_numpy(float) - observed, 0, None)
    ax.errorbar(table["predicted"], observed, yerr=np.vstack([below, above]), color=BLUE,
                marker="o", capsize=3, linewidth=1.4)  # fmt: skip
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
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
    ax = dressed(ax, title="Randomised PIT on holdout", x="PIT", y="density")
    left, right = table["lower"].to_numpy(float), table["upper"].to_numpy(float)
    ax.bar(left, table["density"], width=right - left, align="edge", color=BLUE, alpha=0.7,
           edgecolor="white")  # fmt: skip
    ax.axhline(1.0, color=BLACK, linewidth=1, linestyle="--")
    ax.set_xlim(0, 1)
    return ax


def plot_leaderboard(
    table: pd.DataFrame, *, metric: str, chosen: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one metric of all candidates with their intervals, best at the top.

    Parameters
    ----------
    table : DataFrame
        ``candidate``, ``metric``, ``value``, ``lower``, ``upper``; one row each.
    metric : str
        Which metric to draw.
    chosen : str, optional
        Candidate to highlight.
    ax : Axes, optional
        Where to draw.
    """
    part = table[table["metric"] == metric].sort_values("value", ascending=False)
    ax = dressed(ax, title=f"Candidates by {metric}", x=metric, y="")
    at = np.arange(len(part))
    value = part["value"].to_numpy(float)
    spread = np.vstack([value - part["lower"], part["upper"] - value]).clip(0)
    colours = [ORANGE if name == chosen else BLUE for name in part["candidate"]]
    ax.errorbar(value, at, xerr=spread, fmt="none", ecolor=GREY, capsize=3)
    ax.scatter(value, at, color=colours, zorder=3)
    ax.set_yticks(at, list(part["candidate"]))
    return ax
