"""Net gain: the formulas, the interval, and what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crmml.actions import (
    ActionCatalogue,
    CatalogueError,
    ContactLimit,
    ContactMemory,
    ExpressionError,
    Stakes,
    compute_net_gains,
)
from crmml.exceptions import CrmmlError, DataError, MissingColumnsError, ParameterError

# no purchase in the quarter; P(active); margin over the year if active, and if active and staying;
# P(a purchase in the quarter), as things stand and if active
RISK, ALIVE, ACTIVE, STAYING = 0.6, 0.7, 100.0, 130.0
BUYS, BUYS_ACTIVE = 0.4, 0.55
KEEPS = ["acquire", "retain", "recover"]


def catalogue(**changes):
    action = {
        "name": "act",
        "purpose": "retain",
        "channels": ["email"],
        "contact_cost": 1.0,
        "incentive_cost": 5.0,
        "redemption": 0.5,
        "save_rate": {"mean": 0.1, "sample_size": 40},
        "horizon": "52W",
    }
    return ActionCatalogue.from_dict({"actions": [action | changes]})


def scores(n=1, **columns):
    index = pd.Index([f"c{i}" for i in range(n)], name="customer_id")
    return pd.DataFrame({"churn_probability": RISK} | columns, index=index)


def stakes(
    active=ACTIVE, staying=None, alive=ALIVE, buys=BUYS, act=BUYS_ACTIVE, stay=None, cv=None
):
    """Return what is at stake, each figure a number or one per customer."""
    active = np.atleast_1d(np.asarray(active, dtype=float))
    n = len(active)

    def each(value):
        return np.broadcast_to(np.asarray(value, dtype=float), n)

    staying = STAYING / ACTIVE * active if staying is None else each(staying)
    both = {
        "buys": each(BUYS),
        "buys_if_active": each(BUYS_ACTIVE),
        "buys_if_staying": each(BUYS_ACTIVE if stay is None else stay),
    }
    return Stakes(
        probability_alive=each(alive),
        margin_if_active={"52W": active},
        margin_if_staying={"52W": staying},
        outcome_horizon="13W",
        value_cv=None if cv is None else each(cv),
        **{name: {"13W": value, "52W": value} for name, value in both.items()},
    )


def gains(table=None, active=ACTIVE, at=None, **changes):
    table = scores() if table is None else table
    at = stakes(np.full(len(table), active)) if at is None else at
    return compute_net_gains(table, catalogue(**changes), at)


@pytest.mark.parametrize("purpose", KEEPS)
def test_keeping_brings_what_staying_adds_and_now_and_then_revives(purpose):
    result = gains(purpose=purpose, win_back_rate=0.02)
    # by hand: 0.1 x 0.7 (130 - 100) + 0.02 x 0.3 x 100 = 2.1 + 0.6
    used = 0.5 * (BUYS + 0.02 * 0.3 * BUYS_ACTIVE)
    assert result.net.item() == pytest.approx(2.7 - 1 - 5 * used)
    assert result.cost.item() == pytest.approx(1 + 5 * used)


@pytest.mark.parametrize("purpose", KEEPS)
def test_who_stays_may_redeem_more_where_customers_leave_at_any_time(purpose):
    result = gains(purpose=purpose, at=stakes(stay=0.65))
    used = 0.5 * (BUYS + 0.1 * ALIVE * (0.65 - BUYS_ACTIVE))
    assert result.cost.item() == pytest.approx(1 + 5 * used)


def test_keeping_an_active_customer_brings_nothing_of_what_is_already_lost():
    """The stake of 0.1 was (1 - A) V; without a win-back rate it plays no part."""
    nobody_leaves = stakes(staying=ACTIVE)
    result = gains(at=nobody_leaves, incentive_cost=0.0)
    assert result.net.item() == pytest.approx(-1.0)


def test_winning_back_acts_on_the_lost_alone():
    result = gains(purpose="win_back")
    # by hand: 0.1 x 0.3 x 100 = 3; used = 0.5 (0.4 + 0.1 x 0.3 x 0.55)
    used = 0.5 * (BUYS + 0.1 * 0.3 * BUYS_ACTIVE)
    assert result.net.item() == pytest.approx(3 - 1 - 5 * used)
    assert result.cost.item() == pytest.approx(1 + 5 * used)


def test_enhancing_lifts_the_margin_that_is_expected():
    result = gains(purpose="enhance")
    # by hand: 0.1 x 70 - 1 - 5 x 0.5 x 0.4
    assert result.net.item() == pytest.approx(7 - 1 - 1)
    assert result.cost.item() == pytest.approx(2)


def test_reducing_cost_saves_for_those_who_adopt_and_come():
    setting = {"purpose": "reduce_cost", "saving": 20.0, "incentive_cost": 0.0}
    result = gains(**setting)
    assert result.net.item() == pytest.approx(0.1 * 20 * BUYS - 1)
    assert result.cost.item() == 1.0


def test_a_customer_who_left_saves_nothing_though_the_process_calls_them_alive():
    """One-time buyers of whom 5.4 % come back within the year: -0.045 each, so no action."""
    action = ActionCatalogue.default()["self_service"]
    at = replace(stakes(alive=1.0), buys={"52W": [0.054]}, buys_if_active={"52W": [0.054]})
    at = replace(at, buys_if_staying={"52W": [0.054]})
    alone = ActionCatalogue(actions=(action,))
    result = compute_net_gains(scores(value_tier="E"), alone, at)
    assert result.net.item() == pytest.approx(0.2 * 0.5 * 0.054 - 0.05)
    assert result.net.item() == pytest.approx(-0.0446)


def test_incentive_is_paid_within_the_time_for_which_it_is_valid():
    at = stakes()
    at = replace(at, buys={"13W": [0.4], "4W": [0.1]}, buys_if_active={"13W": [0.5], "4W": [0.2]})
    at = replace(at, buys_if_staying=at.buys_if_active)
    assert gains(at=at, purpose="enhance").cost.item() == pytest.approx(1 + 5 * 0.5 * 0.4)
    short = gains(at=at, purpose="enhance", valid_for="4W")
    assert short.cost.item() == pytest.approx(1 + 5 * 0.5 * 0.1)


def test_nothing_is_spent_in_tier_d_but_for_an_upgrade():
    table = scores(3, value_tier=["C", "D", "E"], upgrade_probability=[0.5, 0.5, 0.5])
    assert gains(table, incentive_cost=0.0).eligible.ravel().tolist() == [True, False, True]
    seen = gains(table, incentive_cost=0.0, eligible="upgrade_probability >= 0.3")
    assert seen.eligible.ravel().tolist() == [True, True, True]
    unknown = gains(table.drop(columns="upgrade_probability"), eligible="upgrade_probability >= 0")
    assert not unknown.eligible.any()


def test_break_even_rate_makes_the_net_gain_zero():
    result, one = gains(), np.array([0])
    rate = result.break_even(one, one).item()
    exact = gains(save_rate={"mean": rate, "sample_size": 40})
    assert exact.net.item() == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(gains(contact_cost=1e6).break_even(one, one).item())
    free = gains(contact_cost=0.0, incentive_cost=0.0, win_back_rate=0.01)
    assert free.break_even(one, one).item() == 0.0


def test_other_rates_give_what_a_catalogue_of_those_rates_gives():
    doubled = gains(save_rate={"mean": 0.2, "sample_size": 40})
    changed = gains().with_rates(2.0, "act")
    np.testing.assert_allclose(changed.net, doubled.net)
    np.testing.assert_allclose(changed.cost, doubled.cost)
    np.testing.assert_array_equal(gains().with_rates(2.0, "other").net, gains().net)


@pytest.mark.parametrize("active", [70.0, 200.0, 2.0], ids=["near zero", "good", "falling"])
def test_interval_and_probability_equal_simulation_of_the_save_rate(active):
    result = gains(purpose="win_back", active=active)
    rate = stats.beta(4, 36).rvs(200_000, random_state=1)
    used = 0.5 * (BUYS + (1 - ALIVE) * BUYS_ACTIVE * rate)
    net = rate * (1 - ALIVE) * active - 1 - 5 * used
    one = np.array([0])
    assert result.net.item() == pytest.approx(net.mean(), abs=0.01)
    for q in (0.1, 0.9):
        assert result.quantiles(one, one, q).item() == pytest.approx(np.quantile(net, q), abs=0.05)
    assert result.probability_positive(one, one).item() == pytest.approx((net > 0).mean(), abs=4e-3)


def test_uncertain_value_widens_the_interval_to_the_variance_of_the_product():
    plain = {"purpose": "win_back", "incentive_cost": 0.0}
    sure, unsure = gains(**plain), gains(at=stakes(cv=0.5), **plain)
    rng = np.random.default_rng(0)
    worth = stats.gamma(4, scale=25).rvs(400_000, random_state=rng)
    net = (1 - ALIVE) * rng.beta(4, 36, 400_000) * worth - 1
    one = np.array([0])
    assert unsure.net == sure.net
    for q in (0.1, 0.9):
        # matched in mean and variance; the shape is an approximation
        assert unsure.quantiles(one, one, q).item() == pytest.approx(np.quantile(net, q), abs=0.5)
    assert unsure.quantiles(one, one, 0.1) < sure.quantiles(one, one, 0.1)


def test_uncertain_value_does_not_touch_a_saving():
    action = {"purpose": "reduce_cost", "saving": 20.0, "incentive_cost": 0.0}
    one = np.array([0])
    found = [gains(at=stakes(cv=cv), **action).quantiles(one, one, 0.1) for cv in (None, 0.8)]
    assert found[0] == found[1]


def test_rows_are_matched_by_customer_and_not_by_position():
    table = scores(3, churn_probability=[0.1, 0.5, 0.9])
    active = pd.Series([1.0, 2.0, 3.0], index=table.index)
    at = replace(stakes(active.to_numpy()), margin_if_active={"52W": active})
    plain = compute_net_gains(table, catalogue(), at)
    turned = replace(at, margin_if_active={"52 W": active[::-1]})
    np.testing.assert_array_equal(plain.net, compute_net_gains(table, catalogue(), turned).net)
    as_column = compute_net_gains(table.reset_index(), catalogue(), at)
    np.testing.assert_array_equal(plain.net, as_column.net)


def test_only_the_eligible_and_contactable_have_options():
    table = scores(4, frequency=[1, 5, 5, np.nan], contactable=[True, False, None, True])
    result = gains(table, eligible="frequency >= 2")
    assert result.eligible.ravel().tolist() == [False, False, True, False]


def test_consent_that_is_false_counts_and_unknown_follows_the_policy():
    table = scores(3, contactable=[True, False, None])
    free = {"incentive_cost": 0.0}
    assert gains(table, **free).eligible.ravel().tolist() == [True, False, True]
    strict = {"stakes": stakes(np.full(3, ACTIVE)), "consent": "required"}
    asked = compute_net_gains(table, catalogue(**free), **strict)
    assert asked.eligible.ravel().tolist() == [True, False, False]
    without = compute_net_gains(table.drop(columns="contactable"), catalogue(**free), **strict)
    assert not without.eligible.any()
    with pytest.raises(ParameterError, match="consent must be one of"):
        compute_net_gains(table, catalogue(), stakes(np.ones(3)), consent="maybe")


def test_consent_of_a_channel_bars_that_channel_alone():
    both = {"channels": ["email", "phone"], "contact_cost": 1.0, "incentive_cost": 0.0}
    table = scores(2, contactable_phone=[False, None])
    assert gains(table, **both).eligible.tolist() == [[True, False], [True, True]]


def remembered(cutoff="2026-01-01", **days):
    rows = [(who, pd.Timestamp(day), "act") for who, all_ in days.items() for day in all_]
    table = pd.DataFrame(rows, columns=["customer_id", "timestamp", "action"])
    return ContactMemory.gather(cutoff, {"treatments": table})


def test_cool_down_leaves_alone_who_was_treated_lately():
    table, at = scores(3), stakes(np.ones(3))
    memory = remembered(c0=["2025-12-20"], c1=["2025-11-01"], c2=["2026-01-01"])
    result = compute_net_gains(table, catalogue(cool_down="28D"), at, memory=memory)
    # who was contacted at the cutoff or later is not known to have been
    assert result.eligible.ravel().tolist() == [False, True, True]


def test_limit_counts_contacts_of_every_kind():
    table, at = scores(3), stakes(np.ones(3))
    memory = remembered(c0=["2025-12-20", "2025-12-30"], c1=["2025-12-20", "2025-11-01"])
    limit = ContactLimit(2, "30D")
    result = compute_net_gains(table, catalogue(), at, memory=memory, limit=limit)
    assert result.eligible.ravel().tolist() == [False, True, True]


def test_column_of_an_absent_table_is_null_but_a_misspelt_one_is_an_error():
    result = gains(eligible="experience_zone == 'negative'")
    assert not result.eligible.any()
    assert result.unknown_columns == ("experience_zone",)
    null = pd.Series([None], dtype="str", index=scores().index)
    there = gains(scores(experience_zone=null), eligible="experience_zone == 'negative'")
    assert there.unknown_columns == ("experience_zone",)
    with pytest.raises(ExpressionError, match="action 'act': there is no column 'experience'"):
        gains(eligible="experience == 'negative'")


def test_refusals():
    for lacking in ("margin_if_active", "margin_if_staying"):
        with pytest.raises(MissingColumnsError, match=rf"missing column.*'52W'.*'{lacking}'"):
            gains(at=replace(stakes(), **{lacking: {"26W": [1.0]}}))
    with pytest.raises(MissingColumnsError, match=r"missing column.*'13W'.*'buys'"):
        gains(at=replace(stakes(), buys={"52W": [0.5]}))
    with pytest.raises(MissingColumnsError, match="'churn_probability'"):
        gains(scores().drop(columns="churn_probability"))
    with pytest.raises(DataError, match=r"between 0 and 1.*'churn_probability'.*1 row.*'c1'"):
        gains(scores(2, churn_probability=[0.5, 1.5]))
    with pytest.raises(DataError, match=r"between 0 and 1.*'probability_alive'"):
        gains(at=stakes(alive=1.2))
    with pytest.raises(DataError, match="customer_id must be unique"):
        gains(scores(2).set_axis(["a", "a"]))
    with pytest.raises(CrmmlError, match="one value for each of the 1 customers"):
        gains(at=stakes([1.0, 2.0]))
    with pytest.raises(CatalogueError, match="win_back_rate is only for the purposes"):
        gains(purpose="win_back", win_back_rate=0.1)
