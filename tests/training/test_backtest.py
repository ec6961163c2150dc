"""Backtests: what is compared, what is chosen, and what the intervals mean."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

from crmml.cli.display import rank_leaderboard
from crmml.config import BacktestSection
from crmml.data.datasets import load_cdnow
from crmml.data.tables import open_tables
from crmml.exceptions import (
    CensoredWindowError,
    CrmmlError,
    CrmmlWarning,
    FitWarning,
    FutureLeakError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot, build_labelled, build_outcomes
from crmml.features.snapshot import build_snapshot
from crmml.features.tracking import count_weekly_purchases
from crmml.features.windows import Window
from crmml.metrics import counts
from crmml.metrics.bootstrap import (
    Replicates,
    hash_keys,
    replicate,
    resampling_weights,
)
from crmml.metrics.table import describe_metric
from crmml.models.forecast.forecasters import Forecaster, ProcessForecaster
from crmml.models.purchase.compose import kept_clocks
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.notes import Note
from crmml.training.backtest import choose_and_grade, run_backtest
from crmml.training.candidates import CANDIDATES, find_competitors, make_candidate
from crmml.training.choose import choose, summarise
from crmml.training.evaluate import (
    DECIDED_BY,
    EvaluatedWindow,
    evaluate_window,
    find_best,
)
from crmml.training.windows import build_training_windows

HOLDOUT = Window("1997-10-01", "39W")
QUARTERS = [Window("1997-10-01", "13W"), Window("1997-12-31", "13W")]


@pytest.fixture(scope="module")
def tables(cdnow_tables):
    return cdnow_tables


@pytest.fixture(scope="module")
def cache():
    return {}


@pytest.fixture(scope="module")
def holdout(tables, cache):
    names = ("heuristic", "bg_nbd_plain", "pareto_nbd", "lifetimes_bg_nbd", "tweedie", "hybrid")
    return run_backtest(tables, [HOLDOUT], names, n_boot=50, cache=cache)


def value(backtest, candidate, metric):
    board = backtest.leaderboard.set_index(["candidate", "metric"])
    return float(board.loc[(candidate, metric), "value"])


@pytest.mark.parametrize(
    ("candidate", "mae", "rmse", "correlation", "bias"),
    [
        ("bg_nbd_plain", 0.785, 1.608, 0.626, -0.121),
        ("lifetimes_bg_nbd", 0.785, 1.608, 0.626, -0.121),
        ("pareto_nbd", 0.755, 1.603, 0.630, -0.115),
    ],
)
def test_cdnow_sample_as_measured_with_lifetimes_0_11_3(
    holdout, candidate, mae, rmse, correlation, bias
):
    assert value(holdout, candidate, "purchases_mae") == pytest.approx(mae, abs=6e-4)
    assert value(holdout, candidate, "purchases_rmse") == pytest.approx(rmse, abs=6e-4)
    assert value(holdout, candidate, "purchases_pearson") == pytest.approx(correlation, abs=6e-4)
    assert value(holdout, candidate, "purchases_bias") == pytest.approx(bias, abs=6e-4)


def test_spend_on_cdnow_sample_as_measured_with_lifetimes_0_11_3(holdout):
    for metric, known in (("bias", -0.156), ("spearman", 0.426), ("gini", 0.638)):
        assert value(holdout, "bg_nbd_plain", f"spend_{metric}") == pytest.approx(known, abs=6e-4)


def test_one_window_with_a_candidate_that_cannot_learn(holdout):
    assert list(holdout.skipped) == ["tweedie"]
    assert "39W" in holdout.skipped["tweedie"]
    assert "tweedie" not in set(holdout.leaderboard["candidate"])
    assert (holdout.leaderboard["windows"] == 1).all()
    # It grades, so what was bought before it chose.
    assert (holdout.chose_on, holdout.graded) == ([], holdout.windows[0])
    models = {k: holdout.graded.fitted[k].purchase_model_ for k in ("bg_nbd_plain", "pareto_nbd")}
    assert holdout.chosen == max(models, key=lambda name: models[name].log_likelihood_)
    assert f"{holdout.chosen} is chosen by the likelihood of purchases before" in holdout.reason
    assert "only one outcome window fits into the data, from 1997-10-01 on, and it grades" in (
        holdout.reason
    )


RANKED = ("pearson", "spearman", "gini", "decile_mape", "top_decile_found", "top_decile_lift")


def test_table_holds_what_the_issue_asks(holdout):
    board = holdout.leaderboard.pivot(index="candidate", columns="metric", values="value")
    asked = {"mae", "rmse", "bias", "spearman", "gini", "decile_mape", "top_decile_found"}
    assert {f"{what}_{m}" for what in ("purchases", "spend") for m in asked} <= set(board.columns)
    for name in ("bg_nbd_plain", "pareto_nbd", "hybrid"):
        own = board.loc[name, ["crps", "log_score", "coverage_80", "cumulative_mape"]]
        assert own.notna().all()
        assert board.loc[name, "purchases_mae_of_median"] < board.loc[name, "purchases_mae"]
    assert {describe_metric(name) for name in board.columns}.isdisjoint(board.columns)
    # Figures that describe an order have no interval; the errors all have one.
    around = holdout.leaderboard.dropna(subset="lower")
    described = set(holdout.leaderboard["metric"]) - set(around["metric"])
    assert described == {f"{w}_{m}" for w in ("purchases", "spend") for m in RANKED}
    assert (around["lower"] <= around["value"] + 0.05 * around["value"].abs()).all()


def test_tracking_ends_at_the_totals(holdout):
    judged = holdout.windows[0]
    last = judged.tracking.iloc[-1]
    assert len(judged.tracking) == 39
    assert last["actual"] == judged.labelled.outcomes["purchases"].sum() == 1882
    for name in judged.tracking.columns[1:]:
        assert last[name] == pytest.approx(judged.forecasts[name]["purchases"].sum())
        found = counts.cumulative_mape(
            judged.tracking["actual"].to_numpy(), judged.tracking[name].to_numpy()
        )
        assert value(holdout, name, "cumulative_mape") == pytest.approx(found)


@pytest.mark.parametrize("grain", ["day", "week"])
def test_weekly_purchases_add_up_to_outcomes_of_shorter_windows(tables, grain):
    weekly = None
    for weeks in (1, 2, 5):
        done = build_outcomes(tables, Window("1997-10-01", f"{weeks}W"), grain=grain)
        if weekly is None:
            weekly = count_weekly_purchases(
                tables, Window("1997-10-01", "5W"), done.index[::-1], grain=grain
            )
        np.testing.assert_array_equal(
            weekly[::-1, :weeks].sum(axis=1), done["purchases"].to_numpy()
        )
    with pytest.raises(CensoredWindowError, match="censored"):
        count_weekly_purchases(tables, Window("1998-06-01", "5W"), pd.Index([1]))


def test_windows_share_one_resampling_and_no_fit_warns_aloud(tables, cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error", CrmmlWarning)
        found = run_backtest(
            tables, QUARTERS, ["heuristic", "pareto_nbd", "mbg_nbd"], n_boot=40, cache=cache
        )
    assert [one.labelled.window for one in found.windows] == QUARTERS
    assert (found.leaderboard["windows"] == 1).all()
    assert (found.chose_on, found.graded) == (found.windows[:1], found.windows[1])
    assert "on the window from 1997-12-31 on, which did not help to choose, " in found.reason
    assert found.chosen != "heuristic"
    first, second = (one.replicates for one in found.windows)
    mean = Replicates.mean([first, second])
    np.testing.assert_allclose(mean.draws, (first.draws + second.draws) / 2.0)
    board = summarise(found.windows).set_index(["candidate", "metric"])
    tails = np.quantile(mean.draws[mean.rows.index(("pareto_nbd", DECIDED_BY))], [0.05, 0.95])
    found_tails = board.loc[("pareto_nbd", DECIDED_BY), ["lower", "upper"]]
    np.testing.assert_allclose(found_tails.to_numpy(dtype=float), tails)


def test_one_customer_weighs_the_same_in_every_window():
    keys = hash_keys(range(100))
    np.testing.assert_array_equal(
        resampling_weights(keys, 7, 3)[:, 40:60], resampling_weights(keys[40:60], 7, 3)
    )


def test_notes_are_said_once(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])

    class Doubtful(Forecaster):
        complexity = 0

        def fit(self, snapshot, windows=(), *, fits=None):
            for figure in ("0.25", "1e-3"):
                warnings.warn(f"only {figure} left", FitWarning, stacklevel=2)
            return self

        def forecast(self, snapshot):
            mean = labelled.outcomes["purchases"].mean()
            return pd.DataFrame({"purchases": mean, "spend": 1.0}, snapshot.customer_id)

    judged = evaluate_window(labelled, [], {"doubtful": Doubtful()}, n_boot=20)
    fit = f"doubtful fitted at {QUARTERS[0].cutoff.date()}"
    assert judged.notes == (Note("limited_fit", "warn", "only 1e-3 left", fit, count=2),)
    found = run_backtest(tables, QUARTERS[:1], ["pareto_nbd"], n_boot=20, cache=cache)
    again = type(found)([judged, judged], found.leaderboard, "", "why").notes
    # who is not chosen concerns nobody: for information only
    assert [(note.code, note.severity, note.count) for note in again] == [
        ("choice", "info", 1),
        ("limited_fit", "info", 4),
    ]


def test_candidates_are_copied_and_order_of_rows_is_nothing(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])
    candidates = {"pareto_nbd": make_candidate("pareto_nbd", "13W")}
    judged = evaluate_window(labelled, [], candidates, n_boot=20)
    assert not hasattr(candidates["pareto_nbd"], "purchase_model_")
    order = np.random.default_rng(0).permutation(len(labelled))
    snapshot = labelled.snapshot.__class__(
        labelled.snapshot.frame.iloc[order].reset_index(drop=True), labelled.snapshot.cutoff
    )
    mixed = LabelledSnapshot(snapshot, labelled.outcomes.iloc[order], labelled.window)
    again = evaluate_window(mixed, [], candidates, n_boot=20)
    pd.testing.assert_frame_equal(again.table, judged.table, rtol=1e-8)


def test_of_many_customers_a_sample_is_judged(tables, cache, monkeypatch):
    labelled = build_labelled(tables, QUARTERS[0])
    monkeypatch.setattr("crmml.training.evaluate._MOST_EVALUATED", 1000)
    judged = evaluate_window(
        labelled, [], {"pareto_nbd": make_candidate("pareto_nbd", "13W")}, n_boot=20
    )
    assert len(judged.forecasts["pareto_nbd"]) == len(labelled)
    assert 900 < len(judged.pit["pareto_nbd"]) < 1100


def test_training_windows_close_before_the_cutoff_and_shorten_with_the_history(tables, cache):
    for horizon in ("13W", "39W"):
        found = build_training_windows(tables, HOLDOUT.cutoff, horizon, cache=cache)
        assert 1 <= len(found) <= 3
        assert all(part.window.closes <= HOLDOUT.cutoff for part in found)
        assert [p.window.cutoff for p in found] == sorted(p.window.cutoff for p in found)
    assert found[0].window.horizon.number == 91  # a third of 273 days
    assert len(build_training_windows(tables, HOLDOUT.cutoff, "13W", most=1, cache=cache)) == 1
    assert build_training_windows(tables, pd.Timestamp("1997-01-15"), "13W", cache=cache) == []


def test_a_training_window_from_the_future_is_refused(tables, cache):
    first, second = (build_labelled(tables, window) for window in QUARTERS)
    with pytest.raises(FutureLeakError, match="knows what is to be forecast"):
        evaluate_window(first, [second], {"pareto_nbd": make_candidate("pareto_nbd", "13W")})


def said(snapshot, forecasts, complexity=1):
    """One window in which each candidate said something, judged."""
    outcomes = snapshot.outcomes["purchases"].to_numpy(dtype=np.float64)
    statistics = {
        name: {DECIDED_BY: counts.statistics(outcomes, forecast)["rmse"]}
        for name, forecast in forecasts.items()
    }
    ids = snapshot.snapshot.customer_id
    found = replicate(statistics, hash_keys(ids), n_replicates=100)
    fitted = {name: make_candidate(name, "13W") for name in forecasts}
    empty = pd.DataFrame()
    return EvaluatedWindow(snapshot, fitted, {}, found, empty, {}, empty, {})


def test_ties_go_to_the_simpler_and_baselines_are_not_served(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])
    y = labelled.outcomes["purchases"].to_numpy(dtype=np.float64)
    noise = np.random.default_rng(1).normal(size=(2, len(y)))
    close, closer = y + noise[0], y + 0.98 * noise[1]
    found = choose([said(labelled, {"pareto_nbd": close, "hybrid": closer})])
    assert found.name == "pareto_nbd"
    assert "no different beyond chance from hybrid" in found.reason
    assert "simpler" in found.reason
    # Trees that tie with the blend by their noise do not win over a process that is closer to it.
    steady = {"pareto_nbd": 1.01 * noise[0], "blend": noise[0], "tweedie": 1.02 * noise[1]}
    assert choose([said(labelled, {k: y + v for k, v in steady.items()})]).name == "blend"
    far = said(labelled, {"pareto_nbd": y + 2.0 * noise[1], "hybrid": closer})
    found = choose([far])
    assert found.name == "hybrid"
    assert "the least; next is pareto_nbd" in found.reason
    served = said(labelled, {"lifetimes_bg_nbd": y, "bg_nbd": y + noise[0]})
    found = choose([served])
    assert found.name == "bg_nbd"
    assert "the least that can be served" in found.reason
    with pytest.raises(CrmmlError, match="no candidate of crmml stood"):
        choose([said(labelled, {"lifetimes_bg_nbd": y})])


def test_mistakes_are_named(tables, cache):
    with pytest.raises(TooLittleDataError, match="needs an outcome window"):
        run_backtest(tables, [], ["bg_nbd"])
    with pytest.raises(ParameterError, match="got 'bgnbd'"):
        run_backtest(tables, [HOLDOUT], ["bgnbd"])
    for windows in ([HOLDOUT, QUARTERS[0]], [Window("1997-10-01", "13W", "1W")]):
        with pytest.raises(ParameterError, match="of one horizon and without a gap"):
            run_backtest(tables, windows, ["bg_nbd"])
    with pytest.raises(TooLittleDataError, match="no candidate could be fitted: tweedie"):
        run_backtest(tables, [HOLDOUT], ["tweedie"], cache=cache)


def test_processes_meet_spend_models():
    found = make_candidate("pareto_nbd/own_mean", "13W")
    assert isinstance(found, ProcessForecaster)
    assert type(found.purchase_model) is ParetoNBDModel
    assert type(make_candidate("bg_nbd_plain", "13W").spend_model) is GammaGammaModel
    assert {"heuristic", "tweedie", "hurdle", "hybrid", "blend"} <= set(CANDIDATES)


def test_a_candidate_without_a_loss_is_never_the_best():
    rows = [("heuristic", "spend_rmse"), ("bg_nbd", DECIDED_BY), ("mbg_nbd", DECIDED_BY)]
    found = Replicates(rows, np.array([1.0, 2.0, np.nan]), np.zeros((3, 5)))
    assert find_best(found, ["heuristic", "bg_nbd", "mbg_nbd"]) == "bg_nbd"


def test_what_failed_in_the_hardest_window_never_stands_first(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])
    y = labelled.outcomes["purchases"].to_numpy(dtype=np.float64)
    noise = np.random.default_rng(1).normal(size=len(y))
    hard = said(labelled, {"pareto_nbd": y + 9.0 * noise, "heuristic": y + 10.0 * noise})
    easy = {"pareto_nbd": y + noise, "heuristic": y + 2.0 * noise, "tweedie": y + 1.5 * noise}
    windows = [hard, said(labelled, easy)]
    board = summarise(windows).set_index(["candidate", "metric"]).xs(DECIDED_BY, level="metric")
    assert board["windows"].to_dict() == {"pareto_nbd": 2, "heuristic": 2, "tweedie": 1}
    assert board["value"].idxmin() == "tweedie"
    # It is compared on its own window, where it is worse.
    assert board.loc["tweedie", "difference"] > 0
    assert rank_leaderboard(summarise(windows)) == ["pareto_nbd", "heuristic", "tweedie"]
    assert choose(windows).name == "pareto_nbd"


def test_the_newest_window_grades_and_does_not_choose(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])
    y = labelled.outcomes["purchases"].to_numpy(dtype=np.float64)
    noise = np.random.default_rng(1).normal(size=len(y))
    earlier = said(labelled, {"pareto_nbd": y + noise, "mbg_nbd": y + 2.0 * noise})
    newest = said(labelled, {"pareto_nbd": y + 3.0 * noise, "mbg_nbd": y})
    found = choose_and_grade([earlier, newest])
    assert (found.chosen, found.chose_on, found.graded) == ("pareto_nbd", [earlier], newest)
    assert "did not help to choose, pareto_nbd has" in found.reason
    assert "mbg_nbd 0.0000" in found.reason
    assert (found.leaderboard["windows"] == 1).all()


def test_the_size_of_bias_does_not_cancel(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])
    windows = []
    for bias in (0.5, -0.3):
        rows = [("bg_nbd", DECIDED_BY), ("bg_nbd", "purchases_bias")]
        found = Replicates(rows, np.array([1.0, bias]), np.full((2, 3), bias))
        one = said(labelled, {"bg_nbd": np.zeros(len(labelled))})
        windows.append(dataclasses.replace(one, replicates=found))
    board = summarise(windows).set_index("metric")["value"]
    assert board["purchases_bias"] == pytest.approx(0.1)
    assert board["purchases_absolute_bias"] == pytest.approx(0.4)


def test_a_choice_that_all_other_scores_contradict_is_said(tables, cache):
    labelled = build_labelled(tables, QUARTERS[0])
    others = ("purchases_mae", "purchases_rmse", "spend_mae")
    rows = [(name, metric) for name in ("bg_nbd", "pareto_nbd") for metric in (DECIDED_BY, *others)]
    values = np.array([1.0, 2.0, 2.0, 2.0, 1.1, 1.0, 1.0, 1.0])
    draws = np.repeat(values[:, None], 5, axis=1)
    one = said(labelled, {name: np.zeros(len(labelled)) for name in ("bg_nbd", "pareto_nbd")})
    found = choose([dataclasses.replace(one, replicates=Replicates(rows, values, draws))])
    assert found.name == "bg_nbd"
    assert found.contradicted.endswith(f"({', '.join(others)}) pareto_nbd is better")
    values[-1] = 3.0
    mixed = dataclasses.replace(one, replicates=Replicates(rows, values, draws))
    assert choose([mixed]).contradicted is None


def test_amounts_that_do_not_vary_leave_all_forecasts_of_purchases_in_the_table():
    log = load_cdnow(sample=True).assign(amount=10.0)
    names = ["bg_nbd_plain", "lifetimes_bg_nbd"]
    found = run_backtest(open_tables(log), QUARTERS[:1], names, n_boot=20)
    assert found.skipped == {}
    told = [note.text for note in found.notes if note.about.startswith("lifetimes_bg_nbd")]
    assert told == [
        "lifetimes gamma_gamma did not converge and was fitted with its penaliser 0.001"
    ]
    free = open_tables(log.assign(amount=0.0))
    found = run_backtest(free, QUARTERS[:1], names, n_boot=20)
    assert found.skipped == {}
    fallen = [n.about for n in found.notes if "forecast by each customer's own mean" in n.text]
    assert fallen == [f"{name} fitted at 1997-10-01" for name in names]


def test_regular_competes_where_gaps_are_alike(tables, cache):
    usual = BacktestSection().candidates
    cdnow = build_labelled(tables, QUARTERS[1]).snapshot
    assert find_competitors(usual, cdnow) == (list(usual), [])
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(30 * np.arange(12), unit="D")
    rng = np.random.default_rng(0)
    monthly = pd.DataFrame(
        {"customer_id": np.repeat(np.arange(60), 12), "timestamp": np.tile(days, 60), "amount": 5.0}
    )
    shift = rng.integers(0, 30, 60).repeat(12) + rng.integers(-1, 2, 720)
    monthly["timestamp"] += pd.to_timedelta(shift + 1, unit="D")
    snapshot = build_snapshot(open_tables(monthly), "2025-01-15")
    names, (note,) = find_competitors(usual, snapshot)
    assert names == [*usual, "regular"]
    assert note.text.startswith("regular competes: buyers are regular: ")
    names, (note,) = find_competitors(["mbg_nbd"], snapshot)
    assert names == ["mbg_nbd"]
    assert note.severity == "ask"


def test_processes_say_which_clocks_they_kept_and_old_names_fix_them(tables, cache):
    names = ["mbg_nbd", "mbg_nbd_newcomer", "mbg_nbd_plain", "pareto_nbd"]
    found = run_backtest(tables, QUARTERS, names, n_boot=20, cache=cache)
    one = found.graded
    kept = {name: kept_clocks(one.fitted[name].purchase_model_) for name in names}
    assert kept["mbg_nbd_plain"] == kept["pareto_nbd"] == ()
    assert kept["mbg_nbd_newcomer"] == ("newcomers",)
    assert list(found.clocks) == ["mbg_nbd"]
    twin = "mbg_nbd_newcomer" if kept["mbg_nbd"] else "mbg_nbd_plain"
    pd.testing.assert_frame_equal(one.forecasts["mbg_nbd"], one.forecasts[twin], rtol=1e-6)
    assert [note.about for note in found.notes if note.code == "clocks"] == ["mbg_nbd"]
