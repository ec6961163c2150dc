"""Lifetime value of a million customers: crmml beside lifetimes, turn by turn in one process.

Targets: CLV, P(alive) and expected purchases at least 5 times as fast as lifetimes; CLV with an
80 % interval under 10 s; purchase quantiles at three levels under 20 s with a peak below 2 GB.
The three predictions start from a snapshot in which nothing is gathered yet. ``--customers`` makes
it smaller.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from crmml.features.snapshot import Snapshot
from crmml.models.value.lifetime_value import LifetimeValueModel

R, ALPHA, A, B = 0.25, 4.79, 0.72, 2.16
P, Q, GAMMA = 6.25, 3.74, 15.44


def draw_snapshot(n: int, seed: int = 0) -> Snapshot:
    """Draw customers from BG/NBD and Gamma-Gamma with the parameters of CDNOW, daily grain."""
    rng = np.random.default_rng(seed)
    T = rng.integers(39 * 7, 78 * 7, n) / 7.0
    rate, drop = rng.gamma(R, 1.0 / ALPHA, n), rng.beta(A, B, n)
    x, last, active = np.zeros(n), np.zeros(n), np.arange(n)
    clock = np.zeros(n)
    while len(active):
        with np.errstate(divide="ignore"):
            clock[active] += rng.exponential(size=len(active)) / rate[active]
        active = active[np.ceil(clock[active] * 7.0) / 7.0 <= T[active]]
        day = np.ceil(clock[active] * 7.0) / 7.0
        x[active] += day > last[active]
        last[active] = day
        active = active[rng.uniform(size=len(active)) > drop[active]]
    nu = rng.gamma(Q, size=n) / GAMMA
    m = np.where(x > 0, rng.gamma(P * np.maximum(x, 1)) / nu / np.maximum(x, 1), 0.0)
    frame = pd.DataFrame({"customer_id": np.arange(n), "frequency": x, "recency": last, "T": T})
    return Snapshot.from_frame(
        frame.assign(monetary_value=m.round(2)), cutoff="1998-07-01", time_unit="week"
    )


def timed(label: str, work: object) -> tuple[tuple[float, float], object]:
    start, busy = time.perf_counter(), time.process_time()
    result = work()  # type: ignore[operator]
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**30 if sys.platform == "darwin" else 2**20
    )
    print(
        f"  {label:<58} {seconds:7.2f} s (processor {busy:6.2f} s)  peak so far {peak:.2f} GB",
        flush=True,
    )
    return (seconds, busy), result


def with_lifetimes(snapshot: Snapshot, model: LifetimeValueModel) -> pd.Series:
    """CLV, P(alive) and expected purchases by the archived library, at the same parameters."""
    from lifetimes import BetaGeoFitter, GammaGammaFitter

    purchases, spend = BetaGeoFitter(), GammaGammaFitter()
    purchases.params_ = pd.Series(model.purchase_model_.params_)
    purchases.predict = purchases.conditional_expected_number_of_purchases_up_to_time
    params = model.spend_model_.params_
    spend.params_ = pd.Series({"p": params["p"], "q": params["q"], "v": params["gamma"]})
    f = snapshot.frame
    columns = f["frequency"], f["recency"], f["T"]
    purchases.conditional_probability_alive(*columns)
    purchases.predict(52, *columns)
    return spend.customer_lifetime_value(
        purchases,
        *columns,
        f["monetary_value"],
        time=12,
        discount_rate=1.1 ** (30 / 365) - 1,
        freq="W",
    )


def main(n: int) -> None:
    warnings.simplefilter("ignore")
    snapshot = draw_snapshot(n)
    distinct = len(snapshot.distinct().counts)
    print(
        f"{n:,} customers, {distinct:,} distinct histories, x up to "
        f"{snapshot.frame['frequency'].max():.0f}"
    )
    model = LifetimeValueModel(margin=1.0)
    timed("fit of both models with posteriors", lambda: model.fit(snapshot))

    def ours() -> pd.Series:
        fresh = replace(snapshot)
        model.purchase_model_.probability_alive(fresh)
        model.purchase_model_.expected_purchases(fresh, "52W")
        return model.clv(fresh, "360D")

    mine, values = timed("crmml: CLV, P(alive), expected purchases", ours)
    timed(
        "crmml: CLV with its 80 % interval",
        lambda: (model.clv(snapshot, "52W"), model.clv_quantiles(snapshot, "52W", [0.1, 0.9])),
    )
    timed(
        "crmml: purchase quantiles at .1 .5 .9, posterior",
        lambda: model.purchase_model_.purchase_quantiles(
            snapshot, "52W", [0.1, 0.5, 0.9], model.purchase_posterior_
        ),
    )
    timed(
        "crmml: purchase quantiles at .1 .5 .9, estimates as certain",
        lambda: model.purchase_model_.purchase_quantiles(snapshot, "52W", [0.1, 0.5, 0.9]),
    )
    theirs, old = timed(
        "lifetimes: CLV, P(alive), expected purchases", lambda: with_lifetimes(snapshot, model)
    )
    print(
        f"  ratio {theirs[0] / mine[0]:.1f}, of processor time {theirs[1] / mine[1]:.1f} "
        f"(target 5); sum of CLV {values.sum():,.0f} against "
        f"{old.sum():,.0f} (lifetimes discounts month by month of 30 days)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    main(parser.parse_args().customers)
