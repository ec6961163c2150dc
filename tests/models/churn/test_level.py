"""The level of churn is carried on where that has helped, and left alone where it has not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from crmml.models.churn.level import LevelHistory
from crmml.models.churn.selection import select_churn

N = 2000


def windows(surprises, days=91) -> LevelHistory:
    """Build windows in a row whose log-odds of churn ran ahead of what was said by so much."""
    rng = np.random.default_rng(1)
    said = [rng.normal(0.5, 1.0, N) for _ in surprises]
    churned = [
        (rng.random(N) < expit(z + e)).astype(float) for z, e in zip(said, surprises, strict=True)
    ]
    cutoffs = pd.date_range("2020-01-01", periods=len(surprises) + 1, freq=f"{days}D")
    return LevelHistory(
        tuple(cutoffs), tuple(said), tuple(churned), (said[0], churned[0]), len, len, days // 4
    )


def next_of(history: LevelHistory) -> pd.Timestamp:
    return history.cutoffs[-1] + (history.cutoffs[-1] - history.cutoffs[-2])


@pytest.mark.parametrize(("surprises", "low", "high"), [
    ([0.3] * 5, 0.2, 0.4),  # a trend
    ([0.0] * 5, -0.05, 0.05),  # nothing
    ([0.4, -0.4, 0.4, -0.4, 0.4], -0.4, 0.0),  # windows alone: they go back
    ([0.3], 0.0, 0.0),  # not checked yet
    ([0.0, 0.0, 0.5, -0.5] * 2 + [0.0, 0.0], 0.1, 0.5),  # a season, seen twice
])  # fmt: skip
def test_a_drift_is_carried_on_where_that_has_helped(surprises, low, high):
    history = windows(surprises)
    found = history.forecast(next_of(history))
    assert low <= found.offset <= high
    np.testing.assert_allclose(found.surprises, surprises, atol=0.2)
    assert (found.offset == 0) == (found.checks < 2 or found.saved <= 0)


def test_what_comes_after_plays_no_part():
    whole = windows([0.3, 0.2, 0.4, 2.0])
    assert whole.before(1).forecast(whole.cutoffs[-1]).surprises == pytest.approx(
        whole.forecast(next_of(whole)).surprises[:-1]
    )


def test_a_model_is_moved_only_where_moving_it_helped_in_the_newest_window(cdnow_quarters):
    snapshot = cdnow_quarters[-1].snapshot
    settings = {"horizon": "13W", "n_boot": 20, "max_rounds": 20}
    chosen = select_churn(cdnow_quarters, snapshot=snapshot, **settings)
    level = chosen.level
    assert level is not None
    assert (level.offset != 0) == (level.saved > 0)
    nearer = abs(level.moved - level.happened) < abs(level.predicted - level.happened)
    assert nearer == (level.saved > 0)
    assert "needed" in str(level)
