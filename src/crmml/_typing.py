"""Types that every floor may use: arrays, time units and durations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from crmml.exceptions import DurationError

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

TimeUnit: TypeAlias = Literal["hour", "day", "week", "month", "quarter", "period"]
"""What the numbers of a snapshot are measured in. ``period`` counts purchase opportunities."""

Grain: TypeAlias = Literal["hour", "day", "week", "month", "quarter"]
"""What counts as one purchase: all lines of a customer in one grain are one purchase."""

TIME_UNITS: tuple[str, ...] = get_args(TimeUnit)
GRAINS: tuple[str, ...] = get_args(Grain)
MONTHS: dict[str, int] = {"month": 1, "quarter": 3}
"""The units of the calendar, which have no fixed length, in months."""
UNITS_OF: dict[str, tuple[TimeUnit, ...]] = {
    "hour": ("week", "day", "hour"),
    "day": ("week", "day", "hour"),
    "week": ("week", "day", "hour"),
    "month": ("month",),
    "quarter": ("quarter", "month"),
}
"""What a log of each grain is measured in, the usual unit first."""

_SYMBOLS: dict[str, TimeUnit] = {
    name: unit for unit in get_args(TimeUnit) for name in (unit[0].upper(), unit.upper())
}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*")
_MOST: dict[str, float] = {
    "hour": 16_800_000.0,
    "day": 700_000.0,
    "week": 100_000.0,
    "month": 23_000.0,
    "quarter": 7_600.0,
    "period": 100_000.0,
}
"""So many at most: times far beyond that are none that a calendar knows."""


@dataclass(frozen=True)
class Duration:
    """A length of time that carries its unit, so that nobody has to guess it.

    Parameters
    ----------
    number : float
        How many units; positive, at most 100,000 weeks or opportunities.
    unit : {"hour", "day", "week", "month", "quarter", "period"}
        The unit. Months and quarters are those of the calendar, of no fixed length; they go with
        the grains of these names. Years are refused: write weeks, or months.

    Examples
    --------
    >>> Duration.parse("52W")
    Duration(number=52.0, unit='week')
    >>> str(Duration.parse("365 D")), str(Duration.parse("12 months"))
    ('365D', '12M')
    """

    number: float
    unit: TimeUnit

    def __post_init__(self) -> None:
        if self.unit not in TIME_UNITS or not 0.0 < self.number < float("inf"):
            raise DurationError(f"{self.number} {self.unit}")

    @classmethod
    def parse(cls, text: str | Duration) -> Self:
        """Read ``"52W"``, ``"365D"``, ``"36H"``, ``"12M"``, ``"4Q"`` or ``"5P"`` (opportunities).

        The unit may be a word too, as in ``"12 months"``.

        Raises
        ------
        DurationError
            If the text is no such duration; the message says what was got.
        """
        if isinstance(text, Duration):
            return cls(text.number, text.unit)
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        symbol = "" if match is None else match[2].upper()
        unit = _SYMBOLS.get(symbol) or _SYMBOLS.get(symbol[:-1] if len(symbol) > 2 else "")
        if match is None or unit is None or not 1e-6 <= float(match[1]) <= _MOST[unit]:
            raise DurationError(text)
        return cls(float(match[1]), unit)

    def __str__(self) -> str:
        # all digits and no exponent, so that parsing gives the same duration
        return f"{np.format_float_positional(self.number, trim='-')}{self.unit[0].upper()}"
