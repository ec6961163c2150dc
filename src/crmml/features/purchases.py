"""Purchases: lines become grain periods, periods become frequency, recency, T and money.

A *period* is a whole number: the position of an hour, day, week (Monday to Sunday), month or
quarter counted from 1970-01-01. Money is in whole cents inside the engine, so that sums are exact
and do not depend on the order of the rows or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from crmml._typing import GRAINS, MONTHS, UNITS_OF, Grain, TimeUnit
from crmml.exceptions import ParameterError
from crmml.features.windows import read_moment

HOURS: dict[str, int] = {"hour": 1, "day": 24, "week": 168}
"""Length of a grain or time unit in hours; months and quarters have none that is fixed."""

_EPOCH = pd.Timestamp("1970-01-01")
_LONG_AGO = 12 * 10_000
"""Months before 1970, whole years: far more than any log goes back."""
_FIRST_MONDAY = 3
"""1970-01-01 is a Thursday: weeks from Monday on begin three days before it."""


def fetch(table: ir.Table, by: Sequence[str] = ("customer_id",)) -> pd.DataFrame:
    """Take a finished table out of the engine, sorted.

    Parameters
    ----------
    table : Ibis table
        One row per key.
    by : sequence of str
        The key. Text is sorted by its bytes, whatever order the database has for its own.

    Returns
    -------
    DataFrame
        With a plain range for its index.
    """
    return sorted_frame(table.to_pyarrow(), by)


def sorted_frame(rows: pa.Table, by: Sequence[str] = ("customer_id",)) -> pd.DataFrame:
    """Make a frame of what was taken out of the engine; see :func:`fetch`."""
    # Columns as they are: gathering them in one block would copy the whole frame twice.
    rows = rows.sort_by([(name, "ascending") for name in by])
    frame: pd.DataFrame = rows.to_pandas(split_blocks=True)
    return frame


def check_grain(grain: Grain, time_unit: TimeUnit | None = None) -> None:
    """Refuse an unknown grain or time unit.

    Raises
    ------
    ParameterError
        With the legal values.
    """
    if grain not in GRAINS:
        raise ParameterError("grain", f"one of {GRAINS}", grain)
    units = tuple(UNITS_OF[grain])
    if time_unit is not None and time_unit not in units:
        rule = f"one of {units} where the grain of a transaction log is {grain!r}"
        raise ParameterError("time_unit", rule, time_unit)


def read_edge(value: str | pd.Timestamp, grain: Grain, name: str) -> pd.Timestamp:
    """Read a moment that must not lie inside a month or quarter of the grain."""
    moment = read_moment(value, name)
    check_edge(moment, grain, name)
    return moment


def check_edge(moment: pd.Timestamp, grain: Grain, name: str) -> None:
    """Refuse a moment inside a month or quarter, whose days a log of that grain cannot tell apart.

    Raises
    ------
    ParameterError
        With the edges on either side.
    """
    period = period_at(moment, grain)
    start = start_of(period, grain)
    if grain in MONTHS and moment != start:
        near = f"{start.date()} or {start_of(period + 1, grain).date()}"
        rule = f"the first day of a {grain}, the grain, like {near}"
        raise ParameterError(name, rule, str(moment))


def period_of(timestamp: ir.TimestampValue, grain: Grain) -> ir.IntegerValue:
    """Write the period of a timestamp as an expression of the engine."""
    days = timestamp.date().epoch_days()
    if grain == "day":
        return days
    if grain == "week":
        return (days + _FIRST_MONDAY) // 7
    if grain in MONTHS:
        months = (timestamp.year().cast("int64") - 1970) * 12 + timestamp.month() - 1
        # the engine's division of a negative number would round towards zero
        return (months + _LONG_AGO) // MONTHS[grain] - _LONG_AGO // MONTHS[grain]
    return days * 24 + timestamp.hour().cast("int64")


def period_at(timestamp: pd.Timestamp, grain: Grain) -> int:
    """Return the period of one timestamp.

    Examples
    --------
    >>> period_at(pd.Timestamp("1970-01-05 12:00"), "day")
    4
    >>> period_at(pd.Timestamp("1970-01-05 12:00"), "week")
    1
    >>> [period_at(pd.Timestamp("1971-05-31"), grain) for grain in ("month", "quarter")]
    [16, 5]
    """
    if grain in MONTHS:
        return int((timestamp.year - 1970) * 12 + timestamp.month - 1) // MONTHS[grain]
    shift = pd.Timedelta(days=_FIRST_MONDAY if grain == "week" else 0)
    return int((timestamp - _EPOCH + shift) // pd.Timedelta(hours=HOURS[grain]))


def seconds_of(timestamp: ir.TimestampValue) -> ir.IntegerValue:
    """Write the whole seconds of a timestamp since 1970-01-01; fractions are cut off."""
    # Engines round fractions, each in its own way.
    clock = timestamp.truncate("s")
    days, hours = clock.date().epoch_days(), clock.hour().cast("int64")
    return (
        days * 86_400
        + hours * 3_600
        + clock.minute().cast("int64") * 60
        + clock.second().cast("int64")
    )


def seconds_at(timestamp: pd.Timestamp) -> int:
    """Return the whole seconds of one timestamp since 1970-01-01; fractions are cut off.

    Examples
    --------
    >>> seconds_at(pd.Timestamp("1970-01-02 00:00:01.5"))
    86401
    """
    return int((timestamp - _EPOCH) // pd.Timedelta(seconds=1))


def start_of(period: int, grain: Grain) -> pd.Timestamp:
    """Return the first moment of a period.

    Examples
    --------
    >>> start_of(period_at(pd.Timestamp("1997-10-01 18:00"), "week"), "week")
    Timestamp('1997-09-29 00:00:00')
    """
    if grain in MONTHS:
        return _EPOCH + pd.DateOffset(months=period * MONTHS[grain])
    shift = pd.Timedelta(days=_FIRST_MONDAY if grain == "week" else 0)
    return _EPOCH - shift + period * pd.Timedelta(hours=HOURS[grain])


def last_period_before(cutoff: pd.Timestamp, grain: Grain) -> int:
    """Return the last period of which something is observed before an exclusive cutoff.

    Examples
    --------
    >>> start_of(last_period_before(pd.Timestamp("1997-10-01"), "day"), "day")
    Timestamp('1997-09-30 00:00:00')
    """
    return period_at(cutoff - pd.Timedelta(microseconds=1), grain)


def cents(amount: ir.DecimalValue) -> ir.IntegerValue:
    """Write money as a whole number of cents."""
    return (amount * 100).cast("int64")


def currency(amount_in_cents: ir.NumericValue) -> ir.FloatingValue:
    """Write cents as currency in floating point: the model's door."""
    return amount_in_cents.cast("float64") / 100


def insist(value: ir.Value, kind: str) -> ir.Value:
    """Write a cast even where Ibis holds the value to be of that type already.

    Engines have their own mind about the type of a sum of whole numbers or of a literal.
    """
    return ops.Cast(value, dt.dtype(kind)).to_expr()


def sum_cents(value: ir.IntegerValue, where: ir.BooleanValue | None = None) -> ir.IntegerValue:
    """Sum cents in 64 bits: a sum that the engine makes wider would slow down all that follows."""
    return insist(value.sum(where=where), "int64")


def margin_cents(lines: ir.Table) -> ir.IntegerValue | None:
    """Write the margin of a line in cents; None where the data hold neither margin nor cost."""
    if "margin" in lines.columns:
        return cents(lines.margin)
    if "cost" in lines.columns:
        return lines.cents - cents(lines.cost)
    return None


def collapse_lines(lines: ir.Table, grain: Grain, **measures: ir.Value) -> ir.Table:
    """Gather order lines into one row per customer and period.

    Parameters
    ----------
    lines : Ibis table
        With ``customer_id``, ``timestamp`` and ``cents``.
    grain : str
        What one purchase is.
    **measures : expression
        Further sums over the lines of a period.

    Returns
    -------
    Ibis table
        ``customer_id``, ``period``, ``lines`` (order lines that are purchases: of an amount not
        below zero), ``net`` (cents) and the measures. A period without purchase lines holds
        returns only and is no purchase.
    """
    return lines.group_by(
        customer_id=lines.customer_id, period=period_of(lines.timestamp, grain)
    ).agg(lines=lines.count(where=lines.cents >= 0), net=sum_cents(lines.cents), **measures)
