"""The cells of a stranger's table: numbers, dates and words, read alike in training and scoring."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from crmml._typing import FloatArray

Form: TypeAlias = Literal["number", "number_comma", "date", "date_day_first", "date_month_first"]
"""How a column is written; ``number_comma`` has a decimal comma."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "--", "nat", "<na>", "#n/a"})
READS = 0.95
"""A column is of a form if so many of its filled cells can be read in it."""

_DATES: dict[Form, tuple[str, ...]] = {
    "date": ("ISO8601",),
    "date_day_first": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y"),
    "date_month_first": ("%m/%d/%Y", "%m-%d-%Y"),
}
_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"


def as_text(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return stripped text, and None where a cell says that nothing is known.

    Examples
    --------
    >>> as_text(pd.Series([" yes", "N/A", 3, 2.0, None])).tolist()
    ['yes', None, '3', '2', None]
    """
    known = column.notna()
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        text = column.map(lambda value: value.isoformat() if not pd.isna(value) else "")
    else:
        text = column.astype(object).where(known, "").map(_plain)
    text = text.astype(object)
    truth = text.str.lower().isin(("true", "false"))
    text = text.where(~truth, text.str.lower())  # frames and files write it differently
    return text.where(~text.str.lower().isin(MISSING), None)


def _plain(value: Any) -> str:
    # one column may be whole in one file and have decimals in the next
    if (
        isinstance(value, (float, np.floating))
        and float(value).is_integer()
        and abs(float(value)) < 1e15
    ):
        return str(int(value))
    return str(value).strip()


def find_form(text: pd.Series[Any]) -> Form | None:
    """Find the form in which nearly all filled cells can be read; None if they are words.

    Examples
    --------
    >>> [find_form(pd.Series(one)) for one in (["1,234.5", "7"], ["1,5"], ["2024-02-30x"])]
    ['number', 'number_comma', None]
    """
    filled = text.dropna()
    if filled.empty:
        return None
    comma = filled.str.contains(r",\d{1,2}$|,\d{4,}$|\.\d{3},", regex=True).any()
    forms: tuple[Form, ...] = ("number", *_DATES)
    if comma:
        forms = ("number_comma", "number", *_DATES)
    for form in forms:
        if np.isfinite(read_cells(filled, form)).mean() >= READS:
            return form
    return None


def read_cells(text: pd.Series[Any], form: Form) -> FloatArray:
    """Return numbers, or days since 1970 of dates; NaN where a cell is missing or cannot be read.

    Examples
    --------
    >>> read_cells(pd.Series(["1,234.5", "$ 7", "12%", None, "many"]), "number").tolist()
    [1234.5, 7.0, 12.0, nan, nan]
    """
    filled = text.dropna()
    out: pd.Series[Any] = pd.Series(np.nan, index=text.index)
    if filled.empty:
        return np.asarray(out, dtype=np.float64)
    if form in _DATES:
        for code in _DATES[form]:
            # words that only look like dates, such as 12, are no dates
            some = filled[filled.str.contains(r"\d\D\d+\D\d", regex=True)]
            if len(some):
                days = pd.to_datetime(some, format=code, errors="coerce", utc=True)
                # in microseconds, as a count of nanoseconds reaches no year before 1678
                since = days.dt.as_unit("us") - pd.Timestamp("1970-01-01", tz="UTC")
                seconds = since.dt.total_seconds()
                out.loc[some.index] = out.loc[some.index].fillna(seconds / 86_400.0)
        return np.asarray(out, dtype=np.float64)
    bare = filled.str.replace(r"[\s\u00a0\u202f$€£%']", "", regex=True)
    if form == "number_comma":
        bare = bare.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    else:
        grouped = bare.str.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?")
        bare = bare.mask(grouped, bare.str.replace(",", "", regex=False))
    legal = bare.str.fullmatch(_NUMBER)
    out.loc[filled.index[legal]] = bare[legal].astype(np.float64)
    values = out.to_numpy(dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)
