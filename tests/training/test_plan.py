"""The steps of a training: nothing is fitted or built twice, and reuse changes no figure."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from crmml.config import parse_config
from crmml.data.datasets import load_cdnow
from crmml.data.tables import open_tables
from crmml.models.churn.purchase import PurchaseChurn
from crmml.models.fits import Fits
from crmml.models.purchase.modified_beta_geo import ModifiedBetaGeoModel
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.models.value.lifetime_value import LifetimeValueModel
from crmml.storage.files import save_bundle
from crmml.testing.simulate import simulate_world
from crmml.training import plan, windows
from crmml.training.candidates import make_candidate
from crmml.training.choose import process_for_value
from crmml.training.pipeline import train

SETTINGS = {
    "outcome": {"horizon": "13W"},
    "value": {"horizon": "26W"},
    "backtest": {"bootstrap": 20, "max_windows": 2, "candidates": ["mbg_nbd", "heuristic"]},
}


@pytest.fixture(scope="module")
def log():
    return load_cdnow(sample=True)


@pytest.fixture(scope="module")
def counted(log):
    """A training, with the cutoffs of every fit of a process and of every labelled snapshot."""
    fits, labelled = Counter(), Counter()
    with pytest.MonkeyPatch.context() as patch:
        fit_once, label = ModifiedBetaGeoModel.fit, windows.build_labelled

        def counting_fit(model, snapshot, *args, **kwargs):
            fits[snapshot.cutoff, repr(model.clocks)] += 1
            return fit_once(model, snapshot, *args, **kwargs)

        def counting_label(tables, window, **build):
            labelled[(window.cutoff, window.opens, window.closes)] += 1
            return label(tables, window, **build)

        patch.setattr(ModifiedBetaGeoModel, "fit", counting_fit)
        patch.setattr(windows, "build_labelled", counting_label)
        result = train(SETTINGS, log)
    return result, fits, labelled


def test_a_process_is_fitted_once_on_each_snapshot_and_a_window_labelled_once(counted):
    result, fits, labelled = counted
    assert result.backtest.chosen == "mbg_nbd"
    tests = {one.labelled.window.cutoff for one in result.backtest.windows}
    assert tests | {result.scores.snapshot.cutoff} <= {cutoff for cutoff, _ in fits}
    assert set(fits.values()) == {1}
    assert set(labelled.values()) == {1}


def test_what_was_fitted_before_gives_the_figures_of_a_fit_of_its_own(
    counted, log, monkeypatch, tmp_path
):
    class Forgetful(Fits):
        def fit(self, model, snapshot):
            self._known.clear()
            return super().fit(model, snapshot)

    result = counted[0]
    monkeypatch.setattr("crmml.training.plan.Fits", Forgetful)
    alone = train(SETTINGS, log)
    pd.testing.assert_frame_equal(alone.scores.table, result.scores.table)
    np.testing.assert_array_equal(alone.replicates.draws, result.replicates.draws)
    assert alone.metrics == result.metrics
    assert alone.notes == result.notes
    for name, one in (("alone", alone), ("reused", result)):
        save_bundle(one.bundle, tmp_path / name)
    first, second = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (tmp_path / "alone", tmp_path / "reused")
    )
    assert first == second


def test_only_equal_settings_on_the_same_snapshot_are_reused(counted):
    snapshot = counted[0].scores.snapshot
    fits = Fits()
    first = fits.fit(ModifiedBetaGeoModel(), snapshot)
    assert fits.fit(ModifiedBetaGeoModel(), snapshot) is first
    assert fits.fit(ModifiedBetaGeoModel(ridge=1.0), snapshot) is not first
    other = snapshot.subset(np.arange(len(snapshot)) % 2 == 0)
    assert fits.fit(ModifiedBetaGeoModel(), other) is not first
    value = LifetimeValueModel(
        purchase_model=ModifiedBetaGeoModel(), n_posterior_draws=0, margin=1.0
    )
    assert value.fit(snapshot, fits=fits).purchase_model_ is first
    assert isinstance(fits.fit(GammaGammaModel(), snapshot), GammaGammaModel)
    weighted = value.fit(snapshot, np.ones(len(snapshot)), fits=fits)
    assert weighted.purchase_model_ is not first
    churn = PurchaseChurn(horizon="13W", purchase_model=ModifiedBetaGeoModel())
    assert churn.fit(snapshot, fits=fits).purchase_model_ is first


def test_lifetime_value_rests_on_the_chosen_process_or_on_the_best():
    rows = [("tweedie", 0.7), ("pareto_nbd/own_mean", 0.8), ("bg_nbd", 0.9)]
    board = pd.DataFrame(rows, columns=["candidate", "value"]).assign(metric="purchases_deviance")
    assert process_for_value("bg_nbd/own_mean", board) == "bg_nbd"
    assert process_for_value("tweedie", board) == "pareto_nbd"
    assert process_for_value("tweedie", board.iloc[:1]) == "mbg_nbd"


def test_a_hybrid_fits_no_process_again_that_a_candidate_has_fitted(counted):
    first, second = (one.labelled for one in counted[0].backtest.windows)
    fits = Fits()
    for name in ("mbg_nbd", "bg_nbd", "pareto_nbd"):
        make_candidate(name, "13W").fit(second.snapshot, [first], fits=fits)
    known = len(fits._known)
    hybrid = make_candidate("hybrid", "13W").fit(second.snapshot, [first], fits=fits)
    added = fits._known[known:]
    # At most the process that it corrects, at the cutoff of the training window.
    assert len(added) <= 1
    assert all(snapshot is first.snapshot for snapshot, *_ in added)
    assert any(hybrid.process_.purchase_model_ is fitted for _, _, fitted, _ in fits._known)


def test_a_log_in_place_of_settings_gets_the_right_name():
    import crmml
    from crmml.exceptions import WrongArgumentError

    with pytest.raises(WrongArgumentError, match=r"crmml\.train\(\{\}, log\) takes the defaults"):
        crmml.train(pd.DataFrame({"customer_id": [1]}))


def test_of_many_customers_a_sample_by_their_ids_judges(monkeypatch):
    world = simulate_world(400, seed=4, weeks=70, tables=())
    settings = parse_config(
        {
            "outcome": {"horizon": "13W"},
            "backtest": {"candidates": ["mbg_nbd"], "bootstrap": 20, "max_windows": 1},
        }
    )
    whole = plan.make_plan(settings, open_tables(world.transactions))
    assert plan.plan_judging(whole) is whole
    monkeypatch.setattr(plan, "MOST_JUDGES", 200)
    some = plan.plan_judging(whole)
    turned = plan.make_plan(settings, open_tables(world.transactions.iloc[::-1]))
    assert 150 < len(some.newest) < 250
    its = whole.newest.frame.set_index("customer_id").loc[some.newest.customer_id].reset_index()
    pd.testing.assert_frame_equal(some.newest.frame, its, check_exact=True)
    assert plan.plan_judging(turned).newest.customer_id.equals(some.newest.customer_id)
