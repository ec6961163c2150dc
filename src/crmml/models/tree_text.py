"""Stored trees are read strictly and written anew before LightGBM sees them.

LightGBM trusts its own text format: a size, a count or an index that does not fit ends the whole
process instead of raising. So every number is checked here, and LightGBM is given a text that was
put together from the checked parts alone.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

import numpy as np

from crmml._typing import IntArray
from crmml.exceptions import BundleError

_OBJECTIVES = ("binary", "multiclass", "poisson", "gamma", "tweedie")
_MOST_LEAVES, _DEEPEST, _MOST_FEATURES = 4096, 500, 10_000
_OF_SPLITS = (
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "internal_value",
    "internal_weight",
    "internal_count",
)
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_KEYS = (
    *("num_leaves", "num_cat", "split_feature", "split_gain", "threshold", "decision_type"),
    *("left_child", "right_child", "leaf_value", "leaf_weight", "leaf_count"),
    *("internal_value", "internal_weight", "internal_count", "is_linear", "shrinkage"),
)
"""Lines of a tree in LightGBM's own order."""

_INTEGER = re.compile(r"-?\d{1,10}")
_NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_OBJECTIVE = re.compile(r"([a-z]+)(?: sigmoid:1| num_class:(\d{1,4})| tweedie[a-z_]*:[\d.]+)?")
_FEATURE = re.compile(r"none|\[-?[\d.e+-]{1,40}:-?[\d.e+-]{1,40}\]")


@lru_cache(maxsize=32)
def read_trees(text: str) -> str:
    """Check a model in LightGBM's text format and write it anew.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` writes it: numeric splits and constant leaves, as all models
        of this package have.

    Returns
    -------
    str
        The same trees, without anything that predictions do not need.

    Raises
    ------
    BundleError
        If the text is anything else; the sentence names the tree and the line.
    """
    head, *blocks = re.split(r"\n+(?=Tree=)", text.partition("\nend of trees")[0])
    facts = _read_lines(head.removeprefix("tree\n"), "the head")
    n_classes, n_features = _check_head(facts, len(blocks))
    trees = [_read_tree(block, number, n_features) for number, block in enumerate(blocks)]
    lines = [
        "tree",
        "version=v4",
        f"num_class={n_classes}",
        f"num_tree_per_iteration={n_classes}",
        "label_index=0",
        f"max_feature_idx={n_features - 1}",
        f"objective={facts['objective']}",
        "feature_names=" + " ".join(f"f{i}" for i in range(n_features)),
        f"feature_infos={facts['feature_infos']}",
        "tree_sizes=" + " ".join(str(len(tree)) for tree in trees),
    ]
    return "\n".join(lines) + "\n\n" + "".join(trees) + "end of trees\n"


def _read_lines(block: str, where: str) -> dict[str, str]:
    lines = [line for line in block.strip("\n").split("\n") if line]
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    if len(found) != len(lines):
        raise BundleError(f"stored trees: {where} must hold one key=value a line, each key once")
    return found


def _check_head(facts: dict[str, str], n_trees: int) -> tuple[int, int]:
    """Return the numbers of classes and features."""
    n_classes = _whole(facts.get("num_class"), "num_class", 1, 1000)
    n_features = 1 + _whole(facts.get("max_feature_idx"), "max_feature_idx", 0, _MOST_FEATURES)
    objective = _OBJECTIVE.fullmatch(facts.get("objective", ""))
    if objective is None or objective[1] not in _OBJECTIVES:
        raise BundleError(f"stored trees: the objective must be one of {', '.join(_OBJECTIVES)}")
    if objective[1] == "multiclass":
        told = _whole(objective[2], "num_class of the objective", 2, 1000)
    else:
        told = 1
    ranges = facts.get("feature_infos", "").split(" ")
    if len(ranges) != n_features or not all(_FEATURE.fullmatch(one) for one in ranges):
        raise BundleError(f"stored trees: feature_infos must be {n_features} ranges of numbers")
    if told != n_classes or facts.get("num_tree_per_iteration") != str(n_classes):
        raise BundleError("stored trees: the numbers of classes in the head contradict each other")
    if not n_trees or n_trees % n_classes:
        raise BundleError(
            f"stored trees: there must be one tree for each of {n_classes} classes a round; got "
            f"{n_trees} trees"
        )
    return n_classes, n_features


def _read_tree(block: str, number: int, n_features: int) -> str:
    where = f"tree {number}"
    first, _, rest = block.partition("\n")
    found = _read_lines(rest, where)
    if first != f"Tree={number}" or set(found) != set(_KEYS):
        raise BundleError(f"stored trees: {where} must have its number and the usual lines only")
    n_leaves = _whole(found["num_leaves"], f"num_leaves of {where}", 1, _MOST_LEAVES)
    for key in ("num_cat", "is_linear"):
        _whole(found[key], f"{key} of {where}", 0, 0)
    _numbers(found["shrinkage"], f"shrinkage of {where}", 1)
    n_splits = n_leaves - 1
    for key in _OF_SPLITS:
        # A split that only sets missing values apart lies at infinity.
        endless = key in ("threshold", "split_gain")
        _numbers(found[key], f"{key} of {where}", n_splits, endless=endless)
    for key in _OF_LEAVES:  # a tree of one leaf leaves its weight out
        may_lack = n_leaves == 1 and key == "leaf_weight" and not found[key]
        _numbers(found[key], f"{key} of {where}", 0 if may_lack else n_leaves)
    _integers(found["split_feature"], f"split_feature of {where}", 0, n_features - 1)
    kinds = _integers(found["decision_type"], f"decision_type of {where}", 0, 15)
    if np.any(kinds % 2):
        raise BundleError(f"stored trees: {where} splits by categories, which is not read")
    for key in ("internal_count", "leaf_count"):
        _integers(found[key], f"{key} of {where}", 0, 2**31 - 1)
    left = _integers(found["left_child"], f"left_child of {where}", -n_leaves, n_splits - 1)
    right = _integers(found["right_child"], f"right_child of {where}", -n_leaves, n_splits - 1)
    _check_shape(left, right, where)
    return "\n".join([first, *(f"{key}={found[key]}" for key in _KEYS), "", "", ""])


def _check_shape(left: IntArray, right: IntArray, where: str) -> None:
    """Check that the children make one tree: each node and leaf has one parent, none is deep.

    Inner nodes count from 0, leaves from -1 downwards. LightGBM numbers a child after its parent,
    so one pass in order finds all depths, and there can be no circle.
    """
    n_splits = len(left)
    children = np.concatenate([left, right])
    parents = np.concatenate([np.arange(n_splits), np.arange(n_splits)])
    inner = children >= 0
    each = [*range(-n_splits - 1, 0), *range(1, n_splits)]  # the root, 0, is nobody's child
    once = n_splits == 0 or np.array_equal(np.sort(children), each)
    if not once or np.any(children[inner] <= parents[inner]):
        raise BundleError(f"stored trees: the children of {where} do not make one tree")
    depth = np.zeros(n_splits, dtype=np.int64)
    for node in range(n_splits):
        for child in (left[node], right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    if n_splits and depth.max() > _DEEPEST:
        raise BundleError(f"stored trees: {where} must be at most {_DEEPEST} splits deep")


def _whole(text: str | None, what: str, least: int, most: int) -> int:
    if text is None or not _INTEGER.fullmatch(text) or not least <= int(text) <= most:
        raise BundleError(
            f"stored trees: {what} must be a whole number from {least} to {most}; got {text!r:.40}"
        )
    return int(text)


def _words(text: str) -> list[str]:
    return text.split(" ") if text else []


def _numbers(text: str, what: str, count: int, *, endless: bool = False) -> None:
    words = _words(text)
    if len(words) != count:
        raise BundleError(f"stored trees: {what} must be {count} numbers; got {len(words)}")
    for word in words:
        if endless and word in ("inf", "-inf"):
            continue
        if not _NUMBER.fullmatch(word) or not math.isfinite(float(word)):
            raise BundleError(f"stored trees: {what} must be finite numbers; got {word!r:.40}")


def _integers(text: str, what: str, least: int, most: int) -> IntArray:
    return np.array([_whole(word, what, least, most) for word in _words(text)], dtype=np.int64)
