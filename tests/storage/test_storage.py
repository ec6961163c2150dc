"""Nothing half written, nothing damaged read, the same scores the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmml import atomic
from crmml.atomic import replacing, write_folder
from crmml.exceptions import BundleError, DataError, MissingColumnsError, StorageError
from crmml.storage.bundles import read_bundle_files, save_bundle, shelve_bundle
from crmml.storage.fingerprint import fingerprint
from crmml.storage.scores import read_scores, write_csv, write_scores


class PlainBundle:
    """Two files and a manifest: all that storage looks at."""

    def __init__(self, word: str = "one", format_version: int = 1) -> None:
        self.word, self.format_version = word, format_version

    def to_files(self) -> dict[str, bytes]:
        parts = {"purchase_model.json": b'{"r": 0.25}', "word.txt": self.word.encode()}
        hashes = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
        manifest = {
            "format_version": self.format_version,
            "crmml_version": "9.9",
            "hashes": hashes,
        }
        return {"manifest.json": json.dumps(manifest).encode(), **parts}


def some_scores(ids: object = (3, 1, 2)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clv": [30.5, -1.25, np.nan],
            "customer_id": list(ids),  # type: ignore[call-overload]
            "value_tier": ["A", "E", None],
            "reasons": [["recent", "frequent"], [], ["late"]],
            "contact_by": pd.to_datetime(["2017-07-08", None, "2017-07-09"]),
        }
    )


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


# ------------------------------------------------------------------------------- bundles


def test_a_bundle_comes_back_byte_for_byte(tmp_path):
    bundle = PlainBundle()
    folder = save_bundle(bundle, tmp_path / "crmml" / "1")
    assert read_bundle_files(folder, newest=1) == bundle.to_files()
    assert leftovers(tmp_path) == []


def test_a_stored_bundle_is_never_replaced_by_another(tmp_path):
    save_bundle(PlainBundle(), tmp_path / "b")
    with pytest.raises(StorageError, match="exists already"):
        save_bundle(PlainBundle(), tmp_path / "b")
    with pytest.raises(StorageError, match="holds another bundle"):
        save_bundle(PlainBundle("two"), tmp_path / "b", exist_ok=True)
    assert (tmp_path / "b" / "word.txt").read_text() == "one"
    assert save_bundle(PlainBundle(), tmp_path / "b", exist_ok=True) == tmp_path / "b"
    assert leftovers(tmp_path) == []


def test_versions_that_begin_again_lose_no_bundle(tmp_path):
    first = shelve_bundle(PlainBundle("one"), tmp_path / "1")
    again = shelve_bundle(PlainBundle("one"), tmp_path / "1")
    other = shelve_bundle(PlainBundle("two"), tmp_path / "1")
    assert first == again == tmp_path / "1"
    assert re.fullmatch(r"1-[0-9a-f]{12}", other.name)
    assert shelve_bundle(PlainBundle("two"), tmp_path / "1") == other
    assert [(folder / "word.txt").read_text() for folder in (first, other)] == ["one", "two"]
    (first / "manifest.json").write_text("{half")
    assert shelve_bundle(PlainBundle("one"), tmp_path / "1").name.startswith("1-")
    assert (first / "manifest.json").read_text() == "{half"


def test_a_folder_that_holds_no_bundle_is_left_as_it_is(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match="holds no bundle"):
        save_bundle(PlainBundle(), tmp_path, exist_ok=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_damage_to_a_bundle_is_named(tmp_path):
    folder = save_bundle(PlainBundle(), tmp_path / "b")
    (folder / "word.txt").write_text("on3")
    with pytest.raises(BundleError, match=r"word\.txt does not match its SHA-256"):
        read_bundle_files(folder, newest=1)
    (folder / "word.txt").unlink()
    with pytest.raises(BundleError, match=r"word\.txt is missing"):
        read_bundle_files(folder, newest=1)
    (folder / "manifest.json").write_text("{half")
    with pytest.raises(BundleError, match="not a readable manifest"):
        read_bundle_files(folder, newest=1)
    with pytest.raises(BundleError, match="no bundle at"):
        read_bundle_files(tmp_path / "nowhere", newest=1)


def test_a_newer_format_asks_for_an_update(tmp_path):
    folder = save_bundle(PlainBundle(format_version=2), tmp_path / "b")
    with pytest.raises(BundleError, match=r"format 2, written by crmml 9\.9; .* update crmml"):
        read_bundle_files(folder, newest=1)


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    folder = save_bundle(PlainBundle(), tmp_path / "b")
    (tmp_path / "secret").write_text("s")
    manifest = {"format_version": 1, "hashes": {"../secret": hashlib.sha256(b"s").hexdigest()}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="outside its folder"):
        read_bundle_files(folder, newest=1)


# ------------------------------------------------------------------------------- interrupts


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, error):
    out = write_scores(some_scores(), tmp_path / "scores", "2017-07-01")
    before = out.read_bytes()
    folder = save_bundle(PlainBundle(), tmp_path / "b")

    def stop(*_: object) -> None:
        raise error("stop")

    monkeypatch.setattr(atomic.os, "replace", stop)
    with pytest.raises(error, match="stop"):
        write_scores(some_scores().assign(clv=0.0), tmp_path / "scores", "2017-07-01")
    monkeypatch.setattr(atomic, "_flush", stop)
    with pytest.raises(error, match="stop"):
        write_folder(PlainBundle("two").to_files(), folder)
    assert out.read_bytes() == before
    assert read_bundle_files(folder, newest=1) == PlainBundle().to_files()
    assert leftovers(tmp_path) == []


def test_an_interrupt_between_two_renames_puts_the_old_bundle_back(tmp_path, monkeypatch):
    folder = save_bundle(PlainBundle(), tmp_path / "b")
    rename, calls = atomic.os.rename, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(atomic.os, "rename", second_fails)
    with pytest.raises(KeyboardInterrupt):
        write_folder(PlainBundle("two").to_files(), folder)
    assert read_bundle_files(folder, newest=1) == PlainBundle().to_files()
    assert leftovers(tmp_path) == []


def test_a_process_interrupted_in_mid_write_leaves_no_scores(tmp_path):
    # A process started in the background of a shell ignores interrupts, and so do its children.
    code = """
import signal, sys, time
import pandas as pd
from crmml.storage.files import write_scores
signal.signal(signal.SIGINT, signal.default_int_handler)
def batches():
    yield pd.DataFrame({"customer_id": [1], "clv": [1.0]})
    print("writing", flush=True)
    time.sleep(60)
write_scores(batches(), sys.argv[1], "2017-07-01")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) != 0
    finally:
        process.kill()
        process.communicate()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unwritable_target_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot write .*file"):
        write_scores(some_scores(), tmp_path / "file", "2017-07-01")
    with pytest.raises(StorageError, match=r"cannot write .*file"):
        save_bundle(PlainBundle(), tmp_path / "file" / "b")
    (tmp_path / "text.duckdb").write_text("this is no database at all " * 100)
    with pytest.raises(StorageError, match="cannot open the database"):
        write_scores(some_scores(), tmp_path / "text.duckdb", "2017-07-01")


# ------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("ids", [(3, 1, 2), ("ب۱", "🛒", "007")])
@pytest.mark.parametrize("name", ["scores", "crm.duckdb"])
def test_scores_come_back_sorted_with_their_types(tmp_path, ids, name):
    scores = some_scores(ids)
    write_scores(scores, tmp_path / name, "2017-07-01")
    back = read_scores(tmp_path / name, "2017-07-01")
    assert back["customer_id"].tolist() == sorted(ids)
    assert (back["cutoff"] == pd.Timestamp("2017-07-01")).all()
    both = back.set_index("customer_id").loc[list(ids)]
    assert both["clv"].tolist()[:2] == [30.5, -1.25]
    assert both["value_tier"].isna().tolist() == [False, False, True]
    assert [list(r) for r in both["reasons"]] == [["recent", "frequent"], [], ["late"]]
    assert both["contact_by"].iloc[0] == pd.Timestamp("2017-07-08")


@pytest.mark.parametrize("name", ["scores", "crm.duckdb"])
def test_a_second_run_replaces_its_cutoff_and_no_other(tmp_path, name):
    target = tmp_path / name
    write_scores(some_scores(), target, "2017-07-01")
    write_scores(some_scores(), target, "2017-10-01")
    write_scores(some_scores().head(1), target, "2017-07-01")
    write_scores(some_scores().head(1), target, "2017-07-01")
    assert len(read_scores(target, "2017-07-01")) == 1
    assert len(read_scores(target, "2017-10-01")) == 3
    with pytest.raises(StorageError, match="no scores for the cutoff 2018-01-01"):
        read_scores(target, "2018-01-01")


def test_a_failed_run_leaves_the_database_table_as_it_was(tmp_path):
    target = tmp_path / "crm.duckdb"
    write_scores(some_scores(), target, "2017-07-01")
    with pytest.raises(StorageError, match="cannot write the table 'scores'"):
        write_scores(some_scores().assign(surprise=1), target, "2017-07-01")
    assert len(read_scores(target, "2017-07-01")) == 3
    with duckdb.connect(str(target)) as connection:
        assert connection.execute("SELECT count(*) FROM scores").fetchone() == (3,)


@given(order=st.permutations(range(40)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_rows_does_not_change_the_bytes(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("bytes")
    rng = np.random.default_rng(1)
    scores = pd.DataFrame(
        {"customer_id": [f"c{i}" for i in range(40)], "clv": rng.normal(size=40), "empty": None}
    )
    for kind in ("parquet", "csv"):
        one = write_scores(scores, folder / "a", "2017-07-01", kind)
        two = write_scores(scores.iloc[order], folder / "b", "2017-07-01", kind)
        assert one.read_bytes() == two.read_bytes()


def test_batches_are_streamed_and_must_ascend(tmp_path):
    whole = pd.DataFrame({"customer_id": range(10), "clv": 1.0})
    batches = [whole.iloc[:4], whole.iloc[4:].iloc[::-1]]
    out = write_scores(iter(batches), tmp_path, "2017-07-01")
    assert pq.read_metadata(out).num_row_groups == 1  # the bytes do not tell the batches
    assert read_scores(tmp_path, "2017-07-01")["customer_id"].tolist() == list(range(10))
    with pytest.raises(DataError, match="must ascend in customer_id"):
        write_scores(reversed(batches), tmp_path, "2017-07-01")
    with pytest.raises(DataError, match="same columns and types"):
        write_scores([batches[0], batches[1].assign(clv="x")], tmp_path, "2017-07-01")
    with pytest.raises(DataError, match="at least one batch"):
        write_scores([], tmp_path, "2017-07-01")


def test_scores_need_a_key(tmp_path):
    with pytest.raises(MissingColumnsError, match="customer_id"):
        write_scores(pd.DataFrame({"clv": [1.0]}), tmp_path, "2017-07-01")
    with pytest.raises(DataError, match=r"customer_id must be unique.*2 rows"):
        write_scores(some_scores((1, 1, 2)), tmp_path, "2017-07-01")
    with pytest.raises(DataError, match=r"customer_id must not be null.*1 row"):
        write_scores(some_scores(("a", None, "b")), tmp_path, "2017-07-01")


def test_scores_of_another_cutoff_are_refused(tmp_path):
    scores = some_scores().assign(cutoff=pd.Timestamp("2017-10-01"))
    with pytest.raises(DataError, match=r"cutoff 2017-07-01 must be of that cutoff.*3 rows"):
        write_scores(scores, tmp_path, "2017-07-01")
    assert (
        len(read_scores(write_scores(scores, tmp_path, "2017-10-01").parents[1], "2017-10-01")) == 3
    )


def test_a_categorical_is_stored_as_its_values(tmp_path):
    tiers = pd.Categorical(["A", "E", None], categories=list("EDCBA"), ordered=True)
    one = write_scores(some_scores().assign(value_tier=tiers), tmp_path / "a", "2017-07-01")
    two = write_scores(some_scores(), tmp_path / "b", "2017-07-01")
    assert one.read_bytes() == two.read_bytes()
    three = write_scores(
        some_scores().assign(value_tier=tiers), tmp_path / "a", "2017-07-01", "csv"
    )
    back = pd.read_csv(three, index_col="customer_id")
    assert back["value_tier"].isna().tolist() == [False, True, False]
    assert back["reasons"].fillna("").tolist() == ["", "late", "recent; frequent"]


def test_a_partitioned_folder_reads_as_one_table(tmp_path):
    write_scores(some_scores(), tmp_path, "2017-07-01")
    write_scores(some_scores(), tmp_path, "2017-10-01")
    rows = duckdb.sql(
        f"SELECT cutoff, count(*) FROM read_parquet('{tmp_path}/*/*.parquet') GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert [(str(cutoff), n) for cutoff, n in rows] == [("2017-07-01", 3), ("2017-10-01", 3)]


def test_csv_injection_is_neutralised_owasp(tmp_path):
    ids = ["=HYPERLINK(1)", "+1", "-2", "@x", "\tt", "\rr", "plain=1", "۱۲"]
    frame = pd.DataFrame({"customer_id": ids, "note": ids[::-1], "clv": -5.0})
    out = write_scores(frame, tmp_path, "2017-07-01", "csv")
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    back = pd.read_csv(out, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    for column in ("customer_id", "note"):
        assert not back[column].str.match(r"[=+\-@\t\r]").any()
        assert sorted(cell.removeprefix("'") for cell in back[column]) == sorted(ids)
    assert set(back["clv"]) == {"-5"}
    assert set(back["cutoff"]) == {"2017-07-01"}
    write_csv(pd.DataFrame({"=1": [None, "a"], "when": pd.Timestamp("2017-07-01 10:30")}), out)
    moment = '"2017-07-01 10:30:00"'
    assert out.read_text("utf-8-sig") == f'"\'=1","when"\n,{moment}\n"a",{moment}\n'


@pytest.mark.parametrize(
    "cell",
    [
        "\n=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        " =1",
        "\u00a0\u3000-1",
        "\u200b@x",
        "\v=1",
    ],
)
def test_formulas_behind_blanks_or_with_full_width_signs_are_neutralised(cell, tmp_path):
    write_csv(pd.DataFrame({cell: [cell, "plain", " plain"]}), tmp_path / "list.csv")
    text = (tmp_path / "list.csv").read_text("utf-8-sig")
    assert text.count(f'"\'{cell}"') == 2
    assert '" plain"' in text


def test_a_file_is_its_owners_alone_until_it_is_whole_and_no_link_is_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text("theirs")
    target = tmp_path / "out.csv"
    target.symlink_to(elsewhere)
    with replacing(target) as partial:
        assert partial.stat().st_mode & 0o777 == 0o600
        partial.write_text("ours")
    assert elsewhere.read_text() == "theirs"
    assert target.read_text() == "ours"
    assert not target.is_symlink()
    target.chmod(0o640)
    with replacing(target) as partial:
        partial.write_text("again")
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_database_that_another_process_holds_is_tried_again(tmp_path):
    frame = pd.DataFrame({"customer_id": [1], "clv": [2.0]})
    target = tmp_path / "scores.duckdb"
    write_scores(frame, target, "2017-07-01")
    hold = (
        "import duckdb, sys, time; held = duckdb.connect(sys.argv[1]); print(1, flush=True); "
        "time.sleep(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(target)], stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        write_scores(frame, target, "2017-10-01")
    assert len(read_scores(target, "2017-10-01")) == 1


# ------------------------------------------------------------------------------- fingerprints


def test_a_fingerprint_sees_contents_and_not_order():
    rows = pd.DataFrame(
        {
            "customer_id": ["a", "b", "b", "🛒"],
            "timestamp": pd.to_datetime(["2017-01-01", "2017-01-02", "2017-01-02", "2017-01-03"]),
            "amount": [1.5, 2.0, 2.0, None],
        }
    )
    print_of = fingerprint(rows)
    assert len(print_of) == 64
    shuffled = rows.iloc[[3, 1, 0, 2]][["amount", "customer_id", "timestamp"]]
    assert fingerprint(shuffled) == print_of
    assert fingerprint(ibis.memtable(pa.Table.from_pandas(rows))) == print_of
    changed = [
        rows.iloc[:3],
        rows.drop_duplicates(),
        rows.rename(columns={"amount": "margin"}),
        rows.assign(amount=[1.5, 2.0, 2.0, 0.0]),
        rows.assign(customer_id=["b", "a", "b", "🛒"]),
    ]
    assert len({print_of, *map(fingerprint, changed)}) == 1 + len(changed)


def test_cells_cannot_run_into_each_other():
    one = pd.DataFrame({"a": ["x;1:y"], "b": ["z"]})
    two = pd.DataFrame({"a": ["x"], "b": ["y;1:z"]})
    assert fingerprint(one) != fingerprint(two)


@pytest.mark.parametrize(
    ("column", "values", "rule"),
    [
        ("customer_id", [1, 1], "be unique"),
        ("value_tier", [5, 5], "be text"),
        ("clv", ["many", "few"], "be a number"),
        ("clv", [1.0, float("inf")], "be finite"),
        ("churn_probability", [0.5, 7.0], "lie from 0 to 1"),
    ],
)
def test_stored_scores_that_nothing_has_written_are_refused(column, values, rule, tmp_path):
    scores = pd.DataFrame({"customer_id": [1, 2], "clv": [3.0, None], "value_tier": ["A", "E"]})
    file = write_scores(scores, tmp_path, "2024-01-01")
    assert len(read_scores(tmp_path, "2024-01-01")) == 2
    scores.assign(**{column: values}).to_parquet(file)
    with pytest.raises(DataError, match=f"{column} must {rule}"):
        read_scores(tmp_path, "2024-01-01")


def test_an_output_that_is_a_link_to_nowhere_is_refused_before_the_work(command_line, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for out in ("loop", "loop/x"):
        done = command_line.here(tmp_path, "score", "--transactions", "log.csv", "--out", out)
        assert done.returncode == 2
        assert "loop" in done.stderr
        assert "Traceback" not in done.stderr
