"""Choose the churn model that the data allow: the simplest that does as well as the learned one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from crmml._typing import Duration
from crmml.card import Card, Result
from crmml.exceptions import CrmmlWarning, TooLittleDataError
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.models.churn.evaluation import ChurnEvaluation, evaluate_churn
from crmml.models.churn.guards import few_columns_auc, too_good
from crmml.models.churn.history import (
    count_windows,
    find_candidates,
    sort_history,
    whole_length,
)
from crmml.models.churn.level import LevelChoice, LevelHistory, settle_level
from crmml.models.churn.model import ChurnModel
from crmml.models.churn.purchase import PurchaseChurn
from crmml.models.fits import Fits
from crmml.models.forecast.baselines import RecencyRule

MOVED = ("churn_model", "purchase_model")
"""Models that are calibrated on the newest window alone, and moved for the drift after it."""

LEAST_CUSTOMERS, LEAST_OF_EITHER = 100, 20
"""Candidates, and candidates of either outcome, in the window that judges: fewer grade nothing."""

WINDOWS_NEEDED = 3
"""Windows that do not overlap: one to train on, one to calibrate on, one to judge on."""


@dataclass(frozen=True, repr=False)
class ChurnSelection(Result):
    """The churn model that the data allow, and why.

    Attributes
    ----------
    model : churn predictor
        Fitted on all windows.
    name : str
        ``churn_model``, ``purchase_model`` or ``recency_rule``.
    reason : str
        One or two sentences with the figures.
    evaluation : ChurnEvaluation or None
        None if the history is too short to judge.
    n_windows, n_needed : int
        Windows that do not overlap: present, and needed to train, calibrate and judge.
    level : LevelChoice or None
        Whether all probabilities were moved to a forecast level; None where the model was not
        calibrated on the newest window alone.
    finding : str
        Said where the AUC is far above what the best few columns give.
    """

    model: Any
    name: str
    reason: str
    evaluation: ChurnEvaluation | None
    n_windows: int
    n_needed: int = WINDOWS_NEEDED
    level: LevelChoice | None = None
    finding: str = ""

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of the evaluation; empty where the history was too short for one."""
        return pd.DataFrame() if self.evaluation is None else self.evaluation.to_pandas()

    def _card(self) -> Card:
        judged = "nothing: the history is too short"
        rows = (
            ("because", self.reason),
            ("model", repr(self.model)),
            ("judged on", judged if self.evaluation is None else repr(self.evaluation)),
            ("windows", f"{self.n_windows} of the {self.n_needed} that a learned model needs"),
        )
        return Card(f"ChurnSelection: {self.name}", rows)


def select_churn(
    history: Sequence[LabelledSnapshot],
    *,
    horizon: str | Duration,
    gap: str | Duration | None = None,
    snapshot: Snapshot | None = None,
    purchase_model: Any = None,
    candidate_horizons: float = 4.0,
    seed: int = 0,
    n_boot: int = 200,
    fits: Fits | None = None,
    **settings: Any,
) -> ChurnSelection:
    """Judge the learned model against the simple ones and keep the simplest that does as well.

    The newest labelled snapshot is the test, the newest before it that does not overlap it the
    calibration slice, older ones train. The learned model is kept if its AUC is above that of the
    recency rule and of P(no purchase) with 95 % confidence each; else the better of the two is
    used. What is kept is fitted again on all windows.

    Parameters
    ----------
    history : sequence of LabelledSnapshot
        In any order.
    horizon, gap, purchase_model, candidate_horizons, seed
        As for :class:`ChurnModel`.
    snapshot : Snapshot, optional
        The newest one without outcomes: what is served. The level is forecast for it, and it is
        used if ``history`` is empty.
    n_boot : int
        Bootstrap replicates.
    fits : Fits, optional
        Models fitted so far; the purchase model is fitted once on each snapshot.
    **settings
        Further settings of :class:`ChurnModel`.

    Returns
    -------
    ChurnSelection
        Never an exception for a short history: then P(no purchase) of the purchase model is used
        and the reason says how many windows there are and how many are needed.

    Raises
    ------
    TooLittleDataError
        If there is neither a labelled nor a plain snapshot.
    """
    common = {
        "horizon": horizon,
        "gap": gap,
        "purchase_model": purchase_model,
        "candidate_horizons": candidate_horizons,
    }
    n_windows, known = count_windows(history), fits or Fits()

    def simple(why: str) -> ChurnSelection:
        basis = history if history or snapshot is None else snapshot
        model = PurchaseChurn(**common).fit(basis, fits=known)
        why = f"{why}: P(no purchase) of the purchase model is used, unjudged"
        return ChurnSelection(model, "purchase_model", why, None, n_windows)

    if refusal := _refuse(history, n_windows, horizon, candidate_horizons):
        return simple(refusal)
    ordered = sort_history(history)
    test = ordered[-1]
    past = [part for part in ordered if part.window.closes <= test.window.cutoff]
    recipes: dict[str, Callable[[Sequence[LabelledSnapshot]], Any]] = {
        "churn_model": lambda parts: ChurnModel(**common, seed=seed, **settings).fit(
            parts, fits=known
        ),
        "recency_rule": lambda parts: _fit_recency(parts, horizon, candidate_horizons),
        "purchase_model": lambda parts: PurchaseChurn(**common).fit(parts, fits=known),
    }
    try:
        fitted = {name: fit(past) for name, fit in recipes.items()}
        evaluation = evaluate_churn(
            fitted["churn_model"],
            test,
            baselines={name: one for name, one in fitted.items() if name != "churn_model"},
            candidate_horizons=candidate_horizons,
            seed=seed,
            n_boot=n_boot,
        )
    except TooLittleDataError as error:
        return simple(str(error))
    name, reason = _choose(evaluation)
    model = recipes[name](ordered)
    level = None
    if name in MOVED and model.calibration_ is not None:
        levels = _gather_levels(ordered, known, **common)
        level = settle_level(levels, fitted[name], model, test, snapshot)
    few = few_columns_auc(*(_candidates(p, horizon, candidate_horizons) for p in (past[-1], test)))
    found = too_good(evaluation.challenge.values["churn_model"], few)
    return ChurnSelection(model, name, reason, evaluation, n_windows, level=level, finding=found)


def _candidates(
    part: LabelledSnapshot, horizon: str | Duration, horizons: float
) -> LabelledSnapshot:
    return part.subset(find_candidates(part.snapshot, horizon, horizons))


def _refuse(
    history: Sequence[LabelledSnapshot], n_windows: int, horizon: str | Duration, horizons: float
) -> str:
    """Say why nothing can be learned of so little; empty where it can."""
    if n_windows < WINDOWS_NEEDED:
        short = (
            f"the history is shorter than two horizons, {horizon} to look back on and {horizon} to "
            "see who comes back: "
        )
        return (
            f"{'' if n_windows else short}the history holds {n_windows} outcome window(s) of "
            f"{horizon} that do not overlap, and {WINDOWS_NEEDED} are needed (train, calibrate, "
            "judge)"
        )
    test = sort_history(history)[-1]
    judged = _candidates(test, horizon, horizons)
    n, left = len(judged), int(judged.outcomes["churned"].sum())
    day = test.window.cutoff.date()
    if n < LEAST_CUSTOMERS:
        return (
            f"there are too few customers: {n:,} bought within {horizons:g} times {horizon} before "
            f"{day}, and at least {LEAST_CUSTOMERS} are needed to tell a good model from luck"
        )
    if min(left, n - left) < LEAST_OF_EITHER:
        what = "churners" if left < n - left else "customers who came back"
        return (
            f"there are too few {what}: {min(left, n - left):,} of {n:,} customers in the "
            f"{horizon} after {day}, and at least {LEAST_OF_EITHER} are needed"
        )
    return ""


def _gather_levels(ordered: Sequence[LabelledSnapshot], known: Fits, **common: Any) -> LevelHistory:
    """Let a purchase process and the windows say what they can of the level of the next."""
    process = PurchaseChurn(**common)
    with warnings.catch_warnings():
        # The model that serves tells what its own fit on this snapshot warned of.
        warnings.simplefilter("ignore", CrmmlWarning)
        process.fit_purchase_model(ordered[0].snapshot, known)
    length = whole_length(common["horizon"], common["gap"])
    return LevelHistory.gather(
        ordered,
        lambda snapshot: process.no_purchase(snapshot, length),
        horizon=common["horizon"],
        candidate_horizons=common["candidate_horizons"],
    )


def _fit_recency(
    parts: Sequence[LabelledSnapshot], horizon: str | Duration, horizons: float
) -> RecencyRule:
    """Fit the rule on the candidates alone, whom it is compared on."""
    return RecencyRule().fit([_candidates(part, horizon, horizons) for part in parts])


def _choose(evaluation: ChurnEvaluation) -> tuple[str, str]:
    """Name the model to use and the sentence that says why."""
    judged = evaluation.challenge
    figures = "; ".join(
        f"against {name} {row.difference:+.3f} [{row.lower:+.3f}, {row.upper:+.3f}]"
        for name, row in judged.gains.iterrows()
    )
    figures = (
        f"on {evaluation.n_customers:,} candidates at {evaluation.cutoff.date()} the learned model "
        f"has AUC {judged.values[judged.learned]:.3f} ({figures}; 95 % intervals)"
    )
    if judged.won:
        grade = evaluation.grades[judged.learned]
        return judged.learned, f"{figures}: it beats both and is used, grade {grade}"
    return judged.best_simple, f"{figures}: it does not beat both, so {judged.best_simple} is used"
