"""Train: backtest, choose, fit, evaluate what will be served, and bundle it.

The one thing that reads configuration besides the command line. It returns a value that knows
everything; the edge logs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from crmml.card import Card, Result, listed
from crmml.config import Config, load_config, parse_config
from crmml.data.tables import Tables
from crmml.exceptions import WrongArgumentError
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import Interval, iterate_metrics
from crmml.models.arguments import describe
from crmml.models.churn.selection import ChurnSelection
from crmml.notes import Note, merge_notes
from crmml.scoring.bases import kind_of
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.churn_reasons import family_importance
from crmml.scoring.counted import is_counted
from crmml.scoring.scorer import Scores, score
from crmml.stats.threads import on_one_thread
from crmml.training.backtest import Backtest, run_backtest
from crmml.training.bundling import finish_bundle, read_catalogue
from crmml.training.candidates import find_competitors, make_candidate
from crmml.training.churn_notes import churn_notes, leak_notes
from crmml.training.contract_pipeline import (
    ContractTraining,
    find_contract_gates,
    train_contracts,
)
from crmml.training.contracts import ContractChoice, add_contracts, fit_contracts
from crmml.training.evaluate import DECIDED_BY, Announce
from crmml.training.fit import fit_bundle
from crmml.training.gates import find_gates
from crmml.training.labelled_pipeline import LabelledResult, train_labelled
from crmml.training.opening import open_configured
from crmml.training.plan import (
    Plan,
    find_test_windows,
    label_churn_history,
    make_plan,
    plan_judging,
    specify_labels,
)
from crmml.training.served import PREFIX, evaluate_served
from crmml.training.upgrade_evaluation import upgrade_note


@dataclass(frozen=True, repr=False)
class TrainingResult(Result):
    """Everything that came out of a training.

    Attributes
    ----------
    bundle : ScoringBundle
        Fitted on all data before the cutoff.
    scores : Scores
        The customers at the cutoff, scored by the bundle.
    tables : Tables
        The validated data.
    backtest : Backtest
        Leaderboard, choice and reason.
    churn : ChurnSelection
        The churn model that the data allow, with its evaluation.
    contracts : ContractChoice
        The model of contracts likewise, where there are contracts.
    served : dict of str to (value, lower, upper)
        Metrics of what :func:`crmml.score` said at the cutoff of the window that grades, with a
        bundle trained on what was known then.
    replicates : Replicates
        The same metrics on bootstrap replicates of the customers, for paired comparisons.
    calibration : DataFrame or None
        Mean probability of churn as served and the share that churned, by group; None where that
        is not known yet.
    notes : tuple of Note
        What the user must know: choices, their reasons, what the history is too short for. Equal
        ones are merged.
    label_specification : dict
        What was predicted and judged; two trainings compare only where it is equal.
    gates : dict of str to bool
        Conditions for promotion, and whether they are met.
    config : Config
        As used.
    upgrades : DataFrame or None
        Mean upgrade probability as served and the share that moved up, by tier.
    """

    decided_by: ClassVar[str] = f"{PREFIX}{DECIDED_BY}"

    bundle: ScoringBundle
    scores: Scores
    tables: Tables
    backtest: Backtest
    churn: ChurnSelection
    contracts: ContractChoice
    served: dict[str, Interval]
    replicates: Replicates
    calibration: pd.DataFrame | None
    notes: tuple[Note, ...]
    label_specification: dict[str, Any]
    gates: dict[str, bool]
    config: Config
    upgrades: pd.DataFrame | None = None

    def to_pandas(self) -> pd.DataFrame:
        """Return :attr:`metrics`: value with lower and upper bound, missing where there is none."""
        rows = {n: v if isinstance(v, tuple) else (v,) * 3 for n, v in self.metrics.items()}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["value", "lower", "upper"])
        alone = [not isinstance(value, tuple) for value in self.metrics.values()]
        table.loc[alone, ["lower", "upper"]] = np.nan
        return table.rename_axis("metric")

    @property
    def churn_importance(self) -> pd.DataFrame:
        """How much each family of features moves churn, with 95 % intervals.

        See :func:`crmml.scoring.churn_reasons.family_importance`.
        """
        drivers, names = self.bundle.manifest.churn_drivers, ["importance", "lower", "upper"]
        found = pd.DataFrame.from_dict(dict(drivers), orient="index", columns=names)
        order = found.sort_values("importance", ascending=False, kind="stable")
        return order.rename_axis("family")

    def _card(self) -> Card:
        asked = [note for note in self.notes if note.severity != "info"]
        unmet = [gate for gate, met in self.gates.items() if not met]
        rows = (
            ("bundle", repr(self.bundle)),
            ("scores", repr(self.scores)),
            ("forecast", repr(self.backtest)),
            ("churn", f"{self.churn.name}: {self.churn.reason}"),
            ("gates", f"not met: {listed(unmet)}" if unmet else "all met"),
            ("notes", f"{len(asked):,} that limit the meaning, of {len(self.notes):,}"),
            *((note.code, str(note)) for note in asked[:4]),
            ("more", "to_pandas() is the table of metrics, plot() the forecast and the outcome"),
        )
        return Card(f"TrainingResult, {self.backtest.chosen} on {self.scores!r}", rows)

    @property
    def metrics(self) -> dict[str, float | Interval]:
        """What was served, and the leaderboard by candidate: ``(value, low, high)`` by name.

        A metric without an interval is its value alone.
        """
        means = self.backtest.leaderboard.set_index(["candidate", "metric"])
        board = {f"backtest_{c}_{m}": v for (c, m), v in iterate_metrics(means)}
        churn: dict[str, Interval] = {}
        if self.churn.evaluation is not None:
            churn = {
                f"churn_{c}_{m}": v for (c, m), v in iterate_metrics(self.churn.evaluation.table)
            }
        ended: dict[str, Interval] = {}
        if self.contracts.backtest is not None:
            ended = {
                f"contract_{c}_{m}": v
                for (c, m), v in iterate_metrics(self.contracts.backtest.table)
            }
        everything = {**self.served, **board, **churn, **ended}
        return {
            name: value if np.isfinite(value).all() else value[0]
            for name, value in everything.items()
            if np.isfinite(value[0])
        }


@on_one_thread
def train(
    config: Config | Mapping[str, Any] | str | Path,
    tables: Any = None,
    customers: Any = None,
    *,
    transactions: Any = None,
    announce: Announce | None = None,
) -> TrainingResult | ContractTraining | LabelledResult:
    """Backtest, choose, fit and bundle.

    Parameters
    ----------
    config : Config, mapping or path of a YAML file
        Settings; see :class:`crmml.config.Config`.
    tables : Tables, DataFrame, Arrow table or path, or mapping of name to such, optional
        The log, or tables by name, instead of those that the configuration names.
    customers, transactions : DataFrame, Arrow table or path, optional
        The customers beside a log; the log by its name.
    announce : callable, optional
        Told in a few words what is being done.

    Returns
    -------
    TrainingResult
        Where there is no log but contracts,
        :class:`~crmml.training.contract_pipeline.ContractTraining`; where there is neither but a
        labelled table, :class:`~crmml.training.labelled_pipeline.LabelledResult`.

    Raises
    ------
    ConfigError
        If a setting is wrong, or no table is named from which anything can be computed.
    DataError, TooLittleDataError
        If the data break a rule or cannot carry a model.
    """
    settings = _as_config(config)
    say = announce or (lambda _: None)
    check_settings(settings)
    say("opening the data")
    tables = open_configured(settings, tables, customers, transactions=transactions)
    kind = kind_of(tables)
    if kind == "contracts":
        return train_contracts(settings, tables, say)
    if kind == "labelled":
        return train_labelled(settings, tables, say)
    return _train_log(settings, tables, say)


def _train_log(settings: Config, tables: Tables, say: Announce) -> TrainingResult:
    """Train on a log, beside which there may be contracts."""
    plan = make_plan(settings, tables)
    judging = plan_judging(plan)
    backtest = evaluate_candidates(judging, say)
    say("evaluating what would have been served")
    served = evaluate_served(judging, backtest)
    figures = {metric: value for (_, metric), value in iterate_metrics(served.replicates.table())}
    say("fitting on all data")
    fitted = fit_bundle(plan, plan.newest, backtest, judging)
    contracts = fit_contracts(settings, tables, plan.cutoff)
    bundle = add_contracts(fitted.bundle, contracts)
    say("scoring")
    scores = score(bundle, tables, plan.cutoff, snapshot=plan.newest, keep_counts=True)
    gates = find_gates(served, fitted.churn, backtest.chosen)
    if contracts.backtest is not None:  # they may serve the best rule, but must be true
        gates += find_contract_gates(contracts.backtest)[1:]
    counted = is_counted(bundle.manifest)
    told = [
        *_judged_by(plan, judging),
        *(note for note in fitted.notes if not (counted and note.code.startswith("margin_"))),
        *contracts.notes,
        *churn_notes(served, fitted.churn),
        *leak_notes(tables, label_churn_history(judging, plan.cutoff)),
        *(gate.note for gate in gates),
        *([] if served.upgrades is None else [upgrade_note(served.upgrades)]),
    ]
    notes = gather_notes(backtest, told, scores)
    drivers = family_importance(scores.churn_parts(), seed=settings.seed)
    return TrainingResult(
        bundle=finish_bundle(bundle, figures, notes, scores, tables, drivers),
        scores=scores,
        tables=tables,
        backtest=backtest,
        churn=fitted.churn,
        contracts=contracts,
        served=figures,
        replicates=served.replicates,
        calibration=served.churn,
        upgrades=served.upgrades,
        notes=notes,
        label_specification=specify_labels(settings, tables),
        gates={gate.name: gate.met for gate in gates},
        config=settings,
    )


def _judged_by(plan: Plan, judging: Plan) -> list[Note]:
    """Say so where a sample of the customers judged."""
    if judging is plan:
        return []
    text = (
        f"candidates, churn models and what is served were judged on {len(judging.newest):,} of "
        f"{len(plan.newest):,} customers, drawn by their ids; what is served is fitted on all, "
        "the churn model on those"
    )
    return [Note("judged_on_sample", "info", text)]


def backtest_configured(config: Config, *, announce: Announce | None = None) -> Backtest:
    """Compare the candidates of a configuration on its rolling windows, and train nothing else.

    Parameters
    ----------
    config : Config
        Settings.
    announce : callable, optional
        Told in a few words what is being done.
    """
    say = announce or (lambda _: None)
    check_settings(config)
    say("opening the data")
    tables = open_configured(config)
    tables.require_log()
    return evaluate_candidates(plan_judging(make_plan(config, tables)), say)


def evaluate_candidates(plan: Plan, announce: Announce) -> Backtest:
    """Compare the candidates on all test windows, and keep what was fitted for later steps.

    Parameters
    ----------
    plan : Plan
        Of the training.
    announce : callable
        Told in a few words what is being done.
    """
    config = plan.config
    names, competing = find_competitors(config.backtest.candidates, plan.newest)
    backtest = run_backtest(
        plan.tables,
        find_test_windows(config, plan.tables),
        names,
        n_boot=config.backtest.bootstrap,
        seed=config.seed,
        announce=announce,
        cache=plan.labelled,
        fits=plan.fits,
        **plan.build,
    )
    return replace(backtest, competing=tuple(competing))


def check_settings(config: Config) -> None:
    """Find the mistakes that need no data to be seen, before any work is done.

    Raises
    ------
    ParameterError
        If a candidate is not known.
    CatalogueError, ExpressionError
        If the action catalogue cannot be read.
    """
    for name in config.backtest.candidates:
        make_candidate(name, config.outcome.horizon, seed=config.seed)
    read_catalogue(config)


def gather_notes(backtest: Backtest, fitted: Sequence[Note], scores: Scores) -> tuple[Note, ...]:
    """Gather all notes of a training, each once.

    Parameters
    ----------
    backtest : Backtest
        Its notes come first: they are of earlier fits.
    fitted : sequence of Note
        Of the fits on all data. A note of an earlier fit that says the same of the same matter is
        merged into it.
    scores : Scores
        Of the customers at the cutoff.
    """
    planned = [
        Note("not_applied", "warn", text, topic="decisions") for text in scores.recommendation.notes
    ]
    reasons: dict[str, list[str]] = {}
    for name, reason in scores.absent.items():
        reasons.setdefault(reason, []).append(name)
    nulls = [
        Note("null_column", "info", f"null: {reason}", ", ".join(names), "data")
        for reason, names in reasons.items()
    ]
    return merge_notes([*backtest.notes, *fitted, *planned, *nulls])


def _as_config(config: Config | Mapping[str, Any] | str | Path) -> Config:
    if isinstance(config, Config):
        return config
    if not isinstance(config, (str, Path, Mapping)):
        raise WrongArgumentError(
            "crmml.train",
            "settings first: a mapping, a file or a Config",
            describe(config),
            "crmml.train({}, log) takes the defaults",
        )
    return load_config(config) if isinstance(config, (str, Path)) else parse_config(config)
