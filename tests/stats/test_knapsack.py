"""Multiple-choice knapsack: brute force, identities and invariants."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crmml.exceptions import ParameterError
from crmml.stats.knapsack import best_at_prices, frontier, solve_knapsack, ties_at_prices

# quarters are exact in binary, so that sums and comparisons are exact
quarters = st.integers(-8, 40).map(lambda k: k / 4)
costs = st.integers(0, 16).map(lambda k: k / 4)


@st.composite
def problems(draw, most=6):
    n, m = draw(st.integers(1, most)), draw(st.integers(1, 3))
    gain = draw(arrays(float, (n, m), elements=quarters))
    cost = draw(arrays(float, (n, m), elements=costs))
    return gain, cost


def brute_force(gain, cost, budget=np.inf, groups=None, limits=()):
    n, m = gain.shape
    groups = np.zeros((0, m)) if groups is None else groups
    best = 0.0
    for choice in itertools.product(range(-1, m), repeat=n):
        taken = [(i, j) for i, j in enumerate(choice) if j >= 0]
        used = sum((groups[:, j].astype(float) for _, j in taken), np.zeros(len(limits)))
        if sum(cost[i, j] for i, j in taken) <= budget and (used <= np.asarray(limits)).all():
            best = max(best, sum(gain[i, j] for i, j in taken))
    return best


def world(n, m=6, seed=0):
    rng = np.random.default_rng(seed)
    risk, value = rng.beta(1, 2, (n, 1)), rng.lognormal(3.5, 1, (n, 1))
    rate, contact = np.linspace(0.02, 0.3, m), np.geomspace(0.05, 9, m)
    cost = contact + np.linspace(0, 6, m) * (1 - risk + risk * rate)
    return risk * rate * value - cost, cost


@given(problems(), st.integers(0, 60).map(lambda k: k / 4))
def test_equals_brute_force_under_a_budget(problem, budget):
    gain, cost = problem
    answer = solve_knapsack(gain, cost, budget=budget)
    assert answer.value == brute_force(gain, cost, budget)
    assert answer.optimal
    assert answer.spend <= budget
    assert answer.bound >= answer.value


@given(problems(5), st.integers(0, 40).map(lambda k: k / 4), st.data())
def test_equals_brute_force_under_a_budget_and_capacities(problem, budget, data):
    gain, cost = problem
    r = data.draw(st.integers(1, 2))
    groups = data.draw(arrays(bool, (r, gain.shape[1])))
    limits = data.draw(arrays(float, r, elements=st.integers(0, 3).map(float)))
    answer = solve_knapsack(gain, cost, budget=budget, groups=groups, limits=limits)
    assert answer.value == brute_force(gain, cost, budget, groups, limits)
    assert answer.spend <= budget
    assert (answer.usage <= limits).all()


@settings(max_examples=20, deadline=None)
@given(problems(10))
def test_value_and_bound_rise_with_the_budget_and_the_bound_is_concave(problem):
    gain, cost = problem
    answers = [solve_knapsack(gain, cost, budget=b) for b in range(10)]
    value = np.array([a.value for a in answers])
    bound = np.array([a.bound for a in answers])
    price = np.array([a.budget_price for a in answers])
    assert (np.diff(value) >= 0).all()
    assert (np.diff(bound) >= -1e-9).all()
    assert (np.diff(bound, 2) <= 1e-9).all()
    assert (np.diff(price) <= 1e-9).all()


@given(problems(12), st.integers(0, 40).map(lambda k: k / 4))
def test_buys_nothing_negative_and_nothing_dominated(problem, budget):
    gain, cost = problem
    choice = solve_knapsack(gain, cost, budget=budget).choice
    rows = np.flatnonzero(choice >= 0)
    g, c = gain[rows, choice[rows]], cost[rows, choice[rows]]
    assert (g > 0).all()
    better = (gain[rows] >= g[:, None]) & (cost[rows] <= c[:, None])
    strictly = (gain[rows] > g[:, None]) | (cost[rows] < c[:, None])
    assert not (better & strictly).any()


@pytest.mark.parametrize("limits", [None, [20.0, 30.0]])
def test_order_of_the_rows_changes_nothing(limits):
    gain, cost = world(400)
    gain = np.round(gain, 1)  # many ties
    groups = None if limits is None else np.eye(6, dtype=bool)[[3, 5]]
    keys = np.random.default_rng(1).permutation(400)
    shuffle = np.random.default_rng(2).permutation(400)
    setting = {"budget": 200.0, "groups": groups, "limits": limits}
    straight = solve_knapsack(gain, cost, keys=keys, **setting)
    shuffled = solve_knapsack(gain[shuffle], cost[shuffle], keys=keys[shuffle], **setting)
    np.testing.assert_array_equal(straight.choice[shuffle], shuffled.choice)
    assert straight.budget_price == shuffled.budget_price


def test_without_limits_each_customer_gets_the_best():
    gain, cost = world(1000)
    answer = solve_knapsack(gain, cost)
    best = np.where(gain.max(axis=1) > 0, gain.argmax(axis=1), -1)
    np.testing.assert_array_equal(answer.choice, best)
    assert answer.optimal
    assert answer.gap == 0
    assert answer.budget_price == 0


@pytest.mark.parametrize(
    "setting",
    [
        {"budget": 3_000.0},
        {"budget": 3_000.0, "groups": np.eye(6, dtype=bool)[[3, 5]], "limits": [300.0, 50.0]},
        {"groups": np.repeat(np.eye(3), 2, axis=1) > 0, "limits": [200.0, 100.0, 50.0]},
        {"budget": 2_000.0, "groups": np.ones((1, 6), dtype=bool), "limits": [600.0]},
    ],
    ids=["budget", "budget and two channels", "three channels", "one channel for all"],
)
def test_gap_is_certified_below_a_hundredth_of_a_percent(setting):
    gain, cost = world(20_000)
    answer = solve_knapsack(gain, cost, keys=np.arange(20_000)[::-1], **setting)
    assert 0 <= answer.gap < 1e-4
    assert answer.spend <= setting.get("budget", np.inf)
    assert (answer.usage <= setting.get("limits", [])).all()


def test_prices_are_the_worth_of_one_more_unit():
    gain, cost = world(5_000)

    def solve(budget, limit):
        groups = np.eye(6, dtype=bool)[[3]]
        return solve_knapsack(gain, cost, budget=budget, groups=groups, limits=[limit])

    answer = solve(2_000.0, 100.0)
    assert answer.usage.tolist() == [100]
    dearer, wider = solve(2_010.0, 100.0), solve(2_000.0, 102.0)
    assert dearer.bound - answer.bound == pytest.approx(10 * answer.budget_price, rel=0.05)
    assert wider.bound - answer.bound == pytest.approx(2 * answer.capacity_prices[0], rel=0.1)


def test_capacity_prices_alone_reproduce_almost_the_whole_allocation():
    gain, cost = world(5_000)
    groups = np.eye(6, dtype=bool)[[3, 5]]
    answer = solve_knapsack(gain, cost, budget=1_000.0, groups=groups, limits=[200.0, 40.0])
    alone = best_at_prices(gain, cost, answer.budget_price, answer.capacity_prices @ groups)
    assert (alone != answer.choice).sum() <= 5


def test_frontier_equals_the_bounds_of_single_budgets():
    gain, cost = world(2_000)
    budgets = np.array([0.0, 50.0, 500.0, 5_000.0, 1e6])
    front = frontier(gain, cost)
    answers = [solve_knapsack(gain, cost, budget=b) for b in budgets]
    np.testing.assert_allclose(front.value_at(budgets), [a.bound for a in answers], rtol=1e-9)
    np.testing.assert_allclose(front.price_at(budgets), [a.budget_price for a in answers])


def test_free_options_are_taken_without_a_budget():
    answer = solve_knapsack(np.array([[2.0, 5.0, 1.0]]), np.array([0.0, 3.0, 0.0]), budget=0)
    assert answer.choice.tolist() == [0]


def test_repair_ends_when_every_other_way_is_full():
    # every option is at its capacity, so taking back is the only way
    gain = np.random.default_rng(0).uniform(1, 2, (500, 4))
    answer = solve_knapsack(gain, np.ones(4), groups=np.eye(4, dtype=bool), limits=[3.0] * 4)
    assert answer.usage.tolist() == [3, 3, 3, 3]
    assert answer.gap < 1e-4


def test_nobody_and_nothing():
    assert solve_knapsack(np.zeros((0, 2)), np.ones(2), budget=1.0).value == 0
    answer = solve_knapsack(np.full((3, 2), -np.inf), np.ones(2), budget=1.0)
    assert answer.choice.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"budget": -1.0}, "budget must be a number >= 0; got -1.0"),
        ({"budget": np.nan}, "budget must be a number >= 0; got nan"),
        ({"groups": [[True]], "limits": [-2.0]}, "capacity must be a number >= 0"),
        ({"cost": np.array([-1.0])}, "cost must be finite and >= 0"),
    ],
)
def test_refuses_what_is_no_limit(setting, match):
    with pytest.raises(ParameterError, match=match):
        solve_knapsack(np.ones((2, 1)), setting.pop("cost", np.ones(1)), **setting)


def test_ties_at_prices_are_found_to_the_digits_of_the_prices():
    gain = np.array([[2.0, 5.0], [2.0, 5.0 + 1e-7], [2.0, 5.1], [2.0, -1.0], [-1.0, np.nan]])
    cost = np.array([1.0, 4.0])
    rows, tied = ties_at_prices(gain, cost, 1.0)
    assert rows.tolist() == [0, 1]
    assert tied.tolist() == [[True, True, False]] * 2
    rows, tied = ties_at_prices(gain, cost, 1.0, [1.0, 1.0])
    assert rows.tolist() == [0, 1, 3]
    assert tied.tolist() == [[True, True, True]] * 2 + [[True, False, True]]
    rows, tied = ties_at_prices(gain[:0], cost, 1.0)
    assert rows.shape == (0,)
    assert tied.shape == (0, 3)
