"""Judge models of contracts on rolling cutoffs, against the best rule."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.card import Card, Result, listed, moment
from crmml.data.tables import Tables
from crmml.exceptions import BoundaryWarning, TooLittleDataError
from crmml.features.contracts import (
    PersonPeriods,
    build_contract_outcomes,
    build_contracts,
    build_person_periods,
    contract_span,
    least_grace,
)
from crmml.features.windows import Window, rolling_windows
from crmml.metrics import classification
from crmml.metrics.bootstrap import Replicates, hash_keys, replicate
from crmml.metrics.calibration import compare_mean_probability, compute_reliability
from crmml.metrics.challenge import Challenge, challenge
from crmml.metrics.profit import compute_profit_curve
from crmml.models.churn.beta_weibull import BetaDiscreteWeibullModel
from crmml.models.churn.contract_model import ContractModel
from crmml.models.churn.contract_rules import ContractRule
from crmml.models.churn.evaluation import LEVEL, grade_gain
from crmml.models.churn.hazard import HazardModel

SIMPLE: tuple[str, ...] = ("rule", "beta_discrete_weibull")
"""Candidates without features, or with one."""

CANDIDATES: tuple[str, ...] = (*SIMPLE, "hazard_logistic", "hazard_boosting")
"""All that compete."""


@dataclass(frozen=True, repr=False)
class ContractBacktest(Result):
    """How models of contracts did on cutoffs that none of them had seen beyond.

    Attributes
    ----------
    table : DataFrame
        Index ``candidate, metric``: ``value, lower, upper`` and the difference to the rule with
        its interval, over all cutoffs.
    challenges : dict of str to Challenge
        Log loss of each hazard model against the simple candidates.
    grades : dict of str to str
        Of the AUC against the rule, see :func:`crmml.models.churn.evaluation.grade_gain`.
    reliability : dict of str to DataFrame
        Calibration curve of each candidate.
    causes : DataFrame
        Index ``candidate, cause``: ``predicted`` and ``happened``, ends within the horizon.
    chosen : str
        ``hazard_logistic``, or ``hazard_boosting`` where it is better beyond chance, if it beats
        the simple candidates beyond chance, or is no worse and tells apart causes that they do not;
        else the best of those.
    calibration : DataFrame
        Of the chosen: mean predicted chance and the share that ended, of all, by age and by third
        of the chance; see :func:`crmml.metrics.calibration.compare_mean_probability`.
    profit : DataFrame
        Of the chosen: what contacting by it finds and earns, share by share; see
        :func:`crmml.metrics.profit.compute_profit_curve`. A customer's own value is what his fees
        bring.
    newest : Replicates
        The chosen at the latest cutoff alone: what a later model is compared with.
    cutoffs : list of Timestamp
    n_contracts, n_ended : int
        Judged, over all cutoffs.
    horizon : Duration
    """

    table: pd.DataFrame
    challenges: dict[str, Challenge]
    grades: dict[str, str]
    reliability: dict[str, pd.DataFrame]
    causes: pd.DataFrame
    chosen: str
    calibration: pd.DataFrame
    profit: pd.DataFrame
    newest: Replicates
    cutoffs: list[pd.Timestamp]
    n_contracts: int
    n_ended: int
    horizon: Duration

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of metrics."""
        return self.table.copy()

    def _card(self) -> Card:
        rows = (
            ("judged", f"{self.n_contracts:,} contracts, of which {self.n_ended:,} ended"),
            ("cutoffs", listed(map(moment, self.cutoffs), most=5)),
            *((f"grade of {name}", f"{grade} against the rule")
              for name, grade in self.grades.items()),
            ("more", "to_pandas() is the table of metrics, plot() the reliability of the chosen"),
        )  # fmt: skip
        return Card(f"ContractBacktest of {self.horizon}, {self.chosen} chosen", rows)


def backtest_contracts(
    tables: Tables,
    *,
    horizon: str | Duration = "90D",
    period: str | Duration = "30D",
    grace: str | Duration | None = None,
    trailing: str | Duration = "90D",
    n_windows: int = 3,
    seed: int = 0,
    n_boot: int = 200,
    worth: float = 1.0,
) -> ContractBacktest:
    """Fit all candidates before each of the latest cutoffs, and judge them on what came after.

    Parameters
    ----------
    tables : Tables
        With ``subscriptions``.
    horizon : str or Duration
        Outcome window; cutoffs are one horizon apart.
    period, grace, trailing
        As in :func:`crmml.features.contracts.build_contracts`.
    n_windows : int
        Most cutoffs.
    seed, n_boot : int
        Of the paired bootstrap.
    worth : float
        What a customer who stays brings for each unit of the fee, > 0: his own value in the profit
        of contacting.

    Raises
    ------
    TooLittleDataError
        If the data hold no cutoff with a history and an outcome, or too few ends.
    """
    windows = contract_windows(tables, horizon, grace)[-n_windows:]
    how: dict[str, Any] = {"period": period, "grace": grace, "trailing": trailing}
    predictions: dict[str, list[FloatArray]] = {}
    parts: list[pd.DataFrame] = []
    by_cause: list[tuple[str, pd.Series[float]]] = []
    ages: list[FloatArray] = []
    fees: list[FloatArray] = []
    for window in windows:
        known = tables.before(window.cutoff)
        periods = build_person_periods(known, window.cutoff, **how)
        contracts = build_contracts(known, window.cutoff, **how)
        ages.append(contracts.frame["age"].to_numpy(dtype=np.float64))
        fees.append(contracts.frame["fee"].to_numpy(dtype=np.float64, na_value=np.nan))
        parts.append(build_contract_outcomes(tables, contracts, horizon, grace=grace))
        for name in CANDIDATES:
            model = fit_candidate(name, periods, horizon, seed)
            ends = model.churn_by_cause(contracts, horizon)
            predictions.setdefault(name, []).append(ends.sum(axis=1).to_numpy(dtype=np.float64))
            if name not in SIMPLE:
                by_cause.append((name, ends.sum()))
    outcomes = pd.concat(parts)
    return _judge(
        {name: np.concatenate(p) for name, p in predictions.items()},
        outcomes,
        len(parts[-1]),
        np.concatenate(ages),
        worth * np.concatenate(fees),
        _causes(by_cause, outcomes),
        [window.cutoff for window in windows],
        Duration.parse(horizon),
        seed,
        n_boot,
    )


def contract_windows(
    tables: Tables, horizon: str | Duration, grace: str | Duration | None = None
) -> list[Window]:
    """Return the outcome windows that the contracts cover to their end, one horizon apart.

    Raises
    ------
    TooLittleDataError
        If there is none.
    """
    first, last, *_ = contract_span(tables)
    return rolling_windows(first, last - least_grace(tables, grace), horizon=horizon)


def fit_candidate(
    name: str, periods: PersonPeriods, horizon: str | Duration, seed: int = 0
) -> ContractModel:
    """Fit one of :data:`CANDIDATES`.

    Parameters
    ----------
    name : str
    periods : PersonPeriods
    horizon : str or Duration
        The hazards are calibrated on the latest stretch of this length.
    seed : int
        Of the trees.
    """
    how: dict[str, Any] = {"calibration": horizon, "seed": seed}
    makers: dict[str, Any] = {
        "rule": ContractRule,
        "beta_discrete_weibull": BetaDiscreteWeibullModel,
        "hazard_logistic": partial(HazardModel, **how),
        "hazard_boosting": partial(HazardModel, learner="boosting", **how),
    }
    with warnings.catch_warnings():
        # Contracts that are all alike lead to the boundary, where forecasts stand.
        warnings.simplefilter("ignore", BoundaryWarning)
        fitted: ContractModel = makers[name]().fit(periods)
    return fitted


def _judge(
    predictions: dict[str, FloatArray],
    outcomes: pd.DataFrame,
    latest: int,
    ages: FloatArray,
    values: FloatArray,
    causes: pd.DataFrame,
    cutoffs: list[pd.Timestamp],
    horizon: Duration,
    seed: int,
    n_boot: int,
) -> ContractBacktest:
    churned = outcomes["churned"].to_numpy(dtype=np.float64)
    if not 0 < churned.sum() < len(churned):
        raise TooLittleDataError(
            f"of {len(churned):,} contracts {int(churned.sum()):,} ended in the test windows: "
            "both outcomes are needed to judge a model"
        )
    measures = {
        name: classification.statistics(churned, p, values) for name, p in predictions.items()
    }
    # A customer who is judged at several cutoffs is drawn with all of them.
    found = replicate(measures, hash_keys(outcomes.index), n_replicates=n_boot, seed=seed)
    table = found.table("rule", LEVEL)
    learned = [name for name in predictions if name not in SIMPLE]
    challenges = {
        name: challenge(found, name, SIMPLE, metric="log_loss", level=LEVEL) for name in learned
    }
    losses = {name: float(table["value"].loc[(name, "log_loss")]) for name in predictions}
    trees = challenge(found, "hazard_boosting", ["hazard_logistic"], metric="log_loss", level=LEVEL)
    best = "hazard_boosting" if trees.won else "hazard_logistic"
    simplest = min(SIMPLE, key=lambda name: losses[name])
    several = causes.loc[best]["happened"].gt(0).sum() > 1
    more = several and losses[best] <= losses[simplest]
    chosen = best if challenges[best].won or more else simplest
    bounds = table.xs("auc", level="metric")[["difference_lower", "difference_upper"]]
    return ContractBacktest(
        table=table,
        challenges=challenges,
        grades={
            name: grade_gain(*map(float, bounds.loc[name]))
            for name in predictions
            if name != "rule"
        },
        reliability={name: compute_reliability(churned, p) for name, p in predictions.items()},
        causes=causes,
        chosen=chosen,
        calibration=compare_mean_probability(
            churned, predictions[chosen], _groups(ages, predictions[chosen])
        ),
        profit=compute_profit_curve(churned, predictions[chosen], values),
        newest=judge_contracts(
            outcomes.iloc[-latest:], predictions[chosen][-latest:], n_boot, seed
        ),
        cutoffs=cutoffs,
        n_contracts=len(churned),
        n_ended=int(churned.sum()),
        horizon=horizon,
    )


def judge_contracts(
    outcomes: pd.DataFrame, predictions: FloatArray, n_boot: int = 200, seed: int = 0
) -> Replicates:
    """Measure predicted chances of ending at one cutoff, with paired bootstrap replicates.

    Parameters
    ----------
    outcomes : DataFrame
        From :func:`crmml.features.contracts.build_contract_outcomes`.
    predictions : ndarray, shape (n,)
        In their order.
    n_boot, seed : int
        Replicates of one seed hold the same customers whatever the model.

    Returns
    -------
    Replicates
        Rows ``("served", metric)``.
    """
    churned = outcomes["churned"].to_numpy(dtype=np.float64)
    measures = {"served": classification.statistics(churned, predictions)}
    return replicate(measures, hash_keys(outcomes.index), n_replicates=n_boot, seed=seed)


def _groups(ages: FloatArray, predictions: FloatArray) -> dict[str, BoolArray]:
    """Group contracts by age in periods, and by third of the chance of ending; and all of them."""
    groups = {"all": np.ones(len(ages), dtype=bool)}
    for low, high in pairwise((0, 1, 3, 6, 12, np.inf)):
        rest = f"to {high - 1:g}" if np.isfinite(high) else "or more"
        name = f"age {low:g} {rest}" if high - 1 > low else f"age {low:g}"
        groups[name] = (ages >= low) & (ages < high)
    third = np.searchsorted(np.quantile(predictions, (1 / 3, 2 / 3)), predictions, side="right")
    for number, name in enumerate(("lowest", "middle", "highest")):
        groups[f"{name} third"] = third == number
    return groups


def _causes(by_cause: list[tuple[str, pd.Series[float]]], outcomes: pd.DataFrame) -> pd.DataFrame:
    """Compare the predicted ends with those that happened, by cause, over all cutoffs."""
    rows = [
        {"candidate": name, "cause": cause, "predicted": float(ends)}
        for name, sums in by_cause
        for cause, ends in sums.items()
    ]
    table = pd.DataFrame(rows).groupby(["candidate", "cause"]).sum()
    happened = outcomes["cause"].value_counts()
    table["happened"] = happened.reindex(table.index.get_level_values("cause")).fillna(0).to_numpy()
    return table
