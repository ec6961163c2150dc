"""Shapley values by tables are those of LightGBM, and many times as fast."""

import numpy as np
import pytest

from crmml.models.boosting import Boosting
from crmml.models.tree_shares import family_shares


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(4000, 12))
    X[:, 2] = np.round(X[:, 2])
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 5] = np.nan_to_num(X[:, 5])  # never missing at training
    y = (rng.random(4000) < 1 / (1 + np.exp(-np.nan_to_num(X[:, :6]).sum(axis=1)))).astype(float)
    return X, y


@pytest.mark.parametrize("settings", [{}, {"num_leaves": 3}, {"num_leaves": 31}])
def test_families_get_the_sums_of_lightgbms_own_values(rows, settings):
    X, y = rows
    trees = Boosting(objective="binary", **settings).grow(X, y, 12)
    judged = X[:300].copy()
    judged[:50, 5] = np.nan  # missing at scoring only
    family = np.arange(12) % 5
    found = family_shares(trees, judged, family, 5)
    plain = trees.contributions(judged)
    assert found[:, :-1] == pytest.approx(plain[:, :-1] @ np.eye(5)[family], abs=1e-12)
    assert found[:, -1] == pytest.approx(plain[:, -1], abs=1e-12)
    assert found.sum(axis=1) == pytest.approx(trees.score(judged), abs=1e-12)


def test_trees_that_say_nothing_say_it_of_everybody(rows):
    X, y = rows
    trees = Boosting(objective="binary", min_leaf=4000).grow(X, y, 2)
    found = family_shares(trees, X[:3], np.zeros(12, dtype=np.int64), 1)
    assert (found[:, 0] == 0.0).all()
    assert found[:, 1] == pytest.approx(trees.score(X[:3]))
