"""Forecasters: order, batch, storage, embargo, and what the hybrid promises."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crmml import models
from crmml._typing import Duration
from crmml.exceptions import (
    FutureLeakError,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features, feature_matrix
from crmml.features.snapshot import Snapshot
from crmml.models.forecast.forecasters import (
    BlendForecaster,
    BoostedForecaster,
    HeuristicForecaster,
    HybridForecaster,
    OwnMeanSpend,
    ProcessForecaster,
    in_order,
)
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.newcomer import NewcomerModel
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.value.gamma_gamma import GammaGammaModel

HORIZON = "13W"
pytestmark = pytest.mark.filterwarnings("ignore::crmml.exceptions.FitWarning")


@pytest.fixture(scope="module")
def parts(cdnow_quarters) -> list[LabelledSnapshot]:
    """Three windows of 13 weeks; the last is what is forecast."""
    return cdnow_quarters


def process(model=ParetoNBDModel, horizon=HORIZON) -> ProcessForecaster:
    return ProcessForecaster(purchase_model=model(), spend_model=GammaGammaModel(), horizon=horizon)


def hybrid(**settings) -> HybridForecaster:
    models_ = {"purchase_models": [ParetoNBDModel()], "spend_model": GammaGammaModel()}
    return HybridForecaster(**{**models_, "horizon": HORIZON, "max_rounds": 60, **settings})


def blend() -> BlendForecaster:
    members = [process(), process(ModifiedBetaGeoModel), HeuristicForecaster(horizon=HORIZON)]
    return BlendForecaster(members=members, horizon=HORIZON)


CANDIDATES = {
    "heuristic": lambda: HeuristicForecaster(horizon=HORIZON),
    "process": process,
    "tweedie": lambda: BoostedForecaster(kind="tweedie", horizon=HORIZON, max_rounds=40),
    "hurdle": lambda: BoostedForecaster(kind="hurdle", horizon=HORIZON, max_rounds=40),
    "hybrid": hybrid,
    "blend": blend,
}


@pytest.mark.parametrize("name", CANDIDATES)
def test_refuses_training_windows_that_end_after_the_cutoff(name, parts):
    with pytest.raises(FutureLeakError, match="knows what is to be forecast"):
        CANDIDATES[name]().fit(parts[1].snapshot, parts[:2])


def test_what_needs_training_windows_says_so(parts):
    snapshot = parts[2].snapshot
    for make in (hybrid, blend, CANDIDATES["tweedie"]):
        with pytest.raises(TooLittleDataError, match="the data hold none"):
            make().fit(snapshot)
    with pytest.raises(TooLittleDataError, match="outcome windows of 26W"):
        BoostedForecaster(horizon="26W").fit(snapshot, parts[:2])
    with pytest.raises(TooLittleDataError, match="at least 20000 buyers"):
        BoostedForecaster(kind="hurdle", horizon=HORIZON, min_leaf=10_000).fit(snapshot, parts[:2])
    with pytest.raises(ParameterError, match="'tweedie' or 'hurdle'"):
        BoostedForecaster(kind="forest", horizon=HORIZON).fit(snapshot, parts[:2])


def test_training_windows_come_in_order(parts):
    found = in_order(parts[2].snapshot, parts[1::-1])
    assert [part.window.cutoff for part in found] == [p.window.cutoff for p in parts[:2]]
    assert found[0].snapshot.customer_id.is_monotonic_increasing


def test_the_heuristic_without_a_training_window_cuts_at_one_horizon():
    frame = pd.DataFrame(
        {
            "customer_id": [1, 2, 3],
            "frequency": [4, 4, 0],
            "recency": [20.0, 5.0, 0.0],
            "T": [26.0, 26.0, 6.5],
            "monetary_value": [10.0, 20.0, 0.0],
        }
    )
    snapshot = Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")
    model = HeuristicForecaster(horizon=HORIZON).fit(snapshot)
    assert model.forecast(snapshot)["purchases"].tolist() == [2.0, 0.0, 0.0]
    assert model.forecast(snapshot)["spend"].tolist() == [20.0, 0.0, 0.0]
    assert OwnMeanSpend().fit(snapshot).expected_spend(snapshot).tolist() == [10.0, 20.0, 15.0]
    half = model.track(snapshot, [Duration.parse("6.5W"), Duration.parse("13W")])
    assert half[0].tolist() == [1.0, 2.0]


def pure_process(parts, seed: int) -> list[LabelledSnapshot]:
    """Redraw the outcomes of a window from the process itself: there is nothing to correct."""
    found = []
    for part in parts:
        model = ParetoNBDModel().fit(part.snapshot)
        drawn = model.sample(part.snapshot, HORIZON, 1, seed)[0]
        outcomes = part.outcomes.assign(purchases=drawn.to_numpy())
        found.append(LabelledSnapshot(part.snapshot, outcomes, part.window))
    return found


def test_without_a_gain_the_hybrid_is_the_process(parts):
    snapshot = parts[2].snapshot
    model = hybrid().fit(snapshot, pure_process(parts[:2], seed=1))
    assert model.booster_ is None
    assert model.n_rounds_ == 0
    assert model.gain_ <= model.gain_error_
    plain = process().fit(snapshot)
    pd.testing.assert_frame_equal(model.forecast(snapshot), plain.forecast(snapshot))
    assert model.drift_ < 0.01
    distribution, its = model.distribution(snapshot, 20), plain.distribution(snapshot, 20)
    pd.testing.assert_frame_equal(distribution, its, atol=0.02)
    back = models.from_dict(json.loads(json.dumps(model.to_dict())))
    assert back.booster_ is None


def planted(parts) -> list[LabelledSnapshot]:
    """Training windows in which weekend shoppers buy three times what others do."""
    found = []
    for part in parts:
        rng = np.random.default_rng(5)
        weekend = part.snapshot.frame["weekend_share"].to_numpy() > 0.5
        mean = ParetoNBDModel().fit(part.snapshot).expected_purchases(part.snapshot, HORIZON)
        drawn = rng.poisson(mean.to_numpy() * np.where(weekend, 1.8, 0.6))
        outcomes = part.outcomes.assign(purchases=drawn)
        found.append(LabelledSnapshot(part.snapshot, outcomes, part.window))
    return found


@pytest.fixture(scope="module")
def taught(parts) -> HybridForecaster:
    return hybrid().fit(parts[2].snapshot, planted(parts[:2]))


def test_the_hybrid_learns_a_planted_factor(taught, parts):
    snapshot = parts[2].snapshot
    weekend = snapshot.frame["weekend_share"].to_numpy() > 0.5
    factor = taught.factor(snapshot)
    assert taught.gain_ > taught.gain_error_ > 0
    assert 1.8 < factor[weekend].mean() / factor[~weekend].mean() < 4.0


def test_the_hybrid_leaves_the_total_to_the_process(taught, parts):
    snapshot = parts[2].snapshot
    total = process().fit(snapshot).forecast(snapshot)["purchases"].sum()
    assert taught.forecast(snapshot)["purchases"].sum() == pytest.approx(total, rel=1e-9)


def test_mean_of_the_hybrid_distribution_is_its_forecast(taught, parts):
    snapshot = parts[2].snapshot.subset(np.arange(len(parts[2])) < 400)
    distribution = taught.distribution(snapshot, 150).to_numpy()
    assert (distribution >= 0).all()
    np.testing.assert_allclose(distribution.sum(axis=1), 1.0, atol=1e-6)
    mean = distribution @ np.arange(151.0)
    forecast = taught.forecast(snapshot)["purchases"].to_numpy()
    np.testing.assert_allclose(mean, forecast, rtol=1e-5, atol=1e-7)
    path = taught.track(snapshot, [Duration.parse("1W"), Duration.parse(HORIZON)])
    np.testing.assert_allclose(path[:, 1], forecast, rtol=1e-12)
    assert (path[:, 0] < path[:, 1]).all()


@pytest.fixture(scope="module")
def few(parts) -> list[LabelledSnapshot]:
    """A third of the customers: a corrected distribution takes time for each of them."""
    found = []
    for part in parts:
        rows = np.arange(len(part)) % 3 == 0
        found.append(LabelledSnapshot(part.snapshot.subset(rows), part.outcomes[rows], part.window))
    return found


@pytest.mark.parametrize(
    "process",
    [BetaGeoModel(), ModifiedBetaGeoModel(), NewcomerModel(first=2.0, half_life="4W")],
    ids=lambda process: type(process).__name__,
)
def test_every_process_has_a_distribution_with_factor_and_drift(few, process):
    snapshot = few[2].snapshot
    model = hybrid(purchase_models=[process]).fit(snapshot, planted(few[:2]))
    assert model.booster_ is not None
    model.drift_ = 0.02
    distribution = model.distribution(snapshot, 200).to_numpy()
    forecast = model.forecast(snapshot)["purchases"].to_numpy()
    np.testing.assert_allclose(distribution @ np.arange(201.0), forecast, rtol=1e-4, atol=1e-6)
    # A factor on the rate does not bring anybody back.
    gone = 1.0 - model.process_.purchase_model_.probability_alive(snapshot).to_numpy()
    assert (distribution[:, 0] >= gone - 1e-12).all()


@pytest.mark.parametrize("drift", [0.02, 0.05])
def test_the_drift_of_wandering_rates_is_recovered(parts, drift):
    rng, disturbed = np.random.default_rng(4), []
    for part in parts[:2]:
        model = ParetoNBDModel().fit(part.snapshot)
        h, alive, future = model._look_ahead(part.snapshot, HORIZON)
        place = future.inverse[h.inverse]
        spread = np.expm1(drift * (part.snapshot.frame["T"].to_numpy() + 13.0) / 3.0)
        noise = rng.gamma(1.0 / spread, spread)
        length = 13.0 * (rng.random(len(part)) < alive[h.inverse])
        rate = rng.gamma(future.params.r[place]) / future.params.alpha[place]
        drawn = rng.poisson(rate * noise * length)
        outcomes = part.outcomes.assign(purchases=drawn)
        disturbed.append(LabelledSnapshot(part.snapshot, outcomes, part.window))
    model = hybrid().fit(parts[2].snapshot, disturbed)
    assert 0.6 * drift < model.drift_ < 1.6 * drift


def test_the_likeliest_process_is_corrected(few):
    candidates = [ParetoNBDModel(), ModifiedBetaGeoModel()]
    model = hybrid(purchase_models=candidates).fit(few[2].snapshot, planted(few[:2]))
    fitted = [clone(one).fit(few[2].snapshot) for one in candidates]
    best = max(fitted, key=lambda one: one.log_likelihood_)
    assert model.process_.purchase_model_.to_dict() == best.to_dict()


def test_blend_weights_add_up_and_leave_out_who_cannot_be_fitted(parts):
    members = [process(), BoostedForecaster(horizon="26W", max_rounds=20), hybrid(horizon="26W")]
    model = BlendForecaster(members=members, horizon="26W").fit(parts[2].snapshot, parts[:2])
    assert sum(model.weights_) == pytest.approx(1.0)
    assert min(model.weights_) > 0
    assert not any(isinstance(member, BoostedForecaster) for member in model.members_)
    assert all(member.horizon == "26W" for member in model.members_)
    only = BlendForecaster(members=members[1:2], horizon="26W")
    with pytest.raises(TooLittleDataError, match="no member of the blend"):
        only.fit(parts[2].snapshot, parts[:2])


def test_mean_of_the_blended_distribution_is_its_forecast(parts):
    snapshot = parts[2].snapshot
    members = [process(), process(ModifiedBetaGeoModel)]
    model = BlendForecaster(members=members, horizon=HORIZON).fit(snapshot, parts[:2])
    model.weights_, model.members_ = [0.3, 0.7], [member.fit(snapshot) for member in members]
    mean = model.distribution(snapshot, 150).to_numpy() @ np.arange(151.0)
    np.testing.assert_allclose(mean, model.forecast(snapshot)["purchases"], rtol=1e-5, atol=1e-7)
    path = model.track(snapshot, [Duration.parse(HORIZON)])
    np.testing.assert_allclose(path[:, 0], model.forecast(snapshot)["purchases"], rtol=1e-12)
    learned = BoostedForecaster(horizon=HORIZON, max_rounds=5).fit(snapshot, parts[:2])
    model.members_ = [members[0], learned]
    assert model.distribution(snapshot, 10) is None
    assert model.track(snapshot, [Duration.parse(HORIZON)]) is None


def test_only_registered_features_enter(parts):
    names = choose_features(parts[:2])
    assert {"frequency", "recency", "T", "purchases_13w"} <= set(names)
    assert not any(name.startswith("cutoff_season") for name in names)
    spied = [
        LabelledSnapshot(
            Snapshot(
                part.snapshot.frame.assign(bought_later=part.outcomes["purchases"].to_numpy()),
                part.snapshot.cutoff,
            ),
            part.outcomes,
            part.window,
        )
        for part in parts[:2]
    ]
    assert choose_features(spied) == names
    bare = Snapshot(parts[2].snapshot.frame.drop(columns="purchases_13w"), parts[2].window.cutoff)
    with pytest.raises(MissingColumnsError, match="purchases_13w"):
        feature_matrix(bare, names)
