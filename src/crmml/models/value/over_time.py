"""Lifetime value over time: by period, by cohort, between dates, and of customers to be won."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from sklearn.base import clone

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.exceptions import DataError, MissingColumnsError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.features.windows import length_of, read_moment
from crmml.models.estimator import check_levels
from crmml.models.purchase.distribution import take
from crmml.stats.discounting import UNIT_DAYS, discount_rate_per_unit, in_units
from crmml.stats.paths import draw_path
from crmml.stats.survival import survival

if TYPE_CHECKING:
    from crmml.models.value.cost_to_serve import CostToServe

Every: TypeAlias = Literal["month", "quarter"] | str | Duration
_CALENDAR = {"month": "MS", "quarter": "QS"}
_WORLDS = 20
LEAST = 200
"""Customers from whom models of their own are fitted to a channel."""


def period_ends(cutoff: pd.Timestamp, horizon: str | Duration, every: Every) -> pd.DatetimeIndex:
    """Return the ends of the periods that follow a cutoff, the last being that of the horizon.

    Parameters
    ----------
    cutoff : Timestamp
        Where the first period begins.
    horizon : str or Duration
        Of all periods together.
    every : {"month", "quarter"} or duration
        Months and quarters are those of the calendar, so the first and last may be shorter.

    Examples
    --------
    >>> [str(d.date()) for d in period_ends(pd.Timestamp("2024-02-10"), "26W", "quarter")]
    ['2024-04-01', '2024-07-01', '2024-08-10']
    """
    end = cutoff + length_of(Duration.parse(horizon))
    if every in _CALENDAR:
        inner = pd.date_range(cutoff, end, freq=_CALENDAR[str(every)])
    else:
        step = length_of(Duration.parse(every))
        inner = pd.date_range(cutoff, end, freq=step)
    inner = inner[(inner > cutoff) & (inner < end)]
    return pd.DatetimeIndex([*inner, end])


def acquisition_cohort(snapshot: Snapshot, every: str = "quarter") -> pd.Series[str]:
    """Name the calendar period in which each customer first bought, such as ``2023Q1``.

    Parameters
    ----------
    snapshot : Snapshot
        In calendar time.
    every : {"month", "quarter", "year"}
    """
    codes = {"month": "M", "quarter": "Q", "year": "Y"}
    if every not in codes:
        raise ParameterError("every", f"one of {tuple(codes)}", every)
    T = snapshot.frame["T"].to_numpy(np.float64)
    first = snapshot.cutoff - pd.to_timedelta((T + 1e-9) * UNIT_DAYS[snapshot.time_unit], unit="D")
    names = pd.DatetimeIndex(first).to_period(codes[every]).astype(str)
    return pd.Series(names, index=snapshot.customer_id, name="cohort")


class ValueOverTime:
    """What a :class:`~crmml.models.value.lifetime_value.LifetimeValueModel` says of moments."""

    def probability_alive_later(
        self: Any, snapshot: Snapshot, later: str | Duration | pd.Timestamp
    ) -> pd.Series[float]:
        """P(still active at a later moment | history).

        Parameters
        ----------
        snapshot : Snapshot
        later : str, Duration or Timestamp
            How much later than the cutoff (``"13W"``), or when (``"2024-06-30"``).
        """
        its = self._look_ahead(snapshot, _until(snapshot, later), self.purchase_posterior_)
        pairs = zip(its.futures, its.t, strict=True)
        stays = np.array([survival(its.process, params, t) for params, t in pairs])
        values = (its.alive * stays[:, its.inverse]).mean(axis=0)[its.rows]
        return pd.Series(values, index=snapshot.customer_id, name="probability_alive_later")

    def clv_between(
        self: Any,
        snapshot: Snapshot,
        start: str | Duration | pd.Timestamp,
        end: str | Duration | pd.Timestamp,
        *,
        costs: CostToServe | None = None,
    ) -> pd.Series[float]:
        """Expect the discounted margin of the purchases between two moments after the cutoff.

        Discounted to the cutoff, so that values of periods that follow each other add up.

        Parameters
        ----------
        snapshot : Snapshot
        start, end : str, Duration or Timestamp
            How much later than the cutoff (``"13W"``), or when (``"2024-06-30"``); ``start`` may be
            the cutoff.
        costs : CostToServe, optional
            Taken from the margin: the value is then net of what serving is expected to cost.
        """
        upper = _net_value(self, snapshot, _until(snapshot, end), costs)
        if (
            isinstance(start, str | pd.Timestamp)
            and "-" in str(start)
            and read_moment(start, "start") == snapshot.cutoff
        ):
            return upper
        lower = _until(snapshot, start)
        if in_units(lower, snapshot.time_unit) > in_units(
            _until(snapshot, end), snapshot.time_unit
        ):
            raise ParameterError("start", "not after the end", start)
        return (upper - _net_value(self, snapshot, lower, costs)).rename(str(upper.name))

    def clv_by_period(
        self: Any,
        snapshot: Snapshot,
        horizon: str | Duration,
        every: Every = "quarter",
        *,
        by: str | pd.Series[Any] | None = None,
        q: float | Sequence[float] = (0.1, 0.9),
        costs: CostToServe | None = None,
    ) -> pd.DataFrame:
        """Lifetime value of the base or of groups in each period of the horizon, with intervals.

        Parameters
        ----------
        snapshot : Snapshot
        horizon : str or Duration
        every : {"month", "quarter"} or duration
            Length of a period; see :func:`period_ends`.
        by : str or Series, optional
            Groups, as in :meth:`total`; acquisition cohorts are :func:`acquisition_cohort`.
        q : float or sequence of float
            Levels of the interval of each sum.
        costs : CostToServe, optional
            Taken from the margin: all values are then net of what serving is expected to cost.

        Returns
        -------
        DataFrame
            On the group and ``ends``: ``starts``, ``customers``, ``active`` (expected at the end),
            ``expected`` (discounted to the cutoff) and a column per level. ``expected`` adds up to
            the sum of ``clv``, or with costs to that of ``net_clv``. Intervals come from simulated
            futures under the posterior, each period discounted from its middle; costs are taken
            at their expectation.
        """
        levels = check_levels(q)
        ends = period_ends(snapshot.cutoff, horizon, every)
        lengths = [_until(snapshot, end) for end in ends]
        group, names = self._groups(snapshot, by)
        margin = np.array([self.clv(snapshot, length).to_numpy() for length in lengths])
        net = margin
        if costs is not None:
            net = np.array([_net_value(self, snapshot, length, costs) for length in lengths])
        nothing = np.zeros((1, net.shape[1]))
        expected = np.diff(net, axis=0, prepend=nothing)
        spent = np.diff(margin - net, axis=0, prepend=nothing)
        alive = [self.probability_alive_later(snapshot, length).to_numpy() for length in lengths]
        draws = _simulate_periods(self, snapshot, lengths, group, len(names))
        parts = []
        for k, end in enumerate(ends):
            columns: dict[Any, Any] = {
                "starts": snapshot.cutoff if k == 0 else ends[k - 1],
                "ends": end,
                "customers": np.bincount(group, minlength=len(names)),
                "active": np.bincount(group, weights=alive[k], minlength=len(names)),
                "expected": np.bincount(group, weights=expected[k], minlength=len(names)),
            }
            cost = np.bincount(group, weights=spent[k], minlength=len(names))
            quantiles = np.quantile(draws[:, k], levels, axis=0) - cost
            columns |= dict(zip(levels.tolist(), quantiles, strict=True))
            parts.append(pd.DataFrame(columns, index=names).set_index("ends", append=True))
        return pd.concat(parts).sort_index()

    def new_customer_value(
        self: Any,
        snapshot: Snapshot,
        horizon: str | Duration,
        *,
        by: str | pd.Series[Any] | None = None,
        acquisition_cost: str | pd.Series[float] | None = None,
        q: Sequence[float] = (0.1, 0.9),
        least: int = LEAST,
        costs: CostToServe | None = None,
    ) -> pd.DataFrame:
        """Value of a customer not yet acquired, by channel, beside what winning one costs.

        Parameters
        ----------
        snapshot : Snapshot
            Of the customers from whom it is learned.
        horizon : str or Duration
            From the first purchase on.
        by : str or Series, optional
            Channel of each customer; without it all are one group.
        acquisition_cost : str or Series, optional
            Cost to win each customer: a column (default ``acquisition_cost``, if there) or a
            Series keyed by customer. Its mean is compared.
        q : sequence of float
            Two levels of the interval.
        least : int
            Groups of fewer customers are valued by the models of all.
        costs : CostToServe, optional
            Taken from the margin of the first purchase and of the later ones, at its expectation.

        Returns
        -------
        DataFrame
            On the group: ``customers``; ``basis`` (``own`` models or those of ``all``); ``value``
            (margin of the first purchase and discounted margin of later ones) with its interval,
            ``value_lower`` and ``value_upper``; ``acquisition_cost``; ``value_to_cost`` and
            ``payback`` (time units until the value reaches the cost; infinite where it does not
            within the horizon), likewise. Intervals are of the expectation: they carry the
            posterior of the parameters and the error of the mean first purchase. The cost and
            what rests on it are missing where the cost of no customer of the group is known; of a
            cost of 0 there is no ``value_to_cost``, and the payback is 0.
        """
        low, high = check_levels(q)
        group, names = self._groups(snapshot, by)
        cost = _costs(snapshot, acquisition_cost)
        rows = {}
        for code, name in enumerate(names):
            sub = snapshot.subset(group == code)
            own = len(names) > 1 and len(sub) >= least and _repeats(sub) >= least / 4
            model = _refitted(self, sub) if own else self
            curves, edges = _newcomer_curves(model, sub, horizon, costs)
            spent = _mean_known(cost, group == code)
            found = {
                "value": curves[:, -1],
                "value_to_cost": curves[:, -1] / spent if spent > 0 else curves[:, -1] * np.nan,
                "payback": _payback(curves, edges, spent),
            }
            row: dict[str, Any] = {"customers": len(sub), "basis": "own" if own else "all"}
            row["acquisition_cost"] = spent
            for what, values in found.items():
                row[what] = values[0]
                for end, level in (("lower", low), ("upper", high)):
                    row[f"{what}_{end}"] = _quantile(values[1:], level)
            rows[name] = row
        table = pd.DataFrame.from_dict(rows, orient="index")
        return table.rename_axis(names.name)


def _mean_known(cost: FloatArray | None, mine: BoolArray) -> float:
    """Return the mean of the costs that are known of some customers; NaN without any."""
    known = np.empty(0) if cost is None else cost[mine & ~np.isnan(cost)]
    return float(known.mean()) if len(known) else float("nan")


def _net_value(
    model: Any, snapshot: Snapshot, length: Duration, costs: CostToServe | None
) -> pd.Series[float]:
    """Return the discounted margin within a length of time, less the cost to serve if given."""
    ahead = model.ahead(snapshot, length)
    value: pd.Series[float] = ahead.clv()
    return value if costs is None else (value - costs.expected(ahead)).rename("net_clv")


def _until(snapshot: Snapshot, moment: str | Duration | pd.Timestamp) -> Duration:
    """Return how much later than the cutoff a moment is; text with a ``-`` is a date."""
    if isinstance(moment, Duration) or (isinstance(moment, str) and "-" not in moment):
        return Duration.parse(moment)
    later = read_moment(moment, "moment") - snapshot.cutoff
    if later <= pd.Timedelta(0):
        raise ParameterError("moment", f"after the cutoff {snapshot.cutoff}", str(moment))
    return Duration(later / pd.Timedelta(days=1), "day")


def _simulate_periods(
    model: Any,
    snapshot: Snapshot,
    lengths: Sequence[Duration],
    group: Any,
    n_groups: int,
) -> FloatArray:
    """Simulate the base once per world: totals of shape (n_worlds, n_periods, n_groups)."""
    order = np.asarray(snapshot.customer_id.argsort())
    rng = np.random.default_rng([model.random_state, 3])
    n_worlds = model.n_posterior_draws or 200
    purchases, spend = model.purchase_posterior_, model.spend_posterior_
    at = [model._look_ahead(snapshot, length) for length in lengths]
    clock = np.column_stack([one.t[0][one.inverse[one.rows]] for one in at])[order]
    # Operational time: a period before the season counts for less of the future than its days say.
    share = clock / np.where(clock[:, -1:] > 0, clock[:, -1:], 1.0)
    units = np.array([in_units(length, snapshot.time_unit) for length in lengths])
    delta = discount_rate_per_unit(model.annual_discount_rate, snapshot.time_unit)
    # Purchases lie anywhere in a period; its middle errs by the square of the length.
    middle = (units + np.r_[0.0, units[:-1]]) / 2.0
    params = model.spend_model_.params_
    x = snapshot.frame["frequency"].to_numpy(np.float64)[order]
    m = np.where(x > 0, snapshot.frame["monetary_value"].to_numpy(np.float64)[order], 0.0)
    ratio, group = model._margins(snapshot)[order], group[order]
    plug_in = np.array([params[name] for name in ("p", "q", "gamma")])
    totals = np.empty((n_worlds, len(lengths), n_groups))
    for world in range(n_worlds):
        if world == 0 or (purchases is not None and world % _WORLDS == 0):
            draws = None if purchases is None else purchases.draws[world : world + _WORLDS]
            its = model._look_ahead(snapshot, lengths[-1], draws)
            history = its.rows[order]
        node = 0 if purchases is None else world % _WORLDS
        p, q, gamma = plug_in if spend is None else spend.draws[world]
        active = np.flatnonzero(rng.uniform(size=len(x)) < its.alive[node][history])
        future = its.inverse[history[active]]
        ends = its.t[node][future][:, None] * share[active]
        # One path for all periods: totals of successive periods depend on each other.
        count = draw_path(its.process, take(its.futures[node], future), ends, rng)
        scale = ratio[active] * (gamma + x[active] * m[active]) / rng.gamma(q + p * x[active])
        for k in range(len(lengths)):
            some = np.flatnonzero(count[:, k] > 0)
            value = scale[some] * rng.gamma(p * count[some, k]) * np.exp(-delta * middle[k])
            totals[world, k] = np.bincount(group[active][some], weights=value, minlength=n_groups)
    return totals


def _repeats(snapshot: Snapshot) -> int:
    return int((snapshot.frame["frequency"] > 0).sum())


def _refitted(model: Any, snapshot: Snapshot) -> Any:
    """Fit the same models to some customers, without a learned correction."""
    fresh = clone(model)
    fresh.set_params(
        purchase_model=clone(model.purchase_model_), spend_model=clone(model.spend_model_)
    )
    return fresh.fit(snapshot)


def _costs(snapshot: Snapshot, given: str | pd.Series[float] | None) -> FloatArray | None:
    if given is None and "acquisition_cost" not in snapshot.frame:
        return None
    if isinstance(given, pd.Series):
        cost = given.reindex(snapshot.customer_id).to_numpy(np.float64, na_value=np.nan)
    else:
        name = given or "acquisition_cost"
        if name not in snapshot.frame:
            raise MissingColumnsError([name], map(str, snapshot.frame.columns), table="snapshot")
        cost = snapshot.frame[name].to_numpy(np.float64, na_value=np.nan)
    if (cost < 0).any():
        raise DataError(
            "a cost to win must not be negative",
            table="snapshot",
            column="acquisition_cost",
            n_rows=int((cost < 0).sum()),
            examples=snapshot.customer_id[cost < 0][:5],
        )
    return np.asarray(cost)


def _newcomer_curves(
    model: Any, snapshot: Snapshot, horizon: str | Duration, costs: CostToServe | None
) -> tuple[FloatArray, FloatArray]:
    """Cumulative value of a new customer at the estimates (first row) and under each draw.

    Returns
    -------
    curves : ndarray, shape (1 + n_draws, 1 + n_edges)
    edges : ndarray, shape (1 + n_edges,)
        In time units after the first purchase, from 0.
    """
    length = in_units(horizon, snapshot.time_unit)
    # Fortnights where the horizon is a year; payback is interpolated between them.
    edges = np.linspace(0.0, length, 27)[1:]
    new = _newcomer(snapshot)
    posterior, spend = model.purchase_posterior_, model.spend_posterior_
    draws = None if posterior is None else posterior.draws
    rows = []
    for edge in edges:
        at = Duration(float(edge), snapshot.time_unit)
        plain = model._look_ahead(new, at)
        means = plain.mean().to_numpy()
        if draws is not None:
            its = model._look_ahead(new, at, draws)
            means = np.r_[
                means, (its.alive[:, its.rows[0]] * its._means[:, its.inverse[its.rows[0]]])
            ]
        rows.append(means)
    delta = discount_rate_per_unit(model.annual_discount_rate, snapshot.time_unit)
    middle = edges - edges[0] / 2.0
    bought = np.diff(np.array(rows), axis=0, prepend=0.0) * np.exp(-delta * middle)[:, None]
    each = np.array([model.spend_model_.expected_spend_new_customer()])
    first, error = _first_purchase(snapshot, float(each[0]))
    opened = np.array([first])
    if draws is not None and spend is not None:
        p, q, gamma = spend.draws.T
        # A draw with q <= 1 has no mean; it is held finite, since quantiles of the value are.
        each = np.r_[each, p * gamma / np.maximum(q - 1.0, 1e-3)]
        noise = np.random.default_rng([model.random_state, 4]).standard_normal(len(draws))
        opened = np.r_[opened, first + error * noise]
    ratio = _mean_margin(model, snapshot)
    later = np.cumsum(bought, axis=0) * each
    curves = ratio * np.vstack([opened, opened + later])
    if costs is not None:
        bare = new.frame.drop(columns=list(costs.parts), errors="ignore")  # no history of costs yet
        fresh = replace(new, frame=bare)
        ahead = [model.ahead(fresh, Duration(float(edge), new.time_unit)) for edge in edges]
        later = np.array([float(costs.expected(one).iloc[0]) for one in ahead])
        curves = curves - (costs.per_purchase + np.r_[0.0, later])[:, None]
    return curves.T, np.r_[0.0, edges]


def _newcomer(snapshot: Snapshot) -> Snapshot:
    """Return the history of a customer who has just bought for the first time."""
    # Covariates at their means: of a customer not yet seen nothing else is known.
    row = snapshot.frame.drop(columns="customer_id").mean(numeric_only=True).to_frame().T
    row = row.assign(frequency=0.0, recency=0.0, T=0.0, monetary_value=0.0)
    row.insert(0, "customer_id", ["new"])
    return replace(snapshot, frame=row.reset_index(drop=True), provenance={})


def _first_purchase(snapshot: Snapshot, otherwise: float) -> tuple[float, float]:
    """Mean of the first purchase and its standard error."""
    if "first_order_value" not in snapshot.frame:
        return otherwise, 0.0
    first = snapshot.frame["first_order_value"].to_numpy(np.float64)
    return float(first.mean()), float(first.std() / np.sqrt(len(first)))


def _mean_margin(model: Any, snapshot: Snapshot) -> float:
    """Margin per unit of revenue of some customers together."""
    ratio = model._margins(snapshot)
    if "net_spend" not in snapshot.frame:
        return float(ratio.mean())
    spent = np.maximum(snapshot.frame["net_spend"].to_numpy(np.float64), 0.0)
    return float((ratio * spent).sum() / spent.sum()) if spent.sum() > 0 else float(ratio.mean())


def _payback(curves: FloatArray, edges: FloatArray, cost: float) -> FloatArray:
    """First moment at which each curve reaches the cost, linear between edges."""
    if np.isnan(cost):
        return np.full(len(curves), np.nan)
    out = np.full(len(curves), np.inf)
    for i, curve in enumerate(curves):
        reached = np.flatnonzero(curve >= cost)
        if len(reached):
            k = int(reached[0])
            if k == 0:
                out[i] = 0.0
            else:
                rise = curve[k] - curve[k - 1]
                out[i] = edges[k] - (edges[k] - edges[k - 1]) * (curve[k] - cost) / rise
    return out


def _quantile(values: FloatArray, level: float) -> float:
    """Return a quantile; one of the values, so that infinite ones do no harm."""
    return float(np.quantile(values, level, method="inverted_cdf")) if len(values) else np.nan
