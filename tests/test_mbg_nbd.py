"""MBG/NBD: mpmath references, identities, and what differs from the BG/NBD."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from crmml.stats import bg_nbd, mbg_nbd
from crmml.stats.mbg_nbd import Params


def reference(params, x, t_x, T):
    r, alpha, a, b, x, t_x, T = map(mp.mpf, (*params, x, t_x, T))
    active = mp.beta(a, b + x + 1) / mp.beta(a, b) * (alpha + T) ** -(r + x)
    left = mp.beta(a + 1, b + x) / mp.beta(a, b) * (alpha + t_x) ** -(r + x)
    start = mp.loggamma(r + x) - mp.loggamma(r) + r * mp.log(alpha)
    return start + mp.log(active + left), active / (active + left)


@pytest.mark.parametrize("x", [0.0, 1.0, 7.0, 300.0, 3650.0])
@pytest.mark.parametrize(
    "params",
    [
        (0.5248, 6.183, 0.8914, 1.614),
        (0.5, 6.0, 1.0, 1.6),
        (0.5, 6.0, 0.3, 0.4),
        (5.0, 1e-3, 1e-4, 1e5),
        (1e7, 3e8, 2e4, 7e6),
    ],
)
def test_history_formulas_agree_with_mpmath(params, x):
    mp.mp.dps = 40
    T = 3650.0
    for t_x in (T, 0.999 * T, 0.5 * T) if x else (0.0,):
        history = [np.array([v]) for v in (x, t_x, T)]
        value, alive = reference(params, x, t_x, T)
        got = mbg_nbd.log_likelihood(Params(*params), *history)[0]
        assert_allclose(got, float(value), rtol=1e-10)
        assert_allclose(mbg_nbd.score(Params(*params), *history)[0][0], got, rtol=1e-14)
        got = mbg_nbd.probability_alive(Params(*params), *history)[0]
        assert_allclose(got, float(alive), rtol=1e-9, atol=1e-300)


def test_a_silent_one_time_buyer_fades_unlike_in_the_bg_nbd():
    T = np.array([0.0, 10.0, 1000.0])
    none = np.zeros(3)
    params = Params(0.5, 6.0, 0.9, 1.6)
    alive = mbg_nbd.probability_alive(params, none, none, T)
    assert_allclose(alive[0], 1.6 / 2.5, rtol=1e-14)
    assert alive[0] > alive[1] > alive[2]
    assert (bg_nbd.probability_alive(bg_nbd.Params(*params), none, none, T) == 1.0).all()


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-3.0, 3.0)] * 4))
def test_score_is_the_derivative_and_the_counted_form_the_sum(theta):
    theta = np.array(theta)
    x = np.array([0.0, 0.0, 1.0, 1.0, 5.0, 40.0])
    t_x = np.array([0.0, 0.0, 0.3, 3.0, 2.0, 3.9])
    T = np.array([1.0, 4.0, 4.0, 3.0, 3.0, 4.0])
    weights = np.array([3.0, 1.0, 2.0, 1.0, 0.5, 1.0])

    def total(at):
        value, gradient = mbg_nbd.score(mbg_nbd.make(np.exp(at)), x, t_x, T)
        return weights @ value, gradient @ weights

    value, gradient, information = mbg_nbd.counted(x, t_x, T, weights)(theta)
    assert_allclose(value, total(theta)[0], rtol=1e-11)
    assert_allclose(gradient, total(theta)[1], rtol=1e-8, atol=1e-9)
    step = 1e-5 * np.eye(4)
    numerical = np.array([(total(theta + e)[0] - total(theta - e)[0]) / 2e-5 for e in step])
    assert_allclose(gradient, numerical, rtol=1e-4, atol=1e-6)
    numerical = np.array([(total(theta - e)[1] - total(theta + e)[1]) / 2e-5 for e in step])
    assert_allclose(information(), numerical, rtol=1e-4, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.floats(-3.0, 3.0)] * 4))
def test_slopes_by_the_two_times(theta):
    params = mbg_nbd.make(np.exp(np.array(theta)))
    x = np.array([0.0, 1.0, 1.0, 5.0, 40.0])
    t_x = np.array([0.0, 0.3, 2.9, 2.0, 3.8])
    T = np.array([4.0, 4.0, 3.0, 3.0, 4.0])
    found = mbg_nbd.clocked_score(params, x, t_x, T)
    value, gradient = mbg_nbd.score(params, x, t_x, T)
    assert (found.value == value).all()
    assert (found.by_params == gradient).all()
    step = 1e-6

    def slope(by_t_x, by_T):
        values = [
            mbg_nbd.log_likelihood(params, x, t_x + s * by_t_x, T + s * by_T) for s in (step, -step)
        ]
        return (values[0] - values[1]) / (2 * step)

    weights = np.array([3.0, 1.0, 2.0, 0.5, 1.0])
    summed = mbg_nbd.counted_on_clock(x, weights)(np.array(theta), t_x, T)
    assert_allclose(summed[0], weights @ value, rtol=1e-11)
    assert_allclose(summed[1], gradient @ weights, rtol=1e-8, atol=1e-9)
    assert_allclose(summed[2], weights * found.by_t_x, rtol=1e-10, atol=1e-14)
    assert_allclose(summed[3], weights * found.by_T, rtol=1e-10, atol=1e-14)
    # A customer without a repeat purchase has no last one.
    assert_allclose(found.by_t_x[1:], slope(1.0, 0.0)[1:], rtol=1e-5, atol=1e-7)
    assert_allclose(found.by_T, slope(0.0, 1.0), rtol=1e-5, atol=1e-7)
