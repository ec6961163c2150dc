"""Times as people write them: each is told by its look and read to the minute."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from crmml.data.engine import connect
from crmml.data.times import (
    ISO,
    decide_dates,
    forms_of,
    is_clock,
    is_date,
    read_clock,
    read_times,
    stamp_of,
)

DAY = dt.datetime(2023, 1, 9)
MINUTE = dt.datetime(2023, 1, 9, 15, 5)
WRITTEN = {
    "01/09/2023 3:05 p.m.": MINUTE,
    "Mon Jan 09 15:05:00 2023": MINUTE,
    "January 9, 2023 at 03:05 PM": MINUTE,
    "9 janv. 2023 à 15h05": MINUTE,
    "09.01.2023 um 15:05 Uhr": MINUTE,
    "2023-01-09 kl. 15.05": MINUTE,
    "9.1.2023 15.05": MINUTE,
    "09-JAN-23 03.05.00.000000 PM": MINUTE,
    "09JAN2023:15:05:00": MINUTE,
    "9 января 2023 г.": DAY,
    "9 sty 2023": DAY,
    "9 styczeń 2023": DAY,
    "9 ENERO 2023": DAY,
    "9 de enero de 2023": DAY,
    "٩ يناير ٢٠٢٣": DAY,
    "1401/10/19 15:05": MINUTE,
    "۱۴۰۱/۱۰/۱۹ - ۱۵:۰۵": MINUTE,
    "۱۹ دی ۱۴۰۱": DAY,
    "14011019": DAY,
    "09/01/2566 15:05": MINUTE,
    "2566-01-09": DAY,
    "2023年1月9日15时05分": MINUTE,
    "2023年1月9日 15時05分00秒": MINUTE,
    "2023/01/09 下午3:05": MINUTE,
    "2023/01/09(月)": DAY,
    "令和5年1月9日": DAY,
    "2023년 1월 9일": DAY,
    "2023. 1. 9. 오후 3:05": MINUTE,
    "'2023-01-09": DAY,
    "/Date(1673276700000)/": MINUTE,
    "44935,628472": MINUTE,
    "Mon Jan 09 2023 15:05:00 GMT+0000 (Coordinated Universal Time)": MINUTE,
    "2023-01-09T15:05:00+00:00[Europe/London]": MINUTE,
}


@pytest.fixture(scope="module")
def con():
    engine = connect()
    yield engine
    engine.disconnect()


def column(con, name, values):
    con.con.register(name, pa.table({"at": values}))
    return con.table(name)


def read(con, written, form=None):
    table = column(con, "written", [*written])
    return table.select(at=read_times(table["at"], form, "UTC")).to_pyarrow()["at"].to_pylist()


@pytest.mark.parametrize("written", WRITTEN)
def test_a_time_is_told_by_its_look_and_read(con, written):
    forms = forms_of(written) or (stamp_of(written),)
    found = [read(con, [written], None if form == ISO else form)[0] for form in forms]
    assert [str(at)[:16] for at in found].count(str(WRITTEN[written])[:16]) == 1


@pytest.mark.parametrize("text", ["order 7", "A-2023-01", "12.50", "13999999", "7 Marta", "1401"])
def test_what_only_looks_like_a_time_is_none(text):
    assert not is_date(text)


def test_a_clock_that_is_left_out_is_midnight(con):
    form = "%d.%m.%Y %H:%M:%S"
    assert read(con, ["09.01.2023 15:05:00", "09.01.2023 15:05", "09.01.2023"], form) == [
        *(MINUTE, MINUTE, DAY)
    ]
    assert read(con, ["9. Jan.", "09.13.2023", "2023-01-09x"], form) == [None] * 3


def test_words_behind_a_time_are_not_passed_over(con):
    written = ["2023-01-09 15:05", "2023-01-09 03:05 PM", "2023-01-09 15:05 EST", "2023-01-09"]
    assert read(con, written) == [MINUTE, None, None, DAY]


def test_rows_without_a_clock_are_counted_in_the_evidence(con):
    days = [f"{i % 28 + 1:02}.01.2023{' 15:05' if i % 3 else ''}" for i in range(60)]
    table = column(con, "days", days)
    evidence, doubts = [], []
    form, zoned = decide_dates(table, "at", days, True, evidence, doubts)
    assert (form, zoned, doubts) == ("%d.%m.%Y %H:%M", False, [])
    assert evidence[0].endswith(", 20 of them without the whole clock")


def test_two_orders_of_day_and_month_in_one_column_are_not_called_all(con):
    days = [f"{i:02}/{27 - i:02}/2023" for i in range(1, 27)]
    table = column(con, "orders", days)
    doubts = []
    decide_dates(table, "at", days, True, [], doubts)
    assert "as many read as" in doubts[0]
    assert "12 of 26 values" in doubts[1] or "14 of 26 values" in doubts[1]


def test_a_clock_of_its_own_is_read_as_seconds_since_midnight(con):
    told = ["15:05", "15:05:00", "3:05 PM", "15:05 Uhr", "15h05", "下午3:05", "۱۵:۰۵", "15時05分"]
    assert all(map(is_clock, told))
    table = column(con, "clocks", [*told, "15.05", "1505", "noon"])
    found = table.select(at=read_clock(table["at"])).to_pyarrow()["at"].to_pylist()
    assert found == [15 * 3600 + 5 * 60] * 10 + [None]


def test_days_that_a_workbook_keeps_as_numbers_are_read(con):
    table = column(con, "numbers", [20230109.0, 20230109.5, None])
    found = table.select(at=read_times(table["at"], "%Y%m%d")).to_pyarrow()["at"].to_pylist()
    assert found == [DAY, None, None]
