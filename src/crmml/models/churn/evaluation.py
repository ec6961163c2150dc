"""Judge churn models on a later window that none of them has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.card import Card, Result, moment
from crmml.exceptions import FutureLeakError, ParameterError
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.metrics import classification
from crmml.metrics.bootstrap import hash_keys, replicate
from crmml.metrics.calibration import compute_reliability
from crmml.metrics.challenge import Challenge, challenge
from crmml.metrics.profit import compute_profit_curve
from crmml.models.churn.history import find_candidates, in_sample
from crmml.models.forecast.baselines import labels

LEVEL = 0.95
"""Probability of the intervals."""


class ChurnPredictor(Protocol):
    """Whatever gives a probability of churn for each customer."""

    def churn_probability(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the probability of no purchase in the outcome window, keyed by customer."""


@dataclass(frozen=True, repr=False)
class ChurnEvaluation(Result):
    """How churn models did on a window that none of them has seen.

    Attributes
    ----------
    table : DataFrame
        Index ``candidate, metric``; columns ``value, lower, upper`` and the difference to the
        reference with its interval. See :func:`crmml.metrics.bootstrap.compare`.
    challenge : Challenge
        The AUC of the model against that of each baseline.
    grades : dict of str to str
        Grade of each candidate against the reference, see :func:`grade_gain`.
    reliability : dict of str to DataFrame
        Calibration curve of each candidate.
    profit : dict of str to DataFrame
        What contacting by each candidate finds and earns, share by share; see
        :func:`crmml.metrics.profit.compute_profit_curve`.
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
    challenge: Challenge
    grades: dict[str, str]
    reliability: dict[str, pd.DataFrame]
    profit: dict[str, pd.DataFrame]
    reference: str
    cutoff: pd.Timestamp
    n_customers: int
    churn_rate: float

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of metrics."""
        return self.table.copy()

    def _card(self) -> Card:
        rows = (
            ("window", f"from {moment(self.cutoff)} on, seen by none of the models"),
            ("churned", f"{self.churn_rate:.1%} of the customers"),
            *((f"grade of {name}", f"{grade} against {self.reference}")
              for name, grade in self.grades.items()),
            ("more", "to_pandas() is the table of metrics, plot() the reliability"),
        )  # fmt: skip
        return Card(f"ChurnEvaluation on {self.n_customers:,} customers", rows)

    @property
    def gains(self) -> pd.DataFrame:
        """AUC of the model less that of each baseline: ``difference, lower, upper``."""
        return self.challenge.gains

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
    snapshot, churned = _judged(labelled, candidate_horizons, max_customers, seed)
    predictions = {
        label: np.asarray(
            candidate.churn_probability(snapshot).reindex(snapshot.customer_id), dtype=np.float64
        )
        for label, candidate in candidates.items()
    }
    value = spend_so_far(snapshot)
    measures = {
        label: classification.statistics(churned, p, value) for label, p in predictions.items()
    }
    found = replicate(measures, hash_keys(snapshot.customer_id), n_replicates=n_boot, seed=seed)
    reference = next(iter(baselines))
    table = found.table(reference, LEVEL)
    bounds = table.xs("auc", level="metric")[["difference_lower", "difference_upper"]]
    return ChurnEvaluation(
        table=table,
        challenge=challenge(found, name, list(baselines), metric="auc", level=LEVEL),
        grades={
            label: grade_gain(*map(float, bounds.loc[label]))
            for label in predictions
            if label != reference
        },
        reliability={label: compute_reliability(churned, p) for label, p in predictions.items()},
        profit={label: compute_profit_curve(churned, p, value) for label, p in predictions.items()},
        reference=reference,
        cutoff=labelled.window.cutoff,
        n_customers=len(churned),
        churn_rate=float(churned.mean()),
    )


def spend_so_far(snapshot: Snapshot) -> FloatArray | None:
    """Return what each customer has spent per unit of time, shape (n,): the value that is known.

    Whoever is known for less than a tenth of the longest time counts as known for that; None where
    the log has no amounts.
    """
    if "net_spend" not in snapshot.frame:
        return None
    known = snapshot.frame["T"].to_numpy(dtype=np.float64)
    spent = snapshot.frame["net_spend"].to_numpy(dtype=np.float64)
    return np.asarray(spent / np.maximum(known, max(0.1 * known.max(initial=0.0), 1e-9)))


def _judged(
    labelled: LabelledSnapshot, candidate_horizons: float, max_customers: int, seed: int
) -> tuple[Snapshot, FloatArray]:
    """Take the alive candidates, or a sample of them, with their outcomes."""
    keep = find_candidates(labelled.snapshot, labelled.window.horizon, candidate_horizons)
    keep &= in_sample(labelled.snapshot, -(-len(labelled) // max_customers), seed)
    return labelled.snapshot.subset(keep), labels(labelled)[keep]


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
