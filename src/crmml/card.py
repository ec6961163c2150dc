"""Cards: how an object shows itself, as one line, as a title with rows of text, and in a notebook.

A card holds what is known already. Nothing is computed for it, and showing an object never fails:
of one that is half built the card says what is missing.
"""

from __future__ import annotations

import html
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_T = TypeVar("_T")

LINES = 15
"""Most lines of a printed card."""
WIDTH = 100
"""Most characters of a printed line."""
CHARACTERS = 4_000
"""Most characters of a card in a notebook."""
_CELL = 240
_ONE_LINE = 200


def plain(value: object) -> str:
    r"""Write a value as one line of ASCII; other characters appear as their codes.

    Examples
    --------
    >>> plain("a\tb\nc"), plain("caf\u00e9")
    ('a b c', 'caf\\xe9')
    """
    return " ".join(str(value).split()).encode("ascii", "backslashreplace").decode()


def cut(text: str, most: int) -> str:
    """Shorten a text to so many characters; what was cut shows as three dots.

    Examples
    --------
    >>> cut("expected purchases", 11)
    'expected...'
    """
    return text if len(text) <= most else text[: most - 3].rstrip() + "..."


def moment(when: object) -> str:
    """Write a moment, without the time of day where it is midnight.

    Examples
    --------
    >>> moment("1998-01-01 00:00:00"), moment("1998-01-01 13:00:00")
    ('1998-01-01', '1998-01-01 13:00:00')
    """
    return str(when).removesuffix(" 00:00:00")


def listed(values: Iterable[object], most: int = 6) -> str:
    """Write the first few values, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], most=2), listed([])
    ('a, b and 1 more', 'none')
    """
    shown = [str(value) for value in values]
    if not shown:
        return "none"
    more = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def brief(value: object) -> str:
    """Say what a value is in a few words: its size where it is large, else itself.

    Examples
    --------
    >>> brief(0.25), brief({"a": 1, "b": 2}), brief(list("abc"))
    ('0.25', '2 by name: a, b', '3 of str')
    """
    if hasattr(value, "_shown"):
        return repr(value)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        size = " x ".join(f"{n:,}" for n in shape) or "one value"
        return f"{type(value).__name__} of {size}"
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return f"{len(value):,} by name: {listed(value)}" if value else "none"
    if isinstance(value, (list, tuple, set, frozenset)):
        simple = len(value) <= 6 and all(isinstance(v, (str, int, float)) for v in value)
        if simple and not isinstance(value, list):
            return listed(value)
        return f"{len(value):,} of {type(next(iter(value))).__name__}" if value else "none"
    if is_dataclass(value) or not isinstance(value, (bool, int, float, type(None))):
        text = type(value).__name__ if is_dataclass(value) else str(value)
        return cut(text, _CELL)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Card:
    """A title and rows of a label with its text.

    Attributes
    ----------
    line : str
        The object on one line.
    rows : tuple of (str, str)
        Label and text, the most telling first.

    Examples
    --------
    >>> card = Card("Snapshot of 3 customers", (("cutoff", "1998-01-01"),))
    >>> print(card.to_text())
    Snapshot of 3 customers
      cutoff  1998-01-01
    """

    line: str
    rows: tuple[tuple[str, str], ...] = ()

    def to_line(self) -> str:
        """Return the title, ASCII, at most 200 characters."""
        return cut(plain(self.line), _ONE_LINE)

    def to_text(self) -> str:
        """Return at most fifteen lines of ASCII, of at most 100 characters each."""
        for most in (3, 2, 1):
            lines = [cut(plain(self.line), WIDTH), *self._lines(most)]
            if len(lines) <= LINES:
                return "\n".join(lines)
        hidden = len(lines) - LINES + 1
        return "\n".join([*lines[: LINES - 1], f"  and {hidden} more rows"])

    def _lines(self, most: int) -> list[str]:
        """Lay out the rows, each on so many lines at most."""
        label = max((len(plain(name)) for name, _ in self.rows), default=0)
        label = min(label, WIDTH // 3)
        found = []
        for name, text in self.rows:
            wrapped = textwrap.wrap(
                plain(text),
                WIDTH - label - 4,
                max_lines=most,
                placeholder=" ...",
                break_on_hyphens=False,
            )
            first, *rest = wrapped or [""]
            found.append(f"  {cut(plain(name), label):<{label}}  {first}".rstrip())
            found += [f"  {'':<{label}}  {line}" for line in rest]
        return found

    def to_html(self) -> str:
        """Return a small table, every text escaped, of at most 4,000 characters."""
        start, end = f"<b>{html.escape(self.to_line())}</b><table>", "</table>"
        body, room = "", CHARACTERS - len(start) - len(end) - 60
        for position, (name, text) in enumerate(self.rows):
            cells = (html.escape(cut(" ".join(str(c).split()), _CELL)) for c in (name, text))
            row = "<tr><th align='left'>{}</th><td align='left'>{}</td></tr>".format(*cells)
            if len(body) + len(row) > room:
                body += f"<tr><td>and {len(self.rows) - position} more rows</td></tr>"
                break
            body += row
        return start + body + end


class Shown:
    """Base of objects that show themselves on a card.

    ``repr`` is one line, ``print`` at most fifteen, and a notebook shows a small table. A data
    class must be declared with ``repr=False``, or its own ``__repr__`` hides this one.
    """

    def _card(self) -> Card:
        """Return the card; of a data class, by default, its fields in brief."""
        rows = ()
        if is_dataclass(self):
            known = [f.name for f in fields(self) if f.repr]
            rows = tuple((name, brief(getattr(self, name))) for name in known)
        size = f" of {len(self):,}" if isinstance(self, Sized) else ""
        return Card(f"{type(self).__name__}{size}", rows)

    def _shown(self) -> Card:
        try:
            return self._card()
        except Exception as error:  # whatever it is, an object must show itself
            why = cut(plain(f"{type(error).__name__}: {_told(error)}"), 120)
            return Card(f"{type(self).__name__}, incomplete", (("cannot be shown", why),))

    def __repr__(self) -> str:
        return self._shown().to_line()

    def __str__(self) -> str:
        return self._shown().to_text()

    def _repr_html_(self) -> str:
        return self._shown().to_html()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}


_WAYS = ("_shown", "__repr__", "__str__", "_repr_html_", "_repr_mimebundle_")


def shows_itself(kind: type[_T]) -> type[_T]:
    """Give a class the ways of :class:`Shown`, without one more level of inheritance.

    For a class that has its own levels below it; it defines ``_card``.
    """
    for name in _WAYS:
        setattr(kind, name, getattr(Shown, name))
    return kind


def _told(error: Exception) -> str:
    """Return the text of an error, or nothing where not even that can be had."""
    try:
        return str(error)
    except Exception:
        return "it cannot be written"


class Result(Shown, ABC):
    """Base of results: what shows itself, is a table, and has a picture."""

    @abstractmethod
    def to_pandas(self) -> pd.DataFrame:
        """Return the table that the result is about."""

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the picture that answers the first question about the result.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        Axes
        """
        # Pictures lie above all results, and their library is loaded only when one is wanted.
        axes: Axes = import_module("crmml.plots.results").draw(self, ax)
        return axes
