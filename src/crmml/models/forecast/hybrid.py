"""Trees that correct a purchase process customer by customer, where that helps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.base import clone

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.exceptions import (
    CrmmlWarning,
    FitWarning,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features, feature_matrix
from crmml.features.snapshot import Snapshot
from crmml.metrics.bootstrap import hash_keys
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.boosting import Trees
from crmml.models.fits import Fits
from crmml.models.forecast.boosted import Rows, boosting_of, gather
from crmml.models.forecast.correction import FactorBounds
from crmml.models.forecast.forecaster import Forecaster, in_order, keyed
from crmml.models.forecast.plausibility import find_implausible
from crmml.models.forecast.process import ProcessForecaster
from crmml.models.purchase.compose import fit_purchase_model
from crmml.models.purchase.distribution import Correction, PredictiveDistribution, look_ahead
from crmml.stats.discounting import in_units


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
        # A window without a purchase has no level to learn from, and its logarithm none either.
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
            # The level of the whole window is the season or the economy, not the customer: taken
            # out,
            # the trees learn who differs from the others.
            levels.append(float(part.outcomes["purchases"].sum() / expected.sum()))
            offsets.append(np.log(np.maximum(expected, 1e-6)) + np.log(levels[-1]))
        self.features_ = choose_features(closed)
        rows = gather(closed, self.features_, self.seed, offsets)
        boosting = boosting_of(self, "poisson")
        found = boosting.cross_validate(rows.X, rows.purchases, rows.fold, rows.offset)
        base = np.exp(np.concatenate(offsets))
        self.gain_, self.gain_error_ = _deviance_gain(rows, base, found.outside)
        self._drop_trees()
        outside = np.ones(len(base))
        lengths = [in_units(part.window.horizon, snapshot.time_unit) for part in closed]
        rate = base / np.repeat(lengths, [len(part) for part in closed])
        # One standard error, so that noise alone seldom brings trees in.
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
        # The drift is judged with factors of folds that had not seen the customer: with fitted ones
        # rates would seem to stand stiller than they do.
        for model, part, learned, level in zip(
            processes, closed, np.split(outside, ends), levels, strict=True
        ):
            # The likelihood of a drift widens every distribution anew; some thousand customers tell
            # it.
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
        implausible = find_implausible(self.forecast(snapshot), snapshot, closed, self.horizon)
        if not implausible:
            return
        process = self.process_.forecast(snapshot)
        if len(implausible) > len(find_implausible(process, snapshot, closed, self.horizon)):
            warnings.warn(
                f"the learned correction was dropped, the forecast is that of the process: "
                f"{'; '.join(implausible)}",
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
        check_snapshot(snapshot, self)
        self._check_fitted()
        expected = self.process_.forecast(snapshot)
        factor = self._factor(snapshot, expected["purchases"].to_numpy())
        return keyed(snapshot, expected["purchases"] * factor, expected["spend"] * factor)

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
        # Two percent of the variance move no interval that anybody reads.
        options={"xatol": 0.02},
    )
    return math.exp(found.x) / span if found.fun < loss(0.0) else 0.0


def _deviance_gain(rows: Rows, base: FloatArray, score: FloatArray) -> tuple[float, float]:
    """Fall of the Poisson deviance per customer, and its standard error."""
    # The deviance of Poisson counts is 2 (mean - y log(mean)) plus what does not depend on it.
    gain = 2.0 * (base - base * np.exp(score) + rows.purchases * score)
    by_customer = np.bincount(rows.customer, weights=gain)
    error = by_customer.std(ddof=1) / np.sqrt(len(by_customer)) if len(by_customer) > 1 else np.inf
    return float(by_customer.mean()), float(error)
