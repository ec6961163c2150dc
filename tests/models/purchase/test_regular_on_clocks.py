"""CNBD-k on a given clock: the plain process in operational time."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from crmml.exceptions import FitWarning, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models import ModifiedBetaGeoModel, RegularPurchaseModel, from_dict
from crmml.models.purchase.clocks import NewcomerClock
from crmml.models.purchase.compose import compose_purchase_model
from crmml.stats.newcomer import NewcomerEffect

CLOCK = NewcomerClock(2.5, "6W")
EFFECT = NewcomerEffect(2.5, 6.0 / math.log(2.0))


@pytest.fixture(scope="module")
def frames() -> tuple[Snapshot, Snapshot]:
    """Regular buyers in calendar time, and the same in operational time."""
    rng = np.random.default_rng(3)
    n = 4000
    rate, leaves = rng.gamma(1.5, 0.3, n), rng.beta(1.0, 6.0, n)
    T = rng.integers(30, 80, n).astype(float)
    own = EFFECT.passed(np.zeros(n), T)
    ticks = rng.gamma(2.0, 1.0, (n, 200)) / rate[:, None]
    at = ticks.cumsum(axis=1)
    last = rng.geometric(leaves)[:, None] - 1
    bought = (at <= own[:, None]) & (np.arange(200) < last)
    x = bought.sum(axis=1).astype(float)
    t_own = np.where(x > 0, (at * bought).max(axis=1), 0.0)
    grid = np.linspace(0.0, 80.0, 80_001)
    t_x = np.interp(t_own, EFFECT.passed(np.zeros(len(grid)), grid), grid)
    t_own = EFFECT.passed(np.zeros(n), t_x)
    gaps = (np.log(ticks) * bought).sum(axis=1)

    def snapshot(recency: np.ndarray, length: np.ndarray) -> Snapshot:
        # on the clock the gaps are known here, in calendar time nobody asks for them
        frame = pd.DataFrame(
            {"customer_id": np.arange(n), "frequency": x, "recency": recency, "T": length}
        )
        most = x * np.log(np.where(x > 0, recency, 1.0) / np.maximum(x, 1.0))
        frame["sum_log_gaps"] = np.minimum(gaps, most)
        return Snapshot.from_frame(frame, cutoff="2020-01-06", time_unit="week")

    return snapshot(t_x, T), snapshot(t_own, own)


@pytest.fixture(scope="module")
def fitted(frames: tuple[Snapshot, Snapshot]) -> RegularPurchaseModel:
    with pytest.warns(FitWarning):
        return RegularPurchaseModel(k=2, clocks=[CLOCK]).fit(frames[0])


def test_it_is_the_plain_process_in_operational_time(frames, fitted):
    calendar, own = frames
    plain = RegularPurchaseModel(k=2).fit(own)
    assert_allclose(list(fitted.params_.values()), list(plain.params_.values()), rtol=1e-5)
    assert_allclose(fitted.params_["r"], 1.5, rtol=0.15)
    assert_allclose(fitted.probability_alive(calendar), plain.probability_alive(own), atol=1e-6)
    row = 17
    age = calendar.frame["T"].to_numpy()[[row]]
    ahead = float(EFFECT.passed(age, np.array([26.0]))[0])
    assert_allclose(
        fitted.expected_purchases(calendar, "26W").iloc[row],
        plain.expected_purchases(own, f"{ahead:.12f}W").iloc[row],
        rtol=1e-5,
    )
    assert (fitted.purchase_quantiles(calendar, "26W", 0.9) >= 0).all(axis=None)


def test_it_is_stored_with_its_clock(frames, fitted):
    again = from_dict(fitted.to_dict())
    assert again.clocks == [CLOCK]
    expected = fitted.expected_purchases(frames[0], "26W")
    pd.testing.assert_series_equal(again.expected_purchases(frames[0], "26W"), expected)


def test_at_order_one_it_is_the_mbg_nbd_with_that_clock(frames):
    calendar = frames[0]
    with pytest.warns(FitWarning):
        one = RegularPurchaseModel(k=1, clocks=[CLOCK]).fit(calendar)
    with pytest.warns(FitWarning):
        other = ModifiedBetaGeoModel(clocks=[CLOCK]).fit(calendar)
    assert one.params_ == other.params_
    pd.testing.assert_series_equal(
        one.discounted_expected_purchases(calendar, "52W"),
        other.discounted_expected_purchases(calendar, "52W"),
    )


def test_what_the_gaps_would_have_to_tell_is_refused(frames, fitted):
    with pytest.raises(ParameterError, match="k must be given where there are clocks"):
        RegularPurchaseModel(clocks=[CLOCK]).fit(frames[0])
    with pytest.raises(ParameterError, match="clocks must be given in full for k > 1"):
        RegularPurchaseModel(k=2, clocks=["newcomers"]).fit(frames[0])
    with pytest.raises(ParameterError, match="k must be given where cnbd_k has clocks"):
        compose_purchase_model("cnbd_k", clocks=[CLOCK])
    with pytest.raises(ParameterError, match="k must be None for"):
        compose_purchase_model("bg_nbd", k=2)
    assert compose_purchase_model("cnbd_k", clocks=[CLOCK], k=3).k == 3


@pytest.mark.parametrize("horizon", ["13W", "52W", None])
def test_purchases_are_discounted_along_a_clock_at_every_order(frames, fitted, horizon):
    few = frames[0].subset(np.arange(len(frames[0])) < 60)
    # At order one the sum is known exactly; the integral over expected purchases meets it.
    with pytest.warns(FitWarning):
        one = RegularPurchaseModel(k=1, clocks=[CLOCK]).fit(frames[0])
    h, _, future = one._look_ahead(few, horizon)
    exact = one._discount(few, h, future, horizon, 0.002)
    assert_allclose(one._discount_by_curve(few, h, future, horizon, 0.002), exact, rtol=2e-4)
    values = fitted.discounted_expected_purchases(few, horizon, 0.1)
    assert (values > 0).all()
    if horizon is not None:
        plain = fitted.expected_purchases(few, horizon)
        assert_allclose(fitted.discounted_expected_purchases(few, horizon, 0.0), plain, rtol=1e-9)
        assert (values < plain).all()
        assert (values > 0.85 * plain).all()
