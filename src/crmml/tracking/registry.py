"""The registry: load a bundle by name, move aliases, promote a challenger that has earned it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from crmml.exceptions import BundleError, ParameterError, TrackingError
from crmml.storage.files import load_bundle
from crmml.tracking.runs import FINGERPRINT, GATES, LABELS, explained, start

# After runs, which turns MLflow's telemetry off before it is imported.
import mlflow  # isort: skip
from mlflow.entities.model_registry import ModelVersion  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip
from mlflow.tracking import MlflowClient  # isort: skip

if TYPE_CHECKING:
    from crmml.scoring.bundle import ScoringBundle

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

Judge: TypeAlias = Callable[[Mapping[str, float], Mapping[str, float]], str | None]
"""Takes the metrics of challenger and champion (same data, same labels); returns the reason
against the challenger, or None if it is to become champion."""


@dataclass(frozen=True)
class Promotion:
    """What came of a challenge.

    Attributes
    ----------
    promoted : bool
        Whether the alias moved.
    version : int
        The challenger's version.
    previous : int or None
        The version that was champion before.
    reason : str
        One sentence.
    """

    promoted: bool
    version: int
    previous: int | None
    reason: str


def load_registered(model: str, *, uri: str | None = None) -> ScoringBundle:
    """Load the bundle of a registered model.

    Parameters
    ----------
    model : str
        ``"models:/crmml@champion"`` or ``"models:/crmml/3"``.
    uri : str, optional
        Tracking URI; see :func:`crmml.tracking.runs.start`.

    Raises
    ------
    TrackingError
        If there is no such model, version or alias, or the server does not answer.
    BundleError
        If the model is not a crmml bundle, or it is damaged or from a newer format.
    """
    match = _URI.fullmatch(model)
    if match is None:
        raise ParameterError(
            "model", "like 'models:/crmml@champion' (alias) or 'models:/crmml/3' (version)", model
        )
    home = start(uri)
    client = MlflowClient(home.uri)
    with explained(home.uri):
        found = _version(client, match["name"], match["alias"] or int(match["version"]))
        with tempfile.TemporaryDirectory() as scratch:
            try:
                folder = mlflow.artifacts.download_artifacts(
                    artifact_uri=f"models:/{found.name}/{found.version}/artifacts/bundle",
                    dst_path=scratch,
                    tracking_uri=home.uri,
                )
            except (MlflowException, OSError) as error:
                raise BundleError(
                    f"{model} holds no crmml bundle, or its files are gone: {error}"
                ) from error
            return load_bundle(Path(folder))


def set_alias(name: str, alias: str, version: int, *, uri: str | None = None) -> None:
    """Let an alias name a version.

    Parameters
    ----------
    name, alias : str
        Registered model and alias.
    version : int
        An existing version.
    uri : str, optional
        Tracking URI.

    Raises
    ------
    TrackingError
        If there is no such model or version.
    """
    home = start(uri)
    client = MlflowClient(home.uri)
    with explained(home.uri):
        _version(client, name, version)
        client.set_registered_model_alias(name, alias, str(version))


def by_metric(metric: str, *, lower_is_better: bool) -> Judge:
    """Judge by one metric; a tie leaves the champion in place.

    Parameters
    ----------
    metric : str
        Its name, as logged.
    lower_is_better : bool
        Whether it is an error (True) or a quality (False).

    Examples
    --------
    >>> judge = by_metric("mae", lower_is_better=True)
    >>> judge({"mae": 0.70}, {"mae": 0.75}) is None
    True
    >>> judge({"mae": 0.80}, {"mae": 0.75})
    'mae is 0.8, the champion has 0.75 (lower is better)'
    """

    def judge(challenger: Mapping[str, float], champion: Mapping[str, float]) -> str | None:
        if metric not in challenger or metric not in champion:
            who = "challenger" if metric not in challenger else "champion"
            return f"the {who} has no metric {metric!r}"
        new, old = challenger[metric], champion[metric]
        if (new < old) if lower_is_better else (new > old):
            return None
        direction = "lower" if lower_is_better else "higher"
        return f"{metric} is {new:g}, the champion has {old:g} ({direction} is better)"

    return judge


def promote(
    name: str = "crmml",
    *,
    judge: Judge,
    challenger: str = "challenger",
    champion: str = "champion",
    uri: str | None = None,
) -> Promotion:
    """Make the challenger champion if it has earned it, else say why not.

    A challenger must meet all gates recorded at its training. If there is a champion, both must
    have been judged on the same data under the same label specification, and ``judge`` must
    prefer the challenger.

    Parameters
    ----------
    name : str, default "crmml"
        Registered model.
    judge : callable
        See :data:`Judge`; :func:`by_metric` makes one.
    challenger, champion : str
        Aliases.
    uri : str, optional
        Tracking URI.

    Returns
    -------
    Promotion

    Raises
    ------
    TrackingError
        If there is no such model or no challenger.
    """
    home = start(uri)
    client = MlflowClient(home.uri)
    with explained(home.uri):
        new = _version(client, name, challenger)
        aliases = client.get_registered_model(name).aliases
        old = _version(client, name, champion) if champion in aliases else None
        previous = None if old is None else int(old.version)
        against = _reason_against(client, new, old, judge)
        if against is None:
            client.set_registered_model_alias(name, champion, str(new.version))
            against_whom = "the first champion" if old is None else f"version {previous}"
            verb = "is" if old is None else "replaces"
            reason = f"version {new.version} of {name} {verb} {against_whom}"
            return Promotion(True, int(new.version), previous, reason)
    reason = f"version {new.version} of {name} is not promoted: {against}"
    return Promotion(False, int(new.version), previous, reason)


def _reason_against(
    client: MlflowClient, new: ModelVersion, old: ModelVersion | None, judge: Judge
) -> str | None:
    if old is not None and old.version == new.version:
        return "it is the champion already"
    gates = json.loads(new.tags.get(GATES, "{}"))
    if not gates:
        return "its training recorded no gates"
    missed = sorted(gate for gate, met in gates.items() if not met)
    if missed:
        return f"it misses {'; '.join(missed)}"
    if old is None:
        return None
    for tag, what in ((FINGERPRINT, "other data"), (LABELS, "another label specification")):
        if new.tags.get(tag) is None or new.tags.get(tag) != old.tags.get(tag):
            return (
                f"it cannot be compared with the champion (version {old.version}), which was "
                f"judged on {what}; train the champion's settings again as the challenger's were"
            )
    return judge(_metrics(client, new), _metrics(client, old))


def _metrics(client: MlflowClient, version: ModelVersion) -> dict[str, float]:
    return dict(client.get_run(str(version.run_id)).data.metrics)


def _version(client: MlflowClient, name: str, which: str | int) -> ModelVersion:
    """Find a version by its number or alias."""
    try:
        registered = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise TrackingError(
            f"no model {name!r} is registered; `crmml train` registers one"
        ) from error
    try:
        if isinstance(which, int):
            return client.get_model_version(name, str(which))
        return client.get_model_version_by_alias(name, which)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        kind = "version" if isinstance(which, int) else "alias"
        there = ", ".join(f"{a} = {v}" for a, v in sorted(registered.aliases.items())) or "none"
        raise TrackingError(f"{name!r} has no {kind} {which!r}; its aliases: {there}") from error
