import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve

from crmml.exceptions import ParameterError
from crmml.metrics.calibration import compute_reliability, expected_calibration_error


def test_equals_the_calibration_curve_of_scikit_learn():
    rng = np.random.default_rng(0)
    p = rng.random(1000)
    y = rng.random(1000) < p
    table = compute_reliability(y, p, n_bins=8)
    observed, predicted = calibration_curve(y, p, n_bins=8, strategy="quantile")
    np.testing.assert_allclose(table["observed"], observed, atol=1e-12)
    np.testing.assert_allclose(table["predicted"], predicted, atol=1e-12)
    assert table["n"].sum() == 1000


def test_interval_is_wilson_of_scipy():
    table = compute_reliability([1, 1, 0, 0, 0, 0, 0], np.full(7, 0.3))
    assert len(table) == 1
    expected = stats.binomtest(2, 7).proportion_ci(method="wilson")
    assert table["low"][0] == pytest.approx(expected.low)
    assert table["high"][0] == pytest.approx(expected.high)


def test_error_is_zero_when_rates_are_met_and_large_when_they_are_not():
    p = np.repeat([0.25, 0.75], 4)
    y = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    assert expected_calibration_error(y, p) == pytest.approx(0.0)
    assert expected_calibration_error(1 - y, p) == pytest.approx(0.5)


def test_ties_share_a_bin_whatever_the_order():
    p = np.repeat([0.1, 0.1, 0.1, 0.9], 5)
    y = np.arange(20) % 2
    table = compute_reliability(y, p)
    assert table["n"].tolist() == [15, 5]
    assert compute_reliability(y[::-1], p[::-1])["n"].tolist() == [15, 5]


def test_refusals():
    with pytest.raises(ParameterError, match="probability must be between 0 and 1"):
        compute_reliability([0, 1], [0.5, 1.5])
    with pytest.raises(ParameterError, match="n_bins must be at least 1"):
        compute_reliability([0, 1], [0.5, 0.5], n_bins=0)
    with pytest.raises(ParameterError, match="one length"):
        compute_reliability([0, 1], [0.5])
