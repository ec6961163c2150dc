"""Importance of each dimension of the experience: what is planted is found, and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.segments.experience import compute_experience_importance

CUTOFF = pd.Timestamp("2023-07-03")


def planted(n: int = 600) -> dict[str, pd.DataFrame]:
    """A weekly shop: who was served badly stays away after the cutoff, who pays much does not."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(n), 20)
    log = pd.DataFrame({"customer_id": who, "amount": 10.0})
    days = np.sort(rng.integers(0, 360, (n, 20)), axis=1).ravel()
    log["timestamp"] = pd.Timestamp("2023-01-02") + pd.to_timedelta(days, unit="D")
    scores = {"service": rng.choice([1, 9], n), "price": rng.choice([1, 9], n)}
    lost = (scores["service"] == 1) & (rng.random(n) < 0.4)
    log = log[(log["timestamp"] < CUTOFF) | ~lost[log["customer_id"]]]
    told = [
        pd.DataFrame({"customer_id": range(n), "dimension": name, "score": score})
        for name, score in scores.items()
    ]
    said = pd.concat(told).assign(kind="survey", timestamp=pd.Timestamp("2023-06-01"))
    return {"transactions": log, "interactions": said}


@pytest.fixture(scope="module")
def tables():
    return open_tables(planted())


def test_the_dimension_that_decides_is_found_with_its_size_and_the_other_is_not(tables):
    found = compute_experience_importance(tables, CUTOFF).loc["all"]
    service, price = found.loc["service"], found.loc["price"]
    assert service["customers"] == service["negative"] + service["positive"] == 600
    assert service["retention_lower"] < 0.4 < service["retention_upper"]
    assert service["retention_lower"] > 0.25
    assert service["retention_beyond_chance"]
    assert service["spend_beyond_chance"]
    assert not price["retention_beyond_chance"]
    assert price["retention_lower"] < 0 < price["retention_upper"]


def test_segments_are_apart_and_a_small_one_says_nothing(tables):
    small = pd.Series("large", pd.RangeIndex(600)).mask(np.arange(600) < 10, "small")
    found = compute_experience_importance(tables, CUTOFF, segments=small, n_boot=20)
    assert found.loc["small", "retention"].isna().all()
    assert not found.loc["small", "retention_beyond_chance"].any()
    assert found.loc[("large", "service"), "customers"] == 590
    with pytest.raises(ParameterError, match="n_boot"):
        compute_experience_importance(tables, CUTOFF, n_boot=1)
