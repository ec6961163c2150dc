"""An explanation in plain words, with the customer's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from crmml._typing import Duration
from crmml.actions.catalogue import NO_ACTION
from crmml.actions.recommendation import REASONS
from crmml.scoring.profit import PROFIT

if TYPE_CHECKING:
    from crmml.models.purchase.next_purchase import NextPurchase
    from crmml.scoring.runner_up import RunnerUp
    from crmml.scoring.value_parts import TierMove, ValueParts

_WORDS: Mapping[str, str] = {
    "likely_to_leave": "Without an action no purchase in the next {horizon} is more likely "
    "({churn:.0%}) than one.",
    "at_risk": "The customer may leave: with {churn:.0%} there is no purchase in the next "
    "{horizon}.",
    "lapsed": "The customer has lapsed: the last purchase was {silent:,} days before the cutoff, "
    "and P(alive) is {alive:.0%}.",
    "one_purchase_so_far": "{purchases} purchase{s} so far: one more would make a customer of a "
    "first-time buyer.",
    "room_to_grow": "{expected:.2f} purchases are expected in the next {horizon}, which the action "
    "can increase.",
    "top_tier": "The customer is of tier {tier}, one of the two highest.",
    "pays_many_times": "The expected net gain, {gain:,.2f}, is {times:,.1f} times the cost, "
    "{cost:,.2f}.",
    "almost_certain": "The gain is positive with {positive:.0%} probability.",
    "assumed_effect": "The effect is an assumption; no experiment stands behind it. It pays from a "
    "save rate of {break_even:.2%} on.",
    "uncertain_gain": "The gain is positive with {positive:.0%} probability only.",
    "close_call": "{second} is expected to bring nearly as much: {second_net:,.2f}.",
    "low_tier": "The customer is of tier {tier}, one of the two lowest.",
    "held_out": "Left alone by chance (probability {control:.0%}), so that the effect of the "
    "actions can be measured.",
    "no_gain": "Every action is expected to cost more than it brings; the best, {second}, would "
    "bring {second_net:,.2f}.",
    "gain_forgone": "{second} is expected to bring {second_net:,.2f} more than it costs.",
}
"""Reason code to a sentence with figures; where one is not known, and for other codes, the general
sentence of :data:`crmml.actions.recommendation.REASONS` stands."""

_CONTRACT_WORDS: Mapping[str, str] = {
    **_WORDS,
    "likely_to_leave": "Without an action the contract is more likely to end in the next "
    "{horizon} ({churn:.0%}) than not.",
    "at_risk": "The customer may leave: with {churn:.0%} the contract ends in the next {horizon}.",
}

LOST: Mapping[str, str] = {
    "gain": "it is expected to bring less",
    "budget": "the budget brings more with other customers",
    "capacity": "its channel or its own capacity is full, and brings more with other customers",
    "held_out": "the customer is of the control group, which is left alone by chance",
    "consent": "the customer must not be contacted",
    "contacts": "the customer was contacted too recently",
}
"""Why a runner-up is not recommended."""

_MOST_WHAT_IF = 4

_UNITS = {"hour": "hours", "day": "days", "week": "weeks", "month": "months", "quarter": "quarters"}


@dataclass(frozen=True)
class Reason:
    """One reason for or against what is recommended.

    Attributes
    ----------
    code : str
        Of :data:`crmml.actions.recommendation.REASONS`.
    speaks_for : bool
    text : str
        One sentence.
    """

    code: str
    speaks_for: bool
    text: str


def reasons_of(
    row: pd.Series[Any],
    purchases: pd.DataFrame | None,
    runner_up: RunnerUp | None,
    horizon: str,
) -> tuple[Reason, ...]:
    """Write the reasons of a scored row as sentences with its figures.

    Parameters
    ----------
    row : Series
        Of the scores.
    purchases : DataFrame or None
        ``date`` and ``purchase``; None for a base of contracts.
    runner_up : RunnerUp or None
    horizon : str
        Of the outcome window.
    """
    cost = _number(row, "expected_cost")
    gain = _number(row, "expected_net_gain")
    figures = {
        "horizon": spell(horizon),
        "churn": _number(row, "churn_probability"),
        "alive": _number(row, "probability_alive"),
        "expected": _number(row, "expected_purchases"),
        **({} if purchases is None else _counted(row, purchases)),
        "tier": row.get("value_tier"),
        "gain": gain,
        "cost": cost,
        "times": gain / cost if gain is not None and cost else None,
        "positive": _number(row, "probability_positive"),
        "break_even": _number(row, "break_even_save_rate"),
        "control": _number(row, "control_share"),
        "second": None if runner_up is None else runner_up.action,
        "second_net": None if runner_up is None else runner_up.net_gain,
    }
    known = {name: value for name, value in figures.items() if value is not None}
    words = _CONTRACT_WORDS if purchases is None else _WORDS
    found = []
    for column, speaks_for in (("reasons_for", True), ("reasons_against", False)):
        for code in filter(None, _text(row, column).split(",")):
            found.append(Reason(code, speaks_for, _sentence(code, known, words)))
    return tuple(found)


def _counted(row: pd.Series[Any], purchases: pd.DataFrame) -> dict[str, Any]:
    bought = purchases.loc[purchases["purchase"], "date"]
    silent = pd.Timestamp(row["cutoff"]).normalize() - bought.iloc[-1].normalize()
    return {
        "silent": silent.days,
        "purchases": len(bought),
        "s": "" if len(bought) == 1 else "s",
    }


def _sentence(code: str, known: Mapping[str, Any], words: Mapping[str, str]) -> str:
    try:
        return words[code].format_map(known)
    except KeyError:
        return REASONS.get(code, code)


def _number(row: pd.Series[Any], name: str) -> float | None:
    value = row.get(name)
    return None if value is None or pd.isna(value) else float(value)


def _text(row: pd.Series[Any], name: str) -> str:
    value = row.get(name)
    return "" if value is None or pd.isna(value) else str(value)


def spell(duration: str) -> str:
    """Write a duration in words.

    Examples
    --------
    >>> spell("13W")
    '13 weeks'
    """
    length = Duration.parse(duration)
    return f"{length.number:g} {_UNITS.get(length.unit, 'opportunities')}"


# -- sections ------------------------------------------------------------------------------------


def write_sections(found: Any) -> dict[str, list[str]]:
    """Say what an explanation holds in sentences, by heading; absent parts say why.

    Parameters
    ----------
    found : Explanation
        Of :mod:`crmml.scoring.explanation`.
    """
    money = f" {found.currency}" if found.currency else ""
    return {
        "History": _history(found, money),
        "Next purchase": _next(found.next_purchase),
        "Churn": _churn(found.served),
        "Lifetime value": _absent(found, "value") or _value(found.value, money),
        "Tier": _absent(found, "tier") or _tier(found.tier, found.value, money),
        **_decision(found, money),
    }


def write_contract_sections(found: Any) -> dict[str, list[str]]:
    """Say what an explanation of a contract holds in sentences, by heading.

    Parameters
    ----------
    found : ContractExplanation
        Of :mod:`crmml.scoring.contract_explanation`.
    """
    money = f" {found.currency}" if found.currency else ""
    tier = _absent(found, "tier") or [f"{found.tier.tier}.", *_next_tier(found.tier, money)]
    return {
        "Contract": _terms(found, money),
        "Ahead": _chances(found),
        "What if": _otherwise(found),
        "Lifetime value": _absent(found, "value") or _fees(found, money),
        "Tier": tier,
        **_decision(found, money),
    }


def _decision(found: Any, money: str) -> dict[str, list[str]]:
    second = []
    if "recommendation" not in found.missing:
        second = _absent(found, "runner_up") or _second(found.runner_up, money)
    return {
        "Recommendation": _absent(found, "recommendation") or _advice(found, money),
        "Runner-up": second,
        "Reasons": [reason.text for reason in found.reasons if reason.speaks_for],
        "But": [reason.text for reason in found.reasons if not reason.speaks_for],
        "Notes": [f"{note[0].upper()}{note[1:]}." for note in (*found.notes, found.basis)],
    }


def _absent(found: Any, part: str) -> list[str]:
    return [f"Not known: {found.missing[part]}."] if part in found.missing else []


def _history(found: Any, money: str) -> list[str]:
    bought = found.purchases[found.purchases["purchase"]]
    first, last = bought["date"].iloc[0], bought["date"].iloc[-1]
    n, total = len(bought), float(found.purchases["amount"].sum(min_count=1))
    spent = "" if pd.isna(total) else f" for {total:,.2f}{money} net"
    when = f"on {first.date()}" if n == 1 else f"from {first.date()} to {last.date()}"
    alive = float(found.served["probability_alive"])
    silent = (found.cutoff.normalize() - last.normalize()).days
    said = [f"{n:,} purchase{'s' if n > 1 else ''} {when}{spent}."]
    said.append(
        f"On {found.cutoff.date()}, {silent:,} days after the last one, P(alive) is {alive:.1%}."
    )
    churn = found.served.get("churn_probability")
    if churn is not None and pd.notna(churn):
        said.append(f"No purchase in the next {spell(found.horizon)}: {float(churn):.1%}.")
    return said


def _churn(served: Mapping[str, Any]) -> list[str]:
    """Give the reasons of the churn probability, and the class of loyalty."""
    leads = {
        "churn_reasons_for": "Speaks for leaving",
        "churn_reasons_against": "Speaks for staying",
        "loyalty_class": "Loyalty",
    }
    told = {name: served.get(name) for name in leads}
    said = [f"{leads[name]}: {text}." for name, text in told.items() if isinstance(text, str)]
    if isinstance(told["loyalty_class"], str) and isinstance(served.get("loyalty_evidence"), str):
        said[-1] = f"{said[-1][:-1]} ({served['loyalty_evidence']})."
    return said


def _next(found: NextPurchase | None) -> list[str]:
    if found is None:
        return []
    never = f"With {found.probability_never:.1%} the customer never buys again."
    if found.date is None:
        return [
            never,
            f"If active, the next purchase is more likely after than before: {found.limit}.",
        ]
    said = f"If the customer is active, the next purchase comes by {found.date.date()} with 50 %"
    if found.earliest is not None and found.latest is not None:
        return [never, f"{said} (80 %: {found.earliest.date()} to {found.latest.date()})."]
    early = "" if found.earliest is None else f"by {found.earliest.date()} with 10 %, "
    return [never, f"{said} ({early}but 90 % is not reached: {found.limit})."]


def _value(value: ValueParts | None, money: str) -> list[str]:
    if value is None:
        return []
    margin = f"{value.margin:.1%} margin{' (assumed)' if value.margin_assumed else ''}"
    return [
        f"{value.clv:,.2f}{money} in {spell(value.horizon)} (80 %: {value.clv_lower:,.2f} to "
        f"{value.clv_upper:,.2f}).",
        f"It is {value.probability_alive:.1%} alive x {value.purchases_if_alive:,.2f} purchases if "
        f"alive x {value.spend:,.2f} per purchase x {margin} x {value.discounting:.3f} discount.",
    ]


def _tier(tier: TierMove | None, value: ValueParts | None, money: str) -> list[str]:
    if tier is None or value is None:
        return []
    ways = []
    if tier.in_purchases is not None:
        ways.append(f"{_few(tier.in_purchases)} more expected purchases")
    if tier.in_spend is not None:
        ways.append(f"{_few(tier.in_spend)} more per purchase")
    told = f", as {' or '.join(ways)} in {spell(value.horizon)}" if ways else ""
    said = [f"{tier.tier}{_worth(tier, value, money)}.", *_next_tier(tier, money, told)]
    if tier.if_bought_now is not None:
        said.append(
            f"A purchase now, of the expected amount, would make it {tier.if_bought_now:,.2f}: "
            f"tier {tier.tier_if_bought_now}."
        )
    return said


def _next_tier(tier: TierMove, money: str, ways: str = "") -> list[str]:
    """Say where the next and the own tier begin."""
    said = []
    if tier.cut_point is not None and tier.missing is not None:
        said.append(
            f"The next tier begins at {tier.cut_point:,.2f}{money}: {tier.missing:,.2f} more{ways}."
        )
    if tier.floor is not None and tier.to_floor is not None:
        said.append(f"Tier {tier.tier} begins at {tier.floor:,.2f}, {tier.to_floor:,.2f} below.")
    return said


def _worth(tier: TierMove, value: ValueParts, money: str) -> str:
    """Say what a tier is cut by, where that is not the lifetime value just told."""
    if tier.by == PROFIT:
        return f", by a profit to date of {tier.worth:,.2f}{money}"
    net = f"{tier.worth:,.2f}"
    same = net == f"{value.clv:,.2f}"
    return "" if same else f", by {net}{money}, which is lifetime value less the cost to serve"


def _few(number: float) -> str:
    """Write a number with at least two digits that say something."""
    return f"{number:,.2f}" if number >= 1 else f"{number:.2g}"


def _advice(found: Any, money: str) -> list[str]:
    row: Mapping[str, Any] = found.served
    action = str(row["recommended_action"])
    if action == NO_ACTION:
        return ["No action."]
    by = f" by {row['channel']}" if pd.notna(row.get("channel")) else ""
    day = f", until {pd.Timestamp(row['contact_by']).date()}" if pd.notna(row["contact_by"]) else ""
    return [
        f"{action}{by}{day}.",
        f"Expected net gain {float(row['expected_net_gain']):,.2f}{money} (80 %: "
        f"{float(row['net_gain_lower']):,.2f} to {float(row['net_gain_upper']):,.2f}) for "
        f"{float(row['expected_cost']):,.2f}; basis: {row['basis']}.",
    ]


def _second(second: RunnerUp | None, money: str) -> list[str]:
    if second is None:
        return []
    if second.action == NO_ACTION:
        return ["No action, which brings nothing: no other action pays."]
    return [
        f"{second.action}: expected net gain {second.net_gain:,.2f}{money} for {second.cost:,.2f}; "
        f"not chosen, as {LOST[second.lost_by]}."
    ]


# -- contracts -----------------------------------------------------------------------------------


def _terms(found: Any, money: str) -> list[str]:
    terms = found.terms
    since, last = terms["started_at"].iloc[0], terms.iloc[-1]
    what = f"'{last['plan']}'" if pd.notna(last.get("plan")) else "a contract"
    fee = f" for {float(last['fee']):,.2f}{money} a period" if pd.notna(last.get("fee")) else ""
    said = [f"Under contract since {last['started_at'].date()}: {what}{fee}."]
    if len(terms) > 1:
        said.append(f"{len(terms):,} contract periods since {since.date()}.")
    return said


def _chances(found: Any) -> list[str]:
    row: Mapping[str, Any] = found.served
    ends = float(row["churn_probability"])
    said = [f"The contract ends in the next {spell(found.horizon)}: {ends:.1%}."]
    prefix = "contract_end_"
    causes = {name[len(prefix) :]: row[name] for name in row if name.startswith(prefix)}
    told = [f"{cause} {float(p):.1%}" for cause, p in causes.items() if pd.notna(p)]
    if told:
        said.append(f"Of that: {', '.join(told)}.")
    days, last = float(row["contract_days"]), found.ahead.iloc[-1]
    said.append(
        f"Expected time under contract in the next {spell(found.value_horizon)}: {days:,.0f} days; "
        f"still active on {last['date'].date()}: {last['probability_active']:.0%}."
    )
    return said


def _otherwise(found: Any) -> list[str]:
    if found.what_if.empty:
        return ["The model of contracts reads nothing but their age."]
    own = float(found.served["churn_probability"])
    # what moves the chance most comes first
    moved = (found.what_if["churn_probability"] - own).abs().sort_values(kind="stable")
    rows = found.what_if.loc[moved.index[::-1][:_MOST_WHAT_IF]]
    return [
        f"With {str(row.covariate).removeprefix('customer_')} {_short(row.other)} in place of "
        f"{_short(row.own)} it would be {row.churn_probability:.1%}."
        for row in rows.itertuples()
    ]


def _short(value: Any) -> str:
    return f"{float(value):,.3g}" if isinstance(value, (int, float)) else f"'{value}'"


def _fees(found: Any, money: str) -> list[str]:
    row: Mapping[str, Any] = found.served
    value, low, high = (float(row[name]) for name in ("clv", "clv_lower", "clv_upper"))
    return [
        f"{value:,.2f}{money} in {spell(found.value_horizon)}, the discounted margin of the "
        f"fees to come (80 %: {low:,.2f} to {high:,.2f})."
    ]
