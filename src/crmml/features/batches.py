"""Snapshots and wallets in batches of customers: computed once, kept on disk, read batch by batch.

The engine answers one question about all customers and the answer goes to a private folder in
pieces, so that no frame ever holds more than one batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmml._typing import FloatArray, Grain, IntArray, TimeUnit
from crmml.atomic import private_folder
from crmml.data.engine import sparing, store
from crmml.data.schema import table_named
from crmml.data.tables import Tables
from crmml.features.category_wallets import (
    OTHERS,
    measure_categories,
    name_wallets,
    span_categories,
)
from crmml.features.customers import CustomerReader, Customers, read_customers
from crmml.features.in_order import Piece, count_codes, number_names
from crmml.features.margins import MarginRates
from crmml.features.purchases import insist, sorted_frame
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import Enough, ReferencePopulation, Spans, Wallet
from crmml.features.window_sums import WHOLE, sum_windows
from crmml.stats.runs import Runs

_MEGABYTES = 400
"""What the engine may take while it sorts."""


class _File(NamedTuple):
    """A table on disk whose rows are in the order of their batches."""

    path: Path
    edges: IntArray
    """First row of each batch, and the row after the last."""

    def read(self, batch: int, where: pc.Expression | None = None) -> pa.Table:
        """Return the rows of one batch, and no other part of the file."""
        begin, end = int(self.edges[batch]), int(self.edges[batch + 1])
        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            rows = reader.get_batch(0).slice(begin, end - begin)
            table = pa.Table.from_batches([rows])
            # A copy: the map ends here.
            return table.take(np.arange(table.num_rows)) if where is None else table.filter(where)


@dataclass(frozen=True)
class Batches:
    """All customers who bought before a cutoff, batch by batch.

    Attributes
    ----------
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
    counted : sequence of str
        Categories whose lines were counted.
    beside : DataFrame or None
        Costs, profit and margins, indexed by ``customer_id``: a few numbers for each customer.
    """

    count: int
    customer_id: pd.Index[Any]
    cutoff: pd.Timestamp
    grain: Grain
    time_unit: TimeUnit
    provenance: Mapping[str, Any]
    spans: Mapping[str, Spans]
    categories: Mapping[str, Sequence[str]]
    counted: Sequence[str]
    beside: pd.DataFrame | None
    _files: Mapping[str, Sequence[_File]]
    _found: dict[tuple[str, int], ReferencePopulation] = field(
        default_factory=dict, repr=False, compare=False
    )

    def snapshot(self, batch: int) -> Snapshot:
        """Return the snapshot of one batch, sorted by customer."""
        frame = sorted_frame(_read(self._files["snapshot"], batch))
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
        whole = _read(self._files[f"wallets {length}"], batch, pc.field("code") == WHOLE)
        frame = sorted_frame(whole.drop_columns(["code"]))
        return self.spans[length].wallet(0, signals, peers, frame, enough)

    def count_lines(self, batch: int) -> pd.DataFrame:
        """Return the lines of each customer of one batch in the categories that were counted."""
        frame = sorted_frame(_read(self._files["lines"], batch)).set_index("customer_id")
        return frame.set_axis(pd.Index(self.counted, name="category"), axis=1)

    def category_wallets(
        self, batch: int, length: str, peers: Mapping[str, ReferencePopulation] | None
    ) -> Iterator[tuple[str, Wallet]]:
        """Yield the wallets of one batch in each category; see ``iterate_wallets``."""
        names = self.categories[length]
        piece = _read(self._files[f"wallets {length}"], batch, pc.field("code") != WHOLE)
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
            parts = [
                _read(self._files[f"wallets {length}"], k, pc.field("code") == code)
                for k in range(self.count)
            ]
            whole = pa.concat_tables(parts)
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
    counted: Sequence[str] = (),
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
    counted : sequence of str
        Categories whose lines are counted.

    Yields
    ------
    Batches
    """
    reader = read_customers(
        tables,
        cutoff,
        grain=grain,
        time_unit=time_unit,
        channels=channels,
        own_seller=own_seller,
        margins=margins,
    )
    named, whole = dict(categories or {}), {*lengths}
    spans = {
        length: Spans.of(tables, cutoff, length, grain, own_seller, False)
        for length in sorted(whole | set(named))
    }
    with (
        tempfile.TemporaryDirectory(dir=private_folder()) as private,
        sparing(tables.transactions, _MEGABYTES),
    ):
        sheets = _Sheets(Path(private))
        seen = {length: span for length, span in spans.items() if span.lines is not None}
        cells = {f"cell {length}": span.cell_of for length, span in seen.items()}
        for part in reader.read(cells):
            sheets.add(part, counted if "category" in reader.columns else ())
            for length, span in seen.items():
                rows = _measure(part.lines, length, span, named.get(length), length in whole)
                sheets.lay(f"wallets {length}", *rows)
        cuts = _cut(*sheets.count_kinds(), size)
        known, beside = _attach(reader, sheets)
        files = sheets.files(cuts)
        for length in set(spans) - set(seen):
            how = (tables, cutoff, named.get(length), length, grain, own_seller)
            rows = _ask(spans[length], how, length in whole)
            files[f"wallets {length}"] = [sheets.lay_whole(rows, known, cuts, f"panel {length}")]
        settings = (reader.cutoff, grain, time_unit, reader.provenance)
        yield Batches(len(cuts) + 1, known, *settings, spans, named, counted, beside, files)


class _Sheets:
    """Tables of customers on disk, each piece in the order of first period and purchases.

    Only when all pieces are read is it known where a batch ends, so rows are laid in the order in
    which batches will follow each other.

    Parameters
    ----------
    folder : Path
        Private and empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kinds: list[IntArray] = []
        self._files: dict[str, list[tuple[Path, IntArray]]] = {}
        self.customer_id: list[pa.Array] = []
        self.margin: list[FloatArray] = []

    def add(self, part: Customers, counted: Sequence[str]) -> None:
        """Write the columns of a snapshot of some customers, and their lines in some categories."""
        histories = part.histories
        # Any number of purchases is below 2**32, so the first period decides before it.
        self._kinds.append((histories.first << 32) + histories.purchases)
        self.customer_id.append(part.lines.customer_id)
        if "margin_to_date" in part.columns:
            self.margin.append(part.columns["margin_to_date"])
        everybody = np.arange(len(histories))
        self.lay("snapshot", everybody, part.columns)
        if counted:
            codes = number_names(part.lines, "category", counted)
            bought = part.lines.columns["cents"] >= 0
            counts = count_codes(part.lines, codes, len(counted), bought)
            self.lay("lines", everybody, {str(k): column for k, column in enumerate(counts)})

    def lay(self, name: str, place: IntArray, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write rows of the customers of the newest piece, whose places in it are given."""
        files = self._files.setdefault(name, [])
        kinds = self._kinds[-1][place]
        order = np.argsort(kinds, kind="stable")
        ids = self.customer_id[-1].take(pa.array(place[order]))
        table = pa.table({"customer_id": ids} | {n: c[order] for n, c in columns.items()})
        path = self._folder / f"{name} {len(files)}.arrow"
        _write(table, path)
        files.append((path, kinds[order]))

    def lay_whole(self, rows: pa.Table, known: pd.Index[Any], cuts: IntArray, name: str) -> _File:
        """Write rows of all customers; those of customers who are not known are left out."""
        kinds = np.concatenate(self._kinds)
        read = pd.Index(pa.chunked_array(self.customer_id).to_pandas())
        kinds = kinds[read.get_indexer(known)]
        place = known.get_indexer(pd.Index(rows["customer_id"].to_pandas()))
        rows, kinds = rows.filter(pa.array(place >= 0)), kinds[place[place >= 0]]
        order = np.argsort(kinds, kind="stable")
        path = self._folder / f"{name}.arrow"
        _write(rows.take(pa.array(order)), path)
        return _File(path, _edges(kinds[order], cuts))

    def count_kinds(self) -> tuple[IntArray, IntArray]:
        """Return the kinds of histories, rising, and how many customers have each."""
        pairs = [np.unique(kinds, return_counts=True) for kinds in self._kinds]
        kinds, counts = (np.concatenate(column) for column in zip(*pairs, strict=True))
        order = np.argsort(kinds)
        runs = Runs(kinds[order])
        return runs.first(kinds[order]), runs.sum(counts[order])

    def files(self, cuts: IntArray) -> dict[str, list[_File]]:
        """Return all that is written, cut into batches."""
        return {
            name: [_File(path, _edges(kinds, cuts)) for path, kinds in written]
            for name, written in self._files.items()
        }


def _edges(kinds: IntArray, cuts: IntArray) -> IntArray:
    """Return the first row of each batch, and the number of rows."""
    return np.concatenate([[0], np.searchsorted(kinds, cuts), [len(kinds)]])


def _write(table: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _measure(
    lines: Piece, length: str, spans: Spans, categories: Sequence[str] | None, whole: bool
) -> tuple[IntArray, dict[str, npt.NDArray[Any]]]:
    """Measure the newest window of some customers, all lines together and in categories."""
    cell, per_window = lines.columns[f"cell {length}"], spans.cells[0]
    found = [sum_windows(lines, cell, per_window)] if whole else []
    if categories is not None:
        found.append(
            sum_windows(lines, cell, per_window, number_names(lines, "category", categories))
        )
    places, sums = zip(*found, strict=True)
    columns = {name: np.concatenate([one[name] for one in sums]) for name in sums[0]}
    return np.concatenate(places), columns


def _ask(spans: Spans, how: tuple[Any, ...], whole: bool) -> pa.Table:
    """Ask for the newest window of all customers where rivals are seen."""
    found = []
    if whole:
        query = spans.query()
        found.append(query.mutate(code=insist(ibis.literal(WHOLE), "int64")).to_pyarrow())
    tables, cutoff, categories, *settings = how
    if categories is not None:
        within = span_categories(tables, cutoff, categories, *settings)
        found += measure_categories(within, categories)
    return pa.concat_tables(found, promote_options="permissive")


def _attach(reader: CustomerReader, sheets: _Sheets) -> tuple[pd.Index[Any], pd.DataFrame | None]:
    """Return the ids of all customers, rising, and what is known once all of them are read."""
    ids = pa.chunked_array(sheets.customer_id)
    order = pc.sort_indices(ids).to_numpy().astype(np.int64)
    frame = pd.DataFrame({"customer_id": ids.take(pa.array(order)).to_pandas()})
    if sheets.margin:
        frame["margin_to_date"] = np.concatenate(sheets.margin)[order]
    whole = reader.attach(frame, order).set_index("customer_id")
    added = whole.drop(columns="margin_to_date", errors="ignore")
    return whole.index, added if len(added.columns) else None


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


def _cut(kinds: IntArray, customers: IntArray, size: int) -> IntArray:
    """Return the kind of history with which each batch but the first begins."""
    total = int(customers.sum())
    share = total / -(-total // size)
    cuts: list[int] = []
    before = np.cumsum(customers) - customers
    for kind, so_far in zip(kinds.tolist(), before.tolist(), strict=True):
        if so_far >= share * (len(cuts) + 1) - 0.5:
            cuts.append(kind)
    return np.array(cuts, dtype=np.int64)


def _read(files: Sequence[_File], batch: int, where: pc.Expression | None = None) -> pa.Table:
    return pa.concat_tables([file.read(batch, where) for file in files])
