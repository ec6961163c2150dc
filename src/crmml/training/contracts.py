"""Contracts in a training: compare models, choose one, fit it on all that is known, bundle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from crmml.config import Config
from crmml.data.tables import Tables
from crmml.exceptions import TooLittleDataError
from crmml.features.contracts import (
    ContractSpan,
    build_contracts,
    build_person_periods,
    contract_span,
    count_next_days,
    least_grace,
)
from crmml.features.windows import end_of_observation, length_of
from crmml.metrics.profit import CLV, CONTACT_COST, INCENTIVE_COST
from crmml.models.churn.contract_evaluation import (
    ContractBacktest,
    backtest_contracts,
    contract_windows,
    fit_candidate,
)
from crmml.models.churn.guards import HIGH, TOO_GOOD, find_contract_leaks
from crmml.models.churn.hazard import LEAST_ENDS
from crmml.models.labelled.leaks import Finding
from crmml.notes import Note
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.decisions import Actions
from crmml.scoring.predictors import Predictor


@dataclass(frozen=True)
class ContractChoice:
    """The model of contracts that the data allow, and why.

    Attributes
    ----------
    predictor : ContractRisk or None
        None where there are no contracts, or too few.
    backtest : ContractBacktest or None
        None likewise.
    notes : tuple of Note
        Why.
    """

    predictor: ContractRisk | None
    backtest: ContractBacktest | None
    notes: tuple[Note, ...]


def fit_contracts(config: Config, tables: Tables, cutoff: pd.Timestamp) -> ContractChoice:
    """Compare the models of contracts before a cutoff, and fit the chosen one to all periods.

    Parameters
    ----------
    config : Config
        Its section ``contracts``, and the horizons.
    tables : Tables
        The validated data.
    cutoff : Timestamp
        Of the training.
    """
    if "subscriptions" not in tables:
        return ContractChoice(None, None, ())
    try:
        return choose_contracts(config, tables, cutoff)
    except TooLittleDataError as error:
        text = f"contracts are not scored: {error}"
        return ContractChoice(None, None, (Note("contracts_too_few", "warn", text, "contracts"),))


def choose_contracts(config: Config, tables: Tables, cutoff: pd.Timestamp) -> ContractChoice:
    """Do what :func:`fit_contracts` does, and refuse where the data cannot carry it.

    Raises
    ------
    TooLittleDataError
        With the figures.
    """
    section, horizon = config.contracts, config.outcome.horizon
    how: dict[str, Any] = {"period": section.period, "grace": section.grace}
    known = tables.before(cutoff)
    now = build_contracts(known, cutoff, trailing=section.trailing, **how)  # refused: none active
    leaks = find_contract_leaks(known)
    out = [f"customer_{leak.column}" for leak in leaks if leak.left_out]
    if out:
        kept = known["customers"].drop(*(name.removeprefix("customer_") for name in out))
        known = known.with_table("customers", kept)
    found = backtest_contracts(
        known,
        horizon=horizon,
        n_windows=section.max_windows,
        seed=config.seed,
        n_boot=config.backtest.bootstrap,
        worth=config.value.margin * _periods(config),
        trailing=section.trailing,
        **how,
    )
    periods = build_person_periods(known, cutoff, trailing=section.trailing, **how)
    model = fit_candidate(found.chosen, periods, horizon, config.seed)
    predictor = ContractRisk(
        model=model,
        horizon=horizon,
        value_horizon=config.value.horizon,
        period=section.period,
        grace=section.grace,
        trailing=section.trailing,
        margin=config.value.margin,
        annual_discount_rate=config.value.annual_discount_rate,
        features=tuple(str(name) for name in now.frame if name not in out),
    )
    notes = (
        _reason(found),
        _profit(found),
        *_suspicions(found, leaks),
        *_truncation(periods.truncated),
        *_announced(contract_span(tables), cutoff),
        *_next_day(known, section.grace),
    )
    return ContractChoice(predictor, found, notes)


def describe_reach(config: Config, tables: Any) -> str:
    """Say in one sentence whether contracts alone can carry a training, and on how many cutoffs.

    Parameters
    ----------
    config : Config
        Its horizon and grace period.
    tables : Tables
        With ``subscriptions``.
    """
    horizon, span = config.outcome.horizon, contract_span(tables)
    table = tables.before(end_of_observation(span.last))["subscriptions"]
    ended = int(table.filter(table.ended_at.notnull()).count().execute())
    lead = f"contracts without a log of transactions: {ended:,} have ended, "
    if ended < LEAST_ENDS:
        return f"{lead}which carries no training: it takes {LEAST_ENDS} at least"
    try:
        windows = contract_windows(tables, horizon, config.contracts.grace)
    except TooLittleDataError as error:
        return f"{lead}which carries no training: {error}"
    n = len(windows[-config.contracts.max_windows :])
    ahead = "".join(f"; {note}" for note in _announced(span, end_of_observation(span.last)))
    return (
        f"{lead}and {len(windows)} outcome windows of {horizon} fit, of which a training judges on "
        f"the latest {n}; crmml train compares the models of contracts with the best rule{ahead}"
    )


def add_contracts(bundle: ScoringBundle, choice: ContractChoice) -> ScoringBundle:
    """Put the predictor of contracts before the actions of a bundle, if there is one."""
    if choice.predictor is None:
        return bundle
    before: list[Predictor] = [p for p in bundle.predictors if not isinstance(p, Actions)]
    after: list[Predictor] = [p for p in bundle.predictors if isinstance(p, Actions)]
    return ScoringBundle(bundle.manifest, (*before, choice.predictor, *after))


def _reason(found: ContractBacktest) -> Note:
    """Say which model was chosen, with the figures."""

    def value(candidate: str, metric: str, column: str = "value") -> float:
        return float(found.table[column].loc[(candidate, metric)])

    chosen = found.chosen
    text = (
        f"on {found.n_contracts:,} contracts at {len(found.cutoffs)} cutoffs, of which "
        f"{found.n_ended:,} ended within {found.horizon}, {chosen} is chosen (log loss "
        f"{value(chosen, 'log_loss'):.4f}, AUC {value(chosen, 'auc'):.3f}"
    )
    if chosen == "rule":
        text += "): no model beats the best rule beyond chance"
    else:
        low, high = (value(chosen, "auc", f"difference_{side}") for side in ("lower", "upper"))
        text += (
            f"; against the best rule {value('rule', 'log_loss'):.4f}, AUC "
            f"{value('rule', 'auc'):.3f}, difference [{low:+.3f}, {high:+.3f}], 95 %), grade "
            f"{found.grades[chosen]}"
        )
    return Note("contract_choice", "info", text, "contracts", "models")


def _periods(config: Config) -> float:
    """Count the periods for which a fee is valued."""
    return length_of(config.value.horizon) / length_of(config.contracts.period)


def _profit(found: ContractBacktest) -> Note:
    """Say what contacting by the chosen model earns."""
    of = found.table["value"].xs(found.chosen, level="candidate")
    text = (
        f"contacting the {of['empc_share']:.0%} most likely to end would earn {of['empc']:,.2f} "
        f"per customer (EMPC: a customer kept is worth {CLV:g}, an offer costs {INCENTIVE_COST:g}, "
        f"a contact {CONTACT_COST:g})"
    )
    if "own_value_profit" in of:
        text += (
            f"; by what each customer's own fees bring and costs in proportion "
            f"{of['own_value_profit']:,.2f}, contacting {of['own_value_profit_share']:.0%}"
        )
    return Note("contract_profit", "info", text, "contracts", "models")


def _suspicions(found: ContractBacktest, leaks: list[Finding]) -> list[Note]:
    """Name the columns that know who ended, and an AUC far above that of the best rule."""
    notes = [
        Note(
            f"contracts_column_{leak.kind}",
            "warn" if leak.left_out else "ask",
            f"of the contracts that have ended and those that run, {leak}",
            "customers",
            "data",
        )
        for leak in leaks
    ]
    auc, rule = (float(found.table["value"].loc[(name, "auc")]) for name in (found.chosen, "rule"))
    if auc >= HIGH and auc >= rule + TOO_GOOD:
        text = (
            f"AUC {auc:.3f} of {found.chosen}, {rule:.3f} of the best rule: make sure that no "
            "column of the customers was written after the end"
        )
        notes.append(Note("contracts_too_good", "ask", text, "contracts"))
    return notes


def _truncation(truncated: int) -> tuple[Note, ...]:
    if not truncated:
        return ()
    text = (
        f"{truncated:,} contracts are older than the first end in the data: they count from then "
        "on, since those that had ended before were never seen"
    )
    return (Note("contracts_truncated", "info", text, "contracts"),)


def _next_day(tables: Tables, grace: str | None) -> tuple[Note, ...]:
    """Say that ends are last days, where no grace period covers the day until the renewal."""
    number = count_next_days(tables)
    if not number or (grace is not None and length_of(grace) >= least_grace(tables)):
        return ()
    text = (
        f"{number:,} periods begin on the day after the one before, so `ended_at` is the last day "
        "of a period: they count as renewed (a grace period of a day)"
    )
    return (Note("contracts_next_day", "info", text, "contracts", "data"),)


def _announced(span: ContractSpan, cutoff: pd.Timestamp) -> tuple[Note, ...]:
    """Say which ends are taken as written down before they happen."""
    if not span.announced or cutoff > end_of_observation(span.last):
        return ()
    text = (
        f"{span.announced:,} end after {span.last.date()}, the last day on which one "
        f"began or a customer was in touch (until {span.announced_until.date()}): these ends are "
        "taken as announced, so they have not happened and no model sees them; if they have, set "
        "`cutoff`"
    )
    return (Note("contracts_announced", "ask", text, "contracts", "data"),)
