"""Acquisition cohorts: a triangle in which what has not been lived through yet stays grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter

from crmml.plots.style import BLUE, prepare_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NOT_YET = "#dddddd"
_MOST_WRITTEN = 14
"""Ages, or cohorts, up to which each field says its figure."""


def plot_cohort_retention(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw retention by acquisition cohort and age; the model's expectation in the lowest row.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.segments.compute_cohort_retention`.
    ax : Axes, optional
        Where to draw.
    """
    ax = prepare_axes(
        ax,
        title="Retention by acquisition cohort",
        x="age in periods (grey: not lived through yet)",
        y="",
    )
    wide = table["retention"].unstack("age")
    names = [f"{start:%Y-%m-%d}" for start in wide.index]
    size = table["customers"].groupby("cohort").first().astype(int)
    labels = [f"{name}  ({n:,})" for name, n in zip(names, size, strict=True)]
    values = wide.to_numpy(dtype=np.float64)
    if "expected_retention" in table:
        expected = table["expected_retention"].groupby("age").first().to_numpy()
        values = np.vstack([values, expected])
        labels.append("expected by the model")
    shades = LinearSegmentedColormap.from_list("retention", ["#ffffff", BLUE])
    colours = shades.with_extremes(bad=_NOT_YET)
    # everybody buys at the age 0; the scale is that of the ages after it
    later = values[:, 1:]
    top = float(np.nanmax(later)) if np.isfinite(later).any() else 1.0
    image = ax.imshow(
        np.ma.masked_invalid(values), aspect="auto", cmap=colours, vmin=0.0, vmax=max(top, 1e-9)
    )
    ax.set_yticks(range(len(labels)), labels)
    ax.set_xticks(range(0, values.shape[1], 1 + values.shape[1] // 25))
    ax.grid(visible=False)
    if "expected_retention" in table:
        ax.axhline(len(labels) - 1.5, color="white", linewidth=4)
    if values.shape[1] <= _MOST_WRITTEN and len(labels) <= _MOST_WRITTEN + 1:
        for (row, age), share in np.ndenumerate(values):
            if np.isfinite(share):
                ink = "white" if share > 0.6 * top else "black"
                ax.text(age, row, f"{share:.0%}", ha="center", va="center", color=ink, fontsize=7)
    bar = ax.figure.colorbar(image, ax=ax, format=PercentFormatter(1.0, decimals=0))
    bar.set_label("share that bought")
    return ax
