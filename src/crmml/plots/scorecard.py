"""Pictures of the scorecard: control charts, and what a point of retention is worth."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLUE, GREY, RED, prepare_axes


def plot_control_chart(
    table: pd.DataFrame, *, title: str = "", share: bool = False, ax: Axes | None = None
) -> Axes:
    """Draw a figure over time with its usual level, its limits and what left them.

    Parameters
    ----------
    table : DataFrame
        ``value``, ``centre``, ``lower``, ``upper``, ``baseline`` and ``signal`` by period. From
        :func:`crmml.scorecard.control_charts.control_chart`.
    title : str
        What is charted.
    share : bool
        Whether the values are shares.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title=title or "Control chart", x="", y="")
    at = table.index
    ax.plot(at, table["value"], color=BLUE, marker="o", markersize=3.5, label="value")
    ax.plot(at, table["centre"], color=GREY, linestyle=":", label="usual level")
    ax.plot(at, table["upper"], color=RED, linestyle="--", linewidth=1, label="limits")
    ax.plot(at, table["lower"], color=RED, linestyle="--", linewidth=1)
    out = table[table["signal"] != ""]
    if len(out):
        ax.plot(out.index, out["value"], "s", color=RED, markersize=7, label="signal", zorder=3)
    usual = table.index[table["baseline"].to_numpy(dtype=bool)]
    ax.axvspan(usual[0], usual[-1], color=GREY, alpha=0.12, label="baseline")
    if share:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, loc="best", fontsize="small")
    if isinstance(table.index, pd.DatetimeIndex):
        ax.figure.autofmt_xdate()
    return ax


def plot_retention_worth(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the margin expected and at stake by group, with the worth of a point of retention.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.scorecard.retention_economics.compute_retention_economics`.
    ax : Axes, optional
        Where to draw.
    """
    groups = table.drop(index="all", errors="ignore")
    ax = prepare_axes(ax, title="Margin expected, and at stake through leaving", x="", y="currency")
    names = groups.index.astype(str)
    ax.bar(names, groups["expected"], color=BLUE, label="expected")
    ax.bar(names, groups["at_stake"], bottom=groups["expected"], color=RED, alpha=0.6,
           label="at stake")  # fmt: skip
    for name, row in zip(names, groups.to_dict("records"), strict=True):
        ax.annotate(f"1 point: {row['one_point']:,.0f}", (name, row["expected"] + row["at_stake"]),
                    ha="center", va="bottom", fontsize="small")  # fmt: skip
    ax.legend(frameon=False)
    return ax
