"""Time: outcome windows after a cutoff, rolling cutoffs, and folds that never look ahead."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import MONTHS, Duration, Grain, IntArray, TimeUnit
from crmml.exceptions import CensoredWindowError, ParameterError, TooLittleDataError
from crmml.metrics.bootstrap import hash_keys
from crmml.stats.discounting import UNIT_DAYS, in_units


@dataclass(frozen=True)
class Window:
    """A cutoff and the outcome window after it, ``[cutoff + gap, cutoff + gap + horizon)``.

    Parameters
    ----------
    cutoff : Timestamp or str
        Exclusive end of the features, timezone-naive.
    horizon : Duration or str
        Length of the outcome window, for example ``"13W"``.
    gap : Duration or str, optional
        Time between cutoff and window, in which one acts.

    Examples
    --------
    >>> window = Window("1997-10-01", "39W")
    >>> window.closes
    Timestamp('1998-07-01 00:00:00')
    """

    cutoff: pd.Timestamp
    horizon: Duration
    gap: Duration | None = None

    def __init__(
        self,
        cutoff: str | pd.Timestamp,
        horizon: str | Duration,
        gap: str | Duration | None = None,
    ) -> None:
        object.__setattr__(self, "cutoff", read_moment(cutoff, "cutoff"))
        object.__setattr__(self, "horizon", Duration.parse(horizon))
        object.__setattr__(self, "gap", None if gap is None else Duration.parse(gap))
        shifted(self.cutoff, self.horizon)

    @property
    def opens(self) -> pd.Timestamp:
        """First moment of the outcome window."""
        return self.cutoff if self.gap is None else shifted(self.cutoff, self.gap)

    @property
    def closes(self) -> pd.Timestamp:
        """Exclusive end of the outcome window."""
        return shifted(self.opens, self.horizon)

    def check_observed(self, last_timestamp: str | pd.Timestamp, grain: Grain = "day") -> None:
        """Refuse a window of which the data have not seen the end.

        Parameters
        ----------
        last_timestamp : Timestamp
            Last transaction in the data; its day counts as seen to the end.
        grain : str
            Of a month or quarter: that of the last transaction counts as seen to the end.

        Raises
        ------
        CensoredWindowError
            With both dates.
        """
        end = end_of_observation(last_timestamp, grain)
        if self.closes > end:
            raise CensoredWindowError(
                f"the outcome window {self.opens} to {self.closes} of the cutoff {self.cutoff} "
                f"ends after the data do ({end}): customers silent in it are censored, not lost; "
                "take an earlier cutoff or a shorter horizon"
            )


@dataclass(frozen=True)
class Fold:
    """One step of a backtest: what may be learned from, and what is judged.

    Attributes
    ----------
    train : tuple of Window
        Windows that closed at or before the cutoff of ``test``.
    test : Window
        A later window.
    """

    train: tuple[Window, ...]
    test: Window


def read_moment(value: str | pd.Timestamp, name: str) -> pd.Timestamp:
    """Read one timezone-naive moment.

    Raises
    ------
    ParameterError
        If it is no moment, or carries a time zone; text must be ISO 8601, as other forms (01.02.98,
        12:00, now) may mean several moments.
    """
    rule = "a date like '2024-01-31', or a moment like '2024-01-31 18:00', without a time zone"
    kinds = (str, datetime.date, np.datetime64)
    if not isinstance(value, kinds) or (
        isinstance(value, str) and not _ISO.fullmatch(value.strip())
    ):
        raise ParameterError(name, rule, value)
    try:
        moment = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise ParameterError(name, rule, value) from error
    if pd.isna(moment) or moment.tzinfo is not None:
        raise ParameterError(name, rule, value)
    return moment


_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?")


_LONGEST_WINDOW = 5000 * 7 * 24
"""Hours: a century, so that no window ends beyond the calendar of the computer."""


def length_of(duration: str | Duration) -> pd.Timedelta:
    """Return the length of a duration in calendar time; of months and quarters the mean one.

    Examples
    --------
    >>> length_of("2W")
    Timedelta('14 days 00:00:00')
    """
    hours = in_units(duration, "hour")
    if hours > _LONGEST_WINDOW:
        raise ParameterError("a window of calendar time", "at most 5000W long", str(duration))
    return pd.Timedelta(hours=hours)


def shifted(moment: pd.Timestamp, duration: str | Duration, times: int = 1) -> pd.Timestamp:
    """Return the moment a whole number of times a duration later; earlier where it is negative.

    Raises
    ------
    ParameterError
        If the duration is no whole number of months or quarters.

    Examples
    --------
    >>> shifted(pd.Timestamp("2024-01-01"), "2M"), shifted(pd.Timestamp("2024-01-01"), "1W", -1)
    (Timestamp('2024-03-01 00:00:00'), Timestamp('2023-12-25 00:00:00'))
    """
    length = Duration.parse(duration)
    if length.unit not in MONTHS:
        return moment + times * length_of(length)
    if not float(length.number).is_integer():
        raise ParameterError("a duration", f"a whole number of {length.unit}s", str(length))
    return moment + pd.DateOffset(months=times * int(length.number) * MONTHS[length.unit])


def units_between(start: pd.Timestamp, end: pd.Timestamp, time_unit: TimeUnit) -> float:
    """Return how many units lie between two moments; of months and quarters, whole ones.

    Examples
    --------
    >>> units_between(pd.Timestamp("2024-01-01"), pd.Timestamp("2025-01-01"), "quarter")
    4.0
    """
    if time_unit in MONTHS:
        months = (end.year - start.year) * 12 + end.month - start.month
        return float(months // MONTHS[time_unit])
    return float((end - start) / pd.Timedelta(hours=24.0 * UNIT_DAYS[time_unit]))


def end_of_observation(last_timestamp: str | pd.Timestamp, grain: Grain = "day") -> pd.Timestamp:
    """Return the exclusive end of what a log has seen: of its last day, or last month or quarter.

    Months and quarters are told by the grain alone: a log of that grain dates a whole month by one
    day of it.

    Examples
    --------
    >>> end_of_observation("1998-06-30 14:05")
    Timestamp('1998-07-01 00:00:00')
    >>> end_of_observation("1998-05-01", "quarter")
    Timestamp('1998-07-01 00:00:00')
    """
    last = read_moment(last_timestamp, "last_timestamp")
    if grain not in MONTHS:
        return last.floor("D") + pd.Timedelta(days=1)
    return start_of_calendar(last, grain) + pd.DateOffset(months=MONTHS[grain])


def start_of_calendar(moment: pd.Timestamp, grain: Grain) -> pd.Timestamp:
    """Return where the month or quarter of a moment begins; of other grains, its day.

    Examples
    --------
    >>> start_of_calendar(pd.Timestamp("1998-05-07 12:00"), "quarter")
    Timestamp('1998-04-01 00:00:00')
    """
    if grain not in MONTHS:
        return moment.floor("D")
    months = MONTHS[grain]
    return pd.Timestamp(moment.year, (moment.month - 1) // months * months + 1, 1)


_MOST_WINDOWS = 10_000


def rolling_windows(
    first_timestamp: str | pd.Timestamp,
    last_timestamp: str | pd.Timestamp,
    *,
    horizon: str | Duration,
    gap: str | Duration | None = None,
    step: str | Duration | None = None,
    min_history: str | Duration | None = None,
    grain: Grain = "day",
) -> list[Window]:
    """Place cutoffs backwards from the end of the data, newest last.

    Parameters
    ----------
    first_timestamp, last_timestamp : Timestamp or str
        Span of the log; the last day counts as seen to the end.
    horizon, gap : Duration or str
        See :class:`Window`.
    step : Duration or str, optional
        From cutoff to cutoff; default ``horizon``, so that outcome windows do not overlap.
    min_history : Duration or str, optional
        Least span from the start of the data to a cutoff; default ``horizon``.
    grain : str
        Of a log dated by months or quarters; the durations are then whole ones of them.

    Returns
    -------
    list of Window
        At least one.

    Raises
    ------
    TooLittleDataError
        If the span holds no such window; the message gives the figures.

    Examples
    --------
    >>> for window in rolling_windows("1997-01-01", "1998-06-30", horizon="26W"):
    ...     print(window.cutoff.date(), window.closes.date())
    1997-07-02 1997-12-31
    1997-12-31 1998-07-01
    """
    length = Duration.parse(horizon)
    start = start_of_calendar(read_moment(first_timestamp, "first_timestamp"), grain)
    end = end_of_observation(last_timestamp, grain)
    earliest = shifted(start, min_history or length)
    cutoff = shifted(end, length, -1)
    if gap is not None:
        cutoff = shifted(cutoff, gap, -1)
    windows: list[Window] = []
    if (cutoff - earliest) / (cutoff - shifted(cutoff, step or length, -1)) > _MOST_WINDOWS:
        rule = f"so long that the data hold at most {_MOST_WINDOWS:,} windows"
        raise ParameterError(
            "the horizon, or the step from window to window,", rule, f"{step or length}"
        )
    while cutoff >= earliest:
        windows.append(Window(cutoff, length, gap))
        cutoff = shifted(cutoff, step or length, -1)
    if not windows:
        days = (end - start).days
        raise TooLittleDataError(
            f"the data span {days} days ({start.date()} to {end.date()}); a history of "
            f"{min_history or length}, a gap of {gap or 'none'} and an outcome window of {length} "
            "need more"
        )
    return windows[::-1]


def embargoed_folds(windows: Sequence[Window]) -> list[Fold]:
    """Pair each window with the earlier ones that had closed before its cutoff.

    A window whose outcomes overlap the time after the test cutoff would tell the future: it is
    left out of training. Windows without anything to train on are not judged.

    Examples
    --------
    >>> windows = rolling_windows("2020-01-01", "2021-12-30", horizon="13W", step="4W")
    >>> folds = embargoed_folds(windows)
    >>> all(w.closes <= fold.test.cutoff for fold in folds for w in fold.train)
    True
    """
    ordered = sorted(windows, key=lambda window: window.cutoff)
    folds = [Fold(tuple(w for w in ordered if w.closes <= test.cutoff), test) for test in ordered]
    return [fold for fold in folds if fold.train]


def customer_folds(customer_id: pd.Index[Any], n_folds: int, *, seed: int = 0) -> IntArray:
    """Deal customers into folds by a hash of their id.

    A customer is in the same fold in every snapshot, whoever else is in it and in any order, and
    whether a store returns the id as a whole number or as the text of it.

    Parameters
    ----------
    customer_id : Index
        Whole numbers or text.
    n_folds : int
        At least 2.
    seed : int
        Another seed deals anew.

    Returns
    -------
    ndarray of int, shape (n_customers,)
        Fold of each, 0 to ``n_folds - 1``.

    Examples
    --------
    >>> customer_folds(pd.Index(["a", "b", "d", "f"]), 3).tolist()
    [0, 0, 1, 2]
    """
    if n_folds < 2:
        raise ParameterError("n_folds", "at least 2", n_folds)
    hashed = hash_keys(customer_id)
    salt = np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    # One round of splitmix64, so that the folds of different seeds are unrelated.
    mixed = hashed ^ salt
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(n_folds)).astype(np.int64)
