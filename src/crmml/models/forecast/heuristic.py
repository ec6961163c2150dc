"""What a good analyst would do by hand: purchases and spend as they were before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, Duration, FloatArray, IntArray
from crmml.features.labels import LabelledSnapshot
from crmml.features.snapshot import CORE_COLUMNS, Snapshot
from crmml.models.arguments import check_history, check_snapshot
from crmml.models.estimator import Estimator
from crmml.models.fits import Fits
from crmml.models.forecast.forecaster import Forecaster, in_order, keyed
from crmml.stats.discounting import in_units


class OwnMeanSpend(Estimator):
    """Spend per purchase as it was: each customer's own mean, and that of all without repeats.

    Attributes
    ----------
    level_ : float
        Mean spend per repeat purchase of all.
    """

    _state = ("level_",)
    level_: float

    def fit(self, snapshot: Snapshot) -> Self:
        """Find the mean spend per repeat purchase; 0 if there is none."""
        check_snapshot(snapshot, self)
        x, spend = (snapshot.frame[name].to_numpy() for name in ("frequency", "monetary_value"))
        self.level_ = math.fsum(x * spend) / max(math.fsum(x), 1.0)
        return self

    def expected_spend(self, snapshot: Snapshot) -> pd.Series[float]:
        """Return the expected spend per purchase, keyed by customer."""
        check_snapshot(snapshot, self)
        self._check_fitted()
        own = snapshot.frame["monetary_value"].to_numpy(dtype=np.float64)
        repeated = snapshot.frame["frequency"].to_numpy() > 0
        values = np.where(repeated, own, self.level_)
        return pd.Series(values, snapshot.customer_id, name="expected_spend")


class HeuristicForecaster(Forecaster):
    """What a good analyst would do by hand: as before, or as others of the group have done.

    Expected purchases are ``frequency * horizon / max(T, horizon)`` for customers with repeat
    purchases whose inactivity is at most ``cut`` horizons. All others get the mean of their group,
    silent or not and by repeat purchases (0, 1, 2 to 3, 4 to 7, 8 or more), as it was on the newest
    training window. ``cut`` is the one with the least squared error there. Spend is the
    customer's own mean spend per purchase.

    Parameters
    ----------
    horizon : str or Duration
        How far to look ahead.

    Attributes
    ----------
    cut_ : float
        In horizons; 1 without a training window.
    means_ : list of list of float
        Purchases per horizon of the groups: rows for not silent and silent, a column for each
        class of repeat purchases; 0 without a training window, where nothing is known of them.
    spend_model_ : OwnMeanSpend
        Fitted on the snapshot.
    """

    complexity = 0
    _state = ("cut_", "means_", "spend_model_")
    _parts: ClassVar[Mapping[str, Any]] = {"spend_model_": OwnMeanSpend}
    _edges: ClassVar[tuple[float, ...]] = (1.0, 2.0, 4.0, 8.0)
    cut_: float
    spend_model_: OwnMeanSpend
    means_: Sequence[Sequence[float]] = ((0.0,) * 5,) * 2  # a heuristic stored by 0.1 has none

    def __init__(self, *, horizon: str | Duration) -> None:
        self.horizon = horizon

    @property
    def n_windows(self) -> int:
        """How many of the newest training windows it learns from."""
        return 1

    def fit(
        self,
        snapshot: Snapshot,
        windows: Sequence[LabelledSnapshot] = (),
        *,
        fits: Fits | None = None,
    ) -> Self:
        """Find the cut and the means on the newest training window."""
        check_snapshot(snapshot, self)
        check_history(windows, self)
        del fits
        closed = in_order(snapshot, windows)
        self.cut_, self.means_ = 1.0, [[0.0] * (len(self._edges) + 1) for _ in range(2)]
        if closed:
            newest = closed[-1]
            unit = newest.snapshot.time_unit
            length = in_units(newest.window.horizon, unit)
            actual = newest.outcomes["purchases"].to_numpy(dtype=np.float64)
            idle = self._columns(newest.snapshot)[2]
            cuts = np.unique(np.quantile(idle, np.linspace(0.02, 1.0, 50)))
            trials = [self._trial(newest.snapshot, length, actual, cut) for cut in cuts]
            best = int(np.argmin([error for error, _ in trials]))
            self.cut_, means = float(cuts[best]) / length, trials[best][1]
            self.means_ = (means * in_units(self.horizon, unit) / length).tolist()
        self.spend_model_ = OwnMeanSpend().fit(snapshot)
        return self

    def forecast(self, snapshot: Snapshot) -> pd.DataFrame:
        """Return ``purchases`` and ``spend`` in the horizon, keyed by customer."""
        check_snapshot(snapshot, self)
        purchases = self.track(snapshot, [Duration.parse(self.horizon)])[:, 0]
        spend = self.spend_model_.expected_spend(snapshot).to_numpy()
        return keyed(snapshot, purchases, purchases * spend)

    def track(self, snapshot: Snapshot, lengths: Sequence[Duration]) -> FloatArray:
        """Return expected purchases until each of several moments after the cutoff."""
        self._check_fitted()
        horizon = in_units(self.horizon, snapshot.time_unit)
        own, group, as_before = self._parted(snapshot, horizon, self.cut_ * horizon)
        expected = np.where(as_before, own, np.ravel(self.means_)[group])
        shares = np.array([in_units(length, snapshot.time_unit) for length in lengths]) / horizon
        return np.outer(expected, shares)

    def _trial(
        self, snapshot: Snapshot, length: float, actual: FloatArray, cut: float
    ) -> tuple[float, FloatArray]:
        """Return the squared error with a cut, and the means of the groups that go with it."""
        own, group, as_before = self._parted(snapshot, length, cut)
        rest = ~as_before
        size = 2 * (len(self._edges) + 1)
        bought = np.bincount(group[rest], weights=actual[rest], minlength=size)
        count = np.bincount(group[rest], minlength=size)
        # One customer like the average of them all, so that a small group does not say "never".
        means = (bought + bought.sum() / max(int(rest.sum()), 1)) / (count + 1.0)
        error = np.where(as_before, own, means[group]) - actual
        return float((error**2).sum()), means.reshape(2, -1)

    def _parted(
        self, snapshot: Snapshot, length: float, cut: float
    ) -> tuple[FloatArray, IntArray, BoolArray]:
        """Return purchases as before, the group, and who is taken to go on as before."""
        x, T, idle = self._columns(snapshot)
        silent = idle > cut
        classes = np.searchsorted(self._edges, x, side="right")
        group = (silent * (len(self._edges) + 1) + classes).astype(np.int64)
        return x * length / np.maximum(T, length), group, ~silent & (x > 0)

    @staticmethod
    def _columns(snapshot: Snapshot) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return repeat purchases, length of the observation, inactivity."""
        x, t_x, T = (snapshot.frame[name].to_numpy(np.float64) for name in CORE_COLUMNS[1:])
        return x, T, T - t_x
