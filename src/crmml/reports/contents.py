"""What a page is made of: sections of sentences, tables and pictures. A picture has its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone: TypeAlias = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes
    ----------
    text : str
        As it is read.
    sort : float or str
        By what it is sorted.
    bar : float or None
        Length of a bar behind it, -1 to 1.
    tone : {"", "good", "bad"}
    note : str
        Written small below it.
    """

    text: str
    sort: float | str = ""
    bar: float | None = None
    tone: Tone = ""
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """A table for people.

    Attributes
    ----------
    title : str
    headings : sequence of str
    rows : sequence of sequence of Cell
        The first cell names the row.
    note : str
        What a reader must know of it.
    folded : bool
        Whether it is shown when asked for: figures that few will want.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False

    def wordy(self, column: int) -> bool:
        """Whether a column holds words, not figures."""
        cells = [row[column] for row in self.rows if column < len(row)]
        return any(isinstance(cell.sort, str) and cell.sort for cell in cells)


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    name : str
    values : sequence of float or None
        None where it is not known: the line is broken there.
    kind : {"line", "limit", "centre"}
        Limits and centres are drawn dashed.
    marked : sequence of int
        Points to be marked.
    """

    name: str
    values: Sequence[float | None]
    kind: Literal["line", "limit", "centre"] = "line"
    marked: Sequence[int] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over time, with the table behind them.

    Attributes
    ----------
    title : str
    alt : str
        What it shows, for those who cannot see it.
    labels : sequence of str
        Of the points.
    lines : sequence of Line
    table : Grid
    ticks : (str, str)
        The least and the greatest value (:meth:`bounds`) as they are read.
    """

    title: str
    alt: str
    labels: Sequence[str]
    lines: Sequence[Line]
    table: Grid
    ticks: tuple[str, str] = ("", "")

    def paths(self, width: float = 640.0, height: float = 200.0) -> list[tuple[Line, str]]:
        """Return each line as the path of an SVG, broken where values are missing."""
        return [(line, " ".join(self._pieces(line, width, height))) for line in self.lines]

    def points(
        self, line: Line, width: float = 640.0, height: float = 200.0
    ) -> list[tuple[float, float, str, bool]]:
        """Return the points of a line that is no limit: place, what is told, whether marked."""
        found = []
        for k, value in enumerate(line.values if line.kind == "line" else ()):
            if value is not None:
                x, y = self._place(k, value, width, height)
                row = self.table.rows[k] if k < len(self.table.rows) else ()
                told = ": ".join(cell.text for cell in row[:2]) or self.labels[k]
                found.append((x, y, told, k in line.marked))
        return found

    def bounds(self) -> tuple[float, float]:
        """Return the least and the greatest value."""
        values = [v for line in self.lines for v in line.values if v is not None]
        if not values:
            return 0.0, 1.0
        low, high = min(values), max(values)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _place(self, k: int, value: float, width: float, height: float) -> tuple[float, float]:
        low, high = self.bounds()
        x = width * (k + 0.5) / max(len(self.labels), 1)
        return round(x, 1), round(height * (1 - (value - low) / (high - low)), 1)

    def _pieces(self, line: Line, width: float, height: float) -> list[str]:
        pieces, begun = [], False
        for k, value in enumerate(line.values):
            if value is None:
                begun = False
                continue
            x, y = self._place(k, value, width, height)
            pieces.append(f"{'L' if begun else 'M'}{x},{y}")
            begun = True
        return pieces


@dataclass(frozen=True)
class Bar:
    """One bar of a picture of ranges.

    Attributes
    ----------
    label : str
    start, end : float
        Where it begins and ends, as shares of the width.
    text : str
        Its value, as it is read.
    mark : float or None
        A place within the bar that is marked, as a share of the width.
    """

    label: str
    start: float
    end: float
    text: str
    mark: float | None = None


@dataclass(frozen=True)
class Bars:
    """Ranges under each other, with the table behind them.

    Attributes
    ----------
    title, alt : str
        As of :class:`Chart`.
    bars : sequence of Bar
    table : Grid
    note : str
        What a reader must know of it.
    """

    title: str
    alt: str
    bars: Sequence[Bar]
    table: Grid
    note: str = ""


@dataclass(frozen=True)
class Node:
    """A box of a map: its middle, its size, and what is written in it, the name first."""

    x: float
    y: float
    width: float
    height: float
    lines: Sequence[str]
    quiet: bool = False


@dataclass(frozen=True)
class Arrow:
    """A link of a map, from one box to another.

    Attributes
    ----------
    start, end : (float, float)
    dashed : bool
        Of an association; of an experiment it is solid.
    tone : {"", "good", "bad"}
        Empty where it may be chance.
    title : str
        What is told when it is pointed at.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    dashed: bool
    tone: Tone
    title: str


@dataclass(frozen=True)
class Map:
    """Boxes in bands, and the links between them, with the table behind them.

    Attributes
    ----------
    title, alt : str
        As of :class:`Chart`.
    size : (float, float)
        Width and height.
    bands : sequence of (float, float, str)
        Top, height and name of each.
    nodes : sequence of Node
    arrows : sequence of Arrow
    legend : sequence of (str, str)
        Class and words.
    table : Grid
    """

    title: str
    alt: str
    size: tuple[float, float]
    bands: Sequence[tuple[float, float, str]]
    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
    legend: Sequence[tuple[str, str]]
    table: Grid


@dataclass(frozen=True)
class Story:
    """A change told in its steps.

    Attributes
    ----------
    title : str
    steps : sequence of (str, sequence of str)
        Name and sentences of each.
    chart : Chart or None
        Drawn before the steps.
    """

    title: str
    steps: Sequence[tuple[str, Sequence[str]]]
    chart: Chart | None = None


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes
    ----------
    key : str
        Its address in the page.
    title : str
    sentences : sequence of str
    grids : sequence of Grid
    charts : sequence of Chart
    missing : sequence of str
        What is not shown, and which data it needs.
    stories : sequence of Story
    maps : sequence of Map
    bars : sequence of Bars
    """

    key: str
    title: str
    sentences: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    charts: Sequence[Chart] = ()
    missing: Sequence[str] = ()
    stories: Sequence[Story] = ()
    maps: Sequence[Map] = ()
    bars: Sequence[Bars] = ()
