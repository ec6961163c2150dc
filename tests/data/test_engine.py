"""One file knows the engine, nothing is downloaded, and another engine gives the same answers."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path

import duckdb
import ibis
import numpy as np
import pandas as pd
import pytest

from crmml.data import engine
from crmml.data.reading import MONEY
from crmml.data.settings import Policies
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, SourceError
from crmml.storage.fingerprint import fingerprint

ROOMS = Path(__file__).parents[2] / "src" / "crmml"


def names_in(path: Path) -> set[str]:
    """Every name, attribute and imported module in a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            found |= set((node.module or "").split(".")) | {alias.name for alias in node.names}
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return found


@pytest.mark.parametrize("room", ["data", "features"])
def test_no_other_file_of_data_and_features_knows_the_engine(room: str) -> None:
    own = {"duckdb", "raw_sql", "try_cast", "create_table", "sqlglot"}
    knowing = {
        path.name: sorted(names_in(path) & own)
        for path in (ROOMS / room).rglob("*.py")
        if path.name != "engine.py" and names_in(path) & own
    }
    assert knowing == {}


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    con = engine.connect()
    rows = con.raw_sql(
        "SELECT name, value FROM duckdb_settings() WHERE name IN "
        "('autoinstall_known_extensions', 'autoload_known_extensions')"
    ).fetchall()
    assert [value for _, value in rows] == ["false", "false"]
    with pytest.raises(duckdb.Error):
        con.read_csv("https://example.invalid/log.csv")
    with pytest.raises(SourceError, match="no such file"):
        open_tables("https://example.invalid/log.csv")


def test_what_is_kept_is_dropped_afterwards(postgres) -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    for con in (engine.connect(), postgres):
        table = engine.store(ibis.memtable(frame), con)
        with engine.kept(table.filter(table.a > 1)) as stored:
            name = stored.op().name
            assert stored.get_backend() is con
            assert stored.count().execute() == 1
        with pytest.raises(Exception, match=name):
            con.raw_sql(f'SELECT * FROM "{name}"')


HARD = [0.1, 1.005, -1.005, 2.675, 0.125, -0.125, 1e15, 1e17, np.inf, np.nan, 0.0, None, 99.999]


def test_floats_round_to_the_same_cents_on_every_engine(postgres) -> None:
    frame = pd.DataFrame({"i": range(len(HARD)), "v": HARD})
    found = []
    for con in (engine.connect(), postgres):
        table = engine.store(ibis.memtable(frame), con)
        cents = table.select("i", cents=engine.cast_or_null(table.v, MONEY)).order_by("i")
        found.append(cents.to_pyarrow()["cents"].to_pylist())
    assert found[0] == found[1]
    assert found[0][:2] == [Decimal("0.10"), Decimal("1.00")]


NUMBERS = ["1", " 2.5", "1e2", "x", "", None, "1,50", "1.234,5", "-0.005", "12345678901234567", "."]


def test_text_reads_as_the_same_numbers_on_every_engine(postgres) -> None:
    frame = pd.DataFrame({"i": range(len(NUMBERS)), "v": NUMBERS})
    for kind in (MONEY, ibis.dtype("int64"), ibis.dtype("float64")):
        found = []
        for con in (engine.connect(), postgres):
            table = engine.store(ibis.memtable(frame), con)
            read = engine.cast_or_null(table.v.strip(), kind)
            found.append(table.select("i", r=read).order_by("i").to_pyarrow()["r"].to_pylist())
        if kind.is_integer():  # the embedded engine also rounds 2.5 and reads 1e2 as an id
            found = [
                [v if t in ("1", "x") else None for v, t in zip(f, NUMBERS, strict=True)]
                for f in found
            ]
        assert found[0] == found[1], kind


LOG = pd.DataFrame(
    [
        ("007", "2024-01-01 10:00", 10.005, "o1", "web", "3"),
        ("007", "2024-01-01 10:00", 10.005, "o1", "web", "3"),  # a tie throughout
        ("007", "2024-01-01 10:00", 10.005, "o1", "shop", None),  # and one but for the channel
        ("Ä", "2024-02-29 23:59:59.999999", -4.0, "o2", None, "1"),
        ("b", "2024-03-01", 0.0, None, " ", "2"),
        (None, "2024-03-01", 5.0, "o3", "web", "2"),
        (" ", "2024-03-02", 5.0, "o3", "web", "2"),
        ("till", "2024-03-02", 5.0, "o3", "web", "2"),
        ("c", "1900-01-01", 7.0, "o4", "web", "2"),
        ("c", None, 7.0, "o5", "web", "2"),
        ("c", "2024-03-03", None, "o6", "web", "2"),
        ("c", "2024-03-03", 1e17, "o6", "web", "2"),
    ],
    columns=["customer_id", "timestamp", "amount", "order_id", "channel", "quantity"],
)
LOG["timestamp"] = pd.to_datetime(LOG["timestamp"], format="ISO8601")
NUMBERED = LOG.assign(
    customer_id=pd.array([7, 7, 7, 1, 2, None, None, 99, 3, 3, 3, 3], dtype="Int64")
)
POLICIES = [
    Policies(unreadable="drop", unlikely_dates="drop"),
    Policies(unreadable="drop", unlikely_dates="keep", duplicates="drop", returns="drop"),
    Policies(
        unreadable="drop",
        unlikely_dates="drop",
        duplicates="drop",
        zero_amounts="drop",
        test_customers=("till", 99),
    ),
]
TOUCHES = pd.DataFrame(
    {
        "customer_id": ["007", "7", None, "Ä"],
        "timestamp": ["2024-01-01", "2024-01-02", "2024-01-03", "31.01.2024"],
        "kind": ["Complaint", "survey", "visit", "visit"],
        "score": ["", "9.5", "1", "2"],
    }
)


def sorted_rows(table: ibis.Table) -> pd.DataFrame:
    frame = table.to_pandas().astype(object)
    frame = frame.where(frame.notna(), None).map(str)
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


@pytest.mark.parametrize("policies", POLICIES)
@pytest.mark.parametrize("log", [LOG, NUMBERED], ids=["text ids", "whole ids"])
def test_cleaning_is_the_same_on_postgresql(postgres, log, policies) -> None:
    there = engine.store(ibis.memtable(log), postgres)
    here, foreign = open_tables(log, policies=policies), open_tables(there, policies=policies)
    assert foreign.transactions.get_backend() is postgres
    assert foreign.report == here.report
    assert foreign.first_timestamp == here.first_timestamp
    assert foreign.last_timestamp == here.last_timestamp
    assert foreign.transactions.schema() == here.transactions.schema()
    assert fingerprint(foreign) == fingerprint(here)
    pd.testing.assert_frame_equal(
        sorted_rows(foreign.transactions), sorted_rows(here.transactions), check_dtype=False
    )


def test_decimals_and_dates_of_postgresql(postgres) -> None:
    log = LOG.head(5)[["customer_id", "timestamp", "amount"]]
    table = engine.store(ibis.memtable(log), postgres)
    exact = table.mutate(
        amount=table.amount.cast("decimal(18, 3)"), timestamp=table.timestamp.cast("date")
    )
    tables = open_tables(exact)
    assert tables.report.rounded_amounts == 3
    assert tables.transactions.amount.sum().execute() == Decimal("26.03")
    assert tables.last_timestamp == pd.Timestamp("2024-03-01")


def test_frames_and_files_beside_postgresql_are_brought_there(postgres, tmp_path) -> None:
    there = engine.store(ibis.memtable(LOG), postgres)
    TOUCHES.to_csv(tmp_path / "touches.csv", index=False)
    people = pd.DataFrame({"customer_id": ["007", "b"], "contactable_email": ["yes", "no"]})
    tables = open_tables(
        {"transactions": there, "customers": people, "interactions": tmp_path / "touches.csv"},
        policies=POLICIES[0],
    )
    assert {table.get_backend() for table in tables.values()} == {postgres}
    assert tables.counts == {"transactions": 6, "customers": 2, "interactions": 2}
    assert tables.reports["interactions"].rows("unreadable") == 1
    joined = tables["interactions"].join(tables["customers"], "customer_id")
    assert joined.count().execute() == 1


def test_whole_ids_of_the_log_reach_text_ids_on_postgresql(postgres) -> None:
    there = engine.store(ibis.memtable(NUMBERED), postgres)
    people = engine.store(ibis.memtable(pd.DataFrame({"customer_id": ["007", "2"]})), postgres)
    tables = open_tables(there, people, policies=POLICIES[0])
    assert sorted(tables["customers"].customer_id.execute()) == [2, 7]
    people = engine.store(ibis.memtable(pd.DataFrame({"customer_id": ["007", "x"]})), postgres)
    good = there.filter(there.timestamp.notnull() & (there.amount < 1e16))
    with pytest.raises(DataError, match=r"'customers'.*1 row breaks it \(first: 'x'\)"):
        open_tables(good, people, policies=Policies(unlikely_dates="drop"))


def test_what_a_foreign_engine_cannot_do_is_refused_with_the_reason(postgres) -> None:
    there = engine.store(ibis.memtable(LOG.assign(timestamp="2024-01-01")), postgres)
    with pytest.raises(DataError, match=r"type of time on postgres, which cannot read times"):
        open_tables(there)
    here = engine.store(ibis.memtable(LOG), engine.connect())
    with pytest.raises(SourceError, match=r"'customers': it lies on duckdb.* on postgres"):
        open_tables(engine.store(ibis.memtable(LOG), postgres), here)


def test_what_postgresql_says_becomes_one_sentence(postgres) -> None:
    there = engine.store(ibis.memtable(LOG), postgres)
    postgres.raw_sql(f'DROP TABLE "{there.op().name}"').close()
    with pytest.raises(SourceError, match="does not exist") as caught:
        open_tables(there)
    assert "\n" not in str(caught.value)


def test_aware_times_of_postgresql_get_the_wall_clock(postgres) -> None:
    postgres.raw_sql(
        "CREATE TEMP TABLE aware AS SELECT 7 AS customer_id, t AS timestamp, 1.5 AS amount FROM "
        "(VALUES (timestamptz '2024-03-31 00:30+00'), (timestamptz '2024-03-31 03:30+02')) AS v (t)"
    ).close()
    tables = open_tables(postgres.table("aware"), timezone="Europe/Berlin")
    assert tables.transactions.get_backend() is postgres
    found = sorted(tables.transactions.timestamp.execute().astype(str))
    assert found == ["2024-03-31 01:30:00", "2024-03-31 03:30:00"]
    assert tables.report.notes
