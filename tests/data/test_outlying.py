"""Dates far from all others are found, and nothing that a business does is taken for them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.first_look import read
from crmml.data.outlying import bulk_of
from crmml.data.settings import Policies
from crmml.data.tables import open_tables
from crmml.exceptions import DataError

TODAY = 20_500
DAILY = np.arange(19_000, 20_400)
YEARLY = np.concatenate([[18_000 + 365 * y, 18_003 + 365 * y] for y in range(6)])
SEASON = np.concatenate([18_000 + 365 * y + np.arange(90) for y in range(5)])
MONTHS = 18_000 + np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])


def _found(days, each=2, extra=(), today=TODAY):
    day = np.sort(np.r_[days, np.array(extra, dtype=np.int64)]).astype(np.int64)
    n = np.where(np.isin(day, extra), 1, each)
    return bulk_of(day, n, today)


@pytest.mark.parametrize("far", [47_000, 21_000, 20_700, 9_000])
def test_a_line_far_from_a_shop_of_every_day_is_found(far):
    assert _found(DAILY, extra=[far]) == (19_000, 20_399)


@pytest.mark.parametrize("days", [YEARLY, SEASON, MONTHS])
@pytest.mark.parametrize("far", [47_000, 200])
def test_a_line_of_2099_or_1970_is_found_in_a_log_with_gaps(days, far):
    assert _found(days, each=20, extra=[far]) == (days.min(), days.max())


@pytest.mark.parametrize(
    ("days", "each", "extra"),
    [
        (DAILY, 2, ()),
        (DAILY, 2, (20_430,)),  # a pre-order, or a log whose end is thin
        (DAILY, 2, (20_520, 20_535)),  # deliveries dated ahead of today
        (DAILY, 2, (18_500,)),  # a first trial, a year and a half before the shop opened
        (YEARLY, 20, (18_000 + 365 * 6,)),  # the first gift of the next year
        (YEARLY, 20, (18_000 - 365 * 2,)),
        (SEASON, 2, (18_000 + 365 * 5,)),
        (SEASON, 2, (18_000 + 4 * 365 + 200,)),
        (MONTHS, 20, (18_000 + 396,)),
        (np.array([19_000, 19_040, 19_300, 19_310, 19_900]), 5, ()),  # a small log
        (np.array([19_000, 19_001]), 1, (47_000,)),  # too few rows to have a bulk
        (np.arange(40_000, 41_000), 2, (41_300,)),  # all of it simulated in the future
        (np.r_[DAILY, np.arange(20_600, 20_700)], 2, ()),  # many dated ahead: a plan, no slip
    ],
)
def test_what_a_business_does_is_no_slip(days, each, extra):
    assert _found(days, each, extra) is None


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    at = pd.Timestamp("2022-01-03") + pd.to_timedelta(rng.integers(0, 700, 1_000), unit="D")
    lines = pd.DataFrame({"customer_id": rng.integers(1, 200, 1_000), "timestamp": at})
    lines["amount"] = 9.5
    lines.loc[[7, 8], ["customer_id", "timestamp"]] = [42, pd.Timestamp("2099-03-01")]
    return lines


def test_far_lines_are_refused_with_what_they_are_unless_the_policy_says_otherwise(log):
    with pytest.raises(DataError) as told:
        open_tables(log)
    for part in ("2022-01-0", "to 2023-12-0", "2099-03-01, of 1 customer", "2 rows", "42", "drop"):
        assert part in str(told.value)
    dropped = open_tables(log, policies=Policies(unlikely_dates="drop"))
    assert (dropped.report.rows("unlikely_dates"), dropped.last_timestamp.year) == (2, 2023)
    assert "2099-03-01" in dropped.report.notes[-1]
    assert open_tables(log, policies=Policies(unlikely_dates="keep")).last_timestamp.year == 2099


def test_the_first_look_shows_them_as_a_doubt(log):
    tables = read(log)
    assert tables.look.facts["last"].startswith("2023")
    (doubt,) = [doubt for doubt in tables.look.doubts if "2099-03-01" in doubt]
    assert doubt.line == "data.policies.unlikely_dates: drop"
