"""Newcomers on the full CDNOW: process and clock in one fit against one inside the other, by turns.

The other way is that of version 0.1: a search over the rate at first and its half-life, which at
every step fits the whole process on the clock of that step, and eight differences and fits around
the optimum for the covariance. Both sides read the same gathered snapshot, whose counts are made
before the first turn, and must end at the same likelihood. Target: the joint fit takes at most half
of the time. For the BG/NBD of a million customers see fit.py.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from crmml.data.datasets import load_cdnow
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.models import NewcomerModel
from crmml.stats import bg_nbd, mle
from crmml.stats.newcomer import NewcomerEffect

SHORTEST, LONGEST, MOST = 1.0 / 7.0, 0.25, 20.0
"""Least decay in weeks, largest over the longest T, and largest change of the rate looked for."""


class Nested:
    """Log-likelihood as a function of the clock, the process being at its best for each."""

    def __init__(self, snapshot: Snapshot) -> None:
        found = snapshot.distinct()
        self.x, self.t_x, self.T = (np.asarray(v, float) for v in found.values.values())
        self.weights = found.counts.astype(float)
        self.scale = float(self.weights @ self.T / self.weights.sum())
        ages, counts = snapshot.provenance["purchase_times"].by_age()
        bought = counts > 0
        self.begin, self.bought = (ages[bought] - 1.0) / 7.0, counts[bought]
        self.n_fits = 0

    def rows(self, psi: np.ndarray) -> mle.Rows:
        """Histories on the clock, in time of order one."""
        effect, none = NewcomerEffect(*np.exp(psi).tolist()), np.zeros(len(self.T))
        t_x, T = (effect.passed(none, t) / self.scale for t in (self.t_x, self.T))
        return mle.Rows(self.x, np.minimum(t_x, T), T, self.weights)

    def log_rates(self, psi: np.ndarray) -> float:
        """Sum of the log rates at the purchases, which the process lacks."""
        width = np.full(len(self.begin), 1.0 / 7.0)
        passed = NewcomerEffect(*np.exp(psi).tolist()).passed(self.begin, width)
        # Of the unit of time, as the process is fitted with time of order one.
        return float(self.bought @ (np.log(passed / width) - math.log(self.scale)))

    def at(self, psi: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, slope by the clock, and the parameters of the process."""
        fitted = mle.fit_process(bg_nbd, self.rows(psi))
        self.n_fits += 1

        def by_clock(moved: np.ndarray) -> float:
            objective = mle.process_objective(bg_nbd, self.rows(moved), [])
            return objective(fitted.theta)[0] + self.log_rates(moved)

        steps = 1e-4 * np.eye(2)
        slope = [(by_clock(psi + step) - by_clock(psi - step)) / 2e-4 for step in steps]
        return fitted.log_likelihood + self.log_rates(psi), np.array(slope), fitted.theta

    def fit(self) -> tuple[np.ndarray, float]:
        """Clock and log-likelihood at the optimum; the covariance is found and dropped."""
        mle.fit_process(
            bg_nbd, mle.Rows(self.x, self.t_x / self.scale, self.T / self.scale, self.weights)
        )
        n = float(self.weights.sum())
        most, shortest = math.log(MOST), math.log(SHORTEST)
        longest = math.log(LONGEST * self.T.max())

        def loss(psi: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope, _ = self.at(psi)
            return -value / n, -slope / n

        with threadpool_limits(limits=1, user_api="blas"):
            tries = [
                minimize(
                    loss,
                    [start, (shortest + longest) / 2.0],
                    jac=True,
                    method="L-BFGS-B",
                    bounds=[(-most, most), (shortest, longest)],
                    options={"ftol": 1e-11, "gtol": 1e-7},
                )
                for start in (math.log(1.5), -math.log(1.5))
            ]
            best = min(tries, key=lambda found: float(found.fun))
            around = [[self.at(best.x + s)[1] for s in (step, -step)] for step in 0.01 * np.eye(2)]
        information = np.array([(down - up) / 0.02 for up, down in around])
        np.linalg.inv((information + information.T) / 2.0)
        mle.fit_process(bg_nbd, self.rows(best.x))  # the process at the clock that was found
        return best.x, -n * float(best.fun)


def main(turns: int) -> None:
    warnings.simplefilter("ignore")
    snapshot = build_snapshot(load_cdnow(), "1997-10-01")
    nested = Nested(snapshot)
    took: dict[str, list[float]] = {"joint": [], "nested": []}
    for _ in range(turns):
        began = time.perf_counter()
        model = NewcomerModel().fit(snapshot)
        took["joint"].append(time.perf_counter() - began)
        nested.n_fits, began = 0, time.perf_counter()
        psi, value = nested.fit()
        took["nested"].append(time.perf_counter() - began)
    ratio = np.median(took["nested"]) / np.median(took["joint"])
    first, decay = np.exp(psi)
    print(f"{len(snapshot):,} customers of CDNOW, BG/NBD with newcomers, {turns} turns")
    for what, seconds in took.items():
        print(f"  {what:<7} {np.median(seconds):8.3f} s (least {min(seconds):.3f} s)")
    print(f"  nested over joint {ratio:.1f} x (target: at least 2); {nested.n_fits} fits inside")
    print(
        f"  log-likelihood {model.log_likelihood_:.4f} and {value:.4f}, first {model.first_:.4f} "
        f"and {first:.4f}, half-life {model.half_life_:.4f} and {decay * math.log(2.0):.4f} weeks"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    main(parser.parse_args().turns)
