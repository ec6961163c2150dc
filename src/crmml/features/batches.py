"""Snapshots and wallets in batches of customers: computed once, kept on disk, read batch by batch.

The engine answers one question about all customers and the answer goes to a private folder in
pieces, so that no frame ever holds more than one batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from crmml._typing import MONTHS, Grain, TimeUnit
from crmml.atomic import private_folder
from crmml.data.engine import sparing, store, stream
from crmml.data.schema import table_named
from crmml.data.tables import Tables
from crmml.features.category_wallets import (
    OTHERS,
    measure_categories,
    name_wallets,
    span_categories,
)
from crmml.features.in_order import WHOLE, measure_windows
from crmml.features.margins import MarginRates
from crmml.features.purchases import HOURS, insist, sorted_frame
from crmml.features.snapshot import Snapshot, Summarised, summarised
from crmml.features.wallet import Enough, ReferencePopulation, Spans, Wallet

_ROWS = 100_000
"""Rows that are taken from the engine at a time."""


@dataclass(frozen=True)
class Batches:
    """All customers who bought before a cutoff, batch by batch.

    Attributes
    ----------
    folder : Path
        Private; it lasts as long as the context of :func:`in_batches`.
    count : int
        Number of batches.
    customer_id : Index
        Ids of all customers, rising.
    cutoff, grain, time_unit, provenance
        See :class:`~crmml.features.snapshot.Snapshot`.
    spans : mapping of str to Spans
        Of each length of window that was asked for.
    categories : mapping of str to sequence of str
        Those in which wallets were measured, by the length of the window.
    beside : DataFrame or None
        Costs, profit and margins, indexed by ``customer_id``: a few numbers for each customer.
    """

    folder: Path
    count: int
    customer_id: pd.Index[Any]
    cutoff: pd.Timestamp
    grain: Grain
    time_unit: TimeUnit
    provenance: Mapping[str, Any]
    spans: Mapping[str, Spans]
    categories: Mapping[str, Sequence[str]]
    beside: pd.DataFrame | None = None
    _found: dict[tuple[str, int], ReferencePopulation] = field(
        default_factory=dict, repr=False, compare=False
    )

    def snapshot(self, batch: int) -> Snapshot:
        """Return the snapshot of one batch, sorted by customer."""
        frame = _read(self.folder / "snapshot", batch)
        if self.beside is not None:
            # as a snapshot of all customers has them: its own columns, then those of profit
            mine = self.beside.loc[pd.Index(frame["customer_id"])]
            frame = frame.assign(**{name: mine[name].to_numpy() for name in mine})
        return Snapshot(frame, self.cutoff, self.grain, self.time_unit, self.provenance)

    def wallet(
        self,
        batch: int,
        length: str,
        peers: ReferencePopulation | None,
        signals: Collection[Any] = (),
        enough: Enough = "own",
    ) -> Wallet:
        """Return the wallets of one batch over the window of that length before the cutoff."""
        whole = _table(self.folder / f"wallets {length}", batch, ds.field("code") == WHOLE)
        frame = sorted_frame(whole.drop_columns(["code"]))
        return self.spans[length].wallet(0, signals, peers, frame, enough)

    def category_wallets(
        self, batch: int, length: str, peers: Mapping[str, ReferencePopulation] | None
    ) -> Iterator[tuple[str, Wallet]]:
        """Yield the wallets of one batch in each category; see ``iterate_wallets``."""
        folder, names = self.folder / f"wallets {length}", self.categories[length]
        piece = _table(folder, batch, ds.field("code") != WHOLE)
        known = dict(peers or {})
        if self.spans[length].lines is not None:
            codes = piece["code"].unique().to_pylist()
            unknown = {code: name for code, name in enumerate((*names, OTHERS)) if code in codes}
            unknown = {code: name for code, name in unknown.items() if name not in known}
            known |= {name: self._peers(length, code) for code, name in unknown.items()}
        return name_wallets(piece, self.spans[length], names, known)

    def _peers(self, length: str, code: int) -> ReferencePopulation:
        """Return the peers of a category that the training had none of: all, not this batch."""
        if (length, code) not in self._found:
            folder = ds.dataset(self.folder / f"wallets {length}", format="ipc")
            whole = folder.to_table(filter=ds.field("code") == code)
            ((_, wallet),) = name_wallets(whole, self.spans[length], self.categories[length], {})
            if wallet.peers is None:
                raise AssertionError("peers are measured wherever none are given")
            self._found[length, code] = wallet.peers
        return self._found[length, code]


@contextmanager
def in_batches(
    tables: Tables,
    cutoff: pd.Timestamp,
    *,
    size: int,
    lengths: Iterable[str] = (),
    categories: Mapping[str, Sequence[str]] | None = None,
    grain: Grain,
    time_unit: TimeUnit,
    channels: Mapping[str, str] | None,
    own_seller: str | None,
    margins: MarginRates | None = None,
) -> Iterator[Batches]:
    """Compute snapshots, and wallets over windows of some lengths, for all customers.

    Customers first seen at the same time, with as many purchases, come together: their futures are
    alike, and each is computed once. Which batch a customer is in changes no figure.

    Parameters
    ----------
    tables, cutoff, grain, time_unit, channels, own_seller, margins
        See :func:`~crmml.features.snapshot.build_snapshot`.
    size : int
        Customers per batch, about: those who share one first period and one number of purchases
        are never parted.
    lengths : iterable of str
        Of the windows of wallets.
    categories : mapping of str to sequence of str, optional
        By the length of a window, the categories in each of which wallets are measured too.

    Yields
    ------
    Batches
    """
    how: dict[str, Any] = {"grain": grain, "own_seller": own_seller, "margins": margins}
    with tempfile.TemporaryDirectory(dir=private_folder()) as private, sparing(tables.transactions):
        folder, spans = Path(private), dict[str, Spans]()
        with summarised(tables, cutoff, time_unit=time_unit, channels=channels, **how) as found:
            bought = found.query.filter(found.query.frequency >= 0)
            cuts = _cut(found.periods, size)
            period = _length(grain) / _length(time_unit)
            last = found.last_period
            query = bought.mutate(batch=_batch_of(bought, cuts, last, period))
            _scatter(query, folder / "snapshot")
            who = ds.dataset(folder / "snapshot", format="ipc", partitioning="hive")
            beside = _beside(who, found, grain, margins)
        count = len(cuts) + 1
        placed = who.to_table(["customer_id", "batch"]).sort_by("customer_id")
        known = pd.Index(placed["customer_id"].to_pandas(), name="customer_id")
        place = placed["batch"].to_numpy().astype(np.int32)
        del placed
        named, whole = dict(categories or {}), set(lengths)
        for length in whole | set(named):
            span = Spans.of(tables, cutoff, length, grain, own_seller, False)
            within = None
            if length in named:
                within = span_categories(tables, cutoff, named[length], length, grain, own_seller)
            pieces = _measured(span, within, named.get(length), length in whole)
            _lay(pieces, known, place, folder / f"wallets {length}")
            spans[length] = span
        settings = (found.cutoff, grain, time_unit, found.provenance)
        yield Batches(folder, count, known, *settings, spans, named, beside)


def _measured(
    spans: Spans, within: Spans | None, categories: Sequence[str] | None, whole: bool
) -> Iterator[pa.Table]:
    """Measure the newest window of all customers, together and in categories, in one pass."""
    if spans.lines is not None:
        yield from measure_windows(spans, categories, whole=whole)
        return
    if whole:
        query = spans.query()
        yield query.mutate(code=insist(ibis.literal(WHOLE), "int64")).to_pyarrow()
    if within is not None:
        yield from measure_categories(within, categories or ())


def _lay(
    pieces: Iterable[pa.Table], known: pd.Index[Any], batch: npt.NDArray[np.int32], folder: Path
) -> None:
    """Write rows of customers into the folder of each one's batch; those without one not at all."""

    def placed() -> Iterator[pa.RecordBatch]:
        for piece in pieces:
            place = known.get_indexer(pd.Index(piece["customer_id"].to_pandas()))
            mine = pa.array(np.append(batch, -1)[place])
            table = piece.append_column("batch", mine)
            if place.min(initial=0) < 0:
                table = table.filter(pa.array(place >= 0))
            yield from table.combine_chunks().to_batches()

    _write(placed(), folder)


def _length(unit: str) -> int:
    """Length of a grain or time unit: in hours, or in months where it is one of the calendar."""
    return MONTHS.get(unit) or HOURS[unit]


def _beside(
    who: ds.Dataset, found: Summarised, grain: Grain, margins: MarginRates | None
) -> pd.DataFrame | None:
    """Return what is summed outside the query of the snapshot; None where nothing is."""
    asked = [name for name in ("customer_id", "margin_to_date") if name in who.schema.names]
    frame = sorted_frame(who.to_table(asked))
    whole = found.with_profit(frame, grain, margins).set_index("customer_id")
    added = whole.drop(columns=asked[1:])
    return added if len(added.columns) else None


def keep_customers(tables: Tables, customer_id: pd.Index[Any]) -> Tables:
    """Keep some customers only, with their lines in the engine: for many questions to few.

    Reports, counts and spans stay those of all.

    Parameters
    ----------
    tables : Tables
    customer_id : Index
        Whom to keep.
    """
    engine = tables.transactions.get_backend()
    who = store(pa.table({"customer_id": pa.array(customer_id)}), engine)
    found = {}
    for name in tables:
        facts = tables.facts(name)
        if table_named(name).has_customers:
            table = facts.table.semi_join(who, "customer_id")
            facts = facts._replace(table=store(table, engine))
        found[name] = facts
    return Tables(found, tables.policies)


def _cut(periods: ir.Table | None, size: int) -> list[tuple[int, int]]:
    """Return first period and number of purchases with which each batch but the first begins."""
    if periods is None:
        return []
    bought = periods.filter(periods.lines > 0)
    kinds = bought.group_by("customer_id").agg(first=bought.period.min(), n=bought.count())
    counted = kinds.group_by("first", "n").agg(customers=kinds.count()).order_by("first", "n")
    rows = counted.to_pyarrow().to_pylist()
    total = sum(row["customers"] for row in rows)
    share = total / -(-total // size)
    cuts: list[tuple[int, int]] = []
    so_far = 0
    for row in rows:
        if so_far >= share * (len(cuts) + 1) - 0.5:
            cuts.append((row["first"], row["n"]))
        so_far += row["customers"]
    return cuts


def _batch_of(
    query: ir.Table, cuts: list[tuple[int, int]], last: int, period: float
) -> ir.IntegerValue:
    """Write the number of each customer's batch."""
    batch: ir.IntegerValue = ibis.literal(0, "int32")
    for first, n in cuts:
        # Half a period and half a purchase: no equality of floats decides.
        age = (last - first) * period
        later = query["T"] < age - period / 2
        same = (query["T"] < age + period / 2) & (query.frequency > n - 1.5)
        batch = batch + (later | same).cast("int32")
    return batch.cast("int32")


def _scatter(query: ir.Table, folder: Path) -> None:
    """Write the answer to a query in pieces, by the column ``batch``."""
    # The engine makes sums of whole numbers wider than they are held here.
    whole = [name for name, kind in query.schema().items() if kind.is_int64()]
    query = query.mutate(**{name: insist(query[name], "int64") for name in whole})
    # Sorted by the engine, the rows of a batch come together: it writes them itself at twice
    # the price.
    _write(stream(query.order_by("batch"), _ROWS), folder)


def _write(rows: Iterator[pa.RecordBatch], folder: Path) -> None:
    """Write rows into a folder for each value of ``batch``; they are read once."""
    first = next(rows)
    ds.write_dataset(
        pa.RecordBatchReader.from_batches(first.schema, chain([first], rows)),
        folder,
        format="ipc",
        partitioning=ds.partitioning(pa.schema([("batch", pa.int32())]), flavor="hive"),
        use_threads=False,
    )


def _read(folder: Path, batch: int) -> pd.DataFrame:
    return sorted_frame(_table(folder, batch))


def _table(folder: Path, batch: int, where: ds.Expression | None = None) -> pa.Table:
    piece = ds.dataset(folder / f"batch={batch}", format="ipc")
    return piece.to_table(filter=where, use_threads=False)
