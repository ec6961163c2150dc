"""Histories: what some customers bought, by grain period; frequency, recency, T and money.

Lines come in the order of customers and periods (:mod:`crmml.features.in_order`), so all sums are
over rows that lie together. Money is in whole cents, and its sums are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from crmml._typing import MONTHS, BoolArray, FloatArray, Grain, IntArray, TimeUnit
from crmml.exceptions import DataError
from crmml.features.in_order import Piece
from crmml.features.purchases import HOURS
from crmml.stats.runs import Runs

_LARGEST = 2.0**63


@dataclass(frozen=True)
class Histories:
    """The grain periods of some customers in which something was bought or sent back.

    Attributes
    ----------
    customer_id : Arrow array, n customers
        Each has bought at least once.
    place, period : ndarray of int, shape (n_periods,)
        Customer of each row, and its period; both rise.
    lines : ndarray of int, shape (n_periods,)
        Order lines that are purchases: of an amount not below zero. A period without one holds
        returns only and is no purchase.
    net : ndarray of int, shape (n_periods,)
        Amounts less returns, cents.
    margin : ndarray of int, shape (n_periods,), or None
        Of these lines, cents.
    last_period : int
        The last period of which something is observed.
    grain : {"hour", "day", "week", "month", "quarter"}
    """

    customer_id: pa.Array
    place: IntArray
    period: IntArray
    lines: IntArray
    net: IntArray
    margin: IntArray | None
    last_period: int
    grain: Grain

    @classmethod
    def of(cls, piece: Piece, last_period: int, grain: Grain) -> Histories:
        """Gather order lines into periods.

        Parameters
        ----------
        piece : Piece
            ``period``, ``cents`` and, where it is known, ``margin``, in the order of the periods.
            Each customer has bought.
        last_period, grain
            See the class.

        Raises
        ------
        DataError
            If the amounts of a customer are too large for an exact sum.
        """
        cents = piece.columns["cents"]
        _check_sums(piece, cents)
        runs = Runs(piece.place, piece.columns["period"])
        margin = piece.columns.get("margin")
        return cls(
            piece.customer_id,
            runs.first(piece.place),
            runs.first(piece.columns["period"]),
            runs.sum(cents >= 0),
            runs.sum(cents),
            None if margin is None else runs.sum(margin),
            last_period,
            grain,
        )

    def __len__(self) -> int:
        return len(self.customer_id)

    @cached_property
    def runs(self) -> Runs:
        """The rows of each customer."""
        return Runs(self.place)

    @cached_property
    def bought(self) -> BoolArray:
        """In which rows something was bought."""
        return self.lines > 0

    @cached_property
    def _bought_rows(self) -> slice | BoolArray:
        return slice(None) if self.bought.all() else self.bought

    @cached_property
    def orders(self) -> tuple[Runs, IntArray, IntArray, IntArray]:
        """The purchases alone: the rows of each customer, and place, period and net of each."""
        rows = self._bought_rows
        place = self.place[rows]
        return Runs(place), place, self.period[rows], self.net[rows]

    @cached_property
    def purchases(self) -> IntArray:
        """Number of purchases of each customer, shape (n,)."""
        return self.orders[0].sizes

    @cached_property
    def first(self) -> IntArray:
        """Period of the first purchase, shape (n,)."""
        runs, _, period, _ = self.orders
        return runs.first(period)

    @cached_property
    def last(self) -> IntArray:
        """Period of the last purchase, shape (n,)."""
        runs, _, period, _ = self.orders
        return runs.last(period)

    @cached_property
    def gaps(self) -> tuple[IntArray, IntArray]:
        """Place of the customer and length in periods of each gap between two purchases."""
        _, place, period, _ = self.orders
        same = place[1:] == place[:-1]
        return place[1:][same], np.diff(period)[same]

    @cached_property
    def first_net(self) -> IntArray:
        """Net of the first purchase less what came back before the second, cents."""
        first = self.orders[0].starts
        return self.runs.sum(np.where(self._purchase <= first[self.place], self.net, 0))

    @cached_property
    def last_net(self) -> IntArray:
        """Net of the last purchase less what came back since, cents."""
        last = self.orders[0].ends - 1
        return self.runs.sum(np.where(self._purchase == last[self.place], self.net, 0))

    @cached_property
    def _purchase(self) -> IntArray:
        """Number of the purchase that each row belongs to: a return, to the one before it."""
        # A return before a customer's first purchase gets a number below that of the first.
        return np.cumsum(self.bought) - 1

    def elapsed(self, periods: IntArray | FloatArray, time_unit: TimeUnit) -> FloatArray:
        """Convert a number of periods into a time unit; one exact factor, one rounding."""
        count = np.asarray(periods, dtype=np.float64)
        if self.grain in MONTHS:
            return count * float(MONTHS[self.grain] // MONTHS[time_unit])
        if HOURS[self.grain] >= HOURS[time_unit]:
            return count * float(HOURS[self.grain] // HOURS[time_unit])
        return count / float(HOURS[time_unit] // HOURS[self.grain])

    def core_columns(self, time_unit: TimeUnit) -> dict[str, FloatArray]:
        """Return frequency, recency, T and monetary value; see ``build_snapshot``."""
        frequency = self.purchases - 1
        repeats = (self.runs.sum(self.net) - self.first_net).astype(np.float64)
        some = np.maximum(frequency, 1)
        return {
            "frequency": frequency.astype(np.float64),
            "recency": self.elapsed(self.last - self.first, time_unit),
            "T": self.elapsed(self.last_period - self.first, time_unit),
            "monetary_value": np.where(frequency > 0, repeats / (some * 100), 0.0),
        }

    @property
    def times(self) -> tuple[IntArray, IntArray]:
        """Period of the customer's first purchase, and of each purchase itself."""
        _, place, period, _ = self.orders
        return self.first[place], period


def _check_sums(piece: Piece, cents: IntArray) -> None:
    """Refuse customers whose amounts cannot be summed in 64 bits."""
    most = float(np.abs(cents).max(initial=0)) * len(cents)
    if most < _LARGEST:
        return
    sums = np.bincount(piece.place, np.abs(cents.astype(np.float64)), len(piece))
    over = sums >= _LARGEST
    if over.any():
        raise DataError(
            "the amounts of one customer must add up to less than 92 quadrillion",
            table="transactions",
            column="amount",
            n_rows=int(over.sum()),
            examples=piece.customer_id.filter(pa.array(over)).slice(0, 5).to_pylist(),
        )
