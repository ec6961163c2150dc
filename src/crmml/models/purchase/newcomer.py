"""Newcomers: BG/NBD and MBG/NBD with a purchase rate that settles after the first purchase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from crmml._typing import Duration
from crmml.exceptions import ParameterError
from crmml.models.purchase.base import CLOCK_STATE, Group, PurchaseModel
from crmml.models.purchase.beta_geo import ALL_ALIVE, BETA_GEO_BOUNDARIES, BetaGeoModel
from crmml.models.purchase.calendar import CalendarProfile
from crmml.models.purchase.clocks import ClockSettings, NewcomerClock, RequestedClocks
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.stats import bg_nbd, mbg_nbd
from crmml.stats.process import PurchaseProcess


class NewcomerModel(PurchaseModel):
    """BG/NBD or MBG/NBD whose customers buy faster, or slower, while they are new.

    The short way to ``BetaGeoModel(clocks=["newcomers"])`` and its modified sister. Soon after the
    first purchase the rate is ``first`` times the settled one; half of the difference is gone after
    ``half_life``. Without it a burst of early purchases is taken for dropout, and long horizons are
    forecast too low.

    Parameters
    ----------
    dropout : {"plain", "modified"}
        ``plain``: customers may leave after repeat purchases only (BG/NBD); ``modified``: after
        the first purchase too (MBG/NBD).
    first : float, optional
        Rate just after the first purchase over the settled rate, > 0. ``None`` estimates it, and
        ``half_life``, by maximum likelihood.
    half_life : str or Duration, optional
        Given exactly where ``first`` is.
    purchase_covariates, dropout_covariates, ridge, calendar, clocks
        See :class:`~crmml.models.purchase.base.PurchaseModel`; further clocks only.

    Notes
    -----
    The effect is kept where it raises the log-likelihood by more than ``log(number of customers)``:
    what two parameters cost by the Bayesian information criterion (of a ridge, the penalised one).
    It is sought between a twentieth and twenty times the settled rate, and with a half-life of at
    most a sixth of the longest ``T``; something slower could not be told from dropout.
    With a weekly grain all purchases of a week are one, which looks like an effect of its own:
    believe one found there less.
    With covariates ``null_log_likelihood_`` is that of an effect estimated anew without them.
    """

    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = {
        "purchase": (("alpha", -1.0),),
        "dropout": (("a", 1.0), ("b", 1.0)),
    }
    _boundaries = BETA_GEO_BOUNDARIES
    _state = (*PurchaseModel._state, *CLOCK_STATE)  # type: ignore[assignment]

    def __init__(
        self,
        *,
        dropout: Literal["plain", "modified"] = "plain",
        first: float | None = None,
        half_life: str | Duration | None = None,
        purchase_covariates: Sequence[str] = (),
        dropout_covariates: Sequence[str] = (),
        ridge: float = 0.0,
        calendar: CalendarProfile | Literal["estimate"] | None = None,
        clocks: ClockSettings = (),
    ) -> None:
        super().__init__(
            purchase_covariates=purchase_covariates,
            dropout_covariates=dropout_covariates,
            ridge=ridge,
            calendar=calendar,
            clocks=clocks,
        )
        self.dropout = dropout
        self.first = first
        self.half_life = half_life

    @classmethod
    def _stored_parameters(cls) -> Sequence[str]:
        return mbg_nbd.NAMES

    @property
    def _process(self) -> PurchaseProcess:  # type: ignore[override]
        return bg_nbd if self.dropout == "plain" else mbg_nbd

    def _requested(self) -> RequestedClocks:
        requested = super()._requested()
        if requested.newcomers is not None:
            raise ParameterError("clocks", "further clocks than newcomers", self.clocks)
        clock = NewcomerClock(self.first, self.half_life)
        clock.check()
        return replace(requested, newcomers=clock)

    def _with_clocks(self, clocks: tuple[Any, ...]) -> PurchaseModel:
        kind = BetaGeoModel if self.dropout == "plain" else ModifiedBetaGeoModel
        return kind(
            purchase_covariates=self.purchase_covariates,
            dropout_covariates=self.dropout_covariates,
            ridge=self.ridge,
            clocks=clocks,
        )

    def _check_settings(self) -> None:
        if self.dropout not in ("plain", "modified"):
            raise ParameterError("dropout", "'plain' or 'modified'", self.dropout)
        super()._check_settings()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        self._check_fitted()
        of_process = (f"NewcomerModel: {ALL_ALIVE}",) if self.dropout == "plain" else ()
        constant = (
            "newcomers: no change of the purchase rate after the first purchase is worth its "
            "two parameters, so the rate is constant",
        )
        return (*(self._clock_notes() or constant), *of_process)
