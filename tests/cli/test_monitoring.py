"""``crmml monitor`` as a command: exit codes, files, and a run of its own in MLflow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from crmml.storage.scores import write_scores

CUTOFF = pd.Timestamp("2022-01-03")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return a folder with scores of the truth, and data in which half of it happened later."""
    folder, rng = tmp_path_factory.mktemp("watched"), np.random.default_rng(2)
    rate, n = rng.gamma(1.0, 0.3, 400), 400
    bought = rng.random((n, 20)) < 1.0 - np.exp(-rate)[:, None]
    bought[:, 0] = True
    bought[0, -1] = True
    parts = {
        "quiet": bought,
        "slow": bought & (rng.random((n, 20)) < np.where(np.arange(20) < 10, 1.0, 0.4)),
    }
    for name, what in parts.items():
        who, week = np.nonzero(what)
        at = CUTOFF + pd.to_timedelta(7 * (week - 10), unit="D")
        log = pd.DataFrame({"customer_id": who, "timestamp": at,
                            "amount": rng.gamma(4.0, 5.0, len(who)).round(2)})  # fmt: skip
        log = pd.concat([log, log.tail(1).assign(timestamp=CUTOFF + pd.Timedelta(days=69))])
        log.to_csv(folder / f"{name}.csv", index=False)
        columns = "columns: {customer_id: customer_id, timestamp: timestamp, amount: amount}"
        text = (
            f"data: {{transactions: {{path: {name}.csv, {columns}}}}}\noutcome: {{horizon: 8W}}\n"
        )
        (folder / f"{name}.yaml").write_text(text)
    p = 1.0 - np.exp(-rate)
    last = np.array([np.flatnonzero(row[:10])[-1] for row in bought])
    scores = pd.DataFrame({
        "customer_id": np.arange(n), "inactivity": 10.0 - last, "T": 10.0,
        "expected_purchases": 8 * p, "expected_spend": 160 * p, "churn_probability": (1 - p) ** 8,
        "purchases_lower": poisson.ppf(0.1, 8 * p), "purchases_upper": poisson.ppf(0.9, 8 * p),
        "value_tier": np.where(p > 0.3, "A", "B"), "model_version": "true",
    })  # fmt: skip
    write_scores(scores, folder / "scores", CUTOFF)
    return folder


def test_an_alarm_is_exit_code_3_and_a_quiet_run_0(watched, command_line):
    ask = ("monitor", "--scores", "scores", "--horizon", "8W")
    quiet = command_line.here(watched, *ask, "--config", "quiet.yaml")
    assert quiet.returncode == 0, quiet.stderr + quiet.stdout
    assert "No alarm in 1 closed window(s)" in quiet.stdout
    alarm = command_line.here(watched, *ask, "--config", "slow.yaml", "--out", "watch")
    assert alarm.returncode == 3, alarm.stderr
    assert "ALARM (level)" in alarm.stdout
    assert "recalibrate" in alarm.stdout
    stored = json.loads((watched / "watch" / "monitor.json").read_text(encoding="utf-8"))
    assert stored["advice"] == ["recalibrate"]
    names = {file.name for file in (watched / "watch").iterdir()}
    assert {"windows.csv", "groups.csv", "alarms.csv", "monitor.png"} <= names
    _check_run(watched, alarm.stdout)


def _check_run(folder, said):
    from mlflow.tracking import MlflowClient

    run = said.partition("MLflow run ")[2].split(";")[0].strip()
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.get_run(run)
    assert found.info.status == "FINISHED"
    assert found.data.tags["crmml.kind"] == "monitoring"
    assert found.data.metrics["alarms"] >= 3
    assert {"auc", "purchases_bias", "coverage"} <= set(found.data.metrics)
    files = {file.path for file in client.list_artifacts(run, "tables")}
    assert {"tables/windows.csv", "tables/groups.csv"} <= files
    page = Path(client.download_artifacts(run, "report/report.html")).read_text(encoding="utf-8")
    assert "alarms are open" in page


def test_a_mistake_is_one_sentence_and_exit_code_2(watched, command_line):
    done = command_line.here(watched, "monitor", "--scores", "scores", "--config", "quiet.yaml")
    assert done.returncode == 2
    assert "--horizon must be given for the scores of 2022-01-03" in done.stderr
