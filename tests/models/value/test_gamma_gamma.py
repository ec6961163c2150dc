"""Gamma-Gamma: published numbers, mpmath references, and customers with net returns."""

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from crmml.exceptions import (
    BoundaryWarning,
    FitWarning,
    InfiniteMeanWarning,
    MissingColumnsError,
    TooLittleDataError,
)
from crmml.features.snapshot import Snapshot
from crmml.models import GammaGammaModel
from crmml.stats import gamma_gamma
from crmml.stats.gamma_gamma import Params

NOTE = {"p": 6.25, "q": 3.74, "gamma": 15.44}


def spend_snapshot(x, m):
    frame = pd.DataFrame(
        {
            "customer_id": np.arange(len(x)),
            "frequency": x,
            "recency": np.where(np.asarray(x) > 0, 1.0, 0.0),
            "T": 2.0,
            "monetary_value": m,
        }
    )
    return Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")


def with_params(**params):
    model = GammaGammaModel()
    model.params_ = params
    return model


def simulated(n, p, q, gamma, seed):
    rng = np.random.default_rng(seed)
    x = rng.poisson(3.0, n).astype(float)
    nu = rng.gamma(q, 1.0 / gamma, n)
    m = np.where(x > 0, rng.gamma(p * np.maximum(x, 1.0)) / nu / np.maximum(x, 1.0), 0.0)
    return spend_snapshot(x, m)


def test_mean_spend_of_a_newcomer_in_fader_hardie_2013():
    assert with_params(**NOTE).expected_spend_new_customer() == pytest.approx(35.22, abs=0.005)


@pytest.mark.parametrize("x", [1.0, 7.0, 3650.0])
@pytest.mark.parametrize("m", [0.01, 35.0, 1e6])
@pytest.mark.parametrize("params", [(6.25, 3.74, 15.44), (0.2, 0.5, 1e-3), (1e6, 40.0, 1e7)])
def test_log_likelihood_agrees_with_mpmath(params, x, m):
    mp.mp.dps = 40
    p, q, gamma, x_, m_ = map(mp.mpf, (*params, x, m))
    reference = (
        -mp.log(m_ * mp.beta(p * x_, q))
        + q * mp.log(gamma / (gamma + m_ * x_))
        + p * x_ * mp.log(m_ * x_ / (gamma + m_ * x_))
    )
    row = np.array([x]), np.array([m])
    got = gamma_gamma.log_likelihood(Params(*params), *row)[0]
    assert_allclose(got, float(reference), rtol=1e-10, atol=1e-10)
    assert_allclose(gamma_gamma.score(Params(*params), *row)[0][0], got, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(-2.0, 3.0)] * 3))
def test_score_is_the_derivative(theta):
    theta = np.array(theta)
    x, m = np.array([1.0, 2.0, 2.0, 9.0]), np.array([0.3, 1.0, 5.0, 2.0])

    def total(at):
        value, gradient = gamma_gamma.score(Params(*np.exp(at)), x, m)
        return value.sum(), gradient.sum(axis=1)

    step = 1e-5 * np.eye(3)
    numerical = np.array([(total(theta + e)[0] - total(theta - e)[0]) / 2e-5 for e in step])
    assert_allclose(total(theta)[1], numerical, rtol=1e-4, atol=1e-6)


def test_quantiles_invert_the_distribution_function():
    level = np.array([0.1, 0.5, 0.9])
    params = Params(6.25, 9.0, 60.0)
    rng = np.random.default_rng(0)
    nu = rng.gamma(9.0, 1 / 60.0, 200_000)
    mean = np.quantile(6.25 / nu, level)
    assert_allclose(gamma_gamma.mean_spend_quantile(params, level), mean, rtol=0.01)
    one = np.quantile(rng.gamma(6.25, 1 / nu), level)
    assert_allclose(gamma_gamma.purchase_quantile(params, level), one, rtol=0.02)


def test_fit_recovers_the_truth_of_a_simulated_base():
    model = GammaGammaModel().fit(simulated(20_000, 4.0, 5.0, 30.0, 1))
    for name, truth in {"p": 4.0, "q": 5.0, "gamma": 30.0}.items():
        assert abs(model.params_[name] - truth) < 4 * model.standard_errors_[name]
    assert model.converged_
    assert abs(model.spend_frequency_correlation_) < 0.05


def test_customers_with_net_returns_are_counted_and_may_be_worth_less_than_nothing():
    snapshot = simulated(500, 4.0, 5.0, 30.0, 2)
    frame = snapshot.frame.copy()
    buyers = frame.index[frame["frequency"] > 0][:3]
    frame.loc[buyers, "monetary_value"] = -200.0
    snapshot = Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")
    with pytest.warns(FitWarning, match=r"3 repeat buyer\(s\) with a monetary_value <= 0"):
        model = GammaGammaModel().fit(snapshot)
    assert model.n_left_out_ == 3
    spend = model.expected_spend(snapshot)
    assert (spend.loc[buyers] < 0).all()
    assert (spend.drop(buyers) > 0).all()
    mean = model.sample(snapshot, pd.DataFrame(1, index=spend.index, columns=range(2000)), seed=3)
    assert_allclose(mean.mean(axis=1).loc[buyers], spend.loc[buyers], rtol=0.1, atol=2.0)


def test_spend_without_a_mean_is_infinite_and_named_never_negative():
    snapshot = simulated(3000, 4.0, 0.7, 30.0, 4)
    with pytest.warns(InfiniteMeanWarning, match=r"q = 0\.\d+ <= 1: the fitted spend has no mean"):
        model = GammaGammaModel().fit(snapshot)
    assert model.expected_spend_new_customer() == np.inf
    assert (model.expected_spend(snapshot) > 0).all()


def test_a_material_correlation_of_spend_and_frequency_is_reported():
    rng = np.random.default_rng(5)
    x = rng.integers(1, 10, 2000).astype(float)
    snapshot = spend_snapshot(x, x * rng.gamma(9.0, 1.0, 2000))
    with pytest.warns(FitWarning, match=r"spend and frequency are correlated \(\+0\.[5-9]"):
        model = GammaGammaModel().fit(snapshot)
    assert model.spend_frequency_correlation_ > 0.5


def test_equal_spend_everywhere_is_a_boundary_not_a_crash():
    rng = np.random.default_rng(6)
    snapshot = spend_snapshot(np.full(200, 3.0), rng.normal(20.0, 1e-6, 200))
    with pytest.warns(BoundaryWarning, match="the optimum lies on the boundary"):
        model = GammaGammaModel().fit(snapshot)
    assert_allclose(model.expected_spend(snapshot), 20.0, rtol=1e-3)


def test_no_repeat_buyer_is_too_little_data():
    with pytest.raises(TooLittleDataError, match="none of 2 customers has both"):
        GammaGammaModel().fit(spend_snapshot(np.zeros(2), np.zeros(2)))


def test_money_must_be_there():
    snapshot = spend_snapshot(np.ones(2), np.ones(2))
    bare = Snapshot.from_frame(
        snapshot.frame.drop(columns="monetary_value"), cutoff="2020-01-01", time_unit="week"
    )
    with pytest.raises(MissingColumnsError, match="missing column\\(s\\) 'monetary_value'"):
        GammaGammaModel().fit(bare)
