"""Forecasts of purchases and spend in one horizon: the candidates of a backtest.

Every forecaster learns from the past alone: :meth:`Forecaster.fit` takes the snapshot to forecast
from and *rehearsals*, earlier snapshots whose outcome windows closed before its cutoff. A purchase
process needs no rehearsal; what needs one and has none says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.base import clone

from crmml import models
from crmml._typing import Duration, FloatArray
from crmml.exceptions import MissingColumnsError, ParameterError, TooLittleDataError
from crmml.features.behaviour import FEATURES
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import CORE_COLUMNS, Snapshot
from crmml.features.windows import customer_folds
from crmml.metrics.bootstrap import hash_keys
from crmml.models.base import Estimator
from crmml.stats.discounting import in_units

_SEASON = "cutoff_season_*"


class Forecaster(Estimator):
    """Expected purchases and net spend of each customer within ``horizon`` after the cutoff.

    Attributes
    ----------
    complexity : int
        Ties between candidates go to the smaller one.
    """

    complexity: ClassVar[int]
    horizon: str | Duration

    def fit(self, snapshot: Snapshot, rehearsals: Sequence[LabelledSnapshot] = ()) -> Self:
        """Learn from a snapshot and from earlier ones with their outcomes.

        Raises
        ------
        TooLittleDataError
            If the forecaster needs a rehearsal that is not there; the text says which.
        """
        raise NotImplementedError

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        raise NotImplementedError

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, or None where only a mean is forecast."""
        del snapshot, n_max
        return None


def _keyed(snapshot: Snapshot, purchases: Any, spend: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {"purchases": np.asarray(purchases), "spend": np.asarray(spend)}, snapshot.customer_id
    )


class ProcessForecaster(Forecaster):
    """A purchase process times a spend model.

    Parameters
    ----------
    purchase_model, spend_model : estimators
        Unfitted; the spend model may be None where only purchases are forecast (spend is then
        each customer's own mean, or the mean of all without repeats).
    horizon : str or Duration
        How far to look ahead.
    """

    complexity = 1
    _state = ("purchase_model_", "spend_model_")
    purchase_model_: Any
    spend_model_: Any

    def __init__(self, *, purchase_model: Any, spend_model: Any, horizon: str | Duration) -> None:
        self.purchase_model = purchase_model
        self.spend_model = spend_model
        self.horizon = horizon

    def fit(self, snapshot: Snapshot, rehearsals: Sequence[LabelledSnapshot] = ()) -> Self:
        """Fit both models on the snapshot; rehearsals are not needed."""
        del rehearsals
        self.purchase_model_ = clone(self.purchase_model).fit(snapshot)
        self.spend_model_ = clone(self.spend_model).fit(snapshot)
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

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        self._check_fitted()
        return {
            "class": type(self).__name__,
            "settings": {"horizon": str(self.horizon)},
            "state": {name: getattr(self, name).to_dict() for name in self._state},
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; it would be fitted again alike."""
        fitted = {name: models.from_dict(stored["state"][name]) for name in cls._state}
        model = cls(
            purchase_model=clone(fitted["purchase_model_"]),
            spend_model=clone(fitted["spend_model_"]),
            horizon=stored["settings"]["horizon"],
        )
        for name, value in fitted.items():
            setattr(model, name, value)
        return model


class HeuristicForecaster(Forecaster):
    """What a good analyst would do by hand: the past rate, for those who are not silent too long.

    Expected purchases are ``(frequency + 1) / (T + 1) * horizon`` where the inactivity is at most
    ``cut``, else 0; ``cut`` is the one with the least absolute error on the newest rehearsal.
    Spend is the customer's own mean spend per purchase.

    Parameters
    ----------
    horizon : str or Duration
        How far to look ahead.

    Attributes
    ----------
    cut_ : float
        In time units; without a rehearsal, the horizon.
    level_ : float
        Mean spend per repeat purchase of all, for customers without one.
    """

    complexity = 0
    _state = ("cut_", "level_")
    cut_: float
    level_: float

    def __init__(self, *, horizon: str | Duration) -> None:
        self.horizon = horizon

    def fit(self, snapshot: Snapshot, rehearsals: Sequence[LabelledSnapshot] = ()) -> Self:
        """Find the cut on the newest rehearsal."""
        x, spend = (snapshot.frame[name].to_numpy() for name in ("frequency", "monetary_value"))
        self.level_ = float((x * spend).sum() / max(x.sum(), 1.0))
        self.cut_ = in_units(self.horizon, snapshot.time_unit)
        if rehearsals:
            newest = max(rehearsals, key=lambda part: part.window.cutoff)
            rate, idle = self._rate(newest.snapshot)
            length = in_units(newest.window.horizon, newest.snapshot.time_unit)
            actual = newest.outcomes["purchases"].to_numpy(dtype=np.float64)
            cuts = np.unique(np.quantile(idle, np.linspace(0.02, 1.0, 50)))
            loss = [np.abs(rate * length * (idle <= cut) - actual).sum() for cut in cuts]
            self.cut_ = float(cuts[int(np.argmin(loss))])
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        rate, idle = self._rate(snapshot)
        purchases = rate * in_units(self.horizon, snapshot.time_unit) * (idle <= self.cut_)
        own = snapshot.frame["monetary_value"].to_numpy(dtype=np.float64)
        x = snapshot.frame["frequency"].to_numpy()
        return _keyed(snapshot, purchases, purchases * np.where(x > 0, own, self.level_))

    @staticmethod
    def _rate(snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
        x, t_x, T = (snapshot.frame[name].to_numpy() for name in CORE_COLUMNS[1:])
        return (x + 1.0) / (T + 1.0), T - t_x


class _Boosted(Forecaster):
    """Trees on the registered snapshot features; the same settings for all kinds."""

    features_: list[str]

    def __init__(
        self,
        *,
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

    def _grow(self, objective: str, rows: _Rows, target: FloatArray, **more: Any) -> str:
        """Find the number of trees by folds of customers, grow them, and return them as text."""
        parameters = {
            "objective": objective,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_leaf,
            "lambda_l2": self.ridge,
            "feature_fraction": 0.7,
            "feature_pre_filter": False,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.num_threads,
            "seed": self.seed,
            "verbosity": -1,
            **more,
        }

        def dataset(keep: Any, reference: Any = None) -> Any:
            # LightGBM refuses some characters in names (JSON signs), so columns go by number.
            return lgb.Dataset(
                rows.X[keep],
                target[keep],
                init_score=None if rows.offset is None else rows.offset[keep],
                feature_name=[f"f{i}" for i in range(rows.X.shape[1])],
                reference=reference,
                params={"verbosity": -1, "feature_pre_filter": False},
            )

        best = []
        for fold in np.unique(rows.fold):
            inside = dataset(rows.fold != fold)
            outside = dataset(rows.fold == fold, inside)
            stop = lgb.early_stopping(25, verbose=False)
            grown = lgb.train(
                parameters, inside, self.max_rounds, valid_sets=[outside], callbacks=[stop]
            )
            best.append(grown.best_iteration)
        rounds = max(1, round(float(np.mean(best))))
        everything = dataset(np.ones(len(target), dtype=bool))
        text: str = lgb.train(parameters, everything, rounds).model_to_string()
        return text

    def _raw(self, text: str, matrix: FloatArray) -> FloatArray:
        booster = lgb.Booster(model_str=text, params={"verbosity": -1})
        return np.asarray(booster.predict(matrix, raw_score=True, num_threads=self.num_threads))


@dataclass(frozen=True)
class _Rows:
    X: FloatArray
    purchases: FloatArray
    spend: FloatArray
    fold: Any
    offset: FloatArray | None = None


def choose_features(rehearsals: Sequence[LabelledSnapshot]) -> list[str]:
    """Choose the registered features that every rehearsal has; nothing else may enter a model.

    The season of the cutoff is left out where the cutoffs span less than a year: it would only
    tell the rehearsals apart.
    """
    frames = [part.snapshot.frame for part in rehearsals]
    shared = {str(name) for name in frames[0] if all(name in frame for frame in frames)}
    cutoffs = [part.window.cutoff for part in rehearsals]
    patterns = [*CORE_COLUMNS[1:], "monetary_value", *(feature.name for feature in FEATURES)]
    if max(cutoffs) - min(cutoffs) < pd.Timedelta(days=365):
        patterns = [pattern for pattern in patterns if not fnmatchcase(pattern, _SEASON)]
    found = [
        name
        for pattern in patterns
        for name in sorted(shared)
        if fnmatchcase(name, pattern) and pd.api.types.is_numeric_dtype(frames[0][name])
    ]
    return list(dict.fromkeys(found))


def feature_matrix(snapshot: Snapshot, names: Sequence[str]) -> FloatArray:
    """Return the features as an array, shape (n_customers, n_features).

    Raises
    ------
    MissingColumnsError
        If the snapshot lacks one of them.
    """
    missing = [name for name in names if name not in snapshot.frame]
    if missing:
        raise MissingColumnsError(missing, map(str, snapshot.frame.columns), table="snapshot")
    return snapshot.frame[list(names)].to_numpy(dtype=np.float64)


def _gather(
    parts: Sequence[LabelledSnapshot], features: Sequence[str], seed: int,
    offsets: Sequence[FloatArray] | None = None,
) -> _Rows:  # fmt: skip
    """Stack the rehearsals, rows in the order of a key of the customer, whatever came in."""
    columns: list[list[Any]] = []
    for i, part in enumerate(parts):
        ids = part.snapshot.customer_id
        order = np.argsort(hash_keys(ids), kind="stable")
        outcome = part.outcomes
        columns.append(
            [
                feature_matrix(part.snapshot, features)[order],
                outcome["purchases"].to_numpy(dtype=np.float64)[order],
                outcome["spend"].to_numpy(dtype=np.float64).clip(0.0)[order],
                customer_folds(ids, 3, seed=seed)[order],
                np.zeros(len(order)) if offsets is None else offsets[i][order],
            ]
        )
    X, purchases, spend, fold, offset = (np.concatenate(c) for c in zip(*columns, strict=True))
    return _Rows(X, purchases, spend, fold, None if offsets is None else offset)


class BoostedForecaster(_Boosted):
    """LightGBM alone, on the snapshot features.

    Parameters
    ----------
    kind : {"tweedie", "hurdle"}
        Tweedie regression of purchases and of spend; or P(any purchase) times the mean of those
        who buy.
    horizon : str or Duration
        How far to look ahead. Rehearsals must have this very horizon.
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
        super().__init__(
            horizon=horizon,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_leaf=min_leaf,
            ridge=ridge,
            max_rounds=max_rounds,
            num_threads=num_threads,
            seed=seed,
        )
        self.kind = kind

    def fit(self, snapshot: Snapshot, rehearsals: Sequence[LabelledSnapshot] = ()) -> Self:
        """Grow the trees on the rehearsals."""
        if self.kind not in ("tweedie", "hurdle"):
            raise ParameterError("kind", "'tweedie' or 'hurdle'", self.kind)
        wanted = in_units(self.horizon, snapshot.time_unit)
        fitting = [
            part
            for part in rehearsals
            if part.window.closes <= snapshot.cutoff
            and in_units(part.window.horizon, snapshot.time_unit) == wanted
        ]
        if not fitting:
            raise TooLittleDataError(
                f"boosted trees learn from outcome windows of {self.horizon} that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        self.features_ = choose_features(fitting)
        rows = _gather(fitting, self.features_, self.seed)
        if self.kind == "tweedie":
            power = {"tweedie_variance_power": 1.3}
            self.boosters_ = {
                "purchases": self._grow("tweedie", rows, rows.purchases, **power),
                "spend": self._grow("tweedie", rows, rows.spend, **power),
            }
            return self
        bought = rows.purchases > 0
        if bought.sum() < 2 * self.min_leaf:
            raise TooLittleDataError(
                f"a hurdle model needs at least {2 * self.min_leaf} buyers in its windows; got "
                f"{int(bought.sum())}"
            )
        buyers = _Rows(
            rows.X[bought], rows.purchases[bought], rows.spend[bought], rows.fold[bought]
        )
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
        purchases, spend = (
            np.exp(self._raw(self.boosters_[name], X)) for name in ("purchases", "spend")
        )
        if self.kind == "hurdle":
            any_ = 1.0 / (1.0 + np.exp(-self._raw(self.boosters_["any"], X)))
            purchases, spend = any_ * purchases, any_ * spend
        return _keyed(snapshot, purchases, spend)


class HybridForecaster(_Boosted):
    """Trees that correct a purchase process customer by customer.

    On each rehearsal the process is fitted to the snapshot of that time, and Poisson trees learn
    by which factor a customer bought more or less than it expected, given the behaviour features
    (the log of the expectation is the offset). The factor is applied to the expectation at the
    cutoff. As it is a factor, rehearsals may be shorter than the horizon. The **level** of the
    forecast is left to the process: factors are normalised to keep the total of each rehearsal,
    because a level seen once may be the season.

    Parameters
    ----------
    purchase_model, spend_model : estimators
        Unfitted.
    horizon : str or Duration
        How far to look ahead.
    learning_rate, num_leaves, min_leaf, ridge, max_rounds, num_threads, seed
        As for :class:`BoostedForecaster`.

    Attributes
    ----------
    process_ : ProcessForecaster
        Fitted on the snapshot.
    booster_ : str
        The trees in LightGBM's text format.
    features_ : list of str
        Columns used.
    """

    complexity = 4
    _state = ("booster_", "features_", "process_", "scale_")
    process_: ProcessForecaster
    booster_: str
    scale_: float

    def __init__(
        self,
        *,
        purchase_model: Any,
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
        super().__init__(
            horizon=horizon,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_leaf=min_leaf,
            ridge=ridge,
            max_rounds=max_rounds,
            num_threads=num_threads,
            seed=seed,
        )
        self.purchase_model = purchase_model
        self.spend_model = spend_model

    def fit(self, snapshot: Snapshot, rehearsals: Sequence[LabelledSnapshot] = ()) -> Self:
        """Fit the process at each cutoff and the trees on what it missed in the rehearsals."""
        closed = [part for part in rehearsals if part.window.closes <= snapshot.cutoff]
        if not closed:
            raise TooLittleDataError(
                "a hybrid learns from an outcome window that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        offsets = []
        for part in closed:
            model = clone(self.purchase_model).fit(part.snapshot)
            expected = model.expected_purchases(part.snapshot, part.window.horizon).to_numpy()
            total = float(part.outcomes["purchases"].sum())
            offsets.append(np.log(np.maximum(expected, 1e-6)) + np.log(total / expected.sum()))
        self.features_ = choose_features(closed)
        rows = _gather(closed, self.features_, self.seed, offsets)
        self.booster_ = self._grow("poisson", rows, rows.purchases)
        assert rows.offset is not None  # noqa: S101 - given above, for the reader of types
        factor = np.exp(self._raw(self.booster_, rows.X))
        base = np.exp(rows.offset)
        self.scale_ = float(base.sum() / (base * factor).sum())
        self.process_ = ProcessForecaster(
            purchase_model=self.purchase_model, spend_model=self.spend_model, horizon=self.horizon
        ).fit(snapshot)
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        factor = self.scale_ * np.exp(
            self._raw(self.booster_, feature_matrix(snapshot, self.features_))
        )
        expected = self.process_.forecast(snapshot)
        return _keyed(snapshot, expected["purchases"] * factor, expected["spend"] * factor)

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        self._check_fitted()
        settings = self.get_params(deep=False)
        for name in ("purchase_model", "spend_model"):
            settings.pop(name)
        state = {name: getattr(self, name) for name in self._state}
        return {
            "class": type(self).__name__,
            "settings": {**settings, "horizon": str(self.horizon)},
            "state": {**state, "process_": self.process_.to_dict()},
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; it would be fitted again alike."""
        process = ProcessForecaster.from_dict(stored["state"]["process_"])
        model = cls(
            purchase_model=process.purchase_model,
            spend_model=process.spend_model,
            **stored["settings"],
        )
        for name, value in {**stored["state"], "process_": process}.items():
            setattr(model, name, value)
        return model


class BlendForecaster(Forecaster):
    """A weighted sum of forecasts, weights >= 0 by least squares on the newest rehearsal.

    Parameters
    ----------
    members : sequence of Forecaster
        Unfitted.
    horizon : str or Duration
        How far to look ahead.

    Attributes
    ----------
    weights_ : list of float
        Of each member, adding up to 1; members that could not be rehearsed weigh 0.
    members_ : list of Forecaster
        Fitted, those with a weight.
    """

    complexity = 5
    _state = ("weights_", "members_")
    weights_: list[float]
    members_: list[Forecaster]

    def __init__(self, *, members: Sequence[Forecaster], horizon: str | Duration) -> None:
        self.members = members
        self.horizon = horizon

    def fit(self, snapshot: Snapshot, rehearsals: Sequence[LabelledSnapshot] = ()) -> Self:
        """Rehearse the members before the newest rehearsal, weigh them, and fit them anew."""
        closed = [part for part in rehearsals if part.window.closes <= snapshot.cutoff]
        if not closed:
            raise TooLittleDataError(
                "a blend is weighed on an outcome window that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        stage = max(closed, key=lambda part: part.window.cutoff)
        earlier = [part for part in closed if part.window.closes <= stage.window.cutoff]
        columns = {}
        for position, member in enumerate(self.members):
            trial = clone(member).set_params(horizon=stage.window.horizon)
            try:
                trial.fit(stage.snapshot, earlier)
            except TooLittleDataError:
                continue  # it has nothing to rehearse on, so it gets no weight
            columns[position] = trial.forecast(stage.snapshot)["purchases"].to_numpy()
        actual = stage.outcomes["purchases"].to_numpy(dtype=np.float64)
        matrix = np.column_stack(list(columns.values()))
        # Level is left to the members: each is scaled to the total, and the weights add up to 1.
        found, _ = nnls(matrix * (actual.sum() / matrix.sum(axis=0)), actual)
        if not found.sum() > 0:
            raise TooLittleDataError("no member of the blend says anything about the rehearsal")
        weights = np.zeros(len(self.members))
        weights[list(columns)] = found / found.sum()
        kept = [i for i, weight in enumerate(weights) if weight > 1e-6]
        self.weights_ = [float(weights[i] / weights[kept].sum()) for i in kept]
        self.members_ = [clone(self.members[i]).fit(snapshot, closed) for i in kept]
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

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        self._check_fitted()
        return {
            "class": type(self).__name__,
            "settings": {"horizon": str(self.horizon)},
            "state": {
                "weights_": list(self.weights_),
                "members_": [member.to_dict() for member in self.members_],
            },
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; only the members with a weight are kept."""
        fitted = [models.from_dict(member) for member in stored["state"]["members_"]]
        model = cls(members=[clone(member) for member in fitted], **stored["settings"])
        model.weights_, model.members_ = stored["state"]["weights_"], fitted
        return model
