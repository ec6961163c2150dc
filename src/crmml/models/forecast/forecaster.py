"""What every forecaster has in common: one horizon, and learning from the past alone.

:meth:`Forecaster.fit` takes the snapshot to forecast from and *training windows*, earlier snapshots
whose outcome windows closed before its cutoff. A purchase process needs none; what needs one and
has none says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray
from crmml.exceptions import (
    FutureLeakError,
)
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import Estimator
from crmml.models.fits import Fits


class Forecaster(Estimator, ABC):
    """Expected purchases and net spend of each customer within ``horizon`` after the cutoff.

    Attributes
    ----------
    complexity : int
        Ties between candidates go to the smaller one.
    """

    complexity: ClassVar[int]
    horizon: str | Duration

    @property
    def n_windows(self) -> int:
        """How many of the newest training windows it learns from."""
        return 3

    @abstractmethod
    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Learn from a snapshot and from earlier ones with their outcomes.

        Parameters
        ----------
        snapshot : Snapshot
            To forecast from.
        windows : sequence of LabelledSnapshot
            Training windows.
        fits : Fits, optional
            Models known already, so that none is fitted twice; what is fitted is added.

        Raises
        ------
        TooLittleDataError
            If the forecaster needs a training window that is not there; the text says which.
        FutureLeakError
            If the outcome window of a training window ends after the cutoff of the snapshot.
        """

    @abstractmethod
    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""

    def distribution(self, snapshot: Snapshot, n_max: int) -> pd.DataFrame | None:
        """Return P(n purchases), n = 0..n_max, or None where only a mean is forecast."""
        del snapshot, n_max
        return None

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray | None:
        """Return expected purchases until each of several moments after the cutoff.

        Returns
        -------
        ndarray, shape (n_customers, n_lengths), or None
            None where only the horizon is forecast.
        """
        del snapshot, lengths
        return None


def in_order(snapshot: Snapshot, windows: Sequence[LabelledSnapshot]) -> list[LabelledSnapshot]:
    """Put training windows in the order of their cutoffs and their rows in that of the customers.

    What is learned then depends neither on their order nor on that of the rows, down to the last
    bit.

    Raises
    ------
    FutureLeakError
        If an outcome window ends after the cutoff of the snapshot.
    """
    late = [part.window for part in windows if part.window.closes > snapshot.cutoff]
    if late:
        raise FutureLeakError(
            f"a training window closes on {late[0].closes}, after the cutoff {snapshot.cutoff} of "
            "the forecast: it knows what is to be forecast"
        )
    found = []
    for part in sorted(windows, key=lambda part: (part.window.cutoff, part.window.closes)):
        if part.snapshot.customer_id.is_monotonic_increasing:
            ordered = part.snapshot  # itself, so that what was fitted on it is found again
        else:
            frame = part.snapshot.frame.sort_values("customer_id", ignore_index=True)
            ordered = replace(part.snapshot, frame=frame)
        found.append(
            replace(part, snapshot=ordered, outcomes=part.outcomes.loc[ordered.customer_id])
        )
    return found


def keyed(snapshot: Snapshot, purchases: Any, spend: Any) -> pd.DataFrame:
    """Return a forecast as a table keyed by customer."""
    return pd.DataFrame(
        {"purchases": np.asarray(purchases), "spend": np.asarray(spend)}, snapshot.customer_id
    )
