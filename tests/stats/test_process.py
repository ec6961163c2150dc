"""What every purchase process must supply: exact slopes, counted forms, and one distribution."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from crmml.stats import bg_bb, bg_nbd, mbg_nbd, mle, pareto_nbd
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
    "bg_bb": bg_bb,
}
CLOCKED = [name for name, process in PROCESSES.items() if isinstance(process, ClockedProcess)]
COUNTED_ON_CLOCK = ["bg_nbd", "mbg_nbd"]

X = np.array([0.0, 0.0, 1.0, 1.0, 5.0, 40.0])
T_X = np.array([0.0, 0.0, 0.3, 2.9, 2.0, 3.8])
T = np.array([1.0, 4.0, 4.0, 3.0, 3.0, 4.0])
WEIGHTS = np.array([3.0, 1.0, 2.0, 1.0, 0.5, 1.0])

# The BG/BB counts opportunities: everything of it is whole.
WHOLE = (
    np.array([0.0, 0.0, 1.0, 1.0, 5.0, 9.0]),
    np.array([0.0, 0.0, 1.0, 6.0, 5.0, 30.0]),
    np.array([1.0, 8.0, 8.0, 6.0, 6.0, 40.0]),
)

logs = st.tuples(*[st.floats(-3.0, 3.0)] * 4).map(np.array)


def test_those_whose_rate_may_follow_a_clock():
    assert CLOCKED == ["bg_nbd", "mbg_nbd", "left_censored"]


@pytest.mark.parametrize("name", PROCESSES)
@given(logs)
def test_score_is_the_derivative(name, theta):
    process = PROCESSES[name]
    past = WHOLE if name == "bg_bb" else (X, T_X, T)
    value, gradient = process.score(process.make(np.exp(theta)), *past)
    assert_allclose(value, process.log_likelihood(process.make(np.exp(theta)), *past), 1e-12)
    for i, step in enumerate(1e-5 * np.eye(4)):
        up, down = (
            process.log_likelihood(process.make(np.exp(theta + h)), *past) for h in (step, -step)
        )
        assert_allclose(gradient[i], (up - down) / 2e-5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["bg_nbd", "mbg_nbd", "left_censored", "pareto_nbd"])
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
@given(logs)
def test_counted_form_on_a_clock_is_the_sum(name, theta):
    process = PROCESSES[name]
    found = process.clocked_score(process.make(np.exp(theta)), X, T_X, T)
    summed = process.counted_on_clock(X, WEIGHTS)(theta, T_X, T)
    assert_allclose(summed[0], WEIGHTS @ found.value, rtol=1e-11, atol=1e-13)
    assert_allclose(summed[1], found.by_params @ WEIGHTS, rtol=1e-8, atol=1e-9)
    assert_allclose(summed[2], WEIGHTS * found.by_t_x, rtol=1e-10, atol=1e-14)
    assert_allclose(summed[3], WEIGHTS * found.by_T, rtol=1e-10, atol=1e-14)


# -- what a process says of the past and of the future -------------------------------------------

LONG = pytest.mark.torture
PREDICTING = [name for name in PROCESSES if name != "left_censored"]
"""The left-censored process differs from the others in the likelihood alone."""
USUAL = {
    "bg_nbd": (0.243, 4.414, 0.793, 2.426),
    "mbg_nbd": (0.525, 6.183, 0.891, 1.614),
    "pareto_nbd": (0.55, 10.6, 0.6, 11.7),
    "cnbd_2_modified": (0.6, 6.0, 0.9, 1.6),
    "cnbd_5_plain": (0.6, 6.0, 0.9, 1.6),
    "bg_bb": (1.204, 0.750, 0.657, 2.783),
}
"""About the published estimates."""


def past_of(name, x, missed, silent):
    """One history of x purchases, with further time before the last one, and the silence since."""
    if name == "bg_bb":
        t_x = float(x + round(missed)) if x else 0.0
        return [np.array([v]) for v in (float(x), t_x, t_x + round(silent))]
    t_x = x * 0.7 + missed if x else 0.0
    return [np.array([v]) for v in (float(x), t_x, t_x + silent + (0.0 if x else 0.01))]


def repeated(params, n):
    return type(params)(*(np.broadcast_to(np.asarray(v).ravel(), n) for v in params))


@pytest.mark.parametrize("name", PREDICTING)
@given(
    st.tuples(*[st.floats(-1.2, 1.7).map(lambda power: float(10**power))] * 4),
    st.one_of(st.integers(0, 10), st.integers(0, 60)),
    st.floats(0.0, 20.0),
    st.floats(0.0, 60.0),
)
def test_probabilities_expectations_and_their_order(name, theta, x, missed, silent):
    process = PROCESSES[name]
    params, past = process.make(theta), past_of(name, x, missed, silent)
    alive = process.probability_alive(params, *past)[0]
    later = process.probability_alive(params, past[0], past[1], past[2] + 5.0)[0]
    assert 0.0 <= later <= alive * (1.0 + 1e-12) <= 1.0 + 1e-12
    if name in ("pareto_nbd", "bg_bb") and past[1] == past[2]:
        assert alive == 1.0  # whoever bought just now has not left since
    assert np.isfinite(process.score(params, *past)[1]).all()
    t = np.array([1.0, 7.0, 26.0])
    several = repeated(process.if_alive(params, *past), 3)
    expected = process.expected_purchases(several, t)
    assert (np.diff(expected) >= -1e-14 * expected[-1]).all()
    discounted = process.discounted_purchases(several, t, 0.01)
    assert (discounted <= expected * (1.0 + 1e-12)).all()
    table = process.pmf(several, t, 120)
    assert (table >= 0.0).all()
    assert (table.sum(axis=1) <= 1.0 + 1e-10).all()
    mean = table @ np.arange(121)
    whole = table.sum(axis=1) > 1.0 - 1e-12
    assert_allclose(mean[whole], expected[whole], rtol=1e-6)
    assert (mean <= expected * (1.0 + 1e-8)).all()


@pytest.mark.parametrize("x", [0, 5, *[pytest.param(x, marks=LONG) for x in (1, 4, 30)]])
@pytest.mark.parametrize("name", PREDICTING)
def test_distribution_adds_up_to_one_and_has_the_expectation_for_its_mean(name, x):
    process = PROCESSES[name]
    future = process.if_alive(process.make(USUAL[name]), *past_of(name, x, 3.0, 6.0))
    t = np.array([26.0])
    table = process.pmf(future, t, 400)[0]
    assert_allclose(table.sum(), 1.0, rtol=1e-9)
    assert_allclose(table @ np.arange(401), process.expected_purchases(future, t)[0], rtol=1e-8)


@pytest.mark.parametrize("name", PREDICTING)
def test_discounting_meets_its_limits(name):
    process = PROCESSES[name]
    future = process.if_alive(process.make(USUAL[name]), *past_of(name, 4, 3.0, 6.0))
    t = np.array([1.0, 26.0, 52.0])
    several = repeated(future, 3)
    undiscounted = process.expected_purchases(several, t)
    assert_allclose(process.discounted_purchases(several, t, 0.0), undiscounted, rtol=1e-12)
    assert_allclose(process.discounted_purchases(several, t, 1e-14), undiscounted, rtol=1e-9)
    far = process.discounted_purchases(repeated(future, 2), np.array([1e4, np.inf]), 0.05)
    assert_allclose(far[0], far[1], rtol=1e-9)


@pytest.mark.parametrize("name", PREDICTING)
@pytest.mark.parametrize(("n", "atol"), [(50_000, 0.008), pytest.param(100_000, 0.006, marks=LONG)])
def test_draws_have_the_distribution(name, n, atol):
    process = PROCESSES[name]
    future = process.if_alive(process.make(USUAL[name]), *past_of(name, 4, 3.0, 6.0))
    t = np.full(n, 20.0)
    draws = process.draw(repeated(future, len(t)), t, np.random.default_rng(4))
    expected = process.expected_purchases(future, t[:1])[0]
    assert abs(draws.mean() - expected) < 4.0 * draws.std() / np.sqrt(len(t))
    share = np.bincount(draws.astype(int), minlength=9)[:9] / len(t)
    assert_allclose(share, process.pmf(future, t[:1], 8)[0], atol=atol)
