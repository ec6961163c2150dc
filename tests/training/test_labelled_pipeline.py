"""A training on a labelled table: what is refused, what is noted, and ids that may lack."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.data.reading import Source
from crmml.exceptions import DataError, MissingColumnsError, TooLittleDataError
from crmml.training.labelled_pipeline import _too_good

COLUMNS = {"customer_id": "ID", "outcome": "Churn"}
SMALL = {"backtest": {"bootstrap": 20}, "contact": {"customer_value": 500, "incentive": 20}}


def train(table: pd.DataFrame, columns: dict[str, str] | None = None):
    return crmml.train(SMALL, {"labelled": Source(table, columns=columns or COLUMNS)})


def test_rows_without_ids_are_numbered_and_the_contact_is_the_users_own(people):
    result = train(people.drop(columns="ID"), {"outcome": "Churn"})
    assert result.scores.table["customer_id"].tolist() == [*range(1, len(people) + 1)]
    codes = {note.code: note for note in result.notes}
    assert {"no_time", "column_left_out", "choice", "threshold"} <= {*codes}
    assert codes["threshold"].severity == "info"
    assert 0.0 < result.scores.threshold < 0.164
    assert result.gates == {next(iter(result.gates)): True}
    assert result.metrics["served_churn_auc"][1] > 0.6
    assert {"churn", "churn_reliability", "churn_gain"} <= {*result.logged_tables()}
    # contacting nobody earns nothing, and contacting all finds all
    profit = result.logged_tables()["churn_gain"].set_index("contacted")
    assert profit.loc[0.0].tolist() == [0.0, 0.0]
    assert profit["found"].iloc[-1] == 1.0
    assert "grade" in str(result)
    result.plot()
    result.scores.plot()


def test_what_cannot_be_learned_is_refused_in_words(people):
    with pytest.raises(TooLittleDataError, match="all 500 customers of the table left"):
        train(people.assign(Churn="Yes"))
    with pytest.raises(DataError, match="must be 0 or 1"):
        train(people.assign(Churn=np.where(people.index == 3, "Maybe", people["Churn"])))
    with pytest.raises(DataError, match=r"must be unique.*2 rows"):
        train(people.assign(ID=people["ID"].replace("k0002", "k0001")))
    with pytest.raises(DataError, match="must not be missing"):
        train(people.assign(Churn=people["Churn"].where(people.index != 3)))
    empty = people.assign(Calls=None, **{f"field {i}": None for i in range(12)})
    with pytest.raises(TooLittleDataError, match=r"too much is missing .* of all cells are empty"):
        train(empty)
    with pytest.raises(MissingColumnsError, match="customer"):
        train(people, {"customer_id": "customer", "outcome": "Churn"})


def test_weak_leaks_that_know_the_outcome_together_are_named_together():
    rows = pd.DataFrame({f"field {i}": [1.0, -1.0] for i in range(9)} | {"age": [0.01, 0.0]})
    board = pd.DataFrame({"value": [0.97]}, index=pd.MultiIndex.from_tuples([("logistic", "auc")]))
    judged = SimpleNamespace(table=board, chosen="logistic", few_auc=0.86)
    fit: Any = SimpleNamespace(judgement=judged, model=SimpleNamespace(explain=lambda some: some))
    text = _too_good(fit, rows)
    assert all(f"field {i}" in text for i in range(9))
    assert "age" not in text
    judged.few_auc = 0.95
    assert not _too_good(fit, rows)
    judged.few_auc = 0.93
    assert _too_good(fit, rows)  # near 1 a small gain is a large one
    board["value"] = 0.95
    assert _too_good(fit, rows) == ""
