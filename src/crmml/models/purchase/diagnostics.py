"""Tables that show what a fitted purchase model believes; :mod:`crmml.plots` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from crmml._typing import Duration
from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot
from crmml.features.windows import units_between
from crmml.models.purchase.base import PurchaseModel
from crmml.models.purchase.newcomer import NewcomerModel
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.stats.discounting import in_units

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
    cutoff: str | pd.Timestamp = "2000-01-01",
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
    cutoff : str or Timestamp
        When the histories end; matters only to models with a calendar profile.

    Returns
    -------
    DataFrame, shape (max_frequency + 1, n_recency)
        Index ``frequency``; columns recency, named by the time unit. NaN where the history cannot
        exist (recency 0 with repeat purchases, or the reverse).

    Raises
    ------
    ParameterError
        If ``"clv"`` is asked of a purchase model or without ``monetary_value``, or ``T`` is not
        positive.
    """
    if quantity == "clv" and (monetary_value is None or not isinstance(model, LifetimeValueModel)):
        raise ParameterError("quantity", "'clv' only with a LifetimeValueModel and monetary_value",
                             quantity)  # fmt: skip
    if not (np.isfinite(T) and T > 0):
        raise ParameterError("T", "a finite number > 0", T)
    purchases = model.purchase_model_ if isinstance(model, LifetimeValueModel) else model
    frequency = np.arange(max_frequency + 1)
    recency = np.linspace(0.0, T, n_recency)
    x, t_x = (grid.ravel() for grid in np.meshgrid(frequency, recency, indexing="ij"))
    possible = (x == 0) == (t_x == 0)
    frame = pd.DataFrame(
        {"customer_id": np.arange(len(x)), "frequency": x, "recency": t_x, "T": T,
         "monetary_value": np.where(x > 0, monetary_value or 0.0, 0.0)}
    ).loc[possible]  # fmt: skip
    snapshot = Snapshot.from_frame(frame, cutoff=cutoff, time_unit=purchases.time_unit_)
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
        Fitted, without covariates and calendar profile.
    purchase_times : sequence of float
        Times of the **repeat** purchases since the first, in the model's unit, rising, positive.
    until : float
        End of the path, at or after the last purchase.
    n_points : int
        Number of points between the purchases.

    Returns
    -------
    DataFrame
        ``time``, ``probability_alive``, ``purchase`` (whether the point is a purchase). Every
        purchase time stands there twice, just before (``purchase`` False) and just after.

    Raises
    ------
    ParameterError
        If the times are not rising between 0 and ``until``, or the model follows the calendar.
    """
    if getattr(model, "calendar_", None) is not None:
        raise ParameterError("model", "one without a calendar profile", type(model).__name__)
    bought = np.asarray(purchase_times, dtype=np.float64)
    if not (np.isfinite(until) and until > 0):
        raise ParameterError("until", "a finite number > 0", until)
    if len(bought) and not (bought[0] > 0 and (np.diff(bought) > 0).all() and bought[-1] <= until):
        raise ParameterError(
            "purchase_times", "rising, positive and at most `until`", list(purchase_times)
        )
    between = np.setdiff1d(np.linspace(0.0, until, n_points + 1)[1:], bought)
    time = np.concatenate([between, bought, bought])
    after = np.arange(len(time)) >= len(time) - len(bought)
    x = np.where(after, np.searchsorted(bought, time, side="right"), np.searchsorted(bought, time))
    frame = pd.DataFrame(
        {"customer_id": np.arange(len(time)), "frequency": x,
         "recency": np.concatenate([[0.0], bought])[x], "T": time}
    )  # fmt: skip
    snapshot = Snapshot.from_frame(frame, cutoff="2000-01-01", time_unit=model.time_unit_)
    alive = model.probability_alive(snapshot).to_numpy()
    path = pd.DataFrame({"time": time, "probability_alive": alive, "purchase": after})
    path = path.sort_values(["time", "purchase"], ignore_index=True)
    path.index.name = f"{model.time_unit_}s"
    return path


def compute_heterogeneity(model: PurchaseModel, n_points: int = 200) -> pd.DataFrame:
    """Densities of the latent quantities: who buys how often, and who leaves how easily.

    Parameters
    ----------
    model : PurchaseModel
        Fitted. The purchase rate is Gamma (``r, alpha``; divided by ``k`` where only every k-th
        tick of the clock is a purchase), the dropout probability after a purchase Beta (``a, b``),
        the dropout rate Gamma (``s, beta``); with discrete opportunities the probabilities to buy
        (``alpha, beta``) and to leave (``gamma, delta``) at one of them are Beta. With covariates:
        of a customer whose covariates are 0.
    n_points : int
        Points per curve, at even shares of customers over the central 98 % of each distribution.

    Returns
    -------
    DataFrame
        ``quantity``, ``unit``, ``value``, ``density`` and ``share_below``, the share of customers
        with a smaller value. A quantity without spread, as when nobody leaves, is left out.
    """
    share = np.linspace(0.01, 0.99, n_points)
    parts = []
    for quantity, distribution in _latent_distributions(model).items():
        unit = f"per {model.time_unit_}" if quantity.endswith("rate") else ""
        value = distribution.ppf(share)
        density = distribution.pdf(value)
        keep = np.isfinite(density) & (np.diff(value, prepend=-np.inf) > 0)
        if keep.sum() < n_points // 2:
            continue
        parts.append(
            pd.DataFrame(
                {
                    "quantity": quantity,
                    "unit": unit,
                    "value": value,
                    "density": density,
                    "share_below": share,
                }
            )[keep]
        )
    columns = ["quantity", "unit", "value", "density", "share_below"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def compute_newcomer_effect(
    model: NewcomerModel, until: str | Duration | None = None, n_points: int = 200
) -> pd.DataFrame:
    """Follow the purchase rate of newcomers from the first purchase on, until it has settled.

    Parameters
    ----------
    model : NewcomerModel
        Fitted.
    until : str or Duration, optional
        Largest age; by default six half-lives.
    n_points : int
        Number of ages, at least 2.

    Returns
    -------
    DataFrame, shape (n_points, 3)
        Indexed by the age since the first purchase, named by the time unit; ``rate`` over the
        settled one, and its 90 % interval ``lower, upper`` at each age, by the delta method on its
        logarithm. NaN where no covariance was estimated.
    """
    unit, decay = model.time_unit_, model.half_life_ / np.log(2.0)
    longest = 6.0 * model.half_life_ if until is None else in_units(until, unit)
    age = np.linspace(0.0, longest, n_points)
    left = np.exp(-age / decay)
    rate = 1.0 + (model.first_ - 1.0) * left
    by_first, by_half_life = model.first_ * left, (model.first_ - 1.0) * left * age / decay
    slopes = np.stack([by_first, by_half_life]) / rate
    known = np.array(model.settling_covariance_) if model.settling_covariance_ else np.nan
    covariance = np.broadcast_to(known, (2, 2))
    deviation = np.sqrt((slopes * (covariance @ slopes)).sum(axis=0))
    reach = stats.norm.ppf(0.95) * deviation
    return pd.DataFrame(
        {"rate": rate, "lower": rate * np.exp(-reach), "upper": rate * np.exp(reach)},
        index=pd.Index(age, name=f"{unit}s"),
    )


def _latent_distributions(model: PurchaseModel) -> dict[str, Any]:
    p = model.params_
    if "delta" in p:
        return {
            "purchase probability": stats.beta(p["alpha"], p["beta"]),
            "dropout probability": stats.beta(p["gamma"], p["delta"]),
        }
    ticks = float(getattr(model, "k_", 1))
    rate = stats.gamma(p["r"], scale=1 / (ticks * p["alpha"]))
    distributions: dict[str, Any] = {"purchase rate": rate}
    if "s" in p:
        distributions["dropout rate"] = stats.gamma(p["s"], scale=1.0 / p["beta"])
    else:
        distributions["dropout probability"] = stats.beta(p["a"], p["b"])
    return distributions


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
        Fitted on ``snapshot``, without covariates. A calendar profile does not show: newcomers
        are expected at no particular time of the year.
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
    observed = units_between(pd.Timestamp(start), snapshot.cutoff, unit)
    ages, customers = np.unique(snapshot.frame["T"].to_numpy(), return_counts=True)
    ends = actual.index.to_numpy(dtype=np.float64)
    born = observed - ages
    table = pd.DataFrame({"actual": actual.to_numpy(dtype=np.float64)}, index=actual.index)
    if table.empty:
        return table.assign(**dict.fromkeys(models, 0.0))
    for name, model in models.items():
        edges = np.concatenate([[ends[0] - 1.0], ends])
        # Rounded, so that equal lengths found by different subtractions are computed once.
        lengths = np.maximum(np.round(edges[None, :] - born[:, None], 9), 0.0)
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
    labels = [f"{g}+" if g == most else str(g) for g in table.index]
    table.index = pd.Index(labels, name="frequency", dtype="str")
    return table
