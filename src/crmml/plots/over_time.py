"""Value over time: by period and cohort, customers still active, and customers to be won."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLUE, GREY, ORANGE, prepare_axes
from crmml.plots.value import draw_tier_shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_value_by_period(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the expected value of each period, groups on top of each other, with its interval.

    Parameters
    ----------
    table : DataFrame
        From :meth:`crmml.models.LifetimeValueModel.clv_by_period`. The interval is drawn where
        there is one group; those of groups do not add up.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Value by period", x="period ends", y="discounted value")
    group = str(table.index.names[0])
    wide = table["expected"].unstack(group)
    at, under = np.arange(len(wide)), np.zeros(len(wide))
    for place, name in enumerate(wide.columns):
        shade = 0.25 + 0.75 * (place + 1) / len(wide.columns)
        height = wide[name].fillna(0.0).to_numpy()
        ax.bar(at, height, 0.7, bottom=under, color=BLUE, alpha=shade, label=str(name))
        under = under + height
    levels = [column for column in table.columns if isinstance(column, float)]
    if len(wide.columns) == 1 and len(levels) >= 2:
        low, high = table[levels[0]].to_numpy(), table[levels[-1]].to_numpy()
        ax.vlines(at, low, high, color=ORANGE, linewidth=2, label="interval")
    ax.set_xticks(at, [str(pd.Timestamp(end).date()) for end in wide.index], rotation=45)
    if len(wide.columns) > 1 or levels:
        ax.legend(frameon=False, fontsize=8)
    return ax


def plot_active(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the share of customers expected to be active at the end of each period, by group.

    Parameters
    ----------
    table : DataFrame
        From :meth:`crmml.models.LifetimeValueModel.clv_by_period`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Still active", x="", y="share of customers")
    group = str(table.index.names[0])
    share = (table["active"] / table["customers"]).unstack(group)
    for place, name in enumerate(share.columns):
        shade = 0.25 + 0.75 * (place + 1) / len(share.columns)
        ax.plot(share.index, share[name], color=BLUE, alpha=shade, marker="o", label=str(name))
    ax.set_ylim(bottom=0.0)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.tick_params(axis="x", rotation=45)
    if len(share.columns) > 1:
        ax.legend(frameon=False, fontsize=8)
    return ax


def plot_new_customers(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what a new customer of each channel is worth beside what winning one costs.

    Parameters
    ----------
    table : DataFrame
        From :meth:`crmml.models.LifetimeValueModel.new_customer_value`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="A customer not yet acquired", x="", y="currency")
    at = np.arange(len(table))
    value = table["value"].to_numpy()
    ax.bar(at - 0.2, value, 0.36, color=BLUE, label="value")
    ax.vlines(at - 0.2, table["value_lower"], table["value_upper"], color=GREY, linewidth=2)
    known = table["acquisition_cost"].notna().to_numpy()
    ax.bar(at[known] + 0.2, table["acquisition_cost"][known], 0.36, color=ORANGE,
           label="cost to win")  # fmt: skip
    for place, ratio in zip(at, table["value_to_cost"], strict=True):
        if np.isfinite(ratio):
            ax.text(place + 0.2, 0, f"1 : {ratio:.1f}", ha="center", va="bottom", fontsize=8)
    ax.set_xticks(at, [str(name) for name in table.index])
    ax.legend(frameon=False)
    return ax


def plot_pyramids(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the pyramids by lifetime value and by profit beside the reference profile.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.segments.pyramids.compute_pyramids`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Who brings the profit", x="tier", y="share")
    bars = (
        ("reference_share", "reference profile", GREY),
        ("share_of_value", "of lifetime value, tiers by lifetime value", BLUE),
        ("share_of_profit", "of profit, tiers by profit", ORANGE),
    )
    return draw_tier_shares(ax, table, bars)
