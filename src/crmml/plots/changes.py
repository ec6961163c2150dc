"""Who went where between two score sets, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.patches import Patch

from crmml.plots.style import BLACK, CYCLE, GREY, prepare_axes, say_empty

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_flows(
    flows: pd.DataFrame,
    *,
    aspect: str = "tier",
    causes: Mapping[str, int] | None = None,
    what: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw how many customers went from each class to each class.

    Parameters
    ----------
    flows : DataFrame
        Rows: before; columns: after; customers. From
        :meth:`crmml.scoring.differences.Differences.flows`.
    aspect : str
        What the classes are.
    causes : mapping of str to int, optional
        Customers changed by cause, written below.
    what : str
        What the causes count, where it is not what the picture shows.
    ax : Axes, optional
        Where to draw.
    """
    changed = int(flows.to_numpy().sum() - _staying(flows))
    total = int(flows.to_numpy().sum())
    title = f"{aspect.capitalize()}: {changed:,} of {total:,} customers changed"
    ax = prepare_axes(ax, title=title, x="after", y="before")
    if not total:
        return say_empty(ax, "no customer is in both")
    counts = flows.to_numpy(dtype=np.float64)
    shown = np.ma.masked_equal(counts, 0.0)
    norm = LogNorm(vmin=1.0, vmax=max(counts.max(), 2.0))
    ax.imshow(shown, cmap="Blues", norm=norm, aspect="auto", alpha=0.75)
    ax.grid(visible=False)
    dark = counts.max() ** 0.6
    for (i, j), count in np.ndenumerate(counts):
        same = flows.index[i] == flows.columns[j]
        if count:
            ax.text(j, i, f"{count:,.0f}", ha="center", va="center", fontsize=9,
                    fontweight="normal" if same else "bold",
                    color="white" if count > dark else "#222222")  # fmt: skip
    ax.set_xticks(range(len(flows.columns)), [_label(c) for c in flows.columns])
    ax.set_yticks(range(len(flows.index)), [_label(c) for c in flows.index])
    if max(len(_label(c)) for c in flows.columns) > 8:
        ax.tick_params(axis="x", labelrotation=30)
    if causes:
        told = ", ".join(f"{count:,} {cause}" for cause, count in causes.items())
        ax.set_xlabel(f"after\nwhy{what}: {told}")
    return ax


def _staying(flows: pd.DataFrame) -> float:
    both = flows.index.intersection(flows.columns)
    return float(sum(flows.loc[name, name] for name in both))


def _label(name: object) -> str:
    return str(name).replace("_", " ")


_COLOURS = (*CYCLE, BLACK, GREY)
_WIDTH = 0.12  # of a pile, of the distance between two cutoffs


def plot_class_flows(flows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the classes at each cutoff as piles, and between them who went where.

    Parameters
    ----------
    flows : DataFrame
        Rows of one ``column`` of :class:`crmml.storage.class_flows.ClassFlows`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        Bands run from the class before to the class after, as thick as the customers are many;
        ``new`` and ``gone`` are grey.
    """
    name = _label(flows["column"].iloc[0]).capitalize()
    moments = sorted({*flows["earlier"], *flows["later"]})
    known = flows[~flows["before"].eq("new") & ~flows["after"].eq("gone")]
    moved = int(known.loc[known["before"] != known["after"], "customers"].sum())
    title = f"{name}: {moved:,} of {int(known['customers'].sum()):,} changed from cutoff to cutoff"
    ax = prepare_axes(ax, title=title, x="cutoff", y="customers")
    classes = [c for c in dict.fromkeys([*flows["before"], *flows["after"]])
               if c not in ("new", "gone")]  # fmt: skip
    colours = {c: _COLOURS[i % len(_COLOURS)] for i, c in enumerate(classes)}
    classes = [*classes, "new", "gone"]
    tops = [0.0]
    for step, at in enumerate(moments[:-1]):
        tops.append(_draw_step(ax, flows[flows["earlier"] == at], step, classes, colours))
    ax.set_xticks(range(len(moments)), [str(at.date()) for at in moments])
    ax.set(xlim=(-0.35, len(moments) - 0.65), ylim=(0.0, 1.03 * max(tops)))
    ax.grid(visible=False)
    keys = [Patch(color=colour, label=_label(c)) for c, colour in colours.items()]
    keys.append(Patch(color=GREY, alpha=0.45, label="new or gone"))
    ax.legend(handles=keys[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return ax


def _draw_step(
    ax: Axes, flows: pd.DataFrame, step: int, classes: list[str], colours: Mapping[str, str]
) -> float:
    """Draw the bands from one cutoff to the next, with the piles on both sides; return the top."""
    place = {c: i for i, c in enumerate(classes)}
    rows = flows[flows["customers"] > 0]
    bands = rows.assign(i=rows["before"].map(place), j=rows["after"].map(place))
    # a band lies in the order of its class on its own side, and of the other class within it
    left = bands.sort_values(["i", "j"])["customers"].cumsum() - bands["customers"]
    right = bands.sort_values(["j", "i"])["customers"].cumsum() - bands["customers"]
    half = _WIDTH / 2
    t = np.linspace(0.0, 1.0, 30)
    bend = 3 * t**2 - 2 * t**3
    x = step + half + t * (1.0 - _WIDTH)
    sides: Any = zip(bands.itertuples(), left[bands.index], right[bands.index], strict=True)
    for row, low, high in sides:
        bottom = low + (high - low) * bend
        colour = colours.get(str(row.before), GREY)
        ax.fill_between(x, bottom, bottom + float(row.customers), color=colour, linewidth=0,
                        alpha=0.2 if row.before == row.after else 0.45)  # fmt: skip
    for side, at, order in (("before", step, left), ("after", step + 1, right)):
        lows = order[bands.index].groupby(bands[side]).min()
        sizes = bands.groupby(side)["customers"].sum()
        for c, size in sizes.items():
            if c in colours:
                low = float(lows.loc[str(c)])
                ax.bar(at, size, _WIDTH, bottom=low, color=colours[str(c)], linewidth=0)
    return float(bands["customers"].sum())
