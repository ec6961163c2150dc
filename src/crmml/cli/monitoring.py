"""The command that watches released scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crmml.cli import display, jobs

if TYPE_CHECKING:
    from crmml.config import Config
    from crmml.scorecard.monitor import Monitoring


def monitor(
    scores: Path,
    config: Config,
    *,
    out: Path | None,
    horizon: str | None,
    value_horizon: str | None,
    as_json: bool,
    tracking_uri: str | None,
) -> bool:
    """Compare, show, store and log; returns whether there is an alarm."""
    from crmml.reports import report
    from crmml.scorecard.monitor import monitor as look
    from crmml.tracking.monitoring import log_monitoring
    from crmml.tracking.runs import log_report, start

    if out is not None:
        jobs._check_writable(out)
    with jobs.working() as say:
        say("comparing scores with what happened")
        found = look(scores, config, horizon=horizon, value_horizon=value_horizon)
        figures = _figures(found)
        say("logging to MLflow")
        home = start(tracking_uri or config.tracking.uri, config.tracking.experiment)
        params = {"scores": scores.name, "horizon": horizon or "as written", "name": config.name}
        run = log_monitoring(found, home, name=config.name, params=params, figures=figures)
        log_report(run, report(scores, monitoring=found).html, home)
        if out is not None:
            say("writing")
            _write(found, figures, out)
    if as_json:
        display.show_json(found.to_dict())
    else:
        show_monitoring(found)
        display.say(f"MLflow run {run}" + ("" if out is None else f"; tables in {out}"))
    return not found.quiet


def show_monitoring(found: Monitoring) -> None:
    """Print the closed windows, the alarms and what to do."""
    grid = display._grid(
        "Closed windows", "cutoff", "model", "customers", "left\n(said)", "left\n(was)", "AUC",
        "rule", "lift", "purchases\nbias", "spend\nbias", "CLV\nbias", "in interval",
    )  # fmt: skip
    for row in found.windows.tail(12).to_dict("records"):
        cells = [f"{row[n]:.1%}" for n in ("churn_predicted", "churn_realised")]
        cells += [f"{row[n]:.3f}" for n in ("auc", "auc_rule")] + [f"{row['lift']:.2f}"]
        cells += [f"{row[n]:+.1%}" for n in ("purchases_bias", "spend_bias", "clv_bias")]
        cells.append(f"{row['coverage']:.1%}")
        known = ["-" if "nan" in cell else cell for cell in cells]
        version = str(row["model_version"])[:8] or "-"
        grid.add_row(str(row["cutoff"].date()), version, f"{row['customers']:,}", *known)
    display.console.print(grid)
    for row in found.current.to_dict("records"):
        display.say(f"ALARM ({row['kind']}): {row['text']}; {row['do']}")
    earlier = len(found.alarms) - len(found.current)
    if earlier:
        display.say(f"{earlier} alarms are of earlier windows or score sets: see the table alarms")
    for note in found.notes:
        display.say(f"* {note}")
    display.say(found.sentence()[0].upper() + found.sentence()[1:])


def _figures(found: Monitoring) -> dict[str, Any]:
    from matplotlib.figure import Figure

    from crmml.plots.monitoring import plot_buckets, plot_gaps

    figure = Figure(figsize=(12.0, 4.8), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_buckets(found.groups, ax=left)
    plot_gaps(found.groups, ax=right)
    return {"monitor": figure}


def _write(found: Monitoring, figures: dict[str, Any], out: Path) -> None:
    from crmml.atomic import replacing
    from crmml.storage.scores import write_csv

    out.mkdir(parents=True, exist_ok=True)
    for name, table in found.tables().items():
        with replacing(out / f"{name}.csv") as target:
            write_csv(table, target)
    with replacing(out / "monitor.json") as target:
        target.write_text(json.dumps(found.to_dict(), ensure_ascii=False, indent=1), "utf-8")
    jobs.save_figures(figures, out)
