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


def test_there_is_a_snippet_for_each_kind_of_user() -> None:
    assert len(SNIPPETS) == 3


def test_snippets_run(cdnow_shelf) -> None:
    """In a process that knows nothing else, each in a namespace of its own."""
    code = "import sys; [exec(snippet, {'__name__': '__main__'}) for snippet in sys.argv[1:]]"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    done = subprocess.run(
        [sys.executable, "-c", code, *SNIPPETS],
        cwd=cdnow_shelf.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_command_exists(name: str, tmp_path: Path, command_line) -> None:
    done = command_line.here(tmp_path, name, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_files_that_the_readme_names_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
