"""Lifetime value: expected discounted margin of future purchases, with its uncertainty."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone

from crmml import models
from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import (
    DataError,
    InfiniteMeanWarning,
    MissingColumnsError,
    ParameterError,
)
from crmml.features.snapshot import Snapshot
from crmml.models.arguments import check_snapshot
from crmml.models.estimator import Estimator, check_levels
from crmml.models.fits import Fits
from crmml.models.purchase.base import PurchaseModel
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.distribution import (
    PredictiveDistribution,
    averaged,
    chunks,
    look_ahead,
    over_nodes,
    take,
)
from crmml.models.purchase.predictive import spend_posterior
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.models.value.over_time import ValueOverTime
from crmml.stats.compound import (
    CompoundTable,
    SpendParams,
    compound_quantiles,
    interpolate_share,
    ladder,
    tabulate,
    thin_counts,
    times,
)
from crmml.stats.discounting import discount_rate_per_unit
from crmml.stats.posterior import Posterior

_TAIL = 1e-5
_ROWS = 4_000
_WORLDS = 20


class LifetimeValueModel(ValueOverTime, Estimator):
    """Expected discounted margin: purchase process x spend per purchase x margin.

    Lifetime value is **forward-looking**: what the customer did until the cutoff enters only as
    evidence of what is to come (for the past see customer profitability). Purchases and spend are
    taken as independent given the history, as both models do.

    Parameters
    ----------
    purchase_model : PurchaseModel, optional
        Unfitted (a fitted one is fitted anew); default :class:`BetaGeoModel`.
    spend_model : GammaGammaModel, optional
        Likewise; default :class:`GammaGammaModel`.
    annual_discount_rate : float
        Effective annual rate, finite and >= 0; a year is 365 days and discounting continuous.
    margin : float or str
        Share of net spend that is margin: a number in (0, 1], or the snapshot column that holds
        each customer's own ratio (at most 1, possibly negative). It must be given: with 1 all
        values are revenue, not profit.
    n_posterior_draws : int
        Draws of the parameters kept with the model, for intervals; 0 keeps none, and intervals
        then take the estimates as certain.
    random_state : int
        Seed of those draws.

    Attributes
    ----------
    purchase_model_, spend_model_ : fitted estimators
    purchase_posterior_, spend_posterior_ : Posterior or None
        Drawn when first asked for: by an interval, or when the model is stored or copied. Until
        then the fitted model holds on to its snapshot.
    correction_ : HybridForecaster or None
        Corrects the distribution of purchases.

    Examples
    --------
    >>> from crmml.models import LifetimeValueModel, ModifiedBetaGeoModel
    >>> LifetimeValueModel(purchase_model=ModifiedBetaGeoModel(), margin=0.3).margin
    0.3
    """

    _state = (
        "purchase_model_",
        "spend_model_",
        "purchase_posterior_",
        "spend_posterior_",
        "correction_",
    )
    _learners: ClassVar[Mapping[str, str]] = {
        "purchase_model": "purchase_model_",
        "spend_model": "spend_model_",
    }
    _parts: ClassVar[Mapping[str, Any]] = {
        "purchase_posterior_": Posterior,
        "spend_posterior_": Posterior,
        "correction_": models,
    }

    purchase_model_: PurchaseModel
    spend_model_: GammaGammaModel
    _undrawn: dict[str, Callable[[], Posterior]]
    correction_: Any = None

    def __init__(
        self,
        *,
        purchase_model: PurchaseModel | None = None,
        spend_model: GammaGammaModel | None = None,
        annual_discount_rate: float = 0.10,
        margin: float | str | None = None,
        n_posterior_draws: int = 200,
        random_state: int = 0,
    ) -> None:
        self.purchase_model = purchase_model
        self.spend_model = spend_model
        self.annual_discount_rate = annual_discount_rate
        self.margin = margin
        self.n_posterior_draws = n_posterior_draws
        self.random_state = random_state

    # -- fit -------------------------------------------------------------------------

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
        *,
        fits: Fits | None = None,
        correction: Any = None,
    ) -> Self:
        """Fit both models.

        Parameters
        ----------
        snapshot : Snapshot
            Needs ``frequency``, ``recency``, ``T``, ``monetary_value`` and the margin column.
        sample_weight : Series or array-like, optional
            Non-negative weight of each customer in both fits; the posteriors count every customer
            once.
        fits : Fits, optional
            Models fitted so far: those on this snapshot with equal settings are taken, not fitted
            again. Of no use with weights.
        correction : HybridForecaster, optional
            Fitted on the same snapshot. Its process then takes the place of ``purchase_model``, and
            every value comes from its corrected distribution, in which factors fade beyond the
            horizon for which they were learned; see
            :meth:`crmml.models.purchase.distribution.PredictiveDistribution.corrected`.

        Raises
        ------
        ParameterError, DataError, MissingColumnsError
            If a setting is out of range, no margin is given, or the margin column does not hold
            ratios.

        Warns
        -----
        FitWarning
            Whatever the two models say; what their posteriors say comes when they are drawn.
        """
        check_snapshot(snapshot, self)
        discount_rate_per_unit(self.annual_discount_rate, snapshot.time_unit)
        if self.n_posterior_draws != 0 and self.n_posterior_draws < 2:
            raise ParameterError("n_posterior_draws", "0 or >= 2", self.n_posterior_draws)
        self._margins(snapshot)
        purchases, spend = (
            self.purchase_model or BetaGeoModel(),
            self.spend_model or GammaGammaModel(),
        )
        if sample_weight is None:
            known = Fits() if fits is None else fits
            if correction is None:
                self.purchase_model_ = known.fit(purchases, snapshot)
            self.spend_model_ = known.fit(spend, snapshot)
        else:
            self.purchase_model_ = clone(purchases).fit(snapshot, sample_weight)
            self.spend_model_ = clone(spend).fit(snapshot, sample_weight)
        self.correction_ = correction
        if correction is not None:
            self.purchase_model_ = correction.process_.purchase_model_
        self._plan_posteriors(snapshot)
        return self

    def _plan_posteriors(self, snapshot: Snapshot) -> None:
        """Leave the draws, which take far longer than the fits, to who asks for an interval."""
        self._undrawn = {}
        if not self.n_posterior_draws:
            self.purchase_posterior_ = self.spend_posterior_ = None
            return
        settings: Any = {"n_draws": self.n_posterior_draws, "seed": self.random_state}
        planned = {
            "purchase_posterior_": partial(self.purchase_model_.posterior, snapshot, **settings),
            "spend_posterior_": partial(spend_posterior, self.spend_model_, snapshot, **settings),
        }
        for name, draw in planned.items():
            self.__dict__.pop(name, None)
            self._undrawn[name] = draw

    @cached_property
    def purchase_posterior_(self) -> Posterior | None:
        """Posterior of the purchase model; None where no draws are kept."""
        return self._drawn("purchase_posterior_")

    @cached_property
    def spend_posterior_(self) -> Posterior | None:
        """Posterior of the spend model; None where no draws are kept."""
        return self._drawn("spend_posterior_")

    def _drawn(self, name: str) -> Posterior | None:
        undrawn = self.__dict__.get("_undrawn", {})
        if name in undrawn:
            self.__dict__[name] = undrawn[name]()
            # The snapshot goes with the last of them.
            undrawn.pop(name, None)
        if name not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no {name} before it is fitted")
        found: Posterior | None = self.__dict__[name]
        return found

    def __getstate__(self) -> Any:
        """Draw what is not drawn yet, so that no copy carries the training data."""
        for name in [*self.__dict__.get("_undrawn", ())]:
            getattr(self, name)
        return super().__getstate__()

    # -- expectations ----------------------------------------------------------------------------

    def ahead(self, snapshot: Snapshot, horizon: str | Duration | None) -> ValueAhead:
        """Gather what is known of one horizon, once for all that is asked of it.

        Parameters
        ----------
        snapshot : Snapshot
        horizon : str, Duration or None
            ``None`` looks to infinity.
        """
        check_snapshot(snapshot, self)
        self._check_fitted()
        return ValueAhead(self, snapshot, horizon)

    def clv(self, snapshot: Snapshot, horizon: str | Duration) -> pd.Series[float]:
        """Expect the discounted margin of the purchases in ``(cutoff, cutoff + horizon]``.

        Parameters
        ----------
        snapshot : Snapshot
        horizon : str or Duration
            For example ``"52W"``.

        Returns
        -------
        Series
            In currency, keyed by customer: margin x E[spend per purchase] x E[sum of
            ``exp(-delta t)`` over the purchases]. Negative for a customer whose net spend
            (returns) or margin is.

        Warns
        -----
        InfiniteMeanWarning
            If a value is infinite, because the fitted spend has no mean (``q <= 1``).
        """
        return self.ahead(snapshot, horizon).clv()

    def residual_value(self, snapshot: Snapshot) -> pd.Series[float]:
        """Expect the discounted margin of **all** future purchases (DERT x margin x spend).

        Raises
        ------
        ParameterError
            If the discount rate is 0: the sum over an endless future need not be finite.

        Warns
        -----
        InfiniteMeanWarning
            As :meth:`clv`.
        """
        return self.ahead(snapshot, None).clv()

    def expected_margin(self, snapshot: Snapshot, horizon: str | Duration) -> pd.Series[float]:
        """Expect the margin of the purchases in the horizon, not discounted.

        Warns
        -----
        InfiniteMeanWarning
            As :meth:`clv`.
        """
        return self.ahead(snapshot, horizon).margin()

    def expected_margin_if_active(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """Expect the margin in the horizon of a customer who **is** active at the cutoff.

        Not discounted: what is at stake if the customer is kept.

        Warns
        -----
        InfiniteMeanWarning
            As :meth:`clv`.
        """
        return self.ahead(snapshot, horizon).margin_if_active()

    def expected_margin_if_staying(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """Expect the margin in the horizon of a customer who is active and never leaves.

        Not discounted; less :meth:`expected_margin_if_active` it is what leaving costs.

        Warns
        -----
        InfiniteMeanWarning
            As :meth:`clv`.
        """
        return self.ahead(snapshot, horizon).margin_if_staying()

    def margin_variation(self, snapshot: Snapshot) -> pd.Series[float]:
        """Coefficient of variation of what is known about an active customer's margin.

        Of the customer's purchase rate and mean spend, which are independent; parameters and
        margin ratio are taken as known.
        """
        self._check_fitted()
        rate = self.purchase_model_.rate_variation(snapshot)
        spend = self.spend_model_.spend_variation(snapshot)
        return (((1.0 + rate**2) * (1.0 + spend**2) - 1.0) ** 0.5).rename("margin_variation")

    def _margins(self, snapshot: Snapshot) -> FloatArray:
        if self.margin is None:
            raise ParameterError(
                "margin",
                "given: the share of revenue that is profit, or the column with each customer's "
                "own; with margin=1 values are revenue, not profit",
                None,
            )
        if isinstance(self.margin, str):
            if self.margin not in snapshot.frame.columns:
                raise MissingColumnsError(
                    [self.margin], map(str, snapshot.frame.columns), table="snapshot"
                )
            ratio = snapshot.frame[self.margin].to_numpy(np.float64, na_value=np.nan)
            bad = ~(np.isfinite(ratio) & (ratio <= 1.0))
            if bad.any():
                raise DataError(
                    "a margin ratio must be a finite number <= 1",
                    table="snapshot",
                    column=self.margin,
                    n_rows=int(bad.sum()),
                    examples=snapshot.customer_id[bad][:5],
                )
            return np.asarray(ratio)
        if not 0.0 < self.margin <= 1.0:
            raise ParameterError("margin", "in (0, 1] or the name of a column", self.margin)
        return np.full(len(snapshot), float(self.margin))

    # -- uncertainty -----------------------------------------------------------------------------

    def clv_quantiles(
        self, snapshot: Snapshot, horizon: str | Duration, q: float | Sequence[float]
    ) -> pd.DataFrame:
        """Quantiles of the discounted margin that a customer will bring in the horizon.

        They carry the uncertainty of being active, of the number of purchases, of the spend of
        each (drawn given the customer's own latent mean, not averaged first), and of the
        parameters of both models, coefficients of covariates included.

        Parameters
        ----------
        snapshot : Snapshot
        horizon : str or Duration
        q : float or sequence of float
            Levels strictly between 0 and 1.

        Returns
        -------
        DataFrame, shape (n_customers, n_levels)
            In currency; columns are the levels.

        Notes
        -----
        No simulation: the number of purchases is mixed over the nodes of its posterior, the total
        of ``n`` purchases is a beta-prime (:mod:`crmml.stats.compound`), and quantiles are read
        off a table with a relative error below 0.5 %. Each purchase is discounted by the mean
        discount factor of the customer's horizon, which keeps the expectation exact. A customer
        with negative net spend gets the distribution scaled to the (negative) expectation.
        """
        return self.ahead(snapshot, horizon).clv_quantiles(q)

    def total(
        self,
        snapshot: Snapshot,
        horizon: str | Duration,
        q: float | Sequence[float] = (0.1, 0.9),
        by: str | pd.Series[Any] | None = None,
    ) -> pd.DataFrame:
        """Lifetime value of the whole base or of groups, with intervals for the sums.

        Customers share the parameters and coefficients, so errors in them do not average out:
        every posterior draw is one possible world, in which all customers are simulated.

        Parameters
        ----------
        snapshot : Snapshot
        horizon : str or Duration
        q : float or sequence of float
            Levels strictly between 0 and 1.
        by : str or Series, optional
            Snapshot column, or a Series keyed by customer, that names the group.

        Returns
        -------
        DataFrame
            Index: the groups (or ``"all"``); columns ``customers``, ``expected`` (the sum of
            :meth:`clv`) and one column per level. Simulated with ``n_posterior_draws`` draws (200
            if there are none), seeded by ``random_state``; the order of the rows does not matter.
        """
        self._check_fitted()
        levels = check_levels(q)
        order = np.asarray(snapshot.customer_id.argsort())
        group, names = _groups(snapshot, by)
        draws = self._simulate_totals(snapshot, horizon, order, group, len(names))
        expected = self.clv(snapshot, horizon).to_numpy()[order]
        table = {
            "customers": np.bincount(group, minlength=len(names)),
            "expected": np.bincount(group[order], weights=expected, minlength=len(names)),
        }
        quantiles = np.quantile(draws, levels, axis=0)
        table |= dict(zip(levels.tolist(), quantiles, strict=True))
        return pd.DataFrame(table, index=names)

    def _look_ahead(
        self,
        snapshot: Snapshot,
        horizon: str | Duration | None,
        draws: Posterior | FloatArray | None = None,
    ) -> PredictiveDistribution:
        """Gather the purchases in a horizon, corrected where there is a correction."""
        found = look_ahead(self.purchase_model_, snapshot, horizon, draws)
        if self.correction_ is None:
            return found
        corrected: PredictiveDistribution = self.correction_.correct(found, snapshot)
        return corrected

    @staticmethod
    def _groups(
        snapshot: Snapshot, by: str | pd.Series[Any] | None
    ) -> tuple[npt.NDArray[np.intp], pd.Index[Any]]:
        return _groups(snapshot, by)

    def _spend_nodes(self) -> SpendParams:
        if self.spend_posterior_ is None:
            params = self.spend_model_.params_
            return SpendParams(*(np.array([params[name]]) for name in SpendParams._fields))
        return SpendParams(*self.spend_posterior_.nodes().T)

    def _simulate_totals(
        self,
        snapshot: Snapshot,
        horizon: str | Duration,
        order: npt.NDArray[np.intp],
        group: npt.NDArray[np.intp],
        n_groups: int,
    ) -> FloatArray:
        """Simulate all customers once per world: totals of shape (n_worlds, n_groups)."""
        rng = np.random.default_rng([self.random_state, 2])
        n_worlds = self.n_posterior_draws or 200
        purchases, spend = self.purchase_posterior_, self.spend_posterior_
        ahead = self.ahead(snapshot, horizon)
        unit, ratio = (values[order] for values in ahead.unit_values())
        x, group = _frequency(snapshot)[order], group[order]
        params = self.spend_model_.params_
        paid = unit - params["gamma"]
        plug_in = np.array([params[name] for name in SpendParams._fields])
        totals = np.empty((n_worlds, n_groups))
        for world in range(n_worlds):
            if world == 0 or (purchases is not None and world % _WORLDS == 0):
                draws = None if purchases is None else purchases.draws[world : world + _WORLDS]
                its = self._look_ahead(snapshot, horizon, draws)
                history = its.rows[order]
            node = 0 if purchases is None else world % _WORLDS
            p, q, gamma = plug_in if spend is None else spend.draws[world]
            # Drawn in the order of the ids, so that the order of the rows changes nothing.
            active = np.flatnonzero(rng.uniform(size=len(x)) < its.alive[node][history])
            future = its.inverse[history[active]]
            count = self.purchase_model_._process.draw(
                take(its.futures[node], future), its.t[node][future], rng
            )
            active, count = active[count > 0], count[count > 0]
            # Gamma spend over a gamma rate: the total of all n purchases in one draw each.
            scaled = rng.gamma(p * count) / rng.gamma(q + p * x[active])
            value = ratio[active] * (gamma + paid[active]) * scaled
            totals[world] = np.bincount(group[active], weights=value, minlength=n_groups)
        return totals


@dataclass(frozen=True)
class ValueAhead:
    """Margins and lifetime values of one horizon, from one predictive distribution.

    Made by :meth:`LifetimeValueModel.ahead`.

    Attributes
    ----------
    model : LifetimeValueModel
        Fitted.
    snapshot : Snapshot
    horizon : str, Duration or None
    """

    model: LifetimeValueModel
    snapshot: Snapshot
    horizon: str | Duration | None

    @cached_property
    def purchases(self) -> PredictiveDistribution:
        """Purchases at the estimates."""
        return self.model._look_ahead(self.snapshot, self.horizon)

    @cached_property
    def doubted(self) -> PredictiveDistribution:
        """Purchases under the posterior of the parameters."""
        posterior = self.model.purchase_posterior_
        if posterior is None:
            return self.purchases
        return self.model._look_ahead(self.snapshot, self.horizon, posterior)

    @cached_property
    def _discounted(self) -> FloatArray:
        discounted = self.purchases.discounted(self.model.annual_discount_rate)
        return np.asarray(discounted.to_numpy())

    @cached_property
    def _margins(self) -> FloatArray:
        return self.model._margins(self.snapshot)

    def clv(self) -> pd.Series[float]:
        """Discounted margin expected; see :meth:`LifetimeValueModel.clv`."""
        return self._valued(self._discounted, "clv" if self.horizon else "residual_value")

    def margin(self) -> pd.Series[float]:
        """Margin expected, not discounted."""
        return self._valued(np.asarray(self.purchases.mean()), "expected_margin")

    def margin_if_active(self) -> pd.Series[float]:
        """Margin expected of a customer who is active at the cutoff."""
        values = np.asarray(self.purchases.mean_if_alive())
        return self._valued(values, "expected_margin_if_active")

    def margin_if_staying(self) -> pd.Series[float]:
        """Margin expected of a customer who is active and never leaves."""
        values = np.asarray(self.purchases.mean_if_staying())
        return self._valued(values, "expected_margin_if_staying")

    def _valued(self, purchases: FloatArray, name: str) -> pd.Series[float]:
        spend = self.model.spend_model_.expected_spend(self.snapshot).to_numpy()
        values = self._margins * spend * purchases
        endless = int((~np.isfinite(values)).sum())
        if endless:
            q = self.model.spend_model_.params_["q"]
            warnings.warn(
                f"{name} is infinite for {endless:,} customers: the fitted spend has no mean "
                f"(q = {q:.3g}); quantiles are finite",
                InfiniteMeanWarning,
                stacklevel=4,
            )
        return pd.Series(values, index=self.snapshot.customer_id, name=name)

    def unit_values(self) -> tuple[FloatArray, FloatArray]:
        """Scale of spend ``gamma + x m``, and margin times mean discount factor."""
        x = _frequency(self.snapshot)
        m = np.where(x > 0, _monetary_value(self.snapshot), 0.0)
        plain = self.purchases.mean().to_numpy()
        # Discounting acts through its mean: a quantile of the discounted sum has no closed form.
        factor = np.where(plain > 0, self._discounted / np.where(plain > 0, plain, 1.0), 1.0)
        return self.model.spend_model_.params_["gamma"] + x * m, factor * self._margins

    def clv_quantiles(self, q: float | Sequence[float]) -> pd.DataFrame:
        """Quantiles of the discounted margin; see :meth:`LifetimeValueModel.clv_quantiles`."""
        levels = check_levels(q)
        unit, ratio = self.unit_values()
        gain = unit * ratio
        # A negative unit value turns the distribution around.
        both = np.concatenate([levels, 1.0 - levels]) if (gain < 0).any() else levels
        its = self.doubted
        inverse = its.rows
        x = _frequency(self.snapshot)
        first = np.empty(its.alive.shape[1], dtype=np.int64)
        first[inverse] = np.arange(len(inverse))
        gamma = self.model.spend_model_.params_["gamma"]
        scaled = _scaled_quantiles(its, x[first], self.model._spend_nodes(), gamma, both)
        share = np.clip(gamma / np.maximum(np.abs(unit), 1e-300), 0.0, 1.0)
        values = np.exp(interpolate_share(scaled[inverse], share))
        chosen = values[:, : len(levels)]
        if len(both) > len(levels):
            chosen = np.where(gain[:, None] < 0, values[:, len(levels) :], chosen)
        columns = pd.Index(levels, name="q")
        ids = self.snapshot.customer_id
        return pd.DataFrame(gain[:, None] * chosen, index=ids, columns=columns)


def _frequency(snapshot: Snapshot) -> FloatArray:
    return snapshot.frame["frequency"].to_numpy(np.float64)


def _monetary_value(snapshot: Snapshot) -> FloatArray:
    return snapshot.frame["monetary_value"].to_numpy(np.float64)


def _groups(
    snapshot: Snapshot, by: str | pd.Series[Any] | None
) -> tuple[npt.NDArray[np.intp], pd.Index[Any]]:
    """Group of each row as a number, and the names of the groups, sorted."""
    if by is None:
        return np.zeros(len(snapshot), dtype=np.intp), pd.Index(["all"], name="group")
    if isinstance(by, str):
        if by not in snapshot.frame.columns:
            raise MissingColumnsError([by], map(str, snapshot.frame.columns), table="snapshot")
        column = snapshot.frame[by]
    else:
        column = by.reindex(snapshot.customer_id)
    missing = column.isna().to_numpy()
    if missing.any():
        raise DataError(
            "every customer needs a group",
            table="snapshot",
            column=str(column.name),
            n_rows=int(missing.sum()),
            examples=snapshot.customer_id[missing][:5],
        )
    codes, names = pd.factorize(column.to_numpy(), sort=True)
    return codes, pd.Index(names, name=str(column.name))


def _scaled_quantiles(
    ahead: PredictiveDistribution,
    x: FloatArray,
    params: SpendParams,
    gamma: float,
    levels: FloatArray,
) -> FloatArray:
    """Log-quantiles of total spend over ``gamma + x m`` for each history.

    Returns
    -------
    ndarray, shape (n_histories, 3, n_levels)
        At the three shares ``w``; ``-inf`` where the quantile is 0.
    """
    out = np.full((len(x), 3, len(levels)), -np.inf)
    # Of whoever is less likely active than the highest level reaches, every quantile is 0.
    open_rows = np.flatnonzero(over_nodes(ahead.alive) > 1.0 - levels.max())
    n_max = 15
    while len(open_rows):
        still = []
        _, shares = thin_counts(n_max)
        totals = _ScaledTotals(n_max, params, gamma, x)
        # Few histories need long counts, so the longest support is paid for by them alone.
        groups = np.unique(ahead.inverse[open_rows])
        size = max(1, 1_000_000 // ((n_max + 1) * len(ahead.futures)))
        for piece, rows, position in chunks(ahead.inverse, groups, open_rows, size):
            pmf = ahead.given_alive(piece, n_max)
            missing = np.maximum(1.0 - pmf.sum(axis=2), 0.0)
            # How far to count is decided by each future alone, never by its neighbours.
            ready = (over_nodes(missing) < _TAIL)[position]
            pmf[:, :, n_max] += missing
            thinned = times(pmf.reshape(-1, n_max + 1), shares).reshape(*pmf.shape[:2], -1)
            still.append(rows[~ready])
            rows, position = rows[ready], position[ready]
            for low in range(0, len(rows), _ROWS):
                part = slice(low, low + _ROWS)
                weights = averaged(ahead.alive[:, rows[part]], thinned, position[part])
                out[rows[part]] = totals.log_quantiles(rows[part], weights, levels)
        open_rows = np.sort(np.concatenate(still))
        n_max = 2 * n_max + 1
    return out


class _ScaledTotals:
    """Tables of the scaled total on a ladder of ``x``.

    Between two rungs the logarithm of a quantile, less its leading term ``-log(q + p x)``, is
    taken as linear in ``x``.
    """

    def __init__(self, n_max: int, params: SpendParams, gamma: float, x: FloatArray) -> None:
        self._n_max, self._params, self._gamma = n_max, params, gamma
        self._key = tuple(tuple(values.tolist()) for values in params)
        self._rungs = np.concatenate([[0], ladder(x.max())])
        self._lower = np.searchsorted(self._rungs, x, side="right") - 1
        low, high = self._rungs[self._lower], self._rungs[self._lower + 1]
        self._share = (x - low) / (high - low)
        self._x = x

    def log_quantiles(self, rows: IntArray, weights: FloatArray, levels: FloatArray) -> FloatArray:
        """Quantiles of some histories, given P(each count): (n_rows, 3, n_levels)."""
        out = np.zeros((len(rows), 3, len(levels)))
        lower, share = self._lower[rows], self._share[rows]
        for side in (0, 1):
            weight = 1.0 - share if side == 0 else share
            for rung in np.unique(lower[weight > 0]):
                mine = np.flatnonzero((lower == rung) & (weight > 0))
                found = compound_quantiles(
                    1.0 - weights[mine].sum(axis=1),
                    weights[mine],
                    _table(float(self._rungs[rung + side]), self._n_max, self._key, self._gamma),
                    levels,
                )
                lead = self._lead(self._rungs[rung + side]) - self._lead(self._x[rows[mine]])
                found += lead[:, None, None]
                out[mine] += weight[mine][:, None, None] * found
        return out

    def _lead(self, x: FloatArray) -> FloatArray:
        return np.asarray(np.log(self._params.q.mean() + self._params.p.mean() * x))


@lru_cache(maxsize=512)
def _table(
    x: float, n_max: int, params: tuple[tuple[float, ...], ...], gamma: float
) -> CompoundTable:
    """Tabulate once for all batches of customers; a table takes some 50 kB."""
    counts, _ = thin_counts(n_max)
    return tabulate(x, counts, SpendParams(*map(np.array, params)), gamma)
