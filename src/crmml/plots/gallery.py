"""All pictures of a training: what is logged to MLflow and what the demo saves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from crmml.actions.allocation import budget_curve
from crmml.features.purchases import period_at, start_of
from crmml.features.tracking import count_repeat_purchases
from crmml.features.windows import units_between
from crmml.metrics.calibration import compute_reliability
from crmml.metrics.counts import compute_pit_histogram
from crmml.metrics.ranking import compute_decile_table
from crmml.models.forecast.forecasters import ProcessForecaster
from crmml.models.purchase.diagnostics import (
    Quantity,
    compute_holdout_by_frequency,
    compute_matrix,
    compute_tracking,
)
from crmml.models.purchase.left_censored import LeftCensoredModel
from crmml.plots.budget import plot_budget_curve
from crmml.plots.judgement import (
    plot_calibration,
    plot_gain_curve,
    plot_importance,
    plot_leaderboard,
    plot_pit_histogram,
    plot_profit_curve,
    plot_reliability,
)
from crmml.plots.purchases import (
    plot_holdout_by_frequency,
    plot_matrix,
    plot_tracking,
)
from crmml.plots.value import plot_pareto_curve, plot_tier_profile
from crmml.segments.value_tier import compute_pareto_curve
from crmml.training.evaluate import DECIDED_BY
from crmml.training.labelled_pipeline import LabelledResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from crmml.training.contract_pipeline import ContractTraining
    from crmml.training.pipeline import TrainingResult

    _Canvas: TypeAlias = Callable[[str], Axes]


def training_figures(result: TrainingResult | LabelledResult) -> dict[str, Figure]:
    """Draw everything worth looking at after a training.

    Parameters
    ----------
    result : TrainingResult or LabelledResult
        From :func:`crmml.train`.

    Returns
    -------
    dict of str to Figure
        Name of the picture to the picture; figures are not registered with pyplot.
    """
    figures: dict[str, Figure] = {}

    def canvas(name: str) -> Axes:
        figures[name] = Figure(figsize=(7.0, 4.4), dpi=110, layout="constrained")
        return figures[name].subplots()

    if isinstance(result, LabelledResult):
        plot_reliability(result.fit.judgement.reliability, ax=canvas("churn_reliability"))
        plot_gain_curve(result.fit.judgement.profit, ax=canvas("churn_gain"))
        plot_profit_curve(result.fit.judgement.profit, ax=canvas("churn_profit"))
        return figures
    _draw_value(result, canvas)
    _draw_window(result, canvas)
    _draw_tracking(result, canvas)
    _draw_matrices(result, canvas)
    plot_leaderboard(
        result.backtest.leaderboard,
        metric=DECIDED_BY,
        chosen=result.backtest.chosen,
        ax=canvas("leaderboard"),
    )
    _draw_churn(result, canvas)
    plot_importance(result.churn_importance, ax=canvas("churn_importance"))
    _draw_budget(result, canvas)
    return figures


def contract_figures(result: ContractTraining) -> dict[str, Figure]:
    """Draw what is worth looking at after a training on contracts alone.

    Parameters
    ----------
    result : ContractTraining
        From :func:`crmml.train`.
    """
    figures: dict[str, Figure] = {}

    def canvas(name: str) -> Axes:
        figures[name] = Figure(figsize=(7.0, 4.4), dpi=110, layout="constrained")
        return figures[name].subplots()

    if "value_tier" in result.scores.table:
        _draw_value(result, canvas)
    chosen = result.backtest.chosen
    title = f"Reliability of the chance of ending: {chosen.replace('_', ' ')}"
    plot_reliability(result.backtest.reliability[chosen], title=title, ax=canvas("reliability"))
    plot_gain_curve(result.backtest.profit, ax=canvas("churn_gain"))
    plot_profit_curve(result.backtest.profit, ax=canvas("churn_profit"))
    if result.scores.found is not None:
        _draw_budget(result, canvas)
    return figures


def _draw_budget(result: TrainingResult | ContractTraining, canvas: _Canvas) -> None:
    """Draw what a budget would buy."""
    budget = result.bundle.policy.budget
    grid = np.linspace(0.0, 3.0 * max(budget, 1.0), 31)
    gains = budget_curve(
        result.scores.gains, grid.tolist(), capacities=result.bundle.policy.capacities
    )
    plot_budget_curve(gains, budget=budget, ax=canvas("budget_curve"))


def _draw_value(result: TrainingResult | ContractTraining, canvas: _Canvas) -> None:
    """Draw how value is spread over the customers."""
    table, bundle = result.scores.table, result.bundle
    curve = compute_pareto_curve(table["clv"])
    plot_pareto_curve(curve, gini=bundle.tiers.gini_, ax=canvas("pareto_curve"))
    values = table.set_index("customer_id")["clv"]
    plot_tier_profile(bundle.tiers.profile(values), ax=canvas("tier_profile"))


def _draw_window(result: TrainingResult, canvas: _Canvas) -> None:
    """Draw what was forecast for the newest window, and what happened."""
    newest = result.backtest.windows[-1]
    chosen = result.backtest.chosen
    outcomes, snapshot = newest.labelled.outcomes, newest.labelled.snapshot
    bought = outcomes["purchases"].to_numpy(dtype=np.float64)
    predicted = newest.forecasts[chosen]["purchases"].to_numpy()
    plot_calibration(compute_decile_table(bought, predicted), ax=canvas("calibration"))
    if chosen in newest.pit:
        plot_pit_histogram(compute_pit_histogram(newest.pit[chosen]), ax=canvas("pit_histogram"))
    forecasts = {chosen: newest.forecasts[chosen]["purchases"]}
    by_frequency = compute_holdout_by_frequency(snapshot, outcomes["purchases"], forecasts)
    plot_holdout_by_frequency(by_frequency, ax=canvas("holdout_by_frequency"))


def _draw_tracking(result: TrainingResult, canvas: _Canvas) -> None:
    """Draw the repeat purchases of all processes over time."""
    newest, bundle = result.backtest.windows[-1], result.bundle
    snapshot = newest.labelled.snapshot
    processes = {
        name: model.purchase_model_
        for name, model in newest.fitted.items()
        if isinstance(model, ProcessForecaster)
        and not name.startswith("lifetimes")
        and "/" not in name  # the same purchases with another spend model
        and not isinstance(model.purchase_model_, LeftCensoredModel)  # has no one kind of newcomer
    }
    actual = count_repeat_purchases(
        result.tables,
        acquired_before=snapshot.cutoff,
        grain=snapshot.grain,
        time_unit=snapshot.time_unit,
        own_seller=bundle.manifest.own_seller,
    )
    start = start_of(period_at(result.tables.first_timestamp, snapshot.grain), snapshot.grain)
    if processes and len(actual):
        tracking = compute_tracking(processes, snapshot, actual.astype("float64"), start=start)
        elapsed = units_between(start, snapshot.cutoff, snapshot.time_unit)
        plot_tracking(tracking, cutoff=elapsed, ax=canvas("tracking"))
        plot_tracking(tracking, cutoff=elapsed, cumulative=False, ax=canvas("tracking_by_period"))


def _draw_matrices(result: TrainingResult, canvas: _Canvas) -> None:
    """Draw what the served process says of each history."""
    bundle = result.bundle
    purchases = bundle.lifetime_value.purchase_model_
    longest = float(result.scores.snapshot.frame["T"].max())
    most = int(np.clip(result.scores.snapshot.frame["frequency"].quantile(0.99), 10, 60))
    horizon = bundle.manifest.value_horizon
    seen = f"after {longest:.0f} {result.scores.snapshot.time_unit}s"
    titles: dict[Quantity, tuple[str, str, float | None]] = {
        "expected_purchases": (
            f"Purchases expected in the next {horizon}, {seen}", "expected purchases", None
        ),
        "probability_alive": (f"Probability of being active {seen}", "P(alive)", 1.0),
    }  # fmt: skip
    for quantity, (title, label, highest) in titles.items():
        matrix = compute_matrix(
            purchases,
            quantity,
            T=longest,
            horizon=horizon,
            max_frequency=most,
            cutoff=result.scores.snapshot.cutoff,
        )
        plot_matrix(
            matrix, title=title, label=label, highest=highest, ax=canvas(f"matrix_{quantity}")
        )


def _draw_churn(result: TrainingResult, canvas: _Canvas) -> None:
    """Draw whether probabilities of churn mean what they say."""
    newest, chosen = result.backtest.windows[-1], result.backtest.chosen
    outcomes, snapshot = newest.labelled.outcomes, newest.labelled.snapshot
    evaluation = result.churn.evaluation
    if evaluation is not None:
        plot_reliability(evaluation.reliability[result.churn.name], ax=canvas("churn_reliability"))
        plot_gain_curve(evaluation.profit[result.churn.name], ax=canvas("churn_gain"))
        plot_profit_curve(evaluation.profit[result.churn.name], ax=canvas("churn_profit"))
    elif (pmf := newest.fitted[chosen].distribution(snapshot, 0)) is not None:
        plot_reliability(
            compute_reliability(outcomes["churned"], pmf[0]),
            title="Reliability of P(no purchase)",
            ax=canvas("churn_reliability"),
        )
