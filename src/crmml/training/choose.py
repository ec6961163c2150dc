"""Choose by what happened: the leaderboard over the test windows, and the candidate to use."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from crmml.exceptions import CrmmlError
from crmml.metrics.bootstrap import Replicates
from crmml.training.candidates import PROCESSES
from crmml.training.evaluate import DECIDED_BY, EvaluatedWindow, find_best


def summarise(windows: Sequence[EvaluatedWindow]) -> pd.DataFrame:
    """Average the metrics of each candidate over the windows.

    Returns
    -------
    DataFrame
        See :class:`Backtest`.
    """
    found = Replicates.mean([one.replicates for one in windows])
    everywhere = [name for name in windows[0].fitted if all(name in one.fitted for one in windows)]
    board = found.table(find_best(found, everywhere) if everywhere else None).reset_index()
    times: dict[tuple[str, str], int] = {}
    for one in windows:
        for row in one.replicates.rows:
            times[row] = times.get(row, 0) + 1
    return board.assign(windows=[times[row] for row in found.rows])


def choose(windows: Sequence[EvaluatedWindow]) -> tuple[str, str]:
    """Choose the candidate with the least error, as far as complexity pays.

    From the simplest candidates upwards, a level of complexity is reached only if its best
    candidate has an error below that of the best so far beyond chance: the interval of the
    difference in ``DECIDED_BY``, over the windows together, lies below 0. The least error among
    all candidates up to that level wins, so that ties go to the simpler. Only candidates that
    stood in every window, and are ours to serve, are chosen from.

    Returns
    -------
    chosen, reason : str
        The name, and a sentence that says why.

    Raises
    ------
    CrmmlError
        If there is no such candidate.
    """
    complexity = {name: model.complexity for one in windows for name, model in one.fitted.items()}
    stood = [name for name in complexity if all(name in one.fitted for one in windows)]
    ours = [name for name in stood if not name.startswith("lifetimes")]
    if not ours:
        raise CrmmlError("no candidate of crmml stood in every window of the backtest")
    found = Replicates.mean([one.replicates for one in windows])
    chosen = ""
    for level in sorted({complexity[name] for name in ours}):
        new = find_best(found, [name for name in ours if complexity[name] == level])
        if not chosen or _beats(found, new, chosen):
            chosen = find_best(found, [name for name in ours if complexity[name] <= level])
    best = find_best(found, ours)
    value = found.table().xs(DECIDED_BY, level="metric")["value"].to_dict()
    times = f"{len(windows)} window{'s' if len(windows) != 1 else ''}"
    reason = f"{chosen} is chosen: Poisson deviance of purchases {value[chosen]:.4f} over {times}"
    if chosen != best:
        reason += f", no different beyond chance from {best} ({value[best]:.4f}) and simpler"
    elif len(stood) > 1:
        second = min((value[name], name) for name in stood if name != chosen)
        least = "the least" if value[chosen] <= second[0] else "the least that can be served"
        reason += f", {least}; next is {second[1]} with {second[0]:.4f}"
    return chosen, reason


def _beats(found: Replicates, new: str, old: str) -> bool:
    upper = found.table(old)["difference_upper"]
    return bool(upper[new, DECIDED_BY] < 0.0)


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
