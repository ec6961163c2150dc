"""The command that says why one customer has these scores: figures, words and a picture."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crmml.cli import display, jobs, labelled
from crmml.exceptions import ParameterError

if TYPE_CHECKING:
    from crmml.config import Config
    from crmml.scoring.contract_explanation import ContractExplanation
    from crmml.scoring.explanation import Explanation

    Explained = Explanation | ContractExplanation

PICTURES = (".png", ".html")


def explain(
    customer: str,
    *,
    model: str | None,
    config: Config | None,
    transactions: str | None,
    rows: str | None,
    scores: Path | None,
    cutoff: str | None,
    out: Path | None,
    lang: str | None,
    as_json: bool,
    tracking_uri: str | None,
) -> None:
    """Explain one customer: filter the data by the id, and read the served row where it lies."""
    if out is not None and out.suffix not in PICTURES:
        raise ParameterError("--out", f"a file that ends in one of {PICTURES}", str(out))
    if out is not None:
        jobs._check_writable(out.parent)
    with jobs.working() as say:
        bundle = jobs.load_to_score(model, config, tracking_uri, say)
        if bundle.manifest.kind == "labelled":
            for option, value in {"--out": out, "--scores": scores, "--cutoff": cutoff}.items():
                if value is not None:
                    rule = "left out: rows of a labelled table have no history, time and plans"
                    raise ParameterError(option, rule, str(value))
            asked = labelled.rows_to_score(config, rows or transactions)
            labelled.explain(bundle, asked, customer, as_json=as_json)
            return
        tables, given = jobs.open_to_score(bundle, config, transactions, rows, say)
        from crmml.features.windows import read_moment
        from crmml.scoring.explained_action import has_actions
        from crmml.scoring.explanation import explain as explain_one
        from crmml.scoring.scorer import scoring_cutoff
        from crmml.storage.one_row import read_row
        from crmml.storage.scores import read_control, read_plans

        say("explaining")
        at = None if cutoff is None else read_moment(cutoff, "--cutoff")
        moment = scoring_cutoff(bundle, tables, at, whole=True)
        if scores is not None:
            given["served"] = read_row(scores, moment, tables.read_id(customer))
            given["plans"] = read_plans(scores, moment)
            if has_actions(bundle):
                given["control"] = read_control(scores, moment, bundle.policy.experiment)
        found = explain_one(bundle, tables, customer, moment, lang=lang, **given)
        if out is not None:
            say("drawing")
            write_picture(found, out)
    if as_json:
        display.show_json(found.to_dict())
    else:
        show_explanation(found)
        if out is not None:
            display.say(f"Wrote {out}")


def show_explanation(found: Explained) -> None:
    """Print the sections of an explanation."""
    for heading, sentences in found.sections().items():
        for number, sentence in enumerate(sentences):
            display.say(f"{heading if number == 0 else '':<16}{sentence}")


def write_picture(found: Explained, out: Path) -> None:
    """Draw an explanation into a PNG, or into a page of HTML with its sentences."""
    from crmml.atomic import replacing

    picture = _draw(found)
    content = picture if out.suffix == ".png" else _page(found, picture).encode()
    with replacing(out) as target:
        target.write_bytes(content)


def _draw(found: Explained) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.0), dpi=110, layout="constrained")
    found.plot(ax=figure.subplots())
    drawn = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None}
    figure.savefig(drawn, format="png", metadata=metadata)
    return drawn.getvalue()


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}h2{font-size:1rem;margin:1.2em 0 .2em}p{margin:0}img{max-width:100%}"
)


def _page(found: Explained, picture: bytes) -> str:
    title = f"Customer {found.customer_id} on {pd.Timestamp(found.cutoff).date()}"
    parts = [
        f"<h2>{html.escape(heading)}</h2>" + "".join(f"<p>{html.escape(s)}</p>" for s in said)
        for heading, said in found.sections().items()
        if said
    ]
    image = base64.b64encode(picture).decode()
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>"
        f'<img alt="the customer over time" src="data:image/png;base64,{image}">'
        f"{''.join(parts)}</html>\n"
    )
