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

TimeUnit: TypeAlias = Literal["hour", "day", "week", "period"]
"""What the numbers of a snapshot are measured in. ``period`` counts purchase opportunities."""

Grain: TypeAlias = Literal["hour", "day", "week"]
"""What counts as one purchase: all lines of a customer in one grain are one purchase."""

TIME_UNITS: tuple[str, ...] = get_args(TimeUnit)
GRAINS: tuple[str, ...] = get_args(Grain)

_SYMBOLS: dict[str, TimeUnit] = {"H": "hour", "D": "day", "W": "week", "P": "period"}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*")
_MOST: dict[str, float] = {"H": 16_800_000.0, "D": 700_000.0, "W": 100_000.0, "P": 100_000.0}
"""So many at most: times far beyond that are none that a calendar knows."""


@dataclass(frozen=True)
class Duration:
    """A length of time that carries its unit, so that nobody has to guess it.

    Parameters
    ----------
    number : float
        How many units; positive, at most 100,000 weeks or opportunities.
    unit : {"hour", "day", "week", "period"}
        The unit. Months and years have no fixed length and are refused: write days or weeks.

    Examples
    --------
    >>> Duration.parse("52W")
    Duration(number=52.0, unit='week')
    >>> str(Duration.parse("365 D"))
    '365D'
    """

    number: float
    unit: TimeUnit

    def __post_init__(self) -> None:
        if self.unit not in TIME_UNITS or not 0.0 < self.number < float("inf"):
            raise DurationError(f"{self.number} {self.unit}")

    @classmethod
    def parse(cls, text: str | Duration) -> Self:
        """Read ``"52W"``, ``"365D"``, ``"36H"`` or ``"5P"`` (opportunities).

        Raises
        ------
        DurationError
            If the text is no such duration; the message says what was got.
        """
        if isinstance(text, Duration):
            return cls(text.number, text.unit)
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        symbol = match[2].upper() if match else ""
        if match is None or symbol not in _SYMBOLS or not 1e-6 <= float(match[1]) <= _MOST[symbol]:
            raise DurationError(text)
        return cls(float(match[1]), _SYMBOLS[symbol])

    def __str__(self) -> str:
        # all digits and no exponent, so that parsing gives the same duration
        return f"{np.format_float_positional(self.number, trim='-')}{self.unit[0].upper()}"
