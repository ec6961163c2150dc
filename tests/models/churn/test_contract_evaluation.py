"""Models of contracts are judged on rolling cutoffs; the one without features is recovered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.features.contracts import PersonPeriods
from crmml.models.churn.beta_weibull import BetaDiscreteWeibullModel
from crmml.models.churn.contract_evaluation import backtest_contracts
from crmml.stats import hazard, sbg
from crmml.testing.contracts import simulate_contracts


def test_at_c_one_it_is_the_sbg_of_fader_and_hardie_2007():
    k = np.arange(8.0)
    ended = np.array([True] * 7 + [False])
    one = hazard.score(hazard.Params(0.668, 3.806, 1.0), np.zeros(8), k, ended)
    two = sbg.score(sbg.Params(0.668, 3.806), k, ended)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-10)
    np.testing.assert_allclose(one[1][:2], two[1], rtol=1e-8)


def test_slopes_are_those_of_the_value():
    entered, k = np.array([0.0, 2.0, 1.0]), np.array([4.0, 5.0, 1.0])
    ended = np.array([True, False, True])
    theta = np.log([0.7, 3.0, 1.3])

    def value(at):
        return hazard.score(hazard.Params(*np.exp(at)), entered, k, ended)[0]

    slopes = hazard.score(hazard.Params(*np.exp(theta)), entered, k, ended)[1]
    for i, step in enumerate(1e-6 * np.eye(3)):
        numeric = (value(theta + step) - value(theta - step)) / 2e-6
        np.testing.assert_allclose(slopes[i], numeric, rtol=1e-6, atol=1e-9)


def test_parameters_come_back_from_truncated_contracts():
    rng = np.random.default_rng(5)
    alpha, beta, c = 1.0, 6.0, 1.4
    entered = rng.integers(0, 6, 30_000)
    theta = rng.beta(alpha, beta, len(entered))
    # P(life > t) = (1 - theta)^(t^c)
    life = np.ceil((np.log(rng.random(len(entered))) / np.log1p(-theta)) ** (1 / c))
    seen = life > entered
    rows = []
    for number, (first, last) in enumerate(
        zip(entered[seen], np.minimum(life[seen], entered[seen] + 8), strict=True)
    ):
        rows.append((number, 0, int(first), None))
        rows.append((number, 0, int(last) - 1, "voluntary" if last == life[seen][number] else None))
    frame = pd.DataFrame(rows, columns=["customer_id", "spell", "age", "cause"]).assign(
        position=1.0
    )
    from crmml._typing import Duration

    now = pd.Timestamp("2024-01-01")
    model = BetaDiscreteWeibullModel().fit(
        PersonPeriods(frame, Duration(30, "day"), now, now, now, 0)
    )
    for name, value in zip(hazard.NAMES, (alpha, beta, c), strict=True):
        assert model.params_[name] == pytest.approx(value, abs=4 * model.standard_errors_[name])


@pytest.mark.parametrize("n", [2_500, pytest.param(4_000, marks=pytest.mark.torture)])
def test_the_hazard_is_chosen_where_features_matter(n):
    found = backtest_contracts(open_tables(simulate_contracts(n, seed=1)), n_boot=40)
    assert found.chosen.startswith("hazard")
    assert found.grades[found.chosen] in "ABC"
    assert len(found.cutoffs) == 3
    earned = found.table["value"].unstack("metric")
    assert (earned["own_value_profit"] > 0).all()
    assert 0.9 * earned.loc[found.chosen, "empc"] > earned.loc["beta_discrete_weibull", "empc"]
    assert found.profit["own_value_profit"].max() > 0
    near = found.causes.loc[found.chosen]
    np.testing.assert_allclose(
        near["predicted"], near["happened"], atol=float(4 * np.sqrt(near["happened"].max()))
    )


def test_a_tie_goes_to_what_tells_causes_apart():
    """Without features the hazard is no better; where reasons are known, it says more."""
    tables = {"subscriptions": simulate_contracts(1_000, seed=2)["subscriptions"]}
    found = backtest_contracts(open_tables(tables), n_windows=1, n_boot=40)
    assert not found.challenges["hazard_logistic"].won
    assert found.chosen == "hazard_logistic"
    mute = {"subscriptions": tables["subscriptions"].drop(columns="end_reason")}
    assert (
        backtest_contracts(open_tables(mute), n_windows=1, n_boot=40).chosen
        == "beta_discrete_weibull"
    )
