import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import CrmmlError, NotFittedError, ParameterError
from crmml.features.wallet import LOYALTY_CLASSES, Wallet, build_wallet, classify_shares
from crmml.models.forecast.baselines import TransitionMatrix
from crmml.models.loyalty.evaluation import choose_published
from crmml.models.loyalty.model import FEATURES, LoyaltyModel

LENGTH = pd.Timedelta(days=91)


def panel_windows(n=1500, n_windows=4, seed=0, memory=True):
    """Shares that drift slowly (memory) or are drawn anew in each window."""
    rng = np.random.default_rng(seed)
    index = pd.Index([f"c{i:05d}" for i in range(n)], name="customer_id")
    logit = rng.normal(0, 1.5, n)
    before = np.full(n, np.nan)
    closes = pd.Timestamp("2024-01-01")
    found = []
    for _ in range(n_windows):
        logit = logit + rng.normal(0, 0.15, n) if memory else rng.normal(0, 1.5, n)
        share = 1 / (1 + np.exp(-logit))
        rival = (1 - share) * 0.8
        occasions = np.full(n, 8.0)
        frame = pd.DataFrame(
            {
                "loyalty_class": classify_shares(share, rival, occasions),
                "loyalty_evidence": "panel",
                "share": share,
                "rival_share": rival,
                "occasions": occasions,
                "spend": 100 * share,
                "need": 100.0,
                "share_before": before,
                "past_windows": len(found),
                "probability_competitor": 0.0,
            },
            index=index,
        )
        found.append(Wallet(frame, closes - LENGTH, closes))
        closes += LENGTH
        before = share
    return found


@pytest.fixture(scope="module")
def fitted():
    return LoyaltyModel(n_boot=100).fit(panel_windows())


def test_trees_are_published_where_shares_say_more_than_classes(fitted):
    assert fitted.published_ == "trees"
    evaluation = fitted.evaluation_
    assert evaluation.value("trees", "log_loss", "difference_upper") < 0
    assert evaluation.value("trees", "macro_f1") > 0.5
    assert "log loss is" in fitted.reason_
    assert "the trees are published" in fitted.reason_


def test_trees_that_may_be_worse_than_persistence_are_not_published(fitted):
    evaluation = fitted.evaluation_
    table = evaluation.against_persistence.copy()
    table.loc[("trees", "quadratic_kappa"), "difference_lower"] = -0.03
    published, why = choose_published(replace(evaluation, against_persistence=table), "panel")
    assert published == "transition_matrix"
    assert "may be worse than persistence in quadratic kappa" in why


def test_the_matrix_is_published_where_the_trees_do_not_beat_it():
    windows = panel_windows(memory=False)
    model = LoyaltyModel(n_boot=100).fit(windows)
    assert model.published_ == "transition_matrix"
    assert "the matrix is not beaten" in model.reason_
    assert model.booster_ is None
    p = model.loyalty_probabilities(windows[-1])
    expected = TransitionMatrix.from_dict(model.matrix_).predict_probabilities(
        windows[-1].frame["loyalty_class"]
    )
    pd.testing.assert_frame_equal(p, expected)


def test_probabilities_are_keyed_by_customer_and_add_up(fitted):
    newest = panel_windows()[-1]
    p = fitted.loyalty_probabilities(newest)
    assert p.index.equals(newest.frame.index)
    assert p.columns.tolist() == list(LOYALTY_CLASSES)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert fitted.loyalty_class(newest).equals(newest.frame["loyalty_class"])


def test_one_customer_alone_equals_the_batch(fitted):
    newest = panel_windows()[-1]
    whole = fitted.loyalty_probabilities(newest)
    alone = fitted.loyalty_probabilities(
        Wallet(newest.frame.loc[["c00007"]], newest.opens, newest.closes)
    )
    pd.testing.assert_frame_equal(alone, whole.loc[["c00007"]])


def test_neither_order_of_rows_nor_of_windows_matters(fitted):
    rng = np.random.default_rng(1)
    shuffled = [
        Wallet(w.frame.iloc[rng.permutation(len(w))], w.opens, w.closes)
        for w in panel_windows()[::-1]
    ]
    again = LoyaltyModel(n_boot=100).fit(shuffled)
    assert again.booster_ == fitted.booster_
    assert again.matrix_ == fitted.matrix_
    assert again.reason_ == fitted.reason_


def test_stored_as_plain_text(fitted):
    again = LoyaltyModel.from_dict(json.loads(json.dumps(fitted.to_dict())))
    newest = panel_windows()[-1]
    pd.testing.assert_frame_equal(
        again.loyalty_probabilities(newest), fitted.loyalty_probabilities(newest)
    )


def test_the_judged_window_is_not_learned_from():
    windows = panel_windows()
    first = LoyaltyModel(n_boot=100).fit(windows)
    turned = windows[-1].frame.sample(frac=1, random_state=3).set_axis(windows[-1].frame.index)
    other = LoyaltyModel(n_boot=100).fit(
        [*windows[:-1], Wallet(turned, windows[-1].opens, windows[-1].closes)]
    )
    # A newest window without sense leaves the forecasts as they are and makes them look bad.
    assert other.evaluation_.value("trees", "log_loss") > 1.2 * first.evaluation_.value(
        "trees", "log_loss"
    )
    assert other.published_ == "transition_matrix"


@pytest.mark.parametrize(
    ("n_windows", "published", "words"),
    [(1, "none", "two are needed"), (2, "transition_matrix", "3 windows are needed to judge")],
)
def test_a_short_history_is_a_value_with_a_reason(n_windows, published, words):
    windows = panel_windows(n=50, n_windows=n_windows)
    model = LoyaltyModel().fit(windows)
    assert model.published_ == published
    assert words in model.reason_
    assert model.n_windows_ == n_windows
    assert model.loyalty_probabilities(windows[-1]).isna().all(axis=None) == (n_windows == 1)


def test_inferred_evidence_keeps_its_peers():
    days = pd.date_range("2024-01-01", "2024-12-20", freq="9D")
    rows = [(f"c{i}", day, 10.0) for i in range(30) for j, day in enumerate(days) if (i + j) % 3]
    lines = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    windows = [
        build_wallet(lines, cutoff, length="90D")
        for cutoff in pd.date_range("2024-06-29", periods=3, freq="90D")
    ]
    model = LoyaltyModel(n_boot=20, min_leaf=5).fit(windows)
    again = LoyaltyModel.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.peers == windows[-1].peers
    assert again.evidence_ == "inferred"
    assert (again.loyalty_probabilities(windows[-1])["competitor"] < 0.05).all()
    assert set(FEATURES) < set(windows[-1].frame.columns)


def test_refusals(fitted):
    windows = panel_windows(n=20)
    with pytest.raises(NotFittedError, match="LoyaltyModel is not fitted"):
        LoyaltyModel().loyalty_class(windows[0])
    with pytest.raises(ParameterError, match="history must be at least one window"):
        LoyaltyModel().fit([])
    with pytest.raises(CrmmlError, match="nothing covers"):
        LoyaltyModel().fit([windows[0], windows[2]])
    late = Wallet(windows[1].frame, windows[0].opens, windows[1].closes)
    with pytest.raises(CrmmlError, match="begins and ends after the one before"):
        LoyaltyModel().fit([windows[0], late])
    fewer = Wallet(windows[1].frame.iloc[1:], windows[1].opens, windows[1].closes)
    with pytest.raises(CrmmlError, match=r"1 customers of the window .* not in the next one"):
        LoyaltyModel().fit([windows[0], fewer])
