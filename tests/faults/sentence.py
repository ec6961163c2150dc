"""What every refusal has in common, through whichever door."""

from __future__ import annotations

from collections.abc import Iterable

_FOREIGN = (
    "Traceback",
    "LINE 1",
    "site-packages",
    "duckdb.",
    "Binder Error",
    "ibis",
    "pydantic",
    "sqlalchemy",
    "numpy.",
    'File "',
)


def check_sentence(said: str, words: Iterable[str]) -> None:
    """Assert that a refusal is one short sentence of our own that holds some words."""
    assert said, "nothing was said"
    assert len(said) <= 2000
    assert "\n" not in said
    assert [sign for sign in _FOREIGN if sign in said] == [], said
    for word in words:
        assert word in said, said
