"""The served distribution of purchases: behind interval, P(no purchase) and their judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import CrmmlError
from crmml.features.snapshot import Snapshot
from crmml.metrics.counts import randomised_pit
from crmml.models.forecast.forecasters import ProcessForecaster

INTERVAL = (0.1, 0.9)
"""Levels of ``*_lower`` and ``*_upper``: the outcome itself lies between them with 80 %."""

COUNT_COLUMNS = ("purchases_lower", "purchases_upper", "probability_no_purchase")

_ROWS = 20_000
_MOST = 2**14


class CountDistribution(Protocol):
    """P(n purchases in the horizon) of every customer of a snapshot."""

    def pmf(self, n_max: int) -> pd.DataFrame:
        """Return P(n), n = 0..n_max, keyed by customer."""
        ...

    def quantiles(self, q: Sequence[float]) -> pd.DataFrame:
        """Return the smallest n with P(purchases <= n) >= q, for each level."""
        ...

    def probability_no_purchase(self) -> pd.Series[float]:
        """Return P(0), keyed by customer."""
        ...


@dataclass(frozen=True)
class TabledDistribution:
    """The distribution of a forecaster that gives tables only, such as a blend.

    Attributes
    ----------
    model : Forecaster
        Fitted.
    snapshot : Snapshot
    """

    model: Any
    snapshot: Snapshot

    def pmf(self, n_max: int) -> pd.DataFrame:
        """Return P(n), n = 0..n_max, keyed by customer."""
        table: pd.DataFrame = self.model.distribution(self.snapshot, n_max)
        return table

    def probability_no_purchase(self) -> pd.Series[float]:
        """Return P(0), keyed by customer."""
        return self.pmf(0)[0].rename("probability_no_purchase")

    def quantiles(self, q: Sequence[float]) -> pd.DataFrame:
        """Return the smallest n with P(purchases <= n) >= q, for each level.

        Raises
        ------
        CrmmlError
            If a level is not reached within 16,384 purchases.
        """
        levels = np.asarray(q, dtype=np.float64)
        found = np.zeros((len(self.snapshot), len(levels)), dtype=np.int64)
        rows, n_max = np.arange(len(found)), 7
        while len(rows):
            if n_max > _MOST:
                raise CrmmlError(
                    f"the {levels.max():.0%} quantile of purchases is above {_MOST:,} for "
                    f"{len(rows):,} customers"
                )
            still = []
            for part in np.array_split(rows, -(-len(rows) * (n_max + 1) // 2_000_000)):
                keep = np.zeros(len(found), dtype=bool)
                keep[part] = True
                table = self.model.distribution(self.snapshot.subset(keep), n_max)
                reached = np.cumsum(table.to_numpy(), axis=1)
                found[part] = np.stack([(reached < u).sum(axis=1) for u in levels], axis=1)
                still.append(part[reached[:, -1] < levels.max()])
            rows, n_max = np.concatenate(still), 2 * n_max + 1
        columns = pd.Index(levels, name="q")
        return pd.DataFrame(found, index=self.snapshot.customer_id, columns=columns)


def distribution_of_forecast(model: Any, snapshot: Snapshot) -> CountDistribution | None:
    """Return the distribution that a forecaster gives itself; None where it gives a mean only.

    Parameters
    ----------
    model : Forecaster
        Fitted.
    snapshot : Snapshot
    """
    if hasattr(model, "predictive"):
        distribution: CountDistribution = model.predictive(snapshot)
        return distribution
    return TabledDistribution(model, snapshot) if gives_distribution(model, snapshot) else None


def gives_distribution(model: Any, snapshot: Snapshot) -> bool:
    """Say whether a forecaster gives a distribution; only the first customer is asked about."""
    one = snapshot.subset(np.arange(len(snapshot)) == 0)
    return hasattr(model, "predictive") or model.distribution(one, 0) is not None


def serves_own_distribution(model: Any, snapshot: Snapshot) -> bool:
    """Say whether a chosen forecaster serves a distribution of its own.

    A process does not: lifetime value rests on it, and knows the doubt about its parameters.
    """
    return not isinstance(model, ProcessForecaster) and gives_distribution(model, snapshot)


def count_columns(distribution: CountDistribution) -> pd.DataFrame:
    """Return the columns of the scores that a distribution gives: :data:`COUNT_COLUMNS`."""
    bounds = distribution.quantiles(INTERVAL)
    columns = (bounds.iloc[:, 0], bounds.iloc[:, 1], distribution.probability_no_purchase())
    return pd.DataFrame(dict(zip(COUNT_COLUMNS, columns, strict=True)))


def served_distribution(predictors: Iterable[Any], snapshot: Snapshot) -> CountDistribution:
    """Return the distribution whose interval and P(no purchase) the predictors serve.

    Parameters
    ----------
    predictors : iterable of Predictor
        Of a bundle.
    snapshot : Snapshot

    Raises
    ------
    CrmmlError
        If none of them gives the interval.
    """
    for predictor in predictors:
        if any(output.name == COUNT_COLUMNS[0] for output in predictor.outputs):
            distribution: CountDistribution = predictor.distribution(snapshot)
            return distribution
    raise CrmmlError("no predictor of this bundle gives an interval of purchases")


def transform_counts(
    predictors: Sequence[Any], snapshot: Snapshot, bought: FloatArray, uniforms: FloatArray
) -> FloatArray:
    """Take the randomised PIT of what was bought under the served distribution.

    Parameters
    ----------
    predictors : sequence of Predictor
        Of a bundle.
    snapshot : Snapshot
        What was scored.
    bought : ndarray, shape (n,)
        Purchases in the horizon, in the order of the snapshot.
    uniforms : ndarray, shape (n,)
        In (0, 1), by customer.

    Returns
    -------
    ndarray, shape (n,)
        See :func:`crmml.metrics.counts.randomised_pit`.
    """
    found = np.empty(len(bought))
    # Heavy buyers need wide tables, so those who bought alike go together.
    order, begin = np.argsort(-bought, kind="stable"), 0
    while begin < len(order):
        most = int(bought[order[begin]])
        size = min(_ROWS, max(1, 4_000_000 // (most + 1)))
        keep = np.zeros(len(bought), dtype=bool)
        keep[order[begin : begin + size]] = True
        table = served_distribution(predictors, snapshot.subset(keep)).pmf(most)
        found[keep] = randomised_pit(bought[keep], table.to_numpy(), uniforms[keep])
        begin += size
    return found
