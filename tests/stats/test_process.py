"""What every purchase process must supply: exact slopes, and counted forms that are the sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from crmml.stats import bg_nbd, mbg_nbd, mle, pareto_nbd
from crmml.stats.cnbd_k import ErlangProcess
from crmml.stats.left_censored import SeenEarly
from crmml.stats.process import ClockedProcess

PROCESSES = {
    "bg_nbd": bg_nbd,
    "mbg_nbd": mbg_nbd,
    "left_censored": SeenEarly(0.3),
    "pareto_nbd": pareto_nbd,
    "cnbd_2_modified": ErlangProcess(2, "modified"),
    "cnbd_5_plain": ErlangProcess(5, "plain"),
}
CLOCKED = [name for name, process in PROCESSES.items() if isinstance(process, ClockedProcess)]
COUNTED_ON_CLOCK = ["bg_nbd", "mbg_nbd"]

X = np.array([0.0, 0.0, 1.0, 1.0, 5.0, 40.0])
T_X = np.array([0.0, 0.0, 0.3, 2.9, 2.0, 3.8])
T = np.array([1.0, 4.0, 4.0, 3.0, 3.0, 4.0])
WEIGHTS = np.array([3.0, 1.0, 2.0, 1.0, 0.5, 1.0])

logs = st.tuples(*[st.floats(-3.0, 3.0)] * 4).map(np.array)


def test_those_whose_rate_may_follow_a_clock():
    assert CLOCKED == ["bg_nbd", "mbg_nbd", "left_censored"]


@pytest.mark.parametrize("name", PROCESSES)
@settings(max_examples=30, deadline=None)
@given(logs)
def test_score_is_the_derivative(name, theta):
    process = PROCESSES[name]
    value, gradient = process.score(process.make(np.exp(theta)), X, T_X, T)
    assert_allclose(value, process.log_likelihood(process.make(np.exp(theta)), X, T_X, T), 1e-12)
    for i, step in enumerate(1e-5 * np.eye(4)):
        up, down = (
            process.log_likelihood(process.make(np.exp(theta + h)), X, T_X, T)
            for h in (step, -step)
        )
        assert_allclose(gradient[i], (up - down) / 2e-5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["bg_nbd", "mbg_nbd", "left_censored", "pareto_nbd"])
@settings(max_examples=30, deadline=None)
@given(logs)
def test_counted_form_is_the_sum_and_its_information_the_second_derivative(name, theta):
    process = PROCESSES[name]
    each, by_parameter = process.score(process.make(np.exp(theta)), X, T_X, T)
    counted = process.counted(X, T_X, T, WEIGHTS)
    value, gradient, information = counted(theta)
    assert_allclose(value, WEIGHTS @ each, rtol=1e-11)
    assert_allclose(gradient, by_parameter @ WEIGHTS, rtol=1e-8, atol=1e-9)
    numerical = mle.differentiated(lambda at: counted(at)[:2])(theta)[2]()
    assert_allclose(information(), numerical, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CLOCKED)
@settings(max_examples=30, deadline=None)
@given(logs)
def test_slopes_by_the_two_times(name, theta):
    process = PROCESSES[name]
    params = process.make(np.exp(theta))
    found = process.clocked_score(params, X, T_X, T)
    value, gradient = process.score(params, X, T_X, T)
    assert (found.value == value).all()
    assert (found.by_params == gradient).all()
    step = 1e-6

    def slope(by_t_x, by_T):
        up, down = (
            process.log_likelihood(params, X, T_X + s * by_t_x, T + s * by_T) for s in (step, -step)
        )
        return (up - down) / (2 * step)

    # A customer without a repeat purchase has no last one.
    assert_allclose(found.by_t_x[X > 0], slope(1.0, 0.0)[X > 0], rtol=1e-5, atol=1e-7)
    assert_allclose(found.by_T, slope(0.0, 1.0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", COUNTED_ON_CLOCK)
@settings(max_examples=30, deadline=None)
@given(logs)
def test_counted_form_on_a_clock_is_the_sum(name, theta):
    process = PROCESSES[name]
    found = process.clocked_score(process.make(np.exp(theta)), X, T_X, T)
    summed = process.counted_on_clock(X, WEIGHTS)(theta, T_X, T)
    assert_allclose(summed[0], WEIGHTS @ found.value, rtol=1e-11)
    assert_allclose(summed[1], found.by_params @ WEIGHTS, rtol=1e-8, atol=1e-9)
    assert_allclose(summed[2], WEIGHTS * found.by_t_x, rtol=1e-10, atol=1e-14)
    assert_allclose(summed[3], WEIGHTS * found.by_T, rtol=1e-10, atol=1e-14)
