"""A served model answers each bad request of the table with 400 and our sentence alone."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from faults.sentence import check_sentence
from faults.served import HTTP, ROWS, Row


@pytest.fixture(scope="module")
def model(cdnow_shelf) -> Iterator[Any]:
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(cdnow_shelf.uri)
    yield mlflow.pyfunc.load_model("models:/crmml/1")
    mlflow.set_tracking_uri("")


@pytest.fixture(scope="module")
def ask(model) -> Iterator[Any]:
    """Ask MLflow's own scoring server, within this process."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    schema = model.metadata.get_input_schema()
    before = dict(os.environ)

    def ask(body: bytes, kind: str = "application/json") -> tuple[int, str]:
        try:
            answer = scoring_server.invocations(body, kind, model, schema)
        except MlflowException as error:  # what the server's route answers with
            return error.get_http_status_code(), error.serialize_as_json()
        return answer.status, str(answer.response)

    yield ask
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.wrong)
def test_the_model_raises_the_exception_of_mlflow(row: Row, model):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as caught:
        model.predict(pd.DataFrame(row.records), params=row.params)
    assert caught.value.get_http_status_code() == 400
    check_sentence(caught.value.message, row.words)
    assert "12.1" not in caught.value.message  # an amount of another row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.wrong)
def test_the_server_answers_400(row: Row, ask):
    status, answer = ask(
        json.dumps({"dataframe_records": row.records, "params": row.params}).encode()
    )
    assert status == 400, answer
    check_sentence(json.loads(answer)["message"], row.words)
    assert "stack_trace" not in answer


@pytest.mark.parametrize(("wrong", "body", "kind"), HTTP, ids=[row[0] for row in HTTP])
def test_the_server_refuses_what_is_no_frame(wrong, body, kind, ask):
    status, answer = ask(body, kind)
    assert status == 400, answer
    assert "Traceback" not in answer
    assert len(answer) < 2000


def test_the_table_is_long_enough():
    from faults.api import ROWS as CALLS
    from faults.command_line import ROWS as COMMANDS

    tables = [[row.wrong for row in rows] for rows in (COMMANDS, CALLS, ROWS)]
    assert all(len(set(names)) == len(names) for names in tables)
    assert sum(map(len, tables)) + len(HTTP) >= 200
