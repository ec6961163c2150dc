"""Worth of retention: identities, and agreement with a simulation in which fewer leave."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.exceptions import MissingColumnsError
from crmml.scorecard.retention_economics import CITED, compute_retention_economics


def _base(n=500, seed=1):
    rng = np.random.default_rng(seed)
    staying = rng.gamma(2.0, 40.0, n)
    table = pd.DataFrame(
        {
            "probability_alive": rng.uniform(0, 1, n),
            "margin_if_active": staying * rng.uniform(0.3, 1.0, n),
            "margin_if_staying": staying,
        }
    )
    return table, pd.Series(rng.choice(list("ABC"), n))


def test_groups_add_up_and_a_point_moves_retention_by_a_point():
    table, groups = _base()
    found = compute_retention_economics(table, groups)
    parts, whole = found.drop(index="all"), found.loc["all"]
    for name in ("customers", "expected", "at_stake", "one_point"):
        assert parts[name].sum() == pytest.approx(whole[name])
    full = found["expected"] + found["at_stake"]
    more = (found["expected"] + found["one_point"]) / full
    assert (more - found["retention"]).tolist() == pytest.approx([0.01] * 4)


def test_a_point_is_what_a_base_brings_of_which_fewer_leave():
    # each customer leaves with the share q of the margin; one point less of it leaves
    table, groups = _base()
    stay, alive = table["margin_if_staying"], table["probability_alive"]
    shifted = table.assign(margin_if_active=table["margin_if_active"] + 0.01 * stay)
    gain = float((alive * (shifted["margin_if_active"] - table["margin_if_active"])).sum())
    found = compute_retention_economics(table, groups)
    assert found.loc["all", "one_point"] == pytest.approx(gain)


def test_nobody_leaves_then_nothing_is_at_stake():
    table, groups = _base()
    table["margin_if_active"] = table["margin_if_staying"]
    found = compute_retention_economics(table, groups)
    assert (found[["at_stake", "one_point", "five_points"]] == 0).all().all()
    assert (found["retention"] == 1).all()


def test_cited_figures_name_their_source_and_missing_columns_are_named():
    assert all(cited.source and cited.low <= cited.high for cited in CITED.values())
    with pytest.raises(MissingColumnsError, match="margin_if_staying"):
        compute_retention_economics(_base()[0].drop(columns="margin_if_staying"), _base()[1])
