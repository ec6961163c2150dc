"""Put every file through the doors as a newcomer would, and say what came of it.

``make doors`` prints the table: understood, asked, refused, wrong. A figure that differs without
a word, a refusal for a reason that is not the true one, and a traceback are wrong.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crmml.cli import display, jobs
from crmml.config import load_config
from crmml.data.mapping import Proposal, propose_tables
from crmml.data.tables import Tables
from crmml.exceptions import CrmmlError
from crmml.training.opening import open_configured
from doors.files import DOORS
from doors.truth import Door, Truth

COLOURS = {"understood": "green", "asked": "cyan", "refused": "blue", "wrong": "red"}
ENGINE_TEXT = re.compile(
    r"(Binder|Parser|Catalog|Conversion|Invalid Input|IO) Error|duckdb\.|ibis\."
)


@dataclass(frozen=True)
class Visit:
    """What came of a file.

    Attributes
    ----------
    outcome : str
        One of understood, asked, refused, wrong.
    told : str
        The figures, the question or the refusal.
    """

    outcome: str
    told: str


def visit(door: Door, folder: Path) -> Visit:
    """Write a file and take it through ``init`` and ``check``."""
    path = door.put(folder)
    config = folder / f"{path.stem}.yaml"
    proposals: list[Proposal] = []

    def init() -> None:
        proposals.extend(propose_tables([(str(path), None)]))
        text = display.config_text(proposals, relative_to=folder)
        config.write_text(text, encoding="utf-8")

    refusal = _try(init)
    if refusal is not None:
        return _judge_refusal(door, refusal, [], None)
    proposal = proposals[0]
    questions = _questions(proposal)
    found: list[Truth] = []
    table = proposal.schema.name
    refusal = _try(lambda: found.append(_check(config, table, whole=door.whole)))
    if refusal is not None:
        verdict = _judge_refusal(door, refusal, questions, proposal)
    else:
        verdict = _judge_figures(door, found[0], questions)
    if verdict.outcome == "asked" and door.answer:
        return _answered(door, config, table, verdict)
    return verdict


def _try(step: Callable[[], None]) -> str | None:
    """Run a step; return its refusal, or None; of a traceback what would be shown."""
    try:
        step()
    except CrmmlError as error:
        return str(error)
    except Exception as error:
        return f"Traceback: {type(error).__name__}: {error}"
    return None


def _questions(proposal: Proposal) -> list[str]:
    asked = [
        f"{name}: {choice} {proposal.figures.get(choice, '')}"
        for name, choices in proposal.missing.items()
        for choice in choices
    ]
    return [*proposal.doubts, *asked]


def _check(config: Path, table: str, *, whole: bool = False, answer: tuple[str, ...] = ()) -> Truth:
    settings = load_config(config, answer)
    if whole:
        with contextlib.redirect_stdout(io.StringIO()):
            jobs.check(settings)
    return _figures(open_configured(settings), table)


def _figures(tables: Tables, table: str) -> Truth:
    """Return what was understood of a table."""
    lines = tables[table]
    asked: dict[str, Any] = {"rows": lines.count()}
    if "customer_id" in lines.columns:
        asked["customers"] = lines.customer_id.nunique()
    if "amount" in lines.columns and table == "transactions":
        asked["cents"] = lines.amount.sum()
    got = lines.aggregate(**asked).to_pyarrow().to_pylist()[0]
    facts = tables.facts(table)
    return Truth(
        got["rows"],
        got.get("customers"),
        None if got.get("cents") is None else int(Decimal(got["cents"]) * 100),
        None if facts.first is None else str(facts.first),
        None if facts.last is None else str(facts.last),
        table,
    )


def _judge_refusal(
    door: Door, message: str, questions: list[str], proposal: Proposal | None
) -> Visit:
    if message.startswith("Traceback") or len(message) > 2000 or ENGINE_TEXT.search(message):
        return Visit("wrong", message[:2000])
    if door.refuse and re.search(door.refuse, message):
        return Visit("refused", message)
    missing = proposal.missing if proposal else {}
    # what was not found at all is no question, unless the door expects to be asked for it
    found = all(_asks_for(door, name, questions) for name in missing)
    if found and _asks(door, questions if missing else [*questions, message]):
        return Visit("asked", " | ".join(q for q in [*questions, message] if _answers(door, q)))
    return Visit("wrong", f"refused: {message}")


def _judge_figures(door: Door, found: Truth, questions: list[str]) -> Visit:
    told = _shown(found)
    if door.right is not None and _same(door.right, found):
        return Visit("understood", told)
    if _asks(door, questions):
        return Visit("asked", "; ".join(q for q in questions if _answers(door, q)))
    right = "not taken" if door.right is None else _shown(door.right)
    said = f"; doubts: {' | '.join(questions)}" if questions else "; no doubt"
    return Visit("wrong", f"{told} instead of {right}{said}")


def _answered(door: Door, config: Path, table: str, verdict: Visit) -> Visit:
    """Answer the question, as the user who was asked would, and compare."""
    found: list[Truth] = []
    refusal = _try(lambda: found.append(_check(config, table, answer=door.answer)))
    if refusal is not None:
        return Visit("wrong", f"after {', '.join(door.answer)}: {refusal}")
    right = door.answered or door.right
    if right is not None and not _same(right, found[0]):
        told = f"{_shown(found[0])} instead of {_shown(right)}"
        return Visit("wrong", f"after {', '.join(door.answer)}: {told}")
    return verdict


def _asks(door: Door, questions: list[str]) -> bool:
    return bool(door.ask) and all(
        any(re.search(pattern, question) for question in questions) for pattern in door.ask
    )


def _asks_for(door: Door, name: str, questions: list[str]) -> bool:
    own = [q for q in questions if q.startswith(f"{name}: ") or f"called like {name}," in q]
    return any(_answers(door, question) for question in own)


def _answers(door: Door, question: str) -> bool:
    return any(re.search(pattern, question) for pattern in door.ask)


def _same(right: Truth, found: Truth) -> bool:
    exact = all(
        getattr(right, name) in (None, getattr(found, name))
        for name in ("rows", "customers", "cents", "table")
    )
    return exact and all(
        wanted is None or (got or "").startswith(wanted)
        for wanted, got in ((right.first, found.first), (right.last, found.last))
    )


def _shown(found: Truth) -> str:
    parts = [f"{found.rows:,} rows"]
    if found.customers is not None:
        parts.append(f"{found.customers:,} customers")
    if found.cents is not None:
        parts.append(f"{found.cents / 100:,.2f}")
    if found.first is not None:
        parts.append(f"{found.first} to {found.last}")
    if found.table != "transactions":
        parts.insert(0, f"table {found.table}")
    return ", ".join(parts)


def main() -> int:
    """Print the table; return 1 where anything is wrong. Words given choose among the files."""
    words = sys.argv[1:]
    doors = [d for d in DOORS if not words or any(word in d.name for word in words)]
    table = Table("file", "outcome", "what came of it", title="The doors", show_lines=False)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number, door in enumerate(doors):
            came = visit(door, Path(folder) / str(number))
            counts[came.outcome] += 1
            told = came.told if words else came.told[:160]
            table.add_row(door.name, f"[{COLOURS[came.outcome]}]{came.outcome}", _plain(told))
    console = Console()
    console.print(table)
    console.print(", ".join(f"{name} {counts[name]}" for name in COLOURS))
    return 1 if counts["wrong"] else 0


def _plain(text: str) -> str:
    """Keep the brackets of a message out of the markup."""
    return text.replace("[", r"\[")


if __name__ == "__main__":
    sys.exit(main())
