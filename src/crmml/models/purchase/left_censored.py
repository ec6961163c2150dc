"""Left-censored bases: customers who bought before the data begin are not new ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import block_diag
from sklearn.base import clone

import crmml.models
from crmml._typing import MONTHS, BoolArray, Duration, FloatArray
from crmml.exceptions import CrmmlError, ParameterError, TooLittleDataError
from crmml.features.purchase_times import PurchaseTimes
from crmml.features.snapshot import Snapshot
from crmml.models.arguments import check_snapshot
from crmml.models.estimator import _plain
from crmml.models.kinds import check_stored
from crmml.models.purchase.base import CLOCK_STATE, Group, PurchaseModel
from crmml.models.purchase.beta_geo import BETA_GEO_BOUNDARIES, BetaGeoModel
from crmml.models.purchase.calendar import CalendarProfile, grain_edge
from crmml.models.purchase.clocks import ClockSettings, RequestedClocks
from crmml.models.purchase.distribution import Histories
from crmml.models.purchase.joint_fit import ClockedProblem
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.stats.discounting import UNIT_DAYS, in_units
from crmml.stats.entry import Entry, judge_entry
from crmml.stats.left_censored import SeenEarly
from crmml.stats.posterior import Posterior
from crmml.stats.process import PurchaseProcess

_OLD = "left_censored (set by the model)"
"""Column that marks old customers; no covariate of a user has this name."""
_PREFIX = "old_"


def detect_left_censoring(snapshot: Snapshot) -> Entry:
    """Judge from the weekly counts of first and repeat purchases whether the base is older.

    Parameters
    ----------
    snapshot : Snapshot
        Built from a log: ``provenance`` holds ``first_timestamp`` and the counts by week.

    Raises
    ------
    CrmmlError
        If the provenance does not hold them.

    Notes
    -----
    Old customers who buy rarely are first seen all along, and counts by week cannot tell them from
    new ones: such a base may be called open. ``LeftCensoredModel(margin="half")`` beside the plain
    model in a backtest shows whether it is.
    """
    origin = _origin(snapshot)
    times: PurchaseTimes | None = snapshot.provenance.get("purchase_times")
    if times is None:
        raise CrmmlError(
            "whether the base is older than the data is read from the weekly counts of first and "
            "repeat purchases, which the provenance of this snapshot lacks; give the margin as a "
            "duration like '4W'"
        )
    edges, firsts, repeats = (np.asarray(v, dtype=np.float64) for v in times.by_span())
    grain = snapshot.grain if snapshot.grain in MONTHS else "day"
    start = grain_edge(origin, grain)
    end = grain_edge(snapshot.cutoff, grain, up=True)
    begins, ends = np.maximum(edges[:-1], start), np.minimum(edges[1:], end)
    return judge_entry((start, end), begins, ends, firsts, firsts + repeats)


def _origin(snapshot: Snapshot) -> pd.Timestamp:
    if "first_timestamp" not in snapshot.provenance:
        raise CrmmlError(
            "a left-censored base needs to know when its data begin; the provenance of this "
            "snapshot has no 'first_timestamp'"
        )
    return pd.Timestamp(snapshot.provenance["first_timestamp"])


class OldCustomerModel(PurchaseModel):
    """BG/NBD of customers active when the data begin, zero-truncated; see LeftCensoredModel.

    Parameters
    ----------
    share : float
        The margin as a share of the length of the window; see
        :class:`crmml.stats.left_censored.SeenEarly`.
    window : sequence of float, length 2
        Begin and end of the window in days since 1970-01-01; matters only under a calendar, whose
        clock changes the share.
    purchase_covariates, dropout_covariates, ridge, calendar
        See :class:`~crmml.models.purchase.base.PurchaseModel`.
    """

    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = BetaGeoModel._effects
    _boundaries = BETA_GEO_BOUNDARIES
    _state = (*PurchaseModel._state, *CLOCK_STATE)  # type: ignore[assignment]

    def __init__(
        self,
        *,
        share: float,
        window: Sequence[float] = (0.0, 1.0),
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
        self.share = share
        self.window = window

    @property
    def _process(self) -> PurchaseProcess:  # type: ignore[override]
        begin, end = self.window
        pace = self._clockwork.pace_between(begin, end)
        if pace is None:
            return cast(PurchaseProcess, SeenEarly(self.share))
        margin = begin + self.share * (end - begin)
        passed = pace.until(np.array([begin, margin, end]))[0]
        share = float((passed[1] - passed[0]) / (passed[2] - passed[0]))
        return cast(PurchaseProcess, SeenEarly(share))


class LeftCensoredModel(PurchaseModel):
    """BG/NBD or MBG/NBD for a base that is older than its data.

    Who is first seen within a margin of the data's start is most likely an old customer, whose
    first purchase lies before. Such a history is counted from the origin of the window: all
    purchases in it, the time of the last one and the length of observation since the origin, under
    a BG/NBD of a customer active at the origin, given that there was a purchase within the margin
    (the zero-truncated likelihood). Old customers have parameters of their own, for those who have
    stayed are not like those who come. New customers are as usual.

    Parameters
    ----------
    base : BetaGeoModel or ModifiedBetaGeoModel, optional
        Unfitted; default :class:`ModifiedBetaGeoModel`. The model of new customers; its covariates,
        ridge and calendar hold for old ones too. The calendar profile is one for the whole base:
        where it is estimated, from all purchases since the origin.
    margin : "auto", "half" or duration
        Length of the margin. ``"auto"`` judges from the weekly counts whether the base is older
        than the data at all (:func:`detect_left_censoring`), and until when a customer first seen
        is more likely old than new. If the base is not older, this is the base model. Rare buyers
        defeat the counts, because their old customers are first seen all along; ``"half"`` takes
        the first half of the data for the margin, whatever the counts say.

    Attributes
    ----------
    new_ : PurchaseModel
        Fitted to the new customers.
    old_ : OldCustomerModel or None
        Fitted to the old ones; None if there are none.
    origin_ : str
        Start of the data at the fit. Predictions count old customers from it, whatever the batch.
    margin_ : str or None
        The margin used.
    n_old_ : int
        Customers counted as old.
    params_, standard_errors_, covariance_, coefficients_
        Of new customers, and with the prefix ``old_`` of old ones.
    log_likelihood_ : float
        Sum over both. Not comparable with a plain model's, which conditions on other purchases.
    calendar_, n_waves_, dispersion_, flat_log_likelihood_
        See :class:`~crmml.models.purchase.base.PurchaseModel`.
    """

    _state = (
        *PurchaseModel._state,
        *CLOCK_STATE,
        "new_",
        "old_",
        "origin_",
        "margin_",
        "n_old_",
        "notes_",
    )  # type: ignore[assignment]
    _effects: ClassVar[dict[Group, tuple[tuple[str, float], ...]]] = BetaGeoModel._effects

    new_: PurchaseModel
    old_: OldCustomerModel | None
    origin_: str
    margin_: str | None
    n_old_: int
    notes_: list[str]

    def __init__(
        self,
        *,
        base: BetaGeoModel | ModifiedBetaGeoModel | None = None,
        margin: str | Duration = "auto",
    ) -> None:
        self.base = base
        self.margin = margin

    @property
    def _process(self) -> PurchaseProcess:  # type: ignore[override]
        return self.new_._process

    def _requested(self) -> RequestedClocks:
        return self.new_._requested()

    def _with_clocks(self, clocks: tuple[Any, ...]) -> PurchaseModel:
        base = cast(Any, self.new_._with_clocks(clocks))
        return LeftCensoredModel(base=base, margin=self.margin)

    @property
    def ridge(self) -> float:  # type: ignore[override]
        """Penalty of the coefficients, which is that of the base."""
        return self.new_.ridge

    @property
    def _parameter_names(self) -> tuple[str, ...]:
        new = (*self.new_._process.NAMES, *self.new_.coefficients_)
        old: tuple[str, ...] = ()
        if self.old_ is not None:
            old = (*self.old_._process.NAMES, *self.old_.coefficients_)
        return (*new, *(_PREFIX + name for name in old), *self.clock_names_)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the predictions must know."""
        return tuple(self.notes_)

    # -- storage -----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return class name, settings and fitted state as plain JSON values."""
        self._check_fitted()
        state = {
            **{name: _plain(getattr(self, name)) for name in self._state},
            "new_": self.new_.to_dict(),
            "old_": self.old_ and self.old_.to_dict(),
            "calendar_": self.calendar_ and self.calendar_.to_dict(),
        }
        settings = {"margin": str(self.margin)}
        return {"class": type(self).__name__, "settings": settings, "state": state}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; it would be fitted again alike."""
        state = dict(stored["state"])
        state["new_"] = crmml.models.from_dict(state["new_"])
        state["old_"] = state["old_"] and OldCustomerModel.from_dict(state["old_"])
        if state.get("calendar_"):
            state["calendar_"] = CalendarProfile.from_dict(state["calendar_"])
        parts = ((state["new_"], ""), (state["old_"], _PREFIX))
        names = [prefix + name for part, prefix in parts if part for name in part.params_]
        check_stored(cls, stored["settings"], state, names)
        model = cls(base=clone(state["new_"]), **stored["settings"])
        for name, value in state.items():
            setattr(model, name, value)
        return model

    # -- fit ---------------------------------------------------------------------------------------

    def fit(
        self,
        snapshot: Snapshot,
        sample_weight: pd.Series[float] | npt.ArrayLike | None = None,
    ) -> Self:
        """Split the customers and maximise both likelihoods.

        Parameters
        ----------
        snapshot : Snapshot
            Built from a log; ``provenance`` says when its data begin.
        sample_weight : Series or array-like, optional
            Non-negative weight of each customer.

        Raises
        ------
        ParameterError
            If the base is another model; or the margin is no duration; or a calendar is to be
            estimated with sample weights.
        TooLittleDataError
            If there are no new customers; or a calendar is to be estimated from too little, see
            :meth:`crmml.models.purchase.base.PurchaseModel.fit`.
        CrmmlError
            If the provenance lacks what is needed.

        Warns
        -----
        FitWarning
            As the two models do.
        """
        check_snapshot(snapshot, self)
        base = ModifiedBetaGeoModel() if self.base is None else clone(self.base)
        if not isinstance(base, (BetaGeoModel, ModifiedBetaGeoModel)):
            raise ParameterError("base", "a BetaGeoModel or ModifiedBetaGeoModel", self.base)
        base._check_settings()
        self.new_ = base
        self.time_unit_ = snapshot.time_unit
        self.origin_ = str(_origin(snapshot))
        margin, self.notes_ = self._choose_margin(snapshot)
        self.margin_ = None if margin is None else str(margin)
        counted = self._count_from_origin(snapshot)
        old = self._is_old(counted)
        self.n_old_ = int(old.sum())
        if len(snapshot) and old.all():
            raise TooLittleDataError(
                f"all {len(snapshot):,} customers were first seen within {self.margin_} of the "
                "start of the data, so that nobody is left from whom to learn about new ones"
            )
        weights = sample_weight
        if weights is not None and not isinstance(weights, pd.Series):
            # An array goes by the rows of the whole snapshot; each part has only some of them.
            weights = pd.Series(np.asarray(weights, dtype=np.float64), index=snapshot.customer_id)
        parts: list[tuple[PurchaseModel, Snapshot]] = [(base, counted.subset(~old))]
        self.old_ = None
        if self.n_old_ and margin is not None:
            theirs = counted.subset(old)
            # All old customers are counted from one origin, so their T is the same.
            window = float(theirs.frame["T"].iloc[0])
            end = grain_edge(snapshot.cutoff, snapshot.grain, up=True)
            self.old_ = OldCustomerModel(
                **base.get_params(deep=False),
                share=min(in_units(margin, snapshot.time_unit) / window, 1.0),
                window=(end - window * UNIT_DAYS[snapshot.time_unit], end),
            )
            parts.append((self.old_, theirs))
            self.notes_.append(
                f"{self.n_old_:,} of {len(snapshot):,} customers were first seen within "
                f"{self.margin_} of the start of the data and count as old, with parameters of "
                "their own"
            )
        at_purchases = self._fit_parts(
            parts, snapshot, base._requested(), self._span(snapshot), weights
        )
        self._gather_fits(len(snapshot), at_purchases)
        return self

    def _span(self, snapshot: Snapshot) -> tuple[float, float] | None:
        """Start of the data and length of the margin in days; None where nobody is old."""
        if self.old_ is None or self.margin_ is None:
            return None
        begin = grain_edge(pd.Timestamp(self.origin_), snapshot.grain)
        return begin, in_units(self.margin_, "day")

    def _problem(self, snapshot: Snapshot, times: PurchaseTimes) -> ClockedProblem:
        counted = self._count_from_origin(snapshot)
        old = self._is_old(counted)
        parts: list[tuple[PurchaseModel, Snapshot]] = [(self.new_, counted.subset(~old))]
        if self.old_ is not None:
            parts.append((self.old_, counted.subset(old)))
        return ClockedProblem.of(self, parts, snapshot, times, self._span(snapshot), None)

    def _choose_margin(self, snapshot: Snapshot) -> tuple[Duration | None, list[str]]:
        if self.margin == "auto":
            found = detect_left_censoring(snapshot)
            return found.margin, [found.sentence]
        if self.margin == "half":
            begin = grain_edge(pd.Timestamp(self.origin_), "day")
            days = (grain_edge(snapshot.cutoff, "day", up=True) - begin) // 2.0
            return Duration(max(days, 1.0), "day"), []
        margin = Duration.parse(self.margin)
        in_units(margin, snapshot.time_unit)
        return margin, []

    def _gather_fits(self, n_customers: int, at_purchases: tuple[float, float]) -> None:
        parts = {"": self.new_} | ({} if self.old_ is None else {_PREFIX: self.old_})
        for name in ("params_", "standard_errors_", "coefficients_"):
            merged = {
                prefix + key: value
                for prefix, part in parts.items()
                for key, value in getattr(part, name).items()
            }
            setattr(self, name, merged)
        # No customer is in both fits, so given the clocks their errors are independent.
        self.covariance_ = block_diag(
            *(np.array(part.covariance_) for part in parts.values())
        ).tolist()
        for name, more in zip(
            ("log_likelihood_", "null_log_likelihood_"), at_purchases, strict=True
        ):
            setattr(self, name, sum(getattr(part, name) for part in parts.values()) + more)
        self.converged_ = all(part.converged_ for part in parts.values())
        self.n_customers_ = n_customers

    # -- histories ---------------------------------------------------------------------------------

    def is_old(self, snapshot: Snapshot) -> pd.Series[bool]:
        """Whether each customer counts as older than the data, keyed by customer."""
        self._check_snapshot(snapshot)
        old = self._is_old(self._count_from_origin(snapshot))
        return pd.Series(old, index=snapshot.customer_id, name="is_old")

    def _is_old(self, counted: Snapshot) -> BoolArray:
        return np.asarray(counted.frame[_OLD].to_numpy() > 0)

    def _count_from_origin(self, snapshot: Snapshot) -> Snapshot:
        """Count the histories of old customers from the origin; mark them."""
        if snapshot.time_unit not in UNIT_DAYS:
            raise ParameterError(
                "time_unit", "one of calendar time for a left-censored base", snapshot.time_unit
            )
        frame, grain = snapshot.frame, snapshot.grain
        per_grain = UNIT_DAYS[grain] / UNIT_DAYS[snapshot.time_unit]
        x, t_x, T = (frame[name].to_numpy() for name in ("frequency", "recency", "T"))
        if self.margin_ is None:
            return replace(snapshot, frame=frame.assign(**{_OLD: 0.0}))
        begin = grain_edge(pd.Timestamp(self.origin_), grain)
        end = grain_edge(snapshot.cutoff, grain, up=True)
        # In whole periods, so that equal histories stay equal. The first period ends at 1.
        periods = np.rint((end - begin) / UNIT_DAYS[grain])
        first = periods - np.rint(T / per_grain)
        last = first + np.rint(t_x / per_grain)
        old = first * per_grain <= in_units(self.margin_, snapshot.time_unit) + 1e-9
        per_unit = UNIT_DAYS[snapshot.time_unit] / UNIT_DAYS[grain]
        changed = {
            "frequency": x + old,
            "recency": np.where(old, last / per_unit, t_x),
            "T": np.where(old, periods / per_unit, T),
            _OLD: old.astype(np.float64),
        }
        return replace(snapshot, frame=frame.assign(**changed))

    def _histories(self, snapshot: Snapshot) -> Histories:
        return super()._histories(self._count_from_origin(snapshot))

    def _ages(self, h: Histories) -> FloatArray:
        # Customers older than the data are no newcomers.
        return np.where(h.covariates[_OLD] > 0, np.inf, super()._ages(h))

    def _covariate_columns(self) -> dict[Group, Sequence[str]]:
        own = self.new_._covariate_columns()
        return {"purchase": (*own["purchase"], _OLD), "dropout": own["dropout"]}

    def _row_params(self, h: Histories) -> Any:
        new = self._part(self.new_)._row_params(h)
        if self.old_ is None:
            return new
        old = self._part(self.old_, _PREFIX)._row_params(h)
        if isinstance(self.new_, ModifiedBetaGeoModel):
            # The MBG/NBD counts a chance to leave at the first purchase, the BG/NBD does not.
            old = old._replace(b=old.b - 1.0)
        marked = h.covariates[_OLD] > 0
        pairs = zip(old, new, strict=True)
        return type(new)(*(np.where(marked, theirs, ours) for theirs, ours in pairs))

    def _part(self, part: PurchaseModel, prefix: str = "") -> PurchaseModel:
        """Return one of the two models at the parameters and coefficients held here."""
        other = copy.copy(part)
        other.params_ = {name: self.params_[prefix + name] for name in part.params_}
        other.coefficients_ = {
            name: self.coefficients_[prefix + name] for name in part.coefficients_
        }
        return other

    # -- predictions that need the parts -----------------------------------------------------------

    def expected_purchases_new_customer(
        self, t: str | Duration, covariates: Mapping[str, float] | None = None
    ) -> float:
        """E[repeat purchases in the first ``t`` after the first purchase] of a random newcomer.

        Parameters
        ----------
        t, covariates
            See :meth:`crmml.models.purchase.base.PurchaseModel.expected_purchases_new_customer`.
        """
        self._check_fitted()
        return self.new_.expected_purchases_new_customer(t, covariates)

    def posterior(
        self,
        snapshot: Snapshot,
        *,
        n_draws: int = 200,
        seed: int = 0,
        prior: Mapping[str, tuple[float, float]] | None = None,
    ) -> Posterior:
        """Draw from the posterior of all parameters, and of the clocks that were estimated.

        Those of old and new customers are independent but for the clocks, which both share.

        Parameters
        ----------
        snapshot : Snapshot
            The customers of the fit.
        n_draws, seed, prior
            See :meth:`crmml.models.purchase.base.PurchaseModel.posterior`; a prior of a parameter
            of old customers is named ``old_r`` and so on.
        """
        if self.clock_names_:
            return super().posterior(snapshot, n_draws=n_draws, seed=seed, prior=prior)
        self._check_snapshot(snapshot)
        counted = self._count_from_origin(snapshot)
        old, given = self._is_old(counted), dict(prior or {})
        theirs = {
            name.removeprefix(_PREFIX): value
            for name, value in given.items()
            if self.old_ is not None and name.startswith(_PREFIX)
        }
        ours = {k: v for k, v in given.items() if self.old_ is None or not k.startswith(_PREFIX)}
        new = self.new_.posterior(counted.subset(~old), n_draws=n_draws, seed=seed, prior=ours)
        if self.old_ is None:
            return new
        other = self.old_.posterior(
            counted.subset(old), n_draws=n_draws, seed=seed + 1, prior=theirs
        )
        return Posterior(
            names=(*new.names, *(_PREFIX + name for name in other.names)),
            draws=np.hstack([new.draws, other.draws]),
            log_mean=np.concatenate([new.log_mean, other.log_mean]),
            log_covariance=block_diag(new.log_covariance, other.log_covariance),
            method="laplace" if {new.method, other.method} == {"laplace"} else "ensemble",
            pareto_k=max(new.pareto_k, other.pareto_k),
            effective_sample_size=min(new.effective_sample_size, other.effective_sample_size),
            coefficients=(*new.coefficients, *(_PREFIX + name for name in other.coefficients)),
        )
