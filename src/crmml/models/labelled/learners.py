"""What learns from the numbers of a ready-made table: logistic, additive, and boosted trees.

All take ``X`` of shape (n_rows, n_features) with NaN for the unknown, ``y`` of 0 and 1, and give a
score on the scale of log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression

from crmml._typing import FloatArray, IntArray
from crmml.metrics.classification import log_loss
from crmml.models.boosting import Boosting, Trees
from crmml.stats.threads import on_one_thread

STRENGTHS = (0.01, 0.1, 1.0)
"""Inverse penalties that a logistic regression is tried with."""
MOST_PAIRS, PAIR_FEATURES, PAIR_ROUNDS = 5, 6, 40
LEAVES = (6, 20)
"""Sizes of tree that the boosted trees are tried with."""
FORESTS = 5
"""Over so many draws of the features boosted trees are averaged, which ranks better than one."""
_MAIN = {"learning_rate": 0.1, "num_leaves": 2, "min_leaf": 20, "ridge": 1.0, "max_rounds": 600}


class Fitted(Protocol):
    """A fitted learner."""

    def score(self, X: FloatArray) -> FloatArray:
        """Return log-odds, shape (n_rows,)."""

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log-odds, shape (n_rows, n_features)."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""


class Learner(Protocol):
    """A learner whose settings are found once, before it is fitted to the folds."""

    name: str

    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> Any:
        """Return the settings that lose least on rows outside their fold."""

    def fit(self, X: FloatArray, y: FloatArray, settings: Any) -> Fitted:
        """Fit to all rows."""


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression on standardised numbers; what is missing has a term of its own.

    Attributes
    ----------
    centre, scale : ndarray, shape (n_features,)
    coefficients : ndarray, shape (2 * n_features,)
        Of the numbers, then of what is missing.
    intercept : float
    """

    centre: FloatArray
    scale: FloatArray
    coefficients: FloatArray
    intercept: float

    def score(self, X: FloatArray) -> FloatArray:
        """Return log-odds, shape (n_rows,)."""
        return np.asarray(self._terms(X).sum(axis=1) + self.intercept)

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log-odds of the mean customer."""
        terms, n = self._terms(X), X.shape[1]
        return np.asarray(terms[:, :n] + terms[:, n:])

    def _terms(self, X: FloatArray) -> FloatArray:
        # row by row, so that a customer's score does not depend on the batch
        return _standard(X, self.centre, self.scale) * self.coefficients

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "kind": "logistic",
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "coefficients": self.coefficients.tolist(),
            "intercept": self.intercept,
        }


@dataclass(frozen=True)
class Additive:
    """Fitted trees of one split each, summed, and trees over a few pairs of features.

    Attributes
    ----------
    parts : tuple of (tuple of int, Trees)
        Features that the trees see, and the trees; the first part sees all, one at a time.
    weight : float
        Of each part: 1 where they add up, less where they are averaged.
    """

    parts: tuple[tuple[tuple[int, ...], Trees], ...]
    weight: float = 1.0

    def score(self, X: FloatArray) -> FloatArray:
        """Return log-odds, shape (n_rows,)."""
        total = sum(trees.score(X[:, list(seen)]) for seen, trees in self.parts)
        return np.asarray(self.weight * total)

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log-odds of the mean customer (TreeSHAP)."""
        found = np.zeros(X.shape)
        for seen, trees in self.parts:
            found[:, list(seen)] += trees.contributions(X[:, list(seen)])[:, :-1]
        return self.weight * found

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "kind": "additive",
            "weight": self.weight,
            "parts": [{"features": list(seen), "trees": t.text} for seen, t in self.parts],
        }


def learner_from_dict(stored: Mapping[str, Any]) -> Fitted:
    """Rebuild a fitted learner."""
    if stored["kind"] == "logistic":
        arrays = [
            np.array(stored[name], dtype=np.float64) for name in ("centre", "scale", "coefficients")
        ]
        return Logistic(arrays[0], arrays[1], arrays[2], float(stored["intercept"]))
    parts = [(tuple(map(int, p["features"])), Trees(p["trees"])) for p in stored["parts"]]
    return Additive(tuple(parts), float(stored["weight"]))


class LogisticLearner:
    """Regularised logistic regression."""

    name = "logistic"

    @on_one_thread
    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> float:
        """Return the inverse penalty that loses least outside."""

        def loss(strength: float) -> float:
            said = np.empty(len(y))
            for one in np.unique(fold):
                inside = fold != one
                said[~inside] = self.fit(X[inside], y[inside], strength).score(X[~inside])
            return float(log_loss(y, _logistic(said)))

        return min(STRENGTHS, key=loss)

    @on_one_thread
    def fit(self, X: FloatArray, y: FloatArray, settings: float) -> Logistic:
        """Fit to all rows."""
        known = np.isfinite(X)
        n = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, X, 0.0).sum(axis=0) / n
        spread = np.sqrt((np.where(known, X - centre, 0.0) ** 2).sum(axis=0) / n)
        scale = np.where(spread > 1e-12, spread, 1.0)
        model = LogisticRegression(C=settings, max_iter=2000, tol=1e-6)
        model.fit(_standard(X, centre, scale), y)
        return Logistic(centre, scale, model.coef_[0].copy(), float(model.intercept_[0]))


PairSettings: TypeAlias = tuple[int, tuple[tuple[int, int], ...]]


class AdditiveLearner:
    """Boosted trees of one split each, and a few pairs that earn their place outside."""

    name = "additive"

    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> PairSettings:
        """Return the number of rounds, and the pairs of features that lose less outside."""
        found = Boosting(objective="binary", **_MAIN).cross_validate(X, y, fold)  # type: ignore[arg-type]
        trees = Boosting(objective="binary", **_MAIN).grow(X, y, found.rounds)  # type: ignore[arg-type]
        weight = np.abs(trees.contributions(X)[:, :-1]).mean(axis=0)
        leading = sorted(np.argsort(-weight, kind="stable")[:PAIR_FEATURES].tolist())
        outside = found.outside
        pairs: list[tuple[int, int]] = []
        before = float(log_loss(y, _logistic(outside)))
        judged = fold == fold.min()
        gains = {}
        for pair in combinations(leading, 2):
            added = _pair(X[~judged], y[~judged], pair, outside[~judged]).score(X[judged][:, pair])
            first = float(log_loss(y[judged], _logistic(outside[judged])))
            gains[pair] = first - float(log_loss(y[judged], _logistic(outside[judged] + added)))
        for pair in sorted(gains, key=lambda p: -gains[p])[: 2 * MOST_PAIRS]:
            added = np.empty(len(y))
            for one in np.unique(fold):
                inside = fold != one
                terms = _pair(X[inside], y[inside], pair, outside[inside])
                added[~inside] = terms.score(X[~inside][:, pair])
            after = float(log_loss(y, _logistic(outside + added)))
            if after < before - 0.0005 and len(pairs) < MOST_PAIRS:
                outside, before = outside + added, after
                pairs.append(pair)
        return found.rounds, tuple(pairs)

    def fit(self, X: FloatArray, y: FloatArray, settings: PairSettings) -> Additive:
        """Fit to all rows."""
        rounds, pairs = settings
        main = Boosting(objective="binary", **_MAIN).grow(X, y, rounds)  # type: ignore[arg-type]
        parts: list[tuple[tuple[int, ...], Trees]] = [(tuple(range(X.shape[1])), main)]
        offset = main.score(X)
        for pair in pairs:
            terms = _pair(X, y, pair, offset)
            offset = offset + terms.score(X[:, pair])
            parts.append((pair, terms))
        return Additive(tuple(parts))


class TreeLearner:
    """Boosted trees, the mean of several forests that draw their features differently."""

    name = "trees"

    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> tuple[int, int]:
        """Return leaves and rounds that lose least outside."""
        losses = {}
        for leaves in LEAVES:
            found = _trees(leaves).cross_validate(X, y, fold)
            losses[(leaves, found.rounds)] = float(log_loss(y, _logistic(found.outside)))
        return min(losses, key=lambda setting: losses[setting])

    def fit(self, X: FloatArray, y: FloatArray, settings: tuple[int, int]) -> Additive:
        """Fit to all rows."""
        leaves, rounds = settings
        everything = tuple(range(X.shape[1]))
        forests = (_trees(leaves, seed).grow(X, y, rounds) for seed in range(FORESTS))
        return Additive(tuple((everything, forest) for forest in forests), 1 / FORESTS)


LEARNERS: tuple[Learner, ...] = (LogisticLearner(), AdditiveLearner(), TreeLearner())
"""The simplest first."""


def _trees(leaves: int, seed: int = 0) -> Boosting:
    return Boosting(
        objective="binary",
        learning_rate=0.06,
        num_leaves=leaves,
        min_leaf=20,
        ridge=5.0,
        feature_share=0.5,
        max_rounds=600,
        seed=seed,
    )


def _pair(X: FloatArray, y: FloatArray, pair: tuple[int, int], offset: FloatArray) -> Trees:
    how = Boosting(objective="binary", learning_rate=0.1, num_leaves=4, min_leaf=20, ridge=5.0)
    return how.grow(X[:, pair], y, PAIR_ROUNDS, offset)


def _standard(X: FloatArray, centre: FloatArray, scale: FloatArray) -> FloatArray:
    missing = np.isnan(X)
    values = np.clip((np.where(missing, centre, X) - centre) / scale, -10.0, 10.0)
    return np.concatenate([values, missing.astype(np.float64)], axis=1)


def _logistic(score: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-np.clip(score, -40.0, 40.0)))
