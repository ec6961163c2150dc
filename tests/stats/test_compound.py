"""Tabulated totals against the exact distribution."""

import numpy as np
import pytest
from scipy import special

from crmml.stats.compound import SpendParams, tabulate, thin_counts


@pytest.mark.parametrize(("p", "q", "x"), [(6.2, 3.7, 4.0), (0.8, 1.4, 0.0), (90.0, 12.0, 30.0)])
def test_tables_are_those_of_the_incomplete_beta_function(p: float, q: float, x: float) -> None:
    counts, _ = thin_counts(15)
    table = tabulate(x, counts, SpendParams(np.array([p]), np.array([q]), np.array([15.0])), 15.0)
    exact = special.betainc(counts[:, None] * p, q + p * x, special.expit(table.log_u))
    assert np.abs(table.cdf[:, 1] - exact).max() < 1e-9


def test_spend_without_a_mean_has_a_table() -> None:
    counts, _ = thin_counts(15)
    one = SpendParams(np.array([2.0]), np.array([0.2]), np.array([15.0]))
    table = tabulate(0.0, counts, one, 15.0)
    assert np.isfinite(table.log_u).all()
    assert (np.diff(table.cdf, axis=2) >= 0).all()
    assert table.cdf[:, :, -1].max() == pytest.approx(1.0, abs=2e-6)
