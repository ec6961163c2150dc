"""The snapshot: one row per customer at a cutoff. One door for training and for scoring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import GRAINS, TIME_UNITS, FloatArray, Grain, IntArray, TimeUnit
from crmml.card import Card, Result, listed, moment
from crmml.exceptions import DataError, MissingColumnsError, ParameterError

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.reading import Readable, Source
    from crmml.data.tables import Tables
    from crmml.features.margins import MarginRates

CORE_COLUMNS: tuple[str, ...] = ("customer_id", "frequency", "recency", "T")


class Distinct:
    """Distinct rows of parallel columns: what a likelihood needs, and no more.

    Every column is coded by integers in the order of its values, and the codes are packed into
    one integer, so that the work is a few passes over integers whatever the number of columns.

    Parameters
    ----------
    columns : mapping of str to ndarray, each of shape (n,)
        Sortable values; missing ones are equal to each other.

    Attributes
    ----------
    values : dict of str to ndarray, each of shape (n_distinct,)
        The distinct combinations, sorted.
    counts : ndarray of int, shape (n_distinct,)
        How many rows share each.

    Examples
    --------
    >>> found = Distinct({"x": np.array([2.0, 1.0, 2.0])})
    >>> found.values["x"].tolist(), found.counts.tolist(), found.inverse.tolist()
    ([1.0, 2.0], [1, 2], [1, 0, 1])
    """

    def __init__(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        packed: list[tuple[str, npt.NDArray[Any]]] = []
        coded = {name: _codes(column) for name, column in columns.items()}
        narrow = math.prod(len(table) for _, table in coded.values()) < 2**31
        whole: Any = np.int32 if narrow else np.int64
        key: npt.NDArray[Any] = np.zeros(len(next(iter(columns.values()))), dtype=whole)
        size = 1
        for name, (codes, table) in coded.items():
            if size * len(table) >= 2**62:
                key, so_far = _ranks(key)
                packed.append(("", so_far))
                size = len(so_far)
            if size > 1:
                key *= whole(len(table))
            key += codes.astype(whole, copy=False)
            size *= len(table)
            packed.append((name, table))
        del coded
        ordered = np.sort(key)
        starts = np.r_[0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1][: len(ordered)]
        self._key, self._size = key, size
        self.counts: IntArray = np.diff(starts, append=len(ordered)).astype(np.int64)
        self.values: dict[str, npt.NDArray[Any]] = {}
        rest = ordered[starts]
        for name, table in reversed(packed):
            if name:
                above = rest // len(table)  # by one number: several times as fast as divmod
                self.values[name] = table[rest - above * len(table)]
                rest = above
            else:
                rest = table[rest]
        self.values = {name: self.values[name] for name in columns}

    @cached_property
    def inverse(self) -> IntArray:
        """The combination of each row, shape (n,)."""
        # Sorting keys with their rows in the low bits is faster than any table of keys.
        key, bits = self._key, len(self._key).bit_length()
        del self._key
        if self._size >= 2 ** (62 - bits):
            key, _ = _ranks(key)
        rows = np.sort((key.astype(np.int64) << bits) | np.arange(len(key))) & ((1 << bits) - 1)
        place = np.empty(len(key), dtype=np.int64)
        place[rows] = np.repeat(np.arange(len(self.counts)), self.counts)
        return place

    @property
    def rows(self) -> pd.DataFrame:
        """The distinct combinations as a table."""
        return pd.DataFrame(self.values)


_BLOCK = 2**14  # rows at a time: small enough for the cache


def _codes(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Integer codes in the order of the values, and the table from code to value.

    Whole numbers of periods (days in a column of weeks, hours in a column of days) are their own
    codes, which is several times faster than hashing.
    """
    if values.dtype == np.float64 and len(values):
        for unit in (1.0, 7.0, 24.0, 168.0):
            found = _count_periods(values, unit)
            if found is not None:
                return found
    return _ranks(values)


def _count_periods(
    values: FloatArray, unit: float
) -> tuple[npt.NDArray[np.int32], FloatArray] | None:
    """Codes and table of values that are whole numbers over ``unit``; None if some are not."""
    codes = np.empty(len(values), dtype=np.int32)
    room = np.empty((2, min(len(values), _BLOCK)))
    least, most = np.inf, -np.inf
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        whole, back = room[:, : len(block)]
        np.rint(np.multiply(block, unit, out=whole), out=whole)
        if not (np.divide(whole, unit, out=back) == block).all():
            return None
        least, most = min(least, whole.min()), max(most, whole.max())
        if max(-least, most) >= 2**30:
            return None
        codes[start : start + _BLOCK] = whole
    if most - least >= 2**20:
        return None
    if least >= 0 and most < 2**10:
        least = 0.0  # a few codes that stand for nothing cost less than a pass over all
    if least:
        codes -= np.int32(least)
    return codes, np.arange(least, most + 1.0) / unit


def _ranks(values: npt.NDArray[Any]) -> tuple[IntArray, npt.NDArray[Any]]:
    """Rank of each value among the distinct ones, and those, sorted."""
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    order = np.argsort(distinct)
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[order] = np.arange(len(distinct))
    return rank[codes], distinct[order]


_NO_SPEND = "the column monetary_value is missing, which needs amounts in the log"
_NO_GAPS = "the column sum_log_gaps is missing; build_snapshot(log, cutoff) computes it"
_NO_TIMES = "it is not known when the customers bought; build_snapshot(log, cutoff) keeps it"
_NO_OUTCOMES = "needs windows of the past with their outcomes: crmml.features.labels.build_labelled"


def _can(can: bool, what: str, why_not: str) -> str:
    return f"can be fitted: {what}" if can else f"cannot be fitted: {why_not}"


def _fits_purchases(unit: str) -> str:
    if unit == "period":
        return "can be fitted: BetaGeoBetaBinomialModel; others need time, not opportunities"
    return "can be fitted: ModifiedBetaGeoModel, ParetoNBDModel, BetaGeoModel"


@dataclass(frozen=True, repr=False)
class Snapshot(Result):
    """One row per customer at a cutoff.

    Attributes
    ----------
    frame : DataFrame
        Columns of section *snapshot* of the glossary: ``customer_id``, ``frequency``,
        ``recency``, ``T``, usually ``monetary_value``, and behaviour features. The index is a
        plain range; nothing ever depends on the order of the rows. Not to be changed in place:
        another table is another snapshot.
    cutoff : Timestamp
        Exclusive end of what the features have seen.
    grain : {"hour", "day", "week", "month", "quarter"}
        What counts as one purchase.
    time_unit : {"hour", "day", "week", "month", "quarter", "period"}
        What ``recency`` and ``T`` are measured in.
    provenance : mapping
        Where the rows come from: policies and their counts, first and last date of the data, and
        under ``purchase_times`` when these customers bought (a
        :class:`~crmml.features.purchase_times.PurchaseTimes`).
    """

    frame: pd.DataFrame
    cutoff: pd.Timestamp
    grain: Grain = "day"
    time_unit: TimeUnit = "week"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    _gathered: dict[tuple[str, ...], Distinct] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        cutoff: str | pd.Timestamp,
        time_unit: TimeUnit,
        grain: Grain = "day",
        provenance: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take a table of section 2 of the contract and validate it.

        Parameters
        ----------
        df : DataFrame
            Needs ``customer_id`` (a column, or the index under that name), ``frequency``,
            ``recency`` and ``T``; further columns are kept as they are.
        cutoff : str or Timestamp
            Exclusive end of the observed history, timezone-naive.
        time_unit : str
            What ``recency`` and ``T`` are measured in; it cannot be told from the numbers.
        grain : str
            See the class.
        provenance : mapping, optional
            Free facts about the origin of the rows.

        Raises
        ------
        MissingColumnsError, DataError, ParameterError
            If a column is missing, a row breaks an invariant, or a setting is unknown.

        Examples
        --------
        >>> df = pd.DataFrame({"customer_id": ["a"], "frequency": [2], "recency": [30.43],
        ...                    "T": [38.86]})
        >>> len(Snapshot.from_frame(df, cutoff="1997-10-01", time_unit="week"))
        1
        """
        if time_unit not in TIME_UNITS:
            raise ParameterError("time_unit", f"one of {TIME_UNITS}", time_unit)
        if grain not in GRAINS:
            raise ParameterError("grain", f"one of {GRAINS}", grain)
        frame = df.reset_index() if df.index.name == "customer_id" else df.reset_index(drop=True)
        missing = [name for name in CORE_COLUMNS if name not in frame.columns]
        if missing:
            raise MissingColumnsError(missing, map(str, frame.columns), table="snapshot")
        frame = frame.assign(
            **{name: _as_float(frame, name) for name in CORE_COLUMNS[1:]},
        )
        check_invariants(frame)
        return cls(frame, pd.Timestamp(cutoff), grain, time_unit, dict(provenance or {}))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def customer_id(self) -> pd.Index[Any]:
        """Ids in the order of the rows, the key of every prediction."""
        ids: pd.Index[Any] = pd.Index(self.frame["customer_id"], name="customer_id")
        return ids

    def subset(self, keep: Sequence[bool] | pd.Series | np.ndarray[Any, Any]) -> Snapshot:
        """Return the snapshot of the customers for whom ``keep`` is true (in row order)."""
        mask = np.asarray(keep, dtype=bool)
        return replace(self, frame=self.frame.loc[mask].reset_index(drop=True))

    def distinct(self, columns: Iterable[str] = ("frequency", "recency", "T")) -> Distinct:
        """Gather the distinct rows of some columns with their counts.

        They are gathered once and kept with the snapshot (16 bytes per customer), so that a fit
        and the predictions after it share them.

        Parameters
        ----------
        columns : iterable of str
            Numeric columns of ``frame``.
        """
        names = tuple(columns)
        if names not in self._gathered:
            self._gathered[names] = Distinct({name: self.frame[name].to_numpy() for name in names})
        return self._gathered[names]

    def to_pandas(self) -> pd.DataFrame:
        """Return the table, a row per customer; changing it leaves the snapshot as it is."""
        return self.frame.copy()

    def _card(self) -> Card:
        known, times = set(self.frame), self.provenance.get("purchase_times")
        names = [str(name) for name in self.frame]
        rows = [
            ("cutoff", f"{moment(self.cutoff)}: what happened at it or later is not seen"),
            ("grain", f"{self.grain}: all lines of one {self.grain} are one purchase"),
            ("time unit", f"{self.time_unit}: recency and T are counted in it"),
            ("columns", f"{len(names):,}: {listed(names, most=5)}"),
            ("purchases", _fits_purchases(self.time_unit)),
            ("spend", _can("monetary_value" in known, "GammaGammaModel", _NO_SPEND)),
            ("regularity", _can("sum_log_gaps" in known, "RegularPurchaseModel", _NO_GAPS)),
            (
                "clocks",
                _can(times is not None, "newcomers, and from two years on a season", _NO_TIMES),
            ),
            ("lifetime value", _can("monetary_value" in known, "LifetimeValueModel", _NO_SPEND)),
            ("churn", _NO_OUTCOMES),
        ]
        if absent := self.provenance.get("absent"):
            rows.append(("absent", listed(absent, most=5)))
        return Card(f"Snapshot of {len(self):,} customers at {moment(self.cutoff)}", tuple(rows))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was gathered; copies gather anew."""
        return {**self.__dict__, "_gathered": {}}


def _as_float(frame: pd.DataFrame, name: str) -> pd.Series[float]:
    values = pd.to_numeric(frame[name], errors="coerce").astype("float64")
    bad = ~np.isfinite(values.to_numpy())
    if bad.any():
        raise DataError(
            "values must be finite numbers",
            table="snapshot",
            column=name,
            n_rows=int(bad.sum()),
            examples=frame.loc[bad, "customer_id"].head(5),
        )
    return values


def check_invariants(frame: pd.DataFrame) -> None:
    """Refuse a snapshot table that breaks a row invariant; they all stand here.

    Raises
    ------
    DataError
        With the rule, the column, the number of rows and the first few ids.
    """
    x, t_x, T = (frame[name].to_numpy() for name in CORE_COLUMNS[1:])
    rules = [
        ("customer_id", "must not be null", frame["customer_id"].isna().to_numpy()),
        ("customer_id", "must be unique", frame["customer_id"].duplicated(keep=False).to_numpy()),
        ("frequency", "must be a whole number >= 0", (x < 0) | (x != np.floor(x))),
        ("T", "must be >= 0", T < 0),
        ("recency", "must lie between 0 and T", (t_x < 0) | (t_x > T)),
        ("recency", "must be 0 exactly where frequency is 0", (t_x == 0) != (x == 0)),
    ]
    for column, rule, broken in rules:
        if broken.any():
            raise DataError(
                f"{column} {rule}",
                table="snapshot",
                column=column,
                n_rows=int(broken.sum()),
                examples=frame.loc[broken, "customer_id"].head(5),
            )


def count_by_frequency(snapshot: Snapshot, most: int = 10) -> pd.Series[int]:
    """Count the customers with 0, 1, ..., ``most`` or more repeat purchases.

    Parameters
    ----------
    snapshot : Snapshot
    most : int
        The last, open group.

    Returns
    -------
    Series
        Customers, by frequency as text.
    """
    group = snapshot.frame["frequency"].clip(upper=most).astype(int).to_numpy()
    labels = [*map(str, range(most)), f"{most}+"]
    index = pd.Index(labels, name="frequency", dtype="str")
    return pd.Series(np.bincount(group, minlength=most + 1), index, name="customers")


def build_snapshot(
    tables: Tables | Readable | Source,
    cutoff: str | pd.Timestamp,
    *,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    behaviour: bool = True,
    channels: Mapping[str, str] | None = None,
    own_seller: str | None = None,
    margins: MarginRates | None = None,
) -> Snapshot:
    """Summarise a transaction log at a cutoff: one row per customer who has bought.

    The only door to a snapshot from a log, for training and for scoring alike. The engine does the
    work; money is summed exactly, and the result does not depend on the order of the rows or on
    the number of threads. Rows come sorted by ``customer_id``.

    Parameters
    ----------
    tables : Tables, path, DataFrame, Arrow table, Ibis table or Source
        Validated tables, or a transaction log, which is then opened by
        :func:`crmml.data.tables.open_tables` with its default policies.
    cutoff : str or Timestamp
        Exclusive end of what is seen: rows with ``timestamp < cutoff``. The log is taken to be
        complete up to it.
    grain : {"day", "hour", "week", "month", "quarter"}
        What counts as one purchase: all lines of a customer in one day, hour, week (from Monday),
        calendar month or quarter. The cutoff is then the first day of a month or quarter.
    time_unit : {"week", "day", "hour", "month", "quarter"}
        What ``recency``, ``T`` and the gaps are measured in. Of the grains ``month`` and
        ``quarter`` these are whole months or quarters of the calendar, however many days they have.
    behaviour : bool
        Also compute the behaviour features (:data:`crmml.features.behaviour.FEATURES`).
    channels : mapping of str to str, optional
        Channel to column, to give a scored batch the columns of the training
        (``snapshot.provenance["channels"]``); default: the channels with most purchase lines.
    own_seller : str, optional
        The own house in the column ``seller``. Needed where the log holds several sellers; only
        own lines are seen here.
    margins : MarginRates, optional
        Margin ratios of the training, which ``expected_margin_ratio`` of a scored batch rests on
        (``snapshot.provenance["margins"]``); default: those of these customers.

    Returns
    -------
    Snapshot
        With ``frequency``, ``recency``, ``T``, ``monetary_value`` and the features.

    Raises
    ------
    TooLittleDataError
        If nothing was bought before the cutoff.
    ParameterError
        If a setting is outside its legal range.

    Notes
    -----
    With *p* the grain periods in which a customer bought (lines of an amount not below zero; a
    period with returns only is no purchase) and *e* the last period of which something is observed,
    the one that holds the last moment before the cutoff::

        frequency      = number of p - 1
        recency        = last p - first p
        T              = e - first p
        monetary_value = net spend outside the first purchase / frequency, 0 without repeats

    A return is netted against the purchase before it, so what comes back from the first order does
    not lower the value of the repeat purchases.

    Time runs in whole periods, each a point: what is observed ends at the point *e*, a horizon of
    *h* periods from the cutoff on covers the points ``(e, e + h]``, and ``T`` counts exactly the
    periods in which a repeat purchase could have been seen. So ``T`` is one period less than
    ``cutoff - start of the first p``: lines of the first period itself can never be repeat
    purchases. This is the convention of the published results: CDNOW observed to the end of
    1997-09-30 is ``cutoff="1997-10-01"``, and who first bought on 1997-01-01 has
    T = 272 / 7 = 38.86 weeks. It equals ``lifetimes``' summary with
    ``observation_period_end = cutoff - one period``. A customer first seen in the period *e* has
    T = 0, the history of a new customer, and adds nothing to a likelihood.

    Of a grain of a month or quarter a customer has one purchase in each at most. Processes in
    continuous time then expect somewhat too many purchases of those who buy in most of them: at a
    purchase in every eighth month on average, and rates as different as usual, a tenth to a fifth.

    Examples
    --------
    >>> log = pd.DataFrame({"customer_id": [1, 1, 1, 2], "timestamp": pd.to_datetime(
    ...     ["1997-01-01", "1997-01-01", "1997-08-02", "1997-09-30"]), "amount": [9, 1, 12.5, 7]})
    >>> snapshot = build_snapshot(log, "1997-10-01", behaviour=False)
    >>> snapshot.frame.round(2)
       customer_id  frequency  recency      T  monetary_value
    0            1        1.0    30.43  38.86            12.5
    1            2        0.0     0.00   0.00             0.0
    """
    # The engine is loaded when a log is read; models need the class only.
    from crmml.features.customers import read_customers

    found = read_customers(
        tables,
        cutoff,
        grain=grain,
        time_unit=time_unit,
        behaviour=behaviour,
        channels=channels,
        own_seller=own_seller,
        margins=margins,
    )
    frame, provenance = found.collect()
    return Snapshot(frame, found.cutoff, grain, time_unit, provenance)


def own_lines(lines: ir.Table, own_seller: str | None) -> ir.Table:
    """Keep the lines of the own house, where the log holds those of rivals too.

    Raises
    ------
    ParameterError
        If several sellers are there and ``own_seller`` is not one of them.
    """
    if "seller" not in lines.columns:
        if own_seller is not None:
            raise ParameterError(
                "own_seller", "None where the log has no column 'seller'", own_seller
            )
        return lines
    sellers = sorted(
        str(name) for name in lines.select("seller").distinct().seller.to_pyarrow().to_pylist()
    )
    if own_seller is None and len(sellers) == 1:
        return lines
    if own_seller not in sellers:
        raise ParameterError("own_seller", f"one of the sellers {sellers[:5]}", own_seller)
    return lines.filter(lines.seller == own_seller)
