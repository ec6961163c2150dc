"""BG/NBD: published numbers, mpmath references and identities."""

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from crmml.stats import bg_nbd
from crmml.stats.bg_nbd import Params

PAPER = Params(0.243, 4.414, 0.793, 2.426)
COUNTS = (0.0, 1.0, 7.0, 300.0, 3650.0)


def rows(*values: float) -> list[np.ndarray]:
    return [np.array([value]) for value in values]


def reference_expectation(params, t):
    """Equation (9) of the paper; parameters nudged by 1e-25 off its removable singularities."""
    r, alpha, a, b = map(mp.mpf, params)
    a, b = a + mp.mpf(10) ** -25, b + mp.mpf(10) ** -26
    z = mp.mpf(t) / (alpha + mp.mpf(t))
    hypergeometric = mp.hyp2f1(r, b, a + b - 1, z, maxterms=10**6)
    return (a + b - 1) / (a - 1) * (1 - (1 - z) ** r * hypergeometric)


def reference_log_likelihood(params, x, t_x, T):
    r, alpha, a, b = map(mp.mpf, params)
    x, t_x, T = map(mp.mpf, (x, t_x, T))
    active = mp.beta(a, b + x) / mp.beta(a, b) * (alpha + T) ** -(r + x)
    left = (
        mp.beta(a + 1, b + x - 1) / mp.beta(a, b) * (alpha + t_x) ** -(r + x)
        if x > 0
        else mp.mpf(0)
    )
    start = mp.loggamma(r + x) - mp.loggamma(r) + r * mp.log(alpha)
    return start + mp.log(active + left), active / (active + left)


def test_one_customer_log_likelihoods_of_the_reference_list():
    x, t_x, T = np.array([0.0, 200.0]), np.array([0.0, 38.0]), np.array([40.0, 40.0])
    values = bg_nbd.log_likelihood(Params(0.25, 4.0, 0.8, 2.5), x, t_x, T)
    assert_allclose(values, [-0.599474, 100.7957], rtol=0, atol=5e-5)


def test_conditional_expectation_of_fader_hardie_lee_2005():
    x, t_x, T = rows(2.0, 30.43, 38.86)
    alive = bg_nbd.probability_alive(PAPER, x, t_x, T)
    future = bg_nbd.expected_purchases(bg_nbd.if_alive(PAPER, x, t_x, T), np.array([39.0]))
    assert_allclose(alive * future, 1.226, atol=5e-4)


def test_new_customer_expectations_of_fader_hardie_lee_2005():
    t = np.array([1.0, 3.0, 32.0, 78.0])
    values = bg_nbd.expected_purchases(Params(0.243, 4.414, 0.793, 2.426), t)
    assert_allclose(values, [0.0533, 0.1509, 1.0452, 1.8605], atol=5e-5)


@pytest.mark.parametrize("x", COUNTS)
@pytest.mark.parametrize(
    "params",
    [
        (0.2426, 4.4136, 0.7929, 2.4259),
        (0.25, 4.0, 1.0, 2.5),
        (0.25, 4.0, 0.3, 0.4),
        (5.0, 1e-3, 1e-4, 1e5),
        (1e7, 3e8, 2e4, 7e6),
    ],
)
def test_history_formulas_agree_with_mpmath(params, x):
    mp.mp.dps = 40
    T = 3650.0
    for t_x in (T, 0.999 * T, 0.5 * T) if x else (0.0,):
        value, alive = reference_log_likelihood(params, x, t_x, T)
        history = rows(x, t_x, T)
        got = bg_nbd.log_likelihood(Params(*params), *history)[0]
        assert_allclose(got, float(value), rtol=1e-10)
        assert_allclose(bg_nbd.score(Params(*params), *history)[0][0], got, rtol=1e-14)
        got = bg_nbd.probability_alive(Params(*params), *history)[0]
        # The odds are exp(large exponent): its relative rounding is the exponent's absolute one.
        assert_allclose(got, float(alive), rtol=1e-9, atol=1e-300)


HORIZONS = (1 / 168, 52.0, 521.0)
FUTURES = [
    (0.243, 4.414, 0.793, 2.426),
    (0.243, 4.414, 1.0, 2.426),
    (0.243, 4.414, 1.0 + 1e-9, 2.426),
    (0.243, 4.414, 0.3, 0.4),
    (0.243, 4.414, 0.05, 0.1),
    (297.0, 365.0, 0.8, 300.0),
    (3650.2, 3654.0, 0.8, 3652.0),
    (3650.2, 3654.0, 3.0, 3652.0),
    (5.0, 1.0, 50.0, 30.0),
]


@pytest.mark.parametrize("params", FUTURES)
@pytest.mark.parametrize("t", HORIZONS)
def test_expected_purchases_agree_with_mpmath(params, t):
    mp.mp.dps = 60
    reference = reference_expectation(params, t)
    got = bg_nbd.expected_purchases(Params(*params), np.array([t]))[0]
    assert_allclose(got, float(reference), rtol=1e-10)


# Integrals of exp(-delta u) times the mean rate r/alpha 2F1(r + 1, a; a + b; -u/alpha) over (0, t],
# by mpmath with 20 digits.
DISCOUNTED = [
    ((0.243, 4.414, 0.793, 2.426), 1 / 168, 0.0018, 0.000327621729097897),
    ((0.243, 4.414, 0.793, 2.426), 52.0, 0.0018, 1.391729344179306),
    ((0.243, 4.414, 0.793, 2.426), np.inf, 0.0018, 4.398999696669006),
    ((0.243, 4.414, 0.793, 2.426), np.inf, 0.03, 0.9347963785666164),
    ((0.243, 4.414, 1.0, 2.426), np.inf, 0.0018, 3.314808486996107),
    ((0.243, 4.414, 0.3, 0.4), 52.0, 0.0018, 1.2941848086774),
    ((0.243, 4.414, 0.3, 0.4), np.inf, 0.0018, 6.342699841083292),
    ((5.0, 1.0, 3.0, 30.0), 52.0, 0.0018, 15.54291927302069),
    ((5.0, 1.0, 3.0, 30.0), np.inf, 0.0018, 15.79039155621608),
    ((297.0, 365.0, 0.8, 300.0), np.inf, 0.0018, 261.8597987207537),
    ((3650.2, 3654.0, 0.8, 3652.0), 1 / 168, 0.0018, 0.005946155009532623),
    ((3650.2, 3654.0, 0.8, 3652.0), np.inf, 0.0018, 500.8213654841696),
    ((3650.2, 3654.0, 0.8, 3652.0), np.inf, 0.03, 33.05965137779015),
]


@pytest.mark.parametrize(("params", "t", "delta", "reference"), DISCOUNTED)
def test_discounted_purchases_agree_with_mpmath(params, t, delta, reference):
    got = bg_nbd.discounted_purchases(Params(*params), np.array([t]), delta)[0]
    assert_allclose(got, reference, rtol=1e-10)


def test_expectation_to_infinity_is_finite_exactly_where_a_exceeds_one():
    forever = np.array([np.inf])
    assert bg_nbd.discounted_purchases(Params(1.0, 1.0, 1.0, 2.0), forever, 0.0)[0] == np.inf
    value = bg_nbd.discounted_purchases(Params(1.0, 1.0, 3.0, 2.0), forever, 0.0)
    assert_allclose(value, 2.0, rtol=1e-14)
