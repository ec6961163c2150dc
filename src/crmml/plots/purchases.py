"""What a purchase model believes, and how it tracks what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE, RED, dressed

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_matrix(
    matrix: pd.DataFrame,
    *,
    title: str = "Expected purchases by history",
    label: str = "expected purchases",
    ax: Axes | None = None,
) -> Axes:
    """Draw a frequency by recency matrix (expected purchases, P(alive) or value) as a heat map.

    Parameters
    ----------
    matrix : DataFrame
        Index ``frequency``, columns ``recency``; NaN where no such history exists. From
        :func:`crmml.models.diagnostics.compute_matrix`.
    title, label : str
        Headline, and what the colour means.
    ax : Axes, optional
        Where to draw.
    """
    ax = dressed(ax, title=title, x=f"recency ({matrix.columns.name or 'time of last purchase'})",
                 y="repeat purchases (frequency)")  # fmt: skip
    x, y = matrix.columns.to_numpy(float), matrix.index.to_numpy(float)
    mesh = ax.pcolormesh(x, y, np.ma.masked_invalid(matrix.to_numpy(float)),
                         cmap="viridis", shading="nearest", rasterized=True)  # fmt: skip
    ax.grid(visible=False)
    ax.figure.colorbar(mesh, ax=ax, label=label)
    return ax


def plot_iso_value(matrix: pd.DataFrame, *, currency: str = "", ax: Axes | None = None) -> Axes:
    """Draw curves of equal lifetime value over recency and frequency (Fader, Hardie, Lee 2005).

    Parameters
    ----------
    matrix : DataFrame
        As for :func:`plot_matrix`, of lifetime values.
    currency : str
        Written beside the labels.
    ax : Axes, optional
        Where to draw.
    """
    ax = dressed(ax, title="Curves of equal lifetime value",
                 x=f"recency ({matrix.columns.name or 'time of last purchase'})",
                 y="repeat purchases (frequency)")  # fmt: skip
    values = np.ma.masked_invalid(matrix.to_numpy(float))
    positive = values.compressed()[values.compressed() > 0]
    levels = np.unique(np.round(np.quantile(positive, [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98]), 1))
    lines = ax.contour(matrix.columns.to_numpy(float), matrix.index.to_numpy(float), values,
                       levels=levels, cmap="viridis")  # fmt: skip
    ax.clabel(lines, fmt=lambda v: f"{v:,.0f} {currency}".strip(), fontsize=8)
    return ax


def plot_tracking(
    tracking: pd.DataFrame, *, cutoff: float | None = None, cumulative: bool = True,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw repeat purchases over time: what happened, and what each model expected.

    Parameters
    ----------
    tracking : DataFrame
        Indexed by period (numbers or dates); column ``actual`` and one column per model, purchases
        **per period**. From :func:`crmml.models.diagnostics.compute_tracking`.
    cutoff : float or Timestamp, optional
        End of the calibration, drawn as a line.
    cumulative : bool
        Cumulate over the periods, or draw them one by one.
    ax : Axes, optional
        Where to draw.
    """
    what = "cumulative" if cumulative else "weekly"
    ax = dressed(ax, title=f"Tracking: {what} repeat purchases",
                 x=str(tracking.index.name or "period"), y="repeat purchases")  # fmt: skip
    shown = tracking.cumsum() if cumulative else tracking
    ax.plot(shown.index, shown["actual"], color=BLACK, linewidth=1.8, label="actual")
    models = [name for name in shown.columns if name != "actual"]
    for name, colour in zip(models, CYCLE * len(models), strict=False):
        ax.plot(shown.index, shown[name], color=colour, linewidth=1.6, linestyle="--", label=name)
    if cutoff is not None:
        ax.axvline(cutoff, color=GREY, linewidth=1)
        ax.text(cutoff, ax.get_ylim()[1], " holdout", va="top", color="#666666", fontsize=9)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def plot_holdout_by_frequency(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw mean holdout purchases by calibration frequency, actual against expected.

    Parameters
    ----------
    table : DataFrame
        Indexed by calibration frequency (text, the last group open); ``actual`` and one column
        per model. From :func:`crmml.models.diagnostics.compute_holdout_by_frequency`.
    ax : Axes, optional
        Where to draw.
    """
    ax = dressed(ax, title="Holdout purchases by calibration frequency",
                 x="repeat purchases in the calibration period",
                 y="mean purchases in the holdout")  # fmt: skip
    at = np.arange(len(table))
    ax.plot(at, table["actual"], color=BLACK, marker="o", label="actual")
    models = [name for name in table.columns if name not in {"actual", "customers"}]
    for name, colour in zip(models, CYCLE * len(models), strict=False):
        ax.plot(at, table[name], color=colour, marker="s", linestyle="--", label=name)
    ax.set_xticks(at, [str(group) for group in table.index])
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def plot_heterogeneity(table: pd.DataFrame, *, quantity: str, ax: Axes | None = None) -> Axes:
    """Draw how a latent quantity (purchase rate, dropout) differs between customers.

    Parameters
    ----------
    table : DataFrame
        ``quantity``, ``value``, ``density``. From
        :func:`crmml.models.diagnostics.compute_heterogeneity`.
    quantity : str
        Which of the quantities to draw.
    ax : Axes, optional
        Where to draw.
    """
    part = table[table["quantity"] == quantity]
    ax = dressed(ax, title=f"Heterogeneity: {quantity}", x=quantity, y="density")
    ax.plot(part["value"], part["density"], color=BLUE, linewidth=2)
    ax.fill_between(part["value"], 0, part["density"], color=BLUE, alpha=0.1)
    ax.set_ylim(bottom=0)
    return ax


def plot_alive_path(path: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one customer's probability of being active over time, with the purchases marked.

    Parameters
    ----------
    path : DataFrame
        ``time``, ``probability_alive``, ``purchase`` (bool). From
        :func:`crmml.models.diagnostics.compute_alive_path`.
    ax : Axes, optional
        Where to draw.
    """
    ax = dressed(ax, title="Probability of being active", x="time since the first purchase",
                 y="P(alive)")  # fmt: skip
    ax.plot(path["time"], path["probability_alive"], color=BLUE, linewidth=1.8)
    bought = path[path["purchase"]]
    ax.plot(bought["time"], bought["probability_alive"], "o", color=ORANGE, label="purchase")
    ax.axhline(0.5, color=RED, linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False, loc="lower left")
    return ax
