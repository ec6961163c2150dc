"""Hazards of contracts: known effects come back, causes are told apart, nothing looks ahead."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from crmml import models
from crmml.data.tables import open_tables
from crmml.exceptions import BoundaryWarning, CensoredWindowError, DataError, TooLittleDataError
from crmml.features.contracts import (
    build_contract_outcomes,
    build_contracts,
    build_person_periods,
)
from crmml.models.churn.beta_weibull import BetaDiscreteWeibullModel
from crmml.models.churn.contract_rules import ContractRule
from crmml.models.churn.hazard import HazardModel
from crmml.testing.contracts import CAUSE_EFFECTS, simulate_contracts

CUTOFF = pd.Timestamp("2024-02-01")


@pytest.fixture(scope="module")
def telecom():
    return open_tables(simulate_contracts(8_000, seed=1))


@pytest.fixture(scope="module")
def periods(telecom):
    return build_person_periods(telecom.before(CUTOFF), CUTOFF)


@pytest.fixture(scope="module")
def contracts(telecom):
    return build_contracts(telecom, CUTOFF)


MODELS = {
    "logistic": HazardModel,
    "boosting": lambda: HazardModel(learner="boosting"),
    "beta_discrete_weibull": BetaDiscreteWeibullModel,
    "rule": ContractRule,
}


@pytest.fixture(scope="module")
def fitted(periods):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)
        return {name: make().fit(periods) for name, make in MODELS.items()}


@pytest.fixture(params=["logistic", "boosting"])
def model(request, fitted):
    return fitted[request.param]


@pytest.fixture(params=MODELS)
def any_model(request, fitted):
    return fitted[request.param]


def test_known_effects_come_back(periods):
    model = HazardModel(ridge=0.1).fit(periods)
    names = ["base", "log age", "0", "1", "2", "year", *model.design_.names]
    found = pd.DataFrame(np.asarray(model.coefficients_)[1:].T, names, model.causes_)
    card = found.loc["customer_paid_by = card"] - found.loc["customer_paid_by = invoice"]
    young = found.loc[["0", "1", "2"]].mean() + found.loc["log age"] * (
        np.log1p([0, 1, 2]).mean() - np.log1p(12)
    )
    ends = periods.frame["cause"].value_counts()
    for cause, effect in CAUSE_EFFECTS.items():
        error = 2.0 / np.sqrt(ends[cause])  # of a share of about one half, one standard error
        assert card[cause] == pytest.approx(effect["card"], abs=4.0 * error)
        assert young[cause] == pytest.approx(effect["young"], abs=4.0 * error)


def test_probabilities_are_what_happens_by_cause(telecom, contracts, model):
    outcome = build_contract_outcomes(telecom, contracts, "90D")
    said = model.churn_by_cause(contracts, "90D")
    for cause in model.causes_:
        happened = (outcome["cause"] == cause).to_numpy()
        noise = np.sqrt(happened.sum() + 1.0)
        assert said[cause].sum() == pytest.approx(happened.sum(), abs=4.0 * noise)
        # told apart: those who end for this cause were given a higher chance of it than others
        assert said.loc[happened, cause].mean() > 1.1 * said.loc[~happened, cause].mean()


def test_the_model_beats_the_best_rule(telecom, contracts, fitted, model):
    outcome = build_contract_outcomes(telecom, contracts, "90D")["churned"].to_numpy()
    rule = fitted["rule"]

    def loss(said: pd.Series[float]) -> float:
        p = said.to_numpy()
        return -float(np.where(outcome, np.log(p), np.log1p(-p)).mean())

    assert loss(model.churn_probability(contracts, "90D")) < loss(
        rule.churn_probability(contracts, "90D")
    )


def test_survival_and_causes_add_up(contracts, any_model):
    model = any_model
    survival = model.survival(contracts, 6)
    assert (np.diff(survival.to_numpy(), axis=1) <= 0).all()
    hazards = model.hazards(contracts, 1)[:, :, 0].sum(axis=0)
    np.testing.assert_allclose(survival[1], 1.0 - hazards, atol=1e-12)
    longer = [model.churn_probability(contracts, h).to_numpy() for h in ("30D", "90D", "365D")]
    assert (longer[0] <= longer[1]).all()
    assert (longer[1] <= longer[2]).all()


def test_value_lies_in_its_interval_and_grows_with_the_margin(contracts, any_model):
    model = any_model
    value = model.contract_value(contracts, "360D", margin=0.5, annual_discount_rate=0.0)
    assert (value["lower"] <= value["upper"]).all()
    double = model.contract_value(contracts, "360D", margin=1.0, annual_discount_rate=0.0)
    np.testing.assert_allclose(double["contract_value"], 2.0 * value["contract_value"])
    lifetime = model.expected_residual_lifetime(contracts, "360D")
    assert ((lifetime > 0) & (lifetime <= 360.0 + 1e-9)).all()


def test_a_stored_model_says_the_same(contracts, any_model):
    stored = json.loads(json.dumps(any_model.to_dict()))
    again = models.from_dict(stored)
    said = any_model.churn_by_cause(contracts, "90D")
    pd.testing.assert_frame_equal(again.churn_by_cause(contracts, "90D"), said)
    assert clone(any_model).get_params() == any_model.get_params()


@pytest.mark.parametrize(
    ("name", "place", "entry"),
    [
        ("logistic", "causes_", ["voluntary"]),
        ("logistic", "shifts_", [0.0]),
        ("logistic", "coefficients_", [[0.0], [1.0]]),
        ("logistic", "design_", {"numbers": {}, "levels": {}}),
        ("boosting", "trees_", None),
        ("beta_discrete_weibull", "causes_", []),
        ("rule", "causes_", ["one", "two"]),
    ],
)
def test_stored_parts_that_do_not_fit_together_are_refused(fitted, name, place, entry):
    stored = fitted[name].to_dict()
    stored["state"][place] = entry
    with pytest.raises(DataError, match="stored model"):
        models.from_dict(stored)


def test_each_customer_is_asked_alone(contracts, any_model):
    some = replace(contracts, frame=contracts.frame.iloc[[7, 3]].reset_index(drop=True))
    whole = any_model.churn_by_cause(contracts, "90D")
    few = any_model.churn_by_cause(some, "90D")
    pd.testing.assert_frame_equal(few, whole.iloc[[7, 3]], check_exact=True)
    for row in range(0, len(contracts), len(contracts) // 20):
        one = replace(contracts, frame=contracts.frame.iloc[[row]].reset_index(drop=True))
        alone = any_model.churn_by_cause(one, "90D")
        pd.testing.assert_frame_equal(alone, whole.iloc[[row]], check_exact=True)


def test_a_summary_tells_the_likelihood_of_what_the_periods_brought(fitted, periods):
    n_spells = len(periods.frame[["customer_id", "spell"]].drop_duplicates())
    found = {name: model.summary() for name, model in fitted.items()}
    assert found["beta_discrete_weibull"].n_customers == n_spells
    assert list(found["beta_discrete_weibull"].to_pandas().index) == ["alpha", "beta", "c"]
    assert found["boosting"].n_parameters is None
    assert np.isnan(found["boosting"].bic)
    logistic = found["logistic"]
    table = logistic.to_pandas()
    assert logistic.n_parameters == len(table)
    assert table["standard_error"].isna().all()
    assert table.loc["voluntary: log(1 + age)", "estimate"] == pytest.approx(
        fitted["logistic"].coefficients_[1 + fitted["logistic"].causes_.index("voluntary")][1]
    )
    ended = periods.frame["cause"].notna()
    mean = ended.mean()
    flat = ended.sum() * np.log(mean) + (~ended).sum() * np.log1p(-mean)
    assert flat < found["rule"].log_likelihood < 0
    for one in found.values():
        assert len(str(one).splitlines()) <= 15


def test_too_few_ends_are_refused_with_the_figures():
    tables = open_tables(simulate_contracts(60, seed=2))
    with pytest.raises(TooLittleDataError, match="at least 50 contracts that ended"):
        HazardModel().fit(build_person_periods(tables))


def test_an_unseen_horizon_is_censored(telecom, contracts):
    with pytest.raises(CensoredWindowError):
        build_contract_outcomes(telecom, contracts, "900D")
