"""BG/NBD."""

from __future__ import annotations

from typing import ClassVar

from crmml.models.purchase.base import CLOCK_STATE, Group, PurchaseModel
from crmml.stats import bg_nbd
from crmml.stats.process import PurchaseProcess

NO_DROPOUT = "dropout is not identified (the data look like customers who never leave)"
ALL_ALIVE = (
    "P(alive) is 1 for every customer without a repeat purchase, because the model lets customers "
    "leave only after one; use ModifiedBetaGeoModel, or probability_no_purchase for the horizon "
    "that matters"
)
EVEN_DROPOUT = "the dropout probability does not differ between customers"
EVEN_RATE = "the purchase rate does not differ between customers"
BETA_GEO_BOUNDARIES: dict[tuple[str, str], str] = {
    ("a", "low"): NO_DROPOUT,
    ("a", "flat"): "dropout is not identified",
    ("b", "flat"): "dropout is not identified",
    ("b", "high"): f"{NO_DROPOUT} or {EVEN_DROPOUT}",
    ("a", "high"): EVEN_DROPOUT,
    ("b", "low"): "customers leave at their first chance or never",
    ("r", "high"): EVEN_RATE,
    ("alpha", "high"): EVEN_RATE,
    ("r", "low"): "almost nobody purchases again",
    ("alpha", "low"): "the purchase rate is without bound",
}


class BetaGeoModel(PurchaseModel):
    """BG/NBD: Poisson purchases, and a chance to drop out after every repeat purchase.

    Fader, Hardie and Lee (2005), "Counting your customers" the easy way, Marketing Science 24(2).
    See :class:`crmml.models.purchase.base.PurchaseModel` for settings and attributes,
    and :class:`crmml.models.purchase.base.PurchaseModel` for methods.

    Notes
    -----
    In this model nobody can drop out before the first repeat purchase, so ``probability_alive`` is
    exactly 1 for every customer without one, however long ago that was. Where this matters use
    :class:`~crmml.models.ModifiedBetaGeoModel`, or ask for
    ``probability_no_purchase(snapshot, horizon)``, which is informative for everybody.
    The sentence is also in :attr:`notes`.
    """

    _process: ClassVar[PurchaseProcess] = bg_nbd
    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (("a", 1.0), ("b", 1.0)),
    }
    _boundaries = BETA_GEO_BOUNDARIES
    _state = (*PurchaseModel._state, *CLOCK_STATE)  # type: ignore[assignment]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        return (*self._clock_notes(), f"BG/NBD: {ALL_ALIVE}")
