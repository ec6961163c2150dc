"""What each family of features adds to the score of trees: exact Tree Shapley values, by tables.

A tree of a few leaves has a few splits, and all that it says of a row is which of them hold. So the
Shapley values of a tree are a table with one entry for each combination of splits, and a row looks
its entry up: the values of LightGBM's ``pred_contrib``, many times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.models.boosting import Trees
from crmml.models.tree_text import read_trees

_MOST_SPLITS = 10
"""Trees with more splits have too large a table; LightGBM is asked then."""

_BLOCK = 2**14  # rows at a time: small enough for the cache
_ZERO = 1e-35  # LightGBM takes what is smaller for zero


@dataclass(frozen=True)
class _Tree:
    """One tree: splits are numbered from 0, leaves from -1 downwards."""

    feature: IntArray
    threshold: FloatArray
    kind: IntArray
    left: IntArray
    right: IntArray
    value: FloatArray
    rows: FloatArray
    """Training rows at each leaf."""
    above: FloatArray
    """Training rows at each split."""


def family_shares(trees: Trees, X: FloatArray, family: IntArray, n_families: int) -> FloatArray:
    """Return what each family of features adds to the score, and last what all rows share.

    Parameters
    ----------
    trees : Trees
        With one score for each row.
    X : ndarray, shape (n_rows, n_features)
    family : ndarray of int, shape (n_features,)
        The family of each feature, from 0 on.
    n_families : int

    Returns
    -------
    ndarray, shape (n_rows, n_families + 1)
        A row adds up to the trees' score.

    References
    ----------
    Lundberg et al. (2020), Nature Machine Intelligence 2.
    """
    known = _parse(read_trees(trees.text))
    if max((len(tree.feature) for tree in known), default=0) > _MOST_SPLITS:
        by_feature = trees.contributions(X)
        groups = np.eye(n_families)[family]
        return np.column_stack([by_feature[:, :-1] @ groups, by_feature[:, -1]])
    found = np.zeros((n_families + 1, len(X)))
    base, tables = _tables(trees.text)
    found[-1] = base
    columns = np.asfortranarray(X)
    for tree, table in zip(known, tables, strict=True):
        if len(tree.feature):
            _add(found, tree, table, columns, family)
    return np.ascontiguousarray(found.T)


def _add(
    found: FloatArray, tree: _Tree, table: FloatArray, X: FloatArray, family: IntArray
) -> None:
    """Look the values of one tree up, and add them by family."""
    its = family[tree.feature]
    names = np.unique(its)
    # Values are stored by split: the first split on a feature holds that feature's.
    summed = [np.ascontiguousarray(table[:, its == one].sum(axis=1)) for one in names]
    for start in range(0, X.shape[0], _BLOCK):
        rows = slice(start, min(start + _BLOCK, X.shape[0]))
        state = np.zeros(rows.stop - start, dtype=np.int64)
        for bit in range(len(tree.feature)):
            state |= _goes_left(tree, bit, X[rows, tree.feature[bit]]).astype(np.int64) << bit
        for one, values in zip(names, summed, strict=True):
            found[one, rows] += values[state]


def _goes_left(tree: _Tree, split: int, value: FloatArray) -> BoolArray:
    """Decide as LightGBM does: what is missing goes the default way."""
    kind = int(tree.kind[split])
    missing, default_left = (kind >> 2) & 3, bool(kind & 2)
    if missing == 2:
        left = value <= tree.threshold[split]
        return np.asarray(left | np.isnan(value)) if default_left else np.asarray(left)
    value = np.where(np.isnan(value), 0.0, value)
    left = value <= tree.threshold[split]
    if missing == 1:
        left = np.where(np.abs(value) <= _ZERO, default_left, left)
    return np.asarray(left)


@lru_cache(maxsize=8)
def _tables(text: str) -> tuple[float, tuple[FloatArray, ...]]:
    """Return the mean score of the training rows, and the table of each tree."""
    trees = _parse(read_trees(text))
    base = sum(float(np.average(tree.value, weights=tree.rows)) for tree in trees)
    return base, tuple(_table(tree) for tree in trees)


def _table(tree: _Tree) -> FloatArray:
    """Return the Shapley values of a tree for each combination of splits.

    Shape (2 ** n_splits, n_splits); the value of a feature stands at its first split.
    """
    n = len(tree.feature)
    states = np.arange(2**n)
    holds = (states[:, None] >> np.arange(n)) & 1 == 1
    found = np.zeros((2**n, n))
    for leaf, path in _paths(tree) if n else ():
        features = list(dict.fromkeys(tree.feature[split] for split, _ in path))
        ones = np.ones((len(features), 2**n))
        shares = np.ones(len(features))
        for split, left in path:
            place = features.index(tree.feature[split])
            ones[place] *= holds[:, split] == left
            child = tree.left[split] if left else tree.right[split]
            below = tree.above[child] if child >= 0 else tree.rows[-child - 1]
            shares[place] *= below / tree.above[split]
        for place, feature in enumerate(features):
            others = [k for k in range(len(features)) if k != place]
            weight = _weight(ones[others], shares[others])
            first = int(np.flatnonzero(tree.feature == feature)[0])
            found[:, first] += tree.value[leaf] * (ones[place] - shares[place]) * weight
    return found


def _weight(ones: FloatArray, shares: FloatArray) -> FloatArray:
    """Mean over the orders of a feature among others of the weight that those leave to a leaf."""
    d = len(shares)
    powers = np.zeros((d + 1, ones.shape[1]))
    powers[0] = 1.0
    for one, share in zip(ones, shares, strict=True):
        # Multiply by (share + one t): powers of t count the features that are known.
        powers[1:] = powers[1:] * share + powers[:-1] * one
        powers[0] *= share
    orders = [factorial(k) * factorial(d - k) / factorial(d + 1) for k in range(d + 1)]
    return np.asarray(np.array(orders) @ powers)


def _paths(tree: _Tree) -> Sequence[tuple[int, tuple[tuple[int, bool], ...]]]:
    """List the leaves, each with the splits above it and whether it lies left of them."""
    found: list[tuple[int, tuple[tuple[int, bool], ...]]] = []
    todo: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(0, ())]
    while todo:
        node, path = todo.pop()
        for child, left in ((tree.left[node], True), (tree.right[node], False)):
            below = (*path, (node, left))
            if child >= 0:
                todo.append((int(child), below))
            else:
                found.append((int(-child - 1), below))
    return found


@lru_cache(maxsize=8)
def _parse(checked: str) -> tuple[_Tree, ...]:
    """Read trees from a text that was put together by :func:`read_trees`."""
    blocks = checked.split("\nTree=")[1:]
    return tuple(_parse_one(block.partition("end of trees")[0]) for block in blocks)


def _parse_one(block: str) -> _Tree:
    lines = dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
    numbers = {key: np.array(text.split(), dtype=np.float64) for key, text in lines.items()}
    whole = ("split_feature", "decision_type", "left_child", "right_child")
    feature, kind, left, right = (numbers[key].astype(np.int64) for key in whole)
    rows = numbers["leaf_count"]
    return _Tree(
        feature=feature,
        threshold=numbers["threshold"],
        kind=kind,
        left=left,
        right=right,
        value=numbers["leaf_value"],
        rows=rows if rows.sum() else np.ones(len(rows)),
        above=numbers["internal_count"],
    )
