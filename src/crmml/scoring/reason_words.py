"""Reasons in words: a sentence for each family of features, with the customer's own figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot
from crmml.stats.discounting import in_units

Lang: TypeAlias = Literal["en", "fa"]

MOST_REASONS = 5
_LEAST = 0.005
"""What adds less to the log-odds would be written as 0.00."""

_DIGITS = str.maketrans("0123456789,.%", "۰۱۲۳۴۵۶۷۸۹٬٫٪")

_WORDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "en": {
        "silence": (
            "last bought {silence} {unit} ago; usually every {gap}",
            "last bought {silence} {unit} ago, the only purchase",
        ),
        "frequency": (
            "purchases: {purchases} in all",
            "purchases: {purchases} in all",
        ),
        "age": ("first bought {age} {unit} ago", "first bought {age} {unit} ago"),
        "rhythm": (
            "{gap} {unit} between purchases on average, {longest} at most",
            "no gap between purchases yet",
        ),
        "trend": (
            "purchases: {now} in the last 13 weeks, {before} in the 13 before",
            "trend of the purchases",
        ),
        "spend": ("{spend} spent in all, {year} in the last 52 weeks", "amounts of the purchases"),
        "basket": ("lines per purchase: {lines}", "lines per purchase"),
        "assortment": ("categories bought: {categories}", "categories bought"),
        "channels": ("{weekend} of the purchases at weekends, and the channels", "channels"),
        "reductions": ("{returned} of the value returned, and discounts", "discounts and returns"),
        "season": ("time of the year", "time of the year"),
        "process": (
            "by the rhythm alone {process} for no purchase in the next {horizon}",
            "rhythm of the purchases",
        ),
        "other": ("other attributes of the customer", "other attributes of the customer"),
    },
    "fa": {
        "silence": (
            "آخرین خرید {silence} {unit} پیش؛ معمولاً هر {gap} {unit}",
            "آخرین خرید {silence} {unit} پیش، تنها خرید",
        ),
        "frequency": (
            "در مجموع {purchases} خرید",
            "در مجموع {purchases} خرید",
        ),
        "age": ("نخستین خرید {age} {unit} پیش", "نخستین خرید {age} {unit} پیش"),
        "rhythm": (
            "فاصلهٔ خریدها به‌طور میانگین {gap} {unit}، حداکثر {longest} {unit}",
            "هنوز فاصله‌ای میان خریدها نیست",
        ),
        "trend": (
            "{now} خرید در ۱۳ هفتهٔ گذشته، {before} خرید در ۱۳ هفتهٔ پیش از آن",
            "روند خریدها",
        ),
        "spend": ("در مجموع {spend} هزینه، {year} در ۵۲ هفتهٔ گذشته", "مبلغ خریدها"),
        "basket": ("{lines} قلم در هر خرید", "شمار اقلام هر خرید"),
        "assortment": ("خرید از {categories} دسته", "دسته‌های خریداری‌شده"),
        "channels": ("{weekend} خریدها در آخر هفته، و کانال‌ها", "کانال‌های خرید"),
        "reductions": ("{returned} ارزش خریدها برگشت خورده، و تخفیف‌ها", "تخفیف‌ها و برگشتی‌ها"),
        "season": ("فصل سال", "فصل سال"),
        "process": (
            "تنها بر پایهٔ آهنگ خرید، احتمال نخریدن در {horizon} آینده {process}",
            "آهنگ خریدها",
        ),
        "other": ("ویژگی‌های دیگر مشتری", "ویژگی‌های دیگر مشتری"),
    },
}
"""By family: the sentence, and the one where a figure is not known."""

_UNITS = {"en": ("days", "opportunities"), "fa": ("روز", "نوبت")}
_LENGTHS = {
    "en": {
        "hour": "hours",
        "day": "days",
        "week": "weeks",
        "month": "months",
        "quarter": "quarters",
    },
    "fa": {"hour": "ساعت", "day": "روز", "week": "هفته", "month": "ماه", "quarter": "فصل"},
}


def check_lang(lang: str) -> None:
    """Refuse a language that has no words here.

    Raises
    ------
    ParameterError
    """
    if lang not in get_args(Lang):
        raise ParameterError("lang", "en or fa", lang)


def write_length(number: float, unit: str, lang: str) -> str:
    """Write a duration in words.

    Examples
    --------
    >>> write_length(13, "week", "en"), write_length(13, "week", "fa")
    ('13 weeks', '۱۳ هفته')
    """
    return f"{_written(number, 'count', lang)} {_LENGTHS[lang].get(unit, unit)}"


@dataclass(frozen=True)
class _Figure:
    """The figure of every customer, and how it is written."""

    values: FloatArray
    form: Literal["count", "share", "one"] = "count"

    def rounded(self) -> FloatArray:
        """Return what is told apart in writing, so that few sentences are written."""
        places = {"count": 0, "share": 2, "one": 1}[self.form]
        return np.asarray(np.round(self.values, places) + 0.0)


def tell(
    shares: pd.DataFrame,
    snapshot: Snapshot,
    *,
    lang: str,
    horizon: str,
    process: FloatArray,
) -> tuple[pd.Series[str], pd.Series[str]]:
    """Write the strongest reasons for and against of every customer.

    Parameters
    ----------
    shares : DataFrame, shape (n_customers, n_families)
        What each family of :data:`crmml.features.families.FAMILIES` adds to the log-odds; one that
        was not asked adds 0.
    snapshot : Snapshot
        Of the same customers in the same order.
    lang : {"en", "fa"}
    horizon : str
        Of the outcome window, in words.
    process : ndarray, shape (n_customers,)
        P(no purchase) of the purchase process; NaN where it was not asked.

    Returns
    -------
    tuple of Series
        What speaks for the event, and what against it: at most five sentences each, the strongest
        first, parted by `` | ``, each with what it adds; null where there is none.
    """
    check_lang(lang)
    figures = _figures(snapshot, process)
    unit = _UNITS[lang][snapshot.time_unit == "period"]
    values = shares.to_numpy(dtype=np.float64)
    # What moves nobody is never shown, so it need not be sorted.
    acting = np.flatnonzero((np.abs(values) >= _LEAST).any(axis=0))
    values, families = values[:, acting], shares.columns[acting]
    signed = {sign: sign * values for sign in (1, -1)}
    order = {sign: _strongest(of) for sign, of in signed.items()}
    shown = np.zeros(values.shape, dtype=bool)
    for sign, of in signed.items():
        strong = np.zeros(values.shape, dtype=bool)
        np.put_along_axis(strong, order[sign], True, axis=1)
        shown |= strong & (of >= _LEAST)
    texts: list[Any] = []
    codes, written = np.zeros(values.shape, dtype=np.int64), 0
    for column, family in enumerate(families):  # only what is shown is written
        rows = np.flatnonzero(shown[:, column])
        said, which = _sentences(_WORDS[lang][str(family)], figures.get(str(family), {}), lang,
                                 {"unit": unit, "horizon": horizon}, rows)  # fmt: skip
        codes[rows, column] = written + which
        written += len(said)
        texts.append(said)
    words = pa.chunked_array(texts, pa.string()).cast(pa.large_string())
    found = [_join(signed[sign], order[sign], sign, codes, words, lang) for sign in (1, -1)]
    pros, cons = (one.set_axis(shares.index) for one in found)
    return pros, cons


def _strongest(values: FloatArray) -> IntArray:
    """Place of the strongest families of each customer, the strongest first."""
    return np.argsort(-values, axis=1, kind="stable")[:, :MOST_REASONS]


def _figures(snapshot: Snapshot, process: FloatArray) -> dict[str, dict[str, _Figure]]:
    """Gather the figures of each family from the snapshot; what it does not hold is missing."""
    frame = snapshot.frame
    period = snapshot.time_unit == "period"
    day = 1.0 if period else in_units("1D", snapshot.time_unit)

    def column(name: str) -> FloatArray:
        if name not in frame:
            return np.full(len(frame), np.nan)
        return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)

    silence = (column("T") - column("recency")) / day
    gap = _Figure(column("gap_mean") / day)
    last = column("purchases_13w")
    return {
        "silence": {"silence": _Figure(silence), "gap": gap},
        "frequency": {"purchases": _Figure(column("frequency") + 1.0)},
        "age": {"age": _Figure(column("T") / day)},
        "rhythm": {"gap": gap, "longest": _Figure(column("gap_max") / day)},
        "trend": {"now": _Figure(last), "before": _Figure(column("purchases_26w") - last)},
        "spend": {
            "spend": _Figure(column("net_spend")),
            "year": _Figure(column("net_spend_52w")),
        },
        "basket": {"lines": _Figure(column("mean_lines"), "one")},
        "assortment": {"categories": _Figure(column("n_categories"))},
        "channels": {"weekend": _Figure(column("weekend_share"), "share")},
        "reductions": {"returned": _Figure(column("returns_share"), "share")},
        "process": {"process": _Figure(process, "share")},
    }


def _sentences(
    templates: tuple[str, str],
    figures: Mapping[str, _Figure],
    lang: str,
    fixed: Mapping[str, str],
    rows: IntArray,
) -> tuple[Any, IntArray]:
    """Write the sentences of some customers, each distinct one once, and say which is whose."""
    which, coded = np.zeros(len(rows), dtype=np.int64), {}
    for name, figure in figures.items():
        place, coded[name] = pd.factorize(figure.rounded()[rows], use_na_sentinel=False)
        which = which * len(coded[name]) + place
    which, kinds = pd.factorize(which)
    numbers, whole = {}, np.ones(len(kinds), dtype=bool)
    for name in reversed(coded):
        kinds, its = np.divmod(kinds, len(coded[name]))
        whole &= np.isfinite(coded[name])[its]
        texts = [_written(v, figures[name].form, lang) for v in coded[name].tolist()]
        numbers[name] = pa.array(texts, pa.string()).take(pa.array(its))
    both = [_fill(template, numbers, fixed, len(whole)) for template in templates]
    texts = pc.if_else(pa.array(whole), *both)
    return pc.replace_substring(texts, " 1 days", " 1 day"), which


def _fill(template: str, numbers: Mapping[str, Any], fixed: Mapping[str, str], n: int) -> Any:
    """Put the numbers of every customer into a sentence."""
    parts: list[Any] = []
    for text, name, _, _ in Formatter().parse(template):
        parts.append(text)
        if name is not None:
            parts.append(numbers[name] if name in numbers else fixed[name])
    if not numbers:
        return pa.repeat("".join(parts), n)
    return pc.binary_join_element_wise(*parts, "") if n else pa.array([], pa.string())


def _written(value: float, form: str, lang: str) -> str:
    if not math.isfinite(value):
        return "–"
    text = {"count": "{:,.0f}", "share": "{:.0%}", "one": "{:,.1f}"}[form].format(value)
    return text.translate(_DIGITS) if lang == "fa" else text


def _join(
    values: FloatArray, first: IntArray, sign: int, codes: IntArray, words: Any, lang: str
) -> Any:
    """Join the strongest sentences of each customer, with what they add."""
    strongest = np.take_along_axis(values, first, axis=1)
    shown = strongest >= _LEAST
    points = np.rint(100.0 * strongest[shown]).astype(np.int64)
    mark = "+" if sign > 0 else "\N{MINUS SIGN}"
    added = [f" ({mark}{k / 100:.2f})" for k in range(int(points.max(initial=0)) + 1)]
    if lang == "fa":
        added = [text.translate(_DIGITS) for text in added]
    # Each reason is three pieces of one dictionary: what parts it from the one before, words, adds.
    pieces = np.empty((len(points), 3), dtype=np.int64)
    pieces[:, 0] = np.nonzero(shown)[1] > 0
    pieces[:, 1] = np.take_along_axis(codes, first, axis=1)[shown] + (2 + len(added))
    pieces[:, 2] = points + 2
    every = pa.concat_arrays([pa.array(["", " | ", *added], pa.large_string()), *words.chunks])
    return _in_rows(every.take(pa.array(pieces.ravel())), 3 * shown.sum(axis=1)).to_pandas()


def _in_rows(pieces: Any, counts: IntArray) -> Any:
    """Run so many texts after another together for each row; null for a row of none."""
    # The bytes of an array lie one text after the other: together they are joined already.
    _, ends, text = pieces.buffers()
    places = np.frombuffer(ends, dtype=np.int64) if ends else np.zeros(1, dtype=np.int64)
    bounds = places[np.concatenate([[0], np.cumsum(counts)])]
    known = pa.array(counts > 0)
    # A bit for each row: whether it holds a text.
    return pa.LargeStringArray.from_buffers(
        len(counts), pa.py_buffer(bounds), text, known.buffers()[1]
    )
