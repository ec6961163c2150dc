"""Kinds of stored settings and fitted values: those that an estimator declares, checked at once."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from crmml.exceptions import DataError, first_few

_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def check_stored(
    kind: type, settings: Mapping[str, Any], state: Mapping[str, Any], names: Sequence[str]
) -> None:
    """Refuse stored values that are not of the kinds which a class of estimators declares.

    Settings are held against the signature of the class, fitted values against its annotations.

    Parameters
    ----------
    kind : type
        The class.
    settings, state : mapping
        By name; parts and learners are rebuilt already.
    names : sequence of str
        Of the parameters that ``params_`` must hold; empty where there are none.

    Raises
    ------
    DataError
        Which names the value.

    Examples
    --------
    >>> from crmml.models import OwnMeanSpend
    >>> check_stored(OwnMeanSpend, {}, {"level_": 3.5}, ())
    """
    given = {name: (settings, _signature(kind)) for name in settings}
    given |= {name: (state, _annotations(kind)) for name in state}
    for name, (values, declared) in given.items():
        if name in declared and not _is(values[name], declared[name]):
            rule, got = told(declared[name]), f"{values[name]!r:.60}"
            raise DataError(
                f"{name} of {kind.__name__} must be {rule}; got {got}", table="stored model"
            )
    lacking = set(names) - set(state.get("params_", names))
    if lacking:
        raise DataError(
            f"params_ of {kind.__name__} must hold {first_few(names, 20)}; it lacks "
            f"{first_few(lacking)}",
            table="stored model",
        )


def check_parts(part: Any) -> None:
    """Refuse a data class, or one within it, whose values are not of the kinds that it declares.

    Raises
    ------
    DataError
        Which names the value.
    """
    if isinstance(part, (list, tuple)):
        for one in part:
            check_parts(one)
    elif isinstance(part, Mapping):
        check_parts([*part.values()])
    elif is_dataclass(part) and not isinstance(part, type):
        kind, values = type(part), {f.name: getattr(part, f.name) for f in fields(part)}
        check_stored(kind, {}, values, ())
        check_parts([*values.values()])


@cache
def _annotations(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


@cache
def _signature(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind.__init__)


def told(hint: Any) -> str:
    """Say a kind in words.

    Examples
    --------
    >>> told(dict[str, float] | None)
    'a mapping of text to a number, or null'
    """
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        told_of = [told(one) for one in inside if one is not type(None)]
        return ", or ".join([*told_of, *(["null"] if type(None) in inside else [])])
    if origin is Literal:
        return f"one of {first_few(inside, 20)}"
    if _is_mapping(origin):
        return f"a mapping of text to {told(inside[1])}"
    if _is_list(origin):
        return f"a list, each entry {told(inside[0])}"
    return _WORDS.get(hint) or f"a {getattr(hint, '__name__', 'value of its kind')}"


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_list(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _is(value: Any, hint: Any) -> bool:
    """Say whether a value is of a declared kind; what is declared as anything is anything."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_is(value, one) for one in inside)
    if origin is Literal:
        return value in inside
    if _is_mapping(origin):
        good = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        return good and all(_is(one, inside[1]) for one in value.values())
    if origin is tuple and inside[-1] is not Ellipsis:
        each = isinstance(value, (list, tuple)) and len(value) == len(inside)
        return each and all(_is(one, of) for one, of in zip(value, inside, strict=True))
    if _is_list(origin):
        good = isinstance(value, (list, tuple))
        return good and all(_is(one, inside[0]) for one in value)
    if hint in (float, int):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and (hint is float or float(value).is_integer())
    if hint is Any or not isinstance(hint, type) or getattr(hint, "_is_protocol", False):
        return True
    return isinstance(value, hint)
