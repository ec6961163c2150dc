"""Settings at scoring: which are honoured, which must equal the bundle's, which play no part.

Only what is written down counts: a setting that is left out takes the bundle's value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, TypeAlias

import pandas as pd

from crmml.config import Config
from crmml.data.settings import Policies, conceal
from crmml.exceptions import UnlikeTrainingError
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.contract_base import contract_risk
from crmml.scoring.history import Attributes
from crmml.scoring.outlooks import Loyalty
from crmml.scoring.scorer import trained_policies
from crmml.scoring.segments import ExperienceZone
from crmml.training.bundling import read_catalogue

Role: TypeAlias = Literal["honoured", "fixed", "no_part"]

ROLES: Mapping[str, Role] = {
    "name": "honoured",
    "seed": "fixed",
    "cutoff": "fixed",
    "data": "honoured",
    "data.own_seller": "fixed",
    "data.policies": "fixed",
    "snapshot": "fixed",
    "outcome": "fixed",
    "value": "fixed",
    "contracts": "fixed",
    "contracts.max_windows": "no_part",
    "contact": "no_part",
    "backtest": "no_part",
    "loyalty": "fixed",
    "tiers": "fixed",
    "segments": "fixed",
    "actions": "fixed",
    "actions.catalogue": "honoured",
    "actions.budget": "honoured",
    "actions.capacities": "honoured",
    "report.targets": "no_part",
    "report.assessment": "no_part",
    "tracking.uri": "honoured",
    "tracking.experiment": "no_part",
}
"""Setting, or section, to its role at scoring; the longest name that fits decides.

``fixed`` settings were built into the models, the tiers or the control group: another value is
refused. The cutoff of a configuration is that of the training; ``--cutoff`` is that of scoring.
"""

_OF_BUNDLE: Mapping[str, Callable[[ScoringBundle], Any]] = {
    "seed": lambda b: b.manifest.seed,
    "cutoff": lambda b: b.manifest.cutoff,
    "data.own_seller": lambda b: b.manifest.own_seller,
    "snapshot.grain": lambda b: b.manifest.grain,
    "snapshot.time_unit": lambda b: b.manifest.time_unit,
    "outcome.horizon": lambda b: b.manifest.horizon,
    "outcome.gap": lambda b: b.manifest.gap,
    "value.horizon": lambda b: b.manifest.value_horizon,
    "value.annual_discount_rate": lambda b: _values(b).annual_discount_rate,
    "value.margin": lambda b: _values(b).margin,
    "value.per_purchase": lambda b: b.manifest.reading.get("transactions", {}).get(
        "amount_per_purchase"
    ),
    "contracts.period": lambda b: _contracts(b, "period"),
    "contracts.grace": lambda b: _contracts(b, "grace"),
    "contracts.trailing": lambda b: _contracts(b, "trailing"),
    "loyalty.window": lambda b: next(
        (p.window for p in b.predictors if isinstance(p, Loyalty)), None
    ),
    "tiers.shares": lambda b: tuple(b.tiers.shares),
    "tiers.by": lambda b: b.tiers_by,
    "segments.experience_window": lambda b: _experience(b).window,
    "segments.satisfied_from": lambda b: _experience(b).satisfied_from,
    "segments.dissatisfied_to": lambda b: _experience(b).dissatisfied_to,
    "segments.group": lambda b: next(p.group for p in b.predictors if isinstance(p, Attributes)),
    "actions.holdout_share": lambda b: b.policy.holdout_share,
    "actions.holdout_least": lambda b: b.policy.holdout_least,
    "actions.experiment": lambda b: b.policy.experiment,
    "actions.consent": lambda b: b.policy.consent,
    "actions.contact_limit": lambda b: b.policy.contact_limit and asdict(b.policy.contact_limit),
}


def _values(bundle: ScoringBundle) -> Any:
    """Return what turns revenue into value: of a log its model, of contracts alone theirs."""
    if bundle.manifest.kind == "contracts":
        return contract_risk(bundle.predictors)
    return bundle.lifetime_value


def _contracts(bundle: ScoringBundle, name: str) -> Any:
    """Return a setting of the contracts; None where the bundle scores none."""
    return next((getattr(p, name) for p in bundle.predictors if p.name == "contracts"), None)


def _experience(bundle: ScoringBundle) -> ExperienceZone:
    """Return the predictor of experience; with its defaults where the bundle has none."""
    found = (p for p in bundle.predictors if isinstance(p, ExperienceZone))
    return next(found, ExperienceZone())


def role_of(name: str) -> Role | None:
    """Return the role of a setting at scoring; None for one that the table does not know.

    Examples
    --------
    >>> role_of("actions.budget"), role_of("actions.consent"), role_of("backtest.step")
    ('honoured', 'fixed', 'no_part')
    """
    while name not in ROLES:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return ROLES[name]


def check_settings_at_score(config: Config, bundle: ScoringBundle) -> None:
    """Refuse settings that scoring cannot honour, by name.

    Parameters
    ----------
    config : Config
        Given for scoring; only what was written down in it is looked at.
    bundle : ScoringBundle
        What scores.

    Raises
    ------
    UnlikeTrainingError
        In one sentence, with every setting that differs from the bundle's.
    """
    found = []
    if "name" in config.given and config.name != bundle.manifest.name:
        found.append(f"name is {config.name}, that of the bundle is {bundle.manifest.name}")
    for name in sorted(config.given):
        if role_of(name) != "fixed" or _says_nothing(name, config, bundle):
            continue
        here, there = _plain(name, config.setting(name)), _trained(name, bundle)
        if here != there:
            found.append(f"{name} is {_shown(name, here)}, trained with {_shown(name, there)}")
    if found:
        raise UnlikeTrainingError(
            f"scoring cannot change what was settled at training: {'; '.join(found)}; leave it "
            "out, or train again"
        )


def policies_at_score(config: Config, bundle: ScoringBundle) -> Policies:
    """Return the data policies under which to open what is scored: those of the training.

    Parameters
    ----------
    config : Config
        Given for scoring. Its test customers count where the bundle, of an older version, does not
        know its own.
    bundle : ScoringBundle
        What scores.
    """
    policies = trained_policies(bundle.manifest)
    if _knows_test_customers(bundle):
        return policies
    return replace(policies, test_customers=config.data.policies.test_customers)


def honoured_settings(config: Config) -> dict[str, Any]:
    """Return what a configuration says of budget, capacities and catalogue, where it does.

    Parameters
    ----------
    config : Config
        Given for scoring. No catalogue (``null``) is the bundle's.

    Returns
    -------
    dict
        Arguments of :func:`crmml.score`.
    """
    stored: dict[str, Any] = {}
    for name in ("budget", "capacities"):
        if f"actions.{name}" in config.given:
            stored[name] = getattr(config.actions, name)
    if config.actions.catalogue is not None:
        stored["catalogue"] = read_catalogue(config)
    return stored


def _trained(name: str, bundle: ScoringBundle) -> Any:
    if name.startswith("data.policies."):
        policies = trained_policies(bundle.manifest)
        return _plain(name, getattr(policies, name.rpartition(".")[2]))
    return _plain(name, _OF_BUNDLE[name](bundle))


def _plain(name: str, value: Any) -> Any:
    """Bring two ways of writing the same value together."""
    if name == "cutoff" and value is not None:
        return pd.Timestamp(value)
    if name == "data.policies.test_customers":
        return conceal(value)
    return value.model_dump() if hasattr(value, "model_dump") else value


def _shown(name: str, value: Any) -> str:
    if name == "data.policies.test_customers":
        return f"{len(value)} ids"  # never the ids themselves
    return str(value)


def _says_nothing(name: str, config: Config, bundle: ScoringBundle) -> bool:
    """Whether a setting that is written down asks for nothing that the bundle could differ in."""
    if name == "cutoff":
        return config.cutoff is None
    if name.startswith("contracts."):  # of a bundle that scores none
        return all(predictor.name != "contracts" for predictor in bundle.predictors)
    if name == "loyalty.window":  # the default was chosen from the data of the training
        return config.loyalty.window is None or _trained(name, bundle) is None
    if name.startswith("tiers."):  # of contracts without a fee
        return all(predictor.name != "tiers" for predictor in bundle.predictors)
    if name == "value.margin":  # the data's own margin comes first, at training too
        known = bundle.manifest.columns.get("transactions", ())
        return bool({"margin", "cost"} & set(known))
    return name == "data.policies.test_customers" and not _knows_test_customers(bundle)


def _knows_test_customers(bundle: ScoringBundle) -> bool:
    return "test_customers" in bundle.manifest.policies.get("transactions", {})
