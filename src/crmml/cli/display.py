"""How results look on a terminal: Rich tables of what other rooms computed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crmml.metrics.table import metric_named
from crmml.notes import Note, most_pressing

if TYPE_CHECKING:
    from crmml.actions.allocation import Allocation
    from crmml.data.first_look import FirstLook
    from crmml.data.mapping import Proposal
    from crmml.data.profile import Profile
    from crmml.data.sections import TableProfile
    from crmml.scoring.bundle import ScoringBundle
    from crmml.training.backtest import Backtest
    from crmml.training.pipeline import TrainingResult

_WIDTH = None if os.environ.get("COLUMNS") or os.isatty(1) else 110
console = Console(highlight=False, width=_WIDTH)
errors = Console(stderr=True, highlight=False)

DOUBTS = 5
"""Doubts about a file that fit one screen."""

BOARD = (
    "purchases_deviance",
    "purchases_mae",
    "purchases_rmse",
    "purchases_bias",
    "purchases_absolute_bias",
    "crps",
    "coverage_80",
    "spend_bias",
    "spend_top_decile_found",
)
"""Columns of the leaderboard that fit 80 characters."""


def board_heading(metric: str) -> str:
    r"""Return the heading of a column of the leaderboard, from the table of metrics.

    Examples
    --------
    >>> board_heading("purchases_mae"), board_heading("spend_bias")
    ('MAE', 'spend\nbias')
    """
    heading = metric_named(metric).heading
    return f"spend\n{heading}" if metric == "spend_bias" else heading


def say(text: str) -> None:
    """Print a sentence: wrapped at words on a terminal, one line elsewhere."""
    console.print(escape(text), soft_wrap=not console.is_terminal)


def remark(text: str) -> None:
    """Print something worth knowing to stderr, so that it never mixes with results."""
    errors.print(f"crmml: note: {escape(text)}", soft_wrap=not errors.is_terminal)


def _grid(title: str, *headings: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE,
        collapse_padding=True,
    )
    for position, heading in enumerate(headings):
        table.add_column(
            heading, justify="left" if position == 0 else "right", no_wrap=position == 0
        )
    return table


def show_tiers(
    tiers: pd.DataFrame,
    cutoff: pd.Timestamp,
    allocation: Allocation | None,
    absent: Mapping[str, str],
    pyramids: pd.DataFrame | None = None,
) -> None:
    """Print one row per value tier, and the certificate of the allocation."""
    moment = cutoff.date()
    grid = _grid(
        f"Value tiers on {moment}",
        "tier", "customers", "share of value", "mean CLV", "mean churn", "actions", "cost",
        "expected\nnet gain",
    )  # fmt: skip
    for tier, row in tiers.iterrows():
        grid.add_row(
            str(tier), f"{row['customers']:,.0f}", f"{row['share_of_value']:.1%}",
            f"{row['mean_clv']:,.2f}", f"{row['churn']:.1%}", f"{row['actions']:,.0f}",
            f"{row['cost']:,.2f}", f"{row['gain']:,.2f}",
        )  # fmt: skip
    console.print(grid)
    show_pyramids(pyramids)
    if "recommended_action" in absent:
        say(f"No actions are recommended: {absent['recommended_action']}.")
        return
    if allocation is not None and allocation.budget is not None:
        price = allocation.prices.budget
        more = f"one more unit would bring {price:.2f}" if price > 0 else "more would bring nothing"
        say(
            f"Budget {allocation.budget:,.2f}: {allocation.spend:,.2f} spent for an expected net "
            f"gain of {allocation.value:,.2f}, {more}; certified to lie within "
            f"{allocation.gap:.4%} of the best possible. The effects are assumptions of the "
            "catalogue until an experiment has measured them."
        )


def pyramid_table(
    table: Mapping[str, pd.Series[float]] | pd.DataFrame, bundle: ScoringBundle
) -> pd.DataFrame | None:
    """Tabulate the pyramids by value and by profit; None where the scores hold no profit."""
    from crmml.segments.pyramids import compute_pyramids

    if "profit_to_date" not in table:
        return None
    value, profit = table["net_clv"], table["profit_to_date"]
    if value.isna().any() or profit.isna().any():
        return None
    return compute_pyramids(value, profit, bundle.tiers.shares)


def show_pyramids(table: pd.DataFrame | None) -> None:
    """Print the shares of value and of profit by tier beside the reference profile."""
    if table is None:
        return
    grid = _grid(
        "Who brings the profit", "tier", "reference", "by lifetime value", "by profit to date"
    )
    for tier, row in table.iterrows():
        shares = (row["reference_share"], row["share_of_value"], row["share_of_profit"])
        grid.add_row(str(tier), *("" if pd.isna(s) else f"{s:.1%}" for s in shares))
    console.print(grid)


def show_backtest(backtest: Backtest) -> None:
    """Print the leaderboard, what each process kept, and which candidate is chosen and why."""
    table = backtest.leaderboard
    board = table.pivot(index="candidate", columns="metric", values="value")
    stood = table.groupby("candidate")["windows"].first()
    shown = [metric for metric in BOARD if metric in board]
    some = int(stood.max()) > int(stood.min())
    windows = backtest.chose_on or backtest.windows
    one, n = windows[0].labelled.window, len(windows)
    grid = _grid(
        f"Backtest: {n} window{'s' if n > 1 else ''} of {one.horizon}, from {one.cutoff.date()} on",
        "candidate",
        *map(board_heading, shown),
        *(["win-\ndows"] if some else []),
    )
    for name in rank_leaderboard(table):
        cells = [board[metric].to_dict()[name] for metric in shown]
        style = "bold green" if name == backtest.chosen else None
        numbers = ["-" if pd.isna(cell) else f"{cell:.3f}" for cell in cells]
        numbers += [f"{stood[name]}"] if some else []
        grid.add_row(name, *numbers, style=style)
    console.print(grid)
    for text, names in _group(backtest.clocks).items():
        say(f"{' and '.join(names)} kept {text}")
    say(backtest.reason)
    if backtest.contradicted is not None:
        say(f"? {backtest.contradicted}")
    for name, why in backtest.skipped.items():
        say(f"{name} was left out where it could not be fitted: {why}")


def rank_leaderboard(table: pd.DataFrame) -> list[str]:
    """Order the candidates by their error; those that stood in fewer windows come after all others.

    Parameters
    ----------
    table : DataFrame
        See :class:`crmml.training.backtest.Backtest`.
    """
    from crmml.training.evaluate import DECIDED_BY

    error = table[table["metric"] == DECIDED_BY]
    ranked = error.sort_values(["windows", "value", "candidate"], ascending=[False, True, True])
    return [str(name) for name in ranked["candidate"]]


def _group(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Gather the names of which the same is said."""
    groups: dict[str, list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(text, []).append(name)
    return groups


def show_training(result: TrainingResult, stored: Path) -> None:
    """Print the leaderboard, the notes that need attention, and the gates.

    Parameters
    ----------
    result : TrainingResult
        What came out.
    stored : Path
        Where all its notes lie.
    """
    show_backtest(result.backtest)
    show_notes(result.notes, stored)
    if result.scores.absent:
        say(f"* null throughout: {', '.join(result.scores.absent)} (why: {stored})")
    for gate, met in result.gates.items():
        say(f"{'✓' if met else '✗'} {gate}")


_MARKS = {"ask": "?", "warn": "!", "info": "*"}


_SHOWN_WITH_THE_BOARD = ("choice", "contradicted_choice", "clocks", "left_out")


def show_notes(notes: Sequence[Note], stored: Path | None) -> None:
    """Print the notes that need an answer, at most ten, by topic; say where the others lie.

    Those that the leaderboard shows are not repeated.
    """
    rest = [note for note in notes if note.code not in _SHOWN_WITH_THE_BOARD]
    groups = most_pressing(rest)
    for topic, group in groups.items():
        say(f"{topic}:")
        for note in group:
            say(f"  {_MARKS[note.severity]} {note}")
    hidden = len(rest) - sum(map(len, groups.values()))
    if hidden:
        where = "; --out FOLDER stores them" if stored is None else f" in {stored}"
        say(f"  and {hidden} more note{'s' if hidden > 1 else ''}{where}")


def show_places(places: Mapping[str, Any]) -> None:
    """Print where everything lies."""
    for name, place in places.items():
        say(f"{name + ':':<10} {place}")


def show_look(look: FirstLook) -> None:
    """Print one screen: what a file is, ten rows as understood, its figures, and the doubts."""
    proposal = look.proposal
    say(look.title)
    grid = _grid(f"{proposal.path.name}, as {proposal.schema.name}", "our name", "column", "sure",
                 "evidence")  # fmt: skip
    for column in grid.columns:
        column.justify = "left"
    for name, guess in proposal.columns.items():
        grid.add_row(name, escape(guess.column), f"{guess.confidence:.0%}", escape(guess.why))
    console.print(grid)
    show_rows(look.rows, "Ten rows, as understood" if look.facts else "Ten rows, as in the file")
    if look.sentence:
        say(look.sentence)
    if look.why_not:
        say(f"! not settled yet: {look.why_not}")
    for sentence in proposal.evidence:
        say(f"* {sentence}")
    for doubt in look.doubts[:DOUBTS]:
        say(f"? {doubt}")
        if doubt.line:
            say(f"    {doubt.line}")
    if len(look.doubts) > DOUBTS:
        say(f"? and {len(look.doubts) - DOUBTS} more, in the configuration")
    if proposal.schema.name != "transactions":
        say(f"* what it adds: {proposal.schema.adds}")


def show_rows(rows: pd.DataFrame, title: str, most: int = 7) -> None:
    """Print rows of a table, as many columns as fit."""
    shown = rows.iloc[:, :most]
    grid = _grid(title, *map(str, shown.columns))
    for column in grid.columns:
        column.no_wrap, column.overflow, column.max_width = True, "ellipsis", 24
    for row in shown.itertuples(index=False):
        grid.add_row(*("" if pd.isna(value) else escape(str(value)) for value in row))
    console.print(grid)


def show_horizons(table: pd.DataFrame, chosen: str) -> None:
    """Print the table by which one chooses when a customer counts as lapsed.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.features.horizons.compare_horizons`.
    chosen : str
        The horizon of the configuration.
    """
    headings = ("no purchase within", "median\ngaps", "windows", "customers", "churned", "lowest",
                "highest", "came back\nlater")  # fmt: skip
    grid = _grid("When a customer counts as churned", *headings)
    for name, row in table.iterrows():
        rates = [row[column] for column in ("base_rate", "lowest", "highest", "came_back")]
        grid.add_row(
            f"{name}{' (chosen)' if name == chosen else ''}",
            "-" if pd.isna(row["per_gap"]) else f"{row['per_gap']:.1f}",
            f"{row['windows']:,}",
            f"{row['customers']:,}" if row["windows"] else "-",
            *("-" if pd.isna(rate) else f"{rate:.1%}" for rate in rates),
        )
    console.print(grid)
    if bool(table["too_short"].get(chosen, False)):
        say(f"! {chosen} is shorter than the median gap: training would refuse it")


def show_json(value: Mapping[str, Any]) -> None:
    """Print plain values as JSON, for programs."""
    print(json.dumps(value, ensure_ascii=False, indent=1))


_LENGTHS = {
    "day": ("week", "13W", "52W", "26W"),
    "month": ("month", "3M", "12M", "6M"),
    "quarter": ("quarter", "1Q", "4Q", "2Q"),
}
"""Time unit, horizon of the outcome and of value, and least history, by the grain."""


_HEAD = """# Written by `crmml init`. A key that is left out keeps its default, which
# `crmml config -c FILE` prints.
name: crmml
seed: 1

"""
_OF_A_LABEL = """

# contact:                # decides from which probability a contact pays: put your own figures
#   customer_value: 200   # money that a customer who is kept brings
#   save_rate: 0.3        # share of those who would leave and stay because of the offer
#   incentive: 10         # cost of the offer to who takes it
#   cost: 1               # cost of the contact
"""


_TIERS = """
tiers:
  by: clv               # lifetime value less the cost to serve; profit: what was earned so far
"""


def config_text(proposals: list[Proposal], relative_to: Path) -> str:
    """Write a whole, commented configuration around the proposed data section."""
    from crmml.cli.contracts import config_text_of_contracts
    from crmml.data.mapping import write_section

    paths = [proposal.path.resolve() for proposal in proposals]
    shown = [p.relative_to(relative_to) if p.is_relative_to(relative_to) else p for p in paths]
    section = write_section(zip(proposals, shown, strict=True)).rstrip()
    given = {proposal.schema.name for proposal in proposals}
    if given == {"labelled"}:
        return _HEAD + section + _OF_A_LABEL
    if "subscriptions" in given and "transactions" not in given:
        return config_text_of_contracts(section)
    grain = next((p.grain for p in proposals if p.schema.name == "transactions"), "day")
    found = {name for proposal in proposals for name in proposal.columns}
    margin = "an assumption: margin per unit of revenue; replace it by your own"
    if found & {"margin", "cost"}:
        margin = "stands in only if the log's own margins are no share of its revenue"
    tiers = _TIERS if found & {"margin", "cost", "acquisition_cost"} else ""
    unit, outcome, value, before = _LENGTHS[grain]
    return f"""{_HEAD}{section}

snapshot:
  grain: {grain:<14} # all lines of a customer in one {grain} are one purchase
  time_unit: {unit:<10} # what recency and T are measured in

outcome:
  horizon: {outcome:<12} # churned = no purchase in this time after the cutoff

value:
  horizon: {value:<12} # how far customer lifetime value looks ahead
  annual_discount_rate: 0.10
  margin: 0.30          # {margin}
{tiers}
backtest:
  min_history: {before:<8} # history before the first cutoff that is evaluated
  # The default, bg_nbd, mbg_nbd, pareto_nbd, lifetimes_bg_nbd and heuristic, and regular where
  # purchases are; tweedie, hurdle and hybrid learn more from longer histories and take longer.
  # candidates: [bg_nbd, mbg_nbd, pareto_nbd, regular, tweedie, hurdle, hybrid, heuristic]

actions:
  catalogue: null       # your own YAML of actions; null takes the built-in assumptions
  # budget: 1000        # of one round; written here, it also overrides that of the training
  holdout_share: 0.05   # left alone at random, so that the effect can be measured
"""


def _quantile(level: Any) -> str:
    return {0.5: "median", 1.0: "most"}.get(level, f"{level:.0%}")


def show_profile(profile: Profile) -> None:
    """Print the one-page profile of the data."""
    money = profile.currency or ""
    grid = _grid("The data", "what", "value")
    amounts = [
        ("revenue", f"{profile.revenue:,.2f} {money}".strip()),
        ("returned", f"{profile.returned:,.2f} in {profile.return_rows:,} lines"),
        ("lines of amount zero", f"{profile.zero_rows:,}"),
    ]
    if profile.counted:
        amounts = [("revenue", "not known: purchases are counted")]
    rows = [
        ("span", f"{profile.first.date()} to {profile.last.date()} ({profile.weeks:.1f} weeks)"),
        ("order lines", f"{profile.rows:,}"),
        ("customers who bought", f"{profile.buyers:,} of {profile.customers:,}"),
        ("purchases", f"{profile.purchases:,}"),
        ("bought once only", f"{profile.one_time_share:.1%}"),
        *amounts,
        ("days without a sale", f"{profile.silent_days:,} ({profile.longest_silence:,} on end)"),
        ("base", profile.entry.base.replace("_", " ")),
    ]  # fmt: skip
    for what, value in rows:
        grid.add_row(what, escape(value))
    console.print(grid)
    for title, series in (
        ("Purchases per customer", profile.purchases_per_customer),
        ("Days between purchases", profile.days_between_purchases),
    ):
        if len(series):
            cells = ", ".join(f"{_quantile(q)} {value:,.4g}" for q, value in series.items())
            say(f"{title}: {cells}")
    windows = _grid("What the data can carry", "outcome window", "fit side by side")
    for row in profile.windows.itertuples():
        windows.add_row(f"{row.weeks:g} weeks", f"{row.windows}")
    console.print(windows)
    show_sections(profile.sections)
    show_additions(profile.additions)
    for effect in profile.report.effects:
        if effect.rows:
            done = "left out" if effect.dropped else "kept"
            say(f"policy {effect.policy}={effect.choice}: {effect.rows:,} lines {done}")
    for remark in profile.remarks():
        say(f"* {remark}")
    say(profile.reach)


def show_sections(sections: tuple[TableProfile, ...]) -> None:
    """Print a few figures of each table beside the log."""
    for section in sections:
        grid = _grid(f"The table {section.table}", "what", "value")
        grid.columns[1].justify = "left"
        grid.add_row("rows", f"{section.rows:,}")
        if section.customers is not None:
            grid.add_row("customers", f"{section.customers:,}")
        if section.first is not None and section.last is not None:
            grid.add_row("span", f"{section.first.date()} to {section.last.date()}")
        for what, value in section.figures:
            grid.add_row(what, escape(value))
        console.print(grid)


def show_additions(additions: pd.DataFrame) -> None:
    """Print which optional tables and columns are there, and what they add in this version."""
    grid = _grid("What more data would add", "table", "column", "there", "adds")
    for column in grid.columns:
        column.justify = "left"
    for row in additions.itertuples():
        there = "yes" if row.present else "no"
        name = row.column if isinstance(row.column, str) else ""
        grid.add_row(str(row.table), name, there, escape(str(row.adds)))
    console.print(grid)
