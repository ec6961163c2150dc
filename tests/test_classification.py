import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics.classification import (
    auc,
    average_precision,
    bootstrap_weights,
    brier_score,
    compare_classifiers,
    log_loss,
    top_decile_lift,
)


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
    (weights,) = bootstrap_weights(len(y), n_boot=3, seed=1)
    expected = [theirs(y, p, sample_weight=w) for w in weights]
    np.testing.assert_allclose(ours(y, p, weights), expected, atol=1e-12)


def test_top_decile_lift_by_hand():
    y = np.r_[np.ones(5), np.zeros(15)]
    assert top_decile_lift(y, np.arange(20)[::-1]) == pytest.approx(4.0)
    assert top_decile_lift(y, np.arange(20)) == 0.0
    assert top_decile_lift(y, np.zeros(20)) == pytest.approx(1.0)
    assert top_decile_lift(y, np.arange(20), share=1.0) == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_rows_and_monotone_scale_do_not_matter(seed):
    y, p = outcomes_and_scores(60, seed)
    y[:2] = [0, 1]
    shuffled = np.random.default_rng(seed).permutation(len(y))
    for measure in (auc, average_precision, top_decile_lift):
        assert measure(y[shuffled], p[shuffled]) == pytest.approx(measure(y, p), abs=1e-12)
        assert measure(y, 3 * p**3 - 7) == pytest.approx(measure(y, p), abs=1e-12)
    assert auc(y, p) + auc(y, -p) == pytest.approx(1.0)


def test_compare_says_which_model_is_better_and_by_how_much():
    y, p = outcomes_and_scores(2000)
    noise = np.random.default_rng(1).random(2000)
    table = compare_classifiers(y, {"good": p, "noise": noise}, reference="noise", n_boot=200)
    row = table.set_index(["model", "metric"]).loc[("good", "auc")]
    assert row["low"] < row["value"] < row["high"]
    assert row["difference_low"] > 0
    assert row["difference"] == pytest.approx(auc(y, p) - auc(y, noise))
    same = table.set_index(["model", "metric"]).loc[("noise", "auc")]
    assert same["difference"] == same["difference_low"] == same["difference_high"] == 0
    again = compare_classifiers(y, {"good": p, "noise": noise}, reference="noise", n_boot=200)
    assert table.equals(again)


def test_bootstrap_interval_has_the_width_of_the_exact_formula():
    y = (np.arange(1000) < 300).astype(float)
    table = compare_classifiers(
        y, {"a": np.where(y == 1, 0.6, 0.4), "b": np.full(1000, 0.5)}, reference="b", n_boot=2000
    )
    brier = table.query("model == 'b' and metric == 'brier'").iloc[0]
    assert brier["value"] == brier["low"] == brier["high"] == 0.25
    loss = compare_classifiers(y, {"p": np.full(1000, 0.3)}, reference="p", n_boot=2000)
    row = loss.query("metric == 'brier'").iloc[0]
    exact = 2 * 1.96 * 0.4 * np.sqrt(0.3 * 0.7 / 1000)
    assert row["high"] - row["low"] == pytest.approx(exact, rel=0.08)


def test_groups_are_drawn_together():
    groups = np.repeat(["a", "b", "c"], 2)
    (weights,) = bootstrap_weights(6, n_boot=50, seed=0, groups=groups)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, ::2].sum(axis=1) == 3).all()


def test_refusals():
    with pytest.raises(TooLittleDataError, match="all 3 customers have the same one"):
        compare_classifiers([1, 1, 1], {"a": [0.1, 0.2, 0.3]}, reference="a")
    with pytest.raises(ParameterError, match="reference must be one of"):
        compare_classifiers([1, 0], {"a": [0.1, 0.2]}, reference="b")
    with pytest.raises(ParameterError, match="two vectors of one length"):
        auc([1, 0], [0.1])
    with pytest.raises(ParameterError, match="score must be finite"):
        auc([1, 0], [0.1, np.nan])
    with pytest.raises(ParameterError, match="share must be"):
        top_decile_lift([1, 0], [0.1, 0.2], share=0)
