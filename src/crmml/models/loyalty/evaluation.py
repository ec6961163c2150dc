"""Judge the forecasts of the next class of loyalty, and say which is published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from crmml.metrics import ordinal
from crmml.metrics.bootstrap import hash_keys, replicate
from crmml.metrics.challenge import Challenge, challenge
from crmml.models.forecast.baselines import class_positions
from crmml.models.loyalty.history import Pair

WORTH_HAVING = 0.001
"""Least gain in log loss (nats) for which trees are worth their weight."""

_NO_WORSE = {"macro_f1": "macro-F1", "quadratic_kappa": "quadratic kappa"}
"""Measures of the most probable class in which trees may not be worse than persistence."""

_NO_MATTER = 0.02
"""Loss in these that is no loss: the whole interval of the difference must lie above it."""


@dataclass(frozen=True)
class LoyaltyEvaluation:
    """How the forecasts of the next class did on the newest pair of windows.

    Attributes
    ----------
    table : DataFrame
        Index ``candidate, metric``; value, interval (95 %) and the difference to the transition
        matrix with its interval. See :func:`crmml.metrics.bootstrap.compare`.
    challenge : Challenge
        The log loss of the trees against that of the matrix.
    cutoff : Timestamp
        End of the last window that the forecasts saw.
    n_customers : int
        Customers judged.
    against_persistence : DataFrame
        The same table with differences to persistence.
    """

    table: pd.DataFrame
    challenge: Challenge
    cutoff: pd.Timestamp
    n_customers: int
    against_persistence: pd.DataFrame

    def value(self, candidate: str, metric: str, column: str = "value") -> float:
        """Look up one number of the table."""
        return float(self.table[column].loc[(candidate, metric)])


def evaluate_loyalty(
    predictions: Mapping[str, pd.DataFrame], test: Pair, *, n_boot: int, seed: int
) -> LoyaltyEvaluation:
    """Judge probabilities of the next class on a pair of windows that no candidate has seen.

    Parameters
    ----------
    predictions : mapping of str to DataFrame
        Probabilities by candidate, in the order of the pair's rows; ``trees`` challenges
        ``transition_matrix``.
    test : Pair
        The newest.
    n_boot, seed : int
        Of the paired bootstrap.
    """
    actual = class_positions(test.after)
    found = replicate(
        {name: ordinal.statistics(actual, p.to_numpy()) for name, p in predictions.items()},
        hash_keys(test.customer_id),
        n_replicates=n_boot,
        seed=seed,
    )
    judged = challenge(found, "trees", ["transition_matrix"], metric="log_loss", least=WORTH_HAVING)
    table = found.table("transition_matrix", level=0.95)
    kept = found.table("persistence", level=0.95)
    return LoyaltyEvaluation(table, judged, test.now.closes, len(actual), kept)


def choose_published(
    evaluation: LoyaltyEvaluation, evidence: str
) -> tuple[Literal["transition_matrix", "trees"], str]:
    """Name what is published and the sentence that says why.

    The trees must beat the matrix in log loss, and be no worse than persistence in macro-F1 and
    quadratic kappa: the lower bound of the paired difference lies above -0.02.
    """
    judged = evaluation.challenge
    _, low, high = judged.gains.loc["transition_matrix"]
    figures = (
        f"on {evaluation.n_customers:,} customers at {evaluation.cutoff.date()} ({evidence} "
        f"evidence) log loss is {judged.values['transition_matrix']:.3f} for the "
        f"transition matrix and {judged.values['trees']:.3f} for the trees "
        f"(difference 95 % [{low:+.3f}, {high:+.3f}])"
    )
    worse = []
    for metric, name in _NO_WORSE.items():
        kept, learned = (evaluation.value(who, metric) for who in ("persistence", "trees"))
        figures += f"; {name} of persistence is {kept:.3f}, of the trees {learned:.3f}"
        lower = float(evaluation.against_persistence["difference_lower"].loc[("trees", metric)])
        figures += f" (difference from {lower:+.3f} on)"
        worse += [] if lower > -_NO_MATTER else [name]
    if not judged.won:
        return "transition_matrix", f"{figures}: the matrix is not beaten and is published"
    if worse:
        told = " and ".join(worse)
        return (
            "transition_matrix",
            f"{figures}: the trees may be worse than persistence in {told} by {_NO_MATTER} or "
            "more, so the matrix is published",
        )
    return "trees", f"{figures}: the trees are published"
