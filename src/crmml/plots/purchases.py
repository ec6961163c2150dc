"""What a purchase model believes, and how it tracks what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from crmml.plots.style import (
    BLACK,
    BLUE,
    CYCLE,
    DASHES,
    GREY,
    ORANGE,
    mark,
    model_label,
    prepare_axes,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_matrix(
    matrix: pd.DataFrame,
    *,
    title: str = "Expected purchases by history",
    label: str = "expected purchases",
    highest: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a frequency by recency matrix (expected purchases, P(alive) or value) as a heat map.

    Parameters
    ----------
    matrix : DataFrame
        Index ``frequency``, columns ``recency``; NaN where no such history exists. From
        :func:`crmml.models.purchase.diagnostics.compute_matrix`.
    title, label : str
        Headline, and what the colour means.
    highest : float, optional
        Upper end of the colour scale (1 for a probability); default: the largest value. The lower
        end is 0, or the smallest value where there are negative ones.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title=title, x=_recency_label(matrix), y="repeat purchases (frequency)")
    x, y = matrix.columns.to_numpy(float), matrix.index.to_numpy(float)
    values = np.ma.masked_invalid(matrix.to_numpy(float))
    if values.count() == 0:
        return say_empty(ax, "no history can exist here")
    mesh = ax.pcolormesh(x, y, values, cmap="viridis", shading="nearest", rasterized=True,
                         vmin=min(0.0, float(values.min())), vmax=highest)  # fmt: skip
    ax.grid(visible=False)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
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
    ax = prepare_axes(ax, title="Curves of equal lifetime value", x=_recency_label(matrix),
                 y="repeat purchases (frequency)")  # fmt: skip
    values = np.ma.masked_invalid(matrix.to_numpy(float))
    found = np.unique(values.compressed())
    if len(found) < 2:
        return say_empty(ax, "all histories are worth the same")
    lines = ax.contour(matrix.columns.to_numpy(float), matrix.index.to_numpy(float), values,
                       levels=_round_levels(float(found[-1])), colors=BLUE)  # fmt: skip
    ax.clabel(lines, fmt=lambda v: f"{v:,g} {currency}".strip(), fontsize=9, colors=BLACK)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def _recency_label(matrix: pd.DataFrame) -> str:
    unit = matrix.columns.name or "time"
    return f"recency: {unit} from the first to the last purchase"


def _round_levels(highest: float) -> list[float]:
    """Levels 1, 2, 5, 10, 20, 50, ... below a value, at most eight."""
    top = int(np.floor(np.log10(highest))) if highest > 0 else 0
    steps = [step * 10.0**power for power in range(top - 3, top + 1) for step in (1, 2, 5)]
    return [level for level in steps if level < highest][-8:] or [highest / 2.0]


def plot_tracking(
    tracking: pd.DataFrame, *, cutoff: float | None = None, cumulative: bool = True,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw repeat purchases over time: what happened, and what each model expected.

    Parameters
    ----------
    tracking : DataFrame
        Indexed by period (numbers or dates); column ``actual`` and one column per model, purchases
        **per period**. From :func:`crmml.models.purchase.diagnostics.compute_tracking`.
    cutoff : float or Timestamp, optional
        End of the calibration, drawn as a line.
    cumulative : bool
        Cumulate over the periods, or draw them one by one.
    ax : Axes, optional
        Where to draw.
    """
    period = str(tracking.index.name or "period")
    what = "Repeat purchases so far" if cumulative else f"Repeat purchases by {period}"
    ax = prepare_axes(ax, title=what, x=period,
                 y="repeat purchases")  # fmt: skip
    if tracking.empty:
        return say_empty(ax, f"the data do not hold one whole {period}")
    shown = tracking.cumsum() if cumulative else tracking
    ax.plot(shown.index, shown["actual"], color=BLACK, linewidth=1.6, label="what happened")
    _draw_models(ax, shown, shown.index)
    # Below a rising curve there is room for a legend, around an uneven one room is made above.
    ax.margins(y=0.1 if cumulative else 0.45)
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if cutoff is not None:
        mark(ax, cutoff, "holdout", at_top=cumulative)
    if cumulative:
        ax.legend(loc="lower right", edgecolor="none", framealpha=0.9)
    else:
        ax.legend(loc="upper right", frameon=False, fontsize=9, ncols=2)
    return ax


def _draw_models(ax: Axes, table: pd.DataFrame, x: Any, **style: Any) -> None:
    models = [name for name in table.columns if name not in {"actual", "customers"}]
    for i, name in enumerate(models):
        ax.plot(x, table[name], color=CYCLE[i % len(CYCLE)], linestyle=DASHES[i % len(DASHES)],
                linewidth=1.7, label=model_label(name), **style)  # fmt: skip


def plot_holdout_by_frequency(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw mean holdout purchases by calibration frequency, actual against expected.

    Parameters
    ----------
    table : DataFrame
        Indexed by calibration frequency (text, the last group open); ``actual``, ``customers`` and
        one column per model; see
        :func:`crmml.models.purchase.diagnostics.compute_holdout_by_frequency`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="Holdout purchases by calibration frequency",
                 x="repeat purchases in the calibration period (customers)",
                 y="mean purchases in the holdout")  # fmt: skip
    if table.empty:
        return say_empty(ax, "no customers")
    at = np.arange(len(table))
    ax.plot(at, table["actual"], color=BLACK, marker="o", label="what happened")
    _draw_models(ax, table, at, marker="s", markersize=4)
    labels = [f"{group}\n({n:,})" for group, n in zip(table.index, table["customers"], strict=True)]
    ax.set_xticks(at, labels)
    ax.margins(y=0.1)
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, loc="upper left")
    return ax


def plot_heterogeneity(table: pd.DataFrame, *, quantity: str, ax: Axes | None = None) -> Axes:
    """Draw how a latent quantity (purchase rate, dropout) differs between customers.

    The curve is the density. It is cut off at the top where it runs to infinity, which it does at
    0 when many customers hardly ever buy; the dashed line, the share of customers below a value,
    shows how many they are.

    Parameters
    ----------
    table : DataFrame
        ``quantity``, ``unit``, ``value``, ``density``, ``share_below``. From
        :func:`crmml.models.purchase.diagnostics.compute_heterogeneity`.
    quantity : str
        Which of the quantities to draw.
    ax : Axes, optional
        Where to draw.
    """
    part = table[table["quantity"] == quantity]
    ax = prepare_axes(
        ax, title=f"How customers differ: {quantity}", x=quantity, y="density (solid)"
    )
    if part.empty:
        return say_empty(ax, f"the model knows no spread of the {quantity}")
    ax.set_xlabel(f"{quantity} {part['unit'].iloc[0]}".strip())
    ax.plot(part["value"], part["density"], color=BLUE, linewidth=2)
    ax.fill_between(part["value"], 0, part["density"], color=BLUE, alpha=0.1)
    # A tenth of the points lies in an infinite peak, if there is one.
    ax.set_ylim(0, 1.1 * float(part["density"].quantile(0.8)))
    ax.set_xlim(left=0)
    right = ax.twinx()
    right.plot(part["value"], part["share_below"], color=ORANGE, linestyle="--")
    right.set_ylabel("share of customers below (dashed)")
    right.set_ylim(0, 1.0)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.spines[["top"]].set_visible(False)
    return ax


def plot_alive_path(path: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw one customer's probability of being active over time, with the purchases marked.

    Parameters
    ----------
    path : DataFrame
        ``time``, ``probability_alive``, ``purchase`` (bool). From
        :func:`crmml.models.purchase.diagnostics.compute_alive_path`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="One customer's probability of being active",
                 x=f"{path.index.name or 'time'} since the first purchase",
                 y="P(alive)")  # fmt: skip
    ax.plot(path["time"], path["probability_alive"], color=BLUE, linewidth=1.8)
    bought = path[path["purchase"]]
    ax.plot(bought["time"], bought["probability_alive"], "o", color=ORANGE, label="purchase")
    ax.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_ylim(0, 1.03)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    if len(bought):
        ax.legend(frameon=False, loc="lower left")
    return ax


def plot_calendar_profile(profile: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the multiplier of the purchase rate over the weeks of the year.

    Parameters
    ----------
    profile : DataFrame
        Column ``factor``, indexed by ``week`` of the year or by the ``monday`` of single weeks.
        From :meth:`crmml.models.CalendarProfile.table`.
    ax : Axes, optional
        Where to draw.
    """
    of_year = profile.index.name == "week"
    ax = prepare_axes(ax, title="Calendar profile of the purchase rate",
                 x="week of the year" if of_year else "week",
                 y="factor (1 is the mean)")  # fmt: skip
    if profile.empty:
        return say_empty(ax, "the profile has no weeks")
    ax.step(profile.index, profile["factor"], where="mid", color=BLUE, linewidth=2)
    ax.axhline(1.0, color=GREY, linewidth=1, linestyle="--")
    ax.margins(y=0.1)
    ax.set_ylim(bottom=0)
    return ax


def plot_newcomer_effect(effect: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how the purchase rate of newcomers settles, with its 90 % interval.

    Parameters
    ----------
    effect : DataFrame
        ``rate``, ``lower`` and ``upper``, indexed by the age since the first purchase. From
        :func:`crmml.models.purchase.diagnostics.compute_newcomer_effect`.
    ax : Axes, optional
        Where to draw.
    """
    begins = float(effect["rate"].iloc[0]) if len(effect) else 1.0
    how = "faster" if begins > 1.0 else "more slowly"
    title = "Newcomers buy as they will later" if begins == 1.0 else f"Newcomers buy {how} at first"
    ax = prepare_axes(ax, title=title, x=f"{effect.index.name or 'time'} since the first purchase",
                 y="purchase rate over the settled one")  # fmt: skip
    if effect.empty:
        return say_empty(ax, "no ages")
    ax.fill_between(effect.index, effect["lower"], effect["upper"], color=BLUE, alpha=0.2,
                    linewidth=0, label="90 % interval")  # fmt: skip
    ax.plot(effect.index, effect["rate"], color=BLUE, linewidth=2, label="estimate")
    ax.axhline(1.0, color=GREY, linewidth=1, linestyle="--")
    ax.margins(x=0, y=0.1)
    ax.set_ylim(bottom=0)
    if effect["upper"].notna().any():
        ax.legend(frameon=False, loc="best")
    return ax
