"""Composed purchase models: several clocks, covariates and processes at once, from simulation."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import crmml.models
from crmml.data.tables import open_tables
from crmml.exceptions import FitWarning, ParameterError
from crmml.features.labels import LabelledSnapshot, build_labelled
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window
from crmml.models import (
    BetaGeoModel,
    CalendarProfile,
    LeftCensoredModel,
    ModifiedBetaGeoModel,
    NewcomerModel,
    ParetoNBDModel,
    RegularPurchaseModel,
)
from crmml.models.fits import Fits
from crmml.models.purchase.clocks import NewcomerClock, ScheduleClock, SeasonClock
from crmml.models.purchase.compose import (
    Composition,
    compose_purchase_model,
    keep_clocks_that_forecast,
    kept_clocks,
)
from crmml.models.purchase.distribution import look_ahead
from crmml.stats import bg_nbd
from crmml.training.candidates import read_schedules

TRUTH = bg_nbd.Params(0.9, 8.0, 0.5, 4.0)
FIRST, DECAY = 2.2, 5.0
SEASON = (0.35, -0.15)
SALE, PRICE = 0.8, -0.5
BEGIN = pd.Timestamp("2021-01-04")
DAYS = 1092
EPOCH = pd.Timestamp("1970-01-01")


def plan():
    """Return two sales a year and a price that rises half way."""
    sales = [BEGIN + pd.Timedelta(days=day) for day in range(100, DAYS, 180)]
    rows = [(at, at + pd.Timedelta(days=14), "sale", 1.0) for at in sales]
    half = BEGIN + pd.Timedelta(days=600)
    rows.append((half, BEGIN + pd.Timedelta(days=2 * DAYS), "price", 1.0))
    return pd.DataFrame(rows, columns=["starts_at", "ends_at", "name", "value"])


def draw_log(n, *, newcomers=False, season=False, schedule=False, effect=0.0, modified=False,
             seed=1, before=0):  # fmt: skip
    """Draw purchases by day on the clock of each customer; ``before`` days of it are not shown."""
    rng = np.random.default_rng(seed)
    total = DAYS + before
    day = np.arange(total) - before
    first = rng.integers(0, total - 150, n)
    kind = np.arange(n) % 2
    rate = rng.gamma(TRUTH.r, 1.0 / TRUTH.alpha, n) * np.exp(effect * kind) / 7.0
    leaves = rng.beta(TRUTH.a, TRUTH.b, n)
    logs = np.zeros(total)
    date = BEGIN + pd.to_timedelta(day, unit="D")
    if season:
        turn = 2 * np.pi * (date.isocalendar().week.to_numpy(dtype=float) - 0.5) * 7 / 365.2425
        logs += SEASON[0] * np.cos(turn) + SEASON[1] * np.sin(turn)
    if schedule:
        for start, end, name, value in plan().itertuples(index=False):
            inside = (date >= start) & (date < end)
            logs += value * (SALE if name == "sale" else PRICE) * inside
    pace, rows = np.exp(logs), []
    for i in range(n):
        speed = pace[first[i] + 1 :]
        if newcomers:
            age = (np.arange(len(speed)) + 0.5) / 7.0
            speed = speed * (1.0 + (FIRST - 1.0) * np.exp(-age / DECAY))
        clock = np.cumsum(speed)
        most = rng.geometric(leaves[i]) - int(modified)
        times = np.cumsum(rng.exponential(1.0 / rate[i], min(most, 400)))
        bought = first[i] + 1 + np.searchsorted(clock, times[times < clock[-1]])
        rows += [(i, first[i]), *((i, at) for at in np.unique(bought))]
    log = pd.DataFrame(rows, columns=["customer_id", "day"])
    log = log[log["day"] >= before]
    log["timestamp"] = BEGIN + pd.to_timedelta(log["day"] - before, unit="D")
    return log.assign(amount=10.0)[["customer_id", "timestamp", "amount"]]


def shown(n, **effects):
    snapshot = build_snapshot(draw_log(n, **effects), BEGIN + pd.Timedelta(days=DAYS))
    kind = snapshot.frame["customer_id"].to_numpy() % 2.0
    return Snapshot(
        snapshot.frame.assign(kind=kind), snapshot.cutoff, provenance=snapshot.provenance
    )


def check_process(model):
    for name, value in TRUTH._asdict().items():
        assert abs(model.params_[name] - value) < 3.5 * model.standard_errors_[name], name


def check_newcomers(model):
    errors = model.settling_errors_
    assert abs(np.log(model.first_ / FIRST)) < 3.0 * errors["first"] < 0.6
    assert abs(np.log(model.half_life_ / np.log(2.0) / DECAY)) < 3.0 * errors["half_life"] < 1.5


def check_season(model):
    week = np.arange(1, 54)
    turn = 2 * np.pi * (week - 0.5) * 7 / 365.2425
    truth = np.exp(SEASON[0] * np.cos(turn) + SEASON[1] * np.sin(turn))
    found = np.array(model.calendar_.weekly)
    assert np.abs(found / (truth / truth[:52].mean()) - 1.0).max() < 0.12


def check_schedule(model):
    for name, value in (("sale", SALE), ("price", PRICE)):
        found = model.schedule_coefficients_[name]
        assert abs(found["estimate"] - value) < 3.5 * found["standard_error"] < 0.5, name


@pytest.fixture(scope="module")
def both():
    snapshot = shown(2500, newcomers=True, season=True, seed=3)
    return snapshot, BetaGeoModel(clocks=["newcomers", "season"]).fit(snapshot)


def test_newcomers_and_season(both):
    _, model = both
    check_process(model)
    check_newcomers(model)
    check_season(model)
    assert model.newcomer_test()["p_value"] < 1e-6
    assert model.calendar_test()["p_value"] < 1e-6
    assert len(model.clock_names_) == 2 + 2 * model.n_waves_
    assert np.shape(model.joint_covariance_) == (4 + len(model.clock_names_),) * 2


def test_newcomers_and_schedules():
    snapshot = shown(2500, newcomers=True, schedule=True, modified=True, seed=4)
    clocks = ["newcomers", ScheduleClock.from_frame(plan())]
    model = ModifiedBetaGeoModel(clocks=clocks).fit(snapshot)
    check_process(model)
    check_newcomers(model)
    check_schedule(model)
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.to_dict() == model.to_dict()
    soon = model.expected_purchases(snapshot, "4W")
    pd.testing.assert_series_equal(again.expected_purchases(snapshot, "4W"), soon)


def test_season_and_schedules():
    snapshot = shown(2500, season=True, schedule=True, seed=5)
    clocks = ["season", ScheduleClock.from_frame(plan())]
    model = BetaGeoModel(clocks=clocks).fit(snapshot)
    check_process(model)
    check_season(model)
    check_schedule(model)


def test_covariates_with_newcomers_and_season():
    snapshot = shown(2500, newcomers=True, season=True, effect=0.6, seed=6)
    model = BetaGeoModel(clocks=["newcomers", "season"], purchase_covariates=["kind"])
    model.fit(snapshot)
    check_process(model)
    check_newcomers(model)
    check_season(model)
    found = model.coefficients_["purchase:kind"]
    assert abs(found["estimate"] - 0.6) < 3.0 * found["standard_error"]
    assert model.likelihood_ratio_test()["p_value"] < 1e-6


@pytest.fixture(scope="module")
def older():
    """Customers older than the data among newcomers, all under a season."""
    snapshot = shown(3500, newcomers=True, season=True, seed=7, before=500)
    base = BetaGeoModel(clocks=["newcomers", "season"])
    return snapshot, LeftCensoredModel(base=base, margin="13W").fit(snapshot)


def test_customers_older_than_the_data_with_newcomers_and_season(older):
    snapshot, model = older
    new = model.new_
    check_season(model)
    check_newcomers(new)
    assert model.old_.first_ == 1.0
    assert model.old_.calendar_ == new.calendar_ == model.calendar_
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict())))
    for ask in (
        lambda m: m.expected_purchases(snapshot, "13W"),
        lambda m: m.discounted_expected_purchases(snapshot, "13W"),
    ):
        pd.testing.assert_series_equal(ask(again), ask(model))


@pytest.fixture(scope="module")
def drawn(older):
    snapshot, model = older
    return model.posterior(snapshot, n_draws=60, seed=1, prior={"old_r": (0.0, 1.0)})


def test_the_posterior_of_both_kinds_carries_the_clocks_that_they_share(older, drawn):
    (_, model), posterior = older, drawn
    assert posterior.names == (*model.params_, *model.clock_names_) == model._parameter_names
    assert posterior.coefficients == tuple(model.clock_names_)
    estimates = [*np.log(list(model.params_.values())), *model.clock_estimates_]
    deviations = np.sqrt(np.diag(model.joint_covariance_))
    spread = np.sqrt(np.diag(posterior.log_covariance))
    away = np.abs(posterior.log_mean - estimates) / deviations
    assert away.max() < 0.6, dict(zip(posterior.names, away, strict=True))
    # A clock that both share ties their parameters to each other.
    assert_allclose(spread[8:], deviations[8:], rtol=0.2)
    correlation = posterior.log_covariance / np.outer(spread, spread)
    assert np.abs(correlation[:8, 8:]).max() > 0.1


def test_an_interval_is_not_narrower_than_with_clocks_known(older, drawn):
    snapshot, model = older
    clocks = [
        NewcomerClock(model.first_, f"{model.half_life_:.12f}W"),
        SeasonClock(model.calendar_),
    ]
    known = LeftCensoredModel(base=BetaGeoModel(clocks=clocks), margin="13W").fit(snapshot)
    assert_allclose(list(known.params_.values()), list(model.params_.values()), rtol=1e-3)
    some = snapshot.subset(np.arange(len(snapshot)) % 20 == 0)
    spreads = []
    for one, posterior in (
        (known, known.posterior(snapshot, n_draws=60, seed=3)),
        (model, drawn),
    ):
        worlds = look_ahead(one, some, "13W", posterior.draws)
        totals = (worlds.alive * worlds._means[:, worlds.inverse])[:, worlds.rows].sum(axis=1)
        spreads.append(totals.std())
        assert_allclose(totals.mean(), one.expected_purchases(some, "13W").sum(), rtol=0.05)
    assert spreads[1] > spreads[0]


def test_given_clocks_equal_the_estimated_ones(both):
    snapshot, model = both
    given = BetaGeoModel(
        clocks=[
            NewcomerClock(model.first_, f"{model.half_life_:.12f}W"),
            SeasonClock(model.calendar_),
        ]
    ).fit(snapshot)
    assert_allclose(given.log_likelihood_, model.log_likelihood_, rtol=1e-9)
    assert_allclose(list(given.params_.values()), list(model.params_.values()), rtol=1e-4)
    assert all(given.standard_errors_[n] < model.standard_errors_[n] for n in ("r", "alpha"))


def test_short_names_of_the_same_model(both):
    snapshot, model = both
    named = NewcomerModel(calendar="estimate").fit(snapshot)
    assert named.params_ == model.params_
    assert named.log_likelihood_ == model.log_likelihood_
    assert BetaGeoModel(clocks="auto").fit(snapshot).params_ == model.params_
    assert BetaGeoModel(clocks="auto").fit(snapshot).simpler().clocks == ()


def test_predictions_agree_with_the_sum_of_short_horizons(both):
    """Discounted purchases are the sum over weeks, each discounted, on the same clock."""
    snapshot, model = both
    some = snapshot.subset(np.arange(len(snapshot)) % 25 == 0)
    until = [model.expected_purchases(some, f"{7 * k}D").to_numpy() for k in range(1, 27)]
    by_week = np.diff(np.vstack([np.zeros(len(some)), *until]), axis=0)
    delta = np.log(1.1) * 7 / 365
    middle = np.exp(-delta * (np.arange(26) + 0.5))
    found = model.discounted_expected_purchases(some, "26W", 0.1)
    assert_allclose(found, middle @ by_week, rtol=2e-5)
    undiscounted = model.discounted_expected_purchases(some, "26W", 0.0)
    assert_allclose(undiscounted, until[-1], rtol=1e-6)
    assert (model.discounted_expected_purchases(some) > found).all()


def test_posteriors_carry_the_clocks(both):
    snapshot, model = both
    posterior = model.posterior(snapshot, n_draws=200, seed=1)
    assert posterior.names == model._parameter_names
    draws = dict(zip(posterior.names, posterior.draws.T, strict=True))
    deviations = np.sqrt(np.diag(model.joint_covariance_))[4:]
    for name, at, deviation in zip(
        model.clock_names_, model.clock_estimates_, deviations, strict=True
    ):
        assert abs(draws[name].mean() - at) < 0.5 * deviation, name
        assert 0.75 < draws[name].std() / deviation < 1.3, name
    some = snapshot.subset(np.arange(len(snapshot)) % 10 == 0)
    known = model.purchase_distribution(some, "26W", 30)
    unsure = model.purchase_distribution(some, "26W", 30, posterior)
    assert_allclose(unsure, known, atol=0.02)
    assert np.abs(unsure - known).to_numpy().max() > 1e-5
    assert (model.purchase_quantiles(some, "26W", [0.9], posterior) >= 0).all().all()


def test_row_order_does_not_matter(both):
    snapshot, model = both
    order = np.random.default_rng(1).permutation(len(snapshot))
    frame = snapshot.frame.iloc[order].reset_index(drop=True)
    shuffled = Snapshot(frame, snapshot.cutoff, provenance=snapshot.provenance)
    assert BetaGeoModel(clocks=["newcomers", "season"]).fit(shuffled).to_dict() == model.to_dict()


def test_auto_leaves_out_what_does_not_pay():
    snapshot = shown(1500, seed=8)
    model = BetaGeoModel(clocks="auto").fit(snapshot)
    assert model.first_ == 1.0
    assert model.n_waves_ == 0
    assert model.simpler() is None
    assert model.params_ == BetaGeoModel().fit(snapshot).params_


def test_auto_says_where_nothing_can_be_tried(both):
    some = both[0].subset(np.arange(len(both[0])) % 2 == 0)
    with pytest.warns(FitWarning, match="it is unknown when these very customers bought"):
        model = BetaGeoModel(clocks="auto").fit(some)
    assert model.params_ == BetaGeoModel().fit(some).params_


@pytest.mark.parametrize(
    ("clocks", "match"),
    [
        (["weekly"], "one of each kind; got 'weekly'"),
        (["season", SeasonClock()], "one of each kind"),
        ("all", "'auto' or a sequence"),
        ([NewcomerClock(2.0)], "half_life must be given exactly where first is"),
    ],
)
def test_bad_clocks_are_refused(both, clocks, match):
    with pytest.raises(ParameterError, match=match):
        BetaGeoModel(clocks=clocks).fit(both[0])


@pytest.mark.parametrize("process", ["pareto_nbd", "cnbd_k"])
def test_what_cannot_be_combined_is_refused_with_the_reason(process):
    rule = {"pareto_nbd": "empty", "cnbd_k": "given in full"}[process]
    with pytest.raises(ParameterError, match=f"clocks must be {rule} for"):
        compose_purchase_model(process, clocks=["newcomers"])
    with pytest.raises(ParameterError, match="origin must be 'first' for"):
        compose_purchase_model(process, origin="window")
    with pytest.warns(FitWarning, match="is fitted without clocks"):
        model = compose_purchase_model(process, clocks="auto")
    assert type(model) in (ParetoNBDModel, RegularPurchaseModel)
    with pytest.raises(ParameterError, match="process must be one of"):
        compose_purchase_model("poisson")


def test_composition_sets_what_the_classes_take():
    model = compose_purchase_model(
        "bg_nbd", clocks="auto", origin="window", purchase_covariates=["kind"], ridge=1.0
    )
    assert isinstance(model, LeftCensoredModel)
    assert (model.margin, model.base.clocks, model.base.ridge) == ("half", "auto", 1.0)
    assert isinstance(compose_purchase_model(), ModifiedBetaGeoModel)


def test_clocks_must_forecast_better_too(both):
    log = draw_log(2500, newcomers=True, season=True, seed=3)
    window = Window(BEGIN + pd.Timedelta(days=DAYS - 91), "8W")
    labelled = build_labelled(open_tables(log), window)
    _, model = both
    assert keep_clocks_that_forecast(model, [labelled]) is model
    assert keep_clocks_that_forecast(model, []) is model
    # Customers of a world without clocks, whatever the history said of one.
    plain = BetaGeoModel().fit(labelled.snapshot)
    drawn = plain.sample(labelled.snapshot, "8W", 1, seed=1)[0]
    outcomes = labelled.outcomes.assign(purchases=drawn)
    other = LabelledSnapshot(labelled.snapshot, outcomes, labelled.window)
    kept = keep_clocks_that_forecast(model, [other])
    assert kept.clocks == ()


def test_clocks_and_origin_of_an_older_base_must_forecast_too():
    log = draw_log(1200, newcomers=True, seed=7, before=500)
    tables = open_tables(log)
    snapshot = build_snapshot(tables, BEGIN + pd.Timedelta(days=DAYS))
    window = build_labelled(tables, Window(BEGIN + pd.Timedelta(days=DAYS - 91), "13W"))
    fits = Fits()
    model = Composition("bg_nbd").fit(snapshot, [window], fits)
    assert kept_clocks(model) == ("newcomers", "older customers apart")
    # The same histories, but what comes next is of a world without clocks, or without an origin.
    clocks = Composition("bg_nbd").fit(snapshot, [], fits).base._with_clocks(("newcomers",))
    for other, kept in (
        (LeftCensoredModel(base=BetaGeoModel()), ("older customers apart",)),
        (clocks, ("newcomers",)),
    ):
        drawn = fits.fit(other, window.snapshot).sample(window.snapshot, "13W", 1, seed=1)[0]
        outcomes = window.outcomes.assign(purchases=drawn)
        its = LabelledSnapshot(window.snapshot, outcomes, window.window)
        assert kept_clocks(Composition("bg_nbd").fit(snapshot, [its], fits)) == kept


def test_the_simpler_model_keeps_what_was_given():
    given = SeasonClock(CalendarProfile.from_weeks(dict.fromkeys(range(1, 53), 1.0)))
    snapshot = shown(1200, newcomers=True, seed=9)
    model = NewcomerModel(dropout="modified", clocks=[given], ridge=0.5).fit(snapshot)
    simpler = model.simpler()
    assert isinstance(simpler, ModifiedBetaGeoModel)
    assert (simpler.clocks, simpler.ridge) == ((given,), 0.5)
    base = ModifiedBetaGeoModel(clocks=["newcomers"])
    old = LeftCensoredModel(base=base, margin="8W").fit(snapshot).simpler()
    assert (old.margin, old.base.clocks) == ("8W", ())


def test_one_distribution_answers_everything(both):
    snapshot, model = both
    some = snapshot.subset(np.arange(len(snapshot)) % 10 == 0)
    ahead = model.predictive(some, "13W")
    pmf = ahead.pmf(60)
    assert_allclose(pmf.to_numpy() @ np.arange(61), ahead.mean(), rtol=1e-6)
    assert_allclose(pmf[0], ahead.probability_no_purchase(), rtol=1e-12)
    assert_allclose(ahead.mean(), model.expected_purchases(some, "13W"), rtol=1e-14)
    assert_allclose(ahead.probability_alive(), model.probability_alive(some), rtol=1e-14)
    factor = np.linspace(0.5, 2.0, len(some))
    moved = ahead.corrected(factor, 0.01)
    assert_allclose(moved.mean(), factor * ahead.mean(), rtol=1e-6)
    assert (moved.probability_alive() == ahead.probability_alive()).all()
    # More spread at the same mean: silence is likelier.
    wider = ahead.corrected(np.ones(len(some)), 0.05)
    assert (wider.probability_no_purchase() >= ahead.probability_no_purchase() - 1e-12).all()
    plain = ahead.corrected(np.ones(len(some)), 0.0)
    assert_allclose(plain.discounted(), ahead.discounted(), rtol=1e-6)


def test_a_composition_tries_the_schedules_of_the_tables_and_keeps_what_forecasts():
    cutoff = BEGIN + pd.Timedelta(days=DAYS)
    for acts in (True, False):
        log = draw_log(600, schedule=acts, seed=12)
        tables = open_tables({"transactions": log, "schedules": plan()})
        schedules = read_schedules(tables)
        assert schedules.names == ("price", "sale")
        window = build_labelled(tables, Window(cutoff - pd.Timedelta(days=91), "13W"))
        snapshot = build_snapshot(tables, cutoff)
        model = Composition("bg_nbd", schedules=schedules).fit(snapshot, [window], Fits())
        assert kept_clocks(model) == (("price", "sale") if acts else ())
    assert Composition("bg_nbd").fit(snapshot, [], Fits()).clocks == "auto"


def test_schedules_of_which_no_effect_can_be_seen_are_left_out():
    clock = ScheduleClock.from_frame(plan())
    first, half, end = ((BEGIN - EPOCH).days + day for day in (0, 599, DAYS))
    assert clock.seen((first, end)).names == ("price", "sale")
    assert clock.seen((first, end), (first, half)).names == ("sale",)
    assert clock.seen((first, first + 90)) is None


def test_nothing_but_the_clock_is_fitted_where_no_clock_pays():
    log = draw_log(600, seed=15)
    tables = open_tables(log)
    fits = Fits()
    window = build_labelled(tables, Window(BEGIN + pd.Timedelta(days=DAYS - 91), "13W"))
    snapshot = build_snapshot(tables, BEGIN + pd.Timedelta(days=DAYS))
    model = Composition("mbg_nbd").fit(snapshot, [window], fits)
    assert kept_clocks(model) == ()
    assert [(seen, kept) for seen, _, kept, _ in fits._known] == [(snapshot, model)]
