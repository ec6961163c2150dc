"""The command that writes the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crmml.cli import display, jobs

if TYPE_CHECKING:
    from crmml.config import Config


def report(
    scores: Path, out: Path, *, config: Config | None, cutoff: str | None, lang: str
) -> None:
    """Make the page and say where it lies."""
    from crmml.features.windows import read_moment
    from crmml.reports.page import report as make_report

    moment = None if cutoff is None else read_moment(cutoff, "--cutoff")
    jobs._check_writable(out)
    with jobs.working() as say:
        more: dict[str, Any] = {}
        if config is not None:
            from crmml.training.opening import open_configured

            say("reading and validating")
            data = open_configured(config)
            more = {"data": data, "own_seller": config.data.own_seller, **dict(config.report)}
        say("reading the scores")
        language: Any = lang
        page = make_report(scores, cutoff=moment, lang=language, **more)
        say("writing")
        written = page.save(out, language)
    display.say(f"Wrote {written}: open it in a browser")
