"""Successive windows of a base, and the pairs of them that show changes of class.

Windows are longer than the step between their ends, as a rule, and overlap. Of a window of 39 weeks
and a step of 13 two thirds lie in the next one already: most customers keep their class, because
most of what decides it has happened. Persistence is a strong forecast then, a changed class says
that the new third differs much, and nothing is learned of how a class holds over a whole window.
What is judged stays unseen: the class at a cutoff is known before the window of the next one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from crmml.exceptions import CrmmlError, ParameterError
from crmml.features.wallet import Wallet
from crmml.features.windows import customer_folds
from crmml.metrics.bootstrap import hash_keys


@dataclass(frozen=True)
class Pair:
    """A window and the classes of the same customers in the one that ends a step later."""

    now: Wallet
    after: pd.Series[str]

    @classmethod
    def of(cls, now: Wallet, after: Wallet) -> Pair:
        """Match two windows; all who were there before are there after (perhaps lapsed)."""
        names = after.frame["loyalty_class"].reindex(now.frame.index)
        if names.isna().any():
            raise CrmmlError(
                f"{int(names.isna().sum()):,} customers of the window to {now.closes.date()} are "
                f"not in the next one, to {after.closes.date()}: build both from the same log"
            )
        return cls(now, names)

    @property
    def customer_id(self) -> pd.Index[Any]:
        """Whose classes they are, in the order of the rows."""
        return self.after.index.get_level_values("customer_id")

    def sample(self, one_in: int, seed: int) -> Pair:
        """Keep one customer in so many, in an order that does not depend on the input's."""
        order = np.argsort(hash_keys(self.after.index), kind="stable")
        if one_in > 1:
            # Another seed than that of the folds inside the sample.
            order = order[customer_folds(self.customer_id[order], one_in, seed=seed + 1) == 0]
        now = replace(self.now, frame=self.now.frame.iloc[order])
        return Pair(now, self.after.iloc[order])


def in_order(history: Sequence[Wallet]) -> list[Wallet]:
    """Order windows by time; they may overlap.

    Raises
    ------
    ParameterError
        If there is no window.
    CrmmlError
        If one window does not begin and end after the one before, there is a hole between them,
        or panel and own data are mixed.
    """
    if not history:
        raise ParameterError("history", "at least one window", "none")
    windows = sorted(history, key=lambda wallet: (wallet.closes, wallet.opens))
    for now, after in pairwise(windows):
        if after.opens <= now.opens or after.closes <= now.closes:
            raise CrmmlError(
                f"a window begins and ends after the one before; got {_told(now)} and "
                f"{_told(after)}"
            )
        if after.opens > now.closes:
            raise CrmmlError(
                f"windows must follow each other; nothing covers {now.closes.date()} to "
                f"{after.opens.date()}"
            )
    if len({evidence_of(wallet) for wallet in windows}) > 1:
        raise CrmmlError("windows of panel data and of own data cannot be mixed")
    return windows


def _told(window: Wallet) -> str:
    return f"{window.opens.date()} to {window.closes.date()}"


def evidence_of(wallet: Wallet) -> str:
    """Say whether a panel saw all purchases, or the need is inferred from peers."""
    return "panel" if wallet.peers is None else "inferred"
