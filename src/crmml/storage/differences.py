"""Two score sets or bundles, given as objects or as paths, and what changed between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from crmml.exceptions import BundleError, ParameterError, StorageError, UnlikeTrainingError
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.differences import Differences, compare
from crmml.scoring.labelled import LabelledScores
from crmml.scoring.manifest import MANIFEST
from crmml.scoring.rescoring import compare_scores, compare_settings, steps_between
from crmml.scoring.scorer import Origin, Scores, open_for, score, scoring_cutoff
from crmml.storage.bundles import load_bundle
from crmml.storage.scores import list_cutoffs, moment_of, read_scores

Side: TypeAlias = Scores | ScoringBundle | pd.DataFrame | str | Path


def diff(
    a: Side,
    b: Side,
    *,
    data: Any = None,
    bundles: tuple[Any, Any] | None = None,
    cutoff: str | pd.Timestamp | None = None,
    risk_step: float = 0.1,
) -> Differences:
    """Say who changed tier, loyalty class, stage, action or risk between two score sets, and why.

    Parameters
    ----------
    a, b : Scores, ScoringBundle, DataFrame or path
        Two score sets, or two bundles. A path is a folder of scores (the newest cutoff, or a
        folder ``cutoff=...`` in it), a Parquet file, a DuckDB file, or the folder of a bundle.
    data : Tables, DataFrame, Arrow table, path, or mapping of these by table, optional
        The data of the second score set; or what two bundles are compared on.
    bundles : (ScoringBundle or path, ScoringBundle or path), optional
        Those that wrote the two score sets. With ``data`` the steps between the two are scored.
    cutoff : str or Timestamp, optional
        For two bundles: as of when they score the data.
    risk_step : float
        Change of the churn probability from which on the risk counts as changed.

    Returns
    -------
    Differences

    Raises
    ------
    ParameterError
        If a score set meets a bundle.
    UnlikeTrainingError
        If a bundle is not the one that wrote the scores.

    Notes
    -----
    Between score sets of :func:`crmml.score` everything is known: first the first bundle scores
    the second data under the first policy (what changed is due to *inputs*), then the second bundle
    does (*model*), and the rest is *policy*. Of score sets read from files, columns and versions
    are compared: where only one of inputs, model and policy differs it is the cause, else it cannot
    be told apart without ``bundles`` and ``data``.
    """
    one, two = _opened(a), _opened(b)
    for side in (one, two):
        _refuse_labelled(side)
    if isinstance(one, ScoringBundle) != isinstance(two, ScoringBundle):
        raise ParameterError("a and b", "both score sets or both bundles", "one of each")
    if isinstance(one, ScoringBundle) and isinstance(two, ScoringBundle):
        return _of_bundles(one, two, data, cutoff, risk_step)
    if isinstance(one, Scores) and isinstance(two, Scores) and bundles is None:
        return compare_scores(one, two, risk_step)
    first, second = _table(one), _table(two)
    if bundles is None or data is None:
        return compare(first, second, risk_step=risk_step)
    return _with_bundles(first, second, bundles, data, risk_step)


def _refuse_labelled(side: Any) -> None:
    labelled = isinstance(side, LabelledScores) or (
        isinstance(side, ScoringBundle) and side.manifest.kind == "labelled"
    )
    if labelled:
        raise ParameterError(
            "a and b",
            "of a log: a labelled table has no tiers, no actions and no time, so compare the "
            "column churn_probability of the two score sets",
            "a labelled table",
        )


def _opened(side: Any) -> Any:
    if isinstance(side, (Scores, LabelledScores, ScoringBundle, pd.DataFrame)):
        return side
    path = Path(side)
    if (path / MANIFEST).is_file():
        return load_bundle(path)
    return _read(path)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        path = path.parent
    if path.name.startswith("cutoff="):
        return read_scores(path.parent, moment_of(path))
    return read_scores(path, _newest(path))


def _newest(path: Path) -> pd.Timestamp:
    if cutoffs := list_cutoffs(path):
        return cutoffs[-1]
    if any(path.glob("labelled_scores.*")):
        raise StorageError(
            f"{path} holds scores of a labelled table, which has no tiers, no actions and no time: "
            "compare the column churn_probability"
        )
    raise StorageError(f"{path} holds neither scores nor a bundle")


def _table(side: Any) -> pd.DataFrame:
    table: pd.DataFrame = side.table if isinstance(side, Scores) else side
    return table


def _of_bundles(
    a: ScoringBundle, b: ScoringBundle, data: Any, cutoff: Any, risk_step: float
) -> Differences:
    if data is not None:
        at = cutoff
        if at is None:  # both as of the same moment
            at = max(scoring_cutoff(x, open_for(x, data)) for x in (a, b))
        return compare_scores(score(a, data, at), score(b, data, at), risk_step)
    nobody = pd.DataFrame({"customer_id": pd.Series(dtype="str")})
    one, two = (nobody.assign(model_version="") for _ in range(2))
    told = "Who changes cannot be known without data: give some, and both bundles score them."
    found = compare(one, two, settings=compare_settings(a, b), unknown=[told])
    facts = {
        "cutoff": (a.manifest.cutoff, b.manifest.cutoff),
        "model_version": (a.version, b.version),
    }
    return Differences(found.table, facts, found.settings, "settings were compared", found.unknown)


def _with_bundles(
    a: pd.DataFrame, b: pd.DataFrame, bundles: tuple[Any, Any], data: Any, risk_step: float
) -> Differences:
    """Score the steps between score sets from files, by the bundles that wrote them."""
    pair = [x if isinstance(x, ScoringBundle) else load_bundle(x) for x in bundles]
    policies = []
    for name, table, bundle in zip("ab", (a, b), pair, strict=True):
        wrote = str(table["model_version"].iloc[0])
        if wrote != bundle.version:
            raise UnlikeTrainingError(
                f"the scores {name} were written by the model version {wrote}, the bundle given "
                f"for them is {bundle.version}"
            )
        try:
            policies.append(bundle.policy_version == table["policy_version"].iloc[0])
        except (BundleError, KeyError):
            policies.append(False)
    known = all(policies)
    at = pd.Timestamp(b["cutoff"].iloc[0])
    origins = [Origin(x.manifest, x.predictors, x.version, open_for(x, data)) for x in pair]
    steps, told = steps_between(a, b, origins[0], origins[1], at)
    if not known:
        told.append(
            "The scores were given out under another policy than that of their bundle (a budget or "
            "a catalogue at scoring), so causes of actions follow from the versions."
        )
    elif steps:
        told.append("Plans of earlier nights are not read: what they barred counts as policy.")
    settings = compare_settings(*pair)
    return compare(
        a,
        b,
        steps=steps,
        policy_steps=known,
        risk_step=risk_step,
        settings=settings,
        unknown=told,
    )
