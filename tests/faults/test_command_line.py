"""The command line refuses each bad input of the table: exit code 2, one sentence, no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.command_line import GOOD, ROWS, Content, Row
from faults.sentence import check_sentence


def lay(folder: Path, files: dict[str, Content]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def listing(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.startswith("mlflow.db")
    }


LONG = {
    "five rows",
    "an amount of 1e300",
    "an amount that is true",
    "an endless amount",
    "a date before 1970",
    "a cutoff of 01.02.98",
    "a cutoff of year 9999",
    "a cutoff before all data",
    "a horizon of .001 hours",
    "a horizon of opportunities",
    "a gap of 100,000 weeks",
    "a model of 300 letters",
}
"""Rows that take long and have a like among the others; `make torture` runs them too."""


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.wrong, marks=[pytest.mark.torture] if row.wrong in LONG else [])
        for row in ROWS
    ],
)
def test_the_command_line_says_one_sentence(command_line, tmp_path, row: Row):
    lay(tmp_path, GOOD | row.files)
    before = listing(tmp_path)
    done = command_line.here(tmp_path, *row.command.split())
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("crmml: ")
    check_sentence(done.stderr.removeprefix("crmml: ").strip("\n"), row.words)
    assert listing(tmp_path) == before
