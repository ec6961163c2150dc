"""Cards: one line, one screen, a small table, whatever they hold."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from crmml.card import CHARACTERS, LINES, WIDTH, Card, Shown, brief


def limits(card):
    lines = card.to_text().split("\n")
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    assert card.to_text().isascii()
    assert len(card.to_html()) <= CHARACTERS
    assert "\n" not in card.to_line()
    assert len(card.to_line()) <= 200


@pytest.mark.parametrize(
    "text", ["", "x", "<b>\"'&" * 400, "\u4e2d\u6587 " * 500, "a\n\tb\x00" * 90]
)
@pytest.mark.parametrize("n", [0, 1, 13, 14, 15, 400])
def test_limits_hold_whatever_the_rows_are(text, n):
    limits(Card(text, ((text, text),) * n))


def test_the_page_escapes_everything():
    evil = "<script>alert('x')</script>"
    page = Card(evil, ((evil, evil),)).to_html()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3


def test_rows_that_do_not_fit_are_counted():
    text = Card("many", tuple((f"row {i}", "value") for i in range(40))).to_text()
    assert text.splitlines()[-1] == "  and 27 more rows"
    assert "row 12 " in text
    page = Card("many", (("row", "x" * 240),) * 40).to_html()
    assert "more rows" in page


@dataclass(repr=False)
class Kept(Shown):
    table: pd.DataFrame
    share: float
    names: dict

    def __len__(self):
        return 3


def test_a_data_class_shows_its_fields_in_brief():
    one = Kept(pd.DataFrame(np.zeros((1_000, 4))), 0.25, {"a": 1})
    assert repr(one) == "Kept of 3"
    assert str(one).splitlines() == [
        "Kept of 3",
        "  table  DataFrame of 1,000 x 4",
        "  share  0.25",
        "  names  1 by name: a",
    ]


class Angry(Exception):
    def __str__(self):
        raise RuntimeError


class Broken(Shown):
    def _card(self):
        raise Angry


def test_showing_never_fails():
    half = object.__new__(Kept)
    assert repr(half) == "Kept, incomplete"
    assert "has no attribute 'table'" in str(half)
    assert "incomplete" in half._repr_html_()
    assert "cannot be written" in str(Broken())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        ((), "none"),
        ([1.0, 2.0], "2 of float"),
        (("a", "b"), "a, b"),
    ],
)
def test_values_in_brief(value, text):
    assert brief(value) == text
