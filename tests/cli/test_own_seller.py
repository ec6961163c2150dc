"""Where rivals sell too: `init` asks which seller is the own house; no rival's sale is revenue."""

import json

import pandas as pd
import pytest
import yaml

from crmml.data.mapping import propose_mapping
from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.features.categories import gather_categories
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import build_snapshot
from crmml.features.windows import Window


@pytest.fixture(scope="module")
def panel(shop):
    return shop.log[["customer_id", "timestamp", "amount", "order_id", "category", "seller"]]


def test_init_asks_for_the_own_house_and_check_waits_for_the_answer(panel, command_line, tmp_path):
    panel.to_csv(tmp_path / "log.csv", index=False)
    done = command_line.here(tmp_path, "init", "log.csv", "--json")
    assert "data.own_seller" in json.loads(done.stdout)["choose"]
    path = tmp_path / "crmml.yaml"
    text = path.read_text(encoding="utf-8")
    assert '# own_seller: "own"' in text
    assert yaml.safe_load(text)["data"]["own_seller"] is None
    waits = command_line.here(tmp_path, "check", "--config", "crmml.yaml")
    assert waits.returncode != 0
    assert "own_seller must be one of the sellers ['own', 'rival']" in waits.stderr
    done = command_line.here(
        tmp_path, "check", "--config", "crmml.yaml", "--set", "data.own_seller=own", "--json"
    )
    sold = panel[(panel["seller"] == "own") & (panel["amount"] > 0)]
    assert json.loads(done.stdout)["revenue"] == pytest.approx(sold["amount"].sum())


def test_a_single_seller_is_not_asked_for(panel):
    asked = propose_mapping(panel)
    assert list(asked.sellers) == ["own", "rival"]
    assert any("which one is the own house" in doubt for doubt in asked.doubts)
    one = propose_mapping(panel[panel["seller"] == "own"])
    assert one.sellers == {}
    assert "own_seller" not in one.to_yaml()


def test_what_rivals_sold_is_no_revenue(panel):
    both = open_tables(panel)
    own = open_tables(panel[panel["seller"] == "own"].drop(columns="seller"))
    cutoff = pd.Timestamp("2023-07-01")
    window = Window(cutoff, "13W")
    seen, alone = (
        build_snapshot(tables, cutoff, own_seller=seller).frame.set_index("customer_id")
        for tables, seller in ((both, "own"), (own, None))
    )
    pd.testing.assert_frame_equal(seen, alone)
    pd.testing.assert_frame_equal(
        build_outcomes(both, window, own_seller="own"), build_outcomes(own, window)
    )
    pd.testing.assert_frame_equal(
        gather_categories(both, cutoff, "own"), gather_categories(own, cutoff)
    )
    with pytest.raises(ParameterError, match="own_seller must be one of the sellers"):
        build_snapshot(both, cutoff)
