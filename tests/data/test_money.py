"""The amount of a line: made of several columns, and of the rows that are sales."""

import pandas as pd
import pytest

from crmml.config import ConfigError, load_config
from crmml.data.profile import compute_profile
from crmml.data.reading import Source
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, MissingColumnsError, ParameterError
from crmml.features.snapshot import build_snapshot
from crmml.models import GammaGammaModel
from crmml.training.opening import open_configured

LINES = pd.DataFrame(
    {
        "customer_id": ["a", "a", "b", "c"],
        "timestamp": ["2024-01-02", "2024-02-03", "2024-02-04", "2024-03-05"],
        "total": ["124.90", "64.90", "12.00", "4.90"],
        "tax": ["20.00", "10.00", "2.00", ""],
        "shipping": ["4.90", "4.90", "", "4.90"],
        "refunded": ["124.90", "32.45", "0", ""],
        "status": ["paid", "paid", "cancelled", ""],
    }
)
NAMES = {
    "amount": "total",
    "less_tax": "tax",
    "less_shipping": "shipping",
    "less_refunded": "refunded",
}


def amounts(frame, columns, **how):
    tables = open_tables(Source(frame, columns=columns, **how))
    read = tables.transactions.order_by("timestamp").amount.execute()
    return [float(value) for value in read], tables.report


def test_the_amount_is_net_of_tax_shipping_and_the_net_part_of_refunds():
    read, report = amounts(LINES, NAMES)
    assert read == [0.0, 25.0, 10.0, 0.0]
    (note,) = report.notes
    assert note == (
        "amounts are what was paid less tax, shipping and the net part of refunds, rounded once "
        "per line"
    )


def test_a_discount_is_taken_off_as_a_value_or_as_a_share():
    frame = LINES.assign(price=[10.0, 20.0, 5.0, 1.0], quantity=2, off=[0.5, 0, 0.1, None])
    priced = {"unit_price": "price"}
    assert amounts(frame, priced | {"less_discount_share": "off"})[0] == [10, 40, 9, 2]
    assert amounts(frame, priced | {"less_discount": "off"})[0] == [19.5, 40, 9.9, 2]


def test_a_part_that_cannot_be_read_is_refused_and_not_taken_for_nothing():
    frame = LINES.assign(tax=["20", "ten", "2", ""])
    with pytest.raises(DataError, match=r"amount must be a finite number"):
        amounts(frame, NAMES)


def test_rows_are_kept_by_their_status_and_the_others_counted():
    read, report = amounts(LINES, {"amount": "total"}, keep={"status": ["paid"]})
    assert read == [124.9, 64.9]
    assert (report.rows("keep"), report.rows_read, report.rows_kept) == (2, 4, 2)
    with pytest.raises(MissingColumnsError, match="'state'"):
        amounts(LINES, {"amount": "total"}, keep={"state": ["paid"]})
    # what is left out need not be read
    odd = LINES.assign(total=["124.90", "64.90", "unknown", "4.90"])
    assert amounts(odd, {"amount": "total"}, keep={"status": ["paid", ""]})[0] == [124.9, 64.9, 4.9]


def test_a_configuration_says_which_rows_to_keep(tmp_path):
    LINES.to_csv(tmp_path / "log.csv", index=False)
    file = tmp_path / "job.yaml"
    file.write_text(
        "data: {transactions: {path: log.csv, columns: {amount: total},"
        " keep: {status: [paid, cancelled]}}}"
    )
    tables = open_configured(load_config(file))
    assert tables.report.rows("keep") == 1
    with pytest.raises(ConfigError, match="keep"):
        load_config(file, ["data.transactions.keep=paid"])


def test_a_column_that_is_left_open_is_one_clear_sentence():
    with pytest.raises(MissingColumnsError) as refused:
        open_tables(Source(LINES, columns={"customer_id": None, "amount": "total"}))
    assert "customer_id is still to be chosen" in str(refused.value)
    assert "data.transactions.columns" in str(refused.value)


VISITS = pd.DataFrame(
    {
        "customer_id": ["a", "a", "a", "b", "b", "c"],
        "timestamp": [
            *("2024-01-02 08:00", "2024-01-02 09:00", "2024-02-01 08:00"),
            *("2024-01-05 08:00", "2024-03-01 08:00", "2024-02-02 08:00"),
        ],
    }
)


def test_a_log_without_amounts_counts_a_day_as_one_purchase():
    tables = open_tables(Source(VISITS, without_amounts=True))
    lines = tables.transactions.order_by(["customer_id", "timestamp"])
    assert [float(a) for a in lines.amount.execute()] == [1, 0, 1, 1, 1, 1]
    profile = compute_profile(tables)
    assert profile.counted
    assert profile.purchases == 5
    assert "a column amount would bring most" in profile.reach
    snapshot = build_snapshot(tables, "2024-04-01")
    spend = GammaGammaModel().fit(snapshot).expected_spend(snapshot)
    assert spend.to_numpy() == pytest.approx(1.0, rel=1e-3)


def test_each_purchase_may_be_given_a_worth(tmp_path):
    VISITS.to_csv(tmp_path / "log.csv", index=False)
    file = tmp_path / "job.yaml"
    file.write_text(
        "{value: {per_purchase: 12.5},"
        " data: {transactions: {path: log.csv, without_amounts: true}}}"
    )
    tables = open_configured(load_config(file))
    assert float(tables.transactions.amount.sum().execute()) == 5 * 12.5
    assert not compute_profile(tables).counted
    with pytest.raises(ConfigError, match=r"value.per_purchase is for a log without amounts"):
        open_configured(load_config(file, ["data.transactions.without_amounts=false"]))
    with pytest.raises(ParameterError, match="amount_per_purchase"):
        Source(VISITS, amount_per_purchase=3.0)
