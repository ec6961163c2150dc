"""Whatever the door, the same table comes in; what does not fit is refused with its place."""

import datetime as dt
from decimal import Decimal

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmml.data.reading import Source
from crmml.data.settings import Policies
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, SourceError

LINES = pd.DataFrame(
    {
        "customer_id": ["007", "🦊", "علی", "007"],
        "timestamp": pd.to_datetime(
            ["2024-01-02", "2024-02-03 10:30", "2024-03-01", "2024-12-31 23:59:59"],
            format="ISO8601",
        ),
        "amount": [10.0, 0.0, 1234.5, -2.25],
        "channel": ["web", None, "shop", "web"],
    }
)


def rows(tables):
    frame = tables.transactions.to_pandas()
    return frame.sort_values(["timestamp", "amount"]).reset_index(drop=True)


def doors(folder):
    """Make the same four lines lie in every kind of source."""
    LINES.to_parquet(folder / "lines.parquet")
    (folder / "parts" / "y=1").mkdir(parents=True)
    LINES.head(1).to_parquet(folder / "parts" / "a.parquet")
    LINES.tail(3).to_parquet(folder / "parts" / "b.parquet")
    LINES.to_csv(folder / "lines [1].csv", index=False)
    with duckdb.connect(str(folder / "shop.duckdb")) as con:
        con.register("lines", LINES)
        con.execute(
            "CREATE SCHEMA s; CREATE TABLE s.sales AS FROM lines; CREATE TABLE other (a int)"
        )
    own = ibis.duckdb.connect()
    stored = own.create_table("sales", ibis.memtable(LINES))
    return {
        "frame": LINES,
        "arrow": pa.Table.from_pandas(LINES),
        "parquet": folder / "lines.parquet",
        "folder": str(folder / "parts"),
        "csv": folder / "lines [1].csv",
        "duckdb": f"{folder}/shop.duckdb::sales",
        "duckdb with schema": Source(folder / "shop.duckdb", table="s.sales"),
        "ibis in memory": ibis.memtable(LINES),
        "ibis": stored,
        "ibis expression": stored.filter(stored.amount < 1e9),
    }


def test_every_door_gives_the_same_table(tmp_path):
    expected = rows(open_tables(LINES))
    assert expected["amount"].tolist() == [
        Decimal("10.00"),
        Decimal("0.00"),
        Decimal("1234.50"),
        Decimal("-2.25"),
    ]
    for name, source in doors(tmp_path).items():
        tables = open_tables(source)
        pd.testing.assert_frame_equal(rows(tables), expected, obj=name)
        assert tables.first_timestamp == pd.Timestamp("2024-01-02")
        assert tables.last_timestamp == pd.Timestamp("2024-12-31 23:59:59")
        schema = tables.transactions.schema()
        assert schema["amount"] == ibis.dtype("decimal(16, 2)")
        assert schema["timestamp"] == ibis.dtype("timestamp(6)")


def test_the_source_is_left_as_it_was(tmp_path):
    before = LINES.copy()
    open_tables(LINES, columns={"amount": "amount"})
    pd.testing.assert_frame_equal(LINES, before)


def test_customers_may_come_through_another_door(tmp_path):
    people = pd.DataFrame(
        {"customer_id": ["007", "🦊"], "age": [30, 40], "contactable": ["yes", "no"]}
    )
    people.to_csv(tmp_path / "people.csv", index=False)
    con = ibis.duckdb.connect()
    for transactions in (LINES, con.create_table("l", ibis.memtable(LINES))):
        for customers in (people, tmp_path / "people.csv", ibis.memtable(people)):
            found = open_tables(transactions, customers)
            frame = found.customers.to_pandas().sort_values("customer_id")
            assert frame["customer_id"].tolist() == ["007", "🦊"]
            assert frame["contactable"].tolist() == [True, False]
            assert "age" in frame
            joined = found.transactions.join(found.customers, "customer_id")
            assert joined.count().execute() == 3


def test_text_ids_of_customers_follow_numeric_ids_of_transactions(tmp_path):
    lines = LINES.assign(customer_id=[1, 2, 3, 1])
    (tmp_path / "people.csv").write_text("customer_id,age\n0001,30\n2,40\n")
    found = open_tables(lines, tmp_path / "people.csv")
    assert sorted(found.customers.customer_id.execute()) == [1, 2]
    (tmp_path / "people.csv").write_text("customer_id,age\n0001,30\nx,40\n")
    with pytest.raises(
        DataError, match=r"customer_id.*'customers'.*1 row breaks it \(first: 'x'\)"
    ):
        open_tables(lines, tmp_path / "people.csv")


@pytest.mark.parametrize(
    ("people", "words"),
    [
        ({"customer_id": ["a", "b", "a", "a"]}, r"must be unique.*3 rows break it \(first: 'a'\)"),
        ({"customer_id": ["a", None]}, "must not be missing.*'customers'.*1 row"),
        ({"customer_id": pd.Series([], dtype="str")}, "at least one row.*'customers'"),
        ({"id": ["a"]}, "missing column.*'customer_id'.*present are 'id'"),
        ({"customer_id": ["a"], "contactable": ["perhaps"]}, "contactable must be.*'perhaps'"),
    ],
)
def test_customers_that_do_not_fit_are_refused(people, words):
    with pytest.raises(DataError, match=words):
        open_tables(LINES, pd.DataFrame(people))


def test_csv_of_a_german_till(tmp_path):
    file = tmp_path / "verkauf.csv"
    file.write_text(
        "Kunde;Datum;Betrag;Rest\n"
        "00012;31.01.2024 08:05;1.234,50;x\n"
        "00013;01.02.2024 09:00;-3,5;y\n"
        ";02.02.2024 09:00;7;z\n",
        encoding="utf-8-sig",
    )
    tables = open_tables(
        file,
        columns={"customer_id": "Kunde", "timestamp": "Datum", "amount": "Betrag"},
        date_format="%d.%m.%Y %H:%M",
        decimal=",",
    )
    frame = rows(tables)
    assert frame["customer_id"].tolist() == ["00012", "00013"]
    assert frame["amount"].tolist() == [Decimal("1234.50"), Decimal("-3.50")]
    assert frame["timestamp"].iloc[0] == pd.Timestamp("2024-01-31 08:05")
    assert list(frame.columns) == ["customer_id", "timestamp", "amount"]
    assert tables.report.rows("missing_ids") == 1


def test_csv_without_a_header_and_in_latin_1(tmp_path):
    file = tmp_path / "plain.csv"
    file.write_bytes("Jürgen|20240131|5\nÅse|20240201|6\n".encode("latin-1"))
    columns = {"customer_id": "column0", "timestamp": "column1", "amount": "column2"}
    source = Source(
        file, columns=columns, header=False, encoding="latin-1", delimiter="|", date_format="%Y%m%d"
    )
    assert rows(open_tables(source))["customer_id"].tolist() == ["Jürgen", "Åse"]
    utf = Source(file, columns=columns, header=False, delimiter="|", date_format="%Y%m%d")
    with pytest.raises(SourceError, match=r"cannot open .*plain.csv"):
        open_tables(utf)


def test_a_broken_csv_line_is_named(tmp_path):
    file = tmp_path / "broken.csv"
    good = "customer_id,timestamp,amount\n" + "a,2024-01-01,1\n" * 30_000
    file.write_text(good + "b,2024-01-01\n")
    with pytest.raises(
        SourceError, match=r"broken.csv: line 30,002 has 2 values where the others have 3"
    ) as caught:
        open_tables(Source(file, delimiter=","))
    assert "\n" not in str(caught.value)
    file.write_text("customer_id,timestamp,amount\na,2024-01-01,1\nb,2024-01-01\n")
    with pytest.raises(SourceError, match=r"line 3 has 2 values where the others have 3"):
        open_tables(Source(file, delimiter=","))


@pytest.mark.parametrize("text", ["", "customer_id,timestamp,amount\n"])
def test_an_empty_file_is_refused(tmp_path, text):
    file = tmp_path / "empty.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=r"at least one row; the (file|table) is empty"):
        open_tables(file)


def test_files_that_cannot_be_opened(tmp_path):
    doors(tmp_path)
    (tmp_path / "none").mkdir()
    (tmp_path / "a.pdf").write_text("%PDF-1.7 x")
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    (tmp_path / "a.xlsx").write_text("x")
    (tmp_path / "fake.parquet").write_text("x")
    cases = {
        tmp_path / "no.csv": "no such file or folder",
        tmp_path / "none": "holds no .parquet file",
        tmp_path / "a.pdf": "it is a PDF: export the table behind it",
        tmp_path / "a.bin": "it is none of CSV, JSON, Excel, Parquet",
        tmp_path / "a.xlsx": "it is no workbook that can be read",
        tmp_path / "fake.parquet": "cannot open .*fake.parquet: .*",
        tmp_path / "shop.duckdb": r"a table must be named .*; it holds other, s.sales",
        f"{tmp_path}/shop.duckdb::x": "no single table 'x'.*it holds other, s.sales",
    }
    for source, words in cases.items():
        with pytest.raises(SourceError, match=words):
            open_tables(source)
    with pytest.raises(ParameterError, match=r"transactions must be a path.*got 'list'"):
        open_tables([1, 2])


def test_missing_columns_are_listed_beside_the_present_ones():
    frame = LINES.rename(columns={"amount": "Total", "timestamp": "When"})
    with pytest.raises(MissingColumnsError, match=r"'timestamp', 'amount'; present are .*'Total'"):
        open_tables(frame)
    with pytest.raises(MissingColumnsError, match=r"'Totals'; present are .*'Total'"):
        open_tables(frame, columns={"timestamp": "When", "amount": "Totals"})
    with pytest.raises(ParameterError, match=r"columns must be keyed by names .*'when'"):
        open_tables(frame, columns={"when": "When"})
    assert "channel" not in open_tables(LINES, columns={"channel": None}).transactions.columns


def test_only_the_columns_needed_are_read(tmp_path):
    LINES.assign(noise=1.0).to_parquet(tmp_path / "wide.parquet")
    sql = str(ibis.to_sql(open_tables(tmp_path / "wide.parquet").transactions))
    assert "noise" not in sql


def bad(column, value):
    frame = LINES.copy().astype({column: object})
    frame.loc[1, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (bad("timestamp", None), r"timestamp must not be missing.*1 row breaks it \(first: '🦊'\)"),
        (bad("amount", None), r"amount must not be missing.*1 row breaks it \(first: '🦊'\)"),
        (LINES.assign(amount=["1", "2", "x2", "3"]), r"amount must be a finite number.*'x2'"),
        (LINES.assign(amount=["1", "2", "1,50", "3"]), r"amount must be a finite.*'1,50'"),
        (LINES.assign(amount=[1, 2, np.inf, 3]), r"amount must be a finite number.*1 row.*inf"),
        (LINES.assign(amount=[1, 2, 1e17, 3]), r"amount must be a finite number.*1e\+17"),
        (LINES.assign(amount=[True] * 4), "amount cannot be read from the type boolean"),
        (
            LINES.assign(timestamp=["2024-01-01", "31.01.2024", "2024-02-30", "2024-01-01 12:00"]),
            r"timestamp must be a date.*2 rows break it \(first: '2024-02-30', '31.01.2024'\)",
        ),
        (LINES.assign(timestamp=20240101), "times of the type int64 need a date_format"),
        (LINES.assign(timestamp=1.5), "times of the type float64 need a date_format"),
        (LINES.assign(timestamp=dt.datetime(1900, 1, 1)), "dates must lie from 1970-01-02.*4 rows"),
        (LINES.assign(timestamp=dt.datetime(2999, 1, 1)), "policy unlikely_dates to drop or keep"),
        (
            LINES.assign(customer_id=[1.5, 2, 3, 4]),
            "customer_id must be a whole number or text.*1.5",
        ),
        (LINES.assign(customer_id=LINES["timestamp"]), "customer_id cannot be read from the type"),
        (LINES.assign(customer_id=None), "policies must leave at least one row.*all 4"),
        (bad("customer_id", 5), "values must be of one type.*'customer_id'"),
        (
            LINES.assign(currency=["EUR", "EUR", "usd", ""]),
            r"found EUR \(2 rows\) and USD \(1 rows\)",
        ),
        (LINES.head(0), "at least one row"),
        (
            LINES.assign(margin=["1", "a", "2", "b"]),
            "margin must be a finite number.*'a', 'b'",
        ),
        (pd.concat([LINES, LINES["amount"]], axis=1), "column names must be unique"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_their_place(frame, words):
    with pytest.raises(DataError, match=words) as caught:
        open_tables(frame)
    assert "\n" not in str(caught.value)
    assert "'transactions'" in str(caught.value)


def test_the_currency_is_known_where_there_is_one():
    assert open_tables(LINES.assign(currency=["EUR", " eur", None, "EUR"])).currency == "EUR"
    assert open_tables(LINES).currency is None


def test_settings_outside_their_range_are_refused():
    for setting, value, words in (
        ("timezone", "Mars/Base", "timezone must be a time zone"),
        ("decimal", ";", "decimal must be"),
        ("date_format", "%Q", "date_format must be made of strptime codes"),
    ):
        with pytest.raises(ParameterError, match=words):
            open_tables(LINES, **{setting: value})


def test_aware_times_need_the_business_time_zone_and_get_its_wall_clock():
    utc = pd.to_datetime(["2024-03-31 00:30", "2024-03-31 01:30", "2024-12-31 23:30"], utc=True)
    local = ["2024-03-31 01:30:00", "2024-03-31 03:30:00", "2025-01-01 00:30:00"]
    text = ["2024-03-31T00:30:00Z", "2024-03-31 03:30:00+02:00", "2024-12-31 15:30:00.0-08"]
    frame = LINES.head(3).assign(timestamp=utc)
    with pytest.raises(DataError, match=r"times with a time zone \(UTC\).*'timestamp'"):
        open_tables(frame)
    spelled = {
        "aware": (frame, None),
        "other zone": (frame.assign(timestamp=utc.tz_convert("Asia/Tehran")), None),
        "text": (frame.assign(timestamp=text), None),
        "codes": (frame.assign(timestamp=utc.strftime("%d/%m/%Y %H:%M %z")), "%d/%m/%Y %H:%M %z"),
    }
    for name, (lines, codes) in spelled.items():
        tables = open_tables(lines, timezone="Europe/Berlin", date_format=codes)
        assert tables.transactions.timestamp.execute().astype(str).tolist() == local, name
        assert bool(tables.report.notes) == (lines["timestamp"].dtype.kind == "M"), name
    with pytest.raises(DataError, match=r"offset from UTC, so the timezone.*3 rows"):
        open_tables(frame.assign(timestamp=text))
    with pytest.raises(ParameterError, match=r"timezone must be given"):
        open_tables(frame.assign(timestamp="x"), date_format="%Y %z")


def test_times_without_a_zone_are_the_business_calendar_already():
    plain = open_tables(LINES).transactions.timestamp.max().execute()
    assert open_tables(LINES, timezone="Asia/Tokyo").transactions.timestamp.max().execute() == plain


def test_ids_keep_their_type():
    for ids, expected in (
        (pd.Series([1, 2, 3, 1], dtype="int32"), "int64"),
        (pd.Series([1.0, 2.0, np.nan, 1.0]), "int64"),
        (pd.Series(["1", "2", "3", "1"], dtype="category"), "string"),
        (pd.Series([2**63 - 1, 2, 3, 1]), "int64"),
    ):
        tables = open_tables(LINES.assign(customer_id=ids))
        assert tables.transactions.schema()["customer_id"] == ibis.dtype(expected)


def test_unit_price_times_quantity_stands_in_for_the_amount():
    frame = LINES.drop(columns="amount").assign(
        UnitPrice=["2.55", "0.333", "1", "4"], Quantity=[6, 3, -1, 0]
    )
    columns = {"unit_price": "UnitPrice", "quantity": "Quantity"}
    tables = open_tables(frame, columns=columns)
    assert sorted(tables.transactions.amount.execute()) == [
        Decimal("-1.00"),
        Decimal("0.00"),
        Decimal("1.00"),
        Decimal("15.30"),
    ]
    assert tables.report.rounded_amounts == 1
    assert any("unit price" in note for note in tables.report.notes)
    with pytest.raises(MissingColumnsError, match=r"'quantity'"):
        open_tables(frame, columns={"unit_price": "UnitPrice"})
    with pytest.raises(DataError, match=r"amount must be .*'UnitPrice'.*'abc'"):
        open_tables(frame.assign(UnitPrice="abc"), columns=columns)


def test_more_than_two_decimals_are_rounded_counted_and_reported():
    frame = LINES.assign(amount=["1.005", "-1.005", "2.50", "0.0012"])
    report = open_tables(frame).report
    assert (report.rounded_amounts, report.rounding_total) == (3, -0.0012)
    exact = LINES.assign(amount=[0.1, 1234567.89, 99999999999.99, -0.07])
    assert open_tables(exact).report.rounded_amounts == 0
    three = pa.table(
        LINES.assign(
            amount=[Decimal("1.005"), Decimal("2.000"), Decimal("3.125"), Decimal("4.010")]
        )
    )
    assert open_tables(three).report.rounded_amounts == 2


def summary(tables):
    t = tables.transactions
    found = t.group_by("customer_id").agg(n=t.count(), spend=t.amount.sum(), last=t.timestamp.max())
    return found.order_by("customer_id").to_pyarrow(), tables.report


def test_row_order_and_thread_count_change_nothing(tmp_path):
    generator = np.random.default_rng(5)
    n = 200_000
    frame = pd.DataFrame(
        {
            "customer_id": generator.integers(0, 5_000, n),
            "timestamp": np.datetime64("2023-01-01")
            + generator.integers(0, 500, n).astype("m8[D]"),
            "amount": generator.gamma(2, 20, n) - 5,
            "note": generator.choice(["a", "b"], n),
        }
    )
    pq.write_table(pa.table(frame), tmp_path / "a.parquet", row_group_size=20_000)
    pq.write_table(pa.table(frame.sample(frac=1, random_state=1)), tmp_path / "b.parquet")
    seen = []
    for name, threads in (("a", 1), ("a", 4), ("b", 3)):
        con = ibis.duckdb.connect(threads=threads)
        source = con.read_parquet(tmp_path / f"{name}.parquet")
        seen.append(summary(open_tables(source, policies=Policies(duplicates="drop"))))
    assert seen[0][0].equals(seen[1][0])
    assert seen[0][0].equals(seen[2][0])
    assert seen[0][1] == seen[1][1] == seen[2][1]


@settings(max_examples=settings.default.max_examples // 5)  # each opens a file of many lines
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("C", "Z")), min_size=1),
            st.dates(dt.date(1990, 1, 1), dt.date(2050, 1, 1)),
            st.decimals(-(10**9), 10**9, places=2),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_any_text_id_date_and_amount_survive_a_csv_file(tmp_path_factory, lines):
    frame = pd.DataFrame(lines, columns=["customer_id", "timestamp", "amount"])
    file = tmp_path_factory.mktemp("csv") / "any.csv"
    frame.to_csv(file, index=False, quoting=1)
    found = open_tables(Source(file, delimiter=",")).transactions.to_pandas()
    got = sorted(
        zip(found["customer_id"], found["timestamp"].dt.date, found["amount"], strict=True)
    )
    assert got == sorted(lines)


def test_both_tables_of_one_duckdb_file(tmp_path):
    with duckdb.connect(str(tmp_path / "shop.db")) as con:
        con.register("lines", LINES)
        con.execute("CREATE TABLE sales AS FROM lines")
        con.execute("CREATE VIEW people AS SELECT DISTINCT customer_id, 1 AS age FROM sales")
    tables = open_tables(f"{tmp_path}/shop.db::sales", f"{tmp_path}/shop.db::people")
    assert tables.transactions.count().execute() == 4
    assert tables.customers.count().execute() == 3


def test_a_relative_path_survives_a_change_of_folder(tmp_path, monkeypatch):
    LINES.to_parquet(tmp_path / "lines.parquet")
    monkeypatch.chdir(tmp_path)
    tables = open_tables("lines.parquet")
    monkeypatch.chdir("/")
    assert tables.transactions.count().execute() == 4


def test_settings_beside_a_source_are_refused_not_ignored():
    with pytest.raises(ParameterError, match=r"given inside the Source.*'decimal'"):
        open_tables(Source(LINES), decimal=",")
    with pytest.raises(ParameterError, match=r"given inside the Source.*'columns'"):
        open_tables(Source(LINES), columns={})


def test_ids_in_the_index_are_found():
    assert open_tables(LINES.set_index("customer_id")).report.rows_kept == 4


@pytest.mark.parametrize("value", ["\ud800", 2**70])
def test_values_that_no_engine_can_hold_are_refused(value):
    frame = LINES.assign(customer_id=pd.Series(["a", value, "b", "c"], dtype=object))
    if isinstance(value, int):
        frame["customer_id"] = pd.Series([1, value, 2, 3], dtype=object)
    with pytest.raises(DataError, match=r"values must be of one type.*'customer_id'"):
        open_tables(frame)
