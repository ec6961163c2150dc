"""What is given to a scoring is honoured or refused by name, through every door."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

import crmml
from crmml.actions.catalogue import ActionCatalogue
from crmml.config import parse_config, setting_names
from crmml.data.settings import Policies
from crmml.data.tables import open_tables
from crmml.exceptions import (
    AheadWarning,
    BundleError,
    DataError,
    ParameterError,
    UnlikeTrainingError,
    UnlikeTrainingWarning,
)
from crmml.features import labels
from crmml.features.snapshot import build_snapshot
from crmml.scoring import scorer
from crmml.scoring.manifest import digest
from crmml.scoring.scorer import open_for, score, scoring_cutoff
from crmml.storage.bundles import load_bundle
from crmml.testing.simulate import simulate_world
from crmml.tracking.pyfunc import BundleModel
from crmml.training import plan, settings_at_score
from crmml.training.settings_at_score import check_settings_at_score, role_of

TRAINED = {
    "name": "shop",
    "seed": 3,
    "cutoff": "2023-12-01",
    "data": {"policies": {"test_customers": [1, 2, "till seven"]}},
    "value": {"margin": 0.4, "annual_discount_rate": 0.08, "horizon": "26W"},
    "backtest": {"candidates": ["mbg_nbd"], "bootstrap": 20, "max_windows": 1},
    "actions": {
        "budget": 20,
        "holdout_share": 0.1,
        "contact_limit": {"most": 2, "within": "30D"},
    },
}

OTHER = {
    "name": "another",
    "seed": 4,
    "cutoff": "2023-11-30",
    "data.own_seller": "us",
    "data.policies.returns": "drop",
    "data.policies.zero_amounts": "drop",
    "data.policies.missing_ids": "error",
    "data.policies.duplicates": "drop",
    "data.policies.unreadable": "drop",
    "data.policies.unlikely_dates": "keep",
    "data.policies.test_customers": [1],
    "snapshot.grain": "week",
    "snapshot.time_unit": "day",
    "outcome.horizon": "4W",
    "outcome.gap": "1W",
    "value.horizon": "13W",
    "value.annual_discount_rate": 0.2,
    "value.margin": 0.9,
    "value.per_purchase": 12.5,
    "tiers.shares": [0.2, 0.2, 0.2, 0.2, 0.2],
    "segments.experience_window": "13W",
    "segments.satisfied_from": 8,
    "segments.dissatisfied_to": 3,
    "segments.group": "region",
    "actions.holdout_share": 0.5,
    "actions.holdout_least": 9,
    "actions.experiment": "2",
    "actions.consent": "required",
    "actions.contact_limit": None,
}
"""Of every fixed setting whose legal values are known here: another one than that of the bundle."""


@pytest.fixture(scope="module")
def world():
    return simulate_world(300, seed=5, weeks=104, tables=("customers", "treatments"))


@pytest.fixture(scope="module")
def log(world):
    columns = ["customer_id", "timestamp", "amount"]
    return world.transactions.query("timestamp < '2023-12-01'")[columns]


@pytest.fixture(scope="module")
def training(log):
    """Train, and write down of which cutoffs a snapshot was built."""
    cutoffs = []

    def counted(tables, cutoff, **settings):
        cutoffs.append(pd.Timestamp(cutoff))
        return build_snapshot(tables, cutoff, **settings)

    with pytest.MonkeyPatch.context() as patch:
        for module in (scorer, plan, labels):
            patch.setattr(module, "build_snapshot", counted)
        return crmml.train(TRAINED, log).bundle, cutoffs


@pytest.fixture(scope="module")
def bundle(training):
    return training[0]


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


def of_training(name):
    """The value of a setting in a configuration that the bundle was trained with."""
    value = parse_config(TRAINED).setting(name)
    return value.model_dump() if hasattr(value, "model_dump") else value


# ------------------------------------------------------------------------------ the settings


def test_every_setting_has_a_role_at_scoring():
    assert [name for name in setting_names() if role_of(name) is None] == []
    roles = set(settings_at_score.ROLES)
    known = {name[: len(role)] for name in setting_names() for role in roles}
    assert roles <= known  # no role of a setting that is gone


@pytest.mark.parametrize("name", [n for n in setting_names() if role_of(n) == "fixed"])
def test_a_fixed_setting_may_be_given_as_it_was_and_not_otherwise(name, bundle):
    check_settings_at_score(parse_config(nested(name, of_training(name))), bundle)
    if name in OTHER:
        with pytest.raises(UnlikeTrainingError, match=rf"settled at training: {name} is"):
            check_settings_at_score(parse_config(nested(name, OTHER[name])), bundle)


def test_what_is_left_out_takes_the_value_of_the_bundle(bundle):
    check_settings_at_score(parse_config({}), bundle)  # its defaults are not those of the bundle
    assert settings_at_score.honoured_settings(parse_config({})) == {}


def test_all_that_differs_is_named_in_one_sentence_and_no_id_is(bundle):
    given = {
        "name": "another",
        "tiers": {"shares": OTHER["tiers.shares"]},
        "data": {"policies": {"test_customers": ["Ada Lovelace"]}},
    }
    with pytest.raises(UnlikeTrainingError) as refused:
        check_settings_at_score(parse_config(given), bundle)
    assert all(name in str(refused.value) for name in ("name", "tiers.shares", "test_customers"))
    assert "Ada" not in str(refused.value)


def test_a_margin_that_the_data_decided_is_not_compared(bundle):
    columns = {"transactions": ("customer_id", "timestamp", "amount", "margin")}
    observed = replace(bundle, manifest=bundle.manifest.changed(columns=columns))
    check_settings_at_score(parse_config({"value": {"margin": 0.9}}), observed)


def test_of_a_log_without_amounts_money_and_actions_are_null_with_the_reason(bundle, log):
    reading = {"transactions": {"without_amounts": True}}
    counted = replace(bundle, manifest=bundle.manifest.changed(reading=reading))
    with pytest.warns(UnlikeTrainingWarning):  # the bundle was trained on amounts after all
        found = score(counted, log.drop(columns="amount"))
    assert found.found is None
    for name in ("net_spend", "clv", "expected_spend", "recommended_action", "expected_cost"):
        assert found.table[name].isna().all()
        assert "the log has no amounts" in found.absent[name]
    assert found.table[["expected_purchases", "probability_alive"]].notna().all(axis=None)
    assert found.table["churn_probability"].notna().all()


def test_a_value_that_cannot_be_read_is_the_reason_whatever_the_columns_were_called(bundle, log):
    reading = {"transactions": {"columns": {"timestamp": "order_date"}}}
    mapped = replace(bundle, manifest=bundle.manifest.changed(reading=reading))
    aware = log.assign(timestamp=log["timestamp"].astype(str) + "T10:00:00Z")
    with pytest.raises(DataError, match=r"offset from UTC, so the timezone"):
        score(mapped, aware)
    with pytest.raises(DataError, match=r"missing column.*'order_date'"):
        score(mapped, log.rename(columns={"timestamp": "when"}))


# ------------------------------------------------------------------------------ what is honoured


@pytest.fixture(scope="module")
def again(bundle, log):
    """Score the log once more under another plan; tables and snapshot are those of the first."""
    tables = open_for(bundle, log)
    first = score(bundle, tables)

    def again(**plan):
        return score(bundle, tables, snapshot=first.snapshot, **plan).table if plan else first.table

    return again


def test_a_budget_bounds_the_plan(again):
    tables = {b: again(budget=b) for b in (20, 5, 0)}
    spent = {b: table["expected_cost"].sum() for b, table in tables.items()}
    assert 0 == spent[0] < spent[5] <= 5 < spent[20] <= 20
    assert len({tables[b]["policy_version"].iloc[0] for b in (20, 5)}) == 2


def test_capacities_bound_the_channels(bundle, again):
    names = {option.channel for option in bundle.catalogue.options}
    table = again(budget=1e6, capacities=dict.fromkeys(names, 3))
    assert table["channel"].value_counts().max() <= 3


def test_a_catalogue_is_honoured_and_hashed(bundle, again):
    action = {
        "name": "card",
        "purpose": "enhance",
        "channels": ["post"],
        "contact_cost": 0.01,
        "save_rate": {"mean": 0.5, "sample_size": 10},
        "horizon": "39W",
        "incentive_cost": 0.01,
        "valid_for": "5W",
        "eligible": "frequency >= 1",
    }
    other = ActionCatalogue.from_dict({"actions": [action]})
    found = again(catalogue=other)
    assert set(found["recommended_action"]) == {"card", "no_action"}
    plain = again()
    assert (found["model_version"] == plain["model_version"]).all()
    assert found["policy_version"].iloc[0] != plain["policy_version"].iloc[0]
    pd.testing.assert_frame_equal(again(catalogue=bundle.catalogue), plain)


def test_what_stored_prices_cannot_honour_is_refused_by_name(bundle, log):
    with pytest.raises(ParameterError, match="budget must be left out"):
        score(bundle, log, stored_prices=True, budget=3.0)


# ------------------------------------------------------------------------------ data policies


def test_test_customers_stay_away_through_every_door(bundle, log):
    assert "test_customers" not in str(bundle.manifest.metrics)
    model = BundleModel()
    model.bundle = bundle
    doors = {
        "frame": score(bundle, log).table,
        "bundle": bundle.score(log),
        "pyfunc": model.predict(None, log),
        "text ids": bundle.score(log.assign(customer_id=log["customer_id"].astype(str))),
        "tables": score(
            bundle, open_tables(log, policies=Policies(test_customers=(2, "till seven", 1)))
        ).table,
    }
    for door, table in doors.items():
        assert len(table), door
        assert not {"1", "2"} & set(table["customer_id"].astype(str)), door
    assert {1, 2} <= set(log["customer_id"])


def test_no_test_customer_is_stored(bundle):
    files = bundle.to_files()
    assert not any(b"till seven" in content for content in files.values())
    assert b"sha256:" in files["manifest.json"]


def test_tables_opened_otherwise_are_refused_by_name(bundle, log):
    tables = open_tables(log, policies=Policies(returns="drop"))
    with pytest.raises(UnlikeTrainingError, match="returns is 'drop', trained with 'net'"):
        open_for(bundle, tables)


# ------------------------------------------------------------------------------ guards


def test_amounts_a_hundred_times_too_large_are_said_or_refused(bundle, log):
    cents = log.assign(amount=log["amount"] * 100)
    with pytest.warns(UnlikeTrainingWarning, match=r"per purchase, .* same unit.*tier A holds"):
        score(bundle, cents)
    with pytest.raises(UnlikeTrainingError, match="unlike those of the training"):
        score(bundle, cents, strict=True)


def test_other_customers_are_noticed_and_the_same_are_not(bundle, log):
    score(bundle, log, strict=True)
    score(bundle, log[log["customer_id"] % 2 == 0], strict=True)
    shortened = log[log["timestamp"] >= "2023-04-01"]
    with pytest.raises(UnlikeTrainingError, match=r"the log covers 35 weeks, 100 at training"):
        score(bundle, shortened, strict=True)


def test_one_customer_alone_is_never_unlike(bundle, log):
    one = log[log["customer_id"] == 7]
    score(bundle, one.assign(amount=one["amount"] * 100), strict=True)


def test_treatments_dated_ahead_are_counted(bundle, log):
    planned = pd.DataFrame(
        {"customer_id": [5, 6], "timestamp": ["2023-11-01", "2031-01-01"], "action": ["email"] * 2}
    )
    with pytest.warns(AheadWarning, match="1 rows of the table treatments are dated 2023-12-01"):
        score(bundle, {"transactions": log, "treatments": planned})


@pytest.mark.parametrize("cutoff", ["01.02.98", "now", "12:00", "-1", "1998", "2023-13-01", ""])
def test_a_cutoff_is_an_iso_date_or_moment(cutoff, bundle, log):
    with pytest.raises(ParameterError, match=r"like '2024-01-31', or a moment"):
        score(bundle, log, cutoff)


def test_a_cutoff_of_a_whole_log_lies_within_or_shortly_after_the_data(bundle, log):
    tables = open_for(bundle, log)
    assert scoring_cutoff(bundle, tables, "2024-02-29 18:30", whole=True).hour == 18
    with pytest.raises(ParameterError, match=r"within the data, or at most 13W after them \(2023"):
        scoring_cutoff(bundle, tables, "2024-03-09", whole=True)


# ------------------------------------------------------------------------------ work done once


def test_training_builds_every_snapshot_once(training):
    assert pd.Timestamp("2023-12-01") in training[1]
    assert len(training[1]) == len(set(training[1]))


def test_a_snapshot_of_other_settings_is_built_anew(bundle, log):
    other = crmml.build_snapshot(log, "2023-10-01")
    pd.testing.assert_frame_equal(
        score(bundle, log, snapshot=other).table, score(bundle, log).table
    )


def test_pyfunc_params_are_honoured_or_refused(bundle, log):
    model = BundleModel()
    model.bundle = bundle
    found = model.predict(SimpleNamespace(), log, {"budget": 4.0})
    assert 0 < found["expected_cost"].sum() <= 4.0
    with pytest.raises(MlflowException, match="cutoff, budget and lang: all else is trained"):
        model.predict(None, log, {"value.margin": 0.5})


# ------------------------------------------------------------------------------ signed anew


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("actions.json", b'"budget": 20.0', b'"budget": "20.0"'),
        ("actions.json", b'"holdout_share": 0.1', b'"holdout_share": null'),
        ("lifetime_value.json", b'"margin": 0.4', b'"margin": "0.4"'),
        ("lifetime_value.json", b'"margin": 0.4', b'"margin": NaN'),
        ("tiers.json", b'"cut_points"', b'"cut_point"'),
    ],
)
def test_a_bundle_edited_and_signed_anew_is_one_sentence(file, old, new, bundle, tmp_path):
    files = bundle.to_files()
    assert old in files[file]
    files[file] = files[file].replace(old, new)
    manifest = json.loads(files["manifest.json"])
    manifest["hashes"][file] = digest(files[file])
    files["manifest.json"] = json.dumps(manifest).encode()
    files["bundle.sha256"] = digest(files["manifest.json"]).encode()
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{file} of the bundle"):
        load_bundle(folder)


def test_a_log_or_a_model_in_place_of_a_bundle_gets_the_right_name():
    from crmml import models
    from crmml.exceptions import WrongArgumentError

    log = pd.DataFrame({"customer_id": [1], "timestamp": ["2024-01-01"], "amount": [3.0]})
    for wrong in (log, models.BetaGeoModel(), None):
        with pytest.raises(WrongArgumentError, match=r"crmml\.score needs a ScoringBundle first"):
            score(wrong, log)
