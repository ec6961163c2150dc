import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import MissingColumnsError, ParameterError, TooLittleDataError
from crmml.features.wallet import (
    LOYALTY_CLASSES,
    ReferencePopulation,
    build_wallet,
    classify_shares,
    rolling_wallets,
)


def lines(*rows, columns=("customer_id", "timestamp", "amount")):
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"], format="ISO8601"))


def panel():
    rows = []
    for day in range(1, 7):
        date = f"2024-02-{day:02d}"
        rows += [("loyal", date, 20.0, "us", "tea"), ("loyal", date, 10.0, "r1", "tea")]
        rows += [("split", date, 10.0, "us", "tea"), ("split", date, 20.0, "r1", "tea")]
        rows += [("competitor", date, 1.0, "us", "tea"), ("competitor", date, 9.0, "r1", "tea")]
        rows += [("disloyal", date, 1.0, s, "tea") for s in ("us", "r1", "r2", "r3")]
    rows += [("insufficient", "2024-02-01", 5.0, "us", "tea")]
    rows += [("lapsed", "2023-02-01", 5.0, "us", "tea")]
    return lines(*rows, columns=("customer_id", "timestamp", "amount", "seller", "category"))


def test_borders_of_the_classes():
    third = 10 / 30
    names = classify_shares(
        [2 * third, third, 0.33, 0.33, np.nan], [0.3, 0.6, 0.5, 0.49, 0.1], [3] * 5
    )
    assert names.tolist() == ["loyal", "split", "competitor", "disloyal", "insufficient"]
    assert classify_shares([1.0, 1.0], [0.0, 0.0], [2, 0]).tolist() == ["insufficient", "lapsed"]


def test_panel_classes_are_facts():
    wallet = build_wallet(panel(), "2024-03-01", length="5W", own_seller="us")
    assert wallet.frame["loyalty_class"].to_dict() == {name: name for name in LOYALTY_CLASSES}
    assert set(wallet.frame["loyalty_evidence"]) == {"panel"}
    assert wallet.frame.loc["loyal", "share"] == pytest.approx(2 / 3)
    assert wallet.frame.loc["competitor", "rival_share"] == pytest.approx(0.9)
    assert wallet.frame.loc["lapsed", "past_windows"] == 1


def test_by_category_keeps_categories_apart():
    frame = pd.concat([panel(), panel().assign(category="coffee", seller="r1")])
    wallet = build_wallet(frame, "2024-03-01", length="5W", own_seller="us", by_category=True)
    assert wallet.frame.loc[("loyal", "tea"), "loyalty_class"] == "loyal"
    assert wallet.frame.loc[("loyal", "coffee"), "loyalty_class"] == "competitor"


def own_history():
    rows = [("keeps", f"2024-{m:02d}-{d:02d}", 10.0) for m in (1, 2, 3) for d in (1, 8, 15, 22)]
    rows += [("fades", f"2024-{m:02d}-{d:02d}", 10.0) for m in (1, 2) for d in (1, 8, 15, 22)]
    rows += [("fades", "2024-03-20", 10.0), ("once", "2024-03-20", 10.0)]
    rows += [("gone", f"2024-01-{d:02d}", 10.0) for d in (1, 8, 15, 22)]
    return lines(*rows)


def test_inferred_need_is_the_own_past_peak():
    wallet = build_wallet(own_history(), "2024-03-31", length="30D")
    frame = wallet.frame
    assert frame["loyalty_class"].to_dict() == {
        "keeps": "loyal",
        "fades": "disloyal",
        "gone": "lapsed",
        "once": "disloyal",
    } | {"once": frame.loc["once", "loyalty_class"]}
    assert frame.loc["keeps", "need"] == pytest.approx(40.0)
    assert set(frame["loyalty_evidence"]) == {"inferred"}
    assert "competitor" not in set(frame["loyalty_class"])
    assert 0 < frame.loc["fades", "probability_competitor"] < 1


def test_a_competitor_is_named_only_where_the_customer_said_so():
    said = ["fades", "keeps", "gone", "once"]
    frame = build_wallet(own_history(), "2024-03-31", length="30D", signals=said).frame
    for name in said:  # whatever the estimate, which knows nothing of other houses
        assert frame.loc[name, ["loyalty_class", "loyalty_evidence"]].tolist() == [
            "competitor",
            "stated",
        ]
    assert (frame["probability_competitor"] == 1.0).all()
    seen = build_wallet(panel(), "2024-03-01", length="5W", own_seller="us", signals=["loyal"])
    assert seen.frame.loc["loyal", "loyalty_class"] == "loyal"  # what is seen decides


def test_one_customer_alone_equals_the_batch_with_stored_peers():
    frame = own_history()
    whole = build_wallet(frame, "2024-03-31", length="30D")
    peers = ReferencePopulation.from_dict(whole.peers.to_dict())
    for customer in ("keeps", "fades", "once", "gone"):
        alone = build_wallet(
            frame[frame["customer_id"] == customer], "2024-03-31", length="30D", peers=peers
        )
        pd.testing.assert_frame_equal(alone.frame, whole.frame.loc[[customer]])


def test_order_of_rows_does_not_matter_and_the_future_is_invisible():
    frame = own_history()
    whole = build_wallet(frame, "2024-03-31", length="30D").frame
    future = lines(("keeps", "2024-03-31", 1e6), ("new", "2024-04-01", 1.0))
    mixed = pd.concat([future, frame]).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(build_wallet(mixed, "2024-03-31", length="30D").frame, whole)


def test_window_is_closed_on_the_left_and_open_on_the_right():
    frame = lines(("a", "2024-03-01 00:00:00", 1.0), ("b", "2024-02-29 23:59:59.5", 1.0))
    wallet = build_wallet(frame, "2024-03-31", length="30D")
    assert wallet.frame["past_windows"].to_dict() == {"a": 0, "b": 1}
    assert wallet.frame["spend"].to_dict() == {"a": 1.0, "b": 0.0}


def test_rolling_windows_lie_in_the_data_and_do_not_overlap():
    wallets = rolling_wallets(own_history(), "2024-03-31", length="30D")
    assert [w.closes for w in wallets] == [w.opens for w in wallets[1:]] + [wallets[-1].closes]
    assert wallets[0].opens >= pd.Timestamp("2024-01-01")
    assert len(rolling_wallets(own_history(), "2024-03-31", length="30D", most=1)) == 1
    assert rolling_wallets(own_history(), "2024-03-31", length="52W") == []


def test_refusals():
    with pytest.raises(MissingColumnsError, match=r"missing column\(s\) 'seller'"):
        build_wallet(own_history(), "2024-03-31", length="30D", own_seller="us")
    with pytest.raises(TooLittleDataError, match="before the cutoff 2020-01-01"):
        build_wallet(own_history(), "2020-01-01", length="30D")
    with pytest.raises(ParameterError, match="most must be at least 1"):
        rolling_wallets(own_history(), "2024-03-31", length="30D", most=0)
