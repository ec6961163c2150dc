"""What a budget buys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.ticker import StrMethodFormatter

from crmml.plots.style import BLUE, ORANGE, mark, prepare_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_budget_curve(
    curve: pd.DataFrame, *, budget: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the expected net gain and the shadow price against the budget.

    Parameters
    ----------
    curve : DataFrame
        ``budget``, ``value`` (expected net gain), ``price`` (gain of one more unit of budget).
        From :func:`crmml.actions.allocation.budget_curve`.
    budget : float, optional
        The budget in force, drawn as a line.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="What the budget buys", x="budget", y="expected net gain (solid)")
    ax.plot(curve["budget"], curve["value"], color=BLUE, marker="o", markersize=3, linewidth=2)
    ax.set_xlim(left=0)
    ax.margins(y=0.12)
    ax.set_ylim(bottom=0)
    right = ax.twinx()
    # The first unit of money is worth so much that it would flatten the rest of the curve.
    bought = curve[curve["budget"] > 0]
    right.plot(bought["budget"], bought["price"], color=ORANGE, linestyle="--")
    right.set_ylabel("gain of one more unit of budget (dashed)")
    right.set_ylim(bottom=0)
    right.spines[["top"]].set_visible(False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if budget is not None:
        mark(ax, budget, "budget in force")
    return ax
