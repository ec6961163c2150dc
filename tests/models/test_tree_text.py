"""Stored trees: the same predictions from a checked text, one sentence for an altered one."""

from __future__ import annotations

import re

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmml.exceptions import BundleError
from crmml.models.boosting import Trees
from crmml.models.tree_text import read_trees


def grown(objective="binary", rounds=3, **more):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(400, 4))
    X[::7, 1] = np.nan
    y = {"multiclass": rng.integers(0, 3, 400), "binary": (X[:, 0] > 0).astype(int)}
    target = y.get(objective, rng.poisson(np.exp(0.3 * X[:, 0])) + 0.5)
    settings = {"objective": objective, "num_leaves": 6, "verbosity": -1, "num_threads": 1, **more}
    data = lgb.Dataset(X, target, params={"verbosity": -1, "num_threads": 1})
    return lgb.train(settings, data, rounds).model_to_string(), X


TEXT, ROWS = grown()


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("binary", {}),
        ("multiclass", {"num_class": 3}),
        ("poisson", {}),
        ("gamma", {}),
        ("tweedie", {"tweedie_variance_power": 1.3}),
        ("binary", {"min_data_in_leaf": 400}),  # one leaf
    ],
)
def test_a_checked_text_predicts_as_the_text_itself(objective, more):
    text, X = grown(objective, **more)
    direct = lgb.Booster(model_str=text)
    for how in ({}, {"raw_score": True}, {"pred_contrib": True}):
        np.testing.assert_array_equal(
            lgb.Booster(model_str=read_trees(text)).predict(X, **how), direct.predict(X, **how)
        )


def test_a_split_that_sets_missing_values_apart_lies_at_infinity():
    X = np.where(np.arange(300) % 3 == 0, np.nan, 1.0)[:, None]
    data = lgb.Dataset(X, np.isnan(X[:, 0]).astype(int), params={"verbosity": -1})
    text = lgb.train({"objective": "binary", "verbosity": -1}, data, 2).model_to_string()
    assert "inf" in text
    np.testing.assert_array_equal(
        lgb.Booster(model_str=read_trees(text)).predict(X), lgb.Booster(model_str=text).predict(X)
    )


ALTERED = {
    "sizes": ("tree_sizes=.*", "tree_sizes=99999999 5 5"),
    "more leaves than values": (r"num_leaves=\d+", "num_leaves=4000"),
    "leaves below zero": (r"num_leaves=\d+", "num_leaves=-3"),
    "a feature that is not there": (r"split_feature=\d+", "split_feature=77"),
    "a child outside": (r"left_child=-?\d+", "left_child=400"),
    "a circle": (r"left_child=-?\d+", "left_child=0"),
    "one leaf too few": (r"leaf_value=\S+ ", "leaf_value="),
    "not a number": (r"leaf_value=\S+ ", "leaf_value=nan "),
    "infinite": (r"threshold=\S+ ", "threshold=1e999 "),
    "categories": ("num_cat=0", "num_cat=3"),
    "a categorical split": (r"decision_type=\d+", "decision_type=1"),
    "linear leaves": ("is_linear=0", "is_linear=1"),
    "classes": ("num_class=1", "num_class=7"),
    "trees per round": ("num_tree_per_iteration=1", "num_tree_per_iteration=2"),
    "an unknown objective": ("objective=binary", "objective=custom"),
    "features beyond memory": ("max_feature_idx=3", "max_feature_idx=2000000000"),
    "a key twice": ("num_cat=0", "num_cat=0\nnum_cat=0"),
    "an unknown key": ("num_cat=0", "num_cat=0\ncat_boundaries=0 1"),
    "a tree out of order": ("Tree=1", "Tree=5"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_text_is_refused_in_one_sentence(what):
    pattern, new = ALTERED[what]
    altered = re.sub(pattern, new, TEXT, count=1)
    assert altered != TEXT
    if what == "sizes":  # they are counted anew
        np.testing.assert_array_equal(Trees(altered).mean(ROWS), Trees(TEXT).mean(ROWS))
        return
    with pytest.raises(BundleError, match="stored trees: ") as caught:
        Trees(altered).mean(ROWS)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(place=st.floats(0, 1), new=st.text(st.characters(codec="utf-8"), max_size=3))
def test_any_altered_text_is_read_or_refused(place, new):
    at = int(place * TEXT.index("end of trees"))
    altered = TEXT[:at] + new + TEXT[at + len(new) :]
    try:
        checked = read_trees(altered)
    except BundleError:
        return
    assert np.isfinite(lgb.Booster(model_str=checked).predict(ROWS)).all()


@pytest.mark.parametrize("text", ["", "tree", "tree\nversion=v4\n", "\x00" * 50, "[1, 2]"])
def test_what_is_no_model_is_refused(text):
    with pytest.raises(BundleError, match="stored trees"):
        read_trees(text)
