"""Churn without a contract: who will not buy in the outcome window, learned by trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, TooLittleDataError
from crmml.features.families import FAMILIES, family_of
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features, feature_matrix
from crmml.features.snapshot import Snapshot
from crmml.features.windows import customer_folds
from crmml.metrics.bootstrap import hash_keys
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.boosting import Boosting, Trees
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.churn.guards import refuse_leaks
from crmml.models.churn.history import (
    check_window,
    find_candidates,
    in_sample,
    split_history,
    whole_length,
)
from crmml.models.churn.leak import check_no_leak
from crmml.models.churn.purchase import WithPurchaseModel
from crmml.models.fits import Fits
from crmml.models.forecast.baselines import labels
from crmml.models.tree_shares import family_shares

NO_PURCHASE = "no_purchase_probability"


class ChurnModel(WithPurchaseModel):
    """Gradient boosted trees on rolling snapshots, calibrated on a later slice.

    The newest snapshot of the history is the calibration slice; older ones whose outcome window
    closed before its cutoff are the training slices, those in between are left out (embargo). The
    number of trees is found by folds of customers: trees grow on the older slices of the other
    folds and are judged on the newest training slice of this one.

    Parameters
    ----------
    horizon : str or Duration
        Length of the outcome window; the labelled snapshots must have the same.
    gap : str or Duration, optional
        Time between cutoff and outcome window.
    purchase_model : purchase model, optional
        Unfitted; fitted on the earliest training snapshot alone, its P(no purchase) is a feature.
        Default MBG/NBD.
    covariates : sequence of str
        Static numeric columns of the snapshot that are trusted beside the known features.
    candidate_horizons : float
        Population: customers with a purchase in the last so many horizons, > 0.
    learning_rate : float
        Of the boosting, in (0, 1].
    num_leaves, min_leaf : int
        Leaves of a tree, and the least number of rows in one.
    ridge : float
        L2 penalty on leaf values, >= 0.
    max_rounds : int
        Most trees.
    n_folds : int
        Folds of customers, at least 2.
    max_rows : int
        Train and calibrate on about so many rows at most, a sample of customers by a hash of
        their id.
    num_threads : int
        Fixed, and without effect on the result.
    seed : int
        Of the folds and the feature sampling.

    Attributes
    ----------
    features_ : list of str
        Columns used, in the order of the booster's.
    booster_ : str
        The trees in LightGBM's text format.
    n_rounds_ : int
        Trees grown.
    calibration_ : dict
        Knots from the trees' score (log-odds) to the rate seen on the calibration slice.
    purchase_model_ : purchase model
        Fitted.
    training_cutoffs_, calibration_cutoff_ : list of str, str
        The slices.
    n_embargoed_ : int
        Snapshots left out because their window overlaps the calibration slice.
    n_training_rows_ : int
        Candidates in the training slices.
    trained_until_ : str
        Latest end of an outcome window that was used, calibration included.
    """

    _state = (
        "booster_",
        "features_",
        "n_rounds_",
        "calibration_",
        "purchase_model_",
        "training_cutoffs_",
        "calibration_cutoff_",
        "n_embargoed_",
        "n_training_rows_",
        "trained_until_",
    )
    booster_: str
    features_: list[str]
    n_rounds_: int
    calibration_: dict[str, Any]
    training_cutoffs_: list[str]
    calibration_cutoff_: str
    n_embargoed_: int
    n_training_rows_: int
    trained_until_: str

    def __init__(
        self,
        *,
        horizon: str | Duration,
        gap: str | Duration | None = None,
        purchase_model: Any = None,
        covariates: Sequence[str] = (),
        candidate_horizons: float = 4.0,
        learning_rate: float = 0.1,
        num_leaves: int = 8,
        min_leaf: int = 40,
        ridge: float = 10.0,
        max_rounds: int = 400,
        n_folds: int = 2,
        max_rows: int = 200_000,
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.horizon = horizon
        self.gap = gap
        self.purchase_model = purchase_model
        self.covariates = covariates
        self.candidate_horizons = candidate_horizons
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_leaf = min_leaf
        self.ridge = ridge
        self.max_rounds = max_rounds
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.num_threads = num_threads
        self.seed = seed

    def fit(self, history: Sequence[LabelledSnapshot], *, fits: Fits | None = None) -> Self:
        """Train on the older slices and calibrate on the newest.

        Parameters
        ----------
        history : sequence of LabelledSnapshot
            In any order, with the model's horizon and gap.
        fits : Fits, optional
            Models fitted so far: a process of equal settings on the oldest slice is taken.

        Raises
        ------
        TooLittleDataError
            If no window closed before the newest cutoff, or only one outcome occurs.
        FutureLeakError
            If a covariate knows the outcome; see :mod:`crmml.models.churn.guards`.
        MissingColumnsError, DataError
            If a covariate is missing, not numeric, mostly empty, constant or an id.

        Warns
        -----
        LeakWarning
            If one feature of the snapshot tells the outcome, or a covariate may be a forecast.
        """
        check_history(history, self)
        self._check_settings()
        train, calibration, embargoed = split_history(history)
        for part in (*train, calibration):
            check_window(part, self.horizon, self.gap)
        self.fit_purchase_model(train[0].snapshot, fits)
        self.features_ = self._choose_features(train)
        if self.covariates:
            newest = train[-1].subset(
                find_candidates(train[-1].snapshot, self.horizon, self.candidate_horizons)
            )
            refuse_leaks(newest.snapshot.frame[list(self.covariates)], newest)
        rows = self._rows(train)
        check_no_leak(
            rows.X, rows.y, self.features_, trusted=set(self.features_) - set(self.covariates)
        )
        self.n_rounds_ = self._find_rounds(rows, train)
        self.booster_ = self._boosting().grow(rows.X, rows.y, self.n_rounds_).text
        held = self._rows([calibration])
        self.calibration_ = MonotoneCalibration.fit(self._trees().score(held.X), held.y).to_dict()
        self.training_cutoffs_ = [str(part.window.cutoff) for part in train]
        self.calibration_cutoff_ = str(calibration.window.cutoff)
        self.n_embargoed_ = len(embargoed)
        self.n_training_rows_ = len(rows.y)
        self.trained_until_ = str(calibration.window.closes)
        return self

    def churn_probability(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the probability of no purchase in the outcome window, keyed by customer.

        Customers outside the population get one too: that of candidates most like them.

        Raises
        ------
        MissingColumnsError
            If the snapshot lacks a feature that the trees use.
        """
        check_snapshot(snapshot, self)
        self._check_fitted()
        margin = self._trees().score(self._matrix(snapshot))
        p = MonotoneCalibration.from_dict(self.calibration_)(margin)
        return pd.Series(p, snapshot.customer_id, name="churn_probability")

    def explain(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return what each feature adds to the log-odds of churn before calibration.

        Returns
        -------
        DataFrame, shape (n_customers, n_features + 1)
            Keyed by customer; columns ``features_`` and ``baseline`` (the same for everybody).
            A row adds up to the trees' score. Tree Shapley values (Lundberg et al. 2020).
        """
        check_snapshot(snapshot, self)
        self._check_fitted()
        parts = self._trees().contributions(self._matrix(snapshot))
        return pd.DataFrame(parts, snapshot.customer_id, [*self.features_, "baseline"])

    def explain_by_family(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return what each family of features adds to the log-odds of churn before calibration.

        Returns
        -------
        DataFrame, shape (n_customers, n_families + 1)
            The sums of :meth:`explain` over the features of a family
            (:data:`crmml.features.families.FAMILIES`), many times as fast; a column for each family
            that the trees know, and ``baseline``.
        """
        check_snapshot(snapshot, self)
        self._check_fitted()
        of_feature = [family_of(name) for name in self.features_]
        names = [name for name in FAMILIES if name in of_feature]
        family = np.array([names.index(name) for name in of_feature], dtype=np.int64)
        parts = family_shares(self._trees(), self._matrix(snapshot), family, len(names))
        return pd.DataFrame(parts, snapshot.customer_id, [*names, "baseline"])

    def _trees(self) -> Trees:
        return Trees(self.booster_, self.num_threads)

    def _check_settings(self) -> None:
        if not self.candidate_horizons > 0:
            raise ParameterError("candidate_horizons", "> 0", self.candidate_horizons)
        if self.n_folds < 2:
            raise ParameterError("n_folds", "at least 2", self.n_folds)
        if self.max_rows < 1:
            raise ParameterError("max_rows", "at least 1", self.max_rows)

    def _boosting(self) -> Boosting:
        return Boosting(
            objective="binary",
            learning_rate=self.learning_rate,
            num_leaves=self.num_leaves,
            min_leaf=self.min_leaf,
            ridge=self.ridge,
            max_rounds=self.max_rounds,
            patience=30,
            feature_share=0.7,
            max_bins=127,
            num_threads=self.num_threads,
            seed=self.seed,
        )

    def _choose_features(self, train: Sequence[LabelledSnapshot]) -> list[str]:
        """Take registered features and covariates that all slices have; nothing else enters."""
        frames = [part.snapshot.frame for part in train]
        shared = [name for name in frames[0] if all(name in frame for frame in frames)]
        missing = [name for name in self.covariates if name not in shared]
        if missing:
            raise MissingColumnsError(missing, map(str, shared), table="snapshot")
        for name in self.covariates:
            if not pd.api.types.is_numeric_dtype(frames[0][name]):
                raise DataError("a covariate must be numeric", table="snapshot", column=name)
        return list(
            dict.fromkeys([*choose_features(train), *map(str, self.covariates), NO_PURCHASE])
        )

    def _matrix(self, snapshot: Snapshot) -> FloatArray:
        known = feature_matrix(snapshot, [name for name in self.features_ if name != NO_PURCHASE])
        p = self.no_purchase(snapshot, whole_length(self.horizon, self.gap))
        return np.insert(known, self.features_.index(NO_PURCHASE), p, axis=1)

    def _rows(self, parts: Sequence[LabelledSnapshot]) -> _Rows:
        found = []
        one_in = -(-sum(len(part) for part in parts) // self.max_rows)
        for position, part in enumerate(parts):
            keep = find_candidates(part.snapshot, self.horizon, self.candidate_horizons)
            kept = part.subset(keep & in_sample(part.snapshot, one_in, self.seed))
            customer_id = kept.snapshot.customer_id
            # Rows in the order of a key of the customer: trees do not depend on the input's order.
            order = np.argsort(hash_keys(customer_id), kind="stable")
            columns = (
                self._matrix(kept.snapshot),
                labels(kept),
                np.full(len(order), position),
                customer_folds(customer_id, self.n_folds, seed=self.seed),
            )
            found.append([column[order] for column in columns])
        X, y, slices, folds = (np.concatenate(columns) for columns in zip(*found, strict=True))
        if len(np.unique(y)) < 2:
            raise TooLittleDataError(
                f"a churn model needs both outcomes, but of {len(y):,} candidates in "
                f"{len(parts)} window(s) all have the same one"
            )
        return _Rows(X, y, slices, folds)

    def _find_rounds(self, rows: _Rows, train: Sequence[LabelledSnapshot]) -> int:
        newest = len(train) - 1
        closed = [part.window.closes <= train[newest].window.cutoff for part in train]
        older = np.asarray(closed)[rows.slices]
        grow = older if older.any() else np.ones(len(rows.y), dtype=bool)
        best = []
        for fold in range(self.n_folds):
            inside = grow & (rows.fold != fold)
            judge = (rows.slices == newest) & (rows.fold == fold)
            if len(np.unique(rows.y[inside])) == 2 and len(np.unique(rows.y[judge])) == 2:
                best.append(self._boosting().find_rounds(rows.X, rows.y, inside, judge))
        return int(np.ceil(np.mean(best))) if best else self.max_rounds // 4


@dataclass(frozen=True)
class _Rows:
    """Training rows: features, outcomes, number of the slice, fold of the customer."""

    X: FloatArray
    y: FloatArray
    slices: IntArray
    fold: IntArray
