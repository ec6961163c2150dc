"""Forecasts on holdout: every candidate against the models of lifetimes, with paired intervals.

CDNOW (sample and full, 39 weeks after 1997-10-01) and the Complete Journey (13 and 26 weeks after
2017-07-01). The model to use is chosen on windows that closed before the cutoff; the holdout is
looked at once, to judge it. Target: the chosen model no worse than the better of lifetimes' BG/NBD
and Pareto/NBD in any column, and better in at least two.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from crmml.data.datasets import load_cdnow, load_complete_journey
from crmml.data.tables import Tables, open_tables
from crmml.features.windows import Window, rolling_windows
from crmml.metrics.bootstrap import Replicates
from crmml.metrics.table import metric_named
from crmml.training.backtest import run_backtest
from crmml.training.choose import choose

REFERENCES = ("lifetimes_bg_nbd", "lifetimes_pareto_nbd")
CANDIDATES = (
    "heuristic",
    "bg_nbd",
    "mbg_nbd",
    "pareto_nbd",
    "bg_nbd_plain",
    "mbg_nbd_plain",
    "regular",
    "bg_nbd/own_mean",
    "pareto_nbd/own_mean",
    "tweedie",
    "hurdle",
    "hybrid",
    "blend",
)
COLUMNS = (
    "purchases_mae",
    "purchases_rmse",
    "purchases_pearson",
    "purchases_bias",
    "cumulative_mape",
    "spend_bias",
    "spend_spearman",
    "spend_gini",
    "spend_decile_mape",
)
BESIDE = (
    "purchases_deviance",
    "purchases_mae_of_median",
    "crps",
    "log_score",
    "coverage_80",
    "purchases_top_decile_found",
)


BY_MEDIAN = "purchases_mae_of_median"
"""Beside the columns: the absolute error of the median, the forecast that makes it least. The
references forecast nothing but a mean, so theirs is that of the mean."""


def losses(found: Replicates, candidate: str, metric: str) -> np.ndarray | None:
    """Loss of a candidate: on the customers first, then in each replicate."""
    if (candidate, metric) not in found.rows:
        return None
    row = found.rows.index((candidate, metric))
    values = np.r_[found.values[row], found.draws[row]]
    return np.array([metric_named(metric).loss(value) for value in values.tolist()])


def compare_with_references(found: Replicates, candidate: str) -> pd.DataFrame:
    """Difference in loss to the best reference of each column, and a word for it."""
    rows = []
    for metric in (*COLUMNS, BY_MEDIAN):
        mine = losses(found, candidate, metric)
        same = "purchases_mae" if metric == BY_MEDIAN else metric
        theirs = {name: losses(found, name, same) for name in REFERENCES}
        known = {name: values for name, values in theirs.items() if values is not None}
        if mine is None or not known:
            continue
        best = min(known, key=lambda name: known[name][0])
        gap = mine - known[best]
        low, high = np.quantile(gap[1:], [0.05, 0.95])
        # Differences below half of the last digit that the references print are none; figures
        # that only describe an order are not resampled, and no verdict is given on them.
        word = (
            "not judged"
            if np.isnan(low)
            else "better"
            if high < -5e-4
            else "worse"
            if low > 5e-4
            else "no different"
        )
        rows.append((metric, best, gap[0], low, high, word))
    columns = ["metric", "best reference", "loss difference", "lower", "upper", "verdict"]
    return pd.DataFrame(rows, columns=columns).set_index("metric")


def choose_before(tables: Tables, cutoff: pd.Timestamp, n_boot: int) -> tuple[str, str]:
    """Choose on windows of a third of the history, the first third being history only."""
    days = (cutoff - tables.first_timestamp.normalize()).days // 3
    windows = rolling_windows(
        tables.first_timestamp,
        cutoff - pd.Timedelta(days=1),
        horizon=f"{days}D",
        min_history=f"{days}D",
    )
    found = run_backtest(tables, windows, CANDIDATES, n_boot=n_boot)
    for name, kept in found.clocks.items():
        print(f"{name} kept {kept}")
    choice = choose(found.windows)  # all of them: the holdout grades
    return choice.name, f"{choice.reason} (windows of {days} days)"


def judge_holdout(title: str, tables: Tables, window: Window, n_boot: int) -> None:
    start = time.process_time()
    chosen, reason = choose_before(tables, window.cutoff, n_boot)
    after = run_backtest(tables, [window], [*CANDIDATES, *REFERENCES], n_boot=n_boot)
    judged, itself = after.graded, choose(after.windows)
    total = judged.labelled.outcomes["purchases"].sum()
    print(f"\n## {title}: {len(judged.labelled):,} customers, {total:,} purchases in the holdout")
    board = after.leaderboard.pivot(index="candidate", columns="metric", values="value")
    shown = board[[name for name in (*COLUMNS, *BESIDE) if name in board]]
    print(shown.sort_values("purchases_deviance").round(3).to_string(na_rep="-"))
    for name, why in after.skipped.items():
        print(f"{name} was left out: {why}")
    hybrid = judged.fitted.get("hybrid")
    if hybrid is not None:
        print(
            f"hybrid: {hybrid.n_rounds_} trees; deviance per customer left out falls by "
            f"{hybrid.gain_:.4f}, standard error {hybrid.gain_error_:.4f}"
        )
    print(f"\nchosen before the cutoff: {reason}\nchosen on the holdout itself: {itself.reason}")
    for name in dict.fromkeys([chosen, itself.name, "hybrid"]):
        if name in judged.fitted:
            table = compare_with_references(judged.replicates, name)
            print(f"{name} less the best reference (negative is better; 90 % paired intervals)")
            print(table.round(4).to_string())
    words = {
        name: compare_with_references(judged.replicates, name)["verdict"]
        .drop(BY_MEDIAN, errors="ignore")
        .value_counts()
        for name in judged.fitted
        if name not in REFERENCES
    }
    counted = pd.DataFrame(words).T.fillna(0).astype(int)
    print("\ncolumns in which each candidate differs from the best reference")
    print(counted.to_string())
    print(f"CPU {time.process_time() - start:.0f} s", flush=True)


def main(which: str = "all", n_boot: int = 500) -> None:
    pd.set_option("display.width", 250)
    if which in ("all", "sample"):
        tables = open_tables(load_cdnow(sample=True))
        judge_holdout("CDNOW sample, 39 weeks", tables, Window("1997-10-01", "39W"), n_boot)
    if which in ("all", "full"):
        tables = open_tables(load_cdnow())
        judge_holdout("CDNOW full, 39 weeks", tables, Window("1997-10-01", "39W"), n_boot)
    if which in ("all", "journey"):
        tables = open_tables(load_complete_journey().transactions)
        for horizon in ("13W", "26W"):
            window = Window("2017-07-01", horizon)
            judge_holdout(f"Complete Journey, {horizon}", tables, window, n_boot)


if __name__ == "__main__":
    main(*sys.argv[1:2])
