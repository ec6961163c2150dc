"""Spend and occasions at the house in windows of time, from lines in the order of the customers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from crmml._typing import FloatArray, IntArray
from crmml.features.in_order import Piece, in_order, number_categories
from crmml.features.purchases import cents
from crmml.stats.runs import Runs, sort_by

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.features.wallet import Spans

WHOLE = -1
"""Code of all lines of a customer together."""


def measure_windows(spans: Spans, categories: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Measure spend and occasions at the house, now and in the best earlier window.

    Parameters
    ----------
    spans : Spans
        Where rivals are not seen. What :meth:`crmml.features.wallet.Spans.query` says of the newest
        window, and in no other order.
    categories : sequence of str, optional
        Measure each by itself, and all others together, in place of all lines together.

    Yields
    ------
    Arrow table
        A row per customer and category: ``customer_id``; ``code``, the place of the category, that
        of the others behind, :data:`WHOLE` of all lines together; and the measures.
    """
    lines = spans.lines
    names: dict[str, ir.Value] = (
        {} if categories is None else {"code": number_categories(lines, categories)}
    )
    read = lines.select(
        "customer_id", "cell", period=lines.occasion, cents=cents(lines.amount), **names
    )
    for piece in in_order(read, "period"):
        code = piece.columns.get("code")
        place, sums = sum_windows(piece, piece.columns["cell"], spans.cells[0], code)
        yield pa.table({"customer_id": piece.customer_id.take(pa.array(place))} | sums)


def sum_windows(
    piece: Piece, cell: IntArray, per_window: int, code: IntArray | None = None
) -> tuple[IntArray, dict[str, IntArray | FloatArray]]:
    """Sum the lines of some customers, a row per customer and code.

    Parameters
    ----------
    piece : Piece
        With ``period`` and ``cents``.
    cell : ndarray of int, shape (n_lines,)
        Of each line, counted back from the newest.
    per_window : int
        Cells in a window.
    code : ndarray of int, shape (n_lines,), optional
        Lines of different codes are measured apart.

    Returns
    -------
    place : ndarray of int, shape (n_rows,)
        Of the customers in ``piece.customer_id``.
    sums : dict of str to ndarray, each of shape (n_rows,)
        ``code`` and the measures.
    """
    period, amount = piece.columns["period"], piece.columns["cents"]
    if code is None:
        code = np.full(len(cell), WHOLE)
    # Cells count back and periods forth, so this rises in time whenever either changes.
    time = (period - period.min()) + (cell.max() - cell)
    order, key = sort_by(piece.place, code - WHOLE, time)
    seen = cell >= 0
    if not seen.all():  # a cutoff within a second: what follows in that second is not yet seen
        order, key = order[seen[order]], key[seen[order]]
    cell, amount = cell[order], amount[order]
    occasions = Runs(key)
    spend, visits = occasions.sum(amount), occasions.max((amount >= 0).astype(np.int64))
    place, code = occasions.first(piece.place[order]), occasions.first(code[order])
    window = occasions.first(cell) // per_window
    windows = Runs(place, code, window)
    spend, visits = windows.sum(spend), windows.sum(visits)
    place, code, window = (windows.first(values) for values in (place, code, window))
    rows = Runs(place, code)
    now = window == 0
    before = ~now
    past = rows.any(before)
    peak = rows.max(np.where(now, np.iinfo(np.int64).min, spend))
    return rows.first(place), {
        "code": rows.first(code),
        "spend": rows.sum(np.where(now, spend, 0)) / 100.0,
        "occasions": rows.sum(np.where(now, visits, 0)),
        "peak": np.where(past, peak, 0) / 100.0,
        "peak_occasions": rows.max(np.where(now, 0, visits)),
        "past_windows": rows.sum(before & (visits > 0)),
        "all_occasions": rows.sum(visits),
    }
