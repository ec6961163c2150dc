"""Reasons add up to the score, and are told in words with the customer's own figures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from crmml.exceptions import ParameterError
from crmml.features.families import FAMILIES
from crmml.features.labels import build_labelled
from crmml.features.windows import rolling_windows
from crmml.models.churn.model import ChurnModel
from crmml.models.churn.process_shares import process_shares, reference_customer
from crmml.models.churn.purchase import PurchaseChurn
from crmml.models.purchase.pareto_nbd import ParetoNBDModel
from crmml.scoring.batches import score_in_batches
from crmml.scoring.churn_reasons import family_importance
from crmml.scoring.outlooks import ChurnRisk
from crmml.scoring.predictors import Moment
from crmml.scoring.scorer import open_for, score, settings_of_snapshot


def with_churn(bundle, **parts):
    """Return the bundle with a changed churn, and of all others what churn reads."""
    served = [replace(p, **parts) if p.name == "churn" else p for p in bundle.predictors]
    return replace(bundle, predictors=tuple(p for p in served if p.name in READ))


READ = ("history", "forecast", "lifetime_value", "churn")


@pytest.fixture(scope="module")
def learned(trained_shop):
    """The bundle of the shop, with trees for its candidates."""
    bundle, tables = trained_shop.bundle, open_for(trained_shop.bundle, trained_shop.tables)
    windows = rolling_windows(
        tables.first_timestamp, tables.last_timestamp, horizon="13W", min_history="30W"
    )
    settings = settings_of_snapshot(bundle.manifest, tables)
    del settings["margins"], settings["channels"]
    history = [build_labelled(tables, window, **settings) for window in windows[-2:]]
    return with_churn(bundle, model=ChurnModel(horizon="13W", max_rounds=20).fit(history))


@pytest.fixture(scope="module")
def scores(learned, trained_shop):
    return score(learned, trained_shop.tables, learned.manifest.cutoff)


def churn_of(scores):
    return scores.table.set_index("customer_id")["churn_probability"]


def test_parts_add_up_to_the_log_odds_of_what_is_served(scores):
    parts = scores.churn_parts()
    assert [*parts] == [*FAMILIES, "baseline", "calibration"]
    assert parts.sum(axis=1).to_numpy() == pytest.approx(logit(churn_of(scores)), abs=1e-9)
    churn = next(p for p in scores.origin.predictors if isinstance(p, ChurnRisk))
    assert isinstance(churn.model, ChurnModel)
    # before the calibration they are the trees' own score
    few = scores.snapshot.subset(np.arange(len(scores.snapshot)) < 5)
    by_feature = churn.model.explain(few)
    by_family = churn.model.explain_by_family(few)
    assert by_family.sum(axis=1).to_numpy() == pytest.approx(by_feature.sum(axis=1), abs=1e-9)
    assert by_family["silence"].to_numpy() == pytest.approx(
        by_feature.filter(like="inactivity").sum(axis=1), abs=1e-9
    )


def test_a_process_is_told_by_frequency_silence_and_age(trained_shop, scores):
    bundle = trained_shop.bundle
    reference = reference_customer(scores.snapshot)
    model = PurchaseChurn(horizon="13W", purchase_model=ParetoNBDModel()).fit(scores.snapshot)
    bundle = with_churn(bundle, model=model, reference=reference, outside=None)
    found = score(bundle, trained_shop.tables, scores.cutoff)
    parts = found.churn_parts()
    assert parts.sum(axis=1).to_numpy() == pytest.approx(logit(churn_of(found)), abs=1e-9)
    assert (parts.loc[:, "rhythm":"other"] == 0.0).all(axis=None)
    assert np.corrcoef(parts["silence"], found.table["inactivity"])[0, 1] > 0.5
    plain = found.table["churn_reasons_for"].str.contains(r"^last bought \d+ days ago; usually")
    assert plain.any()
    own = process_shares(lambda s: s.frame["frequency"].to_numpy() / 100, found.snapshot, (1, 2, 3))
    assert (own[:, 1:3] == 0).all()  # what is not asked adds nothing


def test_reasons_are_own_figures_in_both_languages(learned, trained_shop, scores):
    table = scores.table
    told = table["churn_reasons_for"].dropna()
    assert told.str.split(" | ", regex=False).str.len().between(1, 5).all()
    silent = told[told.str.contains("last bought")]
    days = silent.str.extract(r"last bought ([\d,]+) days")[0].str.replace(",", "").astype(float)
    own = 7 * table.loc[silent.index, "inactivity"]
    assert days.to_numpy() == pytest.approx(own.to_numpy(), abs=0.51)
    assert table["churn_reasons_for"].nunique() > 0.9 * len(table)
    persian = learned.score(trained_shop.tables, scores.cutoff, lang="fa")
    assert not persian["churn_reasons_for"].str.contains("[a-zA-Z0-9]").any()
    assert persian["churn_reasons_for"].str.contains("روز پیش").any()
    with pytest.raises(ParameterError, match="en or fa"):
        learned.score(trained_shop.tables, scores.cutoff, lang="de")


def test_strongest_come_first_with_what_they_add(scores):
    parts = scores.churn_parts()[list(FAMILIES)]
    added = scores.table["churn_reasons_for"].str.extractall(r"\(\+(\d+\.\d\d)\)")[0].astype(float)
    assert added.groupby(level=0).agg(lambda a: a.is_monotonic_decreasing).all()
    strongest = pd.Series(parts.max(axis=1).to_numpy()).round(2)
    first = added.groupby(level=0).first()
    assert first.to_numpy() == pytest.approx(strongest[first.index].to_numpy(), abs=0.011)


def test_importance_of_families_has_intervals_that_do_not_depend_on_the_order(scores):
    parts = scores.churn_parts()
    found = family_importance(parts, n_replicates=100)
    assert found["importance"].is_monotonic_decreasing
    mean = parts[found.index].abs().mean()
    assert found["importance"].to_numpy() == pytest.approx(mean.to_numpy())
    assert (found["lower"] < found["importance"]).all()
    assert (found["importance"] < found["upper"]).all()
    turned = family_importance(parts.iloc[::-1], n_replicates=100)
    pd.testing.assert_frame_equal(turned, found)


def test_batches_tell_the_same(learned, scores):
    tables = scores.origin.tables
    with score_in_batches(learned, tables, scores.cutoff, size=200) as batches:
        table = pd.concat(batches, ignore_index=True)
    assert table["churn_reasons_for"].equals(scores.table["churn_reasons_for"])


def test_an_old_bundle_without_a_reference_says_why(trained_shop, scores):
    old = next(p for p in trained_shop.bundle.predictors if isinstance(p, ChurnRisk))
    moment = Moment(scores.origin.tables, scores.snapshot)
    found = replace(old, reference=None).predict(moment, scores.table.set_index("customer_id"))
    assert [*found] == ["churn_probability"]
    assert "no customer to compare with" in moment.absent["churn_reasons_for"]
