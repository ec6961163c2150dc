"""The forecast of a purchase process times a spend model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.exceptions import (
    FitWarning,
    TooLittleDataError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.fits import Fits
from crmml.models.forecast.forecaster import Forecaster, in_order, keyed
from crmml.models.forecast.heuristic import OwnMeanSpend
from crmml.models.purchase.compose import Composition, fit_purchase_model


class ProcessForecaster(Forecaster):
    """A purchase process times a spend model.

    Parameters
    ----------
    purchase_model : estimator or Composition
        Unfitted; or a process whose clocks and origin each fit chooses by itself.
    spend_model : estimator
        Unfitted. Where it cannot be fitted, spend is each customer's own mean.
    horizon : str or Duration
        How far to look ahead.
    """

    complexity = 1
    _state = ("purchase_model_", "spend_model_")
    _learners: ClassVar[Mapping[str, str]] = {
        "purchase_model": "purchase_model_",
        "spend_model": "spend_model_",
    }
    purchase_model_: Any
    spend_model_: Any

    def __init__(self, *, purchase_model: Any, spend_model: Any, horizon: str | Duration) -> None:
        self.purchase_model = purchase_model
        self.spend_model = spend_model
        self.horizon = horizon

    @property
    def n_windows(self) -> int:
        """How many of the newest training windows it learns from."""
        return 1 if isinstance(self.purchase_model, Composition) else 0

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Fit both models on the snapshot; only the choice of clocks needs a training window.

        Warns
        -----
        FitWarning
            If spend falls back on each customer's own mean.
        """
        check_snapshot(snapshot, self)
        check_history(windows, self)
        fits = Fits() if fits is None else fits
        self.purchase_model_ = fit_purchase_model(
            self.purchase_model, snapshot, in_order(snapshot, windows), fits
        )
        try:
            self.spend_model_ = fits.fit(self.spend_model, snapshot)
        except TooLittleDataError as error:
            warnings.warn(
                f"spend is forecast by each customer's own mean: {error}", FitWarning, stacklevel=2
            )
            self.spend_model_ = fits.fit(OwnMeanSpend(), snapshot)
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        self._check_fitted()
        purchases = self.purchase_model_.expected_purchases(snapshot, self.horizon)
        return keyed(snapshot, purchases, purchases * self.spend_model_.expected_spend(snapshot))

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, or None where the model gives a mean only."""
        self._check_fitted()
        if not hasattr(self.purchase_model_, "purchase_distribution"):
            return None
        table: pd.DataFrame = self.purchase_model_.purchase_distribution(
            snapshot, self.horizon, n_max
        )
        return table

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff."""
        self._check_fitted()
        expected = [self.purchase_model_.expected_purchases(snapshot, length) for length in lengths]
        return np.column_stack(expected) if expected else np.empty((len(snapshot), 0))
