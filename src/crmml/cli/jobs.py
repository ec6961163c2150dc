"""What the commands do: open, call, show, store. Loaded only when a command runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from crmml.atomic import named
from crmml.cli import display, labelled, stop_if_interrupted
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
    chosen += ["data.own_seller" for p in proposals if p.sellers]
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
    from crmml.features.snapshot import own_lines
    from crmml.training.opening import open_configured

    with working() as say:
        say("reading and validating")
        tables = open_configured(config)
        say("profiling")
        if "transactions" not in opened(tables):
            sections, additions = profile_tables(tables), list_additions(tables)
            profile = None
        else:
            lines = own_lines(tables.transactions, config.data.own_seller)
            profile = compute_profile(
                tables.with_table("transactions", lines),
                history=config.backtest.min_history,
                horizon=config.outcome.horizon,
                grain=config.snapshot.grain,
            )
            refuse_few_repeats(profile.buyers, profile.one_time_share, config.data.few_repeats)
            horizons = _compare_horizons(config, tables)
    if profile is not None:
        if as_json:
            rows = horizons.astype("object").where(horizons.notna(), None).reset_index()
            display.show_json({**profile.to_dict(), "horizons": rows.to_dict("records")})
            return
        display.show_profile(profile)
        display.show_horizons(horizons, config.outcome.horizon)
        return
    told = no_log_here(config, tables)
    if as_json:
        display.show_json({"tables": tables.counts, "reach": "; ".join(told)})
        return
    display.show_sections(sections)
    if "labelled" not in tables:
        display.show_additions(additions)
    for sentence in told:
        display.say(f"* {sentence}")


def _compare_horizons(config: Config, tables: Tables) -> pd.DataFrame:
    """Return the table by which one chooses when a customer counts as lapsed."""
    from crmml.features.horizons import HORIZONS, compare_horizons
    from crmml.stats.discounting import in_units

    chosen = {config.outcome.horizon, *HORIZONS}
    return compare_horizons(
        tables,
        config.cutoff,
        horizons=sorted(chosen, key=lambda horizon: in_units(horizon, "day")),
        grain=config.snapshot.grain,
        own_seller=config.data.own_seller,
    )


def no_log_here(config: Config, tables: Tables) -> list[str]:
    """Say what can be done with tables among which there is no log."""
    if "subscriptions" in tables:
        from crmml.training.contracts import describe_reach

        return [describe_reach(config, tables)]
    if "labelled" in tables:
        from crmml.training.labelled_pipeline import look_at

        return look_at(tables)
    return ["there is no log, no contracts and no labelled table: a model needs one of them"]


def train(config: Config) -> None:
    """Train, log, store the folder, and show what came out."""
    result, logged, folder, _ = _train_and_log(config)
    _show_training(result, _notes_beside(folder))
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

    if "transactions" not in config.data.tables and "subscriptions" in config.data.tables:
        from crmml.cli.contracts import backtest_of_contracts

        backtest_of_contracts(config, out)
        return
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


def promote(
    name: str | None, config: Config | None, tracking_uri: str | None, *, force: bool = False
) -> None:
    """Let the challenger meet the champion, on the data of the configuration if there is one."""
    from crmml.tracking.registry import promote as meet

    if config is None:
        display.say(meet(name or "crmml", uri=tracking_uri, force=force).reason)
        return
    with working() as say:
        say("reading and validating")
        again = _reevaluation(config)
        say("comparing")
        where = tracking_uri or config.tracking.uri
        found = meet(name or config.name, again=again, uri=where, force=force)
    display.say(found.reason)


def score(
    *,
    model: str | None,
    config: Config | None,
    transactions: str | None,
    rows: str | None,
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
    if (config is None) == (transactions is None and rows is None):
        rule = "one of --config and --transactions (contracts: --subscriptions, a table: --rows)"
        raise ParameterError("the data to score", rule, "neither" if config is None else "both")
    with working() as say:
        bundle = load_to_score(model, config, tracking_uri, say)
        if bundle.manifest.kind == "labelled":
            asked = labelled.rows_to_score(config, rows or transactions)
            labelled.score(bundle, asked, out, file_format, cutoff=cutoff, strict=strict, say=say)
            return
        tables, given = open_to_score(bundle, config, transactions, rows, say)
        from crmml.scoring.batches import score_in_batches
        from crmml.scoring.scorer import scoring_cutoff
        from crmml.storage.scores import read_control, read_plans

        say("scoring")
        moment = scoring_cutoff(bundle, tables, moment, whole=True)
        plans = read_plans(out, moment)
        control = read_control(out, moment, bundle.policy.experiment)
        how: dict[str, Any] = {"plans": plans, "control": control, "strict": strict, "lang": lang}
        with score_in_batches(bundle, tables, moment, **how, **given) as scores:
            say("writing")
            written = _write_scored(bundle, tables, scores, out, file_format, lang)
    from crmml.scoring.bases import last_event

    silent = (scores.cutoff - last_event(bundle.manifest, tables)).days
    if silent > 7:
        display.remark(
            f"the data end {silent:,} days before the cutoff, so customers look that much more "
            "inactive than they may be"
        )
    _show_scored(scores, written)
    display.say(f"Wrote {len(scores):,} customers to {written.scores}")
    display.say(f"Lists for people lie in {written.lists}; crmml report makes a page of them")


class _Written(NamedTuple):
    """What a scoring wrote, and the tables that are shown of it."""

    scores: Path
    lists: Path
    tiers: pd.DataFrame | None
    pyramids: pd.DataFrame | None


def _write_scored(
    bundle: ScoringBundle,
    tables: Tables,
    scores: Any,
    out: Path,
    file_format: Any = "parquet",
    lang: Any = "en",
) -> _Written:
    """Write scores as they come, and the lists of them beside."""
    from crmml.reports.lists import Lists
    from crmml.storage.scores import write_scores

    lists = Lists(bundle, tables, lang)
    written = write_scores(lists.passing(scores), out, scores.cutoff, file_format)
    ahead = scores.gather(lists.ahead)
    listed = lists.write(out, scores.cutoff, scores.absent, scores.allocation, ahead)
    known = [n for n in ("net_clv", "profit_to_date") if n not in scores.absent]
    pyramids = display.pyramid_table(scores.gather(known), bundle)
    return _Written(written, listed, lists.tiers, pyramids)


def _show_scored(scores: Any, written: _Written) -> None:
    if written.tiers is not None:
        display.show_tiers(
            written.tiers, scores.cutoff, scores.allocation, scores.absent, written.pyramids
        )


def _pyramids(scores: Scores, bundle: ScoringBundle) -> pd.DataFrame | None:
    """Tabulate the pyramids of scores; None of a log without amounts, whose counts are no money."""
    if "profit_to_date" in scores.absent:
        return None
    return display.pyramid_table(scores.table, bundle)


def load_to_score(
    model: str | None, config: Config | None, tracking_uri: str | None, say: Callable[[str], None]
) -> ScoringBundle:
    """Load the bundle that a command names, by default the champion of the configuration's name."""
    model = model or f"models:/{config.name if config else 'crmml'}@champion"
    say(f"loading {model}")
    return load_model(model, tracking_uri or (config.tracking.uri if config else None))


def open_to_score(
    bundle: ScoringBundle,
    config: Config | None,
    transactions: str | None,
    rows: str | None,
    say: Callable[[str], None],
) -> tuple[Tables, dict[str, Any]]:
    """Open the data that a bundle is to score, with the settings that count then."""
    if rows is not None:
        rule = "left out: the model is of a log; give --config or --transactions"
        raise ParameterError("--rows", rule, rows)
    if (config is None) == (transactions is None):
        got = "neither" if config is None else "both"
        raise ParameterError("the data to score", "one of --config and --transactions", got)
    from crmml.scoring.scorer import open_for
    from crmml.training import settings_at_score
    from crmml.training.opening import open_configured

    if config is None:
        say("reading and validating")
        return open_for(bundle, transactions), {}
    settings_at_score.check_settings_at_score(config, bundle)
    given = settings_at_score.honoured_settings(config)
    say("reading and validating")
    policies = settings_at_score.policies_at_score(config, bundle)
    return open_configured(config, policies=policies), given


def demo(out: Path, world: str = "cdnow") -> None:
    """Train, promote, score and draw, on full CDNOW or on a simulated telecom."""
    from crmml.reports import report as make_report
    from crmml.scoring.batches import score_in_batches
    from crmml.tracking.registry import promote as meet
    from crmml.tracking.runs import log_report, start

    if world not in WORLDS:
        raise ParameterError("--world", f"one of {', '.join(WORLDS)}", world)
    _check_writable(out)
    story, config = WORLDS[world](out)
    display.say(story)
    result, logged, folder, figures = _train_and_log(config, report=False)
    promotion = meet(config.name, uri=config.tracking.uri)
    with working() as say:
        say("scoring with the champion")
        bundle = load_model(f"models:/{config.name}@champion", config.tracking.uri)
        with score_in_batches(bundle, result.tables, result.scores.cutoff) as scores:
            written = _write_scored(bundle, result.tables, scores, out)
        page = make_report(out, data=result.tables)
        log_report(logged.run_id, page.html, start(config.tracking.uri, config.tracking.experiment))
        say("drawing")
        pictures = save_figures(figures, out / "plots")
    _show_training(result, _notes_beside(folder), pyramids=False)
    display.say(promotion.reason)
    _show_scored(scores, written)
    display.show_places(
        {
            "scores": written.scores,
            "plots": f"{out / 'plots'} ({', '.join(sorted(p.stem for p in pictures))})",
            "bundle": folder,
            "MLflow": f"{tracking_address(config)}, run {logged.run_id}",
            "report": f"{page.save(out)} (open it in a browser)",
            "open it": f"{_command('mlflow')} ui --backend-store-uri {tracking_address(config)}",
        }
    )


DEMO = {
    "data": {"transactions": {"dataset": "cdnow"}},
    "outcome": {"horizon": "13W"},
    "value": {"margin": 0.30},
    "actions": {"budget": 1000, "holdout_share": 0.05},
}

TELECOM = {
    "name": "subscriptions",
    "outcome": {"horizon": "90D"},
    "contracts": {"period": "30D"},
    "value": {"margin": 0.30},
    "actions": {"budget": 1000, "holdout_share": 0.05},
}
"""The settings of ``configs/subscriptions.yaml``."""


def _cdnow(out: Path) -> tuple[str, Config]:
    del out
    story = "CDNOW: 23,570 customers of a music shop, 69,659 order lines, January 1997 to June 1998"
    return story, parse_config(DEMO)


def _telecom(out: Path) -> tuple[str, Config]:
    """Simulate the telecom, and write its tables where the configuration reads them."""
    from crmml.storage.scores import write_csv
    from crmml.testing.contracts import simulate_contracts

    tables = simulate_contracts(4_000, seed=1)
    paths = {name: out / "telecom" / f"{name}.csv" for name in tables}
    (out / "telecom").mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_csv(table, paths[name])
    ended = int(tables["subscriptions"]["ended_at"].notna().sum())
    story = (
        f"A simulated telecom: {len(tables['subscriptions']):,} contracts of 30 days, of which "
        f"{ended:,} ended for one of three causes; tables in {out / 'telecom'}"
    )
    data = {name: {"path": str(path)} for name, path in paths.items()}
    return story, parse_config({**TELECOM, "data": data})


WORLDS: Mapping[str, Callable[[Path], tuple[str, Config]]] = {
    "cdnow": _cdnow,
    "subscriptions": _telecom,
}
"""What ``crmml demo`` shows, by name."""


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


def _show_training(result: Any, stored: Path, *, pyramids: bool = True) -> None:
    """Show what came out, by the kind of the training."""
    kind = result.bundle.manifest.kind
    if kind == "contracts":
        from crmml.cli.contracts import show_contract_training

        show_contract_training(result, stored)
        return
    if kind == "labelled":
        labelled.show_training(result, stored)
        return
    display.show_training(result, stored)
    if result.contracts.backtest is not None:
        from crmml.cli.contracts import show_contract_backtest

        show_contract_backtest(result.contracts.backtest)
    if pyramids:
        display.show_pyramids(_pyramids(result.scores, result.bundle))


def _picture(result: Any) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Gather tables and pictures of a training, by its kind."""
    from crmml.plots.gallery import contract_figures, training_figures

    if result.bundle.manifest.kind == "contracts":
        from crmml.cli.contracts import tables_of_contracts

        return tables_of_contracts(result), contract_figures(result)
    if result.bundle.manifest.kind == "labelled":
        return result.logged_tables(), training_figures(result)
    return _tables_of(result), training_figures(result)


def _train_and_log(
    config: Config, *, report: bool = True
) -> tuple[Any, LoggedModel, Path, dict[str, Any]]:
    """Train, log and store; the report is logged with the run unless the caller makes one."""
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
        from crmml.reports import report_training
        from crmml.tracking.runs import log_report, log_training, start, stored

        experiment = start(config.tracking.uri, config.tracking.experiment)
        result = run_training(config, tables, announce=say)
        say("drawing")
        shown, figures = _picture(result)
        say("logging to MLflow")
        logged = log_training(
            bundle=result.bundle,
            params=config.shareable(),
            metrics=result.metrics,
            replicates=result.replicates,
            data_fingerprint=fingerprint(result.tables),
            label_specification=result.label_specification,
            gates=result.gates,
            decided_by=result.decided_by,
            tables=shown,
            figures=figures,
            name=config.name,
            experiment=experiment,
            shelf=shelf,
        )
        folder = shelve_bundle(result.bundle, shelf / str(logged.version))
        stored(logged, experiment)
        with replacing(_notes_beside(folder)) as target:
            target.write_text(to_json(result.notes), encoding="utf-8")
        if report:
            say("making the report")
            if (page := report_training(result)) is not None:
                log_report(logged.run_id, page.html, experiment)
    return result, logged, folder, figures


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
    if (judged := result.contracts.backtest) is not None:
        tables["contracts"] = judged.to_pandas().reset_index()
        tables["contracts_as_served"] = judged.calibration.reset_index()
    if (pyramids := _pyramids(result.scores, result.bundle)) is not None:
        tables["pyramids"] = pyramids.reset_index()
    return tables


def _reevaluation(config: Config) -> Reevaluation:
    from crmml.scoring.bases import kind_of
    from crmml.storage.fingerprint import fingerprint
    from crmml.tracking.registry import Reevaluation
    from crmml.training.contract_pipeline import (
        evaluate_contract_champion,
        specify_contract_labels,
    )
    from crmml.training.labelled_pipeline import refuse_champion, specify_outcome
    from crmml.training.opening import open_configured
    from crmml.training.plan import specify_labels
    from crmml.training.served import evaluate_champion

    tables = open_configured(config)
    kind = kind_of(tables)
    if kind == "labelled":
        return Reevaluation(
            data_fingerprint=fingerprint(tables),
            label_specification=specify_outcome(config, tables),
            evaluate=refuse_champion,
        )
    if kind == "contracts":
        return Reevaluation(
            data_fingerprint=fingerprint(tables),
            label_specification=specify_contract_labels(config, tables),
            evaluate=lambda bundle: evaluate_contract_champion(bundle, config, tables),
        )
    return Reevaluation(
        data_fingerprint=fingerprint(tables),
        label_specification=specify_labels(config, tables),
        evaluate=lambda bundle: evaluate_champion(bundle, config, tables),
    )


def _check_writable(out: Path) -> None:
    """Refuse an output that cannot be written before the work, not after it."""
    with named(out):
        nearest = next(p for p in (out, *out.resolve().parents) if p.exists())
    if out.is_symlink() and not out.exists():
        raise StorageError(f"cannot write to {out}: it is a link that leads nowhere")
    if not os.access(nearest, os.W_OK):
        raise StorageError(f"cannot write to {out}: {nearest} is not writable")
    file = out.suffix in (".duckdb", ".yaml", ".yml") and nearest == out
    if not nearest.is_dir() and not (file and nearest.is_file()):
        raise StorageError(f"cannot write to {out}: {nearest} is a file, a folder is needed")


def _command(name: str) -> str:
    import sys

    beside = Path(sys.executable).with_name(name)
    here = Path.cwd()
    if not beside.exists():
        return name
    return str(beside.relative_to(here)) if beside.is_relative_to(here) else str(beside)
