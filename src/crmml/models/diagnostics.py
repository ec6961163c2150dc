"""Tables that show what a fitted purchase model believes; :mod:`crmml.plots` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from crmml._typing import Duration
from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models.base import PurchaseModel
from crmml.models.lifetime_value import LifetimeValueModel

Quantity = Literal["expected_purchases", "probability_alive", "clv"]


def compute_matrix(
    model: PurchaseModel | LifetimeValueModel,
    quantity: Quantity = "expected_purchases",
    *,
    T: float,
    horizon: str | Duration = "52W",
    max_frequency: int = 20,
    n_recency: int = 60,
    monetary_value: float | None = None,
) -> pd.DataFrame:
    """Prediction for every history of one length: frequency by recency.

    Parameters
    ----------
    model : PurchaseModel or LifetimeValueModel
        Fitted; ``"clv"`` needs the latter.
    quantity : {"expected_purchases", "probability_alive", "clv"}
        What to compute.
    T : float
        Length of the observation, in the model's time unit; positive.
    horizon : str or Duration
        How far to look ahead.
    max_frequency : int
        Largest number of repeat purchases.
    n_recency : int
        Number of recencies between 0 and ``T``.
    monetary_value : float, optional
        Mean spend of the repeat purchases, for ``"clv"``.

    Returns
    -------
    DataFrame, shape (max_frequency + 1, n_recency)
        Index ``frequency``; columns recency, named by the time unit. NaN where the history cannot
        exist (recency 0 with repeat purchases, or the reverse).
    """
    if quantity == "clv" and (monetary_value is None or not isinstance(model, LifetimeValueModel)):
        raise ParameterError("quantity", "'clv' only with a LifetimeValueModel and monetary_value",
                             quantity)  # fmt: skip
    purchases = model.purchase_model if isinstance(model, LifetimeValueModel) else model
    frequency = np.arange(max_frequency + 1)
    recency = np.linspace(0.0, T, n_recency)
    x, t_x = (grid.ravel() for grid in np.meshgrid(frequency, recency, indexing="ij"))
    possible = (x == 0) == (t_x == 0)
    frame = pd.DataFrame(
        {"customer_id": np.arange(len(x)), "frequency": x, "recency": t_x, "T": T,
         "monetary_value": np.where(x > 0, monetary_value or 0.0, 0.0)}
    ).loc[possible]  # fmt: skip
    snapshot = Snapshot.from_frame(frame, cutoff="2000-01-01", time_unit=purchases.time_unit_)
    if quantity == "probability_alive":
        values = purchases.probability_alive(snapshot)
    elif quantity == "expected_purchases":
        values = purchases.expected_purchases(snapshot, horizon)
    else:
        assert isinstance(model, LifetimeValueModel)  # noqa: S101 - checked above, for the reader of types
        values = model.clv(snapshot, horizon)
    table = np.full(len(x), np.nan)
    table[possible] = values.to_numpy()
    return pd.DataFrame(
        table.reshape(len(frequency), n_recency),
        index=pd.Index(frequency, name="frequency"),
        columns=pd.Index(recency, name=f"{purchases.time_unit_}s"),
    )


def compute_alive_path(
    model: PurchaseModel, purchase_times: Sequence[float], until: float, n_points: int = 400
) -> pd.DataFrame:
    """Follow P(alive) of one customer from the first purchase on.

    Parameters
    ----------
    model : PurchaseModel
        Fitted, without covariates.
    purchase_times : sequence of float
        Times of the **repeat** purchases since the first, in the model's unit, rising, positive.
    until : float
        End of the path, at or after the last purchase.
    n_points : int
        Number of points between the purchases.

    Returns
    -------
    DataFrame
        ``time``, ``probability_alive``, ``purchase`` (whether the point is a purchase).
    """
    bought = np.asarray(purchase_times, dtype=np.float64)
    if len(bought) and not (bought[0] > 0 and (np.diff(bought) > 0).all() and bought[-1] <= until):
        raise ParameterError(
            "purchase_times", "rising, positive and at most `until`", purchase_times
        )
    time = np.union1d(np.linspace(0.0, until, n_points + 1)[1:], bought)
    x = np.searchsorted(bought, time, side="right")
    frame = pd.DataFrame(
        {"customer_id": np.arange(len(time)), "frequency": x,
         "recency": np.concatenate([[0.0], bought])[x], "T": time}
    )  # fmt: skip
    snapshot = Snapshot.from_frame(frame, cutoff="2000-01-01", time_unit=model.time_unit_)
    alive = model.probability_alive(snapshot).to_numpy()
    return pd.DataFrame(
        {"time": time, "probability_alive": alive, "purchase": np.isin(time, bought)}
    )


def compute_heterogeneity(model: PurchaseModel, n_points: int = 200) -> pd.DataFrame:
    """Densities of the latent quantities: who buys how often, and who leaves how easily.

    Parameters
    ----------
    model : PurchaseModel
        With parameters ``r, alpha`` (purchase rate ~ Gamma) and ``a, b`` (dropout probability
        after a purchase ~ Beta) or ``s, beta`` (dropout rate ~ Gamma).
    n_points : int
        Points per curve, spread over the central 98 % of each distribution.

    Returns
    -------
    DataFrame
        ``quantity``, ``value`` (per time unit, or a probability), ``density``.
    """
    p = model.params_
    known = {"purchase rate": stats.gamma(p["r"], scale=1.0 / p["alpha"])}
    if "a" in p:
        known["dropout probability"] = stats.beta(p["a"], p["b"])
    if "s" in p:
        known["dropout rate"] = stats.gamma(p["s"], scale=1.0 / p["beta"])
    parts = []
    for quantity, law in known.items():
        value = np.linspace(*law.ppf([0.01, 0.99]), n_points)
        parts.append(
            pd.DataFrame({"quantity": quantity, "value": value, "density": law.pdf(value)})
        )
    return pd.concat(parts, ignore_index=True)


def compute_tracking(
    models: Mapping[str, PurchaseModel],
    snapshot: Snapshot,
    actual: pd.Series[float],
    *,
    start: str | pd.Timestamp,
) -> pd.DataFrame:
    """Repeat purchases per period of a cohort: what happened, and what each model expected.

    The expectation is unconditional: each customer of the snapshot counts from the first purchase
    on as a new customer, so the curve shows the calibration period as well as the holdout.

    Parameters
    ----------
    models : mapping of str to PurchaseModel
        Fitted on ``snapshot``, without covariates.
    snapshot : Snapshot
        The cohort: who has bought before the cutoff.
    actual : Series
        Repeat purchases of these customers per period of one time unit since ``start``, indexed
        1, 2, ...; may reach beyond the cutoff.
    start : str or Timestamp
        Start of the first period.

    Returns
    -------
    DataFrame
        Indexed like ``actual``; ``actual`` and one column per model, purchases per period.
    """
    unit = snapshot.time_unit
    elapsed = float((snapshot.cutoff - pd.Timestamp(start)) / pd.Timedelta(1, unit="h"))
    observed = elapsed / {"hour": 1.0, "day": 24.0, "week": 168.0}[unit]
    ages, customers = np.unique(snapshot.frame["T"].to_numpy(), return_counts=True)
    ends = actual.index.to_numpy(dtype=np.float64)
    born = observed - ages
    table = pd.DataFrame({"actual": actual.to_numpy(dtype=np.float64)}, index=actual.index)
    for name, model in models.items():
        edges = np.concatenate([[ends[0] - 1.0], ends])
        lengths = np.maximum(edges[None, :] - born[:, None], 0.0)
        distinct, where = np.unique(lengths, return_inverse=True)
        expected = np.array(
            [
                model.expected_purchases_new_customer(Duration(t, unit)) if t > 0 else 0.0
                for t in distinct
            ]
        )[where.reshape(lengths.shape)]
        table[name] = np.diff(customers @ expected)
    return table


def compute_holdout_by_frequency(
    snapshot: Snapshot,
    actual: pd.Series[float],
    predicted: Mapping[str, pd.Series[float]],
    most: int = 7,
) -> pd.DataFrame:
    """Mean holdout purchases of the customers with 0, 1, ..., ``most`` or more repeat purchases.

    Parameters
    ----------
    snapshot : Snapshot
        At the start of the holdout.
    actual : Series
        Purchases in the holdout, keyed by customer.
    predicted : mapping of str to Series
        Predictions by model, keyed by customer.
    most : int
        The last, open group.

    Returns
    -------
    DataFrame
        Indexed by frequency as text; ``actual``, one column per model, ``customers``.
    """
    ids = snapshot.customer_id
    group = snapshot.frame["frequency"].clip(upper=most).astype(int).to_numpy()
    columns = {"actual": actual.reindex(ids).fillna(0.0).to_numpy()}
    columns |= {name: values.reindex(ids).to_numpy() for name, values in predicted.items()}
    table = pd.DataFrame(columns).groupby(group).mean()
    table["customers"] = np.bincount(group, minlength=most + 1)[table.index]
    table.index = pd.Index(
        [f"{g}+" if g == most else str(g) for g in table.index], name="frequency"
    )
    return table
