"""What is judged is what is served: each gated figure follows from the columns of the scores."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from crmml.config import parse_config
from crmml.exceptions import CrmmlWarning
from crmml.metrics import counts
from crmml.metrics.bootstrap import Replicates, Stream, hash_keys, keyed_uniforms
from crmml.metrics.calibration import compare_mean_probability
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.churn.outside import Cases, OutsideCalibration, carry_over
from crmml.models.churn.selection import ChurnSelection
from crmml.models.forecast.forecasters import HeuristicForecaster
from crmml.scoring.decisions import Actions
from crmml.scoring.outlooks import buys_if
from crmml.scoring.scorer import score
from crmml.scoring.served_distribution import served_distribution
from crmml.testing.simulate import simulate_world
from crmml.training.fit import fit_bundle
from crmml.training.gates import find_gates
from crmml.training.opening import open_configured
from crmml.training.pipeline import TrainingResult, evaluate_candidates, train
from crmml.training.plan import make_plan
from crmml.training.served import Served, evaluate_bundle, group_customers

SETTINGS = {
    "outcome": {"horizon": "9W"},
    "value": {"horizon": "26W"},
    "backtest": {"bootstrap": 20, "max_windows": 2, "candidates": ["mbg_nbd_plain"]},
}


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return simulate_world(300, weeks=90, seed=11, tables=()).transactions


@pytest.fixture(scope="module")
def trained(log) -> TrainingResult:
    return train(SETTINGS, log)


@pytest.fixture(scope="module")
def scored(trained):
    """The bundle of what was known at the grading cutoff, and its scores there."""
    plan = make_plan(trained.config, trained.tables)
    graded = trained.backtest.graded.labelled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrmmlWarning)
        bundle = fit_bundle(plan, graded.snapshot, trained.backtest).bundle
    return bundle, score(bundle, trained.tables, graded.window.cutoff)


@pytest.fixture(scope="module")
def columns(trained, scored):
    """The served columns and what happened, customer by customer."""
    outcomes = trained.backtest.graded.labelled.outcomes
    return scored[1].table.set_index("customer_id").loc[outcomes.index], outcomes


# ------------------------------------------------------------------- judged is what is served


def test_the_gated_figures_follow_from_the_served_columns(trained, scored, columns):
    (bundle, scores), (said, happened) = scored, columns
    bought = happened["purchases"].to_numpy(float)
    gone = happened["churned"].to_numpy(float)
    p = said["churn_probability"].to_numpy()
    inside = said["purchases_lower"].le(bought) & said["purchases_upper"].ge(bought)
    forecast = said["expected_purchases"].to_numpy()
    expected = {
        "served_literal_80": inside.mean(),
        "served_churn_mean_error": (p - gone).mean(),
        "served_purchases_deviance": counts.poisson_deviance(bought, forecast),
    }
    named = group_customers(said["frequency"].to_numpy(), said["inactivity"].to_numpy() / 9.0)
    for name, member in named.items():
        if name != "all" and member.any():
            key = f"served_churn_{name.replace(' ', '_')}_mean_error"
            expected[key] = (p - gone)[member].mean()
    # the transform stands between the served columns: P(0) is one of them, the rest its law
    law = (
        served_distribution(bundle.predictors, scores.snapshot)
        .pmf(int(bought.max()))
        .loc[said.index]
    )
    uniforms = keyed_uniforms(hash_keys(said.index), trained.config.seed, Stream.PIT)
    pit = counts.randomised_pit(bought, law.to_numpy(), uniforms)
    expected["served_pit_80"] = (abs(pit - 0.5) <= 0.4).mean()
    for name, value in expected.items():
        assert trained.served[name][0] == pytest.approx(float(value), rel=1e-9), name


def check_one_distribution(bundle, scores) -> None:
    """Bounds are quantiles of the law whose P(0) is served and whose transform is judged."""
    law = served_distribution(bundle.predictors, scores.snapshot)
    said = scores.table.set_index("customer_id").loc[scores.snapshot.customer_id]
    reached = np.cumsum(law.pmf(60).to_numpy(), axis=1)
    rows = np.arange(len(said))
    for column, level in (("purchases_lower", 0.1), ("purchases_upper", 0.9)):
        bound = said[column].to_numpy(int)
        assert (reached[rows, bound] >= level - 1e-9).all()
        some = bound > 0
        assert (reached[rows[some], bound[some] - 1] < level + 1e-9).all()
    np.testing.assert_allclose(reached[:, 0], said["probability_no_purchase"], atol=1e-9)


def test_of_a_process_interval_and_probability_come_from_one_distribution(scored):
    check_one_distribution(*scored)


@pytest.mark.parametrize("candidate", ["hybrid", "blend"])
def test_of_a_learned_forecast_interval_and_probability_are_its_own(log, candidate):
    some = log[log["customer_id"] % 3 == 0]
    backtest = {**SETTINGS["backtest"], "max_windows": 1, "candidates": [candidate]}
    config = parse_config({**SETTINGS, "backtest": backtest})
    tables = open_configured(config, some)
    plan = make_plan(config, tables)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrmmlWarning)
        found = evaluate_candidates(plan, lambda _: None)
        snapshot = found.graded.labelled.snapshot
        bundle = fit_bundle(plan, snapshot, found).bundle
        scores = score(bundle, tables, snapshot.cutoff, snapshot=snapshot)
    check_one_distribution(bundle, scores)
    if candidate == "hybrid":
        mean = bundle.forecast.predictive(snapshot).mean().to_numpy()
        said = scores.table.set_index("customer_id").loc[snapshot.customer_id]
        np.testing.assert_allclose(said["expected_purchases"], mean, rtol=1e-6)
    stored = type(bundle).from_files(bundle.to_files())
    again = score(stored, tables, snapshot.cutoff, snapshot=snapshot)
    pd.testing.assert_frame_equal(again.table, scores.table)


def test_the_calibrated_probability_is_the_one_that_actions_count_with(trained, scored):
    bundle, scores = scored
    actions = next(p for p in bundle.predictors if isinstance(p, Actions))
    said = scores.table.set_index("customer_id")
    ids, horizon = said.index, actions.horizon
    raw = pd.Series(np.linspace(0.01, 0.9, len(ids)), ids)
    shorter = {buys_if(what, "4W"): raw / 2 for what in ("buys", "buys_if_active")}
    so_far = said.assign(**{buys_if("buys", horizon): raw, **shorter})
    buys = actions._calibrated({horizon: raw, "4W": raw / 2}, so_far)
    pd.testing.assert_series_equal(
        buys[horizon], 1.0 - said["churn_probability"], check_names=False
    )
    moved = carry_over((raw / 2).to_numpy(), raw.to_numpy(), buys[horizon].to_numpy())
    np.testing.assert_allclose(buys["4W"], moved)
    assert (buys["4W"] <= buys[horizon]).all()


# ------------------------------------------------------------------- outside the candidates


def world_of(n: int, churn: float, said: float, seed: int = 0) -> Cases:
    """Customers who have been silent for six horizons, and of whom so many churned."""
    gone = (np.random.default_rng(seed).random(n) < churn).astype(float)
    return Cases(np.full(n, said), np.zeros(n), np.full(n, 6.0), gone)


def test_without_a_case_the_process_has_its_word():
    candidates = Cases(np.array([0.5]), np.zeros(1), np.ones(1), np.ones(1))
    model = OutsideCalibration.fit([candidates], candidate_horizons=4.0)
    assert (model.n_cases, model.n_windows) == (0, 0)
    p = np.array([0.2, 0.9, 0.9999])
    np.testing.assert_allclose(model(p, np.zeros(3), np.full(3, 6.0)), p)


def test_what_happened_to_many_corrects_the_process_and_few_hardly_do():
    ask = (np.array([0.9999]), np.zeros(1), np.full(1, 6.0))
    many = [world_of(5000, 0.97, 0.9999, seed) for seed in range(4)]
    found = OutsideCalibration.fit(many, candidate_horizons=4.0)
    assert found(*ask) == pytest.approx(0.97, abs=0.01)
    one = OutsideCalibration.fit(many[:1], candidate_horizons=4.0)
    assert 0.97 < one(*ask).item() < 0.99  # the level of one window is not quite that of the next
    few = OutsideCalibration.fit([world_of(3, 1.0, 0.9999)], candidate_horizons=4.0)
    assert few(*ask).item() <= 4 / 5  # three cases that all churned: Laplace's rule
    assert few.to_dict() == OutsideCalibration.from_dict(few.to_dict()).to_dict()


def test_a_block_of_few_customers_is_not_certain():
    score_ = np.r_[np.zeros(100), np.ones(100), [9.0, 9.0]]
    event = np.r_[np.zeros(90), np.ones(10), np.zeros(30), np.ones(70), [1.0, 1.0]]
    curve = MonotoneCalibration.fit(score_, event)
    high = curve(np.array([9.0])).item()
    assert 0.7 <= high <= 0.76  # 2 of 2 say at most 3 in 4
    assert np.all(np.diff(curve(np.array([0.0, 1.0, 9.0]))) > 0)


def test_the_whole_base_is_calibrated(columns):
    said, happened = columns
    outside = said["inactivity"] > 36.0
    assert outside.sum() > 50
    assert said.loc[outside, "churn_probability"].max() < 0.9999
    gone = happened["churned"].to_numpy(float)
    groups = group_customers(said["frequency"].to_numpy(), said["inactivity"].to_numpy() / 9.0)
    table = compare_mean_probability(gone, said["churn_probability"].to_numpy(), groups)
    assert table["met"].all()


# ------------------------------------------------------------------- gates that can fail


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({}, set()),
        ({"purchases": 40.0}, {"less"}),
        ({"churn": 0.9999}, {"the mean"}),
    ],
)
def test_a_gate_is_missed_when_what_is_served_is_wrong(trained, scored, change, missed):
    """The served columns are spoilt one at a time; each spoils its own gate, and no other."""
    from crmml.training.served import evaluate_scores

    (bundle, scores), graded = scored, trained.backtest.graded.labelled
    said = scores.table.set_index("customer_id")
    happened = graded.outcomes
    if "purchases" in change:
        said = said.assign(expected_purchases=said["expected_purchases"] + change["purchases"])
    if "churn" in change:
        said = said.assign(churn_probability=change["churn"])
    law = served_distribution(bundle.predictors, scores.snapshot).pmf(
        int(happened["purchases"].max())
    )
    ids = happened.index
    uniforms = keyed_uniforms(hash_keys(ids), 1, Stream.PIT)
    pit = counts.randomised_pit(
        happened["purchases"].to_numpy(float), law.loc[ids].to_numpy(), uniforms
    )
    # a heuristic that says nothing of anybody is beaten by any forecast
    heuristic = pd.Series(20.0, ids)
    served = evaluate_scores(
        said, happened, happened["churned"], pit=pd.Series(pit, ids), horizon=9.0,
        heuristic=heuristic, n_boot=20,
    )  # fmt: skip
    found = {gate.name: gate for gate in find_gates(served, _unjudged(), "mbg_nbd")}
    graded = found.pop("churn is graded")
    assert (graded.met, len(found)) == (False, 3)
    wrong = {name for name, gate in found.items() if not gate.met}
    assert {name for name in wrong if any(name.startswith(word) for word in missed)} == wrong
    assert len(wrong) == len(missed)
    for gate in found.values():
        assert gate.note.severity == ("info" if gate.met else "warn")


def _unjudged() -> ChurnSelection:
    return ChurnSelection(None, "purchase_model", "", None, 0)


@pytest.mark.parametrize(
    ("difference", "spread", "met"), [(-0.1, 0.02, True), (-0.1, 0.3, False), (0.1, 0.02, False)]
)
def test_the_heuristic_is_beaten_only_beyond_chance(trained, difference, spread, met):
    metric = "served_purchases_deviance"
    noise = np.linspace(-spread, spread, 41)
    pair = Replicates(
        [("served", metric), ("heuristic", metric)],
        np.array([0.6 + difference, 0.6]),
        np.stack([0.6 + difference + noise, np.full(41, 0.6)]),
    )
    served = Served(trained.replicates, None, pair)
    gates = {gate.name: gate.met for gate in find_gates(served, _unjudged(), "mbg_nbd")}
    assert gates["less error than the heuristic, beyond chance"] is met


@pytest.mark.parametrize(("held", "met"), [(0.80, True), (0.67, False), (0.96, False)])
def test_the_interval_is_gated_by_its_transform(trained, held, met):
    rows = [("served", "served_pit_80"), ("served", "served_literal_80")]
    draws = np.stack([np.linspace(held - 0.01, held + 0.01, 41), np.full(41, 0.95)])
    served = Served(Replicates(rows, np.array([held, 0.95]), draws), None, None)
    gate, _ = find_gates(served, _unjudged(), "mbg_nbd")
    assert gate.met is met
    assert "95.0% lie between the two bounds" in gate.figures


# ------------------------------------------------------------------- the heuristic


def test_silent_customers_get_the_mean_of_their_group(trained):
    newest = trained.backtest.windows[-1].labelled
    earlier = trained.backtest.windows[-2].labelled
    model = HeuristicForecaster(horizon="9W").fit(newest.snapshot, [earlier])
    said = model.forecast(newest.snapshot)["purchases"]
    assert (said > 0).all()
    frame = newest.snapshot.frame.set_index("customer_id")
    silent = (frame["T"] - frame["recency"]) > model.cut_ * 9.0
    once = silent & (frame["frequency"] == 0)
    assert said[once].nunique() == 1
    assert said[once].iloc[0] == pytest.approx(model.means_[1][0])
    bought = newest.outcomes["purchases"].to_numpy(float)
    zero = np.where(silent, 0.0, said)
    assert counts.poisson_deviance(bought, said.to_numpy()) < counts.poisson_deviance(bought, zero)


def test_lifetime_value_is_compared_in_its_order_only(trained):
    assert "served_clv_spearman" in trained.metrics
    assert "served_clv_decile_mape" not in trained.metrics
    assert {"served_spend_decile_mape", "served_spend_absolute_bias"} <= set(trained.metrics)


def test_a_window_that_is_not_over_says_nothing_of_churn(trained, scored):
    bundle, _ = scored
    graded = trained.backtest.graded.labelled
    later = trained.config.model_copy(
        update={"outcome": trained.config.outcome.model_copy(update={"gap": "9W"})}
    )
    served = evaluate_bundle(bundle, later, trained.tables, graded.window, graded.outcomes)
    assert served.churn is None
    assert not [name for _, name in served.replicates.rows if "churn" in name]
