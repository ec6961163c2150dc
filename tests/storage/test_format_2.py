"""A bundle that 0.2 stored still loads, and says what it said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import crmml
from crmml.storage.bundles import load_bundle

STORED = Path(__file__).parents[1] / "format_2"


def test_a_bundle_of_0_2_scores_as_it_did():
    bundle = load_bundle(STORED / "bundle")
    scores = bundle.score(crmml.load_cdnow(sample=True), "1998-07-01").set_index("customer_id")
    expected = pd.read_csv(STORED / "scores.csv", dtype={"customer_id": str}, index_col=0)
    assert len(expected) > 200
    for column in expected:
        was, now = expected[column], scores.loc[expected.index, column]
        if pd.api.types.is_numeric_dtype(was):
            np.testing.assert_allclose(now.to_numpy(np.float64), was, rtol=1e-9, atol=1e-12)
        else:
            assert now.tolist() == was.tolist(), column
