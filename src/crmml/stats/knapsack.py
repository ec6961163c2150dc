r"""Multiple-choice knapsack: at most one option per customer, under a budget and capacities.

.. math:: \max \sum_i \sum_j g_{ij} x_{ij}, \quad \sum_j x_{ij} \le 1, \quad
          \sum_{ij} c_{ij} x_{ij} \le B, \quad \sum_i \sum_{j \in G_r} x_{ij} \le L_r

The answer carries a certificate: for any prices :math:`\lambda, \mu \ge 0` the Lagrangian dual

.. math:: D(\lambda, \mu) = \sum_i \max\bigl(0, \max_j\, g_{ij} - \lambda c_{ij}
          - \textstyle\sum_{r: j \in G_r} \mu_r\bigr) + \lambda B + \mu^\top L

is at least the value of every feasible assignment, so the distance to it bounds what is lost.

* Budget alone: the relaxation is solved exactly by taking the increments of each customer's
  upper concave hull in the order of their slopes (Sinha, Zoltners 1979); the slope at which the
  money ends is the shadow price.
* With capacities: the dual is minimised, exactly by linear programming for a sample of
  customers, then by cutting planes in a trust box (Marsten, Hogan, Blankenship 1975) for all.
* Then the assignment at these prices is repaired, filled up, and, when only few customers are
  undecided (their loss at the prices is within the gap), searched to proven optimality.

Rows are put in the order of a key first, so the answer never depends on the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.exceptions import ParameterError

NONE = -1
"""The choice of a customer who gets nothing."""

_BLOCK = 1 << 15  # customers per pass: some ten options of them fit the second-level cache
_SAMPLE_VARIABLES = 12_000
_CORE = 200
_NODES = 100_000
_MOVES = 20_000
_PASSES = 10


@dataclass(frozen=True)
class KnapsackSolution:
    """An assignment with its prices and its certificate.

    Attributes
    ----------
    choice : ndarray of int, shape (n,)
        Column of the chosen option, or -1 for none.
    value : float
        Total gain of the assignment.
    spend : float
        Total cost of the assignment.
    usage : ndarray, shape (n_groups,)
        How many customers use each capacity.
    budget_price : float
        Shadow price: gain of one more unit of budget.
    capacity_prices : ndarray, shape (n_groups,)
        Gain of one more unit of each capacity.
    bound : float
        No feasible assignment is worth more.
    optimal : bool
        Whether the assignment is proven optimal (a gap may remain to the relaxation's bound).
    """

    choice: IntArray
    value: float
    spend: float
    usage: IntArray
    budget_price: float
    capacity_prices: FloatArray
    bound: float
    optimal: bool

    @property
    def gap(self) -> float:
        """Distance to the bound as a share of the bound."""
        return 0.0 if self.bound <= 0 else (self.bound - self.value) / self.bound


@dataclass(frozen=True)
class Frontier:
    """The relaxation's value for every budget at once.

    Attributes
    ----------
    spend, value : ndarray, shape (n_increments + 1,)
        Cumulative cost and gain of the hull increments, best first; concave.
    price : ndarray, shape (n_increments,)
        Slope of each increment, falling.
    """

    spend: FloatArray
    value: FloatArray
    price: FloatArray

    def value_at(self, budget: npt.ArrayLike) -> FloatArray:
        """Return the largest value that the relaxation reaches with each budget."""
        return np.asarray(np.interp(np.asarray(budget, dtype=float), self.spend, self.value))

    def price_at(self, budget: npt.ArrayLike) -> FloatArray:
        """Return the shadow price of each budget; 0 where money no longer helps."""
        k = np.searchsorted(self.spend[1:], np.asarray(budget, dtype=float), side="right")
        return np.asarray(np.append(self.price, 0.0)[k])


@dataclass(frozen=True)
class _Problem:
    """Customers in the order of their keys, one row per option (long vectors, few of them).

    ``limits[0]`` is the budget, the rest are the capacities; ``gain`` is -inf where an option
    is worth nothing.
    """

    gain: FloatArray
    cost: FloatArray
    member: FloatArray
    limits: FloatArray

    @property
    def n(self) -> int:
        return int(self.gain.shape[1])

    @property
    def m(self) -> int:
        return int(self.gain.shape[0])

    def part(self, size: int) -> _Problem:
        """Return the first customers (a random sample if keys are hashes), limits in proportion."""
        share = size / self.n
        return replace(
            self,
            gain=self.gain[:, :size],
            cost=self.cost[:, :size],
            limits=self.limits * share,
        )

    def charge(self, prices: FloatArray) -> FloatArray:
        return np.asarray(prices[1:] @ self.member)

    def best(self, prices: FloatArray) -> tuple[FloatArray, IntArray]:
        """Return each customer's largest gain less price, and its option; the cheaper of equals."""
        charge = self.charge(prices)
        worth = np.zeros(self.n)
        choice = np.full(self.n, NONE, dtype=np.int64)
        for start in range(0, self.n, _BLOCK):
            rows = slice(start, start + _BLOCK)
            top, pick = worth[rows], choice[rows]
            paid = np.zeros(len(top))
            for j in range(self.m):
                price = self.cost[j, rows]
                reduced = self.gain[j, rows] - prices[0] * price - charge[j]
                better = (reduced > top) | ((reduced == top) & (price < paid))
                np.copyto(top, reduced, where=better)
                np.copyto(paid, price, where=better)
                pick[better] = j
        return worth, choice

    def usage(self, choice: IntArray) -> FloatArray:
        rows = np.flatnonzero(choice >= 0)
        taken = choice[rows]
        count = np.bincount(taken, minlength=self.m).astype(float)
        return np.concatenate([[self.cost[taken, rows].sum()], self.member @ count])

    def value(self, choice: IntArray) -> float:
        rows = np.flatnonzero(choice >= 0)
        return float(self.gain[choice[rows], rows].sum())

    def carries(self, choice: IntArray) -> bool:
        return bool((self.usage(choice) <= self.limits).all())

    def dual(self, prices: FloatArray) -> tuple[float, FloatArray]:
        """Return the Lagrangian dual and a subgradient of it."""
        worth, choice = self.best(prices)
        return float(worth.sum() + _times(prices, self.limits)), self.limits - self.usage(choice)


def solve_knapsack(
    gain: FloatArray,
    cost: FloatArray,
    *,
    budget: float = np.inf,
    groups: npt.ArrayLike | None = None,
    limits: npt.ArrayLike | None = None,
    keys: npt.ArrayLike | None = None,
    available: BoolArray | None = None,
) -> KnapsackSolution:
    """Give each customer at most one option so that the total gain is largest.

    Parameters
    ----------
    gain : ndarray, shape (n, m)
        Net gain of each option; options with a gain that is not positive (or not finite) are
        never chosen.
    cost : ndarray, shape (n, m) or (m,)
        Cost of each option, >= 0.
    budget : float, optional
        Largest total cost, >= 0; infinite by default.
    groups : array of bool, shape (r, m), optional
        Which options use capacity ``r``.
    limits : array of float, shape (r,), optional
        How many customers each capacity can carry.
    keys : array, shape (n,), optional
        A key of each customer, ideally a hash: it orders customers and so breaks ties. Without
        keys the order of the rows does.
    available : ndarray of bool, shape (n,), optional
        Customers who may get anything; all by default.

    Raises
    ------
    ParameterError
        If the budget or a limit is negative, or a cost is negative or not finite.

    Examples
    --------
    >>> gain = np.array([[5.0, 9.0], [4.0, 4.5]])
    >>> answer = solve_knapsack(gain, np.array([1.0, 3.0]), budget=4.0)
    >>> answer.choice, answer.value, answer.optimal
    (array([1, 0]), 13.0, True)
    """
    if not budget >= 0:
        raise ParameterError("budget", "a number >= 0", budget)
    n, m = gain.shape
    cost = np.broadcast_to(np.asarray(cost, dtype=float), (n, m))
    if not (np.isfinite(cost).all() and (cost >= 0).all()):
        raise ParameterError("cost", "finite and >= 0 for each option", float(np.nanmin(cost)))
    member = np.zeros((0, m)) if groups is None else np.asarray(groups, dtype=float).reshape(-1, m)
    capacity = np.zeros(0) if limits is None else np.asarray(limits, dtype=float)
    if not (capacity >= 0).all():
        raise ParameterError("capacity", "a number >= 0", capacity.tolist())

    rows = _in_order_of_keys(gain, keys, available)
    problem = _Problem(*_by_option(gain, cost, rows), member, np.concatenate([[budget], capacity]))
    # Four steps, each only where the one before leaves a limit broken: everybody's best choice,
    # the budget alone (exact but for the last increment), prices of all limits, then repair.
    prices = np.zeros(1 + len(capacity))
    _, order = problem.best(prices)
    optimal = problem.carries(order)
    if not optimal:
        prices[0], order = _greedy(problem)
        # The greedy answer knows the budget only. Where it breaks no capacity, those cost nothing.
        if not (problem.usage(order)[1:] <= capacity).all():
            prices = _dual_prices(problem)
            _, order = problem.best(prices)
            order = _settle_capacities(problem, order, prices)
        order = _repair(problem, order, prices)
        order = _fill(problem, order, prices)
        order, optimal = _refine(problem, order, prices)

    # The dual at any prices is a bound from above, so the gap holds however they were found.
    value = problem.value(order)
    usage = problem.usage(order)
    choice = np.full(n, NONE, dtype=np.int64)
    choice[rows] = order
    return KnapsackSolution(
        choice,
        value,
        float(usage[0]),
        usage[1:].astype(np.int64),
        float(prices[0]),
        prices[1:],
        max(problem.dual(prices)[0], value),
        optimal,
    )


def frontier(gain: FloatArray, cost: FloatArray, *, keys: npt.ArrayLike | None = None) -> Frontier:
    """Return the relaxation's value for every budget, without capacities.

    Parameters
    ----------
    gain, cost, keys
        As in :func:`solve_knapsack`.

    Examples
    --------
    >>> front = frontier(np.array([[5.0, 9.0], [4.0, 4.5]]), np.array([1.0, 3.0]))
    >>> front.value_at([0, 1, 4]), front.price_at([0, 1, 4])
    (array([ 0.,  5., 13.]), array([5.  , 4.  , 0.25]))
    """
    cost = np.broadcast_to(np.asarray(cost, dtype=float), gain.shape)
    rows = _in_order_of_keys(gain, keys)
    no_limits = np.array([np.inf])
    problem = _Problem(*_by_option(gain, cost, rows), np.zeros((0, gain.shape[1])), no_limits)
    free, steps = _hull(problem)
    slope, paid, won = (np.concatenate([getattr(s, f) for s in steps]) for f in _FIELDS)
    best_first = np.argsort(-slope, kind="stable")
    start = problem.value(free)
    return Frontier(
        np.concatenate([[0.0], np.cumsum(paid[best_first])]),
        np.concatenate([[start], start + np.cumsum(won[best_first])]),
        slope[best_first],
    )


def best_at_prices(
    gain: FloatArray,
    cost: FloatArray,
    budget_price: float,
    option_charges: npt.ArrayLike = 0.0,
) -> IntArray:
    """Return what each customer takes alone at given prices: the best of gain less price.

    Parameters
    ----------
    gain : ndarray, shape (n, m)
    cost : ndarray, shape (n, m) or (m,)
    budget_price : float
        Shadow price of the budget.
    option_charges : array, shape (m,)
        Sum of the prices of the capacities that each option uses.

    Returns
    -------
    ndarray of int, shape (n,)
        The option, or -1 where none is worth its price. Ties go to the cheaper option.

    Examples
    --------
    >>> gain = np.array([[5.0, 9.0], [4.0, 4.5]])
    >>> best_at_prices(gain, np.array([1.0, 3.0]), budget_price=1.0)
    array([1, 0])
    """
    cost = np.broadcast_to(np.asarray(cost, dtype=float), gain.shape)
    rows = np.arange(len(gain))
    charges = np.broadcast_to(np.asarray(option_charges, dtype=float), gain.shape[1])
    # every option is its own capacity, whose price is the option's charge
    problem = _Problem(*_by_option(gain, cost, rows), np.eye(len(charges)), np.array([np.inf]))
    return problem.best(np.concatenate([[budget_price], charges]))[1]


def ties_at_prices(
    gain: FloatArray,
    cost: FloatArray,
    budget_price: float,
    option_charges: npt.ArrayLike = 0.0,
    *,
    tolerance: float = 1e-6,
) -> tuple[IntArray, BoolArray]:
    """Return the customers to whom several choices are worth the same at given prices.

    Parameters
    ----------
    gain, cost, budget_price, option_charges
        As in :func:`best_at_prices`.
    tolerance : float
        Choices tie whose gains less price differ by at most this share of the largest gain: the
        prices are only known to some digits.

    Returns
    -------
    rows : ndarray of int, shape (k,)
        Customers with more than one best choice.
    tied : ndarray of bool, shape (k, m + 1)
        Their best choices; the last column is none.

    Examples
    --------
    >>> gain = np.array([[5.0, 9.0], [4.0, 4.5]])
    >>> ties_at_prices(gain, np.array([1.0, 3.0]), budget_price=2.0)
    (array([0]), array([[ True,  True, False]]))
    """
    n, m = gain.shape
    cost = np.broadcast_to(np.asarray(cost, dtype=float), gain.shape)
    charges = np.broadcast_to(np.asarray(option_charges, dtype=float), m)
    found: list[IntArray] = []
    parts: list[BoolArray] = []
    for start in range(0, n, _BLOCK):
        some = gain[start : start + _BLOCK]
        fine = (some > 0) & (some < np.inf)
        worth = np.zeros((len(some), m + 1))
        worth[:, :-1] = np.where(
            fine, some - budget_price * cost[start : start + _BLOCK] - charges, -np.inf
        )
        # Not a share of the best gain less price: that may be 0, and then nothing would tie.
        edge = tolerance * np.where(fine, some, 0.0).max(axis=1, initial=0.0)
        tied = worth >= (worth.max(axis=1) - edge)[:, None]
        rows = np.flatnonzero(tied.sum(axis=1) > 1)
        found.append(rows + start)
        parts.append(tied[rows])
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros((0, m + 1), dtype=bool)
    return np.concatenate(found), np.concatenate(parts)


def _times(prices: FloatArray, limits: FloatArray) -> float:
    paid = prices > 0  # 0 x infinity is 0 here: an unlimited resource costs nothing
    return float(prices[paid] @ limits[paid])


def _in_order_of_keys(
    gain: FloatArray, keys: npt.ArrayLike | None, available: BoolArray | None = None
) -> IntArray:
    some = np.zeros(len(gain), dtype=bool)
    for column in gain.T:  # one after the other, as they lie in memory
        some |= column > 0
    rows = np.flatnonzero(some if available is None else some & available)
    if keys is not None:
        rows = rows[np.argsort(np.asarray(keys)[rows], kind="stable")]
    return rows


def _by_option(gain: FloatArray, cost: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    worth = np.empty((gain.shape[1], len(rows)))
    price = np.empty_like(worth)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        some = gain[block].T
        worth[:, start : start + _BLOCK] = np.where((some > 0) & (some < np.inf), some, -np.inf)
        price[:, start : start + _BLOCK] = cost[block].T
    return worth, price


@dataclass(frozen=True)
class _Step:
    """The next increment on the hulls of those customers who have one."""

    rows: IntArray
    option: IntArray
    slope: FloatArray
    cost: FloatArray
    gain: FloatArray


_FIELDS = ("slope", "cost", "gain")


def _hull(problem: _Problem) -> tuple[IntArray, list[_Step]]:
    """Walk up the concave hull of each customer: best free option, then increment by increment."""
    free = np.full(problem.n, NONE, dtype=np.int64)
    parts: list[list[_Step]] = [[] for _ in range(problem.m)]
    for start in range(0, problem.n, _BLOCK):
        gain = problem.gain[:, start : start + _BLOCK]
        cost = problem.cost[:, start : start + _BLOCK]
        rows = np.arange(gain.shape[1])
        # What costs nothing has no slope. The best of it is where each hull starts.
        here_gain, here_cost = np.zeros(len(rows)), np.zeros(len(rows))
        for j in range(problem.m):
            better = (cost[j] == 0) & (gain[j] > here_gain)
            here_gain[better] = gain[j, better]
            free[start : start + _BLOCK][better] = j
        last = np.full(len(rows), np.inf)
        for part in parts:
            slope, option = np.zeros(len(rows)), np.full(len(rows), NONE, dtype=np.int64)
            paid, won = np.zeros(len(rows)), np.zeros(len(rows))
            for j in range(problem.m):
                dc, dg = cost[j] - here_cost, gain[j] - here_gain
                # Of equal slopes the longer step is taken: what lies between is no corner.
                up = np.where((dc > 0) & (dg > 0), dg, 0.0) / np.where(dc > 0, dc, 1.0)
                better = (up > slope) | ((up == slope) & (up > 0) & (dc > paid))
                for kept, new in ((slope, up), (paid, dc), (won, dg)):
                    np.copyto(kept, new, where=better)
                option[better] = j
            go = option >= 0
            if not go.any():
                break
            rows, gain, cost = rows[go], gain[:, go], cost[:, go]
            # rounding must not let a later increment overtake the one it stands on
            last = np.minimum(slope[go], last[go])
            part.append(_Step(rows + start, option[go], last, paid[go], won[go]))
            here_cost, here_gain = here_cost[go] + paid[go], here_gain[go] + won[go]
    empty = _Step(*(np.zeros(0, dtype=t) for t in (np.int64, np.int64, float, float, float)))
    steps = [
        _Step(
            *(np.concatenate([getattr(s, f) for s in part]) for f in ("rows", "option", *_FIELDS))
        )
        for part in parts
        if part
    ]
    return free, steps or [empty]


def _greedy(problem: _Problem) -> tuple[float, IntArray]:
    """Buy hull increments by falling slope until the budget ends; return its price, the choice."""
    choice, steps = _hull(problem)
    slope, paid = (np.concatenate([getattr(s, f) for s in steps]) for f in ("slope", "cost"))
    best_first = np.argsort(-slope, kind="stable")
    # The first increment that does not fit ends it: its slope is the price. `_fill` tries others.
    bought = int(np.searchsorted(np.cumsum(paid[best_first]), problem.limits[0], side="right"))
    taken = np.zeros(len(slope), dtype=bool)
    taken[best_first[:bought]] = True
    start = 0
    for step in steps:
        mine = taken[start : start + len(step.rows)]
        choice[step.rows[mine]] = step.option[mine]
        start += len(step.rows)
    return float(slope[best_first[bought]]) if bought < len(slope) else 0.0, choice


def _dual_prices(problem: _Problem) -> FloatArray:
    # Prices of a random part are close to those of all: customers stand in order of hashed keys.
    size = min(problem.n, max(_SAMPLE_VARIABLES // problem.m, 1))
    prices = _program_prices(problem.part(size))
    if size < problem.n:
        middle = 1 << 16
        # A middle size takes most of the steps, at a small share of the cost of a full one.
        if 2 * middle < problem.n:
            prices = _cutting_planes(problem.part(middle), prices, radius=0.1)
        prices = _cutting_planes(problem, prices, radius=0.1)
    return prices


def _program_prices(problem: _Problem) -> FloatArray:
    """Solve the relaxation by linear programming and read the prices off its dual."""
    option, row = np.nonzero(np.isfinite(problem.gain))
    gain = problem.gain[option, row]
    scale = gain.max(initial=0.0) or 1.0
    customers, line = np.unique(row, return_inverse=True)
    # One line per customer: the shares of all options add up to at most 1.
    each = csr_array((np.ones(len(row)), (line, np.arange(len(row)))))
    finite = np.isfinite(problem.limits)
    use = np.vstack([problem.cost[option, row], problem.member[:, option]])[finite]
    # Gains are scaled to at most 1, since the solver's tolerances are absolute.
    answer = linprog(
        -gain / scale,
        A_ub=vstack([each, csr_array(use)], format="csr"),
        b_ub=np.concatenate([np.ones(len(customers)), problem.limits[finite]]),
        method="highs",
    )
    prices = np.zeros(len(problem.limits))
    marginals = np.asarray(answer.ineqlin.marginals)[len(customers) :]
    prices[finite] = scale * np.maximum(-marginals, 0.0)
    return prices


def _cutting_planes(
    problem: _Problem, centre: FloatArray, *, radius: float, tolerance: float = 1e-7
) -> FloatArray:
    """Minimise the dual from good starting prices, inside a box that follows the best point."""
    finite = np.isfinite(problem.limits)
    limits = problem.limits[finite]
    point = centre[finite]
    full = centre.copy()

    def dual(p: FloatArray) -> tuple[float, FloatArray]:
        full[finite] = p
        value, slope = problem.dual(full)
        return value, slope[finite]

    best, slope = dual(point)
    # A price of 0 gets a box too, or it could never rise.
    unit = np.maximum(point, 0.05 * best / np.maximum(limits, 1.0))
    box = radius * unit
    cuts, offsets = [slope], [best - slope @ point]
    for _ in range(60):
        # variables: prices in units, and the model's value as a share of the best so far
        rows = np.array(cuts) * unit / best
        model: Any = linprog(
            np.append(np.zeros(len(unit)), 1.0),
            A_ub=np.column_stack([rows, -np.ones(len(cuts))]),
            b_ub=-np.array(offsets) / best,
            bounds=[
                *zip(np.maximum(point - box, 0.0) / unit, (point + box) / unit, strict=True),
                (None, None),
            ],
            method="highs",
        )
        trial = np.maximum(np.asarray(model.x[:-1]) * unit, 0.0)
        # The box grows only where it held the step back; at the origin every price is on its edge.
        on_edge = np.isclose(np.abs(trial - point), box).any() and trial.any()
        # The model lies below the dual. Where both meet, nothing is left to gain.
        if 1.0 - model.fun <= tolerance:
            break
        value, slope = dual(trial)
        cuts.append(slope)
        offsets.append(value - slope @ trial)
        if value < best:
            box = box * 2.0 if on_edge else box
            best, point = value, trial
        else:
            box = box * 0.5
    full[finite] = point
    return full


def _repair(problem: _Problem, choice: IntArray, prices: FloatArray) -> IntArray:
    """Take options back, the least loss per unit first, until every limit holds.

    Dear capacities come first and the budget last: who leaves a dear one may then crowd a
    cheaper one, whose turn is still to come, rather than be left with nothing.
    """
    choice = choice.copy()
    order = [*(1 + np.argsort(-prices[1:], kind="stable")), 0]
    held = np.full(len(order), np.inf)
    for k in order:
        held[k] = problem.limits[k]
        so_far = replace(problem, limits=held.copy())
        use = problem.usage(choice)
        # Each pass lists some thousands of moves. Later ones may be stale, hence the loop.
        while use[k] > held[k]:
            rows = np.flatnonzero(choice >= 0)
            if k > 0:
                rows = rows[problem.member[k - 1, choice[rows]] > 0]
            moves = _moves(so_far, choice, prices, rows)
            moves = moves.where(moves.use[k] < 0)
            moves = moves.least(moves.loss / -moves.use[k])
            for row, now, option, change in moves.each():
                if use[k] <= held[k]:
                    break
                # A customer's later moves start from a choice that is gone.
                if choice[row] == now and _fits(change, held - use):
                    choice[row], use = option, use + change
            use = problem.usage(choice)
    return choice


def _settle_capacities(problem: _Problem, choice: IntArray, prices: FloatArray) -> IntArray:
    """Repair and fill the capacities while money can be had at its price.

    A tight budget would block the changes between capacities that cost next to nothing.
    """
    at_price = replace(
        problem,
        gain=problem.gain - prices[0] * problem.cost,
        limits=np.append(np.inf, problem.limits[1:]),
    )
    capacities_only = np.append(0.0, prices[1:])
    choice = _repair(at_price, choice, capacities_only)
    return _fill(at_price, choice, capacities_only)


def _fill(problem: _Problem, choice: IntArray, prices: FloatArray) -> IntArray:
    """Spend what is left on the best changes that still fit."""
    choice = choice.copy()
    # Passes that win next to nothing are not worth the listing of all moves.
    enough = 1e-8 * abs(problem.value(choice))
    for _ in range(_PASSES):
        use = problem.usage(choice)
        moves = _moves(problem, choice, prices, np.arange(problem.n), better_only=True)
        before = problem.value(choice)
        for row, now, option, change in moves.least(moves.loss).each():
            if choice[row] == now and _fits(change, problem.limits - use):
                choice[row], use = option, use + change
        if problem.value(choice) - before <= enough:
            break
    # Sums of many changes round otherwise than the sum of what is chosen.
    return choice if problem.carries(choice) else _repair(problem, choice, prices)


def _fits(change: FloatArray, slack: FloatArray) -> Any:
    # A change that takes nothing of a resource fits even where that resource is overdrawn.
    return ((change <= slack) | (change <= 0)).all(axis=0)


@dataclass(frozen=True)
class _Moves:
    """Changes of one customer's option that the limits allow, taken one at a time.

    ``use`` (resources x moves) is what the change takes of each resource, ``won`` its gain and
    ``loss`` what it loses at the prices.
    """

    row: IntArray
    now: IntArray
    option: IntArray
    use: FloatArray
    won: FloatArray
    loss: FloatArray

    def where(self, which: npt.NDArray[Any]) -> _Moves:
        return _Moves(*(getattr(self, name)[..., which] for name in self.__dataclass_fields__))

    def least(self, score: FloatArray) -> _Moves:
        """Return the moves with the least score in order, at most some thousands of them."""
        some = np.arange(len(score))
        if len(score) > _MOVES:
            some = np.sort(np.argpartition(score, _MOVES)[:_MOVES])
        return self.where(some[np.argsort(score[some], kind="stable")])

    def each(self) -> Iterator[tuple[int, int, int, FloatArray]]:
        return zip(
            self.row.tolist(), self.now.tolist(), self.option.tolist(), self.use.T, strict=True
        )


def _moves(
    problem: _Problem,
    choice: IntArray,
    prices: FloatArray,
    rows: IntArray,
    *,
    better_only: bool = False,
) -> _Moves:
    """List all changes of the rows' options that fit the limits (or relieve those broken)."""
    slack = (problem.limits - problem.usage(choice))[:, None]
    now = choice[rows]
    gain = np.where(now >= 0, problem.gain[now, rows], 0.0)
    least = 0.0 if better_only else -np.inf
    parts = []
    for j in range(NONE, problem.m):
        won = (problem.gain[j, rows] if j >= 0 else 0.0) - gain
        some = np.flatnonzero((won > least) & (now != j))
        to = np.full(len(some), j)
        change = _use(problem, to, rows[some]) - _use(problem, now[some], rows[some])
        fine = _fits(change, slack)
        some, change = some[fine], change[:, fine]
        won = won[some]
        parts.append((rows[some], now[some], to[fine], change, won, prices @ change - won))
    return _Moves(*(np.concatenate(part, axis=-1) for part in zip(*parts, strict=True)))


def _use(problem: _Problem, option: IntArray, rows: IntArray) -> FloatArray:
    use = np.vstack([problem.cost[option, rows], problem.member[:, option]])
    return np.asarray(use * (option >= 0))


def _refine(problem: _Problem, choice: IntArray, prices: FloatArray) -> tuple[IntArray, bool]:
    """Search for something better among the undecided customers, if they are few.

    In a better assignment all losses at the prices together stay within the gap, so every option
    with a larger loss is out, and a customer with one option left is settled.
    """
    bound, value = problem.dual(prices)[0], problem.value(choice)
    # No assignment is worth more than the bound: this is all that could still be won.
    gap = bound - value
    if gap <= 1e-12 * bound:
        return choice, True
    worth, settled = problem.best(prices)
    charge = problem.charge(prices)
    loss = np.empty((problem.m + 1, problem.n))
    loss[NONE] = worth
    for j in range(problem.m):
        loss[j] = worth - (problem.gain[j] - prices[0] * problem.cost[j] - charge[j])
    free = np.flatnonzero((loss <= gap).sum(axis=0) > 1)
    if len(free) > _CORE:
        return choice, False
    core = replace(problem, gain=problem.gain[:, free], cost=problem.cost[:, free])
    loss = loss[:, free]
    loss[:-1][_dominated(core)] = np.inf
    # who loses much by a second choice comes first: the search then turns the others most often
    regret = np.sort(loss, axis=0)[1]
    ways = []
    for i in np.argsort(-regret, kind="stable").tolist():
        mine = np.argsort(loss[:, i], kind="stable")
        ways.append(
            [
                (float(loss[j, i]), i, int(j), *_way(core, i, int(j)))
                for j in np.where(mine == problem.m, NONE, mine)
                if loss[j, i] <= gap
            ]
        )
    # Those settled pay first. The search has what they leave.
    settled[free] = NONE
    left = (problem.limits - problem.usage(settled)).tolist()
    start = problem.value(settled)
    found, proven = _search(ways, left, bound - start, value - start)
    if found is None:
        return choice, proven
    for i, j in found:
        settled[free[i]] = j
    return (settled, proven) if problem.carries(settled) else (choice, False)


_Way: TypeAlias = tuple[float, int, int, float, list[float]]  # loss, row, option, gain, use


def _way(problem: _Problem, row: int, option: int) -> tuple[float, list[float]]:
    if option < 0:
        return 0.0, [0.0] * len(problem.limits)
    use = _use(problem, np.array([option]), np.array([row]))[:, 0]
    return float(problem.gain[option, row]), use.tolist()


def _search(
    ways: list[list[_Way]], left: list[float], bound: float, value: float
) -> tuple[list[tuple[int, int]] | None, bool]:
    """Search depth first for an assignment worth more than ``value``; least loss first.

    Returns
    -------
    tuple
        (row, option) pairs or None, and whether the search was complete.
    """
    best, found, nodes = value, None, 0
    # Below this a better value is rounding, and the search would chase it to the end.
    edge = 1e-10 * max(abs(bound), 1e-300)
    taken: list[tuple[int, int]] = []

    def descend(depth: int, lost: float, won: float, left: list[float]) -> None:
        nonlocal best, found, nodes
        if depth == len(ways):
            if won > best:
                best, found = won, list(taken)
            return
        for loss, row, option, gain, use in ways[depth]:
            nodes += 1
            # Ways are sorted by loss, so the others of this customer are out as well.
            if nodes > _NODES or lost + loss >= bound - best - edge:
                return
            after = [have - u for have, u in zip(left, use, strict=True)]
            if min(after) >= 0:
                taken.append((row, option))
                descend(depth + 1, lost + loss, won + gain, after)
                taken.pop()

    descend(0, 0.0, 0.0, left)
    return found, nodes <= _NODES


def _dominated(problem: _Problem) -> BoolArray:
    """Mark options that another one of the customer beats in gain, cost and capacities used."""
    worse = np.zeros(problem.gain.shape, dtype=bool)
    for j in range(problem.m):
        for k in range(problem.m):
            if j != k and (problem.member[:, k] <= problem.member[:, j]).all():
                # Of two equal options the first stays: both would otherwise rule each other out.
                no_worse = (problem.gain[k] >= problem.gain[j]) & (
                    problem.cost[k] <= problem.cost[j]
                )
                strictly = (problem.gain[k] > problem.gain[j]) | (problem.cost[k] < problem.cost[j])
                worse[j] |= no_worse & (strictly | (k < j))
    return worse
