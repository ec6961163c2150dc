"""Settings of the clocks: what may multiply the purchase rate, given or to be estimated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.exceptions import MissingColumnsError, ParameterError
from crmml.models.purchase.calendar import CalendarProfile

_EPOCH = pd.Timestamp("1970-01-01")
SCHEDULE_COLUMNS = ("starts_at", "ends_at", "name", "value")


@dataclass(frozen=True)
class NewcomerClock:
    """A rate that settles down after the first purchase; without values it is estimated.

    Attributes
    ----------
    first : float, optional
        Rate at first over the settled one, > 0.
    half_life : str or Duration, optional
        After which half of the difference is gone; given exactly where ``first`` is.
    """

    first: float | None = None
    half_life: str | Duration | None = None

    def check(self) -> None:
        """Refuse settings out of range."""
        if (self.first is None) != (self.half_life is None):
            raise ParameterError("half_life", "given exactly where first is", self.half_life)
        if self.first is not None and not (np.isfinite(self.first) and self.first > 0):
            raise ParameterError("first", "a finite number > 0, or None", self.first)
        if self.half_life is not None and not 0 < Duration.parse(self.half_life).number < math.inf:
            raise ParameterError("half_life", "of positive length", self.half_life)


@dataclass(frozen=True)
class SeasonClock:
    """A rate that follows the weeks of the year, by a profile or estimated from two years of data.

    Attributes
    ----------
    profile : CalendarProfile, optional
    """

    profile: CalendarProfile | None = None


@dataclass(frozen=True)
class ScheduleClock:
    """Rates that follow schedules common to all customers, such as promotions or prices.

    While a row is in force the logarithm of all rates is higher by ``value`` times the coefficient
    of its ``name``, which is estimated. The schedule may be known ahead: what begins after the
    cutoff acts on forecasts.

    Attributes
    ----------
    rows : tuple of (str, str, str, float)
        ``starts_at`` (inclusive), ``ends_at`` (exclusive), ``name``, ``value``.

    Examples
    --------
    >>> plan = pd.DataFrame({"starts_at": ["2024-11-25"], "ends_at": ["2024-12-02"],
    ...                      "name": ["sale"], "value": [1.0]})
    >>> ScheduleClock.from_frame(plan).names
    ('sale',)
    """

    rows: tuple[tuple[str, str, str, float], ...]

    @classmethod
    def from_frame(cls, schedules: pd.DataFrame) -> ScheduleClock:
        """Take a table with the columns ``starts_at``, ``ends_at``, ``name`` and ``value``."""
        missing = [name for name in SCHEDULE_COLUMNS if name not in schedules.columns]
        if missing:
            raise MissingColumnsError(missing, map(str, schedules.columns), table="schedules")
        begin, end = (pd.to_datetime(schedules[name]) for name in SCHEDULE_COLUMNS[:2])
        value = schedules["value"].astype("float64")
        broken = ~((end > begin) & np.isfinite(value))
        if broken.any() or not len(schedules):
            raise ParameterError(
                "schedules",
                "rows that end after they start, with finite values",
                f"{int(broken.sum())} other rows of {len(schedules)}",
            )
        texts = (moment.astype(str) for moment in (begin, end))
        names = schedules["name"].astype(str)
        # Sorted, so that the order of the rows changes neither the fit nor what is stored.
        rows = sorted(zip(*texts, names, value.tolist(), strict=True))
        return cls(tuple((str(b), str(e), str(n), float(v)) for b, e, n, v in rows))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(sorted({name for _, _, name, _ in self.rows}))

    def seen(self, *spans: tuple[float, float]) -> ScheduleClock | None:
        """Return the schedules of which an effect can be seen: their value changes in each span.

        Parameters
        ----------
        *spans : (begin, end)
            In days since 1970-01-01.

        Returns
        -------
        ScheduleClock or None
            None where nothing is left.
        """
        names = set(self.names)
        for begin, end in spans:
            # A value that is the same throughout a span cannot be told from the rate itself.
            edges = self.edges()
            pieces = np.concatenate([[begin], edges[(edges > begin) & (edges < end)]])
            values = self.columns(pieces)
            changes = np.ptp(values, axis=1) > 0 if len(pieces) > 1 else np.zeros(len(values))
            names &= {name for name, one in zip(self.names, changes, strict=True) if one}
        rows = tuple(row for row in self.rows if row[2] in names)
        return ScheduleClock(rows) if rows else None

    def edges(self) -> FloatArray:
        """Moments at which a row starts or ends, in days since 1970-01-01."""
        moments = sorted({pd.Timestamp(at) for row in self.rows for at in row[:2]})
        return np.array([(at - _EPOCH) / pd.Timedelta(days=1) for at in moments])

    def columns(self, day: FloatArray) -> FloatArray:
        """Value of each name at some moments, shape (n_names, n)."""
        found = np.zeros((len(self.names), len(day)))
        for start, end, name, value in self.rows:
            begins, ends = (
                (pd.Timestamp(at) - _EPOCH) / pd.Timedelta(days=1) for at in (start, end)
            )
            found[self.names.index(name)] += value * ((day >= begins) & (day < ends))
        return found


Clock: TypeAlias = NewcomerClock | SeasonClock | ScheduleClock
ClockSettings: TypeAlias = Sequence[Clock | Literal["newcomers", "season"]] | Literal["auto"]

_BY_NAME: dict[str, type[Any]] = {"newcomers": NewcomerClock, "season": SeasonClock}


@dataclass(frozen=True)
class RequestedClocks:
    """The clocks that a model is asked for, at most one of each kind."""

    newcomers: NewcomerClock | None = None
    season: SeasonClock | None = None
    schedules: ScheduleClock | None = None
    auto: bool = False

    @classmethod
    def read(cls, clocks: Any) -> RequestedClocks:
        """Read the setting ``clocks``.

        Raises
        ------
        ParameterError
            If an element is no clock, or two are of one kind.
        """
        if isinstance(clocks, str):
            if clocks != "auto":
                raise ParameterError("clocks", "'auto' or a sequence of clocks", clocks)
            return cls(NewcomerClock(), SeasonClock(), auto=True)
        found: dict[str, Any] = {}
        for clock in clocks:
            one = _BY_NAME[clock]() if isinstance(clock, str) and clock in _BY_NAME else clock
            kind = {NewcomerClock: "newcomers", SeasonClock: "season", ScheduleClock: "schedules"}
            name = kind.get(type(one))
            if name is None or name in found:
                raise ParameterError(
                    "clocks", "'newcomers', 'season' or clocks, one of each kind", clock
                )
            found[name] = one
        if "newcomers" in found:
            found["newcomers"].check()
        return cls(**found)

    @property
    def estimated(self) -> bool:
        """Whether something is to be estimated."""
        return bool(
            (self.newcomers is not None and self.newcomers.first is None)
            or (self.season is not None and self.season.profile is None)
            or self.schedules is not None
        )

    def __bool__(self) -> bool:
        return any(one is not None for one in (self.newcomers, self.season, self.schedules))


def to_plain(clocks: Any) -> Any:
    """Return the setting ``clocks`` as plain JSON values."""
    if isinstance(clocks, str):
        return clocks
    plain: list[Any] = []
    for clock in clocks:
        if isinstance(clock, str):
            plain.append(clock)
            continue
        values = asdict(clock)
        if isinstance(clock, SeasonClock) and clock.profile is not None:
            values = {"profile": clock.profile.to_dict()}
        if isinstance(clock, NewcomerClock) and clock.half_life is not None:
            values["half_life"] = str(clock.half_life)
        if isinstance(clock, ScheduleClock):
            values = {"rows": [list(row) for row in clock.rows]}
        plain.append({"clock": type(clock).__name__, **values})
    return plain


def from_plain(stored: Any) -> Any:
    """Rebuild the setting ``clocks`` from :func:`to_plain`."""
    if isinstance(stored, str):
        return stored
    found: list[Any] = []
    for one in stored:
        if not isinstance(one, dict):
            found.append(one)
        elif one["clock"] == "NewcomerClock":
            found.append(NewcomerClock(one["first"], one["half_life"]))
        elif one["clock"] == "SeasonClock":
            profile = one["profile"]
            found.append(SeasonClock(profile and CalendarProfile.from_dict(profile)))
        elif one["clock"] == "ScheduleClock":
            found.append(ScheduleClock(tuple((b, e, n, v) for b, e, n, v in one["rows"])))
        else:
            raise ParameterError("clocks", "clocks of this package", one["clock"])
    return found
