"""How much each dimension of the experience moves whether customers stay, and what they spend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml._typing import FloatArray, Grain
from crmml.exceptions import ParameterError
from crmml.features.experience import DISSATISFIED, WINDOW, name_dimensions, read_zones
from crmml.features.labels import build_labelled
from crmml.features.periods import SATISFIED
from crmml.features.windows import Window
from crmml.metrics.bootstrap import hash_keys, keyed_uniforms, resampling_weights

if TYPE_CHECKING:
    from crmml.data.tables import Tables

_STEP = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
_OUTCOMES = ("retention", "spend")
LEAST = 30
"""Customers with a known zone below which nothing is estimated."""


def compute_experience_importance(
    tables: Tables,
    cutoff: str | pd.Timestamp,
    *,
    segments: pd.Series[str] | None = None,
    horizon: str = "13W",
    window: str = WINDOW,
    satisfied_from: float = SATISFIED,
    dissatisfied_to: float = DISSATISFIED,
    grain: Grain = "day",
    own_seller: str | None = None,
    n_boot: int = 200,
    seed: int = 1,
) -> pd.DataFrame:
    """Estimate what a positive instead of a negative experience goes with in the window after.

    The zone at the cutoff (-1, 0, 1) is set against retention (a purchase in the horizon) and
    spend by least squares, beside frequency, inactivity, age and mean spend, which tell good
    customers from others anyway. What is left is an association and no proof of an effect: only an
    experiment is that.

    Parameters
    ----------
    tables : Tables
        With ``transactions`` and ``interactions``.
    cutoff : str or Timestamp
        Experience before it, outcomes after it; the horizon must lie inside the data.
    segments : Series of str, optional
        Segment of each customer (a tier, say), on ``customer_id``; default: all in one, ``all``.
    horizon : str
        Length of the outcome window.
    window, satisfied_from, dissatisfied_to
        See :func:`crmml.features.experience.read_zones`.
    grain, own_seller
        See :func:`crmml.features.snapshot.build_snapshot`.
    n_boot : int
        Resamples of customers behind each interval, and permutations of the zones behind each
        probability; at least 20.
    seed : int
        Of both.

    Returns
    -------
    DataFrame
        On ``segment`` and ``dimension`` (``overall`` first): ``customers`` with a known zone,
        ``negative`` and ``positive`` of them, and for ``retention`` (share of customers) and
        ``spend`` (currency per customer) the difference from negative to positive, its 95 %
        interval ``*_lower`` and ``*_upper``, and ``*_by_chance``: how often zones that were dealt
        out at random gave as large a difference. ``*_beyond_chance`` allows for the number of
        rows: of those marked, one in ten at most is expected to be chance (Benjamini and Hochberg
        1995). All null or false with fewer than 30 customers, or of one zone only.

    Raises
    ------
    CensoredWindowError
        If the horizon ends after the data do.
    """
    if n_boot < 20:
        raise ParameterError("n_boot", "at least 20", n_boot)
    at = Window(cutoff, horizon)
    labelled = build_labelled(tables, at, grain=grain, behaviour=False, own_seller=own_seller)
    dimensions = name_dimensions(tables, at.cutoff)
    zones = read_zones(
        tables,
        at.cutoff,
        window=window,
        satisfied_from=satisfied_from,
        dissatisfied_to=dissatisfied_to,
        dimensions=dimensions,
    )
    ids = labelled.snapshot.customer_id
    zones = zones.reindex(ids, fill_value="unknown")
    if segments is None:
        segments = pd.Series("all", ids, dtype="str")
    of = segments.reindex(ids).to_numpy(dtype=object)
    before = _controls(labelled.snapshot.frame)
    outcomes = labelled.outcomes
    after = {
        "retention": 1.0 - outcomes["churned"].to_numpy(dtype=np.float64),
        "spend": outcomes["spend"].to_numpy(dtype=np.float64),
    }
    keys = hash_keys(ids)
    rows = []
    for segment in sorted(set(segments.dropna())):
        for dimension, column in {"overall": "experience_zone", **dimensions}.items():
            step = zones[column].map(_STEP).to_numpy(dtype=np.float64)
            mine = (of == segment) & np.isfinite(step)
            row: dict[str, Any] = {"segment": segment, "dimension": dimension}
            row |= {"customers": int(mine.sum()), "negative": int((step[mine] < 0).sum())}
            row["positive"] = int((step[mine] > 0).sum())
            x, z = before[mine], step[mine]
            for name in _OUTCOMES:
                found = _difference(after[name][mine], z, x, keys[mine], n_boot, seed)
                ends = ("", "_lower", "_upper", "_by_chance")
                row |= {f"{name}{end}": one for end, one in zip(ends, found, strict=True)}
            rows.append(row)
    table = pd.DataFrame(rows).set_index(["segment", "dimension"])
    chance = table[[f"{name}_by_chance" for name in _OUTCOMES]].to_numpy(dtype=np.float64)
    beyond = _beyond_chance(chance.ravel()).reshape(chance.shape)
    return table.assign(**{f"{n}_beyond_chance": beyond[:, k] for k, n in enumerate(_OUTCOMES)})


def _beyond_chance(chance: FloatArray, false_share: float = 0.1) -> npt.NDArray[np.bool_]:
    known = np.sort(chance[np.isfinite(chance)])
    bars = false_share * np.arange(1, len(known) + 1) / max(len(known), 1)
    met = known[known <= bars]
    return chance <= (met[-1] if len(met) else -1.0)


def _controls(frame: pd.DataFrame) -> FloatArray:
    """Return what tells good customers from others before the cutoff, with an intercept."""
    columns = [
        np.ones(len(frame)),
        np.log1p(frame["frequency"]),
        np.log1p(frame["T"] - frame["recency"]),
        np.log1p(frame["T"]),
        np.log1p(frame["monetary_value"].clip(lower=0.0)),
    ]
    return np.column_stack(columns)


def _difference(
    outcome: FloatArray, step: FloatArray, before: FloatArray, keys: Any, n_boot: int, seed: int
) -> tuple[float, float, float, float]:
    """Return the difference from negative to positive, its interval, and its chance."""
    if len(step) < LEAST or step.min() == step.max():
        return (np.nan,) * 4
    design = np.column_stack([before, step])
    products = (design[:, :, None] * design[:, None, :]).reshape(len(step), -1)
    size = design.shape[1]
    draws = []
    for first in range(0, n_boot, 20):
        weight = resampling_weights(keys, min(20, n_boot - first), seed, first)
        gram = (weight @ products).reshape(-1, size, size)
        moments = (weight @ (design * outcome[:, None]))[:, :, None]
        draws.append((np.linalg.pinv(gram, hermitian=True) @ moments)[:, -1, 0])
    low, high = np.quantile(np.concatenate(draws), [0.025, 0.975])
    # what the controls leave of both, so that zones can be dealt out again among alike customers
    left = [one - before @ np.linalg.lstsq(before, one, rcond=None)[0] for one in (outcome, step)]
    spread = float(left[1] @ left[1])
    if spread < 1e-9:
        return (np.nan,) * 4
    slope = float(left[0] @ left[1]) / spread
    more = 0
    for k in range(n_boot):
        dealt = left[1][np.argsort(keyed_uniforms(keys, seed, 2**32 + k), kind="stable")]
        more += abs(float(left[0] @ dealt)) / spread >= abs(slope) - 1e-12
    return 2 * slope, 2 * float(low), 2 * float(high), (more + 1) / (n_boot + 1)
