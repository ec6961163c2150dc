"""YAML that hangs, loses a line or hides a number is refused with its line; the rest is read."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crmml.actions.catalogue import ActionCatalogue
from crmml.config import ConfigError, load_config
from crmml.exceptions import CrmmlError
from crmml.safe_yaml import YamlError, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

REFUSED = {
    "references that grow": (BOMB, "line 2: a reference"),
    "a key twice": (
        "actions:\n  budget: 5\n  budget: 50000",
        "line 3: the key 'budget' stands twice",
    ),
    "a merged key": ("a: &a {b: 1}\nc:\n  <<: *a", "line 3: a reference"),
    "no whole number": ("seed: !!int abc", "line 1: 'abc' cannot be read as int"),
    "no number": ("seed: !!float abc", "line 1: 'abc' cannot be read as float"),
    "no date": ("when: 2023-02-31", "line 1: '2023-02-31' cannot be read as timestamp"),
    "endless digits": ("seed: " + "9" * 5000, "line 1: a number has at most 40 digits"),
    "endless hexadecimal": ("seed: 0x" + "9" * 5000, "line 1: a number has at most 40 digits"),
    "deep lists": ("a: " + "[" * 3000, "line 1: at most 30 levels"),
    "deep mappings": ("{a: " * 3000, "line 1: at most 30 levels"),
    "an object": ("a: !!python/object/apply:os.system [ls]", "line 1: could not determine"),
    "a list as a key": ("? [a, b]\n: 1", "line 1: a key must be one word"),
    "an open bracket": ("a: 1\nb: [1, 2\nc: 3", "line 3: "),
    "a tab": ("a:\n\tb: 1", "line 2: "),
    "two documents": ("a: 1\n---\nb: 2", "line 2: "),
    "a control sign": ("a: 1\nb: \x07", "line 2: the character"),
    "too long": ("# " + "x" * 1_000_001, "at most 1,000,000 characters"),
    "not UTF-8": ("a: 1\nname: Café".encode("latin-1"), "line 2: the text must be UTF-8"),
    "UTF-16": ("a: 1".encode("utf-16"), "line 1: the text must be UTF-8"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_meant_is_refused_with_its_line(what):
    text, sentence = REFUSED[what]
    with pytest.raises(YamlError) as caught:
        read_yaml(text)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("what", REFUSED)
def test_configuration_catalogue_and_override_say_it_in_one_sentence(what, tmp_path):
    text, _ = REFUSED[what]
    file = tmp_path / "some.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (load_config, ActionCatalogue.from_yaml):
        with pytest.raises(CrmmlError, match="is not valid YAML") as caught:
            read(file)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_an_override_is_read_as_strictly(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text("name: shop")
    with pytest.raises(ConfigError, match="a number has at most 40 digits") as caught:
        load_config(file, ["seed=" + "9" * 5000])
    assert len(str(caught.value)) < 500


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3)
        ),
        max_leaves=10,
    )
)
def test_plain_values_come_back_as_the_library_reads_them(value):
    text = yaml.safe_dump(value, allow_unicode=True)
    if "*id" not in text:  # the writer refers to equal parts
        # Not "== value": the library itself loses a next-line character (U+0085) on its way.
        assert read_yaml(text) == yaml.safe_load(text)
