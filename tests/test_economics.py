"""Net gain: the formulas, the interval, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crmml.actions import ActionCatalogue, ExpressionError, compute_net_gains
from crmml.exceptions import CrmmlError, DataError, MissingColumnsError

RISK, VALUE = 0.6, 100.0


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


def gains(table=None, value=VALUE, **changes):
    table = scores() if table is None else table
    values = {"52W": np.full(len(table), value)}
    return compute_net_gains(table, catalogue(**changes), value_at_stake=values)


def test_retaining_pays_the_incentive_also_to_those_who_would_have_stayed():
    result = gains()
    used = 0.5 * ((1 - RISK) + RISK * 0.1)
    assert result.cost.item() == pytest.approx(1 + 5 * used)
    assert result.net.item() == pytest.approx(RISK * 0.1 * VALUE - 1 - 5 * used)


def test_enhancing_lifts_the_margin_of_those_who_stay():
    result = gains(purpose="enhance")
    expected = (1 - RISK) * 0.1 * VALUE - 1 - 5 * 0.5 * (1 - RISK)
    assert result.net.item() == pytest.approx(expected)


def test_reducing_cost_saves_for_those_who_adopt():
    result = gains(purpose="reduce_cost", saving=20.0)
    assert result.net.item() == pytest.approx(0.1 * 20 - 1)
    assert result.cost.item() == 1.0


@pytest.mark.parametrize("value", [30.0, 100.0, 1.0], ids=["near zero", "good", "falling"])
def test_interval_and_probability_equal_simulation_of_the_save_rate(value):
    result = gains(value=value)
    rate = stats.beta(4, 36).rvs(200_000, random_state=1)
    used = 0.5 * ((1 - RISK) + RISK * rate)
    net = RISK * rate * value - 1 - 5 * used
    one = np.array([0])
    assert result.net.item() == pytest.approx(net.mean(), abs=0.01)
    for q in (0.1, 0.9):
        assert result.quantiles(one, one, q).item() == pytest.approx(np.quantile(net, q), abs=0.05)
    assert result.probability_positive(one, one).item() == pytest.approx((net > 0).mean(), abs=4e-3)


def test_uncertain_value_widens_the_interval_to_the_variance_of_the_product():
    values, sd = {"52W": [VALUE]}, {"52W": [50.0]}
    plain = catalogue(incentive_cost=0.0)
    sure = compute_net_gains(scores(), plain, value_at_stake=values)
    unsure = compute_net_gains(scores(), plain, value_at_stake=values, value_sd=sd)
    rng = np.random.default_rng(0)
    worth = stats.gamma(4, scale=25).rvs(400_000, random_state=rng)
    net = RISK * rng.beta(4, 36, 400_000) * worth - 1
    one = np.array([0])
    assert unsure.net == sure.net
    for q in (0.1, 0.9):
        # matched in mean and variance; the shape is an approximation
        assert unsure.quantiles(one, one, q).item() == pytest.approx(np.quantile(net, q), abs=0.5)
    assert unsure.quantiles(one, one, 0.1) < sure.quantiles(one, one, 0.1)
    same = compute_net_gains(scores(), plain, value_at_stake=values, value_sd={"52W": [0.0]})
    assert same.quantiles(one, one, 0.1) == pytest.approx(sure.quantiles(one, one, 0.1))


def test_rows_are_matched_by_customer_and_not_by_position():
    table = scores(3, churn_probability=[0.1, 0.5, 0.9])
    values = pd.Series([1.0, 2.0, 3.0], index=table.index)
    plain = compute_net_gains(table, catalogue(), value_at_stake={"364 D": values, "52W": values})
    turned = compute_net_gains(table, catalogue(), value_at_stake={"52W": values[::-1]})
    np.testing.assert_array_equal(plain.net, turned.net)
    as_column = compute_net_gains(table.reset_index(), catalogue(), value_at_stake={"52W": values})
    np.testing.assert_array_equal(plain.net, as_column.net)


def test_only_the_eligible_and_contactable_have_options():
    table = scores(4, frequency=[1, 5, 5, np.nan], contactable=[True, False, None, True])
    result = gains(table, eligible="frequency >= 2")
    assert result.eligible.ravel().tolist() == [False, False, True, False]


def test_cool_down_leaves_alone_who_was_treated_lately():
    table = scores(3)
    treated = pd.DataFrame(
        {"act": pd.to_datetime(["2025-12-20", "2025-11-01"])}, index=["c0", "c1"]
    )
    result = compute_net_gains(
        table,
        catalogue(cool_down="28D"),
        value_at_stake={"52W": np.ones(3)},
        cutoff="2026-01-01",
        last_treated=treated,
    )
    assert result.eligible.ravel().tolist() == [False, True, True]
    with pytest.raises(CrmmlError, match="last_treated needs a cutoff"):
        compute_net_gains(
            table,
            catalogue(cool_down="28D"),
            value_at_stake={"52W": np.ones(3)},
            last_treated=treated,
        )


def test_column_of_an_absent_table_is_null_but_a_misspelt_one_is_an_error():
    result = gains(eligible="experience_zone == 'negative'")
    assert not result.eligible.any()
    assert result.unknown_columns == ("experience_zone",)
    with pytest.raises(ExpressionError, match="action 'act': there is no column 'experience'"):
        gains(eligible="experience == 'negative'")


def test_refusals():
    with pytest.raises(MissingColumnsError, match=r"missing column.*'52W'.*'value_at_stake'"):
        compute_net_gains(scores(), catalogue(), value_at_stake={"26W": [1.0]})
    with pytest.raises(MissingColumnsError, match="'churn_probability'"):
        gains(scores().drop(columns="churn_probability"))
    with pytest.raises(DataError, match=r"between 0 and 1.*'churn_probability'.*1 row.*'c1'"):
        gains(scores(2, churn_probability=[0.5, 1.5]))
    with pytest.raises(DataError, match="customer_id must be unique"):
        gains(scores(2).set_axis(["a", "a"]))
    with pytest.raises(CrmmlError, match="one value for each of the 1 customers"):
        compute_net_gains(scores(), catalogue(), value_at_stake={"52W": [1.0, 2.0]})
