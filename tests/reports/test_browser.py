"""The report in a real browser: no errors in the console, both languages, three widths."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from crmml.reports.page import report
from crmml.storage.scores import write_scores

pytestmark = pytest.mark.browser

WIDTHS = (360, 800, 1400)


@pytest.fixture(scope="module")
def browser():
    """Start headless Chromium; skip with the reason where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: make browser")
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if driver is None or chromium is None:
        pytest.skip("needs Chromium and its driver: make browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    window = webdriver.Chrome(options=options, service=service)
    yield window
    window.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    rng = np.random.default_rng(2)
    out = tmp_path_factory.mktemp("pages")
    ids = np.arange(500)
    months = pd.date_range("2022-01-01", periods=20, freq="MS")
    log = pd.DataFrame(
        {
            "customer_id": rng.choice(ids, 6000),
            "timestamp": rng.choice(months, 6000),
            "amount": rng.gamma(3, 10, 6000).round(2) + 0.01,
        }
    )
    for cutoff in (months[2], months[-1]):
        scores = pd.DataFrame(
            {
                "customer_id": ids,
                "value_tier": rng.choice(list("ABCDE"), 500),
                "clv": rng.gamma(1, 50, 500),
                "churn_probability": rng.uniform(0, 1, 500),
                "lifecycle_stage": rng.choice(["retain", "win_back"], 500),
                "group": [f"group {k % 20}" for k in ids],
            }
        )
        write_scores(scores, out, cutoff)
    treated = pd.DataFrame(
        {
            "customer_id": ids,
            "timestamp": pd.Timestamp("2022-10-05"),
            "action": np.where(ids % 2, "a long name of an action", "no_action"),
            "propensity": 0.5,
            "experiment": "first",
            "cost": 1.0,
        }
    )
    (out / "_lists" / "cutoff=2023-08-01").mkdir(parents=True)
    economics = [{"group": "all", "customers": 500, "expected": 9e5, "at_stake": 1e5,
                  "retention": 0.9, "one_point": 1e4, "five_points": 0.06}]  # fmt: skip
    worths = [{"input": name, "low": 8e3, "high": 12e3, "kept_low": 5.0, "kept_high": 5.0}
              for name in ("base", "margin", "share_active", "margin_if_staying")]  # fmt: skip
    summary = {"horizon": "13W", "economics_horizon": "13W", "economics": economics,
               "sensitivity": worths, "churn_drivers": {"silence": [0.8, 0.7, 0.9]}}  # fmt: skip
    (out / "_lists" / "cutoff=2023-08-01" / "summary.json").write_text(json.dumps(summary))
    data = {"transactions": log, "treatments": treated}
    return {lang: report(out, data=data, lang=lang).save(out, lang) for lang in ("en", "fa")}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lang", ["en", "fa"])
def test_a_page_opens_without_errors_and_nothing_runs_over_the_edge(browser, pages, lang, width):
    browser.set_window_size(width, 900)
    browser.get(pages[lang].as_uri())
    assert browser.get_log("browser") == []
    # headless Chromium has a least width of its own, so the page is held against the window
    inside, whole = browser.execute_script(
        "return [document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    )
    assert whole <= inside + 1
    assert browser.execute_script("return document.dir") == ("rtl" if lang == "fa" else "ltr")
    for drawn in (".story .plot path.line", ".map path.arrow", ".bar .track i"):
        assert browser.find_elements("css selector", drawn), drawn
    # no box of the map is narrower than what is written in it
    script = """return [...document.querySelectorAll('.map rect')].map(box => {
        const r = box.getBoundingClientRect(); let n = box.nextElementSibling, least = 9;
        while (n && n.tagName === 'text') { const t = n.getBoundingClientRect();
          least = Math.min(least, t.left - r.left, r.right - t.right); n = n.nextElementSibling; }
        return least; })"""
    assert min(browser.execute_script(script)) > 0


def test_tables_sort_and_filter_by_hand_and_by_keyboard(browser, pages):
    browser.set_window_size(1400, 900)
    browser.get(pages["en"].as_uri())
    script = "return [...document.querySelectorAll('#groups tbody tr')].filter(r => !r.hidden)"
    assert browser.execute_script(f"{script}.length") == 20
    box = browser.find_element("css selector", "#groups input[data-filter]")
    box.send_keys("group 7")
    assert browser.execute_script(f"{script}.length") == 1
    box.clear()
    box.send_keys(" ")
    heads = browser.find_elements("css selector", "#groups thead button")
    heads[3].send_keys("\n")  # Enter, as from the keyboard
    cells = "[...document.querySelectorAll('#groups tbody tr')].map(r => +r.cells[3].dataset.value)"
    values = browser.execute_script(f"return {cells}")
    assert values == sorted(values)
    heads[3].click()
    values = browser.execute_script(f"return {cells}")
    assert values == sorted(values, reverse=True)


def test_text_has_enough_contrast_in_light_and_dark(browser, pages):
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        browser.get(pages["en"].as_uri())
        colours = [
            browser.execute_script(
                f"const s = getComputedStyle(document.querySelector('{where}'));"
                "return [s.color, getComputedStyle(document.body).backgroundColor]"
            )
            for where in ("body", "nav a", ".note")
        ]
        for text, back in colours:
            assert _contrast(text, back) >= 4.5, (scheme, text, back)  # WCAG 2.1, level AA


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two CSS colours (WCAG 2.1)."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = np.array([float(p) for p in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
