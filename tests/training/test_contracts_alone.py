"""A base of contracts alone: one training, one bundle, scored, stored, served and judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.cli import jobs
from crmml.config import load_config, parse_config
from crmml.data.tables import open_tables
from crmml.exceptions import ComparisonError, CrmmlError, DataError, TooLittleDataError
from crmml.features.contracts import build_contracts, build_person_periods
from crmml.models.churn import contract_evaluation
from crmml.models.churn.contract_evaluation import fit_candidate
from crmml.models.churn.hazard import HazardModel
from crmml.plots.gallery import contract_figures
from crmml.reports.lists import Lists
from crmml.scoring.batches import score_in_batches
from crmml.scoring.frames import split_tables
from crmml.testing.contracts import CAUSE_EFFECTS, simulate_contracts
from crmml.tracking.runs import invented_subscriptions, signature
from crmml.training.contract_pipeline import ContractTraining, evaluate_contract_champion

SETTINGS = {
    "outcome": {"horizon": "90D"},
    "contracts": {"max_windows": 2},
    "backtest": {"bootstrap": 40},
    "actions": {"budget": 100},
}


@pytest.fixture(scope="module")
def telecom():
    return simulate_contracts(2_000, seed=1)


@pytest.fixture(scope="module")
def result(telecom):
    def fit(name, *how):  # trees are judged beside the model; here they would take most of the time
        return fit_candidate(name.replace("boosting", "logistic"), *how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract_evaluation, "fit_candidate", fit)
        found = crmml.train(SETTINGS, telecom)
    assert isinstance(found, ContractTraining)
    return found


def test_every_active_contract_is_scored_with_tier_stage_and_action(result, telecom):
    table, ended = result.scores.table, telecom["subscriptions"]
    active = ended.loc[ended["ended_at"].isna(), "customer_id"]
    assert table["customer_id"].tolist() == sorted(active)
    told = table[["churn_probability", "clv", "value_tier", "lifecycle_stage"]]
    assert told.notna().all(axis=None)
    assert table["clv"].equals(table["contract_value"])
    assert (table["recommended_action"] != "no_action").any()
    assert table["expected_cost"].sum() <= 100 + 1e-6
    assert not {"frequency", "expected_purchases", "loyalty_class", "net_clv"} & set(table)


def test_the_gates_and_the_grade_against_the_best_rule(result):
    assert len(result.gates) == 2
    assert all(result.gates.values())
    assert result.backtest.grades[result.backtest.chosen] in "ABC"
    assert result.decided_by in result.metrics
    assert "against the best rule" in str(result.notes[0])
    assert "by what each customer's own fees bring" in str(result.notes[1])
    assert {"churn_gain", "churn_profit"} <= set(contract_figures(result))


def test_a_stored_bundle_scores_the_same_whatever_the_order_of_the_rows(result, telecom):
    again = crmml.ScoringBundle.from_files(result.bundle.to_files())
    mixed = {name: table.sample(frac=1, random_state=1) for name, table in telecom.items()}
    scores = crmml.score(again, mixed, result.scores.cutoff)
    pd.testing.assert_frame_equal(scores.table, result.scores.table)
    with score_in_batches(again, open_tables(mixed), result.scores.cutoff) as batches:
        pd.testing.assert_frame_equal(pd.concat(list(batches)), scores.table)
        assert batches.absent == scores.absent
        assert len(batches) == len(scores.table)
        lists = Lists(again)
        lists.add(scores.table)
        known = batches.gather(lists.ahead)
        worth = {row["group"]: row for row in lists.summarise(
            batches.cutoff, batches.absent, None, known)["economics"]}  # fmt: skip
    assert worth["all"]["customers"] == len(scores.table)
    assert 0 < worth["all"]["one_point"] <= worth["all"]["at_stake"] < worth["all"]["expected"]


def test_contracts_may_come_without_the_other_tables_and_in_one_frame(result, telecom):
    some = telecom["subscriptions"].head(60)
    alone = result.bundle.score(some, result.scores.cutoff)
    assert alone["churn_probability"].between(0, 1).all()
    people = telecom["customers"].assign(table="customers")
    rows = pd.concat([some, people[people["customer_id"].isin(some["customer_id"])]])
    parts = split_tables(rows, "subscriptions")
    assert set(parts) == {"subscriptions", "customers"}
    assert len(result.bundle.score(parts, result.scores.cutoff)) == len(alone)


def test_the_registry_is_told_what_goes_in_and_what_comes_out(result):
    example = invented_subscriptions(result.bundle.manifest)
    described = signature(result.bundle, example)
    needed = {c.name for c in described.inputs.inputs if c.required}
    assert needed == {"customer_id", "started_at", "ended_at"}
    assert described.outputs.input_names() == list(result.scores.table)


def test_an_explanation_shows_the_served_row_and_where_it_comes_from(result):
    table = result.scores.table.set_index("customer_id")
    for key in (table["clv"].idxmax(), table["churn_probability"].idxmax()):
        found, row = result.scores.explain(key), table.loc[key]
        assert found.served["clv"] == row["clv"]
        assert found.scored_alone["churn_probability"] == row["churn_probability"]
        # what ended and what did not are all there is, at every date
        chances = found.ahead.drop(columns="date")
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
        assert found.ahead["probability_active"].is_monotonic_decreasing
        before, after = found.ahead["date"].searchsorted(found.cutoff + pd.Timedelta(days=90)) - [
            1,
            0,
        ]
        stays = found.ahead["probability_active"]
        assert stays[after] <= 1 - row["churn_probability"] + 1e-12
        assert 1 - row["churn_probability"] <= stays[before] + 1e-12
        assert found.tier.tier == row["value_tier"]
        assert found.to_dict()["terms"][-1]["ended_at"] is None
        said = str(found)
        assert f"{row['churn_probability']:.1%}" in said
        assert f"{row['clv']:,.2f}" in said
        assert "purchase" not in said.replace("of all customers", "")


def test_what_if_asks_the_model_with_one_thing_otherwise(result, telecom):
    """A complaint drives customers away in the simulation, so without it the chance is lower."""
    frame = result.scores.base.frame
    key = frame.loc[frame["complaints"].idxmax(), "customer_id"]
    asked = result.scores.explain(key).what_if.set_index("covariate")
    row = asked.loc["complaints"]
    assert row["own"] >= 1 > row["other"]
    own = result.scores.table.set_index("customer_id").loc[key, "churn_probability"]
    assert row["churn_probability"] < own


def test_what_cannot_be_had_is_refused_with_the_reason(result, telecom):
    ended = telecom["subscriptions"]["ended_at"] < result.scores.cutoff
    gone = int(telecom["subscriptions"].loc[ended, "customer_id"].iloc[0])
    with pytest.raises(CrmmlError, match="contract ended on"):
        result.scores.explain(gone)
    with pytest.raises(CrmmlError, match="no contract that began"):
        result.scores.explain(10**9)
    with pytest.raises(TooLittleDataError, match="at least 50"):
        crmml.train(SETTINGS, {"subscriptions": telecom["subscriptions"].head(60)})
    some = telecom["subscriptions"].copy()
    some.loc[some.index % 9 == 0, "fee"] = np.nan
    with pytest.raises(DataError, match="the fee must be known"):
        crmml.score(result.bundle, {"subscriptions": some}, result.scores.cutoff)
    config = parse_config(SETTINGS)
    with pytest.raises(ComparisonError, match="knows a part"):
        evaluate_contract_champion(result.bundle, config, result.tables)


def test_the_value_of_a_contract_holds_against_what_was_paid(telecom):
    """A year before the end of the records: what was said, and the fees that came."""
    cutoff, horizon = pd.Timestamp("2023-06-01"), "360D"
    tables = open_tables(telecom)
    model = HazardModel().fit(build_person_periods(tables, cutoff))
    contracts = build_contracts(tables, cutoff)
    said = model.contract_value(contracts, horizon, margin=1.0, annual_discount_rate=0.0)
    terms = telecom["subscriptions"].set_index("customer_id").loc[said.index]
    days = (terms["ended_at"] - terms["started_at"]).dt.days.fillna(10_000)
    age = (cutoff - terms["started_at"]).dt.days
    # A fee falls due at each renewal date that the contract outlasts.
    dates = age.to_numpy()[:, None] // 30 + np.arange(1, 14)
    due = (dates * 30 <= age.to_numpy()[:, None] + 360) & (
        dates * 30 < days.round().to_numpy()[:, None]
    )
    paid = terms["fee"] * due.sum(axis=1)
    assert said["contract_value"].sum() == pytest.approx(paid.sum(), rel=0.08)
    inside = (paid >= said["lower"] - 1e-6) & (paid <= said["upper"] + 1e-6)
    assert 0.78 <= inside.mean() <= 0.95


def test_the_effects_are_recovered_and_the_causes_told_apart(telecom, result):
    tables = open_tables(telecom)
    model = HazardModel(ridge=0.1).fit(build_person_periods(tables))
    design = model.design_.names
    table = pd.DataFrame(model.coefficients_[1:], index=model.causes_)  # type: ignore[index]
    effects = table.iloc[:, -len(design) :].set_axis(design, axis=1)
    deviation = model.design_.numbers["complaints"][1]
    complaint = (effects["complaints"] + effects["contacts"]) / deviation
    card = effects["customer_paid_by = card"] - effects["customer_paid_by = invoice"]
    for cause, truth in CAUSE_EFFECTS.items():
        assert complaint[cause] == pytest.approx(truth["complaint"], abs=0.45)
        assert card[cause] == pytest.approx(truth["card"], abs=0.5)
    assert complaint.idxmax() == "voluntary"
    assert card.idxmax() == "involuntary"
    causes = result.backtest.causes.xs(result.backtest.chosen, level="candidate")
    assert (causes["predicted"] / causes["happened"]).between(0.6, 1.7).all()


def test_the_configuration_of_the_demonstration_is_that_of_the_file():
    file = load_config(Path(__file__).parents[2] / "configs" / "subscriptions.yaml")
    demo = parse_config({**jobs.TELECOM, "data": file.data.model_dump()})
    assert demo.model_dump(exclude={"data"}) == file.model_dump(exclude={"data"})
    assert set(file.data.tables) == {"subscriptions", "customers", "interactions"}
