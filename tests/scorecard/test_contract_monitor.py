"""Scores of contracts are held against the ends that came, in all and by cause."""

import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import MissingTableError
from crmml.features.contracts import build_contracts, build_person_periods
from crmml.models.churn.hazard import HazardModel
from crmml.scorecard.monitor import monitor
from crmml.storage.scores import write_scores
from crmml.testing.contracts import simulate_contracts

CUTOFF = pd.Timestamp("2023-09-01")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return a folder with scores of a hazard model, and the tables that go on after them."""
    whole = simulate_contracts(2000, seed=3)
    tables = open_tables(whole)
    model = HazardModel().fit(build_person_periods(tables.before(CUTOFF), CUTOFF))
    now = build_contracts(tables.before(CUTOFF), CUTOFF)
    ends = model.churn_by_cause(now, "13W").add_prefix("contract_end_")
    scores = ends.assign(churn_probability=ends.sum(axis=1), model_version="one")
    scores = scores.rename_axis("customer_id").reset_index()
    folder = tmp_path_factory.mktemp("contracts") / "scores"
    write_scores(scores, folder, CUTOFF)
    return folder, whole, len(now)


def test_ends_by_cause_are_compared(watched):
    folder, whole, n = watched
    found = monitor(folder, whole, horizon="13W")
    row = found.windows.iloc[0]
    assert row["customers"] == n
    assert row["churn_realised"] == pytest.approx(row["churn_predicted"], abs=0.04)
    assert row["auc"] > 0.55
    assert row["auc"] > row["auc_rule"]  # the newest end first
    ends = found.groups[found.groups["by"] == "all"].set_index("measure")
    causes = ends[ends.index.str.startswith("contract_end_")]
    assert causes["realised"].sum() == pytest.approx(ends.loc["churn", "realised"])
    assert "contracts" in " ".join(found.notes)
    assert found.quiet


def test_a_cause_that_grows_raises_an_alarm(watched):
    folder, whole, _ = watched
    subscriptions = whole["subscriptions"]
    stays = subscriptions["ended_at"].isna() & (subscriptions["started_at"] < CUTOFF)
    more = subscriptions[stays].iloc[::4].index
    ended = subscriptions["ended_at"].where(
        ~subscriptions.index.isin(more), CUTOFF + pd.Timedelta(days=30)
    )
    reason = subscriptions["end_reason"].where(~subscriptions.index.isin(more), "involuntary")
    tables = {**whole, "subscriptions": subscriptions.assign(ended_at=ended, end_reason=reason)}
    found = monitor(folder, tables, horizon="13W")
    assert "contract_end_involuntary" in set(found.current["what"])
    assert not found.quiet


def test_without_log_and_contracts_it_says_what_it_needs(watched):
    with pytest.raises(MissingTableError, match="transactions"):
        monitor(watched[0], {"customers": watched[1]["customers"]}, horizon="13W")


def test_lifetime_value_of_contracts_is_held_against_the_fees_that_fell_due(tmp_path):
    whole = simulate_contracts(1500, seed=5)
    tables = open_tables(whole)
    model = HazardModel().fit(build_person_periods(tables.before(CUTOFF), CUTOFF))
    now = build_contracts(tables.before(CUTOFF), CUTOFF)
    value = model.contract_value(now, "13W", margin=0.4, annual_discount_rate=0.0)
    value.columns = ["clv", "clv_lower", "clv_upper"]
    scores = value.assign(churn_probability=model.churn_probability(now, "13W"))
    scores = scores.assign(contract_age=now.frame["age"].to_numpy()).rename_axis("customer_id")
    write_scores(scores.reset_index(), tmp_path / "scores", CUTOFF)
    whole["subscriptions"].to_csv(tmp_path / "subs.csv", index=False)
    (tmp_path / "c.yaml").write_text("data: {subscriptions: subs.csv}\nvalue: {margin: 0.4}\n")
    asked = {"horizon": "13W", "value_horizon": "13W"}
    row = monitor(tmp_path / "scores", tmp_path / "c.yaml", **asked).windows.iloc[0]
    assert row["clv_bias"] == pytest.approx(0.0, abs=0.05)
    assert row["clv_coverage"] > 0.75
    bare = monitor(tmp_path / "scores", whole, **asked)
    assert pd.isna(bare.windows["clv_bias"].item())
    assert "no configuration tells the margin" in str(bare.notes)
