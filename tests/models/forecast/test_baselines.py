import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import (
    CrmmlError,
    FitWarning,
    NotFittedError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import LOYALTY_CLASSES
from crmml.features.windows import Window
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.forecast.baselines import (
    LifetimesBaseline,
    LifetimesSpendBaseline,
    RecencyRule,
    TransitionMatrix,
    persistence,
)


def labelled(n=600, seed=0, by_pace=True):
    rng = np.random.default_rng(seed)
    gap = rng.choice([1.0, 8.0], n)
    frequency = rng.integers(0, 12, n).astype(float)
    recency = np.where(frequency > 0, frequency * gap, 0.0)
    inactivity = rng.exponential(gap)
    T = recency + inactivity + 0.1
    pace = (T - recency) / gap if by_pace else (T - recency) / 4
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(n)],
            "frequency": frequency,
            "recency": recency,
            "T": T,
            "monetary_value": np.where(frequency > 0, rng.gamma(5, 8, n), 0.0),
        }
    )
    churned = rng.random(n) < 1 / (1 + np.exp(2 - 2 * pace))
    return LabelledSnapshot(
        snapshot=Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week"),
        window=Window("2024-01-01", "4W"),
        outcomes=pd.DataFrame(
            {"churned": churned}, index=pd.Index(frame["customer_id"], name="customer_id")
        ),
    )


@pytest.mark.parametrize(
    ("by_pace", "rule"), [(True, "inactivity_over_own_gap"), (False, "inactivity")]
)
def test_the_better_recency_rule_is_found_on_the_training_slice(by_pace, rule):
    part = labelled(by_pace=by_pace)
    model = RecencyRule().fit([part])
    assert model.rule_ == rule
    assert model.training_auc_[rule] == max(model.training_auc_.values()) > 0.7
    p = model.churn_probability(part.snapshot)
    assert p.index.name == "customer_id"
    assert p.mean() == pytest.approx(part.outcomes["churned"].mean(), abs=0.01)
    risky = p > p.median()
    hit = part.outcomes["churned"][risky].mean()
    assert hit > part.outcomes["churned"][~risky].mean() + 0.2


def test_recency_rule_refuses_one_outcome_and_other_units():
    part = labelled()
    with pytest.raises(NotFittedError, match="RecencyRule is not fitted"):
        RecencyRule().churn_probability(part.snapshot)
    with pytest.raises(TooLittleDataError, match="0 labelled customers"):
        RecencyRule().fit([])
    model = RecencyRule().fit([part])
    days = Snapshot.from_frame(part.snapshot.frame, cutoff="2024-01-01", time_unit="day")
    with pytest.raises(CrmmlError, match="fitted in units of 'week'"):
        model.churn_probability(days)


def test_monotone_calibration_keeps_the_order_and_meets_the_rates():
    rng = np.random.default_rng(0)
    score = rng.normal(size=4000)
    truth = 1 / (1 + np.exp(-2 * score))
    curve = MonotoneCalibration.fit(score, (rng.random(4000) < truth).astype(float))
    p = curve(np.sort(score))
    assert (np.diff(p) > 0).all()
    assert p.min() > 0
    assert p.max() < 1
    assert np.abs(curve(score) - truth).mean() < 0.03
    assert MonotoneCalibration.from_dict(json.loads(json.dumps(curve.to_dict()))) == curve
    flat = MonotoneCalibration.fit(np.zeros(8), np.r_[np.ones(2), np.zeros(6)])
    assert flat(np.array([-1.0, 0.0, 1.0])).tolist() == [0.25] * 3
    with pytest.raises(TooLittleDataError, match="on no customers"):
        MonotoneCalibration.fit(np.empty(0), np.empty(0))


def test_transition_matrix_counts_and_shrinks():
    now = pd.Series(["loyal"] * 900 + ["split"] * 100)
    after = pd.Series(["loyal"] * 600 + ["split"] * 300 + ["loyal"] * 50 + ["lapsed"] * 50)
    matrix = TransitionMatrix(strength=1e-9).fit(now, after)
    p = matrix.predict_probabilities(pd.Series(["loyal", "split", "disloyal"], index=[7, 8, 9]))
    assert p.loc[7, ["loyal", "split"]].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert p.loc[8, ["loyal", "lapsed"]].tolist() == pytest.approx([0.5, 0.5])
    # A class never seen takes the shares of the base.
    assert p.loc[9, "loyal"] == pytest.approx(0.65, abs=0.002)
    shrunk = TransitionMatrix(strength=1e9).fit(now, after)
    rows = np.asarray(shrunk.matrix_)
    np.testing.assert_allclose(rows, np.repeat(rows[:1], len(rows), axis=0), atol=1e-5)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert TransitionMatrix.from_dict(json.loads(json.dumps(matrix.to_dict()))).n_pairs_ == 1000


def test_persistence_and_refusals_of_classes():
    p = persistence(pd.Series(["lapsed", "loyal"]))
    assert p.idxmax(axis=1).tolist() == ["lapsed", "loyal"]
    assert p.columns.tolist() == list(LOYALTY_CLASSES)
    with pytest.raises(ParameterError, match=r"got \['faithful'\]"):
        persistence(pd.Series(["faithful"]))
    with pytest.raises(ParameterError, match="strength must be > 0"):
        TransitionMatrix(strength=0).fit(pd.Series(["loyal"]), pd.Series(["loyal"]))


@pytest.fixture(scope="module")
def cdnow():
    # Found without importing lifetimes: its import warns.
    folder = Path(find_spec("lifetimes").submodule_search_locations[0])
    path = folder / "datasets" / "cdnow_customers_summary.csv"
    frame = pd.read_csv(path).rename(columns={"ID": "customer_id"})
    frame = frame[["customer_id", "frequency", "recency", "T"]]
    return Snapshot.from_frame(frame, cutoff="1997-10-01", time_unit="week")


def test_lifetimes_bg_nbd_has_the_published_parameters_of_fader_hardie_lee_2005(cdnow):
    model = LifetimesBaseline().fit(cdnow)
    assert model.params_["r"] == pytest.approx(0.243, abs=1e-3)
    assert model.params_["alpha"] == pytest.approx(4.414, abs=5e-3)
    assert model.params_["a"] == pytest.approx(0.793, abs=2e-3)
    assert model.params_["b"] == pytest.approx(2.426, abs=1e-2)
    expected = model.expected_purchases(cdnow, "39W")
    assert expected.index.equals(cdnow.customer_id)
    assert 1500 < expected.sum() < 1882
    again = LifetimesBaseline.from_dict(json.loads(json.dumps(model.to_dict())))
    pd.testing.assert_series_equal(again.expected_purchases(cdnow, "273D"), expected)
    assert model.probability_alive(cdnow).between(0, 1).all()


def test_lifetimes_pareto_nbd_has_the_published_parameters(cdnow):
    model = LifetimesBaseline(fitter="pareto_nbd").fit(cdnow)
    assert model.params_["r"] == pytest.approx(0.553, abs=5e-3)
    assert model.params_["alpha"] == pytest.approx(10.58, abs=0.1)


def test_lifetimes_spend_weighs_the_own_mean_by_the_purchases():
    part = labelled()
    model = LifetimesSpendBaseline().fit(part.snapshot)
    spend = model.expected_spend(part.snapshot)
    none = part.snapshot.frame["frequency"].to_numpy() == 0
    p, q, v = (model.params_[k] for k in "pqv")
    assert spend.to_numpy()[none] == pytest.approx(p * v / (q - 1))
    again = LifetimesSpendBaseline.from_dict(model.to_dict())
    pd.testing.assert_series_equal(again.expected_spend(part.snapshot), spend)


def test_lifetimes_refusals(cdnow):
    with pytest.raises(NotFittedError, match="LifetimesBaseline is not fitted"):
        LifetimesBaseline().expected_purchases(cdnow, "1W")
    with pytest.raises(ParameterError, match="fitter must be one of"):
        LifetimesBaseline(fitter="unknown").fit(cdnow)


def test_lifetimes_that_does_not_converge_is_tried_with_its_penaliser(cdnow, capsys):
    # The first customers of a small shop: a backtest leaves the candidate out and goes on.
    few = cdnow.subset(np.arange(len(cdnow)) < 3)
    with pytest.warns(FitWarning, match=r"was fitted with its penaliser 0\.001"):
        assert LifetimesBaseline(fitter="bg_nbd").fit(few).params_["r"] > 0
    nobody = few.subset(few.frame["frequency"].to_numpy() < 0)
    with pytest.raises(TooLittleDataError):
        LifetimesBaseline(fitter="bg_nbd").fit(nobody)
    assert capsys.readouterr().out == ""
