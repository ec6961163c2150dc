"""What an estimator says of itself: its settings, what the fit found, and what it needs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crmml.card import Card, brief, cut, listed
from crmml.models.consequences import consequence

NEEDS: Mapping[str, str] = {
    "snapshot": "a Snapshot: crmml.build_snapshot(log, cutoff) makes it",
    "history": "windows of the past with their outcomes: see crmml.features.labels.build_labelled",
    "LoyaltyModel": "windows of wallets: crmml.features.wallet.rolling_wallets makes them",
    "periods": "a row per contract and period: crmml.features.contracts makes them",
    "contracts": "a table of contracts with customer_id, renewals and ended",
}
"""What ``fit`` takes, by the name of its first argument, or by class."""


def estimator_card(model: Any) -> Card:
    """Lay out an estimator, fitted or not.

    Parameters
    ----------
    model : Estimator
        Nothing of it is computed.

    Returns
    -------
    Card
        Settings with their consequences, those that were changed first; then what was found.
    """
    kind = type(model).__name__
    fitted = hasattr(model, model._state[0])
    size = getattr(model, "n_customers_", None)
    line = f"{kind}({_changed(model)})"
    if fitted:
        line += ", fitted" if size is None else f", fitted to {size:,} customers"
    rows = list(_found(model)) if fitted else [("not fitted", f"fit takes {needs(model)}")]
    rows += _settings(model, room=13 - len(rows))
    return Card(line, tuple(rows))


def needs(model: Any) -> str:
    """Say what ``fit`` takes and what makes it."""
    first = list(inspect.signature(type(model).fit).parameters)[1]
    return NEEDS.get(type(model).__name__, NEEDS.get(first, f"an argument called {first}"))


def _defaults(model: Any) -> dict[str, Any]:
    return {k: p.default for k, p in inspect.signature(type(model)).parameters.items()}


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, type(default)) and bool(value == default))


def _changed(model: Any) -> str:
    """Write the settings that are not the default, as one would to make the model."""
    found = []
    for name, default in _defaults(model).items():
        value = getattr(model, name, default)
        if not _is_default(value, default):
            found.append(f"{name}={cut(_written(value), 60)}")
    return ", ".join(found)


def _written(value: Any) -> str:
    if hasattr(value, "get_params"):
        return f"{type(value).__name__}(...)"
    simple = value is None or isinstance(value, (bool, int, float, str))
    short = isinstance(value, (list, tuple)) and all(isinstance(v, (str, int)) for v in value)
    return repr(value) if simple or short else brief(value)


def _settings(model: Any, room: int) -> list[tuple[str, str]]:
    """Write each setting beside its consequence, as many as there is room for."""
    kind, defaults = type(model).__name__, _defaults(model)
    ranked = sorted(
        defaults, key=lambda name: _is_default(getattr(model, name, None), defaults[name])
    )
    lines = []
    for name in ranked:
        value = getattr(model, name, defaults[name])
        meaning = consequence(kind, name, value)
        lines.append((name, f"{cut(_written(value), 40)}: {meaning}" if meaning else brief(value)))
    if len(lines) > max(room, 1):
        hidden = [name for name, _ in lines[max(room - 1, 0) :]]
        return [*lines[: max(room - 1, 0)], ("further settings", listed(hidden))]
    return lines


def _found(model: Any) -> Iterator[tuple[str, str]]:
    """Write what the fit found: parameters first, then what limits their meaning."""
    if isinstance(getattr(model, "params_", None), dict):
        yield "parameters", _estimates(model)
    for name, (label, write) in FOUND.items():
        value = getattr(model, name, None)
        if value is not None and value != {} and (text := write(value)):
            yield label, text
    for note in getattr(model, "notes", ())[:2]:
        yield "note", str(note)
    if hasattr(model, "summary"):
        yield "more", "summary() gives standard errors, AIC and BIC; save(path) stores the model"


def _estimates(model: Any) -> str:
    errors = getattr(model, "standard_errors_", {})
    texts = []
    for name, value in model.params_.items():
        error = errors.get(name)
        doubt = f" (s.e. {error:.3g})" if error is not None and math.isfinite(error) else ""
        texts.append(f"{name} {value:.4g}{doubt}")
    return listed(texts, most=8)


def _coefficients(value: Mapping[str, Mapping[str, float]]) -> str:
    return listed(f"{name} {known['estimate']:+.3g}" for name, known in value.items())


def _number(text: str) -> Callable[[Any], str]:
    return lambda value: text.format(value)


FOUND: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "log_likelihood_": ("log-likelihood", _number("{:,.3f}")),
    "coefficients_": ("coefficients", _coefficients),
    "converged_": ("optimiser", lambda v: "converged" if v else "stopped early: see the warning"),
    "time_unit_": ("time unit", _number("{}: predictions refuse snapshots in another one")),
    "k_": ("regularity", lambda v: f"k = {v}" if v > 1 else "none found: k = 1"),
    "purchase_model_": ("purchases", repr),
    "spend_model_": ("spend", repr),
    "process_": ("process", repr),
    "members_": ("members", lambda v: listed(type(m).__name__ for m in v)),
    "weights_": ("weights", lambda v: listed(f"{w:.3f}" for w in v)),
    "rule_": ("rule", str),
    "training_auc_": ("AUC", lambda v: listed(f"{k} {a:.3f}" for k, a in v.items())),
    "published_": ("gives", _number("{}")),
    "reason_": ("because", str),
    "evidence_": ("classes are", str),
    "features_": ("columns", lambda v: f"{len(v)}: {listed(v, most=4)}"),
    "n_rounds_": ("trees", _number("{:,}")),
    "n_training_rows_": ("learned from", _number("{:,} rows")),
    "training_cutoffs_": ("cutoffs", lambda v: listed(v, most=3)),
    "trained_until_": ("knows outcomes", _number("until {}")),
    "level_": ("mean spend", _number("{:,.2f} per repeat purchase")),
    "gain_": ("gain of the trees", _number("{:.4f} deviance per customer left out")),
}
"""Fitted attributes that are shown, with their label and how they are written."""
