"""One door to a purchase model: process, clocks, origin and covariates, composed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from crmml._typing import Duration
from crmml.exceptions import CrmmlWarning, FitWarning, ParameterError, TooLittleDataError
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.metrics.bootstrap import hash_keys
from crmml.models.fits import Fits
from crmml.models.purchase.base import PurchaseModel
from crmml.models.purchase.beta_geo import BetaGeoModel
from crmml.models.purchase.calendar import known_times
from crmml.models.purchase.clocks import ClockSettings, RequestedClocks, ScheduleClock
from crmml.models.purchase.joint_fit import end_of
from crmml.models.purchase.left_censored import LeftCensoredModel, detect_left_censoring
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.models.purchase.regularity import RegularPurchaseModel
from crmml.stats.discounting import UNIT_DAYS

Process = Literal["bg_nbd", "mbg_nbd", "pareto_nbd", "cnbd_k"]

_PROCESSES: dict[str, type[PurchaseModel]] = {
    "bg_nbd": BetaGeoModel,
    "mbg_nbd": ModifiedBetaGeoModel,
    "pareto_nbd": ParetoNBDModel,
    "cnbd_k": RegularPurchaseModel,
}
_MOST_SCORED = 20_000
_MOST_PURCHASES = 400
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
    if RequestedClocks.read(clocks).estimated:
        raise ParameterError("clocks", f"given in full for {process} ({reason})", clocks)
    if k is None:
        raise ParameterError("k", f"given where {process} has clocks ({reason})", k)
    return {"clocks": clocks}


@dataclass(frozen=True)
class Composition:
    """A process whose clocks and origin each fit chooses by itself.

    Attributes
    ----------
    process : {"bg_nbd", "mbg_nbd"}
        A process that can have clocks.
    origin : {"auto", "first"}
        ``"auto"``: customers older than the data have parameters of their own where the counts by
        week show that there are any (see :func:`compose_purchase_model`), unless that forecasts the
        newest training window worse.
    schedules : ScheduleClock, optional
        Tried beside newcomers and season.
    """

    process: Literal["bg_nbd", "mbg_nbd"]
    origin: Literal["auto", "first"] = "auto"
    schedules: ScheduleClock | None = None

    def fit(
        self, snapshot: Snapshot, windows: Sequence[LabelledSnapshot], fits: Fits
    ) -> PurchaseModel:
        """Return the process, fitted with the clocks that pay and forecast.

        A clock must pay by the Bayesian information criterion, newcomers and season first, then
        the schedules; where none does, that is all. What pays must also forecast the newest
        training window better, see :func:`keep_clocks_that_forecast`. So must parameters of their
        own for customers older than the data: whose likelihood does not compare, as it is of other
        purchases, but of what they buy later all models speak alike.

        Parameters
        ----------
        snapshot : Snapshot
            What to fit on.
        windows : sequence of LabelledSnapshot
            Training windows, oldest first; without one the criterion alone decides.
        fits : Fits
            Models known already; what is fitted is added.
        """
        with warnings.catch_warnings():
            # What the trials warn of is said of the one that is kept, when it is asked for below.
            warnings.simplefilter("ignore", CrmmlWarning)
            found, refused = self._fit_auto(snapshot, fits)
            newest = windows[-1:]
            if self.schedules is not None:
                spans = [_span(each) for each in (snapshot, *(part.snapshot for part in newest))]
                found = _add_schedules(found, self.schedules.seen(*spans), snapshot, fits)
            chosen = keep_clocks_that_forecast(found, newest, fits)
            chosen = _keep_origin_that_forecasts(found, chosen, newest, fits)
        # Said outside the block that silences trials: it concerns the model that is kept.
        if refused is not None:
            text = f"customers older than the data are taken for new ones: {refused}"
            warnings.warn(text, FitWarning, stacklevel=2)
        return cast(PurchaseModel, fits.fit(chosen, snapshot))

    def _fit_auto(
        self, snapshot: Snapshot, fits: Fits
    ) -> tuple[PurchaseModel, TooLittleDataError | None]:
        refused = None
        if self.origin == "auto" and _is_older(snapshot):
            older = compose_purchase_model(self.process, clocks="auto", origin="auto")
            try:
                return fits.fit(older, snapshot), None
            except TooLittleDataError as error:
                refused = error
        return fits.fit(compose_purchase_model(self.process, clocks="auto"), snapshot), refused


def fit_purchase_model(
    model: Any, snapshot: Snapshot, windows: Sequence[LabelledSnapshot], fits: Fits
) -> Any:
    """Fit a purchase model, or what a composition chooses.

    Parameters
    ----------
    model : estimator or Composition
        Unfitted.
    snapshot, windows, fits
        See :meth:`Composition.fit`.
    """
    if isinstance(model, Composition):
        return model.fit(snapshot, windows, fits)
    return fits.fit(model, snapshot)


def kept_clocks(model: Any) -> tuple[str, ...]:
    """Name what moves the rates of a fitted purchase model, or sets customers apart.

    Returns
    -------
    tuple of str
        Among ``"newcomers"``, ``"season"``, the names of schedules, and ``"older customers apart"``
        where those who are older than the data have parameters of their own.

    Examples
    --------
    >>> from crmml.data.datasets import load_cdnow
    >>> from crmml.features.snapshot import build_snapshot
    >>> snapshot = build_snapshot(load_cdnow(sample=True), "1997-10-01")
    >>> kept_clocks(ModifiedBetaGeoModel(clocks="auto").fit(snapshot))
    ('newcomers',)
    """
    found = []
    if getattr(model, "first_", 1.0) != 1.0:
        found.append("newcomers")
    if getattr(model, "calendar_", None) is not None and model.n_waves_ != 0:
        found.append("season")
    found += getattr(model, "schedule_coefficients_", {})
    if getattr(model, "old_", None) is not None:
        found.append("older customers apart")
    return tuple(found)


def keep_clocks_that_forecast(
    model: PurchaseModel, windows: Sequence[LabelledSnapshot], fits: Fits | None = None
) -> PurchaseModel:
    """Give up the estimated clocks of a fitted model where they do not forecast better.

    A gain of likelihood does not tell an effect from a wrong process: newcomers are found in worlds
    that have none. So the same settings are fitted at the cutoff of each window, without clocks,
    with each kind of them alone and with all, and the best is kept by the logarithm of the
    probability of what each customer then bought (of a sample of 20,000). Ties go to fewer clocks.

    Parameters
    ----------
    model : PurchaseModel
        Fitted; its settings are fitted anew.
    windows : sequence of LabelledSnapshot
        Earlier snapshots with their outcomes.
    fits : Fits, optional
        Models known already; what is fitted is added.

    Returns
    -------
    PurchaseModel
        ``model`` itself, or an **unfitted** model with fewer clocks, to be fitted.
    """
    simpler = model.simpler()
    if simpler is None or not windows:
        return model
    fits = Fits() if fits is None else fits
    trials = [simpler, *_one_clock_each(model), model]
    scores = [math.fsum(_log_score(trial, window, fits) for window in windows) for trial in trials]
    # The trials rise in the number of clocks, and argmax takes the first of equals.
    best = int(np.argmax(scores))
    return trials[best] if math.isfinite(scores[best]) else model


def _keep_origin_that_forecasts(
    found: PurchaseModel,
    chosen: PurchaseModel,
    windows: Sequence[LabelledSnapshot],
    fits: Fits,
) -> PurchaseModel:
    """Take older customers for new ones where that forecasts better, under the same clocks.

    ``found`` is the fitted model of which ``chosen`` keeps all clocks (and is it) or some.
    """
    if not isinstance(chosen, LeftCensoredModel) or not windows:
        return chosen
    base = cast(PurchaseModel, chosen.base)
    clocks = _settings_of(found) if chosen is found else base.clocks
    # Under the same clocks, so that nothing but the origin differs.
    plain = base._with_clocks(tuple(clocks))
    as_new, apart = (
        math.fsum(_log_score(trial, window, fits) for window in windows)
        for trial in (plain, chosen)
    )
    return plain if as_new > apart else chosen


def _one_clock_each(model: PurchaseModel) -> list[PurchaseModel]:
    """Return unfitted models with one kind of the clocks that a model keeps, where it keeps two."""
    kept = _settings_of(model)
    if len(kept) < 2:
        return []
    return [model._with_clocks((clock,)) for clock in kept]


def _settings_of(model: PurchaseModel) -> tuple[Any, ...]:
    """Return the settings of the clocks that a fitted model kept, by name where estimated."""
    requested, kept = model._requested(), kept_clocks(model)
    clocks: list[Any] = []
    if requested.newcomers is not None and "newcomers" in kept:
        clocks.append("newcomers" if requested.newcomers.first is None else requested.newcomers)
    if requested.season is not None and "season" in kept:
        clocks.append("season" if requested.season.profile is None else requested.season)
    if requested.schedules is not None:
        clocks.append(requested.schedules)
    return tuple(clocks)


def _add_schedules(
    model: PurchaseModel, schedules: ScheduleClock | None, snapshot: Snapshot, fits: Fits
) -> PurchaseModel:
    """Add the schedules to what a fitted model keeps, if they pay by the criterion."""
    if schedules is None:
        return model
    trial = fits.fit(model._with_clocks((*_settings_of(model), schedules)), snapshot)
    # Half of log n per coefficient: the Bayesian information criterion.
    price = 0.5 * len(schedules.names) * math.log(len(snapshot))
    return trial if trial.log_likelihood_ - model.log_likelihood_ > price else model


def _is_older(snapshot: Snapshot) -> bool:
    """Whether the counts by week show customers who are older than the data."""
    if known_times(snapshot) is None or "first_timestamp" not in snapshot.provenance:
        return False
    return detect_left_censoring(snapshot).base == "left_censored"


def _span(snapshot: Snapshot) -> tuple[float, float]:
    """Begin and end of the longest observation, in days since 1970-01-01."""
    end = end_of(snapshot)
    longest = float(snapshot.frame["T"].max()) * UNIT_DAYS.get(snapshot.time_unit, 1.0)
    return end - longest, end


def _log_score(model: PurchaseModel, window: LabelledSnapshot, fits: Fits) -> float:
    """Sum over customers of log P(the number that they bought in the window).

    It is minus infinity where the model cannot be fitted at the cutoff of the window.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CrmmlWarning)  # said where the model itself is fitted
        try:
            fitted = fits.fit(model, window.snapshot)
        except TooLittleDataError:
            return -math.inf
    bought = window.outcomes["purchases"].reindex(window.snapshot.customer_id).to_numpy(np.int64)
    # Of very many purchases the probabilities would fill the memory and tell nothing more.
    keys = hash_keys(window.snapshot.customer_id)
    some = bought <= _MOST_PURCHASES
    if some.sum() > _MOST_SCORED:
        some &= keys <= np.partition(keys[some], _MOST_SCORED - 1)[_MOST_SCORED - 1]
    bought = bought[some]
    ahead = fitted.predictive(window.snapshot.subset(some), window.window.horizon)
    table = ahead.pmf(int(bought.max(initial=0)))
    happened = table.to_numpy()[np.arange(len(bought)), bought]
    return math.fsum(np.log(np.maximum(happened, 1e-300)).tolist())
