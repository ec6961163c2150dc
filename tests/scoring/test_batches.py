"""Scores come in batches of any size, from rows in any order, to the same bytes."""

from __future__ import annotations

import pandas as pd
import pytest
from threadpoolctl import threadpool_info

import crmml
from crmml.exceptions import UnlikeTrainingError
from crmml.scoring.batches import score_in_batches
from crmml.scoring.scorer import open_for, score
from crmml.storage.bundles import load_bundle
from crmml.storage.scores import write_scores


@pytest.fixture(scope="module")
def bundle(cdnow_shelf):
    return load_bundle(cdnow_shelf.folder / "models" / "crmml" / "1")


@pytest.fixture(scope="module")
def log():
    rows = crmml.load_cdnow(sample=True)
    ids = rows["customer_id"].drop_duplicates().sort_values().iloc[:95]
    return rows[rows["customer_id"].isin(ids)].reset_index(drop=True)


@pytest.mark.parametrize("prices", [False, True], ids=["allocated", "at stored prices"])
def test_any_size_of_batch_gives_what_all_at_once_give(bundle, log, prices):
    tables = open_for(bundle, log)
    whole = score(bundle, tables, stored_prices=prices)
    for size in (30, 50, 95) if not prices else (50,):
        with score_in_batches(bundle, tables, size=size, stored_prices=prices) as found:
            got = pd.concat(list(found), ignore_index=True)
            assert found.absent == whole.absent
            assert (found.allocation is None) == prices
            pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
            assert {pool["num_threads"] for pool in pools} == {1}  # two sum in another order
        pd.testing.assert_frame_equal(got, whole.table, check_exact=True)


def test_size_and_order_of_the_rows_change_no_byte(bundle, log, tmp_path):
    written = set()
    for size, rows in ((40, log), (95, log.iloc[::-1])):
        with score_in_batches(bundle, open_for(bundle, rows), size=size) as found:
            file = write_scores(found, tmp_path / str(size), found.cutoff)
        written.add(file.read_bytes())
    assert len(written) == 1


def test_one_customer_alone_gets_the_same_bits(bundle, log):
    batch = score(bundle, log, "1998-07-01", stored_prices=True).table.set_index("customer_id")
    for customer in batch.index[::40]:
        mine = log[log["customer_id"] == customer]
        alone = score(bundle, mine, "1998-07-01", stored_prices=True).table
        pd.testing.assert_frame_equal(
            alone.set_index("customer_id"), batch.loc[[customer]], check_exact=True
        )


def test_what_is_unlike_the_training_is_refused_before_anything_is_handed_out(bundle):
    log = crmml.load_cdnow(sample=True)
    tables = open_for(bundle, log.assign(amount=log["amount"] * 100))
    with (
        pytest.raises(UnlikeTrainingError, match="median customer spends"),
        score_in_batches(bundle, tables, strict=True),
    ):
        pytest.fail("scores were handed out")
