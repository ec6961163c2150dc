"""Experience, roles and tastes in the scores: declared, evident, and the same in batches."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from crmml.config import ConfigError, parse_config
from crmml.features.experience import ZONES
from crmml.scoring.batches import score_in_batches
from crmml.scoring.history import Attributes
from crmml.scoring.scorer import open_for, score
from crmml.scoring.segments import ExperienceZone, Roles, TasteSegment
from crmml.scoring.standard import predictor_from_dict, predictor_to_dict
from crmml.segments.roles import ROLES, StrategicRoles


@pytest.fixture(scope="module")
def scores(trained_shop) -> pd.DataFrame:
    return trained_shop.scores.table.set_index("customer_id")


def test_zones_are_known_of_everybody_and_a_complaint_left_open_is_negative(scores):
    columns = [name for name in scores if name.startswith("experience_")]
    assert set(columns) >= {"experience_zone", "experience_service", "experience_price"}
    assert scores[columns].isin(ZONES).all(axis=None)
    assert set(scores["experience_zone"]) == set(ZONES)
    assert (scores.loc[scores["open_complaints"] > 0, "experience_zone"] == "negative").all()
    assert (scores.loc[scores["contacts"] == 0, "experience_zone"] == "unknown").all()


def test_complaints_are_recovered_where_the_experience_is_negative(trained_shop, scores):
    gains = trained_shop.scores.recommendation.gains
    assert gains.unknown_columns == ()
    place = [option.action for option in gains.options].index("complaint_recovery")
    possible = pd.Series(gains.net[:, place] > float("-inf"), gains.customer_id)
    assert possible.any()
    assert (scores.loc[possible[possible].index, "experience_zone"] == "negative").all()


def test_about_a_fifth_hold_a_role_and_every_role_has_its_evidence(scores):
    held = scores["strategic_role"].str.split(",").explode().dropna()
    assert set(held) == set(ROLES)
    assert 0.1 < scores["strategic_role"].notna().mean() < 0.3
    who = {role: scores.loc[held[held == role].index] for role in ROLES}
    assert (who["benchmark"]["referral_value"] > 0).all()
    assert (who["benchmark"]["referrals_won"] > 0).all()
    assert (who["inspirer"]["suggestions_taken"] > 0).all()
    magnets = who["cost_magnet"]
    assert magnets["margin_ratio"].max() < scores["margin_ratio"].median()
    assert magnets["volume_52w"].min() > scores["volume_52w"].median()


def test_a_batch_gives_what_all_at_once_give(trained_shop, scores):
    tables = open_for(trained_shop.bundle, trained_shop.tables)
    names = ["experience_zone", "open_complaints", "strategic_role", "taste_segment", "group"]
    with score_in_batches(trained_shop.bundle, tables, size=170) as found:
        got = pd.concat(list(found)).set_index("customer_id")
    pd.testing.assert_frame_equal(got[names], scores.loc[got.index, names])


def test_without_the_interactions_all_is_null_with_the_reason(trained_shop):
    few = {
        name: table[table["customer_id"] % 10 == 0]
        for name, table in trained_shop.tables.items()
        if name in ("transactions", "customers")
    }
    found = score(trained_shop.bundle, few)
    for name in ("experience_zone", "experience_price", "contacts", "last_score"):
        assert found.table[name].isna().all()
        assert found.absent[name] == "needs the table `interactions`"
    assert "referred_customer_id" in found.absent["referral_value"]
    assert found.table["taste_segment"].notna().any()
    log = few["transactions"].drop(columns="category")
    assert "`category`" in score(trained_shop.bundle, log).absent["taste_segment"]


@pytest.mark.parametrize("kind", [ExperienceZone, Roles, TasteSegment])
def test_what_was_stored_before_0_4_still_gives_its_one_column(kind):
    old = predictor_from_dict({"class": kind.__name__})
    assert [output.name for output in old.outputs] == [
        {"roles": "strategic_role"}.get(kind.name, kind.name)
    ]


def test_roles_survive_storage():
    table = pd.DataFrame({"referral_value": [0.0, 5, 9] * 20, "volume_52w": range(60)})
    table["margin_ratio"] = [0.1, 0.2, 0.3] * 20
    roles = Roles(StrategicRoles().fit(table))
    again = predictor_from_dict(json.loads(json.dumps(predictor_to_dict(roles))))
    assert isinstance(again, Roles)
    assert again.segments is not None
    pd.testing.assert_frame_equal(again.segments.assign(table), roles.segments.assign(table))


def test_any_attribute_can_be_the_group(trained_shop):
    others = [
        replace(p, group="acquisition_channel") if isinstance(p, Attributes) else p
        for p in trained_shop.bundle.predictors
    ]
    bundle = replace(trained_shop.bundle, predictors=tuple(others))
    few = trained_shop.log[trained_shop.log["customer_id"] % 10 == 0]
    table = score(bundle, few, customers=trained_shop.customers).table
    channel = trained_shop.customers.set_index("customer_id")["acquisition_channel"]
    assert table["group"].tolist() == channel[table["customer_id"]].tolist()
    assert parse_config({"segments": {"group": "region"}}).segments.group == "region"
    with pytest.raises(ConfigError, match="below satisfied_from"):
        parse_config({"segments": {"satisfied_from": 4}})
