"""Shifted beta-geometric: the published segments, identities, recovery, refusals."""

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmml.exceptions import (
    BoundaryWarning,
    CrmmlError,
    DataError,
    MissingColumnsError,
    NotFittedError,
    ParameterError,
    TooLittleDataError,
)
from crmml.models import ShiftedBetaGeoModel, from_dict
from crmml.stats import sbg
from crmml.stats.sbg import Params

HIGH_END = np.array([1000, 869, 743, 653, 593, 551, 517, 491])
REGULAR = np.array([1000, 631, 468, 382, 326, 289, 262, 241])


def segment(survivors):
    """Grouped contracts of a table of survivors, and their counts."""
    years = len(survivors) - 1
    frame = {
        "customer_id": range(years + 1),
        "renewals": [*range(years), years],
        "ended": [True] * years + [False],
    }
    return pd.DataFrame(frame), np.array([*-np.diff(survivors), survivors[-1]])


def fit(survivors):
    contracts, counts = segment(survivors)
    return ShiftedBetaGeoModel().fit(contracts, sample_weight=counts)


@pytest.mark.parametrize(
    ("survivors", "alpha", "beta", "log_likelihood"),
    [(HIGH_END, 0.668, 3.806, -1611.2), (REGULAR, 0.704, 1.182, -1680.3)],
)
def test_fit_of_both_segments_fader_hardie_2007(survivors, alpha, beta, log_likelihood):
    model = fit(survivors)
    assert model.params_["alpha"] == pytest.approx(alpha, abs=5.1e-4)
    assert model.params_["beta"] == pytest.approx(beta, abs=5.1e-4)
    assert model.log_likelihood_ == pytest.approx(log_likelihood, abs=0.05)
    assert model.converged_
    observed = survivors / 1000
    assert model.survival(7).to_numpy() == pytest.approx(observed, abs=0.02)


def test_counts_equal_rows_written_out_one_by_one():
    contracts, counts = segment(HIGH_END)
    rows = contracts.loc[contracts.index.repeat(counts)].assign(customer_id=range(1000))
    spelled, grouped = ShiftedBetaGeoModel().fit(rows), fit(HIGH_END)
    for name in ("alpha", "beta"):
        assert spelled.params_[name] == pytest.approx(grouped.params_[name], rel=1e-9)
    shuffled = rows.sample(frac=1.0, random_state=1)
    assert ShiftedBetaGeoModel().fit(shuffled).params_ == spelled.params_


def test_parameters_are_recovered_from_simulated_contracts():
    rng = np.random.default_rng(5)
    renewals = sbg.draw(Params(1.3, 4.0), np.full(8000, 6.0), rng)
    frame = {"customer_id": np.arange(8000), "renewals": renewals, "ended": renewals < 6}
    model = ShiftedBetaGeoModel().fit(pd.DataFrame(frame))
    for name, truth in {"alpha": 1.3, "beta": 4.0}.items():
        assert abs(model.params_[name] - truth) < 3.5 * model.standard_errors_[name]


POSITIVE = st.floats(-2, 3).map(lambda power: float(10**power))


@given(alpha=POSITIVE, beta=POSITIVE, renewals=st.integers(0, 30))
def test_probabilities_agree_with_each_other(alpha, beta, renewals):
    params, t = Params(alpha, beta), np.arange(31.0)
    survival = np.exp(sbg.log_survival(params, t))
    ends = np.exp(sbg.log_likelihood(params, t, np.ones(31, dtype=bool)))
    assert survival[:-1] - survival[1:] == pytest.approx(ends[:-1], rel=1e-8, abs=1e-13)
    rates = sbg.retention_rate(params, t[1:])
    assert np.cumprod(rates) == pytest.approx(survival[1:], rel=1e-10)
    assert (np.diff(rates) > 0).all()
    future = sbg.if_active(params, np.array([float(renewals)]))
    conditional = np.exp(
        sbg.log_survival(params, np.array([renewals + 5.0]))
        - sbg.log_survival(params, np.array([float(renewals)]))
    )
    assert np.exp(sbg.log_survival(future, np.array([5.0]))) == pytest.approx(conditional, rel=1e-9)
    ahead = [sbg.expected_renewals(future, np.array([n]), 0.05)[0] for n in (1.0, 5.0, np.inf)]
    assert ahead == sorted(ahead)


def test_score_is_the_derivative():
    renewals, ended = np.array([0.0, 3, 7, 7]), np.array([True, True, True, False])
    value, gradient = sbg.score(Params(0.7, 2.5), renewals, ended)
    for i in range(2):
        step = np.zeros(2)
        step[i] = 1e-6
        up, down = (
            sbg.log_likelihood(Params(*(np.array([0.7, 2.5]) * np.exp(h))), renewals, ended)
            for h in (step, -step)
        )
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-8)
    assert value[2] < value[3]


@pytest.mark.parametrize("alpha", [0.668, 1.0, 2.0000001])
def test_residual_lifetime_equals_hypergeometric_fader_hardie_2010(alpha):
    # DERL: (b+n-1)/(a+b+n-1) 2F1(1, b+n; a+b+n; 1/(1+d)), here with n - 1 = 4 renewals.
    d, beta, n = mp.mpf("0.1"), mp.mpf("3.806"), 5
    a = mp.mpf(alpha)
    expected = (beta + n - 1) / (a + beta + n - 1)
    expected *= mp.hyp2f1(1, beta + n, a + beta + n, 1 / (1 + d))
    model = ShiftedBetaGeoModel(period="365D")
    model.params_ = {"alpha": alpha, "beta": 3.806}
    contracts = pd.DataFrame({"customer_id": ["x", "y"], "renewals": 4, "ended": [False, True]})
    found = model.expected_residual_lifetime(contracts, annual_discount_rate=0.1)
    assert found["x"] == pytest.approx(float(expected), rel=1e-12)
    assert found["y"] == 0.0
    lifetime = mp.hyp2f1(1, beta, a + beta, 1 / (1 + d))
    assert model.expected_lifetime(0.1) == pytest.approx(float(lifetime), rel=1e-12)


def test_undiscounted_lifetimes_are_finite_only_above_alpha_one():
    model = ShiftedBetaGeoModel()
    model.params_ = {"alpha": 3.0, "beta": 4.0}
    assert model.expected_lifetime() == pytest.approx((3 + 4 - 1) / (3 - 1))
    model.params_ = {"alpha": 1.0, "beta": 4.0}
    assert model.expected_lifetime() == np.inf


def test_shorter_periods_are_discounted_less():
    annual, monthly = ShiftedBetaGeoModel(period="365D"), ShiftedBetaGeoModel(period="30D")
    annual.params_ = monthly.params_ = {"alpha": 0.7, "beta": 4.0}
    assert monthly.expected_lifetime(0.1) > annual.expected_lifetime(0.1)


def test_churn_probability_is_keyed_by_customer():
    model = fit(REGULAR)
    contracts = pd.DataFrame(
        {"customer_id": ["b", "🙂", "a"], "renewals": [0, 5, 2], "ended": [False, False, True]}
    )
    once = model.churn_probability(contracts)
    assert once["b"] == pytest.approx(1 - model.retention_rate(1)[1])
    assert once["🙂"] == pytest.approx(1 - model.retention_rate(6)[6])
    assert once["a"] == 1.0
    assert (model.churn_probability(contracts, "3P") >= once).all()
    alone = model.churn_probability(contracts.iloc[[1]])
    assert alone["🙂"] == once["🙂"]


def test_storage_gives_the_model_back():
    model = fit(HIGH_END)
    again = from_dict(model.to_dict())
    pd.testing.assert_series_equal(again.survival(20), model.survival(20), check_exact=True)


def test_nobody_ended_is_a_fit_with_a_named_warning():
    contracts = pd.DataFrame({"customer_id": range(50), "renewals": 3, "ended": False})
    with pytest.warns(BoundaryWarning, match="ends|likely"):
        model = ShiftedBetaGeoModel().fit(contracts)
    assert model.survival(3)[3] > 0.99


def test_mistakes_are_named():
    good = segment(HIGH_END)[0]
    model = ShiftedBetaGeoModel()
    with pytest.raises(NotFittedError, match="not fitted"):
        model.survival(3)
    with pytest.raises(MissingColumnsError, match="'ended'"):
        model.fit(good.drop(columns="ended"))
    with pytest.raises(DataError, match="whole number >= 0"):
        model.fit(good.assign(renewals=[0.5, *range(7)]))
    with pytest.raises(DataError, match="unique"):
        model.fit(good.assign(customer_id=1))
    with pytest.raises(DataError, match="true or false"):
        model.fit(good.assign(ended="yes"))
    with pytest.raises(TooLittleDataError, match="empty"):
        model.fit(good.iloc[:0])
    with pytest.raises(ParameterError, match="sample_weight"):
        model.fit(good, sample_weight=[-1.0] * 8)
    with pytest.raises(CrmmlError, match="opportunities"):
        ShiftedBetaGeoModel(period="1P").fit(good)
    with pytest.raises(CrmmlError, match="renewal dates"):
        fit(HIGH_END).churn_probability(good, "52W")
    with pytest.raises(ParameterError, match="whole number of renewal dates"):
        fit(HIGH_END).churn_probability(good, "1.5P")


def test_a_horizon_in_days_is_that_of_so_many_periods():
    model = fit(REGULAR)
    monthly = ShiftedBetaGeoModel(period="30D")
    monthly.__dict__.update({k: v for k, v in model.__dict__.items() if k.endswith("_")})
    contracts = pd.DataFrame({"customer_id": [1, 2], "renewals": [0, 5], "ended": [False, False]})
    year = monthly.churn_probability(contracts, "360D")
    pd.testing.assert_series_equal(year, monthly.churn_probability(contracts, "12P"))
    pd.testing.assert_series_equal(
        monthly.expected_residual_lifetime(contracts, "60D"),
        monthly.expected_residual_lifetime(contracts, "2P"),
    )
    with pytest.raises(ParameterError, match="whole number of renewal dates, which are 30D apart"):
        monthly.churn_probability(contracts, "365D")
