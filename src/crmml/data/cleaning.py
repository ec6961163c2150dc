"""Cleaning: the rules of every table and the policies, each with a counted effect, in the engine.

What counts as a purchase
-------------------------
A line with a positive amount is a purchase line; so is a line of amount zero that the policy
keeps. A negative line is a return: under ``net`` it lowers the spend of its customer on its day,
but it never is a purchase, never starts a history, and never takes a purchase away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import and_, or_
from types import MappingProxyType
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import pandas as pd

from crmml.data import engine
from crmml.data.columns import is_rounded
from crmml.data.outlying import Bulk, find_bulk
from crmml.data.schema import SUBSCRIPTIONS, TRANSACTIONS, TableSchema
from crmml.data.settings import CONCEALED, Policies, concealed
from crmml.exceptions import DataError, first_few

EARLIEST = pd.Timestamp("1970-01-02")
"""Dates before it are place-holders of some system, not sales (the first is the Unix epoch)."""
LATEST = pd.Timestamp("2100-01-01")
_NEVER = pd.Timestamp("9999-12-31")
_BEYOND = pd.Timestamp("9000-01-01")
"""Horizons after it would leave the calendar, whatever dates are kept."""

RAW = "__raw_"
"""Prefix of the unread source value of a column, carried along until the checks are done."""
RESERVED = ("table",)
"""Names that no covariate may have."""
COVERED = "__covered_until"
"""End of the periods that began before, in the table of subscriptions."""
EXACT = "__exact_amount"
"""Amount before rounding to cents, as float64, where rounding may be needed."""

ENOUGH = 20
"""Rows from which on ids like 1.00003E+19 are taken for rounded ones: a few may be called so."""
KEPT = "__kept"
"""Whether a row holds the values that the setting ``keep`` asks for."""


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
    """What the policies did to a table.

    Attributes
    ----------
    rows_read, rows_kept : int
        Rows before and after; the difference is the sum of the dropping effects.
    effects : tuple of Effect
        In the order of application: a row is counted by the first policy that drops it.
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
    """A table after the policies, with its facts.

    Attributes
    ----------
    table : Ibis table
        The columns of the contract, lazily.
    report : CleaningReport
        What the policies did.
    first, last : Timestamp or None
        Earliest and latest row kept, by the time column of the contract; None where it has none.
    currency : str or None
        The one currency, where the data name it.
    reading : mapping
        How it was read, where that was said: the settings that differ from the defaults.
    """

    table: ir.Table
    report: CleaningReport
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    currency: str | None
    reading: Mapping[str, Any] = MappingProxyType({})


def clean(
    table: ir.Table,
    policies: Policies,
    *,
    schema: TableSchema = TRANSACTIONS,
    names: Mapping[str, str],
    notes: Iterable[str] = (),
) -> Cleaned:
    """Check the rows of a table and apply the policies.

    Parameters
    ----------
    table : Ibis table
        Columns of the contract in their types; beside them, where reading can fail, the unread
        values under the prefix ``__raw_``, and ``__exact_amount`` (float64) where amounts may
        have to be rounded.
    policies : Policies
        The decisions.
    schema : TableSchema
        The contract of the table.
    names : mapping
        Name of each column in the source, for the messages.
    notes : iterable of str
        Sentences to hand on in the report.

    Returns
    -------
    Cleaned
        The cleaned rows and what was done to them.

    Raises
    ------
    DataError
        If rows break a rule for which the policy says ``error``, if rows share their key, if there
        is more than one currency, or if no row is left.
    """
    # Words are spelled before the rules look, or "Monthly" would be refused for its capital.
    table = _spell(table, schema)
    _refuse_reserved(table, schema, names)
    if schema is SUBSCRIPTIONS:
        table = _measure_cover(table, policies)
    columns = [name for name in table.columns if not name.startswith("__")]
    bulk = _bulk_of(table, policies, schema)
    steps = _steps(table, policies, schema, bulk)
    # a row is counted by the first policy that drops it, so the counts add up
    alive: ir.BooleanValue = ibis.literal(True)
    masks: dict[str, ir.BooleanValue] = {}
    for step in steps:
        masks[step.policy] = alive & step.concerns
        if step.drops:
            alive = alive & ~step.concerns
    # what another policy leaves out need not be read
    left_out = _left_out(table, steps)
    unreadable = {name: mask & ~left_out for name, mask in find_unreadable(table).items()}
    facts = _measure(table, schema, alive, masks | unreadable)

    of = _Masks(steps, masks, unreadable, alive, bulk)
    _refuse(table, schema, policies, names, facts, of)
    cleaned = table.filter(alive).select(columns)
    # Repeats are counted among the rows that are kept: a duplicate of a dropped row is none.
    repeated = _count_repeated(cleaned, facts["n_kept"], schema, names)
    drop = policies.duplicates == "drop" and not schema.key
    effects = [Effect(step.policy, step.choice, facts[step.policy], step.drops) for step in steps]
    if not schema.key:
        effects.append(Effect("duplicates", policies.duplicates, repeated, drop))
    if facts["n_kept"] == 0 and facts["n_rows"]:
        raise DataError(
            f"the policies must leave at least one row, but they left out all {facts['n_rows']:,}",
            table=schema.name,
        )
    notes = list(notes)
    if policies.unlikely_dates == "drop" and facts.get("unlikely_dates"):
        said = _say_dates(table.filter(masks["unlikely_dates"]), schema, bulk)
        notes.append(
            f"{facts['unlikely_dates']:,} rows are dated where no line can be ({said}) and are "
            "left out by policies.unlikely_dates"
        )
    report = CleaningReport(
        rows_read=facts["n_rows"],
        rows_kept=facts["n_kept"] - (repeated if drop else 0),
        effects=tuple(effects),
        rounded_amounts=facts.get("n_rounded", 0),
        rounding_total=float(facts.get("rounding") or 0.0),
        notes=tuple(notes),
    )
    return Cleaned(
        _first_of_each(cleaned, _duplicate_key(schema, columns)) if drop and repeated else cleaned,
        report,
        None if facts.get("first") is None else pd.Timestamp(facts["first"]),
        None if facts.get("last") is None else pd.Timestamp(facts["last"]),
        facts.get("currency"),
    )


def _bulk_of(table: ir.Table, policies: Policies, schema: TableSchema) -> Bulk | None:
    if schema not in (TRANSACTIONS, SUBSCRIPTIONS) or policies.unlikely_dates == "keep":
        return None
    rows = table.select(at=table[str(schema.time)])
    if schema is SUBSCRIPTIONS:  # either moves the end of what is known
        rows = rows.union(table.select(at=table.ended_at))
    return find_bulk(ibis.ifelse(_is_likely(rows.at), rows.at, ibis.null(rows.at.type())))


def _spell(table: ir.Table, schema: TableSchema) -> ir.Table:
    """Write words of a known list as the contract writes them."""
    listed = {c.name: c.choices for c in schema.columns if c.choices and c.name in table.columns}
    return table.mutate(
        **{
            name: ibis.ifelse(table[name].isin(words), table[name], table[name].strip().lower())
            for name, words in listed.items()
        }
    )


def _refuse_reserved(table: ir.Table, schema: TableSchema, names: Mapping[str, str]) -> None:
    """Refuse covariates whose names mean something else where tables come in one frame."""
    for name in RESERVED if schema.open_ended else ():
        if name in table.columns:
            raise DataError(
                f"no further column may be called {name!r}, which tells the tables of one frame "
                "apart; rename it, or leave it out",
                table=schema.name,
                column=names.get(name, name),
            )


def _measure_cover(table: ir.Table, policies: Policies) -> ir.Table:
    """Say until when the earlier periods of the same customer, and plan, run.

    A row that only repeats another is left to the policy on duplicates where that drops it.
    """
    known = [name for name in table.columns if not name.startswith("__")]
    whose = [name for name in ("customer_id", "plan") if name in known]
    ended = table.ended_at.fill_null(_NEVER)
    order = [table.started_at, ended, *(name for name in known if name not in whose)]
    # The running maximum of what came before: a long period may cover several later ones.
    until = ended.max().over(ibis.window(group_by=whose, order_by=order, rows=(None, -1)))
    if policies.duplicates == "drop":
        before = ibis.window(group_by=whose, order_by=order)
        same = reduce(and_, (table[n].identical_to(table[n].lag().over(before)) for n in known))
        until = ibis.ifelse(same, ibis.null(until.type()), until)
    return table.mutate(**{COVERED: until})


def _duplicate_key(schema: TableSchema, columns: Iterable[str]) -> list[str]:
    return duplicate_key(columns) if schema is TRANSACTIONS else list(columns)


class _Masks(NamedTuple):
    """Which rows the policies concern, hold what cannot be read, and are left; and their bulk."""

    steps: Sequence[_Step]
    masks: Mapping[str, ir.BooleanValue]
    unreadable: Mapping[str, ir.BooleanValue]
    alive: ir.BooleanValue
    bulk: Bulk | None


def _refuse(
    table: ir.Table,
    schema: TableSchema,
    policies: Policies,
    names: Mapping[str, str],
    facts: Mapping[str, Any],
    of: _Masks,
) -> None:
    """Refuse rows that a policy calls an error, or that cannot be what they seem."""
    # Of a customer without a contact or an action such a table is empty; a log never is.
    if facts["n_rows"] == 0 and schema.name not in ("interactions", "treatments"):
        raise DataError("there must be at least one row; the table is empty", table=schema.name)
    if policies.unreadable == "error":
        _refuse_unreadable(table, facts, of.unreadable, schema, names)
    for step in of.steps:
        if step.choice == "error" and facts[step.policy]:
            rows = table.filter(of.masks[step.policy])
            rule = step.rule
            if step.policy == "unlikely_dates":
                rule = f"{rule}; {_say_dates(rows, schema, of.bulk)}"
            raise DataError(
                rule,
                table=schema.name,
                column=names.get(step.column, step.column),
                n_rows=facts[step.policy],
                examples=_first_ids(rows, schema),
            )
    if facts.get("n_currencies", 0) > 1:
        _refuse_currencies(table.filter(of.alive), names)
    if facts["n_kept"] >= ENOUGH and 2 * facts.get("n_rounded_ids", 0) > facts["n_kept"]:
        raise DataError(
            "customer_id must be written in full, but a spreadsheet has rounded the last digits "
            "away, so that customers run together: export the file again with that column as text",
            table=schema.name,
            column=names.get("customer_id", "customer_id"),
            n_rows=facts["n_rounded_ids"],
            examples=first_values(
                table.filter(of.alive & is_rounded(table.customer_id)), "customer_id"
            ),
        )


def _count_repeated(
    table: ir.Table, n_rows: int, schema: TableSchema, names: Mapping[str, str]
) -> int:
    """Count the rows that repeat others; refuse them where the contract has a key."""
    key = list(schema.key) or _duplicate_key(schema, table.columns)
    # Lines of an order differ by their product; of any other table all columns are asked.
    telling = [name for name in ("order_id", "product_id") if name in key]
    repeated = engine.count_repeated(table, key, n_rows, telling if len(telling) == 2 else ())
    if schema.key and repeated:
        counts = table.group_by(key).agg(__n=table.count())
        counts = counts.filter(counts["__n"] > 1)
        raise DataError(
            f"{' and '.join(key)} must be unique{' together' if len(key) > 1 else ''}",
            table=schema.name,
            column=names.get(key[0], key[0]),
            n_rows=int(counts["__n"].sum().execute()),
            examples=first_values(counts, key[0]),
        )
    return repeated


# --- the steps -----------------------------------------------------------------------------------


class _Step(NamedTuple):
    policy: str
    choice: str
    concerns: ir.BooleanValue
    drops: bool
    column: str = ""
    rule: str = ""


class Rule(NamedTuple):
    """A rule of the rows of one table.

    Attributes
    ----------
    name : str
        What the report calls it.
    column : str
        The column that a message names.
    says : str
        The rule, as a sentence fragment.
    broken : Ibis boolean
        Which rows break it; null counts as not.
    """

    name: str
    column: str
    says: str
    broken: ir.BooleanValue


def _is_likely(at: ir.TimestampValue) -> ir.BooleanValue:
    return (at >= EARLIEST) & (at < LATEST)


def _far_date(table: ir.Table, schema: TableSchema, bulk: Bulk | None) -> ir.TimestampValue:
    """Write the date of a row that no row can have, or that lies far from the bulk; else null."""
    found = []
    for name in (str(schema.time), *(["ended_at"] if schema is SUBSCRIPTIONS and bulk else [])):
        at = table[name]
        far = ~_is_likely(at)
        # A log may be of any century that its bulk is of; what lies far from it is a slip.
        far = far if bulk is None else far | bulk.leaves_out(at)
        found.append(ibis.ifelse(far, at, ibis.null(at.type())))
    return ibis.coalesce(*found)


def _say_dates(rows: ir.Table, schema: TableSchema, bulk: Bulk | None) -> str:
    """Say on which days some rows lie, and how many customers have them."""
    at = _far_date(rows, schema, bulk)
    days = first_values(rows.mutate(day=at.cast("date").cast("string")), "day", 3)
    said = f"some lie on {', '.join(map(str, days))}"
    if not schema.has_customers:
        return said
    ids = int(rows.customer_id.nunique().execute())
    return f"{said}, of {ids:,} customer{'s' if ids > 1 else ''}"


def _steps(
    table: ir.Table, policies: Policies, schema: TableSchema, bulk: Bulk | None = None
) -> list[_Step]:
    """Each policy on single rows, in order: which rows it concerns, whether it drops them."""
    steps = []
    if KEPT in table.columns:
        steps.append(_Step("keep", "the values named", ~table[KEPT], True))
    if schema.has_customers:
        steps += _steps_by_customer(table, policies, schema)
    empty = [name for name in schema.filled if name != "customer_id"]
    if empty:
        # its errors are raised column by column, before all others
        concerns = reduce(or_, (table[name].isnull() for name in empty))
        steps.append(_Step("unreadable", policies.unreadable, concerns, True, empty[-1]))
    rules = _rules_of_columns(table, schema, policies.unlikely_dates == "keep")
    for rule in [*rules, *_RULES.get(schema.name, _no_rules)(table)]:
        says = f"{rule.says} (else set the policy unreadable to drop)"
        # What is unknown breaks no rule: missing values have a policy of their own.
        broken = rule.broken.fill_null(False)
        steps.append(_Step(rule.name, policies.unreadable, broken, True, rule.column, says))
    if schema.time is not None:
        says = f"dates must lie from {EARLIEST:%Y-%m-%d} to before {LATEST:%Y-%m-%d}"
        if bulk is not None:
            what = "started_at and ended_at" if schema is SUBSCRIPTIONS else "dates"
            says = (
                f"{what} must not lie far from all others, which run from {bulk.first:%Y-%m-%d} to "
                f"{bulk.last:%Y-%m-%d}"
            )
        steps.append(
            _Step(
                "unlikely_dates",
                policies.unlikely_dates,
                _far_date(table, schema, bulk).notnull(),
                policies.unlikely_dates != "keep",
                schema.time,
                f"{says} (else set the policy unlikely_dates to drop or keep)",
            )
        )
    return steps + (_steps_by_amount(table, policies) if schema is TRANSACTIONS else [])


def _left_out(table: ir.Table, steps: list[_Step]) -> ir.BooleanValue:
    """Say which rows go because of what they are, whatever their other values."""
    first = {s.policy: s.concerns.fill_null(False) for s in steps if s.drops}
    if any(s.policy == "missing_ids" and s.choice == "error" for s in steps):
        first.pop("missing_ids")
    elif "missing_ids" in first and RAW + "customer_id" in table.columns:
        # an id that cannot be read is no missing one
        first["missing_ids"] &= table[RAW + "customer_id"].isnull()
    going = [first[name] for name in ("keep", "missing_ids", "test_customers") if name in first]
    return reduce(or_, going, ibis.literal(False))


def _steps_by_customer(table: ir.Table, policies: Policies, schema: TableSchema) -> list[_Step]:
    test = _test_customers(table, policies)
    named = "customer_id" in schema.key
    return [
        _Step(
            "missing_ids",
            "error" if named else policies.missing_ids,
            table.customer_id.isnull(),
            True,
            "customer_id",
            "customer_id must not be missing"
            if named
            else "every row must belong to a customer (policy missing_ids: error)",
        ),
        _Step(
            "test_customers",
            f"{len(policies.test_customers)} ids",
            table.customer_id.cast("string").isin(test) if test else ibis.literal(False),
            True,
        ),
    ]


def _test_customers(table: ir.Table, policies: Policies) -> list[str]:
    """Return the ids that are no customers; those given as hashes are looked up in the table."""
    given = [str(customer) for customer in policies.test_customers]
    # A bundle stores the ids of test customers as hashes only, as they may be people.
    hashes = {one for one in given if one.startswith(CONCEALED)}
    if not hashes:
        return given
    ids = table.select(id=table.customer_id.cast("string")).distinct().to_pyarrow()["id"]
    found = [one for one in ids.to_pylist() if one is not None and concealed(one) in hashes]
    return [*(one for one in given if one not in hashes), *found]


def _steps_by_amount(table: ir.Table, policies: Policies) -> list[_Step]:
    return [
        _Step(
            "returns",
            policies.returns,
            table.amount < 0,
            policies.returns == "drop",
            "amount",
            "amounts must not be negative (policy returns: error)",
        ),
        _Step(
            "zero_amounts",
            policies.zero_amounts,
            table.amount == 0,
            policies.zero_amounts == "drop",
        ),
    ]


def _rules_of_columns(table: ir.Table, schema: TableSchema, keeps_all_dates: bool) -> list[Rule]:
    """Return the lists of words and the ranges that the contract states."""
    rules = []
    for column in schema.columns:
        if column.name not in table.columns:
            continue
        name, value = column.name, table[column.name]
        if column.choices:
            says = f"{name} must be one of {first_few(column.choices, len(column.choices))}"
            rules.append(Rule(f"known {name}", name, says, value.notin(column.choices)))
        if column.least is not None and column.most is not None:
            says = f"{name} must lie from {column.least:g} to {column.most:g}"
            outside = (value < column.least) | (value > column.most)
            rules.append(Rule(f"range of {name}", name, says, outside))
        elif column.least is not None:
            says = f"{name} must not be below {column.least:g}"
            rules.append(Rule(f"range of {name}", name, says, value < column.least))
        if column.kind == "timestamp" and (name != schema.time or keeps_all_dates):
            before = LATEST if name != schema.time else _BEYOND
            says = f"{name} must lie before {before:%Y-%m-%d}"
            says += ", or be empty where there is none" if column.nullable else ""
            rules.append(Rule(f"range of {name}", name, says, value >= before))
    return rules


def _no_rules(table: ir.Table) -> list[Rule]:
    return []


def _interaction_rules(table: ir.Table) -> list[Rule]:
    rules = []
    if "resolved_at" in table.columns:
        says = "resolved_at must not lie before timestamp"
        early = table.resolved_at < table.timestamp
        rules.append(Rule("order of resolved_at", "resolved_at", says, early))
    if "referred_customer_id" in table.columns:
        says = "referred_customer_id must be another customer"
        own = table.referred_customer_id == table.customer_id
        rules.append(Rule("own referrals", "referred_customer_id", says, own))
    return rules


def _treatment_rules(table: ir.Table) -> list[Rule]:
    if "propensity" not in table.columns:
        return []
    says = "propensity must lie above 0 and not above 1"
    outside = (table.propensity <= 0) | (table.propensity > 1)
    return [Rule("range of propensity", "propensity", says, outside)]


def _subscription_rules(table: ir.Table) -> list[Rule]:
    says = "ended_at must not lie before started_at (null = active)"
    rules = [Rule("order of ended_at", "ended_at", says, table.ended_at < table.started_at)]
    of_plan = " and plan" if "plan" in table.columns else ""
    says = f"periods of one customer{of_plan} must not overlap or repeat each other"
    begins_early = table.started_at < table[COVERED]
    rules.append(Rule("overlapping periods", "started_at", says, begins_early))
    if "end_reason" in table.columns:
        says = "end_reason must be empty where ended_at is"
        active = table.ended_at.isnull() & table.end_reason.notnull()
        rules.append(Rule("reason of an end", "end_reason", says, active))
    return rules


def _schedule_rules(table: ir.Table) -> list[Rule]:
    says = "ends_at must lie after starts_at"
    return [Rule("order of ends_at", "ends_at", says, table.ends_at <= table.starts_at)]


_RULES: Mapping[str, Callable[[ir.Table], list[Rule]]] = {
    "interactions": _interaction_rules,
    "treatments": _treatment_rules,
    "subscriptions": _subscription_rules,
    "schedules": _schedule_rules,
}
"""Rules that compare columns, or that no range states, by table."""


# --- counting and refusing -----------------------------------------------------------------------


def _measure(
    table: ir.Table,
    schema: TableSchema,
    alive: ir.BooleanValue,
    masks: Mapping[str, ir.BooleanValue],
) -> dict[str, Any]:
    """Count everything in one pass of the engine."""
    measures: dict[str, ir.Value] = {
        "n_rows": table.count(),
        "n_kept": ibis.ifelse(alive, 1, 0).sum(),
        **{name: ibis.ifelse(mask, 1, 0).sum() for name, mask in masks.items()},
    }
    if schema.time is not None:
        kept_at = ibis.ifelse(alive, table[schema.time], ibis.null())
        measures |= {"first": kept_at.min(), "last": kept_at.max()}
    if "currency" in table.columns:
        code = ibis.ifelse(alive, _code(table), ibis.null())
        measures |= {"n_currencies": code.nunique(), "currency": code.min()}
    if schema.has_customers and table.customer_id.type().is_string():
        measures["n_rounded_ids"] = ibis.ifelse(alive & is_rounded(table.customer_id), 1, 0).sum()
    if EXACT in table.columns:
        change = table.amount.cast("float64") - table[EXACT]
        # the tolerance of float64 arithmetic: what is below is representation, not rounding
        rounded = alive & (change.abs() > 1e-6 + 4e-16 * table[EXACT].abs())
        cents = ibis.ifelse(rounded, change, 0.0).cast("decimal(18, 6)")
        measures |= {"n_rounded": ibis.ifelse(rounded, 1, 0).sum(), "rounding": cents.sum()}
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


_NUMBER = "{} must be a finite number of at most 14 digits before the decimal sign"
_READABLE = {
    "id": "{} must be a whole number or text",
    "timestamp": (
        "{} must be a date that can be read (ISO 8601, else give the date_format, which "
        "`crmml init` finds; an offset from UTC needs timezone; policies.unreadable: drop leaves "
        "these rows out)"
    ),
    "amount": (f"{_NUMBER} (mind that sign; policies.unreadable: drop leaves these rows out)"),
    "money": _NUMBER,
    "number": _NUMBER,
    "flag": "{} must be true or false (or 1 or 0, or yes or no)",
    "outcome": "{} must be 0 or 1 (or yes or no)",
}
"""By name or kind of the column."""
_OFFSET = re.compile(r"\d{2}:\d{2}(:\d{2}([.,]\d+)?)? ?(Z|[+-]\d{2}(:?\d{2})?)$")
_NEEDS_ZONE = (
    "{} carries an offset from UTC, so the timezone of the business must be given: "
    "data.transactions.timezone, like Europe/Berlin (on the command line; else timezone=)"
)
_UNREAD = "{} must be a value that can be read"


def _refuse_unreadable(
    table: ir.Table,
    facts: Mapping[str, Any],
    unreadable: Mapping[str, ir.BooleanValue],
    schema: TableSchema,
    names: Mapping[str, str],
) -> None:
    """Refuse values that could not be read, and missing ones that every row must have.

    The error has the column of the source, the number of rows and the first values (of missing
    ones, the first ids).
    """
    for raw, mask in unreadable.items():
        if facts[raw]:
            name = raw[len(RAW) :]
            rule = _READABLE.get(name, _READABLE.get(schema.kind(name) or "", _UNREAD))
            found = first_values(table.filter(mask), raw)
            if name == "timestamp" and all(_OFFSET.search(str(value)) for value in found):
                rule = _NEEDS_ZONE
            raise DataError(
                rule.format(name),
                table=schema.name,
                column=names.get(name, name),
                n_rows=facts[raw],
                examples=found,
            )
    for name in schema.filled:
        if name != "customer_id" and facts.get("unreadable"):
            missing = table[name].isnull()
            if schema.has_customers:
                missing = missing & table.customer_id.notnull()
            rows = table.filter(missing)
            if n_rows := int(rows.count().execute()):
                raise DataError(
                    f"{name} must not be missing (else set the policy unreadable to drop)",
                    table=schema.name,
                    column=names.get(name, name),
                    n_rows=n_rows,
                    examples=_first_ids(rows, schema),
                )


def _first_ids(rows: ir.Table, schema: TableSchema) -> list[object]:
    name = "customer_id" if schema.has_customers else schema.key[0]
    return first_values(rows.filter(rows[name].notnull()), name)


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
        f"amounts must be in one currency; found {' and '.join(known)}: keep the rows of one by "
        "data.transactions.keep, or convert by data.transactions.rates",
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
