"""From the columns of a ready-made table to numbers, by rules that are stored with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import ParameterError, UnlikeTrainingError, first_few
from crmml.models.labelled.cells import Form, as_text, find_form, read_cells

MOST_LEVELS, LEAST_ROWS = 10, 10
"""Words with a column of their own: so many of a text, each of so many rows."""
SMOOTHING = 20.0
"""Customers whose weight the share of all has beside the customers of one word."""


@dataclass(frozen=True)
class ColumnRule:
    """How one column is read.

    Attributes
    ----------
    name : str
        In the table.
    form : str or None
        Form of numbers and dates; None where it holds words.
    levels : tuple of str
        Words with an indicator each, the most frequent first.
    many : bool
        Whether there are further words, which the share of events by word then tells apart.
    """

    name: str
    form: Form | None
    levels: tuple[str, ...] = ()
    many: bool = False

    @property
    def features(self) -> list[str]:
        """Names of the numbers that it becomes."""
        if self.form is not None:
            return [self.name]
        rate = [f"{self.name}: rate"] if self.many else []
        return [*(f"{self.name} = {level}" for level in self.levels), *rate]


@dataclass(frozen=True)
class TableEncoding:
    """Rules of all columns, and the share of events by word where there are many words.

    Attributes
    ----------
    rules : tuple of ColumnRule
        By name of the column.
    rates : mapping of str to mapping of str to float
        Of each column with many words, the smoothed share of events by word.
    base_rate : float
        Share of events in the training.
    """

    rules: tuple[ColumnRule, ...]
    rates: Mapping[str, Mapping[str, float]]
    base_rate: float

    @classmethod
    def learn(cls, texts: pd.DataFrame, base_rate: float) -> Self:
        """Find the rules; outcomes play no part in them.

        Parameters
        ----------
        texts : DataFrame
            Cells as :func:`crmml.models.labelled.cells.as_text` gives them.
        base_rate : float
            Share of events.
        """
        rules = [_rule(name, texts[name]) for name in sorted(texts.columns)]
        return cls(tuple(rule for rule in rules if rule.features), {}, base_rate)

    @property
    def features(self) -> list[str]:
        """Names of the columns of the matrix."""
        return [feature for rule in self.rules for feature in rule.features]

    @property
    def owners(self) -> list[str]:
        """Column of the table behind each column of the matrix."""
        return [rule.name for rule in self.rules for _ in rule.features]

    def with_rates(self, texts: pd.DataFrame, y: FloatArray) -> Self:
        """Return the encoding with the shares of events by word in these rows."""
        rates = {
            rule.name: _rates(texts[rule.name], y, self.base_rate)
            for rule in self.rules
            if rule.many
        }
        return type(self)(self.rules, rates, self.base_rate)

    def matrix(self, texts: pd.DataFrame) -> FloatArray:
        """Return the numbers, shape (n, n_features), NaN where nothing is known."""
        parts: list[FloatArray] = []
        for rule in self.rules:
            column = texts[rule.name]
            if rule.form is not None:
                parts.append(read_cells(column, rule.form))
                continue
            known = column.notna().to_numpy()
            for level in rule.levels:
                parts.append(np.where(known, (column == level).to_numpy(), np.nan))
            if rule.many:
                shares = column.map(dict(self.rates.get(rule.name, {}))).astype(np.float64)
                rate = shares.fillna(self.base_rate).to_numpy()
                parts.append(np.where(known, rate, np.nan))
        return np.column_stack(parts).astype(np.float64) if parts else np.empty((len(texts), 0))

    def matrix_for_fit(self, texts: pd.DataFrame, y: FloatArray, fold: IntArray) -> FloatArray:
        """Return the numbers for learning: no row's own outcome is in its share of events."""
        X = self.matrix(texts)
        rated = [i for i, name in enumerate(self.features) if name.endswith(": rate")]
        for one in np.unique(fold) if rated else []:
            inside = fold == one
            others = self.with_rates(texts[~inside], y[~inside])
            X[np.ix_(inside, rated)] = others.matrix(texts[inside])[:, rated]
        return X

    def read(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
        """Return the cells of new rows as text, and what is unlike the training, in words.

        Raises
        ------
        UnlikeTrainingError
            If more than half of the columns are missing.
        """
        lacking = [rule.name for rule in self.rules if rule.name not in rows]
        if 2 * len(lacking) > len(self.rules):
            raise UnlikeTrainingError(
                f"the rows to score need the columns of the training; {len(lacking)} of "
                f"{len(self.rules)} are missing: {first_few(lacking)}"
            )
        told = [f"column {name!r} is missing: every value counts as unknown" for name in lacking]
        texts = pd.DataFrame(index=rows.index)
        for rule in self.rules:
            if rule.name in lacking:
                texts[rule.name] = pd.Series(None, index=rows.index, dtype=object)
                continue
            texts[rule.name] = as_text(rows[rule.name])
            told += _unlike(rule, texts[rule.name], self.rates.get(rule.name, {}))
        return texts, told

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        rules = tuple(
            ColumnRule(r["name"], r["form"], tuple(r["levels"]), bool(r["many"]))
            for r in stored["rules"]
        )
        base_rate, rates = float(stored["base_rate"]), stored["rates"]
        shares = [base_rate, *(share for words in rates.values() for share in words.values())]
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise ParameterError("rates", "shares from 0 to 1", rates)
        return cls(rules, rates, base_rate)


def texts_of(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the cells of some columns as text."""
    return pd.DataFrame({name: as_text(rows[name]) for name in columns}, index=rows.index)


def _rule(name: str, text: pd.Series[Any]) -> ColumnRule:
    form = find_form(text)
    if form is not None:
        return ColumnRule(name, form)
    counts = text.value_counts()
    ranked = sorted(counts.items(), key=lambda item: (-int(item[1]), str(item[0])))
    kept = [str(level) for level, n in ranked if n >= LEAST_ROWS][:MOST_LEVELS]
    many = len(counts) > len(kept) and len(counts) > 2
    # of two words one indicator says it all
    return ColumnRule(name, None, tuple(kept[:1] if len(counts) == 2 else kept), many)


def _rates(text: pd.Series[Any], y: FloatArray, base_rate: float) -> dict[str, float]:
    by_word = pd.Series(y, index=text.index).groupby(text).agg(["sum", "size"])
    smoothed = (by_word["sum"] + SMOOTHING * base_rate) / (by_word["size"] + SMOOTHING)
    return {str(word): float(share) for word, share in smoothed.items()}


def _unlike(rule: ColumnRule, text: pd.Series[Any], rates: Mapping[str, float]) -> list[str]:
    filled = text.dropna()
    if rule.form is not None:
        lost = int(np.isnan(read_cells(filled, rule.form)).sum())
        what = "dates" if rule.form.startswith("date") else "numbers"
        return [f"column {rule.name!r}: {lost:,} cells are no {what} and count as unknown"] * (
            lost > 0
        )
    if not rule.many and len(rule.levels) == 1:
        return []
    known = set(rule.levels) | set(rates)
    new = int((~filled.isin(known)).sum())
    if not new or rule.many:
        return []
    return [f"column {rule.name!r}: {new:,} cells hold a word that the training did not know"]
