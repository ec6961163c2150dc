"""Models fitted so far, so that no process is fitted twice on the same snapshot."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from crmml.exceptions import CrmmlWarning
from crmml.features.snapshot import Snapshot


class Fits:
    """Fitted models by the snapshot that they were fitted on.

    A model is found again if it was fitted on the very same snapshot object with equal settings.
    It is shared then, not copied: fitted models are not changed. What its fit warned of is said to
    whoever asks for it, so that notes do not depend on who asked first.

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
        self._known: list[tuple[Snapshot, Any, Any, Sequence[warnings.WarningMessage]]] = []

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
        known = (k for k in self._known if k[0] is snapshot and k[1] == wanted)
        found = next(known, None)
        if found is None:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", CrmmlWarning)
                found = snapshot, wanted, clone(model).fit(snapshot), said
            self._known.append(found)
        for one in found[3]:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        return found[2]


def _settings(model: Any) -> Any:
    """Return class and settings, those of estimators inside included."""
    if not hasattr(model, "get_params") or isinstance(model, type):
        return model
    return type(model), {k: _settings(v) for k, v in model.get_params(deep=False).items()}
