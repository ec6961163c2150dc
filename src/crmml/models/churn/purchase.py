"""Churn as a purchase process sees it: the probability of no purchase, calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.exceptions import TooLittleDataError
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.churn.calibration import MonotoneCalibration
from crmml.models.churn.history import check_window, find_candidates, sort_history, whole_length
from crmml.models.estimator import Estimator
from crmml.models.fits import Fits
from crmml.models.forecast.baselines import labels
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.notes import about, fit_of

BEHIND_CHURN = "the purchase model behind the churn feature"


class WithPurchaseModel(Estimator):
    """An estimator that holds a fitted purchase model."""

    purchase_model: Any
    purchase_model_: Any

    _learners: ClassVar[Mapping[str, str]] = {"purchase_model": "purchase_model_"}

    def fit_purchase_model(self, snapshot: Snapshot, fits: Fits | None) -> None:
        """Fit the purchase model (default MBG/NBD); what it warns of names its purpose."""
        model = ModifiedBetaGeoModel() if self.purchase_model is None else self.purchase_model
        with about(fit_of(BEHIND_CHURN, snapshot.cutoff)):
            self.purchase_model_ = (fits or Fits()).fit(model, snapshot)

    def no_purchase(self, snapshot: Snapshot, length: Duration) -> FloatArray:
        """Return P(no purchase in so long), in the order of the rows, shape (n,)."""
        p = self.purchase_model_.probability_no_purchase(snapshot, length)
        return np.asarray(p.reindex(snapshot.customer_id).to_numpy(dtype=np.float64))


class PurchaseChurn(WithPurchaseModel):
    """P(no purchase in the horizon) of a purchase model as the probability of churn.

    Parameters
    ----------
    horizon : str or Duration
        Length of the outcome window.
    gap : str or Duration, optional
        Time between cutoff and window. The process then answers for gap and window together,
        and the calibration makes up the difference.
    purchase_model : purchase model, optional
        Unfitted; default MBG/NBD.
    candidate_horizons : float
        See :class:`ChurnModel`.

    Attributes
    ----------
    purchase_model_ : purchase model
        Fitted.
    calibration_ : dict or None
        Knots from P(no purchase) to the rate seen; None if there was no labelled candidate.
    trained_until_ : str or None
        Latest end of an outcome window that was used.
    """

    _state = ("purchase_model_", "calibration_", "trained_until_")
    calibration_: dict[str, Any] | None
    trained_until_: str | None

    def __init__(
        self,
        *,
        horizon: str | Duration,
        gap: str | Duration | None = None,
        purchase_model: Any = None,
        candidate_horizons: float = 4.0,
    ) -> None:
        self.horizon = horizon
        self.gap = gap
        self.purchase_model = purchase_model
        self.candidate_horizons = candidate_horizons

    def fit(
        self, history: Sequence[LabelledSnapshot] | Snapshot, *, fits: Fits | None = None
    ) -> Self:
        """Fit the process on the newest snapshot, and calibrate on its outcomes if it has any.

        Parameters
        ----------
        history : sequence of LabelledSnapshot, or Snapshot
            Of a sequence only the newest is used.
        fits : Fits, optional
            Models fitted so far: a process of equal settings on that snapshot is taken.

        Raises
        ------
        TooLittleDataError
            If there is no snapshot.
        """
        if not isinstance(history, Snapshot):
            check_history(history, self)
        if not isinstance(history, Snapshot) and not history:
            raise TooLittleDataError("a purchase model needs at least one snapshot; got none")
        newest = history if isinstance(history, Snapshot) else sort_history(history)[-1]
        snapshot = newest if isinstance(newest, Snapshot) else newest.snapshot
        self.fit_purchase_model(snapshot, fits)
        self.calibration_, self.trained_until_ = None, None
        if isinstance(newest, LabelledSnapshot):
            check_window(newest, self.horizon, self.gap)
            keep = find_candidates(snapshot, self.horizon, self.candidate_horizons)
            p = self.no_purchase(snapshot, self._length())[keep]
            if len(p):
                self.calibration_ = MonotoneCalibration.fit(p, labels(newest)[keep]).to_dict()
                self.trained_until_ = str(newest.window.closes)
        return self

    def churn_probability(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the probability of no purchase in the outcome window, keyed by customer."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        p = self.no_purchase(snapshot, self._length())
        if self.calibration_ is not None:
            p = MonotoneCalibration.from_dict(self.calibration_)(p)
        return pd.Series(p, snapshot.customer_id, name="churn_probability")

    def _length(self) -> Duration:
        return whole_length(self.horizon, self.gap)
