import json

import numpy as np
import pytest
from scipy import integrate, special, stats

from crmml.exceptions import ConvergenceWarning, ParameterError
from crmml.stats.posterior import (
    Density,
    NormalPrior,
    Posterior,
    fit_generalised_pareto,
    sample_posterior,
    smooth_weights,
)

COVARIANCE = np.array([[0.04, 0.03, 0.0], [0.03, 0.09, -0.02], [0.0, -0.02, 0.25]])
PRECISION = np.linalg.inv(COVARIANCE)
MEAN = np.array([0.5, -1.0, 2.0])
NAMES = ("a", "b", "c")


def density_of(function, slope):
    return Density(function, lambda z: (function(z), slope(z)))


NORMAL = density_of(
    lambda z: float(-0.5 * (z - MEAN) @ PRECISION @ (z - MEAN)), lambda z: -PRECISION @ (z - MEAN)
)
# The logarithm of a gamma variable of shape 2: skewed.
LOG_GAMMA = density_of(lambda z: float(2.0 * z[0] - np.exp(z[0])), lambda z: 2.0 - np.exp(z))
# A banana: b given a is normal around a**2 with standard deviation 0.25.
BANANA = density_of(
    lambda z: float(-0.5 * z[0] ** 2 - 8.0 * (z[1] - z[0] ** 2) ** 2),
    lambda z: np.array([-z[0] + 32.0 * z[0] * (z[1] - z[0] ** 2), -16.0 * (z[1] - z[0] ** 2)]),
)


def test_a_normal_posterior_is_reproduced():
    found = sample_posterior(NAMES, NORMAL, np.zeros(3), n_draws=2000, seed=1)
    assert found.method == "laplace"
    assert found.pareto_k < 0.5
    deviation = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose(found.log_mean, MEAN, atol=0.02 * deviation.min())
    np.testing.assert_allclose(found.log_covariance, COVARIANCE, atol=0.01)
    logs = np.log(found.draws)
    np.testing.assert_allclose(logs.mean(axis=0), MEAN, atol=0.05)
    np.testing.assert_allclose(np.cov(logs.T), COVARIANCE, atol=0.02)
    assert found.mean["a"] == pytest.approx(np.exp(0.5 + 0.02), rel=0.02)


@pytest.mark.parametrize("method", ["laplace", "ensemble"])
def test_a_skewed_posterior_has_its_exact_moments(method):
    found = sample_posterior(("x",), LOG_GAMMA, np.zeros(1), n_draws=1000, method=method)
    assert found.method == method
    deviation = np.sqrt(special.polygamma(1, 2.0))
    assert found.log_mean[0] == pytest.approx(special.digamma(2.0), abs=0.1 * deviation)
    assert np.sqrt(found.log_covariance[0, 0]) == pytest.approx(deviation, rel=0.05)
    assert found.mean["x"] == pytest.approx(2.0, rel=0.06)
    assert found.effective_sample_size > 300


def test_where_importance_sampling_fails_the_ensemble_takes_over_and_says_so():
    with pytest.warns(ConvergenceWarning, match="autocorrelation times instead of"):
        found = sample_posterior(("a", "b"), BANANA, np.zeros(2), n_draws=1000)
    assert found.method == "ensemble"
    assert found.log_mean[0] == pytest.approx(0.0, abs=0.25)
    assert found.log_mean[1] == pytest.approx(1.0, rel=0.25)
    assert np.sqrt(found.log_covariance[0, 0]) == pytest.approx(1.0, rel=0.25)
    assert found.nodes().shape == (32, 2)
    with pytest.warns(ConvergenceWarning, match="not to be trusted here"):
        sample_posterior(("a", "b"), BANANA, np.zeros(2), method="laplace")


def test_a_thinned_sample_supplies_the_higher_orders_only():
    rng = np.random.default_rng(2)
    y = rng.gamma(2.0, size=4000)

    def on(rows):
        values, scale = y[rows], len(y) / len(y[rows])
        return density_of(
            lambda z: float(scale * (2.0 * z[0] - np.exp(z[0]) * values).sum()),
            lambda z: np.array([scale * (2.0 - np.exp(z[0]) * values).sum()]),
        )

    full = sample_posterior(("rate",), on(slice(None)), np.zeros(1))
    thin = sample_posterior(("rate",), on(slice(None)), np.zeros(1), thinned=on(slice(0, None, 10)))
    deviation = np.sqrt(full.log_covariance[0, 0])
    assert thin.log_mean[0] == pytest.approx(full.log_mean[0], abs=0.01 * deviation)
    assert thin.log_covariance[0, 0] == pytest.approx(full.log_covariance[0, 0], rel=0.01)


def test_the_same_seed_gives_the_same_draws():
    one, same, other = (sample_posterior(NAMES, NORMAL, np.zeros(3), seed=s) for s in (4, 4, 5))
    np.testing.assert_array_equal(one.draws, same.draws)
    assert (one.draws != other.draws).any()


def test_storage_is_plain_json_and_comes_back():
    found = sample_posterior(NAMES, NORMAL, np.zeros(3), n_draws=50)
    back = Posterior.from_dict(json.loads(json.dumps(found.to_dict())))
    np.testing.assert_array_equal(back.draws, found.draws)
    np.testing.assert_array_equal(back.nodes(), found.nodes())
    assert (back.names, back.method, back.pareto_k) == (found.names, "laplace", found.pareto_k)


@pytest.mark.parametrize("d", [4, 12, 40])
def test_many_dimensions_do_not_use_up_the_proposals(d):
    names = [f"c{i}" for i in range(d)]
    normal = density_of(lambda z: float(-0.5 * z @ z), lambda z: -z)
    found = sample_posterior(names, normal, np.zeros(d), n_proposals=512, coefficients=names)
    assert found.method == "laplace"
    assert found.effective_sample_size > 0.9 * 512
    np.testing.assert_allclose(np.diag(found.log_covariance), 1.0, atol=0.08)


def test_a_light_tail_with_few_effective_draws_asks_for_more_of_them():
    # Sixteen independent logarithms of gammas: each alone is easy, together few proposals fit.
    names = [f"x{i}" for i in range(16)]
    skewed = density_of(lambda z: float((2.0 * z - np.exp(z)).sum()), lambda z: 2.0 - np.exp(z))
    found = sample_posterior(names, skewed, np.zeros(16), n_proposals=512)
    assert found.method == "laplace"
    assert found.effective_sample_size > 512
    deviation = np.sqrt(special.polygamma(1, 2.0))
    np.testing.assert_allclose(found.log_mean, special.digamma(2.0), atol=0.15 * deviation)
    found_deviation = np.sqrt(np.diag(found.log_covariance))
    assert found_deviation.mean() == pytest.approx(deviation, rel=0.08)


@pytest.mark.parametrize("method", ["laplace", "ensemble"])
def test_coefficients_have_any_sign_and_take_no_logarithm(method):
    found = sample_posterior(
        NAMES, NORMAL, np.zeros(3), n_draws=1000, method=method, coefficients=("b",)
    )
    assert found.method == method
    assert (found.draws[:, [0, 2]] > 0).all()
    assert found.mean["b"] == pytest.approx(-1.0, abs=0.05)
    assert found.sd["b"] == pytest.approx(0.3, rel=0.1)
    back = Posterior.from_dict(json.loads(json.dumps(found.to_dict())))
    assert back.coefficients == ("b",)
    np.testing.assert_array_equal(back.nodes(), found.nodes())
    older = found.to_dict()
    del older["coefficients"]
    assert Posterior.from_dict(older).coefficients == ()


def test_a_linear_change_of_scale_moves_draws_moments_and_nodes():
    found = sample_posterior(NAMES, NORMAL, np.zeros(3), n_draws=50, coefficients=("b",))
    # The coefficient per unit of a column of large numbers, and the parameter at its zero.
    change = np.array([[1.0, -40.0, 0.0], [0.0, 1e-9, 0.0], [0.0, 0.0, 1.0]])
    moved = found.moved(change)
    np.testing.assert_allclose(moved.draws[:, 1], 1e-9 * found.draws[:, 1])
    np.testing.assert_allclose(
        moved.draws[:, 0], found.draws[:, 0] * np.exp(-40.0 * found.draws[:, 1])
    )
    nodes = moved.nodes()
    logs = np.column_stack([np.log(nodes[:, 0]), nodes[:, 1], np.log(nodes[:, 2])])
    np.testing.assert_allclose(logs.mean(axis=0), change @ found.log_mean)
    unit = np.array([1.0, 1e-9, 1.0])
    expected = change @ found.log_covariance @ change.T
    np.testing.assert_allclose(
        np.cov((logs / unit).T, bias=True), expected / np.outer(unit, unit), atol=1e-9
    )


def test_nodes_integrate_cubics_of_the_logarithms_exactly():
    found = sample_posterior(NAMES, NORMAL, np.zeros(3))
    logs = np.log(found.nodes())
    assert logs.shape == (6, 3)
    np.testing.assert_allclose(logs.mean(axis=0), found.log_mean)
    np.testing.assert_allclose(np.cov(logs.T, bias=True), found.log_covariance, atol=1e-12)
    third = (logs - found.log_mean) ** 3
    np.testing.assert_allclose(third.mean(axis=0), 0.0, atol=1e-12)


def test_thin_spreads_over_the_draws():
    found = sample_posterior(NAMES, NORMAL, np.zeros(3), n_draws=50)
    assert found.thin(10).shape == (10, 3)
    assert found.thin(1000).shape == (50, 3)
    with pytest.raises(ParameterError, match="n_draws must be >= 1"):
        found.thin(0)
    with pytest.raises(ParameterError, match="n_draws must be >= 2"):
        sample_posterior(NAMES, NORMAL, np.zeros(3), n_draws=1)


@pytest.mark.parametrize("k", [-0.2, 0.1, 0.5, 0.9])
def test_generalised_pareto_fit_recovers_scipy_draws(k):
    x = np.sort(stats.genpareto.rvs(k, scale=2.0, size=5000, random_state=3))
    shape, sigma = fit_generalised_pareto(x)
    assert shape == pytest.approx(k, abs=0.06)
    assert sigma == pytest.approx(2.0, rel=0.06)


def test_smoothed_weights_are_normalised_ordered_and_know_their_tail():
    rng = np.random.default_rng(0)
    # Weights 1/u have a tail of shape 1; weights u**-0.3 one of 0.3.
    for shape in (0.3, 1.0):
        log_ratio = -shape * np.log(rng.uniform(size=20_000))
        log_weight, k = smooth_weights(log_ratio)
        assert np.exp(log_weight).sum() == pytest.approx(1.0)
        assert (np.diff(log_weight[np.argsort(log_ratio)]) > -1e-12).all()
        assert k == pytest.approx(shape, abs=0.12)
    assert smooth_weights(np.r_[0.0, np.full(99, -np.inf)])[1] == np.inf


def test_normal_prior_has_the_shape_and_slope_of_its_density():
    prior = NormalPrior(np.array([0.3]), np.array([2.0]))
    z = np.array([1.1])
    value, slope = prior.log_density(z)
    reference = stats.norm.logpdf(z, 0.3, 2.0) - stats.norm.logpdf(0.3, 0.3, 2.0)
    assert value == pytest.approx(reference[0])
    step = 1e-6
    numeric = (prior.log_density(z + step)[0] - prior.log_density(z - step)[0]) / (2 * step)
    assert slope[0] == pytest.approx(numeric, rel=1e-6)
    total = integrate.quad(lambda v: np.exp(prior.log_density(np.array([v]))[0]), -20, 20)[0]
    assert total == pytest.approx(2.0 * np.sqrt(2.0 * np.pi))
