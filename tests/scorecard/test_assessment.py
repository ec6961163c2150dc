"""The assessment sheet: a template without scores, shown as far as it is filled in."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.scorecard import compute_scorecard, read_assessment, write_assessment_template
from crmml.scorecard.assessment import AssessmentError


def test_the_template_holds_no_score_and_is_not_written_over(tmp_path):
    sheet = write_assessment_template(tmp_path / "sheet.yaml")
    found = read_assessment(sheet)
    assert found.table["score"].isna().all()
    assert set(found.table["kind"]) == {"activities", "people", "technology"}
    assert repr(found).startswith("Assessment: 0 of ")
    with pytest.raises(AssessmentError, match="exists"):
        write_assessment_template(sheet)


def test_scores_filled_in_stand_on_the_scorecard(tmp_path):
    sheet = write_assessment_template(tmp_path / "sheet.yaml")
    sheet.write_text(sheet.read_text().replace("score: null", "score: 7", 2))
    found = read_assessment(sheet)
    assert found.table["score"].sum() == 14.0
    periods = pd.MultiIndex.from_product(
        [pd.date_range("2024-01-01", periods=3, freq="MS"), ["all"]], names=["period", "group"]
    )
    card = compute_scorecard(pd.DataFrame({"revenue": 1.0}, periods), assessment=found)
    assert "2 of " in str(card)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("score: null", "score: 11", "at most 10; got 11 in the area 'analysis and planning'"),
        ("score: null", "score: good", "score: input should be a valid number"),
        ("kind: people", "kind: money", "kind"),
        ("areas:", "areas: [", "line"),
        ("proposition", "analysis and planning", "each area may stand once"),
    ],
)
def test_bad_sheets_are_refused_in_one_sentence(tmp_path, old, new, said):
    sheet = write_assessment_template(tmp_path / "sheet.yaml")
    sheet.write_text(sheet.read_text().replace(old, new, 1))
    with pytest.raises(AssessmentError, match=said) as caught:
        read_assessment(sheet)
    assert "\n" not in str(caught.value)
    with pytest.raises(AssessmentError, match="cannot be read"):
        read_assessment(tmp_path / "other.yaml")
