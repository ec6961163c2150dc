"""explain and diff on the command line: the served figures, one sentence for a mistake, no ids."""

from __future__ import annotations

import json
from functools import partial

import pytest

from crmml.storage.scores import read_scores

MODEL = ("--model", "models/crmml/1")
AT = ("--cutoff", "1998-07-01")


@pytest.fixture(scope="module")
def shop(tmp_path_factory, cdnow_shelf, cdnow_eighth, command_line):
    """A folder with the log of some customers, their scores, and the bundle's folder beside."""
    folder = tmp_path_factory.mktemp("explained")
    (folder / "models").symlink_to(cdnow_shelf.folder / "models")
    cdnow_eighth.to_csv(folder / "log.csv", index=False)
    run = partial(command_line.here, folder)
    for at, out in (("1998-04-01", "out"), ("1998-07-01", "out")):
        done = run("score", *MODEL, "--transactions", "log.csv", "--cutoff", at, "--out", out)
        assert done.returncode == 0, done.stderr
    return folder, run


def test_explain_shows_the_row_that_score_wrote(shop) -> None:
    folder, run = shop
    scores = read_scores(folder / "out", "1998-07-01").set_index("customer_id")
    for key in (scores["clv"].idxmax(), scores["clv"].idxmin()):
        done = run("explain", "--customer", key, *MODEL, "--transactions", "log.csv", *AT,
                   "--scores", "out", "--json")  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        row = scores.loc[key]
        for name in ("clv", "clv_lower", "churn_probability", "expected_net_gain", "value_tier",
                     "recommended_action", "probability_alive", "model_version"):  # fmt: skip
            assert found["served"][name] == row[name]
        assert found["value"]["clv"] == row["clv"]
        assert key not in done.stderr
    persian = run("explain", "--customer", key, *MODEL, "--transactions", "log.csv", *AT,
                  "--scores", "out", "--json", "--lang", "fa")  # fmt: skip
    told = json.loads(persian.stdout)["served"]
    assert "روز پیش" in f"{told['churn_reasons_for']}{told['churn_reasons_against']}"
    assert told["clv"] == row["clv"]
    wrong = run("explain", "--customer", key, *MODEL, "--transactions", "log.csv", "--lang", "xx")
    assert (wrong.returncode, "en or fa" in wrong.stderr) == (2, True)


def test_explain_takes_the_champion_and_a_configuration(cdnow_shelf, command_line) -> None:
    done = command_line.here(
        cdnow_shelf.folder, "explain", "-c", "shop.yaml", "--customer", "00004"
    )
    assert done.returncode == 0, done.stderr
    assert "4 purchases from 1997-01-01 to 1997-12-12" in done.stdout
    assert "scored alone" in done.stdout.lower()


def test_explain_writes_a_page_and_a_picture(shop) -> None:
    folder, run = shop
    key = read_scores(folder / "out", "1998-07-01")["customer_id"].iloc[0]
    asked = ("explain", "--customer", key, *MODEL, "--transactions", "log.csv", *AT)
    for name, begin in (("one.html", b"<!doctype html>"), ("one.png", b"\x89PNG")):
        done = run(*asked, "--out", name)
        assert done.returncode == 0, done.stderr
        assert (folder / name).read_bytes().startswith(begin)
        assert "Lifetime value" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--customer", "nobody", "--transactions", "log.csv"), "no table holds"),
        (("--customer", "nobody"), "one of --config and --transactions"),
        (("--customer", "nobody", "--transactions", "log.csv", "--out", "x.pdf"), "ends in"),
        (("--customer", "nobody", "--transactions", "log.csv", "--scores", "out"), "no row"),
    ],
)
def test_a_mistake_is_one_sentence(shop, arguments, why) -> None:
    done = shop[1]("explain", *MODEL, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert "nobody" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_diff_shows_counts_and_writes_ids_only_where_asked(shop) -> None:
    folder, run = shop
    done = run("diff", "out/cutoff=1998-04-01", "out", "--out", "who.csv", "--out", "who.png")
    assert done.returncode == 0, done.stderr
    assert "tier:" in done.stdout
    written = (folder / "who.csv").read_text(encoding="utf-8-sig")
    key = read_scores(folder / "out", "1998-07-01")["customer_id"].iloc[0]
    assert "customer_id" in written.splitlines()[0]
    assert (folder / "who.png").read_bytes().startswith(b"\x89PNG")
    plain = run("diff", "out/cutoff=1998-04-01", "out", "--json")
    assert set(json.loads(plain.stdout)["causes"]) == {"inputs"}
    assert f'"{key}"' not in plain.stdout


def test_diff_of_two_bundles_needs_data_to_name_customers(shop) -> None:
    done = shop[1]("diff", "models/crmml/1", "models/crmml/1")
    assert done.returncode == 0, done.stderr
    assert "without data" in done.stdout
