"""The way between two score sets, scored so that one thing changes at a time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from crmml.exceptions import UnlikeTrainingWarning
from crmml.scoring.decisions import Actions, Tiers, as_json
from crmml.scoring.differences import Differences, Step, compare, differs
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.predictors import Predictor
from crmml.scoring.scorer import Bundle, Origin, Scores, score, unlike_policies
from crmml.scoring.standard import predictor_to_dict, with_catalogue

_FITTED = {"strata", "prices"}
"""Parts of a policy that a training finds; they go with the model."""

_LONGEST = 60


def compare_scores(a: Scores, b: Scores, risk_step: float = 0.1) -> Differences:
    """Compare two score sets that hold what they rest on, scoring the steps between.

    Parameters
    ----------
    a, b : Scores
        From :func:`crmml.score`.
    risk_step : float
        See :func:`crmml.scoring.differences.compare`.
    """
    if a.origin is None or b.origin is None:
        return compare(a.table, b.table, risk_step=risk_step)
    settings = compare_settings(a.origin, b.origin)
    steps, told = steps_between(a.table, b.table, a.origin, b.origin, b.snapshot.cutoff)
    return compare(
        a.table, b.table, steps=steps, risk_step=risk_step, settings=settings, unknown=told
    )


def steps_between(
    a: pd.DataFrame, b: pd.DataFrame, first: Origin, second: Origin, cutoff: pd.Timestamp
) -> tuple[list[Step], list[str]]:
    """Score what lies between two score sets: first other inputs, then the model, then the policy.

    Parameters
    ----------
    a, b : DataFrame
        The two score sets.
    first, second : Origin
        What they rest on; of the first only model and policy are asked.
    cutoff : Timestamp
        Of the second.

    Returns
    -------
    steps : list of Step
        The last one is ``b``; empty where fewer than two things changed, as nothing need be scored
        to tell them apart.
    told : list of str
        Why nothing could be scored, if so.
    """
    changed = [cause for cause, there in differs(a, b).items() if there]
    if len(changed) < 2:
        return [], []
    if found := unlike_policies(first.manifest, second.tables.policies):
        told = f"The second data were read under other data policies ({'; '.join(found)}), so"
        return [], [f"{told} the first model cannot score them."]
    steps: list[Step] = []
    for cause in changed[:-1]:
        model = second if cause == "model" else first
        moved = replace(
            second,
            manifest=model.manifest,
            version=model.version,
            predictors=with_policy(model.predictors, first.predictors, second),
        )
        steps.append(Step(cause, _score(moved, cutoff)))
    return [*steps, Step(changed[-1], b)], []


def with_policy(
    models: Sequence[Predictor], policies: Sequence[Predictor], origin: Origin
) -> tuple[Predictor, ...]:
    """Return some models under the catalogue and the policy of others.

    What a training finds of a policy (strata, prices) stays with the models.
    """
    mine, theirs = _actions(models), _actions(policies)
    if mine is None or theirs is None:
        return tuple(models)
    kept = {name: getattr(mine.policy, name) for name in _FITTED}
    policy = replace(theirs.policy, **kept)
    known = with_catalogue(models, theirs.catalogue, origin.tables)
    return tuple(
        replace(p, policy=policy, at_stored_prices=theirs.at_stored_prices)
        if isinstance(p, Actions)
        else p
        for p in known
    )


def _actions(predictors: Sequence[Predictor]) -> Actions | None:
    return next((p for p in predictors if isinstance(p, Actions)), None)


def _score(origin: Origin, cutoff: pd.Timestamp) -> pd.DataFrame:
    found = _actions(origin.predictors)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnlikeTrainingWarning)
        scores: Scores = score(
            origin,
            origin.tables,
            cutoff,
            stored_prices=found is not None and found.at_stored_prices,
            plans=origin.plans,
            control=origin.control,
        )
    return scores.table


def compare_settings(a: Bundle, b: Bundle) -> pd.DataFrame:
    """List what differs between two bundles: settings and parameters of models, and the policy.

    Parameters
    ----------
    a, b : ScoringBundle or Origin

    Returns
    -------
    DataFrame
        ``kind`` (``model`` or ``policy``), ``setting``, ``a``, ``b``, as short texts.
    """
    rows = []
    for kind, one, two in (
        ("model", _model_settings(a), _model_settings(b)),
        ("policy", _policy_settings(a), _policy_settings(b)),
    ):
        names = sorted({*one, *two})
        rows += [
            {"kind": kind, "setting": n, "a": _short(one.get(n)), "b": _short(two.get(n))}
            for n in names
            if one.get(n) != two.get(n)
        ]
    return pd.DataFrame(rows, columns=["kind", "setting", "a", "b"])


def _model_settings(bundle: Bundle) -> dict[str, Any]:
    found = dict(_flat("", bundle.manifest.identity()))
    for predictor in bundle.predictors:
        if isinstance(predictor, LifetimeValue):
            ltv = predictor.model
            process = ltv.purchase_model_
            found["purchase process"] = type(process).__name__
            found |= _flat("purchase process", process.params_)
            found |= _flat("spend", ltv.spend_model_.params_)
            found["margin"], found["discount rate"] = ltv.margin, ltv.annual_discount_rate
        elif isinstance(predictor, Tiers):
            cuts = zip("ABCD", predictor.segments.cut_points_, strict=True)
            found |= {f"tier {tier} begins at": cut for tier, cut in cuts}
        elif not isinstance(predictor, Actions):
            model = getattr(predictor, "model", None)
            if model is not None:
                found[predictor.name] = type(model).__name__
                stored = as_json(predictor_to_dict(predictor))
                found[f"{predictor.name} as fitted"] = hashlib.sha256(stored).hexdigest()[:8]
    return found


def _policy_settings(bundle: Bundle) -> dict[str, Any]:
    found = _actions(bundle.predictors)
    if found is None:
        return {}
    policy = {k: v for k, v in found.policy.to_dict().items() if k not in _FITTED}
    catalogue = found.catalogue.to_dict()
    actions = {action["name"]: action for action in catalogue.pop("actions", [])}
    return dict(_flat("", {**policy, "catalogue": {**catalogue, **actions}}))


def _flat(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and value:
            yield from _flat(path, value)
        else:
            yield path, value


def _short(value: Any) -> str:
    text = "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
