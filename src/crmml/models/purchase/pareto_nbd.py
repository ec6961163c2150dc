"""Pareto/NBD: customers leave at any moment, not only at a purchase."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from crmml.exceptions import BoundaryWarning
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import row_weights
from crmml.models.purchase.base import Group, PurchaseModel
from crmml.stats import pareto_nbd
from crmml.stats.process import PurchaseProcess


class ParetoNBDModel(PurchaseModel):
    """Pareto/NBD of Schmittlein, Morrison and Colombo (1987).

    Purchases come at a rate ``lambda ~ Gamma(r, alpha)`` until the customer leaves unseen, at a
    rate ``mu ~ Gamma(s, beta)``. Settings, fitted attributes and predictions are those of
    :class:`~crmml.models.purchase.base.PurchaseModel`.

    Examples
    --------
    >>> import pandas as pd
    >>> from crmml.features.snapshot import Snapshot
    >>> model = ParetoNBDModel()
    >>> model.params_ = {"r": 0.5534, "alpha": 10.5802, "s": 0.6061, "beta": 11.6562}
    >>> model.coefficients_, model.time_unit_ = {}, "week"
    >>> frame = pd.DataFrame({"customer_id": ["a"], "frequency": [26], "recency": [30.857],
    ...                       "T": [31.0]})
    >>> snapshot = Snapshot.from_frame(frame, cutoff="1997-10-01", time_unit="week")
    >>> model.expected_purchases(snapshot, "52W").round(2).to_dict()
    {'a': 25.45}
    """

    _process: ClassVar[PurchaseProcess] = pareto_nbd
    _time_parameters = ("alpha", "beta")
    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (("beta", -1.0),),
    }
    _boundaries: ClassVar[dict[tuple[str, str], str]] = {
        (
            "s",
            "low",
        ): "nobody leaves (s lies on the boundary 0): dropout is not identified by these data",
        ("beta", "high"): "dropout does not differ between customers, or nobody leaves (beta ran "
        "off to infinity)",
        ("s", "high"): "dropout does not differ between customers (s diverged to infinity)",
        ("beta", "low"): "a share of the customers leaves at once (beta lies on the boundary 0)",
        ("r", "high"): "purchase rates do not differ between customers (r diverged to infinity)",
        ("alpha", "high"): "purchase rates do not differ between customers (alpha ran off to "
        "infinity)",
    }

    def __init__(
        self,
        *,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
    ) -> None:
        super().__init__(
            purchase_covariates=purchase_covariates,
            dropout_covariates=dropout_covariates,
            ridge=ridge,
        )

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Maximise the likelihood; see :class:`crmml.models.purchase.base.PurchaseModel`.

        Warns
        -----
        BoundaryWarning
            Also if by the fit fewer than one of all customers left while observed. The likelihood
            is then flat along a ridge of s and beta, whose standard errors become NaN.
        """
        super().fit(snapshot, sample_weight)
        h = self._histories(snapshot)
        params = self._row_params(h)
        leave = -np.expm1(-params.s * np.log1p(h.T / params.beta))
        leavers = float(row_weights(snapshot, h.groups, sample_weight) @ leave)
        if leavers < 1.0:
            self.standard_errors_ |= {"s": float("nan"), "beta": float("nan")}
            warnings.warn(
                "ParetoNBDModel: nobody leaves by this fit (expected: "
                f"{leavers:.2g} of {len(snapshot):,} customers), so that dropout is not "
                "identified; predictions stand, standard errors of s and beta do not",
                BoundaryWarning,
                stacklevel=2,
            )
        return self
