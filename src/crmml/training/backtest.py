"""Backtest: evaluate the candidates on rolling test windows, and choose by what happened.

Every candidate is fitted to what was known at a cutoff and compared with what the customers did in
the test window after it. The training windows that learned candidates need closed before that
cutoff.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from crmml._typing import Grain, TimeUnit
from crmml.data.tables import Tables
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.tracking import count_weekly_purchases
from crmml.features.windows import Window
from crmml.notes import Note, merge_notes
from crmml.training.candidates import make_candidate
from crmml.training.choose import choose, summarise
from crmml.training.evaluate import Announce, EvaluatedWindow, evaluate_window
from crmml.training.windows import LabelledCache, build_training_windows, label_once


@dataclass(frozen=True)
class Backtest:
    """Rolling windows and the choice that follows from them.

    Attributes
    ----------
    windows : list of EvaluatedWindow
        Oldest first.
    leaderboard : DataFrame
        Means over the windows: ``candidate, metric, value, lower, upper, difference,
        difference_lower, difference_upper, windows``; differences are to the candidate with the
        least ``DECIDED_BY``. Customers are resampled in all windows at once, so intervals allow for
        windows that share customers.
    chosen : str
        The candidate to use.
    reason : str
        One sentence that says why.
    skipped : dict of str to str
        Candidates that some window could not carry, and why.
    """

    windows: list[EvaluatedWindow]
    leaderboard: pd.DataFrame
    chosen: str
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[Note, ...]:
        """The choice, who was left out, and what the fits warned of.

        What concerns a candidate that is not used is for information only.
        """
        mine = f"{self.chosen} fitted at "
        fits = [
            note if note.about.startswith(mine) else replace(note, severity="info")
            for one in self.windows
            for note in one.notes
        ]
        left_out = [
            Note("left_out", "info", f"left out: {why}", name) for name, why in self.skipped.items()
        ]
        choice = Note("choice", "info", self.reason)
        return (choice, *left_out, *merge_notes(fits))


def run_backtest(
    tables: Tables,
    windows: Sequence[Window],
    names: Sequence[str],
    *,
    grain: Grain = "day",
    time_unit: TimeUnit = "week",
    own_seller: str | None = None,
    channels: Mapping[str, str] | None = None,
    n_boot: int = 200,
    seed: int = 0,
    announce: Announce | None = None,
    cache: LabelledCache | None = None,
) -> Backtest:
    """Compare candidates on rolling windows and choose one.

    Parameters
    ----------
    tables : Tables
        The validated log.
    windows : sequence of Window
        At least one, each closed within the data, all of one horizon and without a gap.
    names : sequence of str
        Candidates, among :data:`CANDIDATES`.
    grain, time_unit, own_seller, channels
        See :func:`crmml.features.snapshot.build_snapshot`.
    n_boot, seed
        Of the bootstrap.
    announce : callable, optional
        Told what is being done.
    cache : dict, optional
        Labelled snapshots by window, kept between calls.

    Returns
    -------
    Backtest

    Raises
    ------
    TooLittleDataError
        If there is no window, or none in which all that is ours could be fitted.
    ParameterError
        If a candidate is unknown, or the windows differ in length or have a gap.
    """
    if not windows:
        raise TooLittleDataError("a backtest needs an outcome window that the data cover; got none")
    lengths = {str(window.closes - window.cutoff) for window in windows}
    if len(lengths) > 1 or any(window.opens > window.cutoff for window in windows):
        raise ParameterError("windows", "of one horizon and without a gap", sorted(lengths))
    kept = {} if cache is None else cache
    build: dict[str, Any] = {
        "grain": grain,
        "time_unit": time_unit,
        "own_seller": own_seller,
        "channels": channels,
    }
    evaluated = []
    for window in sorted(windows, key=lambda w: w.cutoff):
        labelled = label_once(tables, window, kept, **build)
        candidates = {name: make_candidate(name, window.horizon, seed=seed) for name in names}
        training_windows = build_training_windows(
            tables,
            window.cutoff,
            window.horizon,
            most=max((model.n_windows for model in candidates.values()), default=0),
            cache=kept,
            **build,
        )
        weekly = count_weekly_purchases(
            tables, window, labelled.snapshot.customer_id, grain=grain, own_seller=own_seller
        )
        evaluated.append(
            evaluate_window(
                labelled,
                training_windows,
                candidates,
                weekly=weekly,
                n_boot=n_boot,
                seed=seed,
                announce=announce,
            )
        )
    board = summarise(evaluated)
    chosen, reason = choose(evaluated)
    skipped = {name: why for one in evaluated for name, why in one.skipped.items()}
    return Backtest(evaluated, board, chosen, reason, skipped)
