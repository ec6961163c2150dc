"""MBG/NBD."""

from __future__ import annotations

from typing import ClassVar

from crmml.models.purchase.base import CLOCK_STATE, Group, PurchaseModel
from crmml.models.purchase.beta_geo import BETA_GEO_BOUNDARIES
from crmml.stats import mbg_nbd
from crmml.stats.process import PurchaseProcess


class ModifiedBetaGeoModel(PurchaseModel):
    """MBG/NBD: Poisson purchases, and a chance to drop out after each purchase, even the first.

    Batislam, Denizel and Filiztekin (2007), Intern. J. of Research in Marketing 24(3). Unlike in
    the BG/NBD, a customer without a repeat purchase may have left.
    See :class:`crmml.models.purchase.base.PurchaseModel` for settings and attributes,
    and :class:`crmml.models.purchase.base.PurchaseModel` for methods.
    """

    _process: ClassVar[PurchaseProcess] = mbg_nbd
    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (("a", 1.0), ("b", 1.0)),
    }
    _boundaries = BETA_GEO_BOUNDARIES
    _state = (*PurchaseModel._state, *CLOCK_STATE)  # type: ignore[assignment]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        return self._clock_notes()
