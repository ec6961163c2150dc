import json
import re
from dataclasses import FrozenInstanceError, replace

import lightgbm as lgb
import numpy as np
import pytest

from crmml.exceptions import TooLittleDataError
from crmml.models import boosting
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


@pytest.mark.parametrize("missing", [{}, {"zero_as_missing": True}])
def test_rows_that_no_tree_tells_apart_are_predicted_once_with_the_same_bits(missing, monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.choice([np.nan, -2.0, -1e-36, 0.0, 1e-36, 0.3, 0.7, 5.0], (4_000, 2))
    y = np.nan_to_num(X[:, 0]) + (X[:, 1] > 0.5) + 0.01 * rng.normal(size=4_000)
    grown = lgb.train(
        {"objective": "poisson", "verbosity": -1, **missing}, lgb.Dataset(X, y - y.min()), 20
    )
    cuts: set[float] = set()
    for tree in grown.dump_model()["tree_info"]:
        cuts |= {float(w) for w in re.findall(r"'threshold': ([-\d.e]+)", str(tree))}
    X[:, 1] = np.where(rng.random(4_000) < 0.3, rng.choice(sorted(cuts), 4_000), X[:, 1])
    trees, alike = Trees(grown.model_to_string()), []
    find = boosting._find_alike
    monkeypatch.setattr(boosting, "_find_alike", lambda *a: alike.append(find(*a)) or alike[-1])
    found = trees.score(X)
    assert len(alike[0][0]) < 1_000
    monkeypatch.setattr(boosting, "_find_alike", lambda *_: None)
    np.testing.assert_array_equal(found, trees.score(X))
