"""Settings are strict, and every mistake names its key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crmml.cli import app
from crmml.config import Config, ConfigError, load_config, parse_config
from crmml.data.settings import Policies

MINIMAL = {"data": {"transactions": {"dataset": "cdnow"}}}


def write(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_fill_every_section() -> None:
    config = parse_config(MINIMAL)
    assert config.outcome.horizon == "13W"
    assert sum(config.tiers.shares) == pytest.approx(1.0)


def test_override_is_read_as_yaml_and_paths_are_anchored(tmp_path: Path) -> None:
    path = write(tmp_path, "data: {transactions: {path: log.csv}}\n")
    config = load_config(path, ["actions.budget=250", "actions.capacities={email: 10}"])
    assert config.actions.budget == 250
    assert config.actions.capacities == {"email": 10}
    assert config.data.transactions.path == tmp_path.resolve() / "log.csv"


CDNOW = "data: {transactions: {dataset: cdnow}}\n"


@pytest.mark.parametrize(
    ("text", "overrides", "match"),
    [
        (CDNOW + "outcom: {}", [], "unknown key 'outcom'; did you mean 'outcome'"),
        (CDNOW + "actions: {bugdet: 1}", [], "'actions.bugdet'; did you mean 'budget'"),
        (CDNOW + "outcome: {horizon: 3Y}", [], "outcome.horizon: a duration is"),
        (CDNOW + "outcome: {horizon: 3M}", [], "yaml: outcome.horizon is 3M: months and quarters"),
        (CDNOW + "cutoff: 01.02.98", [], "cutoff must be a date like .*got '01.02.98'"),
        (CDNOW, ["cutoff=now"], "cutoff must be a date like .*got 'now'"),
        (CDNOW, ["cutoff=-1"], "cutoff: Input should be a valid string; got -1"),
        ("data: {transactions: {}}", [], "exactly one of"),
        ("data: {labelled: {path: a.csv, dataset: cdnow}}", [], "data.labelled: give exactly one"),
        ("data: {interactions: {pth: a.csv}}", [], "'data.interactions.pth'; did you mean 'path'"),
        ("data: {policies: {retuns: drop}}", [], "'data.policies.retuns'; did you mean 'returns'"),
        ("data: {policies: {returns: x}}", [], "data.policies.returns: .*'net'.*got 'x'"),
        (
            "data: {schedules: {path: a.csv, timezone: Mars}}",
            [],
            "data.schedules: timezone must be a time zone",
        ),
        ("data: [", [], "not valid YAML"),
        ("- 1", [], "must be a mapping"),
        (CDNOW, ["seed"], "key=value"),
        (CDNOW, ["seed=0", "seed.x=1"], "'seed' is not a section"),
        (CDNOW + "actions: {budget: -1}", [], "actions.budget.*got -1"),
    ],
)
def test_a_mistake_names_its_key(
    tmp_path: Path, text: str, overrides: list[str], match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        load_config(write(tmp_path, text), overrides)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(tmp_path / "none.yaml")


def test_policies_and_paths_of_all_tables_reach_the_data(tmp_path: Path) -> None:
    text = (
        "data:\n"
        "  transactions: {path: log.csv, columns: {amount: total, order_id: null}, decimal: ','}\n"
        "  subscriptions: {path: deep/contracts.csv}\n"
        "  policies: {returns: drop, test_customers: [7, till]}\n"
    )
    data = load_config(write(tmp_path, text)).data
    assert data.transactions is not None
    assert data.transactions.columns == {"amount": "total", "order_id": None}
    assert data.tables["subscriptions"].path == tmp_path.resolve() / "deep" / "contracts.csv"
    assert data.policies == Policies(returns="drop", test_customers=(7, "till"))


def test_the_schema_for_editors_names_every_key_and_its_meaning():
    shown = CliRunner().invoke(app, ["schema"])
    schema = json.loads(shown.stdout)
    budget = schema["$defs"]["ActionSection"]["properties"]["budget"]
    assert "description" in budget
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False


def test_a_plain_path_stands_for_a_table(tmp_path: Path) -> None:
    plain, full = (
        load_config(write(tmp_path, f"data: {{transactions: {given}}}"))
        for given in ("log.csv", "{path: log.csv}")
    )
    assert plain.data == full.data
