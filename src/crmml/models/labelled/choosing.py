"""Learn a ready-made table: look for leaks, cross-fit three learners, choose, calibrate, judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import TooLittleDataError
from crmml.metrics import classification
from crmml.metrics.bootstrap import Replicates, hash_keys, keyed_uniforms, replicate
from crmml.metrics.calibration import (
    compute_reliability,
    decompose_brier,
    expected_calibration_error,
)
from crmml.metrics.profit import (
    ExpectedMaximumProfit,
    compute_profit_curve,
    expected_maximum_profit,
)
from crmml.models.arguments import check_rows
from crmml.models.churn.evaluation import grade_gain
from crmml.models.labelled.encoding import TableEncoding, texts_of
from crmml.models.labelled.leaks import Finding, find_leaks
from crmml.models.labelled.learners import (
    LEARNERS,
    AdditiveLearner,
    Fitted,
    LogisticLearner,
    TreeLearner,
    find_share,
)
from crmml.models.labelled.model import LabelledModel, Line

FOLDS, REPEATS = 5, 2
LEAST_CUSTOMERS, LEAST_EVENTS = 200, 40
MOST_MISSING = 0.8
"""Share of the cells of the whole table that may be empty."""
BEST_COLUMN, FEW_COLUMNS = "best_column", 3
_STREAM = 2**50
"""Of the folds' random numbers, which no other purpose has."""


@dataclass(frozen=True)
class ContactEconomics:
    """What a contact costs and saves; the published defaults (Verbraken et al. 2013).

    Attributes
    ----------
    customer_value, incentive, cost : float
        Money: of a customer who is kept, of the offer to who takes it, of the contact.
    save_rate : float
        Share of those who would leave that a contact keeps, in (0, 1).
    """

    customer_value: float = 200.0
    save_rate: float = 0.3
    incentive: float = 10.0
    cost: float = 1.0

    @property
    def threshold(self) -> float:
        """Probability from which a contact pays.

        Examples
        --------
        >>> round(ContactEconomics().threshold, 3)
        0.164
        """
        gain = self.save_rate * (self.customer_value - self.incentive) - self.cost
        spent = self.incentive + self.cost
        return spent / (gain + spent)

    def maximum_profit(self, y: FloatArray, score: FloatArray) -> ExpectedMaximumProfit:
        """Return the expected maximum profit of a ranking, the save rate being uncertain."""
        return expected_maximum_profit(
            y,
            score,
            clv=self.customer_value,
            incentive_cost=self.incentive,
            contact_cost=self.cost,
            alpha=_CERTAINTY * self.save_rate,
            beta=_CERTAINTY * (1 - self.save_rate),
        )

    def profit_curve(self, y: FloatArray, score: FloatArray) -> pd.DataFrame:
        """Return what contacting the first customers of a ranking finds and earns."""
        return compute_profit_curve(
            y,
            score,
            clv=self.customer_value,
            save_rate=self.save_rate,
            incentive_cost=self.incentive,
            contact_cost=self.cost,
        )


_CERTAINTY = 20.0
"""Sum of the parameters of the Beta distribution of the save rate, as published."""


@dataclass(frozen=True)
class LabelledJudgement:
    """How the learners do on customers whom they have not seen.

    Attributes
    ----------
    table : DataFrame
        Index ``candidate, metric``; values with intervals, and differences to ``best_column``.
    replicates : Replicates
        Behind it, the mean over the repeated folds.
    chosen : str
        The learner.
    best_column : str
        The best single column.
    grade : str
        A to E, from the interval of the gain in AUC over the best column.
    metrics : dict of str to float or (value, low, high)
        Of the chosen one, as logged.
    reliability, profit : DataFrame
        Of the chosen one; see :func:`crmml.metrics.profit.compute_profit_curve`.
    few_auc : float
        AUC of a logistic regression on the best three columns.
    """

    table: pd.DataFrame
    replicates: Replicates
    chosen: str
    best_column: str
    grade: str
    metrics: dict[str, Any]
    reliability: pd.DataFrame
    profit: pd.DataFrame
    few_auc: float


@dataclass(frozen=True)
class LabelledFit:
    """A model, its judgement, and the columns under suspicion."""

    model: LabelledModel
    judgement: LabelledJudgement
    findings: list[Finding]


def fit_labelled(
    rows: pd.DataFrame,
    y: FloatArray,
    ids: pd.Index[Any],
    *,
    seed: int = 1,
    n_boot: int = 200,
    economics: ContactEconomics | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> LabelledFit:
    """Learn the outcome from the columns of a ready-made table.

    The order of rows and columns plays no part.

    Parameters
    ----------
    rows : DataFrame
        One row per customer, any columns but id and outcome.
    y : ndarray of 0 and 1, shape (n,)
        Outcome; 1 is the event.
    ids : Index
        Customers, each once.
    seed : int
        Of folds and bootstrap.
    n_boot : int
        Bootstrap replicates.
    economics : ContactEconomics, optional
        What a contact costs and saves; the published defaults by default.
    announce : callable
        Is told what is being done.

    Raises
    ------
    TooLittleDataError
        If there are too few customers, too few of either outcome, too many empty cells, or no
        column to learn from.
    WrongArgumentError
        If the rows are no table.
    """
    check_rows(rows, "fit_labelled")
    y = np.asarray(y, dtype=np.float64)
    refuse_too_few(y)
    economics = economics or ContactEconomics()
    order = np.argsort(ids.astype(str).to_numpy(dtype=object), kind="stable")
    rows, y, ids = rows.iloc[order], y[order], ids[order]
    texts = texts_of(rows, sorted(map(str, rows.columns)))
    refuse_too_empty(texts)
    findings = find_leaks(texts, y)
    texts = texts.drop(columns=[one.column for one in findings if one.left_out])
    encoding = TableEncoding.learn(texts, float(y.mean()))
    if not encoding.features:
        raise TooLittleDataError(
            f"the table has no column to learn from: of {rows.shape[1]} columns "
            f"{len(findings)} are left out and the others are empty"
        )
    keys = hash_keys(ids)
    folds = [_folds(keys, y, seed, repeat) for repeat in range(REPEATS + 1)]
    announce("tuning")
    X = encoding.matrix_for_fit(texts, y, folds[0])
    tuned = {learner.name: learner.tune(X, y, folds[0]) for learner in LEARNERS}
    singles = _single_columns(encoding, texts, y, folds[0])
    aucs = {name: float(classification.auc(y, p)) for name, p in singles.items()}
    ranked = sorted(aucs, key=lambda name: (-aucs[name], name))
    announce("cross-fitting")
    outside = [_outside(encoding, texts, y, fold, tuned) for fold in folds[1:]]
    means = {name: np.mean([one[name] for one in outside], axis=0) for name in tuned}
    share = find_share(means[AdditiveLearner.name], means[TreeLearner.name], y)
    raw = [_averaged(one, share) for one in outside]
    predicted = [
        {name: _calibrated(score, y, fold) for name, score in one.items()}
        for one, fold in zip(raw, folds[1:], strict=True)
    ]
    best = [_single_columns(encoding, texts, y, fold, [ranked[0]]) for fold in folds[1:]]
    few = _few_columns(encoding, texts, y, folds[1], ranked[:FEW_COLUMNS])
    announce("judging")
    parts = _replicated(predicted, [alone[ranked[0]] for alone in best], y, keys, n_boot, seed)
    judgement = _judge(Replicates.mean(parts), predicted, y, ranked[0], few, economics)
    chosen = judgement.chosen
    model = LabelledModel(
        chosen,
        encoding.with_rates(texts, y),
        _fit_chosen(chosen, X, y, tuned, share),
        Line.fit(np.mean([one[chosen] for one in raw], axis=0), y),
        _bands(judgement),
        economics.threshold,
        len(y),
        -len(y) * float(np.mean([classification.log_loss(y, one[chosen]) for one in predicted])),
    )
    return LabelledFit(model, judgement, findings)


def _replicated(
    predicted: list[dict[str, FloatArray]],
    best: list[FloatArray],
    y: FloatArray,
    keys: Any,
    n_boot: int,
    seed: int,
) -> list[Replicates]:
    return [
        replicate(
            {
                name: classification.statistics(y, p)
                for name, p in {**one, BEST_COLUMN: alone}.items()
            },
            keys,
            n_replicates=n_boot,
            seed=seed,
        )
        for one, alone in zip(predicted, best, strict=True)
    ]


def _bands(judgement: LabelledJudgement) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (float(p), float(low), float(high))
        for p, low, high in judgement.reliability[["predicted", "low", "high"]].to_numpy()
    )


def refuse_too_few(y: FloatArray) -> None:
    """Refuse outcomes from which nothing can be learned.

    Raises
    ------
    TooLittleDataError
        If there are too few customers, or too few of either outcome.
    """
    n, events = len(y), int(y.sum())
    if not events or events == n:
        which = "left" if events else "stayed"
        raise TooLittleDataError(
            f"all {n:,} customers of the table {which}: a model needs some who left and some who "
            "stayed"
        )
    if n < LEAST_CUSTOMERS:
        raise TooLittleDataError(
            f"the labelled table has too few customers: {n:,}, and at least {LEAST_CUSTOMERS} are "
            "needed to learn from some and judge on others"
        )
    if min(events, n - events) < LEAST_EVENTS:
        who = "churners" if events <= n - events else "customers who stayed"
        raise TooLittleDataError(
            f"the labelled table has too few {who}: {min(events, n - events):,} of {n:,} "
            f"customers, and at least {LEAST_EVENTS} are needed"
        )


def refuse_too_empty(texts: pd.DataFrame) -> None:
    """Refuse a table of which too little is known.

    Parameters
    ----------
    texts : DataFrame
        Cells as :func:`crmml.models.labelled.cells.as_text` gives them.

    Raises
    ------
    TooLittleDataError
        If most of all cells are empty.
    """
    absent = texts.isna().to_numpy()
    if absent.size and absent.mean() > MOST_MISSING:
        half = int((absent.mean(axis=0) <= 0.5).sum())
        raise TooLittleDataError(
            f"too much is missing in the labelled table: {absent.mean():.0%} of all cells are "
            f"empty, at most {MOST_MISSING:.0%} may be, and {half:,} of {texts.shape[1]:,} columns "
            "are filled for half of the customers or more; write 0 or no where an empty cell means "
            "that nothing happened, and drop the columns that nobody fills in"
        )


def _folds(keys: Any, y: FloatArray, seed: int, repeat: int) -> IntArray:
    """Deal customers of each outcome to the folds by a number that belongs to the customer."""
    drawn = keyed_uniforms(keys, seed, _STREAM + repeat)
    fold = np.empty(len(y), dtype=np.int64)
    for outcome in (0.0, 1.0):
        members = np.flatnonzero(y == outcome)
        ranked = members[np.argsort(drawn[members], kind="stable")]
        fold[ranked] = np.arange(len(ranked)) % FOLDS
    return fold


def _outside(
    encoding: TableEncoding,
    texts: pd.DataFrame,
    y: FloatArray,
    fold: IntArray,
    tuned: dict[str, Any],
) -> dict[str, FloatArray]:
    found = {name: np.empty(len(y)) for name in tuned}
    for one in range(FOLDS):
        inside = fold != one
        known = encoding.with_rates(texts[inside], y[inside])
        X = encoding.matrix_for_fit(texts[inside], y[inside], fold[inside])
        outside = known.matrix(texts[~inside])
        for learner in LEARNERS:
            fitted = learner.fit(X, y[inside], tuned[learner.name])
            found[learner.name][~inside] = fitted.score(outside)
    return found


def _averaged(found: dict[str, FloatArray], share: float) -> dict[str, FloatArray]:
    additive, trees = found[AdditiveLearner.name], found[TreeLearner.name]
    return {**found, TreeLearner.name: share * additive + (1 - share) * trees}


def _fit_chosen(
    name: str, X: FloatArray, y: FloatArray, tuned: dict[str, Any], share: float
) -> Fitted:
    """Fit what was chosen to all customers."""
    if name != TreeLearner.name:
        return next(one for one in LEARNERS if one.name == name).fit(X, y, tuned[name])
    trees = TreeLearner().fit(X, y, tuned[name])
    if not share:
        return trees
    additive = AdditiveLearner().fit(X, y, tuned[AdditiveLearner.name])
    return additive.times(share).plus(trees.times(1 - share))


def _calibrated(score: FloatArray, y: FloatArray, fold: IntArray) -> FloatArray:
    """Return probabilities, each by a line through the other folds."""
    found = np.empty(len(y))
    for one in range(FOLDS):
        inside = fold != one
        found[~inside] = Line.fit(score[inside], y[inside])(score[~inside])
    return found


def _single_columns(
    encoding: TableEncoding,
    texts: pd.DataFrame,
    y: FloatArray,
    fold: IntArray,
    names: list[str] | None = None,
) -> dict[str, FloatArray]:
    """Return what each column alone says: the share of events in its tenth or of its word."""
    found = {}
    for rule in encoding.rules:
        if names is not None and rule.name not in names:
            continue
        if rule.form is not None:
            one = TableEncoding((rule,), {}, encoding.base_rate)
            values = one.matrix(texts)[:, 0]
            cuts = np.unique(np.nanquantile(values, np.linspace(0, 1, 11)[1:-1]))
            place = np.searchsorted(cuts, values, side="right")
            group = pd.Series(np.where(np.isnan(values), -1, place).astype(str))
        else:
            group = texts[rule.name].fillna("").reset_index(drop=True)
        predicted = np.empty(len(y))
        for k in range(FOLDS):
            inside = fold != k
            by = pd.Series(y[inside]).groupby(group[inside].to_numpy()).agg(["sum", "size"])
            share = (by["sum"] + 5 * encoding.base_rate) / (by["size"] + 5)
            predicted[~inside] = group[~inside].map(share).fillna(encoding.base_rate).to_numpy()
        found[rule.name] = predicted
    return found


def _few_columns(
    encoding: TableEncoding, texts: pd.DataFrame, y: FloatArray, fold: IntArray, names: list[str]
) -> float:
    rules = tuple(rule for rule in encoding.rules if rule.name in names)
    small = TableEncoding(rules, {}, encoding.base_rate)
    X = small.matrix_for_fit(texts, y, fold)
    predicted, learner = np.empty(len(y)), LogisticLearner()
    for one in range(FOLDS):
        inside = fold != one
        predicted[~inside] = learner.fit(X[inside], y[inside], 0.1).score(X[~inside])
    return float(classification.auc(y, predicted))


def _judge(
    replicates: Replicates,
    predicted: list[dict[str, FloatArray]],
    y: FloatArray,
    column: str,
    few_auc: float,
    economics: ContactEconomics,
) -> LabelledJudgement:
    table = replicates.table(BEST_COLUMN, 0.95)
    names = [learner.name for learner in LEARNERS]
    losses = {name: float(table["value"].loc[(name, "log_loss")]) for name in names}
    best = min(names, key=lambda name: losses[name])
    against = replicates.table(best, 0.95)
    # the simplest that is not worse than the best beyond chance
    chosen = next(
        name
        for name in names
        if name == best or against["difference_lower"].loc[(name, "log_loss")] <= 0
    )
    bounds = table.loc[(chosen, "auc"), ["difference_lower", "difference_upper"]]
    probability = [one[chosen] for one in predicted]
    metrics: dict[str, Any] = {}
    for metric in ("auc", "log_loss", "brier"):
        row = table.loc[(chosen, metric), ["value", "lower", "upper"]]
        metrics[f"served_churn_{metric}"] = tuple(row.to_numpy(dtype=np.float64).tolist())
    for metric in ("average_precision", "top_decile_lift"):
        metrics[f"served_churn_{metric}"] = float(table["value"].loc[(chosen, metric)])
    profits = [economics.maximum_profit(y, p) for p in probability]
    mean = np.mean(probability, axis=0)
    metrics["served_churn_calibration_error"] = float(
        np.mean([expected_calibration_error(y, p) for p in probability])
    )
    metrics |= {f"served_churn_{k}": v for k, v in decompose_brier(y, mean).items()}
    metrics["served_churn_empc"] = float(np.mean([one.profit for one in profits]))
    metrics["served_churn_empc_share"] = float(np.mean([one.share for one in profits]))
    return LabelledJudgement(
        table=table,
        replicates=Replicates(
            [(c, f"served_churn_{m}") for c, m in replicates.rows],
            replicates.values,
            replicates.draws,
        ).of([chosen]),
        chosen=chosen,
        best_column=column,
        grade=grade_gain(float(np.ravel(bounds)[0]), float(np.ravel(bounds)[1])),
        metrics=metrics,
        reliability=compute_reliability(y, mean),
        profit=economics.profit_curve(y, mean),
        few_auc=few_auc,
    )
