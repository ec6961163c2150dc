"""Scorecard, control charts and economics in the page: a planted change is told with its tier."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crmml.data.tables import open_tables
from crmml.reports.business import ALL, business_sections, measure_business
from crmml.reports.economics import _own
from crmml.reports.language import Language
from crmml.reports.page import report
from crmml.reports.reading import read_reported
from crmml.scorecard.retention_costs import RetentionCosts
from crmml.scorecard.retention_economics import CITED
from crmml.storage.scores import LISTS, write_scores

START = pd.Timestamp("2022-01-01")


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    """Two tiers buy monthly at random; from month 18 on tier B loses two in five of its buyers."""
    rng = np.random.default_rng(4)
    months = pd.date_range(START, periods=26, freq="MS")
    ids = np.arange(1, 1401)
    tiers = np.where(ids <= 600, "A", "B")
    rows = []
    for k, month in enumerate(months):
        buys = rng.uniform(size=len(ids)) < np.where((tiers == "B") & (k >= 18), 0.30, 0.50)
        rows.append(pd.DataFrame({
            "customer_id": ids[buys], "timestamp": month + pd.Timedelta(days=3),
            "amount": rng.gamma(4, 5, buys.sum()).round(2) + 0.01,
        }))  # fmt: skip
    log = pd.concat(rows, ignore_index=True)
    out = tmp_path_factory.mktemp("company")
    for cutoff in (months[1], months[-1]):
        scores = pd.DataFrame({"customer_id": ids, "value_tier": tiers, "clv": 10.0,
                               "churn_probability": 0.4})  # fmt: skip
        write_scores(scores, out, cutoff)
    return out, log


def test_the_change_is_found_in_its_tier_and_told(company):
    out, log = company
    page = report(out, data=log)
    sections = {section.key: section for section in page.sections}
    told = sections["control"].sentences[1:]
    fell = [said for said in told if said.startswith("Retention (B) fell from ")]
    assert fell, told
    assert "from 2023-07-01 on" in fell[0] or "from 2023-08-01 on" in fell[0]
    assert any(said.startswith("Penetration (all) fell from 51") for said in told)
    assert not any(
        said.startswith("Penetration (B)") for said in told
    )  # a tier thins out by itself
    assert not any("(A)" in said for said in told)
    stories = {story.title: dict(story.steps) for story in sections["control"].stories}
    assert list(stories["Retention (all)"]) == [
        "Define",
        "Measure",
        "Analyse",
        "Improve",
        "Control",
    ]
    assert stories["Penetration (all)"]["Analyse"] == ["By value tier, what changed is B (of 2)."]
    assert "<svg" in page.html
    assert {grid.title for grid in sections["scorecard"].grids} >= {"Financial", "Marketing"}
    (triangle,) = sections["cohorts"].grids
    assert len(triangle.rows) >= 2
    assert triangle.rows[0][2].text.endswith("%")
    assert triangle.rows[-1][-1].text == ""  # not lived through yet
    red = [cell for grid in sections["scorecard"].grids for row in grid.rows for cell in row
           if cell.tone == "bad"]  # fmt: skip
    assert red


def test_figures_of_all_are_those_of_the_log(company):
    out, log = company
    measured, period = measure_business(read_reported(out), open_tables(log))
    assert period == "month"
    whole = measured.xs(ALL, level="group")
    inside = log[log["timestamp"].between("2022-02-01", "2024-01-31")]  # January began unseen
    assert whole["revenue"].sum() == pytest.approx(inside["amount"].sum())


def test_without_data_or_history_the_page_says_what_it_needs(company, tmp_path):
    out, log = company
    of, w = read_reported(out), Language("en")
    parts = business_sections(of, w, None)
    assert [part.key for part in parts] == ["scorecard", "control", "economics"]
    assert "--config" in parts[0].missing[0]
    first = read_reported(out, pd.Timestamp("2022-02-01"))
    short = business_sections(first, w, open_tables(log))
    assert "earlier cutoff" in " ".join(short[0].sentences)
    assert any("more than eight periods" in why for why in short[1].missing)
    assert not (out / LISTS).exists()
    assert parts[2].missing


def test_a_newest_month_without_contacts_has_no_figures_by_channel(company):
    out, log = company
    old = log[log["timestamp"] < "2023-06-01"].drop(columns="amount")
    old = old.assign(kind="contact", channel="phone", cost=1.0)
    tables = open_tables({"transactions": log, "interactions": old})
    scorecard, *_ = business_sections(read_reported(out), Language("en"), tables)
    assert any("by channel" in why for why in scorecard.missing)


def test_costs_computed_from_the_tables_stand_beside_those_cited():
    rows = {name: [4.0, 3.0, 5.0, ""] for name in CITED} | {"people_told": [*[np.nan] * 3, "more"]}
    table = pd.DataFrame.from_dict(
        rows, orient="index", columns=["here", "lower", "upper", "needs"]
    )
    figures = {
        name: _own(name, [], Language("en"), RetentionCosts(table, "13W"))
        for name in ("acquire_over_keep", "people_told")
    }
    assert figures == {"acquire_over_keep": "4.00 (3.00–5.00)", "people_told": "not measured here"}
