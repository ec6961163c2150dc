"""Sums from lines in the order of the customers are those of the engine's own groupings."""

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.features import in_order
from crmml.features.categories import count_categories, gather_categories
from crmml.features.category_wallets import OTHERS, iterate_wallets
from crmml.features.purchases import fetch, sorted_frame
from crmml.features.wallet import Spans, build_wallet
from crmml.features.window_sums import measure_windows
from crmml.stats import runs


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(3)
    n = 3_000
    who = rng.choice(["a", "b", "ö", "z"], n) + rng.integers(0, 60, n).astype(str)
    seconds = pd.to_timedelta(rng.integers(0, 400 * 86_400, n), unit="s")
    return pd.DataFrame(
        {
            "customer_id": who,
            "timestamp": pd.Timestamp("2023-01-02") + seconds,
            "amount": rng.integers(-900, 9_000, n) / 100,
            "category": rng.choice(np.array(["tea", "bread", "ö", None], dtype=object), n),
        }
    )


@pytest.mark.parametrize("small", [None, (in_order, "AT_A_TIME", 7), (runs, "_MOST_BITS", 1)])
@pytest.mark.parametrize(
    ("cutoff", "length", "grain"),
    [
        ("2024-01-08", "13W", "day"),
        ("2024-01-05 09:00", "5W", "week"),
        ("2024-01-02", "2D", "hour"),
    ],
)
def test_windows_are_those_of_the_engine(log, monkeypatch, small, cutoff, length, grain):
    if small:
        monkeypatch.setattr(*small)
    spans = Spans.of(open_tables(log), cutoff, length, grain, None, False)
    pieces = [*measure_windows(spans)]
    assert small is None or small[0] is not in_order or len(pieces) > 100
    found = pd.concat([sorted_frame(piece.drop_columns(["code"])) for piece in pieces])
    asked = fetch(spans.query())
    found = found.sort_values("customer_id", ignore_index=True)[asked.columns]
    pd.testing.assert_frame_equal(found, asked, check_exact=True, check_dtype=False)


def test_a_category_is_measured_as_a_log_of_it_alone(log):
    how = {"length": "13W", "grain": "day"}
    tables = open_tables(log)
    wallets = dict(iterate_wallets(tables, "2024-01-08", categories=("tea", "ö"), **how))
    assert [*wallets] == ["tea", "ö", OTHERS]
    others = log[~log["category"].isin(["tea", "ö"])]
    for name, part in (("tea", log[log["category"] == "tea"]), (OTHERS, others)):
        alone = build_wallet(open_tables(part), "2024-01-08", **how)
        assert wallets[name].peers == alone.peers
        pd.testing.assert_frame_equal(wallets[name].frame, alone.frame, check_exact=True)


def test_lines_of_categories_are_counted(log):
    tables, cutoff = open_tables(log), pd.Timestamp("2024-01-08")
    rows = gather_categories(tables, cutoff)
    wide = rows.pivot(index="customer_id", columns="category", values="lines").fillna(0.0)
    found = count_categories(tables, cutoff)
    pd.testing.assert_frame_equal(found[wide.columns], wide, check_dtype=False)
    nothing = open_tables(log.assign(category=pd.Series([None] * len(log), dtype="str")))
    assert count_categories(nothing, cutoff, names=["tea"]).empty
