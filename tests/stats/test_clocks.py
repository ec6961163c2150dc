"""Operational time of several clocks at once: against quadrature, and its slopes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from crmml.stats.clocks import Intervals, Pace
from crmml.stats.newcomer import NewcomerEffect

EDGES = np.array([0.0, 1.0, 2.5, 3.0, 7.0, 20.0])
DESIGN = np.array([[0.0, 1.0, 0.0, 2.0, -1.0], [1.0, 0.5, -0.5, 0.0, 0.3]])


def pace_at(coefficients):
    return Pace(EDGES, np.exp(coefficients @ DESIGN), DESIGN)


def passed_at(psi, begin, length, age, settles, paced):
    effect = NewcomerEffect(*np.exp(psi[:2])) if settles else None
    pace = pace_at(psi[2:]) if paced else None
    return Intervals.of(begin, length, age).under(pace, effect)


@pytest.mark.parametrize(("settles", "paced"), [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("decay", [0.05, 2.0, 40.0])
def test_against_quadrature(settles, paced, decay):
    psi = np.array([np.log(2.4), np.log(decay), 0.4, -0.6])
    begin = np.array([0.3, 0.3, 2.5, 6.0, 19.0, 25.0])
    length = np.array([0.2, 9.0, 0.0, 30.0, 2.0, 1.0])
    age = np.array([0.0, 0.0, 1.0, 3.0, 0.5, 2.0])
    got = passed_at(psi, begin, length, age, settles, paced)
    pace, (first, _) = pace_at(psi[2:]), np.exp(psi[:2])

    def rate(v, b, u):
        common = pace.rate[np.clip(np.searchsorted(EDGES, v, side="right") - 1, 0, 4)]
        own = 1.0 + (first - 1.0) * np.exp(-(u + v - b) / decay)
        return (common if paced else 1.0) * (own if settles else 1.0)

    for b, t, u, value in zip(begin, length, age, got.time, strict=True):
        cuts = np.unique(np.clip([b, *EDGES, b + 5 * decay, b + t], b, b + t))
        parts = [quad(rate, *ends, args=(b, u))[0] for ends in pairwise(cuts)]
        assert_allclose(value, sum(parts), rtol=1e-10, atol=1e-14)
    moved = [
        (passed_at(psi + e, begin, length, age, settles, paced).time
         - passed_at(psi - e, begin, length, age, settles, paced).time) / 2e-5
        for e in 1e-5 * np.eye(4)
    ]  # fmt: skip
    used = [settles, settles, paced, paced]
    slopes = np.array([got.pull(one) for one in np.eye(len(begin))]).T
    assert_allclose(slopes, np.array(moved)[used], rtol=1e-6, atol=1e-8)
    weights = np.array([1.0, 0.5, 3.0, 2.0, -1.0, 0.1])
    assert_allclose(got.pull(weights), slopes @ weights, rtol=1e-12)


def test_a_horizon_without_end_is_one_without_a_pace():
    forever = Intervals.of(np.zeros(1), np.array([np.inf]))
    got = forever.under(None, NewcomerEffect(3.0, 4.0))
    assert got.time.tolist() == [np.inf]
    assert np.isfinite(got.pull(np.ones(1))).all()
