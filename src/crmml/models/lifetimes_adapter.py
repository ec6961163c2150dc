"""Move fitted parameters between the archived ``lifetimes`` package and the models here."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pandas as pd

from crmml._typing import TIME_UNITS, TimeUnit
from crmml.exceptions import CrmmlError, NotFittedError, ParameterError
from crmml.models.purchase import beta_geo, bg_bb, modified_beta_geo, pareto_nbd
from crmml.models.value import gamma_gamma

# Their class, our class, and their parameter names in the order of ours.
_PAIRS: tuple[tuple[str, Any, dict[str, str]], ...] = (
    (
        "BetaGeoFitter",
        beta_geo.BetaGeoModel,
        {"r": "r", "alpha": "alpha", "a": "a", "b": "b"},
    ),
    (
        "ModifiedBetaGeoFitter",
        modified_beta_geo.ModifiedBetaGeoModel,
        {"r": "r", "alpha": "alpha", "a": "a", "b": "b"},
    ),
    (
        "ParetoNBDFitter",
        pareto_nbd.ParetoNBDModel,
        {"r": "r", "alpha": "alpha", "s": "s", "beta": "beta"},
    ),
    (
        "BetaGeoBetaBinomFitter",
        bg_bb.BetaGeoBetaBinomialModel,
        {"alpha": "alpha", "beta": "beta", "gamma": "gamma", "delta": "delta"},
    ),
    ("GammaGammaFitter", gamma_gamma.GammaGammaModel, {"p": "p", "q": "q", "gamma": "v"}),
)


def from_lifetimes(fitted: Any, *, time_unit: TimeUnit = "week") -> Any:
    """Take the parameters of a fitted ``lifetimes`` model.

    Parameters
    ----------
    fitted : BetaGeoFitter, ModifiedBetaGeoFitter, ParetoNBDFitter, BetaGeoBetaBinomFitter or \
GammaGammaFitter
        A fitted model of lifetimes.
    time_unit : {"hour", "day", "week", "period"}
        The unit of the recency and T it was fitted to, which lifetimes does not keep. The BG/BB
        counts opportunities, so it is always ``"period"`` there.

    Returns
    -------
    BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel, BetaGeoBetaBinomialModel or GammaGammaModel
        With the same parameters and predictions. Standard errors, covariance and log-likelihood
        are NaN: fit here to have them.

    Raises
    ------
    CrmmlError
        If it is another object, or not fitted.
    """
    if time_unit not in TIME_UNITS:
        raise ParameterError("time_unit", f"one of {TIME_UNITS}", time_unit)
    name = type(fitted).__name__
    pair = next((pair for pair in _PAIRS if pair[0] == name), None)
    if pair is None:
        raise CrmmlError(f"no model here corresponds to a {name}")
    theirs, ours, names = pair
    if getattr(fitted, "params_", None) is None or not len(fitted.params_):
        raise CrmmlError(f"the {name} is not fitted yet")
    params = {our: float(fitted.params_[their]) for our, their in names.items()}
    unknown = {
        "standard_errors_": dict.fromkeys(params, math.nan),
        "covariance_": [[math.nan] * len(params) for _ in params],
        "coefficients_": {},
        "log_likelihood_": math.nan,
        "null_log_likelihood_": math.nan,
        "converged_": True,
        "n_customers_": len(fitted.data),
        "n_left_out_": 0,
        "spend_frequency_correlation_": math.nan,
        "time_unit_": "period" if theirs == "BetaGeoBetaBinomFitter" else time_unit,
    }
    model = ours()
    model.params_ = params
    for attribute in ours._state:
        if attribute != "params_" and not hasattr(ours, attribute):
            setattr(model, attribute, unknown[attribute])
    return model


def to_lifetimes(model: Any) -> Any:
    """Return a ``lifetimes`` fitter with the parameters of a fitted model, ready to predict.

    Parameters
    ----------
    model : BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel, BetaGeoBetaBinomialModel or \
GammaGammaModel
        Fitted, without covariates.

    Raises
    ------
    CrmmlError
        If lifetimes has no such model, or the model has covariates.
    NotFittedError
        If it is not fitted.
    """
    pair = next((pair for pair in _PAIRS if type(model) is pair[1]), None)
    if pair is None:
        raise CrmmlError(f"lifetimes has no counterpart of {type(model).__name__}")
    theirs, _, names = pair
    if not hasattr(model, "params_"):
        raise NotFittedError(model)
    if getattr(model, "coefficients_", None):
        raise CrmmlError("lifetimes has no covariates; the model has some")
    with warnings.catch_warnings():
        # Importing lifetimes touches pandas options that have been deprecated since.
        warnings.filterwarnings("ignore", module=r"lifetimes(\.|$)")
        import lifetimes
    fitter = getattr(lifetimes, theirs)()
    fitter.params_ = pd.Series({their: model.params_[our] for our, their in names.items()})
    if theirs != "GammaGammaFitter":
        fitter.predict = fitter.conditional_expected_number_of_purchases_up_to_time
    return fitter
