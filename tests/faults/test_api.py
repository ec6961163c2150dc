"""The Python API raises an error of its own for each bad call of the table, with one sentence."""

from __future__ import annotations

from typing import Any

import pytest

import crmml
from crmml.exceptions import CrmmlError
from faults.api import ROWS, Row
from faults.sentence import check_sentence


@pytest.fixture(scope="module")
def model(cdnow_eighth) -> Any:
    from crmml.models import BetaGeoModel

    return BetaGeoModel().fit(crmml.build_snapshot(cdnow_eighth, "1997-10-01"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.wrong)
def test_the_api_raises_its_own_error(row: Row, cdnow_eighth, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CrmmlError) as caught:
        row.call(cdnow_eighth, model)
    check_sentence(str(caught.value), row.words)
    assert [*tmp_path.iterdir()] == []
