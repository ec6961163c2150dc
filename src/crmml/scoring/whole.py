"""Scores of a base that is scored in one piece, handed out as batches are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crmml.actions.allocation import Allocation
from crmml.scoring.predictors import Moment, Predictor, predict_columns
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
        """Return those of some predicted columns that there are, also of those not served."""
        table = self.scores.table.set_index("customer_id")
        known = {name: table[name] for name in names if name in table}
        again = self._predict([name for name in names if name not in table])
        return known | {name: column.reindex(table.index) for name, column in again.items()}

    def _predict(self, names: Sequence[str]) -> dict[str, pd.Series[Any]]:
        """Predict once more what the scores do not keep, such as what actions rest on."""
        origin, wanted = self.scores.origin, set(names)
        if origin is None or not wanted:
            return {}
        asked: list[Predictor] = []
        left = list(origin.predictors)
        while more := [p for p in left if wanted & {output.name for output in p.outputs}]:
            asked += more
            left = [p for p in left if p not in more]
            wanted |= {name for p in more for name in p.reads | p.optional}
        found = predict_columns(asked, Moment(origin.tables, self.scores.base))
        return {name: found[name] for name in names if name in found}
