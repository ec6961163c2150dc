"""Notes: what a user must know, as data. Programs test the code, people read the text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, TypeAlias

Severity: TypeAlias = Literal["info", "warn", "ask"]
"""``ask`` needs an answer, ``warn`` limits what the figures mean, ``info`` does neither."""

Topic: TypeAlias = Literal["data", "models", "decisions"]


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
    >>> note = Note("no_dropout", "warn", "Dropout is not identified.", "bg_nbd", "models")
    >>> [n.count for n in merge_notes([note, note])]
    [2]
    """

    code: str
    severity: Severity
    text: str
    about: str = ""
    topic: Topic = "models"
    count: int = 1

    def __str__(self) -> str:
        return f"{self.about}: {self.text}" if self.about else self.text

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(**stored)


def merge_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Merge notes of the same code and text: what they are about is listed, counts are added.

    Parameters
    ----------
    notes : iterable of Note
        In the order in which they arose.

    Returns
    -------
    tuple of Note
        In the order of the first of each.

    Examples
    --------
    >>> both = [Note("slow", "info", "It is slow.", about) for about in ("a", "b")]
    >>> merge_notes(both)[0].about, merge_notes(both)[0].count
    ('a; b', 2)
    """
    merged: dict[tuple[str, str], Note] = {}
    for note in notes:
        key = (note.code, note.text)
        if key not in merged:
            merged[key] = note
            continue
        before = merged[key]
        known = before.about.split("; ")
        about = (
            before.about if note.about in known else "; ".join(filter(None, [*known, note.about]))
        )
        merged[key] = replace(before, about=about, count=before.count + note.count)
    return tuple(merged.values())
