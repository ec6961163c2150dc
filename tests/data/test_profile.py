"""The profile tells what a careful analyst would find by hand."""

import ibis
import numpy as np
import pandas as pd
import pytest

from crmml.data.datasets import load_cdnow
from crmml.data.profile import QUANTILES, compute_profile
from crmml.data.sections import profile_tables
from crmml.data.tables import open_tables
from crmml.exceptions import TooLittleDataError


def history(days, *, newcomers=0.0, old=0, rate=0.1, start="2022-01-03", seed=0):
    """Make a shop with old customers from before the data and newcomers every day."""
    generator = np.random.default_rng(seed)
    lines = []
    for day in range(days):
        lines += [(f"new{day}-{i}", day) for i in range(generator.poisson(newcomers))]
    known = [(f"old{i}", 0) for i in range(old)] + lines
    bought = list(lines)
    for customer, since in known:
        visits = np.flatnonzero(generator.random(days - since) < rate) + since
        bought += [(customer, int(day)) for day in visits]
    frame = pd.DataFrame(bought, columns=["customer_id", "day"])
    frame["timestamp"] = pd.Timestamp(start) + pd.to_timedelta(frame.pop("day"), unit="D")
    return frame.assign(amount=10.0)


@pytest.fixture(scope="module")
def cdnow():
    return compute_profile(open_tables(load_cdnow()))


def test_cdnow_is_a_closed_cohort_of_78_weeks(cdnow):
    assert (cdnow.rows, cdnow.customers, cdnow.buyers) == (69_659, 23_570, 23_570)
    assert cdnow.weeks == 78
    assert cdnow.described_share is None
    assert cdnow.zero_rows == 80
    assert cdnow.entry.base == "closed_cohort"
    assert cdnow.last_newcomer == pd.Timestamp("1997-03-25")
    assert (cdnow.season, cdnow.season_month) == (None, None)
    assert cdnow.windows.set_index("weeks")["windows"].to_dict() == {
        4: 13,
        8: 6,
        13: 4,
        26: 2,
        39: 1,
        52: 1,
    }
    assert cdnow.monthly["new_customers"].sum() == 23_570
    assert any(
        "closed cohort: nobody was first seen after 1997-03-25" in r for r in cdnow.remarks()
    )


def test_purchases_and_gaps_of_cdnow_equal_pandas(cdnow):
    days = load_cdnow()[["customer_id", "timestamp"]].drop_duplicates()
    per_customer = days.groupby("customer_id").size()
    gaps = days.sort_values(["customer_id", "timestamp"]).groupby("customer_id").diff()
    assert cdnow.purchases == len(days)
    assert cdnow.one_time_share == pytest.approx((per_customer == 1).mean())
    for values, found in (
        (per_customer, cdnow.purchases_per_customer),
        (gaps["timestamp"].dropna().dt.days, cdnow.days_between_purchases),
    ):
        expected = values.quantile([*QUANTILES, 1.0], interpolation="higher")
        np.testing.assert_allclose(found, expected, atol=1)
        assert found[1.0] == values.max()


def test_a_base_older_than_its_data_is_noticed():
    profile = compute_profile(open_tables(history(365, newcomers=0.5, old=400, rate=0.05)))
    assert profile.entry.base == "left_censored"
    assert profile.entry.new_at_start > 3 * profile.entry.new_later
    (remark,) = (said for said in profile.remarks() if "the base is older than the data" in said)
    assert remark.endswith("let mbg_nbd_left_censored compete in backtest.candidates")


def test_a_shop_that_began_with_its_data_is_open():
    profile = compute_profile(open_tables(history(365, newcomers=3, rate=0.02)))
    assert profile.entry.base == "open"
    assert not any("older than the data" in remark for remark in profile.remarks())


def test_silence_and_closed_weekdays():
    frame = history(200, old=100, rate=0.2)
    day = (frame["timestamp"] - pd.Timestamp("2022-01-03")).dt.days
    frame = frame[(frame["timestamp"].dt.day_name() != "Sunday") & ~day.between(100, 120)]
    profile = compute_profile(open_tables(frame))
    assert profile.closed_weekdays == ("Sunday",)
    assert profile.longest_silence == 21
    assert profile.silence_from == pd.Timestamp("2022-01-03") + pd.Timedelta(days=100)
    assert any("21 days in a row from 2022-04-13" in remark for remark in profile.remarks())
    assert any("no trade on Sunday" in remark for remark in profile.remarks())


def test_december_is_found():
    frame = history(3 * 365, old=200, rate=0.05, start="2021-01-01")
    extra = frame[frame["timestamp"].dt.month == 12]
    extra = extra.assign(customer_id=extra["customer_id"] + "x")
    profile = compute_profile(open_tables(pd.concat([frame, extra])))
    assert profile.season_month == 12
    assert profile.season == pytest.approx(2 / (13 / 12), rel=0.1)
    assert any("December has" in r and "two years or more" in r for r in profile.remarks())


def test_returns_are_told_apart_from_purchases():
    frame = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b"],
            "timestamp": pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-07"]),
            "amount": [10.0, -4.0, -1.0],
        }
    )
    profile = compute_profile(open_tables(frame))
    assert (profile.customers, profile.buyers, profile.purchases) == (2, 1, 1)
    assert (profile.revenue, profile.returned, profile.return_rows) == (10.0, 5.0, 2)
    assert profile.days_between_purchases.empty
    assert profile.last == pd.Timestamp("2024-01-01")
    with pytest.raises(TooLittleDataError, match=r"at least one purchase; all 2 lines are returns"):
        compute_profile(open_tables(frame.tail(2)))


def test_what_each_optional_table_and_column_would_add():
    people = pd.DataFrame({"customer_id": ["00004", "new"], "industry": ["music", "books"]})
    profile = compute_profile(open_tables(load_cdnow(sample=True), people))
    assert profile.described_share == pytest.approx(1 / 2_357)
    assert any("customers describes 0% of the customers" in said for said in profile.remarks())
    found = profile.additions
    whole = found[found["column"].isna()].set_index("table")["present"]
    assert whole.to_dict() == {
        "customers": True,
        "interactions": False,
        "treatments": False,
        "subscriptions": False,
        "schedules": False,
        "labelled": False,
    }
    # what no output of this version uses says so
    told = found[found["column"].isna()].set_index("table")["adds"]
    unused = {name for name in whole.index if "no output of this version uses it" in told[name]}
    assert unused == {"schedules"}
    column = found.set_index(["table", "column"])["present"]
    assert column["transactions", "quantity"]
    assert not column["transactions", "margin"]
    assert column["customers", "industry"]
    assert found["adds"].str.len().min() > 0


def test_the_order_of_the_rows_changes_nothing():
    frame = load_cdnow(sample=True)
    a = compute_profile(open_tables(frame))
    b = compute_profile(open_tables(frame.sample(frac=1, random_state=2)))
    pd.testing.assert_series_equal(a.purchases_per_customer, b.purchases_per_customer)
    pd.testing.assert_frame_equal(a.monthly, b.monthly)
    assert a.remarks() == b.remarks()
    assert a.report == b.report


def at(*days):
    return pd.to_datetime(list(days))


def test_every_table_has_a_section_with_its_figures():
    log = open_tables(load_cdnow(sample=True).head(50)).transactions
    frames = {
        "customers": pd.DataFrame(
            {"customer_id": ["a", "b", "c", "d"], "contactable": [True, True, False, None]}
        ),
        "interactions": pd.DataFrame(
            {
                "customer_id": ["a", "a", "b"],
                "timestamp": at("1997-02-01", "1997-03-01", "1997-04-01"),
                "kind": ["complaint", "complaint", "survey"],
                "resolved_at": at("1997-02-03", None, None),
                "score": [None, None, 8.0],
            }
        ),
        "treatments": pd.DataFrame(
            {
                "customer_id": ["a", "b", "c", "d"],
                "timestamp": at(*["1997-03-01"] * 4),
                "action": ["no_action", "call", "call", "mail"],
                "propensity": [0.25, 0.5, None, 0.25],
            }
        ),
        "subscriptions": pd.DataFrame(
            {
                "customer_id": ["a", "b", "c"],
                "started_at": at(*["1997-01-01"] * 3),
                "ended_at": at("1997-06-01", None, "1997-07-01"),
                "end_reason": ["voluntary", None, "competitor"],
            }
        ),
        "schedules": pd.DataFrame(
            {
                "name": ["Easter", "Christmas"],
                "starts_at": at("1997-03-30", "1999-12-01"),
                "ends_at": at("1997-04-01", "1999-12-27"),
            }
        ),
        "labelled": pd.DataFrame({"customer_id": ["a", "b"], "outcome": [True, False], "age": 5}),
    }
    tables = {name: ibis.memtable(frame) for name, frame in frames.items()}
    sections = {
        section.table: section for section in profile_tables({**tables, "transactions": log})
    }
    assert list(sections) == list(frames)
    assert {name: section.rows for name, section in sections.items()} == {
        name: len(frame) for name, frame in frames.items()
    }
    figures = {name: dict(section.figures) for name, section in sections.items()}
    assert figures["customers"]["may be contacted"] == "50.0%, unknown 25.0%"
    assert figures["interactions"] == {
        "by kind": "complaint 2, survey 1",
        "open complaints": "1 of 2",
        "scores": "1, mean 8.00",
    }
    assert figures["treatments"] == {
        "by action": "call 2, mail 1, no_action 1",
        "control (no_action)": "25.0%",
        "propensity known": "75.0%",
    }
    assert figures["subscriptions"]["active"] == "1 of 3"
    assert figures["subscriptions"]["ended by reason"] == "competitor 1, voluntary 1"
    assert figures["schedules"]["reaches past the log"] == "until 1999-12-27"
    assert sections["schedules"].customers is None
    assert figures["labelled"]["base rate of the outcome"] == "50.0%"
    assert sections["interactions"].last == pd.Timestamp("1997-04-01")
    # without a log there is nothing to reach past
    assert profile_tables({"schedules": tables["schedules"]})[0].figures[0][0] == "by name"
