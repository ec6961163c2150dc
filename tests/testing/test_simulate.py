"""Simulated worlds: the truth that was asked for, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.schema import INTERACTION_KINDS, TABLES
from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.features.snapshot import build_snapshot
from crmml.testing.simulate import Purchases, Spend, simulate_world


@pytest.fixture(scope="module")
def panel():
    """A world with every table and every column of the contract."""
    return simulate_world(2000, seed=21, spend=Spend(house_share=0.6))


def test_same_seed_same_world():
    first, second = simulate_world(200, seed=3), simulate_world(200, seed=3)
    for name in [schema.name for schema in TABLES] + ["truth"]:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
    assert not simulate_world(200, seed=4).transactions.equals(first.transactions)


def test_the_door_takes_the_tables_as_they_are():
    world = simulate_world(200, seed=3)
    tables = open_tables(world.transactions, world.customers)
    assert tables.report.rows_kept == len(world.transactions)
    assert world.transactions["timestamp"].is_monotonic_increasing
    assert world.transactions["timestamp"].between(world.start, world.end).all()


def test_the_first_purchases_of_a_seed_are_those_of_version_0_1():
    world = simulate_world(1000, seed=3)
    lines = world.transactions
    assert len(lines) == 10201
    assert lines["timestamp"].iloc[[0, -1]].astype(str).tolist() == [
        "2022-01-03 00:29:58",
        "2023-12-31 22:21:31",
    ]
    assert lines["amount"].sum() == pytest.approx(170901.79)


OF_THE_KIND = {
    "id": pd.api.types.is_integer_dtype,
    "timestamp": pd.api.types.is_datetime64_dtype,
    "money": pd.api.types.is_numeric_dtype,
    "number": pd.api.types.is_numeric_dtype,
    "flag": pd.api.types.is_bool_dtype,
    "text": pd.api.types.is_string_dtype,
}


@pytest.mark.parametrize("schema", TABLES, ids=lambda schema: schema.name)
def test_every_table_of_the_contract_is_drawn_with_every_column(schema, panel):
    table = getattr(panel, schema.name)
    assert len(table) > 0
    assert set(schema.names) <= set(table.columns)
    assert schema.open_ended or set(table.columns) == set(schema.names)
    for column in schema.columns:
        values = table[column.name]
        assert OF_THE_KIND[column.kind](values), column.name
        assert values.notna().any(), column.name
        if column.kind == "money":
            assert np.allclose(values.dropna() * 100, np.round(values.dropna() * 100)), column.name
        if column.name in schema.filled:
            assert values.notna().all(), column.name
        if column.choices:
            assert set(values.dropna()) == set(column.choices)
        if column.least is not None:
            assert (values.dropna() >= column.least).all(), column.name
        if column.most is not None:
            assert (values.dropna() <= column.most).all(), column.name
    if schema.key:
        assert not table.duplicated(list(schema.key)).any()
    if "customer_id" in table:
        assert table["customer_id"].isin(panel.truth.index).all()
    if schema.time is not None and not schema.known_ahead:
        assert table[schema.time].between(panel.start, panel.end, inclusive="left").all()


def test_the_doors_take_all_tables_and_lose_no_row(panel):
    opened = open_tables(panel.tables)
    assert list(opened) == [schema.name for schema in TABLES]
    assert opened.counts == {name: len(frame) for name, frame in panel.tables.items()}
    assert opened.currency == "EUR"
    people = opened["customers"].to_pandas().set_index("customer_id")
    assert people["contactable_email"].dtype == bool
    assert people["service_cost"].astype(float).sum() == pytest.approx(
        panel.customers["service_cost"].sum()
    )


def test_values_are_legal(panel):
    touch, given = panel.interactions, panel.treatments
    assert (
        touch["resolved_at"]
        .notna()
        .equals(touch["resolved_at"].between(touch["timestamp"], panel.end))
    )
    assert touch.loc[touch["resolved_at"].notna(), "kind"].eq("complaint").all()
    assert given["propensity"].between(0, 1, inclusive="right").all()
    plans = panel.schedules
    assert (plans["starts_at"] < plans["ends_at"]).all()
    assert plans["starts_at"].max() > panel.end  # plans are known ahead
    for channel in ("email", "phone"):
        people = panel.customers
        assert not (people[f"contactable_{channel}"] & ~people["contactable"]).any()


def test_tables_not_asked_for_are_empty_but_have_their_columns():
    world = simulate_world(50, seed=1, tables=())
    assert list(world.tables) == ["transactions"]
    for schema in TABLES:
        assert set(schema.required) <= set(getattr(world, schema.name).columns)


@pytest.mark.parametrize(("returns", "share"), [(0.04, 0.25), (0.3, 0.5)])
def test_the_share_of_unprofitable_customers_is_the_one_asked_for(returns, share):
    world = simulate_world(2000, seed=7, spend=Spend(return_rate=returns, unprofitable=share))
    profit = world.transactions.groupby("customer_id")["margin"].sum()
    for table in (world.interactions, world.treatments):
        profit = profit.sub(table.groupby("customer_id")["cost"].sum(), fill_value=0)
    people = world.customers.set_index("customer_id")
    profit -= people["acquisition_cost"] + people["service_cost"]
    np.testing.assert_allclose(world.truth["profit"], profit, atol=0.005)
    assert (world.truth["profitable"] == (world.truth["profit"] > 0)).all()
    assert (~world.truth["profitable"]).mean() == pytest.approx(share, abs=0.002)
    assert (people["service_cost"] > 0).all()


def test_schedules_move_purchases_by_the_effects_asked_for():
    truth = Purchases(
        r=20, alpha=10, a=0.01, b=5000, promotion_effect=2.0, price_effect=-3.0, holiday_effect=1.0
    )
    world = simulate_world(
        400,
        seed=4,
        weeks=208,
        acquisition_weeks=1,
        purchases=truth,
        spend=Spend(return_rate=0),
        tables=("schedules",),
    )
    orders = world.transactions.drop_duplicates("order_id")["timestamp"]
    days = pd.date_range(world.start + pd.Timedelta(weeks=1), world.end, inclusive="left")
    count = orders.dt.normalize().value_counts().reindex(days, fill_value=0).to_numpy(float)
    design = np.zeros((len(days), 4))
    design[:, 0], design[:, 2] = 1.0, -1.0
    for plan in world.schedules.fillna({"value": 1.0}).itertuples():
        column = {"promotion": 1, "price_index": 2, "holiday": 3}[plan.name]
        design[(days >= plan.starts_at) & (days < plan.ends_at), column] += plan.value
    found = np.r_[np.log(count.mean()), 0.0, 0.0, 0.0]
    for _ in range(8):  # Poisson regression by Newton's steps
        mean = np.exp(design @ found)
        information = design.T @ (design * mean[:, None])
        found += np.linalg.solve(information, design.T @ (count - mean))
    errors = np.sqrt(np.diag(np.linalg.inv(information)))[1:]
    np.testing.assert_array_less(np.abs(found[1:] - [2.0, -3.0, 1.0]), 3.5 * errors)
    assert (errors < 0.25).all()


def test_without_effects_schedules_move_nothing():
    plain = simulate_world(300, seed=2, tables=())
    planned = simulate_world(300, seed=2, tables=("schedules",))
    pd.testing.assert_frame_equal(plain.transactions, planned.transactions)
    promoted = Purchases(promotion_effect=2.0)
    unplanned = simulate_world(300, seed=2, tables=(), purchases=promoted)
    pd.testing.assert_frame_equal(plain.transactions, unplanned.transactions)
    moved = simulate_world(300, seed=2, tables=("schedules",), purchases=promoted)
    assert not moved.transactions.equals(plain.transactions)


def test_the_outcome_of_the_labelled_table_has_the_log_odds_of_the_truth():
    world = simulate_world(20_000, seed=6, weeks=20, tables=("labelled",))
    outcome = world.labelled["outcome"].to_numpy(float)
    chance = 1 / (1 + np.exp(-world.truth["outcome_log_odds"].to_numpy()))
    spread = np.sqrt((chance * (1 - chance)).sum())
    assert abs((outcome - chance).sum()) < 3.5 * spread
    calls = world.labelled["support_calls"]
    assert calls.isna().mean() == pytest.approx(0.1, abs=0.01)
    by_contract = world.labelled.groupby("contract")["outcome"].mean()
    assert by_contract["monthly"] > by_contract["yearly"] > by_contract["two_years"]


def test_a_panel_holds_what_competitors_sold():
    world = simulate_world(3000, seed=5, spend=Spend(house_share=0.6, return_rate=0), tables=())
    orders = world.transactions.drop_duplicates("order_id")
    share = orders["seller"].eq("house").groupby(orders["customer_id"]).mean()
    known = world.truth.loc[share.index, "house_share"]
    assert np.corrcoef(share, known)[0, 1] > 0.6
    house = world.transactions[world.transactions["seller"] == "house"]
    np.testing.assert_allclose(house["amount"] - house["cost"], house["margin"], atol=1e-6)
    assert world.transactions["timestamp"].is_monotonic_increasing
    snapshot = build_snapshot(world.transactions, world.end, own_seller="house")
    plain = simulate_world(3000, seed=5, spend=Spend(return_rate=0), tables=())
    pd.testing.assert_series_equal(
        snapshot.frame["frequency"],
        build_snapshot(plain.transactions, plain.end).frame["frequency"],
    )


@pytest.mark.parametrize("process", ["bg_nbd", "mbg_nbd", "pareto_nbd"])
def test_nobody_buys_after_dropping_out(process):
    world = simulate_world(
        500, seed=1, purchases=Purchases(process), spend=Spend(return_rate=0), tables=()
    )
    last = world.transactions.groupby("customer_id")["timestamp"].max()
    lost = world.truth["lost_at"].dropna()
    assert 0.1 < len(lost) / 500 < 0.99
    assert (last[lost.index] <= lost).all()
    first = world.transactions.groupby("customer_id")["timestamp"].min()
    assert (first == world.truth["first_purchase"]).all()


def test_bg_nbd_with_known_parameters_is_found_again():
    from crmml.models import BetaGeoModel

    truth = Purchases(r=0.8, alpha=5, a=0.9, b=3)
    world = simulate_world(8000, seed=2, weeks=78, acquisition_weeks=26, purchases=truth, tables=())
    snapshot = build_snapshot(world.transactions, world.end, grain="hour", behaviour=False)
    model = BetaGeoModel().fit(snapshot)
    for name, value in model.params_.items():
        assert abs(value - getattr(truth, name)) < 4 * model.standard_errors_[name], name


def test_gaps_have_the_regularity_asked_for():
    for k in (1, 4):
        world = simulate_world(
            150,
            seed=9,
            weeks=300,
            acquisition_weeks=1,
            purchases=Purchases(r=20, alpha=20 / k, a=0.01, b=10, k=k),
            spend=Spend(return_rate=0),
            tables=(),
        )
        frame = build_snapshot(world.transactions, world.end, grain="hour").frame
        # mean squared over mean square of an Erlang-k gap: k / (k + 1)
        assert frame["gap_regularity"].median() == pytest.approx(k / (k + 1), abs=0.04)
        assert frame["gap_mean"].median() == pytest.approx(1.0, abs=0.1)


def test_season_peaks_where_asked():
    season = Purchases(r=5, alpha=5, a=0.01, b=10, seasonal_amplitude=0.8, seasonal_peak=350)
    world = simulate_world(300, seed=1, weeks=156, acquisition_weeks=1, purchases=season, tables=())
    month = world.transactions["timestamp"].dt.month.value_counts()
    assert month[12] > 4 * month[6]


def test_money_follows_the_gamma_gamma_truth():
    world = simulate_world(3000, seed=6, spend=Spend(return_rate=0), tables=())
    lines = world.transactions
    orders = lines.groupby("order_id").agg(who=("customer_id", "first"), value=("amount", "sum"))
    assert orders["value"].mean() == pytest.approx(
        world.truth.loc[orders["who"], "mean_spend"].mean(), rel=0.02
    )
    assert world.truth["mean_spend"].mean() == pytest.approx(6.25 * 15.44 / 2.74, rel=0.05)
    margins = lines["margin"].sum() / lines["amount"].sum()
    assert 0.12 < margins < 0.45


def test_returns_come_at_the_rate_asked_for():
    world = simulate_world(2000, seed=6, spend=Spend(return_rate=0.1), tables=())
    back = world.transactions["amount"] < 0
    assert back.sum() / (~back).sum() == pytest.approx(0.1, abs=0.02)


def test_treatments_bring_what_the_truth_says():
    world = simulate_world(20_000, seed=8, weeks=40, actions={"call": 0.5}, tables=("treatments",))
    treated = world.treatments.set_index("customer_id")["action"]
    assert world.treatments["propensity"].eq(0.5).all()
    when = world.treatments["timestamp"].iloc[0]
    lines = world.transactions
    after = lines[(lines["timestamp"] >= when) & (lines["amount"] >= 0)]
    counts = after.groupby("customer_id")["order_id"].nunique().reindex(treated.index).fillna(0)
    lift = counts[treated == "call"].mean() - counts[treated == "no_action"].mean()
    assert lift == pytest.approx(world.truth.loc[treated.index, "effect_call"].mean(), abs=0.05)
    assert (world.truth["gain_call"] > 0).all()


def test_dissatisfaction_shows_in_dropout_complaints_and_scores():
    world = simulate_world(3000, seed=12)
    truth = world.truth
    assert truth["satisfaction"].corr(truth["dropout_probability"], method="spearman") < -0.4
    touch = world.interactions
    complaints = touch[touch["kind"] == "complaint"]["customer_id"]
    assert truth.loc[complaints, "satisfaction"].mean() < -0.3
    years = (world.end - truth["first_purchase"]).dt.total_seconds() / (365.25 * 86_400)
    for kind in INTERACTION_KINDS:
        expected = (truth[f"{kind}_rate"] * years).sum()
        assert (touch["kind"] == kind).sum() == pytest.approx(expected, rel=0.15)
    settled = touch.loc[touch["kind"] == "complaint", "resolved_at"].notna()
    assert settled.mean() == pytest.approx(0.7, abs=0.06)
    surveys = touch[touch["kind"] == "survey"].set_index("customer_id")["score"]
    assert surveys.between(0, 10).all()
    assert np.corrcoef(surveys, truth.loc[surveys.index, "satisfaction"])[0, 1] > 0.5


def test_subscriptions_end_as_the_truth_says():
    world = simulate_world(4000, seed=13, tables=("subscriptions",))
    table = world.subscriptions.set_index("customer_id")
    ended = table["ended_at"].notna()
    assert (table["end_reason"].notna() == ended).all()
    assert (table.loc[ended, "ended_at"] < world.end).all()
    assert (table.loc[~ended, "paid_until"] >= world.end).all()
    involuntary = table["end_reason"] == "involuntary"
    assert involuntary.sum() / ended.sum() == pytest.approx(0.2, abs=0.03)
    unpaid = table["ended_at"] - table["paid_until"]
    assert (unpaid[involuntary] == pd.Timedelta(days=28)).all()
    assert (unpaid[ended & ~involuntary] == pd.Timedelta(0)).all()
    first = table["ended_at"] - table["started_at"] == pd.Timedelta(days=28)
    assert first.mean() == pytest.approx(world.truth["churn_probability"].mean(), abs=0.02)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: simulate_world(0, seed=1), "n_customers must be at least 1"),
        (lambda: simulate_world(9, seed=1, weeks=0), "weeks must be positive"),
        (lambda: simulate_world(9, seed=1, acquisition_weeks=999), "acquisition_weeks must be"),
        (lambda: simulate_world(9, seed=1, tables=("sales",)), "tables must be among"),
        (lambda: simulate_world(9, seed=1, actions={"x": -1}), "actions must be effects >= 0"),
        (lambda: Purchases("poisson"), "process must be one of"),
        (lambda: Purchases(r=0), "r must be positive"),
        (lambda: Purchases(k=0), "k must be a whole number"),
        (lambda: Purchases(seasonal_amplitude=1), "seasonal_amplitude must be"),
        (lambda: Purchases(price_effect=9), "price_effect must be between -5 and 5"),
        (lambda: Spend(unprofitable=1), "unprofitable must be between"),
        (lambda: Spend(house_share=1), "house_share must be between"),
        (lambda: Spend(q=0), "q must be positive"),
        (lambda: Spend(return_rate=1), "return_rate must be between"),
        (lambda: Spend(lines_per_purchase=0.5), "lines_per_purchase must be at least 1"),
    ],
)
def test_refuses_impossible_worlds(build, message):
    with pytest.raises(ParameterError, match=message):
        build()
