"""What the commands do: open, call, show, store. Loaded only when a command runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crmml.atomic import named
from crmml.cli import display, stop_if_interrupted
from crmml.config import Config, parse_config
from crmml.exceptions import ParameterError, StorageError

if TYPE_CHECKING:
    from crmml.data.tables import Tables
    from crmml.scoring.bundle import ScoringBundle
    from crmml.scoring.scorer import Scores
    from crmml.tracking.registry import Reevaluation
    from crmml.tracking.runs import LoggedModel
    from crmml.training.pipeline import TrainingResult


def init(
    files: list[str], out: Path, *, table: str | None, force: bool, as_json: bool = False
) -> None:
    """Propose a mapping for each file, show them, and write the configuration."""
    from crmml.atomic import replacing
    from crmml.data.first_look import take_look
    from crmml.data.mapping import propose_tables
    from crmml.data.schema import TABLES

    _check_writable(out)
    if out.exists() and not force:
        raise StorageError(f"{out} is there already; give another --out, or --force to replace it")
    if table is not None:
        if len(files) > 1:
            rule = "given with a single file; write FILE::TABLE where there are several"
            raise ParameterError("--table", rule, table)
        files = [f"{files[0]}::{table}"]
    asked: list[tuple[str, str | None]] = []
    for file in files:
        name, equals, path = file.partition("=")
        said = bool(equals) and name in {schema.name for schema in TABLES}
        asked.append((path, name) if said else (file, None))
    with working() as say:
        say("looking at the columns")
        proposals = propose_tables(asked)
        say("reading")
        looks = [take_look(proposal) for proposal in proposals]
        proposals = [look.proposal for look in looks]
    text = display.config_text(proposals, relative_to=out.resolve().parent)
    with replacing(out) as target:
        target.write_text(text, encoding="utf-8")
    chosen = [f"data.{p.schema.name}.columns.{name}" for p in proposals for name in p.missing]
    chosen += [f"data.{p.schema.name}.timezone" for p in proposals if p.needs_timezone]
    if as_json:
        tables = [look.to_dict() for look in looks]
        display.show_json({"configuration": str(out), "choose": chosen, "tables": tables})
        return
    for look in looks:
        display.show_look(look)
    first = f"First choose {', '.join(chosen)} in it. " if chosen else ""
    display.say(f"Wrote {out}. {first}Next: crmml check --config {out}")


def check(config: Config, *, as_json: bool = False) -> None:
    """Validate the data and print the profile: of the log where there is one, and of the rest."""
    from crmml.data.profile import compute_profile, list_additions, refuse_few_repeats
    from crmml.data.sections import opened, profile_tables
    from crmml.training.opening import open_configured

    with working() as say:
        say("reading and validating")
        tables = open_configured(config)
        say("profiling")
        if "transactions" not in opened(tables):
            sections, additions = profile_tables(tables), list_additions(tables)
            profile = None
        else:
            profile = compute_profile(
                tables,
                history=config.backtest.min_history,
                horizon=config.outcome.horizon,
                grain=config.snapshot.grain,
            )
            refuse_few_repeats(profile.buyers, profile.one_time_share, config.data.few_repeats)
    if profile is not None:
        display.show_json(profile.to_dict()) if as_json else display.show_profile(profile)
        return
    told = no_log_here(tables)
    if as_json:
        display.show_json({"tables": tables.counts, "reach": told})
        return
    display.show_sections(sections)
    display.show_additions(additions)
    display.say(f"* {told}")


def no_log_here(tables: Mapping[str, Any]) -> str:
    """Say what can be done with tables among which there is no log."""
    told = "there is no log of transactions: this version trains on a log only"
    if "labelled" in tables:
        told += (
            "; of a labelled table it checks ids and outcome, and in Python Snapshot.from_frame "
            "takes its columns as features of the churn models"
        )
    return told


def train(config: Config) -> None:
    """Train, log, store the folder, and show what came out."""
    result, logged, folder = _train_and_log(config)
    display.show_training(result, _notes_beside(folder))
    display.show_pyramids(_pyramids(result.scores))
    named = "" if logged.name == "crmml" else f" --name {logged.name}"
    where = f" --tracking-uri {tracking_address(config)}" if config.tracking.uri else ""
    display.say(
        f"Registered {logged.name} version {logged.version}, alias challenger; folder {folder}. "
        f"Next: crmml promote{named}{where}"
    )


def backtest(config: Config, out: Path | None) -> None:
    """Compare the candidates, show the table, and store it if asked."""
    from crmml.training.choose import process_for_value
    from crmml.training.evaluate import DECIDED_BY
    from crmml.training.fit import age_of_base
    from crmml.training.pipeline import backtest_configured

    if out is not None:
        _check_writable(out)
    with working() as say:
        found = backtest_configured(config, announce=say)
    display.show_backtest(found)
    process = process_for_value(found.chosen, found.leaderboard)
    model = getattr(found.graded.fitted.get(process), "purchase_model_", None)
    notes = (*age_of_base(found.graded.labelled.snapshot, process, model), *found.notes)
    display.show_notes(notes, None if out is None else out / "notes.json")
    if out is not None:
        from matplotlib.figure import Figure

        from crmml.atomic import replacing
        from crmml.notes import to_json
        from crmml.plots import plot_leaderboard
        from crmml.storage.scores import write_csv

        figure = Figure(figsize=(7.5, 4.4), dpi=110, layout="constrained")
        plot_leaderboard(
            found.leaderboard, metric=DECIDED_BY, chosen=found.chosen, ax=figure.subplots()
        )
        write_csv(found.leaderboard, out / "leaderboard.csv")
        with replacing(out / "notes.json") as target:
            target.write_text(to_json(notes), encoding="utf-8")
        save_figures({"leaderboard": figure}, out)
        display.say(f"Wrote {out / 'leaderboard.csv'} and {out / 'leaderboard.png'}")


def promote(name: str | None, config: Config | None, tracking_uri: str | None) -> None:
    """Let the challenger meet the champion, on the data of the configuration if there is one."""
    from crmml.tracking.registry import promote as meet

    if config is None:
        display.say(meet(name or "crmml", uri=tracking_uri).reason)
        return
    with working() as say:
        say("reading and validating")
        again = _reevaluation(config)
        say("comparing")
        found = meet(name or config.name, again=again, uri=tracking_uri or config.tracking.uri)
    display.say(found.reason)


def score(
    *,
    model: str | None,
    config: Config | None,
    transactions: str | None,
    cutoff: str | None,
    out: Path,
    file_format: str,
    strict: bool,
    tracking_uri: str | None,
    lang: str = "en",
) -> None:
    """Score and write."""
    from crmml.features.windows import read_moment

    if file_format not in ("parquet", "csv"):
        raise ParameterError("--format", "parquet or csv", file_format)
    moment = None if cutoff is None else read_moment(cutoff, "--cutoff")
    _check_writable(out)
    with working() as say:
        bundle, tables, given = open_to_score(model, config, transactions, tracking_uri, say)
        from crmml.reports.lists import Lists
        from crmml.scoring.batches import score_in_batches
        from crmml.scoring.scorer import scoring_cutoff
        from crmml.storage.scores import read_control, read_plans, write_scores

        say("scoring")
        moment = scoring_cutoff(bundle, tables, moment, whole=True)
        plans = read_plans(out, moment)
        control = read_control(out, moment, bundle.policy.experiment)
        lists = Lists(bundle, tables)
        how: dict[str, Any] = {"plans": plans, "control": control, "strict": strict, "lang": lang}
        with score_in_batches(bundle, tables, moment, **how, **given) as scores:
            say("writing")
            batches = lists.passing(scores)
            written = write_scores(batches, out, scores.cutoff, file_format)  # type: ignore[arg-type]
            listed = None
            if out.suffix != ".duckdb":
                listed = lists.write(out, scores.cutoff, scores.absent, scores.allocation)
            known = [n for n in ("net_clv", "profit_to_date") if n not in scores.absent]
            pyramids = display.pyramid_table(scores.gather(known))
    silent = (scores.cutoff - tables.last_timestamp).days
    if silent > 7:
        display.remark(
            f"the data end {silent:,} days before the cutoff, so customers look that much more "
            "inactive than they may be"
        )
    if lists.tiers is not None:
        display.show_tiers(lists.tiers, scores.cutoff, scores.allocation, scores.absent, pyramids)
    display.say(f"Wrote {len(scores):,} customers to {written}")
    if listed is not None:
        display.say(f"Lists for people lie in {listed}; crmml report makes a page of them")


def _pyramids(scores: Scores) -> pd.DataFrame | None:
    """Tabulate the pyramids of scores; None of a log without amounts, whose counts are no money."""
    return None if "profit_to_date" in scores.absent else display.pyramid_table(scores.table)


def open_to_score(
    model: str | None,
    config: Config | None,
    transactions: str | None,
    tracking_uri: str | None,
    say: Callable[[str], None],
) -> tuple[ScoringBundle, Tables, dict[str, Any]]:
    """Load a bundle and open the data that it is to score, with the settings that count then."""
    if (config is None) == (transactions is None):
        raise ParameterError("the data to score", "one of --config and --transactions", None)
    model = model or f"models:/{config.name if config else 'crmml'}@champion"
    say(f"loading {model}")
    from crmml.scoring.scorer import open_for
    from crmml.training import settings_at_score
    from crmml.training.opening import open_configured

    bundle = load_model(model, tracking_uri or (config.tracking.uri if config else None))
    if config is None:
        say("reading and validating")
        return bundle, open_for(bundle, transactions), {}
    settings_at_score.check_settings_at_score(config, bundle)
    given = settings_at_score.honoured_settings(config)
    say("reading and validating")
    policies = settings_at_score.policies_at_score(config, bundle)
    return bundle, open_configured(config, policies=policies), given


def demo(out: Path) -> None:
    """Train, promote, score and draw, on full CDNOW."""
    from crmml.data.datasets import load_cdnow
    from crmml.plots.gallery import training_figures
    from crmml.reports import Lists, write_report
    from crmml.scoring.scorer import score as score_tables
    from crmml.storage.scores import write_scores
    from crmml.tracking.registry import promote as meet

    _check_writable(out)
    config = parse_config(DEMO)
    display.say(
        "CDNOW: 23,570 customers of a music shop, 69,659 order lines, January 1997 to June 1998"
    )
    result, logged, folder = _train_and_log(config)
    promotion = meet(config.name, uri=config.tracking.uri)
    with working() as say:
        say("scoring with the champion")
        bundle = load_model(f"models:/{config.name}@champion", config.tracking.uri)
        scores = score_tables(bundle, load_cdnow(), result.scores.snapshot.cutoff)
        written = write_scores(scores.table, out, scores.snapshot.cutoff)
        lists = Lists(bundle)
        lists.add(scores.table)
        allocation = scores.recommendation.allocation
        lists.write(out, scores.snapshot.cutoff, scores.absent, allocation)
        page = write_report(out, out)
        say("drawing")
        pictures = save_figures(training_figures(result), out / "plots")
    display.show_training(result, _notes_beside(folder))
    display.say(promotion.reason)
    pyramids = _pyramids(scores)
    if lists.tiers is not None:
        moment = scores.snapshot.cutoff
        display.show_tiers(lists.tiers, moment, allocation, scores.absent, pyramids)
    display.show_places(
        {
            "scores": written,
            "plots": f"{out / 'plots'} ({', '.join(sorted(p.stem for p in pictures))})",
            "bundle": folder,
            "MLflow": f"{tracking_address(config)}, run {logged.run_id}",
            "report": f"{page} (open it in a browser)",
            "open it": f"{_command('mlflow')} ui --backend-store-uri {tracking_address(config)}",
        }
    )


DEMO = {
    "data": {"transactions": {"dataset": "cdnow"}},
    "outcome": {"horizon": "13W"},
    "value": {"margin": 0.30},
    "actions": {"budget": 1000, "holdout_share": 0.05},
}


def load_model(model: str, uri: str | None) -> ScoringBundle:
    """Load a bundle from a folder, or from the registry."""
    if model.startswith("models:/"):
        from crmml.tracking.registry import load_registered

        return load_registered(model, uri=uri)
    from crmml.storage.bundles import load_bundle

    return load_bundle(model)


def save_figures(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Write each figure as a PNG, whole or not at all."""
    from crmml.atomic import replacing

    written = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with replacing(path) as target:
            figure.savefig(target, format="png", metadata={"Software": None})
        written.append(path)
    return written


def tracking_address(config: Config) -> str:
    """Say where MLflow keeps the runs, without a password."""
    from crmml.tracking.runs import DEFAULT_URI, masked

    return masked(config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show what is being done, on a terminal only; yields a function to announce it."""
    console = display.errors
    if not console.is_terminal:
        yield lambda _: stop_if_interrupted()
        return
    with console.status("starting") as status:

        def say(text: str) -> None:
            stop_if_interrupted()
            status.update(text)

        yield say


def _train_and_log(config: Config) -> tuple[TrainingResult, LoggedModel, Path]:
    from crmml.atomic import replacing
    from crmml.notes import to_json
    from crmml.storage.bundles import shelve_bundle
    from crmml.storage.fingerprint import fingerprint
    from crmml.training.opening import open_configured
    from crmml.training.pipeline import check_settings
    from crmml.training.pipeline import train as run_training

    shelf = Path("models") / config.name
    _check_writable(shelf)
    check_settings(config)
    with working() as say:
        say("reading and validating")
        tables = open_configured(config)
        _refuse_few_repeats(config, tables)
        say("reaching MLflow")
        from crmml.tracking.runs import log_training, start, stored

        experiment = start(config.tracking.uri, config.tracking.experiment)
        result = run_training(config, tables, announce=say)
        say("drawing")
        from crmml.plots.gallery import training_figures

        figures = training_figures(result)
        say("logging to MLflow")
        logged = log_training(
            bundle=result.bundle,
            params=config.shareable(),
            metrics=result.metrics,
            replicates=result.replicates,
            data_fingerprint=fingerprint(result.tables),
            label_specification=result.label_specification,
            gates=result.gates,
            tables=_tables_of(result),
            figures=figures,
            name=config.name,
            experiment=experiment,
            shelf=shelf,
        )
        folder = shelve_bundle(result.bundle, shelf / str(logged.version))
        stored(logged, experiment)
        with replacing(_notes_beside(folder)) as target:
            target.write_text(to_json(result.notes), encoding="utf-8")
    return result, logged, folder


def _refuse_few_repeats(config: Config, tables: Tables) -> None:
    from crmml.data.profile import count_buyers, refuse_few_repeats

    if "transactions" in tables:
        refuse_few_repeats(*count_buyers(tables), config.data.few_repeats)


def _notes_beside(folder: Path) -> Path:
    """Return where the notes of a training lie: beside the folder of its bundle."""
    return folder.with_name(f"{folder.name}.notes.json")


def _tables_of(result: TrainingResult) -> dict[str, pd.DataFrame]:
    from crmml.reports.totals import sum_tiers, tier_table

    tables = {
        "leaderboard": result.backtest.leaderboard,
        "churn_importance": result.churn_importance.reset_index(),
        "tiers": tier_table(sum_tiers(result.scores.table)).reset_index(),
        "actions": result.scores.recommendation.by_action().reset_index(),
    }
    if result.churn.evaluation is not None:
        tables["churn"] = result.churn.evaluation.table.reset_index()
    if result.calibration is not None:
        tables["churn_as_served"] = result.calibration.reset_index()
    if result.upgrades is not None:
        tables["upgrades_as_served"] = result.upgrades.reset_index()
    if (pyramids := _pyramids(result.scores)) is not None:
        tables["pyramids"] = pyramids.reset_index()
    return tables


def _reevaluation(config: Config) -> Reevaluation:
    from crmml.storage.fingerprint import fingerprint
    from crmml.tracking.registry import Reevaluation
    from crmml.training.opening import open_configured
    from crmml.training.plan import specify_labels
    from crmml.training.served import evaluate_champion

    tables = open_configured(config)
    return Reevaluation(
        data_fingerprint=fingerprint(tables),
        label_specification=specify_labels(config, tables),
        evaluate=lambda bundle: evaluate_champion(bundle, config, tables),
    )


def _check_writable(out: Path) -> None:
    """Refuse an output that cannot be written before the work, not after it."""
    with named(out):
        nearest = next(p for p in (out, *out.resolve().parents) if p.exists())
    if not os.access(nearest, os.W_OK):
        raise StorageError(f"cannot write to {out}: {nearest} is not writable")
    file = out.suffix in (".duckdb", ".yaml", ".yml") and nearest == out
    if nearest.is_file() and not file:
        raise StorageError(f"cannot write to {out}: {nearest} is a file, a folder is needed")


def _command(name: str) -> str:
    import sys

    beside = Path(sys.executable).with_name(name)
    here = Path.cwd()
    if not beside.exists():
        return name
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)
