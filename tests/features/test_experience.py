"""Experience zones and touch points: an open complaint first, then the latest word."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.data.tables import Tables, open_tables
from crmml.features.experience import count_touches, name_dimensions, read_zones
from crmml.features.merits import gather_merits
from crmml.features.snapshot import build_snapshot

CUTOFF = pd.Timestamp("2024-01-01")
# customer, when, kind, score, settled at, dimension, zone of the customer
SAID = [
    (1, "2023-12-01", "survey", 7.0, None, "price", "positive"),
    (2, "2023-12-01", "survey", 4.0, None, "price", "negative"),
    (3, "2023-12-01", "survey", 5.0, None, "price", "neutral"),
    (4, "2023-11-01", "survey", 9.0, None, "price", "positive"),  # the later complaint decides
    (4, "2023-12-01", "complaint", None, "2023-12-05", "service", "neutral"),
    (5, "2023-11-01", "complaint", None, None, "service", "negative"),  # open, whatever came later
    (5, "2023-12-01", "survey", 10.0, None, "price", "negative"),
    (6, "2023-12-01", "complaint", None, "2024-02-01", "service", "negative"),  # settled later
    (7, "2023-01-01", "survey", 1.0, None, "price", "unknown"),  # before the window
    (8, "2024-01-01", "survey", 1.0, None, "price", "unknown"),  # not known yet
    (9, "2023-12-01", "visit", None, None, "price", "unknown"),
    (10, "2023-12-01", "survey", 9.0, None, "price", "negative"),  # the worse of one moment
    (10, "2023-12-01", "survey", 2.0, None, "service", "negative"),
]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    names = ["customer_id", "timestamp", "kind", "score", "resolved_at", "dimension", "zone"]
    table = pd.DataFrame(SAID, columns=names)
    dates = {name: pd.to_datetime(table[name]) for name in ("timestamp", "resolved_at")}
    return table.assign(**dates)


def opened(rows: pd.DataFrame, **more: pd.DataFrame) -> Tables:
    log = pd.DataFrame({"customer_id": range(1, 12), "timestamp": "2023-06-01", "amount": 5.0})
    return open_tables({"transactions": log, "interactions": rows, **more})


def test_an_open_complaint_is_negative_and_else_the_latest_word_decides(rows):
    tables = opened(rows.drop(columns="zone"))
    expected = rows.groupby("customer_id")["zone"].last()
    zones = read_zones(tables, CUTOFF)["experience_zone"]
    assert zones.reindex(expected.index, fill_value="unknown").tolist() == expected.tolist()
    assert read_zones(tables, CUTOFF, satisfied_from=8)["experience_zone"][1] == "neutral"
    assert read_zones(tables, CUTOFF, window="60W")["experience_zone"][7] == "negative"


def test_each_dimension_has_a_zone_of_its_own(rows):
    tables = opened(rows.drop(columns="zone"))
    dimensions = name_dimensions(tables, CUTOFF)
    assert dimensions == {"price": "experience_price", "service": "experience_service"}
    zones = read_zones(tables, CUTOFF, dimensions=dimensions)
    assert zones.loc[5, ["experience_price", "experience_service"]].tolist() == [
        "positive",
        "negative",
    ]
    assert zones.loc[1, "experience_service"] == "unknown"


def test_where_nothing_says_what_was_settled_a_complaint_is_negative_until_a_later_word(rows):
    zones = read_zones(opened(rows.drop(columns=["zone", "resolved_at"])), CUTOFF)
    assert zones["experience_zone"].loc[[4, 5, 6]].tolist() == ["negative", "positive", "negative"]


def test_touch_points_become_columns_of_the_snapshot(rows):
    tables = opened(rows.drop(columns="zone"))
    counts = count_touches(tables, CUTOFF)
    assert counts.loc[4].tolist() == [2.0, 0.0, 9.0]
    assert counts.loc[10, "last_score"] == 2.0
    frame = build_snapshot(tables, CUTOFF).frame.set_index("customer_id")
    names = ["contacts_26w", "open_complaints"]
    assert frame.loc[5, names].tolist() == [2.0, 1.0]
    assert frame.loc[11, names].tolist() == [0.0, 0.0]
    assert frame["last_score"].isna().sum() == 11 - 6
    without = build_snapshot(opened(rows[["customer_id", "timestamp", "kind"]]), CUTOFF)
    assert without.provenance["absent"]["last_score"].endswith("'interactions.score'")


def test_a_referral_counts_once_for_the_first_and_only_if_it_was_bought_afterwards():
    told = ["2023-05-01", "2023-05-02", "2023-07-01", "2023-05-01", "2023-08-01"]
    referrals = pd.DataFrame(
        {
            "customer_id": [1, 2, 3, 4, 1],
            "timestamp": told,
            "kind": ["referral"] * 4 + ["suggestion"],
            "referred_customer_id": [11, 11, 10, 99, None],
            "led_to_change": pd.array([None] * 4 + [True], dtype="boolean"),
        }
    )
    found = gather_merits(opened(referrals), CUTOFF)
    assert found["referrals_won"].to_dict() == {1: 1.0}  # 2 told later, 3 too late, 4 in vain
    assert found["referral_value"].to_dict() == {1: 5.0}
    assert found["suggestions_taken"].to_dict() == {1: 1.0}
