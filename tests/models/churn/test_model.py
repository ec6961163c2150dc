import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import (
    DataError,
    FutureLeakError,
    LeakWarning,
    MissingColumnsError,
    NotFittedError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot, build_labelled
from crmml.features.snapshot import Snapshot
from crmml.features.windows import Window, rolling_windows
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.churn.evaluation import evaluate_churn, grade_gain
from crmml.models.churn.history import count_windows, find_candidates, split_history
from crmml.models.churn.model import NO_PURCHASE, ChurnModel
from crmml.models.churn.purchase import PurchaseChurn
from crmml.models.churn.selection import select_churn
from crmml.models.forecast.baselines import RecencyRule
from crmml.testing.simulate import simulate_world

HORIZON = "13W"
FAST = {"max_rounds": 30, "learning_rate": 0.1, "n_folds": 2}


@pytest.fixture(scope="module")
def tables():
    world = simulate_world(1000, seed=3, weeks=104, acquisition_weeks=60, tables=())
    return open_tables(world.transactions)


@pytest.fixture(scope="module")
def history(tables):
    windows = rolling_windows(
        tables.first_timestamp, tables.last_timestamp, horizon=HORIZON, min_history="40W"
    )
    return [build_labelled(tables, window) for window in windows]


@pytest.fixture(scope="module")
def fitted(history):
    return ChurnModel(horizon=HORIZON, **FAST).fit(history[:-1])


def edit(part, **columns):
    frame = part.snapshot.frame.assign(**columns)
    return replace(part, snapshot=replace(part.snapshot, frame=frame))


def as_covariate(part):
    return edit(part, oracle=part.outcomes["purchases"].to_numpy(dtype=float))


def test_slices_follow_each_other_without_overlap(history, fitted):
    assert len(history) >= 4
    assert fitted.calibration_cutoff_ == str(history[-2].window.cutoff)
    assert fitted.training_cutoffs_ == [str(p.window.cutoff) for p in history[:-2]]
    assert fitted.trained_until_ == str(history[-2].window.closes)
    assert history[-2].window.closes <= history[-1].window.cutoff


def test_probabilities_are_calibrated_and_rank(history, fitted):
    test = history[-1]
    assert fitted.churn_probability(test.snapshot).between(0, 1, inclusive="neither").all()
    rule = RecencyRule().fit(history[:-1])
    process = PurchaseChurn(horizon=HORIZON).fit(history[:-1])
    judged = evaluate_churn(
        fitted, test, baselines={"recency_rule": rule, "purchase_model": process}, n_boot=50
    )
    assert judged.value("churn_model", "auc") > 0.7
    assert judged.value("churn_model", "calibration_error") < 0.1
    assert set(judged.grades) == {"churn_model", "purchase_model"}
    assert judged.gains.index.tolist() == ["recency_rule", "purchase_model"]
    gain = judged.gains.loc["recency_rule"]
    assert gain["lower"] <= gain["difference"] <= gain["upper"]
    assert judged.grades["churn_model"] == grade_gain(gain["lower"], gain["upper"])
    assert judged.reliability["churn_model"]["n"].sum() == judged.n_customers


def test_training_knows_no_row_order_and_no_thread_count(history):
    rng = np.random.default_rng(1)
    shuffled = []
    for part in history[:-1][::-1]:
        order = rng.permutation(len(part))
        frame = part.snapshot.frame.iloc[order].reset_index(drop=True)
        shuffled.append(
            LabelledSnapshot(
                replace(part.snapshot, frame=frame), part.outcomes.iloc[order], part.window
            )
        )
    few = FAST | {"max_rounds": 2}
    model = ChurnModel(horizon=HORIZON, **few).fit(history[:-1])
    again = ChurnModel(horizon=HORIZON, num_threads=2, **few).fit(shuffled)
    assert again.n_rounds_ == model.n_rounds_
    assert again.calibration_ == model.calibration_


def test_explanations_add_up_to_the_score(history, fitted):
    snapshot = history[-1].snapshot
    parts = fitted.explain(snapshot)
    assert parts.columns.tolist() == [*fitted.features_, "baseline"]
    curve = MonotoneCalibration.from_dict(fitted.calibration_)
    np.testing.assert_allclose(
        curve(parts.sum(axis=1).to_numpy()), fitted.churn_probability(snapshot), atol=1e-9
    )


def test_a_planted_column_is_not_a_feature(history, fitted):
    planted = [as_covariate(part) for part in history[:-1]]
    model = ChurnModel(horizon=HORIZON, **FAST).fit(planted)
    assert "oracle" not in model.features_
    assert model.booster_ == fitted.booster_


def test_a_column_that_knows_the_outcome_is_refused(history):
    planted = [as_covariate(part) for part in history[:-1]]
    with pytest.raises(FutureLeakError, match="column 'oracle' tells the outcome by itself"):
        ChurnModel(horizon=HORIZON, covariates=["oracle"], **FAST).fit(planted)


def test_a_known_feature_that_says_it_all_brings_a_warning(history):
    known = [
        edit(part, gap_mean=np.where(part.outcomes["churned"], np.nan, 1.0))
        for part in history[:-1]
    ]
    with pytest.warns(LeakWarning, match="column 'gap_mean' tells the outcome by itself"):
        ChurnModel(horizon=HORIZON, **FAST).fit(known)


def test_defect_11_windows_that_overlap_the_test_are_refused(history, tables):
    test = history[-1]
    early = test.window.cutoff - pd.Timedelta(weeks=4)
    overlapping = build_labelled(tables, Window(early, HORIZON))
    model = ChurnModel(horizon=HORIZON, **FAST).fit([*history[:-2], overlapping])
    with pytest.raises(FutureLeakError, match="overlapping windows flatter a model"):
        evaluate_churn(model, test, baselines={"r": RecencyRule().fit(history[:-1])})
    honest = ChurnModel(horizon=HORIZON, **FAST).fit(history[:-1])
    with pytest.raises(FutureLeakError, match="r has seen outcomes until"):
        evaluate_churn(honest, test, baselines={"r": RecencyRule().fit([overlapping])})


def test_the_embargo_leaves_out_what_overlaps_the_calibration_slice(history, tables):
    between = build_labelled(
        tables, Window(history[-2].window.cutoff + pd.Timedelta(weeks=4), HORIZON)
    )
    train, calibration, embargoed = split_history([*history, between])
    assert calibration is history[-1]
    assert embargoed == [between]
    assert all(part.window.closes <= calibration.window.cutoff for part in train)
    assert count_windows([*history, between]) == len(history)


def test_selection_says_why_and_uses_the_simplest_that_does_as_well(history):
    chosen = select_churn(history, horizon=HORIZON, n_boot=50, **FAST)
    assert chosen.evaluation is not None
    assert chosen.name in {"churn_model", "purchase_model", "recency_rule"}
    beats = (chosen.evaluation.gains["lower"] > 0).all()
    assert (chosen.name == "churn_model") == beats
    assert "against recency_rule" in chosen.reason
    assert chosen.n_windows == len(history)
    # What is kept is fitted again on all windows, the test's included.
    assert chosen.model.trained_until_ == str(history[-1].window.closes)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_short_history_is_a_value_with_a_reason(history, n):
    snapshot = history[-1].snapshot
    chosen = select_churn(history[:n], horizon=HORIZON, snapshot=snapshot)
    assert chosen.name == "purchase_model"
    assert f"holds {n} outcome window" in chosen.reason
    assert "3 are needed" in chosen.reason
    assert (chosen.n_windows, chosen.n_needed, chosen.evaluation) == (n, 3, None)
    assert chosen.model.churn_probability(snapshot).between(0, 1).all()


def test_population_leaves_the_lapsed_out():
    frame = pd.DataFrame(
        {"customer_id": [1, 2], "frequency": [1, 1], "recency": [10, 1], "T": [20, 100]}
    )
    snapshot = Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")
    assert find_candidates(snapshot, "13W", 4.0).tolist() == [True, False]
    assert find_candidates(snapshot, "13W", 8.0).tolist() == [True, True]


def test_gap_is_part_of_the_label(tables):
    windows = rolling_windows(
        tables.first_timestamp,
        tables.last_timestamp,
        horizon="13W",
        gap="2W",
        step="15W",
        min_history="30W",
    )
    parts = [build_labelled(tables, window, behaviour=False) for window in windows]
    model = ChurnModel(horizon="13W", gap="2W", **FAST).fit(parts)
    assert NO_PURCHASE in model.features_
    with pytest.raises(ParameterError, match="labelled over 13W after a gap of nothing"):
        ChurnModel(horizon="13W", **FAST).fit(parts)


def test_a_sample_of_customers_is_enough_for_very_many_rows(history):
    rows = sum(len(part) for part in history[:-2])
    model = ChurnModel(horizon=HORIZON, max_rows=rows // 2, **FAST).fit(history[:-1])
    whole = ChurnModel(horizon=HORIZON, **FAST).fit(history[:-1])
    assert 0.25 < model.n_training_rows_ / whole.n_training_rows_ < 0.75


def test_refusals(history, fitted):
    with pytest.raises(NotFittedError, match="ChurnModel is not fitted"):
        ChurnModel(horizon=HORIZON).churn_probability(history[0].snapshot)
    with pytest.raises(TooLittleDataError, match="of 1 labelled snapshot"):
        ChurnModel(horizon=HORIZON).fit(history[:1])
    core = history[0].snapshot.frame[["customer_id", "frequency", "recency", "T"]]
    lean = Snapshot.from_frame(core, cutoff="2024-01-01", time_unit="week")
    with pytest.raises(MissingColumnsError, match="missing column"):
        fitted.churn_probability(lean)
    with pytest.raises(MissingColumnsError, match="'region'"):
        ChurnModel(horizon=HORIZON, covariates=["region"]).fit(history)
    named = [edit(part, region="north") for part in history]
    with pytest.raises(DataError, match="a covariate must be numeric"):
        ChurnModel(horizon=HORIZON, covariates=["region"]).fit(named)
    nobody = [replace(p, outcomes=p.outcomes.assign(churned=True)) for p in history]
    with pytest.raises(TooLittleDataError, match="all have the same one"):
        ChurnModel(horizon=HORIZON).fit(nobody)
    with pytest.raises(ParameterError, match="baselines must be at least one"):
        evaluate_churn(fitted, history[-1], baselines={})
    with pytest.raises(TooLittleDataError, match="at least one snapshot"):
        PurchaseChurn(horizon=HORIZON).fit([])


@pytest.mark.parametrize(
    ("keep", "churned", "why"),
    [
        (lambda n: np.arange(n) < 90, None, "too few customers: .* at least 100 are needed"),
        (lambda n: np.ones(n, bool), 10, "too few churners: 10 of .* at least 20 are needed"),
        (lambda n: np.ones(n, bool), -5, "too few customers who came back: 5 of"),
    ],
)
def test_too_few_are_refused_in_plain_words(history, keep, churned, why):
    parts = [part.subset(keep(len(part))) for part in history]
    if churned is not None:
        near = find_candidates(parts[-1].snapshot, HORIZON, 4.0)
        gone = np.zeros(len(parts[-1]), bool)
        gone[np.flatnonzero(near)[:churned]] = True
        parts[-1] = replace(parts[-1], outcomes=parts[-1].outcomes.assign(churned=gone))
    chosen = select_churn(parts, horizon=HORIZON, n_boot=20, **FAST)
    assert chosen.name == "purchase_model"
    assert chosen.evaluation is None
    assert re.search(why, chosen.reason)


def test_a_history_shorter_than_two_horizons_says_so(history):
    chosen = select_churn([], horizon=HORIZON, snapshot=history[0].snapshot)
    assert "shorter than two horizons, 13W to look back on" in chosen.reason
