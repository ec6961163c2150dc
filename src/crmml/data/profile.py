"""What a transaction log is: its span, its buyers, its gaps, and what it can carry."""

from __future__ import annotations

import calendar
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from crmml._typing import MONTHS, Duration, Grain
from crmml.card import Card, Result
from crmml.data.cleaning import CleaningReport, is_purchase
from crmml.data.engine import kept
from crmml.data.schema import TABLES
from crmml.data.sections import TableProfile, opened, profile_tables
from crmml.data.tables import Tables
from crmml.data.times import grain_of_days
from crmml.exceptions import TooLittleDataError
from crmml.stats.discounting import in_units
from crmml.stats.entry import Entry, judge_entry

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
FEW_REPEATS = 0.03
"""Share of buyers who bought on a second day below which there is hardly a repeat to learn from."""
ENOUGH_BUYERS = 30
"""Buyers from which that share says something."""
HORIZONS = (4, 8, 13, 26, 39, 52)
"""Outcome windows that are tried, weeks."""


@dataclass(frozen=True, eq=False, repr=False)
class Profile(Result):
    """A transaction log in plain values and small tables.

    A purchase is a day on which a customer has a purchase line.

    Attributes
    ----------
    first, last : Timestamp
        First and last day with a purchase.
    weeks : float
        Length of the data, weeks.
    rows, customers, buyers, purchases : int
        Cleaned lines; customers with any line; those with a purchase; purchases.
    described_share : float or None
        Share of them that ``customers`` describes; None without that table.
    currency : str or None
        The one currency, where the data name it.
    revenue, returned : float
        Sums of the positive and of the negative lines, currency (``returned`` is >= 0).
    return_rows, zero_rows : int
        Lines with a negative amount and with amount zero.
    one_time_share : float
        Share of buyers with a single purchase.
    purchases_per_customer : Series
        Quantiles and maximum over buyers.
    days_between_purchases : Series
        Quantiles and maximum over all pairs of successive purchases of a customer; empty where
        nobody bought twice.
    silent_days, longest_silence : int
        Days without any purchase between the first and the last; longest run of them.
    silence_from : Timestamp or None
        First day of that run.
    closed_weekdays : tuple of str
        Weekdays on which nobody ever buys.
    entry : Entry
        Whether the base is older than the data.
    last_newcomer : Timestamp
        Day on which the last customer was first seen.
    monthly : DataFrame
        Per calendar month: ``purchases``, ``new_customers``.
    season : float or None
        Purchases per day of the strongest calendar month over the mean month: whole months only,
        at least twelve of them, and not of a closed cohort.
    season_month : int or None
        That month, 1 to 12.
    windows : DataFrame
        ``weeks`` and ``windows``: how many outcome windows of that length fit side by side after
        the history that is asked for.
    additions : DataFrame
        ``table``, ``column`` (null for a table as a whole), ``present`` and ``adds``.
    sections : tuple of TableProfile
        The other tables.
    report : CleaningReport
        What the policies did.
    reach : str
        What can be fitted and what cannot, and which one column more would bring most.
    counted : bool
        Whether the log has no amounts, so that revenue is a number of purchases.
    dated_by : str or None
        ``month`` or ``quarter`` where all dates are the first or last day of one, and the grain is
        a shorter one.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    weeks: float
    rows: int
    customers: int
    buyers: int
    purchases: int
    described_share: float | None
    currency: str | None
    revenue: float
    returned: float
    return_rows: int
    zero_rows: int
    one_time_share: float
    purchases_per_customer: pd.Series[float]
    days_between_purchases: pd.Series[float]
    silent_days: int
    longest_silence: int
    silence_from: pd.Timestamp | None
    closed_weekdays: tuple[str, ...]
    entry: Entry
    last_newcomer: pd.Timestamp
    monthly: pd.DataFrame
    season: float | None
    season_month: int | None
    windows: pd.DataFrame
    additions: pd.DataFrame
    sections: tuple[TableProfile, ...]
    report: CleaningReport
    reach: str = ""
    counted: bool = False
    dated_by: str | None = None

    def to_pandas(self) -> pd.DataFrame:
        """Return purchases and new customers by month."""
        return self.monthly.copy()

    def _card(self) -> Card:
        money = f"{self.revenue:,.2f} {self.currency or ''}".strip()
        rows = (
            ("span", f"{self.first.date()} to {self.last.date()}, {self.weeks:.1f} weeks"),
            ("purchases", f"{self.purchases:,} by {self.buyers:,} of {self.customers:,} customers"),
            ("revenue", "not known: purchases are counted" if self.counted else money),
            ("bought once only", f"{self.one_time_share:.1%}"),
            ("base", f"{self.entry.base.replace('_', ' ')}: {self.entry.sentence}"),
            ("reach", self.reach),
        )
        return Card(f"Profile of {self.rows:,} order lines", rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; of the months and tables only what the screen shows."""
        plain = {
            name: getattr(self, name)
            for name in (
                *("weeks", "rows", "customers", "buyers", "purchases", "described_share"),
                *("currency", "revenue", "returned", "return_rows", "zero_rows"),
                *("one_time_share", "silent_days", "longest_silence", "season", "season_month"),
                *("reach", "counted"),
            )
        }
        return plain | {
            "first": str(self.first.date()),
            "last": str(self.last.date()),
            "base": self.entry.base,
            "purchases_per_customer": {str(q): v for q, v in self.purchases_per_customer.items()},
            "days_between_purchases": {str(q): v for q, v in self.days_between_purchases.items()},
            "closed_weekdays": list(self.closed_weekdays),
            "windows": dict(
                zip(self.windows["weeks"].map(str), self.windows["windows"].tolist(), strict=True)
            ),
            "cleaning": self.report.to_dict(),
            "remarks": self.remarks(),
        }

    def remarks(self) -> list[str]:
        """Return what a careful colleague would point out, a sentence each."""
        said = list(self.report.notes)
        entry = self.entry
        if entry.base == "left_censored":
            said.append(
                f"{entry.sentence}; let mbg_nbd_left_censored compete in backtest.candidates"
            )
        if entry.base == "closed_cohort":
            said.append(
                f"a closed cohort: nobody was first seen after {self.last_newcomer:%Y-%m-%d}, so "
                "acquisition cannot be studied"
                if entry.new_later == 0
                else f"{entry.sentence}; acquisition can hardly be studied"
            )
        if self.described_share is not None and self.described_share < 1:
            said.append(
                f"the table customers describes {self.described_share:.0%} of the customers who "
                "have transactions"
            )
        said.append(f"{self.one_time_share:.0%} of buyers bought once")
        if self.report.rounded_amounts:
            said.append(
                f"{self.report.rounded_amounts:,} amounts had more than two decimals and were "
                f"rounded, {self.report.rounding_total:+.2f} in all"
            )
        typical = self.days_between_purchases.get(0.5)
        if self.dated_by is not None:
            said.append(
                f"all dates are the first or the last day of a {self.dated_by}: where they stand "
                f"for all of it, write snapshot.grain: {self.dated_by}"
            )
        elif self.longest_silence >= 7:
            said.append(
                f"nobody bought on {self.longest_silence} days in a row from "
                f"{self.silence_from:%Y-%m-%d}: is data missing?"
            )
        if self.closed_weekdays and self.dated_by is None:
            said.append(f"there is no trade on {', '.join(self.closed_weekdays)}")
        if self.season is not None and self.season >= 1.25:
            month = calendar.month_name[self.season_month or 1]
            years = self.weeks * 7 / 365.25
            told = "seen in two years or more" if years >= 2 else "less than two years, so no proof"
            said.append(
                f"{month} has {self.season:.2f} times the purchases of a mean month ({told})"
            )
        if typical is not None:
            fitting = self.windows.loc[self.windows["windows"] > 0, "weeks"]
            longest = f"{int(fitting.max())} weeks" if len(fitting) else "none of those tried"
            said.append(
                f"half of all repeat purchases come within {typical:.0f} days of the one before; "
                f"the longest outcome window that fits: {longest}"
            )
        return said


def compute_profile(
    tables: Tables,
    *,
    history: str | Duration = "26W",
    horizon: str | Duration = "13W",
    grain: Grain = "day",
) -> Profile:
    """Describe the transactions; every count is done in the engine.

    Parameters
    ----------
    tables : Tables
        As :func:`crmml.data.tables.open_tables` returns them.
    history : duration, default "26W"
        What must lie before the first outcome window.
    horizon : duration, default "13W"
        Length of the outcome window.
    grain : str, default "day"
        Of a month or quarter a date stands for the whole of it.

    Raises
    ------
    TooLittleDataError
        If no line is a purchase.
    """
    lines = opened(tables)["transactions"]
    totals = _totals(lines)
    with kept(_days_of(lines)) as visits:
        histories = visits.group_by("customer_id").agg(n=visits.count(), first=visits.day.min())
        with kept(histories) as people:
            counts = _counts(people.group_by(value=people.n).agg(n=people.count()))
            daily = _daily(visits, people)
        gaps = _counts(_gaps(visits))
    if daily.empty:
        raise TooLittleDataError(
            f"there must be at least one purchase; all {totals['rows']:,} lines are returns"
        )
    spans = _spans(daily, grain)
    weeks = spans["days"].sum() / 7.0
    silent, longest, since = _silence(spans)
    entry = _entry(spans)
    season, month = _season(spans, entry)
    return Profile(
        first=daily.index[0],
        last=daily.index[-1],
        weeks=weeks,
        rows=totals["rows"],
        customers=totals["customers"],
        buyers=int(counts.sum()),
        purchases=int(daily["purchases"].sum()),
        described_share=_described(tables, totals["customers"]),
        currency=tables.currency,
        revenue=float(totals["revenue"] or 0),
        returned=abs(float(totals["returned"] or 0)),
        return_rows=totals["return_rows"],
        zero_rows=totals["zero_rows"],
        one_time_share=float(counts.get(1, 0) / counts.sum()),
        purchases_per_customer=_quantiles(counts),
        days_between_purchases=_quantiles(gaps),
        silent_days=silent,
        longest_silence=longest,
        silence_from=since,
        closed_weekdays=_closed_weekdays(daily, grain),
        entry=entry,
        last_newcomer=daily.index[daily["new_customers"] > 0][-1],
        monthly=daily.groupby(_dates(daily).to_period("M")).sum(),
        season=season,
        season_month=month,
        windows=_windows(weeks, Duration.parse(history)),
        additions=list_additions(tables),
        sections=profile_tables(tables),
        report=tables.report,
        counted=_is_counted(tables),
        reach=_reach(lines.columns, weeks, float(counts.get(1, 0) / counts.sum()),
                     Duration.parse(history), Duration.parse(horizon), _is_counted(tables)),
        dated_by=_dated_by(daily, grain),
    )  # fmt: skip


def _days_of(lines: ir.Table) -> ir.Table:
    """Return the days on which each customer bought."""
    bought = lines.filter(is_purchase(lines))
    return bought.select("customer_id", day=bought.timestamp.cast("date")).distinct()


def _is_counted(tables: Tables) -> bool:
    how = tables.facts("transactions").reading
    return bool(how.get("without_amounts")) and not how.get("amount_per_purchase")


def count_buyers(tables: Tables) -> tuple[int, float]:
    """Return the number of buyers, and the share of them that bought on one day only."""
    lines = tables.transactions
    days = _days_of(lines)
    each = days.group_by("customer_id").agg(n=days.count())
    found = each.aggregate(n=each.count(), once=(each.n == 1).sum()).to_pyarrow().to_pylist()[0]
    return found["n"], (found["once"] or 0) / max(found["n"], 1)


def refuse_few_repeats(buyers: int, one_time_share: float, choice: str) -> None:
    """Refuse a log in which hardly any customer bought twice, unless told to go on.

    Parameters
    ----------
    buyers : int
        Customers with a purchase.
    one_time_share : float
        Share of them with one only.
    choice : {"error", "keep"}
        The setting ``data.few_repeats``.

    Raises
    ------
    TooLittleDataError
        If so.

    Examples
    --------
    >>> refuse_few_repeats(1000, 0.86, "error")
    >>> refuse_few_repeats(1000, 0.999, "error")
    Traceback (most recent call last):
        ...
    crmml.exceptions.TooLittleDataError: customers must come back for anything to be learned from
    them, but of 1,000 buyers only 1 (0.1%) bought on a second day: hardly any repeat; if
    customer_id holds the number of an order or a session, name the customer instead, else set
    data.few_repeats: keep to go on
    """
    if choice == "keep" or buyers < ENOUGH_BUYERS or 1 - one_time_share >= FEW_REPEATS:
        return
    repeat = round(buyers * (1 - one_time_share))
    raise TooLittleDataError(
        f"customers must come back for anything to be learned from them, but of {buyers:,} buyers "
        f"only {repeat:,} ({1 - one_time_share:.1%}) bought on a second day: hardly any repeat; if "
        "customer_id holds the number of an order or a session, name the customer instead, else "
        "set data.few_repeats: keep to go on"
    )


_GAINS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("margin", "cost"), "value in profit, where now one assumed margin holds for all"),
    (("seller", "category"), "classes of loyalty that are seen and not inferred"),
    (("product_id",), "products told apart, and duplicates from repeats"),
    (("channel",), "the mix of channels"),
)
"""Columns in the order of what they bring, any of each group."""


def _reach(
    columns: Collection[str],
    weeks: float,
    once: float,
    history: Duration,
    horizon: Duration,
    counted: bool,
) -> str:
    """Say what can be fitted and what cannot, and which column more would bring most."""
    before, one = in_units(history, "week"), in_units(horizon, "week")
    tests = max(0, int((weeks - before) / one + 1e-9))
    learned = max(0, int((weeks - one) / one + 1e-9))
    can, cannot = [], []
    if tests:
        plural = "s" if tests > 1 else ""
        what = "purchases" if counted else "purchases, value and tiers"
        can.append(f"{what}, judged on {tests} window{plural} of {horizon}")
    else:
        needed = f"{before + one:g} weeks are needed and there are {weeks:.1f}"
        cannot.append(f"any model, as {needed} (shorten backtest.min_history or outcome.horizon)")
    if learned >= 2 and tests:
        can.append("churn")
    elif tests:
        cannot.append(f"churn learned by trees, for which {3 * one:g} weeks are needed")
    if once > 0.9:
        cannot.append(f"much about repeats, as {once:.0%} bought once only")
    gains = _GAINS
    if counted:
        cannot.append("money and actions, as there are no amounts (or set value.per_purchase)")
        gains = ((("amount",), "revenue, value in money and actions"),)
        columns = ()
    more = next(((names, gain) for names, gain in gains if not set(names) & set(columns)), None)
    parts = [f"can be fitted: {', '.join(can) or 'nothing yet'}"]
    parts += [f"cannot: {'; '.join(cannot)}"] if cannot else []
    parts += [f"a column {' or '.join(more[0])} would bring most: {more[1]}"] if more else []
    return "; ".join(parts)


def _totals(lines: ir.Table) -> dict[str, Any]:
    zero = ibis.literal(0).cast(lines.amount.type())
    found: dict[str, Any] = (
        lines.aggregate(
            rows=lines.count(),
            customers=lines.customer_id.nunique(),
            revenue=ibis.ifelse(lines.amount > 0, lines.amount, zero).sum(),
            returned=ibis.ifelse(lines.amount < 0, lines.amount, zero).sum(),
            return_rows=(lines.amount < 0).sum(),
            zero_rows=(lines.amount == 0).sum(),
        )
        .to_pyarrow()
        .to_pylist()[0]
    )
    return found


def _described(tables: Tables, n_customers: int) -> float | None:
    people = opened(tables).get("customers")
    if people is None:
        return None
    ids = opened(tables)["transactions"].select("customer_id").distinct()
    return int(ids.semi_join(people, "customer_id").count().execute()) / n_customers


def _daily(visits: ir.Table, people: ir.Table) -> pd.DataFrame:
    """One row per day from the first to the last: ``purchases`` and ``new_customers``."""
    bought = visits.group_by("day").agg(purchases=visits.count()).to_pandas()
    new = people.group_by(day=people["first"]).agg(new_customers=people.count()).to_pandas()
    frame: pd.DataFrame = bought.merge(new, on="day", how="left")
    frame = frame.set_index(pd.DatetimeIndex(frame.pop("day"), name="day")).sort_index()
    if frame.empty:
        return frame
    days = pd.date_range(frame.index[0], frame.index[-1], freq="D", name="day")
    return frame.reindex(days).fillna(0).astype("int64")


def _dates(daily: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(daily.index)


def _gaps(visits: ir.Table) -> ir.Table:
    """Return how often each number of days lies between successive purchases of a customer."""
    ordered = ibis.window(group_by="customer_id", order_by="day")
    before = visits.day.lag().over(ordered)
    gaps = visits.select(value=visits.day.delta(before, unit="day")).filter(ibis._.value.notnull())
    return gaps.group_by("value").agg(n=gaps.count())


def _counts(table: ir.Table) -> pd.Series[int]:
    """Return how often each whole number occurs, sorted by it."""
    frame = table.to_pandas().sort_values("value")
    return pd.Series(frame["n"].to_numpy("int64"), index=frame["value"].to_numpy("int64"))


def _quantiles(counts: pd.Series[int]) -> pd.Series[float]:
    """Return exact quantiles (the smallest value that so many do not exceed) and the maximum."""
    if counts.empty:
        return pd.Series(dtype="float64")
    reached = counts.cumsum().to_numpy()
    at = np.searchsorted(reached, np.asarray([*QUANTILES, 1.0]) * reached[-1])
    values = counts.index.to_numpy("float64")[np.minimum(at, len(counts) - 1)]
    return pd.Series(values, index=[*QUANTILES, 1.0])


def _spans(daily: pd.DataFrame, grain: Grain) -> pd.DataFrame:
    """Return the same sums by day, or by months or quarters, and the ``days`` of each."""
    if grain not in MONTHS:
        return daily.assign(days=1)
    spans = daily.groupby(_dates(daily).to_period(grain[0].upper())).sum()
    calendar_days = pd.PeriodIndex(spans.index)
    lengths = (calendar_days.end_time.normalize() - calendar_days.start_time).days + 1
    return spans.set_index(calendar_days.start_time).assign(days=np.asarray(lengths))


def _silence(spans: pd.DataFrame) -> tuple[int, int, pd.Timestamp | None]:
    silent = spans["purchases"] == 0
    if not silent.any():
        return 0, 0, None
    days = spans["days"].where(silent, 0)
    runs = days.groupby((~silent).cumsum()).sum()
    longest = int(runs.max())
    # a run is numbered by the trading day before it
    start = spans.index[(~silent).cumsum() == runs.idxmax()][1]
    return int(days.sum()), longest, start


def _dated_by(daily: pd.DataFrame, grain: Grain) -> str | None:
    if grain in MONTHS:
        return None
    return grain_of_days(_dates(daily)[daily["purchases"].to_numpy() > 0])


def _closed_weekdays(daily: pd.DataFrame, grain: Grain) -> tuple[str, ...]:
    if len(daily) < 8 * 7 or grain in MONTHS:
        return ()
    sums = daily["purchases"].groupby(_dates(daily).day_of_week).sum()
    return tuple(calendar.day_name[day] for day in sums.index[sums == 0])


def _entry(spans: pd.DataFrame) -> Entry:
    ends = np.cumsum(spans["days"].to_numpy("float64"))
    new, bought = (spans[name].to_numpy("float64") for name in ("new_customers", "purchases"))
    return judge_entry((0.0, float(ends[-1])), np.r_[0.0, ends[:-1]], ends, new, bought)


def _season(spans: pd.DataFrame, entry: Entry) -> tuple[float | None, int | None]:
    """Return purchases per day of the strongest calendar month over the mean one, and which."""
    months = spans.groupby(_dates(spans).to_period("M"))[["purchases", "days"]].sum()
    whole = months["days"] == pd.PeriodIndex(months.index).days_in_month
    per_day = (months["purchases"] / months["days"])[whole]
    # the decline of a closed cohort would pass for a season
    if len(per_day) < 12 or entry.base == "closed_cohort":
        return None, None
    # growth over the years would pass for a season, so each month is held against its year
    level = per_day.rolling(12, center=True).mean().bfill().ffill()
    by_month = (per_day / level).groupby(pd.PeriodIndex(per_day.index).month).mean()
    return float(by_month.max() / by_month.mean()), int(
        by_month.index.to_numpy()[by_month.to_numpy().argmax()]
    )


def _windows(weeks: float, history: Duration) -> pd.DataFrame:
    before = in_units(history, "week")
    fits = [max(0, int((weeks - before) / horizon + 1e-9)) for horizon in HORIZONS]
    return pd.DataFrame({"weeks": HORIZONS, "windows": fits})


def list_additions(tables: Tables) -> pd.DataFrame:
    """List the optional tables and columns, which of them are there, and what they add."""
    given = opened(tables)
    rows: list[tuple[str, str | None, bool, str]] = []
    for schema in TABLES:
        table = given.get(schema.name)
        if schema.adds:
            rows.append((schema.name, None, table is not None, schema.adds))
        if table is not None:
            rows += [
                (schema.name, column.name, column.name in table.columns, column.adds)
                for column in schema.columns
                if not column.required
            ]
    return pd.DataFrame(rows, columns=["table", "column", "present", "adds"])
