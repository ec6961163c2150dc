"""The table of metrics: each once, and every figure of a judgement in it."""

from __future__ import annotations

import numpy as np
import pytest

from crmml.exceptions import ParameterError
from crmml.metrics import classification, counts, ordinal, ranking
from crmml.metrics.table import METRICS, metric_named
from crmml.training.evaluate import DECIDED_BY


def test_each_metric_is_there_once_and_says_what_it_is():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.meaning
        assert (metric.direction == "target") == (metric.target is not None)


def test_every_statistic_of_a_judgement_is_in_the_table():
    y, p = np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.2, 0.4, 0.9, 0.8])
    gone, classes = (y > 0).astype(float), np.full((4, 3), 1 / 3)
    found = (
        counts.statistics(y, p, classes)
        | ranking.statistics(y, p)
        | classification.statistics(gone, p, np.ones(4))
        | ordinal.statistics(y.astype(int), classes)
    )
    more = {
        "coverage_80",
        "cumulative_mape",
        "mae_of_median",
        "pit_80",
        "literal_80",
        "mean_error",
        "absolute_bias",
    }
    assert {metric.name for metric in METRICS} == set(found) | more


@pytest.mark.parametrize("prefix", ["", "purchases_", "served_churn_", "backtest_hybrid_spend_"])
def test_a_name_is_found_behind_what_it_is_a_metric_of(prefix):
    for metric in METRICS:
        assert metric_named(prefix + metric.name) is metric


def test_directions_turn_values_into_losses():
    assert metric_named(DECIDED_BY).direction == "lower"
    coverage = metric_named("coverage_80")
    assert coverage.loss(0.8) < coverage.loss(0.78) < coverage.loss(0.9)
    assert metric_named("gini").loss(0.5) < metric_named("gini").loss(0.4)
    with pytest.raises(ParameterError, match="metric must be one of"):
        metric_named("biased")
