import numpy as np
import pytest
from sklearn import metrics as sk

from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import compare, hash_keys, resampling_weights
from crmml.metrics.classification import brier_score
from crmml.metrics.ordinal import (
    accuracy,
    log_loss,
    macro_f1,
    quadratic_kappa,
    ranked_probability_score,
    statistics,
)


def classes(n=500, k=4, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(k), n)
    y = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    return y, p


def test_equals_scikit_learn_plain_and_weighted():
    y, p = classes()
    hard = p.argmax(axis=1)
    assert accuracy(y, p) == pytest.approx(sk.accuracy_score(y, hard))
    assert macro_f1(y, p) == pytest.approx(sk.f1_score(y, hard, average="macro"))
    assert quadratic_kappa(y, p) == pytest.approx(
        sk.cohen_kappa_score(y, hard, weights="quadratic")
    )
    assert log_loss(y, p) == pytest.approx(sk.log_loss(y, p))
    weights = resampling_weights(hash_keys(range(len(y))), 2, seed=0)
    np.testing.assert_allclose(
        macro_f1(y, p, weights),
        [sk.f1_score(y, hard, average="macro", sample_weight=w) for w in weights],
    )
    np.testing.assert_allclose(
        quadratic_kappa(y, p, weights),
        [sk.cohen_kappa_score(y, hard, weights="quadratic", sample_weight=w) for w in weights],
    )


def test_ranked_probability_score_of_two_classes_is_the_brier_score():
    y, p = classes(k=2)
    assert ranked_probability_score(y, p) == pytest.approx(brier_score(y, p[:, 1]))


def test_ranked_probability_score_prefers_the_nearer_class():
    y = np.array([0])
    near, far = np.array([[0.0, 1, 0]]), np.array([[0.0, 0, 1]])
    assert ranked_probability_score(y, near) == 0.5
    assert ranked_probability_score(y, far) == 1.0
    assert ranked_probability_score(y, np.array([[1.0, 0, 0]])) == 0.0


def test_compare_prefers_the_truth():
    y, p = classes(2000)
    candidates = {"truth": statistics(y, p), "flat": statistics(y, np.full_like(p, 0.25))}
    table = compare(candidates, range(2000), reference="flat")
    assert table.loc[("truth", "log_loss"), "difference_upper"] < 0
    assert table.loc[("truth", "quadratic_kappa"), "difference_lower"] > 0


def test_refusals():
    half = np.full((2, 2), 0.5)
    with pytest.raises(ParameterError, match="one row per outcome"):
        statistics(np.array([0, 1]), half[:1])
    with pytest.raises(ParameterError, match="class position below 2"):
        statistics(np.array([0, 2]), half)
    with pytest.raises(ParameterError, match="sum 1"):
        statistics(np.array([0, 1]), half + 0.1)
