"""A base with a log and contracts: one training, one bundle, contracts in columns of their own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

import crmml
from crmml.scoring.scorer import Scores
from crmml.testing.simulate import simulate_world

CONFIG = {
    "outcome": {"horizon": "12W"},
    "contracts": {"period": "28D", "max_windows": 2},
    "backtest": {"candidates": ["mbg_nbd", "heuristic"], "max_windows": 2, "bootstrap": 20},
}


@dataclass(frozen=True)
class Trained:
    """The tables, the bundle that training made of them, their scores, and what was measured."""

    tables: dict[str, Any]
    bundle: crmml.ScoringBundle
    scores: Scores
    metrics: Collection[str]


@pytest.fixture(
    scope="module",
    params=["with all tables", pytest.param("with the log", marks=pytest.mark.torture)],
)
def trained(request, trained_shop) -> Trained:
    """The shop that all tests share, or a log and contracts of settings of their own."""
    if request.param == "with all tables":
        shop = trained_shop
        return Trained(shop.tables, shop.bundle, shop.scores, shop.metrics)
    world = simulate_world(500, seed=2, weeks=110)
    tables = {name: world.tables[name] for name in ("transactions", "subscriptions")}
    result = crmml.train(CONFIG, tables)
    return Trained(tables, result.bundle, result.scores, result.metrics)


def test_contracts_are_columns_of_the_scores(trained):
    table = trained.scores.table.set_index("customer_id")
    ended = trained.tables["subscriptions"].set_index("customer_id")["ended_at"]
    active = ended.index[ended.isna()]
    assert (table["contract_status"] == "active").sum() == table.index.isin(active).sum()
    said = table["contract_churn_probability"]
    assert said.notna().equals(table["contract_status"] == "active")
    assert ((said.dropna() > 0) & (said.dropna() < 1)).all()
    told = table[["contract_value_lower", "contract_value", "contract_value_upper"]].dropna()
    assert (told["contract_value_lower"] <= told["contract_value_upper"]).all()


def test_the_choice_gives_its_figures(trained):
    manifest = trained.bundle.manifest
    assert any(f"ended within {manifest.horizon}" in note.text for note in manifest.notes)
    assert "contract_rule_log_loss" in trained.metrics
    judged = "contracts: the mean chance of ending is what happened, to all, by age and by chance"
    assert judged in {note.about for note in manifest.notes if note.code.startswith("gate_")}


def test_a_stored_bundle_scores_the_same(trained):
    again = crmml.ScoringBundle.from_files(trained.bundle.to_files())
    scores = crmml.score(again, trained.tables, trained.scores.cutoff)
    pd.testing.assert_frame_equal(scores.table, trained.scores.table)


def test_without_the_table_the_columns_are_null_with_the_reason(trained):
    log = {"transactions": trained.tables["transactions"]}
    scores = crmml.score(trained.bundle, log, trained.scores.cutoff)
    assert scores.table["contract_churn_probability"].isna().all()
    assert scores.absent["contract_status"] == "needs the table `subscriptions`"
