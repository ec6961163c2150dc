"""What one more point of retention is worth, beside the figures that are usually cited.

With *A* the probability of being active, *V* the expected margin in the horizon of who is active,
and *V_stay* the same of who does not leave, A V_stay would come in if nobody left and A V does.
Their ratio, summed over customers, is the share of the margin that survives leaving: retention
weighted by value. One point of it is worth a hundredth of the sum of A V_stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmml.exceptions import MissingColumnsError


@dataclass(frozen=True)
class Cited:
    """A figure of the literature: a starting point, to be compared with one's own.

    Attributes
    ----------
    low, high : float
        The range that is cited.
    meaning : str
    source : str
    """

    low: float
    high: float
    meaning: str
    source: str


CITED: Mapping[str, Cited] = {
    "five_points": Cited(
        0.25, 0.85, "rise of profit where five points more of the customers stay",
        "Reichheld and Sasser (1990), Zero Defections, Harvard Business Review",
    ),
    "acquire_over_keep": Cited(
        3.0, 30.0, "cost of winning a customer over the cost of keeping one",
        "often cited, by no first source that we know; Rosenberg and Czepiel (1984), lower end",
    ),
    "win_back_over_keep": Cited(
        50.0, 100.0, "cost of winning a lost customer back over the cost of keeping one",
        "often cited, by no first source that we know",
    ),
    "complaints_that_stay": Cited(
        0.70, 0.70, "share of those who complain that stay where the complaint is handled well",
        "TARP (1979), Consumer Complaint Handling in America",
    ),
    "people_told": Cited(
        8.0, 10.0, "people whom a dissatisfied customer tells",
        "TARP (1979), Consumer Complaint Handling in America",
    ),
}  # fmt: skip
"""Starting points that a reader may know, each with its source."""

_NEEDED = ("probability_alive", "margin_if_active", "margin_if_staying")


def compute_retention_economics(
    columns: Mapping[str, pd.Series[float]] | pd.DataFrame, groups: pd.Series[str]
) -> pd.DataFrame:
    """Compute what retention is worth, by group and for all.

    Parameters
    ----------
    columns : mapping of str to Series, or DataFrame
        ``probability_alive``, ``margin_if_active`` and ``margin_if_staying`` by customer, of one
        horizon, in currency.
    groups : Series
        Group of each customer.

    Returns
    -------
    DataFrame
        On the group, and last ``all``: ``customers``, ``expected`` (margin expected),
        ``at_stake`` (margin that leaving will cost), ``retention`` (share that survives),
        ``one_point`` (worth of one point more), ``five_points`` (rise of the margin, as a share,
        where five points more survive; never more than all that is at stake).

    Raises
    ------
    MissingColumnsError
        If a column is missing.

    Examples
    --------
    >>> customer = pd.DataFrame({"probability_alive": [0.5, 1.0], "margin_if_active": [80.0, 60.0],
    ...                          "margin_if_staying": [100.0, 60.0]})
    >>> table = compute_retention_economics(customer, pd.Series(["A", "B"]))
    >>> table["at_stake"].tolist(), table["retention"].round(3).tolist()
    ([10.0, 0.0, 10.0], [0.8, 1.0, 0.909])
    """
    if lacking := [name for name in _NEEDED if name not in columns]:
        raise MissingColumnsError(lacking, list(map(str, columns)), table="scores")
    alive = columns["probability_alive"]
    frame = pd.DataFrame({
        "group": groups.to_numpy(),
        "customers": 1.0,
        "expected": (alive * columns["margin_if_active"]).to_numpy(),
        "if_all_stay": (alive * columns["margin_if_staying"]).to_numpy(),
    })  # fmt: skip
    table = frame.groupby("group", observed=True).sum()
    table.loc["all"] = table.sum()
    full = table.pop("if_all_stay")
    table["at_stake"] = (full - table["expected"]).clip(lower=0.0)
    table["retention"] = table["expected"] / full.where(full > 0)
    table["one_point"] = np.minimum(0.01 * full, table["at_stake"])
    gained = np.minimum(0.05 * full, table["at_stake"])
    table["five_points"] = gained / table["expected"].where(table["expected"] > 0)
    return table
