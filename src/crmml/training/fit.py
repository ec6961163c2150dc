"""Fit all that a bundle needs on what was known at one cutoff."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone

from crmml.exceptions import FitWarning, TooLittleDataError
from crmml.features.labels import LabelledSnapshot
from crmml.features.profit import COSTS
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import WindowChoice, choose_window, rolling_wallets
from crmml.models.churn.selection import ChurnSelection, select_churn
from crmml.models.forecast.forecasters import (
    Forecaster,
    HybridForecaster,
    ProcessForecaster,
    in_order,
)
from crmml.models.forecast.plausibility import find_implausible
from crmml.models.loyalty.model import LoyaltyModel
from crmml.models.purchase.compose import Composition, fit_purchase_model
from crmml.models.purchase.left_censored import detect_left_censoring
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.notes import Note, Severity, about, collecting, fit_of
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.segments import NO_CATEGORY, TasteSegment
from crmml.training.backtest import Backtest
from crmml.training.bundling import make_bundle
from crmml.training.candidates import COMPOSED, make_candidate, make_process, read_schedules
from crmml.training.choose import process_for_value
from crmml.training.outside import calibrate_outside
from crmml.training.plan import Plan, label_churn_history
from crmml.training.windows import build_training_windows


@dataclass(frozen=True)
class Fitted:
    """A bundle, the churn model that the data allowed, and what the fits have to say."""

    bundle: ScoringBundle
    churn: ChurnSelection
    notes: tuple[Note, ...]


def fit_bundle(
    plan: Plan, snapshot: Snapshot, backtest: Backtest, judging: Plan | None = None
) -> Fitted:
    """Fit forecast, lifetime value, churn and loyalty on a snapshot, and bundle them.

    Parameters
    ----------
    plan : Plan
        Of the training; no snapshot that it holds is built again, and no process fitted again.
    snapshot : Snapshot
        At the cutoff: that of the plan, or that of a test window.
    backtest : Backtest
        The choice.
    judging : Plan, optional
        Of the customers on whom the backtest judged, where these are not all: the churn model is
        chosen and learned on them, as more of them would be left out again.

    Raises
    ------
    TooLittleDataError
        If the data before the cutoff cannot carry a model.
    """
    config, chosen, cutoff = plan.config, backtest.chosen, snapshot.cutoff
    judging = judging or plan
    horizon = config.outcome.horizon
    process = process_for_value(chosen, backtest.leaderboard)
    notes: list[Note] = []
    with collecting(notes, fit_of("the models", cutoff)):
        forecast = _bear_out(plan, snapshot, process, fit_forecast(plan, snapshot, backtest))
        correction = forecast if isinstance(forecast, HybridForecaster) else None
        notes += _basis_of_value(process, chosen, correction is not None, horizon)
        model = fit_process(plan, snapshot, process)
        notes += age_of_base(snapshot, process, model)
        margin, source = find_margin(config.value.margin, snapshot)
        notes += [source, *unknown_costs(snapshot)]
        lifetime_value = fit_lifetime_value(plan, snapshot, process, model, margin, correction)
        found = (*lifetime_value.purchase_model_.notes, *lifetime_value.spend_model_.notes)
        notes += [Note("finding", "info", text, fit_of(process, cutoff)) for text in found]
        churn = select_churn(
            label_churn_history(judging, cutoff),
            horizon=horizon,
            gap=config.outcome.gap,
            snapshot=snapshot,
            purchase_model=clone(model),
            seed=config.seed,
            n_boot=config.backtest.bootstrap,
            fits=plan.fits,
        )
        loyalty, window = fit_loyalty(plan, snapshot)
    notes.append(Note("churn_choice", "info", churn.reason, "churn"))
    notes.append(Note("loyalty_choice", "info", loyalty.reason_, "loyalty"))
    notes.append(Note("loyalty_window", "info", window.reason, "loyalty"))
    bundle = make_bundle(
        config,
        plan.tables,
        snapshot,
        lifetime_value=lifetime_value,
        forecast=forecast,
        churn=churn.model,
        outside=calibrate_outside(
            judging, snapshot, backtest, lambda known: fit_process(judging, known, process)
        ),
        loyalty=loyalty,
        loyalty_window=window.length,
        margin=config.value.margin,
    )
    notes += [
        Note("taste_choice", "info", one.describe(), "taste")
        for one in bundle.predictors
        if isinstance(one, TasteSegment) and one.why != NO_CATEGORY  # said with the null column
    ]
    return Fitted(bundle, churn, tuple(notes))


def _basis_of_value(process: str, chosen: str, corrected: bool, horizon: str) -> list[Note]:
    """Say what lifetime value rests on, where that is not the forecast itself."""
    if corrected:
        text = (
            "lifetime value rests on the process of the hybrid, corrected as its forecast is, "
            f"and gamma_gamma; the correction fades beyond {horizon}"
        )
    elif process != chosen:
        what = f"the forecast of purchases and spend in {horizon} on {chosen}"
        text = f"lifetime value rests on {process} and gamma_gamma, {what}"
    else:
        return []
    return [Note("value_process", "info", text)]


def fit_forecast(plan: Plan, snapshot: Snapshot, backtest: Backtest) -> Forecaster:
    """Fit the chosen candidate on a snapshot, or take it from the test window of that snapshot."""
    chosen = backtest.chosen
    for window in backtest.windows:
        if window.labelled.snapshot is snapshot:
            return window.fitted[chosen]
    return _fit_candidate(plan, snapshot, chosen)


def _fit_candidate(plan: Plan, snapshot: Snapshot, name: str) -> Forecaster:
    config = plan.config
    schedules = read_schedules(plan.tables)
    forecast = make_candidate(name, config.outcome.horizon, seed=config.seed, schedules=schedules)
    windows = _training_windows(plan, snapshot, forecast.n_windows)
    with about(fit_of(name, snapshot.cutoff)):
        return forecast.fit(snapshot, windows, fits=plan.fits)


def _bear_out(plan: Plan, snapshot: Snapshot, process: str, forecast: Forecaster) -> Forecaster:
    """Return a learned forecast, or that of a process where no history bears the learned one out.

    A process cannot leave its own rates far behind, and the hybrid has been compared in its fit.
    """
    if isinstance(forecast, (ProcessForecaster, HybridForecaster)):
        return forecast
    horizon = plan.config.outcome.horizon
    windows = _training_windows(plan, snapshot, forecast.n_windows)
    implausible = find_implausible(forecast.forecast(snapshot), snapshot, windows, horizon)
    if not implausible:
        return forecast
    warnings.warn(
        f"the learned forecast is not served, but that of {process}: {'; '.join(implausible)}",
        FitWarning,
        stacklevel=2,
    )
    return _fit_candidate(plan, snapshot, process)


def fit_process(plan: Plan, snapshot: Snapshot, name: str) -> Any:
    """Fit the purchase process of that name, with the clocks that it chooses by itself."""
    model = make_process(name, read_schedules(plan.tables))
    windows = _training_windows(plan, snapshot, 1) if isinstance(model, Composition) else []
    with about(fit_of(name, snapshot.cutoff)):
        return fit_purchase_model(model, snapshot, in_order(snapshot, windows), plan.fits)


def _training_windows(plan: Plan, snapshot: Snapshot, most: int) -> list[LabelledSnapshot]:
    return build_training_windows(
        plan.tables,
        snapshot.cutoff,
        plan.config.outcome.horizon,
        most=most,
        cache=plan.labelled,
        **plan.build,
    )


def fit_lifetime_value(
    plan: Plan,
    snapshot: Snapshot,
    process: str,
    model: Any,
    margin: float | str,
    correction: HybridForecaster | None = None,
) -> LifetimeValueModel:
    """Fit lifetime value on a fitted purchase process of that name and Gamma-Gamma spend.

    With a correction it rests on the process of that.
    """
    with about(fit_of(f"{process} and gamma_gamma", snapshot.cutoff)):
        return LifetimeValueModel(
            purchase_model=clone(model),
            spend_model=GammaGammaModel(),
            annual_discount_rate=plan.config.value.annual_discount_rate,
            margin=margin,
            random_state=plan.config.seed,
        ).fit(snapshot, fits=plan.fits, correction=correction)


def fit_loyalty(plan: Plan, snapshot: Snapshot) -> tuple[LoyaltyModel, WindowChoice]:
    """Fit the loyalty classes at all cutoffs up to that of a snapshot, a horizon apart."""
    horizon, asked = plan.config.outcome.horizon, plan.config.loyalty.window
    how: dict[str, Any] = {"grain": snapshot.grain, "own_seller": plan.config.data.own_seller}
    if asked is None:
        window = choose_window(plan.tables, snapshot.cutoff, step=horizon, **how)
    else:
        window = WindowChoice(asked, f"loyalty looks back {asked}, as configured")
    wallets = rolling_wallets(
        plan.tables, snapshot.cutoff, length=window.length, step=horizon, **how
    )
    if not wallets:
        raise TooLittleDataError(
            f"loyalty classes need one window of {window.length}; the data before "
            f"{snapshot.cutoff.date()} begin on {plan.tables.first_timestamp.date()}"
        )
    return LoyaltyModel(seed=plan.config.seed).fit(wallets), window


def find_margin(configured: float, snapshot: Snapshot) -> tuple[float | str, Note]:
    """Return where margins come from: the column of each customer's own ratio, or as configured."""
    frame = snapshot.frame
    assumed = f"{configured:.1%} of revenue, as configured"
    if "margin_to_date" not in frame or "expected_margin_ratio" not in frame:
        absent = snapshot.provenance.get("absent", {}).get("margin_to_date", "")
        why = absent if absent.startswith("no line") else "the data have no column margin or cost"
        text = f"{assumed} (an assumption: {why})"
        return configured, Note("margin_assumed", "warn", text, "margin", "decisions")
    earned, spent = float(frame["margin_to_date"].sum()), float(frame["net_spend"].sum())
    observed = earned / spent if spent > 0 else float("nan")
    if not 0.0 < observed <= 1.0:
        text = f"{assumed}; the data's own ({earned:,.2f} on {spent:,.2f}) is no share of it"
        return configured, Note("margin_unusable", "ask", text, "margin", "data")
    text = (
        f"{observed:.1%} of revenue, as observed before {snapshot.cutoff.date()}; each customer's "
        "own ratio is shrunk to it and to the categories bought"
    )
    unknown = int(frame["lines_without_margin"].sum())
    if unknown:
        text += (
            f"; {unknown:,} of {snapshot.provenance['lines']:,} lines have no margin, so that of "
            "their category stands in"
        )
    return "expected_margin_ratio", Note("margin_observed", "info", text, "margin", "decisions")


def unknown_costs(snapshot: Snapshot) -> list[Note]:
    """Say which costs are left out of profit to date, where some are known."""
    absent = snapshot.provenance.get("absent", {})
    unknown = {part.name: absent[part.name] for part in COSTS if part.name in absent}
    if len(unknown) in (0, len(COSTS)):
        return []
    text = "profit to date leaves out " + "; ".join(f"{n}: {why}" for n, why in unknown.items())
    return [Note("costs_unknown", "info", text, "profit", "data")]


def age_of_base(snapshot: Snapshot, process: str, model: Any) -> list[Note]:
    """Say so where customers are older than the data, and whether the process allows for it.

    Parameters
    ----------
    snapshot : Snapshot
        Built from a log.
    process : str
        Name of the purchase process that lifetime value rests on.
    model : estimator
        That process, fitted.
    """
    found = detect_left_censoring(snapshot)
    if found.base != "left_censored":
        return []
    severity: Severity = "ask"
    if getattr(model, "old_", None) is not None:
        does, severity = "has parameters of their own for them", "info"
    else:
        others = "" if process in COMPOSED else ": let mbg_nbd compete in backtest.candidates"
        does = f"takes them for new{others}"
    text = f"{found.sentence}; {process} {does}"
    return [Note("older_base", severity, text, "customer base", "data")]
