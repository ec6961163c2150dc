"""A consumer with MLflow and the logged requirements, but without crmml: in Python, over HTTP."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

import crmml
from crmml.tracking.runs import LoggedModel, invented_transactions, log_training, start

MANIFEST = {
    "format_version": 1,
    "crmml_version": "0.1.0",
    "created_for_cutoff": "2017-07-01",
    "id_type": "text",
    "columns": ["customer_id", "timestamp", "amount"],
}

BUNDLE = '''
"""A bundle that adds up: what is under test here is the way to it, not its models."""
import hashlib, json
from decimal import Decimal
import pandas as pd

FORMAT_VERSION = 1

class ScoringBundle:
    def __init__(self, manifest):
        self.manifest = manifest
    def to_files(self):
        part = b"{}"
        hashes = {"part.json": hashlib.sha256(part).hexdigest()}
        return {"manifest.json": json.dumps({**self.manifest, "hashes": hashes}).encode(),
                "part.json": part}
    @classmethod
    def from_files(cls, files):
        return cls(json.loads(files["manifest.json"]))
    def score(self, rows, cutoff):
        when = pd.to_datetime(rows["timestamp"], format="ISO8601")
        past = rows[when < pd.Timestamp(cutoff)]
        cents = [int(Decimal(repr(x)) * 100) for x in past["amount"].tolist()]
        total = past.assign(cents=cents).groupby("customer_id")["cents"].sum().reset_index()
        constant = {"cutoff": pd.Timestamp(cutoff), "share": float("nan")}
        return total.assign(**constant, reasons=[["a"]] * len(total))
'''


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> Iterator[tuple[LoggedModel, str]]:
    """Log a model whose code is this package with a bundle that only adds up."""
    folder = tmp_path_factory.mktemp("serving")
    package = folder / "crmml"
    shutil.copytree(
        Path(crmml.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "scoring").mkdir(exist_ok=True)
    (package / "scoring" / "bundle.py").write_text(BUNDLE)
    spec = importlib.util.spec_from_file_location(
        "adding_bundle", package / "scoring" / "bundle.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shelf = start(f"sqlite:///{folder}/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crmml, "__file__", str(package / "__init__.py"))
        model = log_training(
            bundle=module.ScoringBundle(MANIFEST),
            params={},
            metrics={"mae": 0.78},
            data_fingerprint="f" * 64,
            label_specification={},
            gates={"beats the recency rule": True},
            experiment=shelf,
        )
    shutil.rmtree(package)
    yield model, shelf.uri
    mlflow.set_tracking_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def consumer_environment(uri: str) -> dict[str, str]:
    return {
        **os.environ,
        # mlflow calls uvicorn by its name
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def test_a_consumer_without_crmml_loads_and_predicts(logged, tmp_path):
    model, uri = logged
    # Everything that is installed, crmml and what would find it excepted; -S keeps Python from
    # reading the .pth file of an editable installation.
    site = tmp_path / "site"
    site.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "crmml" not in entry.name and entry.suffix != ".pth":
            (site / entry.name).symlink_to(entry)
    code = f"""
import importlib.util, json, sys
sys.path.append({str(site)!r})
assert importlib.util.find_spec("crmml") is None
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model({model.uri!r})
rows = pd.DataFrame({{"customer_id": ["a", "b", "a"],
                     "timestamp": ["2017-01-01", "2017-02-01", "2017-03-01"],
                     "amount": [0.1, 5.0, 0.2]}})
scores = model.predict(rows.assign(timestamp=pd.to_datetime(rows["timestamp"])))
assert scores.equals(model.predict(rows))
import crmml
print(json.dumps([crmml.__file__, scores["cents"].tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=consumer_environment(uri),
    )
    assert done.returncode == 0, done.stderr
    where, cents = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).parts[-4:-1] == ("artifacts", "code", "crmml")
    assert cents == [30, 500]


# ------------------------------------------------------------------------------- over HTTP


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(logged, tmp_path_factory) -> Iterator[str]:
    """Serve the model as a process group of its own, always ended."""
    model, uri = logged
    folder = tmp_path_factory.mktemp("server")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-m", model.uri, "-p", str(port), "-w", "1"],
            cwd=folder,
            env=consumer_environment(uri),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 90
            while not answers(f"{address}/ping"):
                alive = process.poll() is None and time.monotonic() < deadline
                assert alive, (folder / "log").read_text()
                time.sleep(0.1)
            yield address
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def ask(server: str, body: Any) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{server}/invocations",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode()
    assert "NaN" not in text
    rows: list[dict[str, Any]] = json.loads(text)["predictions"]
    return rows


ROWS = [
    {"customer_id": "🛒", "timestamp": "2017-01-01T10:30:00", "amount": 0.1},
    {"customer_id": "🛒", "timestamp": "2017-03-01", "amount": 0.2},
    {"customer_id": "ب۱", "timestamp": "2017-02-01", "amount": 7},
]


@pytest.mark.parametrize("layout", ["dataframe_records", "dataframe_split"])
def test_json_timestamps_ids_and_money_survive_http(server, layout):
    split = {"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}
    body = {layout: ROWS if layout == "dataframe_records" else split}
    expected = {"cutoff": "2017-07-01T00:00:00", "share": None, "reasons": ["a"]}
    assert ask(server, body) == [
        {"customer_id": "ب۱", "cents": 700, **expected},
        {"customer_id": "🛒", "cents": 30, **expected},
    ]


def test_the_cutoff_is_a_parameter_over_http(server):
    scores = ask(server, {"dataframe_records": ROWS, "params": {"cutoff": "2017-02-15"}})
    assert {row["customer_id"]: row["cents"] for row in scores} == {"🛒": 10, "ب۱": 700}
    assert {row["cutoff"] for row in scores} == {"2017-02-15T00:00:00"}


def test_the_logged_example_is_served(server, logged):
    rows = invented_transactions(MANIFEST)
    text = json.loads(rows.to_json(orient="split", date_format="iso", index=False))
    assert [row["customer_id"] for row in ask(server, {"dataframe_split": text})] == [
        "customer 1",
        "customer 2",
        "customer 3",
    ]


def test_a_missing_column_is_a_client_error(server):
    rows = pd.DataFrame(ROWS).drop(columns="amount").to_dict("records")
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        ask(server, {"dataframe_records": rows})
    assert "amount" in caught.value.read().decode()
    caught.value.close()
