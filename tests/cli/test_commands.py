"""The command line as a newcomer uses it: look, check, train, promote, score."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

import crmml
from crmml.cli import jobs
from crmml.storage.files import read_scores

SMALL = (
    *("--set", "backtest.bootstrap=20", "--set", "backtest.max_windows=1"),
    *("--set", "backtest.candidates=[mbg_nbd,heuristic]"),
)
CUTOFF = ("--cutoff", "1998-07-01")
ODD_IDS = ['=HYPERLINK("x")', "🛒 emoji", "مشتری ۱", "-2", 'semi;colon "quoted"']


Run = Callable[..., str]


def succeed(run: Callable[..., Any], folder: Path, *arguments: str, **environment: str) -> str:
    """Run a command that must succeed without a word on stderr; return what it printed."""
    done = run(folder, *arguments, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def run(command_line) -> Run:
    """Run a command that must succeed silently, within this process."""
    return partial(succeed, command_line.here)


@pytest.fixture(scope="module")
def run_process(command_line) -> Run:
    """Run a command that must succeed silently, as a process of its own."""
    return partial(succeed, command_line.process)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Interrupted:
    """A training that was interrupted, and every file with its content before and after."""

    returncode: int
    stdout: str
    stderr: str
    before: dict[str, bytes]
    after: dict[str, bytes]


def listing(folder: Path) -> dict[str, bytes]:
    """Every file with its content, hidden ones too; the tracking store may have been made."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"a folder"
        for path in folder.rglob("*")
        if not path.name.startswith("mlflow.db")
    }


def interrupt(command_line: Any, folder: Path, *arguments: str) -> Interrupted:
    """Begin a training, and interrupt it half a second after its work has begun."""
    before = listing(folder)
    process = subprocess.Popen(
        [command_line.program, *arguments],
        cwd=folder,
        env=command_line.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "mlflow.db").exists():  # made just before the training begins
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return Interrupted(process.returncode, stdout, stderr, before, listing(folder))


@dataclass(frozen=True)
class Shop:
    """A folder in which a newcomer has worked, and what the commands printed."""

    folder: Path
    printed: dict[str, str]
    rows: pd.DataFrame
    interrupted: Interrupted

    @property
    def scores(self) -> pd.DataFrame:
        return read_scores(self.folder / "out", "1998-07-01")


@pytest.fixture(scope="module")
def shop(tmp_path_factory, command_line, run, run_process) -> Shop:
    """A fifth of the CDNOW sample as a German spreadsheet writes it, with odd customer ids."""
    folder = tmp_path_factory.mktemp("shop")
    rows = crmml.load_cdnow(sample=True)
    ids = pd.Series(rows["customer_id"].unique()[::5]).astype(str)
    names = dict(zip(ids, [*ODD_IDS, *("K" + ids.iloc[len(ODD_IDS) :])], strict=True))
    rows = rows[rows["customer_id"].isin(names)].reset_index(drop=True)
    rows["customer_id"] = rows["customer_id"].map(names)
    german = pd.DataFrame(
        {
            "Kundennummer": rows["customer_id"],
            "Datum": rows["timestamp"].dt.strftime("%d.%m.%Y"),
            "Umsatz (EUR)": rows["amount"].map("{:.2f}".format).str.replace(".", ","),
        }
    )
    (folder / "data").mkdir()
    german.to_csv(folder / "data" / "umsatz.csv", sep=";", index=False)
    german.sample(frac=1, random_state=3).to_csv(folder / "shuffled.csv", sep=";", index=False)
    job = ("--config", "crmml.yaml")
    began = run_process(folder, "init", "data/umsatz.csv")
    interrupted = interrupt(command_line, folder, "train", *job, *SMALL)
    printed = {
        "init": began,
        "check": run(folder, "check", *job),
        "train": run_process(folder, "train", *job, *SMALL),
        "promote": run(folder, "promote", "--force"),
        "score": run_process(folder, "score", *job, *CUTOFF, "--out", "out", COLUMNS="80"),
    }
    return Shop(folder, printed, rows, interrupted)


# ------------------------------------------------------------------------------- look and check


def test_init_understands_a_german_file_and_writes_a_commented_configuration(shop):
    text = (shop.folder / "crmml.yaml").read_text(encoding="utf-8")
    source = yaml.safe_load(text)["data"]["transactions"]
    assert source["path"] == "data/umsatz.csv"  # from the configuration's own folder
    assert source["columns"]["amount"] == "Umsatz (EUR)"
    assert (source["delimiter"], source["decimal"]) == (";", ",")
    assert source["date_format"] == "%d.%m.%Y"
    assert text.count("#") > 10
    assert "Next: crmml check --config crmml.yaml" in shop.printed["init"]


def test_check_prints_a_profile(shop):
    page = shop.printed["check"]
    assert f"{shop.rows['customer_id'].nunique():,}" in page
    assert f"{shop.rows['amount'].sum():,.2f}" in page
    assert "1997-01-0" in page
    assert "a closed cohort" in page
    assert "What more data would add" in page


def test_init_finds_the_only_table_of_a_duckdb_file_and_names_several(run, command_line, tmp_path):
    file = tmp_path / "crm.duckdb"
    rows = crmml.load_cdnow(sample=True).head(500)
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE sales AS SELECT * FROM rows")
    (tmp_path / "jobs").mkdir()
    run(tmp_path, "init", "crm.duckdb", "--out", "jobs/one.yaml")
    # named by its full path: it lies outside the configuration's folder
    assert "500" in run(tmp_path, "check", "-c", "jobs/one.yaml")
    with duckdb.connect(str(file)) as connection:
        connection.execute("CREATE TABLE people AS SELECT DISTINCT customer_id FROM rows")
    run(tmp_path, "init", "crm.duckdb", "--table", "sales", "--out", "two.yaml")
    done = command_line.here(tmp_path, "init", "crm.duckdb", "-o", "three.yaml")
    assert done.returncode == 2
    assert "it holds people, sales" in done.stderr
    assert len(rows) == 500


def test_config_prints_every_default_and_can_be_used_again(run, shop):
    text = run(shop.folder, "config", "-c", "crmml.yaml", "--set", "actions.budget=7")
    settings = yaml.safe_load(text)
    assert settings["actions"]["budget"] == 7
    assert settings["outcome"]["gap"] is None
    (shop.folder / "full.yaml").write_text(text, encoding="utf-8")
    assert run(shop.folder, "config", "-c", "full.yaml") == text


# ------------------------------------------------------------------------------- train and promote


def test_train_says_what_was_chosen_and_registers_a_challenger(shop):
    page = shop.printed["train"]
    assert "is chosen" in page
    assert "churn: the history holds" in page  # too short for a learned model, with figures
    costs = "acquisition_cost, service_cost, contact_cost, action_cost, cost_to_serve"
    line = next(one for one in page.splitlines() if one.startswith("* null throughout"))
    assert "customer_profitability, " in line
    assert f", {costs}," in line
    assert "group, contactable" in line
    notes = json.loads((shop.folder / "models" / "crmml" / "1.notes.json").read_text())
    (null,) = [n for n in notes if n["code"] == "null_column" and "profitability" in n["about"]]
    assert null["text"] == "null: the data have no column 'margin' or 'cost'"
    assert "Registered crmml version 1, alias challenger; folder models/crmml/1." in page
    assert "Next: crmml promote" in page
    assert (shop.folder / "models" / "crmml" / "1" / "manifest.json").is_file()


def test_an_interrupt_leaves_nothing_and_the_next_training_works(shop):
    done = shop.interrupted
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert done.stderr == "crmml: interrupted; nothing was left half written\n"
    assert done.after == done.before
    assert "Registered crmml version 1, alias challenger" in shop.printed["train"]
    assert (shop.folder / "models" / "crmml" / "1" / "manifest.json").is_file()


def test_promote_makes_the_first_champion_once(run, shop):
    assert "version 1 of crmml is champion by force" in shop.printed["promote"]
    assert "it is the champion already" in run(shop.folder, "promote")


# ------------------------------------------------------------------------------- score


def test_every_customer_has_one_row_and_odd_ids_survive(shop):
    scores = shop.scores
    assert set(scores["customer_id"]) == set(shop.rows["customer_id"])
    assert scores["customer_id"].is_unique
    assert set(ODD_IDS) <= set(scores["customer_id"])
    assert scores["clv"].notna().all()
    assert scores["churn_probability"].between(0, 1).all()
    assert set(scores["value_tier"]) == set("ABCDE")


def test_the_table_of_tiers_fits_eighty_columns(shop):
    assert "Value tiers on 1998-07-01" in shop.printed["score"]
    table = shop.printed["score"].split("Budget")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_a_folder_bundle_and_shuffled_rows_give_the_same_bytes(run, shop):
    job = yaml.safe_load((shop.folder / "crmml.yaml").read_text(encoding="utf-8"))
    job["data"]["transactions"]["path"] = "shuffled.csv"
    (shop.folder / "shuffled.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    written = shop.folder / "out" / "cutoff=1998-07-01" / "scores.parquet"
    before, files = digest(written), set((shop.folder / "out").rglob("*"))
    page = run(
        shop.folder,
        *("score", "--model", "models/crmml/1", "-c", "shuffled.yaml", *CUTOFF, "-o", "out"),
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",  # a folder needs no server
        COLUMNS="80",
    )
    assert page == shop.printed["score"]
    assert digest(written) == before
    assert set((shop.folder / "out").rglob("*")) == files


def test_csv_is_safe_to_open_in_a_spreadsheet(run, shop):
    run(shop.folder, "score", "-c", "crmml.yaml", *CUTOFF, "-o", "sheet", "--format", "csv")
    path = shop.folder / "sheet" / "cutoff=1998-07-01" / "scores.csv"
    ids = pd.read_csv(path, encoding="utf-8-sig")["customer_id"]
    neutral = {f"'{name}" if name[0] in "=-" else name for name in ODD_IDS}
    assert neutral <= set(ids)
    assert not ids.str.match(r"[=+\-@]").any()


def test_a_database_holds_each_cutoff_once(run, shop):
    score = ("score", "--model", "models/crmml/1", "-c", "crmml.yaml", "-o", "scores.duckdb")
    # the earlier cutoff last: its plans would be the later one's memory of contacts
    for cutoff in ("1998-07-01", "1998-07-01", "1998-04-01"):
        run(shop.folder, *score, "--cutoff", cutoff)
    base = shop.folder / "scores.duckdb"
    with duckdb.connect(str(base), read_only=True) as connection:
        counted = connection.sql("SELECT cutoff, count(*) FROM scores GROUP BY 1").fetchall()
    assert len(counted) == 2
    assert {n for _, n in counted} == {len(shop.scores)}
    pd.testing.assert_frame_equal(read_scores(base, "1998-07-01"), shop.scores)


def test_a_cutoff_before_all_data_or_an_unknown_alias_is_one_sentence(command_line, shop):
    for arguments, words in (
        (("--cutoff", "1990-01-01"), "nothing was bought before the cutoff 1990-01-01"),
        (("--model", "models:/crmml@nobody"), "its aliases: challenger = 1, champion = 1"),
    ):
        done = command_line.here(
            shop.folder, "score", "-c", "crmml.yaml", "-o", "never", *arguments
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (shop.folder / "never").exists()


def test_backtest_says_on_stderr_that_the_base_is_older_than_the_data(run, command_line, tmp_path):
    rng = np.random.default_rng(3)
    rows = [
        (customer, pd.Timestamp("2024-01-01") + pd.Timedelta(hours=int(hour)), 10.0)
        for customer in range(150)
        for hour in np.cumsum(rng.exponential(24.0 * rng.uniform(5, 20), 60))
        if hour < 24 * 400
    ]
    table = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    table.to_csv(tmp_path / "old.csv", index=False)
    run(tmp_path, "init", "old.csv", "--out", "old.yaml")
    done = command_line.here(tmp_path, "backtest", "-c", "old.yaml", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "mbg_nbd is chosen" in done.stdout
    data, _, rest = done.stdout.partition("data:")[2].strip().partition("\n")
    assert data.startswith("? customer base: the base is older than the data")
    assert "mbg_nbd takes them for new" in data
    assert "the base is older" not in rest


def test_help_and_version_answer(run_process, tmp_path):
    assert run_process(tmp_path, "--version") == f"crmml {crmml.__version__}\n"
    assert "promote" in run_process(tmp_path, "--help")


def test_a_mistake_is_exit_code_2_and_one_sentence_of_a_process_too(command_line, tmp_path):
    done = command_line.process(tmp_path, "check", "-c", "no.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("crmml: ")
    assert done.stderr.count("\n") == 1


def test_an_interrupt_that_python_swallowed_stops_the_next_step(monkeypatch):
    stopped = threading.Event()
    stopped.set()
    monkeypatch.setattr("crmml.cli._interrupted", stopped)
    with pytest.raises(KeyboardInterrupt), jobs.working() as say:
        say("the next step")
