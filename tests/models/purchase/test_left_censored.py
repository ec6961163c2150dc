"""Left-censored bases: the truncated likelihood, detection, identities, and better forecasts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import beta, gamma
from sklearn.base import clone

import crmml.models
from crmml.data.datasets import load_cdnow
from crmml.data.profile import compute_profile
from crmml.data.tables import open_tables
from crmml.exceptions import (
    BoundaryWarning,
    CrmmlError,
    DurationError,
    FitWarning,
    ParameterError,
    TooLittleDataError,
)
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.windows import Window
from crmml.models import (
    BetaGeoModel,
    GammaGammaModel,
    LeftCensoredModel,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    ParetoNBDModel,
)
from crmml.models.purchase.calendar import CalendarProfile
from crmml.models.purchase.left_censored import detect_left_censoring
from crmml.models.purchase.predictive import purchase_posterior
from crmml.stats import bg_nbd, mbg_nbd
from crmml.stats.bg_nbd import Params
from crmml.stats.left_censored import SeenEarly
from crmml.stats.operational_time import waves, week_at
from crmml.testing.simulate import Purchases, simulate_world
from crmml.training.candidates import make_candidate
from crmml.training.fit import age_of_base

ORIGIN, CUTOFF = "2020-01-06", "2021-01-04"
DECEMBER = CalendarProfile.from_weeks({w: 2.5 if w >= 48 else 1.0 for w in range(1, 54)})


@pytest.fixture(scope="module")
def world():
    return simulate_world(
        8000, seed=4, start="2018-01-01", weeks=210, acquisition_weeks=210,
        purchases=Purchases(process="mbg_nbd", r=1.2, alpha=6, a=0.3, b=4), tables=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def tables(world):
    lines = world.transactions
    return open_tables(lines[lines["timestamp"] >= ORIGIN])


@pytest.fixture(scope="module")
def snapshot(tables):
    return build_snapshot(tables, CUTOFF)


@pytest.fixture(scope="module")
def fitted(snapshot):
    return LeftCensoredModel().fit(snapshot)


@pytest.fixture(scope="module")
def cdnow(cdnow_snapshot):
    return cdnow_snapshot


# -- the likelihood --------------------------------------------------------------------------------


def test_chance_to_be_seen_agrees_with_integration_over_rates():
    params, T, share = Params(0.7, 5.0, 0.4, 2.0), 30.0, 0.2
    nobody = quad(lambda rate: np.exp(-rate * share * T) * gamma.pdf(rate, 0.7, scale=0.2), 0, 20)
    got = SeenEarly(share).log_seen(params, np.array([T]))
    assert_allclose(np.exp(got), 1 - nobody[0], rtol=1e-6)


def test_score_is_the_derivative():
    process = SeenEarly(0.3)
    x, t_x, T = np.array([1.0, 4.0, 90.0]), np.array([0.3, 20.0, 50.0]), np.full(3, 52.0)
    theta = np.log([0.7, 5.0, 0.4, 2.0])
    value, gradient = process.score(process.make(np.exp(theta)), x, t_x, T)
    assert_allclose(value, process.log_likelihood(process.make(np.exp(theta)), x, t_x, T))
    for i in range(4):
        step = 1e-6 * np.eye(4)[i]
        up, down = (
            process.log_likelihood(process.make(np.exp(theta + s)), x, t_x, T)
            for s in (step, -step)
        )
        assert_allclose(gradient[i], (up - down) / 2e-6, rtol=1e-6, atol=1e-7)


def test_counted_rows_add_up_to_the_score():
    process, weights = SeenEarly(0.3), np.array([2.0, 1.0, 5.0, 3.0])
    x, T = np.array([1.0, 4.0, 4.0, 90.0]), np.array([52.0, 52.0, 40.0, 52.0])
    t_x, theta = np.array([0.3, 20.0, 12.0, 50.0]), np.log([0.7, 5.0, 0.4, 2.0])
    objective = process.counted(x, t_x, T, weights)

    def score(theta):
        value, gradient = process.score(process.make(np.exp(theta)), x, t_x, T)
        return weights @ value, gradient @ weights

    value, gradient, information = objective(theta)
    assert_allclose(value, score(theta)[0], rtol=1e-12)
    assert_allclose(gradient, score(theta)[1], rtol=1e-10, atol=1e-10)
    moves = 1e-5 * np.eye(4)
    expected = [(score(theta - m)[1] - score(theta + m)[1]) / 2e-5 for m in moves]
    assert_allclose(information(), expected, rtol=1e-6, atol=1e-6)


def test_unseen_customers_balance_the_truncation():
    """Their rate is the derivative of the denominator by the length of the margin."""
    params, T = Params(0.7, 5.0, 0.4, 2.0), np.full(1, 52.0)
    up, down = (SeenEarly(0.3 + s).log_seen(params, T)[0] for s in (1e-6, -1e-6))
    slope = (up - down) / (2e-6 * T[0])
    assert_allclose(SeenEarly(0.3).unseen_rate(params, T), slope, rtol=1e-6)


def test_truncated_likelihood_recovers_the_customers_who_were_active_at_the_origin():
    """Customers active at the origin, from known parameters; only those seen early are kept."""
    rng = np.random.default_rng(2)
    n, T, margin, truth = 30_000, 52.0, 6.0, Params(0.6, 5.0, 0.5, 3.0)
    rate = gamma.rvs(truth.r, scale=1 / truth.alpha, size=n, random_state=rng)
    p = beta.rvs(truth.a, truth.b, size=n, random_state=rng)
    rows = []
    for each, drop in zip(rate, p, strict=True):
        times, now = [], rng.exponential(1 / each)
        while now < T:
            times.append(now)
            if rng.random() < drop:
                break
            now += rng.exponential(1 / each)
        if times and times[0] < margin:
            rows.append((len(times), times[-1]))
    x, t_x = np.array(rows, dtype=float).T
    frame = pd.DataFrame({"customer_id": np.arange(len(x)), "frequency": x, "recency": t_x})
    snapshot = Snapshot.from_frame(frame.assign(T=T), cutoff="2024-01-01", time_unit="week")
    model = crmml.models.purchase.left_censored.OldCustomerModel(share=margin / T).fit(snapshot)
    naive = BetaGeoModel().fit(snapshot)
    for name, value in truth._asdict().items():
        assert abs(model.params_[name] - value) < 3.5 * model.standard_errors_[name], name
    assert abs(naive.params_["r"] - truth.r) > 10 * naive.standard_errors_["r"]


# -- detection -------------------------------------------------------------------------------------


def test_an_old_base_is_recognised_and_said(snapshot, fitted):
    found = detect_left_censoring(snapshot)
    assert found.base == "left_censored"
    assert found.new_at_start > 3 * found.new_later
    assert 28 <= found.margin.number <= 140
    assert fitted.margin_ == str(found.margin)
    assert "the base is older than the data" in fitted.notes[0]
    assert f"{fitted.n_old_:,} of {len(snapshot):,} customers" in fitted.notes[1]


def test_training_says_whether_its_process_knows_of_old_customers(snapshot, fitted, cdnow):
    plain = fitted.new_
    (note,) = age_of_base(snapshot, "pareto_nbd", plain)
    assert note.text.startswith("the base is older than the data: ")
    assert note.text.endswith("takes them for new: let mbg_nbd compete in backtest.candidates")
    assert note.severity == "ask"
    (note,) = age_of_base(snapshot, "mbg_nbd", plain)
    assert note.text.endswith("mbg_nbd takes them for new")
    (note,) = age_of_base(snapshot, "mbg_nbd", fitted)
    assert "mbg_nbd has parameters of their own for them" in note.text
    assert note.severity == "info"
    assert age_of_base(cdnow, "mbg_nbd", plain) == []


def test_a_cohort_and_a_young_shop_are_not_old_bases(cdnow):
    assert detect_left_censoring(cdnow).base == "closed_cohort"
    shop = simulate_world(2000, seed=1, weeks=60, acquisition_weeks=60, tables=())
    found = detect_left_censoring(build_snapshot(shop.transactions, shop.end))
    assert found.base == "open"
    assert found.margin is None
    brief = build_snapshot(load_cdnow(sample=True), "1997-02-01")
    assert detect_left_censoring(brief).base == "too_short"
    assert "too short to tell" in detect_left_censoring(brief).sentence


def test_where_the_base_is_not_old_the_model_is_its_base(cdnow):
    plain, model = ModifiedBetaGeoModel().fit(cdnow), LeftCensoredModel().fit(cdnow)
    assert model.old_ is None
    assert model.params_ == plain.params_
    assert model.log_likelihood_ == plain.log_likelihood_
    assert "closed cohort" in model.notes[0]
    for ask in (
        lambda m: m.expected_purchases(cdnow, "39W"),
        lambda m: m.probability_alive(cdnow),
        lambda m: m.purchase_quantiles(cdnow, "39W", (0.1, 0.9)),
        lambda m: m.discounted_expected_purchases(cdnow),
    ):
        assert_allclose(ask(model), ask(plain), rtol=1e-12)
    assert not model.is_old(cdnow).any()


def test_old_customers_who_buy_rarely_are_old_all_along():
    """CDNOW cut at July 1997: nobody in it is new, and the weekly counts do not show it."""
    log = load_cdnow()
    tables = open_tables(log[log["timestamp"] >= "1997-07-01"])
    snapshot = build_snapshot(tables, "1998-01-01")
    bought = build_outcomes(tables, Window("1998-01-01", "25W"), grain="day")["purchases"]
    actual = bought.reindex(snapshot.customer_id).to_numpy()
    assert detect_left_censoring(snapshot).base == "open"
    with pytest.warns(BoundaryWarning, match="r lies on the boundary 0"):
        model = LeftCensoredModel(margin="half").fit(snapshot)
    assert model.margin_ == "92D"
    plain = ModifiedBetaGeoModel().fit(snapshot)
    ours, theirs = (m.expected_purchases(snapshot, "25W").to_numpy() for m in (model, plain))
    assert np.abs(ours - actual).mean() < 0.95 * np.abs(theirs - actual).mean()
    assert ((ours - actual) ** 2).mean() < 0.95 * ((theirs - actual) ** 2).mean()
    assert abs(ours.sum() / actual.sum() - 1) < 0.05 < theirs.sum() / actual.sum() - 1


# -- counting from the origin ----------------------------------------------------------------------


def test_histories_count_from_the_start_of_the_data():
    """Day 1 is the first day of the data, so whoever bought on it has t = 1 day."""
    log = pd.DataFrame(
        {
            "customer_id": ["old", "old", "new", "new", "late"],
            "timestamp": pd.to_datetime(
                ["2024-01-01", "2024-01-31", "2024-01-09", "2024-02-09", "2024-01-08"]
            ),
            "amount": 1.0,
        }
    )
    snapshot = build_snapshot(log, "2024-03-01", time_unit="day")
    model = LeftCensoredModel(margin="7D")
    model.margin_, model.origin_ = "7D", "2024-01-01"
    counted = model._count_from_origin(snapshot).frame.set_index("customer_id")
    assert counted.loc["old", ["frequency", "recency", "T"]].tolist() == [2, 31, 60]
    assert counted.loc["new", ["frequency", "recency", "T"]].tolist() == [1, 31, 51]
    assert counted.loc["late", ["frequency", "recency", "T"]].tolist() == [0, 0, 52]
    model.margin_ = "8D"
    counted = model._count_from_origin(snapshot).frame.set_index("customer_id")
    assert counted.loc["late", ["frequency", "recency", "T"]].tolist() == [1, 8, 60]
    assert counted.loc["new", "frequency"] == 1


@pytest.mark.parametrize(
    "base", [BetaGeoModel(), ModifiedBetaGeoModel(), ModifiedBetaGeoModel(calendar=DECEMBER)]
)
def test_predictions_are_those_of_the_two_parts(base, snapshot):
    model = LeftCensoredModel(base=base, margin="8W").fit(snapshot)
    old = model.is_old(snapshot).to_numpy()
    counted = model._count_from_origin(snapshot)
    for ask in (
        lambda m, s: m.expected_purchases(s, "26W"),
        lambda m, s: m.expected_purchases_if_alive(s, "26W"),
        lambda m, s: m.probability_alive(s),
        lambda m, s: m.probability_no_purchase(s, "26W"),
        lambda m, s: m.purchase_distribution(s, "26W", 6),
        lambda m, s: m.purchase_quantiles(s, "26W", (0.1, 0.9)),
        lambda m, s: m.discounted_expected_purchases(s, "52W"),
        lambda m, s: m.discounted_expected_purchases(s),
        lambda m, s: m.sample(s, "26W", 2, seed=3),
    ):
        both = ask(model, snapshot).to_numpy()
        assert_allclose(both[old], ask(model.old_, counted.subset(old)), rtol=1e-9)
        assert_allclose(both[~old], ask(model.new_, counted.subset(~old)), rtol=1e-9)
    assert model.expected_purchases_new_customer("52W") == (
        model.new_.expected_purchases_new_customer("52W")
    )


def test_old_and_new_have_parameters_of_their_own(fitted):
    names = ["r", "alpha", "a", "b", "old_r", "old_alpha", "old_a", "old_b"]
    assert list(fitted.params_) == list(fitted.standard_errors_) == names
    assert np.shape(fitted.covariance_) == (8, 8)
    assert fitted.log_likelihood_ == pytest.approx(
        fitted.new_.log_likelihood_ + fitted.old_.log_likelihood_
    )
    assert fitted.converged_


def test_a_batch_is_scored_as_the_whole(fitted, snapshot, tables):
    """Also where the batch's own log begins later than the data of the fit."""
    late = fitted.is_old(snapshot).to_numpy() & (snapshot.frame["T"] < 50).to_numpy()
    few = snapshot.customer_id[late][:20].tolist()
    lines = tables.transactions
    batch = build_snapshot(lines.filter(lines.customer_id.isin(few)), CUTOFF, behaviour=False)
    assert batch.provenance["first_timestamp"] > snapshot.provenance["first_timestamp"]
    whole = fitted.expected_purchases(snapshot, "26W")
    pd.testing.assert_series_equal(
        fitted.expected_purchases(batch, "26W"), whole.loc[batch.customer_id]
    )
    shuffled = snapshot.frame.sample(frac=1.0, random_state=1).reset_index(drop=True)
    again = LeftCensoredModel().fit(
        Snapshot(shuffled, snapshot.cutoff, provenance=snapshot.provenance)
    )
    assert again.params_ == pytest.approx(fitted.params_, rel=1e-9)


def test_weights_go_with_the_customers(snapshot):
    twice = LeftCensoredModel(margin="8W").fit(snapshot, np.full(len(snapshot), 2.0))
    once = LeftCensoredModel(margin="8W").fit(snapshot)
    assert twice.params_ == pytest.approx(once.params_, rel=1e-5)
    assert twice.log_likelihood_ == pytest.approx(2 * once.log_likelihood_)


def test_covariates_work_for_both_kinds(snapshot):
    frame = snapshot.frame.assign(z=np.arange(len(snapshot)) % 3)
    with_z = Snapshot(frame, snapshot.cutoff, provenance=snapshot.provenance)
    base = ModifiedBetaGeoModel(purchase_covariates=("z",))
    model = LeftCensoredModel(base=base, margin="8W").fit(with_z)
    assert list(model.coefficients_) == ["purchase:z", "old_purchase:z"]
    assert np.isfinite(model.expected_purchases(with_z, "26W")).all()
    assert model.expected_purchases_new_customer("26W", {"z": 1.0}) > 0
    assert model.likelihood_ratio_test()["degrees_of_freedom"] == 2
    with pytest.raises(CrmmlError, match="needs covariates and ridge=0; got 2 coefficients"):
        LeftCensoredModel(base=clone(base).set_params(ridge=1.0), margin="8W").fit(
            with_z
        ).likelihood_ratio_test()


def test_a_covariate_named_like_the_mark_of_old_customers_acts_as_any_other(snapshot):
    values = np.arange(len(snapshot)) % 3
    models_ = []
    for name in ("z", "left_censored"):
        known = Snapshot(
            snapshot.frame.assign(**{name: values}),
            snapshot.cutoff,
            provenance=snapshot.provenance,
        )
        base = ModifiedBetaGeoModel(purchase_covariates=(name,))
        models_.append(LeftCensoredModel(base=base, margin="8W").fit(known))
    one, other = models_
    assert other.log_likelihood_ == pytest.approx(one.log_likelihood_)
    estimates = [list(pd.DataFrame(m.coefficients_).T["estimate"]) for m in models_]
    assert_allclose(estimates[1], estimates[0], rtol=1e-6)


# -- under a calendar ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seasonal():
    """A shop that is older than its data and busy in December."""
    world = simulate_world(
        9000, seed=6, start="2018-01-01", weeks=284, acquisition_weeks=284,
        purchases=Purchases(process="mbg_nbd", r=1.2, alpha=8, a=0.4, b=4, seasonal_amplitude=0.5),
        tables=(),
    )  # fmt: skip
    lines = world.transactions
    return world, open_tables(lines[lines["timestamp"] >= "2020-01-08"])


@pytest.fixture(scope="module")
def at_december(seasonal):
    return build_snapshot(seasonal[1], "2022-11-28")


@pytest.fixture(scope="module")
def both(at_december):
    return LeftCensoredModel(base=ModifiedBetaGeoModel(calendar="estimate")).fit(at_december)


def test_a_flat_profile_changes_nothing(snapshot):
    flat = CalendarProfile.from_weeks(dict.fromkeys(range(1, 53), 1.0))
    plain = LeftCensoredModel(margin="8W").fit(snapshot)
    model = LeftCensoredModel(base=ModifiedBetaGeoModel(calendar=flat), margin="8W").fit(snapshot)
    assert model.params_ == pytest.approx(plain.params_, rel=1e-5)
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_, rel=1e-12)
    assert model.flat_log_likelihood_ == pytest.approx(plain.log_likelihood_, rel=1e-12)
    for ask in (
        lambda m: m.expected_purchases(snapshot, "26W"),
        lambda m: m.probability_no_purchase(snapshot, "26W"),
        lambda m: m.discounted_expected_purchases(snapshot),
    ):
        assert_allclose(ask(model), ask(plain), rtol=1e-4)


def test_where_the_base_is_not_old_a_calendar_is_that_of_the_base(cdnow):
    base = ModifiedBetaGeoModel(calendar=DECEMBER)
    plain, model = clone(base).fit(cdnow), LeftCensoredModel(base=base).fit(cdnow)
    assert model.params_ == plain.params_
    assert model.log_likelihood_ == pytest.approx(plain.log_likelihood_)
    assert_allclose(model.expected_purchases(cdnow, "39W"), plain.expected_purchases(cdnow, "39W"))


def test_the_likelihood_is_that_of_all_purchases_on_one_clock(seasonal, at_december):
    """From the log: every purchase of an old customer, the first one seen included."""
    model = LeftCensoredModel(base=ModifiedBetaGeoModel(calendar=DECEMBER), margin="10W")
    model.fit(at_december)
    lines = seasonal[0].transactions
    inside = lines["timestamp"].between("2020-01-08", "2022-11-28", inclusive="left")
    bought = lines[inside & (lines["amount"] > 0)]
    days = bought.assign(day=bought["timestamp"].dt.normalize())[["customer_id", "day"]]
    days = days.drop_duplicates().sort_values(["customer_id", "day"])
    epoch = pd.Timestamp("1970-01-01")
    origin, cutoff = ((pd.Timestamp(t) - epoch).days for t in ("2020-01-08", "2022-11-28"))
    moments, clock = DECEMBER.clock(origin, cutoff)
    old = model.is_old(at_december)
    new_params = Params(*(model.params_[n] for n in bg_nbd.NAMES))
    old_params = Params(*(model.params_["old_" + n] for n in bg_nbd.NAMES))

    def passed(begin, end):
        return np.diff(np.interp([begin, end], moments, clock))[0] / 7

    seen = -np.expm1(-old_params.r * np.log1p(passed(origin, origin + 70) / old_params.alpha))
    total = -np.log(seen) * old.sum()
    factors = DECEMBER.factors(0, 3000)[week_at((days["day"] - epoch).dt.days.to_numpy())]
    counted = np.where(days["customer_id"].map(old), True, days["customer_id"].duplicated())
    total += np.log(factors)[counted].sum()
    rows = {True: [], False: []}
    for customer, its in days.groupby("customer_id"):
        at = (its["day"] - epoch).dt.days.to_numpy() + 1
        begin = origin if old[customer] else at[0]
        x = len(at) - (not old[customer])
        rows[bool(old[customer])].append((float(x), passed(begin, at[-1]), passed(begin, cutoff)))
    for process, params, its in (
        (bg_nbd, old_params, rows[True]),
        (mbg_nbd, new_params, rows[False]),
    ):
        total += process.log_likelihood(params, *np.array(its).T).sum()
    assert model.log_likelihood_ == pytest.approx(total, rel=1e-9)


def test_the_season_of_an_old_base_is_found(both):
    week = np.arange(1, 53)
    truth = 1 + 0.5 * np.cos(2 * np.pi * ((week - 0.5) * 7 - 350) / 365.25)
    assert np.abs(both.calendar_.table()["factor"].to_numpy()[:52] - truth).max() < 0.1
    assert both.calendar_ == both.new_.calendar_ == both.old_.calendar_
    test = both.calendar_test()
    assert test["degrees_of_freedom"] == 2 * both.n_waves_
    assert test["p_value_dispersed"] < 1e-100


def test_the_estimate_is_an_optimum_for_old_and_new_together(both, at_december):
    log_factors = np.log(both.calendar_.weekly)
    for wave in waves(np.arange(1, 54), both.n_waves_).T[:3]:
        gains = []
        for move in (-0.02, 0.02):
            moved = dict(enumerate(np.exp(log_factors + move * wave), start=1))
            base = ModifiedBetaGeoModel(calendar=CalendarProfile.from_weeks(moved))
            other = LeftCensoredModel(base=base).fit(at_december)
            gains.append(other.log_likelihood_ - both.log_likelihood_)
        assert max(gains) < 0
        assert abs(gains[1] - gains[0]) < 0.02 * abs(sum(gains))


def test_december_of_an_old_base_is_forecast(both, at_december, seasonal):
    bought = build_outcomes(seasonal[1], Window("2022-11-28", "4W"), grain="day")["purchases"]
    actual = bought.reindex(at_december.customer_id).to_numpy()
    flat = LeftCensoredModel().fit(at_december).expected_purchases(at_december, "4W").to_numpy()
    ours = both.expected_purchases(at_december, "4W").to_numpy()
    assert abs(ours.sum() / actual.sum() - 1) < 0.08
    assert abs(flat.sum() / actual.sum() - 1) > 0.2
    assert ((ours - actual) ** 2).mean() < ((flat - actual) ** 2).mean()


def test_both_together_come_back_from_json(both, at_december):
    again = crmml.models.from_dict(json.loads(json.dumps(both.to_dict(), sort_keys=True)))
    assert again.base.calendar == "estimate"
    assert again.calendar_test() == both.calendar_test()
    for ask in (
        lambda m: m.expected_purchases(at_december, "4W"),
        lambda m: m.discounted_expected_purchases(at_december),
    ):
        pd.testing.assert_series_equal(ask(again), ask(both))
    posterior = again.posterior(at_december, n_draws=50, seed=1)
    for name, estimate in both.params_.items():
        assert abs(posterior.mean[name] - estimate) < 2 * both.standard_errors_[name]


def test_a_calendar_of_an_old_base_needs_two_years_as_any_other(snapshot, at_december):
    model = LeftCensoredModel(base=ModifiedBetaGeoModel(calendar="estimate"), margin="8W")
    with pytest.raises(TooLittleDataError, match="these span 52 weeks: give the profile"):
        clone(model).fit(snapshot)
    half = at_december.subset(np.arange(len(at_december)) % 2 == 0)
    with pytest.raises(TooLittleDataError, match="these very customers bought"):
        clone(model).fit(half)
    with pytest.raises(ParameterError, match="sample_weight must be None"):
        clone(model).fit(at_december, np.ones(len(at_december)))
    given = LeftCensoredModel(base=ModifiedBetaGeoModel(calendar=DECEMBER), margin="8W")
    with pytest.warns(FitWarning, match="LeftCensoredModel: the weeks .* lacks the sum of log s"):
        given.fit(half)
    with pytest.raises(ParameterError, match="'estimate' or None; got 'weekly'"):
        LeftCensoredModel(base=BetaGeoModel(calendar="weekly")).fit(snapshot)


def test_both_together_are_a_candidate(both, at_december):
    candidate = make_candidate("mbg_nbd_left_censored_calendar", "4W")
    model = candidate.purchase_model.fit(at_december)
    assert model.params_ == both.params_
    assert model.calendar_ == both.calendar_


# -- forecasts -------------------------------------------------------------------------------------


def test_old_and_new_customers_are_forecast_better_than_as_if_all_were_new(
    fitted, snapshot, tables, world
):
    bought = build_outcomes(tables, Window(CUTOFF, "52W"), grain="day")["purchases"]
    actual = bought.reindex(snapshot.customer_id).to_numpy()
    plain = ModifiedBetaGeoModel().fit(snapshot).expected_purchases(snapshot, "52W").to_numpy()
    ours = fitted.expected_purchases(snapshot, "52W").to_numpy()
    truly_old = (world.truth["first_purchase"] < ORIGIN).reindex(snapshot.customer_id).to_numpy()
    for rows in (truly_old, ~truly_old):
        assert np.abs(ours - actual)[rows].mean() < 0.985 * np.abs(plain - actual)[rows].mean()
        assert ((ours - actual)[rows] ** 2).mean() < ((plain - actual)[rows] ** 2).mean()
    assert abs((ours - actual).mean()) < 0.5 * abs((plain - actual).mean())
    assert (fitted.is_old(snapshot).to_numpy() == truly_old).mean() > 0.7


# -- uncertainty, value, storage -------------------------------------------------------------------


def test_posterior_covers_both_kinds(fitted, snapshot):
    posterior = fitted.posterior(snapshot, n_draws=100, seed=1, prior={"old_r": (0.0, 1.0)})
    assert posterior.names == tuple(fitted.params_)
    assert posterior.draws.shape == (100, 8)
    for name, estimate in fitted.params_.items():
        assert abs(posterior.mean[name] - estimate) < 2 * fitted.standard_errors_[name]
    with pytest.raises(CrmmlError, match="ask its method posterior"):
        purchase_posterior(fitted, snapshot)
    wide = fitted.purchase_distribution(snapshot, "26W", 8, posterior)
    certain = fitted.purchase_distribution(snapshot, "26W", 8)
    assert np.abs(wide.to_numpy() - certain.to_numpy()).max() < 0.05


def test_lifetime_value_stands_on_it(snapshot):
    paying = (snapshot.frame["monetary_value"] > 0) | (snapshot.frame["frequency"] == 0)
    some = snapshot.subset(paying & (np.arange(len(snapshot)) % 4 == 0))
    model = LifetimeValueModel(
        purchase_model=LeftCensoredModel(margin="8W"), spend_model=GammaGammaModel(), margin=1.0
    ).fit(some)
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict(), sort_keys=True)))
    value, bounds = again.clv(some, "52W"), again.clv_quantiles(some, "52W", (0.1, 0.9))
    pd.testing.assert_series_equal(value, model.clv(some, "52W"))
    assert (bounds[0.1] <= bounds[0.9]).all()
    total = again.total(some, "52W")
    assert total.loc["all", 0.1] < value.sum() < total.loc["all", 0.9]


@pytest.mark.parametrize("margin", ["auto", "4W"])
def test_models_come_back_from_json(margin, snapshot):
    model = LeftCensoredModel(base=BetaGeoModel(ridge=0.5), margin=margin).fit(snapshot)
    again = crmml.models.from_dict(json.loads(json.dumps(model.to_dict(), sort_keys=True)))
    pd.testing.assert_series_equal(
        again.expected_purchases(snapshot, "26W"), model.expected_purchases(snapshot, "26W")
    )
    assert again.notes == model.notes
    assert clone(again).fit(snapshot).params_ == pytest.approx(model.params_, rel=1e-9)
    assert again.base.ridge == 0.5


# -- refusals --------------------------------------------------------------------------------------


def test_refusals_are_sentences(snapshot, cdnow):
    with pytest.raises(ParameterError, match="a BetaGeoModel or ModifiedBetaGeoModel; got Pareto"):
        LeftCensoredModel(base=ParetoNBDModel()).fit(snapshot)
    with pytest.raises(DurationError, match="like '52W'"):
        LeftCensoredModel(margin="soon").fit(snapshot)
    with pytest.raises(TooLittleDataError, match="all 2,357 customers were first seen within 40W"):
        LeftCensoredModel(margin="40W").fit(cdnow)
    bare = Snapshot(snapshot.frame, snapshot.cutoff)
    with pytest.raises(CrmmlError, match="no 'first_timestamp'"):
        LeftCensoredModel().fit(bare)
    dated = Snapshot(snapshot.frame, snapshot.cutoff, provenance={"first_timestamp": ORIGIN})
    with pytest.raises(CrmmlError, match="give the margin as a duration like '4W'"):
        LeftCensoredModel().fit(dated)
    assert LeftCensoredModel(margin="4W").fit(dated).n_old_ > 0


def test_future_of_an_old_customer_is_that_of_the_bg_nbd():
    process, params = SeenEarly(0.5), Params(0.8, 6.0, 0.8, 3.5)
    t = np.array([1.0, 26.0])
    assert_allclose(process.expected_purchases(params, t), bg_nbd.expected_purchases(params, t))
    assert_allclose(process.pmf(params, t, 3), bg_nbd.pmf(params, t, 3))
    assert_allclose(
        process.discounted_purchases(params, t, 0.01), bg_nbd.discounted_purchases(params, t, 0.01)
    )
    draws = process.draw(params, np.full(20_000, 26.0), np.random.default_rng(1))
    assert_allclose(draws.mean(), bg_nbd.expected_purchases(params, t)[1], rtol=0.03)


# -- the two kinds of a falling number of newcomers ------------------------------------------------


def grown_shop(seed: int, *, stop: int, leave: float, days: int = 364) -> pd.DataFrame:
    """Make a shop that begins with its data and wins four customers a day until it stops."""
    rng = np.random.default_rng(seed)
    rows = []
    for since in np.repeat(np.arange(stop), rng.poisson(4, stop)):
        stays = since + rng.exponential(1 / leave)
        visits = np.flatnonzero(rng.random(days) < 0.06)
        rows += [(len(rows), since)]
        rows += [(rows[-1][0], day) for day in visits if since < day < stays]
    frame = pd.DataFrame(rows, columns=["customer_id", "day"])
    return frame.assign(
        timestamp=pd.Timestamp("2023-01-02") + pd.to_timedelta(frame["day"], "D"), amount=5.0
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stop", [60, 120, 170])
@pytest.mark.parametrize("leave", [0.001, 0.01])
def test_a_shop_that_stopped_winning_customers_is_not_older_than_its_data(seed, stop, leave):
    """By day in the profile, by week in the model: one rule, one verdict."""
    tables = open_tables(grown_shop(seed, stop=stop, leave=leave))
    profile = compute_profile(tables)
    assert profile.entry.base == "closed_cohort"
    assert detect_left_censoring(build_snapshot(tables, "2024-01-01")).base == "closed_cohort"
    assert not any("older than the data" in said for said in profile.remarks())
    assert any("closed cohort" in said for said in profile.remarks())


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.torture)])
@pytest.mark.parametrize("cut", [120, 200])
def test_a_log_that_was_cut_is_older_whether_it_still_wins_customers_or_not(seed, cut):
    """The same shop, seen only from a day on: its customers are old, most of them or all."""
    for stop in (cut - 20, 600):
        log = grown_shop(seed, stop=stop, leave=0.001, days=600)
        tables = open_tables(log[log["day"] >= cut])
        assert compute_profile(tables).entry.base == "left_censored"
        snapshot = build_snapshot(tables, pd.Timestamp("2023-01-02") + pd.Timedelta(days=600))
        assert detect_left_censoring(snapshot).base == "left_censored"
