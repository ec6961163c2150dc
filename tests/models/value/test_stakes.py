"""What actions act on: purchases and margins of who is active, and of who stays."""

from __future__ import annotations

import numpy as np
import pytest

from crmml.models import (
    BetaGeoModel,
    GammaGammaModel,
    LifetimeValueModel,
    ModifiedBetaGeoModel,
    NewcomerModel,
    ParetoNBDModel,
)


@pytest.fixture(scope="module")
def snapshot(cdnow_snapshot):
    return cdnow_snapshot


@pytest.fixture(scope="module", params=[BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel])
def fitted(request, snapshot):
    return request.param().fit(snapshot)


def test_who_never_leaves_buys_at_the_mean_rate(fitted, snapshot):
    """The limit of no dropout is the gamma-mixed Poisson process: (r + x) / (alpha + T) t."""
    frame, p = snapshot.frame.set_index("customer_id"), fitted.params_
    mean = (p["r"] + frame["frequency"]) / (p["alpha"] + frame["T"]) * 52
    staying = fitted.expected_purchases_if_staying(snapshot, "52W")
    np.testing.assert_allclose(staying, mean, rtol=1e-8)
    assert (staying >= fitted.expected_purchases_if_alive(snapshot, "52W")).all()


def test_chances_are_those_of_the_process(fitted, snapshot):
    chances = fitted.purchase_chances(snapshot, "13W")
    silent = fitted.probability_no_purchase(snapshot, "13W")
    np.testing.assert_allclose(chances["buys"], 1 - silent, atol=1e-12)
    alive = fitted.probability_alive(snapshot)
    np.testing.assert_allclose(chances["buys"], alive * chances["buys_if_active"], atol=1e-12)
    stays = chances["buys_if_staying"] - chances["buys_if_active"]
    # who leaves at purchases only buys once whatever comes later; the Pareto/NBD leaves any time
    assert (stays.max() > 1e-3) == isinstance(fitted, ParetoNBDModel)
    assert stays.min() >= 0


def test_staying_follows_the_clock_of_newcomers(snapshot):
    model = NewcomerModel(dropout="modified").fit(snapshot)
    ahead = model.expected_purchases_if_staying(snapshot, "13W")
    assert (ahead >= model.expected_purchases_if_alive(snapshot, "13W") - 1e-12).all()


def test_doubt_about_a_margin_is_that_of_rate_and_spend(snapshot):
    """Gamma rates: cv = 1 / sqrt(r + x); inverse gamma mean spend: cv = 1 / sqrt(q + p x - 2)."""
    model = LifetimeValueModel(
        purchase_model=ModifiedBetaGeoModel(), spend_model=GammaGammaModel(), margin=0.3
    ).fit(snapshot)
    x = snapshot.frame.set_index("customer_id")["frequency"]
    p = model.purchase_model_.params_
    np.testing.assert_allclose(
        model.purchase_model_.rate_variation(snapshot), 1 / np.sqrt(p["r"] + x), rtol=1e-9
    )
    s = model.spend_model_.params_
    bought = snapshot.frame.set_index("customer_id")["monetary_value"] > 0
    spend = model.spend_model_.spend_variation(snapshot)[bought]
    np.testing.assert_allclose(spend, 1 / np.sqrt(s["q"] + s["p"] * x[bought] - 2), rtol=1e-9)
    both = model.margin_variation(snapshot)
    assert (both > model.purchase_model_.rate_variation(snapshot)).all()
    assert both[x.idxmax()] < both[x.idxmin()]


def test_margin_of_who_stays_is_never_less(snapshot):
    model = LifetimeValueModel(purchase_model=ModifiedBetaGeoModel(), margin=0.3).fit(snapshot)
    staying = model.expected_margin_if_staying(snapshot, "52W")
    assert (staying >= model.expected_margin_if_active(snapshot, "52W") * (1 - 1e-9)).all()
