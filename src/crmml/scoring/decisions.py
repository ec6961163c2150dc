"""Predictors that decide: value tiers, lifecycle stages and the recommended action."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.actions.allocation import Prices
from crmml.actions.catalogue import ActionCatalogue
from crmml.actions.contacts import ContactLimit, ContactMemory
from crmml.actions.economics import Consent, Stakes
from crmml.actions.holdout import Strata
from crmml.actions.recommendation import Offers, decide, make_offers
from crmml.exceptions import CrmmlError
from crmml.models.churn.outside import carry_over
from crmml.scoring.outlooks import MARGIN_VARIATION, buys_if, margin_if
from crmml.scoring.predictors import Moment, Output
from crmml.segments.lifecycle import LifecycleStages, focus
from crmml.segments.value_tier import ValueTiers, posture, service_priority

_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Policy:
    """How actions are given out.

    Attributes
    ----------
    budget : float
        Money for one round, >= 0.
    capacities : mapping of str to float
        Channel to most contacts in one round.
    holdout_share : float
        Share of customers left alone at random, in [0, 1).
    holdout_least : int
        Customers whom each stratum of risk and value should hold out.
    seed : int
        Decides who is held out, together with the experiment and the customer's id.
    experiment : str
        Name of the control group: a new name draws a new one.
    consent : {"assumed", "required"}
        Whether customers whose consent is not known may be contacted.
    contact_limit : ContactLimit, optional
        Most contacts of one customer within a time.
    strata : Strata, optional
        Strata and their shares, fixed by the training; without them the share is that of all.
    prices : Prices, optional
        Shadow prices of the training's allocation. A customer scored without the rest of the base
        takes the best of net gain - price x cost.
    """

    budget: float
    capacities: Mapping[str, float]
    holdout_share: float
    seed: int
    experiment: str = "1"
    consent: Consent = "assumed"
    contact_limit: ContactLimit | None = None
    holdout_least: int = 0
    strata: Strata | None = None
    prices: Prices | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = {**asdict(self), "capacities": dict(self.capacities)}
        return {**plain, "prices": self.prices.to_dict() if self.prices else None}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        prices, limit = stored["prices"], stored.get("contact_limit")
        strata = stored.get("strata")
        read = {
            "prices": Prices.from_dict(prices) if prices else None,
            "contact_limit": ContactLimit(**limit) if limit else None,
            "strata": Strata.from_dict(strata) if strata else None,
        }
        return cls(**{**stored, **read})


def as_json(value: Any) -> bytes:
    """Write plain values as the JSON of a stored bundle: sorted, a line per value, UTF-8."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False)
    return (text + "\n").encode()


@dataclass(frozen=True)
class Tiers:
    """Value tiers by lifetime value or by profit to date, with what follows from them.

    Attributes
    ----------
    segments : ValueTiers
        With its cut points.
    by : {"clv", "net_clv", "profit_to_date"}
        The column that is cut. Bundles of before 0.3 cut lifetime value before the cost to serve.
    """

    segments: ValueTiers
    by: str = "clv"

    name: ClassVar[str] = "tiers"
    tables: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = _NOTHING
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("value_tier", "text", "", "A to E by lifetime value or profit; A is worth most"),
        Output("service_priority", "integer", "1 to 5", "whom to serve first at peak load"),
        Output("posture", "text", "", "what the house does for the tier"),
        Output("pareto_share", "number", "share", "value held by who is worth at least as much"),
    )

    @property
    def reads(self) -> frozenset[str]:
        """The column that is cut."""
        return frozenset({self.by})

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Cut."""
        tier = self.segments.assign(so_far[self.by])
        return pd.DataFrame(
            {
                "value_tier": tier,
                "service_priority": service_priority(tier),
                "posture": posture(tier),
                "pareto_share": self.segments.pareto_share(so_far[self.by]),
            }
        )


@dataclass(frozen=True)
class Stages:
    """Stages of the customer's life, with what the house attends to.

    Attributes
    ----------
    segments : LifecycleStages
        With its lengths of history.
    lapsed_is_lost : bool
        Whoever has lapsed, by ``loyalty_class``, stands in ``win_back``. Bundles of before version
        0.4 do not look at it.
    """

    segments: LifecycleStages
    lapsed_is_lost: bool = False

    name: ClassVar[str] = "lifecycle"
    tables: ClassVar[frozenset[str]] = _NOTHING
    optional: ClassVar[frozenset[str]] = frozenset({"purchase_trend", "loyalty_class"})
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("lifecycle_stage", "text", "", "acquire, enhance, retain or win_back"),
        Output("lifecycle_focus", "text", "", "what the house attends to in the stage"),
    )

    @property
    def reads(self) -> frozenset[str]:
        """History and churn, and who has lapsed."""
        always = frozenset({"frequency", "T", "churn_probability", "purchase_trend"})
        return always | {"loyalty_class"} if self.lapsed_is_lost else always

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Ask the four questions, of who has not lapsed."""
        stage = self.segments.assign(so_far.rename(columns={"purchase_trend": "trend"}))
        if self.lapsed_is_lost and "loyalty_class" in so_far:
            stage = stage.mask((so_far["loyalty_class"] == "lapsed").fillna(False), "win_back")
        return pd.DataFrame({"lifecycle_stage": stage, "lifecycle_focus": focus(stage)})


@dataclass(frozen=True)
class Actions:
    """The recommended action of each customer, under a budget.

    Attributes
    ----------
    catalogue : ActionCatalogue
        What can be done.
    policy : Policy
        Budget, capacities, control group and stored prices.
    horizon : str
        Of the outcome window: how long an incentive is valid where its action does not say.
    knows_consent : bool
        Whether the training knew who may be contacted. Then nothing is recommended where a
        scoring is not given the consents.
    at_stored_prices : bool
        Give out actions at the prices of the policy, each customer alone, instead of allocating
        the budget among those at hand. Not stored.
    """

    catalogue: ActionCatalogue
    policy: Policy
    horizon: str
    knows_consent: bool = False
    at_stored_prices: bool = False

    name: ClassVar[str] = "actions"
    tables: ClassVar[frozenset[str]] = _NOTHING
    outputs: ClassVar[tuple[Output, ...]] = (
        Output("recommended_action", "text", "", "what to do, or no_action"),
        Output("channel", "text", "", "how to reach the customer; null for no_action"),
        Output("contact_by", "timestamp", "date", "latest day of the contact"),
        Output(
            "expected_net_gain",
            "number",
            "currency",
            "expected net gain: what the action brings less what it costs",
        ),
        Output(
            "net_gain_lower",
            "number",
            "currency",
            "10 % quantile of the net gain, by the doubt about save rate and value",
        ),
        Output("net_gain_upper", "number", "currency", "90 % quantile, likewise"),
        Output("probability_positive", "number", "probability", "the net gain is positive"),
        Output("break_even_save_rate", "number", "share", "save rate at which it just pays"),
        Output("expected_cost", "number", "currency", "expected cost of the action"),
        Output("runner_up", "text", "", "the best other action, or no_action"),
        Output("runner_up_net_gain", "number", "currency", "its expected net gain"),
        Output("basis", "text", "", "where the effect comes from"),
        Output("reasons_for", "text", "", "codes of reasons for it, parted by commas"),
        Output("reasons_against", "text", "", "codes of reasons against it"),
        Output("explanation", "text", "", "the reasons as sentences"),
        Output("policy_action", "text", "", "what the policy wants, control group apart"),
        Output("policy_channel", "text", "", "its channel"),
        Output("held_out", "flag", "", "left alone at random, to measure the effect"),
        Output("propensity", "number", "probability", "of what was recommended"),
        Output("experiment", "text", "", "names the control group"),
        Output("control_share", "number", "probability", "of being in the control group"),
    )

    @property
    def version(self) -> str:
        """Short hash of catalogue and policy without what is fitted, on every scored row."""
        decides = {
            "catalogue": self.catalogue.to_dict(),
            "policy": {**self.policy.to_dict(), "prices": None, "strata": None},
        }
        return hashlib.sha256(as_json(decides)).hexdigest()[:12]

    @property
    def reads(self) -> frozenset[str]:
        """Risk, margins and what the conditions of the catalogue ask for."""
        channels = {f"contactable_{option.channel}" for option in self.catalogue.options}
        asked = {"clv", "contactable", "value_tier", buys_if("buys", self.horizon)}
        return self._needed | asked | channels | {*self.catalogue.columns}

    @property
    def optional(self) -> frozenset[str]:
        """What a condition asks for may be null: it then does not hold."""
        return self.reads - self._needed

    @property
    def _needed(self) -> frozenset[str]:
        margins = {
            margin_if(what, h) for h in self.catalogue.horizons for what in ("active", "staying")
        }
        chances = {
            buys_if(what, window)
            for window in self.catalogue.windows(self.horizon)
            for what in ("buys", "buys_if_active", "buys_if_staying")
        }
        doubt = {MARGIN_VARIATION} if margins else set()
        return frozenset({"churn_probability", "probability_alive", *margins, *chances, *doubt})

    def _stakes(self, so_far: pd.DataFrame) -> Stakes:
        horizons = self.catalogue.horizons
        windows = self.catalogue.windows(self.horizon)

        def chance(what: str) -> dict[str, pd.Series[float]]:
            return {window: so_far[buys_if(what, window)] for window in windows}

        buys = self._calibrated(chance("buys"), so_far)
        return Stakes(
            probability_alive=so_far["probability_alive"],
            margin_if_active={h: so_far[margin_if("active", h)] for h in horizons},
            margin_if_staying={h: so_far[margin_if("staying", h)] for h in horizons},
            buys=buys,
            buys_if_active=chance("buys_if_active"),
            buys_if_staying=chance("buys_if_staying"),
            outcome_horizon=self.horizon,
            value_cv=so_far[MARGIN_VARIATION] if horizons else None,
        )

    def _calibrated(
        self, buys: dict[str, pd.Series[float]], so_far: pd.DataFrame
    ) -> dict[str, pd.Series[float]]:
        """Take the calibrated probability of the outcome window, and carry it to other windows."""
        calibrated = 1.0 - so_far["churn_probability"]
        if buys_if("buys", self.horizon) in so_far:
            raw = so_far[buys_if("buys", self.horizon)]
        else:  # bundles of version 0.1 ask the process of the catalogue's windows alone
            return {**buys, **({self.horizon: calibrated} if self.horizon in buys else {})}
        arrays = [np.asarray(column, dtype=np.float64) for column in (raw, calibrated)]
        carried = {
            window: pd.Series(carry_over(np.asarray(p, dtype=np.float64), *arrays), p.index)
            for window, p in buys.items()
        }
        return {**carried, self.horizon: calibrated}

    def _lacks_consents(self, moment: Moment) -> bool:
        people = moment.table("customers")
        return self.knows_consent and (people is None or "contactable" not in people.columns)

    def _memory(self, moment: Moment) -> ContactMemory | None:
        """Gather earlier contacts from treatments and earlier plans, if either is known."""

        def gather() -> ContactMemory | None:
            sources: dict[str, pd.DataFrame] = {}
            treatments = moment.table("treatments")
            if treatments is not None:
                wanted = treatments.select("customer_id", "timestamp", "action")
                sources["treatments"] = wanted.to_pyarrow().to_pandas()
            if moment.plans is not None:
                sources["plans"] = moment.plans
            cutoff = moment.base.cutoff
            return ContactMemory.gather(cutoff, sources) if sources else None

        return moment.shared(self.name, gather)

    def _control_share(self, moment: Moment, so_far: pd.DataFrame) -> float | FloatArray:
        """Return each customer's probability of being in the control group.

        Who was scored in this experiment before keeps the share of the first time.
        """
        policy = self.policy
        if "clv" not in so_far:
            return policy.holdout_share
        risk, value = so_far["churn_probability"], so_far["clv"]
        # A training has no strata yet: they are those of its own customers, and are then stored.
        strata = policy.strata or Strata.fit(
            risk, value, share=policy.holdout_share, least=policy.holdout_least
        )
        if not strata.differ:
            return policy.holdout_share
        share = strata.share_of(risk, value)
        if moment.control is None:
            return share
        mine = moment.control[moment.control["experiment"] == self.policy.experiment]
        first = mine.drop_duplicates("customer_id").set_index("customer_id")["control_share"]
        known = first.reindex(so_far.index).to_numpy(dtype=np.float64)
        return np.where(np.isnan(known), share, known)

    def offer(self, moment: Moment, so_far: pd.DataFrame) -> Offers | None:
        """Say what each option would bring for some of the customers; None if nobody is asked."""
        if self._lacks_consents(moment):
            return None
        return make_offers(so_far, self.catalogue, **self._rules(moment, so_far))

    def fit_strata(self, risk: pd.Series[float], value: pd.Series[float]) -> Actions:
        """Return the predictor with the strata of all customers, where it has none yet."""
        policy = self.policy
        if policy.strata is not None:
            return self
        strata = Strata.fit(risk, value, share=policy.holdout_share, least=policy.holdout_least)
        return replace(self, policy=replace(policy, strata=strata))

    def _rules(self, moment: Moment, so_far: pd.DataFrame) -> dict[str, Any]:
        """Gather what decides about each customer alone."""
        policy = self.policy
        return {
            "cutoff": moment.base.cutoff,
            "stakes": self._stakes(so_far),
            "memory": self._memory(moment),
            "limit": policy.contact_limit,
            "holdout_share": self._control_share(moment, so_far),
            "experiment": policy.experiment,
            "seed": policy.seed,
            "consent": policy.consent,
        }

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        """Recommend; the whole :class:`Recommendation` is found in ``moment.found``."""
        policy = self.policy
        if self.at_stored_prices and policy.prices is None:
            raise CrmmlError("the bundle holds no shadow prices; allocate the budget instead")
        if self._lacks_consents(moment):
            reason = (
                "the bundle was trained with consents: without the column `contactable` of the "
                "table `customers` nobody is contacted"
            )
            moment.leave_out([output.name for output in self.outputs], reason)
            return pd.DataFrame(index=so_far.index)
        rules = self._rules(moment, so_far)
        offers = make_offers(so_far, self.catalogue, terms=moment.terms, **rules)
        recommendation = decide(
            so_far,
            offers,
            cutoff=moment.base.cutoff,
            experiment=policy.experiment,
            budget=policy.budget,
            capacities=policy.capacities,
            prices=policy.prices if self.at_stored_prices else None,
            allocation=moment.allocation,
        )
        moment.found[self.name] = recommendation
        return recommendation.table
