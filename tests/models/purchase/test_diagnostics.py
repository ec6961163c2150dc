"""Tables of what a purchase model believes: identities with the model's own predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models import (
    BetaGeoBetaBinomialModel,
    BetaGeoModel,
    CalendarProfile,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    NewcomerModel,
    ParetoNBDModel,
    RegularPurchaseModel,
)
from crmml.models.purchase.diagnostics import (
    compute_alive_path,
    compute_heterogeneity,
    compute_holdout_by_frequency,
    compute_matrix,
    compute_newcomer_effect,
    compute_tracking,
)


def fitted(kind, **params):
    """Return a model whose parameters are set, not estimated."""
    model = kind()
    model.params_, model.time_unit_, model.coefficients_ = params, "week", {}
    return model


def mbg():
    return fitted(ModifiedBetaGeoModel, r=0.525, alpha=6.183, a=0.891, b=1.614)


def pareto():
    return fitted(ParetoNBDModel, r=0.553, alpha=10.578, s=0.606, beta=11.669)


@pytest.fixture(scope="module")
def snapshot(cdnow_snapshot) -> Snapshot:
    return cdnow_snapshot


@pytest.fixture(scope="module")
def lifetime_value(snapshot) -> LifetimeValueModel:
    return LifetimeValueModel(margin=0.3, n_posterior_draws=0).fit(snapshot)


def one(x, t_x, T, money=0.0) -> Snapshot:
    row = {"customer_id": ["a"], "frequency": [x], "recency": [t_x], "T": [T]}
    return Snapshot.from_frame(
        pd.DataFrame({**row, "monetary_value": [money]}), cutoff="2000-01-01", time_unit="week"
    )


# -- matrices ----------------------------------------------------------------------------------


def test_matrix_holds_the_predictions_of_the_model() -> None:
    model = mbg()
    alive = compute_matrix(model, "probability_alive", T=39, max_frequency=5, n_recency=40)
    ahead = compute_matrix(model, T=39, horizon="26W", max_frequency=5, n_recency=40)
    assert alive.shape == ahead.shape == (6, 40)
    assert alive.index.name == "frequency"
    assert alive.columns.name == "weeks"
    history = one(3, 13.0, 39.0)
    assert alive.loc[3, 13.0] == model.probability_alive(history).iloc[0]
    assert ahead.loc[3, 13.0] == pytest.approx(
        model.expected_purchases(history, "26W").iloc[0], rel=1e-12
    )
    newcomer = one(0, 0.0, 39.0)
    assert alive.loc[0, 0.0] == model.probability_alive(newcomer).iloc[0]


def test_matrix_leaves_out_histories_that_cannot_exist() -> None:
    matrix = compute_matrix(mbg(), "probability_alive", T=10, max_frequency=4, n_recency=11)
    recency, frequency = np.meshgrid(matrix.columns, matrix.index)
    assert (matrix.notna().to_numpy() == ((recency == 0) == (frequency == 0))).all()


def test_matrix_of_values_is_that_of_the_fitted_lifetime_value(lifetime_value) -> None:
    matrix = compute_matrix(
        lifetime_value, "clv", T=39, horizon="52W", monetary_value=35.0, max_frequency=3,
        n_recency=4,
    )  # fmt: skip
    assert matrix.loc[2, 26.0] == pytest.approx(
        lifetime_value.clv(one(2, 26.0, 39.0, 35.0), "52W").iloc[0], rel=1e-12
    )
    # Other quantities of a lifetime value are those of its purchase model.
    alive = compute_matrix(lifetime_value, "probability_alive", T=39)
    expected = compute_matrix(lifetime_value.purchase_model_, "probability_alive", T=39)
    pd.testing.assert_frame_equal(alive, expected)


def test_matrix_refuses_values_of_a_purchase_model(lifetime_value) -> None:
    with pytest.raises(ParameterError, match="'clv' only with a LifetimeValueModel"):
        compute_matrix(mbg(), "clv", T=39, monetary_value=35.0)
    with pytest.raises(ParameterError, match="and monetary_value"):
        compute_matrix(lifetime_value, "clv", T=39)
    with pytest.raises(ParameterError, match="T must be a finite number > 0"):
        compute_matrix(mbg(), T=0)


def test_matrix_of_a_calendar_model_depends_on_the_cutoff() -> None:
    model = mbg()
    model.calendar_ = CalendarProfile.from_weeks({w: 2.0 if w > 40 else 1.0 for w in range(1, 53)})
    busy, quiet = (
        compute_matrix(model, T=20, horizon="4W", cutoff=day, max_frequency=2, n_recency=5)
        for day in ("2000-11-01", "2000-06-01")
    )
    assert busy.loc[2, 20.0] > 1.3 * quiet.loc[2, 20.0]


# -- path of one customer ----------------------------------------------------------------------


@pytest.mark.parametrize("model", [mbg(), pareto()])
def test_alive_path_falls_in_silence_and_jumps_at_purchases(model) -> None:
    bought = [2.0, 5.5, 20.0]
    path = compute_alive_path(model, bought, until=39, n_points=100)
    assert path["time"].is_monotonic_increasing
    assert path["time"].iloc[-1] == 39
    assert path.loc[path["purchase"], "time"].tolist() == bought
    change = path["probability_alive"].diff().iloc[1:]
    jumps = path["purchase"].iloc[1:]
    assert (change[jumps] > 0).all()
    assert (change[~jumps] < 0).all()
    # A jump takes no time: the moment stands there before and after.
    assert (path["time"].diff().iloc[1:][jumps] == 0).all()


def test_alive_path_ends_at_the_prediction() -> None:
    model = pareto()
    path = compute_alive_path(model, [2, 5], until=39)
    assert path["probability_alive"].iloc[-1] == model.probability_alive(one(2, 5.0, 39.0)).iloc[0]


def test_alive_path_of_a_one_time_buyer_and_of_bg_nbd() -> None:
    bg = fitted(BetaGeoModel, r=0.243, alpha=4.414, a=0.793, b=2.426)
    path = compute_alive_path(bg, [], until=10)
    assert not path["purchase"].any()
    assert (path["probability_alive"] == 1.0).all()


@pytest.mark.parametrize("times", [[5.0, 2.0], [0.0, 2.0], [2.0, 2.0], [2.0, 40.0]])
def test_alive_path_refuses_times_out_of_order(times) -> None:
    with pytest.raises(ParameterError, match="rising, positive and at most `until`"):
        compute_alive_path(mbg(), times, until=39)


def test_alive_path_refuses_an_empty_span_and_a_calendar() -> None:
    with pytest.raises(ParameterError, match="until must be a finite number > 0"):
        compute_alive_path(mbg(), [], until=0)
    model = mbg()
    model.calendar_ = CalendarProfile.from_weeks(dict.fromkeys(range(1, 53), 1.0))
    with pytest.raises(ParameterError, match="without a calendar profile"):
        compute_alive_path(model, [2.0], until=39)


# -- heterogeneity -----------------------------------------------------------------------------

HETEROGENEOUS = {
    "mbg_nbd": (mbg(), ["purchase rate", "dropout probability"]),
    "pareto_nbd": (pareto(), ["purchase rate", "dropout rate"]),
    "bg_bb": (
        fitted(BetaGeoBetaBinomialModel, alpha=1.204, beta=0.750, gamma=0.657, delta=2.783),
        ["purchase probability", "dropout probability"],
    ),
}


@pytest.mark.parametrize("name", HETEROGENEOUS)
def test_heterogeneity_densities_hold_the_central_98_percent(name) -> None:
    model, quantities = HETEROGENEOUS[name]
    table = compute_heterogeneity(model)
    assert list(dict.fromkeys(table["quantity"])) == quantities
    for _, part in table.groupby("quantity"):
        value, density = part["value"].to_numpy(), part["density"].to_numpy()
        # Over log(value): a density that runs to infinity at 0 is tame there.
        held = integrate.trapezoid(density * value, np.log(value))
        assert held == pytest.approx(0.98, abs=3e-3)
        assert part["share_below"].iloc[[0, -1]].tolist() == pytest.approx([0.01, 0.99])
        assert (np.diff(value) > 0).all()


def test_heterogeneity_of_regular_buyers_counts_purchases_not_ticks() -> None:
    one_tick, three_ticks = (
        fitted(RegularPurchaseModel, r=2.0, alpha=4.0, a=0.9, b=2.0) for _ in range(2)
    )
    one_tick.k_, three_ticks.k_ = 1, 3
    by_tick, by_three = (
        compute_heterogeneity(model).query("quantity == 'purchase rate'")["value"].to_numpy()
        for model in (one_tick, three_ticks)
    )
    np.testing.assert_allclose(by_tick, 3.0 * by_three, rtol=1e-12)


def test_heterogeneity_leaves_out_a_quantity_without_spread() -> None:
    nobody_leaves = fitted(ModifiedBetaGeoModel, r=0.5, alpha=6.0, a=1e-6, b=2.0)
    assert set(compute_heterogeneity(nobody_leaves)["quantity"]) == {"purchase rate"}


# -- newcomers ---------------------------------------------------------------------------------


def test_settling_is_the_rate_of_the_model_with_the_interval_of_its_covariance(snapshot) -> None:
    model = NewcomerModel().fit(snapshot)
    table = compute_newcomer_effect(model, until="40W", n_points=81)
    assert table.index.name == "weeks"
    assert table.index[-1] == 40.0
    assert table["rate"].iloc[0] == pytest.approx(model.first_)
    after = table["rate"].iloc[0] - 1.0, np.interp(model.half_life_, table.index, table["rate"]) - 1
    assert after[1] == pytest.approx(after[0] / 2.0, rel=2e-3)
    assert ((table["lower"] < table["rate"]) & (table["rate"] < table["upper"])).all()
    # At the first purchase the interval is that of log(first), and it closes as the rate settles.
    reach = 1.6448536 * model.settling_errors_["first"]
    assert np.log(table["upper"].iloc[0] / model.first_) == pytest.approx(reach, rel=1e-6)
    assert table["upper"].iloc[-1] - table["lower"].iloc[-1] < 0.02
    # Drawn from the covariance, nine tenths of the curves lie inside at any age.
    rng = np.random.default_rng(5)
    centre = np.log([model.first_, model.half_life_])
    first, half_life = np.exp(rng.multivariate_normal(centre, model.settling_covariance_, 4000)).T
    for at in (0, 8, 16):
        rate = 1 + (first - 1) * 0.5 ** (table.index[at] / half_life)
        inside = (rate > table["lower"].iloc[at]) & (rate < table["upper"].iloc[at])
        assert inside.mean() == pytest.approx(0.9, abs=0.03)


def test_a_given_settling_has_no_interval(snapshot) -> None:
    model = NewcomerModel(first=0.5, half_life="4W").fit(snapshot)
    table = compute_newcomer_effect(model)
    assert table.index[-1] == pytest.approx(24.0)
    assert table["rate"].iloc[[0, -1]].tolist() == pytest.approx([0.5, 1 - 0.5**7])
    assert table[["lower", "upper"]].isna().all(axis=None)


# -- tracking ----------------------------------------------------------------------------------


def test_tracking_adds_up_to_the_expectation_of_newcomers() -> None:
    ages = [39.0, 38.0, 30.5]
    frame = pd.DataFrame({"customer_id": [1, 2, 3], "frequency": 0, "recency": 0.0, "T": ages})
    snapshot = Snapshot.from_frame(frame, cutoff="1997-10-01", time_unit="week")
    actual = pd.Series(1.0, index=pd.RangeIndex(1, 53, name="week"))
    table = compute_tracking({"m": mbg()}, snapshot, actual, start="1997-01-01")
    assert table["actual"].sum() == 52
    reach = [39.0 - age for age in ages]
    expected = sum(mbg().expected_purchases_new_customer(f"{52 - born}W") for born in reach)
    assert table["m"].sum() == pytest.approx(expected, rel=1e-12)
    # Nobody can come back before the first purchase of anybody.
    assert table["m"].iloc[0] == pytest.approx(mbg().expected_purchases_new_customer("1W"))


def test_tracking_without_a_whole_period_is_empty(snapshot) -> None:
    nothing = pd.Series([], index=pd.RangeIndex(1, 1, name="week"), dtype=float)
    table = compute_tracking({"m": mbg()}, snapshot, nothing, start="1997-01-01")
    assert table.empty
    assert list(table.columns) == ["actual", "m"]


# -- holdout by frequency ----------------------------------------------------------------------


def test_holdout_by_frequency_is_a_plain_mean_and_ignores_row_order(snapshot) -> None:
    ids = snapshot.customer_id
    rng = np.random.default_rng(1)
    actual = pd.Series(rng.poisson(1.0, len(ids)).astype(float), index=ids)
    said = pd.Series(rng.random(len(ids)), index=ids)
    table = compute_holdout_by_frequency(snapshot, actual, {"m": said}, most=3)
    assert list(table.index) == ["0", "1", "2", "3+"]
    assert table["customers"].sum() == len(ids)
    often = snapshot.frame["frequency"].to_numpy() >= 3
    assert table.loc["3+", "actual"] == pytest.approx(actual.to_numpy()[often].mean())
    assert table.loc["3+", "m"] == pytest.approx(said.to_numpy()[often].mean())
    shuffled = compute_holdout_by_frequency(
        snapshot, actual.sample(frac=1, random_state=1), {"m": said.iloc[::-1]}, most=3
    )
    pd.testing.assert_frame_equal(table, shuffled)
