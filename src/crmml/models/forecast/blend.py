"""A weighted sum of forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.base import clone

from crmml._typing import Duration, FloatArray
from crmml.exceptions import (
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.fits import Fits
from crmml.models.forecast.forecaster import Forecaster, in_order


class BlendForecaster(Forecaster):
    """A weighted sum of forecasts, weights >= 0 by least squares on the newest training window.

    Parameters
    ----------
    members : sequence of Forecaster
        Unfitted; they are given the blend's horizon.
    horizon : str or Duration
        How far to look ahead.

    Attributes
    ----------
    weights_ : list of float
        Of ``members_``, adding up to 1.
    members_ : list of Forecaster
        Fitted; those that could be weighed and got a weight.
    """

    complexity = 5
    _state = ("weights_", "members_")
    _learners: ClassVar[Mapping[str, str]] = {
        "members": "members_"
    }  # only those with a weight are kept
    weights_: list[float]
    members_: list[Forecaster]

    def __init__(self, *, members: Sequence[Forecaster], horizon: str | Duration) -> None:
        self.members = members
        self.horizon = horizon

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Weigh the members on the newest training window, and fit them on the snapshot."""
        check_snapshot(snapshot, self)
        check_history(windows, self)
        fits = Fits() if fits is None else fits
        closed = in_order(snapshot, windows)
        if not closed:
            raise TooLittleDataError(
                "a blend is weighed on an outcome window that closed before "
                f"{snapshot.cutoff.date()}; the data hold none"
            )
        stage = closed[-1]
        earlier = [part for part in closed if part.window.closes <= stage.window.cutoff]
        fitted, columns = [], []
        for member in self.members:
            trial = clone(member).set_params(horizon=stage.window.horizon)
            try:
                trial.fit(stage.snapshot, earlier, fits=fits)
                columns.append(trial.forecast(stage.snapshot))
                final = clone(member).set_params(horizon=self.horizon)
                fitted.append(final.fit(snapshot, closed, fits=fits))
            except TooLittleDataError:
                # It cannot be weighed, or not be fitted now, so it gets no weight.
                columns = columns[: len(fitted)]
        if not fitted:
            raise TooLittleDataError("no member of the blend can be weighed and fitted")
        actual = stage.outcomes["purchases"].to_numpy(dtype=np.float64)
        matrix = np.column_stack([column["purchases"].to_numpy() for column in columns])
        # Level is left to the members: each is scaled to the total, and the weights add up to 1.
        totals = np.maximum(matrix.sum(axis=0), 1e-12)
        found, _ = nnls(matrix * (actual.sum() / totals), actual)
        if not found.sum() > 0:
            raise TooLittleDataError("no member of the blend forecasts the training window at all")
        kept = np.flatnonzero(found > 1e-6 * found.sum())
        self.weights_ = (found[kept] / found[kept].sum()).tolist()
        self.members_ = [fitted[i] for i in kept]
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        parts = [
            weight * member.forecast(snapshot)
            for weight, member in zip(self.weights_, self.members_, strict=True)
        ]
        total: pd.DataFrame = sum(parts[1:], start=parts[0])
        return total

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, where every member with a weight has one.

        It is the mixture of theirs, whose mean is that of :meth:`forecast`.
        """
        self._check_fitted()
        distributions = [member.distribution(snapshot, n_max) for member in self.members_]
        known = [table for table in distributions if table is not None]
        if len(known) < len(distributions):
            return None
        mixed = sum(w * table.to_numpy() for w, table in zip(self.weights_, known, strict=True))
        return pd.DataFrame(mixed, index=known[0].index, columns=known[0].columns)

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff."""
        self._check_fitted()
        paths = [member.track(snapshot, lengths) for member in self.members_]
        known = [path for path in paths if path is not None]
        if len(known) < len(paths):
            return None
        return np.asarray(sum(w * path for w, path in zip(self.weights_, known, strict=True)))
