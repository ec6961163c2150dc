"""The command that says what changed between two score sets or bundles, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from crmml.cli import display, jobs
from crmml.exceptions import CrmmlError, ParameterError

if TYPE_CHECKING:
    from crmml.config import Config
    from crmml.scoring.differences import Differences


def diff(
    a: str,
    b: str,
    *,
    models: tuple[str | None, str | None],
    config: Config | None,
    transactions: str | None,
    cutoff: str | None,
    out: list[Path],
    as_json: bool,
    tracking_uri: str | None,
) -> None:
    """Compare, show, and write the changed customers or pictures where asked."""
    for file in out:
        if file.suffix not in (".csv", ".png"):
            raise ParameterError("--out", "a file that ends in .csv or .png", str(file))
        jobs._check_writable(file.parent)
    if (models[0] is None) != (models[1] is None):
        raise CrmmlError("--model-a and --model-b are given together: the bundles of both scores")
    with jobs.working() as say:
        from crmml.storage.differences import diff as compare

        say("loading")
        sides = [_loaded(side, tracking_uri) for side in (a, b)]
        wrote = [None if m is None else jobs.load_model(m, tracking_uri) for m in models]
        data = _data(wrote[1] or sides[1], config, transactions)
        say("comparing")
        pair = None if wrote[0] is None else (wrote[0], wrote[1])
        found = compare(sides[0], sides[1], data=data, bundles=pair, cutoff=cutoff)
        for file in out:
            _write(found, file)
    if as_json:
        display.show_json(found.to_dict())
        return
    for sentence in found.sentences():
        display.say(sentence)
    for aspect in (name for name in found.aspects if name not in ("action", "risk")):
        title = f"{aspect.capitalize()}: rows before, columns after"
        display.show_rows(found.flows(aspect).reset_index(), title)
    for file in out:
        display.say(f"Wrote {file}")


def _loaded(side: str, uri: str | None) -> Any:
    return jobs.load_model(side, uri) if side.startswith("models:/") else Path(side)


def _data(model: Any, config: Config | None, transactions: str | None) -> Any:
    """Return the data as they are, or as a configuration names them."""
    if config is None:
        return transactions
    if transactions is not None:
        raise CrmmlError("the data come from one of --config and --transactions")
    from crmml.scoring.bundle import ScoringBundle
    from crmml.storage.bundles import load_bundle
    from crmml.training import settings_at_score
    from crmml.training.opening import open_configured

    bundle = model if isinstance(model, ScoringBundle) else load_bundle(model)
    policies = settings_at_score.policies_at_score(config, bundle)
    return open_configured(config, policies=policies)


def _write(found: Differences, file: Path) -> None:
    """Write the changed customers, the largest changes first; or the flows as a picture."""
    from crmml.storage.scores import write_csv

    if file.suffix == ".csv":
        changed = found.changed()["customer_id"]
        rows = found.largest(len(found.table))
        write_csv(rows[rows["customer_id"].isin(changed)].reset_index(drop=True), file)
        return
    from matplotlib.figure import Figure

    from crmml.atomic import replacing

    aspects = found.aspects or ("tier",)
    n_rows = -(-len(aspects) // 3)
    figure = Figure(figsize=(15.0, 4.8 * n_rows), dpi=110, layout="constrained")
    axes = figure.subplots(n_rows, min(len(aspects), 3), squeeze=False).ravel()
    for ax in axes[len(aspects) :]:
        ax.set_axis_off()
    for ax, aspect in zip(axes, aspects, strict=False):
        found.plot(aspect, ax=ax)
    with replacing(file) as target:
        figure.savefig(target, format="png", metadata={"Software": None})
