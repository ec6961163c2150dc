"""Predictors of what is to come: purchases, value, churn, loyalty."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.exceptions import CrmmlError
from crmml.features.snapshot import Snapshot
from crmml.features.wallet import LOYALTY_CLASSES, Enough, Wallet
from crmml.models.churn.history import find_candidates
from crmml.models.churn.model import ChurnModel
from crmml.models.churn.outside import OutsideCalibration
from crmml.scoring.churn_reasons import NO_REFERENCE, Outside, churn_parts, tell_churn
from crmml.scoring.predictors import Moment, Output
from crmml.scoring.served_distribution import (
    INTERVAL,
    CountDistribution,
    count_columns,
    distribution_of_forecast,
)
from crmml.segments.lifecycle import LifecycleStages
from crmml.stats.discounting import in_units

_LOG: frozenset[str] = frozenset({"transactions"})
_NOTHING: frozenset[str] = frozenset()


def _count_outputs(horizon: str) -> tuple[Output, Output, Output]:
    what = "quantile of the number of purchases"
    return (
        Output("purchases_lower", "integer", "purchases", f"10 % {what}", horizon),
        Output("purchases_upper", "integer", "purchases", f"90 % {what}", horizon),
        Output("probability_no_purchase", "number", "probability", "no purchase at all", horizon),
    )


@dataclass(frozen=True)
class PurchaseForecast:
    """Purchases and spend in the outcome horizon: the winner of the backtest.

    Attributes
    ----------
    model : Forecaster
    horizon : str
    counts : bool
        Whether interval and probability of no purchase come from the forecaster's own distribution;
        else :class:`LifetimeValue` gives them.
    """

    model: Any
    horizon: str
    counts: bool = False

    name: ClassVar[str] = "forecast"
    tables: ClassVar[frozenset[str]] = _LOG
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Two expectations, and what follows from the distribution."""
        h = self.horizon
        return (
            Output("expected_purchases", "number", "purchases", "expected number of purchases", h),
            Output("expected_spend", "number", "currency", "expected net spend", h),
            *(_count_outputs(h) if self.counts else ()),
        )

    def distribution(self, snapshot: Snapshot) -> CountDistribution:
        """Return the distribution of purchases that is served."""
        found = distribution_of_forecast(self.model, snapshot)
        if found is None:
            raise CrmmlError(f"{type(self.model).__name__} gives no distribution of purchases")
        return found

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Forecast."""
        forecast: pd.DataFrame = self.model.forecast(moment.snapshot)
        names = {"purchases": "expected_purchases", "spend": "expected_spend"}
        table = forecast.rename(columns=names)
        if not self.counts:
            return table
        return table.join(count_columns(self.distribution(moment.snapshot)))


@dataclass(frozen=True)
class LifetimeValue:
    """Purchases, life and value from one purchase process, spend model and margin.

    Attributes
    ----------
    model : LifetimeValueModel
    horizon : str
        Of the purchases.
    value_horizon : str
        Of the lifetime value.
    margin_horizons : tuple of str
        Over which expected margins are given to other predictors.
    windows : tuple of str
        Within which the probability of a purchase is given to other predictors.
    counts : {"process", "forecast", "version_0_1"}
        Who gives the interval of purchases and the probability of none: this process, under the
        doubt about its parameters; or :class:`PurchaseForecast`. Bundles of version 0.1 serve the
        interval with the doubt and the probability without.
    """

    model: Any
    horizon: str
    value_horizon: str
    margin_horizons: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    counts: Literal["process", "forecast", "version_0_1"] = "version_0_1"

    name: ClassVar[str] = "lifetime_value"
    tables: ClassVar[frozenset[str]] = _LOG
    reads: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Intervals, probabilities, values; margins for other predictors."""
        far = self.value_horizon
        low, high = "10 % quantile of", "90 % quantile of"
        counts = () if self.counts == "forecast" else _count_outputs(self.horizon)
        return (
            *counts[:2],
            Output("probability_alive", "number", "probability", "still active at the cutoff"),
            *counts[2:],
            Output("clv", "number", "currency", "lifetime value: expected discounted margin", far),
            Output("clv_lower", "number", "currency", f"{low} the discounted margin", far),
            Output("clv_upper", "number", "currency", f"{high} the discounted margin", far),
            Output("residual_value", "number", "currency", "lifetime value to infinity"),
            *(
                Output(name, "number", "currency", meaning, horizon, served=False)
                for horizon in self.margin_horizons
                for name, meaning in (
                    (
                        margin_if("active", horizon),
                        "expected margin of who is active at the cutoff",
                    ),
                    (margin_if("staying", horizon), "the same of who does not leave"),
                )
            ),
            *(
                Output(
                    buys_if(what, window), "number", "probability", meaning, window, served=False
                )
                for window in self.windows
                for what, meaning in _CHANCES.items()
            ),
            Output(MARGIN_VARIATION, "number", "", "relative doubt about the margin", served=False),
        )

    def distribution(self, snapshot: Snapshot) -> CountDistribution:
        """Return the distribution of purchases that is served."""
        distribution: CountDistribution = self.model.ahead(snapshot, self.horizon).doubted
        return distribution

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Ask the lifetime value model."""
        ltv, snapshot = self.model, moment.snapshot
        ahead = cache(lambda horizon: ltv.ahead(snapshot, horizon))
        near, far = ahead(self.horizon), ahead(self.value_horizon)
        moment.found[self.name] = far
        table = pd.DataFrame(index=snapshot.customer_id)
        if self.counts != "forecast":
            table = count_columns(near.doubted)
        if self.counts == "version_0_1":
            table["probability_no_purchase"] = near.purchases.probability_no_purchase()
        bounds = far.clv_quantiles(INTERVAL)
        table["clv_lower"], table["clv_upper"] = bounds.iloc[:, 0], bounds.iloc[:, 1]
        table["probability_alive"] = near.purchases.probability_alive()
        table["clv"] = far.clv()
        if ltv.annual_discount_rate > 0:
            table["residual_value"] = ltv.residual_value(snapshot)
        else:
            reason = "without discounting the value to infinity has no bound"
            moment.leave_out("residual_value", reason)
        for h in self.margin_horizons:
            table[margin_if("active", h)] = ahead(h).margin_if_active()
            table[margin_if("staying", h)] = ahead(h).margin_if_staying()
        for window in self.windows:
            chances = ahead(window).purchases.chances()
            for what in _CHANCES:
                table[buys_if(what, window)] = chances[what]
        if self.margin_horizons:
            table[MARGIN_VARIATION] = ltv.margin_variation(snapshot)
        else:
            moment.leave_out(MARGIN_VARIATION, "no action asks for it")
        return table


MARGIN_VARIATION = "margin_variation"

_CHANCES = {
    "buys": "a purchase, as things stand",
    "buys_if_active": "a purchase of who is active at the cutoff",
    "buys_if_staying": "a purchase of who does not leave",
}


def margin_if(what: Literal["active", "staying"], horizon: str) -> str:
    """Name of the column with the expected margin of who is active, or active and staying."""
    return f"margin_if_{what}_{horizon}"


def buys_if(what: str, window: str) -> str:
    """Name of the column with the probability of a purchase within a window."""
    return f"{what}_{window}"


@dataclass(frozen=True)
class ChurnRisk:
    """Probability of no purchase in the outcome window: the best model that the data allowed.

    Attributes
    ----------
    model : estimator with ``churn_probability(snapshot)``
        Calibrated for the candidates.
    horizon : str
    outside : OutsideCalibration or None
        For all others: what the served distribution says of no purchase, calibrated. Bundles of
        version 0.1 have none and ask the model of everybody.
    reference : tuple of 3 floats or None
        Frequency, silence and age of the customer that a process compares with for its reasons;
        bundles of before version 0.4 have none.
    """

    model: Any
    horizon: str
    outside: OutsideCalibration | None = None
    reference: tuple[float, float, float] | None = None

    name: ClassVar[str] = "churn"
    tables: ClassVar[frozenset[str]] = _LOG
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def reads(self) -> frozenset[str]:
        """What the calibration outside the candidates rests on."""
        if self.outside is None:
            return _NOTHING
        return frozenset({"probability_no_purchase", "frequency", "inactivity"})

    @property
    def outputs(self) -> tuple[Output, ...]:
        """One probability, and its reasons."""
        meaning, h = "no purchase in the outcome window", self.horizon
        why = "the strongest reasons, with the log-odds that they add or take"
        return (
            Output("churn_probability", "number", "probability", meaning, h),
            Output("churn_reasons_for", "text", "", f"what speaks for it: {why}", h),
            Output("churn_reasons_against", "text", "", f"what speaks against it: {why}", h),
        )

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Ask the churn model of the candidates, and the calibrated process of all others."""
        snapshot = moment.snapshot
        churn = self.model.churn_probability(snapshot).reindex(snapshot.customer_id)
        outside = self._outside(snapshot, so_far, _model_of_value(moment))
        if outside is not None:
            churn = churn.where(~outside.who, outside.probability)
        table = pd.DataFrame({"churn_probability": churn}, index=snapshot.customer_id)
        by_trees = self.outside is None and isinstance(self.model, ChurnModel)
        if self.reference is None and not by_trees:  # whoever is in the batch
            moment.leave_out(["churn_reasons_for", "churn_reasons_against"], NO_REFERENCE)
            return table
        parts = churn_parts(self.model, snapshot, reference=self.reference, outside=outside)
        how = {"lang": moment.lang, "horizon": self.horizon}
        return table.join(tell_churn(parts, self.model, snapshot, **how))

    def parts(self, snapshot: Snapshot, known: pd.DataFrame, value: Any) -> pd.DataFrame:
        """Return what each family of features adds to the log-odds of churn.

        Parameters
        ----------
        snapshot : Snapshot
        known : DataFrame
            What the bundle says of these customers, keyed by customer.
        value : LifetimeValueModel or None
            Its purchase process is what speaks of who is no candidate.

        Returns
        -------
        DataFrame
            See :func:`crmml.scoring.churn_reasons.churn_parts`.
        """
        outside = self._outside(snapshot, known, value)
        return churn_parts(self.model, snapshot, reference=self.reference, outside=outside)

    def _outside(self, snapshot: Snapshot, known: pd.DataFrame, value: Any) -> Outside | None:
        """Say of whom the calibrated process speaks, and what."""
        if self.outside is None:
            return None
        # These columns alone: a hundred others would be copied with them.
        names = ["probability_no_purchase", "frequency", "inactivity"]
        its = known[names].loc[snapshot.customer_id]
        length = in_units(self.horizon, snapshot.time_unit)
        probability = self.outside(
            its["probability_no_purchase"].to_numpy(dtype=np.float64),
            its["frequency"].to_numpy(dtype=np.float64),
            its["inactivity"].to_numpy(dtype=np.float64) / length,
        )
        who = ~find_candidates(snapshot, self.horizon, self.outside.candidate_horizons)
        bounds = (self.outside.lowest, self.outside.highest)
        return Outside(who, probability, partial(_process_of, value, self.horizon), bounds)


def _model_of_value(moment: Moment) -> Any:
    ahead = moment.found.get(LifetimeValue.name)
    return None if ahead is None else ahead.model


def _process_of(value: Any, horizon: str, snapshot: Snapshot) -> FloatArray:
    p = value.purchase_model_.probability_no_purchase(snapshot, horizon)
    return np.asarray(p.reindex(snapshot.customer_id), dtype=np.float64)


_BOUNDS = {"": "", "_lower": "lower bound of ", "_upper": "upper bound of "}
_SHARE = "the house's share of the customer's need in the window"
_UNMET = "the need in the window that the house did not meet"


def _shares_of_wallet(now: pd.DataFrame) -> pd.DataFrame:
    """Return share of wallet and unmet need with their bounds; missing where nothing is needed."""
    spend = np.maximum(now["spend"].to_numpy(dtype=np.float64), 0.0)
    # The more is needed, the smaller is the share.
    needs = {"": ("need", "need"), "_lower": ("need_upper", "need_lower")}
    needs["_upper"] = ("need_lower", "need_upper")
    found = {}
    for end, (for_share, for_unmet) in needs.items():
        need = now[for_share].to_numpy(dtype=np.float64)
        share = np.divide(spend, need, out=np.full(len(now), np.nan), where=need > 0)
        whole = now["need"].to_numpy(dtype=np.float64) > 0
        # Where no need is the least that is known, the share may be all of it.
        share = np.where(whole & np.isnan(share) & (end == "_upper"), 1.0, share)
        found[f"share_of_wallet{end}"] = np.where(whole, np.clip(share, 0.0, 1.0), np.nan)
        unmet = now[for_unmet].to_numpy(dtype=np.float64) - spend
        found[f"unmet_need{end}"] = np.where(np.isnan(unmet), np.nan, np.maximum(unmet, 0.0))
    names = [f"{what}{end}" for what in ("share_of_wallet", "unmet_need") for end in _BOUNDS]
    return pd.DataFrame(found, now.index)[names]


_LOST_BY = ("frequency", "T", "churn_probability")


def _without_lost(wallet: Wallet, lost: pd.Index[Any]) -> Wallet:
    """Let the class of the lost say so."""
    its = wallet.frame["loyalty_class"]
    bond = its.isin(["loyal", "split"]) | (
        (its == "disloyal") & (wallet.frame["loyalty_evidence"] == "inferred")
    )
    gone = bond & wallet.frame.index.isin(lost)
    return replace(wallet, frame=wallet.frame.assign(loyalty_class=its.mask(gone, "lapsed")))


@dataclass(frozen=True)
class Loyalty:
    """The class of loyalty now, and at the next cutoff.

    Attributes
    ----------
    model : LoyaltyModel
    window : str
        How far it looks back from a cutoff.
    step : str or None
        From this cutoff to the next one. Bundles of before version 0.4 have none: their windows
        follow each other, and a class needs three occasions as estimated, not of one's own.
    stages : LifecycleStages or None
        Whom they call lost has lapsed, unless few occasions or rivals say otherwise; see
        :meth:`predict`. Bundles of before version 0.4 do not ask them.
    """

    model: Any
    window: str
    step: str | None = None
    stages: LifecycleStages | None = None

    name: ClassVar[str] = "loyalty"
    tables: ClassVar[frozenset[str]] = _LOG
    optional: ClassVar[frozenset[str]] = _NOTHING

    @property
    def reads(self) -> frozenset[str]:
        """What says who is lost."""
        return _NOTHING if self.stages is None else frozenset(_LOST_BY)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The class, its evidence, and the probability of each class at the next cutoff."""
        return (
            Output("loyalty_class", "text", "", "whose customer it is, by share of wallet"),
            Output("loyalty_evidence", "text", "", "panel, stated or inferred"),
            Output(
                "probability_competitor",
                "number",
                "probability",
                "the need is met by a competitor; a bound from above",
            ),
            *(
                Output(f"share_of_wallet{end}", "number", "share", f"{which}{_SHARE}")
                for end, which in _BOUNDS.items()
            ),
            *(
                Output(f"unmet_need{end}", "number", "currency", f"{which}{_UNMET}")
                for end, which in _BOUNDS.items()
            ),
            *(
                Output(
                    f"next_loyalty_{name}",
                    "number",
                    "probability",
                    f"{name} at the next cutoff",
                    self.step or self.window,
                )
                for name in LOYALTY_CLASSES
            ),
        )

    @property
    def enough(self) -> Enough:
        """Whose three occasions a class needs."""
        return "estimated" if self.step is None else "own"

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Measure the wallet and ask the loyalty model.

        Who is to be won back by ``lifecycle_stage`` has lapsed, whatever was bought earlier in the
        window: a bond that has ended is none. ``insufficient`` stays (nothing is known of the
        bond), and so do ``competitor`` and ``disloyal`` where rivals are seen or named: these say
        where the customer is now.
        """
        snapshot = moment.snapshot
        panel = self.model.evidence_ == "panel"
        if panel and snapshot.provenance["own_seller"] is None:
            moment.leave_out(
                [output.name for output in self.outputs],
                "the model was fitted on rivals' sales too and needs the column `seller`",
            )
            return pd.DataFrame(index=snapshot.customer_id)
        wallet = moment.wallet(self.window, self.model.peers, self.enough)
        if self.stages is not None:
            stage = self.stages.assign(so_far.loc[snapshot.customer_id, [*_LOST_BY]])
            wallet = _without_lost(wallet, stage.index[stage == "win_back"])
        ids = snapshot.customer_id
        now = wallet.frame.reindex(ids)
        table = now[["loyalty_class", "loyalty_evidence", "probability_competitor"]].copy()
        table = table.join(_shares_of_wallet(now))
        after = self.model.loyalty_probabilities(wallet).reindex(ids)
        names = [f"next_loyalty_{name}" for name in LOYALTY_CLASSES]
        if after.isna().all(axis=None):
            moment.leave_out(names, self.model.reason_)
        return table.assign(**{f"next_loyalty_{name}": after[name] for name in LOYALTY_CLASSES})
