"""Share of wallet and unmet need come with bounds that hold them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from crmml.data.tables import open_tables
from crmml.exceptions import MissingColumnsError
from crmml.features.wallet import build_wallet, find_signals
from crmml.plots import plot_flows
from crmml.scoring.differences import count_flows
from crmml.scoring.outlooks import _shares_of_wallet
from crmml.scoring.standard import predictor_from_dict, predictor_to_dict
from crmml.segments.lifecycle import LifecycleStages


def log(**more):
    rows = [("a", "2023-01-10", 60.0), ("a", "2023-05-10", 20.0), ("b", "2023-01-12", 30.0)]
    rows += [("c", "2023-05-02", 10.0)]
    frame = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    return frame.assign(timestamp=pd.to_datetime(frame["timestamp"]), **more)


def test_an_inferred_share_lies_within_its_bounds():
    wallet = build_wallet(log(), "2023-06-30", length="13W")
    found = _shares_of_wallet(wallet.frame)
    for name in ("share_of_wallet", "unmet_need"):
        low, value, high = (found[f"{name}{end}"] for end in ("_lower", "", "_upper"))
        assert (low <= value).all()
        assert (value <= high).all()
    # a bought for 20 in the window, for 60 in the best one before; the peers' best is 45
    assert found.loc["a"].tolist() == pytest.approx([20 / 52.5, 20 / 60, 1.0, 32.5, 0.0, 40.0])
    assert found.loc["b", ["share_of_wallet", "unmet_need_upper"]].tolist() == [0.0, 45.0]


def test_of_a_panel_the_bounds_are_the_fact():
    sellers = ["us", "rival", "us", "us"]
    wallet = build_wallet(log(seller=sellers), "2023-06-30", length="13W", own_seller="us")
    found = _shares_of_wallet(wallet.frame)
    assert found.loc["a"].tolist() == [0.0, 0.0, 0.0, 20.0, 20.0, 20.0]
    assert np.isnan(found.loc["b", "share_of_wallet"])  # lapsed: nothing was needed


def test_who_said_so_when_a_contract_ended_is_with_a_competitor():
    days = pd.date_range("2023-01-02", periods=13, freq="7D")
    many = pd.DataFrame({"timestamp": days, "amount": 10.0})
    buys = pd.concat(
        [many.assign(customer_id=name) for name in ("said", "silent")]
        + [
            pd.DataFrame({"customer_id": [name], "timestamp": ["2023-05-10"], "amount": [5.0]})
            for name in ("said", "silent")
        ]
    )
    buys["timestamp"] = pd.to_datetime(buys["timestamp"])
    ends = pd.DataFrame(
        {
            "customer_id": ["said", "silent"],
            "started_at": pd.Timestamp("2023-01-01"),
            "ended_at": pd.to_datetime(["2023-05-20", "2023-05-20"]),
            "end_reason": ["competitor", "voluntary"],
        }
    )
    tables = open_tables({"transactions": buys, "subscriptions": ends})
    signals = find_signals(tables, "2023-06-30", "13W")
    assert signals == {"said"}
    assert find_signals(tables, "2023-05-20", "13W") == frozenset()  # not known yet
    assert find_signals(open_tables(buys), "2023-06-30", "13W") == frozenset()
    again = {"customer_id": "said", "started_at": pd.Timestamp("2023-06-01")}
    back = pd.concat([ends, pd.DataFrame([again])], ignore_index=True)
    returned = open_tables({"transactions": buys, "subscriptions": back})
    assert find_signals(returned, "2023-06-30", "13W") == frozenset()
    assert find_signals(returned, "2023-06-01", "13W") == {"said"}  # not back yet
    found = build_wallet(tables, "2023-06-30", length="13W", signals=signals).frame
    assert found.loc["said", ["loyalty_class", "loyalty_evidence"]].tolist() == [
        "competitor",
        "stated",
    ]
    # own data alone give a probability and never the class
    assert found.loc["silent", "loyalty_class"] == "disloyal"
    assert 0 < found.loc["silent", "probability_competitor"] < 1


def test_flows_between_two_cutoffs_count_everybody_once():
    before = pd.DataFrame({"customer_id": [1, 2, 3], "loyalty_class": ["loyal", "split", "split"]})
    after = pd.DataFrame({"customer_id": [2, 3, 4], "loyalty_class": ["lapsed", "split", "loyal"]})
    flows = count_flows(before, after, "loyalty_class")
    assert list(flows.index) == ["loyal", "split", "new"]
    assert list(flows.columns) == ["loyal", "split", "lapsed", "gone"]
    assert flows.to_numpy().sum() == 4
    assert flows.loc["loyal", "gone"] == flows.loc["new", "loyal"] == 1
    assert "3 of 4" in plot_flows(flows, aspect="loyalty class", ax=Figure().subplots()).get_title(
        loc="left"
    )
    with pytest.raises(MissingColumnsError):
        count_flows(before, after, "value_tier")


def test_who_said_so_in_a_survey_is_with_a_competitor():
    visits = pd.date_range("2023-01-02", periods=13, freq="7D").append(
        pd.DatetimeIndex(["2023-05-10"])
    )
    names = ("yes", "no longer", "complaint", "long ago", "unasked")
    buys = pd.concat(
        pd.DataFrame({"customer_id": name, "timestamp": visits, "amount": 9.0}) for name in names
    )
    rows = [
        ("yes", "2023-06-01", "survey", True),
        ("no longer", "2023-06-01", "survey", True),
        ("no longer", "2023-06-10", "survey", False),
        ("complaint", "2023-06-01", "complaint", True),
        ("long ago", "2023-01-10", "survey", True),
        ("unasked", "2023-06-01", "survey", None),
        ("unasked", "2023-07-01", "survey", True),
    ]
    told = pd.DataFrame(rows, columns=["customer_id", "timestamp", "kind", "with_competitor"])
    told = told.assign(timestamp=pd.to_datetime(told["timestamp"]))
    told["with_competitor"] = told["with_competitor"].astype("boolean")
    tables = open_tables({"transactions": buys, "interactions": told})
    signals = find_signals(tables, "2023-06-30", "13W")
    assert signals == {"yes"}
    found = build_wallet(tables, "2023-06-30", length="13W", signals=signals).frame
    assert (found["loyalty_class"] == "competitor").to_dict() == {
        n: n == "yes" for n in found.index
    }
    assert found.loc["yes", ["loyalty_evidence", "probability_competitor"]].tolist() == [
        "stated",
        1,
    ]
    # nobody else is named: what is inferred is a probability
    assert found.drop("yes")["probability_competitor"].between(0, 1, inclusive="neither").all()


@pytest.fixture(scope="module")
def strict(trained_shop):
    """The bundle of the shop, by which who is as likely to leave as not counts as lost."""
    stages = LifecycleStages(lapsed_at=0.5, at_risk_at=0.5)
    fitted = next(p for p in trained_shop.bundle.predictors if p.name == "lifecycle").segments
    stages.new_until_, stages.established_after_ = fitted.new_until_, fitted.established_after_
    parts = {"loyalty": {"stages": stages}, "lifecycle": {"segments": stages}}
    served = [replace(p, **parts.get(p.name, {})) for p in trained_shop.bundle.predictors]
    return replace(trained_shop.bundle, predictors=tuple(served))


def test_lapsed_agrees_with_the_stage_in_both_directions(strict, trained_shop):
    read = {"history", "forecast", "lifetime_value", "churn", "loyalty", "lifecycle"}

    def counts(bundle):
        bundle = replace(bundle, predictors=tuple(p for p in bundle.predictors if p.name in read))
        table = bundle.score(trained_shop.tables, bundle.manifest.cutoff)
        return pd.crosstab(table["loyalty_class"], table["lifecycle_stage"]), table

    found, table = counts(strict)
    assert found.drop(columns="win_back").loc["lapsed"].sum() == 0
    assert set(found.index[found["win_back"] > 0]) <= {"lapsed", "insufficient", "competitor"}
    assert found.loc["loyal"].sum() > 0
    gone = table[(table["lifecycle_stage"] == "win_back") & (table["loyalty_class"] == "lapsed")]
    assert gone["next_loyalty_lapsed"].min() > gone["next_loyalty_loyal"].max()
    free = [replace(p, stages=None) if p.name == "loyalty" else p for p in strict.predictors]
    assert counts(replace(strict, predictors=tuple(free)))[0].loc["loyal", "win_back"] > 0
    one = predictor_from_dict(predictor_to_dict(strict.predictors[4]))
    assert one.stages.to_dict() == strict.predictors[4].stages.to_dict()
