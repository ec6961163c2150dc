"""One recommendation per customer: action, channel, date, gain, doubts, runner-up and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.actions.allocation import Allocation, Prices, allocate, apply_prices, tie_chances
from crmml.actions.catalogue import NO_ACTION, ActionCatalogue
from crmml.actions.contacts import ContactLimit, ContactMemory
from crmml.actions.economics import ASSUMED, Consent, NetGains, Stakes, compute_net_gains
from crmml.actions.holdout import Holdout, assign_holdout, draw
from crmml.card import Card, Result
from crmml.exceptions import ParameterError
from crmml.metrics.bootstrap import hash_keys
from crmml.stats.discounting import in_units

REASONS: dict[str, str] = {
    # for an action
    "likely_to_leave": "Without an action the customer is more likely to leave than to stay.",
    "at_risk": "The customer may leave.",
    "lapsed": "The customer has lapsed and can be won back.",
    "one_purchase_so_far": "The customer has paid once so far; a second time makes a regular.",
    "room_to_grow": "Revenue is expected that the action can increase.",
    "bad_experience": "The last experience was bad and waits for an answer.",
    "cheaper_to_serve": "The customer can be served at lower cost.",
    "top_tier": "The customer is of the two highest value tiers.",
    "pays_many_times": "The expected net gain is at least three times the cost.",
    "almost_certain": "The gain is positive with at least 90 % probability.",
    # against it
    "assumed_effect": "The effect is an assumption; no experiment stands behind it.",
    "uncertain_gain": "The gain is positive with less than 70 % probability.",
    "incentive_to_loyal": "At least half of the cost goes to those who would have stayed anyway.",
    "close_call": "Another action is expected to bring nearly as much.",
    "low_tier": "The customer is of the two lowest value tiers.",
    "contacts_not_checked": "Earlier contacts are not known, so cool-downs were not checked.",
    # for doing nothing
    "held_out": "Left alone by chance, so that the effect of the actions can be measured.",
    "not_contactable": "The customer must not be contacted.",
    "not_eligible": "No action of the catalogue is meant for this customer.",
    "no_gain": "Every action is expected to cost more than it brings.",
    "better_elsewhere": "The money or the capacity brings more with other customers.",
    # against it
    "gain_forgone": "An action is expected to bring more than it costs.",
}
"""Each reason code and what it says."""

_OF_PURPOSE = {
    "acquire": "one_purchase_so_far",
    "enhance": "room_to_grow",
    "win_back": "lapsed",
    "recover": "bad_experience",
    "reduce_cost": "cheaper_to_serve",
}


@dataclass(frozen=True, repr=False)
class Recommendation(Result):
    """What to do for every customer.

    Attributes
    ----------
    table : DataFrame
        Indexed by ``customer_id`` in the order of the scores:

        * ``recommended_action``, ``channel`` (null for ``no_action``), ``contact_by``;
        * ``expected_net_gain`` with ``net_gain_lower`` and ``net_gain_upper``,
          ``probability_positive`` and ``break_even_save_rate`` (null for ``no_action``),
          ``expected_cost``; the interval carries the doubt about the save rate and about the
          customer's value;
        * ``runner_up`` (the best other action, or ``no_action``), ``runner_up_net_gain``;
        * ``basis`` of the effect; ``reasons_for``, ``reasons_against`` (codes of
          :data:`REASONS`, separated by commas) and ``explanation`` (their sentences);
        * ``policy_action``, ``policy_channel``: what the policy wants, hold-out apart;
          ``held_out``: whether the customer is of the hold-out, wanted or not;
          ``experiment`` and ``control_share``: of which hold-out, and with what probability;
          ``propensity``: probability of what was recommended. With the share h held out and the
          probability q that the policy wants it (1, but for customers who tie at the margin of
          the budget, of whom a share is served) it is (1 - h) q for an action and h + (1 - h) q
          for no action.
    prices : Prices
        Shadow prices that the allocation found, or those that were given.
    allocation : Allocation or None
        The allocation among those not held out; None where prices were given.
    gains : NetGains
        What each action would bring for each customer.
    notes : tuple of str
        What the reader must know: which action nobody can get, and which rule cannot be applied.
    """

    table: pd.DataFrame
    prices: Prices
    allocation: Allocation | None
    gains: NetGains
    notes: tuple[str, ...]

    def to_pandas(self) -> pd.DataFrame:
        """Return the table of recommendations, indexed by customer."""
        return self.table.copy()

    def _card(self) -> Card:
        rows = (
            ("given out", "at stored prices" if self.allocation is None else repr(self.allocation)),
            *(("note", note) for note in self.notes[:5]),
            ("more", "by_action() counts, to_pandas() is the table, plot() draws the gains"),
        )
        return Card(f"Recommendation for {len(self.table):,} customers", rows)

    def sensitivity(self, factors: tuple[float, ...] = (0.5, 2.0)) -> pd.DataFrame:
        """Say how many choices flip when the save rate of one action is halved or doubled.

        Prices stay as they are, so that each customer is asked alone.

        Parameters
        ----------
        factors : tuple of float
            Each > 0.

        Returns
        -------
        DataFrame
            Indexed by action: ``customers`` who have it as things stand at these prices, and for
            each factor ``lost_at_<factor>`` and ``won_at_<factor>``.
        """
        # The same draw for all: a tie must not look like a choice that flips.
        draws = np.zeros(len(self.gains))
        of_option = np.array([*(o.action for o in self.gains.options), NO_ACTION], dtype=object)
        now = of_option[apply_prices(self.gains, self.prices, draws=draws)]
        rows = {}
        for action in dict.fromkeys(option.action for option in self.gains.options):
            mine = now == action
            row = {"customers": int(mine.sum())}
            for factor in factors:
                changed = self.gains.with_rates(factor, action)
                then = of_option[apply_prices(changed, self.prices, draws=draws)] == action
                row[f"lost_at_{factor:g}"] = int((mine & ~then).sum())
                row[f"won_at_{factor:g}"] = int((then & ~mine).sum())
            rows[action] = row
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("action")

    def by_action(self) -> pd.DataFrame:
        """Return customers, expected cost and expected net gain per recommended action."""
        return self.table.groupby("recommended_action", sort=True, observed=True).agg(
            customers=("expected_cost", "size"),
            expected_cost=("expected_cost", "sum"),
            expected_net_gain=("expected_net_gain", "sum"),
        )


def recommend(
    scores: pd.DataFrame,
    catalogue: ActionCatalogue,
    *,
    cutoff: str | pd.Timestamp,
    stakes: Stakes,
    budget: float | None = None,
    capacities: Mapping[str, float] | None = None,
    memory: ContactMemory | None = None,
    limit: ContactLimit | None = None,
    holdout_share: float | FloatArray = 0.0,
    experiment: str = "1",
    seed: int = 0,
    consent: Consent = "assumed",
    prices: Prices | None = None,
    level: float = 0.8,
) -> Recommendation:
    """Recommend one action (or none) for every customer.

    Parameters
    ----------
    scores : DataFrame
        See :func:`~crmml.actions.economics.compute_net_gains`; ``value_tier``, if there, is
        used for the reasons.
    catalogue : ActionCatalogue
    cutoff : str or Timestamp
        Contacts are dated from it: the date of ``contact_by`` is
        ``cutoff + lead_time + (1 - churn_probability) x (contact_within - lead_time)`` of the
        action, rounded down to a day, so the likelier a customer is to leave, the sooner.
    stakes : Stakes
        What the actions act on; see :class:`~crmml.actions.economics.Stakes`.
    budget : float, optional
        Largest total expected cost; unlimited by default.
    capacities : mapping of channel to number, optional
        Most contacts by each channel.
    memory : ContactMemory, optional
        Earlier contacts, for cool-downs and the limit. Without it every recommended action says
        that they were not checked.
    limit : ContactLimit, optional
        Most contacts of one customer within a time.
    holdout_share : float, or ndarray of shape (n,)
        Share of customers left alone by chance, of all or of each customer's stratum
        (:class:`~crmml.actions.holdout.Strata`). They are drawn first, so the budget is spent in
        full, among the others.
    experiment : str
        Names the control group: the same customers at every cutoff until it ends.
    consent : {"assumed", "required"}
        Whether a customer whose consent is not known may be contacted.
    seed : int
        Of the hold-out and of the draws that decide ties; >= 0.
    prices : Prices, optional
        Stored prices: each customer then takes the best of net gain less price, so that one
        customer alone gets the same answer as in a batch; budget and capacities play no part.
    level : float
        Probability that the interval of the net gain holds.

    Raises
    ------
    CrmmlError
        As :func:`~crmml.actions.economics.compute_net_gains` and
        :func:`~crmml.actions.allocation.allocate`.
    """
    offers = make_offers(
        scores,
        catalogue,
        cutoff=cutoff,
        stakes=stakes,
        memory=memory,
        limit=limit,
        holdout_share=holdout_share,
        experiment=experiment,
        seed=seed,
        consent=consent,
    )
    how: dict[str, Any] = {"budget": budget, "capacities": capacities, "level": level}
    return decide(scores, offers, cutoff=cutoff, experiment=experiment, prices=prices, **how)


def decide(
    scores: pd.DataFrame,
    offers: Offers,
    *,
    cutoff: str | pd.Timestamp,
    experiment: str = "1",
    budget: float | None = None,
    capacities: Mapping[str, float] | None = None,
    prices: Prices | None = None,
    allocation: Allocation | None = None,
    level: float = 0.8,
) -> Recommendation:
    """Recommend one action (or none) for every customer to whom offers were made.

    Parameters
    ----------
    scores : DataFrame
        ``value_tier``, if there, is used for the reasons.
    offers : Offers
        From :func:`make_offers`, of the same customers.
    allocation : Allocation, optional
        Of the budget among more customers, cut to these; then nothing is allocated here.
    cutoff, experiment, budget, capacities, prices, level
        See :func:`recommend`.
    """
    if not 0 < level < 1:
        raise ParameterError("level", "between 0 and 1", level)
    if prices is None and allocation is None:
        allocation = allocate(
            offers.gains,
            budget=budget,
            capacities=capacities,
            available=~offers.holdout.held_out,
            draws=offers.draws,
        )
    chosen = _choose(offers, prices, None if prices is not None else allocation)
    table = _tabulate(scores, offers, chosen, cutoff=cutoff, level=level)
    table["experiment"] = experiment
    table["control_share"] = offers.holdout.share
    notes = _notes(offers.gains, checked=offers.checked)
    return Recommendation(table, chosen.prices, chosen.allocation, offers.gains, notes)


class Terms(NamedTuple):
    """Who may get which action, and what was drawn for each customer.

    Attributes
    ----------
    eligible : ndarray of bool, shape (n, m)
        Options that each customer may get.
    holdout : Holdout
        Who is left alone by chance.
    draws : ndarray, shape (n,)
        Numbers in (0, 1) that decide ties.
    """

    eligible: BoolArray
    holdout: Holdout
    draws: FloatArray


class Offers(NamedTuple):
    """What an allocation among all customers must know of some of them.

    Attributes
    ----------
    gains : NetGains
        What each option would bring for each of them, and cost.
    holdout : Holdout
        Who is left alone by chance.
    draws : ndarray, shape (n,)
        Numbers in (0, 1) that decide ties.
    checked : bool
        Whether earlier contacts are known.
    """

    gains: NetGains
    holdout: Holdout
    draws: FloatArray
    checked: bool

    @property
    def terms(self) -> Terms:
        """What need not be found out again when the gains are computed again."""
        return Terms(self.gains.eligible, self.holdout, self.draws)


def make_offers(
    scores: pd.DataFrame,
    catalogue: ActionCatalogue,
    *,
    cutoff: str | pd.Timestamp,
    stakes: Stakes,
    memory: ContactMemory | None = None,
    limit: ContactLimit | None = None,
    holdout_share: float | FloatArray = 0.0,
    experiment: str = "1",
    seed: int = 0,
    consent: Consent = "assumed",
    terms: Terms | None = None,
) -> Offers:
    """Work out what :func:`recommend` would allocate among; see there.

    Parameters
    ----------
    terms : Terms, optional
        Of earlier offers to the same customers: gains are then all that is computed.
    """
    gains = compute_net_gains(
        scores,
        catalogue,
        stakes,
        consent=consent,
        memory=memory,
        limit=limit,
        eligible=None if terms is None else terms.eligible,
    )
    if terms is not None:
        return Offers(gains, terms.holdout, terms.draws, memory is not None)
    # Each customer is drawn alone.
    keys = hash_keys(gains.customer_id)
    holdout = assign_holdout(share=holdout_share, seed=seed, experiment=experiment, keys=keys)
    occasion = pd.Timestamp(cutoff).isoformat()
    draws = draw(keys, seed=seed, occasion=occasion, purpose="ties")
    return Offers(gains, holdout, draws, memory is not None)


class _Chosen(NamedTuple):
    """What each customer gets, and what the policy wants for those held out too."""

    choice: IntArray
    wanted: IntArray
    propensity: FloatArray
    prices: Prices
    allocation: Allocation | None


def _choose(offers: Offers, prices: Prices | None, allocation: Allocation | None) -> _Chosen:
    """Take what was allocated to those not held out, or let stored prices choose."""
    gains, holdout, draws, _ = offers
    if allocation is not None:
        prices = allocation.prices
    if prices is None:
        raise AssertionError("without an allocation prices are given")
    wanted = apply_prices(gains, prices, draws=draws)
    if allocation is not None:
        # What the policy would give those held out is known only at its prices.
        wanted = np.where(holdout.held_out, wanted, allocation.choice)
    choice = np.where(holdout.held_out, -1, wanted)
    # What was served had this probability: off-policy estimates divide by it later.
    chance = tie_chances(gains, prices, choice, (choice == wanted).astype(float))
    propensity = holdout.propensity(choice >= 0, chance)
    return _Chosen(choice, wanted, propensity, prices, allocation)


def _tabulate(
    scores: pd.DataFrame,
    offers: Offers,
    chosen: _Chosen,
    *,
    cutoff: str | pd.Timestamp,
    level: float,
) -> pd.DataFrame:
    """Write the table of :class:`Recommendation`."""
    gains, choice, wanted = offers.gains, chosen.choice, chosen.wanted
    action, channel, of_option = _names(gains)
    rows = np.flatnonzero(choice >= 0)
    taken, n = choice[rows], len(gains)
    lower, upper = (
        _spread(n, rows, gains.quantiles(rows, taken, q), 0.0)
        for q in (0.5 - level / 2, 0.5 + level / 2)
    )
    positive = _spread(n, rows, gains.probability_positive(rows, taken), np.nan)
    second, second_net = _runner_up(gains, choice, chosen.prices, of_option)
    reasons = _Reasons(n)
    _give_reasons(reasons, scores, offers, choice, wanted, positive, second, second_net)
    pros, cons, sentences = reasons.texts()
    table = pd.DataFrame(
        {
            "recommended_action": _texts(action, choice),
            "channel": _texts(channel, choice),
            "contact_by": _contact_by(gains, choice, of_option, cutoff),
            "expected_net_gain": _spread(n, rows, gains.net[rows, taken], 0.0),
            "net_gain_lower": lower,
            "net_gain_upper": upper,
            "probability_positive": positive,
            "break_even_save_rate": _spread(n, rows, gains.break_even(rows, taken), np.nan),
            "expected_cost": _spread(n, rows, gains.cost[rows, taken], 0.0),
            "runner_up": _texts([*action, None], second),
            "runner_up_net_gain": second_net,
            "basis": _texts([ASSUMED], np.zeros(n, dtype=np.int64)),
            "reasons_for": pros,
            "reasons_against": cons,
            "explanation": sentences,
            "policy_action": _texts(action, wanted),
            "policy_channel": _texts(channel, wanted),
            "held_out": offers.holdout.held_out,
            "propensity": chosen.propensity,
        }
    )
    table.index = gains.customer_id
    return table


def _texts(texts: Sequence[Any], place: IntArray) -> pd.Series[str]:
    """Take some of a few texts, counted from the end where the place is negative."""
    few: pd.Series[str] = pd.Series(texts, dtype="str")
    return few.take(np.where(place < 0, place + len(few), place)).reset_index(drop=True)


def _names(gains: NetGains) -> tuple[list[str], list[str | None], IntArray]:
    """Return action and channel by option (the last entry is no action) and action numbers."""
    actions = [option.action for option in gains.options]
    number = {name: k for k, name in enumerate(dict.fromkeys(actions))}
    return (
        [*actions, NO_ACTION],
        [*(option.channel for option in gains.options), None],
        np.array([*(number[name] for name in actions), -1], dtype=np.int64),
    )


def _spread(n: int, rows: IntArray, values: FloatArray, rest: float) -> FloatArray:
    whole = np.full(n, rest)
    whole[rows] = values
    return whole


def _runner_up(
    gains: NetGains, choice: IntArray, prices: Prices, of_option: IntArray
) -> tuple[IntArray, FloatArray]:
    """Return the best other action after prices (m: no action, m + 1: none at all), and its net."""
    m = len(gains.options)
    charges = prices.charges(gains.options)
    chosen = of_option[choice]
    acts = choice >= 0
    best = np.where(acts, 0.0, -np.inf)  # for an action, doing nothing is a rival too
    second = np.where(acts, m, m + 1)
    net = np.where(acts, 0.0, np.nan)
    for j in range(m):
        worth = gains.net[:, j] - prices.budget * gains.cost[:, j] - charges[j]
        better = (worth > best) & (chosen != of_option[j])
        np.copyto(best, worth, where=better)
        np.copyto(net, gains.net[:, j], where=better)
        second[better] = j
    return second, net


def _contact_by(
    gains: NetGains, choice: IntArray, of_option: IntArray, cutoff: str | pd.Timestamp
) -> pd.Series[Any]:
    actions = gains.catalogue.actions
    early = np.array([in_units(a.lead_time, "day") for a in actions] + [0.0])
    late = np.array([in_units(a.contact_within, "day") for a in actions] + [0.0])
    which = of_option[choice]
    wait = (1.0 - gains.churn_probability) * np.maximum(late - early, 0.0)[which]
    days = pd.to_timedelta(np.floor(early[which] + wait), unit="D")
    dates = pd.Series(pd.Timestamp(cutoff).normalize() + days).astype("datetime64[us]")
    return dates.where(choice >= 0)


class _Reasons:
    """Reason codes of many customers, as bits: few combinations, so few texts are written."""

    def __init__(self, n: int) -> None:
        self.pros = np.zeros(n, dtype=np.int64)
        self.cons = np.zeros(n, dtype=np.int64)

    def add(self, *, pro: str | None = None, con: str | None = None, where: BoolArray) -> None:
        for code, bits in ((pro, self.pros), (con, self.cons)):
            if code is not None:
                bits[where] |= 1 << _BIT[code]

    def texts(self) -> tuple[pd.Series[str], pd.Series[str], pd.Series[str]]:
        """Return codes for, codes against and sentences for each customer."""
        both = np.stack([self.pros, self.cons])
        kinds, of_row = np.unique(both[0] << len(_BIT) | both[1], return_inverse=True)
        every = (1 << len(_BIT)) - 1
        codes = [(_codes(int(k) >> len(_BIT)), _codes(int(k) & every)) for k in kinds]
        lists = (
            [",".join(pro) for pro, _ in codes],
            [",".join(con) for _, con in codes],
            [_sentences(pro, con) for pro, con in codes],
        )
        pros, cons, words = (_texts(texts, of_row) for texts in lists)
        return pros, cons, words


_BIT = {code: bit for bit, code in enumerate(REASONS)}


def _codes(bits: int) -> list[str]:
    return [code for code, bit in _BIT.items() if bits >> bit & 1]


def _sentences(pros: list[str], cons: list[str]) -> str:
    words = " ".join(REASONS[code] for code in pros)
    doubts = " ".join(REASONS[code] for code in cons)
    return f"{words} But: {doubts}" if doubts else words


def _give_reasons(
    reasons: _Reasons,
    scores: pd.DataFrame,
    offers: Offers,
    choice: IntArray,
    wanted: IntArray,
    positive: FloatArray,
    second: IntArray,
    second_net: FloatArray,
) -> None:
    gains = offers.gains
    acts, idle = choice >= 0, choice < 0
    withheld = idle & (wanted >= 0)  # wanted, but held out
    rows = np.flatnonzero(acts)
    n, m = gains.net.shape
    expected = _spread(n, rows, gains.net[rows, choice[rows]], 0.0)
    cost = _spread(n, rows, gains.cost[rows, choice[rows]], 0.0)
    for j, option in enumerate(gains.options):
        action = gains.catalogue[option.action]
        mine = choice == j
        if action.purpose in _OF_PURPOSE:
            reasons.add(pro=_OF_PURPOSE[action.purpose], where=mine)
        if action.purpose in ("retain", "recover"):
            likely = gains.churn_probability > 0.5
            reasons.add(pro="likely_to_leave", where=mine & likely)
            reasons.add(pro="at_risk", where=mine & ~likely)
        if action.incentive_cost > 0:
            moved = gains.extra[:, j] * option.save_rate.mean
            anyway = gains.cost[:, j] - option.contact_cost - moved
            reasons.add(con="incentive_to_loyal", where=mine & (anyway >= 0.5 * cost))
    if "value_tier" in scores.columns:
        tier = scores["value_tier"]
        reasons.add(pro="top_tier", where=acts & tier.isin(["A", "B"]).to_numpy())
        reasons.add(con="low_tier", where=acts & tier.isin(["D", "E"]).to_numpy())
    reasons.add(pro="pays_many_times", where=acts & (expected >= 3.0 * cost))
    reasons.add(pro="almost_certain", where=acts & (positive >= 0.9))
    reasons.add(con="uncertain_gain", where=acts & (positive < 0.7))
    reasons.add(con="close_call", where=acts & (second < m) & (second_net >= 0.9 * expected))
    reasons.add(con="assumed_effect", where=acts)
    if not offers.checked:
        reasons.add(con="contacts_not_checked", where=acts)

    possible = np.zeros(n, dtype=bool)
    pays = np.zeros(n, dtype=bool)
    for j in range(m):
        possible |= gains.net[:, j] > -np.inf
        pays |= gains.net[:, j] > 0
    barred = ~gains.contactable
    reasons.add(pro="not_contactable", where=idle & barred)
    reasons.add(pro="held_out", where=withheld)
    reasons.add(pro="not_eligible", where=idle & ~possible & ~barred)
    reasons.add(pro="no_gain", where=idle & possible & ~pays)
    reasons.add(pro="better_elsewhere", where=idle & pays & ~withheld)
    reasons.add(con="gain_forgone", where=idle & pays)


def _notes(gains: NetGains, *, checked: bool) -> tuple[str, ...]:
    unknown = set(gains.unknown_columns)
    eligible = gains.eligible
    reached = {o.action for j, o in enumerate(gains.options) if eligible[:, j].any()}
    notes = []
    for action in gains.catalogue.actions:
        reads = sorted(unknown & set(action.condition.columns))
        if reads and action.name not in reached:
            notes.append(
                f"{action.name} is never recommended: its condition uses "
                f"{', '.join(reads)}, which is missing for every customer"
            )
    resting = [action.name for action in gains.catalogue.actions if action.cool_down]
    if resting and not checked:
        notes.append(
            "no earlier contacts are known, so the cool-down of "
            f"{', '.join(resting)} is not checked"
        )
    return tuple(notes)
