"""Choose by what happened: the leaderboard over the test windows, and the candidate to use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crmml.exceptions import CrmmlError
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.challenge import challenge
from crmml.metrics.table import metric_named
from crmml.models.forecast.forecasters import ProcessForecaster
from crmml.models.summary import count_parameters
from crmml.training.candidates import CANDIDATES, PROCESSES
from crmml.training.evaluate import DECIDED_BY, EvaluatedWindow, find_best

_FEWEST_SCORES = 3
"""With fewer other scores nothing is said of a choice that they contradict."""


@dataclass(frozen=True)
class Choice:
    """The candidate to use.

    Attributes
    ----------
    name : str
        The candidate.
    reason : str
        One sentence that says why.
    contradicted : str or None
        One sentence where all other scores prefer another candidate.
    """

    name: str
    reason: str
    contradicted: str | None = None


def summarise(windows: Sequence[EvaluatedWindow]) -> pd.DataFrame:
    """Average the metrics of each candidate over the windows.

    The reference of all differences is the best of those that stood in every window; a candidate
    that stood in fewer is compared with it on its own windows.

    Returns
    -------
    DataFrame
        See :class:`crmml.training.backtest.Backtest`.
    """
    everywhere = _in_all(windows)
    everyone = dict.fromkeys(name for one in windows for name in one.fitted)
    parts = [_with_size_of_bias(one.replicates) for one in windows]
    best = find_best(Replicates.mean(parts), everywhere) if everywhere else None
    boards = []
    for name in everyone:
        its = [part for part, one in zip(parts, windows, strict=True) if name in one.fitted]
        table = Replicates.mean([part.of({name, best}) for part in its]).table(best)
        boards.append(table.loc[[name]].assign(windows=len(its)))
    return pd.concat(boards).reset_index()


def _with_size_of_bias(found: Replicates) -> Replicates:
    """Add the size of each bias, which does not cancel over windows as the bias does."""
    bias = [i for i, (_, metric) in enumerate(found.rows) if metric.endswith("_bias")]
    rows = [(found.rows[i][0], found.rows[i][1][: -len("bias")] + "absolute_bias") for i in bias]
    return Replicates(
        [*found.rows, *rows],
        np.concatenate([found.values, np.abs(found.values[bias])]),
        np.concatenate([found.draws, np.abs(found.draws[bias])]),
    )


def _in_all(windows: Sequence[EvaluatedWindow]) -> list[str]:
    return [name for name in windows[0].fitted if all(name in one.fitted for one in windows)]


def find_eligible(windows: Sequence[EvaluatedWindow]) -> list[str]:
    """Return who may be chosen: candidates of ours that stood in every window.

    The heuristic is there to be beaten, and is chosen only where nothing else stood.

    Raises
    ------
    CrmmlError
        If there is none.
    """
    ours = [name for name in _in_all(windows) if not name.startswith("lifetimes")]
    if not ours:
        raise CrmmlError("no candidate of crmml stood in every window of the backtest")
    return [name for name in ours if name != "heuristic"] or ours


def choose(windows: Sequence[EvaluatedWindow], eligible: Sequence[str] | None = None) -> Choice:
    """Choose the candidate with the least error, as far as complexity pays.

    From the simplest candidates upwards, a level of complexity is reached only if its best
    candidate has an error below that of the best so far beyond chance: the interval of the
    difference in ``DECIDED_BY``, over the windows together, lies below 0. The least error among
    all candidates up to that level wins, so that ties go to the simpler.

    Parameters
    ----------
    windows : sequence of EvaluatedWindow
        What happened in them decides.
    eligible : sequence of str, optional
        Candidates to choose from; by default those of :func:`find_eligible`.
    """
    ours = find_eligible(windows) if eligible is None else list(eligible)
    complexity = {name: windows[0].fitted[name].complexity for name in ours}
    found = Replicates.mean([one.replicates for one in windows])
    chosen = ""
    for level in sorted(set(complexity.values())):
        new = find_best(found, [name for name in ours if complexity[name] == level])
        if not chosen or challenge(found, new, [chosen], metric=DECIDED_BY, level=0.9).won:
            chosen = find_best(found, [name for name in ours if complexity[name] <= level])
    values = found.table()["value"]
    reason = _explain(chosen, values, ours, _in_all(windows), len(windows))
    return Choice(chosen, reason, _contradict(chosen, values, ours))


def _explain(
    chosen: str, values: pd.Series[float], ours: Sequence[str], stood: Sequence[str], n: int
) -> str:
    error = values.xs(DECIDED_BY, level="metric")
    times = f"{n} window{'s' if n != 1 else ''}"
    reason = f"{chosen} is chosen: Poisson deviance of purchases {error[chosen]:.4f} over {times}"
    best = min(ours, key=lambda name: (float(f"{error[name]:.6g}"), name != chosen))
    others = [name for name in stood if name != chosen]
    if best != chosen:
        reason += f", no different beyond chance from {best} ({error[best]:.4f}) and simpler"
    elif others:
        second = min((error[name], name) for name in others)
        least = "the least" if error[chosen] <= second[0] else "the least that can be served"
        reason += f", {least}; next is {second[1]} with {second[0]:.4f}"
    return reason


def _contradict(chosen: str, values: pd.Series[float], ours: Sequence[str]) -> str | None:
    """Say so if another candidate is better by every other score that both have."""
    errors = [
        metric
        for metric in dict.fromkeys(metric for _, metric in values.index)
        if metric != DECIDED_BY and metric_named(metric).direction == "lower"
    ]
    for name in ours:
        both = [
            metric for metric in errors if {(name, metric), (chosen, metric)} <= set(values.index)
        ]
        if len(both) >= _FEWEST_SCORES and all(
            values[name, metric] < values[chosen, metric] for metric in both
        ):
            return (
                f"{chosen} is chosen by Poisson deviance alone; by every other score "
                f"({', '.join(both)}) {name} is better"
            )
    return None


def choose_by_likelihood(window: EvaluatedWindow) -> Choice:
    """Choose without a look at what happened: where one window is all that there is, it grades.

    The process with the highest likelihood of what was bought before the cutoff is chosen, less
    what its parameters cost by the Bayesian information criterion. Where customers are older than
    the data, only processes that allow for it are compared, as the likelihoods of others are of
    other purchases. Learned candidates have no likelihood and are not chosen.

    Parameters
    ----------
    window : EvaluatedWindow
        Its forecasts are not read.
    """
    ours = find_eligible([window])
    when = window.labelled.window.cutoff.date()
    only = f"only one outcome window fits into the data, from {when} on, and it grades"
    models = {
        name: model.purchase_model_
        for name in ours
        if isinstance(model := window.fitted[name], ProcessForecaster)
        and hasattr(model.purchase_model_, "log_likelihood_")
    }
    if any(getattr(model, "old_", None) is not None for model in models.values()):
        models = {k: v for k, v in models.items() if getattr(v, "old_", None) is not None}
    if not models:
        first = min(ours, key=lambda name: window.fitted[name].complexity)
        return Choice(first, f"{first} is chosen as the simplest candidate, because {only}")
    order = list(CANDIDATES)

    def rank(name: str) -> tuple[float, int]:
        # Six digits: the same model reached from two sides is no better than itself.
        return -float(f"{_penalised(models[name]):.6g}"), order.index(name)

    chosen = min(models, key=rank)
    return Choice(
        chosen,
        f"{chosen} is chosen by the likelihood of purchases before {when} (log-likelihood less "
        f"the price of parameters {_penalised(models[chosen]):,.1f}), because {only}",
    )


def _penalised(model: object) -> float:
    """Log-likelihood less half the logarithm of the number of customers for each parameter."""
    likelihood, n = (getattr(model, name) for name in ("log_likelihood_", "n_customers_"))
    return float(likelihood - 0.5 * count_parameters(model) * math.log(n))


def grade(chosen: str, window: EvaluatedWindow) -> str:
    """Say in one sentence how a candidate did in the window that did not help to choose it."""
    error = window.replicates.table().xs(DECIDED_BY, level="metric")["value"]
    best = find_best(window.replicates, list(window.fitted))
    told = [name for name in dict.fromkeys((best, "heuristic")) if name in error.index]
    others = ", ".join(f"{name} {error[name]:.4f}" for name in told if name != chosen)
    place = " (the least)" if best == chosen else ""
    return (
        f"on the window from {window.labelled.window.cutoff.date()} on, which did not help to "
        f"choose, {chosen} has {error[chosen]:.4f}{place}" + (f"; {others}" if others else "")
    )


def process_for_value(chosen: str, leaderboard: pd.DataFrame) -> str:
    """Return the purchase process that lifetime value rests on.

    That of the chosen candidate if it is one, else the process with the least error in the
    backtest, else MBG/NBD, which knows that who never came back may have left.
    """
    first = chosen.partition("/")[0]
    if first in PROCESSES:
        return first
    error = leaderboard[leaderboard["metric"] == DECIDED_BY].sort_values(["value", "candidate"])
    named = error["candidate"].str.partition("/")[0]
    return next((str(name) for name in named if name in PROCESSES), "mbg_nbd")
