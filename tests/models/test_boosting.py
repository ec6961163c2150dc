import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from crmml.exceptions import TooLittleDataError
from crmml.models.boosting import Boosting, Trees

COUNTS = Boosting(objective="poisson", max_rounds=60, patience=10)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 3))
    return X, rng.poisson(np.exp(X[:, 0])).astype(float), rng.integers(0, 3, 900)


def test_folds_find_a_number_of_rounds_and_score_rows_from_outside(rows):
    X, y, fold = rows
    found = COUNTS.cross_validate(X, y, fold)
    assert 1 <= found.rounds <= COUNTS.max_rounds
    assert np.corrcoef(found.outside, X[:, 0])[0, 1] > 0.7
    inside = COUNTS.grow(X, y, found.rounds).score(X)
    assert not np.array_equal(inside, found.outside)


def test_trees_are_plain_text_and_survive_json(rows):
    X, y, _ = rows
    trees = COUNTS.grow(X, y, 20)
    again = Trees(json.loads(json.dumps(trees.text)))
    np.testing.assert_array_equal(again.score(X), trees.score(X))
    np.testing.assert_allclose(np.exp(trees.score(X)), trees.mean(X), rtol=1e-12)
    np.testing.assert_allclose(trees.contributions(X).sum(axis=1), trees.score(X), atol=1e-9)
    assert trees.contributions(X).shape == (900, 4)


def test_threads_change_nothing(rows):
    X, y, _ = rows
    two = replace(COUNTS, num_threads=2).grow(X, y, 5)
    np.testing.assert_array_equal(two.score(X), COUNTS.grow(X, y, 5).score(X))


def test_settings_are_frozen():
    with pytest.raises(FrozenInstanceError):
        COUNTS.seed = 1


def test_several_classes_have_probabilities(rows):
    X, _, fold = rows
    classes = Boosting(objective="multiclass", n_classes=4)
    p = classes.grow(X, fold, 5).mean(X)
    assert p.shape == (900, 4)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_an_empty_set_is_refused_with_the_figures(rows):
    X, y, fold = rows
    everybody = np.ones(900, dtype=bool)
    with pytest.raises(TooLittleDataError, match="got 900 rows to grow on and 0 to judge"):
        COUNTS.find_rounds(X, y, everybody, ~everybody)
    with pytest.raises(TooLittleDataError, match="got 0 rows to grow on and 900 to judge"):
        COUNTS.find_rounds(X, y, ~everybody, everybody)
    with pytest.raises(TooLittleDataError, match="got 0 rows to grow on and 900 to judge"):
        COUNTS.cross_validate(X, y, np.zeros_like(fold))
    with pytest.raises(TooLittleDataError, match="got none"):
        COUNTS.grow(X[:0], y[:0], 5)


def test_counts_that_are_all_zero_are_refused_with_the_figures(rows):
    X, y, fold = rows
    with pytest.raises(TooLittleDataError, match="got 900 rows without"):
        COUNTS.grow(X, 0 * y, 5)
    with pytest.raises(TooLittleDataError, match="above zero"):
        COUNTS.cross_validate(X, y * (fold == 0), fold)
