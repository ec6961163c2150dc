"""Two to twenty accounts train to the end, or are refused with the figures."""

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.exceptions import TooLittleDataError
from crmml.features.windows import customer_folds
from crmml.models.loyalty.model import LoyaltyModel

SETTINGS = {
    "outcome": {"horizon": "13W"},
    "backtest": {"bootstrap": 20, "max_windows": 2, "candidates": ["bg_nbd", "heuristic"]},
    "seed": 1,
}


def shop(n, *, leavers=0, seed=7):
    """Two years of a business-to-business log; no key falls in the fold that stops trees early."""
    names = pd.Index([f"ACC-{i:04d}" for i in range(400)])
    names = names[customer_folds(names, LoyaltyModel().n_folds, seed=SETTINGS["seed"]) != 0][:n]
    rng = np.random.default_rng(seed)
    rows = []
    for position, name in enumerate(names):
        gap = rng.choice([20, 30, 45, 90])
        span = rng.integers(200, 600) if position < leavers else 728
        days = rng.integers(60) + np.cumsum(np.maximum(3, rng.normal(gap, gap / 3, 60)).astype(int))
        rows += [(name, int(day)) for day in days if day < span]
    return pd.DataFrame(
        {
            "order_id": [f"B{i}" for i in range(len(rows))],
            "customer_id": [name for name, _ in rows],
            "timestamp": pd.Timestamp("2022-01-03") + pd.to_timedelta([d for _, d in rows], "D"),
            "amount": rng.integers(200, 9000, len(rows)) + 0.5,
        }
    )


@pytest.mark.parametrize(
    ("n", "leavers"),
    [
        (2, 1),
        (20, 6),
        *[
            pytest.param(*few, marks=pytest.mark.torture)
            for few in ((2, 0), (3, 0), (8, 3), (14, 0))
        ],
    ],
)
def test_few_accounts_train_and_the_reasons_say_what_was_too_little(n, leavers):
    result = crmml.train(SETTINGS, transactions=shop(n, leavers=leavers))
    assert len(result.scores.table) == n
    said = {note.code: note.text for note in result.notes}
    assert result.churn.name in {"purchase_model", "recency_rule"}
    assert "is used" in said["churn_choice"]
    assert (
        "rows to grow on and 0 to judge: the transition matrix is published"
        in said["loyalty_choice"]
    )
    p = result.scores.table["churn_probability"]
    assert p.between(0, 1).all()


@pytest.mark.parametrize("n", [2, 5])
def test_accounts_that_bought_once_are_refused_with_the_figures(n):
    once = shop(n).groupby("customer_id").head(1)
    with pytest.raises(TooLittleDataError, match=r"\d"):
        crmml.train(SETTINGS, transactions=once)
