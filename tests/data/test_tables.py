"""Seven tables come in by their contracts; rows that break a rule are refused, or counted."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from crmml.config import ConfigError, DataSection, load_config, parse_config
from crmml.data.reading import Source
from crmml.data.schema import CUSTOMERS, TABLES
from crmml.data.settings import Policies
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import (
    DataError,
    MissingColumnsError,
    MissingTableError,
    ParameterError,
)
from crmml.storage.fingerprint import fingerprint
from crmml.training.opening import open_configured

WORLD = {
    "transactions": pd.DataFrame(
        {
            "customer_id": [1, 2, 2],
            "timestamp": ["2024-01-01", "2024-01-05", "2024-03-01"],
            "amount": [10, 20, 5],
            "currency": "EUR",
        }
    ),
    "customers": pd.DataFrame(
        {"customer_id": ["1", "02"], "contactable_email": ["yes", "no"], "age": [30, 40]}
    ),
    "interactions": pd.DataFrame(
        {
            "customer_id": ["1", "2"],
            "timestamp": ["2024-01-02", "2024-02-01"],
            "kind": ["Complaint ", "survey"],
            "score": [None, 9],
            "resolved_at": ["2024-02-10", None],
            "referred_customer_id": [None, "7"],
        }
    ),
    "treatments": pd.DataFrame(
        {
            "customer_id": [1, 2],
            "timestamp": ["2024-01-03", "2024-01-04"],
            "action": ["email", "no_action"],
            "propensity": [0.5, 1],
            "cost": ["0", "0.50"],
        }
    ),
    "subscriptions": pd.DataFrame(
        {
            "customer_id": [1, 2],
            "started_at": ["2024-01-01", "2024-01-01"],
            "ended_at": ["2024-02-15", None],
            "end_reason": ["voluntary", None],
            "paid_until": ["2024-02-15", "2024-12-31"],
        }
    ),
    "schedules": pd.DataFrame(
        {"starts_at": ["2024-05-01"], "ends_at": ["2024-05-08"], "name": ["spring"], "value": 0.8}
    ),
    "labelled": pd.DataFrame({"customer_id": [1, 2], "outcome": [0, 1], "tenure": [3, 4]}),
}


LOG = {"transactions": WORLD["transactions"]}


@pytest.fixture(scope="module")
def opened() -> Tables:
    """All seven tables, for all who only read them."""
    return open_tables(WORLD)


def altered(table: str, **columns: object) -> dict[str, pd.DataFrame]:
    return WORLD | {table: WORLD[table].assign(**columns)}


def test_all_seven_tables_come_in_with_their_facts(opened) -> None:
    tables = opened
    assert isinstance(tables, Mapping)
    assert list(tables) == [schema.name for schema in TABLES] == list(WORLD)
    assert tables.counts == {name: len(frame) for name, frame in WORLD.items()}
    assert set(tables.reports) == set(WORLD)
    assert tables.report is tables.reports["transactions"]
    assert tables.currency == "EUR"
    assert tables.span("schedules") == (pd.Timestamp("2024-05-01"),) * 2
    assert tables.span("transactions") == (tables.first_timestamp, tables.last_timestamp)
    with pytest.raises(ParameterError, match="table must be one with a time"):
        tables.span("customers")
    assert sorted(tables["interactions"].kind.execute()) == ["complaint", "survey"]
    people = tables["customers"].order_by("customer_id").to_pandas()
    assert people["contactable_email"].tolist() == [True, False]
    assert CUSTOMERS.kind("contactable_email") == "flag"


def beside_the_log(table: str, **columns: object) -> dict[str, pd.DataFrame]:
    """Return an altered table and the log alone: the other tables say nothing about it."""
    return LOG | {table: altered(table, **columns)[table]}


def test_ids_of_every_table_have_the_type_of_the_log(opened) -> None:
    for name, table in opened.items():
        for column in ("customer_id", "referred_customer_id"):
            if column in table.columns:
                assert str(table[column].type()) == "int64", (name, column)
    text = altered("transactions", customer_id=["a", "b", "b"])
    two = {name: text[name] for name in ("transactions", "treatments")}
    ids = open_tables(two)["treatments"].customer_id
    assert str(ids.type()) == "string"
    with pytest.raises(DataError, match=r"referred_customer_id.*'interactions'.*1 row .*'seven'"):
        open_tables(beside_the_log("interactions", referred_customer_id=["seven", None]))


def test_tables_cannot_be_changed() -> None:
    tables = open_tables(WORLD["transactions"])
    with pytest.raises(TypeError):
        tables["customers"] = tables["transactions"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        tables.policies = Policies()  # type: ignore[misc]
    assert tables == tables
    assert tables != open_tables(WORLD["transactions"])
    assert repr(tables) == "Tables(transactions: 3 rows)"


def test_what_is_not_there_is_named() -> None:
    tables = open_tables({"labelled": WORLD["labelled"]})
    assert tables.customers is None
    assert "transactions" not in tables
    with pytest.raises(MissingTableError, match="the table 'transactions' is needed; given are"):
        _ = tables.transactions
    with pytest.raises(MissingTableError, match="'transactions' is needed"):
        _ = tables.last_timestamp
    with pytest.raises(MissingTableError, match=r"at least one of the tables 'transactions', 's"):
        open_tables({"customers": WORLD["customers"]})
    with pytest.raises(MissingTableError, match="given are none"):
        open_tables()
    with pytest.raises(ParameterError, match=r"table must be one of .*'orders'"):
        open_tables({"orders": WORLD["transactions"]})
    with pytest.raises(ParameterError, match="customers must be given once"):
        open_tables(WORLD, WORLD["customers"])
    without = WORLD["interactions"].drop(columns="kind")
    with pytest.raises(MissingColumnsError, match=r"'kind'; present.*'interactions'"):
        open_tables(LOG | {"interactions": without})


BROKEN = [
    ("interactions", {"kind": ["call", "survey"]}, "known kind", r"one of 'contact', 'complaint'"),
    ("interactions", {"score": [10.5, 1]}, "range of score", r"score must lie from 0 to 10"),
    ("interactions", {"cost": [-1, 2]}, "range of cost", "cost must not be below 0"),
    (
        "interactions",
        {"resolved_at": ["2024-01-01", None]},
        "order of resolved_at",
        "not lie before timestamp",
    ),
    ("interactions", {"referred_customer_id": [1, 3]}, "own referrals", "another customer"),
    ("treatments", {"propensity": [0, 1]}, "range of propensity", "above 0 and not above 1"),
    ("treatments", {"cost": [1, -0.01]}, "range of cost", "cost must not be below 0"),
    ("subscriptions", {"ended_at": ["2023-12-31", None]}, "order of ended_at", "before started_at"),
    ("subscriptions", {"end_reason": ["bored", None]}, "known end_reason", "'involuntary'"),
    (
        "subscriptions",
        {"customer_id": [1, 1], "ended_at": [None, None], "end_reason": [None, None]},
        "overlapping periods",
        "periods of one customer must not overlap",
    ),
    (
        "subscriptions",
        {"ended_at": [None, None]},
        "reason of an end",
        "end_reason must be empty where ended_at is",
    ),
    ("customers", {"acquisition_cost": [-5, 1]}, "range of acquisition_cost", "not be below 0"),
    ("customers", {"service_cost": [-5, 1]}, "range of service_cost", "not be below 0"),
    ("subscriptions", {"fee": [-1, 1]}, "range of fee", "fee must not be below 0"),
    ("schedules", {"ends_at": ["2024-05-01"]}, "order of ends_at", "after starts_at"),
]


@pytest.mark.parametrize(("table", "columns", "policy", "words"), BROKEN)
def test_rows_that_break_a_rule_of_their_table(table, columns, policy, words) -> None:
    world = beside_the_log(table, **columns)
    first = "'spring'" if table == "schedules" else r"\d"
    with pytest.raises(DataError, match=rf"{words}.*table '{table}'.*\(first: {first}"):
        open_tables(world)
    lenient = Policies(unreadable="drop")
    if table == "schedules":
        with pytest.raises(DataError, match="must leave at least one row"):
            open_tables(world, policies=lenient)
        return
    report = open_tables(world, policies=lenient).reports[table]
    assert report.rows(policy) >= 1
    assert report.rows_read - report.rows(policy) == report.rows_kept or report.rows_kept == 0


UNREADABLE = [
    ("labelled", {"outcome": [2, 1]}, r"outcome must be 0 or 1.*'labelled'.*1 row .*first: 2\)"),
    ("labelled", {"outcome": [None, 1]}, r"outcome must not be missing.*'labelled'.*first: 1\)"),
    ("labelled", {"outcome": ["1.0", ""]}, r"outcome must not be missing.*'labelled'.*first: 2\)"),
    ("labelled", {"customer_id": [1, 1]}, r"customer_id must be unique.*'labelled'.*2 rows"),
    ("customers", {"customer_id": [1, None]}, "customer_id must not be missing.*'customers'"),
    ("customers", {"contactable_email": ["yes", "perhaps"]}, r"contactable_email.*'perhaps'"),
    ("interactions", {"timestamp": ["2024-01-02", "soon"]}, r"timestamp must be a date.*'soon'"),
    ("interactions", {"kind": ["visit", None]}, "kind must not be missing.*'interactions'"),
    ("subscriptions", {"started_at": [None, "2024-01-01"]}, "started_at must not be missing"),
    ("treatments", {"timestamp": ["2024-01-02", "1900-01-01"]}, "dates must lie.*'treatments'"),
]


@pytest.mark.parametrize(("table", "columns", "words"), UNREADABLE)
def test_values_that_do_not_fit_are_refused_with_their_place(table, columns, words) -> None:
    with pytest.raises(DataError, match=words):
        open_tables(beside_the_log(table, **columns))


PERIODS = pd.DataFrame(
    {
        "customer_id": [1, 1, 1, 2],
        "started_at": ["2024-01-01", "2024-02-01", "2024-03-01", "2024-01-01"],
        "ended_at": ["2024-02-01", "2024-03-01", None, None],
        "plan": ["small", "small", "small", "large"],
    }
)


def test_periods_may_follow_each_other_and_differ_in_plan() -> None:
    several = pd.concat([PERIODS, PERIODS.head(1).assign(plan="large", ended_at=None)])
    for periods in (PERIODS, several, PERIODS.iloc[::-1]):
        assert open_tables({"subscriptions": periods}).counts["subscriptions"] == len(periods)
    contained = pd.concat([PERIODS.head(1), PERIODS.head(1).assign(started_at="2024-01-10")])
    with pytest.raises(DataError, match=r"must not overlap .*'subscriptions'.*1 row .*first: 1"):
        open_tables({"subscriptions": contained})


def test_repeated_periods_are_refused_unless_duplicates_are_dropped() -> None:
    twice = pd.concat([PERIODS, PERIODS, PERIODS])
    with pytest.raises(DataError, match=r"or repeat each other.*8 rows"):
        open_tables({"subscriptions": twice})
    once = open_tables({"subscriptions": twice}, policies=Policies(duplicates="drop"))
    assert once.counts["subscriptions"] == len(PERIODS)


def test_no_covariate_is_called_table() -> None:
    with pytest.raises(DataError, match="no further column may be called 'table'"):
        open_tables(LOG | {"customers": WORLD["customers"].assign(table=["a", "b"])})


def test_a_period_of_the_plan_is_named_once() -> None:
    twice = pd.concat([WORLD["schedules"]] * 2)
    with pytest.raises(DataError, match=r"name and starts_at must be unique together.*2 rows"):
        open_tables(LOG | {"schedules": twice})


def test_policies_are_counted_in_every_table() -> None:
    touches = pd.concat([WORLD["interactions"], WORLD["interactions"].assign(customer_id="99")])
    touches = pd.concat([touches, touches.head(1), touches.head(1).assign(customer_id=None)])
    policies = Policies(duplicates="drop", test_customers=(99,))
    report = open_tables(LOG | {"interactions": touches}, policies=policies).reports
    counts = {e.policy: e.rows for e in report["interactions"].effects}
    assert counts["missing_ids"] == 1
    assert counts["test_customers"] == 2
    assert counts["duplicates"] == 1
    assert report["interactions"].rows_kept == 2


def test_before_a_cutoff_only_what_was_known_is_there(opened) -> None:
    past = opened.before(pd.Timestamp("2024-02-01"))
    assert past["transactions"].count().execute() == 2
    touches = past["interactions"].to_pandas()
    assert touches["kind"].tolist() == ["complaint"]
    assert touches["resolved_at"].isna().all()
    contracts = past["subscriptions"].to_pandas()
    assert contracts["ended_at"].isna().all()
    assert contracts["end_reason"].isna().all()
    assert contracts["paid_until"].notna().all()
    assert past["schedules"].count().execute() == 1  # a plan, known ahead


def test_settings_reach_every_table_that_carries_none_of_its_own() -> None:
    log = WORLD["transactions"].assign(timestamp="31.01.2024")
    own = Source(WORLD["treatments"])
    tables = open_tables({"transactions": log, "treatments": own}, date_format="%d.%m.%Y")
    assert tables.last_timestamp == pd.Timestamp("2024-01-31")
    with pytest.raises(ParameterError, match="given inside the Source"):
        open_tables({"labelled": WORLD["labelled"]}, columns={"amount": "x"})


def test_the_log_may_be_called_by_its_name() -> None:
    assert list(open_tables(transactions=WORLD["transactions"])) == ["transactions"]
    with pytest.raises(ParameterError, match="left out where transactions are given"):
        open_tables(WORLD["transactions"], transactions=WORLD["transactions"])


def test_the_fingerprint_covers_every_table(opened) -> None:
    tables = opened
    whole = fingerprint(tables)
    assert whole == fingerprint(open_tables(dict(reversed(WORLD.items()))))
    for name in WORLD:
        if name != "transactions":
            fewer = Tables({n: tables.facts(n) for n in tables if n != name}, tables.policies)
            assert fingerprint(fewer) != whole, name


def test_a_configuration_names_any_table(tmp_path, monkeypatch) -> None:
    lines = ["data:"]
    for name, frame in WORLD.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        lines.append(f"  {name}: {{path: {name}.csv}}")
    WORLD["labelled"].rename(columns={"outcome": "churned"}).to_csv(tmp_path / "labelled.csv")
    lines[-1] = "  labelled: {path: labelled.csv, columns: {outcome: churned}, timezone: null}"
    (tmp_path / "job.yaml").write_text("\n".join(lines), encoding="utf-8")
    config = load_config(tmp_path / "job.yaml")
    assert list(config.data.tables) == list(WORLD)
    monkeypatch.chdir("/")
    tables = open_configured(config)
    assert tables.counts == {name: len(frame) for name, frame in WORLD.items()}
    # what is handed over goes before what the configuration names
    more = open_configured(config, {"schedules": pd.concat([WORLD["schedules"]]).assign(name="x")})
    assert more["schedules"].name.execute().tolist() == ["x"]
    assert more.counts["transactions"] == 3
    assert open_configured(config, tables) is tables
    frame = open_configured(parse_config({}), WORLD["transactions"], WORLD["customers"])
    assert list(frame) == ["transactions", "customers"]
    assert isinstance(frame, Tables)
    with pytest.raises(ConfigError, match="name the transactions"):
        open_configured(parse_config({}), customers=WORLD["customers"])


def test_every_table_has_a_place_in_the_configuration() -> None:
    named = set(DataSection.model_fields) - {"policies", "own_seller", "few_repeats"}
    assert named == {schema.name for schema in TABLES}
