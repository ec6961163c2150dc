"""Training on worlds with everything in them: the same bytes, nobody's neighbours, no future."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

import crmml
from crmml.data.profile import compute_profile
from crmml.data.tables import Tables
from crmml.exceptions import FutureLeakError, ParameterError, TooLittleDataError
from crmml.features.labels import check_no_future
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.scorer import score
from crmml.storage.files import load_bundle, save_bundle
from crmml.testing.simulate import simulate_world
from crmml.training.opening import open_configured, training_cutoff
from crmml.training.pipeline import TrainingResult, train

SETTINGS: dict[str, Any] = {
    "outcome": {"horizon": "13W", "gap": "2W"},
    "value": {"horizon": "26W"},
    "backtest": {"bootstrap": 20, "max_windows": 2, "candidates": ["mbg_nbd", "heuristic"]},
    "actions": {"budget": 50.0, "holdout_share": 0.1},
}
BARRED_SHARE = 5


@dataclass(frozen=True)
class Trained:
    """The tables of a world, and what training made of them."""

    log: pd.DataFrame
    customers: pd.DataFrame
    result: TrainingResult

    @property
    def bundle(self) -> ScoringBundle:
        return self.result.bundle

    @cached_property
    def batch(self) -> pd.DataFrame:
        """The log alone, scored by the bundle in memory."""
        return self.bundle.score(self.log)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Margins, returns, categories, channels, two tables, integer ids and a gap."""
    world = simulate_world(400, weeks=90, seed=5, tables=("customers",))
    log = world.transactions
    people = world.customers[["customer_id", "acquisition_cost"]]
    people = people.assign(contactable=people["customer_id"] % BARRED_SHARE != 0)
    with threadpool_limits(1):
        return Trained(log, people, train(SETTINGS, log, people))


def test_the_world_has_what_is_to_be_exercised(trained):
    assert {"margin", "category", "channel"} <= set(trained.log)
    assert (trained.log["amount"] < 0).any()
    assert pd.api.types.is_integer_dtype(trained.log["customer_id"])


# ------------------------------------------------------------------------------- what comes out


def test_every_customer_is_scored_with_the_columns_that_the_data_allow(trained):
    table = trained.result.scores.table
    assert table["customer_id"].is_unique
    assert pd.api.types.is_integer_dtype(table["customer_id"])
    assert table["customer_profitability"].notna().all()
    assert "customer_profitability" not in trained.result.scores.absent
    for name in ("churn_probability", "probability_alive", "probability_no_purchase"):
        assert table[name].between(0, 1).all(), name
    assert table["clv"].notna().all()
    assert (table["clv_lower"] <= table["clv_upper"]).all()
    loyalty = table.filter(like="next_loyalty_")
    np.testing.assert_allclose(loyalty.sum(axis=1), 1, rtol=1e-9)
    absent = {name for name in table if table[name].isna().all()}
    explained = trained.result.scores.absent
    assert {name for name in absent if name not in explained} <= {"policy_version"}


def test_who_must_not_be_contacted_gets_no_action(trained):
    table = trained.result.scores.table
    barred = table["customer_id"] % BARRED_SHARE == 0
    assert (table.loc[barred, "recommended_action"] == "no_action").all()
    assert (table.loc[~barred, "recommended_action"] != "no_action").any()
    gains = trained.result.scores.gains
    assert not gains.contactable[barred.to_numpy()].any()


def test_the_budget_holds(trained):
    table = trained.result.scores.table
    assert table["expected_cost"].sum() <= SETTINGS["actions"]["budget"] + 1e-6
    assert (table["expected_net_gain"] >= 0).all()


def test_metrics_have_intervals_and_gates_are_answered(trained):
    metrics = trained.result.metrics
    assert {"served_purchases_rmse", "served_clv_spearman"} <= set(metrics)
    assert isinstance(metrics["served_clv_spearman"], float)  # it describes, and decides nothing
    for name, found in metrics.items():
        assert np.isfinite(found).all(), name
        if isinstance(found, tuple):
            assert found[1] <= found[2], name
    assert isinstance(metrics["served_purchases_deviance"], tuple)
    assert trained.result.gates
    assert trained.result.label_specification["gap"] == "2W"


# ------------------------------------------------------------------------------- the same bytes


def test_shuffled_rows_and_two_threads_give_the_same_bundle_and_scores_to_the_byte(trained):
    with threadpool_limits(2):
        again = train(
            SETTINGS,
            trained.log.sample(frac=1, random_state=7),
            trained.customers.sample(frac=1, random_state=8),
        )
    assert again.bundle.to_files() == trained.bundle.to_files()
    pd.testing.assert_frame_equal(again.scores.table, trained.result.scores.table)
    assert again.metrics == trained.result.metrics
    assert again.notes == trained.result.notes


def test_a_stored_bundle_scores_like_the_one_in_memory(trained, tmp_path):
    stored = load_bundle(save_bundle(trained.bundle, tmp_path / "bundle"))
    assert stored.to_files() == trained.bundle.to_files()
    pd.testing.assert_frame_equal(stored.score(trained.log), trained.batch)


@pytest.mark.parametrize("one_in", [200, pytest.param(20, marks=pytest.mark.torture)])
def test_a_customer_alone_gets_what_it_gets_in_the_batch(trained, one_in):
    batch = trained.batch.set_index("customer_id")
    for customer in batch.index[::one_in]:
        mine = trained.log[trained.log["customer_id"] == customer]
        alone = trained.bundle.score(mine).set_index("customer_id")
        # sums over a batch may differ in the last bit
        pd.testing.assert_frame_equal(
            alone, batch.loc[[customer]], rtol=1e-9, atol=1e-12, check_dtype=False
        )


# ------------------------------------------------------------------------------- the future


def test_rows_after_the_cutoff_change_nothing(trained):
    cutoff = pd.Timestamp(trained.log["timestamp"].max()).normalize() - pd.Timedelta(weeks=10)
    known = trained.log[trained.log["timestamp"] < cutoff]
    said = trained.bundle.score(trained.log, cutoff)
    pd.testing.assert_frame_equal(said, trained.bundle.score(known, cutoff))


def test_a_planted_column_that_knows_the_outcome_is_ignored(trained):
    last = trained.log.groupby("customer_id")["timestamp"].transform("max")
    planted = trained.log.assign(bought_again_on=last, tells_all=(last > "2020").astype(int))
    tables = open_configured(trained.result.config, planted, trained.customers)
    assert "tells_all" not in tables.transactions.columns
    said = score(trained.bundle, tables, trained.result.scores.snapshot.cutoff).table
    pd.testing.assert_frame_equal(said, trained.result.scores.table)


def test_a_snapshot_that_knows_the_future_is_refused(trained):
    tables: Tables = trained.result.tables
    snapshot = trained.result.scores.snapshot
    planted = snapshot.frame.assign(net_spend=snapshot.frame["net_spend"] + 1)
    with pytest.raises(FutureLeakError, match="net_spend"):
        check_no_future(replace(snapshot, frame=planted), tables)


# ------------------------------------------------------------------------------- what is too little


def test_a_history_that_is_too_short_is_one_sentence(trained):
    start_ = trained.log["timestamp"].min()
    short = trained.log[trained.log["timestamp"] < start_ + pd.Timedelta(weeks=20)]
    with pytest.raises(TooLittleDataError, match="13W") as caught:
        train(SETTINGS, short)
    assert "\n" not in str(caught.value)


def test_mistakes_that_need_no_data_come_first():
    wrong = {**SETTINGS, "backtest": {"candidates": ["magic"]}}
    with pytest.raises(ParameterError, match="magic"):
        train(wrong, "no such file.csv")


@pytest.mark.parametrize(
    ("cutoff", "words"), [("1999-01-01", "nothing lies before"), ("2999-01-01", "the data end on")]
)
def test_a_cutoff_outside_the_data_is_refused(cutoff, words, trained):
    config = trained.result.config.model_copy(update={"cutoff": cutoff})
    with pytest.raises(TooLittleDataError, match=words):
        training_cutoff(config, trained.result.tables)


@pytest.mark.torture  # the short form trains on shuffled rows with two threads, above
@pytest.mark.parametrize("whole", [False, True])
def test_the_number_of_threads_of_a_process_changes_no_bit(whole, cdnow_eighth, tmp_path):
    log = crmml.load_cdnow(sample=True) if whole else cdnow_eighth
    log.to_csv(tmp_path / "log.csv", index=False)
    code = (
        "import crmml, hashlib\n"
        "config = {'data': {'transactions': {'path': 'log.csv'}},"
        " 'outcome': {'horizon': '8W'},"
        " 'backtest': {'bootstrap': 20, 'max_windows': 1, 'candidates': ['mbg_nbd']}}\n"
        "table = crmml.train(config).scores.table\n"
        "print(hashlib.sha256(table.to_csv(float_format='%.17g').encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout
        for n in ("1", "2")
    }
    assert len(said) == 1


# ------------------------------------------------------------- how the results show themselves


def results(trained) -> dict[str, Any]:
    result = trained.result
    spend = result.bundle.lifetime_value.spend_model_
    return {
        "training": result,
        "scores": result.scores,
        "snapshot": result.scores.snapshot,
        "backtest": result.backtest,
        "window": result.backtest.graded,
        "labelled": result.backtest.graded.labelled,
        "churn": result.churn,
        "evaluation": result.churn.evaluation,
        "recommendation": result.scores.recommendation,
        "allocation": result.scores.recommendation.allocation,
        "gains": result.scores.gains,
        "summary": spend.summary(),
        "profile": compute_profile(result.tables),
    }


def test_every_result_shows_itself_on_one_line_and_one_screen(trained):
    shown = results(trained) | {
        "bundle": trained.bundle,
        "value": trained.bundle.lifetime_value,
        "forecast": trained.bundle.forecast,
        "loyalty": trained.bundle.loyalty,
        "look": crmml.read(trained.log.head(50)).look,
    }
    for name, one in shown.items():
        if one is None:
            continue
        kind = type(one)
        partial = kind.__new__(kind)
        partial.__dict__.update(dict(list(one.__dict__.items())[:1]))
        for value in (one, kind.__new__(kind), partial):
            line, lines = repr(value), str(value).split("\n")
            assert line.isascii() and len(line) <= 200 and "\n" not in line, name  # noqa: PT018
            assert len(lines) <= 15 and max(map(len, lines)) <= 100, name  # noqa: PT018
            assert str(value).isascii(), name
            if name != "look":
                assert len(value._repr_html_()) <= 4_000, name


def test_every_result_is_a_table_and_has_a_picture(trained):
    for name, one in results(trained).items():
        if one is None:
            continue
        table = one.to_pandas()
        assert isinstance(table, pd.DataFrame), name
        judged = name != "churn" or one.evaluation is not None
        assert bool(len(table)) is judged, name
        ax = Figure().subplots()
        assert one.plot(ax=ax) is ax, name
        assert ax.get_title(loc="left"), name
        assert ax.has_data() is judged, name


def test_a_changed_table_leaves_the_result_as_it_was(trained):
    for name in ("scores", "snapshot", "backtest", "recommendation", "evaluation"):
        one = results(trained)[name]
        if one is not None:
            before = one.to_pandas()
            table = one.to_pandas()
            table["added"] = 1
            pd.testing.assert_frame_equal(one.to_pandas(), before)


def test_the_table_of_a_training_holds_its_metrics(trained):
    table, metrics = trained.result.to_pandas(), trained.result.metrics
    assert list(table.index) == list(metrics)
    for name, value in metrics.items():
        row = table.loc[name]
        if isinstance(value, tuple):
            assert tuple(row) == value
        else:
            assert row["value"] == value
            assert row[["lower", "upper"]].isna().all()
