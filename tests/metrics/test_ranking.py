import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import auc, roc_auc_score

from crmml.metrics import ranking

RNG = np.random.default_rng(21)
N = 400
Y = RNG.poisson(1.2, N).astype(float)
P = np.round(Y * 0.4 + RNG.gamma(1.0, 1.0, N), 1)
MEASURES = [
    ranking.pearson,
    ranking.spearman,
    ranking.normalised_gini,
    ranking.decile_mape,
    ranking.top_share_found,
    ranking.top_share_lift,
]


def test_correlations_equal_scipy_with_ties():
    assert ranking.pearson(Y, P) == pytest.approx(stats.pearsonr(Y, P).statistic)
    assert ranking.spearman(Y, P) == pytest.approx(stats.spearmanr(Y, P).statistic)


def test_gini_of_a_binary_outcome_equals_twice_auc_less_one():
    binary = (Y > 1).astype(float)
    expected = 2 * roc_auc_score(binary, P) - 1
    assert ranking.normalised_gini(binary, P) == pytest.approx(expected)


def test_gini_equals_the_area_under_the_cumulative_curve_of_scikit_learn():
    p = P + 1e-6 * np.arange(N)

    def area(score):
        gained = np.r_[0, np.cumsum(Y[np.argsort(-score)])] / Y.sum()
        return auc(np.linspace(0, 1, N + 1), gained) - 0.5

    expected = area(p) / area(Y + 1e-9 * np.arange(N))
    assert ranking.normalised_gini(Y, p) == pytest.approx(expected)


def test_the_true_order_is_perfect_and_the_reverse_is_the_opposite():
    assert ranking.normalised_gini(Y, Y) == pytest.approx(1.0)
    assert ranking.normalised_gini(Y, -Y) == pytest.approx(-1.0)
    assert ranking.spearman(Y, Y) == pytest.approx(1.0)
    assert ranking.decile_mape(Y, Y) == pytest.approx(0.0, abs=1e-12)
    distinct = RNG.permutation(N).astype(float)
    assert ranking.top_share_found(distinct, distinct) == pytest.approx(1.0)
    assert ranking.top_share_lift(distinct, distinct) == pytest.approx(
        np.sort(distinct)[-N // 10 :].mean() / distinct.mean()
    )


def test_a_constant_prediction_finds_nothing_and_says_so():
    same = np.ones(N)
    assert np.isnan(ranking.pearson(Y, same))
    assert np.isnan(ranking.spearman(Y, same))
    assert np.isnan(ranking.normalised_gini(same, P))
    assert ranking.normalised_gini(Y, same) == pytest.approx(0.0, abs=1e-12)
    assert ranking.top_share_found(Y, same) == pytest.approx(0.1)
    assert ranking.top_share_lift(Y, same) == pytest.approx(1.0)


@pytest.mark.parametrize("ties", [True, False])
def test_statistics_found_together_equal_those_found_alone(ties):
    p = P if ties else P + 1e-6 * np.arange(N)
    expected = [metric(Y, p) for metric in MEASURES]
    for together in (
        ranking.statistics(Y, p),
        ranking.statistics(Y, p, ranking.Order.of(Y)),
    ):
        assert list(together) == [
            "pearson",
            "spearman",
            "gini",
            "decile_mape",
            "top_decile_found",
            "top_decile_lift",
        ]
        assert list(together.values()) == pytest.approx(expected, rel=1e-12)


def test_where_nothing_happened_there_is_nothing_to_judge():
    nothing = np.zeros(N)
    found = ranking.statistics(nothing, P)
    assert found.pop("top_decile_found") == pytest.approx(0.1, abs=0.02)
    assert all(np.isnan(value) for value in found.values())


def test_decile_table_adds_up():
    table = ranking.compute_decile_table(Y, P)
    assert list(table.index) == list(range(1, 11))
    assert (table["customers"] * table["actual_mean"]).sum() == pytest.approx(Y.sum())
    assert (table["customers"] * table["predicted_mean"]).sum() == pytest.approx(P.sum())
    assert table["share_of_actual"].sum() == pytest.approx(1.0)
    assert table["lift"].iloc[0] == pytest.approx(float(ranking.top_share_lift(Y, P)))
    assert table["predicted_mean"].is_monotonic_decreasing
    assert ranking.decile_mape(Y, P) == pytest.approx(table["error"].abs().mean())


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=12, max_size=40),
    st.randoms(use_true_random=False),
)
def test_row_order_changes_nothing_and_values_stay_in_range(pairs, random):
    y, p = np.array(pairs, dtype=float).T
    shuffled = list(range(len(y)))
    random.shuffle(shuffled)
    for metric in MEASURES:
        one, other = float(metric(y, p)), float(metric(y[shuffled], p[shuffled]))
        assert one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)
    assert not ranking.normalised_gini(y, p) > 1 + 1e-12
    assert np.isnan(f := float(ranking.top_share_found(y, p))) or 0 <= f <= 1 + 1e-12
