"""Action catalogue and its conditions."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crmml.actions import ActionCatalogue, CatalogueError, Expression, ExpressionError
from crmml.scoring.standard import list_kinds

ACTION = {
    "name": "call",
    "purpose": "retain",
    "channels": ["phone", "email"],
    "contact_cost": {"phone": 5.0, "email": 0.1},
    "save_rate": {"mean": 0.1, "sample_size": 50},
    "horizon": "52W",
}


def catalogue(**changes):
    return ActionCatalogue.from_dict({"actions": [ACTION | changes]})


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "risk": [0.9, 0.2, np.nan, 0.5],
            "tier": pd.Categorical(["A", "B", "A", None]),
            "stage": pd.Series(["retain", None, "win_back", "retain"], dtype="str"),
            "open": pd.Series([True, False, None, True], dtype="object"),
            "count": [3, 0, 5, 1],
        }
    )


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("risk > 0.5", [1, 0, 0, 0]),
        ("not risk > 0.5", [0, 1, 0, 1]),
        ("0.2 <= risk <= 0.5", [0, 1, 0, 1]),
        ("tier == 'A'", [1, 0, 1, 0]),
        ("tier != 'A'", [0, 1, 0, 0]),
        ("tier in ('A', 'B')", [1, 1, 1, 0]),
        ("tier not in ('A',)", [0, 1, 0, 0]),
        ("stage not in ['retain']", [0, 0, 1, 0]),
        ("open", [1, 0, 0, 1]),
        ("not open", [0, 1, 0, 0]),
        ("risk > 0.5 or count > 4", [1, 0, 1, 0]),
        ("risk > 0.5 and count > 4", [0, 0, 0, 0]),
        ("not (risk > 0.5 and count > 9)", [1, 1, 1, 1]),
        ("count > -1", [1, 1, 1, 1]),
        ("count >= 1\n and risk < 1", [1, 0, 0, 1]),
        ("True", [1, 1, 1, 1]),
    ],
)
def test_conditions_hold_by_three_valued_logic(table, text, holds):
    assert Expression(text).holds(table).astype(int).tolist() == holds


@given(
    st.recursive(
        st.sampled_from(["risk > 0.4", "count < 3", "tier == 'A'", "open"]),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda t: f"({t[0]} {t[1]} {t[2]})"
            ),
            inner.map(lambda t: f"(not {t})"),
        ),
        max_leaves=6,
    )
)
def test_conditions_agree_with_python_where_nothing_is_null(text):
    rows = pd.DataFrame(
        {
            "risk": [0.1, 0.9, 0.5],
            "count": [1, 5, 2],
            "tier": list("ABA"),
            "open": [True, False, True],
        }
    )
    truth = [bool(eval(text, {}, row)) for row in rows.to_dict("records")]
    assert Expression(text).holds(rows).tolist() == truth


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("risk >", r"action 'x': this cannot be read at position \d+ of the condition 'risk >'"),
        ("__import__('os')", "only comparisons.*at position 1 "),
        ("risk > f(2)", "a column name, a number, a text.*at position 8 "),
        ("risk.sum() > 1", "a column name, a number"),
        ("risk + 1 > 2", "a column name, a number"),
        ("risk is None", "'is' is not part of the language"),
        ("tier in 'AB'", "'in' needs a list in parentheses at position 9 "),
        ("'A' in tier", "'in' needs a list"),
        ("[r for r in risk]", "only comparisons"),
        ("risk if open else tier", "only comparisons"),
        ("(lambda: True)()", "only comparisons"),
        ("0.5", "only comparisons"),
        ("", "this cannot be read|only comparisons"),
        ("(" * 300 + "open" + ")" * 300, "this cannot be read"),
    ],
)
def test_refuses_everything_outside_the_language(text, match):
    with pytest.raises(ExpressionError, match=match):
        Expression(text, owner="action 'x'")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "count > 1 and rsik > 0.5",
            r"action 'x': there is no column 'rsik' \(there are 'risk', 'tier'.*at position 15 ",
        ),
        ("stage > 3", "stage and 3 are of different types at position 1 "),
        ("count", "'count' is used as a condition but is not boolean"),
    ],
)
def test_refuses_what_the_columns_do_not_allow(table, text, match):
    with pytest.raises(ExpressionError, match=match):
        Expression(text, owner="action 'x'").holds(table)


def test_positions_count_characters_not_bytes(table):
    with pytest.raises(ExpressionError, match="at position 17 "):
        Expression("stage == 'ü' or oops").holds(table)


def test_default_catalogue_covers_every_purpose():
    default = ActionCatalogue.default()
    assert len(default.actions) >= 8
    assert {a.purpose for a in default.actions} == {
        "acquire",
        "enhance",
        "retain",
        "win_back",
        "recover",
        "reduce_cost",
    }
    assert default.names[0] == "no_action"
    assert default.horizons == ("26W", "52W")


def test_round_trip_through_json_and_yaml(tmp_path):
    default = ActionCatalogue.default()
    text = json.dumps(default.to_dict(), allow_nan=False)
    assert ActionCatalogue.from_dict(json.loads(text)) == default
    path = tmp_path / "actions.yaml"
    path.write_text(text, encoding="utf-8")  # JSON is YAML
    assert ActionCatalogue.from_yaml(path) == default


def test_options_are_the_channels_of_each_action():
    options = catalogue().options
    assert [(o.channel, o.contact_cost) for o in options] == [("phone", 5.0), ("email", 0.1)]
    assert options[0].save_rate.alpha == pytest.approx(5)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"save_rate": {"mean": 1.5, "sample_size": 9}}, "action 'call', field 'save_rate'.*1.5"),
        ({"horizon": "1 year"}, "action 'call'|the catalogue: a duration is"),
        ({"colour": 1}, "action 'call', field 'colour': extra inputs are not permitted"),
        ({"contact_cost": {"fax": 1.0}}, "contact_cost must name exactly the channels"),
        ({"contact_cost": -1.0}, "contact_cost must be >= 0"),
        ({"channels": ["phone", "phone"], "contact_cost": 1.0}, "channels must be unique"),
        ({"name": "no_action"}, "'no_action' is always a choice and is not listed"),
        ({"saving": 3.0}, "saving must be > 0 for purpose reduce_cost, and only there"),
        ({"purpose": "charm"}, "action 'call', field 'purpose'"),
        ({"save_rate": {"mean": 0.1, "sample_size": float("inf")}}, "sample_size.*finite number"),
        ({"contact_cost": float("nan")}, "contact_cost.*finite number"),
        ({"incentive_cost": float("inf")}, "incentive_cost.*finite number"),
        ({"lead_time": "9D", "contact_within": "1W"}, r"contact_within \(1W\) must not be below"),
        ({"eligible": "risk >"}, "action 'call': this cannot be read"),
    ],
)
def test_refuses_a_bad_action_in_one_sentence(changes, match):
    with pytest.raises(CatalogueError, match=match) as caught:
        catalogue(**changes)
    assert "\n" not in str(caught.value)


def test_a_bad_value_is_named_with_its_line():
    text = (
        "# ours\nactions:\n  - name: call\n    purpose: retain\n    channels: [phone]\n"
        "    save_rate: {mean: 0.1, sample_size: 9}\n    horizon: 13W\n    contact_cost: .nan\n"
    )
    with pytest.raises(CatalogueError, match=r"line 8, action 'call', field 'contact_cost'"):
        ActionCatalogue.from_text(text)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("value_tier == 5", "value_tier holds text and is never compared with a number"),
        ("5 == value_tier", "value_tier holds text and is never compared with a number"),
        ("value_tier in ('A', 2)", "value_tier holds text"),
        ("frequency >= '2'", "frequency holds numbers and is never compared with a text"),
        ("contactable == 1", "contactable holds flags"),
        ("frequency > value_tier", "frequency holds numbers"),
    ],
)
def test_a_comparison_that_can_never_hold_is_refused_when_the_catalogue_is_read(
    condition, words, tmp_path
):
    file = tmp_path / "a.yaml"
    known = {**ACTION, "name": "known", "eligible": "plan == 5 and 0.2 < churn_probability < clv"}
    actions = [known, ACTION | {"eligible": condition}]
    text = json.dumps({"actions": actions})  # so that no part is a reference to another
    file.write_text(yaml.safe_dump(json.loads(text), sort_keys=False))
    line = 1 + file.read_text().splitlines().index(
        "  " + yaml.safe_dump({"eligible": condition}).rstrip()
    )
    with pytest.raises(CatalogueError, match=words) as caught:
        ActionCatalogue.from_yaml(file, list_kinds())
    assert f"line {line}: " in str(caught.value)


@pytest.mark.parametrize("kind", ["transactions", "contracts"])
def test_the_default_catalogues_pass(kind):
    for action in ActionCatalogue.default(kind).actions:
        action.condition.check_kinds(list_kinds())


def test_refuses_bad_files(tmp_path):
    with pytest.raises(CatalogueError, match="cannot read the catalogue"):
        ActionCatalogue.from_yaml(tmp_path / "none.yaml")
    with pytest.raises(CatalogueError, match="not valid YAML: line 1"):
        ActionCatalogue.from_text("actions: [")
    with pytest.raises(CatalogueError, match="must hold a mapping"):
        ActionCatalogue.from_text("- a")
    with pytest.raises(CatalogueError, match=r"action names must be unique; twice: \['call'\]"):
        ActionCatalogue.from_dict({"actions": [ACTION, ACTION]})
    with pytest.raises(CatalogueError, match="field 'actions': field required"):
        ActionCatalogue.from_dict({})
