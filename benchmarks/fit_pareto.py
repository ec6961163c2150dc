"""Pareto/NBD fit of the full CDNOW base: crmml beside lifetimes, turn by turn in one process.

Target: at least 50 times as fast as lifetimes, with a log-likelihood no lower. Both start from
the customers' frequency, recency and T; crmml's time includes gathering distinct histories and
the standard errors, which lifetimes does not compute for this model.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np

from crmml.data.datasets import load_cdnow
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import ParetoNBDModel


def ours(snapshot: Snapshot) -> tuple[float, dict[str, float]]:
    start = time.perf_counter()
    model = ParetoNBDModel().fit(snapshot)
    return time.perf_counter() - start, model.params_


def theirs(snapshot: Snapshot) -> tuple[float, dict[str, float]]:
    from lifetimes import ParetoNBDFitter

    columns = (snapshot.frame[name] for name in ("frequency", "recency", "T"))
    start = time.perf_counter()
    model = ParetoNBDFitter().fit(*columns)
    return time.perf_counter() - start, dict(model.params_)


def log_likelihood(snapshot: Snapshot, params: dict[str, float]) -> float:
    """Log-likelihood of either fit by one and the same function."""
    from crmml.stats import pareto_nbd

    columns = (snapshot.frame[name].to_numpy() for name in ("frequency", "recency", "T"))
    return float(pareto_nbd.log_likelihood(pareto_nbd.Params(**params), *columns).sum())


def main(turns: int = 3) -> None:
    warnings.simplefilter("ignore")
    snapshot = build_snapshot(load_cdnow(), "1997-10-01")
    ours(snapshot)
    print(f"Pareto/NBD, {len(snapshot):,} customers of CDNOW, fit in seconds")
    seconds = []
    for turn in range(turns):
        mine, fitted = ours(snapshot)
        other, old = theirs(snapshot)
        seconds.append((mine, other))
        print(f"  turn {turn + 1}: crmml {mine:.3f}   lifetimes {other:.2f}", flush=True)
    mine, other = np.min(seconds, axis=0)
    print(
        f"  best: crmml {mine:.3f}, lifetimes {other:.2f}, ratio {other / mine:.0f} (target 50)\n"
        f"  log-likelihood: crmml {log_likelihood(snapshot, fitted):.4f}, "
        f"lifetimes {log_likelihood(snapshot, old):.4f}"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
