"""The wallet in each category of goods, and one class of loyalty from all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from crmml._typing import Grain
from crmml.data.tables import Tables
from crmml.features.purchases import fetch
from crmml.features.snapshot import own_lines
from crmml.features.wallet import Peers, Spans, Wallet, classify_shares

MOST_CATEGORIES = 8
"""Categories with a class of their own: those with most lines."""

OTHERS = ""
"""Name of all other categories together, and of lines without one."""

ROLL_UP = ("loyalty_class", "share", "categories")
"""Columns of the roll-up."""

_CLASSED = ("loyal", "split", "disloyal", "competitor")
_HALF = 0.5 - 1e-9


def name_categories(
    tables: Tables, cutoff: pd.Timestamp, own_seller: str | None = None
) -> tuple[str, ...]:
    """Name the categories of which the house sold most lines before a cutoff, at most 8, sorted.

    Parameters
    ----------
    tables : Tables
        With ``category`` in the log.
    cutoff : Timestamp
        Exclusive.
    own_seller : str, optional
        See :func:`crmml.features.snapshot.build_snapshot`.
    """
    lines = own_lines(tables.transactions, own_seller)
    lines = lines.filter(lines.timestamp < cutoff, lines.category.notnull(), lines.category != "")
    counted = fetch(lines.group_by("category").agg(lines=lines.count()), ["category"])
    ranked = counted.sort_values("lines", ascending=False, kind="stable")["category"]
    return tuple(sorted(str(name) for name in ranked.head(MOST_CATEGORIES)))


def iterate_wallets(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    *,
    length: str,
    categories: Sequence[str],
    grain: Grain = "day",
    own_seller: str | None = None,
    peers: Mapping[str, Peers] | None = None,
) -> Iterator[tuple[str, Wallet]]:
    """Measure the wallet in each category, and in all others together under ``""``.

    Parameters
    ----------
    tables, cutoff, length, grain, own_seller
        See :func:`~crmml.features.wallet.build_wallet`. The log needs ``category``.
    categories : sequence of str
        From :func:`name_categories`.
    peers : mapping of str to Peers, optional
        By category, as the training stored them; by default those of the customers at hand.

    Yields
    ------
    str, Wallet
        One category at a time, of the customers who ever bought in it.
    """
    spans = Spans.of(tables, cutoff, length, grain, own_seller, True, among=categories)
    with spans.kept() as held:
        for category in (*categories, OTHERS):
            one = held.only(category)
            frame = fetch(one.query())
            if len(frame):
                known = None if peers is None else peers.get(category)
                yield category, one.wallet(0, (), known, frame)


def roll_up(wallets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Make one class of the classes in all categories, each weighed by what is needed in it.

    Only categories in which a customer has a class count. The share of the customer is what was
    spent at the house there, of what is needed there: the mean of the shares, weighed by need, so
    that a category of which little is needed weighs little. It makes the class by the borders of
    :func:`~crmml.features.wallet.classify_shares`; ``competitor`` where the categories that a
    competitor holds make up at least half of the need. Without any class it is
    ``insufficient``, and ``lapsed`` without an occasion in any category. A category that the
    customer left altogether does not count: nothing says that the need goes on.

    Parameters
    ----------
    wallets : mapping of str to DataFrame
        Frames of wallets by category.

    Returns
    -------
    DataFrame
        On ``customer_id``, everybody in any wallet: ``loyalty_class``, ``share`` (missing without
        a class) and ``categories``, the number that counted.

    References
    ----------
    Du, Kamakura, Mela (2007), *Size and share of customer wallet*, Journal of Marketing 71(2):
    need and share by category first, those of the customer from them.

    Examples
    --------
    >>> tea = pd.DataFrame(
    ...     {"loyalty_class": ["loyal", "lapsed"], "spend": [9.0, 0.0], "need": [9.0, 5.0]},
    ...     index=pd.Index(["a", "b"], name="customer_id"))
    >>> bread = tea.assign(loyalty_class=["disloyal", "lapsed"], spend=[1.0, 0.0], need=[11.0, 5.0])
    >>> roll_up({"tea": tea, "bread": bread})["loyalty_class"].to_dict()
    {'a': 'split', 'b': 'lapsed'}
    """
    parts = []
    for frame in wallets.values():
        named = frame["loyalty_class"].isin(_CLASSED)
        need = frame["need"].where(named, 0.0)
        parts.append(
            pd.DataFrame(
                {
                    "spend": frame["spend"].clip(lower=0.0).where(named, 0.0),
                    "need": need,
                    "lost": need.where(frame["loyalty_class"] == "competitor", 0.0),
                    "categories": named.astype("int64"),
                    "active": (frame["loyalty_class"] != "lapsed").astype("int64"),
                }
            )
        )
    ids = pd.Index(np.unique(np.concatenate([part.index for part in parts])), name="customer_id")
    total = pd.DataFrame(0.0, ids, parts[0].columns)
    for part in parts:  # in the order of the categories: sums of floats do not depend on the rows
        total = total.add(part.reindex(ids, fill_value=0.0))
    some = total["need"] > 0
    share, lost = (total[name] / total["need"].where(some) for name in ("spend", "lost"))
    evidence = np.where(total["active"] == 0, 0, np.where(some, np.inf, 1))
    names = classify_shares(share, lost.where(lost >= _HALF, 0.0), evidence)
    rolled = {"loyalty_class": names, "share": share.clip(0, 1), "categories": total["categories"]}
    return pd.DataFrame(rolled, ids).astype({"categories": "int64"})


def by_category(wallets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put classes, shares and needs of all categories into one table, and the roll-up below.

    Parameters
    ----------
    wallets : mapping of str to DataFrame
        Frames of wallets by category.

    Returns
    -------
    DataFrame
        On ``customer_id, category``; the rows of the roll-up have the category ``(all)``.
    """
    columns = ["loyalty_class", "share", "spend", "need", "occasions"]
    named = {name or "(others)": frame[columns] for name, frame in wallets.items()}
    named["(all)"] = roll_up(wallets)[["loyalty_class", "share"]]
    table = pd.concat(named, names=["category"]).swaplevel()
    return table.sort_index(kind="stable")
