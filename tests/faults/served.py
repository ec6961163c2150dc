"""Bad input for a served model: what is wrong, the body of the request, words of the sentence."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One bad request.

    Attributes
    ----------
    wrong : str
        What is wrong; unique.
    records : list of dict
        The rows of the log.
    params : dict
        Parameters of the request.
    words : tuple of str
        What the sentence must hold.
    """

    wrong: str
    records: list[dict[str, Any]]
    params: dict[str, Any]
    words: tuple[str, ...]


GOOD = [
    {"customer_id": "ada", "timestamp": "1998-01-01T10:30:00", "amount": 12.1},
    {"customer_id": "ada", "timestamp": "1998-03-01", "amount": 0.25},
    {"customer_id": "bob", "timestamp": "1998-02-01", "amount": 7.0},
]


def _row(wrong: str, *words: str, **values: Any) -> Row:
    """Spoil the first row."""
    return Row(wrong, [GOOD[0] | values, *GOOD[1:]], {}, words)


def _asked(wrong: str, *words: str, **params: Any) -> Row:
    """Spoil the parameters."""
    return Row(wrong, GOOD, params, words)


ROWS = [
    _row("no such day", "timestamp", timestamp="1998-02-31"),
    _row("a time in words", "timestamp", timestamp="yesterday"),
    _row("a time with a zone", "timestamp", timestamp="1998-02-01T10:00:00Z"),
    _row("a time before 1970", "timestamp", "1970", timestamp="1869-01-01"),
    _row("a time of the year 9999", "timestamp", timestamp="9999-01-01"),
    _row("no time", "timestamp", timestamp=None),
    _row("a number as a time", "timestamp", timestamp=5),
    _row("a list as a time", "timestamp", timestamp=[1]),
    _row("an amount in words", "amount", amount="plenty"),
    _row("no amount", "amount", amount=None),
    _row("True as an amount", "amount", amount=True),
    _row("a list as an amount", "amount", amount=[1]),
    _row("a mapping as an amount", "amount", amount={"a": 1}),
    _row("an amount of 1e300", "amount", amount=1e300),
    _row("an amount of 1e15 as text", "amount", amount="1e300"),
    _row("an amount of 400 digits", "amount", amount="9" * 400),
    _row("an empty amount", "amount", amount=""),
    Row("rows after the cutoff only", [GOOD[0] | {"timestamp": "2000-01-01"}], {}, ()),
    _asked("a cutoff in words", "cutoff", cutoff="soon"),
    _asked("a cutoff of 01.02.98", "cutoff", cutoff="01.02.98"),
    _asked("a cutoff with a zone", "cutoff", cutoff="1998-02-01T00:00:00Z"),
    _asked("a cutoff before all data", "1990-01-01", cutoff="1990-01-01"),
    _asked("a negative budget", "budget", budget=-1.0),
]


HTTP: list[tuple[str, bytes, str]] = [
    ("no JSON", b"{", "application/json"),
    ("nothing", b"", "application/json"),
    ("a list", b"[1, 2]", "application/json"),
    ("null", b"null", "application/json"),
    ("a number", b"5", "application/json"),
    ("no row", b'{"dataframe_records": []}', "application/json"),
    ("no frame", b"{}", "application/json"),
    ("an unknown key", b'{"frame": []}', "application/json"),
    ("records that are none", b'{"dataframe_records": 5}', "application/json"),
    ("a split without data", b'{"dataframe_split": {"columns": ["a"]}}', "application/json"),
    (
        "two forms",
        json.dumps({"dataframe_records": GOOD, "inputs": [1]}).encode(),
        "application/json",
    ),
    ("not UTF-8", b'{"dataframe_records": "\xff"}', "application/json"),
    (
        "parameters that are a list",
        json.dumps({"dataframe_records": GOOD, "params": [1]}).encode(),
        "application/json",
    ),
]
"""Bodies that MLflow refuses before the model sees them: it answers 400, in its own words."""
