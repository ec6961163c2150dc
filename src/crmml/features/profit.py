"""Profit to date: margin less the cost of winning, serving and treating each customer.

Every part is what was known before the cutoff, summed in whole cents by the engine. A part that
the data do not have is left out of the sum and named with its reason; it is never taken for zero
in silence. ``service_cost`` of the customers table is a sum to date without dates, so it is known
only at a cutoff after the last row of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml.features.margins import MarginRates, MarginSums
from crmml.features.purchases import cents, fetch, sum_cents

if TYPE_CHECKING:
    from crmml.data.tables import Tables


@dataclass(frozen=True)
class CostPart:
    """One part of what a customer has cost.

    Attributes
    ----------
    name : str
        Column of the snapshot.
    table, column : str
        Where it comes from.
    dated : bool
        Whether its rows have a time.
    unpriced : str
        Column that counts the rows of a customer whose cost is not known, if some is.
    """

    name: str
    table: str
    column: str
    dated: bool
    unpriced: str = ""

    @property
    def source(self) -> str:
        """Table and column."""
        return f"{self.table}.{self.column}"


COSTS: tuple[CostPart, ...] = (
    CostPart("acquisition_cost", "customers", "acquisition_cost", dated=False),
    CostPart("service_cost", "customers", "service_cost", dated=False),
    CostPart("contact_cost", "interactions", "cost", dated=True, unpriced="contacts_without_cost"),
    CostPart("action_cost", "treatments", "cost", dated=True, unpriced="actions_without_cost"),
)
"""The parts that are taken from the margin."""


def find_unknown_costs(tables: Tables, cutoff: pd.Timestamp) -> dict[str, str]:
    """Name the parts of the cost that are not known at a cutoff, with the reason of each.

    Parameters
    ----------
    tables : Tables
        The checked data.
    cutoff : Timestamp
        Exclusive.
    """
    unknown = {}
    for part in COSTS:
        given = tables.get(part.table)
        if given is None or part.column not in given.columns:
            unknown[part.name] = f"the data have no column '{part.source}'"
        elif part.name == "service_cost" and tables.last_timestamp >= cutoff:
            unknown[part.name] = (
                f"'{part.source}' is a sum to the end of the data, which is after the cutoff"
            )
    return unknown


def attach_profit(
    frame: pd.DataFrame,
    tables: Tables,
    sums: MarginSums | None,
    cutoff: pd.Timestamp,
    rates: MarginRates | None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Add what customers have cost, what was left, and their shrunk margin ratio.

    Parameters
    ----------
    frame : DataFrame
        One row per customer, with ``margin_to_date`` where the lines have it.
    tables : Tables
        The checked data.
    sums : MarginSums or None
        Of their lines, in the order of the frame, where these have margins.
    cutoff : Timestamp
        Exclusive.
    rates : MarginRates or None
        What ratios rest on, of the training or fitted on these customers.

    Returns
    -------
    frame : DataFrame
        With the columns of :data:`COSTS` that are known, ``profit_to_date``,
        ``expected_margin_ratio``, ``margin_weight`` and ``lines_without_margin``.
    unknown : dict of str to str
        Parts that are not known, and why.
    """
    unknown = find_unknown_costs(tables, cutoff)
    ids = pd.Index(frame["customer_id"])
    added: dict[str, npt.NDArray[Any]] = {}
    spent = np.zeros(len(frame))
    for part in COSTS:
        if part.name in unknown:
            continue
        whole, unpriced = _sum_cost(tables, part, cutoff, ids)
        spent += np.nan_to_num(whole)
        added[part.name] = whole / 100.0
        if part.unpriced:
            added[part.unpriced] = unpriced
    if rates is not None and sums is not None:
        added["expected_margin_ratio"], added["margin_weight"] = sums.ratios(rates)
    elif rates is not None:
        # Trained with margins, scored without: the ratio of the base stands in.
        added["expected_margin_ratio"] = np.full(len(frame), rates.base)
        added["margin_weight"] = np.zeros(len(frame))
    if "margin_to_date" in frame:
        earned = np.rint(frame["margin_to_date"].to_numpy(np.float64) * 100.0)
        added["profit_to_date"] = (earned - spent) / 100.0
        added["lines_without_margin"] = np.zeros(len(frame)) if sums is None else sums.unknown
    order = ("acquisition_cost", "service_cost", "contact_cost", "action_cost", "profit_to_date",
             "expected_margin_ratio", "margin_weight", "lines_without_margin",
             "contacts_without_cost", "actions_without_cost")  # fmt: skip
    return frame.assign(**{n: added[n] for n in order if n in added}), unknown


def _sum_cost(
    tables: Tables, part: CostPart, cutoff: pd.Timestamp, ids: pd.Index[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sum one part in cents, in the order of the customers; NaN where it is not known.

    The second array counts the rows of each customer whose cost is not known.
    """
    table = tables[part.table]
    if part.dated:
        table = table.filter(table.timestamp < cutoff)
        cost = table[part.column]
        sums = table.group_by("customer_id").agg(
            spent=sum_cents(cents(cost)), unpriced=table.count(where=cost.isnull())
        )
    else:
        sums = table.select("customer_id", spent=cents(table[part.column])).mutate(unpriced=0)
    found = fetch(sums)
    whole, unpriced = (
        found[n].to_numpy(np.float64, na_value=np.nan) for n in ("spent", "unpriced")
    )
    place = pd.Index(found["customer_id"]).get_indexer(ids)
    # A customer without a row in a table of events has had none of them; one whose rows have no
    # cost has had some, of unknown cost.
    if not len(found):
        return np.full(len(ids), 0.0 if part.dated else np.nan), np.zeros(len(ids))
    known = place >= 0
    spent = np.where(known, whole[place], 0.0 if part.dated else np.nan)
    return spent, np.where(known, unpriced[place], 0.0)
