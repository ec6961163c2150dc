"""Simulated paths: their sums have the distribution of the process, period by period."""

from __future__ import annotations

import numpy as np
import pytest

from crmml.stats import bg_bb, bg_nbd, pareto_nbd
from crmml.stats.cnbd_k import ErlangProcess, Params
from crmml.stats.paths import draw_path

CASES = {
    "bg_nbd": (bg_nbd, bg_nbd.Params(0.9, 4.0, 0.8, 2.4), (4.0, 13.0, 39.0)),
    "pareto_nbd": (pareto_nbd, pareto_nbd.Params(0.9, 6.0, 0.6, 12.0), (4.0, 13.0, 39.0)),
    "regular": (ErlangProcess(3), Params(3.0, 4.0, 0.8, 2.4, 0.4), (4.0, 13.0, 39.0)),
    "bg_bb": (bg_bb, bg_bb.Params(1.2, 0.75, 0.66, 2.8), (2.0, 4.0, 9.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_mean_until_each_end_is_the_expected_one(name):
    process, params, ends = CASES[name]
    n = 60_000
    counts = draw_path(process, params, np.tile(np.array(ends), (n, 1)), np.random.default_rng(3))
    assert (counts >= 0).all()
    so_far = np.cumsum(counts, axis=1)
    expected = process.expected_purchases(params, np.array(ends))
    error = so_far.std(axis=0) / np.sqrt(n)
    assert (np.abs(so_far.mean(axis=0) - expected) < 4.5 * error).all()
    none = process.pmf(params, np.array(ends), 0)[:, 0]
    np.testing.assert_allclose((so_far == 0).mean(axis=0), none, atol=0.01)
