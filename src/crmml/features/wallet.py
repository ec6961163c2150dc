"""The customer's wallet over a window: the house's share of the spend, and the class it means.

Two kinds of evidence. With a ``seller`` column (panel data) rivals' sales are seen and shares are
facts. Without one the need is *inferred* from the customer's own past peak and from peers, and a
competitor is named only where the customer said so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pandas as pd
from ibis import _

from crmml._typing import MONTHS, Duration, FloatArray, Grain, IntArray
from crmml.card import Shown
from crmml.data.cleaning import is_purchase
from crmml.data.engine import kept
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import MissingColumnsError, ParameterError, TooLittleDataError
from crmml.features.purchases import (
    check_edge,
    fetch,
    insist,
    period_at,
    period_of,
    seconds_at,
    seconds_of,
)
from crmml.features.windows import length_of, read_moment, shifted, start_of_calendar

LOYALTY_CLASSES: tuple[str, ...] = (
    "loyal",
    "split",
    "disloyal",
    "competitor",
    "insufficient",
    "lapsed",
)
"""The classes from the closest bond to none; ordinal measures use this order."""

LoyaltyEvidence: TypeAlias = Literal["panel", "stated", "inferred"]

Enough: TypeAlias = Literal["own", "estimated"]
"""Which occasions must be three where rivals are not seen; see :func:`build_wallet`."""

MIN_OCCASIONS = 3
PEER_WEIGHT = 1.0
"""How many past windows of the customer's own the peers' need weighs."""

_TOLERANCE = 1e-9
_MOST_PAST_WINDOWS = 8
_MOST_STEPS = 8
_WINDOWS_WANTED = 3
_MOST_HAVE = 0.5


@dataclass(frozen=True)
class ReferencePopulation:
    """What is known of a base as a whole, so that one customer can be measured alone.

    Attributes
    ----------
    peak : float
        Mean over customers of their best earlier window's spend.
    peak_occasions : float
        The same of occasions.
    continuation_rate : tuple of float
        Share of the customers with 0, 1, 2, ... past windows (the last entry: or more) who
        bought in the newest one.
    """

    peak: float
    peak_occasions: float
    continuation_rate: tuple[float, ...]

    @classmethod
    def of(cls, n: FloatArray, peak: FloatArray, occasions: FloatArray, now: FloatArray) -> Self:
        """Gather from past windows, best windows and present occasions, each of shape (n,)."""
        known = n > 0
        group = np.minimum(n, _MOST_PAST_WINDOWS).astype(np.int64)
        size = np.bincount(group, minlength=_MOST_PAST_WINDOWS + 1)
        buying = np.bincount(group, now > 0, minlength=_MOST_PAST_WINDOWS + 1)
        # An empty group takes the rate of all.
        rate = np.where(size > 0, buying / np.maximum(size, 1), np.mean(now > 0))
        best, most = (float(np.mean(a[known])) if known.any() else 0.0 for a in (peak, occasions))
        return cls(best, most, tuple(rate.tolist()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "continuation_rate": list(self.continuation_rate)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        # earlier versions wrote the rate under another name
        rate = stored.get("continuation_rate", stored.get("goes_on"))
        if rate is None:
            raise KeyError("continuation_rate")
        return cls(stored["peak"], stored["peak_occasions"], tuple(rate))


@dataclass(frozen=True, repr=False)
class Wallet(Shown):
    """One row per customer (or customer and category) over a window that ends at a cutoff.

    Attributes
    ----------
    frame : DataFrame
        Index ``customer_id`` (or ``customer_id, category``), sorted. Columns:

        ``loyalty_class``
            One of ``LOYALTY_CLASSES``.
        ``loyalty_evidence``
            ``panel``, ``stated`` or ``inferred``.
        ``share``
            The house's share of the customer's spend in the window, 0 to 1; NaN without spend.
        ``rival_share``
            The top rival's share; NaN where rivals are not seen.
        ``occasions``
            Shopping occasions in the category in the window; where rivals are not seen, the
            estimated number (at least those at the house).
        ``spend``
            Net spend at the house in the window.
        ``need``
            The customer's whole spend in the window, seen (panel) or estimated.
        ``need_lower``, ``need_upper``
            Bounds of the need: both the need where it is seen; where it is estimated, the own
            spend (no need beyond it), and the largest of that, the customer's best earlier window
            and the peers'.
        ``share_before``
            The share over all earlier windows; NaN where rivals are not seen.
        ``past_windows``
            How many earlier windows of this length had a purchase at the house.
        ``probability_competitor``
            1 or 0 where the class is seen or stated; where it is inferred, an upper bound on the
            probability that the unseen need is met by a rival (see `build_wallet`).
    opens, closes : Timestamp
        The window is ``[opens, closes)``.
    peers : ReferencePopulation or None
        What the peers' need was taken from; None where rivals are seen.
    """

    frame: pd.DataFrame
    opens: pd.Timestamp
    closes: pd.Timestamp
    peers: ReferencePopulation | None = None

    def __len__(self) -> int:
        return len(self.frame)


def classify_shares(
    share: npt.ArrayLike, rival_share: npt.ArrayLike, occasions: npt.ArrayLike
) -> npt.NDArray[np.object_]:
    """Name the loyalty class of the house's share, the top rival's share and the occasions.

    Parameters
    ----------
    share, rival_share : array-like, shape (n,)
        Between 0 and 1; a rival's share that is not known is NaN and never makes ``competitor``.
    occasions : array-like, shape (n,)
        Category occasions in the window, at least 0.

    Returns
    -------
    ndarray of str, shape (n,)
        ``lapsed`` without an occasion; ``insufficient`` with fewer than 3; then ``loyal`` from
        2/3 on, ``split`` from 1/3 on, ``competitor`` where a rival has at least half, else
        ``disloyal``.

    Examples
    --------
    >>> classify_shares([0.7, 0.5, 0.2, 0.2, 1.0], [0.3, 0.5, 0.6, 0.4, 0.0], [5, 5, 5, 5, 2])
    array(['loyal', 'split', 'competitor', 'disloyal', 'insufficient'], dtype=object)
    """
    return np.array(_NAMES, dtype=object)[_number_shares(share, rival_share, occasions)]


_NAMES = ("lapsed", "insufficient", "loyal", "split", "competitor", "disloyal")


def _number_shares(
    share: npt.ArrayLike, rival_share: npt.ArrayLike, occasions: npt.ArrayLike
) -> IntArray:
    """Return the places of the classes among ``_NAMES``; see :func:`classify_shares`."""
    s, k, n = (np.asarray(a, dtype=np.float64) for a in (share, rival_share, occasions))
    with np.errstate(invalid="ignore"):
        conditions = [
            n <= 0,
            (n < MIN_OCCASIONS) | np.isnan(s),
            s >= 2 / 3 - _TOLERANCE,
            s >= 1 / 3 - _TOLERANCE,
            k >= 1 / 2 - _TOLERANCE,
        ]
    return np.select(conditions, np.arange(5), default=5)


def _texts(names: Sequence[str], place: IntArray) -> Any:
    """Take some of a few texts: one of its own for each customer would take time and memory."""
    return pd.array(list(names), dtype="str").take(place)


def build_wallet(
    tables: Any,
    cutoff: str | pd.Timestamp,
    *,
    length: str | Duration,
    grain: Grain = "day",
    own_seller: str | None = None,
    by_category: bool = False,
    signals: Collection[Any] = (),
    peers: ReferencePopulation | None = None,
    enough: Enough = "own",
) -> Wallet:
    """Measure the wallet of every customer seen before a cutoff over the window that ends there.

    Parameters
    ----------
    tables : Tables, or whatever `open_tables` reads
        Transactions with ``customer_id, timestamp, amount``; panel data also ``seller``.
    cutoff : str or Timestamp
        Exclusive end of the window; later rows are invisible.
    length : str or Duration
        Length of the window, such as ``"13W"``.
    grain : {"hour", "day", "week", "month", "quarter"}
        What counts as one occasion. Of a month or quarter the length is a whole number of them.
    own_seller : str, optional
        The seller that is the own house. Needs a ``seller`` column and makes the evidence
        ``panel``; without it all transactions are the house's and the evidence is ``inferred``.
    by_category : bool
        One row per customer and ``category`` (needs the column) instead of one per customer.
    signals : collection of ids
        Customers who said that they are with a competitor; see :func:`find_signals`. Where the
        share is inferred they are ``competitor`` by evidence that is ``stated``, whatever the
        estimate: it knows what they bought here, and they know where else they buy. Where rivals
        are seen, what is seen decides.
    peers : ReferencePopulation, optional
        Stored at training, so that scoring one customer alone gives what the whole base gives;
        by default taken from the customers at hand. Not used where rivals are seen.
    enough : {"own", "estimated"}
        Where rivals are not seen: a class needs three purchases of the customer's own before the
        cutoff, in the window or earlier; or an estimate of three occasions in the window, as in
        bundles of before version 0.4. Of a panel it needs three occasions in the window.

    Returns
    -------
    Wallet

    Raises
    ------
    MissingColumnsError
        If a needed column is missing.
    TooLittleDataError
        If no transaction lies before the cutoff.

    Notes
    -----
    Where rivals are not seen, the need of a window is ``max(spend, (n peak + w peer) / (n + w))``:
    ``peak`` the customer's best earlier window out of ``n`` with a purchase, ``peer`` the mean
    best window of all customers who have one, ``w = 1``; the occasions of the need likewise. The
    probability of a competitor is ``(1 - share) q``, with ``q`` the share of customers with as
    many past windows who still bought in this one, that is whose need goes on: a bound from
    above, because need that goes on unseen may also be met by nobody.
    """
    spans = Spans.of(_opened(tables), cutoff, length, grain, own_seller, by_category)
    return spans.wallet(0, signals, peers, enough=enough)


def find_signals(
    tables: Tables, cutoff: str | pd.Timestamp, length: str | Duration
) -> frozenset[Any]:
    """Find who said that they go to a competitor: in a survey, or why a contract ended.

    Parameters
    ----------
    tables : Tables
        ``subscriptions`` with an ``end_reason``, and ``interactions`` with ``with_competitor``, may
        be among them. Of a customer's surveys in the window the latest that says so or not counts;
        an end, as long as no later contract has begun.
    cutoff : str or Timestamp
        Exclusive end of the window.
    length : str or Duration
        Length of the window.

    Returns
    -------
    frozenset of ids
        For ``signals`` of :func:`build_wallet`; empty where nobody said so.
    """
    closes = read_moment(cutoff, "cutoff")
    opens = shifted(closes, length, -1)
    said: set[Any] = set()
    ends = tables.get("subscriptions")
    if ends is not None and {"ended_at", "end_reason"} <= set(ends.columns):
        known = ends.filter(ends.started_at < closes)
        known = known.mutate(
            newest=known.started_at.max().over(ibis.window(group_by="customer_id"))
        )
        within = (_.ended_at >= opens) & (_.ended_at < closes) & (_.started_at == _.newest)
        gone = known.filter(within, _.end_reason == "competitor")
        said |= {*fetch(gone.select("customer_id").distinct())["customer_id"].tolist()}
    rows = tables.get("interactions")
    if rows is not None and "with_competitor" in rows.columns:
        within = (rows.timestamp >= opens) & (rows.timestamp < closes)
        told = rows.filter(within & (rows.kind == "survey") & rows.with_competitor.notnull())
        latest = told.timestamp.max().over(ibis.window(group_by="customer_id"))
        told = told.mutate(latest=latest).filter(_.timestamp == _.latest, _.with_competitor)
        said |= {*fetch(told.select("customer_id").distinct())["customer_id"].tolist()}
    return frozenset(said)


def rolling_wallets(
    tables: Any,
    cutoff: str | pd.Timestamp,
    *,
    length: str | Duration,
    step: str | Duration | None = None,
    grain: Grain = "day",
    own_seller: str | None = None,
    by_category: bool = False,
    signals: Collection[Any] = (),
    most: int = 8,
) -> list[Wallet]:
    """Measure the windows that end at successive cutoffs and lie wholly in the data, oldest first.

    Parameters
    ----------
    tables, cutoff, length, grain, own_seller, by_category
        As for :func:`build_wallet`; ``cutoff`` ends the newest window.
    step : str or Duration, optional
        From one cutoff to the next; shorter than the length, windows overlap. By default the
        length: they follow each other.
    signals : collection of ids
        Used in the newest window only: when an earlier one was said is not known.
    most : int
        At most this many windows, the newest; at least 1.

    Returns
    -------
    list of Wallet
        Empty if the data are shorter than one window.
    """
    if most < 1:
        raise ParameterError("most", "at least 1", most)
    opened = _opened(tables)
    room = _room(opened, cutoff, length, length if step is None else step, grain, most)
    if room < 1:
        return []
    spans = Spans.of(opened, cutoff, length, grain, own_seller, by_category, step)
    with spans.kept() as held:
        return [held.wallet(k, signals if k == 0 else (), None) for k in range(room - 1, -1, -1)]


def _room(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    length: str | Duration,
    step: str | Duration,
    grain: Grain,
    most: int,
) -> int:
    """Count the cutoffs, a step apart, whose windows lie wholly in the data."""
    closes = read_moment(cutoff, "cutoff")
    begins = start_of_calendar(tables.first_timestamp, grain)
    room = 0
    while room < most and shifted(shifted(closes, step, -room), length, -1) >= begins:
        room += 1
    return room


@dataclass(frozen=True)
class WindowChoice:
    """The length of loyalty's window that the data ask for.

    Attributes
    ----------
    length : str
        A whole number of steps.
    reason : str
        Why, with the figures.
    """

    length: str
    reason: str


def choose_window(
    tables: Any,
    cutoff: str | pd.Timestamp,
    *,
    step: str | Duration,
    grain: Grain = "day",
    own_seller: str | None = None,
) -> WindowChoice:
    """Choose the shortest window in which most active customers have three occasions.

    Windows of 1 to 8 steps are looked at, as far as the data hold three successive cutoffs (to
    learn from and to judge on) and, where the need is inferred, one whole window before the
    newest, from which it is estimated. Where most have three in none of these, it is the longest.

    Parameters
    ----------
    tables, cutoff, grain, own_seller
        As for :func:`build_wallet`.
    step : str or Duration
        From one cutoff to the next.

    Returns
    -------
    WindowChoice
    """
    opened, stride = _opened(tables), Duration.parse(step)
    fits = [1]
    for n in range(2, _MOST_STEPS + 1):
        length = Duration(n * stride.number, stride.unit)
        windows = _room(opened, cutoff, length, stride, grain, _WINDOWS_WANTED)
        whole = own_seller is not None or _room(opened, cutoff, length, length, grain, 2) == 2
        fits += [n] if windows == _WINDOWS_WANTED and whole else []
    spans = Spans.of(opened, cutoff, stride, grain, own_seller, False)
    counts = spans.count_active(max(fits)).loc[fits]
    shares = counts["enough"] / counts["active"].clip(lower=1)
    reached = shares.index[shares >= _MOST_HAVE]
    n = int(reached[0] if len(reached) else fits[-1])
    length = Duration(n * stride.number, stride.unit)
    told = (
        f"loyalty looks back {length}: {shares.loc[n]:.0%} of {counts['active'].loc[n]:,} active "
        f"customers have {MIN_OCCASIONS} occasions in it"
    )
    if not len(reached):
        told += "; most have not, and the data carry no longer window"
    return WindowChoice(str(length), told)


def _cells(length: Duration, step: Duration) -> tuple[Duration, int, int]:
    """Return the longest common piece of two durations, and how many of it each holds."""
    if {length.unit, step.unit} & set(MONTHS):
        if not {length.unit, step.unit} <= set(MONTHS):
            raise ParameterError("step", f"in months or quarters, like {length}", str(step))
        whole = [int(one.number) * MONTHS[one.unit] for one in (length, step)]
        piece = math.gcd(*whole)
        return Duration(piece, "month"), whole[0] // piece, whole[1] // piece
    whole = [round(length_of(one).total_seconds()) for one in (length, step)]
    piece = math.gcd(*whole)
    return Duration(piece / 3600, "hour"), whole[0] // piece, whole[1] // piece


def _cells_back(
    timestamp: ir.TimestampValue, closes: pd.Timestamp, length: Duration
) -> ir.IntegerValue:
    """Write in which cell a line lies, 0 for the one ``[closes - length, closes)``."""
    if length.unit == "month" or length.unit == "quarter":
        last = period_at(closes - pd.Timedelta(microseconds=1), length.unit)
        return (last - period_of(timestamp, length.unit)) // int(length.number)
    step, day = length_of(length), pd.Timedelta(days=1)
    if closes == closes.normalize() and step % day == pd.Timedelta(0):
        # Whole days say it too, and cost an engine a fifth of the seconds.
        return (period_at(closes, "day") - 1 - period_of(timestamp, "day")) // (step // day)
    return (seconds_at(closes) - seconds_of(timestamp) - 1) // int(step.total_seconds())


def _opened(tables: Any) -> Tables:
    return tables if isinstance(tables, Tables) else open_tables(tables)


@dataclass(frozen=True)
class Spans:
    """Spend and occasions of each customer in each cell of time, counted back from a cutoff.

    A cell is the longest piece of which both a window and a step between cutoffs are whole
    multiples. Cells do not overlap, so windows that do are sums of them.
    """

    spend: Any
    """Ibis table: keys, ``cell`` (0 is the newest), ``spend`` and, of a panel, ``seller``, else
    ``occasions``."""
    occasions: Any
    """Ibis table of a panel: keys, ``cell``, ``occasions``; else None."""
    keys: list[str]
    closes: pd.Timestamp
    length: Duration
    step: Duration
    cells: tuple[int, int]
    """Of a window, and of a step."""
    own_seller: str | None
    lines: Any = None
    """Ibis table of the lines, with ``cell`` and ``occasion``; None where rivals are seen."""

    @classmethod
    def of(
        cls,
        tables: Tables,
        cutoff: str | pd.Timestamp,
        length: str | Duration,
        grain: Grain,
        own_seller: str | None,
        by_category: bool,
        step: str | Duration | None = None,
        among: Collection[str] | None = None,
    ) -> Spans:
        """Write them as expressions; see :func:`build_wallet` and :func:`rolling_wallets`.

        Categories not in ``among``, and lines without one, are put together under ``""``.
        """
        closes, lines = read_moment(cutoff, "cutoff"), tables.transactions
        span = Duration.parse(length)
        stride = span if step is None else Duration.parse(step)
        cell, *cells = _cells(span, stride)
        check_edge(closes, grain, "cutoff")
        check_edge(shifted(closes, span, -1), grain, "start of the window")
        check_edge(shifted(closes, stride, -1), grain, "cutoff one step earlier")
        keys = ["customer_id", "category"] if by_category else ["customer_id"]
        seller = ["seller"] if own_seller is not None else []
        missing = [name for name in (*keys, *seller) if name not in lines.columns]
        if missing:
            raise MissingColumnsError(missing, lines.columns, table="transactions")
        seen = lines.filter(lines.timestamp < closes)
        if among is not None:
            known = seen.category.isin(list(among)) if among else ibis.literal(False)
            seen = seen.mutate(category=known.fill_null(False).ifelse(seen.category, ""))
        timed = seen.mutate(
            cell=_cells_back(seen.timestamp, closes, cell),
            occasion=period_of(seen.timestamp, grain),
        )
        past = timed.mutate(occasion=is_purchase(timed).ifelse(timed.occasion, ibis.null("int64")))
        more = (keys, closes, span, stride, (cells[0], cells[1]), own_seller)
        if not seller:
            # Periods first: one pass over the lines, and occasions are counted, not gathered.
            days = past.group_by([*keys, "cell", "occasion"]).aggregate(spend=_.amount.sum())
            spend = days.group_by([*keys, "cell"]).aggregate(
                spend=_.spend.sum(), occasions=_.occasion.count()
            )
            return cls(spend, None, *more, lines=timed)
        spend = past.group_by([*keys, *seller, "cell"]).aggregate(spend=_.amount.sum())
        occasions = past.group_by([*keys, "cell"]).aggregate(occasions=_.occasion.nunique())
        return cls(spend, occasions, *more)

    def cell_of(self, timestamp: ir.TimestampValue) -> ir.IntegerValue:
        """Write the cell of a line from its timestamp."""
        cell, *_ = _cells(self.length, self.step)
        return insist(_cells_back(timestamp, self.closes, cell), "int32")

    @contextmanager
    def kept(self) -> Iterator[Spans]:
        """Compute once, in the engine, what several windows need."""
        with kept(self.spend) as spend:
            if self.occasions is None:
                yield replace(self, spend=spend)
                return
            with kept(self.occasions) as occasions:
                yield replace(self, spend=spend, occasions=occasions)

    def query(self, k: int = 0) -> Any:
        """Ask for the window that closes ``k`` steps before the newest, a row per key."""
        per_window, per_step = self.cells
        late = k * per_step

        def windowed(table: Any) -> Any:
            window = ((table.cell - late) // per_window).cast("int64")
            return table.filter(table.cell >= late).mutate(window=window)

        spend = windowed(self.spend)
        if self.own_seller is not None:
            return _seen(spend, windowed(self.occasions), self.keys, self.own_seller)
        if per_window > 1:
            spend = spend.group_by([*self.keys, "window"]).aggregate(
                spend=_.spend.sum(), occasions=_.occasions.sum()
            )
        return _own(spend, self.keys)

    def count_active(self, most: int) -> pd.DataFrame:
        """Count who is active in the newest 1, 2, ... cells, and who has three occasions there.

        Returns
        -------
        DataFrame
            Indexed by the number of cells; ``active`` and ``enough`` customers.
        """
        table = self.spend if self.occasions is None else self.occasions
        n = {f"n{k}": _.occasions.sum(where=_.cell < k).fill_null(0) for k in range(1, most + 1)}
        rows = table.group_by(self.keys).aggregate(**n)
        sums = {}
        for name in n:
            sums[f"active_{name}"] = (rows[name] > 0).sum().fill_null(0)
            sums[f"enough_{name}"] = (rows[name] >= MIN_OCCASIONS).sum().fill_null(0)
        found = rows.aggregate(**sums).to_pyarrow().to_pylist()[0]
        counts = {
            what: [int(found[f"{what}_{name}"]) for name in n] for what in ("active", "enough")
        }
        return pd.DataFrame(counts, index=pd.RangeIndex(1, most + 1))

    def wallet(
        self,
        k: int,
        signals: Collection[Any],
        peers: ReferencePopulation | None,
        frame: pd.DataFrame | None = None,
        enough: Enough = "own",
    ) -> Wallet:
        """Measure that window, from the answer to its query where that is at hand."""
        closes = shifted(self.closes, self.step, -k)
        if frame is None:
            frame = fetch(self.query(k), self.keys)
        if frame.empty:
            raise TooLittleDataError(f"no transaction lies before the cutoff {closes.date()}")
        if self.own_seller is None:
            peers = peers or _peers(frame)
            columns = _inferred(frame, peers, signals, enough)
        else:
            columns, peers = _panel(frame), None
        index = (
            pd.MultiIndex.from_frame(frame[self.keys])
            if len(self.keys) > 1
            else pd.Index(frame["customer_id"], name="customer_id")
        )
        columns["past_windows"] = frame["past_windows"].to_numpy()
        opens = shifted(closes, self.length, -1)
        return Wallet(pd.DataFrame(columns).set_index(index), opens, closes, peers)


def _own(spend: Any, keys: list[str]) -> Any:
    """Spend and occasions at the house, now and in the best earlier window."""
    now, before = _.window == 0, _.window > 0
    return spend.group_by(keys).aggregate(
        spend=_.spend.sum(where=now).cast("float64").fill_null(0.0),
        occasions=_.occasions.sum(where=now).fill_null(0),
        peak=_.spend.max(where=before).cast("float64").fill_null(0.0),
        peak_occasions=_.occasions.max(where=before).fill_null(0),
        past_windows=_.count(where=before & (_.occasions > 0)),
        all_occasions=_.occasions.sum(),
    )


def _seen(spend: Any, occasions: Any, keys: list[str], own_seller: str) -> Any:
    """Spend at the house, at the top rival and in all, now and before."""
    # Money stays decimal to the end: sums of floats would depend on the order of the rows.
    sellers = spend.group_by([*keys, "seller"]).aggregate(
        now=_.spend.sum(where=_.window == 0),
        before=_.spend.sum(where=_.window > 0),
        past_windows=_.window.nunique(where=_.window > 0),
    )
    own = _.seller == own_seller
    money = {
        "spend": _.now.sum(where=own),
        "rival": _.now.max(where=~own),
        "total": _.now.sum(),
        "spend_before": _.before.sum(where=own),
        "total_before": _.before.sum(),
    }
    shares = sellers.group_by(keys).aggregate(
        past_windows=_.past_windows.sum(where=own).fill_null(0),
        **{name: value.cast("float64").fill_null(0.0) for name, value in money.items()},
    )
    visits = occasions.group_by(keys).aggregate(
        occasions=_.occasions.sum(where=_.window == 0).fill_null(0)
    )
    return shares.join(visits, keys)


def _panel(frame: pd.DataFrame) -> dict[str, Any]:
    total = frame["total"].to_numpy()
    share, rival = (_ratio(frame[name].to_numpy(), total) for name in ("spend", "rival"))
    before = _ratio(frame["spend_before"].to_numpy(), frame["total_before"].to_numpy())
    names = classify_shares(share, rival, frame["occasions"])
    unknown = np.isin(names, ["insufficient", "lapsed"])
    return {
        "loyalty_class": names,
        "loyalty_evidence": "panel",
        "share": share,
        "rival_share": rival,
        "occasions": frame["occasions"].to_numpy(dtype=np.float64),
        "spend": frame["spend"].to_numpy(),
        "need": total,
        "need_lower": total,
        "need_upper": total,
        "share_before": before,
        "probability_competitor": np.where(unknown, np.nan, names == "competitor"),
    }


def _peers(frame: pd.DataFrame) -> ReferencePopulation:
    names = ("past_windows", "peak", "peak_occasions", "occasions")
    return ReferencePopulation.of(*(frame[name].to_numpy(dtype=np.float64) for name in names))


def _inferred(
    frame: pd.DataFrame, peers: ReferencePopulation, signals: Collection[Any], enough: Enough
) -> dict[str, Any]:
    n = frame["past_windows"].to_numpy(dtype=np.float64)
    spend = np.maximum(frame["spend"].to_numpy(), 0.0)
    own_occasions = frame["occasions"].to_numpy(dtype=np.float64)
    peak_occasions = frame["peak_occasions"].to_numpy(dtype=np.float64)
    need = np.maximum(spend, _shrunk(frame["peak"].to_numpy(), n, peers.peak))
    occasions = np.maximum(own_occasions, _shrunk(peak_occasions, n, peers.peak_occasions))
    share = _ratio(spend, need)
    evidence = occasions
    if enough == "own":  # a need is an estimate; three purchases are a fact
        evidence = frame["all_occasions"].to_numpy(dtype=np.float64)
    classes = _number_shares(share, np.full(len(frame), np.nan), evidence)
    classes[own_occasions == 0] = _NAMES.index("lapsed")
    said = frame["customer_id"].isin(list(signals)).to_numpy()
    classes[said] = _NAMES.index("competitor")
    rate = np.asarray(peers.continuation_rate)[np.minimum(n, _MOST_PAST_WINDOWS).astype(np.int64)]
    probability = np.where(evidence >= MIN_OCCASIONS, (1 - share) * rate, np.nan)
    return {
        "loyalty_class": _texts(_NAMES, classes),
        "loyalty_evidence": _texts(("inferred", "stated"), said.astype(np.intp)),
        "share": share,
        "rival_share": np.nan,
        "occasions": occasions,
        "spend": frame["spend"].to_numpy(),
        "need": need,
        "need_lower": spend,
        "need_upper": np.maximum(need, np.maximum(frame["peak"].to_numpy(), peers.peak)),
        "share_before": np.nan,
        "probability_competitor": np.where(said, 1.0, probability),
    }


def _shrunk(peak: FloatArray, n: FloatArray, peer: float) -> FloatArray:
    """Draw the own best window towards the peers', the more the fewer windows there were."""
    return np.asarray((n * np.maximum(peak, 0.0) + PEER_WEIGHT * peer) / (n + PEER_WEIGHT))


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Part of a whole between 0 and 1; NaN where the whole is not positive."""
    safe = np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, np.clip(part / safe, 0.0, 1.0), np.nan)
