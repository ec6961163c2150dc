"""A learned correction stays within what its training saw, and forecasts within history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.exceptions import FitWarning, ParameterError
from crmml.features.labels import LabelledSnapshot, build_labelled
from crmml.features.snapshot import Snapshot
from crmml.features.windows import Window
from crmml.models.forecast.correction import FactorBounds
from crmml.models.forecast.forecasters import HybridForecaster
from crmml.models.forecast.plausibility import find_implausible
from crmml.models.purchase.distribution import look_ahead
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.newcomer import NewcomerModel
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.models.value.lifetime_value import LifetimeValueModel

START = pd.Timestamp("2023-01-02")  # a Monday
pytestmark = pytest.mark.filterwarnings("ignore::crmml.exceptions.FitWarning")


def young_shop(seed: int = 1, n: int = 2500, weeks: int = 40) -> pd.DataFrame:
    """Forty weeks of a shop whose few weekend customers come back twenty times as often.

    A process cannot see that, so the factor that is to be learned is large, of customers of whom
    little is expected. Some regulars come several times a week, on weekdays.
    """
    rng, rows = np.random.default_rng(seed), []

    def add(customer: str, week: int, weekday: int, amount: float) -> None:
        day = START + pd.Timedelta(days=7 * week + weekday)
        rows.append((customer, day, round(float(amount), 2)))

    for i in range(n):
        first, mean, weekend = int(rng.integers(0, weeks)), rng.gamma(4, 15), rng.random() < 0.12
        for week in range(first, weeks):
            if week == first or rng.random() < (0.25 if weekend else 0.012):
                weekday = int(rng.integers(5, 7) if weekend else rng.integers(0, 5))
                add(f"l{i}", week, weekday, mean * rng.gamma(8, 1 / 8))
    for i in range(40):
        first, mean = int(rng.integers(0, 25)), rng.gamma(4, 60)
        for week in range(first, min(weeks, first + rng.geometric(0.02))):
            for weekday in (0, 2, 4):
                if rng.random() < 0.6:
                    add(f"h{i}", week, weekday, mean * rng.gamma(8, 1 / 8))
    return pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])


@pytest.fixture(scope="module")
def parts() -> list[LabelledSnapshot]:
    tables = open_tables(young_shop())
    days = (START + pd.Timedelta(weeks=week) for week in (14, 27))
    return [build_labelled(tables, Window(day, "13W")) for day in days]


@pytest.fixture(scope="module")
def hybrid(parts: list[LabelledSnapshot]) -> HybridForecaster:
    return HybridForecaster(
        purchase_models=[ModifiedBetaGeoModel()], spend_model=GammaGammaModel(), horizon="13W"
    ).fit(parts[1].snapshot, parts[:1])


def unseen(hybrid: HybridForecaster, snapshot: Snapshot) -> Snapshot:
    """Regulars who do everything else as the customer with the largest factor does."""
    scores = hybrid._score(snapshot)
    like = snapshot.frame.iloc[int(np.argmax(scores))]
    heavy = snapshot.frame.nlargest(20, "frequency").copy()
    keep = {"customer_id", "frequency", "recency", "T", "monetary_value", "net_spend"}
    for column in set(heavy.columns) - keep:
        heavy[column] = like[column]
    return replace(snapshot, frame=heavy.reset_index(drop=True))


def test_a_customer_unlike_all_in_training_is_not_multiplied_by_what_others_taught(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot]
) -> None:
    strange = unseen(hybrid, parts[1].snapshot)
    expected = hybrid.process_.forecast(strange)["purchases"].to_numpy()
    learned = np.exp(hybrid._score(strange))
    assert learned.max() > 3.0  # so much the trees alone would make of them
    bounds = hybrid.bounds_
    assert bounds is not None
    factor = hybrid.factor(strange)
    rate = expected / 13.0
    _, ceiling = (
        np.exp(np.interp(np.log(rate), bounds.level, e)) for e in (bounds.low, bounds.high)
    )
    assert (factor <= np.maximum(ceiling, 1.0) + 1e-12).all()
    top = factor[rate > np.exp(bounds.level[-1])]
    assert len(top)
    assert top.max() < 0.6 * learned.max()


def test_the_total_stays_that_of_the_process_and_the_bounds_come_back_from_plain_values(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot]
) -> None:
    snapshot = parts[1].snapshot
    total = hybrid.process_.forecast(snapshot)["purchases"].sum()
    assert hybrid.forecast(snapshot)["purchases"].sum() == pytest.approx(total, rel=1e-9)
    back = HybridForecaster.from_dict(hybrid.to_dict())
    assert back.bounds_ == hybrid.bounds_
    pd.testing.assert_frame_equal(back.forecast(snapshot), hybrid.forecast(snapshot))


def test_ranges_are_those_of_customers_of_like_expectation() -> None:
    rng = np.random.default_rng(1)
    rate = np.r_[rng.uniform(0.01, 0.02, 600), rng.uniform(1.0, 2.0, 600)]
    score = np.r_[rng.uniform(-2.0, 2.0, 600), rng.uniform(-0.1, 0.1, 600)]
    bounds = FactorBounds.of(rate, score)
    factor = bounds.factor(np.array([0.012, 1.5, 1.5, 30.0]), np.array([1.9, 1.9, 0.05, 1.9]))
    assert factor[0] == pytest.approx(np.exp(1.9), rel=0.05)
    assert factor[1] <= np.exp(0.1)
    assert factor[2] == pytest.approx(np.exp(0.05))
    # Nobody was seen with such a rate: next to nothing of the factor is left.
    assert factor[3] == pytest.approx(1.0, abs=0.01)


def test_factors_of_a_batch_do_not_depend_on_the_others(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot]
) -> None:
    snapshot = parts[1].snapshot
    some = np.arange(len(snapshot)) % 7 == 3
    np.testing.assert_allclose(
        hybrid.factor(snapshot.subset(some)), hybrid.factor(snapshot)[some], rtol=1e-12
    )


@pytest.mark.parametrize("column", ["purchases", "spend"])
def test_forecasts_beyond_all_history_are_named_with_the_figures(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot], column: str
) -> None:
    snapshot = parts[1].snapshot
    fine = hybrid.forecast(snapshot)
    assert find_implausible(fine, snapshot, parts[:1], "13W") == ()
    exploded = fine.copy()
    row = int(np.argmax(exploded[column].to_numpy()))
    most = max(part.outcomes[column].max() for part in parts)
    exploded.iloc[row, exploded.columns.get_loc(column)] = 30.0 * most
    (said, *_) = find_implausible(exploded, snapshot, parts[:1], "13W")
    assert str(snapshot.customer_id[row]) not in said
    assert f"{30.0 * most:,.1f}" in said


def test_a_correction_that_explodes_is_dropped_with_a_note(
    parts: list[LabelledSnapshot], monkeypatch: Any
) -> None:
    model = HybridForecaster(
        purchase_models=[ModifiedBetaGeoModel()], spend_model=GammaGammaModel(), horizon="13W"
    )

    def wild(self: FactorBounds, rate: Any, score: Any) -> Any:
        return np.where(rate > np.quantile(rate, 0.998), 100.0, 1.0)

    monkeypatch.setattr(FactorBounds, "factor", wild)
    with pytest.warns(FitWarning, match="correction was dropped.*largest forecasts exceed"):
        model.fit(parts[1].snapshot, parts[:1])
    assert model.booster_ is None
    pd.testing.assert_frame_equal(
        model.forecast(parts[1].snapshot), model.process_.forecast(parts[1].snapshot)
    )


@pytest.mark.parametrize("kind", ["plain", "newcomers"])
def test_a_factor_fades_beyond_the_horizon_for_which_it_was_learned(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot], kind: str
) -> None:
    snapshot = parts[1].snapshot.subset(np.arange(len(parts[1])) % 20 == 0)
    model = hybrid.process_.purchase_model_
    if kind == "newcomers":
        model = NewcomerModel(first=2.0, half_life="4W").fit(parts[1].snapshot)
    factor = np.exp(np.random.default_rng(1).normal(0.0, 0.5, len(snapshot)))

    def mean(horizon: str, fade: float | None) -> Any:
        ahead = look_ahead(model, snapshot, horizon)
        return ahead.corrected(factor, 0.001, fade, "13W").mean().to_numpy()

    def total(horizon: str, fade: float) -> Any:
        # Of a heavy buyer the mean is less over years: leaving allows only so many purchases.
        ahead = look_ahead(model, snapshot, horizon)
        return ahead.corrected(factor, 0.0, fade, "13W").discounted(0.0).to_numpy()

    def plain(horizon: str) -> Any:
        return look_ahead(model, snapshot, horizon).mean().to_numpy()

    # Up to the horizon learned, and without end of the fading, it is the factor.
    for horizon, fade in (("6W", 5.0), ("13W", 5.0), ("52W", None), ("52W", 1e9)):
        np.testing.assert_allclose(mean(horizon, fade), factor * plain(horizon), rtol=1e-5)
    # It fades: of the purchases in a late quarter nothing is left of it.
    late = total("260W", 4.0) - total("208W", 4.0)
    np.testing.assert_allclose(late, plain("260W") - plain("208W"), rtol=1e-3, atol=1e-6)
    # The formula, by summing up the weeks.
    weeks = np.array([plain(f"{w}W") for w in range(13, 53)])
    middle = np.exp(-(np.arange(13, 52) + 0.5 - 13.0) / 8.0)
    wanted = factor * weeks[0] + (
        (1.0 + (factor - 1.0) * middle[:, None]) * np.diff(weeks, axis=0)
    ).sum(0)
    np.testing.assert_allclose(mean("52W", 8.0), wanted, rtol=1e-3)


def test_discounted_purchases_fade_alike_and_a_sharp_fade_is_refused(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot]
) -> None:
    snapshot = parts[1].snapshot.subset(np.arange(len(parts[1])) % 20 == 0)
    model, factor = hybrid.process_.purchase_model_, np.full(len(snapshot), 1.7)
    ahead = look_ahead(model, snapshot, "52W")
    its = ahead.corrected(factor, 0.0, 8.0, "13W")
    np.testing.assert_allclose(its.discounted(0.0), its.mean(), rtol=1e-6)
    assert (its.discounted(0.2) < its.mean()).all()
    endless = look_ahead(model, snapshot, None)
    total = endless.corrected(factor, 0.01, 8.0, "13W").discounted(0.1)
    assert (total > endless.discounted(0.1)).all()
    assert (total < 1.7 * endless.discounted(0.1)).all()
    with pytest.raises(ParameterError, match="at least a tenth"):
        ahead.corrected(factor, 0.0, 1.0, "13W")


def test_lifetime_value_comes_from_the_corrected_distribution(
    hybrid: HybridForecaster, parts: list[LabelledSnapshot]
) -> None:
    snapshot = parts[1].snapshot
    model = LifetimeValueModel(margin=1.0, annual_discount_rate=0.0, n_posterior_draws=20)
    model.fit(snapshot, correction=hybrid)
    some = snapshot.subset(np.arange(len(snapshot)) % 20 == 0)
    spend = hybrid.forecast(some)["spend"]
    np.testing.assert_allclose(model.expected_margin(some, "13W"), spend, rtol=1e-5)
    np.testing.assert_allclose(model.clv(some, "13W"), spend, rtol=1e-6)
    longer = model.ahead(some, "104W")
    plain = LifetimeValueModel(margin=1.0, annual_discount_rate=0.0, n_posterior_draws=0)
    plain.purchase_model_, plain.spend_model_ = model.purchase_model_, model.spend_model_
    plain.purchase_posterior_ = plain.spend_posterior_ = None
    ratio = model.clv(some, "104W") / plain.clv(some, "104W")
    factor = hybrid.factor(some)
    assert (np.abs(np.log(ratio)) <= np.abs(np.log(factor)) + 1e-6).all()
    # The posterior's nodes are corrected alike.
    plain.purchase_posterior_, its = model.purchase_posterior_, longer
    other = plain.ahead(some, "104W")
    assert its.doubted.mean().sum() / its.purchases.mean().sum() == pytest.approx(
        other.doubted.mean().sum() / other.purchases.mean().sum(), rel=0.05
    )
    bounds = model.clv_quantiles(some, "104W", [0.1, 0.9])
    assert (bounds[0.9] >= bounds[0.1]).all()
    total = model.total(some, "104W")
    assert total.loc["all", 0.1] < total.loc["all", "expected"] < total.loc["all", 0.9]
    back = LifetimeValueModel.from_dict(model.to_dict())
    pd.testing.assert_series_equal(back.clv(some, "52W"), model.clv(some, "52W"))
