"""Training runs in MLflow: what went in, what came out with intervals, and the bundle itself."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import posixpath
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

# Nothing is sent home unless the user has asked for it; MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import (
    Dataset,
    DatasetInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import AnyType, ColSpec, DataType, ParamSchema, ParamSpec, Schema
from sqlalchemy.exc import SQLAlchemyError

import crmml
from crmml.atomic import private_folder, write_folder
from crmml.data.schema import TRANSACTIONS
from crmml.exceptions import CrmmlError, TrackingError
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import describe_metric
from crmml.scoring.bases import main_table
from crmml.scoring.counted import without_amounts
from crmml.scoring.frames import InputColumn, input_columns
from crmml.scoring.labelled import id_column, invent_rows
from crmml.storage.scores import write_csv
from crmml.tracking.database import check_database, make_database, sqlite_file
from crmml.tracking.unfinished import (
    ended_if_stopped,
    settle,
    sweep_killed,
    tags_of_this_process,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crmml.scoring.bundle import ScoringBundle
    from crmml.scoring.manifest import Manifest

MetricValue: TypeAlias = float | tuple[float, float, float]
"""A value, or a value with the lower and upper end of its interval."""

DEFAULT_URI = "sqlite:///mlflow.db"
FINGERPRINT, LABELS, GATES = "crmml.data_fingerprint", "crmml.label_specification", "crmml.gates"
DECIDES = "crmml.decided_by"
"""The metric in which a challenger must be better."""

_REQUIREMENTS = (
    "mlflow",
    "duckdb",
    "ibis-framework[duckdb]",
    "lightgbm",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "scikit-learn",
    "scipy",
)
"""What scoring needs; logged with the installed versions. Left to itself, MLflow would find out
by loading the model in another process, which takes seconds."""

_ANYTHING: Any = AnyType()  # type: ignore[no-untyped-call]
_OUTPUT_TYPES = {
    "number": DataType.double,
    "integer": DataType.long,
    "flag": DataType.boolean,
    "text": DataType.string,
    "timestamp": DataType.datetime,
    "any": _ANYTHING,
}
_LONGEST_PARAM = 6000
REPLICATES = "replicates"


@dataclass(frozen=True)
class Experiment:
    """An experiment on a tracking server that answered.

    Attributes
    ----------
    uri : str
        Tracking URI; it may hold a password, so it is not in the ``repr``.
    name, id : str
        Of the experiment.
    """

    uri: str = field(repr=False)
    name: str
    id: str


@dataclass(frozen=True)
class LoggedModel:
    """A training run and the model that it registered.

    Attributes
    ----------
    run_id : str
        The MLflow run.
    name : str
        Name of the registered model.
    version : int
        Its new version.
    """

    run_id: str
    name: str
    version: int

    @property
    def uri(self) -> str:
        """Return what ``mlflow.pyfunc.load_model`` takes."""
        return f"models:/{self.name}/{self.version}"


# ---------------------------------------------------------------------------- the server


def start(uri: str | None = None, experiment: str = "crmml") -> Experiment:
    """Reach the tracking server and open an experiment, both made if need be.

    Parameters
    ----------
    uri : str, optional
        Tracking URI; by default ``$MLFLOW_TRACKING_URI``, else ``sqlite:///mlflow.db`` in the
        current folder. It becomes MLflow's tracking URI for this process.
    experiment : str, default "crmml"
        Name of the experiment.

    Raises
    ------
    TrackingError
        If the server does not answer within seconds, or its store cannot be used.

    Notes
    -----
    Artifacts of a database file lie in ``mlruns`` beside it; how it is made, see
    :mod:`crmml.tracking.database`.
    """
    address = _address(uri)
    file = sqlite_file(address)
    with translate_errors(address), _short_timeouts():
        if file is not None:
            make_database(file)
            check_database(file, write=True)
        client = MlflowClient(address)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            folder = None if file is None else (file.parent / "mlruns").resolve().as_uri()
            identifier = _create_experiment(client, experiment, folder)
        elif found.lifecycle_stage != "active":
            raise TrackingError(
                f"the MLflow experiment {experiment!r} was deleted; restore it or name another"
            )
        else:
            identifier = found.experiment_id
    mlflow.set_tracking_uri(address)
    return Experiment(address, experiment, identifier)


def reach(uri: str | None = None, *, write: bool = False) -> MlflowClient:
    """Return a client of a tracking server that is there already; nothing is made.

    Parameters
    ----------
    uri : str, optional
        See :func:`start`. It becomes MLflow's tracking URI for this process.
    write : bool, default False
        Whether it must take new rows.

    Raises
    ------
    TrackingError
        If there is no such server or database, or it is not MLflow's.
    """
    address = _address(uri)
    file = sqlite_file(address)
    with translate_errors(address), _short_timeouts():
        if file is not None:
            check_database(file, write=write)
        client = MlflowClient(address)
        client.search_registered_models(max_results=1)  # a silent server is told here
    mlflow.set_tracking_uri(address)
    return client


def _address(uri: str | None) -> str:
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking", "mlflow.pyfunc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def _create_experiment(client: MlflowClient, name: str, folder: str | None) -> str:
    try:
        return str(client.create_experiment(name, artifact_location=folder))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        found = client.get_experiment_by_name(name)  # another process made it meanwhile
        if found is None:
            raise
        return str(found.experiment_id)


@contextmanager
def translate_errors(uri: str) -> Iterator[None]:
    """Turn whatever MLflow and its stores raise into one sentence that names the server."""
    try:
        yield
    except CrmmlError:
        raise
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        first = masked(str(error).strip().split("\n", 1)[0])
        shown = masked(uri)
        if uri.startswith(("http://", "https://")) and "API request to" in first:
            raise TrackingError(
                f"no MLflow server answers at {shown}; start one, or set MLFLOW_TRACKING_URI "
                f"(without it, runs go to {DEFAULT_URI})"
            ) from error
        raise TrackingError(f"MLflow at {shown} refused: {first}") from error


def masked(text: str) -> str:
    """Take user names, passwords and tokens out of the addresses in a text.

    Examples
    --------
    >>> masked("https://me:s3cr@t@shop.example/mlflow?password=x&ssl=1")
    'https://***@shop.example/mlflow?password=***&ssl=1'
    >>> masked("sqlite:///mlflow.db")
    'sqlite:///mlflow.db'
    """
    text = re.sub(r"://[^/\s]*@", "://***@", text)
    return re.sub(r"(?i)\b(password|passwd|pwd|token|secret)=[^&\s]*", r"\1=***", text)


@contextmanager
def _short_timeouts() -> Iterator[None]:
    """Give up on a silent server after seconds; MLflow's own defaults take minutes."""
    hurried = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
    own = {name: value for name, value in hurried.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            del os.environ[name]


# ---------------------------------------------------------------------------- a training run


def log_training(
    *,
    bundle: ScoringBundle,
    params: Mapping[str, Any],
    metrics: Mapping[str, MetricValue],
    replicates: Replicates | None = None,
    data_fingerprint: str,
    label_specification: Mapping[str, Any],
    gates: Mapping[str, bool],
    tables: Mapping[str, pd.DataFrame] | None = None,
    figures: Mapping[str, Figure] | None = None,
    tags: Mapping[str, str] | None = None,
    name: str = "crmml",
    alias: str = "challenger",
    experiment: Experiment | None = None,
    shelf: Path | None = None,
    decided_by: str = "served_purchases_deviance",
) -> LoggedModel:
    """Log a training and register its bundle as a new version of a model.

    Parameters
    ----------
    bundle : ScoringBundle
        What was trained.
    params : mapping
        Settings; nested mappings are flattened with dots. Values longer than 6,000 characters
        are only in the artifact ``params.json``. Never customer ids.
    metrics : mapping of str to float or (value, low, high)
        An interval is logged as ``<name>``, ``<name>_low``, ``<name>_high`` and as a row of the
        artifact ``metrics.csv``.
    replicates : Replicates, optional
        What was judged, on bootstrap replicates of the customers (one candidate); logged as
        ``replicates.csv``. A promotion needs it, to compare two models in pairs.
    data_fingerprint : str
        From :func:`crmml.storage.fingerprint.fingerprint`.
    label_specification : mapping
        What was predicted and judged: cutoffs, horizon, gap, grain, definition of churn. Two
        models are only compared where fingerprint and specification are equal.
    gates : mapping of str to bool
        Named conditions and whether the model met them, such as "beats the recency rule".
    tables : mapping of str to DataFrame, optional
        Logged as ``tables/<name>.csv``.
    figures : mapping of str to Figure, optional
        Logged as ``figures/<name>.png``.
    tags : mapping of str to str, optional
        Further tags of the run.
    name : str, default "crmml"
        Name of the registered model.
    alias : str, default "challenger"
        Alias that the new version gets.
    experiment : Experiment, optional
        Where; ``start()`` by default.
    shelf : Path, optional
        Folder in which the caller will store the bundle under its version, and then call
        :func:`stored`. If the caller is killed before, the next training stores it.
    decided_by : str, default "served_purchases_deviance"
        The metric in which a later challenger must be better.

    Returns
    -------
    LoggedModel

    Raises
    ------
    TrackingError
        If the server refuses. The run is then marked as failed, and nothing is registered.
    """
    home = experiment or start()
    client = MlflowClient(home.uri)
    facts = {
        FINGERPRINT: data_fingerprint,
        LABELS: digest(label_specification),
        GATES: json.dumps(dict(gates), sort_keys=True),
        DECIDES: decided_by,
    }
    with translate_errors(home.uri):
        sweep_killed(client, home.id)
        run_name, begun = f"{name} {_cutoff(bundle)}".strip(), tags_of_this_process(shelf)
        run_id = client.create_run(home.id, run_name=run_name, tags=begun).info.run_id
        with ended_if_stopped(client, run_id):
            model_id = _log_model(client, home, run_id, bundle, name)
            _log_values(
                client, run_id, model_id, _flat_metrics(metrics), params, {**(tags or {}), **facts}
            )
            _log_artifacts(
                client,
                run_id,
                texts={
                    "params": dict(params),
                    "label_specification": label_specification,
                    "notes": [note.to_dict() for note in bundle.manifest.notes],
                },
                tables={"metrics": _metric_table(metrics)} | _replicate_table(replicates),
                more_tables={"glossary": bundle.glossary(), **(tables or {})},
                figures=figures or {},
            )
            version = _register(client, name, model_id, run_id, facts)
            client.set_terminated(run_id, "FINISHED")
            client.set_registered_model_alias(name, alias, str(version))
        if shelf is None:
            settle(client, run_id)
    return LoggedModel(run_id, name, version)


def stored(logged: LoggedModel, experiment: Experiment) -> None:
    """Say that the bundle of a training stands on the shelf that was named to it."""
    with translate_errors(experiment.uri):
        settle(MlflowClient(experiment.uri), logged.run_id)


def log_report(run_id: str, html: str, experiment: Experiment) -> None:
    """Log a report for people with a run, as ``report/report.html``; it holds no customer's id.

    Raises
    ------
    TrackingError
        If the server refuses.
    """
    with translate_errors(experiment.uri):
        MlflowClient(experiment.uri).log_text(run_id, html, "report/report.html")


def digest(specification: Mapping[str, Any]) -> str:
    """Hash a specification; equal contents give equal text.

    Examples
    --------
    >>> digest({"horizon": "52W", "gap": None}) == digest({"gap": None, "horizon": "52W"})
    True
    """
    return hashlib.sha256(_as_json(specification).encode()).hexdigest()


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, indent=1, default=str, ensure_ascii=False)


def _cutoff(bundle: ScoringBundle) -> str:
    return bundle.manifest.cutoff


def _key(name: str) -> str:
    """Write a name as MLflow takes it: a group or a channel may be called anything.

    Examples
    --------
    >>> _key("churn_food_mean_error"), _key("churn_food_&_drink_mean_error")
    ('churn_food_mean_error', 'churn_food___drink_mean_error_2687ee6d')
    """
    plain = re.sub(r"[^\w.\- :/]", "_", name)[:200]
    if posixpath.normpath(plain) != plain or plain[0] in "./":
        plain = re.sub(r"[./]", "_", plain)
    # so that two names stay two
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _flat_params(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat_params(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)


def _flat_metrics(metrics: Mapping[str, MetricValue]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, tuple):
            flat |= zip((name, f"{name}_low", f"{name}_high"), map(float, value), strict=True)
        else:
            flat[name] = float(value)
    return flat


def _metric_table(metrics: Mapping[str, MetricValue]) -> pd.DataFrame:
    rows = [
        (name, *(value if isinstance(value, tuple) else (value, None, None)), describe_metric(name))
        for name, value in metrics.items()
    ]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "meaning"])


def _replicate_table(replicates: Replicates | None) -> dict[str, pd.DataFrame]:
    if replicates is None:
        return {}
    columns = [metric for _, metric in replicates.rows]
    table = pd.DataFrame(replicates.draws.T, columns=columns)
    return {REPLICATES: table.dropna(axis="columns", how="all")}


def read_replicates(client: MlflowClient, run_id: str, metric: str) -> Replicates | None:
    """Read one metric of a run and its bootstrap replicates; None if the run logged none."""
    run = client.get_run(run_id)
    files = {file.path for file in client.list_artifacts(run_id)}
    if metric not in run.data.metrics or f"{REPLICATES}.csv" not in files:
        return None
    with tempfile.TemporaryDirectory(dir=private_folder()) as scratch:
        file = client.download_artifacts(run_id, f"{REPLICATES}.csv", scratch)
        table = pd.read_csv(file, encoding="utf-8-sig")
    if metric not in table:
        return None
    draws = table[[metric]].to_numpy(dtype=np.float64).T
    return Replicates([("served", metric)], np.array([run.data.metrics[metric]]), draws)


def _log_values(
    client: MlflowClient,
    run_id: str,
    model_id: str,
    values: Mapping[str, float],
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> None:
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(_key(k), v, now, 0, model_id=model_id) for k, v in values.items()],
        params=[Param(_key(k), v) for k, v in _flat_params(params) if len(v) <= _LONGEST_PARAM],
        tags=[RunTag(k, str(v)) for k, v in tags.items()],
    )
    source = json.dumps({"fingerprint": tags[FINGERPRINT]})
    data = Dataset("data", tags[FINGERPRINT][:36], "crmml", source)
    client.log_inputs(run_id, [DatasetInput(data)])


def _log_artifacts(client: MlflowClient, run_id: str, **artifacts: Any) -> None:
    with tempfile.TemporaryDirectory(dir=private_folder()) as scratch:
        _write_artifacts(Path(scratch), **artifacts)
        client.log_artifacts(run_id, scratch)


def _write_artifacts(
    folder: Path,
    *,
    texts: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    more_tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Figure],
) -> None:
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    for name, value in texts.items():
        (folder / f"{name}.json").write_text(_as_json(value), encoding="utf-8")
    named = {**tables, **{f"tables/{name}": table for name, table in more_tables.items()}}
    for name, table in named.items():
        keyed = table.reset_index() if any(table.index.names) else table
        write_csv(keyed, folder / f"{name}.csv")
    for name, figure in figures.items():
        figure.savefig(folder / "figures" / f"{name}.png", dpi=120)


# ---------------------------------------------------------------------------- the model


def _log_model(
    client: MlflowClient, home: Experiment, run_id: str, bundle: ScoringBundle, name: str
) -> str:
    """Log the bundle as a pyfunc from code; return the id of the logged model.

    ``mlflow.pyfunc.log_model`` does the same steps and, besides, loads the model twice more to
    try the example; scoring the example here for the signature has already tried it.
    """
    from mlflow.pyfunc import save_model

    logged = client.create_logged_model(home.id, name, source_run_id=run_id, model_type="crmml")
    package = Path(crmml.__file__).parent
    example = input_example(bundle)
    with tempfile.TemporaryDirectory(dir=private_folder()) as scratch:
        stored = Path(scratch) / "bundle"
        write_folder(bundle.to_files(), stored)
        save_model(
            path=str(Path(scratch) / "model"),
            python_model=str(package / "tracking" / "pyfunc.py"),
            artifacts={"bundle": str(stored)},
            code_paths=[str(package)],
            pip_requirements=requirements(),
            signature=signature(bundle, example),
            input_example=example,
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=run_id,
                model_id=logged.model_id,
            ),
        )
        client.log_model_artifacts(logged.model_id, str(Path(scratch) / "model"))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return str(logged.model_id)


def _register(
    client: MlflowClient, name: str, model_id: str, run_id: str, tags: dict[str, str]
) -> int:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{model_id}"
    made = client.create_model_version(name, source, run_id, tags=tags, model_id=model_id)
    link = json.dumps([{"name": name, "version": int(made.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": link})  # the pages link by it
    return int(made.version)


def requirements() -> list[str]:
    """Pip requirements of a logged model: what scoring needs, in the versions installed here."""
    return [f"{name}=={installed_version(name.split('[')[0])}" for name in _REQUIREMENTS]


def signature(bundle: ScoringBundle, example: pd.DataFrame) -> ModelSignature:
    """Describe input, output and parameters of a bundle to MLflow.

    Every column that the bundle's tables had at training is an input, and only the required ones
    of the log (or of the main table of another base) are required; the rows of further tables come
    in the same frame, told apart by its column ``table`` (:mod:`crmml.scoring.frames`). Outputs
    are what the predictors declare.

    Timestamps are of any type, pandas timestamps or ISO 8601 text, and left to the cleaning:
    MLflow's own ``datetime`` refuses text from pandas, and over REST a column in which a time or
    its fraction is sometimes left out. Money is of any type too: ``double`` would refuse whole
    amounts and text, which the cleaning reads as DECIMAL. So are ids and words: a file of numbers
    gives numbers for them, and MLflow, where it refuses, shows the rows themselves.

    Parameters
    ----------
    bundle : ScoringBundle
        To describe.
    example : DataFrame
        Rows of the main table, which are scored to see that the model can.
    """
    if bundle.manifest.kind == "labelled":
        bundle.score(example)
        ids = _input_id(bundle.manifest)
        others = [str(name) for name in example if name not in ids]
        anything = [ColSpec(_ANYTHING, name, required=False) for name in others]
        return ModelSignature(Schema([*ids.values(), *anything]), _outputs(bundle))
    bundle.score(example, _cutoff(bundle))
    manifest = bundle.manifest
    inputs = [
        _input_column(column, manifest)
        for column in input_columns(manifest.columns, main_table(manifest))
    ]
    params = [
        ParamSpec("cutoff", DataType.string, _cutoff(bundle)),
        ParamSpec("budget", DataType.double, None),
        ParamSpec("lang", DataType.string, "en"),
    ]
    return ModelSignature(Schema([*inputs]), _outputs(bundle), ParamSchema(params))


def _outputs(bundle: ScoringBundle) -> Schema:
    return Schema(
        [
            ColSpec(_OUTPUT_TYPES[output.dtype], output.name, required=output.name == "customer_id")
            for output in bundle.outputs
        ]
    )


def _input_id(manifest: Manifest) -> dict[str, ColSpec]:
    """Return the column of ids of a labelled table; none where its rows are numbered."""
    name = id_column(manifest)
    return {} if name is None else {name: ColSpec(_ANYTHING, name, required=True)}


def input_example(bundle: ScoringBundle) -> pd.DataFrame:
    """Invent rows of the kind that a bundle scores: an example that can hold nobody's data."""
    if bundle.manifest.kind == "labelled":
        return invent_rows(bundle)
    if bundle.manifest.kind == "contracts":
        return invented_subscriptions(bundle.manifest)
    return invented_transactions(bundle.manifest)


def _input_column(column: InputColumn, manifest: Manifest) -> ColSpec:
    # MLflow knows no boolean with a null
    flag = column.kind == "flag" and not column.sparse
    kind: Any = DataType.boolean if flag else _ANYTHING
    needed = column.required and not (column.name == "amount" and without_amounts(manifest))
    return ColSpec(kind, column.name, required=needed)


def invented_subscriptions(manifest: Manifest) -> pd.DataFrame:
    """Invent the contracts of three customers, of which one has ended.

    Parameters
    ----------
    manifest : Manifest
        Of a bundle of contracts: columns, type of the id, cutoff.
    """
    cutoff, who = pd.Timestamp(manifest.cutoff), [1, 2, 3]
    values: dict[str, Any] = {
        "customer_id": who if manifest.id_type == "integer" else [f"customer {i}" for i in who],
        "started_at": [cutoff - pd.Timedelta(weeks=w) for w in (60, 25, 9)],
        "ended_at": [None, None, cutoff - pd.Timedelta(weeks=2)],
        "plan": ["plan 1", "plan 2", "plan 1"],
        "fee": [19.9, 29.9, 19.9],
        "end_reason": [None, None, "voluntary"],
        "paid_until": [cutoff + pd.Timedelta(weeks=w) for w in (2, 3, -2)],
    }
    return pd.DataFrame({name: values[name] for name in manifest.columns["subscriptions"]})


def invented_transactions(manifest: Manifest) -> pd.DataFrame:
    """Invent the transactions of three customers: an example that can hold nobody's data.

    Parameters
    ----------
    manifest : Manifest
        Of a bundle: columns, type of the id, cutoff.

    Returns
    -------
    DataFrame
        Seven lines in the half year before the cutoff.
    """
    cutoff = pd.Timestamp(manifest.cutoff)
    weeks_ago = [25, 16, 9, 2, 12, 8, 20]
    who = [1, 1, 1, 1, 2, 2, 3]
    columns: dict[str, Any] = {}
    for name in manifest.columns["transactions"]:
        kind = TRANSACTIONS.kind(name)
        if name == "customer_id":
            columns[name] = who if manifest.id_type == "integer" else [f"customer {i}" for i in who]
        elif kind == "timestamp":
            columns[name] = [cutoff - pd.Timedelta(weeks=w) for w in weeks_ago]
        elif kind in ("money", "number"):
            columns[name] = [19.9, 24.5, 31.0, 12.75, 45.0, 18.2, 60.0] if name == "amount" else 1.0
        elif kind == "flag":
            columns[name] = False
        elif name == "seller" and manifest.own_seller:
            columns[name] = manifest.own_seller
        elif name == "channel" and manifest.channels:
            columns[name] = next(iter(manifest.channels))
        elif name not in ("currency", "seller"):  # their legal values are the user's own
            columns[name] = [f"{name} {i}" for i in (1, 2, 3, 4, 5, 6, 7)]
    return pd.DataFrame(columns)
