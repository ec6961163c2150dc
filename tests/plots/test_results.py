"""The picture of each result: what it draws, and what it says when there is nothing to draw."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from crmml import models
from crmml.card import Result
from crmml.features.snapshot import Snapshot, count_by_frequency
from crmml.models.churn.selection import ChurnSelection
from crmml.plots.overview import plot_actions, plot_estimates, plot_months
from crmml.plots.results import draw
from crmml.scoring.scorer import Scores


def axes():
    return Figure().subplots()


def test_each_result_of_the_package_has_a_picture():
    import crmml.plots.gallery  # noqa: F401  (loads every room)

    def below(kind):
        return {kind} | {one for sub in kind.__subclasses__() for one in below(sub)}

    kinds = {kind for kind in below(Result) - {Result} if kind.__module__.startswith("crmml")}
    assert len(kinds) >= 12
    assert [kind.__name__ for kind in kinds if draw.dispatch(kind) is draw.dispatch(object)] == []


def test_customers_are_counted_by_frequency(cdnow_snapshot):
    counts = count_by_frequency(cdnow_snapshot)
    frequency = cdnow_snapshot.frame["frequency"]
    assert counts.sum() == len(cdnow_snapshot)
    assert counts["3"] == (frequency == 3).sum()
    assert counts["10+"] == (frequency >= 10).sum()
    bars = cdnow_snapshot.plot(ax=axes()).patches
    assert [bar.get_height() for bar in bars] == counts.tolist()


def test_outcomes_are_drawn_by_frequency(cdnow_quarters):
    assert len(cdnow_quarters[0].plot(ax=axes()).lines) == 1


def test_what_cannot_be_drawn_is_said():
    empty = Snapshot.from_frame(
        pd.DataFrame({"customer_id": ["a"], "frequency": 0, "recency": 0, "T": 1}),
        cutoff="2024-01-01",
        time_unit="week",
    )
    scores = Scores(pd.DataFrame({"customer_id": ["a"], "clv": [np.nan]}), empty, None, {})
    assert "not known" in scores.plot(ax=axes()).texts[0].get_text()
    assert "none" in str(scores)
    short = ChurnSelection(models.RecencyRule(), "recency_rule", "too short", None, 1)
    assert "too short" in short.plot(ax=axes()).texts[0].get_text()
    assert short.to_pandas().empty
    nobody = pd.DataFrame({"customers": [3]}, index=["no_action"])
    assert "no customer" in plot_actions(nobody, ax=axes()).texts[0].get_text()
    nothing = pd.DataFrame({"purchases": [], "new_customers": []})
    assert "no purchases" in plot_months(nothing, ax=axes()).texts[0].get_text()


def test_estimates_stand_at_one_and_coefficients_at_their_factor():
    columns = ["kind", "estimate", "standard_error", "lower", "upper"]
    rows = [
        ("parameter", 4.0, 1.0, 2.0, 8.0),
        ("coefficient", np.log(2.0), 0.1, np.log(1.5), np.log(2.5)),
        ("parameter", 1.0, np.nan, np.nan, np.nan),
        ("clock", np.log(3.0), 0.1, np.log(2.0), np.log(4.0)),
    ]
    table = pd.DataFrame(rows, ["r", "purchase:z", "s", "log_first"], columns)
    ax = plot_estimates(table, title="A fit", ax=axes())
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "first = 3", "s = 1", "purchase:z = 2", "r = 4",
    ]  # fmt: skip
    dots = [line.get_xydata() for line in ax.lines if line.get_marker() == "o"]
    assert sorted(np.concatenate(dots)[:, 0].tolist()) == pytest.approx([1.0, 1.0, 1.0, 2.0])
    assert "factor per unit" in ax.get_xlabel()


def test_an_unknown_class_has_no_picture():
    with pytest.raises(TypeError, match="no picture of int"):
        draw(3)
