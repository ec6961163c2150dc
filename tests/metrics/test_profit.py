import numpy as np
import pytest
from scipy import integrate, stats

from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.metrics.profit import (
    compute_profit_curve,
    expected_gain,
    expected_maximum_profit,
    statistics,
)


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


def test_with_own_values_it_equals_the_best_share_of_every_save_rate():
    y, p = sample(200, seed=3)
    value = np.random.default_rng(4).gamma(0.8, 60.0, len(y))
    score = expected_gain(p, value)
    found = expected_maximum_profit(y, score, clv=value, incentive_cost=2.0, contact_cost=0.2)
    cuts = np.concatenate([[np.inf], np.unique(score)[::-1]])
    inside = score >= cuts[:, None]
    rates = (np.arange(4000) + 0.5) / 4000
    won = inside @ (y * (value - 2.0))
    spent = inside @ (0.2 + 2.0 * (1 - y))
    earned = rates[:, None] * won - spent
    density = stats.beta.pdf(rates, 6, 14) / 4000
    assert found.profit == pytest.approx(density @ earned.max(axis=1) / 200, rel=1e-5)
    shares = inside.mean(axis=1)[earned.argmax(axis=1)]
    assert found.share == pytest.approx(density @ shares, abs=1e-3)


def test_the_curve_ends_where_all_are_contacted_and_its_top_is_near_the_measure():
    y, p = sample(2000, seed=5)
    value = np.full(2000, 200.0)
    curve = compute_profit_curve(y, p, value)
    assert curve["found"].iloc[[0, -1]].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(curve["own_value_profit"], curve["profit"], atol=1e-9)
    said = statistics(y, p, value)
    assert said["own_value_profit"] == pytest.approx(said["empc"])
    assert curve["profit"].max() <= said["empc"] + 1e-9
    assert curve["profit"].idxmax() == pytest.approx(said["empc_share"], abs=0.12)
    assert set(statistics(y, p, -value)) == {"empc", "empc_share"}
