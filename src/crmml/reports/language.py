"""Words and figures of a report in English or Persian."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal, TypeAlias, get_args

import pandas as pd
import yaml
from markupsafe import Markup
from persiantools import digits
from persiantools.jdatetime import JalaliDate

from crmml._typing import Duration
from crmml.exceptions import ParameterError

Lang: TypeAlias = Literal["en", "fa"]

_UNKNOWN = "–"
_DAY = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_LATIN = re.compile("[A-Za-z]")
_FIGURE = re.compile(r"\d[\d.,]*%?")
_PERSIAN = str.maketrans({",": "٬", ".": "٫", "%": "٪"})


@dataclass(frozen=True)
class Language:
    """Writes words, figures and dates.

    Attributes
    ----------
    code : {"en", "fa"}
        English, or Persian with Persian digits and dates of the Jalali calendar.
    currency : str or None
        Written behind amounts.
    contracts : bool
        Whether contracts alone were scored: who leaves ends one, rather than buying nothing.

    Examples
    --------
    >>> Language("en").money(1234.5), Language("en", "EUR").money(12_345_678)
    ('1,234.50', '12,345,678 EUR')
    >>> Language("fa").count(1234), Language("fa").date(pd.Timestamp("1998-07-01"))
    ('۱٬۲۳۴', '۱۳۷۷/۰۴/۱۰')
    >>> Language("en").length("52W"), Language("fa").length("3M")
    ('52 weeks', '۳ ماه')
    """

    code: Lang
    currency: str | None = None
    contracts: bool = False

    def __post_init__(self) -> None:
        if self.code not in get_args(Lang):
            raise ParameterError("lang", "en or fa", self.code)

    @property
    def direction(self) -> str:
        """Which way the text runs: ``ltr`` or ``rtl``."""
        return "rtl" if self.code == "fa" else "ltr"

    def text(self, key: str, **figures: Any) -> str:
        """Return a sentence; figures are put in as they are written.

        Raises
        ------
        KeyError
            If there is no such sentence: a mistake of ours.
        """
        words = _words(self.code)
        own = words.get(f"contract_{key}") if self.contracts else None
        form = str(own or words[key])
        if self.code == "fa":
            figures = {name: _apart(figure) for name, figure in figures.items()}
        if any(isinstance(figure, Markup) for figure in figures.values()):
            form = Markup(form)  # noqa: S704  (our own words; what is put in is escaped)
        return form.format(**figures)

    def told(self, text: str) -> str:
        """Return a sentence of the models in the language, or in English and marked as such.

        Examples
        --------
        >>> Language("fa").told("the data have no column 'margin'")
        'داده\u200cها ستون \u2068margin\u2069 ندارند'
        >>> str(Language("fa").told("Dropout is <1."))
        '<span lang="en" dir="ltr">Dropout is &lt;1.</span>'
        >>> Language("en").told("Dropout is <1.")
        'Dropout is <1.'
        """
        if self.code == "en" or not text:
            return text
        for form, own in _sentences():
            if found := form.fullmatch(text):
                return own.format(**{k: self._carried(v) for k, v in found.groupdict().items()})
        return Markup('<span lang="en" dir="ltr">{}</span>').format(text)

    def meaning(self, name: str, declared: str) -> str:
        """Return what a column of the scores means.

        Parameters
        ----------
        name : str
            Of the column.
        declared : str
            Its meaning in English, as it is declared.
        """
        if self.code == "en":
            return declared
        known = _columns()
        tried = [f"contracts.{name}"] if self.contracts else []
        tried += [name, *(f"{name[:k]}_*" for k, sign in enumerate(name) if sign == "_")]
        return next((known[one] for one in tried if one in known), "") or self.told(declared)

    def sentence(self, text: str) -> str:
        """Begin a text as a sentence begins, unless its first word is the name of something."""
        first = text.split(" ", 1)[0]
        if self.code != "en" or "_" in first or not text[:1].isalpha():
            return text
        return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")

    def _carried(self, value: str) -> str:
        """Write what a sentence carries over: figures and days anew, names set apart."""
        value = _DAY.sub(lambda found: self.date(pd.Timestamp(found[0])), value)
        value = _FIGURE.sub(lambda found: self.figures(found[0].translate(_PERSIAN)), value)
        return f"\u2068{value}\u2069"

    def label(self, value: Any) -> str:
        """Return the word for a value of a column, or the value where it is the user's own."""
        if value is None or value != value:
            return _UNKNOWN
        return str(_words(self.code).get(f"label_{value}", str(value).replace("_", " ")))

    def count(self, value: float) -> str:
        """Write a whole number."""
        return self._write(value, "{:,.0f}")

    def number(self, value: float, places: int = 2) -> str:
        """Write a number."""
        return self._write(value, f"{{:,.{places}f}}")

    def share(self, value: float, places: int = 1) -> str:
        """Write a share of 1 as a percentage."""
        return self._write(value, f"{{:.{places}%}}")

    def points(self, difference: float) -> str:
        """Write a difference of two shares in points."""
        return self.text("points", number=self.number(100.0 * difference, 1))

    def amount(self, value: float) -> str:
        """Write an amount without its currency, where that is said beside."""
        return self._write(value, "{:,.0f}" if abs(value) >= 10_000 else "{:,.2f}")

    def money(self, value: float) -> str:
        """Write an amount: cents only where they matter."""
        written = self.amount(value)
        if not self.currency or written == _UNKNOWN:
            return written
        told = f"{written} {self.currency}"
        return f"\u2066{told}\u2069" if self.code == "fa" else told

    def field(self, value: Any) -> str:
        """Return the word for a field of the map of value and risk."""
        return str(_words(self.code).get(f"field_{value}", value))

    def listed(self, names: Sequence[Any]) -> str:
        """Put names beside each other, each on its own so that none turns another around."""
        if self.code == "fa":
            names = [n if isinstance(n, Markup) else f"\u2068{n}\u2069" for n in names]
        return self.text("comma").join(map(str, names))

    def span(self, low: str, high: str) -> str:
        """Write a range shortly; in Persian by a word, as a dash leaves open where it begins."""
        return f"{low}–{high}" if self.code == "en" else self.text("between", low=low, high=high)

    def side(self, difference: float) -> str:
        """Say on which side of zero a difference lies."""
        return self.text("side_above" if difference >= 0 else "side_below")

    def date(self, moment: pd.Timestamp) -> str:
        """Write a day: ISO 8601, or of the Jalali calendar."""
        if self.code == "en":
            return f"{moment:%Y-%m-%d}"
        jalali: Any = JalaliDate
        return str(digits.en_to_fa(jalali(moment.date()).strftime("%Y/%m/%d")))

    def length(self, text: str) -> str:
        """Write a duration such as ``52W`` in words."""
        length = Duration.parse(text)
        return self.text(f"length_{length.unit}", number=self.number(length.number, 0))

    def figures(self, text: str) -> str:
        """Write the digits of a text in those of the language."""
        return str(digits.en_to_fa(text)) if self.code == "fa" else text

    def _write(self, value: float, form: str) -> str:
        if value is None or not math.isfinite(value):
            return _UNKNOWN
        written = form.format(value).replace("-", "\N{MINUS SIGN}")
        if self.code == "en":
            return written
        persian = self.figures(written.translate(_PERSIAN))
        return f"\u2066{persian}\u2069" if persian.startswith("\N{MINUS SIGN}") else persian


def _apart(figure: Any) -> Any:
    """Set a text with Latin letters apart, so that it does not turn the figures beside it."""
    if isinstance(figure, Markup) or not isinstance(figure, str) or not _LATIN.search(figure):
        return figure
    return figure if figure.startswith(("\u2066", "\u2068")) else f"\u2068{figure}\u2069"


@cache
def _words(code: str) -> dict[str, str]:
    words: dict[str, str] = _read(f"words_{code}.yaml")
    return words


@cache
def _columns() -> dict[str, str]:
    columns: dict[str, str] = _read("columns_fa.yaml")
    return columns


@cache
def _sentences() -> list[tuple[re.Pattern[str], str]]:
    """Return the sentences that have a Persian form, as patterns of what they carry over."""
    return [
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(one["en"]))), one["fa"])
        for one in _read("told_fa.yaml")
    ]


def _read(file: str) -> Any:
    return yaml.safe_load(resources.files("crmml.reports").joinpath(file).read_text("utf-8"))
