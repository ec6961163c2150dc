"""A process and its clocks fitted together: one maximisation, one gradient by the chain rule.

The coordinates are the log-parameters and coefficients of each part (one kind of customers with a
process of its own), then those of the clocks, which all parts share. A part says how its likelihood
changes with the time of the last purchase and with the length of observation; a clock says how
those two times change with its coordinates; the product of the two is the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from crmml._typing import FloatArray, IntArray
from crmml.stats import bg_nbd, mle
from crmml.stats.clocks import Intervals, Pace
from crmml.stats.left_censored import SeenEarly
from crmml.stats.newcomer import NewcomerEffect

_PACE_BOUND = 6.0
"""Largest coefficient of the logarithm of the pace looked for."""


@dataclass(frozen=True)
class Newcomers:
    """The change of the rate with age: given, or two coordinates ``log first``, ``log decay``.

    Attributes
    ----------
    begin, counts : ndarray, shape (n_stretches,)
        Age at which stretches begin, and the purchases in each.
    width : float
        Length of a stretch.
    given : NewcomerEffect, optional
        Nothing is estimated then.
    bounds : pair of pairs of float
        Where the two coordinates are sought.
    """

    begin: FloatArray
    counts: FloatArray
    width: float
    given: NewcomerEffect | None = None
    bounds: tuple[tuple[float, float], tuple[float, float]] = ((-3.0, 3.0), (-12.0, 12.0))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return 2 if self.given is None else 0

    def at(self, psi: FloatArray) -> NewcomerEffect:
        """Return the effect at some coordinates."""
        return self.given if self.given is not None else NewcomerEffect(*np.exp(psi).tolist())

    @cached_property
    def _stretches(self) -> Intervals:
        width = np.full(len(self.begin), self.width)
        return Intervals.of(np.zeros(len(width)), width, self.begin)

    def log_rates(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Sum of the logarithm of the mean rate of each stretch over the purchases; its slope."""
        found = self._stretches.under(None, self.at(psi))
        value = float(self.counts @ np.log(found.time / self.width))
        return value, found.pull(self.counts / found.time)[: self.size]


@dataclass(frozen=True)
class Shared:
    """The pace common to all: ``log s = offset + coefficients @ columns``, constant by pieces.

    Attributes
    ----------
    edges : ndarray, shape (n_pieces + 1,)
        In units of time.
    offset, counts : ndarray, shape (n_pieces,)
        What is known of the logarithm, and the purchases in each piece.
    columns : ndarray, shape (n_coefficients, n_pieces)
    year : ndarray, shape (n_season, n_weeks)
        The first columns again over the weeks of a year, of which the mean factor shall be 1.
    year_shares : ndarray, shape (n_weeks,)
        How much of the time each of those weeks is.
    """

    edges: FloatArray
    offset: FloatArray
    counts: FloatArray
    columns: FloatArray
    year: FloatArray = field(default_factory=lambda: np.empty((0, 1)))
    year_shares: FloatArray = field(default_factory=lambda: np.ones(1))

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return len(self.columns)

    def _logs(self, psi: FloatArray) -> tuple[FloatArray, FloatArray]:
        season = len(self.year)
        # A season that raised the mean rate could not be told from the process's own rate: the mean
        # factor over the year is held at 1, and the slopes by the coefficients know of it.
        weighted = self.year_shares * np.exp(psi[:season] @ self.year)
        centre = self.year @ weighted / weighted.sum()
        by = self.columns.copy()
        by[:season] -= centre[:, None]
        mean = np.log(weighted.sum() / self.year_shares.sum()) if season else 0.0
        return self.offset + psi @ self.columns - mean, by

    def at(self, psi: FloatArray) -> Pace:
        """Return the pace at some coordinates."""
        logs, by = self._logs(psi)
        return Pace(self.edges, np.exp(logs), by)

    def log_rates(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Sum of the logarithm of the pace over the purchases, and its slope."""
        logs, by = self._logs(psi)
        return float(self.counts @ logs), by @ self.counts


@dataclass(frozen=True)
class Clocks:
    """All effects together, and the coordinates that are estimated of them."""

    newcomers: Newcomers | None = None
    shared: Shared | None = None

    @property
    def sizes(self) -> tuple[int, int]:
        """Coordinates of the newcomers and of the shared pace."""
        return tuple(0 if one is None else one.size for one in (self.newcomers, self.shared))  # type: ignore[return-value]

    def at(self, psi: FloatArray) -> tuple[Pace | None, NewcomerEffect | None]:
        """Return the shared pace and the effect at some coordinates."""
        n = self.sizes[0]
        return (
            None if self.shared is None else self.shared.at(psi[n:]),
            None if self.newcomers is None else self.newcomers.at(psi[:n]),
        )

    def log_rates(self, psi: FloatArray) -> tuple[float, FloatArray]:
        """Sum of the logarithms of all multipliers over the purchases, and its slope."""
        n = self.sizes[0]
        value, slopes = 0.0, []
        for effect, its in ((self.newcomers, psi[:n]), (self.shared, psi[n:])):
            if effect is not None:
                more, slope = effect.log_rates(its)
                value += more
                slopes.append(slope)
        return value, np.concatenate([np.empty(0), *slopes])

    def bounds(self) -> mle.Bounds:
        """Bounds of the coordinates."""
        ends = [] if self.newcomers is None or not self.sizes[0] else list(self.newcomers.bounds)
        ends += [(-_PACE_BOUND, _PACE_BOUND)] * self.sizes[1]
        low, high = np.array(ends, dtype=np.float64).reshape(-1, 2).T
        return low, high


@dataclass(frozen=True)
class Part:
    """Customers of one process.

    Attributes
    ----------
    process : ClockedProcess
        For the zero-truncated process its share is ignored: ``margin`` says it.
    x, begin, t_x, T, weights : ndarray, shape (n,)
        Distinct histories in calendar time; ``begin`` on the scale of the edges of a pace.
    blocks : sequence of Block
        Covariates.
    aged : bool
        Whether the rate changes with age. Of customers older than the data no age is known.
    margin : float, optional
        Length of the time within which these customers were seen, by the zero-truncated process.
    """

    process: Any
    x: FloatArray
    begin: FloatArray
    t_x: FloatArray
    T: FloatArray
    weights: FloatArray
    blocks: tuple[mle.Block, ...] = ()
    aged: bool = True
    margin: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        return (*self.process.NAMES, *(block.name for block in self.blocks))

    def scale(self) -> float:
        """Mean length of observation, by which time is divided for the fit."""
        return float((self.weights * self.T).sum() / self.weights.sum())

    def thinned(self, index: IntArray, share: float) -> Part:
        """Keep some rows, their weights multiplied by a number."""
        return replace(
            self,
            x=self.x[index],
            begin=self.begin[index],
            t_x=self.t_x[index],
            T=self.T[index],
            weights=self.weights[index] * share,
            blocks=tuple(block.thinned(index) for block in self.blocks),
        )


class OnClock(NamedTuple):
    """Times of a part on the clocks, and how slopes by them become slopes by the coordinates."""

    t_x: FloatArray
    T: FloatArray
    share: float
    pull: Callable[[FloatArray, FloatArray, float], FloatArray]


def on_clock(part: Part, clocks: Clocks) -> Callable[[FloatArray], OnClock]:
    """Prepare the operational times of a part as a function of the coordinates of the clocks."""
    to_last, to_end = (Intervals.of(part.begin, length) for length in (part.t_x, part.T))
    n_own, n_shared = clocks.sizes
    margin = None
    if part.margin is not None:
        margin = Intervals.of(part.begin[:1], np.array([part.margin]))

    def padded(slopes: FloatArray, settles: bool) -> FloatArray:
        """Slopes by the estimated coordinates: those of a given effect do not count."""
        found = np.zeros(n_own + n_shared)
        if n_shared:
            found[n_own:] = slopes[2 if settles else 0 :]
        if settles:
            found[:n_own] = slopes[:n_own]
        return found

    def at(psi: FloatArray) -> OnClock:
        pace, effect = clocks.at(psi)
        # Of customers older than the data nobody knows the age, so its effect is not theirs.
        effect = effect if part.aged else None
        # On every clock the last purchase lies within the observation, but for rounding.
        last, end = to_last.under(pace, effect), to_end.under(pace, effect)
        seen = None if margin is None else margin.under(pace, effect)
        share = 1.0 if seen is None else float(seen.time[0] / end.time[0])

        def pull(by_t_x: FloatArray, by_T: FloatArray, by_margin: float) -> FloatArray:
            slopes = last.pull(by_t_x) + end.pull(by_T)
            if seen is not None:
                slopes = slopes + seen.pull(np.array([by_margin]))
            return padded(slopes, effect is not None)

        return OnClock(np.minimum(last.time, end.time), end.time, share, pull)

    return at


def part_objective(
    part: Part, clocks: Clocks, ridge: float, scale: float
) -> Callable[[FloatArray, FloatArray], tuple[float, FloatArray, FloatArray]]:
    """Penalised log-likelihood of a part by its own coordinates and by those of the clocks.

    Returns
    -------
    callable
        Of theta (log-parameters in time over ``scale``, then coefficients) and psi: the value, its
        gradient by theta, its gradient by psi.
    """
    process, blocks, weights = part.process, part.blocks, part.weights
    size = len(process.NAMES)
    place = [process.NAMES.index(block.parameter) for block in blocks]
    times = _remembered(on_clock(part, clocks))
    total = float(weights.sum())
    counted = None
    # Without covariates rows share their sums by x, which is worth a factor of ten.
    if not blocks and part.margin is not None:
        counted = bg_nbd.counted_on_clock(part.x, weights)
    elif not blocks and hasattr(process, "counted_on_clock"):
        counted = process.counted_on_clock(part.x, weights)

    def evaluate(theta: FloatArray, psi: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        clock = times(psi)
        t_x, T = clock.t_x / scale, clock.T / scale
        if counted is not None:
            value, gradient, by_t_x, by_T = counted(theta, t_x, T)
            by_margin = 0.0
            if part.margin is not None:
                seen, by_first_two, by_margin = _log_seen(theta, float(clock.share * T[0]))
                value -= total * seen
                gradient[:2] -= total * by_first_two
            return (
                value,
                gradient,
                clock.pull(by_t_x / scale, by_T / scale, -total * by_margin / scale),
            )
        here: Any = process if part.margin is None else SeenEarly(clock.share)
        params = mle.row_params(here, blocks, theta)
        found = here.clocked_score(params, part.x, t_x, T)
        by_t_x, by_T = weights * found.by_t_x, weights * found.by_T
        by_margin = 0.0
        if part.margin is not None:
            # The slope by T holds the share fixed, so that the margin moves with T; take that
            # back, and let the margin move on its own.
            unseen = weights * here.unseen_rate(params, T)
            by_T = by_T + clock.share * unseen
            by_margin = -float(unseen.sum())
        weighted = found.by_params * weights
        coefficients = theta[size:]
        by_coefficient = [
            block.sign * float(weighted[j] @ block.z)
            for j, block in zip(place, blocks, strict=True)
        ]
        gradient = np.concatenate([weighted.sum(axis=1), by_coefficient - ridge * coefficients])
        # The ridge holds coefficients only: a penalty of rates would depend on the unit of time.
        value = float(weights @ found.value) - 0.5 * ridge * float(coefficients @ coefficients)
        return value, gradient, clock.pull(by_t_x / scale, by_T / scale, by_margin / scale)

    return evaluate


def _remembered(times: Callable[[FloatArray], OnClock]) -> Callable[[FloatArray], OnClock]:
    """Keep the last answer: most differences of the information move no clock."""
    last: list[tuple[FloatArray, OnClock]] = []

    def at(psi: FloatArray) -> OnClock:
        if not last or not np.array_equal(last[0][0], psi):
            last[:] = [(psi.copy(), times(psi))]
        return last[0][1]

    return at


def _log_seen(theta: FloatArray, margin: float) -> tuple[float, FloatArray, float]:
    """Log-probability of a purchase within the margin, slopes by log r and log alpha, by margin."""
    r, alpha = np.exp(theta[:2])
    nobody = r * np.log1p(margin / alpha)
    odds = 1.0 / np.expm1(nobody)
    rate = odds * r / (alpha + margin)
    return float(np.log(-np.expm1(-nobody))), np.array([odds * nobody, -rate * margin]), float(rate)


@dataclass(frozen=True)
class JointFit:
    """Where the joint maximisation ended.

    Attributes
    ----------
    parts : list of Fit
        Of each part, on the scale of time and covariates as given; ``log_likelihood`` without the
        penalty and without the log rates at the purchases, which are in ``log_rates``.
    psi : ndarray, shape (q,)
    covariance : ndarray, shape (q, q)
        Of psi.
    at_bounds : list of int
        Coordinates of psi on a bound of the search.
    whole : ndarray, shape (p + q, p + q)
        Covariance of all coordinates, parts first.
    penalised : float
        What was maximised.
    """

    parts: list[mle.Fit]
    psi: FloatArray
    covariance: FloatArray
    at_bounds: list[tuple[int, mle.Side]]
    whole: FloatArray
    log_rates: float
    penalised: float


def fit_jointly(
    parts: Sequence[Part],
    clocks: Clocks,
    starts: Sequence[FloatArray],
    psi_starts: Sequence[FloatArray],
    ridge: float = 0.0,
    *,
    near: bool = False,
) -> JointFit:
    """Maximise the likelihood of all parts over their own coordinates and those of the clocks.

    Parameters
    ----------
    parts : sequence of Part
    clocks : Clocks
    starts : sequence of ndarray
        Log-parameters of each part in the time unit of the rows, at mean covariates.
    psi_starts : sequence of ndarray, shape (q,)
        One or more starts of the clocks; the best goes on.
    ridge : float
        Penalty of the standardised coefficients.
    near : bool
        See :func:`crmml.stats.mle.maximise`.
    """
    scales = [part.scale() for part in parts]
    sizes = [len(part.names) for part in parts]
    cuts = np.cumsum([0, *sizes])
    rows = np.cumsum([0, *(len(part.x) for part in parts)])
    shifts = [_shift(part, scale) for part, scale in zip(parts, scales, strict=True)]

    def objective_of(index: Any, share: float) -> mle.Objective:
        chosen = np.arange(rows[-1])[index]
        terms: list[Any] = []
        for part, low, high, scale in zip(parts, rows, rows[1:], scales, strict=False):
            mine = chosen[np.searchsorted(chosen, low) : np.searchsorted(chosen, high)] - low
            some = part.thinned(mine, share)
            # Of few rows a thinned sample may hold none.
            terms.append(part_objective(some, clocks, ridge, scale) if len(mine) else None)

        def value_and_gradient(theta: FloatArray) -> tuple[float, FloatArray]:
            psi = theta[cuts[-1] :]
            value, by_psi = clocks.log_rates(psi)
            gradients = []
            for term, low, high in zip(terms, cuts, cuts[1:], strict=False):
                if term is None:
                    gradients.append(np.zeros(high - low))
                    continue
                more, gradient, pulled = term(theta[low:high], psi)
                value += more
                by_psi = by_psi + pulled
                gradients.append(gradient)
            return value, np.concatenate([*gradients, by_psi])

        return mle.differentiated(value_and_gradient)

    # Coefficients begin at 0, where a part is its own process without covariates.
    begin = np.concatenate(
        [
            np.concatenate([start - shift, np.zeros(size - len(start))])
            for start, shift, size in zip(starts, shifts, sizes, strict=True)
        ]
    )
    low, high = clocks.bounds()
    box = np.full(cuts[-1], mle.BOX)
    names = [f"{i} {name}" for i, part in enumerate(parts) for name in part.names]
    names += [f"psi {i}" for i in range(len(low))]
    fit = mle.fit_rows(
        names,
        objective_of,
        np.concatenate([part.weights for part in parts]),
        np.array([np.concatenate([begin, psi]) for psi in psi_starts]),
        bounds=(np.concatenate([-box, low]), np.concatenate([box, high])),
        near=near,
    )
    return _split(fit, parts, clocks, scales, shifts, ridge)


def _shift(part: Part, scale: float) -> FloatArray:
    return np.array([np.log(scale) if n == "alpha" else 0.0 for n in part.process.NAMES])


def _split(
    fit: mle.Fit,
    parts: Sequence[Part],
    clocks: Clocks,
    scales: Sequence[float],
    shifts: Sequence[FloatArray],
    ridge: float,
) -> JointFit:
    """Take the fit apart, on the scale of time and of the covariates as given."""
    size = sum(len(part.names) for part in parts)
    psi = fit.theta[size:]
    change = np.eye(len(fit.theta))
    constant = np.zeros(len(fit.theta), dtype=bool)
    found, low = [], 0
    jacobian = 0.0
    for i, (part, scale, shift) in enumerate(zip(parts, scales, shifts, strict=True)):
        mine = slice(low, low + len(part.names))
        theta = fit.theta[mine]
        value, _, _ = part_objective(part, clocks, 0.0, scale)(theta, psi)
        logs = float(part.weights @ part.x) * np.log(scale)
        # A density of times changes with their unit, once for every purchase.
        jacobian += logs
        own = mle.to_given_scale(part.process.NAMES, part.blocks)
        change[mine, mine] = own
        constant[mine] = np.diag(own) == 0.0
        sides = tuple(
            (name.removeprefix(f"{i} "), side)
            for name, side in fit.boundary
            if name.startswith(f"{i} ")
        )
        shifted = theta.copy()
        shifted[: len(shift)] += shift
        found.append(
            mle.Fit(
                own @ shifted,
                value - logs,
                np.empty(0),
                fit.gradient_norm,
                fit.converged,
                sides,
                tuple(block.name for block in part.blocks),
            )
        )
        low = mine.stop
    whole = _moved_covariance(change, fit.covariance)
    # A covariate that is the same for all has no coefficient to speak of.
    whole[constant] = whole[:, constant] = np.nan
    low = 0
    for i, part in enumerate(parts):
        mine = slice(low, low + len(part.names))
        found[i] = replace(found[i], covariance=whole[mine, mine])
        low = mine.stop
    return JointFit(
        found,
        psi,
        whole[size:, size:],
        _sides_of(psi, clocks),
        whole,
        clocks.log_rates(psi)[0],
        fit.log_likelihood - jacobian,
    )


def _sides_of(psi: FloatArray, clocks: Clocks) -> list[tuple[int, mle.Side]]:
    """Coordinates of the clocks that ended on a bound, and on which."""
    lower, upper = clocks.bounds()
    return [
        (i, "low" if at <= (a + b) / 2.0 else "high")
        for i, (at, a, b) in enumerate(zip(psi, lower, upper, strict=True))
        if at <= a + 1e-9 or at >= b - 1e-9
    ]


def _moved_covariance(change: FloatArray, covariance: FloatArray) -> FloatArray:
    """Covariance after a linear change; NaN of what takes part in something not identified."""
    known = ~np.isnan(np.diag(covariance))
    moved = change @ np.nan_to_num(covariance) @ change.T  # NaN times 0 would spread
    lost = (change[:, ~known] != 0.0).any(axis=1)
    return np.where(lost[:, None] | lost[None, :], np.nan, moved)
