"""Where the value is: the Pareto curve and the profile of the value tiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLUE, GREY, ORANGE, prepare_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_pareto_curve(
    curve: pd.DataFrame, *, gini: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the cumulative share of value against the share of customers, best first.

    Parameters
    ----------
    curve : DataFrame
        ``share_of_customers`` and ``share_of_value``, both rising from 0 to 1. From
        :func:`crmml.segments.value_tier.compute_pareto_curve`.
    gini : float, optional
        Written into the picture.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Who brings the value", x="share of customers, best first",
                 y="share of value")  # fmt: skip
    x, y = curve["share_of_customers"].to_numpy(), curve["share_of_value"].to_numpy()
    ax.plot(x, y, color=BLUE, linewidth=2)
    ax.fill_between(x, x, y, color=BLUE, alpha=0.08)
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    top = float(np.interp(0.2, x, y))
    ax.plot([0.2, 0.2, 0], [0, top, top], color=ORANGE, linewidth=1)
    reading = f"the best 20% of customers bring {top:.0%} of the value"
    inequality = "" if gini is None else f"\nGini {gini:.2f}"
    ax.text(0.97, 0.06, reading + inequality, ha="right", color="#333333")
    ax.set(xlim=(0, 1), ylim=(min(0.0, float(y.min())), max(1.0, float(y.max())) * 1.02))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return ax


def plot_tier_profile(profile: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each tier's share of customers, share of value, and the reference profile.

    Parameters
    ----------
    profile : DataFrame
        Indexed by tier; ``share_of_customers``, ``share_of_value``, ``reference_share_of_value``;
        shares that are not known are left out. From
        :meth:`crmml.segments.ValueTiers.profile`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(
        ax, title="Value tiers: who they are and what they are worth", x="tier", y="share"
    )
    bars = (
        ("share_of_customers", "customers", GREY),
        ("share_of_value", "value, in these data", BLUE),
        ("reference_share_of_value", "value, reference profile", ORANGE),
    )
    return draw_tier_shares(ax, profile, bars)


def draw_tier_shares(ax: Axes, table: pd.DataFrame, bars: Sequence[tuple[str, str, str]]) -> Axes:
    """Draw three shares of each tier side by side.

    Parameters
    ----------
    ax : Axes
    table : DataFrame
        Indexed by tier; shares that are not known are left out.
    bars : sequence of (column, label, colour)
    """
    at = np.arange(len(table))
    for place, (column, label, colour) in enumerate(bars):
        known = table[column].notna().to_numpy()
        drawn = ax.bar(at[known] + (place - 1) * 0.27, table[column][known], 0.25, label=label,
                       color=colour)  # fmt: skip
        ax.bar_label(drawn, fmt="{:.0%}", fontsize=8, padding=2)
    ax.axhline(0, color="#333333", linewidth=0.8)
    ax.set_xticks(at, [str(tier) for tier in table.index])
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(frameon=False)
    ax.margins(y=0.12)
    return ax
