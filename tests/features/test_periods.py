"""Figures by period and group equal those counted by hand in pandas."""

from __future__ import annotations

import pandas as pd
import pytest

import crmml
from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.periods import measure_periods

CUTOFF = pd.Timestamp("2020-07-01")


@pytest.fixture(scope="module")
def log():
    rows = [
        ("a", "2020-01-01", 10), ("a", "2020-01-02", 5), ("a", "2020-02-03", 7),
        ("a", "2020-06-10", 4), ("b", "2020-02-10", 20), ("b", "2020-03-01", -20),
        ("b", "2020-04-02", 3), ("c", "2020-02-01", 1), ("c", "2020-05-31", 2),
        ("c", "2020-07-01", 99), ("d", "2020-03-15", 8),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"]).astype(
        {"timestamp": "datetime64[us]"}
    )


def _measured(log, **more):
    groups = pd.Series({"a": "A", "b": "B", "c": "A"})
    tables = open_tables({"transactions": log, **more.pop("tables", {})})
    return measure_periods(tables, CUTOFF, groups, **{"lapse": 2, **more})


def test_buyers_kept_new_and_won_back_are_those_counted_by_hand(log):
    table = _measured(log)
    a = table.xs("A", level="group")
    assert [moment.month for moment in a.index] == [1, 2, 3, 4, 5, 6]
    assert a["buyers"].tolist() == [1, 2, 0, 0, 1, 1]
    assert a["purchases"].tolist() == [2, 2, 0, 0, 1, 1]
    assert a["revenue"].tolist() == [15, 8, 0, 0, 2, 4]
    assert a["new"].tolist() == [1, 1, 0, 0, 0, 0]
    assert a["kept"].tolist() == [0, 1, 0, 0, 0, 0]
    assert a["buyers_before"].tolist() == [0, 1, 2, 0, 0, 1]
    assert a["won_back"].tolist() == [0, 0, 0, 0, 1, 1]
    assert a["known"].tolist() == [1, 2, 2, 2, 2, 2]
    b = table.xs("B", level="group")
    assert b["buyers"].tolist() == [0, 1, 0, 1, 0, 0]  # a return alone is no purchase
    assert b["revenue"].tolist() == [0, 20, -20, 3, 0, 0]
    assert b["kept"].tolist() == [0, 0, 0, 0, 0, 0]


def test_touches_and_treatments_are_counted_where_they_are_given(log):
    interactions = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b", "d"],
            "timestamp": pd.to_datetime(["2020-01-05", "2020-01-06", "2020-02-01", "2020-02-01"]),
            "kind": ["complaint", "survey", "survey", "complaint"],
            "score": [None, 8.0, 3.0, None],
            "resolved_at": pd.to_datetime(["2020-01-20", None, None, None]),
        }
    )
    treatments = pd.DataFrame(
        {
            "customer_id": ["a", "b"],
            "timestamp": pd.to_datetime(["2020-01-07", "2020-01-08"]),
            "action": ["reminder", "no_action"],
            "cost": [1.5, 0.0],
        }
    )
    more = {"interactions": interactions, "treatments": treatments}
    table = _measured(log, tables=more)
    january = table.loc[(pd.Timestamp("2020-01-01"), "A")]
    assert january[["contacts", "complaints", "resolved", "surveys", "satisfied"]].tolist() == [
        2, 1, 1, 1, 1,
    ]  # fmt: skip
    assert january["score"] == 8.0
    assert (january["treated"], january["action_cost"]) == (1, 1.5)
    assert table.loc[(pd.Timestamp("2020-01-01"), "B"), "treated"] == 0
    assert pd.isna(table.loc[(pd.Timestamp("2020-03-01"), "A"), "score"])


def test_staff_conversions_and_the_gain_of_actions_are_those_by_hand(log):
    interactions = pd.DataFrame(
        {
            "customer_id": ["a", "a", "c"],
            "timestamp": pd.to_datetime(["2020-02-05", "2020-02-06", "2020-02-07"]),
            "kind": ["complaint", "contact", "contact"],
            "staff_id": ["x", None, "y"],
            "cost": [2.0, 1.0, 0.5],
        }
    )
    treatments = pd.DataFrame(
        {
            "customer_id": ["a", "c"],
            "timestamp": pd.to_datetime(["2020-02-02", "2020-02-01"]),
            "action": ["reminder", "no_action"],
            "cost": [1.5, 0.0],
            "propensity": [0.5, 0.5],
        }
    )
    more = {"interactions": interactions, "treatments": treatments}
    table = _measured(log.assign(margin=log["amount"] / 2), tables=more)
    row = table.loc[(pd.Timestamp("2020-02-01"), "A")]
    assert row[["served", "persons", "staff_complaints", "contact_cost"]].tolist() == [2, 2, 1, 3.5]
    assert row[["converted", "action_gain"]].tolist() == [1, 3.0]  # 7 / 2 less 1 / 2
    assert row["profit"] == row["margin"] - 3.5 - 1.5
    assert pd.isna(table.loc[(pd.Timestamp("2020-03-01"), "A"), "action_gain"])


def test_all_groups_together_give_the_revenue_of_the_log(cdnow_tables):
    rows = crmml.load_cdnow(sample=True)
    ids = rows["customer_id"].unique()
    groups = pd.Series([str(k % 3) for k in range(len(ids))], index=ids)
    table = measure_periods(cdnow_tables, pd.Timestamp("1998-07-01"), groups, period="quarter")
    inside = rows[rows["timestamp"] < "1998-07-01"]
    assert table["revenue"].sum() == pytest.approx(inside["amount"].sum())
    assert table["new"].sum() == len(ids)
    day = inside.assign(day=inside["timestamp"].dt.normalize())
    assert table["purchases"].sum() == len(day.drop_duplicates(["customer_id", "day"]))
    weeks = measure_periods(cdnow_tables, pd.Timestamp("1998-07-01"), groups, period="week")
    starts = weeks.index.get_level_values("period")
    assert set(starts.day_of_week) == {0}
    assert starts.min() > pd.Timestamp("1997-01-01")  # that week began before the data did


def test_what_cannot_be_measured_is_refused(log):
    with pytest.raises(TooLittleDataError, match="no whole quarter"):
        measure_periods(
            open_tables(log), pd.Timestamp("2020-03-01"), pd.Series({"a": "A"}), period="quarter"
        )
    for bad in ({"period": "day"}, {"lapse": 0}):
        with pytest.raises(ParameterError):
            _measured(log, **bad)
