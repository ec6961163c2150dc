"""Each policy does what its name says, counts it, and the counts add up."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmml.data.cleaning import CleaningReport, is_purchase
from crmml.data.datasets import load_cdnow
from crmml.data.settings import Policies
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, ParameterError

LINES = pd.DataFrame(
    [
        ("a", "2024-01-01", 10.0, "o1", "p1"),
        ("a", "2024-01-01", 10.0, "o1", "p1"),  # a duplicate
        ("a", "2024-01-01", 10.0, "o1", "p2"),  # the same price, another product
        ("a", "2024-01-05", -4.0, "o2", "p1"),  # a return
        ("b", "2024-01-02", 0.0, "o3", "p1"),  # a present
        (None, "2024-01-03", 5.0, "o4", "p1"),
        (" ", "2024-01-03", -5.0, "o4", "p1"),
        ("test", "2024-01-04", 1.0, "o5", "p1"),
        ("c", "1900-01-01", 7.0, "o6", "p1"),
        ("c", None, 7.0, "o7", "p1"),
        ("c", "2024-01-09", np.nan, "o8", "p1"),
    ],
    columns=["customer_id", "timestamp", "amount", "order_id", "product_id"],
)
LENIENT = {"unreadable": "drop", "unlikely_dates": "drop"}


def spend(tables):
    t = tables.transactions
    frame = t.group_by("customer_id").agg(spend=t.amount.sum()).to_pandas()
    return dict(zip(frame["customer_id"], frame["spend"], strict=True))


def test_all_policies_at_once_are_counted_without_double_counting():
    tables = open_tables(
        LINES, policies=Policies(**LENIENT, duplicates="drop", test_customers=("test",))
    )
    report = tables.report
    counts = {effect.policy: effect.rows for effect in report.effects}
    assert counts == {
        "missing_ids": 2,
        "test_customers": 1,
        "unreadable": 2,
        "unlikely_dates": 1,
        "returns": 1,
        "zero_amounts": 1,
        "duplicates": 1,
    }
    assert (report.rows_read, report.rows_kept) == (11, 4)
    assert spend(tables) == {"a": Decimal("16.00"), "b": Decimal("0.00")}
    assert tables.last_timestamp == pd.Timestamp("2024-01-05")


@pytest.mark.parametrize(
    ("policies", "kept", "spent"),
    [
        ({}, 6, {"a": 26, "b": 0, "test": 1}),
        ({"returns": "drop"}, 5, {"a": 30, "b": 0, "test": 1}),
        ({"zero_amounts": "drop"}, 5, {"a": 26, "test": 1}),
        ({"duplicates": "drop"}, 5, {"a": 16, "b": 0, "test": 1}),
        ({"unlikely_dates": "keep"}, 7, {"a": 26, "b": 0, "c": 7, "test": 1}),
        ({"test_customers": ["test", "b"]}, 4, {"a": 26}),
    ],
)
def test_each_policy_alone(policies, kept, spent):
    tables = open_tables(LINES, policies=Policies(**(LENIENT | policies)))
    assert tables.report.rows_kept == tables.transactions.count().execute() == kept
    assert spend(tables) == spent


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ({"returns": "error"}, r"amounts must not be negative.*'amount'.*1 row .*'a'"),
        ({"missing_ids": "error"}, r"every row must belong to a customer.*2 rows"),
        ({"unlikely_dates": "error"}, r"dates must lie from.*1 row .*'c'"),
        ({"unreadable": "error"}, r"timestamp must not be missing.*1 row .*'c'"),
    ],
)
def test_error_refuses_the_data(policies, words):
    with pytest.raises(DataError, match=words):
        open_tables(LINES, policies=Policies(**(LENIENT | policies)))


def test_an_unknown_option_is_refused_with_the_known_ones():
    with pytest.raises(ParameterError, match=r"policy zero_amounts must be one of 'keep_as_purch"):
        Policies(zero_amounts="ignore")


def test_an_unreadable_optional_value_becomes_null_when_lines_may_be_dropped():
    frame = LINES.head(3).assign(discount=["1", "two", "3"])
    with pytest.raises(DataError, match=r"discount must be a finite number.*'two'"):
        open_tables(frame)
    tables = open_tables(frame, policies=Policies(unreadable="drop"))
    assert tables.transactions.discount.notnull().sum().execute() == 2
    assert tables.report.rows_kept == 3


def test_duplicates_keep_the_same_line_whatever_the_order_of_the_rows():
    frame = LINES.head(2).assign(channel=["web", "shop"])
    policies = Policies(duplicates="drop")
    for lines in (frame, frame[::-1]):
        assert open_tables(lines, policies=policies).transactions.channel.execute()[0] == "shop"


def test_negative_lines_are_no_purchases_and_zero_lines_are_when_kept():
    t = open_tables(LINES, policies=Policies(**LENIENT)).transactions
    counted = t.group_by("customer_id").agg(n=is_purchase(t).sum()).to_pandas()
    assert dict(zip(counted["customer_id"], counted["n"], strict=True)) == {
        "a": 3,
        "b": 1,
        "test": 1,
    }


def test_the_report_of_cdnow():
    report = open_tables(load_cdnow()).report
    assert (report.rows_read, report.rows_kept) == (69_659, 69_659)
    assert (report.rows("zero_amounts"), report.rows("returns")) == (80, 0)
    assert report.rows("duplicates") == 255
    assert report.rounded_amounts == 0


def test_the_report_is_plain_json_values():
    report = open_tables(LINES, policies=Policies(**LENIENT)).report
    stored = json.loads(json.dumps(report.to_dict()))
    assert stored["rows_read"] == 11
    assert stored["effects"][0] == {
        "policy": "missing_ids",
        "choice": "drop",
        "rows": 2,
        "dropped": True,
    }
    assert isinstance(report, CleaningReport)


amounts = st.integers(-300, 300).map(lambda cents: cents / 100)
lines = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]), st.sampled_from(["2024-01-01", "2024-01-02"]), amounts
    ),
    min_size=1,
    max_size=12,
)
choices = st.builds(
    Policies,
    returns=st.sampled_from(["net", "drop"]),
    zero_amounts=st.sampled_from(["keep_as_purchase", "drop"]),
    duplicates=st.sampled_from(["keep", "drop"]),
)


@settings(max_examples=10, deadline=None)
@given(lines, choices)
def test_rows_read_less_rows_dropped_are_the_rows_kept(rows, policies):
    frame = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    frame["customer_id"] = frame["customer_id"].astype("str")
    # pandas says the same in its own words
    want = frame.dropna()
    want = want[want["amount"] >= 0] if policies.returns == "drop" else want
    want = want[want["amount"] != 0] if policies.zero_amounts == "drop" else want
    want = want.drop_duplicates() if policies.duplicates == "drop" else want
    if want.empty:
        with pytest.raises(DataError, match=r"must leave at least one row"):
            open_tables(frame, policies=policies)
        return
    tables = open_tables(frame, policies=policies)
    report = tables.report
    dropped = sum(effect.rows for effect in report.effects if effect.dropped)
    assert report.rows_read - dropped == report.rows_kept == len(want)
    assert float(tables.transactions.amount.sum().execute()) == pytest.approx(want["amount"].sum())


def test_hashes_only_ever_spare_the_comparison_of_repeated_lines(monkeypatch):
    monkeypatch.setattr("crmml.data.engine._FEW", 0)  # few lines are compared without hashes
    lines = pd.DataFrame({"customer_id": [1, 1, 2], "timestamp": pd.Timestamp("2024-01-02"),
                          "amount": [5.0, 5.0, 5.0]})  # fmt: skip
    assert open_tables(lines).report.rows("duplicates") == 1
    assert open_tables(lines.iloc[1:]).report.rows("duplicates") == 0
    # Where all orders bear one number, it and the product tell no lines apart.
    orders = lines.assign(order_id=7, product_id=[1, 1, 1])
    assert open_tables(orders).report.rows("duplicates") == 1
    assert open_tables(orders.assign(order_id=[1, 2, 3])).report.rows("duplicates") == 0
    monkeypatch.setattr("crmml.data.engine._HASHES_AT_A_TIME", 1)  # in as many parts as lines
    assert open_tables(lines).report.rows("duplicates") == 1
    many = pd.concat([lines.iloc[:1].assign(customer_id=k) for k in [*range(9)] * 2])
    assert open_tables(many).report.rows("duplicates") == 9


@pytest.mark.parametrize(
    ("column", "day"), [("started_at", "2031-05-01"), ("ended_at", "2031-06-01")]
)
def test_a_contract_dated_far_ahead_is_refused(column, day):
    """One such date would move the end of what is known of all contracts."""
    days = pd.date_range("2023-01-02", periods=200, freq="D")
    rows = pd.DataFrame({"customer_id": range(200), "started_at": days, "ended_at": pd.NaT})
    rows.loc[::3, "ended_at"] = rows["started_at"] + pd.Timedelta(days=90)
    rows.loc[7, column] = pd.Timestamp(day)
    with pytest.raises(DataError, match=f"must not lie far from all others.*some lie on {day}"):
        open_tables({"subscriptions": rows})


def test_a_table_of_events_may_be_empty():
    log = pd.DataFrame({"customer_id": [1], "timestamp": ["2024-01-02"], "amount": [5.0]})
    none = pd.DataFrame({"customer_id": [1], "timestamp": ["2024-01-02"], "kind": ["visit"]})[:0]
    tables = open_tables({"transactions": log, "interactions": none})
    assert tables["interactions"].count().execute() == 0
