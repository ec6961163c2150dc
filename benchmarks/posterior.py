"""Posterior of BG/NBD and Gamma-Gamma on CDNOW: crmml beside NUTS, with the same priors.

Targets: means within 0.1 posterior sd, sds within 5 %, at least 100 times the speed. NUTS comes
from pymc-marketing, which is no dependency: give the interpreter of an environment that has it,
``python benchmarks/posterior.py --pymc-python PATH``; without it only crmml is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd

from crmml.data.datasets import load_cdnow
from crmml.features.snapshot import Snapshot
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.predictive import PRIOR_SD, purchase_posterior, spend_posterior
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.stats.posterior import Posterior

# Runs in the other environment. Log-normal priors are normal priors on the logarithms.
NUTS = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import arviz
import pandas as pd
import pymc_marketing
from pymc_extras.prior import Prior
from pymc_marketing.clv import BetaGeoModel, GammaGammaModel

folder, priors = sys.argv[1], json.loads(sys.argv[2])
data = pd.read_parquet(f"{folder}/snapshot.parquet")
repeat = data[(data["frequency"] > 0) & (data["monetary_value"] > 0)]
found = {"version": pymc_marketing.__version__}
for name, model, rows, renamed in (
    ("bg_nbd", BetaGeoModel, data, {}),
    ("gamma_gamma", GammaGammaModel, repeat, {"gamma": "v"}),
):
    config = {
        renamed.get(p, p): Prior("LogNormal", mu=mu, sigma=sd)
        for p, (mu, sd) in priors[name].items()
    }
    model = model(rows, model_config=config)
    model.build_model()
    start = time.perf_counter()
    model.fit(
        method="mcmc", chains=4, cores=2, draws=4000, tune=1000, random_seed=1, progressbar=False
    )
    seconds = time.perf_counter() - start
    draws = model.idata.posterior[[renamed.get(p, p) for p in priors[name]]]
    found[name] = {
        "seconds": seconds,
        "size": float(min(arviz.ess(draws).to_array())),
        "mean": {p: float(draws[renamed.get(p, p)].mean()) for p in priors[name]},
        "sd": {p: float(draws[renamed.get(p, p)].std()) for p in priors[name]},
    }
print("RESULT" + json.dumps(found))
"""


def cdnow_sample() -> Snapshot:
    """Gather the 2,357 customers of the 1/10 sample to 1997-09-30: daily grain, weeks."""
    lines = load_cdnow(sample=True)
    lines = lines[lines["timestamp"] < "1997-10-01"]
    lines = lines.assign(day=lines["timestamp"].dt.normalize())
    days = lines.groupby(["customer_id", "day"], as_index=False)["amount"].sum()
    days["repeat"] = days.duplicated("customer_id")
    by = days.groupby("customer_id")
    first, last = by["day"].min(), by["day"].max()
    x = by["repeat"].sum()
    spent = days[days["repeat"]].groupby("customer_id")["amount"].sum().reindex(x.index)
    frame = pd.DataFrame(
        {
            "frequency": x,
            "recency": (last - first).dt.days / 7.0,
            "T": (pd.Timestamp("1997-09-30") - first).dt.days / 7.0,
            "monetary_value": (spent / x).fillna(0.0).astype(float),
        }
    )
    return Snapshot.from_frame(frame, cutoff="1997-10-01", time_unit="week")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pymc-python", help="interpreter of an environment with pymc-marketing")
    python = parser.parse_args().pymc_python
    warnings.simplefilter("ignore")
    snapshot = cdnow_sample()
    prior = {
        "bg_nbd": dict.fromkeys(("r", "alpha", "a", "b"), (0.0, PRIOR_SD)),
        "gamma_gamma": dict.fromkeys(("p", "q", "gamma"), (0.0, PRIOR_SD)),
    }
    ours: dict[str, tuple[float, Posterior]] = {}
    for name, model, draw in (
        ("bg_nbd", BetaGeoModel(), purchase_posterior),
        ("gamma_gamma", GammaGammaModel(), spend_posterior),
    ):
        model.fit(snapshot)
        start = time.perf_counter()
        posterior = draw(model, snapshot, prior=prior[name], n_draws=4000, n_proposals=1024)
        seconds = time.perf_counter() - start
        ours[name] = seconds, posterior
        print(
            f"{name}: {posterior.method}, Pareto k {posterior.pareto_k:.2f}, effective size "
            f"{posterior.effective_sample_size:.0f}, {seconds:.2f} s"
        )
        for p in posterior.names:
            print(f"  {p:<6} mean {posterior.mean[p]:9.4f}  sd {posterior.sd[p]:8.4f}")
    if python is None:
        print("pymc-marketing: not given (--pymc-python), so only crmml is shown")
        return
    with tempfile.TemporaryDirectory() as folder:
        snapshot.frame.to_parquet(Path(folder) / "snapshot.parquet")
        done = subprocess.run(
            [python, "-c", NUTS, folder, json.dumps(prior)], capture_output=True, text=True
        )
    if "RESULT" not in done.stdout:
        sys.exit(f"pymc-marketing failed:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout.split("RESULT")[1])
    print(f"pymc-marketing {found['version']}, NUTS, 4 chains of 4,000 draws after 1,000")
    for name, (seconds, posterior) in ours.items():
        theirs = found[name]
        print(
            f"{name}: NUTS {theirs['seconds']:.1f} s (least effective size {theirs['size']:.0f}), "
            f"{theirs['seconds'] / seconds:.0f} times ours"
        )
        for p in posterior.names:
            gap = (posterior.mean[p] - theirs["mean"][p]) / theirs["sd"][p]
            wide = posterior.sd[p] / theirs["sd"][p] - 1.0
            print(f"  {p:<6} mean {gap:+.3f} sd apart (target 0.1), sd {wide:+.1%} (target 5 %)")


if __name__ == "__main__":
    main()
