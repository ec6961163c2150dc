"""Units of time and discounting: the only place where either is converted.

A year is 365 days (the Actual/365 Fixed convention of ISDA), so a cash flow 365 days away at an
annual rate of 10 % is worth exactly 1/1.10 of its amount.
"""

from __future__ import annotations

import math

from crmml._typing import MONTHS, Duration, TimeUnit
from crmml.exceptions import CrmmlError, ParameterError

DAYS_PER_YEAR = 365.0
UNIT_DAYS: dict[TimeUnit, float] = {
    "hour": 1.0 / 24.0,
    "day": 1.0,
    "week": 7.0,
    "month": DAYS_PER_YEAR / 12.0,
    "quarter": DAYS_PER_YEAR / 4.0,
}
"""Length in days; of a month and a quarter the mean one, so that twelve and four make a year."""


def in_units(duration: str | Duration, time_unit: TimeUnit) -> float:
    """Express a duration in the time unit of a snapshot.

    Parameters
    ----------
    duration : str or Duration
        For example ``"52W"``.
    time_unit : {"hour", "day", "week", "month", "quarter", "period"}
        Target unit. Opportunities (``period``) convert only to themselves.

    Returns
    -------
    float
        Number of units, positive.

    Raises
    ------
    DurationError
        If the text is no duration.
    CrmmlError
        If calendar time meets purchase opportunities.

    Examples
    --------
    >>> in_units("26W", "day"), in_units("4Q", "month")
    (182.0, 12.0)
    """
    length = Duration.parse(duration)
    if length.unit == time_unit:
        return length.number
    if length.unit in MONTHS and time_unit in MONTHS:
        return length.number * MONTHS[length.unit] / MONTHS[time_unit]
    if "period" in (length.unit, time_unit):
        raise CrmmlError(
            f"purchase opportunities have no length in calendar time: cannot express {length} in "
            f"units of {time_unit!r}"
        )
    return length.number * UNIT_DAYS[length.unit] / UNIT_DAYS[time_unit]


def discount_rate_per_unit(annual_discount_rate: float, time_unit: TimeUnit) -> float:
    """Continuously compounded discount rate per time unit, ``log(1 + d) / units per year``.

    Parameters
    ----------
    annual_discount_rate : float
        Effective annual rate ``d >= 0``; 0.10 is ten per cent a year.
    time_unit : {"hour", "day", "week", "month", "quarter", "period"}
        A purchase opportunity counts as one year, as in Fader, Hardie and Shang (2010).

    Returns
    -------
    float
        Rate ``delta`` with ``exp(-delta * units per year) = 1 / (1 + d)``.

    Raises
    ------
    ParameterError
        If the rate is negative or not finite.

    Examples
    --------
    >>> round(math.exp(-365 * discount_rate_per_unit(0.10, "day")) * 1.10, 12)
    1.0
    >>> round(math.exp(-12 * discount_rate_per_unit(0.10, "month")) * 1.10, 12)
    1.0
    """
    if not (annual_discount_rate >= 0.0 and math.isfinite(annual_discount_rate)):
        raise ParameterError("annual_discount_rate", "finite and >= 0", annual_discount_rate)
    units_per_year = 1.0 if time_unit == "period" else DAYS_PER_YEAR / UNIT_DAYS[time_unit]
    return math.log1p(annual_discount_rate) / units_per_year
