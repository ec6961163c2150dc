"""Left-censored bases: the same process with and without knowing that customers are older.

Complete Journey (cutoff 2017-07-01, horizons of 13 and 26 weeks) where the extra ``journey`` is
installed; CDNOW with its first months cut off, so that everybody is an old customer, and a rare
buyer; and a simulated shop of which only the third year is in the data. Errors are of the
expected purchases, for customers who count as old, for the others, and for all; the ratio is
``LeftCensoredModel`` over the plain model, below 1 is better.

Then shops that are older than their data **and** swing with the year, where the truth knows who is
old: the plain model, the two remedies one by one, and both together.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from crmml.data.datasets import load_cdnow, load_complete_journey
from crmml.data.tables import open_tables
from crmml.exceptions import SourceError
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import build_snapshot
from crmml.features.windows import Window
from crmml.models import LeftCensoredModel, ModifiedBetaGeoModel
from crmml.testing.simulate import Purchases, simulate_world

ORIGIN = "2020-01-06"
OLD_AND_SEASONAL = {
    "monthly buyers": Purchases(
        process="mbg_nbd", r=1.2, alpha=6, a=0.3, b=4, seasonal_amplitude=0.5
    ),
    "quarterly buyers": Purchases(
        process="mbg_nbd", r=0.8, alpha=12, a=0.6, b=3, seasonal_amplitude=0.5
    ),
}


def simulated() -> pd.DataFrame:
    world = simulate_world(
        12_000,
        seed=4,
        start="2018-01-01",
        weeks=210,
        acquisition_weeks=210,
        purchases=Purchases(process="mbg_nbd", r=1.2, alpha=6, a=0.3, b=4),
        tables=(),
    )
    return world.transactions[world.transactions["timestamp"] >= ORIGIN]


def compare(
    name: str, log: pd.DataFrame, cutoff: str, horizons: Sequence[str], margins: Sequence[str]
) -> None:
    tables = open_tables(log)
    snapshot = build_snapshot(tables, cutoff)
    begin = time.perf_counter()
    plain = ModifiedBetaGeoModel().fit(snapshot)
    first = time.perf_counter() - begin
    print(f"\n{name}: {len(snapshot):,} customers at {cutoff}")
    print(f"  plain MBG/NBD fit in {first:.3f} s")
    for margin in margins:
        begin = time.perf_counter()
        model = LeftCensoredModel(margin=margin).fit(snapshot)
        second = time.perf_counter() - begin
        old = model.is_old(snapshot).to_numpy()
        print(f"  margin {margin}: {model.margin_}, {old.sum():,} old, fit in {second:.3f} s")
        print("    horizon customers      n   MAE plain  ours  ratio  RMSE plain  ours  ratio"
              "  bias plain   ours")  # fmt: skip
        for horizon in horizons:
            bought = build_outcomes(tables, Window(cutoff, horizon), grain="day")["purchases"]
            actual = bought.reindex(snapshot.customer_id).to_numpy(dtype=np.float64)
            miss, ours = (
                m.expected_purchases(snapshot, horizon).to_numpy() - actual for m in (plain, model)
            )
            for who, rows in (("old", old), ("new", ~old), ("all", old | True)):
                if not rows.any():
                    continue
                mae = [np.abs(e[rows]).mean() for e in (miss, ours)]
                rmse = [np.sqrt((e[rows] ** 2).mean()) for e in (miss, ours)]
                print(
                    f"    {horizon:7} {who:9} {rows.sum():6,}  {mae[0]:10.3f} {mae[1]:5.3f} "
                    f"{mae[1] / mae[0]:6.3f}  {rmse[0]:10.3f} {rmse[1]:5.3f} "
                    f"{rmse[1] / rmse[0]:6.3f}  {miss[rows].mean():+10.3f} "
                    f"{ours[rows].mean():+6.3f}"
                )


def compare_with_calendar(name: str, purchases: Purchases, cutoff: str, horizon: str) -> None:
    world = simulate_world(
        16_000,
        seed=4,
        start="2017-01-02",
        weeks=340,
        acquisition_weeks=340,
        purchases=purchases,
        tables=(),
    )
    tables = open_tables(world.transactions[world.transactions["timestamp"] >= ORIGIN])
    snapshot = build_snapshot(tables, cutoff)
    bought = build_outcomes(tables, Window(cutoff, horizon), grain="day")["purchases"]
    actual = bought.reindex(snapshot.customer_id).to_numpy(dtype=np.float64)
    old = (world.truth["first_purchase"] < ORIGIN).reindex(snapshot.customer_id).to_numpy()
    seasonal = ModifiedBetaGeoModel(calendar="estimate")
    models = {
        "none": ModifiedBetaGeoModel(),
        "old customers": LeftCensoredModel(),
        "calendar": seasonal,
        "both": LeftCensoredModel(base=seasonal),
    }
    print(
        f"\n{name} at {cutoff} + {horizon}: {old.sum():,} old and {(~old).sum():,} new customers, "
        f"{actual.sum():,.0f} purchases\n"
        "                 bias of the total           MAE                  RMSE\n"
        "                 old    new    all    old    new    all    old    new    all   fit, s"
    )
    for remedy, model in models.items():
        begin = time.perf_counter()
        model.fit(snapshot)
        took = time.perf_counter() - begin
        miss = model.expected_purchases(snapshot, horizon).to_numpy() - actual
        groups = (old, ~old, old | True)
        bias = [f"{miss[rows].sum() / actual[rows].sum():+7.3f}" for rows in groups]
        mae = [f"{np.abs(miss[rows]).mean():7.4f}" for rows in groups]
        rmse = [f"{np.sqrt((miss[rows] ** 2).mean()):7.4f}" for rows in groups]
        print(f"  {remedy:13}", *bias, *mae, *rmse, f"{took:7.2f}", sep="")


def main() -> None:
    warnings.simplefilter("ignore")
    try:
        journey = load_complete_journey().transactions
        compare(
            "Complete Journey", journey, "2017-07-01", ("13W", "26W"), ("auto", "4W", "8W", "half")
        )
    except SourceError as error:
        print(f"Complete Journey left out: {error}")
    cdnow = load_cdnow(sample=False)
    for origin, cutoff, horizon in (
        ("1997-05-01", "1998-01-01", "25W"),
        ("1997-07-01", "1998-01-01", "25W"),
        ("1997-09-01", "1998-03-01", "17W"),
    ):
        late = cdnow[cdnow["timestamp"] >= origin]
        compare(f"CDNOW from {origin}", late, cutoff, (horizon,), ("auto", "half"))
    compare(
        "Simulated shop", simulated(), "2021-01-04", ("13W", "26W", "52W"), ("auto", "4W", "half")
    )
    for name, purchases in OLD_AND_SEASONAL.items():
        for cutoff, horizon in (("2022-11-28", "4W"), ("2022-11-28", "26W"), ("2022-05-02", "13W")):
            compare_with_calendar(name, purchases, cutoff, horizon)


if __name__ == "__main__":
    main()
