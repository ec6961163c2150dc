"""Summaries of fits: against the attributes, and against the definitions of AIC and BIC."""

import math

import numpy as np
import pandas as pd
import pytest

from crmml import models
from crmml.exceptions import NotFittedError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models.summary import count_parameters


@pytest.fixture(scope="module")
def snapshot():
    rng = np.random.default_rng(5)
    n = 500
    T = rng.integers(100, 280, n) / 7
    z = rng.integers(0, 2, n)
    until = np.minimum(T, rng.exponential(1.0, n) / rng.gamma(0.8, 1 / 20.0, n))
    x = rng.poisson(rng.gamma(1.2, 0.2, n) * np.exp(0.4 * z) * until).astype(float)
    t_x = np.where(x > 0, (until * rng.beta(np.maximum(x, 1.0), 1.0)).clip(1 / 7), 0.0)
    spend = np.where(x > 0, 20.0 + 5.0 * rng.gamma(4.0, 1.0, n), 0.0)
    table = pd.DataFrame(
        {"customer_id": range(n), "frequency": x, "recency": t_x, "T": T, "z": z}
    ).assign(monetary_value=spend)
    return Snapshot.from_frame(table, cutoff="2020-01-01", time_unit="week")


@pytest.fixture(scope="module")
def fitted(snapshot):
    return models.ParetoNBDModel(purchase_covariates=("z",), ridge=0.5).fit(snapshot)


def test_figures_are_those_of_the_attributes(fitted):
    summary = fitted.summary()
    table = summary.to_pandas()
    assert list(table.index) == [*fitted.params_, "purchase:z"]
    assert table["estimate"].head(4).tolist() == list(fitted.params_.values())
    assert table["standard_error"].head(4).tolist() == list(fitted.standard_errors_.values())
    assert table.loc["purchase:z", "estimate"] == fitted.coefficients_["purchase:z"]["estimate"]
    assert (summary.log_likelihood, summary.n_customers) == (fitted.log_likelihood_, 500)


def test_criteria_follow_their_definitions(fitted):
    summary = fitted.summary()
    k, n, log_l = 5, 500, fitted.log_likelihood_
    assert summary.n_parameters == count_parameters(fitted) == k
    assert summary.aic == pytest.approx(2 * k - 2 * log_l, rel=1e-15)
    assert summary.bic == pytest.approx(k * math.log(n) - 2 * log_l, rel=1e-15)
    assert "ridge" in " ".join(summary.notes)


def test_an_interval_holds_its_level(fitted):
    """Of a parameter on the scale of its logarithm, of a coefficient on its own."""
    wide, narrow = fitted.summary(0.95).to_pandas(), fitted.summary(0.5).to_pandas()
    r, z = wide.loc["r"], wide.loc["purchase:z"]
    log_error = math.sqrt(fitted.covariance_[0][0])
    assert math.log(r["upper"] / r["estimate"]) == pytest.approx(1.959964 * log_error, rel=1e-6)
    assert r["lower"] * r["upper"] == pytest.approx(r["estimate"] ** 2)
    assert z["upper"] - z["estimate"] == pytest.approx(1.959964 * z["standard_error"], rel=1e-6)
    inside = (narrow["lower"] > wide["lower"]) & (narrow["upper"] < wide["upper"])
    assert inside[wide["standard_error"].notna()].all()


@pytest.mark.parametrize("model", [models.GammaGammaModel, models.ModifiedBetaGeoModel])
@pytest.mark.filterwarnings("ignore::crmml.exceptions.FitWarning")
def test_other_models_have_one_too(snapshot, model):
    found = model().fit(snapshot)
    summary = found.summary()
    assert summary.to_pandas()["kind"].eq("parameter").all()
    assert summary.n_parameters == len(found.params_)
    assert found.notes == () or found.notes[0] in summary.notes


def test_the_contract_model_on_its_boundary_says_so():
    table = pd.DataFrame({"customer_id": range(50), "renewals": 5, "ended": False})
    with pytest.warns(Warning, match="boundary"):
        model = models.ShiftedBetaGeoModel().fit(table)
    summary = model.summary()
    assert summary.to_pandas()["lower"].isna().any()
    assert any("no standard error" in note for note in summary.notes)
    assert "no standard error" in str(summary)


def test_it_fits_a_screen(fitted):
    summary = fitted.summary()
    text = str(summary)
    assert len(text.splitlines()) <= 15
    assert all(name in text for name in (*fitted.params_, "log-likelihood", "AIC, BIC"))
    assert "<th align='left'>alpha</th>" in summary._repr_html_()
    assert repr(summary) == "ParetoNBDModel, summary of the fit to 500 customers"


def test_what_is_not_fitted_and_a_level_out_of_range_are_refused(fitted):
    with pytest.raises(NotFittedError):
        models.BetaGeoModel().summary()
    with pytest.raises(ParameterError, match="level must be strictly between 0 and 1"):
        fitted.summary(1.0)
