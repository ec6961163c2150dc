"""Read what a report shows: the scores of a cutoff and of the one before, and their summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from crmml.atomic import reported
from crmml.exceptions import StorageError
from crmml.features.windows import read_moment
from crmml.reports.lists import Lists
from crmml.scorecard.assessment import Assessment
from crmml.scoring.whole import WholeScores
from crmml.storage.scores import (
    list_cutoffs,
    lists_beside,
    read_object,
    read_scores,
    read_summary,
)

COLUMNS = (
    *("customer_id", "value_tier", "clv", "net_clv", "churn_probability", "probability_alive"),
    *("lifecycle_stage", "loyalty_class", "loyalty_evidence", "experience_zone", "taste_segment"),
    *("strategic_role", "group", "recommended_action", "channel", "expected_net_gain"),
    *("net_gain_lower", "net_gain_upper", "expected_cost", "basis", "held_out"),
    *("profit_to_date", "frequency", "net_spend", "model_version"),
    "contract_age",
)
"""What a report reads of the scores: a third of the columns, so that a million customers fit."""


MONITOR = "_monitor"
"""Folder in that of the scores in which a report looks for the files of ``crmml monitor --out``; of
a database ``FILE.duckdb`` it is ``FILE_monitor`` beside the file."""


@dataclass(frozen=True)
class Reported:
    """What a report is about.

    Attributes
    ----------
    scores : DataFrame
        :data:`COLUMNS`, as far as the scores have them.
    cutoff : Timestamp
    before : DataFrame or None
        The same at the cutoff before; None where there is none.
    cutoff_before : Timestamp or None
    summary : dict
        What ``summary.json`` of the lists holds; empty where there are no lists.
    notes, glossary : DataFrame or None
        Of the lists.
    since : Timestamp or None
        Cutoff of the earliest scores, where there are earlier ones.
    tiers_before : Series
        Tier of each customer in those; empty where there are none.
    monitored : dict or None
        What ``monitor.json`` of :data:`MONITOR` holds.
    targets : mapping of str to float
        Target by figure of the scorecard.
    assessment : Assessment or None
        A sheet that was filled in by hand.
    """

    scores: pd.DataFrame
    cutoff: pd.Timestamp
    before: pd.DataFrame | None
    cutoff_before: pd.Timestamp | None
    summary: dict[str, Any]
    notes: pd.DataFrame | None
    glossary: pd.DataFrame | None
    since: pd.Timestamp | None
    tiers_before: pd.Series[str]
    monitored: dict[str, Any] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    assessment: Assessment | None = None

    def why_null(self, column: str) -> str:
        """Say why a column is null throughout; empty where that is not known."""
        reasons: dict[str, str] = self.summary.get("null_columns", {})
        return reasons.get(column, "")

    def has(self, column: str) -> bool:
        """Whether the scores hold any value of a column."""
        return column in self.scores and bool(self.scores[column].notna().any())


def read_reported(folder: str | Path, cutoff: str | pd.Timestamp | None = None) -> Reported:
    """Read the newest scores of a folder, or those of a cutoff.

    Parameters
    ----------
    folder : str or Path
        What ``crmml score`` wrote.
    cutoff : str or Timestamp, optional

    Raises
    ------
    StorageError
        If there are no scores, or not of that cutoff.
    """
    known = list_cutoffs(folder) if Path(folder).exists() else []
    if not known:
        raise StorageError(
            f"no scores at {folder}: a report needs the folder that crmml score wrote "
            "for a log or for contracts (Parquet); the scores of a labelled table have no cutoff"
        )
    moment = known[-1] if cutoff is None else read_moment(cutoff, "cutoff")
    earlier = [one for one in known if one < moment]
    scores = read_scores(folder, moment, COLUMNS)
    if scores.empty:
        raise StorageError(f"the scores of {moment.date()} at {folder} hold no customer")
    first = pd.DataFrame({"customer_id": [], "value_tier": []})
    if earlier:
        first = read_scores(folder, earlier[0], ["value_tier"])
    tiers = first.set_index("customer_id")["value_tier"] if "value_tier" in first else pd.Series()
    lists = lists_beside(folder, moment)
    return Reported(
        scores=scores,
        cutoff=moment,
        before=read_scores(folder, earlier[-1], COLUMNS) if earlier else None,
        cutoff_before=earlier[-1] if earlier else None,
        summary=read_summary(folder, moment) or {},
        notes=_table(lists / "notes.csv"),
        glossary=_table(lists / "columns.csv"),
        since=earlier[0] if earlier else None,
        tiers_before=tiers.dropna().astype(str),
        monitored=_monitored(Path(folder)),
    )


def read_trained(result: Any, *, with_data: bool = True) -> Reported:
    """Take the scores that a training made on its own data; there are none before them.

    Parameters
    ----------
    result : TrainingResult or ContractTraining
    with_data : bool
        Whether the worth of retention is predicted, which looks at the data again.
    """
    scores, bundle = result.scores, result.bundle
    lists = Lists(bundle, result.tables)
    lists.add(scores.table)
    allocation = None if scores.found is None else scores.found.allocation
    ahead = WholeScores(scores).gather(lists.ahead) if with_data else None
    none = pd.Series([], dtype="str")
    return Reported(
        scores=scores.table[[name for name in COLUMNS if name in scores.table]],
        cutoff=scores.cutoff,
        before=None,
        cutoff_before=None,
        summary=lists.summarise(scores.cutoff, scores.absent, allocation, ahead),
        notes=lists.notes(scores.absent),
        glossary=lists.glossary(scores.absent).fillna(""),
        since=None,
        tiers_before=none,
    )


def _monitored(scores: Path) -> dict[str, Any] | None:
    """Read what a watch over the scores found; None where there was none."""
    beside = scores.with_name(f"{scores.stem}{MONITOR}")
    file = (beside if scores.suffix == ".duckdb" else scores / MONITOR) / "monitor.json"
    return read_object(file, "windows and alarms of crmml monitor", ("windows", "alarms"))


def _table(file: Path) -> pd.DataFrame | None:
    if not file.is_file():
        return None
    with reported("read", file):
        return pd.read_csv(file, encoding="utf-8-sig", keep_default_na=False)
