import copy
import json

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import crmml.models
from crmml.exceptions import (
    DataError,
    FitWarning,
    InfiniteMeanWarning,
    MissingColumnsError,
    NotFittedError,
    ParameterError,
)
from crmml.features.snapshot import Snapshot
from crmml.metrics.bootstrap import hash_keys, keyed_uniforms
from crmml.metrics.counts import pit_coverage, randomised_pit
from crmml.models import (
    BetaGeoModel,
    GammaGammaModel,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    ParetoNBDModel,
)
from crmml.models.purchase.predictive import purchase_posterior, spend_posterior
from crmml.stats.compound import SpendParams, ladder, thin_counts, total_spend_cdf

LEVELS = [0.05, 0.1, 0.5, 0.9, 0.99]


def draw_snapshot(n=1500, seed=0):
    """Customers of a BG/NBD world with Gamma-Gamma spend, a margin column and two regions."""
    rng = np.random.default_rng(seed)
    T = rng.integers(20 * 7, 60 * 7, n) / 7.0
    rate, drop = rng.gamma(0.6, 1.0 / 5.0, n), rng.beta(0.8, 2.4, n)
    x, last = np.zeros(n), np.zeros(n)
    for i in range(n):
        clock = rng.exponential() / rate[i]
        while clock < T[i]:
            x[i], last[i] = x[i] + 1, clock
            if rng.uniform() < drop[i]:
                break
            clock += rng.exponential() / rate[i]
    last = np.where(x > 0, np.minimum(np.ceil(last * 7) / 7, T), 0.0)
    repeats = np.maximum(x, 1)
    nu = rng.gamma(3.74, size=n) / 15.44
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(n)],
            "frequency": x,
            "recency": last,
            "T": T,
            "monetary_value": np.where(x > 0, rng.gamma(6.25 * repeats) / nu / repeats, 0.0),
            "margin_ratio": rng.uniform(0.1, 0.5, n),
            "region": rng.choice(["north", "south"], n),
        }
    )
    return Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")


@pytest.fixture(scope="module")
def snapshot():
    return draw_snapshot()


@pytest.fixture(scope="module")
def model(snapshot):
    return LifetimeValueModel(margin=0.3, n_posterior_draws=60).fit(snapshot)


def few(snapshot, n=12):
    """Some customers with and without repeat purchases, frequent buyers included."""
    x = snapshot.frame["frequency"].to_numpy()
    keep = np.zeros(len(x), dtype=bool)
    keep[np.argsort(-x, kind="stable")[: n // 3]] = True
    keep[np.flatnonzero(x == 0)[: n // 3]] = True
    keep[np.flatnonzero((x > 0) & (x < 4))[: n // 3]] = True
    return snapshot.subset(keep)


def test_clv_equals_the_direct_integral_over_time(model, snapshot):
    some = few(snapshot)
    weeks, rate = 52, np.log(1.10) / (365.0 / 7.0)

    # E[sum of exp(-d t)] = exp(-d h) N(h) + d * integral of exp(-d t) N(t) dt
    def expected(t):
        length = f"{t:.9f}W"
        return model.purchase_model_.expected_purchases(some, length).to_numpy()

    nodes, weights = np.polynomial.legendre.leggauss(24)
    times = (nodes + 1.0) * weeks / 2.0
    inner = sum(
        w * weeks / 2.0 * np.exp(-rate * t) * expected(t)
        for t, w in zip(times, weights, strict=True)
    )
    purchases = np.exp(-rate * weeks) * expected(weeks) + rate * inner
    direct = 0.3 * model.spend_model_.expected_spend(some).to_numpy() * purchases
    np.testing.assert_allclose(model.clv(some, "52W").to_numpy(), direct, rtol=1e-5)


def test_clv_does_not_depend_on_the_unit_of_the_snapshot_or_the_horizon(model, snapshot):
    daily = snapshot.frame.assign(
        recency=snapshot.frame["recency"] * 7.0, T=snapshot.frame["T"] * 7.0
    )
    daily = Snapshot.from_frame(daily, cutoff="2024-01-01", time_unit="day")
    other = LifetimeValueModel(margin=0.3, n_posterior_draws=0).fit(daily)
    np.testing.assert_allclose(other.clv(daily, "52W"), model.clv(snapshot, "364D"), rtol=1e-4)


def test_without_discounting_and_with_full_margin_clv_is_purchases_times_spend(snapshot):
    plain = LifetimeValueModel(annual_discount_rate=0.0, n_posterior_draws=0, margin=1.0).fit(
        snapshot
    )
    product = plain.purchase_model_.expected_purchases(
        snapshot, "26W"
    ) * plain.spend_model_.expected_spend(snapshot)
    np.testing.assert_allclose(plain.clv(snapshot, "26W"), product, rtol=1e-9)
    np.testing.assert_allclose(plain.expected_margin(snapshot, "26W"), product, rtol=1e-9)
    with pytest.raises(ParameterError, match="annual_discount_rate must be > 0"):
        plain.residual_value(snapshot)


def test_residual_value_is_the_limit_of_long_horizons(model, snapshot):
    some = few(snapshot)
    np.testing.assert_allclose(model.residual_value(some), model.clv(some, "20000W"), rtol=1e-3)
    assert (model.residual_value(some) >= model.clv(some, "52W")).all()


def test_margin_at_stake_is_the_margin_divided_by_the_chance_to_be_active(model, snapshot):
    stake = model.expected_margin_if_active(snapshot, "26W")
    alive = model.purchase_model_.probability_alive(snapshot)
    np.testing.assert_allclose(stake * alive, model.expected_margin(snapshot, "26W"), rtol=1e-9)


def test_a_margin_column_is_each_customers_own_ratio(snapshot, model):
    own = LifetimeValueModel(margin="margin_ratio", n_posterior_draws=0).fit(snapshot)
    ratio = snapshot.frame["margin_ratio"].to_numpy() / 0.3
    np.testing.assert_allclose(own.clv(snapshot, "52W"), model.clv(snapshot, "52W") * ratio)


def test_bad_settings_are_refused(snapshot):
    with pytest.raises(ParameterError, match="margin must be in"):
        LifetimeValueModel(margin=1.5).fit(snapshot)
    with pytest.raises(MissingColumnsError, match="'nope'"):
        LifetimeValueModel(margin="nope").fit(snapshot)
    with pytest.raises(ParameterError, match="annual_discount_rate must be finite"):
        LifetimeValueModel(annual_discount_rate=-0.1, margin=1.0).fit(snapshot)
    with pytest.raises(ParameterError, match="n_posterior_draws must be 0 or >= 2"):
        LifetimeValueModel(n_posterior_draws=1, margin=1.0).fit(snapshot)
    broken = Snapshot.from_frame(
        snapshot.frame.assign(margin_ratio=np.nan), cutoff="2024-01-01", time_unit="week"
    )
    with pytest.raises(DataError, match="margin ratio must be a finite number <= 1"):
        LifetimeValueModel(margin="margin_ratio").fit(broken)
    with pytest.raises(NotFittedError, match="LifetimeValueModel is not fitted"):
        LifetimeValueModel(margin=1.0).clv(snapshot, "52W")


def test_bad_levels_and_groups_are_refused(model, snapshot):
    with pytest.raises(ParameterError, match="strictly between 0 and 1"):
        model.clv_quantiles(snapshot, "52W", [0.5, 1.0])
    with pytest.raises(MissingColumnsError, match="'country'"):
        model.total(snapshot, "52W", by="country")
    with pytest.raises(DataError, match="every customer needs a group"):
        model.total(snapshot, "52W", by=pd.Series({"c0": "x"}, name="group"))


def exact_quantiles(model, some, horizon, levels):
    """Quantiles by root finding on the exact mixture: no tables, no thinning."""
    table = model.purchase_model_.purchase_distribution(
        some, horizon, 600, model.purchase_posterior_
    ).to_numpy()
    params = SpendParams(*model.spend_posterior_.nodes().T)
    frame = some.frame
    discounted = model.purchase_model_.discounted_expected_purchases(some, horizon, 0.10)
    factor = 0.3 * (discounted / model.purchase_model_.expected_purchases(some, horizon)).to_numpy()
    counts = np.arange(1.0, 601.0)
    out = np.zeros((len(some), len(levels)))
    for i, (x, m) in enumerate(zip(frame["frequency"], frame["monetary_value"], strict=True)):

        def cdf(v, i=i, x=x, m=m):
            return table[i, 0] + table[i, 1:] @ total_spend_cdf(v, counts, x, m, params)

        for j, level in enumerate(levels):
            if level > table[i, 0]:
                root = optimize.brentq(lambda v, q=level: cdf(v) - q, 1e-9, 1e7, rtol=1e-10)
                out[i, j] = factor[i] * root
    return out


def test_clv_quantiles_equal_root_finding_on_the_exact_mixture(model, snapshot):
    some = few(snapshot, 18)
    found = model.clv_quantiles(some, "104W", LEVELS)
    np.testing.assert_allclose(
        found.to_numpy(), exact_quantiles(model, some, "104W", LEVELS), rtol=5e-3
    )
    assert list(found.columns) == LEVELS


def test_clv_quantiles_agree_with_brute_force_simulation(model, snapshot):
    some = few(snapshot, 6)
    worlds = LifetimeValueModel(margin=0.3, n_posterior_draws=0).fit(snapshot)
    n = worlds.purchase_model_.sample(some, "52W", 20_000, seed=1)
    value = worlds.spend_model_.sample(some, n, seed=2).to_numpy(copy=True)
    factor = 0.3 * (
        worlds.purchase_model_.discounted_expected_purchases(some, "52W", 0.10)
        / worlds.purchase_model_.expected_purchases(some, "52W")
    )
    value *= factor.to_numpy()[:, None]
    found = worlds.clv_quantiles(some, "52W", [0.5, 0.8, 0.95]).to_numpy()
    for i in range(len(some)):
        for j, level in enumerate((0.5, 0.8, 0.95)):
            below = (value[i] <= found[i, j] + 1e-12).mean()
            assert below >= level - 0.012
            assert found[i, j] == 0.0 or below == pytest.approx(level, abs=0.012)


def test_one_customer_alone_and_any_order_give_what_the_batch_gives(model, snapshot):
    batch = model.clv_quantiles(snapshot, "52W", [0.1, 0.9])
    for i in few(snapshot, 3).customer_id:
        alone = snapshot.subset(snapshot.customer_id == i)
        pd.testing.assert_frame_equal(
            model.clv_quantiles(alone, "52W", [0.1, 0.9]), batch.loc[[i]], rtol=1e-9
        )
    shuffled = Snapshot.from_frame(
        snapshot.frame.sample(frac=1.0, random_state=1), cutoff="2024-01-01", time_unit="week"
    )
    pd.testing.assert_frame_equal(
        model.clv_quantiles(shuffled, "52W", [0.1, 0.9]).loc[batch.index], batch, rtol=1e-9
    )
    parts = few(snapshot).frame
    turned = Snapshot.from_frame(parts.iloc[::-1], cutoff="2024-01-01", time_unit="week")
    pd.testing.assert_frame_equal(
        model.total(turned, "52W", by="region"), model.total(few(snapshot), "52W", by="region")
    )


def test_storage_is_plain_json_and_every_prediction_comes_back(model, snapshot):
    back = crmml.models.from_dict(json.loads(json.dumps(model.to_dict())))
    assert isinstance(back, LifetimeValueModel)
    assert isinstance(back.purchase_model, BetaGeoModel)
    assert back.get_params()["margin"] == 0.3
    pd.testing.assert_series_equal(back.clv(snapshot, "52W"), model.clv(snapshot, "52W"))
    some = few(snapshot)
    pd.testing.assert_frame_equal(
        back.clv_quantiles(some, "52W", 0.9), model.clv_quantiles(some, "52W", 0.9)
    )
    pd.testing.assert_frame_equal(back.total(some, "52W"), model.total(some, "52W"))


def test_the_models_given_are_left_unfitted_and_fits_repeat(snapshot, model):
    given = ModifiedBetaGeoModel()
    fitted = LifetimeValueModel(purchase_model=given, n_posterior_draws=20, margin=1.0).fit(
        snapshot
    )
    assert not hasattr(given, "params_")
    assert isinstance(fitted.purchase_model_, ModifiedBetaGeoModel)
    again = LifetimeValueModel(margin=0.3, n_posterior_draws=60).fit(snapshot)
    assert again.to_dict() == model.to_dict()


@pytest.mark.parametrize("purchases", [ModifiedBetaGeoModel, ParetoNBDModel])
def test_quantiles_work_with_every_purchase_process(purchases, snapshot):
    some = few(snapshot)
    fitted = LifetimeValueModel(purchase_model=purchases(), n_posterior_draws=20, margin=1.0).fit(
        snapshot.subset(np.arange(len(snapshot)) < 800)
    )
    found = fitted.clv_quantiles(some, "26W", LEVELS).to_numpy()
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, -1] > 0).all()


def test_totals_add_up_and_their_intervals_respect_shared_parameters(model, snapshot):
    whole = model.total(snapshot, "52W")
    parts = model.total(snapshot, "52W", by="region")
    assert parts["customers"].sum() == whole.loc["all", "customers"] == len(snapshot)
    assert parts["expected"].sum() == pytest.approx(whole.loc["all", "expected"])
    assert whole.loc["all", "expected"] == pytest.approx(model.clv(snapshot, "52W").sum())
    assert whole.loc["all", 0.1] < whole.loc["all", "expected"] < whole.loc["all", 0.9]
    # Fitted to few and asked of many, the parameters are most of the uncertainty.
    some = snapshot.subset(np.arange(len(snapshot)) < 300)
    unsure = LifetimeValueModel(n_posterior_draws=60, margin=1.0).fit(some)
    certain = LifetimeValueModel(n_posterior_draws=0, margin=1.0).fit(some)
    wide, narrow = (m.total(snapshot, "52W").loc["all"] for m in (unsure, certain))
    assert wide[0.9] - wide[0.1] > 1.5 * (narrow[0.9] - narrow[0.1])
    assert narrow[0.1] < narrow["expected"] < narrow[0.9]


def test_groups_may_be_given_as_a_series_by_customer(model, snapshot):
    some = few(snapshot)
    by = pd.Series(some.frame["region"].to_numpy(), index=some.customer_id, name="region")
    pd.testing.assert_frame_equal(
        model.total(some, "52W", by=by.sample(frac=1.0, random_state=0)),
        model.total(some, "52W", by="region"),
    )


def test_customers_with_net_returns_keep_a_row_and_their_loss(snapshot):
    frame = snapshot.frame.copy()
    loser = frame.index[frame["frequency"] > 2][0]
    frame.loc[loser, "monetary_value"] = -500.0
    losing = Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")
    with pytest.warns(FitWarning, match="left out of the spend fit"):
        fitted = LifetimeValueModel(n_posterior_draws=20, margin=1.0).fit(losing)
    value = fitted.clv(losing, "52W")
    who = frame.loc[loser, "customer_id"]
    assert value[who] < 0
    found = fitted.clv_quantiles(losing, "52W", [0.01, 0.5, 0.99])
    assert found.loc[who, 0.01] < found.loc[who, 0.99] <= 0
    assert np.isfinite(found.to_numpy()).all()
    assert (np.diff(found.to_numpy(), axis=1) >= 0).all()


def test_spend_without_a_mean_is_said_and_never_negative(snapshot, model):
    stored = model.to_dict()
    stored["state"]["spend_model_"]["state"]["params_"]["q"] = 0.9
    heavy = crmml.models.from_dict(stored)
    with pytest.warns(InfiniteMeanWarning, match=r"clv is infinite for .* has no mean \(q = 0.9\)"):
        value = heavy.clv(snapshot, "52W")
    assert not (value < 0).any()
    assert np.isfinite(heavy.clv_quantiles(snapshot, "52W", 0.9).to_numpy()).all()


def test_purchase_quantiles_carry_the_parameters_and_equal_the_plain_ones_when_certain(snapshot):
    some = snapshot.subset(np.arange(len(snapshot)) < 300)
    fitted = BetaGeoModel().fit(some)
    posterior = purchase_posterior(fitted, some)
    wide = fitted.purchase_quantiles(snapshot, "52W", [0.5, 0.99], posterior)
    plain = fitted.purchase_quantiles(snapshot, "52W", [0.5, 0.99])
    assert wide[0.99].sum() > plain[0.99].sum()
    pd.testing.assert_frame_equal(fitted.purchase_quantiles(snapshot, "52W", [0.5, 0.99]), plain)
    table = fitted.purchase_distribution(snapshot, "52W", 200, posterior).to_numpy()
    cdf = np.cumsum(table, axis=1)
    for level in (0.5, 0.99):
        n = wide[level].to_numpy()
        rows = np.arange(len(n))
        assert (cdf[rows, n] >= level - 1e-9).all()
        assert (cdf[rows, np.maximum(n - 1, 0)][n > 0] < level).all()


def test_few_nodes_stand_for_many_draws(snapshot):
    fitted = BetaGeoModel().fit(snapshot)
    posterior = fitted.posterior(snapshot, n_draws=120)
    some = few(snapshot)
    nodes = fitted.purchase_distribution(some, "52W", 60, posterior).to_numpy()
    names = posterior.names
    draws = []
    for row in posterior.draws:
        other = crmml.models.from_dict(fitted.to_dict())
        other.params_ = dict(zip(names, row.tolist(), strict=True))
        draws.append(other.purchase_distribution(some, "52W", 60).to_numpy())
    assert np.abs(nodes - np.mean(draws, axis=0)).max() < 0.01


def test_posterior_agrees_with_the_likelihood_where_customers_are_many(snapshot):
    fitted, spend = BetaGeoModel().fit(snapshot), GammaGammaModel().fit(snapshot)
    for name, model, draw in (
        ("purchases", fitted, purchase_posterior),
        ("spend", spend, spend_posterior),
    ):
        posterior = draw(model, snapshot, n_draws=100)
        errors = np.sqrt(np.diag(np.asarray(model.covariance_)))
        assert posterior.method == "laplace", name
        np.testing.assert_allclose(
            posterior.log_mean, np.log(list(model.params_.values())), atol=0.5 * errors.max()
        )
        np.testing.assert_allclose(np.sqrt(np.diag(posterior.log_covariance)), errors, rtol=0.25)
    with pytest.raises(ParameterError, match="prior must be"):
        fitted.posterior(snapshot, prior={"zeta": (0.0, 1.0)})
    strict = fitted.posterior(snapshot, prior={"r": (np.log(3.0), 0.01)})
    assert strict.mean["r"] > 1.5 * fitted.params_["r"]
    assert spend.posterior(snapshot, n_draws=10).draws.shape == (10, 3)


def test_predictive_distribution_is_calibrated_in_its_own_world():
    """Randomised PIT of the future of customers drawn from the fitted process."""
    snapshot = draw_snapshot(4000, seed=5)
    fitted = BetaGeoModel().fit(snapshot)
    posterior = fitted.posterior(snapshot, n_draws=50)
    future = fitted.sample(snapshot, "39W", 1, seed=9).to_numpy()[:, 0].astype(float)
    pmf = fitted.purchase_distribution(snapshot, "39W", int(future.max()) + 20, posterior)
    pit = randomised_pit(future, pmf.to_numpy(), keyed_uniforms(hash_keys(pmf.index), 1))
    assert 0.77 < pit_coverage(pit, 0.8) < 0.83
    assert stats.kstest(pit, "uniform").pvalue > 1e-3


def test_total_spend_is_a_ratio_of_gammas_and_not_an_average(snapshot):
    """Defect 10: the sum of n purchases keeps the customer's latent mean in common."""
    params = SpendParams(np.array([6.25]), np.array([3.74]), np.array([15.44]))
    rng = np.random.default_rng(0)
    n, x, m = 5, 2.0, 40.0
    nu = rng.gamma(3.74 + 6.25 * x, size=200_000) / (15.44 + x * m)
    total = rng.gamma(6.25 * n, size=200_000) / nu
    for level in (0.1, 0.5, 0.9):
        at = np.quantile(total, level)
        assert total_spend_cdf(at, n, x, m, params) == pytest.approx(level, abs=0.004)
    # Averaging first would give a total with the spread of n independent purchases.
    assert total.std() > 1.5 * np.sqrt(n) * (rng.gamma(6.25, size=200_000) / nu).std() / np.sqrt(n)


def test_thinned_counts_keep_the_mean_and_the_small_counts():
    counts, shares = thin_counts(300)
    np.testing.assert_allclose(shares[1:].sum(axis=1), 1.0)
    np.testing.assert_allclose(shares @ counts, np.arange(301))
    assert counts[:16].tolist() == list(range(1, 17))
    poisson = stats.poisson.pmf(np.arange(301), 100.0)
    variance = (poisson @ shares) @ (counts - 100.0) ** 2
    assert variance == pytest.approx(100.0, rel=0.03)
    np.testing.assert_array_equal(ladder(50)[:10], ladder(5000)[:10])


def test_mean_of_the_quantile_function_is_the_expectation(snapshot):
    certain = LifetimeValueModel(n_posterior_draws=0, annual_discount_rate=0.2, margin=1.0).fit(
        snapshot
    )
    some = few(snapshot, 9)
    grid = (np.arange(400) + 0.5) / 400
    values = certain.clv_quantiles(some, "52W", grid.tolist()).to_numpy()
    np.testing.assert_allclose(values.mean(axis=1), certain.clv(some, "52W"), rtol=0.02)


def test_posteriors_are_drawn_when_asked_for_and_are_those_of_the_fit(snapshot):
    some = snapshot.subset(np.arange(len(snapshot)) < 400)
    model = LifetimeValueModel(margin=0.3, n_posterior_draws=50, random_state=3).fit(some)
    model.clv(some, "52W")
    assert not {"purchase_posterior_", "spend_posterior_"} & set(vars(model))
    its = model.purchase_model_.posterior(some, n_draws=50, seed=3)
    np.testing.assert_array_equal(model.purchase_posterior_.draws, its.draws)
    spend = spend_posterior(model.spend_model_, some, n_draws=50, seed=3)
    # A copy draws first, and carries no training data.
    other = copy.deepcopy(model)
    assert other._undrawn == model._undrawn == {}
    np.testing.assert_array_equal(other.spend_posterior_.draws, spend.draws)
    stored = LifetimeValueModel(margin=0.3, n_posterior_draws=50, random_state=3).fit(some)
    assert stored.to_dict() == model.to_dict()
    with pytest.raises(AttributeError, match="before it is fitted"):
        _ = LifetimeValueModel(margin=0.3).spend_posterior_
