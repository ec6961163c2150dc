import numpy as np
import pytest

from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.challenge import challenge


def replicates(**candidates):
    """Replicates of one metric: candidate -> (metric, value, draws)."""
    rows = [(name, metric) for name, (metric, _, _) in candidates.items()]
    values = np.array([value for _, value, _ in candidates.values()])
    draws = np.array([np.broadcast_to(draw, 40) for _, _, draw in candidates.values()], float)
    return Replicates(rows, values, draws)


NOISE = np.linspace(-0.02, 0.02, 40)


def auc(value, draws=None):
    return "auc", value, value if draws is None else draws


def test_the_learned_wins_only_where_it_beats_every_simple_one_beyond_chance():
    clear = replicates(trees=auc(0.8), rule=auc(0.7), process=auc(0.72))
    judged = challenge(clear, "trees", ["rule", "process"], metric="auc")
    assert judged.won
    assert judged.gains.loc["rule", "difference"] == pytest.approx(0.1)
    unsure = replicates(trees=auc(0.71, 0.71 + NOISE), rule=auc(0.6), process=auc(0.70))
    judged = challenge(unsure, "trees", ["rule", "process"], metric="auc")
    assert not judged.won
    assert judged.best_simple == "process"


@pytest.mark.parametrize(("trees", "won"), [(0.4985, True), (0.4995, False), (0.6, False)])
def test_lower_is_better_for_a_loss_and_a_gain_must_be_worth_having(trees, won):
    found = replicates(trees=("log_loss", trees, trees), matrix=("log_loss", 0.5, 0.5))
    assert challenge(found, "trees", ["matrix"], metric="log_loss", least=0.001).won == won


def test_a_missing_value_is_neither_a_victory_nor_the_best():
    found = replicates(trees=auc(np.nan), rule=auc(np.nan), process=auc(0.6))
    judged = challenge(found, "trees", ["rule", "process"], metric="auc")
    assert not judged.won
    assert judged.best_simple == "process"


def test_a_candidate_that_is_not_there_is_refused():
    with pytest.raises(ParameterError, match="reference"):
        challenge(replicates(trees=auc(0.7)), "trees", ["rule"], metric="auc")
