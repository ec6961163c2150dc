"""Fits: published optima, boundaries, covariates, weights."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from crmml.data.datasets import load_cdnow
from crmml.exceptions import (
    BoundaryWarning,
    CrmmlError,
    DataError,
    MissingColumnsError,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import BetaGeoModel, GammaGammaModel, ModifiedBetaGeoModel, ParetoNBDModel
from crmml.stats import bg_nbd, mbg_nbd, mle


@pytest.fixture(scope="module")
def cdnow(cdnow_snapshot):
    return cdnow_snapshot


def simulate(n, params, seed, *, z=None, effects=(0.0, 0.0, 0.0), process=bg_nbd):
    """Draw weekly-measured histories of the (M)BG/NBD with covariates z."""
    rng = np.random.default_rng(seed)
    r, alpha, a, b = params
    z = np.zeros(n) if z is None else z
    rate = rng.gamma(r, 1.0, n) / (alpha * np.exp(-effects[0] * z))
    leaves = rng.beta(a * np.exp(effects[1] * z), b * np.exp(effects[2] * z))
    T = rng.integers(100, 400, n) / 7
    x, t_x = np.zeros(n), np.zeros(n)
    active = rng.random(n) >= leaves if process is mbg_nbd else np.ones(n, dtype=bool)
    now = np.zeros(n)
    while active.any():
        now = now + rng.exponential(1.0, n) / rate
        active &= now <= T
        x, t_x = np.where(active, x + 1, x), np.where(active, now, t_x)
        active &= rng.random(n) >= leaves
    frame = pd.DataFrame({"customer_id": np.arange(n), "frequency": x, "recency": t_x, "T": T})
    return Snapshot.from_frame(frame.assign(z=z), cutoff="2020-01-01", time_unit="week")


def test_cdnow_bg_nbd_is_that_of_fader_hardie_lee_2005(cdnow):
    model = BetaGeoModel().fit(cdnow)
    expected = {"r": 0.242595, "alpha": 4.413602, "a": 0.792920, "b": 2.425888}
    for name, value in expected.items():
        # The optimum is flat in a and b: the last digits printed are those of their optimiser.
        assert model.params_[name] == pytest.approx(value, rel=1e-5)
    errors = {"r": 0.01256, "alpha": 0.3782, "a": 0.1857, "b": 0.7053}
    for name, value in errors.items():
        assert model.standard_errors_[name] == pytest.approx(value, rel=5e-4)
    assert model.log_likelihood_ == pytest.approx(-9582.429, abs=5e-4)
    assert model.converged_
    assert model.expected_purchases_new_customer("32W") == pytest.approx(1.0437, abs=2e-3)


def test_cdnow_mbg_nbd_is_that_of_batislam_2007(cdnow):
    model = ModifiedBetaGeoModel().fit(cdnow)
    for name, value in {"r": 0.525, "alpha": 6.183, "a": 0.891, "b": 1.614}.items():
        assert model.params_[name] == pytest.approx(value, abs=6e-4)
    assert model.log_likelihood_ == pytest.approx(-9582.14, abs=5e-3)


def test_cdnow_gamma_gamma_is_that_of_fader_hardie_2013(cdnow):
    model = GammaGammaModel().fit(cdnow)
    for name, value in {"p": 6.25, "q": 3.74, "gamma": 15.44}.items():
        assert model.params_[name] == pytest.approx(value, abs=5e-3)
    assert model.log_likelihood_ == pytest.approx(-4055.918, abs=5e-4)
    assert model.n_customers_ == 946
    assert model.spend_frequency_correlation_ == pytest.approx(0.1139, abs=5e-5)
    assert model.expected_spend_new_customer() == pytest.approx(35.17, abs=5e-3)


def test_cdnow_collapsed_by_week_gives_the_wrong_grain_parameters():
    weekly = build_snapshot(load_cdnow(sample=True), "1997-10-01", grain="week", time_unit="week")
    model = BetaGeoModel().fit(weekly)
    # Published .291 and 6.852 against .243 and 4.414 by day; a and b depend on where weeks begin.
    assert model.params_["r"] == pytest.approx(0.291, rel=0.06)
    assert model.params_["alpha"] == pytest.approx(6.852, rel=0.06)


def test_the_unit_of_time_changes_alpha_and_nothing_else(cdnow):
    frame = cdnow.frame.assign(recency=cdnow.frame["recency"] * 7, T=cdnow.frame["T"] * 7)
    days = Snapshot.from_frame(frame, cutoff=cdnow.cutoff, time_unit="day")
    by_week, by_day = BetaGeoModel().fit(cdnow), BetaGeoModel().fit(days)
    assert_allclose(by_day.params_["alpha"], 7 * by_week.params_["alpha"], rtol=1e-6)
    assert_allclose(by_day.params_["b"], by_week.params_["b"], rtol=1e-6)
    assert_allclose(by_day.covariance_, by_week.covariance_, rtol=1e-4)
    for horizon in ("52W", "364D"):
        assert_allclose(
            by_day.expected_purchases(days, horizon),
            by_week.expected_purchases(cdnow, horizon),
            rtol=1e-6,
        )


def test_dropout_that_is_not_there_is_a_boundary_with_its_meaning():
    snapshot = simulate(3000, (1.0, 6.0, 1e-9, 10.0), 1)
    with pytest.warns(BoundaryWarning, match="dropout is not identified"):
        model = BetaGeoModel().fit(snapshot)
    assert np.isnan(model.standard_errors_["a"])
    assert model.expected_purchases(snapshot, "52W").notna().all()


def test_one_purchase_each_is_a_fit_with_a_named_warning():
    frame = pd.DataFrame({"customer_id": range(50), "frequency": 0, "recency": 0.0, "T": 30.0})
    snapshot = Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")
    for model in (BetaGeoModel(), ModifiedBetaGeoModel()):
        with pytest.warns(BoundaryWarning, match="the optimum lies on the boundary"):
            model.fit(snapshot)
        values = model.expected_purchases(snapshot, "52W")
        assert ((values >= 0) & (values < 0.01)).all()


def test_nobody_is_too_little_data(cdnow):
    with pytest.raises(TooLittleDataError, match="the snapshot is empty"):
        BetaGeoModel().fit(cdnow.subset(np.zeros(len(cdnow), dtype=bool)))


def test_weights_are_the_same_as_repeated_rows(cdnow):
    some = cdnow.subset(np.arange(len(cdnow)) < 600)
    weights = pd.Series(np.arange(600) % 3, index=some.customer_id)
    heavy = BetaGeoModel().fit(some, sample_weight=weights.sample(frac=1, random_state=1))
    frame = some.frame.loc[np.repeat(np.arange(600), weights.to_numpy())]
    frame = frame.assign(customer_id=range(len(frame)))
    repeated = BetaGeoModel().fit(Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week"))
    assert_allclose(heavy.log_likelihood_, repeated.log_likelihood_, rtol=1e-12)
    assert_allclose(list(heavy.params_.values()), list(repeated.params_.values()), rtol=1e-6)
    with pytest.raises(ParameterError, match="one finite number >= 0 per customer"):
        BetaGeoModel().fit(some, sample_weight=-np.ones(600))


def test_a_thinned_start_reaches_the_same_optimum(cdnow, monkeypatch):
    whole = BetaGeoModel().fit(cdnow)
    monkeypatch.setattr(mle, "_SAMPLES", (300, 2000))
    thinned = BetaGeoModel().fit(cdnow)
    assert_allclose(list(thinned.params_.values()), list(whole.params_.values()), rtol=1e-6)
    assert_allclose(thinned.covariance_, whole.covariance_, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("period", [2, 3, 4, 7, 8, 16])
def test_thinned_rows_do_not_fall_in_step_with_what_repeats(period):
    rows = mle.thin_rows(52_000, 2000)
    assert 0.95 * 2000 < len(rows) <= 2000
    assert set(np.diff(rows)) == {26, 27}
    assert_allclose(np.bincount(rows % period) / len(rows), 1.0 / period, atol=0.01)


@pytest.mark.parametrize(
    ("model", "process"), [(BetaGeoModel, bg_nbd), (ModifiedBetaGeoModel, mbg_nbd)]
)
def test_covariates_come_back_on_their_own_scale(model, process):
    rng = np.random.default_rng(3)
    z = np.round(rng.normal(20.0, 2.0, 8000))
    truth = (0.1, 0.05, -0.05)
    params = (0.8, 6.0 * np.exp(2.0), 0.8 * np.exp(-1.0), 2.5 * np.exp(1.0))
    snapshot = simulate(8000, params, 4, z=z, effects=truth, process=process)
    fitted = model(purchase_covariates=("z",), dropout_covariates=("z",)).fit(snapshot)
    names = ("purchase:z", "dropout_a:z", "dropout_b:z")
    assert tuple(fitted.coefficients_) == names
    for name, value in zip(names, truth, strict=True):
        found = fitted.coefficients_[name]
        assert abs(found["estimate"] - value) < 4 * found["standard_error"]
    test = fitted.likelihood_ratio_test()
    assert test["degrees_of_freedom"] == 3
    assert test["p_value"] < 1e-4
    assert fitted.expected_purchases_new_customer("52W", {"z": 25.0}) > 0
    with pytest.raises(ParameterError, match="covariates must be given for 'z'"):
        fitted.expected_purchases_new_customer("52W")


def test_pareto_nbd_with_covariates_of_the_clvtools_design():
    # The shape of CLVTools' apparel example: a binary covariate on both processes.
    rng = np.random.default_rng(5)
    n = 6000
    z = rng.integers(0, 2, n).astype(float)
    rate = rng.gamma(1.8378, 1.0, n) / (30.0 * np.exp(-0.6 * z))
    leaves = rng.exponential(1.0, n) / (rng.gamma(0.592, 1.0, n) / (49.6 * np.exp(0.6 * z)))
    T = rng.integers(200, 400, n) / 7
    until = np.minimum(T, leaves)
    x = rng.poisson(rate * until).astype(float)
    t_x = np.where(x > 0, until * rng.beta(np.maximum(x, 1.0), 1.0), 0.0)
    frame = pd.DataFrame(
        {"customer_id": np.arange(n), "frequency": x, "recency": t_x, "T": T, "z": z}
    )
    snapshot = Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")
    model = ParetoNBDModel(purchase_covariates=("z",), dropout_covariates=("z",)).fit(snapshot)
    for name, value in {"purchase:z": 0.6, "dropout:z": -0.6}.items():
        found = model.coefficients_[name]
        assert abs(found["estimate"] - value) < 4 * found["standard_error"]
    assert model.likelihood_ratio_test()["p_value"] < 1e-6


def test_a_ridge_shrinks_and_forbids_the_likelihood_ratio_test():
    z = np.round(np.random.default_rng(6).normal(0.0, 1.0, 2000), 1)
    snapshot = simulate(2000, (0.8, 6.0, 0.8, 2.5), 7, z=z, effects=(0.3, 0.0, 0.0))
    free = BetaGeoModel(purchase_covariates=("z",)).fit(snapshot)
    tied = BetaGeoModel(purchase_covariates=("z",), ridge=1e4).fit(snapshot)
    small = abs(tied.coefficients_["purchase:z"]["estimate"])
    assert small < 0.5 * abs(free.coefficients_["purchase:z"]["estimate"])
    assert tied.log_likelihood_ < free.log_likelihood_
    with pytest.raises(CrmmlError, match="needs covariates and ridge=0"):
        tied.likelihood_ratio_test()


def test_covariates_must_be_there_and_finite():
    snapshot = simulate(50, (0.8, 6.0, 0.8, 2.5), 8)
    with pytest.raises(MissingColumnsError, match="missing column\\(s\\) 'income'"):
        BetaGeoModel(purchase_covariates=("income",)).fit(snapshot)
    frame = snapshot.frame.assign(z=np.where(np.arange(50) < 2, np.nan, 1.0))
    holes = Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")
    with pytest.raises(DataError, match=r"a covariate must be a finite number.*2 rows"):
        BetaGeoModel(purchase_covariates=("z",)).fit(holes)
    with pytest.raises(ParameterError, match="a sequence of column names"):
        BetaGeoModel(purchase_covariates="z").fit(snapshot)
