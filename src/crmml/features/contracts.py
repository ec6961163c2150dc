"""Contracts: who is under contract at a cutoff, and the person-periods that a hazard is fitted on.

A *spell* is the time from a contract's start to its end without renewal. Periods of one customer
that overlap, or follow each other within the grace period, are one spell; a later one is a
re-entry. Age is counted in whole periods P since the start of the spell. A spell ends *in* period
k if its end lies in ``(k P, (k + 1) P]``, so that an end on a renewal date belongs to the period
before that date. Inside the engine all moments are whole seconds since 1970-01-01.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import pandas as pd

from crmml._typing import Duration
from crmml.data.engine import kept
from crmml.data.schema import END_REASONS
from crmml.data.tables import Tables
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.purchases import fetch, seconds_at, seconds_of
from crmml.features.windows import Window, end_of_observation, length_of, read_moment

CAUSES: tuple[str, ...] = (*END_REASONS, "unknown")
"""Why a contract ended; ``unknown`` where the data give no reason."""

_OPEN = 2**62
"""End of what has not ended, in seconds: later than any moment."""
_DAY = 86_400


@dataclass(frozen=True)
class Contracts:
    """The contracts that are active at a cutoff.

    Attributes
    ----------
    frame : DataFrame
        One row per customer with an active contract, sorted by ``customer_id``:

        * ``age``: whole periods outlasted since the spell began;
        * ``elapsed``: time since the last renewal date, as a share of a period in [0, 1);
        * ``reentries``: earlier spells; ``plan_changes``: changes of plan within the spell;
        * ``plan`` of the latest period and ``fee`` (currency per period), where the data have them;
          of periods that run beside each other the fees are added;
        * ``contacts``, ``complaints`` in the trailing window and ``days_since_contact`` (missing
          without any), where there are interactions;
        * ``purchases`` (days with one) and ``spend`` in the trailing window, where there is a log;
        * attributes of the customer table as ``customer_<name>``.
    cutoff : Timestamp
        Exclusive end of what is known.
    period : Duration
        Time between two renewal dates.
    in_grace : Index
        Customers whose contract has ended but may still be renewed; they are in no row.
    """

    frame: pd.DataFrame
    cutoff: pd.Timestamp
    period: Duration
    in_grace: pd.Index[Any]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def customer_id(self) -> pd.Index[Any]:
        """Ids in row order."""
        ids: pd.Index[Any] = pd.Index(self.frame["customer_id"], name="customer_id")
        return ids

    def subset(self, customer_id: pd.Index[Any]) -> Contracts:
        """Keep the contracts of some customers."""
        kept = self.frame[self.frame["customer_id"].isin(customer_id)].reset_index(drop=True)
        return replace(self, frame=kept)


@dataclass(frozen=True)
class PersonPeriods:
    """One row per period in which a contract was at risk, seen to its end.

    Attributes
    ----------
    frame : DataFrame
        Sorted by ``customer_id``, ``spell`` and ``age``. The columns of :class:`Contracts` (but
        ``elapsed``) as of the start of the period, never later, and: ``spell`` (0, 1, ...),
        ``starts_at``; ``cause``, null where the contract outlasts the period and else one of
        :data:`CAUSES`; ``position``, where in the period it ended, in (0, 1], else missing.
    period : Duration
        Length of a period.
    since, until : Timestamp
        No period begins before ``since``; nothing is known from ``until`` on.
    settled : Timestamp
        No period ends after it: what ended before it can be renewed no more (``until`` less the
        grace period).
    truncated : int
        Spells that began before ``since``. They are at risk from their first period after it on
        (left truncation): those that ended earlier were never seen.
    """

    frame: pd.DataFrame
    period: Duration
    since: pd.Timestamp
    until: pd.Timestamp
    settled: pd.Timestamp
    truncated: int

    def __len__(self) -> int:
        return len(self.frame)

    def before(self, cutoff: pd.Timestamp) -> PersonPeriods:
        """Keep the periods that were seen to their end before a moment.

        A period ends one length after its start, also if the contract ends within it.
        """
        ends_at = self.frame["starts_at"] + length_of(self.period)
        kept = self.frame[ends_at <= cutoff].reset_index(drop=True)
        settled = min(cutoff, self.settled)
        return replace(self, frame=kept, until=cutoff, settled=settled)


class _Lengths(NamedTuple):
    """Lengths of time in whole seconds."""

    period: int
    grace: int
    trailing: int

    @classmethod
    def of(
        cls,
        tables: Tables,
        period: str | Duration,
        grace: str | Duration | None,
        trailing: str | Duration,
    ) -> _Lengths:
        given = (length_of(period), least_grace(tables, grace), length_of(trailing))
        found = cls(*(int(one.total_seconds()) for one in given))
        if found.period < _DAY:
            raise ParameterError("period", "at least one day", str(period))
        return found


class _Look(NamedTuple):
    """What is known at a moment: the tables before it, and the periods and spells in them."""

    moment: pd.Timestamp
    now: int
    lengths: _Lengths
    seen: Tables
    rows: ir.Table
    spells: ir.Table

    @classmethod
    @contextmanager
    def at(
        cls, tables: Tables, cutoff: str | pd.Timestamp | None, lengths: _Lengths
    ) -> Iterator[_Look]:
        moment = _cutoff(tables, cutoff)
        seen = tables.before(moment)
        with kept(_periods(seen, lengths)) as rows:  # asked three times
            yield cls(moment, seconds_at(moment), lengths, seen, rows, _spells(rows))


def build_contracts(
    tables: Tables,
    cutoff: str | pd.Timestamp | None = None,
    *,
    period: str | Duration = "30D",
    grace: str | Duration | None = None,
    trailing: str | Duration = "90D",
) -> Contracts:
    """Take the contracts that are active at a cutoff, with what is known of them then.

    Parameters
    ----------
    tables : Tables
        With ``subscriptions``; ``customers``, ``interactions`` and ``transactions`` add columns.
    cutoff : str or Timestamp, optional
        Exclusive; by default the end of the last day on which a contract began or ended.
    period : str or Duration
        Time between two renewal dates, at least a day.
    grace : str or Duration, optional
        A contract that is renewed within it has not ended; none by default, and never less than
        :func:`least_grace` says.
    trailing : str or Duration
        Length of the window before a moment in which touch points and purchases are counted.

    Raises
    ------
    MissingTableError
        If there are no subscriptions.
    TooLittleDataError
        If no contract is active at the cutoff.
    """
    with _Look.at(tables, cutoff, _Lengths.of(tables, period, grace, trailing)) as look:
        frame, waiting = _fetch_active(look), _fetch_waiting(look)
    if not len(frame):
        raise TooLittleDataError(f"no contract is active at {look.moment}")
    ids = waiting["customer_id"][~waiting["customer_id"].isin(frame["customer_id"])]
    return Contracts(frame, look.moment, Duration.parse(period), pd.Index(ids, name="customer_id"))


def _fetch_active(look: _Look) -> pd.DataFrame:
    lengths, now, spells = look.lengths, look.now, look.spells
    active = spells.filter(spells.until == _OPEN)
    passed = ibis.literal(now) - active.started
    at = active.mutate(
        age=passed // lengths.period,
        elapsed=(passed % lengths.period).cast("float64") / lengths.period,
        at=ibis.literal(now),
    )
    return fetch(_covariates(at, look.rows, look.seen, lengths).drop("at", "spell"))


def _fetch_waiting(look: _Look) -> pd.DataFrame:
    waits = _waits(look.spells, look.lengths, look.now)
    return fetch(look.spells.filter(waits).select("customer_id").distinct())


def build_person_periods(
    tables: Tables,
    cutoff: str | pd.Timestamp | None = None,
    *,
    since: str | pd.Timestamp | None = None,
    period: str | Duration = "30D",
    grace: str | Duration | None = None,
    trailing: str | Duration = "90D",
) -> PersonPeriods:
    """Take apart each spell into the periods that it was at risk.

    Parameters
    ----------
    tables, cutoff, period, grace, trailing
        As in :func:`build_contracts`.
    since : str or Timestamp, optional
        From when on ends were recorded. Contracts that are older come in at their first period
        after it. By default the first end in the data: before it nobody can have been seen to end,
        and to begin at an event biases nothing.

    Returns
    -------
    PersonPeriods

    Raises
    ------
    MissingTableError
        If there are no subscriptions.
    TooLittleDataError
        If no period was seen to its end.
    """
    with _Look.at(tables, cutoff, _Lengths.of(tables, period, grace, trailing)) as look:
        moment, lengths, now, spells = look.moment, look.lengths, look.now, look.spells
        begin = _first_end(spells) if since is None else seconds_at(read_moment(since, "since"))
        at = _at_risk(spells, lengths, now, begin)
        known = _covariates(at, look.rows, look.seen, lengths)
        known = known.inner_join(at.select(*_KEY, "cause", "position"), list(_KEY))
        frame = fetch(known, _KEY)
        older = spells.filter(spells.started < begin, spells.until >= begin)
        truncated = int(older.count().to_pyarrow().as_py())
    frame["starts_at"] = pd.to_datetime(frame.pop("at"), unit="s")
    if not len(frame):
        raise TooLittleDataError(f"no contract was seen through a whole period before {moment}")
    settled = pd.Timestamp(now - lengths.grace, unit="s")
    return PersonPeriods(
        frame, Duration.parse(period), pd.Timestamp(begin, unit="s"), moment, settled, truncated
    )


def build_contract_outcomes(
    tables: Tables,
    contracts: Contracts,
    horizon: str | Duration,
    *,
    grace: str | Duration | None = None,
) -> pd.DataFrame:
    """Say which contracts ended within a horizon after their cutoff, and why.

    Parameters
    ----------
    tables : Tables
        Whole, not cut at the cutoff of the contracts.
    contracts : Contracts
    horizon : str or Duration
    grace : str or Duration, optional
        As for the contracts; an end renewed within it is none.

    Returns
    -------
    DataFrame
        Indexed by ``customer_id`` in the order of the contracts: ``churned`` (bool), and ``cause``
        and ``ended_at`` (null where the contract did not end).

    Raises
    ------
    CensoredWindowError
        If the data end before the horizon and the grace period do.
    """
    window = Window(contracts.cutoff, horizon)
    end = _cutoff(tables, None)
    lengths = _Lengths.of(tables, contracts.period, grace, contracts.period)
    window.check_observed(end - pd.Timedelta(seconds=lengths.grace + 1))
    spells = _spells(_periods(tables, lengths))
    cutoff, closes = seconds_at(contracts.cutoff), seconds_at(window.closes)
    here = spells.filter(spells.started < cutoff, spells.until >= cutoff, spells.until < closes)
    ended = fetch(
        here.select("customer_id", cause=here.reason.fill_null("unknown"), until=here.until)
    )
    found = ended.set_index("customer_id").reindex(contracts.customer_id)
    moments = pd.to_datetime(found["until"].astype("float64"), unit="s")
    return pd.DataFrame(
        {"churned": found["cause"].notna(), "cause": found["cause"], "ended_at": moments}
    )


def least_grace(tables: Tables, grace: str | Duration | None = None) -> pd.Timedelta:
    """Return a grace period, at least a day where contracts are renewed on the day after.

    Where more periods begin within a day after the one before than at its very end, ``ended_at`` is
    the last day of a period, and no customer has left in between.

    Parameters
    ----------
    tables : Tables
        With ``subscriptions``.
    grace : str or Duration, optional
        As given; none by default.
    """
    given = pd.Timedelta(0) if grace is None else length_of(grace)
    return given if given >= _A_DAY or not count_next_days(tables) else _A_DAY


def count_next_days(tables: Tables) -> int:
    """Count the periods that begin on the day after the one before; 0 where they are the fewer.

    Parameters
    ----------
    tables : Tables
        With ``subscriptions``.
    """
    table = tables["subscriptions"]
    rows = table.select(
        "customer_id", start=seconds_of(table.started_at), until=seconds_of(table.ended_at)
    )
    order = ibis.window(group_by="customer_id", order_by=[rows.start, rows.until])
    rows = rows.mutate(pause=rows.start - rows.until.lag().over(order))
    beside = (rows.pause > 0) & (rows.pause <= _DAY)
    found = rows.aggregate(
        beside=ibis.ifelse(beside, 1, 0).sum(), exact=ibis.ifelse(rows.pause == 0, 1, 0).sum()
    )
    row = found.to_pyarrow().to_pylist()[0]
    n, exact = int(row["beside"] or 0), int(row["exact"] or 0)
    return n if n > exact else 0


class ContractSpan(NamedTuple):
    """From when to when contracts were seen.

    Attributes
    ----------
    first : Timestamp
        First end of a contract; the first start where none has ended.
    last : Timestamp
        Last event that has happened.
    announced : int
        Ends that lie ahead of it: they are known, but have not happened.
    announced_until : Timestamp
        The last of those; ``last`` where there are none.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    announced: int
    announced_until: pd.Timestamp


def contract_span(tables: Tables) -> ContractSpan:
    """Return from when to when contracts were seen, and which ends lie ahead.

    Terms and notices are often written down before the contract ends. Ends are taken as announced
    if they lie so long after the last start, touch point and purchase that the records must have
    been drawn before them: more than twice the longest pause of the last year (which must hold
    more than 20 days with an event), and less than half of the time that the starts span, unless no
    contract runs beyond them.

    Raises
    ------
    MissingTableError, TooLittleDataError
        If there are no subscriptions, or none in the table.
    """
    table = tables["subscriptions"]
    row = table.aggregate(
        began=table.started_at.min(),
        ended=table.ended_at.min(),
        last_began=table.started_at.max(),
        last_ended=table.ended_at.max(),
        active=table.ended_at.isnull().sum(),
    )
    found = row.to_pyarrow().to_pylist()[0]
    if found["began"] is None:
        raise TooLittleDataError("there is no contract in the data")
    first = pd.Timestamp(found["ended"] or found["began"])
    began, last = pd.Timestamp(found["began"]), pd.Timestamp(found["last_began"])
    until = max(last, pd.Timestamp(found["last_ended"] or last))
    if until <= last + _A_DAY:
        return ContractSpan(first, until, 0, until)
    days = _days_with_events(tables)
    year = days[days > days.iloc[-1] - _YEAR]
    pauses = year.diff().dropna()
    ahead = until.floor("D") - days.iloc[-1]
    short = 2 * ahead < last - began or not found["active"]
    if not (len(pauses) > _LEAST_PAUSES and ahead > 2 * pauses.max() and short):
        return ContractSpan(first, until, 0, until)
    last = max(last, days.iloc[-1])
    closes = end_of_observation(last)
    announced = table.filter(table.ended_at >= closes).count().to_pyarrow().as_py()
    return ContractSpan(first, last, int(announced), until)


_A_DAY, _YEAR, _LEAST_PAUSES = pd.Timedelta(days=1), pd.Timedelta(days=365), 20


def _days_with_events(tables: Tables) -> pd.Series[pd.Timestamp]:
    """Return the days on which something happened that nobody writes down beforehand, ascending."""
    times = [("subscriptions", "started_at"), ("interactions", "timestamp")]
    each = [
        tables[name].select(day=tables[name][column].cast("date"))
        for name, column in (*times, ("transactions", "timestamp"))
        if name in tables
    ]
    days = each[0]
    for more in each[1:]:
        days = days.union(more)
    return pd.to_datetime(fetch(days.distinct(), ("day",))["day"])


def _cutoff(tables: Tables, cutoff: str | pd.Timestamp | None) -> pd.Timestamp:
    if cutoff is not None:
        return read_moment(cutoff, "cutoff")
    return end_of_observation(contract_span(tables).last)


def _periods(tables: Tables, lengths: _Lengths) -> ir.Table:
    """Return the periods that were paid for, each with the number of its spell."""
    table = tables["subscriptions"]
    absent: Any = ibis.null("string")
    rows = table.select(
        "customer_id",
        start=seconds_of(table.started_at),
        until=seconds_of(table.ended_at).fill_null(_OPEN),
        plan=table.plan if "plan" in table.columns else absent,
        fee=(table.fee if "fee" in table.columns else ibis.null("float64")).cast("float64"),
        reason=table.end_reason if "end_reason" in table.columns else absent,
    )
    # The order is complete: no two rows of a customer agree in start, end and plan.
    order = [rows.start, rows.until, rows.plan]
    rows = rows.mutate(
        reached=rows.until.max().over(
            ibis.cumulative_window(group_by="customer_id", order_by=order)
        ),
    )
    one = ibis.window(group_by="customer_id", order_by=[rows.start, rows.until, rows.plan])
    rows = rows.mutate(before=rows.reached.lag().over(one), former=rows.plan.lag().over(one))
    # Of an open contract the end is later than any moment, and adding to it would overflow.
    renewed = (rows.start <= rows.before) | (rows.start - rows.before <= lengths.grace)
    begins = rows.before.isnull() | ~renewed
    rows = rows.mutate(
        begins=ibis.ifelse(begins, 1, 0),
        changed=ibis.ifelse(~begins & (rows.plan != rows.former), 1, 0),
    )
    order = [rows.start, rows.until, rows.plan]
    number = rows.begins.sum().over(ibis.cumulative_window(group_by="customer_id", order_by=order))
    rows = rows.mutate(spell=number - 1)
    last = rows.until.max().over(ibis.window(group_by=["customer_id", "spell"]))
    return rows.mutate(last=last)


def _spells(rows: ir.Table) -> ir.Table:
    """Gather periods that renew each other: one row per spell."""
    return rows.group_by("customer_id", "spell").agg(
        started=rows.start.min(),
        until=rows.until.max(),
        reason=rows.reason.max(where=rows.until == rows["last"]),
    )


def _waits(spells: ir.Table, lengths: _Lengths, now: int) -> ir.BooleanValue:
    """Whether a contract has ended but may still be renewed."""
    return (spells.until < _OPEN) & (spells.until >= now - lengths.grace)


def _first_end(spells: ir.Table) -> int:
    first = spells.aggregate(
        ended=spells.until.min(where=spells.until < _OPEN), began=spells.started.min()
    )
    row = first.to_pyarrow().to_pylist()[0]
    if row["began"] is None:
        raise TooLittleDataError("there is no contract in the data")
    return int(row["ended"] if row["ended"] is not None else row["began"])


def _at_risk(spells: ir.Table, lengths: _Lengths, now: int, begin: int) -> ir.Table:
    """One row per period of each spell that begins after ``begin`` and was seen to its end."""
    P, settled = lengths.period, now - lengths.grace
    is_open, waits = spells.until == _OPEN, _waits(spells, lengths, now)
    # A period counts once its nominal end is settled, whether the contract outlasts it or not: else
    # the latest ends would stand beside survivors whose period is not over, or the other way round.
    # An end at that very moment belongs to the period before, and is not known yet.
    seen = (settled - spells.started - 1) // P
    before_last = ibis.greatest((spells.until - spells.started - 1) // P, 0)
    over = ~(is_open | waits)
    # Of a contract that waits for its renewal, the last period is neither outlasted nor over.
    most = ibis.ifelse(is_open, seen, ibis.ifelse(waits, before_last, before_last + 1))
    count = ibis.least(seen, most)
    first = ibis.greatest(0, (begin - spells.started + P - 1) // P)
    spans = spells.mutate(
        last=ibis.ifelse(over, before_last, -1),
        ended=spells.until,
        cause=spells.reason.fill_null("unknown"),
        first=first,
        count=count,
    )
    spans = spans.filter(spans["count"] > spans["first"])
    each = spans.mutate(age=ibis.range(spans["first"], spans["count"]).unnest())
    each = each.mutate(at=each.started + each.age * P)
    ends = each.age == each["last"]
    return each.select(
        "customer_id",
        "spell",
        "age",
        "at",
        cause=ibis.ifelse(ends, each.cause, ibis.null("string")),
        position=ibis.ifelse(ends, (each.ended - each["at"]) / P, ibis.null("float64")),
    )


def _covariates(at: ir.Table, rows: ir.Table, tables: Tables, lengths: _Lengths) -> ir.Table:
    """Add what was known at the moment ``at`` of each row."""
    kept = [name for name in at.columns if name in ("elapsed",)]
    at = at.select("customer_id", "spell", "age", "at", *kept)
    found = _terms(at, rows)
    if "interactions" in tables:
        found = found.left_join(
            _touches(at, tables["interactions"], lengths), _KEY, rname="{name}_r"
        )
        found = found.drop(*(f"{name}_r" for name in _KEY))
        found = found.mutate(
            contacts=found.contacts.fill_null(0), complaints=found.complaints.fill_null(0)
        )
    if "transactions" in tables:
        found = found.left_join(
            _bought(at, tables["transactions"], lengths), _KEY, rname="{name}_r"
        )
        found = found.drop(*(f"{name}_r" for name in _KEY))
        found = found.mutate(
            purchases=found.purchases.fill_null(0), spend=found.spend.fill_null(0.0)
        )
    customers = tables.get("customers")
    if customers is not None:
        names = attributes_of(customers)
        named = {f"customer_{name}": customers[name] for name in names}
        found = found.left_join(customers.select("customer_id", **named), "customer_id")
        found = found.drop("customer_id_right")
    return found


_KEY = ("customer_id", "spell", "age")
_MONEY = "decimal(38, 4)"


def attributes_of(customers: ir.Table) -> list[str]:
    """Return the columns of the customers table that a model of contracts reads."""
    return [name for name in customers.columns if name not in _NOT_COVARIATES]


_NOT_COVARIATES = ("customer_id", "name", "acquired_at", "acquisition_cost", "service_cost")


def _terms(at: ir.Table, rows: ir.Table) -> ir.Table:
    """Plan and fee in force at the moment, changes of plan so far, and earlier spells.

    Fees of periods that run beside each other add up (one that is missing leaves the sum missing);
    where none runs, in a pause that a renewal ends, the fee is that of the latest.
    """
    periods = rows.select("customer_id", "spell", "start", "until", "plan", "fee", "changed")
    joined = at.inner_join(periods, ["customer_id", "spell"])
    joined = joined.filter(joined.start <= joined["at"])
    by = ibis.window(
        group_by=list(_KEY),
        order_by=[joined.start.desc(), joined.until.desc(), joined.plan.desc()],
    )
    each = ibis.window(group_by=list(_KEY))
    runs = joined.until > joined["at"]
    joined = joined.mutate(
        place=ibis.row_number().over(by),
        plan_changes=joined.changed.sum().over(each),
        n_running=ibis.ifelse(runs, 1, 0).sum().over(each),
        n_priced=ibis.ifelse(runs & joined.fee.notnull(), 1, 0).sum().over(each),
        # Of whole numbers of the smallest unit the sum does not depend on the order of the rows.
        fees=ibis.ifelse(runs, joined.fee.cast(_MONEY), 0).sum().over(each).cast("float64"),
    )
    latest = joined.filter(joined.place == 0)
    beside = ibis.ifelse(latest.n_priced == latest.n_running, latest.fees, ibis.null("float64"))
    latest = latest.mutate(
        reentries=latest.spell, fee=ibis.ifelse(latest.n_running > 1, beside, latest.fee)
    )
    return latest.drop("start", "until", "changed", "place", "n_running", "n_priced", "fees")


def _touches(at: ir.Table, table: ir.Table, lengths: _Lengths) -> ir.Table:
    """Count touch points in the trailing window, and the days since the last."""
    touch = table.select("customer_id", "kind", when=seconds_of(table.timestamp))
    moments = at.select(*_KEY, "at")
    joined = moments.inner_join(touch, "customer_id")
    joined = joined.filter(joined.when < joined["at"])
    recent = joined.when >= joined["at"] - lengths.trailing
    return joined.group_by(*_KEY).agg(
        contacts=ibis.ifelse(recent, 1, 0).sum(),
        complaints=ibis.ifelse(recent & (joined.kind == "complaint"), 1, 0).sum(),
        days_since_contact=(joined["at"] - joined.when).min().cast("float64") / _DAY,
    )


def _bought(at: ir.Table, table: ir.Table, lengths: _Lengths) -> ir.Table:
    """Count days with a purchase, and sum what was spent, in the trailing window."""
    amount = table.amount if "amount" in table.columns else ibis.literal(0).cast("decimal(18, 2)")
    days = table.select("customer_id", when=seconds_of(table.timestamp), amount=amount)
    moments = at.select(*_KEY, "at")
    joined = moments.inner_join(days, "customer_id")
    joined = joined.filter(
        joined.when < joined["at"], joined.when >= joined["at"] - lengths.trailing
    )
    return joined.group_by(*_KEY).agg(
        purchases=(joined.when // _DAY).nunique(where=joined.amount >= 0),
        spend=joined.amount.sum().cast("float64"),
    )
