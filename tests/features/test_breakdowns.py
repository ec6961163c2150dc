"""Figures by part of the data equal those counted by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import MissingColumnsError, ParameterError
from crmml.features.breakdowns import MOST_PARTS, measure_parts

CUTOFF = pd.Timestamp("2020-04-01")
LOG = pd.DataFrame(
    [
        ("a", "2020-01-01", 10, "shop"), ("a", "2020-02-03", 7, "online"),
        ("b", "2020-01-02", 5, "shop"), ("b", "2020-01-03", 5, None),
        ("c", "2020-02-10", 4, "online"), ("c", "2020-02-11", -4, "online"),
        ("c", "2020-03-01", 2, "shop"),
    ],
    columns=["customer_id", "timestamp", "amount", "channel"],
).astype({"timestamp": "datetime64[us]"})  # fmt: skip
TOUCHES = pd.DataFrame(
    {
        "customer_id": ["a", "a", "b"],
        "timestamp": pd.to_datetime(["2020-01-05", "2020-02-06", "2020-02-07"]),
        "kind": ["complaint", "survey", "contact"],
        "score": [None, 8.0, None],
        "staff_id": ["x", "x", "y"],
        "cost": [2.0, 0.0, 1.5],
    }
)


def test_parts_of_the_log_are_those_counted_by_hand():
    table = measure_parts(open_tables(LOG), CUTOFF, "channel")
    shop, online = (table.xs(part, level="group") for part in ("shop", "online"))
    assert shop["buyers"].tolist() == [2, 0, 1]
    assert online["revenue"].tolist() == [0, 7, 0]
    assert online["purchases"].tolist() == [0, 2, 0]  # a return is no purchase
    # a and b bought in the shop in January; a came back, through another channel
    assert (shop["buyers_before"].tolist(), shop["kept"].tolist()) == ([0, 2, 0], [0, 1, 0])
    assert table.xs("(none)", level="group")["buyers"].tolist() == [1, 0, 0]


def test_who_served_and_chosen_customers():
    tables = open_tables({"transactions": LOG, "interactions": TOUCHES})
    staff = measure_parts(tables, CUTOFF, "staff", customers=pd.Index(["a"]))
    assert staff.xs("x", level="group")["contacts"].tolist() == [1, 1, 0]
    assert staff.xs("x", level="group")["contact_cost"].tolist() == [2.0, 0.0, 0.0]
    assert "y" not in staff.index.get_level_values("group")


def test_many_parts_are_gathered_and_missing_columns_named():
    many = LOG.assign(channel=None, category=[f"c{k}" for k in range(len(LOG))])
    many = pd.concat([many.assign(category=many["category"] + "x" * k) for k in range(3)])
    groups = measure_parts(open_tables(many), CUTOFF, "category").index.get_level_values("group")
    assert groups.nunique() == MOST_PARTS + 1
    assert "other" in groups
    with pytest.raises(MissingColumnsError, match="category"):
        measure_parts(open_tables(LOG), CUTOFF, "category")
    with pytest.raises(MissingColumnsError, match="staff_id"):
        measure_parts(open_tables(LOG), CUTOFF, "staff")
    with pytest.raises(ParameterError, match="by"):
        measure_parts(open_tables(LOG), CUTOFF, "colour")
