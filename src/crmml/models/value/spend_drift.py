"""Whether order values are as a spend model takes them: constant over time within customers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crmml._typing import FloatArray
from crmml.features.snapshot import Snapshot
from crmml.stats.discounting import UNIT_DAYS

_LEAST = 30
_CRITICAL = 2.24
"""Two-sided level of 2.5 %."""
_MATERIAL = 0.05
"""Change in a year from which it is worth a word."""
_NEEDED = ("last_order_value", "monetary_value", "frequency", "recency", "T")


@dataclass(frozen=True)
class SpendDrift:
    """How fast the order values of the same customers change.

    Attributes
    ----------
    per_month : float
        Relative change in a month of 365/12 days.
    error : float
        Its standard error.
    bias : float
        What a spend model that takes the past for constant errs by, relatively, in the coming half
        year: negative where values rise.
    n_customers : int
        Customers with at least two repeat purchases and positive spend.
    """

    per_month: float
    error: float
    bias: float
    n_customers: int

    @property
    def found(self) -> bool:
        """Whether it differs from 0 at the level of 2.5 % and makes at least 5 % in a year."""
        clear = abs(self.per_month) > _CRITICAL * self.error
        return bool(clear and abs(12.0 * self.per_month) >= _MATERIAL)

    @property
    def sentence(self) -> str:
        """The finding with its figures and what it means."""
        way, side = ("rise", "low") if self.per_month > 0 else ("fall", "high")
        reach = 1.96 * self.error
        return (
            f"order values of the same customers {way} by {abs(self.per_month):.1%} a month "
            f"(95 %: {self.per_month - reach:+.1%} to {self.per_month + reach:+.1%}, "
            f"{self.n_customers:,} customers with two repeat purchases or more), but the spend "
            f"model takes them as constant: a forecast of spend in the coming 26 weeks is about "
            f"{abs(self.bias):.0%} too {side}, and lifetime value more"
        )


def measure_spend_drift(snapshot: Snapshot) -> SpendDrift | None:
    """Measure how order values change with time within customers.

    Parameters
    ----------
    snapshot : Snapshot
        Built from a log; uses ``last_order_value``, ``monetary_value``, ``frequency``, ``recency``.

    Returns
    -------
    SpendDrift or None
        None where a column is missing, time is counted in opportunities, or fewer than 30 customers
        have two repeat purchases and positive spend.

    Notes
    -----
    Without a drift the repeat orders of a customer are exchangeable, whatever their distribution,
    so that the last of x is 1/x of their sum in the mean, and ``x last / sum - 1`` has the mean
    0. The first order is left out: it may be special. With a drift g it has about g times the time
    between the last repeat order and the mean one, ``recency (x - 1) / (2 x)``. So g is the slope
    of a regression through the origin, with the standard error that holds whatever the variances
    (White 1980).
    """
    frame, unit = snapshot.frame, UNIT_DAYS.get(snapshot.time_unit)
    if unit is None or any(name not in frame.columns for name in _NEEDED):
        return None
    last, mean, x, t_x, T = (frame[name].to_numpy(dtype=np.float64) for name in _NEEDED)
    keep = (x >= 2) & (mean > 0) & np.isfinite(last)
    if keep.sum() < _LEAST:
        return None
    last, mean, x, t_x, T = (values[keep] for values in (last, mean, x, t_x, T))
    surplus = last / mean - 1.0
    slope, error = _slope_through_origin(t_x * (x - 1.0) / (2.0 * x), surplus)
    ahead = T - t_x * (x + 1.0) / (2.0 * x) + 13.0 * 7.0 / unit
    month = 365.0 / 12.0 / unit
    rate = x / T
    change = slope * float(rate @ ahead / rate.sum())
    return SpendDrift(
        per_month=slope * month,
        error=error * month,
        bias=-change / (1.0 + change),
        n_customers=len(x),
    )


def _slope_through_origin(z: FloatArray, y: FloatArray) -> tuple[float, float]:
    square = float(z @ z)
    slope = float(z @ y) / square
    error = float(np.sqrt(((z * (y - slope * z)) ** 2).sum())) / square
    return slope, error


def correlate_first_order(snapshot: Snapshot) -> tuple[float, int] | None:
    """Correlate the logarithms of a customer's first order and of the mean of the later ones.

    Returns
    -------
    (float, int) or None
        The correlation and the customers; None where the columns are missing or fewer than 30
        customers have both.
    """
    frame = snapshot.frame
    if "first_order_value" not in frame.columns or "monetary_value" not in frame.columns:
        return None
    first, mean = (frame[n].to_numpy(np.float64) for n in ("first_order_value", "monetary_value"))
    keep = (frame["frequency"].to_numpy() > 0) & (first > 0) & (mean > 0)
    if keep.sum() < _LEAST:
        return None
    logs = np.log(first[keep]), np.log(mean[keep])
    if min(values.std() for values in logs) < 1e-9:
        return None
    return float(np.corrcoef(*logs)[0, 1]), int(keep.sum())
