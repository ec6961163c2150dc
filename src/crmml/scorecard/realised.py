"""Realised against predicted: what scores said of an outcome window, and what happened in it.

Sources: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44(3), for the doubt about an AUC and
about the difference of two; Murphy (1973) for the parts of the Brier score.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from crmml._typing import FloatArray
from crmml.exceptions import DataError
from crmml.features.contracts import CAUSES
from crmml.metrics.calibration import expected_calibration_error
from crmml.metrics.classification import brier_score
from crmml.metrics.counts import interval_coverage
from crmml.metrics.ranking import top_share_lift

MEASURES = ("churn", "purchases", "spend")
"""What is compared: who did not buy, how often, and for how much."""

ENDS = tuple(f"contract_end_{cause}" for cause in CAUSES)
"""Of contracts also: whose contract ended, by cause."""

CONTRACT_AGE = "contract_age"
"""Whole periods that a contract has outlasted."""

NEEDED = (
    *("customer_id", "churn_probability", "probability_no_purchase", "inactivity", "T"),
    *("expected_purchases", "expected_spend", "purchases_lower", "purchases_upper"),
    *("clv", "clv_lower", "clv_upper", "value_tier", "lifecycle_stage", "group", "model_version"),
    *ENDS,
    CONTRACT_AGE,
)
"""Columns of scores that the comparison reads, where they are there."""

PARTS = {"tier": "value_tier", "stage": "lifecycle_stage", "segment": "group"}
"""How customers are grouped, and by which column; and by tenths of the probability."""

_LEAST_CUSTOMERS = 50
_LEAST_EVENTS = 10.0
_MOST_GROUPS = 12


def compare_groups(scores: pd.DataFrame, outcomes: pd.DataFrame) -> pd.DataFrame:
    """Compare the mean prediction of groups of customers with the mean outcome.

    Parameters
    ----------
    scores : DataFrame
        Keyed by customer; the columns of :data:`NEEDED` that there are.
    outcomes : DataFrame
        The same customers in the same order: ``purchases``, ``spend``, and ``churned`` (0 or 1) of
        the window that churn is about; of contracts ``churned`` and those of :data:`ENDS`.

    Returns
    -------
    DataFrame
        A row per measure and group: ``measure``, ``by`` (all, bucket, tier, stage, segment),
        ``group``, ``customers``, ``predicted`` and ``realised`` (means), ``gap`` (realised less
        predicted), ``error`` (standard error of the gap, customers independent), ``in_errors``
        (their ratio), ``relative`` (gap over the prediction; of churn over the rarer of leaving and
        staying) and ``p_value``, missing where too few customers or events speak.

    Raises
    ------
    DataError
        If the scores hold nothing that could be compared.

    Notes
    -----
    The error of counts and spend is that of the sample, but at least that of the prediction (a
    Poisson process of orders of the predicted price): a sample in which few bought much looks as
    if it scattered little.
    """
    probability = scores_of_churn(scores)
    predictions = {"churn": probability, "purchases": _number(scores, "expected_purchases"),
            "spend": _number(scores, "expected_spend")}  # fmt: skip
    done = {"churn": _number(outcomes, "churned"), "purchases": _number(outcomes, "purchases"),
            "spend": _number(outcomes, "spend")}  # fmt: skip
    groups = {"all": pd.Series("all", scores.index), **_groups(scores, probability)}
    least = _least_variances(predictions)
    for cause in ENDS:
        predictions[cause], done[cause] = _number(scores, cause), _number(outcomes, cause)
    parts = []
    for measure in (*MEASURES, *ENDS):
        predicted, realised = predictions[measure], done[measure]
        known = ~np.isnan(predicted) & ~np.isnan(realised)
        if not known.any():
            continue
        for by, names in groups.items():
            inside = known & names.notna().to_numpy()
            its = least.get(measure)
            table = _table(
                names[inside],
                predicted[inside],
                realised[inside],
                None if its is None else its[inside],
                per_event=5.0 if measure == "spend" else 1.0,
            )
            table.insert(0, "by", by)
            table.insert(0, "measure", measure)
            parts.append(table.reset_index(names="group"))
    if not parts:
        asked = "churn_probability, expected_purchases, expected_spend and contract_end_*"
        raise DataError(f"scores hold none of {asked}, so nothing can be compared", table="scores")
    found = pd.concat(parts, ignore_index=True)
    return found[["measure", "by", "group", *_COLUMNS]]


_COLUMNS = (
    *("customers", "predicted", "realised", "gap", "error", "in_errors", "relative", "p_value"),
)


def scores_of_churn(scores: pd.DataFrame) -> FloatArray:
    """Return the probability of no purchase that is judged: churn, or none where it is absent."""
    p = _number(scores, "churn_probability")
    return p if not np.isnan(p).all() else _number(scores, "probability_no_purchase")


def judge(scores: pd.DataFrame, outcomes: pd.DataFrame) -> dict[str, float]:
    """Return the figures of a whole window: calibration, ranking, lift, bias, coverage.

    Parameters
    ----------
    scores, outcomes : DataFrame
        As for :func:`compare_groups`.

    Returns
    -------
    dict of str to float
        ``churn_predicted``, ``churn_realised``, ``brier``, ``calibration_error``, ``auc``,
        ``auc_error``, ``auc_rule`` (of the recency rule: who was silent longest leaves; of
        contracts the newest end first),
        ``auc_gain`` and its error, ``lift`` (churners in the tenth with the highest probability
        over those of all), ``purchases_bias``, ``spend_bias`` (predicted over realised, less 1) and
        ``coverage``: the share of customers whose purchases lie inside the interval. A figure that
        cannot be had is NaN.
    """
    p, gone = scores_of_churn(scores), _number(outcomes, "churned")
    known = ~np.isnan(p) & ~np.isnan(gone)
    found = dict.fromkeys(_FIGURES, float("nan"))
    p, gone = p[known], gone[known]
    if len(gone):
        found |= {
            "churn_predicted": float(p.mean()),
            "churn_realised": float(gone.mean()),
            "brier": float(brier_score(gone, p)),
            "calibration_error": expected_calibration_error(gone, p),
        }
    if 0 < gone.sum() < len(gone):
        silent = _number(scores, "inactivity")
        # of contracts nobody is silent, and the newest end first
        rule = -_number(scores, CONTRACT_AGE) if np.isnan(silent).all() else silent
        found |= compare_auc(gone, p, rule[known])
        found["lift"] = float(top_share_lift(gone, p))
    for measure in ("purchases", "spend"):
        predictions, done = _number(scores, f"expected_{measure}"), _number(outcomes, measure)
        found[f"{measure}_bias"] = relative_bias(predictions, done)
    low, high = _number(scores, "purchases_lower"), _number(scores, "purchases_upper")
    inside = ~np.isnan(low) & ~np.isnan(high)
    if inside.any():
        bought = _number(outcomes, "purchases")[inside]
        found["coverage"] = float(interval_coverage(bought, low[inside], high[inside]))
    return found


_FIGURES = (
    *("churn_predicted", "churn_realised", "brier", "calibration_error", "auc", "auc_error"),
    *("auc_rule", "auc_gain", "auc_gain_error", "lift", "purchases_bias", "spend_bias", "coverage"),
)


def relative_bias(predicted: FloatArray, realised: FloatArray) -> float:
    """Return the sum predicted over the sum realised, less 1; NaN where nothing is known."""
    known = ~np.isnan(predicted) & ~np.isnan(realised)
    total = float(realised[known].sum())
    return float(predicted[known].sum()) / total - 1.0 if total > 0 else float("nan")


def compare_auc(actual: FloatArray, score: FloatArray, rule: FloatArray) -> dict[str, float]:
    """Compare the AUC of a score with that of a rule on the same customers (DeLong).

    Parameters
    ----------
    actual : ndarray of 0 and 1, shape (n,)
        Of both values.
    score, rule : ndarray, shape (n,)
        Higher means likelier. A rule with missing values is not compared.

    Returns
    -------
    dict of str to float
        ``auc``, ``auc_error`` and, where there is a rule, ``auc_rule``, ``auc_gain``,
        ``auc_gain_error``.

    Examples
    --------
    >>> gone = np.array([0.0, 0, 1, 1])
    >>> found = compare_auc(gone, np.array([0.1, 0.4, 0.35, 0.8]), np.zeros(4))
    >>> found["auc"], found["auc_rule"], round(found["auc_gain_error"], 3)
    (0.75, 0.5, 0.354)
    """
    first = _placements(actual, score)
    found = {"auc": float(first[0].mean()), "auc_error": _standard_error(first)}
    if not np.isnan(rule).any():
        other = _placements(actual, rule)
        apart = (first[0] - other[0], first[1] - other[1])
        found |= {
            "auc_rule": float(other[0].mean()),
            "auc_gain": float(apart[0].mean()),
            "auc_gain_error": _standard_error(apart),
        }
    return found


def _placements(actual: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return of each event the share of others below it, and of each other those above it."""
    events, others = score[actual == 1], score[actual == 0]
    ranks = stats.rankdata(np.concatenate([events, others]))
    below = (ranks[: len(events)] - stats.rankdata(events)) / len(others)
    above = 1.0 - (ranks[len(events) :] - stats.rankdata(others)) / len(events)
    return np.asarray(below), np.asarray(above)


def _standard_error(placements: tuple[FloatArray, FloatArray]) -> float:
    parts = [float(v.var(ddof=1)) / len(v) for v in placements if len(v) > 1]
    return sqrt(sum(parts)) if len(parts) == 2 else float("nan")


def _groups(scores: pd.DataFrame, probability: FloatArray) -> dict[str, pd.Series[Any]]:
    """Name the group of each customer, by each way of grouping."""
    tenth = np.clip(np.floor(np.nan_to_num(probability, nan=0.0) * 10), 0, 9).astype(int)
    labels = np.array([f"{10 * k:02d} to {10 * k + 10} %" for k in range(10)])
    bucket = pd.Series(labels[tenth], scores.index).where(~np.isnan(probability))
    found: dict[str, pd.Series[Any]] = {"bucket": bucket}
    for by, column in PARTS.items():
        if column in scores and scores[column].notna().any():
            names = scores[column].astype("object")
            most = names.value_counts().sort_index().nlargest(_MOST_GROUPS, keep="first").index
            found[by] = names.where(names.isin(most)).map(str, na_action="ignore")
    return found


def _least_variances(predictions: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the variance of each customer's purchases and spend as a Poisson process has it."""
    purchases, spend = (np.nan_to_num(predictions[name]) for name in ("purchases", "spend"))
    price = np.divide(spend, purchases, out=np.zeros(len(spend)), where=purchases > 0)
    return {"purchases": purchases, "spend": np.abs(spend * price)}


def _table(
    names: pd.Series[Any],
    predicted: FloatArray,
    realised: FloatArray,
    least: FloatArray | None,
    *,
    per_event: float,
) -> pd.DataFrame:
    """Compare by group; of chances, which have no least variance, under the chances themselves."""
    chance = least is None
    frame = pd.DataFrame({"p": predicted, "y": realised, "gap": realised - predicted})
    frame["squared"] = frame["gap"] ** 2
    frame["buyers"] = realised > 0
    frame["least"] = predicted * (1.0 - predicted) if least is None else least
    by = frame.groupby(names.to_numpy(), sort=True, observed=True)
    sums, n = by.sum(), by.size().astype(float)
    variance, events = sums["least"], sums["least"]
    if not chance:
        seen = (sums["squared"] - sums["gap"] ** 2 / n) * n / (n - 1.0).clip(lower=1.0)
        variance, events = seen.clip(lower=variance), sums["buyers"] / per_event
    error = variance.clip(lower=0.0) ** 0.5 / n
    mean, gap = sums["p"] / n, sums["gap"] / n
    base = mean.clip(upper=1.0 - mean) if chance else mean.abs()
    z = gap / pd.Series(error, n.index).where(error > 0)
    speaks = (n >= _LEAST_CUSTOMERS) & (events >= _LEAST_EVENTS)
    values: Mapping[str, Any] = {
        "customers": n.astype("int64"), "predicted": mean, "realised": sums["y"] / n, "gap": gap,
        "error": error, "in_errors": z, "relative": gap / base.where(base > 0),
        "p_value": pd.Series(2.0 * stats.norm.sf(z.abs()), n.index).where(speaks),
    }  # fmt: skip
    return pd.DataFrame(values)


def _number(frame: pd.DataFrame, name: str) -> FloatArray:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
