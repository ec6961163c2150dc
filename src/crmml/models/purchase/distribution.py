"""Predictive distributions of purchases: one object behind every prediction of a purchase model.

Given the parameters a prediction is P(active) times the future of an active customer. Estimates are
one vector of parameters; a posterior stands in for them by a few equally probable vectors (its
*nodes*), over which the prediction is averaged. Everything is evaluated once per distinct history,
and the future once per distinct future, so that a million customers cost no more than the few ten
thousand kinds among them, and no customer depends on who else is there. Covariates are part of a
history, and their coefficients of the parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import CrmmlError, ParameterError
from crmml.features.snapshot import Distinct, Snapshot
from crmml.models.estimator import _check_whole, check_levels, keyed_uniforms
from crmml.stats import bg_nbd
from crmml.stats.alpha_curves import along_alpha
from crmml.stats.discounting import discount_rate_per_unit, in_units
from crmml.stats.posterior import Posterior

if TYPE_CHECKING:
    from crmml.models.purchase.base import PurchaseModel

_NO_DROPOUT = 1e-9
"""Shape of a dropout that never happens; formulas stand down to it, their limit is 0."""


@dataclass(frozen=True)
class Histories:
    """Distinct purchase histories of a snapshot, and which customer has which.

    Attributes
    ----------
    x, t_x, T : ndarray, shape (n_distinct,)
        Repeat purchases, time of the last one, length of the observation.
    covariates : dict of str to ndarray, shape (n_distinct,)
        The covariates that the model uses, on their own scale.
    groups : Distinct
        Which customer has which history.
    """

    x: FloatArray
    t_x: FloatArray
    T: FloatArray
    covariates: dict[str, FloatArray]
    groups: Distinct

    @property
    def counts(self) -> IntArray:
        """Customers per history, shape (n_distinct,)."""
        return self.groups.counts

    @property
    def inverse(self) -> IntArray:
        """The history of each customer, in the order of the snapshot, shape (n_customers,)."""
        return self.groups.inverse


_ANSWERS: WeakKeyDictionary[Distinct, dict[Any, Any]] = WeakKeyDictionary()


def once(question: str, process: Any, params: Any, h: Histories, work: Callable[[], Any]) -> Any:
    """Answer a question about histories once, for all horizons, as long as they are kept.

    Histories on another clock, and parameters that differ between customers, are asked anew.
    """
    own = h.groups.values
    plain = h.t_x is own.get("recency") and h.T is own.get("T")
    if not plain or any(np.ndim(value) for value in params):
        return work()
    known, key = _ANSWERS.setdefault(h.groups, {}), (question, process, params)
    if key not in known:
        known[key] = work()
    return known[key]


@dataclass(frozen=True)
class Future:
    """The distinct futures of customers who are active at the cutoff.

    Attributes
    ----------
    params : NamedTuple
        Parameters of the process, fields of shape (n_futures,) or numbers.
    t : ndarray, shape (n_futures,)
        Length of the horizon, in the model's clock.
    inverse : ndarray of int, shape (n_distinct,)
        The future of each distinct history.
    """

    params: Any
    t: FloatArray
    inverse: IntArray


def take(params: Any, index: IntArray) -> Any:
    """Take some rows of parameters, of which only arrays have rows."""
    return type(params)(*(v[index] if np.ndim(v) else v for v in params))


@dataclass(frozen=True)
class PredictiveDistribution:
    """What is known of the purchases of each customer in one horizon.

    Made by :meth:`crmml.models.purchase.base.PurchaseModel.predictive`, gathered once, and shared
    by all that is asked of it.

    Attributes
    ----------
    process : PurchaseProcess
    customer_id : Index
    rows : ndarray of int, shape (n_customers,)
        The row of each customer.
    alive : ndarray, shape (n_nodes, n_rows)
        P(active at the cutoff) at each node.
    futures : list of NamedTuple
        For each node, the parameters of the distinct futures.
    t : list of ndarray, shape (n_futures,)
        For each node, the length of the horizon on its clock.
    inverse : ndarray of int, shape (n_rows,)
        The future of each row.
    past : ndarray, shape (n_customers,)
        ``T`` of each customer.
    length : float
        Length of the horizon in units of time; infinite without one.
    discounting : callable
        Of a continuous rate, and a horizon in place of the distribution's own: discounted purchases
        of each future at the estimates, if active.
    at_estimates : bool
        Whether the one node is that of the estimates, which discounted purchases are for.
    by_alpha : bool
        Whether futures come from histories and one length alone, so that those of one frequency
        differ in ``alpha`` only.
    """

    process: Any
    customer_id: pd.Index[Any]
    rows: IntArray
    alive: FloatArray
    futures: list[Any]
    t: list[FloatArray]
    inverse: IntArray
    past: FloatArray
    length: float
    time_unit: Any
    discounting: Any = None
    at_estimates: bool = True
    by_alpha: bool = False

    @property
    def n_futures(self) -> int:
        """Number of distinct futures."""
        return len(self.t[0])

    def _series(self, values: FloatArray, name: str) -> pd.Series[float]:
        return pd.Series(values[self.rows], index=self.customer_id, name=name)

    def _means_of(self, futures: list[Any]) -> FloatArray:
        pairs = zip(futures, self.t, strict=True)
        return np.array([self._expected(params, t) for params, t in pairs])

    def _expected(self, params: Any, t: FloatArray) -> FloatArray:
        work = self.process.expected_purchases
        on_curves = self.by_alpha and work is bg_nbd.expected_purchases and not np.ndim(params.a)
        if not (on_curves and len(t)):
            return np.asarray(work(params, t))
        fields = bg_nbd.Params(*(np.broadcast_to(value, len(t)) for value in params))
        return along_alpha(("mean", float(t[0])), fields, lambda its: work(its, t[0]))

    @cached_property
    def _means(self) -> FloatArray:
        """Expected purchases of each future if active, shape (n_nodes, n_futures)."""
        return self._means_of(self.futures)

    @cached_property
    def _staying(self) -> list[Any]:
        """Futures of customers who never leave: the limit of no dropout."""
        leaving = next(n for n in ("a", "s", "gamma") if n in self.futures[0]._fields)
        return [params._replace(**{leaving: _NO_DROPOUT}) for params in self.futures]

    def _if_alive(self, values: FloatArray) -> FloatArray:
        """Average values of each future, shape (n_nodes, n_futures), given that one is active."""
        of_row: FloatArray = values[:, self.inverse]
        if len(self.alive) == 1:
            return np.asarray(of_row[0])
        p = over_nodes(self.alive)
        # Nodes in which a customer is more likely active weigh more, given that he is.
        return np.asarray(over_nodes(self.alive * of_row) / np.where(p > 0, p, 1.0))

    def _silent(self, futures: list[Any]) -> FloatArray:
        """P(no purchase) of each future if active, shape (n_nodes, n_futures)."""
        pairs = zip(futures, self.t, strict=True)
        return np.array([self.process.pmf(params, t, 0)[:, 0] for params, t in pairs])

    def probability_alive(self) -> pd.Series[float]:
        """P(still active at the cutoff | history), keyed by customer."""
        return self._series(over_nodes(self.alive), "probability_alive")

    def mean(self) -> pd.Series[float]:
        """E[purchases in the horizon | history], keyed by customer."""
        values = over_nodes(self.alive * self._means[:, self.inverse])
        return self._series(values, "expected_purchases")

    def mean_if_alive(self) -> pd.Series[float]:
        """E[purchases in the horizon | history and still active at the cutoff]."""
        return self._series(self._if_alive(self._means), "expected_purchases_if_alive")

    def mean_if_staying(self) -> pd.Series[float]:
        """E[purchases in the horizon | history, active at the cutoff, and never leaving]."""
        values = self._if_alive(self._means_of(self._staying))
        return self._series(values, "expected_purchases_if_staying")

    def chances(self) -> pd.DataFrame:
        """Give the probability of a purchase in the horizon under three conditions.

        Returns
        -------
        DataFrame
            Keyed by customer: ``buys`` (as things stand), ``buys_if_active`` (at the cutoff) and
            ``buys_if_staying`` (active, and never leaving).
        """
        active, staying = (
            1.0 - self._if_alive(self._silent(futures)) for futures in (self.futures, self._staying)
        )
        columns = {
            "buys": over_nodes(self.alive) * active,
            "buys_if_active": active,
            # Two roundings may put the limit of no dropout a hair below.
            "buys_if_staying": np.maximum(staying, active),
        }
        of_customer = {name: values[self.rows] for name, values in columns.items()}
        return pd.DataFrame(of_customer, index=self.customer_id)

    def rate_variation(self) -> pd.Series[float]:
        """Coefficient of variation of an active customer's purchase rate, at the estimates."""
        shape = np.broadcast_to(self.futures[0].r, self.t[0].shape)
        return self._series(1.0 / np.sqrt(shape[self.inverse]), "rate_variation")

    def probability_no_purchase(self) -> pd.Series[float]:
        """P(no purchase in the horizon | history): dropped out, or active but silent."""
        silent = self._silent(self.futures)[:, self.inverse]
        values = over_nodes(1.0 - self.alive + self.alive * silent)
        return self._series(values, "probability_no_purchase")

    def given_alive(self, futures: IntArray, n_max: int) -> FloatArray:
        """P(n | active) for n = 0..n_max of some futures, shape (n_nodes, n, n_max + 1)."""
        return np.array(
            [
                self.process.pmf(take(params, futures), t[futures], n_max)
                for params, t in zip(self.futures, self.t, strict=True)
            ]
        )

    def pmf(self, n_max: int) -> pd.DataFrame:
        """P(n purchases in the horizon | history) for n = 0..n_max.

        Returns
        -------
        DataFrame, shape (n_customers, n_max + 1)
            Columns are the integers 0..n_max; what is missing to 1 lies above ``n_max``.
        """
        _check_whole("n_max", n_max, 0)
        table = np.empty((self.alive.shape[1], n_max + 1))
        rows = np.arange(len(table))
        # About 8 MB at a time, however many customers there are.
        size = max(1, 1_000_000 // ((n_max + 1) * len(self.futures)))
        for piece, mine, position in chunks(self.inverse, np.arange(self.n_futures), rows, size):
            alive = self.alive[:, mine]
            table[mine] = averaged(alive, self.given_alive(piece, n_max), position)
            table[mine, 0] += 1.0 - over_nodes(alive)
        columns = pd.RangeIndex(n_max + 1, name="n")
        return pd.DataFrame(table[self.rows], index=self.customer_id, columns=columns)

    def quantiles(self, q: float | Sequence[float]) -> pd.DataFrame:
        """Smallest n with P(purchases <= n) >= q, for each level.

        Returns
        -------
        DataFrame of int, shape (n_customers, n_levels)
            Columns are the levels.
        """
        levels = check_levels(q)
        n_rows = self.alive.shape[1]
        if len(self.futures) == 1:
            requested = np.broadcast_to(levels, (n_rows, len(levels)))
            counts = self._invert(np.arange(n_rows), requested)
        else:
            counts = self._mixture_quantiles(levels)
        columns = pd.Index(levels, name="q")
        return pd.DataFrame(counts[self.rows], index=self.customer_id, columns=columns)

    def _mixture_quantiles(self, levels: FloatArray) -> IntArray:
        counts = np.zeros((self.alive.shape[1], len(levels)), dtype=np.int64)
        open_rows = np.flatnonzero(over_nodes(self.alive) > 1.0 - levels.max())
        n_max = 3
        while len(open_rows):
            still: list[IntArray] = []
            groups = np.unique(self.inverse[open_rows])
            size = max(1, 500_000 // ((n_max + 1) * len(self.futures)))
            for piece, mine, position in chunks(self.inverse, groups, open_rows, size):
                beyond = 1.0 - np.cumsum(self.given_alive(piece, n_max), axis=2)
                tail = averaged(self.alive[:, mine], beyond, position)
                found = np.stack([(tail > 1.0 - level).sum(axis=1) for level in levels], axis=1)
                counts[mine] = found
                # Rounding of the sum may keep a tail from ever falling below a tiny 1 - q.
                still.append(mine[(found > n_max).any(axis=1) & (tail[:, -1] > 1e-12)])
            open_rows = np.sort(np.concatenate(still))
            # Doubling: few customers buy much, and only their tables grow long.
            n_max = 2 * n_max + 1
        return counts

    def sample(self, n_draws: int, seed: int) -> pd.DataFrame:
        """Draw the number of purchases in the horizon, at the estimates.

        A customer's draws depend on the seed and on the customer alone, not on the batch.

        Returns
        -------
        DataFrame of int, shape (n_customers, n_draws)
        """
        _check_whole("n_draws", n_draws, 1)
        counts = self._invert(self.rows, keyed_uniforms(self.customer_id, n_draws, seed))
        columns = pd.RangeIndex(n_draws, name="draw")
        return pd.DataFrame(counts, index=self.customer_id, columns=columns)

    def discounted(self, annual_discount_rate: float = 0.10) -> pd.Series[float]:
        """E[sum of exp(-delta t) over the purchases in the horizon | history], at the estimates.

        Parameters
        ----------
        annual_discount_rate : float
            Effective annual rate; discounting is continuous. Must be > 0 without a horizon.
        """
        delta = discount_rate_per_unit(annual_discount_rate, self.time_unit)
        if np.isinf(self.length) and delta == 0.0:
            raise ParameterError(
                "annual_discount_rate", "> 0 when there is no horizon", annual_discount_rate
            )
        if not self.at_estimates:
            raise CrmmlError(
                "purchases are discounted at the estimates of a model, not under a posterior"
            )
        values = self.alive[0] * self.discounting(delta)[self.inverse]
        return self._series(values, "discounted_expected_purchases")

    def correction(
        self,
        factor: FloatArray,
        learned: str | Duration | None = None,
        fade: float | None = None,
    ) -> Correction:
        """Prepare futures whose means are multiplied; see :meth:`corrected`."""
        return Correction.of(self, factor, learned, fade)

    def corrected(
        self,
        factor: FloatArray,
        volatility: float,
        fade: float | None = None,
        learned: str | Duration | None = None,
    ) -> PredictiveDistribution:
        r"""Multiply the means by a factor of each customer, and let the rates be disturbed.

        It acts on the future only; a clock would act on the past, too.

        Parameters
        ----------
        factor : ndarray, shape (n_customers,)
        volatility : float
            Variance of the logarithm of the disturbance per unit of time, >= 0.
        fade : float, optional
            Units of time in which the correction falls to 1/e beyond the horizon for which it was
            learned, at least a tenth of that horizon. By default it does not fade.
        learned : str or Duration, optional
            That horizon; by default that of the distribution.

        Notes
        -----
        With :math:`h` the horizon learned and :math:`f` the factor, purchases at time :math:`u`
        after the cutoff are multiplied by :math:`f` up to :math:`h` and by
        :math:`1 + (f - 1) e^{-(u-h)/\mathrm{fade}}` after it. With :math:`D(t; \delta)` the
        purchases until :math:`t` discounted at the rate :math:`\delta`, and
        :math:`\epsilon = \delta + 1/\mathrm{fade}`, they become, for :math:`t > h`,

        .. math:: D(t;\delta) + (f-1) \{D(h;\delta)
            + e^{h/\mathrm{fade}} [D(t;\epsilon) - D(h;\epsilon)]\}.

        The mean is that at :math:`\delta = 0`, or less where leaving allows fewer purchases
        whatever the rate. Without a horizon only discounted purchases are
        known, all else is NaN.
        """
        return self.correction(factor, learned, fade).at(volatility)

    def _invert(self, history: IntArray, requested: FloatArray) -> IntArray:
        """Smallest n with P(X <= n) >= requested, for each (row, level).

        Parameters
        ----------
        history : ndarray of int, shape (n_rows,)
            The history of each row of ``requested``.
        requested : ndarray, shape (n_rows, n_levels)
        """
        # At the estimates an active customer reaches level u of the mixture at level
        # 1 - (1 - u) / alive of the future; at or below 1 - alive the answer is 0.
        p = self.alive[0][history][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            level = np.where(requested <= 1.0 - p, 0.0, 1.0 - (1.0 - requested) / p)
        group = self.inverse[history]
        counts = np.zeros(requested.shape, dtype=np.int64)
        open_rows = np.flatnonzero((level > 0).any(axis=1))
        n_max = 15
        while len(open_rows):
            still = []
            needed, position = np.unique(group[open_rows], return_inverse=True)
            order = np.argsort(position, kind="stable")
            per_chunk = max(1, 2_000_000 // (n_max + 1))
            for begin in range(0, len(needed), per_chunk):
                chunk = needed[begin : begin + per_chunk]
                cdf = np.cumsum(
                    self.process.pmf(take(self.futures[0], chunk), self.t[0][chunk], n_max), axis=1
                )
                low, high = np.searchsorted(position[order], [begin, begin + len(chunk)])
                rows = open_rows[order[low:high]]
                mine = position[order[low:high]] - begin
                found = np.zeros((len(rows), requested.shape[1]), dtype=np.int64)
                for n in range(n_max + 1):
                    above = level[rows] > cdf[mine, n][:, None]
                    if not above.any():
                        break
                    found += above
                counts[rows] = found
                unfinished = (found > n_max).any(axis=1) & (cdf[mine, n_max] < 1.0 - 1e-12)
                still.append(rows[unfinished])
            open_rows = np.concatenate(still)
            n_max = 2 * n_max + 1
        return counts


@dataclass(frozen=True)
class Correction:
    """Futures of a purchase process whose means are multiplied by factors.

    Attributes
    ----------
    base : PredictiveDistribution
        A row for each distinct pair of history and factor.
    central : NamedTuple
        Parameters of the futures, averaged over the nodes.
    requested, span : ndarray, shape (n_rows,)
        Means to be met there, and the time over which a disturbance adds up.
    """

    base: PredictiveDistribution
    central: Any
    requested: FloatArray
    span: FloatArray

    @classmethod
    def of(
        cls,
        base: PredictiveDistribution,
        factor: FloatArray,
        learned: str | Duration | None = None,
        fade: float | None = None,
    ) -> Correction:
        """Gather the distinct pairs of history and factor."""
        # Many customers share history and factor; the distribution of each pair is worked out once.
        same = Distinct({"history": base.rows, "factor": factor})
        history, its = same.values["history"], same.values["factor"]
        place = base.inverse[history]
        past = np.empty(len(history))
        past[same.inverse] = base.past
        discounting = _faded(base, place, its, learned, fade)
        pairs = replace(
            base,
            rows=same.inverse,
            alive=base.alive[:, history],
            futures=[take(params, place) for params in base.futures],
            t=[t[place] for t in base.t],
            inverse=np.arange(len(history)),
            discounting=discounting,
            by_alpha=False,
        )
        central, t = pairs.futures[0], pairs.t[0]
        if len(pairs.futures) > 1:
            fields = zip(*pairs.futures, strict=True)
            central = type(central)(*(np.mean(values, axis=0) for values in fields))
            t = np.mean(pairs.t, axis=0)
        if np.isinf(base.length):
            requested = np.full(len(history), np.nan)
        else:
            plain = base.process.expected_purchases(central, t)
            fades = fade is not None and _reaches_beyond(base, learned)
            requested = plain * its
            if fades:
                before = base.discounting(0.0)[place]
                share = np.divide(discounting(0.0), before, out=its.copy(), where=before > 0)
                requested = plain * share
        return cls(pairs, central, requested, (past + base.length) / 3.0)

    def at(self, volatility: float) -> PredictiveDistribution:
        """Return the distribution that gives the requested means under a volatility of the rates.

        A Gamma rate of shape ``r`` times a disturbance of mean 1 and squared coefficient of
        variation ``s`` has that of ``1/r + s + s/r``, and is taken for a Gamma rate again.
        """
        if np.isinf(self.base.length):
            return replace(self.base, futures=[p._replace(alpha=np.nan) for p in self.base.futures])
        params, t = self.central, np.mean(self.base.t, axis=0)
        # A lognormal disturbance of mean 1 has this squared coefficient of variation.
        spread = np.expm1(volatility * self.span)
        r = params.r / (1.0 + spread * (1.0 + params.r))
        alpha = params.alpha * (r / params.r)
        pace = self._pace(params._replace(r=r, alpha=alpha), t)
        futures = []
        for node in self.base.futures:
            its = node.r / (1.0 + spread * (1.0 + node.r))
            futures.append(node._replace(r=its, alpha=node.alpha * (its / node.r) * pace))
        return replace(self.base, futures=futures)

    def _pace(self, params: Any, t: FloatArray) -> FloatArray:
        """Find what multiplies ``alpha`` so that the means are the requested ones.

        Purchases are chances to leave, so the mean falls less than in proportion to ``alpha``: by a
        power that is found from step to step. Where leaving allows no mean so large, it comes as
        close as 50 steps take it.
        """
        log_pace, power = np.zeros(len(t)), np.ones(len(t))
        before, step = np.zeros(len(t)), np.zeros(len(t))
        for _ in range(50):
            at = params._replace(alpha=params.alpha * np.exp(log_pace))
            mean = self.base.process.expected_purchases(at, t)
            with np.errstate(divide="ignore", invalid="ignore"):
                miss = np.where(self.requested > 0, np.log(mean) - np.log(self.requested), 0.0)
                fall = (before - miss) / step
            if np.abs(miss).max(initial=0.0) < 1e-8:
                break
            moved = np.abs(step) > 1e-6
            power = np.where(moved, np.clip(np.nan_to_num(fall, nan=1.0), 0.05, 1.0), power)
            before, step = miss, np.clip(miss / power, -3.0, 3.0)
            log_pace = log_pace + step
        return np.exp(log_pace)


def _reaches_beyond(base: PredictiveDistribution, learned: str | Duration | None) -> bool:
    return learned is not None and base.length > in_units(learned, base.time_unit) * (1.0 + 1e-12)


def _faded(
    base: PredictiveDistribution,
    place: IntArray,
    factor: FloatArray,
    learned: str | Duration | None,
    fade: float | None,
) -> Callable[[float], FloatArray]:
    """Discounted purchases of each pair under a factor that fades, by the discount rate."""
    if fade is None or learned is None or not _reaches_beyond(base, learned):
        return lambda delta: base.discounting(delta)[place] * factor
    length = in_units(learned, base.time_unit)
    if not fade >= 0.1 * length:
        raise ParameterError("fade", f"at least a tenth of the horizon learned, {learned}", fade)

    def discounted(delta: float) -> FloatArray:
        rate = delta + 1.0 / fade
        after = base.discounting(rate) - base.discounting(rate, learned)
        gain = base.discounting(delta, learned) + np.exp(length / fade) * after
        values: FloatArray = base.discounting(delta)[place] + (factor - 1.0) * gain[place]
        return values

    return discounted


def look_ahead(
    model: PurchaseModel,
    snapshot: Snapshot,
    horizon: str | Duration | None,
    parameter_draws: Posterior | FloatArray | None = None,
) -> PredictiveDistribution:
    """Gather the distinct histories and futures at every node.

    Parameters
    ----------
    model : PurchaseModel
        Fitted.
    snapshot : Snapshot
    horizon : str, Duration or None
        ``None`` looks to infinity.
    parameter_draws : Posterior or ndarray of shape (n_nodes, n_parameters), optional
        A posterior by its few nodes, or equally probable parameters shared by all customers;
        ``None`` takes the estimates as certain.
    """
    h, alive, future = model._look_ahead(snapshot, horizon)
    first = np.empty(len(future.t), dtype=np.int64)
    first[future.inverse] = np.arange(len(future.inverse))

    def discounted(delta: float, until: str | Duration | None = horizon) -> FloatArray:
        its = future
        if until != horizon:
            its = replace(future, t=model._lengths(snapshot, h, until)[first])
        return model._discount(snapshot, h, its, until, delta)

    found = PredictiveDistribution(
        model._process,
        snapshot.customer_id,
        h.inverse,
        alive[None],
        [future.params],
        [future.t],
        future.inverse,
        snapshot.frame["T"].to_numpy(dtype=np.float64),
        np.inf if horizon is None else in_units(horizon, snapshot.time_unit),
        snapshot.time_unit,
        discounted,
        by_alpha=model._clockwork.effect is None,
    )
    if parameter_draws is None:
        return found
    names = model._parameter_names
    clocked = len(names) > len(model.params_) + len(model.coefficients_)
    nodes: Iterator[tuple[Any, Histories, FloatArray]]
    if clocked and (not isinstance(parameter_draws, Posterior) or parameter_draws.names == names):
        # Other clocks put the same histories at other operational times.
        vectors = (
            parameter_draws.nodes() if isinstance(parameter_draws, Posterior) else parameter_draws
        )
        nodes = (_on_its_clock(model, values, snapshot, horizon) for values in vectors)
    elif isinstance(parameter_draws, Posterior):
        nodes = ((params, h, future.t) for params in node_params(model, h, parameter_draws))
    else:
        nodes = ((at_parameters(model, v)._row_params(h), h, future.t) for v in parameter_draws)
    alive_at, futures, lengths = [], [], []
    for params, its, t in nodes:
        alive_at.append(alive_of(model._process, params, its))
        futures.append(
            model._process.if_alive(take(params, first), its.x[first], its.t_x[first], its.T[first])
        )
        lengths.append(t if t is future.t else t[first])
    return replace(
        found,
        alive=np.array(alive_at),
        futures=futures,
        t=lengths,
        at_estimates=False,
        by_alpha=False,
    )


def alive_of(process: Any, params: Any, h: Histories) -> FloatArray:
    """P(active at the cutoff) of each history."""

    def work() -> FloatArray:
        return np.asarray(process.probability_alive(params, h.x, h.t_x, h.T))

    found: FloatArray = once("alive", process, params, h, work)
    return found


def _on_its_clock(
    model: PurchaseModel, values: FloatArray, snapshot: Snapshot, horizon: str | Duration | None
) -> tuple[Any, Histories, FloatArray]:
    """Parameters, histories and lengths of the horizon at other parameters and clocks."""
    other = at_parameters(model, values)
    h = other._histories(snapshot)
    return other._row_params(h), h, other._lengths(snapshot, h, horizon)


def at_parameters(model: PurchaseModel, values: FloatArray) -> PurchaseModel:
    """Return the fitted model with other parameters, in the order of its posterior's names."""
    other = copy.copy(model)
    names = model._parameter_names
    if len(values) < len(names):  # a posterior of a bundle that held clocks as known
        names = names[: len(names) - len(model.clock_names_)]
    found = dict(zip(names, values.tolist(), strict=True))
    other.params_ = {name: found[name] for name in model.params_}
    other.coefficients_ = {name: {"estimate": found[name]} for name in model.coefficients_}
    clocks = [name for name in getattr(model, "clock_names_", ()) if name in found]
    if clocks and hasattr(other, "_set_clocks"):
        other._set_clocks(np.array([found[name] for name in clocks]))
    return other


def node_params(model: PurchaseModel, h: Histories, posterior: Posterior) -> Iterator[Any]:
    """Few equally weighted parameters of each history that stand for the posterior.

    Without covariates they are those of :meth:`~crmml.stats.posterior.Posterior.nodes`. With
    covariates the log-parameters of a history are a linear image of log-parameters and
    coefficients, so that the same cubature on that image needs two points for each parameter of
    the process, however many coefficients there are.

    Yields
    ------
    NamedTuple
        Parameters of the process, fields of shape (n_histories,) or numbers.
    """
    acting = tuple(model._acting())
    alike = posterior.coefficients == tuple(name for name, *_ in acting)
    if not posterior.coefficients or not alike or posterior.method == "ensemble":
        for values in posterior.nodes():
            yield at_parameters(model, values)._row_params(h)
        return
    names = model._process.NAMES
    mean, covariance = (np.zeros((len(h.x), *(len(names),) * axes)) for axes in (1, 2))
    # Of each log-parameter: the coordinates of the posterior that enter it, and their weights.
    entering = []
    for j, name in enumerate(names):
        terms = [
            (i, sign * h.covariates[column])
            for i, (_, parameter, sign, column) in enumerate(acting, start=len(names))
            if parameter == name
        ]
        index = [j, *(i for i, _ in terms)]
        entering.append((index, np.column_stack([np.ones(len(h.x)), *(z for _, z in terms)])))
    for j, (index, weights) in enumerate(entering):
        mean[:, j] = weights @ posterior.log_mean[index]
        for k, (other, its_weights) in enumerate(entering[: j + 1]):
            shared = weights @ posterior.log_covariance[np.ix_(index, other)]
            covariance[:, j, k] = covariance[:, k, j] = (shared * its_weights).sum(axis=1)
    values, vectors = np.linalg.eigh(covariance)
    spread = np.sqrt(len(names) * np.maximum(values, 0.0))
    root = (vectors * spread[:, None, :]) @ vectors.transpose(0, 2, 1)
    for sign in (1.0, -1.0):
        for k in range(len(names)):
            yield model._process.make(np.exp(mean + sign * root[:, :, k]).T)


def chunks(inverse: IntArray, groups: IntArray, rows: IntArray, size: int) -> Iterator[Any]:
    """Walk over some groups in pieces, each with its rows.

    Parameters
    ----------
    inverse : ndarray of int, shape (n,)
        Group of every row.
    groups : ndarray of int
        Groups to walk over, rising.
    rows : ndarray of int
        Rows to hand out; all belong to ``groups``.
    size : int
        Groups per piece.

    Yields
    ------
    piece : ndarray of int
        Groups of the piece.
    mine : ndarray of int
        Its rows.
    position : ndarray of int
        Where in ``piece`` the group of each row stands.
    """
    place = np.searchsorted(groups, inverse[rows])
    order = np.argsort(place, kind="stable")
    place = place[order]
    for begin in range(0, len(groups), size):
        piece = groups[begin : begin + size]
        low, high = np.searchsorted(place, [begin, begin + len(piece)])
        yield piece, rows[order[low:high]], place[low:high] - begin


def over_nodes(values: FloatArray) -> FloatArray:
    """Average values of shape (n_nodes, n) over the nodes, in their order whatever ``n`` is."""
    total = values[0].copy()
    for row in values[1:]:
        total += row
    return np.asarray(total / len(values))


def averaged(alive: FloatArray, per_future: FloatArray, position: IntArray) -> FloatArray:
    """Average ``alive[node, row] * per_future[node, future of row, k]`` over nodes: (rows, k)."""
    total = np.zeros((alive.shape[1], per_future.shape[2]))
    for p, values in zip(alive, per_future, strict=True):
        total += p[:, None] * values[position]
    return total / len(alive)
