"""Profit, net value, tiers and upgrades as they are served, and alone as among all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.profit import PROFIT, margin_to_date
from crmml.testing.simulate import simulate_world
from crmml.training.pipeline import TrainingResult

SETTINGS = {
    "backtest": {"candidates": ["mbg_nbd"], "bootstrap": 20, "max_windows": 1},
    "tiers": {"by": "profit"},
}


@pytest.fixture(scope="module")
def world():
    return simulate_world(300, weeks=80, seed=5, tables=("customers", "interactions", "treatments"))


@pytest.fixture(scope="module")
def trained(world) -> TrainingResult:
    return crmml.train(SETTINGS, world.tables)


@pytest.fixture(scope="module")
def scores(trained) -> pd.DataFrame:
    return trained.scores.table.set_index("customer_id")


def test_profit_and_net_value_are_made_of_their_parts(world, scores):
    np.testing.assert_allclose(scores[PROFIT], world.truth["profit"].loc[scores.index], atol=1e-6)
    parts = ["acquisition_cost", "service_cost", "contact_cost", "action_cost"]
    left = scores["margin_to_date"] - scores[parts].sum(axis=1)
    np.testing.assert_allclose(scores[PROFIT], left, atol=1e-6)
    np.testing.assert_allclose(scores["net_clv"], scores["clv"] - scores["cost_to_serve"])
    assert (scores["net_clv_lower"] <= scores["net_clv_upper"]).all()
    assert (scores["cost_to_serve"] >= 0).all()
    assert set(scores["margin_basis"]) <= {"purchases", "base"}
    assert scores["profit_unknown"].isna().all()


def most_worth(scores):
    roles = scores["strategic_role"].str.split(",")
    return roles.map(lambda held: "high_lifetime_value" in held, na_action="ignore").eq(True)


def test_tiers_by_profit_put_every_loss_into_e(world, scores):
    lost = scores[PROFIT] < 0
    assert lost.any()
    assert (scores.loc[lost, "value_tier"] == "E").all()
    by_tier = scores[PROFIT].groupby(scores["value_tier"]).mean()
    assert by_tier["A"] > by_tier["B"] > by_tier["C"] > by_tier["E"]
    best = most_worth(scores)
    assert scores.loc[best, "net_clv"].min() >= scores.loc[~best, "net_clv"].max()


def test_upgrades_are_judged_in_training_and_null_for_the_best_only(trained, scores):
    chance = scores["upgrade_probability"]
    assert chance.dropna().between(0, 1).all()
    assert chance.isna().equals(most_worth(scores))
    table = trained.upgrades
    assert table.loc["all", "customers"] > 100
    notes = [note for note in trained.notes if note.code == "upgrade_calibration"]
    assert len(notes) == 1
    assert "moved up" in notes[0].text


def test_the_bundle_keeps_it_all_and_one_customer_gets_the_same_alone(trained, world, scores):
    bundle = ScoringBundle.from_files(trained.bundle.to_files())
    assert bundle.version == trained.bundle.version
    assert bundle.tiers_by == "profit"
    some = [3, 5, 9]
    few = {name: table[table["customer_id"].isin(some)] for name, table in world.tables.items()}
    alone = bundle.score(few, trained.scores.snapshot.cutoff).set_index("customer_id")
    columns = [PROFIT, "net_clv", "net_clv_lower", "margin_ratio", "upgrade_probability"]
    pd.testing.assert_frame_equal(alone[columns], scores.loc[some, columns])
    assert alone["value_tier"].tolist() == scores.loc[some, "value_tier"].tolist()


def test_without_costs_the_parts_are_null_and_named(trained, world):
    log = world.transactions.drop(columns="margin")
    bare = crmml.score(trained.bundle, log, trained.scores.snapshot.cutoff)
    table = bare.table
    assert set(table["profit_unknown"]) == {
        "acquisition_cost,service_cost,contact_cost,action_cost"
    }
    assert table["contact_cost"].isna().all()
    assert bare.absent["contact_cost"] == "the data have no column 'interactions.cost'"
    rate = trained.bundle.manifest.margins["base"]
    np.testing.assert_allclose(table[PROFIT], rate * table["net_spend"], atol=1e-6)
    assert set(table["margin_basis"]) == {"base"}


def test_margins_that_are_no_share_of_the_revenue_do_not_count():
    frame = pd.DataFrame(
        {"net_spend": [10.0, 20.0], "margin_to_date": [90.0, np.nan]}, index=["a", "b"]
    )
    assert margin_to_date(frame, 0.3).tolist() == [3.0, 6.0]
    assert margin_to_date(frame, pd.Series([0.5, 0.4], frame.index)).tolist() == [90.0, 8.0]


def test_who_loses_money_is_told_of_the_profit_and_that_e_ends_at_zero(trained, scores):
    assert trained.bundle.tiers.cut_points_[-1] < 0
    key = scores[PROFIT].idxmin()
    found = trained.scores.explain(key)
    assert (found.tier.cut_point, found.tier.missing) == (0.0, -scores.loc[key, PROFIT])
    assert f"E, by a profit to date of {scores.loc[key, PROFIT]:,.2f}" in str(found)


def test_a_customer_without_any_treatment_is_scored_with_an_empty_table(trained, world):
    key = world.customers["customer_id"].iloc[0]
    alone = {name: table[table["customer_id"] == key] for name, table in world.tables.items()}
    alone["treatments"] = alone["treatments"].iloc[:0]
    row = crmml.score(trained.bundle, alone, trained.scores.cutoff).table.iloc[0]
    assert row["action_cost"] == 0.0
