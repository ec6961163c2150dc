"""Shift of columns: whether the customers of two score sets of one age are alike, beyond chance.

A base grows older by itself, and with it every column that counts from the first purchase. So two
sets are compared at equal age: the earlier customers are weighted to the ages of the later ones.
What is said of a contract ages with the contract, and is compared at equal age of that. Columns
that rest on costs are compared only where both sets know the same costs.

Sources: Yurdakul and Naranjo (2020), *Statistical properties of the population stability index*,
Journal of Risk Model Validation 14(4), for the distribution of the PSI; Kish (1965), *Survey
Sampling*, for the size that weighted customers are worth.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.exceptions import DataError
from crmml.scorecard.realised import CONTRACT_AGE

SCORES = frozenset(
    (
        *("expected_purchases", "purchases_lower", "purchases_upper"),
        *("probability_no_purchase", "expected_spend", "probability_alive"),
        *("churn_probability", "residual_value", "clv", "clv_lower", "clv_upper"),
        *("net_clv", "net_clv_lower", "net_clv_upper", "upgrade_probability"),
        *("contract_churn_probability", "contract_value"),
        *("tier_by_value", "value_tier", "lifecycle_stage", "loyalty_class"),
    )
)
"""Columns that a model gives; a new version of it may move them."""

INPUTS = frozenset(
    (
        *("frequency", "recency", "monetary_value", "inactivity", "net_spend"),
        *("purchase_trend", "customer_profitability", "margin_to_date"),
        *("contract_plan", "contract_fee", "contract_complaints"),
        *("margin_ratio", "group", "contactable", "experience_zone", "taste_segment"),
    )
)
"""Columns that the data give."""

COSTED = frozenset(
    (
        *("net_clv", "net_clv_lower", "net_clv_upper", "customer_profitability"),
        *("value_tier", "upgrade_probability"),
    )
)
"""Columns that rest on costs: they jump where a cost becomes known that was not."""

UNKNOWN = "profit_unknown"
"""Column that names the costs that a score set does not know."""

_OF_CONTRACTS = "contract_"

LEAST = 100
"""Customers, as many as the weighted ones are worth, that each set needs."""

LEAST_SHARE = 0.25
"""Of the later customers, who must have earlier ones of their age: a few ages tell of no base."""

_BINS = 10
_FEW_IN_BAND = 5
_FEW_IN_BIN = 5.0
"""Expected customers that a bin needs, or chance is not as the tables say (Cochran 1954)."""


def compare_columns(earlier: pd.DataFrame, later: pd.DataFrame, *, bands: int) -> pd.DataFrame:
    """Measure how far each column of a later score set lies from an earlier one, at equal age.

    Parameters
    ----------
    earlier, later : DataFrame
        Scores, a row per customer. The age is ``T``; of contracts, and where there is no ``T``, it
        is ``contract_age``. Without an age all customers are of one, and contracts are not
        compared.
    bands : int
        Bands of equal width into which ages are put, at least 1.

    Returns
    -------
    DataFrame
        Indexed by ``column``: ``kind`` (input or score), ``psi`` (population stability index),
        ``psi_alarm`` (its 99 % quantile by chance, given both sizes), ``ks`` (largest distance of
        the distribution functions, numbers only), ``p_value`` (of both together) and
        ``customers`` (of the later set). No rows where the ages do not overlap enough.

    Raises
    ------
    DataError
        If the two share no column that could be compared.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sets = [pd.DataFrame({"frequency": rng.poisson(m, 2000)}) for m in (2.0, 2.0, 3.0)]
    >>> [bool(compare_columns(sets[0], s, bands=1)["p_value"].item() < 1e-4) for s in sets[1:]]
    [False, True]
    """
    shared = [n for n in later if n in earlier and (n in SCORES or n in INPUTS)]
    if not shared:
        raise DataError("two score sets share no column that can be compared", table="scores")
    rows, alike = {}, {}
    for name in shared:
        age = _age_of(name, earlier, later)
        if age not in alike:
            alike[age] = _at_equal_age(earlier, later, age, bands)
        weight, keep, share = alike[age]
        if share < LEAST_SHARE or min(_worth(weight), float(keep.sum())) < LEAST:
            continue
        found = _compare(earlier[name], later.loc[keep, name], weight)
        if found is not None:
            rows[name] = ("score" if name in SCORES else "input", *found, int(keep.sum()))
    columns = ["kind", "psi", "psi_alarm", "ks", "p_value", "customers"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("column")


def holm(p_values: Any) -> FloatArray:
    """Adjust p-values so that any false alarm at all among them is as rare as one alone.

    Parameters
    ----------
    p_values : array-like, shape (n,)
        A missing one stays missing, and is not counted.

    Returns
    -------
    ndarray, shape (n,)

    Notes
    -----
    Holm (1979). It holds however the tests depend on each other.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    raised = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return adjusted


def unknown_costs(scores: pd.DataFrame) -> frozenset[str]:
    """Return the names of the costs that a score set does not know, as its rows tell them."""
    if UNKNOWN not in scores:
        return frozenset()
    return frozenset(map(str, scores[UNKNOWN].dropna().unique()))


def _age_of(name: str, earlier: pd.DataFrame, later: pd.DataFrame) -> str | None:
    """Return the column of the age at which a column is compared; empty without one."""
    of_contract = name.startswith(_OF_CONTRACTS)
    for age in (CONTRACT_AGE,) if of_contract else ("T", CONTRACT_AGE):
        if age in earlier and age in later:
            return age
    return None if of_contract else ""


def _at_equal_age(
    earlier: pd.DataFrame, later: pd.DataFrame, age: str | None, n_bands: int
) -> tuple[FloatArray, BoolArray, float]:
    """Weight the earlier customers to the ages of the later ones.

    Returns the weights, which later customers have earlier ones of an age, and the share of these
    among all later ones whose age is known. Without an age (None) nobody is alike.
    """
    if not age:
        all_alike = float(age == "")
        whole = np.ones(len(later), dtype=bool)
        return np.full(len(earlier), all_alike), whole & bool(all_alike), all_alike
    ages = [f[age].to_numpy(dtype=np.float64, na_value=np.nan) for f in (earlier, later)]
    known = [~np.isnan(a) for a in ages]
    oldest = max(
        (float(a[k].max()) for a, k in zip(ages, known, strict=True) if k.any()), default=0.0
    )
    width = oldest / n_bands if oldest > 0 else 1.0
    # who has no age stands in a band of its own, which is dropped
    bands = [np.where(k, np.floor(np.where(k, a, 0.0) / width), n_bands + 1).astype(np.int64)
             for a, k in zip(ages, known, strict=True)]  # fmt: skip
    old, new = (np.bincount(b, minlength=n_bands + 2) for b in bands)
    both = (old >= _FEW_IN_BAND) & (new >= _FEW_IN_BAND)
    both[n_bands + 1] = False
    shared = np.flatnonzero(both)
    # a band at the end of the common ages is half full on one side, so its ages are not equal
    both[shared[-1:]] = False
    both[shared[:1][shared[:1] > 0]] = False
    share = np.divide(new, old, out=np.zeros(n_bands + 2), where=both)
    keep = both[bands[1]]
    return share[bands[0]], keep, float(keep.sum()) / max(int(known[1].sum()), 1)


def _worth(weight: FloatArray) -> float:
    """Return how many customers of equal weight tell as much (Kish)."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def _compare(
    earlier: pd.Series[Any], later: pd.Series[Any], weight: FloatArray
) -> tuple[float, float, float, float] | None:
    """Return PSI, its level, KS and p-value; None of a column with one value in both."""
    n, m = _worth(weight), float(len(later))
    number = pd.api.types.is_numeric_dtype(earlier) and not pd.api.types.is_bool_dtype(earlier)
    old, new, n_bins = (_number_bins if number else _text_bins)(earlier, later, weight)
    if n_bins < 2:
        return None
    p = np.bincount(old, weight, n_bins) * n / weight.sum()
    q = np.bincount(new, minlength=n_bins).astype(np.float64)
    p, q = _without_rare(p, q)
    if len(p) < 2:
        return None
    # half a customer in each bin, so that an empty one has a logarithm
    p, q = ((side + 0.5) / (side + 0.5).sum() for side in (p, q))
    psi = float(((q - p) * np.log(q / p)).sum())
    by_chance = stats.chi2(len(p) - 1)
    scale = 1.0 / n + 1.0 / m
    values = [float(by_chance.sf(psi / scale))]
    ks = float("nan")
    if number:
        ks = _distance(earlier, later, weight)
        values.append(float(stats.kstwobign.sf(ks / sqrt(scale))))
    return psi, float(by_chance.isf(0.01)) * scale, ks, min(1.0, len(values) * min(values))


def _without_rare(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Put bins together in which either side expects few."""
    expected = (p + q) * min(p.sum(), q.sum()) / (p.sum() + q.sum())
    order = np.argsort(expected, kind="stable")
    n = int((expected < _FEW_IN_BIN).sum())
    if 0 < n < len(p) and expected[order[:n]].sum() < _FEW_IN_BIN:
        n += 1  # together they are still few: the next rarest joins them
    if n < 2:
        return p, q
    rare, rest = order[:n], np.sort(order[n:])
    return np.r_[p[rest], p[rare].sum()], np.r_[q[rest], q[rare].sum()]


def _number_bins(
    earlier: pd.Series[Any], later: pd.Series[Any], weight: FloatArray
) -> tuple[IntArray, IntArray, int]:
    """Bin by tenths of all values together; what is missing is a bin of its own."""
    sides = [s.to_numpy(dtype=np.float64, na_value=np.nan) for s in (earlier, later)]
    pooled = np.concatenate([sides[0][weight > 0], sides[1]])
    pooled = pooled[~np.isnan(pooled)]
    inner = np.linspace(0, 1, _BINS + 1)[1:-1]
    edges = np.unique(np.quantile(pooled, inner)) if len(pooled) else np.empty(0)
    placed = [
        np.where(np.isnan(s), len(edges) + 1, np.searchsorted(edges, s, side="left")) for s in sides
    ]
    return _together(placed[0], placed[1], weight)


def _text_bins(
    earlier: pd.Series[Any], later: pd.Series[Any], weight: FloatArray
) -> tuple[IntArray, IntArray, int]:
    """Bin by the most frequent values; the rest, and what is missing, are bins of their own."""
    sides = [s.astype("object").where(s.notna(), "(none)").astype(str) for s in (earlier, later)]
    names = pd.concat(sides).value_counts().sort_index().nlargest(_BINS, keep="first").index
    placed = [np.asarray(names.get_indexer(pd.Index(s))) for s in sides]
    return _together(placed[0] + 1, placed[1] + 1, weight)


def _together(old: IntArray, new: IntArray, weight: FloatArray) -> tuple[IntArray, IntArray, int]:
    """Give the bins that hold anybody numbers from 0 on."""
    used = np.unique(np.concatenate([old[weight > 0], new]))
    # customers without weight may lie in no bin; any will do
    first = np.minimum(np.searchsorted(used, old), len(used) - 1)
    return first.astype(np.int64), np.searchsorted(used, new).astype(np.int64), len(used)


def _distance(earlier: pd.Series[Any], later: pd.Series[Any], weight: FloatArray) -> float:
    """Return the largest distance of the two distribution functions (Kolmogorov, Smirnov)."""
    a, b = (s.to_numpy(dtype=np.float64, na_value=np.nan) for s in (earlier, later))
    known = ~np.isnan(a) & (weight > 0)
    b = np.sort(b[~np.isnan(b)])
    if not known.any() or not len(b):
        return 0.0
    order = np.argsort(a[known], kind="stable")
    a, w = a[known][order], np.r_[0.0, np.cumsum(weight[known][order])]
    at = np.concatenate([a, b])
    left = w[np.searchsorted(a, at, side="right")] / w[-1]
    return float(np.abs(left - np.searchsorted(b, at, side="right") / len(b)).max())
