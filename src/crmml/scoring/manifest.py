"""The manifest of a bundle: what was trained on what, frozen, typed, and refusing unknown keys."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from crmml import __version__
from crmml._typing import Duration, Grain, TimeUnit
from crmml.data.settings import Policies, ReadSettings
from crmml.exceptions import BundleError
from crmml.features.windows import read_moment
from crmml.models.kinds import check_parts
from crmml.notes import Note
from crmml.scoring.guards import TrainingRange

FORMAT_VERSION: Literal[2] = 2
"""Format of the folder; a newer one is refused, older ones are upgraded when they are read."""

MANIFEST = "manifest.json"
DIGEST = "bundle.sha256"
"""File with the SHA-256 of the manifest, which holds those of all other files."""

_DESCRIPTIVE = {
    "format_version",
    "crmml_version",
    "name",
    "model_version",
    "policy_version",
    "config_hash",
    "customers",
    "test_customers_left_out",
    "metrics",
    "churn_drivers",
    "notes",
    "absent",
    "trained_on",
    "hashes",
    "forms",
    "reading",
    "margins",
}
"""What people read; it changes no score, and no ``model_version``."""

_NAMES_OF_0_1: dict[str, Callable[[Any], Any]] = {
    "created_for_cutoff": lambda manifest: manifest.cutoff,
    "loyalty_window": lambda manifest: manifest.horizon,
    "cleaning": lambda manifest: manifest.policies.get("transactions", {}),
    "columns": lambda manifest: list(manifest.columns.get("transactions", ())),
}


def _moment(text: str) -> str:
    if text:
        read_moment(text, "cutoff")
    return text


def _length(text: str) -> str:
    Duration.parse(text)
    return text


def _policies(stored: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    try:
        Policies(**stored.get("transactions", {}))
    except TypeError:
        raise ValueError("a policy is not known") from None
    return stored


class Manifest(BaseModel):
    """What was trained on what: all that scoring must repeat, and what a reader wants to know.

    Attributes
    ----------
    name : str
        Of the model in the registry.
    kind : {"transactions", "contracts", "labelled"}
        What the customers are known by: a log of purchases (contracts may stand beside it),
        contracts alone, or a labelled table.
    cutoff : str
        Of the training, ISO 8601; empty for a labelled table, which has no time.
    grain, time_unit : str
        What counts as one purchase; what ``recency`` and ``T`` are measured in.
    horizon, gap : str
        Of the outcome window.
    value_horizon : str
        Of lifetime value.
    id_type : {"integer", "text"}
        Type of ``customer_id``.
    columns : mapping of str to tuple of str
        Columns by table, at training.
    features : tuple of str
        Columns of the snapshot at training; one that cannot be computed when scoring is null.
    channels : mapping of str to str
        Channel to the column that counts it.
    margins : mapping, optional
        Margin ratios of base and categories (:class:`crmml.features.margins.MarginRates`), which
        every customer's own is shrunk to.
    own_seller : str, optional
        The own house, where a column ``seller`` holds rivals' sales too.
    currency : str, optional
        The one currency, where the data name it.
    policies : mapping of str to mapping
        Data policies by table; test customers as hashes.
    predictors : tuple of str
        Names of the predictors, in the order of the columns of the scores.
    metrics : mapping of str to (value, lower, upper)
        What was served at the newest backtest cutoff.
    churn_drivers : mapping of str to (value, lower, upper)
        How much each family of features moves churn; see
        :func:`crmml.scoring.churn_reasons.family_importance`.
    notes : tuple of Note
        What a user must know.
    absent : mapping of str to str
        Columns that these data cannot give, and why.
    trained_on : TrainingRange, optional
        What the customers of the training were like; scoring compares.
    hashes : mapping of str to str
        File to the SHA-256 of its content.
    reading : mapping of str to mapping
        How each table was read at training, where that was said: columns, dates, decimal sign.
    forms : mapping of str to str
        File to the hash of its form; see :func:`form_digest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: Literal[2] = FORMAT_VERSION
    crmml_version: str = __version__
    name: str = "crmml"
    kind: Literal["transactions", "contracts", "labelled"] = "transactions"
    model_version: str = ""
    policy_version: str = ""
    cutoff: Annotated[str, AfterValidator(_moment)]
    grain: Grain = "day"
    time_unit: TimeUnit = "week"
    horizon: Annotated[str, AfterValidator(_length)] = "13W"
    gap: Annotated[str, AfterValidator(_length)] | None = None
    value_horizon: Annotated[str, AfterValidator(_length)] = "52W"
    id_type: Literal["integer", "text"] = "text"
    columns: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    features: tuple[str, ...] = ()
    channels: Mapping[str, str] = Field(default_factory=dict)
    margins: Mapping[str, Any] | None = None
    own_seller: str | None = None
    currency: str | None = None
    policies: Annotated[Mapping[str, Mapping[str, Any]], AfterValidator(_policies)] = Field(
        default_factory=dict
    )
    predictors: tuple[str, ...] = ()
    seed: int = 0
    config_hash: str = ""
    customers: int | None = None
    test_customers_left_out: int = 0
    metrics: Mapping[str, tuple[float, float, float]] = Field(default_factory=dict)
    churn_drivers: Mapping[str, tuple[float, float, float]] = Field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    absent: Mapping[str, str] = Field(default_factory=dict)
    trained_on: TrainingRange | None = None
    hashes: Mapping[str, str] = Field(default_factory=dict)
    forms: Mapping[str, str] = Field(default_factory=dict)
    reading: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_timed(self) -> Self:
        if not self.cutoff and self.kind != "labelled":
            raise ValueError("the cutoff of the training is missing")
        return self

    @field_validator("reading")
    @classmethod
    def _is_settings(cls, reading: Mapping[str, Any]) -> Mapping[str, Any]:
        for table, settings in reading.items():
            try:
                check_parts(ReadSettings(**settings))
            except (TypeError, AttributeError):
                raise ValueError(f"how {table!r:.40} was read is not known") from None
        return reading

    def __getitem__(self, key: str) -> Any:
        """Read a field by name, as in 0.1, where the manifest was a mapping."""
        if key in _NAMES_OF_0_1:
            return _NAMES_OF_0_1[key](self)
        if key not in type(self).model_fields:
            raise KeyError(key)
        return getattr(self, key)

    def changed(self, **fields: Any) -> Self:
        """Return a checked copy with some fields changed."""
        return type(self).model_validate({**self.model_dump(), **fields})

    def identity(self) -> dict[str, Any]:
        """Return the plain values that decide what is scored: part of ``model_version``."""
        plain = self.model_dump(mode="json", exclude=_DESCRIPTIVE)
        if self.kind == "transactions":  # bundles of before 0.4 know no other
            del plain["kind"]
        late = {name: getattr(self, name) for name in ("reading", "margins")}
        return plain | {name: self.plain()[name] for name, value in late.items() if value}

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read a manifest of the present format.

        Raises
        ------
        BundleError
            If a field is missing, wrong, or not known.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the text"
            unknown = first["type"] == "extra_forbidden"
            rule = "is not a known field" if unknown else first["msg"].removeprefix("Value error, ")
            raise BundleError(f"{MANIFEST} of the bundle: {place:.100}: {rule:.800}") from None


def check_digest(files: Mapping[str, bytes], where: str) -> None:
    """Refuse a manifest that was changed after it was written.

    Parameters
    ----------
    files : mapping of str to bytes
        Of a bundle.
    where : str
        Which bundle, for the message.

    Raises
    ------
    BundleError
        If the digest is missing or is not that of the manifest.
    """
    if DIGEST not in files:
        raise BundleError(f"{where} is damaged: {DIGEST} is missing")
    if files[DIGEST].decode(errors="replace").strip() != digest(files[MANIFEST]):
        raise BundleError(
            f"{where} is damaged: {MANIFEST} does not match its SHA-256 in {DIGEST}, so it was "
            "changed after training"
        )


def form_digest(stored: Any) -> str:
    """Hash which keys and which kinds of values stored JSON has, whatever the values are.

    A file that was edited and signed anew still has to have the form in which it was written:
    models take their numbers as they are.

    Examples
    --------
    >>> form_digest({"r": [0.5, 2]}) == form_digest({"r": [1.5, 3, 4]})
    True
    >>> form_digest({"r": [0.5, 2]}) == form_digest({"r": [0.5, "2"]})
    False
    """
    text = json.dumps(_form(stored), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _form(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _form(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return sorted({json.dumps(_form(one), sort_keys=True) for one in value})
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number" if math.isfinite(value) else "not finite"
    return type(value).__name__


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
