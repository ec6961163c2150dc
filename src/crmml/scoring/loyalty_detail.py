"""Predictors of loyalty in detail: by category of goods, and by the order of the sellers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd

from crmml._typing import Grain
from crmml.data.tables import Tables
from crmml.features.behaviour import name_values
from crmml.features.category_wallets import iterate_wallets, name_categories, roll_up
from crmml.features.sequences import gather_occasions, market_shares, name_patterns
from crmml.features.wallet import ReferencePopulation
from crmml.scoring.predictors import Moment, Output
from crmml.scoring.segments import NO_CATEGORY

_LOG: frozenset[str] = frozenset({"transactions"})
_NOTHING: frozenset[str] = frozenset()

NO_SELLER = "needs rivals' sales: the column `seller` of the log, and `data.own_seller`"

_ROLLED = ("loyalty_rolled_up", "loyalty_rolled_up_share")
_SEQUENCE = ("loyalty_sequence", "loyalty_sequence_chance")


@dataclass(frozen=True)
class CategoryLoyalty:
    """The class of loyalty in each of the main categories, and one class from all.

    Attributes
    ----------
    window : str
        How far it looks back.
    categories : mapping of str to str
        Category to its column.
    peers : mapping of str to mapping, or None
        Of each category, as the ``to_dict`` of a reference population gives them; None of a
        panel.
    why : str
        Why nothing can be said, where that is so.
    """

    window: str
    categories: Mapping[str, str] = field(default_factory=dict)
    peers: Mapping[str, dict[str, Any]] | None = None
    why: str = ""

    name: ClassVar[str] = "loyalty_by_category"
    tables: ClassVar[frozenset[str]] = _LOG
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The roll-up, then the categories."""
        share = "the house's share of the need in those categories"
        return (
            Output(_ROLLED[0], "text", "", "loyalty class from the categories, weighed by need"),
            Output(_ROLLED[1], "number", "share", share),
            *(
                Output(column, "text", "", f"loyalty class in {category}")
                for category, column in self.categories.items()
            ),
        )

    def obstacle(self, tables: Tables, own_seller: str | None) -> str | None:
        """Say why these tables tell nothing; None where they do."""
        if "category" not in tables.transactions.columns:
            return NO_CATEGORY
        if self.peers is None and own_seller is None:
            return self.why or NO_SELLER
        return self.why or None

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Measure the wallets of the customers, category by category."""
        snapshot = moment.snapshot
        why = self.obstacle(moment.tables, snapshot.provenance.get("own_seller"))
        if why:
            moment.leave_out([output.name for output in self.outputs], why)
            return pd.DataFrame(index=snapshot.customer_id)

        peers = None
        if self.peers is not None:
            peers = {name: ReferencePopulation.from_dict(one) for name, one in self.peers.items()}
        wallets = moment.category_wallets(self.window, tuple(self.categories), peers)
        found = {name: one.frame[["loyalty_class", "spend", "need"]] for name, one in wallets}
        rolled, ids = roll_up(found), snapshot.customer_id
        classes = {
            column: found[category]["loyalty_class"]
            for category, column in self.categories.items()
            if category in found
        }
        columns = dict(zip(_ROLLED, (rolled["loyalty_class"], rolled["share"]), strict=True))
        laid = {name: _laid_on(ids, values) for name, values in (columns | classes).items()}
        none = pd.Series(None, ids, dtype="str")
        return pd.DataFrame(
            {output.name: laid.get(output.name, none) for output in self.outputs}, ids, copy=False
        )


def _laid_on(ids: pd.Index[Any], values: pd.Series[Any]) -> Any:
    """Return the values of some customers; both sorted, so that they are merged, not looked up."""
    _, _, place = ids.join(values.index, how="left", return_indexers=True)
    return values.array if place is None else values.array.take(place, allow_fill=True)


@dataclass(frozen=True)
class BuyingSequence:
    """The pattern in which a customer goes to the house and its rivals, after Brown.

    Attributes
    ----------
    window : str
        How far it looks back.
    market : mapping of str to float, or None
        Share of all occasions that each seller had at the training; None where rivals are not
        seen.
    """

    window: str
    market: Mapping[str, float] | None = None

    name: ClassVar[str] = "loyalty_sequence"
    tables: ClassVar[frozenset[str]] = _LOG
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING
    outputs: ClassVar[tuple[Output, ...]] = (
        Output(
            _SEQUENCE[0], "text", "", "undivided, divided, unstable, none or insufficient (Brown)"
        ),
        Output(_SEQUENCE[1], "number", "probability", "that chance alone makes it so marked"),
    )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Read the sellers of all customers' occasions, once."""
        snapshot, market = moment.snapshot, self.market
        own_seller = snapshot.provenance.get("own_seller")
        if market is None or own_seller is None:
            moment.leave_out(_SEQUENCE, NO_SELLER)
            return pd.DataFrame(index=snapshot.customer_id)

        def read() -> pd.DataFrame:
            seen = gather_occasions(moment.tables, moment.base.cutoff, self.window, snapshot.grain)
            return name_patterns(seen, market, own_seller)

        found = moment.shared((self.name, moment.base.cutoff), read)
        found = found.reindex(snapshot.customer_id)
        pattern = found["pattern"].astype("object").fillna("insufficient")
        return pd.DataFrame({_SEQUENCE[0]: pattern, _SEQUENCE[1]: found["chance"]})


def learn_loyalty_detail(
    tables: Tables, cutoff: pd.Timestamp, window: str, grain: Grain, own_seller: str | None
) -> tuple[CategoryLoyalty, BuyingSequence]:
    """Learn main categories with their peers, and the market shares of the sellers.

    Parameters
    ----------
    tables : Tables
        With ``transactions``.
    cutoff : Timestamp
        Exclusive.
    window : str
        How far loyalty looks back.
    grain : {"hour", "day", "week", "month", "quarter"}
        What counts as one occasion.
    own_seller : str or None
        The house, where rivals' sales are seen.
    """
    market = None
    if own_seller is not None:
        market = market_shares(gather_occasions(tables, cutoff, window, grain))
    sequence = BuyingSequence(window, market)
    if "category" not in tables.transactions.columns:
        return CategoryLoyalty(window, why=NO_CATEGORY), sequence
    names = name_categories(tables, cutoff, own_seller)
    columns = name_values(names, "loyalty_in_")
    if own_seller is not None:
        return CategoryLoyalty(window, columns), sequence
    how: dict[str, Any] = {"length": window, "categories": names, "grain": grain}
    peers = {
        category: wallet.peers.to_dict()
        for category, wallet in iterate_wallets(tables, cutoff, **how)
        if wallet.peers is not None
    }
    return CategoryLoyalty(window, columns, peers), sequence
