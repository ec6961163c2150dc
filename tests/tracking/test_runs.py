"""A real MLflow on a temporary SQLite: what is logged comes back, and promotion is earned."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import socket
import sys
import types
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib
import mlflow
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient

from crmml.atomic import owner
from crmml.exceptions import BundleError, ComparisonError, ParameterError, TrackingError
from crmml.metrics.bootstrap import Replicates
from crmml.scoring.frames import input_columns
from crmml.scoring.manifest import DIGEST, Manifest, digest
from crmml.scoring.predictors import Output, tabulate_glossary
from crmml.tracking import runs
from crmml.tracking.registry import Reevaluation, load_registered, promote, set_alias
from crmml.tracking.runs import (
    Experiment,
    LoggedModel,
    invented_transactions,
    log_training,
    requirements,
    start,
)
from crmml.tracking.unfinished import OWNER

matplotlib.use("agg")

GATES = {"beats the recency rule": True, "is calibrated": True}
LABELS = {"horizon": "52W", "gap": None, "churn": "no purchase in the outcome window"}


class TotalBundle:
    """Scores customers by what they have spent: the interface of a bundle, nothing to fit."""

    outputs = (
        Output("customer_id", "text", "", "the customer"),
        Output("cutoff", "timestamp", "date", "the cutoff"),
        Output("sum", "number", "currency", "spent so far"),
        Output("count", "integer", "lines", "lines so far"),
        Output("tier", "text", "", "the same for all"),
    )

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def glossary(self) -> pd.DataFrame:
        return tabulate_glossary([("total", output) for output in self.outputs])

    def to_files(self) -> dict[str, bytes]:
        part = b'{"r": 0.25}'
        manifest = self.manifest.changed(hashes={"part.json": hashlib.sha256(part).hexdigest()})
        text = json.dumps(manifest.plain()).encode()
        return {"manifest.json": text, "part.json": part, DIGEST: digest(text).encode()}

    @classmethod
    def from_files(cls, files: dict[str, bytes]) -> TotalBundle:
        return cls(Manifest.from_json(files["manifest.json"]))

    def score(
        self, transactions: Any, cutoff: str, budget: float | None = None, lang: str = "en"
    ) -> pd.DataFrame:
        assert lang == "en"
        if isinstance(transactions, dict):
            transactions = transactions["transactions"]
        past = transactions[transactions["timestamp"] < pd.Timestamp(cutoff)]
        spent = past.groupby("customer_id")["amount"].agg(["sum", "count"]).reset_index()
        return spent.assign(cutoff=pd.Timestamp(cutoff), tier="A", share=float("nan"))


def a_bundle(id_type: str = "integer", columns: tuple[str, ...] = ()) -> Any:
    return TotalBundle(
        Manifest(
            cutoff="2017-07-01",
            id_type=id_type,  # type: ignore[arg-type]
            columns={"transactions": ("customer_id", "timestamp", "amount", *columns)},
        )
    )


@pytest.fixture(autouse=True)
def bundle_module(monkeypatch):
    """Let storage and pyfunc read the bundle of these tests."""
    module = types.ModuleType("crmml.scoring.bundle")
    module.FORMAT_VERSION, module.ScoringBundle = 2, TotalBundle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "crmml.scoring.bundle", module)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, fresh_mlflow) -> Iterator[Experiment]:
    """One database for all tests."""
    yield start(fresh_mlflow(tmp_path_factory.mktemp("mlflow")))
    mlflow.set_tracking_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def train(home: Experiment, name: str, **changes: Any) -> LoggedModel:
    logged = {
        "bundle": a_bundle(),
        "params": {"horizon": "52W", "churn": {"learning_rate": 0.05}},
        "metrics": {"mae": (0.78, 0.74, 0.82), "customers": 3},
        "data_fingerprint": "f" * 64,
        "label_specification": LABELS,
        "gates": GATES,
    }
    return log_training(name=name, experiment=home, **{**logged, **changes})


# ------------------------------------------------------------------------------- logging


def test_a_training_is_logged_in_full(shelf):
    figure = Figure()
    figure.subplots().plot([1, 2])
    table = pd.DataFrame({"model": ["=BG/NBD"], "mae": [0.78]})
    model = train(
        shelf,
        "full",
        tables={"leaderboard": table},
        figures={"tracking": figure},
        tags={"who": "me"},
    )
    client = MlflowClient(shelf.uri)
    run = client.get_run(model.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"horizon": "52W", "churn.learning_rate": "0.05"}
    assert run.data.metrics == {"mae": 0.78, "mae_low": 0.74, "mae_high": 0.82, "customers": 3}
    assert run.data.tags["who"] == "me"
    assert run.inputs.dataset_inputs[0].dataset.digest == "f" * 36
    folder = Path(client.download_artifacts(model.run_id, ""))
    assert json.loads((folder / "label_specification.json").read_text()) == LABELS
    assert pd.read_csv(folder / "metrics.csv")["low"].tolist()[0] == 0.74
    assert pd.read_csv(folder / "tables" / "leaderboard.csv")["model"].tolist() == ["'=BG/NBD"]
    assert (folder / "figures" / "tracking.png").read_bytes().startswith(b"\x89PNG")
    version = client.get_model_version_by_alias("full", "challenger")
    assert (version.version, version.run_id) == (model.version, model.run_id)
    logged = client.get_logged_model(version.source.removeprefix("models:/"))
    assert logged.status == "READY"
    assert {metric.key for metric in logged.metrics} == {"mae", "mae_low", "mae_high", "customers"}


@pytest.mark.parametrize("id_type", ["integer", "text"])
def test_the_model_predicts_like_its_bundle_without_pickle(shelf, monkeypatch, id_type):
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = train(shelf, f"pyfunc-{id_type}", bundle=a_bundle(id_type))
    loaded = mlflow.pyfunc.load_model(model.uri)
    rows = invented_transactions(a_bundle(id_type).manifest)
    scores = loaded.predict(rows)
    expected = a_bundle(id_type).score(rows, "2017-07-01")
    assert scores["customer_id"].tolist() == expected["customer_id"].tolist()
    assert scores["sum"].tolist() == expected["sum"].tolist()
    assert scores["share"].tolist() == [None] * 3
    plain = loaded.predict(rows.assign(customer_id=range(len(rows))))  # as a file gives them
    assert len(plain) == len(rows)
    assert isinstance(plain["customer_id"].iloc[0], str) == (id_type == "text")
    earlier = loaded.predict(rows, params={"cutoff": "2017-03-01"})
    assert earlier["count"].sum() < scores["count"].sum()
    assert (earlier["cutoff"] == pd.Timestamp("2017-03-01")).all()


def test_the_signature_names_every_input_and_the_cutoff(shelf):
    model = train(shelf, "signature", bundle=a_bundle("text", ("margin", "category", "order_id")))
    signature = mlflow.models.get_model_info(model.uri).signature
    columns = {c["name"]: (c["type"], c["required"]) for c in signature.inputs.to_dict()}
    assert columns == {
        "customer_id": ("any", True),
        "timestamp": ("any", True),
        "amount": ("any", True),
        "margin": ("any", False),
        "category": ("any", False),
        "order_id": ("any", False),
    }
    params = [(p.name, p.default) for p in signature.params]
    assert params == [("cutoff", "2017-07-01"), ("budget", None), ("lang", "en")]
    assert {"tier", "cutoff", "sum"} < {c["name"] for c in signature.outputs.to_dict()}


def test_a_model_of_a_log_without_amounts_asks_for_none():
    counted = Manifest(cutoff="2024-01-01", reading={"transactions": {"without_amounts": True}})
    amount = next(
        column
        for column in input_columns({"transactions": ("customer_id", "timestamp", "amount")})
        if column.name == "amount"
    )
    assert not runs._input_column(amount, counted).required
    assert runs._input_column(amount, Manifest(cutoff="2024-01-01")).required


def test_no_file_of_a_logged_model_is_a_pickle(shelf):
    model = train(shelf, "files")
    folder = Path(mlflow.artifacts.download_artifacts(model.uri))
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {
        "",
        ".json",
        ".yaml",
        ".txt",
        ".py",
        ".typed",
        ".sha256",
        ".jinja",
        ".css",
        ".js",
    }
    assert (folder / "code" / "crmml" / "tracking" / "pyfunc.py").is_file()
    assert (folder / "requirements.txt").read_text().splitlines() == requirements()
    assert all("==" in line for line in requirements())


def test_a_failed_training_is_marked_and_registers_nothing(shelf):
    class Broken(TotalBundle):
        def score(self, transactions: pd.DataFrame, cutoff: str, **how: Any) -> pd.DataFrame:
            raise ZeroDivisionError("a defect, not the server's refusal")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        train(shelf, "broken", bundle=Broken(a_bundle().manifest))
    client = MlflowClient(shelf.uri)
    latest = client.search_runs([shelf.id], order_by=["start_time DESC"], max_results=1)[0]
    assert latest.info.status == "FAILED"
    assert "broken" not in [model.name for model in client.search_registered_models()]


def test_the_example_holds_invented_customers_only():
    manifest = a_bundle("text", ("category", "quantity", "currency")).manifest
    rows = invented_transactions(manifest)
    assert rows["customer_id"].unique().tolist() == ["customer 1", "customer 2", "customer 3"]
    assert (rows["timestamp"] < pd.Timestamp("2017-07-01")).all()
    assert list(rows) == ["customer_id", "timestamp", "amount", "category", "quantity"]


# ------------------------------------------------------------------------------- registry


def test_a_bundle_comes_back_from_the_registry(shelf):
    model = train(shelf, "back")
    for name in (model.uri, "models:/back@challenger"):
        assert load_registered(name, uri=shelf.uri).to_files() == a_bundle().to_files()
    set_alias("back", "champion", model.version, uri=shelf.uri)
    assert load_registered("models:/back@champion", uri=shelf.uri).manifest.id_type == "integer"


def test_what_is_not_in_the_registry_is_named(shelf):
    train(shelf, "known")
    with pytest.raises(TrackingError, match="no model 'nobody' is registered"):
        load_registered("models:/nobody@champion", uri=shelf.uri)
    with pytest.raises(TrackingError, match=r"no alias 'champion'; its aliases: challenger = 1"):
        load_registered("models:/known@champion", uri=shelf.uri)
    with pytest.raises(TrackingError, match="no version 7"):
        load_registered("models:/known/7", uri=shelf.uri)
    with pytest.raises(TrackingError, match="no version 7"):
        set_alias("known", "champion", 7, uri=shelf.uri)
    with pytest.raises(ParameterError, match="model must be like"):
        load_registered("known", uri=shelf.uri)


def test_a_model_that_is_no_bundle_or_is_damaged_is_named(shelf):
    model = train(shelf, "damaged")
    client = MlflowClient(shelf.uri)
    version = client.get_model_version("damaged", str(model.version))
    stored = client.get_logged_model(version.source.removeprefix("models:/")).artifact_location
    part = Path(stored.removeprefix("file://")) / "artifacts" / "bundle" / "part.json"
    part.write_text('{"r": 99}')
    with pytest.raises(BundleError, match=r"part\.json does not match its SHA-256"):
        load_registered(model.uri, uri=shelf.uri)
    for file in part.parent.iterdir():
        file.unlink()
    part.parent.rmdir()
    with pytest.raises(BundleError, match="holds no crmml bundle"):
        load_registered(model.uri, uri=shelf.uri)


# ------------------------------------------------------------------------------- promotion


def errors(mean: float, spread: float = 0.05, metric: str = "mae") -> dict[str, Any]:
    """Metrics and replicates of a training: the same customers in each replicate of all of them."""
    draws = mean + np.linspace(-spread, spread, 41)[None, :]
    return {
        "metrics": {metric: (mean, mean - spread, mean + spread)},
        "replicates": Replicates([("served", metric)], np.array([mean]), draws),
    }


def challenge(shelf: Experiment, name: str, again: Reevaluation | None = None) -> Any:
    return promote(name, metric="mae", again=again, uri=shelf.uri)


def champion(shelf: Experiment, name: str) -> int:
    return int(MlflowClient(shelf.uri).get_registered_model(name).aliases["champion"])


def test_a_champion_is_replaced_only_by_one_that_is_better_beyond_chance(shelf):
    train(shelf, "duel", **errors(0.78))
    first = challenge(shelf, "duel")
    assert (first.promoted, first.version, first.previous) == (True, 1, None)
    assert "is the first champion: it meets all its gates (beats the recency" in first.reason
    assert "champion already" in challenge(shelf, "duel").reason

    train(shelf, "duel", **errors(0.80))
    worse = challenge(shelf, "duel")
    assert not worse.promoted
    assert worse.reason == (
        "version 2 of duel is not promoted: mae is 0.8, the champion has 0.78 (lower is better; "
        "difference +0.02, 90 % interval +0.02 to +0.02)"
    )
    train(shelf, "duel", **errors(0.77, spread=0.2))
    tie = challenge(shelf, "duel")
    assert not tie.promoted
    assert "difference -0.01, 90 % interval -0.15 to +0.12), which is a tie" in tie.reason
    train(shelf, "duel", **errors(0.70, metric="rmse"))
    assert "version 4 logged no replicates of mae" in challenge(shelf, "duel").reason
    assert champion(shelf, "duel") == 1

    train(shelf, "duel", **errors(0.77))  # by little, but for every replicate of the customers
    better = challenge(shelf, "duel")
    assert (better.promoted, better.version, better.previous) == (True, 5, 1)
    assert "replaces version 1: mae is 0.77, the champion has 0.78" in better.reason
    assert champion(shelf, "duel") == 5


def test_more_may_be_better(shelf):
    def meet() -> Any:
        return promote("gini", metric="gini", uri=shelf.uri)

    train(shelf, "gini", **errors(0.60, metric="gini"))
    train_and_say = [meet()]
    train(shelf, "gini", **errors(0.55, metric="gini"))
    train_and_say.append(meet())
    train(shelf, "gini", **errors(0.65, metric="gini"))
    train_and_say.append(meet())
    assert [said.promoted for said in train_and_say] == [True, False, True]
    assert "higher is better" in train_and_say[1].reason


def test_of_a_bias_the_nearer_to_zero_is_better_and_an_unknown_metric_is_refused(shelf):
    said = []
    for value in (-0.5, 0.3, -0.9):
        train(shelf, "bias", **errors(value, metric="bias"))
        said.append(promote("bias", metric="bias", uri=shelf.uri))
    assert [one.promoted for one in said] == [True, True, False]
    assert "nearer to 0 is better" in said[1].reason
    with pytest.raises(ParameterError, match="metric must be one of"):
        promote("bias", metric="biased", uri=shelf.uri)


def test_on_other_data_the_champion_is_evaluated_again(shelf):
    train(shelf, "drift", **errors(0.78))
    challenge(shelf, "drift")
    newer, labels = "e" * 64, {**LABELS, "cutoffs": ["2017-04-01"]}
    judged: list[Any] = []

    def judge(bundle: Any) -> Replicates:
        judged.append(bundle.manifest.id_type)
        return errors(0.90)["replicates"]

    train(shelf, "drift", **errors(0.80), data_fingerprint=newer, label_specification=labels)
    alone = challenge(shelf, "drift").reason
    assert "(version 1) was evaluated on other data; give the challenger's configuration" in alone
    assert "crmml promote --config" in alone
    stale = challenge(shelf, "drift", Reevaluation("f" * 64, labels, judge)).reason
    assert "does not give the data that it was trained on" in stale
    other = challenge(shelf, "drift", Reevaluation(newer, LABELS, judge)).reason
    assert "does not give the label specification that it was trained on" in other
    assert judged == []

    def unfair(bundle: Any) -> Replicates:
        raise ComparisonError("the champion knows a part of the window")

    assert "not promoted: the champion knows" in (
        challenge(shelf, "drift", Reevaluation(newer, labels, unfair)).reason
    )
    found = challenge(shelf, "drift", Reevaluation(newer, labels, judge))
    assert (found.promoted, found.previous, judged) == (True, 1, ["integer"])
    assert "mae is 0.8, the champion has 0.9 (lower is better; difference -0.1" in found.reason


def test_even_the_first_champion_must_meet_the_recorded_gates(shelf):
    train(shelf, "gates", gates={**GATES, "is calibrated": False})
    assert "its training missed 1 of 2 gates (is calibrated)" in challenge(shelf, "gates").reason
    train(shelf, "gates", gates={})
    assert "recorded no gates" in challenge(shelf, "gates").reason
    assert "champion" not in MlflowClient(shelf.uri).get_registered_model("gates").aliases


# ------------------------------------------------------------------------------- the server


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_missing_server_is_one_sentence_without_its_password(shelf):
    address = f"http://someone:secret@127.0.0.1:{closed_port()}"
    with pytest.raises(
        TrackingError, match=r"no MLflow server answers at http://\*{3}@127"
    ) as caught:
        start(address)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_the_environment_names_the_server_and_artifacts_lie_beside_the_database(
    shelf, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shelf.uri)
    home = start(experiment="another")
    assert home.uri == shelf.uri
    location = MlflowClient(shelf.uri).get_experiment(home.id).artifact_location
    beside = Path(shelf.uri.removeprefix("sqlite:///")).parent / "mlruns"
    assert location == beside.resolve().as_uri()
    assert runs.DEFAULT_URI == "sqlite:///mlflow.db"


def test_processes_that_start_together_do_not_race(tmp_path):
    """Two processes on a fresh file; a server forks them, so MLflow is imported once only."""
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    context.set_forkserver_preload(["crmml.tracking.runs"])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = [pool.submit(start, f"sqlite:///{tmp_path}/mlflow.db") for _ in range(2)]
        homes = [future.result(timeout=120) for future in futures]
    assert len({home.id for home in homes}) == 1, homes


def test_telemetry_is_off():
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_what_killed_trainings_left_is_undone_or_completed(shelf, tmp_path):
    client, dead = MlflowClient(shelf.uri), owner().rpartition("-")[0] + "-999999999"
    home = start(shelf.uri, "killed")
    begun = [train(home, f"killed{number}", shelf=tmp_path) for number in range(2)]
    mine = train(home, "mine", shelf=tmp_path)
    for logged in begun:
        client.set_tag(logged.run_id, OWNER, dead)
    client.update_run(begun[0].run_id, status="RUNNING")
    train(home, "next")
    assert client.search_model_versions("name='killed0'") == []
    assert len(client.search_model_versions("name='killed1'")) == 1
    assert (tmp_path / "1" / "manifest.json").is_file()
    states = [client.get_run(logged.run_id) for logged in (*begun, mine)]
    assert [run.info.status for run in states] == ["KILLED", "FINISHED", "FINISHED"]
    assert [OWNER in run.data.tags for run in states] == [False, False, True]
