"""Order values that drift within customers are noticed; others are not."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from crmml.data.datasets import load_cdnow
from crmml.exceptions import FitWarning
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.models.value.spend_drift import measure_spend_drift


def drifting(seed: int, monthly: float, n: int = 400) -> pd.DataFrame:
    """Columns of a snapshot of two years, whose order values change by so much a month."""
    rng, rows = np.random.default_rng(seed), []
    for customer in range(n):
        mean, rate, day = rng.gamma(4, 15), rng.gamma(1.2, 1 / 25.0), float(rng.integers(0, 500))
        days, orders = [], []
        while day < 730:
            days.append(day)
            orders.append(mean * (1 + monthly) ** (day / 30.4) * rng.gamma(2, 1 / 2.0))
            if rng.random() < 0.08:
                break
            day += rng.exponential(1 / rate) + 1
        x = len(days) - 1
        rows.append(
            {
                "customer_id": customer,
                "frequency": x,
                "recency": (days[-1] - days[0]) / 7,
                "T": (730 - days[0]) / 7,
                "monetary_value": np.mean(orders[1:]) if x else 0.0,
                "first_order_value": orders[0],
                "last_order_value": orders[-1],
            }
        )
    return pd.DataFrame(rows)


def snapshot_of(frame: pd.DataFrame) -> Snapshot:
    return Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week")


@pytest.mark.parametrize("monthly", [0.04, -0.04])
def test_a_drift_is_found_and_said_with_its_size_and_what_it_means(monthly: float) -> None:
    found = [measure_spend_drift(snapshot_of(drifting(seed, monthly))) for seed in range(6)]
    sizes = [one.per_month for one in found if one is not None and one.found]
    assert len(sizes) >= 5
    assert np.mean(sizes) == pytest.approx(monthly, rel=0.25)
    way, side = ("rise", "low") if monthly > 0 else ("fall", "high")
    with pytest.warns(FitWarning, match=rf"{way} by .*% a month .*about \d+% too {side}"):
        GammaGammaModel().fit(snapshot_of(drifting(0, monthly)))


def test_constant_order_values_raise_no_alarm() -> None:
    found = [measure_spend_drift(snapshot_of(drifting(seed, 0.0, n=200))) for seed in range(60)]
    assert sum(one is not None and one.found for one in found) <= 4
    errors = [one.per_month / one.error for one in found if one is not None]
    assert np.std(errors) == pytest.approx(1.0, abs=0.3)
    real = measure_spend_drift(build_snapshot(load_cdnow(sample=True), cutoff="1997-10-01"))
    assert real is not None
    assert not real.found


def test_one_spend_for_all_who_bought_once_is_noted_where_the_first_order_tells_more() -> None:
    frame = drifting(3, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        model = GammaGammaModel().fit(snapshot_of(frame))
        mixed = frame.assign(
            first_order_value=np.random.default_rng(1).permutation(frame["first_order_value"])
        )
        other = GammaGammaModel().fit(snapshot_of(mixed))
    (said,) = model.notes
    assert f"{(frame['frequency'] == 0).sum():,} customers" in said
    assert other.notes == ()
    assert GammaGammaModel.from_dict(model.to_dict()).notes == model.notes


def test_a_snapshot_without_order_values_is_not_judged() -> None:
    bare = drifting(1, 0.05).drop(columns=["first_order_value", "last_order_value"])
    assert measure_spend_drift(snapshot_of(bare)) is None
