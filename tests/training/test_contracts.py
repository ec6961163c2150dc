"""A base with a log and contracts: one training, one bundle, contracts in columns of their own."""

from __future__ import annotations

import pandas as pd
import pytest

import crmml
from crmml.testing.simulate import simulate_world

CONFIG = {
    "outcome": {"horizon": "12W"},
    "contracts": {"period": "28D", "max_windows": 2},
    "backtest": {"candidates": ["mbg_nbd", "heuristic"], "max_windows": 2, "bootstrap": 20},
}


@pytest.fixture(scope="module")
def world():
    found = simulate_world(500, seed=2, weeks=110)
    return {name: found.tables[name] for name in ("transactions", "subscriptions")}


@pytest.fixture(scope="module")
def result(world):
    return crmml.train(CONFIG, world)


def test_contracts_are_columns_of_the_scores(result, world):
    table = result.scores.table.set_index("customer_id")
    ended = world["subscriptions"].set_index("customer_id")["ended_at"]
    active = ended.index[ended.isna()]
    assert (table["contract_status"] == "active").sum() == table.index.isin(active).sum()
    said = table["contract_churn_probability"]
    assert said.notna().equals(table["contract_status"] == "active")
    assert ((said.dropna() > 0) & (said.dropna() < 1)).all()
    told = table[["contract_value_lower", "contract_value", "contract_value_upper"]].dropna()
    assert (told["contract_value_lower"] <= told["contract_value_upper"]).all()


def test_the_choice_gives_its_figures(result):
    (first, *_) = result.contracts.notes
    assert "ended within 12W" in first.text
    assert "contract_rule_log_loss" in result.metrics


def test_a_stored_bundle_scores_the_same(result, world):
    again = crmml.ScoringBundle.from_files(result.bundle.to_files())
    scores = crmml.score(again, world, result.scores.snapshot.cutoff)
    pd.testing.assert_frame_equal(scores.table, result.scores.table)


def test_without_the_table_the_columns_are_null_with_the_reason(result, world):
    scores = crmml.score(
        result.bundle, {"transactions": world["transactions"]}, result.scores.snapshot.cutoff
    )
    assert scores.table["contract_churn_probability"].isna().all()
    assert scores.absent["contract_status"] == "needs the table `subscriptions`"
