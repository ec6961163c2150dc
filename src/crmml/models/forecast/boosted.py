"""Trees alone: forecasts of purchases and spend learned on the snapshot features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray, IntArray
from crmml.exceptions import (
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features, feature_matrix
from crmml.features.snapshot import Snapshot
from crmml.features.windows import customer_folds
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.boosting import Boosting, Objective, Trees
from crmml.models.fits import Fits
from crmml.models.forecast.forecaster import Forecaster, in_order, keyed
from crmml.stats.discounting import in_units


class TreeSettings(Protocol):
    """Settings of the trees of a forecaster."""

    learning_rate: float
    num_leaves: int
    min_leaf: int
    ridge: float
    max_rounds: int
    num_threads: int
    seed: int


def boosting_of(settings: TreeSettings, objective: Objective) -> Boosting:
    """Trees on the registered snapshot features; the same settings for all kinds."""
    return Boosting(
        objective=objective,
        learning_rate=settings.learning_rate,
        num_leaves=settings.num_leaves,
        min_leaf=settings.min_leaf,
        ridge=settings.ridge,
        max_rounds=settings.max_rounds,
        patience=25,
        feature_share=0.7,
        num_threads=settings.num_threads,
        seed=settings.seed,
    )


@dataclass(frozen=True)
class Rows:
    """Customers of the training windows: features, and what they bought.

    Attributes
    ----------
    X : ndarray, shape (n_rows, n_features)
    purchases, spend : ndarray, shape (n_rows,)
    fold : ndarray of int, shape (n_rows,)
        Who is left out together.
    customer : ndarray of int, shape (n_rows,)
        Which rows belong to one customer.
    offset : ndarray, shape (n_rows,), optional
        Logarithm of what was expected.
    """

    X: FloatArray
    purchases: FloatArray
    spend: FloatArray
    fold: IntArray
    customer: IntArray
    offset: FloatArray | None = None

    def subset(self, keep: BoolArray) -> Rows:
        """Keep some rows."""
        return Rows(
            self.X[keep],
            self.purchases[keep],
            self.spend[keep],
            self.fold[keep],
            self.customer[keep],
            None if self.offset is None else self.offset[keep],
        )


def gather(
    parts: Sequence[LabelledSnapshot],
    features: Sequence[str],
    seed: int,
    offsets: Sequence[FloatArray] | None = None,
) -> Rows:
    """Stack the training windows."""
    ids = [part.snapshot.customer_id for part in parts]
    # A customer is in several windows: one code, so that no fold judges who was learned from.
    codes, _ = pd.factorize(np.concatenate([np.asarray(one, dtype=object) for one in ids]))
    outcomes = pd.concat([part.outcomes[["purchases", "spend"]] for part in parts])
    return Rows(
        X=np.concatenate([feature_matrix(part.snapshot, features) for part in parts]),
        purchases=outcomes["purchases"].to_numpy(dtype=np.float64),
        # Returns can exceed purchases; the distributions of the trees have no negative values.
        spend=outcomes["spend"].to_numpy(dtype=np.float64).clip(0.0),
        fold=np.concatenate([customer_folds(one, 3, seed=seed) for one in ids]),
        customer=codes.astype(np.int64),
        offset=None if offsets is None else np.concatenate(offsets),
    )


class BoostedForecaster(Forecaster):
    """LightGBM alone, on the snapshot features.

    Parameters
    ----------
    kind : {"tweedie", "hurdle"}
        Tweedie regression of purchases and of spend; or P(any purchase) times the mean of those
        who buy.
    horizon : str or Duration
        How far to look ahead. Training windows must have this very horizon.
    learning_rate, num_leaves, min_leaf, ridge, max_rounds, num_threads, seed
        Of the trees; their number is found by folds of customers, at most ``max_rounds``.

    Attributes
    ----------
    boosters_ : dict of str to str
        The trees in LightGBM's text format.
    features_ : list of str
        Columns used.
    """

    complexity = 3
    _state = ("boosters_", "features_")
    boosters_: dict[str, str]
    features_: list[str]

    def __init__(
        self,
        *,
        kind: Literal["tweedie", "hurdle"] = "tweedie",
        horizon: str | Duration,
        learning_rate: float = 0.05,
        num_leaves: int = 4,
        min_leaf: int = 50,
        ridge: float = 50.0,
        max_rounds: int = 300,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.horizon = horizon
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_leaf = min_leaf
        self.ridge = ridge
        self.max_rounds = max_rounds
        self.num_threads = num_threads
        self.seed = seed
        self.kind = kind

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Grow the trees on the training windows."""
        check_snapshot(snapshot, self)
        check_history(windows, self)
        del fits
        if self.kind not in ("tweedie", "hurdle"):
            raise ParameterError("kind", "'tweedie' or 'hurdle'", self.kind)
        # Trees cannot be stretched to another horizon as a process can.
        wanted = in_units(self.horizon, snapshot.time_unit)
        fitting = [
            part
            for part in in_order(snapshot, windows)
            if in_units(part.window.horizon, snapshot.time_unit) == wanted
        ]
        if not fitting:
            raise TooLittleDataError(
                f"boosted trees learn from outcome windows of {self.horizon} that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        self.features_ = choose_features(fitting)
        rows = gather(fitting, self.features_, self.seed)
        if self.kind == "tweedie":
            self.boosters_ = {
                "purchases": self._grow("tweedie", rows, rows.purchases),
                "spend": self._grow("tweedie", rows, rows.spend),
            }
            return self
        bought = rows.purchases > 0
        # Less would not allow a single split.
        if bought.sum() < 2 * self.min_leaf:
            raise TooLittleDataError(
                f"a hurdle model needs at least {2 * self.min_leaf} buyers in its windows; got "
                f"{int(bought.sum())}"
            )
        buyers = rows.subset(bought)
        self.boosters_ = {
            "any": self._grow("binary", rows, bought.astype(np.float64)),
            "purchases": self._grow("poisson", buyers, buyers.purchases),
            # A Gamma variable is positive; a cent stands for purchases that were wholly returned.
            "spend": self._grow("gamma", buyers, np.maximum(buyers.spend, 0.01)),
        }
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        X = feature_matrix(snapshot, self.features_)
        purchases, spend = (np.exp(self._score(name, X)) for name in ("purchases", "spend"))
        if self.kind == "hurdle":
            any_ = 1.0 / (1.0 + np.exp(-self._score("any", X)))
            purchases, spend = any_ * purchases, any_ * spend
        return keyed(snapshot, purchases, spend)

    def _grow(self, objective: Objective, rows: Rows, target: FloatArray) -> str:
        """Find the number of trees, grow them on all rows, and return them as text."""
        boosting = boosting_of(self, objective)
        found = boosting.cross_validate(rows.X, target, rows.fold, rows.offset)
        return boosting.grow(rows.X, target, found.rounds, rows.offset).text

    def _score(self, name: str, matrix: FloatArray) -> FloatArray:
        return Trees(self.boosters_[name], self.num_threads).score(matrix)
