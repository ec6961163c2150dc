"""Churn without a contract: who will not buy in the outcome window.

:class:`ChurnModel` learns from rolling labelled snapshots; :class:`PurchaseChurn` asks a purchase
process. :func:`select_churn` judges both and the best recency rule on a later window that none of
them has seen, and keeps the learned model only where it beats the simpler ones beyond chance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import lightgbm as lgb
import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.exceptions import (
    DataError,
    FutureLeakError,
    LeakWarning,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features
from crmml.features.snapshot import Snapshot
from crmml.features.windows import customer_folds
from crmml.metrics import classification
from crmml.metrics.bootstrap import compare, hash_keys
from crmml.metrics.calibration import compute_reliability, expected_calibration_error
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.estimator import Estimator
from crmml.models.fits import Fits
from crmml.models.forecast.baselines import RecencyRule, labels
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.notes import about, fit_of
from crmml.stats.discounting import in_units

NO_PURCHASE = "no_purchase_probability"
WINDOWS_NEEDED = 3
"""Windows that do not overlap: one to train on, one to calibrate on, one to judge on."""

BEHIND_CHURN = "the purchase model behind the churn feature"

LEAK_AUC = 0.99


class ChurnPredictor(Protocol):
    """Whatever gives a probability of churn for each customer."""

    def churn_probability(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the probability of no purchase in the outcome window, keyed by customer."""


def find_candidates(snapshot: Snapshot, horizon: str | Duration, horizons: float) -> BoolArray:
    """Say who is an alive candidate: bought within the last so many horizons, shape (n,).

    Whoever has been silent for longer is lapsed, and a case for winning back, not for retention.
    """
    inactivity = (snapshot.frame["T"] - snapshot.frame["recency"]).to_numpy(dtype=np.float64)
    return np.asarray(inactivity <= horizons * in_units(horizon, snapshot.time_unit))


def in_sample(snapshot: Snapshot, one_in: int, seed: int) -> BoolArray:
    """Say who is in a sample of one customer in so many, by a hash of the id, shape (n,)."""
    if one_in <= 1:
        return np.ones(len(snapshot), dtype=bool)
    # Another seed than that of the folds, which cut the sample again.
    return np.asarray(customer_folds(snapshot.customer_id, one_in, seed=seed + 1) == 0)


class _ChurnEstimator(Estimator):
    """An estimator that holds a fitted purchase model."""

    purchase_model: Any
    purchase_model_: Any

    _learners: ClassVar[Mapping[str, str]] = {"purchase_model": "purchase_model_"}

    def _no_purchase(self, snapshot: Snapshot, length: Duration) -> FloatArray:
        p = self.purchase_model_.probability_no_purchase(snapshot, length)
        return np.asarray(p.reindex(snapshot.customer_id).to_numpy(dtype=np.float64))


class PurchaseChurn(_ChurnEstimator):
    """P(no purchase in the horizon) of a purchase model as the probability of churn.

    Parameters
    ----------
    horizon : str or Duration
        Length of the outcome window.
    gap : str or Duration, optional
        Time between cutoff and window. The process then answers for gap and window together,
        and the calibration makes up the difference.
    purchase_model : purchase model, optional
        Unfitted; default MBG/NBD.
    candidate_horizons : float
        See :class:`ChurnModel`.

    Attributes
    ----------
    purchase_model_ : purchase model
        Fitted.
    calibration_ : dict or None
        Knots from P(no purchase) to the rate seen; None if there was no labelled candidate.
    trained_until_ : str or None
        Latest end of an outcome window that was used.
    """

    _state = ("purchase_model_", "calibration_", "trained_until_")
    calibration_: dict[str, Any] | None
    trained_until_: str | None

    def __init__(
        self,
        *,
        horizon: str | Duration,
        gap: str | Duration | None = None,
        purchase_model: Any = None,
        candidate_horizons: float = 4.0,
    ) -> None:
        self.horizon = horizon
        self.gap = gap
        self.purchase_model = purchase_model
        self.candidate_horizons = candidate_horizons

    def fit(
        self, history: Sequence[LabelledSnapshot] | Snapshot, *, fits: Fits | None = None
    ) -> Self:
        """Fit the process on the newest snapshot, and calibrate on its outcomes if it has any.

        Parameters
        ----------
        history : sequence of LabelledSnapshot, or Snapshot
            Of a sequence only the newest is used.
        fits : Fits, optional
            Models fitted so far: a process of equal settings on that snapshot is taken.

        Raises
        ------
        TooLittleDataError
            If there is no snapshot.
        """
        if not isinstance(history, Snapshot) and not history:
            raise TooLittleDataError("a purchase model needs at least one snapshot; got none")
        newest = history if isinstance(history, Snapshot) else sort_history(history)[-1]
        snapshot = newest if isinstance(newest, Snapshot) else newest.snapshot
        model = ModifiedBetaGeoModel() if self.purchase_model is None else self.purchase_model
        with about(fit_of(BEHIND_CHURN, snapshot.cutoff)):
            self.purchase_model_ = (fits or Fits()).fit(model, snapshot)
        self.calibration_, self.trained_until_ = None, None
        if isinstance(newest, LabelledSnapshot):
            check_window(newest, self.horizon, self.gap)
            keep = find_candidates(snapshot, self.horizon, self.candidate_horizons)
            p = self._no_purchase(snapshot, self._length())[keep]
            if len(p):
                self.calibration_ = MonotoneCalibration.fit(p, labels(newest)[keep]).to_dict()
                self.trained_until_ = str(newest.window.closes)
        return self

    def churn_probability(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the probability of no purchase in the outcome window, keyed by customer."""
        self._check_fitted()
        p = self._no_purchase(snapshot, self._length())
        if self.calibration_ is not None:
            p = MonotoneCalibration.from_dict(self.calibration_)(p)
        return pd.Series(p, snapshot.customer_id, name="churn_probability")

    def _length(self) -> Duration:
        return _whole_length(self.horizon, self.gap)


class ChurnModel(_ChurnEstimator):
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
            If one covariate alone tells the outcome (AUC of 0.99 or more).
        MissingColumnsError, DataError
            If a covariate is missing or not numeric.

        Warns
        -----
        LeakWarning
            If one feature of the snapshot does so.
        """
        self._check_settings()
        train, calibration, embargoed = split_history(history)
        for part in (*train, calibration):
            check_window(part, self.horizon, self.gap)
        model = ModifiedBetaGeoModel() if self.purchase_model is None else self.purchase_model
        with about(fit_of(BEHIND_CHURN, train[0].snapshot.cutoff)):
            self.purchase_model_ = (fits or Fits()).fit(model, train[0].snapshot)
        self.features_ = self._choose_features(train)
        rows = self._rows(train)
        check_no_leak(
            rows.X, rows.y, self.features_, trusted=set(self.features_) - set(self.covariates)
        )
        self.n_rounds_ = self._find_rounds(rows, train)
        booster = lgb.train(self._parameters(), rows.dataset(), self.n_rounds_)
        self.booster_ = booster.model_to_string()
        held = self._rows([calibration])
        margin = booster.predict(held.X, raw_score=True, num_threads=self.num_threads)
        self.calibration_ = MonotoneCalibration.fit(np.asarray(margin), held.y).to_dict()
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
        self._check_fitted()
        margin = self._booster().predict(
            self._matrix(snapshot), raw_score=True, num_threads=self.num_threads
        )
        p = MonotoneCalibration.from_dict(self.calibration_)(np.asarray(margin))
        return pd.Series(p, snapshot.customer_id, name="churn_probability")

    def explain(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return what each feature adds to the log-odds of churn before calibration.

        Returns
        -------
        DataFrame, shape (n_customers, n_features + 1)
            Keyed by customer; columns ``features_`` and ``baseline`` (the same for everybody).
            A row adds up to the trees' score. Tree Shapley values (Lundberg et al. 2020).
        """
        self._check_fitted()
        parts = self._booster().predict(
            self._matrix(snapshot), pred_contrib=True, num_threads=self.num_threads
        )
        columns = [*self.features_, "baseline"]
        return pd.DataFrame(np.asarray(parts), snapshot.customer_id, columns)

    def _booster(self) -> Any:
        return lgb.Booster(model_str=self.booster_)

    def _check_settings(self) -> None:
        if not self.candidate_horizons > 0:
            raise ParameterError("candidate_horizons", "> 0", self.candidate_horizons)
        if self.n_folds < 2:
            raise ParameterError("n_folds", "at least 2", self.n_folds)
        if self.max_rows < 1:
            raise ParameterError("max_rows", "at least 1", self.max_rows)

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_leaf,
            "lambda_l2": self.ridge,
            "feature_fraction": 0.7,
            "max_bin": 127,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.num_threads,
            "seed": self.seed,
            "verbosity": -1,
        }

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
        missing = [n for n in self.features_ if n != NO_PURCHASE and n not in snapshot.frame]
        if missing:
            raise MissingColumnsError(missing, map(str, snapshot.frame.columns), table="snapshot")
        length = _whole_length(self.horizon, self.gap)
        columns = [
            self._no_purchase(snapshot, length)
            if name == NO_PURCHASE
            else snapshot.frame[name].to_numpy(dtype=np.float64)
            for name in self.features_
        ]
        return np.column_stack(columns)

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
            inside = rows.take(grow & (rows.fold != fold))
            judge = rows.take((rows.slices == newest) & (rows.fold == fold))
            if len(np.unique(inside.y)) < 2 or len(np.unique(judge.y)) < 2:
                continue
            dataset = inside.dataset()
            booster = lgb.train(
                self._parameters(),
                dataset,
                self.max_rounds,
                valid_sets=[judge.dataset(dataset)],
                callbacks=[lgb.early_stopping(30, verbose=False)],
            )
            best.append(booster.best_iteration)
        return int(np.ceil(np.mean(best))) if best else self.max_rounds // 4


@dataclass(frozen=True)
class _Rows:
    """Training rows: features, outcomes, number of the slice, fold of the customer."""

    X: FloatArray
    y: FloatArray
    slices: Any
    fold: Any

    def take(self, keep: BoolArray) -> _Rows:
        return _Rows(self.X[keep], self.y[keep], self.slices[keep], self.fold[keep])

    def dataset(self, reference: Any = None) -> Any:
        # LightGBM refuses some characters in names (JSON signs), so columns go by number.
        names = [f"f{i}" for i in range(self.X.shape[1])]
        return lgb.Dataset(
            self.X, self.y, reference=reference, feature_name=names, params={"verbosity": -1}
        )


def check_no_leak(
    X: FloatArray, y: FloatArray, names: Sequence[str], *, trusted: Collection[str] = ()
) -> None:
    """Refuse a column that tells the outcome by itself: it knows the future.

    Parameters
    ----------
    X : ndarray, shape (n, n_features)
    y : ndarray of 0 and 1, shape (n,)
    names : sequence of str
    trusted : collection of str
        Columns that the snapshot computes from the past: they get a warning only, because where
        everybody buys like clockwork inactivity may honestly say it all.

    Raises
    ------
    FutureLeakError
        If the AUC of a column, or of where it is missing, is 0.99 or more (or 0.01 or less). With
        fewer than 20 customers of either outcome nothing is concluded.

    Warns
    -----
    LeakWarning
        The same of a trusted column.
    """
    if min(y.sum(), len(y) - y.sum()) < 20:
        return
    for column, name in enumerate(names):
        skill = _skill(X[:, column], y)
        if skill < LEAK_AUC:
            continue
        what = f"column {name!r} tells the outcome by itself (AUC {skill:.3f} on {len(y):,} rows)"
        if name not in trusted:
            raise FutureLeakError(f"{what}: it must know the outcome window; leave it out")
        warnings.warn(
            f"{what}: fine if everybody buys like clockwork, else it knows the future (see "
            "crmml.features.labels.check_no_future)",
            LeakWarning,
            stacklevel=3,
        )


def _skill(values: FloatArray, y: FloatArray) -> float:
    """AUC of a column or of where it is missing, in the better direction."""
    missing = np.isnan(values)
    scores = [np.where(missing, -np.inf, values)]
    if missing.any():
        scores.append(missing.astype(np.float64))
    found = [float(classification.auc(y, score)) for score in scores]
    return max(max(skill, 1 - skill) for skill in found)


def sort_history(history: Sequence[LabelledSnapshot]) -> list[LabelledSnapshot]:
    """Order labelled snapshots by cutoff, oldest first."""
    return sorted(history, key=lambda part: part.window.cutoff)


def split_history(
    history: Sequence[LabelledSnapshot],
) -> tuple[list[LabelledSnapshot], LabelledSnapshot, list[LabelledSnapshot]]:
    """Split into training slices, the calibration slice, and what the embargo leaves out.

    Raises
    ------
    TooLittleDataError
        If no window closed before the newest cutoff.
    """
    ordered = sort_history(history)
    train = [part for part in ordered[:-1] if part.window.closes <= ordered[-1].window.cutoff]
    if not train:
        raise TooLittleDataError(
            "a churn model needs a window to calibrate on and at least one that closed before its "
            f"cutoff; of {len(ordered)} labelled snapshot(s) {count_windows(ordered)} do not "
            "overlap"
        )
    return train, ordered[-1], ordered[len(train) : -1]


def count_windows(history: Sequence[LabelledSnapshot]) -> int:
    """Count the labelled snapshots that do not overlap, taken greedily from the newest back."""
    count, limit = 0, None
    for part in reversed(sort_history(history)):
        if limit is None or part.window.closes <= limit:
            count, limit = count + 1, part.window.cutoff
    return count


def check_window(
    part: LabelledSnapshot, horizon: str | Duration, gap: str | Duration | None
) -> None:
    """Refuse a labelled snapshot whose window has another length or gap than the model.

    Raises
    ------
    ParameterError
        If they differ.
    """
    days = in_units(horizon, "day")
    skipped = in_units(gap, "day") if gap is not None else 0.0
    window = part.window
    want = (
        window.cutoff + pd.Timedelta(days=skipped),
        window.cutoff + pd.Timedelta(days=skipped + days),
    )
    if (window.opens, window.closes) != want:
        raise ParameterError(
            "history",
            f"labelled over {horizon} after a gap of {gap or 'nothing'}",
            f"{window.opens.date()} to {window.closes.date()} for cutoff {window.cutoff.date()}",
        )


def _whole_length(horizon: str | Duration, gap: str | Duration | None) -> Duration:
    length = Duration.parse(horizon)
    if gap is None:
        return length
    return Duration(length.number + in_units(gap, length.unit), length.unit)


# -- judgement -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChurnEvaluation:
    """How churn models did on a window that none of them has seen.

    Attributes
    ----------
    table : DataFrame
        Index ``candidate, metric``; columns ``value, lower, upper`` and the difference to the
        reference with its interval. See :func:`crmml.metrics.bootstrap.compare`.
    gains : DataFrame
        Index: baseline; AUC of the model less that of the baseline: ``difference, lower, upper``.
    grades : dict of str to str
        Grade of each candidate against the reference, see :func:`grade_gain`.
    reliability : dict of str to DataFrame
        Calibration curve of each candidate.
    calibration_error : dict of str to float
        Expected calibration error of each candidate.
    reference : str
        The candidate that the others are compared with.
    cutoff : Timestamp
        Of the test window.
    n_customers : int
        Candidates judged.
    churn_rate : float
        Share of them who churned.
    """

    table: pd.DataFrame
    gains: pd.DataFrame
    grades: dict[str, str]
    reliability: dict[str, pd.DataFrame]
    calibration_error: dict[str, float]
    reference: str
    cutoff: pd.Timestamp
    n_customers: int
    churn_rate: float

    def value(self, candidate: str, metric: str, column: str = "value") -> float:
        """Look up one number of the table."""
        return float(self.table[column].loc[(candidate, metric)])


def grade_gain(lower: float, upper: float) -> str:
    """Grade a model by the 95 % interval of its AUC less that of the best recency rule.

    Returns
    -------
    str
        ``A`` the gain is at least 0.05; ``B`` above 0.02; ``C`` above 0; ``D`` no difference is
        shown; ``E`` the model is worse. A to C speak of the lower bound.

    Examples
    --------
    >>> [grade_gain(*i) for i in [(.05, .09), (.03, .06), (.01, .02), (-.01, .02), (-.03, -.01)]]
    ['A', 'B', 'C', 'D', 'E']
    """
    if lower >= 0.05:
        return "A"
    if lower > 0.02:
        return "B"
    if lower > 0:
        return "C"
    return "E" if upper < 0 else "D"


def evaluate_churn(
    model: ChurnPredictor,
    labelled: LabelledSnapshot,
    *,
    baselines: Mapping[str, ChurnPredictor],
    candidate_horizons: float = 4.0,
    seed: int = 0,
    n_boot: int = 200,
    max_customers: int = 100_000,
    name: str = "churn_model",
) -> ChurnEvaluation:
    """Judge a churn model and its baselines on a later labelled snapshot.

    Parameters
    ----------
    model : churn predictor
        Fitted.
    labelled : LabelledSnapshot
        Its cutoff must not lie before the end of any window that was used in fitting.
    baselines : mapping of str to churn predictor
        Fitted; the first is the reference of the differences and grades.
    candidate_horizons : float
        Population, as in :class:`ChurnModel`.
    seed, n_boot
        Of the paired bootstrap; intervals hold 95 %.
    max_customers : int
        Judge on about so many at most, a sample by a hash of the id.
    name : str
        Name of the model in the tables.

    Raises
    ------
    FutureLeakError
        If a model was fitted on a window that overlaps the test.
    TooLittleDataError
        If only one outcome occurs.
    """
    if not baselines:
        raise ParameterError("baselines", "at least one", dict(baselines))
    candidates = {name: model, **baselines}
    for label, candidate in candidates.items():
        check_embargo(candidate, labelled, label)
    window = labelled.window
    horizon = Duration((window.closes - window.opens) / pd.Timedelta(days=1), "day")
    keep = find_candidates(labelled.snapshot, horizon, candidate_horizons)
    keep &= in_sample(labelled.snapshot, -(-len(labelled) // max_customers), seed)
    snapshot, churned = labelled.snapshot.subset(keep), labels(labelled)[keep]
    said = {
        label: np.asarray(
            candidate.churn_probability(snapshot).reindex(snapshot.customer_id), dtype=np.float64
        )
        for label, candidate in candidates.items()
    }
    reference = next(iter(baselines))
    measures = {label: classification.statistics(churned, p) for label, p in said.items()}
    bootstrap: dict[str, Any] = {"n_replicates": n_boot, "level": 0.95, "seed": seed}
    table = compare(measures, snapshot.customer_id, reference=reference, **bootstrap)
    gains = {
        label: compare(
            {k: {"auc": measures[k]["auc"]} for k in (name, label)},
            snapshot.customer_id,
            reference=label,
            **bootstrap,
        ).loc[(name, "auc")]
        for label in baselines
    }
    return ChurnEvaluation(
        table=table,
        gains=pd.DataFrame(gains)
        .T[["difference", "difference_lower", "difference_upper"]]
        .set_axis(["difference", "lower", "upper"], axis=1),
        grades={
            label: grade_gain(
                float(table["difference_lower"].loc[(label, "auc")]),
                float(table["difference_upper"].loc[(label, "auc")]),
            )
            for label in said
            if label != reference
        },
        reliability={label: compute_reliability(churned, p) for label, p in said.items()},
        calibration_error={
            label: expected_calibration_error(churned, p) for label, p in said.items()
        },
        reference=reference,
        cutoff=window.cutoff,
        n_customers=len(churned),
        churn_rate=float(churned.mean()),
    )


def check_embargo(model: object, labelled: LabelledSnapshot, name: str) -> None:
    """Refuse to judge a model on a window that overlaps one it was fitted on.

    Raises
    ------
    FutureLeakError
        With both dates.
    """
    until = getattr(model, "trained_until_", None)
    if until is not None and pd.Timestamp(until) > labelled.window.cutoff:
        raise FutureLeakError(
            f"{name} has seen outcomes until {pd.Timestamp(until).date()}, after the test's cutoff "
            f"{labelled.window.cutoff.date()}: overlapping windows flatter a model; train it on "
            "windows that closed before"
        )


@dataclass(frozen=True)
class ChurnSelection:
    """The churn model that the data allow, and why.

    Attributes
    ----------
    model : churn predictor
        Fitted on all windows.
    name : str
        ``churn_model``, ``purchase_model`` or ``recency_rule``.
    reason : str
        One or two sentences with the figures.
    evaluation : ChurnEvaluation or None
        None if the history is too short to judge.
    n_windows, n_needed : int
        Windows that do not overlap: present, and needed to train, calibrate and judge.
    """

    model: Any
    name: str
    reason: str
    evaluation: ChurnEvaluation | None
    n_windows: int
    n_needed: int = WINDOWS_NEEDED


def select_churn(
    history: Sequence[LabelledSnapshot],
    *,
    horizon: str | Duration,
    gap: str | Duration | None = None,
    snapshot: Snapshot | None = None,
    purchase_model: Any = None,
    candidate_horizons: float = 4.0,
    seed: int = 0,
    n_boot: int = 200,
    fits: Fits | None = None,
    **settings: Any,
) -> ChurnSelection:
    """Judge the learned model against the simple ones and keep the simplest that does as well.

    The newest labelled snapshot is the test, the newest before it that does not overlap it the
    calibration slice, older ones train. The learned model is kept if its AUC is above that of the
    recency rule and of P(no purchase) with 95 % confidence each; else the better of the two is
    used. What is kept is fitted again on all windows.

    Parameters
    ----------
    history : sequence of LabelledSnapshot
        In any order.
    horizon, gap, purchase_model, candidate_horizons, seed
        As for :class:`ChurnModel`.
    snapshot : Snapshot, optional
        The newest one without outcomes; used if ``history`` is empty.
    n_boot : int
        Bootstrap replicates.
    fits : Fits, optional
        Models fitted so far; the purchase model is fitted once on each snapshot.
    **settings
        Further settings of :class:`ChurnModel`.

    Returns
    -------
    ChurnSelection
        Never an exception for a short history: then P(no purchase) of the purchase model is used
        and the reason says how many windows there are and how many are needed.

    Raises
    ------
    TooLittleDataError
        If there is neither a labelled nor a plain snapshot.
    """
    common = {
        "horizon": horizon,
        "gap": gap,
        "purchase_model": purchase_model,
        "candidate_horizons": candidate_horizons,
    }
    n_windows = count_windows(history)
    known = Fits() if fits is None else fits

    def simple(why: str) -> ChurnSelection:
        basis: Sequence[LabelledSnapshot] | Snapshot = history
        if not history and snapshot is not None:
            basis = snapshot
        model = PurchaseChurn(**common).fit(basis, fits=known)
        return ChurnSelection(model, "purchase_model", why, None, n_windows)

    if n_windows < WINDOWS_NEEDED:
        return simple(
            f"the history holds {n_windows} outcome window(s) of {horizon} that do not overlap, "
            f"and {WINDOWS_NEEDED} are needed (train, calibrate, judge): P(no purchase) of the "
            "purchase model is used, unjudged"
        )
    ordered = sort_history(history)
    test = ordered[-1]
    past = [part for part in ordered if part.window.closes <= test.window.cutoff]

    def fit_recency(parts: Sequence[LabelledSnapshot]) -> RecencyRule:
        return RecencyRule().fit(
            [
                part.subset(find_candidates(part.snapshot, horizon, candidate_horizons))
                for part in parts
            ]
        )

    recipes: dict[str, Callable[[Sequence[LabelledSnapshot]], Any]] = {
        "churn_model": lambda parts: ChurnModel(**common, seed=seed, **settings).fit(
            parts, fits=known
        ),
        "recency_rule": fit_recency,
        "purchase_model": lambda parts: PurchaseChurn(**common).fit(parts, fits=known),
    }
    try:
        fitted = {name: fit(past) for name, fit in recipes.items()}
        evaluation = evaluate_churn(
            fitted["churn_model"],
            test,
            baselines={name: fitted[name] for name in ("recency_rule", "purchase_model")},
            candidate_horizons=candidate_horizons,
            seed=seed,
            n_boot=n_boot,
        )
    except TooLittleDataError as error:
        return simple(f"{error}: P(no purchase) of the purchase model is used, unjudged")
    name, reason = _choose(evaluation)
    return ChurnSelection(recipes[name](ordered), name, reason, evaluation, n_windows)


def _choose(evaluation: ChurnEvaluation) -> tuple[str, str]:
    """Name the model to use and the sentence that says why."""
    gains = evaluation.gains
    figures = "; ".join(
        f"against {name} {row.difference:+.3f} [{row.lower:+.3f}, {row.upper:+.3f}]"
        for name, row in gains.iterrows()
    )
    skill = evaluation.value("churn_model", "auc")
    judged = (
        f"on {evaluation.n_customers:,} candidates at {evaluation.cutoff.date()} the learned model "
        f"has AUC {skill:.3f} ({figures}; 95 % intervals)"
    )
    if (gains["lower"] > 0).all():
        return "churn_model", f"{judged}: it beats both and is used, grade " + (
            evaluation.grades["churn_model"]
        )
    name = max(gains.index, key=lambda label: evaluation.value(label, "auc"))
    return str(name), f"{judged}: it does not beat both, so {name} is used"
