"""Data policies: each a named option with a counted, reported effect, applied in the engine.

What counts as a purchase
-------------------------
A line with a positive amount is a purchase line; so is a line of amount zero that the policy
keeps. A negative line is a return: under ``net`` it lowers the spend of its customer on its day,
but it never is a purchase, never starts a history, and never takes a purchase away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import ibis
import ibis.expr.types as ir
import pandas as pd

from crmml.exceptions import DataError, ParameterError

EARLIEST = pd.Timestamp("1970-01-02")
"""Dates before it are place-holders of some system, not sales (the first is the Unix epoch)."""
LATEST = pd.Timestamp("2100-01-01")

RAW = "__raw_"
"""Prefix of the unread source value of a column, carried along until the checks are done."""
EXACT = "__exact_amount"
"""Amount before rounding to cents, as float64, where rounding may be needed."""


@dataclass(frozen=True)
class Policies:
    """What to do with rows that need a decision.

    Attributes
    ----------
    returns : {"net", "drop", "error"}
        Negative amounts: net them against spend, leave them out, or refuse the data.
    zero_amounts : {"keep_as_purchase", "drop"}
        Lines of amount zero: purchases that cost nothing, or nothing at all.
    missing_ids : {"drop", "error"}
        Lines that belong to no customer.
    duplicates : {"keep", "drop"}
        Further lines of the same customer, time, order, product (the last two where known) and
        amount. ``drop`` leaves one of each.
    unreadable : {"error", "drop"}
        Lines whose time or amount is missing, cannot be read, or is not finite. (With ``drop`` an
        unreadable value of an optional column becomes null and its line stays.)
    unlikely_dates : {"error", "drop", "keep"}
        Lines dated before 1970-01-02 or from 2100 on: place-holders of some system, usually.
    test_customers : tuple of int or str
        Ids that are not customers (test accounts, the till itself); their lines are left out.

    Examples
    --------
    >>> Policies(returns="drop").returns
    'drop'
    >>> Policies(returns="ignore")
    Traceback (most recent call last):
        ...
    crmml.exceptions.ParameterError: policy returns must be one of 'net', 'drop', 'error'; got
    'ignore'
    """

    returns: Literal["net", "drop", "error"] = "net"
    zero_amounts: Literal["keep_as_purchase", "drop"] = "keep_as_purchase"
    missing_ids: Literal["drop", "error"] = "drop"
    duplicates: Literal["keep", "drop"] = "keep"
    unreadable: Literal["error", "drop"] = "error"
    unlikely_dates: Literal["error", "drop", "keep"] = "error"
    test_customers: tuple[int | str, ...] = ()

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for field in fields(self):
            choices, got = get_args(hints[field.name]), getattr(self, field.name)
            if field.name == "test_customers":
                object.__setattr__(self, field.name, tuple(got))
            elif got not in choices:
                rule = "one of " + ", ".join(map(repr, choices))
                raise ParameterError(f"policy {field.name}", rule, got)


@dataclass(frozen=True)
class Effect:
    """What one policy did.

    Attributes
    ----------
    policy, choice : str
        Its name, and the option taken.
    rows : int
        How many lines it concerned.
    dropped : bool
        Whether they were left out.
    """

    policy: str
    choice: str
    rows: int
    dropped: bool


@dataclass(frozen=True)
class CleaningReport:
    """What the policies did to the transactions.

    Attributes
    ----------
    rows_read, rows_kept : int
        Lines before and after; the difference is the sum of the dropping effects.
    effects : tuple of Effect
        In the order of application: a line is counted by the first policy that drops it.
    rounded_amounts : int
        Amounts with more than two decimals, rounded to the nearest cent (halves away from zero;
        of a binary float, what is stored decides).
    rounding_total : float
        Sum of rounded less exact amounts, currency.
    notes : tuple of str
        Further facts a user should know, a sentence each.
    """

    rows_read: int
    rows_kept: int
    effects: tuple[Effect, ...]
    rounded_amounts: int = 0
    rounding_total: float = 0.0
    notes: tuple[str, ...] = ()

    def rows(self, policy: str) -> int:
        """Return how many lines a policy concerned."""
        return next(effect.rows for effect in self.effects if effect.policy == policy)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {
            "effects": [asdict(effect) for effect in self.effects],
            "notes": list(self.notes),
        }


def is_purchase(transactions: ir.Table) -> ir.BooleanValue:
    """Whether a cleaned line is a purchase line (see the head of this module)."""
    return transactions.amount >= 0


def duplicate_key(columns: Iterable[str]) -> list[str]:
    """Return the columns that two lines share when one duplicates the other."""
    key = ("customer_id", "timestamp", "order_id", "product_id", "amount")
    present = set(columns)
    return [name for name in key if name in present]


class Cleaned(NamedTuple):
    """Transactions after the policies.

    Attributes
    ----------
    table : Ibis table
        The columns of the contract, lazily.
    report : CleaningReport
        What the policies did.
    first, last : Timestamp
        Earliest and latest line kept.
    currency : str or None
        The one currency, where the data name it.
    """

    table: ir.Table
    report: CleaningReport
    first: pd.Timestamp
    last: pd.Timestamp
    currency: str | None


def clean(
    table: ir.Table, policies: Policies, *, names: Mapping[str, str], notes: Iterable[str] = ()
) -> Cleaned:
    """Check the rows of ``transactions`` and apply the policies.

    Parameters
    ----------
    table : Ibis table
        Columns of the contract in their types; beside them, where reading can fail, the unread
        values under the prefix ``__raw_``, and ``__exact_amount`` (float64) where amounts may
        have to be rounded.
    policies : Policies
        The decisions.
    names : mapping
        Name of each column in the source, for the messages.
    notes : iterable of str
        Sentences to hand on in the report.

    Returns
    -------
    Cleaned
        The cleaned lines and what was done to them.

    Raises
    ------
    DataError
        If rows break a rule for which the policy says ``error``, if there is more than one
        currency, or if no line is left.
    """
    columns = [name for name in table.columns if not name.startswith("__")]
    steps = _steps(table, policies)
    # a line is counted by the first policy that drops it, so the counts add up
    alive: ir.BooleanValue = ibis.literal(True)
    masks: dict[str, ir.BooleanValue] = {}
    for step in steps:
        masks[step.policy] = alive & step.concerns
        if step.drops:
            alive = alive & ~step.concerns
    unreadable = find_unreadable(table)
    facts = _measure(table, alive, masks | unreadable)

    if facts["n_rows"] == 0:
        raise DataError("there must be at least one row; the table is empty", table="transactions")
    if policies.unreadable == "error":
        refuse_unreadable(table, facts, unreadable, "transactions", names)
    for step in steps:
        if step.choice == "error" and facts[step.policy]:
            rows = table.filter(masks[step.policy])
            raise DataError(
                step.rule,
                table="transactions",
                column=names.get(step.column, step.column),
                n_rows=facts[step.policy],
                examples=first_values(rows, "customer_id"),
            )
    if facts.get("n_currencies", 0) > 1:
        _refuse_currencies(table.filter(alive), names)

    cleaned = table.filter(alive).select(columns)
    key = duplicate_key(columns)
    distinct = int(cleaned.select(key).distinct().count().execute())
    repeated = facts["n_kept"] - distinct
    drop = policies.duplicates == "drop"
    effects = [Effect(step.policy, step.choice, facts[step.policy], step.drops) for step in steps]
    effects.append(Effect("duplicates", policies.duplicates, repeated, drop))
    if facts["n_kept"] == 0:
        raise DataError(
            f"the policies must leave at least one row, but they left out all {facts['n_rows']:,}",
            table="transactions",
        )
    report = CleaningReport(
        rows_read=facts["n_rows"],
        rows_kept=distinct if drop else facts["n_kept"],
        effects=tuple(effects),
        rounded_amounts=facts.get("n_rounded", 0),
        rounding_total=float(facts.get("rounding") or 0.0),
        notes=tuple(notes),
    )
    return Cleaned(
        _first_of_each(cleaned, key) if drop and repeated else cleaned,
        report,
        pd.Timestamp(facts["first"]),
        pd.Timestamp(facts["last"]),
        facts.get("currency"),
    )


class _Step(NamedTuple):
    policy: str
    choice: str
    concerns: ir.BooleanValue
    drops: bool
    column: str = ""
    rule: str = ""


def _steps(table: ir.Table, policies: Policies) -> list[_Step]:
    """Each policy on single rows, in order: which rows it concerns, whether it drops them."""
    at, amount = table.timestamp, table.amount
    test = [str(customer) for customer in policies.test_customers]
    return [
        _Step(
            "missing_ids",
            policies.missing_ids,
            table.customer_id.isnull(),
            True,
            "customer_id",
            "every row must belong to a customer (policy missing_ids: error)",
        ),
        _Step(
            "test_customers",
            f"{len(test)} ids",
            table.customer_id.cast("string").isin(test) if test else ibis.literal(False),
            True,
        ),
        # its errors are raised column by column, before all others
        _Step("unreadable", policies.unreadable, at.isnull() | amount.isnull(), True, "amount"),
        _Step(
            "unlikely_dates",
            policies.unlikely_dates,
            (at < EARLIEST) | (at >= LATEST),
            policies.unlikely_dates != "keep",
            "timestamp",
            f"dates must lie from {EARLIEST:%Y-%m-%d} to before {LATEST:%Y-%m-%d} "
            "(else set the policy unlikely_dates to drop or keep)",
        ),
        _Step(
            "returns",
            policies.returns,
            amount < 0,
            policies.returns == "drop",
            "amount",
            "amounts must not be negative (policy returns: error)",
        ),
        _Step(
            "zero_amounts",
            policies.zero_amounts,
            amount == 0,
            policies.zero_amounts == "drop",
        ),
    ]


def _measure(
    table: ir.Table, alive: ir.BooleanValue, masks: Mapping[str, ir.BooleanValue]
) -> dict[str, Any]:
    """Count everything in one pass of the engine."""
    kept_at = ibis.ifelse(alive, table.timestamp, ibis.null())
    measures: dict[str, ir.Value] = {
        "n_rows": table.count(),
        "n_kept": alive.sum(),
        "first": kept_at.min(),
        "last": kept_at.max(),
        **{name: mask.sum() for name, mask in masks.items()},
    }
    if "currency" in table.columns:
        code = ibis.ifelse(alive, _code(table), ibis.null())
        measures |= {"n_currencies": code.nunique(), "currency": code.min()}
    if EXACT in table.columns:
        change = table.amount.cast("float64") - table[EXACT]
        # the tolerance of float64 arithmetic: what is below is representation, not rounding
        rounded = alive & (change.abs() > 1e-6 + 4e-16 * table[EXACT].abs())
        cents = ibis.ifelse(rounded, change, 0.0).cast("decimal(18, 6)")
        measures |= {"n_rounded": rounded.sum(), "rounding": cents.sum()}
    found: dict[str, Any] = table.aggregate(**measures).to_pyarrow().to_pylist()[0]
    return found | {name: found[name] or 0 for name in ("n_kept", *masks)}


def _code(table: ir.Table) -> ir.StringValue:
    return table.currency.strip().upper().nullif("")


def find_unreadable(table: ir.Table) -> dict[str, ir.BooleanValue]:
    """Return, per carried-along source column, which of its values could not be read."""
    return {
        name: table[name].notnull() & table[name[len(RAW) :]].isnull()
        for name in table.columns
        if name.startswith(RAW)
    }


_READABLE = {
    "customer_id": "customer_id must be a whole number or text",
    "timestamp": (
        "timestamp must be a date that can be read (ISO 8601, else give the date_format, which "
        "`crmml init` finds; an offset from UTC needs timezone)"
    ),
    "amount": "amount must be a finite number that can be read (mind the decimal sign)",
}


def refuse_unreadable(
    table: ir.Table,
    facts: Mapping[str, Any],
    unreadable: Mapping[str, ir.BooleanValue],
    table_name: str,
    names: Mapping[str, str],
) -> None:
    """Refuse values that could not be read, and missing times and amounts.

    Raises
    ------
    DataError
        With the column of the source, the number of rows and the first values (of missing ones,
        the first ids).
    """
    for raw, mask in unreadable.items():
        if facts[raw]:
            name = raw[len(RAW) :]
            raise DataError(
                _READABLE.get(name, f"{name} must be a value that can be read"),
                table=table_name,
                column=names.get(name, name),
                n_rows=facts[raw],
                examples=first_values(table.filter(mask), raw),
            )
    for name in ("timestamp", "amount"):
        if name in table.columns and facts.get("unreadable"):
            rows = table.filter(table[name].isnull() & table.customer_id.notnull())
            if n_rows := int(rows.count().execute()):
                raise DataError(
                    f"{name} must not be missing (else set the policy unreadable to drop)",
                    table=table_name,
                    column=names.get(name, name),
                    n_rows=n_rows,
                    examples=first_values(rows, "customer_id"),
                )


def first_values(rows: ir.Table, name: str, most: int = 5) -> list[object]:
    """Return the first few distinct values of a column, in their own order."""
    values = rows.select(value=rows[name]).distinct().order_by("value").limit(most)
    found: list[object] = values.to_pyarrow()["value"].to_pylist()
    return found


def _refuse_currencies(rows: ir.Table, names: Mapping[str, str]) -> None:
    counts = rows.group_by(code=_code(rows)).agg(n=rows.count()).to_pyarrow().to_pylist()
    # most rows first; ties by name
    counts.sort(key=lambda row: (-row["n"], str(row["code"])))
    known = [f"{row['code']} ({row['n']:,} rows)" for row in counts if row["code"]]
    raise DataError(
        f"amounts must be in one currency; found {' and '.join(known)}",
        table="transactions",
        column=names.get("currency", "currency"),
    )


def _first_of_each(table: ir.Table, key: list[str]) -> ir.Table:
    """Keep one line per key; the remaining columns decide which, never the order of the rows."""
    others = [name for name in table.columns if name not in key]
    if not others:
        return table.distinct()
    window = ibis.window(group_by=key, order_by=others)
    return table.mutate(__n=ibis.row_number().over(window)).filter(ibis._["__n"] == 0).drop("__n")
