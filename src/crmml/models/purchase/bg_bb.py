"""BG/BB: customers who can purchase only at given opportunities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from crmml._typing import Duration, FloatArray
from crmml.exceptions import DataError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models.purchase.base import Group, PurchaseModel
from crmml.models.purchase.distribution import Histories
from crmml.stats import bg_bb
from crmml.stats.process import PurchaseProcess


class BetaGeoBetaBinomialModel(PurchaseModel):
    """BG/BB of Fader, Hardie and Shang (2010): yearly donations, conferences, cruises.

    The snapshot counts opportunities after the first purchase: ``time_unit="period"``,
    ``frequency`` purchases at ``T`` opportunities, the last at opportunity ``recency``. Horizons
    are whole numbers of opportunities, like ``"5P"``; one counts as a year when discounting.
    ``probability_alive`` is the chance that the customer has not left at any of the ``T``
    opportunities. Fitted attributes and predictions are those of
    :class:`~crmml.models.purchase.base.PurchaseModel`; covariates do not apply.
    """

    _process: ClassVar[PurchaseProcess] = bg_bb
    _time_parameters = ()
    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {"purchase": (), "dropout": ()}
    _boundaries: ClassVar[dict[tuple[str, str], str]] = {
        ("gamma", "low"): "nobody leaves, or a few at once (gamma lies on the boundary 0)",
        (
            "delta",
            "high",
        ): "nobody leaves, or all are equally likely to (delta diverged to infinity)",
        ("gamma", "high"): "all customers are equally likely to leave (gamma diverged to infinity)",
        ("delta", "low"): "customers leave at once or never (delta lies on the boundary 0)",
        (
            "alpha",
            "high",
        ): "all customers are equally likely to purchase (alpha diverged to infinity)",
        (
            "beta",
            "high",
        ): "all customers are equally likely to purchase (beta diverged to infinity)",
        ("alpha", "low"): "customers purchase always or never (alpha lies on the boundary 0)",
        ("beta", "low"): "customers purchase always or never (beta lies on the boundary 0)",
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

    def _plain_histories(self, snapshot: Snapshot) -> Histories:
        if snapshot.time_unit != "period":
            raise ParameterError("time_unit of the snapshot", "'period'", snapshot.time_unit)
        x, t_x, T = (
            snapshot.frame[name].to_numpy(dtype=np.float64)
            for name in ("frequency", "recency", "T")
        )
        rules = (
            ("T", "must be a whole number of opportunities", np.floor(T) != T),
            ("recency", "must be a whole number of opportunities", t_x != np.floor(t_x)),
            ("frequency", "must not exceed recency: one purchase per opportunity", x > t_x),
        )
        for column, rule, broken in rules:
            if broken.any():
                raise DataError(
                    f"{column} {rule}",
                    table="snapshot",
                    column=column,
                    n_rows=int(broken.sum()),
                    examples=snapshot.customer_id[broken][:5],
                )
        return super()._plain_histories(snapshot)

    def _plain_lengths(self, h: Histories, horizon: str | Duration | None) -> FloatArray:
        if horizon is not None and not Duration.parse(horizon).number.is_integer():
            raise ParameterError("horizon", "a whole number of opportunities", str(horizon))
        return super()._plain_lengths(h, horizon)
