"""MLflow's database file: whole whatever happens, and one sentence when it cannot be used."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from crmml.exceptions import TrackingError
from crmml.tracking import database
from crmml.tracking.registry import load_registered, promote, set_alias
from crmml.tracking.runs import start

MAKE = """
import sys
from pathlib import Path
from crmml.tracking.runs import start
from mlflow.store.tracking import sqlalchemy_store
print("now", flush=True)
start("sqlite:///" + sys.argv[1])
"""


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    file = tmp_path_factory.mktemp("made") / "mlflow.db"
    start(f"sqlite:///{file}")
    return file


def test_the_first_database_is_moved_to_its_place_whole(made):
    assert [one.name for one in made.parent.iterdir()] == ["mlflow.db"]
    assert start(f"sqlite:///{made}").id == start(f"sqlite:///{made}").id
    database.check_database(made, write=True)


@pytest.mark.skipif(os.name != "posix", reason="a kill that cannot be caught")
@pytest.mark.parametrize("after", [0.4])
def test_a_kill_while_the_first_database_is_made_harms_nobody(tmp_path, after):
    file = tmp_path / "mlflow.db"
    job = subprocess.Popen([sys.executable, "-c", MAKE, str(file)], stdout=subprocess.PIPE)
    assert job.stdout is not None
    assert job.stdout.readline().strip() == b"now"
    time.sleep(after)
    job.send_signal(signal.SIGKILL)
    job.wait()
    job.stdout.close()
    if file.exists():  # made whole already
        database.check_database(file, write=True)
    start(f"sqlite:///{file}")
    assert [one.name for one in tmp_path.iterdir()] == ["mlflow.db"]  # the leftovers are swept


def held(path):
    start_holding = sqlite3.connect(path, isolation_level=None)
    start_holding.execute("BEGIN EXCLUSIVE")
    return start_holding


UNUSABLE = {
    "a folder": (lambda path: path.mkdir(), "must be a file, not a folder"),
    "no database": (lambda path: path.write_text("not at all " * 200), "file is not a database"),
    "an empty file": (lambda path: path.touch(), "is empty"),
    "a foreign database": (
        lambda path: (
            sqlite3.connect(path).execute("CREATE TABLE customers (id)").connection.close()
        ),
        "holds other tables than MLflow's",
    ),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_what_cannot_be_used_is_one_sentence_and_stays_as_it_is(what, tmp_path):
    path = tmp_path / "some.db"
    make, sentence = UNUSABLE[what]
    make(path)
    before = path.read_bytes() if path.is_file() else None
    uri = f"sqlite:///{path}"
    for call in (
        lambda: start(uri),
        lambda: promote("shop", uri=uri),
        lambda: load_registered("models:/shop@champion", uri=uri),
    ):
        with pytest.raises(TrackingError, match=sentence) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_database_left_half_made_is_told(made, tmp_path):
    path = tmp_path / "half.db"
    path.write_bytes(made.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE _alembic_tmp_runs (id)")
    with pytest.raises(TrackingError, match="left half made"):
        start(f"sqlite:///{path}")


def test_a_database_that_another_process_holds_is_told_within_seconds(made, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE", 0.3)
    path = tmp_path / "held.db"
    path.write_bytes(made.read_bytes())
    with closing(held(path)), pytest.raises(TrackingError, match="locked"):
        start(f"sqlite:///{path}")


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    for address in (f"sqlite:///{tmp_path}/file/mlflow.db", "nonsense://here"):
        with pytest.raises(TrackingError, match="refused") as caught:
            start(address)
        assert "\n" not in str(caught.value)


def test_who_only_reads_makes_no_database(tmp_path):
    uri = f"sqlite:///{tmp_path}/deep/mlflow.db"
    for call in (
        lambda: promote("shop", uri=uri),
        lambda: set_alias("shop", "champion", 1, uri=uri),
        lambda: load_registered("models:/shop@champion", uri=uri),
    ):
        with pytest.raises(TrackingError, match="there is no MLflow database"):
            call()
    assert not (tmp_path / "deep").exists()
