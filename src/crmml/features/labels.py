"""Labels: what customers did in the outcome window, and the check that no feature knew it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from crmml._typing import Grain, TimeUnit
from crmml.card import Card, Result, listed, moment
from crmml.data.tables import Tables
from crmml.exceptions import DataError, FutureLeakError, first_few
from crmml.features.margins import complete_margins
from crmml.features.purchases import (
    cents,
    check_edge,
    check_grain,
    collapse_lines,
    currency,
    fetch,
)
from crmml.features.snapshot import Snapshot, build_snapshot, own_lines
from crmml.features.windows import Window


@dataclass(frozen=True, repr=False)
class LabelledSnapshot(Result):
    """A snapshot and what its customers did afterwards.

    Attributes
    ----------
    snapshot : Snapshot
        Features at ``window.cutoff``.
    outcomes : DataFrame
        Indexed by ``customer_id``, in the order of the snapshot: ``purchases``, ``spend``,
        ``margin``, ``churned``.
    window : Window
        Where the outcomes were observed.

    Raises
    ------
    DataError, FutureLeakError
        If the two do not hold the same customers, or the features end after the cutoff.
    """

    snapshot: Snapshot
    outcomes: pd.DataFrame
    window: Window

    def __post_init__(self) -> None:
        if self.snapshot.cutoff > self.window.cutoff:
            raise FutureLeakError(
                f"the features have seen {self.snapshot.cutoff}, after the cutoff "
                f"{self.window.cutoff} of the outcomes"
            )
        if not self.outcomes.index.equals(self.snapshot.customer_id):
            raise DataError(
                "outcomes must hold the customers of the snapshot, in its order", table="outcomes"
            )

    def __len__(self) -> int:
        return len(self.snapshot)

    def to_pandas(self) -> pd.DataFrame:
        """Return the features of each customer beside what happened in the window."""
        return self.snapshot.to_pandas().join(self.outcomes.reset_index(drop=True))

    def _card(self) -> Card:
        window = self.window
        rows = (
            ("snapshot", repr(self.snapshot)),
            (
                "window",
                f"{moment(window.opens)} to {moment(window.closes)}: outcomes are of this time",
            ),
            ("outcomes", listed(self.outcomes)),
            ("churn", "can be fitted on a list of these, one for each window of the past"),
        )
        return Card(f"LabelledSnapshot of {len(self):,} customers at {moment(window.cutoff)}", rows)

    def subset(self, keep: Any) -> LabelledSnapshot:
        """Return the customers for whom ``keep`` is true (in row order)."""
        mask = np.asarray(keep, dtype=bool)
        return replace(self, snapshot=self.snapshot.subset(mask), outcomes=self.outcomes.loc[mask])


def build_outcomes(
    tables: Tables,
    window: Window,
    *,
    grain: Grain = "day",
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Count what each customer did in an outcome window.

    Parameters
    ----------
    tables : Tables
        The validated log.
    window : Window
        Its end must lie inside the data.
    grain : {"day", "hour", "week", "month", "quarter"}
        What counts as one purchase.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        Indexed by ``customer_id``, sorted, one row per customer who bought before the cutoff:

        * ``purchases``: grain periods with a purchase inside the window;
        * ``spend``: amounts less returns inside the window, currency;
        * ``margin``: margin inside the window, currency; missing throughout where the data hold
          neither margin nor cost;
        * ``churned``: no purchase in the window.

    Raises
    ------
    CensoredWindowError
        If the window ends after the data do: silence there is censored, never churn.
    """
    check_grain(grain)
    window.check_observed(tables.last_timestamp, grain)
    for name, edge in (
        ("cutoff", window.cutoff),
        ("opens", window.opens),
        ("closes", window.closes),
    ):
        check_edge(edge, grain, f"{name} of the outcome window")
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.mutate(cents=cents(lines.amount))
    before = lines.filter(lines.timestamp < window.cutoff, lines.cents >= 0)
    after = lines.filter(lines.timestamp >= window.opens, lines.timestamp < window.closes)
    margin = complete_margins(after)
    periods = collapse_lines(after, grain, **({} if margin is None else {"margin": margin.sum()}))
    sums = {"purchases": periods.count(where=periods.lines > 0), "net": periods.net.sum()}
    if margin is not None:
        sums["margin"] = periods.margin.sum()
    done = periods.group_by("customer_id").agg(**sums)
    joined = before.select("customer_id").distinct().left_join(done, "customer_id")
    columns: dict[str, ir.Value] = {
        "purchases": joined.purchases.fill_null(0).cast("int64"),
        "spend": currency(joined.net.fill_null(0)),
    }
    if margin is not None:
        columns["margin"] = currency(joined.margin.fill_null(0))
    frame = fetch(joined.select("customer_id", **columns))
    if margin is None:
        frame["margin"] = np.nan
    frame["churned"] = frame["purchases"] == 0
    outcomes: pd.DataFrame = frame.set_index("customer_id")
    return outcomes[["purchases", "spend", "margin", "churned"]]


def build_labelled(
    tables: Tables,
    window: Window,
    *,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    behaviour: bool = True,
    channels: Mapping[str, str] | None = None,
    own_seller: str | None = None,
) -> LabelledSnapshot:
    """Build the snapshot at a cutoff and the outcomes after it.

    Parameters
    ----------
    tables : Tables
        The validated log.
    window : Window
        Cutoff, gap and horizon.
    grain, time_unit, behaviour, channels, own_seller
        See :func:`crmml.features.snapshot.build_snapshot`.

    Raises
    ------
    CensoredWindowError
        If the window ends after the data do.
    """
    outcomes = build_outcomes(tables, window, grain=grain, own_seller=own_seller)
    snapshot = build_snapshot(
        tables,
        window.cutoff,
        grain=grain,
        time_unit=time_unit,
        behaviour=behaviour,
        channels=channels,
        own_seller=own_seller,
    )
    return LabelledSnapshot(snapshot, outcomes.loc[snapshot.customer_id], window)


def check_no_future(
    snapshot: Snapshot,
    tables: Tables,
    build: Callable[[Tables, pd.Timestamp], Snapshot] | None = None,
) -> None:
    """Refuse features that cannot be had from the past alone.

    The snapshot is built once more from a log that ends at its cutoff. A column that comes out
    different, or not at all, knows the future. A tool for tests of features and of columns of your
    own: a training builds its snapshots from the past in the first place, and does not run it.

    Parameters
    ----------
    snapshot : Snapshot
        What a model is to learn from.
    tables : Tables
        The whole log, rows after the cutoff included.
    build : callable, optional
        How the snapshot was built, from tables and cutoff; default
        :func:`crmml.features.snapshot.build_snapshot` with the settings of the snapshot.

    Raises
    ------
    FutureLeakError
        Names the columns.
    """
    past = tables.before(snapshot.cutoff)

    def rebuild(tables: Tables, cutoff: pd.Timestamp) -> Snapshot:
        return build_snapshot(
            tables,
            cutoff,
            grain=snapshot.grain,
            time_unit=snapshot.time_unit,
            behaviour=snapshot.provenance.get("behaviour", True),
            channels=snapshot.provenance.get("channels"),
            own_seller=snapshot.provenance.get("own_seller"),
        )

    honest = (build or rebuild)(past, snapshot.cutoff).frame.set_index("customer_id")
    given = snapshot.frame.set_index("customer_id")
    strangers = given.index.difference(honest.index)
    if len(strangers):
        raise FutureLeakError(
            f"{len(strangers):,} customers of the snapshot had not bought before its cutoff "
            f"{snapshot.cutoff}"
        )
    honest = honest.loc[given.index]
    leaks = [
        str(name)
        for name in given.columns
        if name not in honest.columns or not given[name].equals(honest[name])
    ]
    if leaks:
        raise FutureLeakError(
            f"column(s) {first_few(leaks)} cannot be had from the rows before the cutoff "
            f"{snapshot.cutoff}; leave them out, or build them before it"
        )
