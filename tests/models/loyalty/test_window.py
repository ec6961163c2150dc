"""Loyalty looks back as far as the data ask for, a horizon from one cutoff to the next."""

import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.features.wallet import build_wallet, choose_window, rolling_wallets
from crmml.models.loyalty.model import LoyaltyModel

NAMED = ("loyal", "split", "disloyal", "competitor")


def own_occasions(log, window):
    """Days with a purchase at the house: in the window, and ever."""
    bought = log[(log["amount"] >= 0) & (log["timestamp"] < window.closes)]
    days = bought.assign(day=bought["timestamp"].dt.normalize())
    days = days.drop_duplicates(["customer_id", "day"])
    within = days[days["day"] >= window.opens].groupby("customer_id").size()
    ever = days.groupby("customer_id").size()
    return (n.reindex(window.frame.index, fill_value=0) for n in (within, ever))


def check_named(log, cutoff):
    tables = open_tables(log)
    length = choose_window(tables, cutoff, step="13W").length
    window = build_wallet(tables, cutoff, length=length)
    within, ever = own_occasions(log, window)
    classes = window.frame["loyalty_class"]
    wanted = classes[(within > 0) & (ever >= 3)]
    assert len(wanted) > 100
    assert wanted.isin(NAMED).mean() >= 0.8
    assert set(classes[(within > 0) & (ever < 3)]) == {"insufficient"}
    assert set(classes[within == 0]) == {"lapsed"}
    return length


def test_whoever_has_three_occasions_has_a_class_in_cdnow(cdnow_tables):
    log = cdnow_tables.transactions.to_pandas()
    assert check_named(log, "1998-07-01") == "39W"


def test_whoever_has_three_occasions_has_a_class_in_a_simulated_shop(shop):
    check_named(shop.log[shop.log["seller"] == "own"].drop(columns="seller"), "2024-01-01")


def test_the_window_is_the_shortest_in_which_most_have_three_occasions():
    days = pd.date_range("2022-01-01", "2023-12-31", freq="40D")
    log = pd.concat(
        pd.DataFrame({"customer_id": name, "timestamp": days + pd.Timedelta(days=k), "amount": 9.0})
        for k, name in enumerate("abcdef")
    )
    choice = choose_window(log, "2023-12-31", step="10W")
    assert choice.length == "20W"  # three purchases, 40 days apart, take more than 70 days
    assert "100% of 6 active customers have 3 occasions" in choice.reason
    short = choose_window(log[log["timestamp"] >= "2023-09-01"], "2023-12-31", step="10W")
    assert short.length == "10W"
    assert "the data carry no longer window" in short.reason


@pytest.mark.parametrize("own_seller", [None, "own"])
def test_windows_that_overlap_are_those_built_one_by_one(shop, own_seller):
    log = shop.log if own_seller else shop.log.drop(columns="seller")
    log = log[log["customer_id"] <= 60]
    rolled = rolling_wallets(
        log, "2024-01-01", length="20W", step="13W", own_seller=own_seller, most=3
    )
    ends = [str(w.closes.date()) for w in rolled]
    assert ends == ["2023-07-03", "2023-10-02", "2024-01-01"]
    assert rolled[0].closes > rolled[1].opens
    for window in rolled:
        alone = build_wallet(log, window.closes, length="20W", own_seller=own_seller)
        pd.testing.assert_frame_equal(window.frame, alone.frame)
        assert (window.opens, window.peers) == (alone.opens, alone.peers)
    assert LoyaltyModel(n_boot=20).fit(rolled).n_windows_ == 3


def test_months_go_with_months():
    log = pd.DataFrame(
        {"customer_id": 1, "timestamp": pd.date_range("2022-01-01", periods=24, freq="MS")}
    ).assign(amount=5.0)
    how = {"grain": "month", "length": "6M"}
    rolled = rolling_wallets(log, "2024-01-01", step="1Q", **how)
    assert [str(w.opens.date()) for w in rolled[-2:]] == ["2023-04-01", "2023-07-01"]
    assert {w.frame.loc[1, "spend"] for w in rolled} == {30.0}
    with pytest.raises(ParameterError, match="step must be in months or quarters"):
        rolling_wallets(log, "2024-01-01", step="13W", **how)


def test_who_has_lapsed_is_to_be_won_back(trained_shop):
    scores = trained_shop.scores.to_pandas()
    lapsed = scores["loyalty_class"] == "lapsed"
    assert lapsed.sum() > 20
    assert set(scores.loc[lapsed, "lifecycle_stage"]) == {"win_back"}
    assert set(scores.loc[lapsed, "lifecycle_focus"]) == {"return"}
