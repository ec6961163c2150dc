"""Net gain: the formulas, the interval, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from crmml.actions import ActionCatalogue, ExpressionError, compute_net_gains
from crmml.exceptions import CrmmlError, DataError, MissingColumnsError

# no purchase in the quarter; margin over the year if active, probability of being active
RISK, KEPT, ALIVE = 0.6, 100.0, 0.7
EXPECTED = ALIVE * KEPT
STAKE = KEPT - EXPECTED


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


def margins(kept, alive=ALIVE):
    """Both margins of customers who are active with a probability."""
    kept = np.asarray(kept, dtype=float)
    return {"margin_if_kept": {"52W": kept}, "expected_margin": {"52W": alive * kept}}


def gains(table=None, kept=KEPT, **changes):
    table = scores() if table is None else table
    return compute_net_gains(table, catalogue(**changes), **margins(np.full(len(table), kept)))


@pytest.mark.parametrize("purpose", ["acquire", "retain", "win_back", "recover"])
def test_keeping_brings_margin_if_kept_less_expected_and_pays_the_incentive_to_stayers(purpose):
    result = gains(purpose=purpose)
    # by hand: used = 0.5 (0.4 + 0.6 x 0.1) = 0.23; gain = 0.1 (100 - 70) = 3
    assert result.cost.item() == pytest.approx(1 + 5 * 0.23)
    assert result.net.item() == pytest.approx(3 - 1 - 5 * 0.23)


def test_stake_is_the_contracts_expected_margin_if_kept_less_if_lost():
    """Section 5: L x s x (E[kept] - E[lost]) where M = (1 - L) E[kept] + L E[lost]."""
    lost_with, kept, lost, rate = 0.3, 100.0, 20.0, 0.1
    expected = (1 - lost_with) * kept + lost_with * lost
    result = compute_net_gains(
        scores(),
        catalogue(incentive_cost=0.0, contact_cost=0.0),
        margin_if_kept={"52W": [kept]},
        expected_margin={"52W": [expected]},
    )
    assert result.net.item() == pytest.approx(lost_with * rate * (kept - lost))


def test_nothing_is_at_stake_where_nobody_can_have_left():
    """BG/NBD before the first repeat purchase: P(alive) = 1, so V = M."""
    for kept, expected in [(100.0, 100.0), (-10.0, -7.0)]:
        result = compute_net_gains(
            scores(),
            catalogue(incentive_cost=0.0),
            margin_if_kept={"52W": [kept]},
            expected_margin={"52W": [expected]},
        )
        assert result.net.item() == -1.0


def test_enhancing_lifts_the_margin_that_is_expected():
    result = gains(purpose="enhance")
    # by hand: 0.1 x 70 - 1 - 5 x 0.5 x 0.4
    assert result.net.item() == pytest.approx(7 - 1 - 1)
    assert result.cost.item() == pytest.approx(2)


def test_reducing_cost_saves_for_those_who_adopt_and_are_still_there():
    setting = {"purpose": "reduce_cost", "saving": 20.0}
    result = gains(scores(probability_alive=ALIVE), **setting)
    assert result.net.item() == pytest.approx(0.1 * 20 * 0.7 - 1)
    assert result.cost.item() == 1.0
    with pytest.raises(MissingColumnsError, match=r"missing column.*'probability_alive'"):
        gains(**setting)


@pytest.mark.parametrize("kept", [70.0, 200.0, 2.0], ids=["near zero", "good", "falling"])
def test_interval_and_probability_equal_simulation_of_the_save_rate(kept):
    result = gains(kept=kept)
    rate = stats.beta(4, 36).rvs(200_000, random_state=1)
    used = 0.5 * ((1 - RISK) + RISK * rate)
    net = rate * (1 - ALIVE) * kept - 1 - 5 * used
    one = np.array([0])
    assert result.net.item() == pytest.approx(net.mean(), abs=0.01)
    for q in (0.1, 0.9):
        assert result.quantiles(one, one, q).item() == pytest.approx(np.quantile(net, q), abs=0.05)
    assert result.probability_positive(one, one).item() == pytest.approx((net > 0).mean(), abs=4e-3)


def test_uncertain_value_widens_the_interval_to_the_variance_of_the_product():
    values, sd = margins([KEPT]), {"52W": [50.0]}
    plain = catalogue(incentive_cost=0.0)
    sure = compute_net_gains(scores(), plain, **values)
    unsure = compute_net_gains(scores(), plain, **values, value_sd=sd)
    rng = np.random.default_rng(0)
    worth = stats.gamma(4, scale=25).rvs(400_000, random_state=rng)
    net = (1 - ALIVE) * rng.beta(4, 36, 400_000) * worth - 1
    one = np.array([0])
    assert unsure.net == sure.net
    for q in (0.1, 0.9):
        # matched in mean and variance; the shape is an approximation
        assert unsure.quantiles(one, one, q).item() == pytest.approx(np.quantile(net, q), abs=0.5)
    assert unsure.quantiles(one, one, 0.1) < sure.quantiles(one, one, 0.1)
    same = compute_net_gains(scores(), plain, **values, value_sd={"52W": [0.0]})
    assert same.quantiles(one, one, 0.1) == pytest.approx(sure.quantiles(one, one, 0.1))


def test_uncertain_value_does_not_touch_a_saving():
    table, action = scores(probability_alive=1.0), catalogue(purpose="reduce_cost", saving=20.0)
    one = np.array([0])
    found = [
        compute_net_gains(table, action, **margins([KEPT]), value_sd=sd).quantiles(one, one, 0.1)
        for sd in (None, {"52W": [80.0]})
    ]
    assert found[0] == found[1]


def test_rows_are_matched_by_customer_and_not_by_position():
    table = scores(3, churn_probability=[0.1, 0.5, 0.9])
    kept = pd.Series([1.0, 2.0, 3.0], index=table.index)
    for_all = {"margin_if_kept": {"52W": kept}, "expected_margin": {"52W": 0.5 * kept}}
    plain = compute_net_gains(table, catalogue(), **for_all)
    turned = compute_net_gains(
        table,
        catalogue(),
        margin_if_kept={"364 D": kept, "52W": kept[::-1]},
        expected_margin={"52W": 0.5 * kept[::-1]},
    )
    np.testing.assert_array_equal(plain.net, turned.net)
    as_column = compute_net_gains(table.reset_index(), catalogue(), **for_all)
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
        **margins(np.ones(3)),
        cutoff="2026-01-01",
        last_treated=treated,
    )
    assert result.eligible.ravel().tolist() == [False, True, True]
    with pytest.raises(CrmmlError, match="last_treated needs a cutoff"):
        compute_net_gains(
            table,
            catalogue(cool_down="28D"),
            **margins(np.ones(3)),
            last_treated=treated,
        )


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
    for lacking in ("margin_if_kept", "expected_margin"):
        with pytest.raises(MissingColumnsError, match=rf"missing column.*'52W'.*'{lacking}'"):
            compute_net_gains(scores(), catalogue(), **margins([1.0]) | {lacking: {"26W": [1.0]}})
    with pytest.raises(MissingColumnsError, match="'churn_probability'"):
        gains(scores().drop(columns="churn_probability"))
    with pytest.raises(DataError, match=r"between 0 and 1.*'churn_probability'.*1 row.*'c1'"):
        gains(scores(2, churn_probability=[0.5, 1.5]))
    with pytest.raises(DataError, match="customer_id must be unique"):
        gains(scores(2).set_axis(["a", "a"]))
    with pytest.raises(CrmmlError, match="one value for each of the 1 customers"):
        compute_net_gains(scores(), catalogue(), **margins([1.0, 2.0]))
