"""Predictions of all customers on disk, written in one order of batches and read in another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmml.scoring.predictors import Predictor, as_declared


class Spool:
    """Columns of predictors in a private folder.

    Batches are written as they are computed. They are read by *parts*: customers in the order of
    their ids, so many at a time.

    Parameters
    ----------
    folder : Path
        Empty; whoever made it removes it.
    predictors : sequence of Predictor
        Whose columns these are.
    """

    def __init__(self, folder: Path, predictors: Sequence[Predictor]) -> None:
        self.predictors = predictors
        self.names = [o.name for predictor in predictors for o in predictor.outputs]
        self.customer_id: pd.Index[Any] = pd.Index([], name="customer_id")
        self._kinds = {o.name: o.dtype for predictor in predictors for o in predictor.outputs}
        self._folder, self._size = folder, 1
        self._orders: dict[int, pa.Array] = {}

    def part(self, customer_id: pd.Index[Any], size: int) -> None:
        """Say whose predictions will come, rising, and how many are to be read at a time."""
        self.customer_id, self._size = customer_id, size

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-len(self.customer_id) // self._size)

    def rows(self, k: int) -> slice:
        """Return the places of a part among all customers."""
        return slice(k * self._size, min((k + 1) * self._size, len(self.customer_id)))

    def ids(self, k: int) -> pd.Index[Any]:
        """Return the customers of a part."""
        return self.customer_id[self.rows(k)]

    def write(self, batch: int, columns: Mapping[str, pd.Series[Any]]) -> None:
        """Write the columns of some customers, whose ids rise."""
        index = next(iter(columns.values())).index
        starts = self.customer_id[:: self._size]
        # Batches of the data go by first purchase and parts of the output by the order of the ids:
        # each file is cut at the parts, so that reading one part touches nothing else.
        edges = [*index.searchsorted(starts), len(index)]
        arrays = {"customer_id": pa.array(index), **{n: pa.array(columns[n]) for n in self.names}}
        table = pa.table(arrays).combine_chunks()
        file = str(self._folder / f"{batch}.arrow")
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            for begin, end in pairwise(edges):
                # One record batch for each part, an empty one where nobody is of it.
                writer.write_batch(_one_batch(table.slice(begin, end - begin)))

    def read(self, k: int, names: Iterable[str] | None = None) -> dict[str, pd.Series[Any]]:
        """Return the columns of a part, in the declared types, keyed by customer."""
        wanted = self.names if names is None else list(names)
        order = self._order(k)
        table = self._pieces(k, wanted).take(order)
        frame, ids = table.to_pandas(split_blocks=True), self.ids(k)
        return {
            name: as_declared(frame[name].set_axis(ids), self._kinds[name], ids) for name in wanted
        }

    def _order(self, k: int) -> pa.Array:
        """Places of the customers of a part among its pieces, in the order of the ids."""
        if k not in self._orders:
            ids = self._pieces(k, ["customer_id"])["customer_id"]
            self._orders[k] = pc.sort_indices(ids).cast(pa.uint32())
        return self._orders[k]

    def _pieces(self, k: int, names: Sequence[str]) -> pa.Table:
        """Return some columns of a part as the batches gave them, one after the other."""
        pieces = []
        for file in sorted(self._folder.glob("*.arrow")):
            # Read through a map of the file: columns that are not asked for are not touched.
            with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
                pieces.append(reader.get_batch(k).select(names))
        return pa.Table.from_batches(pieces).combine_chunks()

    def gather(self, names: Sequence[str]) -> dict[str, pd.Series[Any]]:
        """Return some columns of all customers."""
        parts = [self.read(k, names) for k in range(self.count)]
        return {name: pd.concat([part[name] for part in parts]) for name in names}


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    arrays = [
        column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema)
