"""Acquisition cohorts: who stayed, what they brought, what a model expected, and the payback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.exceptions import MissingColumnsError
from crmml.features.cohorts import measure_cohorts, name_cohorts
from crmml.features.periods import Period
from crmml.features.purchases import fetch, period_at
from crmml.features.snapshot import Snapshot
from crmml.models.purchase.distribution import take
from crmml.stats.discounting import UNIT_DAYS
from crmml.stats.paths import draw_path

if TYPE_CHECKING:
    from crmml.data.tables import Tables

_DAYS = {"week": 7.0, "month": 365.25 / 12, "quarter": 365.25 / 4}
_ENTRIES, _PATHS = 4, 5_000
"""Points of the first period at which newcomers enter, and futures from each."""


def compute_cohort_retention(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    *,
    period: Period = "month",
    model: Any = None,
    own_seller: str | None = None,
    seed: int = 1,
) -> pd.DataFrame:
    """Tabulate retention and revenue by acquisition cohort and age.

    Retention at an age is the share of the cohort that bought in that period, whether it had
    bought in the one before or not. The first cohort also holds customers who are older than the
    data, where there are such.

    Parameters
    ----------
    tables : Tables
        With ``transactions``.
    cutoff : str or Timestamp
        Exclusive; only periods that are over count.
    period : {"week", "month", "quarter"}
        Of the calendar.
    model : fitted purchase process, optional
        Its expectation is put beside: ``model.lifetime_value.purchase_model_`` of a bundle, say.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.
    seed : int
        Of the futures of newcomers that the expectation is the mean of.

    Returns
    -------
    DataFrame
        On ``cohort`` (first moment of the period) and ``age`` (periods, from 0): ``customers``,
        ``active``, ``retention``, ``revenue``, ``revenue_per_customer`` (of all in the cohort),
        and with a model ``expected_retention`` of a random newcomer. Every cohort has every age;
        what has not been lived through yet is null, never 0.
    """
    at = pd.Timestamp(cutoff)
    measured = measure_cohorts(tables, at, period, own_seller=own_seller)
    cohorts = measured.index.unique("cohort")
    last = period_at(at, period) - 1
    lived = {cohort: last - period_at(cohort, period) for cohort in cohorts}
    ages = range(max(lived.values()) + 1)
    every = pd.MultiIndex.from_product([cohorts, ages], names=["cohort", "age"])
    seen = every.get_level_values("age") <= every.get_level_values("cohort").map(lived)
    table = measured.reindex(every)[["active", "revenue"]].fillna(0.0)
    table = table.where(pd.Series(seen, every), np.nan)
    size = measured["active"].xs(0, level="age")
    table.insert(0, "customers", every.get_level_values("cohort").map(size.to_dict()))
    table["retention"] = table["active"] / table["customers"]
    table["revenue_per_customer"] = table["revenue"] / table["customers"]
    if model is not None:
        expected = expect_retention(model, len(ages), at, period=period, seed=seed)
        table["expected_retention"] = expected[every.get_level_values("age")]
    return table


def expect_retention(
    model: Any, n_ages: int, at: pd.Timestamp, *, period: Period = "month", seed: int = 1
) -> FloatArray:
    """Expect the share of random newcomers who buy at each age, by a purchase process.

    Newcomers enter evenly over the period of their cohort, which is their age 0.

    Parameters
    ----------
    model : fitted purchase process
        Without covariates.
    n_ages : int
        From 0 on.
    at : Timestamp
        When they enter, for a process that follows the calendar.
    period, seed
        See :func:`compute_cohort_retention`.

    Returns
    -------
    ndarray, shape (n_ages,)
        1 at the age 0.
    """
    unit = model.time_unit_
    length = _DAYS[period] / UNIT_DAYS[unit]
    newcomer = Snapshot.from_frame(
        pd.DataFrame({"customer_id": [0], "frequency": [0], "recency": [0.0], "T": [0.0]}),
        cutoff=at,
        time_unit=unit,
    )
    rng = np.random.default_rng(seed)
    share = np.zeros(n_ages)
    none = np.zeros(_PATHS, dtype=np.int64)
    for k in range(_ENTRIES):
        left = 1.0 - (k + 0.5) / _ENTRIES
        clock, its = [], None
        for age in range(n_ages):  # on the clock of the process, which may run unevenly
            its = model.predictive(newcomer, Duration((left + age) * length, unit))
            clock.append(float(np.ravel(its.t[0])[0]))
        if its is None:
            break
        ends = np.tile(np.array(clock), (_PATHS, 1))
        count = draw_path(its.process, take(its.futures[0], none), ends, rng)
        share += float(np.ravel(its.alive)[0]) * (count > 0).mean(axis=0) / _ENTRIES
    share[:1] = 1.0
    return share


def compute_cohort_value(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    scores: pd.DataFrame,
    *,
    by: str = "cohort",
    period: Period = "month",
    own_seller: str | None = None,
) -> pd.DataFrame:
    """Tabulate survival, value and payback by cohort, or by an attribute such as the channel.

    Parameters
    ----------
    tables : Tables
        With ``transactions``, and ``customers`` for an attribute or the cost of winning.
    cutoff : str or Timestamp
        That of the scores.
    scores : DataFrame
        From :func:`crmml.score`: ``customer_id``, ``probability_alive`` and ``clv``.
    by : str
        ``"cohort"``, or a column of the table ``customers``, such as ``acquisition_channel``.
    period, own_seller
        See :func:`compute_cohort_retention`.

    Returns
    -------
    DataFrame
        On the cohort or attribute: ``customers``, ``probability_alive`` (mean: the share that has
        survived, which nobody sees), ``clv`` (mean), ``margin_to_date`` and ``acquisition_cost``
        (means; null where the data do not have them) and ``payback``: the age in periods by the
        end of which the margin per customer had paid for winning one. Null where it has not yet,
        or is not known.
    """
    missing = [name for name in ("customer_id", "probability_alive", "clv") if name not in scores]
    if missing:
        raise MissingColumnsError(missing, map(str, scores.columns), table="scores")
    at = pd.Timestamp(cutoff)
    attribute = None if by == "cohort" else by
    members = name_cohorts(tables, at, period, by=attribute, own_seller=own_seller)
    key = "cohort" if attribute is None else "group"
    who = members.join(scores.set_index("customer_id")[["probability_alive", "clv"]])
    who["acquisition_cost"] = _costs(tables, who.index)
    table = who.groupby(key)[["probability_alive", "clv", "acquisition_cost"]].mean()
    table.insert(0, "customers", who.groupby(key).size())
    measured = measure_cohorts(tables, at, period, by=attribute, own_seller=own_seller)
    last = period_at(at, period) - 1
    table["margin_to_date"], table["payback"] = np.nan, np.nan
    if "margin" in measured:
        total = measured["margin"].groupby(key).sum()
        table["margin_to_date"] = total / table["customers"]
        for name in table.index:
            mine = measured.xs(name, level=key)
            cohorts = who.loc[who[key] == name, "cohort"]
            begun = {start: period_at(start, period) for start in cohorts.unique()}
            lived = last - cohorts.map(begun).to_numpy()
            cost = float(table.loc[name, "acquisition_cost"])
            table.loc[name, "payback"] = _payback(mine["margin"], lived, cost)
    return table.rename_axis(by)


def _costs(tables: Tables, ids: pd.Index[Any]) -> FloatArray:
    people = tables.customers
    if people is None or "acquisition_cost" not in people.columns:
        return np.full(len(ids), np.nan)
    rows = fetch(people.select("customer_id", "acquisition_cost"))
    costs = rows.set_index("customer_id")["acquisition_cost"].astype("float64")
    return np.asarray(costs.reindex(ids), dtype=np.float64)


def _payback(margin: pd.Series[float], lived: Any, cost: float) -> float:
    """Return the age by which the margin per customer who has lived so long pays the cost."""
    by_age = margin.groupby("age").sum()
    ages = np.arange(int(lived.max()) + 1)
    alive = np.array([(lived >= age).sum() for age in ages])
    earned = np.cumsum(by_age.reindex(ages, fill_value=0.0).to_numpy() / alive)
    paid = np.flatnonzero(earned >= cost)
    return float(paid[0]) if len(paid) else np.nan
