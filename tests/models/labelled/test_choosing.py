"""A ready-made table is learned alike whatever its order, and refused in plain words."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from crmml.exceptions import TooLittleDataError, UnlikeTrainingError, WrongArgumentError
from crmml.metrics.classification import auc
from crmml.models.kinds import check_parts
from crmml.models.labelled.choosing import fit_labelled
from crmml.models.labelled.leaks import find_leaks
from crmml.models.labelled.learners import (
    SHARE,
    AdditiveLearner,
    find_share,
    learner_from_dict,
)
from crmml.models.labelled.model import LabelledModel


@pytest.fixture(scope="module")
def table():
    """Customers whose log-odds are known: calls, contract and a date; the region says nothing."""
    rng = np.random.default_rng(1)
    n = 900
    calls, contract = rng.poisson(1.5, n), rng.choice(["monthly", "yearly"], n)
    logit = -2.0 + 0.7 * calls + 1.5 * (contract == "monthly")
    rows = pd.DataFrame(
        {
            "calls": np.where(rng.random(n) < 0.05, " ", calls.astype(str)),
            "contract": contract,
            "charges": [f"{v:,.2f}" for v in rng.gamma(2.0, 900.0, n)],
            "region": rng.choice(["north", "south", "east"], n),
        }
    )
    y = (rng.random(n) < expit(logit)).astype(float)
    return rows, y, pd.Index([f"c{i:04d}" for i in range(n)]), expit(logit)


@pytest.fixture(scope="module")
def fitted(table):
    rows, y, ids, _ = table
    return fit_labelled(rows, y, ids, n_boot=20)


def test_the_truth_is_found(table, fitted):
    rows, _, _, truth = table
    said, told = fitted.model.predict(rows)
    assert told == []
    assert fitted.model.name == "logistic"
    assert np.corrcoef(said["churn_probability"], truth)[0, 1] > 0.9
    assert abs(said["churn_probability"].mean() - truth.mean()) < 0.03
    inside = said["churn_probability"].between(
        said["churn_probability_lower"], said["churn_probability_upper"]
    )
    assert inside.all()


def test_the_order_of_rows_and_columns_plays_no_part(table, fitted):
    rows, y, ids, _ = table
    order = np.random.default_rng(0).permutation(len(y))
    again = fit_labelled(rows.iloc[order, ::-1], y[order], ids[order], n_boot=20)
    assert again.model.to_dict() == fitted.model.to_dict()
    assert again.judgement.metrics == fitted.judgement.metrics


def test_the_model_is_stored_as_plain_values(table, fitted):
    rows = table[0]
    again = LabelledModel.from_dict(fitted.model.to_dict())
    pd.testing.assert_frame_equal(again.predict(rows)[0], fitted.model.predict(rows)[0])


def test_each_customer_is_asked_alone_and_rows_stay_as_they_were(table, fitted):
    rows, before = table[0], table[0].copy()
    said, _ = fitted.model.predict(rows)
    alone, _ = fitted.model.predict(rows.iloc[[17]])
    pd.testing.assert_frame_equal(alone, said.iloc[[17]], rtol=1e-12)
    pd.testing.assert_frame_equal(rows, before)


def test_the_summary_tells_coefficients_and_the_likelihood_of_the_unseen(table, fitted):
    _, y, _, truth = table
    summary = fitted.model.summary()
    assert summary.n_customers == len(y)
    assert {"calibration: slope", "intercept"} <= set(summary.to_pandas().index)
    best = float(np.log(np.where(y == 1.0, truth, 1.0 - truth)).sum())
    flat = len(y) * float(y.mean() * np.log(y.mean()) + (1 - y.mean()) * np.log1p(-y.mean()))
    assert flat < summary.log_likelihood < best
    assert len(str(summary).splitlines()) <= 15
    old = {k: v for k, v in fitted.model.to_dict().items() if k != "log_likelihood"}
    assert np.isnan(LabelledModel.from_dict(old).summary().log_likelihood)


def test_what_is_no_table_gets_the_right_name(table, fitted):
    _, y, ids, _ = table
    with pytest.raises(WrongArgumentError, match=r"fit_labelled needs a DataFrame .*read_csv"):
        fit_labelled("customers.csv", y, ids)
    for ask in (fitted.model.predict, fitted.model.explain):
        with pytest.raises(WrongArgumentError, match="LabelledModel needs a DataFrame"):
            ask("customers.csv")


def test_new_rows_may_be_unlike_and_that_is_said(table, fitted):
    rows = table[0].head(3).assign(region="moon", calls=["many", "1", "2"]).drop(columns="charges")
    said, told = fitted.model.predict(rows)
    assert said["churn_probability"].notna().all()
    assert [word for word in ("calls", "charges", "moon") if word not in " ".join(told)] == ["moon"]
    assert len(told) == 3
    with pytest.raises(UnlikeTrainingError, match="3 of 4 are missing"):
        fitted.model.predict(rows[["region"]])


def test_columns_that_know_the_outcome_are_left_out(table):
    rows, y, _, _ = table
    told = rows.assign(
        reason=np.where(y == 1, "price", None),
        churn_score=np.arange(len(y)) % 7,
        customer_no=[f"{i}x" for i in range(len(y))],
        refund=np.where((y == 1) & (np.arange(len(y)) % 2 == 0), "paid", "none"),
    ).astype(str)
    told["reason"] = np.where(y == 1, "price", None)
    found = {one.column: one.kind for one in find_leaks(told, y)}
    assert found == {
        "reason": "separation",
        "churn_score": "name",
        "customer_no": "id",
        "refund": "one_sided",
    }


@pytest.mark.parametrize(
    ("n", "events", "said"),
    [(100, 50, "too few customers: 100"), (300, 10, "too few churners: 10"), (300, 0, "stayed")],
)
def test_refusals_in_plain_words(table, n, events, said):
    y = (np.arange(n) < events).astype(float)
    with pytest.raises(TooLittleDataError, match=said):
        fit_labelled(table[0].head(n), y, table[2][:n])


def test_an_additive_model_joins_the_trees_only_where_it_ranks_no_worse():
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 2).astype(float)
    good, other = y + rng.normal(0, 1.0, 400), y + rng.normal(0, 1.0, 400)
    assert find_share(other, good, y) == SHARE
    assert find_share(-5.0 * y, good, y) == 0.0


def test_what_two_columns_do_together_is_found_by_the_additive_model():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(1500, 4))
    y = (rng.random(1500) < expit(3.0 * np.sign(X[:, 0] * X[:, 1]))).astype(float)
    learner, fold = AdditiveLearner(), np.arange(1500) % 3
    settings = learner.tune(X, y, fold)
    assert settings[1] > 0
    fitted = learner.fit(X, y, settings)
    assert auc(y, fitted.score(X)) > 0.9
    old = fitted.to_dict()
    old = {**old, "weight": 1 / 3, "weights": None}  # as earlier versions stored it
    np.testing.assert_allclose(learner_from_dict(old).score(X), fitted.score(X))
    np.testing.assert_allclose(learner_from_dict(fitted.to_dict()).score(X), fitted.score(X))


def test_stored_forests_are_of_the_kinds_that_they_declare():
    X, y = np.arange(400.0)[:, None], (np.arange(400) > 200).astype(float)
    check_parts(AdditiveLearner().fit(X, y, (5, 5)))
