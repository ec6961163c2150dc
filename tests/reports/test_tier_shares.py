"""The tiers of a report are told by net value and by profit, losses included."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.reports.totals import sum_tiers, tier_table


def test_shares_of_value_are_net_of_the_cost_to_serve():
    scores = pd.DataFrame(
        {
            "customer_id": [1, 2, 3],
            "value_tier": ["A", "B", "E"],
            "clv": [10.0, 6.0, 1.0],
            "net_clv": [8.0, 3.0, -1.0],
            "churn_probability": 0.5,
            "recommended_action": "no_action",
            "expected_cost": 0.0,
            "expected_net_gain": 0.0,
        }
    )
    table = tier_table(sum_tiers(scores))
    assert table["share_of_value"].tolist() == pytest.approx([0.8, 0.3, 0, 0, -0.1])
    assert table.loc["E", "mean_clv"] == -1.0
    assert tier_table(sum_tiers(scores.drop(columns="net_clv"))).loc["E", "mean_clv"] == 1.0
