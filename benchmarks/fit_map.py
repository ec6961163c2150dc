"""BG/NBD fit of a million customers: crmml beside the MAP of pymc-marketing.

Target: at least 60 times the speed, with a log-likelihood no lower. pymc-marketing is no
dependency: give the interpreter of an environment that has it, ``python benchmarks/fit_map.py
--pymc-python PATH``; without it only crmml is printed. Building and compiling its model, and one
warm-up fit, are left out of its time; gathering the distinct histories is part of ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from crmml.models import BetaGeoModel
from fit import population

# Runs in the other environment, with its own default priors.
MAP = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
import pymc_marketing
from pymc_marketing.clv import BetaGeoModel

data = pd.read_parquet(sys.argv[1])
seconds = []
for turn in range(3):  # the first is the warm-up
    model = BetaGeoModel(data)
    model.build_model()
    start = time.perf_counter()
    model.fit(method="map", progressbar=False)
    seconds.append(time.perf_counter() - start)
values = {n: float(model.idata.posterior[n].mean()) for n in ("r", "alpha", "a", "b")}
print(json.dumps({"version": pymc_marketing.__version__, "seconds": seconds[1:], **values}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--pymc-python", help="interpreter of an environment with pymc-marketing")
    options = parser.parse_args()
    snapshot = population(options.customers)
    ours = []
    for _ in range(5):
        fresh = replace(snapshot)  # so that nothing gathered before is used again
        start = time.perf_counter()
        model = BetaGeoModel().fit(fresh)
        ours.append(time.perf_counter() - start)
    print(f"{len(snapshot):,} customers; crmml {min(ours):.3f} s, LL {model.log_likelihood_:.3f}")
    if options.pymc_python is None:
        print("pymc-marketing: not given (--pymc-python), so only crmml is shown")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.parquet"
        snapshot.frame.to_parquet(path)
        done = subprocess.run(
            [options.pymc_python, "-c", MAP, str(path)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(f"pymc-marketing failed:\n{done.stderr[-2000:]}")
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    found = {name: theirs[name] for name in model.params_}
    h = snapshot.distinct()
    x, t_x, T = (h.rows[name].to_numpy() for name in ("frequency", "recency", "T"))
    process = model._process
    rows = process.log_likelihood(process.make(list(found.values())), x, t_x, T)
    best = min(theirs["seconds"])
    print(f"pymc-marketing {theirs['version']} MAP {best:.3f} s, LL {(h.counts * rows).sum():.3f}")
    print(f"ratio {best / min(ours):.0f}")


if __name__ == "__main__":
    main()
