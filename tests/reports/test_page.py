"""The page: figures equal the scores, both languages, nothing from the network, nothing run."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml

import crmml
from crmml.actions.recommendation import REASONS
from crmml.exceptions import ParameterError, StorageError
from crmml.reports.contents import Chart, Grid, Line
from crmml.reports.language import Language, _words
from crmml.reports.lists import Lists
from crmml.reports.page import report
from crmml.scorecard.kpis import KPIS
from crmml.scoring.batches import score_in_batches
from crmml.scoring.contract_outlook import ContractOutlook, ContractTerms
from crmml.scoring.contracts import ContractRisk
from crmml.scoring.labelled import LabelledOutcome
from crmml.scoring.scorer import open_for
from crmml.scoring.segments import ExperienceZone
from crmml.storage.bundles import load_bundle
from crmml.storage.scores import read_scores, write_scores


@pytest.fixture(scope="module")
def folder(cdnow_shelf, cdnow_eighth, tmp_path_factory):
    bundle = load_bundle(cdnow_shelf.folder / "models" / "crmml" / "1")
    tables = open_for(bundle, cdnow_eighth)
    out = tmp_path_factory.mktemp("scores")
    for cutoff in ("1998-04-01", "1998-07-01"):
        with score_in_batches(bundle, tables, cutoff) as found:
            lists = Lists(bundle, tables)
            write_scores(lists.passing(found), out, found.cutoff)
            lists.write(out, found.cutoff, found.absent, found.allocation)
    return out


class Outline(HTMLParser):
    """Collects what an accessible page must have."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.heads = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag not in ("meta", "br", "input", "path", "rect"):
            self.open.append(tag)
        if "id" in known:
            self.ids.append(known["id"])
        if tag in ("link", "img", "iframe") or "src" in known:
            pytest.fail(f"{tag} loads something")
        if tag == "a":
            self.links.append(known["href"])
        if tag in ("h1", "h2"):
            self.heads.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "rect"):
            assert self.open.pop() == tag


@pytest.mark.parametrize("lang", ["en", "fa"])
def test_a_page_is_whole_and_loads_nothing(folder, lang):
    page = report(folder, lang=lang)
    outline = Outline(page.html)
    assert not outline.open
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert outline.heads[0] == "h1"
    assert outline.heads.count("h1") == 1
    assert len(set(outline.ids)) == len(outline.ids)
    assert not re.search(r"https?://", page.html)
    assert f'<html lang="{lang}" dir="{"rtl" if lang == "fa" else "ltr"}">' in page.html
    assert len(page.html.encode()) < 3_000_000


def test_the_first_sentences_say_what_the_scores_hold(folder):
    served = read_scores(folder, "1998-07-01")
    first = report(folder).sections[0].sentences
    assert len(first) == 5
    assert f"The {len(served):,} customers" in first[0]
    assert f"{served['clv'].sum():,.2f} of margin" in first[0]
    best = served[served["value_tier"].isin(["A", "B"])]
    assert f"{(best['churn_probability'] >= 0.5).sum():,} are likelier than not" in first[1]
    acts = served[served["recommended_action"] != "no_action"]
    assert f"{len(acts):,} customers should be contacted" in first[2]
    assert f"{acts['expected_net_gain'].sum():,.2f}" in first[3]
    assert "Since 1998-04-01" in first[4]
    assert "no earlier scores" in report(folder, cutoff="1998-04-01").sections[0].sentences[4]


def test_persian_has_its_digits_dates_and_every_word(folder):
    page = report(folder, lang="fa")
    assert "۱۳۷۷/۰۴/۱۰" in page.html
    said = " ".join(page.sections[0].sentences)
    assert not re.search(r"[0-9]", said)
    words = [
        yaml.safe_load(
            resources.files("crmml.reports").joinpath(f"words_{code}.yaml").read_text("utf-8")
        )
        for code in ("en", "fa")
    ]
    plain = [{key for key in one if not key.startswith("label_")} for one in words]
    assert plain[0] == plain[1]
    for key in plain[0]:
        figures = [set(re.findall(r"\{(\w+)\}", one[key])) for one in words]
        assert figures[0] == figures[1], key


def test_every_declared_column_and_every_note_of_cdnow_has_both_languages(cdnow_shelf, folder):
    bundle = load_bundle(cdnow_shelf.folder / "models" / "crmml" / "1")
    declared = {row["name"]: row["meaning"] for row in bundle.glossary().to_dict("records")}
    more = (
        ContractTerms(),
        ContractRisk(None, "13W", "52W", "30D", None, "90D", 0.3, 0.1),
        ContractOutlook("13W", "52W", 0.3, 0.1),
        LabelledOutcome,
        ExperienceZone(dimensions={"price": "experience_price"}),
    )
    declared |= {o.name: o.meaning for one in more for o in one.outputs if o.served}
    for persian in (Language("fa"), Language("fa", contracts=True)):
        for name, meaning in declared.items():
            assert meaning
            assert re.search("[\u0600-\u06ff]", persian.meaning(name, meaning)), name
            assert "<span" not in persian.meaning(name, meaning), name
    for one in yaml.safe_load(
        resources.files("crmml.reports").joinpath("told_fa.yaml").read_text("utf-8")
    ):
        fields = [set(re.findall(r"\{(\w+)\}", one[code])) for code in ("en", "fa")]
        assert fields[0] == fields[1], one["en"]
        assert "<span" not in Language("fa").told(one["en"])
    needs = [w for kpi in KPIS for w in (kpi.meaning, kpi.needs) if w]
    for text in (*needs, *REASONS.values()):
        assert "<span" not in Language("fa").told(text), text
    sections = {section.key: section for section in report(folder, lang="fa").sections}
    for said in sections["quality"].sentences:  # in Persian, or marked
        assert re.search("[\u0600-\u06ff]", said) or said.startswith('<span lang="en"')
    nulls = [row[1].text for grid in sections["quality"].grids for row in grid.rows]
    assert nulls
    assert not any("<span" in why for why in nulls)


def test_what_has_no_persian_is_marked_as_english(folder):
    persian = Language("fa")
    said = persian.text("of_what", what="<۱>", why=persian.told("Something <new>."))
    assert said == '&lt;۱&gt;: <span lang="en" dir="ltr">Something &lt;new&gt;.</span>'
    assert persian.text("of_what", what="a", why="۱") == "\u2068a\u2069: ۱"  # set apart
    assert persian.told("") == ""
    assert persian.told("mbg_nbd fitted at 1998-07-01") == (
        "\u2068mbg_nbd\u2069 برازش‌شده در \u2068۱۳۷۷/۰۴/۱۰\u2069"
    )


def test_texts_of_users_are_never_run(folder, tmp_path):
    served = read_scores(folder, "1998-07-01").assign(group="<script>alert(1)</script>")
    write_scores(served, tmp_path, "1998-07-01")
    page = report(tmp_path)
    assert "<script>alert" not in page.html
    assert "&lt;script&gt;alert" in page.html
    assert "without the summary" in page.html


def test_the_same_scores_give_the_same_page_and_it_shows_itself(folder):
    page = report(folder)
    assert page.html == report(folder).html
    assert page._repr_html_().startswith("<iframe srcdoc=")
    assert "sections at 1998-07-01" in repr(page)
    assert crmml.report is report


def test_what_is_not_there_is_refused_in_a_sentence(folder, tmp_path):
    with pytest.raises(StorageError, match="no scores at"):
        report(tmp_path)
    with pytest.raises(ParameterError, match="lang"):
        report(folder, lang="de")


def test_the_page_is_logged_with_the_run_of_a_training(cdnow_shelf):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(cdnow_shelf.uri)
    run = client.get_model_version("crmml", "1").run_id
    page = Path(client.download_artifacts(run, "report/report.html")).read_text(encoding="utf-8")
    assert "In five sentences" in page
    assert "One more point of retention would bring" in page  # predicted anew, and from the data
    assert "How long they have been silent" in page
    assert "Figures of the month that began on 1998-06-01" in page


def test_a_line_is_broken_where_nothing_is_known():
    line = Line("x", [1.0, None, 2.0, 3.0], marked=(2,))
    chart = Chart("t", "alt", list("abcd"), [line], Grid("t", ["a"], []))
    ((_, path),) = chart.paths(100.0, 10.0)
    assert path == "M12.5,10.0 M62.5,5.0 L87.5,0.0"
    points = chart.points(line, 100.0, 10.0)
    assert points == [(12.5, 10.0, "a", False), (62.5, 5.0, "c", True), (87.5, 0.0, "d", False)]
    assert np.isfinite(Chart("t", "a", ["x"], [Line("n", [None])], chart.table).bounds()).all()


def test_of_contracts_the_page_says_that_they_end():
    english, persian = Language("en", contracts=True), Language("fa", contracts=True)
    assert english.text("head_churn") == "Contract ends"
    for language in (english, persian):
        for key in ("leaving", "churn_say", "portfolio_note", "portfolio_grid", "head_churn"):
            plain = Language(language.code)
            assert set(re.findall(r"{\w+}", _words(language.code)[f"contract_{key}"])) == set(
                re.findall(r"{\w+}", _words(language.code)[key])
            )
            figures = dict.fromkeys(("best", "likely", "horizon", "value", "share", "mean"), "1")
            said = [one.text(key, customers="1", **figures) for one in (plain, language)]
            assert said[0] != said[1]
    assert english.text("title", date="today") == "Customers on today"


def test_the_page_shows_a_watch_over_the_scores_and_no_customer(folder, tmp_path):
    served = read_scores(folder, "1998-07-01")
    served["customer_id"] = [f"person-{k}" for k in range(len(served))]
    write_scores(served, tmp_path, "1998-07-01")
    window = {"cutoff": "1998-01-01T00:00:00", "customers": 9, "churn_predicted": 0.5,
              "churn_realised": 0.6, "auc": 0.75, "spend_bias": None}  # fmt: skip
    alarm = {"text": "churn was told too low", "do": "retrain", "current": True}
    (tmp_path / "_monitor").mkdir()
    file = tmp_path / "_monitor" / "monitor.json"
    file.write_text(json.dumps({"windows": [window], "alarms": [alarm]}))
    page = report(tmp_path)
    assert "person-" not in page.html
    (section,) = [one for one in page.sections if one.key == "models"]
    assert "crmml score" in section.missing[0]  # no summary here
    shutil.copytree(folder / "_lists" / "cutoff=1998-07-01", tmp_path / "_lists/cutoff=1998-07-01")
    (section,) = [one for one in report(tmp_path, lang="fa").sections if one.key == "models"]
    assert "۱ هشدار" in section.sentences[-2]
    assert "آموزش دوباره" in section.sentences[-1]
    assert [cell.text for cell in section.grids[0].rows[0]][:2] == ["۱۳۷۶/۱۰/۱۱", "۹"]
    file.write_text("{")
    with pytest.raises(StorageError, match="not JSON"):
        report(tmp_path)
