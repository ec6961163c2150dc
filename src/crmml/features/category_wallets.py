"""The wallet in each category of goods, and one class of loyalty from all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmml._typing import Grain
from crmml.data.tables import Tables
from crmml.features.in_order import number_categories
from crmml.features.purchases import fetch, sorted_frame
from crmml.features.snapshot import own_lines
from crmml.features.wallet import ReferencePopulation, Spans, Wallet, classify_shares
from crmml.features.window_sums import measure_windows

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
    peers: Mapping[str, ReferencePopulation] | None = None,
) -> Iterator[tuple[str, Wallet]]:
    """Measure the wallet in each category, and in all others together under ``""``.

    Parameters
    ----------
    tables, cutoff, length, grain, own_seller
        See :func:`~crmml.features.wallet.build_wallet`. The log needs ``category``.
    categories : sequence of str
        From :func:`name_categories`.
    peers : mapping of str to ReferencePopulation, optional
        By category, as the training stored them; by default those of the customers at hand.

    Yields
    ------
    str, Wallet
        One category at a time, of the customers who ever bought in it.
    """
    how = (length, grain, own_seller)
    spans = span_categories(tables, cutoff, categories, *how)
    table = pa.concat_tables(measure_categories(spans, categories))
    yield from name_wallets(table, spans, categories, peers or {})


def span_categories(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    categories: Sequence[str],
    length: str,
    grain: Grain,
    own_seller: str | None,
) -> Spans:
    """Write spend and occasions in some categories as expressions; see :func:`iterate_wallets`."""
    return Spans.of(tables, cutoff, length, grain, own_seller, True, among=categories)


def measure_categories(spans: Spans, categories: Sequence[str]) -> Iterator[pa.Table]:
    """Measure each category, and all others together, in one pass over the lines.

    Parameters
    ----------
    spans : Spans
        From :func:`span_categories`, of the same categories.
    categories : sequence of str
        From :func:`name_categories`.

    Yields
    ------
    Arrow table
        In whatever order: ``customer_id``, ``code`` (place of the category; the others are behind),
        and what :meth:`~crmml.features.wallet.Spans.query` says.
    """
    if spans.lines is not None:
        yield from measure_windows(spans, categories)
        return
    query = spans.query()
    yield query.mutate(code=number_categories(query, categories)).drop("category").to_pyarrow()


def name_wallets(
    table: pa.Table,
    spans: Spans,
    categories: Sequence[str],
    peers: Mapping[str, ReferencePopulation],
) -> Iterator[tuple[str, Wallet]]:
    """Make the wallet in each category from what :func:`measure_categories` says of it."""
    alone = replace(spans, keys=["customer_id"])
    for code, category in enumerate((*categories, OTHERS)):
        part = table.filter(pc.equal(table["code"], code)).drop_columns(["code"])
        if part.num_rows:
            yield category, alone.wallet(0, (), peers.get(category), sorted_frame(part))


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
    # Wallets are sorted by customer, so that indexes are merged, which hashes nothing.
    ids = reduce(pd.Index.union, (frame.index for frame in wallets.values()))
    names = ("spend", "need", "lost", "categories", "active")
    total = {name: np.zeros(len(ids)) for name in names}
    for frame in wallets.values():  # in their order: sums of floats do not depend on the rows
        place, classes = ids.get_indexer(frame.index), frame["loyalty_class"]
        named = classes.isin(_CLASSED).to_numpy()
        need = np.where(named, frame["need"], 0.0)
        total["spend"][place] += np.where(named, np.maximum(frame["spend"], 0.0), 0.0)
        total["need"][place] += need
        total["lost"][place] += np.where(classes == "competitor", need, 0.0)
        total["categories"][place] += named
        total["active"][place] += (classes != "lapsed").to_numpy()
    some = total["need"] > 0
    whole = np.where(some, total["need"], np.nan)
    share, lost = total["spend"] / whole, total["lost"] / whole
    evidence = np.where(total["active"] == 0, 0, np.where(some, np.inf, 1))
    held = np.where(lost >= _HALF, lost, 0.0)
    rolled = {
        "loyalty_class": classify_shares(share, held, evidence),
        "share": np.clip(share, 0.0, 1.0),
        "categories": total["categories"].astype(np.int64),
    }
    return pd.DataFrame(rolled, ids.rename("customer_id"))


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
