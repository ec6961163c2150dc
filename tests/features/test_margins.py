"""Shrunk margin ratios: the formula against matrices, the truth of a world, and their stability."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.features.margins import MarginRates, find_variances, shrink
from crmml.features.snapshot import build_snapshot
from crmml.testing.simulate import Purchases, Spend, simulate_world

END = pd.Timestamp("2024-01-01")


def log_of(ratios: np.ndarray, lines: int, noise: float, seed: int) -> pd.DataFrame:
    """Draw lines whose margin is the customer's ratio and noise of each line."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(len(ratios)), 1 + rng.poisson(lines, len(ratios)))
    amount = np.round(rng.gamma(3, 20, who.size), 2) + 1
    margin = amount * (ratios[who] + noise * rng.standard_normal(who.size))
    day = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 300, who.size), unit="D")
    return pd.DataFrame(
        {"customer_id": who, "timestamp": day, "amount": amount, "margin": margin.round(2)}
    )


def test_shrinking_is_the_best_linear_guess():
    a, between, within, strays = np.array([3.0, 5.0, -2.0]), 0.04, 0.3, np.array([1.0, 0.2, -0.4])
    # y = a theta + a e with var(e) = within: the sum of y is what one sees
    s, q, d = a.sum(), (a**2).sum(), strays.sum()
    guess = between * s / (between * s**2 + within * q) * d
    added, weight = shrink(*(np.array([v]) for v in (s, q, d)), between, within)
    assert added[0] == pytest.approx(guess)
    assert weight[0] * d / s == pytest.approx(added[0])


def test_the_variances_and_the_ratios_of_a_world_come_back():
    rng = np.random.default_rng(4)
    truth = 0.3 + 0.1 * rng.standard_normal(3000)
    snapshot = build_snapshot(log_of(truth, 5, 0.2, 5), END)
    rates = snapshot.provenance["margins"]
    assert rates.base == pytest.approx(0.3, abs=0.01)
    assert rates.between == pytest.approx(0.01, rel=0.15)
    assert rates.within == pytest.approx(0.04, rel=0.1)
    frame = snapshot.frame.set_index("customer_id")
    error = (frame["expected_margin_ratio"] - truth[frame.index]).std()
    raw = (frame["margin_rate"] - truth[frame.index]).std()
    assert error < 0.8 * min(raw, 0.1)
    few, many = (frame.loc[frame["net_spend"].rank(pct=True).between(*b)] for b in
                 ((0, 0.2), (0.8, 1)))  # fmt: skip
    assert few["margin_weight"].mean() < 0.5 < many["margin_weight"].mean()


def test_one_line_each_says_nothing_of_customers():
    between, within = find_variances(10, 10.0, 5.0, 5.0)
    assert (between, within) == (0.0, 0.5)
    assert find_variances(0, 0.0, 0.0, 0.0) == (0.0, 0.0)


def test_categories_bought_move_the_ratio_and_few_lines_move_it_little():
    world = simulate_world(1500, seed=3, purchases=Purchases(r=1.0, alpha=5), tables=())
    snapshot = build_snapshot(world.transactions, world.end)
    frame = snapshot.frame.set_index("customer_id")
    truth = world.truth["margin_rate"].loc[frame.index]
    miss = {n: (frame[n] - truth).abs().mean() for n in ("expected_margin_ratio", "margin_rate")}
    base = (snapshot.provenance["margins"].base - truth).abs().mean()
    assert miss["expected_margin_ratio"] < 0.8 * min(miss["margin_rate"], base)


def test_a_batch_of_one_gets_what_it_gets_among_all():
    world = simulate_world(300, seed=3, spend=Spend(return_rate=0.2), tables=())
    log = world.transactions
    log = log.assign(margin=log["margin"].where(np.arange(len(log)) % 3 > 0))
    whole = build_snapshot(log, world.end)
    rates = whole.provenance["margins"]
    assert MarginRates.from_dict(rates.to_dict()) == rates
    one = log[log["customer_id"] == 7]
    alone = build_snapshot(one, world.end, margins=rates)
    mine = whole.frame.set_index("customer_id").loc[[7]]
    columns = ["expected_margin_ratio", "margin_weight", "margin_to_date", "margin_26w",
               "profit_to_date", "lines_without_margin"]  # fmt: skip
    assert alone.frame.set_index("customer_id")[columns].equals(mine[columns])
    without = build_snapshot(one.drop(columns="margin"), world.end, margins=rates)
    assert without.frame["expected_margin_ratio"].tolist() == [rates.base]
    shuffled = log.sample(frac=1, random_state=2)
    assert build_snapshot(shuffled, world.end).frame[columns].equals(whole.frame[columns])


def test_lines_without_a_margin_are_left_out_of_the_ratio():
    log = log_of(np.full(50, 0.25), 3, 0.0, 1)
    log.loc[log.index % 4 == 0, "margin"] = np.nan
    snapshot = build_snapshot(log, END)
    assert snapshot.provenance["margins"].base == pytest.approx(0.25, abs=1e-3)


def _partly(rows: pd.DataFrame, hidden: pd.Series) -> pd.DataFrame:
    return rows.assign(margin=rows["margin"].where(~hidden))


def test_a_line_without_a_margin_gets_that_of_its_category():
    """Categories of 20 % and 60 %; of one customer no line tells, of another some."""
    many = pd.DataFrame(
        {
            "customer_id": [f"c{i % 40:02d}" for i in range(400)],
            "timestamp": pd.Timestamp("2023-01-02") + pd.to_timedelta(np.arange(400) % 90, "D"),
            "amount": 10.0,
            "category": ["low", "high"] * 200,
        }
    )
    many["margin"] = np.where(many["category"] == "low", 2.0, 6.0)
    hidden = many["customer_id"].eq("c00") | (many["customer_id"].eq("c01") & (many.index > 100))
    cutoff = "2023-06-01"
    whole = build_snapshot(many, cutoff).frame.set_index("customer_id")
    partly = build_snapshot(_partly(many, hidden), cutoff).frame.set_index("customer_id")

    same = ["margin_to_date", "margin_26w", "margin_52w", "margin_rate", "profit_to_date"]
    pd.testing.assert_frame_equal(partly[same], whole[same], atol=0.02)
    told = partly["lines_without_margin"]
    assert told["c00"] == 10
    assert told["c01"] == int(hidden.sum()) - 10
    assert told.sum() == hidden.sum()
    assert (whole["lines_without_margin"] == 0).all()


def test_without_any_known_margin_there_is_none():
    rows = simulate_world(60, seed=3, tables=()).transactions
    rows = rows.drop(columns=["margin", "cost"], errors="ignore").assign(margin=np.nan)
    found = build_snapshot(rows, rows["timestamp"].max())
    assert "margin_to_date" not in found.frame
    assert found.provenance["absent"]["margin_to_date"] == "no line says what its margin is"
