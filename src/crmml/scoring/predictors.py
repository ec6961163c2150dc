"""Predictors: what each reads and gives is declared once; order, nulls and glossary follow."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

import pandas as pd

from crmml.actions.allocation import Allocation
from crmml.actions.recommendation import Terms
from crmml.data.schema import TABLES
from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.features.categories import count_in_pieces
from crmml.features.category_wallets import iterate_wallets
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import Enough, ReferencePopulation, Wallet, build_wallet, find_signals

Dtype: TypeAlias = Literal["number", "integer", "flag", "text", "timestamp", "any"]
"""What a column holds; each has a null. ``any`` is for columns that only the user knows."""

_T = TypeVar("_T")

_NULLABLE: dict[Dtype, str] = {
    "number": "float64",
    "integer": "Int64",
    "flag": "boolean",
    "text": "str",
    "timestamp": "datetime64[us]",
    "any": "object",
}
_WHOLE: dict[Dtype, str] = {"integer": "int64", "flag": "bool"}
"""Types that have no null: taken where none is needed."""


@dataclass(frozen=True)
class Output:
    """One column that a predictor gives.

    Attributes
    ----------
    name : str
        Of the column.
    dtype : str
        See :data:`Dtype`.
    unit : str
        ``"currency"``, ``"probability"``, ``"time units"``, ...; empty for text and flags.
    meaning : str
        In a few words, for the glossary.
    horizon : str, optional
        How far it looks ahead, such as ``"13W"``.
    served : bool
        Whether it is a column of the scores; else it is only read by other predictors.
    """

    name: str
    dtype: Dtype
    unit: str
    meaning: str
    horizon: str | None = None
    served: bool = True


@runtime_checkable
class Base(Protocol):
    """Who is scored: one row per customer at a cutoff, such as a snapshot of a log."""

    @property
    def customer_id(self) -> pd.Index[Any]: ...  # noqa: D102
    @property
    def cutoff(self) -> pd.Timestamp: ...  # noqa: D102
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Moment:
    """What all predictors share at one cutoff.

    Attributes
    ----------
    tables : Tables
        The validated tables.
    base : Base
        One row per customer at the cutoff: the snapshot of a log, or contracts without one.
    absent : dict of str to str
        Columns that are null throughout, and why; filled by :meth:`leave_out`.
    plans : DataFrame or None
        Contacts that earlier runs have planned: ``customer_id``, ``timestamp``, ``action``; None
        where none are given.
    control : DataFrame or None
        Shares of the control group at which customers were drawn before: ``customer_id``,
        ``experiment``, ``control_share``, the earliest first.
    found : dict of str to object
        What predictors found besides columns, by the predictor's name.
    allocation : Allocation or None
        Of the budget among all customers, where these are a batch of them; in the order of these.
    terms : Terms or None
        Who of these may get which action, where that is known already.
    lang : {"en", "fa"}
        Language of the reasons.
    """

    tables: Tables
    base: Base
    absent: dict[str, str] = field(default_factory=dict)
    found: dict[str, Any] = field(default_factory=dict)
    plans: pd.DataFrame | None = None
    control: pd.DataFrame | None = None
    allocation: Allocation | None = None
    terms: Terms | None = None
    lang: str = "en"
    _shared: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def snapshot(self) -> Snapshot:
        """The base of a log."""
        return snapshot_of(self.base)

    def shared(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """Compute something once for all predictors that ask for it by the same key."""
        if key not in self._shared:
            self._shared[key] = compute()
        value: _T = self._shared[key]
        return value

    def leave_out(self, names: str | Iterable[str], reason: str) -> None:
        """Say why columns cannot be given; they are null."""
        for name in [names] if isinstance(names, str) else names:
            self.absent[name] = reason

    def table(self, name: str) -> Any:
        """Return a checked table by its name; None if it was not given."""
        return self.tables.get(name)

    def wallet(
        self, length: str, peers: ReferencePopulation | None, enough: Enough = "own"
    ) -> Wallet:
        """Measure the wallets of these customers over the window of that length."""
        snapshot = self.snapshot
        return build_wallet(
            self.tables,
            snapshot.cutoff,
            length=length,
            grain=snapshot.grain,
            own_seller=snapshot.provenance["own_seller"],
            signals=self.signals(length),
            peers=peers,
            enough=enough,
        )

    def category_wallets(
        self,
        length: str,
        categories: Sequence[str],
        peers: Mapping[str, ReferencePopulation] | None,
    ) -> Iterable[tuple[str, Wallet]]:
        """Measure the wallets of these customers in each category; see ``iterate_wallets``."""
        snapshot = self.snapshot
        return iterate_wallets(
            self.tables,
            snapshot.cutoff,
            length=length,
            categories=categories,
            grain=snapshot.grain,
            own_seller=snapshot.provenance.get("own_seller"),
            peers=peers,
        )

    def assign_by_lines(
        self, name: str, categories: Sequence[str], assign: Callable[[pd.DataFrame], pd.Series[str]]
    ) -> pd.Series[str]:
        """Assign something to customers by their lines in some categories, once for all of them.

        Parameters
        ----------
        name : str
            Of what is assigned.
        categories : sequence of str
        assign : function
            Of a table as :func:`crmml.features.categories.count_categories` makes it.
        """
        own_seller = self.snapshot.provenance.get("own_seller")

        def read() -> pd.Series[str]:
            pieces = count_in_pieces(self.tables, self.base.cutoff, own_seller, categories)
            return pd.concat([assign(lines) for lines in pieces])

        return self.shared((name, self.base.cutoff), read)

    def signals(self, length: str) -> frozenset[Any]:
        """Find who said within that length before the cutoff that they go to a competitor."""
        find = lambda: find_signals(self.tables, self.snapshot.cutoff, length)  # noqa: E731
        return self.shared(("signals", length), find)


def snapshot_of(base: Base) -> Snapshot:
    """Return a base that is a snapshot of a log.

    Raises
    ------
    CrmmlError
        If it is none.
    """
    if not isinstance(base, Snapshot):
        raise CrmmlError(f"purchases are asked for, and the base has none: {type(base).__name__}")
    return base


@runtime_checkable
class Predictor(Protocol):
    """What gives columns of the scores.

    Attributes
    ----------
    name : str
        Unique in a bundle.
    tables : frozenset of str
        Tables that are needed; without one of them all outputs are null, with the reason.
    reads : frozenset of str
        Columns of other predictors; they are computed first.
    optional : frozenset of str
        Those of ``reads`` that may be null throughout, or missing. Without any other one all
        outputs are null, with the reason.
    outputs : tuple of Output
        Columns that it gives.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def tables(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def reads(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def optional(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def outputs(self) -> tuple[Output, ...]: ...  # noqa: D102

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Return the outputs of every customer of the snapshot, keyed by ``customer_id``.

        ``so_far`` holds the columns of ``reads``. A column that cannot be given is left out, and
        :meth:`Moment.leave_out` says why.
        """
        ...


def in_order(predictors: Sequence[Predictor]) -> list[Predictor]:
    """Sort predictors so that each comes after those whose columns it reads.

    Raises
    ------
    CrmmlError
        If two have the same name or give the same column, or they read each other in a circle.
    """
    by_name = {predictor.name: predictor for predictor in predictors}
    if len(by_name) < len(predictors):
        raise CrmmlError(f"predictors need different names; got {[p.name for p in predictors]}")
    source: dict[str, str] = {}
    for predictor in predictors:
        for output in predictor.outputs:
            if output.name in source:
                raise CrmmlError(
                    f"the column {output.name!r} is given by two predictors: "
                    f"{source[output.name]} and {predictor.name}"
                )
            source[output.name] = predictor.name
    graph: TopologicalSorter[str] = TopologicalSorter()
    for predictor in predictors:
        before = {source[name] for name in predictor.reads if name in source}
        graph.add(predictor.name, *sorted(before - {predictor.name}))
    try:
        return [by_name[name] for name in graph.static_order()]
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise CrmmlError(f"predictors read each other in a circle: {circle}") from None


def predict_all(predictors: Sequence[Predictor], moment: Moment) -> pd.DataFrame:
    """Let every predictor give its columns for every customer of a snapshot.

    Parameters
    ----------
    predictors : sequence of Predictor
        In the order of the columns that are wanted.
    moment : Moment
        Its ``absent`` says afterwards which columns are null throughout, and why.

    Returns
    -------
    DataFrame
        The served columns, in the declared types, keyed by ``customer_id``.
    """
    columns = predict_columns(predictors, moment)
    names = served_names(predictors)
    order = {name: place for place, name in enumerate(names)}
    for name in sorted(moment.absent, key=lambda name: order.get(name, len(order))):
        moment.absent[name] = moment.absent.pop(name)
    ids = moment.base.customer_id
    return pd.DataFrame({name: columns[name] for name in names}, index=ids, copy=False)


def predict_columns(
    predictors: Sequence[Predictor],
    moment: Moment,
    known: Mapping[str, pd.Series[Any]] | None = None,
) -> dict[str, pd.Series[Any]]:
    """Let every predictor give its columns, those too that are not served.

    Parameters
    ----------
    predictors : sequence of Predictor
        In any order.
    moment : Moment
    known : mapping of str to Series, optional
        Columns that other predictors gave before.
    """
    ids = moment.base.customer_id
    columns: dict[str, pd.Series[Any]] = dict(known or {})
    for predictor in in_order(predictors):
        reason = obstacle(predictor, moment, columns)
        given = pd.DataFrame(index=ids)
        if reason is None:
            reads = predictor.reads
            known = {name: columns[name] for name in columns if name in reads}
            given = predictor.predict(moment, pd.DataFrame(known, index=ids, copy=False))
        else:
            moment.leave_out([output.name for output in predictor.outputs], reason)
        if not given.index.equals(ids):
            given = given.reindex(ids)
        for output in predictor.outputs:
            if output.name not in given and output.name not in moment.absent:
                raise CrmmlError(f"{predictor.name} gives no column {output.name!r} and no reason")
            columns[output.name] = as_declared(given.get(output.name), output.dtype, ids)
    return columns


def served_names(predictors: Sequence[Predictor]) -> list[str]:
    """Return the names of the columns that are served, in their order."""
    return [o.name for predictor in predictors for o in predictor.outputs if o.served]


def obstacle(predictor: Predictor, moment: Moment, columns: Collection[str]) -> str | None:
    """Say what keeps a predictor from predicting; None if nothing does."""
    for schema in TABLES:
        if schema.name in predictor.tables and moment.table(schema.name) is None:
            return f"needs the table `{schema.name}`"
    for name in sorted(predictor.reads - predictor.optional):
        if name not in columns:
            return f"needs the column `{name}`, which no predictor of this bundle gives"
        if name in moment.absent:
            return f"needs `{name}`, which is null: {moment.absent[name]}"
    return None


def as_declared(
    values: pd.Series[Any] | None, dtype: Dtype, index: pd.Index[Any]
) -> pd.Series[Any]:
    """Give a column its declared type; None becomes nulls of that type.

    Examples
    --------
    >>> as_declared(pd.Series([1.0, None]), "integer", pd.RangeIndex(2)).tolist()
    [1, <NA>]
    >>> str(as_declared(None, "flag", pd.RangeIndex(2)).dtype)
    'boolean'
    """
    if values is None:
        return pd.Series(None, index, dtype=_NULLABLE[dtype])
    whole = dtype in _WHOLE and not values.isna().any()
    typed: pd.Series[Any] = values.astype(_WHOLE[dtype] if whole else _NULLABLE[dtype])  # type: ignore[call-overload]
    return typed


def tabulate_glossary(described: Iterable[tuple[str, Output]]) -> pd.DataFrame:
    """List columns: ``name``, ``dtype``, ``unit``, ``meaning``, ``horizon``, ``predictor``."""
    rows = [
        {
            "name": output.name,
            "dtype": output.dtype,
            "unit": output.unit,
            "meaning": output.meaning,
            "horizon": output.horizon,
            "predictor": predictor,
        }
        for predictor, output in described
        if output.served
    ]
    return pd.DataFrame(rows)
