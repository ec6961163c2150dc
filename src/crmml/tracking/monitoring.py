"""A monitoring as a run of MLflow: its figures by window, its tables and its pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from crmml.tracking.runs import Experiment, _log_artifacts, translate_errors
from crmml.tracking.unfinished import (
    ended_if_stopped,
    settle,
    sweep_killed,
    tags_of_this_process,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from crmml.scorecard.monitor import Monitoring

KIND = "crmml.kind"
"""Tag that tells the runs of a monitoring from those of a training."""


def log_monitoring(
    found: Monitoring,
    experiment: Experiment,
    *,
    name: str,
    params: Mapping[str, Any],
    figures: Mapping[str, Figure] | None = None,
) -> str:
    """Log a monitoring as a run of its own.

    Parameters
    ----------
    found : Monitoring
        What was found; none of its tables holds a customer's id.
    experiment : Experiment
        Where; see :func:`crmml.tracking.runs.start`.
    name : str
        Of the model that is watched.
    params : mapping of str to str
        Settings of the run.
    figures : mapping of str to Figure, optional
        Logged as ``figures/<name>.png``.

    Returns
    -------
    str
        The id of the run. Its metrics have a step for each closed window. A run that was killed
        before it ended is marked as such by the next monitoring or training of this host.

    Raises
    ------
    TrackingError
        If the server refuses; the run is then marked as failed.
    """
    client = MlflowClient(experiment.uri)
    with translate_errors(experiment.uri):
        sweep_killed(client, experiment.id)
        tags = {KIND: "monitoring", **tags_of_this_process(None)}
        begun = client.create_run(experiment.id, run_name=f"{name} monitoring", tags=tags)
        run_id = begun.info.run_id
        with ended_if_stopped(client, run_id):
            client.log_batch(
                run_id,
                metrics=_metrics(found),
                params=[Param(key, str(value)) for key, value in params.items()],
                tags=[RunTag("crmml.quiet", str(found.quiet)),
                      RunTag("crmml.advice", ", then ".join(found.advice) or "none")],
            )  # fmt: skip
            tables = {key: table for key, table in found.tables().items() if len(table)}
            texts = {"monitor": found.to_dict()}
            _log_artifacts(
                client, run_id, texts=texts, tables={}, more_tables=tables, figures=figures or {}
            )
            client.set_terminated(run_id, "FINISHED")
        settle(client, run_id)
    return str(run_id)


def _metrics(found: Monitoring) -> list[Metric]:
    now = int(time.time() * 1000)
    metrics = [Metric("alarms", float(len(found.current)), now, max(len(found.windows) - 1, 0))]
    for step, row in enumerate(found.windows.to_dict("records")[-50:]):
        metrics += [
            Metric(str(name), float(value), now, step)
            for name, value in row.items()
            if isinstance(value, (int, float)) and math.isfinite(value)
        ]
    return metrics[:1000]
