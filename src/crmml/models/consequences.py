"""What each setting of an estimator leads to, in words: printed beside the setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from crmml.card import listed


def consequence(estimator: str, setting: str, value: Any) -> str:
    """Say what a setting leads to.

    Parameters
    ----------
    estimator : str
        Name of the class.
    setting : str
        Name of the setting.
    value : object
        As given, legal or not.

    Returns
    -------
    str
        Empty where nothing is known of the setting.

    Examples
    --------
    >>> consequence("ParetoNBDModel", "ridge", 0.0)
    'coefficients are not shrunk'
    """
    say = CONSEQUENCES.get(f"{estimator}.{setting}") or CONSEQUENCES.get(setting)
    return "" if say is None else say(value)


def _columns(none: str, some: str) -> Callable[[Any], str]:
    return lambda value: f"{some}: {listed(value)}" if value else none


def _given(none: str, some: str) -> Callable[[Any], str]:
    """Say one thing of None and another of a value, which may be named in it."""
    return lambda value: none if value is None else some.format(value)


def _always(text: str) -> Callable[[Any], str]:
    return lambda value: text.format(value)


def _clocks(value: Any) -> str:
    if value == "auto":
        return "newcomers and a season are tried, and kept where BIC says that they pay"
    return "the rate follows these clocks" if value else "purchase rates are constant in time"


def _calendar(value: Any) -> str:
    if value is None:
        return "no season, unless the clocks have one"
    return "a season is estimated" if value == "estimate" else "the season is given"


def _margin_of_value(value: Any) -> str:
    if value is None:
        return "not given: fit refuses, as revenue is not profit"
    if isinstance(value, str):
        return "each customer's own ratio of margin to revenue"
    return "values are revenue, not profit" if value == 1 else "the share of revenue that is profit"


def _margin_of_start(value: Any) -> str:
    return {
        "auto": "the counts by week tell who is older than the data",
        "half": "customers first seen in the first half count as older than the data",
    }.get(str(value), "customers first seen so early count as older than the data")


def _draws(value: Any) -> str:
    if value:
        return "intervals carry the doubt about the parameters"
    return "intervals take the parameters as certain"


CONSEQUENCES: Mapping[str, Callable[[Any], str]] = {
    "purchase_covariates": _columns(
        "no column shifts the purchase rate", "columns that shift the purchase rate"
    ),
    "dropout_covariates": _columns("no column shifts dropout", "columns that shift dropout"),
    "ridge": lambda v: (
        "leaf values are shrunk by this penalty" if v else "leaf values are not shrunk"
    ),
    **{
        f"{name}.ridge": lambda v: (
            "coefficients are shrunk by this penalty" if v else "coefficients are not shrunk"
        )
        for name in (
            "BetaGeoModel",
            "ModifiedBetaGeoModel",
            "ParetoNBDModel",
            "RegularPurchaseModel",
            "BetaGeoBetaBinomialModel",
            "NewcomerModel",
        )
    },
    "calendar": _calendar,
    "clocks": _clocks,
    "base": _given("customers follow the MBG/NBD", "customers follow this process"),
    "LeftCensoredModel.margin": _margin_of_start,
    "LifetimeValueModel.margin": _margin_of_value,
    "dropout": lambda v: (
        "customers may leave after the first purchase too"
        if v == "modified"
        else "customers may leave after a repeat purchase only"
    ),
    "first": _given("the first rate of newcomers is estimated", "newcomers at first buy {} times"),
    "half_life": _given(
        "the length of the newcomers' time is estimated", "half of the change is over after {}"
    ),
    "k": _given("the regularity with the highest likelihood is taken", "regularity is given"),
    "k_max": _always("no regularity above {} is tried"),
    "period": _always("renewal dates are {} apart"),
    "purchase_model": _given("the MBG/NBD", "the process of purchases"),
    "LifetimeValueModel.purchase_model": _given("the BG/NBD", "the process of purchases"),
    "spend_model": _given("the Gamma-Gamma model", "the spend per purchase"),
    "purchase_models": _always("the likeliest of these is corrected"),
    "members": _always("these are weighed on the newest window"),
    "annual_discount_rate": lambda v: (
        "a year from now counts less by this rate"
        if v
        else "the future counts as the present; no value without a horizon"
    ),
    "n_posterior_draws": _draws,
    "random_state": _always("the same draws in every run"),
    "horizon": _always("looks {} ahead"),
    "gap": _given("the window opens at the cutoff", "the window opens {} after the cutoff"),
    "covariates": _columns("known features only", "these columns are trusted beside the features"),
    "candidate_horizons": _always("learns from buyers of the last {} horizons"),
    "learning_rate": _always("what each tree may change"),
    "num_leaves": _always("leaves of a tree"),
    "min_leaf": _always("least rows in a leaf"),
    "max_rounds": _always("most trees; folds of customers find how many"),
    "n_folds": _always("folds of customers that find the number of trees"),
    "max_rows": _always("learns from about so many rows, a sample by hash of the id"),
    "num_threads": _always("without effect on the result"),
    "seed": _always("the same folds in every run"),
    "fitter": _always("which model of the package lifetimes"),
    "penalizer_coef": lambda v: "parameters are shrunk" if v else "parameters are not shrunk",
    "strength": _always("prior of the transition matrix, in customers"),
    "n_boot": _always("bootstrap replicates of the comparison"),
    "learner": lambda v: (
        "boosted trees on the features of a contract"
        if v == "boosting"
        else "a line in the features of a contract"
    ),
    "calibration": _always("the last {} before the cutoff calibrate"),
    "by": lambda v: "the rule that says most is taken" if v == "best" else "the rule that is taken",
    "HazardModel.ridge": _always("coefficients are shrunk by this penalty"),
    "kind": lambda v: (
        "P(any purchase) times the mean of buyers"
        if v == "hurdle"
        else "one regression of purchases and one of spend"
    ),
}
"""What a setting leads to, by its name; ``Class.name`` where a class means something else."""
