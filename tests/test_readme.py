"""What the README shows runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.S)
COMMANDS = sorted(set(re.findall(r"^crmml ([a-z]+)", README, re.M)))


def run(code: list[str], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, *code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a champion in ``mlflow.db`` and a bundle in ``models/crmml/1``."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "shop.yaml").write_text("data: {transactions: {dataset: cdnow_sample}}\n")
    small = ["backtest.bootstrap=20", "backtest.candidates=[mbg_nbd,heuristic]"]
    settings = [word for text in small for word in ("--set", text)]
    command = "from crmml.cli import main; main()"
    run(["-c", command, "train", "--config", "shop.yaml", *settings], folder)
    run(["-c", command, "promote"], folder)
    return folder


def test_there_is_a_snippet_for_each_kind_of_user() -> None:
    assert len(SNIPPETS) == 3


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet_runs(trained: Path, number: int) -> None:
    run(["-c", SNIPPETS[number]], trained)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_exists(name: str, tmp_path: Path) -> None:
    assert "Usage" in run(["-c", "from crmml.cli import main; main()", name, "--help"], tmp_path)


def test_files_that_the_readme_names_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
