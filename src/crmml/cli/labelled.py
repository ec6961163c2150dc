"""What the commands do where a labelled table stands in the place of a log."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.markup import escape

from crmml.cli import display
from crmml.exceptions import CrmmlError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crmml.config import Config
    from crmml.scoring.bundle import ScoringBundle
    from crmml.scoring.labelled import LabelledScores
    from crmml.training.labelled_pipeline import LabelledResult

COLUMNS = {
    "auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier",
    "average_precision": "average\nprecision",
    "top_decile_lift": "lift of the\ntop tenth",
}
"""Columns of the table of learners, and their headings."""


def show_training(result: LabelledResult, stored: Path) -> None:
    """Print the learners, the notes that need attention, and the gates.

    Parameters
    ----------
    result : LabelledResult
        What came out.
    stored : Path
        Where all its notes lie.
    """
    judged = result.fit.judgement
    board = judged.table["value"].unstack()
    grid = display._grid("On customers outside", "learner", *COLUMNS.values())
    for name in board["log_loss"].sort_values(kind="stable").index:
        style = "bold green" if name == judged.chosen else None
        cells = [f"{board[metric].to_dict()[name]:.3f}" for metric in COLUMNS]
        shown = f"{judged.best_column} alone" if name == "best_column" else str(name)
        grid.add_row(escape(shown), *cells, style=style)
    display.console.print(grid)
    value, low, high = judged.metrics["served_churn_auc"]
    display.say(
        f"{judged.chosen} is chosen: AUC {value:.3f} ({low:.3f} to {high:.3f}), grade "
        f"{judged.grade} against {judged.best_column!r} alone; expected maximum profit "
        f"{judged.metrics['served_churn_empc']:.2f} per customer by contacting "
        f"{judged.metrics['served_churn_empc_share']:.0%} of them"
    )
    display.show_notes(result.notes, stored)
    for gate, met in result.gates.items():
        display.say(f"{'✓' if met else '✗'} {gate}")


def rows_to_score(config: Config | None, rows: str | None) -> Any:
    """Return the rows that a command names.

    Raises
    ------
    ParameterError
        If it names none, or two.
    CrmmlError
        If the configuration names no labelled table.
    """
    if (config is None) == (rows is None):
        rule = "one of --config and --rows, as the model is of a labelled table"
        raise ParameterError("the rows to score", rule, "neither" if config is None else "both")
    if config is None:
        return rows
    from crmml.training.opening import labelled_source

    source = labelled_source(config)
    if source is None:
        raise CrmmlError(
            "the model is of a labelled table, and the configuration names none under "
            "data.labelled; give the rows to score by --rows FILE"
        )
    return source


def score(
    bundle: ScoringBundle,
    rows: Any,
    out: Path,
    file_format: str,
    *,
    cutoff: str | None,
    strict: bool,
    say: Callable[[str], None],
) -> None:
    """Score rows, write them, and show how the probabilities lie."""
    from crmml.scoring.labelled import score_labelled
    from crmml.storage.scores import write_untimed_scores

    say("scoring")
    scores = score_labelled(bundle, rows, strict=strict, cutoff=cutoff)
    say("writing")
    written = write_untimed_scores(scores.table, out, file_format)  # type: ignore[arg-type]
    _show_scores(scores)
    display.say(f"Wrote {len(scores.table):,} customers to {written}")


def _show_scores(scores: LabelledScores) -> None:
    table = scores.table
    cuts = [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    bands = pd.cut(table["churn_probability"], cuts, include_lowest=True, labels=False)
    grid = display._grid("Probabilities", "from", "to", "customers", "a contact pays")
    for k, (low, high) in enumerate(pairwise(cuts)):
        inside = (bands == k).to_numpy()
        pays = int(np.sum(table["contact_pays"].to_numpy(dtype=bool)[inside]))
        grid.add_row(f"{low:.0%}", f"{high:.0%}", f"{int(inside.sum()):,}", f"{pays:,}")
    display.console.print(grid)
    display.say(
        f"A contact pays from a probability of {scores.threshold:.1%}, by what the section "
        "contact of the training's configuration says"
    )


def explain(bundle: ScoringBundle, rows: Any, customer: str, *, as_json: bool) -> None:
    """Say what each column adds to the probability of one customer."""
    from crmml.scoring.labelled import score_labelled

    scores = score_labelled(bundle, rows)
    reasons = scores.explain(customer)
    one = scores.table[scores.table["customer_id"].astype(str) == customer].iloc[0]
    ends = ["churn_probability", "churn_probability_lower", "churn_probability_upper"]
    probability, low, high = one[ends].to_numpy(dtype=np.float64).tolist()
    values, added = reasons["value"].tolist(), reasons["adds"].to_numpy(dtype=np.float64).tolist()
    mean = float(np.log(probability) - np.log1p(-probability)) - sum(added)
    listed = [
        {"column": str(name), "value": _plain(value), "adds": adds}
        for name, value, adds in zip(reasons.index, values, added, strict=True)
    ]
    if as_json:
        told = {"churn_probability": [probability, low, high], "mean_log_odds": mean}
        display.show_json({**told, "reasons": listed})
        return
    display.say(
        f"Probability {probability:.1%} ({low:.1%} to {high:.1%}): log-odds of {mean:+.2f}, "
        f"those of the mean customer, and what each column adds, {mean + sum(added):+.2f} together"
    )
    grid = display._grid("", "column", "value", "adds")
    for one_of in listed:
        shown = escape(one_of["value"] or "unknown")
        grid.add_row(escape(one_of["column"]), shown, f"{one_of['adds']:+.2f}")
    display.console.print(grid)


def _plain(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)
