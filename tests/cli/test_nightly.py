"""The nightly job from the command line: three nights, one folder, nobody contacted twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.actions.holdout import Strata
from crmml.cli import jobs
from crmml.config import load_config
from crmml.scoring.scorer import score
from crmml.storage.scores import read_control, read_scores, write_scores

NIGHTS = ("2023-12-01", "2023-12-02", "2023-12-03")
BUDGET = 1.0


@pytest.fixture(scope="module")
def shop(nightly_shop, tmp_path_factory):
    """A copy of the shop, to write beside it."""
    folder = tmp_path_factory.mktemp("nightly")
    shutil.copytree(nightly_shop.folder, folder, dirs_exist_ok=True)
    return folder, nightly_shop.bundle, nightly_shop.people


def run_night(folder, night):
    config = load_config(folder / "job.yaml", [f"actions.budget={BUDGET}"])
    jobs.score(
        model=str(folder / "bundle"),
        config=config,
        transactions=None,
        rows=None,
        cutoff=night,
        out=folder / "out",
        file_format="parquet",
        strict=False,
        tracking_uri=None,
    )


@pytest.fixture(scope="module")
def nights(shop):
    for night in NIGHTS:
        run_night(shop[0], night)
    return [read_scores(shop[0] / "out", night).set_index("customer_id") for night in NIGHTS]


def acts(table):
    return table[table["recommended_action"] != "no_action"]


def test_consents_cool_downs_control_group_and_budget_hold_over_three_nights(nights, shop):
    people = shop[2].set_index("customer_id")["contactable"]
    contacted = pd.concat([acts(table)["held_out"] for table in nights])
    assert len(contacted) > 5
    assert people[contacted.index].eq(True).all()
    assert not contacted.index.duplicated().any()
    assert not contacted.any()
    first = nights[0]["held_out"]
    for table in nights:
        assert 0 < table["expected_cost"].sum() <= BUDGET + 1e-9
        assert table["held_out"].reindex(first.index).equals(first)
        checked = acts(table)["reasons_against"]
        assert not checked.str.contains("contacts_not_checked").any()


def test_a_rerun_of_an_earlier_night_gives_the_same_bytes(nights, shop):
    file = shop[0] / "out" / f"cutoff={NIGHTS[1]}" / "scores.parquet"
    before = file.read_bytes()
    run_night(shop[0], NIGHTS[1])
    assert file.read_bytes() == before


# ------------------------------------------------------------------------------ strata


def test_small_strata_hold_out_more_and_shares_are_stored():
    risk = pd.Series(np.arange(1000) % 10 / 10)
    value = pd.Series(np.arange(1000.0))
    strata = Strata.fit(risk, value, share=0.05, least=20)
    assert strata.differ
    held = strata.share_of(risk, value).sum()
    assert held == pytest.approx(6 * 20)
    assert Strata.from_dict(json.loads(json.dumps(vars(strata)))) == strata
    assert not Strata.fit(risk, value, share=0.0, least=20).differ
    assert set(Strata.fit(risk, value, share=0.05).share_of(risk, value)) == {0.05}


@pytest.mark.parametrize("target", ["folder", "scores.duckdb"])
def test_who_was_drawn_once_keeps_the_share_of_the_first_night(target, shop, tmp_path):
    """All customers move to another stratum, one of another share, in the second night."""
    _, bundle, people = shop
    log = pd.read_parquet(shop[0] / "log.parquet")
    given = {"transactions": log, "customers": people}

    def with_shares(low, high):
        strata = Strata((2.0,), (), ((low,), (high,)))
        changed = replace(bundle.policy, strata=strata, experiment="spring")
        return bundle.with_policy(changed)

    first = score(with_shares(0.1, 0.2), given, NIGHTS[0]).table
    write_scores(first, tmp_path / target, NIGHTS[0])
    control = read_control(tmp_path / target, NIGHTS[1], "spring")
    assert len(control) == len(first)
    assert len(read_control(tmp_path / target, NIGHTS[0], "spring")) == 0
    assert len(read_control(tmp_path / target, NIGHTS[1], "autumn")) == 0
    other = with_shares(0.4, 0.2)
    second = score(other, given, NIGHTS[1], control=control).table.set_index("customer_id")
    kept = second.loc[first["customer_id"]]
    assert set(kept["control_share"]) == {0.1}
    assert kept["held_out"].tolist() == first["held_out"].tolist()
    forgetful = score(other, given, NIGHTS[1]).table
    assert forgetful["held_out"].sum() > 1.5 * first["held_out"].sum()
