"""Pareto/NBD: published numbers, 100-digit references, identities, recovery."""

from functools import cache

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmml.data.datasets import load_cdnow
from crmml.exceptions import BoundaryWarning
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import ParetoNBDModel
from crmml.stats import mle, pareto_nbd
from crmml.stats.pareto_nbd import Params

CDNOW = Params(0.55315, 10.57633, 0.60625, 11.6715)


def rows(*histories):
    """Columns x, t_x, T of some histories."""
    return [np.array(column, dtype=float) for column in zip(*histories, strict=True)]


@cache
def cdnow():
    return build_snapshot(load_cdnow(sample=True), "1997-10-01")


@cache
def cdnow_fit():
    return ParetoNBDModel().fit(cdnow())


def reference(params, x, t_x, T):
    """Equations (A1) to (A3) of Fader and Hardie's note with 2F1 in a hundred digits."""
    with mp.workdps(100):
        r, a, s, b, x, t_x, T = (mp.mpf(float(v)) for v in (*params, x, t_x, T))
        n, high, gap = r + s + x, max(a, b), abs(a - b)
        second = s + 1 if a >= b else r + x

        def term(t):
            return mp.hyp2f1(n, second, n + 1, gap / (high + t)) * (high + t) ** (-n)

        active = (a + T) ** (-(r + x)) * (b + T) ** (-s)
        left = s / n * (term(t_x) - term(T))
        front = mp.loggamma(r + x) - mp.loggamma(r) + r * mp.log(a) + s * mp.log(b)
        return float(front + mp.log(active + left)), float(active / (active + left))


GRID = [
    *[(0.553, 10.58, 0.606, 11.67, *h) for h in ((0, 0, 39), (1, 0.14, 27), (29, 38, 39))],
    *[(0.553, 10.58, 0.606, 12750.0, x, f * T, T)  # a large beta and frequent buyers
      for x in (300, 700) for T in (350.0, 3650.0) for f in (0.9, 0.99, 1.0)],
    *[(0.5, 4.0, s, b, *h)  # s = 1, and alpha next to beta
      for s in (1.0, 1.0 + 1e-9, 1e-6, 300.0) for b in (4.0, 4.000001, 0.02)
      for h in ((0, 0, 40), (3650, 3649, 3650), (1, 0.001, 5000))],
    (1e3, 1e6, 1e3, 1e6, 12, 30.0, 39.0),
    (0.001, 1e-4, 0.001, 1e-4, 2, 0.5, 5000.0),
    (60.0, 520.0, 117.0, 244072.0, 2572, 412.0, 2739.0),
    (28.0, 3.2e2, 4.4, 2.2e-4, 0, 0, 0.036),
    (0.88, 558.0, 442.0, 0.0216, 6, 75.8, 119.4),
]  # fmt: skip


@pytest.mark.parametrize("case", GRID)
def test_likelihood_and_alive_equal_hypergeometric_in_100_digits(case):
    params, history = Params(*case[:4]), rows(case[4:])
    value, alive = reference(*[case[:4]], *case[4:])
    assert pareto_nbd.log_likelihood(params, *history)[0] == pytest.approx(
        value, rel=1e-11, abs=2e-12
    )
    assert pareto_nbd.probability_alive(params, *history)[0] == pytest.approx(alive, rel=1e-11)


@pytest.mark.parametrize("x", [300, 1000, 3650])
@pytest.mark.parametrize("T", [365.0, 3650.0])
def test_large_beta_and_frequent_buyers_stay_finite_from_60_to_100_percent(x, T):
    gap = T / x  # a usual gap since the last purchase
    params = Params(0.5, 10.0, 0.6, 12750.0)
    alive = pareto_nbd.probability_alive(params, *rows((x, T - gap, T), (x, T, T)))
    assert 0.6 < alive[0] < 1.0
    assert alive[1] == 1.0


def test_score_is_the_derivative_of_the_likelihood():
    histories = rows((0, 0, 39), (3, 20.5, 33), (29, 38, 39), (300, 364, 365), (2, 39, 39))
    for params in (CDNOW, Params(2.0, 3.0, 1.0, 40.0), Params(0.3, 20.0, 1.5, 20.0)):
        value, gradient = pareto_nbd.score(params, *histories)
        assert value == pytest.approx(pareto_nbd.log_likelihood(params, *histories), rel=1e-14)
        for i in range(4):
            step = np.zeros(4)
            step[i] = 1e-5
            up, down = (
                pareto_nbd.log_likelihood(Params(*(np.array(params) * np.exp(h))), *histories)
                for h in (step, -step)
            )
            assert gradient[i] == pytest.approx((up - down) / 2e-5, abs=1e-6)


@pytest.mark.parametrize("theta", [(0.6, 11.0, 0.5, 8.0), (3.0, 0.01, 1.0, 50.0)])
def test_counted_likelihood_equals_the_weighted_rows_and_its_information_the_differences(theta):
    rng = np.random.default_rng(0)
    x = rng.poisson(2, 200).astype(float)
    T = rng.integers(190, 272, 200) / 7
    t_x = np.where(x > 0, T * rng.random(200), 0.0)
    weights = rng.random(200) * 3
    function = pareto_nbd.counted(x, t_x, T, weights)
    value, gradient, information = function(np.log(theta))
    each, by_parameter = pareto_nbd.score(Params(*theta), x, t_x, T)
    assert value == pytest.approx(weights @ each, rel=1e-12)
    assert gradient == pytest.approx(by_parameter @ weights, abs=1e-9)
    differences = mle.differentiated(lambda at: function(at)[:2])(np.log(theta))[2]()
    assert information() == pytest.approx(differences, rel=1e-6, abs=1e-6 * differences.max())


def test_covariates_as_arrays_may_order_alpha_and_beta_row_by_row():
    histories = rows((2, 20.0, 30.0), (2, 20.0, 30.0), (0, 0.0, 30.0))
    both = Params(0.5, np.array([5.0, 15.0, 9.0]), 0.7, np.array([15.0, 5.0, 9.0]))
    value, gradient = pareto_nbd.score(both, *histories)
    for i in range(3):
        one = Params(0.5, both.alpha[i], 0.7, both.beta[i])
        expected = pareto_nbd.score(one, *[column[i : i + 1] for column in histories])
        assert value[i] == expected[0][0]
        assert gradient[:, i] == pytest.approx(expected[1][:, 0], rel=1e-14)


# -- published numbers ---------------------------------------------------------------------------


def test_fit_of_cdnow_fader_hardie_2005_and_clvtools():
    model = cdnow_fit()
    assert model.log_likelihood_ == pytest.approx(-9594.976, abs=5e-4)
    assert model.converged_
    # Fader and Hardie print .553, 10.578, .606, 11.669.
    published = {"r": 0.553, "alpha": 10.578, "s": 0.606, "beta": 11.669}
    for name, value in published.items():
        assert model.params_[name] == pytest.approx(value, abs=5.1e-4)
    # CLVTools stops a little earlier, so its last digits are not those of the optimum.
    histories = [cdnow().frame[name].to_numpy(float) for name in ("frequency", "recency", "T")]
    theirs = pareto_nbd.log_likelihood(CDNOW, *histories).sum()
    assert 0 <= model.log_likelihood_ - theirs < 1e-5
    for name, value in zip(pareto_nbd.NAMES, CDNOW, strict=True):
        assert model.params_[name] == pytest.approx(value, rel=3e-4)
    errors = {"r": 0.0476, "alpha": 0.8427, "s": 0.1873, "beta": 6.2105}
    for name, value in errors.items():
        assert model.standard_errors_[name] == pytest.approx(value, rel=1e-3)


def test_predictions_for_cdnow_clvtools():
    model = cdnow_fit()
    assert model.expected_purchases_new_customer("52W") == pytest.approx(1.473434, abs=5e-7)
    frame = {"customer_id": ["a"], "frequency": [26], "recency": [216 / 7], "T": [31.0]}
    one = Snapshot.from_frame(pd.DataFrame(frame), cutoff="1997-10-01", time_unit="week")
    # The published ones are for parameters that stop a little earlier than the optimum.
    assert model.expected_purchases(one, "52W")["a"] == pytest.approx(25.45647, abs=2e-3)
    assert model.probability_alive(one)["a"] == pytest.approx(0.997874, abs=1e-6)


# -- the future ----------------------------------------------------------------------------------


@pytest.mark.parametrize("s", [0.2, 0.999999999, 1.0, 1.000000001, 3.0])
@pytest.mark.parametrize("t", [1 / 168, 52.0, 5e4])
def test_expectation_equals_the_integral_of_the_rate_with_s_1_no_exception(s, t):
    with mp.workdps(30):
        expected = (
            0.5 / mp.mpf(8) * mp.quad(lambda u: (12 / (12 + u)) ** mp.mpf(s), [0, 10, 200, t])
        )
    found = pareto_nbd.expected_purchases(Params(0.5, 8.0, s, 12.0), np.array([t]))[0]
    assert found == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("params", "n_max"),
    [
        (Params(0.55, 10.6, 0.6, 11.7), 400),
        (Params(26.5, 41.4, 1.0, 42.7), 300),
        (Params(3650.5, 3660.0, 0.6, 3662.0), 600),
        (Params(5.0, 1e3, 0.2, 1e-3), 100),
        (Params(20.0, 30.0, 8.0, 2.0), 300),
    ],
)
def test_distribution_sums_to_one_and_has_the_expectation_for_its_mean(params, n_max):
    t = np.array([52.0])
    probabilities = pareto_nbd.pmf(params, t, n_max)[0]
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-11)
    mean = probabilities @ np.arange(n_max + 1)
    assert mean == pytest.approx(pareto_nbd.expected_purchases(params, t)[0], rel=1e-10)


def test_distribution_equals_the_mixture_integral():
    r, a, s, b, t, n = (mp.mpf(v) for v in (0.55, 10.6, 0.6, 11.7, 52, 3))

    def count(u):
        return mp.gamma(r + n) / mp.gamma(r) / 6 * (a / (a + u)) ** r * (u / (a + u)) ** n

    stays = (b / (b + t)) ** s * count(t)
    leaves = mp.quad(lambda u: count(u) * s * b**s * (b + u) ** (-s - 1), mp.linspace(0, t, 9))
    found = pareto_nbd.pmf(Params(0.55, 10.6, 0.6, 11.7), np.array([52.0]), 5)[0, 3]
    assert found == pytest.approx(float(stays + leaves), rel=1e-11)


@pytest.mark.parametrize(
    ("params", "delta"),
    [
        (Params(0.55, 10.6, 0.6, 11.7), 0.0018),
        (Params(26.0, 41.0, 1.0, 42.0), 0.0018),
        (Params(26.0, 41.0, 3.0, 42.0), 1e-9),
        (Params(26.0, 41.0, 0.1, 1e-3), 1e-9),
        (Params(1.0, 1.0, 50.0, 1e4), 1.0),
    ],
)
def test_dert_equals_tricomi_function_fader_hardie_lee_2005(params, delta):
    r, a, s, b = (mp.mpf(v) for v in params)
    expected = r / a * b * mp.hyperu(1, 2 - s, b * mp.mpf(delta))
    found = pareto_nbd.discounted_purchases(params, np.array([np.inf]), delta)[0]
    assert found == pytest.approx(float(expected), rel=1e-11)


def test_discounted_horizons_meet_their_limits():
    t = np.array([1.0, 52.0, 5200.0])
    undiscounted = pareto_nbd.discounted_purchases(CDNOW, t, 0.0)
    assert undiscounted == pytest.approx(pareto_nbd.expected_purchases(CDNOW, t), rel=1e-15)
    nearly = pareto_nbd.discounted_purchases(CDNOW, t, 1e-14)
    assert nearly == pytest.approx(undiscounted, rel=1e-10)
    ever = pareto_nbd.discounted_purchases(CDNOW, np.array([1e7, np.inf]), 0.01)
    assert ever[0] == pytest.approx(ever[1], rel=1e-12)
    without_end = pareto_nbd.discounted_purchases(
        Params(0.5, 8.0, np.array([0.9, 3.0]), 12.0), np.full(2, np.inf), 0.0
    )
    assert without_end[0] == np.inf
    assert without_end[1] == pytest.approx(0.5 * 12.0 / (8.0 * 2.0), rel=1e-15)


POSITIVE = st.floats(-3, 3).map(lambda power: float(10**power))


@given(
    params=st.tuples(POSITIVE, POSITIVE, POSITIVE, POSITIVE),
    x=st.integers(0, 2000),
    T=st.floats(0.1, 4000),
    share=st.floats(0, 1),
)
def test_probabilities_are_probabilities_and_longer_horizons_hold_more(params, x, T, share):
    history = rows((x, T * share if x else 0.0, T))
    params = Params(*params)
    alive = pareto_nbd.probability_alive(params, *history)
    assert 0.0 <= alive[0] <= 1.0
    assert np.isfinite(pareto_nbd.score(params, *history)[1]).all()
    future = pareto_nbd.if_alive(params, *history)
    t = np.array([0.01, 1.0, 100.0, 1e4])
    several = Params(*(np.broadcast_to(v, t.shape) for v in future))
    expected = pareto_nbd.expected_purchases(several, t)
    assert (np.diff(expected) >= -1e-14 * expected[-1]).all()
    discounted = pareto_nbd.discounted_purchases(several, t, 0.01)
    assert (discounted <= expected * (1 + 1e-12)).all()
    probabilities = pareto_nbd.pmf(several, t, 6)
    assert (probabilities >= 0).all()
    assert (probabilities.sum(axis=1) <= 1 + 1e-10).all()


# -- the estimator -------------------------------------------------------------------------------


def world(n, seed, r=0.8, alpha=8.0, s=0.7, beta=12.0, **columns):
    """Simulate histories over 26 to 104 weeks; alpha and beta may be arrays."""
    rng = np.random.default_rng(seed)
    rate, lifetime = rng.gamma(r, size=n) / alpha, rng.exponential(size=n) / rng.gamma(s, size=n)
    T = rng.uniform(26, 104, size=n)
    until = np.minimum(lifetime * beta, T)
    x = rng.poisson(rate * until).astype(float)
    last = until * rng.random(n) ** (1.0 / np.maximum(x, 1.0))
    frame = {"customer_id": np.arange(n), "frequency": x, "recency": np.where(x > 0, last, 0.0)}
    return Snapshot.from_frame(
        pd.DataFrame({**frame, "T": T, **columns}), cutoff="2020-01-01", time_unit="week"
    )


def test_parameters_are_recovered_from_simulated_histories():
    model = ParetoNBDModel().fit(world(6000, seed=3))
    for name, truth in {"r": 0.8, "alpha": 8.0, "s": 0.7, "beta": 12.0}.items():
        assert abs(model.params_[name] - truth) < 3.5 * model.standard_errors_[name]


def test_covariates_of_the_clvtools_apparel_design_are_recovered_from_simulated_data():
    # Gender and channel on both rates, as in the CLVTools golden; its data set is not at hand.
    rng = np.random.default_rng(8)
    gender, channel = rng.integers(0, 2, (2, 6000)).astype(float)
    snapshot = world(
        6000,
        seed=9,
        r=1.8,
        alpha=40.0 * np.exp(-(0.2859 * gender + 0.6241 * channel)),
        s=0.6,
        beta=25.0 * np.exp(-(-0.643 * gender + 0.7907 * channel)),
        gender=gender,
        channel=channel,
    )
    columns = ["gender", "channel"]
    model = ParetoNBDModel(purchase_covariates=columns, dropout_covariates=columns).fit(snapshot)
    truth = {
        "purchase:gender": 0.2859,
        "purchase:channel": 0.6241,
        "dropout:gender": -0.643,
        "dropout:channel": 0.7907,
    }
    for name, value in truth.items():
        found = model.coefficients_[name]
        assert abs(found["estimate"] - value) < 3.5 * found["standard_error"]
    test = model.likelihood_ratio_test()
    assert test["degrees_of_freedom"] == 4
    assert test["p_value"] < 1e-6


@pytest.mark.parametrize("seed", [1, 4])
def test_customers_who_never_leave_give_a_fit_with_a_named_warning(seed):
    snapshot = world(600, seed=seed, beta=1e12)
    with pytest.warns(BoundaryWarning, match="nobody leaves"):
        model = ParetoNBDModel().fit(snapshot)
    assert np.isnan(model.standard_errors_["beta"])
    assert model.expected_purchases(snapshot, "26W").sum() > 0


def test_scoring_one_customer_or_all_in_any_order_is_the_same():
    snapshot, model = cdnow(), cdnow_fit()
    whole = model.expected_purchases(snapshot, "39W")
    shuffled = snapshot.frame.sample(frac=1.0, random_state=5)
    again = model.expected_purchases(
        Snapshot.from_frame(shuffled, cutoff="1997-10-01", time_unit="week"), "39W"
    )
    pd.testing.assert_series_equal(again.reindex(whole.index), whole, check_exact=True)
    some = np.arange(len(snapshot)) % 500 == 7
    pd.testing.assert_series_equal(
        model.expected_purchases(snapshot.subset(some), "39W"), whole[some], check_exact=True
    )


@pytest.mark.parametrize("beta_", [1e-4, 10.0, 1e8])
@pytest.mark.parametrize("s", [1e-6, 0.6, 30.0])
def test_probabilities_of_extreme_parameters_do_not_overflow(s, beta_):
    params = pareto_nbd.Params(*(np.array([value]) for value in (0.5, 10.0, s, beta_)))
    with np.errstate(over="raise"):
        table = pareto_nbd.pmf(params, np.array([52.0]), 400)
    assert table.sum() == pytest.approx(1.0, abs=1e-4)
