"""Picture of the strategy map: four bands from actions to profit, and the links between them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from crmml.plots.style import BLUE, GREY, RED, prepare_axes

_BANDS = ("profit", "retention", "experience and loyalty", "actions")
_HEIGHTS = {"profit": 3.0, "retention": 2.0, "experience": 1.0, "loyalty": 1.0}
_PLACES = {"profit": 0.62, "retention": 0.38, "experience": 0.08, "loyalty": 0.92}
_SIZE = (9.0, 6.2)
_MOST_ACTIONS = 5


def plot_strategy_map(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw measured links as arrows between four bands: actions below, profit above.

    Links beyond chance are told with their effect and 95 % interval, those of an action in
    its box; the others are thin and grey. Solid lines are experiments, dashed ones associations.
    What was not measured is not drawn.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.scorecard.compute_strategy_map`.
    ax : Axes, optional
        Where to draw.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=_SIZE, layout="constrained")
    ax = prepare_axes(ax, title="Strategy map: measured links", x="", y="")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.55, 3.5), xticks=[])
    ax.set_yticks([3, 2, 1, 0], _BANDS)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    for height in (1, 3):
        ax.axhspan(height - 0.5, height + 0.5, color="#f2f4f6", zorder=0)
    actions = [name for name in dict.fromkeys(table["source"]) if name not in _HEIGHTS]
    if len(actions) > _MOST_ACTIONS:
        surest = table[table["source"].isin(actions)].groupby("source")["p_value"].min()
        first = [*surest.sort_values(kind="stable").index[:_MOST_ACTIONS]]
        ax.set_xlabel(f"and {len(actions) - _MOST_ACTIONS} more actions in the table")
        actions = [name for name in actions if name in first]
        table = table[table["source"].isin([*actions, *_HEIGHTS])]
    at = {name: (_PLACES[name], _HEIGHTS[name]) for name in _HEIGHTS}
    at |= {name: ((k + 0.5) / len(actions), 0.0) for k, name in enumerate(actions)}
    drawn = table[table["effect"].notna()].sort_values("beyond_chance", kind="stable")
    for row in drawn.to_dict("records"):
        _arrow(ax, row, at, told=row["source"] in _HEIGHTS)
    for name, place in at.items():
        used = name in {*drawn["source"], *drawn["target"]}
        color = "#222222" if used else GREY
        sure = drawn[(drawn["source"] == name) & drawn["beyond_chance"]].to_dict("records")
        text = (
            [name]
            if name in _HEIGHTS
            else [name, *(f"{r['target']} {_say(r, apart=True)}" for r in sure)]
        )
        ax.text(*place, "\n".join(text), ha="center", va="center", zorder=4, fontsize=8.5,
                color=color, bbox={"boxstyle": "round,pad=0.4", "facecolor": "white",
                                   "edgecolor": color})  # fmt: skip
    kinds = [
        Line2D([], [], color=BLUE, label="raises (experiment)"),
        Line2D([], [], color=BLUE, linestyle="--", label="goes with more (association)"),
        Line2D([], [], color=RED, label="lowers, or goes with less"),
        Line2D([], [], color=GREY, linewidth=0.8, label="may be chance"),
    ]
    ax.legend(handles=kinds, loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=4,
              frameon=False, fontsize="small")  # fmt: skip
    return ax


def _arrow(
    ax: Axes, row: Mapping[Hashable, Any], at: dict[str, tuple[float, float]], *, told: bool
) -> None:
    start, end = at[row["source"]], at[row["target"]]
    sure = bool(row["beyond_chance"])
    color = GREY if not sure else BLUE if row["effect"] > 0 else RED
    style = {
        "arrowstyle": "-|>", "color": color, "linewidth": 1.8 if sure else 0.8, "shrinkA": 14,
        "linestyle": "-" if row["evidence"] == "experiment" else "--", "shrinkB": 14,
    }  # fmt: skip
    ax.annotate("", end, start, zorder=3 if sure else 2, arrowprops=style)
    if sure and told:
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        ax.text(*middle, _say(row), ha="center", va="center", fontsize=8.5, color=color, zorder=5,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip


def _say(row: Mapping[Hashable, Any], *, apart: bool = False) -> str:
    write = "{:+.1%}" if row["target"] == "retention" else "{:+.2g}"
    effect, lower, upper = (write.format(row[name]) for name in ("effect", "lower", "upper"))
    return f"{effect} ({lower} to {upper})".replace(" ", "\n" if apart else " ", 1)
