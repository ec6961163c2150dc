"""Forecasts of purchases and spend in one horizon: the candidates of a backtest.

Every forecaster learns from the past alone: :meth:`Forecaster.fit` takes the snapshot to forecast
from and *training windows*, earlier snapshots whose outcome windows closed before its cutoff. A
purchase process needs none; what needs one and has none says so.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar, nnls
from sklearn.base import clone

from crmml._typing import BoolArray, Duration, FloatArray, IntArray
from crmml.exceptions import (
    CrmmlWarning,
    FitWarning,
    FutureLeakError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features, feature_matrix
from crmml.features.snapshot import CORE_COLUMNS, Snapshot
from crmml.features.windows import customer_folds
from crmml.metrics.bootstrap import hash_keys
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.boosting import Boosting, Objective, Trees
from crmml.models.estimator import Estimator
from crmml.models.fits import Fits
from crmml.models.forecast.correction import FactorBounds
from crmml.models.forecast.plausibility import find_implausible
from crmml.models.purchase.compose import Composition, fit_purchase_model
from crmml.models.purchase.distribution import Correction, PredictiveDistribution, look_ahead
from crmml.stats.discounting import in_units


class Forecaster(Estimator, ABC):
    """Expected purchases and net spend of each customer within ``horizon`` after the cutoff.

    Attributes
    ----------
    complexity : int
        Ties between candidates go to the smaller one.
    """

    complexity: ClassVar[int]
    horizon: str | Duration

    @property
    def n_windows(self) -> int:
        """How many of the newest training windows it learns from."""
        return 3

    @abstractmethod
    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Learn from a snapshot and from earlier ones with their outcomes.

        Parameters
        ----------
        snapshot : Snapshot
            To forecast from.
        windows : sequence of LabelledSnapshot
            Training windows.
        fits : Fits, optional
            Models known already, so that none is fitted twice; what is fitted is added.

        Raises
        ------
        TooLittleDataError
            If the forecaster needs a training window that is not there; the text says which.
        FutureLeakError
            If the outcome window of a training window ends after the cutoff of the snapshot.
        """

    @abstractmethod
    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, or None where only a mean is forecast."""
        del snapshot, n_max
        return None

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff.

        Returns
        -------
        ndarray, shape (n_customers, n_lengths), or None
            None where only the horizon is forecast.
        """
        del snapshot, lengths
        return None


def in_order(snapshot: Snapshot, windows: Sequence[LabelledSnapshot]) -> list[LabelledSnapshot]:
    """Put training windows in the order of their cutoffs and their rows in that of the customers.

    What is learned then depends neither on their order nor on that of the rows, down to the last
    bit.

    Raises
    ------
    FutureLeakError
        If an outcome window ends after the cutoff of the snapshot.
    """
    late = [part.window for part in windows if part.window.closes > snapshot.cutoff]
    if late:
        raise FutureLeakError(
            f"a training window closes on {late[0].closes}, after the cutoff {snapshot.cutoff} of "
            "the forecast: it knows what is to be forecast"
        )
    found = []
    for part in sorted(windows, key=lambda part: (part.window.cutoff, part.window.closes)):
        if part.snapshot.customer_id.is_monotonic_increasing:
            ordered = part.snapshot  # itself, so that what was fitted on it is found again
        else:
            frame = part.snapshot.frame.sort_values("customer_id", ignore_index=True)
            ordered = replace(part.snapshot, frame=frame)
        found.append(
            replace(part, snapshot=ordered, outcomes=part.outcomes.loc[ordered.customer_id])
        )
    return found


def _keyed(snapshot: Snapshot, purchases: Any, spend: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"purchases": np.asarray(purchases), "spend": np.asarray(spend)}, snapshot.customer_id
    )


class OwnMeanSpend(Estimator):
    """Spend per purchase as it was: each customer's own mean, and that of all without repeats.

    Attributes
    ----------
    level_ : float
        Mean spend per repeat purchase of all.
    """

    _state = ("level_",)
    level_: float

    def fit(self, snapshot: Snapshot) -> Self:
        """Find the mean spend per repeat purchase; 0 if there is none."""
        check_snapshot(snapshot, self)
        x, spend = (snapshot.frame[name].to_numpy() for name in ("frequency", "monetary_value"))
        self.level_ = math.fsum(x * spend) / max(math.fsum(x), 1.0)
        return self

    def expected_spend(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the expected spend per purchase, keyed by customer."""
        self._check_fitted()
        own = snapshot.frame["monetary_value"].to_numpy(dtype=np.float64)
        repeated = snapshot.frame["frequency"].to_numpy() > 0
        values = np.where(repeated, own, self.level_)
        return pd.Series(values, snapshot.customer_id, name="expected_spend")


class ProcessForecaster(Forecaster):
    """A purchase process times a spend model.

    Parameters
    ----------
    purchase_model : estimator or Composition
        Unfitted; or a process whose clocks and origin each fit chooses by itself.
    spend_model : estimator
        Unfitted. Where it cannot be fitted, spend is each customer's own mean.
    horizon : str or Duration
        How far to look ahead.
    """

    complexity = 1
    _state = ("purchase_model_", "spend_model_")
    _learners: ClassVar[Mapping[str, str]] = {
        "purchase_model": "purchase_model_",
        "spend_model": "spend_model_",
    }
    purchase_model_: Any
    spend_model_: Any

    def __init__(self, *, purchase_model: Any, spend_model: Any, horizon: str | Duration) -> None:
        self.purchase_model = purchase_model
        self.spend_model = spend_model
        self.horizon = horizon

    @property
    def n_windows(self) -> int:
        """How many of the newest training windows it learns from."""
        return 1 if isinstance(self.purchase_model, Composition) else 0

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Fit both models on the snapshot; only the choice of clocks needs a training window.

        Warns
        -----
        FitWarning
            If spend falls back on each customer's own mean.
        """
        check_snapshot(snapshot, self)
        check_history(windows, self)
        fits = Fits() if fits is None else fits
        self.purchase_model_ = fit_purchase_model(
            self.purchase_model, snapshot, in_order(snapshot, windows), fits
        )
        try:
            self.spend_model_ = fits.fit(self.spend_model, snapshot)
        except TooLittleDataError as error:
            warnings.warn(
                f"spend is forecast by each customer's own mean: {error}", FitWarning, stacklevel=2
            )
            self.spend_model_ = fits.fit(OwnMeanSpend(), snapshot)
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        purchases = self.purchase_model_.expected_purchases(snapshot, self.horizon)
        return _keyed(snapshot, purchases, purchases * self.spend_model_.expected_spend(snapshot))

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, or None where the model gives a mean only."""
        self._check_fitted()
        if not hasattr(self.purchase_model_, "purchase_distribution"):
            return None
        table: pd.DataFrame = self.purchase_model_.purchase_distribution(
            snapshot, self.horizon, n_max
        )
        return table

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff."""
        self._check_fitted()
        expected = [self.purchase_model_.expected_purchases(snapshot, length) for length in lengths]
        return np.column_stack(expected) if expected else np.empty((len(snapshot), 0))


class HeuristicForecaster(Forecaster):
    """What a good analyst would do by hand: as before, or as others of the group have done.

    Expected purchases are ``frequency * horizon / max(T, horizon)`` for customers with repeat
    purchases whose inactivity is at most ``cut`` horizons. All others get the mean of their group,
    silent or not and by repeat purchases (0, 1, 2 to 3, 4 to 7, 8 or more), as it was on the newest
    training window. ``cut`` is the one with the least squared error there. Spend is the
    customer's own mean spend per purchase.

    Parameters
    ----------
    horizon : str or Duration
        How far to look ahead.

    Attributes
    ----------
    cut_ : float
        In horizons; 1 without a training window.
    means_ : list of list of float
        Purchases per horizon of the groups: rows for not silent and silent, a column for each
        class of repeat purchases; 0 without a training window, where nothing is known of them.
    spend_model_ : OwnMeanSpend
        Fitted on the snapshot.
    """

    complexity = 0
    _state = ("cut_", "means_", "spend_model_")
    _parts: ClassVar[Mapping[str, Any]] = {"spend_model_": OwnMeanSpend}
    _edges: ClassVar[tuple[float, ...]] = (1.0, 2.0, 4.0, 8.0)
    cut_: float
    spend_model_: OwnMeanSpend
    means_: Sequence[Sequence[float]] = ((0.0,) * 5,) * 2  # a heuristic stored by 0.1 has none

    def __init__(self, *, horizon: str | Duration) -> None:
        self.horizon = horizon

    @property
    def n_windows(self) -> int:
        """How many of the newest training windows it learns from."""
        return 1

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Find the cut and the means on the newest training window."""
        check_snapshot(snapshot, self)
        check_history(windows, self)
        del fits
        closed = in_order(snapshot, windows)
        self.cut_, self.means_ = 1.0, [[0.0] * (len(self._edges) + 1) for _ in range(2)]
        if closed:
            newest = closed[-1]
            unit = newest.snapshot.time_unit
            length = in_units(newest.window.horizon, unit)
            actual = newest.outcomes["purchases"].to_numpy(dtype=np.float64)
            idle = self._columns(newest.snapshot)[2]
            cuts = np.unique(np.quantile(idle, np.linspace(0.02, 1.0, 50)))
            trials = [self._trial(newest.snapshot, length, actual, cut) for cut in cuts]
            best = int(np.argmin([error for error, _ in trials]))
            self.cut_, means = float(cuts[best]) / length, trials[best][1]
            self.means_ = (means * in_units(self.horizon, unit) / length).tolist()
        self.spend_model_ = OwnMeanSpend().fit(snapshot)
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        purchases = self.track(snapshot, [Duration.parse(self.horizon)])[:, 0]
        spend = self.spend_model_.expected_spend(snapshot).to_numpy()
        return _keyed(snapshot, purchases, purchases * spend)

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray:
        """Return expected purchases until each of several moments after the cutoff."""
        self._check_fitted()
        horizon = in_units(self.horizon, snapshot.time_unit)
        own, group, as_before = self._parted(snapshot, horizon, self.cut_ * horizon)
        expected = np.where(as_before, own, np.ravel(self.means_)[group])
        shares = np.array([in_units(length, snapshot.time_unit) for length in lengths]) / horizon
        return np.outer(expected, shares)

    def _trial(
        self, snapshot: Snapshot, length: float, actual: FloatArray, cut: float
    ) -> tuple[float, FloatArray]:
        """Return the squared error with a cut, and the means of the groups that go with it."""
        own, group, as_before = self._parted(snapshot, length, cut)
        rest = ~as_before
        size = 2 * (len(self._edges) + 1)
        bought = np.bincount(group[rest], weights=actual[rest], minlength=size)
        count = np.bincount(group[rest], minlength=size)
        # One customer like the average of them all, so that a small group does not say "never".
        means = (bought + bought.sum() / max(int(rest.sum()), 1)) / (count + 1.0)
        error = np.where(as_before, own, means[group]) - actual
        return float((error**2).sum()), means.reshape(2, -1)

    def _parted(
        self, snapshot: Snapshot, length: float, cut: float
    ) -> tuple[FloatArray, IntArray, BoolArray]:
        """Return purchases as before, the group, and who is taken to go on as before."""
        x, T, idle = self._columns(snapshot)
        silent = idle > cut
        classes = np.searchsorted(self._edges, x, side="right")
        group = (silent * (len(self._edges) + 1) + classes).astype(np.int64)
        return x * length / np.maximum(T, length), group, ~silent & (x > 0)

    @staticmethod
    def _columns(snapshot: Snapshot) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return repeat purchases, length of the observation, inactivity."""
        x, t_x, T = (snapshot.frame[name].to_numpy(np.float64) for name in CORE_COLUMNS[1:])
        return x, T, T - t_x


def _boosting(settings: BoostedForecaster | HybridForecaster, objective: Objective) -> Boosting:
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
class _Rows:
    X: FloatArray
    purchases: FloatArray
    spend: FloatArray
    fold: IntArray
    customer: IntArray
    """Which rows belong to one customer."""
    offset: FloatArray | None = None

    def subset(self, keep: BoolArray) -> _Rows:
        return _Rows(
            self.X[keep],
            self.purchases[keep],
            self.spend[keep],
            self.fold[keep],
            self.customer[keep],
            None if self.offset is None else self.offset[keep],
        )


def _gather(
    parts: Sequence[LabelledSnapshot],
    features: Sequence[str],
    seed: int,
    offsets: Sequence[FloatArray] | None = None,
) -> _Rows:
    """Stack the training windows."""
    ids = [part.snapshot.customer_id for part in parts]
    codes, _ = pd.factorize(np.concatenate([np.asarray(one, dtype=object) for one in ids]))
    outcomes = pd.concat([part.outcomes[["purchases", "spend"]] for part in parts])
    return _Rows(
        X=np.concatenate([feature_matrix(part.snapshot, features) for part in parts]),
        purchases=outcomes["purchases"].to_numpy(dtype=np.float64),
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
        rows = _gather(fitting, self.features_, self.seed)
        if self.kind == "tweedie":
            self.boosters_ = {
                "purchases": self._grow("tweedie", rows, rows.purchases),
                "spend": self._grow("tweedie", rows, rows.spend),
            }
            return self
        bought = rows.purchases > 0
        if bought.sum() < 2 * self.min_leaf:
            raise TooLittleDataError(
                f"a hurdle model needs at least {2 * self.min_leaf} buyers in its windows; got "
                f"{int(bought.sum())}"
            )
        buyers = rows.subset(bought)
        self.boosters_ = {
            "any": self._grow("binary", rows, bought.astype(np.float64)),
            "purchases": self._grow("poisson", buyers, buyers.purchases),
            "spend": self._grow("gamma", buyers, np.maximum(buyers.spend, 0.01)),
        }
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        X = feature_matrix(snapshot, self.features_)
        purchases, spend = (np.exp(self._score(name, X)) for name in ("purchases", "spend"))
        if self.kind == "hurdle":
            any_ = 1.0 / (1.0 + np.exp(-self._score("any", X)))
            purchases, spend = any_ * purchases, any_ * spend
        return _keyed(snapshot, purchases, spend)

    def _grow(self, objective: Objective, rows: _Rows, target: FloatArray) -> str:
        """Find the number of trees, grow them on all rows, and return them as text."""
        boosting = _boosting(self, objective)
        found = boosting.cross_validate(rows.X, target, rows.fold, rows.offset)
        return boosting.grow(rows.X, target, found.rounds, rows.offset).text

    def _score(self, name: str, matrix: FloatArray) -> FloatArray:
        return Trees(self.boosters_[name], self.num_threads).score(matrix)


class HybridForecaster(Forecaster):
    """Trees that correct a purchase process customer by customer.

    On each training window the process is fitted to the snapshot of that time, and Poisson trees
    learn by which factor a customer bought more or less than it expected, given the behaviour
    features (the log of the expectation is the offset). The factor is applied to the expectation at
    the cutoff. As it is a factor, training windows may be shorter than the horizon. The **level**
    of the forecast is left to the process: expectations are scaled to the total of each training
    window, and the factors to leave the total at the cutoff as it is, because a level seen once may
    be the season, and customers at the cutoff are older than those of the training windows.
    No factor leaves the range that customers left out had among those of like expectation
    (:class:`~crmml.models.forecast.correction.FactorBounds`), and where the largest forecasts still
    exceed all history the correction is dropped
    (:func:`~crmml.models.forecast.plausibility.find_implausible`).

    Trees are kept only if they help customers whom they have not seen: their Poisson deviance on
    the folds of customers left out must fall by more than one standard error (over customers, who
    may be in several training windows). Otherwise the factor is 1, and the forecast that of the
    process.

    Parameters
    ----------
    purchase_models : sequence of estimators or Compositions
        Unfitted; the one with the highest likelihood on the snapshot is corrected.
    spend_model : estimator
        Unfitted.
    horizon : str or Duration
        How far to look ahead.
    learning_rate, num_leaves, min_leaf, ridge, max_rounds, num_threads, seed
        As for :class:`BoostedForecaster`.

    Attributes
    ----------
    process_ : ProcessForecaster
        Fitted on the snapshot.
    booster_ : str or None
        The trees in LightGBM's text format; None if they do not help.
    n_rounds_ : int
        Trees kept.
    gain_, gain_error_ : float
        Fall of the deviance per customer left out, and its standard error.
    bounds_ : FactorBounds or None
        Range of the factors, as customers outside the training bear them out; None
        where there are no trees.
    scale_ : float
        Multiplies the factors before they are bounded, so that they leave the total of the fit's
        snapshot as it is.
    drift_ : float
        How much the logarithm of a customer's purchase rate wanders: variance of its random walk
        per time unit, with the highest likelihood on the training windows; 0 where rates stand
        still.
    features_ : list of str
        Columns used.
    """

    complexity = 4
    _state = (
        "booster_",
        "n_rounds_",
        "gain_",
        "gain_error_",
        "scale_",
        "drift_",
        "features_",
        "process_",
        "bounds_",
    )
    _parts: ClassVar[Mapping[str, Any]] = {"bounds_": FactorBounds}
    process_: ProcessForecaster
    bounds_: FactorBounds | None = None
    booster_: str | None
    n_rounds_: int
    gain_: float
    gain_error_: float
    scale_: float
    drift_: float
    features_: list[str]

    def __init__(
        self,
        *,
        purchase_models: Sequence[Any],
        spend_model: Any,
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
        self.purchase_models = purchase_models
        self.spend_model = spend_model

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Fit the process at each cutoff and the trees on what it missed after it."""
        check_snapshot(snapshot, self)
        check_history(windows, self)
        fits = Fits() if fits is None else fits
        closed = [part for part in in_order(snapshot, windows) if part.outcomes["purchases"].any()]
        if not closed:
            raise TooLittleDataError(
                "a hybrid learns from an outcome window with purchases that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        prototype = _likeliest(self.purchase_models, snapshot, closed, fits)
        self.process_ = ProcessForecaster(
            purchase_model=prototype, spend_model=self.spend_model, horizon=self.horizon
        ).fit(snapshot, fits=fits)
        processes = [fits.fit(prototype, part.snapshot) for part in closed]
        offsets, levels = [], []
        for model, part in zip(processes, closed, strict=True):
            expected = model.expected_purchases(part.snapshot, part.window.horizon).to_numpy()
            levels.append(float(part.outcomes["purchases"].sum() / expected.sum()))
            offsets.append(np.log(np.maximum(expected, 1e-6)) + np.log(levels[-1]))
        self.features_ = choose_features(closed)
        rows = _gather(closed, self.features_, self.seed, offsets)
        boosting = _boosting(self, "poisson")
        found = boosting.cross_validate(rows.X, rows.purchases, rows.fold, rows.offset)
        base = np.exp(np.concatenate(offsets))
        self.gain_, self.gain_error_ = _deviance_gain(rows, base, found.outside)
        self._drop_trees()
        outside = np.ones(len(base))
        lengths = [in_units(part.window.horizon, snapshot.time_unit) for part in closed]
        rate = base / np.repeat(lengths, [len(part) for part in closed])
        if self.gain_ > self.gain_error_:
            self.bounds_ = FactorBounds.of(rate, found.outside)
            trees = boosting.grow(rows.X, rows.purchases, found.rounds, rows.offset)
            self.booster_, self.n_rounds_ = trees.text, found.rounds
            self._leave_total(snapshot)
            self._drop_if_implausible(snapshot, closed)
        if self.bounds_ is not None:
            outside = self.bounds_.factor(rate, found.outside)
        ends = np.cumsum([len(part) for part in closed])[:-1]
        trials = []
        for model, part, learned, level in zip(
            processes, closed, np.split(outside, ends), levels, strict=True
        ):
            some = _sample(part.snapshot.customer_id)
            factor = level * learned[some]
            ahead = look_ahead(model, part.snapshot.subset(some), part.window.horizon)
            trials.append(
                (
                    ahead.correction(factor),
                    part.outcomes["purchases"].to_numpy(dtype=np.float64)[some],
                )
            )
        self.drift_ = _likeliest_drift(trials)
        return self

    def _leave_total(self, snapshot: Snapshot) -> None:
        """Scale the factors so that they leave the total of a snapshot as it is."""
        assert self.bounds_ is not None  # noqa: S101 - the caller has just found them
        expected = self.process_.forecast(snapshot)["purchases"].to_numpy()
        # In the order of the expectations, so that the order of the customers changes nothing.
        order = np.argsort(expected, kind="stable")
        rate = expected / in_units(self.horizon, snapshot.time_unit)
        score = self._score(snapshot)
        self.scale_ = math.exp(self.bounds_.shift(rate[order], score[order], expected[order]))

    def _drop_trees(self) -> None:
        self.booster_, self.n_rounds_, self.scale_, self.bounds_ = None, 0, 1.0, None

    def _drop_if_implausible(self, snapshot: Snapshot, closed: Sequence[LabelledSnapshot]) -> None:
        """Fall back to the process where the correction makes forecasts that no history bears out.

        What is implausible without it, too, is not its fault.
        """
        said = find_implausible(self.forecast(snapshot), snapshot, closed, self.horizon)
        if not said:
            return
        process = self.process_.forecast(snapshot)
        if len(said) > len(find_implausible(process, snapshot, closed, self.horizon)):
            warnings.warn(
                f"the learned correction was dropped, the forecast is that of the process: "
                f"{'; '.join(said)}",
                FitWarning,
                stacklevel=3,
            )
            self._drop_trees()

    def _score(self, snapshot: Snapshot) -> FloatArray:
        """Return the logarithm of the factor as learned, without its scale."""
        assert self.booster_ is not None  # noqa: S101 - callers ask only where there are trees
        X = feature_matrix(snapshot, self.features_)
        return Trees(self.booster_, self.num_threads).score(X)

    def factor(self, snapshot: Snapshot) -> FloatArray:
        """Return how many times the purchases of the process each customer makes, shape (n,)."""
        self._check_fitted()
        if self.booster_ is None:
            return np.ones(len(snapshot))
        return self._factor(snapshot, self.process_.forecast(snapshot)["purchases"].to_numpy())

    def _factor(self, snapshot: Snapshot, expected: FloatArray) -> FloatArray:
        """Return the factors of customers of whom the process expects so many purchases."""
        if self.booster_ is None:
            return np.ones(len(snapshot))
        score = math.log(self.scale_) + self._score(snapshot)
        if self.bounds_ is None:  # of a bundle from before factors were bounded
            return np.exp(score)
        return self.bounds_.factor(expected / in_units(self.horizon, snapshot.time_unit), score)

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        expected = self.process_.forecast(snapshot)
        factor = self._factor(snapshot, expected["purchases"].to_numpy())
        return _keyed(snapshot, expected["purchases"] * factor, expected["spend"] * factor)

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame:
        """Return P(n purchases), n = 0..n_max, with the mean of :meth:`forecast`.

        The factor acts on the purchase rate of those who are active, so it changes neither
        P(active) nor the chance to leave at a purchase. The Gamma distribution of the rate is
        widened for rates that wander: between means over a past of length ``T`` and a horizon of
        length ``h`` a random walk of variance ``drift_`` per time unit has moved by a variance of
        ``drift_ (T + h) / 3``.
        """
        return self.predictive(snapshot).pmf(n_max)

    def predictive(self, snapshot: Snapshot) -> PredictiveDistribution:
        """Return the predictive distribution of purchases in the horizon: the corrected process."""
        self._check_fitted()
        return self.correct(
            look_ahead(self.process_.purchase_model_, snapshot, self.horizon), snapshot
        )

    def correct(self, ahead: PredictiveDistribution, snapshot: Snapshot) -> PredictiveDistribution:
        """Correct the distribution of the process in any horizon.

        Beyond the horizon of the forecast, of which nothing was learned, the factors fade: they
        fall to 1/e of their distance from 1 in one more horizon.

        Parameters
        ----------
        ahead : PredictiveDistribution
            Of ``process_.purchase_model_``, at its estimates or under its posterior.
        snapshot : Snapshot
            Of the same customers.
        """
        fade = in_units(self.horizon, snapshot.time_unit)
        return ahead.corrected(self.factor(snapshot), self.drift_, fade, self.horizon)

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff."""
        path = self.process_.track(snapshot, lengths)
        return None if path is None else path * self.factor(snapshot)[:, None]

    _learners: ClassVar[Mapping[str, str]] = {
        "purchase_models": "process_",
        "spend_model": "process_",
    }

    @classmethod
    def _unfitted(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        """Only the purchase model that was used is kept."""
        process = state["process_"]
        return {
            "purchase_models": [process.purchase_model],
            "spend_model": process.spend_model,
        }


def _likeliest(
    candidates: Sequence[Any],
    snapshot: Snapshot,
    windows: Sequence[LabelledSnapshot],
    fits: Fits,
) -> Any:
    """Choose the purchase model with the highest likelihood, among those that can be fitted."""
    found: list[tuple[float, Any]] = []
    refused: list[str] = []
    for candidate in candidates:
        with warnings.catch_warnings():
            # The chosen one is asked for again, and warns then.
            warnings.simplefilter("ignore", CrmmlWarning)
            try:
                fitted = fit_purchase_model(candidate, snapshot, windows, fits)
                found.append((fitted.log_likelihood_, clone(fitted)))
            except TooLittleDataError as error:
                refused.append(str(error))
    if not found:
        raise TooLittleDataError(f"no purchase model can be fitted: {'; '.join(refused)}")
    return max(found, key=lambda pair: pair[0])[1]


_MOST_TRIED = 4000


def _sample(ids: pd.Index[Any]) -> BoolArray:
    """Mark some thousand customers, by the hashes of their ids."""
    keys = hash_keys(ids)
    if len(keys) <= _MOST_TRIED:
        return np.ones(len(keys), dtype=bool)
    return np.asarray(keys <= np.partition(keys, _MOST_TRIED)[_MOST_TRIED])


def _likeliest_drift(trials: Sequence[tuple[Correction, FloatArray]]) -> float:
    """Find the drift with the highest likelihood of what was bought in the training windows."""

    def loss(drift: float) -> float:
        total = 0.0
        for correction, bought in trials:
            table = correction.at(drift).pmf(int(bought.max(initial=0.0))).to_numpy()
            happened = table[np.arange(len(bought)), bought.astype(np.int64)]
            total -= float(np.log(np.maximum(happened, 1e-300)).sum())
        return total

    span = float(np.mean([correction.span.mean() for correction, _ in trials]))
    found = minimize_scalar(
        lambda log_variance: loss(math.exp(log_variance) / span),
        bounds=(math.log(1e-3), math.log(3.0)),
        method="bounded",
        options={"xatol": 0.02},
    )
    return math.exp(found.x) / span if found.fun < loss(0.0) else 0.0


def _deviance_gain(rows: _Rows, base: FloatArray, score: FloatArray) -> tuple[float, float]:
    """Fall of the Poisson deviance per customer, and its standard error."""
    # The deviance of Poisson counts is 2 (mean - y log(mean)) plus what does not depend on it.
    gain = 2.0 * (base - base * np.exp(score) + rows.purchases * score)
    by_customer = np.bincount(rows.customer, weights=gain)
    error = by_customer.std(ddof=1) / np.sqrt(len(by_customer)) if len(by_customer) > 1 else np.inf
    return float(by_customer.mean()), float(error)


class BlendForecaster(Forecaster):
    """A weighted sum of forecasts, weights >= 0 by least squares on the newest training window.

    Parameters
    ----------
    members : sequence of Forecaster
        Unfitted; they are given the blend's horizon.
    horizon : str or Duration
        How far to look ahead.

    Attributes
    ----------
    weights_ : list of float
        Of ``members_``, adding up to 1.
    members_ : list of Forecaster
        Fitted; those that could be weighed and got a weight.
    """

    complexity = 5
    _state = ("weights_", "members_")
    _learners: ClassVar[Mapping[str, str]] = {
        "members": "members_"
    }  # only those with a weight are kept
    weights_: list[float]
    members_: list[Forecaster]

    def __init__(self, *, members: Sequence[Forecaster], horizon: str | Duration) -> None:
        self.members = members
        self.horizon = horizon

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Weigh the members on the newest training window, and fit them on the snapshot."""
        check_snapshot(snapshot, self)
        check_history(windows, self)
        fits = Fits() if fits is None else fits
        closed = in_order(snapshot, windows)
        if not closed:
            raise TooLittleDataError(
                "a blend is weighed on an outcome window that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        stage = closed[-1]
        earlier = [part for part in closed if part.window.closes <= stage.window.cutoff]
        fitted, columns = [], []
        for member in self.members:
            trial = clone(member).set_params(horizon=stage.window.horizon)
            try:
                trial.fit(stage.snapshot, earlier, fits=fits)
                columns.append(trial.forecast(stage.snapshot))
                final = clone(member).set_params(horizon=self.horizon)
                fitted.append(final.fit(snapshot, closed, fits=fits))
            except TooLittleDataError:
                # It cannot be weighed, or not be fitted now, so it gets no weight.
                columns = columns[: len(fitted)]
        if not fitted:
            raise TooLittleDataError("no member of the blend can be weighed and fitted")
        actual = stage.outcomes["purchases"].to_numpy(dtype=np.float64)
        matrix = np.column_stack([column["purchases"].to_numpy() for column in columns])
        # Level is left to the members: each is scaled to the total, and the weights add up to 1.
        totals = np.maximum(matrix.sum(axis=0), 1e-12)
        found, _ = nnls(matrix * (actual.sum() / totals), actual)
        if not found.sum() > 0:
            raise TooLittleDataError("no member of the blend forecasts the training window at all")
        kept = np.flatnonzero(found > 1e-6 * found.sum())
        self.weights_ = (found[kept] / found[kept].sum()).tolist()
        self.members_ = [fitted[i] for i in kept]
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        parts = [
            weight * member.forecast(snapshot)
            for weight, member in zip(self.weights_, self.members_, strict=True)
        ]
        total: pd.DataFrame = sum(parts[1:], start=parts[0])
        return total

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, where every member with a weight has one.

        It is the mixture of theirs, whose mean is that of :meth:`forecast`.
        """
        self._check_fitted()
        distributions = [member.distribution(snapshot, n_max) for member in self.members_]
        known = [table for table in distributions if table is not None]
        if len(known) < len(distributions):
            return None
        mixed = sum(w * table.to_numpy() for w, table in zip(self.weights_, known, strict=True))
        return pd.DataFrame(mixed, index=known[0].index, columns=known[0].columns)

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff."""
        self._check_fitted()
        paths = [member.track(snapshot, lengths) for member in self.members_]
        known = [path for path in paths if path is not None]
        if len(known) < len(paths):
            return None
        return np.asarray(sum(w * path for w, path in zip(self.weights_, known, strict=True)))
