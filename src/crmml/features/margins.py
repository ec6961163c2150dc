"""Margin per unit of revenue of each customer, shrunk to the categories bought and to the base.

A customer's ratio is that of the base, plus what the categories bought make of it, plus what the
customer's own lines say beyond their categories. Either addition is a variance-components guess.
A line of amount *a* strays from what was expected by *a (theta + e)*: *theta* belongs to the
customer and has the variance ``between``, *e* is noise of the variance ``within``. With the sums
over the lines of a customer *s* of the amounts, *q* of their squares, and *d* of what they stray
by, the best linear guess of *theta* is::

    weight x d / s,   weight = between s^2 / (between s^2 + within q)

so many lines of like size speak for themselves, and a single one hardly does. The two variances
come from moments (with *n = s^2 / q*, the effective number of lines): the mean of ``d^2 / q`` is
``between n + within``, that of the squared residuals of the lines over *q* ``between + within``.
The ratios of the categories are shrunk to the base by the same rule.

A line without a margin, where others have one, gets that of its category, never none in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import ibis
import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.features.in_order import Piece
from crmml.features.purchases import fetch, margin_cents, sum_cents
from crmml.stats.runs import Runs

if TYPE_CHECKING:
    import ibis.expr.types as ir

MOST_CATEGORIES = 200
"""Categories with a ratio of their own: those of most revenue. The others have that of the base."""


@dataclass(frozen=True)
class MarginRates:
    """Margin ratios of the base and its categories, and how far customers stray from them.

    Fitted on the lines before one cutoff and stored, so that a customer's ratio rests on nobody
    else who is scored.

    Attributes
    ----------
    base : float
        Margin over revenue of all lines.
    categories : mapping of str to float
        The same by category, shrunk to the base.
    between : float
        Variance of the customers' own ratios around those of the categories they buy.
    within : float
        Variance of the ratio of a line around its customer's.
    mix_between, mix_within : float
        The same of the ratios of the categories that customers buy, around that of the base.
    """

    base: float
    categories: Mapping[str, float]
    between: float = 0.0
    within: float = 0.0
    mix_between: float = 0.0
    mix_within: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "categories": dict(self.categories)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(**stored)


def shrink(
    s: FloatArray, q: FloatArray, surplus: FloatArray, between: float, within: float
) -> tuple[FloatArray, FloatArray]:
    """Return what is added to the expected ratio of each group of lines, and its weight.

    Parameters
    ----------
    s, q, surplus : ndarray, shape (n,)
        Sums of the amounts and of their squares, and the margin beyond what was expected.
    between, within : float
        Variances, >= 0.

    Examples
    --------
    >>> added, weight = shrink(np.array([10.0]), np.array([10.0]), np.array([2.0]), 0.01, 0.1)
    >>> added.round(3).tolist(), weight.round(3).tolist()
    ([0.1], [0.5])
    """
    doubt = between * s**2 + within * q
    known = doubt > 0
    safe = np.where(known, doubt, 1.0)
    weight = np.where(known, between * s**2 / safe, 0.0)
    return np.where(known, between * s * surplus / safe, 0.0), weight


def find_variances(
    n: float, effective: float, surplus: float, residual: float
) -> tuple[float, float]:
    """Estimate the variances between groups of lines and within them by moments.

    Parameters
    ----------
    n : float
        Number of groups.
    effective, surplus, residual : float
        Sums over the groups of ``s^2 / q``, of ``d^2 / q``, and of the squared residuals of the
        lines over ``q``.

    Returns
    -------
    between, within : float
        Six digits: what is left of the order of a sum in floating point is gone.
    """
    if n == 0:
        return 0.0, 0.0
    total, between = max(residual, 0.0) / n, 0.0
    # Where nobody has two lines, what customers differ by cannot be told from noise.
    if effective > n * (1 + 1e-9):
        between = min(max((surplus - residual) / (effective - n), 0.0), total)
    return _six(between), _six(total - between)


def _six(value: float) -> float:
    return float(f"{value:.6g}")


def lacks_margins(lines: ir.Table) -> bool:
    """Say whether some line has no margin although the data have a column for it.

    Parameters
    ----------
    lines : Ibis table
        With ``cents``.
    """
    margin = margin_cents(lines)
    return margin is not None and bool(margin.isnull().any().to_pyarrow().as_py())


def complete_margins(lines: ir.Table, rates: MarginRates | None = None) -> ir.IntegerValue | None:
    """Write the margin of each line in cents; a line without one gets that of its category.

    Parameters
    ----------
    lines : Ibis table
        With ``cents``.
    rates : MarginRates, optional
        Stored; by default fitted on these lines.

    Returns
    -------
    expression or None
        None where the data have neither margin nor cost, or where no line says what a margin is.
    """
    margin = margin_cents(lines)
    if margin is None or not lacks_margins(lines):
        return margin
    rates = rates or fit_categories(lines)
    if rates is None:
        return None
    parts = "category" in lines.columns
    rate = _rate_of(lines.category, rates) if parts else ibis.literal(_millionths(rates.base))
    # Engines round halves each in its own way; they agree on what a floor is.
    guess = (lines.cents.cast("float64") * rate.cast("float64") / 1e6 + 0.5).floor()
    return margin.coalesce(guess.cast("int64"))


def fit_categories(lines: ir.Table) -> MarginRates | None:
    """Fit the ratios of base and categories; None without a margin, or without revenue.

    Parameters
    ----------
    lines : Ibis table
        With ``cents``; those without a margin are left out.
    """
    if "category" not in lines.columns:
        lines = lines.mutate(category=ibis.null("string"))
    margin = margin_cents(lines)
    if margin is None:
        return None
    known = lines.select("category", "cents", margin=margin)
    known = known.filter(known.margin.notnull())
    # Whole numbers: below 2**53 their sums in floating point are exact, in any order.
    x, y = known.cents.cast("float64"), known.margin.cast("float64")
    sums = known.group_by("category").agg(
        a=sum_cents(known.cents).cast("float64"),
        m=sum_cents(known.margin).cast("float64"),
        aa=(x * x).sum(),
        am=(x * y).sum(),
        mm=(y * y).sum(),
    )
    table = fetch(sums, by=("category",))
    found = [table[name].to_numpy(np.float64) for name in table.columns[1:]]
    if not found[0].sum() > 0:
        return None
    base = round(float(found[1].sum() / found[0].sum()), 6)
    return MarginRates(base, _category_rates(table["category"], base, *found))


class MarginSums(NamedTuple):
    """What the lines of customers with a known margin add up to, each of shape (n,), in cents.

    Attributes
    ----------
    amounts, squares, margins : ndarray
        Sums of the amounts, of their squares, and of the margins.
    expected : ndarray
        What the categories bought make of the margin.
    own_residual, mix_residual : ndarray
        Sums of the squares by which the margin of a line strays from that of its category, and
        that of its category from that of the base.
    unknown : ndarray
        Number of lines without a margin.
    """

    amounts: FloatArray
    squares: FloatArray
    margins: FloatArray
    expected: FloatArray
    own_residual: FloatArray
    mix_residual: FloatArray
    unknown: FloatArray

    @classmethod
    def of(cls, piece: Piece, rates: MarginRates) -> Self:
        """Sum the lines of some customers.

        Parameters
        ----------
        piece : Piece
            Lines with ``cents``, ``margin`` and maybe ``category``.
        rates : MarginRates
            Of the categories.
        """
        share = _shares_of(piece, rates)
        unknown = piece.missing.get("margin", np.zeros(len(piece.place), dtype=bool))
        amount = np.where(unknown, 0, piece.columns["cents"]).astype(np.float64)
        margin = np.where(unknown, 0, piece.columns["margin"]).astype(np.float64)
        of = Runs(piece.place)
        # Ratios have six decimals, so that in millionths all is whole and exact below 2**53.
        expected = of.sum(amount * np.rint(share * 1e6)) / 1e6
        return cls(
            of.sum(amount),
            of.sum(amount**2),
            of.sum(margin),
            expected,
            of.sum((margin - share * amount) ** 2),
            of.sum(((share - rates.base) * amount) ** 2),
            of.sum(unknown).astype(np.float64),
        )

    def fit(self, rates: MarginRates) -> MarginRates:
        """Return the ratios with the variances between customers and within them."""
        own, mix = self._beyond(rates)
        return MarginRates(
            rates.base,
            rates.categories,
            *_variances_of(self.amounts, self.squares, own, self.own_residual),
            *_variances_of(self.amounts, self.squares, mix, self.mix_residual),
        )

    def ratios(self, rates: MarginRates) -> tuple[FloatArray, FloatArray]:
        """Return the shrunk ratio of each customer, and the weight of the customer's own lines.

        Parameters
        ----------
        rates : MarginRates
            With variances.

        Returns
        -------
        ratio, weight : ndarray, shape (n,)
            At most 1, and 0 to 1, to six decimals.
        """
        own, mix = self._beyond(rates)
        of = (self.amounts, self.squares)
        own_added, own_weight = shrink(*of, own, rates.between, rates.within)
        mix_added, mix_weight = shrink(*of, mix, rates.mix_between, rates.mix_within)
        ratio = np.minimum(rates.base + mix_added + own_added, 1.0).round(6)
        return ratio, np.maximum(own_weight, mix_weight).round(6)

    def _beyond(self, rates: MarginRates) -> tuple[FloatArray, FloatArray]:
        """Return margins beyond what categories make expect, and those beyond the base."""
        return self.margins - self.expected, self.expected - rates.base * self.amounts


def guess_margins(piece: Piece, rates: MarginRates) -> None:
    """Put the margin of its category in the place of each that is not known.

    Parameters
    ----------
    piece : Piece
        Lines with ``cents``, ``margin`` and maybe ``category``.
    rates : MarginRates
        See :func:`complete_margins`.
    """
    if "margin" not in piece.missing:
        return
    rate = np.rint(_shares_of(piece, rates) * 1e6)
    guess = np.floor(piece.columns["cents"] * rate / 1e6 + 0.5).astype(np.int64)
    piece.columns["margin"] = np.where(piece.missing["margin"], guess, piece.columns["margin"])


def _shares_of(piece: Piece, rates: MarginRates) -> FloatArray:
    """Return the ratio of the category of each line, shape (n_lines,)."""
    if "category" not in piece.columns:
        return np.full(len(piece.place), rates.base)
    names = piece.names["category"]
    ratios = [*(rates.categories.get(name, rates.base) for name in names), rates.base]
    return np.array(ratios)[piece.columns["category"]]


def _variances_of(
    s: FloatArray, q: FloatArray, surplus: FloatArray, residual: FloatArray
) -> tuple[float, float]:
    some = q > 0
    of = q[some]
    return find_variances(
        int(some.sum()),
        float((s[some] ** 2 / of).sum()),
        float((surplus[some] ** 2 / of).sum()),
        float((residual[some] / of).sum()),
    )


def _category_rates(names: pd.Series[str], base: float, *sums: FloatArray) -> dict[str, float]:
    """Shrink the ratios of categories to the base, given the sums of their cells."""
    a, m, aa, am, mm = sums
    surplus, squares = m - base * a, mm - 2 * base * am + base**2 * aa
    some = aa > 0
    q = np.where(some, aa, 1.0)
    variances = find_variances(
        int(some.sum()), *(float((v / q)[some].sum()) for v in (a**2, surplus**2, squares))
    )
    added, _ = shrink(a, aa, surplus, *variances)
    largest = sorted(np.argsort(-a, kind="stable")[:MOST_CATEGORIES].tolist())
    known = names.notna().tolist()
    rates = {str(names[i]): round(base + float(added[i]), 6) for i in largest if known[i]}
    return {name: rate for name, rate in rates.items() if rate != base}


def _rate_of(category: ir.StringValue, rates: MarginRates) -> ir.IntegerValue:
    """Write the ratio of a category in millionths: its own, or that of the base."""
    base: Any = ibis.literal(_millionths(rates.base), type="int64")
    if not rates.categories:
        return base
    pairs = rates.categories.items()
    known = ((name, ibis.literal(_millionths(ratio), type="int64")) for name, ratio in pairs)
    return category.cases(*known, else_=base)


def _millionths(ratio: float) -> int:
    return round(ratio * 1e6)
