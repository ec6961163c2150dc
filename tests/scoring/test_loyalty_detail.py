"""Loyalty by category and in the order of the sellers: columns, one class of all, chance."""

import itertools

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.features.category_wallets import OTHERS, by_category, iterate_wallets, name_categories
from crmml.features.sequences import gather_occasions, market_shares, name_patterns
from crmml.features.snapshot import build_snapshot
from crmml.scoring.loyalty_detail import learn_loyalty_detail
from crmml.scoring.predictors import Moment
from crmml.scoring.standard import predictor_from_dict, predictor_to_dict

CUTOFF = pd.Timestamp("2024-01-01")


@pytest.fixture(scope="module")
def own(shop):
    return shop.log[shop.log["seller"] == "own"].drop(columns="seller").dropna(axis=1, how="all")


def wallets_of(tables, **how):
    names = name_categories(tables, CUTOFF, how.get("own_seller"))
    found = iterate_wallets(tables, CUTOFF, length="26W", categories=names, **how)
    return {name: wallet.frame for name, wallet in found}


def test_spend_of_all_categories_is_that_of_the_customer(own):
    tables = open_tables(own)
    wallets = wallets_of(tables)
    assert OTHERS not in wallets  # all five categories have a class of their own
    within = own[(own["timestamp"] >= CUTOFF - pd.Timedelta("26W")) & (own["timestamp"] < CUTOFF)]
    spent = sum(frame["spend"].sum() for frame in wallets.values())
    assert spent == pytest.approx(within["amount"].sum())
    table = by_category(wallets)
    assert table.index.names == ["customer_id", "category"]
    rolled = table.xs("(all)", level="category")["loyalty_class"]
    assert set(rolled.index) == set(own["customer_id"])
    classed = table.drop("(all)", level="category")["loyalty_class"]
    lapsed = (classed == "lapsed").groupby("customer_id").all()
    assert rolled[lapsed[lapsed].index].eq("lapsed").all()
    assert (rolled == "lapsed").sum() == lapsed.sum()


def test_a_panel_of_one_category_rolls_up_to_its_own_class(shop):
    log = shop.log.assign(category="all")
    wallets = wallets_of(open_tables(log), own_seller="own")
    rolled = by_category(wallets).xs("(all)", level="category")["loyalty_class"]
    classes = wallets["all"]["loyalty_class"]
    classed = ~classes.isin(["insufficient", "lapsed"])
    assert classed.sum() > 50
    assert rolled[classed].equals(classes[classed].reindex(rolled[classed].index))


def test_one_customer_alone_and_stored_equals_the_batch(own):
    tables = open_tables(own)
    detail, sequence = learn_loyalty_detail(tables, CUTOFF, "26W", "day", None)
    again = predictor_from_dict(predictor_to_dict(detail))
    whole = detail.predict(Moment(tables, build_snapshot(tables, CUTOFF)), pd.DataFrame())
    assert list(whole) == [output.name for output in detail.outputs]
    assert whole["loyalty_rolled_up"].isin(["loyal", "split"]).sum() > 30
    mine = open_tables(own[own["customer_id"] == 7])
    alone = again.predict(Moment(mine, build_snapshot(mine, CUTOFF)), pd.DataFrame())
    pd.testing.assert_frame_equal(alone, whole.loc[[7]], check_dtype=False)
    moment = Moment(tables, build_snapshot(tables, CUTOFF))
    assert sequence.predict(moment, pd.DataFrame()).empty
    assert "rivals' sales" in moment.absent["loyalty_sequence"]


def test_the_columns_are_served(trained_shop):
    table = trained_shop.scores.to_pandas()
    assert table["loyalty_rolled_up"].notna().all()
    assert table.filter(regex="^loyalty_in_").shape[1] == 5
    known = table["loyalty_sequence"] != "insufficient"
    assert known.sum() > 50
    assert table.loc[known, "loyalty_sequence_chance"].between(0, 1).all()
    assert table.loc[~known, "loyalty_sequence_chance"].isna().all()


def as_occasions(**letters):
    rows = [(name, i, s) for name, text in letters.items() for i, s in enumerate(text)]
    return pd.DataFrame(rows, columns=["customer_id", "period", "seller"])


@pytest.mark.parametrize("text", ["AAABBB", "ABABAB", "AABABBB", "AAAAAAB"])
def test_chance_of_an_order_is_that_of_all_orders(text):
    found = name_patterns(as_occasions(x=text), {"A": 0.5, "B": 0.5}, "A").loc["x"]
    runs = [sum(1 for _ in itertools.groupby(p)) for p in set(itertools.permutations(text))]
    mine = sum(1 for _ in itertools.groupby(text))
    few = found["pattern"] == "unstable"
    as_marked = np.mean([r <= mine if few else r >= mine for r in runs])
    assert found["chance"] == pytest.approx(as_marked)


@pytest.mark.parametrize(("text", "pattern"), [("A" * 6, "undivided"), ("ABCDAB", "divided")])
def test_chance_of_one_seller_alone_is_that_of_the_market(text, pattern):
    market = {"A": 0.5, "B": 0.3, "C": 0.1, "D": 0.1}
    found = name_patterns(as_occasions(x=text), market, "A").loc["x"]
    assert found["pattern"] == pattern
    if pattern == "undivided":
        assert found["chance"] == pytest.approx(sum(p**6 for p in market.values()))


def test_random_buyers_are_rarely_marked():
    rng = np.random.default_rng(1)
    letters = {f"c{i:03}": "".join(rng.choice(["A", "B"], 20)) for i in range(400)}
    found = name_patterns(as_occasions(**letters), {"A": 0.5, "B": 0.5}, "A")
    assert set(found["pattern"]) == {"divided", "unstable"}
    # two one-sided tests that share the orders: at 5 % at most a tenth
    assert (found["chance"] < 0.05).mean() < 0.1
    assert found.loc[["c007"]].equals(
        name_patterns(as_occasions(c007=letters["c007"]), {"A": 0.5, "B": 0.5}, "A")
    )


def test_an_occasion_belongs_to_the_seller_of_most_spend(shop):
    day = pd.Timestamp("2023-12-01")
    rows = [(1, day, 5.0, "a"), (1, day, 4.0, "b"), (1, day, 4.0, "b"), (2, day, 3.0, "b")]
    rows += [(2, day, 3.0, "a"), (3, day, -1.0, "a"), (3, CUTOFF, 1.0, "a")]
    log = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount", "seller"])
    seen = gather_occasions(open_tables(log), CUTOFF, "13W")
    assert seen[["customer_id", "seller"]].to_numpy().tolist() == [[1, "b"], [2, "a"]]
    assert market_shares(seen) == {"a": 0.5, "b": 0.5}
