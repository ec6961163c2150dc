"""Models fitted so far, so that no process is fitted twice on the same snapshot."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone

from crmml.features.snapshot import Snapshot


class Fits:
    """Fitted models by the snapshot that they were fitted on.

    A model is found again if it was fitted on the very same snapshot object with equal settings.
    It is shared then, not copied: fitted models are not changed. What its fit warned of was said
    when it was fitted, and is not said again.

    Examples
    --------
    >>> from crmml.features.snapshot import build_snapshot
    >>> from crmml.models import ModifiedBetaGeoModel
    >>> from crmml.data.datasets import load_cdnow
    >>> snapshot = build_snapshot(load_cdnow(sample=True), "1997-10-01", behaviour=False)
    >>> fits = Fits()
    >>> first = fits.fit(ModifiedBetaGeoModel(), snapshot)
    >>> fits.fit(ModifiedBetaGeoModel(), snapshot) is first
    True
    """

    def __init__(self) -> None:
        self._known: list[tuple[Snapshot, Any, Any]] = []

    def add(self, snapshot: Snapshot, fitted: Any) -> None:
        """Remember a model that was fitted elsewhere on a snapshot, all customers weighing alike.

        Parameters
        ----------
        snapshot : Snapshot
            What it was fitted on.
        fitted : estimator
            Fitted.
        """
        self._known.append((snapshot, _settings(fitted), fitted))

    def fit(self, model: Any, snapshot: Snapshot) -> Any:
        """Return a fitted model: the one known, else a copy fitted now.

        Parameters
        ----------
        model : estimator
            Its settings count; it is not changed.
        snapshot : Snapshot
            What to fit on.
        """
        wanted = _settings(model)
        for seen, settings, fitted in self._known:
            if seen is snapshot and settings == wanted:
                return fitted
        fitted = clone(model).fit(snapshot)
        self._known.append((snapshot, wanted, fitted))
        return fitted


def _settings(model: Any) -> Any:
    """Return class and settings, those of estimators inside included."""
    if not hasattr(model, "get_params") or isinstance(model, type):
        return model
    return type(model), {k: _settings(v) for k, v in model.get_params(deep=False).items()}
