"""Parameters move to lifetimes and back, and predictions are equal on both sides."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from crmml.exceptions import CrmmlError, NotFittedError
from crmml.features.snapshot import Snapshot
from crmml.models import (
    BetaGeoBetaBinomialModel,
    BetaGeoModel,
    GammaGammaModel,
    ModifiedBetaGeoModel,
    ParetoNBDModel,
    RegularPurchaseModel,
)
from crmml.models.lifetimes_adapter import from_lifetimes, to_lifetimes

with warnings.catch_warnings():
    # Import of the archived package touches a pandas option deprecated since.
    warnings.filterwarnings("ignore", module=r"lifetimes(\.|$)")
    import lifetimes

UPSTREAM = pytest.mark.filterwarnings(
    r"ignore:::(lifetimes|autograd|scipy)(\..*)?$",
)
FRAME = pd.DataFrame(
    {
        "customer_id": list("abcdef"),
        "frequency": [0, 0, 1, 2, 7, 12],
        "recency": [0.0, 0.0, 4.0, 30.0, 20.0, 38.0],
        "T": [39.0, 12.0, 39.0, 38.0, 35.0, 39.0],
        "monetary_value": [0.0, 0.0, 20.0, 35.5, 12.0, 60.0],
    }
)
SNAPSHOT = Snapshot.from_frame(FRAME, cutoff="1997-10-01", time_unit="week")
X, T_X, T = (FRAME[name].to_numpy(float) for name in ("frequency", "recency", "T"))


def theirs(name, **params):
    fitter = getattr(lifetimes, name)()
    fitter.params_ = pd.Series(params)
    fitter.data = FRAME
    return fitter


@UPSTREAM
@pytest.mark.parametrize(
    ("fitter", "model"),
    [
        (theirs("BetaGeoFitter", r=0.243, alpha=4.414, a=0.793, b=2.426), BetaGeoModel),
        (
            theirs("ModifiedBetaGeoFitter", r=0.525, alpha=6.18, a=0.891, b=1.614),
            ModifiedBetaGeoModel,
        ),
        (theirs("ParetoNBDFitter", r=0.553, alpha=10.58, s=0.606, beta=11.67), ParetoNBDModel),
    ],
)
def test_purchase_models_predict_the_same_on_both_sides(fitter, model):
    ours = from_lifetimes(fitter, time_unit="week")
    assert type(ours) is model
    back = to_lifetimes(ours)
    assert type(back) is type(fitter)
    for other in (fitter, back):
        expected = other.conditional_expected_number_of_purchases_up_to_time(39.0, X, T_X, T)
        got = ours.expected_purchases(SNAPSHOT, "39W")
        assert_allclose(got, np.asarray(expected), rtol=1e-6)
        alive = np.asarray(other.conditional_probability_alive(X, T_X, T))
        assert_allclose(ours.probability_alive(SNAPSHOT), alive, rtol=1e-6)


@UPSTREAM
def test_spend_model_predicts_the_same_on_both_sides():
    fitter = theirs("GammaGammaFitter", p=6.25, q=3.74, v=15.44)
    ours = from_lifetimes(fitter)
    for other in (fitter, to_lifetimes(ours)):
        expected = other.conditional_expected_average_profit(X, FRAME["monetary_value"])
        assert_allclose(ours.expected_spend(SNAPSHOT), expected, rtol=1e-10)
    assert isinstance(ours, GammaGammaModel)


@UPSTREAM
def test_bg_bb_predicts_the_same_on_both_sides():
    fitter = theirs("BetaGeoBetaBinomFitter", alpha=1.204, beta=0.75, gamma=0.657, delta=2.783)
    frame = FRAME.assign(frequency=[0, 1, 2, 3, 5, 6], recency=[0, 2, 4, 6, 5, 6], T=6)
    snapshot = Snapshot.from_frame(frame, cutoff="1997-10-01", time_unit="period")
    ours = from_lifetimes(fitter)
    assert isinstance(ours, BetaGeoBetaBinomialModel)
    x, t_x = frame["frequency"].to_numpy(float), frame["recency"].to_numpy(float)
    for other in (fitter, to_lifetimes(ours)):
        expected = other.conditional_expected_number_of_purchases_up_to_time(5, x, t_x, 6.0)
        assert_allclose(ours.expected_purchases(snapshot, "5P"), expected, rtol=1e-8)


def test_a_converted_model_is_stored_like_any_other():
    ours = from_lifetimes(theirs("BetaGeoFitter", r=0.2, alpha=4.0, a=0.8, b=2.4))
    again = BetaGeoModel.from_dict(ours.to_dict())
    assert again.params_ == ours.params_


def test_what_has_no_counterpart_is_refused():
    with pytest.raises(CrmmlError, match="no model here corresponds to a dict"):
        from_lifetimes({})
    with pytest.raises(CrmmlError, match="the BetaGeoFitter is not fitted yet"):
        from_lifetimes(lifetimes.BetaGeoFitter())
    with pytest.raises(NotFittedError, match="BetaGeoModel is not fitted yet"):
        to_lifetimes(BetaGeoModel())
    with pytest.raises(CrmmlError, match="no counterpart of RegularPurchaseModel"):
        to_lifetimes(RegularPurchaseModel())
