"""Share of wallet and unmet need come with bounds that hold them."""

import numpy as np
import pandas as pd
import pytest

from crmml.features.wallet import build_wallet
from crmml.scoring.outlooks import _shares_of_wallet


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
