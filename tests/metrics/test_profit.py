import numpy as np
import pytest
from scipy import integrate, stats

from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics.profit import expected_maximum_profit


def sample(n=300, seed=0):
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1, 4, n), 2)
    return (rng.random(n) < p).astype(float), p


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_numerical_integration_of_verbraken_et_al_2013(seed):
    y, p = sample(seed=seed)
    clv, incentive, contact = 200.0, 10.0, 1.0
    d, f = incentive / clv, contact / clv
    cuts = np.concatenate([[np.inf], np.unique(p)[::-1]])
    F0 = np.array([(p[y == 1] >= c).mean() for c in cuts])
    F1 = np.array([(p[y == 0] >= c).mean() for c in cuts])
    p0 = y.mean()

    def best(g):
        profit = clv * ((g * (1 - d) - f) * p0 * F0 - (d + f) * (1 - p0) * F1)
        return profit.max() * stats.beta.pdf(g, 6, 14)

    expected, _ = integrate.quad(best, 0, 1, limit=500)
    found = expected_maximum_profit(y, p)
    assert found.profit == pytest.approx(expected, rel=1e-6)
    assert 0 < found.share < 1


def test_perfect_ranking_earns_the_most_and_noise_next_to_nothing():
    y, p = sample(2000)
    perfect = expected_maximum_profit(y, y)
    assert perfect.profit == pytest.approx(y.mean() * (200 * 0.95 * 0.3 - 1), rel=1e-3)
    noise = expected_maximum_profit(y, np.zeros(2000))
    assert noise.profit < expected_maximum_profit(y, p).profit < perfect.profit
    assert perfect.share == pytest.approx(y.mean(), rel=1e-3)


def test_scale_of_money_and_of_the_score_do_not_matter():
    y, p = sample()
    base = expected_maximum_profit(y, p)
    tenfold = expected_maximum_profit(y, 5 * p - 1, clv=2000, incentive_cost=100, contact_cost=10)
    assert tenfold.profit == pytest.approx(10 * base.profit)
    assert tenfold.share == pytest.approx(base.share)


def test_refusals():
    y, p = sample()
    with pytest.raises(ParameterError, match="clv must be > 0"):
        expected_maximum_profit(y, p, clv=0)
    with pytest.raises(ParameterError, match="contact_cost must be at least 0"):
        expected_maximum_profit(y, p, contact_cost=-1)
    with pytest.raises(ParameterError, match="alpha and beta must be > 0"):
        expected_maximum_profit(y, p, alpha=0)
    with pytest.raises(TooLittleDataError, match="of 300 customers all have the same"):
        expected_maximum_profit(np.ones(300), p)
