"""SQLite files and workbooks: read by libraries, never by an extension of the engine."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pandas as pd
import pytest

from crmml.data.reading import Source
from crmml.data.tables import open_tables
from crmml.exceptions import SourceError

LOG = pd.DataFrame(
    {
        "customer_id": ["a", "a", "b"],
        "timestamp": pd.to_datetime(
            ["2024-01-02", "2024-02-03 10:30", "2024-03-04"], format="mixed"
        ),
        "amount": [10.5, 20.0, -3.25],
    }
)


def in_sqlite(path, *names):
    with closing(sqlite3.connect(path)) as con:
        for name in names:
            LOG.astype({"timestamp": "str"}).to_sql(name, con, index=False)


def in_workbook(path, *names):
    with pd.ExcelWriter(path) as writer:
        for name in names:
            LOG.to_excel(writer, sheet_name=name, index=False)


def same(tables):
    found = tables.transactions.order_by("timestamp").to_pandas()
    assert found["customer_id"].tolist() == ["a", "a", "b"]
    assert found["amount"].astype(float).tolist() == [10.5, 20.0, -3.25]
    assert found["timestamp"].tolist() == LOG["timestamp"].tolist()


@pytest.mark.parametrize(("write", "name"), [(in_sqlite, "shop.db"), (in_workbook, "shop.xlsx")])
def test_one_table_needs_no_name_and_of_several_one_is_asked(tmp_path, write, name):
    path = tmp_path / name
    write(path, "sales")
    same(open_tables(path))
    more = tmp_path / f"more-{name}"
    write(more, "sales", 'odd "name')
    same(open_tables(Source(more, table="sales")))
    same(open_tables(f"{more}::sales"))
    same(open_tables(Source(more, table='odd "name')))
    with pytest.raises(SourceError, match=r"must be named \(write file::(table|sheet)\).*sales"):
        open_tables(more)
    with pytest.raises(SourceError, match=r"no (table|sheet) 'nothing'"):
        open_tables(Source(more, table="nothing"))


def test_a_sqlite_file_is_known_by_its_head_whatever_its_name(tmp_path):
    path = tmp_path / "shop.data"
    in_sqlite(path, "sales")
    same(open_tables(path))


def test_ids_of_a_workbook_stay_whole(tmp_path):
    path = tmp_path / "shop.xlsx"
    LOG.assign(customer_id=[7, 7, 8]).to_excel(path, index=False)
    assert open_tables(path).transactions.customer_id.to_pyarrow().to_pylist() == [7, 7, 8]
    LOG.assign(customer_id=[7, "x", 8]).to_excel(path, index=False)
    assert open_tables(path).transactions.customer_id.to_pyarrow().to_pylist() == ["7", "x", "8"]


@pytest.mark.parametrize("name", ["broken.xlsx", "broken.db"])
def test_what_is_neither_is_refused_in_one_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"SQLite format 3\x00" + b"nonsense" * 20 if "db" in name else b"no workbook")
    with pytest.raises(SourceError) as refused:
        open_tables(path)
    assert "\n" not in str(refused.value)
