"""YAML as people write settings: read strictly, and refused in one short sentence with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from crmml.exceptions import CrmmlError

_DEEPEST, _LONGEST, _MOST_DIGITS = 30, 1_000_000, 40


class YamlError(CrmmlError, ValueError):
    """A text is no YAML that is read here; the sentence names the line."""

    def __init__(self, rule: str, line: int | None = None) -> None:
        where = "" if line is None else f"line {line}: "
        super().__init__(f"{where}{rule}")


def read_small(path: Path) -> bytes:
    """Read a file of settings, of one without end no more than tells that it is too long.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(4 * _LONGEST + 1)


def read_yaml(text: str | bytes) -> Any:
    r"""Read one YAML document of plain values.

    Parameters
    ----------
    text : str or bytes
        At most a million characters; bytes are UTF-8, with or without a byte order mark.

    Returns
    -------
    dict, list, str, int, float, bool, date or None

    Raises
    ------
    YamlError
        If the text is not YAML, not UTF-8 or too long; if it names a key twice, refers to another
        part of itself, nests deeper than thirty levels, or holds a number that cannot be meant.

    Examples
    --------
    >>> read_yaml("actions: {budget: 500}")
    {'actions': {'budget': 500}}
    >>> try:
    ...     read_yaml("budget: 500\nbudget: 5000")
    ... except YamlError as error:
    ...     print(error)
    line 2: the key 'budget' stands twice; each may stand once
    """
    if isinstance(text, bytes):
        text = _decode(text)
    if len(text) > _LONGEST:
        raise YamlError(f"at most {_LONGEST:,} characters are read; got {len(text):,}")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        rule = " ".join((error.problem or "it cannot be read").split())[:200]
        raise YamlError(rule, mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise YamlError(f"the character {error.character!r:.12} is not allowed", line) from None


def line_of(text: str | bytes, place: Iterable[int | str]) -> int:
    r"""Return the line on which a value stands, or that of the nearest part around it.

    Parameters
    ----------
    text : str or bytes
        As read by :func:`read_yaml`, without a complaint.
    place : iterable of str or int
        Keys and positions that lead to the value.

    Examples
    --------
    >>> line_of("actions:\n- name: call\n  cost: .nan", ("actions", 0, "cost"))
    3
    """
    node = yaml.compose(_decode(text) if isinstance(text, bytes) else text, _Loader)
    line = 0
    for step in place:
        parts: list[tuple[Any, Node, Node]] = []
        if isinstance(node, MappingNode):
            parts = [(key.value, key, value) for key, value in node.value]
        elif isinstance(node, SequenceNode):
            parts = [(number, value, value) for number, value in enumerate(node.value)]
        found = next((part for part in parts if part[0] == step), None)
        if found is None:
            break
        line, node = found[1].start_mark.line, found[2]
    return line + 1


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise YamlError("the text must be UTF-8", line) from None


class _Loader(yaml.SafeLoader):
    """The safe loader, without references, repeated keys, deep nesting and endless numbers."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        # A few references to references grow to billions of values; no settings need them.
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise _refusal(f"a reference (*{event.anchor}) is not read; write it out", event)
        self.depth += 1
        if self.depth > _DEEPEST:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise _refusal(f"at most {_DEEPEST} levels are read", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            if name is None:
                raise _refusal("a key must be one word or text", key)
            if name in seen:
                raise _refusal(f"the key {name!r:.60} stands twice; each may stand once", key)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        is_number = isinstance(node, ScalarNode) and node.tag.endswith((":int", ":float"))
        if is_number and len(re.findall(r"[\da-fA-F]", node.value)) > _MOST_DIGITS:
            raise _refusal(f"a number has at most {_MOST_DIGITS} digits", node)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, OverflowError, KeyError, IndexError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise _refusal(f"{node.value!r:.60} cannot be read as {kind}", node) from None


def _refusal(rule: str, where: Any) -> ConstructorError:
    return ConstructorError(problem=rule, problem_mark=where.start_mark)
