"""Columns of a ready-made table that may know the outcome, each with the evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.metrics.classification import auc
from crmml.models.churn.leak import LEAK_AUC
from crmml.models.labelled.cells import find_form, read_cells

LEAST = 20
"""Customers of either outcome below which figures prove nothing."""
COPIES, ONE_SIDED = 0.9, 0.2
"""Correlation of a copy of the outcome; share of one outcome where the other never varies."""

_OUTCOME = re.compile(r"churn|attrition|outcome|(?<![a-z])(exited|cancell?ed|terminated)", re.I)
_SCORE = re.compile(r"score|probab|propens|predict|likelihood|(?<![a-z])risk", re.I)
_ID = re.compile(r"(?<![a-z])(id|uuid|guid|nr|no|number|phone|mail|name|surname)(?![a-z])", re.I)


@dataclass(frozen=True)
class Finding:
    """A column under suspicion.

    Attributes
    ----------
    column : str
    kind : str
        ``separation``, ``copy``, ``one_sided``, ``name``, ``vendor_score``, ``id`` or ``constant``.
    evidence : str
        In words, with figures.
    left_out : bool
        Whether the models do not see it.
    """

    column: str
    kind: str
    evidence: str
    left_out: bool = True

    def __str__(self) -> str:
        """Say it in a sentence."""
        what = "is left out" if self.left_out else "is kept: make sure it was known beforehand"
        return f"column {self.column!r} {self.evidence}; it {what}"


def find_leaks(texts: pd.DataFrame, y: FloatArray) -> list[Finding]:
    """Look at each column alone: whether it tells, copies or names the outcome, or names customers.

    Parameters
    ----------
    texts : DataFrame
        Cells as :func:`crmml.models.labelled.cells.as_text` gives them.
    y : ndarray of 0 and 1, shape (n,)

    Examples
    --------
    >>> y = np.repeat([0.0, 1.0], 30)
    >>> told = pd.DataFrame({"reason": [None] * 30 + ["price"] * 30})
    >>> [found.kind for found in find_leaks(told, y)]
    ['separation']
    """
    found = (_look(name, texts[name], y) for name in sorted(texts.columns))
    return [one for one in found if one is not None]


def _look(name: str, text: pd.Series[Any], y: FloatArray) -> Finding | None:
    distinct, filled = text.nunique(), int(text.notna().sum())
    if not filled or (distinct == 1 and filled == len(text)):
        return Finding(name, "constant", "says nothing: it is the same for all customers")
    words = name.replace("_", " ")
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words)
    form = find_form(text)
    many = distinct > 0.95 * filled and filled > 100
    named_id = _ID.search(spaced) is not None
    if many and ((form is None and filled) or (named_id and not _has_fractions(text, form))):
        return Finding(name, "id", f"names customers: {distinct:,} values of {filled:,} differ")
    if _runs_on(text, form, filled, distinct):
        return Finding(name, "id", f"counts the rows: {filled:,} whole numbers without a gap")
    skill = _skill(text, form, y)
    if min(y.sum(), len(y) - y.sum()) >= LEAST:
        evidence = _evidence(text, y, skill)
        if evidence is not None:
            return Finding(name, *evidence)
    if _OUTCOME.search(spaced):
        return Finding(name, "name", f"has the name of an outcome (AUC {skill:.3f} alone)")
    if _SCORE.search(spaced) and skill >= 0.7:
        why = f"may be somebody's forecast of the outcome (AUC {skill:.3f} alone)"
        return Finding(name, "vendor_score", why, left_out=False)
    return None


def _evidence(text: pd.Series[Any], y: FloatArray, skill: float) -> tuple[str, str] | None:
    if skill >= LEAK_AUC:
        return "separation", f"tells the outcome by itself (AUC {skill:.3f} on {len(y):,} rows)"
    keyed = text.fillna("")
    copied = _copy(keyed, y)
    if copied >= COPIES:
        return "copy", f"is nearly a copy of the outcome (correlation {copied:.2f})"
    for side, other, label in ((0.0, 1.0, "without"), (1.0, 0.0, "with")):
        inside = keyed[y == side]
        if inside.nunique() == 1:
            share = float((keyed[y == other] != inside.iloc[0]).mean())
            if share >= ONE_SIDED:
                return "one_sided", (
                    f"never varies among the {len(inside):,} customers {label} the outcome, and "
                    f"differs for {share:.0%} of the others"
                )
    return None


def _copy(keyed: pd.Series[Any], y: FloatArray) -> float:
    if keyed.nunique() != 2:
        return 0.0
    one = (keyed == keyed.iloc[0]).to_numpy(dtype=np.float64)
    return float(abs(np.corrcoef(one, y)[0, 1]))


def _has_fractions(text: pd.Series[Any], form: Any) -> bool:
    values = read_cells(text, form) if form is not None else np.array([0.5])
    known = values[np.isfinite(values)]
    return bool((known % 1 != 0).any())


def _runs_on(text: pd.Series[Any], form: Any, filled: int, distinct: int) -> bool:
    if form != "number" or filled <= 100 or distinct < filled or _has_fractions(text, form):
        return False
    values = read_cells(text, form)
    return bool(np.nanmax(values) - np.nanmin(values) < 1.02 * filled)


def _skill(text: pd.Series[Any], form: Any, y: FloatArray) -> float:
    """AUC of a column alone in the better direction; words by the shares of the other rows."""
    missing = text.isna().to_numpy().astype(np.float64)
    scores: list[FloatArray] = [missing]
    if form is not None:
        values = read_cells(text, form)
        scores.append(np.where(np.isnan(values), -np.inf, values))
    else:
        keyed = text.fillna("")
        sums = pd.Series(y, index=text.index).groupby(keyed).transform("sum").to_numpy()
        sizes = keyed.groupby(keyed).transform("size").to_numpy()
        # without the row itself, and pulled to the middle, so that rare words show no skill
        scores.append((sums - y + 10 * y.mean()) / (sizes + 9))
    found = [float(auc(y, score)) for score in scores]
    return max(max(one, 1 - one) for one in found if np.isfinite(one))


def by_kind(findings: list[Finding]) -> Mapping[str, list[str]]:
    """Return the columns of each kind of finding."""
    kinds = sorted({one.kind for one in findings})
    return {kind: [one.column for one in findings if one.kind == kind] for kind in kinds}
