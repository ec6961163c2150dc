"""Bundles and estimators that 0.1 stored still load, and say what they said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.scoring.bundle import FORMAT_VERSION, ScoringBundle
from crmml.scoring.decisions import Actions
from crmml.storage.files import load_bundle, save_bundle

STORED = Path(__file__).parents[1] / "format_1"


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return crmml.load_cdnow(sample=True)


@pytest.mark.parametrize("name", ["newcomer", "hybrid"])
def test_a_bundle_of_0_1_scores_as_it_did(rows, name, tmp_path):
    bundle = load_bundle(STORED / f"bundle_{name}")
    scores = bundle.score(rows, "1998-07-01").set_index("customer_id")
    expected = pd.read_csv(
        STORED / f"scores_{name}.csv",
        dtype={"customer_id": "str"},
        index_col="customer_id",
        keep_default_na=True,
    )
    texts = ["reasons_for", "reasons_against"]  # no reason is an empty text, which CSV cannot tell
    expected[texts] = expected[texts].fillna("")
    new = ["explanation", "break_even_save_rate", "experiment", "control_share"]
    new += ["churn_reasons_for", "churn_reasons_against"]
    of_wallet = ("share_of_wallet", "unmet_need")
    new += [f"{what}{end}" for what in of_wallet for end in ("", "_lower", "_upper")]
    assert [name for name in scores if name not in new] == list(expected)
    # the economics of actions were mended since (docs/adr/0010), so decisions are others
    decided = [output.name for output in Actions.outputs if output.name in expected]
    for column in expected.columns.drop(["model_version", "policy_version", *decided]):
        was, now = expected[column], scores.loc[expected.index, column]
        assert now.isna().tolist() == was.isna().tolist(), column
        known = was.notna()
        if pd.api.types.is_numeric_dtype(was) and not pd.api.types.is_bool_dtype(was):
            given = now[known].to_numpy(dtype=np.float64)
            np.testing.assert_allclose(given, was[known], rtol=1e-9, atol=1e-12, err_msg=column)
        elif pd.api.types.is_datetime64_any_dtype(now):
            assert (now[known] == pd.to_datetime(was[known])).all(), column
        else:
            assert now[known].tolist() == was[known].tolist(), column
    again = load_bundle(save_bundle(bundle, tmp_path / "again"))
    assert again.manifest.format_version == FORMAT_VERSION
    pd.testing.assert_frame_equal(again.score(rows, "1998-07-01"), scores.reset_index())


def test_the_manifest_of_0_1_is_read_by_its_old_names():
    bundle: ScoringBundle = load_bundle(STORED / "bundle_newcomer")
    manifest = bundle.manifest
    assert manifest["created_for_cutoff"] == manifest.cutoff == "1998-07-01 00:00:00"
    assert manifest["columns"] == ["customer_id", "timestamp", "amount", "quantity"]
    assert manifest["cleaning"]["returns"] == "net"
    with pytest.raises(KeyError):
        manifest["nothing"]
