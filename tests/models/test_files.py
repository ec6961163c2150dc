"""Models as files: what comes back, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

import crmml
from crmml import models
from crmml.exceptions import BundleError, NotFittedError, StorageError
from crmml.models.files import FORMAT_VERSION, read_model


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(3)
    renewals = rng.geometric(rng.beta(2.0, 5.0, 200)).clip(max=8) - 1
    table = pd.DataFrame({"customer_id": range(200), "renewals": renewals, "ended": renewals < 7})
    return models.ShiftedBetaGeoModel(period="28D").fit(table)


def changed(path, **changes):
    content = json.loads(path.read_text("utf-8")) | changes
    path.write_text(json.dumps(content), "utf-8")
    return path


def test_a_model_comes_back_to_the_last_bit(model, tmp_path):
    path = model.save(tmp_path / "deep" / "model.json")
    again = crmml.load(path)
    assert type(again) is type(model)
    assert again.to_dict() == model.to_dict()
    assert [file.name for file in path.parent.iterdir()] == ["model.json"]


def test_an_unfitted_model_is_not_stored(tmp_path):
    with pytest.raises(NotFittedError):
        models.BetaGeoModel().save(tmp_path / "model.json")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unless_that_is_wanted(model, tmp_path):
    path = tmp_path / "model.json"
    path.write_text("mine")
    with pytest.raises(StorageError, match="exists already; name another file, or set exist_ok"):
        model.save(path)
    assert path.read_text() == "mine"
    model.save(path, exist_ok=True)
    assert crmml.load(path).params_ == model.params_
    with pytest.raises(StorageError, match="exists already; name another file"):
        model.save(tmp_path, exist_ok=True)


def test_a_write_that_fails_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(json, "dumps", lambda *_, **__: "\ud800")  # cannot be written as UTF-8
    with pytest.raises(UnicodeEncodeError):
        model.save(tmp_path / "model.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": "pickle"}, "its format is not 'crmml model'"),
        ({"format_version": FORMAT_VERSION + 1}, "this crmml reads formats up to"),
        ({"format_version": "1"}, "its format_version is '1'"),
        ({"format_version": True}, "its format_version is True"),
        ({"model": []}, "does not match its SHA-256"),
        ({"sha256": None}, "does not match its SHA-256"),
    ],
)
def test_an_altered_envelope_is_refused(model, tmp_path, changes, why):
    path = changed(model.save(tmp_path / "model.json"), **changes)
    with pytest.raises(BundleError, match=why):
        read_model(path)


def resealed(path, alter):
    """Alter the content and seal it again, as one who knows the format could."""
    from crmml.models.files import _digest

    content = json.loads(path.read_text("utf-8"))
    alter(content["model"])
    return changed(path, model=content["model"], sha256=_digest(content["model"]))


@pytest.mark.parametrize(
    "alter",
    [
        lambda m: m.update({"class": "Nonsense"}),
        lambda m: m.update({"class": ["BetaGeoModel"]}),
        lambda m: m.pop("state"),
        lambda m: m["state"].pop("params_"),
        lambda m: m["state"].update({"fit": 1}),
        lambda m: m["settings"].update({"unknown": 1}),
        lambda m: m.update({"settings": 3}),
        lambda m: m.update({"more": 3}),
        lambda m: m["state"].update({"params_": "alpha"}),
        lambda m: m["state"].update({"log_likelihood_": "-3"}),
        lambda m: m["state"].update({"n_customers_": 2.5}),
        lambda m: m["state"].update({"covariance_": {"a": 1}}),
    ],
)
def test_content_of_another_type_is_refused_though_the_seal_is_right(model, tmp_path, alter):
    path = resealed(model.save(tmp_path / "model.json"), alter)
    with pytest.raises(
        BundleError, match=r"the model at .* .*(cannot be rebuilt|holds what|must be)"
    ):
        crmml.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\x80\x04K\x01.", b"[" * 100_000, b"3"])
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(BundleError, match="is no stored model"):
        crmml.load(tmp_path / "model.json")


def test_nothing_there_and_a_folder_without_a_bundle(tmp_path):
    with pytest.raises(BundleError, match="there is no such file"):
        crmml.load(tmp_path / "nothing.json")
    with pytest.raises(BundleError, match="no bundle at"):
        crmml.load(tmp_path)


def test_what_could_not_be_read_is_not_written(tmp_path):
    from crmml.models.forecast.baselines import TransitionMatrix

    now = pd.Series(["loyal", "loyal", "split"])
    with pytest.raises(StorageError, match="TransitionMatrix is part of other models"):
        TransitionMatrix().fit(now, now).save(tmp_path / "matrix.json")
    assert list(tmp_path.iterdir()) == []
