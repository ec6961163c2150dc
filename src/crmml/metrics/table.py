"""The table of metrics: name, direction, unit and meaning of every figure of a judgement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from crmml._typing import FloatArray
from crmml.exceptions import ParameterError

if TYPE_CHECKING:
    import pandas as pd

Direction: TypeAlias = Literal["lower", "higher", "target"]
"""Which values are better: lower ones, higher ones, or those nearer to a target."""

Interval: TypeAlias = tuple[float, float, float]
"""Value, lower and upper bound."""

_N = TypeVar("_N", float, FloatArray)


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    name : str
        As in the tables; what it is a metric of stands before it (``purchases_mae``).
    direction : {"lower", "higher", "target"}
        Which values are better.
    unit : str
        What it is measured in; empty for a pure number.
    meaning : str
        What it says.
    heading : str
        Over a narrow column; without one it is not shown there.
    target : float, optional
        The best value, where neither lower nor higher is better.
    """

    name: str
    direction: Direction
    unit: str
    meaning: str
    heading: str = ""
    target: float | None = None

    def loss(self, value: _N) -> _N:
        """Turn a value, or an array of them, into one of which less is better.

        Examples
        --------
        >>> metric_named("auc").loss(0.8), metric_named("bias").loss(-0.25)
        (-0.8, 0.25)
        """
        if self.target is not None:
            return abs(value - self.target)
        return value if self.direction == "lower" else -value


_OWN = "purchases or currency"

METRICS: tuple[Metric, ...] = (
    Metric("mae", "lower", _OWN, "mean absolute error", "MAE"),
    Metric("mae_of_median", "lower", "purchases", "mean absolute error of the median"),
    Metric("rmse", "lower", _OWN, "root mean squared error", "RMSE"),
    Metric("bias", "target", "share", "relative error of the total", "bias", 0.0),
    Metric(
        "absolute_bias", "lower", "share", "mean size of the relative error of the total", "|bias|"
    ),
    Metric("deviance", "lower", "", "mean Poisson deviance", "devi-\nance"),
    Metric("crps", "lower", "purchases", "continuous ranked probability score", "CRPS"),
    Metric("log_score", "lower", "nats", "mean negative log-probability of the count"),
    Metric(
        "coverage_80",
        "target",
        "share",
        "customers inside the central 80 %, by their PIT",
        "80 %\nholds",
        0.8,
    ),
    Metric(
        "pit_80",
        "target",
        "share",
        "customers inside the central 80 % as served, by their PIT",
        "",
        0.8,
    ),
    Metric(
        "literal_80", "higher", "share", "customers between the two bounds served, ends included"
    ),
    Metric("cumulative_mape", "lower", "share", "mean error of the purchases to date by week"),
    Metric("pearson", "higher", "", "linear correlation"),
    Metric("spearman", "higher", "", "rank correlation, mid-ranks for ties", "rank"),
    Metric("gini", "higher", "", "Gini along the predicted order over that of the true one"),
    Metric("decile_mape", "lower", "share", "mean error over the deciles of the prediction"),
    Metric(
        "top_decile_found",
        "higher",
        "share",
        "true top decile that was predicted there",
        "top\n10 %",
    ),
    Metric("top_decile_lift", "higher", "", "mean of the predicted top decile over that of all"),
    Metric("auc", "higher", "", "P(an event scores above a non-event)"),
    Metric("average_precision", "higher", "", "precision at each score, weighted by its recall"),
    Metric("brier", "lower", "", "mean squared error of a probability"),
    Metric("brier_reliability", "lower", "", "part of the Brier score from rates that are off"),
    Metric("brier_resolution", "higher", "", "part of the Brier score that telling apart saves"),
    Metric("brier_uncertainty", "lower", "", "Brier score of the share that it happens to"),
    Metric("log_loss", "lower", "nats", "mean negative log-probability of what happened"),
    Metric("empc", "higher", "currency", "expected maximum profit of contacts, per customer"),
    Metric("empc_share", "lower", "share", "customers to contact for the expected maximum profit"),
    Metric("own_value_profit", "higher", "currency", "the same with each customer's own value"),
    Metric("own_value_profit_share", "lower", "share", "customers to contact for it"),
    Metric("calibration_error", "lower", "share", "mean gap of stated and observed rates"),
    Metric(
        "mean_error",
        "target",
        "share",
        "mean probability less the share that it happened to",
        "",
        0.0,
    ),
    Metric("accuracy", "higher", "share", "customers whose most probable class happened"),
    Metric("macro_f1", "higher", "", "mean over the classes of the F1 score"),
    Metric("quadratic_kappa", "higher", "", "agreement beyond chance, squared distances"),
    Metric("ranked_probability_score", "lower", "", "squared error of cumulative probabilities"),
)
"""Every metric that is computed somewhere, each once."""


def metric_named(name: str) -> Metric:
    """Return the metric that a column, a leaderboard row or a logged figure is.

    Parameters
    ----------
    name : str
        A name of :data:`METRICS`, alone or behind what it is a metric of, as in
        ``served_purchases_deviance``.

    Raises
    ------
    ParameterError
        If there is no such metric.

    Examples
    --------
    >>> metric_named("served_clv_gini").direction
    'higher'
    """
    fitting = [m for m in METRICS if name == m.name or name.endswith(f"_{m.name}")]
    if not fitting:
        raise ParameterError("metric", f"one of {[m.name for m in METRICS]}", name)
    return max(fitting, key=lambda m: len(m.name))


def describe_metric(name: str) -> str:
    """Say what a figure is, and of what; a name that is not in the table stays as it is.

    Examples
    --------
    >>> describe_metric("purchases_rmse"), describe_metric("my_metric")
    ('root mean squared error of purchases', 'my_metric')
    >>> describe_metric("served_clv_gini")
    'Gini along the predicted order over that of the true one of clv, as served'
    """
    fitting = [m for m in METRICS if name == m.name or name.endswith(f"_{m.name}")]
    if not fitting:
        return name
    metric = max(fitting, key=lambda m: len(m.name))
    what = name.removesuffix(metric.name).strip("_")
    served = what == "served" or what.startswith("served_")
    what = what.removeprefix("served").strip("_").replace("_", " ")
    return f"{metric.meaning}{f' of {what}' if what else ''}{', as served' if served else ''}"


def iterate_metrics(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], Interval]]:
    """Yield (candidate, metric) and (value, lower, upper) of a table of metrics.

    Parameters
    ----------
    table : DataFrame
        On candidate and metric, with ``value``, ``lower`` and ``upper``.
    """
    numbers = table[["value", "lower", "upper"]].to_numpy(dtype="float64").tolist()
    for (candidate, metric), (value, lower, upper) in zip(table.index, numbers, strict=True):
        yield (str(candidate), str(metric)), (value, lower, upper)
