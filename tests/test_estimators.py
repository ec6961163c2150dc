"""One walk over all estimators: what every one of them must do."""

import inspect
import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from crmml import models
from crmml.exceptions import (
    CrmmlError,
    DataError,
    DurationError,
    FitWarning,
    MissingColumnsError,
    NotFittedError,
    ParameterError,
)
from crmml.features.snapshot import Snapshot

PURCHASE = {
    "BetaGeoModel": {},
    "ModifiedBetaGeoModel": {},
    "ParetoNBDModel": {},
    "RegularPurchaseModel": {},
    "BetaGeoBetaBinomialModel": {},
}
COVARIATES = [
    ("BetaGeoModel", {"purchase_covariates": ("z",), "dropout_covariates": ("z",)}),
    ("ModifiedBetaGeoModel", {"purchase_covariates": ("z",)}),
    ("ParetoNBDModel", {"purchase_covariates": ("z",), "dropout_covariates": ("z",)}),
]
DECEMBER = models.CalendarProfile.from_weeks({w: 2.0 if w >= 48 else 1.0 for w in range(1, 54)})
SEASONAL = models.ModifiedBetaGeoModel(calendar=DECEMBER)
IN_TIME = [
    ("ModifiedBetaGeoModel", {"calendar": DECEMBER}),
    ("LeftCensoredModel", {"margin": "8W"}),
    ("LeftCensoredModel", {"margin": "8W", "base": SEASONAL}),
    ("NewcomerModel", {"first": 2.0, "half_life": "5W"}),
    ("NewcomerModel", {"first": 2.0, "half_life": "5W", "purchase_covariates": ("z",)}),
]
PURCHASE_WALK = [*PURCHASE.items(), *COVARIATES, *IN_TIME]
WALK = [*PURCHASE_WALK, ("GammaGammaModel", {})]


def world(name, n=400):
    rng = np.random.default_rng(8)
    ids = pd.Index([f"кл-{i}" if i % 3 else f"👤{i}" for i in range(n)])
    if name == "BetaGeoBetaBinomialModel":
        T = np.full(n, 8.0)
        buys = rng.random((n, 8)) < rng.beta(1.0, 1.0, n)[:, None]
        buys &= np.arange(8) < rng.geometric(rng.beta(1.0, 4.0, n))[:, None]
        x = buys.sum(axis=1).astype(float)
        t_x = np.where(x > 0, 8 - np.argmax(buys[:, ::-1], axis=1), 0).astype(float)
        unit = "period"
    else:
        T = rng.integers(100, 280, n) / 7
        # Exponential lifetimes, so that every model finds dropout.
        until = np.minimum(T, rng.exponential(1.0, n) / rng.gamma(1.5, 1 / 30.0, n))
        x = rng.poisson(rng.gamma(1.2, 1 / 5.0, n) * until).astype(float)
        last = np.round(until * rng.beta(np.maximum(x, 1.0), 1.0) * 7).clip(1) / 7
        t_x = np.where(x > 0, np.minimum(last, T), 0.0)
        unit = "week"
    frame = pd.DataFrame({"customer_id": ids, "frequency": x, "recency": t_x, "T": T})
    mean = 30.0 / rng.gamma(4.0, 0.3, n) * rng.gamma(5.0 * np.maximum(x, 1)) / np.maximum(x, 1)
    frame["monetary_value"] = np.where(x > 0, mean, 0.0)
    frame["z"] = rng.integers(0, 3, n)
    begun = {"first_timestamp": "2019-03-27"}
    return Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit=unit, provenance=begun)


def fitted(name, settings, snapshot):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # small worlds; the warnings have own tests
        return getattr(models, name)(**settings).fit(snapshot)


def predictions(model, snapshot):
    if isinstance(model, models.GammaGammaModel):
        return {
            "expected_spend": model.expected_spend(snapshot),
            "spend_quantiles": model.spend_quantiles(snapshot, [0.1, 0.9]),
            "sample": model.sample(snapshot, 2, seed=1),
        }
    horizon = "6P" if snapshot.time_unit == "period" else "26W"
    return {
        "expected_purchases": model.expected_purchases(snapshot, horizon),
        "if_alive": model.expected_purchases_if_alive(snapshot, horizon),
        "probability_alive": model.probability_alive(snapshot),
        "no_purchase": model.probability_no_purchase(snapshot, horizon),
        "distribution": model.purchase_distribution(snapshot, horizon, 4),
        "quantiles": model.purchase_quantiles(snapshot, horizon, [0.1, 0.5, 0.9]),
        "discounted": model.discounted_expected_purchases(snapshot, horizon, 0.1),
        "residual": model.discounted_expected_purchases(snapshot, None, 0.1),
        "sample": model.sample(snapshot, horizon, 20, seed=1),
    }


@pytest.fixture(scope="module")
def ready():
    found = {}
    for name, settings in WALK:
        snapshot = world(name)
        model = fitted(name, settings, snapshot)
        found[name, tuple(settings)] = model, snapshot, predictions(model, snapshot)
    return found


walk = pytest.mark.parametrize(("name", "settings"), WALK)
walk_purchases = pytest.mark.parametrize(("name", "settings"), PURCHASE_WALK)


@pytest.mark.parametrize("name", sorted(models._HOME))
def test_settings_are_keywords_and_clones_are_equal(name):
    cls = getattr(models, name)
    parameters = list(inspect.signature(cls).parameters.values())
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters), "settings are keyword-only"
    if any(p.default is p.empty for p in parameters):
        pytest.skip("has settings without a default")
    model = cls()
    assert clone(model).get_params(deep=False).keys() == model.get_params(deep=False).keys()
    with pytest.raises(NotFittedError, match=f"{name} is not fitted yet"):
        model.to_dict()


@walk
def test_fitting_twice_and_in_another_order_is_the_same(ready, name, settings):
    model, snapshot, _ = ready[name, tuple(settings)]
    again = fitted(name, settings, snapshot)
    assert json.dumps(again.to_dict()) == json.dumps(model.to_dict())
    frame = snapshot.frame.sample(frac=1.0, random_state=3)
    shuffled = replace(snapshot, frame=frame.reset_index(drop=True))
    other = fitted(name, settings, shuffled)
    assert_allclose(list(other.params_.values()), list(model.params_.values()), rtol=1e-9)


@walk
def test_predictions_are_keyed_by_customer_whoever_else_is_there(ready, name, settings):
    model, snapshot, before = ready[name, tuple(settings)]
    frame = snapshot.frame.sample(frac=1.0, random_state=4)
    shuffled = replace(snapshot, frame=frame.reset_index(drop=True))
    alone = snapshot.subset(np.arange(len(snapshot)) == 7)
    among, by_itself = predictions(model, shuffled), predictions(model, alone)
    for what, expected in before.items():
        got = among[what]
        assert list(got.index) == list(frame["customer_id"]), what
        assert_allclose(got.loc[expected.index], expected, rtol=1e-12, atol=1e-300, err_msg=what)
        assert_allclose(by_itself[what], expected.iloc[[7]], rtol=1e-12, atol=1e-300, err_msg=what)


@walk
def test_the_input_is_left_as_it_was(ready, name, settings):
    snapshot = world(name)
    model = fitted(name, settings, snapshot)
    predictions(model, snapshot)
    pd.testing.assert_frame_equal(snapshot.frame, world(name).frame)


@walk
def test_storage_as_plain_text_gives_the_same_model(ready, name, settings):
    model, snapshot, before = ready[name, tuple(settings)]
    text = json.dumps(model.to_dict())
    for customer in snapshot.customer_id[:50]:
        assert customer not in text
    again = models.from_dict(json.loads(text))
    assert type(again) is type(model)
    for what, got in predictions(again, snapshot).items():
        assert_allclose(got, before[what], rtol=1e-14, err_msg=what)


@walk
def test_before_the_fit_it_says_so(name, settings):
    snapshot = world(name)
    with pytest.raises(NotFittedError, match=f"{name} is not fitted yet; call fit"):
        predictions(getattr(models, name)(**settings), snapshot)


@walk_purchases
def test_another_unit_of_time_is_refused(ready, name, settings):
    model, snapshot, _ = ready[name, tuple(settings)]
    other = Snapshot.from_frame(snapshot.frame, cutoff=snapshot.cutoff, time_unit="hour")
    with pytest.raises(
        CrmmlError, match=r"was fitted in units of .* is in 'hour'|must be 'period'"
    ):
        model.expected_purchases(other, "26W")


@walk_purchases
def test_bad_questions_are_refused(ready, name, settings):
    model, snapshot, _ = ready[name, tuple(settings)]
    good = "6P" if snapshot.time_unit == "period" else "26W"
    with pytest.raises(DurationError, match="a duration is a positive number and a unit"):
        model.expected_purchases(snapshot, "6 months")
    with pytest.raises(DurationError, match="a duration is a positive number and a unit"):
        model.expected_purchases(snapshot, 26)
    with pytest.raises(ParameterError, match="q must be strictly between 0 and 1"):
        model.purchase_quantiles(snapshot, good, [0.5, 1.0])
    with pytest.raises(ParameterError, match="n_max must be a whole number >= 0"):
        model.purchase_distribution(snapshot, good, -1)
    with pytest.raises(ParameterError, match="annual_discount_rate must be > 0 when there is no"):
        model.discounted_expected_purchases(snapshot, None, 0.0)
    with pytest.raises(ParameterError, match="annual_discount_rate must be finite and >= 0"):
        model.discounted_expected_purchases(snapshot, good, -0.1)


@walk_purchases
def test_predictions_hang_together(ready, name, settings):
    model, snapshot, found = ready[name, tuple(settings)]
    assert found["probability_alive"].between(0, 1).all()
    assert_allclose(found["distribution"][0], found["no_purchase"], rtol=1e-9)
    assert_allclose(
        found["expected_purchases"], found["probability_alive"] * found["if_alive"], rtol=1e-12
    )
    assert (found["discounted"] <= found["expected_purchases"] * (1 + 1e-12)).all()
    assert (found["discounted"] <= found["residual"] * (1 + 1e-9)).all()
    assert (found["quantiles"].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    horizon = "6P" if snapshot.time_unit == "period" else "26W"
    draws = model.sample(snapshot, horizon, 2000, seed=2)
    assert_allclose(draws.to_numpy().mean(), found["expected_purchases"].mean(), rtol=0.02)
    assert_allclose((draws == 0).to_numpy().mean(), found["no_purchase"].mean(), atol=0.005)


@walk
def test_rows_that_break_the_contract_are_refused_at_the_door(name, settings):
    frame = world(name).frame
    with pytest.raises(MissingColumnsError, match="missing column\\(s\\) 'T'"):
        Snapshot.from_frame(frame.drop(columns="T"), cutoff="2020-01-01")
    with pytest.raises(DataError, match="recency must lie between 0 and T"):
        Snapshot.from_frame(frame.assign(recency=1e6, frequency=1.0), cutoff="2020-01-01")


def test_an_unknown_stored_model_is_refused():
    with pytest.raises(DataError, match="no estimator is called 'Nonsense'"):
        models.from_dict({"class": "Nonsense"})
