"""What a purchase model is asked: every answer comes from one predictive distribution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import pandas as pd

from crmml._typing import Duration
from crmml.exceptions import ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import _check_whole, check_levels
from crmml.models.purchase.distribution import PredictiveDistribution
from crmml.stats.discounting import discount_rate_per_unit
from crmml.stats.posterior import Posterior


class Predictions(ABC):
    """Predictions of whatever has a predictive distribution of purchases."""

    @abstractmethod
    def predictive(
        self,
        snapshot: Snapshot,
        horizon: str | Duration | None,
        posterior: Posterior | None = None,
    ) -> PredictiveDistribution:
        """Return the predictive distribution of purchases in a horizon."""

    def expected_purchases(self, snapshot: Snapshot, horizon: str | Duration) -> pd.Series[float]:
        """E[purchases in (cutoff, cutoff + horizon] | history], keyed by customer.

        Parameters
        ----------
        snapshot : Snapshot
            In the time unit of the fit.
        horizon : str or Duration
            For example ``"52W"``.
        """
        return self.predictive(snapshot, Duration.parse(horizon)).mean()

    def expected_purchases_if_alive(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """E[purchases in the horizon | history and still active at the cutoff]."""
        return self.predictive(snapshot, Duration.parse(horizon)).mean_if_alive()

    def expected_purchases_if_staying(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """E[purchases in the horizon | history, active at the cutoff, and never leaving]."""
        return self.predictive(snapshot, Duration.parse(horizon)).mean_if_staying()

    def purchase_chances(self, snapshot: Snapshot, horizon: str | Duration) -> pd.DataFrame:
        """P(a purchase in the horizon) as things stand, if active, and if staying.

        See :meth:`crmml.models.purchase.distribution.PredictiveDistribution.chances`.
        """
        return self.predictive(snapshot, Duration.parse(horizon)).chances()

    def rate_variation(self, snapshot: Snapshot) -> pd.Series[float]:
        """Coefficient of variation of an active customer's purchase rate, given the history."""
        return self.predictive(snapshot, Duration(1.0, snapshot.time_unit)).rate_variation()

    def probability_no_purchase(
        self, snapshot: Snapshot, horizon: str | Duration
    ) -> pd.Series[float]:
        """P(no purchase in the horizon | history): dropped out, or active but silent."""
        return self.predictive(snapshot, Duration.parse(horizon)).probability_no_purchase()

    def purchase_distribution(
        self,
        snapshot: Snapshot,
        horizon: str | Duration,
        n_max: int,
        posterior: Posterior | None = None,
    ) -> pd.DataFrame:
        """P(n purchases in the horizon | history) for n = 0..n_max.

        See :meth:`predictive` and
        :meth:`crmml.models.purchase.distribution.PredictiveDistribution.pmf`.
        """
        _check_whole("n_max", n_max, 0)
        return self.predictive(snapshot, Duration.parse(horizon), posterior).pmf(n_max)

    def purchase_quantiles(
        self,
        snapshot: Snapshot,
        horizon: str | Duration,
        q: float | Sequence[float],
        posterior: Posterior | None = None,
    ) -> pd.DataFrame:
        """Smallest n with P(purchases <= n) >= q, for each level.

        See :meth:`predictive` and
        :meth:`crmml.models.purchase.distribution.PredictiveDistribution.quantiles`.
        """
        check_levels(q)
        return self.predictive(snapshot, Duration.parse(horizon), posterior).quantiles(q)

    def sample(
        self, snapshot: Snapshot, horizon: str | Duration, n_draws: int, seed: int
    ) -> pd.DataFrame:
        """Draw the number of purchases in the horizon.

        A customer's draws depend on the seed and on the customer alone, not on the batch.

        Returns
        -------
        DataFrame of int, shape (n_customers, n_draws)
        """
        _check_whole("n_draws", n_draws, 1)
        return self.predictive(snapshot, Duration.parse(horizon)).sample(n_draws, seed)

    def discounted_expected_purchases(
        self,
        snapshot: Snapshot,
        horizon: str | Duration | None = None,
        annual_discount_rate: float = 0.10,
    ) -> pd.Series[float]:
        """E[sum of exp(-delta t) over the purchases in the horizon | history].

        Parameters
        ----------
        snapshot : Snapshot
            In the time unit of the fit.
        horizon : str, Duration or None
            ``None`` looks to infinity (DERT: discounted expected residual transactions).
        annual_discount_rate : float
            Effective annual rate; discounting is continuous. Must be > 0 without a horizon.
        """
        delta = discount_rate_per_unit(annual_discount_rate, snapshot.time_unit)
        if horizon is None and delta == 0.0:
            raise ParameterError(
                "annual_discount_rate", "> 0 when there is no horizon", annual_discount_rate
            )
        return self.predictive(snapshot, horizon).discounted(annual_discount_rate)
