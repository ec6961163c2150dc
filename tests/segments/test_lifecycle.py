"""Lifecycle stages."""

import json

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import DataError, MissingColumnsError, NotFittedError, ParameterError
from crmml.segments import LifecycleStages, focus


@pytest.fixture
def table():
    rng = np.random.default_rng(3)
    n = 500
    frequency = rng.poisson(1.5, n)
    age = rng.uniform(1, 80, n)
    return pd.DataFrame(
        {
            "frequency": frequency,
            "recency": np.where(frequency > 0, age * rng.uniform(0.1, 1, n), 0.0),
            "T": age,
            "churn_probability": rng.uniform(0, 1, n),
            "trend": np.where(rng.random(n) < 0.5, rng.normal(size=n), np.nan),
        },
        index=pd.Index(np.arange(n), name="customer_id"),
    )


def test_each_rule_decides_in_its_turn():
    stages = LifecycleStages.from_dict(
        {
            "lapsed_at": 0.9,
            "at_risk_at": 0.5,
            "growing_above": 0.0,
            "new_until": 10,
            "established_after": 40,
        }
    )
    rows = [
        # frequency, T, churn, trend, stage
        (0, 5, 0.95, 1.0, "acquire"),
        (0, 10, 0.95, 1.0, "win_back"),
        (3, 50, 0.90, 1.0, "win_back"),
        (3, 50, 0.20, 0.5, "enhance"),
        (3, 50, 0.50, 0.5, "retain"),
        (3, 20, 0.20, -0.5, "retain"),
        (3, 20, 0.20, np.nan, "enhance"),
        (3, 50, 0.20, np.nan, "retain"),
        (0, 20, 0.20, np.nan, "retain"),
        (0, 20, 0.20, 1.0, "retain"),  # one purchase, lately: no growth yet
    ]
    table = pd.DataFrame(rows, columns=["frequency", "T", "churn_probability", "trend", "stage"])
    assert stages.assign(table).tolist() == table["stage"].tolist()
    unknown = table[table["trend"].isna()].drop(columns="trend")
    assert stages.assign(unknown).tolist() == unknown["stage"].tolist()


def test_thresholds_are_stored_and_one_customer_alone_equals_the_batch(table):
    stages = LifecycleStages().fit(table)
    again = LifecycleStages.from_dict(json.loads(json.dumps(stages.to_dict())))
    batch = stages.assign(table)
    alone = pd.concat([again.assign(table.iloc[[i]]) for i in range(40)])
    pd.testing.assert_series_equal(alone, batch.iloc[:40])
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_series_equal(stages.assign(shuffled).sort_index(), batch)


@pytest.mark.parametrize(
    ("recent", "before", "stage"),
    [(2, 1, "enhance"), (3, 2, "retain"), (1, 1, "retain"), (1, 0, "enhance"), (0, 0, "retain")],
)
def test_growth_is_more_than_half_as_much_again_in_purchase_trend(recent, before, stage):
    """features.behaviour: (last 13 weeks - the 13 before) / both, 0 without any."""
    stages = LifecycleStages.from_dict(
        LifecycleStages()
        .fit(pd.DataFrame({"frequency": [1], "recency": [1.0], "T": [9.0]}))
        .to_dict()
    )
    trend = (recent - before) / max(recent + before, 1)
    table = pd.DataFrame({"frequency": [9], "T": [90.0], "churn_probability": 0.1, "trend": trend})
    assert stages.assign(table).tolist() == [stage]


def test_every_stage_occurs_and_has_its_focus(table):
    batch = LifecycleStages().fit(table).assign(table)
    assert set(batch) == {"acquire", "enhance", "retain", "win_back"}
    assert dict(zip(batch, focus(batch), strict=True)) == {
        "acquire": "differentiate",
        "enhance": "bundle",
        "retain": "adapt",
        "win_back": "return",
    }


def test_without_any_repeat_purchase_the_median_history_is_new(table):
    table = table.assign(frequency=0, recency=0.0)
    stages = LifecycleStages().fit(table)
    assert stages.new_until_ == stages.established_after_ == table["T"].median()


def test_refusals(table):
    with pytest.raises(NotFittedError, match="LifecycleStages is not fitted"):
        LifecycleStages().assign(table)
    with pytest.raises(ParameterError, match="at_risk_at <= lapsed_at"):
        LifecycleStages(lapsed_at=0.3)
    with pytest.raises(ParameterError, match="growing_above must be between -1 and 1; got 13"):
        LifecycleStages(growing_above=13)
    with pytest.raises(MissingColumnsError, match=r"missing column.*'recency'"):
        LifecycleStages().fit(table.drop(columns="recency"))
    stages = LifecycleStages().fit(table)
    with pytest.raises(DataError, match=r"finite numbers.*'churn_probability'"):
        stages.assign(table.assign(churn_probability=np.nan))
