"""Strategic roles: customers who matter beyond what they are expected to bring themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import NotFittedError, ParameterError

ROLES: tuple[str, ...] = ("high_lifetime_value", "benchmark", "inspirer", "cost_magnet")

EVIDENCE: Mapping[str, tuple[str, ...]] = {
    "benchmark": ("referral_value",),
    "inspirer": ("suggestions_taken",),
    "cost_magnet": ("volume_52w", "margin_ratio"),
}
"""What each role besides the first is read from."""


class StrategicRoles:
    """Four roles, of which a customer may hold several, by cut points of the training customers.

    * ``high_lifetime_value``: the top tier by lifetime value (the tiers have its cut point).
    * ``benchmark``: referrals that became customers; who brought most by them.
    * ``inspirer``: suggestions that led to a change.
    * ``cost_magnet``: much volume at a thin margin, which is nevertheless positive: it carries
      fixed cost.

    Parameters
    ----------
    share : float
        Share of the customers whom each of the last three is meant to hold, at most, in (0, 1).
        With a top tier of a tenth, a fifth to a quarter of all customers then hold a role.
    thin : float
        Share of the customers with a margin of their own whose margin counts as thin, in (0, 1).

    Attributes
    ----------
    cut_points_ : dict of str to float or None
        Least ``referral_value``, ``suggestions_taken`` and ``volume_52w``, and the greatest
        ``margin_ratio``. None where the training had no such customer.

    Examples
    --------
    >>> table = pd.DataFrame({"suggestions_taken": [0.0] * 18 + [1.0, 2.0]})
    >>> roles = StrategicRoles(share=0.1).fit(table)
    >>> roles.assign(table)["inspirer"].sum()
    np.int64(2)
    """

    cut_points_: dict[str, float | None]

    def __init__(self, *, share: float = 0.05, thin: float = 0.25) -> None:
        for name, value in (("share", share), ("thin", thin)):
            if not 0 < value < 1:
                raise ParameterError(name, "between 0 and 1", value)
        self.share, self.thin = float(share), float(thin)

    def fit(self, table: pd.DataFrame) -> Self:
        """Fit the cut points.

        Parameters
        ----------
        table : DataFrame
            A row per customer; ``referral_value``, ``suggestions_taken``, ``volume_52w`` (money)
            and ``margin_ratio`` (null where a customer has no margin of its own), as far as they
            are known.
        """
        target = self.share * len(table)
        cuts: dict[str, float | None] = {}
        for name in ("referral_value", "suggestions_taken"):
            cuts[name] = _least(_column(table, name), target)
        volume, ratio = _column(table, "volume_52w"), _column(table, "margin_ratio")
        own = ratio[np.isfinite(ratio) & (ratio > 0)]
        cuts["margin_ratio"] = cuts["volume_52w"] = None
        # where all margins are alike, none is thin
        if len(own) and (edge := float(np.quantile(own, self.thin))) < np.median(own):
            thin = (ratio > 0) & (ratio <= edge)
            cuts["margin_ratio"] = edge
            cuts["volume_52w"] = _least(np.where(thin, volume, 0.0), target)
        self.cut_points_ = cuts
        return self

    def assign(self, table: pd.DataFrame) -> pd.DataFrame:
        """Say who holds each of the last three roles.

        Parameters
        ----------
        table : DataFrame
            As in :meth:`fit`.

        Returns
        -------
        DataFrame of bool
            ``benchmark``, ``inspirer`` and ``cost_magnet``, on the index of the table.
        """
        if not hasattr(self, "cut_points_"):
            raise NotFittedError(self)
        ratio, thin = _column(table, "margin_ratio"), self.cut_points_["margin_ratio"]
        carries = self._reaches(table, "volume_52w")
        if thin is not None:
            carries &= (ratio > 0) & (ratio <= thin)
        return pd.DataFrame(
            {
                "benchmark": self._reaches(table, "referral_value"),
                "inspirer": self._reaches(table, "suggestions_taken"),
                "cost_magnet": carries,
            },
            index=table.index,
        )

    def _reaches(self, table: pd.DataFrame, name: str) -> Any:
        least = self.cut_points_[name]
        values = _column(table, name)
        return np.zeros(len(table), dtype=bool) if least is None else values >= least

    def to_dict(self) -> dict[str, Any]:
        """Return settings and fitted state as plain JSON values."""
        if not hasattr(self, "cut_points_"):
            raise NotFittedError(self)
        return {"share": self.share, "thin": self.thin, "role_cuts": self.cut_points_}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild fitted roles from :meth:`to_dict`."""
        roles = cls(share=stored["share"], thin=stored["thin"])
        roles.cut_points_ = dict(stored["role_cuts"])
        return roles


def join_roles(held: pd.DataFrame) -> pd.Series[str]:
    """Write the roles of each customer, parted by commas; null for none.

    Examples
    --------
    >>> held = pd.DataFrame({"benchmark": [True, False], "inspirer": [True, False]})
    >>> join_roles(held).tolist()
    ['benchmark,inspirer', nan]
    """
    text = pd.Series("", held.index, dtype="str", name="strategic_role")
    for role in held:
        text = text.where(~held[role], text + f",{role}")
    return text.str.removeprefix(",").where(text != "")


def _column(table: pd.DataFrame, name: str) -> FloatArray:
    if name not in table:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(dtype=np.float64)


def _least(values: FloatArray, target: float) -> float | None:
    """Return the positive value from which on there are as nearly as possible so many customers."""
    positive = np.sort(values[np.isfinite(values) & (values > 0)])
    if not len(positive):
        return None
    distinct, first = np.unique(positive, return_index=True)
    miss = np.abs(len(positive) - first - target)
    return float(distinct[np.argmin(np.round(miss, 6))])
