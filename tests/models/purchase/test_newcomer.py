"""Newcomers: the process itself, the clock, what is found and what is kept out of the way."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.integrate import quad
from sklearn.base import clone

from crmml import models
from crmml._typing import Duration
from crmml.data.datasets import load_cdnow
from crmml.exceptions import (
    BoundaryWarning,
    CrmmlError,
    DurationError,
    FitWarning,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import (
    BetaGeoModel,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    NewcomerModel,
)
from crmml.stats import bg_nbd, mbg_nbd, newcomer
from crmml.stats.newcomer import NewcomerEffect

TRUTH = bg_nbd.Params(0.6, 6.0, 0.6, 2.5)
SIX_WEEKS = Duration(6.0, "week")


def draw_log(n, effect, *, params=TRUTH, modified=False, seed=1, weeks=52.0):
    """Draw T and the purchase times of customers on the clock of the process, by its inverse."""
    rng = np.random.default_rng(seed)
    grid = np.concatenate([[0.0], np.geomspace(1e-3, weeks, 4000)])
    clock = effect.passed(np.zeros(len(grid)), grid)
    T = rng.uniform(10.0, weeks, n)
    rate = rng.gamma(params.r, 1.0 / params.alpha, n)
    p = rng.beta(params.a, params.b, n)
    times = []
    for i in range(n):
        until, at, mine = np.interp(T[i], grid, clock), 0.0, []
        active = not (modified and rng.random() < p[i])
        while active:
            at += rng.exponential(1.0 / rate[i])
            if at > until:
                break
            mine.append(np.interp(at, clock, grid))
            active = rng.random() >= p[i]
        times.append(np.array(mine))
    return T, times


def bought_at(ages, grain):
    """Repeat purchases at some ages, in whole periods; the dates do not matter here."""
    seen, counts = np.unique(ages, return_counts=True)
    return PurchaseTimes(np.zeros(len(seen), dtype=np.int64), seen, counts, grain)


def as_snapshot(T, times, **more):
    """Summarise purchase times in weeks as they are; hours are the grain."""
    x = np.array([len(mine) for mine in times], dtype=float)
    t_x = np.array([mine[-1] if len(mine) else 0.0 for mine in times])
    hours = np.ceil(np.concatenate([*times, []]) * 168).astype(int)
    frame = pd.DataFrame({"customer_id": np.arange(len(T)), "frequency": x,
                          "recency": t_x, "T": T})  # fmt: skip
    return Snapshot.from_frame(
        frame.assign(**more),
        cutoff="2020-01-01",
        grain="hour",
        provenance={"purchase_times": bought_at(hours, "hour")},
        time_unit="week",
    )


@pytest.fixture(scope="module")
def cdnow(cdnow_snapshot):
    return cdnow_snapshot


@pytest.fixture(scope="module")
def fitted(cdnow):
    return NewcomerModel().fit(cdnow)


def by_days(T, times, seed=1):
    """Summarise purchase times by days, the first purchase falling at any time of its day."""
    begin = np.random.default_rng(seed).random(len(T))
    last = np.maximum(np.floor(begin + 7 * T) - 1, 0)  # the last whole day
    days = [np.unique(np.floor(b + 7 * mine)) for b, mine in zip(begin, times, strict=True)]
    days = [mine[(mine > 0) & (mine <= end)] for mine, end in zip(days, last, strict=True)]
    frame = pd.DataFrame(
        {"customer_id": np.arange(len(T)), "frequency": [len(mine) for mine in days],
         "recency": [mine.max(initial=0.0) / 7 for mine in days], "T": last / 7}
    )  # fmt: skip
    times = bought_at(np.concatenate(days).astype(int), "day")
    return Snapshot.from_frame(
        frame, cutoff="2020-01-01", provenance={"purchase_times": times}, time_unit="week"
    )


def predictions(model, snapshot):
    return {
        "expected": model.expected_purchases(snapshot, "26W"),
        "if_alive": model.expected_purchases_if_alive(snapshot, "26W"),
        "alive": model.probability_alive(snapshot),
        "none": model.probability_no_purchase(snapshot, "26W"),
        "distribution": model.purchase_distribution(snapshot, "26W", 4),
        "quantiles": model.purchase_quantiles(snapshot, "26W", [0.1, 0.9]),
        "discounted": model.discounted_expected_purchases(snapshot, "26W", 0.1),
        "residual": model.discounted_expected_purchases(snapshot, None, 0.1),
        "undiscounted": model.discounted_expected_purchases(snapshot, "26W", 0.0),
        "sample": model.sample(snapshot, "26W", 3, seed=1),
    }


# -- the process -----------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", [NewcomerEffect(2.6, 4.0), NewcomerEffect(0.2, 9.0)])
@pytest.mark.parametrize(("process", "chances"), [(bg_nbd, 0), (mbg_nbd, 1)])
@pytest.mark.parametrize(
    ("times", "T"), [([], 20.0), ([0.4, 1.5, 11.0], 30.0), ([8.0], 8.0), ([2.0, 30.0], 30.5)]
)
def test_likelihood_is_the_density_on_the_real_clock(process, chances, effect, times, T):
    params = bg_nbd.Params(0.9, 5.0, 0.8, 2.5)

    def rate(u):
        return 1.0 + (effect.first - 1.0) * np.exp(-u / effect.decay)

    def passed(u):
        return quad(rate, 0.0, u)[0]

    x, last = len(times), times[-1] if times else 0.0
    to_end, to_last = passed(T), passed(last)

    def density(until, power, left):
        of_rate = quad(
            lambda v: v**x * np.exp(-v * until) * stats.gamma.pdf(v, params.r, 0, 1 / params.alpha),
            0.0, np.inf, epsabs=0.0, epsrel=1e-11,
        )[0]  # fmt: skip
        # In p = q**2, where the density has no pole at 0.
        of_leaving = quad(
            lambda q: q ** (2 * left) * (1 - q * q) ** power
            * stats.beta.pdf(q * q, params.a, params.b) * 2 * q,
            0.0, 1.0, epsabs=0.0, epsrel=1e-11,
        )[0]  # fmt: skip
        return of_rate * of_leaving

    total = density(to_end, x + chances, 0)
    if x + chances:
        total += density(to_last, x + chances - 1, 1)
    each = [np.array([float(v)]) for v in (x, last, T)]
    none = np.zeros(1)
    on_clock = (each[0], effect.passed(none, each[1]), effect.passed(none, each[2]))
    got = process.log_likelihood(params, *on_clock)[0] + np.log(effect.rate(np.array(times))).sum()
    assert_allclose(got, np.log(total) + np.log([rate(u) for u in times]).sum(), rtol=1e-8)


def test_settling_is_one_clock():
    effect = NewcomerEffect(3.0, 4.0)
    ages, t = np.array([0.0, 1.0, 7.0, 1e4]), np.array([2.0, 30.0, 1e-3, 5.0])
    none = np.zeros(4)
    assert_allclose(
        effect.passed(none, ages) + effect.passed(ages, t),
        effect.passed(none, ages + t),
        rtol=1e-14,
    )
    for age, length, got in zip(ages, t, effect.passed(ages, t), strict=True):
        assert_allclose(got, quad(effect.rate, age, age + length)[0], rtol=1e-12)
    assert effect.passed(ages, np.full(4, np.inf)).tolist() == [np.inf] * 4
    assert (NewcomerEffect(1.0, 4.0).passed(ages, t) == t).all()
    assert effect.passed(ages, t)[-1] == t[-1]


@pytest.mark.parametrize("params", [(0.25, 4.4, 0.8, 2.4), (1.0, 3000.0, 1.0, 1.0),
                                    (200.3, 60.0, 0.8, 202.0)])  # fmt: skip
@pytest.mark.parametrize(
    "effect", [NewcomerEffect(1.7, 6.0), NewcomerEffect(20.0, 1.0), NewcomerEffect(0.05, 0.1)]
)
@pytest.mark.parametrize(("t", "annual"), [(1.0, 0.1), (260.0, 0.1), (np.inf, 0.1), (np.inf, 3.0)])
def test_discounted_purchases_by_quadrature(params, effect, t, annual):
    delta = np.log1p(annual) * 7 / 365
    params = bg_nbd.Params(*params)
    for age in (0.0, 0.7, 25.0):

        def expected(u, age=age):
            return bg_nbd.expected_purchases(params, effect.passed(np.array(age), np.asarray(u)))

        end = min(t, 45.0 / delta)
        nodes, weights = np.polynomial.legendre.leggauss(14)
        edges = np.concatenate([[0.0], np.geomspace(1e-6, end, 60)])
        half, middle = np.diff(edges)[:, None] / 2.0, (edges[1:] + edges[:-1])[:, None] / 2.0
        u = (middle + half * nodes).ravel()
        total = ((half * weights).ravel() * delta * np.exp(-delta * u)) @ expected(u)
        if np.isfinite(t):
            total += np.exp(-delta * t) * expected(np.array([t]))[0]
        got = newcomer.discounted_purchases(params, np.array([age]), np.array([t]), delta, effect)
        assert_allclose(got[0], total, rtol=1e-10)


def test_discounted_purchases_by_scipy_quad_over_the_intensity():
    """E[discounted] is the integral of exp(-delta u) times the slope of the expectation."""
    params, effect, delta = bg_nbd.Params(0.28, 7.0, 0.6, 2.5), NewcomerEffect(1.9, 5.5), 0.0018
    odds = quad(
        lambda p: stats.beta.pdf(p, 0.6, 2.5)
        * quad(
            lambda u: np.exp(-delta * u) * effect.rate(3.0 + u) * 0.28 / 7.0
            * (1 + p * effect.passed(np.array(3.0), np.array(u)) / 7.0) ** -1.28,
            0.0, 52.0, epsrel=1e-12,
        )[0],
        0.0, 1.0, epsrel=1e-11, points=[1e-3],
    )[0]  # fmt: skip
    got = newcomer.discounted_purchases(params, np.array([3.0]), np.array([52.0]), delta, effect)
    assert_allclose(got[0], odds, rtol=1e-8)


# -- what is found ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "modified", "seed"),
    [
        (NewcomerEffect(2.5, 4.0), False, 40),
        (NewcomerEffect(2.5, 4.0), True, 40),
        (NewcomerEffect(0.3, 8.0), False, 40),
    ],
)
def test_recovers_the_process(effect, modified, seed):
    dropout = "modified" if modified else "plain"
    world = as_snapshot(*draw_log(6000, effect, modified=modified, seed=seed))
    model = NewcomerModel(dropout=dropout).fit(world)
    errors = model.settling_errors_
    assert abs(np.log(model.first_ / effect.first)) < 3.0 * errors["first"] < 0.5
    decay = model.half_life_ / np.log(2.0)
    assert abs(np.log(decay / effect.decay)) < 3.0 * errors["half_life"] < 1.2
    for name, value in TRUTH._asdict().items():
        deviation = model.standard_errors_[name]
        assert abs(model.params_[name] - value) < 3.5 * deviation, name
    assert model.newcomer_test()["p_value"] < 1e-6


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("dropout", "without"), [("plain", BetaGeoModel), ("modified", ModifiedBetaGeoModel)]
)
def test_no_effect_is_kept_out_of_the_way(dropout, without, seed):
    none = NewcomerEffect(1.0, 1.0)
    world = as_snapshot(*draw_log(1500, none, modified=dropout == "modified", seed=seed))
    model, plain = NewcomerModel(dropout=dropout).fit(world), without().fit(world)
    assert (model.first_, model.settling_errors_) == (1.0, {})
    assert model.settling_covariance_ == []
    assert (model.params_, model.log_likelihood_) == (plain.params_, plain.log_likelihood_)
    assert model.newcomer_test() == {"statistic": 0.0, "degrees_of_freedom": 2.0, "p_value": 1.0}


def test_days_without_a_second_purchase_are_no_effect():
    """On the day of the first purchase nobody can be seen to buy again."""
    eager = TRUTH._replace(r=0.3, alpha=5.0)
    world = by_days(*draw_log(9000, NewcomerEffect(1.0, 1.0), params=eager, seed=40))
    assert NewcomerModel().fit(world).first_ == 1.0
    world = by_days(*draw_log(9000, NewcomerEffect(3.0, 2.0), params=eager, seed=40))
    model = NewcomerModel().fit(world)
    assert abs(np.log(model.first_ / 3.0)) < 3.0 * model.settling_errors_["first"]
    decay = model.half_life_ / np.log(2.0)
    assert abs(np.log(decay / 2.0)) < 3.0 * model.settling_errors_["half_life"]


def test_effect_in_the_tenth_of_cdnow(fitted):
    assert_allclose(fitted.log_likelihood_, -9553.77, atol=0.005)
    assert_allclose(fitted.plain_log_likelihood_, -9582.43, atol=0.005)  # of Fader et al. 2005
    assert_allclose([fitted.first_, fitted.half_life_], [1.9747, 3.4597], atol=0.0005)
    found = fitted.newcomer_test()
    assert_allclose(found["statistic"], 57.33, atol=0.01)
    assert found["p_value"] == stats.chi2.sf(found["statistic"], 2)


def test_likelihood_adds_up_over_customers_and_purchases(cdnow, fitted):
    lines = load_cdnow(sample=True)
    day = lines["timestamp"].dt.normalize()
    log = lines.assign(day=day)[day < "1997-10-01"][["customer_id", "day"]].drop_duplicates()
    ages = (log["day"] - log.groupby("customer_id")["day"].transform("min")).dt.days
    effect = NewcomerEffect(fitted.first_, fitted.half_life_ / np.log(2.0))
    end = ages[ages > 0].to_numpy() / 7.0
    rate = [7.0 * quad(effect.rate, age - 1.0 / 7.0, age)[0] for age in np.unique(end)]
    total = np.log(rate)[np.unique(end, return_inverse=True)[1]].sum()
    x, t_x, T = (cdnow.frame[name].to_numpy() for name in ("frequency", "recency", "T"))
    none = np.zeros(len(x))
    params = bg_nbd.Params(**fitted.params_)
    total += bg_nbd.log_likelihood(
        params, x, effect.passed(none, t_x), effect.passed(none, T)
    ).sum()
    assert_allclose(fitted.log_likelihood_, total, rtol=1e-12)


def test_the_optimum_is_one_and_errors_measure_its_width(cdnow, fitted):
    errors = fitted.settling_errors_
    for name in ("first", "half_life"):
        for step in (-0.5, 0.5):
            factor = np.exp(step * errors[name])
            other = NewcomerModel(
                first=fitted.first_ * (factor if name == "first" else 1.0),
                half_life=Duration(
                    fitted.half_life_ * (factor if name == "half_life" else 1.0), "week"
                ),
            ).fit(cdnow)
            # Half a standard error away, all else at its best only where the two do not agree.
            assert other.log_likelihood_ < fitted.log_likelihood_ - 0.5 * 0.5**2 + 0.02


@pytest.mark.parametrize(("unit", "factor"), [("day", 7.0), ("hour", 168.0)])
def test_units_of_time_are_only_units(fitted, unit, factor):
    other = build_snapshot(load_cdnow(sample=True), "1997-10-01", time_unit=unit)
    model = NewcomerModel().fit(other)
    assert_allclose(model.first_, fitted.first_, rtol=1e-5)
    assert_allclose(model.half_life_, factor * fitted.half_life_, rtol=1e-5)
    shift = other.frame["frequency"].sum() * np.log(factor)
    assert_allclose(model.log_likelihood_, fitted.log_likelihood_ - shift, rtol=1e-9)


@pytest.mark.parametrize("grain", ["hour", "week"])
def test_other_grains(grain):
    model = NewcomerModel().fit(build_snapshot(load_cdnow(sample=True), "1997-10-01", grain=grain))
    assert 1.5 < model.first_ < 3.0
    assert 2.0 < model.half_life_ < 6.0


def test_row_order_does_not_matter(cdnow, fitted):
    order = np.random.default_rng(1).permutation(len(cdnow))
    shuffled = replace(cdnow, frame=cdnow.frame.iloc[order].reset_index(drop=True))
    assert NewcomerModel().fit(shuffled).to_dict() == fitted.to_dict()


# -- what is degenerate ----------------------------------------------------------------------------


def test_customers_just_come_add_nothing(cdnow, fitted):
    new = cdnow.frame.head(5).assign(
        customer_id=[f"new{i}" for i in range(5)], frequency=0.0, recency=0.0, T=0.0
    )
    more = replace(cdnow, frame=pd.concat([cdnow.frame, new], ignore_index=True))
    model = NewcomerModel().fit(more)
    assert_allclose(model.log_likelihood_, fitted.log_likelihood_, rtol=1e-9)
    assert_allclose(model.first_, fitted.first_, rtol=1e-4)
    expected = model.expected_purchases(more, "26W").tail(5)
    assert_allclose(expected, model.expected_purchases_new_customer("26W"), rtol=1e-12)


def test_who_bought_once_say_nothing_of_newcomers():
    world = as_snapshot(np.arange(1.0, 31.0), [np.empty(0)] * 30)
    with pytest.warns(BoundaryWarning):
        model = NewcomerModel().fit(world)
    assert (model.first_, model.settling_errors_) == (1.0, {})


def test_a_history_of_days_is_too_short_for_an_effect():
    short = as_snapshot(np.full(300, 0.5), [np.array([0.1]) if i % 3 else np.empty(0)
                                            for i in range(300)])  # fmt: skip
    with pytest.warns(BoundaryWarning):
        assert NewcomerModel().fit(short).first_ == 1.0


def test_nobody_was_watched():
    world = as_snapshot(np.zeros(9), [np.empty(0)] * 9)
    for model in (NewcomerModel(), BetaGeoModel()):
        with pytest.raises(TooLittleDataError, match="needs customers who were watched after"):
            model.fit(world)


def test_an_effect_on_a_bound_says_so():
    world = as_snapshot(*draw_log(4000, NewcomerEffect(6.0, 30.0), seed=4))
    with pytest.warns(
        BoundaryWarning, match="half_life was sought no higher than 9 and ended there"
    ):
        model = NewcomerModel().fit(world)
    assert np.isnan(model.settling_errors_["half_life"])
    assert model.settling_errors_["first"] > 0
    assert_allclose(model.half_life_, 0.25 * np.log(2.0) * world.frame["T"].max())
    again = models.from_dict(json.loads(json.dumps(model.to_dict())))
    assert (again.expected_purchases(world, "9W") == model.expected_purchases(world, "9W")).all()


# -- identities ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dropout", "without"), [("plain", BetaGeoModel), ("modified", ModifiedBetaGeoModel)]
)
@pytest.mark.parametrize("covariates", [(), ("z",)])
def test_without_a_change_it_is_the_plain_model(cdnow, dropout, without, covariates):
    frame = cdnow.frame.assign(z=np.arange(len(cdnow)) % 3.0)
    known = replace(cdnow, frame=frame)
    model = NewcomerModel(
        dropout=dropout, first=1.0, half_life="5W", purchase_covariates=covariates
    ).fit(known)
    plain = without(purchase_covariates=covariates).fit(known)
    for name in ("log_likelihood_", "null_log_likelihood_", "covariance_"):
        assert_allclose(getattr(model, name), getattr(plain, name), rtol=1e-12)
    assert (model.params_, model.coefficients_) == (plain.params_, plain.coefficients_)
    others = predictions(plain, known)
    for what, values in predictions(model, known).items():
        assert_allclose(values, others[what], rtol=1e-12, atol=1e-300, err_msg=what)
    z = dict.fromkeys(covariates, 1.0)
    assert_allclose(
        model.expected_purchases_new_customer("26W", z),
        plain.expected_purchases_new_customer("26W", z),
        rtol=1e-12,
    )
    draws = [one.posterior(known, n_draws=20, seed=2).draws for one in (model, plain)]
    assert_allclose(*draws, rtol=1e-12)


def test_a_given_effect_is_the_plain_model_on_its_clock(cdnow):
    effect = NewcomerEffect(2.0, 5.0)
    half_life = Duration(5.0 * np.log(2.0), "week")
    model = NewcomerModel(first=2.0, half_life=half_life).fit(cdnow)
    none = np.zeros(len(cdnow))
    moved = cdnow.frame.assign(
        recency=effect.passed(none, cdnow.frame["recency"].to_numpy()),
        T=effect.passed(none, cdnow.frame["T"].to_numpy()),
    )
    on_clock = Snapshot.from_frame(moved, cutoff=cdnow.cutoff, time_unit="week")
    plain = BetaGeoModel().fit(on_clock)
    assert_allclose(list(model.params_.values()), list(plain.params_.values()), rtol=1e-7)
    assert_allclose(model.probability_alive(cdnow), plain.probability_alive(on_clock), rtol=1e-7)
    ours, theirs = (
        one.posterior(its, n_draws=50, seed=3) for one, its in ((model, cdnow), (plain, on_clock))
    )
    assert_allclose(list(ours.mean.values()), list(theirs.mean.values()), rtol=1e-6)
    t = effect.passed(cdnow.frame["T"].to_numpy(), none + 26.0)
    params = bg_nbd.Params(**model.params_)
    x, t_x, T = (moved[name].to_numpy() for name in ("frequency", "recency", "T"))
    expected = bg_nbd.probability_alive(params, x, t_x, T) * bg_nbd.expected_purchases(
        bg_nbd.if_alive(params, x, t_x, T), t
    )
    assert_allclose(model.expected_purchases(cdnow, "26W"), expected, rtol=1e-12)


@pytest.mark.parametrize("half_life", ["0.01H", "6W"])
def test_old_customers_have_settled(cdnow, half_life):
    model = NewcomerModel(first=3.0, half_life=half_life).fit(cdnow)
    old = cdnow.frame.assign(T=cdnow.frame["T"] + 2000.0)
    old["recency"] = np.where(old["frequency"] > 0, old["recency"] + 1960.0, 0.0)
    later = Snapshot.from_frame(old, cutoff=cdnow.cutoff, time_unit="week")
    plain = BetaGeoModel()
    decay = model.half_life_ / np.log(2.0)
    ahead = 2.0 * decay
    for name in model._state[:9]:
        setattr(plain, name, getattr(model, name))
    shifted = old.assign(T=old["T"] + ahead)
    shifted["recency"] = np.where(old["frequency"] > 0, old["recency"] + ahead, 0.0)
    same = Snapshot.from_frame(shifted, cutoff=cdnow.cutoff, time_unit="week")
    others = predictions(plain, same)
    for what, values in predictions(model, later).items():
        assert_allclose(values, others[what], rtol=1e-10, err_msg=what)


def test_a_horizon_is_the_sum_of_its_parts_on_the_clock_of_a_newcomer(fitted):
    lengths = np.array([1.0, 5.0, 30.0])
    effect = NewcomerEffect(fitted.first_, fitted.half_life_ / np.log(2.0))
    expected = bg_nbd.expected_purchases(
        bg_nbd.Params(**fitted.params_), effect.passed(np.zeros(3), lengths)
    )
    got = [fitted.expected_purchases_new_customer(Duration(t, "week")) for t in lengths]
    assert_allclose(got, expected, rtol=1e-13)


def test_discounting_vanishes_with_the_rate(cdnow, fitted):
    plain = fitted.expected_purchases(cdnow, "26W")
    assert_allclose(fitted.discounted_expected_purchases(cdnow, "26W", 0.0), plain, rtol=1e-12)
    assert_allclose(fitted.discounted_expected_purchases(cdnow, "26W", 1e-9), plain, rtol=1e-8)
    endless = fitted.discounted_expected_purchases(cdnow, None, 0.1)
    assert_allclose(fitted.discounted_expected_purchases(cdnow, "99999W", 0.1), endless, rtol=1e-10)


# -- with all the rest -----------------------------------------------------------------------------


def test_scores_a_subset_and_who_comes_without_ages(cdnow, fitted):
    keep = np.arange(len(cdnow)) % 7 == 3
    bare = Snapshot.from_frame(cdnow.frame[keep], cutoff=cdnow.cutoff, time_unit="week")
    everybody = predictions(fitted, cdnow)
    for some in (cdnow.subset(keep), bare):
        for what, values in predictions(fitted, some).items():
            assert_allclose(values, everybody[what][keep], rtol=1e-12, err_msg=what)


def test_lifetime_value_stands_on_it(cdnow):
    value = LifetimeValueModel(
        purchase_model=NewcomerModel(), margin=0.3, n_posterior_draws=60
    ).fit(cdnow)
    assert value.purchase_model_.first_ > 1.5
    clv = value.clv(cdnow, "39W")
    bounds = value.clv_quantiles(cdnow, "39W", [0.1, 0.9])
    assert (bounds[0.1] <= bounds[0.9]).all()
    assert bounds[0.9].sum() > clv.sum()
    (total,) = value.total(cdnow, "39W", q=(0.02, 0.98)).itertuples()
    assert_allclose(total.expected, clv.sum(), rtol=1e-12)
    low, high = total[3:]
    assert low < total.expected < high < 1.5 * low
    again = models.from_dict(json.loads(json.dumps(value.to_dict())))
    assert_allclose(again.clv_quantiles(cdnow, "39W", [0.1, 0.9]), bounds, rtol=1e-12)
    assert clone(again).purchase_model.get_params()["first"] is None
    endless = value.residual_value(cdnow)
    assert (endless >= clv * (1 - 1e-12)).all()


@pytest.fixture(scope="module")
def with_covariate():
    T, times = draw_log(1500, NewcomerEffect(2.5, 4.0), seed=5)
    kind = np.arange(3000) % 2.0
    eager = draw_log(1500, NewcomerEffect(2.5, 4.0), params=TRUTH._replace(alpha=3.0), seed=6)
    T = np.column_stack([T, eager[0]]).ravel()
    times = [mine for pair in zip(times, eager[1], strict=True) for mine in pair]
    return as_snapshot(T, times, kind=kind)


def test_covariates_and_the_effect_are_tested_apart(with_covariate):
    model = NewcomerModel(purchase_covariates=["kind"]).fit(with_covariate)
    bare = NewcomerModel().fit(with_covariate)
    assert_allclose(model.null_log_likelihood_, bare.log_likelihood_, rtol=1e-9)
    found = model.likelihood_ratio_test()
    assert_allclose(
        found["statistic"], 2.0 * (model.log_likelihood_ - bare.log_likelihood_), rtol=1e-4
    )
    coefficient = model.coefficients_["purchase:kind"]
    assert abs(coefficient["estimate"] - np.log(2.0)) < 3.0 * coefficient["standard_error"]
    assert abs(np.log(model.first_ / 2.5)) < 3.0 * model.settling_errors_["first"]
    constant = BetaGeoModel(purchase_covariates=["kind"]).fit(with_covariate)
    assert_allclose(model.plain_log_likelihood_, constant.log_likelihood_, rtol=1e-12)
    assert_allclose(
        model.newcomer_test()["statistic"],
        2.0 * (model.log_likelihood_ - constant.log_likelihood_),
        rtol=1e-9,
    )
    draws = model.posterior(with_covariate, n_draws=100, seed=1)
    assert abs(draws.mean["purchase:kind"] - coefficient["estimate"]) < 0.02
    assert model.expected_purchases_new_customer(
        "26W", {"kind": 1.0}
    ) > model.expected_purchases_new_customer("26W", {"kind": 0.0})


def test_ridge_is_part_of_what_is_maximised(with_covariate):
    ridge = 3000.0
    model = NewcomerModel(purchase_covariates=["kind"], ridge=ridge).fit(with_covariate)
    deviation = with_covariate.frame["kind"].std(ddof=0)

    def penalised(one):
        coefficient = one.coefficients_["purchase:kind"]["estimate"] * deviation
        return one.log_likelihood_ - 0.5 * ridge * coefficient**2

    for first, half_life in ((1.03, 1.0), (1 / 1.03, 1.0), (1.0, 1.03), (1.0, 1 / 1.03)):
        other = clone(model).set_params(
            first=model.first_ * first, half_life=Duration(model.half_life_ * half_life, "week")
        )
        assert penalised(other.fit(with_covariate)) < penalised(model)
    with pytest.raises(CrmmlError, match=r"and ridge=0; got one that was estimated and ridge=3000"):
        model.newcomer_test()


# -- refusals --------------------------------------------------------------------------------------


def test_weights_and_unknown_ages(cdnow):
    with pytest.raises(ParameterError, match="sample_weight must be None when the newcomers' rate"):
        NewcomerModel().fit(cdnow, np.ones(len(cdnow)))
    bare = Snapshot.from_frame(cdnow.frame, cutoff=cdnow.cutoff, time_unit="week")
    for some in (bare, cdnow.subset(np.arange(len(cdnow)) % 2 == 0)):
        with pytest.raises(TooLittleDataError, match="ages at which these very customers bought"):
            NewcomerModel().fit(some)
        with pytest.warns(FitWarning, match="the ages at which these customers bought are unknown"):
            NewcomerModel(first=2.0, half_life="4W").fit(some)
    with pytest.warns(FitWarning, match="lacks the sum of the log rates"):
        given = NewcomerModel(first=2.0, half_life="4W").fit(cdnow, np.full(len(cdnow), 2.0))
    unweighted = NewcomerModel(first=2.0, half_life="4W").fit(cdnow)
    assert_allclose(list(given.params_.values()), list(unweighted.params_.values()), rtol=1e-6)
    with pytest.raises(CrmmlError, match="needs one that was estimated"):
        unweighted.newcomer_test()


def test_repeat_buyers_alone_are_known_by_their_ages(cdnow):
    repeat = cdnow.subset(cdnow.frame["frequency"] > 0)
    assert NewcomerModel().fit(repeat).converged_


def test_opportunities_have_no_age():
    frame = pd.DataFrame({"customer_id": [1], "frequency": [1.0], "recency": [1.0], "T": [4.0]})
    counted = Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="period")
    with pytest.raises(ParameterError, match="time_unit must be one of calendar time"):
        NewcomerModel().fit(counted)


def test_a_failed_fit_leaves_a_fitted_model_as_it_was(cdnow):
    model = NewcomerModel().fit(cdnow)
    before = model.to_dict()
    with pytest.raises(TooLittleDataError, match="ages at which"):
        model.fit(Snapshot.from_frame(cdnow.frame, cutoff=cdnow.cutoff, time_unit="week"))
    assert model.to_dict() == before


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"dropout": "none"}, ParameterError, "dropout must be 'plain' or 'modified'"),
        ({"first": 2.0}, ParameterError, "half_life must be given exactly where first is"),
        ({"half_life": "4W"}, ParameterError, "half_life must be given exactly where first is"),
        ({"first": 0.0, "half_life": "4W"}, ParameterError, "first must be a finite number > 0"),
        ({"first": 2.0, "half_life": "0W"}, DurationError, "a duration is a positive number"),
        ({"first": 2.0, "half_life": "4P"}, CrmmlError, "opportunities have no length"),
    ],
)
def test_bad_settings_are_refused(cdnow, settings, error, match):
    with pytest.raises(error, match=match):
        NewcomerModel(**settings).fit(cdnow)


def test_a_fit_says_what_it_found(cdnow, fitted):
    found, alive = fitted.notes
    assert found == (
        "newcomers at first buy 1.97 times (90 %: 1.72 to 2.27) as fast as they will later; half "
        "of the difference is gone after 3.5 weeks"
    )
    assert "P(alive) is 1 for every customer without a repeat purchase" in alive
    given = NewcomerModel(dropout="modified", first=0.5, half_life="2W").fit(cdnow)
    assert given.notes == (
        "newcomers at first buy 0.50 times as fast as they will later; half of the difference is "
        "gone after 2.0 weeks",
    )
    none = NewcomerModel(dropout="modified", first=1.0, half_life="2W").fit(cdnow)
    assert "the rate is constant" in none.notes[0]
