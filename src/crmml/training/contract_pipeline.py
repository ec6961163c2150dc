"""Train on contracts alone: compare the models, fit the chosen one, cut tiers, bundle, judge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from crmml.card import Card, Result, listed
from crmml.config import Config
from crmml.data.tables import Tables
from crmml.exceptions import ComparisonError, TooLittleDataError
from crmml.features.contracts import Contracts, build_contract_outcomes
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import Interval, iterate_metrics
from crmml.models.churn.contract_evaluation import (
    ContractBacktest,
    contract_windows,
    judge_contracts,
)
from crmml.models.churn.contract_model import ContractsAhead
from crmml.notes import Note, merge_notes
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.contract_base import contract_risk
from crmml.scoring.contract_outlook import ContractOutlook, ContractTerms, as_history
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.decisions import Actions, Stages, Tiers
from crmml.scoring.history import Attributes
from crmml.scoring.manifest import Manifest
from crmml.scoring.predictors import Moment, Predictor
from crmml.scoring.scorer import Scores, score
from crmml.scoring.segments import Roles, evidence_of
from crmml.scoring.standard import with_catalogue
from crmml.segments.lifecycle import LifecycleStages
from crmml.segments.roles import StrategicRoles
from crmml.segments.value_tier import ValueTiers
from crmml.training.bundling import (
    experience_of,
    finish_bundle,
    knows_consent,
    make_policy,
    read_catalogue,
    shared_fields,
)
from crmml.training.contracts import ContractChoice, choose_contracts
from crmml.training.evaluate import Announce
from crmml.training.gates import Gate
from crmml.training.opening import training_cutoff

DECIDED_BY = "served_contract_log_loss"
"""Metric by which a challenger meets the champion."""

_SERVED = "served_contract_"


@dataclass(frozen=True, repr=False)
class ContractTraining(Result):
    """Everything that came out of a training on contracts alone.

    Attributes
    ----------
    bundle : ScoringBundle
        Fitted on all data before the cutoff.
    scores : Scores
        The contracts at the cutoff, scored by the bundle.
    tables : Tables
        The validated data.
    contracts : ContractChoice
        The chosen model, with its backtest.
    replicates : Replicates
        Its metrics at the latest cutoff, on bootstrap replicates of the customers.
    notes : tuple of Note
        What the user must know.
    label_specification : dict
        What was predicted and judged.
    gates : dict of str to bool
        Conditions for promotion, and whether they are met.
    config : Config
        As used.
    """

    decided_by: ClassVar[str] = DECIDED_BY

    bundle: ScoringBundle
    scores: Scores
    tables: Tables
    contracts: ContractChoice
    replicates: Replicates
    notes: tuple[Note, ...]
    label_specification: dict[str, Any]
    gates: dict[str, bool]
    config: Config

    @property
    def backtest(self) -> ContractBacktest:
        """How the models did on cutoffs that none of them had seen beyond."""
        if self.contracts.backtest is None:
            raise TooLittleDataError("contracts were not judged")
        return self.contracts.backtest

    @property
    def metrics(self) -> dict[str, float | Interval]:
        """The chosen model as it would have served, and every candidate: ``(value, low, high)``."""
        named = {f"contract_{c}_{m}": v for (c, m), v in iterate_metrics(self.backtest.table)}
        served = {metric: v for (_, metric), v in iterate_metrics(self.replicates.table())}
        return {
            name: value if np.isfinite(value).all() else value[0]
            for name, value in {**served, **named}.items()
            if np.isfinite(value[0])
        }

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of metrics by candidate."""
        return self.backtest.to_pandas()

    def _card(self) -> Card:
        asked = [note for note in self.notes if note.severity != "info"]
        unmet = [gate for gate, met in self.gates.items() if not met]
        rows = (
            ("bundle", repr(self.bundle)),
            ("scores", repr(self.scores)),
            ("contracts", repr(self.backtest)),
            ("gates", f"not met: {listed(unmet)}" if unmet else "all met"),
            ("notes", f"{len(asked):,} that limit the meaning, of {len(self.notes):,}"),
            *((note.code, str(note)) for note in asked[:4]),
            ("more", "to_pandas() is the table of metrics, plot() the reliability of the chosen"),
        )
        return Card(f"ContractTraining, {self.backtest.chosen} on {self.scores!r}", rows)


def train_contracts(config: Config, tables: Tables, say: Announce) -> ContractTraining:
    """Backtest, choose, fit and bundle contracts that stand alone.

    Parameters
    ----------
    config : Config
        Settings; ``snapshot`` and the candidates of ``backtest`` play no part.
    tables : Tables
        With ``subscriptions``.
    say : callable
        Told in a few words what is being done.

    Raises
    ------
    TooLittleDataError
        With the figures, if the contracts cannot carry a model.
    """
    cutoff = training_cutoff(config, tables)
    say("comparing models of contracts")
    choice = choose_contracts(config, tables, cutoff)
    say("fitting on all data")
    bundle = make_contract_bundle(config, tables, choice, cutoff)
    say("scoring")
    scores = score(bundle, tables, cutoff)
    found = choice.backtest
    if found is None:
        raise TooLittleDataError("contracts were not judged")
    gates = find_contract_gates(found)
    served = _as_served(found.newest)
    figures = {metric: value for (_, metric), value in iterate_metrics(served.table())}
    notes = _gather(choice, gates, scores)
    return ContractTraining(
        bundle=finish_bundle(bundle, figures, notes, scores, tables),
        scores=scores,
        tables=tables,
        contracts=choice,
        replicates=served,
        notes=notes,
        label_specification=specify_contract_labels(config, tables),
        gates={gate.name: gate.met for gate in gates},
        config=config,
    )


def make_contract_bundle(
    config: Config, tables: Tables, choice: ContractChoice, cutoff: pd.Timestamp
) -> ScoringBundle:
    """Bundle the chosen model with tiers, stages and actions of the contracts at a cutoff."""
    if choice.predictor is None:
        raise TooLittleDataError("contracts alone need a model of contracts; none was fitted")
    risk: ContractRisk = choice.predictor
    contracts = risk.look(tables, cutoff)
    catalogue = read_catalogue(config, "contracts")
    actions = Actions(catalogue, make_policy(config), config.outcome.horizon, knows_consent(tables))
    stages = LifecycleStages(lapsed_at=1.0)  # a contract that runs is not lapsed, however at risk
    predictors: list[Predictor] = [
        ContractTerms(),
        risk,
        ContractOutlook(
            config.outcome.horizon, config.value.horizon, risk.margin, risk.annual_discount_rate
        ),
        *_tiers(config, risk.model.ahead(contracts), risk),
        Stages(stages.fit(as_history(contracts))),
        Roles(StrategicRoles().fit(evidence_of(Moment(tables, contracts), contracts.customer_id))),
        Attributes(group=config.segments.group),
        experience_of(config, tables, cutoff),
        actions,
    ]
    manifest = Manifest(kind="contracts", **shared_fields(config, tables, contracts))
    return ScoringBundle(manifest, tuple(with_catalogue(predictors, catalogue, tables)))


def _tiers(config: Config, ahead: ContractsAhead, risk: ContractRisk) -> list[Predictor]:
    """Cut the tiers by the value of the contracts; none where no fee is known."""
    frame = ahead.contracts.frame
    if "fee" not in frame or frame["fee"].isna().all():
        return []
    worth = ahead.value(config.value.horizon, **risk.prices)["contract_value"].dropna()
    return [Tiers(ValueTiers(config.tiers.shares).fit(worth), "clv")]


def find_contract_gates(found: ContractBacktest) -> list[Gate]:
    """Say which conditions for promotion the chosen model meets, and by which figures.

    Parameters
    ----------
    found : ContractBacktest
        On cutoffs before the training's.
    """

    def value(candidate: str, column: str = "value") -> float:
        return float(found.table[column].loc[(candidate, "log_loss")])

    rule, low, high = (
        value("rule"),
        value(found.chosen, "difference_lower"),
        value(found.chosen, "difference_upper"),
    )
    figures = (
        f"log loss of {found.chosen} {value(found.chosen):.4f}, of the best rule {rule:.4f} (95 % "
        f"interval of the difference {low:+.4f} to {high:+.4f})"
    )
    if found.chosen == "rule":
        figures = f"the best rule is served itself, with a log loss of {rule:.4f}"
    missed = found.calibration[~found.calibration["met"]]
    shown = missed if len(missed) else found.calibration.loc[["all"]]
    sentences = "; ".join(
        f"{group}: mean chance {of.probability:.1%}, happened to {of.happened:.1%} of "
        f"{of.customers:,} ({of.low:.1%} to {of.high:.1%})"
        for group, of in zip(shown.index, shown.itertuples(), strict=True)
    )
    return [
        Gate("contracts: better than the best rule, beyond chance", bool(high < 0.0), figures),
        Gate(
            "contracts: the mean chance of ending is what happened, to all, by age and by chance",
            not len(missed),
            sentences,
        ),
    ]


def specify_contract_labels(config: Config, tables: Tables) -> dict[str, Any]:
    """Say what a training on these contracts predicts and judges."""
    section = config.contracts
    known = tables.before(training_cutoff(config, tables))
    windows = contract_windows(known, config.outcome.horizon, section.grace)
    return {
        "kind": "contracts",
        "cutoffs": [str(window.cutoff) for window in windows[-section.max_windows :]],
        "horizon": config.outcome.horizon,
        "period": section.period,
        "grace": section.grace,
        "churned": "the contract ended in the outcome window",
        "policies": {
            **asdict(tables.policies),
            "test_customers": len(tables.policies.test_customers),
        },
    }


def evaluate_contract_champion(bundle: ScoringBundle, config: Config, tables: Tables) -> Replicates:
    """Evaluate a bundle trained elsewhere at the latest cutoff that a training judges on.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on data before that cutoff.
    config : Config
        Of the training to compare with.
    tables : Tables
        Its data.

    Raises
    ------
    ComparisonError
        If the bundle knows a part of the window, or predicts something else.
    """
    if bundle.manifest.kind != "contracts":
        raise ComparisonError("one was trained on contracts alone, the other on a log")
    risk, section, horizon = (
        contract_risk(bundle.predictors),
        config.contracts,
        config.outcome.horizon,
    )
    for name, here, there in (
        ("horizon", horizon, risk.horizon),
        ("period", section.period, risk.period),
        ("grace", section.grace, risk.grace),
    ):
        if here != there:
            raise ComparisonError(f"one predicts with the {name} {there}, the other with {here}")
    known = tables.before(training_cutoff(config, tables))
    window = contract_windows(known, horizon, section.grace)[-1]
    trained = pd.Timestamp(bundle.manifest.cutoff)
    if trained > window.cutoff:
        ready = trained + (window.closes - window.cutoff)
        raise ComparisonError(
            f"the champion, trained on data up to {trained.date()}, knows a part of the outcome "
            f"window that begins on {window.cutoff.date()}, so it cannot be evaluated fairly; "
            f"a challenger whose data run to {ready.date()} can be compared with it"
        )
    contracts = risk.look(known, window.cutoff)
    happened = build_contract_outcomes(known, contracts, horizon, grace=section.grace)
    predictions = risk.model.churn_probability(contracts, horizon).to_numpy(dtype=np.float64)
    return _as_served(
        judge_contracts(happened, predictions, config.backtest.bootstrap, config.seed)
    )


def _as_served(chosen: Replicates) -> Replicates:
    """Name the metrics of the chosen model as those of what is served."""
    rows = [("served", f"{_SERVED}{metric}") for _, metric in chosen.rows]
    return Replicates(rows, chosen.values, chosen.draws)


def _gather(choice: ContractChoice, gates: list[Gate], scores: Scores) -> tuple[Note, ...]:
    planned = [] if scores.found is None else list(scores.found.notes)
    reasons: dict[str, list[str]] = {}
    for name, reason in scores.absent.items():
        reasons.setdefault(reason, []).append(name)
    waiting = len(scores.base.in_grace) if isinstance(scores.base, Contracts) else 0
    grace = f"{waiting:,} contracts have ended but may still be renewed: they are not scored"
    return merge_notes(
        [
            *choice.notes,
            *([Note("in_grace", "info", grace, "contracts")] if waiting else []),
            *(gate.note for gate in gates),
            *(Note("not_applied", "warn", text, topic="decisions") for text in planned),
            *(
                Note("null_column", "info", f"null: {reason}", ", ".join(names), "data")
                for reason, names in reasons.items()
            ),
        ]
    )
