"""What winning, keeping and winning back a customer costs, computed beside what is usually cited.

A customer kept costs the actions given to active customers, over those of them who bought again;
one won back the same of lapsed customers. Both count everybody who bought after an action, not
only those who bought because of it: that is the strategy map's business, with control groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, sqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import beta

from crmml.card import Card, Result
from crmml.exceptions import MissingColumnsError, ParameterError
from crmml.features.answers import follow_actions, follow_complaints, list_acquisition_costs
from crmml.scorecard.retention_economics import CITED, Cited

if TYPE_CHECKING:
    from crmml.data.tables import Tables

LEAST = 30
"""Customers below which a cost or share is not given."""

_COSTS = "the column cost of the table treatments, with actions given to {} customers"
_NEEDS = {
    "acquire": "the column acquisition_cost of the table customers",
    "keep": _COSTS.format("active"),
    "win_back": _COSTS.format("lapsed"),
    "complaints_that_stay": "complaints with resolved_at in the table interactions",
    "people_told": "whom dissatisfied customers told, which none of the seven tables holds",
    "five_points": "the worth of retention, from compute_retention_economics",
}
_MEANING = {
    "acquire": "cost of winning a customer",
    "keep": "cost of actions per active customer who bought again",
    "win_back": "cost of actions per lapsed customer who bought again",
}


@dataclass(frozen=True, repr=False)
class RetentionCosts(Result):
    """Costs of winning, keeping and winning back, and cited figures beside those computed.

    Attributes
    ----------
    table : DataFrame
        On ``figure``: ``meaning``, ``low`` and ``high`` (cited; missing for plain costs), ``here``,
        ``lower`` and ``upper`` (95 %), ``behind`` (customers, actions or complaints), ``needs``
        (what is lacking, or empty) and ``source`` of what is cited.
    horizon : str
        How long after an action or a complaint a purchase counts.
    """

    table: pd.DataFrame
    horizon: str

    def to_pandas(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()

    def _card(self) -> Card:
        rows = []
        for name, row in zip(self.table.index, self.table.to_dict("records"), strict=True):
            if row["needs"]:
                rows.append((str(name), f"needs {row['needs']}"))
                continue
            cited = f", cited {row['low']:g} to {row['high']:g}" if row["low"] == row["low"] else ""
            sure = f" ({row['lower']:.3g} to {row['upper']:.3g})" if row["lower"] > 0 else ""
            rows.append((str(name), f"{row['here']:.3g}{sure}{cited}"))
        return Card(f"Costs of winning, keeping and winning back, within {self.horizon}", (*rows,))


def compute_retention_costs(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    *,
    horizon: str = "13W",
    lapse: str = "26W",
    economics: pd.DataFrame | None = None,
    cited: Mapping[str, Cited] = CITED,
    own_seller: str | None = None,
) -> RetentionCosts:
    """Compute the costs and shares of retention that are often cited.

    Parameters
    ----------
    tables : Tables
        With ``transactions``; the other tables as far as there are.
    cutoff : str or Timestamp
        Exclusive: all is known before it.
    horizon : str
        Who buys within so long after an action, or after a complaint was settled, has stayed.
    lapse : str
        Who has not bought for so long is lapsed.
    economics : DataFrame, optional
        From :func:`crmml.scorecard.compute_retention_economics`, for the figure ``five_points``.
    cited : mapping of str to Cited
        Figures of the literature.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    RetentionCosts
        What the data cannot give is null and says what it needs.
    """
    at = pd.Timestamp(cutoff)
    costs = _costs(tables, at, horizon, lapse, own_seller)
    figures: dict[str, _Figure | None] = dict(costs)
    keep = costs["keep"]
    figures["acquire_over_keep"] = _over(costs["acquire"], keep)
    figures["win_back_over_keep"] = _over(costs["win_back"], keep)
    figures["complaints_that_stay"] = _stayed(tables, at, horizon, own_seller)
    if economics is not None and "all" in economics.index:
        five, n = (float(economics[c].loc["all"]) for c in ("five_points", "customers"))
        figures["five_points"] = _Figure(five, np.nan, np.nan, n)
    rows = {}
    for name in [*_MEANING, *cited]:
        one, said = figures.get(name), cited.get(name)
        rows[name] = {
            "meaning": said.meaning if said else _MEANING[name],
            "low": said.low if said else np.nan,
            "high": said.high if said else np.nan,
            **(vars(one) if one else dict.fromkeys(("here", "lower", "upper", "behind"), np.nan)),
            "needs": "" if one else _needs(name, costs),
            "source": said.source if said else "",
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("figure")
    return RetentionCosts(table, horizon)


def compute_retention_sensitivity(
    columns: Mapping[str, pd.Series[float]] | pd.DataFrame,
    *,
    cost_of_keeping: float = 0.0,
    span: float = 0.2,
) -> pd.DataFrame:
    """Vary what the worth of one more point of retention rests on, one thing at a time.

    Parameters
    ----------
    columns : mapping of str to Series, or DataFrame
        As for :func:`crmml.scorecard.compute_retention_economics`.
    cost_of_keeping : float
        Cost of one customer more who is kept, currency, >= 0; taken off.
    span : float
        Relative change to either side, above 0 and below 1.

    Returns
    -------
    DataFrame
        On ``input`` (``margin``, ``share_active``, ``margin_if_staying``, ``cost_of_keeping``),
        the strongest first: ``base``, ``low`` and ``high`` (net worth of one point where the input
        is lower or higher by ``span``; no more than all that is at stake is won).

    Raises
    ------
    MissingColumnsError
        If a column is missing.

    Examples
    --------
    >>> base = pd.DataFrame({"probability_alive": [0.5], "margin_if_active": [80.0],
    ...                      "margin_if_staying": [100.0]})
    >>> compute_retention_sensitivity(base).loc["margin"].round(2).tolist()
    [0.5, 0.4, 0.6]
    """
    if not cost_of_keeping >= 0.0:
        raise ParameterError("cost_of_keeping", "at least 0", cost_of_keeping)
    return take_off_costs(measure_worths(columns, span=span), cost_of_keeping, span=span)


def measure_worths(
    columns: Mapping[str, pd.Series[float]] | pd.DataFrame, *, span: float = 0.2
) -> pd.DataFrame:
    """Measure the worth of one more point of retention where one thing is lower or higher.

    Parameters
    ----------
    columns, span
        See :func:`compute_retention_sensitivity`.

    Returns
    -------
    DataFrame
        On ``input`` (``base``, where nothing is changed, then ``margin``, ``share_active`` and
        ``margin_if_staying``): ``low`` and ``high`` (worth, before any cost), ``kept_low`` and
        ``kept_high`` (customers more who are kept then): all that :func:`take_off_costs` needs.
    """
    needed = ("probability_alive", "margin_if_active", "margin_if_staying")
    if lacking := [name for name in needed if name not in columns]:
        raise MissingColumnsError(lacking, list(map(str, columns)), table="scores")
    if not 0.0 < span < 1.0:
        raise ParameterError("span", "above 0 and below 1", span)
    alive, active, staying = (columns[name].to_numpy(dtype=np.float64) for name in needed)

    def worth(margin: float = 1.0, share: float = 1.0, stay: float = 1.0) -> tuple[float, float]:
        a = np.minimum(alive * share, 1.0)
        full, expected = float(a @ staying) * stay * margin, float(a @ active) * margin
        won = min(0.01 * full, max(full - expected, 0.0))
        # no more customers are kept, and paid for, than would have left
        return won, won / full * float(a.sum()) if full > 0.0 else 0.0

    ends = (1.0 - span, 1.0 + span)
    rows = {
        "base": [worth(), worth()],
        "margin": [worth(margin=end) for end in ends],
        "share_active": [worth(share=end) for end in ends],
        "margin_if_staying": [worth(stay=end) for end in ends],
    }
    table = {
        name: [low, high, kept_low, kept_high]
        for name, ((low, kept_low), (high, kept_high)) in rows.items()
    }
    columns_of = ["low", "high", "kept_low", "kept_high"]
    return pd.DataFrame.from_dict(table, orient="index", columns=columns_of).rename_axis("input")


def take_off_costs(worths: pd.DataFrame, cost_of_keeping: float, *, span: float) -> pd.DataFrame:
    """Take the cost of keeping off; see :func:`compute_retention_sensitivity`."""
    net = pd.DataFrame({
        end: worths[end] - cost_of_keeping * worths[f"kept_{end}"] for end in ("low", "high")
    })  # fmt: skip
    base = net["low"].loc["base"]
    won, kept = (float(worths[name].loc["base"]) for name in ("low", "kept_low"))
    table = net.drop(index="base")
    table.loc["cost_of_keeping"] = [
        won - end * cost_of_keeping * kept for end in (1.0 - span, 1.0 + span)
    ]
    table.insert(0, "base", base)
    order = (table["high"] - table["low"]).abs().sort_values(ascending=False, kind="stable")
    return table.loc[order.index].rename_axis("input")


@dataclass(frozen=True)
class _Figure:
    here: float
    lower: float
    upper: float
    behind: float


def _costs(
    tables: Tables, cutoff: pd.Timestamp, horizon: str, lapse: str, own_seller: str | None
) -> dict[str, _Figure | None]:
    won = list_acquisition_costs(tables)
    found: dict[str, _Figure | None] = {"acquire": None, "keep": None, "win_back": None}
    if won is not None and len(won) >= LEAST:
        found["acquire"] = _ratio(won.to_numpy(), np.ones(len(won)))
    if "treatments" not in tables or "cost" not in tables["treatments"].columns:
        return found
    acts = follow_actions(tables, cutoff, horizon=horizon, lapse=lapse, own_seller=own_seller)
    acts = acts[(acts["action"] != "no_action") & acts["cost"].notna()]
    for name, of in (("keep", acts[acts["active"]]), ("win_back", acts[acts["lapsed"]])):
        if len(of) >= LEAST and of["bought"].any() and of["cost"].sum() > 0:
            bought = of["bought"].to_numpy(dtype=np.float64)
            found[name] = _ratio(of["cost"].to_numpy(dtype=np.float64), bought)
    return found


def _ratio(above: np.ndarray, below: np.ndarray) -> _Figure:
    """Return the ratio of two means with its interval, even in the logarithm (delta method)."""
    ratio = float(above.sum() / below.sum())
    if ratio <= 0.0:
        return _Figure(ratio, np.nan, np.nan, len(above))
    left = above - ratio * below
    half = 1.96 * sqrt(float(left @ left)) / float(below.sum()) / ratio
    return _Figure(ratio, ratio * exp(-half), ratio * exp(half), len(above))


def _over(above: _Figure | None, below: _Figure | None) -> _Figure | None:
    """Divide two figures of different customers, their doubts independent in the logarithm."""
    if above is None or below is None or above.here <= 0.0:
        return None
    half = sqrt(sum(np.log(f.upper / f.here) ** 2 for f in (above, below)))
    ratio = above.here / below.here
    return _Figure(ratio, ratio * exp(-half), ratio * exp(half), min(above.behind, below.behind))


def _stayed(
    tables: Tables, cutoff: pd.Timestamp, horizon: str, own_seller: str | None
) -> _Figure | None:
    if "interactions" not in tables or "resolved_at" not in tables["interactions"].columns:
        return None
    told = follow_complaints(tables, cutoff, horizon=horizon, own_seller=own_seller)
    stayed = told.loc[told["settled"], "stayed"]
    n, k = len(stayed), int(stayed.sum())
    if n < LEAST:
        return None
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return _Figure(k / n, low, high, n)


def _needs(name: str, costs: Mapping[str, _Figure | None]) -> str:
    """Say which data a figure lacks; a ratio lacks what its parts lack."""
    above = {"acquire_over_keep": "acquire", "win_back_over_keep": "win_back"}.get(name)
    if above is None:
        return _NEEDS.get(name, "data that are not among the seven tables")
    lacking = [_NEEDS[part] for part in (above, "keep") if costs[part] is None]
    return "; ".join(lacking) or "a cost above 0"
