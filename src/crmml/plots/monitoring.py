"""Pictures of a monitoring: realised against predicted by bucket, and the gap from run to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLUE, CYCLE, DASHES, GREY, RED, prepare_axes, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_buckets(groups: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the realised share of leavers against the predicted one, of the newest closed window.

    Parameters
    ----------
    groups : DataFrame
        From :func:`crmml.scorecard.realised.compare_groups`, with ``cutoff`` and ``beyond``.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Who left, by predicted probability",
                 x="predicted probability of no purchase", y="realised share")  # fmt: skip
    if groups.empty:
        return say_empty(ax, "no outcome window has closed yet")
    churn = groups[(groups["by"] == "bucket") & (groups["measure"] == "churn")]
    cutoffs = sorted(churn["cutoff"].unique())
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="as predicted")
    if len(cutoffs) > 1:
        earlier = churn[churn["cutoff"] < cutoffs[-1]]
        ax.scatter(earlier["predicted"], earlier["realised"], s=9, color=GREY, alpha=0.5,
                   label="earlier windows")  # fmt: skip
    newest = churn[churn["cutoff"] == cutoffs[-1]]
    for off, color, label in ((False, BLUE, ""), (True, RED, ", beyond chance and tolerance")):
        part = newest[newest["beyond"] == off]
        if len(part):
            ax.errorbar(part["predicted"], part["realised"], yerr=1.96 * part["error"], color=color,
                        linestyle="none", marker="s" if off else "o", capsize=3,
                        label=f"window from {pd.Timestamp(cutoffs[-1]).date()}{label}")  # fmt: skip
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, loc="lower right", fontsize=9)
    return ax


def plot_gaps(groups: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the gap of all customers, in percent of the prediction, over the closed windows.

    Of churn it is in percent of the rarer of leaving and staying. Bands hold 95 % by chance.

    Parameters
    ----------
    groups : DataFrame
        As for :func:`plot_buckets`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Realised less predicted, over runs", x="cutoff of the scores",
                 y="gap, share of the prediction")  # fmt: skip
    if groups.empty:
        return say_empty(ax, "no outcome window has closed yet")
    whole = groups[groups["by"] == "all"]
    ax.axhline(0.0, color=GREY, linewidth=1)
    for k, (measure, line) in enumerate(whole.groupby("measure", sort=True)):
        unit = (line["relative"] / line["gap"].where(line["gap"] != 0)).abs()
        half = 1.96 * (line["error"] * unit).fillna(0.0)
        ax.fill_between(line["cutoff"], line["relative"] - half, line["relative"] + half,
                        color=CYCLE[k], alpha=0.12, linewidth=0)  # fmt: skip
        ax.plot(line["cutoff"], line["relative"], color=CYCLE[k], linestyle=DASHES[k], marker="o",
                markersize=4, label=str(measure))  # fmt: skip
    off = whole[whole["beyond"]]
    if len(off):
        ax.scatter(off["cutoff"], off["relative"], s=80, facecolors="none", edgecolors=RED,
                   label="beyond chance and tolerance")  # fmt: skip
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    shown = np.unique(whole["cutoff"].to_numpy())
    shown = shown[:: max(1, -(-len(shown) // 8))]
    ax.set_xticks(shown, [str(pd.Timestamp(at).date()) for at in shown], rotation=30, ha="right")
    ax.legend(frameon=False, fontsize=9)
    return ax
