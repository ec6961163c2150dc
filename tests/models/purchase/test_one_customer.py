"""The path of P(alive) is what snapshots of those days say; the next purchase is what comes."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import crmml
from crmml.exceptions import BoundaryWarning, CrmmlError
from crmml.features.one_customer import DailyHistory, gather_purchases
from crmml.models import (
    BetaGeoModel,
    CalendarProfile,
    LeftCensoredModel,
    ModifiedBetaGeoModel,
    ParetoNBDModel,
    RegularPurchaseModel,
)
from crmml.models.purchase.alive_path import follow_alive
from crmml.models.purchase.next_purchase import expect_next_purchase
from crmml.stats.pareto_nbd import probability_return

CUTOFF = pd.Timestamp("1997-10-01")
SEASON = CalendarProfile.from_weeks({week: 1 + 0.2 * (week % 9 < 4) for week in range(1, 53)})
MODELS = {
    "bg_nbd": BetaGeoModel(),
    "newcomers": ModifiedBetaGeoModel(clocks=["newcomers"]),
    "season": ModifiedBetaGeoModel(calendar=SEASON, clocks=["newcomers"]),
    "left_censored": LeftCensoredModel(margin="8W"),
    "pareto_nbd": ParetoNBDModel(),
    "regular": RegularPurchaseModel(k=2),
}


@pytest.fixture(scope="module")
def fitted(cdnow_snapshot):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)  # these customers are all new ones
        return {name: model.fit(cdnow_snapshot) for name, model in MODELS.items()}


@pytest.fixture(scope="module")
def mine(cdnow_tables, cdnow_snapshot):
    """The tables of a customer with several purchases, and the row."""
    frame = cdnow_snapshot.frame
    keep = frame["customer_id"] == frame.loc[frame["frequency"] == 4, "customer_id"].iloc[0]
    one = cdnow_snapshot.subset(keep.to_numpy())
    return cdnow_tables.of_customer(one.customer_id[0]), one


@pytest.mark.parametrize("name", MODELS)
def test_path_is_what_a_snapshot_of_each_day_says(name, fitted, mine) -> None:
    tables, one = mine
    purchases = gather_purchases(tables, CUTOFF, grain="day")
    path = follow_alive(fitted[name], one, purchases)
    assert path["date"].iloc[[0, -1]].tolist() == [purchases["date"].iloc[0].normalize(),
                                                    pd.Timestamp("1997-09-30")]  # fmt: skip
    assert path["purchases"].iloc[-1] == one.frame["frequency"].iloc[0] + 1
    for i in range(3, len(path), 83):
        snapshot = crmml.build_snapshot(tables, path["date"][i] + pd.Timedelta(days=1))
        said = fitted[name].probability_alive(snapshot).iloc[0]
        assert path["probability_alive"][i] == pytest.approx(said, rel=1e-12)
    served = fitted[name].probability_alive(one).iloc[0]
    assert path["probability_alive"].iloc[-1] == pytest.approx(served, rel=1e-12)


@pytest.mark.parametrize(("grain", "unit"), [("week", "day"), ("hour", "week"), ("day", "hour")])
def test_days_are_counted_as_snapshots_count_them(grain, unit, mine) -> None:
    tables, _ = mine
    one = crmml.build_snapshot(tables, CUTOFF, grain=grain, time_unit=unit)
    days = DailyHistory(one, gather_purchases(tables, CUTOFF, grain=grain))
    for i in (0, 40, len(days) - 1):
        then = crmml.build_snapshot(tables, days.cutoff[i], grain=grain, time_unit=unit).frame
        found = (days.frequency[i], days.recency[i], days.T[i])
        assert found == tuple(then.loc[0, ["frequency", "recency", "T"]])


def test_returns_are_listed_and_are_no_purchases() -> None:
    log = pd.DataFrame(
        {"customer_id": ["a"] * 3 + ["b"], "amount": [10.0, -4.0, 5.0, 1.0],
         "timestamp": pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-09", "2024-01-02"])}
    )  # fmt: skip
    tables = crmml.data.tables.open_tables(log).of_customer("a")
    found = gather_purchases(tables, pd.Timestamp("2024-01-10"), grain="day")
    assert found["purchase"].tolist() == [True, False, True]
    assert found["amount"].tolist() == [10.0, -4.0, 5.0]


def test_an_id_that_is_no_number_is_not_repeated() -> None:
    log = pd.DataFrame({"customer_id": [1], "timestamp": ["2024-01-01"], "amount": [1.0]})
    tables = crmml.data.tables.open_tables(log)
    assert tables.read_id("1") == 1
    with pytest.raises(CrmmlError, match="whole numbers") as caught:
        tables.read_id("anna@example.org")
    assert "anna" not in str(caught.value)


def test_next_purchase_of_an_active_bg_nbd_customer_is_a_pareto_time(fitted, mine) -> None:
    # the rate of an active customer is gamma(r + x, alpha + T), the waiting time exponential
    _, one = mine
    model, (x, T) = fitted["bg_nbd"], one.frame.loc[0, ["frequency", "T"]]
    found = expect_next_purchase(lambda t: model.predictive(one, t), CUTOFF, 0.7)
    shape, rate = model.params_["r"] + x, model.params_["alpha"] + T
    weeks = stats.lomax(shape, scale=rate).ppf([0.1, 0.5, 0.9])
    days = [pd.Timedelta(days=int(np.ceil(7 * w)) - 1) for w in weeks]
    assert [found.earliest, found.date, found.latest] == [CUTOFF + day for day in days]
    assert found.probability_never == pytest.approx(0.3)


@pytest.mark.parametrize("name", ["newcomers", "season", "pareto_nbd"])
def test_next_purchase_is_what_drawn_customers_do(name, fitted, mine) -> None:
    _, one = mine
    model = fitted[name]
    alive = float(model.probability_alive(one).iloc[0])
    found = expect_next_purchase(lambda t: model.predictive(one, t), CUTOFF, alive)
    for date, level in ((found.earliest, 0.1), (found.date, 0.5), (found.latest, 0.9)):
        if date is None:
            assert (name, level) == ("pareto_nbd", 0.9)
            assert "leaves before" in found.limit
            continue
        days = (date - CUTOFF).days + 1
        bought = (model.sample(one, f"{days}D", 4_000, seed=3) > 0).to_numpy().mean()
        assert bought / alive == pytest.approx(level, abs=0.03)


def test_an_active_pareto_nbd_customer_may_never_buy_again() -> None:
    rng = np.random.default_rng(1)
    for r, alpha, s, beta in ((1.5, 10.0, 0.6, 12.0), (0.5, 30.0, 2.0, 5.0)):
        rate = rng.gamma(r, 1 / alpha, 200_000)
        leaving = rng.gamma(s, 1 / beta, 200_000)
        share = (rate / (rate + leaving)).mean()
        assert probability_return(r, alpha, s, beta) == pytest.approx(share, abs=0.003)


def test_a_purchase_beyond_ten_years_is_not_dated(fitted, cdnow_snapshot) -> None:
    model = fitted["bg_nbd"]
    once = cdnow_snapshot.subset((cdnow_snapshot.frame["frequency"] == 0).to_numpy())
    one = once.subset(np.arange(len(once)) == 0)
    found = expect_next_purchase(lambda t: model.predictive(one, t), CUTOFF, 1.0)
    assert found.latest is None
    assert "ten years" in found.limit
