"""Conditions for promotion, each met or missed by what was served in the window that grades."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crmml.models.churn.selection import ChurnSelection
from crmml.notes import Note, Severity
from crmml.training.evaluate import DECIDED_BY
from crmml.training.served import GATED, PREFIX, Served

PIT_RANGE = (0.77, 0.83)
"""Shares of customers inside the central 80 % between which the intervals are held to be right."""


@dataclass(frozen=True)
class Gate:
    """One condition for promotion.

    Attributes
    ----------
    name : str
        What must hold, in words.
    met : bool
        Whether it does.
    figures : str
        What it was decided by.
    """

    name: str
    met: bool
    figures: str

    @property
    def note(self) -> Note:
        """The figures as a note; a gate that is missed is a warning."""
        severity: Severity = "info" if self.met else "warn"
        return Note("gate_met" if self.met else "gate_missed", severity, self.figures, self.name)


def find_gates(served: Served, churn: ChurnSelection, chosen: str) -> list[Gate]:
    """Say which conditions for promotion are met, and by which figures.

    Parameters
    ----------
    served : Served
        In the window that grades.
    churn : ChurnSelection
        With its evaluation, if the history allowed one.
    chosen : str
        The candidate that is served.
    """
    return [
        *_beats_the_heuristic(served, chosen),
        _interval_is_right(served),
        *_churn_is_true(served),
        *_churn_is_no_worse(churn),
    ]


def _beats_the_heuristic(served: Served, chosen: str) -> Iterator[Gate]:
    # The heuristic is served itself only where nothing else could be fitted.
    if served.heuristic is None or chosen == "heuristic":
        return
    table = served.heuristic.table("heuristic").xs(f"{PREFIX}{DECIDED_BY}", level="metric")
    low, high = (float(table[f"difference_{end}"]["served"]) for end in ("lower", "upper"))
    ours, theirs = (float(table["value"][name]) for name in ("served", "heuristic"))
    yield Gate(
        "less error than the heuristic, beyond chance",
        high < 0.0,
        f"Poisson deviance of purchases {ours:.4f} as served, {theirs:.4f} by the heuristic "
        f"(90 % interval of the difference {low:+.4f} to {high:+.4f})",
    )


def _interval_is_right(served: Served) -> Gate:
    table = served.replicates.table().xs("served", level="candidate")
    value, low, high = (float(table[c][f"{PREFIX}pit_80"]) for c in ("value", "lower", "upper"))
    literal = float(table["value"][f"{PREFIX}literal_80"])
    least, most = PIT_RANGE
    return Gate(
        "the served 80 % interval holds for 77 to 83 % of the customers, by their PIT",
        low <= most and high >= least,
        f"{value:.1%} by the randomised PIT (90 % interval {low:.1%} to {high:.1%}); "
        f"{literal:.1%} lie between the two bounds, which are whole numbers",
    )


def _churn_is_true(served: Served) -> Iterator[Gate]:
    if served.churn is None:
        return
    gated = served.churn[served.churn.index.str.startswith(GATED)]
    missed = gated[~gated["met"]]
    shown = missed if len(missed) else gated.loc[["all"]]
    figures = "; ".join(
        f"{group}: mean probability {row.probability:.1%}, happened to {row.happened:.1%} of "
        f"{row.customers:,} ({row.low:.1%} to {row.high:.1%})"
        for group, row in zip(shown.index, shown.itertuples(), strict=True)
    )
    yield Gate(
        "the mean probability of churn is what happened, to all and by frequency and inactivity",
        not len(missed),
        figures,
    )


def _churn_is_no_worse(churn: ChurnSelection) -> Iterator[Gate]:
    if churn.evaluation is None:
        yield Gate("churn is graded", False, churn.reason)
        return
    # Where the recency rule itself is served there is nothing to be worse than.
    grade = churn.evaluation.grades.get(churn.name, "D")
    yield Gate("churn is graded", True, f"on {churn.evaluation.n_customers:,} customers")
    yield Gate(
        "churn is not shown to be worse than the best recency rule",
        churn.name == "recency_rule" or grade != "E",
        f"{churn.name} has the grade {grade}" if churn.name != "recency_rule" else "it is served",
    )
