"""At a glance: purchases per customer, the months of a log, the actions of a round, a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import StrMethodFormatter

from crmml.plots.style import BLUE, GREY, ORANGE, prepare_axes, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_frequencies(counts: pd.Series[int], *, ax: Axes | None = None) -> Axes:
    """Draw how many customers have how many repeat purchases.

    Parameters
    ----------
    counts : Series
        Customers by number of repeat purchases. From
        :func:`crmml.features.snapshot.count_by_frequency`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Repeat purchases so far", x="repeat purchases", y="customers")
    bars = ax.bar(np.arange(len(counts)), counts.to_numpy(), color=BLUE)
    ax.bar_label(bars, fmt="{:,.0f}", fontsize=8, padding=2)
    ax.set_xticks(np.arange(len(counts)), list(counts.index))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.margins(y=0.12)
    return ax


def plot_months(monthly: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw purchases and new customers by month.

    Parameters
    ----------
    monthly : DataFrame
        Indexed by month; ``purchases`` and ``new_customers``. From
        :func:`crmml.data.profile.compute_profile`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="The log by month", x="month", y="number")
    if monthly.empty:
        return say_empty(ax, "no purchases")
    at = np.arange(len(monthly))
    ax.bar(at, monthly["purchases"], color=GREY, alpha=0.6, label="purchases")
    ax.plot(at, monthly["new_customers"], color=BLUE, marker="o", label="new customers")
    every = max(1, int(np.ceil(len(at) / 12)))
    ax.set_xticks(at[::every], [str(month)[:7] for month in monthly.index[::every]], rotation=45)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.legend(frameon=False)
    return ax


def plot_actions(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what the actions of a round are expected to bring, or to how many they go.

    Parameters
    ----------
    table : DataFrame
        Indexed by action; ``customers`` and, where they are known, ``expected_net_gain``. From
        ``by_action`` of a recommendation or an allocation.
    ax : Axes, optional
        Where to draw.
    """
    valued = "expected_net_gain" in table
    column, meaning = ("expected_net_gain", "expected net gain") if valued else ("customers",) * 2
    ax = prepare_axes(ax, title="Actions of this round", x=meaning, y="")
    part = table.drop(index="no_action", errors="ignore").sort_values(column)
    if part.empty:
        return say_empty(ax, "no customer gets an action")
    bars = ax.barh(np.arange(len(part)), part[column], color=BLUE)
    ax.set_yticks(np.arange(len(part)), [str(name).replace("_", " ") for name in part.index])
    plural = ["customer" if n == 1 else "customers" for n in part["customers"]]
    labels = [f"{n:,} {word}" for n, word in zip(part["customers"], plural, strict=True)]
    ax.bar_label(bars, labels, fontsize=9, padding=3)
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.margins(x=0.2)
    return ax


def plot_estimates(table: pd.DataFrame, *, title: str, ax: Axes | None = None) -> Axes:
    """Draw the estimates of a fit with their intervals, each relative to its estimate.

    Parameters
    ----------
    table : DataFrame
        ``kind``, ``estimate``, ``lower``, ``upper`` by name. From
        :meth:`crmml.models.summary.ModelSummary.to_pandas`. Parameters are drawn as
        multiples of their estimate; coefficients as the factor by which one unit of the column
        multiplies. What was estimated as a logarithm is drawn as a parameter.
    title : str
        Headline.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title=title, x="parameters: multiple of the estimate", y="")
    if table.empty:
        return say_empty(ax, "no estimates")
    part = table.iloc[::-1]
    value, lower, upper = (part[c].to_numpy(float) for c in ("estimate", "lower", "upper"))
    in_logs = part.index.astype(str).str.startswith("log_")
    of_scale = (part["kind"] == "parameter").to_numpy() | in_logs
    if not of_scale.all():
        ax.set_xlabel("parameters: multiple of the estimate\ncoefficients: factor per unit")
    raw = (part["kind"] == "parameter").to_numpy()
    value, lower, upper = (np.where(raw, v, np.exp(np.where(raw, 0.0, v)))
                           for v in (value, lower, upper))  # fmt: skip
    unit = np.where(of_scale, value, 1.0)
    centre, low, high = value / unit, lower / unit, upper / unit
    at = np.arange(len(part))
    for kind, colour in ((True, BLUE), (False, ORANGE)):
        mine = of_scale == kind
        ends = np.vstack([centre - low, high - centre])[:, mine]
        ax.errorbar(centre[mine], at[mine], xerr=np.nan_to_num(ends), color=colour, marker="o",
                    linestyle="none", capsize=3)  # fmt: skip
    ax.axvline(1.0, color=GREY, linewidth=1, linestyle="--")
    ax.set_xscale("log")
    ticks = StrMethodFormatter("{x:g}")
    ax.xaxis.set_major_formatter(ticks)
    ax.xaxis.set_minor_formatter(ticks if np.nanmax(high) / np.nanmin(low) < 20 else "")
    names = [str(name).removeprefix("log_") for name in part.index]
    ax.set_yticks(at, [f"{name} = {v:.4g}" for name, v in zip(names, value, strict=True)])
    ax.margins(y=0.15)
    return ax
