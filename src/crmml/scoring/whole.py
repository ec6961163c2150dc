"""Scores of a base that is scored in one piece, handed out as batches are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crmml.actions.allocation import Allocation
from crmml.scoring.scorer import Scores


@dataclass(frozen=True)
class WholeScores:
    """One batch that holds everybody: one row per contract needs no second pass.

    Attributes
    ----------
    scores : Scores
    """

    scores: Scores

    @property
    def cutoff(self) -> pd.Timestamp:
        """As of when."""
        return self.scores.cutoff

    @property
    def absent(self) -> dict[str, str]:
        """Columns that are null throughout, and why."""
        return self.scores.absent

    @property
    def allocation(self) -> Allocation | None:
        """Of the budget; None at stored prices, or where no actions are recommended."""
        return None if self.scores.found is None else self.scores.found.allocation

    def __len__(self) -> int:
        return len(self.scores.table)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        yield self.scores.table

    def gather(self, names: Sequence[str]) -> dict[str, pd.Series[Any]]:
        """Return those of some columns that there are."""
        table = self.scores.table
        return {name: table[name] for name in names if name in table}
