"""Pictures of the scorecard: control charts, what drove a change, and what retention is worth."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLACK, BLUE, GREY, RED, SKY, prepare_axes, say_empty


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


def plot_retention_costs(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many times dearer winning and winning back are than keeping, cited and here.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.scorecard.compute_retention_costs`.
    ax : Axes, optional
        Where to draw.
    """
    names = {"win_back_over_keep": "winning back", "acquire_over_keep": "winning"}
    ax = prepare_axes(ax, title="Cost over that of keeping a customer", x="times", y="")
    ax.set_xscale("log")
    ax.axvline(1.0, color=GREY, linewidth=1)
    for place, name in enumerate(names):
        row = table.loc[name]
        label = "cited" if place == 0 else None
        ax.plot([row["low"], row["high"]], [place + 0.12] * 2, color=GREY, linewidth=7,
                solid_capstyle="butt", label=label)  # fmt: skip
        if row["needs"]:
            ax.text(1.05, place - 0.15, "here: not known", color=GREY, fontsize="small")
            continue
        ax.plot([row["lower"], row["upper"]], [place - 0.12] * 2, color=BLUE, linewidth=2)
        ax.plot(row["here"], place - 0.12, "o", color=BLUE, label="here, 95 %" if place == 0 else
                None)  # fmt: skip
    ax.set_yticks([*range(len(names))], [*names.values()])
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_sensitivity(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how far the worth of a point of retention moves with each thing that it rests on.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.scorecard.compute_retention_sensitivity`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Worth of a point of retention, one input changed at a time",
                      x="currency", y="")  # fmt: skip
    shown = table[::-1]
    names = [str(name).replace("_", " ") for name in shown.index]
    base = float(table["base"].iloc[0])
    for column, color, label in (("low", SKY, "input lower"), ("high", BLUE, "input higher")):
        ax.barh(names, shown[column] - base, left=base, color=color, height=0.55, label=label)
    ax.axvline(base, color=BLACK, linewidth=1)
    ax.legend(frameon=False, fontsize="small", loc="best")
    return ax


def plot_parts(table: pd.DataFrame, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw by how much a figure changed in each part of the data, those beyond chance in colour.

    Parameters
    ----------
    table : DataFrame
        ``parts`` of :class:`crmml.scorecard.improvement.Improvement`.
    title : str
        What changed.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title=title or "What drove the change", x="change, with 95 % interval",
                      y="")  # fmt: skip
    if table.empty:
        return say_empty(ax, "no part has enough periods")
    shown = table.reset_index()[::-1]
    ax.axvline(0.0, color=GREY, linewidth=1)
    for place, row in enumerate(shown.to_dict("records")):
        color = RED if row["driver"] else GREY
        ax.plot([row["lower"], row["upper"]], [place, place], color=color, linewidth=2)
        ax.plot(row["change"], place, "o", color=color)
    ax.set_yticks([*range(len(shown))], [f"{by}: {part}" for by, part in
                                         zip(shown["by"], shown["part"], strict=True)])  # fmt: skip
    return ax
