"""Scores added up by tier, for terminals, lists and pages."""

from __future__ import annotations

import pandas as pd

from crmml.segments.value_tier import TIERS


def sum_tiers(table: pd.DataFrame) -> pd.DataFrame:
    """Add up the scores of some customers by tier; sums of several batches add up in turn.

    Parameters
    ----------
    table : DataFrame
        Scores.

    Returns
    -------
    DataFrame
        ``customers``, ``clv`` (less the cost to serve, where that is known), ``churn``,
        ``actions``, ``cost`` and ``gain`` on ``value_tier``.
    """
    bought = table["recommended_action"].notna() & (table["recommended_action"] != "no_action")
    value = table["net_clv"].fillna(table["clv"]) if "net_clv" in table else table["clv"]
    groups = table.assign(bought=bought, clv=value).groupby("value_tier", observed=True)
    sums = groups.agg(
        customers=("customer_id", "size"),
        clv=("clv", "sum"),
        churn=("churn_probability", "sum"),
        actions=("bought", "sum"),
        cost=("expected_cost", "sum"),
        gain=("expected_net_gain", "sum"),
    )
    return sums.reindex(list(TIERS), fill_value=0)


def tier_table(sums: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the tiers: customers, value, churn, actions bought and what they should bring.

    Parameters
    ----------
    sums : DataFrame
        From :func:`sum_tiers`.
    """
    tiers = sums.copy()
    customers = tiers["customers"].where(tiers["customers"] > 0, 1)
    tiers.insert(2, "share_of_value", tiers["clv"] / tiers["clv"].sum())
    tiers.insert(3, "mean_clv", tiers["clv"] / customers)
    tiers["churn"] = tiers["churn"] / customers
    return tiers
