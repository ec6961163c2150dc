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
from crmml.models.churn.outside import OutsideCalibration
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
def history(trained_shop):
    """The two newest closed windows of the shop."""
    bundle, tables = trained_shop.bundle, open_for(trained_shop.bundle, trained_shop.tables)
    windows = rolling_windows(
        tables.first_timestamp, tables.last_timestamp, horizon="13W", min_history="30W"
    )
    settings = settings_of_snapshot(bundle.manifest, tables)
    del settings["margins"], settings["channels"]
    return [build_labelled(tables, window, **settings) for window in windows[-2:]]


@pytest.fixture(scope="module")
def learned(trained_shop, history):
    """The bundle of the shop, with trees for its candidates."""
    model = ChurnModel(horizon="13W", max_rounds=20).fit(history)
    return with_churn(trained_shop.bundle, model=model)


@pytest.fixture(scope="module")
def scores(learned, trained_shop):
    return score(learned, trained_shop.tables, learned.manifest.cutoff)


def churn_of(scores):
    return scores.table.set_index("customer_id")["churn_probability"]


def test_parts_add_up_to_the_log_odds_of_what_is_served(scores):
    parts = scores.churn_parts()
    assert [*parts] == [*FAMILIES, "baseline", "calibration"]
    # at its ends the curve of the calibration steps by a millionth, and scores are rounded
    assert parts.sum(axis=1).to_numpy() == pytest.approx(logit(churn_of(scores)), abs=1e-5)
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


def word_of(model, snapshot, bounds):
    """Return the log-odds of what a process says itself, within bounds."""
    p = model.probability_no_purchase(snapshot, "13W").reindex(snapshot.customer_id)
    return logit(np.clip(p.to_numpy(), *bounds))


def test_a_process_is_told_by_frequency_silence_and_age(trained_shop, scores, history):
    model = PurchaseChurn(horizon="13W", purchase_model=ParetoNBDModel()).fit(history)
    reference = reference_customer(scores.snapshot)
    bundle = with_churn(trained_shop.bundle, model=model, reference=reference, outside=None)
    found = score(bundle, trained_shop.tables, scores.cutoff)
    parts = found.churn_parts()
    served = logit(churn_of(found)).to_numpy()
    assert parts.sum(axis=1).to_numpy() == pytest.approx(served, abs=1e-9)
    curve = model.calibration_["probabilities"]
    word = word_of(model.purchase_model_, found.snapshot, (curve[0], curve[-1]))
    assert parts["calibration"].to_numpy() == pytest.approx(served - word, abs=1e-9)
    assert (parts.loc[:, "rhythm":"other"] == 0.0).all(axis=None)
    plain = found.table["churn_reasons_for"].str.contains(r"^last bought \d+ days ago; usually")
    assert plain.any()


def test_silence_is_held_to_the_own_rhythm(trained_shop, scores):
    frame = scores.snapshot.frame
    model = ParetoNBDModel().fit(scores.snapshot)
    reference = reference_customer(scores.snapshot)

    def say(snapshot):
        return np.asarray(model.probability_no_purchase(snapshot, "13W"))

    found = process_shares(say, scores.snapshot, reference, predicted=say(scores.snapshot))
    word = word_of(model, scores.snapshot, (0.0, 1.0))
    assert found.parts.sum(axis=1) == pytest.approx(word, abs=1e-9)
    frequency, silence, age, base = found.parts.T
    repeated = (frame["frequency"] > 0).to_numpy()
    long = (frame["T"] - frame["recency"] - frame["recency"] / frame["frequency"]).to_numpy()
    assert (np.sign(silence) == np.sign(long))[repeated].all()  # beyond the own gap: for leaving
    assert (age[~repeated] == 0).all()  # of one purchase the age is the silence
    by_age = frame["T"][~repeated].to_numpy().argsort()
    assert (np.diff(silence[~repeated][by_age]) >= -1e-9).all()
    assert base == pytest.approx(base[0])
    assert frequency[frame["frequency"] > 2 * reference[0]].max() < 0
    rare = process_shares(
        lambda s: 0.01 + s.frame["frequency"].to_numpy() / 100, scores.snapshot, (1, 2, 3),
        predicted=0.01 + frame["frequency"].to_numpy() / 100,
    )  # fmt: skip
    assert (rare.parts[:, 1:3] == 0).all()  # what is not asked adds nothing


def test_who_is_no_candidate_is_told_by_the_process_of_lifetime_value(trained_shop, scores):
    outside = OutsideCalibration(1.0, (0.3, 0.9, *[0.1] * 10), 0.05, 0.95, 10, 1)
    bundle = with_churn(trained_shop.bundle, outside=outside)
    found = score(bundle, trained_shop.tables, scores.cutoff)
    parts = found.churn_parts()
    served = logit(churn_of(found)).to_numpy()
    assert parts.sum(axis=1).to_numpy() == pytest.approx(served, abs=1e-9)
    value = next(p.model for p in bundle.predictors if p.name == "lifetime_value")
    word = word_of(value.purchase_model_, found.snapshot, (0.05, 0.95))
    who = (found.snapshot.frame.eval("T - recency") > 13).to_numpy()
    assert 20 < who.sum() < len(who)
    step = parts["calibration"].to_numpy()[who]
    assert step == pytest.approx((served - word)[who], abs=1e-9)
    assert np.abs(step).max() <= 2 * logit(0.95)  # no larger than the range of what is served


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
