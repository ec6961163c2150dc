r"""Net gain of each action for each customer: what it brings less what it costs.

Section 5 of the contract: net = effect x value at stake - contact cost - incentive cost x
P(incentive used). Without an experiment (basis ``assumed``) the effect is an assumed rate *s*, a
Beta distribution, on what the action can change:

=============================== ===================== ====================
purpose                         gain                  P(incentive used)
=============================== ===================== ====================
acquire, retain, win_back,      s max(V - M, 0)       rho (1 - p + p s)
recover
enhance                         s M                   rho (1 - p)
reduce_cost                     s x saving x A        0
=============================== ===================== ====================

Over the action's own horizon, *V* is the expected margin of a customer who is kept (active at the
cutoff) and *M* the expected margin of the customer as things stand. *A* is the probability of
being active. *p* is the probability of no purchase in the outcome window of
``churn_probability``, *k* the incentive and *rho* the share of buyers who use it.

**Keeping.** With *L* the probability that the customer is lost, the action saves the share *s* of
the lost and each brings E[margin if kept] - E[margin if lost], so the gain is
s L (E[kept] - E[lost]). As M = (1 - L) E[kept] + L E[lost], this is s (E[kept] - M) = s (V - M):
no probability is needed, and none of another horizon can slip in. (p V would overstate: who buys
nothing for a quarter is not lost for a year.) Where the purchase process holds everybody without
a repeat purchase for active (BG/NBD), V = M for them and keeping them brings nothing; such
customers call for a process that lets them leave (MBG/NBD, Pareto/NBD). ``acquire`` (the second
purchase) keeps a would-be one-time buyer, so it has the same form.

**Enhancing** lifts by the share *s* the margin that is expected anyhow, s M. **Reducing cost**
saves only on those who are still there, s A x saving.

**Incentive.** It is redeemed in the outcome window: by the share *rho* of those who buy in it,
also of those who would have bought anyway (1 - p) and of those won (p s).

Net gain is linear in *s*, so its mean, its quantiles and the probability of being positive follow
from the Beta distribution exactly. If the standard deviation of *V* is known, *s* is given the
Beta distribution with the same mean whose relative variance is that of the product,
(1 + cv_s^2)(1 + cv_V^2) - 1: an uncertain value is worth fewer observed customers. (*M* is *V*
times a probability, so its relative uncertainty is the same.) The mean of the net gain is then
exact, the variance exact without an incentive, the quantiles approximate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from crmml._typing import BoolArray, Duration, FloatArray, IntArray
from crmml.actions.catalogue import Action, ActionCatalogue, Option
from crmml.exceptions import CrmmlError, DataError, MissingColumnsError
from crmml.stats.discounting import in_units

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
)
"""Score columns whose source table may be absent: then null, and conditions on them do not hold."""


@dataclass(frozen=True)
class NetGains:
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
    value_cv : dict of str to ndarray
        By horizon: coefficient of variation of the margin if kept, where known.
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
    churn_probability: FloatArray
    value_cv: dict[str, FloatArray]
    contactable: BoolArray
    unknown_columns: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.customer_id)

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
        rate = special.betaincinv(alpha, beta, level)
        return np.asarray(self.net[row, option] + slope * (rate - mean))

    def probability_positive(self, row: IntArray, option: IntArray) -> FloatArray:
        """Return P(net gain > 0) of some (customer, option) pairs; see :meth:`quantiles`."""
        alpha, beta, mean = self._rate(row, option)
        slope = self.slope[row, option]
        fixed = self.net[row, option] - slope * mean
        flat = slope == 0
        break_even = np.clip(-fixed / np.where(flat, 1.0, slope), 0.0, 1.0)
        above = special.betaincc(alpha, beta, break_even)
        return np.where(flat, fixed > 0, np.where(slope > 0, above, 1.0 - above))

    def _rate(self, row: IntArray, option: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the Beta parameters of the pairs' rates and their means."""
        mean = np.array([o.save_rate.mean for o in self.options])[option]
        size = np.array([o.save_rate.sample_size for o in self.options])[option]
        actions = [self.catalogue[o.action] for o in self.options]
        depends = np.array([a.purpose != "reduce_cost" for a in actions])[option]
        over = np.array([a.horizon for a in actions])[option]
        for horizon, cv in self.value_cv.items():
            here = depends & (over == horizon)
            s_cv2 = (1 - mean[here]) / (mean[here] * (size[here] + 1))
            both = (1 + s_cv2) * (1 + cv[row[here]] ** 2) - 1
            # a Beta distribution cannot vary more than a coin of its mean
            size[here] = np.maximum((1 - mean[here]) / (mean[here] * both) - 1, 0.01)
        return mean * size, (1 - mean) * size, mean


def compute_net_gains(
    scores: pd.DataFrame,
    catalogue: ActionCatalogue,
    *,
    margin_if_kept: Mapping[str, npt.ArrayLike],
    expected_margin: Mapping[str, npt.ArrayLike],
    value_sd: Mapping[str, npt.ArrayLike] | None = None,
    cutoff: str | pd.Timestamp | None = None,
    last_treated: pd.DataFrame | None = None,
) -> NetGains:
    """Work out what each option of the catalogue would bring for each customer.

    Parameters
    ----------
    scores : DataFrame
        Indexed by ``customer_id`` (or with it as a column). Needs ``churn_probability``, the
        columns that the conditions of the catalogue read (:data:`OPTIONAL_COLUMNS` may be absent)
        and, if the catalogue has an action that reduces cost, ``probability_alive``. Who has
        ``contactable`` false gets no option at all (null counts as true).
    catalogue : ActionCatalogue
        The actions.
    margin_if_kept, expected_margin : mapping of horizon to array or Series
        For each of ``catalogue.horizons``, the expected margin over the horizon: of the customer
        if active at the cutoff, and of the customer as things stand. A Series is matched on its
        index, an array taken in the order of ``scores``. Currency.
    value_sd : mapping of horizon to array or Series, optional
        Standard deviation of (what is known about) the margin if kept.
    cutoff : str or Timestamp, optional
        Needed with ``last_treated``.
    last_treated : DataFrame, optional
        Indexed by customer id, a column of timestamps per action: who got it within the
        action's ``cool_down`` before the cutoff is not eligible for it.

    Raises
    ------
    MissingColumnsError, DataError
        If a column or a horizon is missing, or a probability is not between 0 and 1.
    ExpressionError
        If a condition does not suit the columns.
    """
    table = scores.set_index("customer_id") if "customer_id" in scores.columns else scores
    ids = pd.Index(table.index, name="customer_id")
    if ids.has_duplicates:
        twice = ids[ids.duplicated()]
        raise DataError(
            "customer_id must be unique", table="scores", n_rows=len(twice), examples=twice[:5]
        )
    needed = ["churn_probability"]
    if any(action.purpose == "reduce_cost" for action in catalogue.actions):
        needed.append("probability_alive")
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise MissingColumnsError(absent, map(str, table.columns), table="scores")
    churn, *alive = (_numbers(table[name], ids, name, 1.0) for name in needed)
    kept = _for_each_horizon(margin_if_kept, catalogue, ids, "margin_if_kept")
    expected = _for_each_horizon(expected_margin, catalogue, ids, "expected_margin")
    spread = _by_horizon(value_sd or {}, ids, "value_sd")
    lacking = [n for n in catalogue.columns if n in OPTIONAL_COLUMNS and n not in table.columns]
    table = table.assign(**dict.fromkeys(lacking)) if lacking else table
    unknown = tuple(
        name
        for name in catalogue.columns
        if name in lacking or (name in table.columns and len(table) and table[name].isna().all())
    )

    options = catalogue.options
    net = np.full((len(ids), len(options)), -np.inf)
    cost = np.zeros_like(net)
    slope = np.zeros_like(net)
    may_contact = _contactable(table)
    j = 0
    for action in catalogue.actions:
        eligible = action.condition.holds(table) & may_contact
        if last_treated is not None and action.cool_down and action.name in last_treated.columns:
            eligible &= _rested(action, ids, last_treated, cutoff)
        match action.purpose:
            case "reduce_cost":
                gain = action.saving * alive[0]
                anyway = won = np.zeros(len(ids))
            case "enhance":
                gain = expected[action.horizon]
                anyway, won = action.redemption * (1.0 - churn), np.zeros(len(ids))
            case _:
                gain = np.maximum(kept[action.horizon] - expected[action.horizon], 0.0)
                anyway, won = action.redemption * (1.0 - churn), action.redemption * churn
        rise = gain - action.incentive_cost * won
        for option in action.options:
            rate = option.save_rate.mean
            fixed = -option.contact_cost - action.incentive_cost * anyway
            net[:, j] = np.where(eligible, fixed + rise * rate, -np.inf)
            cost[:, j] = option.contact_cost + action.incentive_cost * (anyway + won * rate)
            slope[:, j] = rise
            j += 1
    cv = {
        h: np.divide(sd, np.abs(kept[h]), out=np.zeros(len(ids)), where=kept[h] != 0)
        for h, sd in spread.items()
        if h in kept
    }
    return NetGains(ids, options, catalogue, net, cost, slope, churn, cv, may_contact, unknown)


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
    low = 0.0 if top == 1.0 or name.startswith("value_sd") else -np.inf
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


def _by_horizon(
    given: Mapping[str, npt.ArrayLike], ids: pd.Index[Any], name: str
) -> dict[str, FloatArray]:
    return {str(Duration.parse(h)): _numbers(v, ids, f"{name}[{h}]") for h, v in given.items()}


def _for_each_horizon(
    given: Mapping[str, npt.ArrayLike], catalogue: ActionCatalogue, ids: pd.Index[Any], name: str
) -> dict[str, FloatArray]:
    values = _by_horizon(given, ids, name)
    missing = [h for h in catalogue.horizons if h not in values]
    if missing:
        raise MissingColumnsError(missing, values, table=name)
    return values


def _contactable(table: pd.DataFrame) -> BoolArray:
    if "contactable" not in table.columns:
        return np.ones(len(table), dtype=bool)
    column = table["contactable"]
    return np.asarray(column.where(column.notna(), True).astype(bool))


def _rested(
    action: Action,
    ids: pd.Index[Any],
    last_treated: pd.DataFrame,
    cutoff: str | pd.Timestamp | None,
) -> BoolArray:
    if cutoff is None:
        raise CrmmlError("last_treated needs a cutoff to count the cool-down from")
    since = pd.Timestamp(cutoff) - timedelta(action.cool_down or "0D")
    last = pd.to_datetime(last_treated[action.name].reindex(ids))
    return np.asarray(last.isna() | (last <= since))


def timedelta(duration: str) -> pd.Timedelta:
    """Return a duration of the catalogue as a pandas time span.

    Examples
    --------
    >>> timedelta("2W")
    Timedelta('14 days 00:00:00')
    """
    return pd.Timedelta(days=in_units(duration, "day"))
