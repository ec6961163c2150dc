"""Value tiers: the profitability pyramid, its cut points fitted once and stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import CrmmlError, DataError, NotFittedError, ParameterError

TIERS: tuple[str, ...] = ("A", "B", "C", "D", "E")

REFERENCE_SHARE_OF_VALUE: Mapping[str, float] = MappingProxyType(
    {"A": 0.25, "B": 0.25, "C": 0.40, "D": 0.10, "E": -0.10}
)
"""Share of the value created by each tier in the reference pyramid; a comparison, not a target.

The published shares add up to 90 %.
"""

SERVICE_PRIORITY: Mapping[str, int] = MappingProxyType({t: k for k, t in enumerate(TIERS, 1)})
"""Place in the queue at peak load: A and B first, C before D, E never ahead of others."""

POSTURE: Mapping[str, str] = MappingProxyType(
    {
        "A": "keep",
        "B": "keep and grow, special service",
        "C": "invest most to move up",
        "D": "no extra spend unless an upgrade pays",
        "E": "no investment, reduce cost to serve",
    }
)
"""What the house does for each tier."""

_KNOTS = 1001
_ROUNDING = 1e-12


class ValueTiers:
    """Tiers A to E by value, with cut points and the Pareto curve of the training customers.

    Fitted state belongs to the training customers, so a customer's tier and Pareto position
    depend on nobody else in the batch.

    Parameters
    ----------
    shares : sequence of float
        Target shares of customers in A, B, C, D and E; they add up to 1.

    Attributes
    ----------
    cut_points_ : list of float
        Lowest value of A, B, C and D, falling. A customer with exactly this value is in the
        upper tier. Where many customers share a value, all of them go to the side that comes
        nearer to the target.
    pareto_values_, pareto_shares_ : list of float
        Knots of the Pareto curve: values, rising, and the share of all positive value that
        the customers with at least this value hold.
    gini_ : float
        Gini coefficient of the training values (negative values count as zero).

    Examples
    --------
    >>> values = pd.Series(np.arange(100.0), index=pd.RangeIndex(100, name="customer_id"))
    >>> tiers = ValueTiers().fit(values)
    >>> tiers.cut_points_
    [90.0, 75.0, 40.0, 20.0]
    >>> tiers.assign(pd.Series([95.0, 50.0, -1.0])).tolist()
    ['A', 'C', 'E']
    """

    cut_points_: list[float]
    pareto_values_: list[float]
    pareto_shares_: list[float]
    gini_: float

    def __init__(self, shares: Sequence[float] = (0.10, 0.15, 0.35, 0.20, 0.20)) -> None:
        good = len(shares) == len(TIERS) and all(s > 0 for s in shares)
        if not good or not np.isclose(sum(shares), 1.0):
            raise ParameterError("shares", "five positive numbers that add up to 1", list(shares))
        self.shares = tuple(float(s) for s in shares)

    def fit(self, values: pd.Series[float] | npt.ArrayLike) -> Self:
        """Fit cut points and the Pareto curve to the customers' values (CLV or margin to date).

        Raises
        ------
        CrmmlError, DataError
            If there are no values, or some are not finite.
        """
        worth = np.sort(_finite(values))
        if len(worth) == 0:
            raise CrmmlError("value tiers need at least one customer; got none")
        self.cut_points_ = _cut_points(worth, np.cumsum(self.shares)[:-1])
        self.pareto_values_, self.pareto_shares_ = _pareto_knots(worth)
        self.gini_ = gini(worth)
        return self

    def assign(self, values: pd.Series[float]) -> pd.Series[str]:
        """Return the tier of each customer, on the index of ``values``.

        Who has a negative value is in E whatever the cut points say.
        """
        few: pd.Series[str] = pd.Series(TIERS, dtype="str")
        return few.take(self._places(values)).set_axis(values.index).rename("value_tier")

    def _places(self, values: pd.Series[float]) -> IntArray:
        """Return the place of each customer's tier among :data:`TIERS`."""
        self._check_fitted()
        worth = _finite(values)
        # The last bits of a value must not part a customer from the cut point that is its own.
        above = np.searchsorted(
            self.cut_points_[::-1], worth + _ROUNDING * np.abs(worth), side="right"
        )
        return np.where(worth < 0, len(TIERS) - 1, len(TIERS) - 1 - above)

    def next_cut_point(self, values: pd.Series[float]) -> pd.Series[float]:
        """Return the value at which the next higher tier begins; null in A.

        From E it is at least 0, since a negative value is in E whatever the cut points say.

        Examples
        --------
        >>> tiers = ValueTiers().fit(np.arange(100.0))
        >>> tiers.next_cut_point(pd.Series([95.0, 80.0, -1.0])).tolist()
        [nan, 90.0, 20.0]
        """
        place = self._places(values)
        cuts = np.array([np.nan, *self.cut_points_])
        cuts[-1] = max(cuts[-1], 0.0)
        return pd.Series(cuts[place], index=values.index, name="next_cut_point")

    def pareto_share(self, values: pd.Series[float]) -> pd.Series[float]:
        """Return the share of the training customers' positive value held at or above each value.

        0.8 means: the customers worth at least as much hold 80 % of all value. It is read off
        the stored curve (some two thousand knots, linear between them), never off the batch.
        """
        self._check_fitted()
        share = np.interp(_finite(values), self.pareto_values_, self.pareto_shares_)
        return pd.Series(share, index=values.index, name="pareto_share")

    def profile(self, values: pd.Series[float]) -> pd.DataFrame:
        """Tabulate the tiers of some customers beside the reference pyramid.

        Returns
        -------
        DataFrame
            On ``value_tier`` (all five): ``customers``, ``share_of_customers``,
            ``target_share_of_customers``, ``value``, ``share_of_value``, ``mean_value``,
            ``reference_share_of_value``, ``service_priority``, ``posture``. Shares of value
            are null where the total is not positive, means where a tier is empty.
        """
        tiers = self.assign(values)
        groups = pd.Series(_finite(values), index=values.index).groupby(tiers)
        table = pd.DataFrame({"customers": groups.size(), "value": groups.sum()})
        table = table.reindex(pd.Index(TIERS, name="value_tier"), fill_value=0)
        total = float(table["value"].sum())
        table["share_of_customers"] = table["customers"] / max(len(values), 1)
        table["target_share_of_customers"] = list(self.shares)
        table["share_of_value"] = table["value"] / total if total > 0 else np.nan
        table["mean_value"] = groups.mean()
        table["reference_share_of_value"] = [REFERENCE_SHARE_OF_VALUE[t] for t in TIERS]
        table["service_priority"] = [SERVICE_PRIORITY[t] for t in TIERS]
        table["posture"] = [POSTURE[t] for t in TIERS]
        return table[
            [
                "customers",
                "share_of_customers",
                "target_share_of_customers",
                "value",
                "share_of_value",
                "mean_value",
                "reference_share_of_value",
                "service_priority",
                "posture",
            ]
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return settings and fitted state as plain JSON values."""
        self._check_fitted()
        return {
            "shares": list(self.shares),
            "cut_points": self.cut_points_,
            "pareto_values": self.pareto_values_,
            "pareto_shares": self.pareto_shares_,
            "gini": self.gini_,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild fitted tiers from :meth:`to_dict`."""
        tiers = cls(stored["shares"])
        tiers.cut_points_ = list(stored["cut_points"])
        tiers.pareto_values_ = list(stored["pareto_values"])
        tiers.pareto_shares_ = list(stored["pareto_shares"])
        tiers.gini_ = float(stored["gini"])
        return tiers

    def _check_fitted(self) -> None:
        if not hasattr(self, "cut_points_"):
            raise NotFittedError(self)


def service_priority(tiers: pd.Series[str]) -> pd.Series[int]:
    """Return the place in the queue at peak load, 1 to 5, of each customer's tier."""
    place, names = pd.factorize(tiers, use_na_sentinel=False)
    priorities = pd.Series([SERVICE_PRIORITY[name] for name in names], dtype="int64")
    return priorities.take(place).set_axis(tiers.index).rename("service_priority")


def posture(tiers: pd.Series[str]) -> pd.Series[str]:
    """Return what the house does for each customer's tier."""
    return tiers.map(dict(POSTURE)).astype("str").rename("posture")


def gini(values: npt.ArrayLike) -> float:
    """Return the Gini coefficient of values; negative ones count as zero.

    0: all are worth the same; near 1: one customer is worth everything.

    Examples
    --------
    >>> gini([1.0, 1.0, 1.0]), gini([0.0, 0.0, 0.0, 1.0])
    (0.0, 0.75)
    """
    worth = np.sort(np.maximum(np.asarray(values, dtype=float), 0.0))
    n, total = len(worth), worth.sum()
    if total == 0:
        return 0.0
    rank = np.arange(1, n + 1)
    return float(np.sum((2 * rank - n - 1) * worth) / (n * total))


def compute_pareto_curve(values: npt.ArrayLike, n_points: int = 201) -> pd.DataFrame:
    """Tabulate the 80/20 curve: the share of value held by the best share of customers.

    Returns
    -------
    DataFrame
        ``share_of_customers`` from 0 to 1 and ``share_of_value`` (negative values count as
        zero), concave.
    """
    worth = np.sort(np.maximum(_finite(values), 0.0))[::-1]
    held = np.concatenate([[0.0], np.cumsum(worth)])
    held = held / held[-1] if held[-1] > 0 else np.linspace(0.0, 1.0, len(held))
    grid = np.linspace(0.0, 1.0, n_points)
    share = np.interp(grid, np.linspace(0.0, 1.0, len(held)), held)
    return pd.DataFrame({"share_of_customers": grid, "share_of_value": share})


def _finite(values: pd.Series[float] | npt.ArrayLike) -> FloatArray:
    worth = np.asarray(values, dtype=float)
    bad = ~np.isfinite(worth)
    if bad.any():
        ids = values.index[bad][:5] if isinstance(values, pd.Series) else np.flatnonzero(bad)[:5]
        raise DataError(
            "values must be finite numbers",
            table="scores",
            column="value",
            n_rows=int(bad.sum()),
            examples=ids,
        )
    return worth


def _cut_points(rising: FloatArray, targets: FloatArray) -> list[float]:
    """Return the values at which the share of customers above comes nearest to each target."""
    n = len(rising)
    distinct, first = np.unique(rising, return_index=True)
    # cutting at a distinct value puts n - first customers above; cutting beyond the highest, none
    cuts = np.append(distinct, np.nextafter(distinct[-1], np.inf))
    above = np.append(n - first, 0)
    points = []
    for target in targets:
        miss = np.abs(above - target * n)
        points.append(float(cuts[np.argmin(np.round(miss, 6))]))
    return points


def _pareto_knots(rising: FloatArray) -> tuple[list[float], list[float]]:
    """Thin the curve of (value, share of positive value at or above it) to some knots.

    Knots are even in rank and even in share of value, so that the few customers who hold most
    of the value get as many as the many who hold little.
    """
    distinct, first = np.unique(rising, return_index=True)
    held = np.cumsum(np.maximum(rising, 0.0)[::-1])[::-1]
    share = held / held[0] if held[0] > 0 else np.ones(len(held))
    share = share[first]
    n = len(distinct)
    by_rank = np.linspace(0, n - 1, min(n, _KNOTS)).round().astype(np.int64)
    by_share = n - 1 - np.searchsorted(share[::-1], np.linspace(0.0, 1.0, _KNOTS)).clip(0, n - 1)
    at = np.unique(np.concatenate([by_rank, by_share]))
    return distinct[at].tolist(), share[at].tolist()
