"""Estimators stored by version 0.1 load and predict what they predicted then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from numpy.testing import assert_allclose

import crmml.models
from crmml.data.datasets import load_cdnow
from crmml.features.snapshot import build_snapshot

STORED = json.loads((Path(__file__).parents[1] / "format_1" / "estimators.json").read_text())


@pytest.fixture(scope="module")
def snapshots():
    log = load_cdnow(sample=True)
    return {
        "plain": build_snapshot(log, "1997-10-01"),
        "late": build_snapshot(log[log["timestamp"] >= "1997-03-01"], "1998-04-01"),
    }


@pytest.mark.parametrize("name", sorted(STORED))
def test_an_estimator_of_0_1_predicts_the_same(name, snapshots):
    entry = STORED[name]
    snapshot = snapshots[entry["snapshot"]]
    model = crmml.models.from_dict(entry["stored"])
    questions = {
        "expected_purchases": lambda: model.expected_purchases(snapshot, "13W"),
        "probability_alive": lambda: model.probability_alive(snapshot),
        "clv": lambda: model.clv(snapshot, "52W"),
        "expected_spend": lambda: model.expected_spend(snapshot),
    }
    asked = [key for key in questions if key in entry]
    assert asked
    for key in asked:
        found = questions[key]().loc[[f"{number:05d}" for number in entry["customer_id"]]]
        assert_allclose(found, entry[key], rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("name", sorted(STORED))
def test_an_estimator_of_0_1_can_be_stored_again(name):
    model = crmml.models.from_dict(STORED[name]["stored"])
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.to_dict() == model.to_dict()
