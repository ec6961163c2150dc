"""A consumer with MLflow and the logged requirements, but without crmml: in Python, over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
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

import pandas as pd
import pytest

from crmml.scoring.bundle import ScoringBundle
from crmml.storage.bundles import load_bundle
from crmml.tracking.runs import invented_transactions

MODEL = "models:/crmml/1"


@pytest.fixture(scope="module")
def bundle(cdnow_shelf) -> ScoringBundle:
    """The bundle that MLflow serves as ``MODEL``."""
    return load_bundle(cdnow_shelf.folder / "models" / "crmml" / "1")


def consumer_environment(uri: str) -> dict[str, str]:
    return {
        **os.environ,
        # mlflow calls uvicorn by its name
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


ROWS = [
    {"customer_id": "🛒", "timestamp": "1998-01-01T10:30:00", "amount": 12.1},
    {"customer_id": "🛒", "timestamp": "1998-03-01", "amount": 0.2},
    {"customer_id": "ب۱", "timestamp": "1998-02-01", "amount": 7},
]


def same(served: list[dict[str, Any]], expected: pd.DataFrame) -> None:
    """Compare what came over the wire with what the bundle says here, column by column."""
    assert len(served) == len(expected)
    assert list(served[0]) == list(expected)
    for name in expected:
        got = [row[name] for row in served]
        if pd.api.types.is_datetime64_any_dtype(expected[name]):
            assert pd.to_datetime(pd.Series(got)).tolist() == expected[name].tolist()
        elif pd.api.types.is_numeric_dtype(expected[name]):
            values = [None if pd.isna(value) else value for value in expected[name].tolist()]
            assert got == [v if v is None else pytest.approx(v, rel=1e-9) for v in values], name
        else:
            values = [
                value if isinstance(value, (list, tuple)) or pd.notna(value) else None
                for value in expected[name].tolist()
            ]
            assert [list(v) if isinstance(v, (list, tuple)) else v for v in values] == got, name


def test_a_consumer_without_crmml_loads_and_predicts(cdnow_shelf, bundle, tmp_path):
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
model = mlflow.pyfunc.load_model({MODEL!r})
rows = pd.DataFrame({ROWS!r})
rows["amount"] = rows["amount"].astype(float)
scores = model.predict(rows.assign(timestamp=pd.to_datetime(rows["timestamp"], format="ISO8601")))
assert scores.equals(model.predict(rows))
import crmml
print(json.dumps([crmml.__file__, scores["customer_id"].tolist(), scores["clv"].tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=consumer_environment(cdnow_shelf.uri),
    )
    assert done.returncode == 0, done.stderr
    where, ids, clv = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).parts[-4:-1] == ("artifacts", "code", "crmml")
    expected = bundle.score(pd.DataFrame(ROWS))
    assert ids == expected["customer_id"].tolist()
    assert clv == pytest.approx(expected["clv"].tolist(), rel=1e-12)


# ------------------------------------------------------------------------------- over HTTP


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(cdnow_shelf, tmp_path_factory) -> Iterator[str]:
    """Serve the model as a process group of its own, always ended."""
    folder = tmp_path_factory.mktemp("server")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-m", MODEL, "-p", str(port), "-w", "1"],
            cwd=folder,
            env=consumer_environment(cdnow_shelf.uri),
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


@pytest.mark.parametrize("layout", ["dataframe_records", "dataframe_split"])
def test_json_timestamps_ids_and_money_survive_http(server, bundle, layout):
    split = {"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]}
    served = ask(server, {layout: ROWS if layout == "dataframe_records" else split})
    assert [row["customer_id"] for row in served] == ["ب۱", "🛒"]
    assert served[1]["net_spend"] == pytest.approx(12.3)
    assert served[0]["customer_profitability"] is None  # no margin, no cost: null, not invented
    same(served, bundle.score(pd.DataFrame(ROWS)))


def test_a_customer_alone_gets_what_it_gets_in_company(server):
    together = ask(server, {"dataframe_records": ROWS})
    same(ask(server, {"dataframe_records": ROWS[:2]}), pd.DataFrame(together[1:]))


def test_the_cutoff_is_a_parameter_over_http(server, bundle):
    cutoff = "1998-02-15"
    served = ask(server, {"dataframe_records": ROWS, "params": {"cutoff": cutoff}})
    assert {row["customer_id"]: row["frequency"] for row in served} == {"🛒": 0, "ب۱": 0}
    same(served, bundle.score(pd.DataFrame(ROWS), cutoff))


def test_the_logged_example_is_served(server, bundle):
    rows = invented_transactions(bundle.manifest)
    text = json.loads(rows.to_json(orient="split", date_format="iso", index=False))
    assert [row["customer_id"] for row in ask(server, {"dataframe_split": text})] == [
        "customer 1",
        "customer 2",
        "customer 3",
    ]


def changed(**values: Any) -> dict[str, Any]:
    return {"dataframe_records": [ROWS[0] | values, *ROWS[1:]]}


MISTAKES = {
    "no such day": (changed(timestamp="1998-02-31"), "timestamp"),
    "no time": (changed(timestamp="yesterday"), "timestamp"),
    "an endless amount": (changed(amount=1e300), "amount"),
    "no row": ({"dataframe_records": []}, ""),
    "a cutoff that is none": ({"dataframe_records": ROWS, "params": {"cutoff": "soon"}}, "cutoff"),
    "a missing column": (
        {"dataframe_records": [{k: v for k, v in row.items() if k != "amount"} for row in ROWS]},
        "amount",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_answered_400_with_one_sentence_and_nobodys_rows(server, what):
    body, word = MISTAKES[what]
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        ask(server, body)
    with caught.value:
        answer = caught.value.read().decode()
    assert word in answer
    assert "Traceback" not in answer
    assert "site-packages" not in answer
    assert len(answer) < 2000
    if what != "a missing column":  # MLflow's own check of the columns
        assert "12.3" not in answer  # an amount of another customer


@pytest.mark.parametrize(
    "form",
    [int, str, float, lambda amount: f"{amount:.2f}"],
    ids=["whole", "text", "fractions", "text of two decimals"],
)
def test_amounts_of_any_form_are_read_over_http(server, bundle, form):
    rows = [{**row, "amount": form(12)} for row in ROWS]
    plain = [{**row, "amount": 12.0} for row in ROWS]
    same(ask(server, {"dataframe_records": rows}), bundle.score(pd.DataFrame(plain)))
