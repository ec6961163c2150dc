"""A newcomer with nothing but a labelled table: look, check, train, promote, score, explain."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import yaml


@pytest.fixture(scope="module")
def printed(labelled_shelf):
    return json.loads((labelled_shelf.folder / "printed.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(labelled_shelf, command_line):
    def call(*arguments: str, code: int = 0) -> str:
        done = command_line.here(labelled_shelf.folder, *arguments)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else " ".join(done.stderr.split())

    return call


def test_init_recognises_the_table_and_its_outcome(labelled_shelf, printed):
    source = yaml.safe_load((labelled_shelf.folder / "crmml.yaml").read_text("utf-8"))["data"]
    assert source["labelled"]["columns"] == {"customer_id": "ID", "outcome": "Churn"}
    assert "people.csv is the table labelled" in printed["init"]


def test_check_says_what_can_be_learned_and_what_not(printed):
    assert "a model of the outcome can be trained" in printed["check"]
    assert "column 'Reason'" in printed["check"]
    assert "leaks cannot be excluded" in printed["check"]


def test_train_and_promote_print_the_judgement(printed):
    assert "logistic is chosen" in printed["train"]
    assert "against 'Calls' alone" in printed["train"] or "'Contract' alone" in printed["train"]
    assert "column 'Reason'" in printed["train"]
    assert "is the first champion" in printed["promote"]


def test_new_rows_are_scored_alike_each_time(labelled_shelf, people, run, tmp_path):
    people.drop(columns=["Churn", "Reason"]).head(60).to_csv(tmp_path / "new.csv", index=False)
    for out in ("one", "two"):
        run("score", "--rows", str(tmp_path / "new.csv"), "--out", str(tmp_path / out))
    one, two = (tmp_path / o / "labelled_scores.parquet" for o in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    scores = pd.read_parquet(one)
    assert len(scores) == 60
    assert {"churn_probability", "contact_pays", "churn_reasons", "model_version"} <= {*scores}
    run("score", "-c", "crmml.yaml", "--out", str(tmp_path / "all.duckdb"))
    why = run("explain", "--rows", str(tmp_path / "new.csv"), "--customer", "k0003")
    assert "Contract" in why and "those of the mean customer" in why


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("score -c crmml.yaml --cutoff 2024-01-01", "a labelled table has no time"),
        ("score --model models/crmml/1", "--rows); got 'neither'"),
        ("score -c crmml.yaml --rows new.csv", "--rows); got 'both'"),
        ("backtest -c crmml.yaml", "the table 'transactions' is needed"),
        ("diff models/crmml/1 models/crmml/1", "a labelled table has no tiers"),
        ("explain -c crmml.yaml --customer nobody", "not among the rows"),
    ],
)
def test_what_such_a_table_cannot_do_is_refused_in_a_sentence(run, command, sentence):
    assert sentence in run(*command.split(), code=2)


def test_a_table_that_says_nothing_is_promoted_by_force_only(people, command_line, tmp_path):
    lottery = people[["ID", "Since"]].assign(Churn=["Yes", "No"] * (len(people) // 2))
    lottery.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "job.yaml").write_text(
        "backtest: {bootstrap: 20}\n"
        "data: {labelled: {path: people.csv, columns: {customer_id: ID, outcome: Churn}}}\n"
    )
    assert command_line.here(tmp_path, "train", "-c", "job.yaml").returncode == 0
    assert "missed 1 of 1 gates" in command_line.here(tmp_path, "promote").stdout
    assert "is champion by force" in command_line.here(tmp_path, "promote", "--force").stdout
