import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics.bootstrap import compare, hash_keys, resampling_weights
from crmml.metrics.classification import (
    auc,
    average_precision,
    brier_score,
    log_loss,
    statistics,
)
from crmml.metrics.table import metric_named


def outcomes_and_scores(n=400, seed=0, decimals=2):
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 3, n)
    y = (rng.random(n) < truth).astype(float)
    return y, np.clip(np.round(truth + rng.normal(0, 0.05, n), decimals), 0.01, 0.99)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (auc, sk.roc_auc_score),
        (average_precision, sk.average_precision_score),
        (brier_score, sk.brier_score_loss),
        (log_loss, sk.log_loss),
    ],
)
@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_equals_scikit_learn_with_ties_and_weights(ours, theirs, decimals):
    y, p = outcomes_and_scores(decimals=decimals)
    assert ours(y, p) == pytest.approx(theirs(y, p), abs=1e-12)
    if ours is average_precision:  # it describes, and is not resampled
        return
    weights = resampling_weights(hash_keys(range(len(y))), 3, seed=1)
    expected = [theirs(y, p, sample_weight=w) for w in weights]
    np.testing.assert_allclose(ours(y, p, weights), expected, atol=1e-12)


@given(st.integers(0, 10_000))
def test_order_of_rows_and_monotone_scale_do_not_matter(seed):
    y, p = outcomes_and_scores(60, seed)
    y[:2] = [0, 1]
    shuffled = np.random.default_rng(seed).permutation(len(y))
    for measure in (auc, average_precision):
        assert measure(y[shuffled], p[shuffled]) == pytest.approx(measure(y, p), abs=1e-12)
        assert measure(y, 3 * p**3 - 7) == pytest.approx(measure(y, p), abs=1e-12)
    assert auc(y, p) + auc(y, -p) == pytest.approx(1.0)


def test_compare_says_which_model_is_better_and_by_how_much():
    y, p = outcomes_and_scores(2000)
    noise = np.random.default_rng(1).random(2000)
    candidates = {"good": statistics(y, p), "noise": statistics(y, noise)}
    losses = {name: metric_named(name).direction == "lower" for name in candidates["good"]}
    assert losses == {
        "auc": False,
        "average_precision": False,
        "top_decile_lift": False,
        "brier": True,
        "log_loss": True,
        "calibration_error": True,
        "brier_reliability": True,
        "brier_resolution": False,
        "brier_uncertainty": True,
        "empc": False,
        "empc_share": True,
    }
    table = compare(candidates, range(2000), reference="noise")
    row = table.loc[("good", "auc")]
    assert row["lower"] < row["value"] < row["upper"]
    assert row["difference_lower"] > 0
    for name in ("brier", "log_loss"):
        assert table.loc[("good", name), "difference_upper"] < 0
    assert table.xs("average_precision", level="metric")[["lower", "upper"]].isna().all(axis=None)
    assert row["difference"] == pytest.approx(float(auc(y, p) - auc(y, noise)))


def test_refusals():
    with pytest.raises(TooLittleDataError, match="of 3 customers all have the same one"):
        statistics(np.ones(3), np.full(3, 0.5))
    with pytest.raises(ParameterError, match="probability must be between 0 and 1"):
        statistics(np.array([0.0, 1.0]), np.array([0.5, np.nan]))
