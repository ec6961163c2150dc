"""A nightly job on a simulated shop: consent, cool-downs, control group, budget, reruns."""

from __future__ import annotations

import pandas as pd
import pytest

from crmml.scoring.scorer import score
from crmml.storage.scores import read_plans, write_scores

NIGHTS = pd.date_range("2023-12-01", periods=10, freq="D")
FEW = 4
BUDGET = 2.0


@pytest.fixture(scope="module", params=[300, pytest.param(500, marks=pytest.mark.torture)])
def shop(request, nightly_shop, tmp_path_factory):
    if request.param == 300:
        return nightly_shop
    return nightly_shop.train(tmp_path_factory.mktemp("larger"), request.param)


@pytest.fixture(scope="module")
def bundle(shop):
    return shop.bundle, shop.people


@pytest.fixture(scope="module", params=[FEW, pytest.param(10, marks=pytest.mark.torture)])
def nights(request, shop, bundle, tmp_path_factory):
    """Score some nights in a row into one folder, each with the plans of those before."""
    made, people = bundle
    out = tmp_path_factory.mktemp("scores")
    tables, files = [], []
    for night in NIGHTS[: request.param]:
        seen = shop.log[shop.log["timestamp"] < night]
        given = {"transactions": seen, "customers": people}
        table = score(made, given, night, plans=read_plans(out, night), budget=BUDGET).table
        files.append(write_scores(table, out, night))
        tables.append(table.set_index("customer_id"))
    return tables, files, out


def acts(table):
    return table[table["recommended_action"] != "no_action"]


def test_nobody_without_consent_is_contacted(nights, bundle):
    people = bundle[1].set_index("customer_id")
    allowed = people.index[people["contactable"].eq(True)]
    contacted = set().union(*(acts(table).index for table in nights[0]))
    assert contacted
    assert contacted <= set(allowed)


def test_nobody_is_contacted_twice_within_the_limit(nights):
    contacts = pd.concat([acts(t).reset_index()[["customer_id", "cutoff"]] for t in nights[0]])
    assert not contacts["customer_id"].duplicated().any()


def test_the_control_group_stays_out_and_stays_the_same(nights):
    first = nights[0][0]
    for table in nights[0]:
        both = table.index.intersection(first.index)
        assert table.loc[both, "held_out"].equals(first.loc[both, "held_out"])
        assert not acts(table)["held_out"].any()
    assert 0.1 < first["held_out"].mean() < 0.3


def test_each_night_has_the_budget_of_the_night(nights):
    assert all(table["expected_cost"].sum() <= BUDGET + 1e-9 for table in nights[0])
    assert nights[0][0]["expected_cost"].sum() > 0.5 * BUDGET
    assert sum(table["expected_cost"].sum() for table in nights[0]) > BUDGET


def test_a_rerun_gives_the_same_bytes(nights, shop, bundle):
    _, files, out = nights
    made, people = bundle
    night, before = NIGHTS[2], files[2].read_bytes()
    seen = shop.log[shop.log["timestamp"] < night]
    given = {"transactions": seen, "customers": people}
    again = score(made, given, night, plans=read_plans(out, night), budget=BUDGET).table
    assert write_scores(again, out, night).read_bytes() == before


def test_without_a_memory_it_says_that_contacts_were_not_checked(shop, bundle):
    made, people = bundle
    given = {"transactions": shop.log, "customers": people}
    table = score(made, given, NIGHTS[0], budget=BUDGET).table
    assert acts(table)["reasons_against"].str.contains("contacts_not_checked").all()


def test_a_bundle_that_knows_consents_contacts_nobody_without_them(shop, bundle):
    scores = score(bundle[0], shop.log, NIGHTS[0])
    assert scores.table["recommended_action"].isna().all()
    assert "trained with consents" in scores.absent["recommended_action"]
    assert scores.table["value_tier"].notna().all()


def test_plans_come_back_from_a_database_as_from_a_folder(nights, tmp_path):
    tables, _, out = nights
    target = tmp_path / "scores.duckdb"
    for table, night in zip(tables, NIGHTS[: len(tables)], strict=True):
        write_scores(table.reset_index(), target, night)
    columns = ["timestamp", "customer_id", "action"]
    pd.testing.assert_frame_equal(
        read_plans(target, NIGHTS[FEW - 1])[columns].sort_values(columns, ignore_index=True),
        read_plans(out, NIGHTS[FEW - 1])[columns].sort_values(columns, ignore_index=True),
        check_dtype=False,
    )
    assert len(read_plans(tmp_path / "nothing", NIGHTS[0])) == 0
    assert len(read_plans(tmp_path / "nothing.duckdb", NIGHTS[0])) == 0
    assert len(read_plans(out, NIGHTS[0])) == 0
