"""Contracts become spells and person-periods: by hand, and whatever comes later."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.features.contracts import build_contracts, build_person_periods, contract_span
from crmml.testing.contracts import simulate_contracts

DAY = pd.Timedelta(days=1)


def tables_of(*rows, **more):
    columns = ["customer_id", "started_at", "ended_at", "plan", "end_reason"]
    frame = pd.DataFrame(rows, columns=columns)
    for name in ("started_at", "ended_at"):
        frame[name] = pd.to_datetime(frame[name])
    return open_tables({"subscriptions": frame, **more})


BY_HAND = (
    ("a", "2024-01-01", "2024-03-31", "x", "voluntary"),  # three periods of 30 days to the day
    ("b", "2024-01-01", "2024-02-20", "x", "competitor"),  # ends in its second period
    ("c", "2024-01-01", None, "x", None),
    ("d", "2024-01-01", "2024-02-10", "x", None),
    ("d", "2024-02-13", None, "y", None),  # three days later, another plan
)


def test_periods_by_hand():
    found = build_person_periods(
        tables_of(*BY_HAND), "2024-06-02", since="2024-01-01", grace="2D"
    ).frame
    told = {
        who: rows["cause"].astype("object").where(rows["cause"].notna(), "-").tolist()
        for who, rows in found.groupby("customer_id")
    }
    assert told["a"] == ["-", "-", "voluntary"]
    assert told["b"] == ["-", "competitor"]
    assert told["c"] == ["-"] * 5  # five whole periods and three days, two of them for a renewal
    assert told["d"] == ["-", "unknown", "-", "-", "-"]
    assert found.loc[found["customer_id"] == "d", "spell"].tolist() == [0, 0, 1, 1, 1]
    assert found.loc[found["cause"] == "voluntary", "position"].tolist() == [1.0]


def test_a_renewal_within_the_grace_period_continues_the_spell():
    found = build_person_periods(
        tables_of(*BY_HAND), "2024-06-03", since="2024-01-01", grace="3D"
    ).frame
    mine = found[found["customer_id"] == "d"]
    assert mine["spell"].unique().tolist() == [0]
    assert mine["cause"].isna().all()
    assert mine["plan_changes"].tolist() == [0, 0, 1, 1, 1]
    assert mine["plan"].tolist() == ["x", "x", "y", "y", "y"]


def test_an_end_that_may_yet_be_renewed_is_neither_active_nor_over():
    tables = tables_of(*BY_HAND)
    contracts = build_contracts(tables, "2024-04-02", grace="5D")
    assert contracts.in_grace.tolist() == ["a"]
    assert contracts.customer_id.tolist() == ["c", "d"]
    rows = build_person_periods(tables, "2024-04-02", since="2024-01-01", grace="5D").frame
    mine = rows[rows["customer_id"] == "a"]
    assert mine["cause"].isna().all()
    assert len(mine) == 2


def test_who_ends_and_who_stays_are_counted_up_to_the_same_day():
    tables = tables_of(*BY_HAND)
    early = build_person_periods(tables, "2024-02-25", since="2024-01-01").frame
    assert early["age"].max() == 0  # the second period of b, who has left, is not over for a and c
    assert early["cause"].isna().all()
    world = open_tables(simulate_contracts(200, seed=4))  # nobody comes back in it
    waited = build_person_periods(world, "2023-07-01", since="2022-02-01", grace="30D")
    at_once = build_person_periods(world, "2023-06-01", since="2022-02-01")
    assert waited.settled == at_once.settled == pd.Timestamp("2023-06-01")
    pd.testing.assert_frame_equal(waited.frame, at_once.frame)


def test_a_period_that_begins_on_the_day_after_is_a_renewal():
    rows = [("e", f"2024-0{m}-01", f"2024-0{m}-28", "x", None) for m in (1, 2, 3)]
    days = (("2024-01-01", "2024-01-31"), ("2024-02-01", "2024-02-29"), ("2024-03-01", None))
    month = [("f", start, end, "x", None) for start, end in days]
    tables = tables_of(*month, *rows, ("g", "2024-01-01", None, "x", None))
    frame = build_person_periods(tables, "2024-06-01", since="2024-01-01").frame
    mine = frame[frame["customer_id"] == "f"]
    assert mine["cause"].isna().all()
    assert mine["age"].tolist() == [0, 1, 2, 3, 4]
    assert frame["reentries"].max() == 2  # three days are a pause, one is none
    waits = build_contracts(tables, "2024-02-01").in_grace  # the second month begins at the cutoff
    assert waits.tolist() == ["f"]


def test_older_contracts_come_in_late():
    found = build_person_periods(tables_of(*BY_HAND), "2024-06-01", since="2024-02-01")
    assert found.frame["age"].min() == 0  # d's second contract; those of January start at 2
    assert found.frame.loc[found.frame["customer_id"] == "c", "age"].tolist() == [2, 3, 4]
    assert found.truncated == 4


def test_nothing_that_comes_later_is_known():
    world = simulate_contracts(300, seed=3)
    cutoff = pd.Timestamp("2023-06-01")
    whole = open_tables(world)
    later = {
        "subscriptions": ("started_at",),
        "interactions": ("timestamp",),
    }
    changed = {name: frame.copy() for name, frame in world.items()}
    for name, (column,) in later.items():
        changed[name] = changed[name][changed[name][column] < cutoff].reset_index(drop=True)
    ended = changed["subscriptions"]["ended_at"]
    moved = ended.where(ended.isna() | (ended < cutoff), ended + 11 * DAY)
    changed["subscriptions"]["ended_at"] = moved
    other = open_tables(changed)
    for build in (build_contracts, build_person_periods):
        one, two = build(whole, cutoff).frame, build(other, cutoff).frame
        pd.testing.assert_frame_equal(one, two)


def test_the_order_of_the_rows_does_not_matter():
    world = simulate_contracts(200, seed=4)
    turned = {name: frame.iloc[::-1].reset_index(drop=True) for name, frame in world.items()}
    one, two = (build_person_periods(open_tables(t)).frame for t in (world, turned))
    pd.testing.assert_frame_equal(one, two)


def test_a_period_below_a_day_is_refused():
    with pytest.raises(ParameterError, match="at least one day"):
        build_contracts(tables_of(*BY_HAND), period="2H")


def test_the_fees_of_contracts_that_run_beside_each_other_add_up():
    rows = pd.DataFrame(
        {
            "customer_id": ["a", "a", "a", "b", "b", "c"],
            "started_at": pd.to_datetime(["2024-01-01"] * 4 + ["2024-02-10", "2024-01-01"]),
            "ended_at": pd.to_datetime([None, None, "2024-02-10", "2024-02-10", None, None]),
            "plan": ["phone", "tv", "film", "x", "y", "x"],
            "fee": [20.0, 5.0, 3.0, 10.0, 12.0, 10.0],
        }
    )
    tables = open_tables({"subscriptions": rows})
    now = build_contracts(tables, "2024-05-01").frame.set_index("customer_id")["fee"]
    assert now.to_dict() == {"a": 25.0, "b": 12.0, "c": 10.0}
    then = build_person_periods(tables, "2024-05-01", since="2024-01-01").frame
    assert then.loc[then["customer_id"] == "a", "fee"].tolist()[:3] == [28.0, 28.0, 25.0]


def test_ends_that_are_announced_have_not_happened():
    world = simulate_contracts(1_000, seed=5)
    drawn = pd.Timestamp("2024-03-01")
    known = world["subscriptions"][world["subscriptions"]["started_at"] < drawn]
    notice = drawn + 60 * DAY
    kept = known["ended_at"].where(known["ended_at"] < notice)  # cancelled up to 60 days ahead
    told = known.assign(ended_at=kept, end_reason=known["end_reason"].where(kept.notna()))
    term = known["ended_at"].fillna(known["started_at"] + 1_500 * DAY)  # terms of four years
    for rows in (told, known.assign(ended_at=term, end_reason=None)):
        tables = open_tables({"subscriptions": rows})
        span = contract_span(tables)
        assert drawn - 3 * DAY < span.last < drawn
        assert span.announced == (rows["ended_at"] >= span.last.floor("D") + DAY).sum() > 20
        assert span.announced_until == rows["ended_at"].max()
        still = known["ended_at"].isna() | (known["ended_at"] >= span.last.floor("D") + DAY)
        assert len(build_contracts(tables)) == still.sum()
    few = tables_of(*BY_HAND)  # too few days with an event to tell
    assert contract_span(few)[1:3] == (pd.Timestamp("2024-03-31"), 0)


def test_an_empty_column_of_ends_that_pandas_reads_as_numbers_is_no_end():
    rows = pd.DataFrame({"customer_id": ["a"], "started_at": ["2024-01-01"], "ended_at": [None]})
    tables = open_tables({"subscriptions": rows.astype({"ended_at": "float64"})})
    assert len(build_contracts(tables, "2024-05-01")) == 1
