"""Train on a labelled table: read, fit, judge, bundle; there is no log, no cutoff and no window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pandas as pd

from crmml.card import Card, Result, listed
from crmml.config import Config
from crmml.data.labelled import Labelled, read_labelled
from crmml.data.reading import NUMBERED
from crmml.data.tables import Tables
from crmml.exceptions import ComparisonError, TooLittleDataError
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import iterate_metrics
from crmml.models.churn.guards import too_good
from crmml.models.labelled.choosing import (
    FOLDS,
    REPEATS,
    ContactEconomics,
    LabelledFit,
    fit_labelled,
    refuse_too_empty,
    refuse_too_few,
)
from crmml.models.labelled.encoding import texts_of
from crmml.models.labelled.leaks import find_leaks
from crmml.notes import Note, merge_notes
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.labelled import LabelledOutcome, LabelledScores, score_labelled
from crmml.scoring.manifest import Manifest
from crmml.training.bundling import digest_of
from crmml.training.evaluate import Announce
from crmml.training.gates import Gate

KIND = "labelled"
DECIDED_BY = "served_churn_log_loss"
"""What a challenger must be better in."""
NO_TIME = (
    "the table has no time: whether a column was known before the outcome cannot be checked, so "
    "leaks cannot be excluded, and it is not known for how long a probability holds"
)
MOST_OF_IT, EXPLAINED = 0.9, 1000
"""Share of what columns add that the named ones make; rows that are explained for it."""


@dataclass(frozen=True, repr=False)
class LabelledResult(Result):
    """Everything that came out of a training on a labelled table.

    Attributes
    ----------
    bundle : ScoringBundle
        Of the kind ``labelled``.
    scores : LabelledScores
        The customers of the table; the model has seen them, so judge by ``fit.judgement``.
    tables : Tables
        The validated table.
    fit : LabelledFit
        Model, judgement on customers outside, and columns under suspicion.
    notes : tuple of Note
        What the user must know.
    label_specification : dict
        What was judged; two trainings compare only where it is equal.
    gates : dict of str to bool
        Conditions for promotion, and whether they are met.
    config : Config
        As used.
    """

    bundle: ScoringBundle
    scores: LabelledScores
    tables: Tables
    fit: LabelledFit
    notes: tuple[Note, ...]
    label_specification: dict[str, Any]
    gates: dict[str, bool]
    config: Config

    decided_by: ClassVar[str] = DECIDED_BY

    @property
    def metrics(self) -> dict[str, float | tuple[float, float, float]]:
        """What was judged outside, and the table by learner: ``(value, low, high)`` by name."""
        board = {f"churn_{c}_{m}": v for (c, m), v in iterate_metrics(self.fit.judgement.table)}
        return {**board, **self.fit.judgement.metrics}

    @property
    def replicates(self) -> Replicates:
        """The metrics of the chosen learner on bootstrap replicates of the customers."""
        return self.fit.judgement.replicates

    def to_pandas(self) -> pd.DataFrame:
        """Return the learners and the best single column: metrics with 95 % intervals."""
        return self.fit.judgement.table.copy()

    def logged_tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables that are logged beside the metrics."""
        judged = self.fit.judgement
        columns = ["column", "kind", "evidence", "left_out"]
        found = [asdict(one) for one in self.fit.findings]
        return {
            "churn": judged.table.reset_index(),
            "churn_reliability": judged.reliability.reset_index(),
            "churn_gain": judged.profit.reset_index(),
            "columns_under_suspicion": pd.DataFrame(found, columns=columns),
        }

    def _card(self) -> Card:
        judged = self.fit.judgement
        auc = judged.metrics["served_churn_auc"]
        asked = [note for note in self.notes if note.severity != "info"]
        rows = (
            ("bundle", repr(self.bundle)),
            ("chosen", judged.chosen),
            ("AUC outside", f"{auc[0]:.3f} ({auc[1]:.3f} to {auc[2]:.3f})"),
            ("grade", f"{judged.grade}, against the column {judged.best_column!r} alone"),
            ("left out", listed(one.column for one in self.fit.findings if one.left_out)),
            *((note.code, str(note)) for note in asked[:5]),
            ("more", "to_pandas() compares the learners, plot() draws the reliability"),
        )
        return Card(f"LabelledResult, {judged.chosen} on {len(self.scores.table):,} rows", rows)


def train_labelled(config: Config, tables: Tables, announce: Announce) -> LabelledResult:
    """Learn the outcome of a labelled table.

    Parameters
    ----------
    config : Config
        Settings; of them ``name``, ``seed``, ``backtest.bootstrap`` and ``data`` count.
    tables : Tables
        With the table ``labelled``.
    announce : callable
        Told in a few words what is being done.

    Returns
    -------
    LabelledResult

    Raises
    ------
    TooLittleDataError
        If there are too few customers, too few of either outcome, or no column to learn from.
    """
    given = read_labelled(tables)
    fit = fit_labelled(
        given.rows,
        given.outcome,
        given.ids,
        seed=config.seed,
        n_boot=config.backtest.bootstrap,
        economics=ContactEconomics(**config.contact.model_dump()),
        announce=announce,
    )
    gates = find_gates(fit)
    notes = merge_notes([*_notes(fit, config, tables), *(gate.note for gate in gates)])
    announce("scoring")
    bundle = ScoringBundle(
        _manifest(config, tables, given, fit, notes), (LabelledOutcome(fit.model),)
    )
    return LabelledResult(
        bundle=bundle,
        scores=score_labelled(bundle, tables),
        tables=tables,
        fit=fit,
        notes=notes,
        label_specification=specify_outcome(config, tables),
        gates={gate.name: gate.met for gate in gates},
        config=config,
    )


def look_at(tables: Tables) -> list[str]:
    """Say in sentences what a training on a labelled table would find, without training.

    Parameters
    ----------
    tables : Tables
        With the table ``labelled``.
    """
    given = read_labelled(tables)
    told = list(tables.facts(KIND).report.notes)
    texts = texts_of(given.rows, sorted(map(str, given.rows.columns)))
    told += [str(one) for one in find_leaks(texts, given.outcome)]
    try:
        refuse_too_few(given.outcome)
        refuse_too_empty(texts)
    except TooLittleDataError as error:
        return [*told, f"no model can be trained: {error}"]
    events = int(given.outcome.sum())
    return [
        *told,
        f"a model of the outcome can be trained: it happened to {events:,} of "
        f"{len(given.ids):,} customers",
        NO_TIME,
    ]


def specify_outcome(config: Config, tables: Tables) -> dict[str, Any]:
    """Say what a training with this configuration and this table would predict and judge."""
    return {
        "kind": KIND,
        "churned": "the outcome of the table",
        "folds": FOLDS,
        "repeats": REPEATS,
        "seed": config.seed,
        "policies": {
            **asdict(tables.policies),
            "test_customers": len(tables.policies.test_customers),
        },
    }


def refuse_champion(bundle: ScoringBundle) -> Replicates:
    """Refuse to judge a champion on another table: it may have learned from these customers.

    Raises
    ------
    ComparisonError
        Always.
    """
    raise ComparisonError(
        f"the champion {bundle.manifest.name} learned from another table, and without time nobody "
        "can tell which of these customers it has seen; compare them on new rows whose outcome "
        "came later, and promote by --force"
    )


def find_gates(fit: LabelledFit) -> list[Gate]:
    """Say which conditions for promotion are met, and by which figures."""
    judged = fit.judgement
    columns = ["value", "difference", "difference_lower", "difference_upper"]
    auc = judged.table.xs("auc", level="metric")
    value, gain, low, high = (float(auc[name].to_dict()[judged.chosen]) for name in columns)
    return [
        Gate(
            "ranks better than the best single column, beyond chance (grade A, B or C)",
            judged.grade in "ABC",
            f"grade {judged.grade}: AUC {value:.3f} of {judged.chosen} on customers outside, "
            f"{gain:+.3f} against {judged.best_column!r} alone (95 % interval {low:+.3f} to "
            f"{high:+.3f})",
        )
    ]


def _notes(fit: LabelledFit, config: Config, tables: Tables) -> Iterator[Note]:
    judged, model, contact = fit.judgement, fit.model, config.contact
    own = any(name.startswith("contact.") for name in config.given)
    yield Note("no_time", "warn", NO_TIME, topic="data")
    for text in tables.facts(KIND).report.notes:
        yield Note("reading", "info", text, topic="data")
    for one in fit.findings:
        kept = Note("suspect_column", "ask", str(one), topic="data")
        yield kept if not one.left_out else Note("column_left_out", "warn", str(one), topic="data")
    if text := _too_good(fit, read_labelled(tables).rows):
        yield Note("too_good", "ask", text, topic="data")
    yield Note(
        "choice",
        "info",
        f"{judged.chosen} is chosen: the simplest whose log loss outside is not worse than the "
        f"best beyond chance ({_losses(judged.table)})",
    )
    yield Note(
        "threshold",
        "info" if own else "warn",
        f"a contact pays from a probability of {model.threshold:.1%}: a customer worth "
        f"{contact.customer_value:g}, an incentive of {contact.incentive:g}, a contact for "
        f"{contact.cost:g} and {contact.save_rate:.0%} who stay because of it"
        + ("" if own else ", which are published defaults: write your own under contact"),
        topic="decisions",
    )


def _too_good(fit: LabelledFit, rows: pd.DataFrame) -> str:
    """Name the columns behind an AUC far above that of the best few; empty where it is not."""
    judged = fit.judgement
    auc = float(judged.table["value"].loc[(judged.chosen, "auc")])
    if not too_good(auc, judged.few_auc):
        return ""
    weight = (
        fit.model.explain(rows.head(EXPLAINED))
        .abs()
        .mean()
        .sort_values(ascending=False, kind="stable")
    )
    behind = (weight.cumsum() - weight) < MOST_OF_IT * weight.sum()
    return (
        f"AUC {auc:.3f} with all columns, {judged.few_auc:.3f} with the best three: together and "
        f"not alone, {int(behind.sum()):,} columns make {MOST_OF_IT:.0%} of the difference between "
        f"customers ({listed(weight.index[behind], most=12)}); make sure that none of them was "
        "written after the outcome"
    )


def _losses(table: pd.DataFrame) -> str:
    loss = table["value"].xs("log_loss", level="metric")
    return ", ".join(f"{name} {value:.4f}" for name, value in loss.items())


def _manifest(
    config: Config, tables: Tables, given: Labelled, fit: LabelledFit, notes: tuple[Note, ...]
) -> Manifest:
    served = {n: v for n, v in fit.judgement.metrics.items() if isinstance(v, tuple)}
    return Manifest(
        name=config.name,
        kind=KIND,
        cutoff="",
        id_type="integer" if pd.api.types.is_integer_dtype(given.ids) else "text",
        columns={KIND: ("customer_id", "outcome", *map(str, given.rows.columns))},
        features=tuple(fit.model.columns),
        reading={KIND: _reading(tables)},
        seed=config.seed,
        config_hash=digest_of(config.shareable()),
        customers=len(given.ids),
        metrics=served,
        notes=notes,
    )


def _reading(tables: Tables) -> dict[str, Any]:
    """Say how rows to score are read: the column of ids by its name in the file, no outcome."""
    facts = tables.facts(KIND)
    reading = dict(facts.reading)
    known = reading.get("columns") or {}
    ids = None if NUMBERED in facts.report.notes else known.get("customer_id") or "customer_id"
    others = {n: c for n, c in known.items() if n not in ("customer_id", "outcome")}
    return {**reading, "columns": {"customer_id": ids, **others}}
