"""Rows of a labelled table: scored alone as in a batch, from files as from frames, or refused."""

from __future__ import annotations

import pandas as pd
import pytest

import crmml
from crmml.exceptions import (
    CrmmlError,
    DataError,
    MissingColumnsError,
    ParameterError,
    UnlikeTrainingError,
    UnlikeTrainingWarning,
)
from crmml.scoring.bundle import ScoringBundle
from crmml.storage.bundles import load_bundle
from crmml.tracking.runs import input_example, signature


@pytest.fixture(scope="module")
def bundle(labelled_shelf):
    return load_bundle(labelled_shelf.folder / "models" / "crmml" / "1")


@pytest.fixture(scope="module")
def scores(bundle, people):
    return crmml.score(bundle, people.drop(columns="Churn"))


def test_a_row_alone_gets_what_it_gets_in_the_file(labelled_shelf, bundle, people, scores):
    alone = crmml.score(bundle, people.iloc[[7]]).table
    expected = scores.table[scores.table["customer_id"] == "k0007"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected)
    file = crmml.score(bundle, labelled_shelf.folder / "people.csv").table
    pd.testing.assert_frame_equal(file, scores.table)
    renamed = people.rename(columns={"ID": "customer_id"})
    pd.testing.assert_frame_equal(crmml.score(bundle, renamed).table, scores.table)


def test_it_is_stored_as_plain_files(bundle, people, scores):
    again = ScoringBundle.from_files(bundle.to_files())
    assert again.version == bundle.version
    assert again.manifest.kind == "labelled"
    pd.testing.assert_frame_equal(again.score(people), scores.table)
    assert list(bundle.glossary()["name"]) == list(scores.table)


def test_mlflow_is_told_the_columns_of_the_table(bundle):
    told = signature(bundle, input_example(bundle))
    assert told.inputs.input_names() == ["ID", "Calls", "Contract", "Since"]
    assert "churn_probability" in told.outputs.input_names()


def test_reasons_are_cells_and_add_up(scores):
    one = scores.explain("k0003")
    assert one["adds"].abs().is_monotonic_decreasing
    row = scores.table.set_index("customer_id").loc["k0003"]
    assert str(row["churn_reasons"]).startswith(str(one.index[0]))
    with pytest.raises(CrmmlError, match="not among the rows"):
        scores.explain("nobody")


def test_rows_unlike_the_training_are_told(bundle, people):
    odd = people.head(5).drop(columns="Since").assign(Contract="weekly")
    with pytest.warns(UnlikeTrainingWarning, match="Since"):
        crmml.score(bundle, odd)
    with pytest.raises(UnlikeTrainingError, match="Since"):
        crmml.score(bundle, odd, strict=True)


def test_a_date_of_long_ago_is_a_date(bundle, people):
    old = people.head(3).assign(Since="0001-01-01")
    assert crmml.score(bundle, old).table["churn_probability"].between(0, 1).all()


def test_what_cannot_be_scored_is_refused(bundle, people):
    with pytest.raises(DataError, match=r"must be unique.*2 rows"):
        crmml.score(bundle, pd.concat([people.head(3), people.head(1)]))
    with pytest.raises(DataError, match="at least one row"):
        crmml.score(bundle, people.head(0))
    with pytest.raises(MissingColumnsError, match="ID"):
        crmml.score(bundle, people.drop(columns="ID"))
    with pytest.raises(ParameterError, match="no time"):
        crmml.score(bundle, people, "2024-01-01")
    with pytest.raises(ParameterError, match="plans must be left out"):
        crmml.score(bundle, people, plans=people)
    with pytest.raises(CrmmlError, match="no history"):
        crmml.explain(bundle, people, "k0001")
