"""Profit to date: against the truth of a world, before the cutoff only, with what is not known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.features.labels import check_no_future
from crmml.features.profit import COSTS, find_unknown_costs
from crmml.features.snapshot import build_snapshot
from crmml.testing.simulate import simulate_world


@pytest.fixture(scope="module")
def world():
    return simulate_world(300, seed=8)


def test_profit_is_the_true_one_at_the_end_of_the_data(world):
    snapshot = build_snapshot(open_tables(world.tables), world.end)
    frame = snapshot.frame.set_index("customer_id")
    np.testing.assert_array_equal(frame["profit_to_date"], world.truth["profit"].loc[frame.index])
    parts = frame["margin_to_date"] - frame[[part.name for part in COSTS]].sum(axis=1)
    np.testing.assert_allclose(frame["profit_to_date"], parts, atol=1e-8)
    assert not {part.name for part in COSTS} & set(snapshot.provenance["absent"])


def test_only_the_past_is_counted_and_what_has_no_date_is_named(world):
    tables, cutoff = open_tables(world.tables), pd.Timestamp("2023-01-01")
    snapshot = build_snapshot(tables, cutoff)
    check_no_future(snapshot, tables)
    frame = snapshot.frame.set_index("customer_id")
    touched = world.interactions[world.interactions["timestamp"] < cutoff]
    spent = touched.groupby("customer_id")["cost"].sum().reindex(frame.index, fill_value=0.0)
    np.testing.assert_allclose(frame["contact_cost"], spent, atol=1e-8)
    assert "service_cost" not in frame
    assert "after the cutoff" in snapshot.provenance["absent"]["service_cost"]
    assert (frame["action_cost"] == 0).all()


def test_parts_that_are_missing_are_named_and_left_out(world):
    tables = open_tables(world.transactions, world.customers.drop(columns="service_cost"))
    unknown = find_unknown_costs(tables, world.end)
    assert list(unknown) == ["service_cost", "contact_cost", "action_cost"]
    assert unknown["contact_cost"] == "the data have no column 'interactions.cost'"
    frame = build_snapshot(tables, world.end).frame
    difference = frame["margin_to_date"] - frame["acquisition_cost"] - frame["profit_to_date"]
    np.testing.assert_allclose(difference, 0, atol=1e-8)


def test_a_customer_without_a_row_has_no_known_cost_of_winning(world):
    people = world.customers[world.customers["customer_id"] != 5]
    tables = open_tables({**world.tables, "customers": people})
    frame = build_snapshot(tables, world.end).frame.set_index("customer_id")
    assert np.isnan(frame.loc[5, "service_cost"])
    touched = world.interactions.query("customer_id == 5")["cost"].sum()
    given = world.treatments.query("customer_id == 5")["cost"].sum()
    left = frame.loc[5, "margin_to_date"] - touched - given
    assert frame.loc[5, "profit_to_date"] == pytest.approx(left)


def test_contacts_without_a_cost_are_unknown_and_not_free():
    times = pd.to_datetime(["2024-01-01", "2024-01-05", "2024-01-09"])
    log = pd.DataFrame({"customer_id": list("abc"), "timestamp": times, "amount": 10.0})
    told = pd.DataFrame(
        {"customer_id": ["a", "b"], "timestamp": times[:2], "kind": "contact", "cost": [1.0, None]}
    )
    tables = open_tables({"transactions": log.assign(margin=3.0), "interactions": told})
    cost = build_snapshot(tables, "2024-04-01").frame.set_index("customer_id")["contact_cost"]
    assert cost["a"] == 1.0
    assert np.isnan(cost["b"])
    assert cost["c"] == 0.0


def test_contacts_without_a_cost_are_counted_beside_those_with_one(world):
    touched = world.interactions.reset_index(drop=True)
    touched["cost"] = touched["cost"].where(touched.index % 3 > 0)
    tables = open_tables({**world.tables, "interactions": touched})
    frame = build_snapshot(tables, world.end).frame.set_index("customer_id")
    unknown = touched["cost"].isna().groupby(touched["customer_id"]).sum()
    np.testing.assert_array_equal(
        frame["contacts_without_cost"], unknown.reindex(frame.index, fill_value=0)
    )
    assert (frame["actions_without_cost"] == 0).all()
