"""Notes: from warnings to data, merged, ranked, and few on a terminal."""

from __future__ import annotations

import json
import warnings

import pytest

from crmml.cli import display
from crmml.exceptions import BoundaryWarning, CrmmlWarning, FitWarning, LeakWarning
from crmml.notes import Note, about, collecting, merge_notes, most_pressing, to_json


def test_warnings_become_notes_that_name_the_fit():
    notes: list[Note] = []
    with collecting(notes, "the model fitted at 1997-04-02"):
        warnings.warn("hardly identified", BoundaryWarning, stacklevel=2)
        with about("the purchase model behind the churn feature, fitted at 1997-01-01"):
            warnings.warn("hardly identified", BoundaryWarning, stacklevel=2)
            with about("what lies around does not change what lies within"):
                warnings.warn("it knows the future", LeakWarning, stacklevel=2)
    behind, within, outer = notes[1], notes[2], notes[0]
    assert outer == Note("boundary", "warn", "hardly identified", "the model fitted at 1997-04-02")
    assert behind.about.startswith("the purchase model behind the churn feature")
    assert (within.code, within.severity, within.topic) == ("leak", "ask", "data")


def warn_inside() -> None:
    with collecting([]):
        warnings.warn("theirs", DeprecationWarning, stacklevel=2)


def test_warnings_of_others_pass():
    with pytest.warns(DeprecationWarning, match="theirs"):
        warn_inside()


def test_a_warning_says_what_it_is_about():
    assert str(FitWarning("limited", "mbg_nbd fitted at 1997-04-02")) == (
        "mbg_nbd fitted at 1997-04-02: limited"
    )
    assert str(CrmmlWarning("limited")) == "limited"


def test_equal_notes_are_one_and_the_newest_fit_speaks():
    fits = [
        Note("boundary", "info", f"a is {a}", f"bg_nbd fitted at {d}")
        for a, d in (("1e-8", "1997-01-01"), ("2.5e-9", "1997-04-01"))
    ]
    newest = Note("boundary", "warn", "a is 3e-9", "bg_nbd fitted at 1997-07-01")
    other = Note("boundary", "warn", "b is 3e-9", "bg_nbd fitted at 1997-07-01")
    merged = merge_notes([*fits, other, newest])
    assert [note.count for note in merged] == [3, 1]
    assert str(merged[0]) == "bg_nbd fitted at 1997-07-01 (and 2 others): a is 3e-9"
    assert merged[0].severity == "warn"
    assert merge_notes(merged) == merged


def test_a_warning_is_not_hidden_by_the_same_of_a_model_that_is_not_used():
    mine = Note("no_dropout", "warn", "Nobody leaves.", "bg_nbd fitted at 1997-04-01")
    other = Note("no_dropout", "info", "Nobody leaves.", "pareto_nbd fitted at 1997-04-01")
    for order in ([mine, other], [other, mine]):
        (both,) = merge_notes(order)
        assert both.severity == "warn"
        assert str(both).startswith("bg_nbd fitted at 1997-04-01 (and 1 other)")


def test_the_most_pressing_come_first_and_no_more_than_asked():
    notes = [
        Note(f"n{i}", severity, f"text {i}", topic=topic)
        for i, (severity, topic) in enumerate(
            [("info", "models"), ("warn", "decisions"), ("ask", "models")] * 5
        )
    ]
    groups = most_pressing(notes)
    assert list(groups) == ["models", "decisions"]
    assert {note.severity for note in groups["models"]} == {"ask"}
    assert sum(map(len, groups.values())) == 10
    assert most_pressing([]) == {}
    only = [Note("limited_fit", "info", "not used"), Note("churn_choice", "info", "why")]
    assert most_pressing(only) == {"models": only[1:]}


def test_a_terminal_shows_ten_and_says_where_the_others_lie(capsys, tmp_path):
    notes = [Note("fit", "warn", f"sentence {i}", f"model {i}") for i in range(25)]
    display.show_notes([*notes, Note("choice", "info", "is chosen")], tmp_path / "notes.json")
    shown = capsys.readouterr().out
    assert shown.count("sentence") == 10
    assert "and 15 more notes" in shown
    assert "is chosen" not in shown


def test_notes_are_stored_as_plain_values():
    notes = (Note("a", "ask", "Ä?", "b", "data", 2),)
    assert [Note.from_dict(entry) for entry in json.loads(to_json(notes))] == list(notes)
