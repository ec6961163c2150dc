"""The command line: it wires rooms together and shows what they return; it never computes.

Heavy rooms are imported inside the commands, so that ``crmml --help`` answers at once. A user's
mistake is one sentence on stderr and exit code 2; an interrupt is exit code 130.
"""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from crmml import __version__
from crmml.exceptions import CrmmlError, CrmmlWarning

app = typer.Typer(
    name="crmml",
    help="From a transaction log to decisions about customers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The job's YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: --set actions.budget=500 (repeatable)."),
]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"crmml {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From a transaction log to decisions about customers."""


@app.command()
def init(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="CSV, Parquet or DuckDB files, one for each table; TABLE=FILE says which it is.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The configuration to write.")] = Path(
        "crmml.yaml"
    ),
    table: Annotated[
        str | None, typer.Option(help="The table inside a DuckDB file, where FILE is only one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say which table each file is, propose the columns, and write a commented configuration."""
    from crmml.cli import jobs

    jobs.init(files, out, table=table, force=force, as_json=as_json)


@app.command()
def check(
    config: ConfigOption,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Validate the data and print a one-page profile."""
    settings = _load(config, set_)
    from crmml.cli import jobs

    jobs.check(settings, as_json=as_json)


@app.command()
def train(config: ConfigOption, set_: SetOption = None) -> None:
    """Backtest, fit, log to MLflow, and register the bundle as challenger."""
    settings = _load(config, set_)
    from crmml.cli import jobs

    jobs.train(settings)


@app.command()
def backtest(
    config: ConfigOption,
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the table and the plot.")
    ] = None,
) -> None:
    """Compare candidate models on rolling cutoffs and say which is chosen, and why."""
    settings = _load(config, set_)
    from crmml.cli import jobs

    jobs.backtest(settings, out)


@app.command()
def promote(
    name: Annotated[
        str | None, typer.Option(help="The registered model (default: crmml, or --config's name).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The challenger's YAML: compare on its newest data, where the champion's differ.",
        ),
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow tracking URI.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it whatever gates and comparison say.")
    ] = False,
    set_: SetOption = None,
) -> None:
    """Compare the challenger with the champion; move the alias, or say why not."""
    settings = _load_if_given(config, set_)
    from crmml.cli import jobs

    jobs.promote(name, settings, tracking_uri, force=force)


@app.command()
def score(
    model: Annotated[
        str | None,
        typer.Option(
            help="models:/crmml@champion, or a bundle folder (default: the champion of the "
            "configuration's name)."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="YAML that names the data to score; its budget, capacities and catalogue count.",
        ),
    ] = None,
    transactions: Annotated[
        str | None,
        typer.Option(
            "--transactions",
            "--subscriptions",
            help="Instead of --config: a file of transactions (or of contracts, for a bundle of "
            "contracts alone).",
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Instead of --config, for a model of a labelled table: a file of rows."),
    ] = None,
    cutoff: Annotated[
        str | None, typer.Option(help="Score as of this date (default: after the last row).")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder, or a .duckdb file.")] = Path(
        "output"
    ),
    format_: Annotated[str, typer.Option("--format", help="parquet or csv.")] = "parquet",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse data that are unlike those of the training.")
    ] = False,
    lang: Annotated[str, typer.Option(help="Language of the reasons: en or fa.")] = "en",
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow tracking URI.")] = None,
    set_: SetOption = None,
) -> None:
    """Score every customer: one row each, written whole, idempotent per cutoff."""
    settings = _load_if_given(config, set_)
    from crmml.cli import jobs

    jobs.score(
        model=model,
        config=settings,
        transactions=transactions,
        rows=rows,
        cutoff=cutoff,
        out=out,
        file_format=format_,
        strict=strict,
        tracking_uri=tracking_uri,
        lang=lang,
    )


@app.command()
def explain(
    customer: Annotated[str, typer.Option("--customer", help="The id of the customer.")],
    model: Annotated[
        str | None,
        typer.Option(help="models:/crmml@champion, or a bundle folder; as for score."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML that names the data.")
    ] = None,
    transactions: Annotated[
        str | None, typer.Option(help="Instead of --config: a file of transactions.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Instead of --config, for a model of a labelled table: a file of rows."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="What score wrote: the row there is the one explained."),
    ] = None,
    cutoff: Annotated[
        str | None, typer.Option(help="As of this date (default: after the last row).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write a picture: FILE.png or .html.")
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="Language of what speaks for and against: en or fa.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow tracking URI.")] = None,
    set_: SetOption = None,
) -> None:
    """Say why one customer has these scores: history, value, tier, action, runner-up, reasons."""
    settings = _load_if_given(config, set_)
    from crmml.cli import explaining

    explaining.explain(
        customer,
        model=model,
        config=settings,
        transactions=transactions,
        rows=rows,
        scores=scores,
        cutoff=cutoff,
        out=out,
        lang=lang,
        as_json=as_json,
        tracking_uri=tracking_uri,
    )


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Scores (folder, file) or a bundle.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What it is compared with.")],
    model_a: Annotated[
        str | None, typer.Option(help="The bundle that wrote the scores A; with --model-b.")
    ] = None,
    model_b: Annotated[str | None, typer.Option(help="The bundle that wrote the scores B.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML that names the data of B.")
    ] = None,
    transactions: Annotated[
        str | None, typer.Option(help="Instead of --config: a file of transactions.")
    ] = None,
    cutoff: Annotated[
        str | None, typer.Option(help="As of when two bundles score (default: the data's end).")
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(
            "--out",
            "-o",
            help="Also write FILE.csv, the changed customers with their ids, or a picture "
            "FILE.png (repeatable).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow tracking URI.")] = None,
) -> None:
    """Say who changed tier, action or risk between two score sets or bundles, and why."""
    settings = _load(config, None) if config else None
    from crmml.cli import comparing

    comparing.diff(
        a,
        b,
        models=(model_a, model_b),
        config=settings,
        transactions=transactions,
        cutoff=cutoff,
        out=out or [],
        as_json=as_json,
        tracking_uri=tracking_uri,
    )


@app.command()
def report(
    scores: Annotated[
        Path, typer.Option("--scores", help="The folder (or .duckdb file) that score wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="YAML that names the data: adds what they tell."),
    ] = None,
    cutoff: Annotated[str | None, typer.Option(help="Which scores (default: the newest).")] = None,
    lang: Annotated[str, typer.Option("--lang", help="en or fa.")] = "en",
    set_: SetOption = None,
) -> None:
    """Write one page for people who open neither notebooks nor Parquet."""
    settings = _load_if_given(config, set_)
    from crmml.cli import reporting

    reporting.report(scores, out, config=settings, cutoff=cutoff, lang=lang)


@app.command()
def monitor(
    scores: Annotated[
        Path, typer.Option("--scores", help="The folder (or .duckdb file) that score wrote.")
    ],
    config: Annotated[
        Path, typer.Option("--config", "-c", help="YAML that names data after the scores.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for tables, JSON and the picture; a report reads SCORES/_monitor.",
        ),
    ] = None,
    horizon: Annotated[
        str | None, typer.Option(help="Of scores without lists beside them, such as 13W.")
    ] = None,
    value_horizon: Annotated[
        str | None, typer.Option(help="Of the lifetime value of such scores, such as 52W.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow tracking URI.")] = None,
    set_: SetOption = None,
) -> None:
    """Compare released scores with what happened, and say what to do; exit code 3 is an alarm."""
    settings = _load(config, set_)
    from crmml.cli import monitoring

    alarm = monitoring.monitor(
        scores,
        settings,
        out=out,
        horizon=horizon,
        value_horizon=value_horizon,
        as_json=as_json,
        tracking_uri=tracking_uri,
    )
    if alarm:
        raise typer.Exit(3)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for scores and plots.")] = Path(
        "output/demo"
    ),
    world: Annotated[
        str, typer.Option(help="cdnow, or subscriptions: a simulated telecom.")
    ] = "cdnow",
) -> None:
    """Train, promote and score on the 23,570 real customers of CDNOW, or on a simulated telecom."""
    from crmml.cli import jobs

    jobs.demo(out, world)


@app.command(name="config")
def show_config(config: ConfigOption, set_: SetOption = None) -> None:
    """Print a configuration with every default filled in."""
    import yaml

    text = yaml.safe_dump(_load(config, set_).model_dump(mode="json"), sort_keys=False)
    typer.echo(text, nl=False)


@app.command(name="schema")
def show_schema() -> None:
    """Print the JSON schema of a configuration, with which editors complete and check it."""
    import json

    from crmml.config import Config

    typer.echo(json.dumps(Config.model_json_schema(), indent=2))


def _load(config: Path, overrides: list[str] | None) -> Any:
    """Read the settings, before anything slow is imported: most mistakes are found here."""
    from crmml.config import load_config

    return load_config(config, overrides or ())


def _load_if_given(config: Path | None, overrides: list[str] | None) -> Any:
    """Read the settings where a command can do without; None where there are none."""
    if config is None and overrides:
        raise CrmmlError("--set overrides a configuration, so it needs --config")
    return None if config is None else _load(config, overrides)


def main() -> None:
    """Run the command line; the one place where a mistake becomes an exit code."""
    # An engine may wrap the interrupt into an error of its own, so remember that there was one.
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _report_unraisable
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # tidy up, as any exit does
    _show_warnings_as_notes()
    try:
        app()
    except CrmmlError as error:
        if not _interrupted.is_set():
            _complain(str(error))
            sys.exit(2)
    except SystemExit as stop:
        if stop.code != 130:
            raise
    except OSError as error:  # a full disk, say, where nothing else has told so
        if not _interrupted.is_set():
            _complain(f"cannot use {error.filename or 'a file'}: {error.strerror or error}")
            sys.exit(2)
    except (Exception, KeyboardInterrupt) as error:
        if not _interrupted.is_set():
            # engines and databases wrap what the disk says into errors of their own
            full = next((words for words in _FULL if words in str(error)), None)
            if full is None:
                raise
            _complain(f"a file cannot be written: {full}")
            sys.exit(2)
    else:
        return
    _complain("interrupted; nothing was left half written")
    sys.exit(130)


_FULL = ("No space left on device", "File too large", "disk is full", "Disk quota exceeded")
_interrupted = threading.Event()


def _interrupt(*_: object) -> None:
    _interrupted.set()
    raise KeyboardInterrupt


def stop_if_interrupted() -> None:
    """Interrupt again at the next step of a job, where Python has swallowed the first one.

    An exception that is raised while the garbage collector calls something is ignored.
    """
    if _interrupted.is_set():
        raise KeyboardInterrupt


def _report_unraisable(what: Any) -> None:
    if not issubclass(what.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(what)


_LONGEST = 1_990
"""Characters of a message: what is longer is read by nobody."""


def _complain(text: str) -> None:
    said = " ".join(text.split())
    said = said if len(said) <= _LONGEST else f"{said[: _LONGEST - 4]} ..."
    print(f"crmml: {said}", file=sys.stderr)


def _show_warnings_as_notes() -> None:
    """Say each warning of crmml once, as a sentence; those of other packages only under -W."""
    said: set[str] = set()
    plain = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        text = " ".join(str(message).split())
        if not issubclass(category, CrmmlWarning):
            if sys.warnoptions:
                plain(message, category, *where)
        elif text not in said:
            said.add(text)
            print(f"crmml: note: {text}", file=sys.stderr)

    warnings.showwarning = show  # type: ignore[assignment]
    warnings.simplefilter("always", CrmmlWarning)
