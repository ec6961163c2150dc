"""A ready-made table with an outcome whose log-odds are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit

from crmml._typing import IntArray
from crmml.testing.drawing import DAYS_PER_WEEK, named, timestamps

INTERCEPT = -2.0
PER_CALL = 0.5
CALLS_MISSING = 0.8
BY_CONTRACT = {"monthly": 0.9, "yearly": 0.0, "two_years": -0.7}
PER_QUIET_YEAR = 1.2
"""Log-odds of the outcome: ``INTERCEPT``, ``PER_CALL`` for each support call (``CALLS_MISSING``
where the number is missing), by contract, and ``PER_QUIET_YEAR`` for each year since the last
contact. Fee and region say nothing."""


def draw_labelled(
    rng: np.random.Generator,
    customer_id: IntArray,
    truth: pd.DataFrame,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Draw a table of customers with an outcome; ``truth`` gains ``outcome_log_odds``.

    The columns are a number with missing values, texts (one with missing values), a date and two
    columns that have nothing to do with the outcome.
    """
    n = len(customer_id)
    calls = rng.poisson(1.2, n)
    unknown = rng.random(n) < 0.1
    contract = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    quiet_years = rng.exponential(0.5, n)
    log_odds = (
        INTERCEPT
        + np.where(unknown, CALLS_MISSING, PER_CALL * calls)
        + np.array(list(BY_CONTRACT.values()))[contract]
        + PER_QUIET_YEAR * quiet_years
    )
    truth["outcome_log_odds"] = log_odds
    region = named(rng.integers(0, 4, n), ["north", "east", "south", "west"])
    last = np.round(end - quiet_years * 52.1775 * DAYS_PER_WEEK)
    return pd.DataFrame(
        {
            "customer_id": customer_id,
            "outcome": rng.random(n) < expit(log_odds),
            "support_calls": pd.Series(calls, dtype="Int64").mask(unknown),
            "contract": named(contract, list(BY_CONTRACT)),
            "last_contact_at": timestamps(origin, last),
            "monthly_fee": np.round(rng.gamma(6.0, 5.0, n), 2),
            "region": region.mask(rng.random(n) < 0.05),
        }
    )
