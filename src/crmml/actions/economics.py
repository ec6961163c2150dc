r"""Net gain of each action for each customer: what it brings less what it costs.

Section 5 of the contract: over the action's own horizon,

    net = gain - contact cost - incentive cost x E[incentives redeemed].

What an action can change is written with four figures of a customer:

* *A*, the probability of being active at the cutoff;
* *V*, the expected margin in the horizon if active now; M = A V is expected as things stand;
* *V_stay*, the same of a customer who is active and will not leave within the horizon;
* *B*, the probability of a purchase: as things stand, if active (*B_act*), if staying (*B_stay*).

With *s* the save rate, a Beta distribution, and *w* the win-back rate of the action, a number:

============================ =================================== ==============================
purpose                      gain                                E[redeemed] / rho
============================ =================================== ==============================
retain, recover, acquire     s A (V_stay - V) + w (1 - A) V      B + s A (B_stay - B_act)
                                                                 + w (1 - A) B_act
win_back                     s (1 - A) V                         B + s (1 - A) B_act
enhance                      s M                                 B
reduce_cost                  s x saving x B (in the horizon)     none
============================ =================================== ==============================

*rho* is the share of buyers who redeem the incentive. They do so within ``valid_for``.

**Keeping.** The first term is exact if the action stops all leaving in the horizon with
probability *s*. What is lost already, (1 - A) V, is no stake of an action that keeps: only the
second term touches it, because now and then an action that was meant to keep revives, as a rule
far more rarely. **Winning back** acts on the lost alone. **Enhancing** lifts by the share *s* the
margin that is expected anyhow. **Reducing cost** saves only on those who come: a customer who buys
nothing costs nothing, however "alive" the process holds them.

**Incentive.** It is also paid to those who would have bought anyway. Where customers leave at
purchases (BG/NBD, MBG/NBD), whether one who is active buys once does not depend on later leaving,
so that B_stay = B_act.

Net gain is linear in *s*, so its mean, its quantiles, the probability of being positive and the
break-even save rate follow from the Beta distribution exactly. The interval also carries the doubt
about the customer's value: where the coefficient of variation cv_V of *V* is known, *s* is given
the Beta distribution with the same mean whose relative variance is that of the product,
(1 + cv_s^2)(1 + cv_V^2) - 1: an uncertain value is worth fewer observed customers. The mean of the
net gain is then exact, the quantiles approximate. The win-back rate *w* is taken as known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from crmml._typing import BoolArray, Duration, FloatArray, IntArray
from crmml.actions.catalogue import KEEPING, Action, ActionCatalogue, Option
from crmml.actions.contacts import ContactLimit, ContactMemory
from crmml.card import Card, Result, listed
from crmml.exceptions import CrmmlError, DataError, MissingColumnsError, ParameterError

ASSUMED = "assumed"
"""Basis of an effect that no experiment stands behind."""

OPTIONAL_COLUMNS: tuple[str, ...] = (
    "contactable",
    "experience_zone",
    "loyalty_class",
    "strategic_role",
    "taste_segment",
    "group",
    "open_complaints",
    "upgrade_probability",
)
"""Score columns whose source may be absent: then null, and conditions on them do not hold."""

Values = Mapping[str, npt.ArrayLike]

Consent: TypeAlias = Literal["assumed", "required"]
"""What an unknown consent counts as: given, or not given. A consent that is false always counts."""


@dataclass(frozen=True)
class Stakes:
    """What actions act on; see the head of this module.

    Arrays are in the order of the scores; a Series is matched on its index. Money in currency.

    Attributes
    ----------
    probability_alive : array-like, shape (n,)
        *A*, between 0 and 1.
    margin_if_active, margin_if_staying : mapping of horizon to array-like
        *V* and *V_stay* over each of ``catalogue.horizons``.
    buys, buys_if_active, buys_if_staying : mapping of duration to array-like
        *B*, *B_act* and *B_stay* within each of ``catalogue.windows(outcome_horizon)``.
    outcome_horizon : str
        How long incentives are valid where an action does not say.
    value_cv : array-like, shape (n,), optional
        Coefficient of variation of what is known about *V*, >= 0; 0 without it.
    """

    probability_alive: npt.ArrayLike
    margin_if_active: Values
    margin_if_staying: Values
    buys: Values
    buys_if_active: Values
    buys_if_staying: Values
    outcome_horizon: str
    value_cv: npt.ArrayLike | None = None

    def aligned(self, ids: pd.Index[Any], catalogue: ActionCatalogue) -> Self:
        """Return the same as arrays in the order of ``ids``, checked.

        Raises
        ------
        MissingColumnsError, DataError, CrmmlError
            If a horizon is missing, a number is not finite, or a probability is outside [0, 1].
        """
        margins = {
            name: _for_each(getattr(self, name), catalogue.horizons, ids, name)
            for name in ("margin_if_active", "margin_if_staying")
        }
        windows = catalogue.windows(self.outcome_horizon)
        chances = {
            name: _for_each(getattr(self, name), windows, ids, name, top=1.0)
            for name in ("buys", "buys_if_active", "buys_if_staying")
        }
        spread: npt.ArrayLike = np.zeros(len(ids)) if self.value_cv is None else self.value_cv
        changes: dict[str, Any] = {
            "probability_alive": _numbers(self.probability_alive, ids, "probability_alive", 1.0),
            "value_cv": _numbers(spread, ids, "value_cv"),
            **margins,
            **chances,
        }
        return replace(self, **changes)


@dataclass(frozen=True, repr=False)
class NetGains(Result):
    """Net gain and cost of every option for every customer.

    Attributes
    ----------
    customer_id : Index, length n
        Rows.
    options : tuple of Option, length m
        Columns: the (action, channel) pairs of the catalogue.
    catalogue : ActionCatalogue
        Where the options come from.
    net : ndarray, shape (n, m)
        Expected net gain; -inf where the customer is not eligible.
    cost : ndarray, shape (n, m)
        Expected cost: contact, and incentive by its probability of being used.
    slope : ndarray, shape (n, m)
        Change of the net gain per unit of the rate *s*; ``net = fixed + slope * mean(s)``.
    churn_probability : ndarray, shape (n,)
        As used.
    extra : ndarray, shape (n, m)
        Change of the expected cost per unit of *s*: incentives of those whom the action moves.
    value_cv : ndarray, shape (n,)
        Coefficient of variation of what is known about the customer's value; 0 = certain.
    contactable : ndarray of bool, shape (n,)
        Who may be contacted at all.
    unknown_columns : tuple of str
        Columns of conditions of which no customer's value is known (absent, or null throughout):
        nobody is eligible by them.
    """

    customer_id: pd.Index[Any]
    options: tuple[Option, ...]
    catalogue: ActionCatalogue
    net: FloatArray
    cost: FloatArray
    slope: FloatArray
    extra: FloatArray
    churn_probability: FloatArray
    value_cv: FloatArray
    contactable: BoolArray
    unknown_columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.customer_id)

    def to_pandas(self) -> pd.DataFrame:
        """Return the net gain of every option, a row per customer; -inf where not eligible."""
        names = [(option.action, option.channel) for option in self.options]
        columns = pd.MultiIndex.from_tuples(names, names=["action", "channel"])
        return pd.DataFrame(self.net, self.customer_id, columns)

    def _card(self) -> Card:
        rows = (
            ("options", listed((f"{o.action} by {o.channel}" for o in self.options), most=8)),
            ("not known", f"columns of conditions: {listed(self.unknown_columns)}"),
            ("more", "to_pandas() is the net gain of each option, plot() what a budget buys"),
        )
        return Card(f"NetGains of {len(self.options)} options, {len(self):,} customers", rows)

    @property
    def eligible(self) -> BoolArray:
        """Which options each customer may get, shape (n, m)."""
        return np.isfinite(self.net)

    def quantiles(self, row: IntArray, option: IntArray, q: float) -> FloatArray:
        """Return a quantile of the net gain of some (customer, option) pairs.

        Parameters
        ----------
        row, option : ndarray of int, shape (k,)
            Positions of customers and options; the customer must be eligible.
        q : float
            Between 0 and 1.
        """
        alpha, beta, mean = self._rate(row, option)
        slope = self.slope[row, option]
        level = np.where(slope >= 0, q, 1 - q)  # a falling line turns the quantiles round
        # Few kinds of doubt among many customers, and an inverse is dear.
        kinds = pd.DataFrame({"alpha": alpha, "beta": beta, "level": level})
        of_row = kinds.groupby(list(kinds), sort=False, dropna=False).ngroup().to_numpy()
        first = np.empty(of_row.max(initial=-1) + 1, dtype=np.int64)
        first[of_row[::-1]] = np.arange(len(of_row))[::-1]
        rate = special.betaincinv(alpha[first], beta[first], level[first])[of_row]
        return np.asarray(self.net[row, option] + slope * (rate - mean))

    def break_even(self, row: IntArray, option: IntArray) -> FloatArray:
        """Return the save rate at which the net gain of some pairs is 0.

        0 where an action pays at any rate; NaN where no rate between 0 and 1 makes it pay.
        """
        slope = self.slope[row, option]
        fixed = self.net[row, option] - slope * self._mean(option)
        rate = -fixed / np.where(slope > 0, slope, np.nan)
        found = np.where(rate > 1, np.nan, np.maximum(rate, 0.0))
        return np.asarray(np.where((slope <= 0) & (fixed > 0), 0.0, found))

    def with_rates(self, factor: float, action: str) -> NetGains:
        """Return the gains if the save rate of one action were so many times as high.

        Parameters
        ----------
        factor : float
            > 0; rates are capped at 1.
        action : str
            Name of the action.
        """
        mine = np.array([option.action == action for option in self.options])
        mean = self._mean(np.arange(len(self.options)))
        more = np.where(mine, np.minimum(factor * mean, 1.0) - mean, 0.0)
        return replace(self, net=self.net + self.slope * more, cost=self.cost + self.extra * more)

    def probability_positive(self, row: IntArray, option: IntArray) -> FloatArray:
        """Return P(net gain > 0) of some (customer, option) pairs; see :meth:`quantiles`."""
        alpha, beta, mean = self._rate(row, option)
        slope = self.slope[row, option]
        fixed = self.net[row, option] - slope * mean
        flat = slope == 0
        break_even = np.clip(-fixed / np.where(flat, 1.0, slope), 0.0, 1.0)
        above = special.betaincc(alpha, beta, break_even)
        return np.where(flat, fixed > 0, np.where(slope > 0, above, 1.0 - above))

    def _mean(self, option: IntArray) -> FloatArray:
        """Return the mean save rates of some options."""
        means: FloatArray = np.array([o.save_rate.mean for o in self.options])[option]
        return means

    def _rate(self, row: IntArray, option: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the Beta parameters of the pairs' rates and their means."""
        mean = self._mean(option)
        size = np.array([o.save_rate.sample_size for o in self.options], dtype=float)[option]
        actions = [self.catalogue[o.action] for o in self.options]
        # a saving is a number of the catalogue: the customer's value plays no part in it
        depends = np.array([a.purpose != "reduce_cost" for a in actions])[option]
        cv2 = np.where(depends, self.value_cv[row] ** 2, 0.0)
        s_cv2 = (1 - mean) / (mean * (size + 1))
        # Coefficient of variation of a product of two independent factors.
        both = (1 + s_cv2) * (1 + cv2) - 1
        # a Beta distribution cannot vary more than a coin of its mean
        wider = np.maximum((1 - mean) / (mean * both) - 1, 0.01)
        size = np.where(cv2 > 0, wider, size)
        return mean * size, (1 - mean) * size, mean


def compute_net_gains(
    scores: pd.DataFrame,
    catalogue: ActionCatalogue,
    stakes: Stakes,
    *,
    consent: Consent = "assumed",
    memory: ContactMemory | None = None,
    limit: ContactLimit | None = None,
    eligible: BoolArray | None = None,
) -> NetGains:
    """Work out what each option of the catalogue would bring for each customer.

    Parameters
    ----------
    scores : DataFrame
        Indexed by ``customer_id`` (or with it as a column). Needs ``churn_probability`` and the
        columns that the conditions of the catalogue read (:data:`OPTIONAL_COLUMNS` may be
        absent). Who has ``contactable`` false gets no option at all, who has
        ``contactable_<channel>`` false none by that channel. With ``value_tier``, nothing is
        spent in tier D but by an action whose condition reads ``upgrade_probability``.
    catalogue : ActionCatalogue
        The actions.
    stakes : Stakes
        What the actions act on.
    consent : {"assumed", "required"}
        What a null, or an absent column, counts as; of a channel the general consent decides then.
    memory : ContactMemory, optional
        Earlier contacts: who got an action within its ``cool_down`` is not eligible for it.
    limit : ContactLimit, optional
        Who had so many contacts of any kind gets none; needs a memory to be checked.
    eligible : ndarray of bool, shape (n, m), optional
        Who may get which option, where that is known; else conditions, consents and earlier
        contacts tell.

    Raises
    ------
    MissingColumnsError, DataError
        If a column or a horizon is missing, or a probability is not between 0 and 1.
    ExpressionError
        If a condition does not suit the columns.
    """
    table, ids = _keyed(scores)
    if consent not in get_args(Consent):
        raise ParameterError("consent", f"one of {get_args(Consent)}", consent)
    if "churn_probability" not in table.columns:
        raise MissingColumnsError(["churn_probability"], map(str, table.columns), table="scores")
    churn = _numbers(table["churn_probability"], ids, "churn_probability", 1.0)
    at_stake = stakes.aligned(ids, catalogue)
    table, unknown = _with_absent(table, catalogue)
    options = catalogue.options
    # Options are filled and read one after the other, so each lies in one stretch of memory.
    net, cost, slope, extra = (np.empty((len(options), len(ids))).T for _ in range(4))
    may_contact = _contactable(table, "contactable", consent == "assumed")
    if eligible is None:
        eligible = _find_eligible(table, catalogue, may_contact, memory, limit)
    j = 0
    for action in catalogue.actions:
        fixed_gain, gain = _gain(action, at_stake)
        redeemed, moved = _redemptions(action, at_stake)
        for option in action.options:
            rate = option.save_rate.mean
            spent = option.contact_cost + redeemed
            # Linear in the save rate: intervals and break-even rates need two numbers only.
            slope[:, j], extra[:, j] = gain - moved, moved
            net[:, j] = np.where(eligible[:, j], fixed_gain - spent + slope[:, j] * rate, -np.inf)
            cost[:, j] = spent + moved * rate
            j += 1
    spread = np.asarray(at_stake.value_cv)
    return NetGains(
        ids, options, catalogue, net, cost, slope, extra, churn, spread, may_contact, unknown
    )


def _find_eligible(
    table: pd.DataFrame,
    catalogue: ActionCatalogue,
    may_contact: BoolArray,
    memory: ContactMemory | None,
    limit: ContactLimit | None,
) -> BoolArray:
    """Say who may get which option, an option in each column."""
    ids = pd.Index(table.index, name="customer_id")
    allowed = np.empty((len(catalogue.options), len(ids)), dtype=bool).T
    # Consent first: what follows can only take options away.
    free = may_contact
    if memory is not None and limit is not None:
        free = free & memory.below(limit, ids)
    spends = _postures(table)
    seen: dict[str, tuple[BoolArray, BoolArray]] = {}
    j = 0
    for action in catalogue.actions:
        eligible = action.condition.holds(table, seen) & free
        if "upgrade_probability" not in action.condition.columns:
            eligible &= spends
        if memory is not None:
            eligible &= memory.rested(action, ids)
        for option in action.options:
            allowed[:, j] = eligible & _contactable(table, f"contactable_{option.channel}", True)
            j += 1
    return allowed


def _keyed(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index[Any]]:
    table = scores.set_index("customer_id") if "customer_id" in scores.columns else scores
    ids = pd.Index(table.index, name="customer_id")
    if ids.has_duplicates:
        twice = ids[ids.duplicated()]
        raise DataError(
            "customer_id must be unique", table="scores", n_rows=len(twice), examples=twice[:5]
        )
    return table, ids


def _with_absent(
    table: pd.DataFrame, catalogue: ActionCatalogue
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Add absent optional columns as nulls; name those of which nothing is known."""
    lacking = [n for n in catalogue.columns if n in OPTIONAL_COLUMNS and n not in table.columns]
    table = table.assign(**dict.fromkeys(lacking)) if lacking else table
    unknown = tuple(
        name
        for name in catalogue.columns
        if name in lacking or (name in table.columns and len(table) and table[name].isna().all())
    )
    return table, unknown


def _gain(action: Action, at: Stakes) -> tuple[FloatArray, FloatArray]:
    """Return the part of the gain that does not depend on the save rate, and its slope by it."""
    alive = np.asarray(at.probability_alive)
    none = np.zeros(len(alive))
    if action.purpose == "reduce_cost":
        return none, action.saving * np.asarray(at.buys[action.horizon])
    active = np.asarray(at.margin_if_active[action.horizon])
    if action.purpose == "enhance":
        return none, alive * active
    if action.purpose == "win_back":
        return none, (1.0 - alive) * active
    staying = np.asarray(at.margin_if_staying[action.horizon])
    # rounding must not make a stake of nothing negative
    kept = np.where(active >= 0, np.maximum(staying - active, 0.0), 0.0)
    return action.win_back_rate * (1.0 - alive) * active, alive * kept


def _redemptions(action: Action, at: Stakes) -> tuple[FloatArray, FloatArray]:
    """Return what incentives cost as things stand, and its slope by the save rate."""
    alive = np.asarray(at.probability_alive)
    none = np.zeros(len(alive))
    if action.incentive_cost == 0:
        return none, none
    window = action.valid_for or str(Duration.parse(at.outcome_horizon))
    buys, active, staying = (
        np.asarray(values[window]) for values in (at.buys, at.buys_if_active, at.buys_if_staying)
    )
    # Those who would have bought anyway redeem as well: that is the larger part as a rule.
    each = action.incentive_cost * action.redemption
    if action.purpose == "win_back":
        return each * buys, each * (1.0 - alive) * active
    if action.purpose in KEEPING:
        revived = action.win_back_rate * (1.0 - alive) * active
        return each * (buys + revived), each * alive * np.maximum(staying - active, 0.0)
    return each * buys, none


def _postures(table: pd.DataFrame) -> BoolArray:
    """Who may be spent on without an upgrade in sight: everybody outside tier D."""
    if "value_tier" not in table.columns:
        return np.ones(len(table), dtype=bool)
    return np.asarray((table["value_tier"] != "D").to_numpy(dtype=bool))


def _numbers(
    values: npt.ArrayLike | pd.Series, ids: pd.Index[Any], name: str, top: float = np.inf
) -> FloatArray:
    """Bring values into the order of the ids and refuse what is not a number >= 0."""
    if isinstance(values, pd.Series):
        values = values.reindex(ids)
    numbers = np.asarray(values, dtype=float)
    if numbers.shape != (len(ids),):
        raise CrmmlError(
            f"{name} must have one value for each of the {len(ids):,} customers; "
            f"got shape {numbers.shape}"
        )
    low = 0.0 if top == 1.0 or name == "value_cv" else -np.inf
    bad = ~(np.isfinite(numbers) & (numbers >= low) & (numbers <= top))
    if bad.any():
        raise DataError(
            "values must be finite" + (f" and between {low:g} and {top:g}" if low == 0 else ""),
            table="scores",
            column=name,
            n_rows=int(bad.sum()),
            examples=ids[bad][:5],
        )
    return numbers


def _for_each(
    given: Values,
    needed: tuple[str, ...],
    ids: pd.Index[Any],
    name: str,
    top: float = np.inf,
) -> dict[str, FloatArray]:
    values = {
        str(Duration.parse(h)): _numbers(v, ids, f"{name}[{h}]", top) for h, v in given.items()
    }
    missing = [h for h in needed if h not in values]
    if missing:
        raise MissingColumnsError(missing, values, table=name)
    return values


def _contactable(table: pd.DataFrame, name: str, unknown: bool) -> BoolArray:
    if name not in table.columns:
        return np.full(len(table), unknown)
    column = table[name]
    return np.asarray(column.where(column.notna(), unknown).astype(bool))
