"""A bundle that was edited and signed anew is refused in one sentence, or gives finite scores."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import CrmmlError
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.predictors import Moment, predict_all
from crmml.scoring.scorer import Scores, score
from faults.edited import Edit, edited, edits
from faults.sentence import check_sentence

N_EDITS = 50


def _asker(key: Any) -> Any:
    """Return the name of the predictor that shares something by a key."""
    return key[0] if isinstance(key, tuple) else key


class Searched:
    """A bundle, and one customer whom it has scored."""

    def __init__(self, folder: Path, tables: dict[str, pd.DataFrame]) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        bundle = ScoringBundle.from_files(self.files)
        first = tables["transactions"]["customer_id"].iloc[0]
        of_one = {
            name: table[table["customer_id"] == first] if "customer_id" in table else table
            for name, table in tables.items()
        }
        scored = score(bundle, of_one, bundle.manifest.cutoff, stored_prices=True)
        assert isinstance(scored, Scores)
        self.tables, self.base = scored.origin.tables, scored.base
        self.predictors = {one.name: one for one in scored.origin.predictors}
        moment = Moment(self.tables, self.base)
        predict_all([*self.predictors.values()], moment)
        self.shared = moment._shared

    def scored(self, edit: Edit) -> pd.DataFrame:
        """Read the edited bundle, and score the customer with what was edited of it."""
        bundle = ScoringBundle.from_files(edited(self.files, edit))
        changed = {one.name: one for one in bundle.predictors if f"{one.name}.json" == edit.file}
        # What the others ask of the data they have asked before; what was edited asks anew.
        known = {key: value for key, value in self.shared.items() if _asker(key) not in changed}
        moment = Moment(self.tables, self.base, _shared=known)
        return predict_all([*(self.predictors | changed).values()], moment)

    def wrong(self, edit: Edit) -> str | None:
        """Return what an edit brings about that it must not."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table = self.scored(edit)
        except CrmmlError as error:
            check_sentence(str(error), ())
            return None
        except Exception as error:
            return f"{edit}: {type(error).__name__}: {error!s:.200}"
        numbers = table.select_dtypes("number").astype(float).to_numpy()
        return f"{edit}: infinite scores" if np.isinf(numbers).any() else None


@pytest.fixture(scope="module")
def of_processes(cdnow_shelf: Any, cdnow_eighth: pd.DataFrame) -> Searched:
    return Searched(cdnow_shelf.folder / "models" / "crmml" / "1", {"transactions": cdnow_eighth})


@pytest.fixture(scope="module")
def of_trees(trained_shop: Any) -> Searched:
    return Searched(trained_shop.folder, trained_shop.tables)


@pytest.mark.parametrize(
    ("which", "most"),
    [
        ("of_processes", N_EDITS),
        ("of_trees", N_EDITS // 5),  # scoring by trees takes ten times as long
        pytest.param("of_trees", N_EDITS, marks=pytest.mark.torture),
    ],
)
def test_no_edit_brings_about_a_foreign_exception(
    which: str, most: int, request: pytest.FixtureRequest
):
    searched = request.getfixturevalue(which)
    every = random.Random(1).sample(edits(searched.files), N_EDITS)[:most]
    assert [found for found in map(searched.wrong, every) if found] == []


FOUND = [
    ("churn.json", ("model", "state", "calibration_", "probabilities"), "gone"),
    ("churn.json", ("model", "state", "calibration_"), "1e300"),
    ("churn.json", ("outside", "coefficients"), "half of it"),
    ("churn.json", ("outside", "highest"), "an empty mapping"),
    ("actions.json", ("policy", "holdout_share"), "None"),
    ("actions.json", ("policy", "seed"), "an empty list"),
    ("forecast.json", ("model", "state", "purchase_model_", "state", "params_"), "half of it"),
    ("forecast.json", ("model", "state", "purchase_model_", "state", "params_", "r"), "gone"),
    ("forecast.json", ("model", "state", "purchase_model_", "state", "first_"), "None"),
    ("forecast.json", ("model", "state", "spend_model_", "state", "params_", "q"), "text"),
    ("forecast.json", ("model", "state", "purchase_model_", "state", "calendar_"), "-1"),
    ("loyalty.json", ("model", "state", "peers_"), "text"),
    ("loyalty.json", ("model", "settings", "num_threads"), "an empty mapping"),
    ("profit.json", ("margin",), "None"),
    ("tiers.json", ("segments", "pareto_shares", 0), "an empty list"),
]
"""What 0.2 scored with, and ended in a foreign exception."""


@pytest.mark.parametrize(("file", "place", "how"), FOUND)
def test_the_file_and_the_value_are_named(file, place, how, of_processes):
    with pytest.raises(CrmmlError, match=file) as caught:
        of_processes.scored(Edit(file, place, how))
    named = [str(key) for key in place if str(key) in str(caught.value)]
    assert named, str(caught.value)


def test_no_edit_of_a_labelled_bundle_brings_about_a_foreign_exception(labelled_shelf, people):
    folder = labelled_shelf.folder / "models" / "crmml" / "1"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    rows, refused = people.head(3).drop(columns="Churn"), 0
    for edit in random.Random(1).sample(edits(files), N_EDITS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table = ScoringBundle.from_files(edited(files, edit)).score(rows)
        except CrmmlError as error:
            check_sentence(str(error), ())
            refused += 1
        else:
            assert table["churn_probability"].between(0, 1).all(), str(edit)
    assert refused > N_EDITS / 2
