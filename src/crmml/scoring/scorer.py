"""One row per customer at a cutoff: predictions, segments and the recommended action."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crmml._typing import FloatArray
from crmml.actions.economics import NetGains
from crmml.actions.recommendation import Recommendation, recommend
from crmml.data.settings import Policies
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import CrmmlError, CrmmlWarning
from crmml.features.snapshot import Snapshot, build_snapshot
from crmml.features.wallet import LOYALTY_CLASSES, build_wallet
from crmml.features.windows import end_of_observation, read_moment
from crmml.segments.lifecycle import focus
from crmml.segments.value_tier import posture, service_priority

if TYPE_CHECKING:
    from crmml.scoring.bundle import ScoringBundle

INTERVAL = (0.1, 0.9)
"""Levels of ``*_lower`` and ``*_upper``: the outcome itself lies between them with 80 %."""

_SILENCE = pd.Timedelta(days=7)


@dataclass(frozen=True)
class Scores:
    """What :func:`score` returns.

    Attributes
    ----------
    table : DataFrame
        One row per customer, sorted by ``customer_id``.
    snapshot : Snapshot
        What was scored.
    recommendation : Recommendation
        With the gains of all actions, the allocation, its prices and its certificate.
    absent : dict of str to str
        Columns that are null throughout, and why.
    """

    table: pd.DataFrame
    snapshot: Snapshot
    recommendation: Recommendation
    absent: dict[str, str]

    @property
    def gains(self) -> NetGains:
        """What each action would bring for each customer, those held out apart."""
        gains = self.recommendation.gains
        left_alone = self.recommendation.table["held_out"].to_numpy(dtype=bool)
        return replace(gains, net=np.where(left_alone[:, None], -np.inf, gains.net))


def score(
    bundle: ScoringBundle,
    transactions: Any,
    cutoff: str | pd.Timestamp | None = None,
    *,
    customers: Any = None,
    stored_prices: bool = False,
    budget: float | None = None,
) -> Scores:
    """Score every customer who bought before the cutoff.

    Parameters
    ----------
    bundle : ScoringBundle
        What was trained.
    transactions : Tables, DataFrame, Arrow table or path
        The log; what is not a :class:`~crmml.data.tables.Tables` is opened with the data policies
        of the training.
    cutoff : str or Timestamp, optional
        Score as of this moment; default: the end of the last day of the data, or the cutoff of
        the training if that is later. The log is taken to be complete up to it.
    customers : DataFrame, Arrow table or path, optional
        The customers table (``contactable``, attributes); ignored with ``Tables``.
    stored_prices : bool
        Give out actions at the shadow prices of the training, each customer alone, instead of
        allocating the budget among those at hand.
    budget : float, optional
        Instead of the budget of the bundle's policy.

    Returns
    -------
    Scores

    Raises
    ------
    DataError, TooLittleDataError
        If the tables break a rule or nothing was bought before the cutoff.
    """
    manifest = bundle.manifest
    tables = open_for(bundle, transactions, customers)
    end = end_of_observation(tables.last_timestamp)
    trained = pd.Timestamp(manifest["created_for_cutoff"])
    moment = max(end, trained) if cutoff is None else read_moment(cutoff, "cutoff")
    if moment > max(end, trained) + _SILENCE:
        warnings.warn(
            f"the log ends on {tables.last_timestamp.date()}, {(moment - end).days:,} days before "
            f"the cutoff {moment.date()}: those days count as silence of every customer",
            CrmmlWarning,
            stacklevel=2,
        )
    if None not in (tables.currency, manifest["currency"]) and (
        tables.currency != manifest["currency"]
    ):
        raise CrmmlError(
            f"the bundle was trained in {manifest['currency']}, these transactions are in "
            f"{tables.currency}"
        )
    snapshot = build_snapshot(
        tables,
        moment,
        grain=manifest["grain"],
        time_unit=manifest["time_unit"],
        channels=manifest["channels"],
        own_seller=manifest["own_seller"],
    )
    table, absent = _predict(bundle, snapshot, tables)
    trend = snapshot.frame.set_index("customer_id")["purchase_trend"]
    _place(bundle, table, trend, tables, absent)
    ltv, horizons = bundle.lifetime_value, bundle.catalogue.horizons
    kept = {h: ltv.expected_margin_if_active(snapshot, h) for h in horizons}
    expected = {h: ltv.expected_margin(snapshot, h) for h in horizons}
    policy = bundle.policy if budget is None else replace(bundle.policy, budget=budget)
    if stored_prices and policy.prices is None:
        raise CrmmlError("the bundle holds no shadow prices; allocate the budget instead")
    recommendation = recommend(
        table,
        bundle.catalogue,
        cutoff=moment,
        margin_if_kept=kept,
        expected_margin=expected,
        budget=policy.budget,
        capacities=policy.capacities,
        holdout_share=policy.holdout_share,
        seed=policy.seed,
        prices=policy.prices if stored_prices else None,
    )
    complete = table.join(recommendation.table)
    complete["model_version"] = bundle.version
    complete["policy_version"] = policy.version
    complete.insert(0, "cutoff", moment)
    return Scores(complete.sort_index().reset_index(), snapshot, recommendation, dict(absent))


def open_for(bundle: ScoringBundle, transactions: Any, customers: Any = None) -> Tables:
    """Open a log under the data policies of the training; ``Tables`` come back as they are."""
    if isinstance(transactions, Tables):
        return transactions
    return open_tables(transactions, customers, policies=Policies(**bundle.manifest["cleaning"]))


def _predict(
    bundle: ScoringBundle, snapshot: Snapshot, tables: Tables
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Compute what the models say: section *prediction* of the glossary."""
    manifest, ltv = bundle.manifest, bundle.lifetime_value
    purchases, horizon = ltv.purchase_model_, manifest["horizon"]
    frame = snapshot.frame.set_index("customer_id")
    table = frame[["frequency", "recency", "T", "monetary_value"]].copy()
    table["inactivity"] = table["T"] - table["recency"]
    table["net_spend"] = frame["net_spend"]
    absent: dict[str, str] = {}
    if "profit_to_date" in frame:
        table["customer_profitability"] = frame["profit_to_date"]
    else:
        table["customer_profitability"] = float("nan")
        absent["customer_profitability"] = snapshot.provenance["absent"]["profit_to_date"]
    forecast = bundle.forecast.forecast(snapshot)
    table["expected_purchases"], table["expected_spend"] = forecast["purchases"], forecast["spend"]
    bounds = purchases.purchase_quantiles(
        snapshot, horizon, INTERVAL, posterior=ltv.purchase_posterior_
    )
    _interval(table, "purchases", bounds)
    table["probability_alive"] = purchases.probability_alive(snapshot)
    table["probability_no_purchase"] = purchases.probability_no_purchase(snapshot, horizon)
    table["clv"] = ltv.clv(snapshot, manifest["value_horizon"])
    _interval(table, "clv", ltv.clv_quantiles(snapshot, manifest["value_horizon"], INTERVAL))
    if ltv.annual_discount_rate > 0:
        table["residual_value"] = ltv.residual_value(snapshot)
    else:
        table["residual_value"] = float("nan")
        absent["residual_value"] = "without discounting the value to infinity has no bound"
    table["churn_probability"] = bundle.churn.churn_probability(snapshot)
    wallet = build_wallet(
        tables,
        snapshot.cutoff,
        length=manifest["loyalty_window"],
        grain=snapshot.grain,
        own_seller=manifest["own_seller"],
        peers=bundle.loyalty.peers,
    )
    now = wallet.frame.reindex(table.index)
    table["loyalty_class"] = now["loyalty_class"].astype("str")
    table["loyalty_evidence"] = now["loyalty_evidence"].astype("str")
    table["probability_competitor"] = now["probability_competitor"]
    after = bundle.loyalty.loyalty_probabilities(wallet).reindex(table.index)
    if after.isna().all(axis=None):
        absent["next_loyalty_*"] = bundle.loyalty.reason_
    for name in LOYALTY_CLASSES:
        table[f"next_loyalty_{name}"] = after[name]
    return table, absent


def _place(
    bundle: ScoringBundle,
    table: pd.DataFrame,
    trend: pd.Series[float],
    tables: Tables,
    absent: dict[str, str],
) -> None:
    """Put every customer into tier and stage: section *decision* of the glossary."""
    table["value_tier"] = bundle.tiers.assign(table["clv"])
    table["service_priority"] = service_priority(table["value_tier"])
    table["posture"] = posture(table["value_tier"])
    table["pareto_share"] = bundle.tiers.pareto_share(table["clv"])
    table["lifecycle_stage"] = bundle.lifecycle.assign(table.assign(trend=trend))
    table["lifecycle_focus"] = focus(table["lifecycle_stage"])
    top = table["value_tier"] == "A"
    table["strategic_role"] = pd.Series("high_lifetime_value", table.index, dtype="str").where(top)
    _attributes(bundle, table, tables, absent)
    for name in ("experience_zone", "taste_segment"):
        table[name] = pd.Series(None, table.index, dtype="str")
    absent["experience_zone"] = "surveys and complaints are not read by this version"
    absent["taste_segment"] = "categories are not clustered by this version"


def _attributes(
    bundle: ScoringBundle, table: pd.DataFrame, tables: Tables, absent: dict[str, str]
) -> None:
    """Add what the customers table says: the group, the consent, and what conditions ask for."""
    people = tables.customers
    known = [] if people is None else list(people.columns)
    renamed = {"group": "industry"}
    for name in ("group", "contactable", *bundle.catalogue.columns):
        source = renamed.get(name, name)
        if name in table or name in ("experience_zone", "value_tier", "lifecycle_stage"):
            continue
        if source in known:
            values = people.select("customer_id", source).to_pandas()  # type: ignore[union-attr]
            table[name] = values.set_index("customer_id")[source].reindex(table.index)
        elif name in ("group", "contactable"):
            table[name] = pd.Series(None, table.index, dtype="object")
            absent[name] = f"needs the column `{source}` of the table `customers`"
    if "contactable" in absent:
        absent["contactable"] += "; until then everybody counts as contactable"


def _interval(table: pd.DataFrame, name: str, quantiles: pd.DataFrame | FloatArray) -> None:
    bounds = pd.DataFrame(quantiles)
    table[f"{name}_lower"], table[f"{name}_upper"] = bounds.iloc[:, 0], bounds.iloc[:, 1]
