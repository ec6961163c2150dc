"""Churn under contract: a discrete-time hazard with competing causes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp
from sklearn.linear_model import LogisticRegression

from crmml._typing import BoolArray, Duration, FloatArray, IntArray
from crmml.exceptions import DataError, ParameterError, TooLittleDataError
from crmml.features.contracts import CAUSES, Contracts, PersonPeriods
from crmml.features.windows import length_of
from crmml.metrics.bootstrap import hash_keys
from crmml.models.arguments import check_periods
from crmml.models.boosting import Boosting, Trees
from crmml.models.churn.contract_model import ContractModel
from crmml.models.churn.design import Design
from crmml.models.summary import ModelSummary
from crmml.stats.discounting import in_units
from crmml.stats.threads import on_one_thread

Learner: TypeAlias = Literal["logistic", "boosting"]

_AGES = (0, 1, 2)
"""Ages with a hazard of their own: many leave at once or at the end of a trial."""
_AGE_NAMES = ("log(1 + age)", *(f"age = {age}" for age in _AGES), "year completed")
_NOT_FEATURES = ("customer_id", "spell", "starts_at", "cause", "position", "elapsed")
LEAST_ENDS = 50
_MOST_ROWS = 1_000_000
_YEAR = 365.25


class HazardModel(ContractModel):
    """Chance of ending a contract, period by period, by cause.

    In each period a contract goes on, or ends for one of the causes; the chances depend on age and
    on the covariates at the start of the period. A contract ahead is followed with the covariates
    that it has now: only its age goes on. Chances are learned on the earlier periods and then
    moved, per cause, to what happened in the latest ones.

    Parameters
    ----------
    learner : {"logistic", "boosting"}
        A ridge-penalised multinomial logistic regression, or gradient boosted trees.
    ridge : float
        Penalty on the squared coefficients of standardised covariates (logistic), > 0.
    calibration : str or Duration
        Length of the latest stretch of time, kept for the calibration.
    num_threads, seed : int
        Of the trees.

    Attributes
    ----------
    causes_ : list of str
        Causes that occur, in the order of :data:`crmml.features.contracts.CAUSES`.
    period_ : str
        Length of a period.
    at_renewal_ : bool
        Whether contracts end on renewal dates (so that so many dates lie in a horizon), or at any
        time within a period.
    n_periods_, n_ends_ : int
        Rows fitted, and ends among them.
    n_customers_ : int
    log_likelihood_ : float
        Of what each period brought, after the calibration.
    reliability_ : list of dict
        Of the calibration: by cause, and by age, ends expected before, and observed.
    trained_until_ : str
        End of what the fit has seen.

    Examples
    --------
    >>> from crmml.data.tables import open_tables
    >>> from crmml.features.contracts import build_contracts, build_person_periods
    >>> from crmml.testing.simulate import simulate_world
    >>> world = simulate_world(1_000, seed=1, tables=("subscriptions",))
    >>> tables = open_tables({"subscriptions": world.subscriptions})
    >>> model = HazardModel().fit(build_person_periods(tables, period="28D"))
    >>> contracts = build_contracts(tables, period="28D")
    >>> ends = model.churn_probability(contracts, "84D")
    >>> bool(((ends > 0) & (ends < 1)).all())
    True
    """

    _state = (
        "causes_",
        "period_",
        "at_renewal_",
        "design_",
        "coefficients_",
        "trees_",
        "shifts_",
        "slope_",
        "n_periods_",
        "n_ends_",
        "n_customers_",
        "log_likelihood_",
        "reliability_",
        "trained_until_",
    )
    _parts: ClassVar[dict[str, Any]] = {"design_": Design}
    _one_cause = False

    design_: Design
    coefficients_: list[list[float]] | None
    trees_: str | None
    shifts_: list[float]
    slope_: float
    n_periods_: int
    n_ends_: int
    reliability_: list[dict[str, Any]]
    trained_until_: str

    def __init__(
        self,
        *,
        learner: Learner = "logistic",
        ridge: float = 1.0,
        calibration: str | Duration = "90D",
        num_threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.learner = learner
        self.ridge = ridge
        self.calibration = calibration
        self.num_threads = num_threads
        self.seed = seed

    @on_one_thread
    def fit(self, periods: PersonPeriods) -> Self:
        """Fit the hazards.

        Parameters
        ----------
        periods : PersonPeriods
            From :func:`crmml.features.contracts.build_person_periods`.

        Raises
        ------
        TooLittleDataError
            With the figures: too few ends, or none in the latest or in the earlier periods.
        """
        check_periods(periods, self)
        if self.learner not in get_args(Learner):
            raise ParameterError("learner", f"one of {get_args(Learner)}", self.learner)
        if not self.ridge > 0:
            raise ParameterError("ridge", "a number > 0", self.ridge)
        frame = periods.frame
        late = _is_late(periods, self.calibration)
        causes = [cause for cause in CAUSES if (frame["cause"] == cause).any()]
        target = _codes(frame["cause"], causes)
        _check_ends(target, late, periods.until)
        self.causes_ = causes
        self._learn_calendar(periods)
        self.n_periods_, self.n_ends_ = len(frame), int((target > 0).sum())
        self.trained_until_ = str(periods.until)
        names = [name for name in frame.columns if name not in (*_NOT_FEATURES, "age")]
        self.design_ = Design.fit(frame[~late], names)
        # Trees and coefficients see the earlier periods, the calibration the later ones: what they
        # learned too well shows there.
        early = np.flatnonzero(~late)
        # Whole customers judge the number of trees, chosen by a hash of the id: no order of rows.
        keys = hash_keys(frame["customer_id"].iloc[early])
        self._learn(self._columns(frame.iloc[early]), target[early], keys % np.uint64(4) == 0)
        scores = self._scores(self._columns(frame[late]))
        self.shifts_, self.slope_ = _calibrate(scores, target[late])
        predictions = self._probabilities(self._scores(self._columns(frame)))
        self.log_likelihood_ = float(np.log(predictions[np.arange(len(frame)), target]).sum())
        self.n_customers_ = int(frame["customer_id"].nunique())
        ages = frame.loc[late, "age"].to_numpy()
        self.reliability_ = _reliability(scores, target[late], ages, self.causes_)
        return self

    def summary(self) -> ModelSummary:
        """Summarise the fit: coefficients by cause, and the calibration.

        Returns
        -------
        ModelSummary
            Without standard errors. Trees have no coefficients, and AIC and BIC of theirs are NaN.

        Raises
        ------
        NotFittedError
            If the model is not fitted.
        """
        self._check_fitted()
        rows = {
            f"{cause}: calibration": ("calibration", shift)
            for cause, shift in zip(self.causes_, self.shifts_, strict=True)
        }
        rows["slope of the calibration"] = ("calibration", self.slope_)
        notes = [f"the likelihood is that of the cause in each of {self.n_periods_:,} periods"]
        if self.coefficients_ is None:
            notes.append("trees have no coefficients, and no number of parameters for AIC and BIC")
            return self._summarised(rows, None, notes)
        names = ["intercept", *_AGE_NAMES, *self.design_.names]
        rows |= {
            f"{cause}: {name}": ("coefficient", value)
            for cause, values in zip(self.causes_, self.coefficients_[1:], strict=True)
            for name, value in zip(names, values, strict=True)
        }
        notes.append("a ridge shrinks the coefficients: no standard errors, AIC and BIC count all")
        return self._summarised(rows, len(rows), notes)

    # -- predictions -------------------------------------------------------------------------

    def hazards(self, contracts: Contracts, n_periods: int) -> FloatArray:
        """Chance of ending in each of the coming periods for each cause, given that it began.

        Parameters
        ----------
        contracts : Contracts
        n_periods : int
            Periods ahead, the present one first.

        Returns
        -------
        ndarray, shape (n_causes, n_customers, n_periods)
        """
        self._check_given(contracts)
        found = np.empty((len(self.causes_), len(contracts), n_periods))
        ages = contracts.frame["age"].to_numpy(dtype=np.float64)
        fixed = self.design_.matrix(contracts.frame)  # only the age goes on
        for step in range(n_periods):
            columns = np.column_stack([_age_columns(ages + step, self.period_), fixed])
            found[:, :, step] = self._probabilities(self._scores(columns))[:, 1:].T
        return found

    # -- inside ------------------------------------------------------------------------------

    def _check_state(self) -> None:
        super()._check_state()
        n = len(self.causes_)
        found: dict[str, tuple[int, ...]] = {"shifts_": (n,)}
        if self.trees_ is None:
            n_columns = len(_AGE_NAMES) + len(self.design_.names)
            found["coefficients_"] = (n + 1, n_columns + 1)
        for name, shape in found.items():
            lines = getattr(self, name) or []
            sizes = {len(line) for line in lines} if len(shape) == 2 else set(shape[1:])
            if len(lines) != shape[0] or sizes != set(shape[1:]):
                rule = f"{' lines of '.join(map(str, shape))} numbers, by causes_ and design_"
                raise DataError(f"{name} of HazardModel must be {rule}", table="stored model")

    def _columns(self, frame: pd.DataFrame) -> FloatArray:
        ages = frame["age"].to_numpy(dtype=np.float64)
        return np.column_stack([_age_columns(ages, self.period_), self.design_.matrix(frame)])

    def _learn(self, X: FloatArray, y: IntArray, judge: BoolArray) -> None:
        self.coefficients_ = self.trees_ = None
        n_classes = len(self.causes_) + 1
        rows, weights = _thinned(y, self.seed)
        if self.learner == "boosting":
            grower = Boosting(
                objective="multiclass" if n_classes > 2 else "binary",
                n_classes=n_classes if n_classes > 2 else 1,
                num_threads=self.num_threads,
                seed=self.seed,
            )
            rounds = grower.find_rounds(X, y, ~judge, judge)
            self.trees_ = grower.grow(X, y, rounds).text
            return
        found = LogisticRegression(C=1.0 / self.ridge, max_iter=500, tol=1e-6)
        found.fit(X[rows], y[rows], sample_weight=weights)
        table = np.column_stack([found.intercept_, found.coef_])
        # With one cause scikit-learn gives one line, with several one for each class.
        if n_classes == 2:
            table = np.vstack([np.zeros_like(table), table])
        self.coefficients_ = (table - table[0]).tolist()

    def _scores(self, X: FloatArray) -> FloatArray:
        """Log-odds of each cause against going on, shape (n, n_causes)."""
        if not len(X):  # of which the trees would know nothing
            return np.empty((0, len(self.causes_)))
        if self.trees_ is not None:
            raw = Trees(self.trees_, self.num_threads).score(X)
            raw = raw[:, None] if raw.ndim == 1 else raw[:, 1:] - raw[:, :1]
            if raw.shape[1] != len(self.causes_):
                rule = f"one class for each of {len(self.causes_):,} causes, and one for none"
                raise DataError(f"trees_ of HazardModel must have {rule}", table="stored model")
            return np.asarray(raw)
        # Row by row, so that the chance of a customer does not depend on the batch.
        table = np.asarray(self.coefficients_)[1:]
        lines = [line[0] + (X * line[1:]).sum(axis=1) for line in table]
        return np.column_stack(lines)

    def _probabilities(self, scores: FloatArray) -> FloatArray:
        return _softmax(np.asarray(self.shifts_) + self.slope_ * scores)


def _is_late(periods: PersonPeriods, calibration: str | Duration) -> Any:
    split = periods.settled - length_of(calibration)
    return (periods.frame["starts_at"] + length_of(periods.period) > split).to_numpy()


def _codes(cause: pd.Series[str], causes: Sequence[str]) -> IntArray:
    """0 where the contract goes on, else 1 + the position of the cause."""
    code = np.zeros(len(cause), dtype=np.int64)
    for number, name in enumerate(causes, 1):
        code[(cause == name).to_numpy(dtype=bool, na_value=False)] = number
    return code


def _check_ends(target: IntArray, late: Any, until: pd.Timestamp) -> None:
    early, latest = int((target[~late] > 0).sum()), int((target[late] > 0).sum())
    if early < LEAST_ENDS or latest == 0:
        raise TooLittleDataError(
            f"a model of contracts needs at least {LEAST_ENDS} contracts that ended, and some in "
            f"the latest stretch of time to calibrate on; got {early:,} before it, {latest:,} in "
            f"it, up to {until.date()} (an end that lies ahead has not happened: leave it empty)"
        )


def _age_columns(age: FloatArray, period: str) -> FloatArray:
    """Age on the scale of its logarithm, the first ages, and whether a year is completed."""
    # Contracts end at first, and where a year is full; between them the hazard falls slowly.
    days = in_units(period, "day")
    year = np.floor((age + 1.0) * days / _YEAR) > np.floor(age * days / _YEAR)
    first = [(age == one).astype(np.float64) for one in _AGES]
    return np.column_stack([np.log1p(age), *first, year.astype(np.float64)])


def _thinned(y: IntArray, seed: int) -> tuple[IntArray, FloatArray]:
    """All ends and a share of the periods outlasted, weighted up: at most about a million rows."""
    # Ends are rare and carry the information; of periods outlasted a share tells as much.
    stays = np.flatnonzero(y == 0)
    room = max(_MOST_ROWS - int((y > 0).sum()), _MOST_ROWS // 4)
    if len(stays) <= room:
        return np.arange(len(y)), np.ones(len(y))
    kept = np.sort(np.random.default_rng(seed).choice(stays, room, replace=False))
    rows = np.union1d(np.flatnonzero(y > 0), kept)
    return rows, np.where(y[rows] == 0, len(stays) / room, 1.0)


def _softmax(scores: FloatArray) -> FloatArray:
    """Probabilities of going on and of each cause, shape (n, 1 + n_causes)."""
    whole = np.column_stack([np.zeros(len(scores)), scores])
    return np.asarray(np.exp(log_softmax(whole, axis=1)))


def _calibrate(scores: FloatArray, target: IntArray) -> tuple[list[float], float]:
    """Shift of each cause and a common slope of the log-odds, by what happened in later periods.

    Both are held by weak priors (standard deviations of one half and one fifth), so that a few
    ends move little.
    """
    n_causes = scores.shape[1]

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        shift, log_slope = theta[:-1], theta[-1]
        slope = np.exp(log_slope)
        whole = np.column_stack([np.zeros(len(scores)), shift + slope * scores])
        logs = whole - logsumexp(whole, axis=1, keepdims=True)
        value = -logs[np.arange(len(target)), target].sum()
        value += 2.0 * float(shift @ shift) + 12.5 * log_slope**2
        # The gradient of the log loss by a score is the probability less what happened.
        error = np.exp(logs[:, 1:]) - (target[:, None] == np.arange(1, n_causes + 1))
        by_slope = slope * float((error * scores).sum()) + 25.0 * log_slope
        return value, np.append(error.sum(axis=0) + 4.0 * shift, by_slope)

    found = minimize(loss, np.zeros(n_causes + 1), jac=True, method="L-BFGS-B")
    theta = np.asarray(found.x, dtype=np.float64)
    return theta[:-1].tolist(), float(np.exp(theta[-1]))


def _reliability(
    scores: FloatArray, target: IntArray, age: IntArray, causes: Sequence[str]
) -> list[dict[str, Any]]:
    """Compare the ends expected before the calibration with those observed, by cause and by age."""
    predictions = _softmax(scores)
    rows = [
        {
            "group": f"cause {cause}",
            "periods": len(target),
            "expected": float(predictions[:, number].sum()),
            "observed": int((target == number).sum()),
        }
        for number, cause in enumerate(causes, 1)
    ]
    edges = np.array([0, 1, 2, 3, 6, 12, 24, 10**9])
    place = np.searchsorted(edges, age, side="right") - 1
    for k in range(len(edges) - 1):
        mine = place == k
        if mine.any():
            last = "" if k == len(edges) - 2 else f" to {edges[k + 1] - 1}"
            rows.append(
                {
                    "group": f"age {edges[k]}{last}",
                    "periods": int(mine.sum()),
                    "expected": float(predictions[mine, 1:].sum()),
                    "observed": int((target[mine] > 0).sum()),
                }
            )
    return rows
