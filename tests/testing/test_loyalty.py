"""By how much the levels of evidence of loyalty differ, where the truth is known."""

import pytest

from crmml.testing.loyalty import compare_evidence, with_defectors
from crmml.testing.simulate import Purchases, Spend, simulate_world


@pytest.fixture(scope="module")
def world():
    return simulate_world(
        500,
        seed=1,
        purchases=Purchases(r=2.0, alpha=3.0, a=0.3, b=6.0),
        spend=Spend(house_share=0.6),
        tables=("interactions",),
    )


def test_only_a_panel_knows_shares_that_stand_still(world):
    found = compare_evidence(world)
    assert found.loc["panel", "accuracy"] > found.loc["panel", "always"] + 0.1
    assert found.loc["panel", "share_error"] < 0.1
    assert found.loc["panel", "auc"] > 0.9
    # who buys half elsewhere looks like one who needs half as much
    assert found.loc["inferred", "share_error"] > 0.25
    assert found.loc["inferred", "auc"] == pytest.approx(0.5, abs=0.1)


def test_who_goes_over_is_seen_and_named_only_where_somebody_said_so(world):
    found = compare_evidence(with_defectors(world))
    assert (
        found.loc["panel", "auc"] > found.loc["stated", "auc"] > found.loc["inferred", "auc"] > 0.7
    )
    assert found.loc["panel", "found"] > found.loc["stated", "found"] > 0.1
    assert found.loc["stated", "right"] > 0.9
    assert found.loc["inferred", "found"] == 0
