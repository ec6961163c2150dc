"""The recommendation table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.actions import ActionCatalogue, ContactMemory, Stakes, recommend
from crmml.actions.recommendation import REASONS
from crmml.exceptions import ParameterError
from crmml.segments import LifecycleStages, ValueTiers

CATALOGUE = ActionCatalogue.default()
CUTOFF = pd.Timestamp("1998-01-05")


def make_scores(n=3_000):
    rng = np.random.default_rng(2)
    frequency = rng.poisson(2, n)
    age = rng.uniform(2, 70, n)
    table = pd.DataFrame(
        {
            "frequency": frequency,
            "recency": np.where(frequency > 0, age * rng.uniform(0.1, 1, n), 0.0),
            "T": age,
            "churn_probability": rng.beta(1.5, 1.5, n),
            "probability_alive": rng.beta(2, 1, n),
            "contactable": rng.random(n) > 0.05,
            "experience_zone": rng.choice(
                ["negative", "neutral", "unknown"], n, p=[0.05, 0.15, 0.8]
            ),
        },
        index=pd.Index([f"k{i}" for i in range(n)], name="customer_id"),
    )
    value = pd.Series(rng.lognormal(3.8, 1, n), index=table.index)
    kept = table["probability_alive"] * value - 5
    table["value_tier"] = ValueTiers().fit(kept).assign(kept)
    table["lifecycle_stage"] = LifecycleStages().fit(table).assign(table)
    return table, {"26W": 0.5 * value, "52W": value}


@pytest.fixture(scope="module")
def world():
    return make_scores()


def run(world, rows=None, **setting):
    table, values = world
    if rows is not None:
        table, values = table.iloc[rows], {h: v.iloc[rows] for h, v in values.items()}
    basis = {"cutoff": CUTOFF, "holdout_share": 0.1, "seed": 3} | {"stakes": stakes(table, values)}
    return recommend(table, CATALOGUE, **(basis | setting))


def stakes(table, values):
    buys = dict.fromkeys(("13W", "52W"), 1 - table["churn_probability"])
    return Stakes(
        probability_alive=table["probability_alive"],
        margin_if_active=values,
        margin_if_staying={h: v / table["probability_alive"] for h, v in values.items()},
        buys=buys,
        buys_if_active=buys,
        buys_if_staying=buys,
        outcome_horizon="13W",
    )


@pytest.fixture(scope="module")
def answer(world):
    return run(world, budget=500.0, capacities={"phone": 20})


def test_budget_capacity_and_holdout_are_kept(world, answer):
    table = answer.table
    assert table.index.equals(world[0].index)
    assert table["expected_cost"].sum() <= 500
    assert (table["channel"] == "phone").sum() <= 20
    assert (table.loc[table["held_out"], "recommended_action"] == "no_action").all()
    assert table["held_out"].mean() == pytest.approx(0.1, abs=0.02)
    assert answer.allocation.gap < 5e-4


def test_who_must_not_be_contacted_gets_no_action(world, answer):
    barred = answer.table[~world[0]["contactable"]]
    assert (barred["recommended_action"] == "no_action").all()
    assert barred["reasons_for"].eq("not_contactable").all()
    assert barred["runner_up"].isna().all()


def test_gains_are_positive_and_inside_their_interval(answer):
    acts = answer.table[answer.table["recommended_action"] != "no_action"]
    assert (acts["expected_net_gain"] > 0).all()
    assert (acts["net_gain_lower"] < acts["net_gain_upper"]).all()
    assert (
        acts["expected_net_gain"].between(acts["net_gain_lower"], acts["net_gain_upper"]).mean()
        > 0.9
    )
    assert acts["probability_positive"].between(0, 1).all()
    idle = answer.table[answer.table["recommended_action"] == "no_action"]
    assert (idle[["expected_net_gain", "expected_cost"]] == 0).all(axis=None)
    assert idle[["channel", "contact_by", "probability_positive"]].isna().all(axis=None)


def test_contact_dates_lie_between_lead_time_and_deadline_and_the_risky_come_first(world, answer):
    acts = answer.table[answer.table["recommended_action"] == "loyalty_voucher"]
    days = (acts["contact_by"] - CUTOFF).dt.days
    assert days.between(1, 28).all()
    risk = world[0].loc[acts.index, "churn_probability"]
    assert days.iloc[np.argsort(-risk)].is_monotonic_increasing


def test_runner_up_is_another_choice(answer):
    table = answer.table
    known = table["runner_up"].notna()
    assert (table["runner_up"] != table["recommended_action"])[known].all()
    assert (table.loc[table["runner_up"] == "no_action", "runner_up_net_gain"] == 0).all()
    acts = table["recommended_action"] != "no_action"
    assert table.loc[acts, "runner_up"].notna().all()


def test_every_row_has_a_reason_and_its_sentence(answer):
    table = answer.table
    codes = table["reasons_for"] + "," + table["reasons_against"]
    used = {code for text in codes.unique() for code in text.split(",") if code}
    assert used <= set(REASONS)
    assert (table["reasons_for"] != "").all()
    assert {"held_out", "better_elsewhere", "no_gain", "at_risk", "assumed_effect"} <= used
    top = table[table["reasons_for"].str.contains("top_tier")]
    assert top["explanation"].str.contains("two highest value tiers").all()
    acts = table["recommended_action"] != "no_action"
    assert table.loc[acts, "reasons_against"].str.contains("assumed_effect").all()
    assert (table["basis"] == "assumed").all()


def test_propensity_is_the_probability_of_what_was_given(answer):
    table = answer.table
    wanted = table["policy_action"] != "no_action"
    assert (table.loc[~wanted, "propensity"] == 1).all()
    assert table.loc[wanted & table["held_out"], "propensity"].to_numpy() == pytest.approx(0.1)
    assert table.loc[wanted & ~table["held_out"], "propensity"].to_numpy() == pytest.approx(0.9)
    assert (wanted & table["held_out"]).any()
    given = table[~table["held_out"]]
    assert (given["policy_action"] == given["recommended_action"]).all()


def test_only_who_was_wanted_is_said_to_be_held_out(answer):
    table = answer.table
    said = table["reasons_for"].str.contains("held_out")
    assert (said == table["held_out"] & (table["policy_action"] != "no_action")).all()
    assert (table["held_out"] & ~said).any()
    acts = table["recommended_action"] != "no_action"
    assert (table["policy_channel"] == table["channel"])[acts].all()
    assert table.loc[said, "policy_channel"].notna().all()


def test_propensity_of_twins_at_the_margin_is_the_real_chance():
    """A reviewer's case: 500 of 1,000 twins served; h held out, (1 - h) x fill treated."""
    n, share = 1_000, 0.2
    table = pd.DataFrame(
        {"churn_probability": 0.5}, index=pd.Index(np.arange(n), name="customer_id")
    )
    one = ActionCatalogue.from_dict(
        {
            "actions": [
                {
                    "name": "call",
                    "purpose": "retain",
                    "channels": ["phone"],
                    "contact_cost": 1.0,
                    "save_rate": {"mean": 0.1, "sample_size": 50},
                    "horizon": "52W",
                }
            ]
        }
    )
    half = np.full(n, 0.5)
    values = {
        "stakes": Stakes(
            probability_alive=half,
            margin_if_active={"52W": np.full(n, 80.0)},
            margin_if_staying={"52W": np.full(n, 160.0)},
            buys={},
            buys_if_active={},
            buys_if_staying={},
            outcome_horizon="13W",
        )
    }

    def run(**setting):
        basis = {"cutoff": CUTOFF, "holdout_share": share, "seed": 5} | values
        return recommend(table, one, **(basis | setting))

    batch = run(budget=400.0)
    treated = batch.table["recommended_action"] == "call"
    assert treated.sum() == 400
    (tie,) = batch.prices.ties
    fill = 400 / (~batch.table["held_out"]).sum()
    assert tie.choices == (("call", "phone"), ("no_action", None))
    assert tie.shares[0] == pytest.approx(fill)
    chance = batch.table["propensity"]
    assert chance[treated].to_numpy() == pytest.approx((1 - share) * fill)
    assert chance[~treated].to_numpy() == pytest.approx(1 - (1 - share) * fill)
    # the held-out are wanted in the same proportion
    wanted = batch.table["policy_action"] == "call"
    assert wanted[batch.table["held_out"]].mean() == pytest.approx(fill, abs=0.1)
    pd.testing.assert_frame_equal(run(prices=batch.prices).table, batch.table)
    shares = [run(budget=400.0, seed=s).table["recommended_action"].eq("call") for s in range(30)]
    # over seeds each customer is treated with that chance (standard error 0.09)
    assert np.mean(shares, axis=0).mean() == pytest.approx(0.4)
    assert np.ptp(np.mean(shares, axis=0)) < 0.75


def test_order_of_the_rows_changes_nothing(world, answer):
    rows = np.random.default_rng(9).permutation(len(world[0]))
    turned = run(world, rows, budget=500.0, capacities={"phone": 20})
    pd.testing.assert_frame_equal(turned.table.loc[answer.table.index], answer.table)


def test_with_stored_prices_one_customer_alone_equals_the_batch(world, answer):
    """Defect 7 of the references."""
    batch = run(world, prices=answer.prices)
    assert batch.allocation is None
    for i in range(0, 300, 30):
        alone = run(world, [i], prices=answer.prices)
        pd.testing.assert_frame_equal(alone.table, batch.table.iloc[[i]])
    same = batch.table["recommended_action"] == answer.table["recommended_action"]
    # the batch spends what the last dear option leaves on cheap ones just beyond the margin
    assert same.mean() > 0.95
    value = batch.table["expected_net_gain"].sum()
    assert value == pytest.approx(answer.allocation.value, rel=5e-3)


def test_uncertain_values_widen_the_intervals(world, answer):
    doubtful = replace(stakes(*world), value_cv=np.full(len(world[0]), 0.6))
    unsure = run(world, budget=500.0, capacities={"phone": 20}, stakes=doubtful).table
    acts = unsure["recommended_action"] != "no_action"
    acts &= ~unsure["recommended_action"].isin(["self_service"])
    wide = (unsure["net_gain_upper"] - unsure["net_gain_lower"])[acts]
    narrow = (answer.table["net_gain_upper"] - answer.table["net_gain_lower"])[acts]
    assert (wide > narrow).all()


def test_summary_by_action_adds_up(answer):
    summary = answer.by_action()
    assert summary["customers"].sum() == len(answer.table)
    assert summary["expected_net_gain"].sum() == pytest.approx(answer.allocation.value)


def test_an_action_that_lacks_its_table_is_noted(world):
    table, values = world
    answer = recommend(
        table.assign(experience_zone=None), CATALOGUE, cutoff=CUTOFF, stakes=stakes(table, values)
    )
    assert answer.notes[0] == (
        "complaint_recovery is never recommended: its condition uses experience_zone, which is "
        "missing for every customer"
    )
    assert answer.notes[1].startswith("no earlier contacts are known, so the cool-down of ")
    without = table.drop(columns="experience_zone")
    acts = answer.table["recommended_action"] != "no_action"
    assert answer.table["reasons_against"].str.contains("contacts_not_checked").eq(acts).all()
    memory = ContactMemory.gather(CUTOFF, {})
    at = stakes(table, values)
    again = recommend(without, CATALOGUE, cutoff=CUTOFF, memory=memory, stakes=at)
    assert not again.table["reasons_against"].str.contains("contacts_not_checked").any()
    assert again.notes == answer.notes[:1]
    assert "complaint_recovery" not in set(answer.table["recommended_action"])


def test_input_is_not_changed(world):
    table = world[0]
    before = table.copy()
    run(world, budget=100.0)
    pd.testing.assert_frame_equal(table, before)


def test_refuses_a_level_that_is_no_probability(world):
    with pytest.raises(ParameterError, match="level must be between 0 and 1; got 80"):
        run(world, level=80)


def test_sensitivity_counts_who_changes_when_a_rate_is_halved_or_doubled(world, answer):
    table = answer.sensitivity()
    assert list(table.columns[:1]) == ["customers"]
    assert (table["lost_at_0.5"] <= table["customers"]).all()
    assert (table["lost_at_2"] == 0).all()
    assert (table["won_at_0.5"] == 0).all()
    assert table["lost_at_0.5"].sum() > 0
    assert table["won_at_2"].sum() > 0


def test_break_even_rate_lies_below_the_rate_of_what_pays(answer):
    acts = answer.table["recommended_action"] != "no_action"
    assert answer.table.loc[acts, "break_even_save_rate"].between(0, 1).all()
    assert answer.table.loc[~acts, "break_even_save_rate"].isna().all()
