"""The fit of several kinds of customers under the same clocks: gathering, solving, choosing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from crmml._typing import BoolArray, FloatArray
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import row_weights
from crmml.models.purchase.calendar import MOST_WAVES, CalendarProfile, grain_edge
from crmml.models.purchase.clocks import NewcomerClock, RequestedClocks, ScheduleClock, SeasonClock
from crmml.models.purchase.distribution import Histories
from crmml.stats import joint, mle
from crmml.stats import operational_time as ot
from crmml.stats.clocks import Intervals, Pace
from crmml.stats.discounting import UNIT_DAYS, in_units
from crmml.stats.left_censored import SeenEarly
from crmml.stats.newcomer import NewcomerEffect

if TYPE_CHECKING:
    from crmml.models.purchase.base import PurchaseModel

_LONGEST = 0.25
"""Largest decay over the longest T: the change must be over well before the data end, or it could
not be told from dropout, or from what goes on for ever."""
_FIRST = 20.0
"""Largest change looked for, up or down."""
_SEASON_ROUNDS = 4
"""How often the number of waves is chosen anew with what is expected given all other effects."""
_YEAR = np.arange(1, 54)
_YEAR_SHARES = np.concatenate([np.ones(52), [ot.LONG_WEEK_SHARE]])


@dataclass(frozen=True)
class Solved:
    """Where one maximisation ended.

    Attributes
    ----------
    fits : list of Fit
        Of each part.
    psi, covariance, whole, at_bounds
        Of the estimated clocks; see :class:`crmml.stats.joint.JointFit`.
    log_rates : float
        Sum of the log rates at the purchases.
    penalised : float
        Log-likelihood of everything less the penalty of the ridge.
    """

    fits: list[mle.Fit]
    clocks: joint.Clocks
    psi: FloatArray
    covariance: FloatArray
    whole: FloatArray
    at_bounds: list[tuple[int, mle.Side]]
    log_rates: float
    penalised: float

    @property
    def log_likelihood(self) -> float:
        """Of everything, without the penalty."""
        return sum(fit.log_likelihood for fit in self.fits) + self.log_rates


@dataclass(frozen=True)
class ClockedProblem:
    """Customers of one or two kinds, and when they bought: what every fit on the way needs."""

    owner: PurchaseModel
    models: list[PurchaseModel]
    snapshot: Snapshot
    plains: list[Histories]
    weights: list[FloatArray]
    parts: list[joint.Part]
    times: PurchaseTimes | None
    counted: BoolArray
    aged: BoolArray
    _without_clocks: dict[int, tuple[mle.Fit, mle.Fit]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        owner: PurchaseModel,
        parts: Sequence[tuple[PurchaseModel, Snapshot]],
        snapshot: Snapshot,
        times: PurchaseTimes | None,
        old: tuple[float, float] | None,
        sample_weight: Any,
    ) -> ClockedProblem:
        """Gather the distinct histories of each part, and which purchases count."""
        plains, rows, all_weights = [], [], []
        for model, its in parts:
            plain = model._plain_histories(its)
            weights = row_weights(its, plain.groups, sample_weight)
            keep: Any = slice(None) if (weights > 0).all() else weights > 0
            share = getattr(model, "share", None)
            rows.append(
                joint.Part(
                    model._process,
                    plain.x[keep],
                    -plain.T[keep],
                    plain.t_x[keep],
                    plain.T[keep],
                    weights[keep],
                    tuple(model._blocks(plain, keep, weights[keep])),
                    aged=share is None,
                    margin=None if share is None else share * float(plain.T[0]),
                )
            )
            plains.append(plain)
            all_weights.append(weights)
        counted = aged = np.zeros(0, dtype=bool)
        if times is not None:
            is_old = np.zeros(len(times.first), dtype=bool)
            if old is not None:
                origin, margin = old
                first_ends = times.ends(times.first)
                is_old = first_ends - origin <= margin + 1e-6
            # The first purchase of a customer older than the data counts like all others.
            counted = (times.at > times.first) | is_old
            aged = (times.at > times.first) & ~is_old
        models = [model for model, _ in parts]
        return cls(owner, models, snapshot, plains, all_weights, rows, times, counted, aged)

    # -- building the clocks -----------------------------------------------------------------------

    @property
    def unit(self) -> float:
        """Days per unit of time."""
        return UNIT_DAYS[self.snapshot.time_unit]

    @property
    def begin(self) -> float:
        """First moment of an observation, in days."""
        longest = max(float(part.T.max(initial=0.0)) for part in self.parts)
        return end_of(self.snapshot) - longest * self.unit

    def newcomers(self, requested: NewcomerClock) -> joint.Newcomers | None:
        """Return the effect of newcomers; None where nothing can be seen of one to be estimated."""
        begin, counts, width = np.empty(0), np.empty(0), 1.0
        if self.times is not None:
            age, number = self.times.subset(self.aged).by_age()
            # What is bought in a period stands at its end, as T does, for the time since the
            # period before.
            width = UNIT_DAYS[self.times.grain] / self.unit
            begin, counts = np.asarray((age - 1.0) * width), number.astype(np.float64)
        if requested.first is not None and requested.half_life is not None:
            decay = in_units(requested.half_life, self.snapshot.time_unit) / math.log(2.0)
            return joint.Newcomers(
                begin, counts, width, NewcomerEffect(float(requested.first), decay)
            )
        bounds = settling_bounds(self.snapshot)
        if not len(counts) or bounds[1][0] >= bounds[1][1]:
            return None  # nobody bought again, or nobody was watched for long enough
        return joint.Newcomers(begin, counts, width, bounds=bounds)

    def shared(
        self, season: SeasonClock | None, n_waves: int, schedules: ScheduleClock | None
    ) -> joint.Shared | None:
        """Return the pace common to all."""
        if season is None and schedules is None:
            return None
        end = end_of(self.snapshot)
        edges = pace_edges(self.begin, end, season is not None, schedules)
        middle = (edges[1:] + edges[:-1]) / 2.0
        columns = np.empty((0, len(middle)))
        year = np.empty((0, 53))
        if season is not None and n_waves:
            columns = ot.waves(ot.week_of_year(ot.week_at(middle)), n_waves).T
            year = ot.waves(_YEAR, n_waves).T
        if schedules is not None:
            columns = np.concatenate([columns, schedules.columns(middle)])
        offset = log_factors(edges, None if season is None else season.profile)
        return joint.Shared(
            (edges - end) / self.unit, offset, self._by_piece(edges), columns, year, _YEAR_SHARES
        )

    def _by_piece(self, edges: FloatArray) -> FloatArray:
        """Purchases that count, by the pieces of the pace."""
        n = len(edges) - 1
        if self.times is None:
            return np.zeros(n)
        its = self.times.subset(self.counted)
        at = (its.starts(its.at) + its.ends(its.at)) / 2.0
        piece = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, n - 1)
        return np.bincount(piece, weights=its.count, minlength=n).astype(np.float64)

    # -- solving -----------------------------------------------------------------------------------

    def solve(
        self,
        clocks: joint.Clocks,
        starts: Sequence[FloatArray] = (),
        psi_starts: Sequence[FloatArray] = (),
        *,
        covariates: bool = True,
        near: bool = False,
    ) -> Solved:
        """Maximise over the processes and what is estimated of the clocks."""
        parts = self.parts if covariates else [replace(part, blocks=()) for part in self.parts]
        ridge = self.owner.ridge if covariates else 0.0
        if sum(clocks.sizes):
            found = joint.fit_jointly(parts, clocks, starts, psi_starts, ridge, near=near)
            return Solved(
                found.parts,
                clocks,
                found.psi,
                found.covariance,
                found.whole,
                found.at_bounds,
                found.log_rates,
                found.penalised,
            )
        fits = []
        penalty = 0.0
        for i, part in enumerate(parts):
            fit = self._fit_given(i, part, clocks, covariates=covariates)
            deviations = np.array([block.deviation for block in part.blocks])
            each = fit.theta[len(part.process.NAMES) :] * deviations
            penalty += 0.5 * ridge * float(each @ each)
            fits.append(fit)
        log_rates = clocks.log_rates(np.empty(0))[0] if self.times is not None else 0.0
        value = sum(fit.log_likelihood for fit in fits) + log_rates - penalty
        empty = np.empty((0, 0))
        return Solved(fits, clocks, np.empty(0), empty, empty, [], log_rates, value)

    def _fit_given(
        self, i: int, part: joint.Part, clocks: joint.Clocks, *, covariates: bool
    ) -> mle.Fit:
        """Fit one part on clocks that are given in full."""
        plain = self.plains[i]
        h, process = plain, part.process
        if clocks.newcomers is not None or clocks.shared is not None:
            whole = replace(part, x=plain.x, begin=-plain.T, t_x=plain.t_x, T=plain.T)
            clock = joint.on_clock(whole, clocks)(np.empty(0))
            t_x = np.where(plain.x > 0, clock.t_x, 0.0)
            h = Histories(plain.x, t_x, clock.T, plain.covariates, plain.groups)
            process = process if part.margin is None else SeenEarly(clock.share)
        pair = self._without_clocks.get(i) if h is plain else None
        if pair is None:
            pair = self.models[i]._maximise(h, self.weights[i], process)
        if h is plain:
            self._without_clocks[i] = pair
        return pair[0 if covariates else 1]

    # -- choosing ----------------------------------------------------------------------------------

    def choose(self, requested: RequestedClocks) -> Chosen:
        """Fit with the clocks that are worth their parameters."""
        solved: dict[tuple[bool, int | None, bool], Solved] = {}
        seasonal = requested.season is not None and requested.season.profile is None
        effect = None if requested.newcomers is None else self.newcomers(requested.newcomers)
        unsettled = effect is not None and effect.given is None
        # Without covariates, from where all others start.
        bare = self.solve(joint.Clocks(), covariates=False)
        starts = [fit.theta for fit in bare.fits]
        season = np.empty(0)

        def clocks_of(newcomers: bool, waves: int | None) -> joint.Clocks:
            season = None if waves is None else requested.season
            shared = self.shared(season, waves or 0, requested.schedules)
            return joint.Clocks(effect if newcomers else None, shared)

        def at(newcomers: bool, waves: int | None, *, covariates: bool = True) -> Solved:
            key = (newcomers, waves or (None if seasonal else waves), covariates)
            if key not in solved:
                clocks = clocks_of(*key[:2])
                solved[key] = self.solve(
                    clocks,
                    starts,
                    _starts_of_clocks(clocks, season),
                    covariates=covariates,
                    near=0 < len(season) == sum(clocks.sizes),
                )
            return solved[key]

        price = math.log(sum(float(part.weights.sum()) for part in self.parts))

        def pays(waves: int | None) -> bool:
            return at(True, waves).penalised - at(False, waves).penalised > price

        given_waves = 0 if requested.season is not None and not seasonal else None
        keep = effect is not None and (not unsettled or pays(given_waves))
        waves, dispersion = given_waves, None
        if seasonal:
            for step in range(_SEASON_ROUNDS):
                chosen, dispersion, found = self._choose_waves(at(keep, waves))
                if step and chosen == (waves or 0):
                    break
                waves, season = chosen, found  # what the weeks alone say is a good start
            waves = waves or None
            if unsettled and waves:
                keep = pays(waves)
        final = at(keep, waves)
        without = final
        if any(part.blocks for part in self.parts):
            without = at(keep, waves, covariates=False)
        return Chosen(
            problem=self,
            requested=requested,
            solved=final,
            nulls=without.fits,
            null_log_rates=without.log_rates,
            kept=keep,
            n_waves=(waves or 0) if seasonal else None,
            dispersion=dispersion,
            flat=at(keep, None).log_likelihood if requested.season is not None else None,
            plain=at(False, waves).log_likelihood if requested.newcomers is not None else None,
        )

    def _choose_waves(self, current: Solved) -> tuple[int, float, FloatArray]:
        """Choose the number of waves by what is expected in each week if the profile were flat."""
        edges = pace_edges(self.begin, end_of(self.snapshot), True, None)
        counts = self._by_piece(edges)
        expected = self._expected(current, edges)
        seen = expected > 1e-9 * expected.max()
        number = ot.week_of_year(ot.week_at((edges[1:] + edges[:-1]) / 2.0))
        return ot.choose_waves(counts[seen], expected[seen], number[seen], MOST_WAVES)

    def _expected(self, current: Solved, edges: FloatArray) -> FloatArray:
        """Purchases expected in each week, given all histories, were the pace 1 throughout.

        A customer active at the end had the mean rate ``(r + x) / (alpha + T)`` all along, one who
        left that of the time until the last purchase; the slope of operational time by the rate of
        a week is the time in it, which the change with age stretches.
        """
        weekly = Pace(
            (edges - end_of(self.snapshot)) / self.unit, np.ones(len(edges) - 1),
            np.eye(len(edges) - 1),
        )  # fmt: skip
        total = np.zeros(len(edges) - 1)
        for part, fit in zip(self.parts, current.fits, strict=True):
            clock = joint.on_clock(part, current.clocks)(current.psi)
            raw = [replace(b, z=b.z * b.deviation + b.mean) for b in part.blocks]
            process: Any = part.process if part.margin is None else SeenEarly(clock.share)
            params = mle.row_params(process, raw if fit.blocks else (), fit.theta)
            alive = process.probability_alive(params, part.x, clock.t_x, clock.T)
            bought = part.weights * (params.r + part.x)
            effect = current.clocks.at(current.psi)[1] if part.aged else None
            spans = [
                (part.T, bought * alive / (params.alpha + clock.T)),
                (part.t_x, bought * (1.0 - alive) / (params.alpha + clock.t_x)),
            ]
            if part.margin is not None:  # those who were at risk and were not seen
                unseen = part.weights * process.unseen_rate(params, clock.T)
                spans.append((np.full(len(part.T), part.margin), unseen))
            for length, rate in spans:
                slopes = Intervals.of(part.begin, length).under(weekly, effect).pull(rate)
                total += slopes[0 if effect is None else 2 :]
        return total


@dataclass(frozen=True)
class Chosen:
    """The fit that was chosen, and what the models are to know of it."""

    problem: ClockedProblem
    requested: RequestedClocks
    solved: Solved
    nulls: list[mle.Fit]
    null_log_rates: float
    kept: bool
    n_waves: int | None
    dispersion: float | None
    flat: float | None
    plain: float | None

    @property
    def _n_settling(self) -> int:
        return self.solved.clocks.sizes[0]

    @property
    def at_bounds(self) -> list[tuple[str, mle.Side]]:
        """Coordinates of the clocks that ended on a bound."""
        names = self.names()
        known = {"log_first": "first", "log_decay": "half_life"}
        return [(known.get(names[i], names[i]), side) for i, side in self.solved.at_bounds]

    def names(self) -> list[str]:
        """Names of the coordinates of the clocks."""
        season = 2 * (self.n_waves or 0)
        schedules = () if self.requested.schedules is None else self.requested.schedules.names
        return [
            *(("log_first", "log_decay") if self._n_settling else ()),
            *(f"season_{i + 1}" for i in range(season)),
            *(f"schedule:{name}" for name in schedules),
        ]

    def give_clocks(self, model: PurchaseModel) -> None:
        """Give a model the clocks and what is known of them."""
        psi, covariance = self.solved.psi, self.solved.covariance
        n = self._n_settling
        unit = self.problem.snapshot.time_unit
        aged = getattr(model, "share", None) is None
        requested, season = self.requested.newcomers, self.requested.season
        if requested is not None and aged:
            if requested.first is not None and requested.half_life is not None:
                model.first_, model.half_life_ = (
                    requested.first,
                    in_units(requested.half_life, unit),
                )
            else:
                model.half_life_ = math.exp(
                    settling_bounds(self.problem.snapshot)[1][0]
                ) * math.log(2.0)
            model.plain_log_likelihood_ = self.plain
        if season is not None:
            model.calendar_ = season.profile
            model.flat_log_likelihood_ = self.flat
            model.n_waves_, model.dispersion_ = self.n_waves, self.dispersion
        if n and aged:
            model.settling_covariance_ = covariance[:2, :2].tolist()
        if self.requested.schedules is not None:
            names = self.requested.schedules.names
            deviations = np.sqrt(np.diag(covariance))[len(psi) - len(names) :]
            model.schedule_coefficients_ = {
                name: _wald(estimate, deviation)
                for name, estimate, deviation in zip(
                    names, psi[len(psi) - len(names) :], deviations, strict=True
                )
            }
        model.clock_names_ = self.names()
        model.joint_covariance_ = self.solved.whole.tolist()
        model._set_clocks(psi)


def _starts_of_clocks(clocks: joint.Clocks, season: FloatArray) -> list[FloatArray]:
    """Return where the search for the clocks begins."""
    settles = [np.empty(0)]
    if clocks.sizes[0] and clocks.newcomers is not None:
        # Newcomers may be quicker or slower than the rest, and between the two the likelihood has
        # a saddle (no effect, whatever its decay): both sides are tried.
        middle = sum(clocks.newcomers.bounds[1]) / 2.0
        settles = [np.array([side * math.log(1.5), middle]) for side in (1.0, -1.0)]
    common = np.zeros(clocks.sizes[1])
    common[: len(season)] = season
    return [np.concatenate([one, common]) for one in settles]


def profile_of(season: FloatArray) -> CalendarProfile:
    """Return the profile of the coefficients of cosines and sines of a whole number of turns."""
    factors = np.exp(ot.waves(_YEAR, len(season) // 2) @ season)
    return CalendarProfile.from_weeks(dict(zip(_YEAR.tolist(), factors.tolist(), strict=True)))


def end_of(snapshot: Snapshot) -> float:
    """Return the end of the observation, in days since 1970-01-01."""
    return grain_edge(snapshot.cutoff, snapshot.grain, up=True)


def weeks_of(snapshot: Snapshot) -> float:
    """Return how many weeks the longest observation spans."""
    days = float(snapshot.frame["T"].max()) * UNIT_DAYS[snapshot.time_unit]
    return (days + UNIT_DAYS[snapshot.grain]) / ot.DAYS_PER_WEEK


def settling_bounds(snapshot: Snapshot) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where ``log(first)`` and ``log(decay)`` are sought.

    Nothing faster than a grain period can be seen; nor is anything faster than a day sought.
    """
    shortest = max(UNIT_DAYS[snapshot.grain], 1.0) / UNIT_DAYS[snapshot.time_unit]
    longest = max(_LONGEST * float(snapshot.frame["T"].max()), shortest)
    most = math.log(_FIRST)
    return (-most, most), (math.log(shortest), math.log(longest))


def pace_edges(
    begin: float, end: float, weekly: bool, schedules: ScheduleClock | None
) -> FloatArray:
    """Return moments in days, from begin to end and beyond, between which the pace is constant."""
    first = int(ot.week_at(begin))
    n_weeks = max(int(np.ceil((end - ot.week_edges(first, 0)[0]) / ot.DAYS_PER_WEEK)), 1)
    edges = ot.week_edges(first, n_weeks)
    if not weekly:
        edges = edges[[0, -1]]
    if schedules is None:
        return edges
    more = schedules.edges()
    return np.union1d(edges, more[(more > edges[0]) & (more < edges[-1])])


def log_factors(edges: FloatArray, profile: CalendarProfile | None) -> FloatArray:
    """Return the logarithm of a profile in each piece."""
    if profile is None:
        return np.zeros(len(edges) - 1)
    week = ot.week_at((edges[1:] + edges[:-1]) / 2.0)
    factors = profile.factors(int(week[0]), int(week[-1] - week[0]) + 1)
    return np.asarray(np.log(factors[week - week[0]]))


def _wald(estimate: float, deviation: float) -> dict[str, float]:
    z = estimate / deviation if deviation > 0 else np.nan
    return {
        "estimate": float(estimate),
        "standard_error": float(deviation),
        "z_value": float(z),
        "p_value": float(2.0 * stats.norm.sf(abs(z))),
    }
