"""The short form of ``make torture``: promote and score are killed once each, where they write.

The kill of what makes the first database is in ``tests/tracking/test_database.py``, the stop of a
training in ``tests/cli/test_commands.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(os.name != "posix", reason="a kill that cannot be caught, and forks")
def test_kills_leave_no_half_output_and_the_next_command_works(cdnow_shelf):
    tests = str(Path(__file__).parent.parent)
    path = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "faults.torture",
            "--kills",
            "4",
            "--trained",
            str(cdnow_shelf.folder),
        ],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "0 half outputs, 0 commands that failed" in done.stdout
