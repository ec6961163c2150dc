"""P(the lifetime value scored one horizon later reaches a threshold), by its distribution.

One horizon on, a customer has bought *n* times more, last at a moment *u*, and spent *Z*. What the
model will then say is computed as it will be: from the history ``x + n``, ``u``, ``T + h``, and the
spend so far. Without a purchase (whose probability is known exactly) it is one number. Otherwise
*n* and *u* are simulated, given that there is a purchase, on 16 points of a low-discrepancy
sequence, the same for every customer, so that nobody's probability depends on who else is there;
and P(Z is enough) is exact: over ``gamma + x m``, *Z* is beta-prime.

What cannot be foreseen stands still: the margin ratio, the factor of the cost to serve, covariates
and features that a correction reads.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import pdtr
from scipy.stats import qmc

from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import CrmmlError
from crmml.features.snapshot import Distinct, Snapshot
from crmml.features.windows import length_of
from crmml.models.purchase.distribution import PredictiveDistribution
from crmml.models.value.cost_to_serve import CostToServe, time_alive
from crmml.models.value.lifetime_value import LifetimeValueModel, ValueAhead
from crmml.stats.beta_tails import beta_tails
from crmml.stats.discounting import in_units
from crmml.stats.inverses import (
    beta_quantiles,
    gamma_quantiles,
    order_statistics,
    poisson_quantiles,
)

N_DRAWS = 16
_ROWS = 20_000
_BLOCK = 4_000
_TINY = 1e-12
_CORE = ("customer_id", "frequency", "recency", "T", "monetary_value")
"""Columns that every purchase process reads."""


@cache
def _points() -> FloatArray:
    """Return the points on which futures are simulated, shape (6, N_DRAWS)."""
    sequence = qmc.Sobol(6, scramble=True, rng=np.random.default_rng(20))
    return np.clip(sequence.random(N_DRAWS).T, 1e-9, 1 - 1e-9)


def upgrade_probability(
    ahead: ValueAhead,
    horizon: str | Duration,
    threshold: pd.Series[float],
    costs: CostToServe | None = None,
) -> pd.Series[float]:
    """P(net lifetime value scored ``horizon`` later is at or above a threshold of each customer).

    Parameters
    ----------
    ahead : ValueAhead
        Over the horizon of lifetime value.
    horizon : str or Duration
        How much later the customer is scored again.
    threshold : Series
        In currency, keyed by customer; null where there is nothing to reach.
    costs : CostToServe, optional
        Taken from the lifetime value, as in the scores.

    Returns
    -------
    Series
        Between 0 and 1; null where the threshold is.

    Raises
    ------
    CrmmlError
        If the process of the model cannot be simulated so (BG/BB).
    """
    model, snapshot = ahead.model, ahead.snapshot
    near = model._look_ahead(snapshot, horizon)
    if "gamma" in near.futures[0]._fields:
        raise CrmmlError("the chance of an upgrade is not known of a process of opportunities")
    goal = np.asarray(threshold.reindex(snapshot.customer_id), dtype=np.float64)
    factors: FloatArray = np.ones(len(snapshot))
    if costs is not None:
        factors = costs.factors(snapshot, ahead.purchases.probability_alive())
    p_buys: FloatArray = near.chances()["buys"].to_numpy(np.float64)
    # Customers with one history share its simulated futures; their spend differs only in scale.
    first = np.empty(near.alive.shape[1], dtype=np.int64)
    first[near.rows] = np.arange(len(near.rows))
    asked = np.flatnonzero(~np.isnan(goal))
    place = asked[np.argsort(near.rows[asked], kind="stable")]
    starts = np.searchsorted(near.rows[place], np.arange(0, len(first) + _ROWS, _ROWS))
    found = np.full(len(snapshot), np.nan)
    for low, high in pairwise(starts):
        mine = place[low:high]
        rows, row = np.unique(near.rows[mine], return_inverse=True)
        if len(rows):
            again = _Later.of(ahead, near, horizon, rows, first[rows], costs)
            for begin in range(0, len(mine), _BLOCK):  # blocks stay in the cache
                some = mine[begin : begin + _BLOCK]
                found[some] = again.reached(
                    row[begin : begin + _BLOCK], some, goal[some], factors[some], p_buys[some]
                )
    values = np.where(np.isnan(goal), np.nan, np.clip(found, 0.0, 1.0))
    return pd.Series(values, index=snapshot.customer_id, name="upgrade_probability")


class _Later:
    """What the model will say of some distinct histories one horizon later.

    Histories that differ in the time of the last purchase alone share what they will be after the
    next one; they are of one *kind*.
    """

    def __init__(
        self, ahead: ValueAhead, kind: IntArray, n: FloatArray, weight: FloatArray,
        still: _Worth, after: _Worth,
    ) -> None:  # fmt: skip
        self._ahead, self._kind, self._n, self._weight = ahead, kind, n, weight
        self._still, self._after = still, after

    @classmethod
    def of(
        cls,
        ahead: ValueAhead,
        near: PredictiveDistribution,
        horizon: str | Duration,
        rows: IntArray,
        first: IntArray,
        costs: CostToServe | None,
    ) -> _Later:
        """Simulate the futures of some rows, and ask the model about each."""
        snapshot, model = ahead.snapshot, ahead.model
        columns = _columns_read(model, snapshot)
        future, kind, one = near.inverse[rows], np.arange(len(rows)), first
        if columns is not None:
            told = ("frequency", "T", *columns[len(_CORE) :])
            known = {name: snapshot.frame[name].to_numpy()[first] for name in told}
            found = Distinct({"future": future, **known})
            kind, one = found.inverse, np.empty(len(found.counts), dtype=np.int64)
            one[kind], future = first, found.values["future"]
        n, share, weight = _simulate(near, future)

        def worth(who: IntArray, n: FloatArray, share: FloatArray) -> _Worth:
            later = _later_snapshot(snapshot, columns, who, n, share, horizon)
            its = model._look_ahead(later, ahead.horizon)
            return _Worth.of(its, model.annual_discount_rate, n.shape, costs)

        nothing = np.zeros((len(rows), 1))
        return cls(ahead, kind, n, weight, worth(first, nothing, nothing), worth(one, n, share))

    def reached(
        self, row: IntArray, at: IntArray, goal: FloatArray, factor: FloatArray, buys: FloatArray
    ) -> FloatArray:
        """P(the goal is reached) of customers, given the row of each and P(a purchase)."""
        model: LifetimeValueModel = self._ahead.model
        frame = self._ahead.snapshot.frame
        params = model.spend_model_.params_
        p, q, gamma = params["p"], params["q"], params["gamma"]
        x = frame["frequency"].to_numpy(np.float64)[at][:, None]
        m = np.where(x > 0, frame["monetary_value"].to_numpy(np.float64)[at][:, None], 0.0)
        ratio = self._ahead._margins[at][:, None]
        unit = gamma + x * m

        def more_money(n: FloatArray | float, its: _Worth, of: IntArray) -> FloatArray:
            # The later value is linear in what n purchases bring: the goal becomes a sum of money.
            per_money = ratio * its.bought[of] * p / np.maximum(p * (x + n) + q - 1.0, _TINY)
            needed = goal[:, None] + factor[:, None] * its.cost[of]
            possible = per_money > 0
            more = np.where(possible, needed / np.where(possible, per_money, 1.0) - unit, np.inf)
            return np.where(~possible & (needed <= 0), -1.0, more)

        kind = self._kind[row]
        n = self._n[kind]
        more = more_money(n, self._after, kind)
        scale = np.maximum(gamma + x * np.maximum(m, 0.0), _TINY)
        # That sum over gamma + x m is beta prime, so its tail is exact; only n, moment are drawn.
        enough = np.where(more <= 0, 1.0, 0.0)
        open_ = np.nonzero((more > 0) & (more < np.inf))  # elsewhere it is certain
        log_odds = np.log(more[open_] / scale[open_[0], 0])
        enough[open_] = beta_tails(p, q, n[open_], x[open_[0], 0], log_odds)
        after = (self._weight[kind] * enough).sum(axis=1)
        # Who buys nothing spends nothing more: it is enough, or it is not.
        stays = more_money(0.0, self._still, row)[:, 0] <= 0
        return np.asarray((1.0 - buys) * stays + buys * after)


class _Worth(NamedTuple):
    """Discounted purchases, and the cost to serve, of histories one horizon later."""

    bought: FloatArray
    cost: FloatArray

    @classmethod
    def of(
        cls,
        its: PredictiveDistribution,
        rate: float,
        shape: tuple[int, ...],
        costs: CostToServe | None,
    ) -> _Worth:
        bought = np.asarray(its.discounted(rate), dtype=np.float64).reshape(shape)
        cost: FloatArray = np.zeros(shape)
        if costs is not None:
            time = time_alive(its, rate).to_numpy().reshape(shape)
            cost = costs.per_time * time + costs.per_purchase * bought
        return cls(bought, cost)


def _simulate(
    near: PredictiveDistribution, future: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw purchases and the time of the last, given that there is one and the customer is active.

    Returns
    -------
    n, share : ndarray, shape (n_futures, N_DRAWS)
        Number of purchases, and the moment of the last as a share of the horizon.
    weight : ndarray, shape (n_futures, N_DRAWS)
        Of the draws; they add up to 1.
    """
    params, t = near.futures[0], near.t[0][future][:, None]
    fields = {
        name: (value[future] if np.ndim(value) else np.full(len(future), value))[:, None]
        for name, value in params._asdict().items()
    }
    # The same quasi-random points for each row: one customer alone gets the same figure.
    u = _points()
    k = int(getattr(near.process, "k", 1))
    shape = fields["r"][:, 0]
    stage = np.zeros((len(future), N_DRAWS), dtype=np.int64)
    if k > 1:
        _, stages = near.process._silence(shape, fields["silence"][:, 0])
        reached = np.cumsum(stages, axis=0).T[:, None, :]
        stage = (u[5][None, :, None] > reached[..., :-1]).sum(axis=-1)
    by_stage = np.stack([gamma_quantiles(shape + s, u[0]) for s in range(k)])
    rate = np.take_along_axis(by_stage, stage[None], axis=0)[0] / fields["alpha"]
    span = np.broadcast_to(t, rate.shape)
    if "s" in fields:
        departure = np.maximum(gamma_quantiles(fields["s"][:, 0], u[1]), 1e-300) / fields["beta"]
        span = np.minimum(span, -np.log(u[2]) / departure)
    # Drawn given at least one purchase, with the chance of that as weight: no draw is wasted.
    least, mean = (k - stage).astype(np.float64), rate * span
    none = np.exp(-mean) if k == 1 else pdtr(least - 1.0, mean)
    weight = 1.0 - none
    ticks = np.maximum(poisson_quantiles(none + weight * u[3], mean), least)
    due = (ticks + stage) // k
    n = due
    if "a" in fields:
        p = beta_quantiles(fields["a"][:, 0], fields["b"][:, 0], u[1])
        last = np.ceil(np.log(u[2]) / np.log1p(-np.clip(p, 1e-300, 1 - 1e-12)))
        n = np.minimum(due, np.maximum(last, 1.0))
    tick = (n * k - stage).astype(np.float64)
    # Given how many ticks fall into the span, the j-th is a beta order statistic.
    moment = order_statistics(tick, np.maximum(ticks, tick), u[4]) * span / t
    total = weight.sum(axis=1, keepdims=True)
    weight = np.where(total > 0, weight / np.where(total > 0, total, 1.0), 1.0 / N_DRAWS)
    return np.asarray(n, dtype=np.float64), moment, weight


def _columns_read(model: LifetimeValueModel, snapshot: Snapshot) -> tuple[str, ...] | None:
    """Columns that purchases are predicted from; None where it is not known which."""
    process = model.purchase_model_
    # A correction reads further features, and so may a process that names no covariates of its own.
    if model.correction_ is not None or not hasattr(process, "purchase_covariates"):
        return None
    covariates = (*process.purchase_covariates, *process.dropout_covariates)
    return (*_CORE, *(c for c in dict.fromkeys(covariates) if c not in _CORE))


def _later_snapshot(
    snapshot: Snapshot,
    read: tuple[str, ...] | None,
    first: IntArray,
    n: FloatArray,
    share: FloatArray,
    horizon: str | Duration,
) -> Snapshot:
    """Write the histories of some customers one horizon later, one row per draw."""
    length = in_units(horizon, snapshot.time_unit)
    at = np.repeat(first, n.shape[1])
    columns = snapshot.frame.columns.drop("customer_id") if read is None else list(read[1:])
    frame = snapshot.frame[columns].iloc[at].reset_index(drop=True)
    more, moment = n.ravel(), share.ravel()
    x, T = (frame[name].to_numpy(np.float64) for name in ("frequency", "T"))
    bought = np.minimum(T + np.maximum(moment, 1e-9) * length, T + length)
    frame = frame.assign(
        customer_id=np.arange(len(frame)),
        frequency=x + more,
        recency=np.where(more > 0, bought, frame["recency"].to_numpy(np.float64)),
        T=T + length,
    )
    if "inactivity" in frame:
        frame["inactivity"] = frame["T"] - frame["recency"]
    cutoff = snapshot.cutoff + length_of(Duration.parse(horizon))
    provenance = {k: v for k, v in snapshot.provenance.items() if k != "purchase_times"}
    return replace(snapshot, frame=frame, cutoff=cutoff, provenance=provenance)
