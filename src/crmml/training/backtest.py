"""Backtest: evaluate the candidates on rolling test windows, and choose by what happened.

Every candidate is fitted to what was known at a cutoff and compared with what the customers did in
the test window after it. The training windows that learned candidates need closed before that
cutoff. All test windows but the newest choose a candidate; the newest, which did not help to
choose, grades it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from crmml._typing import MONTHS, FloatArray, Grain, TimeUnit
from crmml.data.tables import Tables
from crmml.exceptions import ParameterError, TooLittleDataError
from crmml.features.tracking import count_weekly_purchases
from crmml.features.windows import Window
from crmml.models.fits import Fits
from crmml.models.purchase.compose import kept_clocks
from crmml.notes import Note, merge_notes
from crmml.stats.discounting import in_units
from crmml.training.candidates import COMPOSED, make_candidate, read_schedules
from crmml.training.choose import (
    choose,
    choose_by_likelihood,
    find_eligible,
    grade,
    summarise,
)
from crmml.training.evaluate import Announce, EvaluatedWindow, evaluate_window
from crmml.training.windows import LabelledCache, build_training_windows, label_once


@dataclass(frozen=True)
class Backtest:
    """Rolling windows and the choice that follows from them.

    Attributes
    ----------
    windows : list of EvaluatedWindow
        Oldest first. All but the newest choose; the newest grades what was chosen.
    leaderboard : DataFrame
        Means over the windows that chose (over the one window, if there is no other):
        ``candidate, metric, value, lower, upper, difference, difference_lower, difference_upper,
        windows``, the last of these the number of windows in which the candidate could be fitted;
        differences are to the candidate with the least ``DECIDED_BY``. Customers are resampled in
        all windows at once, so intervals allow for windows that share customers.
    chosen : str
        The candidate to use.
    reason : str
        One sentence that says why.
    skipped : dict of str to str
        Candidates that some window could not carry, and why.
    contradicted : str or None
        One sentence where all scores but the deciding one prefer another candidate.
    competing : tuple of Note
        Why a candidate competes that the configuration does not name, or should.
    """

    windows: list[EvaluatedWindow]
    leaderboard: pd.DataFrame
    chosen: str
    reason: str
    skipped: dict[str, str] = field(default_factory=dict)
    contradicted: str | None = None
    competing: tuple[Note, ...] = ()

    @property
    def chose_on(self) -> list[EvaluatedWindow]:
        """The windows whose outcomes chose; empty where the only one grades."""
        return self.windows[:-1]

    @property
    def graded(self) -> EvaluatedWindow:
        """The window that grades: its outcomes did not help to choose."""
        return self.windows[-1]

    @property
    def clocks(self) -> dict[str, str]:
        """What each process that chooses its clocks kept, and in how many windows."""
        found = {}
        for name in dict.fromkeys(name for one in self.windows for name in one.fitted):
            if name.partition("/")[0] not in COMPOSED:
                continue
            models = [one.fitted[name] for one in self.windows if name in one.fitted]
            kept = Counter(clock for one in models for clock in kept_clocks(one.purchase_model_))
            times = f"of {len(models)} windows" if len(models) > 1 else "of 1 window"
            found[name] = ", ".join(f"{k} ({n} {times})" for k, n in kept.items()) or "no clock"
        return found

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
        choice = [Note("choice", "info", self.reason)]
        if self.contradicted is not None:
            choice.append(Note("contradicted_choice", "ask", self.contradicted))
        clocks = [
            Note("clocks", "info", f"kept {text}", name) for name, text in self.clocks.items()
        ]
        return (*choice, *clocks, *self.competing, *left_out, *merge_notes(fits))


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
    fits: Fits | None = None,
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
    fits : Fits, optional
        Models fitted so far, kept between calls.

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
    lengths = {in_units(window.horizon, "day") for window in windows}
    if len(lengths) > 1 or any(window.gap is not None for window in windows):
        raise ParameterError("windows", "of one horizon and without a gap", sorted(lengths))
    kept = {} if cache is None else cache
    known = Fits() if fits is None else fits
    build: dict[str, Any] = {
        "grain": grain,
        "time_unit": time_unit,
        "own_seller": own_seller,
        "channels": channels,
    }
    schedules = read_schedules(tables)
    evaluated = []
    for window in sorted(windows, key=lambda w: w.cutoff):
        labelled = label_once(tables, window, kept, **build)
        candidates = {
            name: make_candidate(name, window.horizon, seed=seed, schedules=schedules)
            for name in names
        }
        training_windows = build_training_windows(
            tables,
            window.cutoff,
            window.horizon,
            most=max((model.n_windows for model in candidates.values()), default=0),
            cache=kept,
            **build,
        )
        ids = labelled.snapshot.customer_id
        weekly = _by_week(tables, window, ids, grain=grain, own_seller=own_seller)
        evaluated.append(
            evaluate_window(
                labelled,
                training_windows,
                candidates,
                weekly=weekly,
                n_boot=n_boot,
                seed=seed,
                announce=announce,
                fits=known,
            )
        )
    return choose_and_grade(evaluated)


def _by_week(tables: Tables, window: Window, ids: Any, **how: Any) -> FloatArray | None:
    """Count purchases by week; None where a date is a month or a quarter."""
    if how["grain"] in MONTHS:
        return None
    return count_weekly_purchases(tables, window, ids, **how)


def choose_and_grade(evaluated: list[EvaluatedWindow]) -> Backtest:
    """Choose on all windows but the newest, and grade on that; a single window only grades.

    Parameters
    ----------
    evaluated : list of EvaluatedWindow
        Oldest first.

    Raises
    ------
    CrmmlError
        If no candidate of ours stood in every window.
    """
    earlier, newest = evaluated[:-1], evaluated[-1]
    choice = choose(earlier, find_eligible(evaluated)) if earlier else choose_by_likelihood(newest)
    return Backtest(
        evaluated,
        summarise(earlier or evaluated),
        choice.name,
        f"{choice.reason}; {grade(choice.name, newest)}",
        {name: why for one in evaluated for name, why in one.skipped.items()},
        choice.contradicted,
    )
