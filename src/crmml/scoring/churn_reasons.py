"""Why a customer is thought to leave: what each family of features adds, up to the score itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.features.families import FAMILIES
from crmml.features.snapshot import Snapshot
from crmml.metrics.bootstrap import hash_keys, replicate, weighted_mean
from crmml.models.churn.history import whole_length
from crmml.models.churn.model import ChurnModel
from crmml.models.churn.process_shares import PLAYERS, log_odds, process_shares
from crmml.models.churn.purchase import WithPurchaseModel
from crmml.scoring.reason_words import tell, write_length

BASELINE, CALIBRATION = "baseline", "calibration"

NO_REFERENCE = "this bundle holds no customer to compare with: it was trained before version 0.4"


def churn_parts(
    model: Any,
    snapshot: Snapshot,
    probability: FloatArray,
    *,
    learned: BoolArray,
    reference: Sequence[float] | None,
) -> pd.DataFrame:
    """Return what each family adds to the log-odds of churn, keyed by customer.

    Parameters
    ----------
    model : churn model
        Trees, a purchase process or a recency rule.
    snapshot : Snapshot
    probability : ndarray, shape (n_customers,)
        Of churn, as served.
    learned : ndarray of bool, shape (n_customers,)
        Whose probability is that of the churn model; that of all others is the process's.
    reference : sequence of 3 floats or None
        The customer that a process compares with; see
        :func:`crmml.models.churn.process_shares.reference_customer`.

    Returns
    -------
    DataFrame
        Columns: the families (0 where one was not asked), ``baseline`` (the same for everybody of
        whom the same model speaks) and ``calibration`` (the step from the model's word to what
        was seen to happen). A row adds up to the log-odds of ``probability``; rows without a
        reference are missing.
    """
    names = [*FAMILIES, BASELINE]
    parts = pd.DataFrame(0.0, snapshot.customer_id, names)
    by_trees = learned & isinstance(model, ChurnModel)
    if by_trees.any():
        found = model.explain_by_family(snapshot.subset(by_trees))
        parts.loc[by_trees, list(found)] = found.to_numpy()
    if not by_trees.all():
        others = snapshot.subset(~by_trees)
        parts.loc[~by_trees, [*PLAYERS, BASELINE]] = (
            np.nan if reference is None else process_shares(_word_of(model), others, reference)
        )
    parts[CALIBRATION] = log_odds(probability) - parts.to_numpy().sum(axis=1)
    return parts


def tell_churn(
    parts: pd.DataFrame, model: Any, snapshot: Snapshot, *, lang: str, horizon: str
) -> pd.DataFrame:
    """Write the strongest reasons in words: ``churn_reasons_for`` and ``churn_reasons_against``."""
    families = list(FAMILIES)
    by_process = np.full(len(snapshot), np.nan)
    if isinstance(model, ChurnModel):
        by_process = _word_of(model)(snapshot)
    length = Duration.parse(horizon)
    pros, cons = tell(
        parts[families].fillna(0.0),
        snapshot,
        lang=lang,
        horizon=write_length(length.number, length.unit, lang),
        process=by_process,
    )
    return pd.DataFrame({"churn_reasons_for": pros, "churn_reasons_against": cons})


def family_importance(
    parts: pd.DataFrame, *, n_replicates: int = 200, seed: int = 0, most: int = 50_000
) -> pd.DataFrame:
    """Say how much each family moves the log-odds of churn, over all customers.

    Parameters
    ----------
    parts : DataFrame
        From :func:`churn_parts`.
    n_replicates, seed : int
        Of the bootstrap of customers.
    most : int
        Customers at most, a sample by a hash of their id.

    Returns
    -------
    DataFrame
        Index ``family``, the strongest first: ``importance`` (the mean of what the family adds or
        takes, without its sign) and the bounds of its 95 % interval, ``lower`` and ``upper``.
    """
    known = parts[list(FAMILIES)].dropna()
    keys = hash_keys(known.index)
    order = np.argsort(keys)[:most]  # hashes are a random order
    size = known.abs().to_numpy()[order]
    asked = {
        str(name): {"importance": partial(weighted_mean, size[:, place])}
        for place, name in enumerate(known)
        if size[:, place].any()
    }
    found = replicate(asked, keys[order], n_replicates=n_replicates, seed=seed)
    table = found.table(level=0.95).droplevel("metric").rename_axis("family")
    table = table.rename(columns={"value": "importance"})[["importance", "lower", "upper"]]
    return table.sort_values("importance", ascending=False, kind="stable")


def _word_of(model: Any) -> Any:
    """Return what says P(no purchase) of a snapshot: the process behind the model, or the rule."""
    if isinstance(model, WithPurchaseModel):
        settings: Any = model
        length = whole_length(settings.horizon, settings.gap)
        return partial(_asked, model, length)
    return lambda snapshot: model.churn_probability(snapshot).to_numpy(dtype=np.float64)


def _asked(model: WithPurchaseModel, length: Duration, snapshot: Snapshot) -> FloatArray:
    return model.no_purchase(snapshot, length)
