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
    signed = {sign: sign * values for sign in (1, -1)}
    order = {sign: _strongest(of) for sign, of in signed.items()}
    shown = np.zeros(values.shape, dtype=bool)
    for sign, of in signed.items():
        strong = np.zeros(values.shape, dtype=bool)
        np.put_along_axis(strong, order[sign], True, axis=1)
        shown |= strong & (of >= _LEAST)
    texts: list[Any] = []
    codes, written = np.zeros(shares.shape, dtype=np.int64), 0
    for column, family in enumerate(shares):  # only what is shown is written
        rows = np.flatnonzero(shown[:, column])
        codes[rows, column] = written + np.arange(len(rows))
        written += len(rows)
        texts.append(_sentences(_WORDS[lang][str(family)], figures.get(str(family), {}), lang,
                                {"unit": unit, "horizon": horizon}, rows))  # fmt: skip
    words = pa.chunked_array(texts, pa.string())
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
) -> Any:
    """Write the sentence of some customers: an Arrow array in the order of the rows."""
    numbers, whole = {}, np.ones(len(rows), dtype=bool)
    for name, figure in figures.items():
        values = figure.rounded()[rows]
        whole &= np.isfinite(values)
        numbers[name] = _write_all(values, figure.form, lang)
    both = [_fill(template, numbers, fixed, len(rows)) for template in templates]
    texts = pc.if_else(pa.array(whole), *both)
    return pc.replace_substring(texts, " 1 days", " 1 day")


def _write_all(values: FloatArray, form: str, lang: str) -> Any:
    """Write numbers, each distinct one once."""
    place, distinct = pd.factorize(values, use_na_sentinel=False)
    return pa.array([_written(v, form, lang) for v in distinct.tolist()], pa.string()).take(
        pa.array(place)
    )


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
    whose = np.take_along_axis(codes, first, axis=1)
    points = np.rint(100.0 * strongest).astype(np.int64)
    most = int(points.max(initial=0)) + 1
    mark = "+" if sign > 0 else "\N{MINUS SIGN}"
    added = [f" ({mark}{k / 100:.2f})" for k in range(most)]
    if lang == "fa":
        added = [text.translate(_DIGITS) for text in added]
    adds, parts = pa.array(added, pa.string()), []
    for place in range(first.shape[1]):
        silent = strongest[:, place] < _LEAST
        its = pa.array(whose[:, place], mask=silent)
        more = pa.array(np.maximum(points[:, place], 0), mask=silent)
        pair = [*([" | "] if place else []), words.take(its), adds.take(more)]
        parts.append(pc.fill_null(pc.binary_join_element_wise(*pair, ""), ""))
    # The strongest come first, so what is silent stands at the end.
    joined = pc.binary_join_element_wise(*parts, "")
    return pc.if_else(pc.equal(joined, ""), pa.scalar(None, pa.string()), joined).to_pandas()
