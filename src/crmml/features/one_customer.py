"""One customer: each purchase before a cutoff, and what was known of the customer day by day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from crmml._typing import FloatArray, Grain, IntArray
from crmml.features.snapshot import Snapshot, own_lines
from crmml.stats.discounting import UNIT_DAYS

if TYPE_CHECKING:
    from crmml.data.tables import Tables

_DAY = pd.Timedelta(days=1)


def gather_purchases(
    tables: Tables, cutoff: pd.Timestamp, *, grain: Grain, own_seller: str | None = None
) -> pd.DataFrame:
    """List what one customer bought and sent back before a cutoff, a row per grain period.

    Parameters
    ----------
    tables : Tables
        Of one customer: :meth:`crmml.data.tables.Tables.of_customer`.
    cutoff : Timestamp
        Exclusive.
    grain : str
        What one purchase is.
    own_seller : str, optional
        The own house, where the log holds those of rivals too.

    Returns
    -------
    DataFrame
        ``period`` (see :func:`crmml.features.purchases.period_at`), ``date`` (of the first line of
        a purchase in it), ``purchase`` (false where there are returns only) and ``amount`` (net),
        the earliest first; empty where there is nothing.
    """
    from crmml.features import purchases

    lines = tables.transactions
    if "seller" in lines.columns and own_seller is not None:
        lines = lines.filter(lines.seller == own_seller)
    else:
        lines = own_lines(lines, None)
    lines = lines.filter(lines.timestamp < cutoff)
    lines = lines.mutate(cents=purchases.cents(lines.amount))
    moments = {
        "bought_at": lines.timestamp.min(where=lines.cents >= 0),
        "first_at": lines.timestamp.min(),
    }
    table = purchases.fetch(purchases.collapse_lines(lines, grain, **moments), by=("period",))
    return pd.DataFrame(
        {
            "period": table["period"].astype("int64"),
            "date": table["bought_at"].fillna(table["first_at"]),
            "purchase": table["lines"] > 0,
            "amount": table["net"] / 100.0,
        }
    )


class DailyHistory:
    """What was known of one customer at the end of each day since the first purchase.

    Attributes
    ----------
    date : DatetimeIndex, length n
        The days; the last one is that of the cutoff less one moment.
    cutoff : DatetimeIndex, length n
        The exclusive ends of those days; the last one is the cutoff of the snapshot.
    frequency, recency, T : ndarray, shape (n,)
        In the time unit of the snapshot, exactly as a snapshot at those cutoffs has them.

    Parameters
    ----------
    snapshot : Snapshot
        The customer's row at the last cutoff.
    purchases : DataFrame
        From :func:`gather_purchases`; with at least one purchase.
    """

    def __init__(self, snapshot: Snapshot, purchases: pd.DataFrame) -> None:
        from crmml.features.purchases import last_period_before

        rows = purchases[purchases["purchase"]]
        bought = rows["period"].to_numpy(dtype=np.int64)
        last_day = (snapshot.cutoff - pd.Timedelta(microseconds=1)).normalize()
        first_day = rows["date"].iloc[0].normalize()
        self.date = pd.date_range(first_day, last_day, freq="D")
        ends = [*(self.date[:-1] + _DAY), snapshot.cutoff]
        self.cutoff = pd.DatetimeIndex(ends)
        seen = np.array([last_period_before(end, snapshot.grain) for end in ends], dtype=np.int64)
        # in a period that is longer than a day, a purchase is known only from its day on
        x = np.searchsorted(rows["date"].to_numpy(), self.cutoff.to_numpy(), side="left") - 1
        self.frequency = x.astype(np.float64)
        self.recency = _in_units(bought[x] - bought[0], snapshot)
        self.T = _in_units(seen - bought[0], snapshot)
        self._snapshot = snapshot

    def __len__(self) -> int:
        return len(self.date)

    def at_once(self) -> Snapshot:
        """Return all days as the rows of one snapshot, for models in which only ages count."""
        n = len(self)
        columns = self._snapshot.frame.loc[[0] * n].reset_index(drop=True)
        frame = columns.assign(
            customer_id=np.arange(n), frequency=self.frequency, recency=self.recency, T=self.T
        )
        return replace(self._snapshot, frame=frame)

    def one_by_one(self) -> Iterator[Snapshot]:
        """Yield the snapshot of each day, for models in which the date counts."""
        for i, cutoff in enumerate(self.cutoff):
            frame = self._snapshot.frame.assign(
                frequency=self.frequency[i], recency=self.recency[i], T=self.T[i]
            )
            yield replace(self._snapshot, frame=frame, cutoff=cutoff)


def _in_units(periods: IntArray, snapshot: Snapshot) -> FloatArray:
    """Convert numbers of periods by one exact factor and one rounding, as the engine does."""
    ratio = UNIT_DAYS[snapshot.grain] / UNIT_DAYS[snapshot.time_unit]
    if ratio >= 1.0:
        return np.asarray(periods * float(round(ratio)), dtype=np.float64)
    return np.asarray(periods / float(round(1.0 / ratio)), dtype=np.float64)
