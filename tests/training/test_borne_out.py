"""A learned forecast that no history bears out is not served."""

from __future__ import annotations

import pytest

from crmml.config import parse_config
from crmml.exceptions import FitWarning
from crmml.models.forecast.forecasters import BoostedForecaster, ProcessForecaster
from crmml.training.fit import _bear_out
from crmml.training.opening import open_configured
from crmml.training.plan import make_plan


class Scaled(BoostedForecaster):
    """Half a purchase for everybody, times a factor for the first customer."""

    def __init__(self, *, factor, horizon):
        super().__init__(horizon=horizon)
        self.factor = factor

    def forecast(self, snapshot):
        frame = snapshot.frame.set_index("customer_id")[["frequency", "monetary_value"]] * 0.0 + 0.5
        frame.columns = ["purchases", "spend"]
        frame.iloc[0] *= self.factor
        return frame


@pytest.fixture(scope="module")
def plan():
    config = parse_config({"data": {"transactions": {"dataset": "cdnow_sample"}}})
    return make_plan(config, open_configured(config))


def test_a_forecast_beyond_all_history_gives_way_to_the_process(plan):
    exploding = Scaled(factor=1000.0, horizon="13W")
    with pytest.warns(FitWarning, match=r"not served, but that of mbg_nbd: 1 of the 100 largest"):
        served = _bear_out(plan, plan.newest, "mbg_nbd", exploding)
    assert isinstance(served, ProcessForecaster)
    assert served.forecast(plan.newest)["purchases"].max() < 30


def test_a_forecast_that_history_bears_out_is_served(plan):
    modest = Scaled(factor=2.0, horizon="13W")
    assert _bear_out(plan, plan.newest, "mbg_nbd", modest) is modest
