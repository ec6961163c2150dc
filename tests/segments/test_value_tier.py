"""Value tiers: stored cut points, the Pareto curve, the profile."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmml.exceptions import CrmmlError, DataError, NotFittedError, ParameterError
from crmml.segments import ValueTiers, compute_pareto_curve, gini, posture, service_priority


def series(values):
    return pd.Series(values, index=pd.Index([f"ü{i}" for i in range(len(values))]), dtype=float)


@pytest.fixture(scope="module")
def values():
    return series(np.random.default_rng(0).lognormal(3, 1.2, 5000) - 5)


@pytest.fixture(scope="module")
def tiers(values):
    return ValueTiers().fit(values)


def test_tiers_have_their_shares_of_customers(values, tiers):
    share = tiers.assign(values).value_counts(normalize=True)
    positive = values >= 0
    assert share["A"] == pytest.approx(0.10, abs=1e-3)
    assert share["B"] == pytest.approx(0.15, abs=1e-3)
    assert share["C"] == pytest.approx(0.35, abs=1e-3)
    assert share["E"] >= 0.20 - 1e-3
    assert (tiers.assign(values)[~positive] == "E").all()


def test_cut_points_are_stored_and_not_taken_from_the_batch(values, tiers):
    """Defect 8: a batch of good customers is not divided anew."""
    best = values.nlargest(100)
    assert (tiers.assign(best) == "A").all()
    alone = pd.concat([tiers.assign(values.iloc[[i]]) for i in range(50)])
    pd.testing.assert_series_equal(alone, tiers.assign(values).iloc[:50])
    share = pd.concat([tiers.pareto_share(values.iloc[[i]]) for i in range(50)])
    pd.testing.assert_series_equal(share, tiers.pareto_share(values).iloc[:50])


@given(st.lists(st.integers(-3, 6), min_size=1, max_size=60))
def test_ties_stay_together_and_a_higher_value_is_never_in_a_lower_tier(numbers):
    values = series(numbers)
    tiers = ValueTiers().fit(values)
    table = pd.DataFrame({"value": values, "tier": tiers.assign(values)})
    assert (table.groupby("value")["tier"].nunique() == 1).all()
    ranked = table.sort_values("value", ascending=False)["tier"].tolist()
    assert ranked == sorted(ranked)
    assert (table.loc[table["value"] < 0, "tier"] == "E").all()
    json.dumps(tiers.to_dict(), allow_nan=False)


def test_pareto_share_is_the_share_held_at_or_above_the_value(values, tiers):
    worth = np.maximum(values, 0)
    exact = [worth[worth >= v].sum() / worth.sum() for v in values.iloc[:200]]
    np.testing.assert_allclose(tiers.pareto_share(values.iloc[:200]), exact, atol=1e-3)
    assert tiers.pareto_share(series([-4.0])).item() == 1.0
    assert tiers.pareto_share(series([1e9])).item() < 0.05


def test_profile_adds_up_and_carries_the_reference(values, tiers):
    profile = tiers.profile(values)
    assert profile.index.tolist() == list("ABCDE")
    assert profile["customers"].sum() == len(values)
    assert profile["share_of_value"].sum() == pytest.approx(1)
    assert profile["value"].sum() == pytest.approx(values.sum())
    assert profile["reference_share_of_value"].tolist() == [0.25, 0.25, 0.40, 0.10, -0.10]
    assert profile.loc["A", "posture"] == "keep"


def test_profile_of_a_loss_making_batch_has_no_shares_of_value(tiers):
    profile = tiers.profile(series([-1.0, -2.0]))
    assert profile["share_of_value"].isna().all()
    assert profile["customers"].tolist() == [0, 0, 0, 0, 2]


def test_round_trip_through_json(values, tiers):
    again = ValueTiers.from_dict(json.loads(json.dumps(tiers.to_dict())))
    pd.testing.assert_series_equal(again.assign(values), tiers.assign(values))
    pd.testing.assert_series_equal(again.pareto_share(values), tiers.pareto_share(values))
    assert again.gini_ == tiers.gini_


def test_gini_equals_one_less_twice_the_area_under_the_lorenz_curve(values, tiers):
    curve = compute_pareto_curve(values, 20_001)
    area = np.trapezoid(curve["share_of_value"], curve["share_of_customers"])
    assert tiers.gini_ == pytest.approx(2 * area - 1, abs=1e-4)
    assert gini(values) == tiers.gini_


def test_priority_and_posture_follow_the_tier():
    tiers = pd.Series(list("AE"), dtype="str")
    assert service_priority(tiers).tolist() == [1, 5]
    assert posture(tiers).tolist() == ["keep", "no investment, reduce cost to serve"]


def test_refusals(values, tiers):
    with pytest.raises(NotFittedError, match="ValueTiers is not fitted"):
        ValueTiers().assign(values)
    with pytest.raises(ParameterError, match="five positive numbers that add up to 1"):
        ValueTiers(shares=(0.5, 0.5))
    with pytest.raises(DataError, match=r"finite numbers.*1 row breaks? it|1 row"):
        tiers.assign(series([1.0, np.nan]))
    with pytest.raises(CrmmlError, match="at least one customer"):
        ValueTiers().fit(series([]))
