"""Posterior of purchase models with covariates, and what stands on it."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import crmml.models
from crmml.exceptions import BoundaryWarning, CrmmlError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models import (
    BetaGeoModel,
    LeftCensoredModel,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    ParetoNBDModel,
    RegularPurchaseModel,
)
from crmml.models.purchase.distribution import at_parameters, look_ahead, node_params
from crmml.models.purchase.predictive import purchase_posterior

BETA_GEO = {"r": 0.8, "alpha": 6.0, "a": 0.8, "b": 2.5}
PARETO = {"r": 0.8, "alpha": 6.0, "s": 0.7, "beta": 15.0}
MODELS = {BetaGeoModel: BETA_GEO, ModifiedBetaGeoModel: BETA_GEO, ParetoNBDModel: PARETO}


def draw_snapshot(n, seed, model=BetaGeoModel, *, purchase=0.0, dropout=0.0):
    """Draw histories and spend; ``z`` is normal around 3, ``w`` binary; only ``z`` acts."""
    rng = np.random.default_rng(seed)
    z, w = rng.normal(3.0, 1.0, n), rng.integers(0, 2, n).astype(float)
    T = rng.integers(140, 420, n) / 7.0
    truth = MODELS[model]
    rate = rng.gamma(truth["r"], 1.0 / truth["alpha"], n) * np.exp(purchase * z)
    x, t_x, now = np.zeros(n), np.zeros(n), np.zeros(n)
    if model is ParetoNBDModel:
        leaves = rng.gamma(truth["s"], 1.0 / truth["beta"], n) * np.exp(dropout * z)
        until = np.minimum(T, rng.exponential(size=n) / leaves)
        x = rng.poisson(rate * until).astype(float)
        t_x = np.where(x > 0, until * rng.beta(np.maximum(x, 1.0), 1.0), 0.0)
    else:
        leaves = rng.beta(truth["a"] * np.exp(dropout * z), truth["b"], n)
        active = np.ones(n, dtype=bool)
        if model is ModifiedBetaGeoModel:
            active = rng.random(n) >= leaves
        while active.any():
            now = now + rng.exponential(size=n) / rate
            active &= now <= T
            x, t_x = np.where(active, x + 1.0, x), np.where(active, now, t_x)
            active &= rng.random(n) >= leaves
    repeats = np.maximum(x, 1.0)
    spend = rng.gamma(6.25 * repeats) / repeats / (rng.gamma(3.74, size=n) / 15.44)
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{i}" for i in range(n)],
            "frequency": x,
            "recency": t_x,
            "T": T,
            "monetary_value": np.where(x > 0, spend, 0.0),
            "z": z,
            "w": w,
            "sum_log_gaps": np.where(x > 0, x * np.log(np.maximum(t_x, 1e-9) / repeats) - x, 0.0),
        }
    )
    return Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")


def estimates(model):
    """Log-parameters and coefficients, in the order of the posterior."""
    logs = np.log(list(model.params_.values()))
    return np.r_[logs, [c["estimate"] for c in model.coefficients_.values()]]


def newcomers(snapshot, z):
    """Take customers of whom little more is known than their covariates."""
    frame = snapshot.frame.assign(frequency=0.0, recency=0.0, T=1.0, monetary_value=0.0, z=z)
    return Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")


def some_of(snapshot, n):
    return snapshot.subset(np.arange(len(snapshot)) < n)


@pytest.fixture(scope="module")
def snapshot():
    return draw_snapshot(2500, 1, purchase=0.4)


@pytest.fixture(scope="module")
def model(snapshot):
    return BetaGeoModel(purchase_covariates=["z", "w"], dropout_covariates=["w"]).fit(snapshot)


@pytest.fixture(scope="module")
def posterior(model, snapshot):
    return model.posterior(snapshot, n_draws=400, seed=1)


# -- the posterior ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [8_000, pytest.param(20_000, marks=pytest.mark.torture)])
@pytest.mark.parametrize("kind", MODELS)
def test_many_customers_give_the_inverse_information_and_the_truth(kind, n):
    on_dropout = ["z"] if kind is ParetoNBDModel else []
    snapshot = draw_snapshot(n, 2, kind, purchase=0.4, dropout=0.3 if on_dropout else 0.0)
    model = kind(purchase_covariates=["z", "w"], dropout_covariates=on_dropout).fit(snapshot)
    posterior = model.posterior(snapshot)
    assert (posterior.method, posterior.pareto_k < 0.5) == ("laplace", True)
    assert posterior.names == (*model.params_, *model.coefficients_)
    errors = np.sqrt(np.diag(model.covariance_))
    np.testing.assert_allclose(np.sqrt(np.diag(posterior.log_covariance)), errors, rtol=0.06)
    assert np.abs((posterior.log_mean - estimates(model)) / errors).max() < 0.15
    truth = {"purchase:z": 0.4, "purchase:w": 0.0, "dropout:z": 0.3}
    truth |= {name: np.log(value) for name, value in MODELS[kind].items()}
    away = posterior.log_mean - [truth[name] for name in posterior.names]
    assert stats.chi2.sf(away @ np.linalg.solve(posterior.log_covariance, away), len(away)) > 0.01


def test_the_posterior_covers_the_truth_as_often_as_it_says():
    truth = np.r_[np.log(list(BETA_GEO.values())), 0.4, 0.0]
    distances, inside = [], []
    for seed in range(20):
        snapshot = draw_snapshot(1000, 1000 + seed, purchase=0.4)
        model = BetaGeoModel(purchase_covariates=["z", "w"]).fit(snapshot)
        posterior = purchase_posterior(model, snapshot, seed=seed, n_proposals=256)
        away = posterior.log_mean - truth
        distances.append(away @ np.linalg.solve(posterior.log_covariance, away))
        low, high = np.quantile(posterior.draws[:, 4:], [0.1, 0.9], axis=0)
        inside.append((low <= truth[4:]) & (truth[4:] <= high))
    assert 0.01 < stats.chi2.sf(np.sum(distances), 20 * len(truth)) < 0.99
    assert 0.7 <= np.mean(inside) <= 0.9


def test_the_ridge_is_a_normal_prior_on_standardised_coefficients(snapshot):
    some = some_of(snapshot, 600)
    columns = {"purchase_covariates": ["z", "w"]}
    tied = BetaGeoModel(**columns, ridge=400.0).fit(some)
    free = BetaGeoModel(**columns).fit(some)
    prior = dict.fromkeys(free.coefficients_, (0.0, 1.0 / 20.0))
    one, two = tied.posterior(some), free.posterior(some, prior=prior)
    np.testing.assert_allclose(one.log_mean, two.log_mean, atol=1e-4)
    np.testing.assert_allclose(one.log_covariance, two.log_covariance, atol=1e-4)
    # The information of the fit holds the ridge too.
    errors = np.sqrt(np.diag(tied.covariance_))[4:]
    np.testing.assert_allclose(np.sqrt(np.diag(one.log_covariance))[4:], errors, rtol=0.08)
    weak = free.posterior(some)
    assert (np.abs(one.log_mean[4:]) < np.abs(weak.log_mean[4:])).all()
    with pytest.raises(ParameterError, match=r"prior must be .*purchase:w"):
        free.posterior(some, prior={"purchase:nope": (0.0, 1.0)})


def test_the_scale_and_origin_of_a_column_do_not_matter(model, posterior, snapshot):
    moved = snapshot.frame.assign(z=1e6 * (snapshot.frame["z"] - 40.0))
    moved = Snapshot.from_frame(moved, cutoff="2024-01-01", time_unit="week")
    again = BetaGeoModel(purchase_covariates=["z", "w"], dropout_covariates=["w"]).fit(moved)
    other = again.posterior(moved, n_draws=400, seed=1)
    assert other.mean["purchase:z"] == pytest.approx(1e-6 * posterior.mean["purchase:z"], rel=1e-3)
    assert other.sd["purchase:z"] == pytest.approx(1e-6 * posterior.sd["purchase:z"], rel=1e-3)
    np.testing.assert_allclose(
        again.purchase_distribution(moved, "52W", 20, other),
        model.purchase_distribution(snapshot, "52W", 20, posterior),
        atol=1e-5,
    )


def test_a_column_that_does_not_vary_moves_nobody(snapshot):
    constant = Snapshot.from_frame(
        snapshot.frame.assign(one=1.0), cutoff="2024-01-01", time_unit="week"
    )
    with pytest.warns(BoundaryWarning, match="the data say nothing about purchase:one"):
        model = BetaGeoModel(purchase_covariates=["z", "one"]).fit(constant)
    plain = BetaGeoModel(purchase_covariates=["z"]).fit(snapshot)
    assert model.params_ == pytest.approx(plain.params_, rel=1e-4)
    assert model.coefficients_["purchase:one"]["estimate"] == 0.0
    assert np.isnan(model.coefficients_["purchase:one"]["standard_error"])
    posterior = model.posterior(constant)
    assert posterior.sd["purchase:one"] == posterior.mean["purchase:one"] == 0.0
    assert np.isfinite(posterior.nodes()).all()
    found = model.purchase_distribution(constant, "26W", 5, posterior)
    reference = plain.purchase_distribution(snapshot, "26W", 5, plain.posterior(snapshot))
    np.testing.assert_allclose(found, reference, atol=2e-3)


def test_row_order_does_not_matter(model, posterior, snapshot):
    shuffled = Snapshot.from_frame(
        snapshot.frame.sample(frac=1.0, random_state=1), cutoff="2024-01-01", time_unit="week"
    )
    again = model.posterior(shuffled, n_draws=400, seed=1)
    np.testing.assert_array_equal(again.draws, posterior.draws)
    found = model.purchase_quantiles(shuffled, "52W", [0.1, 0.9], again)
    pd.testing.assert_frame_equal(
        found.loc[list(snapshot.customer_id)],
        model.purchase_quantiles(snapshot, "52W", [0.1, 0.9], posterior),
    )


# -- predictions -----------------------------------------------------------------------------------


def test_few_nodes_of_each_history_stand_for_many_draws(model, posterior, snapshot):
    some = some_of(snapshot, 60)
    nodes = model.purchase_distribution(some, "52W", 60, posterior).to_numpy()
    draws = [
        at_parameters(model, values).purchase_distribution(some, "52W", 60).to_numpy()
        for values in posterior.draws
    ]
    assert np.abs(nodes - np.mean(draws, axis=0)).max() < 0.005
    # The cubature of all coordinates agrees, with 16 points instead of 8.
    h = model._histories(some)
    assert len(list(node_params(model, h, posterior))) == 8
    assert len(posterior.nodes()) == 16
    shared = look_ahead(model, some, "52W", posterior.nodes()).alive.mean(axis=0)
    own = look_ahead(model, some, "52W", posterior).alive.mean(axis=0)
    np.testing.assert_allclose(own, shared, atol=2e-3)


def test_nodes_have_the_moments_of_the_log_parameters_of_each_history(model, posterior, snapshot):
    h = model._histories(some_of(snapshot, 5))
    logs = np.log([np.stack(params, axis=1) for params in node_params(model, h, posterior)])
    z, w = h.covariates["z"], h.covariates["w"]
    for i in range(5):
        image = np.eye(4, 8)
        image[1, 4:6] = -z[i], -w[i]
        image[2, 6] = image[3, 7] = w[i]
        np.testing.assert_allclose(logs[:, i].mean(axis=0), image @ posterior.log_mean)
        expected = image @ posterior.log_covariance @ image.T
        np.testing.assert_allclose(np.cov(logs[:, i].T, bias=True), expected, atol=1e-10)


def test_one_customer_alone_gives_what_the_batch_gives(model, posterior, snapshot):
    # Coefficients of 0 make futures alike that the posterior tells apart.
    still = at_parameters(model, np.r_[list(model.params_.values()), np.zeros(4)])
    for one in (model, still):
        batch = one.purchase_distribution(snapshot, "52W", 6, posterior)
        for i in (0, 700, 1400):
            alone = one.purchase_distribution(
                snapshot.subset(np.arange(len(snapshot)) == i), "52W", 6, posterior
            )
            pd.testing.assert_frame_equal(alone, batch.iloc[[i]], rtol=1e-12, atol=1e-14)


def test_an_ensemble_is_averaged_over_its_draws(model, posterior, snapshot):
    some = some_of(snapshot, 60)
    chain = replace(posterior, method="ensemble")
    assert len(list(node_params(model, model._histories(some), chain))) == 32
    np.testing.assert_allclose(
        model.purchase_distribution(some, "52W", 20, chain),
        model.purchase_distribution(some, "52W", 20, posterior),
        atol=0.02,
    )


@pytest.mark.parametrize("kind", [*MODELS, RegularPurchaseModel])
def test_every_process_carries_its_coefficients_into_intervals(kind, snapshot):
    some = some_of(snapshot, 300)
    settings = {"k": 1} if kind is RegularPurchaseModel else {}
    model = kind(purchase_covariates=["z"], **settings).fit(some)
    posterior = model.posterior(some, n_draws=20)
    # Far from the customers of the fit it is the coefficient that is not known.
    far = newcomers(some_of(some, 2), z=-3.0)
    wide = model.purchase_quantiles(far, "52W", [0.5, 0.999], posterior)
    plain = model.purchase_quantiles(far, "52W", [0.5, 0.999])
    assert (wide[0.999] > plain[0.999]).all()
    assert (wide[0.5] == plain[0.5]).all()


def test_a_left_censored_base_has_coefficients_of_old_and_new(snapshot):
    frame = some_of(snapshot, 900).frame
    begin = pd.Timestamp("2024-01-01") - pd.Timedelta(days=420)
    # The first third are first seen at once.
    old = np.arange(len(frame)) < 300
    span = np.where(old, 59.0, frame["T"])
    early = frame.assign(T=span, recency=frame["recency"].to_numpy() * span / frame["T"])
    base = Snapshot.from_frame(
        early,
        cutoff="2024-01-01",
        provenance={"first_timestamp": str(begin)},
        time_unit="week",
    )
    model = LeftCensoredModel(base=BetaGeoModel(purchase_covariates=["w"]), margin="4W").fit(base)
    posterior = model.posterior(base, n_draws=50)
    assert posterior.names == (
        *("r", "alpha", "a", "b", "purchase:w"),
        *("old_r", "old_alpha", "old_a", "old_b", "old_purchase:w"),
    )
    assert posterior.coefficients == tuple(model.coefficients_)
    for name, found in model.coefficients_.items():
        assert abs(posterior.mean[name] - found["estimate"]) < found["standard_error"]
    wide = model.purchase_distribution(base, "26W", 8, posterior).to_numpy()
    assert np.abs(wide - model.purchase_distribution(base, "26W", 8).to_numpy()).max() < 0.08
    with pytest.raises(CrmmlError, match="ask its method posterior"):
        purchase_posterior(model, base)


# -- lifetime value --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def valued(snapshot):
    purchases = BetaGeoModel(purchase_covariates=["z"])
    return LifetimeValueModel(purchase_model=purchases, n_posterior_draws=200, margin=1.0).fit(
        some_of(snapshot, 400)
    )


def test_totals_and_quantiles_are_wider_than_with_coefficients_held_certain(valued, snapshot):
    far = newcomers(snapshot, z=-2.0)
    held = crmml.models.from_dict(valued.to_dict())
    joint = valued.purchase_posterior_
    # Given the coefficient at its mean, the log-parameters keep their conditional spread.
    logs = np.log(joint.draws[:, :4])
    spread = joint.log_covariance
    logs -= np.outer(joint.draws[:, 4] - joint.log_mean[4], spread[:4, 4] / spread[4, 4])
    draws = np.column_stack([np.exp(logs), np.full(len(joint), joint.log_mean[4])])
    covariance = spread - np.outer(spread[4], spread[4]) / spread[4, 4]
    held.purchase_posterior_ = replace(joint, draws=draws, log_covariance=covariance)
    wide, narrow = (m.total(far, "52W").loc["all"] for m in (valued, held))
    assert wide[0.9] - wide[0.1] > 1.2 * (narrow[0.9] - narrow[0.1])
    one = some_of(far, 1)
    wide, narrow = (m.clv_quantiles(one, "52W", 0.99).iloc[0, 0] for m in (valued, held))
    assert wide > 1.05 * narrow


def test_quantiles_of_value_rise_and_totals_of_groups_add_up(valued, snapshot):
    found = valued.clv_quantiles(snapshot, "52W", [0.1, 0.5, 0.9]).to_numpy()
    assert (np.diff(found, axis=1) >= 0).all()
    parts, whole = (valued.total(snapshot, "52W", by=by) for by in ("w", None))
    assert parts["expected"].sum() == pytest.approx(whole.loc["all", "expected"])
    assert whole.loc["all", 0.1] < whole.loc["all", "expected"] < whole.loc["all", 0.9]


def test_the_posterior_of_covariates_is_stored_and_comes_back(valued, snapshot):
    some = some_of(snapshot, 50)
    back = crmml.models.from_dict(json.loads(json.dumps(valued.to_dict())))
    assert back.purchase_posterior_.coefficients == ("purchase:z",)
    pd.testing.assert_frame_equal(
        back.clv_quantiles(some, "52W", [0.1, 0.9]), valued.clv_quantiles(some, "52W", [0.1, 0.9])
    )
    pd.testing.assert_frame_equal(back.total(some, "52W"), valued.total(some, "52W"))
