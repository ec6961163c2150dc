"""What killed runs left in MLflow: runs are ended, versions undone or completed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crmml.atomic import is_dead, owner
from crmml.exceptions import CrmmlError
from crmml.storage.bundles import load_bundle, shelve_bundle

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

OWNER, SHELF = "crmml.owner", "crmml.shelf"
"""Tags of a run: the process that logs it, until all of it stands; where its bundle will stand."""


def tags_of_this_process(shelf: Path | None) -> dict[str, str]:
    """Return the tags with which a run begins."""
    return {OWNER: owner()} | ({SHELF: str(shelf.resolve())} if shelf else {})


@contextmanager
def ended_if_stopped(client: MlflowClient, run_id: str) -> Iterator[None]:
    """Mark a run as failed, or as killed by an interrupt, where what is done in it stops."""
    try:
        yield
    except BaseException as error:
        from mlflow.exceptions import MlflowException

        stopped = isinstance(error, KeyboardInterrupt)
        with suppress(MlflowException):  # the first error is the one to tell
            client.set_terminated(run_id, "KILLED" if stopped else "FAILED")
            settle(client, run_id)
        raise


def settle(client: MlflowClient, run_id: str) -> None:
    """Say that all of a run stands."""
    client.delete_tag(run_id, OWNER)


def sweep_killed(client: MlflowClient, experiment_id: str) -> None:
    """End what killed processes of this host were logging.

    A run that was still going is marked as killed, and a version that it had registered is taken
    away. Of a run that had finished only the folder was missing: it is written.

    Parameters
    ----------
    client : MlflowClient
        Of a server that answers.
    experiment_id : str
        Whose runs are looked at.
    """
    for run in client.search_runs([experiment_id], f"tags.`{OWNER}` != ''"):
        if is_dead(run.data.tags[OWNER]):
            _complete(client, run) if run.info.status == "FINISHED" else _undo(client, run)
            settle(client, run.info.run_id)


def _undo(client: MlflowClient, run: Run) -> None:
    for version in client.search_model_versions(f"run_id='{run.info.run_id}'"):
        client.delete_model_version(version.name, version.version)
    client.set_terminated(run.info.run_id, "KILLED")


def _complete(client: MlflowClient, run: Run) -> None:
    from crmml.tracking.registry import fetch_bundle_files

    shelf = run.data.tags.get(SHELF)
    for version in client.search_model_versions(f"run_id='{run.info.run_id}'") if shelf else ():
        # what cannot be read is left to whoever asks for it by name
        with suppress(CrmmlError), fetch_bundle_files(client, version) as folder:
            shelve_bundle(load_bundle(folder), Path(str(shelf)) / str(version.version))
