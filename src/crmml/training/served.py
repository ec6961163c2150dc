"""Evaluate what is served: score with a bundle at a test cutoff, compare with what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, FloatArray
from crmml.config import Config
from crmml.data.tables import Tables
from crmml.exceptions import ComparisonError
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window
from crmml.metrics import classification, counts, ranking
from crmml.metrics.bootstrap import (
    Replicates,
    Statistic,
    Stream,
    hash_keys,
    keyed_uniforms,
    replicate,
)
from crmml.metrics.calibration import compare_mean_probability, mean_error
from crmml.models.churn.outside import (
    FREQUENCY_EDGES,
    INACTIVITY_EDGES,
    frequency_group,
    inactivity_group,
)
from crmml.models.forecast.forecasters import HeuristicForecaster
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.scorer import score, unlike_policies
from crmml.scoring.served_distribution import transform_counts
from crmml.stats.discounting import in_units
from crmml.training.backtest import Backtest
from crmml.training.evaluate import DECIDED_BY
from crmml.training.fit import fit_bundle
from crmml.training.opening import training_cutoff
from crmml.training.plan import Plan, find_test_windows, keep_judges
from crmml.training.upgrade_evaluation import evaluate_upgrades
from crmml.training.windows import build_training_windows

PREFIX = "served_"


@dataclass(frozen=True)
class Served:
    """What was served in the window that grades, and what happened.

    Attributes
    ----------
    replicates : Replicates
        Rows ``("served", metric)``, the metrics named ``served_*``.
    churn : DataFrame or None
        Mean probability of churn and the share that churned, of all customers and by group; see
        :func:`crmml.metrics.calibration.compare_mean_probability`. None where the window after the
        gap is not over.
    heuristic : Replicates or None
        The deciding metric of what was served and of the heuristic, on the same customers.
    upgrades : DataFrame or None
        Upgrade probabilities and who moved up; see
        :func:`crmml.training.upgrade_evaluation.evaluate_upgrades`.
    scored : DataFrame or None
        The scores that were compared, keyed by customer.
    """

    replicates: Replicates
    churn: pd.DataFrame | None
    heuristic: Replicates | None = None
    upgrades: pd.DataFrame | None = None
    scored: pd.DataFrame | None = None


def evaluate_served(plan: Plan, backtest: Backtest) -> Served:
    """Bundle what was known at the cutoff of the grading window, score, and compare.

    Parameters
    ----------
    plan : Plan
        Of the training.
    backtest : Backtest
        Its newest window, which did not help to choose, grades.
    """
    graded = backtest.graded.labelled
    bundle = fit_bundle(plan, graded.snapshot, backtest).bundle
    found = evaluate_bundle(
        bundle,
        plan.config,
        plan.tables,
        graded.window,
        graded.outcomes,
        snapshot=graded.snapshot,
        heuristic=_heuristic(plan, backtest)["purchases"],
    )
    assert found.scored is not None  # noqa: S101 - for the reader of types
    upgrades = evaluate_upgrades(bundle, plan.tables, graded.window, found.scored, plan.newest)
    return replace(found, upgrades=upgrades, scored=None)


def _heuristic(plan: Plan, backtest: Backtest) -> pd.DataFrame:
    """Forecast the grading window by the heuristic, whether or not it competed."""
    if "heuristic" in backtest.graded.forecasts:
        return backtest.graded.forecasts["heuristic"]
    snapshot, horizon = backtest.graded.labelled.snapshot, plan.config.outcome.horizon
    model = HeuristicForecaster(horizon=horizon)
    windows = build_training_windows(
        plan.tables,
        snapshot.cutoff,
        horizon,
        most=model.n_windows,
        cache=plan.labelled,
        **plan.build,
    )
    return model.fit(snapshot, windows).forecast(snapshot)


def evaluate_champion(bundle: ScoringBundle, config: Config, tables: Tables) -> Replicates:
    """Evaluate a bundle trained elsewhere on the newest window of a configuration's backtest.

    The bundle scores through :func:`crmml.score`, like the one that a training evaluates there, and
    the bootstrap resamples the same customers, so that the two are paired.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on data before the window.
    config : Config
        Of the training to compare with.
    tables : Tables
        Its data.

    Returns
    -------
    Replicates
        See :func:`evaluate_scores`.

    Raises
    ------
    ComparisonError
        If the bundle knows a part of the window, or forecasts something else.
    """
    outcome, section = config.outcome, config.snapshot
    for name, here in (("horizon", outcome.horizon), ("grain", section.grain)):
        if (there := getattr(bundle.manifest, name)) != here:
            raise ComparisonError(f"one forecasts with the {name} {there}, the other with {here}")
    if unlike := unlike_policies(bundle.manifest, tables.policies):
        raise ComparisonError(f"the champion cleans its data otherwise: {'; '.join(unlike)}")
    window = find_test_windows(config, tables)[-1]
    trained = pd.Timestamp(bundle.manifest.cutoff)
    if trained > window.cutoff:
        ready = trained + (window.closes - window.cutoff)
        raise ComparisonError(
            f"the champion, trained on data up to {trained.date()}, knows a part of the outcome "
            f"window that begins on {window.cutoff.date()}, so it cannot be evaluated fairly; "
            f"a challenger whose data run to {ready.date()} can be compared with it"
        )
    how: dict[str, Any] = {"grain": section.grain, "own_seller": config.data.own_seller}
    cutoff = training_cutoff(config, tables)
    known = build_snapshot(tables, cutoff, behaviour=False, time_unit=section.time_unit, **how)
    tables = keep_judges(tables, known.customer_id)
    happened = build_outcomes(tables, window, **how)
    return evaluate_bundle(bundle, config, tables, window, happened).replicates


def evaluate_bundle(
    bundle: ScoringBundle,
    config: Config,
    tables: Tables,
    window: Window,
    happened: pd.DataFrame,
    *,
    snapshot: Snapshot | None = None,
    heuristic: pd.Series[float] | None = None,
) -> Served:
    """Score with a bundle at the cutoff of a test window, and compare with its outcomes.

    Parameters
    ----------
    bundle : ScoringBundle
        Trained on data before the window.
    config : Config
        Of the training.
    tables : Tables
        Its data.
    window : Window
        Without a gap.
    happened : DataFrame
        Outcomes in the window, from :func:`crmml.features.labels.build_outcomes`.
    snapshot : Snapshot, optional
        Of these tables at that cutoff, where it is at hand.
    heuristic : Series, optional
        Purchases that the heuristic forecast for the window.
    """
    scores = score(bundle, tables, window.cutoff, snapshot=snapshot, keep_counts=True)
    scored, ids = scores.table.set_index("customer_id"), scores.snapshot.customer_id
    churned = None
    after_gap = Window(window.cutoff, config.outcome.horizon, config.outcome.gap)
    if (after_gap.opens, after_gap.closes) == (window.opens, window.closes):
        churned = happened["churned"]
    elif after_gap.closes <= training_cutoff(config, tables):
        grain, own_seller = config.snapshot.grain, config.data.own_seller
        outcomes = build_outcomes(tables, after_gap, grain=grain, own_seller=own_seller)
        churned = outcomes["churned"]
    uniforms = keyed_uniforms(hash_keys(ids), config.seed, Stream.PIT)
    bought = happened["purchases"].loc[ids].to_numpy(dtype=np.float64)
    pit = transform_counts(bundle.predictors, scores.snapshot, bought, uniforms)
    found = evaluate_scores(
        scored,
        happened,
        churned,
        pit=pd.Series(pit, ids),
        heuristic=heuristic,
        horizon=in_units(config.outcome.horizon, scores.snapshot.time_unit),
        n_boot=config.backtest.bootstrap,
        seed=config.seed,
    )
    return replace(found, scored=scored)


def evaluate_scores(
    predicted: pd.DataFrame,
    outcomes: pd.DataFrame,
    churned: pd.Series[bool] | None = None,
    *,
    pit: pd.Series[float],
    horizon: float,
    heuristic: pd.Series[float] | None = None,
    n_boot: int = 200,
    seed: int = 0,
) -> Served:
    """Compare scored columns with what happened in an outcome window.

    Parameters
    ----------
    predicted : DataFrame
        Scores, keyed by customer.
    outcomes : DataFrame
        ``purchases`` and ``spend`` in the window, keyed by customer.
    churned : Series of bool, optional
        Who did not buy in the window after the gap; without it churn is not evaluated.
    pit : Series
        Randomised PIT of the purchases under the served distribution, keyed by customer.
    horizon : float
        Length of the window in the units of ``inactivity``.
    heuristic : Series, optional
        Purchases that the heuristic forecast, keyed by customer.
    n_boot, seed
        Of the bootstrap.
    """
    ids = outcomes.index
    predicted = predicted.loc[ids]

    def column(table: pd.DataFrame, name: str) -> FloatArray:
        return table[name].to_numpy(dtype=np.float64)

    bought, spent = column(outcomes, "purchases"), column(outcomes, "spend")
    measures = _measure_forecasts(
        bought, spent, {name: column(predicted, name) for name in _FORECASTS}
    )
    measures["pit_80"] = partial(counts.pit_coverage, np.asarray(pit.loc[ids], np.float64), 0.8)
    table = None
    if churned is not None:
        gone = churned.loc[ids].to_numpy().astype(np.float64)
        p = column(predicted, "churn_probability")
        groups = group_customers(
            column(predicted, "frequency"), column(predicted, "inactivity") / horizon
        ) | _group_further(predicted, horizon)
        table = compare_mean_probability(gone, p, groups)
        members = {name: groups[name] for name in table.index}
        measures |= _measure_churn(gone, p, column(predicted, "clv"), members)
    statistics: dict[str, dict[str, Statistic | float]] = {
        "served": {f"{PREFIX}{name}": how for name, how in measures.items()}
    }
    decisive = f"{PREFIX}{DECIDED_BY}"
    if heuristic is not None:
        simple = counts.statistics(bought, np.asarray(heuristic.loc[ids], np.float64))
        statistics["heuristic"] = {decisive: simple["deviance"]}
    found = replicate(statistics, hash_keys(ids), n_replicates=n_boot, seed=seed)
    against = None
    if heuristic is not None:
        at = [i for i, (_, metric) in enumerate(found.rows) if metric == decisive]
        against = Replicates([found.rows[i] for i in at], found.values[at], found.draws[at])
    return Served(found.of({"served"}), table, against)


_FORECASTS = ("expected_purchases", "expected_spend", "clv", "purchases_lower", "purchases_upper")


def _measure_forecasts(
    bought: FloatArray, spent: FloatArray, predictions: Mapping[str, FloatArray]
) -> dict[str, Statistic | float]:
    """Measure purchases and spend by their own horizon and money, and the order that CLV gives."""
    spend, bounds = (
        predictions["expected_spend"],
        (predictions["purchases_lower"], predictions["purchases_upper"]),
    )
    parts: dict[str, Mapping[str, Statistic | float]] = {
        "purchases": counts.statistics(bought, predictions["expected_purchases"]),
        "spend": {**counts.errors(spent, spend), **ranking.statistics(spent, spend)},
        # Lifetime value looks further ahead, and is margin: only its order can be compared.
        "clv": {
            name: value
            for name, value in ranking.statistics(spent, predictions["clv"]).items()
            if name != "decile_mape"
        },
    }
    measures: dict[str, Statistic | float] = {
        f"{what}_{name}": how for what, part in parts.items() for name, how in part.items()
    }
    for what, predicted, actual in (("purchases", predictions["expected_purchases"], bought),
                                    ("spend", spend, spent)):  # fmt: skip
        measures[f"{what}_absolute_bias"] = partial(_size_of_bias, actual, predicted)
    measures["literal_80"] = partial(counts.interval_coverage, bought, *bounds)
    return measures


def _size_of_bias(
    actual: FloatArray, predicted: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    return np.abs(counts.total_bias(actual, predicted, weight))


def _measure_churn(
    gone: FloatArray, p: FloatArray, value: FloatArray, groups: Mapping[str, BoolArray]
) -> dict[str, Statistic | float]:
    measures: dict[str, Statistic | float] = {}
    if 0 < gone.sum() < len(gone):
        judged = classification.statistics(gone, p, value)
        measures = {f"churn_{name}": how for name, how in judged.items()}
    for name, member in groups.items():
        within = "" if name == "all" else f"_{name.replace(' ', '_')}"
        measures[f"churn{within}_mean_error"] = partial(mean_error, gone, p, member)
    return measures


TENURE_EDGES = (1.0, 2.0, 4.0)
"""Horizons since the first purchase from which the groups after the first begin."""

GATED = ("all", "frequency", "inactivity")
"""First words of the groups in which the mean probability of churn decides about promotion."""


def _group_further(predicted: pd.DataFrame, horizon: float) -> dict[str, BoolArray]:
    """Group by value tier, by time since the first purchase, and as the customers table says."""
    found: dict[str, BoolArray] = {}
    for column, word in (("value_tier", "tier"), ("group", "group")):
        if column in predicted:
            named = predicted[column].astype("object")
            most = named.value_counts().sort_index().nlargest(10, keep="first").index
            found |= {f"{word} {name}": (named == name).to_numpy(bool) for name in sorted(most)}
    tenure = predicted["T"].to_numpy(dtype=np.float64) / horizon
    edges = ["0", *(f"{edge:g}" for edge in TENURE_EDGES)]
    place = np.searchsorted(TENURE_EDGES, tenure, side="right")
    for group, least in enumerate(edges):
        rest = f" to {edges[group + 1]}" if group + 1 < len(edges) else " or more"
        found[f"tenure {least}{rest}"] = place == group
    return found


def worst_group(table: pd.DataFrame) -> str:
    """Name the group whose mean probability of churn is furthest from what happened.

    Parameters
    ----------
    table : DataFrame
        From :func:`crmml.metrics.calibration.compare_mean_probability`, with the row ``all``.

    Examples
    --------
    >>> predictions = pd.DataFrame(
    ...     {"customers": [90, 60], "probability": [0.4, 0.5], "happened": [0.4, 0.7],
    ...      "low": [0.3, 0.6], "high": [0.5, 0.8], "met": [True, True]}, ["all", "tier A"])
    >>> worst_group(predictions)
    'churn is least calibrated in tier A: predicted 50.0%, happened to 70.0% of 60, beyond chance'
    """
    parts = table.drop(index="all", errors="ignore")
    if parts.empty:
        return ""
    gap = (parts["probability"] - parts["happened"]).abs()
    beyond = (parts["probability"] < parts["low"]) | (parts["probability"] > parts["high"])
    name = str((gap[beyond] if beyond.any() else gap).idxmax())
    row = parts.loc[[name]].iloc[0]
    return (
        f"churn is least calibrated in {name}: predicted {row['probability']:.1%}, happened to "
        f"{row['happened']:.1%} of {int(row['customers']):,}, "
        f"{'beyond' if beyond.any() else 'within'} chance"
    )


def group_customers(frequency: FloatArray, inactivity: FloatArray) -> dict[str, BoolArray]:
    """Group customers by repeat purchases, and by inactivity in horizons; and all of them.

    Returns
    -------
    dict of str to ndarray of bool, shape (n,)
        ``all``, ``frequency 0``, ``frequency 1``, ``frequency 2 to 3``, ..., ``inactivity 0 to 1``,
        ...
    """
    found = {"all": np.ones(len(frequency), dtype=bool)}
    steps = [0, *map(int, FREQUENCY_EDGES)]
    for group, (low, after) in enumerate(zip(steps, [*steps[1:], None], strict=True)):
        last = f" to {after - 1}" if after is not None and after - 1 > low else ""
        name = f"frequency {low}{last if after is not None else ' or more'}"
        found[name] = frequency_group(frequency) == group
    edges = ["0", *(f"{edge:g}" for edge in INACTIVITY_EDGES)]
    for group, least in enumerate(edges):
        rest = f" to {edges[group + 1]}" if group + 1 < len(edges) else " or more"
        found[f"inactivity {least}{rest}"] = inactivity_group(inactivity) == group
    return found
