"""What must be known of the customers of a fit so that a clock can be estimated from them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from crmml.exceptions import FitWarning, ParameterError, TooLittleDataError
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Snapshot
from crmml.models.purchase.calendar import LEAST_WEEKS
from crmml.models.purchase.clocks import RequestedClocks
from crmml.models.purchase.joint_fit import weeks_of
from crmml.stats.discounting import UNIT_DAYS


def check_time_unit(snapshot: Snapshot, requested: RequestedClocks, calendar: Any) -> None:
    """Refuse clocks where time is counted in purchase opportunities."""
    if snapshot.time_unit in UNIT_DAYS:
        return
    if requested.season is not None and calendar is not None:
        raise ParameterError(
            "calendar", "None for purchase opportunities, which have no dates", calendar
        )
    raise ParameterError(
        "time_unit", "one of calendar time, not purchase opportunities", snapshot.time_unit
    )


def check_evidence(
    name: str,
    snapshot: Snapshot,
    requested: RequestedClocks,
    times: PurchaseTimes | None,
    sample_weight: Any,
) -> RequestedClocks:
    """Refuse what cannot be estimated here; of ``"auto"`` leave it out."""
    long_enough = weeks_of(snapshot) >= LEAST_WEEKS - 1e-6
    if requested.auto:
        if times is None:
            warnings.warn(
                f"{name}: clocks='auto' tries none, because it is unknown when "
                "these very customers bought",
                FitWarning,
                stacklevel=5,
            )
            return RequestedClocks()
        return requested if long_enough else replace(requested, season=None)
    newcomers = requested.newcomers is not None and requested.newcomers.first is None
    season = requested.season is not None and requested.season.profile is None
    # The times of purchases are counted over all customers, where weights cannot reach them.
    if sample_weight is not None and requested.estimated:
        what = "the newcomers' rate" if newcomers else "the calendar"
        raise ParameterError("sample_weight", f"None when {what} is estimated", "weights")
    if season and not long_enough:
        raise TooLittleDataError(
            f"a calendar profile is estimated from at least two years ({LEAST_WEEKS} weeks) of "
            f"data; these span {weeks_of(snapshot):.0f} weeks: give the profile as a table "
            "(CalendarProfile.from_weeks), or calendar=None"
        )
    if times is None and newcomers:
        raise TooLittleDataError(
            "the rate of newcomers is estimated from the ages at which these very customers "
            "bought, which this snapshot does not know: build it with behaviour=True and take "
            "no subset, or give first and half_life"
        )
    if times is None and (season or requested.schedules is not None):
        what = "a calendar profile" if season else "the coefficient of a schedule"
        raise TooLittleDataError(
            f"{what} is estimated from the weeks in which these very customers "
            "bought, which this snapshot does not know: build it with behaviour=True and "
            "take no subset, or give the profile as a table (CalendarProfile.from_weeks)"
        )
    return requested


def warn_of_unknown_times(name: str, requested: RequestedClocks, *, settles: bool) -> None:
    """Warn that the log-likelihood under given clocks lacks what the purchase times would add."""
    if requested.season is not None:
        warnings.warn(
            f"{name}: the weeks in which these customers bought are unknown, so "
            "the log-likelihood lacks the sum of log s at the purchases and cannot be compared "
            "with that of a model without a profile",
            FitWarning,
            stacklevel=5,
        )
    if requested.newcomers is not None and settles:
        warnings.warn(
            f"{name}: the ages at which these customers bought are unknown, so the "
            "log-likelihood lacks the sum of the log rates at the purchases and cannot be "
            "compared with that of another model",
            FitWarning,
            stacklevel=5,
        )
