"""Horizons side by side: rates are those of the labels, and one that is too short is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml.config import parse_config
from crmml.data.tables import open_tables
from crmml.exceptions import ParameterError
from crmml.features.horizons import ADAPTIVE, refuse_short_horizon
from crmml.models.churn.history import find_candidates
from crmml.training.plan import make_plan


def test_the_newest_rate_is_that_of_the_labels(cdnow_tables):
    from crmml.features.labels import build_labelled
    from crmml.features.windows import Window

    table = crmml.compare_horizons(cdnow_tables, horizons=["13W", "52W"])
    part = build_labelled(cdnow_tables, Window("1998-04-01", "13W"), behaviour=False)
    near = part.subset(find_candidates(part.snapshot, "13W", 4.0))
    assert table.loc["13W", "customers"] == pytest.approx(len(near), rel=0.02)
    assert table.loc["13W", "base_rate"] == pytest.approx(near.outcomes["churned"].mean(), abs=0.01)
    assert (
        table.loc["13W", "lowest"] <= table.loc["13W", "base_rate"] <= table.loc["13W", "highest"]
    )
    assert table.loc["52W", "windows"] == 0
    assert table["too_short"].sum() == 0


def test_the_own_gap_follows_each_customer_and_a_short_horizon_is_refused_with_figures():
    days = {"often": range(0, 600, 10), "seldom": range(0, 600, 60)}
    rows = [
        (f"{kind} {i}", pd.Timestamp("2022-01-01") + pd.Timedelta(days=day + i % 7), 9.0)
        for kind, every in days.items()
        for i in range(30)
        for day in every
    ]
    log = pd.DataFrame(rows, columns=["customer_id", "timestamp", "amount"])
    table = crmml.compare_horizons(log, horizons=["4W"])
    # within four weeks every seldom buyer seems lost; by the own gap nobody is
    assert table.loc["4W", "base_rate"] > 0.2
    assert table.loc[ADAPTIVE, "base_rate"] == 0
    assert np.isfinite(table.loc[ADAPTIVE, "days"])
    with pytest.raises(ParameterError, match=r"median gap .* 1\.4 weeks \(of 2,040 gaps\)"):
        refuse_short_horizon(open_tables(log), pd.Timestamp("2024-01-01"), "1W")
    with pytest.raises(ParameterError, match=r"outcome\.horizon must be at least the median gap"):
        make_plan(parse_config({"outcome": {"horizon": "1W"}}), open_tables(log))


def test_without_a_second_purchase_there_is_no_gap_to_be_short_of():
    log = pd.DataFrame(
        {"customer_id": ["a", "b"], "timestamp": ["2022-01-01", "2022-06-01"], "amount": [1, 2]}
    )
    table = crmml.compare_horizons(log, horizons=["4W"])
    assert table["per_gap"].isna().all()
    assert table.index.tolist() == ["4W"]
    refuse_short_horizon(open_tables(log), pd.Timestamp("2024-01-01"), "1W")
