"""A learned candidate challenges simple ones: it wins only where it is better beyond chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import Metric, metric_named


@dataclass(frozen=True)
class Challenge:
    """How much better or worse a learned candidate is than each simple one, on the same customers.

    Attributes
    ----------
    learned : str
        The challenger.
    metric : Metric
        What it is judged by.
    gains : DataFrame
        Index: simple candidate; ``difference, lower, upper`` of the metric, learned less simple.
    least : float
        Least improvement for which the learned candidate is worth its weight, >= 0.
    values : dict of str to float
        The metric of each candidate.
    """

    learned: str
    metric: Metric
    gains: pd.DataFrame
    least: float
    values: dict[str, float]

    @property
    def won(self) -> bool:
        """Whether the whole interval against each simple candidate lies beyond ``least``.

        An interval that could not be computed is no victory.
        """
        if self.metric.direction == "lower":
            return bool((self.gains["upper"] < -self.least).all())
        return bool((self.gains["lower"] > self.least).all())

    @property
    def best_simple(self) -> str:
        """The best of the simple candidates; one without a value is never the best."""
        losses = {
            str(name): self.metric.loss(self.values[str(name)])
            for name in self.gains.index
            if not pd.isna(self.values[str(name)])
        }
        return min(losses, key=lambda name: losses[name]) if losses else str(self.gains.index[0])


def challenge(
    replicates: Replicates,
    learned: str,
    simple: Sequence[str],
    *,
    metric: str,
    least: float = 0.0,
    level: float = 0.95,
) -> Challenge:
    """Compare a learned candidate with simple ones by the paired interval of one metric.

    Parameters
    ----------
    replicates : Replicates
        Of all candidates on the same customers; see :func:`crmml.metrics.bootstrap.replicate`.
    learned : str
        The challenger.
    simple : sequence of str
        At least one; the first wins a tie among them.
    metric : str
        Of which lower or higher values are better.
    least : float
        Least improvement that counts, >= 0.
    level : float
        Probability of the intervals.

    Raises
    ------
    ParameterError
        If a candidate or the metric is not known.

    Examples
    --------
    >>> import numpy as np
    >>> from crmml.metrics import classification
    >>> from crmml.metrics.bootstrap import hash_keys, replicate
    >>> churned = np.array([0.0, 1.0] * 50)
    >>> predictions = {"trees": churned, "coin": np.full(100, 0.5)}
    >>> measures = {k: classification.statistics(churned, p) for k, p in predictions.items()}
    >>> found = replicate(measures, hash_keys(range(100)), n_replicates=50, seed=0)
    >>> judged = challenge(found, "trees", ["coin"], metric="auc")
    >>> judged.won, judged.best_simple
    (True, 'coin')
    """
    columns = ["difference", "difference_lower", "difference_upper"]
    tables = {name: replicates.table(name, level) for name in simple}
    values = tables[simple[0]]["value"]
    gains = pd.DataFrame(
        {name: table.loc[(learned, metric), columns] for name, table in tables.items()}
    )
    return Challenge(
        learned=learned,
        metric=metric_named(metric),
        gains=gains.T.set_axis(["difference", "lower", "upper"], axis=1),
        least=least,
        values={name: float(values.loc[(name, metric)]) for name in (learned, *simple)},
    )
