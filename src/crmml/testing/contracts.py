"""Contracts that end: the table of subscriptions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crmml.data.schema import END_REASONS
from crmml.testing.drawing import named, timestamps
from crmml.testing.purchases import Base

PERIOD_DAYS = 28.0
REASON_SHARES = {"voluntary": 0.7, "involuntary": 0.2, "competitor": 0.1}


def draw_subscriptions(
    rng: np.random.Generator,
    base: Base,
    truth: pd.DataFrame,
    origin: pd.Timestamp,
    end: float,
) -> pd.DataFrame:
    """Draw contracts renewed every four weeks; the chance to end is beta distributed (sBG).

    ``truth`` gains that chance, ``churn_probability``. Of the ends ``REASON_SHARES`` have each
    reason, whoever the customer is. An involuntary end is a payment that failed: the last period
    before it was not paid.
    """
    n = len(base.born)
    theta = np.clip(rng.beta(1.0, 6.0, n), 1e-6, 1 - 1e-12)
    truth["churn_probability"] = theta
    periods = rng.geometric(theta)
    ended = base.born + PERIOD_DAYS * periods
    over = ended < end
    reason = rng.choice(len(END_REASONS), n, p=[REASON_SHARES[name] for name in END_REASONS])
    plan = rng.choice(2, n, p=[0.7, 0.3])
    paid = base.born + PERIOD_DAYS * np.minimum(
        periods, np.floor((end - base.born) / PERIOD_DAYS) + 1
    )
    paid = paid - PERIOD_DAYS * (over & (np.array(END_REASONS)[reason] == "involuntary"))
    return pd.DataFrame(
        {
            "customer_id": base.customer_id,
            "started_at": timestamps(origin, base.born),
            "ended_at": pd.Series(timestamps(origin, np.where(over, ended, 0))).where(over),
            "plan": named(plan, ["basic", "plus"]),
            "fee": np.array([9.0, 19.0])[plan],
            "end_reason": named(reason, END_REASONS).where(over),
            "paid_until": timestamps(origin, paid),
        }
    )
