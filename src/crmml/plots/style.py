"""One look for all pictures: colours safe for colour blindness, axes, and names in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008), "Color Universal Design".
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#222222", "#999999"
CYCLE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
"""Line styles, which tell models apart where curves lie on each other or colours are lost."""

_MODELS = {
    "bg_nbd": "BG/NBD",
    "mbg_nbd": "MBG/NBD",
    "pareto_nbd": "Pareto/NBD",
    "regular": "regular buyers (MBG/CNBD-k)",
    "heuristic": "past rate x recency rule",
    "tweedie": "boosted trees (Tweedie)",
    "hurdle": "boosted trees (hurdle)",
    "hybrid": "trees fed by a purchase process",
    "blend": "weighted blend",
    "own_mean": "own mean spend",
    "gamma_gamma": "Gamma-Gamma",
}
_VARIANTS = {
    "_left_censored": "with older customers apart",
    "_left_censored_half": "with customers of the first half apart",
    "_calendar": "with the calendar",
    "_newcomer": "with a rate for newcomers",
    "_plain": "without clocks",
}


def model_label(name: str) -> str:
    """Write the name of a candidate in plain words; unknown names stay as they are.

    Examples
    --------
    >>> model_label("lifetimes_bg_nbd"), model_label("bg_nbd/own_mean"), model_label("my model")
    ('BG/NBD (lifetimes)', 'BG/NBD, own mean spend', 'my model')
    """
    purchases, slash, spend = name.partition("/")
    if slash:
        return f"{model_label(purchases)}, {model_label(spend)}"
    for suffix, meaning in _VARIANTS.items():
        if name.endswith(suffix):
            return f"{model_label(name.removesuffix(suffix))} {meaning}"
    own = name.removeprefix("lifetimes_")
    return f"{_MODELS.get(own, own)} (lifetimes)" if own != name else _MODELS.get(name, name)


def prepare_axes(ax: Axes | None, *, title: str, x: str, y: str) -> Axes:
    """Take the given axes or make new ones, with title, labels and a light grid."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def say_empty(ax: Axes, text: str) -> Axes:
    """Write into empty axes why nothing is drawn."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#666666")
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    return ax


def mark(ax: Axes, x: Any, text: str, *, at_top: bool = True) -> None:
    """Draw a vertical line with its meaning beside it."""
    ax.axvline(x, color=GREY, linewidth=1)
    height, offset, align = (1.0, -2, "top") if at_top else (0.0, 4, "bottom")
    ax.annotate(text, (x, height), xycoords=("data", "axes fraction"), xytext=(4, offset),
                textcoords="offset points", va=align, color="#666666", fontsize=9)  # fmt: skip
