"""What a learned model must beat: recency rules, persistence, the transition matrix, lifetimes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, TimeUnit
from crmml.exceptions import (
    CrmmlError,
    FitWarning,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import LOYALTY_CLASSES
from crmml.metrics.classification import auc
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.estimator import Estimator
from crmml.stats.discounting import in_units

RECENCY_RULES = ("inactivity", "inactivity_over_own_gap")


class RecencyRule(Estimator):
    """The best recency rule: who has been inactive for long, absolutely or for their own pace.

    Two rankings are tried on the training slices and the one with the higher AUC is kept:
    ``inactivity`` (``T - recency``) and inactivity over the customer's own mean gap. The own gap
    is ``(recency + g) / (frequency + 1)``, with ``g`` the mean gap of the base, so that customers
    without a repeat purchase have one too. A monotone curve turns the score into a probability.

    Attributes
    ----------
    rule_ : {"inactivity", "inactivity_over_own_gap"}
        The better ranking.
    typical_gap_ : float
        Mean gap ``g`` of the base, in the time unit.
    calibration_ : dict
        Knots of the curve from score to probability.
    training_auc_ : dict of str to float
        Of both rankings.
    time_unit_ : str
        Time unit of the snapshots.
    trained_until_ : str
        Latest end of an outcome window that was used.
    """

    _state = (
        "rule_",
        "typical_gap_",
        "calibration_",
        "training_auc_",
        "time_unit_",
        "trained_until_",
    )

    rule_: str
    typical_gap_: float
    calibration_: dict[str, Any]
    training_auc_: dict[str, float]
    time_unit_: TimeUnit
    trained_until_: str

    def fit(self, history: Sequence[LabelledSnapshot]) -> Self:
        """Choose ranking and curve on labelled snapshots.

        Parameters
        ----------
        history : sequence of LabelledSnapshot
            In any order; all customers of all of them are used.

        Raises
        ------
        TooLittleDataError
            If there is no snapshot, or only one of the two outcomes occurs.
        """
        check_history(history, self)
        churned = np.concatenate([labels(part) for part in history] or [np.empty(0)])
        if len(np.unique(churned)) < 2:
            raise TooLittleDataError(
                f"a recency rule is fitted on both outcomes, but {len(churned):,} labelled "
                "customers have at most one"
            )
        frames = [part.snapshot.frame for part in history]
        purchases = sum(float(frame["frequency"].sum()) for frame in frames)
        spans = sum(float(frame["recency"].sum()) for frame in frames)
        # Without a single repeat purchase every gap is unknown; any positive one ranks the same.
        self.typical_gap_ = spans / purchases if purchases else 1.0
        self.trained_until_ = str(max(part.window.closes for part in history))
        self.time_unit_ = history[0].snapshot.time_unit
        scores = {
            rule: np.concatenate([self._rank(part.snapshot, rule) for part in history])
            for rule in RECENCY_RULES
        }
        self.training_auc_ = {rule: float(auc(churned, score)) for rule, score in scores.items()}
        self.rule_ = max(RECENCY_RULES, key=lambda rule: self.training_auc_[rule])
        self.calibration_ = MonotoneCalibration.fit(scores[self.rule_], churned).to_dict()
        return self

    def score(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the ranking score, higher for more likely churn, keyed by customer."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        if snapshot.time_unit != self.time_unit_:
            raise CrmmlError(
                f"RecencyRule was fitted in units of {self.time_unit_!r}, the snapshot is in "
                f"{snapshot.time_unit!r}"
            )
        return pd.Series(self._rank(snapshot, self.rule_), snapshot.customer_id, name="score")

    def churn_probability(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the rate of churn seen at the customer's score in training."""
        score = self.score(snapshot)
        curve = MonotoneCalibration.from_dict(self.calibration_)
        return pd.Series(
            curve(np.asarray(score, dtype=np.float64)), score.index, name="churn_probability"
        )

    def _rank(self, snapshot: Snapshot, rule: str) -> FloatArray:
        x, t_x, T = (snapshot.frame[c].to_numpy(np.float64) for c in ("frequency", "recency", "T"))
        inactivity = T - t_x
        if rule == "inactivity":
            return np.asarray(inactivity)
        return np.asarray(inactivity * (x + 1) / (t_x + self.typical_gap_))


def labels(part: LabelledSnapshot) -> FloatArray:
    """Outcomes of a labelled snapshot, 1 for churned, in the order of its rows, shape (n,)."""
    churned = part.outcomes["churned"].reindex(part.snapshot.customer_id)
    return np.asarray(churned.to_numpy(dtype=np.float64))


class TransitionMatrix(Estimator):
    """Probability of the next window's class given this one's, shrunk towards the base as a whole.

    Row ``i`` is ``(n_ij + strength m_j) / (n_i + strength)`` with ``m_j`` the share of class ``j``
    in all next windows (half a customer added to each), so a rare class borrows from the others.

    Parameters
    ----------
    strength : float
        Equivalent number of customers of the prior of each row, > 0.

    Attributes
    ----------
    matrix_ : list of list of float
        Rows: class now; columns: class next, both in the order of ``LOYALTY_CLASSES``.
    n_pairs_ : int
        Pairs of consecutive windows counted.
    """

    _state = ("matrix_", "n_pairs_")
    matrix_: list[list[float]]
    n_pairs_: int

    def __init__(self, *, strength: float = 10.0) -> None:
        self.strength = strength

    def fit(self, now: pd.Series[str], after: pd.Series[str]) -> Self:
        """Count the changes of class.

        Parameters
        ----------
        now, after : Series of str
            Classes in consecutive windows, matched by position.

        Raises
        ------
        ParameterError
            If ``strength`` is not positive.
        """
        if not self.strength > 0:
            raise ParameterError("strength", "> 0", self.strength)
        k = len(LOYALTY_CLASSES)
        cells = class_positions(now) * k + class_positions(after)
        counts = np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.float64)
        marginal = counts.sum(axis=0) + 0.5
        marginal /= marginal.sum()
        matrix = (counts + self.strength * marginal) / (
            counts.sum(axis=1, keepdims=True) + self.strength
        )
        self.matrix_ = matrix.tolist()
        self.n_pairs_ = len(now)
        return self

    def predict_probabilities(self, now: pd.Series[str]) -> pd.DataFrame:
        """Return the probabilities of the next class, on the index of ``now``."""
        self._check_fitted()
        rows = np.asarray(self.matrix_)[class_positions(now)]
        return pd.DataFrame(rows, now.index, list(LOYALTY_CLASSES))


def persistence(now: pd.Series[str]) -> pd.DataFrame:
    """Say that nobody changes class: probability 1 of the present one, on the index of ``now``."""
    rows = np.eye(len(LOYALTY_CLASSES))[class_positions(now)]
    return pd.DataFrame(rows, now.index, list(LOYALTY_CLASSES))


def class_positions(names: pd.Series[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Positions of loyalty classes in ``LOYALTY_CLASSES``, shape (n,).

    Raises
    ------
    ParameterError
        If a name is no loyalty class.
    """
    found = pd.Index(LOYALTY_CLASSES).get_indexer(pd.Index(names))
    if (found < 0).any():
        unknown = sorted({str(name) for name in names[found < 0]})
        raise ParameterError("loyalty_class", f"one of {LOYALTY_CLASSES}", unknown)
    return np.asarray(found, dtype=np.int64)


Fitter: TypeAlias = Literal["bg_nbd", "pareto_nbd", "mbg_nbd"]
_FITTERS = {
    "bg_nbd": "BetaGeoFitter",
    "mbg_nbd": "ModifiedBetaGeoFitter",
    "pareto_nbd": "ParetoNBDFitter",
}


class LifetimesBaseline(Estimator):
    """A purchase model of the archived ``lifetimes`` package, as a candidate in backtests.

    Parameters
    ----------
    fitter : {"bg_nbd", "mbg_nbd", "pareto_nbd"}
        Which of its models.
    penalizer_coef : float
        Its ridge on the log-parameters, >= 0; 0 is maximum likelihood.

    Attributes
    ----------
    params_ : dict of str to float
        In the time unit of the snapshot.
    time_unit_ : str
        Time unit of the snapshot.
    """

    _state = ("params_", "time_unit_")
    params_: dict[str, float]
    time_unit_: TimeUnit

    def __init__(self, *, fitter: Fitter = "bg_nbd", penalizer_coef: float = 0.0) -> None:
        self.fitter = fitter
        self.penalizer_coef = penalizer_coef

    def fit(self, snapshot: Snapshot, sample_weight: FloatArray | None = None) -> Self:
        """Fit on the distinct rows with their counts, which lifetimes takes as weights.

        Parameters
        ----------
        snapshot : Snapshot
            Columns ``frequency, recency, T``.
        sample_weight : ndarray, shape (n_customers,), optional
            Weight of each customer.

        Raises
        ------
        TooLittleDataError
            If lifetimes does not converge, as on small samples.
        """
        check_snapshot(snapshot, self)
        gathered = snapshot.distinct()
        weights = np.bincount(gathered.inverse, sample_weight).astype(np.float64)
        columns = [gathered.rows[name].to_numpy() for name in ("frequency", "recency", "T")]
        self.params_ = _fit_or_penalise(
            self.fitter,
            _lifetimes_class(self._fitter_class()),
            self.penalizer_coef,
            lambda model: model.fit(*columns, weights=weights),
        )
        self.time_unit_ = snapshot.time_unit
        return self

    def expected_purchases(self, snapshot: Snapshot, horizon: str | Duration) -> pd.Series[float]:
        """Return E[purchases in the horizon after the cutoff], keyed by customer.

        Raises
        ------
        NotFittedError, CrmmlError
            If not fitted, or the time units differ.
        """
        check_snapshot(snapshot, self)
        return self._predict(
            snapshot,
            "conditional_expected_number_of_purchases_up_to_time",
            "expected_purchases",
            in_units(horizon, snapshot.time_unit),
        )

    def probability_alive(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return P(active at the cutoff), keyed by customer."""
        return self._predict(snapshot, "conditional_probability_alive", "probability_alive")

    def _predict(
        self, snapshot: Snapshot, method: str, name: str, *first: float
    ) -> pd.Series[float]:
        self._check_fitted()
        if snapshot.time_unit != self.time_unit_:
            raise CrmmlError(
                f"LifetimesBaseline was fitted in units of {self.time_unit_!r}, the snapshot is "
                f"in {snapshot.time_unit!r}"
            )
        model = _lifetimes_class(self._fitter_class())()
        model.params_ = pd.Series(self.params_)
        columns = [snapshot.frame[c].to_numpy() for c in ("frequency", "recency", "T")]
        with _quiet_lifetimes():
            values = getattr(model, method)(*first, *columns)
        return pd.Series(np.asarray(values, np.float64), snapshot.customer_id, name=name)

    def _fitter_class(self) -> str:
        if self.fitter not in _FITTERS:
            raise ParameterError("fitter", f"one of {sorted(_FITTERS)}", self.fitter)
        return _FITTERS[self.fitter]


class LifetimesSpendBaseline(Estimator):
    """The Gamma-Gamma spend model of ``lifetimes``, as a candidate in backtests.

    Parameters
    ----------
    penalizer_coef : float
        Its ridge on the log-parameters, >= 0.

    Attributes
    ----------
    params_ : dict of str to float
        ``p, q, v`` (its ``v`` is gamma).
    """

    _state = ("params_",)
    params_: dict[str, float]

    def __init__(self, *, penalizer_coef: float = 0.0) -> None:
        self.penalizer_coef = penalizer_coef

    def fit(self, snapshot: Snapshot, sample_weight: FloatArray | None = None) -> Self:
        """Fit on repeat buyers with a positive mean spend.

        Raises
        ------
        MissingColumnsError
            If ``monetary_value`` is missing.
        TooLittleDataError
            If there is no repeat buyer, or lifetimes does not converge, as on small samples.
        """
        check_snapshot(snapshot, self)
        x, spend = _spend_columns(snapshot)
        keep = (x > 0) & (spend > 0)
        if not keep.any():
            raise TooLittleDataError(
                "a spend model needs customers with repeat purchases; got none"
            )
        weights = None if sample_weight is None else sample_weight[keep]
        self.params_ = _fit_or_penalise(
            "gamma_gamma",
            _lifetimes_class("GammaGammaFitter"),
            self.penalizer_coef,
            lambda model: model.fit(x[keep], spend[keep], weights=weights),
        )
        return self

    def expected_spend(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the expected spend per purchase, keyed by customer."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        x, spend = _spend_columns(snapshot)
        model = _lifetimes_class("GammaGammaFitter")()
        model.params_ = pd.Series(self.params_)
        values = model.conditional_expected_average_profit(x, spend)
        return pd.Series(np.asarray(values), snapshot.customer_id, name="expected_spend")


def _spend_columns(snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
    frame = snapshot.frame
    if "monetary_value" not in frame:
        raise MissingColumnsError(["monetary_value"], map(str, frame.columns), table="snapshot")
    return frame["frequency"].to_numpy(), frame["monetary_value"].to_numpy(dtype=np.float64)


_PENALTY = 0.001
"""Penaliser of lifetimes with which a fit that does not converge is tried once more."""


def _fit_or_penalise(
    name: str, kind: Any, penalty: float, fit: Callable[[Any], object]
) -> dict[str, float]:
    """Fit a model of lifetimes, once more with its penaliser if it does not converge.

    Raises
    ------
    TooLittleDataError
        If it does not converge then either.
    """
    trials = [penalty] if penalty else [penalty, _PENALTY]
    for trial in trials:
        model = kind(penalizer_coef=trial)
        try:
            with _quiet_lifetimes():
                fit(model)
        except Exception as error:  # its ConvergenceError derives from ValueError, not exported
            if trial == trials[-1]:
                raise _unfit(name, error) from error
            continue
        if trial != penalty:
            text = f"lifetimes {name} did not converge and was fitted with its penaliser {trial:g}"
            warnings.warn(text, FitWarning, stacklevel=3)
        break
    return {str(k): float(v) for k, v in model.params_.items()}


def _unfit(fitter: str, error: Exception) -> TooLittleDataError:
    return TooLittleDataError(f"lifetimes {fitter} did not fit: {' '.join(str(error).split())}")


def _lifetimes_class(name: str) -> Any:
    # Its import sets the pandas option mode.chained_assignment, which pandas 3 deprecates.
    with _quiet_lifetimes():
        import lifetimes
    return getattr(lifetimes, name)


@contextmanager
def _quiet_lifetimes() -> Iterator[None]:
    """Silence what lifetimes alone warns of and prints: it is archived, nobody will mend it there.

    They come from options and functions that pandas, numpy and scipy have deprecated since 2020,
    and from logarithms of zero while its optimisers search.
    """
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.filterwarnings("ignore", module=r"(lifetimes|autograd|scipy)(\.|$)")
        yield
