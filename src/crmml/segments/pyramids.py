"""The profitability pyramid twice, by lifetime value and by profit to date, and who differs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crmml.segments.value_tier import REFERENCE_SHARE_OF_VALUE, TIERS, ValueTiers

DEFAULT_SHARES: tuple[float, ...] = (0.10, 0.15, 0.35, 0.20, 0.20)


def cut_pyramids(
    value: pd.Series[float],
    profit: pd.Series[float],
    shares: Sequence[float] = DEFAULT_SHARES,
) -> pd.DataFrame:
    """Put each customer into a tier by value and into one by profit.

    Parameters
    ----------
    value, profit : Series
        Net lifetime value and profit to date, keyed by customer.
    shares : sequence of float
        Target shares of customers in A to E.

    Returns
    -------
    DataFrame
        ``by_value`` and ``by_profit``, keyed by customer.
    """
    columns = {"by_value": value, "by_profit": profit}
    return pd.DataFrame({n: ValueTiers(shares).fit(v).assign(v) for n, v in columns.items()})


def compute_pyramids(
    value: pd.Series[float],
    profit: pd.Series[float],
    shares: Sequence[float] = DEFAULT_SHARES,
) -> pd.DataFrame:
    """Tabulate both pyramids beside the reference.

    Parameters
    ----------
    value, profit, shares
        See :func:`cut_pyramids`.

    Returns
    -------
    DataFrame
        On ``value_tier``: ``reference_share`` of the value created, ``share_of_value`` and
        ``customers_by_value`` of the tiers by value, ``share_of_profit`` and
        ``customers_by_profit`` of those by profit, and ``profit_by_value``: the share of the
        profit that the tiers by value have brought. Shares are null where a total is not positive.

    Examples
    --------
    >>> value = pd.Series([8.0, 5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 0.5, 0.1])
    >>> profit = pd.Series([2.0, 5.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 0.5, -2.0])
    >>> compute_pyramids(value, profit)["share_of_profit"].round(2).tolist()
    [0.29, 0.4, 0.23, 0.17, -0.09]
    """
    tiers = cut_pyramids(value, profit, shares)

    def share(of: pd.Series[float], by: str) -> pd.Series[float]:
        total = float(of.sum())
        sums = of.groupby(tiers[by]).sum().reindex(list(TIERS), fill_value=0.0)
        return sums / total if total > 0 else sums * float("nan")

    def count(by: str) -> pd.Series[int]:
        return tiers[by].value_counts().reindex(list(TIERS), fill_value=0)

    table = pd.DataFrame(
        {
            "reference_share": pd.Series(dict(REFERENCE_SHARE_OF_VALUE)),
            "share_of_value": share(value, "by_value"),
            "customers_by_value": count("by_value"),
            "share_of_profit": share(profit, "by_profit"),
            "customers_by_profit": count("by_profit"),
            "profit_by_value": share(profit, "by_value"),
        }
    )
    return table.rename_axis("value_tier")
