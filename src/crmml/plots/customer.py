"""One customer over time: purchases, P(alive), and when the next purchase is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLUE, GREEN, GREY, ORANGE, RED, prepare_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AHEAD = 0.6
"""Most of the drawn past that the future may take of the picture."""


def plot_customer(
    alive: pd.DataFrame,
    *,
    purchases: pd.DataFrame,
    cutoff: pd.Timestamp,
    next_purchase: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw P(alive) since the first purchase with the purchases, and the next one expected.

    Parameters
    ----------
    alive : DataFrame
        ``date``, ``probability_alive``, a row per day.
    purchases : DataFrame
        ``date``, ``purchase`` (false: returns only) and ``amount``; the area of a mark grows with
        the amount, where it is known.
    cutoff : Timestamp
        Where the data end.
    next_purchase : NextPurchase, optional
        Its dates are drawn after the cutoff.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="One customer: purchases and P(alive) since the first one", x="",
                 y="P(alive)")  # fmt: skip
    dates: Any = alive["date"].to_numpy()
    ax.plot(dates, alive["probability_alive"], color=BLUE, linewidth=1.8, label="P(alive)")
    ax.fill_between(dates, 0, alive["probability_alive"], color=BLUE, alpha=0.08)
    _draw_purchases(ax, alive, purchases)
    ax.axvline(_at(cutoff), color=GREY, linewidth=1)
    ax.annotate("cutoff", (_at(cutoff), 0.0), xytext=(-4, 4), textcoords="offset points",
                ha="right", color="#666666", fontsize=9)  # fmt: skip
    end = cutoff
    if next_purchase is not None:
        end = _draw_next(ax, next_purchase, cutoff, alive["date"].iloc[0])
    pad = 0.02 * (end - alive["date"].iloc[0]) + pd.Timedelta(days=1)
    ax.set_xlim(_at(alive["date"].iloc[0] - pad), _at(end + pad))
    ax.set_ylim(0, 1.05)
    _format_axes(ax)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, fontsize=9)
    return ax


def plot_contract(ahead: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the chance that a contract is still active at each date ahead, and what ends it.

    Parameters
    ----------
    ahead : DataFrame
        ``date``, ``probability_active``, and ``ended_<cause>`` for each cause.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(ax, title="One contract: still active, or ended, by date", x="",
                      y="probability")  # fmt: skip
    causes = [str(name) for name in ahead if str(name).startswith("ended_")]
    names = ["active", *(f"ended: {name.removeprefix('ended_')}" for name in causes)]
    shares = ahead[["probability_active", *causes]].to_numpy().T
    dates: Any = ahead["date"].to_numpy()
    ax.stackplot(dates, shares, labels=names, alpha=0.85,
                 colors=[BLUE, ORANGE, RED, GREEN, GREY][: len(names)])  # fmt: skip
    ax.set_xlim(dates[0], dates[-1])
    ax.set_ylim(0, 1)
    _format_axes(ax)
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4, fontsize=9)
    return ax


def _format_axes(ax: Axes) -> None:
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    locator = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _at(moment: pd.Timestamp) -> Any:
    return moment.to_pydatetime()


def _draw_purchases(ax: Axes, alive: pd.DataFrame, purchases: pd.DataFrame) -> None:
    height = alive.set_index("date")["probability_alive"]
    for bought, colour, marker, label in (
        (True, ORANGE, "o", "purchase (area: amount)"),
        (False, RED, "v", "return"),
    ):
        rows = purchases[purchases["purchase"] == bought]
        if rows.empty:
            continue
        at: Any = rows["date"].dt.normalize()
        tops = height.reindex(at).fillna(1.0).to_numpy()
        amount = rows["amount"].abs()
        known = bool(amount.notna().all()) and float(amount.max()) > 0
        size: Any = 18 + 110 * amount / amount.max() if known else np.full(len(rows), 36.0)
        if bought:
            ax.vlines(at.to_numpy(), 0, tops, color=colour, linewidth=0.8, alpha=0.7)
        label = label if known else label.partition(" (")[0]
        ax.scatter(at.to_numpy(), tops, s=size, color=colour, marker=marker, zorder=3, label=label,
                   edgecolors="white", linewidths=0.6)  # fmt: skip


def _draw_next(ax: Axes, expected: Any, cutoff: pd.Timestamp, first: pd.Timestamp) -> pd.Timestamp:
    """Shade when an active customer buys next; return where the picture ends."""
    most = cutoff + max(_AHEAD * (cutoff - first), pd.Timedelta(days=60))
    if expected.earliest is None or expected.earliest > most:
        ax.annotate("next purchase, if active:\nbeyond this picture", (1, 0.5), xytext=(-4, 0),
                    xycoords="axes fraction", textcoords="offset points", ha="right",
                    color="#666666", fontsize=9)  # fmt: skip
        return most
    latest = most if expected.latest is None else min(expected.latest, most)
    open_ended = expected.latest is None or expected.latest > most
    label = "next purchase, if active (80 %)" + (", runs on" if open_ended else "")
    ax.axvspan(_at(expected.earliest), _at(latest), color=GREEN, alpha=0.15, label=label,
               linewidth=0)  # fmt: skip
    if expected.date is not None and expected.date <= most:
        ax.axvline(_at(expected.date), color=GREEN, linewidth=1.6, linestyle="--",
                   label=f"half of the time by {expected.date.date()}")  # fmt: skip
    never = f"never again: {expected.probability_never:.0%}"
    ax.annotate(never, (1, 1.01), xycoords="axes fraction", ha="right", color="#444444",
                fontsize=9)  # fmt: skip
    return latest
