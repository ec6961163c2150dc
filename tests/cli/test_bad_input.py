"""Bad input, given to the command line: one sentence, exit code 2, no trace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SMALL = (
    *("--set", "backtest.bootstrap=20", "--set", "backtest.max_windows=1"),
    *("--set", "backtest.candidates=[mbg_nbd,heuristic]"),
)
NOTHING_LISTENS = "http://127.0.0.1:9"


def listing(folder: Path) -> dict[str, bytes]:
    """Every file with its content, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"a folder"
        for path in folder.rglob("*")
        if not path.name.startswith("mlflow.db")  # the tracking store may have been made
    }


Refused = Callable[..., str]


@pytest.fixture
def refused(command_line) -> Refused:
    """Run what must fail without a trace, and return the one sentence."""

    def refused(folder: Path, *arguments: str) -> str:
        before = listing(folder)
        done = command_line.here(folder, *arguments)
        assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("crmml: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr) < 1000, done.stderr
        assert listing(folder) == before
        return done.stderr.removeprefix("crmml: ").strip()

    return refused


@pytest.fixture(scope="module")
def log(cdnow_eighth) -> pd.DataFrame:
    return cdnow_eighth


Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table and a configuration that names it; say the configuration's name."""

    def write(rows: pd.DataFrame | str | bytes, more: str = "") -> str:
        target = tmp_path / "log.csv"
        if isinstance(rows, pd.DataFrame):
            rows.to_csv(target, index=False)
        else:
            target.write_bytes(rows.encode() if isinstance(rows, str) else rows)
        config = "data:\n  transactions: {path: log.csv}\n" + more
        (tmp_path / "job.yaml").write_text(config, encoding="utf-8")
        return "job.yaml"

    return write


# ------------------------------------------------------------------------------- the data


def spoil(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Put one wrong value into the fourth row."""

    def spoilt(rows: pd.DataFrame) -> pd.DataFrame:
        changed = (
            rows.astype({column: object}) if column in rows else rows.assign(**{column: "EUR"})
        )
        changed.loc[3, column] = value
        return changed

    return spoilt


BAD_ROWS = {
    "a missing column": (
        lambda rows: rows.drop(columns="amount"),
        ("missing column", "'amount'", "'customer_id', 'timestamp'"),
    ),
    "a wrong type": (spoil("amount", "plenty"), ("'amount'", "1 row", "'plenty'")),
    "an unparsable date": (spoil("timestamp", "someday"), ("'timestamp'", "1 row", "'someday'")),
    "an unlikely date": (spoil("timestamp", "2997-01-01"), ("'timestamp'", "1 row", "1970")),
    "two currencies": (spoil("currency", "USD"), ("one currency", "EUR", "USD", "1 row")),
    "no rows": (lambda rows: rows.iloc[:0], ("at least one row",)),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused_and_the_next_run_works(
    command_line, refused, case, write, log, tmp_path
):
    change, words = BAD_ROWS[case]
    config = write(change(log))
    sentence = refused(tmp_path, "train", "--config", config, *SMALL)
    for word in words:
        assert word in sentence, sentence
    if case == "a missing column":  # the same folder, the data mended
        done = command_line.here(tmp_path, "check", "--config", write(log))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "empty"),
        (bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)), "log.csv"),
    ],
    ids=["an empty file", "binary garbage"],
)
def test_a_file_without_a_table_is_refused_by_init_and_check(
    refused, content, word, write, tmp_path
):
    config = write(content)
    assert word in refused(tmp_path, "check", "--config", config)
    assert word in refused(tmp_path, "init", "log.csv", "--out", "new.yaml")


def test_a_file_that_is_not_there_is_named(refused, tmp_path, write, log):
    config = write(log)
    (tmp_path / "log.csv").rename(tmp_path / "other.csv")
    assert "log.csv: there is no such file" in refused(tmp_path, "check", "-c", config)
    assert "no.csv: there is no such file" in refused(tmp_path, "init", "no.csv")
    assert "no.yaml" in refused(tmp_path, "check", "-c", "no.yaml")
    assert "job.yaml is there already" in refused(tmp_path, "init", "other.csv", "-o", "job.yaml")


def test_duplicate_customers_are_counted(refused, write, log, tmp_path):
    ids = log["customer_id"].iloc[[0, 0, -1]]
    pd.DataFrame({"customer_id": ids, "industry": "x"}).to_csv(tmp_path / "people.csv")
    config = write(log, "  customers: {path: people.csv}\n")
    sentence = refused(tmp_path, "train", "-c", config, *SMALL)
    assert "customer_id must be unique" in sentence
    assert "'customers'" in sentence
    assert "2 rows break it" in sentence


def test_cutoffs_before_all_data_and_no_date_at_all(refused, write, log, tmp_path):
    config = write(log)
    sentence = refused(tmp_path, "backtest", "-c", config, "--set", "cutoff='1990-01-01'")
    assert "nothing lies before the cutoff 1990-01-01" in sentence
    assert "1997-01-0" in sentence
    sentence = refused(tmp_path, "backtest", "-c", config, "--set", "cutoff=yesterday")
    assert "cutoff" in sentence
    assert "yesterday" in sentence
    sentence = refused(tmp_path, "score", "-c", config, "--cutoff", "yesterday", "--out", "out")
    assert sentence.startswith("--cutoff must be a date like '2024-01-31', or a moment like")
    assert sentence.endswith("got 'yesterday'")


def test_customers_with_one_purchase_each_and_a_short_history(refused, write, log, tmp_path):
    once = log.assign(customer_id=range(len(log)))
    sentence = refused(tmp_path, "train", "-c", write(once), *SMALL)
    assert "repeat" in sentence or "once" in sentence, sentence
    short = log[log["timestamp"] < "1997-05-01"]
    sentence = refused(tmp_path, "backtest", "-c", write(short), *SMALL)
    assert "the data span" in sentence
    assert "13W" in sentence


def test_negative_and_zero_amounts_work_and_are_counted(
    command_line, refused, write, log, tmp_path
):
    amounts = log["amount"].copy()
    amounts[::50], amounts[1::50] = -5.0, 0.0
    config = write(log.assign(amount=amounts))
    n_negative, n_zero = int((amounts < 0).sum()), int((amounts == 0).sum())
    done = command_line.here(tmp_path, "check", "-c", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"policy returns=net: {n_negative:,} lines" in done.stdout
    assert f"policy zero_amounts=keep_as_purchase: {n_zero:,} lines" in done.stdout
    refusal = refused(tmp_path, "check", "-c", config, "--set", "data.policies.returns=error")
    assert f"{n_negative:,} rows break it" in refusal
    done = command_line.process(tmp_path, "backtest", "-c", config, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "is chosen" in done.stdout
    for line in done.stderr.splitlines():  # what a fit had to say, and no noise of Python
        assert line.startswith("crmml: note: "), done.stderr
    assert len(set(done.stderr.splitlines())) == done.stderr.count("\n")


# ------------------------------------------------------------------------------- the settings


def test_misspelt_keys_and_broken_settings(refused, write, log, tmp_path):
    config = write(log, "outcome: {horizn: 13W}\n")
    sentence = refused(tmp_path, "train", "-c", config)
    assert "unknown key 'outcome.horizn'; did you mean 'horizon'?" in sentence
    (tmp_path / "broken.yaml").write_text("data: {transactions: [path: log.csv\n")
    assert "not valid YAML" in refused(tmp_path, "train", "-c", "broken.yaml")
    (tmp_path / "empty.yaml").write_text("{}")
    assert "name the transactions" in refused(tmp_path, "train", "-c", "empty.yaml")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("horizon", "--set takes key=value"),
        ("outcome.horizon=13 years", "a duration is"),
        ("outcome.horizon=13 months", "go with the grains of these names"),
        ("outcome.horizon=13", "outcome.horizon"),
        ("actions.budget=-1", "actions.budget"),
        ("actions.budgt=5", "did you mean 'budget'"),
        ("seed.deep=5", "not a section"),
        ("tiers.shares=[1,2", "not valid YAML"),
        ("backtest.candidates=[magic]", "magic"),
    ],
)
def test_mistaken_overrides(refused, override, words, write, log, tmp_path):
    config = write(log, "seed: 1\n")
    assert words in refused(tmp_path, "train", "-c", config, "--set", override)


CATALOGUE = """
version: "1"
actions:
  - name: call
    purpose: retain
    channels: [phone]
    contact_cost: 1
    horizon: 26W
    eligible: {eligible}
    save_rate: {{mean: 0.1, sample_size: 20}}
"""


@pytest.mark.parametrize(
    ("eligible", "word"),
    [
        ("wealth > 3", "wealth"),
        ("__import__('os').system('touch hacked')", "__import__"),
        ("churn_probability >", "churn_probability"),
    ],
    ids=["an unknown column", "code", "half a condition"],
)
def test_a_catalogue_that_cannot_be_read_or_runs_code(
    refused, eligible, word, write, log, tmp_path
):
    text = CATALOGUE.format(eligible=json.dumps(eligible))
    (tmp_path / "actions.yaml").write_text(text, encoding="utf-8")
    config = write(log, "actions: {catalogue: actions.yaml}\n")
    assert word in refused(tmp_path, "train", "-c", config, *SMALL)


# ------------------------------------------------------------------------------- the shelves


def test_a_bundle_from_a_newer_format_or_none_or_damaged(refused, write, log, tmp_path):
    score = ("score", "-c", write(log), "--out", "out", "--model")
    assert "no bundle at models/nothing" in refused(tmp_path, *score, "models/nothing")
    bundle = tmp_path / "models" / "crmml" / "1"
    bundle.mkdir(parents=True)
    manifest = {"format_version": 99, "crmml_version": "9.0", "hashes": {}}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    sentence = refused(tmp_path, *score, "models/crmml/1")
    assert "has format 99, written by crmml 9.0" in sentence
    assert "update crmml" in sentence
    (bundle / "manifest.json").write_text("{")
    assert "damaged" in refused(tmp_path, *score, "models/crmml/1")


def test_a_labelled_table_that_carries_no_model_is_refused(refused, tmp_path):
    rows = pd.DataFrame({"customer_id": [1, 2, 3], "outcome": [0, 1, 0], "calls": [1, 4, 2]})
    rows.to_csv(tmp_path / "people.csv", index=False)
    (tmp_path / "job.yaml").write_text("data: {labelled: {path: people.csv}}\n", encoding="utf-8")
    assert "too few customers: 3" in refused(tmp_path, "train", "-c", "job.yaml")
    sentence = refused(tmp_path, "backtest", "-c", "job.yaml")
    assert "given are 'labelled'" in sentence


def test_a_missing_mlflow_server_is_told_within_seconds(refused, write, log, tmp_path):
    config = write(log)
    uri = f"tracking.uri={NOTHING_LISTENS}"
    for command in (
        ("train", "-c", config, "--set", uri),
        ("promote", "--tracking-uri", NOTHING_LISTENS),
    ):
        started = time.monotonic()
        sentence = refused(tmp_path, *command)
        assert f"no MLflow server answers at {NOTHING_LISTENS}" in sentence
        assert time.monotonic() - started < 60, "MLflow's own patience is minutes"


def test_outputs_that_cannot_be_written_are_refused_before_the_work(refused, write, log, tmp_path):
    config = write(log)
    for out in ("log.csv", "log.csv/deeper", "log.csv/base.duckdb"):
        sentence = refused(tmp_path, "score", "-c", config, "--out", out)
        assert f"cannot write to {out}" in sentence
    assert "cannot write" in refused(tmp_path, "backtest", "-c", config, "--out", "log.csv/x")
    (tmp_path / "models").write_text("a file")
    assert "cannot write to models/crmml" in refused(tmp_path, "train", "-c", config)
    assert "cannot write" in refused(tmp_path, "init", "log.csv", "--out", "log.csv/x.yaml")


def test_what_to_score_is_given_once_and_in_a_known_format(refused, write, log, tmp_path):
    config = write(log)
    assert "--config and --transactions" in refused(tmp_path, "score", "--out", "out")
    both = ("score", "-c", config, "--transactions", "log.csv", "--out", "out")
    assert "--config and --transactions" in refused(tmp_path, *both)
    assert "parquet or csv" in refused(tmp_path, "score", "-c", config, "--format", "xlsx")
