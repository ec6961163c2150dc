"""Calendar effects: forecasts of a simulated shop with a season, with and without a profile.

The truth is an MBG/NBD whose purchase rate swings by half around a peak in mid-December. At each
cutoff the model is fitted to what came before (almost three years) and forecasts the next weeks.
The ratio is the model with an estimated profile over the plain one, below 1 is better.
"""

from __future__ import annotations

import time
import warnings

import numpy as np

from crmml.data.tables import open_tables
from crmml.features.labels import build_outcomes
from crmml.features.snapshot import build_snapshot
from crmml.features.windows import Window
from crmml.models import ModifiedBetaGeoModel
from crmml.testing.simulate import Purchases, simulate_world

TRUTH = Purchases(
    process="mbg_nbd", r=0.8, alpha=6, a=0.8, b=3.5, seasonal_amplitude=0.5, seasonal_peak=350
)


def main() -> None:
    warnings.simplefilter("ignore")
    world = simulate_world(
        20_000,
        seed=3,
        start="2021-01-04",
        weeks=200,
        acquisition_weeks=160,
        purchases=TRUTH,
        tables=(),
    )
    tables = open_tables(world.transactions)
    for cutoff, horizon in (("2023-11-27", "4W"), ("2023-11-27", "26W"), ("2024-04-29", "13W")):
        snapshot = build_snapshot(tables, cutoff)
        begin = time.perf_counter()
        plain = ModifiedBetaGeoModel().fit(snapshot)
        middle = time.perf_counter()
        model = ModifiedBetaGeoModel(calendar="estimate").fit(snapshot)
        end = time.perf_counter()
        bought = build_outcomes(tables, Window(cutoff, horizon), grain="day")["purchases"]
        actual = bought.reindex(snapshot.customer_id).to_numpy(dtype=np.float64)
        miss, ours = (
            m.expected_purchases(snapshot, horizon).to_numpy() - actual for m in (plain, model)
        )
        rmse = [float(np.sqrt((e**2).mean())) for e in (miss, ours)]
        week = np.arange(1, 53)
        truth = 1 + 0.5 * np.cos(2 * np.pi * ((week - 0.5) * 7 - 350) / 365.25)
        found = model.calendar_.table()["factor"].to_numpy()[:52]
        test = model.calendar_test()
        print(
            f"{cutoff} + {horizon}: {len(snapshot):,} customers, {actual.sum():,.0f} purchases\n"
            f"  total forecast / actual: plain {1 + miss.sum() / actual.sum():.3f}, "
            f"profile {1 + ours.sum() / actual.sum():.3f}\n"
            f"  RMSE: plain {rmse[0]:.4f}, profile {rmse[1]:.4f}, ratio {rmse[1] / rmse[0]:.3f}\n"
            f"  profile: {model.n_waves_} waves, largest error {np.abs(found - truth).max():.3f}, "
            f"likelihood ratio {test['statistic']:,.0f} with {test['degrees_of_freedom']:.0f} "
            f"degrees of freedom, dispersion {test['dispersion']:.2f}\n"
            f"  parameters: "
            + ", ".join(f"{k} {v:.3f} ({getattr(TRUTH, k)})" for k, v in model.params_.items())
            + f"\n  fit in s: plain {middle - begin:.3f}, profile {end - middle:.3f}"
        )


if __name__ == "__main__":
    main()
