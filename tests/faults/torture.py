"""Kill commands at random moments and look at what is left: ``python -m faults.torture``.

Each job is run once undisturbed. Then it is begun again and again from the same state, killed at a
seeded moment, and looked at: no half output stands anywhere, the same command works at once, its
outputs are byte for byte those of the undisturbed run, and nothing of the killed one is left.

The commands run in forks of this process, which has imported all they need: so a kill hits the
work and not the start of Python.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from crmml import atomic

SMALL = (
    *("--set", "backtest.bootstrap=20", "--set", "backtest.max_windows=1"),
    *("--set", "backtest.candidates=[mbg_nbd,heuristic]"),
)


def make_database(folder: Path) -> None:
    """Do what the first training does first."""
    from crmml.tracking.runs import start

    start(f"sqlite:///{folder}/mlflow.db")


def command(*arguments: str) -> Callable[[Path], None]:
    """Return what runs a command line."""

    def run(folder: Path) -> None:
        from crmml import cli

        sys.argv = ["crmml", *arguments]
        cli.main()

    return run


@dataclass(frozen=True)
class Job:
    """What is killed.

    Attributes
    ----------
    name : str
    run : callable
        Takes the folder in which it runs.
    outputs : callable
        Returns what stands in the folder, by a name that does not depend on the number of tries.
    share : float
        Share of the kills.
    """

    name: str
    run: Callable[[Path], None]
    outputs: Callable[[Path], dict[str, bytes]]
    share: float


def asked(folder: Path, query: str) -> list[tuple[object, ...]]:
    """Ask the database behind MLflow, without MLflow."""
    if not (folder / "mlflow.db").exists():
        return []
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        return connection.execute(query).fetchall()


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the files that a user sees."""
    found = (path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder): path for path in found}
    return {
        str(name): path.read_bytes()
        for name, path in named.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def scores(folder: Path) -> dict[str, bytes]:
    return files_below(folder / "out")


def bundles(folder: Path) -> dict[str, bytes]:
    """Return the files of the stored bundles; those of all versions must be alike."""
    found: dict[str, bytes] = {}
    for name, content in files_below(folder / "models" / "crmml").items():
        alike = name.partition("/")[2] or "notes.json"
        assert found.setdefault(alike, content) == content, f"{name} differs between versions"
    return found


def champion(folder: Path) -> dict[str, bytes]:
    query = "SELECT alias, version FROM registered_model_aliases ORDER BY alias"
    return {str(alias): str(version).encode() for alias, version in asked(folder, query)}


def database(folder: Path) -> dict[str, bytes]:
    if not (folder / "mlflow.db").exists():
        return {}
    held = sorted(str(name) for (name,) in asked(folder, "SELECT name FROM sqlite_master"))
    return {"tables": "\n".join(held).encode()}


JOBS = (
    Job("first database", make_database, database, 0.2),
    Job("train", command("train", "-c", "job.yaml", *SMALL), bundles, 0.3),
    Job("promote", command("promote", "--force"), champion, 0.2),
    Job(
        "score",
        command("score", "-c", "job.yaml", "--out", "out"),
        scores,
        0.3,
    ),
)
"""In this order: each begins where the one before has ended."""


class Torture:
    """Runs jobs in a folder that is always the same, as MLflow stores addresses."""

    def __init__(self, home: Path, seed: int) -> None:
        self.work, self.saved = home / "work", home / "saved"
        self.temporary = home / "tmp"
        self.random = random.Random(seed)
        self.temporary.mkdir()

    def begin(self, run: Callable[[Path], None]) -> int:
        """Fork a process that runs a job; return its number."""
        if child := os.fork():
            return child
        code = 1
        try:
            os.chdir(self.work)
            log = os.open(self.work.parent / "log", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.work}/mlflow.db"
            os.environ["TMPDIR"] = tempfile.tempdir = str(self.temporary)
            run(self.work)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            atomic._remove_own(atomic.private_folder(), os.getpid())
            os._exit(code)  # no clean-up of the parent's

    def finish(self, run: Callable[[Path], None]) -> None:
        """Run a job to its end."""
        _, status = os.waitpid(self.begin(run), 0)
        said = (self.work.parent / "log").read_text(errors="replace")[-2000:]
        assert os.waitstatus_to_exitcode(status) == 0, said

    def kill(self, run: Callable[[Path], None], after: float) -> bool:
        """Kill a job after some seconds; say whether it was still running."""
        child = self.begin(run)
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    def restore(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.saved, self.work)

    def torture(self, job: Job, kills: int) -> tuple[int, float]:
        """Kill a job so many times; return how often it was hit, and how long it takes."""
        shutil.rmtree(self.saved, ignore_errors=True)
        shutil.copytree(self.work, self.saved)
        begun = time.monotonic()
        self.finish(job.run)
        takes = time.monotonic() - begun
        whole, hit = job.outputs(self.work), 0
        assert whole, job.name
        ended = self.work.with_name("ended")
        shutil.copytree(self.work, ended)
        for number in range(kills):
            self.restore()
            # every other one in the last third, where what was worked out is written
            low = 0.0 if number % 2 else 2 / 3
            hit += self.kill(job.run, self.random.uniform(low, 1.0) * takes)
            for name, content in job.outputs(self.work).items():
                assert whole.get(name) == content, f"half output of {job.name}: {name}"
            self.finish(job.run)
            assert job.outputs(self.work) == whole, f"{job.name} gives other outputs after a kill"
            self.check_swept(job)
        shutil.rmtree(self.work)
        ended.rename(self.work)
        return hit, takes

    def report(self, job: Job, kills: int) -> int:
        """Torture a job, and print what came of it."""
        hit, takes = self.torture(job, kills)
        print(f"{job.name}: {kills} kills within {takes:.1f} s, {hit} of them hit", flush=True)
        return hit

    def check_swept(self, job: Job) -> None:
        """Look for what a killed job left."""
        left = [*self.temporary.glob("crmml-*")]
        left += [p for p in self.work.rglob(".*") if p.suffix in (".partial", ".old")]
        left += [*self.work.glob(".mlflow.db.*")]
        assert left == [] or job.name == "promote", f"{job.name} left {left}"
        if job.name != "train":
            return
        running = asked(self.work, "SELECT run_uuid FROM runs WHERE status = 'RUNNING'")
        assert running == [], "a run is said to be running"
        versions = asked(
            self.work, "SELECT version FROM model_versions WHERE current_stage = 'None'"
        )
        folders = [self.work / "models" / "crmml" / str(version) for (version,) in versions]
        assert versions, "no version is registered"
        assert all(map(Path.is_dir, folders)), "a version has no folder"


def prepare(work: Path, trained: Path | None) -> None:
    """Lay a small log, and what a training left elsewhere, without its champion."""
    import crmml

    rows = crmml.load_cdnow(sample=True)
    work.mkdir()
    if trained is not None:
        for name in ("mlflow.db", "models"):
            copy = shutil.copytree if (trained / name).is_dir() else shutil.copy
            copy(trained / name, work / name)
        with closing(sqlite3.connect(work / "mlflow.db")) as connection, connection:
            connection.execute("DELETE FROM registered_model_aliases WHERE alias = 'champion'")
    rows[rows["customer_id"].astype(int) % 8 == 0].to_csv(work / "log.csv", index=False)
    (work / "job.yaml").write_text("data: {transactions: {path: log.csv}}\n")


def preload() -> None:
    """Import what the jobs import; nothing may run or be opened before the forks."""
    import matplotlib.figure
    import mlflow.pyfunc
    import mlflow.store.tracking.sqlalchemy_store
    import pyarrow.parquet

    import crmml.cli.jobs
    import crmml.plots.gallery
    import crmml.tracking.registry
    import crmml.training.pipeline
    import crmml.training.served

    del matplotlib, mlflow, pyarrow, crmml
    logging.getLogger("mlflow").setLevel(logging.ERROR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--trained", type=Path, help="begin with this folder: promote and score only"
    )
    options = parser.parse_args()
    preload()
    total = hit = 0
    with tempfile.TemporaryDirectory(prefix="torture-") as home:
        torture = Torture(Path(home), options.seed)
        jobs = JOBS
        if options.trained is not None:
            jobs = JOBS[2:]
        prepare(torture.work, options.trained)
        for job in jobs:
            kills = max(round(options.kills * job.share), 1)
            running = torture.report(job, kills)
            total, hit = total + kills, hit + running
    print(f"{total} kills, {hit} of them hit a running job: 0 half outputs, 0 commands that failed")


if __name__ == "__main__":
    main()
