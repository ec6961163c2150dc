"""Leaks are named with the evidence; what they do to an AUC shows in a shop without memory."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.config import Config, setting_names
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, FitWarning, FutureLeakError, LeakWarning
from crmml.features.labels import build_labelled
from crmml.features.selection import choose_features, feature_matrix
from crmml.features.windows import rolling_windows
from crmml.metrics.classification import auc
from crmml.models.boosting import Boosting, Trees
from crmml.models.churn.evaluation import evaluate_churn
from crmml.models.churn.guards import find_churn_leaks, find_contract_leaks, refuse_leaks
from crmml.models.churn.model import ChurnModel
from crmml.models.churn.selection import select_churn
from crmml.models.forecast.baselines import RecencyRule, labels
from crmml.testing.contracts import simulate_contracts
from crmml.training.churn_notes import leak_notes


@pytest.fixture(scope="module")
def part(cdnow_quarters):
    return cdnow_quarters[-1]


def own_columns(part) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    gone, n = labels(part), len(part)
    bought = part.outcomes["purchases"].to_numpy()
    frequency = part.snapshot.frame["frequency"].to_numpy()
    last = pd.Timestamp("1997-06-01") + pd.to_timedelta(rng.integers(0, 400, n), unit="D")
    return pd.DataFrame(
        {
            "winback_code": np.where(gone == 1, rng.integers(1, 9, n).astype(str), None),
            "shut": np.where(rng.random(n) < 0.025, 1 - gone, gone),
            "cancel_reason": np.where((gone == 1) & (rng.random(n) < 0.4), "price", "none given"),
            "churn_segment": rng.integers(0, 4, n),
            "vendor_score": gone + rng.normal(0, 1.0, n),
            "orders_to_date": frequency + bought,
            "last_seen": last.strftime("%Y-%m-%d"),
            "account_no": rng.permutation(10**6)[:n],
            "country": "US",
            "shoe_size": np.where(rng.random(n) < 0.8, np.nan, rng.integers(36, 46, n)),
            "age": rng.integers(18, 80, n),
            "region": rng.choice(["north", "south"], n),
        }
    )


def test_each_detector_names_its_column_and_the_evidence(part):
    found = {one.column: one for one in find_churn_leaks(own_columns(part), part)}
    kinds = {name: one.kind for name, one in found.items()}
    assert kinds == {
        "winback_code": "separation",
        "shut": "copy",
        "cancel_reason": "one_sided",
        "churn_segment": "name",
        "vendor_score": "vendor_score",
        "orders_to_date": "moves",
        "last_seen": "moves",
        "account_no": "id",
        "country": "constant",
        "shoe_size": "missing",
    }
    assert "AUC 1.000" in found["winback_code"].evidence
    assert "dates after the cutoff 1998-01-01" in found["last_seen"].evidence
    assert "purchases of the window, given" in found["orders_to_date"].evidence
    assert not found["vendor_score"].left_out


def test_covariates_are_held_to_the_same_detectors(part, cdnow_quarters):
    own = own_columns(part)
    with pytest.raises(FutureLeakError, match=r"'orders_to_date' follows what was bought after"):
        refuse_leaks(own[["age", "orders_to_date"]], part)
    with pytest.raises(DataError, match=r"'shoe_size' is missing for 8\d%"):
        refuse_leaks(own[["shoe_size"]], part)
    with pytest.warns(LeakWarning, match="somebody's forecast"):
        refuse_leaks(own[["vendor_score"]], part)
    parts = []
    for one in cdnow_quarters:
        frame = one.snapshot.frame.assign(orders=0.0)
        frame["orders"] = frame["frequency"] + one.outcomes["purchases"].to_numpy()
        parts.append(replace(one, snapshot=replace(one.snapshot, frame=frame)))
    with pytest.raises(FutureLeakError, match="column 'orders' follows"):
        ChurnModel(horizon="13W", covariates=["orders"]).fit(parts)


def test_a_training_names_the_columns_of_the_customers_table(part, cdnow_eighth):
    customers = own_columns(part)[["orders_to_date", "age", "country"]]
    customers.insert(0, "customer_id", part.snapshot.customer_id)
    tables = open_tables(cdnow_eighth, customers)
    notes = {note.code: note for note in leak_notes(tables, [part])}
    assert set(notes) == {"own_column_moves", "own_column_constant"}
    assert notes["own_column_moves"].severity == "warn"
    assert str(notes["own_column_moves"]).startswith("customers: column 'orders_to_date' follows")
    assert leak_notes(open_tables(cdnow_eighth), [part]) == []


# -------------------------------------------------------------------- a shop without memory


@pytest.fixture(scope="module")
def memoryless():
    """All buy at one and the same rate, whatever they did before: nothing can be foreseen."""
    rng = np.random.default_rng(5)
    n, days, rate = 500, 700, 0.5 / 91
    counts = rng.poisson(rate * days, n)
    who = np.repeat(np.arange(n), counts + 1)
    first = np.r_[0, np.cumsum(counts + 1)[:-1]]
    at = rng.uniform(1, days, len(who))
    at[first] = rng.uniform(0, 1, n)
    start = pd.Timestamp("2020-01-01")
    log = pd.DataFrame(
        {
            "customer_id": who,
            "timestamp": start + pd.to_timedelta(at, unit="D"),
            "amount": rng.gamma(2.0, 20.0, len(who)).round(2) + 0.01,
        }
    )
    tables = open_tables(log)
    windows = rolling_windows(start, start + pd.Timedelta(days=days - 1), horizon="13W", step="4W",
                              min_history="40W")  # fmt: skip
    return [build_labelled(tables, window) for window in windows]


def test_without_embargo_and_folds_by_customer_chance_looks_like_skill(memoryless):
    with warnings.catch_warnings():
        # Customers do not differ, which the purchase process says rightly.
        warnings.simplefilter("ignore", FitWarning)
        honest = select_churn(memoryless, horizon="13W", candidate_horizons=100.0, n_boot=20)
    assert honest.evaluation is not None
    assert abs(honest.evaluation.value("churn_model", "auc") - 0.5) < 0.1
    # The same trees on rows dealt at random: windows overlap, so the answer is among the questions.
    names = choose_features(memoryless)
    X = np.concatenate([feature_matrix(one.snapshot, names) for one in memoryless])
    y = np.concatenate([labels(one) for one in memoryless])
    judge = np.random.default_rng(2).random(len(y)) < 0.3
    trees = Boosting(objective="binary", learning_rate=0.1, num_leaves=31, min_leaf=5, ridge=1.0,
                     max_rounds=200, patience=30, feature_share=0.7, max_bins=127, num_threads=1,
                     seed=1)  # fmt: skip
    grown = trees.grow(X[~judge], y[~judge], 200)
    flattered = float(auc(y[judge], Trees(grown.text, 1).score(X[judge])))
    assert flattered > 0.75


def test_no_setting_switches_the_embargo_off(memoryless):
    words = ("embargo", "leak", "fold", "guard", "overlap")
    assert not [name for name in setting_names() if any(word in name for word in words)]
    assert Config.model_config.get("extra") == "forbid"
    rule = RecencyRule().fit(memoryless[:-1])
    with pytest.raises(FutureLeakError, match="overlapping windows flatter a model"):
        evaluate_churn(rule, memoryless[-1], baselines={"rule": rule})


def test_columns_written_at_the_end_of_a_contract_are_named():
    tables = simulate_contracts(400, seed=1)
    ended = tables["subscriptions"].set_index("customer_id")["ended_at"]
    customers = tables["customers"]
    when = customers["customer_id"].map(ended)
    tables["customers"] = customers.assign(closed_on=when, left=when.notna().astype(int))
    found = find_contract_leaks(open_tables(tables))
    assert [one.column for one in found] == ["closed_on", "left"]
    assert all(one.left_out for one in found)
