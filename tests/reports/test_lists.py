"""Lists for people: one per action and channel, whole, the same bytes, safe in a spreadsheet."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from crmml.reports.lists import Lists
from crmml.reports.page import report
from crmml.reports.workbook import MOST_ROWS, write_workbook
from crmml.scoring.batches import score_in_batches
from crmml.scoring.scorer import open_for
from crmml.storage.bundles import load_bundle
from crmml.storage.scores import LISTS, read_scores, write_scores


@pytest.fixture(scope="module")
def bundle(cdnow_shelf):
    return load_bundle(cdnow_shelf.folder / "models" / "crmml" / "1")


@pytest.fixture(scope="module")
def tables(bundle, cdnow_eighth):
    ids = cdnow_eighth["customer_id"].unique()
    names = [f"=Name {k}" for k in range(len(ids))]
    customers = pd.DataFrame({"customer_id": ids, "name": names})
    return open_for(bundle, {"transactions": cdnow_eighth, "customers": customers})


def _write(bundle, tables, out, size):
    with score_in_batches(bundle, tables, size=size) as found:
        lists = Lists(bundle, tables)
        write_scores(lists.passing(found), out, found.cutoff)
        ahead = found.gather(lists.ahead)
        return lists.write(out, found.cutoff, found.absent, found.allocation, ahead)


@pytest.fixture(scope="module")
def written(bundle, tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("lists")
    return out, _write(bundle, tables, out, 300)


def test_each_recommended_customer_is_in_one_list_with_what_was_served(written):
    out, home = written
    served = read_scores(out, home.name.removeprefix("cutoff=")).set_index("customer_id")
    acts = served[served["recommended_action"] != "no_action"]
    parts = [pd.read_csv(f, dtype={"customer_id": str}) for f in home.glob("actions-*.csv")]
    rows = pd.concat(parts).set_index("customer_id")
    assert sorted(rows.index) == sorted(acts.index)
    assert rows.index.is_unique
    assert len(acts) > 10
    pd.testing.assert_series_equal(
        rows["expected_gain"].sort_index(),
        acts["expected_net_gain"].round(2).sort_index(),
        check_names=False,
    )
    for part in parts:
        assert part["expected_gain"].is_monotonic_decreasing
        assert part["priority"].tolist() == [*range(1, len(part) + 1)]


def test_the_reason_holds_the_customers_own_figures_and_names_run_no_formula(written):
    out, home = written
    served = read_scores(out, home.name.removeprefix("cutoff=")).set_index("customer_id")
    rows = pd.read_csv(next(home.glob("actions-*.csv")), dtype={"customer_id": str})
    first = rows.iloc[0]
    mine = served.loc[first["customer_id"]]
    times = int(mine["frequency"]) + 1
    assert first["why"].startswith("Bought once" if times == 1 else f"Bought {times:,} times")
    assert f"{mine['clv']:,.2f} in 52 weeks" in first["why"]
    assert rows["name"].str.startswith("'=Name").all()


def test_reasons_of_persian_lists_are_persian_with_persian_digits(bundle, tables, written):
    served = read_scores(written[0], written[1].name.removeprefix("cutoff="))
    rows = served[served["recommended_action"] != "no_action"].head(20)
    told = Lists(bundle, tables, "fa")._why(rows)
    assert not told.str.contains("[A-Za-z0-9]").any(), told.iloc[0]
    assert told.str.contains("خریده").all()


def test_the_summary_agrees_with_the_scores_and_readers_of_the_folder_skip_the_lists(written):
    out, home = written
    served = pd.read_parquet(out)
    summary = json.loads((home / "summary.json").read_text())
    assert summary["customers"] == len(served) == sum(t["customers"] for t in summary["tiers"])
    gain = sum(action["expected_gain"] for action in summary["actions"])
    assert gain == pytest.approx(served["expected_net_gain"].sum(), abs=0.01 * len(served))
    assert home.parent.name == LISTS
    worth = {row["group"]: row for row in summary["economics"]}
    assert set(worth) == {*(t["tier"] for t in summary["tiers"] if t["customers"]), "all"}
    assert 0 < worth["all"]["retention"] < 1
    assert worth["all"]["one_point"] > 0
    glossary = pd.read_csv(home / "columns.csv")
    assert set(served.columns) == set(glossary["name"])
    nulls = glossary.loc[glossary["null_because"].notna(), "name"]
    assert served[list(nulls)].isna().all().all()


def test_size_of_batches_changes_no_byte_and_a_second_run_replaces(
    bundle, tables, written, tmp_path
):
    _, home = written
    _write(bundle, tables, tmp_path, 1_000)
    again = _write(bundle, tables, tmp_path, 50)
    assert [f.name for f in again.parent.iterdir()] == [again.name]
    assert {f.name: f.read_bytes() for f in home.iterdir()} == {
        f.name: f.read_bytes() for f in again.iterdir()
    }


def test_beside_a_database_lie_the_same_lists_and_a_report_is_made_of_it(
    bundle, tables, written, tmp_path
):
    _, home = written
    database = tmp_path / "shop.duckdb"
    beside = _write(bundle, tables, database, 300)
    assert beside == tmp_path / "shop_lists" / home.name
    assert {f.name: f.read_bytes() for f in home.iterdir()} == {
        f.name: f.read_bytes() for f in beside.iterdir()
    }
    page = report(database)
    assert page.sections[0].sentences == report(written[0]).sections[0].sentences


def test_the_workbook_opens_holds_text_as_text_and_says_what_it_leaves_out():
    openpyxl = pytest.importorskip("openpyxl")
    long = pd.DataFrame({"customer_id": range(MOST_ROWS + 5), "name": "=1+1"})
    target = io.BytesIO()
    dates = pd.DataFrame({"when": [pd.Timestamp("2020-02-29"), None], "text": ["a", None]})
    tables = {"a very long name of a list/with signs": long, "dates": dates}
    write_workbook(target, tables, pd.Timestamp("2020-01-01"))
    book = openpyxl.load_workbook(target, read_only=True)
    first, second = book.worksheets
    rows = list(first.iter_rows(values_only=True))
    assert rows[1] == (0, "=1+1")
    assert first.cell(2, 2).data_type == "s"
    assert rows[-1][0] == "5 more rows in the CSV file of this name"
    assert next(second.iter_rows(min_row=2, values_only=True))[0] == pd.Timestamp("2020-02-29")


def test_scores_without_tiers_or_actions_give_a_summary_alone(bundle, tmp_path):
    plain = bundle.__class__(bundle.manifest, bundle.predictors[:2])
    lists = Lists(plain)
    lists.add(pd.DataFrame({"customer_id": ["a", "b"], "clv": [1.0, 2.0]}))
    home = lists.write(tmp_path, pd.Timestamp("1998-07-01"), {}, None)
    assert json.loads((home / "summary.json").read_text())["customers"] == 2
    assert lists.tiers is None
