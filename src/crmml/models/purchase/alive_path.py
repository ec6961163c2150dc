"""P(alive) of one customer on each day since the first purchase, as each day saw it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.features.one_customer import DailyHistory
from crmml.features.snapshot import Snapshot
from crmml.models.purchase.base import PurchaseModel
from crmml.models.purchase.joint_fit import end_of
from crmml.models.purchase.left_censored import LeftCensoredModel
from crmml.stats.clocks import Intervals
from crmml.stats.discounting import UNIT_DAYS


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
    if isinstance(model, LeftCensoredModel):  # who is old is a matter of each cutoff
        values = [float(model.probability_alive(day).iloc[0]) for day in days.one_by_one()]
        alive = np.array(values)
    elif model.calendar_ is not None or model.schedule_coefficients_:
        alive = _on_dates(model, snapshot, days)
    else:  # only the times since the first purchase count
        alive = model.probability_alive(days.at_once()).to_numpy()
    return pd.DataFrame(
        {
            "date": days.date,
            "probability_alive": alive,
            "purchases": days.frequency.astype(np.int64) + 1,
        }
    )


def _on_dates(model: PurchaseModel, snapshot: Snapshot, days: DailyHistory) -> FloatArray:
    """P(alive) under clocks that follow dates: every day's clock begins at the first purchase."""
    h = model._plain_histories(days.at_once())
    end, unit = end_of(snapshot), UNIT_DAYS[snapshot.time_unit]
    begin = np.full(len(h.T), -float(days.T[-1]))
    clocks = model._clockwork
    pace = clocks.pace(snapshot, end - float(days.T[-1]) * unit, end)

    def passed(length: FloatArray) -> FloatArray:
        return np.asarray(Intervals.of(begin, length).under(pace, clocks.effect).time)

    T = passed(h.T)
    t_x = np.where(h.x > 0, np.minimum(passed(h.t_x), T), 0.0)
    alive = model._process.probability_alive(model._row_params(h), h.x, t_x, T)
    return np.asarray(alive[h.inverse])
