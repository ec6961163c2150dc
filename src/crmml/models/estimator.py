"""What all estimators share: settings, fitted state, plain storage, checks of their input."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, clone

from crmml import models
from crmml._typing import Duration, FloatArray
from crmml.card import Card, shows_itself
from crmml.exceptions import (
    BoundaryWarning,
    ConvergenceWarning,
    DataError,
    NotFittedError,
    ParameterError,
    TooLittleDataError,
    first_few,
)
from crmml.features.snapshot import Distinct, Snapshot
from crmml.metrics import bootstrap
from crmml.models.cards import estimator_card
from crmml.models.kinds import check_parts, check_stored
from crmml.stats import mle


@shows_itself
class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base of all estimators: ``fit(snapshot) -> self``, keyword-only settings, state in ``*_``.

    A fitted estimator is stored as plain JSON values by :meth:`to_dict` and comes back through
    :func:`crmml.models.from_dict`; nothing of the training data is kept. :meth:`save` writes the
    same to a file, and :func:`crmml.load` reads it.
    """

    _state: ClassVar[tuple[str, ...]] = ()
    """Names of the fitted attributes that are stored."""

    _learners: ClassVar[Mapping[str, str]] = {}
    """Settings that hold unfitted estimators, with the fitted attribute that stands for each."""

    _parts: ClassVar[Mapping[str, Any]] = {}
    """Class, with ``from_dict``, of settings and fitted attributes that are no estimators."""

    def _check_fitted(self) -> None:
        if not hasattr(self, self._state[0]):
            raise NotFittedError(self)

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values, parts and all."""
        self._check_fitted()
        settings = self.get_params(deep=False)
        return {
            "class": type(self).__name__,
            "settings": {k: _plain(v) for k, v in settings.items() if k not in self._learners},
            "state": {
                name: _swap(_plain(getattr(self, name)), nan=None)
                if name in _UNKNOWN
                else _plain(getattr(self, name))
                for name in self._state
            },
        }

    def save(self, path: str | Path, *, exist_ok: bool = False) -> Path:
        """Store the fitted model as one JSON file; :func:`crmml.load` reads it.

        Parameters
        ----------
        path : str or Path
            The file, usually ``*.json``.
        exist_ok : bool, default False
            Whether a file that stands there already may be replaced.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        NotFittedError, StorageError
            If the model is not fitted; if something stands there already, or cannot be written.
        """
        # what reads files imports the classes, and so comes after them
        from crmml.models.files import write_model

        return write_model(self, path, exist_ok=exist_ok)

    def _card(self) -> Card:
        return estimator_card(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild a fitted estimator from :meth:`to_dict`; it would be fitted again alike."""
        settings = {
            name: cls._revived(name, value)
            for name, value in stored["settings"].items()
            if name not in cls._learners
        }
        state = {name: cls._revived(name, value) for name, value in stored["state"].items()}
        check_stored(cls, settings, state, cls._stored_parameters())
        model = cls(**settings, **cls._unfitted(state))
        for name, value in state.items():
            setattr(model, name, value)
        lacking = [name for name in cls._state if not hasattr(model, name)]
        if lacking or not all(name.endswith("_") and name[0] != "_" for name in state):
            found = f"it lacks {first_few(lacking)}" if lacking else f"got {first_few(state, 30)}"
            raise DataError(
                f"the state of {cls.__name__} must be whole: {found}", table="stored model"
            )
        model._check_state()
        return model

    def _check_state(self) -> None:
        """Raise a DataError where stored parts do not fit together; each alone is of its kind."""

    @classmethod
    def _revived(cls, name: str, value: Any) -> Any:
        """Rebuild an estimator or a part from plain values; leave any other value plain."""
        if name in cls._parts and isinstance(value, dict):
            part = cls._parts[name].from_dict(value)
            check_parts(part)
            return part
        if name in cls._learners.values() and value is not None:
            many = isinstance(value, list)
            return [models.from_dict(v) for v in value] if many else models.from_dict(value)
        return _swap(value, nan=float("nan")) if name in _UNKNOWN else value

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        """Return the names that ``params_`` must hold; none where it is free, or not there."""
        return ()

    @classmethod
    def _unfitted(cls, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that hold estimators, from the fitted ones."""
        return {name: clone(state[fitted]) for name, fitted in cls._learners.items()}


_UNKNOWN = ("standard_errors_", "covariance_")
"""Fitted attributes in which numbers may be unknown: NaN, which JSON writes as null."""


def _swap(value: Any, nan: float | None) -> Any:
    """Write unknown numbers as null, or read them again."""
    if isinstance(value, dict):
        return {name: _swap(one, nan) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_swap(one, nan) for one in value]
    unknown = value is None or (isinstance(value, float) and value != value)
    return nan if unknown else value


def _plain(value: Any) -> Any:
    """Turn a value into plain JSON values, whatever it is made of."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
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


def keyed_uniforms(
    customer_id: pd.Index[Any], n_draws: int, seed: int, *, stream: int = 0
) -> FloatArray:
    """Uniform numbers that belong to a customer, whoever else is in the batch and in any order.

    Parameters
    ----------
    customer_id : Index
        Ids; the numbers are a function of the id, ``seed``, ``stream`` and the draw alone.
    n_draws : int
        Numbers per customer.
    seed : int
        Any integer.
    stream : int
        Independent sequences for different purposes under one seed.

    Returns
    -------
    ndarray, shape (n_customers, n_draws)
        In the open interval (0, 1); see :func:`crmml.metrics.bootstrap.keyed_uniforms`.

    Examples
    --------
    >>> u = keyed_uniforms(pd.Index(["a", "b"]), 2, seed=1)
    >>> bool((u[1] == keyed_uniforms(pd.Index(["b"]), 2, seed=1)[0]).all())
    True
    """
    keys = bootstrap.hash_keys(customer_id)
    columns = [
        bootstrap.keyed_uniforms(keys, seed % 2**64, stream * 2**32 + draw)
        for draw in range(n_draws)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(keys), 0))


def keep_fit(model: Any, names: Sequence[str], fitted: mle.Fit) -> None:
    """Keep a maximised likelihood in the fitted attributes of a model of positive parameters.

    Standard errors are those of the parameters themselves, by the delta method.
    """
    values = np.exp(fitted.theta)
    deviations = values * np.sqrt(np.diag(fitted.covariance))
    model.params_ = dict(zip(names, values.tolist(), strict=True))
    model.standard_errors_ = dict(zip(names, deviations.tolist(), strict=True))
    model.covariance_ = fitted.covariance.tolist()
    model.log_likelihood_ = fitted.log_likelihood
    model.converged_ = fitted.converged


def warn_of_fit(model: Estimator, fitted: mle.Fit, meanings: Mapping[tuple[str, str], str]) -> None:
    """Warn of estimates on the boundary, with what that means, and of an optimiser that stopped."""
    for name, side in fitted.boundary:
        where = {
            "low": f"{name} lies on the boundary 0",
            "high": f"{name} diverged to infinity",
            "flat": f"the data say nothing about {name}",
        }[side]
        meaning = meanings.get((name, side), "it is not identified")
        warnings.warn(
            f"{type(model).__name__}: the optimum lies on the boundary, {where}: {meaning}; "
            "predictions stand, standard errors do not",
            BoundaryWarning,
            stacklevel=4,
        )
    if not fitted.converged:
        warnings.warn(
            f"{type(model).__name__}: the optimiser stopped with a gradient of "
            f"{fitted.gradient_norm:.1e} per customer",
            ConvergenceWarning,
            stacklevel=4,
        )


def check_levels(q: float | Sequence[float]) -> FloatArray:
    """Return quantile levels as an array; refuse those outside (0, 1)."""
    try:
        levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
    except (TypeError, ValueError):
        raise ParameterError("q", "strictly between 0 and 1", q) from None
    if not ((levels > 0) & (levels < 1)).all():
        raise ParameterError("q", "strictly between 0 and 1", q)
    return levels


def customer_weights(
    snapshot: Snapshot, sample_weight: pd.Series[float] | npt.ArrayLike | None
) -> FloatArray:
    """Weight of each customer in the order of the snapshot; a Series is matched by id."""
    if sample_weight is None:
        return np.ones(len(snapshot))
    if isinstance(sample_weight, pd.Series):
        sample_weight = sample_weight.reindex(snapshot.customer_id)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (len(snapshot),) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ParameterError(
            "sample_weight", "one finite number >= 0 per customer", f"shape {weights.shape}"
        )
    if not weights.any():
        raise TooLittleDataError("all sample weights are 0")
    return weights


def row_weights(
    snapshot: Snapshot,
    groups: Distinct,
    sample_weight: pd.Series[float] | npt.ArrayLike | None,
) -> FloatArray:
    """Total weight of each distinct row: counts, or sums of the customers' weights."""
    if sample_weight is None:
        return groups.counts.astype(np.float64)
    weights = customer_weights(snapshot, sample_weight)
    totals = np.bincount(groups.inverse, weights=weights, minlength=len(groups.counts))
    return totals.astype(np.float64)


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ParameterError(name, f"a whole number >= {least}", value)
