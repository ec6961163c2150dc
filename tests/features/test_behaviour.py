"""Behaviour features against a slow reference, and the table that documents them."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.features.behaviour import FEATURES, WINDOWS, find_absent
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.testing.simulate import Purchases, Spend, simulate_world

CUTOFF = pd.Timestamp("2023-02-06")


@pytest.fixture(scope="module")
def world():
    return simulate_world(
        150,
        seed=21,
        weeks=70,
        acquisition_weeks=20,
        purchases=Purchases(r=1.2, alpha=3, a=0.5, b=8),
        spend=Spend(return_rate=0.12),
        tables=("customers",),
    )


@pytest.fixture(scope="module")
def snapshot(world) -> Snapshot:
    return build_snapshot(open_tables(world.transactions, world.customers), CUTOFF)


def refer(lines: pd.DataFrame, acquisition_cost: float) -> dict[str, float]:
    """One customer's features, written down again as plainly as possible; weeks, currency."""
    lines = lines[lines["timestamp"] < CUTOFF].sort_values("timestamp")
    end = CUTOFF - pd.Timedelta(days=1)
    bought = lines[lines["amount"] >= 0]
    days = sorted(bought["timestamp"].dt.normalize().unique())
    day_of = lines["timestamp"].dt.normalize()
    n = len(days)
    orders = [lines.loc[day_of == day, "amount"].sum() for day in days]
    net = lines["amount"].sum()
    out = {
        "frequency": n - 1,
        "recency": (days[-1] - days[0]).days / 7,
        "T": (end - days[0]).days / 7,
        "net_spend": net,
        "margin_to_date": lines["margin"].sum(),
        "margin_rate": lines["margin"].sum() / net if net > 0 else np.nan,
        "acquisition_cost": acquisition_cost,
        "profit_to_date": lines["margin"].sum() - acquisition_cost,
        "max_order_value": max(orders),
        "order_value_cv": np.std(orders) / np.mean(orders) if sum(orders) > 0 else np.nan,
        "mean_lines": len(bought) / n,
        "mean_quantity": bought["quantity"].sum() / n,
        "weekend_share": np.mean([day.weekday() >= 5 for day in days]),
        "inactivity": (end - days[-1]).days / 7,
        "first_order_value": lines.loc[day_of < days[1], "amount"].sum() if n > 1 else net,
        "last_order_value": lines.loc[day_of >= days[-1], "amount"].sum(),
    }
    out["monetary_value"] = (net - out["first_order_value"]) / (n - 1) if n > 1 else 0.0
    gross = bought["amount"].sum()
    out["returns_share"] = (gross - net) / gross if gross > 0 else np.nan
    discount = bought["discount"].sum()
    out["discount_share"] = discount / (gross + discount) if gross + discount > 0 else np.nan
    for weeks in WINDOWS:
        start = CUTOFF - pd.Timedelta(weeks=weeks)
        recent = lines[lines["timestamp"] >= start]
        out[f"purchases_{weeks}w"] = sum(day >= start for day in days)
        out[f"net_spend_{weeks}w"] = recent["amount"].sum()
        out[f"margin_{weeks}w"] = recent["margin"].sum()
    by_category = bought.groupby("category")["amount"].sum()
    shares = by_category / by_category.sum()
    out["n_categories"] = len(by_category)
    last_half_year = bought[bought["timestamp"] >= CUTOFF - pd.Timedelta(weeks=26)]
    out["n_categories_26w"] = last_half_year["category"].nunique()
    out["category_concentration"] = (shares**2).sum()
    out["top_category_share"] = shares.max()
    for channel in ("online", "shop"):
        out[f"channel_share_{channel}"] = (bought["channel"] == channel).mean()
    out["channel_concentration"] = out["channel_share_online"] ** 2 + out["channel_share_shop"] ** 2
    gaps = np.diff([day.to_datetime64() for day in days]) / np.timedelta64(7, "D")
    some = len(gaps) > 0
    out["gap_mean"] = gaps.mean() if some else np.nan
    out["gap_sd"] = gaps.std(ddof=1) if len(gaps) > 1 else np.nan
    out["gap_regularity"] = gaps.mean() ** 2 / (gaps**2).mean() if some else np.nan
    out["gap_p90"] = np.quantile(gaps, 0.9) if some else np.nan
    out["gap_max"] = gaps.max() if some else np.nan
    out["sum_log_gaps"] = np.log(gaps).sum()
    out["inactivity_ratio"] = out["inactivity"] / out["gap_mean"]
    out["inactivity_p90_ratio"] = out["inactivity"] / out["gap_p90"]
    recent, before = out["purchases_13w"], out["purchases_26w"] - out["purchases_13w"]
    out["purchase_trend"] = (recent - before) / (recent + before) if recent + before else 0.0
    age = (CUTOFF - days[0]).days / 7
    out["purchase_rate_ratio"] = (recent / min(age, 13)) / (n / age)
    out["spend_change_13w"] = 2 * out["net_spend_13w"] - out["net_spend_26w"]
    angle = 2 * np.pi * (CUTOFF.day_of_year - 1) / 365.25
    out["cutoff_season_sin"], out["cutoff_season_cos"] = np.sin(angle), np.cos(angle)
    return out


def test_every_feature_equals_the_plain_reference(world, snapshot):
    cost = world.customers.set_index("customer_id")["acquisition_cost"]
    logs = world.transactions.groupby("customer_id")
    expected = pd.DataFrame(
        [refer(logs.get_group(name), cost[name]) for name in snapshot.frame["customer_id"]]
    )
    # what is shrunk has tests of its own, and the cost of service is not known before the end
    shrunk = {"expected_margin_ratio", "margin_weight", "lines_without_margin",
              "contacts_without_cost", "actions_without_cost"}  # fmt: skip
    assert set(snapshot.frame.columns) - shrunk == {"customer_id", *expected.columns}
    for name in expected.columns:
        np.testing.assert_allclose(
            snapshot.frame[name], expected[name], rtol=1e-9, atol=2e-7, err_msg=name
        )
    assert (snapshot.frame["returns_share"] > 0).any()
    assert snapshot.frame["gap_sd"].notna().sum() > 50


def test_the_table_of_features_is_the_snapshot(snapshot):
    documented = [feature.name for feature in FEATURES]
    assert len(documented) == len(set(documented))
    plain = [name for name in documented if "*" not in name]
    columns = list(snapshot.frame.columns)[5:]
    assert [name for name in columns if not re.match("channel_share_", name)] == [
        name for name in columns if name in plain
    ]
    assert set(plain) - set(snapshot.provenance["absent"]) == {
        name for name in columns if not name.startswith("channel_share_")
    }
    assert all(feature.unit and feature.meaning for feature in FEATURES)


def test_values_are_missing_only_where_declared(snapshot):
    may_miss = {feature.name for feature in FEATURES if feature.missing}
    missing = snapshot.frame.columns[snapshot.frame.isna().any()]
    assert set(missing) <= may_miss
    once = snapshot.frame["frequency"] == 0
    assert once.any()
    assert snapshot.frame.loc[once, "gap_mean"].isna().all()


def test_column_names_suit_every_learner(snapshot):
    assert all(re.fullmatch(r"[a-zA-Z][a-z0-9_]*", name) for name in snapshot.frame.columns)


def test_absent_columns_are_left_out_with_the_reason(world):
    lines = world.transactions[["customer_id", "timestamp", "amount"]]
    snapshot = build_snapshot(lines, CUTOFF)
    absent = snapshot.provenance["absent"]
    assert absent["margin_4w"] == "the data have no column 'margin' or 'cost'"
    assert absent["discount_share"] == "the data have no column 'discount'"
    assert not set(absent) & set(snapshot.frame.columns)
    documented = {feature.name for feature in FEATURES}
    assert documented == set(absent) | set(snapshot.frame.columns[5:])
    weekly = build_snapshot(lines, CUTOFF, grain="week")
    assert weekly.provenance["absent"]["weekend_share"] == "the grain is a week"
    assert "weekend_share" not in weekly.frame


def test_cost_stands_in_for_margin(world):
    lines = world.transactions.assign(
        cost=(world.transactions["amount"] - world.transactions["margin"]).round(2)
    ).drop(columns="margin")
    by_cost = build_snapshot(lines, CUTOFF).frame["margin_to_date"]
    by_margin = build_snapshot(world.transactions, CUTOFF).frame["margin_to_date"]
    np.testing.assert_array_equal(by_cost, by_margin)


def test_channels_of_the_training_are_kept_when_scoring(world):
    lines = world.transactions.assign(channel="brand new")
    mapping = {"online": "channel_share_online", "shop": "channel_share_shop"}
    frame = build_snapshot(lines, CUTOFF, channels=mapping).frame
    assert (frame[["channel_share_online", "channel_share_shop"]] == 0).all().all()
    own = build_snapshot(lines, CUTOFF)
    assert own.provenance["channels"] == {"brand new": "channel_share_brand_new"}


def test_missing_category_and_channel_are_not_invented():
    lines = pd.DataFrame(
        {
            "customer_id": [1, 2],
            "timestamp": pd.to_datetime(["2023-01-01", "2023-01-02"]),
            "amount": [5.0, 6.0],
            "category": ["tea", None],
            "channel": [None, "web"],
        }
    )
    frame = build_snapshot(lines, CUTOFF).frame.set_index("customer_id")
    assert frame["n_categories"].tolist() == [1, 0]
    assert frame["category_concentration"].isna().tolist() == [False, True]
    assert frame["channel_share_web"].tolist() == [0, 1]


def test_absent_features_are_found_from_the_columns_alone():
    columns = ["cost", "channel", "category", "quantity", "discount", "acquisition_cost"]
    columns += ["service_cost", "interactions.cost", "treatments.cost"]
    columns += [f"interactions.{name}" for name in ("kind", "resolved_at", "score")]
    assert find_absent(columns, "day") == {}
    assert set(find_absent([], "week")) > {"weekend_share", "margin_rate", "channel_share_*"}
