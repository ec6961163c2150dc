"""Predictors declare themselves: order, nulls with their reason, types, glossary, manifest."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import crmml
from crmml.data.schema import CUSTOMERS, TRANSACTIONS
from crmml.exceptions import BundleError, CrmmlError, DataError
from crmml.features.snapshot import Snapshot
from crmml.models.forecast.forecasters import BoostedForecaster
from crmml.scoring.bundle import ScoringBundle
from crmml.scoring.decisions import Actions, Tiers
from crmml.scoring.frames import input_columns, split_tables
from crmml.scoring.manifest import DIGEST, Manifest, digest
from crmml.scoring.outlooks import LifetimeValue
from crmml.scoring.predictors import Moment, Output, Predictor, in_order, predict_all
from crmml.scoring.scorer import Scores, score
from crmml.storage.bundles import load_bundle, save_bundle
from crmml.storage.scores import read_scores, write_scores
from crmml.tracking.runs import invented_transactions, signature

# ------------------------------------------------------------------------------- the declarations


@dataclass(frozen=True)
class Plain:
    """A predictor of whatever is asked for."""

    name: str
    gives: tuple[str, ...]
    reads: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    dtype: Any = "number"
    make: Callable[[Moment, pd.DataFrame], pd.DataFrame] | None = None

    @property
    def outputs(self) -> tuple[Output, ...]:
        return tuple(Output(name, self.dtype, "", "of a test") for name in self.gives)

    def predict(self, moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        if self.make:
            return self.make(moment, so_far)
        base = so_far.sum(axis=1) if len(so_far.columns) else 1.0
        return pd.DataFrame(dict.fromkeys(self.gives, base), index=moment.snapshot.customer_id)


@pytest.fixture
def moment() -> Moment:
    frame = pd.DataFrame({"customer_id": ["a", "b"], "frequency": 0.0, "recency": 0.0, "T": 3.0})
    return Moment(
        {"transactions": "the log"},
        Snapshot.from_frame(frame, cutoff="2024-01-01", time_unit="week"),
    )  # type: ignore[arg-type]


def test_a_predictor_is_recognised_by_its_declarations():
    assert isinstance(Plain("p", ("x",)), Predictor)
    assert not isinstance("p", Predictor)


def test_each_comes_after_those_that_it_reads_and_columns_stay_in_the_given_order(moment):
    last = Plain("last", ("z",), reads=frozenset({"y"}))
    middle = Plain("middle", ("y",), reads=frozenset({"x"}))
    first = Plain("first", ("x",))
    assert [p.name for p in in_order([last, middle, first])] == ["first", "middle", "last"]
    assert list(predict_all([last, middle, first], moment)) == ["z", "y", "x"]


def test_circles_and_columns_given_twice_are_refused():
    one = Plain("one", ("x",), reads=frozenset({"y"}))
    two = Plain("two", ("y",), reads=frozenset({"x"}))
    with pytest.raises(CrmmlError, match="read each other in a circle: "):
        in_order([one, two])
    with pytest.raises(CrmmlError, match="'x' is given by two predictors: one and other"):
        in_order([one, Plain("other", ("x",))])
    with pytest.raises(CrmmlError, match="different names"):
        in_order([one, one])


def test_a_predictor_sees_only_what_it_declares(moment):
    seen: list[str] = []

    def look(moment: Moment, so_far: pd.DataFrame) -> pd.DataFrame:
        seen.extend(so_far.columns)
        return pd.DataFrame({"z": 1.0}, index=so_far.index)

    reader = Plain("reader", ("z",), reads=frozenset({"x"}), make=look)
    predict_all([Plain("both", ("x", "y")), reader], moment)
    assert seen == ["x"]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("number", "float64"),
        ("integer", "Int64"),
        ("flag", "boolean"),
        ("text", "str"),
        ("timestamp", "datetime64[us]"),
    ],
)
def test_without_its_table_a_predictor_gives_nulls_of_its_type_and_the_reason(
    moment, dtype, expected
):
    lacking = Plain("lacking", ("x",), tables=frozenset({"interactions"}), dtype=dtype)
    table = predict_all([lacking], moment)
    assert table["x"].isna().all()
    assert str(table["x"].dtype) == expected
    assert moment.absent == {"x": "needs the table `interactions`"}


def test_what_reads_a_null_column_is_null_with_the_reason_unless_it_can_do_without(moment):
    lacking = Plain("lacking", ("x",), tables=frozenset({"interactions"}))
    needs = Plain("needs", ("y",), reads=frozenset({"x"}))
    can = Plain("can", ("z",), reads=frozenset({"x"}), optional=frozenset({"x"}))
    alone = Plain("alone", ("w",), reads=frozenset({"nowhere"}))
    table = predict_all([lacking, needs, can, alone], moment)
    assert table["y"].isna().all()
    assert table["z"].notna().all()
    assert moment.absent["y"] == "needs `x`, which is null: needs the table `interactions`"
    assert "no predictor of this bundle gives" in moment.absent["w"]
    assert "z" not in moment.absent


def test_a_column_that_is_not_given_must_be_explained_or_is_an_error(moment):
    silent = Plain("silent", ("x",), make=lambda m, s: pd.DataFrame(index=s.index))
    with pytest.raises(CrmmlError, match="silent gives no column 'x' and no reason"):
        predict_all([silent], moment)


def test_what_predictors_share_is_computed_once(moment):
    calls: list[int] = []
    for _ in range(3):
        moment.shared(("quantiles", "13W"), lambda: calls.append(1))
    assert calls == [1]


# ------------------------------------------------------------------------------- a real bundle


@pytest.fixture(scope="module")
def trained(trained_shop):
    """Learned trees that read features of every optional column of the log."""
    assert set(trained_shop.log) == set(TRANSACTIONS.names)
    assert isinstance(trained_shop.bundle.forecast, BoostedForecaster)
    return trained_shop


@pytest.fixture(scope="module")
def full(trained) -> pd.DataFrame:
    """The log and the table of customers, scored."""
    return trained.bundle.score(trained.log, customers=trained.customers)


@pytest.fixture(scope="module")
def alone(trained) -> Scores:
    """The log alone, scored."""
    return score(trained.bundle, trained.log)


def test_the_columns_of_the_scores_are_the_declared_ones_in_the_declared_types(trained, full):
    bundle, scores = trained.bundle, full
    assert list(scores) == [output.name for output in bundle.outputs]
    wanted = {
        "number": ("float64",),
        "integer": ("int64", "Int64"),
        "flag": ("bool", "boolean"),
        "text": ("str",),
        "timestamp": ("datetime64[us]",),
    }
    for output in bundle.outputs:
        assert str(scores[output.name].dtype) in wanted[output.dtype], output.name


def test_the_glossary_has_a_line_for_every_column_of_the_scores(trained):
    glossary = trained.bundle.glossary()
    assert list(glossary) == ["name", "dtype", "unit", "meaning", "horizon", "predictor"]
    assert glossary["name"].tolist() == [output.name for output in trained.bundle.outputs]
    assert (glossary["meaning"].str.len() > 0).all()
    by_name = glossary.set_index("name")
    assert by_name.loc["clv", "horizon"] == trained.bundle.manifest.value_horizon
    assert by_name.loc["clv", "unit"] == "currency"
    assert by_name.loc["value_tier", "predictor"] == "tiers"


def test_every_null_column_has_its_reason(alone):
    empty = {name for name in alone.table if alone.table[name].isna().all()}
    assert empty <= set(alone.absent)
    assert {"contactable", "group", "experience_zone", "referrals_won"} <= set(alone.absent)


def test_null_columns_are_written_in_their_declared_types(alone, full, tmp_path):
    scores = alone.table
    assert scores["contactable"].isna().all()
    out = write_scores(scores, tmp_path, scores["cutoff"].iloc[0])
    schema = pq.read_schema(out)
    assert schema.field("contactable").type == pa.bool_()
    assert schema.field("group").type == pa.string()
    assert schema.field("held_out").type == pa.bool_()
    with_people = write_scores(full, tmp_path / "full", full["cutoff"].iloc[0])
    assert pq.read_schema(with_people) == schema
    assert read_scores(tmp_path, scores["cutoff"].iloc[0])["contactable"].isna().all()


LONG = pytest.mark.torture
OPTIONAL = [column.name for column in TRANSACTIONS.columns if not column.required]


def test_models_need_the_columns_that_are_filled_with_nulls(trained):
    blind = trained.bundle.manifest.changed(features=())
    with pytest.raises(CrmmlError, match="mean_quantity"):
        replace(trained.bundle, manifest=blind).score(trained.log.drop(columns="quantity"))


def test_the_three_required_columns_are_enough(trained):
    scores = score(trained.bundle, trained.log[list(TRANSACTIONS.required)])
    assert scores.table["clv"].notna().all()
    assert "seller" in scores.absent["loyalty_class"]
    assert "margin" in scores.absent["customer_profitability"]


PEOPLE = [column.name for column in CUSTOMERS.columns if not column.required]


def a_tenth(frame: pd.DataFrame) -> pd.DataFrame:
    """Thirty customers: what is asked is whether they are scored, not how many."""
    return frame[frame["customer_id"] % 10 == 0]


@pytest.mark.parametrize(
    "left_out",
    [
        ["acquisition_cost", "contactable"],
        [name for name in PEOPLE if name not in ("acquisition_cost", "contactable")],
        *[pytest.param([name], marks=LONG) for name in PEOPLE],
    ],
    ids=str,
)
def test_optional_columns_of_the_customers_may_be_left_out(trained, left_out):
    people = a_tenth(trained.customers).drop(columns=left_out, errors="ignore")
    assert trained.bundle.score(a_tenth(trained.log), customers=people)["clv"].notna().all()


def test_who_must_not_be_contacted_is_left_alone_with_nulls_among_the_consents(trained):
    people = trained.customers.iloc[::2].assign(contactable=False)
    table = trained.bundle.score(trained.log, customers=people).set_index("customer_id")
    barred = table.index.isin(people["customer_id"])
    assert str(table["contactable"].dtype) == "boolean"
    assert (table.loc[barred, "recommended_action"] == "no_action").all()
    assert (table.loc[~barred, "recommended_action"] != "no_action").any()


def test_a_bundle_needs_no_particular_predictor(trained, alone, tmp_path):
    fewer = tuple(p for p in trained.bundle.predictors if not isinstance(p, Actions))
    bundle = ScoringBundle(trained.bundle.manifest, fewer)
    again = load_bundle(save_bundle(bundle, tmp_path / "fewer"))
    given = alone.origin.tables
    scores = score(again, given, snapshot=alone.snapshot)
    assert "recommended_action" not in scores.table
    assert "policy_version" not in scores.table
    pd.testing.assert_series_equal(scores.table["clv"], alone.table["clv"])
    with pytest.raises(CrmmlError, match="recommends no actions"):
        _ = scores.recommendation
    with pytest.raises(CrmmlError, match="no predictor of the kind Actions"):
        _ = again.policy
    worthless = tuple(p for p in trained.bundle.predictors if not isinstance(p, LifetimeValue))
    lacking = ScoringBundle(trained.bundle.manifest, worthless)
    said = score(lacking, given, snapshot=alone.snapshot)
    assert said.table["value_tier"].isna().all()
    assert "needs the column `clv`" in said.absent["value_tier"]


def test_the_parts_of_0_1_are_there(trained):
    bundle = trained.bundle
    assert bundle.tiers is bundle._one(Tiers).segments
    for name in ("lifetime_value", "forecast", "churn", "loyalty", "lifecycle", "catalogue"):
        assert getattr(bundle, name) is not None
    assert bundle.policy.prices is not None


# ------------------------------------------------------------------------------- the manifest


@pytest.mark.parametrize(
    "edit",
    [
        {"horizon": "26W"},
        {"own_seller": None},
        {"currency": "USD"},
        {"cutoff": "2020-01-01"},
        {"policies": {"transactions": {"returns": "drop"}}},
        {"features": ()},
        {"channels": {}},
    ],
)
def test_what_changes_scores_changes_the_model_version(trained, edit):
    bundle = trained.bundle
    edited = replace(bundle, manifest=bundle.manifest.changed(**edit))
    assert edited.version != bundle.version


def test_what_people_read_does_not_change_the_model_version(trained):
    bundle = trained.bundle
    told = bundle.manifest.changed(notes=(), metrics={}, absent={}, customers=1, name="x")
    assert replace(bundle, manifest=told).version == bundle.version
    other = replace(bundle.policy, budget=1.0)
    assert bundle.with_policy(other).version == bundle.version
    assert bundle.with_policy(other).policy_version != bundle.policy_version


def test_an_edited_manifest_is_refused(trained, tmp_path):
    folder = save_bundle(trained.bundle, tmp_path / "b")
    manifest = json.loads((folder / "manifest.json").read_text())
    edited = json.dumps({**manifest, "horizon": "26W"})
    (folder / "manifest.json").write_text(edited)
    with pytest.raises(BundleError, match=r"manifest\.json does not match its SHA-256"):
        load_bundle(folder)
    (folder / DIGEST).unlink()
    with pytest.raises(BundleError, match=r"bundle\.sha256 is missing"):
        load_bundle(folder)
    unknown = json.dumps({**manifest, "horzon": "26W"}).encode()
    (folder / "manifest.json").write_bytes(unknown)
    (folder / DIGEST).write_text(digest(unknown))
    with pytest.raises(BundleError, match="horzon: is not a known field"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"format_version": 1, "hashes": {}}', "does not match its SHA-256"),
        ('{"format_version": 0, "hashes": {}}', "has format 0; formats begin with 1"),
        ("[" * 100_000, "is not a readable manifest"),
    ],
)
def test_a_manifest_that_hides_from_its_digest_is_refused(trained, tmp_path, text, sentence):
    folder = save_bundle(trained.bundle, tmp_path / "b")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=sentence):
        load_bundle(folder)


def test_a_manifest_survives_json_and_is_frozen(trained):
    manifest = trained.bundle.manifest
    assert Manifest.from_json(json.dumps(manifest.plain()).encode()) == manifest
    with pytest.raises(ValueError, match="frozen"):
        manifest.horizon = "1W"  # type: ignore[misc]
    assert set(manifest.columns) == set(trained.tables)
    assert manifest.predictors[0] == "history"


# ------------------------------------------------------------------------------- one frame


def test_one_frame_holds_several_tables(trained, full):
    log = trained.log.assign(table=None)
    people = trained.customers.assign(table="customers")
    parts = split_tables(pd.concat([log, people], ignore_index=True))
    assert set(parts) == {"transactions", "customers"}
    assert set(parts["transactions"]) == set(trained.log)
    assert set(parts["customers"]) == set(trained.customers)
    pd.testing.assert_frame_equal(trained.bundle.score(parts), full)
    with pytest.raises(DataError, match=r"each row must name one of the tables.*1 row"):
        split_tables(pd.DataFrame({"table": ["visits"], "customer_id": [1]}))


@pytest.fixture(scope="module")
def pyfunc(trained, tmp_path_factory) -> Any:
    """Give the bundle to MLflow and take it back, with the signature that MLflow enforces."""
    folder = tmp_path_factory.mktemp("pyfunc")
    stored = save_bundle(trained.bundle, folder / "bundle")
    example = invented_transactions(trained.bundle.manifest)
    mlflow.pyfunc.save_model(
        path=str(folder / "model"),
        python_model=str(Path(crmml.__file__).parent / "tracking" / "pyfunc.py"),
        artifacts={"bundle": str(stored)},
        pip_requirements=[],
        signature=signature(trained.bundle, example),
        input_example=example,
    )
    return mlflow.pyfunc.load_model(str(folder / "model"))


@pytest.mark.parametrize(
    "left_out",
    [
        pytest.param(name, marks=[] if name in (None, "quantity", "category") else [LONG])
        for name in (None, *OPTIONAL)
    ],
)
def test_every_optional_column_of_the_log_may_be_left_out(trained, pyfunc, left_out):
    """Of a bundle, and through the signature that MLflow enforces."""
    log = a_tenth(trained.log).astype({"quantity": "float64"}).drop(columns=left_out or [])
    customers = a_tenth(trained.customers)
    people = customers.assign(table="customers")
    served = pyfunc.predict(pd.concat([log, people], ignore_index=True))
    for name in ("clv", "expected_purchases", "recommended_action"):
        assert served[name].notna().all(), name
    if left_out in (None, "quantity", "margin"):
        expected = trained.bundle.score(log, trained.bundle.manifest.cutoff, customers=customers)
        assert served["clv"].tolist() == pytest.approx(expected["clv"].tolist(), rel=1e-12)
        assert list(served) == list(expected)


def test_a_pyfunc_takes_the_customers_table_in_its_one_frame(trained, pyfunc):
    people = trained.customers.assign(table="customers", contactable=False)
    served = pyfunc.predict(pd.concat([trained.log, people], ignore_index=True))
    assert set(served["recommended_action"]) == {"no_action"}
    assert served["group"].notna().all()
    alone = pyfunc.predict(trained.log)
    assert alone["recommended_action"].tolist() == [None] * len(alone)  # no consents are known
    assert alone["contactable"].tolist() == [None] * len(alone)
    free = trained.customers.assign(table="customers", contactable=True)
    asked = pyfunc.predict(pd.concat([trained.log, free], ignore_index=True))
    assert set(asked["recommended_action"]) > {"no_action"}


def test_the_columns_of_the_one_frame_follow_from_the_contract():
    alone = input_columns({"transactions": TRANSACTIONS.required})
    assert [column.name for column in alone] == ["customer_id", "timestamp", "amount"]
    both = input_columns(
        {"customers": ["customer_id", "contactable", "channel"], "transactions": TRANSACTIONS.names}
    )
    assert both[0].name == "table"
    assert [c.name for c in both if c.required] == list(TRANSACTIONS.required)
    by_name = {column.name: column for column in both}
    assert (by_name["contactable"].kind, by_name["contactable"].sparse) == ("flag", True)
    assert by_name["channel"].kind is None  # text in the log, a covariate of any type elsewhere
