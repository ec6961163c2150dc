"""What all estimators share: fitted state, plain-text storage, and predictions keyed by customer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from crmml._typing import Duration, FloatArray, TimeUnit
from crmml.exceptions import CrmmlError, NotFittedError
from crmml.features.snapshot import Snapshot
from crmml.stats.discounting import discount_rate_per_unit, in_units
from crmml.stats.process import PurchaseProcess


class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base of all estimators: ``fit(snapshot) -> self``, keyword-only settings, state in ``*_``.

    A fitted estimator is stored as plain JSON values by :meth:`to_dict` and comes back through
    :func:`crmml.models.from_dict`; nothing of the training data is kept.
    """

    _state: ClassVar[tuple[str, ...]] = ()
    """Names of the fitted attributes that are stored."""

    def _check_fitted(self) -> None:
        if not hasattr(self, self._state[0]):
            raise NotFittedError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        self._check_fitted()
        return {
            "class": type(self).__name__,
            "settings": {k: _plain(v) for k, v in self.get_params(deep=False).items()},
            "state": {name: _plain(getattr(self, name)) for name in self._state},
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild a fitted estimator from :meth:`to_dict`."""
        model = cls(**stored["settings"])
        for name, value in stored["state"].items():
            setattr(model, name, value)
        return model


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Duration):
        return str(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


class PurchaseModel(Estimator):
    """A purchase process fitted to (frequency, recency, T); see :mod:`crmml.stats.process`.

    Attributes
    ----------
    params_ : dict of str to float
        Parameters in the time unit of the snapshot.
    standard_errors_ : dict of str to float
        From the observed information, by the delta method.
    covariance_ : list of list of float
        Covariance of the **log**-parameters, in the order of ``params_``.
    log_likelihood_ : float
        At the optimum.
    converged_ : bool
        Whether the optimiser met its tolerance.
    n_customers_ : int
        Number of customers fitted.
    time_unit_ : str
        Time unit of the snapshot; predictions refuse another one.
    """

    _process: ClassVar[PurchaseProcess]
    _state = (
        "params_",
        "standard_errors_",
        "covariance_",
        "log_likelihood_",
        "converged_",
        "n_customers_",
        "time_unit_",
    )

    params_: dict[str, float]
    standard_errors_: dict[str, float]
    covariance_: list[list[float]]
    log_likelihood_: float
    converged_: bool
    n_customers_: int
    time_unit_: TimeUnit

    def _units(self, snapshot: Snapshot, horizon: str | Duration) -> float:
        self._check_snapshot(snapshot)
        return in_units(horizon, self.time_unit_)

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        self._check_fitted()
        if snapshot.time_unit != self.time_unit_:
            raise CrmmlError(
                f"{type(self).__name__} was fitted in units of {self.time_unit_!r}, the snapshot is "
                f"in {snapshot.time_unit!r}"
            )
