"""Tastes: planted ones come back with their names, and chance is not taken for taste."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import NotFittedError, TooLittleDataError
from crmml.segments import TasteSegments, compute_product_market_map

CATEGORIES = ["tea", "cake", "oil", "wine", "soap", "nuts"]
TASTES = np.array(
    [[0.5, 0.3, 0.05, 0.05, 0.05, 0.05], [0.05, 0.05, 0.5, 0.3, 0.05, 0.05],
     [0.05, 0.05, 0.05, 0.05, 0.5, 0.3]]
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(2)
    taste, n = rng.integers(0, 3, 900), rng.integers(3, 15, 900)
    lines = [rng.multinomial(k, TASTES[j]) for j, k in zip(taste, n, strict=True)]
    index = pd.RangeIndex(900, name="customer_id")
    return taste, pd.DataFrame(np.array(lines), index, CATEGORIES)


@pytest.fixture(scope="module")
def fitted(drawn):
    return TasteSegments().fit(drawn[1])


def test_the_tastes_that_were_planted_are_found_and_named(drawn, fitted):
    taste, lines = drawn
    assert sorted(fitted.names_) == ["oil & wine", "soap & nuts", "tea & cake"]
    assert max(fitted.stability_, key=fitted.stability_.get) == 3
    planted = pd.Series(["tea & cake", "oil & wine", "soap & nuts"])[taste].to_numpy()
    assert (fitted.assign(lines).to_numpy() == planted).mean() > 0.9


def test_nobodys_taste_depends_on_the_others_or_on_the_order_of_rows_and_categories(drawn, fitted):
    lines = drawn[1]
    whole = fitted.assign(lines)
    some = lines.iloc[::-7, ::-1].assign(unknown=5)
    pd.testing.assert_series_equal(fitted.assign(some), whole[some.index])
    again = TasteSegments().fit(lines.sample(frac=1.0, random_state=1))
    assert again.to_dict() == fitted.to_dict()
    nothing = pd.DataFrame({"unknown": [3.0]}, index=[0])
    assert fitted.assign(nothing).isna().all()


def test_tastes_are_stored_as_plain_json(drawn, fitted):
    stored = json.loads(json.dumps(fitted.to_dict()))
    again = TasteSegments.from_dict(stored)
    pd.testing.assert_series_equal(again.assign(drawn[1]), fitted.assign(drawn[1]))


def test_shares_that_vary_by_chance_alone_are_no_tastes():
    rng = np.random.default_rng(4)
    lines = pd.DataFrame(rng.multinomial(8, [0.4, 0.3, 0.2, 0.1], 500), columns=list("abcd"))
    with pytest.raises(TooLittleDataError, match="no more than by chance"):
        TasteSegments().fit(lines)
    with pytest.raises(TooLittleDataError, match="50 customers"):
        TasteSegments().fit(lines.head(20))
    with pytest.raises(NotFittedError):
        TasteSegments().assign(lines)


def test_the_map_says_who_is_over_and_under_served(drawn):
    taste, lines = drawn
    long = lines.reset_index().melt("customer_id", var_name="category", value_name="n")
    log = long.loc[long.index.repeat(long["n"])].drop(columns="n")
    log = log.assign(timestamp="2024-01-05", amount=2.0)
    segments = pd.Series(np.array(["sweet", "south", "home"])[taste], lines.index)
    found = compute_product_market_map(open_tables(log), "2024-02-01", segments)
    assert found["spend"].sum() == 2.0 * lines.to_numpy().sum()
    assert found.loc[("sweet", "tea"), "served"] == "over"
    assert found.loc[("sweet", "oil"), "served"] == "under"
    assert found["lift"].between(found["lift_lower"], found["lift_upper"]).all()
    at_random = pd.Series(np.where(np.arange(900) % 2, "x", "y"), lines.index)
    chance = compute_product_market_map(open_tables(log), "2024-02-01", at_random)
    assert (chance["served"] == "alike").sum() >= 10
