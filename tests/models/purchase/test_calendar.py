"""Calendar effects: identities, the exact clock, recovery of a season, forecasts of December."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

import crmml.models
from crmml.data.tables import open_tables
from crmml.exceptions import (
    CrmmlError,
    FitWarning,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window
from crmml.models import BetaGeoModel, CalendarProfile, LifetimeValueModel, ModifiedBetaGeoModel
from crmml.models.purchase.calendar import grain_edge
from crmml.stats import bg_nbd, mbg_nbd
from crmml.stats import operational_time as ot
from crmml.stats.discounting import discount_rate_per_unit
from crmml.testing.simulate import Purchases, simulate_world

FLAT = CalendarProfile.from_weeks(dict.fromkeys(range(1, 53), 1.0))
DECEMBER = CalendarProfile.from_weeks({w: 2.5 if w >= 48 else 1.0 for w in range(1, 54)})
TRUTH = Purchases(
    process="mbg_nbd", r=0.8, alpha=6, a=0.8, b=3.5, seasonal_amplitude=0.5, seasonal_peak=350
)
CUTOFF = "2023-11-27"


@pytest.fixture(scope="module")
def tables():
    world = simulate_world(
        5000, seed=3, start="2021-01-04", weeks=160, acquisition_weeks=140,
        purchases=TRUTH, tables=(),
    )  # fmt: skip
    return open_tables(world.transactions)


@pytest.fixture(scope="module")
def snapshot(tables):
    return build_snapshot(tables, CUTOFF)


@pytest.fixture(scope="module")
def fitted(snapshot):
    return ModifiedBetaGeoModel(calendar="estimate").fit(snapshot)


@pytest.fixture(scope="module")
def cdnow(cdnow_snapshot):
    return cdnow_snapshot


# -- the profile -----------------------------------------------------------------------------------


def test_weeks_of_the_year_are_those_of_iso_8601():
    mondays = pd.date_range("1995-01-02", "2032-12-27", freq="W-MON")
    weeks = ot.week_at((mondays - pd.Timestamp("1970-01-01")).days.to_numpy(float))
    assert (ot.week_of_year(weeks) == mondays.isocalendar().week.to_numpy()).all()
    assert (np.diff(weeks) == 1).all()


def test_profile_has_mean_one_over_four_centuries():
    four_centuries = DECEMBER.factors(0, 20_871)
    assert_allclose(four_centuries.mean(), 1.0, rtol=1e-12)
    assert_allclose(four_centuries.max() / four_centuries.min(), 2.5)


def test_profile_comes_back_from_json_and_shows_itself():
    profile = CalendarProfile.from_weeks(
        {w: 1.0 + w / 100 for w in range(1, 53)}, dated={"2024-11-25": 4.0}
    )
    again = CalendarProfile.from_dict(json.loads(json.dumps(profile.to_dict())))
    assert again == profile
    assert crmml.models.CalendarProfile is CalendarProfile
    assert profile.table().index.name == "week"
    black_friday = int(ot.week_at(float((pd.Timestamp("2024-11-25") - pd.Timestamp(0)).days)))
    before, during, after = profile.factors(black_friday - 1, 3)
    assert during > 2 * max(before, after)
    dated = CalendarProfile.from_dates({"2024-01-01": 1.0, "2024-01-08": 3.0})
    assert dated.table()["factor"].tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: CalendarProfile.from_weeks({1: 1.0}), "ISO weeks 1 to 52"),
        (lambda: CalendarProfile.from_weeks(dict.fromkeys(range(1, 53), 0.0)), "factors > 0"),
        (lambda: CalendarProfile.from_dates({"2024-01-02": 1.0}), r"Mondays; got \['2024-01-02'\]"),
        (lambda: CalendarProfile.from_dates({}), "at least one week"),
    ],
)
def test_bad_tables_are_refused(make, match):
    with pytest.raises(ParameterError, match=match):
        make()


def test_a_table_of_dates_must_reach_far_enough(cdnow):
    mondays = pd.date_range("1996-12-30", "1997-10-06", freq="W-MON")
    model = BetaGeoModel(calendar=CalendarProfile.from_dates(dict.fromkeys(mondays, 1.0)))
    model.fit(cdnow)
    assert (model.expected_purchases(cdnow, "1W") > 0).all()
    with pytest.raises(CrmmlError, match="no factor for the weeks from '1997-10-13', '1997-10-20'"):
        model.expected_purchases(cdnow, "3W")
    with pytest.raises(ParameterError, match="horizon must be given where the profile is a table"):
        model.discounted_expected_purchases(cdnow)


def test_grain_edges():
    moment = pd.Timestamp("2024-02-29 13:30")
    for grain, low, high in [
        ("hour", "2024-02-29 13:00", "2024-02-29 14:00"),
        ("day", "2024-02-29", "2024-03-01"),
        ("week", "2024-02-26", "2024-03-04"),
    ]:
        for text, up in ((low, False), (high, True)):
            edge = pd.Timestamp(text)
            day = (edge - pd.Timestamp(0)) / pd.Timedelta(days=1)
            assert_allclose(grain_edge(moment, grain, up=up), day, rtol=1e-15)
            assert_allclose(grain_edge(edge, grain, up=up), day, rtol=1e-15)


# -- identities ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [BetaGeoModel, ModifiedBetaGeoModel])
def test_a_flat_profile_changes_nothing(cls, cdnow):
    plain, flat = cls().fit(cdnow), cls(calendar=FLAT).fit(cdnow)
    assert_allclose(list(flat.params_.values()), list(plain.params_.values()), rtol=1e-6)
    assert_allclose(flat.log_likelihood_, plain.log_likelihood_, rtol=1e-12)
    assert_allclose(flat.flat_log_likelihood_, plain.log_likelihood_, rtol=1e-12)
    flat.params_ = plain.params_
    for ask in (
        lambda m: m.expected_purchases(cdnow, "39W"),
        lambda m: m.expected_purchases_if_alive(cdnow, "10D"),
        lambda m: m.probability_alive(cdnow),
        lambda m: m.probability_no_purchase(cdnow, "13W"),
        lambda m: m.purchase_distribution(cdnow, "39W", 5),
        lambda m: m.purchase_quantiles(cdnow, "39W", (0.1, 0.9)),
        lambda m: m.sample(cdnow, "39W", 2, seed=1),
        lambda m: m.discounted_expected_purchases(cdnow, "52W"),
        lambda m: m.discounted_expected_purchases(cdnow, "52W", 0.0),
        lambda m: m.discounted_expected_purchases(cdnow),
        lambda m: m.discounted_expected_purchases(cdnow, None, 0.01),
    ):
        assert_allclose(ask(flat), ask(plain), rtol=1e-9)


@pytest.mark.parametrize("process", [bg_nbd, mbg_nbd])
def test_discounting_over_weeks_equals_exact_segments(process):
    """Within a week the clock is straight, so each is a difference of the plain closed forms."""
    params = bg_nbd.Params(
        np.array([0.8, 300.8, 1.8]), np.array([6.0, 60.0, 200.0]), 0.8, np.array([3.5, 303.5, 4.5])
    )
    delta = discount_rate_per_unit(0.3, "week")
    rates = DECEMBER.factors(2800, 60)
    calendar, clock = np.arange(61.0), np.concatenate([[0.0], np.cumsum(rates)])
    exact = np.zeros(3)
    for u, v, s in zip(calendar, clock, rates, strict=False):
        until = [process.discounted_purchases(params, np.full(3, w), delta / s) for w in (v, v + s)]
        exact += np.exp(-delta * u + delta / s * v) * (until[1] - until[0])
    found = ot.discounted_purchases(params, calendar, clock, delta)
    assert_allclose(found, exact, rtol=1e-9)


def test_the_likelihood_is_that_of_the_purchase_times(snapshot):
    """Per customer: plain likelihood on the clock, times the profile at each purchase."""
    model = ModifiedBetaGeoModel(calendar=DECEMBER).fit(snapshot)
    frame = snapshot.frame
    end = grain_edge(snapshot.cutoff, "day")
    moments, clock = DECEMBER.clock(end - 7 * frame["T"].max(), end)

    def S(day):
        return np.interp(day, moments, clock) / 7

    begin = end - 7 * frame["T"]
    t_x, T = S(begin + 7 * frame["recency"]) - S(begin), S(end) - S(begin)
    t_x = np.where(frame["frequency"] > 0, np.minimum(t_x, T), 0.0)
    params = mbg_nbd.Params(**model.params_)
    total = mbg_nbd.log_likelihood(params, frame["frequency"].to_numpy(), t_x, T).sum()
    week, _, repeats = snapshot.provenance["purchase_times"].by_week()
    total += repeats @ np.log(DECEMBER.factors(week, len(repeats)))
    assert_allclose(model.log_likelihood_, total, rtol=1e-10)


@pytest.mark.parametrize(("grain", "unit"), [("day", "day"), ("week", "week"), ("hour", "hour")])
def test_forecasts_do_not_depend_on_the_unit_of_time(tables, grain, unit):
    in_weeks = build_snapshot(tables, CUTOFF, grain=grain)
    in_unit = build_snapshot(tables, CUTOFF, grain=grain, time_unit=unit)
    a, b = (BetaGeoModel(calendar=DECEMBER).fit(s) for s in (in_weeks, in_unit))
    assert_allclose(
        a.expected_purchases(in_weeks, "30D"), b.expected_purchases(in_unit, "30D"), rtol=1e-4
    )


# -- recovery and forecasts ------------------------------------------------------------------------


def test_season_and_parameters_are_recovered(fitted):
    week = np.arange(1, 53)
    truth = 1 + 0.5 * np.cos(2 * np.pi * ((week - 0.5) * 7 - 350) / 365.25)
    assert np.abs(fitted.calendar_.table()["factor"].to_numpy()[:52] - truth).max() < 0.1
    for name in ("r", "alpha", "a", "b"):
        deviation = abs(fitted.params_[name] - getattr(TRUTH, name))
        assert deviation < 4 * fitted.standard_errors_[name], name
    assert 1 <= fitted.n_waves_ <= 4
    assert fitted.dispersion_ < 1.5


def test_the_estimate_is_an_optimum_of_the_joint_likelihood(fitted, snapshot):
    assert fitted.flat_log_likelihood_ == pytest.approx(
        ModifiedBetaGeoModel().fit(snapshot).log_likelihood_
    )
    log_factors = np.log(fitted.calendar_.weekly)
    turn = ot.waves(np.arange(1, 54), fitted.n_waves_)
    for wave in turn.T:
        gains = []
        for move in (-0.02, 0.02):
            moved = dict(enumerate(np.exp(log_factors + move * wave), start=1))
            other = ModifiedBetaGeoModel(calendar=CalendarProfile.from_weeks(moved)).fit(snapshot)
            gains.append(other.log_likelihood_ - fitted.log_likelihood_)
        assert max(gains) < 0
        assert abs(gains[1] - gains[0]) < 0.02 * abs(sum(gains))


def test_season_is_found_against_none(fitted, snapshot):
    test = fitted.calendar_test()
    assert test["degrees_of_freedom"] == 2 * fitted.n_waves_
    assert test["statistic"] == pytest.approx(
        2 * (fitted.log_likelihood_ - fitted.flat_log_likelihood_)
    )
    assert test["p_value"] < 1e-100
    assert test["p_value_dispersed"] < 1e-100
    with pytest.raises(CrmmlError, match="has estimated no calendar profile"):
        ModifiedBetaGeoModel().fit(snapshot).calendar_test()


def test_no_season_no_profile():
    world = simulate_world(
        1500, seed=5, weeks=130, acquisition_weeks=110,
        purchases=Purchases(process="mbg_nbd"), tables=(),
    )  # fmt: skip
    snapshot = build_snapshot(world.transactions, world.end)
    model = ModifiedBetaGeoModel(calendar="estimate").fit(snapshot)
    assert model.n_waves_ == 0
    assert model.calendar_test()["p_value"] == 1.0
    assert_allclose(model.calendar_.weekly, 1.0)
    assert model.log_likelihood_ == pytest.approx(model.flat_log_likelihood_)


def test_december_is_forecast_better_than_without(fitted, snapshot, tables):
    window = Window(CUTOFF, "4W")
    bought = build_outcomes(tables, window, grain="day")["purchases"]
    actual = bought.reindex(snapshot.customer_id).to_numpy()
    with_, without = (
        m.expected_purchases(snapshot, "4W").to_numpy()
        for m in (fitted, ModifiedBetaGeoModel().fit(snapshot))
    )
    assert abs(with_.sum() / actual.sum() - 1) < 0.08
    assert abs(without.sum() / actual.sum() - 1) > 0.2
    assert ((with_ - actual) ** 2).mean() < ((without - actual) ** 2).mean()


def test_a_sharp_december_is_seen():
    rng = np.random.default_rng(8)
    days = pd.date_range("2020-01-06", periods=7 * 156)
    weights = DECEMBER.factors(
        int(ot.week_at(float((days[0] - pd.Timestamp(0)).days))), 156
    ).repeat(7)
    who = np.repeat(np.arange(800), rng.poisson(30 * rng.gamma(1.5, 1 / 1.5, 800)) + 1)
    log = pd.DataFrame(
        {"customer_id": who, "timestamp": rng.choice(days, len(who), p=weights / weights.sum())}
    ).assign(amount=1.0)
    model = BetaGeoModel(calendar="estimate")
    with pytest.warns(FitWarning, match="never leave"):
        model.fit(build_snapshot(log, days[-1] + pd.Timedelta(days=1)))
    factors = model.calendar_.table()["factor"]
    truth = DECEMBER.table()["factor"]
    assert model.n_waves_ >= 4
    assert abs(factors[50] / truth[50] - 1) < 0.15
    assert abs(factors[26] / truth[26] - 1) < 0.15


# -- storage and refusals --------------------------------------------------------------------------


@pytest.mark.parametrize("calendar", [None, FLAT, DECEMBER])
def test_models_come_back_from_json(calendar, cdnow):
    model = ModifiedBetaGeoModel(calendar=calendar).fit(cdnow)
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.calendar == calendar
    pd.testing.assert_series_equal(
        again.expected_purchases(cdnow, "26W"), model.expected_purchases(cdnow, "26W")
    )
    clone(again).fit(cdnow)


def test_an_estimated_model_comes_back_from_json(fitted, snapshot):
    again = crmml.models.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.calendar == "estimate"
    assert again.calendar_ == fitted.calendar_
    assert again.calendar_test() == fitted.calendar_test()
    pd.testing.assert_series_equal(
        again.expected_purchases(snapshot, "4W"), fitted.expected_purchases(snapshot, "4W")
    )


def test_a_model_stored_before_profiles_existed_still_loads(cdnow):
    stored = BetaGeoModel().fit(cdnow).to_dict()
    del stored["settings"]["calendar"]
    for name in ("calendar_", "n_waves_", "dispersion_", "flat_log_likelihood_"):
        del stored["state"][name]
    assert (crmml.models.from_dict(stored).expected_purchases(cdnow, "4W") > 0).all()


def test_short_data_are_refused_with_a_sentence(cdnow):
    with pytest.raises(
        TooLittleDataError,
        match=r"at least two years \(104 weeks\) of data; these span 39 weeks: give the profile",
    ):
        BetaGeoModel(calendar="estimate").fit(cdnow)


def test_a_profile_is_not_estimated_without_the_weeks_of_purchases(snapshot):
    some = snapshot.subset(np.arange(len(snapshot)) % 2 == 0)
    with pytest.raises(TooLittleDataError, match="these very customers bought"):
        BetaGeoModel(calendar="estimate").fit(some)
    with pytest.raises(ParameterError, match="sample_weight must be None"):
        BetaGeoModel(calendar="estimate").fit(snapshot, np.ones(len(snapshot)))
    with pytest.raises(ParameterError, match="'estimate' or None; got 'weekly'"):
        BetaGeoModel(calendar="weekly").fit(snapshot)
    with pytest.warns(FitWarning, match="lacks the sum of log s"):
        BetaGeoModel(calendar=DECEMBER).fit(some)


def test_opportunities_have_no_calendar():
    frame = pd.DataFrame(
        {"customer_id": [1, 2], "frequency": [1, 0], "recency": [2, 0], "T": [5, 5]}
    )
    snapshot = Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="period")
    with pytest.raises(ParameterError, match="purchase opportunities, which have no dates"):
        BetaGeoModel(calendar=FLAT).fit(snapshot)


# -- uncertainty and value -------------------------------------------------------------------------


def test_lifetime_value_follows_the_calendar(snapshot):
    """Four weeks of a December thrice as busy are worth more than twice as much."""
    frame = snapshot.frame
    some = snapshot.subset((frame["monetary_value"] > 0) | (frame["frequency"] == 0))
    profile = CalendarProfile.from_weeks({w: 3.0 if w >= 48 else 1.0 for w in range(1, 54)})
    with pytest.warns(FitWarning, match="lacks the sum of log s"):
        model = LifetimeValueModel(
            purchase_model=ModifiedBetaGeoModel(calendar=profile), margin=1.0
        ).fit(some)
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict(), sort_keys=True)))
    december = again.clv(some, "4W")
    pd.testing.assert_series_equal(december, model.clv(some, "4W"))
    bounds = model.clv_quantiles(some, "4W", (0.1, 0.9))
    assert (bounds[0.1] <= bounds[0.9]).all()
    assert model.residual_value(some).sum() > model.clv(some, "52W").sum()
    again.purchase_model_.calendar_ = None
    assert december.sum() > 2 * again.clv(some, "4W").sum()


def test_posterior_is_drawn_on_the_clock(fitted, snapshot):
    posterior = fitted.posterior(snapshot, n_draws=50, seed=1)
    for name, estimate in fitted.params_.items():
        assert abs(posterior.mean[name] - estimate) < fitted.standard_errors_[name]
    table = fitted.purchase_distribution(snapshot, "4W", 3, posterior)
    assert_allclose(table, fitted.purchase_distribution(snapshot, "4W", 3), atol=0.02)
