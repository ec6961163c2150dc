"""The contract of the input tables: columns, types, units, and what each of them adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from crmml.exceptions import ParameterError

Kind: TypeAlias = Literal["id", "timestamp", "money", "number", "flag", "text"]
"""What a column holds.

=========  =========================  ======================================================
kind       type in the engine         read from
=========  =========================  ======================================================
id         int64 or text              whole numbers or text; the type of the source is kept
timestamp  timestamp, no time zone    dates, timestamps, text
money      DECIMAL(16, 2)             numbers, text; rounded to the nearest cent
number     DECIMAL(18, 4)             numbers, text
flag       boolean                    booleans, 0/1, text such as ``true`` and ``no``
text       text                       anything
=========  =========================  ======================================================

Sums of decimals are exact, so no result depends on how many threads added them up.
"""


@dataclass(frozen=True)
class Column:
    """One column of an input table.

    Attributes
    ----------
    name : str
        The name used everywhere inside.
    kind : str
        What it holds (:data:`Kind`).
    meaning : str
        Meaning, with the unit.
    required : bool
        Whether the table is refused without it.
    adds : str
        What the outputs gain from an optional column.
    nullable : bool
        Whether a required column may be null in some rows.
    choices : tuple of str
        Of text: the words that may stand there, in any case; empty where all may.
    least, most : float, optional
        Of a number: its legal range, both ends included.
    known_from : str
        The column of the moment from which the value is known, where that is not the time of the
        row: whether a complaint was settled is not known when it is made.
    """

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    adds: str = ""
    nullable: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    known_from: str = ""


@dataclass(frozen=True)
class TableSchema:
    """One input table.

    Adding a table is one entry here and, if its rows have rules of their own, one cleaning
    function.

    Attributes
    ----------
    name : str
        Name of the table.
    row : str
        What one row is.
    columns : tuple of Column
        In reading order, required ones first.
    key : tuple of str
        Columns that name a row: no two rows share them. Empty where rows may repeat.
    time : str or None
        The column that the cutoff cuts; None for a table without time.
    known_ahead : bool
        Whether rows after the cutoff may be read: a plan, known before it begins.
    open_ended : bool
        Whether further columns are kept (covariates).
    adds : str
        What the outputs gain from the table.
    flags : str
        Prefix of further columns that are flags; empty where there are none.
    """

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    time: str | None = None
    known_ahead: bool = False
    open_ended: bool = False
    adds: str = ""
    flags: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All column names."""
        return tuple(column.name for column in self.columns)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that must be there."""
        return tuple(column.name for column in self.columns if column.required)

    @property
    def filled(self) -> tuple[str, ...]:
        """Names of the columns that must be there and have a value in every row."""
        return tuple(c.name for c in self.columns if c.required and not c.nullable)

    @property
    def has_customers(self) -> bool:
        """Whether its rows belong to customers."""
        return "customer_id" in self.names

    def kind(self, name: str) -> Kind | None:
        """Kind of a column; None for one that the contract does not know.

        Examples
        --------
        >>> TRANSACTIONS.kind("amount")
        'money'
        >>> CUSTOMERS.kind("contactable_email")
        'flag'
        """
        if self.flags and name.startswith(self.flags):
            return "flag"
        return next((column.kind for column in self.columns if column.name == name), None)


_NOT_YET = "read, checked and profiled; no output of this version uses it"

_ID = Column("customer_id", "id", "the customer", required=True)
_AT = Column("timestamp", "timestamp", "when, in the business's own calendar", required=True)

TRANSACTIONS = TableSchema(
    "transactions",
    "an order line",
    (
        _ID,
        _AT,
        Column("amount", "money", "net revenue, currency; negative = return", required=True),
        Column(
            "order_id", "id", "the order the line belongs to", adds="duplicates told from repeats"
        ),
        Column(
            "margin", "money", "contribution, currency", adds="profitability and value in margin"
        ),
        Column(
            "cost", "money", "cost of goods, currency", adds="profitability and value in margin"
        ),
        Column(
            "category",
            "text",
            "product category",
            adds="loyalty class, breadth of assortment, taste segments",
        ),
        Column(
            "seller", "text", "own house or a competitor", adds="loyalty class seen, not inferred"
        ),
        Column("product_id", "id", "the product", adds="duplicates told from repeats"),
        Column("quantity", "number", "units sold", adds="units per purchase"),
        Column("discount", "money", "price reduction, currency, >= 0", adds="discount share"),
        Column("channel", "text", "where it was sold", adds="channel mix"),
        Column("currency", "text", "currency of the line", adds="a check that there is only one"),
    ),
    time="timestamp",
)
"""Required. In place of ``amount`` a mapping may name ``unit_price`` and ``quantity``: the amount
is then their product, rounded once per line."""

CUSTOMERS = TableSchema(
    "customers",
    "a customer",
    (
        _ID,
        Column("name", "text", "name, shown in lists and never logged", adds="names in the lists"),
        Column(
            "industry",
            "text",
            "industry or line of business",
            adds="the column group of the scores",
        ),
        Column("acquired_at", "timestamp", "first contact", adds=_NOT_YET),
        Column("acquisition_channel", "text", "where won", adds="value and payback by channel"),
        Column(
            "acquisition_cost",
            "money",
            "cost to win, currency",
            adds="customer profitability",
            least=0,
        ),
        Column("service_cost", "money", "cost to serve to date, currency", adds="profit", least=0),
        Column("contactable", "flag", "may be contacted", adds="eligibility for actions"),
    ),
    key=("customer_id",),
    open_ended=True,
    adds="groups, acquisition cost, permission to contact",
    flags="contactable_",
)
"""Further columns are static covariates; ``contactable_<channel>`` is a flag."""

INTERACTION_KINDS: tuple[str, ...] = (
    "contact",
    "complaint",
    "survey",
    "suggestion",
    "referral",
    "visit",
)

INTERACTIONS = TableSchema(
    "interactions",
    "a touch point",
    (
        _ID,
        _AT,
        Column(
            "kind",
            "text",
            f"one of {', '.join(INTERACTION_KINDS)}",
            required=True,
            choices=INTERACTION_KINDS,
        ),
        Column("channel", "text", "where it took place", adds="figures by channel of contact"),
        Column("dimension", "text", "product, price, service, ...", adds="experience by dimension"),
        Column(
            "score",
            "number",
            "survey score, 0 to 10",
            adds="experience zone; in the profile: the mean score",
            least=0,
            most=10,
        ),
        Column(
            "resolved_at",
            "timestamp",
            "when a complaint was settled",
            adds="experience zone; in the profile: open complaints",
            known_from="resolved_at",
        ),
        Column("cost", "money", "cost of the contact, currency", adds="profit", least=0),
        Column("staff_id", "id", "who served", adds="figures of staff in the scorecard"),
        Column("led_to_change", "flag", "a suggestion that was taken up", adds="strategic roles"),
        Column("referred_customer_id", "id", "who was referred", adds="strategic roles"),
        Column(
            "with_competitor",
            "flag",
            "a survey in which the customer says to buy mostly from a competitor",
            adds="the loyalty class competitor, stated",
        ),
    ),
    time="timestamp",
    adds="experience and strategic roles; of contracts: the chance of ending by contacts",
)

TREATMENTS = TableSchema(
    "treatments",
    "an action given or withheld",
    (
        _ID,
        _AT,
        Column("action", "text", "name of the action; no_action is control", required=True),
        Column("channel", "text", "through which it went", adds=_NOT_YET),
        Column("cost", "money", "what it cost, currency", adds="profit", least=0),
        Column(
            "propensity",
            "number",
            "probability of the action given",
            adds="in the profile: whether effects can be measured",
        ),
        Column("experiment", "text", "the experiment it belongs to", adds="strategy map"),
        Column("policy_version", "text", "the policy that chose it", adds=_NOT_YET),
    ),
    time="timestamp",
    adds="cool-downs and the limit on contacts",
)

END_REASONS: tuple[str, ...] = ("voluntary", "involuntary", "competitor")

SUBSCRIPTIONS = TableSchema(
    "subscriptions",
    "a contract period",
    (
        _ID,
        Column("started_at", "timestamp", "start of the period", required=True),
        Column(
            "ended_at",
            "timestamp",
            "end of the period; null = active",
            required=True,
            nullable=True,
            known_from="ended_at",
        ),
        Column("plan", "text", "what was subscribed to", adds="the chance of ending by plan"),
        Column("fee", "money", "fee per period, currency", adds="the value of a contract", least=0),
        Column(
            "end_reason",
            "text",
            f"one of {', '.join(END_REASONS)}",
            adds="ends told apart by reason: voluntary, failed payment, competitor",
            choices=END_REASONS,
            known_from="ended_at",
        ),
        Column("paid_until", "timestamp", "paid up to", adds=_NOT_YET),
    ),
    time="started_at",
    adds="when a contract ends, why, and what it still brings; enough for a base of its own",
)

SCHEDULES = TableSchema(
    "schedules",
    "a promotion, holiday, price period or campaign common to all customers",
    (
        Column("starts_at", "timestamp", "first moment", required=True),
        Column("ends_at", "timestamp", "end, exclusive", required=True),
        Column("name", "text", "which of them", required=True),
        Column("value", "number", "discount, price index; 1 where absent", adds=_NOT_YET),
    ),
    key=("name", "starts_at"),
    time="starts_at",
    known_ahead=True,
    adds=_NOT_YET,
)

LABELLED = TableSchema(
    "labelled",
    "a customer of a ready-made table",
    (_ID, Column("outcome", "flag", "what happened: 1 or 0", required=True)),
    key=("customer_id",),
    open_ended=True,
    adds="the probability of its outcome, in a training of its own",
)
"""Where no column names customers, the rows are numbered."""

LEFT = (
    *("churned", "churn", "churner", "left", "exited", "attrited", "attrited customer", "lost"),
    *("cancelled", "canceled", "terminated"),
)
STAYED = (
    *("stayed", "retained", "existing", "existing customer", "active", "current", "kept"),
    *("not churned", "no churn", "non-churner"),
)
"""Words of an outcome, beside yes and no: it happened, and it did not."""

TABLES: tuple[TableSchema, ...] = (
    TRANSACTIONS,
    CUSTOMERS,
    INTERACTIONS,
    TREATMENTS,
    SUBSCRIPTIONS,
    SCHEDULES,
    LABELLED,
)
"""Every input table, in the order in which people think of them."""


def table_named(name: str) -> TableSchema:
    """Return the contract of a table.

    Raises
    ------
    ParameterError
        If there is no such table.

    Examples
    --------
    >>> table_named("schedules").known_ahead
    True
    """
    for schema in TABLES:
        if schema.name == name:
            return schema
    raise ParameterError("table", f"one of {[schema.name for schema in TABLES]}", name)
