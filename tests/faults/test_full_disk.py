"""A disk that is full is one sentence, exit code 2, and nothing half written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faults.command_line import GOOD
from faults.sentence import check_sentence
from faults.test_command_line import lay, listing

# A limit on the size of files stands for the disk: what is written beyond it fails alike.
_SMALL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from crmml.cli import main
sys.argv[0] = "crmml"
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="limits on the size of files")
@pytest.mark.parametrize("command", ["init log.csv", "score --out out --model"])
def test_a_full_disk_is_one_sentence(command: str, tmp_path: Path, cdnow_shelf: Any):
    lay(tmp_path, GOOD)
    before = listing(tmp_path)
    arguments = command.split()
    if arguments[0] == "score":
        model = cdnow_shelf.folder / "models" / "crmml" / "1"
        arguments = [*arguments, str(model), "-c", str(cdnow_shelf.folder / "shop.yaml")]
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_DISK, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    check_sentence(done.stderr.removeprefix("crmml: ").strip("\n"), ())
    assert listing(tmp_path) == before
