"""Stored beta tails against the incomplete beta function itself."""

import numpy as np
import pytest
from scipy import special

from crmml.stats.beta_tails import beta_tails


@pytest.mark.parametrize(("p", "q"), [(0.05, 0.2), (0.6, 1.1), (2.3, 3.7), (40.0, 2.0)])
def test_tails_are_those_of_the_incomplete_beta_function(p: float, q: float) -> None:
    rng = np.random.default_rng(1)
    n, x = rng.integers(1, 19, 4000) * 1.0, rng.integers(0, 70, 4000) * 1.0
    x[::10] += 0.5  # no count: worked out point by point
    log_odds = special.logit(special.betaincinv(p * n, q + p * x, rng.uniform(1e-6, 1, 4000)))
    log_odds = np.clip(log_odds, -600, 600)
    exact = special.betaincc(p * n, q + p * x, special.expit(log_odds))
    found = beta_tails(p, q, n, x, log_odds)
    assert np.abs(found - exact).max() < 1e-8
    alone = [beta_tails(p, q, n[[i]], x[[i]], log_odds[[i]])[0] for i in range(0, 4000, 400)]
    assert alone == found[::400].tolist()
