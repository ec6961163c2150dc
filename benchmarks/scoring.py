"""Scores of a million customers from 10 million lines, in batches beside one piece.

A model is trained on 10,000 customers of a simulated world; another world of ``--customers`` is
scored with it, from the Parquet file to the file of scores. Each side runs in a process of its own;
processor time and peak are those of the process, imports and all. The files of both sides must be
equal to the byte. Then the fit of `LifetimeValueModel` on the 23,570 customers of CDNOW, and what
its posteriors take when an interval first asks for them. Asked: at a million customers under 45 s
of processor time and 1.5 GB in batches.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

LEARN_FROM = 10_000
HORIZON = "13W"


def simulate(path: Path, customers: int, seed: int) -> int:
    from crmml.testing.simulate import Purchases, Spend, simulate_world

    world = simulate_world(
        customers,
        seed=seed,
        start="2022-01-03",
        weeks=156,
        acquisition_weeks=104,
        purchases=Purchases(r=0.9, alpha=9, a=0.8, b=5),
        spend=Spend(lines_per_purchase=1.57, return_rate=0.0),
        tables=(),
    )
    world.transactions.to_parquet(path, index=False)
    return len(world.transactions)


def run_training(folder: Path, customers: int) -> dict[str, object]:
    from crmml.storage.bundles import save_bundle
    from crmml.training.pipeline import train

    simulate(folder / "known.parquet", min(customers, LEARN_FROM), seed=2)
    config = {
        "data": {"transactions": {"path": str(folder / "known.parquet")}},
        "outcome": {"horizon": HORIZON},
        "value": {"margin": 0.3},
        "actions": {"budget": customers / 10, "holdout_share": 0.05},
    }
    save_bundle(train(config).bundle, folder / "bundle")
    return {}


def run_simulation(folder: Path, customers: int) -> dict[str, object]:
    return {"lines": simulate(folder / "lines.parquet", customers, seed=1)}


def _write(folder: Path, side: str) -> dict[str, object]:
    """Score the world and write the scores, in batches or in one piece."""
    from crmml.scoring.batches import score_in_batches
    from crmml.scoring.scorer import open_for, score, scoring_cutoff
    from crmml.storage.bundles import load_bundle
    from crmml.storage.scores import write_scores

    bundle = load_bundle(folder / "bundle")
    tables = open_for(bundle, str(folder / "lines.parquet"))
    cutoff = scoring_cutoff(bundle, tables, None, whole=True)
    if side == "batches":
        with score_in_batches(bundle, tables, cutoff) as scored:
            write_scores(scored, folder / side, cutoff)
    else:
        write_scores(score(bundle, tables, cutoff).table, folder / side, cutoff)
    (file,) = (folder / side).rglob("scores.parquet")
    with file.open("rb") as scores:  # in pieces: its size is no part of the peak
        return {"digest": hashlib.file_digest(scores, "sha256").hexdigest()}


def run_fit(folder: Path, customers: int) -> dict[str, object]:
    from crmml.data.datasets import load_cdnow
    from crmml.features.snapshot import build_snapshot
    from crmml.models import LifetimeValueModel

    snapshot = build_snapshot(load_cdnow(), "1997-10-01")
    begin = time.process_time()
    model = LifetimeValueModel(margin=0.3).fit(snapshot)
    fitted = time.process_time()
    _ = model.spend_posterior_, model.purchase_posterior_
    return {"fit": fitted - begin, "draws": time.process_time() - fitted, "n": len(snapshot)}


SIDES: dict[str, Callable[[Path, int], dict[str, object]]] = {
    "training": run_training,
    "simulation": run_simulation,
    "batches": lambda folder, customers: _write(folder, "batches"),
    "one piece": lambda folder, customers: _write(folder, "one piece"),
    "fit": run_fit,
}


def run_side(name: str, folder: Path, customers: int) -> None:
    """Run one side in this process and print the figures as JSON."""
    warnings.simplefilter("ignore")
    found = SIDES[name](folder, customers)
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["cpu"] = used.ru_utime + used.ru_stime
    found["peak"] = used.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side, options.folder, options.customers)
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            # In a process of its own: a child inherits the peak of the process that starts it.
            command = [sys.executable, __file__, "--side", side, "--folder", folder]
            command.append(f"--customers={options.customers}")
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[side] = json.loads(done.stdout.splitlines()[-1])
    batches, whole, fit = found["batches"], found["one piece"], found["fit"]
    print(f"{options.customers:,} customers, {found['simulation']['lines']:,} lines")
    print(f"  {'':10}  processor s  peak GB")
    for name in ("batches", "one piece"):
        print(f"  {name:10}  {found[name]['cpu']:11.1f}  {found[name]['peak']:7.2f}")
    print(f"  {'asked':10}  {'45.0':>11}  {'1.50':>7}   (in batches, at 1,000,000 customers)")
    print(
        f"  batches over one piece: {batches['cpu'] / whole['cpu']:.2f} of the processor time, "
        f"{batches['peak'] / whole['peak']:.2f} of the peak; "
        f"the same bytes: {'yes' if batches['digest'] == whole['digest'] else 'NO'}"
    )
    print(
        f"  LifetimeValueModel.fit on {fit['n']:,} customers of CDNOW: {fit['fit']:.2f} s of the "
        f"processor; its draws, when first asked for: {fit['draws']:.2f} s (1.6 s together before)"
    )


if __name__ == "__main__":
    main()
