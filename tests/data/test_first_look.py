"""The first page: one screen of a file on the terminal, as JSON, and in a notebook."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

import crmml
from crmml.cli import jobs
from crmml.config import load_config
from crmml.data.first_look import ReadTables, take_look
from crmml.data.mapping import propose_tables
from crmml.data.settings import Policies
from crmml.data.tables import open_tables
from crmml.exceptions import DataError, MissingColumnsError, ParameterError, TooLittleDataError
from crmml.scoring.manifest import Manifest
from crmml.scoring.scorer import open_for

N = 150
RNG = np.random.default_rng(3)
SHOP = pd.DataFrame(
    {
        "Bestellung": [f"B{i}" for i in range(N)],
        "Kunde": [f"K{i:02d}" for i in RNG.integers(0, 40, N)],
        "Datum": (pd.Timestamp("2023-01-02") + pd.to_timedelta(np.arange(N) * 2, "D")).strftime(
            "%Y-%m-%d"
        ),
        "Betrag": RNG.lognormal(3, 0.5, N).round(2),
        "Status": np.where(np.arange(N) % 5 == 0, "storniert", "bezahlt"),
    }
)
PAID = SHOP[SHOP["Status"] == "bezahlt"]


@pytest.fixture
def file(tmp_path):
    SHOP.to_csv(tmp_path / "shop.csv", index=False, sep=";")
    return tmp_path / "shop.csv"


def test_init_prints_one_screen_and_each_doubt_with_its_line(file, tmp_path, capsys):
    out = tmp_path / "job.yaml"
    jobs.init([str(file)], out, table=None, force=False)
    page = capsys.readouterr().out
    assert "shop.csv is the table transactions" in page
    assert f"{PAID['Kunde'].nunique()} customers" in page
    assert f"revenue {PAID['Betrag'].sum():,.2f}" in page
    assert "Ten rows, as understood" in page
    assert 'data.transactions.keep: {Status: ["bezahlt"]}' in page
    assert len(page.splitlines()) < 50
    job = yaml.safe_load(out.read_text())
    assert job["data"]["transactions"]["keep"] == {"Status": ["bezahlt"]}
    jobs.check(load_config(out))
    page = capsys.readouterr().out
    assert "can be fitted: purchases, value and tiers" in page
    assert "a column margin or cost would bring most" in page
    assert "policy keep=the values named: 30 lines left out" in page


def test_both_speak_json(file, tmp_path, capsys):
    out = tmp_path / "job.yaml"
    jobs.init([str(file)], out, table=None, force=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    (table,) = told["tables"]
    assert table["settled"]
    assert table["columns"]["customer_id"]["column"] == "Kunde"
    assert table["facts"]["revenue"] == pytest.approx(PAID["Betrag"].sum())
    assert len(table["rows"]) == 10
    assert table["doubts"][0]["line"].startswith("data.transactions.keep")
    jobs.check(load_config(out), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["purchases"] == len(PAID)
    assert told["reach"].startswith("can be fitted")


def test_what_is_left_open_is_asked_in_json_and_written_ready_to_uncomment(tmp_path, capsys):
    frame = SHOP.rename(columns={"Kunde": "a"}).assign(b=SHOP["Kunde"].str[-1] + "x")
    frame.to_csv(tmp_path / "shop.csv", index=False)
    jobs.init([str(tmp_path / "shop.csv")], tmp_path / "j.yaml", table=None, force=False,
              as_json=True)  # fmt: skip
    told = json.loads(capsys.readouterr().out)
    assert told["choose"] == ["data.transactions.columns.customer_id"]
    (table,) = told["tables"]
    assert not table["settled"]
    assert set(table["choose"]["customer_id"]) == {"a", "b"}
    with pytest.raises(MissingColumnsError, match="customer_id is still to be chosen"):
        jobs.check(load_config(tmp_path / "j.yaml"))


def test_a_notebook_reads_a_file_or_a_frame_and_shows_the_screen(file):
    for tables in (crmml.read(file), crmml.read(SHOP)):
        assert isinstance(tables, ReadTables)
        assert tables.counts == {"transactions": len(PAID)}
        shown = tables._repr_html_()
        assert "is the table transactions" in shown
        assert "<code>data.transactions.keep" in shown
    snapshot = crmml.build_snapshot(crmml.read(SHOP), "2023-09-01")
    assert len(snapshot.frame) == PAID.loc[PAID["Datum"] < "2023-09-01", "Kunde"].nunique()


def test_a_column_by_hand_and_a_choice_that_is_open():
    odd = SHOP.rename(columns={"Kunde": "a"}).assign(b=SHOP["Kunde"].str[-1] + "x")
    tables = crmml.read(odd)
    assert "b" in tables._repr_html_()
    with pytest.raises(DataError, match=r"customer_id must be chosen, as in crmml.read"):
        _ = tables.transactions
    tables = crmml.read(odd, customer_id="a")
    assert tables.transactions.customer_id.nunique().execute() == PAID["Kunde"].nunique()
    with pytest.raises(MissingColumnsError, match="'nobody'"):
        crmml.read(odd, customer_id="nobody")
    with pytest.raises(ParameterError, match="'costumer'"):
        crmml.read(odd, costumer="a")
    plain = crmml.read(SHOP, policies=Policies(returns="drop"), keep={"Status": ["storniert"]})
    assert plain.counts == {"transactions": N - len(PAID)}


def test_a_log_in_which_hardly_anybody_comes_back_is_refused_unless_told(tmp_path):
    frame = SHOP.assign(Kunde=[f"K{max(i, 1)}" for i in range(N)]).drop(columns="Status")
    frame.to_csv(tmp_path / "shop.csv", index=False)
    jobs.init([f"transactions={tmp_path / 'shop.csv'}"], tmp_path / "j.yaml", table=None,
              force=False)  # fmt: skip
    with pytest.raises(TooLittleDataError, match=r"of 149 buyers only 1 \(0.7%\) bought on a sec"):
        jobs.check(load_config(tmp_path / "j.yaml"))
    jobs.check(load_config(tmp_path / "j.yaml", ["data.few_repeats=keep"]))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"customer": ["a", "b"] * 20} | {f"2023-{m:02}": [1.5] * 40 for m in range(1, 6)},
         "wide table: one row per customer, one column per period"),
        ({"date": pd.date_range("2023-01-01", periods=40).strftime("%Y-%m-%d"),
          "revenue": np.arange(40) + 0.5, "orders": np.arange(40) % 7},
         "table of totals: no 'date' repeats"),
        ({"Respondent ID": range(40), "answer": ["good", "bad"] * 20,
          "date": ["2023-01-02", "2023-01-03"] * 20}, "it is a survey: one row per answer"),
    ],
)  # fmt: skip
def test_tables_that_are_no_log_are_named_and_led_to_their_door(frame, words, tmp_path):
    pd.DataFrame(frame).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=words) as refused:
        crmml.read(tmp_path / "t.csv")
    assert len(str(refused.value)) < 2000


def test_a_labelled_table_says_what_can_be_learned_from_it(tmp_path, capsys):
    people = pd.DataFrame({"customer_id": range(40), "tenure": range(40), "churned": [0, 1] * 20})
    people.to_csv(tmp_path / "t.csv", index=False)
    jobs.init([str(tmp_path / "t.csv")], tmp_path / "j.yaml", table=None, force=False)
    jobs.check(load_config(tmp_path / "j.yaml"))
    page = " ".join(capsys.readouterr().out.split())
    assert "t.csv is the table labelled" in page
    assert "no model can be trained: the labelled table has too few customers: 40" in page


def test_the_mapping_travels_with_the_bundle(file, tmp_path):
    (proposal,) = propose_tables([(str(file), None)])
    trained = open_tables(proposal.to_source())
    reading = json.loads(json.dumps({"transactions": trained.facts("transactions").reading}))
    assert reading["transactions"]["columns"]["customer_id"] == "Kunde"
    manifest = Manifest(cutoff="2023-06-01", reading=reading)
    bundle = SimpleNamespace(manifest=Manifest.from_json(manifest.model_dump_json().encode()))
    # another file of that kind, with another delimiter; then a frame; then one in our own names
    SHOP.head(100).to_csv(tmp_path / "new.csv", index=False, sep="|")
    few = PAID[PAID["Bestellung"].isin(SHOP["Bestellung"].head(100))]
    ours = few.rename(columns={"Kunde": "customer_id", "Datum": "timestamp", "Betrag": "amount"})
    for data in (tmp_path / "new.csv", SHOP.head(100), ours, ours.drop(columns="Status")):
        assert open_for(bundle, data).counts == {"transactions": len(few)}
    with pytest.raises(MissingColumnsError, match="'Kunde'"):
        open_for(bundle, few.drop(columns="Kunde"))


def test_a_time_zone_that_is_needed_is_said_to_be_open(tmp_path):
    lines = [
        f'{{"customer": "c{i % 7}", "order_ts": "2024-0{1 + i % 9}-03T10:0{i % 10}:00Z", '
        f'"total": {i}.5}}'
        for i in range(40)
    ]
    path = tmp_path / "orders.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    (proposal,) = propose_tables([(path, None)])
    look = take_look(proposal)
    assert "data.transactions.timezone must be given first" in look.why_not
    assert look.facts["customers"] == 7
    assert take_look(proposal, "Europe/Berlin").why_not == ""


@pytest.mark.parametrize(
    ("dates", "grain"),
    [
        ([f"2024-{m:02}-01" for m in range(1, 10)], "month"),
        (["2023-03-31", "2023-06-30", "2023-09-30", "2023-12-31", "2024-03-31"], "quarter"),
        ([f"Mai {y}" for y in range(2015, 2024)], "month"),
        (["Q1 2024", "Q2 2024", "Q3 2024", "Q4 2024"], "quarter"),
        ([f"2024{m:02}" for m in range(1, 10)], "month"),
        ([f"2024-01-{d:02}" for d in range(1, 10)], "day"),
        (["2024-01-01", "2024-02-01", "2024-03-01"], "day"),  # three may be chance
    ],
)
def test_months_and_quarters_are_proposed_as_the_grain(dates, grain):
    rows = [(f"c{i % 5}", date, 10.5 + i) for i, date in enumerate(dates * 6)]
    frame = pd.DataFrame(rows, columns=["customer", "date", "amount"])
    (proposal,) = propose_tables([(frame, "transactions")])
    assert proposal.grain == grain
