"""What changed is counted, and each change is given to what made it."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

import crmml
from crmml.exceptions import ParameterError, StorageError, UnlikeTrainingError
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.scorer import score
from crmml.storage.bundles import load_bundle, save_bundle
from crmml.storage.scores import write_scores

BEFORE, AFTER = "1998-04-01", "1998-07-01"


@pytest.fixture(scope="module")
def shelf(cdnow_shelf):
    return cdnow_shelf.folder / "models" / "crmml" / "1"


@pytest.fixture(scope="module")
def bundle(shelf) -> ScoringBundle:
    return load_bundle(shelf)


@pytest.fixture(scope="module")
def refit(bundle) -> ScoringBundle:
    """The bundle with a margin twice as high: another model under the same policy."""
    predictors = []
    for predictor in bundle.predictors:
        if isinstance(predictor, LifetimeValue):
            model = type(predictor.model).from_dict(predictor.model.to_dict())
            model.margin = 2 * model.margin
            predictor = replace(predictor, model=model)
        predictors.append(predictor)
    return ScoringBundle(bundle.manifest, tuple(predictors))


@pytest.fixture(scope="module")
def scores(bundle, cdnow_eighth):
    return score(bundle, cdnow_eighth, AFTER, budget=1.0)


@pytest.fixture(scope="module")
def before(bundle, cdnow_eighth):
    return score(bundle, cdnow_eighth, BEFORE, budget=1.0)


def changed(found) -> dict[str, set[str]]:
    table = found.table
    return {x: set(table.loc[table[f"{x}_changed"], f"{x}_cause"]) for x in ("tier", "action")}


def test_a_score_set_does_not_differ_from_itself(scores) -> None:
    for found in (crmml.diff(scores, scores), crmml.diff(scores.table, scores.table)):
        assert found.changed().empty
        assert found.counts.empty
        assert found.settings.empty
        assert found.customers == {"both": len(scores.table), "new": 0, "gone": 0}


def test_a_changed_budget_is_policy(scores, bundle, cdnow_eighth) -> None:
    poor = score(bundle, cdnow_eighth, AFTER, budget=0.1)
    found = crmml.diff(scores, poor)
    assert changed(found) == {"tier": set(), "action": {"policy"}}
    assert found.settings.to_dict("records") == [
        {"kind": "policy", "setting": "budget", "a": "1", "b": "0.1"}
    ]
    files = crmml.diff(scores.table, poor.table)  # the versions say it too
    assert changed(files)["action"] == {"policy"}
    assert (
        found.counts.loc["policy", "action"]
        == (scores.table["recommended_action"] != poor.table["recommended_action"]).sum()
    )


def test_a_new_purchase_is_input_and_what_it_takes_from_others_too(
    scores, bundle, cdnow_eighth
) -> None:
    once = scores.table.loc[scores.table["value_tier"] == "E", "customer_id"].iloc[0]
    line = pd.DataFrame({"customer_id": [once], "timestamp": pd.Timestamp("1998-06-29"),
                         "amount": [200.0]})  # fmt: skip
    found = crmml.diff(scores, score(bundle, pd.concat([cdnow_eighth, line]), AFTER, budget=1.0))
    mine = found.table.set_index("customer_id").loc[once]
    assert (mine["tier_cause"], mine["risk_cause"], mine["purchases"]) == ("inputs", "inputs", 1)
    rest = found.table[found.table["customer_id"] != once]
    assert not rest["tier_changed"].any()
    assert set(rest.loc[rest["action_changed"], "action_cause"]) <= {"others"}


def test_another_model_is_model(scores, bundle, refit, cdnow_eighth) -> None:
    found = crmml.diff(bundle, refit, data=cdnow_eighth, cutoff=AFTER)
    assert changed(found)["tier"] == {"model"}
    assert changed(found)["action"] <= {"model"}
    assert set(found.settings["kind"]) == {"model"}
    assert "margin" in set(found.settings["setting"])


def test_what_acted_together_is_told_apart_by_scoring_between(
    refit, cdnow_eighth, before, scores
) -> None:
    after = score(refit, cdnow_eighth, AFTER, budget=0.2)
    found = crmml.diff(before, after)
    assert set(found.table.loc[found.table["tier_changed"], "tier_cause"]) <= {
        "inputs", "model", "inputs+model",
    }  # fmt: skip
    # the first step is the first bundle on the second data under the first policy
    first, second = before.table.set_index("customer_id"), scores.table.set_index("customer_id")
    last = after.table.set_index("customer_id")["value_tier"]
    only_model = (first["value_tier"] == second["value_tier"]) & (second["value_tier"] != last)
    causes = found.table.set_index("customer_id")["tier_cause"]
    assert set(causes[only_model[only_model].index]) == {"model"}
    blind = crmml.diff(before.table, after.table)
    assert set(blind.table["action_cause"]) <= {"", "inputs|model|policy"}
    assert "cannot be told apart" in blind.unknown[0]


def test_files_with_their_bundles_and_data_are_told_apart_too(
    bundle, refit, cdnow_eighth, tmp_path, shelf
) -> None:
    tables = [score(b, cdnow_eighth, at).table for b, at in ((bundle, BEFORE), (refit, AFTER))]
    for table, at in zip(tables, (BEFORE, AFTER), strict=True):
        write_scores(table, tmp_path / "out", at)
    save_bundle(refit, tmp_path / "refit")
    sides = (tmp_path / "out" / f"cutoff={BEFORE}", tmp_path / "out")  # the newest
    pair = (shelf, tmp_path / "refit")
    found = crmml.diff(*sides, bundles=pair, data=cdnow_eighth)
    assert found.facts["cutoff"] == (pd.Timestamp(BEFORE), pd.Timestamp(AFTER))
    assert "scored" in found.method
    assert changed(found)["tier"] <= {"inputs", "model", "inputs+model", "others"}
    with pytest.raises(UnlikeTrainingError, match="written by"):
        crmml.diff(*sides, bundles=pair[::-1], data=cdnow_eighth)


def test_bundles_without_data_differ_in_settings_only(bundle, refit, shelf) -> None:
    found = crmml.diff(shelf, refit)
    assert (found.table.empty, len(found.settings) > 0) == (True, True)
    assert "cannot be known without data" in str(found)
    json.dumps(found.to_dict(), allow_nan=False)


def test_who_came_and_who_went_is_counted(scores) -> None:
    found = crmml.diff(scores.table.iloc[2:], scores.table.iloc[:-3])
    assert found.customers == {"both": len(scores.table) - 5, "new": 2, "gone": 3}
    assert len(found.changed()) == 5
    assert int(found.flows().to_numpy().sum()) == len(scores.table) - 5


def test_plain_values_hold_no_ids(before, scores) -> None:
    found = crmml.diff(before, scores)
    text = json.dumps(found.to_dict(), allow_nan=False) + str(found) + repr(found)
    ids = scores.table["customer_id"].astype(str)
    assert not [one for one in ids if f'"{one}"' in text]
    assert found.plot("risk").texts
    assert found.largest(3)["change"].abs().is_monotonic_decreasing


def test_what_cannot_be_compared_is_refused(scores, bundle, tmp_path) -> None:
    with pytest.raises(ParameterError, match="both score sets or both bundles"):
        crmml.diff(scores, bundle)
    with pytest.raises(StorageError, match="neither scores nor a bundle"):
        crmml.diff(tmp_path, tmp_path)
    with pytest.raises(ParameterError, match="aspect"):
        crmml.diff(scores, scores).flows("mood")
