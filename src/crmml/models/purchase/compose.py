"""One door to a purchase model: process, clocks, origin and covariates, composed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from sklearn.base import clone

from crmml._typing import Duration
from crmml.exceptions import CrmmlWarning, FitWarning, ParameterError
from crmml.features.labels import LabelledSnapshot
from crmml.models.purchase.base import PurchaseModel
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.clocks import ClockSettings, Wanted
from crmml.models.purchase.left_censored import LeftCensoredModel
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.purchase.regularity import RegularPurchaseModel

Process = Literal["bg_nbd", "mbg_nbd", "pareto_nbd", "cnbd_k"]

_PROCESSES: dict[str, type[PurchaseModel]] = {
    "bg_nbd": BetaGeoModel,
    "mbg_nbd": ModifiedBetaGeoModel,
    "pareto_nbd": ParetoNBDModel,
    "cnbd_k": RegularPurchaseModel,
}
_UNCLOCKED = {
    "pareto_nbd": "its customers leave in calendar time, whatever the purchase rate does",
}
_UNESTIMATED = "the gaps between purchases would have to be known in operational time"
_UNDATED = {
    "pareto_nbd": "a customer who may leave at any moment may have left before the data began",
    "cnbd_k": "the first gap since the origin is not one between two purchases",
}


def compose_purchase_model(
    process: Process = "mbg_nbd",
    *,
    clocks: ClockSettings = (),
    origin: Literal["first", "window", "auto"] | str | Duration = "first",
    purchase_covariates: Sequence[str] = (),
    dropout_covariates: Sequence[str] = (),
    ridge: float = 0.0,
    k: int | None = None,
) -> PurchaseModel:
    """Compose an unfitted purchase model.

    Parameters
    ----------
    process : {"bg_nbd", "mbg_nbd", "pareto_nbd", "cnbd_k"}
    clocks : sequence of clocks, or "auto"
        See :class:`~crmml.models.purchase.base.PurchaseModel`.
    origin : {"first", "window", "auto"} or duration
        From where the purchases of a customer are counted. ``"first"``: the first one;
        ``"window"``: the start of the data, for customers first seen in the first half of them;
        ``"auto"``: the same for those whom the counts by week show to be older than the data; a
        duration is the length of that margin.
    purchase_covariates, dropout_covariates, ridge
        See :class:`~crmml.models.purchase.base.PurchaseModel`.
    k : int, optional
        Order of regularity of ``cnbd_k``, chosen by likelihood unless it is given. It must be
        where there are clocks, and the clocks must be given in full, too.

    Raises
    ------
    ParameterError
        If the parts cannot be combined; the text says why.

    Warns
    -----
    FitWarning
        If ``clocks="auto"`` is left out because the process has no clocks.

    Examples
    --------
    >>> compose_purchase_model("bg_nbd", clocks=["newcomers"])
    BetaGeoModel(clocks=['newcomers'])
    """
    if process not in _PROCESSES:
        raise ParameterError("process", f"one of {sorted(_PROCESSES)}", process)
    settings: dict[str, Any] = {
        "purchase_covariates": purchase_covariates,
        "dropout_covariates": dropout_covariates,
        "ridge": ridge,
    }
    if k is not None and process != "cnbd_k":
        raise ParameterError("k", f"None for {process}", k)
    if process in _UNDATED:
        if origin not in ("first", "auto"):
            raise ParameterError("origin", f"'first' for {process} ({_UNDATED[process]})", origin)
        settings |= {"k": k} if process == "cnbd_k" else {}
        return _PROCESSES[process](**settings, **_given_clocks(process, clocks, k))
    base = cast(Any, _PROCESSES[process])(clocks=clocks, **settings)
    if origin == "first":
        return cast(PurchaseModel, base)
    return LeftCensoredModel(base=base, margin="half" if origin == "window" else origin)


def _given_clocks(process: Process, clocks: ClockSettings, k: int | None) -> dict[str, Any]:
    """Return the clocks of a process for which they cannot be estimated; refuse, or say, others."""
    reason = _UNCLOCKED.get(process, _UNESTIMATED)
    if clocks == "auto":
        warnings.warn(f"{process} is fitted without clocks: {reason}", FitWarning, stacklevel=3)
        return {}
    if not len(clocks):
        return {}
    if process in _UNCLOCKED:
        raise ParameterError("clocks", f"empty for {process} ({reason})", clocks)
    if Wanted.read(clocks).estimated:
        raise ParameterError("clocks", f"given in full for {process} ({reason})", clocks)
    if k is None:
        raise ParameterError("k", f"given where {process} has clocks ({reason})", k)
    return {"clocks": clocks}


def keep_clocks_that_forecast(
    model: PurchaseModel, windows: Sequence[LabelledSnapshot]
) -> PurchaseModel:
    """Give up the estimated clocks of a fitted model where they do not forecast better.

    A gain of likelihood does not tell an effect from a wrong process: newcomers are found in worlds
    that have none. So the same settings are fitted at the cutoff of each window, with the clocks
    and without, and judged by the logarithm of the probability of what each customer then bought.

    Parameters
    ----------
    model : PurchaseModel
        Fitted; its settings are fitted anew.
    windows : sequence of LabelledSnapshot
        Earlier snapshots with their outcomes.

    Returns
    -------
    PurchaseModel
        ``model`` itself, or an **unfitted** model without the clocks, to be fitted.
    """
    simpler = model.simpler()
    if simpler is None or not windows:
        return model
    gains = [
        _log_score(clone(model), window) - _log_score(clone(simpler), window) for window in windows
    ]
    return model if math.fsum(gains) > 0.0 else simpler


def _log_score(model: PurchaseModel, window: LabelledSnapshot) -> float:
    """Sum over customers of log P(the number that they bought in the window)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrmmlWarning)  # said where the model itself is fitted
        fitted = model.fit(window.snapshot)
    bought = window.outcomes["purchases"].reindex(window.snapshot.customer_id).to_numpy(np.int64)
    table = fitted.predictive(window.snapshot, window.window.horizon).pmf(int(bought.max()))
    happened = table.to_numpy()[np.arange(len(bought)), bought]
    return math.fsum(np.log(np.maximum(happened, 1e-300)).tolist())
