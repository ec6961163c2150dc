"""BG/BB: the donations of the paper, identities, recovery, refusals."""

import itertools
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from crmml.exceptions import CrmmlError, DataError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models import BetaGeoBetaBinomialModel
from crmml.stats import bg_bb
from crmml.stats.bg_bb import Params

PAPER = Params(1.204, 0.750, 0.657, 2.783)


def snapshot(x, t_x, T):
    frame = {"customer_id": np.arange(len(x)), "frequency": x, "recency": t_x, "T": T}
    return Snapshot.from_frame(pd.DataFrame(frame), cutoff="2002-01-01", time_unit="period")


@cache
def donations():
    """22 distinct histories and the number of donors of each."""
    folder = Path(find_spec("lifetimes").submodule_search_locations[0]) / "datasets"
    table = pd.read_csv(folder / "donations.csv")
    return snapshot(table["frequency"], table["recency"], table["periods"]), table["weights"]


@cache
def donors_fit():
    base, weights = donations()
    return BetaGeoBetaBinomialModel().fit(base, sample_weight=weights.to_numpy())


def test_fit_of_the_donations_fader_hardie_shang_2010():
    model = donors_fit()
    assert donations()[1].sum() == 11104
    assert model.log_likelihood_ == pytest.approx(-33225.58, abs=5e-3)
    for name, value in zip(bg_bb.NAMES, PAPER, strict=True):
        assert model.params_[name] == pytest.approx(value, abs=5.1e-4)
    assert model.converged_


def test_conditional_expectations_of_the_donors_fader_hardie_shang_2010():
    base, _ = donations()
    expected = donors_fit().expected_purchases(base, "5P")
    donors = base.frame.set_index(["frequency", "recency"])["customer_id"]
    # Table of the paper: donations 2002-2006 by number of repeat donations and last year.
    for (x, t_x), value in {(0, 0): 0.07, (1, 6): 1.15, (6, 6): 3.75, (4, 5): 2.03}.items():
        assert expected[donors[x, t_x]] == pytest.approx(value, abs=5.1e-3)


@pytest.mark.parametrize("params", [PAPER, Params(0.3, 2.0, 1.0, 0.4), Params(5.0, 1.0, 3.0, 1.0)])
def test_likelihood_sums_to_one_over_all_histories(params):
    total = 0.0
    for history in itertools.product([0, 1], repeat=5):
        t_x = max((i + 1 for i, bought in enumerate(history) if bought), default=0)
        total += np.exp(
            bg_bb.log_likelihood(params, *(np.array([float(v)]) for v in (sum(history), t_x, 5)))
        )[0]
    assert total == pytest.approx(1.0, abs=1e-13)


def test_likelihood_equals_the_published_sum_of_beta_functions():
    a, b, c, d = (mp.mpf(v) for v in (0.3, 2.0, 1.0, 0.4))
    x, t_x, T = 40, 300, 520
    value = mp.beta(a + x, b + T - x) * mp.beta(c, d + T)
    for i in range(T - t_x):
        value += mp.beta(a + x, b + t_x - x + i) * mp.beta(c + 1, d + t_x + i)
    value = mp.log(value / mp.beta(a, b) / mp.beta(c, d))
    found = bg_bb.log_likelihood(Params(0.3, 2.0, 1.0, 0.4), *np.array([[x], [t_x], [T]], float))
    assert found[0] == pytest.approx(float(value), rel=1e-12)


POSITIVE = st.floats(-1.5, 2).map(lambda power: float(10**power))


@pytest.mark.parametrize("gamma", [0.657, 1.0, 2.0000001])
@pytest.mark.parametrize("rate", [0.01, 0.10])
def test_dert_equals_hypergeometric_fader_hardie_shang_2010(gamma, rate):
    a, b, c, d = (mp.mpf(v) for v in (1.204, 0.750, gamma, 2.783))
    z = 1 / (1 + mp.mpf(rate))
    expected = a / (a + b) * d / (c + d) * z * mp.hyp2f1(1, d + 1, c + d + 1, z)
    params = Params(1.204, 0.750, gamma, 2.783)
    found = bg_bb.discounted_purchases(params, np.array([np.inf]), np.log1p(rate))[0]
    assert found == pytest.approx(float(expected), rel=1e-11)


def test_discounting_meets_its_limits():
    params, t = Params(1.2, 0.75, 3.0, 2.8), np.array([6.0, np.inf])
    none = bg_bb.discounted_purchases(params, t, 0.0)
    assert none[0] == bg_bb.expected_purchases(params, t[:1])[0]
    assert none[1] == pytest.approx(1.2 / 1.95 * 2.8 / 2.0, rel=1e-14)
    assert bg_bb.discounted_purchases(params, t, 2e-3)[1] == pytest.approx(none[1], rel=0.02)
    assert bg_bb.discounted_purchases(PAPER, t, 0.0)[1] == np.inf


def test_parameters_are_recovered_from_simulated_histories():
    rng = np.random.default_rng(4)
    n, T = 8000, 8
    p, leaves = rng.beta(1.5, 2.0, n), rng.beta(1.2, 4.0, n)
    stays = rng.random((n, T)) > leaves[:, None]
    bought = np.logical_and.accumulate(stays, axis=1) & (rng.random((n, T)) < p[:, None])
    t_x = np.where(bought.any(axis=1), T - np.argmax(bought[:, ::-1], axis=1), 0)
    model = BetaGeoBetaBinomialModel().fit(snapshot(bought.sum(axis=1), t_x, np.full(n, T)))
    for name, truth in zip(bg_bb.NAMES, (1.5, 2.0, 1.2, 4.0), strict=True):
        assert abs(model.params_[name] - truth) < 3.5 * model.standard_errors_[name]


def test_every_method_of_a_purchase_model_answers():
    model, (base, _) = donors_fit(), donations()
    table = model.purchase_distribution(base, "5P", 5)
    assert table.sum(axis=1).to_numpy() == pytest.approx(np.ones(22))
    assert model.probability_no_purchase(base, "5P").to_numpy() == pytest.approx(table[0])
    quantiles = model.purchase_quantiles(base, "5P", [0.1, 0.9])
    assert (quantiles[0.1] <= quantiles[0.9]).all()
    assert model.sample(base, "5P", 20, seed=1).to_numpy().max() <= 5
    dert = model.discounted_expected_purchases(base, annual_discount_rate=0.1)
    assert (dert >= model.discounted_expected_purchases(base, "5P")).all()
    if_alive = model.expected_purchases_if_alive(base, "5P") * model.probability_alive(base)
    assert if_alive.to_numpy() == pytest.approx(model.expected_purchases(base, "5P").to_numpy())
    assert model.expected_purchases_new_customer("6P") == pytest.approx(2.22, abs=5e-3)


def test_mistakes_are_named():
    model = BetaGeoBetaBinomialModel()
    good = {"customer_id": ["a"], "frequency": [2], "recency": [3], "T": [6]}
    weekly = Snapshot.from_frame(pd.DataFrame(good), cutoff="2002-01-01", time_unit="week")
    with pytest.raises(ParameterError, match="'period'"):
        model.fit(weekly)
    with pytest.raises(DataError, match="T must be a whole number"):
        model.fit(snapshot([2], [3], [6.5]))
    with pytest.raises(DataError, match="recency must be a whole number"):
        model.fit(snapshot([2], [3.5], [6]))
    with pytest.raises(DataError, match="must not exceed recency"):
        model.fit(snapshot([4], [3], [6]))
    base, _ = donations()
    with pytest.raises(ParameterError, match="whole number of opportunities"):
        donors_fit().expected_purchases(base, "2.5P")
    with pytest.raises(CrmmlError, match="no length in calendar time"):
        donors_fit().expected_purchases(base, "52W")
    with pytest.raises(ParameterError, match="empty for this model"):
        BetaGeoBetaBinomialModel(purchase_covariates=["T"]).fit(base)
