"""Whose shop on each occasion: the sequence of sellers that a panel sees, and what it looks like.

Brown named four patterns of a sequence of brands: undivided loyalty (AAAAAA), divided (ABABAB),
unstable (AAABBB), none (ABCDEF). Here the sellers of a customer's occasions are read so, and each
pattern is compared with what chance alone brings about.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import comb

import ibis
import numpy as np
import pandas as pd
from ibis import _

from crmml._typing import FloatArray, Grain
from crmml.data.cleaning import is_purchase
from crmml.data.tables import Tables
from crmml.exceptions import MissingColumnsError
from crmml.features.purchases import fetch, period_of
from crmml.features.windows import read_moment, shifted

PATTERNS: tuple[str, ...] = ("undivided", "divided", "unstable", "none", "insufficient")

MIN_SEQUENCE = 6
"""Occasions below which a pattern says nothing: AAABBB and ABABAB are the shortest examples."""

MOST_OCCASIONS = 60
"""The latest so many occasions are read."""

_TWO = 2 / 3 - 1e-9
"""Share of the occasions that the two most visited sellers have, or there is no loyalty."""


def gather_occasions(
    tables: Tables, cutoff: str | pd.Timestamp, length: str, grain: Grain = "day"
) -> pd.DataFrame:
    """Name the seller of each occasion in the window before a cutoff.

    Parameters
    ----------
    tables : Tables
        With ``seller`` in the log.
    cutoff : str or Timestamp
        Exclusive.
    length : str
        Of the window.
    grain : {"hour", "day", "week", "month", "quarter"}
        What counts as one occasion.

    Returns
    -------
    DataFrame
        ``customer_id``, ``period`` and ``seller``, in this order: the one of most spend, of equal
        spend the first by name.

    Raises
    ------
    MissingColumnsError
        Without ``seller``.
    """
    lines, closes = tables.transactions, read_moment(cutoff, "cutoff")
    if "seller" not in lines.columns:
        raise MissingColumnsError(["seller"], lines.columns, table="transactions")
    within = (lines.timestamp >= shifted(closes, length, -1)) & (lines.timestamp < closes)
    seen = lines.filter(within & is_purchase(lines) & lines.seller.notnull())
    seen = seen.mutate(period=period_of(seen.timestamp, grain))
    spend = seen.group_by("customer_id", "period", "seller").aggregate(spend=_.amount.sum())
    order = ibis.window(group_by=["customer_id", "period"], order_by=[_.spend.desc(), _.seller])
    first = spend.mutate(place=ibis.row_number().over(order)).filter(_.place == 0)
    return fetch(first.select("customer_id", "period", "seller"), ["customer_id", "period"])


def name_patterns(
    occasions: pd.DataFrame, market: Mapping[str, float], own_seller: str
) -> pd.DataFrame:
    """Name the pattern of each customer's sequence, and how likely chance makes one like it.

    With six occasions or more: ``undivided`` at one seller; ``none`` where the two most visited
    have less than 2/3 of the occasions; else ``unstable`` where the most visited seller and the
    others follow each other in fewer runs than a random order has in the mean (AAABBB has two), and
    ``divided`` in as many or more (ABABAB has six).

    Parameters
    ----------
    occasions : DataFrame
        From :func:`gather_occasions`.
    market : mapping of str to float
        Share of all occasions that each seller has; see :func:`market_shares`. A seller that is
        not there has none.
    own_seller : str
        The house: of sellers visited as often, the house is the most visited one.

    Returns
    -------
    DataFrame
        On ``customer_id``: ``pattern``, ``occasions`` (that were read), ``own_share`` (of them) and
        ``chance``: of ``unstable`` and ``divided`` the exact probability that the same visits in
        random order make as few runs, or as many; of ``undivided`` that somebody who goes to each
        seller in proportion to its share of the market goes to one alone, and of ``none`` that the
        most visited seller of such a customer has no more visits than here. Missing where the
        pattern is ``insufficient``.

    References
    ----------
    Brown (1952), *Brand loyalty: fact or fiction?*, Advertising Age 23. Wald, Wolfowitz (1940), *On
    a test whether two samples are from the same population*, Annals of Mathematical Statistics 11.

    Examples
    --------
    >>> rows = [(name, day, seller) for name, letters in
    ...         [("a", "AAAAAA"), ("b", "ABABAB"), ("c", "AAABBB"), ("d", "ABCDEF"), ("e", "AB")]
    ...         for day, seller in enumerate(letters)]
    >>> table = pd.DataFrame(rows, columns=["customer_id", "period", "seller"])
    >>> found = name_patterns(table, {s: 1 / 6 for s in "ABCDEF"}, "A")
    >>> found["pattern"].tolist()
    ['undivided', 'divided', 'unstable', 'none', 'insufficient']
    >>> found["chance"].round(4).tolist()
    [0.0001, 0.1, 0.1, 0.0154, nan]
    """
    names = sorted({*market})
    shares = tuple(float(market[name]) for name in names)
    rows = []
    ids = occasions["customer_id"].to_numpy()
    sellers = occasions["seller"].to_numpy(dtype=object)
    borders = np.flatnonzero(ids[1:] != ids[:-1]) + 1 if len(ids) else np.zeros(0, np.int64)
    for part in np.split(sellers, borders) if len(ids) else []:
        rows.append(_pattern(part[-MOST_OCCASIONS:], shares, own_seller))
    firsts = ids[np.concatenate([[0], borders])] if len(ids) else ids
    columns = ["pattern", "occasions", "own_share", "chance"]
    return pd.DataFrame(rows, pd.Index(firsts, name="customer_id"), columns)


def market_shares(occasions: pd.DataFrame) -> dict[str, float]:
    """Return the share of all occasions that each seller has, in the order of their names."""
    counted = occasions["seller"].value_counts(normalize=True).sort_index()
    return {str(name): float(share) for name, share in counted.items()}


def _pattern(
    sellers: np.ndarray[tuple[int], np.dtype[np.object_]],
    shares: tuple[float, ...],
    own_seller: str,
) -> tuple[str, int, float, float]:
    n, own = len(sellers), float(np.mean(sellers == own_seller))
    if n < MIN_SEQUENCE:
        return "insufficient", n, own, np.nan
    names, counts = np.unique(sellers, return_counts=True)
    ranked = sorted(zip(-counts, names != own_seller, names, strict=True))
    most = -int(ranked[0][0])
    if len(names) == 1:
        return "undivided", n, own, 1.0 - _at_most(n, n - 1, shares)
    if most - ranked[1][0] < _TWO * n:
        return "none", n, own, _at_most(n, most, shares)
    first = sellers == ranked[0][2]
    runs = 1 + int(np.count_nonzero(first[1:] != first[:-1]))
    if runs < 1 + 2 * most * (n - most) / n:
        return "unstable", n, own, float(_runs(most, n - most)[: runs + 1].sum())
    return "divided", n, own, float(_runs(most, n - most)[runs:].sum())


@cache
def _runs(a: int, b: int) -> FloatArray:
    """Return the exact probabilities of 0, 1, 2, ... runs of ``a`` and ``b`` in random order."""
    p = np.zeros(a + b + 1)
    for runs in range(2, a + b + 1):
        k = runs // 2
        if runs % 2 == 0:
            ways = 2 * comb(a - 1, k - 1) * comb(b - 1, k - 1)
        else:
            ways = comb(a - 1, k) * comb(b - 1, k - 1) + comb(a - 1, k - 1) * comb(b - 1, k)
        p[runs] = ways / comb(a + b, a)
    return p


@cache
def _at_most(n: int, most: int, shares: tuple[float, ...]) -> float:
    """Return the exact probability that none of the sellers is drawn more than ``most`` times."""
    steps = np.arange(1, most + 1)
    total = np.zeros(n + 1)
    total[0] = 1.0
    for share in shares:
        terms = np.concatenate([[1.0], np.cumprod(share / steps)])
        total = np.convolve(total, terms)[: n + 1]
    # 60! is far within the range of a float
    return float(np.clip(total[n] * np.prod(np.arange(1.0, n + 1)), 0.0, 1.0))
