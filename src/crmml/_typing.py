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
_MOST = 1e9


@dataclass(frozen=True)
class Duration:
    """A length of time that carries its unit, so that nobody has to guess it.

    Parameters
    ----------
    number : float
        How many units; positive, at most 1,000,000,000.
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
        if match is None or match[2].upper() not in _SYMBOLS or not 0 < float(match[1]) <= _MOST:
            raise DurationError(text)
        return cls(float(match[1]), _SYMBOLS[match[2].upper()])

    def __str__(self) -> str:
        # all digits and no exponent, so that parsing gives the same duration
        return f"{np.format_float_positional(self.number, trim='-')}{self.unit[0].upper()}"
