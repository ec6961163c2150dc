"""Regular buyers are found from the gaps between purchases, and random ones are not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import MissingColumnsError
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models.purchase.regularity import find_regularity


def _shop(seed: int, draw_gap: Any, n: int = 150, mean: float = 30.0) -> Snapshot:
    """Customers with rates of their own, who leave at a purchase with probability .1."""
    rng, rows = np.random.default_rng(seed), []
    for customer in range(n):
        day, own = float(rng.integers(0, 200)), mean * rng.gamma(3.0, 1 / 3.0) + 0.5
        while day < 700:
            rows.append((customer, pd.Timestamp("2020-01-01") + pd.Timedelta(days=int(day)), 10.0))
            if rng.random() < 0.1:
                break
            day += draw_gap(rng, own)
    log = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    return build_snapshot(log, cutoff="2021-12-01")


def _at_random(rng: np.random.Generator, own: float) -> float:
    return float(rng.exponential(own))


def _monthly(rng: np.random.Generator, own: float) -> float:
    return float(rng.integers(28, 32) if rng.random() < 0.92 else rng.integers(20, 60))


def test_monthly_buyers_are_found_and_the_sentence_has_the_figures() -> None:
    found = find_regularity(_shop(1, _monthly))
    assert found.regular
    assert found.best_k == 12
    assert found.order > 20
    assert found.variation < 0.25
    assert found.alike_share > 0.8
    assert found.typical_gap == pytest.approx(30 / 7, rel=0.05)
    for figure in (f"{found.variation:.0%}", f"{found.alike_share:.0%}", f"{found.n_gaps:,}"):
        assert figure in found.sentence


@pytest.mark.parametrize("shape", [2, 3])
def test_the_order_of_erlang_gaps_is_found_whatever_the_rates(shape: int) -> None:
    found = find_regularity(_shop(2, lambda rng, own: rng.gamma(shape, own / shape)))
    assert found.regular
    assert found.best_k == shape


@pytest.mark.parametrize("mean", [3.0, 30.0])
def test_random_buyers_are_not_called_regular_also_where_days_round_their_gaps(mean: float) -> None:
    found = [find_regularity(_shop(seed, _at_random, mean=mean)) for seed in range(10)]
    assert not any(one.regular for one in found)
    seen = math.sqrt(np.mean([one.variation**2 for one in found]))
    expected = math.sqrt(np.mean([one.random_variation**2 for one in found]))
    assert seen == pytest.approx(expected, rel=0.03)


def test_without_three_purchases_nothing_is_claimed() -> None:
    frame = pd.DataFrame(
        {"customer_id": [1], "frequency": [1], "recency": [2.0], "T": [3.0]}
    ).assign(sum_log_gaps=math.log(2.0), gap_sd=np.nan)
    snapshot = Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")
    found = find_regularity(snapshot)
    assert (found.regular, found.n_gaps) == (False, 0)
    assert "three times" in found.sentence
    bare = Snapshot.from_frame(frame.drop(columns="gap_sd"), cutoff="2024-01-01", time_unit="week")
    with pytest.raises(MissingColumnsError, match="gap_sd"):
        find_regularity(bare)
