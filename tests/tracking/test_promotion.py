"""From real trainings to the registry: columns of every kind, nobody's id, fair comparisons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient

import crmml
from crmml.config import Config, parse_config
from crmml.exceptions import ComparisonError
from crmml.storage.fingerprint import fingerprint
from crmml.testing.simulate import simulate_world
from crmml.tracking.registry import Reevaluation, load_registered, promote
from crmml.tracking.runs import Experiment, LoggedModel, invented_transactions, log_training, start
from crmml.training.opening import open_configured
from crmml.training.pipeline import TrainingResult
from crmml.training.plan import specify_labels
from crmml.training.served import evaluate_champion

TILL = "till-7_of_the_shop"


def configure(**sections: Any) -> Config:
    settings = {
        "backtest": {"candidates": ["mbg_nbd"], "bootstrap": 20, "max_windows": 1},
        "data": {"policies": {"test_customers": [TILL]}},
        "tracking": {"uri": "https://me:hidden-word@nowhere.example"},
    }
    return parse_config({**settings, **sections})


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    rows = simulate_world(200, seed=3, weeks=60, tables=()).transactions
    rows = rows.assign(customer_id="c" + rows["customer_id"].astype(str))
    till = rows.head(30).assign(customer_id=TILL)
    return pd.concat([rows, till], ignore_index=True)


@pytest.fixture(scope="module")
def trained(lines) -> TrainingResult:
    return crmml.train(configure(), lines)


@pytest.fixture(scope="module")
def early(trained, lines) -> TrainingResult:
    """Train with the same settings on what was known when the newest window began."""
    opens = trained.backtest.windows[-1].labelled.window.cutoff
    return crmml.train(configure(cutoff=str(opens.date())), lines)


@pytest.fixture(scope="module")
def home(tmp_path_factory, fresh_mlflow) -> Iterator[Experiment]:
    yield start(fresh_mlflow(tmp_path_factory.mktemp("promotion")))
    mlflow.set_tracking_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)


def log(result: TrainingResult, home: Experiment, name: str) -> LoggedModel:
    return log_training(
        bundle=result.bundle,
        params=result.config.shareable(),
        metrics=result.metrics,
        replicates=result.replicates,
        data_fingerprint=fingerprint(result.tables),
        label_specification=result.label_specification,
        gates={"was trained": True},
        tables={"notes": pd.DataFrame({"note": list(result.notes)})},
        name=name,
        experiment=home,
    )


@pytest.fixture(scope="module")
def logged(trained, home) -> LoggedModel:
    return log(trained, home, "columns")


def test_a_shop_with_channels_margins_and_categories_is_logged_and_predicts(trained, logged):
    assert {"channel", "margin", "category"} <= set(trained.bundle.manifest["columns"])
    example = invented_transactions(trained.bundle.manifest)
    assert set(example["channel"]) <= set(trained.bundle.manifest["channels"])
    served = mlflow.pyfunc.load_model(logged.uri).predict(example)
    expected = trained.bundle.score(example)
    assert served["customer_id"].tolist() == ["customer 1", "customer 2", "customer 3"]
    assert served["clv"].tolist() == pytest.approx(expected["clv"].tolist(), rel=1e-12)


def test_nobodys_id_and_no_password_is_stored(trained, home, logged):
    folder = Path(MlflowClient(home.uri).download_artifacts(logged.run_id, ""))
    stored = Path(mlflow.artifacts.download_artifacts(logged.uri))
    files = [path for root in (folder, stored) for path in root.rglob("*") if path.is_file()]
    written = [path.read_bytes() for path in files if "code" not in path.parts]
    run = MlflowClient(home.uri).get_run(logged.run_id).data
    written.append(repr((run.params, run.tags)).encode())
    assert len(written) > 15
    for secret in (TILL, "hidden-word"):
        assert not [text for text in written if secret.encode() in text]
    assert run.params["data.policies.test_customers"] == "1"
    assert trained.bundle.manifest["test_customers_left_out"] == 1
    assert trained.label_specification["policies"]["test_customers"] == 1
    assert TILL not in trained.scores.table["customer_id"].tolist()


def test_a_stored_bundle_is_judged_on_a_window_like_the_training_judged_its_own(trained, early):
    found = evaluate_champion(early.bundle, configure(), trained.tables)
    assert found.rows == trained.replicates.rows
    np.testing.assert_allclose(found.values, trained.replicates.values, rtol=1e-9)
    np.testing.assert_allclose(found.draws, trained.replicates.draws, rtol=1e-9)


def test_what_would_not_be_fair_is_refused_with_the_date_from_which_it_is(trained):
    window = trained.backtest.windows[-1].labelled.window
    cutoff = pd.Timestamp(trained.bundle.manifest["created_for_cutoff"])
    ready = cutoff + (window.closes - window.cutoff)
    with pytest.raises(ComparisonError, match=rf"knows a part .* run to {ready.date()} can"):
        evaluate_champion(trained.bundle, configure(), trained.tables)
    with pytest.raises(ComparisonError, match="the horizon 13W, the other with 9W"):
        evaluate_champion(trained.bundle, configure(outcome={"horizon": "9W"}), trained.tables)


def test_newer_data_need_a_judgement_and_the_same_recipe_is_a_tie(trained, early, home, lines):
    champion = log(early, home, "shop")
    assert promote("shop", uri=home.uri).promoted
    log(trained, home, "shop")
    tables = open_configured(configure(), lines)
    again = Reevaluation(
        fingerprint(tables),
        specify_labels(configure(), tables),
        lambda bundle: evaluate_champion(bundle, configure(), tables),
    )
    alone = promote("shop", uri=home.uri)
    assert "was evaluated on another label specification; give the challenger's" in alone.reason
    # The champion was trained at the very cutoff at which the challenger's twin was.
    tie = promote("shop", again=again, uri=home.uri)
    assert not tie.promoted
    assert "difference +0, 90 % interval +0 to +0), which is a tie" in tie.reason
    assert load_registered("models:/shop@champion", uri=home.uri).version == (
        load_registered(champion.uri, uri=home.uri).version
    )
