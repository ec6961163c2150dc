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
from typing import TYPE_CHECKING, Any, Self

import ibis
import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.features.purchases import fetch, margin_cents, sum_cents

if TYPE_CHECKING:
    import ibis.expr.types as ir

_ROUNDING = 1e-12

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


def margin_sums(lines: ir.Table, *, fit: bool = True) -> dict[str, ir.Value]:
    """Write the sums that ratios rest on, over the lines with a known margin.

    Parameters
    ----------
    lines : Ibis table
        With ``cents``.
    fit : bool
        Whether rates are to be fitted; with stored ones ``am`` and ``mm`` are not needed.

    Returns
    -------
    dict
        ``a`` of the amounts and ``m`` of the margins (cents; null without such lines), ``aa``,
        ``am``, ``mm`` of their products, and ``unknown``, the number of lines without a margin.
        Empty where the data have neither margin nor cost.
    """
    margin = margin_cents(lines)
    if margin is None:
        return {}
    amount = margin.notnull().ifelse(lines.cents, ibis.null("int64"))
    # Whole numbers: below 2**53 their sums in floating point are exact, in any order.
    x, y = amount.cast("float64"), margin.cast("float64")
    sums = {"aa": (x * x).sum()}
    if fit:
        sums |= {"am": (x * y).sum(), "mm": (y * y).sum()}
    unknown = {"unknown": lines.count(where=margin.isnull())}
    return {"a": sum_cents(amount), "m": sum_cents(margin)} | sums | unknown


def lacks_margins(shelves: ir.Table | None) -> bool:
    """Say whether some line has no margin although the data have a column for it.

    Parameters
    ----------
    shelves : Ibis table or None
        With the sums of :func:`margin_sums` by whatever group, if there are any.
    """
    if shelves is None or "unknown" not in shelves.columns:
        return False
    return bool((shelves.unknown.sum() > 0).to_pyarrow().as_py())


def complete_margins(
    lines: ir.Table, shelves: ir.Table | None = None, rates: MarginRates | None = None
) -> ir.IntegerValue | None:
    """Write the margin of each line in cents; a line without one gets that of its category.

    Parameters
    ----------
    lines : Ibis table
        With ``cents``.
    shelves : Ibis table, optional
        From :func:`crmml.features.behaviour.fill_shelves`, if at hand.
    rates : MarginRates, optional
        Stored; by default fitted on these lines.

    Returns
    -------
    expression or None
        None where the data have neither margin nor cost, or where no line says what a margin is.
    """
    margin = margin_cents(lines)
    if margin is None:
        return None
    parts = "category" in lines.columns
    if shelves is None:
        named = lines if parts else lines.mutate(category=ibis.null("string"))
        shelves = named.group_by("category").agg(**margin_sums(named))
    if not lacks_margins(shelves):
        return margin
    if rates is None:
        rates = _fit_categories(shelves.filter(shelves.m.notnull()))
    if rates is None:
        return None
    rate = _rate_of(lines.category, rates) if parts else ibis.literal(_millionths(rates.base))
    # Engines round halves each in its own way; they agree on what a floor is.
    guess = (lines.cents.cast("float64") * rate.cast("float64") / 1e6 + 0.5).floor()
    return margin.coalesce(guess.cast("int64"))


def customer_ratios(
    shelves: ir.Table | None, rates: MarginRates | None = None
) -> tuple[pd.DataFrame, MarginRates] | None:
    """Return the shrunk ratio of each customer, and the weight of the customer's own lines.

    Parameters
    ----------
    shelves : Ibis table or None
        From :func:`crmml.features.behaviour.fill_shelves`: sums by customer and category of the
        lines with a known margin; the others are left out.
    rates : MarginRates, optional
        Stored; by default fitted on these lines.

    Returns
    -------
    frame : DataFrame
        On ``customer_id``: ``expected_margin_ratio`` (at most 1) and ``margin_weight`` (0 to 1),
        to six decimals.
    rates : MarginRates
        What they rest on. None in place of both where no line has a margin, or no revenue is left.
    """
    if shelves is None or "m" not in shelves.columns:
        return None
    known = shelves.filter(shelves.m.notnull())
    fitted = rates is None
    if rates is None:
        rates = _fit_categories(known)
    if rates is None:
        return None
    frame = fetch(_sum_customers(known, rates, fit=fitted))
    sums = {name: frame[name].to_numpy(np.float64) for name in frame.columns[1:]}
    s, q, own = sums["s"], sums["q"], sums["m"] - sums["expected"]
    mix = sums["expected"] - rates.base * s
    if fitted:
        between, within = _variances_of(s, q, own, sums["own_residual"])
        mixed = _variances_of(s, q, mix, sums["mix_residual"])
        rates = MarginRates(rates.base, rates.categories, between, within, *mixed)
    own_added, own_weight = shrink(s, q, own, rates.between, rates.within)
    mix_added, mix_weight = shrink(s, q, mix, rates.mix_between, rates.mix_within)
    columns = {
        "expected_margin_ratio": np.minimum(rates.base + mix_added + own_added, 1.0).round(6),
        "margin_weight": np.maximum(own_weight, mix_weight).round(6),
    }
    index = pd.Index(frame["customer_id"], name="customer_id")
    return pd.DataFrame(columns, index=index), rates


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


def _fit_categories(shelves: ir.Table) -> MarginRates | None:
    """Fit the ratios of base and categories; None without revenue."""
    sums = shelves.group_by("category").agg(
        a=sum_cents(shelves.a).cast("float64"),
        m=sum_cents(shelves.m).cast("float64"),
        **{name: shelves[name].sum() for name in ("aa", "am", "mm")},
    )
    table = fetch(sums, by=("category",))
    found = [table[name].to_numpy(np.float64) for name in table.columns[1:]]
    if not found[0].sum() > 0:
        return None
    base = round(float(found[1].sum() / found[0].sum()), 6)
    return MarginRates(base, _category_rates(table["category"], base, *found))


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


def _sum_customers(shelves: ir.Table, rates: MarginRates, *, fit: bool) -> ir.Table:
    """Sum to one row per customer, in floating point cents.

    Sums of whole numbers below 2**53, so in any order the same: products of cents with each other
    and with ratios in millionths. Beyond that, and in the residuals, the last digits may depend on
    the order; what is made of them is rounded.
    """
    rate = _rate_of(shelves.category, rates).cast("float64")
    shelves = shelves.mutate(rate=rate, a=shelves.a.cast("float64"))
    sums = {
        "s": shelves.a.sum(),
        "q": shelves.aa.sum(),
        "m": sum_cents(shelves.m).cast("float64"),
        "expected": (shelves.a * shelves.rate).sum() / 1e6,
    }
    if fit:
        share = shelves.rate / 1e6
        # The sum of (m - share a)^2 over lines; what rounding leaves of equal terms is nothing.
        own = shelves.mm - 2 * share * shelves.am + share * share * shelves.aa
        own = (own > _ROUNDING * shelves.mm).ifelse(own, 0.0)
        mix = share - rates.base
        sums |= {"own_residual": own.sum(), "mix_residual": (mix * mix * shelves.aa).sum()}
    return shelves.group_by("customer_id").agg(**sums)


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
