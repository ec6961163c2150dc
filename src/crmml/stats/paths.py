"""Simulated purchases by period: one future of each customer, cut at several moments."""

from __future__ import annotations

from typing import Any

import numpy as np

from crmml._typing import FloatArray


def draw_path(process: Any, params: Any, ends: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw the purchases of active customers in each of several periods that follow each other.

    The sum over the periods has the distribution that ``process.draw`` has until the last end.

    Parameters
    ----------
    process : PurchaseProcess
    params : NamedTuple
        Of the future of active customers, fields of shape (n,) or numbers.
    ends : ndarray, shape (n, n_periods)
        Ends of the periods on the clock of the process, rising; the first begins at 0.
    rng : Generator

    Returns
    -------
    ndarray, shape (n, n_periods)
    """
    n = len(ends)
    fields = {
        name: np.broadcast_to(np.asarray(value, dtype=np.float64), n)
        for name, value in params._asdict().items()
    }
    if "gamma" in fields:
        return _by_opportunity(fields, ends, rng)
    k = int(getattr(process, "k", 1))
    stage: Any = np.zeros(n)
    if k > 1:
        _, stages = process._silence(fields["r"], fields["silence"])
        stage = (rng.random(n) > np.cumsum(stages, axis=0)[:-1]).sum(axis=0)
    rate = rng.gamma(fields["r"] + stage) / fields["alpha"]
    reached = ends
    if "s" in fields:
        with np.errstate(divide="ignore"):
            lifetime = rng.exponential(size=n) * fields["beta"] / rng.gamma(fields["s"])
        reached = np.minimum(ends, lifetime[:, None])
    lengths = np.diff(reached, axis=1, prepend=0.0)
    ticks = np.cumsum(rng.poisson(rate[:, None] * lengths), axis=1)
    due = (ticks + np.asarray(stage)[:, None]) // k
    if "a" in fields:
        # The n-th purchase is the last one where the customer leaves at it.
        p = np.clip(rng.beta(fields["a"], fields["b"]), 1e-300, 1 - 1e-16)
        last = np.maximum(np.ceil(np.log(rng.uniform(size=n)) / np.log1p(-p)), 1.0)
        due = np.minimum(due, last[:, None])
    return np.asarray(np.diff(due, axis=1, prepend=0.0), dtype=np.float64)


def _by_opportunity(
    fields: dict[str, FloatArray], ends: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Draw purchases at opportunities, of which each may be the customer's last."""
    buys = rng.beta(fields["alpha"], fields["beta"])
    leaves = np.clip(rng.beta(fields["gamma"], fields["delta"]), 1e-300, 1 - 1e-16)
    stays = np.floor(np.log(rng.uniform(size=len(ends))) / np.log1p(-leaves))
    reached = np.floor(np.minimum(ends, stays[:, None]))
    seen = np.diff(reached, axis=1, prepend=0.0).astype(np.int64)
    return np.asarray(rng.binomial(seen, buys[:, None]), dtype=np.float64)
