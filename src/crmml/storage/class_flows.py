"""Who went from which class to which, from one stored cutoff to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from crmml.card import Card, Result, listed
from crmml.exceptions import DataError, MissingColumnsError, ParameterError
from crmml.scoring.differences import CLASSES, count_flows
from crmml.scoring.scorer import Scores
from crmml.storage.scores import KEY, list_cutoffs, read_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class ClassFlows(Result):
    """Customers by what they were and what they became, for each pair of cutoffs that follow.

    Attributes
    ----------
    table : DataFrame
        A row per pair of cutoffs, column and pair of classes: ``column``, ``earlier``, ``later``,
        ``before``, ``after``, ``customers``. ``before`` is ``new`` for who had no class at the
        earlier cutoff, ``after`` is ``gone`` for who has none at the later.
    """

    table: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """The columns that are followed."""
        return [*dict.fromkeys(self.table["column"])]

    def matrix(self, column: str | None = None, later: str | None = None) -> pd.DataFrame:
        """Return the flows of one column up to one cutoff: rows before, columns after.

        Parameters
        ----------
        column : str, optional
            By default the first.
        later : str or Timestamp, optional
            The later of the two cutoffs; by default the newest.
        """
        rows = self._of(column)
        when = rows["later"].max() if later is None else pd.Timestamp(later)
        if when not in set(rows["later"]):
            known = [str(at.date()) for at in rows["later"].unique()]
            raise ParameterError("later", f"one of {known}", later)
        rows = rows[rows["later"] == when]
        order = [[*dict.fromkeys(rows[side])] for side in ("before", "after")]
        found = rows.pivot(index="before", columns="after", values="customers")
        return found.reindex(index=order[0], columns=order[1])

    def to_pandas(self) -> pd.DataFrame:
        """Return :attr:`table`."""
        return self.table.copy()

    def plot(self, column: str | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw the classes at each cutoff, and between them who went where.

        Parameters
        ----------
        column : str, optional
            By default the first.
        ax : Axes, optional
            Where to draw.
        """
        # by name: pictures stand above what they show
        axes: Axes = import_module("crmml.plots.changes").plot_class_flows(self._of(column), ax=ax)
        return axes

    def _of(self, column: str | None) -> pd.DataFrame:
        name = self.columns[0] if column is None else column
        if name not in self.columns:
            raise ParameterError("column", f"one of {self.columns}", column)
        return self.table[self.table["column"] == name]

    def _card(self) -> Card:
        rows = []
        for column in self.columns:
            part = self._of(column)
            moved = part[(part["before"] != part["after"]) & (part["later"] == part["later"].max())]
            top = moved.sort_values("customers", ascending=False, kind="stable").head(3)
            told = [f"{r.before} to {r.after} {r.customers:,}" for r in top.itertuples()]
            rows.append((column, f"of late {listed(told)}"))
        n = self.table["later"].nunique()
        return Card(f"ClassFlows over {n} step(s) from cutoff to cutoff", tuple(rows))


def flows(
    scores: str | Path | Sequence[Any], columns: Sequence[str] | None = None, *, last: int = 12
) -> ClassFlows:
    """Follow the classes of customers from each cutoff to the next.

    Parameters
    ----------
    scores : path, or sequence of Scores or DataFrame
        Folder (Parquet) or DuckDB file that ``crmml score`` wrote, with two cutoffs or more; or
        scores of different cutoffs.
    columns : sequence of str, optional
        Columns of classes, which all score sets must have. By default those of loyalty, tiers and
        stages that are in all sets and not null throughout.
    last : int
        So many newest cutoffs are read, at least 2.

    Returns
    -------
    ClassFlows

    Raises
    ------
    ParameterError
        If ``last`` is below 2.
    DataError
        If there are fewer than two cutoffs.
    MissingColumnsError
        If a column that was asked for is not in all score sets, or by default none is.

    Examples
    --------
    >>> one, two = (
    ...     pd.DataFrame({"customer_id": [1, 2], "value_tier": t, "cutoff": pd.Timestamp(c)})
    ...     for t, c in ((["A", "B"], "2024-01-01"), (["A", "A"], "2024-04-01"))
    ... )
    >>> found = flows([one, two])
    >>> found.matrix().loc["B", "A"].item()
    1
    """
    if last < 2:
        raise ParameterError("last", "at least 2", last)
    asked = [*(CLASSES if columns is None else columns)]
    sets = sorted(_sets(scores, asked, last), key=lambda one: one[0])[-last:]
    moments = [at for at, _ in sets]
    if len(set(moments)) < 2 or len(set(moments)) < len(moments):
        raise DataError(
            "flows need scores of at least two cutoffs, each once: got "
            + listed([at.date() for at in moments]),
            table="scores",
        )
    followed = [c for c in asked if all(c in t and t[c].notna().any() for _, t in sets)]
    unknown = [c for c in asked if columns is not None and c not in followed]
    if unknown or not followed:
        present = map(str, sets[-1][1].dropna(axis=1, how="all").columns)
        raise MissingColumnsError(unknown or asked, present, table="scores")
    parts = [
        _long(count_flows(earlier, later, column), column, a, b)
        for column in followed
        for (a, earlier), (b, later) in pairwise(sets)
    ]
    return ClassFlows(pd.concat(parts, ignore_index=True))


def _sets(
    scores: str | Path | Sequence[Any], columns: Sequence[str], last: int
) -> Iterator[tuple[pd.Timestamp, pd.DataFrame]]:
    """Return each score set with its cutoff."""
    if isinstance(scores, (str, Path)):
        for at in list_cutoffs(scores)[-last:]:
            yield at, read_scores(scores, at, [KEY, *columns])
        return
    for one in scores:
        table = cast(pd.DataFrame, one.table if isinstance(one, Scores) else one)
        if missing := [name for name in (KEY, "cutoff") if name not in table]:
            raise MissingColumnsError(missing, map(str, table.columns), table="scores")
        if len(table):
            yield pd.Timestamp(table["cutoff"].iloc[0]), table


def _long(
    counted: pd.DataFrame, column: str, earlier: pd.Timestamp, later: pd.Timestamp
) -> pd.DataFrame:
    stacked = cast("pd.Series[Any]", counted.stack())
    rows = stacked.to_frame("customers").reset_index()
    for name, value in (("later", later), ("earlier", earlier), ("column", column)):
        rows.insert(0, name, value)
    return rows
