"""Hostile edits of a bundle that are signed anew: each place of its files, spoilt in some ways."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from crmml.scoring.manifest import DIGEST, MANIFEST, digest, form_digest

SPOILT: dict[str, Any] = {
    "None": None,
    "text": "x",
    "an empty list": [],
    "an empty mapping": {},
    "-1": -1,
    "1e300": 1e300,
    "half of it": ...,
}
"""What stands in a place after an edit, beside the key being gone."""

_GONE = "gone"


class Edit(NamedTuple):
    """One edit.

    Attributes
    ----------
    file : str
    place : tuple of str or int
        Keys and numbers of entries that lead to what is spoilt.
    how : str
        A key of :data:`SPOILT`, or ``gone``.
    """

    file: str
    place: tuple[str | int, ...]
    how: str

    def __str__(self) -> str:
        return f"{self.file} {'.'.join(map(str, self.place))} {self.how}"


def edits(files: Mapping[str, bytes]) -> list[Edit]:
    """List all edits of all places; of the entries of a list, the first stands for all."""
    found = []
    for file in sorted(files):
        if file.endswith(".json") and file != MANIFEST:
            for place in _places(json.loads(files[file]), ()):
                found += [Edit(file, place, how) for how in (_GONE, *SPOILT)]
    return found


def _places(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if place:
        yield place
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _places(value[key], (*place, key))
    elif isinstance(value, list) and value:
        yield from _places(value[0], (*place, 0))


def edited(files: Mapping[str, bytes], edit: Edit) -> dict[str, bytes]:
    """Return the files after an edit, with every hash and the digest of the form made anew."""
    stored = json.loads(files[edit.file])
    holder = stored
    for key in edit.place[:-1]:
        holder = holder[key]
    last = edit.place[-1]
    if edit.how == _GONE:
        del holder[last]
    else:
        holder[last] = _spoilt(holder[last], edit.how)
    text = json.dumps(stored).encode()
    manifest = json.loads(files[MANIFEST])
    manifest["hashes"][edit.file] = digest(text)
    manifest["forms"][edit.file] = form_digest(stored)
    signed = json.dumps(manifest).encode()
    return {**files, edit.file: text, MANIFEST: signed, DIGEST: digest(signed).encode()}


def _spoilt(value: Any, how: str) -> Any:
    if how != "half of it":
        return copy.copy(SPOILT[how])
    if isinstance(value, (list, str)):
        return value[: len(value) // 2]
    if isinstance(value, dict):
        return dict(list(value.items())[: len(value) // 2])
    return value / 2 if isinstance(value, (int, float)) and not isinstance(value, bool) else None
