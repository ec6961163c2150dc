"""Columns of the user's own that may know who churned, each with the evidence; an AUC too good."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.data.tables import Tables
from crmml.exceptions import DataError, FutureLeakError, LeakWarning
from crmml.features.contracts import attributes_of
from crmml.features.labels import LabelledSnapshot
from crmml.features.selection import choose_features, feature_matrix
from crmml.metrics.classification import auc
from crmml.metrics.ranking import Order
from crmml.models.churn.outside import posterior_mode
from crmml.models.forecast.baselines import labels
from crmml.models.labelled.cells import as_text, find_form, read_cells
from crmml.models.labelled.leaks import LEAST, Finding, find_leaks

FEW_COLUMNS, TOO_GOOD, HIGH = 3, 0.08, 0.90
"""Best columns compared with; gain in AUC over them, and AUC, from which on it is a finding. Near 1
there is no room for such a gain: there a halved distance to 1 is a finding as well."""

_MOVES, _MISSING, _LATER = 0.5, 0.5, 0.01
"""Partial correlation with what came after the cutoff; share of missing cells; share of later
dates."""

_USELESS = ("id", "constant", "missing")


def find_churn_leaks(columns: pd.DataFrame, labelled: LabelledSnapshot) -> list[Finding]:
    """Look at columns of the user's own, each alone, for knowledge of who churned.

    Parameters
    ----------
    columns : DataFrame
        One row per customer of ``labelled``, in its order; any columns.
    labelled : LabelledSnapshot
        A window of the past. Its history says what a column may know.

    Returns
    -------
    list of Finding
        Of the kinds of :func:`crmml.models.labelled.leaks.find_leaks`, and ``moves`` (the column
        follows what happened after the cutoff, or holds later dates) and ``missing`` (in more than
        half of the cells).

    Examples
    --------
    >>> from crmml.data.datasets import load_cdnow
    >>> from crmml.features.labels import build_labelled
    >>> from crmml.data.tables import open_tables
    >>> from crmml.features.windows import Window
    >>> part = build_labelled(open_tables(load_cdnow(sample=True)), Window("1998-01-01", "13W"))
    >>> orders = part.snapshot.frame["frequency"] + part.outcomes["purchases"].to_numpy()
    >>> for found in find_churn_leaks(pd.DataFrame({"orders": orders}), part):
    ...     print(found.kind, found.column)
    moves orders
    """
    y = labels(labelled)
    texts = pd.DataFrame({str(name): as_text(columns[name]) for name in columns})
    known = find_leaks(texts, y)
    named = {found.column for found in known}
    rest = [name for name in sorted(texts.columns) if name not in named]
    more = [_look(name, texts[name], labelled) for name in rest]
    found = [*known, *(one for one in more if one is not None)]
    return sorted(found, key=lambda one: one.column)


def find_contract_leaks(tables: Tables) -> list[Finding]:
    """Look at the customers table for columns that know whose contract has ended.

    Such columns have no date: who ended long ago bears what was written at the end, so they are
    compared with who is under contract where the data end.

    Parameters
    ----------
    tables : Tables
        With ``subscriptions``; without ``customers`` nothing is found.

    Returns
    -------
    list of Finding
        Of the kinds of :func:`crmml.models.labelled.leaks.find_leaks`, but no ``id`` and no
        ``constant``: a hazard learns nothing from those.
    """
    customers = tables.get("customers")
    names = [] if customers is None else attributes_of(customers)
    if customers is None or not names:
        return []
    contracts = tables["subscriptions"]
    by_customer = contracts.group_by("customer_id").agg(active=contracts.ended_at.isnull().any())
    rows = customers.select("customer_id", *names).inner_join(by_customer, "customer_id")
    frame = rows.order_by("customer_id").to_pandas()
    texts = pd.DataFrame({name: as_text(frame[name]) for name in names})
    ended = (~frame["active"].astype(bool)).to_numpy(dtype=np.float64)
    if not 0 < ended.sum() < len(ended):
        return []
    return [one for one in find_leaks(texts, ended) if one.kind not in _USELESS]


def refuse_leaks(columns: pd.DataFrame, labelled: LabelledSnapshot) -> None:
    """Refuse covariates that know who churned, or say nothing, by name and evidence.

    Raises
    ------
    FutureLeakError
        If a column tells, copies or names the outcome, or follows what came after the cutoff.
    DataError
        If a column names customers, never varies, or is mostly missing.

    Warns
    -----
    LeakWarning
        Of a column that may be somebody's forecast.
    """
    for found in find_churn_leaks(columns, labelled):
        said = f"column {found.column!r} {found.evidence}"
        if not found.left_out:
            warnings.warn(f"{said}: make sure it was known before", LeakWarning, stacklevel=3)
        elif found.kind in _USELESS:
            raise DataError(f"{said}; leave it out", table="snapshot", column=found.column)
        else:
            raise FutureLeakError(f"{said}: it must know the outcome window; leave it out")


def _look(name: str, text: pd.Series[str], labelled: LabelledSnapshot) -> Finding | None:
    absent = float(text.isna().mean())
    if absent > _MISSING:
        return Finding(name, "missing", f"is missing for {absent:.0%} of {len(text):,} customers")
    form = find_form(text)
    if form is None:
        return None
    values = read_cells(text, form)
    cutoff = labelled.window.cutoff
    if form.startswith("date"):
        day = (cutoff - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        later = float((values[np.isfinite(values)] >= day).mean())
        if later >= _LATER:
            return Finding(
                name, "moves", f"holds dates after the cutoff {cutoff.date()} ({later:.0%} of them)"
            )
    link = _follows(values, labelled)
    if abs(link) < _MOVES:
        return None
    return Finding(
        name,
        "moves",
        f"follows what was bought after the cutoff {cutoff.date()} (correlation {link:+.2f} with "
        "the purchases of the window, given all that was bought before)",
    )


def _follows(values: FloatArray, labelled: LabelledSnapshot) -> float:
    """Return the rank correlation of a column with later purchases, given the history."""
    frame, known = labelled.snapshot.frame, np.isfinite(values)
    bought = labelled.outcomes["purchases"].to_numpy(dtype=np.float64)
    if known.sum() < 2 * LEAST or np.ptp(values[known]) == 0 or np.ptp(bought[known]) == 0:
        return 0.0
    past = [frame[name].to_numpy(dtype=np.float64)[known] for name in ("frequency", "recency", "T")]
    ranks = [Order.of(one).ranks() for one in past]
    X = np.column_stack([np.ones(int(known.sum())), *past, *ranks])
    sides = []
    for side in (values[known], bought[known]):
        rank = Order.of(-side).ranks()
        sides.append(rank - X @ np.linalg.lstsq(X, rank, rcond=None)[0])
    if min(np.std(side) for side in sides) < 1e-9 * len(X):
        return 0.0
    return float(np.corrcoef(*sides)[0, 1])


def few_columns_auc(past: LabelledSnapshot, test: LabelledSnapshot) -> float:
    """Return the AUC in a later window of a logistic regression on the best three features.

    Parameters
    ----------
    past, test : LabelledSnapshot
        To learn from, candidates alone, and to judge on.
    """
    names = choose_features([past, test])
    X, later = feature_matrix(past.snapshot, names), feature_matrix(test.snapshot, names)
    y = labels(past)
    skill = [abs(float(auc(y, _filled(X[:, i]))) - 0.5) for i in range(len(names))]
    best = np.argsort(-np.nan_to_num(np.array(skill)), kind="stable")[:FEW_COLUMNS]
    columns = [_place(X[:, i], X[:, i]) for i in best]
    again = [_place(X[:, i], later[:, i]) for i in best]
    design = np.column_stack([np.ones(len(y)), *columns, *(one**2 for one in columns)])
    ahead = np.column_stack([np.ones(len(later)), *again, *(one**2 for one in again)])
    deviations = np.full(design.shape[1], 3.0)
    found = posterior_mode(design, y, np.zeros(design.shape[1]), deviations)
    return float(auc(labels(test), ahead @ found))


def too_good(learned: float, few: float) -> str:
    """Say it where an AUC is far above what the best few columns give; empty where it is not.

    Examples
    --------
    >>> too_good(0.97, 0.81)[:56]
    'AUC 0.970 with all columns, 0.810 with the best three: m'
    >>> too_good(0.85, 0.81), too_good(0.99, 0.93) == ""
    ('', False)
    """
    halved = 1.0 - learned <= (1.0 - few) / 2.0
    if learned < HIGH or (learned < few + TOO_GOOD and not halved):
        return ""
    return (
        f"AUC {learned:.3f} with all columns, {few:.3f} with the best three: make sure that none "
        "of them knows the outcome window"
    )


def _filled(values: FloatArray) -> FloatArray:
    return np.where(np.isnan(values), -np.inf, values)


def _place(known: FloatArray, values: FloatArray) -> FloatArray:
    """Return where values stand among those known, -1 to 1."""
    ordered = np.sort(_filled(known))
    low, high = (np.searchsorted(ordered, _filled(values), side=s) for s in ("left", "right"))
    return np.asarray((low + high) / len(known) - 1.0)
