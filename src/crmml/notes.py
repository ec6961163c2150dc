"""Notes: what a user must know, as data. Programs test the code, people read the text."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from crmml.exceptions import CrmmlWarning

if TYPE_CHECKING:
    import pandas as pd

Severity: TypeAlias = Literal["info", "warn", "ask"]
"""``ask`` needs an answer, ``warn`` limits what the figures mean, ``info`` does neither."""

Topic: TypeAlias = Literal["data", "models", "decisions"]

TOPICS: tuple[Topic, ...] = ("data", "models", "decisions")
SEVERITIES: tuple[Severity, ...] = ("ask", "warn", "info")
"""Most pressing first."""

EXPLAIN = frozenset(
    {"churn_choice", "loyalty_choice", "value_process", "finding", "margin_observed"}
    | {"taste_choice"}
)
"""Codes of notes for information that explain what is served."""

MOST_SHOWN = 10
"""Notes that a terminal shows; the others are stored."""

_FIGURE = re.compile(r"\d[\d.,e+-]*")


@dataclass(frozen=True)
class Note:
    """One thing that a user must know.

    Attributes
    ----------
    code : str
        What it is, in lower case with underscores; the same for all notes of one kind.
    severity : {"info", "warn", "ask"}
        See :data:`Severity`.
    text : str
        One sentence for people.
    about : str
        What it is about: a table, or the model *and the fit*, such as "mbg_nbd fitted at
        1997-04-02"; empty where the text says it.
    topic : {"data", "models", "decisions"}
        Under which heading it is shown.
    count : int
        How many equal notes it stands for, >= 1.

    Examples
    --------
    >>> str(Note("no_dropout", "warn", "Dropout is not identified.", "bg_nbd", "models"))
    'bg_nbd: Dropout is not identified.'
    """

    code: str
    severity: Severity
    text: str
    about: str = ""
    topic: Topic = "models"
    count: int = 1

    def __str__(self) -> str:
        """Say what it is about, as far as one line holds it, and the sentence."""
        first, *others = self.about.split("; ")
        if others:
            plural = "s" if len(others) > 1 else ""
            first += f" (and {len(others)} other{plural})"
        return f"{first}: {self.text}" if first else self.text

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(**stored)


def fit_of(model: str, cutoff: pd.Timestamp) -> str:
    """Name a model and the fit that is meant.

    Examples
    --------
    >>> import pandas as pd
    >>> fit_of("mbg_nbd", pd.Timestamp("1997-04-02"))
    'mbg_nbd fitted at 1997-04-02'
    """
    day = cutoff.date() if cutoff == cutoff.normalize() else cutoff
    return f"{model} fitted at {day}"


@contextmanager
def about(what: str) -> Iterator[None]:
    """Let the warnings of this package that arise inside say what they are about.

    Parameters
    ----------
    what : str
        The model and the fit; see :func:`fit_of`. Warnings that say so already keep it.
    """
    notes: list[Note] = []
    with collecting(notes, what) as caught:
        yield
    for one in caught:
        warning = one.message
        if isinstance(warning, CrmmlWarning):
            again = type(warning)(warning.text, warning.about or what)
            warnings.warn(again, stacklevel=3)


@contextmanager
def collecting(notes: list[Note], what: str = "") -> Iterator[Sequence[warnings.WarningMessage]]:
    """Collect the warnings of this package as notes; those of others pass.

    Parameters
    ----------
    notes : list of Note
        Is added to.
    what : str
        What warnings are about that do not say so themselves.

    Yields
    ------
    sequence of WarningMessage
        All that were caught, once the block has ended.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CrmmlWarning)
        yield caught
    for one in caught:
        warning = one.message
        if isinstance(warning, CrmmlWarning):
            kind = type(warning)
            where = warning.about or what
            notes.append(Note(kind.code, kind.severity, warning.text, where, kind.topic))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def merge_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Merge notes of the same code whose texts differ in figures alone.

    Parameters
    ----------
    notes : iterable of Note
        In the order in which they arose: of several fits, the newest last.

    Returns
    -------
    tuple of Note
        In the order of the first of each. The text is that of the most severe, of several the
        last, whose fit stands first in ``about``; counts are added.

    Examples
    --------
    >>> first, second = (Note("slow", "info", f"It took {s} s.", f"fit {s}") for s in (3, 9))
    >>> (both,) = merge_notes([first, second])
    >>> str(both), both.count
    ('fit 9 (and 1 other): It took 9 s.', 2)
    """
    merged: dict[tuple[str, str], Note] = {}
    for note in notes:
        key = (note.code, _FIGURE.sub("#", note.text))
        before = merged.get(key)
        if before is None:
            merged[key] = note
            continue
        first, other = (before, note) if _rank(before) < _rank(note) else (note, before)
        fits = [*first.about.split("; "), *other.about.split("; ")]
        named = "; ".join(fit for fit in dict.fromkeys(fits) if fit)
        merged[key] = replace(first, about=named, count=before.count + note.count)
    return tuple(merged.values())


def _rank(note: Note) -> int:
    """Return 0 for what is most pressing."""
    return SEVERITIES.index(note.severity)


def most_pressing(notes: Sequence[Note], most: int = MOST_SHOWN) -> dict[Topic, list[Note]]:
    """Choose the notes to show, the most pressing first, under their topics.

    Of those for information, only what explains a choice (:data:`EXPLAIN`) is shown.

    Parameters
    ----------
    notes : sequence of Note
        Merged.
    most : int
        At most so many in all, >= 0.

    Returns
    -------
    dict
        Topics in the order of :data:`TOPICS`; those without a note are left out.

    Examples
    --------
    >>> notes = [Note("a", "info", "A."), Note("b", "ask", "B.", topic="data")]
    >>> {topic: [str(n) for n in group] for topic, group in most_pressing(notes).items()}
    {'data': ['B.']}
    """
    told = [note for note in notes if note.severity != "info" or note.code in EXPLAIN]
    ranked = sorted(told, key=_rank)[:most]
    groups = {topic: [note for note in ranked if note.topic == topic] for topic in TOPICS}
    return {topic: group for topic, group in groups.items() if group}


def to_json(notes: Iterable[Note]) -> str:
    """Write notes as JSON text: a list of objects with the fields of :class:`Note`.

    Examples
    --------
    >>> print(to_json([Note("a", "info", "A.")]).splitlines()[2].strip())
    "code": "a",
    """
    plain = [note.to_dict() for note in notes]
    return json.dumps(plain, ensure_ascii=False, indent=1) + "\n"
