"""The one picture of each result: which ``plot_*`` answers the first question about it."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from crmml.actions.allocation import Allocation, budget_curve
from crmml.actions.economics import NetGains
from crmml.actions.recommendation import Recommendation
from crmml.data.profile import Profile
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot, count_by_frequency
from crmml.metrics.ranking import compute_decile_table
from crmml.models.churn.contract_evaluation import ContractBacktest
from crmml.models.churn.evaluation import ChurnEvaluation
from crmml.models.churn.selection import ChurnSelection
from crmml.models.purchase.diagnostics import compute_holdout_by_frequency
from crmml.models.summary import ModelSummary
from crmml.plots.budget import plot_budget_curve
from crmml.plots.changes import plot_class_flows
from crmml.plots.judgement import plot_calibration, plot_leaderboard, plot_reliability
from crmml.plots.monitoring import plot_buckets
from crmml.plots.overview import plot_actions, plot_estimates, plot_frequencies, plot_months
from crmml.plots.purchases import plot_holdout_by_frequency
from crmml.plots.scorecard import plot_control_chart, plot_parts, plot_retention_costs
from crmml.plots.strategy import plot_strategy_map
from crmml.plots.style import BLUE, GREY, model_label, prepare_axes, say_empty
from crmml.plots.value import plot_pareto_curve
from crmml.scorecard.assessment import Assessment
from crmml.scorecard.control_charts import ControlChart
from crmml.scorecard.improvement import Improvement
from crmml.scorecard.kpis import Scorecard
from crmml.scorecard.monitor import Monitoring
from crmml.scorecard.retention_costs import RetentionCosts
from crmml.scorecard.strategy import StrategyMap
from crmml.scoring.labelled import LabelledScores
from crmml.scoring.scorer import Scores
from crmml.segments.value_tier import compute_pareto_curve
from crmml.storage.class_flows import ClassFlows
from crmml.training.backtest import Backtest
from crmml.training.contract_pipeline import ContractTraining
from crmml.training.evaluate import DECIDED_BY, EvaluatedWindow
from crmml.training.labelled_pipeline import LabelledResult
from crmml.training.pipeline import TrainingResult


@singledispatch
def draw(result: Any, ax: Axes | None = None) -> Axes:
    """Draw the picture of a result.

    Parameters
    ----------
    result : Result
        Its class decides which picture.
    ax : Axes, optional
        Where to draw; by default in a new figure.

    Raises
    ------
    TypeError
        If nothing is known of the class.
    """
    raise TypeError(f"there is no picture of {type(result).__name__}")


@draw.register
def _(result: Snapshot, ax: Axes | None = None) -> Axes:
    return plot_frequencies(count_by_frequency(result), ax=ax)


@draw.register
def _(result: LabelledSnapshot, ax: Axes | None = None) -> Axes:
    bought = result.outcomes["purchases"]
    return plot_holdout_by_frequency(
        compute_holdout_by_frequency(result.snapshot, bought, {}), ax=ax
    )


@draw.register
def _(result: Scores, ax: Axes | None = None) -> Axes:
    if "clv" not in result.table or result.table["clv"].isna().all():
        ax = prepare_axes(ax, title="Who brings the value", x="", y="")
        return say_empty(ax, "lifetime value is not known")
    return plot_pareto_curve(compute_pareto_curve(result.table["clv"]), ax=ax)


@draw.register
def _(result: Backtest, ax: Axes | None = None) -> Axes:
    return plot_leaderboard(result.leaderboard, metric=DECIDED_BY, chosen=result.chosen, ax=ax)


@draw.register
def _(result: EvaluatedWindow, ax: Axes | None = None) -> Axes:
    return plot_leaderboard(result.table, metric=DECIDED_BY, ax=ax)


@draw.register
def _(result: TrainingResult, ax: Axes | None = None) -> Axes:
    newest, chosen = result.backtest.graded, result.backtest.chosen
    bought = newest.labelled.outcomes["purchases"].to_numpy(dtype=np.float64)
    forecast = newest.forecasts[chosen]["purchases"].to_numpy(dtype=np.float64)
    return plot_calibration(compute_decile_table(bought, forecast), ax=ax)


@draw.register
def _(result: ChurnEvaluation, ax: Axes | None = None) -> Axes:
    name = result.challenge.learned
    title = f"Reliability of the churn probability: {model_label(name).replace('_', ' ')}"
    return plot_reliability(result.reliability[name], title=title, ax=ax)


@draw.register
def _(result: ChurnSelection, ax: Axes | None = None) -> Axes:
    if result.evaluation is not None:
        return draw(result.evaluation, ax)
    ax = prepare_axes(ax, title="Reliability of the churn probability", x="", y="")
    return say_empty(ax, "the history is too short to judge a churn model")


@draw.register
def _(result: ContractBacktest, ax: Axes | None = None) -> Axes:
    title = f"Reliability of the chance of ending: {result.chosen.replace('_', ' ')}"
    return plot_reliability(result.reliability[result.chosen], title=title, ax=ax)


@draw.register
def _(result: ContractTraining, ax: Axes | None = None) -> Axes:
    return draw(result.backtest, ax)


@draw.register
def _(result: Recommendation, ax: Axes | None = None) -> Axes:
    return plot_actions(result.by_action(), ax=ax)


@draw.register
def _(result: Allocation, ax: Axes | None = None) -> Axes:
    return plot_actions(result.by_action(), ax=ax)


@draw.register
def _(result: NetGains, ax: Axes | None = None) -> Axes:
    worthwhile = np.where(result.net > 0, result.cost, 0.0).max(axis=1, initial=0.0)
    grid = np.linspace(0.0, max(float(worthwhile.sum()), 1.0), 31)
    return plot_budget_curve(budget_curve(result, grid.tolist()), ax=ax)


@draw.register
def _(result: Profile, ax: Axes | None = None) -> Axes:
    return plot_months(result.monthly, ax=ax)


@draw.register
def _(result: ModelSummary, ax: Axes | None = None) -> Axes:
    return plot_estimates(
        result.to_pandas(), title=f"{result.model}: {result.level:.0%} intervals", ax=ax
    )


@draw.register
def _(result: LabelledResult, ax: Axes | None = None) -> Axes:
    return plot_reliability(result.fit.judgement.reliability, ax=ax)


@draw.register
def _(result: LabelledScores, ax: Axes | None = None) -> Axes:
    ax = prepare_axes(ax, title="Probabilities", x="probability of the outcome", y="customers")
    ax.hist(result.table["churn_probability"], bins=np.linspace(0, 1, 21).tolist(), color=BLUE)
    ax.axvline(result.threshold, color=GREY, linestyle="--", label="from here a contact pays")
    ax.legend(frameon=False)
    return ax


@draw.register
def _(result: Monitoring, ax: Axes | None = None) -> Axes:
    return plot_buckets(result.groups, ax=ax)


@draw.register
def _(result: ControlChart, ax: Axes | None = None) -> Axes:
    share = result.kind == "share"
    return plot_control_chart(result.table, title=result.sentence(), share=share, ax=ax)


@draw.register
def _(result: Scorecard, ax: Axes | None = None) -> Axes:
    shown = [*result.signals, *result.charts.values()]
    if not shown:
        ax = prepare_axes(ax, title="Scorecard", x="", y="")
        return say_empty(ax, "control charts need more than eight periods")
    return draw(shown[0], ax)


@draw.register
def _(result: ClassFlows, ax: Axes | None = None) -> Axes:
    table = result.to_pandas()
    return plot_class_flows(table[table["column"] == result.columns[0]], ax=ax)


@draw.register
def _(result: StrategyMap, ax: Axes | None = None) -> Axes:
    return plot_strategy_map(result.table, ax=ax)


@draw.register
def _(result: RetentionCosts, ax: Axes | None = None) -> Axes:
    return plot_retention_costs(result.table, ax=ax)


@draw.register
def _(result: Improvement, ax: Axes | None = None) -> Axes:
    return plot_parts(result.parts, title=f"What drove {result.kpi} of {result.group}", ax=ax)


@draw.register
def _(result: Assessment, ax: Axes | None = None) -> Axes:
    known = result.table["score"].dropna()
    ax = prepare_axes(ax, title="Assessment", x=f"score, 0 to {result.highest:g}", y="")
    if known.empty:
        return say_empty(ax, "no question has a score yet")
    means = known.groupby(level="area", sort=False).mean()[::-1]
    ax.barh(means.index, means.to_numpy(), color=BLUE)
    ax.set_xlim(0, result.highest)
    return ax
