"""What crmml understands of a stranger's file, and where it says that it is not sure."""

import pandas as pd
import pytest
import yaml

from crmml.data.columns import plain, spellings
from crmml.data.datasets import load_cdnow
from crmml.data.mapping import propose_mapping
from crmml.data.schema import TABLES
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, SourceError

RETAIL = (
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    "536365,85123A,WHITE HANGING,6,12/1/2010 8:26,2.55,17850,UK\n"
    "536366,71053,LANTERN,2,12/13/2010 8:26,3.39,17850,UK\n"
    "C536379,D,Discount,-1,12/14/2010 9:41,27.50,,UK\n"
)
TILL = (
    "Kunde;Belegnr;Datum;Betrag;Währung\n"
    "00012;1;31.01.2024 08:05;1.234,50;EUR\n"
    "00013;2;01.02.2024 09:00;-3,5;EUR\n"
)


def propose(tmp_path, text, name="file.csv", encoding="utf-8"):
    file = tmp_path / name
    file.write_text(text, encoding=encoding)
    return propose_mapping(file)


def mapped(proposal):
    return {name: guess.column for name, guess in proposal.columns.items()}


def test_an_online_retail_file(tmp_path):
    proposal = propose(tmp_path, RETAIL)
    assert mapped(proposal) == {
        "customer_id": "CustomerID",
        "timestamp": "InvoiceDate",
        "unit_price": "UnitPrice",
        "quantity": "Quantity",
        "order_id": "InvoiceNo",
        "product_id": "StockCode",
    }
    assert proposal.date_format == "%m/%d/%Y %H:%M"
    assert proposal.missing == {}
    assert proposal.doubts == ()
    assert proposal.unused == ("Description", "Country")
    assert any("only 1 with day and month the other way" in said for said in proposal.evidence)
    tables = open_tables(proposal.to_source())
    assert float(tables.transactions.amount.sum().execute()) == pytest.approx(6 * 2.55 + 2 * 3.39)
    assert tables.report.rows("missing_ids") == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_a_german_till(tmp_path, encoding):
    proposal = propose(tmp_path, TILL, encoding=encoding)
    assert mapped(proposal) == {
        "customer_id": "Kunde",
        "timestamp": "Datum",
        "amount": "Betrag",
        "order_id": "Belegnr",
        "currency": "Währung",
    }
    assert (proposal.delimiter, proposal.amounts.decimal) == (";", ",")
    assert proposal.date_format == "%d.%m.%Y %H:%M"
    assert proposal.currencies == ("EUR",)
    tables = open_tables(proposal.to_source())
    assert sorted(map(float, tables.transactions.amount.execute())) == [-3.5, 1234.5]
    assert sorted(tables.transactions.customer_id.execute()) == ["00012", "00013"]


def test_a_persian_file(tmp_path):
    proposal = propose(tmp_path, "شناسه مشتری,تاریخ,مبلغ\nعلی,2024-01-05,10.5\nسارا,2024-02-06,3\n")
    assert list(mapped(proposal)) == ["customer_id", "timestamp", "amount"]
    assert open_tables(proposal.to_source()).report.rows_kept == 2


def test_ambiguous_dates_are_said_to_be_ambiguous(tmp_path):
    proposal = propose(tmp_path, "cust_id,order_ts,total\na,01/02/2024,5.00\nb,02/02/2024,6\n")
    assert proposal.date_format == "%d/%m/%Y"
    assert any("ambiguous: all read as '%d/%m/%Y' and as '%m/%d/%Y'" in d for d in proposal.doubts)
    assert "# look here: dates of 'order_ts' are ambiguous" in proposal.to_yaml()


def test_one_day_above_twelve_far_down_settles_the_order(tmp_path):
    text = "cust_id,day,total\n" + "a,01/02/2024,5\nb,02/03/2024,5\n" * 6_000 + "a,02/28/2024,5\n"
    proposal = propose(tmp_path, text)
    assert proposal.date_format == "%m/%d/%Y"
    assert proposal.doubts == ()


def test_an_ambiguous_decimal_sign_is_said_to_be_ambiguous(tmp_path):
    proposal = propose(tmp_path, "cust_id;date;total\na;2024-01-02;1.500\nb;2024-01-03;2.000\n")
    assert any("reads with '.' and with ','" in doubt for doubt in proposal.doubts)


@pytest.mark.parametrize(
    ("written", "date_format", "needs_timezone"),
    [
        ("2024-03-31", None, False),
        ("2024-03-31 10:00:00", None, False),
        ("2024-03-31T10:00:00Z", None, True),
        ("20240331", "%Y%m%d", False),
        ("31-Mar-24", "%d-%b-%y", False),
        ("03/31/2024 10:05 PM", "%m/%d/%Y %I:%M %p", False),
        ("31.3.2024 7:05", "%d.%m.%Y %H:%M", False),
    ],
)
def test_dates_in_many_dresses(tmp_path, written, date_format, needs_timezone):
    text = f"client_id;created_at;revenue\na;{written};5,25\nb;{written};6\n"
    proposal = propose(tmp_path, text)
    assert mapped(proposal)["timestamp"] == "created_at"
    assert (proposal.date_format, proposal.needs_timezone) == (date_format, needs_timezone)
    tables = open_tables(proposal.to_source("UTC" if needs_timezone else None))
    assert tables.first_timestamp.date() == pd.Timestamp("2024-03-31").date()


def test_a_file_without_a_header(tmp_path):
    rows = "".join(
        f"K{i % 7}|2024-01-{i % 28 + 1:02d}|{i % 3 + 1}|{i * 1.25:.2f}\n" for i in range(40)
    )
    proposal = propose(tmp_path, rows, "plain.txt")
    assert not proposal.header
    assert mapped(proposal) == {
        "customer_id": "column0",
        "timestamp": "column1",
        "amount": "column3",
    }
    assert all(guess.confidence <= 0.6 for guess in proposal.columns.values())
    assert any("first line looks like data" in doubt for doubt in proposal.doubts)
    assert open_tables(proposal.to_source()).report.rows_kept == 40
    assert "header: false" in proposal.to_yaml()


def test_a_parquet_file(tmp_path):
    frame = load_cdnow(sample=True).rename(
        columns={"customer_id": "household_key", "amount": "sales_value", "timestamp": "order_date"}
    )
    frame.to_parquet(tmp_path / "a.parquet")
    proposal = propose_mapping(tmp_path / "a.parquet")
    assert mapped(proposal) == {
        "customer_id": "household_key",
        "timestamp": "order_date",
        "amount": "sales_value",
        "quantity": "quantity",
    }
    assert (proposal.delimiter, proposal.date_format) == (None, None)
    assert open_tables(proposal.to_source()).report.rows_kept == 6_919
    frame["order_date"] = frame["order_date"].dt.strftime("%Y%m%d").astype(int)
    frame.to_parquet(tmp_path / "b.parquet")
    proposal = propose_mapping(tmp_path / "b.parquet")
    assert proposal.date_format == "%Y%m%d"
    assert open_tables(proposal.to_source()).report.rows_kept == 6_919


def test_names_give_way_to_values(tmp_path):
    text = "customer,date,total,paid_at,paid\na,soon,x1,2024-01-02,5.5\nb,late,x2,2024-02-02,6.5\n"
    proposal = propose(tmp_path, text)
    assert mapped(proposal)["timestamp"] == "paid_at"
    assert mapped(proposal)["amount"] == "paid"


def test_what_is_missing_is_said_with_the_column_that_misled(tmp_path):
    text = "customer_id,date,Betrag\na,2024-01-02,5 pcs\nb,2024-01-03,6 pcs\n"
    proposal = propose(tmp_path, text)
    assert list(proposal.missing) == ["amount"]
    assert any("'Betrag' is called like amount, but holds '5 pcs'" in d for d in proposal.doubts)
    assert "# amount:" in proposal.to_yaml()


def test_two_currencies_are_noticed(tmp_path):
    proposal = propose(tmp_path, TILL + "00014;3;02.02.2024 09:00;1,5;USD\n")
    assert any("more than one currency (EUR, USD)" in doubt for doubt in proposal.doubts)


def test_the_yaml_is_valid_and_says_the_same(tmp_path):
    proposal = propose(tmp_path, TILL.replace("Kunde", 'Kunde "neu": #1'))
    section = yaml.safe_load(proposal.to_yaml("sales.csv"))["data"]
    assert section == {
        "transactions": {
            "path": "sales.csv",
            "columns": mapped(proposal),
            "delimiter": ";",
            "date_format": "%d.%m.%Y %H:%M",
            "decimal": ",",
            "timezone": None,
        },
        "customers": None,
        "policies": {
            "returns": "net",
            "zero_amounts": "keep_as_purchase",
            "missing_ids": "drop",
            "duplicates": "keep",
            "unreadable": "error",
        },
    }


def test_files_that_cannot_be_looked_at(tmp_path):
    with pytest.raises(DataError, match=r"file is empty"):
        propose(tmp_path, "")
    with pytest.raises(DataError, match=r"file is empty"):
        propose(tmp_path, "customer_id,date,total\n")
    with pytest.raises(SourceError, match=r"no such file"):
        propose_mapping(tmp_path / "no.csv")
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match=r"cannot open"):
        propose_mapping(tmp_path / "x.parquet")


@pytest.mark.parametrize("schema", TABLES, ids=lambda schema: schema.name)
def test_the_spellings_belong_to_the_contract_and_to_one_column_each(schema):
    every = {}
    for column in schema.names:
        told = spellings(schema.name)[column]
        assert len(told) >= 3, column
        for spelling in told:
            assert every.setdefault(plain(spelling), column) == column, spelling
