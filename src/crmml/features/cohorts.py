"""Acquisition cohorts: when customers first bought, and what each cohort did at each age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from crmml.exceptions import MissingColumnsError, TooLittleDataError
from crmml.features.periods import Period, collapse_periods
from crmml.features.purchases import fetch, period_at, start_of, sum_cents
from crmml.features.snapshot import own_lines

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from crmml.data.tables import Tables


def name_cohorts(
    tables: Tables,
    cutoff: pd.Timestamp,
    period: Period = "month",
    *,
    by: str | None = None,
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Say when each customer first bought, in whole periods before a cutoff.

    Parameters
    ----------
    tables, cutoff, period, own_seller
        See :func:`measure_cohorts`.
    by : str, optional
        A column of the table ``customers``, such as ``acquisition_channel``.

    Returns
    -------
    DataFrame
        On ``customer_id``: ``cohort`` (first moment of the period) and, if asked for, ``group``.
    """
    periods = _active(tables, cutoff, period, own_seller)
    asked = ["customer_id", "cohort"]
    if by is not None:
        periods = _with_group(periods, tables, by)
        asked.append("group")
    found = fetch(periods.select(*asked).distinct()).set_index("customer_id")
    return found.assign(cohort=_starts(found["cohort"], period))


def measure_cohorts(
    tables: Tables,
    cutoff: pd.Timestamp,
    period: Period = "month",
    *,
    by: str | None = None,
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Count and sum what each acquisition cohort did at each age, in whole periods.

    Parameters
    ----------
    tables : Tables
        The checked data.
    cutoff : Timestamp
        Exclusive; a period that is not over by then is left out.
    period : {"week", "month", "quarter"}
        Of the calendar. A customer's cohort is the one of the first purchase, and the age 0 in it.
    by : str, optional
        A column of the table ``customers`` that parts the cohorts further.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.

    Returns
    -------
    DataFrame
        On ``cohort`` (first moment), ``group`` where asked for, and ``age`` (periods): ``active``
        (customers with a purchase), ``revenue`` and, where the lines have it, ``margin``. An age
        in which nobody of a cohort bought or returned anything has no row.

    Raises
    ------
    TooLittleDataError
        If no period with a purchase is over at the cutoff.
    """
    rows = _active(tables, cutoff, period, own_seller)
    key = ["cohort", "age"]
    if by is not None:
        rows = _with_group(rows, tables, by)
        key = ["cohort", "group", "age"]
    sums: dict[str, Any] = {
        "active": (rows.purchases > 0).sum(),
        "revenue": sum_cents(rows.revenue),
    }
    if "margin" in rows.columns:
        sums["margin"] = sum_cents(rows.margin)
    table = fetch(rows.group_by(key).agg(**sums), key)
    if table.empty:
        raise TooLittleDataError(f"the data hold no whole {period} with a purchase before {cutoff}")
    money = {name: table[name] / 100.0 for name in ("revenue", "margin") if name in table}
    table = table.assign(cohort=_starts(table["cohort"], period), **money)
    return table.astype({"active": "int64", "age": "int64"}).set_index(key)


def _active(
    tables: Tables, cutoff: pd.Timestamp, period: Period, own_seller: str | None
) -> ir.Table:
    """Gather lines into a row per customer and period, with cohort and age."""
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.filter(lines.timestamp < start_of(period_at(cutoff, period), period))
    rows = collapse_periods(lines, period)
    bought = rows.filter(rows.purchases > 0)
    firsts = bought.group_by("customer_id").agg(cohort=bought.period.min())
    rows = rows.inner_join(firsts, "customer_id")
    # what came back before the first purchase belongs to no age
    return rows.filter(rows.period >= rows.cohort).mutate(age=rows.period - rows.cohort)


def _with_group(rows: ir.Table, tables: Tables, by: str) -> ir.Table:
    people = tables["customers"]
    if by not in people.columns:
        raise MissingColumnsError([by], people.columns, table="customers")
    groups = people.select("customer_id", group=people[by].cast("string"))
    joined = rows.left_join(groups, "customer_id").drop("customer_id_right")
    return joined.mutate(group=joined.group.fill_null("unknown"))


def _starts(periods: pd.Series[int], period: Period) -> pd.Series[pd.Timestamp]:
    starts = {int(k): start_of(int(k), period) for k in periods.unique()}
    return periods.map(starts).astype("datetime64[us]")
