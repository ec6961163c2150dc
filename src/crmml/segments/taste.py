"""Taste segments: customers who buy alike, by a non-negative factorisation of category shares."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from scipy.stats import chi2
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import NotFittedError, ParameterError, TooLittleDataError
from crmml.features.categories import MOST_CATEGORIES, gather_categories
from crmml.metrics.bootstrap import hash_keys, keyed_uniforms, resampling_weights

if TYPE_CHECKING:
    from crmml.data.tables import Tables

LEAST_LINES = 3
"""Lines of a customer from whom tastes are learned; fewer say little of one."""
LEAST_CUSTOMERS = 50
_SAMPLE, _SMALL = 20_000, 2_000
_HALVES = 4
_STEPS = 60


class TasteSegments:
    """Customers who buy alike.

    Shares of categories in a customer's order lines are taken apart into a few tastes, each a mix
    of categories (non-negative matrix factorisation; Lee and Seung 1999). A customer belongs to
    the taste that weighs most. The number of tastes is the one whose segments come out most alike
    on halves of the customers (adjusted Rand index). Shares that vary no more than chance alone
    would let them, are no tastes.

    Parameters
    ----------
    most : int
        Tastes at most, from 2.
    seed : int
        Of the sample (20,000 customers at most) and of the halves.

    Attributes
    ----------
    categories_ : list of str
    loadings_ : list of list of float
        Share of each category in each taste.
    names_ : list of str
        Of each taste: the categories that set it apart.
    stability_ : dict of int to float
        Adjusted Rand index by number of tastes; 1: always the same segments, 0: chance.
    dispersion_ : float
        Variance of the shares over what chance would give; 1: no tastes.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> lines = pd.DataFrame(rng.multinomial(9, [0.5, 0.4, 0.05, 0.05], 200),
    ...                      columns=["tea", "cake", "oil", "wine"])
    >>> lines.loc[100:] = lines.loc[100:, ::-1].to_numpy()
    >>> sorted(TasteSegments().fit(lines).names_)
    ['tea & cake', 'wine & oil']
    """

    categories_: list[str]
    loadings_: list[list[float]]
    names_: list[str]
    stability_: dict[int, float]
    dispersion_: float

    def __init__(self, *, most: int = 6, seed: int = 1) -> None:
        if most < 2:
            raise ParameterError("most", "at least 2", most)
        self.most, self.seed = int(most), int(seed)

    def fit(self, lines: pd.DataFrame) -> Self:
        """Learn the tastes.

        Parameters
        ----------
        lines : DataFrame
            Order lines of each customer (rows, keyed) in each category (columns).

        Raises
        ------
        TooLittleDataError
            With fewer than 50 customers of three lines, fewer than three categories, or shares
            that vary no more than by chance.
        """
        total = lines.sum().sort_values(ascending=False, kind="stable")
        names = [str(name) for name in total[total > 0].index[:MOST_CATEGORIES]]
        lines = lines.set_axis([str(name) for name in lines], axis=1)[names]
        known = lines[lines.sum(axis=1) >= LEAST_LINES]
        if len(known) < LEAST_CUSTOMERS or len(names) < 3:
            raise TooLittleDataError(
                f"tastes need {LEAST_CUSTOMERS} customers with {LEAST_LINES} order lines and 3 "
                f"categories; got {len(known):,} and {len(names)}"
            )
        order = np.argsort(keyed_uniforms(hash_keys(known.index), self.seed, 2**33), kind="stable")
        counts = known.to_numpy(np.float64)[order[:_SAMPLE]]
        self.dispersion_, chance = _dispersion(counts)
        if chance > 0.001:
            raise TooLittleDataError(
                "customers differ in the categories they buy no more than by chance (variance "
                f"{self.dispersion_:.2f} times that of chance)"
            )
        shares = counts / counts.sum(axis=1, keepdims=True)
        self.stability_ = _stability(shares[:_SMALL], min(self.most, len(names) - 1))
        best = max(self.stability_.values())
        # of numbers that are as good as the best, the most telling
        number = max(k for k, value in self.stability_.items() if value >= best - 0.02)
        loadings = _loadings(shares, number)
        self.categories_ = names
        self.loadings_ = loadings.tolist()
        self.names_ = _name(loadings, shares.mean(axis=0), names)
        return self

    def assign(self, lines: pd.DataFrame) -> pd.Series[str]:
        """Return each customer's taste, from the customer's own lines and the stored loadings.

        Parameters
        ----------
        lines : DataFrame
            As in :meth:`fit`; categories that the training did not know are passed over.

        Returns
        -------
        Series of str
            Null for customers without a line in a known category.
        """
        if not hasattr(self, "loadings_"):
            raise NotFittedError(self)
        counts = lines.reindex(columns=self.categories_, fill_value=0).to_numpy(np.float64)
        total = counts.sum(axis=1, keepdims=True)
        place = _places(counts / np.where(total > 0, total, 1.0), np.array(self.loadings_))
        text = pd.Series(np.array(self.names_, dtype=object)[place], lines.index, dtype="str")
        return text.where(total[:, 0] > 0).rename("taste_segment")

    def to_dict(self) -> dict[str, Any]:
        """Return settings and fitted state as plain JSON values."""
        if not hasattr(self, "loadings_"):
            raise NotFittedError(self)
        return {
            "most": self.most,
            "seed": self.seed,
            "categories": self.categories_,
            "loadings": self.loadings_,
            "names": self.names_,
            "stability": {str(k): value for k, value in self.stability_.items()},
            "dispersion": self.dispersion_,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild fitted tastes from :meth:`to_dict`."""
        tastes = cls(most=stored["most"], seed=stored["seed"])
        tastes.categories_ = list(stored["categories"])
        tastes.loadings_ = [list(row) for row in stored["loadings"]]
        tastes.names_ = list(stored["names"])
        tastes.stability_ = {int(k): value for k, value in stored["stability"].items()}
        tastes.dispersion_ = float(stored["dispersion"])
        return tastes


def spread(rows: pd.DataFrame, values: str = "lines") -> pd.DataFrame:
    """Bring the rows of :func:`gather_categories` into a table of customers and categories."""
    wide = rows.pivot(index="customer_id", columns="category", values=values)
    return wide.fillna(0.0)


def compute_product_market_map(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    segments: pd.Series[str],
    *,
    own_seller: str | None = None,
    n_boot: int = 200,
    seed: int = 1,
) -> pd.DataFrame:
    """Set segments against categories: what each buys more or less of than the whole base.

    Parameters
    ----------
    tables : Tables
        With ``category`` in the log.
    cutoff : str or Timestamp
        Exclusive.
    segments : Series of str
        Segment of each customer, on ``customer_id``: tastes, tiers or industries. Customers
        without one are left out.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.
    n_boot : int
        Resamples of customers behind each interval, at least 20.
    seed : int
        Of these.

    Returns
    -------
    DataFrame
        On ``segment`` and ``category``: ``customers`` of the segment who bought it, ``spend``,
        ``share`` of the category in the segment's spend, ``lift`` (over the share in all spend)
        with its 95 % interval ``lift_lower`` and ``lift_upper``, and ``served``: ``over`` or
        ``under`` where the interval leaves out 1, else ``alike``.
    """
    if n_boot < 20:
        raise ParameterError("n_boot", "at least 20", n_boot)
    segments = segments.dropna()
    rows = gather_categories(tables, pd.Timestamp(cutoff), own_seller)
    wide = spread(rows[rows["customer_id"].isin(segments.index)], "value")
    of = segments.reindex(wide.index)
    names = sorted(of.unique())
    spent = wide.to_numpy(np.float64)
    member = np.array([(of == name).to_numpy(np.float64) for name in names])
    lift = _lift(np.ones((1, len(of))), member, spent)[0]
    keys, draws = hash_keys(wide.index), []
    for first in range(0, n_boot, 20):
        weight = resampling_weights(keys, min(20, n_boot - first), seed, first)
        draws.append(_lift(weight, member, spent))
    low, high = np.nanquantile(np.concatenate(draws), [0.025, 0.975], axis=0)
    total = member @ spent
    shape = [names, [str(name) for name in wide]]
    table = pd.DataFrame(
        {
            "customers": (member @ (spent > 0)).astype(np.int64).ravel(),
            "spend": total.ravel(),
            "share": (total / total.sum(axis=1, keepdims=True)).ravel(),
            "lift": lift.ravel(),
            "lift_lower": low.ravel(),
            "lift_upper": high.ravel(),
        },
        index=pd.MultiIndex.from_product(shape, names=["segment", "category"]),
    )
    served = np.select(
        [table["lift_lower"] > 1, table["lift_upper"] < 1], ["over", "under"], "alike"
    )
    return table.assign(served=pd.Series(served, table.index, dtype="str"))


def _lift(weight: FloatArray, member: FloatArray, spent: FloatArray) -> FloatArray:
    """Divide the share of each category in each segment by that in all."""
    found = []
    for one in weight:
        by = (member * one) @ spent
        every = by.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(by / by.sum(axis=1, keepdims=True) / (every / every.sum()))
    return np.array(found)


def _dispersion(counts: FloatArray) -> tuple[float, float]:
    """Return the variance of shares over that of chance, and the probability of as much by it."""
    counts = counts[:, counts.any(axis=0)]
    base = counts.sum(axis=0) / counts.sum()
    total = counts.sum(axis=1, keepdims=True)
    expected = total * base
    statistic = float(((counts - expected) ** 2 / expected).sum())
    free = (len(counts) - 1) * (counts.shape[1] - 1)
    return statistic / free, float(chi2.sf(statistic, free))


def _loadings(shares: FloatArray, number: int) -> FloatArray:
    """Return the tastes as shares of categories, shape (number, categories)."""
    model = NMF(number, init="nndsvda", max_iter=300, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few more steps change no segment
        model.fit(shares)
    found = np.asarray(model.components_, dtype=np.float64)
    found = found[found.sum(axis=1) > 0]
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def _places(shares: FloatArray, loadings: FloatArray) -> IntArray:
    """Return the taste that weighs most; each row depends on itself alone."""
    cross, square = shares @ loadings.T, loadings @ loadings.T
    weight = np.full(cross.shape, 1.0 / len(loadings))
    for _ in range(_STEPS):
        weight = weight * cross / np.maximum(weight @ square, 1e-12)
    # the last bits of a product depend on the batch
    return np.asarray(np.argmax(np.round(weight, 7), axis=1), dtype=np.int64)


def _stability(shares: FloatArray, most: int) -> dict[int, float]:
    """Compare the segments that different halves of the customers lead to, by their number."""
    found = {}
    half = len(shares) // 2
    for number in range(2, most + 1):
        rng = np.random.default_rng(number)
        places = [
            _places(shares, _loadings(shares[rng.permutation(len(shares))[:half]], number))
            for _ in range(_HALVES)
        ]
        alike = [adjusted_rand_score(one, other) for one, other in combinations(places, 2)]
        found[number] = float(np.mean(alike))
    return found


def _name(loadings: FloatArray, base: FloatArray, categories: list[str]) -> list[str]:
    """Name each taste by the categories that set it apart: at least a tenth of it."""
    names: list[str] = []
    for row in loadings:
        lift = row / np.maximum(base, 1e-12)
        telling = np.where((row >= 0.1) & (lift > 1.0), lift, 0.0)
        telling[np.argmax(row)] += 1e-9  # at least one
        ranked = [categories[k] for k in np.argsort(-telling, kind="stable") if telling[k] > 0]
        name = " & ".join(sorted(ranked[:2], key=lambda one: -row[categories.index(one)]))
        for more in range(3, len(categories) + 1):
            if name not in names:
                break
            rest = [categories[k] for k in np.argsort(-lift, kind="stable")]
            name = " & ".join(rest[:more])
        names.append(name)
    return names
