"""Models as files: one JSON text per model, written whole or not at all, checked when it is read.

A file holds what ``to_dict`` returns, the version of its format and a SHA-256 of the content, so
that a file that was changed by hand or cut short is refused. Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from crmml import __version__, models
from crmml.atomic import replacing, reported
from crmml.exceptions import BundleError, CrmmlError, StorageError
from crmml.models.stored import parse_stored, refuse_broken

FORMAT = "crmml model"
FORMAT_VERSION = 1
"""Newest format that is written and read."""


def write_model(model: Any, path: str | Path, *, exist_ok: bool = False) -> Path:
    """Store a fitted estimator as one JSON file.

    Parameters
    ----------
    model : Estimator
        Fitted, of a class that :mod:`crmml.models` names.
    path : str or Path
        The file, usually ``*.json``; its folder is made if need be.
    exist_ok : bool, default False
        Whether a file that stands there already may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    StorageError
        If something stands there already, or the file cannot be written; or if the class is none
        that :mod:`crmml.models` names, so that nothing could read the file.
    """
    target, kind = Path(path), type(model).__name__
    stored = model.to_dict()
    if kind not in models.__all__:
        raise StorageError(f"a {kind} is part of other models and is stored with them, not alone")
    if target.exists() and not (exist_ok and target.is_file()):
        raise StorageError(
            f"{target} exists already; name another file"
            + ("" if target.is_dir() else ", or set exist_ok to replace it")
        )
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "crmml_version": __version__,
        "sha256": _digest(stored),
        "model": stored,
    }
    with replacing(target) as partial:
        partial.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return target


def read_model(path: str | Path) -> Any:
    """Read a model that :func:`write_model` stored, after checking it.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Estimator
        Equal to the stored one to the last bit.

    Raises
    ------
    BundleError
        If the file holds no model, was changed, or its format is newer than this version reads.
    StorageError
        If the file cannot be read.
    """
    source = Path(path)
    if not source.exists():
        raise BundleError(f"no model at {source}: there is no such file")
    with reported("read", source):
        text = source.read_bytes()
    stored = _checked(text, source)
    try:
        model = models.from_dict(stored)
        same = _digest(model.to_dict()) == _digest(stored)
        wrong = list(_of_another_type(model))
    except (CrmmlError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"the model at {source} cannot be rebuilt by crmml {__version__}: {error}"
        ) from error
    if not same or wrong:
        told = f": {wrong[0]} is of another type" if wrong else ""
        raise BundleError(
            f"the model at {source} holds what crmml {__version__} does not know{told}"
        )
    return model


def _checked(text: bytes, source: Path) -> dict[str, Any]:
    """Return what ``to_dict`` returned, if the file is a model of a known format, unchanged."""
    try:
        content = parse_stored(text, "it")
    except BundleError as error:
        raise BundleError(f"{source} is no stored model: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BundleError(f"{source} is no stored model: its format is not {FORMAT!r}")
    version, stored = content.get("format_version"), content.get("model")
    if type(version) is not int or version < 1:
        raise BundleError(f"the model at {source} is damaged: its format_version is {version!r}")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"the model at {source} has format {version}, written by crmml "
            f"{content.get('crmml_version')}; this crmml reads formats up to {FORMAT_VERSION}: "
            "update crmml"
        )
    if not isinstance(stored, dict) or _digest(stored) != content.get("sha256"):
        raise BundleError(
            f"the model at {source} is damaged: its content does not match its SHA-256"
        )
    refuse_broken(stored, f"the model at {source}")
    return stored


def _digest(stored: Mapping[str, Any]) -> str:
    """Hash of the content, whatever the layout of the text."""
    text = json.dumps(stored, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _of_another_type(model: Any) -> Iterator[str]:
    """Name what is not of the type that the class declares, in the parts too."""
    kind = type(model)
    declared = get_type_hints(kind.__init__) | get_type_hints(kind)
    for name in (*model.get_params(deep=False), *model._state):
        value = getattr(model, name)
        if not conforms(value, declared.get(name, Any)):
            yield f"{kind.__name__}.{name}"
        if name in model._state:  # settings hold estimators that are not fitted
            parts = value if isinstance(value, list) else [value]
            for part in (one for one in parts if hasattr(one, "_state")):
                yield from _of_another_type(part)


def conforms(value: object, hint: Any) -> bool:
    """Tell whether a value is of a declared type, elements included.

    Whole numbers pass as numbers, lists as tuples (plain text knows no tuples); true and false are
    no numbers.

    Examples
    --------
    >>> conforms({"r": 1}, dict[str, float]), conforms({"r": "1"}, dict[str, float])
    (True, False)
    """
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(conforms(value, one) for one in inside)
    if origin is Literal:
        return isinstance(value, (str, int)) and value in inside
    if hint in (float, int):
        numbers = (int, float) if hint is float else int
        return isinstance(value, numbers) and not isinstance(value, bool)
    if hint is None:
        return value is None
    if isinstance(origin, type) and issubclass(origin, Mapping):
        each = inside or (Any, Any)
        return isinstance(value, Mapping) and all(
            conforms(k, each[0]) and conforms(v, each[1]) for k, v in value.items()
        )
    if isinstance(origin, type) and issubclass(origin, Sequence):
        element = inside[0] if inside else Any
        return isinstance(value, (list, tuple)) and all(conforms(v, element) for v in value)
    return not isinstance(hint, type) or isinstance(value, hint)
