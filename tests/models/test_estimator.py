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

import crmml
from crmml import models
from crmml.data.tables import open_tables
from crmml.exceptions import (
    CrmmlError,
    DataError,
    DurationError,
    FitWarning,
    MissingColumnsError,
    NotFittedError,
    ParameterError,
    WrongArgumentError,
)
from crmml.features.contracts import (
    Contracts,
    PersonPeriods,
    build_contracts,
    build_person_periods,
)
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import Wallet, rolling_wallets
from crmml.testing.contracts import simulate_contracts

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
        model.expected_purchases(snapshot, "6 years")
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
        Snapshot.from_frame(frame.drop(columns="T"), cutoff="2020-01-01", time_unit="week")
    with pytest.raises(DataError, match="recency must lie between 0 and T"):
        Snapshot.from_frame(
            frame.assign(recency=1e6, frequency=1.0), cutoff="2020-01-01", time_unit="week"
        )


# -- models that learn from a history of windows, or from contracts ------------------------------


HORIZON = "13W"
TREES = {"max_rounds": 30}


def fit_churn(model, parts):
    return model.fit(parts[:-1])


def ask_churn(model, newest):
    return model.churn_probability(newest.snapshot).to_frame()


def fit_forecast(model, parts):
    newest = max(parts, key=lambda part: part.window.cutoff)
    return model.fit(newest.snapshot, [part for part in parts if part is not newest])


def ask_forecast(model, newest):
    return model.forecast(newest.snapshot)


def fit_snapshot(model, parts):
    return model.fit(parts[-1].snapshot)


def ask_lifetimes(model, newest):
    return model.expected_purchases(newest.snapshot, HORIZON).to_frame()


def ask_spend(model, newest):
    return model.expected_spend(newest.snapshot).to_frame()


def fit_contracts(model, parts):
    return model.fit(parts[-1])


def ask_contracts(model, newest):
    return model.churn_probability(newest, "3P").to_frame()


def fit_loyalty(model, parts):
    return model.fit(parts)


def ask_loyalty(model, newest):
    return model.loyalty_probabilities(newest)


def corrected():
    purchase, spend = [models.ParetoNBDModel()], models.GammaGammaModel()
    return models.HybridForecaster(
        purchase_models=purchase, spend_model=spend, horizon=HORIZON, **TREES
    )


def from_process(process=models.ParetoNBDModel):
    spend = models.GammaGammaModel()
    return models.ProcessForecaster(purchase_model=process(), spend_model=spend, horizon=HORIZON)


def fit_periods(model, parts):
    return model.fit(parts[0])


def ask_renewals(model, part):
    whole = model.churn_probability(part, "90D").to_frame()
    by_cause = model.churn_by_cause(part, "90D")
    lived = model.expected_residual_lifetime(part, "90D")
    return whole.join(by_cause).assign(lived=lived)


def blended():
    heuristic = models.HeuristicForecaster(horizon=HORIZON)
    members = [from_process(), from_process(models.ModifiedBetaGeoModel), heuristic]
    return models.BlendForecaster(members=members, horizon=HORIZON)


def boosted(kind):
    return lambda: models.BoostedForecaster(kind=kind, horizon=HORIZON, **TREES)


LEARNERS = {
    "ChurnModel": (
        lambda: models.ChurnModel(horizon=HORIZON, n_folds=2, learning_rate=0.1, **TREES),
        fit_churn,
        ask_churn,
    ),
    "PurchaseChurn": (lambda: models.PurchaseChurn(horizon=HORIZON), fit_churn, ask_churn),
    "RecencyRule": (models.RecencyRule, fit_churn, ask_churn),
    "ShiftedBetaGeoModel": (models.ShiftedBetaGeoModel, fit_contracts, ask_contracts),
    "HazardModel": (models.HazardModel, fit_periods, ask_renewals),
    "HazardModel, boosting": (
        lambda: models.HazardModel(learner="boosting"),
        fit_periods,
        ask_renewals,
    ),
    "BetaDiscreteWeibullModel": (models.BetaDiscreteWeibullModel, fit_periods, ask_renewals),
    "ContractRule": (models.ContractRule, fit_periods, ask_renewals),
    "LoyaltyModel": (lambda: models.LoyaltyModel(n_boot=20), fit_loyalty, ask_loyalty),
    "HeuristicForecaster": (
        lambda: models.HeuristicForecaster(horizon=HORIZON),
        fit_forecast,
        ask_forecast,
    ),
    "ProcessForecaster": (from_process, fit_forecast, ask_forecast),
    "BoostedForecaster": (boosted("tweedie"), fit_forecast, ask_forecast),
    "BoostedForecaster, hurdle": (boosted("hurdle"), fit_forecast, ask_forecast),
    "HybridForecaster": (corrected, fit_forecast, ask_forecast),
    "BlendForecaster": (blended, fit_forecast, ask_forecast),
    "LifetimesBaseline": (models.LifetimesBaseline, fit_snapshot, ask_lifetimes),
    "LifetimesSpendBaseline": (models.LifetimesSpendBaseline, fit_snapshot, ask_spend),
    "OwnMeanSpend": (models.OwnMeanSpend, fit_snapshot, ask_spend),
}
learners = pytest.mark.parametrize("name", LEARNERS)
WALKED_IN_OTHER_TESTS = {"LifetimeValueModel"}


def chosen(part, rows):
    """Return the given rows of a window, of a wallet or of a table of contracts, in that order."""
    if isinstance(part, pd.DataFrame):
        return part.iloc[rows]
    if isinstance(part, PersonPeriods):  # which are always sorted by whoever makes them
        return part
    if isinstance(part, (Wallet, Contracts)):
        return replace(part, frame=part.frame.iloc[rows])
    frame = part.snapshot.frame.iloc[rows].reset_index(drop=True)
    snapshot = replace(part.snapshot, frame=frame[[*frame.columns[::-1]]])
    return replace(part, snapshot=snapshot, outcomes=part.outcomes.iloc[rows])


def content(part):
    if isinstance(part, pd.DataFrame):
        return [part.copy()]
    if isinstance(part, (Wallet, PersonPeriods, Contracts)):
        return [part.frame.copy()]
    return [part.snapshot.frame.copy(), part.outcomes.copy()]


@pytest.fixture(scope="module")
def histories(cdnow_tables, cdnow_quarters):
    rng = np.random.default_rng(2)
    renewals = rng.geometric(rng.beta(2.0, 5.0, 300)).clip(max=8) - 1
    contracts = pd.DataFrame(
        {"customer_id": [f"c{i}" for i in range(300)], "renewals": renewals, "ended": renewals < 7}
    )
    wallets = rolling_wallets(cdnow_tables, "1998-07-01", length=HORIZON, most=3)
    telecom = open_tables(simulate_contracts(800, seed=2))
    at_risk = [build_person_periods(telecom), build_contracts(telecom)]
    kinds = {fit_contracts: [contracts], fit_loyalty: wallets, fit_periods: at_risk}
    return {name: kinds.get(fit, cdnow_quarters) for name, (_, fit, _) in LEARNERS.items()}


@pytest.fixture(scope="module")
def learned(histories):
    """Each learner, fitted, with its predictions and with its input as it was before."""
    found = {}
    for name, (make, fit, ask) in LEARNERS.items():
        parts = histories[name]
        before = [content(part) for part in parts]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)
            model = fit(make(), parts)
        found[name] = model, ask(model, parts[-1]), before
    return found


def test_the_two_walks_cover_all_estimators():
    walked = {name for name, _ in WALK} | {name.partition(",")[0] for name in LEARNERS}
    assert walked | WALKED_IN_OTHER_TESTS == set(models._HOME)


@learners
def test_a_learner_says_one_finite_row_per_customer(learned, histories, name):
    said = learned[name][1]
    newest = content(histories[name][-1])[0]
    assert list(said.index) == list(newest.get("customer_id", newest.index))
    assert np.isfinite(said.to_numpy()).all()
    assert (said.to_numpy() >= 0).all()


@learners
@pytest.mark.filterwarnings("ignore::crmml.exceptions.FitWarning")
def test_a_learner_knows_no_order_of_rows_columns_and_windows(learned, histories, name):
    make, fit, ask = LEARNERS[name]
    rng = np.random.default_rng(1)
    mixed = [chosen(part, rng.permutation(len(part))) for part in histories[name]]
    in_turn = (
        mixed if fit in (fit_snapshot, fit_contracts, fit_periods) else [*mixed[-2::-1], mixed[-1]]
    )
    again = fit(make(), in_turn)
    expected = learned[name][1]
    found = ask(again, mixed[-1]).loc[expected.index]
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)
    if "Boosted" in name:
        assert again.to_dict() == learned[name][0].to_dict()


@learners
def test_a_learner_says_of_a_customer_alone_what_it_says_in_the_batch(learned, histories, name):
    model, expected, _ = learned[name]
    alone = chosen(histories[name][-1], [17])
    found = LEARNERS[name][2](model, alone)
    pd.testing.assert_frame_equal(found, expected.iloc[[17]], rtol=1e-12)


@learners
def test_a_learner_is_stored_as_plain_text(learned, histories, name):
    model, expected, _ = learned[name]
    again = models.from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
    found = LEARNERS[name][2](again, histories[name][-1])
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert again.to_dict() == model.to_dict()


@learners
def test_a_learner_leaves_its_input_as_it_was(learned, histories, name):
    for before, part in zip(learned[name][2], histories[name], strict=True):
        for one, other in zip(before, content(part), strict=True):
            pd.testing.assert_frame_equal(one, other)


@learners
def test_a_learner_says_when_it_is_not_fitted(histories, name):
    make, _, ask = LEARNERS[name]
    with pytest.raises(NotFittedError, match=f"{name.partition(',')[0]} is not fitted"):
        ask(make(), histories[name][-1])


def test_an_unknown_stored_model_is_refused():
    with pytest.raises(DataError, match="no estimator is called 'Nonsense'"):
        models.from_dict({"class": "Nonsense"})


# -- what every estimator says of itself ---------------------------------------------------------


def check_shown(value):
    line, text, page = repr(value), str(value), value._repr_html_()
    assert line
    assert "\n" not in line
    assert len(line) <= 200
    assert line.isascii()
    assert text.isascii()
    lines = text.splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 100
    assert len(page) <= 4_000
    assert value._repr_mimebundle_()["text/html"] == page


def check_half_built(value):
    """An object without some or all of its attributes must show itself too."""
    kind = type(value)
    empty = kind.__new__(kind)
    check_shown(empty)
    for name in list(value.__dict__):
        partial = kind.__new__(kind)
        partial.__dict__.update({k: v for k, v in value.__dict__.items() if k != name})
        check_shown(partial)


def check_saved(model, tmp_path):
    again = crmml.load(model.save(tmp_path / "model.json"))
    assert type(again) is type(model)
    assert json.dumps(again.to_dict()) == json.dumps(model.to_dict())
    return again


@walk
def test_it_shows_itself_fitted_unfitted_cloned_and_half_built(ready, name, settings):
    model = ready[name, tuple(settings)][0]
    for one in (model, clone(model), getattr(models, name)(**settings)):
        before = json.dumps(model.to_dict())
        check_shown(one)
        check_half_built(one)
        assert json.dumps(model.to_dict()) == before
    assert "fitted to" in repr(model)
    assert "build_snapshot" in str(clone(model))


@walk
def test_its_file_gives_the_same_predictions_to_the_bit(ready, name, settings, tmp_path):
    model, snapshot, before = ready[name, tuple(settings)]
    again = check_saved(model, tmp_path)
    for what, got in predictions(again, snapshot).items():
        assert np.array_equal(got.to_numpy(), before[what].to_numpy(), equal_nan=True), what


@learners
def test_a_learner_shows_itself(learned, name):
    model = learned[name][0]
    for one in (model, clone(model), LEARNERS[name][0]()):
        check_shown(one)
        check_half_built(one)


@learners
def test_the_file_of_a_learner_gives_the_same_predictions(learned, histories, name, tmp_path):
    again = check_saved(learned[name][0], tmp_path)
    found = LEARNERS[name][2](again, histories[name][-1])
    pd.testing.assert_frame_equal(found, learned[name][1], check_exact=True)


def test_each_setting_of_each_estimator_has_its_consequence():
    from crmml.models.consequences import CONSEQUENCES

    silent = [
        f"{kind}.{name}"
        for kind in models._HOME
        for name in inspect.signature(getattr(models, kind)).parameters
        if name not in CONSEQUENCES and f"{kind}.{name}" not in CONSEQUENCES
    ]
    assert silent == []


WRONG = {
    "a log": pd.DataFrame({"customer_id": [1], "timestamp": ["2024-01-01"], "amount": [3.0]}),
    "a path": "purchases.csv",
    "nothing": None,
}


@walk
@pytest.mark.parametrize("wrong", WRONG)
def test_a_log_in_place_of_a_snapshot_gets_the_right_name(ready, name, settings, wrong):
    told = rf"{name} needs a Snapshot; got .*: crmml.build_snapshot\(log, cutoff\) makes one"
    with pytest.raises(WrongArgumentError, match=told):
        getattr(models, name)(**settings).fit(WRONG[wrong])
    model = ready[name, tuple(settings)][0]
    ask = model.expected_spend if name == "GammaGammaModel" else model.expected_purchases
    with pytest.raises(WrongArgumentError, match=told):
        ask(*([WRONG[wrong]] if name == "GammaGammaModel" else [WRONG[wrong], "26W"]))


def test_a_table_of_customers_gets_from_frame():
    frame = world("ParetoNBDModel", 20).frame
    with pytest.raises(WrongArgumentError, match=r"Snapshot\.from_frame\(table"):
        models.ParetoNBDModel().fit(frame)


@learners
def test_a_learner_refuses_what_is_of_another_kind(histories, name):
    make, fit, _ = LEARNERS[name]
    newest = histories[name][-1]
    wrong = {fit_contracts: world("ParetoNBDModel", 20)}
    wrong |= dict.fromkeys((fit_loyalty, fit_snapshot, fit_periods), newest)
    given = wrong.get(fit, getattr(newest, "snapshot", None))
    if name == "PurchaseChurn":  # fits on a snapshot without outcomes
        given = newest
    told = {
        fit_contracts: "needs a DataFrame of contracts; got a Snapshot",
        fit_periods: "needs PersonPeriods; got a Contracts: it does not know.*build_person_periods",
        fit_loyalty: "needs a list of wallets.*rolling_wallets",
        fit_snapshot: "needs a Snapshot; got a LabelledSnapshot: give its .snapshot",
        fit_churn: "needs a list of labelled snapshots.*got a (LabelledSnapshot: put|Snapshot: it)",
        fit_forecast: "needs a Snapshot; got a list of",
    }[fit]
    with pytest.raises(WrongArgumentError, match=told):
        make().fit([given] if fit is fit_forecast else given)


@learners
def test_a_learner_refuses_to_predict_for_what_is_of_another_kind(learned, name):
    model, _, _ = learned[name]
    ask = {
        fit_forecast: lambda wrong: model.forecast(wrong),
        fit_churn: lambda wrong: model.churn_probability(wrong),
        fit_contracts: lambda wrong: model.churn_probability(wrong, "3P"),
        fit_periods: lambda wrong: model.churn_probability(wrong, "90D"),
        fit_loyalty: lambda wrong: model.loyalty_probabilities(wrong),
        fit_snapshot: lambda wrong: LEARNERS[name][2](model, type("Part", (), {"snapshot": wrong})),
    }[LEARNERS[name][1]]
    needed = {
        fit_contracts: "a DataFrame of contracts",
        fit_periods: "Contracts",
        fit_loyalty: "a Wallet",
    }
    told = needed.get(LEARNERS[name][1], "a Snapshot")
    with pytest.raises(WrongArgumentError, match=f"needs {told}.*; got the text or path"):
        ask("purchases.csv")
