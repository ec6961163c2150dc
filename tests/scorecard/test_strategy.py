"""Strategy map, costs and improvement: known effects are found, and what is lacking is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.actions.catalogue import ActionCatalogue
from crmml.data.tables import open_tables
from crmml.exceptions import CensoredWindowError, ParameterError
from crmml.features.answers import follow_actions, follow_complaints
from crmml.features.breakdowns import measure_parts
from crmml.features.periods import measure_periods
from crmml.plots import plot_retention_costs, plot_sensitivity
from crmml.scorecard import (
    compute_retention_costs,
    compute_retention_sensitivity,
    compute_scorecard,
    compute_strategy_map,
    plan_improvement,
)
from crmml.testing.simulate import simulate_world

CUTOFF = pd.Timestamp("2024-03-01")


@pytest.fixture(scope="module")
def world():
    return simulate_world(
        3_000, seed=5, weeks=156, acquisition_weeks=26, treated_at_week=100,
        actions={"email": 0.0, "voucher": 0.4}, tables=("customers", "interactions", "treatments"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tables(world):
    return open_tables(world.tables)


@pytest.fixture(scope="module")
def found(tables):
    loyal = pd.Series(1.0, pd.RangeIndex(1, 3_001))
    loyal[::2] = 0.0
    return compute_strategy_map(tables, CUTOFF, loyalty=loyal)


def _link(found, source, target):
    table = found.table.set_index(["source", "target"])
    return table.loc[(source, target)]


def test_the_effect_of_an_action_is_that_of_the_world(world, found):
    link = _link(found, "voucher", "retention")
    assert link["evidence"] == "experiment"
    assert link["beyond_chance"]
    # P(an extra purchase in the eight weeks) cannot be less than the share it adds to retention
    most = float((1.0 - np.exp(-world.truth["effect_voucher"])).mean())
    assert 0.0 < link["lower"] < link["upper"] < most + 0.05
    assert not _link(found, "email", "retention")["beyond_chance"]
    assert not _link(found, "loyalty", "retention")["beyond_chance"]
    assert _link(found, "retention", "profit")["evidence"] == "association"
    assert _link(found, "retention", "profit")["beyond_chance"]
    assert repr(found).count("\n") == 0
    assert str(found).count("\n") < 15
    assert len(found.sentences()) == found.table["effect"].notna().sum()


def test_the_picture_tells_what_is_beyond_chance(found):
    told = [text.get_text() for text in found.plot().texts]
    assert {"profit", "retention", "experience", "loyalty"} <= set(told)
    (voucher,) = (text for text in told if text.startswith("voucher"))
    assert "retention +" in voucher
    assert "experience" not in voucher


def test_an_experiment_is_weighted_by_the_probability_of_what_was_given(world, tables):
    link = _link(compute_strategy_map(tables, CUTOFF), "voucher", "retention")
    acts = follow_actions(tables, CUTOFF + pd.Timedelta(weeks=26), horizon="13W")
    by_hand = acts.groupby("action")["bought"].mean()
    assert link["effect"] == pytest.approx(by_hand["voucher"] - by_hand["no_action"])
    unknown = world.treatments.drop(columns="propensity")
    other = open_tables({"transactions": world.transactions, "treatments": unknown})
    assert _link(compute_strategy_map(other, CUTOFF), "voucher", "retention")["evidence"] == (
        "association"
    )


def test_whoever_a_policy_chose_is_no_experiment_by_action(world):
    chosen = world.treatments.copy()
    acted = chosen["action"] != "no_action"
    chosen["propensity"] = np.where(acted, 0.9, 0.1)  # 0.9 + 0.9 + 0.1 is no draw among the three
    found = compute_strategy_map(
        open_tables({"transactions": world.transactions, "treatments": chosen}), CUTOFF
    )
    assert _link(found, "any action", "retention")["evidence"] == "experiment"
    assert _link(found, "voucher", "retention")["evidence"] == "association"


def test_what_a_map_lacks_is_named(world):
    found = compute_strategy_map(open_tables(world.transactions), CUTOFF).table
    needs = found.set_index(["source", "target"])["needs"]
    assert "treatments" in needs["any action", "profit"]
    assert "interactions" in needs["experience", "retention"]
    assert "loyalty" in needs["loyalty", "retention"]
    assert found.loc[found["needs"] != "", "effect"].isna().all()
    with pytest.raises(CensoredWindowError):
        compute_strategy_map(open_tables(world.transactions), "2024-12-01")


def test_costs_are_those_counted_by_hand(world, tables):
    later = CUTOFF + pd.Timedelta(weeks=13)
    costs = compute_retention_costs(tables, later).table
    acts = follow_actions(tables, later, horizon="13W", lapse="26W")
    active = acts[(acts["action"] != "no_action") & acts["active"]]
    keep = active["cost"].sum() / active["bought"].sum()
    assert costs.loc["keep", "here"] == pytest.approx(keep)
    won = world.customers["acquisition_cost"].mean()
    assert costs.loc["acquire_over_keep", "here"] == pytest.approx(won / keep)
    told = follow_complaints(tables, later, horizon="13W")
    stayed = told.loc[told["settled"], "stayed"].mean()
    assert costs.loc["complaints_that_stay", "here"] == pytest.approx(stayed)
    assert np.isnan(costs.loc["people_told", "here"])
    assert "seven tables" in costs.loc["people_told", "needs"]
    assert "winning" in [t.get_text() for t in plot_retention_costs(costs).get_yticklabels()]
    assert (costs["lower"].dropna() <= costs["here"][costs["lower"].notna()]).all()
    bare = compute_retention_costs(open_tables(world.transactions), CUTOFF).table
    assert bare["here"].isna().all()
    assert "acquisition_cost" in bare.loc["acquire_over_keep", "needs"]


def test_sensitivity_moves_with_the_margin_and_refuses_what_is_out_of_range():
    base = pd.DataFrame({
        "probability_alive": [0.5, 0.8], "margin_if_active": [80.0, 50.0],
        "margin_if_staying": [100.0, 60.0],
    })  # fmt: skip
    table = compute_retention_sensitivity(base, cost_of_keeping=10.0)
    assert table.loc["margin", "base"] == pytest.approx(0.01 * (50 + 48) - 0.01 * 10 * 1.3)
    assert table.loc["margin", "high"] - table.loc["margin", "base"] == pytest.approx(0.2 * 0.98)
    assert len(plot_sensitivity(table).patches) == 2 * len(table)
    assert table.loc["cost_of_keeping", "high"] < table.loc["cost_of_keeping", "low"]
    for bad in ({"span": 0.0}, {"cost_of_keeping": -1.0}):
        with pytest.raises(ParameterError):
            compute_retention_sensitivity(base, **bad)


def test_a_planted_change_is_worked_on_in_five_parts(world):
    log = world.transactions
    tiers = pd.Series(np.array([*"ABC"])[world.truth.index.to_numpy() % 3], world.truth.index)
    hurt = log["customer_id"].map(tiers).eq("B") & (log["timestamp"] >= "2024-01-01")
    dropped = hurt & (np.random.default_rng(3).uniform(size=len(log)) < 0.6)
    tables = open_tables(log[~dropped])
    measured = measure_periods(tables, pd.Timestamp("2024-10-01"), tiers)
    measured = measured[measured.index.get_level_values("period") >= "2022-09-01"]
    card = compute_scorecard(measured, fixed=[*"ABC"], baseline=12)
    own = tiers.index[tiers == "B"]
    parts = {"tier": measured, "channel": measure_parts(
        tables, pd.Timestamp("2024-10-01"), "channel", customers=own)}  # fmt: skip
    catalogue = ActionCatalogue.default()
    plan = plan_improvement(card, "retention", "B", parts, catalogue=catalogue)
    assert [*dict.fromkeys(plan.to_pandas().index)] == [
        "define", "measure", "analyse", "improve", "control"
    ]  # fmt: skip
    assert plan.parts.loc["tier"].query("driver").index.tolist() == ["B"]
    assert {one.key for one in plan.told} >= {"measure_step", "analyse_parts", "improve_action"}
    assert "tier: B" in [text.get_text() for text in plan.plot().get_yticklabels()]
    assert set(plan.actions["evidence"]) == {"assumed"}
    assert set(plan.actions["purpose"]) == {"retain"}
    quiet = plan_improvement(card, "retention", "A", parts)
    assert {one.key for one in quiet.told} >= {"measure_quiet", "analyse_nothing", "improve_none"}
    with pytest.raises(ParameterError, match="chart"):
        plan_improvement(card, "happiness", "B", parts)
