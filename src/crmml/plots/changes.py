"""Who went where between two score sets, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from crmml.plots.style import prepare_axes, say_empty

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
