"""What cannot be read is refused with its true reason, also once a column was named by hand."""

import pandas as pd
import pytest

import crmml
from crmml.exceptions import DataError


def _log(ids: list[str], times: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": ids, "timestamp": times, "amount": 9.5})


def test_ids_that_a_spreadsheet_rounded_are_refused() -> None:
    ids = [f"1.0000{i % 5}E+19" for i in range(30)]
    with pytest.raises(DataError, match=r"a spreadsheet has rounded.*30 rows.*1\.00000E\+19"):
        crmml.build_snapshot(_log(ids, ["2023-01-02"] * 30), cutoff="2023-02-01")


def test_a_few_customers_may_be_called_so() -> None:
    ids = ["1.00003E+19", *(f"c{i}" for i in range(29))]
    snapshot = crmml.build_snapshot(_log(ids, ["2023-01-02"] * 30), cutoff="2023-02-01")
    assert len(snapshot.frame) == 30


@pytest.mark.parametrize("end", ["Z", "+02:00", ".250Z", " -0500"])
def test_times_with_an_offset_ask_for_the_time_zone(end: str) -> None:
    log = _log(["a", "b"], [f"2023-01-02T10:13:00{end}", f"2023-01-03T10:13:00{end}"])
    with pytest.raises(DataError, match=r"offset from UTC, so the timezone.*must be given"):
        crmml.build_snapshot(log, cutoff="2023-02-01")


def test_the_policy_for_unreadable_values_is_named() -> None:
    log = _log(["a", "b"], ["2023-01-02", "someday"])
    with pytest.raises(DataError, match=r"policies\.unreadable: drop.*1 row.*'someday'"):
        crmml.build_snapshot(log, cutoff="2023-02-01")
