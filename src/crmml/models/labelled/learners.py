"""What learns from the numbers of a ready-made table: logistic, additive, and boosted trees.

All take ``X`` of shape (n_rows, n_features) with NaN for the unknown, ``y`` of 0 and 1, and give a
score on the scale of log-odds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from sklearn.linear_model import LogisticRegression

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError
from crmml.metrics.classification import auc, log_loss
from crmml.models.boosting import Boosting, Trees
from crmml.stats.threads import on_one_thread

STRENGTHS = (0.01, 0.1, 1.0)
"""Inverse penalties that a logistic regression is tried with."""
LEAVES = (6, 20)
"""Sizes of tree that the boosted trees are tried with."""
SMOOTH_FORESTS, FORESTS = 3, 2
"""Over so many draws the additive model, and each kind of boosted trees, are averaged, which ranks
better than one."""
SHARE = 1 / 3
"""Of the additive model in what is served as boosted trees: each of three kinds weighs the same."""
LEAST_GAIN = 0.0005
"""Log loss per customer that pairs of features must save outside."""


class Fitted(Protocol):
    """A fitted learner."""

    def check(self, n_features: int) -> None:
        """Raise a ParameterError unless it takes so many features."""

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

    def check(self, n_features: int) -> None:
        """Raise a ParameterError unless it takes so many features."""
        for name, many in (("centre", 1), ("scale", 1), ("coefficients", 2)):
            values, n = getattr(self, name), many * n_features
            if values.shape != (n,) or not np.isfinite(values).all():
                raise ParameterError(name, f"{n:,} finite numbers", values.tolist())
        if not (self.scale > 0).all() or not np.isfinite(self.intercept):
            raise ParameterError("scale", "positive, and the intercept finite", self.intercept)

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
    """Fitted forests of boosted trees, summed with weights.

    Attributes
    ----------
    parts : tuple of (tuple of int, Trees)
        Features that the trees see, and the trees.
    weights : tuple of float
        Of each part.
    """

    parts: tuple[tuple[tuple[int, ...], Trees], ...]
    weights: tuple[float, ...]

    @classmethod
    def mean(cls, forests: Sequence[Trees], n_features: int) -> Self:
        """Return the mean of forests that see all features."""
        everything = tuple(range(n_features))
        return cls(
            tuple((everything, one) for one in forests), (1.0 / len(forests),) * len(forests)
        )

    def check(self, n_features: int) -> None:
        """Raise a ParameterError unless it takes so many features."""
        if len(self.weights) != len(self.parts) or not np.isfinite(self.weights).all():
            raise ParameterError("weights", f"{len(self.parts):,} finite numbers", self.weights)
        for seen, _ in self.parts:
            if not set(seen) <= set(range(n_features)) or len(set(seen)) < len(seen):
                raise ParameterError("features", f"different ones of {n_features:,}", seen)

    def times(self, share: float) -> Self:
        """Return so much of it."""
        return replace(self, weights=tuple(share * weight for weight in self.weights))

    def plus(self, other: Additive) -> Self:
        """Return the sum of both."""
        return replace(
            self, parts=(*self.parts, *other.parts), weights=(*self.weights, *other.weights)
        )

    def score(self, X: FloatArray) -> FloatArray:
        """Return log-odds, shape (n_rows,)."""
        total = np.zeros(len(X))
        for (seen, trees), weight in zip(self.parts, self.weights, strict=True):
            total += weight * trees.score(X[:, list(seen)])
        return total

    def contributions(self, X: FloatArray) -> FloatArray:
        """Return what each feature adds to the log-odds of the mean customer (TreeSHAP)."""
        found = np.zeros(X.shape)
        for (seen, trees), weight in zip(self.parts, self.weights, strict=True):
            found[:, list(seen)] += weight * trees.contributions(X[:, list(seen)])[:, :-1]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "kind": "additive",
            "weights": list(self.weights),
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
    # models stored by earlier versions have one weight for all
    weights = stored.get("weights") or [stored["weight"]] * len(parts)
    return Additive(tuple(parts), tuple(map(float, weights)))


class LogisticLearner:
    """Regularised logistic regression."""

    name = "logistic"

    @on_one_thread
    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> float:
        """Return the inverse penalty that loses least outside."""

        def loss(strength: float) -> float:
            predicted = np.empty(len(y))
            for one in np.unique(fold):
                inside = fold != one
                predicted[~inside] = self.fit(X[inside], y[inside], strength).score(X[~inside])
            return float(log_loss(y, _logistic(predicted)))

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


class AdditiveLearner:
    """A sum of smooth functions of one feature, and of two where pairs earn their place outside.

    Trees of one split give a function of one feature each; trees two splits deep a function of two
    (Lou, Caruana, Gehrke and Hooker 2013). Cuts are drawn at random and forests are averaged, so
    that the functions are smooth.
    """

    name = "additive"

    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> tuple[int, int]:
        """Return the numbers of rounds with one split, and with two; 0 where pairs do not help."""
        single = _smooth(1).cross_validate(X, y, fold)
        before = float(log_loss(y, _logistic(single.outside)))
        pairs = _smooth(2).cross_validate(X, y, fold, single.outside)
        after = float(log_loss(y, _logistic(single.outside + pairs.outside)))
        return single.rounds, pairs.rounds if after < before - LEAST_GAIN else 0

    def fit(self, X: FloatArray, y: FloatArray, settings: tuple[int, int]) -> Additive:
        """Fit to all rows."""
        rounds, n = settings, X.shape[1]
        seeds = range(SMOOTH_FORESTS)
        found = Additive.mean([_smooth(1, seed).grow(X, y, rounds[0]) for seed in seeds], n)
        if not rounds[1]:
            return found
        offset = found.score(X)
        pairs = [_smooth(2, seed).grow(X, y, rounds[1], offset) for seed in seeds]
        return found.plus(Additive.mean(pairs, n))


class TreeLearner:
    """Boosted trees of two kinds, averaged: with the best cuts, and with cuts drawn at random.

    Their errors differ, so that the mean loses less than either. They are judged and served as a
    mean with the additive model, by :func:`find_share`.
    """

    name = "trees"

    def tune(self, X: FloatArray, y: FloatArray, fold: IntArray) -> tuple[int, int, int]:
        """Return leaves and rounds that lose least outside, and rounds with random cuts."""
        losses = {}
        for leaves in LEAVES:
            found = _trees(leaves).cross_validate(X, y, fold)
            losses[(leaves, found.rounds)] = float(log_loss(y, _logistic(found.outside)))
        leaves, rounds = min(losses, key=lambda setting: losses[setting])
        return leaves, rounds, _random_trees().cross_validate(X, y, fold).rounds

    def fit(self, X: FloatArray, y: FloatArray, settings: tuple[int, int, int]) -> Additive:
        """Fit to all rows."""
        leaves, rounds, random_rounds = settings
        seeds = range(FORESTS)
        forests = [_trees(leaves, seed).grow(X, y, rounds) for seed in seeds]
        forests += [_random_trees(seed).grow(X, y, random_rounds) for seed in seeds]
        return Additive.mean(forests, X.shape[1])


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


def _random_trees(seed: int = 0) -> Boosting:
    return Boosting(
        objective="binary",
        learning_rate=0.1,
        num_leaves=min(LEAVES),
        min_leaf=20,
        ridge=1.0,
        feature_share=0.5,
        random_cuts=True,
        max_rounds=600,
        patience=50,
        seed=seed,
    )


def _smooth(depth: int, seed: int = 0) -> Boosting:
    return Boosting(
        objective="binary",
        learning_rate=0.2,
        num_leaves=2**depth,
        most_depth=depth,
        min_leaf=20,
        ridge=1.0,
        feature_share=0.5,
        random_cuts=True,
        max_rounds=750,
        patience=50,
        seed=seed,
    )


def find_share(additive: FloatArray, trees: FloatArray, y: FloatArray) -> float:
    """Return the share of the additive model in its mean with boosted trees.

    Equal weights of several kinds are hard to beat, and serve better than weights that are fitted;
    but where three columns and more work together, an additive model only does harm. The ranking
    decides: the calibration sets the level right afterwards.

    Parameters
    ----------
    additive, trees : ndarray, shape (n,)
        Log-odds of rows that neither has seen.
    y : ndarray of 0 and 1, shape (n,)

    Returns
    -------
    float
        ``SHARE``, or 0 where the trees alone have the higher AUC.
    """
    both = SHARE * additive + (1 - SHARE) * trees
    return SHARE if auc(y, both) >= auc(y, trees) else 0.0


def _standard(X: FloatArray, centre: FloatArray, scale: FloatArray) -> FloatArray:
    missing = np.isnan(X)
    values = np.clip((np.where(missing, centre, X) - centre) / scale, -10.0, 10.0)
    return np.concatenate([values, missing.astype(np.float64)], axis=1)


def _logistic(score: FloatArray) -> FloatArray:
    return 1.0 / (1.0 + np.exp(-np.clip(score, -40.0, 40.0)))
