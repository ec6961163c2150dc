"""(M)BG/CNBD-k: regular buyers, with the order of regularity chosen by likelihood."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from crmml._typing import Duration, FloatArray
from crmml.exceptions import (
    DataError,
    FitWarning,
    MissingColumnsError,
    ParameterError,
    RegularityWarning,
)
from crmml.features.snapshot import Distinct, Snapshot
from crmml.models.arguments import check_snapshot
from crmml.models.estimator import row_weights
from crmml.models.purchase.base import CLOCK_STATE, Group, PurchaseModel
from crmml.models.purchase.beta_geo import BETA_GEO_BOUNDARIES
from crmml.models.purchase.clocks import ClockSettings
from crmml.models.purchase.distribution import Future, Histories
from crmml.stats import bg_nbd, mbg_nbd
from crmml.stats.cnbd_k import Dropout, ErlangProcess
from crmml.stats.discounting import UNIT_DAYS, in_units
from crmml.stats.process import PurchaseProcess
from crmml.stats.quadrature import legendre

GAPS = "sum_log_gaps"
_ALIKE = 0.25
"""Gaps of a customer are alike if their standard deviation is at most so much of their mean."""
_REACH = 36.0
"""Beyond so many times ``1 / delta`` nothing that is discounted is left."""
_PIECES = (4, 13, 26, 52, 78, 104, 156, 208, 260, 520, 1040, 2080, 4160, 8320, 16640)
"""Weeks at which the pieces of an integral end."""
_MOST_TRIED = 12
"""Largest whole order of regularity that is compared."""


@dataclass(frozen=True)
class Regularity:
    """How regular the gaps between purchases are, whatever the rates of the customers.

    Attributes
    ----------
    n_customers, n_gaps : int
        Customers with at least two gaps, and their gaps.
    typical_gap : float
        Median over these customers of their mean gap, in time units of the snapshot.
    variation, random_variation : float
        Pooled coefficient of variation of a gap around its customer's own mean; and what it would
        be if these customers bought at random, in whole grain periods (1 for Poisson purchases).
    alike_share : float
        Share of the gaps that belong to customers whose gaps differ by at most a quarter of their
        mean (standard deviation).
    order : float
        Likeliest Erlang shape of the gaps, not necessarily whole; 1 for Poisson purchases.
    best_k : int
        Likeliest whole order, 1 to 12.
    gain : float
        Log-likelihood of ``best_k`` less that of Poisson purchases.
    regular : bool
        Whether ``best_k`` is above 1, ``gain`` above ``log(n_customers) / 2`` (the price of a
        parameter that :class:`RegularPurchaseModel` asks, too), and the variance at most two
        thirds of that of random purchases, so that rounding to whole days is not the reason.
    time_unit : str
        Of the snapshot.
    """

    n_customers: int
    n_gaps: int
    typical_gap: float
    variation: float
    random_variation: float
    alike_share: float
    order: float
    best_k: int
    gain: float
    regular: bool
    time_unit: str

    @property
    def sentence(self) -> str:
        """The finding with its figures."""
        if not self.n_gaps:
            return "no customer bought three times, so regular buyers cannot be told from others"
        figures = (
            f"the {self.n_gaps:,} gaps of {self.n_customers:,} customers vary by "
            f"{self.variation:.0%} around their customer's mean (at random it would be "
            f"{self.random_variation:.0%}), "
            f"{self.alike_share:.0%} of them belong to customers whose gaps differ by at most "
            f"{_ALIKE:.0%}, and the typical gap is {self.typical_gap:.2g} {self.time_unit}s"
        )
        if not self.regular:
            return f"buyers are not regular: {figures}"
        return (
            f"buyers are regular: {figures}; gaps of order {self.best_k} are likelier than those "
            f"of Poisson purchases by {self.gain:,.1f} in the logarithm"
        )


def find_regularity(snapshot: Snapshot) -> Regularity:
    """Judge from the gaps between purchases whether buyers are regular, without fitting a model.

    Parameters
    ----------
    snapshot : Snapshot
        Built from a log with ``behaviour=True``.

    Raises
    ------
    MissingColumnsError
        If ``sum_log_gaps`` or ``gap_sd`` is missing.
    DataError
        If ``sum_log_gaps`` cannot be true.

    Notes
    -----
    Given how many gaps a customer has and how long they are together, gaps of an Erlang-k process
    divide that length by a symmetric Dirichlet(k) distribution, whatever the rate of the customer,
    and also where customers leave at purchases. So the order is found from gaps alone.

    Gaps are counted in whole grain periods, which makes short ones look regular. Random purchases
    divide S periods among n gaps evenly over all divisions, with the variance
    ``(m**2 - m) n / (n + 1)`` of a gap around its mean ``m = S / n`` (n - 1 in the denominator).

    Examples
    --------
    >>> df = pd.DataFrame({"customer_id": ["a", "b"], "frequency": [2.0, 2.0],
    ...     "recency": [8.0, 8.0], "T": [9.0, 9.0], "sum_log_gaps": [np.log(4.0) * 2] * 2,
    ...     "gap_sd": [0.0, 0.0]})
    >>> find_regularity(Snapshot.from_frame(df, cutoff="2024-01-01", time_unit="week")).best_k
    12
    """
    frame = snapshot.frame
    missing = [name for name in (GAPS, "gap_sd") if name not in frame.columns]
    if missing:
        raise MissingColumnsError(missing, map(str, frame.columns), table="snapshot")
    logs = _sum_log_gaps(snapshot)
    n = frame["frequency"].to_numpy(dtype=np.float64)
    keep = n >= 2
    n, span, logs = n[keep], frame["recency"].to_numpy(dtype=np.float64)[keep], logs[keep]
    deviation = frame["gap_sd"].to_numpy(dtype=np.float64)[keep]
    if not len(n):
        nan = float("nan")
        return Regularity(0, 0, nan, nan, nan, nan, nan, 1, 0.0, False, snapshot.time_unit)
    number, customers = np.unique(n, return_counts=True)
    # The rate cancels: given the sum of the gaps, only their shares of it tell of k.
    shares = math.fsum(logs - n * np.log(span))

    def log_likelihood(k: float) -> float:
        constant = gammaln(number * k) - number * gammaln(k)
        return float(customers @ constant) + (k - 1.0) * shares

    found = minimize_scalar(
        lambda log_k: -log_likelihood(math.exp(log_k)),
        # On the scale of log k, where the likelihood is nearly symmetric; k of 0.05 is burstier and
        # 1e4 more regular than any customer is.
        bounds=(math.log(0.05), math.log(1e4)),
        method="bounded",
    )
    trials = [log_likelihood(float(k)) for k in range(1, _MOST_TRIED + 1)]
    best_k = int(np.argmax(trials)) + 1
    gain = trials[best_k - 1] - trials[0]
    # A customer with n gaps has n - 1 free ones, so the variances are pooled with these weights.
    relative, weights = deviation * n / span, (n - 1.0) / math.fsum(n - 1.0)
    unit = UNIT_DAYS.get(snapshot.time_unit)
    period = 1.0 if unit is None else UNIT_DAYS[snapshot.grain] / unit
    # What rounding to whole periods leaves of the variance; it must not count as regularity.
    at_random = np.maximum(1.0 - period * n / span, 0.0) * n / (n + 1.0)
    seen, expected = math.fsum(weights * relative**2), math.fsum(weights * at_random)
    return Regularity(
        n_customers=len(n),
        n_gaps=int(n.sum()),
        typical_gap=float(np.median(span / n)),
        variation=math.sqrt(seen),
        random_variation=math.sqrt(expected),
        alike_share=float(n[relative <= _ALIKE].sum() / n.sum()),
        order=math.exp(found.x),
        best_k=best_k,
        gain=gain,
        regular=best_k > 1 and gain > 0.5 * math.log(len(n)) and seen <= expected / 1.5,
        time_unit=snapshot.time_unit,
    )


class RegularPurchaseModel(PurchaseModel):
    """MBG/CNBD-k or BG/CNBD-k: gaps between purchases are Erlang-k, less random than Poisson.

    Reutterer, Platzer and Schroeder (2021), International Journal of Research in Marketing 38(1);
    ``params_`` are theirs: gaps have mean ``k / lambda`` with ``lambda ~ Gamma(r, alpha)``. At
    k = 1 this *is* :class:`~crmml.models.ModifiedBetaGeoModel` (or, with ``dropout="plain"``,
    :class:`~crmml.models.BetaGeoModel`), number for number.

    Parameters
    ----------
    k : int or None
        Order of regularity, >= 1. ``None`` raises k from 1 while the likelihood rises, and keeps
        the best only if it gains more than ``log(number of customers) / 2`` over k = 1: what one
        more parameter costs by the Bayesian information criterion.
    dropout : {"modified", "plain"}
        ``modified``: the customer may leave after every purchase, the first included; ``plain``:
        after repeat purchases only.
    k_max : int
        Largest k tried.
    purchase_covariates, dropout_covariates, ridge, clocks
        See :class:`~crmml.models.purchase.base.PurchaseModel`. Clocks need a given ``k``, and for
        k > 1 they must be given in full, too.

    Attributes
    ----------
    k_ : int
        The order used.
    log_likelihoods_ : list of float
        At the optimum for k = 1, 2, ... as far as tried; empty where k was given.

    Notes
    -----
    Counts and recency alone cannot tell one k from another. The snapshot column ``sum_log_gaps``,
    the sum of the natural logarithms of a customer's gaps between purchases in the time unit of
    the snapshot (0 without repeat purchases), completes the likelihood.

    On a given clock the gaps are Erlang-k in operational time. Parameters and forecasts need only
    count, recency and length on the clock; but which k is likeliest, and which clock, is told by
    each gap on the clock, of which the snapshot knows the sum of logarithms in calendar time only.
    So neither is chosen there, and ``log_likelihood_`` lacks the gaps for k > 1. Purchases are then
    discounted by numerical integration of the expected purchases.
    """

    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (("a", 1.0), ("b", 1.0)),
    }
    _boundaries = BETA_GEO_BOUNDARIES
    _state = (*PurchaseModel._state, *CLOCK_STATE, "k_", "log_likelihoods_")  # type: ignore[assignment]

    k_: int
    log_likelihoods_: list[float]

    def __init__(
        self,
        *,
        k: int | None = None,
        dropout: Dropout = "modified",
        k_max: int = 12,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
        clocks: ClockSettings = (),
    ) -> None:
        super().__init__(
            purchase_covariates=purchase_covariates,
            dropout_covariates=dropout_covariates,
            ridge=ridge,
            clocks=clocks,
        )
        self.k = k
        self.dropout = dropout
        self.k_max = k_max

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        return mbg_nbd.NAMES

    @property
    def _process(self) -> PurchaseProcess:  # type: ignore[override]
        if self.k_ == 1:
            return mbg_nbd if self.dropout == "modified" else bg_nbd
        return cast(PurchaseProcess, ErlangProcess(self.k_, self.dropout))

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood, over k too unless k was given.

        Parameters
        ----------
        snapshot : Snapshot
            Needs ``frequency``, ``recency``, ``T``, the covariates, and for k > 1
            ``sum_log_gaps``.
        sample_weight : Series or array-like, optional
            Non-negative weight of each customer.

        Returns
        -------
        self

        Raises
        ------
        MissingColumnsError
            If k > 1 was asked for and ``sum_log_gaps`` is missing.
        DataError
            If ``sum_log_gaps`` is not finite, or larger than ``frequency`` gaps that fill
            ``recency`` can make it (a wrong unit of time).

        Warns
        -----
        RegularityWarning
            If k is to be chosen and ``sum_log_gaps`` is missing: k stays 1.
        FitWarning
            If k > 1 and there is a clock: ``log_likelihood_`` lacks the gaps.
        """
        check_snapshot(snapshot, self)
        self._check_settings()
        has_gaps = GAPS in snapshot.frame.columns
        if self.k is not None:
            if self.k > 1 and not has_gaps and not self._requested():
                raise MissingColumnsError(
                    [GAPS], map(str, snapshot.frame.columns), table="snapshot"
                )
            return self._fit_at(self.k, snapshot, sample_weight)
        if not has_gaps:
            warnings.warn(
                f"RegularPurchaseModel: the snapshot has no column {GAPS!r}, without which "
                "regularity cannot be seen; k stays 1 and the model is "
                f"{'MBG/NBD' if self.dropout == 'modified' else 'BG/NBD'}",
                RegularityWarning,
                stacklevel=2,
            )
            return self._fit_at(1, snapshot, sample_weight)
        return self._choose(snapshot, sample_weight)

    def _choose(self, snapshot: Snapshot, sample_weight: Any) -> Self:
        settings = self.get_params(deep=False)
        trials: list[tuple[Self, list[warnings.WarningMessage]]] = []
        for k in range(1, self.k_max + 1):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                trial = type(self)(**{**settings, "k": k}).fit(snapshot, sample_weight)
            trials.append((trial, said))
            # The likelihood has one top over k, and each k costs a fit: stop past it.
            if k > 1 and trial.log_likelihood_ <= trials[-2][0].log_likelihood_:
                break
        likelihoods = [float(trial.log_likelihood_) for trial, _ in trials]
        best = int(np.argmax(likelihoods))
        if likelihoods[best] - likelihoods[0] <= 0.5 * math.log(len(snapshot)):
            best = 0
        chosen, said = trials[best]
        # Only of the fit that is kept: what the trials warned of concerns nobody.
        for warning in said:
            warnings.warn(warning.message, stacklevel=3)
        for name in self._state:
            setattr(self, name, getattr(chosen, name))
        self.log_likelihoods_ = likelihoods
        return self

    def _fit_at(self, k: int, snapshot: Snapshot, sample_weight: Any) -> Self:
        self.k_ = k
        self.log_likelihoods_ = []
        super().fit(snapshot, sample_weight)
        if k > 1 and not self._clockwork.even:
            warnings.warn(
                f"RegularPurchaseModel: the gaps between purchases on the clock are unknown, so "
                f"the log-likelihood for k = {k} lacks them and cannot be compared with that of "
                "another model",
                FitWarning,
                stacklevel=3,
            )
        elif k > 1:
            # The gaps do not depend on the parameters, so they are left out while those are sought;
            # without them likelihoods of different k would not compare.
            missing = self._full_log_likelihood(snapshot, sample_weight) - self.log_likelihood_
            self.log_likelihood_ += missing
            self.null_log_likelihood_ += missing
        return self

    def _full_log_likelihood(self, snapshot: Snapshot, sample_weight: Any) -> float:
        """Log-likelihood at the fitted parameters with the gaps themselves in it."""
        # Histories are fitted by distinct rows, but gaps differ within a row: they are summed
        # apart.
        h = self._histories(snapshot)
        weights = row_weights(snapshot, h.groups, sample_weight)
        partial = self._process.log_likelihood(self._row_params(h), h.x, h.t_x, h.T)
        x = snapshot.frame["frequency"].to_numpy(dtype=np.float64)
        constant = ErlangProcess(self.k_, self.dropout).gap_constant(x, _sum_log_gaps(snapshot))
        groups = Distinct({"constant": constant})
        own_weights = row_weights(snapshot, groups, sample_weight)
        return float(weights @ partial + own_weights @ groups.values["constant"])

    def _check_settings(self) -> None:
        super()._check_settings()
        for name, value in (("k", self.k), ("k_max", self.k_max)):
            whole = isinstance(value, (int, np.integer)) and value >= 1
            if not (whole or (name == "k" and value is None)):
                raise ParameterError(name, "a whole number >= 1", value)
        if self.dropout not in ("modified", "plain"):
            raise ParameterError("dropout", "'modified' or 'plain'", self.dropout)
        requested = self._requested()
        unknown = "only the sum of the log gaps in calendar time is known, not each on the clock"
        if requested and self.k is None:
            raise ParameterError("k", f"given where there are clocks ({unknown})", self.k)
        if requested.estimated and self.k != 1:
            raise ParameterError("clocks", f"given in full for k > 1 ({unknown})", self.clocks)

    def _discount(
        self,
        snapshot: Snapshot,
        h: Histories,
        future: Future,
        horizon: str | Duration | None,
        delta: float,
    ) -> FloatArray:
        if self.k_ == 1 or self._clockwork.even:
            return super()._discount(snapshot, h, future, horizon, delta)
        return self._discount_by_curve(snapshot, h, future, horizon, delta)

    def _discount_by_curve(
        self,
        snapshot: Snapshot,
        h: Histories,
        future: Future,
        horizon: str | Duration | None,
        delta: float,
    ) -> FloatArray:
        """Discount by parts: ``exp(-delta t) E(t) + delta * integral of exp(-delta u) E(u) du``.

        ``E(u)`` is what is expected until the time u, along the clock; the integral is taken by
        Gauss-Legendre in pieces short enough to follow the seasons of the first five years.
        """
        unit = snapshot.time_unit
        # A row of each distinct future, whose length on the clock stands for all others like it.
        first = np.empty(len(future.t), dtype=np.int64)
        first[future.inverse] = np.arange(len(future.inverse))

        def expected(u: float) -> FloatArray:
            lengths = self._lengths(snapshot, h, Duration(u, unit))[first]
            return self._process.expected_purchases(future.params, lengths)

        if horizon is not None:
            end = in_units(horizon, unit)
        elif self.calendar_ is not None and not self.calendar_.weekly:
            raise ParameterError("horizon", "given where the profile is a table of dates", None)
        else:
            # Beyond it the discount factor is below what a float can add.
            end = _REACH / delta
        total = math.exp(-delta * end) * expected(end)
        if delta == 0.0:
            return total
        inside = in_units("1W", unit) * np.array(_PIECES)
        edges = np.concatenate([[0.0], inside[inside < end], [end]])
        for low, high in pairwise(edges.tolist()):
            for node, weight in zip(*legendre(6), strict=True):
                u = low + (high - low) * float(node)
                total += weight * (high - low) * delta * math.exp(-delta * u) * expected(u)
        return total


def _sum_log_gaps(snapshot: Snapshot) -> FloatArray:
    """Sum of log gaps of each customer, 0 without a gap; validated.

    By the inequality of the means it cannot exceed ``x log(t_x / x)``.
    """
    x = snapshot.frame["frequency"].to_numpy(dtype=np.float64)
    t_x = snapshot.frame["recency"].to_numpy(dtype=np.float64)
    given = pd.to_numeric(snapshot.frame[GAPS], errors="coerce").to_numpy(dtype=np.float64)
    repeat = x > 0
    values = np.where(repeat, given, 0.0)
    most = np.where(repeat, x * np.log(np.where(repeat, t_x / np.maximum(x, 1.0), 1.0)), 0.0)
    # The margin lets equal gaps pass, which meet the bound up to rounding.
    broken = ~np.isfinite(values) | (values > most + 1e-6 * np.maximum(1.0, np.abs(most)))
    if broken.any():
        raise DataError(
            "the sum of log gaps must be finite and at most frequency * log(recency / frequency), "
            "in the time unit of the snapshot",
            table="snapshot",
            column=GAPS,
            n_rows=int(broken.sum()),
            examples=snapshot.customer_id[broken][:5],
        )
    return values
