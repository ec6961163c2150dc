"""Gradient boosted trees: the one door to LightGBM, with one frozen value of settings.

Shapes in this module: ``X`` is (n_rows, n_features), targets, offsets and folds are (n_rows,).
LightGBM itself stops with an error of its own on an empty set and on counts that are all zero;
here both are refused before, with the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import lightgbm as lgb
import numpy as np

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.exceptions import DataError, TooLittleDataError
from crmml.models.tree_text import read_trees

Objective: TypeAlias = Literal["binary", "multiclass", "poisson", "gamma", "tweedie"]

_MANY = 1_000
"""Rows among which it pays to look for such as are alike."""

_AS_GOOD_AS_ZERO = float(np.float32(1e-35))

_COUNTS = ("poisson", "gamma", "tweedie")
"""Objectives on the scale of logarithms, whose targets may not all be zero."""


@dataclass(frozen=True)
class Trees:
    """Grown trees.

    Attributes
    ----------
    text : str
        In LightGBM's text format: this is what a stored model keeps.
    num_threads : int
        Of the predictions, without effect on them.
    """

    text: str
    num_threads: int = 1

    def score(self, X: FloatArray, *, rounds: int | None = None) -> FloatArray:
        """Return the sum of the leaves, on the scale of the link (log, log-odds), without offset.

        With several classes the shape is (n_rows, n_classes). ``rounds`` takes the first so many
        trees only.
        """
        return self._predict(X, raw_score=True, num_iteration=rounds)

    def mean(self, X: FloatArray) -> FloatArray:
        """Return the expected target; with several classes their probabilities."""
        return self._predict(X)

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the score, and last what is the same for everybody.

        Shape (n_rows, n_features + 1). Tree Shapley values (Lundberg et al. 2020).
        """
        return self._predict(X, pred_contrib=True)

    def _predict(self, X: FloatArray, **how: Any) -> FloatArray:
        booster = _booster(self.text)
        if booster.num_feature() != X.shape[1]:
            rule = f"the {X.shape[1]:,} features that are named beside them"
            raise DataError(
                f"the trees must take {rule}; they take {booster.num_feature():,}",
                table="stored model",
            )
        # Few rows are predicted at once, and need no list of all cuts.
        found = None if len(X) < _MANY else _find_alike(X, _cuts(self.text))
        if found is None:
            return np.asarray(booster.predict(X, num_threads=self.num_threads, **how))
        rows, group = found
        return np.asarray(booster.predict(X[rows], num_threads=self.num_threads, **how))[group]


@lru_cache(maxsize=4)
def _booster(text: str) -> lgb.Booster:
    """Check and read trees once for all batches of customers."""
    return lgb.Booster(model_str=read_trees(text))


@lru_cache(maxsize=4)
def _cuts(text: str) -> dict[int, FloatArray]:
    """List the thresholds at which some tree cuts each feature, rising."""
    found: dict[int, set[float]] = {}
    nodes = [tree["tree_structure"] for tree in _booster(text).dump_model()["tree_info"]]
    while nodes:
        node = nodes.pop()
        if "split_feature" in node:
            found.setdefault(node["split_feature"], set()).add(node["threshold"])
            nodes += [node["left_child"], node["right_child"]]
    # LightGBM may take for missing what is as good as zero.
    zero = (np.nextafter(-_AS_GOOD_AS_ZERO, -1.0), _AS_GOOD_AS_ZERO)
    return {f: np.array(sorted({*cuts, *zero})) for f, cuts in sorted(found.items())}


def _find_alike(X: FloatArray, cuts: dict[int, FloatArray]) -> tuple[IntArray, IntArray] | None:
    """Find rows that no tree tells apart: one of each kind, and the kind of each row.

    None where few of them are alike: then it is faster to predict them all.
    """
    key, size = np.zeros(len(X), dtype=np.int64), 1
    for feature, thresholds in cuts.items():
        size *= len(thresholds) + 2
        if size >= 2**63:
            return None
        values = X[:, feature]
        # a value goes left where it is at most the threshold; missing ones are a kind of their own
        code = np.searchsorted(thresholds, values) + np.isnan(values)
        key = key * (len(thresholds) + 2) + code
    _, rows, group = np.unique(key, return_index=True, return_inverse=True)
    return (rows, group) if len(rows) < len(X) / 2 else None


@dataclass(frozen=True)
class CrossValidation:
    """What folds of customers say about trees.

    Attributes
    ----------
    rounds : int
        Number of rounds that lose least on rows outside, at least 1.
    outside : ndarray, shape (n_rows,)
        Score of each row by the trees that have not seen its fold.
    """

    rounds: int
    outside: FloatArray


@dataclass(frozen=True, kw_only=True)
class Boosting:
    """Settings of gradient boosted trees.

    The same rows in the same order give the same trees, on any number of threads.

    Parameters
    ----------
    objective : {"binary", "multiclass", "poisson", "gamma", "tweedie"}
        Distribution of the target; tweedie has variance power 1.3.
    learning_rate : float
        In (0, 1].
    num_leaves, min_leaf : int
        Leaves of a tree, and the least number of rows in one.
    ridge : float
        L2 penalty on leaf values, >= 0.
    max_rounds : int
        Most rounds; each grows one tree (one per class).
    patience : int
        Search for the number of rounds ends after so many without a gain.
    n_classes : int
        Of ``multiclass``; targets are 0 to ``n_classes - 1``.
    most_depth : int
        Most splits from the root to a leaf; 0 for no bound.
    random_cuts : bool
        Whether a node tries one random cut of each feature instead of all: curves are smoother.
    feature_share : float
        Share of the features that a tree may use, in (0, 1].
    max_bins : int
        Most distinct values of a feature that are told apart.
    num_threads, seed : int
        Threads of the training; seed of the feature sampling.

    Examples
    --------
    >>> X = np.arange(400.0)[:, None]
    >>> trees = Boosting(objective="binary").grow(X, (X[:, 0] > 200).astype(float), rounds=50)
    >>> trees.mean(np.array([[10.0], [390.0]])).round(1).tolist()
    [0.0, 1.0]
    """

    objective: Objective
    learning_rate: float = 0.1
    num_leaves: int = 8
    min_leaf: int = 40
    ridge: float = 10.0
    max_rounds: int = 400
    patience: int = 30
    n_classes: int = 1
    most_depth: int = 0
    random_cuts: bool = False
    feature_share: float = 1.0
    max_bins: int = 255
    num_threads: int = 1
    seed: int = 0

    def grow(
        self, X: FloatArray, y: FloatArray | IntArray, rounds: int, offset: FloatArray | None = None
    ) -> Trees:
        """Grow so many rounds on all rows.

        Raises
        ------
        TooLittleDataError
            If there is no row, or a count is nowhere above zero.
        """
        self._check_rows(y)
        booster = lgb.train(self._parameters(), self._dataset(X, y, offset), rounds)
        return Trees(booster.model_to_string(), self.num_threads)

    def find_rounds(
        self, X: FloatArray, y: FloatArray | IntArray, grow: BoolArray, judge: BoolArray
    ) -> int:
        """Return the number of rounds grown on some rows that loses least on others, at least 1.

        Raises
        ------
        TooLittleDataError
            If there is no row to grow on or none to judge.
        """
        self._check_split(y[grow], y[judge])
        inside = self._dataset(X[grow], y[grow])
        outside = self._dataset(X[judge], y[judge], reference=inside)
        booster = lgb.train(
            self._parameters(),
            inside,
            self.max_rounds,
            valid_sets=[outside],
            callbacks=[lgb.early_stopping(self.patience, verbose=False)],
        )
        return max(1, booster.best_iteration)

    def cross_validate(
        self, X: FloatArray, y: FloatArray, fold: IntArray, offset: FloatArray | None = None
    ) -> CrossValidation:
        """Find the number of rounds by folds, and score each row by the trees of the others.

        Raises
        ------
        TooLittleDataError
            If all rows lie in one fold, or a count is nowhere above zero outside one.
        """
        splits = [
            (np.flatnonzero(fold != one), np.flatnonzero(fold == one)) for one in np.unique(fold)
        ]
        self._check_rows(y)
        for grow, judge in splits:
            self._check_split(y[grow], y[judge])
        found = lgb.cv(
            self._parameters(),
            self._dataset(X, y, offset, free_raw_data=False),
            self.max_rounds,
            folds=splits,
            callbacks=[lgb.early_stopping(self.patience, verbose=False)],
            return_cvbooster=True,
        )
        boosters: Any = found["cvbooster"]
        outside = np.empty(len(y))
        for booster, (_, judge) in zip(boosters.boosters, splits, strict=True):
            outside[judge] = booster.predict(
                X[judge],
                raw_score=True,
                num_iteration=boosters.best_iteration,
                num_threads=self.num_threads,
            )
        return CrossValidation(max(1, boosters.best_iteration), outside)

    def _check_split(self, grow: FloatArray | IntArray, judge: FloatArray | IntArray) -> None:
        if not len(grow) or not len(judge):
            raise TooLittleDataError(
                "boosted trees are grown on some customers and judged on others; got "
                f"{len(grow):,} rows to grow on and {len(judge):,} to judge"
            )
        self._check_rows(grow)

    def _check_rows(self, y: FloatArray | IntArray) -> None:
        if not len(y):
            raise TooLittleDataError("boosted trees need at least one row; got none")
        if self.objective in _COUNTS and not np.sum(y) > 0:
            raise TooLittleDataError(
                f"boosted trees need a target above zero in at least one row; got {len(y):,} rows "
                "without"
            )

    def _parameters(self) -> dict[str, Any]:
        parameters = {
            "objective": self.objective,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_leaf,
            "lambda_l2": self.ridge,
            "feature_fraction": self.feature_share,
            "max_bin": self.max_bins,
            "max_depth": self.most_depth,
            "extra_trees": self.random_cuts,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.num_threads,
            "seed": self.seed,
            "verbosity": -1,
        }
        if self.objective == "multiclass":
            parameters["num_class"] = self.n_classes
        if self.objective == "tweedie":
            parameters["tweedie_variance_power"] = 1.3
        return parameters

    def _dataset(
        self,
        X: FloatArray,
        y: FloatArray | IntArray,
        offset: FloatArray | None = None,
        **more: Any,
    ) -> Any:
        # LightGBM refuses some characters in names (JSON signs), so columns go by number.
        names = [f"f{i}" for i in range(X.shape[1])]
        quiet = {"verbosity": -1, "feature_pre_filter": False, "num_threads": self.num_threads}
        return lgb.Dataset(X, y, init_score=offset, feature_name=names, params=quiet, **more)
