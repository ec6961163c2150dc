"""The registry: load a bundle by name, move aliases, promote a challenger that has earned it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crmml._typing import FloatArray
from crmml.atomic import private_folder
from crmml.exceptions import BundleError, ComparisonError, ParameterError, TrackingError
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import metric_named
from crmml.storage.bundles import load_bundle
from crmml.tracking.runs import (
    DECIDES,
    FINGERPRINT,
    GATES,
    LABELS,
    digest,
    masked,
    reach,
    read_replicates,
    translate_errors,
)

# After runs, which turns MLflow's telemetry off before it is imported.
import mlflow  # isort: skip
from mlflow.entities.model_registry import ModelVersion  # isort: skip
from mlflow.exceptions import MlflowException  # isort: skip
from mlflow.tracking import MlflowClient  # isort: skip

if TYPE_CHECKING:
    from crmml.scoring.bundle import ScoringBundle

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Reevaluation:
    """The challenger's data, and how to evaluate the champion on them.

    Attributes
    ----------
    data_fingerprint : str
        Of the data, as logged by the challenger's training.
    label_specification : mapping
        Likewise.
    evaluate : callable
        Takes the champion's bundle and returns its metrics on the newest window, with bootstrap
        replicates; raises ``ComparisonError`` if that would not be fair.
    """

    data_fingerprint: str
    label_specification: Mapping[str, Any]
    evaluate: Callable[[ScoringBundle], Replicates]


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
    client = reach(uri)
    address = client.tracking_uri
    with translate_errors(address):
        found = _version(client, match["name"], match["alias"] or int(match["version"]))
        with fetch_bundle_files(client, found) as folder:
            return load_bundle(folder)


@contextmanager
def fetch_bundle_files(client: MlflowClient, version: ModelVersion) -> Iterator[Path]:
    """Yield a private folder with the files of a registered bundle.

    Parameters
    ----------
    client : MlflowClient
        Of the server.
    version : ModelVersion
        Which.

    Raises
    ------
    BundleError
        If it holds no bundle, or the files are gone.
    """
    name = f"models:/{version.name}/{version.version}"
    with tempfile.TemporaryDirectory(dir=private_folder()) as scratch:
        try:
            folder = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{name}/artifacts/bundle",
                dst_path=scratch,
                tracking_uri=client.tracking_uri,
            )
        except (MlflowException, OSError) as error:
            why = masked(str(error).partition("\n")[0])
            raise BundleError(
                f"{name} holds no crmml bundle, or its files are gone: {why:.400}"
            ) from error
        yield Path(folder)


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
    client = reach(uri, write=True)
    address = client.tracking_uri
    with translate_errors(address):
        _version(client, name, version)
        client.set_registered_model_alias(name, alias, str(version))


def promote(
    name: str = "crmml",
    *,
    metric: str | None = None,
    again: Reevaluation | None = None,
    challenger: str = "challenger",
    champion: str = "champion",
    uri: str | None = None,
    force: bool = False,
) -> Promotion:
    """Make the challenger champion if it has earned it, else say why not.

    A challenger must meet all gates recorded at its training, and be better than the champion
    beyond chance: the interval of the difference, over bootstrap replicates that hold the same
    customers for both, must not hold 0. A tie leaves the champion in place.

    What is compared are forecasts made before an outcome window. Of two trainings on the same data
    under the same label specification both have logged how they did. If the data differ, the
    champion is evaluated again, on the challenger's newest window, which needs ``again``.

    Parameters
    ----------
    name : str, default "crmml"
        Registered model.
    metric : str, optional
        What decides, by default what the challenger's training says;
        :mod:`crmml.metrics.table` says which values of it are better.
    again : Reevaluation, optional
        Evaluates the champion on the challenger's data where it was evaluated on others.
    challenger, champion : str
        Aliases.
    uri : str, optional
        Tracking URI.
    force : bool
        Promote it whatever its gates and the comparison say; the reason says what was overridden.

    Returns
    -------
    Promotion

    Raises
    ------
    ParameterError
        If there is no such metric.
    TrackingError
        If there is no such model or no challenger.
    """
    if metric is not None:
        metric_named(metric)
    client = reach(uri, write=True)
    address = client.tracking_uri
    with translate_errors(address):
        new = _version(client, name, challenger)
        aliases = client.get_registered_model(name).aliases
        old = _version(client, name, champion) if champion in aliases else None
        previous = None if old is None else int(old.version)
        decides = metric or new.tags.get(DECIDES, "served_purchases_deviance")
        try:
            why = _claim(new, old)
            if old is not None:
                theirs = _served(client, new, decides)
                ours = (
                    _served(client, old, decides)
                    if _unlike(new, old) is None
                    else _evaluated_again(new, old, decides, again, address)
                )
                why = _compare(theirs, ours)
        except ComparisonError as against:
            if force and previous != int(new.version):
                return _force(client, new, previous, champion, against)
            reason = f"version {new.version} of {name} is not promoted: {against}"
            return Promotion(False, int(new.version), previous, reason)
        client.set_registered_model_alias(name, champion, str(new.version))
    verb = "is the first champion" if old is None else f"replaces version {previous}"
    reason = f"version {new.version} of {name} {verb}: {why}"
    return Promotion(True, int(new.version), previous, reason)


def _force(
    client: MlflowClient, new: ModelVersion, previous: int | None, champion: str, against: Exception
) -> Promotion:
    client.set_registered_model_alias(new.name, champion, str(new.version))
    reason = f"version {new.version} of {new.name} is champion by force, though {against}"
    return Promotion(True, int(new.version), previous, reason)


def _claim(new: ModelVersion, old: ModelVersion | None) -> str:
    """Return the gates that a challenger meets, in words; raise if it misses one."""
    if old is not None and old.version == new.version:
        raise ComparisonError("it is the champion already")
    gates = json.loads(new.tags.get(GATES, "{}"))
    if not gates:
        raise ComparisonError("its training recorded no gates")
    missed = sorted(gate for gate, met in gates.items() if not met)
    if missed:
        raise ComparisonError(
            f"its training missed {len(missed)} of {len(gates)} gates ({'; '.join(missed)})"
        )
    return f"it meets all its gates ({'; '.join(sorted(gates))})"


def _unlike(one: ModelVersion, other: ModelVersion) -> str | None:
    """Say in what respect two versions were not evaluated alike."""
    for tag, what in ((FINGERPRINT, "other data"), (LABELS, "another label specification")):
        if one.tags.get(tag) is None or one.tags.get(tag) != other.tags.get(tag):
            return what
    return None


def _served(client: MlflowClient, version: ModelVersion, metric: str) -> Replicates:
    found = read_replicates(client, str(version.run_id), metric)
    if found is None:
        raise ComparisonError(
            f"the training of version {version.version} logged no replicates of {metric}"
        )
    return found


def _evaluated_again(
    new: ModelVersion, old: ModelVersion, metric: str, again: Reevaluation | None, uri: str
) -> Replicates:
    """Evaluate the champion on the data and labels of the challenger."""
    if again is None:
        raise ComparisonError(
            f"the champion (version {old.version}) was evaluated on {_unlike(new, old)}; give the "
            "challenger's configuration (`crmml promote --config FILE`), and the champion is "
            "evaluated again on the challenger's newest window"
        )
    for tag, here, what in (
        (FINGERPRINT, again.data_fingerprint, "data"),
        (LABELS, digest(again.label_specification), "label specification"),
    ):
        if new.tags.get(tag) != here:
            raise ComparisonError(
                f"the configuration does not give the {what} that it was trained on; train again "
                "and promote with the same configuration"
            )
    bundle = load_registered(f"models:/{old.name}/{old.version}", uri=uri)
    found = again.evaluate(bundle)
    rows = [row for row, (_, name) in enumerate(found.rows) if name == metric]
    if not rows:
        raise ComparisonError(f"evaluating the champion again gave no {metric}")
    return Replicates([found.rows[rows[0]]], found.values[rows], found.draws[rows])


def _compare(new: Replicates, old: Replicates) -> str:
    """Return why a challenger is better than the champion; raise if it is not.

    Replicates of the same bootstrap are paired; those of two seeds are independent, which only
    makes the interval wider.
    """
    metric = metric_named(new.rows[0][1])
    n = min(new.draws.shape[1], old.draws.shape[1])
    values = np.concatenate([new.values, old.values])
    draws = np.concatenate([new.draws[:, :n], old.draws[:, :n]])
    rows = [("new", metric.name), ("old", metric.name)]
    columns = ["difference", "difference_lower", "difference_upper"]

    def differ(values: FloatArray, draws: FloatArray) -> list[float]:
        table = Replicates(rows, values, draws).table(reference="old")
        first: list[float] = table[columns].to_numpy(dtype=np.float64)[0].tolist()
        return first

    difference, low, high = differ(values, draws)
    better = f"nearer to {metric.target:g}" if metric.target is not None else metric.direction
    figures = (
        f"{new.rows[0][1]} is {values[0]:.4g}, the champion has {values[1]:.4g} ({better} is "
        f"better; difference {difference:+.2g}, 90 % interval {low:+.2g} to {high:+.2g})"
    )
    _, least, most = differ(metric.loss(values), metric.loss(draws))
    if most < 0.0:
        return figures
    raise ComparisonError(
        figures if least > 0.0 else f"{figures}, which is a tie: the champion stays"
    )


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
