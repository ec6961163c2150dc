"""Judgement of an order of customers: correlation, Gini, deciles, the true top decile.

Tied predictions say nothing about the order within the tie, so each tied customer counts as the
average of the tie. No result depends on the order of the rows. These figures describe a candidate
and decide nothing, so they have no bootstrap replicates.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from crmml._typing import FloatArray, IntArray


@dataclass(frozen=True)
class Order:
    """Customers by falling score, in groups of ties.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Rows in the order of falling score.
    ends : ndarray of int, shape (n_groups + 1,)
        0, and where each group of ties ends in ``rows``.
    """

    rows: IntArray
    ends: IntArray

    @classmethod
    def of(cls, score: FloatArray) -> Order:
        """Sort the customers by a score, shape (n,)."""
        rows = np.argsort(-score, kind="stable")
        ordered = score[rows]
        last = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        return cls(rows, np.r_[0, last, len(rows)][: None if len(rows) else 1])

    def spread(self, by_group: FloatArray) -> FloatArray:
        """Give each row the value of its group, shape (n,)."""
        out = np.empty(len(self.rows))
        out[self.rows] = np.repeat(by_group, np.diff(self.ends))
        return out

    def reached(self, values: FloatArray) -> FloatArray:
        """Sum ``values`` of the customers up to each of ``ends``, shape (n_groups + 1,)."""
        total = np.r_[0.0, np.cumsum(values[self.rows])]
        return np.asarray(total[self.ends])

    def reached_at(self, values: FloatArray, shares: FloatArray) -> FloatArray:
        """Sum ``values`` of the best shares of the customers; ties enter in part."""
        return np.interp(shares * len(self.rows), self.ends, self.reached(values))

    def ranks(self) -> FloatArray:
        """Mid-rank of each customer, the best first, shape (n,)."""
        return self.spread((self.ends[1:] + self.ends[:-1]) / 2.0)

    def membership(self, share: float) -> FloatArray:
        """Degree to which each customer stands in the top share: 0, 1, or the tied fraction."""
        room = share * len(self.rows) - self.ends[:-1]
        return self.spread(np.clip(room / np.diff(self.ends), 0.0, 1.0))


def pearson(actual: FloatArray, predicted: FloatArray) -> float:
    """Linear correlation; NaN if either side is constant.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    """
    if len(actual) < 2 or np.ptp(actual) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    with warnings.catch_warnings():
        # A side that is constant but for rounding has no correlation worth a warning.
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(stats.pearsonr(actual, predicted).statistic)


def spearman(actual: FloatArray, predicted: FloatArray) -> float:
    """Rank correlation with mid-ranks for ties; NaN if either side is constant.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    """
    return pearson(Order.of(actual).ranks(), Order.of(predicted).ranks())


def normalised_gini(actual: FloatArray, predicted: FloatArray) -> float:
    """Gini of the outcome along the predicted order, divided by that along the true order.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)

    Returns
    -------
    float
        1 for the true order, about 0 for a random one, -1 for the reverse of the true one; NaN if
        all outcomes are equal.
    """
    return _normalised_gini(actual, Order.of(actual), Order.of(predicted))


def _normalised_gini(actual: FloatArray, true: Order, predicted: Order) -> float:
    best = _area_above_chance(actual, true)
    return _area_above_chance(actual, predicted) / best if best > 0 else float("nan")


def _area_above_chance(actual: FloatArray, order: Order) -> float:
    """Area between the concentration curve of the outcome and the line of chance."""
    outcome = order.reached(actual)
    return float(np.trapezoid(outcome, order.ends) - order.ends[-1] * outcome[-1] / 2.0)


def compute_decile_table(
    actual: FloatArray, predicted: FloatArray, n_groups: int = 10
) -> pd.DataFrame:
    """Mean prediction and outcome in equal groups of customers, the best predicted first.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    n_groups : int
        10 for deciles.

    Returns
    -------
    DataFrame
        Index ``decile`` (1 = best); columns ``customers`` (a fraction where a boundary cuts a
        customer), ``predicted_mean``, ``actual_mean``, ``share_of_actual``, ``lift`` and
        ``error`` (``predicted / actual - 1``, missing where nothing happened).

    Examples
    --------
    >>> y = np.arange(10.0)
    >>> compute_decile_table(y, y, n_groups=2)["actual_mean"].tolist()
    [7.0, 2.0]
    """
    return _decile_table(actual, predicted, Order.of(predicted), n_groups)


def _decile_table(
    actual: FloatArray, predicted: FloatArray, order: Order, n_groups: int = 10
) -> pd.DataFrame:
    shares, size = np.linspace(0.0, 1.0, n_groups + 1), len(actual) / n_groups
    mean_p, mean_y = (
        np.diff(order.reached_at(values, shares)) / size for values in (predicted, actual)
    )
    # A difference of cumulative sums may leave a rounding error where the truth is zero.
    happened = np.abs(mean_y) > 1e-12 * np.abs(mean_y).sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        table = {
            "customers": np.full(n_groups, size),
            "predicted_mean": mean_p,
            "actual_mean": mean_y,
            "share_of_actual": mean_y / mean_y.sum(),
            "lift": mean_y / mean_y.mean(),
            "error": np.where(happened, mean_p / mean_y - 1.0, np.nan),
        }
    return pd.DataFrame(table, index=pd.RangeIndex(1, n_groups + 1, name="decile"))


def decile_mape(actual: FloatArray, predicted: FloatArray) -> float:
    """Mean of ``|predicted / actual - 1|`` over the deciles of the prediction.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)

    Returns
    -------
    float
        Deciles in which nothing happened are left out; NaN if nothing happened at all.
    """
    return float(compute_decile_table(actual, predicted)["error"].abs().mean())


def top_share_found(actual: FloatArray, predicted: FloatArray, share: float = 0.1) -> float:
    """Share of the customers of the true top decile who stand in the predicted top decile.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    share : float
        0.1 for the top decile. A tie that straddles a boundary enters with the fraction that
        fits in.
    """
    return _top_share_found(Order.of(actual), Order.of(predicted), share)


def _top_share_found(true: Order, predicted: Order, share: float = 0.1) -> float:
    top = true.membership(share)
    return float(top @ predicted.membership(share) / top.sum())


def top_share_lift(actual: FloatArray, predicted: FloatArray, share: float = 0.1) -> float:
    """Mean outcome in the predicted top decile over the mean outcome of all.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    share : float
        0.1 for the top decile.

    Returns
    -------
    float
        NaN if nothing happened at all.
    """
    order = Order.of(predicted)
    top, total = order.reached_at(actual, np.array([share, 1.0])).tolist()
    return top / (share * total) if total != 0 else float("nan")


def statistics(
    actual: FloatArray, predicted: FloatArray, true: Order | None = None
) -> dict[str, float]:
    """Describe the order that one candidate gives, for :func:`crmml.metrics.bootstrap.compare`.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    true : Order, optional
        ``Order.of(actual)``, given where several candidates are judged on the same outcome, so
        that it is sorted once.

    Returns
    -------
    dict of str to float
        ``pearson, spearman, gini, decile_mape, top_decile_found, top_decile_lift``, each equal to
        the function of its name.
    """
    true, order = true or Order.of(actual), Order.of(predicted)
    deciles = _decile_table(actual, predicted, order)
    return {
        "pearson": pearson(actual, predicted),
        "spearman": pearson(true.ranks(), order.ranks()),
        "gini": _normalised_gini(actual, true, order),
        "decile_mape": float(deciles["error"].abs().mean()),
        "top_decile_found": _top_share_found(true, order),
        "top_decile_lift": float(deciles["lift"].iloc[0]),
    }
