import numpy as np
import pytest
from scipy import integrate, stats
from sklearn import metrics as sk

from crmml.exceptions import ParameterError
from crmml.metrics import counts, ranking
from crmml.metrics.bootstrap import (
    Stream,
    compare,
    hash_keys,
    keyed_uniforms,
    resampling_weights,
)

RNG = np.random.default_rng(20)
Y = RNG.poisson(1.5, 500).astype(float)
P = Y * 0.5 + RNG.gamma(1.0, 1.0, 500)
PMF = stats.poisson.pmf(np.arange(30), np.full((500, 1), 1.5))


def test_errors_equal_scikit_learn_with_and_without_weights():
    w = RNG.poisson(1.0, (3, 500)).astype(float)
    assert counts.mean_absolute_error(Y, P) == pytest.approx(sk.mean_absolute_error(Y, P))
    for b in range(3):
        assert counts.mean_absolute_error(Y, P, w)[b] == pytest.approx(
            sk.mean_absolute_error(Y, P, sample_weight=w[b])
        )
        assert counts.root_mean_squared_error(Y, P, w)[b] == pytest.approx(
            sk.root_mean_squared_error(Y, P, sample_weight=w[b])
        )


def test_the_truth_has_no_error():
    assert counts.mean_absolute_error(Y, Y) == 0
    assert counts.root_mean_squared_error(Y, Y) == 0
    assert counts.total_bias(Y, Y) == 0
    assert counts.cumulative_mape(np.cumsum(Y), np.cumsum(Y)) == 0


def test_total_bias_is_relative_and_undefined_without_events():
    assert counts.total_bias(Y, 1.25 * Y) == pytest.approx(0.25)
    assert np.isnan(counts.total_bias(np.zeros(3), np.ones(3)))
    assert np.isnan(counts.cumulative_mape(np.zeros(3), np.ones(3)))


def test_crps_of_a_point_is_the_absolute_error():
    prediction = RNG.integers(0, 8, 500)
    point = np.eye(8)[prediction]
    np.testing.assert_allclose(counts.crps_of_pmf(Y, point), np.abs(Y - prediction), atol=1e-12)


def test_crps_of_pmf_equals_the_integral_of_its_definition():
    y = 4.0
    cdf = np.cumsum(PMF[0])

    def squared_gap(z):
        return (cdf[min(int(z), 29)] - (z >= y)) ** 2

    direct = integrate.quad(squared_gap, 0, 30, points=list(range(1, 30)), limit=200)[0]
    assert counts.crps_of_pmf(np.array([y]), PMF[:1])[0] == pytest.approx(direct, rel=1e-6)


def test_crps_of_pmf_equals_the_form_of_expected_distances():
    draws = RNG.poisson(2.0, (50, 40)).astype(float)
    pmf = np.array([np.bincount(row.astype(int), minlength=20) / 40 for row in draws])
    # Gneiting and Raftery (2007), eq. 21: E|X - y| - E|X - X'| / 2
    spread = np.abs(draws[:, :, None] - draws[:, None, :]).mean(axis=(1, 2))
    expected = np.abs(draws - Y[:50, None]).mean(axis=1) - spread / 2
    np.testing.assert_allclose(counts.crps_of_pmf(Y[:50], pmf), expected, atol=1e-12)


def test_crps_counts_what_lies_beyond_the_last_column():
    assert counts.crps_of_pmf(np.array([9.0]), np.array([[0.0, 1.0]]))[0] == pytest.approx(8.0)
    assert counts.crps_of_pmf(np.array([0.0]), np.array([[0.0, 0.0]]))[0] == pytest.approx(2.0)


def test_log_score_equals_scipy_and_is_infinite_for_the_impossible():
    np.testing.assert_allclose(
        counts.log_score_of_pmf(Y, PMF), -stats.poisson.logpmf(Y, 1.5), rtol=1e-9
    )
    assert np.isinf(counts.log_score_of_pmf(np.array([1.0]), np.array([[1.0, 0.0]]))[0])
    with pytest.raises(ParameterError, match="n_max must be at least the largest count, 40"):
        counts.log_score_of_pmf(np.array([40.0]), PMF[:1])


def test_pit_of_the_truth_is_uniform_and_of_a_wrong_model_is_not():
    n = 20_000
    y = RNG.poisson(0.4, n).astype(float)
    u = keyed_uniforms(hash_keys(range(n)), seed=3)
    right = counts.randomised_pit(y, stats.poisson.pmf(np.arange(12), np.full((n, 1), 0.4)), u)
    wrong = counts.randomised_pit(y, stats.poisson.pmf(np.arange(12), np.full((n, 1), 0.6)), u)
    assert stats.kstest(right, "uniform").pvalue > 0.001
    assert stats.kstest(wrong, "uniform").pvalue < 1e-6
    assert counts.pit_coverage(right, 0.8) == pytest.approx(0.8, abs=0.01)
    table = counts.compute_pit_histogram(right)
    assert table["customers"].sum() == n
    assert table["density"].mean() == pytest.approx(1.0)


def test_interval_coverage_counts_the_ends():
    covered = counts.interval_coverage(
        np.array([0.0, 1.0, 2.0, 3.0]), np.full(4, 1.0), np.full(4, 2.0)
    )
    assert covered == 0.5


def test_keyed_numbers_follow_the_customer_not_the_row():
    ids = ["b", "a", "مشتری", "🙂", 7]
    keys = hash_keys(ids)
    order = [3, 1, 4, 0, 2]
    shuffled = hash_keys([ids[i] for i in order])
    np.testing.assert_array_equal(keyed_uniforms(shuffled, 5), keyed_uniforms(keys, 5)[order])
    np.testing.assert_array_equal(
        resampling_weights(keys[:1], 9, 1), resampling_weights(keys, 9, 1)[:, :1]
    )
    np.testing.assert_array_equal(
        resampling_weights(keys, 3, 1, first=2), resampling_weights(keys, 5, 1)[2:]
    )
    assert (keyed_uniforms(keys, 5) != keyed_uniforms(keys, 5, stream=1)).all()


def test_resampling_weights_are_poisson_of_mean_one():
    w = resampling_weights(hash_keys(range(2000)), 50, seed=1)
    assert w.mean() == pytest.approx(1.0, abs=0.01)
    assert w.var() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.corrcoef(w)[np.triu_indices(50, 1)]).max() < 0.12


def test_the_pit_shares_no_random_numbers_with_the_bootstrap():
    keys, n = hash_keys(range(40_000)), 40_000
    weights = resampling_weights(keys, 12, seed=3)
    uniforms = keyed_uniforms(keys, 3, Stream.PIT)
    seen = [np.corrcoef(uniforms, row)[0, 1] for row in weights]
    assert np.abs(seen).max() < 4 / np.sqrt(n)
    # What went wrong in 0.1: the stream of the bootstrap, taken for another purpose too.
    same = np.corrcoef(keyed_uniforms(keys, 3, Stream.RESAMPLING), weights[3])[0, 1]
    assert same > 0.8
    assert len(set(Stream)) == len(Stream.__members__)
    assert min(abs(int(a) - int(b)) for a in Stream for b in Stream if a != b) > 2**32


def test_statistics_that_are_numbers_have_no_interval():
    table = compare({"a": {"m": 1.0, "mae": 2.0}, "b": {"m": 4.0}}, range(9), reference="a")
    assert table["value"].tolist() == [1.0, 2.0, 4.0]
    assert table["difference"].tolist() == [0.0, 0.0, 3.0]
    assert table[["lower", "upper", "difference_lower", "difference_upper"]].isna().all(axis=None)


def test_bootstrap_interval_has_the_width_of_the_central_limit():
    loss = np.abs(P - Y)
    table = compare({"m": counts.statistics(Y, P)}, range(500), n_replicates=1000, level=0.9)
    row = table.loc[("m", "mae")]
    half = stats.norm.ppf(0.95) * loss.std() / np.sqrt(500)
    assert row["value"] == pytest.approx(loss.mean())
    assert (row["upper"] - row["lower"]) / 2 == pytest.approx(half, rel=0.12)


def test_differences_are_paired_and_zero_against_oneself():
    candidates = {
        name: counts.statistics(Y, p, PMF) | ranking.statistics(Y, p)
        for name, p in {"model": P, "shifted": P + 0.01, "base": P}.items()
    }
    table = compare(candidates, range(500), reference="base", n_replicates=50)
    same = table.xs("model")[["difference", "difference_lower", "difference_upper"]]
    assert (same.loc[["mae", "rmse", "bias", "deviance", "crps", "log_score"]] == 0).all(axis=None)
    assert (same["difference"] == 0).all()
    shifted = table.loc[("shifted", "mae")]
    assert shifted["difference_upper"] - shifted["difference_lower"] < 0.1 * (
        shifted["upper"] - shifted["lower"]
    )
    assert set(table.index.get_level_values("metric")) >= {"mae", "crps", "log_score", "gini"}


def test_comparison_does_not_depend_on_the_order_of_rows():
    order = RNG.permutation(500)
    one, other = (
        compare({"m": counts.statistics(Y[i], P[i]) | ranking.statistics(Y[i], P[i])}, i)
        for i in (np.arange(500), order)
    )
    np.testing.assert_allclose(one.to_numpy(), other.to_numpy(), rtol=1e-9)


def test_comparison_refuses_unknown_reference_and_level():
    with pytest.raises(ParameterError, match="reference must be one of"):
        compare({"m": counts.statistics(Y, P)}, range(500), reference="x")
    with pytest.raises(ParameterError, match="level must be in"):
        compare({"m": counts.statistics(Y, P)}, range(500), level=1.0)
