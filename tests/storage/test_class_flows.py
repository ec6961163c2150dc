"""Flows between classes, from one stored cutoff to the next, add up and are drawn."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import crmml
from crmml.exceptions import DataError, MissingColumnsError, ParameterError
from crmml.storage.scores import write_scores


def drawn(seed: int, cutoff: str, ids: range) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "customer_id": list(ids),
            "value_tier": rng.choice(["A", "B", "C"], len(ids)),
            "lifecycle_stage": rng.choice(["acquire", "retain", "win_back"], len(ids)),
            "loyalty_class": None,
            "cutoff": pd.Timestamp(cutoff),
        }
    )


@pytest.fixture(scope="module")
def sets():
    cutoffs = ("2024-01-01", "2024-04-01", "2024-07-01")
    return [drawn(i, at, range(20 * i, 100 + 20 * i)) for i, at in enumerate(cutoffs)]


def test_flows_of_stored_scores_are_those_of_the_tables(sets, tmp_path):
    for scores in sets:
        write_scores(scores.drop(columns="cutoff"), tmp_path / "scores", scores["cutoff"][0])
    found = crmml.flows(tmp_path / "scores")
    pd.testing.assert_frame_equal(found.to_pandas(), crmml.flows(sets).to_pandas())
    assert found.columns == ["value_tier", "lifecycle_stage"]  # nobody has a loyalty class
    matrix = found.matrix("lifecycle_stage", "2024-04-01")
    assert list(matrix.index) == ["acquire", "retain", "win_back", "new"]
    assert list(matrix.columns) == ["acquire", "retain", "win_back", "gone"]
    assert matrix.drop("new").to_numpy().sum() == 100
    assert matrix["gone"].sum() == matrix.loc["new"].sum() == 20
    both = sets[0].merge(sets[1], on="customer_id")
    went = both["lifecycle_stage_x"].eq("retain") & both["lifecycle_stage_y"].eq("win_back")
    assert matrix.loc["retain", "win_back"] == went.sum()
    assert "2 step(s)" in str(found)


def test_the_picture_has_a_pile_for_each_class_and_cutoff(sets):
    ax = crmml.flows(sets).plot("value_tier", ax=Figure().subplots())
    heights = [patch.get_height() for patch in ax.patches]
    assert sum(heights) == 100 + 2 * 100 + 100  # the middle cutoff is drawn from both sides
    assert [label.get_text() for label in ax.get_xticklabels()][-1] == "2024-07-01"
    assert len(ax.get_legend().get_texts()) == 4


def test_what_cannot_be_followed_says_why(sets):
    with pytest.raises(DataError, match="at least two cutoffs"):
        crmml.flows(sets[:1])
    with pytest.raises(DataError, match="each once"):
        crmml.flows([sets[0], sets[0], sets[1]])
    with pytest.raises(MissingColumnsError):
        crmml.flows(sets, ["loyalty_class"])
    with pytest.raises(MissingColumnsError, match="'mood'"):
        crmml.flows(sets, ["value_tier", "mood"])
    with pytest.raises(ParameterError, match="at least 2"):
        crmml.flows(sets, last=1)
    with pytest.raises(ParameterError, match="one of"):
        crmml.flows(sets).plot("mood")
    with pytest.raises(ParameterError, match="one of"):
        crmml.flows(sets).matrix(later="2025-01-01")
