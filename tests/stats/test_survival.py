"""P(active later): against simulation, against the sum over purchases, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from crmml.stats import bg_bb, bg_nbd, pareto_nbd
from crmml.stats.cnbd_k import ErlangProcess, Params
from crmml.stats.survival import survival

T = np.array([0.0, 3.0, 26.0, 104.0])


@pytest.mark.parametrize(("a", "b", "r"), [(0.8, 2.4, 0.24), (0.05, 0.3, 7.0), (20.0, 60.0, 3.0)])
def test_leaving_at_purchases_is_the_mean_over_rates_and_chances(a, b, r):
    found = survival(bg_nbd, bg_nbd.Params(r, 4.4, a, b), T)
    expected = [
        integrate.quad(
            lambda u, t=t: (1 + stats.beta.ppf(u, a, b) * t / 4.4) ** -r, 0, 1, limit=400
        )[0]
        for t in T
    ]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_leaving_at_any_moment_is_the_lomax_tail():
    found = survival(pareto_nbd, pareto_nbd.Params(0.5, 10.0, 0.6, 11.7), T)
    np.testing.assert_allclose(found, stats.lomax.sf(T, 0.6, scale=11.7))


def test_a_beat_of_one_is_the_plain_process_and_of_three_the_simulated_one():
    of_one = survival(ErlangProcess(1), Params(0.8, 5.0, 0.7, 3.0), T)
    np.testing.assert_allclose(of_one, survival(bg_nbd, bg_nbd.Params(0.8, 5.0, 0.7, 3.0), T))
    process, params = ErlangProcess(3), Params(2.0, 4.0, 0.7, 3.0, 0.3)
    found = survival(process, params, T)
    assert found[0] == pytest.approx(1.0)
    # of n purchases that are due the customer survives each: by the pmf of who never leaves
    pmf = process.pmf(params._replace(a=1e-9), T, 400)
    number = np.arange(400)
    stays = np.r_[1.0, np.cumprod((3.0 + number) / (3.7 + number))]
    np.testing.assert_allclose(found, pmf @ stays, atol=1e-7)


def test_periods_left_one_by_one():
    params = bg_bb.Params(1.2, 0.75, 0.66, 2.8)
    found = survival(bg_bb, params, np.arange(4.0))
    step = np.cumprod([1.0, *((2.8 + n) / (0.66 + 2.8 + n) for n in range(3))])
    np.testing.assert_allclose(found, step)
