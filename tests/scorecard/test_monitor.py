"""A simulated year: what drifts is found within two windows, and a quiet year stays quiet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

import crmml
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import DataError, ParameterError, StorageError
from crmml.scorecard.alarms import chart_alarms, chart_gaps
from crmml.scorecard.monitor import Monitoring, monitor
from crmml.scorecard.shifts import compare_columns
from crmml.storage.scores import LISTS, partition_of, write_scores
from crmml.testing.simulate import simulate_world
from crmml.training.pipeline import train

START, WEEKS, HORIZON = pd.Timestamp("2021-01-04"), 130, 8
CUTOFFS = range(78, 127, 4)
TURN = 98
"""The week in which what is planted begins; the first window after it closes at week 106."""


@dataclass
class World:
    """Customers who buy at rates of their own; scores are the truth until something turns."""

    joined: np.ndarray
    rate: np.ndarray
    log: pd.DataFrame


def draw_world(seed: int, *, n: int = 900, slower: float = 1.0, shuffled: bool = False) -> World:
    rng = np.random.default_rng(seed)
    joined = rng.integers(0, WEEKS, n)
    rate = rng.gamma(0.8, 0.25, n)
    weeks = np.arange(WEEKS)
    later = rng.permutation(rate) if shuffled else rate * slower
    by_week = np.where(weeks[None, :] < TURN, rate[:, None], later[:, None])
    bought = rng.random((n, WEEKS)) < 1.0 - np.exp(-by_week)
    bought &= weeks[None, :] > joined[:, None]
    bought[np.arange(n), joined] = True
    who, week = np.nonzero(bought)
    log = pd.DataFrame(
        {
            "customer_id": who,
            "timestamp": START + pd.to_timedelta(7 * week, unit="D"),
            "amount": rng.gamma(4.0, 5.0, len(who)).round(2),
        }
    )
    return World(joined, rate, log)


def score_at(world: World, week: int, *, dearer: float = 1.0) -> pd.DataFrame:
    """Return what the true model says at a cutoff; ``dearer`` breaks an input."""
    cutoff = START + pd.Timedelta(weeks=week)
    past = world.log[world.log["timestamp"] < cutoff]
    by = past.groupby("customer_id")
    at = by["timestamp"].agg(["min", "max", "size"])
    at.index.name = None
    mean = HORIZON * (1.0 - np.exp(-world.rate[at.index]))
    p = 1.0 - np.exp(-world.rate[at.index])
    price = by["amount"].mean().to_numpy() * dearer
    return pd.DataFrame(
        {
            "customer_id": np.asarray(at.index),
            "frequency": at["size"] - 1.0,
            "T": (cutoff - at["min"]).dt.days / 7.0,
            "inactivity": (cutoff - at["max"]).dt.days / 7.0,
            "monetary_value": price,
            "expected_purchases": mean,
            "expected_spend": mean * 20.0,
            "churn_probability": (1.0 - p) ** HORIZON,
            "purchases_lower": poisson.ppf(0.1, mean),
            "purchases_upper": poisson.ppf(0.9, mean),
            "value_tier": np.where(mean > np.quantile(mean, 0.8), "A", "B"),
            "model_version": "true",
        }
    )


def release(
    world: World,
    folder: Path,
    *,
    last: int = WEEKS,
    every: int = 1,
    dearer: float = 1.0,
    lists: bool = True,
) -> Path:
    """Write the scores of each month up to a week, with or without the summaries beside them."""
    for week in (w for w in CUTOFFS[::every] if w <= last):
        cutoff = START + pd.Timedelta(weeks=week)
        scores = score_at(world, week, dearer=dearer if week >= TURN else 1.0)
        write_scores(scores, folder, cutoff)
        if lists:
            home = folder / LISTS / f"cutoff={partition_of(cutoff)}"
            home.mkdir(parents=True)
            summary = {"horizon": f"{HORIZON}W", "gap": None, "grain": "day"}
            (home / "summary.json").write_text(json.dumps(summary))
    return folder


def until(world: World, week: int) -> Tables:
    """Return the log as it was known at the end of a week."""
    end = START + pd.Timedelta(weeks=week)
    log = world.log[world.log["timestamp"] < end]
    last = pd.DataFrame({"customer_id": [0], "timestamp": [end - pd.Timedelta(days=1)],
                         "amount": [1.0]})  # fmt: skip
    if "margin" in log:
        last["margin"] = 0.5
    return open_tables(pd.concat([log, last]))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> list[Monitoring]:
    found = []
    for seed in range(3):
        world = draw_world(seed)
        folder = release(world, tmp_path_factory.mktemp(f"quiet{seed}"), every=2)
        found.append(monitor(folder, until(world, WEEKS)))
    return found


def test_quiet_years_raise_at_most_one_false_alarm(quiet):
    assert sum(len(found.alarms) for found in quiet) <= 1
    one = quiet[0]
    assert len(one.windows) == len([week for week in CUTOFFS[::2] if week + HORIZON <= WEEKS])
    assert one.quiet
    assert one.advice == ()
    assert one.windows["coverage"].min() >= 0.8
    assert (one.windows["auc"] > one.windows["auc_rule"]).all()
    assert set(one.groups["by"]) == {"all", "bucket", "tier"}
    assert "PIT" in str(one.notes)
    assert "no control chart yet" in str(one.notes)


SECOND = TURN + 4 + HORIZON
"""The week in which the second window after the turn is closed."""


@pytest.mark.parametrize(
    ("planted", "dearer", "kind", "do"),
    [
        ({"slower": 0.5}, 1.0, "level", "recalibrate"),
        ({"shuffled": True}, 1.0, "ranking", "retrain"),
        ({}, 1.8, "shift", "look at the data"),
    ],
)
def test_what_drifts_is_found_within_two_windows(tmp_path, planted, dearer, kind, do):
    world = draw_world(7, **planted)
    found = monitor(release(world, tmp_path, last=SECOND, dearer=dearer), until(world, SECOND))
    mine = found.current[found.current["kind"] == kind]
    assert not found.quiet
    assert set(mine["do"]) == {do}
    assert do in found.advice
    before = found.alarms["cutoff"] < START + pd.Timedelta(weeks=TURN - HORIZON)
    assert not before.any(), found.alarms[before]
    if kind == "level":
        assert set(mine["what"]) == {"churn", "purchases", "spend"}
        assert "retrain" not in found.advice


def test_scores_without_lists_need_the_horizon(tmp_path):
    world = draw_world(1, n=300)
    folder = release(world, tmp_path, last=82, lists=False)
    with pytest.raises(
        ParameterError, match="--horizon must be given for the scores of 2022-07-04"
    ):
        monitor(folder, until(world, 90))
    found = monitor(folder, until(world, 87), horizon="8W", value_horizon="8W")
    assert len(found.windows) == 1
    assert found.windows["model_version"].item() == "true"
    assert "1 of 2 score set(s) wait" in found.notes[0]
    with pytest.raises(StorageError, match="there are no scores"):
        monitor(tmp_path / "empty", until(world, 87))
    with pytest.raises(ParameterError, match="tolerance"):
        monitor(folder, until(world, 87), horizon="8W", tolerance=0.0)
    few = score_at(world, CUTOFFS[0])[["customer_id", "T"]]
    write_scores(few, tmp_path / "few", START + pd.Timedelta(weeks=CUTOFFS[0]))
    with pytest.raises(DataError, match="none of churn_probability, expected_purchases"):
        monitor(tmp_path / "few", until(world, 87), horizon="8W")


def test_lifetime_value_is_judged_where_its_window_has_closed(tmp_path):
    world = draw_world(1, n=300)
    world.log["margin"] = (world.log["amount"] * 0.5).round(2)
    week = CUTOFFS[0]
    scores = score_at(world, week)
    value = scores["expected_spend"] * 0.5
    scores = scores.assign(clv=value, clv_lower=0.0, clv_upper=value * 4)
    write_scores(scores, tmp_path, START + pd.Timedelta(weeks=week))
    found = monitor(tmp_path, until(world, 90), horizon="8W", value_horizon="8W")
    row = found.windows.iloc[0]
    assert row["clv_bias"] == pytest.approx(row["spend_bias"], abs=0.01)
    assert 0.7 < row["clv_coverage"] < 1.0
    strangers = scores.assign(customer_id=scores["customer_id"] + 10_000)
    write_scores(strangers, tmp_path, START + pd.Timedelta(weeks=week))
    with pytest.raises(DataError, match="no customer of the scores of 2022-07-04 is in the data"):
        monitor(tmp_path, until(world, 90), horizon="8W")


def test_gaps_of_windows_that_do_not_overlap_are_charted():
    cutoffs = pd.date_range("2020-01-01", periods=24, freq="28D")
    windows = pd.DataFrame({"cutoff": cutoffs, "closes": cutoffs + pd.Timedelta(days=56)})
    gaps = np.random.default_rng(0).normal(0, 1, 24) + np.where(np.arange(24) == 23, 9.0, 0.0)
    groups = pd.DataFrame(
        {"cutoff": cutoffs, "by": "all", "measure": "purchases", "in_errors": gaps}
    )
    charts = chart_gaps(groups, windows, 0.05)
    assert len(charts["purchases"].table) == 12
    found = chart_alarms(charts, windows, pd.DataFrame({"cutoff": []}))
    assert found["current"].tolist() == [True]
    assert found["do"].tolist() == ["recalibrate"]
    assert chart_gaps(groups, windows.tail(12), 0.05) == {}


def test_a_result_shows_itself_and_names_no_customer(quiet):
    found = quiet[0]
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert "customer_id" not in text
    assert found.to_pandas().equals(found.windows)
    assert found.sentence() in str(found)
    assert crmml.monitor is monitor


def draw_columns(rng, older, *, unknown=None):
    """Draw a score set of customers and contracts of an age, whose value falls with it."""
    n, age = 800, rng.integers(0, 40, 800) + older
    return pd.DataFrame(
        {
            "T": rng.integers(0, 60, n) * 1.0,
            "contract_age": age,
            "contract_value": 1.0 / (1.0 + age) + rng.normal(0, 0.005, n),
            "contract_fee": rng.normal(9, 1, n),
            "churn_probability": 0.5,
            "net_clv": rng.normal(5, 1, n) - (0 if unknown else 3),
            "profit_unknown": unknown,
        }
    )


def test_what_is_said_of_contracts_is_compared_at_equal_age_of_the_contract():
    rng = np.random.default_rng(3)
    before, after = draw_columns(rng, 0), draw_columns(rng, 10)
    found = compare_columns(before, after, bands=24)
    assert found.loc[["contract_value", "contract_fee"], "p_value"].min() > 0.01
    dearer = after.assign(contract_value=after["contract_value"] + 0.02)
    assert compare_columns(before, dearer, bands=24).loc["contract_value", "p_value"] < 1e-6
    # without the age of the contract nothing is said of it
    bare = compare_columns(before.drop(columns="contract_age"), after, bands=24)
    assert set(bare.index) == {"net_clv"}


def test_what_rests_on_costs_is_compared_where_the_same_costs_are_known(tmp_path):
    world, rng = draw_world(1, n=800), np.random.default_rng(4)
    sets = {78: "service_cost", 82: "service_cost", 86: None}
    for week, unknown in sets.items():
        scores = draw_columns(rng, 0, unknown=unknown).rename_axis("customer_id").reset_index()
        write_scores(scores, tmp_path, START + pd.Timedelta(weeks=week))
    found = monitor(tmp_path, until(world, 88), horizon="8W")
    assert found.quiet
    compared = found.shifts[found.shifts["column"] == "net_clv"]
    assert compared["cutoff"].tolist() == [START + pd.Timedelta(weeks=82)]
    assert "some score sets know costs that others do not (service_cost)" in str(found.notes)


def test_rare_values_are_put_together():
    rng = np.random.default_rng(0)
    names = np.array(["a", *(f"r{k}" for k in range(9))])
    p = np.r_[0.94, np.full(9, 0.06 / 9)]
    smallest = [
        compare_columns(
            *(pd.DataFrame({"group": rng.choice(names, 400, p=p)}) for _ in range(2)), bands=1
        )["p_value"].item()
        for _ in range(200)
    ]
    assert np.mean(np.array(smallest) < 0.05) < 0.08


@pytest.mark.torture
def test_ten_quiet_worlds_of_all_tables_raise_at_most_one_shift(tmp_path):
    """Score and watch worlds of which the tables tell only at the end what service cost.

    They are alike, so that the model of the first serves all.
    """
    found: list[str] = []
    bundle = None
    for seed in range(10):
        tables = simulate_world(600, seed=seed, weeks=130).tables
        first = START_OF_WORLDS + pd.Timedelta(weeks=78)
        if bundle is None:
            known = {n: t[t["timestamp"] < first] if "timestamp" in t else t
                     for n, t in tables.items()}  # fmt: skip
            bundle = train(CHEAP, known).bundle
        for week in range(78, 131, 13):
            cutoff = START_OF_WORLDS + pd.Timedelta(weeks=week)
            write_scores(bundle.score(tables, cutoff), tmp_path / str(seed), cutoff)
        watch = monitor(tmp_path / str(seed), tables, horizon="13W")
        assert len(watch.shifts) > 150
        found += watch.alarms.loc[watch.alarms["kind"] == "shift", "text"].tolist()
    assert len(found) <= 1, found


START_OF_WORLDS = pd.Timestamp("2022-01-03")
CHEAP = {
    "backtest": {"bootstrap": 20, "max_windows": 1, "candidates": ["pareto_nbd"]},
    "contracts": {"max_windows": 1},
}
