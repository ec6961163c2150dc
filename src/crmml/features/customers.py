"""Customers of a log: one pass over its lines in their order, some customers at a time.

Snapshots and batches of scoring both rest on it, so each customer has the same figures in either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmml._typing import FloatArray, Grain, IntArray, TimeUnit
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import TooLittleDataError
from crmml.features import behaviour as traits
from crmml.features import purchases
from crmml.features.experience import attach_touches
from crmml.features.histories import Histories
from crmml.features.in_order import Piece, in_order
from crmml.features.margins import (
    MarginRates,
    MarginSums,
    fit_categories,
    guess_margins,
    lacks_margins,
)
from crmml.features.profit import attach_profit
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.reading import Readable, Source

OfTime = Callable[["ir.TimestampValue"], "ir.IntegerValue"]


class Customers(NamedTuple):
    """Some customers who bought before a cutoff.

    Attributes
    ----------
    lines : Piece
        Their lines, with ``period`` and ``cents``.
    histories : Histories
        Their periods.
    columns : dict of str to ndarray, each of shape (n,)
        Of a snapshot.
    """

    lines: Piece
    histories: Histories
    columns: dict[str, FloatArray]


@dataclass
class CustomerReader:
    """A log that is ready to be read, customer after customer.

    Attributes
    ----------
    tables : Tables
    lines : Ibis table
        Own lines before the cutoff, with all columns that are needed.
    cutoff, grain, time_unit, behaviour
        See :func:`~crmml.features.snapshot.build_snapshot`.
    channels : dict of str to str
        Those with a column of their own.
    columns : tuple of str
        Of the log.
    margins : MarginRates or None
        Stored, or of the categories of this log and, once all customers are read, of these.
    fitted : bool
        Whether these are of this log.
    provenance : dict
    n_lines, n_customers, without_purchase : int
        Lines read so far, customers who bought, and those who only sent back.
    """

    tables: Tables
    lines: ir.Table
    cutoff: pd.Timestamp
    grain: Grain
    time_unit: TimeUnit
    behaviour: bool
    channels: dict[str, str]
    columns: tuple[str, ...]
    margins: MarginRates | None
    fitted: bool
    provenance: dict[str, Any]
    n_lines: int = 0
    n_customers: int = 0
    without_purchase: int = 0

    def __post_init__(self) -> None:
        self.last_period = purchases.last_period_before(self.cutoff, self.grain)
        self._sums: list[MarginSums] = []
        self._bought: list[npt.NDArray[np.bool_]] = []

    def read(self, more: Mapping[str, OfTime] | None = None) -> Iterator[Customers]:
        """Read all customers, in the order of their ids as the engine has it.

        Parameters
        ----------
        more : mapping of str to function, optional
            Further columns of the lines, written from their timestamps.

        Raises
        ------
        TooLittleDataError
            At the end, if nothing was bought.
        """
        added = {name: of(self.lines.timestamp) for name, of in (more or {}).items()}
        lines = self.lines.mutate(**added).drop("timestamp")
        for piece in in_order(lines, "period"):
            bought = np.zeros(len(piece), dtype=bool)
            bought[piece.place[piece.columns["cents"] >= 0]] = True
            if self.behaviour and "margin" in piece.columns:
                rates = self.margins or MarginRates(0.0, {})
                self._sums.append(MarginSums.of(piece, rates))
                self._bought.append(bought)
                guess_margins(piece, rates)
            self.n_lines += len(piece.place)
            self.n_customers += int(bought.sum())
            self.without_purchase += int((~bought).sum())
            if bought.any():
                yield self._measure(piece.keep(bought))
        if not self.n_customers:
            raise TooLittleDataError(
                f"nothing was bought before the cutoff {self.cutoff}; the data run from "
                f"{self.tables.first_timestamp} to {self.tables.last_timestamp}"
            )

    def _measure(self, piece: Piece) -> Customers:
        histories = Histories.of(piece, self.last_period, self.grain)
        columns = histories.core_columns(self.time_unit)
        if self.behaviour:
            columns |= traits.feature_columns(
                piece,
                histories,
                cutoff=self.cutoff,
                time_unit=self.time_unit,
                channels=self.channels,
            )
        return Customers(piece, histories, columns)

    def attach(self, frame: pd.DataFrame, order: IntArray) -> pd.DataFrame:
        """Add costs, profit, shrunk margins and touch points once all customers are read.

        The provenance then says which features these data cannot give, and why.

        Parameters
        ----------
        frame : DataFrame
            ``customer_id`` and, where it is known, ``margin_to_date``.
        order : ndarray of int, shape (n,)
            Places of its customers among those that were read.
        """
        self.provenance["lines"] = self.n_lines
        self.provenance["customers_without_purchase"] = self.without_purchase
        if not self.behaviour:
            return frame
        sums = None
        if self._sums:
            whole = MarginSums(*map(np.concatenate, zip(*self._sums, strict=True)))
            if self.fitted and self.margins is not None:
                self.margins = whole.fit(self.margins)
            rows = np.flatnonzero(np.concatenate(self._bought))[order]
            sums = MarginSums(*(column[rows] for column in whole))
            self._sums, self._bought = [], []  # a reader outlives this, and they are large
        frame, unknown = attach_profit(frame, self.tables, sums, self.cutoff, self.margins)
        frame = attach_touches(frame, self.tables, self.cutoff)
        known = [*self.columns, *traits.columns_beside(self.tables)]
        absent = traits.find_absent(known, self.grain)
        if self.margins is None:
            silent = {f.name: "no line says what its margin is" for f in traits.FEATURES
                      if "margin|cost" in f.needs}  # fmt: skip
            absent = silent | absent
        self.provenance.update(absent=absent | unknown, margins=self.margins)
        return frame

    def collect(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return the table of a snapshot, sorted by customer, and where it comes from."""
        ids: list[pa.Array] = []
        columns: dict[str, list[FloatArray]] = {}
        times = []
        for part in self.read():
            ids.append(part.lines.customer_id)
            for name, column in part.columns.items():
                columns.setdefault(name, []).append(column)
            if self.behaviour:
                times.append(part.histories.times)
        whole = pa.chunked_array(ids)
        order = pc.sort_indices(whole).to_numpy().astype(np.int64)
        rising = bool((order == np.arange(len(order))).all())
        found: dict[str, Any] = {"customer_id": whole.take(pa.array(order)).to_pandas()}
        for name in [*columns]:
            column = np.concatenate(columns.pop(name))
            found[name] = column if rising else column[order]
        frame = pd.DataFrame(found, copy=False)
        if self.behaviour:
            self.provenance["purchase_times"] = PurchaseTimes.gather(times, self.grain)
        return self.attach(frame, order), self.provenance


def read_customers(
    tables: Tables | Readable | Source,
    cutoff: str | pd.Timestamp,
    *,
    grain: Grain,
    time_unit: TimeUnit,
    behaviour: bool = True,
    channels: Mapping[str, str] | None = None,
    own_seller: str | None = None,
    margins: MarginRates | None = None,
) -> CustomerReader:
    """Prepare to read the customers of a log.

    Parameters
    ----------
    tables, cutoff, grain, time_unit, behaviour, channels, own_seller, margins
        See :func:`~crmml.features.snapshot.build_snapshot`.

    Raises
    ------
    TooLittleDataError, ParameterError
        As ``build_snapshot``.
    """
    purchases.check_grain(grain, time_unit)
    end = purchases.read_edge(cutoff, grain, "cutoff")
    opened = tables if isinstance(tables, Tables) else open_tables(tables)
    lines = own_lines(opened.transactions, own_seller)
    lines = lines.filter(lines.timestamp < end)
    lines = lines.mutate(cents=purchases.cents(lines.amount))
    names: dict[str, str] = {}
    if behaviour and "channel" in lines.columns:
        names = dict(channels) if channels is not None else _rank_channels(lines)
    needed: dict[str, Any] = {
        "timestamp": lines.timestamp,
        "period": purchases.insist(purchases.period_of(lines.timestamp, grain), "int32"),
        "cents": lines.cents,
    }
    rates = None
    if behaviour:
        rates, margin = margins or fit_categories(lines), purchases.margin_cents(lines)
        # Without ratios there is nothing to put in the place of a margin that is not known.
        if margin is not None and not (rates is None and lacks_margins(lines)):
            needed["margin"] = margin
        needed |= traits.line_columns(lines, names)
    provenance: dict[str, Any] = {
        "first_timestamp": str(opened.first_timestamp),
        "last_timestamp": str(opened.last_timestamp),
        "cleaning": opened.report.to_dict(),
        "lines": 0,
        "own_seller": own_seller,
        "behaviour": behaviour,
    } | ({"channels": names} if behaviour else {})
    return CustomerReader(
        opened,
        lines.select("customer_id", **needed),
        end,
        grain,
        time_unit,
        behaviour,
        names,
        tuple(lines.columns),
        rates,
        margins is None,
        provenance,
    )


def _rank_channels(lines: ir.Table) -> dict[str, str]:
    counts = lines.filter(lines.cents >= 0, lines.channel.notnull()).channel.value_counts(name="n")
    found = counts.to_pyarrow().to_pylist()
    ranked = sorted(found, key=lambda row: (-row["n"], row["channel"]))
    return traits.name_channels(row["channel"] for row in ranked[: traits.MOST_CHANNELS])
