"""Curves by alpha: the figures of the formula, whoever else is asked of."""

from __future__ import annotations

import numpy as np
import pytest

from crmml.stats import bg_nbd
from crmml.stats.alpha_curves import along_alpha


def _futures() -> bg_nbd.Params:
    rng = np.random.default_rng(1)
    x = rng.choice([0.0, 1.0, 5.0, 60.0, 1000.0], 300)
    alpha = rng.choice([0.01, 4.0], 300) + rng.uniform(0.0, 600.0, 300)
    return bg_nbd.Params(0.3 + x, alpha, np.full(300, 0.78), 2.0 + x)


@pytest.mark.parametrize("t", [0.1, 13.0, 5000.0])
def test_they_give_what_the_formula_gives(t: float) -> None:
    futures = _futures()

    def work(its: bg_nbd.Params) -> np.ndarray:
        return bg_nbd.expected_purchases(its, np.full(len(its.r), t))

    read = along_alpha(("test", t), futures, work)
    np.testing.assert_allclose(read, work(futures), rtol=1e-13)
    one = bg_nbd.Params(*(field[7:8] for field in futures))
    # Neither neighbours nor what is kept changes a bit.
    assert along_alpha(("test anew", t), one, work)[0] == read[7]


def test_nobody_has_no_curve() -> None:
    nobody = bg_nbd.Params(*np.empty((4, 0)))
    assert along_alpha("nobody", nobody, lambda its: its.r).shape == (0,)
