"""Plans common to all customers, promotions, prices and holidays, and what they do to purchases."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.testing.drawing import DAYS_PER_WEEK
from crmml.testing.truth import Purchases

AHEAD_DAYS = 26 * DAYS_PER_WEEK
QUARTER_DAYS = 91


def draw_schedules(rng: np.random.Generator, origin: pd.Timestamp, end: float) -> pd.DataFrame:
    """Draw promotions, price periods and holidays, planned for half a year past ``end``.

    Promotions of one or two weeks follow each other after four to nine weeks; their value is the
    discount. The price index is 1 at first and moves by quarters, without a gap. The holidays
    (24 to 26 December) have no value, which the contract reads as 1.
    """
    horizon = int(np.ceil(end + AHEAD_DAYS))
    n = horizon // 35 + 1
    length = 7 * rng.integers(1, 3, n)
    gap = 7 * rng.integers(4, 10, n)
    first = np.cumsum(gap + length) - length
    discount = rng.choice([0.1, 0.2, 0.3], n)
    quarters = np.arange(0, horizon, QUARTER_DAYS)
    index = np.exp(np.r_[0.0, np.cumsum(rng.normal(0.0, 0.06, len(quarters) - 1))])
    years = range(origin.year, (origin + pd.Timedelta(days=horizon)).year + 1)
    eve = np.array([(pd.Timestamp(year, 12, 24) - origin).days for year in years])
    parts = [
        ("promotion", first, first + length, discount),
        ("price_index", quarters, np.append(quarters[1:], horizon), np.round(index, 4)),
        ("holiday", eve, eve + 3, np.full(len(eve), np.nan)),
    ]
    table = pd.concat(
        [
            pd.DataFrame({"starts_at": start, "ends_at": stop, "name": name, "value": value})
            for name, start, stop, value in parts
        ]
    )
    table = table[(table["starts_at"] < horizon) & (table["ends_at"] > 0)]
    for column in ("starts_at", "ends_at"):
        table[column] = (origin + pd.to_timedelta(table[column], unit="D")).astype("datetime64[us]")
    table["name"] = table["name"].astype("str")
    return table.sort_values(["starts_at", "name"], ignore_index=True)


def rate_multiplier(
    schedules: pd.DataFrame, buying: Purchases, origin: pd.Timestamp, n_days: int
) -> FloatArray:
    """Return what the schedules multiply the purchase rate with, day by day: shape (n_days,)."""
    effects = {
        "promotion": (buying.promotion_effect, 0.0),
        "price_index": (buying.price_effect, 1.0),
        "holiday": (buying.holiday_effect, 0.0),
    }
    log_rate = np.zeros(n_days)
    first, stop = (
        ((schedules[column] - origin) // pd.Timedelta(days=1)).clip(lower=0).tolist()
        for column in ("starts_at", "ends_at")
    )
    values = schedules["value"].fillna(1.0).tolist()
    for name, i, j, value in zip(schedules["name"], first, stop, values, strict=True):
        effect, neutral = effects[name]
        log_rate[i:j] += effect * (value - neutral)
    return np.exp(log_rate)
