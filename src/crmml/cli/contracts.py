"""How a training on contracts alone looks on a terminal, and which tables of it are logged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from crmml.cli import display

if TYPE_CHECKING:
    from crmml.config import Config
    from crmml.models.churn.contract_evaluation import ContractBacktest
    from crmml.training.contract_pipeline import ContractTraining

_BOARD = ("log_loss", "auc", "average_precision", "brier", "top_decile_lift")


def show_contract_training(result: ContractTraining, stored: Path) -> None:
    """Print how the models did against the best rule, causes, notes and gates.

    Parameters
    ----------
    result : ContractTraining
        What came out.
    stored : Path
        Where all its notes lie.
    """
    show_contract_backtest(result.backtest)
    display.show_notes(result.notes, stored)
    null = [name for name in result.scores.absent if name in result.scores.table]
    if null:
        display.say(f"* null throughout: {', '.join(null)} (why: {stored})")
    for gate, met in result.gates.items():
        display.say(f"{'✓' if met else '✗'} {gate}")


def show_contract_backtest(found: ContractBacktest) -> None:
    """Print the leaderboard with the grades against the best rule, and the causes told apart."""
    board = found.table["value"].unstack("metric")
    shown = [metric for metric in _BOARD if metric in board]
    n = len(found.cutoffs)
    first, ended = found.cutoffs[0].date(), f"{found.n_ended:,} of {found.n_contracts:,}"
    grid = display._grid(
        f"Contracts: {ended} ended within {found.horizon} of {n} cutoff{'s' if n > 1 else ''}, "
        f"from {first} on",
        "model", *(metric.replace("_", " ") for metric in shown), "AUC less rule (95 %)", "grade",
    )  # fmt: skip
    for name in board["log_loss"].sort_values().index:
        values = [float(board[metric].to_dict()[name]) for metric in shown]
        low, high = (
            float(found.table[f"difference_{end}"].loc[(name, "auc")]) for end in ("lower", "upper")
        )
        against = "-" if name == "rule" else f"{low:+.3f} to {high:+.3f}"
        grid.add_row(
            str(name), *(f"{value:.3f}" for value in values), against,
            found.grades.get(str(name), "-"), style="bold green" if name == found.chosen else None,
        )  # fmt: skip
    display.console.print(grid)
    of = found.table["value"].xs(found.chosen, level="candidate")
    display.say(
        f"Expected maximum profit of {found.chosen}: {of['empc']:,.2f} per customer by contacting "
        f"{of['empc_share']:.0%} of them, by the published defaults"
    )
    if found.chosen in found.causes.index.get_level_values("candidate"):
        told = found.causes.xs(found.chosen, level="candidate")
        each = (
            f"{cause} {row.predicted:,.0f} predicted, {row.happened:,.0f} happened"
            for cause, row in zip(told.index, told.itertuples(), strict=True)
        )
        display.say(f"Ends by cause, by {found.chosen}: {'; '.join(each)}")


def backtest_of_contracts(config: Config, out: Path | None) -> None:
    """Compare the models of contracts alone, show the table, and store it if asked."""
    from crmml.cli import jobs
    from crmml.storage.scores import write_csv
    from crmml.training.contracts import choose_contracts
    from crmml.training.opening import open_configured, training_cutoff

    if out is not None:
        jobs._check_writable(out)
    with jobs.working() as say:
        say("reading and validating")
        tables = open_configured(config)
        say("comparing models of contracts")
        choice = choose_contracts(config, tables, training_cutoff(config, tables))
    if choice.backtest is not None:
        show_contract_backtest(choice.backtest)
    for note in choice.notes:
        display.say(f"* {note}")
    if out is not None and choice.backtest is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_csv(choice.backtest.to_pandas().reset_index(), out / "leaderboard.csv")
        display.say(f"Wrote {out / 'leaderboard.csv'}")


def tables_of_contracts(result: ContractTraining) -> dict[str, pd.DataFrame]:
    """Gather the tables that are logged with a training on contracts alone."""
    from crmml.reports.totals import sum_tiers, tier_table

    tables = {
        "leaderboard": result.backtest.to_pandas().reset_index(),
        "causes": result.backtest.causes.reset_index(),
        "churn_as_served": result.backtest.calibration.reset_index(),
        "churn_gain": result.backtest.profit.reset_index(),
    }
    if "value_tier" in result.scores.table:
        tables["tiers"] = tier_table(sum_tiers(result.scores.table)).reset_index()
    if result.scores.found is not None:
        tables["actions"] = result.scores.found.by_action().reset_index()
    return tables


def config_text_of_contracts(section: str) -> str:
    """Write a whole, commented configuration of contracts alone around its data section."""
    return f"""# Written by `crmml init`. A key that is left out keeps its default, which
# `crmml config -c FILE` prints.
name: crmml
seed: 1

{section}

contracts:
  period: 30D           # time between two renewal dates; for yearly contracts 365D
  grace: null           # a contract renewed within it, like 14D, has not ended
  trailing: 90D         # window in which touch points are counted, if there are any

outcome:
  horizon: 90D          # churned = the contract ended in this time after the cutoff

value:
  horizon: 52W          # how far the value of a contract looks ahead
  annual_discount_rate: 0.10
  margin: 0.30          # an assumption: margin per unit of the fee; replace it by your own

actions:
  catalogue: null       # your own YAML of actions; null takes the built-in assumptions
  # budget: 1000        # of one round; written here, it also overrides that of the training
  holdout_share: 0.05   # left alone at random, so that the effect can be measured
"""
