"""Predictors of profit: what was left so far, what serving will cost, and who may move up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from crmml.exceptions import CrmmlError
from crmml.features.profit import COSTS
from crmml.models.value.cost_to_serve import CostToServe, net_quantiles
from crmml.models.value.lifetime_value import ValueAhead
from crmml.models.value.upgrade import upgrade_probability
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.predictors import Moment, Output
from crmml.scoring.served_distribution import INTERVAL
from crmml.segments.value_tier import ValueTiers

_LOG: frozenset[str] = frozenset({"transactions"})
_NOTHING: frozenset[str] = frozenset()

NET_VALUE, PROFIT = "net_clv", "profit_to_date"
"""Columns that tiers may be cut by."""


def value_ahead(moment: Moment) -> ValueAhead:
    """Return the lifetime value of a moment, which its predictor left there.

    Raises
    ------
    CrmmlError
        If no predictor of lifetime value came before.
    """
    found = moment.found.get(LifetimeValue.name)
    if not isinstance(found, ValueAhead):
        raise CrmmlError("this bundle has no predictor of lifetime value, which profit rests on")
    return found


def known_costs(frame: pd.DataFrame) -> list[str]:
    """Return the parts of the cost that are known of somebody, in their order."""
    names = [part.name for part in COSTS if part.name in frame]
    return [name for name in names if frame[name].notna().any()]


def margin_to_date(frame: pd.DataFrame, ratio: float | pd.Series[float]) -> pd.Series[float]:
    """Return the margin of the lines, or net spend times a ratio where they have none.

    One ratio for all stands for data without margins, or with margins that are no share of the
    revenue (percentages, say): the margins of the lines then do not count.
    """
    assumed = (ratio * frame["net_spend"]).rename("margin_to_date")
    if not isinstance(ratio, pd.Series) or "margin_to_date" not in frame:
        return assumed
    return frame["margin_to_date"].fillna(assumed)


def profit_to_date(frame: pd.DataFrame, ratio: float | pd.Series[float]) -> pd.Series[float]:
    """Return the margin to date less all costs that are known.

    Parameters
    ----------
    frame : DataFrame
        Of a snapshot, keyed by customer.
    ratio : float or Series
        Margin per unit of revenue, for lines without one.
    """
    spent = frame[known_costs(frame)].fillna(0.0).sum(axis=1)
    return (margin_to_date(frame, ratio) - spent).round(6).rename(PROFIT)


@dataclass(frozen=True)
class Profit:
    """Profit to date with its parts, and lifetime value less the expected cost to serve.

    Attributes
    ----------
    margin : float
        Margin per unit of revenue that stands in where the data have none.
    value_horizon : str
        Of lifetime value.
    costs : CostToServe or None
        None where the data of the training had no cost of service or contacts.
    """

    margin: float
    value_horizon: str
    costs: CostToServe | None = None

    name: ClassVar[str] = "profit"
    tables: ClassVar[frozenset[str]] = _LOG
    reads: ClassVar[frozenset[str]] = frozenset({"clv", "clv_lower", "clv_upper"})
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Profit and its parts, cost to serve, net value with its interval."""
        far, least = self.value_horizon, "lifetime value less the expected cost to serve"
        return (
            Output("margin_to_date", "number", "currency", "margin to date, or as assumed"),
            *(
                Output(part.name, "number", "currency", f"to date, from {part.source}")
                for part in COSTS
            ),
            Output(PROFIT, "number", "currency", "margin less the known costs to date"),
            Output(
                "profit_unknown",
                "text",
                "",
                "costs that are not known, and margin where some lines have none; parted by "
                "commas; null where all is known",
            ),
            Output("margin_ratio", "number", "share", "margin per unit of revenue expected"),
            Output("margin_basis", "text", "", "purchases, base or assumed"),
            Output(
                "cost_to_serve", "number", "currency", "expected, discounted; see its note", far
            ),
            Output(NET_VALUE, "number", "currency", least, far),
            Output(f"{NET_VALUE}_lower", "number", "currency", f"10 % quantile of {least}", far),
            Output(f"{NET_VALUE}_upper", "number", "currency", f"90 % quantile of {least}", far),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Read the snapshot, and take the cost to serve from the value."""
        frame = moment.snapshot.frame.set_index("customer_id")
        table = pd.DataFrame(index=frame.index)
        rated = isinstance(value_ahead(moment).model.margin, str)
        known = known_costs(frame)
        absent = moment.snapshot.provenance.get("absent", {})
        for part in COSTS:
            if part.name in known:
                table[part.name] = frame[part.name]
            else:
                reason = absent.get(part.name, f"the data have no column '{part.source}'")
                moment.leave_out(part.name, reason)
        ratio = frame["expected_margin_ratio"] if rated else self.margin
        table["margin_to_date"] = margin_to_date(frame, ratio)
        table[PROFIT] = profit_to_date(frame, ratio)
        table["profit_unknown"] = self._unknown(frame, known, rated)
        table["margin_ratio"] = ratio
        own = frame["margin_weight"] > 0 if rated else False
        table["margin_basis"] = np.where(own, "purchases", "base") if rated else "assumed"
        return table.join(self._ahead(moment, so_far))

    @staticmethod
    def _unknown(frame: pd.DataFrame, known: list[str], rated: bool) -> pd.Series[str]:
        """Name what is not known of each customer: costs, and the margin of some lines."""
        names = [part.name for part in COSTS]
        bits = np.zeros(len(frame), dtype=np.int64)
        for place, part in enumerate(COSTS):
            missing = np.full(len(frame), part.name not in known)
            if part.name in known:
                missing |= frame[part.name].isna().to_numpy()
                if part.unpriced in frame:
                    missing |= (frame[part.unpriced] > 0).to_numpy(dtype=bool)
            bits |= missing.astype(np.int64) << place
        if rated and "lines_without_margin" in frame:
            missing = (frame["lines_without_margin"] > 0).to_numpy(dtype=bool)
            bits |= missing.astype(np.int64) << len(names)
            names.append("margin")
        # Few combinations, so few texts are written.
        kinds, of_row = np.unique(bits, return_inverse=True)
        texts = [
            ",".join(n for k, n in enumerate(names) if kind >> k & 1) or None for kind in kinds
        ]
        return pd.Series(texts, dtype="str").take(of_row).set_axis(frame.index)

    def _ahead(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Return cost to serve and net value."""
        if self.costs is None:
            moment.leave_out("cost_to_serve", "no cost of service or contacts is known")
            names = {"clv": NET_VALUE, "clv_lower": f"{NET_VALUE}_lower"}
            names["clv_upper"] = f"{NET_VALUE}_upper"
            return so_far[list(names)].rename(columns=names)
        ahead = value_ahead(moment)
        cost = self.costs.expected(ahead)
        table = cost.to_frame()
        table[NET_VALUE] = so_far["clv"] - cost
        bounds = net_quantiles(ahead, cost, INTERVAL)
        table[f"{NET_VALUE}_lower"], table[f"{NET_VALUE}_upper"] = (
            bounds.iloc[:, 0],
            bounds.iloc[:, 1],
        )
        return table


@dataclass(frozen=True)
class Upgrades:
    """The chance that a customer scored one horizon later stands in a higher tier by value.

    Attributes
    ----------
    segments : ValueTiers
        By net lifetime value, whatever tiers are served.
    horizon : str
        How much later.
    costs : CostToServe or None
        As in :class:`Profit`.
    """

    segments: ValueTiers
    horizon: str
    costs: CostToServe | None = None

    name: ClassVar[str] = "upgrades"
    tables: ClassVar[frozenset[str]] = _LOG
    reads: ClassVar[frozenset[str]] = frozenset({NET_VALUE})
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One probability, and the tier that it is counted from."""
        meaning = "scored so much later, the net value reaches the next higher tier; null in A"
        return (
            Output("upgrade_probability", "number", "probability", meaning, self.horizon),
            Output("tier_by_value", "text", "", "A to E by net lifetime value", served=False),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Simulate."""
        goal = self.segments.next_cut_point(so_far[NET_VALUE])
        chance = upgrade_probability(value_ahead(moment), self.horizon, goal, self.costs)
        return chance.to_frame().assign(tier_by_value=self.segments.assign(so_far[NET_VALUE]))
