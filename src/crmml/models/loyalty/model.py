"""Loyalty: the class now is a fact of the wallet; the class a step later is a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import CrmmlError, TooLittleDataError
from crmml.features.wallet import LOYALTY_CLASSES, ReferencePopulation, Wallet
from crmml.features.windows import customer_folds
from crmml.models.arguments import check_wallet, check_wallets
from crmml.models.boosting import Boosting, Trees
from crmml.models.estimator import Estimator
from crmml.models.forecast.baselines import TransitionMatrix, class_positions, persistence
from crmml.models.loyalty.evaluation import LoyaltyEvaluation, choose_published, evaluate_loyalty
from crmml.models.loyalty.history import Pair, evidence_of, in_order

WINDOWS_NEEDED = 3
"""One pair of windows to learn from and a later one to judge on."""

FEATURES = (
    "share",
    "rival_share",
    "share_before",
    "occasions",
    "spend",
    "need",
    "past_windows",
    "probability_competitor",
)
"""Columns of a wallet that the trees see, beside the class now."""


class LoyaltyModel(Estimator):
    """Probability of each loyalty class one step after the window at hand.

    Two models compete: the transition matrix of the classes, and gradient boosted trees on the
    wallet whose probabilities are blended with the matrix. They learn from all pairs of
    consecutive windows but the newest and are judged on that one. The trees are published only if
    their log loss is below the matrix's by more than 0.001 with 95 % confidence, and macro-F1 and
    quadratic kappa are no worse than those of persistence (by 0.02, with 97.5 % confidence); what
    is published is fitted again on all pairs.

    Where windows overlap, persistence is strong: most of what decides the next class lies in the
    window at hand already. The matrix and the trees learn that too, as they see overlapping pairs;
    so the probabilities hold for one step, and their powers say little of several.

    Parameters
    ----------
    strength : float
        Prior of the transition matrix, in customers; see
        :class:`crmml.models.forecast.baselines.TransitionMatrix`.
    learning_rate : float
        Of the boosting.
    num_leaves, min_leaf : int
        Leaves of a tree, and the least number of rows in one.
    ridge : float
        L2 penalty on leaf values.
    max_rounds : int
        Most rounds of boosting; each grows one tree per class.
    n_folds : int
        The number of rounds is found on one of so many folds of customers.
    max_rows : int
        The trees learn from about so many rows, and are judged on as many, a sample of customers
        by a hash of their id; the matrix counts all.
    n_boot : int
        Bootstrap replicates of the comparison.
    num_threads : int
        Fixed, and without effect on the result.
    seed : int
        Of folds, feature sampling and bootstrap.

    Attributes
    ----------
    published_ : {"transition_matrix", "trees", "none"}
        What gives the probabilities; ``none`` with a single window, when nothing can be said.
    reason_ : str
        Why, with the figures.
    matrix_ : dict or None
        The transition matrix.
    booster_ : str or None
        The trees in LightGBM's text format, if published.
    peers_ : dict or None
        What an inferred need was taken from; give it to `build_wallet` when scoring.
    evidence_ : str
        ``panel`` or ``inferred``.
    n_windows_ : int
        Windows in the history.
    evaluation_ : LoyaltyEvaluation or None
        Not stored.
    """

    _state = (
        "published_",
        "reason_",
        "matrix_",
        "booster_",
        "peers_",
        "evidence_",
        "n_windows_",
    )
    published_: Literal["transition_matrix", "trees", "none"]
    reason_: str
    matrix_: dict[str, Any] | None
    booster_: str | None
    peers_: dict[str, Any] | None
    evidence_: str
    n_windows_: int
    evaluation_: LoyaltyEvaluation | None

    def __init__(
        self,
        *,
        strength: float = 10.0,
        learning_rate: float = 0.1,
        num_leaves: int = 8,
        min_leaf: int = 40,
        ridge: float = 10.0,
        max_rounds: int = 80,
        n_folds: int = 4,
        max_rows: int = 30_000,
        n_boot: int = 200,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.strength = strength
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_leaf = min_leaf
        self.ridge = ridge
        self.max_rounds = max_rounds
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.n_boot = n_boot
        self.num_threads = num_threads
        self.seed = seed

    def fit(self, history: Sequence[Wallet]) -> Self:
        """Learn from successive windows, and judge on the newest if there are enough.

        Parameters
        ----------
        history : sequence of Wallet
            Windows of one length that end a step apart and may overlap, in any order; see
            :func:`crmml.features.wallet.rolling_wallets`. At least one.

        Raises
        ------
        ParameterError
            If there is no window.
        CrmmlError
            If one window does not begin and end after the one before, there is a hole between
            them, or panel and own data are mixed.
        """
        check_wallets(history, self)
        windows = in_order(history)
        newest = windows[-1]
        self.n_windows_ = len(windows)
        self.evidence_ = evidence_of(newest)
        self.peers_ = newest.peers.to_dict() if newest.peers is not None else None
        self.matrix_, self.booster_, self.evaluation_ = None, None, None
        if len(windows) < 2:
            self.published_ = "none"
            self.reason_ = (
                "one window shows the class now, but no change of class: two are needed for a "
                f"transition matrix and {WINDOWS_NEEDED} to judge it"
            )
            return self
        pairs = [Pair.of(now, after) for now, after in pairwise(windows)]
        n_changes = sum(len(pair.after) for pair in pairs)
        self.published_ = "transition_matrix"
        self.reason_ = (
            f"{len(windows)} windows make a transition matrix of {n_changes:,} changes of class; "
            f"{WINDOWS_NEEDED} windows are needed to judge it"
        )
        if len(windows) >= WINDOWS_NEEDED:
            try:
                self.evaluation_ = self._judge(pairs[:-1], pairs[-1])
                self.published_, self.reason_ = choose_published(self.evaluation_, self.evidence_)
            except TooLittleDataError as error:
                self.reason_ = f"{error}: the transition matrix is published, unjudged"
        self.matrix_ = self._fit_matrix(pairs).to_dict()
        if self.published_ == "trees":
            self.booster_ = self._grow(pairs)
        return self

    def loyalty_class(self, wallet: Wallet) -> pd.Series[str]:
        """Return the class in the wallet's own window, keyed like the wallet."""
        self._check_wallet(wallet)
        return wallet.frame["loyalty_class"].rename("loyalty_class")

    def loyalty_probabilities(self, wallet: Wallet) -> pd.DataFrame:
        """Return the probability of each class in the window that ends a step after the wallet's.

        Returns
        -------
        DataFrame, shape (n, 6)
            Keyed like the wallet, columns ``LOYALTY_CLASSES``; all missing if nothing is published.
        """
        self._check_wallet(wallet)
        if self.matrix_ is None:
            return pd.DataFrame(np.nan, wallet.frame.index, list(LOYALTY_CLASSES))
        by_matrix = TransitionMatrix.from_dict(self.matrix_).predict_probabilities(
            wallet.frame["loyalty_class"]
        )
        if self.booster_ is None:
            return by_matrix
        return _blend(self._predict(self.booster_, wallet), by_matrix)

    @property
    def peers(self) -> ReferencePopulation | None:
        """What an inferred need is taken from, for `build_wallet` when scoring."""
        self._check_fitted()
        return None if self.peers_ is None else ReferencePopulation.from_dict(self.peers_)

    def _check_wallet(self, wallet: Wallet) -> None:
        check_wallet(wallet, self)
        self._check_fitted()
        if evidence_of(wallet) != self.evidence_:
            raise CrmmlError(
                f"the loyalty model was fitted on {self.evidence_} evidence, the wallet is "
                f"{evidence_of(wallet)}"
            )

    def _fit_matrix(self, pairs: Sequence[Pair]) -> TransitionMatrix:
        now = pd.concat([pair.now.frame["loyalty_class"] for pair in pairs])
        after = pd.concat([pair.after for pair in pairs])
        return TransitionMatrix(strength=self.strength).fit(now, after)

    def _judge(self, learn: Sequence[Pair], test: Pair) -> LoyaltyEvaluation:
        test = test.sample(-(-len(test.after) // self.max_rows), self.seed)
        now = test.now.frame["loyalty_class"]
        by_matrix = self._fit_matrix(learn).predict_probabilities(now)
        trees = _blend(self._predict(self._grow(learn), test.now), by_matrix)
        forecasts = {
            "transition_matrix": by_matrix,
            "persistence": persistence(now),
            "trees": trees,
        }
        return evaluate_loyalty(forecasts, test, n_boot=self.n_boot, seed=self.seed)

    def _grow(self, pairs: Sequence[Pair]) -> str:
        rows = sum(len(pair.after) for pair in pairs)
        parts = [pair.sample(-(-rows // self.max_rows), self.seed) for pair in pairs]
        X = np.concatenate([_matrix(part.now) for part in parts])
        y = np.concatenate([class_positions(part.after) for part in parts])
        folds = [customer_folds(part.customer_id, self.n_folds, seed=self.seed) for part in parts]
        judge = np.concatenate(folds) == 0
        boosting = Boosting(
            objective="multiclass",
            n_classes=len(LOYALTY_CLASSES),
            learning_rate=self.learning_rate,
            num_leaves=self.num_leaves,
            min_leaf=self.min_leaf,
            ridge=self.ridge,
            max_rounds=self.max_rounds,
            patience=10,
            max_bins=63,
            num_threads=self.num_threads,
            seed=self.seed,
        )
        return boosting.grow(X, y, boosting.find_rounds(X, y, ~judge, judge)).text

    def _predict(self, booster: str, wallet: Wallet) -> pd.DataFrame:
        p = Trees(booster, self.num_threads).mean(_matrix(wallet))
        return pd.DataFrame(p, wallet.frame.index, list(LOYALTY_CLASSES))


def _matrix(wallet: Wallet) -> FloatArray:
    classes = np.eye(len(LOYALTY_CLASSES))[class_positions(wallet.frame["loyalty_class"])]
    return np.hstack([classes, wallet.frame[list(FEATURES)].to_numpy(dtype=np.float64)])


def _blend(trees: pd.DataFrame, matrix: pd.DataFrame) -> pd.DataFrame:
    """Average the two; a class that the trees never saw keeps a probability."""
    return 0.9 * trees + 0.1 * matrix
