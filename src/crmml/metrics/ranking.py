"""Judgement of an order of customers: correlation, Gini, deciles, the true top decile.

Tied predictions say nothing about the order within the tie, so each tied customer counts as the
average of the tie. No result depends on the order of the rows. All statistics take ``weight`` of
shape (..., n) and return shape (...); see :mod:`crmml.metrics.bootstrap`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from crmml._typing import FloatArray, IntArray
from crmml.metrics.bootstrap import Statistic


@dataclass(frozen=True)
class _Order:
    """Groups of tied customers, best first."""

    rows: IntArray
    """Rows in the order of falling score."""
    starts: IntArray
    """Where each group of ties begins in ``rows``."""

    @classmethod
    def of(cls, score: FloatArray) -> _Order:
        rows = np.argsort(-score, kind="stable")
        ordered = score[rows]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(rows, starts)

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum ``values`` (..., n) in each group: shape (..., n_groups)."""
        return np.asarray(np.add.reduceat(values[..., self.rows], self.starts, axis=-1))

    def spread(self, by_group: FloatArray) -> FloatArray:
        """Give each row the value of its group: (..., n_groups) to (..., n)."""
        sizes = np.diff(np.r_[self.starts, len(self.rows)])
        out = np.empty((*by_group.shape[:-1], len(self.rows)))
        out[..., self.rows] = np.repeat(by_group, sizes, axis=-1)
        return out


def _weights(weight: FloatArray | None, n: int) -> FloatArray:
    return np.ones(n) if weight is None else weight


def pearson(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Linear correlation; NaN if either side is constant.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return _pearson(_products(actual, predicted), _weights(weight, len(actual)))


def _products(actual: FloatArray, predicted: FloatArray) -> FloatArray:
    """Columns 1, y, p, y p, y y, p p, of which a correlation needs only the weighted sums."""
    # Centring first keeps the sums of squares from cancelling.
    y, p = actual - actual.mean(), predicted - predicted.mean()
    return np.column_stack([np.ones(len(y)), y, p, y * p, y * y, p * p])


def _pearson(products: FloatArray, w: FloatArray) -> FloatArray:
    sums = np.moveaxis(w @ products, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_y, mean_p, both, square_y, square_p = sums[1:] / sums[0]
        var_y, var_p = square_y - mean_y**2, square_p - mean_p**2
        cov = both - mean_y * mean_p
        return np.where((var_y > 0) & (var_p > 0), cov / np.sqrt(var_y * var_p), np.nan)


def _correlation(y: FloatArray, p: FloatArray, w: FloatArray) -> FloatArray:
    total = w.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_y, mean_p = (w * y).sum(axis=-1) / total, (w * p).sum(axis=-1) / total
        cov = (w * y * p).sum(axis=-1) / total - mean_y * mean_p
        var_y = (w * y * y).sum(axis=-1) / total - mean_y**2
        var_p = (w * p * p).sum(axis=-1) / total - mean_p**2
        return np.where((var_y > 0) & (var_p > 0), cov / np.sqrt(var_y * var_p), np.nan)


def spearman(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Rank correlation with mid-ranks for ties; with weights the ranks are weighted too.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
    """
    return _spearman(_Order.of(actual), _Order.of(predicted), _weights(weight, len(actual)))


def _spearman(by_actual: _Order, by_predicted: _Order, w: FloatArray) -> FloatArray:
    ranks = []
    for order in (by_actual, by_predicted):
        size = order.sums(w)
        middle = np.cumsum(size, axis=-1) - size / 2.0
        ranks.append(order.spread(middle / w.sum(axis=-1, keepdims=True) - 0.5))
    return _correlation(ranks[0], ranks[1], w)


def _concentration(
    actual: FloatArray, order: _Order, w: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Cumulative weight and cumulative outcome along the order, best first, with a zero before."""
    pad = [(0, 0)] * (w.ndim - 1) + [(1, 0)]
    people = np.pad(np.cumsum(order.sums(w), axis=-1), pad)
    outcome = np.pad(np.cumsum(order.sums(w * actual), axis=-1), pad)
    return people, outcome


def _area_above_chance(actual: FloatArray, order: _Order, w: FloatArray) -> FloatArray:
    people, outcome = _concentration(actual, order, w)
    area = np.trapezoid(outcome, people, axis=-1)
    return np.asarray(area - people[..., -1] * outcome[..., -1] / 2.0)


def normalised_gini(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Gini of the outcome along the predicted order, divided by that along the true order.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional

    Returns
    -------
    ndarray, shape (...)
        1 for the true order, about 0 for a random one, -1 for the reverse of the true one; NaN if
        all outcomes are equal.
    """
    return _normalised_gini(
        actual, _Order.of(actual), _Order.of(predicted), _weights(weight, len(actual))
    )


def _normalised_gini(
    actual: FloatArray, by_actual: _Order, by_predicted: _Order, w: FloatArray
) -> FloatArray:
    best = _area_above_chance(actual, by_actual, w)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(best > 0, _area_above_chance(actual, by_predicted, w) / best, np.nan)


def _by_group(values: FloatArray, order: _Order, w: FloatArray, n_groups: int) -> FloatArray:
    """Sum ``values`` in equal shares of the customers along the order: (..., n_groups)."""
    people, outcome = _concentration(values, order, w)
    shape = people.shape[:-1]
    flat_people, flat_outcome = (a.reshape(-1, a.shape[-1]) for a in (people, outcome))
    cuts = np.linspace(0.0, 1.0, n_groups + 1)
    curve = np.array(
        [np.interp(cuts * q[-1], q, v) for q, v in zip(flat_people, flat_outcome, strict=True)]
    )
    return np.diff(curve, axis=-1).reshape(*shape, n_groups)


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
        ``error`` (``predicted / actual - 1``).

    Examples
    --------
    >>> y = np.arange(10.0)
    >>> compute_decile_table(y, y, n_groups=2)["actual_mean"].tolist()
    [7.0, 2.0]
    """
    order, ones = _Order.of(predicted), np.ones(len(actual))
    size = len(actual) / n_groups
    mean_p = _by_group(predicted, order, ones, n_groups) / size
    mean_y = _by_group(actual, order, ones, n_groups) / size
    with np.errstate(invalid="ignore", divide="ignore"):
        table = {
            "customers": np.full(n_groups, size),
            "predicted_mean": mean_p,
            "actual_mean": mean_y,
            "share_of_actual": mean_y / mean_y.sum(),
            "lift": mean_y / mean_y.mean(),
            "error": np.where(mean_y != 0, mean_p / mean_y - 1.0, np.nan),
        }
    return pd.DataFrame(table, index=pd.RangeIndex(1, n_groups + 1, name="decile"))


def decile_mape(
    actual: FloatArray,
    predicted: FloatArray,
    weight: FloatArray | None = None,
    n_groups: int = 10,
) -> FloatArray:
    """Mean of ``|predicted / actual - 1|`` over the deciles of the prediction.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional
    n_groups : int
        10 for deciles.

    Returns
    -------
    ndarray, shape (...)
        Deciles in which nothing happened are left out; NaN if nothing happened at all.
    """
    w = _weights(weight, len(actual))
    return _decile_mape(actual, predicted, _Order.of(predicted), n_groups, w)


def _decile_mape(
    actual: FloatArray, predicted: FloatArray, order: _Order, n_groups: int, w: FloatArray
) -> FloatArray:
    p, y = (_by_group(v, order, w, n_groups) for v in (predicted, actual))
    # A difference of cumulative sums may leave a rounding error where the truth is zero.
    happened = np.abs(y) > 1e-12 * np.abs(y).sum(axis=-1, keepdims=True)
    error = np.abs(p / np.where(happened, y, 1.0) - 1.0)
    with np.errstate(invalid="ignore"):
        return np.asarray((error * happened).sum(axis=-1) / happened.sum(axis=-1))


def _top_membership(order: _Order, w: FloatArray, share: float) -> FloatArray:
    """Degree to which each customer stands in the top share: 0, 1, or the tied fraction."""
    size = order.sums(w)
    before = np.cumsum(size, axis=-1) - size
    room = share * w.sum(axis=-1, keepdims=True) - before
    with np.errstate(invalid="ignore", divide="ignore"):
        degree = np.where(size > 0, np.clip(room / size, 0.0, 1.0), 0.0)
    return order.spread(degree)


def top_share_found(
    actual: FloatArray,
    predicted: FloatArray,
    weight: FloatArray | None = None,
    share: float = 0.1,
) -> FloatArray:
    """Share of the customers of the true top decile who stand in the predicted top decile.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional
    share : float
        0.1 for the top decile.

    Returns
    -------
    ndarray, shape (...)
        A tie that straddles a boundary enters with the fraction that fits in.
    """
    w = _weights(weight, len(actual))
    return _top_share_found(_Order.of(actual), _Order.of(predicted), share, w)


def _top_share_found(
    by_actual: _Order, by_predicted: _Order, share: float, w: FloatArray
) -> FloatArray:
    true = _top_membership(by_actual, w, share)
    found = _top_membership(by_predicted, w, share)
    with np.errstate(invalid="ignore"):
        return np.asarray((w * true * found).sum(axis=-1) / (w * true).sum(axis=-1))


def top_share_lift(
    actual: FloatArray,
    predicted: FloatArray,
    weight: FloatArray | None = None,
    share: float = 0.1,
) -> FloatArray:
    """Mean outcome in the predicted top decile over the mean outcome of all.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    weight : ndarray, shape (..., n), optional
    share : float
        0.1 for the top decile.

    Returns
    -------
    ndarray, shape (...)
    """
    return _top_share_lift(actual, _Order.of(predicted), share, _weights(weight, len(actual)))


def _top_share_lift(actual: FloatArray, order: _Order, share: float, w: FloatArray) -> FloatArray:
    people, outcome = _concentration(actual, order, w)
    shape = people.shape[:-1]
    flat = zip(
        people.reshape(-1, people.shape[-1]), outcome.reshape(-1, outcome.shape[-1]), strict=True
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        lifts = [np.interp(share * q[-1], q, v) / (share * v[-1]) for q, v in flat]
    return np.array(lifts).reshape(shape)


class Outcome:
    """What happened, in its order: what all candidates that are judged on it share.

    Parameters
    ----------
    actual : ndarray, shape (n,)
    """

    def __init__(self, actual: FloatArray) -> None:
        self.actual = actual
        self._groups = _Groups(actual)
        self._weight: FloatArray | None = None

    def seen(self, weight: FloatArray) -> _Seen:
        """Say what the weights, shape (n_replicates, n), make of the outcome; kept for the next."""
        if self._weight is not weight:
            groups, w = self._groups, np.ascontiguousarray(weight.T)
            size = groups.sums(w)
            people = np.cumsum(size, axis=1)
            total, outcome = people[:, -1:], size * groups.score
            with np.errstate(invalid="ignore", divide="ignore"):
                rank = (people - size / 2.0) / total - 0.5
                room = np.clip((0.1 * total - people + size) / size, 0.0, 1.0)
            top = np.where(size > 0, room, 0.0)
            self._seen = _Seen(
                weight=w,
                ranked=w * np.ascontiguousarray(rank.T)[groups.label],
                spread=np.einsum("bg,bg,bg->b", size, rank, rank),
                best=_area(size, outcome, np.cumsum(outcome, axis=1)),
                top=w * np.ascontiguousarray(top.T)[groups.label],
            )
            self._weight = weight
        return self._seen


@dataclass(frozen=True)
class _Seen:
    weight: FloatArray
    """Shape (n, n_replicates), as ``ranked`` and ``top``."""
    ranked: FloatArray
    """Weight times true rank, from -1/2 to 1/2."""
    spread: FloatArray
    best: FloatArray
    top: FloatArray
    """Weight times membership of the true top decile."""


class _Groups:
    """Tied rows as groups, best first; sums over them are one product with a sparse matrix."""

    def __init__(self, score: FloatArray) -> None:
        order = _Order.of(score)
        sizes = np.diff(np.r_[order.starts, len(score)])
        self.score = score[order.rows[order.starts]]
        self.label = np.empty(len(score), dtype=np.int64)
        self.label[order.rows] = np.repeat(np.arange(len(sizes)), sizes)
        parts = (np.ones(len(score)), order.rows, np.r_[order.starts, len(score)])
        self._members = csr_array(parts, shape=(len(sizes), len(score)))

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum (n, n_replicates) in each group: shape (n_replicates, n_groups)."""
        return np.ascontiguousarray((self._members @ values).T)

    def scaled(self, factor: FloatArray) -> _Groups:
        """Return the same groups, adding up ``factor`` times the values."""
        found = copy(self)
        found._members = csr_array(
            (factor[self._members.indices], self._members.indices, self._members.indptr),
            shape=self._members.shape,
        )
        return found


def _area(size: FloatArray, outcome: FloatArray, reached: FloatArray) -> FloatArray:
    """Area between the concentration curve of the groups and the line of chance."""
    area = np.einsum("bg,bg->b", reached, size) - np.einsum("bg,bg->b", outcome, size) / 2.0
    return np.asarray(area - reached[:, -1] * size.sum(axis=1) / 2.0)


class _Candidate:
    """All ranking statistics of one candidate, found together for each set of weights."""

    def __init__(self, outcome: Outcome, predicted: FloatArray) -> None:
        self.outcome = outcome
        self._groups = _Groups(predicted)
        self._outcomes = self._groups.scaled(outcome.actual)
        self._weight: FloatArray | None = None

    def one(self, name: str, weight: FloatArray) -> FloatArray:
        if self._weight is not weight:
            flat = weight if weight.ndim == 2 else weight.reshape(-1, weight.shape[-1])
            self._found, self._weight = self._all(flat), weight
        return self._found[name].reshape(weight.shape[:-1])

    def _all(self, weight: FloatArray) -> dict[str, FloatArray]:
        seen, groups = self.outcome.seen(weight), self._groups
        size, outcome = groups.sums(seen.weight), self._outcomes.sums(seen.weight)
        people = np.cumsum(size, axis=1)
        total = people[:, -1:]
        values = (outcome, size * groups.score, groups.sums(seen.top))
        reached = [np.cumsum(one, axis=1) for one in values]
        y, p, top = (
            np.diff(one, axis=0).T for one in _at_shares(np.linspace(0.0, 1.0, 11), people, reached)
        )
        happened = np.abs(y) > 1e-12 * np.abs(y).sum(axis=1, keepdims=True)
        error = np.abs(p / np.where(happened, y, 1.0) - 1.0) * happened
        with np.errstate(invalid="ignore", divide="ignore"):
            rank = (people - size / 2.0) / total - 0.5
            spread = np.einsum("bg,bg,bg->b", size, rank, rank) * seen.spread
            agreed = np.einsum("bg,bg->b", groups.sums(seen.ranked), rank)
            return {
                "spearman": np.where(spread > 0, agreed / np.sqrt(spread), np.nan),
                "gini": np.where(
                    seen.best > 0, _area(size, outcome, reached[0]) / seen.best, np.nan
                ),
                "decile_mape": error.sum(axis=1) / happened.sum(axis=1),
                "top_decile_found": top[:, 0] / seen.top.sum(axis=0),
                "top_decile_lift": y[:, 0] / (0.1 * y.sum(axis=1)),
            }


def _at_shares(shares: FloatArray, people: FloatArray, reached: list[FloatArray]) -> FloatArray:
    """Cumulative sums at shares of the customers: (n_curves, n_shares, n_replicates)."""
    rows = np.arange(len(people))
    wanted = shares[:, None] * people[:, -1]
    at = np.array([np.searchsorted(q, c) for q, c in zip(people, wanted.T, strict=True)]).T
    at = np.minimum(at, people.shape[1] - 1)
    high = people[rows, at]
    low = np.where(at > 0, people[rows, at - 1], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(high > low, (wanted - low) / (high - low), 0.0)
    found = []
    for curve in reached:
        before = np.where(at > 0, curve[rows, at - 1], 0.0)
        found.append(before + part * (curve[rows, at] - before))
    return np.array(found)


RANKED = ("spearman", "gini", "decile_mape", "top_decile_found", "top_decile_lift")


def statistics(
    actual: FloatArray, predicted: FloatArray, outcome: Outcome | None = None
) -> dict[str, Statistic]:
    """Ranking statistics of one candidate, for :func:`crmml.metrics.bootstrap.compare`.

    Parameters
    ----------
    actual, predicted : ndarray, shape (n,)
    outcome : Outcome, optional
        ``Outcome(actual)``, given where several candidates are judged on it: work on the true
        order is then done once.

    Returns
    -------
    dict of str to Statistic
        ``pearson, spearman, gini, decile_mape, top_decile_found, top_decile_lift``, each equal to
        the function of its name. They are found together, once for each array of weights.
    """
    candidate = _Candidate(outcome or Outcome(actual), predicted)
    return {
        "pearson": partial(_pearson, _products(actual, predicted)),
        **{name: partial(candidate.one, name) for name in RANKED},
    }
