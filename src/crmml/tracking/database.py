"""The SQLite file behind MLflow: made whole or not at all, and looked at before MLflow opens it.

MLflow makes its tables one by one. A process that is killed meanwhile leaves a file that no later
one can open, so the file is made beside its place and put there in one step. MLflow also tries a
file that it cannot use again and again for minutes; here one look says what is wrong.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from crmml.atomic import is_dead, owner
from crmml.exceptions import TrackingError

_PATIENCE = 5.0  # seconds for another process that writes
_ABANDONED = 3600.0  # seconds after which an unfinished database is nobody's work


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an address like ``sqlite:///mlflow.db``; None for any other address.

    Examples
    --------
    >>> sqlite_file("sqlite:///runs/mlflow.db").as_posix()
    'runs/mlflow.db'
    >>> sqlite_file("https://shop.example")
    """
    path = uri.removeprefix("sqlite:///").split("?", 1)[0]
    return Path(path) if path != uri and path not in ("", ":memory:") else None


def make_database(file: Path) -> None:
    """Make MLflow's database where there is none; artifacts will lie in ``mlruns`` beside it.

    Of several processes that start together each makes a whole file, and the first one stays.

    Parameters
    ----------
    file : Path
        Its place; the folder is made if need be.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    if os.path.lexists(file):
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file.parent.mkdir(parents=True, exist_ok=True)
    _sweep(file)
    prefix = f"{_prefix(file)}{owner()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=file.parent) as folder:
        made = Path(folder) / "new.db"
        store = SqlAlchemyStore(  # type: ignore[no-untyped-call]
            f"sqlite:///{made}", (file.parent / "mlruns").resolve().as_uri()
        )
        store.engine.dispose()  # else the file would still be open where it is moved
        with suppress(FileExistsError):  # another process was first, with as good a file
            _put(made, file)


def check_database(file: Path, *, write: bool) -> None:
    """Look at the database before MLflow does.

    Parameters
    ----------
    file : Path
        The database.
    write : bool
        Whether it must take new rows.

    Raises
    ------
    TrackingError
        If it is no file, no SQLite database, not MLflow's or half made, read-only though it must
        be written, or held by another process for five seconds.
    """
    if not file.exists():
        raise TrackingError(
            f"there is no MLflow database {str(file)!r}; crmml train makes it, or name another by "
            "tracking.uri or MLFLOW_TRACKING_URI"
        )
    if not file.is_file():
        raise TrackingError(f"the MLflow database {str(file)!r} must be a file, not a folder")
    address = f"file:{quote(str(file))}?mode={'rw' if write else 'ro'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE)) as connection:
            held = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if write:
                connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise TrackingError(f"the MLflow database {str(file)!r} cannot be used: {error}") from None
    if not {"alembic_version", "experiments", "registered_models"} <= held:
        what = "holds other tables than MLflow's" if held else "is empty"
        raise TrackingError(f"the database {str(file)!r} {what}; name another, or take it away")
    if any(name.startswith("_alembic_tmp") for name in held):
        raise TrackingError(
            f"the MLflow database {str(file)!r} was left half made; take it away and train again"
        )


def _prefix(file: Path) -> str:
    return f".{file.name}."


def _sweep(file: Path) -> None:
    """Remove what killed processes left unfinished."""
    for folder in file.parent.glob(f"{_prefix(file)}*"):
        if folder.is_dir() and (
            is_dead(folder.name) or time.time() - folder.stat().st_mtime > _ABANDONED
        ):
            shutil.rmtree(folder, ignore_errors=True)


def _put(made: Path, place: Path) -> None:
    """Move a file to a place that must be free; a second one to arrive gets FileExistsError."""
    try:
        os.link(made, place)
    except FileExistsError:
        raise
    except OSError:  # no links here (some network drives): the small risk of a race is left
        if place.exists():
            raise FileExistsError(place) from None
        made.replace(place)
