"""MBG/NBD: mpmath references, identities, and what differs from the BG/NBD."""

import mpmath as mp
import numpy as np
import pytest
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
