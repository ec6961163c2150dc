"""Why a customer is thought to leave: what each family of features adds, up to the score itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray
from crmml.features.families import FAMILIES
from crmml.features.snapshot import Snapshot
from crmml.metrics.bootstrap import hash_keys, replicate, weighted_mean
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.churn.history import whole_length
from crmml.models.churn.model import ChurnModel
from crmml.models.churn.process_shares import PLAYERS, log_odds, process_shares
from crmml.models.churn.purchase import WithPurchaseModel
from crmml.scoring.reason_words import tell, write_length

BASELINE, CALIBRATION = "baseline", "calibration"

NO_REFERENCE = "this bundle holds no customer to compare with: it was trained before version 0.4"


@dataclass(frozen=True)
class Outside:
    """Who is no candidate of the churn model: their probability is that of the process, calibrated.

    Attributes
    ----------
    who : ndarray of bool, shape (n_customers,)
    probability : ndarray, shape (n_customers,)
        Of churn, as the calibration gives it; read where ``who`` holds.
    process : callable
        Gives P(no purchase) of a snapshot by the purchase process.
    bounds : tuple of 2 floats
        The least and largest probability of the calibration.
    """

    who: BoolArray
    probability: FloatArray
    process: Callable[[Snapshot], FloatArray]
    bounds: tuple[float, float]


def churn_parts(
    model: Any,
    snapshot: Snapshot,
    *,
    reference: Sequence[float] | None,
    outside: Outside | None = None,
) -> pd.DataFrame:
    """Return what each family adds to the log-odds of churn, keyed by customer.

    Parameters
    ----------
    model : churn model
        Trees, a purchase process or a recency rule.
    snapshot : Snapshot
    reference : sequence of 3 floats or None
        The typical customer that a process compares with; see
        :func:`crmml.models.churn.process_shares.reference_customer`.
    outside : Outside, optional
        By default the churn model speaks of everybody.

    Returns
    -------
    DataFrame
        Columns: the families (0 where one was not asked), ``baseline`` (of the typical customer)
        and ``calibration``: the log-odds as calibrated on what happened, less those that the model
        itself says. Of a process these are held to the range of the calibration, so that the step
        is no larger than that range. A row adds up to the log-odds of the churn probability that is
        served; rows without a reference are missing.
    """
    parts = pd.DataFrame(0.0, snapshot.customer_id, [*FAMILIES, BASELINE, CALIBRATION])
    others = np.zeros(len(snapshot), dtype=bool) if outside is None else outside.who
    if not others.all():
        found = _parts_of_model(model, snapshot, ~others, reference)
        parts.loc[~others, list(found)] = found.to_numpy()
    if outside is not None and others.any():
        p = outside.probability[others]
        found = _parts_of_process(
            outside.process, snapshot, others, reference, outside.bounds, lambda _: p
        )
        parts.loc[others, list(found)] = found.to_numpy()
    return parts


def _parts_of_model(
    model: Any, snapshot: Snapshot, who: BoolArray, reference: Sequence[float] | None
) -> pd.DataFrame:
    """Return the parts by the churn model, each step of the way to what it serves on its own."""
    if isinstance(model, ChurnModel):
        found = model.explain_by_family(snapshot.subset(who))
        score = found.to_numpy().sum(axis=1)
        calibrated = MonotoneCalibration.from_dict(model.calibration_)(score)
        return found.assign(**{CALIBRATION: log_odds(calibrated) - score})
    curve, bounds = None, (0.0, 1.0)
    if isinstance(model, WithPurchaseModel) and model.calibration_ is not None:
        curve = MonotoneCalibration.from_dict(model.calibration_)
        bounds = (curve.probabilities[0], curve.probabilities[-1])
    return _parts_of_process(_word_of(model), snapshot, who, reference, bounds, curve)


def _parts_of_process(
    predict: Callable[[Snapshot], FloatArray],
    snapshot: Snapshot,
    who: BoolArray,
    reference: Sequence[float] | None,
    bounds: tuple[float, float],
    calibrate: Callable[[FloatArray], FloatArray] | None,
) -> pd.DataFrame:
    names, some = [*PLAYERS, BASELINE, CALIBRATION], snapshot.subset(who)
    if reference is None:
        return pd.DataFrame(np.nan, some.customer_id, names)
    # Asked of all, whose histories were gathered before.
    predicted = predict(snapshot)[who]
    shares = process_shares(predict, some, reference, predicted=predicted, bounds=bounds)
    step = np.zeros(len(predicted))
    if calibrate is not None:
        step = log_odds(calibrate(predicted)) - shares.word
    return pd.DataFrame(np.column_stack([shares.parts, step]), some.customer_id, names)


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
