"""The profile tells what a careful analyst would find by hand."""

import numpy as np
import pandas as pd
import pytest

from crmml.data.datasets import load_cdnow
from crmml.data.profile import QUANTILES, compute_profile
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
    }
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
