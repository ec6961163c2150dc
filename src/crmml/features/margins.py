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
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import ibis
import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.features.purchases import fetch, margin_cents, sum_cents

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


@contextmanager
def margin_cells(lines: ir.Table) -> Iterator[ir.Table | None]:
    """Gather margins by customer and category, for as long as they are needed.

    Parameters
    ----------
    lines : Ibis table
        Own lines before the cutoff, with ``cents``.

    Yields
    ------
    Ibis table or None
        ``customer_id``, ``category`` (null without one) and the sums over the lines of a known
        margin: ``a`` of the amounts in cents, ``m`` of the margins, ``aa``, ``am``, ``mm`` of the
        products. None where no line has a margin.
    """
    from crmml.data.engine import kept

    margin = margin_cents(lines)
    if margin is None:
        yield None
        return
    named = lines.category if "category" in lines.columns else ibis.null("string")
    known = lines.select("customer_id", "cents", category=named, margin=margin)
    known = known.filter(known.margin.notnull())
    a, m = known.cents, known.margin
    wide_a, wide_m = a.cast("decimal(18,0)"), m.cast("decimal(18,0)")
    cells = known.group_by("customer_id", "category").agg(
        a=sum_cents(a),
        m=sum_cents(m),
        aa=(wide_a * wide_a).sum(),
        am=(wide_a * wide_m).sum(),
        mm=(wide_m * wide_m).sum(),
    )
    with kept(cells) as stored:
        yield stored


def fit_rates(cells: ir.Table) -> MarginRates | None:
    """Fit the ratios of base and categories and the two variances; None without revenue.

    Parameters
    ----------
    cells : Ibis table
        From :func:`margin_cells`.
    """
    sums = cells.group_by("category").agg(
        **{name: cells[name].sum().cast("float64") for name in ("a", "m", "aa", "am", "mm")}
    )
    table = fetch(sums, by=("category",))
    a, m, aa, am, mm = (table[n].to_numpy(np.float64) for n in ("a", "m", "aa", "am", "mm"))
    if not a.sum() > 0:
        return None
    base = round(float(m.sum() / a.sum()), 6)
    rates = MarginRates(base, _category_rates(table["category"], base, a, m, aa, am, mm))
    found = _sum_customers(cells, rates)
    moments = found.agg(**_moments("own"), **_moments("mix")).to_pyarrow().to_pylist()[0]
    own, mix = (
        find_variances(*(float(moments[f"{what}_{i}"] or 0.0) for i in range(4)))
        for what in ("own", "mix")
    )
    return MarginRates(rates.base, rates.categories, *own, *mix)


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


def _moments(what: str) -> dict[str, Any]:
    """Write the sums that :func:`find_variances` needs, as expressions of the engine."""
    c = ibis._
    q, surplus, residual = c.q.nullif(0.0), c[f"{what}_surplus"], c[f"{what}_residual"]
    return {
        f"{what}_0": c.q.count(where=c.q > 0),
        f"{what}_1": (c.s * c.s / q).sum(),
        f"{what}_2": (surplus * surplus / q).sum(),
        f"{what}_3": (residual / q).sum(),
    }


def _sum_customers(cells: ir.Table, rates: MarginRates) -> ir.Table:
    """Sum cells to one row per customer, in floating point cents."""
    # Ratios in millionths: products of whole numbers are summed exactly, in any order.
    rate: Any = ibis.literal(_millionths(rates.base), type="int64")
    if rates.categories:
        pairs = rates.categories.items()
        rate = cells.category.cases(
            *((name, ibis.literal(_millionths(r), type="int64")) for name, r in pairs), else_=rate
        )
    plain, rate = rate.cast("float64") / 1e6, rate.cast("decimal(18,0)")
    aa, am, mm = (cells[name].cast("float64") for name in ("aa", "am", "mm"))
    sums = cells.group_by("customer_id").agg(
        s=cells.a.sum().cast("float64"),
        q=cells.aa.sum().cast("float64"),
        m=cells.m.sum().cast("float64"),
        expected=(cells.a.cast("decimal(18,0)") * rate).sum().cast("float64") / 1e6,
        own_residual=(mm - 2.0 * plain * am + plain * plain * aa).sum(),
        mix_residual=((plain - rates.base) * (plain - rates.base) * aa).sum(),
    )
    return sums.mutate(
        own_surplus=sums.m - sums.expected, mix_surplus=sums.expected - sums.s * rates.base
    )


def _millionths(ratio: float) -> int:
    return round(ratio * 1e6)


def customer_ratios(cells: ir.Table, rates: MarginRates) -> pd.DataFrame:
    """Return the shrunk ratio of each customer, and the weight of the customer's own lines.

    Parameters
    ----------
    cells : Ibis table
        From :func:`margin_cells`.
    rates : MarginRates
        Fitted on these customers or stored.

    Returns
    -------
    DataFrame
        On ``customer_id``: ``expected_margin_ratio`` (at most 1) and ``margin_weight`` (0 to 1).
    """
    sums = _sum_customers(cells, rates)
    frame = fetch(sums.select("customer_id", "s", "q", "own_surplus", "mix_surplus"))
    s, q, own, mix = (frame[n].to_numpy(np.float64) for n in frame.columns[1:])
    own_added, own_weight = shrink(s, q, own, rates.between, rates.within)
    mix_added, mix_weight = shrink(s, q, mix, rates.mix_between, rates.mix_within)
    columns = {
        "expected_margin_ratio": np.minimum(rates.base + mix_added + own_added, 1.0),
        "margin_weight": np.maximum(own_weight, mix_weight),
    }
    return pd.DataFrame(columns, index=pd.Index(frame["customer_id"], name="customer_id"))
