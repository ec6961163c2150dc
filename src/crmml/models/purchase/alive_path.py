"""P(alive) of one customer on each day since the first purchase, as each day saw it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crmml.features.one_customer import DailyHistory
from crmml.features.snapshot import Snapshot
from crmml.models.purchase.base import PurchaseModel
from crmml.models.purchase.left_censored import LeftCensoredModel


def follow_alive(model: PurchaseModel, snapshot: Snapshot, purchases: pd.DataFrame) -> pd.DataFrame:
    """Follow P(alive) of one customer, given on each day only what was known at its end.

    Parameters
    ----------
    model : PurchaseModel
        Fitted.
    snapshot : Snapshot
        The customer's row at the cutoff; covariates are taken as they are there.
    purchases : DataFrame
        From :func:`crmml.features.one_customer.gather_purchases`.

    Returns
    -------
    DataFrame
        ``date``, ``probability_alive`` and ``purchases`` (so far), a row per day; the last value
        is P(alive) at the cutoff.

    Notes
    -----
    The model is asked, not drawn: each value is :meth:`PurchaseModel.probability_alive` of the
    snapshot that could have been built at the end of the day, under the parameters fitted now.
    """
    days = DailyHistory(snapshot, purchases)
    if _follows_dates(model):
        values = [float(model.probability_alive(day).iloc[0]) for day in days.one_by_one()]
        alive = np.array(values)
    else:
        alive = model.probability_alive(days.at_once()).to_numpy()
    return pd.DataFrame(
        {
            "date": days.date,
            "probability_alive": alive,
            "purchases": days.frequency.astype(np.int64) + 1,
        }
    )


def _follows_dates(model: PurchaseModel) -> bool:
    """Whether the answer depends on dates, not only on the times since the first purchase."""
    dated = model.calendar_ is not None or bool(model.schedule_coefficients_)
    return dated or isinstance(model, LeftCensoredModel)
